// SPDX-License-Identifier: GPL-2.0

//! A channel: one RDMA connection of an I_T nexus, with its queue pair, session and commands.
//!
//! How information units are received is in [`receive`], what is done about them in [`dispatch`] and
//! [`task_mgmt`], what the target has to say of its own accord in [`notice`], how it finds out that
//! nobody listens in [`probe`]. How a channel comes to be is in [`new`] and [`crate::login`], how it ends in
//! [`teardown`]; what a single command does is in [`crate::command`].
//!
//! # Who holds whom
//!
//! The [`list`], the connection manager's id, the queue pair, every command in use
//! and the pending tear-down hold the channel. The channel in turn holds the id and the queue pair
//! in [`Inner`]; tear-down takes them out, which breaks the circle. Everything that belongs to the
//! RDMA device is freed by tear-down, not by the drop of the last reference.

use core::fmt::Write as _;

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use crate::{
    command::{
        self,
        wait::TableWait,
        Pool, //
    },
    engine::{
        Active,
        Engine,
        Port,
        Session,
        SessionView,
        TargetKey, //
    },
    hca::{
        port::HcaPort,
        Hca, //
    },
    link::{
        self,
        flow::Flow,
        Owner, //
    },
    queues,
    rdma::{
        cm::{
            CmEvent,
            CmId,
            ConnHandler,
            PeerAddr, //
        },
        device::DeviceId,
        qp::{
            QpEvent,
            QpOwner, //
        },
        wc::WcStatus, //
    },
    srp::{
        self,
        machine::{
            channel::{
                Actions,
                CloseReason,
                Event,
                State, //
            },
            nexus::Nexus,
            sendq::SendQueue,
            watch::Watch, //
        },
        wire::ident::{
            NameBuf,
            PortId, //
        }, //
    },
    sync::{
        completion::Completion,
        gate::Pass,
        ratelimit, //
    },
    sysfs::{
        DirKey,
        SessionDir, //
    },
    trace, //
};

pub(crate) mod dispatch;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod notice;
pub(crate) mod probe;
mod receive;
pub(crate) mod task_mgmt;
pub(crate) mod teardown;

use notice::{
    Notices,
    Solicit, //
};
use probe::Probe;
use receive::Received;

/// A command of a channel.
pub(crate) type Command = command::Command<Channel>;
/// What its commands need for posting.
pub(crate) type Link = link::Link<Channel>;
/// Owned receive buffer.
pub(crate) type Buffer = link::Buffer<Channel>;
/// Guard: keeps a channel's session and connection for one call, ...
pub(crate) type Busy<'a> = link::Busy<'a, Channel>;
/// ... or longer.
pub(crate) type Hold = link::Hold<Channel>;

/// What the channel's lock protects.
pub(crate) struct Inner {
    machine: srp::machine::channel::Channel,
    /// Received, but not processed yet: the connection is not confirmed or no command is free.
    held: KVec<Received>,
    /// One task is processing what is held; others leave it to that.
    draining: bool,
    /// Commands not in use.
    pool: KVec<Arc<Command>>,
    /// All commands, until tear-down.
    all: KVec<Arc<Command>>,
    notices: Notices,
    watch: Watch,
    probe: Arc<Probe>,
    link: Option<Arc<Link>>,
    cm: Option<Arc<CmId<Channel>>>,
    hca: Option<Pass<Hca<Channel>>>,
}

/// The serial number of the next channel, for log lines.
static SERIAL: Atomic<u64> = Atomic::new(1);

/// Returns a new serial number.
fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Relaxed)
}

