// SPDX-License-Identifier: GPL-2.0

//! What the target says of its own accord on a channel: credit requests, asynchronous event
//! requests, and the logout.
//!
//! Each kind has a buffer and a slot of the send queue of its own, so that it never waits for
//! commands. Which of them are under way, and what the initiator has to answer, is decided by
//! [`crate::srp::machine::notice`]; when credits are to be returned, by [`crate::srp::machine::credit`].

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        SpinLock, //
    }, //
};

use super::{
    waits::Until,
    Busy,
    Channel,
    Link, //
};

use crate::{
    link::Owner,
    rdma::{
        buf::{
            impl_has_tx,
            TxBuf, //
        },
        cqe::{
            impl_has_cqe,
            Cqe,
            CqeHandler,
            SEND, //
        },
        device::Device,
        wc::WorkCompletion, //
    },
    srp::{
        machine::{
            channel::{
                CloseReason,
                State, //
            },
            notice::{
                Notice,
                Spurious, //
            }, //
        },
        wire::{
            consts::{
                size,
                TLogoutReason, //
            },
            ctrl::{
                AerReq,
                CredReq,
                TLogout, //
            },
            ident::Lun,
            login::LoginReq, //
        }, //
    }, //
};

/// Slots of the send queue for what is said here: one per kind.
pub(crate) const SLOTS: u32 = 3;

/// The first tag of a request of the target. Some initiators take any unit for the response to the
/// request with its tag, or look at half of it: these are far from theirs, which count from 0 in the
/// lower 32 bits, and have a meaning for bit 31 (Linux).
const FIRST_TAG: u64 = 0xffff_ffff_4000_0000;

/// REPORTED LUNS DATA HAS CHANGED, a unit attention condition, as sense data in fixed format.
static LUNS_CHANGED: [u8; 18] = [
    0x70, 0, 0x06, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3f, 0x0e, 0, 0, 0, 0,
];

/// Which requests of the target are to raise a solicited event, as asked for at login.
#[derive(Clone, Copy)]
pub(crate) struct Solicit {
    logout: bool,
    credit: bool,
    event: bool,
}

impl Solicit {
    /// What the login asks for.
    pub(super) fn of(login: &LoginReq) -> Self {
        Self {
            logout: login.solicit_logout,
            credit: login.solicit_credit,
            event: login.takes_events(),
        }
    }
}

/// A kind of request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Credit,
    Event,
    Logout,
}

/// Buffer and completion queue entry of one kind of request.
#[pin_data]
struct Sender {
    kind: Kind,
    #[pin]
    send: Cqe<Sender, SEND>,
    tx: TxBuf,
    /// Holds the channel and the queue pair while the request is being sent.
    #[pin]
    link: SpinLock<Option<Arc<Link>>>,
}

impl_has_cqe! {
    impl HasCqe<0> for Sender { self.send }
}
impl_has_tx! { impl HasTx for Sender { self.tx } }

impl Sender {
    fn new(device: &Device, kind: Kind, len: usize) -> Result<Arc<Self>> {
        let tx = TxBuf::new(device, len)?;
        Arc::pin_init(
            try_pin_init!(Self {
                kind,
                send: Cqe::new(),
                tx,
                link <- new_spinlock!(None, "Sender::link"),
            }),
            GFP_KERNEL,
        )
    }

    /// Sends what `build` writes. Returns whether it was posted.
    fn post(
        self: Arc<Self>,
        link: &Arc<Link>,
        solicited: bool,
        build: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        *self.link.lock() = Some(link.clone());
        let posted = self.tx.fill(build).is_ok() && {
            let len = self.tx.len();
            link.qp.post_send(self.clone(), len, solicited).is_ok()
        };
        if !posted {
            drop(self.take_link());
        }
        posted
    }

    fn take_link(&self) -> Option<Arc<Link>> {
        self.link.lock().take()
    }
}

impl CqeHandler<SEND> for Sender {
    fn done(self: Arc<Self>, wc: &WorkCompletion) {
        let Some(link) = self.take_link() else {
            return;
        };
        let channel = &link.owner;
        if wc.result().is_err() {
            Channel::close(channel.as_arc_borrow(), CloseReason::QpError);
        }
        {
            let mut inner = channel.inner.lock();
            match self.kind {
                Kind::Credit => inner.notices.credit.sent(),
                Kind::Event => inner.notices.event.sent(),
                Kind::Logout => channel.waits.happened(Until::LogoutSent),
            }
        }
        Channel::send_notices(channel.as_arc_borrow());
    }
}

/// The buffers of a channel.
pub(super) struct Senders {
    credit: Arc<Sender>,
    event: Arc<Sender>,
    logout: Arc<Sender>,
}

/// What a channel knows of its requests.
pub(crate) struct Notices {
    credit: Notice,
    event: Notice,
    next_tag: u64,
    /// Until tear-down.
    senders: Option<Senders>,
}

impl Notices {
    /// Nothing said yet. `max_len` is the largest information unit the initiator takes. May sleep.
    pub(super) fn new(device: &Device, max_len: u32) -> Result<Self> {
        // CAST: A u32 fits in a usize on every architecture with RDMA.
        let event_len = (size::AER_REQ + LUNS_CHANGED.len()).min(max_len as usize);
        Ok(Self {
            credit: Notice::new(),
            event: Notice::new(),
            next_tag: FIRST_TAG,
            senders: Some(Senders {
                credit: Sender::new(device, Kind::Credit, size::CRED_REQ)?,
                event: Sender::new(device, Kind::Event, event_len)?,
                logout: Sender::new(device, Kind::Logout, size::T_LOGOUT)?,
            }),
        })
    }

