// SPDX-License-Identifier: GPL-2.0

//! Connection management, passive side: the common interface of both connection managers.
//!
//! [`rdma_cm`] identifies peers by network address, [`ib_cm`] is the connection manager of native
//! InfiniBand. Events, handlers and parameters are the same for both; a [`ConnectRequest`] and a
//! [`CmId`] belong to one of them. For users, two things differ: the form of a login request (see
//! [`ConnectRequest::manager`]) and the address of the peer ([`PeerAddr`]).
//!
//! Not here: queue pairs ([`super::qp`]), logins ([`crate::login`]).

use core::{
    fmt,
    net::{
        IpAddr,
        Ipv6Addr, //
    }, //
};

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    device::DeviceId,
    qp::{
        QpInit,
        QpOwner,
        QueuePair, //
    }, //
};

mod ib_cm;
mod rdma_cm;

pub(crate) use self::{
    ib_cm::IbListener,
    rdma_cm::{
        Family,
        Listener, //
    }, //
};

/// An event of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CmEvent {
    /// The connection is established: the peer has confirmed it, or [`CmId::notify_comm_est`] was
    /// called.
    Established,
    /// The peer has sent a disconnect, has answered ours, or has not answered ours in time.
    Disconnected,
    /// The peer has rejected our reply, with this reason.
    Rejected(i32),
    /// The peer has not confirmed our reply in time.
    Unreachable,
    /// The connection could not be set up, with this error number.
    ConnectError(i32),
    /// Time-wait, the last state of a disconnect, has ended: the queue pair may be reused.
    TimewaitExit,
    /// The device is being removed.
    DeviceRemoval,
    /// The address or the route changed.
    AddrChange,
    /// Another event, by its C number.
    Other(u32),
}

/// A connection manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manager {
    /// The RDMA connection manager.
    Rdma,
    /// The InfiniBand connection manager.
    Ib,
}

/// Address of a peer, from its connection request. Displayed as text for log lines and files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerAddr {
    /// Unknown.
    Unknown,
    /// The network address (RDMA/CM).
    Ip(IpAddr),
    /// The GID of the port (IB/CM).
    Gid([u8; 16]),
}

impl PeerAddr {
    /// Returns the network address, if that is known.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(addr) => Some(addr),
            Self::Unknown | Self::Gid(_) => None,
        }
    }

    /// Returns the GID of the port, if that is known.
    pub(crate) fn port_gid(self) -> Option<[u8; 16]> {
        match self {
            Self::Gid(gid) => Some(gid),
            Self::Unknown | Self::Ip(_) => None,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("an unknown address"),
            Self::Ip(addr) => addr.fmt(f),
            // GIDs are written like the IPv6 addresses they resemble.
            Self::Gid(gid) => write!(f, "GID {}", Ipv6Addr::from(*gid)),
        }
    }
}

/// Handler of connection requests on a [`Listener`] or an [`IbListener`].
pub(crate) trait ListenHandler: 'static {
    /// Handles a connection request. Process context, may sleep. Calls may overlap: the RDMA
    /// connection manager makes one at a time per device and address family, for each of which it
    /// has a listening id that it locks; `ib_cm` makes several per listener. The handler answers
    /// with [`ConnectRequest::reject`] or [`ConnectRequest::take_over`]; dropping the request
    /// rejects it without private data.
    fn connect_request(request: ConnectRequest<'_>);
}

/// Owner of a connection: the handler of its events.
pub(crate) trait ConnHandler: Send + Sync + 'static {
    /// Handles an event. Process context, may sleep. Calls are serialised per connection, except
    /// that on the IB/CM the report that the peer has not answered a message may overlap with other
    /// events, and with the handler of the connection request. Must neither drop the last [`CmId`]
    /// nor destroy the queue pair, nor wait for a task that does.
    fn cm_event(this: ArcBorrow<'_, Self>, event: CmEvent);
}

/// Parameters for accepting a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnParams<'a> {
    /// Number of RDMA READs and atomics of the peer that may be outstanding.
    pub(crate) responder_resources: u8,
    /// Number of RDMA READs of ours that may be outstanding. With 0, posted READs never start.
    pub(crate) initiator_depth: u8,
    /// Number of retries of the peer when we have no receive posted; 7 means without limit.
    pub(crate) rnr_retry: u8,
    /// Private data of the reply, at most 196 bytes.
    pub(crate) private_data: &'a [u8],
}

/// Reason in a reject that carries private data.
const REJ_CONSUMER_DEFINED: u8 = crate::bindings::ib_cm_rej_reason_IB_CM_REJ_CONSUMER_DEFINED as u8;

