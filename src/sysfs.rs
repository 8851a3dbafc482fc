// SPDX-License-Identifier: GPL-2.0

//! Directories in sysfs: `/sys/class/infiniband_srpt/`, a directory per HCA port in it, and one per
//! channel below.
//!
//! Not here: the files in them. What is shown ([`crate::admin`]) says which they are with
//! [`ShownPort`]; how they are made is in [`crate::attr`].
//!
//! C headers: [`include/linux/device/class.h`](srctree/include/linux/device/class.h),
//! [`include/linux/kobject.h`](srctree/include/linux/kobject.h)
//!
//! # Why the objects exist
//!
//! A file is in use as long as one of its functions runs, and removing it waits for them
//! (`kernfs_drain()`). So what a directory stands for is kept until the directory was removed: the
//! port by its [`PortDir`], and a channel is looked for each time, by the directory's address.
//!
//! Nothing of the objects that sysfs counts references of is in this module: devices and kobjects
//! are freed by functions of the kernel's own (`device_create_release()`, `dynamic_kobj_release()`),
//! so that it does not matter who holds them when the module goes.

use core::{
    any::TypeId,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use crate::{
    attr::{
        abi::Groups,
        Kind, //
    },
    bindings,
    sync::global::global_mutex, //
};

/// A port that has a directory: which files are there, and in those of its channels.
pub(crate) trait ShownPort: Send + Sync + Sized + 'static {
    /// The files in the directory of a port.
    const FILES: Groups<PortFiles<Self>>;
    /// The files in the directory of a channel.
    const SESSION_FILES: Groups<SessionFiles>;
}

/// The directory of a port, [`PortDir`]: its files are about the port.
pub(crate) struct PortFiles<T>(PhantomData<T>);

impl<T: ShownPort> Kind for PortFiles<T> {
    type Raw = bindings::device;
    type Object = T;

    unsafe fn with<R>(dev: *mut bindings::device, f: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        // SAFETY: By the safety requirements, the device is that of a `PortDir`, which is not
        // dropped before its directory is gone.
        f(unsafe { port_of(dev) }.ok_or(EINVAL)?)
    }
}

/// The directory of a channel, [`SessionDir`]: its files are about what has this key.
pub(crate) struct SessionFiles;

impl Kind for SessionFiles {
    type Raw = bindings::kobject;
    type Object = DirKey;

    unsafe fn with<R>(
        dir: *mut bindings::kobject,
        f: impl FnOnce(&DirKey) -> Result<R>,
    ) -> Result<R> {
        f(&DirKey(dir.addr()))
    }
}

/// Name of the class.
const NAME: &CStr = c"infiniband_srpt";

global_mutex! {
    /// The class, while ports may get directories.
    static CLASS: Option<Arc<RawClass>> = None;
    init = init;
}

/// A class; the last reference removes its directory.
///
/// # Invariants
///
/// It came from `class_create()`. Each device of it is that of a [`PortDir`], which holds a reference
/// until the device was unregistered.
struct RawClass(NonNull<bindings::class>);

// SAFETY: Classes may be destroyed by any task.
unsafe impl Send for RawClass {}
// SAFETY: Its one function on a shared reference returns the address.
unsafe impl Sync for RawClass {}

impl Drop for RawClass {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, `class_create()` made it, and it has no devices any more.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// The directory `/sys/class/infiniband_srpt`: ports get directories while this exists. It is removed
/// with this and all [`PortDir`]s.
pub(crate) struct Class(());

impl Class {
    /// Makes the directory. Called once, while the module is loaded. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EEXIST` if another module has made it.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The name is a static string.
        let class = from_err_ptr(unsafe { bindings::class_create(NAME.as_char_ptr()) })?;
        // INVARIANT: It was just made, and has no devices.
        let class = RawClass(NonNull::new(class).ok_or(ENOMEM)?);
        *CLASS.lock() = Some(Arc::new(class, GFP_KERNEL)?);
        Ok(Self(()))
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        let class = CLASS.lock().take();
        drop(class);
    }
}

/// The directory of an HCA port; dropping it removes it and waits for those who read or write one of
/// its files. All [`SessionDir`]s in it must be gone before.
///
/// # Invariants
///
/// Both are valid, and we own a reference on each. The device is of `_class`, and its data points to
/// `_owner`.
pub(crate) struct PortDir<T: Send + Sync + 'static> {
    device: NonNull<bindings::device>,
    sessions: NonNull<bindings::kobject>,
    _owner: KBox<Owner>,
    _port: Arc<T>,
    _class: Arc<RawClass>,
}

/// What the data of a device points to: the port, and of which type it is.
///
/// # Invariants
///
/// `port` points to one of that type.
struct Owner {
    kind: TypeId,
    port: *const c_void,
}

/// The port that a directory stands for; `None` if it is of another type.
///
/// # Safety
///
/// `dev` must be the device of a [`PortDir`], which must not be dropped for `'a`.
unsafe fn port_of<'a, T: Send + Sync + 'static>(dev: *mut bindings::device) -> Option<&'a T> {
    // SAFETY: By the invariant of `PortDir` its data is an `Owner`, which it keeps.
    let owner = unsafe { &*bindings::srpt_dev_get_drvdata(dev).cast::<Owner>() };
    // SAFETY: By its invariant; the `PortDir` keeps the port, too.
    (owner.kind == TypeId::of::<T>()).then(|| unsafe { &*owner.port.cast::<T>() })
}

