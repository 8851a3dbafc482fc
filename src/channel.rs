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

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
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
use receive::Received;
use shown::Shown;
use waits::{
    Until,
    Waits, //
};

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

/// Information units that were received and not processed yet.
struct Incoming {
    /// The connection is not confirmed, or no command is free. Room for as many as can be under way.
    held: KVec<Received>,
    /// One task is processing what is held; others leave it to that.
    draining: bool,
}

/// The channel's commands.
struct Commands {
    /// Those not in use.
    pool: KVec<Arc<Command>>,
    /// All of them, until tear-down.
    all: KVec<Arc<Command>>,
}

/// What the channel holds of its connection, until tear-down takes it out.
struct Connection {
    /// From [`Channel::connect`] on.
    link: Option<Arc<Link>>,
    /// From [`Channel::take_cm`] on.
    cm: Option<Arc<CmId<Channel>>>,
    hca: Option<Pass<Hca<Channel>>>,
}

/// What the channel's lock protects.
pub(crate) struct Inner {
    /// Its life.
    machine: srp::machine::channel::Channel,
    incoming: Incoming,
    commands: Commands,
    /// Requests of the target.
    notices: Notices,
    /// Signs of life of the peer, ...
    watch: Watch,
    /// ... and what brings one about.
    probe: Arc<Probe>,
    connection: Connection,
}

/// A channel.
#[pin_data]
pub(crate) struct Channel {
    id: Identity,
    session: <Active as Engine>::Session,
    /// The logical units of the session, see [`Session::luns`].
    luns: Atomic<u64>,
    /// Offset of immediate data in information units, if granted.
    imm_offset: Option<u16>,
    /// Which of the target's requests are to raise a solicited event.
    solicit: Solicit,
    #[pin]
    inner: SpinLock<Inner>,
    #[pin]
    flow: Flow,
    /// The queue pair failed; set in any context, acted upon by the reaper.
    failed: Atomic<bool>,
    #[pin]
    shown: Shown,
    /// What tear-down waits for.
    #[pin]
    waits: Waits,
    /// Tear-down.
    #[pin]
    work: Work<Channel>,
}

kernel::impl_has_work! {
    impl HasWork<Self> for Channel { self.work }
}

impl Channel {
    /// The HCA port.
    pub(crate) fn port(&self) -> &Port {
        &self.id.port
    }

    /// The device the channel runs on.
    pub(crate) fn device_id(&self) -> DeviceId {
        self.id.device
    }

    /// Completion vector.
    pub(crate) fn comp_vector(&self) -> u32 {
        self.id.comp_vector
    }

    /// Takes over the connection manager's id. Called once, by the login.
    pub(crate) fn take_cm(&self, cm: Arc<CmId<Self>>) {
        self.inner.lock().connection.cm = Some(cm);
    }

    /// Takes what posting needs, and a send queue of its real size. Called once, by the login.
    pub(crate) fn connect(&self, link: Arc<Link>, sendq: SendQueue) {
        self.flow.open(sendq);
        self.inner.lock().connection.link = Some(link);
    }

    /// Notes that the peer is told that the connection is accepted. Called once, by the login.
    pub(crate) fn is_being_accepted(&self) {
        self.inner.lock().machine.accept();
    }

    /// Lets tear-down begin: the login has let go of the connection manager's id. Called last, once.
    pub(crate) fn login_done(&self) {
        self.waits.happened(Until::SetUp);
    }

    /// What can be seen of the channel now.
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

    /// The command with this number, from 0; [`None`] if there are not that many.
    pub(crate) fn command(&self, index: usize) -> Option<Arc<Command>> {
        self.inner.lock().commands.all.get(index).cloned()
    }

    /// Where what is counted about the channel goes when it ends.
    pub(crate) fn entry(&self) -> &HcaPort {
        &self.id.entry
    }

    /// Initiator port identifier.
    pub(crate) fn initiator_port(&self) -> PortId {
        self.id.initiator_port
    }

    /// Address of the peer.
    pub(crate) fn peer(&self) -> PeerAddr {
        self.id.peer
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

    /// Whether both channels belong to the same I_T nexus.
    pub(crate) fn same_nexus(&self, other: &Self) -> bool {
        // Most are not: seen at once.
        self.id.initiator_port == other.id.initiator_port && self.nexus().is_same(&other.nexus())
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
        self.id.nexus(self.session.entry())
    }

    /// Milliseconds since the login.
    pub(crate) fn age_ms(&self) -> i64 {
        self.id.born.elapsed().as_millis()
    }

    /// Whether the queue pair or its shared receive queue reported an error.
    pub(crate) fn has_failed(&self) -> bool {
        let shared_failed = || {
            let inner = self.inner.lock();
            let srq = inner
                .connection
                .link
                .as_ref()
                .and_then(|link| link.srq.as_ref());
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
        // The tear-down sends the disconnect: that may sleep.
        match queues::tear_down() {
            Some(queue) => {
                // Enqueued once only: the machine says so once.
                let _ = queue.as_queue().enqueue::<Arc<Self>, 0>(Arc::from(this));
            }
            None => pr_err!("channel {}: no work queue\n", this.id.serial),
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
        self.id.serial
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
                if !status.is_flush() && ratelimit::ok() {
                    pr_warn!("channel {}: receive failed: {}\n", this.id.serial, status);
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
