// SPDX-License-Identifier: GPL-2.0

//! What is done about an information unit: parse it, hand it to the engine, answer it, or break
//! the connection off.
//!
//! Everything here runs in process context, with the channel counted as busy, so that session and
//! connection stay.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    manage,
    Buffer,
    Channel,
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
        Command,
        Head,
        Request, //
    },
    engine::{
        Active,
        Direction,
        Engine,
        RxCmd,
        RxError, //
    },
    srp::{
        self,
        channel::CloseReason,
        cmd::{
            Cmd,
            TaskAttr, //
        },
        consts::limit,
        desc::DataDesc,
        iu::{
            Answer,
            InvalidKind,
            Iu,
            IuError, //
        },
        notice::Spurious,
        stats::Counter,
        wire::be64, //
    },
    sync::ratelimit,
    trace, //
};

/// Where all information units from the initiator have their tag.
const TAG: usize = 8;

/// Parses an information unit and acts on it. `cmd` is a free command of the pool.
pub(super) fn process(link: &Arc<Link>, cmd: Arc<Command>, received: Received) {
    let channel = &link.channel;
    let Received { buf, len, at } = received;
    {
        let bytes = buf.bytes(len);
        let opcode = bytes.first().copied().unwrap_or(0);
        let tag = be64(bytes, TAG).unwrap_or(0);
        // CAST: A receive buffer is smaller than 4 GiB.
        trace::iu(channel.serial, opcode, tag, len as u32);
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
            let table = match request.data {
                DataDesc::External(external) => Some(external.table),
                _ => None,
            };
            let rx = Request::new(buf, len, at);
            match (fault, table) {
                (None, Some(table)) => Command::start_table(cmd, link, head, rx, scsi.lun, table),
                (None, None) => {
                    cmd.start(link, head, rx);
                    submit(link, cmd, &scsi);
                }
                (Some(answer), _) => {
                    cmd.start(link, head, rx);
                    Command::answer(cmd, answer);
                }
            }
        }
        Ok(Iu::TskMgmt(request)) => manage::begin(link, cmd, &request, Request::new(buf, len, at)),
        Ok(Iu::ILogout(_)) => {
            Channel::close(channel.as_arc_borrow(), CloseReason::Logout);
            channel.discard(buf);
            Channel::recycle(channel.as_arc_borrow(), cmd);
        }
        Ok(Iu::CredRsp(rsp)) => answered(link, cmd, buf, channel.credits_taken(rsp.tag)),
        Ok(Iu::AerRsp(rsp)) => answered(link, cmd, buf, channel.event_noted(rsp.tag)),
        Err(error) => match error.answer() {
            Answer::Respond {
                tag,
                sol_not,
                rsp_code,
            } => {
                if ratelimit::ok() {
                    pr_info!(
                        "channel {} of {}: invalid request: {:?}\n",
                        channel.serial,
                        channel.initiator_port,
                        error
                    );
                }
                let answer = match error {
                    IuError::Invalid {
                        kind: InvalidKind::TskMgmt(_),
                        ..
                    } => LocalAnswer::Mgmt(rsp_code),
                    _ => LocalAnswer::InvalidFields,
                };
                cmd.start_invalid(link, Head { tag, sol_not }, Request::new(buf, len, at));
                Command::answer(cmd, answer);
            }
            Answer::Disconnect { .. } => {
                let reason = CloseReason::ProtocolViolation;
                let what = "an information unit of unknown kind";
                break_off(link, cmd, buf, reason, what);
            }
        },
    }
}

/// Counts a request, and the credit it costs. Returns whether the peer had one. If it was one of
/// the last, those that wait for a response to carry them go back now.
fn count(
    channel: ArcBorrow<'_, Channel>,
    parsed: &Result<Iu<'_>, IuError>,
    consumes: bool,
) -> bool {
    let mut inner = channel.inner.lock();
    match parsed {
        Ok(Iu::Cmd(_)) => inner.stats.count(Counter::Commands),
        Ok(Iu::TskMgmt(_)) => inner.stats.count(Counter::TaskManagement),
        Ok(_) => {}
        Err(_) => inner.stats.count(Counter::Malformed),
    }
    if !consumes {
        return true;
    }
    let had = inner.credits.on_request().is_ok();
    if had && inner.credits.at_peer() == 0 {
        inner.stats.count(Counter::CreditsStarved);
    }
    let ask = had && inner.wants_credit_request();
    drop(inner);
    if ask {
        Channel::send_notices(channel);
    }
    had
}

