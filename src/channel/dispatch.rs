// SPDX-License-Identifier: GPL-2.0

//! Acts on a received information unit: parses it, submits it to the engine, answers it, or closes
//! the channel.
//!
//! Runs in process context with a [`Busy`](super::Busy) guard held, which keeps session and
//! connection. Not here: the order of information units ([`super::receive`]).

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    task_mgmt,
    Buffer,
    Channel,
    Command,
    Link,
    Received, //
};

use crate::{
    command::{
        answer::{
            sam,
            sense,
            LocalAnswer, //
        },
        scsi::{
            self,
            ScsiRequest, //
        },
        Descs,
        Head,
        Pool,
        Request, //
    },
    link::Owner,
    srp::{
        machine::{
            channel::CloseReason,
            notice::Spurious,
            stats::Counter, //
        },
        wire::{
            cmd::Cmd,
            codec::be64,
            consts::limit,
            desc::DataDesc,
            iu::{
                Answer,
                InvalidKind,
                Iu,
                IuError, //
            }, //
        }, //
    },
    sync::ratelimit,
    trace, //
};

/// Offset of the tag in every information unit of the initiator.
const TAG: usize = 8;

/// Parses an information unit and acts on it. `cmd` is a free command of the pool.
pub(super) fn process(link: &Arc<Link>, cmd: Arc<Command>, received: Received) {
    let channel = &link.owner;
    let Received { buf, len, at } = received;
    {
        let bytes = buf.bytes(len);
        let opcode = bytes.first().copied().unwrap_or(0);
        let tag = be64(bytes, TAG).unwrap_or(0);
        // CAST: A receive buffer is smaller than 4 GiB.
        trace::iu(channel.id.serial, opcode, tag, len as u32);
    }
    let parsed = Iu::parse(buf.bytes(len), channel.imm_offset);
    let consumes = match &parsed {
        Ok(iu) => iu.consumes_credit(),
        Err(e) => e.consumes_credit(),
    };
    if !count(channel.as_arc_borrow(), &parsed, consumes) {
        let reason = CloseReason::ProtocolViolation;
        return break_off(link, cmd, buf, reason, "more requests than credits");
    }
    match parsed {
        Ok(Iu::Cmd(request)) => {
            let head = Head {
                tag: request.tag,
                sol_not: request.sol_not,
            };
            let scsi = ScsiRequest::new(&request);
            let fault = fault(&request);
            let descs = Descs::of(&request);
            let table = match request.data {
                DataDesc::External(external) => Some(external.table),
                _ => None,
            };
            let immediate = match request.data {
                DataDesc::Immediate(bytes) => buf.lend(bytes),
                _ => None,
            };
            let rx = Request::new(buf, len, at, descs);
            match (fault, scsi, table) {
                (None, Ok(scsi), Some(table)) => {
                    Command::start_table(cmd, link, head, rx, scsi.lun(), table);
                }
                (None, Ok(scsi), None) => {
                    cmd.start(link, head, rx);
                    scsi::submit(link, cmd, &scsi, immediate);
                }
                (fault, _, _) => {
                    drop(immediate);
                    cmd.start(link, head, rx);
                    Command::answer(cmd, fault.unwrap_or(LocalAnswer::Status(sam::BUSY)));
                }
            }
        }
        Ok(Iu::TskMgmt(request)) => {
            task_mgmt::begin(link, cmd, &request, Request::new(buf, len, at, Descs::None))
        }
        Ok(Iu::ILogout(_)) => {
            Channel::close(channel.as_arc_borrow(), CloseReason::Logout);
            channel.discard(buf);
            Channel::command_free(channel.as_arc_borrow(), cmd);
        }
        Ok(Iu::CredRsp(rsp)) => answered(link, cmd, buf, || channel.credits_taken(rsp.tag)),
        Ok(Iu::AerRsp(rsp)) => answered(link, cmd, buf, || channel.event_noted(rsp.tag)),
        Err(error) => match error.answer() {
            Answer::Respond {
                tag,
                sol_not,
                rsp_code,
            } => {
                if ratelimit::ok() {
                    pr_info!(
                        "channel {} of {}: invalid request: {:?}\n",
                        channel.id.serial,
                        channel.id.initiator_port,
                        error
                    );
                }
                let answer = match error {
                    IuError::Invalid {
                        kind: InvalidKind::TskMgmt(_),
                        ..
                    } => LocalAnswer::Mgmt(rsp_code),
                    _ => LocalAnswer::InvalidFields(rsp_code),
                };
                let rx = Request::new(buf, len, at, Descs::None);
                cmd.start_invalid(link, Head { tag, sol_not }, rx);
                Command::answer(cmd, answer);
            }
            Answer::Disconnect => {
                let reason = CloseReason::ProtocolViolation;
                let what = "an information unit of unknown kind";
                break_off(link, cmd, buf, reason, what);
            }
        },
    }
}

/// Charges a request to the peer's credits and returns whether it had one. Returns waiting credits
/// at once if the peer has few left.
fn count(
    channel: ArcBorrow<'_, Channel>,
    parsed: &Result<Iu<'_>, IuError>,
    consumes: bool,
) -> bool {
    let arrived = match parsed {
        Ok(Iu::Cmd(_)) => Some(Counter::Commands),
        Ok(Iu::TskMgmt(_)) => Some(Counter::TaskManagement),
        Ok(_) => None,
        Err(_) => Some(Counter::Malformed),
    };
    let charged = channel.flow.charge(arrived, consumes);
    if charged.return_now {
        Channel::send_notices(channel);
    }
    charged.had
}

/// Handles a response of the initiator, which must match a request of the target. It costs no
/// credit, so its buffer is reposted at once: before `note` allows the next request of the target,
/// whose response needs a receive.
fn answered(
    link: &Link,
    cmd: Arc<Command>,
    buf: Buffer,
    note: impl FnOnce() -> Result<(), Spurious>,
) {
    let channel = link.owner.as_arc_borrow();
    link.repost(buf);
    if note().is_err() {
        violation(
            channel,
            CloseReason::SpuriousResponse,
            "a response to nothing",
        );
    }
    Channel::command_free(channel, cmd);
    Channel::send_notices(channel);
}

/// Answers well-formed commands that no engine takes.
fn fault(request: &Cmd<'_>) -> Option<LocalAnswer> {
    match request.data {
        // No engine takes data in both directions.
        DataDesc::Bidi { .. } => Some(LocalAnswer::Sense(&sense::INVALID_CDB)),
        _ if request.data_len() > limit::MAX_MAX_RDMA_SIZE => Some(LocalAnswer::INVALID_FIELDS),
        _ => None,
    }
}

/// Closes the channel because the peer violates the protocol; `cmd` was not started.
fn break_off(link: &Link, cmd: Arc<Command>, buf: Buffer, reason: CloseReason, what: &str) {
    let channel = link.owner.as_arc_borrow();
    violation(channel, reason, what);
    channel.discard(buf);
    Channel::command_free(channel, cmd);
}

/// Closes the channel because the peer violates the protocol.
fn violation(channel: ArcBorrow<'_, Channel>, reason: CloseReason, what: &str) {
    if ratelimit::ok() {
        pr_warn!(
            "channel {} of {}: protocol violation: {}\n",
            channel.id.serial,
            channel.id.initiator_port,
            what
        );
    }
    Channel::close(channel, reason);
}
