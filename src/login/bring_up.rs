// SPDX-License-Identifier: GPL-2.0

//! Bring-up of a channel whose login was granted: queue pair, commands, receives, the list of
//! channels, and the acceptance of the connection.
//!
//! Not here: the checks before ([`super`]), and tear-down ([`crate::channel::teardown`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::Refusal;
use crate::{
    channel::{
        list::{
            self,
            NotAdded, //
        },
        new::incoming,
        notice,
        probe,
        Channel,
        Commands,
        Link, //
    },
    engine::Session,
    hca::{
        srq,
        Hca, //
    },
    link::Owner,
    rdma::{
        cm::{
            CmId,
            ConnParams, //
        },
        cq::CompletionQueue,
        device::{
            Device,
            Protocol, //
        },
        pd::ProtectionDomain,
        qp::{
            srq::SharedReceiveQueue,
            QpInit,
            QueuePair,
            UNSIGNALED, //
        }, //
    },
    srp::{
        machine::{
            bounds::Channels as Bounds,
            channel::CloseReason,
            sendq::SendQueue, //
        },
        wire::{
            consts::{
                limit,
                RejectReason, //
            },
            login::{
                LoginGrant,
                LoginRej,
                LoginReq,
                LoginRsp, //
            }, //
        }, //
    },
    sync::gate::HasGate, //
};

/// Send requests beyond a response per command and RDMA: those of the target, unsignaled ones, and
/// one for the drain.
pub(super) const OWN_SENDS: u32 = notice::SLOTS + probe::SLOTS + UNSIGNALED + 1;

/// What connecting a channel requires whose login was granted.
pub(super) struct Prepared {
    pub(super) channel: Arc<Channel>,
    pub(super) hca: Arc<Hca<Channel>>,
    pub(super) device: Device,
    pub(super) pd: Arc<ProtectionDomain>,
    pub(super) srq: Option<Arc<SharedReceiveQueue<Channel>>>,
    pub(super) grant: LoginGrant,
    pub(super) rq_size: u32,
    pub(super) sq_size: u32,
    /// Largest response in bytes that is to be copied into its work request.
    pub(super) max_inline: u32,
    /// The most channels that are allowed.
    pub(super) most: Bounds,
}

/// Transfers the connection to the channel and brings the channel up, or rejects the login and
/// closes the channel. `take_over` makes the channel the handler of the connection, `report` is
/// told of the outcome.
pub(super) fn connect<E>(
    take_over: impl FnOnce(Arc<Channel>) -> Result<Arc<CmId<Channel>>, E>,
    prepared: Prepared,
    login: &LoginReq,
    reads: u8,
    report: impl FnOnce(&Prepared, Option<&Refusal>),
) {
    let channel = prepared.channel.clone();
    let refused = match take_over(channel.clone()) {
        Ok(cm) => {
            channel.take_cm(cm.clone());
            let refused = bring_up(&cm, &prepared, login, reads).err();
            if let Some(refusal) = &refused {
                let _ = cm.reject(&LoginRej::new(login.tag, refusal.reason).emit());
            }
            refused
        }
        Err(_) => Some(Refusal::resources("allocating the connection", ENOMEM)),
    };
    report(&prepared, refused.as_ref());
    if refused.is_some() {
        Channel::close(channel.as_arc_borrow(), CloseReason::ConnectFailed);
    }
    drop(prepared);
    channel.login_done();
}

