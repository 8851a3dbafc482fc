// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of the kernel's RDMA verbs, of both connection managers and of management
//! datagrams.
//!
//! One file per concept of the C API. All `unsafe` code that RDMA requires is here; users of these
//! wrappers need none. Not here: everything about SRP.
//!
//! # Ownership
//!
//! - Every object of a device holds a [`device::Device`]; [`client`] delays the removal of the
//!   device until the last of these is dropped.
//! - A posted item belongs to the hardware: it is an `Arc` (sends) or a box (receives) that was
//!   turned into a raw pointer; its completion turns the pointer back. The item also keeps its
//!   queue pair (of a shared receive queue: the queue pairs keep the queue), so that nothing it
//!   refers to is freed before.
//! - A [`qp::QueuePair`] is destroyed only after it was drained, whichever task drops it.
//!
//! # Context
//!
//! Completions, CM events and device events are handled in process context, events of a queue pair
//! in any context.

use kernel::prelude::*;

pub(crate) mod buf;
mod callback;
pub(crate) mod client;
pub(crate) mod cm;
pub(crate) mod cq;
pub(crate) mod cqe;
pub(crate) mod device;
mod dma;
mod entry;
pub(crate) mod event;
mod fill;
mod id;
pub(crate) mod mad;
mod memory;
pub(crate) mod pd;
pub(crate) mod qp;
pub(crate) mod rw;
pub(crate) mod sg;
pub(crate) mod wc;

/// Name of this module in the RDMA core's lists of objects (`rdma resource show`).
const CALLER: &CStr = c"ib_srpt";
