// SPDX-License-Identifier: GPL-2.0

//! A channel: one RDMA connection of an I_T nexus, with its queue pair, session and commands.
//!
//! [`new`] allocates a channel, [`receive`] orders what arrives, [`dispatch`] and [`task_mgmt`] act
//! on it, [`notice`] sends the target's own requests, [`probe`] detects dead peers, [`teardown`]
//! ends the channel. Not here: logins ([`crate::login`]), single commands ([`crate::command`]).
//!
//! # References
//!
//! The [`list`], the connection manager's id, the queue pair, every command and the pending
//! tear-down hold the channel. The channel holds the id and the queue pair in [`Connection`], and
//! its [`Commands`]; tear-down takes them out, which breaks the cycles. Everything that belongs to
//! the RDMA device is freed by tear-down, not by the drop of the last reference.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        SpinLock, //
    },
    workqueue::Work, //
};

use crate::{
    command::{
        self,
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
    queues::Queues,
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
        wire::{
            ident::{
                NameBuf,
                PortId, //
            },
            login::MultiChannel, //
        }, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        gate::Pass,
        ratelimit, //
    },
    trace, //
};

pub(crate) mod dispatch;
mod identity;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod notice;
pub(crate) mod probe;
mod receive;
mod shown;
pub(crate) mod task_mgmt;
pub(crate) mod teardown;
mod waits;

use identity::Identity;
use notice::{
    Notices,
    Solicit, //
};
use probe::Probe;
use shown::Shown;
use waits::{
    Until,
    Waits, //
};

/// A command of a channel.
pub(crate) type Command = command::Command<Channel>;
/// What the commands of a channel need for posting.
pub(crate) type Link = link::Link<Channel>;
/// A received information unit of a channel.
type Received = command::Received<Channel>;
/// Owned receive buffer of a channel.
pub(crate) type Buffer = link::Buffer<Channel>;
/// Guard: keeps the session and the connection of a channel during a call.
pub(crate) type Busy<'a> = link::Busy<'a, Channel>;
/// Guard: keeps the session and the connection of a channel for longer than a call.
pub(crate) type Hold = link::Hold<Channel>;

/// Information units that were received and are not processed yet.
struct Incoming {
    /// In order of arrival: no command is free. Has room for all that the peer may send.
    held: KVec<Received>,
    /// A task is processing `held`; other tasks leave it to that one.
    draining: bool,
}

/// The channel's commands, between [`Channel::take_commands`] and tear-down.
pub(crate) struct Commands {
    /// Commands that are not in use.
    pool: KVec<Arc<Command>>,
    /// All commands.
    all: KVec<Arc<Command>>,
}

/// References that tear-down takes out.
struct Connection {
    /// Set by [`Channel::connect`].
    link: Option<Arc<Link>>,
    /// Set by [`Channel::take_cm`].
    cm: Option<Arc<CmId<Channel>>>,
    hca: Option<Pass<Hca<Channel>>>,
}

/// What the channel's lock protects.
pub(crate) struct Inner {
    /// State machine of the channel's life.
    machine: srp::machine::channel::Channel,
    incoming: Incoming,
    commands: Commands,
    /// Requests of the target to the initiator.
    notices: Notices,
    /// State machine that detects a dead peer.
    watch: Watch,
    /// RDMA WRITE that provokes a sign of life.
    probe: Arc<Probe>,
    connection: Connection,
}

/// A channel.
#[pin_data]
pub(crate) struct Channel {
    id: Identity,
    session: <Active as Engine>::Session,
    /// Last value of [`Session::luns`] that was seen.
    luns: Atomic<u64>,
    /// Offset of immediate data in information units, if granted.
    imm_offset: Option<u16>,
    /// Requests of the target that raise a solicited event.
    solicit: Solicit,
    /// The initiator gets SRP_AER_REQ.
    takes_events: bool,
    #[pin]
    inner: SpinLock<Inner>,
    #[pin]
    flow: Flow,
    /// The queue pair failed. Set in any context; the periodic look closes the channel.
    failed: Atomic<bool>,
    #[pin]
    shown: Shown,
    #[pin]
    waits: Waits,
    queues: Arc<Queues>,
    /// Runs tear-down.
    #[pin]
    work: Work<Channel>,
}

