// SPDX-License-Identifier: GPL-2.0

//! State of an RDMA/CM id (`struct rdma_cm_id`) that its queue pair depends on, and the destruction
//! of queue pairs with and without an id.
//!
//! Not here: everything else about connections ([`super::cm`]).

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use super::callback::Callback;
use crate::{
    bindings,
    sync::atomic::Atomic, //
};

/// Interval at which the life of an id is polled.
const POLL: Delta = Delta::from_millis(1);
/// Polls between two warnings: 10 seconds or more.
const COMPLAIN_POLLS: u32 = 10_000;

/// Life of an id, as seen by its queue pair.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The id is valid.
    Alive,
    /// It is being destroyed; handlers may still run.
    Dying,
    /// It is destroyed, or will be without accessing the queue pair again.
    Gone,
}

/// State shared by a connection's [`CmId`](super::cm::CmId), its callbacks and its queue pair.
///
/// # Invariants
///
/// - `id` is valid while `life` is `Alive`, and inside its callbacks.
/// - `handler` is null, or came from `Arc::<H>::into_raw` with the `H` of the [`CmId`], which owns
///   it.
#[pin_data]
pub(super) struct IdShared {
    pub(super) id: NonNull<bindings::rdma_cm_id>,
    pub(super) handler: Atomic<*const c_void>,
    /// All callbacks.
    pub(super) callback: Callback,
    #[pin]
    pub(super) life: Mutex<Life>,
}

// SAFETY: Ids may be used and destroyed by any task.
unsafe impl Send for IdShared {}
// SAFETY: The functions of the connection manager are thread-safe; the rest is atomic or locked.
unsafe impl Sync for IdShared {}

impl IdShared {
    /// Allocates the state of an id whose callback is running. May sleep.
    pub(super) fn new(id: NonNull<bindings::rdma_cm_id>) -> Result<Arc<Self>> {
        // INVARIANT: The caller is in a callback of the id; there is no handler.
        Arc::pin_init(
            pin_init!(Self {
                id,
                handler: Atomic::new(ptr::null()),
                callback: Callback::new(),
                life <- new_mutex!(Life::Alive, "IdShared::life"),
            }),
            GFP_KERNEL,
        )
    }

    /// Destroys a queue pair that was created on the id, after the id: over iWARP a connected id
    /// holds a reference to its queue pair, and `ib_destroy_qp` waits for that. Sleeps until the
    /// [`CmId`](super::cm::CmId) was dropped. Returns whether the device's driver did so.
    ///
    /// # Safety
    ///
    /// `qp` must be valid, and not used any more except by the id.
    #[must_use]
    pub(super) unsafe fn destroy_qp(&self, qp: *mut bindings::ib_qp) -> bool {
        let mut polls = 0;
        while *self.life.lock() != Life::Gone {
            fsleep(POLL);
            polls += 1;
            if polls == COMPLAIN_POLLS {
                polls = 0;
                pr_warn!("a queue pair is to go, and its CM id is still there\n");
            }
        }
        // SAFETY: The id does not use it any more; the caller promises that nothing else does.
        unsafe { destroy_raw(qp) }
    }

    /// Destroys a queue pair that was just created on the id and was not used (`rdma_destroy_qp`).
    /// May sleep.
    ///
    /// # Safety
    ///
    /// The id must be alive and have a queue pair, which must not have been used.
    pub(super) unsafe fn undo_create_qp(&self) {
        let _life = self.life.lock();
        // SAFETY: The caller promises it.
        unsafe { bindings::rdma_destroy_qp(self.id.as_ptr()) };
    }
}

/// Frees a queue pair (`ib_destroy_qp_user`). Returns whether the device's driver did so.
///
/// # Safety
///
/// It must be valid, a kernel object, and not used any more.
#[must_use]
pub(super) unsafe fn destroy_raw(raw: *mut bindings::ib_qp) -> bool {
    // SAFETY: The caller promises it.
    let ret = unsafe { bindings::ib_destroy_qp_user(raw, ptr::null_mut()) };
    if ret != 0 {
        pr_err!("cannot destroy a queue pair: {}; its memory is lost\n", ret);
    }
    ret == 0
}
