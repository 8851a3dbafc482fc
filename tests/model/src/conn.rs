// SPDX-License-Identifier: GPL-2.0
//! A connection as HCA, connection manager and peer see it: what is posted, what is on the wire, what
//! is to be reported; and the rules about it.
//!
//! Not here: when anything happens ([`crate::threads`]).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use kernel::sync::Arc;
use sched::Trace;

use crate::{
    channel::Channel,
    hca::Hca,
    peer::{self, Peer},
    rdma::wc::WcStatus,
    scripted,
    srp::{
        machine::channel::State,
        wire::{consts::opcode, ctrl::CredReq},
    },
    world::{world, Config, Rule},
};

/// What is posted to a send queue.
pub(crate) enum What {
    /// READs for the request with this tag.
    Read(u64),
    /// These bytes, and WRITEs before them.
    Send(Vec<u8>),
    /// A WRITE of no bytes.
    Probe,
}

impl What {
    /// Whether it is posted for a command, not for a request of the target.
    pub(crate) fn is_of_command(&self) -> bool {
        match self {
            Self::Read(_) => true,
            Self::Send(bytes) => bytes[0] == opcode::RSP,
            Self::Probe => false,
        }
    }
}

/// A posted send.
pub(crate) struct Wr {
    pub(crate) what: What,
    /// Slots of the send queue.
    pub(crate) slots: u32,
    /// It is copied, and completes only if it fails.
    pub(crate) copied: bool,
    /// How it ended, if it has.
    pub(crate) status: Option<WcStatus>,
    /// Address of the entry that completes.
    pub(crate) entry: usize,
    /// Its completion.
    pub(crate) done: Box<dyn FnOnce(WcStatus)>,
}

/// A posted receive: what its completion does with what was received, or without.
pub(crate) type Recv = Box<dyn FnOnce(Option<Vec<u8>>)>;

/// A connection.
pub(crate) struct Conn {
    pub(crate) cfg: Config,
    /// Its number, from 0.
    pub(crate) number: usize,
    /// The engine's session.
    pub(crate) engine: scripted::Shared,
    /// Buffers mapped for the device.
    pub(crate) mapped: Cell<i32>,
    /// The channel, until the end of the execution.
    pub(crate) channel: RefCell<Option<Arc<Channel>>>,
    /// The HCA it is on.
    pub(crate) hca: RefCell<Option<Arc<Hca<Channel>>>>,
    /// That is being removed.
    pub(crate) removing: Cell<bool>,
    /// The driver has said that it closes.
    pub(crate) closing: Cell<bool>,
    /// Tear-down has ended.
    pub(crate) over: Cell<bool>,
    pub(crate) peer: Peer,

    // The queue pair.
    pub(crate) qp: Trace,
    pub(crate) gate_closed: Cell<bool>,
    /// Callers that are about to post a copy.
    pub(crate) inside: Cell<u32>,
    pub(crate) error: Cell<bool>,
    pub(crate) destroyed: Cell<bool>,
    /// The device completes nothing any more.
    pub(crate) stuck: Cell<bool>,
    /// The queue pair was destroyed for that, and its work is completed by the driver.
    pub(crate) broken_off: Cell<bool>,
    pub(crate) sq_size: Cell<u32>,
    /// RDMA transfers that are prepared or posted, and those that are posted.
    pub(crate) contexts: Cell<i32>,
    pub(crate) contexts_posted: Cell<i32>,
    pub(crate) sends: RefCell<VecDeque<Wr>>,
    pub(crate) posted: RefCell<VecDeque<Recv>>,
    pub(crate) arrived: RefCell<VecDeque<(Recv, Vec<u8>)>>,
    /// A completion is being handled.
    pub(crate) handling: Cell<bool>,
    /// Credits that were posted, with those of the login.
    pub(crate) granted: Cell<i64>,
    /// Completions of sends so far.
    pub(crate) completed: Cell<u32>,

    // The connection manager.
    pub(crate) cm: Trace,
    pub(crate) login_done: Cell<bool>,
    pub(crate) accepted: Cell<bool>,
    pub(crate) established: Cell<bool>,
    pub(crate) notified: Cell<bool>,
    pub(crate) in_cm_handler: Cell<bool>,
    pub(crate) cm_gone: Cell<bool>,
    /// The peer's disconnect, or its answer to ours, is to be reported.
    pub(crate) disconnected: Cell<bool>,
    /// The peer refuses, or does not answer.
    pub(crate) refused: Cell<bool>,
    pub(crate) unreachable: Cell<bool>,
    /// The peer gives no sign of life.
    pub(crate) silent: Cell<bool>,

