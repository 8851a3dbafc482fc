// SPDX-License-Identifier: GPL-2.0

//! Directories and files in sysfs: `/sys/class/infiniband_srpt/`, a directory per HCA port in it,
//! and one per channel below.
//!
//! Names and modes of the files are declared in `sysfs.c`, because the kernel has macros for that;
//! what they show and take is decided in [`crate::admin`]. Here is what leads from one to the other.
//!
//! C headers: [`include/linux/device/class.h`](srctree/include/linux/device/class.h),
//! [`include/linux/kobject.h`](srctree/include/linux/kobject.h)
//!
//! # Why the objects exist
//!
//! A file is in use as long as one of the functions below runs, and removing it waits for them
//! (`kernfs_drain()`). So what a directory stands for is kept until the directory was removed: the
//! port by its [`PortDir`], and a channel is looked for each time, by the directory's address.
//!
//! Nothing of the objects that sysfs counts references of is in this module: devices and kobjects
//! are freed by functions of the kernel's own (`device_create_release()`, `dynamic_kobj_release()`),
//! so that it does not matter who holds them when the module goes.

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc, //
    }, //
};

use crate::{
    admin::{
        self,
        PortFile,
        SessionFile, //
    },
    bindings::{
        self,
        assert_matches_header, //
    },
    engine::page::{
        to_ssize,
        Page, //
    },
    hca::HcaPort,
    port::PortAttr,
    srp::stats::{
        Counter,
        Stage,
        COUNTERS,
        REFUSALS,
        STAGES, //
    }, //
};

/// The class, while there is one.
static CLASS: Atomic<*mut bindings::class> = Atomic::new(ptr::null_mut());

/// The directory `/sys/class/infiniband_srpt`; dropping it removes it. Must outlive all [`PortDir`]s.
pub(crate) struct Class(NonNull<bindings::class>);

// SAFETY: Classes may be destroyed by any task.
unsafe impl Send for Class {}
// SAFETY: There is nothing one could do with a reference.
unsafe impl Sync for Class {}

impl Class {
    /// Makes the directory. Called once, while the module is loaded. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EEXIST` if another module has made it.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Takes nothing.
        let class = from_err_ptr(unsafe { bindings::srpt_class_create() })?;
        CLASS.store(class, Release);
        NonNull::new(class).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        CLASS.store(ptr::null_mut(), Release);
        // SAFETY: It came from `class_create()`, and there are no devices of it any more.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// The directory of an HCA port; dropping it removes it and waits for those who read or write one of
/// its files. All [`SessionDir`]s in it must be gone before.
///
/// # Invariants
///
/// Both are valid, and we own a reference on each. The device's data points to `_port`.
pub(crate) struct PortDir {
    device: NonNull<bindings::device>,
    sessions: NonNull<bindings::kobject>,
    _port: Arc<HcaPort>,
}

// SAFETY: Devices may be used and removed by any task.
unsafe impl Send for PortDir {}
// SAFETY: The functions on devices and kobjects are thread-safe.
unsafe impl Sync for PortDir {}

impl PortDir {
    /// Makes the directory with this name. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a [`Class`], `ENOMEM`, `EEXIST`.
    pub(crate) fn new(name: &CStr, port: Arc<HcaPort>) -> Result<Self> {
        let class = CLASS.load(Acquire);
        if class.is_null() {
            return Err(ENODEV);
        }
        let data = Arc::as_ptr(&port).cast_mut().cast::<c_void>();
        // SAFETY: The class is valid as long as there may be HCAs (see `SrpTarget`). The data is
        // valid until the device was unregistered.
        let device = from_err_ptr(unsafe {
            bindings::srpt_port_dir_create(class, data, name.as_char_ptr())
        })?;
        let device = NonNull::new(device).ok_or(ENOMEM)?;
        // SAFETY: The device was just made.
        let sessions = unsafe { bindings::srpt_sessions_dir_create(device.as_ptr()) };
        let Some(sessions) = NonNull::new(sessions) else {
            // SAFETY: It came from `device_create_with_groups()`.
            unsafe { bindings::device_unregister(device.as_ptr()) };
            return Err(ENOMEM);
        };
        // INVARIANT: Both were just made, with this data.
        Ok(Self {
            device,
            sessions,
            _port: port,
        })
    }
}

impl PortDir {
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

impl Drop for PortDir {
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
/// It is valid and we own a reference.
pub(crate) struct SessionDir(NonNull<bindings::kobject>);

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
    pub(crate) fn new(parent: &PortDir, name: &CStr) -> Result<Self> {
        // SAFETY: By the invariant of `PortDir` its directory is valid; the name is copied.
        let dir = unsafe {
            bindings::srpt_session_dir_create(parent.sessions.as_ptr(), name.as_char_ptr())
        };
        // INVARIANT: It was just made, with a reference for us.
        NonNull::new(dir).map(Self).ok_or(ENOMEM)
    }

