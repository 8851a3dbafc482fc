// SPDX-License-Identifier: GPL-2.0
//! What is explored, and how far. One bound per question keeps each small enough.

use crate::{
    peer::Kind::{self, *},
    world::{
        Config,
        End::{self, *},
        Second,
    },
};

/// How a bound is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) cfg: Config,
    pub(crate) how: How,
}

/// See [`Bound`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// Every order in which a thread in the middle of something is interrupted so many times, at
    /// most.
    All { interruptions: u8 },
    /// So many orders at random.
    Random { executions: u64 },
}

/// What the bounds have in common: nothing extraordinary happens.
const PLAIN: Config = Config {
    name: "",
    limit: 1,
    requests: 1,
    kinds: &[],
    listens: true,
    events: 0,
    rdma: 1,
    rdma_slots: 1,
    copies: false,
    faults: 0,
    aborts: 0,
    refusals: false,
    engines: 1,
    slow: false,
    overrun: 0,
    ends: &[Rest],
    connected: true,
    native: false,
    second: Second::None,
    looks: 0,
};

const fn with(name: &'static str, limit: u32, requests: u8, kinds: &'static [Kind]) -> Config {
    Config {
        name,
        limit,
        requests,
        kinds,
        ..PLAIN
    }
}

/// Ways in which a connection that is there ends, or does not before it is at rest.
const ENDS: &[End] = &[Rest, Disconnect, Close, Cut, Fatal, Remove];
/// The same for one that is not there yet.
const EARLY_ENDS: &[End] = &[Rest, Disconnect, Close, Cut, Reject, Unreachable, Remove];
/// Requests of all kinds.
const REQUESTS: &[Kind] = &[Write, Read, Plain, Reset, Invalid, Immediate, Table];

