// SPDX-License-Identifier: GPL-2.0
//! The generated bindings, and nothing else.
//!
//! Wrappers are in `verbs.rs`, `conn.rs` and, for management datagrams, with their user.
#![allow(
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::as_underscore,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::cast_lossless,
    unsafe_op_in_unsafe_fn,
    missing_docs
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
