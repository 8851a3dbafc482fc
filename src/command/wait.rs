// SPDX-License-Identifier: GPL-2.0

//! Deferred task management functions: a function is submitted to the engine when the commands have
//! ended that it aborted while their descriptor tables were being fetched.
//!
//! Not here: which commands these are ([`crate::channel::task_mgmt`]).

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
        RxError,
        RxMgmt, //
    },
    link::Hold,
    srp::wire::{
        consts::RspCode,
        tmf::TmFunction, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// A task management function that is deferred.
struct Pending<O: Pool> {
    cmd: Arc<Command<O>>,
    mgmt: RxMgmt,
    /// The function is answered with FAILED instead of being submitted.
    failed: Atomic<bool>,
    /// Keeps tear-down waiting until the function is submitted.
    hold: Hold<O>,
}

/// Reference to a deferred task management function; the last drop submits it. Dropped in process
/// context, without a lock held.
pub(crate) struct TableWait<O: Pool>(Option<Arc<Pending<O>>>);

impl<O: Pool> TableWait<O> {
    /// Returns the first reference.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(cmd: &Arc<Command<O>>, mgmt: RxMgmt) -> Result<Self> {
        let pending = Pending {
            cmd: cmd.clone(),
            mgmt,
            failed: Atomic::new(false),
            hold: Hold::new(&cmd.link().owner),
        };
        Ok(Self(Some(Arc::new(pending, GFP_KERNEL)?)))
    }

    /// Returns another reference, for a command whose table is being fetched.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// Drops the reference and marks the function failed; the last drop answers it.
    pub(crate) fn fail(self) {
        if let Some(pending) = &self.0 {
            pending.failed.store(true, Relaxed);
        }
    }

    /// Drops the only reference without submitting: the caller submits the function.
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
                // The only task it names has ended.
                TmFunction::AbortTask => {
                    Command::answer(cmd, LocalAnswer::Mgmt(RspCode::Complete));
                }
                _ => hand_over(cmd, pending.hold.owner().session(), &pending.mgmt),
            }
        }
    }
}

/// Submits a function to the engine, or responds if the engine does not take it.
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
