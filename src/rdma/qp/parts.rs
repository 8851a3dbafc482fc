// SPDX-License-Identifier: GPL-2.0

//! Groups of fields of a [`QpCore`](super::core::QpCore): constants of the queue pair, room in its
//! queues, its users, its end, and the objects that the `ib_qp` refers to.
//!
//! Not here: the functions that use them ([`super::core`]).

use core::ptr;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use super::super::{
    cq::CompletionQueue,
    device::Device,
    entry::CqeHead,
    id::IdShared,
    pd::ProtectionDomain, //
};
use crate::sync::{
    atomic::{
        Atomic,
        AtomicFlag,
        Full,
        Relaxed, //
    },
    completion::Completion,
    gate::Gate, //
};

/// Sizes of a new queue pair, as granted by the device.
pub(super) struct Sizes {
    /// Send work requests, including the one for draining.
    pub(super) send: u32,
    /// RDMA contexts, as requested.
    pub(super) rdma: u32,
    /// Bytes of a SEND that are copied into its work request.
    pub(super) inline: u32,
    /// Work requests of a transfer that are posted at a time.
    pub(super) part: u32,
}

/// Stage of the queue pair's life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// In use.
    Live,
    /// The device does not complete what is posted. Nothing can be posted any more.
    Stuck,
    /// The `ib_qp` and the completion queue are freed, and what was posted is being completed
    /// without them.
    BrokenOff,
    /// Nothing is posted, and nothing can be posted any more.
    Drained,
    /// The `ib_qp` is freed.
    Destroyed,
}

/// Result of a drain.
#[must_use = "a queue pair that is stuck has to be broken off"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drained {
    /// Everything that was posted has completed, or the queue pair is broken off already.
    Completely,
    /// The device does not complete it.
    Stuck,
}

/// Constants of the queue pair.
pub(super) struct Facts {
    pub(super) qp_num: u32,
    pub(super) port_num: u32,
    pub(super) lkey: u32,
    pub(super) rdma_ctxs: u32,
    pub(super) largest_part: u32,
    pub(super) max_inline: usize,
    pub(super) has_srq: bool,
}

/// Room in a send queue for work requests.
pub(super) struct Room {
    pub(super) capacity: u32,
    free: Atomic<i32>,
}

impl Room {
    /// Returns the room of a queue of `size` requests, of which one is kept for the drain.
    pub(super) fn new(size: u32) -> Self {
        let capacity = size.saturating_sub(1);
        Self {
            capacity,
            free: Atomic::new(i32::try_from(capacity).unwrap_or(i32::MAX)),
        }
    }

    /// Takes room for `n` requests. Fails with `EAGAIN` if there is not enough.
    pub(super) fn take(&self, n: u32) -> Result {
        let n = i32::try_from(n)?;
        if self.free.fetch_sub(n, Full) >= n {
            return Ok(());
        }
        self.free.fetch_add(n, Full);
        Err(EAGAIN)
    }

    /// Returns room for `n` requests.
    pub(super) fn give(&self, n: u32) {
        // CAST: `take` has checked that it fits.
        self.free.fetch_add(n as i32, Full);
    }
}

/// Places in the send queue for requests that are not signaled.
pub(crate) const UNSIGNALED: u32 = 32;

/// Most requests that are not signaled, one after the other.
const IN_A_ROW: u32 = UNSIGNALED / 2 - 1;

/// Requests of a queue pair that are not signaled.
///
/// # Invariants
///
/// `since <= there <= UNSIGNALED`, but for callers that are about to post, or to give up.
pub(super) struct Unsignaled {
    /// Places that are taken.
    there: Atomic<u32>,
    /// Of these, those whose requests no signaled request has taken over.
    since: Atomic<u32>,
}

impl Unsignaled {
    /// Returns the state of a queue pair to which nothing was posted.
    pub(super) const fn new() -> Self {
        Self {
            there: Atomic::new(0),
            since: Atomic::new(0),
        }
    }

