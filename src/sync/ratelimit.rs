// SPDX-License-Identifier: GPL-2.0

//! Rate limit for log lines that a peer can cause.
//!
//! Not here: the state with the limit (`shims.c`), and the log lines (the callers).

use crate::bindings;

/// Returns whether one more log line may be printed now. Any context.
///
/// C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h), `__ratelimit` on a
/// state of this module: 20 lines in 5 seconds.
pub(crate) fn ok() -> bool {
    // SAFETY: The shim has no preconditions: its state is static and initialised.
    unsafe { bindings::srpt_ratelimit() }
}