    /// Tags of commands that the engine has aborted before their response was begun.
    pub(crate) silenced: RefCell<Vec<u64>>,
    /// Tags of commands whose data could not be fetched.
    pub(crate) unread: RefCell<Vec<u64>>,
    /// Tags of commands that the engine has aborted.
    pub(crate) aborted: RefCell<Vec<u64>>,
    /// A fault has happened.
    pub(crate) faulty: Cell<bool>,
    /// The device has reported one.
    pub(crate) reported: Cell<bool>,
}

impl Conn {
    pub(crate) fn new(number: usize) -> Rc<Self> {
        Rc::new(Self {
            cfg: world().cfg,
            number,
            engine: scripted::Shared::new(),
            mapped: Cell::new(0),
            channel: RefCell::new(None),
            hca: RefCell::new(None),
            removing: Cell::new(false),
            closing: Cell::new(false),
            over: Cell::new(false),
            peer: Peer::new(number),
            qp: Trace::new(),
            gate_closed: Cell::new(false),
            inside: Cell::new(0),
            error: Cell::new(false),
            destroyed: Cell::new(false),
            stuck: Cell::new(false),
            broken_off: Cell::new(false),
            sq_size: Cell::new(0),
            contexts: Cell::new(0),
            contexts_posted: Cell::new(0),
            sends: RefCell::new(VecDeque::new()),
            posted: RefCell::new(VecDeque::new()),
            arrived: RefCell::new(VecDeque::new()),
            handling: Cell::new(false),
            granted: Cell::new(i64::from(world().cfg.limit)),
            completed: Cell::new(0),
            cm: Trace::new(),
            login_done: Cell::new(false),
            accepted: Cell::new(false),
            established: Cell::new(false),
            notified: Cell::new(false),
            in_cm_handler: Cell::new(false),
            cm_gone: Cell::new(false),
            disconnected: Cell::new(false),
            refused: Cell::new(false),
            unreachable: Cell::new(false),
            silent: Cell::new(false),
            silenced: RefCell::new(Vec::new()),
            unread: RefCell::new(Vec::new()),
            aborted: RefCell::new(Vec::new()),
            faulty: Cell::new(false),
            reported: Cell::new(false),
        })
    }

    /// The channel.
    pub(crate) fn channel(&self) -> Arc<Channel> {
        self.channel.borrow().clone().expect("a channel")
    }

    /// Commands, and receive buffers.
    fn commands(&self) -> usize {
        crate::channel::new::incoming(self.cfg.limit) as usize
    }

    /// Whether something fails now.
    pub(crate) fn fails(&self) -> bool {
        let fails = world().fails();
        if fails {
            world().note(|| "this fails".into());
            self.faulty.set(true);
        }
        fails
    }

    /// Slots of the send queue in use.
    pub(crate) fn sq_used(&self) -> u32 {
        self.sends.borrow().iter().map(|wr| wr.slots).sum()
    }

    /// Slots of it that commands use.
    pub(crate) fn sq_used_by_commands(&self) -> u32 {
        let sends = self.sends.borrow();
        let of_commands = sends.iter().filter(|wr| wr.what.is_of_command());
        of_commands.map(|wr| wr.slots).sum()
    }

    /// How many commands may use: a response for each, and what is for RDMA.
    pub(crate) fn sq_for_commands(&self) -> u32 {
        crate::channel::new::incoming(self.cfg.limit) + self.cfg.rdma
    }

    /// Whether everything that was posted has come back, and was handled.
    pub(crate) fn is_drained(&self) -> bool {
        self.sends.borrow().is_empty()
            && self.posted.borrow().is_empty()
            && self.arrived.borrow().is_empty()
            && !self.handling.get()
    }

    /// Whether a receive is to be completed.
    pub(crate) fn recv_due(&self) -> bool {
        if self.stuck.get() {
            return false;
        }
        let flushed = self.error.get() && !self.posted.borrow().is_empty();
        flushed || !self.arrived.borrow().is_empty()
    }

    /// Whether a send is to be completed.
    pub(crate) fn send_due(&self) -> bool {
        if self.stuck.get() {
            return false;
        }
        let sends = self.sends.borrow();
        let first = sends.front();
        first.is_some_and(|wr| wr.status.is_some() || self.error.get())
    }

