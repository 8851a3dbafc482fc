// SPDX-License-Identifier: GPL-2.0

//! Directories in sysfs: `/sys/class/infiniband_srpt/`, in it a directory per HCA port, and in
//! those one per channel.
//!
//! Not here: the files in them. [`crate::admin`] defines them with [`ShownPort`]; [`crate::attr`]
//! makes the C structures.
//!
//! C headers: [`include/linux/device/class.h`](srctree/include/linux/device/class.h),
//! [`include/linux/kobject.h`](srctree/include/linux/kobject.h)
//!
//! # Why the objects exist
//!
//! A file is active while one of its functions runs, and its removal waits for them
//! (`kernfs_drain()`). So the object behind a directory must exist until the directory was removed:
//! a [`PortDir`] holds its port, and a channel is looked up on each access, by the directory's
//! address.
//!
//! Reference-counted objects of sysfs contain nothing of this module: devices and kobjects are
//! freed by functions of the kernel (`device_create_release()`, `dynamic_kobj_release()`), so
//! references to them may outlive the module.

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

/// A port with a directory: its files, and those of its channels' directories.
pub(crate) trait ShownPort: Send + Sync + Sized + 'static {
    /// The files in the directory of a port.
    const FILES: Groups<PortFiles<Self>>;
    /// The files in the directory of a channel.
    const SESSION_FILES: Groups<SessionFiles>;
}

/// The directory of a port, [`PortDir`]: the object behind its files is the port.
pub(crate) struct PortFiles<T>(PhantomData<T>);

impl<T: ShownPort> Kind for PortFiles<T> {
    type Raw = bindings::device;
    type Object = T;

    unsafe fn with<R>(dev: *mut bindings::device, f: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        // SAFETY: By the safety requirements, the device is that of a `PortDir`, which is not
        // dropped before its directory was removed.
        f(unsafe { port_of(dev) }.ok_or(EINVAL)?)
    }
}

/// The directory of a channel, [`SessionDir`]: the object behind its files is its key.
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
    /// The class, while directories of ports may be created.
    static CLASS: Option<Arc<RawClass>> = None;
    init = init;
}

/// A class; dropping the last reference removes its directory.
///
/// # Invariants
///
/// It was created by `class_create()`. Each of its devices is that of a [`PortDir`], which holds a
/// reference until the device was unregistered.
struct RawClass(NonNull<bindings::class>);

// SAFETY: Classes may be destroyed by any task.
unsafe impl Send for RawClass {}
// SAFETY: The only use of a shared reference reads the address.
unsafe impl Sync for RawClass {}

impl Drop for RawClass {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, `class_create()` made it, and it has no devices any more.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// The directory `/sys/class/infiniband_srpt`: directories of ports can be created while this
/// exists. It is removed when this and all [`PortDir`]s are dropped.
pub(crate) struct Class(());

impl Class {
    /// Creates the directory. Called once, while the module is loaded. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EEXIST` if another module has created it.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The name is a static string.
        let class = from_err_ptr(unsafe { bindings::class_create(NAME.as_char_ptr()) })?;
        // INVARIANT: It was just created, and has no devices.
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

/// The directory of an HCA port; dropping it removes it and waits for running reads and writes of
/// its files. All [`SessionDir`]s in it must have been dropped.
///
/// # Invariants
///
/// Both are valid, and this owns a reference to each. The device is of `_class`, and its data
/// points to `_owner`.
pub(crate) struct PortDir<T: Send + Sync + 'static> {
    device: NonNull<bindings::device>,
    sessions: NonNull<bindings::kobject>,
    _owner: KBox<Owner>,
    _port: Arc<T>,
    _class: Arc<RawClass>,
}

/// Data of a device: the port, and its type.
///
/// # Invariants
///
/// `port` points to a value of the type `kind`.
struct Owner {
    kind: TypeId,
    port: *const c_void,
}

/// Returns the port of a directory; [`None`] if it has another type.
///
/// # Safety
///
/// `dev` must be the device of a [`PortDir`], which must not be dropped for `'a`.
unsafe fn port_of<'a, T: Send + Sync + 'static>(dev: *mut bindings::device) -> Option<&'a T> {
    // SAFETY: By the invariant of `PortDir` its data is an `Owner`, which the `PortDir` owns.
    let owner = unsafe { &*bindings::srpt_dev_get_drvdata(dev).cast::<Owner>() };
    // SAFETY: By the invariant of `Owner`; the `PortDir` holds the port, too.
    (owner.kind == TypeId::of::<T>()).then(|| unsafe { &*owner.port.cast::<T>() })
}

