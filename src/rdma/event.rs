// SPDX-License-Identifier: GPL-2.0

//! Asynchronous events of a device and its ports (`struct ib_event_handler`).
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: events of queue pairs ([`super::qp`]) and of shared receive queues.

use core::ptr::NonNull;

use kernel::{
    container_of,
    prelude::*,
    sync::Arc, //
};

use super::device::Device;
use crate::bindings;

/// Kind of an asynchronous event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DeviceEventKind {
    /// The port's link came up.
    PortActive,
    /// The port's link went down.
    PortError,
    /// The port's LID changed.
    LidChange,
    /// The port's P_Key table changed.
    PkeyChange,
    /// The port's GID table changed.
    GidChange,
    /// The port's subnet manager changed.
    SmChange,
    /// The subnet manager requests that clients register with the subnet again.
    ClientReregister,
    /// The device has failed. No port.
    DeviceFatal,
    /// Another `enum ib_event_type`.
    Other(u32),
}

/// An asynchronous event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceEvent {
    /// Kind of the event.
    pub(crate) kind: DeviceEventKind,
    /// Number of the port, 0 if the event does not concern a port.
    pub(crate) port: u32,
}

/// Handler of events.
pub(crate) trait DeviceEvents: Send + Sync + 'static {
    /// Handles an event. Called in process context; calls may overlap. May sleep, but must not drop
    /// the [`EventHandler`].
    fn event(&self, event: DeviceEvent);
}

/// The registered `struct ib_event_handler` and its target.
struct Handler<T: DeviceEvents> {
    raw: bindings::ib_event_handler,
    target: Arc<T>,
    _device: Device,
}

/// A registered event handler; dropping it unregisters it and waits for calls in progress.
///
/// # Invariants
///
/// `handler` came from `KBox::into_raw` and is registered.
pub(crate) struct EventHandler<T: DeviceEvents> {
    handler: NonNull<Handler<T>>,
}

// SAFETY: A handler may be unregistered by any task, and `T` is `Send` and `Sync`.
unsafe impl<T: DeviceEvents> Send for EventHandler<T> {}
// SAFETY: There are no functions on a shared reference.
unsafe impl<T: DeviceEvents> Sync for EventHandler<T> {}

impl<T: DeviceEvents> EventHandler<T> {
    /// Registers a handler (`ib_register_event_handler`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(device: &Device, target: Arc<T>) -> Result<Self> {
        let handler = KBox::new(
            Handler {
                raw: bindings::ib_event_handler {
                    device: device.as_raw(),
                    handler: Some(event_callback::<T>),
                    ..pin_init::zeroed()
                },
                target,
                _device: device.clone(),
            },
            GFP_KERNEL,
        )?;
        let handler = KBox::into_raw(handler);
        // SAFETY: The handler stays valid until it is unregistered in the drop, and the device is
        // registered because the handler holds it.
        unsafe { bindings::ib_register_event_handler(&raw mut (*handler).raw) };
        // INVARIANT: It is registered now.
        Ok(Self {
            // SAFETY: `into_raw` does not return NULL.
            handler: unsafe { NonNull::new_unchecked(handler) },
        })
    }
}

impl<T: DeviceEvents> Drop for EventHandler<T> {
    fn drop(&mut self) {
        let handler = self.handler.as_ptr();
        // SAFETY: By the type invariant it is registered. Handlers run with the read side of the
        // semaphore held that this takes for writing, so none runs afterwards.
        unsafe { bindings::ib_unregister_event_handler(&raw mut (*handler).raw) };
        // SAFETY: By the type invariant the pointer came from `into_raw`, and C does not hold it
        // any more.
        drop(unsafe { KBox::from_raw(handler) });
    }
}

/// `ib_event_handler.handler`.
///
/// # Safety
///
/// Called by the RDMA core only, with the `raw` of a registered [`Handler<T>`].
unsafe extern "C" fn event_callback<T: DeviceEvents>(
    handler: *mut bindings::ib_event_handler,
    event: *mut bindings::ib_event,
) {
    // SAFETY: The handler is registered, so it is valid until this returns. The core passes a
    // valid event.
    let (target, event) = unsafe { (&(*container_of!(handler, Handler<T>, raw)).target, &*event) };
    // SAFETY: All members of the union are initialised bytes of it: the core builds the event
    // from zeroed memory or copies a whole one.
    let port = unsafe { event.element.port_num };
    let kind = match event.event {
        bindings::ib_event_type_IB_EVENT_PORT_ACTIVE => DeviceEventKind::PortActive,
        bindings::ib_event_type_IB_EVENT_PORT_ERR => DeviceEventKind::PortError,
        bindings::ib_event_type_IB_EVENT_LID_CHANGE => DeviceEventKind::LidChange,
        bindings::ib_event_type_IB_EVENT_PKEY_CHANGE => DeviceEventKind::PkeyChange,
        bindings::ib_event_type_IB_EVENT_GID_CHANGE => DeviceEventKind::GidChange,
        bindings::ib_event_type_IB_EVENT_SM_CHANGE => DeviceEventKind::SmChange,
        bindings::ib_event_type_IB_EVENT_CLIENT_REREGISTER => DeviceEventKind::ClientReregister,
        bindings::ib_event_type_IB_EVENT_DEVICE_FATAL => DeviceEventKind::DeviceFatal,
        other => DeviceEventKind::Other(other),
    };
    let port = match kind {
        DeviceEventKind::DeviceFatal | DeviceEventKind::Other(_) => 0,
        _ => port,
    };
    target.event(DeviceEvent { kind, port });
}
