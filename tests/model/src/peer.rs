// SPDX-License-Identifier: GPL-2.0
//! The peer: what it sends, byte by byte, and what it makes of what it gets.
//!
//! When it does so is in [`crate::threads`].

use std::cell::{Cell, RefCell};

use sched::Trace;

use crate::{
    conn::Conn,
    srp::wire::{
        consts::{opcode, size, RspCode, SolNot},
        ctrl::{AerReq, AerRsp, CredReq, CredRsp, ILogout},
        desc::DirectDesc,
        ident::Lun,
        rsp::Rsp,
        tmf::{TmFunction, TskMgmt},
    },
    world::{world, Rule},
};

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command that fetches data by RDMA READ.
    Write,
    /// A command that brings its data along.
    Immediate,
    /// A command that sends data by RDMA WRITE.
    Read,
    /// A command without data.
    Plain,
    /// A command that fetches its descriptor table, then its data.
    Table,
    /// ABORT TASK for the request before.
    Abort,
    /// ABORT TASK for the last request on the other channel.
    AbortOther,
    /// LOGICAL UNIT RESET.
    Reset,
    /// A request with invalid fields, answered by the target itself.
    Invalid,
    /// A logout.
    Logout,
    /// Bytes that are no request.
    Garbage,
    /// An answer to a credit request that was not made.
    Spurious,
}

impl Kind {
    /// As `Iu::consumes_credit()` says.
    pub(crate) fn consumes_credit(self) -> bool {
        !matches!(self, Self::Garbage | Self::Spurious)
    }

    /// Whether a peer that keeps to the rules sends it.
    fn is_honest(self) -> bool {
        !matches!(self, Self::Garbage | Self::Spurious)
    }

    /// Whether it is to be answered.
    fn is_answered(self) -> bool {
        !matches!(self, Self::Garbage | Self::Spurious | Self::Logout)
    }
}

/// Offset of immediate data.
pub(crate) const IMM_OFFSET: u16 = 80;
/// Bytes that a command moves.
pub(crate) const DATA: u32 = 8;

/// The memory that a request describes begins here.
fn address(tag: u64) -> u64 {
    tag << 16
}

/// The request that memory belongs to.
pub(crate) fn tag_of(addr: u64) -> u64 {
    addr >> 16
}

/// What is in the peer's memory: descriptor tables.
pub(crate) fn memory(addr: u64, len: u32) -> Vec<u8> {
    let desc = DirectDesc {
        va: address(tag_of(addr)) + 0x100,
        key: 1,
        len: DATA,
    };
    let mut bytes = desc.emit().to_vec();
    bytes.resize(len as usize, 0);
    bytes
}

/// The connection that a request with this tag was sent on.
pub(crate) fn conn_of(tag: u64) -> usize {
    (tag / REQUESTS) as usize
}

/// More requests than there are on a connection.
const REQUESTS: u64 = 100;

/// A request as it is sent; `task` is the tag of the one to abort.
fn unit(kind: Kind, tag: u64, task: u64) -> Vec<u8> {
    let mgmt = |function| {
        let request = TskMgmt {
            tag,
            sol_not: SolNot(0),
            lun: Lun([0; 8]),
            function,
            task_tag: task,
        };
        request.emit().to_vec()
    };
    let (formats, rest) = match kind {
        Kind::Plain => (0x00, Vec::new()),
        Kind::Write => (0x10, direct(tag)),
        Kind::Read => (0x01, direct(tag)),
        Kind::Immediate => (0x30, immediate()),
        Kind::Table => (0x20, table(tag)),
        Kind::Invalid => (0xf0, Vec::new()),
        Kind::Abort | Kind::AbortOther => return mgmt(TmFunction::AbortTask),
        Kind::Reset => return mgmt(TmFunction::LunReset),
        Kind::Logout => return ILogout { tag }.emit().to_vec(),
        Kind::Garbage => return vec![0x3f; size::HEADER],
        Kind::Spurious => return CredRsp { tag }.emit().to_vec(),
    };
    let mut bytes = vec![0; size::CMD];
    bytes[0] = opcode::CMD;
    bytes[5] = formats;
    bytes[8..16].copy_from_slice(&tag.to_be_bytes());
    bytes.extend(rest);
    bytes
}

fn direct(tag: u64) -> Vec<u8> {
    let desc = DirectDesc {
        va: address(tag) + 0x100,
        key: 1,
        len: DATA,
    };
    desc.emit().to_vec()
}

fn table(tag: u64) -> Vec<u8> {
    let desc = DirectDesc {
        va: address(tag),
        key: 1,
        len: size::DIRECT_BUF as u32,
    };
    let mut bytes = desc.emit().to_vec();
    bytes.extend(DATA.to_be_bytes());
    bytes
}

