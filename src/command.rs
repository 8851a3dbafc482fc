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
    channel::{
        manage::TableWait,
        Buffer,
        Channel,
        Hold,
        Link, //
    },
    engine::{
        Active,
        ActiveCmd,
        Delivery,
        DoneContext,
        Engine,
        EngineCmd,
        RxDataStatus,
        TmResult, //
    },
    rdma::{
        buf::{
            impl_has_tx,
            TxBuf, //
        },
        cqe::{
            impl_has_cqe,
            Cqe,
            CqeHandler,
            READ,
            SEND, //
        },
        device::Device,
        rw::{
            impl_has_rw,
            RemoteSeg,
            RwDir,
            RwSlot, //
        },
        sg::SgList,
        wc::WorkCompletion, //
    },
    srp::{
        self,
        channel::CloseReason,
        cmd::Cmd,
        command::{
            Action,
            Command as Machine,
            Event, //
        },
        consts::{
            RspCode,
            SolNot, //
        },
        desc::{
            DataDesc,
            DescList, //
        },
        rsp::{
            Residual,
            Rsp, //
        },
        sendq::NoSlot,
        stats::Counter, //
    },
    sync::ratelimit,
    trace, //
};

pub(crate) mod answer;
mod callbacks;
pub(crate) mod life;
mod table;

use answer::LocalAnswer;
use life::{
    Life,
    Time, //
};

/// A request as it was received.
pub(crate) struct Request {
    pub(crate) buf: Buffer,
    pub(crate) len: usize,
    /// When it arrived.
    pub(crate) arrived: Time,
    /// The descriptor table, if that was not in the information unit and has been fetched.
    pub(crate) table: KVec<u8>,
}

impl Request {
    /// A request without a descriptor table of its own.
    pub(crate) fn new(buf: Buffer, len: usize, arrived: Time) -> Self {
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
struct Inner {
    machine: Machine,
    head: Head,
    /// Holds the channel and the queue pair while the command is in use.
    link: Option<Arc<Link>>,
    /// The request, until its response is about to be sent.
    rx: Option<Request>,
    /// Keeps the tear-down of the channel waiting while the engine's session of another channel has
    /// the command.
    hold: Option<Hold>,
    /// Functions that have aborted the command while its descriptor table is being fetched, and wait
    /// for its end.
    waits: KVec<TableWait>,
    /// When the request arrived.
    arrived: Time,
    /// Of a SCSI command, until it is answered.
    life: Option<Life>,
    /// The logical unit, in the engine's form, while the descriptor table is being fetched.
    table_lun: u64,
    /// Slots of the send queue taken by RDMA.
    rdma_slots: u32,
    /// The engine has the command, and will give it back.
    at_engine: bool,
}

/// What can be seen of a command in use at one moment.
pub(crate) struct View {
    /// Tag of the request.
    pub(crate) tag: u64,
    /// What the command is doing.
    pub(crate) state: srp::command::State,
    /// It is a SCSI command.
    pub(crate) is_scsi: bool,
    /// The engine has it, or has answered it.
    pub(crate) at_engine: bool,
    /// Milliseconds since the request arrived.
    pub(crate) age_ms: i64,
}

/// A command.
#[pin_data]
pub(crate) struct Command {
    /// What the engine keeps per command.
    #[pin]
    pub(crate) engine: ActiveCmd<Self>,
    #[pin]
    send: Cqe<Command, SEND>,
    #[pin]
    read: Cqe<Command, READ>,
    #[pin]
    rw: RwSlot,
    tx: TxBuf,
    #[pin]
    inner: SpinLock<Inner>,
}

impl_has_cqe! {
    impl HasCqe<0> for Command { self.send }
    impl HasCqe<1> for Command { self.read }
}

impl_has_rw! { impl HasRw for Command { self.rw } }
impl_has_tx! { impl HasTx for Command { self.tx } }

/// Why a response was not posted.
enum NotSent {
    /// No room for RDMA now.
    QueueFull,
    /// The command needs more RDMA work requests than the send queue has.
    NeverFits,
    /// Nothing can be sent on this channel any more, or the command was aborted.
    Dead,
}

/// What a response says, apart from tag and credits.
struct Outcome<'a> {
    status: u8,
    sense: &'a [u8],
    rsp_code: Option<u8>,
    residual_out: Residual,
    residual_in: Residual,
}

impl Command {
    /// A free command with a response buffer of `rsp_size` bytes. May sleep.
    pub(crate) fn new(device: &Device, rsp_size: usize) -> Result<Arc<Self>> {
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
                        life: None,
                        table_lun: 0,
                        rdma_slots: 0,
                        at_engine: false,
                    },
                    "Command::inner"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// A SCSI command arrived.
    pub(crate) fn start(&self, link: &Arc<Link>, head: Head, rx: Request) {
        let life = Life::new(rx.arrived);
        let mut inner = self.begin(link, head, rx);
        inner.life = Some(life);
        note(&mut inner.machine, Event::Start);
    }