/// Creates the queue pair and the commands, adds the channel to the list of channels and accepts
/// the connection.
///
/// # Errors
///
/// [`Refusal`]; the caller rejects the login and closes the channel.
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
        owner: channel.clone(),
        qp,
        srq: prepared.srq.clone(),
    };
    let link = Arc::new(link, GFP_KERNEL)
        .map_err(|e| Refusal::resources("allocating the channel", e.into()))?;
    // Devices round sizes up, and those that register memory get slots for that: more than there
    // are completion queue entries, so they stay unused. Notices, probes, what is not signaled and
    // the drain have their own slots.
    let slots = link
        .qp
        .max_send_wr()
        .saturating_sub(OWN_SENDS)
        .min(incoming(prepared.rq_size) + rdma);
    // A response per command, not per credit: a response returns the credit, and the initiator may
    // spend it before the completion of the response is handled.
    let sendq = SendQueue::new(slots, incoming(prepared.rq_size))
        .map_err(|_| Refusal::resources("creating the queue pair", EINVAL))?;
    // First, so that tear-down destroys the queue pair if there is no memory for commands.
    channel.connect(link.clone(), sendq);
    let grant = &prepared.grant;
    let commands = Commands::new(
        &link,
        &prepared.device,
        prepared.rq_size,
        grant.max_ti_iu_len,
    )
    .map_err(|e| Refusal::resources("allocating commands", e))?;
    channel.take_commands(commands);
    if link.srq.is_none() {
        post_receives(prepared, &link).map_err(|e| Refusal::resources("posting receives", e))?;
    }
    let (outcome, replaced) =
        list::add(channel, login.multichannel, &prepared.most).map_err(|why| match why {
            NotAdded::Bound(bound) => {
                Refusal::new(RejectReason::InsufficientResources, bound.text())
            }
            NotAdded::NoMemory(e) => Refusal::resources("registering the channel", e.into()),
        })?;
    for other in replaced {
        Channel::close(other.as_arc_borrow(), CloseReason::Replaced);
    }
    // Catches events that happened before the channel was in the list and could be closed through
    // it.
    if prepared.hca.gate().is_closed()
        || !channel.port().is_enabled()
        || !channel.session().is_valid()
    {
        return Err(Refusal::new(
            RejectReason::InsufficientResources,
            "HCA, target or ACL went away meanwhile",
        ));
    }
    let rsp = LoginRsp::granted(login.tag, &prepared.grant, outcome).emit();
    channel.is_being_accepted();
    cm.accept(&ConnParams {
        // The initiator has no access to memory of the target.
        responder_resources: 0,
        initiator_depth: reads,
        rnr_retry: 7,
        private_data: &rsp,
    })
    .map_err(|e| Refusal::resources("accepting the connection", e))
}

/// Allocates and posts the receive buffers of a connection without a shared receive queue.
fn post_receives(prepared: &Prepared, link: &Link) -> Result {
    let grant = &prepared.grant;
    let count = incoming(prepared.rq_size);
    let imm_offset = grant.imm_offset.unwrap_or(0);
    let mut bufs = srq::buffers(&prepared.device, grant.max_it_iu_len, imm_offset, count)?;
    for _ in 0..count {
        link.qp.post_recv(bufs.take()?)?;
    }
    Ok(())
}

impl Prepared {
    /// Returns the number of RDMA contexts for `rdma` slots of the send queue. There are as many
    /// memory regions. With iWARP, each range of memory that a READ writes to takes one, posted or
    /// not: there are enough for the largest table of Linux.
    fn rdma_ctxs(&self, rdma: u32) -> u32 {
        let port = self.channel.hca_port().number();
        match self.device.protocol(port) {
            Protocol::Iwarp => rdma.max(limit::LINUX_TABLE_DESCS),
            _ => rdma,
        }
    }
}

/// Creates the queue pair; if the device does not copy so much on its behalf, without that, and if
/// it has no room for the configured send queue, with a smaller one.
/// Also returns the number of work requests for RDMA transfers that it has room for.
fn create_qp(
    cm: &Arc<CmId<Channel>>,
    prepared: &Prepared,
) -> Result<(Arc<QueuePair<Channel>>, u32)> {
    let mut rdma = prepared.sq_size;
    loop {
        let wanted = prepared.max_inline;
        let created = match try_create_qp(cm, prepared, rdma, wanted) {
            Err(_) if wanted != 0 => try_create_qp(cm, prepared, rdma, 0),
            other => other,
        };
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
    max_inline: u32,
) -> Result<Arc<QueuePair<Channel>>> {
    let attrs = prepared.device.attrs();
    let vector = prepared.channel.comp_vector();
    // One entry more in each direction: a send for the drain.
    let sends = incoming(prepared.rq_size) + OWN_SENDS;
    let recvs = incoming(prepared.rq_size) + 1;
    let least = sends + rdma + recvs;
    // A peer that exceeds its credits may use every shared receive.
    let shared = prepared.srq.as_ref().map_or(0, |srq| srq.max_wr());
    let wanted = sends + rdma + recvs.max(shared);
    let cq = CompletionQueue::new(&prepared.device, least, wanted, vector)?;
    cm.create_qp(QpInit {
        pd: prepared.pd.clone(),
        cq,
        srq: prepared.srq.clone(),
        max_send_wr: sends,
        max_recv_wr: if prepared.srq.is_some() { 0 } else { recvs },
        max_rdma_ctxs: prepared.rdma_ctxs(rdma),
        // Several transfers make progress at a time, however large.
        largest_part: rdma / 8,
        max_send_sge: attrs.max_send_sge,
        max_inline,
        owner: prepared.channel.clone(),
    })
}