    /// Takes the buffers out, to be dropped without a lock held. None of them may be on its way.
    pub(super) fn finish(&mut self) -> Option<Senders> {
        self.senders.take()
    }

    fn tag(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        tag
    }
}

/// A request that is due.
struct Due<'a> {
    sender: Arc<Sender>,
    link: Arc<Link>,
    tag: u64,
    delta: i32,
    /// Session and connection stay until it was posted.
    busy: Busy<'a>,
}

impl Channel {
    /// The next request that is due, which is under way from now on.
    fn next_due(this: ArcBorrow<'_, Self>) -> Option<Due<'_>> {
        let mut guard = this.inner.lock();
        let inner = &mut *guard;
        if inner.machine.state() != State::Live {
            return None;
        }
        let link = inner.connection.link.clone()?;
        let tag = inner.notices.next_tag;
        let senders = inner.notices.senders.as_ref()?;
        let (credit, event) = (&mut inner.notices.credit, &mut inner.notices.event);
        let (sender, delta) = this.flow.carry(|wanted| {
            if wanted {
                credit.want();
                if credit.begin(tag) {
                    return Some(senders.credit.clone());
                }
            }
            event.begin(tag).then(|| senders.event.clone())
        })?;
        let _ = inner.notices.tag();
        Some(Due {
            sender,
            link,
            tag,
            busy: Busy::new(this),
            delta,
        })
    }

    /// Whether the initiator takes SRP_AER_REQ: those that asked for a solicited event with it. Others
    /// find a unit attention. An initiator that posts one receive per request would get every response
    /// one late from then on, and some take any unit for a response.
    pub(crate) fn takes_events(&self) -> bool {
        self.solicit.event
    }

    /// The logical units have changed: tells the initiator, now or when it has answered what was
    /// said before. Process context.
    pub(crate) fn luns_changed(this: ArcBorrow<'_, Self>) {
        this.inner.lock().notices.event.want();
        Self::send_notices(this);
    }

    /// Sends the requests that are due. Process context.
    pub(crate) fn send_notices(this: ArcBorrow<'_, Self>) {
        loop {
            let Some(due) = Self::next_due(this) else {
                return;
            };
            let (kind, delta) = (due.sender.kind, due.delta);
            if this.post_notice(due) {
                continue;
            }
            let mut inner = this.inner.lock();
            match kind {
                Kind::Credit => inner.notices.credit.post_failed(),
                Kind::Event | Kind::Logout => inner.notices.event.post_failed(),
            }
            drop(inner);
            this.flow.undo_delta(delta);
            return Self::close(this, CloseReason::QpError);
        }
    }

    fn post_notice(&self, due: Due<'_>) -> bool {
        // The first is dropped last.
        let Due {
            busy: _busy,
            sender,
            link,
            tag,
            delta,
        } = due;
        match sender.kind {
            Kind::Credit => sender.post(&link, self.solicit.credit, |buf| {
                let bytes = CredReq {
                    tag,
                    sol_not: self.solicit.credit,
                    req_lim_delta: delta,
                };
                copy(&bytes.emit(), buf)
            }),
            Kind::Event => sender.post(&link, self.solicit.event, |buf| {
                let req = AerReq {
                    tag,
                    sol_not: self.solicit.event,
                    req_lim_delta: delta,
                    lun: Lun([0; 8]),
                    sense: &LUNS_CHANGED,
                };
                req.emit(buf).unwrap_or(0)
            }),
            Kind::Logout => false,
        }
    }

    /// The initiator has answered a credit request.
    pub(super) fn credits_taken(&self, tag: u64) -> Result<(), Spurious> {
        self.inner.lock().notices.credit.answered(tag)
    }

    /// The initiator has answered an asynchronous event request.
    pub(super) fn event_noted(&self, tag: u64) -> Result<(), Spurious> {
        self.inner.lock().notices.event.answered(tag)
    }

    /// Sends the target's logout; [`Until::LogoutSent`] happens when it is out, and at once if it
    /// cannot be sent. Called by tear-down, once.
    pub(super) fn send_logout(&self, link: &Arc<Link>, reason: TLogoutReason) {
        let (sender, tag) = {
            let mut inner = self.inner.lock();
            let sender = inner.notices.senders.as_ref().map(|s| s.logout.clone());
            (sender, inner.notices.tag())
        };
        let posted = sender.is_some_and(|sender| {
            sender.post(link, self.solicit.logout, |buf| {
                let logout = TLogout {
                    tag,
                    sol_not: self.solicit.logout,
                    reason: reason.code(),
                };
                copy(&logout.emit(), buf)
            })
        });
        if !posted {
            self.waits.happened(Until::LogoutSent);
        }
    }
}

/// Writes `bytes` to the start of a buffer of at least their size, and returns how many.
fn copy(bytes: &[u8], buf: &mut [u8]) -> usize {
    buf.iter_mut()
        .zip(bytes)
        .map(|(to, from)| *to = *from)
        .count()
}
