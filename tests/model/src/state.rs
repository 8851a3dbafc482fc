// SPDX-License-Identifier: GPL-2.0
//! What the model consists of: one channel with its machines, and everything around it that can
//! act on it, as one value.
//!
//! The machines are those of `src/srp`. The rest stands for what the driver keeps next to them
//! (`Inner` of `src/channel.rs` and `src/command.rs`, `Accounts` of `src/link/flow.rs`), for the places in its code where another
//! thread may come in between (the `*Pc` types), and for the world. Nothing is decided here.

use crate::srp::machine::{
    channel::Channel,
    command::Command,
    credit::Credits,
    notice::Notice,
    sendq::SendQueue, //
};

/// Commands of the largest channel.
pub(crate) const MAX: usize = 4;
/// Sends that are posted at a time: one per command, and those of the target's own accord.
const SENDS: usize = MAX + 3;

/// A queue of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fifo<T, const N: usize> {
    items: [Option<T>; N],
    len: u8,
}

impl<T: Copy, const N: usize> Fifo<T, N> {
    pub(crate) const fn new() -> Self {
        Self {
            items: [None; N],
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, item: T) {
        self.items[self.len()] = Some(item);
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let first = self.items.first_mut()?.take()?;
        self.items.rotate_left(1);
        self.len -= 1;
        Some(first)
    }

    pub(crate) fn first(&self) -> Option<T> {
        self.items.first().copied().flatten()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.items.iter().flatten().copied()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> + '_ {
        self.items.iter_mut().flatten()
    }
}

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A command that fetches data by RDMA READ.
    Write,
    /// A command that brings its data along.
    Immediate,
    /// A command that sends data by RDMA WRITE.
    Read,
    /// A command without data.
    Plain,
    /// A task management request.
    Mgmt,
    /// A command that fetches its descriptor table, then its data.
    Table,
    /// A request with invalid fields, answered by the target itself.
    Invalid,
    /// A logout.
    Logout,
    /// Bytes that are no request.
    Garbage,
    /// The answer to a credit request.
    CreditRsp,
    /// The answer to an asynchronous event request.
    EventRsp,
}

impl Kind {
    /// As `Iu::consumes_credit()` says.
    pub(crate) fn consumes_credit(self) -> bool {
        !matches!(self, Self::Garbage | Self::CreditRsp | Self::EventRsp)
    }
}

/// Where a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// In the pool of its channel.
    Pool,
    /// Taken out of the pool; somebody is about to start it, or to put it back.
    Hand,
    /// Started.
    Use,
    /// Freed by tear-down.
    Freed,
}

/// What the engine thinks of a command, in the words of the contract in `src/engine.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Engine {
    /// It does not know it.
    None,
    /// It was accepted.
    Has,
    /// It asked for data; `rx_data` is owed.
    Data,
    /// It has the data, or knows that there is none.
    Ready,
    /// It asked for the response; `tgt_cmd_done` is owed.
    Answering,
    /// It is done with it and about to give it back.
    Done,
}

/// Where the thread is that is busy with a command outside completions: in `rdy_to_xfer` (Fetch),
/// in `send` (Send) or in `on_free` (Free). Each value is a place at which no lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pc {
    Idle,
    /// Slots are reserved; the machine is to be told.
    FetchReserved,
    /// The READ is to be posted.
    FetchStarted,
    /// It was not posted; the machine is to be told.
    FetchFailed,
    /// The slots are to be given back.
    FetchUndone,
    /// The channel is to be closed.
    FetchReleased,
    /// The table's READ: slots are to be reserved.
    TableStart,
    /// It is to be posted.
    TableReserved,
    /// It was not; the machine is to be told.
    TableFailed,
    /// The slots are to be given back, and the channel closed.
    TableUndone,
    /// The target itself answers: `send` is to be called.
    Answer,
    /// A slot is reserved and credits are taken; the machine is to be told.
    SendReserved,
    /// The receive buffer is to be posted.
    SendStarted {
        /// The machine wants the response to be sent.
        wanted: bool,
    },
    /// The response is to be posted, if it is wanted.
    SendReposted {
        wanted: bool,
    },
    /// It was not posted; the machine is to be told.
    SendFailed,
    /// The channel is to be closed.
    SendUndone,
    /// The credits are to be taken back.
    SendClosed,
    /// The slots are to be given back.
    SendReleasing,
    /// The machine says free; the receive buffer is to be posted.
    Freeing {
        credit: bool,
    },
    /// The credit is to be made returnable.
    FreedBuffer {
        credit: bool,
    },
    /// The command is to go back to the pool.
    FreedCredit,
}

/// A command, with what belongs to it in the engine and in the queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cmd {
    pub(crate) machine: Command,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// It has the receive buffer of its request.
    pub(crate) rx: bool,
    pub(crate) rdma_slots: u8,
    pub(crate) at_engine: bool,
    pub(crate) engine: Engine,
    pub(crate) pc: Pc,
    /// Its answer is given inside `process`: the `Busy` of that is still held.
    pub(crate) busy: bool,
    /// Credits the running `send` has taken.
    pub(crate) delta: u8,
    /// Slots of the send queue that are reserved for it: what `release_sends` has to give back.
    pub(crate) owes: (u8, u8),
    /// The peer has got its response.
    pub(crate) answered: bool,
    /// The engine aborted it before its response was begun.
    pub(crate) aborted: bool,
}

