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
    link::Owner,
    peer,
    rdma::{
        cm::{CmId, PeerAddr},
        device::Device,
        pd::ProtectionDomain,
        qp::srq::SharedReceiveQueue,
    },
    scripted,
    srp::{
        machine::channel::CloseReason,
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
struct Refusal(&'static str);

impl Refusal {
    fn new(_: RejectReason, what: &'static str) -> Self {
        Self(what)
    }

    fn resources(what: &'static str, _: Error) -> Self {
        Self(what)
    }
}

/// What a channel that was prepared needs to get connected.
pub(crate) struct Prepared {
    channel: Arc<Channel>,
    hca: Arc<Hca<Channel>>,
    device: Device,
    pd: Arc<ProtectionDomain>,
    srq: Option<Arc<SharedReceiveQueue<Channel>>>,
    grant: LoginGrant,
    rq_size: u32,
    sq_size: u32,
}

impl Prepared {
    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
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
pub(crate) fn prepare(conn: &Conn, hca: &Arc<Hca<Channel>>) -> Result<Prepared> {
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
    Ok(Prepared {
        channel,
        hca: hca.clone(),
        device,
        pd: Arc::new(ProtectionDomain, GFP_KERNEL)?,
        srq: None,
        grant,
        rq_size: cfg.limit,
        sq_size: cfg.rdma,
    })
}

/// Takes the connection over and brings the channel up.
pub(crate) fn connect(conn: &Rc<Conn>, prepared: Prepared) {
    let channel = prepared.channel.clone();
    let login = request(&conn.cfg, conn.number);
    let Ok(cm) = Arc::new(CmId::new(conn, channel.clone()), GFP_KERNEL) else {
        return;
    };
    channel.take_cm(cm.clone());
    if let Err(Refusal(what)) = bring_up::bring_up(&cm, &prepared, &login, 1) {
        world().note(|| format!("refused: {what}"));
        cm.reject();
        Channel::close(channel.as_arc_borrow(), CloseReason::ConnectFailed);
    }
    drop((cm, prepared));
    channel.login_done();
}
