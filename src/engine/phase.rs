// SPDX-License-Identifier: GPL-2.0

//! Where a command is, from the point of view of an engine: a small state that several contexts
//! change. Which states there are, each engine says itself.

use kernel::sync::atomic::{
    Acquire,
    Atomic,
    AtomicType,
    Full,
    Release, //
};

/// A phase that is changed atomically, so that a completion that is not owed is refused. A task
/// that sees a phase also sees what was written before it was set.
pub(super) struct Phases<P: AtomicType<Repr = i32>>(Atomic<P>);

impl<P: AtomicType<Repr = i32> + PartialEq> Phases<P> {
    /// Begins in this phase.
    pub(super) const fn new(phase: P) -> Self {
        Self(Atomic::new(phase))
    }

    /// Changes the phase, if it is `from`. Says whether it was. Any context.
    pub(super) fn change(&self, from: P, to: P) -> bool {
        self.0.cmpxchg(from, to, Full).is_ok()
    }

    /// Sets the phase; for the task that handles the command. Any context.
    pub(super) fn set(&self, phase: P) {
        self.0.store(phase, Release);
    }

    /// The phase. Any context.
    pub(super) fn get(&self) -> P {
        self.0.load(Acquire)
    }

    /// Whether the command is in this phase. Any context.
    #[allow(dead_code, reason = "not every engine asks")]
    pub(super) fn is(&self, phase: P) -> bool {
        self.get() == phase
    }
}
