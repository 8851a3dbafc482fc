// SPDX-License-Identifier: GPL-2.0

//! Task management requests: finds the commands that a function concerns and submits it to the
//! engine.
//!
//! After the response the initiator may reuse the memory of the aborted commands. The engine
//! responds when its commands have ended. (A command whose response is posted unsignaled has; LIO
//! does not wait for responses that are under way, either.) Commands whose descriptor table is
//! being fetched are not with the engine: they are aborted here, and the function waits for their
//! end ([`crate::command::wait`]).
//!
//! Not here: the functions themselves, which the engine executes.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    list,
    Channel,
    Command,
    Hold,
    Received, //
};

use crate::{
    command::{
        answer::LocalAnswer,
        wait::{
            hand_over,
            TableWait, //
        },
        Head, //
    },
    engine::{
        Active,
        Engine,
        RxMgmt, //
    },
    srp::wire::{
        consts::RspCode,
        tmf::{
            TmFunction,
            TskMgmt, //
        }, //
    }, //
};

impl Channel {
    /// Returns whether a SCSI command with this tag is in progress.
    pub(crate) fn has_task(&self, tag: u64) -> bool {
        self.inner
            .lock()
            .commands
            .all
            .iter()
            .any(|cmd| cmd.task() == Some(tag))
    }

    /// Returns the tags of the SCSI commands in progress.
    pub(super) fn tasks(&self) -> impl Iterator<Item = u64> + '_ {
        let count = self.inner.lock().commands.all.len();
        (0..count).filter_map(|number| {
            // Not held while the caller looks at one.
            let inner = self.inner.lock();
            inner.commands.all.get(number)?.task()
        })
    }

    /// Aborts the SCSI command with this tag if its descriptor table is being fetched; `wait` then
    /// waits for its end. Returns whether that was so.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn abort_table(&self, tag: u64, wait: &TableWait<Self>) -> Result<bool> {
        for cmd in &self.inner.lock().commands.all {
            if cmd.abort_table(tag, wait)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Prepares [`Self::abort_tables`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn prepare_aborts(&self, lun: u64) -> Result {
        let inner = self.inner.lock();
        let mut all = inner.commands.all.iter();
        all.try_for_each(|cmd| cmd.prepare_abort_of(lun))
    }

    /// Aborts the SCSI commands of a logical unit whose descriptor tables are being fetched; `wait`
    /// then waits for their end.
    fn abort_tables(&self, lun: u64, wait: &TableWait<Self>) {
        for cmd in &self.inner.lock().commands.all {
            cmd.abort_table_of(lun, wait);
        }
    }
}

/// Begins a task management request. `cmd` is a free command of the pool. The engine searches one
/// session for the command to abort, so it gets the session of the channel on which the command
/// arrived: an initiator with several channels may send the request on any of them.
pub(super) fn begin(cmd: Arc<Command>, request: &TskMgmt, rx: Received) {
    let link = cmd.link().clone();
    let channel = &link.owner;
    let head = Head {
        tag: request.tag,
        sol_not: request.sol_not,
    };
    let mgmt = RxMgmt {
        tag: request.tag,
        lun: Active::lun_number(request.lun),
        function: request.function,
        task_tag: request.task_tag,
    };
    let Ok(wait) = TableWait::new(&cmd, mgmt) else {
        cmd.start_mgmt(head, rx, None);
        return Command::answer(cmd, LocalAnswer::Mgmt(RspCode::Failed));
    };
    let found = match request.function {
        TmFunction::AbortTask => find_task(channel, mgmt.task_tag, &wait),
        function if resets(function) => {
            abort_tables(channel, mgmt.lun, &wait).map(|()| FoundTask::Aborted)
        }
        _ => Ok(FoundTask::Aborted),
    };
    let own = match &found {
        Ok(FoundTask::Sibling(_)) => Some(Hold::new(channel)),
        _ => None,
    };
    cmd.start_mgmt(head, rx, own);
    let other = match found {
        Ok(FoundTask::Sibling(hold)) => Some(hold),
        Ok(FoundTask::NoSibling) => None,
        // Submits at once if no table is being fetched.
        Ok(FoundTask::Aborted) => return drop(wait),
        Err(_) => return wait.fail(),
    };
    wait.cancel();
    let session = match &other {
        Some(hold) => &hold.owner().session,
        None => &channel.session,
    };
    hand_over(cmd, session, &mgmt);
}

/// Place of the command that an ABORT TASK names.
enum FoundTask {
    /// Its table was being fetched: aborted, not with the engine.
    Aborted,
    /// On another channel of the nexus; tear-down of that one waits.
    Sibling(Hold),
    /// Not on another channel.
    NoSibling,
}

/// Searches a SCSI command with this tag on the channels of the nexus of `channel` that the same
/// entry let in, `channel` first.
///
/// # Errors
///
/// `ENOMEM`.
fn find_task(channel: &Arc<Channel>, tag: u64, wait: &TableWait<Channel>) -> Result<FoundTask> {
    // With the list locked, or it would take the room that a reset has prepared.
    if list::look(|_| channel.abort_table(tag, wait))? {
        return Ok(FoundTask::Aborted);
    }
    if channel.has_task(tag) {
        return Ok(FoundTask::NoSibling);
    }
    list::look(|channels| {
        let siblings = || {
            channels
                .iter()
                .filter(|other| !Arc::ptr_eq(other, channel) && other.same_luns(channel))
        };
        for other in siblings() {
            if other.abort_table(tag, wait)? {
                return Ok(FoundTask::Aborted);
            }
        }
        Ok(siblings()
            .find(|other| other.has_task(tag))
            .and_then(Channel::hold_if_live)
            .map_or(FoundTask::NoSibling, FoundTask::Sibling))
    })
}

/// Aborts the SCSI commands of a logical unit whose descriptor tables are being fetched, on the
/// channels of the nexus of `channel` that the same entry let in; `wait` then waits for their end.
/// (On others the LUN may name another logical unit.)
///
/// All memory is allocated before the first abort: a function that fails has aborted nothing, and
/// every command is answered.
///
/// # Errors
///
/// `ENOMEM`: nothing was done.
fn abort_tables(channel: &Arc<Channel>, lun: u64, wait: &TableWait<Channel>) -> Result {
    list::look(|channels| {
        let of_nexus = || channels.iter().filter(|other| other.same_luns(channel));
        of_nexus().try_for_each(|other| other.prepare_aborts(lun))?;
        of_nexus().for_each(|other| other.abort_tables(lun, wait));
        Ok(())
    })
}

/// Returns whether the function ends all commands of a logical unit and the engine supports it.
fn resets(function: TmFunction) -> bool {
    match function {
        TmFunction::LunReset => true,
        TmFunction::AbortTaskSet | TmFunction::ClearTaskSet => Active::HAS_TASK_SETS,
        _ => false,
    }
}
