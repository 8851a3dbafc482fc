// SPDX-License-Identifier: GPL-2.0

//! From a connection request to a channel.
//!
//! Everything that can be checked is checked before anything is allocated; a refused login leaves
//! nothing behind. Once the channel has taken over the connection manager's id, every failure goes
//! the way of all channels, through [`super::teardown`].
//!
//! Everything here runs in the connection manager's handler: process context, may sleep, one
//! request of a listener at a time.

use kernel::{
    new_mutex,
    new_spinlock,
    new_work,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    },
    time::Instant, //
};

use crate::{
    command::Command,
    engine::{
        Active,
        Engine,
        OpenError,
        SessionRequest, //
    },
    hca::{
        self,
        Hca,
        HcaPort,
        RefusedLogin, //
    },
    params,
    port::{
        Port,
        PortAttr, //
    },
    rdma::{
        cm::{
            CmId,
            ConnParams,
            ConnectRequest,
            ListenHandler,
            Manager,
            PeerAddr, //
        },
        cq::CompletionQueue,
        device::Device,
        pd::ProtectionDomain,
        qp::{
            srq::SharedReceiveQueue,
            QpInit,
            QueuePair, //
        }, //
    },
    srp::{
        self,
        access::Advice,
        channel::{
            CloseReason,
            State, //
        },
        consts::{
            limit,
            RejectReason, //
        },
        credit::Credits,
        ident::{
            Guid,
            PortId, //
        },
        login::{
            decide,
            LoginGrant,
            LoginPolicy,
            LoginRej,
            LoginReq,
            LoginRsp, //
        },
        sendq::SendQueue,
        stats::Stats,
        watch::Watch, //
    },
    sync::{
        completion::Completion,
        gate::{
            HasGate,
            Pass, //
        },
        ratelimit, //
    },
    trace, //
};

use super::{
    list,
    next_serial,
    notice::{
        self,
        Notices,
        Solicit, //
    },
    probe::{
        self,
        Probe, //
    },
    srq,
    Channel,
    Inner,
    Link, //
};

/// Handles connection requests.
pub(crate) struct Logins;

impl ListenHandler for Logins {
    fn connect_request(req: ConnectRequest<'_>) {
        let parsed = match req.manager() {
            Manager::Rdma => LoginReq::parse_rdma(req.private_data()),
            Manager::Ib => LoginReq::parse_ib(req.private_data()),
        };
        let login = match parsed {
            Ok(login) => login,
            Err(e) => {
                if ratelimit::ok() {
                    pr_info!("login from {}: malformed request: {:?}\n", req.peer(), e);
                }
                let refusal = Refusal::new(RejectReason::UnableEstablishChannel, "malformed");
                return refuse(req, 0, &refusal, PortId([0; 16]));
            }
        };
        match prepare(&req, &login) {
            Ok(prepared) => connect(req, &login, prepared),
            Err(refusal) => {
                trace::login_refused(login.initiator_port, refusal.reason.code());
                refusal.log(&login, req.peer());
                refuse(req, login.tag, &refusal, login.initiator_port);
            }
        }
    }
}

/// Rejects a request that no channel has taken over.
fn refuse(req: ConnectRequest<'_>, tag: u64, refusal: &Refusal, initiator_port: PortId) {
    let hca = hca::list::get(req.device_id());
    if let Some(port) = hca.as_ref().and_then(|hca| hca.hca_port(req.port_num())) {
        port.count_refusal(refusal.noted(initiator_port, req.peer()));
    }
    // When this fails the connection manager rejects without our data, or the peer gave up.
    let _ = req.reject(&LoginRej::new(tag, refusal.reason).emit());
}

/// Why a login is refused: for the initiator, and for the log.
struct Refusal {
    reason: RejectReason,
    what: &'static str,
    error: Option<Error>,
    /// What would let the initiator in, if that is why.
    advice: Option<KBox<Advice>>,
}

impl Refusal {
    const fn new(reason: RejectReason, what: &'static str) -> Self {
        Self {
            reason,
            what,
            error: None,
            advice: None,
        }
    }

