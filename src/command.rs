// SPDX-License-Identifier: GPL-2.0

//! A command: one request of the initiator on its way through the engine and back.
//!
//! Commands are allocated by the login, when their queue pair exists, and reused. Allocated per
//! request are only the list of memory segments, for transfers with several, and a descriptor table
//! that has to be fetched ([`table`]). The receive buffer of a request stays with its command until
//! just before the response is posted: CDB and descriptors are read in place, and no credit is sent
//! before a buffer is posted for it.
//!
//! [`scsi`] submits a request to the engine, [`transfer`] moves its data, [`respond`] sends the
//! response; [`callbacks`] are the engine's calls; [`wait`] defers task management functions. Not
//! here: the decisions ([`crate::srp::machine::command`]).
//!
//! # Order at the end of a command
//!
//! 1. The SEND of the response completes, or is posted if nothing has to wait for it
//!    ([`Engine::ENDS_WHEN_POSTED`]). The RDMA contexts of the command are destroyed before
//!    that is reported ([`crate::rdma::rw`]), so the engine's buffer is not mapped any more.
//! 2. [`Engine::tgt_cmd_done`]: the engine may free the buffer, and gives the command back in
//!    [`Command::on_free`].
//! 3. The command returns to the pool of its channel.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        SpinLock,
        SpinLockGuard, //
    }, //
};

