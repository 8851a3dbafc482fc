// SPDX-License-Identifier: GPL-2.0
//! State machine of a channel, from the accepted login to the release of its resources.
//!
//! The driver locks the machine and feeds events in; after unlocking it executes every field of the
//! [`Actions`] and, for tear-down, of the [`Farewell`] that result, and nothing else.
//!
//! ```text
//! Connecting -> Live -> Disconnecting -> Draining -> Disconnected
//!      |                     ^
//!      +---------------------+
//! ```
//!
//! A channel only moves forward. Source: the states of the in-tree `ib_srpt` driver.
//!
//! Not here: timers, queue pairs and the connection manager (the driver).

use core::fmt;

use super::super::wire::consts::TLogoutReason;

/// State of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    /// The login was accepted; the initiator has neither confirmed nor sent anything yet.
    Connecting,
    /// Requests are processed.
    Live,
    /// The close was decided; tear-down has not begun.
    Disconnecting,
    /// The queue pair is in error state; work requests are being flushed.
    Draining,
    /// No more completions will arrive; resources can be released.
    Disconnected,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Disconnecting => "disconnecting",
            Self::Draining => "draining",
            Self::Disconnected => "disconnected",
        })
    }
}

/// Why a channel was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// The target port was disabled.
    Disabled,
    /// The administrator requested it.
    Administrator,
    /// An access control entry of the initiator was removed.
    AclRemoved,
    /// A new login requested that existing channels be terminated.
    Replaced,
    /// The RDMA device is being removed.
    DeviceRemoved,
    /// The initiator logged out.
    Logout,
    /// The initiator broke the protocol.
    ProtocolViolation,
    /// The initiator sent a response that matches no request of the target.
    SpuriousResponse,
    /// The connection was not confirmed in time.
    ConnectTimeout,
    /// The queue pair failed.
    QpError,
    /// No message and no acknowledgment arrived within the time limit of the watch.
    PeerSilent,
    /// The initiator disconnected.
    PeerDisconnected,
    /// The initiator rejected the accepted connection.
    PeerRejected,
    /// The connection could not be established.
    ConnectFailed,
}

impl CloseReason {
    /// Returns whether the initiator is sent a target logout first: the target decided to close a
    /// working connection, which the initiator does not expect.
    pub(crate) const fn is_announced(self) -> bool {
        match self {
            Self::Disabled
            | Self::Administrator
            | Self::AclRemoved
            | Self::Replaced
            | Self::DeviceRemoved
            | Self::ProtocolViolation
            | Self::SpuriousResponse => true,
            Self::Logout
            | Self::ConnectTimeout
            | Self::QpError
            | Self::PeerSilent
            | Self::PeerDisconnected
            | Self::PeerRejected
            | Self::ConnectFailed => false,
        }
    }

    /// Returns whether a disconnect request, or the reply to one, can reach the peer. It cannot on
    /// a device that is being removed, nor on a connection that was rejected or not established.
    pub(crate) const fn has_peer(self) -> bool {
        match self {
            Self::DeviceRemoved | Self::PeerRejected | Self::ConnectFailed => false,
            Self::Disabled
            | Self::Administrator
            | Self::AclRemoved
            | Self::Replaced
            | Self::Logout
            | Self::ProtocolViolation
            | Self::SpuriousResponse
            | Self::ConnectTimeout
            | Self::QpError
            | Self::PeerSilent
            | Self::PeerDisconnected => true,
        }
    }

    /// Returns the reason code of the target logout.
    pub(crate) const fn logout_reason(self) -> TLogoutReason {
        match self {
            Self::Replaced => TLogoutReason::MultiChannelAction,
            Self::ProtocolViolation => TLogoutReason::InvalidIuType,
            Self::SpuriousResponse => TLogoutReason::SpuriousResponse,
            _ => TLogoutReason::NoReason,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disabled => "port disabled",
            Self::Administrator => "disconnected by the administrator",
            Self::AclRemoved => "ACL removed",
            Self::Replaced => "replaced by a new login",
            Self::DeviceRemoved => "device removed",
            Self::Logout => "initiator logout",
            Self::ProtocolViolation => "protocol violation",
            Self::SpuriousResponse => "response to nothing",
            Self::ConnectTimeout => "connect timeout",
            Self::QpError => "queue pair error",
            Self::PeerSilent => "no sign of life",
            Self::PeerDisconnected => "disconnected by initiator",
            Self::PeerRejected => "rejected by initiator",
            Self::ConnectFailed => "connection failed",
        })
    }
}

/// Event of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The connection manager reports that the initiator confirmed the connection (RTU).
    Established,
    /// The initiator disconnected, or replied to the target's disconnect request.
    PeerDisconnected,
    /// The initiator rejected the accepted connection.
    PeerRejected,
    /// The connection manager failed to establish the connection.
    ConnectFailed,
    /// The target closes the channel.
    Close(CloseReason),
}

/// What the driver has to do, in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "actions have to be executed"]
pub(crate) struct Actions {
    /// Begin the tear-down for this reason; it calls [`Channel::begin_teardown`]. Requested exactly
    /// once in the life of a channel that ends.
    pub(crate) start_teardown: Option<CloseReason>,
}

impl Actions {
    /// Nothing to do.
    pub(crate) const NONE: Self = Self {
        start_teardown: None,
    };
}

/// What tear-down has to do before the queue pair goes to error state, in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a farewell has to be executed"]
pub(crate) struct Farewell {
    /// Wait until the connection manager has reported the outcome of the connection, because
    /// COMM_EST was reported to it. The wait is limited.
    pub(crate) await_settled: bool,
    /// Send a target logout with this reason.
    pub(crate) send_logout: Option<TLogoutReason>,
    /// Send a disconnect request, or the reply to that of the initiator.
    pub(crate) send_disconnect: bool,
}