    /// Something could not be allocated or set up.
    fn resources(what: &'static str, error: Error) -> Self {
        Self {
            error: Some(error),
            ..Self::new(RejectReason::InsufficientResources, what)
        }
    }

    /// The refused login, as administrators see it.
    fn noted(&self, initiator_port: PortId, peer: PeerAddr) -> RefusedLogin {
        RefusedLogin {
            at: Instant::now(),
            reason: self.reason,
            initiator_port,
            peer,
            advice: self.advice.as_deref().copied(),
        }
    }

    fn log(&self, login: &LoginReq, peer: PeerAddr) {
        if !ratelimit::ok() {
            return;
        }
        match (self.error, &self.advice) {
            (Some(error), _) => pr_info!(
                "login of {} from {} refused: {}: {:?}\n",
                login.initiator_port,
                peer,
                self.what,
                error
            ),
            (None, Some(advice)) => pr_info!(
                "login of {} from {} refused: {} (reason 0x{:x}); {}\n",
                login.initiator_port,
                peer,
                self.what,
                self.reason.code(),
                advice
            ),
            (None, None) => pr_info!(
                "login of {} from {} refused: {} (reason 0x{:x})\n",
                login.initiator_port,
                peer,
                self.what,
                self.reason.code()
            ),
        }
    }
}

/// What the reasons of [`decide`] mean for an administrator.
fn explain(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::InsufficientResources => "the target port is not enabled",
        RejectReason::ReqItIuLengthTooLarge => "information unit length out of range",
        RejectReason::UnableAssociateChannel => "it names another target port",
        // It gives no others.
        _ => "for another reason",
    }
}

/// A session that is closed again unless it finds a channel.
struct OpenSession(Option<<Active as Engine>::Session>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            Active::close_session(session);
        }
    }
}

/// What a channel that was prepared needs to get connected.
struct Prepared {
    channel: Arc<Channel>,
    hca: Arc<Hca>,
    device: Device,
    pd: Arc<ProtectionDomain>,
    srq: Option<Arc<SharedReceiveQueue<Channel>>>,
    grant: LoginGrant,
    rq_size: u32,
    sq_size: u32,
}

/// Checks a login, opens the engine's session and allocates the channel.
fn prepare(req: &ConnectRequest<'_>, login: &LoginReq) -> Result<Prepared, Refusal> {
    let absent = || {
        Refusal::new(
            RejectReason::InsufficientResources,
            "the HCA is not available",
        )
    };
    let hca_ref = hca::list::get(req.device_id()).ok_or_else(absent)?;
    let hca = Pass::enter(&hca_ref).ok_or_else(absent)?;
    let (Some(device), Some(pd), Some(entry), Some(service_guid)) = (
        hca.device(),
        hca.pd(),
        hca.hca_port(req.port_num()).cloned(),
        params::service_guid(),
    ) else {
        return Err(absent());
    };
    let port = entry.current();
    // One listener serves all ports of an HCA.
    if req.manager() == Manager::Ib && !hca.takes_ib_cm(req.port_num()) {
        return Err(Refusal::new(
            RejectReason::UnableEstablishChannel,
            "no native InfiniBand logins on this port",
        ));
    }
    // Receives for the answers to our own requests, and the drain, come on top.
    let most = device.attrs().max_qp_wr;
    let rq_size = limit::MAX_RQ_SIZE
        .min(most.saturating_sub(limit::TARGET_REQUESTS + 1))
        .min(Active::max_commands().max(1));
    let grant = decide(login, &policy(&port, service_guid, rq_size))
        .map_err(|reason| Refusal::new(reason, explain(reason)))?;
    let session = open_session(req, login, &port)?;
    let srq = match port.attr(PortAttr::UseSrq) {
        // Without support the channel has receives of its own, as with the C driver.
        _ if device.attrs().max_srq_wr == 0 => None,
        0 => {
            hca.forget_unused_srq();
            None
        }
        _ => Some(
            hca.srq()
                .map_err(|e| Refusal::resources("setting up the shared receive queue", e))?,
        ),
    };
    let sq_size = port.attr(PortAttr::SqSize);
    let rsp_size = port.attr(PortAttr::MaxRspSize).min(grant.max_ti_iu_len);
    let memory = Memory::new(&device, rq_size, rsp_size, login.takes_credit_requests())
        .map_err(|e| Refusal::resources("allocating commands", e))?;
    let channel = new_channel(
        req,
        login,
        &grant,
        session,
        hca,
        (entry, port),
        memory,
        rq_size,
    )
    .map_err(|e| Refusal::resources("allocating the channel", e))?;
    Ok(Prepared {
        channel,
        hca: hca_ref,
        device,
        pd,
        srq,
        grant,
        rq_size,
        sq_size,
    })
}

