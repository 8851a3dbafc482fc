// SPDX-License-Identifier: GPL-2.0

//! Management datagrams (MADs): an agent that answers requests of one class on one port.
//!
//! C header: [`include/rdma/ib_mad.h`](srctree/include/rdma/ib_mad.h)
//!
//! The agent sends answers to requests and nothing else; no function waits for a datagram. Also
//! here: the port's capability flag for device management.
//!
//! Not here: the contents of the datagrams ([`crate::srp`]) and their handler ([`crate::hca`]).

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};

use super::device::Device;
use crate::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Size of a management datagram.
// CAST: A constant, 256.
pub(crate) const MAD_SIZE: usize = bindings::IB_MGMT_MAD_SIZE as usize;

/// A management datagram.
pub(crate) type Mad = [u8; MAD_SIZE];

/// Maximum number of answers of an agent whose sends have not completed. Answers beyond that are
/// dropped, as with a full receive queue, and requesters retry: a peer must not make the send queue
/// grow.
const MAX_ANSWERS: i32 = 64;

/// Handler of requests.
pub(crate) trait MadHandler: Send + Sync + 'static {
    /// Handles a request. Returns the answer, or `None` to send none.
    ///
    /// Called in process context, by ib_core's work item for the port's receives; calls for one
    /// agent do not overlap. May sleep, but no agent of this port receives a datagram meanwhile,
    /// including the connection manager. Must not drop the [`MadAgent`].
    fn request(&self, mad: &Mad) -> Option<Mad>;
}

/// Requests that an agent receives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MadClass {
    /// Management class.
    pub(crate) class: u8,
    /// Version of the class.
    pub(crate) version: u8,
    /// Methods.
    pub(crate) methods: &'static [u8],
    /// Number of bytes of a datagram before its attribute.
    pub(crate) header: usize,
}

/// Context of the callbacks.
struct Context<T: MadHandler> {
    handler: Arc<T>,
    header: c_int,
    /// Number of answers whose sends have not completed.
    answers: Atomic<i32>,
    _device: Device,
}

/// A registered agent; dropping it unregisters it and waits for calls and answers in progress.
///
/// # Invariants
///
/// `agent` is registered, with `context` as its context. `context` came from `KBox::into_raw`; only
/// shared references to it exist.
pub(crate) struct MadAgent<T: MadHandler> {
    agent: NonNull<bindings::ib_mad_agent>,
    context: NonNull<Context<T>>,
}

// SAFETY: An agent may be unregistered by any task that may sleep, and `T` is `Send` and `Sync`.
unsafe impl<T: MadHandler> Send for MadAgent<T> {}
// SAFETY: There are no functions on a shared reference.
unsafe impl<T: MadHandler> Sync for MadAgent<T> {}

impl<T: MadHandler> MadAgent<T> {
    /// Registers an agent at the port's QP 1 (`ib_register_mad_agent`). May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an invalid class or method, or if another agent has it on this port; `ENODEV`
    /// if the port does not support management datagrams; `ENOMEM`.
    pub(crate) fn register(
        device: &Device,
        port: u32,
        class: &MadClass,
        handler: Arc<T>,
    ) -> Result<Self> {
        if !device.has_mads(port) {
            return Err(ENODEV);
        }
        if class.header >= MAD_SIZE {
            return Err(EINVAL);
        }
        let mut request = bindings::ib_mad_reg_req {
            mgmt_class: class.class,
            mgmt_class_version: class.version,
            ..pin_init::zeroed()
        };
        for &method in class.methods {
            // CAST: Widening.
            let bits = usize::BITS as usize;
            let word = request
                .method_mask
                .get_mut(usize::from(method) / bits)
                .ok_or(EINVAL)?;
            *word |= 1 << (usize::from(method) % bits);
        }
        let context = KBox::new(
            Context {
                handler,
                header: c_int::try_from(class.header)?,
                answers: Atomic::new(0),
                _device: device.clone(),
            },
            GFP_KERNEL,
        )?;
        let context = KBox::into_raw(context);
        // SAFETY: The device is registered as long as the handle exists, and `request` is valid;
        // the core copies it. The context stays valid until the agent is unregistered in the drop.
        let agent = from_err_ptr(unsafe {
            bindings::srpt_ib_register_mad_agent(
                device.as_raw(),
                port,
                &mut request,
                Some(send_callback::<T>),
                Some(recv_callback::<T>),
                context.cast::<c_void>(),
            )
        })
        .and_then(|agent| NonNull::new(agent).ok_or(ENOMEM));
        match agent {
            // INVARIANT: It is registered now, with this context.
            Ok(agent) => Ok(Self {
                agent,
                // SAFETY: `into_raw` does not return NULL.
                context: unsafe { NonNull::new_unchecked(context) },
            }),
            Err(e) => {
                // SAFETY: The pointer came from `into_raw`, and C does not hold it.
                drop(unsafe { KBox::from_raw(context) });
                Err(e)
            }
        }
    }
}

