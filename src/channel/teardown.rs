// SPDX-License-Identifier: GPL-2.0

//! The end of a channel: drain, then free.
//!
//! One work item per channel executes all steps, in one order, whatever the reason. An earlier step
//! causes the end of every wait ([`Until`] has the limits):
//!
//! 1. Wait for the login handler to return: it is bounded and never waits for tear-down.
//! 2. Stop the engine's session: no new command enters. If COMM_EST was reported, wait for the
//!    connection manager's event, with a limit; see [`super::probe`]. Send SRP_T_LOGOUT if the
//!    machine says so, and wait for its completion, with a limit. Send the disconnect.
//! 3. Drain the queue pair: in error state every work request is flushed. If the device does not do
//!    so, destroy the queue pair, after the connection manager's id, and complete what is posted
//!    without it ([`crate::rdma::qp`]).
//! 4. Wait for reserved sends, which complete with a flush error, and for tasks that process an
//!    information unit, which do not wait for tear-down.
//! 5. Close the engine's session, which waits for its commands: none is on the wire, so only the
//!    backend holds them, until its I/O ends.
//! 6. Wait for the peer's answer to the disconnect, with a limit.
//! 7. Free connection, commands, queue pair, directory in sysfs and the pass on the HCA, in this
//!    order. The functions of the directory's files wait for nothing.
//!
//! Not here: the decision to close, and what is said to the initiator
//! ([`crate::srp::machine::channel`]).

use kernel::{
    sync::Arc,
    workqueue::WorkItem, //
};

use crate::{
    engine::Session,
    rdma::qp::Drained,
    srp::machine::channel::Farewell,
    trace, //
};

use super::{
    list,
    waits::Until,
    Channel,
    Link, //
};

impl WorkItem for Channel {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.waits.wait(&this.flow, Until::SetUp);

        let (link, mut cm, farewell) = {
            let mut inner = this.inner.lock();
            let farewell = inner.machine.begin_teardown();
            (
                inner.connection.link.clone(),
                inner.connection.cm.take(),
                farewell,
            )
        };
        let Farewell {
            await_settled,
            send_logout,
            send_disconnect,
        } = farewell;
        this.session.stop();
        if await_settled {
            this.waits.wait(&this.flow, Until::Settled);
        }
        if let (Some(link), Some(reason)) = (&link, send_logout) {
            this.send_logout(link, reason);
            this.waits.wait(&this.flow, Until::LogoutSent);
        }
        let mut await_peer = match &cm {
            Some(cm) if send_disconnect => cm.disconnect().is_ok(),
            _ => false,
        };
        if let Some(link) = &link {
            if link.qp.drain() == Drained::Stuck {
                await_peer = false;
                drop(cm.take());
                this.break_off(link);
            }
        }
        this.waits.wait(&this.flow, Until::Quiet);
        this.session.close(this.tasks());
        this.inner.lock().machine.drained();

        if await_peer {
            this.waits.wait(&this.flow, Until::PeerGone);
        }
        drop(cm);

        let device_memory = {
            let mut inner = this.inner.lock();
            let notices = inner.notices.finish();
            let all = core::mem::take(&mut inner.commands.all);
            (core::mem::take(&mut inner.commands.pool), all, notices)
        };
        drop(device_memory);
        if let Some(link) = &link {
            link.qp.destroy();
        }
        let last = this.inner.lock().connection.link.take();
        drop(last);
        drop(link);
        this.hide();
        list::remove(&this);
        let hca = this.inner.lock().connection.hca.take();
        drop(hca);
        trace::gone(this.id.serial);
    }
}

impl Channel {
    /// Destroys a queue pair whose device does not complete what is posted, and completes it.
    fn break_off(&self, link: &Link) {
        link.qp.break_off();
        let (count, probe, senders) = {
            let inner = self.inner.lock();
            let senders = inner.notices.senders();
            (inner.commands.all.len(), inner.probe.clone(), senders)
        };
        for number in 0..count {
            // The handlers take the lock.
            let cmd = self.inner.lock().commands.all.get(number).cloned();
            if let Some(cmd) = cmd {
                cmd.complete_lost();
            }
        }
        link.qp.complete_lost(&probe);
        for sender in senders.iter().flatten() {
            link.qp.complete_lost(sender);
        }
    }
}
