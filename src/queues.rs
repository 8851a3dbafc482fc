// SPDX-License-Identifier: GPL-2.0

//! The two work queues of the module.
//!
//! C callbacks that carry no context begin work on them; hence they are module-wide.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::sync::{
    global::global_mutex,
    workqueue::Queue, //
};

/// Both queues.
struct Queues {
    /// For tear-down, which waits.
    tear_down: Arc<Queue>,
    /// For what tear-down waits for.
    retry: Arc<Queue>,
}

global_mutex! {
    static QUEUES: Option<Queues> = None;
    init = init;
}

/// Makes the queues; returns that for retries. Called once, after [`init`]. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn start() -> Result<Arc<Queue>> {
    let tear_down = Arc::new(Queue::new(c"ib_srpt")?, GFP_KERNEL)?;
    let retry = Arc::new(Queue::new(c"ib_srpt_retry")?, GFP_KERNEL)?;
    *QUEUES.lock() = Some(Queues {
        tear_down,
        retry: retry.clone(),
    });
    Ok(retry)
}

/// Waits until the work on both queues was done, and lets go of them. Nothing may begin work any more.
/// Sleeps.
pub(crate) fn stop() {
    for queue in [tear_down(), retry()].into_iter().flatten() {
        queue.flush();
    }
    let old = QUEUES.lock().take();
    drop(old);
}

/// The queue for tear-down.
pub(crate) fn tear_down() -> Option<Arc<Queue>> {
    (*QUEUES.lock())
        .as_ref()
        .map(|queues| queues.tear_down.clone())
}

/// The queue for retries of commands. Tear-down waits for commands, so they do not share one.
pub(crate) fn retry() -> Option<Arc<Queue>> {
    (*QUEUES.lock()).as_ref().map(|queues| queues.retry.clone())
}
