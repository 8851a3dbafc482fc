// SPDX-License-Identifier: GPL-2.0

//! The RDMA connection manager, passive side.
//!
//! C header: [`include/rdma/rdma_cm.h`](srctree/include/rdma/rdma_cm.h)
//!
//! # Destruction of an id
//!
//! The id of a new request belongs to the core, which destroys it if the handler returns non-zero.
//! After [`ConnectRequest::take_over`] it belongs to the [`CmId`], whose drop destroys it.
//! `rdma_destroy_id` waits for handlers in progress, so it must not be called in one; the core
//! destroys a `CmId` that is dropped inside its own handler, again because that returns non-zero.
//! [`IdShared::task`] distinguishes the cases.
//!
//! Not here: the interface that both connection managers share ([`super`]).

use core::{
    cell::Cell,
    marker::PhantomData,
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    },
    ptr::{
        self,
        NonNull, //
    },
    slice, //
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
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    CmEvent,
    ConnHandler,
    ConnParams,
    ListenHandler,
    REJ_CONSUMER_DEFINED, //
};
use crate::{
    bindings,
    rdma::{
        callback::Outcome,
        device::DeviceId,
        id::{
            IdShared,
            Life, //
        },
        qp::{
            QpInit,
            QpOwner,
            QueuePair, //
        },
        CALLER, //
    },
    sync::atomic::{
        Acquire,
        Full,
        Release, //
    }, //
};

/// `AF_INET`.
const AF_INET: u16 = 2;
/// `AF_INET6`.
const AF_INET6: u16 = 10;

/// Number of connection requests that the core queues while one is being handled.
const BACKLOG: c_int = 128;

/// A connection request of a peer; see [`super::ConnectRequest`].
///
/// # Invariants
///
/// `id` is a valid id with `event` as its request, for `'a`; its callback is running on this task.
pub(crate) struct ConnectRequest<'a> {
    id: NonNull<bindings::rdma_cm_id>,
    event: &'a bindings::rdma_cm_event,
    shared: Arc<IdShared>,
    outcome: &'a Cell<Outcome>,
}

impl ConnectRequest<'_> {
    /// Returns the C id.
    fn id(&self) -> &bindings::rdma_cm_id {
        // SAFETY: By the type invariant the id is valid. What is read of it does not change during
        // its callback.
        unsafe { self.id.as_ref() }
    }

    /// Parameters of the request.
    fn conn(&self) -> &bindings::rdma_conn_param {
        // SAFETY: A connect request of a reliable connection has this member.
        unsafe { &self.event.param.conn }
    }

    /// Device that the request arrived on.
    pub(super) fn device_id(&self) -> DeviceId {
        DeviceId::of(self.id().device)
    }

    /// Number of the device's port that the request arrived on.
    pub(super) fn port_num(&self) -> u32 {
        self.id().port_num
    }

    /// Private data of the request. On InfiniBand and RoCE always 56 bytes, padded with zeroes.
    pub(super) fn private_data(&self) -> &[u8] {
        let conn = self.conn();
        if conn.private_data.is_null() {
            return &[];
        }
        // SAFETY: The core gives a buffer of this length, which is valid during the callback.
        unsafe { slice::from_raw_parts(conn.private_data.cast(), conn.private_data_len.into()) }
    }

    /// Network address of the peer. On the passive side that is the id's destination:
    /// `cma_save_ip4_info` and the like take it from the source in the request's header.
    pub(super) fn peer_addr(&self) -> Option<IpAddr> {
        ip_addr(&self.id().route.addr.dst_addr)
    }

    /// Network address that the peer connects to; see [`Self::peer_addr`].
    pub(super) fn local_addr(&self) -> Option<IpAddr> {
        ip_addr(&self.id().route.addr.src_addr)
    }

    /// See [`super::ConnectRequest::initiator_depth`].
    pub(super) fn initiator_depth(&self) -> u8 {
        self.conn().initiator_depth
    }

    /// Rejects the request with private data (`rdma_reject`), at most 148 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is too long, and those of the connection manager. The request is then
    /// rejected without data.
    pub(super) fn reject(self, private_data: &[u8]) -> Result {
        // SAFETY: By the type invariant the id is valid.
        unsafe { reject(self.id, private_data) }?;
        self.outcome.set(Outcome::Rejected);
        Ok(())
    }

    /// Takes over the connection: all further events are passed to `handler`.
    pub(super) fn take_over<H: ConnHandler>(self, handler: Arc<H>) -> CmId<H> {
        let id = self.id.as_ptr();
        // INVARIANT: The pointer is from `into_raw`, for the `H` of the id.
        self.shared
            .handler
            .store(Arc::into_raw(handler).cast::<c_void>(), Release);
        // SAFETY: By the type invariant the id is valid, and its callback is running, so that the
        // core does not access these members now. The new callback fits the new context, which
        // stays valid until the id is destroyed, because the `CmId` holds it.
        unsafe {
            (*id).context = Arc::as_ptr(&self.shared).cast_mut().cast::<c_void>();
            (*id).event_handler = Some(conn_callback::<H>);
        }
        self.outcome.set(Outcome::Taken);
        // INVARIANT: The id is ours, since the callback will return 0.
        CmId {
            shared: self.shared,
            _handler: PhantomData,
        }
    }
}

