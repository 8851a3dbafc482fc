// SPDX-License-Identifier: GPL-2.0

//! Callbacks of target core that come where the target cannot run.
//!
//! Target core calls back where the disk completes a command (`TARGET_DIRECT_COMPL`), which spares
//! a work item where that is a task that may sleep: the submitter itself with file and RAM disks.
//! It may also be an interrupt, as with most block devices. Then the callback returns success at
//! once, and a work item of this module does what it was called for, on the CPU that target core
//! would have chosen for a work item of its own.
//!
//! Meanwhile target core has put its reference on the command and the one on the logical unit,
//! which may be gone. As during the SEND of a response, the acknowledgement reference keeps the
//! command. There is no callback to return an error from: what finds the send queue full is retried
//! here, and data that cannot be sent becomes CHECK CONDITION here.
//!
//! Not here: the callbacks otherwise ([`super`]).

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    read_se,
    LioCmd,
    Phase, //
};
use crate::{
    bindings,
    engine::{
        Delivery,
        DoneContext,
        TargetCmd, //
    }, //
};

/// Returns whether the caller may sleep: the target runs in no other context.
pub(super) fn may_sleep() -> bool {
    // SAFETY: The shim only reads the context of the caller.
    unsafe { bindings::srpt_lio_may_sleep() }
}

/// SCSI status CHECK CONDITION (`include/scsi/scsi_proto.h`).
const CHECK_CONDITION: u8 = 0x02;

/// Sense data in fixed format (SPC-4 4.5.3) for NOT READY, LOGICAL UNIT COMMUNICATION FAILURE: what
/// target core reports when `queue_data_in()` fails.
const COMMUNICATION_FAILURE: [u8; 18] = {
    let mut sense = [0; 18];
    sense[0] = 0x70;
    sense[2] = 0x02;
    // Bytes after this one.
    sense[7] = 10;
    sense[12] = 0x08;
    sense
};

impl<C: TargetCmd> LioCmd<C> {
    /// Sets the phase to `phase` and leaves the command to [`Self::run_late`]. The caller owns the
    /// command. Any context.
    pub(super) fn postpone(cmd: Arc<C>, phase: Phase) {
        let this = cmd.engine_cmd();
        let (queue, cpu) = (this.queue.clone(), this.completion_cpu());
        this.phase.set(phase);
        if queue.enqueue_on::<_, 0>(cpu, cmd).is_err() {
            // Cannot happen: a command is in one such phase at a time, so its work item is not
            // queued yet.
            pr_err!("a command is lost\n");
        }
    }

    /// Returns the CPU on which target core would complete the command (`target_complete()`).
    fn completion_cpu(&self) -> c_int {
        let sess = read_se!(self, se_sess);
        // SAFETY: A submitted command has a session of ours, which has a portal group, and that the
        // directory of a port; all of them stay until the command is released.
        let affinity = unsafe {
            let wwn = (*(*sess).se_tpg).se_tpg_wwn;
            (&raw const (*wwn).cmd_compl_affinity).read()
        };
        // `SE_COMPL_AFFINITY_CPUID`.
        if affinity == -1 {
            read_se!(self, cpuid)
        } else {
            affinity
        }
    }

    /// Handles a command that [`Self::postpone`] left, or that waits for room in the send queue
    /// since. Returns one that is in no such phase. Process context.
    pub(super) fn run_late(cmd: Arc<C>) -> Option<Arc<C>> {
        let this = cmd.engine_cmd();
        if this.phase.change(Phase::DataLate, Phase::Core) {
            match Self::send_data(cmd.as_arc_borrow()) {
                Delivery::Success => {}
                Delivery::QueueFull => Self::retry_later(cmd, Phase::DataLate),
                Delivery::FatalError => {
                    this.set_sense(&COMMUNICATION_FAILURE);
                    Self::answer_late(cmd.as_arc_borrow());
                }
            }
        } else if this.phase.change(Phase::AnswerLate, Phase::Core) {
            Self::answer_late(cmd.as_arc_borrow());
        } else if this.phase.change(Phase::Released, Phase::Core) {
            Self::give_back(cmd);
        } else {
            return Some(cmd);
        }
        None
    }

    /// Sends a response that target core does not wait for.
    fn answer_late(cmd: ArcBorrow<'_, C>) {
        match Self::send_status(cmd) {
            Delivery::Success => {}
            Delivery::QueueFull => Self::retry_later(cmd.into(), Phase::AnswerLate),
            // No completion acknowledges a response that was not sent.
            Delivery::FatalError => cmd.engine_cmd().done(DoneContext::Same),
        }
    }

    /// `release_cmd()`: returns the command, which target core does not use any more. Any context.
    pub(in crate::engine::lio) fn released(cmd: Arc<C>) {
        if may_sleep() {
            Self::give_back(cmd);
        } else {
            Self::postpone(cmd, Phase::Released);
        }
    }

    fn give_back(cmd: Arc<C>) {
        cmd.engine_cmd().return_immediate();
        cmd.engine_cmd().phase.set(Phase::Idle);
        C::on_free_cmd(cmd);
    }
}

impl<C> LioCmd<C> {
    /// Makes the response CHECK CONDITION with this sense data. The caller owns the command.
    fn set_sense(&self, sense: &[u8; 18]) {
        const EMULATED: u32 = bindings::se_cmd_flags_table_SCF_EMULATED_TASK_SENSE;

        let flags = read_se!(self, se_cmd_flags);
        let se = self.se.get();
        // SAFETY: Target core has passed the command to `queue_data_in()` and uses these fields no
        // more. The buffer is longer than the sense data.
        unsafe {
            (&raw mut (*se).se_cmd_flags).write(flags | EMULATED);
            (&raw mut (*se).scsi_status).write(CHECK_CONDITION);
            // CAST: 18.
            (&raw mut (*se).scsi_sense_length).write(sense.len() as u16);
            self.sense
                .get()
                .cast::<u8>()
                .copy_from_nonoverlapping(sense.as_ptr(), sense.len());
        }
    }
}