    /// A request arrived that will be answered with an error because of its form. It does not count
    /// as a command that failed.
    pub(crate) fn start_invalid(&self, link: &Arc<Link>, head: Head, rx: Request) {
        note(&mut self.begin(link, head, rx).machine, Event::Start);
    }

    /// A task management request arrived. With `hold`, it is about a command of another channel.
    pub(crate) fn start_mgmt(&self, link: &Arc<Link>, head: Head, rx: Request, hold: Option<Hold>) {
        let mut inner = self.begin(link, head, rx);
        note(&mut inner.machine, Event::StartMgmt);
        inner.hold = hold;
    }

    fn begin(&self, link: &Arc<Link>, head: Head, rx: Request) -> SpinLockGuard<'_, Inner> {
        let mut inner = self.inner.lock();
        inner.head = head;
        inner.arrived = rx.arrived;
        inner.link = Some(link.clone());
        inner.rx = Some(rx);
        inner.hold = None;
        inner.life = None;
        inner.rdma_slots = 0;
        inner.at_engine = true;
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
            at_engine: inner.at_engine,
            age_ms: inner.arrived.elapsed().as_millis(),
        })
    }

    /// Whether this is a SCSI command with this tag, not answered yet.
    pub(crate) fn is_task(&self, tag: u64) -> bool {
        let inner = self.inner.lock();
        inner.head.tag == tag && inner.machine.state().is_task()
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.inner.lock().link.clone()
    }

    /// The engine wants the data of a write. See [`crate::engine::TargetCmd::rdy_to_xfer`].
    pub(crate) fn rdy_to_xfer(this: ArcBorrow<'_, Self>) -> Delivery {
        let (Some(link), Some(rx)) = this.take_rx() else {
            return Delivery::FatalError;
        };
        let delivery = this.fetch(&link, &rx);
        this.put_rx(rx);
        match delivery {
            Fetch::Here => {
                Active::rx_data(this, RxDataStatus::Success);
                Delivery::Success
            }
            Fetch::Posting => Self::post_read(this, &link),
            Fetch::Refused(delivery) => delivery,
        }
    }

    /// Copies immediate data, or prepares to fetch data by RDMA.
    fn fetch(&self, link: &Link, rx: &Request) -> Fetch {
        let sg = self.engine.data();
        let Some(request) = rx.parse(link.channel.imm_offset()) else {
            return Fetch::Refused(Delivery::FatalError);
        };
        match request.data {
            DataDesc::Immediate(bytes) => {
                // The engine's buffer is as long as the CDB and what was announced allow.
                if sg.copy_from_slice(bytes) < sg.len() {
                    return Fetch::Refused(Delivery::FatalError);
                }
                let mut inner = self.inner.lock();
                trace::data(link.channel.serial(), inner.head.tag, true);
                if let Some(life) = &mut inner.life {
                    life.wants_data(bytes.len());
                    life.has_data();
                }
                let ready = step(&mut inner.machine, Event::RdyToXfer) == Action::Fetch
                    && step(&mut inner.machine, Event::DataArrived { ok: true }) == Action::Execute;
                match ready {
                    true => Fetch::Here,
                    false => Fetch::Refused(Delivery::FatalError),
                }
            }
            DataDesc::Out(list) => match self.reserve_rdma(link, &sg, &list, RwDir::Read) {
                Ok(slots) => {
                    let mut inner = self.inner.lock();
                    inner.rdma_slots = slots;
                    // CAST: What one command moves is less than 4 GiB.
                    let len = sg.len() as u32;
                    trace::rdma_read(link.channel.serial(), inner.head.tag, len);
                    if let Some(life) = &mut inner.life {
                        life.wants_data(sg.len());
                    }
                    note(&mut inner.machine, Event::RdyToXfer);
                    Fetch::Posting
                }
                Err(delivery) => Fetch::Refused(delivery),
            },
            DataDesc::None | DataDesc::In(_) | DataDesc::External(_) | DataDesc::Bidi { .. } => {
                Fetch::Refused(Delivery::FatalError)
            }
        }
    }

    /// Fills the RDMA slot and takes room in the send queue for it, both or none.
    fn reserve_rdma(
        &self,
        link: &Link,
        sg: &SgList<'_>,
        list: &DescList<'_>,
        dir: RwDir,
    ) -> Result<u32, Delivery> {
        let slots = self.fill(link, sg, list, dir).map_err(|e| {
            if is_transient(e) {
                Delivery::QueueFull
            } else {
                Delivery::FatalError
            }
        })?;
        let reserved = {
            let mut channel = link.channel.inner().lock();
            let reserved = channel.sendq.reserve_rdma(slots);
            if reserved == Err(NoSlot::Full) {
                channel.stats.count(Counter::SqFull);
            }
            reserved
        };
        reserved.map(|()| slots).map_err(|e| {
            self.rw.cancel();
            match e {
                NoSlot::Full => Delivery::QueueFull,
                NoSlot::NeverFits | NoSlot::Closed => Delivery::FatalError,
            }
        })
    }

    fn fill(&self, link: &Link, sg: &SgList<'_>, list: &DescList<'_>, dir: RwDir) -> Result<u32> {
        let segments = list.segments().map(|desc| RemoteSeg {
            addr: desc.va,
            key: desc.key,
            len: desc.len,
        });
        let total = u32::try_from(sg.len()).map_err(|_| EINVAL)?;
        self.rw.fill(&link.qp, sg, segments, total, dir)
    }

    fn post_read(this: ArcBorrow<'_, Self>, link: &Link) -> Delivery {
        match link.qp.post_read(Arc::from(this)) {
            Ok(()) => Delivery::Success,
            Err((_, _)) => {
                this.rw.cancel();
                let slots = {
                    let mut inner = this.inner.lock();
                    note(&mut inner.machine, Event::PostFailed);
                    core::mem::take(&mut inner.rdma_slots)
                };
                link.channel.release_sends(slots, 0);
                Channel::close(link.channel.as_arc_borrow(), CloseReason::QpError);
                Delivery::FatalError
            }
        }
    }

    /// The engine wants the response sent, with data if it has any. See
    /// [`crate::engine::TargetCmd::xmit_response`].
    pub(crate) fn xmit_response(this: ArcBorrow<'_, Self>) -> Delivery {
        let (Some(link), rx) = this.take_rx() else {
            return Delivery::FatalError;
        };
        let sg = this.engine.data();
        let mut slots = 0;
        let mut residual = (Residual::None, Residual::None);
        if let Some(rx) = rx {
            let request = rx.parse(link.channel.imm_offset());
            let filled = match request.as_ref().map(|request| &request.data) {
                Some(DataDesc::In(list)) => {
                    residual.1 = this.engine.residual();
                    match sg.len() {
                        0 => Ok(0),
                        _ => this.fill(&link, &sg, list, RwDir::Write),
                    }
                }
                _ => {
                    residual.0 = this.engine.residual();
                    Ok(0)
                }
            };
            this.put_rx(rx);
            slots = match filled {
                Ok(slots) => slots,
                Err(e) if is_transient(e) => return Delivery::QueueFull,
                Err(_) => return Delivery::FatalError,
            };
        }
        let outcome = Outcome {
            status: this.engine.status(),
            sense: this.engine.sense(),
            rsp_code: None,
            residual_out: residual.0,
            residual_in: residual.1,
        };
        match Self::send(this, &link, slots, &outcome) {
            Ok(()) => Delivery::Success,
            Err(NotSent::QueueFull) => Delivery::QueueFull,
            Err(NotSent::NeverFits) => Delivery::FatalError,
            Err(NotSent::Dead) => {
                Active::tgt_cmd_done(this, DoneContext::Same);
                Delivery::Success
            }
        }
    }

    /// The engine has carried out, or refused, a task management function.
    pub(crate) fn task_mgmt_fn_done(this: ArcBorrow<'_, Self>) {
        let code = match this.engine.tm_result() {
            TmResult::Complete => RspCode::Complete,
            // The C driver says so of functions nobody knows only, not of those its engine lacks.
            TmResult::Rejected | TmResult::NotSupported => RspCode::NotSupported,
            TmResult::TaskDoesNotExist | TmResult::LunDoesNotExist | TmResult::Failed => {
                RspCode::Failed
            }
        };
        let outcome = Outcome::of(&LocalAnswer::Mgmt(code));
        let sent = match this.link() {
            Some(link) => Self::send(this, &link, 0, &outcome).is_ok(),
            None => false,
        };
        if !sent {
            Active::tgt_cmd_done(this, DoneContext::Same);
        }
    }

    /// The engine aborted the command.
    pub(crate) fn on_abort(&self) {
        note(&mut self.inner.lock().machine, Event::Aborted);
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
            Channel::close(link.channel.as_arc_borrow(), CloseReason::QpError);
        }
    }

    /// The engine gives the command back.
    pub(crate) fn on_free(this: Arc<Self>) {
        let action = {
            let mut inner = this.inner.lock();
            match inner.at_engine {
                true => step(&mut inner.machine, Event::Unanswered),
                false => Action::None,
            }
        };
        if action == Action::Answer {
            return Self::answer(this, LocalAnswer::Mgmt(RspCode::Failed));
        }
        let Some(end) = this.end() else {
            return;
        };
        // Until the command is back, its hold may be all that keeps tear-down waiting.
        let (link, rest) = end.give_back();
        Channel::recycle(link.channel.as_arc_borrow(), this);
        drop(rest);
    }

    /// Lets go of a command that the engine did not take and nobody is to answer.
    pub(crate) fn abandon(this: Arc<Self>) {
        Self::on_free(this);
    }

    /// Answers a command that the engine did not take.
    pub(crate) fn answer(this: Arc<Self>, answer: LocalAnswer) {
        this.inner.lock().at_engine = false;
        let Some(link) = this.link() else {
            return;
        };
        let outcome = Outcome::of(&answer);
        if Self::send(this.as_arc_borrow(), &link, 0, &outcome).is_err() {
            Self::abandon(this);
        }
    }

    /// Ends the life of a request: what it held is handed to the caller.
    fn end(&self) -> Option<End> {
        let mut inner = self.inner.lock();
        let action = step(&mut inner.machine, Event::Freed);
        inner.at_engine = false;
        let (rx, hold) = (inner.rx.take(), inner.hold.take());
        let waits = core::mem::take(&mut inner.waits);
        Some(End {
            link: inner.link.take()?,
            rx,
            return_credit: matches!(
                action,
                Action::Recycle {
                    return_credit: true
                }
            ),
            rest: Rest { waits, hold },
        })
    }

    fn take_rx(&self) -> (Option<Arc<Link>>, Option<Request>) {
        let mut inner = self.inner.lock();
        (inner.link.clone(), inner.rx.take())
    }

    fn put_rx(&self, rx: Request) {
        self.inner.lock().rx = Some(rx);
    }

    /// Posts the response, after the RDMA WRITEs in the filled slot if `rdma` is not 0.
    fn send(
        this: ArcBorrow<'_, Self>,
        link: &Arc<Link>,
        rdma: u32,
        outcome: &Outcome<'_>,
    ) -> Result<(), NotSent> {
        let delta = this.reserve_response(link, rdma).inspect_err(|_| {
            if rdma != 0 {
                this.rw.cancel();
            }
        })?;
        let read = match rdma {
            0 => 0,
            _ => this.engine.data().len(),
        };
        let (action, head, rx) = {
            let mut inner = this.inner.lock();
            inner.rdma_slots = rdma;
            if let Some(life) = &mut inner.life {
                life.answered(read, outcome.status != answer::sam::GOOD);
            }
            let action = step(&mut inner.machine, Event::XmitResponse);
            (action, inner.head, inner.rx.take())
        };
        let serial = link.channel.serial();
        if rdma != 0 {
            // CAST: What one command moves is less than 4 GiB.
            trace::rdma_write(serial, head.tag, read as u32);
        }
        trace::response(serial, head.tag, outcome.status, delta);
        // Before the credit goes out, there is a buffer for what the peer will send.
        if let Some(rx) = rx {
            link.repost(rx.buf);
        }
        let sol_not = head.sol_not.wants(outcome.is_success());
        let rsp = Rsp {
            tag: head.tag,
            sol_not,
            req_lim_delta: delta,
            status: outcome.status,
            residual_out: outcome.residual_out,
            residual_in: outcome.residual_in,
            sense: outcome.sense,
            rsp_code: outcome.rsp_code,
        };
        let posted = if action == Action::SendResponse {
            this.tx
                .fill(|buf| rsp.emit(buf).unwrap_or(0))
                .and_then(|()| {
                    link.qp
                        .post_write_send(Arc::from(this), this.tx.len(), sol_not)
                        .map_err(|(e, _)| e)
                })
        } else {
            Err(EPIPE)
        };
        if posted.is_ok() {
            return Ok(());
        }
        if rdma != 0 {
            this.rw.cancel();
        }
        if action == Action::SendResponse {
            note(&mut this.inner.lock().machine, Event::PostFailed);
            Channel::close(link.channel.as_arc_borrow(), CloseReason::QpError);
        }
        {
            let mut channel = link.channel.inner().lock();
            // An error here means that the peer uses credits it was never given.
            let _ = channel.credits.undo(delta);
        }
        this.inner.lock().rdma_slots = 0;
        link.channel.release_sends(rdma, 1);
        // The credits wait for another carrier, and there may be none.
        Channel::send_notices(link.channel.as_arc_borrow());
        Err(NotSent::Dead)
    }

    /// Takes room for a response and `rdma` work requests in the send queue, and the credits the
    /// response is to carry.
    fn reserve_response(&self, link: &Link, rdma: u32) -> Result<i32, NotSent> {
        let mut channel = link.channel.inner().lock();
        if channel.sendq.reserve_response().is_err() {
            return Err(NotSent::Dead);
        }
        if let Err(e) = channel.sendq.reserve_rdma(rdma) {
            let _ = channel.sendq.release_response();
            return Err(match e {
                NoSlot::Full => {
                    channel.stats.count(Counter::SqFull);
                    NotSent::QueueFull
                }
                NoSlot::NeverFits => NotSent::NeverFits,
                NoSlot::Closed => NotSent::Dead,
            });
        }
        // An error means that the peer had no credit for the request: it is being disconnected.
        let _ = channel.credits.add_returnable(1);
        Ok(channel.credits.take_delta())
    }

    /// After a completion with an error nothing works any more: closes the channel. The error is
    /// logged, unless it is the flush of a channel that closes already.
    fn check(&self, link: &Link, what: &str, wc: &WorkCompletion) {
        if let Err(status) = wc.result() {
            if !wc.is_flush() && ratelimit::ok() {
                pr_warn!("{} failed: {}\n", what, status);
            }
            Channel::close(link.channel.as_arc_borrow(), CloseReason::QpError);
        }
    }
}

