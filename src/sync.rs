// SPDX-License-Identifier: GPL-2.0

//! Synchronisation and deferred work that the kernel crate lacks.
//!
//! Owned work queues, completions with a time-out, gates for tear-down, static mutexes, atomic
//! variables without calls, atomic states, rate limiting of log lines. Not here: anything that
//! depends on RDMA or SRP; the module's own work queues ([`crate::queues`]).

pub(crate) mod atomic;
pub(crate) mod completion;
pub(crate) mod gate;
pub(crate) mod global;
pub(crate) mod ratelimit;
pub(crate) mod state;
pub(crate) mod workqueue;
