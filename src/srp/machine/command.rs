// SPDX-License-Identifier: GPL-2.0
//! The life of one command or task management request.
//!
//! Three parties act on a command: the initiator, through completions; the SCSI engine, through
//! callbacks; and the driver, whose posts may fail. The machine makes sure that the engine is told
//! about the end of a command exactly once, that the credit of the request is returned exactly
//! once, and that the memory is not reused while a work request refers to it. Which work requests
//! these are is unknown here.
//!
//! What happens is either an [`Event`], to which the driver has to do what the [`Action`] says, or a
//! [`Fact`], to which it has to do nothing.
//!
//! ```text
//! Free ------> New ----------------> Responding -> Done -> Free
//!    |          ^ |  +-> Executing ------^
//!    |          | +-> Fetching -^
//!    +-> FetchingTable
//! Free -> Mgmt -> MgmtResponding -> Done -> Free
//! ```
//!
//! A command whose descriptor table is in the memory of the initiator begins with fetching that;
//! the engine hears of it afterwards.
//!
//! Source: the command states of the in-tree `ib_srpt` driver.

use core::fmt;

/// State of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Not in use.
    Free,
    /// The descriptor table of a SCSI command is being fetched from the initiator. Work requests
    /// are under way; the engine does not know the command.
    FetchingTable,
    /// A SCSI command the engine works on; no data has been fetched.
    New,
    /// Data is being fetched from the initiator. Work requests are under way.
    Fetching,
    /// The data was fetched, or fetching it failed, and the engine knows.
    Executing,
    /// Data and response are being sent. Work requests are under way.
    Responding,
    /// A task management request the engine works on.
    Mgmt,
    /// The response to a task management request is being sent. A work request is under way.
    MgmtResponding,
    /// The engine was told that it is over; it has not let go of the command yet.
    Done,
}

impl State {
    /// Says whether work requests may refer to the command.
    pub(crate) const fn on_wire(self) -> bool {
        match self {
            Self::FetchingTable | Self::Fetching | Self::Responding | Self::MgmtResponding => true,
            Self::Free | Self::New | Self::Executing | Self::Mgmt | Self::Done => false,
        }
    }
}

impl State {
    /// Says whether this is a task management request that was not answered yet.
    pub(crate) const fn is_mgmt(self) -> bool {
        matches!(self, Self::Mgmt | Self::MgmtResponding)
    }

    /// Says whether this is a SCSI command that was not answered yet.
    pub(crate) const fn is_task(self) -> bool {
        match self {
            Self::FetchingTable
            | Self::New
            | Self::Fetching
            | Self::Executing
            | Self::Responding => true,
            Self::Free | Self::Mgmt | Self::MgmtResponding | Self::Done => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Free => "free",
            Self::FetchingTable => "fetching-table",
            Self::New => "new",
            Self::Fetching => "fetching",
            Self::Executing => "executing",
            Self::Responding => "responding",
            Self::Mgmt => "mgmt",
            Self::MgmtResponding => "mgmt-responding",
            Self::Done => "done",
        })
    }
}

/// What happened to a command, and asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A SCSI command arrived whose descriptor table has to be fetched.
    StartTable,
    /// The engine is ready for the data of the initiator.
    RdyToXfer,
    /// The engine is ready for the data of the initiator, which has come with the request.
    HasData,
    /// The last work request that fetches data completed.
    DataArrived {
        /// All of them succeeded.
        ok: bool,
    },
    /// The engine wants the response, and data if any, to be sent.
    XmitResponse,
    /// The response completed.
    SendDone {
        /// It was sent.
        ok: bool,
    },
    /// The engine let go of the command, or never had it, and no response is under way.
    Freed,
}

/// What happened to a command, and asks for nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A SCSI command arrived.
    Start,
    /// A task management request arrived.
    StartMgmt,
    /// The engine did not take the request, or is not asked to: the target answers.
    Refused,
    /// The work requests of the last transition could not be posted, not even in part.
    PostFailed,
    /// The engine aborted the command; no response is to be sent.
    Aborted,
}

/// What the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the action has to be executed"]
pub(crate) enum Action {
    /// Post the work requests that fetch the descriptor table.
    FetchTable,
    /// The table is here: hand the command to the engine, or answer it.
    Submit,
    /// The table could not be fetched, or the command was aborted: let go of the command, which
    /// the engine does not know.
    Abandon,
    /// Post the work requests that fetch the data.
    Fetch,
    /// Tell the engine to go on: the data is here. It may find the command aborted.
    Execute,
    /// Tell the engine that the data could not be fetched.
    FailData,
    /// Post the response. The credit of the request goes with it.
    SendResponse,
    /// Send nothing, make the credit of the request returnable, and tell the engine that it is
    /// over.
    SkipResponse,
    /// Answer the task management request, which the engine has let go of without a response: it was
    /// aborted by another one, but the initiator waits for an answer to each.
    Answer,
    /// Tell the engine that it is over.
    Complete {
        /// The response was sent.
        ok: bool,
    },
    /// Reuse the memory of the command.
    Recycle {
        /// Make the credit of the request returnable: no response has carried it.
        return_credit: bool,
    },
}

