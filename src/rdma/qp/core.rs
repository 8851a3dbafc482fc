// SPDX-License-Identifier: GPL-2.0

//! The part of a queue pair that does not depend on its owner: its users, and its destruction.
//!
//! An `ib_qp` has three kinds of users, for which its destruction waits in this order: callers
//! inside a function ([`CALLERS`]), posted work ([`IN_FLIGHT`]), and RDMA contexts that are
//! prepared and not posted ([`HELD`]). Each kind has a gate ([`crate::sync::gate`]), and each user
//! a guard. Only callers can enter the other two gates, so these are closed when there are no
//! callers left.
//!
//! Not here: the handle and its drop ([`super`]), posting ([`super::post`]), devices that do not
//! complete what is posted ([`super::stuck`]).

use core::{
    ffi::c_int,
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
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
        Drained,
        End,
        Facts,
        MadeWith,
        Room,
        Sizes,
        Stage,
        Unsignaled,
        Users, //
    }, //
};
use crate::{
    bindings,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Full,
            Relaxed,
            Release, //
        },
        gate::{
            Gate,
            HasGate,
            Inside,
            Stay, //
        },
        ratelimit, //
    }, //
};

/// Gate of callers inside a function.
pub(in crate::rdma) const CALLERS: u64 = 0;
/// Gate of posted work.
pub(in crate::rdma) const IN_FLIGHT: u64 = 1;
/// Gate of RDMA contexts that are prepared and not posted.
pub(in crate::rdma) const HELD: u64 = 2;

/// Interval of warnings about a wait, in milliseconds.
const COMPLAIN_MS: u32 = 10_000;

/// Time in which at least one completion has to be handled while a queue pair is being drained, in
/// milliseconds.
pub(super) const STUCK_MS: u32 = 10_000;

/// Time limit for the device's report that it takes no more receives from the shared receive queue,
/// in milliseconds.
const LAST_WQE_WAIT_MS: u32 = 10_000;

/// The same for a device that did not report it the last time, because some never do; in
/// milliseconds. Enough for the hardware to complete the receives it has taken.
const NO_LAST_WQE_WAIT_MS: u32 = 100;

