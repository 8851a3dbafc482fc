// SPDX-License-Identifier: GPL-2.0

//! The id of an RDMA/CM connection (`struct rdma_cm_id`), as far as its queue pair depends on it, and
//! the end of queue pairs with and without one.
//!
//! Everything else about connections is in [`super::cm`].

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Release, //
        },
        Arc,
        Mutex, //
    },
    task::Task,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use crate::bindings;

/// How long to sleep between two looks at the life of an id.
const POLL: Delta = Delta::from_millis(1);
/// Looks between two complaints: 10 seconds or more.
const COMPLAIN_POLLS: u32 = 10_000;

/// State of an id, as far as its queue pair is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The id is valid.
    Alive,
    /// It is being destroyed; handlers may still run.
    Dying,
    /// It is destroyed, or will be without looking at the queue pair again.
    Gone,
}

/// What a connection's [`CmId`](super::cm::CmId), its callbacks and its queue pair share.
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
    /// The task that is inside a callback of this id, or null.
    task: Atomic<*mut c_void>,
    /// The core shall destroy the id when the callback returns.
    pub(super) doomed: AtomicFlag,
    #[pin]
    pub(super) life: Mutex<Life>,
}

// SAFETY: Ids may be used and destroyed by any task.
unsafe impl Send for IdShared {}
// SAFETY: The functions of the connection manager are thread-safe; the rest is atomic or locked.
unsafe impl Sync for IdShared {}

impl IdShared {
    /// What is shared about an id whose callback is running.
    pub(super) fn new(id: NonNull<bindings::rdma_cm_id>) -> Result<Arc<Self>> {
        // INVARIANT: The caller is in a callback of the id; there is no handler.
        Arc::pin_init(
            pin_init!(Self {
                id,
                handler: Atomic::new(ptr::null()),
                task: Atomic::new(ptr::null_mut()),
                doomed: AtomicFlag::new(false),
                life <- new_mutex!(Life::Alive, "IdShared::life"),
            }),
            GFP_KERNEL,
        )
    }

    /// A callback begins, on this task.
    pub(super) fn enter(&self) {
        self.task
            .store(Task::current_raw().cast::<c_void>(), Release);
    }

    /// A callback ends. Returns what it has to return.
    pub(super) fn leave(&self) -> c_int {
        self.task.store(ptr::null_mut(), Release);
        if self.doomed.load(Acquire) {
            destroy_code()
        } else {
            0
        }
    }

    /// Whether this task is inside a callback of the id.
    pub(super) fn is_inside(&self) -> bool {
        ptr::eq(
            self.task.load(Acquire),
            Task::current_raw().cast::<c_void>(),
        )
    }

    /// Destroys a queue pair that was created on the id, after the id: over iWARP an id that is connected
    /// keeps its queue pair, whose destruction waits for that. Sleeps until the [`CmId`](super::cm::CmId)
    /// was dropped.
    ///
    /// # Safety
    ///
    /// `qp` must be valid, and not used by others than the id any more.
    pub(super) unsafe fn destroy_qp(&self, qp: *mut bindings::ib_qp) {
        let mut polls = 0;
        while *self.life.lock() != Life::Gone {
            fsleep(POLL);
            polls += 1;
            if polls == COMPLAIN_POLLS {
                polls = 0;
                pr_warn!("a queue pair is to go, and its CM id is still there\n");
            }
        }
        // SAFETY: The id does not use it any more, and neither does anything else, says the caller.
        unsafe { destroy_raw(qp) };
    }

    /// Destroys a queue pair that was just created on the id and not used (`rdma_destroy_qp`). May
    /// sleep.
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

/// What a callback returns to have the core destroy its id.
pub(super) fn destroy_code() -> c_int {
    EPIPE.to_errno()
}

/// Frees a queue pair (`ib_destroy_qp_user`).
///
/// # Safety
///
/// It must be valid, a kernel object, and not used any more.
pub(super) unsafe fn destroy_raw(raw: *mut bindings::ib_qp) {
    // SAFETY: The caller promises it.
    let ret = unsafe { bindings::ib_destroy_qp_user(raw, ptr::null_mut()) };
    if ret != 0 {
        pr_err!("cannot destroy a queue pair: {}\n", ret);
    }
}