// SAFETY: Devices may be used and removed by any task, and so may the port.
unsafe impl<T: Send + Sync> Send for PortDir<T> {}
// SAFETY: The functions on devices and kobjects are thread-safe.
unsafe impl<T: Send + Sync> Sync for PortDir<T> {}

impl<T: ShownPort> PortDir<T> {
    /// Makes the directory with this name. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a [`Class`], `ENOMEM`, `EEXIST`.
    pub(crate) fn new(name: &CStr, port: Arc<T>) -> Result<Self> {
        let class = CLASS.lock().clone().ok_or(ENODEV)?;
        // INVARIANT: It is of this type.
        let owner = KBox::new(
            Owner {
                kind: TypeId::of::<T>(),
                port: Arc::as_ptr(&port).cast(),
            },
            GFP_KERNEL,
        )?;
        let data = (&raw const *owner).cast_mut().cast::<c_void>();
        // SAFETY: The class is valid, and the result keeps a reference. The data is valid until the device was unregistered. The groups are constant, and of tables for
        // directories such as this. The format takes a string, which is copied.
        let device = from_err_ptr(unsafe {
            bindings::device_create_with_groups(
                class.0.as_ptr(),
                ptr::null_mut(),
                0,
                data,
                T::FILES.as_raw(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        let device = NonNull::new(device).ok_or(ENOMEM)?;
        // SAFETY: The device was just made.
        let sessions = unsafe {
            let dir = bindings::srpt_dev_kobj(device.as_ptr());
            bindings::kobject_create_and_add(c"sessions".as_char_ptr(), dir)
        };
        let Some(sessions) = NonNull::new(sessions) else {
            // SAFETY: It came from `device_create_with_groups()`.
            unsafe { bindings::device_unregister(device.as_ptr()) };
            return Err(ENOMEM);
        };
        // INVARIANT: Both were just made, with this data.
        Ok(Self {
            device,
            sessions,
            _owner: owner,
            _port: port,
            _class: class,
        })
    }

    /// Gives the directory another name, with everything in it. One call at a time. May sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`; it keeps the old name then.
    pub(crate) fn rename(&self, name: &CStr) -> Result {
        // SAFETY: By the type invariant the device is valid; the name is copied.
        kernel::error::to_result(unsafe {
            bindings::device_rename(self.device.as_ptr(), name.as_char_ptr())
        })
    }
}

impl<T: Send + Sync> Drop for PortDir<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant both are ours. When the device was unregistered nobody
        // uses its data any more.
        unsafe {
            bindings::kobject_del(self.sessions.as_ptr());
            bindings::kobject_put(self.sessions.as_ptr());
            bindings::device_unregister(self.device.as_ptr());
        }
    }
}

/// Identity of a [`SessionDir`]: compared, never followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirKey(pub(crate) usize);

/// The directory of a channel; dropping it removes it and waits for those who read or write one of
/// its files.
///
/// # Invariants
///
/// `dir` is valid and we own a reference.
pub(crate) struct SessionDir {
    dir: NonNull<bindings::kobject>,
    files: Groups<SessionFiles>,
}

// SAFETY: Kobjects may be used and removed by any task.
unsafe impl Send for SessionDir {}
// SAFETY: The functions on kobjects are thread-safe.
unsafe impl Sync for SessionDir {}

impl SessionDir {
    /// Makes the directory with this name, still without files; see [`Self::fill`]. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if there is one already.
    pub(crate) fn new<T: ShownPort>(parent: &PortDir<T>, name: &CStr) -> Result<Self> {
        // SAFETY: By the invariant of `PortDir` its directory is valid; the name is copied.
        let dir = unsafe {
            bindings::kobject_create_and_add(name.as_char_ptr(), parent.sessions.as_ptr())
        };
        // INVARIANT: It was just made, with a reference for us.
        Ok(Self {
            dir: NonNull::new(dir).ok_or(ENOMEM)?,
            files: T::SESSION_FILES,
        })
    }

    /// Makes the files. Called once, when the channel can be found by [`Self::key`]. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; there are no files then.
    pub(crate) fn fill(&self) -> Result {
        // SAFETY: By the type invariant. The groups are constant, and of tables for directories
        // such as this.
        kernel::error::to_result(unsafe {
            bindings::sysfs_create_groups(self.dir.as_ptr(), self.files.as_raw())
        })
    }

    /// Identity of the directory.
    pub(crate) fn key(&self) -> DirKey {
        DirKey(self.dir.as_ptr().addr())
    }
}

impl Drop for SessionDir {
    fn drop(&mut self) {
        // Removes what is in it, too, if it was filled.
        // SAFETY: By the type invariant it is ours.
        unsafe {
            bindings::kobject_del(self.dir.as_ptr());
            bindings::kobject_put(self.dir.as_ptr());
        }
    }
}
