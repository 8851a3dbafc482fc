// SPDX-License-Identifier: GPL-2.0
//! The scenarios: what is said to the target, and what must come back.
//!
//! A scenario returns what it saw in words, and is right if these are the expected ones. What every
//! session is checked for goes into the words by itself: memory that changed, credits that do not add
//! up, units that are too long. Rows of a group are in a file of their own.

mod commands;
mod credits;
mod descriptors;
mod events;
mod immediate;
mod initiators;
mod login;
mod logout;
mod malformed;
mod order;
mod reservations;
mod solicited;
mod tasks;

use crate::{bench::Bench, verbs::Fallible};

/// What a scenario needs besides a target that lets it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// An administrator.
    Admin,
}

/// One row of the table.
pub(crate) struct Scenario {
    /// Group and name.
    pub(crate) name: &'static str,
    /// What is done, in a line.
    pub(crate) says: &'static str,
    /// What must be seen; one of these.
    pub(crate) expected: &'static [&'static str],
    /// What it needs.
    pub(crate) needs: Needs,
    /// Does it, and returns what was seen.
    pub(crate) run: fn(&Bench) -> Fallible<String>,
}

/// A scenario that needs nothing special.
const fn row(
    name: &'static str,
    says: &'static str,
    expected: &'static [&'static str],
    run: fn(&Bench) -> Fallible<String>,
) -> Scenario {
    Scenario {
        name,
        says,
        expected,
        needs: Needs::Nothing,
        run,
    }
}

/// A scenario that needs an administrator.
const fn admin_row(
    name: &'static str,
    says: &'static str,
    expected: &'static [&'static str],
    run: fn(&Bench) -> Fallible<String>,
) -> Scenario {
    Scenario {
        needs: Needs::Admin,
        ..row(name, says, expected, run)
    }
}

/// All scenarios, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    let groups: [&'static [Scenario]; 13] = [
        login::ROWS,
        commands::ROWS,
        descriptors::ROWS,
        immediate::ROWS,
        tasks::ROWS,
        order::ROWS,
        reservations::ROWS,
        credits::ROWS,
        solicited::ROWS,
        malformed::ROWS,
        logout::ROWS,
        events::ROWS,
        initiators::ROWS,
    ];
    groups.into_iter().flatten()
}

/// What an initiator of the standard sees of a malformed command.
const INVALID: &[&str] = &["code 2 CHECK CONDITION 05/0e/03; works"];

/// The usual good end.
const WORKS: &[&str] = &["works"];

/// The peer loses its connection.
const DISCONNECTED: &[&str] = &["disconnected"];