/// A channel.
#[pin_data]
pub(crate) struct Channel {
    serial: u64,
    device: DeviceId,
    port: Arc<Port>,
    /// Where what is counted about the channel goes when it ends.
    entry: Arc<HcaPort>,
    initiator_port: PortId,
    target_port: PortId,
    peer: PeerAddr,
    session: <Active as Engine>::Session,
    /// Offset of immediate data in information units, if granted.
    imm_offset: Option<u16>,
    /// Which of the target's requests are to raise a solicited event.
    solicit: Solicit,
    /// The logical units of the session, see [`Session::luns`].
    luns: Atomic<u64>,
    born: Instant<Monotonic>,
    /// The directory in sysfs, from the login to the end of tear-down.
    #[pin]
    dir: Mutex<Option<SessionDir>>,
    /// Its [`DirKey`], or 0.
    dir_key: Atomic<usize>,
    #[pin]
    inner: SpinLock<Inner>,
    /// The login handler has let go of the connection manager's id.
    #[pin]
    set_up: Completion,
    /// The peer knows that the connection is over.
    #[pin]
    cm_gone: Completion,
    /// The connection manager has said that the connection is established, or over.
    #[pin]
    settled: Completion,
    /// The queue pair failed; set in any context, acted upon by the reaper.
    failed: Atomic<bool>,
    /// The port's completion vector whose turn it was.
    comp_vector: u32,
    /// The target's logout was sent, or cannot be.
    #[pin]
    logout_sent: Completion,
    #[pin]
    flow: Flow,
    #[pin]
    work: Work<Channel>,
    /// Processes what came before the connection was confirmed.
    #[pin]
    early_work: Work<Channel, EARLY>,
}

/// Number of [`Channel::early_work`] among the channel's work items; tear-down's is 0.
const EARLY: u64 = 1;

kernel::impl_has_work! {
    impl HasWork<Self> for Channel { self.work }
    impl HasWork<Self, EARLY> for Channel { self.early_work }
}

impl WorkItem<EARLY> for Channel {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let this = this.as_arc_borrow();
        // Left by `release_held()`.
        let _busy = Busy::taken_over(this);
        Self::run_held(this);
    }
}

impl Channel {
    /// The HCA port.
    pub(crate) fn port(&self) -> &Port {
        &self.port
    }

    /// The device the channel runs on.
    pub(crate) fn device_id(&self) -> DeviceId {
        self.device
    }

    /// Name of the channel's directory in sysfs: the initiator, and the channel's number in the log.
    fn dir_name(&self) -> NameBuf<64> {
        let mut name = NameBuf::new();
        // It fits: 32 digits, a hyphen, and at most 20 digits.
        let _ = write!(
            name,
            "{}-{}",
            self.initiator_port.without_prefix(),
            self.serial
        );
        name
    }

    /// Completion vector.
    pub(crate) fn comp_vector(&self) -> u32 {
        self.comp_vector
    }

    /// Takes over the connection manager's id. Called once, by the login.
    pub(crate) fn take_cm(&self, cm: Arc<CmId<Self>>) {
        self.inner.lock().cm = Some(cm);
    }

    /// Takes what posting needs, and a send queue of its real size. Called once, by the login.
    pub(crate) fn connect(&self, link: Arc<Link>, sendq: SendQueue) {
        self.flow.open(sendq);
        self.inner.lock().link = Some(link);
    }

    /// Notes that the peer is told that the connection is accepted. Called once, by the login.
    pub(crate) fn is_being_accepted(&self) {
        self.inner.lock().machine.accept();
    }

    /// Lets tear-down begin: the login has let go of the connection manager's id. Called last, once.
    pub(crate) fn login_done(&self) {
        self.set_up.complete_all();
    }

    /// What can be seen of the channel now.
    pub(crate) fn view(&self) -> SessionView {
        let inner = self.inner.lock();
        let flow = self.flow.view();
        SessionView {
            state: inner.machine.state(),
            req_lim: flow.req_lim,
            delta: flow.delta,
            active: inner.all.len().saturating_sub(inner.pool.len()),
            sq_used: flow.sq_used,
            held: inner.held.len(),
            busy: flow.busy,
            comp_vector: self.comp_vector,
        }
    }

    /// The command with this number, from 0; [`None`] if there are not that many.
    pub(crate) fn command(&self, index: usize) -> Option<Arc<Command>> {
        self.inner.lock().all.get(index).cloned()
    }

    /// Where what is counted about the channel goes when it ends.
    pub(crate) fn entry(&self) -> &HcaPort {
        &self.entry
    }

    /// Initiator port identifier.
    pub(crate) fn initiator_port(&self) -> PortId {
        self.initiator_port
    }

    /// Address of the peer.
    pub(crate) fn peer(&self) -> PeerAddr {
        self.peer
    }

    /// Whether this is the channel that a directory in sysfs stands for.
    pub(crate) fn is_shown_as(&self, key: DirKey) -> bool {
        self.dir_key.load(Relaxed) == key.0
    }

