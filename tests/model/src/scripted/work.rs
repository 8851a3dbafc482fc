// SPDX-License-Identifier: GPL-2.0
//! Commands at the engine, and the threads that do something with them: ask for data, respond, abort,
//! give back, in any order that the contract in `src/engine.rs` allows.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use kernel::sync::Arc;
use sched::Trace;

use crate::{
    conn::Conn,
    engine::{Delivery, RxMgmt, TargetCmd},
    rdma::{
        buf::Immediate,
        sg::{Lent, SgList},
    },
    world::world,
};

/// How far a command is, in the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was accepted.
    Has,
    /// Data was asked for; `rx_data` is owed.
    Data,
    /// The data is there, or will not come.
    Ready,
    /// The response was asked for; `tgt_cmd_done` is owed.
    Answering,
    /// The target is done with it.
    Done,
    /// It was given back.
    Freed,
}

/// What the engine may ask of a command, whatever its type.
pub(super) trait Asked {
    fn rdy_to_xfer(&self, data: SgList) -> Delivery;
    fn xmit_response(&self, data: SgList) -> Delivery;
    fn task_mgmt_fn_done(&self);
    fn on_abort_cmd(&self);
    fn on_free_cmd(&self);
}

pub(super) struct Held<C>(pub(super) RefCell<Option<Arc<C>>>);

impl<C: TargetCmd> Held<C> {
    fn get(&self) -> Arc<C> {
        self.0.borrow().clone().expect("a command")
    }
}

impl<C: TargetCmd> Asked for Held<C> {
    fn rdy_to_xfer(&self, data: SgList) -> Delivery {
        C::rdy_to_xfer(self.get().as_arc_borrow(), data)
    }

    fn xmit_response(&self, data: SgList) -> Delivery {
        C::xmit_response(self.get().as_arc_borrow(), data)
    }

    fn task_mgmt_fn_done(&self) {
        C::task_mgmt_fn_done(self.get().as_arc_borrow());
    }

    fn on_abort_cmd(&self) {
        C::on_abort_cmd(self.get().as_arc_borrow());
    }

    fn on_free_cmd(&self) {
        let cmd = self.0.take().expect("a command");
        C::on_free_cmd(cmd);
    }
}

/// A command at the engine.
pub(super) struct Entry {
    pub(super) tag: u64,
    /// Number of the session's connection.
    pub(super) conn: usize,
    pub(super) asked: Rc<dyn Asked>,
    pub(super) phase: Cell<Phase>,
    pub(super) is_write: bool,
    pub(super) len: usize,
    /// Whether the buffer is lent to the target.
    pub(super) lent: Lent,
    /// Data that came with the command and is used where it is, until the response.
    pub(super) immediate: RefCell<Option<Immediate>>,
    /// It was used.
    pub(super) used: Cell<bool>,
    pub(super) mgmt: Option<RxMgmt>,
    /// Commands that the function is to abort.
    pub(super) tasks: Vec<Rc<Entry>>,
    /// A thread calls the target about it.
    pub(super) in_call: Cell<bool>,
    /// It is being given back.
    pub(super) freeing: Cell<bool>,
    /// `on_abort_cmd` has begun, and has returned.
    pub(super) aborting: Cell<bool>,
    pub(super) aborted: Cell<bool>,
    /// Nothing can be moved for it.
    pub(super) failed: Cell<bool>,
    /// Not to be tried again before one more completion.
    pub(super) again: Cell<Option<u32>>,
}

impl Entry {
    /// Lends the buffer.
    fn data(&self) -> SgList {
        let len = if self.failed.get() { 0 } else { self.len };
        SgList::lend(len, &self.lent)
    }
}

/// What the engine is.
pub(crate) struct Shared {
    pub(super) trace: Trace,
    pub(super) entries: RefCell<Vec<Rc<Entry>>>,
    pub(super) stopped: Cell<bool>,
    pub(crate) closed: Cell<bool>,
    aborts: Cell<u8>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            trace: Trace::new(),
            entries: RefCell::new(Vec::new()),
            stopped: Cell::new(false),
            closed: Cell::new(false),
            aborts: Cell::new(0),
        }
    }

    /// What was done to it.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Whether a step waits to be tried again.
    fn retries(&self) -> bool {
        let entries = self.entries.borrow();
        entries
            .iter()
            .any(|e| e.again.get().is_some() && !e.in_call.get())
    }

    /// Whether it has commands.
    pub(crate) fn has_commands(&self) -> bool {
        !self.entries.borrow().is_empty()
    }
}

/// What a thread of the engine may do.
#[derive(Clone, Copy, Debug)]
enum Step {
    Fetch,
    Respond,
    AbortTask(usize),
    Free,
}

