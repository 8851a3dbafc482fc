// SPDX-License-Identifier: GPL-2.0
//! Tests of the channel machine: usual lives, and every short sequence of events.

use crate::srp::machine::channel::*;
use crate::srp::wire::consts::TLogoutReason;

pub(super) const EVENTS: [Event; 9] = [
    Event::Established,
    Event::PeerDisconnected,
    Event::PeerRejected,
    Event::ConnectFailed,
    Event::Close(CloseReason::Disabled),
    Event::Close(CloseReason::QpError),
    Event::TeardownBegun { accepted: true },
    Event::TeardownBegun { accepted: false },
    Event::Drained,
];

const RELEASE: Actions = Actions {
    release_held_ius: true,
    ..Actions::NONE
};
const TEARDOWN: Actions = Actions {
    start_teardown: true,
    ..Actions::NONE
};

const BEGUN: Event = Event::TeardownBegun { accepted: true };
const DISCONNECT: Actions = Actions {
    send_disconnect: true,
    ..Actions::NONE
};

#[test]
fn usual_life() {
    let mut ch = Channel::new();
    assert_eq!(ch.state(), State::Connecting);
    assert_eq!(ch.iu_disposition(), Disposition::Hold);
    assert_eq!(ch.handle(Event::Established), RELEASE);
    assert_eq!(ch.iu_disposition(), Disposition::Process);
    // The connection manager may report it twice.
    assert_eq!(ch.handle(Event::Established), Actions::NONE);
    assert_eq!(ch.handle(Event::Close(CloseReason::Logout)), TEARDOWN);
    assert_eq!(ch.iu_disposition(), Disposition::Discard);
    // The initiator answers the disconnect request.
    assert_eq!(ch.handle(Event::PeerDisconnected), Actions::NONE);
    assert_eq!(ch.handle(BEGUN), DISCONNECT);
    assert_eq!(ch.state(), State::Draining);
    assert_eq!(ch.handle(BEGUN), Actions::NONE);
    assert_eq!(ch.handle(Event::Drained), Actions::NONE);
    assert_eq!(ch.state(), State::Disconnected);
    assert_eq!(ch.close_reason(), Some(CloseReason::Logout));
}

#[test]
fn initiator_disconnects_first() {
    let mut ch = Channel::new();
    let _ = ch.handle(Event::Established);
    assert_eq!(ch.handle(Event::PeerDisconnected), TEARDOWN);
    assert_eq!(ch.close_reason(), Some(CloseReason::PeerDisconnected));
    // A reason that comes later is not the reason.
    assert_eq!(
        ch.handle(Event::Close(CloseReason::Disabled)),
        Actions::NONE
    );
    assert_eq!(ch.close_reason(), Some(CloseReason::PeerDisconnected));
    // Its disconnect is answered.
    assert_eq!(ch.handle(BEGUN), DISCONNECT);
}

/// A connection that never comes up is torn down, and what was held is let go.
#[test]
fn connection_fails() {
    for (event, reason, send_disconnect) in [
        (Event::PeerRejected, CloseReason::PeerRejected, false),
        (Event::ConnectFailed, CloseReason::ConnectFailed, false),
        (Event::PeerDisconnected, CloseReason::PeerDisconnected, true),
        (
            Event::Close(CloseReason::ConnectTimeout),
            CloseReason::ConnectTimeout,
            true,
        ),
    ] {
        let mut ch = Channel::new();
        assert_eq!(
            ch.handle(event),
            Actions {
                release_held_ius: true,
                ..TEARDOWN
            }
        );
        assert_eq!(ch.close_reason(), Some(reason));
        assert_eq!(ch.state(), State::Disconnecting);
        assert_eq!(ch.iu_disposition(), Disposition::Discard);
        // Too late.
        assert_eq!(ch.handle(Event::Established), Actions::NONE);
        assert_eq!(ch.state(), State::Disconnecting);
        let mut refused = ch;
        let begun = Event::TeardownBegun { accepted: false };
        assert_eq!(refused.handle(begun), Actions::NONE);
        let expected = if send_disconnect {
            DISCONNECT
        } else {
            Actions::NONE
        };
        assert_eq!(ch.handle(BEGUN), expected);
    }
}

#[test]
fn names() {
    let name = |state: State| format!("{state}");
    assert_eq!(name(State::Connecting), "connecting");
    assert_eq!(name(State::Live), "live");
    assert_eq!(name(State::Disconnecting), "disconnecting");
    assert_eq!(name(State::Draining), "draining");
    assert_eq!(name(State::Disconnected), "disconnected");
    assert_eq!(format!("{}", CloseReason::QpError), "queue pair error");
}

