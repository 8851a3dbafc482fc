// SPDX-License-Identifier: GPL-2.0

//! Allocation of a channel.
//!
//! Not here: the decision on a login and the connection ([`crate::login`]).

use kernel::{
    new_spinlock,
    new_work,
    prelude::*,
    sync::Arc,
    time::Instant, //
};

use super::{
    identity::{
        next_serial,
        Identity, //
    },
    notice::{
        Notices,
        Solicit, //
    },
    probe::Probe,
    shown::Shown,
    waits::Waits,
    Channel,
    Command,
    Commands,
    Connection,
    Incoming,
    Inner,
    Link, //
};
use crate::{
    engine::{
        Active,
        Engine,
        Port,
        Session, //
    },
    hca::{
        port::HcaPort,
        Hca, //
    },
    link::flow::Flow,
    queues,
    rdma::{
        buf::TxBufs,
        cm::PeerAddr,
        device::Device, //
    },
    srp::{
        self,
        machine::{
            credit::Credits,
            sendq::SendQueue,
            watch::Watch, //
        },
        wire::{
            consts::limit,
            login::{
                LoginGrant,
                LoginReq,
                Takes, //
            }, //
        }, //
    },
    sync::{
        atomic::Atomic,
        gate::Pass, //
    }, //
};

/// Parts of a new channel.
pub(crate) struct Parts<'a> {
    pub(crate) login: &'a LoginReq,
    /// Requests of the target that the initiator gets.
    pub(crate) takes: Takes,
    pub(crate) grant: &'a LoginGrant,
    pub(crate) peer: PeerAddr,
    pub(crate) session: <Active as Engine>::Session,
    pub(crate) hca: Pass<Hca<Channel>>,
    pub(crate) hca_port: Arc<HcaPort>,
    pub(crate) port: Arc<Port>,
    /// The target's own requests.
    pub(crate) notices: Notices,
    /// Requests that the initiator may have outstanding.
    pub(crate) rq_size: u32,
}

/// Allocates a channel that is on no list yet. Dropping it, or an error, closes the session. May
/// sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn channel(parts: Parts<'_>) -> Result<Arc<Channel>> {
    let Parts {
        login,
        takes,
        grant,
        peer,
        session,
        hca,
        hca_port,
        port,
        notices,
        rq_size,
    } = parts;
    let comp_vector = port.vectors().next();
    // CAST: A u32 fits in a usize on every architecture with RDMA.
    let held = KVec::with_capacity(incoming(rq_size) as usize, GFP_KERNEL)?;
    // Replaced when the queue pair exists and its real size is known.
    let sendq = SendQueue::new(rq_size + 1, rq_size).map_err(|_| EINVAL)?;
    let device = hca.id();
    let serial = next_serial();
    let inner = Inner {
        machine: srp::machine::channel::Channel::new(takes.logout),
        incoming: Incoming {
            held,
            draining: false,
        },
        commands: Commands {
            pool: KVec::new(),
            all: KVec::new(),
        },
        notices,
        watch: Watch::new(),
        probe: Probe::new()?,
        connection: Connection {
            link: None,
            cm: None,
            hca: Some(hca),
        },
    };
    let id = Identity {
        serial,
        device,
        port,
        hca_port,
        initiator_port: login.initiator_port,
        target_port: login.target_port,
        peer,
        comp_vector,
        born: Instant::now(),
    };
    Arc::pin_init(
        try_pin_init!(Channel {
            id,
            luns: Atomic::new(session.luns()),
            session,
            imm_offset: grant.imm_offset,
            solicit: Solicit::of(login),
            takes_events: takes.event,
            inner <- new_spinlock!(inner, "Channel::inner"),
            failed: Atomic::new(false),
            shown <- Shown::new(),
            waits <- Waits::new(),
            flow <- Flow::new(
                serial,
                Credits::new(grant.req_lim),
                sendq,
                takes.credit
            ),
            queues: queues::get()?,
            work <- new_work!("Channel::work"),
        }),
        GFP_KERNEL,
    )
}

impl Commands {
    /// Allocates the commands of a connection, with `rsp_size` bytes for each response. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EIO` if the device cannot map the memory for responses.
    pub(crate) fn new(
        link: &Arc<Link>,
        device: &Device,
        rq_size: u32,
        rsp_size: u32,
    ) -> Result<Self> {
        // CAST: A u32 fits in a usize on every architecture with RDMA.
        let (count, size) = (incoming(rq_size) as usize, rsp_size as usize);
        let mut pool = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut all = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut tx = TxBufs::new(device, size, count)?;
        for _ in 0..count {
            let cmd = Command::new(link, tx.take()?)?;
            all.push(cmd.clone(), GFP_KERNEL)?;
            pool.push(cmd, GFP_KERNEL)?;
        }
        Ok(Self { pool, all })
    }
}

/// Returns how many information units of the initiator may be outstanding: requests, and responses
/// to the target's requests.
pub(crate) fn incoming(rq_size: u32) -> u32 {
    rq_size + limit::TARGET_REQUESTS
}
