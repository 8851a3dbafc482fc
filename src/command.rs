// SPDX-License-Identifier: GPL-2.0

//! A command: one request of the initiator on its way through the engine and back.
//!
//! Commands are allocated with their channel and reused. Allocated per request are only the list of
//! memory segments, for transfers with several, and a descriptor table that has to be fetched
//! ([`table`]). The receive buffer of a request stays with its command until just before the
//! response is posted: CDB and descriptors are read in place, and no credit is sent before a buffer
//! is posted for it.
//!
//! [`scsi`] submits a request to the engine, [`transfer`] moves its data, [`respond`] sends the
//! response; [`callbacks`] are the engine's calls; [`wait`] defers task management functions. Not
//! here: the decisions ([`crate::srp::machine::command`]).
//!
//! # Order at the end of a command
//!
//! 1. The SEND of the response completes. The RDMA contexts of the command are destroyed before
//!    that is reported ([`crate::rdma::rw`]), so the engine's buffer is not mapped any more.
//! 2. [`Engine::tgt_cmd_done`]: the engine may free the buffer, and gives the command back in
//!    [`Command::on_free`].
//! 3. The command returns to the pool of its channel and drops its reference on the channel.

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
        device::Device,
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
            cmd::{
                Cmd,
                Direction, //
            },
            consts::{
                RspCode,
                SolNot, //
            },
            desc::{
                DataDesc,
                DescParams,
                Dir,
                DirectDesc, //
            }, //
        }, //
    },
    sync::ratelimit, //
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
use respond::{
    Outcome,
    Writes, //
};
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
    /// Returns what is kept of a SCSI command.
    pub(crate) fn of(cmd: &Cmd<'_>) -> Self {
        match (&cmd.data, cmd.data.single()) {
            (_, Some((dir, desc))) => Self::Single(dir, desc),
            (DataDesc::None, _) => Self::None,
            (DataDesc::Immediate(bytes), _) => Self::Immediate(bytes.len(), cmd.params),
            _ => match cmd.direction() {
                Direction::In => Self::List(Dir::In, cmd.params),
                _ => Self::List(Dir::Out, cmd.params),
            },
        }
    }
}

/// What a request says about its data in one direction.
enum Part {
    /// There is no request any more.
    Gone,
    /// There is no such data.
    None,
    /// One range of the initiator's memory.
    Single(DirectDesc),
    /// This many bytes in the request.
    Immediate(usize),
    /// To be found in the request.
    Inside,
}

/// A request in its receive buffer.
pub(crate) struct Request<O: Pool> {
    pub(crate) buf: Buffer<O>,
    pub(crate) len: usize,
    pub(crate) arrival: Arrival,
    pub(crate) descs: Descs,
    /// The descriptor table that was fetched, if it is not in the information unit.
    pub(crate) table: Option<KVec<u8>>,
}

impl<O: Pool> Request<O> {
    /// Wraps a request that has no fetched table.
    pub(crate) fn new(buf: Buffer<O>, len: usize, arrival: Arrival, descs: Descs) -> Self {
        Self {
            buf,
            len,
            arrival,
            descs,
            table: None,
        }
    }

    /// Parses a SCSI command again, with its descriptor table, which was fetched. Returns [`None`]
    /// if the table does not match the command, or this is no command with a table.
    pub(crate) fn parse(&self) -> Option<Cmd<'_>> {
        let Descs::List(_, params) = &self.descs else {
            return None;
        };
        let mut cmd = Cmd::parse(self.bytes(), params.imm_offset).ok()?;
        cmd.data = self.resolve(cmd.data)?;
        Some(cmd)
    }

    /// Parses the descriptors of a SCSI command again, those of [`Descs::List`] and
    /// [`Descs::Immediate`]; see [`Self::parse`].
    pub(crate) fn data(&self) -> Option<DataDesc<'_>> {
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

