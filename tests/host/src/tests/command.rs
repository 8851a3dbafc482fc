// SPDX-License-Identifier: GPL-2.0
//! Tests of the command machine: usual lives, and every short sequence of possible events.

use crate::srp::machine::command::*;

/// An event or a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Event(Event),
    Fact(Fact),
}

impl From<Event> for Step {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

impl From<Fact> for Step {
    fn from(fact: Fact) -> Self {
        Self::Fact(fact)
    }
}

pub(super) const STEPS: [Step; 15] = [
    Step::Fact(Fact::Start),
    Step::Fact(Fact::StartMgmt),
    Step::Fact(Fact::Refused),
    Step::Fact(Fact::PostFailed),
    Step::Fact(Fact::Aborted),
    Step::Event(Event::StartTable),
    Step::Event(Event::RdyToXfer),
    Step::Event(Event::HasData),
    Step::Event(Event::DataArrived { ok: true }),
    Step::Event(Event::DataArrived { ok: false }),
    Step::Event(Event::XmitResponse),
    Step::Event(Event::XmitUnsignaled),
    Step::Event(Event::SendDone { ok: true }),
    Step::Event(Event::SendDone { ok: false }),
    Step::Event(Event::Freed),
];

/// Takes a step. Returns what the driver has to do; facts ask for nothing.
pub(super) fn take(cmd: &mut Command, step: Step) -> Result<Option<Action>, Violation<Step>> {
    let wrong = |state, event| Violation { state, event };
    match step {
        Step::Event(event) => {
            let action = cmd.handle(event);
            action.map(Some).map_err(|v| wrong(v.state, v.event.into()))
        }
        Step::Fact(fact) => {
            let noted = cmd.note(fact);
            noted
                .map(|()| None)
                .map_err(|v| wrong(v.state, v.event.into()))
        }
    }
}

/// Makes a list of steps out of events and facts.
macro_rules! steps {
    ($($step:expr),* $(,)?) => {
        &[$(Step::from($step)),*]
    };
}

/// Takes steps with a new command. Returns the actions.
fn run(steps: &[Step]) -> Result<Vec<Action>, Violation<Step>> {
    let mut cmd = Command::new();
    let taken: Result<Vec<_>, _> = steps.iter().map(|&step| take(&mut cmd, step)).collect();
    Ok(taken?.into_iter().flatten().collect())
}

#[test]
fn read() {
    assert_eq!(
        run(steps![
            Fact::Start,
            Event::XmitResponse,
            Event::SendDone { ok: true },
            Event::Freed,
        ]),
        Ok(vec![
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
        run(steps![
            Fact::Start,
            Event::RdyToXfer,
            Event::DataArrived { ok: true },
            Event::XmitResponse,
            Event::SendDone { ok: true },
            Event::Freed,
        ]),
        Ok(vec![
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

/// A response that does not complete ends a command at once; one that was aborted has none, and a
/// task management request none of that kind.
#[test]
fn unsignaled() {
    let recycle = Action::Recycle {
        return_credit: false,
    };
    assert_eq!(
        run(steps![Fact::Start, Event::XmitUnsignaled, Event::Freed]),
        Ok(vec![Action::SendResponse, recycle])
    );
    assert_eq!(
        run(steps![
            Fact::Start,
            Fact::Aborted,
            Event::XmitUnsignaled,
            Event::Freed,
        ]),
        Ok(vec![Action::SkipResponse, recycle])
    );
    for start in [Fact::StartMgmt, Fact::Start] {
        let mut cmd = Command::new();
        assert_eq!(cmd.note(start), Ok(()));
        if start == Fact::Start {
            // Of the target's own response the engine is not told.
            assert_eq!(cmd.note(Fact::Refused), Ok(()));
        }
        assert!(cmd.handle(Event::XmitUnsignaled).is_err());
    }
}

#[test]
fn task_management() {
    let mut cmd = Command::new();
    assert_eq!(cmd.note(Fact::StartMgmt), Ok(()));
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
        run(steps![
            Fact::StartMgmt,
            Fact::Aborted,
            Event::Freed,
            Event::XmitResponse,
            Event::SendDone { ok: true },
        ]),
        Ok(vec![
            Action::Answer,
            Action::SendResponse,
            Action::Recycle {
                return_credit: false
            },
        ])
    );
    // Commands are not: that they end silently is what an abort is for.
    assert_eq!(
        run(steps![Fact::Start, Fact::Aborted, Event::Freed]),
        Ok(vec![Action::Recycle {
            return_credit: true
        }])
    );
}

#[test]
fn fetch_fails() {
    assert_eq!(
        run(steps![
            Fact::Start,
            Event::RdyToXfer,
            Event::DataArrived { ok: false },
            Event::XmitResponse,
            Event::SendDone { ok: false },
        ]),
        Ok(vec![
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
        run(steps![
            Fact::Start,
            Fact::Aborted,
            Event::XmitResponse,
            Event::Freed,
        ]),
        Ok(vec![
            Action::SkipResponse,
            Action::Recycle {
                return_credit: false
            },
        ])
    );
    assert_eq!(
        run(steps![Fact::Start, Fact::Aborted, Event::Freed]),
        Ok(vec![Action::Recycle {
            return_credit: true
        }])
    );
    // While data is being fetched, the completion has to be awaited.
    let mut cmd = Command::new();
    assert_eq!(cmd.note(Fact::Start), Ok(()));
    let _ = cmd.handle(Event::RdyToXfer);
    assert_eq!(cmd.note(Fact::Aborted), Ok(()));
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
        run(steps![
            Fact::Start,
            Event::XmitResponse,
            Fact::Aborted,
            Event::SendDone { ok: true },
            Event::Freed,
        ]),
        Ok(vec![
            Action::SendResponse,
            Action::Complete { ok: true },
            Action::Recycle {
                return_credit: false
            },
        ])
    );
}

#[test]
fn posting_fails() {
    let mut cmd = Command::new();
    assert_eq!(cmd.note(Fact::Start), Ok(()));
    assert_eq!(cmd.handle(Event::RdyToXfer), Ok(Action::Fetch));
    assert_eq!(cmd.note(Fact::PostFailed), Ok(()));
    assert_eq!(cmd.state(), State::New);
    // Again, and this time it works.
    assert_eq!(cmd.handle(Event::RdyToXfer), Ok(Action::Fetch));
    let _ = cmd.handle(Event::DataArrived { ok: true });
    assert_eq!(cmd.handle(Event::XmitResponse), Ok(Action::SendResponse));
    assert!(!cmd.holds_credit());
    assert_eq!(cmd.note(Fact::PostFailed), Ok(()));
    assert_eq!(cmd.state(), State::Executing);
    // The driver has made the credits returnable that the response would have carried.
    assert!(!cmd.holds_credit());
    assert_eq!(
        cmd.handle(Event::Freed),
        Ok(Action::Recycle {
            return_credit: false
        })
    );
}

/// The table comes first; the engine hears of the command afterwards.
#[test]
fn external_table() {
    assert_eq!(
        run(steps![Event::StartTable, Event::DataArrived { ok: true }]),
        Ok(vec![Action::FetchTable, Action::Submit])
    );
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
    let fails = steps![
        Event::StartTable,
        Event::DataArrived { ok: false },
        Event::Freed
    ];
    let aborted = steps![
        Event::StartTable,
        Fact::Aborted,
        Event::DataArrived { ok: true },
        Event::Freed
    ];
    for actions in [run(fails), run(aborted)] {
        assert_eq!(
            actions,
            Ok(vec![Action::FetchTable, Action::Abandon, freed])
        );
    }
    // Not posted: it can be answered.
    assert_eq!(
        run(steps![
            Event::StartTable,
            Fact::PostFailed,
            Fact::Refused,
            Event::XmitResponse,
            Event::SendDone { ok: true },
        ]),
        Ok(vec![
            Action::FetchTable,
            Action::SendResponse,
            Action::Recycle {
                return_credit: false
            },
        ])
    );
}

/// A task management request is one until its end, a SCSI command never.
#[test]
fn kinds() {
    for (start, mgmt) in [(Fact::Start, false), (Fact::StartMgmt, true)] {
        let mut cmd = Command::new();
        assert!(!cmd.is_mgmt());
        assert_eq!(cmd.note(start), Ok(()));
        assert_eq!(cmd.is_mgmt(), mgmt);
        assert_eq!(cmd.handle(Event::XmitResponse), Ok(Action::SendResponse));
        let _ = cmd.handle(Event::SendDone { ok: true });
        assert_eq!((cmd.state(), cmd.is_mgmt()), (State::Done, mgmt));
        let _ = cmd.handle(Event::Freed);
        assert!(!cmd.is_mgmt());
    }
}

/// Immediate data is there when the engine asks for it.
#[test]
fn immediate_data() {
    assert_eq!(
        run(steps![Fact::Start, Event::HasData, Event::XmitResponse]),
        Ok(vec![Action::Execute, Action::SendResponse])
    );
}

/// The engine does not hear of the end of what it never had.
#[test]
fn refused() {
    for start in [Fact::Start, Fact::StartMgmt] {
        let mut cmd = Command::new();
        assert_eq!(cmd.note(start), Ok(()));
        assert!(cmd.is_at_engine());
        assert_eq!(cmd.note(Fact::Refused), Ok(()));
        assert!(!cmd.is_at_engine());
        let mut unsent = cmd;
        assert_eq!(cmd.handle(Event::XmitResponse), Ok(Action::SendResponse));
        assert_eq!(
            cmd.handle(Event::SendDone { ok: false }),
            Ok(Action::Recycle {
                return_credit: false
            })
        );
        // No response could be sent.
        assert_eq!(
            unsent.handle(Event::Freed),
            Ok(Action::Recycle {
                return_credit: true
            })
        );
    }
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
    /// The target answers by itself.
    refused: bool,
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
    for step in STEPS {
        let mut next = cmd;
        let mut after = seen;
        let action = match take(&mut next, step) {
            Ok(action) => action,
            Err(violation) => {
                // An impossible event changes nothing.
                assert_eq!(violation.state, cmd.state());
                assert_eq!(violation.event, step);
                assert!(next == cmd);
                continue;
            }
        };
        match step {
            Step::Event(Event::DataArrived { .. }) => after.fetching -= 1,
            Step::Event(Event::SendDone { .. }) => after.responding -= 1,
            Step::Fact(Fact::PostFailed) if seen.fetching > 0 => after.fetching -= 1,
            // The credit stays returned: the driver makes it returnable.
            Step::Fact(Fact::PostFailed) => after.responding -= 1,
            Step::Fact(Fact::Aborted) => after.aborted |= seen.responding == 0,
            Step::Fact(Fact::Refused) => after.refused = true,
            _ => {}
        }
        let Some(action) = action else {
            steps += 1 + explore(next, after, depth - 1);
            continue;
        };
        let Step::Event(event) = step else {
            panic!("{step:?} asks for {action:?}");
        };
        match action {
            Action::Answer => {
                assert_eq!(event, Event::Freed);
                assert!(!seen.refused);
                after.refused = true;
                assert_eq!((cmd.state(), next.state()), (State::Mgmt, State::Mgmt));
                assert!(!next.is_aborted());
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
            Action::Execute => assert!(matches!(
                event,
                Event::DataArrived { ok: true } | Event::HasData
            )),
            Action::FailData => assert_eq!(event, Event::DataArrived { ok: false }),
            Action::SendResponse => {
                assert!(!seen.aborted, "response of an aborted command");
                if event == Event::XmitUnsignaled {
                    assert!(!seen.refused, "the engine does not know it");
                    after.completions += 1;
                } else {
                    after.responding += 1;
                }
                // After a response that was not posted the credit is returnable already.
                after.credits = 1;
            }
            Action::SkipResponse => {
                assert!(next.is_aborted());
                after.completions += 1;
                after.credits = 1;
            }
            Action::Complete { ok } => {
                assert_eq!(event, Event::SendDone { ok });
                assert!(!seen.refused, "the engine does not know it");
                after.completions += 1;
            }
            Action::Recycle { return_credit } => {
                match event {
                    Event::SendDone { .. } => assert!(seen.refused),
                    event => assert_eq!(event, Event::Freed),
                }
                assert!(after.fetching == 0 && after.responding == 0);
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
    let steps = explore(Command::new(), Seen::default(), 11);
    assert!(steps > 400_000, "{steps}");
}
