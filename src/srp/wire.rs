// SPDX-License-Identifier: GPL-2.0
//! Wire formats: conversion between bytes and typed values, and checks that depend on one value
//! only, such as whether a login satisfies a policy.
//!
//! Not here: anything with a state ([`super::machine`]).

pub(crate) mod cdb;
pub(crate) mod cmd;
pub(crate) mod codec;
pub(crate) mod consts;
pub(crate) mod ctrl;
pub(crate) mod desc;
pub(crate) mod dm;
pub(crate) mod ident;
pub(crate) mod iu;
pub(crate) mod login;
pub(crate) mod rsp;
pub(crate) mod scsi;
pub(crate) mod tmf;