impl<T: MadHandler> Drop for MadAgent<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the agent is registered. This waits until receive and send
        // callbacks in progress have returned and every datagram that was created for sending was
        // freed, which the completion of its send does; none is called afterwards.
        unsafe { bindings::ib_unregister_mad_agent(self.agent.as_ptr()) };
        // SAFETY: By the type invariant the pointer came from `into_raw`; C does not hold it any
        // more.
        drop(unsafe { KBox::from_raw(self.context.as_ptr()) });
    }
}

/// A received datagram; dropping it returns the buffers to the core.
///
/// # Invariants
///
/// The pointer came from the core in a receive callback and was not returned.
struct Received(NonNull<bindings::ib_mad_recv_wc>);

impl Received {
    /// Returns the datagram, or [`None`] if fewer than [`MAD_SIZE`] bytes were received.
    fn mad(&self) -> Option<&Mad> {
        // SAFETY: By the type invariant this is a valid datagram. All members of the union are
        // pointers to its first byte.
        let (mad, len) = unsafe {
            let wc = self.0.as_ref();
            (wc.recv_buf.__bindgen_mad.mad, wc.mad_len)
        };
        if usize::try_from(len).unwrap_or(0) < MAD_SIZE {
            return None;
        }
        // SAFETY: The buffer has at least as many bytes as the port's largest datagram, so `Mad` is
        // inside; it was zeroed when it was allocated, and the device is done with it. Nothing
        // writes to it before it is returned, when `self` is dropped.
        unsafe { mad.cast::<Mad>().as_ref() }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is valid and was not returned.
        unsafe { bindings::ib_free_recv_mad(self.0.as_ptr()) };
    }
}

/// An address handle; dropping it destroys it. Only in process context.
///
/// # Invariants
///
/// The pointer is valid and owned.
struct AddressHandle(NonNull<bindings::ib_ah>);

impl AddressHandle {
    /// Creates an address handle of the sender of a datagram (`ib_create_ah_from_wc`). Sleeps; if
    /// the sender's address has to be resolved, for a second at most.
    ///
    /// # Errors
    ///
    /// `EPROTOTYPE` if the datagram has no global route header but the port requires one, and those
    /// of address resolution and of the device's driver.
    ///
    /// # Safety
    ///
    /// `agent` must be registered.
    unsafe fn back(agent: *mut bindings::ib_mad_agent, received: &Received) -> Result<Self> {
        // SAFETY: By the safety requirements the agent is valid, and with it the queue pair of the
        // port. `received` is valid by its type invariant; the core sets its completion and the
        // place of the global route header in every case.
        let ah = from_err_ptr(unsafe {
            let wc = received.0.as_ref();
            bindings::ib_create_ah_from_wc(
                (*(*agent).qp).pd,
                wc.wc,
                wc.recv_buf.grh,
                (*agent).port_num.into(),
            )
        })?;
        // INVARIANT: It was just created.
        Ok(Self(NonNull::new(ah).ok_or(ENOMEM)?))
    }