/// Returns the IP address in a socket address; `None` for other families.
fn ip_addr(addr: &bindings::__kernel_sockaddr_storage) -> Option<IpAddr> {
    let addr: *const bindings::__kernel_sockaddr_storage = addr;
    // SAFETY: The storage is initialised memory, large and aligned enough for all families. The
    // member that is read is the one the family has.
    unsafe {
        match (*addr).__bindgen_ss_family.__bindgen_ss_family.ss_family {
            AF_INET => {
                let addr = addr.cast::<bindings::sockaddr_in>();
                Some(Ipv4Addr::from((*addr).sin_addr.s_addr.to_ne_bytes()).into())
            }
            AF_INET6 => {
                let addr = addr.cast::<bindings::sockaddr_in6>();
                Some(Ipv6Addr::from((*addr).sin6_addr.in6_u.u6_addr8).into())
            }
            _ => None,
        }
    }
}

/// Rejects a connection.
///
/// # Safety
///
/// The id must be valid.
unsafe fn reject(id: NonNull<bindings::rdma_cm_id>, private_data: &[u8]) -> Result {
    let len = u8::try_from(private_data.len())?;
    // SAFETY: The caller promises that the id is valid; the data is copied.
    to_result(unsafe {
        bindings::srpt_rdma_reject(
            id.as_ptr(),
            private_data.as_ptr().cast::<c_void>(),
            len,
            REJ_CONSUMER_DEFINED,
        )
    })
}

/// The id of a connection; see [`super::CmId`].
///
/// # Invariants
///
/// The id in `shared` is valid and ours; its handler is an `H`.
pub(crate) struct CmId<H: ConnHandler> {
    shared: Arc<IdShared>,
    _handler: PhantomData<Arc<H>>,
}

impl<H: ConnHandler> CmId<H> {
    /// Returns the C id.
    fn as_raw(&self) -> *mut bindings::rdma_cm_id {
        self.shared.id.as_ptr()
    }

    /// Creates a queue pair (`rdma_create_qp`); see [`super::CmId::create_qp`].
    pub(super) fn create_qp<O: QpOwner>(&self, init: QpInit<O>) -> Result<Arc<QueuePair<O>>> {
        let id = self.as_raw();
        // SAFETY: By the type invariant the id is valid; the port is set since the request.
        let port_num = unsafe { (*id).port_num };
        let create = |pd: *mut bindings::ib_pd, attr: &mut bindings::ib_qp_init_attr| {
            // The queue pair of the id must not change meanwhile.
            let _life = self.shared.life.lock();
            // SAFETY: By the type invariant the id is valid. `rdma_create_qp` checks that the
            // domain is of the same device.
            unsafe {
                if !(*id).qp.is_null() {
                    return Err(EEXIST);
                }
                to_result(bindings::rdma_create_qp(id, pd, attr))?;
                NonNull::new((*id).qp).ok_or(EINVAL)
            }
        };
        // SAFETY: The queue pair is made with the arguments, on this id, which is borrowed.
        unsafe { QueuePair::create(init, Some(self.shared.clone()), port_num, create) }
    }