    /// Whether a send is to be carried out.
    pub(crate) fn wire_due(&self) -> bool {
        let sends = self.sends.borrow();
        !self.error.get()
            && !self.silent.get()
            && !self.stuck.get()
            && sends.iter().any(|wr| wr.status.is_none())
    }

    /// Whether something of the request with this tag is on the wire.
    pub(crate) fn is_on_wire(&self, tag: u64) -> bool {
        let sends = self.sends.borrow();
        sends.iter().any(|wr| match wr.what {
            What::Read(of) => of == tag && wr.status.is_none(),
            _ => false,
        })
    }

    /// Something is posted.
    pub(crate) fn posts(&self, what: &What) {
        match what {
            What::Read(tag) => {
                world().note(|| format!("posts a READ for {tag}"));
                if self.peer.is_gone(*tag) {
                    world().breaks(Rule::AbortedIsGone, "a READ after the task is gone");
                }
            }
            What::Send(bytes) => {
                let granted = self.granted.get() + peer::delta_of(bytes);
                self.granted.set(granted);
                world().note(|| format!("posts 0x{:x}, delta {}", bytes[0], peer::delta_of(bytes)));
                if bytes[0] == opcode::CRED_REQ {
                    self.posts_credit_request(bytes);
                }
            }
            What::Probe => world().note(|| "posts a probe".into()),
        }
    }

    fn posts_credit_request(&self, bytes: &[u8]) {
        let delta = CredReq::parse(bytes).map(|req| req.req_lim_delta);
        if delta.is_ok_and(|delta| delta <= 0) {
            world().breaks(Rule::CreditCarried, "a credit request without credits");
        }
        if !self.cfg.listens {
            world().breaks(Rule::NotAsked, "a credit request");
        }
    }

    /// The answer to the login was sent.
    pub(crate) fn accept(&self) {
        self.accepted.set(true);
        self.peer.up.set(true);
    }

    /// A disconnect is to be sent.
    pub(crate) fn disconnect(&self) -> bool {
        world().note(|| "disconnects".into());
        let known = self.accepted.get() && self.established.get();
        if known && self.peer.up.replace(false) && !self.silent.get() {
            self.disconnected.set(true);
        }
        // The IB/CM leaves the queue pair to the drain.
        if !self.cfg.native {
            self.error.set(true);
        }
        known
    }

    /// The peer is said to have the connection.
    pub(crate) fn notify(&self) -> bool {
        let can = self.accepted.get() && !self.established.get() && !self.refused.get();
        self.notified.set(can);
        can
    }

    /// Whether the driver lets the channel be used; [`None`] if that cannot be said now.
    fn is_open(&self) -> Option<bool> {
        if sched::is_locked() {
            return None;
        }
        let channel = self.channel.borrow();
        let state = channel.as_ref().map(|c| sched::quietly(|| c.view().state));
        state.map(|state| state <= State::Live)
    }

    /// The rules that are to hold at every point.
    pub(crate) fn check(&self) {
        if self.over.get() {
            return;
        }
        if !self.closing.get() && self.accepted.get() && !self.error.get() {
            self.check_buffers();
        }
        if self.closing.get() && self.engine.has_commands() && !sched::is_locked() {
            let channel = self.channel.borrow();
            let state = channel.as_ref().map(|c| sched::quietly(|| c.view().state));
            if state == Some(State::Disconnected) {
                world().breaks(Rule::OneTeardown, "drained, but the engine has commands");
            }
        }
    }

    fn check_buffers(&self) {
        let mut promised = self.peer.credits.get() + self.peer.owes.borrow().len() as i64;
        for wr in self.sends.borrow().iter().filter(|wr| wr.status.is_none()) {
            if let What::Send(bytes) = &wr.what {
                promised += peer::delta_of(bytes) + i64::from(peer::asks(bytes));
            }
        }
        let posted = self.posted.borrow().len() as i64;
        if posted < promised && !self.peer.rogue.get() && self.is_open() == Some(true) {
            let how = format!("{posted} receives, {promised} promised");
            world().breaks(Rule::BufferPerCredit, how);
        }
    }

