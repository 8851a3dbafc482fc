// SPDX-License-Identifier: GPL-2.0

//! Gaps of the kernel crate in synchronisation and deferred work.
//!
//! Work queues of our own, completions with a time-out, gates for tear-down, static mutexes, rate
//! limiting of log lines. Nothing here knows about RDMA or SRP.

pub(crate) mod completion;
pub(crate) mod gate;
pub(crate) mod global;
pub(crate) mod ratelimit;
pub(crate) mod workqueue;
