// SPDX-License-Identifier: GPL-2.0
//! State machine of one command or task management request.
//!
//! Three parties act on a command: the initiator, through completions; the SCSI engine, through
//! callbacks; and the driver, whose posts may fail. The machine makes sure that the engine is
//! notified of the end of a command exactly once, that the credit of the request is returned
//! exactly once, and that the memory is not reused while a work request refers to it.
//!
//! An input is either an [`Event`], for which the driver has to execute an [`Action`], or a
//! [`Fact`], for which it has to do nothing.
//!
//! ```text
//! Free ------> New ----------------> Responding -> Done -> Free
//!    |          ^ |  +-> Executing ------^
//!    |          | +-> Fetching -^
//!    +-> FetchingTable
//! Free -> Mgmt -> MgmtResponding -> Done -> Free
//! ```
//!
//! Not drawn: a response of the target itself ends in `Free`, a response that is skipped or does
//! not complete leads to `Done` at once, and a command may be freed without a response.
//!
//! A command whose descriptor table is in the memory of the initiator begins with fetching it; it
//! is submitted to the engine afterwards.
//!
//! Source: the command states of the in-tree `ib_srpt` driver.
//!
//! Not here: the work requests (the driver).

use core::fmt;

/// State of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Not in use.
    Free,
    /// The descriptor table of a SCSI command is being fetched from the initiator. Work requests
    /// are under way; the command was not submitted to the engine.
    FetchingTable,
    /// A SCSI command that the engine processes; no data has been fetched.
    New,
    /// Data is being fetched from the initiator. Work requests are under way.
    Fetching,
    /// The data has arrived or could not be fetched, and the engine was notified.
    Executing,
    /// Data and response are being sent. Work requests are under way.
    Responding,
    /// A task management request that the engine processes.
    Mgmt,
    /// The response to a task management request is being sent. A work request is under way.
    MgmtResponding,
    /// The engine was notified of the end; it has not released the command yet.
    Done,
}

impl State {
    /// Returns whether work requests may refer to the command.
    pub(crate) const fn on_wire(self) -> bool {
        match self {
            Self::FetchingTable | Self::Fetching | Self::Responding | Self::MgmtResponding => true,
            Self::Free | Self::New | Self::Executing | Self::Mgmt | Self::Done => false,
        }
    }
}

impl State {
    /// Returns whether this is a SCSI command whose response was not sent yet.
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

/// Event of a command: requires an [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A SCSI command arrived whose descriptor table has to be fetched.
    StartTable,
    /// The engine is ready for the data of the initiator.
    RdyToXfer,
    /// The engine is ready for the data of the initiator, which arrived with the request.
    HasData,
    /// The last work request that fetches data completed.
    DataArrived {
        /// All of them succeeded.
        ok: bool,
    },
    /// The engine requests the response, and data if any, to be sent.
    XmitResponse,
    /// The engine requests the response to be sent, without data and in a way that does not
    /// complete: nothing is under way afterwards.
    XmitUnsignaled,
    /// The send of the response completed.
    SendDone {
        /// It succeeded.
        ok: bool,
    },
    /// The engine released the command, or never received it, and no response is under way.
    Freed,
}

/// Fact of a command: requires no action now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A SCSI command arrived.
    Start,
    /// A task management request arrived.
    StartMgmt,
    /// The engine did not accept the request, or it is not submitted: the target sends the
    /// response.
    Refused,
    /// None of the work requests of the last transition could be posted.
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
    /// The table was fetched: submit the command to the engine, or answer it.
    Submit,
    /// The table could not be fetched, or the command was aborted: release the command, which was
    /// not submitted to the engine.
    Abandon,
    /// Post the work requests that fetch the data.
    Fetch,
    /// Notify the engine that the data has arrived. The engine may find the command aborted.
    Execute,
    /// Notify the engine that the data could not be fetched.
    FailData,
    /// Post the response. It carries the credit of the request. After [`Event::XmitUnsignaled`],
    /// notify the engine of the end, whether it could be posted or not.
    SendResponse,
    /// Send nothing, make the credit of the request returnable, and notify the engine, if it has
    /// the request, of the end.
    SkipResponse,
    /// Send a response to the task management request, which the engine has released without one,
    /// because another request aborted it or its own response could not be sent. The initiator
    /// waits for a response to each.
    Answer,
    /// Notify the engine of the end.
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

/// An [`Event`] or a [`Fact`] that is not possible in the state of the command: an error of the
/// driver or the engine. The command is unchanged.
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

/// State machine of one command.
///
/// # Invariants
///
/// `holds_credit` is false if and only if the credit of the request has been given to a response,
/// posted or not, or made returnable, or there is no request ([`State::Free`]). `undo` is the state
/// before the last transition if the state is one in which work requests are under way. `at_engine`
/// is false if the target sends the response itself, or there is no request. `mgmt` is true for a
/// task management request, from its arrival to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Command {
    state: State,
    undo: State,
    aborted: bool,
    holds_credit: bool,
    at_engine: bool,
    mgmt: bool,
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
            mgmt: false,
        }
    }

    /// Returns the state.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Returns whether the engine aborted the command.
    #[allow(dead_code, reason = "for the tests' invariants")]
    pub(crate) const fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Returns whether the credit of the request has not been returned yet.
    #[allow(dead_code, reason = "for the tests' invariants")]
    pub(crate) const fn holds_credit(&self) -> bool {
        self.holds_credit
    }

    /// Returns whether this is a task management request.
    pub(crate) const fn is_mgmt(&self) -> bool {
        self.mgmt
    }

    /// Returns whether the request was submitted to the engine or is about to be.
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
            (Event::XmitUnsignaled, State::New | State::Executing) if self.at_engine => {
                self.state = State::Done;
                self.holds_credit = false;
                Ok(if self.aborted {
                    Action::SkipResponse
                } else {
                    Action::SendResponse
                })
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

    /// Records a fact.
    ///
    /// # Errors
    ///
    /// [`Violation`] if it is not possible in this state.
    pub(crate) fn note(&mut self, fact: Fact) -> Result<(), Violation<Fact>> {
        match (fact, self.state) {
            (Fact::Start, State::Free) => self.start(State::New),
            (Fact::StartMgmt, State::Free) => self.start(State::Mgmt),
            (Fact::Refused, State::New | State::Mgmt) => self.at_engine = false,
            // The driver has made the credits returnable that the response would have carried, that
            // of the request among them.
            (Fact::PostFailed, state) if state.on_wire() => self.state = self.undo,
            // In the states with a response under way or sent, the flag has no effect. In all
            // others it takes effect when the response would have been sent.
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
            mgmt: matches!(state, State::Mgmt),
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
