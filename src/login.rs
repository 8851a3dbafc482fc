// SPDX-License-Identifier: GPL-2.0

//! Logins: from a connection request to a channel that waits for its confirmation.
//!
//! Everything that can be checked is checked before anything is allocated; a refused login leaves
//! nothing behind. Once the channel owns the connection manager's id, every failure closes the
//! channel through [`crate::channel::teardown`].
//!
//! All functions run in the connection manager's handler: process context, may sleep. Requests are
//! handled in parallel, also those of one initiator; see [`ListenHandler`].
//!
//! Not here: the rules of a login ([`crate::srp::wire::login`]), and channels ([`crate::channel`]).

use kernel::{
    prelude::*,
    sync::Arc,
    time::Instant, //
};

use crate::{
    channel::{
        list::{
            self,
            Joining, //
        },
        new::{
            self,
            Parts, //
        },
        notice::Notices,
        Channel, //
    },
    engine::{
        Active,
        Engine,
        OpenError,
        Port,
        Session,
        SessionRequest, //
    },
    hca::{
        port::RefusedLogin,
        Hca, //
    },
    link::Owner,
    params,
    port::PortAttr,
    rdma::{
        cm::{
            ConnectRequest,
            ListenHandler,
            Manager,
            PeerAddr, //
        }, //
    },
    srp::{
        machine::{
            access::Advice,
            nexus::Nexus, //
        },
        wire::{
            consts::{
                limit,
                RejectReason, //
            },
            ident::{
                Guid,
                PortId, //
            },
            login::{
                decide,
                LoginPolicy,
                LoginRej,
                LoginReq, //
            }, //
        }, //
    },
    sync::{
        gate::Pass,
        ratelimit, //
    },
    trace, //
};

mod bring_up;
pub(crate) mod hcas;

use bring_up::Prepared;

/// Handler of connection requests.
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

/// Rejects a request whose id no channel owns.
fn refuse(req: ConnectRequest<'_>, tag: u64, refusal: &Refusal, initiator_port: PortId) {
    let hca = hcas::get(req.device_id());
    if let Some(port) = hca.as_ref().and_then(|hca| hca.hca_port(req.port_num())) {
        port.count_refusal(refusal.noted(initiator_port, req.peer()));
    }
    // If this fails the connection manager rejects without private data, or the peer has given up.
    let _ = req.reject(&LoginRej::new(tag, refusal.reason).emit());
}

/// Why a login is refused: for the reject, and for the log.
struct Refusal {
    reason: RejectReason,
    what: &'static str,
    error: Option<Error>,
    /// How an entry could admit the initiator, if it has none.
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

    /// Returns a refusal because of a failed allocation or setup.
    fn resources(what: &'static str, error: Error) -> Self {
        Self {
            error: Some(error),
            ..Self::new(RejectReason::InsufficientResources, what)
        }
    }

    /// Returns the entry of the refused login for sysfs.
    fn noted(&self, initiator_port: PortId, peer: PeerAddr) -> RefusedLogin {
        RefusedLogin {
            at: Instant::now(),
            reason: self.reason,
            initiator_port,
            peer,
            advice: self.advice.as_deref().copied(),
            times: 1,
        }
    }

