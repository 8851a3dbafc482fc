// SPDX-License-Identifier: GPL-2.0
//! Detection of dead peers.
//!
//! An initiator that loses its power sends no disconnect, and a target that sends nothing does not
//! notice. Therefore each channel is checked once per period: after [`PROBE_AFTER`] checks without
//! a sign of life the peer is probed with a work request that its HCA has to acknowledge, and after
//! [`GIVE_UP_AFTER`] it is given up.
//!
//! Not here: the length of the period and the probe itself (the driver).

/// Checks without a sign of life after which the peer is probed.
pub(crate) const PROBE_AFTER: u32 = 2;

/// Checks without a sign of life after which the peer is given up. The difference leaves a probe,
/// or the work requests queued before it, time for all retries of the connection.
pub(crate) const GIVE_UP_AFTER: u32 = 14;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the check has to have a consequence"]
pub(crate) enum Look {
    /// Nothing is to be done.
    Fine,
    /// The peer is to be probed; see [`Watch::probe_begun`].
    Probe,
    /// The peer is given up.
    GiveUp,
}

/// Signs of life of a peer.
///
/// # Invariants
///
/// `silent <= GIVE_UP_AFTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    /// There was a sign of life since the last check.
    heard: bool,
    /// Checks since the last sign of life.
    silent: u32,
    /// A probe is under way.
    probing: bool,
}

impl Watch {
    /// Creates the watch of a peer that has just shown a sign of life.
    pub(crate) const fn new() -> Self {
        Self {
            heard: true,
            silent: 0,
            probing: false,
        }
    }

    /// Records that the peer has sent something, or acknowledged something.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// Checks the peer; called once per period.
    pub(crate) fn look(&mut self) -> Look {
        if core::mem::take(&mut self.heard) {
            self.silent = 0;
            return Look::Fine;
        }
        // INVARIANT: At most `GIVE_UP_AFTER`.
        self.silent = self.silent.saturating_add(1).min(GIVE_UP_AFTER);
        match self.silent {
            GIVE_UP_AFTER => Look::GiveUp,
            silent if silent >= PROBE_AFTER && !self.probing => Look::Probe,
            _ => Look::Fine,
        }
    }

    /// Records that a probe is about to be posted. Returns `false`, and does nothing, if one is
    /// under way.
    #[must_use = "the probe has to be posted"]
    pub(crate) fn probe_begun(&mut self) -> bool {
        !core::mem::replace(&mut self.probing, true)
    }

    /// Records that the probe completed, `ok` if the peer has acknowledged it, or could not be
    /// posted.
    pub(crate) fn probe_ended(&mut self, ok: bool) {
        self.probing = false;
        self.heard |= ok;
    }
}
