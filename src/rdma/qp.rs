// SPDX-License-Identifier: GPL-2.0

//! Queue pairs.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Creation, events and the end are here; posting and completions are in [`post`], the accounting
//! that makes the end safe is in [`core`]. Queue pairs are created on a connection manager's id,
//! see [`super::cm`].

use ::core::{
    ffi::c_void,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        Arc,
        ArcBorrow, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use super::{
    buf,
    cq::CompletionQueue,
    device::Device,
    id::{
        destroy_raw,
        IdShared, //
    },
    pd::ProtectionDomain,
    wc::WcStatus, //
};
use crate::{
    bindings,
    sync::gate::{
        Gate,
        HasGate,
        Inside,
        Stay, //
    }, //
};

pub(super) mod core;
mod parts;
mod post;
pub(crate) mod srq;

use self::{
    core::{
        QpCore,
        IN_FLIGHT, //
    },
    parts::Sizes, //
};

use srq::SharedReceiveQueue;

/// Where a receive buffer is posted.
#[derive(Default)]
pub(crate) enum Posted<O: QpOwner> {
    /// Nowhere.
    #[default]
    No,
    /// At a queue pair, which it keeps.
    Qp(Stay<QpInner<O>, IN_FLIGHT>),
    /// At a shared receive queue, at this index of its table.
    Srq(NonNull<SharedReceiveQueue<O>>, usize),
}

// SAFETY: The pointer is followed by the completion only, which may run anywhere.
unsafe impl<O: QpOwner> Send for Posted<O> {}
// SAFETY: Nothing is reached through a shared reference.
unsafe impl<O: QpOwner> Sync for Posted<O> {}

/// A receive buffer.
pub(crate) type RecvBuf<O> = buf::RecvBuf<Posted<O>>;

/// An asynchronous event of a queue pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QpEvent {
    /// The first message arrived before the connection manager's confirmation.
    CommEst,
    /// The device will not take anything from the shared receive queue any more.
    LastWqeReached,
    /// The queue pair is in the error state: `QP_FATAL`, `QP_REQ_ERR` or `QP_ACCESS_ERR`, by its
    /// `enum ib_event_type`.
    Fatal(u32),
    /// Another `enum ib_event_type`.
    Other(u32),
}

/// Owner of a queue pair.
///
/// Neither function may drain or destroy the queue pair.
pub(crate) trait QpOwner: Send + Sync + Sized + 'static {
    /// A receive was completed, with so many bytes, or given up with an error; the buffer belongs to
    /// the owner again. Process context.
    /// A buffer of a shared receive queue should be posted there again in every case, because
    /// others depend on it.
    ///
    /// Called one after the other for one queue pair, except that the calls may overlap when
    /// another queue pair on the same pooled completion queue is being drained (see
    /// [`CompletionQueue`]).
    fn recv_done(
        this: ArcBorrow<'_, Self>,
        buf: Pin<KBox<RecvBuf<Self>>>,
        received: Result<usize, WcStatus>,
    );

    /// An asynchronous event. Any context, hard interrupts included: drivers report events from
    /// where they notice them (`__ib_qp_event_handler` calls straight through).
    fn qp_event(this: ArcBorrow<'_, Self>, event: QpEvent);
}

/// What a new queue pair shall be.
pub(crate) struct QpInit<O: QpOwner> {
    /// Protection domain, on the connection's device.
    pub(crate) pd: Arc<ProtectionDomain>,
    /// Completion queue for both directions. With a shared receive queue it must be one of its own
    /// ([`CompletionQueue::new`]), with room for all receives of that.
    pub(crate) cq: CompletionQueue,
    /// Shared receive queue, instead of one of its own.
    pub(crate) srq: Option<Arc<SharedReceiveQueue<O>>>,
    /// Send work requests, not counting those of RDMA transfers.
    pub(crate) max_send_wr: u32,
    /// Receive work requests; ignored with a shared receive queue.
    pub(crate) max_recv_wr: u32,
    /// RDMA transfers, whose work requests are added to `max_send_wr`, as far as the device allows.
    pub(crate) max_rdma_ctxs: u32,
    /// Scatter/gather entries per send request.
    pub(crate) max_send_sge: u32,
    /// Owner.
    pub(crate) owner: Arc<O>,
}