    fn log(&self, login: &LoginReq, peer: PeerAddr) {
        if !ratelimit::ok() {
            return;
        }
        match (self.error, &self.advice) {
            (None, None) if self.reason == RejectReason::UnableAssociateChannel => pr_info!(
                "login of {} from {} refused: {}, {}; here is {} (reason 0x{:x})\n",
                login.initiator_port,
                peer,
                self.what,
                login.target_port,
                here(),
                self.reason.code()
            ),
            (None, None) if self.reason == RejectReason::ReqItIuLengthTooLarge => pr_info!(
                "login of {} from {} refused: {}: {} (reason 0x{:x})\n",
                login.initiator_port,
                peer,
                self.what,
                login.req_it_iu_len,
                self.reason.code()
            ),
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

/// Returns the target port identifier that logins have to contain.
fn here() -> PortId {
    let guid = params::service_guid().unwrap_or(Guid(0));
    PortId::from_halves(guid, guid)
}

/// Returns the log text for a reason returned by [`decide`].
fn explain(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::InsufficientResources => "the target port is not enabled",
        RejectReason::ReqItIuLengthTooLarge => "information unit length out of range",
        RejectReason::UnableAssociateChannel => "it names another target port",
        // `decide()` returns no others.
        _ => "for another reason",
    }
}

/// Checks a login, opens the engine's session and allocates the channel.
fn prepare(req: &ConnectRequest<'_>, login: &LoginReq) -> Result<Prepared, Refusal> {
    let absent = || {
        Refusal::new(
            RejectReason::InsufficientResources,
            "the HCA is not available",
        )
    };
    let hca_ref = hcas::get(req.device_id()).ok_or_else(absent)?;
    let hca = Pass::enter(&hca_ref).ok_or_else(absent)?;
    let (Some(device), Some(pd), Some(hca_port), Some(service_guid)) = (
        hca.device(),
        hca.pd(),
        hca.hca_port(req.port_num()).cloned(),
        params::service_guid(),
    ) else {
        return Err(absent());
    };
    let port = hca_port.current();
    // One listener serves all ports of an HCA.
    if req.manager() == Manager::Ib && !hca_port.takes_ib_cm() {
        return Err(Refusal::new(
            RejectReason::UnableEstablishChannel,
            "no native InfiniBand logins on this port",
        ));
    }
    // Responses to the target's requests, its own sends, and a request for the drain come on top.
    let most = device.attrs().max_qp_wr;
    let rq_size = limit::MAX_RQ_SIZE
        .min(most.saturating_sub(limit::TARGET_REQUESTS + bring_up::OWN_SENDS + 1))
        .min(Active::max_commands().max(1));
    let grant = decide(login, &policy(&port, service_guid, rq_size))
        .map_err(|reason| Refusal::new(reason, explain(reason)))?;
    let session = open_session(req, login, &port)?;
    let most = params::max_channels();
    let joining = Joining {
        nexus: Nexus {
            initiator_port: login.initiator_port,
            target_port: login.target_port,
            entry: session.entry(),
            peer: req.peer(),
        },
        port: &hca_port,
        target: session.target(),
        entry: session.name(),
        action: login.multichannel,
    };
    if let Some(bound) = list::bound(&joining, &most) {
        return Err(Refusal::new(
            RejectReason::InsufficientResources,
            bound.text(),
        ));
    }
    let srq = match port.attr(PortAttr::UseSrq) {
        // Without support the channel has its own receives, as with the C driver.
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
    let notices = Notices::new(&device, grant.max_ti_iu_len)
        .map_err(|e| Refusal::resources("allocating the channel", e))?;
    let channel = new::channel(Parts {
        login,
        takes: login.takes(params::target_requests()),
        grant: &grant,
        peer: req.peer(),
        session,
        hca,
        hca_port,
        port,
        notices,
        rq_size,
    })
    .map_err(|e| Refusal::resources("allocating the channel", e))?;
    // What the device would not copy is not asked for, and so not refused and tried again without.
    let max_inline = device.inline_limit(params::max_inline_data());
    Ok(Prepared {
        channel,
        hca: hca_ref,
        device,
        pd,
        srq,
        grant,
        rq_size,
        sq_size,
        max_inline,
        most,
    })
}

/// Returns the policy of a port for logins.
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

/// Opens the engine's session; the engine decides about access.
fn open_session(
    req: &ConnectRequest<'_>,
    login: &LoginReq,
    port: &Port,
) -> Result<<Active as Engine>::Session, Refusal> {
    let request = SessionRequest {
        initiator_port: login.initiator_port,
        port_gid: req.peer().port_gid().map(PortId),
        peer: req.peer().ip(),
        local: req.local_ip(),
    };
    match Active::open_session(port, &request) {
        Ok(session) => Ok(session),
        Err(OpenError::NotAllowed(hint)) => Err(Refusal {
            // Without memory the log line has no advice.
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

/// Connects a prepared channel; counts, traces and logs the outcome.
fn connect(req: ConnectRequest<'_>, login: &LoginReq, prepared: Prepared) {
    let peer = req.peer();
    // The initiator depth of the request is the number of RDMA READs that the peer can respond to.
    // If it is zero, the first READ ends in an error, instead of a send queue that never moves.
    let reads = req.initiator_depth().clamp(1, limit::MAX_RDMA_READS);
    let limit = prepared.device.attrs().max_qp_init_rd_atom;
    let reads = reads.min(u8::try_from(limit).unwrap_or(u8::MAX));
    let take_over = |channel| Arc::new(req.take_over(channel), GFP_KERNEL);
    bring_up::connect(take_over, prepared, login, reads, |prepared, refused| {
        let Some(refusal) = refused else {
            return granted(&prepared.channel, &prepared.hca);
        };
        let noted = refusal.noted(login.initiator_port, peer);
        prepared.channel.hca_port().count_refusal(noted);
        trace::login_refused(login.initiator_port, refusal.reason.code());
        refusal.log(login, peer);
    });
}

/// Counts, traces and logs a granted login, and adds the channel's directory in sysfs.
fn granted(channel: &Channel, hca: &Hca<Channel>) {
    channel.hca_port().count_login();
    trace::login(
        channel.serial(),
        channel.initiator_port(),
        channel.view().req_lim,
    );
    let shown = channel.show(hca);
    if !ratelimit::ok() {
        return;
    }
    pr_info!(
        "channel {}: login of {} from {} through {}\n",
        channel.serial(),
        channel.initiator_port(),
        channel.peer(),
        channel.session().name(),
    );
    if let Err(e) = shown {
        pr_warn!(
            "channel {}: no directory in sysfs: {:?}\n",
            channel.serial(),
            e
        );
    }
}
