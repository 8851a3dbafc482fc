// SPDX-License-Identifier: GPL-2.0
//! Tests of the command machine: usual lives, and every short sequence of possible events.

use crate::srp::machine::command::*;

pub(super) const EVENTS: [Event; 13] = [
    Event::Unanswered,
    Event::Start,
    Event::StartTable,
    Event::StartMgmt,
    Event::RdyToXfer,
    Event::DataArrived { ok: true },
    Event::DataArrived { ok: false },
    Event::XmitResponse,
    Event::SendDone { ok: true },
    Event::SendDone { ok: false },
    Event::PostFailed,
    Event::Aborted,
    Event::Freed,
];

/// Feeds events to a new command and returns the actions.
fn run(events: &[Event]) -> Result<Vec<Action>, Violation> {
    let mut cmd = Command::new();
    events.iter().map(|&event| cmd.handle(event)).collect()
}

#[test]
fn read() {
    assert_eq!(
        run(&[
            Event::Start,
            Event::XmitResponse,
            Event::SendDone { ok: true },
            Event::Freed,
        ]),
        Ok(vec![
            Action::None,
            Action::SendResponse,
            Action::Complete { ok: true },
            Action::Recycle {
                return_credit: false
            },
        ])
    );
}

#[test]
fn write() {
    assert_eq!(
        run(&[
            Event::Start,
            Event::RdyToXfer,
            Event::DataArrived { ok: true },
            Event::XmitResponse,
            Event::SendDone { ok: true },
            Event::Freed,
        ]),
        Ok(vec![
            Action::None,
            Action::Fetch,
            Action::Execute,
            Action::SendResponse,
            Action::Complete { ok: true },
            Action::Recycle {
                return_credit: false
            },
        ])
    );
}

#[test]
fn task_management() {
    let mut cmd = Command::new();
    assert_eq!(cmd.handle(Event::StartMgmt), Ok(Action::None));
    assert_eq!(cmd.state(), State::Mgmt);
    assert_eq!(cmd.handle(Event::XmitResponse), Ok(Action::SendResponse));
    assert_eq!(cmd.state(), State::MgmtResponding);
    assert_eq!(
        cmd.handle(Event::SendDone { ok: true }),
        Ok(Action::Complete { ok: true })
    );
    assert_eq!(cmd.state(), State::Done);
}

/// The engine drops a task management request because of another one: it is answered all the same.
#[test]
fn task_management_aborted() {
    assert_eq!(
        run(&[
            Event::StartMgmt,
            Event::Aborted,
            Event::Unanswered,
            Event::XmitResponse,
            Event::SendDone { ok: true },
            Event::Freed,
        ]),
        Ok(vec![
            Action::None,
            Action::None,
            Action::Answer,
            Action::SendResponse,
            Action::Complete { ok: true },
            Action::Recycle {
                return_credit: false
            },
        ])
    );
    // Commands are not: that they end silently is what an abort is for.
    assert_eq!(
        run(&[Event::Start, Event::Aborted, Event::Unanswered]).unwrap()[2],
        Action::None
    );
}

#[test]
fn fetch_fails() {
    assert_eq!(
        run(&[
            Event::Start,
            Event::RdyToXfer,
            Event::DataArrived { ok: false },
            Event::XmitResponse,
            Event::SendDone { ok: false },
        ]),
        Ok(vec![
            Action::None,
            Action::Fetch,
            Action::FailData,
            Action::SendResponse,
            Action::Complete { ok: false },
        ])
    );
}

