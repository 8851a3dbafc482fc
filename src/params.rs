// SPDX-License-Identifier: GPL-2.0

//! Module parameters: typed values, their limits, and the port number of the RDMA/CM listener.
//!
//! The `module_param` macros are in `params.c`, because parameters declared with the kernel crate's
//! `module!` macro do not appear in sysfs; names, formats, defaults and permissions are those of
//! the C driver, where that has the parameter. All logic is here.
//!
//! Not here: the listener, whose owner registers a function with [`on_cm_port_change`].
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)
//!
//! # The parameter lock
//!
//! The kernel calls the set and get operations of a module's parameters, at load time and from
//! sysfs, with that module's parameter mutex held, in a kernel's image that of all parameters
//! (`kernel_param_lock()`, see `parse_one()` and `param_attr_store()`). The other writer of
//! `rdma_cm_port` (configfs) takes the same lock in [`set_rdma_cm_port`], so changes are serialised
//! and both files show one value. The lock is outermost: it is taken before any lock of the
//! listener's owner, never inside one.

use core::cell::UnsafeCell;

use kernel::{
    error::to_result,
    ffi::{
        c_char,
        c_int,
        c_uint, //
    },
    page::PAGE_SIZE,
    prelude::*,
    types::NotThreadSafe, //
};

use crate::{
    bindings::{
        self,
        assert_matches_header, //
    },
    srp::{
        machine::bounds::Channels,
        wire::{
            ident::Guid,
            login::Requests, //
        }, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        AtomicFlag,
        Relaxed,
        Release, //
    }, //
};

/// Smallest accepted `srp_max_req_size`, in bytes: the C driver's limit.
pub(crate) const MIN_REQ_SIZE: u32 = 996;

/// Largest `srp_max_req_size`, in bytes, that has an effect.
///
/// The C driver has no upper limit. Every receive buffer has this size, and the largest request
/// that SRP can express (an additional CDB of 252 bytes and 510 descriptors) is far below it.
pub(crate) const MAX_REQ_SIZE: u32 = 65536;

/// Smallest accepted `srpt_srq_size`, in receive requests.
pub(crate) const MIN_SRQ_SIZE: u32 = 4;

/// Largest accepted `srpt_srq_size`, in receive requests.
pub(crate) const MAX_SRQ_SIZE: u32 = 65535;

/// Largest `max_inline_data` that has an effect, in bytes. No response is longer by much, and some
/// devices make every work request that large.
const MAX_INLINE_DATA: u32 = 512;

/// Function that applies a new `rdma_cm_port`; see [`on_cm_port_change`].
pub(crate) type CmPortFn = fn(u16) -> Result;

/// Value of `srpt_service_guid`; zero means "not set".
static SERVICE_GUID: Atomic<u64> = Atomic::new(0);

/// [`SERVICE_GUID`] is in force even if it is zero: [`service_guid_or`] was called.
static SERVICE_GUID_CHOSEN: AtomicFlag = AtomicFlag::new(false);

/// Value of `rdma_cm_port`: used by the listener now, or once the module is initialised.
///
/// Written only with the parameter lock held, read from any context.
static RDMA_CM_PORT: Atomic<u32> = Atomic::new(0);

/// Function that applies changes of [`RDMA_CM_PORT`]; [`None`] before module init and after exit.
static CM_PORT_HOOK: ParamLocked<Option<CmPortFn>> = ParamLocked::new(None);

/// Proof that the current task holds the parameter lock of this module.
///
/// # Invariants
///
/// While a value exists, the task that created it holds the lock, and no second value exists.
struct Held(NotThreadSafe);

impl Held {
    /// States that the parameter lock is held.
    ///
    /// # Safety
    ///
    /// The calling task must hold the parameter lock of this module for as long as the returned
    /// value exists, and no other [`Held`] may exist.
    unsafe fn assume() -> Self {
        // INVARIANT: The safety requirements of this function are the type invariants.
        Held(NotThreadSafe)
    }
}

/// Runs `f` with the parameter lock held. May sleep; must not be called with the lock held.
fn with_lock<R>(f: impl FnOnce(&mut Held) -> R) -> R {
    // SAFETY: `kernel_param_lock()` may be called from any context that may sleep.
    unsafe { bindings::srpt_param_lock() };
    // SAFETY: The lock was taken just above and is released only after `f` has returned (there is
    // no unwinding in the kernel). A mutex is held by one task at a time, hence no other `Held`.
    let result = f(&mut unsafe { Held::assume() });
    // SAFETY: This task took the lock above.
    unsafe { bindings::srpt_param_unlock() };
    result
}