    /// Accepts the connection (`rdma_accept`); see [`super::CmId::accept`]. Outside of
    /// [`ListenHandler::connect_request`] it waits for callbacks of this connection.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the private data is too long or the peer has given up, and those of the device's
    /// driver. The connection is then rejected, and the queue pair is in the error state.
    pub(super) fn accept(&self, params: &ConnParams<'_>) -> Result {
        let mut param = bindings::rdma_conn_param {
            private_data: params.private_data.as_ptr().cast::<c_void>(),
            private_data_len: u8::try_from(params.private_data.len())?,
            responder_resources: params.responder_resources,
            initiator_depth: params.initiator_depth,
            flow_control: 1,
            rnr_retry_count: params.rnr_retry,
            ..pin_init::zeroed()
        };
        let inside = self.shared.callback.is_inside();
        let id = self.as_raw();
        // SAFETY: By the type invariant the id is valid. `rdma_accept` requires the handler's lock:
        // the core holds it if this task is inside a callback, otherwise it is taken. The private
        // data is copied.
        to_result(unsafe {
            if !inside {
                bindings::rdma_lock_handler(id);
            }
            let ret = bindings::rdma_accept(id, &mut param);
            if !inside {
                bindings::rdma_unlock_handler(id);
            }
            ret
        })
    }

    /// Rejects the connection with private data (`rdma_reject`), at most 148 bytes. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is too long, and those of the connection manager.
    pub(super) fn reject(&self, private_data: &[u8]) -> Result {
        // SAFETY: By the type invariant the id is valid.
        unsafe { reject(self.shared.id, private_data) }
    }

    /// Puts the queue pair into the error state and sends a disconnect, or the answer to one
    /// (`rdma_disconnect`). May sleep.
    ///
    /// # Errors
    ///
    /// Those of the connection manager.
    pub(super) fn disconnect(&self) -> Result {
        // SAFETY: By the type invariant the id is valid.
        to_result(unsafe { bindings::rdma_disconnect(self.as_raw()) })
    }

    /// Notifies the core of a message (`rdma_notify`); see [`super::CmId::notify_comm_est`].
    pub(super) fn notify_comm_est(&self) -> Result {
        // SAFETY: By the type invariant the id is valid.
        to_result(unsafe {
            bindings::rdma_notify(self.as_raw(), bindings::ib_event_type_IB_EVENT_COMM_EST)
        })
    }
}

impl<H: ConnHandler> Drop for CmId<H> {
    fn drop(&mut self) {
        if self.shared.callback.is_inside() {
            // INVARIANT: The core destroys the id when the callback returns, which is on this
            // task's stack. It does not access the queue pair then.
            self.shared.callback.doom();
            *self.shared.life.lock() = Life::Gone;
        } else {
            // Not under the lock, which is also taken inside callbacks.
            *self.shared.life.lock() = Life::Dying;
            // SAFETY: By the type invariant the id is valid and ours; this is not a callback of it.
            unsafe { bindings::rdma_destroy_id(self.as_raw()) };
            *self.shared.life.lock() = Life::Gone;
        }
        let handler = self.shared.handler.xchg(ptr::null(), Full);
        if !handler.is_null() {
            // SAFETY: By the type invariant it came from `into_raw` and is ours. No callback begins
            // any more; one that is running has a reference of its own.
            drop(unsafe { Arc::from_raw(handler.cast::<H>()) });
        }
    }
}