/// The engine aborts a command and then either asks for the response all the same or lets go.
#[test]
fn aborted() {
    assert_eq!(
        run(&[
            Event::Start,
            Event::Aborted,
            Event::XmitResponse,
            Event::Freed
        ])
        .unwrap()[2..],
        [
            Action::SkipResponse,
            Action::Recycle {
                return_credit: false
            }
        ]
    );
    assert_eq!(
        run(&[Event::Start, Event::Aborted, Event::Freed]).unwrap()[2],
        Action::Recycle {
            return_credit: true
        }
    );
    // While data is being fetched, the completion has to be awaited.
    let mut cmd = Command::new();
    let _ = cmd.handle(Event::Start);
    let _ = cmd.handle(Event::RdyToXfer);
    assert_eq!(cmd.handle(Event::Aborted), Ok(Action::None));
    assert_eq!(
        cmd.handle(Event::Freed),
        Err(Violation {
            state: State::Fetching,
            event: Event::Freed
        })
    );
    assert_eq!(
        cmd.handle(Event::DataArrived { ok: true }),
        Ok(Action::Execute)
    );
    assert_eq!(cmd.handle(Event::XmitResponse), Ok(Action::SkipResponse));
}

/// An abort that comes after the response was posted changes nothing.
#[test]
fn aborted_too_late() {
    assert_eq!(
        run(&[
            Event::Start,
            Event::XmitResponse,
            Event::Aborted,
            Event::SendDone { ok: true },
            Event::Freed,
        ])
        .unwrap()[2..],
        [
            Action::None,
            Action::Complete { ok: true },
            Action::Recycle {
                return_credit: false
            }
        ]
    );
}

#[test]
fn posting_fails() {
    let mut cmd = Command::new();
    let _ = cmd.handle(Event::Start);
    assert_eq!(cmd.handle(Event::RdyToXfer), Ok(Action::Fetch));
    assert_eq!(cmd.handle(Event::PostFailed), Ok(Action::None));
    assert_eq!(cmd.state(), State::New);
    // Again, and this time it works.
    assert_eq!(cmd.handle(Event::RdyToXfer), Ok(Action::Fetch));
    let _ = cmd.handle(Event::DataArrived { ok: true });
    assert_eq!(cmd.handle(Event::XmitResponse), Ok(Action::SendResponse));
    assert!(!cmd.holds_credit());
    assert_eq!(cmd.handle(Event::PostFailed), Ok(Action::None));
    assert_eq!(cmd.state(), State::Executing);
    assert!(cmd.holds_credit());
    // Given up: the credit is not lost.
    assert_eq!(
        cmd.handle(Event::Freed),
        Ok(Action::Recycle {
            return_credit: true
        })
    );
}

/// The table comes first; the engine hears of the command afterwards.
#[test]
fn external_table() {
    let start = [Event::StartTable, Event::DataArrived { ok: true }];
    assert_eq!(run(&start), Ok(vec![Action::FetchTable, Action::Submit]));
    let mut cmd = Command::new();
    assert_eq!(cmd.handle(Event::StartTable), Ok(Action::FetchTable));
    assert!(cmd.state().on_wire() && cmd.holds_credit());
    let early = cmd.handle(Event::RdyToXfer);
    assert!(early.is_err(), "the engine does not know it yet");
    assert_eq!(
        cmd.handle(Event::DataArrived { ok: true }),
        Ok(Action::Submit)
    );
    assert_eq!(cmd.handle(Event::RdyToXfer), Ok(Action::Fetch));
}

#[test]
fn external_table_does_not_come() {
    let freed = Action::Recycle {
        return_credit: true,
    };
    for events in [
        &[Event::StartTable, Event::DataArrived { ok: false }][..],
        &[
            Event::StartTable,
            Event::Aborted,
            Event::DataArrived { ok: true },
        ],
    ] {
        let events = [events, &[Event::Freed]].concat();
        let actions = run(&events).unwrap();
        assert_eq!(actions[actions.len() - 2..], [Action::Abandon, freed]);
    }
    // Not posted: it can be answered.
    let actions = run(&[
        Event::StartTable,
        Event::PostFailed,
        Event::XmitResponse,
        Event::SendDone { ok: true },
    ]);
    assert_eq!(actions.unwrap()[2], Action::SendResponse);
}

#[test]
fn names() {
    let violation = Violation {
        state: State::Fetching,
        event: Event::SendDone { ok: true },
    };
    assert_eq!(
        violation.to_string(),
        "SendDone { ok: true } while fetching"
    );
    assert_eq!(State::MgmtResponding.to_string(), "mgmt-responding");
}