/// A value that is read and written only with the parameter lock held.
struct ParamLocked<T>(UnsafeCell<T>);

// SAFETY: All access goes through `get` and `set`, which require the unique proof that the current
// task holds a mutex; `T: Send` allows any task to use the value.
unsafe impl<T: Send> Sync for ParamLocked<T> {}

impl<T: Copy> ParamLocked<T> {
    /// Wraps a value.
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Returns the value.
    fn get(&self, _: &mut Held) -> T {
        // SAFETY: By the invariants of `Held`, there is no concurrent access to the value.
        unsafe { *self.0.get() }
    }

    /// Replaces the value.
    fn set(&self, _: &mut Held, value: T) {
        // SAFETY: By the invariants of `Held`, there is no concurrent access to the value.
        unsafe { *self.0.get() = value }
    }
}

/// Checks the parameters that have limits; module init calls this before anything else.
///
/// # Errors
///
/// `EINVAL` if a parameter is outside its limits, which is logged: the module must then refuse to
/// load.
pub(crate) fn validate() -> Result {
    // SAFETY: Written only by `param_set_int()` while the module is being loaded (mode 0444), and
    // that is over before module init runs.
    let size = unsafe { bindings::srpt_param_srp_max_req_size };
    match u32::try_from(size) {
        Ok(size) if size > MAX_REQ_SIZE => {
            pr_warn!("srp_max_req_size={size} is more than {MAX_REQ_SIZE}, which is used\n");
        }
        Ok(size) if size >= MIN_REQ_SIZE => {}
        _ => {
            pr_err!("srp_max_req_size={size} is less than {MIN_REQ_SIZE}\n");
            return Err(EINVAL);
        }
    }

    let size = given_srq_size();
    if !(MIN_SRQ_SIZE..=MAX_SRQ_SIZE).contains(&size) {
        pr_err!("srpt_srq_size={size} is outside {MIN_SRQ_SIZE}..{MAX_SRQ_SIZE}\n");
        return Err(EINVAL);
    }
    let number = given_target_requests();
    if Requests::from_number(number).is_none() {
        pr_err!("target_requests={number} is not 0, 1 or 2\n");
        return Err(EINVAL);
    }
    Ok(())
}

/// Returns which initiators get requests of the target. Any context.
pub(crate) fn target_requests() -> Requests {
    // `validate()` lets no other numbers pass.
    Requests::from_number(given_target_requests()).unwrap_or(Requests::Able)
}

/// Returns the value of the parameter.
fn given_target_requests() -> u32 {
    // SAFETY: Written only by `param_set_uint()` while the module is being loaded (mode 0444), and
    // that is over before module init runs.
    unsafe { bindings::srpt_param_target_requests }
}

/// Returns the most channels that are allowed. Any context.
pub(crate) fn max_channels() -> Channels {
    // SAFETY: Written only by `param_set_uint()` while the module is being loaded (mode 0444), and
    // that is over before any Rust code except the set operations below runs.
    unsafe {
        Channels {
            nexus: bindings::srpt_param_max_channels_per_nexus,
            entry: bindings::srpt_param_max_channels_per_entry,
            port: bindings::srpt_param_max_channels_per_port,
            unconfirmed: bindings::srpt_param_max_unconfirmed_logins,
        }
    }
}

/// Returns the size of a receive buffer, hence of the largest accepted request, in bytes.
///
/// Between [`MIN_REQ_SIZE`] and [`MAX_REQ_SIZE`] once [`validate`] has succeeded. Any context.
pub(crate) fn srp_max_req_size() -> u32 {
    // SAFETY: Written only by `param_set_int()` while the module is being loaded (mode 0444), and
    // that is over before any Rust code except the set operations below runs.
    let size = unsafe { bindings::srpt_param_srp_max_req_size };
    u32::try_from(size).unwrap_or(0).min(MAX_REQ_SIZE)
}

