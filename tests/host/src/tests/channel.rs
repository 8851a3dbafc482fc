// SPDX-License-Identifier: GPL-2.0
//! Tests of the channel machine: usual lives, and every short sequence of events.

use crate::srp::machine::channel::*;
use crate::srp::wire::consts::TLogoutReason;

/// All that is done with the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Event(Event),
    Accept,
    /// An information unit arrives.
    Arrival,
    /// Tells the connection manager that the initiator has the connection; that works, or does not.
    Vouch(bool),
    BeginTeardown,
    Drained,
}

pub(super) const STEPS: [Step; 12] = [
    Step::Event(Event::Established),
    Step::Event(Event::PeerDisconnected),
    Step::Event(Event::PeerRejected),
    Step::Event(Event::ConnectFailed),
    Step::Event(Event::Close(CloseReason::Disabled)),
    Step::Event(Event::Close(CloseReason::QpError)),
    Step::Accept,
    Step::Arrival,
    Step::Vouch(true),
    Step::Vouch(false),
    Step::BeginTeardown,
    Step::Drained,
];

/// Takes a step. Returns what the driver has to do.
pub(super) fn take(ch: &mut Channel, step: Step) -> (Actions, Farewell) {
    match step {
        Step::Event(event) => return (ch.handle(event), Farewell::default()),
        Step::Accept => ch.accept(),
        Step::Arrival => {
            let _ = ch.iu_arrives();
        }
        Step::Vouch(ok) => {
            if ch.vouch() && !ok {
                ch.vouch_failed();
            }
        }
        Step::BeginTeardown => return (Actions::NONE, ch.begin_teardown()),
        Step::Drained => ch.drained(),
    }
    (Actions::NONE, Farewell::default())
}

fn teardown(reason: CloseReason) -> Actions {
    Actions {
        start_teardown: Some(reason),
    }
}

const NOTHING: Farewell = Farewell {
    await_settled: false,
    send_logout: None,
    send_disconnect: false,
};
const DISCONNECT: Farewell = Farewell {
    send_disconnect: true,
    ..NOTHING
};

/// A channel whose login was answered.
fn accepted() -> Channel {
    let mut ch = Channel::new(true);
    ch.accept();
    ch
}

#[test]
fn usual_life() {
    let mut ch = accepted();
    assert_eq!(ch.state(), State::Connecting);
    assert_eq!(ch.handle(Event::Established), Actions::NONE);
    assert_eq!(ch.iu_disposition(), Disposition::Process);
    // The connection manager may report it twice.
    assert_eq!(ch.handle(Event::Established), Actions::NONE);
    assert_eq!(
        ch.handle(Event::Close(CloseReason::Logout)),
        teardown(CloseReason::Logout)
    );
    assert_eq!(ch.iu_disposition(), Disposition::Discard);
    // The initiator answers the disconnect request.
    assert_eq!(ch.handle(Event::PeerDisconnected), Actions::NONE);
    ch.drained();
    assert_eq!(ch.state(), State::Disconnecting);
    assert_eq!(ch.begin_teardown(), DISCONNECT);
    assert_eq!(ch.state(), State::Draining);
    assert_eq!(ch.begin_teardown(), NOTHING);
    ch.drained();
    assert_eq!(ch.state(), State::Disconnected);
    assert_eq!(ch.close_reason(), Some(CloseReason::Logout));
}

#[test]
fn initiator_disconnects_first() {
    let mut ch = accepted();
    let _ = ch.handle(Event::Established);
    assert_eq!(
        ch.handle(Event::PeerDisconnected),
        teardown(CloseReason::PeerDisconnected)
    );
    assert_eq!(ch.close_reason(), Some(CloseReason::PeerDisconnected));
    // A reason that comes later is not the reason.
    assert_eq!(
        ch.handle(Event::Close(CloseReason::Disabled)),
        Actions::NONE
    );
    assert_eq!(ch.close_reason(), Some(CloseReason::PeerDisconnected));
    // Its disconnect is answered.
    assert_eq!(ch.begin_teardown(), DISCONNECT);
}

/// A connection that never comes up is torn down.
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
        let mut ch = Channel::new(true);
        assert_eq!(ch.handle(event), teardown(reason));
        assert_eq!(ch.close_reason(), Some(reason));
        assert_eq!(ch.state(), State::Disconnecting);
        assert_eq!(ch.iu_disposition(), Disposition::Discard);
        // Too late.
        assert_eq!(ch.handle(Event::Established), Actions::NONE);
        assert_eq!(ch.state(), State::Disconnecting);
        let mut refused = ch;
        assert_eq!(refused.begin_teardown(), NOTHING);
        ch.accept();
        let expected = if send_disconnect { DISCONNECT } else { NOTHING };
        assert_eq!(ch.begin_teardown(), expected);
    }
}

/// The first information unit replaces the confirmation.
#[test]
fn first_unit() {
    let mut ch = accepted();
    assert_eq!(ch.iu_arrives(), Disposition::Process);
    assert_eq!(ch.state(), State::Live);
    // The confirmation comes late, or it does not come.
    assert_eq!(ch.handle(Event::Established), Actions::NONE);
    let mut unconfirmed = accepted();
    let _ = unconfirmed.iu_arrives();
    assert_eq!(
        unconfirmed.handle(Event::ConnectFailed),
        teardown(CloseReason::ConnectFailed)
    );
    assert_eq!(unconfirmed.iu_arrives(), Disposition::Discard);
}