/// What the outside world has seen of a command since it was started.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The engine was told that it is over.
    completions: u32,
    /// The credit was given to a response or made returnable.
    credits: i32,
    /// Fetches under way.
    fetching: i32,
    /// Responses under way.
    responding: i32,
    /// The engine aborted the command when no response was under way.
    aborted: bool,
}

/// Checks the invariants on every possible continuation; returns the number of possible steps.
fn explore(cmd: Command, seen: Seen, depth: u32) -> u64 {
    assert!(seen.completions <= 1);
    assert!((0..=1).contains(&seen.credits));
    assert_eq!(seen.completions == 1, cmd.state() == State::Done);
    assert_eq!(
        seen.fetching,
        i32::from(matches!(
            cmd.state(),
            State::FetchingTable | State::Fetching
        ))
    );
    assert_eq!(
        seen.responding,
        i32::from(matches!(
            cmd.state(),
            State::Responding | State::MgmtResponding
        ))
    );
    assert_eq!(cmd.state().on_wire(), seen.fetching + seen.responding > 0);
    assert_eq!(
        cmd.holds_credit(),
        cmd.state() != State::Free && seen.credits == 0
    );

    if depth == 0 {
        return 0;
    }
    let mut steps = 0;
    for event in EVENTS {
        let mut next = cmd;
        let mut after = seen;
        let action = match next.handle(event) {
            Ok(action) => action,
            Err(violation) => {
                // An impossible event changes nothing.
                assert_eq!(violation.state, cmd.state());
                assert_eq!(violation.event, event);
                assert!(next == cmd);
                continue;
            }
        };
        match event {
            Event::DataArrived { .. } => after.fetching -= 1,
            Event::SendDone { .. } => after.responding -= 1,
            Event::PostFailed if seen.fetching > 0 => after.fetching -= 1,
            Event::PostFailed => {
                after.responding -= 1;
                after.credits -= 1;
            }
            Event::Aborted => after.aborted |= seen.responding == 0,
            _ => {}
        }
        match action {
            Action::None => assert!(matches!(
                event,
                Event::Start
                    | Event::StartMgmt
                    | Event::PostFailed
                    | Event::Aborted
                    | Event::Unanswered
            )),
            Action::Answer => {
                assert_eq!(event, Event::Unanswered);
                assert_eq!((cmd.state(), next.state()), (State::Mgmt, State::Mgmt));
                assert!(next.holds_credit() && !next.is_aborted());
                after.aborted = false;
            }
            Action::Fetch | Action::FetchTable => after.fetching += 1,
            Action::Submit => {
                assert_eq!(event, Event::DataArrived { ok: true });
                assert!(!seen.aborted, "an aborted command reaches the engine");
                assert_eq!(next.state(), State::New);
            }
            Action::Abandon => {
                assert!(seen.aborted || event == Event::DataArrived { ok: false });
                assert_eq!(next.state(), State::New);
            }
            Action::Execute => assert_eq!(event, Event::DataArrived { ok: true }),
            Action::FailData => assert_eq!(event, Event::DataArrived { ok: false }),
            Action::SendResponse => {
                assert!(!seen.aborted, "response of an aborted command");
                after.responding += 1;
                after.credits += 1;
            }
            Action::SkipResponse => {
                assert!(next.is_aborted());
                after.completions += 1;
                after.credits += 1;
            }
            Action::Complete { ok } => {
                assert_eq!(event, Event::SendDone { ok });
                after.completions += 1;
            }
            Action::Recycle { return_credit } => {
                assert_eq!(event, Event::Freed);
                assert!(seen.fetching == 0 && seen.responding == 0);
                after.credits += i32::from(return_credit);
                assert_eq!(after.credits, 1, "credit lost or returned twice");
                assert_eq!(next.state(), State::Free);
                assert!(!next.is_aborted());
                after = Seen::default();
            }
        }
        steps += 1 + explore(next, after, depth - 1);
    }
    steps
}

#[test]
fn every_order_of_events() {
    let steps = explore(Command::new(), Seen::default(), 12);
    assert!(steps > 400_000, "{steps}");
}