    /// Makes the directory in sysfs. Called once, by the login. May sleep.
    pub(crate) fn show(&self, hca: &Hca<Channel>) -> Result {
        let dir = hca.session_dir(self.entry.number(), self.dir_name().as_c_str())?;
        self.dir_key.store(dir.key().0, Relaxed);
        dir.fill().inspect_err(|_| self.dir_key.store(0, Relaxed))?;
        *self.dir.lock() = Some(dir);
        Ok(())
    }

    /// Removes the directory in sysfs, and waits for those who look into it. Called by tear-down.
    fn hide(&self) {
        // The directory's address may be that of another channel's soon.
        self.dir_key.store(0, Relaxed);
        let dir = self.dir.lock().take();
        drop(dir);
    }

    /// Keeps the tear-down of a channel waiting that is live; `None` if it is not.
    pub(crate) fn hold_if_live(this: &Arc<Self>) -> Option<Hold> {
        let inner = this.inner.lock();
        let live = inner.machine.state() == State::Live;
        live.then(|| Hold::new(this))
    }

    /// Whether requests are processed.
    pub(crate) fn is_live(&self) -> bool {
        self.inner.lock().machine.state() == State::Live
    }

    /// Whether a SCSI command with this tag is in progress.
    pub(crate) fn has_task(&self, tag: u64) -> bool {
        self.inner.lock().all.iter().any(|cmd| cmd.is_task(tag))
    }

    /// Aborts a SCSI command with this tag that the engine does not know yet, for `wait`. Returns
    /// whether there is one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn abort_table(&self, tag: u64, wait: &TableWait<Self>) -> Result<bool> {
        for cmd in &self.inner.lock().all {
            if cmd.abort_table(tag, wait)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Aborts the SCSI commands of a logical unit that the engine does not know yet, for `wait`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn abort_tables(&self, lun: u64, wait: &TableWait<Self>) -> Result {
        for cmd in &self.inner.lock().all {
            cmd.abort_table_of(lun, wait)?;
        }
        Ok(())
    }

    /// Whether both channels belong to the same I_T nexus.
    pub(crate) fn same_nexus(&self, other: &Self) -> bool {
        // Most are not: seen at once.
        self.initiator_port == other.initiator_port && self.nexus().is_same(&other.nexus())
    }

    /// Whether both belong to the same I_T nexus and were let in as the same, so that a number means
    /// the same logical unit to both.
    pub(crate) fn same_luns(&self, other: &Self) -> bool {
        let target = other.session.target();
        self.same_nexus(other) && self.is_let_in_by(target, other.session.name())
    }

    /// Whether it was let in by this access control entry of a target.
    pub(crate) fn is_let_in_by(&self, target: TargetKey, entry: &CStr) -> bool {
        self.session.target() == target && self.session.name() == entry
    }

    fn nexus(&self) -> Nexus<&CStr, PeerAddr> {
        Nexus {
            initiator_port: self.initiator_port,
            target_port: self.target_port,
            entry: self.session.entry(),
            peer: self.peer,
        }
    }

    /// Milliseconds since the login.
    pub(crate) fn age_ms(&self) -> i64 {
        self.born.elapsed().as_millis()
    }

    /// Whether the queue pair or its shared receive queue reported an error.
    pub(crate) fn has_failed(&self) -> bool {
        let shared_failed = || {
            let inner = self.inner.lock();
            let srq = inner.link.as_ref().and_then(|link| link.srq.as_ref());
            srq.is_some_and(|srq| srq.has_failed())
        };
        self.failed.load(Relaxed) || shared_failed()
    }

    /// Whether logical units of the session have come or gone since the login, or since this was
    /// asked last. Process context.
    pub(crate) fn sees_other_luns(this: &Arc<Self>) -> bool {
        // The session stays open meanwhile.
        let Some(_hold) = Self::hold_if_live(this) else {
            return false;
        };
        let now = this.session.luns();
        this.luns.xchg(now, Relaxed) != now
    }

    /// Whether the connection is not confirmed yet.
    pub(crate) fn is_connecting(&self) -> bool {
        self.inner.lock().machine.state() == State::Connecting
    }

    /// Whether the end was decided.
    pub(crate) fn is_closing(&self) -> bool {
        self.inner.lock().machine.state() > State::Live
    }

    /// Feeds an event to the machine and executes what it decides.
    fn handle(this: ArcBorrow<'_, Self>, event: Event) {
        let Actions {
            release_held_ius,
            start_teardown,
        } = {
            let mut inner = this.inner.lock();
            let actions = inner.machine.handle(event);
            if actions.start_teardown.is_some() {
                this.flow.close();
            }
            actions
        };
        if release_held_ius {
            Self::release_held(this);
        }
        if let Some(reason) = start_teardown {
            Self::start_teardown(this, reason);
        }
    }

    fn start_teardown(this: ArcBorrow<'_, Self>, reason: CloseReason) {
        // The longest has 31 bytes.
        if let Ok(text) = NameBuf::<64>::from_display(reason) {
            trace::close(this.serial, text.as_c_str());
        }
        if ratelimit::ok() {
            pr_info!(
                "channel {} of {}: closing: {}\n",
                this.serial,
                this.initiator_port,
                reason
            );
        }
        // The tear-down sends the disconnect: that may sleep.
        match queues::tear_down() {
            Some(queue) => {
                // Enqueued once only: the machine says so once.
                let _ = queue.as_queue().enqueue::<Arc<Self>, 0>(Arc::from(this));
            }
            None => pr_err!("channel {}: no work queue\n", this.serial),
        }
    }
}

impl Owner for Channel {
    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn session(&self) -> &<Active as Engine>::Session {
        &self.session
    }

