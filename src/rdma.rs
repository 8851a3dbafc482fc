// SPDX-License-Identifier: GPL-2.0

//! A safe layer over the kernel's RDMA verbs and the RDMA connection manager.
//!
//! One file per concept of the C API. All `unsafe` that RDMA needs ends here; users of this layer
//! have none. What SRP makes of it is elsewhere.
//!
//! # Ownership
//!
//! - Everything that belongs to a device holds a [`device::Device`]; [`client`] does not let the
//!   device go before the last of them is dropped.
//! - What is posted belongs to the hardware: a posted item is an `Arc` (sends) or a box (receives)
//!   that was turned into a raw pointer and comes back through its completion. It also holds its
//!   queue pair, so nothing it needs can go away.
//! - A [`qp::QueuePair`] is destroyed only after it was drained, whichever task drops it.
//!
//! # Context
//!
//! Completions, CM events and events of a device arrive in process context. Events of a queue pair
//! arrive in any context.

#![allow(dead_code, reason = "wraps what verbs offer, whatever of it is in use")]

use kernel::prelude::*;

pub(crate) mod buf;
pub(crate) mod client;
pub(crate) mod cm;
pub(crate) mod cq;
pub(crate) mod cqe;
pub(crate) mod device;
mod entry;
pub(crate) mod event;
mod id;
pub(crate) mod mad;
pub(crate) mod pd;
pub(crate) mod qp;
pub(crate) mod rw;
pub(crate) mod sg;
pub(crate) mod wc;

/// The name under which the RDMA core lists our objects (`rdma resource show`).
const CALLER: &CStr = c"ib_srpt";
