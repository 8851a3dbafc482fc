// SPDX-License-Identifier: GPL-2.0
//! The SRP protocol layer: wire formats and protocol state machines.
//!
//! Everything here is a pure function of its arguments. There is no allocation, no I/O, no clock,
//! no lock and no kernel type, so the same files are compiled twice: as a module of the kernel
//! driver and as a host crate (`tests/host`) that tests them.
//!
//! Not here: orchestration (locking, posting work requests, calling the SCSI engine). The driver
//! feeds events in and executes the resulting decisions.
//!
//! Conventions:
//!
//! - Bytes become typed values first, and only typed values reach the logic.
//! - Malformed bytes ([`wire::codec::Malformed`], [`wire::desc::DescFault`]) and well-formed bytes
//!   that violate the rules ([`wire::consts::RejectReason`], [`wire::desc::DescViolation`]) have
//!   different error types.
//! - No input from a peer may panic, because a panic is a `BUG()` in the kernel: no indexing, no
//!   `unwrap`, no unchecked arithmetic on wire values.
//! - Tags are opaque to the protocol. They are carried as the `u64` that results from reading the
//!   eight wire bytes in big-endian order and are echoed the same way.
//!
//! Source of the formats: T10 SRP revision 16a as transcribed in `include/scsi/srp.h`, plus the
//! SRP-2 immediate data extension found in the same header. Those of device management are named in
//! [`wire::dm`].
#![forbid(unsafe_code)]

pub(crate) mod machine;
#[allow(
    dead_code,
    reason = "complete in both directions: the target does not use the initiator's half of each \
              codec, the tests use all of it"
)]
pub(crate) mod wire;
