// SPDX-License-Identifier: GPL-2.0

//! Task management functions on their way to the engine, and what they wait for before: commands that
//! they have aborted while the descriptor table was being fetched.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
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
        RxError,
        RxMgmt, //
    },
    link::{
        Hold,
        Link, //
    },
    srp::wire::{
        consts::RspCode,
        tmf::TmFunction, //
    }, //
};

/// A function that waits for the tables of commands that it has aborted.
struct Pending<O: Pool> {
    link: Arc<Link<O>>,
    cmd: Arc<Command<O>>,
    mgmt: RxMgmt,
    /// It is not to be carried out.
    failed: Atomic<bool>,
    /// Tear-down does not know of the command meanwhile.
    _hold: Hold<O>,
}

/// A share in a function that is to be carried out when no command it has aborted fetches a table
/// any more: whoever drops the last one does it. To be dropped in process context, without a lock.
pub(crate) struct TableWait<O: Pool>(Option<Arc<Pending<O>>>);

impl<O: Pool> TableWait<O> {
    /// The only share.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(link: &Arc<Link<O>>, cmd: &Arc<Command<O>>, mgmt: RxMgmt) -> Result<Self> {
        let pending = Pending {
            link: link.clone(),
            cmd: cmd.clone(),
            mgmt,
            failed: Atomic::new(false),
            _hold: Hold::new(&link.owner),
        };
        Ok(Self(Some(Arc::new(pending, GFP_KERNEL)?)))
    }

    /// Another share, for a command that is fetching its table.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// Gives the share up: the function has failed, and is answered when the others are gone, too.
    pub(crate) fn fail(self) {
        if let Some(pending) = &self.0 {
            pending.failed.store(true, Relaxed);
        }
    }

    /// Gives the only share up: the function is carried out elsewhere.
    pub(crate) fn cancel(mut self) {
        drop(self.0.take());
    }
}

impl<O: Pool> Drop for TableWait<O> {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take().and_then(Arc::into_unique_or_drop) {
            let cmd = pending.cmd.clone();
            match pending.mgmt.function {
                _ if pending.failed.load(Relaxed) => {
                    Command::answer(cmd, LocalAnswer::Mgmt(RspCode::Failed));
                }
                // The task is gone.
                TmFunction::AbortTask => {
                    Command::answer(cmd, LocalAnswer::Mgmt(RspCode::Complete));
                }
                _ => hand_over(cmd, pending.link.owner.session(), &pending.mgmt),
            }
        }
    }
}

/// Hands a function to the engine.
pub(crate) fn hand_over<O: Pool>(
    cmd: Arc<Command<O>>,
    session: &<Active as Engine>::Session,
    mgmt: &RxMgmt,
) {
    if let Err((error, cmd)) = Active::rx_mgmt_fn(cmd, session, mgmt) {
        let code = match error {
            RxError::UnknownFunction => RspCode::NotSupported,
            _ => RspCode::Failed,
        };
        Command::answer(cmd, LocalAnswer::Mgmt(code));
    }
}