    /// Takes a place. Returns whether there was one, and a signaled request is not due.
    pub(super) fn begin(&self) -> bool {
        if self.since.load(Relaxed) >= IN_A_ROW {
            return false;
        }
        let free = self.there.fetch_add(1, Full) < UNSIGNALED;
        if !free {
            self.there.fetch_sub(1, Full);
        }
        free
    }

    /// Notes that the request of a place is posted. Not before: what a signaled request takes over
    /// has to be in front of it.
    pub(super) fn posted(&self) {
        self.since.fetch_add(1, Full);
    }

    /// Returns how many requests a signaled one takes over that is posted after this call.
    #[inline]
    pub(super) fn take_over(&self) -> u32 {
        match self.since.load(Relaxed) {
            0 => 0,
            _ => self.since.xchg(0, Full),
        }
    }

    /// Undoes [`Self::take_over`]: the signaled request was not posted.
    pub(super) fn hand_back(&self, requests: u32) {
        self.since.fetch_add(requests, Full);
    }

    /// Frees the places of requests that have left the queue, or were not posted.
    #[inline]
    pub(super) fn left(&self, requests: u32) {
        if requests != 0 {
            self.there.fetch_sub(requests, Full);
        }
    }
}

/// Users that the destruction of the `ib_qp` waits for, in this order.
#[pin_data]
pub(super) struct Users {
    /// Callers inside a function.
    #[pin]
    pub(super) callers: Gate,
    /// Posted work: sends, and receives unless there is a shared receive queue.
    #[pin]
    pub(super) in_flight: Gate,
    /// Prepared RDMA contexts.
    #[pin]
    pub(super) held: Gate,
}

impl Users {
    /// Returns open gates without users.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            callers <- Gate::new(),
            in_flight <- Gate::new(),
            held <- Gate::new(),
        })
    }
}

/// State of the queue pair's end.
#[pin_data]
pub(super) struct End {
    #[pin]
    pub(super) stage: Mutex<Stage>,
    /// Held by the task that completes what is lost.
    #[pin]
    pub(super) completing: Mutex<()>,
    /// Whether `stage` is `Destroyed`; readable in any context.
    pub(super) destroyed: AtomicFlag,
    /// Completed when the device has reported that it takes no more receives from the shared
    /// receive queue.
    #[pin]
    pub(super) last_wqe: Completion,
    /// Entries of sends that the device accepted in part, see
    /// [`QpCore::orphan`](super::core::QpCore::orphan).
    pub(super) orphans: Atomic<*mut CqeHead>,
}

impl End {
    /// Returns the state of a queue pair in use.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            stage <- new_mutex!(Stage::Live, "QpCore::stage"),
            completing <- new_mutex!((), "QpCore::completing"),
            destroyed: AtomicFlag::new(false),
            last_wqe <- Completion::new(),
            orphans: Atomic::new(ptr::null_mut()),
        })
    }
}

/// Objects that the `ib_qp` was created with and that must outlive it.
#[pin_data]
pub(super) struct MadeWith {
    /// The RDMA/CM id that the queue pair was created on, if any.
    pub(super) link: Option<Arc<IdShared>>,
    /// Set until the `ib_qp` is freed. Never dropped in a completion, because the drop waits for
    /// completions.
    #[pin]
    pub(super) cq: Mutex<Option<Arc<CompletionQueue>>>,
    pub(super) pd: Arc<ProtectionDomain>,
    pub(super) device: Device,
}

impl MadeWith {
    /// Returns the objects that a new queue pair in `pd` was created with.
    pub(super) fn new(
        pd: Arc<ProtectionDomain>,
        cq: Arc<CompletionQueue>,
        link: Option<Arc<IdShared>>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            link,
            cq <- new_mutex!(Some(cq), "QpCore::cq"),
            device: pd.device().clone(),
            pd,
        })
    }
}