/// What became of a request for data.
enum Fetch {
    /// It was in the information unit, and is in the engine's buffer now.
    Here,
    /// RDMA READs are ready to be posted.
    Posting,
    /// Neither.
    Refused(Delivery),
}

/// Whether an error of [`RwSlot::fill`] may not come again.
fn is_transient(e: Error) -> bool {
    e == ENOMEM || e == EAGAIN
}

/// What a request held.
struct End {
    link: Arc<Link>,
    rx: Option<Request>,
    return_credit: bool,
    rest: Rest,
}

/// What a request keeps until its command is free: tear-down waiting, and functions that wait for
/// its end. To be dropped without a lock.
struct Rest {
    #[allow(dead_code, reason = "its drop carries the functions out")]
    waits: KVec<TableWait>,
    #[allow(dead_code, reason = "its drop lets tear-down go on")]
    hold: Option<Hold>,
}

impl End {
    /// Posts the receive buffer of a request without response, and notes its credit. Returns what
    /// is to stay until the command is free.
    fn give_back(self) -> (Arc<Link>, Rest) {
        if let Some(rx) = self.rx {
            self.link.repost(rx.buf);
        }
        if self.return_credit {
            Channel::return_credit(self.link.channel.as_arc_borrow());
        }
        (self.link, self.rest)
    }
}

