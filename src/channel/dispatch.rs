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
    Received, //
};

use crate::{
    command::{
        answer::LocalAnswer,
        scsi,
        Descs,
        Head,
        Pool, //
    },
    link::Owner,
    srp::{
        machine::{
            channel::CloseReason,
            notice::Spurious,
            stats::Counter, //
        },
        wire::{
            cmd::Unserved,
            codec::be64,
            ctrl::{
                AerRsp,
                CredRsp, //
            },
            desc::DataDesc,
            iu::{
                Answer,
                InvalidKind,
                Iu,
                IuError, //
            },
            scsi::{
                sense,
                status, //
            }, //
        }, //
    },
    sync::ratelimit,
    trace, //
};

/// Offset of the tag in every information unit of the initiator.
const TAG: usize = 8;

/// Parses an information unit and acts on it. `cmd` is a free command of the pool.
pub(super) fn process(channel: ArcBorrow<'_, Channel>, cmd: Arc<Command>, rx: Received) {
    let bytes = rx.buf.bytes(rx.len);
    if trace::wants_iu() {
        let opcode = bytes.first().copied().unwrap_or(0);
        let tag = be64(bytes, TAG).unwrap_or(0);
        // CAST: A receive buffer is smaller than 4 GiB.
        trace::iu(channel.id.serial, opcode, tag, rx.len as u32);
    }
    let iu = match Iu::parse(bytes, channel.imm_offset) {
        Ok(iu) => iu,
        Err(error) => return malformed(channel, cmd, rx, error),
    };
    let consumes = iu.consumes_credit();
    match iu {
        Iu::Cmd(request) => {
            if !count(channel, Some(Counter::Commands), consumes) {
                return overrun(channel, cmd, rx.buf);
            }
            let head = Head {
                tag: request.tag,
                sol_not: request.sol_not,
            };
            let descs = Descs::of(&request);
            let copied = match request.unserved() {
                Some(why) => Err(unserved(why)),
                None => scsi::copy(&request).map_err(|_| LocalAnswer::Status(status::BUSY)),
            };
            let scsi = match copied {
                Ok(scsi) => scsi,
                Err(answer) => {
                    cmd.start(head, rx, descs);
                    return Command::answer(cmd, answer);
                }
            };
            let immediate = match request.data {
                DataDesc::Immediate(bytes) => rx.buf.lend(bytes),
                DataDesc::External(external) => {
                    let table = external.table;
                    return Command::start_table(cmd, head, rx, descs, scsi.lun, table);
                }
                _ => None,
            };
            cmd.start(head, rx, descs);
            scsi::submit(&*channel, cmd, &scsi, immediate);
        }
        Iu::TskMgmt(request) => {
            if !count(channel, Some(Counter::TaskManagement), consumes) {
                return overrun(channel, cmd, rx.buf);
            }
            task_mgmt::begin(cmd, &request, rx);
        }
        Iu::ILogout(_) => {
            if !count(channel, None, consumes) {
                return overrun(channel, cmd, rx.buf);
            }
            Channel::close(channel, CloseReason::Logout);
            channel.discard(rx.buf);
            Channel::command_free(channel, cmd);
        }
        // They cost no credit.
        Iu::CredRsp(CredRsp { tag }) => {
            answered(channel, cmd, rx.buf, || channel.credits_taken(tag));
        }
        Iu::AerRsp(AerRsp { tag }) => answered(channel, cmd, rx.buf, || channel.event_noted(tag)),
    }
}

/// Answers a malformed information unit, or closes the channel.
#[cold]
fn malformed(channel: ArcBorrow<'_, Channel>, cmd: Arc<Command>, rx: Received, error: IuError) {
    if !count(channel, Some(Counter::Malformed), error.consumes_credit()) {
        return overrun(channel, cmd, rx.buf);
    }
    match error.answer() {
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
            cmd.start_invalid(Head { tag, sol_not }, rx);
            Command::answer(cmd, answer);
        }
        Answer::Disconnect => {
            let reason = CloseReason::ProtocolViolation;
            let what = "an information unit of unknown kind";
            break_off(channel, cmd, rx.buf, reason, what);
        }
    }
}

/// Charges an information unit to the peer's credits if it `consumes` one, and returns whether it
/// had one. Returns waiting credits at once if the peer has few left.
#[inline]
fn count(channel: ArcBorrow<'_, Channel>, arrived: Option<Counter>, consumes: bool) -> bool {
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
    channel: ArcBorrow<'_, Channel>,
    cmd: Arc<Command>,
    buf: Buffer,
    note: impl FnOnce() -> Result<(), Spurious>,
) {
    cmd.link().repost(buf);
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

/// Returns the answer to a well-formed command that is not served.
fn unserved(why: Unserved) -> LocalAnswer {
    match why {
        Unserved::Bidirectional => LocalAnswer::Sense(&sense::INVALID_CDB),
        Unserved::TooLong => LocalAnswer::INVALID_FIELDS,
    }
}

/// Closes the channel because the peer has sent a request without a credit for it.
#[cold]
fn overrun(channel: ArcBorrow<'_, Channel>, cmd: Arc<Command>, buf: Buffer) {
    let reason = CloseReason::ProtocolViolation;
    break_off(channel, cmd, buf, reason, "more requests than credits");
}

/// Closes the channel because the peer violates the protocol; `cmd` was not started.
fn break_off(
    channel: ArcBorrow<'_, Channel>,
    cmd: Arc<Command>,
    buf: Buffer,
    reason: CloseReason,
    what: &str,
) {
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