/// An [`Event`] or a [`Fact`] that is not possible in the state of the command: an error of the driver
/// or the engine. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation<E> {
    /// State of the command.
    pub(crate) state: State,
    /// The event or fact.
    pub(crate) event: E,
}

impl<E: fmt::Debug> fmt::Display for Violation<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} while {}", self.event, self.state)
    }
}

/// The life of one command.
///
/// # Invariants
///
/// `holds_credit` is false if and only if the credit of the request has been given to a response or
/// made returnable, or there is no request ([`State::Free`]). `undo` is the state before the last
/// transition if the state is one in which work requests are under way. `at_engine` is false if the
/// target answers by itself, or there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Command {
    state: State,
    undo: State,
    aborted: bool,
    holds_credit: bool,
    at_engine: bool,
}

impl Command {
    /// Returns a command that is not in use.
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Free,
            undo: State::Free,
            aborted: false,
            holds_credit: false,
            at_engine: false,
        }
    }

    /// Returns the state.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Says whether the engine aborted the command.
    pub(crate) const fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Says whether the credit of the request is still to be returned.
    pub(crate) const fn holds_credit(&self) -> bool {
        self.holds_credit
    }

    /// Says whether the request is with the engine, or on its way there.
    pub(crate) const fn is_at_engine(&self) -> bool {
        self.at_engine
    }

    /// Handles an event.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the event is not possible in this state.
    pub(crate) fn handle(&mut self, event: Event) -> Result<Action, Violation<Event>> {
        match (event, self.state) {
            (Event::StartTable, State::Free) => {
                self.start(State::New);
                self.go_on_wire(State::FetchingTable);
                Ok(Action::FetchTable)
            }
            (Event::DataArrived { ok }, State::FetchingTable) => {
                self.state = State::New;
                Ok(if ok && !self.aborted {
                    Action::Submit
                } else {
                    Action::Abandon
                })
            }

            (Event::RdyToXfer, State::New) => {
                self.go_on_wire(State::Fetching);
                Ok(Action::Fetch)
            }
            (Event::HasData, State::New) => {
                self.state = State::Executing;
                Ok(Action::Execute)
            }
            (Event::DataArrived { ok }, State::Fetching) => {
                self.state = State::Executing;
                Ok(if ok {
                    Action::Execute
                } else {
                    Action::FailData
                })
            }

            (Event::XmitResponse, State::New | State::Executing | State::Mgmt) if self.aborted => {
                self.state = State::Done;
                self.holds_credit = false;
                Ok(Action::SkipResponse)
            }
            (Event::XmitResponse, State::New | State::Executing) => {
                self.go_on_wire(State::Responding);
                self.holds_credit = false;
                Ok(Action::SendResponse)
            }
            (Event::XmitResponse, State::Mgmt) => {
                self.go_on_wire(State::MgmtResponding);
                self.holds_credit = false;
                Ok(Action::SendResponse)
            }
            (Event::SendDone { ok }, State::Responding | State::MgmtResponding) => {
                if self.at_engine {
                    self.state = State::Done;
                    Ok(Action::Complete { ok })
                } else {
                    Ok(self.recycle())
                }
            }

            (Event::Freed, State::Mgmt) if self.at_engine => {
                self.aborted = false;
                self.at_engine = false;
                Ok(Action::Answer)
            }
            (Event::Freed, State::New | State::Executing | State::Mgmt | State::Done) => {
                Ok(self.recycle())
            }

            (_, state) => Err(Violation { state, event }),
        }
    }

    /// Takes note of a fact.
    ///
    /// # Errors
    ///
    /// [`Violation`] if it is not possible in this state.
    pub(crate) fn note(&mut self, fact: Fact) -> Result<(), Violation<Fact>> {
        match (fact, self.state) {
            (Fact::Start, State::Free) => self.start(State::New),
            (Fact::StartMgmt, State::Free) => self.start(State::Mgmt),
            (Fact::Refused, State::New | State::Mgmt) => self.at_engine = false,
            (Fact::PostFailed, state) if state.on_wire() => {
                self.state = self.undo;
                self.holds_credit = true;
            }
            // Too late for the response, which is under way or was sent: nothing to do. In all
            // other states the flag takes effect when the response would have been sent.
            (
                Fact::Aborted,
                State::FetchingTable
                | State::New
                | State::Fetching
                | State::Executing
                | State::Responding
                | State::Mgmt
                | State::MgmtResponding
                | State::Done,
            ) => self.aborted = true,

            (_, state) => return Err(Violation { state, event: fact }),
        }
        Ok(())
    }

    /// Begins the life of a request.
    fn start(&mut self, state: State) {
        *self = Self {
            state,
            holds_credit: true,
            at_engine: true,
            ..Self::new()
        };
    }

    /// Ends the life of a request.
    fn recycle(&mut self) -> Action {
        let return_credit = self.holds_credit;
        *self = Self::new();
        Action::Recycle { return_credit }
    }

    /// Enters a state in which work requests are under way.
    fn go_on_wire(&mut self, state: State) {
        self.undo = self.state;
        self.state = state;
    }
}
