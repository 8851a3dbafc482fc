// SPDX-License-Identifier: GPL-2.0

//! Callbacks of a connection's id, of either connection manager: on which task one runs, and how it
//! makes the connection manager destroy the id.
//!
//! Not here: the ids ([`super::id`], [`super::cm`]).

use core::ptr;

use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    task::Task, //
};

use crate::sync::atomic::{
    Acquire,
    Atomic,
    AtomicFlag,
    Release, //
};

/// Return value of a callback that makes the connection manager destroy its id. Not `ENOMEM`, which
/// has a meaning of its own for `ib_cm`.
pub(super) fn destroy_code() -> c_int {
    EPIPE.to_errno()
}

/// A kind of callback whose calls for one id do not overlap.
pub(super) struct Callback {
    /// The task that is inside such a callback, or null.
    task: Atomic<*mut c_void>,
    /// Whether the id is to be destroyed when that callback returns.
    doomed: AtomicFlag,
}

impl Callback {
    /// Returns the state outside a callback.
    pub(super) fn new() -> Self {
        Self {
            task: Atomic::new(ptr::null_mut()),
            doomed: AtomicFlag::new(false),
        }
    }

    /// Runs `body` as such a callback on this task. Returns the callback's return value.
    pub(super) fn run(&self, body: impl FnOnce()) -> c_int {
        self.task
            .store(Task::current_raw().cast::<c_void>(), Release);
        body();
        self.task.store(ptr::null_mut(), Release);
        if self.doomed.load(Acquire) {
            destroy_code()
        } else {
            0
        }
    }

    /// Returns whether this task is inside such a callback.
    pub(super) fn is_inside(&self) -> bool {
        ptr::eq(
            self.task.load(Acquire),
            Task::current_raw().cast::<c_void>(),
        )
    }

    /// Returns whether any task is inside such a callback.
    pub(super) fn is_running(&self) -> bool {
        !self.task.load(Acquire).is_null()
    }

    /// Makes the callback that is running return [`destroy_code`].
    pub(super) fn doom(&self) {
        self.doomed.store(true, Release);
    }
}

/// Outcome of a connection request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not decided: the connection manager rejects the request and destroys the id.
    Open,
    /// Rejected; the connection manager destroys the id.
    Rejected,
    /// Taken over: the id belongs to a [`CmId`](super::cm::CmId).
    Taken,
}

impl Outcome {
    /// Returns the return value of the request's callback, of which [`Callback::leave`] returned
    /// `code`.
    pub(super) fn code(self, code: c_int) -> c_int {
        match self {
            Self::Taken => code,
            Self::Open | Self::Rejected => destroy_code(),
        }
    }
}
