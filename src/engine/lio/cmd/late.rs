// SPDX-License-Identifier: GPL-2.0

//! Callbacks of target core that come where the target does not run.
//!
//! Target core calls back where the disk completes a command (`TARGET_DIRECT_COMPL`). With file and
//! RAM disks that is the submitter itself, inside the call with which this module has handed the
//! command over; then the callback does its work at once, which spares a work item. It may also be
//! an interrupt, or a task of the disk: that may hold locks that a new command would need, or be
//! needed itself to free memory or to complete others. Then the callback returns success at once,
//! and a work item of this module does what it was called for, on the CPU that target core would
//! have chosen for a work item of its own.
//!
//! Target core puts its reference on the command and the one on the logical unit, which may go
//! then, when the callback returns: before the work item runs or after. As during the SEND of a
//! response, the acknowledgment reference keeps the command. If target core's is the last one, the
//! release is left to the work item, too, and keeps the session until then.
//!
//! There is no callback to return an error from: what finds the send queue full is retried here,
//! and data that cannot be sent becomes CHECK CONDITION here.
//!
//! Not here: the callbacks otherwise ([`super`]).

use core::ptr;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    task::Task, //
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
    },
    srp::wire::scsi::{
        sense,
        status, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The task in which target core may call back directly: it is inside a function of target core
/// that this module has called for the command. NULL if there is none.
pub(super) struct Caller(Atomic<*mut kernel::bindings::task_struct>);

impl Caller {
    /// Returns one without a task.
    pub(super) const fn new() -> Self {
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Records that the calling task is about to call target core for the command. To be dropped
    /// when the call has returned.
    pub(super) fn enter(&self) -> Inside<'_> {
        let task = Task::current_raw();
        let nested = ptr::eq(self.0.load(Relaxed), task);
        self.0.store(task, Relaxed);
        Inside((!nested).then_some(self))
    }

    /// Returns whether the target runs here: inside such a call, in a context that may sleep. Any
    /// context.
    fn is_here(&self) -> bool {
        ptr::eq(self.0.load(Relaxed), Task::current_raw())
            // SAFETY: The shim only reads the context of the caller.
            && unsafe { bindings::srpt_lio_may_sleep() }
    }
}

/// Guard: the task that has made it is inside a function of target core. The inner ones of a task
/// are empty.
#[must_use = "its drop is the end of the call"]
pub(in crate::engine::lio) struct Inside<'a>(Option<&'a Caller>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(caller) = self.0 {
            // Fails if another task has called meanwhile, perhaps for the next request.
            let _ = caller
                .0
                .cmpxchg(Task::current_raw(), ptr::null_mut(), Relaxed);
        }
    }
}

impl<C: TargetCmd> LioCmd<C> {
    /// Sets the phase to `phase` and leaves the command to [`Self::run_late`]. The caller owns the
    /// command. Any context.
    pub(super) fn postpone(cmd: Arc<C>, phase: Phase) {
        let this = cmd.engine_cmd();
        let (queues, cpu) = (this.queues.clone(), this.completion_cpu());
        this.phase.set(phase);
        if queues.completions.enqueue_on::<_, 0>(cpu, cmd).is_err() {
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
        // `SE_COMPL_AFFINITY_CPUID`; the CPU that completes is stored as `WORK_CPU_UNBOUND`.
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
                    if read_se!(this, scsi_status) == 0 {
                        this.set_sense(&sense::COMMUNICATION_FAILURE);
                    }
                    Self::answer_late(cmd.as_arc_borrow());
                }
            }
        } else if this.phase.change(Phase::AnswerLate, Phase::Core) {
            Self::answer_late(cmd.as_arc_borrow());
        } else if this.phase.change(Phase::Released, Phase::Core) {
            let count = read_se!(this, cmd_cnt);
            Self::give_back(cmd);
            // SAFETY: `released` took this reference, which keeps the session, and that the count.
            unsafe { bindings::srpt_cmd_count_put(count) };
        } else {
            return Some(cmd);
        }
        None
    }

    /// Sends a response, at once or when the send queue has room. Process context.
    pub(super) fn answer_late(cmd: ArcBorrow<'_, C>) {
        match Self::send_status(cmd) {
            Delivery::Success => {}
            Delivery::QueueFull => Self::retry_later(cmd.into(), Phase::AnswerLate),
            // No completion acknowledges a response that was not sent.
            Delivery::FatalError => cmd.engine_cmd().done(DoneContext::Same),
        }
    }

    /// Returns whether the target runs here; see [`Caller::is_here`].
    pub(super) fn is_here(cmd: &C) -> bool {
        cmd.engine_cmd().caller.is_here()
    }

    /// `release_cmd()`: returns the command, which target core does not use any more. Any context.
    pub(in crate::engine::lio) fn released(cmd: Arc<C>) {
        if Self::is_here(&cmd) {
            Self::give_back(cmd);
        } else {
            let count = read_se!(cmd.engine_cmd(), cmd_cnt);
            // SAFETY: Target core puts its own reference after this callback.
            unsafe { bindings::srpt_cmd_count_get(count) };
            Self::postpone(cmd, Phase::Released);
        }
    }

    fn give_back(cmd: Arc<C>) {
        cmd.engine_cmd().forget_data();
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
            (&raw mut (*se).scsi_status).write(status::CHECK_CONDITION);
            // CAST: 18.
            (&raw mut (*se).scsi_sense_length).write(sense.len() as u16);
            self.sense
                .get()
                .cast::<u8>()
                .copy_from_nonoverlapping(sense.as_ptr(), sense.len());
        }
    }
}
