// SPDX-License-Identifier: GPL-2.0

//! Probes of silent peers, and connections whose confirmation is late.
//!
//! A probe is an RDMA WRITE of zero bytes: it needs no memory on either side, the initiator's
//! software does not see it, and its HCA acknowledges it. (iWARP acknowledges nothing, but its TCP
//! detects a dead peer.) [`crate::srp::machine::watch`] decides when to probe; the periodic work in
//! [`crate::target`] calls this.
//!
//! A peer confirms the connection with a datagram (RTU), which may be lost or overtaken by its
//! first message; then the message replaces it, and is processed at once. COMM_EST is reported to
//! the connection manager late, because the IB/CM does not stop repeating its REP at once: if the
//! connection ends meanwhile, the end waits until the REP is given up, more than a minute later
//! (`cm_establish()`, `cm_destroy_id()`). A peer whose RTU was lost sends another when the REP is
//! repeated, so that the report is rarely due. For the same reason tear-down does not report it: a
//! connection that ends in between is rejected, not disconnected.
//!
//! Not here: the decision to give a peer up ([`crate::srp::machine::watch`]).

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
        channel::CloseReason,
        watch::Look, //
    }, //
};

/// Send queue slots for probes.
pub(crate) const SLOTS: u32 = 1;

/// Probe of a channel.
#[pin_data]
pub(crate) struct Probe {
    #[pin]
    write: Cqe<Probe, SEND>,
    /// Keeps the channel and the queue pair until the probe completes.
    #[pin]
    link: SpinLock<Option<Arc<Link>>>,
}

impl_has_cqe! {
    impl HasCqe<0> for Probe { self.write }
}

impl Probe {
    /// Allocates a probe. May sleep.
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
    /// Looks for signs of life of the peer. Called once per period.
    pub(crate) fn look(&self) -> Look {
        let mut inner = self.inner.lock();
        self.listen(&mut inner);
        match inner.machine.is_live() {
            true => inner.watch.look(),
            false => Look::Fine,
        }
    }

    /// Frees memory that free commands have not used since the last call. Called once per period.
    pub(crate) fn age(&self) {
        let mut at = 0;
        loop {
            let kept = {
                // With the lock held, commands in the pool are not in use. They may move in
                // between, so that one is skipped, or asked twice.
                let inner = self.inner.lock();
                let mut others = inner.commands.pool.iter().skip(at);
                others.find_map(|cmd| {
                    at += 1;
                    cmd.age()
                })
            };
            // Freed here, without the lock.
            if kept.is_none() {
                return;
            }
        }
    }

    /// Passes signs of life to the machine.
    fn listen(&self, inner: &mut Inner) {
        if self.flow.was_heard() {
            inner.watch.heard();
        }
    }

    /// Returns whether the peer has sent without a confirmation for a whole period. Called once per
    /// period.
    pub(crate) fn confirmation_is_late(&self) -> bool {
        self.inner.lock().machine.confirmation_is_late()
    }

    /// Reports to the connection manager that the first information unit replaces the RTU. Process
    /// context.
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

    /// Posts a probe unless one is outstanding. Process context.
    pub(crate) fn probe(this: ArcBorrow<'_, Self>) {
        let due = {
            let mut inner = this.inner.lock();
            match inner.connection.link.clone() {
                Some(link) if inner.machine.is_live() => {
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