/// What is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// READs of a command.
    Read(u8),
    /// WRITEs and response of a command.
    Response(u8),
    /// A credit request.
    Credit,
    /// An asynchronous event request.
    Event,
    /// The target's logout.
    Logout,
}

impl What {
    /// The command it refers to.
    pub(crate) fn cmd(self) -> Option<u8> {
        match self {
            Self::Read(cmd) | Self::Response(cmd) => Some(cmd),
            Self::Credit | Self::Event | Self::Logout => None,
        }
    }
}

/// A posted send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wr {
    pub(crate) what: What,
    pub(crate) delta: u8,
    /// How it ended, if it has.
    pub(crate) status: Option<bool>,
}

/// Where the completion handler is. There is one: a completion queue is polled by one work item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CqPc {
    Idle,
    /// `incoming` took a command; `process` is next.
    Process(u8),
    /// A SEND completed; slots are to be released.
    Sent {
        cmd: u8,
        slots: u8,
    },
    /// The engine is to be told.
    Tell(u8),
    /// A READ completed; slots are to be released.
    Read {
        cmd: u8,
        slots: u8,
        ok: bool,
    },
    /// The engine is to be told.
    Data {
        cmd: u8,
        ok: bool,
    },
    /// A descriptor table is here, or not; slots are to be released.
    Table {
        cmd: u8,
        slots: u8,
        ok: bool,
    },
    /// The command is to be handed to the engine, or abandoned; this thread is busy.
    Submit {
        cmd: u8,
        ok: bool,
    },
}

/// Who is inside `run_held`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// The completion handler.
    Cq,
    /// The handler of the connection manager.
    Cm,
    /// The worker that processes what came before the connection was confirmed.
    Early,
    /// A thread of the engine, or one that answers for it.
    Engine,
    /// Who closes the channel: configuration, reaper, another login.
    Closer,
}

/// The task that processes what was held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Drainer {
    pub(crate) who: Who,
    /// It is about to process an information unit with this command.
    pub(crate) with: Option<u8>,
}

/// How far the login handler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Login {
    /// The channel can be found; the connection is to be accepted.
    BringUp,
    /// It was accepted.
    Accepted,
    /// The handler has let go of the channel.
    Done,
}

/// How far tear-down is (`src/channel/teardown.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Teardown {
    None,
    /// Who closes the channel lets go of what was held first.
    Pending,
    Queued,
    /// The machine knows.
    Begun,
    /// The session is stopped.
    Stopped,
    /// The logout was sent, if there is somebody to send it to; waiting for it, for a limited time.
    LoggedOut,
    /// The disconnect was sent if there is somebody to send it to; the queue pair drains.
    Draining,
    /// Drained; waiting for `quiet`.
    Drained,
    /// Waiting for the engine.
    Quiet,
    /// The session is closed; waiting for the peer, for a limited time.
    SessionClosed,
    /// The connection is dropped.
    CmDropped,
    /// The commands are freed.
    PoolFreed,
    /// The queue pair is destroyed and the channel forgotten.
    Unlinked,
    /// It is over.
    End,
}

/// The peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// Its end of the connection works.
    pub(crate) up: bool,
    /// Credits as it counts them. Below zero if it sent requests without.
    pub(crate) credits: i8,
    /// It broke the protocol.
    pub(crate) rogue: bool,
    /// It has a credit request, an asynchronous event request to answer.
    pub(crate) owes: [bool; 2],
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    // The channel, `Inner` of src/channel.rs.
    pub(crate) chan: Channel,
    pub(crate) credits: Credits,
    pub(crate) sendq: SendQueue,
    pub(crate) held: Fifo<Kind, MAX>,
    pub(crate) drainer: Option<Drainer>,
    /// The worker for what came early is queued, or at work.
    pub(crate) early: bool,
    pub(crate) busy: u8,
    pub(crate) accepted: bool,
    pub(crate) quiet: bool,
    pub(crate) cmds: [Cmd; MAX],
    /// Requests of the target: for credits, about events.
    pub(crate) notices: [Notice; 2],
    /// Those that somebody is about to post, with the credits they carry.
    pub(crate) posting: [Option<u8>; 2],

    // Threads.
    pub(crate) cq: CqPc,
    pub(crate) login: Login,
    pub(crate) teardown: Teardown,
    pub(crate) stopped: bool,

    // The queue pair.
    pub(crate) qp_error: bool,
    pub(crate) gate_closed: bool,
    pub(crate) posted: u8,
    pub(crate) arrived: Fifo<Kind, MAX>,
    pub(crate) sends: Fifo<Wr, SENDS>,

    // The connection.
    pub(crate) cm: bool,
    pub(crate) rtu: bool,
    pub(crate) notified: bool,
    /// The reaper is in the middle of `Channel::confirm`.
    pub(crate) confirming: bool,
    /// The connection manager is about to report that the peer is gone.
    pub(crate) disconnect_pending: bool,
    /// The channel was closed for a reason at which the peer is told (set when it closes).
    pub(crate) tell_peer: bool,
    /// It was closed for a reason at which the target logs out.
    pub(crate) logout: bool,
    pub(crate) peer: Peer,

    /// Posts that may still fail, and work requests.
    pub(crate) faults: u8,
    /// Tear-down was asked for.
    pub(crate) teardowns: u8,
    /// A rule was broken on the way here.
    pub(crate) broken: Option<crate::rules::Rule>,
}
