// SPDX-License-Identifier: GPL-2.0

//! Task management: where the commands are that a function is about, who carries it out, and when
//! it may be answered.
//!
//! With the answer the initiator may take the memory of the aborted commands away. The engine
//! answers when those that it has have come to their end. Of commands whose descriptor table is
//! being fetched it does not know: they are aborted here, and the function waits for them
//! ([`crate::command::wait`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    list,
    Channel,
    Command,
    Hold,
    Link, //
};

use crate::{
    command::{
        answer::LocalAnswer,
        wait::{
            hand_over,
            TableWait, //
        },
        Head,
        Request, //
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
    /// Whether a SCSI command with this tag is in progress.
    pub(crate) fn has_task(&self, tag: u64) -> bool {
        self.inner
            .lock()
            .commands
            .all
            .iter()
            .any(|cmd| cmd.is_task(tag))
    }

    /// Aborts a SCSI command with this tag that the engine does not know yet, for `wait`. Returns
    /// whether there is one.
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

    /// Aborts the SCSI commands of a logical unit that the engine does not know yet, for `wait`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn abort_tables(&self, lun: u64, wait: &TableWait<Self>) -> Result {
        for cmd in &self.inner.lock().commands.all {
            cmd.abort_table_of(lun, wait)?;
        }
        Ok(())
    }
}

/// A task management request arrived. `cmd` is a free command of the pool. The engine looks for the
/// command to abort among those of one session, so it is given the session the command came through:
/// initiators with several channels may use any of them.
pub(super) fn begin(link: &Arc<Link>, cmd: Arc<Command>, request: &TskMgmt, rx: Request<Channel>) {
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
    let Ok(wait) = TableWait::new(link, &cmd, mgmt) else {
        cmd.start_mgmt(link, head, rx, None);
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
    cmd.start_mgmt(link, head, rx, own);
    let other = match found {
        Ok(FoundTask::Sibling(hold)) => Some(hold),
        Ok(FoundTask::NoSibling) => None,
        // At once, if there is no table to wait for.
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

/// Where the command that an ABORT TASK names was found.
enum FoundTask {
    /// It was aborted before the engine heard of it.
    Aborted,
    /// On another channel of the nexus, which is kept from being torn down.
    Sibling(Hold),
    /// On no other channel.
    NoSibling,
}

/// Looks for a SCSI command with this tag on all channels of the nexus of `channel` that were let in
/// as it was. A command of the channel itself comes first.
///
/// # Errors
///
/// `ENOMEM`.
fn find_task(channel: &Arc<Channel>, tag: u64, wait: &TableWait<Channel>) -> Result<FoundTask> {
    if channel.abort_table(tag, wait)? {
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

/// Aborts the SCSI commands of a logical unit that the engine does not know yet, on all channels of
/// the nexus of `channel` that were let in as it was, for `wait`. (To others the number may mean
/// another logical unit.)
///
/// # Errors
///
/// `ENOMEM`.
fn abort_tables(channel: &Arc<Channel>, lun: u64, wait: &TableWait<Channel>) -> Result {
    list::look(|channels| {
        let mut of_nexus = channels.iter().filter(|other| other.same_luns(channel));
        of_nexus.try_for_each(|other| other.abort_tables(lun, wait))
    })
}

/// Whether the function ends all commands of a logical unit, if the engine has it.
fn resets(function: TmFunction) -> bool {
    match function {
        TmFunction::LunReset => true,
        TmFunction::AbortTaskSet | TmFunction::ClearTaskSet => Active::HAS_TASK_SETS,
        _ => false,
    }
}