    /// Makes the files. Called once, when the channel can be found by [`Self::key`]. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; there are no files then.
    pub(crate) fn fill(&self) -> Result {
        // SAFETY: By the type invariant.
        kernel::error::to_result(unsafe { bindings::srpt_session_dir_fill(self.0.as_ptr()) })
    }

    /// Identity of the directory.
    pub(crate) fn key(&self) -> DirKey {
        DirKey(self.0.as_ptr().addr())
    }
}

impl Drop for SessionDir {
    fn drop(&mut self) {
        // Removes what is in it, too, if it was filled.
        // SAFETY: By the type invariant it is ours.
        unsafe {
            bindings::kobject_del(self.0.as_ptr());
            bindings::kobject_put(self.0.as_ptr());
        }
    }
}

// Rust and C number the counters and stages alike.
const _: () = {
    assert!(COUNTERS == bindings::srpt_counter_SRPT_COUNTERS_END as usize);
    assert!(Counter::ReadBytes as u32 == bindings::srpt_counter_SRPT_COUNTER_read_bytes);
    assert!(Counter::Failed as u32 == bindings::srpt_counter_SRPT_COUNTER_failed);
    assert!(Counter::Malformed as u32 == bindings::srpt_counter_SRPT_COUNTER_malformed);
    assert!(Counter::SqFull as u32 == bindings::srpt_counter_SRPT_COUNTER_sq_full);
    assert!(STAGES == bindings::srpt_stage_SRPT_STAGES_END as usize);
    assert!(Stage::Engine as u32 == bindings::srpt_stage_SRPT_STAGE_engine);
    assert!(Stage::Fetch as u32 == bindings::srpt_stage_SRPT_STAGE_fetch);
    assert!(REFUSALS == bindings::srpt_refusal_SRPT_REFUSALS_END as usize);
};

/// How far a number is into a range of files.
fn offset(file: u32, first: u32, len: usize) -> Option<usize> {
    let index = usize::try_from(file.checked_sub(first)?).ok()?;
    (index < len).then_some(index)
}

/// The counter, stage or reason that a file is about.
fn counter(file: u32) -> Option<usize> {
    offset(file, bindings::SRPT_FIRST_COUNTER, COUNTERS)
}

fn stage(file: u32) -> Option<usize> {
    offset(file, bindings::SRPT_FIRST_STAGE, STAGES)
}

/// A file of a port, by its number.
fn port_file(file: u32) -> Option<PortFile> {
    let refusal = offset(file, bindings::SRPT_FIRST_REFUSAL, REFUSALS);
    Some(match file {
        bindings::srpt_file_SRPT_FILE_login_info => PortFile::LoginInfo,
        bindings::srpt_file_SRPT_FILE_login_info_rdma_cm => PortFile::LoginInfoRdmaCm,
        bindings::srpt_file_SRPT_FILE_enabled => PortFile::Enabled,
        bindings::srpt_file_SRPT_FILE_device => PortFile::Device,
        bindings::srpt_file_SRPT_FILE_link_layer => PortFile::LinkLayer,
        bindings::srpt_file_SRPT_FILE_rdma_cm_port => PortFile::RdmaCmPort,
        bindings::srpt_file_SRPT_FILE_login_refused => PortFile::LoginRefused,
        bindings::srpt_file_SRPT_FILE_port_id => PortFile::PortId,
        bindings::srpt_file_SRPT_FILE_comp_v_mask => PortFile::CompVMask,
        bindings::srpt_file_SRPT_FILE_srp_max_rdma_size => PortFile::Attr(PortAttr::MaxRdmaSize),
        bindings::srpt_file_SRPT_FILE_srp_max_rsp_size => PortFile::Attr(PortAttr::MaxRspSize),
        bindings::srpt_file_SRPT_FILE_srp_sq_size => PortFile::Attr(PortAttr::SqSize),
        bindings::srpt_file_SRPT_FILE_use_srq => PortFile::Attr(PortAttr::UseSrq),
        bindings::srpt_file_SRPT_FILE_logins => PortFile::Logins,
        bindings::srpt_file_SRPT_FILE_logins_refused => PortFile::LoginsRefused,
        _ => match (counter(file), stage(file), refusal) {
            (Some(index), _, _) => PortFile::Counter(index),
            (_, Some(index), _) => PortFile::Latency(index),
            (_, _, Some(index)) => PortFile::Refusal(index),
            _ => return None,
        },
    })
}

/// A file of a session, by its number.
fn session_file(file: u32) -> Option<SessionFile> {
    Some(match file {
        bindings::srpt_file_SRPT_FILE_initiator_port_id => SessionFile::InitiatorPortId,
        bindings::srpt_file_SRPT_FILE_peer => SessionFile::Peer,
        bindings::srpt_file_SRPT_FILE_channels => SessionFile::Channels,
        bindings::srpt_file_SRPT_FILE_state => SessionFile::State,
        bindings::srpt_file_SRPT_FILE_req_lim => SessionFile::ReqLim,
        bindings::srpt_file_SRPT_FILE_active => SessionFile::Active,
        bindings::srpt_file_SRPT_FILE_sq_used => SessionFile::SqUsed,
        bindings::srpt_file_SRPT_FILE_comp_vector => SessionFile::CompVector,
        bindings::srpt_file_SRPT_FILE_age => SessionFile::Age,
        _ => match (counter(file), stage(file)) {
            (Some(index), _) => SessionFile::Counter(index),
            (_, Some(index)) => SessionFile::Latency(index),
            _ => return None,
        },
    })
}

assert_matches_header! {
    srpt_port_show,
    srpt_port_store,
    srpt_session_show,
    srpt_session_store,
}

/// Shows a file of a port. Process context, may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`PortDir`], with a zeroed page and the mutex of the open
/// file held.
#[no_mangle]
unsafe extern "C" fn srpt_port_show(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The device is that of a `PortDir`, whose data is a port that is kept until nobody is
    // in here any more; see the head of this file.
    let port = unsafe { &*bindings::srpt_port_dir_port(dev).cast::<HcaPort>() };
    // SAFETY: The attribute is one of those in `sysfs.c`.
    let file = port_file(unsafe { bindings::srpt_port_file(attr) });
    // SAFETY: By the safety requirements.
    let mut page = unsafe { Page::from_raw(buf) };
    let shown = file.ok_or(EINVAL);
    to_ssize(
        shown
            .and_then(|file| admin::show_port(port, file, &mut page))
            .map(|()| page.len()),
    )
}

/// Takes a value for a file of a port. Process context, may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`PortDir`], with what was written, NUL-terminated.
#[no_mangle]
unsafe extern "C" fn srpt_port_store(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: As in `srpt_port_show()`.
    let port = unsafe { &*bindings::srpt_port_dir_port(dev).cast::<HcaPort>() };
    // SAFETY: The attribute is one of those in `sysfs.c`.
    let file = port_file(unsafe { bindings::srpt_port_file(attr) });
    // SAFETY: By the safety requirements.
    let text = unsafe { CStr::from_char_ptr(buf) };
    let taken = file.ok_or(EINVAL).and_then(|file| {
        let text = text.to_str().map_err(|_| EINVAL)?;
        admin::store_port(port, file, text)
    });
    to_ssize(taken.map(|()| count))
}

/// Shows a file of a session. Process context, may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`SessionDir`], with a zeroed page and the mutex of the
/// open file held.
#[no_mangle]
unsafe extern "C" fn srpt_session_show(
    kobj: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The attribute is one of those in `sysfs.c`.
    let file = session_file(unsafe { bindings::srpt_session_file(attr) });
    // SAFETY: By the safety requirements.
    let mut page = unsafe { Page::from_raw(buf) };
    let shown = file.ok_or(EINVAL);
    to_ssize(
        shown
            .and_then(|file| admin::show_session(DirKey(kobj.addr()), file, &mut page))
            .map(|()| page.len()),
    )
}

/// Takes a value for the one file of a session that can be written, `disconnect`. Process context,
/// may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`SessionDir`], with what was written, NUL-terminated.
#[no_mangle]
unsafe extern "C" fn srpt_session_store(
    kobj: *mut bindings::kobject,
    _: *mut bindings::kobj_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: By the safety requirements.
    let text = unsafe { CStr::from_char_ptr(buf) };
    let taken = text
        .to_str()
        .map_err(|_| EINVAL)
        .and_then(|text| admin::disconnect(DirKey(kobj.addr()), text));
    to_ssize(taken.map(|()| count))
}