/// The callback of a connection.
///
/// # Safety
///
/// Called by the connection manager only, for an id that was taken over with an `H`.
unsafe extern "C" fn conn_callback<H: ConnHandler>(
    id: *mut bindings::rdma_cm_id,
    event: *mut bindings::rdma_cm_event,
) -> c_int {
    // SAFETY: The context is the one `take_over` has set. Callbacks run only until the id is
    // destroyed, and the `CmId` has a reference until then.
    let shared = unsafe { ArcBorrow::from_raw((*id).context.cast_const().cast::<IdShared>()) };
    let shared = Arc::from(shared);
    // SAFETY: As above; the `CmId` drops the handler after the id was destroyed.
    let handler = unsafe { ArcBorrow::from_raw(shared.handler.load(Acquire).cast::<H>()) };
    // A reference of our own: the `CmId` may be dropped inside.
    let handler = Arc::from(handler);
    // SAFETY: The core passes a valid event.
    let event = cm_event(unsafe { &*event });
    shared
        .callback
        .run(|| H::cm_event(handler.as_arc_borrow(), event))
}

/// Translates an event.
fn cm_event(event: &bindings::rdma_cm_event) -> CmEvent {
    match event.event {
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_ESTABLISHED => CmEvent::Established,
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_DISCONNECTED => CmEvent::Disconnected,
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_REJECTED => CmEvent::Rejected(event.status),
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_UNREACHABLE => CmEvent::Unreachable,
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_CONNECT_ERROR => {
            CmEvent::ConnectError(event.status)
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_TIMEWAIT_EXIT => CmEvent::TimewaitExit,
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_DEVICE_REMOVAL => CmEvent::DeviceRemoval,
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_ADDR_CHANGE => CmEvent::AddrChange,
        other => CmEvent::Other(other),
    }
}

/// A listening id; dropping it stops listening and waits for handlers of requests in progress.
///
/// # Invariants
///
/// `id` is valid and ours.
struct ListeningId<L: ListenHandler> {
    id: NonNull<bindings::rdma_cm_id>,
    _handler: PhantomData<fn() -> L>,
}

// SAFETY: Ids may be destroyed by any task.
unsafe impl<L: ListenHandler> Send for ListeningId<L> {}
// SAFETY: There are no functions on a shared reference.
unsafe impl<L: ListenHandler> Sync for ListeningId<L> {}

impl<L: ListenHandler> ListeningId<L> {
    /// Listens on a TCP port number of all addresses of a family. Process context, sleeps.
    fn new(family: Family, port: u16) -> Result<Self> {
        // With an id for a family that the kernel lacks, a device that refuses the family when it
        // is added later would get no id at all (`cma_add_one()`).
        // SAFETY: It may be called in any context.
        if family == Family::Ipv6 && !unsafe { bindings::srpt_ipv6_mod_enabled() } {
            // CAST: Error numbers are small.
            return Err(Error::from_errno(
                -(kernel::bindings::EAFNOSUPPORT as c_int),
            ));
        }
        // SAFETY: The initial network namespace always exists; the name is static; the callback
        // needs no context.
        let id = from_err_ptr(unsafe {
            bindings::__rdma_create_kernel_id(
                &raw mut bindings::init_net,
                Some(listen_callback::<L>),
                ptr::null_mut(),
                bindings::rdma_ucm_port_space_RDMA_PS_TCP,
                bindings::ib_qp_type_IB_QPT_RC,
                CALLER.as_char_ptr(),
            )
        })?;
        // INVARIANT: It is new.
        let listener = Self {
            id: NonNull::new(id).ok_or(ENOMEM)?,
            _handler: PhantomData,
        };
        let mut any6 = bindings::sockaddr_in6 {
            sin6_family: AF_INET6,
            sin6_port: port.to_be(),
            ..pin_init::zeroed()
        };
        let mut any4 = bindings::sockaddr_in {
            sin_family: AF_INET,
            sin_port: port.to_be(),
            ..pin_init::zeroed()
        };
        let addr = match family {
            Family::Ipv6 => (&raw mut any6).cast(),
            Family::Ipv4 => (&raw mut any4).cast(),
        };
        // SAFETY: The id is valid, the address is complete. `rdma_set_afonly` must precede the
        // binding; without it, net.ipv6.bindv6only decides whether an IPv6 address includes IPv4.
        to_result(unsafe {
            bindings::rdma_set_afonly(id, 1);
            bindings::rdma_bind_addr(id, addr)
        })?;
        // SAFETY: The id is valid and bound.
        to_result(unsafe { bindings::rdma_listen(id, BACKLOG) })?;
        Ok(listener)
    }
}

impl<L: ListenHandler> Drop for ListeningId<L> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the id is valid and ours. Requests that arrived are ids of
        // their own.
        unsafe { bindings::rdma_destroy_id(self.id.as_ptr()) };
    }
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `AF_INET6`.
    Ipv6,
    /// `AF_INET`.
    Ipv4,
}

