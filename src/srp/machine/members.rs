// SPDX-License-Identifier: GPL-2.0
//! Channels that share a session of the engine: which one ends it, and tags that differ.
//!
//! An engine that ties reservations to a session must see one session per I_T nexus, whatever the
//! number of channels. The first channel opens it, the last one ends it. A channel leaves when the
//! engine has returned its commands, so until then another one may join, and finds what the engine
//! has kept for the initiator.
//!
//! Not here: the list of sessions, and its lock (the engine's adapter).

/// Odd, with about half of the bits set: the products of two small numbers differ in both halves.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number of a channel in its session. No two channels of a session have had the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member(u32);

impl Member {
    /// The only channel of a session that no other one joins.
    pub(crate) const ONLY: Self = Self(0);

    /// Returns the tag by which the engine knows a task of this channel. Tags of SRP are unique in
    /// a channel; the engine searches in a session.
    ///
    /// The tags of a channel stay different from each other. Those of two channels differ unless an
    /// initiator chooses them for that: equal tags do, and those that differ in one half only.
    #[inline]
    pub(crate) fn engine_tag(self, tag: u64) -> u64 {
        tag ^ u64::from(self.0).wrapping_mul(SPREAD)
    }
}

/// The channels of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Members {
    /// Their number; with none the session is ending.
    count: u32,
    /// Number of the next one.
    next: u32,
}

impl Members {
    /// The channel that opened the session, which has the number [`Member::ONLY`].
    pub(crate) const FIRST: Self = Self { count: 1, next: 1 };

    /// A channel joins. Returns [`None`] if the session is ending, or has no more numbers: the
    /// channel opens another one then.
    pub(crate) fn join(&mut self) -> Option<Member> {
        if self.count == 0 {
            return None;
        }
        let member = Member(self.next);
        self.next = self.next.checked_add(1)?;
        // There are fewer channels than numbers.
        self.count += 1;
        Some(member)
    }

    /// A channel leaves. Returns whether it was the last: the caller ends the session.
    pub(crate) fn leave(&mut self) -> bool {
        self.count = self.count.saturating_sub(1);
        self.count == 0
    }
}