kernel::impl_has_work! {
    impl HasWork<Self> for Channel { self.work }
}

impl Channel {
    /// Returns the HCA port.
    pub(crate) fn port(&self) -> &Port {
        &self.id.port
    }

    /// Returns the identity of the RDMA device.
    pub(crate) fn device_id(&self) -> DeviceId {
        self.id.device
    }

    /// Returns the completion vector.
    pub(crate) fn comp_vector(&self) -> u32 {
        self.id.comp_vector
    }

    /// Stores the connection manager's id. Called once, by the login.
    pub(crate) fn take_cm(&self, cm: Arc<CmId<Self>>) {
        self.inner.lock().connection.cm = Some(cm);
    }

    /// Stores what posting needs, and the send queue in its real size. Called once, by the login.
    pub(crate) fn connect(&self, link: Arc<Link>, sendq: SendQueue) {
        self.flow.open(sendq);
        self.inner.lock().connection.link = Some(link);
    }

    /// Stores the commands. Called once, by the login, after [`Self::connect`].
    pub(crate) fn take_commands(&self, commands: Commands) {
        self.inner.lock().commands = commands;
    }

    /// Notes that the answer to the login is about to be sent. Called once, by the login.
    pub(crate) fn is_being_accepted(&self) {
        self.inner.lock().machine.accept();
    }

    /// Allows tear-down to begin: the login holds the connection manager's id no more. Called once,
    /// last, by the login.
    pub(crate) fn login_done(&self) {
        self.waits.happened(Until::SetUp);
    }

    /// Returns a snapshot of state and counters.
    pub(crate) fn view(&self) -> SessionView {
        let inner = self.inner.lock();
        let flow = self.flow.view();
        SessionView {
            state: inner.machine.state(),
            req_lim: flow.req_lim,
            delta: flow.delta,
            active: inner
                .commands
                .all
                .len()
                .saturating_sub(inner.commands.pool.len()),
            sq_used: flow.sq_used,
            held: inner.incoming.held.len(),
            busy: flow.busy,
            comp_vector: self.id.comp_vector,
        }
    }

    /// Returns a snapshot of the command with this index, [`None`] in it if that is free; [`None`]
    /// beyond the last.
    pub(crate) fn command_view(&self, index: usize) -> Option<Option<command::View>> {
        let inner = self.inner.lock();
        inner.commands.all.get(index).map(|cmd| cmd.view())
    }

    /// Returns the HCA port whose totals take in this channel's counters.
    pub(crate) fn hca_port(&self) -> &HcaPort {
        &self.id.hca_port
    }

    /// Returns the initiator port identifier.
    pub(crate) fn initiator_port(&self) -> PortId {
        self.id.initiator_port
    }

    /// Returns the peer's address.
    pub(crate) fn peer(&self) -> PeerAddr {
        self.id.peer
    }

    /// Keeps tear-down waiting if the channel is live; returns [`None`] if it is not.
    pub(crate) fn hold_if_live(this: &Arc<Self>) -> Option<Hold> {
        let inner = this.inner.lock();
        let live = inner.machine.is_live();
        live.then(|| Hold::new(this))
    }

    /// Returns whether requests are processed.
    pub(crate) fn is_live(&self) -> bool {
        self.inner.lock().machine.is_live()
    }

    /// Returns whether both channels belong to the same I_T nexus.
    pub(crate) fn same_nexus(&self, other: &Self) -> bool {
        // The cheap comparison first: most channels differ in it.
        self.id.initiator_port == other.id.initiator_port && self.nexus().is_same(&other.nexus())
    }

    /// Returns whether both channels belong to the same I_T nexus and the same access control entry
    /// let them in, so that a LUN names the same logical unit on both.
    pub(crate) fn same_luns(&self, other: &Self) -> bool {
        let target = other.session.target();
        self.same_nexus(other) && self.is_let_in_by(target, other.session.name())
    }

    /// Returns whether this access control entry of this target let the channel in.
    pub(crate) fn is_let_in_by(&self, target: TargetKey, entry: &CStr) -> bool {
        self.session.target() == target && self.session.name() == entry
    }

    fn nexus(&self) -> Nexus<&CStr, PeerAddr> {
        self.id.nexus(self.session.entry())
    }