/// A connection request of a peer. Exists inside [`ListenHandler::connect_request`] only; dropping
/// it rejects the request without private data.
pub(crate) enum ConnectRequest<'a> {
    /// Through the RDMA connection manager.
    Rdma(rdma_cm::ConnectRequest<'a>),
    /// Through the InfiniBand connection manager.
    Ib(ib_cm::ConnectRequest<'a>),
}

impl ConnectRequest<'_> {
    /// Connection manager that the request arrived through.
    pub(crate) fn manager(&self) -> Manager {
        match self {
            Self::Rdma(_) => Manager::Rdma,
            Self::Ib(_) => Manager::Ib,
        }
    }

    /// Device that the request arrived on.
    pub(crate) fn device_id(&self) -> DeviceId {
        match self {
            Self::Rdma(req) => req.device_id(),
            Self::Ib(req) => req.device_id(),
        }
    }

    /// Number of the device's port that the request arrived on.
    pub(crate) fn port_num(&self) -> u32 {
        match self {
            Self::Rdma(req) => req.port_num(),
            Self::Ib(req) => req.port_num(),
        }
    }

    /// Private data of the request. On InfiniBand and RoCE padded with zeroes: to 56 bytes by the
    /// RDMA/CM, to 92 by the IB/CM.
    pub(crate) fn private_data(&self) -> &[u8] {
        match self {
            Self::Rdma(req) => req.private_data(),
            Self::Ib(req) => req.private_data(),
        }
    }

    /// Address of the peer.
    pub(crate) fn peer(&self) -> PeerAddr {
        match self {
            Self::Rdma(req) => req.peer_addr().map_or(PeerAddr::Unknown, PeerAddr::Ip),
            Self::Ib(req) => PeerAddr::Gid(req.peer_gid()),
        }
    }

    /// Returns the network address that the peer connects to; `None` if it uses none, as with the
    /// IB/CM.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Rdma(req) => req.local_addr(),
            Self::Ib(_) => None,
        }
    }

    /// Number of our RDMA READs and atomics that the peer accepts at the same time as responder;
    /// the limit of [`ConnParams::initiator_depth`]. With 0, none may be used.
    pub(crate) fn initiator_depth(&self) -> u8 {
        match self {
            Self::Rdma(req) => req.initiator_depth(),
            Self::Ib(req) => req.initiator_depth(),
        }
    }

    /// Rejects the request with private data, at most 148 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is too long, and those of the connection manager. The request is then
    /// rejected without data.
    pub(crate) fn reject(self, private_data: &[u8]) -> Result {
        match self {
            Self::Rdma(req) => req.reject(private_data),
            Self::Ib(req) => req.reject(private_data),
        }
    }

    /// Takes over the connection: all further events are passed to `handler`.
    pub(crate) fn take_over<H: ConnHandler>(self, handler: Arc<H>) -> CmId<H> {
        match self {
            Self::Rdma(req) => CmId::Rdma(req.take_over(handler)),
            Self::Ib(req) => CmId::Ib(req.take_over(handler)),
        }
    }
}

/// The id of a connection; dropping it destroys the id, then drops its reference to the handler.
///
/// The drop sleeps until callbacks in progress have returned, except inside one of them: then the
/// connection manager destroys the id when the callback returns. There are no events afterwards.
/// The connection manager notifies the peer if the connection is established or being set up.
///
/// The handler normally holds the id; taking the id out of it breaks this cycle.
pub(crate) enum CmId<H: ConnHandler> {
    /// Of the RDMA connection manager.
    Rdma(rdma_cm::CmId<H>),
    /// Of the InfiniBand connection manager.
    Ib(ib_cm::CmId<H>),
}

impl<H: ConnHandler> CmId<H> {
    /// Creates a queue pair for the connection, on port and partition of the request, and makes it
    /// ready for posting receives. A failure leaves none, so the call may be repeated. Process
    /// context, sleeps.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is one already, `EINVAL` if an object in `init` belongs to another device,
    /// `ENOENT` if the port is not a member of the partition (any more), `ENOMEM`, and those of the
    /// device's driver: a retry with a smaller send queue may succeed.
    pub(crate) fn create_qp<O: QpOwner>(&self, init: QpInit<O>) -> Result<Arc<QueuePair<O>>> {
        match self {
            Self::Rdma(cm) => cm.create_qp(init),
            Self::Ib(cm) => cm.create_qp(init),
        }
    }

    /// Accepts the connection: makes the queue pair ready to send and sends the reply to the peer.
    /// To be called once, preferably in [`ListenHandler::connect_request`]; elsewhere it may wait
    /// for callbacks of this connection. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the private data is too long or the peer has given up, and those of the device's
    /// driver. The caller must then reject the connection, unless that was done already.
    pub(crate) fn accept(&self, params: &ConnParams<'_>) -> Result {
        match self {
            Self::Rdma(cm) => cm.accept(params),
            Self::Ib(cm) => cm.accept(params),
        }
    }

    /// Rejects the connection with private data, at most 148 bytes. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is too long, and those of the connection manager.
    pub(crate) fn reject(&self, private_data: &[u8]) -> Result {
        match self {
            Self::Rdma(cm) => cm.reject(private_data),
            Self::Ib(cm) => cm.reject(private_data),
        }
    }

    /// Sends a disconnect, or the answer to one. The RDMA/CM also puts the queue pair into the
    /// error state; the IB/CM does not. The caller drains the queue pair next. May sleep.
    ///
    /// # Errors
    ///
    /// Those of the connection manager, for example if the peer has not confirmed the connection.
    /// No event follows then.
    pub(crate) fn disconnect(&self) -> Result {
        match self {
            Self::Rdma(cm) => cm.disconnect(),
            Self::Ib(cm) => cm.disconnect(),
        }
    }

    /// Notifies the connection manager that a message arrived before the peer's confirmation, which
    /// it replaces: the connection becomes established. Does not sleep.
    ///
    /// # Errors
    ///
    /// Those of the connection manager.
    pub(crate) fn notify_comm_est(&self) -> Result {
        match self {
            Self::Rdma(cm) => cm.notify_comm_est(),
            Self::Ib(cm) => cm.notify_comm_est(),
        }
    }
}
