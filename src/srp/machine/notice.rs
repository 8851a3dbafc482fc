// SPDX-License-Identifier: GPL-2.0
//! Requests of the target: which of them is under way, and which tag its response must have.
//!
//! On an established channel a target sends the initiator two kinds of requests, credit requests
//! and asynchronous event requests; the initiator responds to both. At most one request of a kind
//! is under way, so one buffer per kind suffices for the requests, and one receive buffer per kind
//! on top of the request limit for the responses. The buffer of a request is free again when its
//! send completed *and* its response arrived, in either order.
//!
//! Source: the request and response rules of T10 SRP revision 16a as practised by the Linux
//! initiator driver.
//!
//! Not here: building and posting the information units (the driver), and when to return credits
//! ([`Credits`](super::credit::Credits)).

/// A response that matches no request of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spurious;

/// Request of one kind.
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
    /// Creates one with no request under way and none due.
    pub(crate) const fn new() -> Self {
        Self {
            under_way: None,
            sent: false,
            answered: false,
            wanted: false,
        }
    }

    /// Makes a request due. Calls before [`Self::begin`] are merged into one request.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Returns whether [`Self::begin`] would begin a request: one is wanted, and none is under way.
    pub(crate) const fn is_due(&self) -> bool {
        self.wanted && self.under_way.is_none()
    }

    /// Begins the request that is due, with this tag. The driver has to send it.
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

    /// Records that the request could not be posted: it is dropped.
    pub(crate) fn post_failed(&mut self) {
        *self = Self {
            wanted: self.wanted,
            ..Self::new()
        };
    }

    /// Records that the send of the request completed.
    pub(crate) fn sent(&mut self) {
        if self.under_way.is_some() {
            self.sent = true;
            self.settle();
        }
    }

    /// Records that a response arrived.
    ///
    /// # Errors
    ///
    /// [`Spurious`] if it does not match the request under way, or is not the first to do so.
    pub(crate) fn answered(&mut self, tag: u64) -> Result<(), Spurious> {
        if self.under_way != Some(tag) || self.answered {
            return Err(Spurious);
        }
        self.answered = true;
        self.settle();
        Ok(())
    }

    /// Ends the request when it was both sent and answered.
    fn settle(&mut self) {
        if self.sent && self.answered {
            *self = Self {
                wanted: self.wanted,
                ..Self::new()
            };
        }
    }
}