/// A queue pair without its owner.
///
/// # Invariants
///
/// - `raw` is the `ib_qp`, and valid until `end.stage` is `Destroyed`, which it becomes only after
///   the gates in `users` were closed and have been empty. In `BrokenOff` it is `stand_in`.
/// - This object is not freed before: the [`QueuePair`](super::QueuePair), and then the work item
///   that destroys it, hold it until then.
#[pin_data]
pub(in crate::rdma) struct QpCore {
    pub(super) raw: Atomic<*mut bindings::ib_qp>,
    /// Takes the place of the `ib_qp` where that was freed before its work completed.
    #[pin]
    pub(super) stand_in: Opaque<bindings::ib_qp>,
    facts: Facts,
    /// The completion queue has failed.
    cq_failed: Arc<AtomicFlag>,
    send: Room,
    pub(super) unsignaled: Unsignaled,
    #[pin]
    pub(super) users: Users,
    #[pin]
    pub(super) end: End,
    #[pin]
    pub(super) made_with: MadeWith,
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
            largest_part: sizes.part,
            // CAST: A u32 fits in a usize on every architecture with RDMA.
            max_inline: sizes.inline as usize,
            has_srq,
        };
        let send = Room::new(sizes.send);
        let cq_failed = cq.failed().clone();
        // INVARIANT: The caller promises that it is valid; nothing uses it yet.
        pin_init!(Self {
            raw: Atomic::new(raw.as_ptr()),
            stand_in: Opaque::uninit(),
            facts,
            cq_failed,
            send,
            unsignaled: Unsignaled::new(),
            users <- Users::new(),
            end <- End::new(),
            made_with <- MadeWith::new(pd, cq, link),
        })
    }

    /// Returns the C queue pair. Code that dereferences the pointer must hold one of the guards.
    pub(in crate::rdma) fn as_raw(&self) -> *mut bindings::ib_qp {
        self.raw.load(Relaxed)
    }

    /// Number of the device's port.
    pub(in crate::rdma) fn port_num(&self) -> u32 {
        self.facts.port_num
    }

    /// Number of the queue pair.
    pub(in crate::rdma) fn qp_num(&self) -> u32 {
        self.facts.qp_num
    }

    /// Key for the device's access to local memory.
    pub(super) fn lkey(&self) -> u32 {
        self.facts.lkey
    }

    /// The device.
    pub(in crate::rdma) fn device(&self) -> &Device {
        &self.made_with.device
    }

    /// Returns whether the completion queue has failed. Any context.
    pub(super) fn cq_failed(&self) -> bool {
        self.cq_failed.load(Relaxed)
    }

    /// Returns whether receives come from a shared receive queue.
    pub(super) fn has_srq(&self) -> bool {
        self.facts.has_srq
    }

    /// Number of send work requests that may be outstanding at the same time.
    pub(in crate::rdma) fn sq_capacity(&self) -> u32 {
        self.send.capacity
    }

    /// Number of RDMA contexts that may be in use at a time (`ib_qp_cap.max_rdma_ctxs`): where each
    /// requires a memory region, the queue pair has this many of these.
    pub(in crate::rdma) fn rdma_ctxs(&self) -> usize {
        self.facts.rdma_ctxs as usize
    }

    /// Largest number of work requests of a transfer that are posted at a time; see
    /// [`QpInit::largest_part`](super::QpInit::largest_part).
    pub(in crate::rdma) fn largest_part(&self) -> u32 {
        self.facts.largest_part
    }

    /// Largest number of bytes that the device copies when a SEND is posted; 0 if it does not.
    #[inline]
    pub(super) fn max_inline(&self) -> usize {
        self.facts.max_inline
    }

    /// Returns a guard for a caller, unless the queue pair is being torn down. Any context.
    #[inline]
    pub(in crate::rdma) fn enter(&self) -> Option<Caller<'_>> {
        Caller::enter(self)
    }

    /// Returns a guard that keeps the `ib_qp` for an RDMA context until that is posted.
    #[inline]
    pub(in crate::rdma) fn hold(this: &Caller<'_>) -> Result<Stay<Self, HELD>> {
        // SAFETY: By the type invariant this is not freed before the gate was closed and has been
        // empty. It is pinned. The gate is closed when no caller is inside any more, and only
        // callers enter it.
        unsafe { Stay::enter(&**this) }.ok_or(EPIPE)
    }

    /// Returns a guard that keeps the `ib_qp` for a send that is about to be posted.
    #[inline]
    pub(in crate::rdma) fn launch(this: &Caller<'_>) -> Result<Stay<Self, IN_FLIGHT>> {
        // SAFETY: As in `hold`.
        unsafe { Stay::enter(&**this) }.ok_or(EPIPE)
    }

    /// Takes room for `wrs` requests in the send queue.
    pub(super) fn take_send(&self, wrs: u32) -> Result {
        self.send.take(wrs)
    }

    /// Returns room for `wrs` requests in the send queue.
    pub(super) fn give_send(&self, wrs: u32) {
        self.send.give(wrs);
    }

    /// Records that the device takes no more receives from the shared receive queue. Any context.
    pub(super) fn note_last_wqe(&self) {
        self.end.last_wqe.complete_all();
        self.made_with
            .device
            .silent_about_last_wqe()
            .store(false, Relaxed);
    }

    /// Waits for the device's report that it takes no more receives from the shared receive queue,
    /// at most [`LAST_WQE_WAIT_MS`]. Once a queue pair of the device has waited that long in vain,
    /// all waits end within [`NO_LAST_WQE_WAIT_MS`], including those in progress. Sleeps.
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

    /// Puts the queue pair into the error state (`ib_modify_qp`), which flushes posted work. Does
    /// nothing if it is being torn down, because the drain does the same. May sleep.
    pub(super) fn set_error(&self) -> Result {
        let Some(_pass) = self.enter() else {
            return Ok(());
        };
        self.modify_to_error()
    }

    /// As [`Self::set_error`], for a caller that keeps the queue pair.
    fn modify_to_error(&self) -> Result {
        let mut attr = bindings::ib_qp_attr {
            qp_state: bindings::ib_qp_state_IB_QPS_ERR,
            ..pin_init::zeroed()
        };
        // SAFETY: The queue pair is valid, as the caller says. The mask names the one attribute.
        to_result(unsafe {
            bindings::ib_modify_qp(
                self.as_raw(),
                &mut attr,
                bindings::ib_qp_attr_mask_IB_QP_STATE as c_int,
            )
        })
    }

    /// Records a send of which the device accepted the first requests, but not the signaled one at
    /// the end. It is completed when the queue pair is drained. Any context.
    ///
    /// # Safety
    ///
    /// `head` must be the head of an entry that is posted here and that C never completes.
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
    /// The device must have finished with them: it has completed a marker that was posted later, or
    /// the `ib_qp` is freed, and so is its completion queue.
    pub(super) unsafe fn complete_orphans(&self) {
        let mut head = self.end.orphans.xchg(ptr::null_mut(), Full);
        while !head.is_null() {
            // SAFETY: Entries in the list are posted, so valid.
            let next = unsafe { (*head).next };
            // SAFETY: By the contract of `orphan` C will not complete it.
            unsafe { CqeHead::complete(head, &mut self.flushed()) };
            head = next;
        }
    }

    /// Refuses new callers, flushes posted work and waits until all completions were handled, as
    /// long as some are. Idempotent; a second caller waits for the first. Sleeps; must not be
    /// called from a completion of this queue pair.
    ///
    /// `mark` posts a marker and returns whether it has completed in time. Some drivers flush what
    /// is posted only when something is posted in the error state; receives of a shared queue, and
    /// sends that were posted in part, are in no gate. (`ib_drain_qp` waits for its own markers for
    /// ever.)
    pub(super) fn drain(&self, mark: impl Fn() -> bool) -> Drained {
        let mut stage = self.end.stage.lock();
        match *stage {
            Stage::Live => {}
            Stage::Stuck => return Drained::Stuck,
            Stage::BrokenOff | Stage::Drained | Stage::Destroyed => return Drained::Completely,
        }
        // First, so that callers do not add what is flushed again and again.
        self.users.callers.close();
        self.await_empty(&self.users.callers, "callers");
        if let Err(e) = self.modify_to_error() {
            pr_warn!(
                "{}: QP {} cannot be put into the error state: {:?}\n",
                self.device().name(),
                self.qp_num(),
                e
            );
        }
        let before = self.users.in_flight.users();
        let marked = match self.has_srq() {
            true => self.drain_shared(&mark),
            false => mark(),
        };
        if marked {
            // SAFETY: The marker has completed; requests complete in order.
            unsafe { self.complete_orphans() };
        }
        self.users.in_flight.close();
        // The marker is in flight, too, if it was lost.
        let idle = !marked && self.users.in_flight.users() > before;
        let (found, drained) = match !idle && self.await_flushed() {
            true => (Stage::Drained, Drained::Completely),
            false => (Stage::Stuck, Drained::Stuck),
        };
        *stage = found;
        drained
    }

    /// Drains receives from a shared receive queue. Returns whether the last marker has completed.
    /// Completions are handled one after the other, so that all those before the second marker were
    /// handled when that one is.
    ///
    /// If the device does not report the last receive, receives may complete until the queue pair
    /// is destroyed. Nothing is freed too early then, see [`Self::destroy`], but their buffers are
    /// not posted again.
    fn drain_shared(&self, mark: impl Fn() -> bool) -> bool {
        if !mark() {
            return false;
        }
        self.await_last_wqe();
        mark()
    }

    /// Waits until a closed gate of posted work is empty. Gives up when no completion was handled
    /// for [`STUCK_MS`], and returns whether the gate is empty.
    fn await_flushed(&self) -> bool {
        let gate = &self.users.in_flight;
        let mut before = gate.users();
        while !gate.wait_empty_timeout(STUCK_MS) {
            let now = gate.users();
            if now >= before {
                return false;
            }
            before = now;
        }
        true
    }

    /// Frees the `ib_qp`, which is drained or broken off, and its completion queue: no completion
    /// function of it runs when this returns. `before` removes a drained one from tables. Returns
    /// whether this call ended the queue pair: `false` also if its driver does not free it, so that
    /// its context has to stay. Sleeps; the caller must not hold a prepared
    /// [`RwSlot`](crate::rdma::rw::RwSlot).
    pub(super) fn destroy(&self, before: impl FnOnce()) -> bool {
        let mut stage = self.end.stage.lock();
        let ended = match *stage {
            Stage::Live | Stage::Stuck | Stage::Destroyed => return false,
            Stage::BrokenOff => {
                self.forget_stand_in();
                true
            }
            Stage::Drained => {
                self.users.held.close();
                self.await_empty(&self.users.held, "RDMA contexts");
                self.free_with_queue(before)
            }
        };
        // INVARIANT: The gates were closed and have been empty.
        *stage = Stage::Destroyed;
        self.end.destroyed.store(true, Release);
        ended
    }

    /// Handles the completions that there are, frees the `ib_qp`, after the connection manager's id
    /// that it was made on, and then its completion queue; `before` removes it from tables. No
    /// completion function runs when this returns. Returns `false` if the device's driver does not
    /// free the `ib_qp`: then queue and protection domain stay for good. The caller has locked the
    /// stage. Sleeps.
    pub(super) fn free_with_queue(&self, before: impl FnOnce()) -> bool {
        let cq = self.made_with.cq.lock().take();
        if let (Some(cq), true) = (&cq, self.has_srq() || self.users.in_flight.users() != 0) {
            cq.silence();
            // Buffers of a shared receive queue would be lost.
            cq.process();
        }
        before();
        let freed = match &self.made_with.link {
            // SAFETY: The queue pair is valid, and was created on this id.
            Some(link) => unsafe { link.destroy_qp(self.as_raw()) },
            // SAFETY: The queue pair is valid, a kernel object, and nothing else uses it.
            None => unsafe { destroy_raw(self.as_raw()) },
        };
        match freed {
            true => drop(cq),
            // They may still report events, and the device may still use the domain. The entry of
            // unsignaled requests goes with the queue pair, so nothing may complete any more.
            false => {
                if let Some(cq) = &cq {
                    cq.silence();
                }
                mem::forget((cq, self.made_with.pd.clone()));
            }
        }
        freed
    }

    /// Returns whether the `ib_qp` is freed. Any context.
    pub(super) fn is_destroyed(&self) -> bool {
        self.end.destroyed.load(Acquire)
    }

    /// Waits until a closed gate is empty. Warns every 10 seconds.
    pub(super) fn await_empty(&self, gate: &Gate, what: &str) {
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

/// A caller inside a function of a queue pair, which is not destroyed meanwhile.
pub(in crate::rdma) type Caller<'a> = Inside<'a, QpCore, CALLERS>;

impl HasGate<CALLERS> for QpCore {
    #[inline]
    fn gate(&self) -> &Gate {
        &self.users.callers
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