    /// Releases ownership; the holder of the pointer must destroy the handle.
    fn into_raw(self) -> *mut bindings::ib_ah {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for AddressHandle {
    fn drop(&mut self) {
        let flags = bindings::rdma_destroy_ah_flags_RDMA_DESTROY_AH_SLEEPABLE;
        // SAFETY: By the type invariant the handle is ours. It is a kernel object, so there is no
        // user data.
        let ret =
            unsafe { bindings::rdma_destroy_ah_user(self.0.as_ptr(), flags, ptr::null_mut()) };
        if ret != 0 {
            pr_err!("cannot destroy an address handle: {}\n", ret);
        }
    }
}

/// A datagram that was created for sending; dropping it frees it and its address handle.
///
/// # Invariants
///
/// The pointer is valid and owned; its address handle is NULL or owned.
struct Outgoing(NonNull<bindings::ib_mad_send_buf>);

impl Outgoing {
    /// Creates an answer to `received` (`ib_create_send_mad`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `agent` must be registered.
    unsafe fn new(
        agent: *mut bindings::ib_mad_agent,
        received: &Received,
        header: c_int,
        mad: &Mad,
    ) -> Result<Self> {
        // CAST: A constant, 256. The header is smaller.
        let data = MAD_SIZE as c_int - header;
        // SAFETY: By the safety requirements the agent is valid, and `received` is by its type
        // invariant.
        let buf = from_err_ptr(unsafe {
            let wc = received.0.as_ref().wc;
            bindings::srpt_ib_create_send_mad(agent, (*wc).src_qp, (*wc).pkey_index, header, data)
        })?;
        // INVARIANT: It was just created, without an address handle.
        let outgoing = Self(NonNull::new(buf).ok_or(ENOMEM)?);
        // SAFETY: For this version and lengths, C allocated `MAD_SIZE` bytes; nothing else uses
        // them.
        unsafe { (*buf).mad.cast::<Mad>().write(*mad) };
        Ok(outgoing)
    }

    /// Posts the datagram (`ib_post_send_mad`). It and the address handle then belong to the
    /// completion.
    ///
    /// # Errors
    ///
    /// Those of the device's driver, and `EACCES` if the agent may not use the partition.
    fn post(self, ah: AddressHandle) -> Result {
        // SAFETY: By the type invariant the datagram is valid and ours.
        to_result(unsafe {
            (*self.0.as_ptr()).ah = ah.into_raw();
            bindings::ib_post_send_mad(self.0.as_ptr(), ptr::null_mut())
        })?;
        // The completion frees it, and may have done so already.
        core::mem::forget(self);
        Ok(())
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the datagram is valid and ours; it was not posted, or its
        // send has completed.
        let ah = unsafe { (*self.0.as_ptr()).ah };
        // INVARIANT: By the type invariant it is ours.
        drop(NonNull::new(ah).map(AddressHandle));
        // SAFETY: As above.
        unsafe { bindings::ib_free_send_mad(self.0.as_ptr()) };
    }
}

impl<T: MadHandler> Context<T> {
    /// Answers a datagram, unless the handler returns no answer.
    ///
    /// # Safety
    ///
    /// `agent` must be registered.
    unsafe fn answer(&self, agent: *mut bindings::ib_mad_agent, received: &Received) {
        let Some(answer) = received.mad().and_then(|mad| self.handler.request(mad)) else {
            return;
        };
        if self.answers.fetch_add(1, Relaxed) < MAX_ANSWERS {
            // SAFETY: By the safety requirements.
            let sent = unsafe { self.send(agent, received, &answer) };
            if sent.is_ok() {
                // Counted until the send completes.
                return;
            }
            // Like a lost datagram: the requester retries.
        }
        self.answers.fetch_sub(1, Relaxed);
    }

    /// Sends an answer to `received`.
    ///
    /// # Errors
    ///
    /// Those of [`AddressHandle::back`], [`Outgoing::new`] and [`Outgoing::post`].
    ///
    /// # Safety
    ///
    /// `agent` must be registered.
    unsafe fn send(
        &self,
        agent: *mut bindings::ib_mad_agent,
        received: &Received,
        answer: &Mad,
    ) -> Result {
        // SAFETY: By the safety requirements.
        let (ah, outgoing) = unsafe {
            let ah = AddressHandle::back(agent, received)?;
            (ah, Outgoing::new(agent, received, self.header, answer)?)
        };
        outgoing.post(ah)
    }
}

/// `ib_mad_agent.recv_handler`. Process context.
///
/// # Safety
///
/// Called by the RDMA core only, for a registered agent whose context is a [`Context<T>`].
unsafe extern "C" fn recv_callback<T: MadHandler>(
    agent: *mut bindings::ib_mad_agent,
    _request: *mut bindings::ib_mad_send_buf,
    received: *mut bindings::ib_mad_recv_wc,
) {
    let Some(received) = NonNull::new(received) else {
        return;
    };
    // INVARIANT: The core passes it to the receive callback, which has to return it.
    let received = Received(received);
    // SAFETY: The agent is registered, so it and its context are valid until this returns.
    unsafe {
        let context = &*(*agent).context.cast::<Context<T>>();
        context.answer(agent, &received);
    }
}

/// `ib_mad_agent.send_handler`. Process context: a work queue handles completions of QP 1; sends
/// that the unregistration cancels are completed by its caller.
///
/// # Safety
///
/// Called by the RDMA core only, for a registered agent whose context is a [`Context<T>`].
unsafe extern "C" fn send_callback<T: MadHandler>(
    agent: *mut bindings::ib_mad_agent,
    wc: *mut bindings::ib_mad_send_wc,
) {
    // SAFETY: The agent is registered, so it and its context are valid until this returns. The core
    // passes a valid completion.
    let (context, buf) = unsafe {
        let context = &*(*agent).context.cast::<Context<T>>();
        (context, (*wc).send_buf)
    };
    // INVARIANT: `Outgoing::post` left what was posted, with its address handle, to this
    // completion.
    drop(NonNull::new(buf).map(Outgoing));
    context.answers.fetch_sub(1, Relaxed);
}

/// The capability flag of a port that has a device management agent
/// (`IsDeviceManagementSupported`), by which initiators choose the ports to query; dropping this
/// clears it.
///
/// # Invariants
///
/// The capability is set.
pub(crate) struct DeviceManagement {
    device: Device,
    port: u32,
}

impl DeviceManagement {
    /// Sets the capability (`ib_modify_port`). May sleep.
    ///
    /// # Errors
    ///
    /// Those of the device's driver; those of virtual functions often do not allow it.
    pub(crate) fn announce(device: &Device, port: u32) -> Result<Self> {
        modify(device, port, CAPABILITY, 0)?;
        // INVARIANT: It was just set.
        Ok(Self {
            device: device.clone(),
            port,
        })
    }
}

impl Drop for DeviceManagement {
    fn drop(&mut self) {
        // If this fails, the capability stays set, and queries of initiators are not answered.
        let _ = modify(&self.device, self.port, 0, CAPABILITY);
    }
}

/// Bit of the capability in a port's capability mask.
const CAPABILITY: u32 = bindings::ib_port_capability_mask_bits_IB_PORT_DEVICE_MGMT_SUP;

/// Changes a port's capabilities.
fn modify(device: &Device, port: u32, set: u32, clear: u32) -> Result {
    let mut change = bindings::ib_port_modify {
        set_port_cap_mask: set,
        clr_port_cap_mask: clear,
        ..pin_init::zeroed()
    };
    // SAFETY: The device is registered as long as the handle exists; C checks the port's number.
    to_result(unsafe { bindings::ib_modify_port(device.as_raw(), port, 0, &mut change) })
}
