// SPDX-License-Identifier: GPL-2.0
//! Tests of `srp/machine/bounds.rs`.

use crate::srp::machine::bounds::*;

const MOST: Channels = Channels {
    nexus: 2,
    entry: 3,
    port: 5,
    unconfirmed: 1,
};

fn there(nexus: u32, entry: u32, port: u32, unconfirmed: u32) -> Channels {
    Channels {
        nexus,
        entry,
        port,
        unconfirmed,
    }
}

#[test]
fn each_bound() {
    assert_eq!(MOST.reached(&Channels::default()), None);
    for (there, bound) in [
        (there(1, 2, 4, 0), None),
        (there(2, 2, 4, 0), Some(Bound::Nexus)),
        (there(1, 3, 4, 0), Some(Bound::Entry)),
        (there(1, 2, 5, 0), Some(Bound::Port)),
        (there(1, 2, 4, 1), Some(Bound::Unconfirmed)),
        (there(9, 9, 9, 9), Some(Bound::Unconfirmed)),
        (there(9, 9, 9, 0), Some(Bound::Nexus)),
    ] {
        assert_eq!(MOST.reached(&there), bound, "{there:?}");
    }
}

#[test]
fn zero_is_no_bound() {
    let most = u32::MAX;
    assert_eq!(
        Channels::default().reached(&there(most, most, most, most)),
        None
    );
}

#[test]
fn counts() {
    let mut found = Channels::default();
    found.count(true, true, true, false);
    found.count(false, true, true, true);
    found.count(false, false, true, false);
    found.count(false, false, false, false);
    assert_eq!(found, there(1, 2, 3, 1));
    let mut full = there(u32::MAX, 0, 0, 0);
    full.count(true, false, false, false);
    assert_eq!(full.nexus, u32::MAX);
}

#[test]
fn the_log_names_the_parameter() {
    for (bound, parameter) in [
        (Bound::Nexus, "max_channels_per_nexus"),
        (Bound::Entry, "max_channels_per_entry"),
        (Bound::Port, "max_channels_per_port"),
        (Bound::Unconfirmed, "max_unconfirmed_logins"),
    ] {
        assert!(bound.text().ends_with(parameter));
    }
}
