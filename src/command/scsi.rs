// SPDX-License-Identifier: GPL-2.0

//! Submits a SCSI command to the engine.
//!
//! Not here: parsing ([`crate::srp::wire::cmd`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

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
    rdma::buf::Immediate,
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
    cdb: Cdb,
}

/// A CDB.
enum Cdb {
    /// 16 bytes, as nearly all have.
    Short([u8; 16]),
    /// Others, up to 16 bytes and 63 words.
    Long(KVec<u8>),
}

impl Cdb {
    fn new(bytes: &[u8]) -> Result<Self> {
        if let Ok(short) = bytes.try_into() {
            return Ok(Self::Short(short));
        }
        let mut long = KVec::new();
        long.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(Self::Long(long))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}

impl ScsiRequest {
    /// Copies the command.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, if the CDB has more than 16 bytes.
    pub(crate) fn new(request: &Cmd<'_>) -> Result<Self> {
        Ok(Self {
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
            cdb: Cdb::new(request.cdb)?,
        })
    }

    /// Returns the logical unit, see [`Engine::lun_number`].
    pub(crate) fn lun(&self) -> u64 {
        self.lun
    }

    fn as_rx_cmd(&self) -> RxCmd<'_> {
        RxCmd {
            tag: self.tag,
            lun: self.lun,
            cdb: self.cdb.bytes(),
            attr: self.attr,
            dir: self.dir,
            data_len: self.data_len,
        }
    }
}

/// Submits a command to the engine, with the data that came with it, or responds if the engine does
/// not take it.
pub(crate) fn submit<O: Pool>(
    link: &Link<O>,
    cmd: Arc<Command<O>>,
    rx: &ScsiRequest,
    immediate: Option<Immediate>,
) {
    let op = rx.cdb.bytes().first().copied().unwrap_or(0);
    trace::submit(link.owner.serial(), rx.tag, rx.lun, op, rx.data_len);
    let Err((error, cmd)) = Active::rx_cmd(cmd, link.owner.session(), &rx.as_rx_cmd(), immediate)
    else {
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