    fn serial(&self) -> u64 {
        self.serial
    }

    fn imm_offset(&self) -> Option<u16> {
        self.imm_offset
    }

    fn close(this: ArcBorrow<'_, Self>, reason: CloseReason) {
        Self::handle(this, Event::Close(reason));
    }

    fn credits_due(this: ArcBorrow<'_, Self>) {
        Self::send_notices(this);
    }
}

impl Pool for Channel {
    fn command_free(this: ArcBorrow<'_, Self>, cmd: Arc<Command>) {
        let mut inner = this.inner.lock();
        // The pool has room for every command there is.
        let lost = inner.pool.push_within_capacity(cmd).err();
        let waiting = !inner.held.is_empty();
        drop(inner);
        if lost.is_some() {
            pr_err!("channel {}: command pool overflow\n", this.serial);
        }
        if waiting {
            Self::run_held(this);
        }
    }
}

impl QpOwner for Channel {
    fn recv_done(this: ArcBorrow<'_, Self>, buf: Buffer, received: Result<usize, WcStatus>) {
        match received {
            Ok(len) => Self::incoming(this, buf, len),
            Err(status) => {
                if !status.is_flush() && ratelimit::ok() {
                    pr_warn!("channel {}: receive failed: {}\n", this.serial, status);
                }
                this.discard(buf);
                Self::close(this, CloseReason::QpError);
            }
        }
    }

    fn qp_event(this: ArcBorrow<'_, Self>, event: QpEvent) {
        // Any context: what is outstanding is flushed now, which closes the channel from the
        // completions. If nothing is, the reaper finds the mark. That there will be no receive any
        // more is news of the tear-down, or all that the device says of an error.
        if let QpEvent::Fatal(_) | QpEvent::LastWqeReached = event {
            this.failed.store(true, Relaxed);
        }
    }
}

impl ConnHandler for Channel {
    fn cm_event(this: ArcBorrow<'_, Self>, event: CmEvent) {
        if !matches!(event, CmEvent::AddrChange | CmEvent::Other(_)) {
            this.settled.complete_all();
        }
        match event {
            CmEvent::Established => Self::handle(this, Event::Established),
            CmEvent::Disconnected | CmEvent::TimewaitExit => {
                this.cm_gone.complete_all();
                Self::handle(this, Event::PeerDisconnected);
            }
            CmEvent::Rejected(_) => Self::handle(this, Event::PeerRejected),
            CmEvent::Unreachable | CmEvent::ConnectError(_) => {
                Self::handle(this, Event::ConnectFailed);
            }
            CmEvent::DeviceRemoval => Self::close(this, CloseReason::DeviceRemoved),
            CmEvent::AddrChange | CmEvent::Other(_) => {}
        }
    }
}