/// What the device's events lead to. The `qp_context`.
pub(super) struct Context<O> {
    /// The owner.
    pub(super) owner: Arc<O>,
    /// For noting the last receive; null until the creation is complete.
    core: Atomic<*const QpCore>,
}

/// What the handle and everything that is posted share.
///
/// # Invariants
///
/// - `context` came from `Arc::into_raw`, or is null; the latter only after the `ib_qp` was
///   destroyed.
/// - `context.core` is null, or points to `core`.
#[pin_data]
pub(crate) struct QpInner<O: QpOwner> {
    pub(super) core: Arc<QpCore>,
    context: Atomic<*const Context<O>>,
    srq: Option<Arc<SharedReceiveQueue<O>>>,
    #[pin]
    destroy_work: Work<QpInner<O>, 0>,
    #[pin]
    error_work: Work<QpInner<O>, 1>,
}

impl_has_work! {
    impl{O: QpOwner} HasWork<QpInner<O>, 0> for QpInner<O> { self.destroy_work }
    impl{O: QpOwner} HasWork<QpInner<O>, 1> for QpInner<O> { self.error_work }
}

impl<O: QpOwner> HasGate<IN_FLIGHT> for QpInner<O> {
    #[inline]
    fn gate(&self) -> &Gate {
        HasGate::<IN_FLIGHT>::gate(&*self.core)
    }
}

impl<O: QpOwner> WorkItem<0> for QpInner<O> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.destroy();
    }
}

impl<O: QpOwner> WorkItem<1> for QpInner<O> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if let Err(e) = this.core.set_error() {
            pr_warn!("cannot put a queue pair into the error state: {:?}\n", e);
        }
    }
}

impl<O: QpOwner> QpInner<O> {
    /// Keeps the queue pair for a receive that is about to be posted. The caller is inside.
    fn launch(&self, _inside: &Inside<'_>) -> Result<Stay<Self, IN_FLIGHT>> {
        // SAFETY: The handle, and then the work that destroys the queue pair, hold this and the core
        // until the gate was closed and has been empty. It is pinned. The gate is closed when no
        // caller is inside any more, and only callers enter it.
        unsafe { Stay::enter(self) }.ok_or(EPIPE)
    }

    /// The owner, while something is in flight.
    fn owner(this: &Stay<Self, IN_FLIGHT>) -> Option<ArcBorrow<'_, O>> {
        let context = this.context.load(Acquire);
        if context.is_null() {
            return None;
        }
        // SAFETY: By the type invariant the context is valid until the queue pair was destroyed,
        // and that waits for what is in flight, as this is.
        Some(unsafe { &*context }.owner.as_arc_borrow())
    }

    /// See [`QueuePair::drain`].
    fn drain(&self) {
        self.core.drain();
    }

    /// See [`QueuePair::destroy`].
    fn destroy(&self) {
        self.drain();
        if let Some(srq) = &self.srq {
            srq.unregister(self.core.as_raw());
        }
        if !self.core.destroy() {
            return;
        }
        // INVARIANT: The `ib_qp` is destroyed.
        let context = self.context.xchg(ptr::null(), Full);
        if !context.is_null() {
            // SAFETY: By the type invariant it came from `into_raw`. There are no events any more,
            // and nothing is in flight.
            drop(unsafe { Arc::from_raw(context) });
        }
    }
}

/// A queue pair of a reliable connection.
///
/// It holds its owner, and the owner normally holds it: this circle is broken by taking the queue
/// pair out of the owner and dropping it, or by [`QueuePair::destroy`].
///
/// Dropping is allowed in any context; after [`QueuePair::destroy`], where one may sleep. What is left
/// of the end is done on a work queue: the queue pair is put into the error state, drained and
/// destroyed, and only then the owner is dropped. The removal of the device waits for that.
///
/// # Order
///
/// The connection's [`CmId`](super::cm::CmId) goes first, then the queue pair: a queue pair that was
/// created on an id waits for the end of that before it is destroyed. So both can be dropped in any
/// order, but a caller of [`QueuePair::destroy`] must not keep the id meanwhile.
pub(crate) struct QueuePair<O: QpOwner> {
    inner: ManuallyDrop<Arc<QpInner<O>>>,
}

