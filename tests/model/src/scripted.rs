// SPDX-License-Identifier: GPL-2.0
//! The engine, scripted. It stands where LIO's adapter does: `src/engine.rs`, which is compiled as it
//! is, calls it `Lio`. It keeps to the contract in that file, and checks that the target does.
//!
//! Not here: what it does with a command, and when ([`work`]).

use core::{convert::Infallible, ptr};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use kernel::{
    init::try_from_fn,
    prelude::*,
    sync::{Arc, ArcBorrow},
    workqueue::Work,
};

use crate::{
    conn::Conn,
    engine::{
        DoneContext, Engine, EngineCmd, HasTarget, OpenError, Port, RxCmd, RxDataStatus, RxError,
        RxMgmt, SessionKey, SessionRequest, Target, TargetCmd, TargetKey, TmResult, Top,
    },
    peer,
    port::PortData,
    rdma::buf::Immediate,
    srp::wire::{desc::Dir, ident::Lun, rsp::Residual, tmf::TmFunction},
    world::{world, Rule},
};

pub(crate) mod work;

pub(crate) use work::Shared;
use work::{Entry, Held, Phase};

/// The engine.
pub(crate) struct Lio;

/// What it keeps of a command.
pub(crate) struct LioCmd<C> {
    entry: RefCell<Option<Rc<Entry>>>,
    work: Work<C>,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl<C> Send for LioCmd<C> {}
// SAFETY: As above.
unsafe impl<C> Sync for LioCmd<C> {}

impl<C: TargetCmd> LioCmd<C> {
    /// Retries are the business of [`work`] here.
    pub(crate) fn run_work(_: Arc<C>) {}
}

impl<C> LioCmd<C> {
    /// The work item.
    ///
    /// # Safety
    ///
    /// `this` must be valid.
    pub(crate) unsafe fn raw_get_work(this: *mut Self) -> *mut Work<C> {
        // SAFETY: It is valid.
        unsafe { &raw mut (*this).work }
    }

    /// What the work item is in.
    ///
    /// # Safety
    ///
    /// `work` must be in a valid object.
    pub(crate) unsafe fn work_container_of(work: *mut Work<C>) -> *mut Self {
        // SAFETY: It is in a valid object.
        unsafe { kernel::container_of!(work, Self, work) }
    }

    fn entry(&self) -> Option<Rc<Entry>> {
        self.entry.borrow().clone()
    }
}

impl<C> EngineCmd for LioCmd<C> {
    type Kept = Infallible;

    fn age(&self) -> Option<Infallible> {
        None
    }

    fn status(&self) -> u8 {
        0
    }

    fn sense(&self) -> &[u8] {
        &[]
    }

    fn used_immediate(&self) -> bool {
        self.entry().is_some_and(|entry| entry.used.get())
    }

    fn residual(&self) -> Residual {
        Residual::None
    }

    fn tm_result(&self) -> TmResult {
        match self.entry() {
            Some(entry) if entry.tasks.is_empty() => match entry.mgmt {
                Some(mgmt) if mgmt.function == TmFunction::AbortTask => TmResult::TaskDoesNotExist,
                _ => TmResult::Complete,
            },
            _ => TmResult::Complete,
        }
    }
}

/// What an engine needs of a command besides.
pub(crate) trait CmdWork: kernel::workqueue::HasWork<Self> + Sized {}

/// See [`CmdWork`].
macro_rules! impl_cmd_work {
    (impl$({$($generics:tt)*})? CmdWork for $self:ty) => {
        // SAFETY: It has a work item.
        unsafe impl$(<$($generics)*>)? ::kernel::workqueue::HasDelayedWork<Self> for $self {}
        impl$(<$($generics)*>)? $crate::scripted::CmdWork for $self {}
    };
}
pub(crate) use impl_cmd_work;

/// What it keeps per port.
pub(crate) struct LioPort;

impl PortData for LioPort {}

/// A session.
pub(crate) struct LioSession(usize);

impl LioSession {
    /// That of the connection with this number.
    pub(crate) fn open(number: usize) -> Self {
        Self(number)
    }

    fn conn(&self) -> Rc<Conn> {
        world().conn(self.0)
    }
}

impl Lio {
    fn take<C: TargetCmd>(
        cmd: Arc<C>,
        session: &LioSession,
        (tag, is_write, len): (u64, bool, usize),
        immediate: Option<Immediate>,
        mgmt: Option<RxMgmt>,
    ) -> Result<(), (RxError, Arc<C>)> {
        let world = world();
        let own = session.conn();
        let engine = &own.engine;
        sched::access(&engine.trace, true);
        if engine.closed.get() {
            world.breaks(Rule::NothingFreedInUse, "a session that is closed");
        }
        let conn = world.conn(peer::conn_of(tag));
        if !conn.accepted.get() {
            world.breaks(Rule::OnlyAccepted, format!("{tag} is acted on"));
        }
        // Otherwise a response may be about to be posted.
        if world.undisturbed && conn.peer.ordinal(tag) > conn.granted.get() {
            world.breaks(Rule::Overrun, format!("{tag} had no credit"));
        }
        if engine.stopped.get() {
            return Err((RxError::ShuttingDown, cmd));
        }
        if world.cfg.refusals && sched::choose(2) == 1 {
            return Err((RxError::NoMemory, cmd));
        }
        let tasks = match mgmt.map(|mgmt| mgmt.function) {
            None => Vec::new(),
            Some(function) => {
                let task = mgmt.map_or(0, |mgmt| mgmt.task_tag);
                let is_task = |entry: &&Rc<Entry>| match function {
                    TmFunction::AbortTask => entry.mgmt.is_none() && entry.tag == task,
                    _ => entry.mgmt.is_none(),
                };
                engine
                    .entries
                    .borrow()
                    .iter()
                    .filter(is_task)
                    .cloned()
                    .collect()
            }
        };
        world.note(|| format!("the engine takes {tag}"));
        let held = Held(RefCell::new(Some(cmd.clone())));
        let entry = Rc::new(Entry {
            tag,
            conn: session.0,
            asked: Rc::new(held),
            phase: Cell::new(Phase::Has),
            is_write,
            len,
            lent: Rc::default(),
            immediate: RefCell::new(immediate),
            used: Cell::new(false),
            mgmt,
            tasks,
            in_call: Cell::new(false),
            freeing: Cell::new(false),
            aborting: Cell::new(false),
            aborted: Cell::new(false),
            failed: Cell::new(false),
            again: Cell::new(None),
        });
        *cmd.engine_cmd().entry.borrow_mut() = Some(entry.clone());
        engine.entries.borrow_mut().push(entry);
        Ok(())
    }