/// Hands a command to the engine.
pub(crate) fn submit(link: &Link, cmd: Arc<Command>, rx: &ScsiRequest) {
    let op = rx.cdb.first().copied().unwrap_or(0);
    trace::submit(link.channel.serial, rx.tag, rx.lun, op, rx.data_len);
    let Err((error, cmd)) = Active::rx_cmd(cmd, &link.channel.session, &rx.as_rx_cmd()) else {
        return;
    };
    match error {
        RxError::ShuttingDown => Command::abandon(cmd),
        RxError::InvalidCdb => Command::answer(cmd, LocalAnswer::Sense(&sense::INVALID_CDB)),
        RxError::NoMemory | RxError::UnknownFunction => {
            Command::answer(cmd, LocalAnswer::Status(sam::BUSY));
        }
    }
}

/// The initiator has answered a request of the target, or says so. The answer has cost no credit, so
/// its buffer goes back at once.
fn answered(link: &Link, cmd: Arc<Command>, buf: Buffer, known: Result<(), Spurious>) {
    let channel = link.channel.as_arc_borrow();
    if known.is_err() {
        let reason = CloseReason::SpuriousResponse;
        return break_off(link, cmd, buf, reason, "a response to nothing");
    }
    link.repost(buf);
    Channel::recycle(channel, cmd);
    Channel::send_notices(channel);
}

/// What no engine is to see, although it is well formed.
fn fault(request: &Cmd<'_>) -> Option<LocalAnswer> {
    match request.data {
        // No engine here takes data in both directions.
        DataDesc::Bidi { .. } => Some(LocalAnswer::Sense(&sense::INVALID_CDB)),
        _ if request.data_len() > limit::MAX_MAX_RDMA_SIZE => Some(LocalAnswer::InvalidFields),
        _ => None,
    }
}

/// The peer does not speak the protocol: close the channel. `cmd` was not started.
fn break_off(link: &Link, cmd: Arc<Command>, buf: Buffer, reason: CloseReason, what: &str) {
    let channel = link.channel.as_arc_borrow();
    if ratelimit::ok() {
        pr_warn!(
            "channel {} of {}: protocol violation: {}\n",
            channel.serial,
            channel.initiator_port,
            what
        );
    }
    Channel::close(channel, reason);
    channel.discard(buf);
    Channel::recycle(channel, cmd);
}

/// A SCSI command copied out of its receive buffer.
pub(crate) struct ScsiRequest {
    tag: u64,
    lun: u64,
    attr: TaskAttr,
    dir: Direction,
    data_len: u32,
    cdb: [u8; MAX_CDB],
    cdb_len: usize,
}

/// Longest CDB an SRP_CMD can carry: 16 bytes and 63 words.
const MAX_CDB: usize = 16 + 63 * 4;

impl ScsiRequest {
    pub(crate) fn new(request: &Cmd<'_>) -> Self {
        let mut cdb = [0; MAX_CDB];
        let mut cdb_len = 0;
        for (to, from) in cdb.iter_mut().zip(request.cdb) {
            *to = *from;
            cdb_len += 1;
        }
        Self {
            tag: request.tag,
            lun: Active::lun_number(request.lun),
            attr: request.attr,
            dir: match request.direction() {
                srp::cmd::Direction::None | srp::cmd::Direction::Bidi => Direction::None,
                srp::cmd::Direction::Out => Direction::ToTarget,
                srp::cmd::Direction::In => Direction::FromTarget,
            },
            data_len: request.data_len(),
            cdb,
            cdb_len,
        }
    }

    fn as_rx_cmd(&self) -> RxCmd<'_> {
        RxCmd {
            tag: self.tag,
            lun: self.lun,
            cdb: self.cdb.get(..self.cdb_len).unwrap_or(&[]),
            attr: self.attr,
            dir: self.dir,
            data_len: self.data_len,
        }
    }
}
