// SPDX-License-Identifier: GPL-2.0
//! State machines, accounting and rules: typed values in, decisions out.
//!
//! Not here: bytes ([`super::wire`]), and the execution of a decision (the driver).

#[allow(
    dead_code,
    reason = "not every engine has entries that are matched here"
)]
pub(crate) mod access;
pub(crate) mod bounds;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod credit;
#[allow(
    dead_code,
    reason = "not every engine has sessions that channels share"
)]
pub(crate) mod members;
pub(crate) mod nexus;
pub(crate) mod notice;
#[allow(
    dead_code,
    reason = "not every engine has to be kept from commands in this order"
)]
pub(crate) mod order;
pub(crate) mod ports;
pub(crate) mod sendq;
pub(crate) mod stats;
pub(crate) mod watch;
