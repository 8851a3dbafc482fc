// SPDX-License-Identifier: GPL-2.0

//! Looking after peers: probes of those that have been silent for a while, and connections whose
//! confirmation does not come.
//!
//! A probe is an RDMA WRITE of no bytes: it needs no memory on either side, the initiator does not
//! notice it, and its HCA acknowledges it. (On iWARP nothing is acknowledged, but TCP below it
//! notices when the peer is gone.) When there is to be one is decided by [`crate::srp::machine::watch`];
//! whose turn it is, by the list of channels in [`crate::target`].
//!
//! A peer confirms the connection with a datagram (RTU), which its first message may overtake, and
//! which may be lost; then the message stands for it. The connection manager is told so late, because
//! it does not stop to repeat its own answer at once: if the connection ends meanwhile it forgets to,
//! and the end waits until the answer is given up, more than a minute later (`cm_establish()`,
//! `cm_destroy_id()`).

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
    Busy,
    Channel,
    Inner,
    Link, //
};

use crate::{
    link::Owner,
    rdma::{
        cqe::{
            impl_has_cqe,
            Cqe,
            CqeHandler,
            SEND, //
        },
        wc::WorkCompletion, //
    },
    srp::machine::{
        channel::{
            CloseReason,
            State, //
        },
        watch::Look, //
    }, //
};

/// Slots of the send queue for probes.
pub(crate) const SLOTS: u32 = 1;

/// The probe of a channel.
#[pin_data]
pub(crate) struct Probe {
    #[pin]
    write: Cqe<Probe, SEND>,
    /// Holds the channel and the queue pair while the probe is under way.
    #[pin]
    link: SpinLock<Option<Arc<Link>>>,
}

impl_has_cqe! {
    impl HasCqe<0> for Probe { self.write }
}

impl Probe {
    /// A probe that is not under way. May sleep.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                write: Cqe::new(),
                link <- new_spinlock!(None, "Probe::link"),
            }),
            GFP_KERNEL,
        )
    }

    fn take_link(&self) -> Option<Arc<Link>> {
        self.link.lock().take()
    }
}

impl CqeHandler<SEND> for Probe {
    fn done(self: Arc<Self>, wc: &WorkCompletion) {
        let Some(link) = self.take_link() else {
            return;
        };
        let ok = wc.result().is_ok();
        link.owner.inner.lock().watch.probe_ended(ok);
        if !ok {
            Channel::close(link.owner.as_arc_borrow(), CloseReason::PeerSilent);
        }
    }
}

impl Channel {
    /// Looks for signs of life of the peer. To be called once per period.
    pub(crate) fn look(&self) -> Look {
        let mut inner = self.inner.lock();
        self.listen(&mut inner);
        match inner.machine.state() {
            State::Live => inner.watch.look(),
            _ => Look::Fine,
        }
    }

    /// Whether the peer was given up.
    pub(crate) fn is_given_up(&self) -> bool {
        let mut inner = self.inner.lock();
        self.listen(&mut inner);
        inner.watch.is_given_up()
    }

    /// Passes signs of life on.
    fn listen(&self, inner: &mut Inner) {
        if self.flow.was_heard() {
            inner.watch.heard();
        }
    }

    /// Whether messages wait for the connection to be confirmed, and did at the last look. To be
    /// called once per period.
    pub(crate) fn waits_for_confirmation(&self) -> bool {
        let mut inner = self.inner.lock();
        let held = !inner.incoming.held.is_empty();
        inner.machine.confirmation_is_late(held)
    }

    /// Tells the connection manager that the peer has the connection, as its messages show.
    /// Process context.
    pub(crate) fn confirm(this: ArcBorrow<'_, Self>) {
        let (cm, _busy) = {
            let mut inner = this.inner.lock();
            match inner.connection.cm.clone() {
                Some(cm) if inner.machine.vouch() => (cm, Busy::new(this)),
                _ => return,
            }
        };
        if cm.notify_comm_est().is_err() {
            this.inner.lock().machine.vouch_failed();
        }
        drop(cm);
    }

    /// Probes the peer, unless that is under way. Process context.
    pub(crate) fn probe(this: ArcBorrow<'_, Self>) {
        let due = {
            let mut inner = this.inner.lock();
            match inner.connection.link.clone() {
                Some(link) if inner.machine.state() == State::Live => {
                    let begun = inner.watch.probe_begun();
                    begun.then(|| (link, inner.probe.clone(), Busy::new(this)))
                }
                _ => None,
            }
        };
        let Some((link, probe, _busy)) = due else {
            return;
        };
        *probe.link.lock() = Some(link.clone());
        if let Err((_, probe)) = link.qp.post_empty_write(probe) {
            drop(probe.take_link());
            this.inner.lock().watch.probe_ended(false);
            Self::close(this, CloseReason::QpError);
        }
    }
}
