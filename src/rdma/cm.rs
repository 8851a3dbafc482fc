// SPDX-License-Identifier: GPL-2.0

//! Connection management: what all connection managers have in common.
//!
//! There are two: [`rdma_cm`] finds peers by network address, [`ib_cm`] is that of native
//! InfiniBand. Events, handlers and parameters are the same; [`ConnectRequest`] and [`CmId`] are one
//! or the other. What differs for their users: the form of a login request (see
//! [`ConnectRequest::manager`]) and what is known about the peer ([`PeerAddr`]).

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

/// What happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CmEvent {
    /// The peer confirmed the connection.
    Established,
    /// The peer disconnects, or answered our disconnect, or did not.
    Disconnected,
    /// The peer rejected our answer, with this reason.
    Rejected(i32),
    /// The peer does not answer.
    Unreachable,
    /// The connection could not be set up, with this error number.
    ConnectError(i32),
    /// The queue pair may be used again: the end of a disconnect.
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

/// What a connection request says about its sender. Displayed for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerAddr {
    /// Nothing.
    Unknown,
    /// The network address (RDMA/CM).
    Ip(IpAddr),
    /// The GID of the port (IB/CM).
    Gid([u8; 16]),
}

impl PeerAddr {
    /// The network address, if that is what is known.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(addr) => Some(addr),
            Self::Unknown | Self::Gid(_) => None,
        }
    }

    /// The GID of the port, if that is known.
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
    /// A peer wants to connect. Process context, may sleep. Calls may overlap: the RDMA connection
    /// manager makes one at a time per device and family of addresses, for each of which it has a
    /// listening id that it locks; `ib_cm` makes several per listener. Answer with
    /// [`ConnectRequest::reject`] or [`ConnectRequest::take_over`]; dropping the request rejects it
    /// without private data.
    fn connect_request(request: ConnectRequest<'_>);
}

/// Owner of a connection.
pub(crate) trait ConnHandler: Send + Sync + 'static {
    /// Something happened. Process context, may sleep; serialised per connection, except that on
    /// the IB/CM the news that the peer does not answer may overlap with others, the connection
    /// request included. Must neither drop the last [`CmId`] nor destroy the queue pair, nor
    /// wait for a task that does.
    fn cm_event(this: ArcBorrow<'_, Self>, event: CmEvent);
}

/// Parameters for accepting a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnParams<'a> {
    /// RDMA READs and atomics of the peer that may be outstanding.
    pub(crate) responder_resources: u8,
    /// RDMA READs of ours that may be outstanding. With 0, READs that are posted never start.
    pub(crate) initiator_depth: u8,
    /// How often the peer shall try again when we have no receive posted; 7 means for ever.
    pub(crate) rnr_retry: u8,
    /// Goes to the peer with the answer. At most 196 bytes.
    pub(crate) private_data: &'a [u8],
}

/// Reason in a reject that carries private data.
const REJ_CONSUMER_DEFINED: u8 = crate::bindings::ib_cm_rej_reason_IB_CM_REJ_CONSUMER_DEFINED as u8;