/// Returns the depth of a shared receive queue, in requests.
///
/// Between [`MIN_SRQ_SIZE`] and [`MAX_SRQ_SIZE`]: with some engines the parameter can be changed
/// after [`validate`] has checked it. Any context.
pub(crate) fn srq_size() -> u32 {
    given_srq_size().clamp(MIN_SRQ_SIZE, MAX_SRQ_SIZE)
}

/// Returns the value of the parameter.
fn given_srq_size() -> u32 {
    // SAFETY: An aligned variable of the module; `param_set_uint()` writes it as a whole.
    unsafe { (&raw const bindings::srpt_param_srpt_srq_size).read_volatile() }
}

/// Returns the size of the largest response that is copied into its work request, in bytes; at most
/// [`MAX_INLINE_DATA`]. Any context.
pub(crate) fn max_inline_data() -> u32 {
    // SAFETY: Written only by `param_set_uint()` while the module is being loaded (mode 0444), and
    // that is over before any Rust code except the set operations below runs.
    unsafe { bindings::srpt_param_max_inline_data }.min(MAX_INLINE_DATA)
}

/// Returns whether native InfiniBand logins are accepted on RoCE ports, too. Any context.
pub(crate) fn ib_cm_on_roce() -> bool {
    // SAFETY: Written only by `param_set_bool()` while the module is being loaded (mode 0444), and
    // that is over before any Rust code except the set operations below runs.
    unsafe { bindings::srpt_param_ib_cm_on_roce }
}

/// Returns the service GUID that logins have to contain; [`None`] if none was set yet.
///
/// Any context.
pub(crate) fn service_guid() -> Option<Guid> {
    let guid = match SERVICE_GUID.load(Relaxed) {
        0 => SERVICE_GUID_CHOSEN
            .load(Acquire)
            .then(|| SERVICE_GUID.load(Relaxed))?,
        guid => guid,
    };
    Some(Guid(guid))
}

/// Sets the service GUID unless the user or an earlier call did, and returns the one in force.
/// Calls must not overlap.
///
/// The C driver uses the node GUID of the first HCA, in host byte order. It may be zero, the node
/// GUID of virtual functions before an administrator sets one; that stays in force, too, because
/// listeners and initiators have it by then. Any context.
pub(crate) fn service_guid_or(guid: u64) -> u64 {
    if let Some(current) = service_guid() {
        return current.0;
    }
    SERVICE_GUID.store(guid, Relaxed);
    SERVICE_GUID_CHOSEN.store(true, Release);
    guid
}

/// Returns the port number of the RDMA/CM listener in host byte order; zero means no listener.
///
/// Any context.
pub(crate) fn rdma_cm_port() -> u16 {
    // CAST: Only `u16` values are ever stored.
    RDMA_CM_PORT.load(Relaxed) as u16
}

/// Changes the port number of the RDMA/CM listener, as writing the parameter in sysfs does.
///
/// Takes the parameter lock and runs the registered [`CmPortFn`], so this may sleep and must be
/// called neither from that function nor with a lock held that it takes.
///
/// # Errors
///
/// Those of the registered function; the value is unchanged then.
#[allow(dead_code, reason = "not every engine has a file for it")]
pub(crate) fn set_rdma_cm_port(port: u16) -> Result {
    with_lock(|held| change_cm_port(held, port))
}

/// Calls the registered function with the port number, and stores the number only on success.
fn change_cm_port(held: &mut Held, port: u16) -> Result {
    // Also with the same number: what the listener lacks is tried again.
    if let Some(hook) = CM_PORT_HOOK.get(held) {
        hook(port)?;
    }
    RDMA_CM_PORT.store(u32::from(port), Relaxed);
    Ok(())
}

/// A registered [`CmPortFn`]. Dropping it unregisters the function and waits for a running call.
///
/// Held by the module for as long as the listener may be changed; to be dropped before the objects
/// that the function uses, and not with a lock held that the function takes. Dropping may sleep.
#[must_use = "the function is unregistered when this is dropped"]
pub(crate) struct CmPortHook(());