/// What a login is measured against.
fn policy(port: &Port, service_guid: Guid, rq_size: u32) -> LoginPolicy {
    LoginPolicy {
        enabled: port.is_enabled(),
        service_guid,
        max_req_size: params::srp_max_req_size(),
        max_rsp_size: port.attr(PortAttr::MaxRspSize),
        rq_size,
        immediate: true,
    }
}

/// Opens the engine's session, which is where access is decided.
fn open_session(
    req: &ConnectRequest<'_>,
    login: &LoginReq,
    port: &Port,
) -> Result<OpenSession, Refusal> {
    let request = SessionRequest {
        initiator_port: login.initiator_port,
        port_gid: req.peer().port_gid().map(PortId),
        peer: req.peer().ip(),
        local: req.local_ip(),
    };
    match Active::open_session(port, &request) {
        Ok(session) => Ok(OpenSession(Some(session))),
        Err(OpenError::NotAllowed(hint)) => Err(Refusal {
            // Without memory the line in the log is shorter.
            advice: KBox::new(
                Advice {
                    initiator: request.initiator(),
                    hint,
                },
                GFP_KERNEL,
            )
            .ok(),
            ..Refusal::new(
                RejectReason::ChannelLimitReached,
                "no ACL of an enabled target matches",
            )
        }),
        Err(OpenError::NoMemory) => Err(Refusal::resources("opening the session", ENOMEM)),
        Err(OpenError::Other(e)) => Err(Refusal::resources("opening the session", e)),
    }
}

/// Information units from the initiator that may be under way at a time: requests, and answers to
/// requests of the target.
fn incoming(rq_size: u32) -> u32 {
    rq_size + limit::TARGET_REQUESTS
}

/// The parts of a channel that are mapped for the device.
struct Memory {
    pool: KVec<Arc<Command>>,
    all: KVec<Arc<Command>>,
    notices: Notices,
}

impl Memory {
    /// Allocates them.
    fn new(device: &Device, rq_size: u32, rsp_size: u32, listens: bool) -> Result<Self> {
        // CAST: A u32 fits in a usize on every architecture with RDMA.
        let (count, size) = (incoming(rq_size) as usize, rsp_size as usize);
        let mut pool = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut all = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let cmd = Command::new(device, size)?;
            all.push(cmd.clone(), GFP_KERNEL)?;
            pool.push(cmd, GFP_KERNEL)?;
        }
        Ok(Self {
            pool,
            all,
            notices: Notices::new(device, rsp_size, listens)?,
        })
    }
}

