// SPDX-License-Identifier: GPL-2.0

//! The IB client (`struct ib_client`): addition and removal of RDMA devices.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! This file upholds the guarantee of [`Device`]: neither a failed [`Client::add`] nor
//! [`Client::remove`] returns to the RDMA core while a handle on the device exists.
//!
//! Not here: devices themselves ([`super::device`]), what this module keeps per device
//! ([`crate::hca`]).

use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    container_of,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};

use super::device::{
    Device,
    DeviceName, //
};
use crate::{
    bindings,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        completion::Completion,
        workqueue::Queue, //
    }, //
};

/// Interval of warnings about a device that is still in use, in milliseconds.
const COMPLAIN_MS: u32 = 10_000;

/// A user of all RDMA devices.
///
/// All callbacks run in process context and may sleep. For one device they are serialised.
pub(crate) trait Client: 'static {
    /// Data kept per device.
    type Data: Send + Sync;
    /// Name of the client.
    const NAME: &'static CStr;

    /// Handles a new device and returns its data.
    ///
    /// # Errors
    ///
    /// Any; the device is then skipped, and every handle on it must be dropped.
    fn add(device: &Device) -> Result<Self::Data>;

    /// Handles a change of a device's name. Does not overlap with [`Self::remove`].
    fn renamed(data: &Self::Data);

    /// Handles the removal of a device, or the drop of the registration. Everything that holds a
    /// [`Device`] must be dropped, possibly after this has returned; the removal waits for that.
    fn remove(data: Self::Data);
}

/// The registered `struct ib_client`, and the work queue that destroys objects whose drop must not
/// sleep.
#[repr(C)]
struct Cell {
    client: bindings::ib_client,
    destroy_queue: Queue,
}

/// The registered client. `ib_client.add` has no context argument, and `ib_set_client_data`
/// requires the client.
static ACTIVE: Atomic<*mut bindings::ib_client> = Atomic::new(ptr::null_mut());

/// Client data of a device.
struct Attached<T: Client> {
    data: T::Data,
    gone: Arc<Completion>,
}

/// A registered client; dropping it removes all devices and unregisters the client. There can be
/// one.
///
/// # Invariants
///
/// `cell` came from `KBox::into_raw`, its client is registered, and `ACTIVE` points to that.
pub(crate) struct Registration<T: Client> {
    cell: NonNull<Cell>,
    _client: PhantomData<fn() -> T>,
}

// SAFETY: A client may be unregistered by any task.
unsafe impl<T: Client> Send for Registration<T> {}
// SAFETY: There are no functions on a shared reference.
unsafe impl<T: Client> Sync for Registration<T> {}

impl<T: Client> Registration<T> {
    /// Registers the client (`ib_register_client`). Calls `T::add` for all present devices before
    /// this returns. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is a registration already, `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let cell = KBox::new(
            Cell {
                client: bindings::ib_client {
                    name: T::NAME.as_char_ptr(),
                    add: Some(add_callback::<T>),
                    remove: Some(remove_callback::<T>),
                    rename: Some(rename_callback::<T>),
                    ..pin_init::zeroed()
                },
                destroy_queue: Queue::unbound(c"ib_srpt_destroy")?,
            },
            GFP_KERNEL,
        )?;
        let cell = KBox::into_raw(cell);
        // SAFETY: The box is valid. The core keeps pointers into it, so there are no references
        // from now on.
        let client = unsafe { &raw mut (*cell).client };
        let result = match ACTIVE.cmpxchg(ptr::null_mut(), client, Full) {
            Ok(_) => {
                // SAFETY: The client is valid until the drop; its callbacks are for `T`.
                let result = to_result(unsafe { bindings::ib_register_client(client) });
                if result.is_err() {
                    ACTIVE.store(ptr::null_mut(), Relaxed);
                }
                result
            }
            Err(_) => Err(EBUSY),
        };
        if let Err(e) = result {
            // SAFETY: The pointer came from `into_raw`, and the core does not hold it any more:
            // `ib_register_client` removes what it added when it fails.
            drop(unsafe { KBox::from_raw(cell) });
            return Err(e);
        }
        // INVARIANT: It is registered.
        Ok(Self {
            // SAFETY: `into_raw` does not return NULL.
            cell: unsafe { NonNull::new_unchecked(cell) },
            _client: PhantomData,
        })
    }
}

