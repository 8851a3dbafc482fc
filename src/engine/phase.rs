// SPDX-License-Identifier: GPL-2.0

//! Phase of a command, as seen by an engine: a state that several contexts change, and that some
//! phases must not leave while the data buffer is lent.
//!
//! Not here: the phases, which each engine defines in its `cmd.rs`.

use kernel::prelude::*;

use crate::{
    bindings,
    rdma::sg::{
        Lender,
        SgList, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        AtomicType,
        Full,
        Release, //
    }, //
};

/// A phase that is changed atomically, so that a completion that is not owed can be refused. A task
/// that reads a phase also sees all writes that preceded the change to it.
pub(super) struct Phases<P: AtomicType<Repr = i32>> {
    phase: Atomic<P>,
    /// Whether the data buffer is lent to the target.
    lender: Lender,
}

impl<P: AtomicType<Repr = i32> + Copy + PartialEq> Phases<P> {
    /// Returns the state with an initial phase.
    pub(super) const fn new(phase: P) -> Self {
        Self {
            phase: Atomic::new(phase),
            lender: Lender::new(),
        }
    }

    /// Changes the phase to `to` if it is `from`. Returns whether it was. Any context.
    pub(super) fn change(&self, from: P, to: P) -> bool {
        self.phase.cmpxchg(from, to, Full).is_ok()
    }

    /// Sets the phase; for the task that owns the command. Any context.
    pub(super) fn set(&self, phase: P) {
        self.phase.store(phase, Release);
    }

    /// Returns the phase. Any context.
    pub(super) fn get(&self) -> P {
        self.phase.load(Acquire)
    }

    /// Returns whether the command is in this phase. Any context.
    #[allow(dead_code, reason = "not every engine asks")]
    pub(super) fn is(&self, phase: P) -> bool {
        self.get() == phase
    }

    /// Lends the data buffer; see [`Lender::lend`].
    ///
    /// # Safety
    ///
    /// As for [`Lender::lend`].
    pub(super) unsafe fn lend(
        &self,
        sgl: *mut bindings::scatterlist,
        nents: u32,
        len: usize,
    ) -> SgList {
        // SAFETY: By the safety requirements.
        unsafe { self.lender.lend(sgl, nents, len) }
    }

    /// Returns whether the data buffer is not lent. If it is, the target has broken the contract,
    /// and the command stays as it is, for ever: the HCA may still use the buffer.
    pub(super) fn is_back(&self) -> bool {
        let back = !self.lender.is_lent();
        if !back {
            pr_err!("the data buffer of a command is still in use\n");
        }
        back
    }

    /// Ends a phase in which the data buffer may be lent. Returns whether the command was in
    /// `phase` and the buffer is not lent any more; otherwise the phase stays.
    pub(super) fn end(&self, phase: P, next: P) -> bool {
        if !self.change(phase, next) {
            return false;
        }
        let back = self.is_back();
        if !back {
            self.set(phase);
        }
        back
    }

    /// As [`Self::end`], for a command that is in one of these phases.
    pub(super) fn end_one_of(&self, phases: [P; 2], next: P) -> bool {
        let phase = self.get();
        phases.contains(&phase) && self.end(phase, next)
    }
}
