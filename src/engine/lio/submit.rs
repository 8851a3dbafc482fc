// SPDX-License-Identifier: GPL-2.0

//! Submission of commands and task management functions to target core.
//!
//! Not here: their callbacks and references after that ([`super::cmd`]).
//!
//! C source: `drivers/target/target_core_transport.c`.
//!
//! # Writes without the direction of a write
//!
//! Target core refuses writes to a read-only or reserved logical unit, but recognises them by the
//! direction of the data only, which is that of the initiator's descriptors. Therefore commands
//! that write regardless of the direction are always submitted as writes; if the descriptors have
//! another direction, as writes of length 0, which target core refuses (`target_cmd_size_check()`).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::session::LioSession;
use crate::{
    bindings,
    engine::{
        RxCmd,
        RxError,
        RxMgmt,
        TargetCmd, //
    },
    rdma::buf::Immediate,
    srp::wire::{
        cmd::TaskAttr,
        desc::Dir,
        tmf::TmFunction, //
    }, //
};

/// Maximum length of a CDB in bytes.
// CAST: 260.
const MAX_CDB: usize = bindings::SCSI_MAX_VARLEN_CDB_SIZE as usize;

/// Returns whether target core writes when it executes this command, regardless of the direction of
/// the data (`sbc_parse_cdb()`).
fn writes(cdb: &[u8]) -> bool {
    // CAST: Operation codes have 8 bits, service actions 16.
    const WRITE_SAME_10: u8 = bindings::WRITE_SAME as u8;
    const WRITE_SAME_16: u8 = bindings::WRITE_SAME_16 as u8;
    const WRITE_SAME_32: [u8; 2] = (bindings::WRITE_SAME_32 as u16).to_be_bytes();
    const COMPARE_AND_WRITE: u8 = bindings::COMPARE_AND_WRITE as u8;
    const VARIABLE_LENGTH: u8 = bindings::VARIABLE_LENGTH_CMD as u8;

    match cdb.first() {
        Some(&(WRITE_SAME_10 | WRITE_SAME_16 | COMPARE_AND_WRITE)) => true,
        Some(&VARIABLE_LENGTH) => cdb.get(8..10) == Some(&WRITE_SAME_32[..]),
        _ => false,
    }
}

/// Submits a command. Wraps `target_init_cmd()`, `target_submit_prep()` and `target_submit()`.
/// Process context, may sleep; the command may be executed, answered and released before this
/// returns.
///
/// # Errors
///
/// Returned with the command, which target core then does not hold: `InvalidCdb` if the CDB is
/// truncated or too long, `ShuttingDown` if the session was stopped, `NoMemory` if the command is
/// in use (an error of the caller). Target core answers all other failures.
pub(super) fn submit<C: TargetCmd>(
    cmd: Arc<C>,
    session: &LioSession,
    rx: &RxCmd,
    immediate: Option<Immediate>,
) -> Result<(), (RxError, Arc<C>)> {
    let Some(cdb) = rx.complete_cdb(MAX_CDB) else {
        return Err((RxError::InvalidCdb, cmd));
    };
    let Some(sess) = session.live() else {
        return Err((RxError::ShuttingDown, cmd));
    };
    if !cmd.engine_cmd().prepare(rx.tag) {
        return Err((RxError::NoMemory, cmd));
    }
    let (direction, len) = match rx.dir {
        None | Some(Dir::In) if writes(cdb) => (bindings::dma_data_direction_DMA_TO_DEVICE, 0),
        None => (bindings::dma_data_direction_DMA_NONE, 0),
        Some(Dir::Out) => (bindings::dma_data_direction_DMA_TO_DEVICE, rx.data_len),
        Some(Dir::In) => (bindings::dma_data_direction_DMA_FROM_DEVICE, rx.data_len),
    };
    let attr = match rx.attr {
        TaskAttr::Simple => bindings::TCM_SIMPLE_TAG,
        TaskAttr::HeadOfQueue => bindings::TCM_HEAD_TAG,
        TaskAttr::Ordered => bindings::TCM_ORDERED_TAG,
        TaskAttr::Aca => bindings::TCM_ACA_TAG,
    };
    let se = cmd.engine_cmd().se.get();
    // SAFETY:
    // - `se` is zeroed apart from the tag, which is kept, and target core does not hold it.
    // - The session is valid, see `LioSession::live()`; if it is stopped, this fails.
    // - The sense buffer has `TRANSPORT_SENSE_BUFFER` bytes, and lives as long as the command.
    // - CAST: Directions and attributes are small numbers in an `enum` and constants.
    let ret = unsafe {
        bindings::target_init_cmd(
            se,
            sess,
            cmd.engine_cmd().sense.get().cast(),
            rx.lun,
            len,
            attr as c_int,
            direction as c_int,
            bindings::target_sc_flags_table_TARGET_SCF_ACK_KREF as c_int,
        )
    };
    if ret != 0 {
        // `-ESHUTDOWN`. Nothing was allocated and nothing refers to the command: the one reference
        // left in `cmd_kref` need not be put, and doing so would only call `release_cmd()`.
        cmd.engine_cmd().withdraw();
        return Err((RxError::ShuttingDown, cmd));
    }
    cmd.engine_cmd().keep_immediate(immediate);
    let kept = cmd.clone();
    let inside = kept.engine_cmd().enter();
    // Callbacks are possible from here on; `release_cmd()` takes this reference back.
    let _ = Arc::into_raw(cmd);
    // SAFETY:
    // - `target_init_cmd()` succeeded, so the session stays until the command is released.
    // - The CDB has the length that `scsi_command_size()` returns, see `RxCmd::complete_cdb()`; it
    //   is copied.
    // - No scatterlists are passed: `place_data()` sets one, or target core allocates one; it
    //   requests data with `write_pending()`.
    // - On failure target core has answered, and the command must not be touched any more.
    // - On success the reference that was turned into a pointer is not taken back before the
    //   command is submitted, so the command exists until then, and target core does not use it.
    unsafe {
        if bindings::target_submit_prep(
            se,
            cdb.as_ptr().cast_mut(),
            core::ptr::null_mut(),
            0,
            core::ptr::null_mut(),
            0,
            core::ptr::null_mut(),
            0,
            kernel::bindings::GFP_KERNEL,
        ) == 0
        {
            kept.engine_cmd().place_data();
            bindings::target_submit(se);
        }
    }
    drop(inside);
    Ok(())
}