impl Outcome<'_> {
    /// Whether the request was carried out, as far as the initiator is concerned.
    fn is_success(&self) -> bool {
        let complete = RspCode::Complete.code();
        self.status == answer::sam::GOOD && self.rsp_code.is_none_or(|code| code == complete)
    }

    fn of(answer: &LocalAnswer) -> Outcome<'static> {
        Outcome {
            status: answer.status(),
            sense: answer.sense(),
            rsp_code: answer.rsp_code(),
            residual_out: Residual::None,
            residual_in: Residual::None,
        }
    }
}

impl CqeHandler<SEND> for Command {
    fn done(self: Arc<Self>, wc: &WorkCompletion) {
        let (link, slots, at_engine, finished, tag) = {
            let mut inner = self.inner.lock();
            let ok = wc.result().is_ok();
            note(&mut inner.machine, Event::SendDone { ok });
            let slots = core::mem::take(&mut inner.rdma_slots);
            let at_engine = inner.at_engine;
            let life = inner.life.take().filter(|_| ok);
            let finished = life.map(|life| life.finished(at_engine));
            let tag = inner.head.tag;
            (inner.link.clone(), slots, at_engine, finished, tag)
        };
        let Some(link) = link else {
            return;
        };
        trace::sent(link.channel.serial(), tag, wc.result().is_ok());
        self.check(&link, "response", wc);
        if at_engine {
            link.channel.response_sent(slots, None, finished.as_ref());
            let context = match wc.result() {
                Ok(()) => DoneContext::Completion,
                Err(_) => DoneContext::Lost,
            };
            Active::tgt_cmd_done(self.as_arc_borrow(), context);
        } else {
            let end = self.end().map(End::give_back);
            link.channel
                .response_sent(slots, Some(self), finished.as_ref());
            drop(end);
            Channel::run_held(link.channel.as_arc_borrow());
        }
    }
}

