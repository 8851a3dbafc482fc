// SPDX-License-Identifier: GPL-2.0

//! Submission of commands and task management functions to SCST.
//!
//! Not here: their callbacks and completions after that ([`super::cmd`]).
//!
//! C source: `scst/src/scst_targ.c`.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    cmd::{
        Phase,
        THREAD, //
    },
    session::ScstSession, //
};
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
        cdb::{
            self,
            CdbFault, //
        },
        cmd::TaskAttr,
        desc::Dir,
        ident::Lun,
        scsi::sense,
        tmf::TmFunction, //
    }, //
};

/// Maximum length of a CDB in bytes, with variable length CDBs.
const MAX_CDB: usize = 260;

/// Size of a LUN in bytes.
const LUN_SIZE: c_int = 8;

/// Returns the sense data that answers this command, if SCST must not see it. Which commands these
/// are, and why, is in `docs/engines.md`.
#[inline]
pub(super) fn refusal(rx: &RxCmd) -> Option<&'static [u8]> {
    if rx.attr == TaskAttr::Aca {
        // As SCST says where it can: no session has an ACA condition, as none has a command with
        // NACA.
        return Some(&sense::INVALID_MESSAGE);
    }
    cdb::fault(rx.cdb()).map(CdbFault::sense)
}

/// Submits a command, with the data that it came with. Wraps `scst_rx_cmd_prealloced()` and
/// `scst_cmd_init_done()`. Process context, may sleep; the command may be executed, answered and
/// returned before this returns.
///
/// # Errors
///
/// Returned with the command, which SCST then does not hold: `InvalidCdb` if the CDB is truncated
/// or too long, `ShuttingDown` if the session was stopped, `NoMemory`, also if the command has to
/// wait for ORDERED ones ([`Order`](crate::srp::machine::order::Order)). SCST answers all other
/// failures.
pub(super) fn submit<C: TargetCmd>(
    cmd: Arc<C>,
    session: &ScstSession,
    rx: &RxCmd,
    immediate: Option<Immediate>,
) -> Result<(), (RxError, Arc<C>)> {
    let Some(bytes) = rx.complete_cdb(MAX_CDB) else {
        return Err((RxError::InvalidCdb, cmd));
    };
    let Some(submission) = session.begin() else {
        return Err((RxError::ShuttingDown, cmd));
    };
    let (Ok(cdb_len), Ok(len)) = (c_uint::try_from(bytes.len()), c_int::try_from(rx.data_len))
    else {
        return Err((RxError::InvalidCdb, cmd));
    };
    let Some(mut shared) = submission.submitted(rx.lun) else {
        return Err((RxError::ShuttingDown, cmd));
    };
    // What it sets changes the attributes of other commands, whatever its own is.
    let attr = if cdb::is_mode_select(bytes) {
        TaskAttr::Ordered
    } else {
        rx.attr
    };
    // Until SCST has the command.
    let Some((attr, _reading)) = shared.admit(attr, bytes) else {
        return Err((RxError::NoMemory, cmd));
    };
    let tag = shared.engine_tag(rx.tag);
    let immediate = immediate.filter(|_| cdb::is_plain_write(bytes));
    let in_place = immediate.is_some();
    if !cmd.engine_cmd().prepare(Phase::Core, shared, immediate) {
        return Err((RxError::NoMemory, cmd));
    }
    // CAST: Small numbers.
    let (direction, len) = match rx.dir {
        None => (bindings::scst_data_direction_SCST_DATA_NONE as c_int, 0),
        Some(Dir::Out) => (bindings::scst_data_direction_SCST_DATA_WRITE as c_int, len),
        Some(Dir::In) => (bindings::scst_data_direction_SCST_DATA_READ as c_int, len),
    };
    let queue_type = match attr {
        TaskAttr::Simple => bindings::scst_cmd_queue_type_SCST_CMD_QUEUE_SIMPLE,
        TaskAttr::HeadOfQueue => bindings::scst_cmd_queue_type_SCST_CMD_QUEUE_HEAD_OF_QUEUE,
        TaskAttr::Ordered => bindings::scst_cmd_queue_type_SCST_CMD_QUEUE_ORDERED,
        TaskAttr::Aca => bindings::scst_cmd_queue_type_SCST_CMD_QUEUE_ACA,
    };
    let raw = cmd.engine_cmd().raw.get();
    let lun = wire_lun(rx.lun);
    // SAFETY:
    // - `raw` is zeroed, and SCST does not hold it.
    // - The session is not being ended, which `submission` proves.
    // - LUN and CDB have the lengths passed; SCST copies them.
    let ret = unsafe {
        bindings::scst_rx_cmd_prealloced(
            raw,
            submission.as_raw(),
            (&raw const lun).cast(),
            LUN_SIZE,
            bytes.as_ptr(),
            cdb_len,
            // Otherwise SCST allocates memory for a long CDB with the flags of the command, which
            // are not set yet.
            true,
        )
    };
    if ret != 0 {
        cmd.engine_cmd().withdraw();
        return Err((RxError::NoMemory, cmd));
    }
    // Callbacks are possible from here on.
    let _ = Arc::into_raw(cmd);
    // SAFETY: SCST has accepted the command, but does not process it before the last call. Then
    // SCST owns it: the command is not used here afterwards.
    unsafe {
        bindings::srpt_scst_set_tag(raw, tag);
        bindings::srpt_scst_set_queue_type(raw, queue_type);
        bindings::srpt_scst_set_expected(raw, direction, len);
        if in_place {
            bindings::srpt_scst_ask_for_buf(raw);
        }
        bindings::scst_cmd_init_done(raw, THREAD);
    }
    Ok(())
}

