// SPDX-License-Identifier: GPL-2.0
//! What decides and counts: state machines and rules that know wire formats, and nothing of bytes.
//!
//! Not here: bytes ([`super::wire`]), and what is done about a decision (the driver).

pub(crate) mod access;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod credit;
pub(crate) mod nexus;
pub(crate) mod notice;
pub(crate) mod ports;
pub(crate) mod sendq;
pub(crate) mod stats;
pub(crate) mod watch;
