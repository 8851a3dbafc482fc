// SPDX-License-Identifier: GPL-2.0

//! The five waits of tear-down, each with its limit and the cause of its end.
//!
//! Not here: the order of tear-down ([`super::teardown`]), and the engine's and the queue pair's
//! own waits.

use kernel::prelude::*;

use crate::{
    link::flow::Flow,
    sync::completion::Completion, //
};

/// Limit for the peer's answer to the disconnect, in milliseconds. Without an answer the connection
/// manager ends the connection by itself.
const DISCONNECT_WAIT_MS: u32 = 2_000;

/// Limit for the completion of SRP_T_LOGOUT, in milliseconds: the initiator may be dead or have no
/// receive posted.
const LOGOUT_WAIT_MS: u32 = 500;

/// A wait of tear-down, in the order of tear-down.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// The login handler has released the connection manager's id. It is bounded, and never waits
    /// for tear-down.
    SetUp,
    /// The connection manager has reported that the connection is established, or over.
    Settled,
    /// SRP_T_LOGOUT has completed, or cannot be posted.
    LogoutSent,
    /// The send queue is empty, and no task uses session or connection. Posted sends are flushed by
    /// then, and tasks do not wait for tear-down.
    Quiet,
    /// The connection manager has reported the end of the connection.
    PeerGone,
}

impl Until {
    /// Returns the limit in milliseconds; [`None`] if nothing may be freed before it has happened.
    const fn limit_ms(self) -> Option<u32> {
        match self {
            Self::SetUp | Self::Quiet => None,
            Self::Settled | Self::PeerGone => Some(DISCONNECT_WAIT_MS),
            Self::LogoutSent => Some(LOGOUT_WAIT_MS),
        }
    }
}

/// Completions of the waits; that of [`Until::Quiet`] is in the channel's [`Flow`].
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
    /// Initialises the completions.
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

    /// Ends the wait. [`Until::Quiet`] is ended by the [`Flow`]. Any context.
    pub(super) fn happened(&self, what: Until) {
        if let Some(completion) = self.completion(what) {
            completion.complete_all();
        }
    }

    /// Waits until [`Self::happened`] or the limit. Sleeps.
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
