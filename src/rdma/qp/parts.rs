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
        Full, //
    },
    completion::Completion,
    gate::Gate, //
};

/// Sizes of a new queue pair, as granted by the device.
pub(super) struct Sizes {
    /// Send work requests, including the one for draining.
    pub(super) send: u32,
    /// Receive work requests; 0 with a shared receive queue.
    pub(super) recv: u32,
    /// RDMA contexts, as requested.
    pub(super) rdma: u32,
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
    pub(super) has_srq: bool,
}

/// Room in a queue for work requests.
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