/// Explorations at random. `scale` multiplies the number of executions.
pub(crate) fn random(scale: u64) -> Vec<Bound> {
    let bounds = [
        // A request on its way, and nothing else.
        with("plain", 1, 2, &[Plain]),
        // What can happen to a request.
        Config {
            copies: true,
            requests: 2,
            faults: 1,
            refusals: true,
            engines: 2,
            ends: ENDS,
            kinds: &[Write, Read, Abort, Invalid, Immediate, Table, Logout],
            ..with("request", 1, 2, &[])
        },
        // A connection that comes up, or does not, with requests that overtake its confirmation.
        Config {
            connected: false,
            faults: 1,
            ends: EARLY_ENDS,
            ..with("login", 1, 2, &[Plain, Invalid, Logout])
        },
        Config {
            connected: false,
            looks: 3,
            ends: EARLY_ENDS,
            ..with("early requests", 2, 3, &[Plain])
        },
        // Transfers compete for room in the send queue; posts fail.
        Config {
            engines: 2,
            rdma: 2,
            rdma_slots: 2,
            ..with("data", 2, 4, &[Write, Read])
        },
        Config {
            copies: true,
            faults: 1,
            engines: 2,
            ends: ENDS,
            ..with("data and faults", 2, 3, &[Write, Read])
        },
        // Descriptor tables, and task management functions that end their commands.
        with("tables", 2, 4, &[Table, Abort, Reset]),
        // Answers of the target itself next to those of the engine.
        Config {
            refusals: true,
            engines: 2,
            ..with("answers", 2, 4, &[Plain, Invalid])
        },
        // The engine changes its mind: credits come back without a response to carry them.
        Config {
            copies: true,
            aborts: 3,
            engines: 2,
            ..with("aborts", 1, 3, &[Write, Table])
        },
        Config {
            aborts: 3,
            ..with("credit requests", 1, 4, &[Plain])
        },
        Config {
            aborts: 4,
            engines: 2,
            ..with("two credits", 2, 5, &[Plain])
        },
        // The same with a peer that may take a credit request for a response.
        Config {
            aborts: 3,
            listens: false,
            engines: 2,
            ..with("deaf", 2, 5, &[Plain])
        },
        // The peer sends its last request while the engine is busy with the others.
        Config {
            aborts: 3,
            slow: true,
            ..with("slow engine", 3, 6, &[Plain])
        },
        // Responses that do not complete, next to others.
        Config {
            copies: true,
            engines: 2,
            ..with("copied", 2, 5, &[Plain, Read, Write, Abort])
        },
        Config {
            copies: true,
            aborts: 3,
            ..with("copied and aborted", 1, 4, &[Plain])
        },
        // Requests of the target, and answers to them.
        Config {
            events: 2,
            ends: ENDS,
            ..with("events", 1, 3, &[Plain])
        },
        Config {
            events: 2,
            aborts: 3,
            ..with("notices", 1, 4, &[Plain])
        },
        // Commands that the engine is done with and keeps: requests wait for one.
        Config {
            engines: 2,
            ..with("freed late", 1, 7, &[Plain, Invalid])
        },
        // A peer that is gone and says nothing.
        Config {
            native: true,
            ends: &[Silence, Close],
            ..with("silence", 2, 3, &[Write, Read, Table])
        },
        // A device that completes nothing any more.
        Config {
            copies: true,
            events: 1,
            looks: 4,
            ends: &[Stuck],
            ..with("stuck", 2, 4, &[Plain, Write, Read, Table])
        },
        // Two channels of a nexus: a task is aborted through the other one.
        Config {
            second: Second::Beside,
            ends: &[Rest, Disconnect, Close, Cut],
            ..with("two channels", 1, 2, &[Plain, Table, AbortOther])
        },
        Config {
            second: Second::Beside,
            limit: 2,
            requests: 3,
            ..with("aborts elsewhere", 2, 3, &[Write, Table, AbortOther])
        },
        // A login that ends the channel that is there.
        Config {
            second: Second::Instead,
            ends: EARLY_ENDS,
            ..with("replaced", 1, 2, &[Plain, Table])
        },
        // A peer that breaks the rules.
        Config {
            ends: ENDS,
            ..with("spurious answers", 1, 3, &[Plain, Spurious])
        },
        Config {
            copies: true,
            overrun: 4,
            ends: ENDS,
            engines: 2,
            ..with("rogue", 1, 6, &[Plain, Write, Logout, Garbage])
        },
        // Everything together.
        Config {
            connected: false,
            copies: true,
            listens: true,
            events: 2,
            rdma: 2,
            faults: 1,
            aborts: 2,
            refusals: true,
            engines: 3,
            looks: 3,
            ends: EARLY_ENDS,
            ..with("everything", 3, 8, REQUESTS)
        },
    ];
    let bound = |cfg: Config| {
        // Those of two channels take longer.
        let executions = match cfg.second {
            Second::None => 20_000 * scale,
            Second::Beside | Second::Instead => 10_000 * scale,
        };
        let how = How::Random { executions };
        Bound { cfg, how }
    };
    bounds.into_iter().map(bound).collect()
}

/// Explorations of everything: small.
pub(crate) fn all(large: bool) -> Vec<Bound> {
    let bound = |interruptions, cfg| Bound {
        cfg,
        how: How::All { interruptions },
    };
    let mut bounds = vec![
        bound(2, with("every order of a command", 1, 1, &[Plain])),
        bound(
            1,
            Config {
                copies: true,
                ..with("every order of a copied response", 1, 1, &[Plain])
            },
        ),
        bound(2, with("every order of a write", 1, 1, &[Write])),
        bound(2, with("every order of a read", 1, 1, &[Read])),
        bound(2, with("every order of a table", 1, 1, &[Table])),
        bound(2, with("every order of a function", 1, 1, &[Reset])),
        bound(
            2,
            with("every order of an invalid request", 1, 1, &[Invalid]),
        ),
        bound(2, with("every order of a logout", 1, 1, &[Logout])),
        bound(
            0,
            Config {
                ends: &[Close],
                ..with("every order of a close", 1, 1, &[Plain])
            },
        ),
    ];
    if large {
        bounds.extend([bound(
            0,
            with("every order of two commands", 2, 2, &[Plain, Write]),
        )]);
    }
    bounds
}
