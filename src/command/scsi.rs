// SPDX-License-Identifier: GPL-2.0

//! Submits a SCSI command to the engine.
//!
//! Not here: parsing ([`crate::srp::wire::cmd`]).

use kernel::sync::Arc;

use super::{
    answer::{
        sam,
        sense,
        LocalAnswer, //
    },
    Command,
    Pool, //
};
use crate::{
    engine::{
        Active,
        Direction,
        Engine,
        RxCmd,
        RxError, //
    },
    link::Link,
    srp::{
        self,
        wire::cmd::{
            Cmd,
            TaskAttr, //
        }, //
    },
    trace, //
};

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
                srp::wire::cmd::Direction::None | srp::wire::cmd::Direction::Bidi => {
                    Direction::None
                }
                srp::wire::cmd::Direction::Out => Direction::ToTarget,
                srp::wire::cmd::Direction::In => Direction::FromTarget,
            },
            data_len: request.data_len(),
            cdb,
            cdb_len,
        }
    }

    /// Returns the logical unit, see [`Engine::lun_number`].
    pub(crate) fn lun(&self) -> u64 {
        self.lun
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

/// Submits a command to the engine, or responds if the engine does not take it.
pub(crate) fn submit<O: Pool>(link: &Link<O>, cmd: Arc<Command<O>>, rx: &ScsiRequest) {
    let op = rx.cdb.first().copied().unwrap_or(0);
    trace::submit(link.owner.serial(), rx.tag, rx.lun, op, rx.data_len);
    let Err((error, cmd)) = Active::rx_cmd(cmd, link.owner.session(), &rx.as_rx_cmd()) else {
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
