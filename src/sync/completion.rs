// SPDX-License-Identifier: GPL-2.0

//! Completions (`struct completion`): a task waits until another one completes something.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)
//!
//! In contrast to the kernel crate's `Completion`, with `complete` and with a time-out.
//!
//! Not here: gates, which wait until all users are gone ([`super::gate`]).

use kernel::{
    bindings,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    types::Opaque, //
};

/// A `struct completion`.
///
/// # Invariants
///
/// `inner` was initialised with `init_completion`.
#[pin_data]
pub(crate) struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A completion may be used from any task; it has a lock inside.
unsafe impl Send for Completion {}
// SAFETY: All functions on a completion take its inner lock, so they may run concurrently.
unsafe impl Sync for Completion {}

impl Completion {
    /// Returns an initialiser for a completion that is not completed.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: The initialiser is `init_completion`.
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` points to writable memory for a `struct completion`.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// Signals one waiter, present or future (`complete`). Any context.
    #[allow(dead_code, reason = "belongs to a complete wrapper")]
    pub(crate) fn complete(&self) {
        // SAFETY: By the type invariant the completion is initialised.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Signals all waiters, present and future (`complete_all`). Any context.
    pub(crate) fn complete_all(&self) {
        // SAFETY: By the type invariant the completion is initialised.
        unsafe { bindings::complete_all(self.inner.get()) };
    }

    /// Waits without limit and uninterruptibly (`wait_for_completion`). May sleep.
    pub(crate) fn wait(&self) {
        // SAFETY: By the type invariant the completion is initialised.
        unsafe { bindings::wait_for_completion(self.inner.get()) };
    }

    /// Waits uninterruptibly, for at most `msecs` milliseconds (`wait_for_completion_timeout`).
    /// Returns whether it was completed. May sleep.
    pub(crate) fn wait_timeout(&self, msecs: Msecs) -> bool {
        let jiffies = msecs_to_jiffies(msecs);
        // SAFETY: By the type invariant the completion is initialised.
        unsafe { bindings::wait_for_completion_timeout(self.inner.get(), jiffies) != 0 }
    }

    /// Returns whether it is completed (`completion_done`). Any context.
    pub(crate) fn done(&self) -> bool {
        // SAFETY: By the type invariant the completion is initialised.
        unsafe { bindings::completion_done(self.inner.get()) }
    }
}
