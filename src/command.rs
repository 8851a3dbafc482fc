// SPDX-License-Identifier: GPL-2.0

//! A command: one request of the initiator on its way through the engine and back.
//!
//! Commands are allocated with their channel and used again and again; nothing is allocated per
//! request except, for reads and writes of several memory segments, the list of them, and the
//! descriptor table if that has to be fetched ([`table`]). The receive
//! buffer of a request stays with its command until the response is about to be sent: CDB and
//! descriptors are read where they are, and a credit is never handed out before a buffer is posted
//! for it.
//!
//! A request becomes a command of the engine in [`scsi`]; its data is moved in [`transfer`], its response
//! sent in [`respond`]. What the engine may ask is in [`callbacks`]; what a task management function
//! waits for, in [`wait`].
//!
//! # Order at the end of a command
//!
//! 1. The SEND of the response completes. The RDMA contexts of the command are destroyed before
//!    that is reported ([`crate::rdma::rw`]), so the engine's buffer is not mapped any more.
//! 2. [`Engine::tgt_cmd_done`]: the engine may free the buffer, and gives the command back in
//!    [`Command::on_free`].
//! 3. The command returns to the pool of its channel and lets go of the channel.

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
            cmd::Cmd,
            consts::{
                RspCode,
                SolNot, //
            },
            desc::DataDesc, //
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
    Time, //
    Timing,
};
use wait::TableWait;

/// A request as it was received.
pub(crate) struct Request<O: Pool> {
    pub(crate) buf: Buffer<O>,
    pub(crate) len: usize,
    /// When it arrived.
    pub(crate) arrived: Time,
    /// The descriptor table, if that was not in the information unit and has been fetched.
    pub(crate) table: KVec<u8>,
}

impl<O: Pool> Request<O> {
    /// A request without a descriptor table of its own.
    pub(crate) fn new(buf: Buffer<O>, len: usize, arrived: Time) -> Self {
        Self {
            buf,
            len,
            arrived,
            table: KVec::new(),
        }
    }

    /// The SCSI command in it, with the fetched descriptor table if it has one. `None` if it is
    /// not a command, or the table does not fit to it.
    pub(crate) fn parse(&self, imm_offset: Option<u16>) -> Option<Cmd<'_>> {
        let mut cmd = Cmd::parse(self.buf.bytes(self.len), imm_offset).ok()?;
        if let DataDesc::External(external) = cmd.data {
            cmd.data = external.resolve(&self.table).ok()?;
        }
        Some(cmd)
    }
}

/// What the answer to a request needs to know of it.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Tag to be echoed.
    pub(crate) tag: u64,
    /// Which answers are to raise a solicited event.
    pub(crate) sol_not: SolNot,
}

/// What a command's lock protects. Empty, but for the machine, while the command is free.
struct Inner<O: Pool> {
    machine: Machine,
    head: Head,
    /// Holds the channel and the queue pair while the command is in use.
    link: Option<Arc<Link<O>>>,
    /// The request, until its response is about to be sent.
    rx: Option<Request<O>>,
    /// Keeps the tear-down of the channel waiting while the engine's session of another channel has
    /// the command.
    hold: Option<Hold<O>>,
    /// Functions that have aborted the command while its descriptor table is being fetched, and wait
    /// for its end.
    waits: KVec<TableWait<O>>,
    /// When the request arrived.
    arrived: Time,
    /// Of a SCSI command, until it is answered.
    timing: Option<Timing>,
    /// The logical unit, in the engine's form, while the descriptor table is being fetched.
    table_lun: u64,
    /// Slots of the send queue taken by RDMA.
    rdma_slots: u32,
}

/// What can be seen of a command in use at one moment.
pub(crate) struct View {
    /// Tag of the request.
    pub(crate) tag: u64,
    /// What the command is doing.
    pub(crate) state: srp::machine::command::State,
    /// It is a SCSI command.
    pub(crate) is_scsi: bool,
    /// The engine has it, or has answered it.
    pub(crate) at_engine: bool,
    /// Milliseconds since the request arrived.
    pub(crate) age_ms: i64,
}

/// What commands ask of the owner of their connection, besides: where they go when they are free.
pub(crate) trait Pool: Owner {
    /// A command is free again. Process context.
    fn command_free(this: ArcBorrow<'_, Self>, cmd: Arc<Command<Self>>);
}

/// A command.
#[pin_data]
pub(crate) struct Command<O: Pool> {
    /// What the engine keeps per command.
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
    /// A free command with a response buffer of `rsp_size` bytes. May sleep.
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
                        waits: KVec::new(),
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

    /// A SCSI command arrived.
    pub(crate) fn start(&self, link: &Arc<Link<O>>, head: Head, rx: Request<O>) {
        let timing = Timing::new(rx.arrived);
        let mut inner = self.begin(link, head, rx);
        inner.timing = Some(timing);
        note(&mut inner.machine, Fact::Start);
    }

    /// A request arrived that will be answered with an error because of its form. It does not count
    /// as a command that failed.
    pub(crate) fn start_invalid(&self, link: &Arc<Link<O>>, head: Head, rx: Request<O>) {
        note(&mut self.begin(link, head, rx).machine, Fact::Start);
    }