#[test]
fn logout_reasons() {
    let reason = |r: CloseReason| r.logout_reason();
    assert_eq!(
        reason(CloseReason::Replaced),
        TLogoutReason::MultiChannelAction
    );
    assert_eq!(
        reason(CloseReason::ProtocolViolation),
        TLogoutReason::InvalidIuType
    );
    assert_eq!(reason(CloseReason::Unload), TLogoutReason::NoReason);
}

/// How often each action was asked for.
#[derive(Clone, Copy, Default)]
struct Counts {
    release: u32,
    teardown: u32,
    logout: u32,
    disconnect: u32,
}

/// Checks the invariants on every continuation of a history; returns the number of steps taken.
fn explore(ch: Channel, counts: Counts, depth: u32) -> u64 {
    // What the counters must be follows from the state alone.
    let left_connecting = ch.state() != State::Connecting;
    let closed = ch.state() >= State::Disconnecting;
    assert_eq!(counts.release, u32::from(left_connecting));
    assert_eq!(counts.teardown, u32::from(closed));
    let begun = u32::from(ch.state() >= State::Draining);
    assert!(counts.disconnect <= begun && counts.logout <= begun);
    assert_eq!(ch.close_reason().is_some(), closed);

    if depth == 0 {
        return 0;
    }
    let mut steps = 0;
    for event in EVENTS {
        let mut next = ch;
        let actions = next.handle(event);

        // Only forward, and never past an event that has to be reported.
        assert!(next.state() >= ch.state());
        assert!(next.state() <= State::Disconnecting || ch.state() >= State::Disconnecting);
        if next.state() == State::Draining && ch.state() != State::Draining {
            assert_eq!(ch.state(), State::Disconnecting);
            assert!(matches!(event, Event::TeardownBegun { .. }));
        }
        if next.state() == State::Disconnected && ch.state() != State::Disconnected {
            assert_eq!((ch.state(), event), (State::Draining, Event::Drained));
        }
        // The first reason stays.
        if ch.close_reason().is_some() {
            assert_eq!(next.close_reason(), ch.close_reason());
        }
        // An information unit is processed in one state only.
        assert_eq!(
            next.iu_disposition() == Disposition::Process,
            next.state() == State::Live
        );
        // A channel that stays where it is asks for nothing.
        if next.state() == ch.state() {
            assert_eq!(actions, Actions::NONE);
        }
        // An initiator that was never answered hears nothing.
        if event == (Event::TeardownBegun { accepted: false }) {
            assert!(!actions.send_disconnect);
        }

        let counts = Counts {
            release: counts.release + u32::from(actions.release_held_ius),
            teardown: counts.teardown + u32::from(actions.start_teardown),
            logout: counts.logout + u32::from(actions.send_logout.is_some()),
            disconnect: counts.disconnect + u32::from(actions.send_disconnect),
        };
        steps += 1 + explore(next, counts, depth - 1);
    }
    steps
}

#[test]
fn every_order_of_events() {
    // 9 + 9^2 + ... + 9^6.
    assert_eq!(explore(Channel::new(), Counts::default(), 6), 597_870);
}

/// Who hears a target logout: an initiator that is logged in and does not know yet.
#[test]
fn target_logout() {
    let announced = [
        (CloseReason::Disabled, TLogoutReason::NoReason),
        (CloseReason::AclRemoved, TLogoutReason::NoReason),
        (CloseReason::Replaced, TLogoutReason::MultiChannelAction),
        (CloseReason::DeviceRemoved, TLogoutReason::NoReason),
        (CloseReason::ProtocolViolation, TLogoutReason::InvalidIuType),
        (
            CloseReason::SpuriousResponse,
            TLogoutReason::SpuriousResponse,
        ),
        (CloseReason::Unload, TLogoutReason::NoReason),
    ];
    let logout_of = |live: bool, event: Event| {
        let mut channel = Channel::new();
        if live {
            assert_eq!(channel.handle(Event::Established).send_logout, None);
        }
        assert_eq!(channel.handle(event).send_logout, None);
        // Later reasons are consequences.
        let _ = channel.handle(Event::Close(CloseReason::QpError));
        channel.handle(BEGUN).send_logout
    };
    for (reason, logout) in announced {
        let event = Event::Close(reason);
        assert_eq!(logout_of(false, event), None, "not logged in yet");
        assert_eq!(logout_of(true, event), Some(logout));
    }
    for event in [
        Event::PeerDisconnected,
        Event::PeerRejected,
        Event::ConnectFailed,
        Event::Close(CloseReason::Logout),
        Event::Close(CloseReason::QpError),
        Event::Close(CloseReason::ConnectTimeout),
    ] {
        assert_eq!(logout_of(true, event), None, "{event:?}");
    }
}
