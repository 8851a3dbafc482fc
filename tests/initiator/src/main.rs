// SPDX-License-Identifier: GPL-2.0
//! A scripted SRP initiator: it says anything to a target, right or wrong, and looks at what comes
//! back and at what happens to its memory.
//!
//! It runs in the initiator guest of the lab; `tests/guest` drives it. The wire formats are those of
//! the module (`src/srp`), where a scenario does not write the bytes itself.
//!
//! This file is the command line only. Each subcommand is a `fn command()` that describes it and a
//! `fn run()` that does it, in a file of its own.

mod bench;
mod conformance;
mod conn;
mod dest;
mod dm;
mod fuzz;
mod iu;
mod logins;
mod memory;
mod neighbours;
mod scenarios;
mod session;
mod sys;
mod verbs;

/// The protocol layer of the module, the very files.
#[path = "../../../src/srp/mod.rs"]
#[allow(dead_code, reason = "the whole layer, whatever is used here")]
mod srp;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// A subcommand: what describes it, what runs it.
type Subcommand = (fn() -> Command, fn(&ArgMatches) -> ExitCode);

/// All subcommands.
const SUBCOMMANDS: &[Subcommand] = &[
    (conformance::command, conformance::run),
    (dm::command, dm::run),
    (fuzz::command, fuzz::run),
    (logins::command, logins::run),
    (neighbours::command, neighbours::run),
];

fn main() -> ExitCode {
    let commands = SUBCOMMANDS.iter().map(|(command, _)| command());
    let matches = Command::new("initiator")
        .about("A scripted SRP initiator for tests")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(commands)
        .get_matches();
    let found = SUBCOMMANDS.iter().find_map(|(command, run)| {
        let arguments = matches.subcommand_matches(command().get_name())?;
        Some(run(arguments))
    });
    found.unwrap_or(ExitCode::from(2))
}
