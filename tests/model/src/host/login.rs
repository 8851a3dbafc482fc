// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/login.rs`: a login that was granted. What is done then is the module's
//! `bring_up.rs`.

use std::rc::Rc;

use kernel::{
    error::{code::*, Error, Result},
    prelude::*,
    sync::Arc,
};

use crate::{
    channel::{
        new::{self, Parts},
        notice::Notices,
        Channel,
    },
    conn::Conn,
    engine::Port,
    hca::{port::HcaPort, Hca},
    peer,
    rdma::{
        cm::{CmId, PeerAddr},
        device::Device,
        pd::ProtectionDomain,
    },
    scripted,
    srp::{
        machine::bounds::Channels,
        wire::{
            consts::{buf_fmt, RejectReason},
            ident::PortId,
            login::{LoginGrant, LoginReq, MultiChannel, Requests},
        },
    },
    sync::gate::Pass,
    world::{world, Config, Second},
};

include!(concat!(env!("OUT_DIR"), "/login.rs"));

/// Why a login was refused.
struct Refusal {
    reason: RejectReason,
    what: &'static str,
}

impl Refusal {
    fn new(reason: RejectReason, what: &'static str) -> Self {
        Self { reason, what }
    }

    fn resources(what: &'static str, _: Error) -> Self {
        Self::new(RejectReason::InsufficientResources, what)
    }
}

/// A channel that was prepared.
pub(crate) struct Login(bring_up::Prepared);

impl Login {
    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.0.channel
    }
}

/// What the initiator asks for.
fn request(cfg: &Config, number: usize) -> LoginReq {
    let multichannel = match (number, cfg.second) {
        (1, Second::Beside) => MultiChannel::Multi,
        _ => MultiChannel::Single,
    };
    LoginReq {
        tag: 0,
        req_it_iu_len: 512,
        buf_fmt: buf_fmt::SUPPORTED,
        multichannel,
        solicit_logout: false,
        solicit_credit: cfg.listens,
        solicit_event: cfg.events > 0,
        imm_requested: false,
        imm_data_offset: 0,
        initiator_port: PortId([1; 16]),
        target_port: PortId([2; 16]),
    }
}

/// Allocates the channel.
pub(crate) fn prepare(conn: &Conn, hca: &Arc<Hca<Channel>>) -> Result<Login> {
    let cfg = &conn.cfg;
    let device = Device(conn.number);
    let grant = LoginGrant {
        max_it_iu_len: 512,
        max_ti_iu_len: 256,
        req_lim: cfg.limit,
        buf_fmt: buf_fmt::SUPPORTED,
        imm_offset: Some(peer::IMM_OFFSET),
    };
    let channel = new::channel(Parts {
        login: &request(cfg, conn.number),
        takes: request(cfg, conn.number).takes(Requests::Able),
        grant: &grant,
        peer: PeerAddr::Unknown,
        session: scripted::LioSession::open(conn.number),
        hca: Pass::enter(hca).ok_or(EPIPE)?,
        hca_port: HcaPort::new()?,
        port: Arc::new(Port::new(), GFP_KERNEL)?,
        notices: Notices::new(&device, grant.max_ti_iu_len)?,
        rq_size: cfg.limit,
    })?;
    Ok(Login(bring_up::Prepared {
        channel,
        hca: hca.clone(),
        device,
        pd: Arc::new(ProtectionDomain, GFP_KERNEL)?,
        srq: None,
        grant,
        rq_size: cfg.limit,
        sq_size: cfg.rdma,
        max_inline: 64,
        most: Channels::default(),
    }))
}

/// Connects it.
pub(crate) fn connect(conn: &Rc<Conn>, login: Login) {
    let take_over = |channel| Arc::new(CmId::new(conn, channel), GFP_KERNEL);
    let asked = request(&conn.cfg, conn.number);
    bring_up::connect(take_over, login.0, &asked, 1, |_, refused| {
        if let Some(refusal) = refused {
            world().note(|| format!("refused: {}", refusal.what));
        }
    });
}
