// SPDX-License-Identifier: GPL-2.0

//! What the tear-down of a channel waits for: five reasons, each with its limit and with what ends the
//! wait.
//!
//! Not here: the order of tear-down ([`super::teardown`]), and the engine's and the queue pair's own
//! waits.

use kernel::prelude::*;

use crate::{
    link::flow::Flow,
    sync::completion::Completion, //
};

/// How long the peer may take to answer our disconnect, in milliseconds. When it is cut off the
/// connection manager ends the connection without it.
const DISCONNECT_WAIT_MS: u32 = 2_000;

/// How long sending the logout may take, in milliseconds: the initiator may be gone or have no
/// receive posted.
const LOGOUT_WAIT_MS: u32 = 500;

/// What tear-down waits for, in its order.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// The login handler has let go of the connection manager's id: it is bounded, and never waits for
    /// tear-down.
    SetUp,
    /// The connection manager has said that the connection is established, or over.
    Settled,
    /// The target's logout was sent, or cannot be.
    LogoutSent,
    /// Nothing is on the send queue, and no task needs the session or the connection: everything sent is
    /// flushed by then, and tasks do not wait for tear-down.
    Quiet,
    /// The peer knows that the connection is over.
    PeerGone,
}

impl Until {
    /// The limit in milliseconds. [`None`]: it happens without fail, and nothing can be freed before.
    const fn limit_ms(self) -> Option<u32> {
        match self {
            Self::SetUp | Self::Quiet => None,
            Self::Settled | Self::PeerGone => Some(DISCONNECT_WAIT_MS),
            Self::LogoutSent => Some(LOGOUT_WAIT_MS),
        }
    }
}

/// Whether each of the reasons has happened; [`Until::Quiet`] is in the channel's [`Flow`].
#[pin_data]
pub(super) struct Waits {
    #[pin]
    set_up: Completion,
    #[pin]
    settled: Completion,
    #[pin]
    logout_sent: Completion,
    #[pin]
    peer_gone: Completion,
}

impl Waits {
    /// Nothing has happened.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            set_up <- Completion::new(),
            settled <- Completion::new(),
            logout_sent <- Completion::new(),
            peer_gone <- Completion::new(),
        })
    }

    fn completion(&self, what: Until) -> Option<&Completion> {
        match what {
            Until::SetUp => Some(&self.set_up),
            Until::Settled => Some(&self.settled),
            Until::LogoutSent => Some(&self.logout_sent),
            Until::Quiet => None,
            Until::PeerGone => Some(&self.peer_gone),
        }
    }

    /// Notes that it has happened. [`Until::Quiet`] is noted by the [`Flow`]. Any context.
    pub(super) fn happened(&self, what: Until) {
        if let Some(completion) = self.completion(what) {
            completion.complete_all();
        }
    }

    /// Waits until it has happened, or for as long as its limit says. Sleeps.
    pub(super) fn wait(&self, flow: &Flow, what: Until) {
        match (self.completion(what), what.limit_ms()) {
            (None, _) => flow.wait_quiet(),
            (Some(completion), None) => completion.wait(),
            (Some(completion), Some(limit)) => {
                completion.wait_timeout(limit);
            }
        }
    }
}
