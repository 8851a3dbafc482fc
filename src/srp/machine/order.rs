// SPDX-License-Identifier: GPL-2.0
//! Task attributes for an engine that must not be given a SIMPLE command behind an ORDERED one.
//!
//! Such an engine keeps SIMPLE commands behind an ORDERED one apart from others, and may lose one
//! of them there. So while the engine has an ORDERED command of a session, SIMPLE ones are made
//! ORDERED, which orders too much, not too little. They are ORDERED commands of the session, too:
//! a session that always has commands under way would never end this. After [`MOST_TURNED`] of them
//! behind the last that was ORDERED itself, the next one is to be answered with BUSY, until the
//! engine has none left.
//!
//! Commands of several channels are submitted at the same time. A SIMPLE one may have been admitted
//! when there was no ORDERED one, and not be with the engine when the first ORDERED one comes. So
//! that one is held back until such commands are with the engine, and with it those that are
//! admitted meanwhile; after that the state is settled.
//!
//! Not here: the storage of the state, which several tasks change (the engine's adapter).

use super::super::wire::cmd::TaskAttr;

/// SIMPLE commands that are made ORDERED without a pause.
const MOST_TURNED: u32 = 1024;

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The engine gets it with this attribute.
    As(TaskAttr),
    /// It is answered with BUSY.
    Busy,
}

/// The ORDERED commands of a session that the engine has.
///
/// # Invariants
///
/// `turned` is zero and `settled` is false if `ordered` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Order {
    /// Their number, with those that were SIMPLE.
    ordered: u32,
    /// SIMPLE commands that were made ORDERED since the last one that was ORDERED itself.
    turned: u32,
    /// Whether every SIMPLE command that was admitted before the first of them is with the engine.
    settled: bool,
}

/// The bit of [`Order::settled`] in [`Order::to_bits`].
const SETTLED: u64 = 1 << 63;

impl Order {
    /// The engine has none.
    pub(crate) const NONE: Self = Self {
        ordered: 0,
        turned: 0,
        settled: false,
    };

    /// Returns the state that [`Self::to_bits`] has returned.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self {
            // CAST: The two halves.
            ordered: bits as u32,
            turned: ((bits & !SETTLED) >> 32) as u32,
            settled: bits & SETTLED != 0,
        }
    }

    /// Returns the state as a number, for an atomic variable.
    pub(crate) const fn to_bits(self) -> u64 {
        let settled = if self.settled { SETTLED } else { 0 };
        // CAST: Wider. `turned` is small, see `MOST_TURNED`.
        settled | (self.turned as u64) << 32 | self.ordered as u64
    }

    /// Returns whether ORDERED commands may be given to the engine.
    pub(crate) fn is_settled(self) -> bool {
        self.settled
    }

    /// Returns the state when the SIMPLE commands that were admitted before an ORDERED one, which
    /// is still counted, are with the engine.
    pub(crate) fn settle(self) -> Self {
        Self {
            settled: self.ordered != 0,
            ..self
        }
    }

    /// Decides on a command with the attribute `attr`. `waits_for_none`: the engine executes it
    /// before all others if it is SIMPLE.
    pub(crate) fn admit(self, attr: TaskAttr, waits_for_none: bool) -> (Self, Admission) {
        let turned = match attr {
            TaskAttr::HeadOfQueue | TaskAttr::Aca => return (self, Admission::As(attr)),
            TaskAttr::Simple if self.ordered == 0 => return (self, Admission::As(attr)),
            TaskAttr::Simple if waits_for_none => {
                return (self, Admission::As(TaskAttr::HeadOfQueue));
            }
            TaskAttr::Simple if self.turned >= MOST_TURNED => return (self, Admission::Busy),
            TaskAttr::Simple => self.turned.saturating_add(1),
            // The initiator keeps this up itself: a pause would not end it.
            TaskAttr::Ordered => 0,
        };
        // Neither can overflow: a session has as many commands as it has credits.
        let next = Self {
            ordered: self.ordered.saturating_add(1),
            turned,
            settled: self.settled,
        };
        (next, Admission::As(TaskAttr::Ordered))
    }

    /// Counts off an ORDERED command: the engine has returned it, or did not take it.
    pub(crate) fn ended(self) -> Self {
        match self.ordered.saturating_sub(1) {
            0 => Self::NONE,
            ordered => Self { ordered, ..self },
        }
    }
}
