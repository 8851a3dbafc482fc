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

use crate::{bench::Bench, dest::Dest, verbs::Fallible};

/// What a scenario needs besides a target that lets it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// An administrator.
    Admin,
    /// A destination of the RDMA/CM.
    RdmaCm,
    /// A destination of the IB/CM.
    IbCm,
    /// Private data with a first byte that is not zero.
    FirstByte,
}

impl Needs {
    /// Says why a scenario that needs this cannot run here, if so.
    pub(crate) fn missing(self, bench: &Bench) -> Option<&'static str> {
        let ib = matches!(bench.dest, Dest::Ib(_));
        let (has, why) = match self {
            Self::Nothing => return None,
            Self::Admin => (bench.has_admin, "needs --admin"),
            Self::RdmaCm => (!ib, "about the RDMA/CM; this is the IB/CM"),
            Self::IbCm => (ib, "about the IB/CM; this is the RDMA/CM"),
            // cma_format_hdr() writes the version of a header that is not there.
            Self::FirstByte => (
                !ib,
                "the kernel's rdma_cm zeroes the first byte of the IB/CM's private data",
            ),
        };
        (!has).then_some(why)
    }
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

impl Scenario {
    /// The same, of a scenario that needs something special.
    const fn needing(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
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
    row(name, says, expected, run).needing(Needs::Admin)
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