/// A listener on all addresses and devices; dropping it stops listening and waits for handlers of
/// requests in progress.
pub(crate) struct Listener<L: ListenHandler> {
    ipv6: Option<ListeningId<L>>,
    ipv4: Option<ListeningId<L>>,
    missing: Option<(Family, Error)>,
    port: u16,
}

impl<L: ListenHandler> Listener<L> {
    /// Listens on a TCP port number of all addresses and devices of the initial network namespace.
    /// Each address family has an id of its own: over iWARP an IPv6 address does not include IPv4,
    /// and if one family cannot be served (siw and `ipv6.disable=1`, a number that another program
    /// has taken in one of them), the other is. Process context, sleeps. Requests may arrive before
    /// this returns.
    ///
    /// The connection manager listens on all devices or on none: with a device that refuses a
    /// family which the kernel has, that family is not served on the others either.
    ///
    /// # Errors
    ///
    /// Those of the connection manager if neither family can be served: `EADDRINUSE` or
    /// `EADDRNOTAVAIL` if the number is taken (which of them depends on its user, see
    /// `cma_check_port()`). `ENOMEM`, also for one family only.
    pub(crate) fn new(port: u16) -> Result<Self> {
        let ids = (
            ListeningId::new(Family::Ipv6, port),
            ListeningId::new(Family::Ipv4, port),
        );
        let (ipv6, ipv4, missing) = match ids {
            // Both work, another time.
            (Err(e), _) | (_, Err(e)) if e == ENOMEM => return Err(e),
            (Ok(ipv6), Ok(ipv4)) => (Some(ipv6), Some(ipv4), None),
            (Ok(ipv6), Err(e)) => (Some(ipv6), None, Some((Family::Ipv4, e))),
            (Err(e), Ok(ipv4)) => (None, Some(ipv4), Some((Family::Ipv6, e))),
            (Err(_), Err(e)) => return Err(e),
        };
        Ok(Self {
            ipv6,
            ipv4,
            missing,
            port,
        })
    }

    /// TCP port number.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Tries again to serve the family that is missing, if any. Process context, sleeps.
    pub(crate) fn complete(&mut self) {
        let Some((family, _)) = self.missing else {
            return;
        };
        let id = match family {
            Family::Ipv6 => &mut self.ipv6,
            Family::Ipv4 => &mut self.ipv4,
        };
        self.missing = match ListeningId::new(family, self.port) {
            Ok(new) => {
                *id = Some(new);
                None
            }
            Err(e) => Some((family, e)),
        };
    }

    /// Address family that is not served, if any, with the error that prevents it.
    pub(crate) fn missing(&self) -> Option<(Family, Error)> {
        self.missing
    }
}

/// The callback of a listening id, and of the ids of new requests.
///
/// # Safety
///
/// Called by the connection manager only.
unsafe extern "C" fn listen_callback<L: ListenHandler>(
    id: *mut bindings::rdma_cm_id,
    event: *mut bindings::rdma_cm_event,
) -> c_int {
    // SAFETY: The core passes a valid event.
    let event = unsafe { &*event };
    if event.event != bindings::rdma_cm_event_type_RDMA_CM_EVENT_CONNECT_REQUEST {
        return 0;
    }
    let Some(id) = NonNull::new(id) else {
        return 0;
    };
    let shared = match IdShared::new(id) {
        Ok(shared) => shared,
        Err(e) => return e.to_errno(),
    };
    let outcome = Cell::new(Outcome::Open);
    let code = shared.callback.run(|| {
        // INVARIANT: This is the callback of the id.
        L::connect_request(super::ConnectRequest::Rdma(ConnectRequest {
            id,
            event,
            shared: shared.clone(),
            outcome: &outcome,
        }));
    });
    outcome.get().code(code)
}