    /// The rule about credits that hold while only the engine has something to do.
    pub(crate) fn check_starved(&self) {
        if self.closing.get() || self.error.get() || sched::is_locked() {
            return;
        }
        let view = sched::quietly(|| self.channel().view());
        let low = view.req_lim <= crate::srp::machine::credit::Credits::LOW_WATER;
        let asked = !self.peer.owes.borrow().is_empty();
        // What is held waits for the engine to give a command back.
        if view.held > 0 {
            if view.state == State::Live && view.active < self.commands() {
                world().breaks(Rule::NotStarved, "a request is held, and a command is free");
            }
            return;
        }
        if self.cfg.listens && view.state == State::Live && view.delta > 0 && low && !asked {
            let how = format!("{} credits kept, {} at the peer", view.delta, view.req_lim);
            world().breaks(Rule::NotStarved, how);
        }
    }

    /// The rules for an open channel on which nothing happens any more.
    pub(crate) fn check_rest(&self) {
        let cfg = &self.cfg;
        let world = world();
        let view = sched::quietly(|| self.channel().view());
        if view.state != State::Live {
            return world.breaks(Rule::CalmDown, "not live");
        }
        if self.peer.has_broken_off() {
            return world.breaks(Rule::RogueEnds, "open");
        }
        if view.held > 0 {
            return world.breaks(Rule::NothingLeft, "something is held");
        }
        if self.engine.has_commands() {
            return world.breaks(Rule::CalmDown, "the engine has commands");
        }
        // Nor is one that a function has ended whose own answer was lost with its connection.
        let lost = |tag| world.conns().iter().any(|conn| conn.peer.waits_for(tag));
        let aborted = |tag| self.aborted.borrow().contains(&tag) || lost(tag);
        if let Some(tag) = self.peer.unanswered(aborted) {
            return world.breaks(Rule::OneAnswer, format!("no answer to {tag}"));
        }
        if view.active > 0 || view.busy > 0 || view.sq_used > 0 {
            let how = format!(
                "{} active, {} busy, {} slots",
                view.active, view.busy, view.sq_used
            );
            return world.breaks(Rule::CalmDown, how);
        }
        let low = view.req_lim <= crate::srp::machine::credit::Credits::LOW_WATER;
        if cfg.listens && view.delta > 0 && low {
            let how = format!("{} credits kept, {} at the peer", view.delta, view.req_lim);
            return world.breaks(Rule::NotStarved, how);
        }
        let at_peer = self.peer.credits.get();
        let all = view.req_lim + view.delta;
        if i64::from(view.req_lim) != at_peer || all != cfg.limit {
            let how = format!(
                "{at_peer} at the peer, {} believed there, {} kept",
                view.req_lim, view.delta
            );
            return world.breaks(Rule::Credits, how);
        }
        let posted = self.posted.borrow().len();
        if posted != self.commands() {
            world.breaks(
                Rule::Buffers,
                format!("{posted} of {} posted", self.commands()),
            );
        }
    }

    /// Whether nothing refers to the HCA any more.
    pub(crate) fn hca_left(&self) -> bool {
        let created = self.sq_size.get() != 0;
        (!created || self.destroyed.get()) && self.contexts.get() == 0
    }

    /// The rules for when the driver says that the channel is gone: nothing of the device is left.
    pub(crate) fn check_gone(&self) {
        let world = world();
        let left = |what: &str| world.breaks(Rule::NothingLeft, what);
        if !self.cm_gone.get() {
            left("the connection manager's id");
        }
        if !self.hca_left() {
            left("the queue pair");
        }
        if self.engine.has_commands() || !self.engine.closed.get() {
            left("the engine's session");
        }
        if self.mapped.get() != 0 {
            left("buffers mapped for the device");
        }
    }

    /// The rules for the end.
    pub(crate) fn check_end(&self) {
        let world = world();
        let left = |what: &str| world.breaks(Rule::NothingLeft, what);
        if !self.over.get() {
            return world.breaks(Rule::Ends, "tear-down has not ended");
        }
        let known = crate::channel::list::all().map_or(0, |all| {
            let channel = self.channel();
            all.iter().filter(|c| Arc::ptr_eq(c, &channel)).count()
        });
        if known != 0 {
            left("the entry in the list of channels");
        }
        drop(self.hca.take());
        let channel = self.channel.take();
        if let Some(channel) = channel {
            if channel.view().held > 0 {
                left("something that was held");
            }
            if Arc::count(&channel) > 1 {
                left("references to the channel");
            }
        }
    }
}