/// Submits a task management function. Wraps `target_submit_tmr()`. Process context, may sleep.
///
/// # Errors
///
/// Returned with the command, which target core then does not hold: `UnknownFunction`,
/// `ShuttingDown` if the session was stopped, `NoMemory`. Target core answers functions that it
/// does not support and those to logical units that do not exist.
pub(super) fn submit_tmf<C: TargetCmd>(
    cmd: Arc<C>,
    session: &LioSession,
    rx: &RxMgmt,
) -> Result<(), (RxError, Arc<C>)> {
    let function = match rx.function {
        TmFunction::AbortTask => bindings::tcm_tmreq_table_TMR_ABORT_TASK,
        TmFunction::AbortTaskSet => bindings::tcm_tmreq_table_TMR_ABORT_TASK_SET,
        TmFunction::ClearTaskSet => bindings::tcm_tmreq_table_TMR_CLEAR_TASK_SET,
        TmFunction::LunReset => bindings::tcm_tmreq_table_TMR_LUN_RESET,
        TmFunction::ClearAca => bindings::tcm_tmreq_table_TMR_CLEAR_ACA,
        TmFunction::Unknown(_) => return Err((RxError::UnknownFunction, cmd)),
    };
    let Some(sess) = session.live() else {
        return Err((RxError::ShuttingDown, cmd));
    };
    if !cmd.engine_cmd().prepare(rx.tag) {
        return Err((RxError::NoMemory, cmd));
    }
    let se = cmd.engine_cmd().se.get();
    // Callbacks are possible as soon as this succeeds, even before it returns.
    let cmd = Arc::into_raw(cmd);
    // SAFETY:
    // - `se` is zeroed apart from the tag, which is kept, and target core does not hold it.
    // - The session is valid, see `LioSession::live()`; if it is stopped, this fails.
    // - No sense data is written for task management functions.
    // - CAST: Functions and flags are small numbers in an `enum`.
    let ret = unsafe {
        bindings::target_submit_tmr(
            se,
            sess,
            core::ptr::null_mut(),
            rx.lun,
            core::ptr::null_mut(),
            function as u8,
            kernel::bindings::GFP_KERNEL,
            rx.task_tag,
            bindings::target_sc_flags_table_TARGET_SCF_ACK_KREF as c_int,
        )
    };
    if ret == 0 {
        return Ok(());
    }
    // SAFETY: Target core did not take the command: with `-ENOMEM` no request was allocated, with
    // `-ESHUTDOWN` it was freed again (and `se_tmr_req` still points to it); there is no reference
    // on anything else, and the command was passed to nothing else. So the pointer is still ours.
    let cmd = unsafe { Arc::from_raw(cmd) };
    cmd.engine_cmd().withdraw();
    let error = if ret == ENOMEM.to_errno() {
        RxError::NoMemory
    } else {
        RxError::ShuttingDown
    };
    Err((error, cmd))
}
