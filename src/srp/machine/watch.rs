// SPDX-License-Identifier: GPL-2.0
//! Whether the peer of a channel is still there.
//!
//! An initiator that loses its power says nothing, and a target that has nothing to send does not
//! notice. So somebody looks now and then: when there was no sign of life for a while, the peer is
//! to be probed with something that its HCA acknowledges, and when nothing comes of that either, it
//! is given up. How long a while is between two looks, and what a probe is, is the driver's
//! business.

/// Looks without a sign of life after which the peer is probed.
pub(crate) const PROBE_AFTER: u32 = 2;

/// Looks without a sign of life after which the peer is given up. Between the two a probe, or
/// whatever it is queued behind, has the time to be retried as often as the connection allows.
pub(crate) const GIVE_UP_AFTER: u32 = 14;

/// What a look at a channel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing is to be done.
    Fine,
    /// The peer is to be probed; see [`Watch::probe_begun`].
    Probe,
    /// The peer is gone.
    GiveUp,
}

/// Signs of life of a peer.
///
/// # Invariants
///
/// `silent <= GIVE_UP_AFTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    /// There was a sign of life since the last look.
    heard: bool,
    /// Looks since the last sign of life.
    silent: u32,
    /// A probe is under way.
    probing: bool,
}

impl Watch {
    /// A peer that was just heard of.
    pub(crate) const fn new() -> Self {
        Self {
            heard: true,
            silent: 0,
            probing: false,
        }
    }

    /// The peer has sent something, or acknowledged something.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// Looks at the channel, once per period.
    pub(crate) fn look(&mut self) -> Look {
        if core::mem::take(&mut self.heard) {
            self.silent = 0;
            return Look::Fine;
        }
        // INVARIANT: Never more than the limit.
        self.silent = self.silent.saturating_add(1).min(GIVE_UP_AFTER);
        match self.silent {
            GIVE_UP_AFTER => Look::GiveUp,
            silent if silent >= PROBE_AFTER && !self.probing => Look::Probe,
            _ => Look::Fine,
        }
    }

    /// Says whether the last look gave the peer up, and nothing was heard since.
    pub(crate) const fn is_given_up(&self) -> bool {
        self.silent == GIVE_UP_AFTER && !self.heard
    }

    /// A probe is about to be posted. Returns `false`, and does nothing, if one is under way.
    #[must_use = "the probe has to be posted"]
    pub(crate) fn probe_begun(&mut self) -> bool {
        !core::mem::replace(&mut self.probing, true)
    }

    /// The probe completed, `ok` if the peer has acknowledged it, or could not be posted.
    pub(crate) fn probe_ended(&mut self, ok: bool) {
        self.probing = false;
        self.heard |= ok;
    }
}
