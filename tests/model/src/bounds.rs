// SPDX-License-Identifier: GPL-2.0
//! How far is explored.
//!
//! Requests come in any number: what is bounded is how many there can be at once (the request
//! limit), which kinds of them come together, and how many faults happen. One bound per question
//! keeps each small enough to be finished.

use crate::{
    mutants::Mutant,
    state::{
        Kind::{self, *},
        MAX,
    },
    world::Config,
};

/// What the bounds have in common: nothing extraordinary happens.
const PLAIN: Config = Config {
    name: "",
    limit: 2,
    commands: 2,
    notices: false,
    listens: true,
    events: false,
    kinds: &[],
    sendq: 3,
    rdma_slots: 1,
    faults: 0,
    aborts: 0,
    refusals: false,
    overrun: false,
    ends: true,
    logouts: false,
    in_turn: false,
    connected: true,
    mutant: Mutant::None,
};

const fn with(name: &'static str, limit: usize, kinds: &'static [Kind]) -> Config {
    assert!(limit <= MAX);
    Config {
        name,
        limit,
        commands: limit,
        kinds,
        sendq: limit as u32 + 1,
        ..PLAIN
    }
}

/// The same with credit requests, for the answers to which there is room.
const fn with_notices(name: &'static str, limit: usize, kinds: &'static [Kind]) -> Config {
    assert!(limit < MAX);
    Config {
        commands: limit + 1,
        sendq: limit as u32 + 2,
        notices: true,
        ..with(name, limit, kinds)
    }
}

/// Every bound; the `large` ones take minutes.
pub(crate) fn all(large: bool) -> Vec<Config> {
    let mut bounds = small();
    if large {
        bounds.extend(more());
    }
    bounds
}

/// Bounds that are explored in seconds.
pub(crate) fn small() -> Vec<Config> {
    vec![
        // What can happen to one request.
        Config {
            faults: 1,
            refusals: true,
            overrun: true,
            logouts: true,
            ..with(
                "request",
                1,
                &[
                    Write, Read, Mgmt, Invalid, Immediate, Table, Logout, Garbage,
                ],
            )
        },
        // A connection that comes up, or does not, with requests that overtake its confirmation.
        Config {
            connected: false,
            faults: 1,
            logouts: true,
            ..with("login", 1, &[Plain, Invalid, Logout, Garbage])
        },
        Config {
            connected: false,
            ..with("early requests", 2, &[Plain])
        },
        // Two transfers compete for room in the send queue; posts fail.
        Config {
            faults: 1,
            ..with("data", 2, &[Write, Read])
        },
        with("tables", 2, &[Table]),
        // Answers of the target itself next to those of the engine.
        Config {
            refusals: true,
            logouts: true,
            ..with("answers", 2, &[Plain, Invalid])
        },
        // The engine changes its mind: credits come back without a response to carry them.
        Config {
            aborts: MAX,
            ends: false,
            ..with_notices("aborts", 1, &[Write, Table])
        },
        // Requests of the target, answers to them, and answers to nothing.
        Config {
            aborts: MAX,
            ..with_notices("credit requests", 1, &[Plain])
        },
        // Several credits come back at a time.
        Config {
            aborts: MAX,
            ends: false,
            ..with_notices("two credits", 2, &[Plain])
        },
        // The same with a peer that may not listen to credit requests: responses carry what they can.
        Config {
            listens: false,
            aborts: 1,
            ends: false,
            in_turn: true,
            ..with_notices("last resort", 2, &[Plain])
        },
        Config {
            logouts: true,
            ..with_notices("spurious answers", 1, &[Plain, CreditRsp])
        },
        Config {
            events: true,
            ..with_notices("events", 1, &[Plain])
        },
        // A peer that breaks the rules; for a request without credit there has to be a buffer.
        Config {
            overrun: true,
            logouts: true,
            ..with_notices("rogue", 1, &[Plain, Logout, Garbage])
        },
    ]
}

/// Bounds that take minutes, and gigabytes of memory.
fn more() -> Vec<Config> {
    vec![
        Config {
            faults: 1,
            refusals: true,
            ..with("two requests", 2, &[Write, Read, Mgmt, Invalid])
        },
        Config {
            connected: false,
            faults: 1,
            overrun: true,
            ..with("two at login", 2, &[Plain, Invalid, Logout, Garbage])
        },
        with("three requests", 3, &[Write]),
        Config {
            aborts: MAX,
            ..with_notices("aborts at the end", 1, &[Write])
        },
        Config {
            aborts: MAX,
            faults: 1,
            ..with_notices("tables and aborts", 1, &[Write, Table])
        },
        Config {
            aborts: MAX,
            ..with_notices("two aborts", 2, &[Plain])
        },
        Config {
            aborts: MAX,
            events: true,
            commands: 3,
            sendq: 4,
            ..with_notices("credits and events", 1, &[Plain])
        },
        // The peer sends its last request while the engine is busy with the others.
        Config {
            aborts: MAX,
            ends: false,
            in_turn: true,
            ..with_notices("slow engine", 3, &[Plain])
        },
    ]
}
