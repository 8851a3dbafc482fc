// SPDX-License-Identifier: GPL-2.0
//! The life of a channel, from the login request to the release of its resources.
//!
//! The machine decides what happens when. The driver locks it and feeds events in; after unlocking it
//! executes the [`Actions`], and for tear-down the [`Farewell`], that come out: every field, and nothing
//! else. Timers, queue pairs and the connection manager are unknown here.
//!
//! ```text
//! Connecting -> Live -> Disconnecting -> Draining -> Disconnected
//!      |                     ^
//!      +---------------------+
//! ```
//!
//! A channel only moves forward. Source: the states of the in-tree `ib_srpt` driver.

use core::fmt;

use super::super::wire::consts::TLogoutReason;

/// State of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    /// The login was accepted; the initiator has not confirmed yet.
    Connecting,
    /// Requests are processed.
    Live,
    /// The end was decided; teardown is to begin.
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
    /// The administrator wants it.
    Administrator,
    /// The access of the initiator was revoked.
    AclRemoved,
    /// A new login asked for existing channels to be terminated.
    Replaced,
    /// The RDMA device is being removed.
    DeviceRemoved,
    /// The initiator logged out.
    Logout,
    /// The initiator broke the protocol.
    ProtocolViolation,
    /// The initiator answered a request that was never made.
    SpuriousResponse,
    /// The initiator did not confirm the connection in time.
    ConnectTimeout,
    /// The queue pair failed.
    QpError,
    /// The initiator gives no sign of life.
    PeerSilent,
    /// The module is being unloaded.
    Unload,
    /// The initiator disconnected.
    PeerDisconnected,
    /// The initiator refused the accepted connection.
    PeerRejected,
    /// The connection could not be established.
    ConnectFailed,
}

impl CloseReason {
    /// Says whether the end was decided here, while the connection works: the initiator listens
    /// and does not expect it.
    pub(crate) const fn is_announced(self) -> bool {
        match self {
            Self::Disabled
            | Self::Administrator
            | Self::AclRemoved
            | Self::Replaced
            | Self::DeviceRemoved
            | Self::ProtocolViolation
            | Self::SpuriousResponse
            | Self::Unload => true,
            Self::Logout
            | Self::ConnectTimeout
            | Self::QpError
            | Self::PeerSilent
            | Self::PeerDisconnected
            | Self::PeerRejected
            | Self::ConnectFailed => false,
        }
    }

    /// Says whether somebody may hear a disconnect, or waits for an answer to one. Nobody does on a
    /// device that is being removed, or through a connection that never was.
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
            | Self::Unload
            | Self::PeerDisconnected => true,
        }
    }

    /// Returns what a target logout says.
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
            Self::Unload => "module unload",
            Self::PeerDisconnected => "disconnected by initiator",
            Self::PeerRejected => "rejected by initiator",
            Self::ConnectFailed => "connection failed",
        })
    }
}

/// What happened to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The initiator confirmed the connection (RTU or the first message).
    Established,
    /// The initiator disconnected, or answered our disconnect request.
    PeerDisconnected,
    /// The initiator refused the accepted connection.
    PeerRejected,
    /// The connection manager gave up on the connection.
    ConnectFailed,
    /// The target wants the channel closed.
    Close(CloseReason),
}

/// What the driver has to do, in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "actions have to be executed"]
pub(crate) struct Actions {
    /// Treat the held information units according to [`Channel::iu_disposition`], which is not
    /// [`Disposition::Hold`] any more. At most once.
    pub(crate) release_held_ius: bool,
    /// Begin the tear-down for this reason, which ends in [`Channel::begin_teardown`]. Exactly once in
    /// the life of a channel that ends.
    pub(crate) start_teardown: Option<CloseReason>,
}

impl Actions {
    /// Nothing to do.
    pub(crate) const NONE: Self = Self {
        release_held_ius: false,
        start_teardown: None,
    };
}