    /// Returns what the list of channels has to know of this one, which is to be added.
    fn joining(&self, action: MultiChannel) -> list::Joining<'_> {
        list::Joining {
            nexus: self.nexus(),
            port: self.hca_port(),
            target: self.session.target(),
            entry: self.session.name(),
            action,
        }
    }

    /// Returns the time since the login in milliseconds.
    pub(crate) fn age_ms(&self) -> i64 {
        self.id.born.elapsed().as_millis()
    }

    /// Returns whether the queue pair, its completion queue or its shared receive queue reported an
    /// error.
    pub(crate) fn has_failed(&self) -> bool {
        let queue_failed = |link: &Arc<Link>| {
            link.qp.cq_failed() || link.srq.as_ref().is_some_and(|srq| srq.has_failed())
        };
        self.failed.load(Relaxed)
            || self
                .inner
                .lock()
                .connection
                .link
                .as_ref()
                .is_some_and(queue_failed)
    }

    /// Returns whether logical units of the session were added or removed since the login or the
    /// last call. Process context.
    pub(crate) fn sees_other_luns(this: &Arc<Self>) -> bool {
        // Keeps the session open.
        let Some(_hold) = Self::hold_if_live(this) else {
            return false;
        };
        let now = this.session.luns();
        this.luns.xchg(now, Relaxed) != now
    }

    /// Returns whether the peer has neither confirmed the connection nor sent anything yet.
    pub(crate) fn is_connecting(&self) -> bool {
        self.inner.lock().machine.state() == State::Connecting
    }

    /// Returns whether the end of the channel was decided.
    pub(crate) fn is_closing(&self) -> bool {
        self.inner.lock().machine.is_closing()
    }

    /// Feeds an event to the machine and executes the actions.
    fn handle(this: ArcBorrow<'_, Self>, event: Event) {
        let Actions { start_teardown } = {
            let mut inner = this.inner.lock();
            let actions = inner.machine.handle(event);
            if actions.start_teardown.is_some() {
                this.flow.close();
            }
            actions
        };
        if let Some(reason) = start_teardown {
            Self::start_teardown(this, reason);
        }
    }

    fn start_teardown(this: ArcBorrow<'_, Self>, reason: CloseReason) {
        // The longest has 31 bytes.
        if let Ok(text) = NameBuf::<64>::from_display(reason) {
            trace::close(this.id.serial, text.as_c_str());
        }
        if ratelimit::ok() {
            pr_info!(
                "channel {} of {}: closing: {}\n",
                this.id.serial,
                this.id.initiator_port,
                reason
            );
        }
        // Tear-down sends the disconnect, which may sleep.
        let queue = this.queues.tear_down.as_queue();
        // The machine asks for tear-down once, so this is enqueued once.
        let _ = queue.enqueue::<Arc<Self>, 0>(Arc::from(this));
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
        self.id.serial
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
        // The pool has room for all commands.
        let lost = inner.commands.pool.push_within_capacity(cmd).err();
        let waiting = !inner.incoming.held.is_empty();
        drop(inner);
        if lost.is_some() {
            pr_err!("channel {}: command pool overflow\n", this.id.serial);
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
                this.discard(buf);
                <Self as Owner>::work_failed(this, "receive", status);
            }
        }
    }

    fn send_failed(this: ArcBorrow<'_, Self>, status: WcStatus) {
        <Self as Owner>::work_failed(this, "response", status);
    }

    fn qp_event(this: ArcBorrow<'_, Self>, event: QpEvent) {
        // Any context. The flush of what is posted closes the channel; if nothing is posted, the
        // periodic look finds the mark. LAST_WQE_REACHED comes during tear-down, and from some
        // devices instead of a fatal event.
        if let QpEvent::Fatal(_) | QpEvent::LastWqeReached = event {
            this.failed.store(true, Relaxed);
        }
    }
}

impl ConnHandler for Channel {
    fn cm_event(this: ArcBorrow<'_, Self>, event: CmEvent) {
        if !matches!(event, CmEvent::AddrChange | CmEvent::Other(_)) {
            this.waits.happened(Until::Settled);
        }
        match event {
            CmEvent::Established => Self::handle(this, Event::Established),
            CmEvent::Disconnected | CmEvent::TimewaitExit => {
                this.waits.happened(Until::PeerGone);
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