/// What to do with a received information unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the information unit has to be disposed of"]
pub(crate) enum Disposition {
    /// Process it.
    Process,
    /// Drop it.
    Discard,
}

/// State machine of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    state: State,
    reason: Option<CloseReason>,
    /// The initiator gets a target logout.
    takes_logout: bool,
    /// The channel was live when the close was decided.
    was_live: bool,
    /// The connection manager was asked to accept the login.
    accepted: bool,
    /// The connection manager reported that the initiator confirmed the connection.
    confirmed: bool,
    /// The channel was live without that report at the last check.
    waited: bool,
    /// COMM_EST was reported to the connection manager: the first information unit replaces the
    /// RTU.
    vouched: bool,
}

impl Channel {
    /// Creates a channel whose login is accepted but not confirmed. `takes_logout` says whether its
    /// initiator gets a target logout.
    pub(crate) const fn new(takes_logout: bool) -> Self {
        Self {
            state: State::Connecting,
            reason: None,
            takes_logout,
            was_live: false,
            accepted: false,
            confirmed: false,
            waited: false,
            vouched: false,
        }
    }

    /// Returns the state.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Returns why the channel was closed: the first reason given, since later ones are
    /// consequences.
    #[allow(dead_code, reason = "for the tests' invariants")]
    pub(crate) const fn close_reason(&self) -> Option<CloseReason> {
        self.reason
    }

    /// Returns whether requests are processed, in both directions.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// Returns whether the end of the channel was decided.
    pub(crate) const fn is_closing(&self) -> bool {
        match self.state {
            State::Connecting | State::Live => false,
            State::Disconnecting | State::Draining | State::Disconnected => true,
        }
    }

    /// Returns what to do with an information unit that arrives now. The first one confirms the
    /// connection: it may overtake the RTU, or replace one that is lost. None arrives before the
    /// login is accepted, because the queue pair receives only from then on.
    pub(crate) fn iu_arrives(&mut self) -> Disposition {
        if self.state == State::Connecting {
            self.state = State::Live;
        }
        self.iu_disposition()
    }

    /// Returns what to do with an information unit that has arrived.
    pub(crate) const fn iu_disposition(&self) -> Disposition {
        match self.is_live() {
            true => Disposition::Process,
            false => Disposition::Discard,
        }
    }

    /// Handles an event. Events that come too late or too early have no effect.
    pub(crate) fn handle(&mut self, event: Event) -> Actions {
        self.confirmed |= event == Event::Established;
        match (event, self.state) {
            (Event::Established, State::Connecting) => {
                self.state = State::Live;
                Actions::NONE
            }
            (Event::PeerDisconnected, _) => self.close(CloseReason::PeerDisconnected),
            (Event::PeerRejected, _) => self.close(CloseReason::PeerRejected),
            (Event::ConnectFailed, _) => self.close(CloseReason::ConnectFailed),
            (Event::Close(reason), _) => self.close(reason),
            (
                Event::Established,
                State::Live | State::Disconnecting | State::Draining | State::Disconnected,
            ) => Actions::NONE,
        }
    }

    /// Records that the connection manager is asked to accept the login.
    pub(crate) fn accept(&mut self) {
        self.accepted = true;
    }

    /// Returns whether the channel is live because the initiator sends, and the connection manager
    /// has not reported its confirmation (RTU).
    const fn is_unconfirmed(&self) -> bool {
        self.is_live() && !self.confirmed
    }

    /// Returns whether the driver has to report COMM_EST to the connection manager, because the
    /// confirmation (RTU) may be lost: true if it is missing now and was at the last call, although
    /// the initiator sends. Called once per period.
    #[must_use = "the connection manager has to be told"]
    pub(crate) fn confirmation_is_late(&mut self) -> bool {
        let waits = self.is_unconfirmed();
        core::mem::replace(&mut self.waited, waits) && waits
    }

    /// Returns whether COMM_EST is still to be reported, and records that it is. Called immediately
    /// before the report.
    #[must_use = "the connection manager has to be told"]
    pub(crate) fn vouch(&mut self) -> bool {
        let due = self.is_unconfirmed() && !self.vouched;
        self.vouched |= due;
        due
    }

    /// Records that the connection manager refused COMM_EST: the confirmation arrived first, or the
    /// connection has ended.
    pub(crate) fn vouch_failed(&mut self) {
        self.vouched = false;
    }

    /// Begins the tear-down requested by `start_teardown`, and returns what to send first: nothing
    /// if called in another state.
    pub(crate) fn begin_teardown(&mut self) -> Farewell {
        let (State::Disconnecting, Some(reason)) = (self.state, self.reason) else {
            return Farewell::default();
        };
        self.state = State::Draining;
        let told = self.was_live && self.takes_logout && reason.is_announced();
        Farewell {
            await_settled: self.vouched,
            send_logout: told.then(|| reason.logout_reason()),
            send_disconnect: self.accepted && reason.has_peer(),
        }
    }

    /// Records that the last work request has completed. No effect before tear-down has begun.
    pub(crate) fn drained(&mut self) {
        if self.state == State::Draining {
            self.state = State::Disconnected;
        }
    }

    /// Begins to close the channel unless that was done before.
    fn close(&mut self, reason: CloseReason) -> Actions {
        if self.is_closing() {
            return Actions::NONE;
        }
        self.was_live = self.state == State::Live;
        self.state = State::Disconnecting;
        self.reason = Some(reason);
        Actions {
            start_teardown: Some(reason),
        }
    }
}
