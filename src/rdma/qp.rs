// SPDX-License-Identifier: GPL-2.0

//! Queue pairs of reliable connections: creation, events, destruction.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: posting ([`post`]) and completions ([`complete`]), the accounting that makes
//! destruction safe ([`core`]), shared receive queues ([`srq`]), the connections that queue pairs
//! are created for ([`super::cm`]).

use ::core::{
    ffi::c_void,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    container_of,
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        UniqueArc, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use super::{
    buf::{
        self,
        Seat, //
    },
    cq::CompletionQueue,
    cqe::{
        Cqe,
        HasCqe,
        SEND, //
    },
    entry::Entry,
    id::{
        destroy_raw,
        IdShared, //
    },
    pd::ProtectionDomain,
    wc::WcStatus, //
};
use crate::{
    bindings,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        completion::Completion,
        gate::{
            Gate,
            HasGate,
            Inside,
            Stay, //
        }, //
    }, //
};

mod chain;
mod complete;
pub(super) mod core;
mod inline;
mod parts;
mod post;
pub(crate) mod srq;
pub(in crate::rdma) mod stuck;

use self::{
    core::{
        QpCore,
        CALLERS,
        IN_FLIGHT, //
    },
    inline::unsignaled_done,
    parts::Sizes, //
};

pub(crate) use inline::InlineSend;
pub(crate) use parts::{
    Drained,
    UNSIGNALED, //
};
use srq::SharedReceiveQueue;

/// Queue that a receive buffer is posted to.
#[derive(Default)]
pub(crate) enum Posted<O: QpOwner> {
    /// None.
    #[default]
    No,
    /// The receive queue of a queue pair, which this keeps.
    Qp(Stay<QpInner<O>, IN_FLIGHT>),
    /// A shared receive queue, with the index in its table.
    Srq(NonNull<SharedReceiveQueue<O>>, usize),
}

// SAFETY: The pointer is dereferenced by the completion only, which may run in any task.
unsafe impl<O: QpOwner> Send for Posted<O> {}
// SAFETY: Nothing is reached through a shared reference.
unsafe impl<O: QpOwner> Sync for Posted<O> {}

/// A receive buffer.
pub(crate) type RecvBuf<O> = buf::RecvBuf<Posted<O>>;

/// Number of the next table of receives.
static SERIAL: Atomic<u64> = Atomic::new(1);

/// An asynchronous event of a queue pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QpEvent {
    /// The device takes no more receives from the shared receive queue for this queue pair
    /// (`IB_EVENT_QP_LAST_WQE_REACHED`).
    LastWqeReached,
    /// The queue pair is in the error state: `QP_FATAL`, `QP_REQ_ERR` or `QP_ACCESS_ERR`, by its
    /// `enum ib_event_type`.
    Fatal(u32),
    /// Another `enum ib_event_type`.
    Other(u32),
}