impl<O: QpOwner> QueuePair<O> {
    /// Creates a queue pair with `create`, which gets the C arguments.
    ///
    /// # Safety
    ///
    /// If `create` returns a queue pair, it must have been made with these arguments, and it must
    /// belong to the caller. If it was made on a CM id, that is `link`, and stays alive meanwhile.
    pub(super) unsafe fn create(
        init: QpInit<O>,
        link: Option<Arc<IdShared>>,
        port_num: u32,
        create: impl FnOnce(
            *mut bindings::ib_pd,
            &mut bindings::ib_qp_init_attr,
        ) -> Result<NonNull<bindings::ib_qp>>,
    ) -> Result<Self> {
        let device = init.pd.device().id();
        let fitting_srq = match &init.srq {
            Some(srq) => srq.device().id() == device && init.cq.is_own(),
            None => true,
        };
        if init.cq.device().id() != device || !fitting_srq {
            return Err(EINVAL);
        }
        let limit = init.pd.device().attrs().max_qp_wr;
        let cq = Arc::new(init.cq, GFP_KERNEL)?;
        let context = Arc::new(
            Context {
                owner: init.owner,
                core: Atomic::new(ptr::null()),
            },
            GFP_KERNEL,
        )?;
        let registration = match &init.srq {
            Some(srq) => Some(srq.prepare(context.clone())?),
            None => None,
        };

        let mut attr = bindings::ib_qp_init_attr {
            event_handler: Some(event_callback::<O>),
            qp_context: Arc::as_ptr(&context).cast_mut().cast::<c_void>(),
            send_cq: cq.as_raw(),
            recv_cq: cq.as_raw(),
            srq: init
                .srq
                .as_ref()
                .map_or(ptr::null_mut(), |srq| srq.as_raw()),
            sq_sig_type: bindings::ib_sig_type_IB_SIGNAL_REQ_WR,
            qp_type: bindings::ib_qp_type_IB_QPT_RC,
            port_num,
            ..Default::default()
        };
        // One of each more, for the drain.
        attr.cap.max_send_wr = init.max_send_wr.saturating_add(1);
        attr.cap.max_send_sge = init.max_send_sge;
        attr.cap.max_rdma_ctxs = init.max_rdma_ctxs;
        if init.srq.is_none() {
            attr.cap.max_recv_wr = init.max_recv_wr.saturating_add(1).min(limit);
            attr.cap.max_recv_sge = 1;
        }

        let raw = create(init.pd.as_raw(), &mut attr)?;
        let sizes = Sizes {
            send: attr.cap.max_send_wr,
            recv: attr.cap.max_recv_wr,
            rdma: init.max_rdma_ctxs,
        };
        let has_srq = init.srq.is_some();
        // If this fails, these must live longer than the `ib_qp`.
        let keep = (init.pd.clone(), cq.clone(), init.srq.clone());
        let unwind = link.clone();
        // SAFETY: The queue pair is new and ours, as the caller promises, and was made with these
        // arguments.
        let core = unsafe { QpCore::new(raw, init.pd, cq, link, port_num, &sizes, has_srq) };
        let made = Arc::pin_init(core, GFP_KERNEL).and_then(|core| {
            // INVARIANT: The pointer is from `into_raw`, or null.
            Arc::pin_init(
                pin_init!(QpInner {
                    core,
                    context: Atomic::new(ptr::null()),
                    srq: init.srq,
                    destroy_work <- new_work!("QpInner::destroy_work"),
                    error_work <- new_work!("QpInner::error_work"),
                }),
                GFP_KERNEL,
            )
        });
        let inner = match made {
            Ok(inner) => inner,
            Err(e) => {
                match unwind {
                    // SAFETY: The caller, which has made the queue pair on the id just now, keeps that
                    // alive. Nothing was posted.
                    Some(link) => unsafe { link.undo_create_qp() },
                    // SAFETY: Nothing was posted, and nothing else knows the queue pair.
                    None => unsafe { destroy_raw(raw.as_ptr()) },
                }
                drop(keep);
                return Err(e);
            }
        };
        // INVARIANT: It is the core of this queue pair.
        context.core.store(Arc::as_ptr(&inner.core), Release);
        if let (Some(srq), Some(registration)) = (&inner.srq, registration) {
            srq.register(raw.as_ptr(), &keep.1, registration);
        }
        // INVARIANT: This pointer is from `into_raw`.
        inner.context.store(Arc::into_raw(context), Release);
        Ok(Self {
            inner: ManuallyDrop::new(inner),
        })
    }

