// SPDX-License-Identifier: GPL-2.0
//! What the fuzzer starts from: the vectors of the host tests, taken from their source, so that
//! there is one copy of each, and some sequences of events.

use crate::srp::wire::dm::{
    method,
    Header,
    DATA_SIZE, //
};

/// Sources of the host tests whose vectors a target starts from.
const SOURCES: &[(&str, &[&str])] = &[
    (
        "login",
        &[
            include_str!("../../host/src/tests/login.rs"),
            include_str!("../../host/src/tests/dm.rs"),
        ],
    ),
    (
        "command",
        &[
            include_str!("../../host/src/tests/cmd.rs"),
            include_str!("../../host/src/tests/desc.rs"),
        ],
    ),
    (
        "iu",
        &[
            include_str!("../../host/src/tests/cmd.rs"),
            include_str!("../../host/src/tests/tmf.rs"),
            include_str!("../../host/src/tests/ctrl.rs"),
        ],
    ),
    (
        "response",
        &[
            include_str!("../../host/src/tests/rsp.rs"),
            include_str!("../../host/src/tests/ctrl.rs"),
        ],
    ),
];

/// Names of access control entries in every form.
const NAMES: &[&str] = &[
    "0002:c903:0005:f34b",
    "0x00000000000000000002c9030005f34b",
    "fe800000000000005054000000000002",
    "10.9.0.2",
    "fd09::2",
    "::ffff:10.9.0.2",
    "a port id and v6: 32 bytes or so",
];

/// Usual lives: of a channel, of a write and a read, of a credit, of a slot.
const EVENTS: &[&[u8]] = &[
    &[0x44, 0, 0, 0, 4, 0, 6, 0, 7, 0, 8],
    &[0x44, 1, 0, 1, 2, 1, 3, 1, 5, 1, 6, 1, 10],
    &[0x44, 1, 1, 1, 9, 1, 5, 1, 10],
    &[0x44, 0x81, 0, 0x81, 1, 0x81, 2, 0x81, 8],
    &[0x44, 2, 0, 6, 1, 10, 0, 14, 1],
    &[0x44, 3, 2, 11, 0, 7, 2, 15, 0, 19, 0],
];

/// What `target` starts from.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let sources = SOURCES.iter().filter(|(name, _)| *name == target);
    let mut seeds: Vec<Vec<u8>> = sources
        .flat_map(|(_, texts)| texts.iter())
        .flat_map(|text| vectors(text))
        .collect();
    match target {
        "login" => seeds.extend(management()),
        "name" => seeds.extend(NAMES.iter().map(|name| name.as_bytes().to_vec())),
        "machines" => seeds.extend(EVENTS.iter().map(|events| events.to_vec())),
        _ => {}
    }
    seeds
}

/// A request for each attribute of device management.
fn management() -> impl Iterator<Item = Vec<u8>> {
    let queries = [(1, 0), (0x10, 0), (0x11, 1), (0x12, 0x0001_0000)];
    queries
        .into_iter()
        .map(|(attr_id, attr_mod)| Header::request(method::GET, 1, attr_id, attr_mod))
        .map(|header| header.emit([0; DATA_SIZE]).to_vec())
}

/// The bytes of every `hex("...")` in the source of a test; `//` begins a comment.
fn vectors(source: &str) -> Vec<Vec<u8>> {
    let literals = source.split("hex(").skip(1);
    let quoted = literals.filter_map(|rest| {
        let text = rest.trim_start().strip_prefix('"')?;
        text.split('"').next()
    });
    quoted
        .filter_map(|text| {
            let lines = text.lines().filter_map(|line| line.split("//").next());
            let digits: Option<Vec<u8>> = lines
                .flat_map(str::chars)
                .filter(|c| !c.is_whitespace())
                .map(|c| c.to_digit(16).map(|d| d as u8))
                .collect();
            let digits = digits?;
            let bytes = digits.chunks_exact(2).map(|pair| (pair[0] << 4) | pair[1]);
            Some(bytes.collect())
        })
        .collect()
}
