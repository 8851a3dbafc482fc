// SPDX-License-Identifier: GPL-2.0

//! The end of a channel: drain, then free.
//!
//! One work item per channel does all of it, in one order, whatever the reason. Every wait in it
//! ends because of something the code before it has brought about ([`Until`] has the limits):
//!
//! 1. The login handler lets go of the connection: it is bounded and never waits for us.
//!    If the connection manager was told that the connection is established, it gets a moment to
//!    notice; see [`super::probe`].
//! 2. The engine's session is stopped: no command enters any more. An initiator that does not
//!    know yet is told with a logout, which gets a moment to be sent; that wait is limited. The
//!    disconnect is sent.
//! 3. The queue pair is drained: in error state every work request is flushed.
//! 4. Sends that were reserved before the channel closed complete with a flush error, too, and
//!    whoever is processing an information unit finishes with it: that does not wait for us.
//! 5. The engine frees its commands: nothing of them is on the wire any more, so only the backend
//!    can hold them, and no longer than it takes to finish its I/O.
//! 6. The peer gets a moment to answer the disconnect; that wait is limited.
//! 7. Connection, commands, queue pair, the directory in sysfs and the hold on the HCA go, in this
//!    order. Who looks into a file of the directory does not wait for anything.

use kernel::{
    sync::Arc,
    workqueue::WorkItem, //
};

use crate::{
    engine::Session,
    srp::machine::channel::Farewell,
    trace, //
};

use super::{
    list,
    waits::Until,
    Channel, //
};

impl WorkItem for Channel {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.waits.wait(&this.flow, Until::SetUp);

        let (link, cm, farewell) = {
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
        let await_peer = match &cm {
            Some(cm) if send_disconnect => cm.disconnect().is_ok(),
            _ => false,
        };
        if let Some(link) = &link {
            link.qp.drain();
        }
        this.waits.wait(&this.flow, Until::Quiet);
        this.session.close();
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
