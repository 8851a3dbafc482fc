// SPDX-License-Identifier: GPL-2.0

//! Requests of the target to the initiator: SRP_CRED_REQ, SRP_AER_REQ and SRP_T_LOGOUT.
//!
//! Each kind has its own buffer and send queue slot, so that it never waits for commands. Not here:
//! which of them are outstanding and which response is expected ([`crate::srp::machine::notice`]),
//! when credits are returned ([`crate::srp::machine::credit`]).

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
            TxBuf,
            TxBufs, //
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
            channel::CloseReason,
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
            login::LoginReq,
            scsi::sense, //
        }, //
    }, //
};

/// Send queue slots for the target's requests: one per kind.
pub(crate) const SLOTS: u32 = 3;

/// First tag of the target's requests. Some initiators match any information unit with their own
/// request of this tag, or compare half of the tag only. Their tags count from 0 in the lower 32
/// bits, and Linux gives bit 31 a meaning; this value is far from both.
const FIRST_TAG: u64 = 0xffff_ffff_4000_0000;

/// Requests of the target that raise a solicited event, as the login asks.
#[derive(Clone, Copy)]
pub(crate) struct Solicit {
    logout: bool,
    credit: bool,
    event: bool,
}

impl Solicit {
    /// Returns what the login asks for.
    pub(super) fn of(login: &LoginReq) -> Self {
        Self {
            logout: login.solicit_logout,
            credit: login.solicit_credit,
            event: login.solicit_event,
        }
    }
}

/// A request that the initiator answers.
#[derive(Clone, Copy)]
enum Request {
    Credit,
    Event,
}

/// What a [`Sender`] sends.
#[derive(Clone, Copy)]
enum Kind {
    Request(Request),
    Logout,
}

/// Buffer and completion of one kind of request.
#[pin_data]
pub(super) struct Sender {
    kind: Kind,
    #[pin]
    send: Cqe<Sender, SEND>,
    tx: TxBuf,
    /// Keeps the channel and the queue pair until the send completes.
    #[pin]
    link: SpinLock<Option<Arc<Link>>>,
}

impl_has_cqe! {
    impl HasCqe<0> for Sender { self.send }
}
impl_has_tx! { impl HasTx for Sender { self.tx } }

impl Sender {
    fn new(device: &Device, kind: Kind, len: usize) -> Result<Arc<Self>> {
        let tx = TxBufs::new(device, len, 1)?.take()?;
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

    /// Posts what `build` writes. Returns whether that worked.
    fn post(
        self: Arc<Self>,
        link: &Arc<Link>,
        solicited: bool,
        build: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        *self.link.lock() = Some(link.clone());
        let posted = match self.tx.fill(build) {
            Ok(len) => link.qp.post_send(self.clone(), len, solicited).is_ok(),
            Err(_) => false,
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
                Kind::Request(Request::Credit) => inner.notices.credit.sent(),
                Kind::Request(Request::Event) => inner.notices.event.sent(),
                Kind::Logout => channel.waits.happened(Until::LogoutSent),
            }
        }
        Channel::send_notices(channel.as_arc_borrow());
    }
}

/// Buffers of all kinds.
pub(super) struct Senders {
    credit: Arc<Sender>,
    event: Arc<Sender>,
    logout: Arc<Sender>,
}

/// The target's requests on a channel.
pub(crate) struct Notices {
    credit: Notice,
    event: Notice,
    next_tag: u64,
    /// Taken by tear-down.
    senders: Option<Senders>,
}

impl Notices {
    /// Allocates the buffers. `max_len` is the largest information unit that the initiator takes,
    /// in bytes. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EIO` if the device cannot map them.
    pub(crate) fn new(device: &Device, max_len: u32) -> Result<Self> {
        // CAST: A u32 fits in a usize on every architecture with RDMA.
        let event_len = (size::AER_REQ + sense::LUNS_CHANGED.len()).min(max_len as usize);
        Ok(Self {
            credit: Notice::new(),
            event: Notice::new(),
            next_tag: FIRST_TAG,
            senders: Some(Senders {
                credit: Sender::new(device, Kind::Request(Request::Credit), size::CRED_REQ)?,
                event: Sender::new(device, Kind::Request(Request::Event), event_len)?,
                logout: Sender::new(device, Kind::Logout, size::T_LOGOUT)?,
            }),
        })
    }