/// Owner of a queue pair: the handler of its receives and events.
///
/// No function may drain or destroy the queue pair.
pub(crate) trait QpOwner: Send + Sync + Sized + 'static {
    /// Handles the completion of a receive. `received` is the number of bytes, or the error with
    /// which it failed; the owner may post or drop the buffer. Process context.
    ///
    /// A buffer of a shared receive queue should be posted there again in every case, because other
    /// connections depend on it.
    ///
    /// Calls for one queue pair are serialised (see [`CompletionQueue`]).
    fn recv_done(
        this: ArcBorrow<'_, Self>,
        buf: Pin<KBox<RecvBuf<Self>>>,
        received: Result<usize, WcStatus>,
    );

    /// Handles the failure of a SEND that does not complete ([`QueuePair::begin_inline`]). Process
    /// context. Calls are serialised with those of [`Self::recv_done`].
    fn send_failed(this: ArcBorrow<'_, Self>, status: WcStatus);

    /// Handles an asynchronous event. Any context, hard interrupts included: drivers report events
    /// in the context in which they detect them, and `__ib_qp_event_handler` calls the handler
    /// directly.
    fn qp_event(this: ArcBorrow<'_, Self>, event: QpEvent);
}

/// Least [`QpInit::largest_part`]: the work requests for one piece of memory, where that has to be
/// registered.
pub(crate) const MIN_PART: u32 = 3;

/// Parameters of a new queue pair.
pub(crate) struct QpInit<O: QpOwner> {
    /// Protection domain, on the connection's device.
    pub(crate) pd: Arc<ProtectionDomain>,
    /// Completion queue for both directions. With a shared receive queue it must have room for all
    /// receives of that queue.
    pub(crate) cq: CompletionQueue,
    /// Shared receive queue, in place of a receive queue of the queue pair.
    pub(crate) srq: Option<Arc<SharedReceiveQueue<O>>>,
    /// Send work requests, [`UNSIGNALED`] included, not counting those of RDMA transfers.
    pub(crate) max_send_wr: u32,
    /// Receive work requests; ignored with a shared receive queue.
    pub(crate) max_recv_wr: u32,
    /// RDMA contexts in use at a time. Their work requests are added to `max_send_wr`, as far as
    /// the device allows.
    pub(crate) max_rdma_ctxs: u32,
    /// Largest number of work requests of a transfer that are posted at a time, at least
    /// [`MIN_PART`]. A larger transfer is posted in parts, so the owner has room in the queue for
    /// one until it completes.
    pub(crate) largest_part: u32,
    /// Scatter/gather entries per send request.
    pub(crate) max_send_sge: u32,
    /// Largest SEND in bytes that is to be copied into its work request, as far as the device's
    /// driver does that and grants it; see [`QueuePair::begin_inline`].
    pub(crate) max_inline: u32,
    /// Handler of receives and events.
    pub(crate) owner: Arc<O>,
}

/// Argument of the event handler: the `qp_context` of the `ib_qp`.
pub(super) struct Context<O> {
    /// The owner.
    pub(super) owner: Arc<O>,
    /// For [`QpCore::note_last_wqe`]; null until the creation is complete.
    core: Atomic<*const QpCore>,
}

/// State shared by the handle, posted receives and the work items.
///
/// # Invariants
///
/// - `context` came from `Arc::into_raw`, or is null; the latter only after the `ib_qp` was
///   destroyed.
/// - `context.core` is null, or points to `core`.
/// - An entry of `receives` that is not null is a buffer that is posted, and not completed yet.
#[pin_data]
pub(crate) struct QpInner<O: QpOwner> {
    pub(super) core: Arc<QpCore>,
    context: Atomic<*const Context<O>>,
    srq: Option<Arc<SharedReceiveQueue<O>>>,
    /// Posted buffers, by [`Seat`]; none with a shared receive queue.
    receives: KVVec<Atomic<*mut RecvBuf<O>>>,
    /// Number of this table, from 1.
    serial: u64,
    /// Number of seats that were taken.
    seated: Atomic<u32>,
    /// Entry of the marker, and its completion; see [`Self::mark`].
    #[pin]
    marker: Cqe<QpInner<O>, SEND>,
    #[pin]
    marked: Completion,
    /// Entry of all SENDs that are not signaled; see [`inline`].
    unsignaled: Entry,
    #[pin]
    destroy_work: Work<QpInner<O>, 0>,
    #[pin]
    error_work: Work<QpInner<O>, 1>,
}

impl_has_work! {
    impl{O: QpOwner} HasWork<QpInner<O>, 0> for QpInner<O> { self.destroy_work }
    impl{O: QpOwner} HasWork<QpInner<O>, 1> for QpInner<O> { self.error_work }
}

impl<O: QpOwner> HasGate<CALLERS> for QpInner<O> {
    #[inline]
    fn gate(&self) -> &Gate {
        HasGate::<CALLERS>::gate(&*self.core)
    }
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
        Self::destroy(&this);
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
    /// Returns the queue pair that an entry [`Self::unsignaled`] is a part of.
    ///
    /// # Safety
    ///
    /// `cqe` must point to that field of a valid object.
    unsafe fn of_unsignaled(cqe: *mut bindings::ib_cqe) -> *const Self {
        // SAFETY: As the caller promises; an `Entry` is its C part.
        unsafe { container_of!(cqe.cast::<Entry>(), Self, unsignaled) }
    }

    /// Returns a guard that keeps the queue pair for a receive that is about to be posted.
    fn launch(this: &Inside<'_, Self, CALLERS>) -> Result<Stay<Self, IN_FLIGHT>> {
        // SAFETY: The handle, and then the work that destroys the queue pair, hold this and the
        // core until the gate was closed and has been empty. It is pinned. The gate is closed when
        // no caller is inside any more, and only callers enter it.
        unsafe { Stay::enter(&**this) }.ok_or(EPIPE)
    }

    /// Returns the owner, which `this` keeps; `None` before the creation is complete.
    fn owner(this: &Stay<Self, IN_FLIGHT>) -> Option<ArcBorrow<'_, O>> {
        let context = this.context.load(Acquire);
        if context.is_null() {
            return None;
        }
        // SAFETY: By the type invariant the context is valid until the queue pair was destroyed,
        // and that waits for what is in flight, as this is.
        Some(unsafe { &*context }.owner.as_arc_borrow())
    }

    /// Returns the place of a buffer in the table, for the time in which it is posted. A buffer
    /// without a seat gets one.
    fn seat(&self, seat: &mut Seat) -> Result<&Atomic<*mut RecvBuf<O>>> {
        if seat.table == 0 {
            let index = self.seated.fetch_add(1, Relaxed);
            *seat = Seat {
                table: self.serial,
                index,
            };
        }
        if seat.table != self.serial {
            return Err(EINVAL);
        }
        // CAST: A u32 fits in a usize on every architecture with RDMA.
        self.receives.get(seat.index as usize).ok_or(ENOSPC)
    }

    /// Notes that a buffer is not posted any more.
    fn leave_seat(&self, seat: &Seat) {
        // CAST: As above.
        if let Some(place) = self.receives.get(seat.index as usize) {
            place.store(ptr::null_mut(), Relaxed);
        }
    }

    /// Removes the queue pair from the table of its shared receive queue.
    fn unregister(&self) {
        if let Some(srq) = &self.srq {
            srq.unregister(self.core.as_raw());
        }
    }

    /// See [`QueuePair::drain`].
    fn drain(this: &Arc<Self>) -> Drained {
        this.core.drain(|| Self::mark(this))
    }

    /// See [`QueuePair::destroy`].
    fn destroy(this: &Arc<Self>) {
        if Self::drain(this) == Drained::Stuck {
            // The sends are the owner's to complete, and it has not done so: they are waited for.
            Self::break_off(this);
        }
        if !this.core.destroy(|| this.unregister()) {
            return;
        }
        // INVARIANT: The `ib_qp` is destroyed.
        let context = this.context.xchg(ptr::null(), Full);
        if !context.is_null() {
            // SAFETY: By the type invariant it came from `into_raw`. There are no events any more,
            // and nothing is in flight.
            drop(unsafe { Arc::from_raw(context) });
        }
    }
}

