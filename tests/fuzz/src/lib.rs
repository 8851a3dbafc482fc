// SPDX-License-Identifier: GPL-2.0
//! What the fuzzer calls: one function per target, each with the bytes it made up.
//!
//! The files of `src/srp` are the very ones of the kernel module. A target fails by panicking, which
//! in the kernel would be a `BUG`; so do the checks here of what must hold for every input. Parsers
//! are in [`wire`], the state machines in [`machines()`]. How it is built and run is in `run`.

#[path = "../../../src/srp/mod.rs"]
#[allow(dead_code, reason = "the whole layer, whatever is used here")]
mod srp;

mod machines;
mod seeds;
mod wire;

pub use machines::machines;
pub use seeds::seeds;
pub use wire::{command, iu, login, name, response};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("login", login),
    ("command", command),
    ("iu", iu),
    ("response", response),
    ("name", name),
    ("machines", machines),
];
