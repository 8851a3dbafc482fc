// SPDX-License-Identifier: GPL-2.0
//! Host-side build and tests of `src/srp`, the protocol layer of the SRP target driver.
//!
//! The files are the very ones the kernel module is built from. Without `cfg(test)` this crate is
//! `no_std`, so that a use of `std` in the protocol layer fails to build here as it does there.
//!
//! Run from the top of the repository:
//!
//! ```text
//! CARGO_TARGET_DIR=build/host cargo test --locked
//! ```
//!
//! `PROPTEST_CASES` changes the number of random cases per property.
#![cfg_attr(not(test), no_std)]

#[path = "../../../src/srp/mod.rs"]
mod srp;

#[cfg(test)]
mod tests;