/// Allocates the channel itself.
#[expect(
    clippy::too_many_arguments,
    reason = "they are the parts of one object"
)]
fn new_channel(
    req: &ConnectRequest<'_>,
    login: &LoginReq,
    grant: &LoginGrant,
    mut session: OpenSession,
    hca: Pass<Hca>,
    (entry, port): (Arc<HcaPort>, Arc<Port>),
    memory: Memory,
    rq_size: u32,
) -> Result<Arc<Channel>> {
    let comp_vector = port.vectors().next();
    // CAST: A u32 fits in a usize on every architecture with RDMA.
    let held = KVec::with_capacity(incoming(rq_size) as usize, GFP_KERNEL)?;
    // Replaced when the queue pair exists and its real size is known.
    let sendq = SendQueue::new(rq_size + 1, rq_size).map_err(|_| EINVAL)?;
    let inner = Inner {
        machine: srp::channel::Channel::new(),
        credits: Credits::new(grant.req_lim),
        sendq,
        held,
        early: false,
        told: false,
        draining: false,
        busy: 0,
        accepted: false,
        pool: memory.pool,
        all: memory.all,
        notices: memory.notices,
        stats: Stats::new(),
        watch: Watch::new(),
        probe: Probe::new()?,
        link: None,
        cm: None,
        hca: Some(hca),
    };
    let session = session.0.take().ok_or(EINVAL)?;
    Arc::pin_init(
        try_pin_init!(Channel {
            serial: next_serial(),
            device: req.device_id(),
            port,
            entry,
            initiator_port: login.initiator_port,
            target_port: login.target_port,
            peer: req.peer(),
            luns: Atomic::new(Active::luns(&session)),
            session,
            imm_offset: grant.imm_offset,
            solicit: Solicit::of(login),
            born: Instant::now(),
            dir <- new_mutex!(None, "Channel::dir"),
            dir_key: Atomic::new(0),
            inner <- new_spinlock!(inner, "Channel::inner"),
            set_up <- Completion::new(),
            cm_gone <- Completion::new(),
            settled <- Completion::new(),
            failed: Atomic::new(false),
            comp_vector,
            logout_sent <- Completion::new(),
            quiet <- Completion::new(),
            work <- new_work!("Channel::work"),
            early_work <- new_work!("Channel::early_work"),
        }),
        GFP_KERNEL,
    )
}

/// Takes the connection over and brings the channel up.
fn connect(req: ConnectRequest<'_>, login: &LoginReq, prepared: Prepared) {
    let channel = prepared.channel.clone();
    let peer = req.peer();
    // In the event, the depth is what the peer can answer. Without any, the first READ ends in an
    // error, not in a send queue that never moves.
    let reads = req.initiator_depth().clamp(1, limit::MAX_RDMA_READS);
    let limit = prepared.device.attrs().max_qp_init_rd_atom;
    let reads = reads.min(u8::try_from(limit).unwrap_or(u8::MAX));
    let refused = match Arc::new(req.take_over(channel.clone()), GFP_KERNEL) {
        Ok(cm) => {
            channel.inner.lock().cm = Some(cm.clone());
            let refused = bring_up(&cm, &prepared, login, reads).err();
            if let Some(refusal) = &refused {
                let _ = cm.reject(&LoginRej::new(login.tag, refusal.reason).emit());
            }
            refused
        }
        Err(_) => Some(Refusal::resources("allocating the connection", ENOMEM)),
    };
    match refused {
        Some(refusal) => {
            let noted = refusal.noted(login.initiator_port, peer);
            channel.entry.count_refusal(noted);
            trace::login_refused(login.initiator_port, refusal.reason.code());
            refusal.log(login, peer);
            Channel::close(channel.as_arc_borrow(), CloseReason::ConnectFailed);
        }
        None => granted(&channel, &prepared.hca),
    }
    drop(prepared);
    channel.set_up.complete_all();
}

/// Shows administrators a login that was granted.
fn granted(channel: &Channel, hca: &Hca) {
    channel.entry.count_login();
    trace::login(
        channel.serial,
        channel.initiator_port,
        channel.view().req_lim,
    );
    let shown = channel.show(hca);
    if !ratelimit::ok() {
        return;
    }
    pr_info!(
        "channel {}: login of {} from {} through {}\n",
        channel.serial,
        channel.initiator_port,
        channel.peer,
        Active::session_name(&channel.session),
    );
    if let Err(e) = shown {
        pr_warn!(
            "channel {}: no directory in sysfs: {:?}\n",
            channel.serial,
            e
        );
    }
}