impl<T: Client> Drop for Registration<T> {
    fn drop(&mut self) {
        let cell = self.cell.as_ptr();
        // SAFETY: By the type invariant the client is registered. It is a full fence: no callback
        // runs afterwards, and all `remove` callbacks have returned.
        unsafe { bindings::ib_unregister_client(&raw mut (*cell).client) };
        ACTIVE.store(ptr::null_mut(), Relaxed);
        // SAFETY: By the type invariant the pointer came from `into_raw`; the core does not hold it
        // any more. Handles on devices, which point to the queue, are dropped: `remove` waited for
        // them.
        drop(unsafe { KBox::from_raw(cell) });
    }
}

/// Waits until the last handle on a device was dropped. Warns every 10 seconds. Sleeps.
fn wait_gone(gone: &Completion, name: &CStr) {
    while !gone.wait_timeout(COMPLAIN_MS) {
        pr_warn!("{}: the device is still in use\n", name);
    }
}

/// Handles a new device.
///
/// # Safety
///
/// Called with a device that is being added to the registered client, which is for `T`.
unsafe fn add<T: Client>(raw: *mut bindings::ib_device) -> Result {
    let client = ACTIVE.load(Acquire);
    if client.is_null() {
        return Err(ENODEV);
    }
    let device = NonNull::new(raw).ok_or(EINVAL)?;
    // SAFETY: `ACTIVE` points to the `client` of a `Cell`, which is valid while callbacks run.
    let queue = unsafe { &raw mut (*container_of!(client, Cell, client)).destroy_queue };
    // SAFETY: The device stays registered until `remove` returns, or this function if it fails;
    // both wait for the completion. The queue lives longer than the registration.
    let (device, gone) = unsafe { Device::attach(device, NonNull::new(queue).ok_or(EINVAL)?) }?;
    // Allocated first: once the client has accepted the device, nothing may fail.
    let attached = KBox::<Attached<T>>::new_uninit(GFP_KERNEL)
        .map_err(Error::from)
        .and_then(|memory| {
            let data = T::add(&device)?;
            Ok(memory.write(Attached {
                data,
                gone: gone.clone(),
            }))
        });
    match attached {
        Ok(attached) => {
            // SAFETY: Both are valid; data may be set while the device is being added.
            unsafe {
                bindings::ib_set_client_data(raw, client, KBox::into_raw(attached).cast::<c_void>())
            };
            Ok(())
        }
        Err(e) => {
            let name = device.name();
            drop(device);
            wait_gone(&gone, name.as_c_str());
            Err(e)
        }
    }
}

/// `ib_client.add`.
///
/// # Safety
///
/// Called by the RDMA core only, for a registered client of type `T`.
unsafe extern "C" fn add_callback<T: Client>(device: *mut bindings::ib_device) -> c_int {
    from_result(|| {
        // SAFETY: The core calls this for a device that is being added.
        unsafe { add::<T>(device) }?;
        Ok(0)
    })
}

/// `ib_client.rename`. Process context, may sleep.
///
/// # Safety
///
/// Called by the RDMA core only, for a registered client of type `T`, with the data `add` set, and
/// not while `remove` runs.
unsafe extern "C" fn rename_callback<T: Client>(
    _device: *mut bindings::ib_device,
    client_data: *mut c_void,
) {
    if !client_data.is_null() {
        // SAFETY: `add` set this pointer, which came from `into_raw`. `ib_device_rename()` holds
        // `client_data_rwsem`, which removal takes before it passes the data to `remove`.
        let attached = unsafe { &*client_data.cast::<Attached<T>>() };
        T::renamed(&attached.data);
    }
}

/// `ib_client.remove`.
///
/// # Safety
///
/// Called by the RDMA core only, for a registered client of type `T`, with the data `add` set.
unsafe extern "C" fn remove_callback<T: Client>(
    device: *mut bindings::ib_device,
    client_data: *mut c_void,
) {
    if client_data.is_null() {
        return;
    }
    // SAFETY: `add` set this pointer, which came from `into_raw`; the core passes it once.
    let attached = unsafe { KBox::from_raw(client_data.cast::<Attached<T>>()) };
    let Attached { data, gone } = KBox::into_inner(attached);
    // SAFETY: The device is being removed, and stays valid until this returns.
    let name = unsafe { DeviceName::read(device) };
    T::remove(data);
    wait_gone(&gone, name.as_c_str());
}
