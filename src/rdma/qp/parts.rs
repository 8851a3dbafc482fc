// SPDX-License-Identifier: GPL-2.0

//! The fields of a [`QpCore`](super::core::QpCore), by what they are about: the queue pair as it was
//! made, room in its queues, its users, its end.
//!
//! What is done with them is in [`super::core`].

use core::ptr;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Full, //
        },
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
    completion::Completion,
    gate::Gate, //
};

/// Sizes of a new queue pair, as the device has made them.
pub(super) struct Sizes {
    /// Send work requests, with the one for draining.
    pub(super) send: u32,
    /// Receive work requests, with the one for draining; 0 with a shared receive queue.
    pub(super) recv: u32,
    /// RDMA contexts that were asked for.
    pub(super) rdma: u32,
}

/// How far the end of the queue pair has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// In use.
    Live,
    /// Drained: nothing is posted, and nothing will be.
    Drained,
    /// The `ib_qp` is freed.
    Destroyed,
}

/// What does not change.
pub(super) struct Facts {
    pub(super) qp_num: u32,
    pub(super) port_num: u32,
    pub(super) lkey: u32,
    pub(super) rdma_ctxs: u32,
    pub(super) has_srq: bool,
}

/// Room in a queue for work requests.
pub(super) struct Room {
    pub(super) capacity: u32,
    free: Atomic<i32>,
}

impl Room {
    /// Room for `size` requests, of which one is for the drain.
    pub(super) fn new(size: u32) -> Self {
        let capacity = size.saturating_sub(1);
        Self {
            capacity,
            free: Atomic::new(i32::try_from(capacity).unwrap_or(i32::MAX)),
        }
    }

    /// Takes room for `n` requests.
    pub(super) fn take(&self, n: u32) -> Result {
        let n = i32::try_from(n)?;
        if self.free.fetch_sub(n, Full) >= n {
            return Ok(());
        }
        self.free.fetch_add(n, Full);
        Err(EAGAIN)
    }

    /// Gives room for `n` requests back.
    pub(super) fn give(&self, n: u32) {
        // CAST: `take` has seen that it fits.
        self.free.fetch_add(n as i32, Full);
    }
}

/// What the end of the `ib_qp` waits for, in this order.
#[pin_data]
pub(super) struct Users {
    /// Callers inside a function.
    #[pin]
    pub(super) callers: Gate,
    /// What is posted: sends, and receives of a queue of the queue pair's own.
    #[pin]
    pub(super) in_flight: Gate,
    /// Prepared RDMA contexts.
    #[pin]
    pub(super) held: Gate,
}

impl Users {
    /// None.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            callers <- Gate::new(),
            in_flight <- Gate::new(),
            held <- Gate::new(),
        })
    }
}

/// How far the end has come, and what it needs.
#[pin_data]
pub(super) struct End {
    #[pin]
    pub(super) stage: Mutex<Stage>,
    /// `stage` is `Destroyed`; readable in any context.
    pub(super) destroyed: AtomicFlag,
    /// The last receive of a queue pair with a shared queue was completed.
    #[pin]
    pub(super) last_wqe: Completion,
    /// Entries of sends that the device got in part, see [`QpCore::orphan`](super::core::QpCore::orphan).
    pub(super) orphans: Atomic<*mut CqeHead>,
}

impl End {
    /// It has not begun.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            stage <- new_mutex!(Stage::Live, "QpCore::stage"),
            destroyed: AtomicFlag::new(false),
            last_wqe <- Completion::new(),
            orphans: Atomic::new(ptr::null_mut()),
        })
    }
}

/// What the `ib_qp` was made with, which must exist as long as it.
#[pin_data]
pub(super) struct MadeWith {
    /// The CM id that also knows this queue pair.
    pub(super) link: Option<Arc<IdShared>>,
    /// Until the `ib_qp` is freed. Never let go by a completion, which could not wait for itself.
    #[pin]
    pub(super) cq: Mutex<Option<Arc<CompletionQueue>>>,
    pub(super) _pd: Arc<ProtectionDomain>,
    pub(super) device: Device,
}

impl MadeWith {
    /// What a new queue pair in `pd` was made with.
    pub(super) fn new(
        pd: Arc<ProtectionDomain>,
        cq: Arc<CompletionQueue>,
        link: Option<Arc<IdShared>>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            link,
            cq <- new_mutex!(Some(cq), "QpCore::cq"),
            device: pd.device().clone(),
            _pd: pd,
        })
    }
}