/// Creates the queue pair, makes the channel known and accepts the connection.
fn bring_up(
    cm: &Arc<CmId<Channel>>,
    prepared: &Prepared,
    login: &LoginReq,
    reads: u8,
) -> Result<(), Refusal> {
    let channel = &prepared.channel;
    let (qp, rdma) =
        create_qp(cm, prepared).map_err(|e| Refusal::resources("creating the queue pair", e))?;
    let link = Link {
        channel: channel.clone(),
        qp,
        srq: prepared.srq.clone(),
    };
    let link = Arc::new(link, GFP_KERNEL)
        .map_err(|e| Refusal::resources("allocating the channel", e.into()))?;
    // Devices round sizes up, and those that register memory get slots for that: more than there are
    // completion queue entries, so they stay unused. Notices, probes and the drain have slots of their own.
    let slots = link
        .qp
        .max_send_wr()
        .saturating_sub(notice::SLOTS + probe::SLOTS + 1)
        .min(incoming(prepared.rq_size) + rdma);
    // A response per command, not per credit: with its response the initiator gets its credit back,
    // and may use it before the completion of the response is handled.
    let sendq = SendQueue::new(slots, incoming(prepared.rq_size))
        .map_err(|_| Refusal::resources("creating the queue pair", EINVAL))?;
    {
        let mut inner = channel.inner.lock();
        inner.sendq = sendq;
        if inner.machine.state() > State::Live {
            inner.sendq.close();
        }
        inner.link = Some(link.clone());
    }
    if link.srq.is_none() {
        for _ in 0..incoming(prepared.rq_size) {
            let posted = srq::buffer(&prepared.device)
                .and_then(|buf| link.qp.post_recv(buf).map_err(|(e, _)| e));
            posted.map_err(|e| Refusal::resources("posting receives", e))?;
        }
    }
    let (outcome, replaced) = list::add(channel, login.multichannel)
        .map_err(|e| Refusal::resources("registering the channel", e))?;
    for other in replaced {
        Channel::close(other.as_arc_borrow(), CloseReason::Replaced);
    }
    // What happened before the channel could be found by those who close channels.
    if prepared.hca.gate().is_closed()
        || !channel.port.is_enabled()
        || !Active::session_valid(&channel.session)
    {
        return Err(Refusal::new(
            RejectReason::InsufficientResources,
            "HCA, target or ACL went away meanwhile",
        ));
    }
    let rsp = LoginRsp::granted(login.tag, &prepared.grant, outcome).emit();
    channel.inner.lock().accepted = true;
    cm.accept(&ConnParams {
        // The initiator has no access to our memory.
        responder_resources: 0,
        initiator_depth: reads,
        rnr_retry: 7,
        private_data: &rsp,
    })
    .map_err(|e| Refusal::resources("accepting the connection", e))
}

/// Creates the queue pair; where the device has no room for the send queue asked for, a smaller one.
/// Returns how many work requests of RDMA transfers it has room for, too.
fn create_qp(
    cm: &Arc<CmId<Channel>>,
    prepared: &Prepared,
) -> Result<(Arc<QueuePair<Channel>>, u32)> {
    let mut rdma = prepared.sq_size;
    loop {
        let created = try_create_qp(cm, prepared, rdma);
        match created {
            Err(_) if rdma / 2 >= limit::MIN_SQ_SIZE => rdma /= 2,
            other => return other.map(|qp| (qp, rdma)),
        }
    }
}

fn try_create_qp(
    cm: &Arc<CmId<Channel>>,
    prepared: &Prepared,
    rdma: u32,
) -> Result<Arc<QueuePair<Channel>>> {
    let attrs = prepared.device.attrs();
    let vector = prepared.channel.comp_vector;
    // A slot for the drain in both directions.
    let sends = incoming(prepared.rq_size) + notice::SLOTS + probe::SLOTS + 1;
    let recvs = incoming(prepared.rq_size) + 1;
    let least = sends + rdma + recvs;
    let cq = match &prepared.srq {
        None => CompletionQueue::from_pool(&prepared.device, least, vector)?,
        // A peer that ignores its credits may take every shared receive.
        Some(srq) => {
            let wanted = sends + rdma + srq.max_wr().max(recvs);
            CompletionQueue::new(&prepared.device, least, wanted, vector)?
        }
    };
    let qp = cm.create_qp(QpInit {
        pd: prepared.pd.clone(),
        cq,
        srq: prepared.srq.clone(),
        max_send_wr: sends,
        max_recv_wr: if prepared.srq.is_some() { 0 } else { recvs },
        max_rdma_ctxs: rdma,
        max_send_sge: attrs.max_send_sge,
        owner: prepared.channel.clone(),
    })?;
    Ok(Arc::new(qp, GFP_KERNEL)?)
}
