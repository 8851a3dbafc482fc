// SPDX-License-Identifier: GPL-2.0
//! Tests of the watch over the peer.

use crate::srp::machine::watch::*;
use proptest::prelude::*;

/// A new watch after the look that takes note of the login.
fn watched() -> Watch {
    let mut watch = Watch::new();
    assert_eq!(watch.look(), Look::Fine);
    watch
}

#[test]
fn a_peer_that_talks_is_left_alone() {
    let mut watch = watched();
    for _ in 0..100 {
        watch.heard();
        assert_eq!(watch.look(), Look::Fine);
    }
}

#[test]
fn a_silent_peer_is_probed_then_given_up() {
    let mut watch = watched();
    let mut looks = 0;
    loop {
        looks += 1;
        match watch.look() {
            Look::Fine => assert!(looks != PROBE_AFTER && looks < GIVE_UP_AFTER),
            Look::Probe => {
                assert_eq!(looks, PROBE_AFTER);
                assert!(watch.probe_begun());
                assert!(!watch.probe_begun(), "one at a time");
            }
            Look::GiveUp => break,
        }
    }
    assert_eq!(looks, GIVE_UP_AFTER);
    assert_eq!(watch.look(), Look::GiveUp, "it stays so");
}

#[test]
fn a_probe_that_is_acknowledged_is_a_sign_of_life() {
    let mut watch = watched();
    for _ in 0..50 {
        for _ in 1..PROBE_AFTER {
            assert_eq!(watch.look(), Look::Fine);
        }
        assert_eq!(watch.look(), Look::Probe);
        assert!(watch.probe_begun());
        watch.probe_ended(true);
        assert_eq!(watch.look(), Look::Fine);
    }
}

#[test]
fn a_probe_that_is_not_posted_is_tried_again() {
    let mut watch = watched();
    for _ in 1..PROBE_AFTER {
        assert_eq!(watch.look(), Look::Fine);
    }
    for _ in PROBE_AFTER..GIVE_UP_AFTER {
        assert_eq!(watch.look(), Look::Probe);
        assert!(watch.probe_begun());
        watch.probe_ended(false);
    }
    assert_eq!(watch.look(), Look::GiveUp);
}

/// A late sign of life counts, even after the peer was given up.
#[test]
fn a_late_sign_of_life() {
    let mut watch = watched();
    while watch.look() != Look::GiveUp {}
    watch.heard();
    assert_eq!(watch.look(), Look::Fine);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Heard,
    Look,
    Begin,
    End(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Heard),
        8 => Just(Step::Look),
        2 => Just(Step::Begin),
        1 => any::<bool>().prop_map(Step::End),
    ]
}

proptest! {
    /// Whatever the order: given up after exactly so many silent looks, never with a probe under
    /// way asked for another.
    #[test]
    fn any_order(steps in prop::collection::vec(step(), 0..200)) {
        let mut watch = Watch::new();
        let (mut silent, mut heard, mut probing) = (0, true, false);
        for step in steps {
            match step {
                Step::Heard => {
                    watch.heard();
                    heard = true;
                }
                Step::Look => {
                    silent = if std::mem::take(&mut heard) { 0 } else { silent + 1 };
                    let expected = match silent {
                        0 => Look::Fine,
                        n if n >= GIVE_UP_AFTER => Look::GiveUp,
                        n if n >= PROBE_AFTER && !probing => Look::Probe,
                        _ => Look::Fine,
                    };
                    prop_assert_eq!(watch.look(), expected);
                }
                Step::Begin => {
                    prop_assert_eq!(watch.probe_begun(), !probing);
                    probing = true;
                }
                Step::End(ok) => {
                    watch.probe_ended(ok);
                    probing = false;
                    heard |= ok;
                }
            }
        }
    }
}
