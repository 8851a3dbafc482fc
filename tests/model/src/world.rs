// SPDX-License-Identifier: GPL-2.0
//! The world that the driver runs in, as one value per execution: the bound, the rules and which of
//! them is broken, and what there is besides the connection ([`crate::conn`]) and the engine
//! ([`crate::scripted`]).
//!
//! Whenever something may happen in more than one way, or now or later, that is a choice of `sched`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::{conn::Conn, peer::Kind};

/// What a driver must not do. What is said about an open channel counts while its queue pair works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// Every credit is accounted for: at rest, those that the target believes the initiator to have
    /// are those it has, and with those that are kept they are as many as were granted.
    Credits,
    /// A request for which the peer had no credit does not reach the engine.
    Overrun,
    /// A peer that keeps to the rules is not accused of breaking them.
    HonestPeer,
    /// A channel is not closed for an error that has not happened.
    ErrorHappened,
    /// For every credit at the initiator, and every answer it owes, a receive is posted.
    BufferPerCredit,
    /// At rest, every receive buffer is posted.
    Buffers,
    /// The driver says of itself that something is wrong: an event that the machine of a command
    /// does not know in its state.
    NoViolation,
    /// What the engine is owed it gets once.
    OneCompletion,
    /// The engine is told that data is there only if it is.
    DataThere,
    /// A peer that breaks the rules, or logs out, does not keep its channel.
    RogueEnds,
    /// A request is answered once; on an open channel one that was not aborted is.
    OneAnswer,
    /// A command that was aborted before its response was begun sends none.
    AbortedIsSilent,
    /// When a task management function is answered with success, nothing of the commands it has
    /// aborted is on the wire, or comes later.
    AbortedIsGone,
    /// No request is acted on before the login is accepted.
    OnlyAccepted,
    /// Slots of the send queue are given back once, and all; it never holds more than fit.
    SendQueueBalanced,
    /// Nothing is freed or used again while a work request, a thread or the engine refers to it,
    /// and nothing is used that is gone.
    NothingFreedInUse,
    /// A login that asks for it ends the other channels of the nexus.
    Replaced,
    /// Tear-down is begun once, and the channel counts as gone when it is.
    OneTeardown,
    /// At the end, nothing is left behind.
    NothingLeft,
    /// While only the engine has anything to do on an open channel, no credit is kept that the
    /// peer may be waiting for, and no request is held for which there is a command.
    NotStarved,
    /// A peer that may not listen to credit requests gets none.
    NotAsked,
    /// A credit request carries credits.
    CreditCarried,
    /// Once a channel closes, every path leads to its end, whatever the peer, the wire and the
    /// engine do.
    Ends,
    /// An open channel to which nothing more happens comes to rest, with every request answered.
    CalmDown,
    /// Nothing panics, a lock is not taken twice.
    NoPanic,
}

/// How a connection may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is closed when nothing happens on it any more.
    Rest,
    /// The peer disconnects.
    Disconnect,
    /// The administrator closes it.
    Close,
    /// The wire is cut: the queue pair goes to the error state.
    Cut,
    /// The device says that the queue pair failed.
    Fatal,
    /// The HCA is removed.
    Remove,
    /// The peer falls silent, and is given up.
    Silence,
    /// The device completes nothing any more, and the channel is closed.
    Stuck,
    /// The peer refuses the connection instead of confirming it.
    Reject,
    /// The connection manager gives up.
    Unreachable,
}