    /// The part that does not depend on the owner.
    pub(super) fn core(&self) -> &Arc<QpCore> {
        &self.inner.core
    }

    /// The device.
    pub(crate) fn device(&self) -> &Device {
        self.inner.core.device()
    }

    /// Number of the device's port the connection uses.
    pub(crate) fn port_num(&self) -> u32 {
        self.inner.core.port_num()
    }

    /// Number of the queue pair.
    pub(crate) fn qp_num(&self) -> u32 {
        self.inner.core.qp_num()
    }

    /// Send work requests that may be outstanding at the same time, those of RDMA transfers
    /// included, as the device has granted them.
    pub(crate) fn max_send_wr(&self) -> u32 {
        self.inner.core.sq_capacity()
    }

    /// Receives that may be posted at the same time; 0 with a shared receive queue.
    pub(crate) fn max_recv_wr(&self) -> u32 {
        self.inner.core.rq_capacity()
    }

    /// Puts the queue pair into the error state: everything that is posted comes back flushed.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// Those of the device's driver.
    pub(crate) fn set_error(&self) -> Result {
        self.inner.core.set_error()
    }

    /// Puts the queue pair into the error state, refuses new posts, and waits until everything that
    /// was posted has come back and its completions were handled (`ib_drain_qp`).
    ///
    /// With a shared receive queue this takes up to 10 seconds the first time that the device does
    /// not report the last receive, and a tenth of a second until it does so again.
    ///
    /// Idempotent. Sleeps. Must not be called from a completion, a queue pair event, or anything
    /// these wait for. A response that was posted only in part (see
    /// [`QueuePair::post_write_send`]) completes here, so this must not wait for commands to end.
    pub(crate) fn drain(&self) {
        self.inner.drain();
    }

    /// Drains and destroys the queue pair, then drops the owner. The handle is of no use
    /// afterwards. Idempotent.
    ///
    /// Sleeps until every [`RwSlot`](super::rw::RwSlot) that was filled for this queue pair is idle
    /// again, and with the RDMA connection manager until the [`CmId`](super::cm::CmId) was dropped. The
    /// same restrictions as for [`QueuePair::drain`]; in addition not from a CM event handler.
    pub(crate) fn destroy(&self) {
        self.inner.destroy();
    }
}

impl<O: QpOwner> Drop for QueuePair<O> {
    fn drop(&mut self) {
        // SAFETY: This is the drop, and nothing looks at the field afterwards.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        if inner.core.is_destroyed() {
            return;
        }
        // The device is kept by the work item itself, which drops it last. The work item gets the
        // handle's own reference, so that the last one is not dropped here.
        let device = inner.core.device().clone();
        // This work is queued here only, so it is not queued yet.
        let _ = device
            .reaper()
            .as_queue()
            .enqueue::<Arc<QpInner<O>>, 0>(inner);
    }
}

/// `ib_qp_init_attr.event_handler`.
///
/// # Safety
///
/// Called by the RDMA core only, for a queue pair whose context is a [`Context<O>`].
unsafe extern "C" fn event_callback<O: QpOwner>(
    event: *mut bindings::ib_event,
    context: *mut c_void,
) {
    // SAFETY: The context is freed after the queue pair, and `ib_destroy_qp` waits for handlers.
    let context = unsafe { &*context.cast_const().cast::<Context<O>>() };
    // SAFETY: The core passes a valid event.
    let event = match unsafe { (*event).event } {
        bindings::ib_event_type_IB_EVENT_COMM_EST => QpEvent::CommEst,
        bindings::ib_event_type_IB_EVENT_QP_LAST_WQE_REACHED => QpEvent::LastWqeReached,
        kind @ (bindings::ib_event_type_IB_EVENT_QP_FATAL
        | bindings::ib_event_type_IB_EVENT_QP_REQ_ERR
        | bindings::ib_event_type_IB_EVENT_QP_ACCESS_ERR) => QpEvent::Fatal(kind),
        other => QpEvent::Other(other),
    };
    if event == QpEvent::LastWqeReached {
        let core = context.core.load(Acquire);
        if !core.is_null() {
            // SAFETY: By the invariant of `QpInner` it points to the core, which lives longer than
            // the `ib_qp`, for whose duration there are events.
            unsafe { (*core).note_last_wqe() };
        }
    }
    O::qp_event(context.owner.as_arc_borrow(), event);
}
