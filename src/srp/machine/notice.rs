// SPDX-License-Identifier: GPL-2.0
//! Requests of the target: which of them is under way, and which tag its response must have.
//!
//! A target asks the initiator for two things on an established channel, to take back credits and
//! to take note of an event; the initiator answers both. At most one request of a kind is under
//! way, so one buffer per kind is enough on this side, and one receive buffer per kind on top of
//! the request limit is enough for the responses. The buffer of a request is free again when its
//! send completed *and* its response arrived, in either order. Building and posting the
//! information units is left to the driver; when to take back credits is decided by
//! [`Credits`](super::credit::Credits).
//!
//! Source: the request and response rules of T10 SRP revision 16a as practised by the Linux
//! initiator driver.

/// A response that answers no request of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spurious;

/// A request of one kind.
///
/// # Invariants
///
/// `under_way` holds the tag from [`Self::begin`] until the send completed and the response
/// arrived; not both of `sent` and `answered` are set meanwhile, and neither otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Notice {
    under_way: Option<u64>,
    sent: bool,
    answered: bool,
    wanted: bool,
}

impl Notice {
    /// Nothing under way.
    pub(crate) const fn new() -> Self {
        Self {
            under_way: None,
            sent: false,
            answered: false,
            wanted: false,
        }
    }

    /// Notes that there is something to say. Several things that come up before it is said become
    /// one.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Says whether [`Self::begin`] would begin a request: there is something to say, and nothing
    /// is under way.
    pub(crate) const fn is_due(&self) -> bool {
        self.wanted && self.under_way.is_none()
    }

    /// Begins the request that is due, with this tag. The driver is to send it.
    ///
    /// Returns `false`, and does nothing, if none is due.
    #[must_use = "the request has to be sent"]
    pub(crate) fn begin(&mut self, tag: u64) -> bool {
        let due = self.is_due();
        if due {
            self.wanted = false;
            self.under_way = Some(tag);
        }
        due
    }

    /// The request could not be posted: it is forgotten.
    pub(crate) fn post_failed(&mut self) {
        *self = Self {
            wanted: self.wanted,
            ..Self::new()
        };
    }

    /// The send of the request completed.
    pub(crate) fn sent(&mut self) {
        if self.under_way.is_some() {
            self.sent = true;
            self.settle();
        }
    }

    /// A response arrived.
    ///
    /// # Errors
    ///
    /// [`Spurious`] if it does not answer the request under way, or not for the first time.
    pub(crate) fn answered(&mut self, tag: u64) -> Result<(), Spurious> {
        if self.under_way != Some(tag) || self.answered {
            return Err(Spurious);
        }
        self.answered = true;
        self.settle();
        Ok(())
    }

    /// Ends the request when both halves of it are done.
    fn settle(&mut self) {
        if self.sent && self.answered {
            *self = Self {
                wanted: self.wanted,
                ..Self::new()
            };
        }
    }
}
