// SPDX-License-Identifier: GPL-2.0
//! Tests of the rules by which a port that comes back finds its configuration.

use crate::srp::machine::ports::*;
use proptest::prelude::*;

fn gid(last: u8) -> Gid {
    let mut gid = [
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 0,
    ];
    gid[15] = last;
    gid
}

fn place(node_guid: u64) -> Place {
    Place {
        node_guid,
        number: 1,
    }
}

/// An absent port with a configuration.
fn absent(at: u64, last: u8) -> Known {
    Known {
        gid: gid(last),
        place: place(at),
        attached: false,
        configured_as: Some(gid(last)),
    }
}

/// A port that is there.
fn present(at: u64, last: u8) -> Known {
    Known {
        attached: true,
        ..absent(at, last)
    }
}

fn returning(known: &[Known], at: Place, gid: Gid) -> Option<usize> {
    find_returning(known.iter().copied(), at, gid)
}

fn renamed(known: &[Known], current: Known, gid: Gid) -> Option<usize> {
    find_renamed(known.iter().copied(), current, gid)
}

#[test]
fn the_same_again() {
    let known = [present(1, 1), absent(2, 2), absent(3, 3)];
    assert_eq!(returning(&known, place(3), gid(3)), Some(2));
    assert_eq!(returning(&known, place(4), gid(4)), None);
    assert_eq!(returning(&[], place(3), gid(3)), None);
}

#[test]
fn another_address_in_the_same_place() {
    let known = [absent(2, 2), absent(3, 3)];
    assert_eq!(returning(&known, place(3), gid(9)), Some(1));
    // The second port of the HCA is not the first.
    let second = Place {
        node_guid: 3,
        number: 2,
    };
    assert_eq!(returning(&known, second, gid(9)), None);
}

#[test]
fn the_name_of_its_directory() {
    // Configured as 3; its HCA then had another GID, and was in another place.
    let renamed_to_7 = Known {
        gid: gid(7),
        place: place(7),
        ..absent(3, 3)
    };
    let known = [absent(2, 2), renamed_to_7];
    assert_eq!(returning(&known, place(3), gid(3)), Some(1));
    assert_eq!(returning(&known, place(9), gid(7)), Some(1));
    assert_eq!(returning(&known, place(7), gid(9)), Some(1));
    let blank = Known {
        configured_as: None,
        ..present(9, 9)
    };
    assert_eq!(renamed(&known, blank, gid(3)), Some(1));
    assert_eq!(renamed(&known, blank, gid(7)), Some(1));
    // One that is configured by this name is better than one that last had it.
    let known = [renamed_to_7, absent(8, 7)];
    assert_eq!(returning(&known, place(7), gid(7)), Some(1));
}

#[test]
fn the_same_address_in_another_place() {
    let known = [absent(2, 2), absent(3, 3)];
    assert_eq!(returning(&known, place(9), gid(3)), Some(1));
    // Two that have swapped their addresses: the name counts.
    assert_eq!(returning(&known, place(2), gid(3)), Some(1));
}

#[test]
fn no_address_yet() {
    let known = [absent(2, 2), absent(3, 3)];
    assert_eq!(returning(&known, place(3), NO_GID), Some(1));
    // Two ports that never had one are not the same.
    let nameless = [Known {
        gid: NO_GID,
        ..absent(2, 2)
    }];
    assert_eq!(returning(&nameless, place(9), NO_GID), None);
}

#[test]
fn no_node_guid() {
    let known = [absent(0, 2)];
    assert_eq!(returning(&known, place(0), gid(9)), None);
    assert_eq!(returning(&known, place(0), gid(2)), Some(0));
}

#[test]
fn what_is_there_is_not_taken_away() {
    // Two software HCAs on one network device have the same names.
    let known = [present(1, 1)];
    assert_eq!(returning(&known, place(1), gid(1)), None);
    let blank = Known {
        configured_as: None,
        ..present(2, 2)
    };
    assert_eq!(renamed(&known, blank, gid(1)), None);
}

#[test]
fn an_address_that_comes_late() {
    let nameless = Known {
        gid: NO_GID,
        configured_as: None,
        ..present(9, 0)
    };
    let known = [nameless, absent(2, 2), absent(3, 3)];
    assert_eq!(renamed(&known, nameless, gid(3)), Some(2));
    assert_eq!(renamed(&known, nameless, gid(4)), None);
    assert_eq!(renamed(&known, nameless, NO_GID), None);
}

#[test]
fn another_address_while_in_use() {
    let used = present(9, 9);
    let known = [used, absent(3, 3)];
    // Its directories stay with it.
    assert_eq!(renamed(&known, used, gid(3)), None);
    let blank = Known {
        configured_as: None,
        ..used
    };
    assert_eq!(renamed(&[blank, absent(3, 3)], blank, gid(3)), Some(1));
}

#[test]
fn needed() {
    assert!(present(1, 1).is_needed());
    assert!(absent(1, 1).is_needed());
    let gone = Known {
        configured_as: None,
        ..absent(1, 1)
    };
    assert!(!gone.is_needed());
}

proptest! {
    /// Whatever is known: only an absent port is taken, and only for a name or its place.
    #[test]
    fn never_another_port(
        ports in prop::collection::vec(
            (0u64..4, 0u8..4, any::<bool>(), prop::option::of(1u8..4)), 0..8),
        at in 0u64..4,
        last in 0u8..5,
        configured: bool,
    ) {
        let ports: Vec<Known> = ports
            .into_iter()
            .map(|(at, last, attached, name)| Known {
                gid: if last == 0 { NO_GID } else { gid(last) },
                place: place(at),
                attached,
                configured_as: name.map(gid),
            })
            .collect();
        let new = if last == 4 { NO_GID } else { gid(last) };
        let named = |port: Known| new != NO_GID && (port.gid == new || port.configured_as == Some(new));
        if let Some(index) = returning(&ports, place(at), new) {
            let found = ports[index];
            prop_assert!(!found.attached);
            prop_assert!(named(found) || (at != 0 && found.place == place(at)));
        }
        let current = Known { configured_as: configured.then(|| gid(9)), ..present(at, 9) };
        if let Some(index) = renamed(&ports, current, new) {
            prop_assert!(!configured && !ports[index].attached && named(ports[index]));
        }
    }
}