/// The connection manager is told of a peer that has sent for a whole period without confirmation.
#[test]
fn late_confirmation() {
    let mut ch = accepted();
    assert!(!ch.confirmation_is_late());
    // One that says nothing is not vouched for.
    assert!(!ch.confirmation_is_late());
    let _ = ch.iu_arrives();
    assert!(!ch.confirmation_is_late());
    assert!(ch.confirmation_is_late());
    let _ = ch.handle(Event::Established);
    assert!(!ch.confirmation_is_late());
    assert!(!ch.confirmation_is_late());
}

/// Tear-down waits for the connection manager's word if that was told of the connection.
#[test]
fn vouched_for() {
    let farewell = |steps: &[Step]| {
        let mut ch = accepted();
        for &step in steps {
            let _ = take(&mut ch, step);
        }
        let _ = ch.handle(Event::Close(CloseReason::QpError));
        ch.begin_teardown()
    };
    let established = Step::Event(Event::Established);
    let waits = Farewell {
        await_settled: true,
        ..DISCONNECT
    };
    let unit = Step::Arrival;
    assert_eq!(farewell(&[]), DISCONNECT);
    assert_eq!(farewell(&[Step::Vouch(true)]), DISCONNECT);
    // In use, and not confirmed: the connection manager rejects it.
    assert_eq!(farewell(&[unit]), DISCONNECT);
    assert_eq!(farewell(&[unit, Step::Vouch(true)]), waits);
    assert_eq!(farewell(&[unit, Step::Vouch(false)]), DISCONNECT);
    assert_eq!(farewell(&[unit, Step::Vouch(true), established]), waits);
    assert_eq!(farewell(&[unit, established]), DISCONNECT);
    // It is told once, although the confirmation is still to come.
    let twice = [unit, Step::Vouch(true), Step::Vouch(false)];
    assert_eq!(farewell(&twice), waits);
    // Too late.
    let late = [unit, established, Step::Vouch(true)];
    assert_eq!(farewell(&late), DISCONNECT);
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
    assert_eq!(reason(CloseReason::Disabled), TLogoutReason::NoReason);
}

/// How often each action was asked for.
#[derive(Clone, Copy, Default)]
struct Counts {
    teardown: u32,
    logout: u32,
    disconnect: u32,
}

/// Checks the invariants on every continuation of a history; returns the number of steps taken.
fn explore(ch: Channel, counts: Counts, was_accepted: bool, depth: u32) -> u64 {
    // What the counters must be follows from the state alone.
    let closed = ch.state() >= State::Disconnecting;
    assert_eq!(counts.teardown, u32::from(closed));
    let begun = u32::from(ch.state() >= State::Draining);
    assert!(counts.disconnect <= begun && counts.logout <= begun);
    assert_eq!(ch.close_reason().is_some(), closed);

    if depth == 0 {
        return 0;
    }
    let mut steps = 0;
    for step in STEPS {
        let mut next = ch;
        let (actions, farewell) = take(&mut next, step);

        // Only forward, and never past an event that has to be reported.
        assert!(next.state() >= ch.state());
        assert!(next.state() <= State::Disconnecting || ch.state() >= State::Disconnecting);
        if next.state() == State::Draining && ch.state() != State::Draining {
            assert_eq!(ch.state(), State::Disconnecting);
            assert_eq!(step, Step::BeginTeardown);
        }
        if next.state() == State::Disconnected && ch.state() != State::Disconnected {
            assert_eq!((ch.state(), step), (State::Draining, Step::Drained));
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
            assert_eq!((actions, farewell), (Actions::NONE, NOTHING));
        }
        // An initiator that was never answered hears nothing.
        let was_accepted = was_accepted || step == Step::Accept;
        assert!(was_accepted || !farewell.send_disconnect);
        if let Some(reason) = actions.start_teardown {
            assert_eq!(next.close_reason(), Some(reason));
        }

        let counts = Counts {
            teardown: counts.teardown + u32::from(actions.start_teardown.is_some()),
            logout: counts.logout + u32::from(farewell.send_logout.is_some()),
            disconnect: counts.disconnect + u32::from(farewell.send_disconnect),
        };
        steps += 1 + explore(next, counts, was_accepted, depth - 1);
    }
    steps
}

#[test]
fn every_order_of_events() {
    // 12 + 12^2 + ... + 12^6.
    let steps = explore(Channel::new(true), Counts::default(), false, 6);
    assert_eq!(steps, 3_257_436);
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
    ];
    let mut deaf = Channel::new(false);
    let _ = deaf.handle(Event::Established);
    let _ = deaf.handle(Event::Close(CloseReason::Disabled));
    assert_eq!(deaf.begin_teardown().send_logout, None, "not to this one");
    let logout_of = |live: bool, event: Event| {
        let mut channel = accepted();
        if live {
            let _ = channel.handle(Event::Established);
        }
        let _ = channel.handle(event);
        // Later reasons are consequences.
        let _ = channel.handle(Event::Close(CloseReason::QpError));
        channel.begin_teardown().send_logout
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
