// SPDX-License-Identifier: GPL-2.0

//! The connection as its commands use it: posting, accounts, and guards that keep tear-down
//! waiting.
//!
//! Not here: set-up and tear-down of a connection ([`crate::login`], [`crate::channel`]).

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use crate::{
    engine::{
        Active,
        Engine, //
    },
    rdma::{
        qp::{
            srq::SharedReceiveQueue,
            QpOwner,
            QueuePair,
            RecvBuf, //
        },
        wc::WcStatus, //
    },
    srp::machine::channel::CloseReason,
    sync::ratelimit, //
};

pub(crate) mod flow;

use flow::Flow;

/// Owner of a connection: the channel.
pub(crate) trait Owner: QpOwner {
    /// Returns the accounts.
    fn flow(&self) -> &Flow;
    /// Returns the engine's session.
    fn session(&self) -> &<Active as Engine>::Session;
    /// Returns the serial number of the login.
    fn serial(&self) -> u64;
    /// Begins to close the connection. Idempotent. Process context; does not wait.
    fn close(this: ArcBorrow<'_, Self>, reason: CloseReason);
    /// Returns credits that no response will carry, if they are due. Process context.
    fn credits_due(this: ArcBorrow<'_, Self>);

    /// Closes the connection after a completion with an error. Logs the error unless it is a flush,
    /// which follows from an earlier error or from tear-down. Process context.
    fn work_failed(this: ArcBorrow<'_, Self>, what: &str, status: WcStatus) {
        if !status.is_flush() && ratelimit::ok() {
            pr_warn!("channel {}: {} failed: {}\n", this.serial(), what, status);
        }
        Self::close(this, CloseReason::QpError);
    }
}

/// Owned receive buffer of a connection.
pub(crate) type Buffer<O> = Pin<KBox<RecvBuf<O>>>;

/// Resources for posting. Every command holds a reference, and so the owner and the queue pair.
pub(crate) struct Link<O: Owner> {
    pub(crate) owner: Arc<O>,
    pub(crate) qp: Arc<QueuePair<O>>,
    pub(crate) srq: Option<Arc<SharedReceiveQueue<O>>>,
}

impl<O: Owner> Link<O> {
    /// The accounts.
    pub(crate) fn flow(&self) -> &Flow {
        self.owner.flow()
    }

    /// Reposts a receive buffer to the queue that it came from. Closes the connection on failure.
    pub(crate) fn repost(&self, buf: Buffer<O>) {
        let posted = match &self.srq {
            Some(srq) => srq.post_recv(buf),
            None => self.qp.post_recv(buf),
        };
        // A credit of the peer has no buffer now; a shared one is kept for later.
        if let Err(e) = posted {
            self.close_after("a receive", e);
        }
    }

    /// Begins to close the connection.
    pub(crate) fn close(&self, reason: CloseReason) {
        O::close(self.owner.as_arc_borrow(), reason);
    }

    /// Begins to close the connection because `what` could not be posted. Logs the error, unless
    /// it says that the queue pair is being torn down.
    pub(crate) fn close_after(&self, what: &str, error: Error) {
        if error != EPIPE && ratelimit::ok() {
            let serial = self.owner.serial();
            pr_warn!("channel {}: cannot post {}: {:?}\n", serial, what, error);
        }
        self.close(CloseReason::QpError);
    }
}

/// Guard: keeps session and connection during a call, because tear-down waits for its drop.
#[must_use = "its drop lets tear-down go on"]
pub(crate) struct Busy<'a, O: Owner>(ArcBorrow<'a, O>);

impl<'a, O: Owner> Busy<'a, O> {
    /// Keeps tear-down waiting. The caller does so already, or holds the lock of the owner's state
    /// and has seen that tear-down has not begun.
    pub(crate) fn new(owner: ArcBorrow<'a, O>) -> Self {
        owner.flow().begin_task();
        Self(owner)
    }

    /// What is kept.
    pub(crate) fn owner(&self) -> ArcBorrow<'a, O> {
        self.0
    }
}

impl<O: Owner> Drop for Busy<'_, O> {
    fn drop(&mut self) {
        self.0.flow().end_task();
    }
}

/// Guard: as [`Busy`], but owned, for longer than a call.
#[must_use = "its drop lets tear-down go on"]
pub(crate) struct Hold<O: Owner>(Arc<O>);

impl<O: Owner> Hold<O> {
    /// As [`Busy::new`].
    pub(crate) fn new(owner: &Arc<O>) -> Self {
        owner.flow().begin_task();
        Self(owner.clone())
    }

    /// What is kept.
    pub(crate) fn owner(&self) -> &Arc<O> {
        &self.0
    }
}

impl<O: Owner> Drop for Hold<O> {
    fn drop(&mut self) {
        self.0.flow().end_task();
    }
}