// SAFETY: Devices may be used and removed by any task, and so may the port.
unsafe impl<T: Send + Sync> Send for PortDir<T> {}
// SAFETY: The functions on devices and kobjects are thread-safe.
unsafe impl<T: Send + Sync> Sync for PortDir<T> {}

impl<T: ShownPort> PortDir<T> {
    /// Creates the directory with this name. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a [`Class`], `ENOMEM`, `EEXIST`.
    pub(crate) fn new(name: &CStr, port: Arc<T>) -> Result<Self> {
        let class = CLASS.lock().clone().ok_or(ENODEV)?;
        // INVARIANT: `port` has this type.
        let owner = KBox::new(
            Owner {
                kind: TypeId::of::<T>(),
                port: Arc::as_ptr(&port).cast(),
            },
            GFP_KERNEL,
        )?;
        let data = (&raw const *owner).cast_mut().cast::<c_void>();
        // SAFETY: The class is valid, and the result holds a reference. The data is valid until the
        // device was unregistered. The groups are constant, and of tables for directories of this
        // kind. The format takes a string, which is copied.
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
        // SAFETY: The device was just created.
        let sessions = unsafe {
            let dir = bindings::srpt_dev_kobj(device.as_ptr());
            bindings::kobject_create_and_add(c"sessions".as_char_ptr(), dir)
        };
        let Some(sessions) = NonNull::new(sessions) else {
            // SAFETY: It came from `device_create_with_groups()`.
            unsafe { bindings::device_unregister(device.as_ptr()) };
            return Err(ENOMEM);
        };
        // INVARIANT: Both were just created, with this data.
        Ok(Self {
            device,
            sessions,
            _owner: owner,
            _port: port,
            _class: class,
        })
    }

    /// Renames the directory, including its contents. One call at a time. May sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`; the name is unchanged then.
    pub(crate) fn rename(&self, name: &CStr) -> Result {
        // SAFETY: By the type invariant the device is valid; the name is copied.
        kernel::error::to_result(unsafe {
            bindings::device_rename(self.device.as_ptr(), name.as_char_ptr())
        })
    }
}

impl<T: Send + Sync> Drop for PortDir<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant both references are owned. After the device was
        // unregistered there are no users of its data.
        unsafe {
            bindings::kobject_del(self.sessions.as_ptr());
            bindings::kobject_put(self.sessions.as_ptr());
            bindings::device_unregister(self.device.as_ptr());
        }
    }
}

/// Identity of a [`SessionDir`]: an address that is compared, never dereferenced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirKey(pub(crate) usize);

/// The directory of a channel; dropping it removes it and waits for running reads and writes of its
/// files.
///
/// # Invariants
///
/// `dir` is valid and this owns a reference.
pub(crate) struct SessionDir {
    dir: NonNull<bindings::kobject>,
    files: Groups<SessionFiles>,
}

// SAFETY: Kobjects may be used and removed by any task.
unsafe impl Send for SessionDir {}
// SAFETY: The functions on kobjects are thread-safe.
unsafe impl Sync for SessionDir {}

impl SessionDir {
    /// Creates the directory with this name, without files; see [`Self::fill`]. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if the name exists already.
    pub(crate) fn new<T: ShownPort>(parent: &PortDir<T>, name: &CStr) -> Result<Self> {
        // SAFETY: By the invariant of `PortDir` its directory is valid; the name is copied.
        let dir = unsafe {
            bindings::kobject_create_and_add(name.as_char_ptr(), parent.sessions.as_ptr())
        };
        // INVARIANT: It was just created, with a reference for the caller.
        Ok(Self {
            dir: NonNull::new(dir).ok_or(ENOMEM)?,
            files: T::SESSION_FILES,
        })
    }

    /// Creates the files. Called once, when the channel can be found by [`Self::key`]. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; there are no files then.
    pub(crate) fn fill(&self) -> Result {
        // SAFETY: By the type invariant. The groups are constant, and of tables for directories of
        // this kind.
        kernel::error::to_result(unsafe {
            bindings::sysfs_create_groups(self.dir.as_ptr(), self.files.as_raw())
        })
    }

    /// Returns the identity of the directory.
    pub(crate) fn key(&self) -> DirKey {
        DirKey(self.dir.as_ptr().addr())
    }
}

impl Drop for SessionDir {
    fn drop(&mut self) {
        // Also removes the contents, if it was filled.
        // SAFETY: By the type invariant the reference is owned.
        unsafe {
            bindings::kobject_del(self.dir.as_ptr());
            bindings::kobject_put(self.dir.as_ptr());
        }
    }
}