/// Everything that may be done.
fn steps(conn: &Conn) -> Vec<(Rc<Entry>, Step)> {
    let mut steps = Vec::new();
    for entry in conn.engine.entries.borrow().iter() {
        let waits = entry.again.get() == Some(conn.completed.get());
        if entry.in_call.get() || waits {
            continue;
        }
        // A thread that aborts it keeps it.
        let kept = entry.aborting.get() != entry.aborted.get();
        let mut add = |step| steps.push((entry.clone(), step));
        if entry.mgmt.is_some() {
            let next = entry.tasks.iter().position(|task| !task.aborting.get());
            let ended = |task: &Rc<Entry>| task.phase.get() == Phase::Freed;
            match (entry.phase.get(), next) {
                (Phase::Has, Some(task)) => add(Step::AbortTask(task)),
                (Phase::Has, None) if entry.tasks.iter().all(ended) => add(Step::Respond),
                (Phase::Done, _) => add(Step::Free),
                _ => {}
            }
            continue;
        }
        match entry.phase.get() {
            Phase::Has | Phase::Ready => {
                if entry.is_write && entry.phase.get() == Phase::Has && !entry.aborting.get() {
                    add(Step::Fetch);
                }
                add(Step::Respond);
                if entry.aborted.get() {
                    add(Step::Free);
                }
            }
            Phase::Done if !kept => add(Step::Free),
            Phase::Done | Phase::Data | Phase::Answering | Phase::Freed => {}
        }
    }
    steps
}

/// A thread of the engine.
pub(crate) fn work(conn: Rc<Conn>) {
    let engine = &conn.engine;
    loop {
        let at = conn.clone();
        sched::wait(&engine.trace, move || {
            at.over.get() || !steps(&at).is_empty()
        });
        // What it waits for depends on the queue pair, too.
        sched::touch(&conn.qp, false);
        if conn.over.get() {
            return;
        }
        if conn.cfg.slow {
            conn.check_starved();
        }
        let mut all = steps(&conn);
        let (entry, step) = all.swap_remove(sched::choose(all.len()));
        world().note(|| format!("{step:?} {}", entry.tag));
        entry.in_call.set(true);
        match step {
            Step::Fetch => fetch(&conn, &entry),
            Step::Respond => respond(&conn, &entry),
            Step::Free => {
                entry.freeing.set(true);
                drop(entry.immediate.take());
                entry.used.set(false);
                entry.asked.on_free_cmd();
                entry.phase.set(Phase::Freed);
                let mut entries = engine.entries.borrow_mut();
                entries.retain(|other| !Rc::ptr_eq(other, &entry));
            }
            Step::AbortTask(task) => abort_entry(&conn, &entry.tasks[task]),
        }
        entry.in_call.set(false);
        sched::touch(&engine.trace, true);
    }
}

fn fetch(conn: &Conn, entry: &Entry) {
    if entry.immediate.borrow().is_some() {
        entry.used.set(true);
        entry.phase.set(Phase::Ready);
        return;
    }
    entry.phase.set(Phase::Data);
    entry.again.set(Some(conn.completed.get()));
    match entry.asked.rdy_to_xfer(entry.data()) {
        Delivery::Success => entry.again.set(None),
        Delivery::QueueFull => entry.phase.set(Phase::Has),
        Delivery::FatalError => {
            entry.again.set(None);
            entry.failed.set(true);
            entry.phase.set(Phase::Ready);
        }
    }
}

fn respond(conn: &Conn, entry: &Entry) {
    let before = entry.phase.replace(Phase::Answering);
    drop(entry.immediate.take());
    if entry.mgmt.is_some() {
        return entry.asked.task_mgmt_fn_done();
    }
    if entry.aborted.get() {
        conn.silenced.borrow_mut().push(entry.tag);
    }
    entry.again.set(Some(conn.completed.get()));
    match entry.asked.xmit_response(entry.data()) {
        Delivery::Success => entry.again.set(None),
        Delivery::QueueFull => entry.phase.set(before),
        Delivery::FatalError => {
            entry.again.set(None);
            entry.failed.set(true);
            entry.phase.set(before);
        }
    }
}

fn abort_entry(conn: &Conn, entry: &Entry) {
    if entry.freeing.get() {
        entry.aborting.set(true);
        entry.aborted.set(true);
        return;
    }
    if entry.aborting.replace(true) {
        return;
    }
    conn.aborted.borrow_mut().push(entry.tag);
    entry.asked.on_abort_cmd();
    entry.aborted.set(true);
}

/// The thread that tries again what found no room, when nothing else happens.
pub(crate) fn retry(conn: Rc<Conn>) {
    let engine = &conn.engine;
    loop {
        let at = conn.clone();
        sched::wait(&engine.trace, move || at.over.get() || at.engine.retries());
        if conn.over.get() {
            return;
        }
        for entry in engine.entries.borrow().iter() {
            entry.again.set(None);
        }
    }
}

/// A thread that aborts commands.
pub(crate) fn abort(conn: Rc<Conn>) {
    let engine = &conn.engine;
    let abortable = |conn: &Conn| {
        let entries = conn.engine.entries.borrow();
        let can = |entry: &&Rc<Entry>| {
            entry.mgmt.is_none() && !entry.aborting.get() && !entry.freeing.get()
        };
        entries.iter().filter(can).cloned().collect::<Vec<_>>()
    };
    loop {
        let at = conn.clone();
        sched::wait(&engine.trace, move || {
            at.over.get() || !abortable(&at).is_empty()
        });
        if conn.over.get() || engine.aborts.get() == conn.cfg.aborts {
            return;
        }
        let mut all = abortable(&conn);
        let entry = all.swap_remove(sched::choose(all.len()));
        engine.aborts.set(engine.aborts.get() + 1);
        world().note(|| format!("aborts {}", entry.tag));
        abort_entry(&conn, &entry);
        sched::touch(&engine.trace, true);
    }
}
