// SPDX-License-Identifier: GPL-2.0
//! Accounting of credits: how many requests the initiator may send.
//!
//! At login the initiator is granted a number of credits, the request limit. Each request costs
//! one; responses, credit requests and asynchronous event requests return credits. The machine
//! tracks where each credit is.
//!
//! Source: the REQUEST LIMIT DELTA rules of T10 SRP revision 16a as practised by the Linux
//! initiator and target drivers.
//!
//! Not here: posting the information units that carry credits (the driver).

/// The initiator sent a request without having a credit for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

/// More credits were handed back than requests are outstanding: an error of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess;

/// The credits of one channel.
///
/// # Invariants
///
/// `outstanding + at_peer + returnable == limit`, always. A credit is in exactly one place:
///
/// - `at_peer`: the initiator may use it, or will be able to when the response carrying it
///   arrives;
/// - `outstanding`: it was spent on a request that is being processed;
/// - `returnable`: the request is finished, but no information unit has carried the credit yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Credits {
    limit: u32,
    at_peer: u32,
    outstanding: u32,
    returnable: u32,
}

impl Credits {
    /// With this many credits or fewer an initiator may be blocked: the Linux initiator sets one
    /// credit aside for task management and defers commands.
    pub(crate) const LOW_WATER: u32 = 1;

    /// Creates the credits of a channel on which the initiator was granted `limit` at login.
    ///
    /// A limit that a request limit delta cannot express is reduced.
    pub(crate) fn new(limit: u32) -> Self {
        let limit = limit.min(i32::MAX.unsigned_abs());
        Self {
            limit,
            at_peer: limit,
            outstanding: 0,
            returnable: 0,
        }
    }

    /// Records that a request arrived.
    ///
    /// # Errors
    ///
    /// [`Overrun`] if the initiator had no credit left. Nothing changes in this case.
    pub(crate) fn on_request(&mut self) -> Result<(), Overrun> {
        self.at_peer = self.at_peer.checked_sub(1).ok_or(Overrun)?;
        self.outstanding = self.outstanding.saturating_add(1);
        Ok(())
    }

    /// Records that `n` requests are finished; their credits may be returned.
    ///
    /// # Errors
    ///
    /// [`Excess`] if fewer than `n` are outstanding. Nothing changes in this case.
    pub(crate) fn add_returnable(&mut self, n: u32) -> Result<(), Excess> {
        self.outstanding = self.outstanding.checked_sub(n).ok_or(Excess)?;
        self.returnable = self.returnable.saturating_add(n);
        Ok(())
    }

    /// Takes all returnable credits for an information unit that is about to be posted, and
    /// returns its request limit delta.
    ///
    /// The credit of the request being answered is included if [`Self::add_returnable`] was called
    /// for it.
    #[must_use = "the credits have to be sent"]
    pub(crate) fn take_delta(&mut self) -> i32 {
        let delta = core::mem::take(&mut self.returnable);
        self.at_peer = self.at_peer.saturating_add(delta);
        // `limit` fits in an `i32`, and `delta` is no larger.
        i32::try_from(delta).unwrap_or(i32::MAX)
    }

    /// Takes back a delta, because the information unit that carries it could not be posted.
    ///
    /// # Errors
    ///
    /// [`Overrun`] if the initiator has already used credits that it never received. As many as
    /// possible are taken back in this case.
    pub(crate) fn undo(&mut self, delta: i32) -> Result<(), Overrun> {
        let wanted = u32::try_from(delta).unwrap_or(0);
        let taken = wanted.min(self.at_peer);
        self.at_peer = self.at_peer.saturating_sub(taken);
        self.returnable = self.returnable.saturating_add(taken);
        if taken == wanted {
            Ok(())
        } else {
            Err(Overrun)
        }
    }

    /// Returns whether a credit request should be sent, to an initiator that takes them: there are
    /// credits to return, and it may be waiting for them.
    pub(crate) const fn wants_credit_request(&self) -> bool {
        self.returnable > 0 && self.at_peer <= Self::LOW_WATER
    }

    /// Returns the number of credits granted at login.
    #[allow(dead_code, reason = "for the tests' invariants")]
    pub(crate) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the number of credits the initiator has.
    pub(crate) const fn at_peer(&self) -> u32 {
        self.at_peer
    }

    /// Returns the number of credits spent on requests that are being processed.
    #[allow(dead_code, reason = "for the tests' invariants")]
    pub(crate) const fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Returns the number of credits that the next information unit can carry.
    pub(crate) const fn returnable(&self) -> u32 {
        self.returnable
    }
}