/// A peer's wish to connect. Lives inside [`ListenHandler::connect_request`] only; dropping it
/// rejects the request without private data.
pub(crate) enum ConnectRequest<'a> {
    /// Through the RDMA connection manager.
    Rdma(rdma_cm::ConnectRequest<'a>),
    /// Through the InfiniBand connection manager.
    Ib(ib_cm::ConnectRequest<'a>),
}

impl ConnectRequest<'_> {
    /// Which connection manager it came through.
    pub(crate) fn manager(&self) -> Manager {
        match self {
            Self::Rdma(_) => Manager::Rdma,
            Self::Ib(_) => Manager::Ib,
        }
    }

    /// The device the request arrived on.
    pub(crate) fn device_id(&self) -> DeviceId {
        match self {
            Self::Rdma(req) => req.device_id(),
            Self::Ib(req) => req.device_id(),
        }
    }

    /// Number of the device's port the request arrived on.
    pub(crate) fn port_num(&self) -> u32 {
        match self {
            Self::Rdma(req) => req.port_num(),
            Self::Ib(req) => req.port_num(),
        }
    }

    /// What the peer sent with the request. On InfiniBand and RoCE padded with zeroes: to 56 bytes
    /// by the RDMA/CM, to 92 by the IB/CM.
    pub(crate) fn private_data(&self) -> &[u8] {
        match self {
            Self::Rdma(req) => req.private_data(),
            Self::Ib(req) => req.private_data(),
        }
    }

    /// The peer's address.
    pub(crate) fn peer(&self) -> PeerAddr {
        match self {
            Self::Rdma(req) => req.peer_addr().map_or(PeerAddr::Unknown, PeerAddr::Ip),
            Self::Ib(req) => PeerAddr::Gid(req.peer_gid()),
        }
    }

    /// The network address that the peer connects to, if it uses one.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Rdma(req) => req.local_addr(),
            Self::Ib(_) => None,
        }
    }

    /// RDMA READs and atomics of its own the peer wants to have outstanding, that is how many we are
    /// asked to answer.
    pub(crate) fn responder_resources(&self) -> u8 {
        match self {
            Self::Rdma(req) => req.responder_resources(),
            Self::Ib(req) => req.responder_resources(),
        }
    }

    /// RDMA READs and atomics of ours the peer is ready to answer at the same time; a limit for
    /// [`ConnParams::initiator_depth`]. With 0 we cannot use any.
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

    /// Takes over the connection: `handler` gets all further events.
    pub(crate) fn take_over<H: ConnHandler>(self, handler: Arc<H>) -> CmId<H> {
        match self {
            Self::Rdma(req) => CmId::Rdma(req.take_over(handler)),
            Self::Ib(req) => CmId::Ib(req.take_over(handler)),
        }
    }
}

/// The id of a connection; dropping it destroys the id, then drops its reference to the handler.
///
/// The drop sleeps until callbacks in progress have returned, except when it happens inside one:
/// then the connection manager destroys the id when the callback returns. There are no events
/// afterwards. A peer that is still connected, or about to be, is told.
///
/// The handler normally holds the id; this circle is broken by taking the id out of it.
pub(crate) enum CmId<H: ConnHandler> {
    /// Of the RDMA connection manager.
    Rdma(rdma_cm::CmId<H>),
    /// Of the InfiniBand connection manager.
    Ib(ib_cm::CmId<H>),
}

impl<H: ConnHandler> CmId<H> {
    /// Creates a queue pair for the connection and makes it ready to receive posts. Process context,
    /// sleeps. It uses port and partition of the request.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is one already, `EINVAL` if something in `init` belongs to another device,
    /// `ENOENT` if the port is not a member of the partition (any more), `ENOMEM`, and those of the
    /// device's driver: trying again with a smaller send queue may help.
    pub(crate) fn create_qp<O: QpOwner>(&self, init: QpInit<O>) -> Result<QueuePair<O>> {
        match self {
            Self::Rdma(cm) => cm.create_qp(init),
            Self::Ib(cm) => cm.create_qp(init),
        }
    }

    /// Accepts the connection: the queue pair becomes ready to send, and the peer gets the answer.
    /// Once only. Process context, sleeps. Meant to be called in
    /// [`ListenHandler::connect_request`]; elsewhere it may wait for callbacks of this connection.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the private data is too long or the peer has given up, and those of the device's
    /// driver. The connection is then to be rejected, if it is not already.
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

    /// Sends a disconnect, or the answer to one. The caller drains the queue pair next; the
    /// RDMA/CM has put it into the error state then. May sleep.
    ///
    /// # Errors
    ///
    /// Those of the connection manager, for example when the peer has not confirmed the connection.
    /// There is no event to wait for then.
    pub(crate) fn disconnect(&self) -> Result {
        match self {
            Self::Rdma(cm) => cm.disconnect(),
            Self::Ib(cm) => cm.disconnect(),
        }
    }

    /// Tells the connection manager that a message arrived before the peer's confirmation: the
    /// connection counts as established. Does not sleep.
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
