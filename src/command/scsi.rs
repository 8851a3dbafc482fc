// SPDX-License-Identifier: GPL-2.0

//! Submits a SCSI command to the engine.
//!
//! Not here: parsing ([`crate::srp::wire::cmd`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    answer::LocalAnswer,
    Command,
    Pool, //
};
use crate::{
    engine::{
        Active,
        Engine,
        RxCmd,
        RxError, //
    },
    rdma::buf::Immediate,
    srp::wire::{
        cmd::Cmd,
        scsi::{
            sense,
            status, //
        }, //
    },
    trace, //
};

/// Copies a SCSI command out of its receive buffer, for the engine.
///
/// # Errors
///
/// `ENOMEM`, if the CDB has more than 16 bytes.
#[inline]
pub(crate) fn copy(request: &Cmd<'_>) -> Result<RxCmd> {
    let (short, long) = match request.cdb.try_into() {
        Ok(cdb) => (cdb, None),
        Err(_) => ([0; 16], Some(copy_long(request.cdb)?)),
    };
    Ok(RxCmd {
        tag: request.tag,
        lun: Active::lun_number(request.lun),
        attr: request.attr,
        dir: request.dir(),
        data_len: request.data_len(),
        short,
        long,
    })
}

/// Copies a CDB with additional bytes, up to 63 words.
#[cold]
fn copy_long(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut long = KVec::new();
    long.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(long)
}

/// Submits a command of a connection of this owner to the engine, with the data that came with it,
/// or responds if the engine does not take it.
#[inline(always)]
pub(crate) fn submit<O: Pool>(
    owner: &O,
    cmd: Arc<Command<O>>,
    rx: &RxCmd,
    immediate: Option<Immediate>,
) {
    let op = rx.cdb().first().copied().unwrap_or(0);
    trace::submit(owner.serial(), rx.tag, rx.lun, op, rx.data_len);
    if immediate.is_some() {
        trace::data(owner.serial(), rx.tag, true);
    }
    if let Some(sense) = Active::refusal(rx) {
        // The response posts the receive buffer, of which this is a part.
        drop(immediate);
        return Command::answer(cmd, LocalAnswer::Sense(sense));
    }
    let Err((error, cmd)) = Active::rx_cmd(cmd, owner.session(), rx, immediate) else {
        return;
    };
    match error {
        RxError::ShuttingDown => Command::abandon(cmd),
        RxError::InvalidCdb => Command::answer(cmd, LocalAnswer::Sense(&sense::INVALID_CDB)),
        RxError::NoMemory | RxError::UnknownFunction => {
            Command::answer(cmd, LocalAnswer::Status(status::BUSY));
        }
    }
}
