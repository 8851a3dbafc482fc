// SPDX-License-Identifier: GPL-2.0

//! The InfiniBand connection manager, passive side.
//!
//! C header: [`include/rdma/ib_cm.h`](srctree/include/rdma/ib_cm.h)
//!
//! Peers address a service by its 64-bit id, not by a network address and a port number. `ib_cm`
//! works on every port with `rdma_cap_ib_cm`, including RoCE.
//!
//! Not here: the interface that both connection managers share ([`super`]).
//!
//! # Destruction of an id
//!
//! The id of a new request belongs to `ib_cm`, which destroys it if the handler returns non-zero;
//! the destruction rejects the request unless the handler has done so. After
//! [`ConnectRequest::take_over`] the handler returns 0 and the id belongs to the [`CmId`], whose
//! drop destroys it. `ib_destroy_cm_id` waits for handlers in progress, so it must not be called in
//! one; `ib_cm` destroys a `CmId` that is dropped inside its own handler, again because that
//! returns non-zero. [`Callback`] distinguishes the cases.
//!
//! # Contexts of the callback
//!
//! Process context in all cases. Messages of the peer, the end of time-wait and `ib_cm_notify` are
//! reported from the work queue `ib_cm`, one after the other for one id, the connection request
//! first. That a message of ours was not answered is reported from a work queue of `ib_mad`, which
//! may overlap with the others.

use core::{
    cell::Cell,
    marker::PhantomData,
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
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
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
        callback::{
            destroy_code,
            Callback,
            Outcome, //
        },
        device::{
            Device,
            DeviceId, //
        },
        id::destroy_raw,
        qp::{
            core::QpCore,
            QpInit,
            QpOwner,
            QueuePair, //
        },
        CALLER, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        AtomicFlag,
        Full,
        Release, //
    }, //
};

/// Bits of a packet sequence number.
const PSN_MASK: u32 = 0x00ff_ffff;

/// Limit of polls for a report that is due, with a sleep of a millisecond after each.
const SETTLE_POLLS: u32 = 1_000;

/// The queue pair of a connection that is not accepted yet.
struct Pending {
    core: Arc<QpCore>,
    has_srq: bool,
}

/// State shared by a connection's [`CmId`] and its callbacks: the `context` of the C id.
///
/// # Invariants
///
/// - `id` is valid until the [`CmId`] was dropped, and inside its callbacks.
/// - `handler` is null, or came from `Arc::<H>::into_raw` with the `H` of the [`CmId`], which owns
///   it.
#[pin_data]
struct IdShared {
    id: NonNull<bindings::ib_cm_id>,
    handler: Atomic<*const c_void>,
    /// Callbacks for messages of the peer, time-wait and `ib_cm_notify`.
    ordered: Callback,
    /// Callbacks for messages of ours that were not answered.
    unanswered: Callback,
    /// Whether a reply was sent, whose outcome `ib_cm` reports.
    replied: AtomicFlag,
    /// Whether the outcome of our last message is known, so that no report of it is due.
    settled: AtomicFlag,
    /// Number of the device's port, from the request.
    port_num: u32,
    /// Partition key of the request.
    pkey: u16,
    #[pin]
    pending: Mutex<Option<Pending>>,
}

// SAFETY: Ids may be used and destroyed by any task.
unsafe impl Send for IdShared {}
// SAFETY: The functions of the connection manager are thread-safe; the rest is atomic or locked.
unsafe impl Sync for IdShared {}

