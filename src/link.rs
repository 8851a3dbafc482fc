// SPDX-License-Identifier: GPL-2.0

//! The connection as its commands see it: where they post, what they account for, and what keeps its
//! tear-down waiting.
//!
//! Not here: how a connection comes to be and ends ([`crate::channel`]).

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
    rdma::qp::{
        srq::SharedReceiveQueue,
        QpOwner,
        QueuePair,
        RecvBuf, //
    },
    srp::machine::channel::CloseReason, //
};

pub(crate) mod flow;

use flow::Flow;

/// What the users of a connection ask of its owner; the channel implements it.
pub(crate) trait Owner: QpOwner {
    /// The accounts.
    fn flow(&self) -> &Flow;
    /// The engine's session.
    fn session(&self) -> &<Active as Engine>::Session;
    /// Serial number, in the order of logins.
    fn serial(&self) -> u64;
    /// Offset of immediate data, if granted.
    fn imm_offset(&self) -> Option<u16>;
    /// Begins to close, unless that was done before. Process context: takes a mutex, but does not wait
    /// for anything else.
    fn close(this: ArcBorrow<'_, Self>, reason: CloseReason);
    /// Credits may be due that no response will carry. Process context.
    fn credits_due(this: ArcBorrow<'_, Self>);
}

/// Owned receive buffer.
pub(crate) type Buffer<O> = Pin<KBox<RecvBuf<O>>>;

/// What posting needs. Commands in use hold it, and with it the owner and the queue pair.
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

    /// Gives a receive buffer back to the queue it came from.
    pub(crate) fn repost(&self, buf: Buffer<O>) {
        let posted = match &self.srq {
            Some(srq) => srq.post_recv(buf),
            None => self.qp.post_recv(buf),
        };
        if posted.is_err() {
            // The buffer is freed with the error; the channel cannot keep its promise of credits.
            self.close(CloseReason::QpError);
        }
    }

    /// Begins to close the connection.
    pub(crate) fn close(&self, reason: CloseReason) {
        O::close(self.owner.as_arc_borrow(), reason);
    }
}

/// Guard: keeps session and connection as long as a call needs them.
pub(crate) struct Busy<'a, O: Owner>(ArcBorrow<'a, O>);

impl<'a, O: Owner> Busy<'a, O> {
    /// Keeps tear-down waiting. To be called only by one that does so already, or within a lock of the
    /// owner under which its state allows it.
    pub(crate) fn new(owner: ArcBorrow<'a, O>) -> Self {
        owner.flow().begin_task();
        Self(owner)
    }
}

impl<O: Owner> Drop for Busy<'_, O> {
    fn drop(&mut self) {
        self.0.flow().end_task();
    }
}

/// The same for longer than one call.
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