    /// A call that is owed.
    fn owed<C: TargetCmd>(cmd: ArcBorrow<'_, C>, from: Phase, to: Phase) {
        let world = world();
        let Some(entry) = cmd.engine_cmd().entry() else {
            return world.breaks(Rule::OneCompletion, "the engine does not know it");
        };
        sched::access(&world.conn(entry.conn).engine.trace, true);
        if entry.lent.get() > 0 {
            world.breaks(Rule::NothingFreedInUse, "the engine's buffer is lent");
        }
        match entry.phase.get() == from {
            true => entry.phase.set(to),
            false => world.breaks(Rule::OneCompletion, format!("not {from:?}")),
        }
    }
}

impl Engine for Lio {
    type Registration = ();
    type PortData = LioPort;
    type Session = LioSession;
    type Cmd<C> = LioCmd<C>;

    const ENDS_WHEN_POSTED: bool = true;

    fn register<T: Target>() -> Result
    where
        Top: HasTarget<Target = T>,
    {
        Ok(())
    }

    fn new_cmd<C: TargetCmd>() -> impl PinInit<LioCmd<C>, Error>
    where
        Top: HasTarget<Target: Target<Cmd = C>>,
    {
        try_from_fn(|| {
            Ok(LioCmd {
                entry: RefCell::new(None),
                work: kernel::init::PinInit::make(Work::new())?,
            })
        })
    }

    fn open_session(_: &Port, _: &SessionRequest) -> Result<LioSession, OpenError> {
        // Access is decided: `login` opens it.
        Err(OpenError::NoMemory)
    }

    fn lun_number(_: Lun) -> u64 {
        0
    }

    fn rx_cmd<C: TargetCmd>(
        cmd: Arc<C>,
        session: &LioSession,
        rx: &RxCmd,
        immediate: Option<Immediate>,
    ) -> Result<(), (RxError, Arc<C>)> {
        let len = rx.data_len as usize;
        let is_write = rx.dir == Some(Dir::Out);
        Self::take(cmd, session, (rx.tag, is_write, len), immediate, None)
    }

    fn rx_data<C: TargetCmd>(cmd: ArcBorrow<'_, C>, status: RxDataStatus) {
        if let Some(entry) = cmd.engine_cmd().entry() {
            let unread = world()
                .conn(entry.conn)
                .unread
                .borrow()
                .contains(&entry.tag);
            match status {
                RxDataStatus::Success if unread => {
                    world().breaks(Rule::DataThere, format!("not for {}", entry.tag));
                }
                RxDataStatus::Success => {}
                RxDataStatus::Error => entry.failed.set(true),
            }
        }
        Self::owed(cmd, Phase::Data, Phase::Ready);
    }

    fn tgt_cmd_done<C: TargetCmd>(cmd: ArcBorrow<'_, C>, _: DoneContext) {
        Self::owed(cmd, Phase::Answering, Phase::Done);
    }

    fn rx_mgmt_fn<C: TargetCmd>(
        cmd: Arc<C>,
        session: &LioSession,
        rx: &RxMgmt,
    ) -> Result<(), (RxError, Arc<C>)> {
        Self::take(cmd, session, (rx.tag, false, 0), None, Some(*rx))
    }
}

impl crate::engine::Session for LioSession {
    fn key(&self) -> SessionKey {
        SessionKey(ptr::from_ref(self).addr())
    }

    fn target(&self) -> TargetKey {
        TargetKey(1)
    }

    fn name(&self) -> &CStr {
        c"initiator"
    }

    fn stop(&self) {
        let conn = self.conn();
        sched::access(&conn.engine.trace, true);
        conn.engine.stopped.set(true);
    }

    fn is_valid(&self) -> bool {
        true
    }

    fn close(&self, _tasks: impl Iterator<Item = u64>) {
        let conn = self.conn();
        let (engine, at) = (&conn.engine, conn.clone());
        sched::access(&engine.trace, true);
        engine.stopped.set(true);
        sched::wait(&engine.trace, move || !at.engine.has_commands());
        if engine.closed.replace(true) {
            world().breaks(Rule::OneTeardown, "a session is closed twice");
        }
    }
}