    /// Takes the buffers out; the caller drops them without a lock held. No send may be
    /// outstanding.
    pub(super) fn finish(&mut self) -> Option<Senders> {
        self.senders.take()
    }

    /// Returns the buffers of all kinds.
    pub(super) fn senders(&self) -> Option<[Arc<Sender>; 3]> {
        let Senders {
            credit,
            event,
            logout,
        } = self.senders.as_ref()?;
        Some([credit.clone(), event.clone(), logout.clone()])
    }

    fn tag(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        tag
    }
}

/// A request that is due.
struct Due<'a> {
    kind: Request,
    sender: Arc<Sender>,
    link: Arc<Link>,
    tag: u64,
    delta: i32,
    /// Keeps session and connection until the request is posted.
    busy: Busy<'a>,
}

impl Channel {
    /// Returns the next request that is due, and marks it outstanding.
    fn next_due(this: ArcBorrow<'_, Self>) -> Option<Due<'_>> {
        let mut guard = this.inner.lock();
        let inner = &mut *guard;
        if !inner.machine.is_live() {
            return None;
        }
        let link = inner.connection.link.clone()?;
        let tag = inner.notices.next_tag;
        let senders = inner.notices.senders.as_ref()?;
        let (credit, event) = (&mut inner.notices.credit, &mut inner.notices.event);
        let ((kind, sender), delta) = this.flow.carry(|wanted| {
            if wanted {
                credit.want();
                if credit.begin(tag) {
                    return Some((Request::Credit, senders.credit.clone()));
                }
            }
            let begun = event.begin(tag);
            begun.then(|| (Request::Event, senders.event.clone()))
        })?;
        let _ = inner.notices.tag();
        Some(Due {
            kind,
            sender,
            link,
            tag,
            busy: Busy::new(this),
            delta,
        })
    }

    /// Returns whether the initiator takes SRP_AER_REQ. Others find a unit attention only: an
    /// initiator that posts one receive per request would receive each later response one request
    /// late, and some take any information unit for a response.
    pub(crate) fn takes_events(&self) -> bool {
        self.takes_events
    }

    /// Reports changed logical units, at once or after the response to the previous report. Process
    /// context.
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
            let (kind, delta) = (due.kind, due.delta);
            if this.post_notice(due) {
                continue;
            }
            let mut inner = this.inner.lock();
            match kind {
                Request::Credit => inner.notices.credit.post_failed(),
                Request::Event => inner.notices.event.post_failed(),
            }
            drop(inner);
            // The channel closes, whether or not the peer has kept to its credits.
            let _ = this.flow.undo_delta(delta);
            return Self::close(this, CloseReason::QpError);
        }
    }

    fn post_notice(&self, due: Due<'_>) -> bool {
        // Dropped last.
        let Due {
            busy: _busy,
            kind,
            sender,
            link,
            tag,
            delta,
        } = due;
        match kind {
            Request::Credit => sender.post(&link, self.solicit.credit, |buf| {
                let bytes = CredReq {
                    tag,
                    sol_not: self.solicit.credit,
                    req_lim_delta: delta,
                };
                copy(&bytes.emit(), buf)
            }),
            Request::Event => sender.post(&link, self.solicit.event, |buf| {
                let req = AerReq {
                    tag,
                    sol_not: self.solicit.event,
                    req_lim_delta: delta,
                    lun: Lun([0; 8]),
                    sense: &sense::LUNS_CHANGED,
                };
                req.emit(buf).unwrap_or(0)
            }),
        }
    }

    /// Handles SRP_CRED_RSP.
    pub(super) fn credits_taken(&self, tag: u64) -> Result<(), Spurious> {
        self.inner.lock().notices.credit.answered(tag)
    }

    /// Handles SRP_AER_RSP.
    pub(super) fn event_noted(&self, tag: u64) -> Result<(), Spurious> {
        self.inner.lock().notices.event.answered(tag)
    }

    /// Sends SRP_T_LOGOUT. [`Until::LogoutSent`] happens with its completion, or at once if it
    /// cannot be posted. Called once, by tear-down.
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

/// Copies `bytes` to the start of `buf` and returns their number.
fn copy(bytes: &[u8], buf: &mut [u8]) -> usize {
    buf.iter_mut()
        .zip(bytes)
        .map(|(to, from)| *to = *from)
        .count()
}
