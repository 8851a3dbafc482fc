// SPDX-License-Identifier: GPL-2.0

//! The work queues of the module.
//!
//! They are module-wide, because C callbacks without a context queue work on them.
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
struct Queues {
    /// For tear-down, which waits for work on the other queues.
    tear_down: Arc<Queue>,
    /// For work that tear-down waits for.
    retry: Arc<Queue>,
    /// For the ends of commands, each on a CPU that is chosen.
    completions: Arc<Queue>,
}

global_mutex! {
    static QUEUES: Option<Queues> = None;
    init = init;
}

/// Creates the queues; returns the one for retries. Called once, after [`init`]. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn start() -> Result<Arc<Queue>> {
    let tear_down = Arc::new(Queue::unbound(c"ib_srpt")?, GFP_KERNEL)?;
    let retry = Arc::new(Queue::unbound(c"ib_srpt_retry")?, GFP_KERNEL)?;
    let completions = Arc::new(Queue::per_cpu(c"ib_srpt_done")?, GFP_KERNEL)?;
    *QUEUES.lock() = Some(Queues {
        tear_down,
        retry: retry.clone(),
        completions,
    });
    Ok(retry)
}

/// Waits until the work on all queues has finished, and drops them. No more work may be queued.
/// Sleeps.
pub(crate) fn stop() {
    for queue in [tear_down(), retry(), completions()].into_iter().flatten() {
        queue.flush();
    }
    let old = QUEUES.lock().take();
    drop(old);
}

/// Returns the queue for tear-down; [`None`] before [`start`] and after [`stop`]. May sleep.
pub(crate) fn tear_down() -> Option<Arc<Queue>> {
    get(|queues| &queues.tear_down)
}

/// Returns the queue for work of commands that may wait for other commands; [`None`] as for
/// [`tear_down`]. Tear-down waits for commands, so they do not share a queue. May sleep.
pub(crate) fn retry() -> Option<Arc<Queue>> {
    get(|queues| &queues.retry)
}

/// Returns the queue for the ends of commands; [`None`] as for [`tear_down`]. May sleep.
#[allow(dead_code, reason = "not every engine has one")]
pub(crate) fn completions() -> Option<Arc<Queue>> {
    get(|queues| &queues.completions)
}

fn get(queue: impl FnOnce(&Queues) -> &Arc<Queue>) -> Option<Arc<Queue>> {
    (*QUEUES.lock())
        .as_ref()
        .map(|queues| queue(queues).clone())
}