/// A second channel of the nexus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    /// There is none.
    None,
    /// It logs in next to the first.
    Beside,
    /// It logs in and ends the first.
    Instead,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// The request limit.
    pub(crate) limit: u32,
    /// Requests that the peer sends, at most, of these kinds in any order.
    pub(crate) requests: u8,
    pub(crate) kinds: &'static [Kind],
    /// The peer is known to listen to credit requests.
    pub(crate) listens: bool,
    /// How often logical units change.
    pub(crate) events: u8,
    /// Slots of the send queue for RDMA, and how many of them a transfer takes.
    pub(crate) rdma: u32,
    pub(crate) rdma_slots: u32,
    /// The device may copy short sends, which then do not complete.
    pub(crate) copies: bool,
    /// Posts and work requests that fail although the connection works, at most.
    pub(crate) faults: u8,
    /// How many commands the engine aborts by itself, at most.
    pub(crate) aborts: u8,
    /// The engine may refuse commands.
    pub(crate) refusals: bool,
    /// Threads of the engine.
    pub(crate) engines: u8,
    /// The engine does nothing as long as another thread can.
    pub(crate) slow: bool,
    /// Requests that the peer may send without having a credit.
    pub(crate) overrun: u8,
    pub(crate) ends: &'static [End],
    /// The connection starts confirmed: logins are left out.
    pub(crate) connected: bool,
    /// The connection manager is that of native InfiniBand.
    pub(crate) native: bool,
    /// Whether there is a second channel.
    pub(crate) second: Second,
    /// How often the reaper looks after peers.
    pub(crate) looks: u8,
}

/// Everything but threads.
pub(crate) struct World {
    pub(crate) cfg: Config,
    /// The connections.
    conns: RefCell<Vec<Rc<Conn>>>,
    /// Faults that may still happen.
    pub(crate) faults: Cell<u8>,
    /// No thread is interrupted in this exploration.
    pub(crate) undisturbed: bool,
    pub(crate) broken: RefCell<Option<(Rule, String)>>,
    /// What has happened, if wanted.
    pub(crate) log: RefCell<Option<Vec<String>>>,
}

thread_local! {
    static WORLD: Cell<Option<&'static World>> = const { Cell::new(None) };
}

/// The world of this execution.
pub(crate) fn world() -> &'static World {
    WORLD.get().expect("a world")
}

impl World {
    /// Makes a world. It lives until [`World::end`], or for ever if the execution fails.
    pub(crate) fn begin(cfg: Config, undisturbed: bool, log: bool) -> &'static Self {
        let world: &'static Self = Box::leak(Box::new(Self {
            cfg,
            conns: RefCell::new(Vec::new()),
            faults: Cell::new(cfg.faults),
            undisturbed,
            broken: RefCell::new(None),
            log: RefCell::new(log.then(Vec::new)),
        }));
        WORLD.set(Some(world));
        world
    }

    /// Takes a connection; its number is how many there were before.
    pub(crate) fn connects(&self, conn: &Rc<Conn>) {
        self.conns.borrow_mut().push(conn.clone());
    }

    /// The connections so far.
    pub(crate) fn conns(&self) -> Vec<Rc<Conn>> {
        self.conns.borrow().clone()
    }

    /// The connection with this number.
    pub(crate) fn conn(&self, number: usize) -> Rc<Conn> {
        self.conns.borrow()[number].clone()
    }

    /// Frees it.
    ///
    /// # Safety
    ///
    /// All threads must have ended, and no code may use the world any more.
    pub(crate) unsafe fn end(&'static self) {
        WORLD.set(None);
        let this = (&raw const *self).cast_mut();
        // SAFETY: It was made by `begin`, and the caller promises that it is not used.
        drop(unsafe { Box::from_raw(this) });
    }

    /// Notes that a rule is broken; the first one counts, and ends the execution.
    pub(crate) fn breaks(&self, rule: Rule, how: impl Into<String>) {
        let how = how.into();
        self.note(|| format!("{rule:?} is broken: {how}"));
        self.broken.borrow_mut().get_or_insert((rule, how));
        sched::stop();
    }

    /// Notes what happens.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut *self.log.borrow_mut() {
            let line = format!("{}: {}", sched::current(), text());
            log.push(line);
        }
    }

    /// Whether something fails now.
    pub(crate) fn fails(&self) -> bool {
        let left = self.faults.get();
        if left == 0 || sched::choose(2) == 0 {
            return false;
        }
        self.faults.set(left - 1);
        true
    }
}

/// Takes the log lines of the driver: an error is an error of the driver.
pub(crate) fn printed(level: kernel::print::Level, line: core::fmt::Arguments<'_>) {
    let world = world();
    if level == kernel::print::Level::Err {
        let text = line.to_string();
        let rule = match text.contains("send queue") {
            true => Rule::SendQueueBalanced,
            false => Rule::NoViolation,
        };
        world.breaks(rule, text.trim_end());
    } else {
        world.note(|| line.to_string().trim_end().into());
    }
}