impl IdShared {
    /// Allocates the state of an id whose request is being handled. May sleep.
    fn new(id: NonNull<bindings::ib_cm_id>, port_num: u32, pkey: u16) -> Result<Arc<Self>> {
        // INVARIANT: The caller is in a callback of the id; there is no handler.
        Arc::pin_init(
            pin_init!(Self {
                id,
                handler: Atomic::new(ptr::null()),
                ordered: Callback::new(),
                unanswered: Callback::new(),
                replied: AtomicFlag::new(false),
                settled: AtomicFlag::new(false),
                port_num,
                pkey,
                pending <- new_mutex!(None, "ib_cm::IdShared::pending"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the kind of callback that reports an event.
    fn callback(&self, event: bindings::ib_cm_event_type) -> &Callback {
        match event {
            bindings::ib_cm_event_type_IB_CM_REQ_ERROR
            | bindings::ib_cm_event_type_IB_CM_REP_ERROR
            | bindings::ib_cm_event_type_IB_CM_DREQ_ERROR
            | bindings::ib_cm_event_type_IB_CM_SIDR_REQ_ERROR => &self.unanswered,
            _ => &self.ordered,
        }
    }

    /// Moves the queue pair to `state` with the attributes that `ib_cm` provides
    /// (`ib_cm_init_qp_attr`), as changed by `adjust`. May sleep.
    ///
    /// # Safety
    ///
    /// The id and the queue pair must be valid.
    unsafe fn modify(
        &self,
        qp: *mut bindings::ib_qp,
        state: bindings::ib_qp_state,
        adjust: impl FnOnce(&mut bindings::ib_qp_attr),
    ) -> Result {
        let mut attr = bindings::ib_qp_attr {
            qp_state: state,
            ..pin_init::zeroed()
        };
        let mut mask: c_int = 0;
        // SAFETY: The caller promises that the id is valid.
        to_result(unsafe { bindings::ib_cm_init_qp_attr(self.id.as_ptr(), &mut attr, &mut mask) })?;
        adjust(&mut attr);
        // SAFETY: The caller promises that the queue pair is valid. The mask names what
        // `ib_cm_init_qp_attr` has set.
        to_result(unsafe { bindings::ib_modify_qp(qp, &mut attr, mask) })
    }

    /// Makes a new queue pair ready for posting receives, on port and partition of the request. May
    /// sleep.
    ///
    /// # Safety
    ///
    /// The id and the queue pair must be valid, and of the same device.
    unsafe fn init_qp(&self, qp: *mut bindings::ib_qp) -> Result {
        let mut pkey_index = 0;
        // SAFETY: The caller promises that the queue pair is valid, hence its device.
        to_result(unsafe {
            bindings::ib_find_cached_pkey((*qp).device, self.port_num, self.pkey, &mut pkey_index)
        })?;
        // SAFETY: The caller promises what is needed.
        unsafe {
            self.modify(qp, bindings::ib_qp_state_IB_QPS_INIT, |attr| {
                attr.pkey_index = pkey_index;
                attr.port_num = self.port_num;
                // The peer has no access to our memory.
                attr.qp_access_flags = bindings::ib_access_flags_IB_ACCESS_LOCAL_WRITE as c_int;
            })
        }
    }

    /// Sleeps while `ib_cm` reports, or is about to report, that a message of ours was not
    /// answered.
    ///
    /// `cm_process_send_error` changes the state of the id, and then calls the handler without a
    /// reference on the id. After the change of state, the report is bound to follow. The wait has
    /// a limit nevertheless, because the state alone is ambiguous.
    fn settle(&self) {
        if !self.replied.load(Acquire) {
            return;
        }
        self.await_report();
        // A report that has begun ends: handlers do not wait for the task that drops the id.
        while self.unanswered.is_running() {
            fsleep(Delta::from_millis(1));
        }
    }

    /// Waits until a report that is due has begun, at most for [`SETTLE_POLLS`] milliseconds or a
    /// little more. Part of [`Self::settle`].
    fn await_report(&self) {
        for _ in 0..SETTLE_POLLS {
            // SAFETY: By the type invariant the id is valid. `ib_cm` may change the member
            // meanwhile, hence volatile.
            let state = unsafe { ptr::read_volatile(&raw const (*self.id.as_ptr()).state) };
            let over = matches!(
                state,
                bindings::ib_cm_state_IB_CM_IDLE | bindings::ib_cm_state_IB_CM_TIMEWAIT
            );
            if !over || self.settled.load(Acquire) {
                return;
            }
            fsleep(Delta::from_millis(1));
        }
    }
}

/// Return value of the callback of a request that was not handled for lack of memory: `ib_cm` does
/// not reject it, so that the peer sends it again.
fn forget_code() -> c_int {
    ENOMEM.to_errno()
}

/// A connection request of a peer; see [`super::ConnectRequest`].
///
/// # Invariants
///
/// `id` is a valid id, `event` its connection request and `path` the request's primary path, for
/// `'a`; its callback is running on this task.
pub(crate) struct ConnectRequest<'a> {
    id: NonNull<bindings::ib_cm_id>,
    event: &'a bindings::ib_cm_event,
    path: &'a bindings::sa_path_rec,
    shared: Arc<IdShared>,
    outcome: &'a Cell<Outcome>,
}

impl ConnectRequest<'_> {
    /// Parameters of the request.
    fn req(&self) -> &bindings::ib_cm_req_event_param {
        // SAFETY: By the type invariant the event is a request, which has this member.
        unsafe { &self.event.param.req_rcvd }
    }

    /// Device that the request arrived on.
    pub(super) fn device_id(&self) -> DeviceId {
        // SAFETY: By the type invariant the id is valid; the member never changes.
        DeviceId::of(unsafe { (*self.id.as_ptr()).device })
    }

    /// Number of the device's port that the request arrived on.
    pub(super) fn port_num(&self) -> u32 {
        self.shared.port_num
    }

    /// Private data of the request: always 92 bytes, padded with zeroes.
    pub(super) fn private_data(&self) -> &[u8] {
        let data = self.event.private_data;
        if data.is_null() {
            return &[];
        }
        // CAST: A small constant.
        let len = bindings::ib_cm_data_size_IB_CM_REQ_PRIVATE_DATA_SIZE as usize;
        // SAFETY: `cm_format_req_event` points it to that many bytes of the received message, which
        // is valid during the callback.
        unsafe { slice::from_raw_parts(data.cast_const().cast(), len) }
    }

    /// GID of the peer's port, from the request. `ib_cm` gives the path from our side, so this is
    /// its destination.
    pub(super) fn peer_gid(&self) -> [u8; 16] {
        // SAFETY: All bytes of the union are initialised, whichever member was set.
        unsafe { self.path.dgid.raw }
    }

    /// See [`super::ConnectRequest::initiator_depth`].
    pub(super) fn initiator_depth(&self) -> u8 {
        self.req().initiator_depth
    }

    /// Rejects the request with private data (`ib_send_cm_rej`).
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is too long, and those of the connection manager. The request is then
    /// rejected without data.
    pub(super) fn reject(self, private_data: &[u8]) -> Result {
        // SAFETY: By the type invariant the id is valid.
        unsafe { reject(self.id, REJ_CONSUMER_DEFINED.into(), private_data) }?;
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
        // SAFETY: By the type invariant the id is valid, and the callback of its request is
        // running: `ib_cm` calls no other before that has returned, and has sent nothing whose
        // failure it could report. The new callback fits the new context, which stays valid until
        // the id is destroyed, because the `CmId` holds it.
        unsafe {
            (*id).context = Arc::as_ptr(&self.shared).cast_mut().cast::<c_void>();
            (*id).cm_handler = Some(conn_callback::<H>);
        }
        self.outcome.set(Outcome::Taken);
        // INVARIANT: The id is ours, since the callback will return 0.
        CmId {
            shared: self.shared,
            _handler: PhantomData,
        }
    }
}

/// Rejects a connection.
///
/// # Safety
///
/// The id must be valid.
unsafe fn reject(
    id: NonNull<bindings::ib_cm_id>,
    reason: bindings::ib_cm_rej_reason,
    private_data: &[u8],
) -> Result {
    let len = u8::try_from(private_data.len())?;
    // SAFETY: The caller promises that the id is valid; the data is copied.
    to_result(unsafe {
        bindings::ib_send_cm_rej(
            id.as_ptr(),
            reason,
            ptr::null_mut(),
            0,
            private_data.as_ptr().cast::<c_void>(),
            len,
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
    fn as_raw(&self) -> *mut bindings::ib_cm_id {
        self.shared.id.as_ptr()
    }

    /// See [`super::CmId::create_qp`]. The queue pair does not depend on the id.
    pub(super) fn create_qp<O: QpOwner>(&self, init: QpInit<O>) -> Result<Arc<QueuePair<O>>> {
        // SAFETY: By the type invariant the id is valid; the member never changes.
        let device = DeviceId::of(unsafe { (*self.as_raw()).device });
        if init.pd.device().id() != device {
            return Err(EINVAL);
        }
        if self.shared.pending.lock().is_some() {
            return Err(EEXIST);
        }
        let has_srq = init.srq.is_some();
        let create = |pd: *mut bindings::ib_pd, attr: &mut bindings::ib_qp_init_attr| {
            // SAFETY: Domain and attributes are valid; the name is static.
            let qp = from_err_ptr(unsafe {
                bindings::ib_create_qp_kernel(pd, attr, CALLER.as_char_ptr())
            })?;
            // SAFETY: The queue pair is new, on the device of the id, which is valid.
            if let Err(e) = unsafe { self.shared.init_qp(qp) } {
                // SAFETY: It is a kernel object that is not in use yet.
                let _ = unsafe { destroy_raw(qp) };
                return Err(e);
            }
            NonNull::new(qp).ok_or(EINVAL)
        };
        // SAFETY: The queue pair is made with the arguments, and not on an RDMA/CM id.
        let qp = unsafe { QueuePair::create(init, None, self.shared.port_num, create) }?;
        *self.shared.pending.lock() = Some(Pending {
            core: qp.core().clone(),
            has_srq,
        });
        Ok(qp)
    }

    /// See [`super::CmId::accept`].
    pub(super) fn accept(&self, params: &ConnParams<'_>) -> Result {
        let pending = self.shared.pending.lock().take().ok_or(EINVAL)?;
        let pass = pending.core.enter().ok_or(EPIPE)?;
        let qp = pending.core.as_raw();
        // SAFETY: `get_random_u32` may be called in any context.
        let psn = unsafe { kernel::bindings::get_random_u32() } & PSN_MASK;
        // Ready to send before the reply, as in `rdma_accept`, so that no transition is left for
        // the time when the peer confirms.
        // SAFETY: By the type invariant the id is valid; we are inside, so the queue pair is.
        unsafe {
            self.shared
                .modify(qp, bindings::ib_qp_state_IB_QPS_RTR, |attr| {
                    attr.max_dest_rd_atomic = params.responder_resources;
                    // The peer's first packet sequence number, which the reply contains.
                    attr.rq_psn = psn;
                })?;
            self.shared
                .modify(qp, bindings::ib_qp_state_IB_QPS_RTS, |attr| {
                    attr.max_rd_atomic = params.initiator_depth;
                })?;
        }
        let mut param = bindings::ib_cm_rep_param {
            qp_num: pending.core.qp_num(),
            starting_psn: psn,
            private_data: params.private_data.as_ptr().cast::<c_void>(),
            private_data_len: u8::try_from(params.private_data.len())?,
            responder_resources: params.responder_resources,
            initiator_depth: params.initiator_depth,
            // With a shared receive queue there are no end-to-end flow control credits.
            flow_control: u8::from(!pending.has_srq),
            rnr_retry_count: params.rnr_retry,
            srq: u8::from(pending.has_srq),
            ..pin_init::zeroed()
        };
        drop(pass);
        // Before the reply, because its outcome may be reported at once.
        self.shared.replied.store(true, Release);
        // SAFETY: By the type invariant the id is valid; the private data is copied.
        let sent = to_result(unsafe { bindings::ib_send_cm_rep(self.as_raw(), &mut param) });
        if sent.is_err() {
            self.shared.replied.store(false, Release);
        }
        sent
    }

    /// See [`super::CmId::reject`].
    pub(super) fn reject(&self, private_data: &[u8]) -> Result {
        // SAFETY: By the type invariant the id is valid.
        unsafe { reject(self.shared.id, REJ_CONSUMER_DEFINED.into(), private_data) }?;
        // No failure of our reply is reported any more.
        self.shared.settled.store(true, Release);
        Ok(())
    }

    /// See [`super::CmId::disconnect`]. The queue pair is left as it is.
    pub(super) fn disconnect(&self) -> Result {
        let id = self.as_raw();
        // SAFETY: By the type invariant the id is valid.
        if unsafe { bindings::ib_send_cm_dreq(id, ptr::null(), 0) } == 0 {
            return Ok(());
        }
        // SAFETY: As above.
        to_result(unsafe { bindings::ib_send_cm_drep(id, ptr::null(), 0) })?;
        // The answer to a disconnect is not answered, so no report is due.
        self.shared.settled.store(true, Release);
        Ok(())
    }

    /// See [`super::CmId::notify_comm_est`].
    pub(super) fn notify_comm_est(&self) -> Result {
        // SAFETY: By the type invariant the id is valid.
        to_result(unsafe {
            bindings::ib_cm_notify(self.as_raw(), bindings::ib_event_type_IB_EVENT_COMM_EST)
        })
    }
}

impl<H: ConnHandler> Drop for CmId<H> {
    fn drop(&mut self) {
        let shared = &self.shared;
        // A callback in progress may hold `shared` longer; it must not keep the queue pair.
        let pending = shared.pending.lock().take();
        drop(pending);
        if let Some(callback) = [&shared.ordered, &shared.unanswered]
            .into_iter()
            .find(|callback| callback.is_inside())
        {
            // INVARIANT: `ib_cm` destroys the id when the callback returns, which is on this task's
            // stack.
            callback.doom();
        } else {
            shared.settle();
            // SAFETY: By the type invariant the id is valid and ours; this is not a callback of it.
            unsafe { bindings::ib_destroy_cm_id(self.as_raw()) };
        }
        let handler = shared.handler.xchg(ptr::null(), Full);
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
    id: *mut bindings::ib_cm_id,
    event: *const bindings::ib_cm_event,
) -> c_int {
    // SAFETY: The context is the one `take_over` has set. Callbacks run only until the id is
    // destroyed, and the `CmId` has a reference until then.
    let shared = unsafe { ArcBorrow::from_raw((*id).context.cast_const().cast::<IdShared>()) };
    let shared = Arc::from(shared);
    let handler = shared.handler.load(Acquire);
    if handler.is_null() {
        return 0;
    }
    // SAFETY: As above; the `CmId` drops the handler after the id was destroyed.
    let handler = unsafe { ArcBorrow::from_raw(handler.cast::<H>()) };
    // A reference of our own: the `CmId` may be dropped inside.
    let handler = Arc::from(handler);
    // SAFETY: `ib_cm` passes a valid event.
    let event = unsafe { &*event };
    shared.callback(event.event).run(|| {
        if is_final(event.event) {
            // From here on this callback does not use the id.
            shared.settled.store(true, Release);
        }
        H::cm_event(handler.as_arc_borrow(), cm_event(event));
    })
}

/// Returns whether the event leaves no report of a message of ours due.
fn is_final(event: bindings::ib_cm_event_type) -> bool {
    matches!(
        event,
        bindings::ib_cm_event_type_IB_CM_REP_ERROR
            | bindings::ib_cm_event_type_IB_CM_REJ_RECEIVED
            | bindings::ib_cm_event_type_IB_CM_DREQ_ERROR
            | bindings::ib_cm_event_type_IB_CM_DREP_RECEIVED
            | bindings::ib_cm_event_type_IB_CM_TIMEWAIT_EXIT
    )
}

/// Translates an event.
fn cm_event(event: &bindings::ib_cm_event) -> CmEvent {
    match event.event {
        bindings::ib_cm_event_type_IB_CM_RTU_RECEIVED
        | bindings::ib_cm_event_type_IB_CM_USER_ESTABLISHED => CmEvent::Established,
        // `DREQ_ERROR`: our disconnect was not answered.
        bindings::ib_cm_event_type_IB_CM_DREQ_RECEIVED
        | bindings::ib_cm_event_type_IB_CM_DREP_RECEIVED
        | bindings::ib_cm_event_type_IB_CM_DREQ_ERROR => CmEvent::Disconnected,
        bindings::ib_cm_event_type_IB_CM_REJ_RECEIVED => {
            // SAFETY: A reject has this member.
            let reason = unsafe { event.param.rej_rcvd.reason };
            CmEvent::Rejected(i32::try_from(reason).unwrap_or(i32::MAX))
        }
        bindings::ib_cm_event_type_IB_CM_REP_ERROR => CmEvent::Unreachable,
        bindings::ib_cm_event_type_IB_CM_TIMEWAIT_EXIT => CmEvent::TimewaitExit,
        other => CmEvent::Other(other),
    }
}

/// A listening id; dropping it stops listening and waits for handlers of requests in progress.
///
/// # Invariants
///
/// `id` is valid and ours.
pub(crate) struct IbListener<L: ListenHandler> {
    id: NonNull<bindings::ib_cm_id>,
    _device: Device,
    _handler: PhantomData<fn() -> L>,
}

// SAFETY: Ids may be destroyed by any task.
unsafe impl<L: ListenHandler> Send for IbListener<L> {}
// SAFETY: There are no functions on a shared reference.
unsafe impl<L: ListenHandler> Sync for IbListener<L> {}

impl<L: ListenHandler> IbListener<L> {
    /// Listens for a service id, given in host byte order, on all ports of a device. Process
    /// context, sleeps. Requests may arrive before this returns.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is a listener for the id on this device, `EINVAL` for an id from the range
    /// that `ib_cm` itself assigns (first byte 0x02), `ENOMEM`.
    pub(crate) fn new(device: &Device, service_id: u64) -> Result<Self> {
        // SAFETY: The device is valid; the callback needs no context.
        let id = from_err_ptr(unsafe {
            bindings::ib_create_cm_id(device.as_raw(), Some(listen_callback::<L>), ptr::null_mut())
        })?;
        // INVARIANT: It is new.
        let listener = Self {
            id: NonNull::new(id).ok_or(ENOMEM)?,
            _device: device.clone(),
            _handler: PhantomData,
        };
        // SAFETY: The id is valid.
        to_result(unsafe { bindings::srpt_ib_cm_listen(id, service_id.to_be()) })?;
        Ok(listener)
    }
}

impl<L: ListenHandler> Drop for IbListener<L> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the id is valid and ours. Requests that arrived are ids of
        // their own; each holds the listening one while it is being handled.
        unsafe { bindings::ib_destroy_cm_id(self.id.as_ptr()) };
    }
}

/// The callback of a listening id, called for the ids of new requests. `ib_cm` keeps the new id if
/// this returns non-zero.
///
/// # Safety
///
/// Called by the connection manager only.
unsafe extern "C" fn listen_callback<L: ListenHandler>(
    id: *mut bindings::ib_cm_id,
    event: *const bindings::ib_cm_event,
) -> c_int {
    // SAFETY: `ib_cm` passes a valid event.
    let event = unsafe { &*event };
    let Some(id) = NonNull::new(id) else {
        return 0;
    };
    if event.event != bindings::ib_cm_event_type_IB_CM_REQ_RECEIVED {
        // A service id resolution request (SIDR), which is for datagram services. It also has a new
        // id.
        return destroy_code();
    }
    // SAFETY: A connection request has this member.
    let req = unsafe { &event.param.req_rcvd };
    if req.qp_type != bindings::ib_qp_type_IB_QPT_RC {
        // SAFETY: The id is valid during its callback. When this fails `ib_cm` rejects the request.
        let _ = unsafe {
            reject(
                id,
                bindings::ib_cm_rej_reason_IB_CM_REJ_INVALID_TRANSPORT_TYPE,
                &[],
            )
        };
        return destroy_code();
    }
    // SAFETY: `cm_format_req_event` has set it; it is valid during the callback.
    let Some(path) = (unsafe { req.primary_path.as_ref() }) else {
        return destroy_code();
    };
    let Ok(shared) = IdShared::new(id, req.port.into(), u16::from_be(path.pkey)) else {
        return forget_code();
    };
    let outcome = Cell::new(Outcome::Open);
    let code = shared.ordered.run(|| {
        // INVARIANT: This is the callback of the id, for this request.
        L::connect_request(super::ConnectRequest::Ib(ConnectRequest {
            id,
            event,
            path,
            shared: shared.clone(),
            outcome: &outcome,
        }));
    });
    outcome.get().code(code)
}
