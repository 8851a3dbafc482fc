// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/rdma/cm.rs`: connection management. What is reported, and when, is in
//! [`crate::conn`].

use core::{fmt, net::IpAddr};
use std::rc::Rc;

use kernel::{
    error::{code::*, Result},
    prelude::*,
    sync::{Arc, ArcBorrow},
};

use super::qp::{QpInit, QpOwner, QueuePair};
use crate::conn::Conn;

/// What happened to a connection.
#[allow(dead_code, reason = "the driver has names for them")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CmEvent {
    Established,
    Disconnected,
    Rejected(i32),
    Unreachable,
    ConnectError(i32),
    TimewaitExit,
    DeviceRemoval,
    AddrChange,
    Other(u32),
}

/// What a connection request says about its sender.
#[allow(dead_code, reason = "the driver has names for them")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerAddr {
    Unknown,
    Ip(IpAddr),
    Gid([u8; 16]),
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Parameters for accepting a connection.
#[allow(dead_code, reason = "what is in it goes to the peer")]
pub(crate) struct ConnParams<'a> {
    pub(crate) responder_resources: u8,
    pub(crate) initiator_depth: u8,
    pub(crate) rnr_retry: u8,
    pub(crate) private_data: &'a [u8],
}

/// What a connection belongs to.
pub(crate) trait ConnHandler: Send + Sync + 'static {
    fn cm_event(this: ArcBorrow<'_, Self>, event: CmEvent)
    where
        Self: Sized;
}

/// The id of a connection.
pub(crate) struct CmId<H: ConnHandler> {
    conn: Rc<Conn>,
    _handler: Arc<H>,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl<H: ConnHandler> Send for CmId<H> {}
// SAFETY: As above.
unsafe impl<H: ConnHandler> Sync for CmId<H> {}

impl<H: ConnHandler> CmId<H> {
    /// That of a connection.
    pub(crate) fn new(conn: &Rc<Conn>, handler: Arc<H>) -> Self {
        Self {
            conn: conn.clone(),
            _handler: handler,
        }
    }

    pub(crate) fn create_qp<O: QpOwner>(&self, init: QpInit<O>) -> Result<Arc<QueuePair<O>>> {
        match self.conn.fails() {
            true => Err(ENOMEM),
            false => Ok(Arc::new(QueuePair::new(&self.conn, init), GFP_KERNEL)?),
        }
    }

    /// The request is refused: there is no connection.
    pub(crate) fn reject(&self, _: &[u8]) -> Result {
        sched::access(&self.conn.cm, true);
        Ok(())
    }

    pub(crate) fn accept(&self, _: &ConnParams<'_>) -> Result {
        sched::access(&self.conn.cm, true);
        if self.conn.fails() {
            return Err(EINVAL);
        }
        self.conn.accept();
        Ok(())
    }

    pub(crate) fn disconnect(&self) -> Result {
        sched::access(&self.conn.cm, true);
        match self.conn.disconnect() {
            true => Ok(()),
            false => Err(ENOTCONN),
        }
    }

    pub(crate) fn notify_comm_est(&self) -> Result {
        sched::access(&self.conn.cm, true);
        match self.conn.notify() {
            true => Ok(()),
            false => Err(EINVAL),
        }
    }
}

impl<H: ConnHandler> Drop for CmId<H> {
    fn drop(&mut self) {
        let at = self.conn.clone();
        sched::wait(&self.conn.cm, move || !at.in_cm_handler.get());
        self.conn.cm_gone.set(true);
    }
}