/// State of a command, behind its lock. All but the machine is empty while the command is free.
struct Inner<O: Pool> {
    machine: Machine,
    head: Head,
    /// Keeps the channel and the queue pair while the command is in use.
    link: Option<Arc<Link<O>>>,
    /// The request, until just before the response is posted.
    rx: Option<Request<O>>,
    /// Keeps tear-down waiting while a session of another channel has the command.
    hold: Option<Hold<O>>,
    /// Task management functions that aborted the command while its descriptor table was being
    /// fetched, and wait for its end.
    waits: Option<KVec<TableWait<O>>>,
    /// Time of arrival of the request.
    arrived: Time,
    /// Timestamps of a SCSI command, until its response completes.
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
    #[pin]
    send: Cqe<Command<O>, SEND>,
    #[pin]
    read: Cqe<Command<O>, READ>,
    #[pin]
    rw: RwSlot,
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
    /// Allocates a command with a response buffer of `rsp_size` bytes. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EIO` if the device cannot map the buffer.
    pub(crate) fn new(device: &Device, rsp_size: usize) -> Result<Arc<Self>>
    where
        Top: HasTarget<Target: Target<Cmd = Self>>,
    {
        let tx = TxBuf::new(device, rsp_size)?;
        Arc::pin_init(
            try_pin_init!(Self {
                engine <- Active::new_cmd::<Self>(),
                send: Cqe::new(),
                read: Cqe::new(),
                rw <- RwSlot::new(),
                tx,
                inner <- new_spinlock!(
                    Inner {
                        machine: Machine::new(),
                        head: Head {
                            tag: 0,
                            sol_not: SolNot(0),
                        },
                        link: None,
                        rx: None,
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
    pub(crate) fn start(&self, link: &Arc<Link<O>>, head: Head, rx: Request<O>) {
        let timing = Timing::new(rx.arrival);
        let mut inner = self.begin(link, head, rx);
        inner.timing = Some(timing);
        note(&mut inner.machine, Fact::Start);
    }

    /// Begins a malformed request, which is answered with an error and not counted as a command
    /// that failed.
    pub(crate) fn start_invalid(&self, link: &Arc<Link<O>>, head: Head, rx: Request<O>) {
        note(&mut self.begin(link, head, rx).machine, Fact::Start);
    }

    /// Begins a task management request. `hold` keeps the channel of the command that it names, if
    /// that is another one.
    pub(crate) fn start_mgmt(
        &self,
        link: &Arc<Link<O>>,
        head: Head,
        rx: Request<O>,
        hold: Option<Hold<O>>,
    ) {
        let mut inner = self.begin(link, head, rx);
        note(&mut inner.machine, Fact::StartMgmt);
        inner.hold = hold;
    }

    fn begin(
        &self,
        link: &Arc<Link<O>>,
        head: Head,
        rx: Request<O>,
    ) -> SpinLockGuard<'_, Inner<O>> {
        let mut inner = self.inner.lock();
        inner.head = head;
        inner.arrived = rx.arrival.at;
        inner.link = Some(link.clone());
        inner.rx = Some(rx);
        inner.hold = None;
        inner.timing = None;
        inner.rdma_slots = 0;
        inner
    }

    /// Returns a snapshot; [`None`] if the command is free.
    pub(crate) fn view(&self) -> Option<View> {
        let inner = self.inner.lock();
        inner.link.as_ref()?;
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

    /// Returns whether this is a SCSI command with this tag that is not answered yet.
    pub(crate) fn is_task(&self, tag: u64) -> bool {
        let inner = self.inner.lock();
        inner.head.tag == tag && inner.machine.state().is_task()
    }

    fn link(&self) -> Option<Arc<Link<O>>> {
        self.inner.lock().link.clone()
    }

    /// Handles the engine's abort of the command.
    pub(crate) fn on_abort(&self) {
        note(&mut self.inner.lock().machine, Fact::Aborted);
    }

    /// Closes the channel because the engine's limit for the transfers has passed, so that they
    /// complete.
    #[allow(dead_code, reason = "not every engine watches transfers")]
    pub(crate) fn on_hw_timeout(&self) {
        let (link, on_wire) = {
            let inner = self.inner.lock();
            (inner.link.clone(), inner.machine.state().on_wire())
        };
        // Nothing on the wire: the transfers have completed meanwhile.
        if let (Some(link), true) = (link, on_wire) {
            pr_warn!("a transfer did not complete in time\n");
            link.close(CloseReason::QpError);
        }
    }

    /// Takes the command back from the engine.
    pub(crate) fn on_free(this: Arc<Self>) {
        let (action, end) = {
            let mut inner = this.inner.lock();
            let action = step(&mut inner.machine, Event::Freed);
            (action, inner.end(action))
        };
        if let Some(Action::Answer) = action {
            return Self::answer_here(this, LocalAnswer::Mgmt(RspCode::Failed));
        }
        let Some(end) = end else {
            return;
        };
        // The hold may be all that keeps tear-down waiting until the command is in the pool.
        let (link, rest) = end.give_back();
        O::command_free(link.owner.as_arc_borrow(), this);
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
        let Some(link) = this.link() else {
            return;
        };
        let outcome = Outcome::of(&answer);
        if Self::send(this.as_arc_borrow(), &link, Writes::NONE, &outcome).is_err() {
            Self::abandon(this);
        }
    }

    fn take_rx(&self) -> Option<Request<O>> {
        self.inner.lock().rx.take()
    }

    /// Returns what the request says about its data in the direction `dir`.
    fn part(&self, dir: Dir) -> (Option<Arc<Link<O>>>, Part) {
        let inner = self.inner.lock();
        let part = match (inner.rx.as_ref().map(|rx| &rx.descs), dir) {
            (None, _) => Part::Gone,
            (Some(Descs::Single(found, desc)), _) if *found == dir => Part::Single(*desc),
            (Some(Descs::Immediate(len, _)), Dir::Out) => Part::Immediate(*len),
            (Some(Descs::List(found, _)), _) if *found == dir => Part::Inside,
            (Some(_), _) => Part::None,
        };
        (inner.link.clone(), part)
    }

    fn put_rx(&self, rx: Request<O>) {
        self.inner.lock().rx = Some(rx);
    }

    /// Closes the channel after a completion with an error. Logs the error unless it is a flush,
    /// which follows from an earlier error or from tear-down.
    fn check(&self, link: &Link<O>, what: &str, wc: &WorkCompletion) {
        if let Err(status) = wc.result() {
            if !wc.is_flush() && ratelimit::ok() {
                pr_warn!("{} failed: {}\n", what, status);
            }
            link.close(CloseReason::QpError);
        }
    }
}

impl<O: Pool> Inner<O> {
    /// Takes out what the request holds if `action` ends its life.
    fn end(&mut self, action: Option<Action>) -> Option<End<O>> {
        let Some(Action::Recycle { return_credit }) = action else {
            return None;
        };
        Some(End {
            link: self.link.take()?,
            rx: self.rx.take(),
            return_credit,
            rest: Rest {
                waits: self.waits.take(),
                hold: self.hold.take(),
            },
        })
    }
}

/// Resources of a request that has ended.
struct End<O: Pool> {
    link: Arc<Link<O>>,
    rx: Option<Request<O>>,
    return_credit: bool,
    rest: Rest<O>,
}

/// Resources that are dropped after the command is free, without a lock held.
struct Rest<O: Pool> {
    #[allow(dead_code, reason = "its drop carries the functions out")]
    waits: Option<KVec<TableWait<O>>>,
    #[allow(dead_code, reason = "its drop lets tear-down go on")]
    hold: Option<Hold<O>>,
}

impl<O: Pool> End<O> {
    /// Reposts the receive buffer of a request without response, and returns its credit. Returns
    /// what the caller drops when the command is free.
    fn give_back(self) -> (Arc<Link<O>>, Rest<O>) {
        if let Some(rx) = self.rx {
            self.link.repost(rx.buf);
        }
        if self.return_credit {
            self.link.flow().forgo_response();
            O::credits_due(self.link.owner.as_arc_borrow());
        }
        (self.link, self.rest)
    }
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