    /// A task management request arrived. With `hold`, it is about a command of another channel.
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
        inner.arrived = rx.arrived;
        inner.link = Some(link.clone());
        inner.rx = Some(rx);
        inner.hold = None;
        inner.timing = None;
        inner.rdma_slots = 0;
        inner
    }

    /// What can be seen of the command; [`None`] if it is free.
    pub(crate) fn view(&self) -> Option<View> {
        let inner = self.inner.lock();
        inner.link.as_ref()?;
        Some(View {
            tag: inner.head.tag,
            state: inner.machine.state(),
            is_scsi: !inner.machine.state().is_mgmt(),
            at_engine: inner.machine.is_at_engine(),
            age_ms: inner.arrived.elapsed().as_millis(),
        })
    }

    /// Whether this is a SCSI command with this tag, not answered yet.
    pub(crate) fn is_task(&self, tag: u64) -> bool {
        let inner = self.inner.lock();
        inner.head.tag == tag && inner.machine.state().is_task()
    }

    fn link(&self) -> Option<Arc<Link<O>>> {
        self.inner.lock().link.clone()
    }

    /// The engine aborted the command.
    pub(crate) fn on_abort(&self) {
        note(&mut self.inner.lock().machine, Fact::Aborted);
    }

    /// The engine thinks that the transfers take too long. Ends the channel, so that they complete.
    #[allow(dead_code, reason = "not every engine watches transfers")]
    pub(crate) fn on_hw_timeout(&self) {
        let (link, on_wire) = {
            let inner = self.inner.lock();
            (inner.link.clone(), inner.machine.state().on_wire())
        };
        // If nothing is on the wire, it has completed meanwhile.
        if let (Some(link), true) = (link, on_wire) {
            pr_warn!("a transfer did not complete in time\n");
            link.close(CloseReason::QpError);
        }
    }

    /// The engine gives the command back.
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
        // Until the command is back, its hold may be all that keeps tear-down waiting.
        let (link, rest) = end.give_back();
        O::command_free(link.owner.as_arc_borrow(), this);
        drop(rest);
    }

    /// Lets go of a command that the engine did not take and nobody is to answer.
    pub(crate) fn abandon(this: Arc<Self>) {
        Self::on_free(this);
    }

    /// Answers a command that the engine did not take.
    pub(crate) fn answer(this: Arc<Self>, answer: LocalAnswer) {
        note(&mut this.inner.lock().machine, Fact::Refused);
        Self::answer_here(this, answer);
    }

    /// Answers a command that is not with the engine.
    fn answer_here(this: Arc<Self>, answer: LocalAnswer) {
        let Some(link) = this.link() else {
            return;
        };
        let outcome = Outcome::of(&answer);
        if Self::send(this.as_arc_borrow(), &link, Writes::NONE, &outcome).is_err() {
            Self::abandon(this);
        }
    }

    fn take_rx(&self) -> (Option<Arc<Link<O>>>, Option<Request<O>>) {
        let mut inner = self.inner.lock();
        (inner.link.clone(), inner.rx.take())
    }

    fn put_rx(&self, rx: Request<O>) {
        self.inner.lock().rx = Some(rx);
    }

    /// After a completion with an error nothing works any more: closes the channel. The error is
    /// logged, unless it is the flush of a channel that closes already.
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
    /// Takes out what a request held, if the machine has said that its life is over.
    fn end(&mut self, action: Option<Action>) -> Option<End<O>> {
        let Some(Action::Recycle { return_credit }) = action else {
            return None;
        };
        Some(End {
            link: self.link.take()?,
            rx: self.rx.take(),
            return_credit,
            rest: Rest {
                waits: core::mem::take(&mut self.waits),
                hold: self.hold.take(),
            },
        })
    }
}

/// What a request held.
struct End<O: Pool> {
    link: Arc<Link<O>>,
    rx: Option<Request<O>>,
    return_credit: bool,
    rest: Rest<O>,
}

/// What a request keeps until its command is free: tear-down waiting, and functions that wait for
/// its end. To be dropped without a lock.
struct Rest<O: Pool> {
    #[allow(dead_code, reason = "its drop carries the functions out")]
    waits: KVec<TableWait<O>>,
    #[allow(dead_code, reason = "its drop lets tear-down go on")]
    hold: Option<Hold<O>>,
}

impl<O: Pool> End<O> {
    /// Posts the receive buffer of a request without response, and notes its credit. Returns what
    /// is to stay until the command is free.
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

/// Feeds an event to a command's machine. Returns what to do, or [`None`] if the event was not
/// possible, which is an error in this module or in the engine: it is reported, and nothing is done.
#[must_use = "the action has to be executed"]
fn step(machine: &mut Machine, event: Event) -> Option<Action> {
    let action = machine.handle(event);
    action
        .inspect_err(|violation| pr_err!("command: {}\n", violation))
        .ok()
}

/// Tells a command's machine what asks for nothing; see [`step`].
fn note(machine: &mut Machine, fact: Fact) {
    if let Err(violation) = machine.note(fact) {
        pr_err!("command: {}\n", violation);
    }
}