use crate::{
    engine::{
        Active,
        ActiveCmd,
        Engine,
        EngineCmd,
        HasTarget,
        Target,
        Top, //
    },
    link::{
        Buffer,
        Hold,
        Link,
        Owner, //
    },
    rdma::{
        buf::{
            impl_has_tx,
            TxBuf, //
        },
        cqe::{
            impl_has_cqe,
            Cqe,
            READ,
            SEND, //
        },
        rw::{
            impl_has_rw,
            RwSlot, //
        },
        wc::WorkCompletion, //
    },
    srp::{
        self,
        machine::{
            channel::CloseReason,
            command::{
                Action,
                Command as Machine,
                Event,
                Fact, //
            }, //
        },
        wire::{
            cmd::Cmd,
            consts::{
                RspCode,
                SolNot, //
            },
            desc::{
                DataDesc,
                DescParams,
                Dir,
                DirectDesc, //
            },
            rsp::Residual, //
        }, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

pub(crate) mod answer;
mod callbacks;
mod respond;
pub(crate) mod scsi;
mod table;
pub(crate) mod timing;
mod transfer;
pub(crate) mod wait;

use answer::LocalAnswer;
use respond::Writes;
use timing::{
    Arrival,
    Time,
    Timing, //
};
use wait::TableWait;

/// What is kept of the descriptors of a request.
#[derive(Clone, Copy)]
pub(crate) enum Descs {
    /// It has none.
    None,
    /// The one of a SCSI command, and its direction.
    Single(Dir, DirectDesc),
    /// Length and location of immediate data.
    Immediate(usize, DescParams),
    /// Location of all others, and the direction of the data. (Commands with data in both
    /// directions get no further than their descriptors.)
    List(Dir, DescParams),
}

impl Descs {
    /// Returns the direction of the data; without data it is [`Dir::Out`].
    fn dir(&self) -> Dir {
        match self {
            Self::None | Self::Immediate(..) => Dir::Out,
            Self::Single(dir, _) | Self::List(dir, _) => *dir,
        }
    }

    /// Returns what is kept of a SCSI command.
    pub(crate) fn of(cmd: &Cmd<'_>) -> Self {
        match (&cmd.data, cmd.data.single()) {
            (_, Some((dir, desc))) => Self::Single(dir, desc),
            (DataDesc::None, _) => Self::None,
            (DataDesc::Immediate(bytes), _) => Self::Immediate(bytes.len(), cmd.params),
            _ => Self::List(cmd.dir().unwrap_or(Dir::Out), cmd.params),
        }
    }
}

/// What a request says about its data in one direction.
enum Part {
    /// There is no such data, or no request any more.
    None,
    /// One range of the initiator's memory.
    Single(DirectDesc),
    /// Bytes in the request.
    Immediate,
    /// To be found in the request.
    Inside,
}

/// A received information unit: buffer, length in bytes, arrival.
pub(crate) struct Received<O: Pool> {
    pub(crate) buf: Buffer<O>,
    pub(crate) len: usize,
    pub(crate) at: Arrival,
}

/// A request in its receive buffer.
struct Request<O: Pool> {
    buf: Buffer<O>,
    len: usize,
    descs: Descs,
    /// The descriptor table that was fetched, if it is not in the information unit.
    table: Option<KVec<u8>>,
}

impl<O: Pool> Request<O> {
    /// Parses a SCSI command again, with its descriptor table, which was fetched. Returns [`None`]
    /// if the table does not match the command, or this is no command with a table.
    fn parse(&self) -> Option<Cmd<'_>> {
        let Descs::List(_, params) = &self.descs else {
            return None;
        };
        let mut cmd = Cmd::parse(self.bytes(), params.imm_offset).ok()?;
        cmd.data = self.resolve(cmd.data)?;
        Some(cmd)
    }

    /// Parses the descriptors of a SCSI command again, those of [`Descs::List`] and
    /// [`Descs::Immediate`]; see [`Self::parse`].
    fn data(&self) -> Option<DataDesc<'_>> {
        match &self.descs {
            Descs::None | Descs::Single(..) => None,
            Descs::Immediate(_, params) | Descs::List(_, params) => {
                self.resolve(DataDesc::parse(self.bytes(), params).ok()?)
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        self.buf.bytes(self.len)
    }

    fn resolve<'a>(&'a self, data: DataDesc<'a>) -> Option<DataDesc<'a>> {
        match data {
            DataDesc::External(external) => external.resolve(self.table.as_ref()?).ok(),
            _ => Some(data),
        }
    }
}

/// Fields of a request that the response needs.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Tag to be echoed.
    pub(crate) tag: u64,
    /// Responses that raise a solicited event.
    pub(crate) sol_not: SolNot,
}

/// State of a command, behind its lock.
struct Inner<O: Pool> {
    machine: Machine,
    head: Head,
    /// Receive buffer of the request, until just before the response is posted.
    buf: Option<Buffer<O>>,
    /// Length of the request in bytes.
    len: usize,
    descs: Descs,
    /// The descriptor table that was fetched, until the end.
    table: Option<KVec<u8>>,
    /// Keeps tear-down waiting while a session of another channel has the command.
    hold: Option<Hold<O>>,
    /// Task management functions that aborted the command while its descriptor table was being
    /// fetched, and wait for its end.
    waits: Option<KVec<TableWait<O>>>,
    /// Time of arrival of the request.
    arrived: Time,
    /// Timestamps of a SCSI command, until its response completes, or is posted unsignaled.
    timing: Option<Timing>,
    /// Logical unit ([`Engine::lun_number`]) while the descriptor table is being fetched.
    table_lun: u64,
    /// Send queue slots reserved for RDMA.
    rdma_slots: u32,
}

/// Snapshot of a command in use.
pub(crate) struct View {
    /// Tag of the request.
    pub(crate) tag: u64,
    /// State of the machine.
    pub(crate) state: srp::machine::command::State,
    /// It is a SCSI command, not a task management request.
    pub(crate) is_scsi: bool,
    /// The engine has the command, or has answered it.
    pub(crate) at_engine: bool,
    /// Milliseconds since the request arrived.
    pub(crate) age_ms: i64,
}

/// Owner of a connection that takes free commands back.
pub(crate) trait Pool: Owner {
    /// Takes a free command back. Process context.
    fn command_free(this: ArcBorrow<'_, Self>, cmd: Arc<Command<Self>>);
}

/// A command.
#[pin_data]
pub(crate) struct Command<O: Pool> {
    /// The engine's part.
    #[pin]
    pub(crate) engine: ActiveCmd<Self>,
    /// Keeps the channel and the queue pair. A cycle, which tear-down breaks: it takes the commands
    /// out of the channel.
    link: Arc<Link<O>>,
    #[pin]
    send: Cqe<Command<O>, SEND>,
    #[pin]
    read: Cqe<Command<O>, READ>,
    #[pin]
    rw: RwSlot,
    /// Send queue slots that the request's transfer needs if it once found too few; otherwise 0.
    wanted: Atomic<u32>,
    tx: TxBuf,
    #[pin]
    inner: SpinLock<Inner<O>>,
}

impl_has_cqe! {
    impl{O: Pool} HasCqe<0> for Command<O> { self.send }
    impl{O: Pool} HasCqe<1> for Command<O> { self.read }
}

impl_has_rw! { impl{O: Pool} HasRw for Command<O> { self.rw } }
impl_has_tx! { impl{O: Pool} HasTx for Command<O> { self.tx } }

impl<O: Pool> Command<O> {
    /// Allocates a command of this connection, whose responses use `tx`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(link: &Arc<Link<O>>, tx: TxBuf) -> Result<Arc<Self>>
    where
        Top: HasTarget<Target: Target<Cmd = Self>>,
    {
        Arc::pin_init(
            try_pin_init!(Self {
                engine <- Active::new_cmd::<Self>(),
                link: link.clone(),
                send: Cqe::new(),
                read: Cqe::new(),
                rw <- RwSlot::new(),
                wanted: Atomic::new(0),
                tx,
                inner <- new_spinlock!(
                    Inner {
                        machine: Machine::new(),
                        head: Head {
                            tag: 0,
                            sol_not: SolNot(0),
                        },
                        buf: None,
                        len: 0,
                        descs: Descs::None,
                        table: None,
                        hold: None,
                        waits: None,
                        arrived: Time::now(),
                        timing: None,
                        table_lun: 0,
                        rdma_slots: 0,
                    },
                    "Command::inner"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Begins a SCSI command.
    #[inline]
    pub(crate) fn start(&self, head: Head, rx: Received<O>, descs: Descs) {
        let timing = Timing::new(rx.at);
        let mut inner = self.begin(head, rx, descs);
        inner.timing = Some(timing);
        note(&mut inner.machine, Fact::Start);
    }

    /// Begins a malformed request, which is answered with an error and not counted as a command
    /// that failed.
    pub(crate) fn start_invalid(&self, head: Head, rx: Received<O>) {
        note(&mut self.begin(head, rx, Descs::None).machine, Fact::Start);
    }

    /// Begins a task management request. `hold` keeps the channel of the command that it names, if
    /// that is another one.
    pub(crate) fn start_mgmt(&self, head: Head, rx: Received<O>, hold: Option<Hold<O>>) {
        let mut inner = self.begin(head, rx, Descs::None);
        note(&mut inner.machine, Fact::StartMgmt);
        inner.hold = hold;
    }

    #[inline]
    fn begin(&self, head: Head, rx: Received<O>, descs: Descs) -> SpinLockGuard<'_, Inner<O>> {
        self.wanted.store(0, Relaxed);
        let mut inner = self.inner.lock();
        inner.head = head;
        inner.arrived = rx.at.at;
        inner.buf = Some(rx.buf);
        inner.len = rx.len;
        inner.descs = descs;
        inner.timing = None;
        inner.rdma_slots = 0;
        inner
    }

    /// Returns a snapshot; [`None`] if the command is free.
    pub(crate) fn view(&self) -> Option<View> {
        let inner = self.inner.lock();
        if inner.machine.state() == srp::machine::command::State::Free {
            return None;
        }
        Some(View {
            tag: inner.head.tag,
            state: inner.machine.state(),
            is_scsi: !inner.machine.is_mgmt(),
            at_engine: inner.machine.is_at_engine(),
            age_ms: inner.arrived.elapsed().as_millis(),
        })
    }

    /// Hands over memory that the engine keeps for the next use; see [`EngineCmd::age`].
    pub(crate) fn age(&self) -> Option<<ActiveCmd<Self> as EngineCmd>::Kept> {
        self.engine.age()
    }

    /// Returns the tag if this is a SCSI command that is not answered yet.
    pub(crate) fn task(&self) -> Option<u64> {
        let inner = self.inner.lock();
        inner.machine.state().is_task().then_some(inner.head.tag)
    }

    /// Returns what posting requires.
    pub(crate) fn link(&self) -> &Arc<Link<O>> {
        &self.link
    }

    /// Completes what the command has posted, as flushed: the queue pair is broken off.
    pub(crate) fn complete_lost(self: &Arc<Self>) {
        self.link.qp.complete_lost::<_, SEND>(self);
        self.link.qp.complete_lost::<_, READ>(self);
    }

    /// Handles the engine's abort of the command.
    pub(crate) fn on_abort(&self) {
        note(&mut self.inner.lock().machine, Fact::Aborted);
    }

    /// Closes the channel because the engine's limit for the transfers has passed, so that they
    /// complete.
    #[allow(dead_code, reason = "not every engine watches transfers")]
    pub(crate) fn on_hw_timeout(&self) {
        let on_wire = self.inner.lock().machine.state().on_wire();
        // Nothing on the wire: the transfers have completed meanwhile.
        if on_wire {
            pr_warn!("a transfer did not complete in time\n");
            self.link.close(CloseReason::QpError);
        }
    }

    /// Takes the command back from the engine.
    pub(crate) fn on_free(this: Arc<Self>) {
        let mut inner = this.inner.lock();
        let action = step(&mut inner.machine, Event::Freed);
        let return_credit = match action {
            Some(Action::Recycle { return_credit }) => return_credit,
            Some(Action::Answer) => {
                drop(inner);
                return Self::answer_here(this, LocalAnswer::Mgmt(RspCode::Failed));
            }
            Some(
                Action::FetchTable
                | Action::Submit
                | Action::Abandon
                | Action::Fetch
                | Action::Execute
                | Action::FailData
                | Action::SendResponse
                | Action::SkipResponse
                | Action::Complete { .. },
            )
            | None => return,
        };
        let buf = inner.buf.take();
        let rest = inner.has_rest();
        drop(inner);
        this.give_back(buf, return_credit);
        if rest {
            Self::recycle_rest(this);
        } else {
            Self::recycle(this);
        }
    }

    /// Reposts the receive buffer of a request that ends without a response, and returns its
    /// credit.
    #[inline]
    fn give_back(&self, buf: Option<Buffer<O>>, return_credit: bool) {
        if let Some(buf) = buf {
            self.link.repost(buf);
        }
        if return_credit {
            self.link.flow().forgo_response();
            O::credits_due(self.link.owner.as_arc_borrow());
        }
    }

    /// Returns a command that has nothing of its request any more to the pool.
    #[inline]
    fn recycle(this: Arc<Self>) {
        let owner = this.link.owner.clone();
        O::command_free(owner.as_arc_borrow(), this);
    }

    /// As [`Self::recycle`], for a command that may have a [`Rest`]. The rest is dropped last: its
    /// hold may be all that keeps tear-down waiting until the command is in the pool.
    #[cold]
    fn recycle_rest(this: Arc<Self>) {
        let rest = this.inner.lock().take_rest();
        Self::recycle(this);
        drop(rest);
    }

    /// Frees a command that the engine did not take, without a response.
    pub(crate) fn abandon(this: Arc<Self>) {
        Self::on_free(this);
    }

    /// Responds to a command that the engine did not take.
    pub(crate) fn answer(this: Arc<Self>, answer: LocalAnswer) {
        note(&mut this.inner.lock().machine, Fact::Refused);
        Self::answer_here(this, answer);
    }

    /// Responds to a command that is not with the engine.
    fn answer_here(this: Arc<Self>, answer: LocalAnswer) {
        let rsp = respond::own(&answer);
        if Self::send(this.as_arc_borrow(), Writes::NONE, rsp, Residual::None).is_err() {
            Self::abandon(this);
        }
    }

    fn take_rx(&self) -> Option<Request<O>> {
        let mut inner = self.inner.lock();
        Some(Request {
            buf: inner.buf.take()?,
            len: inner.len,
            descs: inner.descs,
            table: inner.table.take(),
        })
    }

    /// Returns what the request says about its data in the direction `dir`.
    #[inline]
    fn part(&self, dir: Dir) -> Part {
        let inner = self.inner.lock();
        match (&inner.descs, dir) {
            _ if inner.buf.is_none() => Part::None,
            (Descs::Single(found, desc), _) if *found == dir => Part::Single(*desc),
            (Descs::Immediate(..), Dir::Out) => Part::Immediate,
            (Descs::List(found, _), _) if *found == dir => Part::Inside,
            _ => Part::None,
        }
    }

    fn put_rx(&self, rx: Request<O>) {
        let mut inner = self.inner.lock();
        inner.buf = Some(rx.buf);
        inner.table = rx.table;
    }

    /// Closes the connection after a completion with an error.
    #[inline]
    fn check(&self, what: &str, wc: &WorkCompletion) {
        if let Err(status) = wc.result() {
            O::work_failed(self.link.owner.as_arc_borrow(), what, status);
        }
    }
}

impl<O: Pool> Inner<O> {
    /// Returns whether the request has left a [`Rest`].
    fn has_rest(&self) -> bool {
        self.waits.is_some() || self.hold.is_some() || self.table.is_some()
    }

    fn take_rest(&mut self) -> Rest<O> {
        Rest {
            waits: self.waits.take(),
            hold: self.hold.take(),
            table: self.table.take(),
        }
    }
}

/// Resources that are dropped after the command is free, without a lock held.
struct Rest<O: Pool> {
    #[allow(dead_code, reason = "its drop carries the functions out")]
    waits: Option<KVec<TableWait<O>>>,
    #[allow(dead_code, reason = "its drop lets tear-down go on")]
    hold: Option<Hold<O>>,
    #[allow(dead_code, reason = "its drop frees the memory")]
    table: Option<KVec<u8>>,
}

/// Feeds an event to a command's machine. Returns the action, or [`None`] after a violation, which
/// is an error in this module or in the engine: it is logged.
#[must_use = "the action has to be executed"]
fn step(machine: &mut Machine, event: Event) -> Option<Action> {
    let action = machine.handle(event);
    action
        .inspect_err(|violation| pr_err!("command: {}\n", violation))
        .ok()
}

/// Feeds a fact to a command's machine; see [`step`].
fn note(machine: &mut Machine, fact: Fact) {
    if let Err(violation) = machine.note(fact) {
        pr_err!("command: {}\n", violation);
    }
}