/// What tear-down has to do before the queue pair goes to error state, in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a farewell has to be executed"]
pub(crate) struct Farewell {
    /// Wait until the connection manager has said what became of the connection: it was told that
    /// it is established. The wait is limited.
    pub(crate) await_settled: bool,
    /// Send a target logout with this reason: the initiator listens, and does not know yet.
    pub(crate) send_logout: Option<TLogoutReason>,
    /// Send a disconnect request, or answer that of the initiator.
    pub(crate) send_disconnect: bool,
}

/// What to do with an information unit that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Keep it until the connection is confirmed: it may overtake the confirmation.
    Hold,
    /// Process it.
    Process,
    /// Drop it.
    Discard,
}

/// The life of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    state: State,
    reason: Option<CloseReason>,
    /// The channel was live when the end was decided.
    was_live: bool,
    /// The connection manager has sent the answer to the login, or is about to.
    accepted: bool,
    /// An information unit was held at the last look.
    waited: bool,
    /// The connection manager was told that an information unit stands for the confirmation.
    vouched: bool,
}

impl Channel {
    /// Starts with an accepted login that the initiator has not confirmed.
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Connecting,
            reason: None,
            was_live: false,
            accepted: false,
            waited: false,
            vouched: false,
        }
    }

    /// Returns the state.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Returns why the channel was closed: the first reason given, later ones are consequences.
    pub(crate) const fn close_reason(&self) -> Option<CloseReason> {
        self.reason
    }

    /// Says what to do with an information unit that arrives now.
    pub(crate) const fn iu_disposition(&self) -> Disposition {
        match self.state {
            State::Connecting => Disposition::Hold,
            State::Live => Disposition::Process,
            State::Disconnecting | State::Draining | State::Disconnected => Disposition::Discard,
        }
    }

    /// Handles an event. Events that come too late or too early have no effect.
    pub(crate) fn handle(&mut self, event: Event) -> Actions {
        match (event, self.state) {
            (Event::Established, State::Connecting) => {
                self.state = State::Live;
                Actions {
                    release_held_ius: true,
                    ..Actions::NONE
                }
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

    /// Notes that the connection manager is asked to send the answer to the login.
    pub(crate) fn accept(&mut self) {
        self.accepted = true;
    }

    /// Decides whether the driver tells the connection manager that the first information unit stands
    /// for the confirmation, which may be lost: true if one is `held` now and was at the last look. To
    /// be called once per period.
    #[must_use = "the connection manager has to be told"]
    pub(crate) fn confirmation_is_late(&mut self, held: bool) -> bool {
        let waits = held && self.state == State::Connecting;
        core::mem::replace(&mut self.waited, waits) && waits
    }

    /// Decides whether the driver, which is about to tell the connection manager that, still does.
    #[must_use = "the connection manager has to be told"]
    pub(crate) fn vouch(&mut self) -> bool {
        let begun = self.state == State::Connecting;
        self.vouched |= begun;
        begun
    }

    /// The connection manager refused to be told: the confirmation was faster, or the connection has
    /// ended.
    pub(crate) fn vouch_failed(&mut self) {
        self.vouched = false;
    }

    /// The driver begins to execute `start_teardown`; what it says to whom. Nothing at any other time.
    pub(crate) fn begin_teardown(&mut self) -> Farewell {
        let (State::Disconnecting, Some(reason)) = (self.state, self.reason) else {
            return Farewell::default();
        };
        self.state = State::Draining;
        let told = self.was_live && reason.is_announced();
        Farewell {
            await_settled: self.vouched,
            send_logout: told.then(|| reason.logout_reason()),
            send_disconnect: self.accepted && reason.has_peer(),
        }
    }

    /// The last work request has completed. No effect before tear-down has begun.
    pub(crate) fn drained(&mut self) {
        if self.state == State::Draining {
            self.state = State::Disconnected;
        }
    }

    /// Begins to close the channel unless that was done before.
    fn close(&mut self, reason: CloseReason) -> Actions {
        if self.state >= State::Disconnecting {
            return Actions::NONE;
        }
        let held = self.state == State::Connecting;
        self.was_live = self.state == State::Live;
        self.state = State::Disconnecting;
        self.reason = Some(reason);
        Actions {
            release_held_ius: held,
            start_teardown: Some(reason),
        }
    }
}
