// SPDX-License-Identifier: GPL-2.0

//! The part of a queue pair that does not depend on its owner: who is using it, and how it ends.
//!
//! Four things keep an `ib_qp` alive, and its end waits for all of them in this order: callers
//! inside a function ([`Pass`]), posted work ([`QpCore::launched`]), and prepared RDMA contexts
//! ([`QpCore::hold`]). They are counters, not locks, because they are on the path of every command.

use core::{
    ffi::c_int,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use super::super::{
    cq::CompletionQueue,
    device::Device,
    entry::CqeHead,
    id::{
        destroy_raw,
        IdShared, //
    },
    pd::ProtectionDomain, //
};
use crate::{
    bindings,
    sync::completion::Completion, //
};

/// Bit of `gate` that says that it is closed; the rest counts who is inside.
const CLOSED: u32 = 1 << 31;

/// How long to sleep between two looks at a counter.
const POLL: Delta = Delta::from_millis(1);
/// Looks at a counter between two complaints: 10 seconds.
const COMPLAIN_POLLS: u32 = 10_000;

/// How long the device may take to say that it will not take from the shared receive queue any more,
/// in milliseconds.
const LAST_WQE_WAIT_MS: u32 = 10_000;

/// The same for a device that did not say so the last time: some never do. Time enough for the
/// hardware to let go of what it has taken.
const NO_LAST_WQE_WAIT_MS: u32 = 100;

/// How far the end of the queue pair has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// In use.
    Live,
    /// Drained: nothing is posted, and nothing will be.
    Drained,
    /// The `ib_qp` is freed.
    Destroyed,
}

/// What a queue pair is besides its owner.
///
/// # Invariants
///
/// `raw` is valid until `stage` is `Destroyed`, which it becomes only after the gate was closed and
/// `inside`, `in_flight` and `held` have become 0 for good.
#[pin_data]
pub(in crate::rdma) struct QpCore {
    raw: NonNull<bindings::ib_qp>,
    qp_num: u32,
    port_num: u32,
    lkey: u32,
    sq_capacity: u32,
    rdma_ctxs: u32,
    rq_capacity: u32,
    has_srq: bool,
    gate: Atomic<u32>,
    in_flight: Atomic<i32>,
    held: Atomic<i32>,
    sq_free: Atomic<i32>,
    rq_free: Atomic<i32>,
    /// Entries of sends that the device got in part, see [`QpCore::orphan`].
    orphans: Atomic<*mut CqeHead>,
    /// The last receive of a queue pair with a shared queue was completed.
    #[pin]
    last_wqe: Completion,
    /// `stage` is `Destroyed`; readable in any context.
    destroyed: AtomicFlag,
    #[pin]
    stage: Mutex<Stage>,
    /// The CM id that also knows this queue pair.
    link: Option<Arc<IdShared>>,
    /// Until the `ib_qp` is freed. Never let go by a completion, which could not wait for itself.
    #[pin]
    cq: Mutex<Option<Arc<CompletionQueue>>>,
    _pd: Arc<ProtectionDomain>,
    device: Device,
}

// SAFETY: A queue pair may be used and destroyed by any task.
unsafe impl Send for QpCore {}
// SAFETY: The verbs on a queue pair are thread-safe; everything else is atomic or locked.
unsafe impl Sync for QpCore {}

/// Sizes of a new queue pair, as the device has made them.
pub(super) struct Sizes {
    /// Send work requests, with the one for draining.
    pub(super) send: u32,
    /// Receive work requests, with the one for draining; 0 with a shared receive queue.
    pub(super) recv: u32,
    /// RDMA contexts that were asked for.
    pub(super) rdma: u32,
}