fn immediate() -> Vec<u8> {
    let mut bytes = DATA.to_be_bytes().to_vec();
    bytes.resize(usize::from(IMM_OFFSET) - size::CMD, 0);
    bytes.extend([0; DATA as usize]);
    bytes
}

/// A request that was sent.
pub(crate) struct Request {
    pub(crate) kind: Kind,
    tag: u64,
    /// The one to abort.
    task: u64,
    answered: Cell<bool>,
    /// A task management function has ended it.
    gone: Cell<bool>,
}

impl Request {
    /// A task management function says that it has ended.
    fn is_over(&self, conn: &Conn) {
        let aborts = matches!(self.kind, Kind::Abort | Kind::AbortOther | Kind::Reset);
        if aborts || self.kind == Kind::Invalid {
            return;
        }
        self.gone.set(true);
        if conn.is_on_wire(self.tag) {
            world().breaks(Rule::AbortedIsGone, "the task is still on the wire");
        }
    }
}

/// What the peer is and knows.
pub(crate) struct Peer {
    /// Number of the connection.
    number: usize,
    pub(crate) trace: Trace,
    /// It has the connection.
    pub(crate) up: Cell<bool>,
    pub(crate) credits: Cell<i64>,
    /// It has broken the rules.
    pub(crate) rogue: Cell<bool>,
    pub(crate) requests: RefCell<Vec<Request>>,
    /// Requests that it may still send without credit.
    pub(crate) overruns: Cell<u8>,
    /// Requests of the target that it has not answered.
    pub(crate) owes: RefCell<Vec<Vec<u8>>>,
}

impl Peer {
    pub(crate) fn new(number: usize) -> Self {
        let cfg = &world().cfg;
        Self {
            number,
            trace: Trace::new(),
            up: Cell::new(false),
            credits: Cell::new(i64::from(cfg.limit)),
            rogue: Cell::new(false),
            requests: RefCell::new(Vec::new()),
            overruns: Cell::new(cfg.overrun),
            owes: RefCell::new(Vec::new()),
        }
    }

    /// Sends a request of this kind. Returns the bytes.
    fn send(&self, kind: Kind) -> Vec<u8> {
        let overruns = kind.consumes_credit() && self.credits.get() <= 0;
        if kind.consumes_credit() {
            self.credits.set(self.credits.get() - 1);
        }
        if overruns {
            self.overruns.set(self.overruns.get() - 1);
        }
        if overruns || !kind.is_honest() {
            self.rogue.set(true);
        }
        let mut requests = self.requests.borrow_mut();
        let tag = self.number as u64 * REQUESTS + requests.len() as u64 + 1;
        let task = match kind {
            Kind::AbortOther => world().conn(1 - self.number).peer.last_tag(),
            _ => tag - 1,
        };
        world().note(|| format!("sends {kind:?} {tag}"));
        requests.push(Request {
            kind,
            tag,
            task,
            answered: Cell::new(false),
            gone: Cell::new(false),
        });
        unit(kind, tag, task)
    }

    /// Tag of the last request.
    fn last_tag(&self) -> u64 {
        self.requests
            .borrow()
            .last()
            .map_or(0, |request| request.tag)
    }

    /// Sends something, if it can: chooses what.
    pub(crate) fn speak(&self) -> Option<Vec<u8>> {
        let cfg = &world().cfg;
        let left = self.requests.borrow().len() < usize::from(cfg.requests);
        let funds = self.credits.get() > 0 || self.overruns.get() > 0;
        let kinds = cfg.kinds.iter().copied();
        let kinds = kinds.filter(|kind| left && (funds || !kind.consumes_credit()));
        let kinds: Vec<Kind> = kinds.collect();
        let owes = !self.owes.borrow().is_empty();
        let options = kinds.len() + usize::from(owes);
        if options == 0 {
            return None;
        }
        match kinds.get(sched::choose(options)) {
            Some(&kind) => Some(self.send(kind)),
            None => {
                let answer = self.owes.borrow_mut().remove(0);
                world().note(|| format!("answers 0x{:x}", answer[0]));
                Some(answer)
            }
        }
    }

    /// Whether [`Peer::speak`] would send something.
    pub(crate) fn can_speak(&self) -> bool {
        let cfg = &world().cfg;
        let left = self.requests.borrow().len() < usize::from(cfg.requests);
        let funds = self.credits.get() > 0 || self.overruns.get() > 0;
        let free = cfg.kinds.iter().any(|kind| !kind.consumes_credit());
        (left && (funds || free)) || !self.owes.borrow().is_empty()
    }

