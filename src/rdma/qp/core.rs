// SPDX-License-Identifier: GPL-2.0

//! The part of a queue pair that does not depend on its owner: its users, and how it ends.
//!
//! Three things keep an `ib_qp` alive, and its end waits for them in this order: callers inside a
//! function ([`QpCore::enter`]), posted work ([`IN_FLIGHT`]), and prepared RDMA contexts
//! ([`HELD`]). Each has a gate ([`crate::sync::gate`]), and each is a guard. Only callers can begin
//! the other two, so their gates are closed when there are no callers any more.

use core::{
    ffi::c_int,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Full,
            Relaxed,
            Release, //
        },
        Arc, //
    }, //
};

use super::{
    super::{
        cq::CompletionQueue,
        device::Device,
        entry::CqeHead,
        id::{
            destroy_raw,
            IdShared, //
        },
        pd::ProtectionDomain, //
    },
    parts::{
        End,
        Facts,
        MadeWith,
        Room,
        Sizes,
        Stage,
        Users, //
    }, //
};
use crate::{
    bindings,
    sync::{
        gate::{
            Gate,
            HasGate,
            Inside,
            Stay, //
        },
        ratelimit, //
    }, //
};

/// Gate of what is posted.
pub(in crate::rdma) const IN_FLIGHT: u64 = 1;
/// Gate of prepared RDMA contexts.
pub(in crate::rdma) const HELD: u64 = 2;

/// Milliseconds between two complaints of a wait.
const COMPLAIN_MS: u32 = 10_000;

/// How long the device may take to say that it will not take from the shared receive queue any
/// more, in milliseconds.
const LAST_WQE_WAIT_MS: u32 = 10_000;

/// The same for a device that did not say so the last time: some never do. Time enough for the
/// hardware to let go of what it has taken.
const NO_LAST_WQE_WAIT_MS: u32 = 100;

/// What a queue pair is besides its owner.
///
/// # Invariants
///
/// - `raw` is valid until `end.stage` is `Destroyed`, which it becomes only after the gates in
///   `users` were closed and have been empty.
/// - It is not freed before: the [`QueuePair`](super::QueuePair), and then the work that destroys it,
///   hold it until then.
#[pin_data]
pub(in crate::rdma) struct QpCore {
    raw: NonNull<bindings::ib_qp>,
    facts: Facts,
    send: Room,
    recv: Room,
    #[pin]
    users: Users,
    #[pin]
    end: End,
    #[pin]
    made_with: MadeWith,
}

// SAFETY: A queue pair may be used and destroyed by any task.
unsafe impl Send for QpCore {}
// SAFETY: The verbs on a queue pair are thread-safe; everything else is atomic or locked.
unsafe impl Sync for QpCore {}

impl QpCore {
    /// Takes over a new queue pair.
    ///
    /// # Safety
    ///
    /// `raw` must be a new queue pair in `pd`, which uses `cq`; nothing else destroys it. If it was
    /// created on a CM id, that is `link`.
    pub(super) unsafe fn new(
        raw: NonNull<bindings::ib_qp>,
        pd: Arc<ProtectionDomain>,
        cq: Arc<CompletionQueue>,
        link: Option<Arc<IdShared>>,
        port_num: u32,
        sizes: &Sizes,
        has_srq: bool,
    ) -> impl PinInit<Self> {
        let facts = Facts {
            // SAFETY: The queue pair is valid.
            qp_num: unsafe { raw.as_ref().qp_num },
            port_num,
            lkey: pd.lkey(),
            rdma_ctxs: sizes.rdma,
            has_srq,
        };
        let (send, recv) = (Room::new(sizes.send), Room::new(sizes.recv));
        // INVARIANT: The caller promises that it is valid; nothing uses it yet.
        pin_init!(Self {
            raw,
            facts,
            send,
            recv,
            users <- Users::new(),
            end <- End::new(),
            made_with <- MadeWith::new(pd, cq, link),
        })
    }

    /// The C queue pair. Code that follows the pointer must have one of the guards.
    pub(in crate::rdma) fn as_raw(&self) -> *mut bindings::ib_qp {
        self.raw.as_ptr()
    }

    /// Number of the device's port.
    pub(in crate::rdma) fn port_num(&self) -> u32 {
        self.facts.port_num
    }

    /// Number of the queue pair.
    pub(in crate::rdma) fn qp_num(&self) -> u32 {
        self.facts.qp_num
    }

    /// Key for local memory.
    pub(super) fn lkey(&self) -> u32 {
        self.facts.lkey
    }

    /// The device.
    pub(super) fn device(&self) -> &Device {
        &self.made_with.device
    }

    /// Whether receives come from a shared receive queue.
    pub(super) fn has_srq(&self) -> bool {
        self.facts.has_srq
    }