impl CqeHandler<READ> for Command {
    fn done(self: Arc<Self>, wc: &WorkCompletion) {
        let (action, link, slots, tag) = {
            let mut inner = self.inner.lock();
            let ok = wc.result().is_ok();
            let action = step(&mut inner.machine, Event::DataArrived { ok });
            let slots = core::mem::take(&mut inner.rdma_slots);
            if let (true, Some(life)) = (ok, &mut inner.life) {
                life.has_data();
            }
            (action, inner.link.clone(), slots, inner.head.tag)
        };
        let Some(link) = link else {
            return;
        };
        trace::data(link.channel.serial(), tag, wc.result().is_ok());
        self.check(&link, "RDMA READ", wc);
        let status = match action {
            Action::Submit => return Self::table_here(self, &link, slots),
            Action::Abandon => return Self::table_lost(self, &link, slots),
            Action::Execute => RxDataStatus::Success,
            _ => RxDataStatus::Error,
        };
        link.channel.release_sends(slots, 0);
        Active::rx_data(self.as_arc_borrow(), status);
    }
}

/// Feeds an event to a command's machine. A violation is an error in this module or in the engine;
/// it is reported, and nothing is done.
fn step(machine: &mut Machine, event: Event) -> Action {
    machine.handle(event).unwrap_or_else(|violation| {
        pr_err!("command: {}\n", violation);
        Action::None
    })
}

/// Feeds an event that asks for nothing but what the caller does anyway.
fn note(machine: &mut Machine, event: Event) {
    let _ = step(machine, event);
}
