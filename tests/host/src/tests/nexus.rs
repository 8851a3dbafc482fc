// SPDX-License-Identifier: GPL-2.0
//! Tests of `srp/machine/nexus.rs`.

use crate::srp::{
    machine::nexus::Nexus,
    wire::ident::{
        Guid,
        PortId, //
    }, //
};

fn nexus(guid: u64, entry: &str, peer: u8) -> Nexus<&str, u8> {
    Nexus {
        initiator_port: PortId::from_halves(Guid(1), Guid(guid)),
        target_port: PortId::from_halves(Guid(7), Guid(7)),
        entry,
        peer,
    }
}

#[test]
fn all_parts_count() {
    let one = nexus(5, "a", 2);
    assert!(one.is_same(&one));
    // A host with several addresses is one initiator, if one entry says so.
    assert!(one.is_same(&nexus(5, "a", 3)));
    // Another entry makes another initiator, from whatever address.
    assert!(!one.is_same(&nexus(5, "b", 3)));
    assert!(!one.is_same(&nexus(5, "b", 2)));
    assert!(!one.is_same(&nexus(6, "a", 2)));
    let other_target = PortId::from_halves(Guid(7), Guid(8));
    assert!(!one.is_same(&Nexus {
        target_port: other_target,
        ..one
    }));
}

#[test]
fn without_guid_the_address_counts() {
    let one = nexus(0, "a", 2);
    assert!(one.is_same(&one) && !one.is_same(&nexus(0, "b", 2)));
    assert!(!one.is_same(&nexus(0, "a", 3)));
}

#[test]
fn channels_fall_into_nexuses() {
    let all: Vec<_> = [0, 5]
        .into_iter()
        .flat_map(|guid| ["a", "b"].map(|entry| (guid, entry)))
        .flat_map(|(guid, entry)| [2, 3].map(|peer| nexus(guid, entry, peer)))
        .collect();
    for a in &all {
        for b in &all {
            assert_eq!(a.is_same(b), b.is_same(a));
            for c in &all {
                assert!(!(a.is_same(b) && b.is_same(c)) || a.is_same(c));
            }
        }
    }
}