/// A queue pair of a reliable connection.
///
/// It holds its owner, and the owner normally holds it. Taking the queue pair out of the owner and
/// dropping it breaks this cycle, and so does [`QueuePair::destroy`].
///
/// May be dropped in any context; after [`QueuePair::destroy`], only where sleeping is allowed.
/// The drop leaves the destruction to a work queue: the queue pair is put into the error state,
/// drained and destroyed, and then the owner is dropped. The removal of the device waits for that.
///
/// # Order
///
/// The destruction of a queue pair that was created on an RDMA/CM id waits until the connection's
/// [`CmId`](super::cm::CmId) was dropped. So the two may be dropped in any order, but a caller of
/// [`QueuePair::destroy`] must not keep the id meanwhile.
pub(crate) struct QueuePair<O: QpOwner> {
    inner: ManuallyDrop<Arc<QpInner<O>>>,
}

impl<O: QpOwner> QueuePair<O> {
    /// Creates a queue pair with `create`, which is passed the C arguments.
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
    ) -> Result<Arc<Self>> {
        let device = init.pd.device().id();
        let fitting_srq = match &init.srq {
            Some(srq) => srq.device().id() == device,
            None => true,
        };
        if init.cq.device().id() != device || !fitting_srq {
            return Err(EINVAL);
        }
        let limit = init.pd.device().attrs().max_qp_wr;
        // Before `create`: a failure leaves no queue pair on the id, so the caller may try again.
        let place = UniqueArc::new_uninit(GFP_KERNEL)?;
        // CAST: A u32 fits in a usize on every architecture with RDMA.
        let seats = match init.srq {
            Some(_) => 0,
            None => init.max_recv_wr as usize,
        };
        let mut receives = KVVec::with_capacity(seats, GFP_KERNEL)?;
        for _ in 0..seats {
            receives.push(Atomic::new(ptr::null_mut()), GFP_KERNEL)?;
        }
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
            ..pin_init::zeroed()
        };
        // One send more, for the drain.
        attr.cap.max_send_wr = init.max_send_wr.saturating_add(1);
        attr.cap.max_send_sge = init.max_send_sge;
        attr.cap.max_rdma_ctxs = init.max_rdma_ctxs;
        let max_inline = init.pd.device().inline_limit(init.max_inline);
        attr.cap.max_inline_data = max_inline;
        if init.srq.is_none() {
            attr.cap.max_recv_wr = init.max_recv_wr.min(limit);
            attr.cap.max_recv_sge = 1;
        }

        let raw = create(init.pd.as_raw(), &mut attr)?;
        // What has a seat fits in the queue. CAST: As above.
        receives.truncate(attr.cap.max_recv_wr as usize);
        let sizes = Sizes {
            send: attr.cap.max_send_wr,
            rdma: init.max_rdma_ctxs,
            // What was not asked for is not used, even if it is there.
            inline: attr.cap.max_inline_data.min(max_inline),
            // The device may have granted fewer requests.
            part: attr
                .cap
                .max_send_wr
                .saturating_sub(init.max_send_wr.saturating_add(1))
                .min(init.largest_part)
                .max(MIN_PART),
        };
        let has_srq = init.srq.is_some();
        // If what follows fails, these must outlive the `ib_qp`.
        let keep = (init.pd.clone(), cq.clone(), init.srq.clone());
        let unwind = link.clone();
        // SAFETY: The queue pair is new and ours, as the caller promises, and was made with these
        // arguments.
        let core = unsafe { QpCore::new(raw, init.pd, cq, link, port_num, &sizes, has_srq) };
        let made = Arc::pin_init(core, GFP_KERNEL).and_then(|core| {
            // INVARIANT: The pointer is from `into_raw`, or null. Nothing is posted.
            Arc::pin_init(
                pin_init!(QpInner {
                    core,
                    context: Atomic::new(ptr::null()),
                    srq: init.srq,
                    receives,
                    serial: SERIAL.fetch_add(1, Relaxed),
                    seated: Atomic::new(0),
                    marker: Cqe::new(),
                    marked <- Completion::new(),
                    unsignaled: Entry::new(Some(unsignaled_done::<O>)),
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
                    // SAFETY: The caller, which has made the queue pair on the id just now, keeps
                    // that alive. Nothing was posted.
                    Some(link) => unsafe { link.undo_create_qp() },
                    None => {
                        // SAFETY: Nothing was posted, and nothing else uses the queue pair.
                        let _ = unsafe { destroy_raw(raw.as_ptr()) };
                    }
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
        Ok(place
            .write(Self {
                inner: ManuallyDrop::new(inner),
            })
            .into())
    }

    /// Returns the part that does not depend on the owner.
    pub(super) fn core(&self) -> &Arc<QpCore> {
        &self.inner.core
    }

    /// Returns whether the completion queue has failed, so that nothing completes any more. Any
    /// context.
    pub(crate) fn cq_failed(&self) -> bool {
        self.inner.core.cq_failed()
    }

    /// Number of send work requests that may be outstanding at the same time, including those of
    /// RDMA transfers, as granted by the device.
    pub(crate) fn max_send_wr(&self) -> u32 {
        self.inner.core.sq_capacity()
    }

    /// Refuses new posts, puts the queue pair into the error state, and waits until everything that
    /// was posted has completed and its completions were handled.
    ///
    /// With a shared receive queue this takes up to 10 seconds the first time that the device does
    /// not report the last receive, and a tenth of a second from then on until it does.
    ///
    /// If the device completes nothing for 10 seconds, the result is [`Drained::Stuck`], and the
    /// caller goes on with [`Self::break_off`].
    ///
    /// Idempotent. Sleeps. Must not be called from a completion, a queue pair event, or anything
    /// these wait for. A response that was posted only in part (see
    /// [`QueuePair::post_write_send`]) completes here, so the caller must not first wait for
    /// commands to end.
    pub(crate) fn drain(&self) -> Drained {
        QpInner::drain(&self.inner)
    }

    /// Destroys a queue pair that is [`Drained::Stuck`], and its completion queue, so that the
    /// device has no access to what is posted, and nothing completes. Completes receives, which are
    /// flushed. Then the owner calls [`Self::complete_lost`] with everything of its own that may be
    /// posted. Does nothing otherwise.
    ///
    /// Sleeps as [`Self::destroy`] does: with the RDMA connection manager the caller must have
    /// dropped the [`CmId`](super::cm::CmId), and the restrictions of [`Self::drain`] apply.
    pub(crate) fn break_off(&self) {
        QpInner::break_off(&self.inner);
    }

    /// Completes an entry of an item as flushed if it is posted to this queue pair, which is broken
    /// off. Does nothing otherwise. To be called by one task at a time. Process context.
    pub(crate) fn complete_lost<T: HasCqe<ID>, const ID: u64>(&self, item: &Arc<T>) {
        self.inner.core.complete_lost(item);
    }

    /// Drains and destroys the queue pair, then drops the owner. Posts through the handle fail
    /// afterwards. Idempotent.
    ///
    /// Sleeps until every [`RwSlot`](super::rw::RwSlot) that was filled for this queue pair is
    /// idle, and with the RDMA connection manager until the [`CmId`](super::cm::CmId) was dropped.
    /// The restrictions of [`QueuePair::drain`] apply; in addition, must not be called from a CM
    /// event handler.
    pub(crate) fn destroy(&self) {
        QpInner::destroy(&self.inner);
    }
}

impl<O: QpOwner> Drop for QueuePair<O> {
    fn drop(&mut self) {
        // SAFETY: This is the drop, and nothing accesses the field afterwards.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        if inner.core.is_destroyed() {
            return;
        }
        // The work item is passed the handle's reference, so that the last one is not dropped here;
        // it holds the device and drops it last.
        let device = inner.core.device().clone();
        // This work is queued here only, so it is not queued yet.
        let _ = device
            .destroy_queue()
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