/// Registers the function that starts, moves or stops the RDMA/CM listener.
///
/// If a port number was given when the module was loaded, `hook` is called with it at once. Later
/// it is called for each number that is written, the same one included, whether through sysfs or
/// through [`set_rdma_cm_port`], always in process context, one call at a time and with the
/// parameter lock held; it may sleep. On error it must leave the listener unchanged. May sleep.
///
/// # Errors
///
/// That of `hook` for the port number given at load time; `hook` is not registered then. `EBUSY` if
/// another function is registered.
pub(crate) fn on_cm_port_change(hook: CmPortFn) -> Result<CmPortHook> {
    with_lock(|held| {
        if CM_PORT_HOOK.get(held).is_some() {
            return Err(EBUSY);
        }
        let port = rdma_cm_port();
        if port != 0 {
            hook(port)?;
        }
        CM_PORT_HOOK.set(held, Some(hook));
        Ok(CmPortHook(()))
    })
}

impl Drop for CmPortHook {
    fn drop(&mut self) {
        with_lock(|held| CM_PORT_HOOK.set(held, None));
    }
}

assert_matches_header! {
    srpt_param_guid_set,
    srpt_param_guid_get,
    srpt_param_cm_port_set,
    srpt_param_cm_port_get,
}

/// Set operation of `srpt_service_guid`: hexadecimal, `0x` is optional. Load time only (mode 0444).
///
/// # Safety
///
/// Only called by the kernel's parameter code, with `val` a NUL-terminated string.
#[no_mangle]
unsafe extern "C" fn srpt_param_guid_set(
    val: *const c_char,
    _kp: *const bindings::kernel_param,
) -> c_int {
    let mut guid = 0;
    // SAFETY: `val` is NUL-terminated: `parse_one()` refuses a parameter without a value for
    // operations that lack `KERNEL_PARAM_OPS_FL_NOARG`. `guid` is valid for writes.
    let ret = unsafe { kernel::bindings::kstrtoull(val, 16, &mut guid) };
    if ret == 0 {
        SERVICE_GUID.store(guid, Relaxed);
    }
    ret
}

/// Get operation of `srpt_service_guid`.
///
/// # Safety
///
/// Only called by the kernel's parameter code, with `buf` a buffer of a page.
#[no_mangle]
unsafe extern "C" fn srpt_param_guid_get(
    buf: *mut c_char,
    _kp: *const bindings::kernel_param,
) -> c_int {
    let format = c"0x%016llx\n".as_char_ptr();
    // SAFETY: sysfs passes a buffer of `PAGE_SIZE` bytes to `param_attr_show()`, which passes it
    // on; the format is NUL-terminated and takes one `unsigned long long`.
    unsafe {
        kernel::bindings::scnprintf(
            buf,
            PAGE_SIZE,
            format,
            service_guid().map_or(0, |guid| guid.0),
        )
    }
}

/// Set operation of `rdma_cm_port`: 0..65535, decimal or with a C prefix. Process context.
///
/// # Safety
///
/// Only called by the kernel's parameter code, with `val` a NUL-terminated string.
#[no_mangle]
unsafe extern "C" fn srpt_param_cm_port_set(
    val: *const c_char,
    _kp: *const bindings::kernel_param,
) -> c_int {
    let mut port = 0;
    // SAFETY: `val` is NUL-terminated: `parse_one()` refuses a parameter without a value for
    // operations that lack `KERNEL_PARAM_OPS_FL_NOARG`, and sysfs terminates the text that it
    // passes to `param_attr_store()`. `port` is valid for writes.
    let parsed = to_result(unsafe { kernel::bindings::kstrtou16(val, 0, &mut port) });
    // SAFETY: `parse_one()` and `param_attr_store()` hold the parameter lock of the parameter's
    // module, which is this one, around set operations. Nothing on that path creates a `Held`.
    let mut held = unsafe { Held::assume() };
    match parsed.and_then(|()| change_cm_port(&mut held, port)) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// Get operation of `rdma_cm_port`.
///
/// # Safety
///
/// Only called by the kernel's parameter code, with `buf` a buffer of a page.
#[no_mangle]
unsafe extern "C" fn srpt_param_cm_port_get(
    buf: *mut c_char,
    _kp: *const bindings::kernel_param,
) -> c_int {
    let format = c"%u\n".as_char_ptr();
    let port = c_uint::from(rdma_cm_port());
    // SAFETY: sysfs passes a buffer of `PAGE_SIZE` bytes to `param_attr_show()`, which passes it
    // on; the format is NUL-terminated and takes one `unsigned int`.
    unsafe { kernel::bindings::scnprintf(buf, PAGE_SIZE, format, port) }
}
