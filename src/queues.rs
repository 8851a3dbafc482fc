// SPDX-License-Identifier: GPL-2.0

//! The work queues of the module.
//!
//! They are module-wide: work of one channel waits for work of others. A channel and a command take
//! a reference when they are made, so that neither their end nor a callback can miss them.
//!
//! Not here: the work itself, and the binding of work queues ([`crate::sync::workqueue`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::sync::{
    global::global_mutex,
    workqueue::Queue, //
};

/// All queues.
pub(crate) struct Queues {
    /// For tear-down, which waits for work on the other queues, and on the engine's.
    pub(crate) tear_down: Queue,
    /// For work of channels and commands that may wait for other commands. Tear-down waits for
    /// commands, so they do not share a queue.
    pub(crate) retry: Arc<Queue>,
    /// For the ends of commands, each on a CPU that is chosen.
    #[allow(dead_code, reason = "not every engine has one")]
    pub(crate) completions: Queue,
}

global_mutex! {
    static QUEUES: Option<Arc<Queues>> = None;
    init = init;
}

/// Creates the queues; returns the one for retries. Called once, after [`init`]. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn start() -> Result<Arc<Queue>> {
    let retry = Arc::new(Queue::unbound(c"ib_srpt_retry")?, GFP_KERNEL)?;
    let queues = Queues {
        tear_down: Queue::waiting(c"ib_srpt")?,
        retry: retry.clone(),
        completions: Queue::per_cpu(c"ib_srpt_done")?,
    };
    *QUEUES.lock() = Some(Arc::new(queues, GFP_KERNEL)?);
    Ok(retry)
}

/// Waits until the work on all queues has finished, and drops them. No more work may be queued.
/// Sleeps.
pub(crate) fn stop() {
    let Some(queues) = QUEUES.lock().take() else {
        return;
    };
    for queue in [&queues.tear_down, &queues.retry, &queues.completions] {
        queue.flush();
    }
}

/// Returns the queues. May sleep.
///
/// # Errors
///
/// `ENODEV` before [`start`] and after [`stop`].
pub(crate) fn get() -> Result<Arc<Queues>> {
    QUEUES.lock().clone().ok_or(ENODEV)
}
