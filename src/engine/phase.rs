// SPDX-License-Identifier: GPL-2.0

//! Phase of a command, as seen by an engine: a state that several contexts change.
//!
//! Not here: the phases, which each engine defines in its `cmd.rs`.

use kernel::sync::atomic::{
    Acquire,
    Atomic,
    AtomicType,
    Full,
    Release, //
};

/// A phase that is changed atomically, so that a completion that is not owed can be refused. A task
/// that reads a phase also sees all writes that preceded the change to it.
pub(super) struct Phases<P: AtomicType<Repr = i32>>(Atomic<P>);

impl<P: AtomicType<Repr = i32> + PartialEq> Phases<P> {
    /// Returns the state with an initial phase.
    pub(super) const fn new(phase: P) -> Self {
        Self(Atomic::new(phase))
    }

    /// Changes the phase to `to` if it is `from`. Returns whether it was. Any context.
    pub(super) fn change(&self, from: P, to: P) -> bool {
        self.0.cmpxchg(from, to, Full).is_ok()
    }

    /// Sets the phase; for the task that owns the command. Any context.
    pub(super) fn set(&self, phase: P) {
        self.0.store(phase, Release);
    }

    /// Returns the phase. Any context.
    pub(super) fn get(&self) -> P {
        self.0.load(Acquire)
    }

    /// Returns whether the command is in this phase. Any context.
    #[allow(dead_code, reason = "not every engine asks")]
    pub(super) fn is(&self, phase: P) -> bool {
        self.get() == phase
    }
}
