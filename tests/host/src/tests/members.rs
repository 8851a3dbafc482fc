// SPDX-License-Identifier: GPL-2.0
//! Tests of `srp/machine/members.rs`.

use crate::srp::machine::members::*;

use proptest::prelude::*;

/// The first channels of a session.
fn numbered(count: usize) -> Vec<Member> {
    let mut members = Members::FIRST;
    std::iter::once(Member::ONLY)
        .chain(std::iter::from_fn(|| members.join()))
        .take(count)
        .collect()
}

#[test]
fn the_last_channel_ends_the_session() {
    let mut members = Members::FIRST;
    assert!(members.join().is_some());
    assert!(!members.leave());
    // One is left: another one may come.
    assert!(members.join().is_some());
    assert!(!members.leave());
    assert!(members.leave());
    // A channel that comes now opens another session.
    assert_eq!(members.join(), None);
}

#[test]
fn a_session_alone_keeps_tags() {
    for tag in [0, 7, u64::MAX] {
        assert_eq!(Member::ONLY.engine_tag(tag), tag);
    }
}

#[test]
fn tags_of_two_channels_differ() {
    let members = numbered(256);
    for (number, one) in members.iter().enumerate() {
        for other in &members[..number] {
            let differ = one.engine_tag(0) ^ other.engine_tag(0);
            // So equal tags differ, and those that are equal in either half.
            assert!(differ as u32 != 0 && differ >> 32 != 0, "{one:?} {other:?}");
            // An initiator that writes the number of the channel into any byte of the tag.
            for byte in 0..8 {
                assert!(differ & !(0xff << (8 * byte)) != 0);
            }
        }
    }
}

proptest! {
    /// The law: no two channels of a session have the same number, the session lasts from the first
    /// to the last, and nobody joins after that.
    #[test]
    fn one_beginning_one_end(joins in prop::collection::vec(any::<bool>(), 0..100)) {
        let mut members = Members::FIRST;
        let mut seen = vec![Member::ONLY];
        let mut inside = 1;
        for join in joins {
            if join {
                match members.join() {
                    Some(member) => {
                        prop_assert!(inside > 0 && !seen.contains(&member));
                        seen.push(member);
                        inside += 1;
                    }
                    None => prop_assert_eq!(inside, 0),
                }
            } else if inside > 0 {
                inside -= 1;
                prop_assert_eq!(members.leave(), inside == 0);
            }
        }
    }

    /// The tags of one channel stay different from each other.
    #[test]
    fn tags_of_a_channel_differ(number in 0..64_usize, one: u64, other: u64) {
        let member = numbered(64)[number];
        prop_assert_eq!(member.engine_tag(one) == member.engine_tag(other), one == other);
    }
}