    /// Gets what the target has sent.
    pub(crate) fn receive(&self, conn: &Conn, bytes: &[u8]) {
        self.credits.set(self.credits.get() + delta_of(bytes));
        match bytes.first().copied() {
            Some(opcode::RSP) => self.answer(conn, bytes),
            Some(opcode::CRED_REQ) => {
                if let Ok(req) = CredReq::parse(bytes) {
                    let answer = CredRsp { tag: req.tag }.emit().to_vec();
                    self.owes.borrow_mut().push(answer);
                }
            }
            Some(opcode::AER_REQ) => {
                if let Ok(req) = AerReq::parse(bytes) {
                    let answer = AerRsp { tag: req.tag }.emit().to_vec();
                    self.owes.borrow_mut().push(answer);
                }
            }
            _ => {}
        }
    }

    fn answer(&self, conn: &Conn, bytes: &[u8]) {
        let Ok(rsp) = Rsp::parse(bytes) else {
            return world().breaks(Rule::OneAnswer, "a response that is none");
        };
        let requests = self.requests.borrow();
        let Some(request) = requests.iter().find(|r| r.tag == rsp.tag) else {
            return world().breaks(Rule::OneAnswer, "an answer to nothing");
        };
        if request.answered.replace(true) {
            world().breaks(Rule::OneAnswer, "a second answer");
        }
        if request.gone.get() {
            world().breaks(Rule::AbortedIsGone, "an answer after the task is gone");
        }
        if conn.silenced.borrow().contains(&rsp.tag) {
            world().breaks(Rule::AbortedIsSilent, "an answer to what was aborted");
        }
        if rsp.rsp_code != Some(RspCode::Complete.code()) {
            return;
        }
        let ended = |other: &&Request| match request.kind {
            Kind::Abort | Kind::AbortOther => other.tag == request.task,
            Kind::Reset => other.tag < rsp.tag,
            _ => false,
        };
        for task in requests.iter().filter(ended) {
            task.is_over(conn);
        }
        if request.kind == Kind::AbortOther {
            let other = world().conn(1 - self.number);
            for task in other.peer.requests.borrow().iter().filter(ended) {
                task.is_over(&other);
            }
        }
    }

    /// Whether this request was ended by a task management function.
    pub(crate) fn is_gone(&self, tag: u64) -> bool {
        let requests = self.requests.borrow();
        requests.iter().any(|r| r.tag == tag && r.gone.get())
    }

    /// Whether it has sent what ends the connection.
    pub(crate) fn has_broken_off(&self) -> bool {
        let requests = self.requests.borrow();
        requests.iter().any(|request| !request.kind.is_answered())
    }

    /// Whether an ABORT TASK for this request is not answered.
    pub(crate) fn waits_for(&self, tag: u64) -> bool {
        let requests = self.requests.borrow();
        let aborts = |r: &Request| matches!(r.kind, Kind::Abort | Kind::AbortOther);
        let mut waiting = requests.iter().filter(|r| aborts(r) && !r.answered.get());
        waiting.any(|r| r.task == tag)
    }

    /// Which one this request is of those that cost a credit, from 1.
    pub(crate) fn ordinal(&self, tag: u64) -> i64 {
        let requests = self.requests.borrow();
        let before = requests.iter().filter(|r| r.tag <= tag);
        before.filter(|r| r.kind.consumes_credit()).count() as i64
    }

    /// A request that is to be answered and was not, although it was not aborted.
    pub(crate) fn unanswered(&self, aborted: impl Fn(u64) -> bool) -> Option<u64> {
        let requests = self.requests.borrow();
        let open = |r: &&Request| {
            r.kind.is_answered() && !r.answered.get() && !r.gone.get() && !aborted(r.tag)
        };
        requests.iter().find(open).map(|r| r.tag)
    }
}

/// The credits that an information unit carries.
pub(crate) fn delta_of(bytes: &[u8]) -> i64 {
    let delta = match bytes.first().copied() {
        Some(opcode::RSP) => Rsp::parse(bytes).map(|rsp| rsp.req_lim_delta).ok(),
        Some(opcode::CRED_REQ) => CredReq::parse(bytes).map(|req| req.req_lim_delta).ok(),
        Some(opcode::AER_REQ) => AerReq::parse(bytes).map(|req| req.req_lim_delta).ok(),
        _ => None,
    };
    i64::from(delta.unwrap_or(0))
}

/// Whether the peer is to answer it.
pub(crate) fn asks(bytes: &[u8]) -> bool {
    matches!(
        bytes.first().copied(),
        Some(opcode::CRED_REQ | opcode::AER_REQ)
    )
}