/// Submits a task management function. Wraps `scst_rx_mgmt_fn()`. Process context, may sleep.
///
/// # Errors
///
/// Returned with the command, which SCST then does not hold: `UnknownFunction`, `ShuttingDown` if
/// the session was stopped, `NoMemory`; the latter also for logical units that cannot exist.
pub(super) fn submit_tmf<C: TargetCmd>(
    cmd: Arc<C>,
    session: &ScstSession,
    rx: &RxMgmt,
) -> Result<(), (RxError, Arc<C>)> {
    let function = match rx.function {
        TmFunction::AbortTask => bindings::SCST_ABORT_TASK,
        TmFunction::AbortTaskSet => bindings::SCST_ABORT_TASK_SET,
        TmFunction::ClearTaskSet => bindings::SCST_CLEAR_TASK_SET,
        TmFunction::LunReset => bindings::SCST_LUN_RESET,
        TmFunction::ClearAca => bindings::SCST_CLEAR_ACA,
        TmFunction::Unknown(_) => return Err((RxError::UnknownFunction, cmd)),
    };
    let Some(submission) = session.begin() else {
        return Err((RxError::ShuttingDown, cmd));
    };
    let Some(mut shared) = submission.submitted(rx.lun) else {
        return Err((RxError::ShuttingDown, cmd));
    };
    if matches!(rx.function, TmFunction::LunReset) {
        // It takes back what MODE SELECT has set, as that does.
        shared.count_ordered();
    }
    let task_tag = shared.engine_tag(rx.task_tag);
    if !cmd.engine_cmd().prepare(Phase::Mgmt, shared, None) {
        return Err((RxError::NoMemory, cmd));
    }
    let lun = wire_lun(rx.lun);
    let sess = submission.as_raw();
    // The callback is possible as soon as this succeeds, even before it returns.
    let cmd = Arc::into_raw(cmd);
    let private = cmd.cast_mut().cast::<c_void>();
    // SAFETY: The session is not being ended, which `submission` proves. The LUN has 8 bytes, and
    // is only read. The function is ABORT TASK where a tag is passed and another one where a LUN
    // is.
    let ret = unsafe {
        match rx.function {
            TmFunction::AbortTask => bindings::srpt_scst_abort_task(sess, task_tag, private),
            _ => bindings::srpt_scst_mgmt_lun(
                sess,
                // CAST: Small numbers.
                function as c_int,
                (&raw const lun).cast(),
                private,
            ),
        }
    };
    if ret == 0 {
        return Ok(());
    }
    // SAFETY: SCST did not accept the function and has passed it to nothing else. So the pointer is
    // still ours.
    let cmd = unsafe { Arc::from_raw(cmd) };
    cmd.engine_cmd().withdraw();
    Err((RxError::NoMemory, cmd))
}

/// Returns a LUN in the form that SCST requires: eight bytes, aligned.
fn wire_lun(lun: u64) -> u64 {
    u64::from_ne_bytes(Lun::from_u64(lun).0)
}