    /// Send work requests that may be outstanding at the same time.
    pub(in crate::rdma) fn sq_capacity(&self) -> u32 {
        self.send.capacity
    }

    /// RDMA contexts that may be in use at a time: where each needs a memory region, there are no
    /// more (`ib_qp_cap.max_rdma_ctxs`).
    pub(in crate::rdma) fn rdma_ctxs(&self) -> usize {
        self.facts.rdma_ctxs as usize
    }

    /// Receive work requests that may be outstanding at the same time.
    pub(super) fn rq_capacity(&self) -> u32 {
        self.recv.capacity
    }

    /// Enters, unless the queue pair is being torn down. Any context.
    #[inline]
    pub(in crate::rdma) fn enter(&self) -> Option<Inside<'_>> {
        self.users.callers.enter()
    }

    /// Keeps the `ib_qp` for a prepared RDMA context. The caller is inside.
    #[inline]
    pub(in crate::rdma) fn hold(&self, _inside: &Inside<'_>) -> Result<Stay<Self, HELD>> {
        // SAFETY: By the type invariant this is not freed before the gate was closed and has been
        // empty. It is pinned. The gate is closed when no caller is inside any more, and only
        // callers enter it.
        unsafe { Stay::enter(self) }.ok_or(EPIPE)
    }

    /// Keeps the `ib_qp` for a send that is about to be posted. The caller is inside.
    #[inline]
    pub(in crate::rdma) fn launch(&self, _inside: &Inside<'_>) -> Result<Stay<Self, IN_FLIGHT>> {
        // SAFETY: As in `hold`.
        unsafe { Stay::enter(self) }.ok_or(EPIPE)
    }

    /// Takes room for `wrs` requests in the send queue.
    pub(super) fn take_send(&self, wrs: u32) -> Result {
        self.send.take(wrs)
    }

    /// Gives back room in the send queue.
    pub(super) fn give_send(&self, wrs: u32) {
        self.send.give(wrs);
    }

    /// Takes room for a request in the receive queue.
    pub(super) fn take_recv(&self) -> Result {
        self.recv.take(1)
    }

    /// Gives back room in the receive queue.
    pub(super) fn give_recv(&self) {
        self.recv.give(1);
    }

    /// Notes that the device will not take from the shared receive queue any more. Any context.
    pub(super) fn note_last_wqe(&self) {
        self.end.last_wqe.complete_all();
        self.made_with
            .device
            .silent_about_last_wqe()
            .store(false, Relaxed);
    }

    /// Waits until the device has reported the last receive that it took from the shared receive
    /// queue. The limit is [`LAST_WQE_WAIT_MS`]; once a queue pair of the device has waited that
    /// long in vain, all waits end within [`NO_LAST_WQE_WAIT_MS`], those in progress included.
    /// Sleeps.
    fn await_last_wqe(&self) {
        let silent = self.made_with.device.silent_about_last_wqe();
        let mut waited = 0;
        while waited < LAST_WQE_WAIT_MS {
            if self.end.last_wqe.wait_timeout(NO_LAST_WQE_WAIT_MS) {
                return;
            }
            if silent.load(Relaxed) {
                break;
            }
            waited += NO_LAST_WQE_WAIT_MS;
        }
        let first = !silent.xchg(true, Relaxed);
        if self.end.last_wqe.done() {
            // The event was late, not missing: other waits keep their limit.
            silent.store(false, Relaxed);
            return;
        }
        if first {
            pr_warn!(
                "{}: QP {} does not report its last receive; shared buffers may be lost\n",
                self.device().name(),
                self.qp_num()
            );
        } else if ratelimit::ok() {
            pr_info!(
                "{}: QP {} does not report its last receive either\n",
                self.device().name(),
                self.qp_num()
            );
        }
    }

    /// Puts the queue pair into the error state (`ib_modify_qp`): what is posted is flushed.
    /// Does nothing if it is being torn down, which does that, too. May sleep.
    pub(super) fn set_error(&self) -> Result {
        let Some(_pass) = self.enter() else {
            return Ok(());
        };
        let mut attr = bindings::ib_qp_attr {
            qp_state: bindings::ib_qp_state_IB_QPS_ERR,
            ..Default::default()
        };
        // SAFETY: We are inside, so the queue pair is valid. The mask names the one attribute.
        to_result(unsafe {
            bindings::ib_modify_qp(
                self.as_raw(),
                &mut attr,
                bindings::ib_qp_attr_mask_IB_QP_STATE as c_int,
            )
        })
    }

    /// Remembers a send of which the device got the first requests, but not the one that would
    /// complete. It is completed when the queue pair is drained. Any context.
    ///
    /// # Safety
    ///
    /// `head` must be the head of an entry that is posted here and never completes by itself.
    pub(super) unsafe fn orphan(&self, head: *mut CqeHead) {
        let mut first = self.end.orphans.load(Relaxed);
        loop {
            // SAFETY: The entry is posted, so it is valid, and it is ours: no completion comes.
            unsafe { (*head).next = first };
            match self.end.orphans.cmpxchg(first, head, Full) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Completes the orphans as flushed.
    ///
    /// # Safety
    ///
    /// The queue pair must be drained, so that the device has finished with them.
    unsafe fn complete_orphans(&self) {
        let mut head = self.end.orphans.xchg(ptr::null_mut(), Full);
        while !head.is_null() {
            // SAFETY: Entries in the list are posted, so valid.
            let next = unsafe { (*head).next };
            let mut wc = bindings::ib_wc {
                status: bindings::ib_wc_status_IB_WC_WR_FLUSH_ERR,
                qp: self.as_raw(),
                ..Default::default()
            };
            // SAFETY: By the contract of `orphan` C will not complete it.
            unsafe { CqeHead::complete(head, &mut wc) };
            head = next;
        }
    }

    /// Closes the gate, flushes everything and waits until all completions were handled
    /// (`ib_drain_qp`). Idempotent; a second caller waits for the first. Sleeps; must not be
    /// called from a completion of this queue pair.
    pub(super) fn drain(&self) {
        let mut stage = self.end.stage.lock();
        if *stage >= Stage::Drained {
            return;
        }
        self.users.callers.close();
        self.await_empty(&self.users.callers, "callers");
        if self.has_srq() {
            self.drain_shared();
        } else {
            // SAFETY: The queue pair is valid. Nothing is posted any more, there is room for the
            // drain's own requests because `Room` has kept it back, and the completion queue has a
            // work item, so it is polled.
            unsafe { bindings::ib_drain_qp(self.as_raw()) };
        }
        // SAFETY: The queue pair was drained.
        unsafe { self.complete_orphans() };
        self.users.in_flight.close();
        self.await_empty(&self.users.in_flight, "completions");
        *stage = Stage::Drained;
    }

    /// What `ib_drain_qp` does for a queue pair with a shared receive queue, except that it leaves
    /// the completion queue to its work item: completions are then handled one after the other, and
    /// what came before the second drain's own request was handled when that is.
    ///
    /// Without the event, receives may complete until the queue pair is destroyed. Nothing is freed
    /// too early then, see [`Self::destroy`], but their buffers are not posted again.
    fn drain_shared(&self) {
        // SAFETY: As in `drain`. This puts the queue pair into the error state.
        unsafe { bindings::ib_drain_sq(self.as_raw()) };
        self.await_last_wqe();
        // SAFETY: As above.
        unsafe { bindings::ib_drain_sq(self.as_raw()) };
    }

    /// Drains and frees the `ib_qp`, and lets go of its completion queue. If that is the queue
    /// pair's own, no completion function of it runs when this returns. Returns `false` if it was
    /// freed before. Sleeps; the caller must not hold a prepared
    /// [`RwSlot`](crate::rdma::rw::RwSlot).
    pub(super) fn destroy(&self) -> bool {
        self.drain();
        let mut stage = self.end.stage.lock();
        if *stage == Stage::Destroyed {
            return false;
        }
        self.users.held.close();
        self.await_empty(&self.users.held, "RDMA contexts");
        // INVARIANT: The gates were closed and have been empty.
        *stage = Stage::Destroyed;
        match &self.made_with.link {
            // SAFETY: The queue pair is valid, and was created on this id.
            Some(link) => unsafe { link.destroy_qp(self.as_raw()) },
            // SAFETY: The queue pair is valid, a kernel object, and nothing else knows it.
            None => unsafe { destroy_raw(self.as_raw()) },
        }
        self.end.destroyed.store(true, Release);
        drop(stage);
        let cq = self.made_with.cq.lock().take();
        drop(cq);
        true
    }

    /// Whether the `ib_qp` is freed. Any context.
    pub(super) fn is_destroyed(&self) -> bool {
        self.end.destroyed.load(Acquire)
    }

    /// Waits until nothing is inside a gate that was closed, with a complaint every 10 seconds.
    fn await_empty(&self, gate: &Gate, what: &str) {
        while !gate.wait_empty_timeout(COMPLAIN_MS) {
            pr_warn!(
                "{}: QP {} still has {}\n",
                self.device().name(),
                self.qp_num(),
                what
            );
        }
    }
}

impl HasGate<IN_FLIGHT> for QpCore {
    #[inline]
    fn gate(&self) -> &Gate {
        &self.users.in_flight
    }
}

impl HasGate<HELD> for QpCore {
    #[inline]
    fn gate(&self) -> &Gate {
        &self.users.held
    }
}