impl QpCore {
    /// Takes over a new queue pair.
    ///
    /// # Safety
    ///
    /// `raw` must be a new queue pair in `pd`, which uses `cq`; nobody else destroys it. If it was
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
        // One of each is for the drain.
        let sq_capacity = sizes.send.saturating_sub(1);
        let rq_capacity = sizes.recv.saturating_sub(1);
        let rdma_ctxs = sizes.rdma;
        let sq_free = i32::try_from(sq_capacity).unwrap_or(i32::MAX);
        let rq_free = i32::try_from(rq_capacity).unwrap_or(i32::MAX);
        // INVARIANT: The caller promises that it is valid; nobody uses it yet.
        pin_init!(Self {
            raw,
            // SAFETY: The queue pair is valid.
            qp_num: unsafe { raw.as_ref().qp_num },
            port_num,
            lkey: pd.lkey(),
            sq_capacity,
            rdma_ctxs,
            rq_capacity,
            has_srq,
            gate: Atomic::new(0),
            in_flight: Atomic::new(0),
            held: Atomic::new(0),
            sq_free: Atomic::new(sq_free),
            rq_free: Atomic::new(rq_free),
            orphans: Atomic::new(ptr::null_mut()),
            last_wqe <- Completion::new(),
            destroyed: AtomicFlag::new(false),
            stage <- new_mutex!(Stage::Live, "QpCore::stage"),
            link,
            device: pd.device().clone(),
            cq <- new_mutex!(Some(cq), "QpCore::cq"),
            _pd: pd,
        })
    }

    /// The C queue pair. Whoever follows the pointer must be inside, or hold it.
    pub(in crate::rdma) fn as_raw(&self) -> *mut bindings::ib_qp {
        self.raw.as_ptr()
    }

    /// Number of the device's port.
    pub(in crate::rdma) fn port_num(&self) -> u32 {
        self.port_num
    }

    /// Number of the queue pair.
    pub(in crate::rdma) fn qp_num(&self) -> u32 {
        self.qp_num
    }

    /// Key for local memory.
    pub(super) fn lkey(&self) -> u32 {
        self.lkey
    }

    /// The device.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether receives come from a shared receive queue.
    pub(super) fn has_srq(&self) -> bool {
        self.has_srq
    }

    /// Send work requests that may be outstanding at the same time.
    pub(in crate::rdma) fn sq_capacity(&self) -> u32 {
        self.sq_capacity
    }

    /// RDMA contexts that may be in use at a time: where each needs a memory region, there are no
    /// more (`ib_qp_cap.max_rdma_ctxs`).
    pub(in crate::rdma) fn rdma_ctxs(&self) -> usize {
        self.rdma_ctxs as usize
    }

    /// Receive work requests that may be outstanding at the same time.
    pub(super) fn rq_capacity(&self) -> u32 {
        self.rq_capacity
    }

    /// Enters, unless the queue pair is being torn down. Any context.
    pub(in crate::rdma) fn enter(&self) -> Option<Pass<'_>> {
        if self.gate.fetch_add(1, Full) & CLOSED == 0 {
            Some(Pass(self))
        } else {
            self.gate.fetch_sub(1, Full);
            None
        }
    }

    /// Keeps the `ib_qp` for a prepared RDMA context. The caller must be inside.
    pub(in crate::rdma) fn hold(&self) {
        self.held.fetch_add(1, Full);
    }

    /// Undoes [`Self::hold`].
    pub(in crate::rdma) fn unhold(&self) {
        self.held.fetch_sub(1, Full);
    }

    /// Something is about to be posted; keeps the `ib_qp`. The caller must be inside.
    pub(super) fn launched(&self) {
        self.in_flight.fetch_add(1, Full);
    }

    /// A post has failed, or its completion was handled in full.
    pub(in crate::rdma) fn landed(&self) {
        self.in_flight.fetch_sub(1, Full);
    }

    /// Takes room for `wrs` requests in the send queue.
    pub(super) fn take_send(&self, wrs: u32) -> Result {
        take(&self.sq_free, wrs)
    }

    /// Gives back room in the send queue.
    pub(super) fn give_send(&self, wrs: u32) {
        give(&self.sq_free, wrs);
    }

    /// Takes room for a request in the receive queue.
    pub(super) fn take_recv(&self) -> Result {
        take(&self.rq_free, 1)
    }

    /// Gives back room in the receive queue.
    pub(super) fn give_recv(&self) {
        give(&self.rq_free, 1);
    }

    /// Notes that the device will not take from the shared receive queue any more. Any context.
    pub(super) fn note_last_wqe(&self) {
        self.last_wqe.complete_all();
        self.device.silent_about_last_wqe().store(false, Relaxed);
    }

    /// Waits until the device will not take from the shared receive queue any more, as long as the
    /// device lets one expect to hear of it. Sleeps.
    fn await_last_wqe(&self) {
        let silent = self.device.silent_about_last_wqe();
        let limit = if silent.load(Relaxed) {
            NO_LAST_WQE_WAIT_MS
        } else {
            LAST_WQE_WAIT_MS
        };
        if !self.last_wqe.wait_timeout(limit) && !silent.xchg(true, Relaxed) {
            pr_warn!(
                "{}: QP {} does not report its last receive; shared buffers may be lost\n",
                self.device.name(),
                self.qp_num
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
        let mut first = self.orphans.load(Relaxed);
        loop {
            // SAFETY: The entry is posted, so it is valid, and it is ours: no completion comes.
            unsafe { (*head).next = first };
            match self.orphans.cmpxchg(first, head, Full) {
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
        let mut head = self.orphans.xchg(ptr::null_mut(), Full);
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
        let mut stage = self.stage.lock();
        if *stage >= Stage::Drained {
            return;
        }
        if self.gate.load(Acquire) & CLOSED == 0 {
            // The mutex is held, so the bit is added once.
            self.gate.fetch_add(CLOSED, Full);
        }
        self.wait("callers", || self.gate.load(Acquire) == CLOSED);
        if self.has_srq {
            self.drain_shared();
        } else {
            // SAFETY: The queue pair is valid. Nobody posts any more, there is room for the drain's
            // own requests because `new` has kept it back, and the completion queue has a work
            // item, so somebody polls it.
            unsafe { bindings::ib_drain_qp(self.as_raw()) };
        }
        // SAFETY: The queue pair was drained.
        unsafe { self.complete_orphans() };
        self.wait("completions", || self.in_flight.load(Acquire) == 0);
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
        let mut stage = self.stage.lock();
        if *stage == Stage::Destroyed {
            return false;
        }
        self.wait("RDMA contexts", || self.held.load(Acquire) == 0);
        // INVARIANT: The gate is closed, so the counters cannot grow; they are 0.
        *stage = Stage::Destroyed;
        match &self.link {
            // SAFETY: The queue pair is valid, and was created on this id.
            Some(link) => unsafe { link.destroy_qp(self.as_raw()) },
            // SAFETY: The queue pair is valid, a kernel object, and nobody else knows it.
            None => unsafe { destroy_raw(self.as_raw()) },
        }
        self.destroyed.store(true, Release);
        drop(stage);
        let cq = self.cq.lock().take();
        drop(cq);
        true
    }

    /// Whether the `ib_qp` is freed. Any context.
    pub(super) fn is_destroyed(&self) -> bool {
        self.destroyed.load(Acquire)
    }

    /// Sleeps until `done`, with a complaint every 10 seconds.
    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let mut polls = 0u32;
        while !done() {
            fsleep(POLL);
            polls += 1;
            if polls == COMPLAIN_POLLS {
                polls = 0;
                pr_warn!(
                    "{}: QP {} still has {}\n",
                    self.device.name(),
                    self.qp_num,
                    what
                );
            }
        }
    }
}

/// Takes `n` from a counter that must not become negative.
fn take(counter: &Atomic<i32>, n: u32) -> Result {
    let n = i32::try_from(n)?;
    if counter.fetch_sub(n, Full) >= n {
        return Ok(());
    }
    counter.fetch_add(n, Full);
    Err(EAGAIN)
}

/// Gives `n` back to a counter.
fn give(counter: &Atomic<i32>, n: u32) {
    // CAST: `take` has seen that it fits.
    counter.fetch_add(n as i32, Full);
}

/// Proof of being inside: the `ib_qp` is not destroyed meanwhile.
pub(in crate::rdma) struct Pass<'a>(&'a QpCore);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_sub(1, Full);
    }
}
