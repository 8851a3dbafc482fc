// SPDX-License-Identifier: GPL-2.0
//! Tests of the send queue accounting.

use crate::srp::machine::sendq::*;
use proptest::prelude::*;

#[test]
fn division() {
    assert_eq!(SendQueue::new(16, 16), Err(TooSmall));
    assert_eq!(SendQueue::new(15, 16), Err(TooSmall));
    assert_eq!(SendQueue::new(0, 0), Err(TooSmall));
    let queue = SendQueue::new(17, 16).unwrap();
    assert_eq!(queue.rdma_limit(), 1);
    assert!(queue.is_idle() && !queue.is_closed());
}

#[test]
fn rdma_leaves_room_for_responses() {
    let mut queue = SendQueue::new(10, 4).unwrap();
    assert_eq!(queue.reserve_rdma(7), Err(NoSlot::NeverFits));
    assert_eq!(queue.reserve_rdma(u32::MAX), Err(NoSlot::NeverFits));
    assert_eq!(queue.reserve_rdma(5), Ok(()));
    assert_eq!(queue.reserve_rdma(1), Ok(()));
    assert_eq!(queue.reserve_rdma(1), Err(NoSlot::Full));
    assert_eq!(queue.reserve_rdma(0), Ok(()));
    for _ in 0..4 {
        assert_eq!(queue.reserve_response(), Ok(()));
    }
    assert_eq!(queue.outstanding(), 10);
    assert_eq!(queue.reserve_response(), Err(NoSlot::Full));
    assert_eq!(queue.release_rdma(6), Ok(()));
    assert_eq!(queue.reserve_response(), Err(NoSlot::Full));
    assert_eq!(queue.reserve_rdma(6), Ok(()));
}

#[test]
fn small_transfers_leave_room_for_a_large_one() {
    let mut queue = SendQueue::new(12, 4).unwrap();
    assert_eq!(queue.reserve_rdma(6), Ok(()));
    assert_eq!(queue.reserve_rdma(4), Err(NoSlot::Full));
    // There is room for it, but not next to the large one.
    assert_eq!(queue.reserve_rdma(1), Err(NoSlot::Full));
    assert_eq!(queue.reserve_rdma(0), Ok(()));
    // A response without RDMA never waits for RDMA.
    assert_eq!(queue.reserve_response(), Ok(()));
    assert_eq!(queue.release_rdma(3), Ok(()));
    // Next to the large one there is room for one slot, and not for two.
    assert_eq!(queue.reserve_rdma(2), Err(NoSlot::Full));
    assert_eq!(queue.reserve_rdma(1), Ok(()));
    assert_eq!(queue.reserve_rdma(4), Ok(()));
    // It waits no more.
    assert_eq!(queue.release_rdma(4), Ok(()));
    assert_eq!(queue.reserve_rdma(3), Ok(()));
}

#[test]
fn a_large_transfer_that_is_given_up_keeps_no_room() {
    let mut queue = SendQueue::new(12, 4).unwrap();
    assert_eq!(queue.reserve_rdma(2), Ok(()));
    assert_eq!(queue.reserve_rdma(8), Err(NoSlot::Full));
    assert_eq!(queue.reserve_rdma(1), Err(NoSlot::Full));
    assert_eq!(queue.release_rdma(2), Ok(()));
    assert_eq!(queue.reserve_rdma(1), Ok(()));
    assert_eq!(queue.reserve_rdma(1), Ok(()));
}

#[test]
fn a_transfer_that_only_asks_keeps_its_room() {
    let mut queue = SendQueue::new(12, 4).unwrap();
    assert_eq!(queue.reserve_rdma(6), Ok(()));
    // Two wait; the first gets its room.
    assert_eq!(queue.reserve_rdma(5), Err(NoSlot::Full));
    assert!(queue.must_wait(5));
    assert_eq!(queue.release_rdma(6), Ok(()));
    assert_eq!(queue.reserve_rdma(5), Ok(()));
    assert!(queue.must_wait(5));
    // The other one's is left to it.
    assert_eq!(queue.release_rdma(2), Ok(()));
    assert_eq!(queue.reserve_rdma(1), Err(NoSlot::Full));
    assert_eq!(queue.release_rdma(1), Ok(()));
    assert_eq!(queue.reserve_rdma(1), Ok(()));
    assert!(!queue.must_wait(5));
}

#[test]
fn unbalanced_releases() {
    let mut queue = SendQueue::new(10, 4).unwrap();
    queue.reserve_rdma(2).unwrap();
    let before = queue;
    assert_eq!(queue.release_rdma(3), Err(Unbalanced));
    assert_eq!(queue.release_response(), Err(Unbalanced));
    assert_eq!(queue, before);
    assert_eq!(queue.release_rdma(2), Ok(()));
    assert!(queue.is_idle());
}

#[test]
fn close() {
    let mut queue = SendQueue::new(10, 4).unwrap();
    queue.reserve_rdma(2).unwrap();
    queue.reserve_response().unwrap();
    queue.close();
    queue.close();
    assert!(queue.is_closed() && !queue.is_idle());
    assert_eq!(queue.reserve_rdma(0), Err(NoSlot::Closed));
    assert_eq!(queue.reserve_rdma(99), Err(NoSlot::Closed));
    assert_eq!(queue.reserve_response(), Err(NoSlot::Closed));
    assert_eq!(queue.outstanding(), 3);
    queue.release_rdma(2).unwrap();
    queue.release_response().unwrap();
    assert!(queue.is_idle());
}

#[derive(Clone, Debug)]
enum Op {
    Rdma(u32),
    Ask(u32),
    RdmaDone(u32),
    Response,
    ResponseDone,
    Close,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0u32..12).prop_map(Op::Rdma),
        4 => (1u32..12).prop_map(Op::Ask),
        8 => (0u32..12).prop_map(Op::RdmaDone),
        8 => Just(Op::Response),
        8 => Just(Op::ResponseDone),
        1 => Just(Op::Close),
    ]
}

proptest! {
    /// Every answer agrees with a model, and the physical queue never overflows.
    #[test]
    fn matches_model(
        total in 1u32..24, commands in 0u32..12, ops in prop::collection::vec(any_op(), 0..200),
    ) {
        let queue = SendQueue::new(total, commands);
        prop_assert_eq!(queue.is_ok(), total > commands);
        let Ok(mut queue) = queue else { return Ok(()) };
        let room = total - commands;
        let (mut rdma, mut responses, mut closed) = (0, 0, false);
        // Size of the largest transfer that waits.
        let mut waits = 0;
        for op in ops {
            match op {
                Op::Rdma(n) => {
                    let expected = match () {
                        () if closed => Err(NoSlot::Closed),
                        () if n > room => Err(NoSlot::NeverFits),
                        () if n == 0 => Ok(()),
                        () if rdma + n > room => Err(NoSlot::Full),
                        // The promise: what waits and does not get smaller gets its room.
                        () if rdma != 0 && waits > n && rdma + n + waits > room => {
                            Err(NoSlot::Full)
                        }
                        () => {
                            if rdma == 0 || n >= waits {
                                waits = 0;
                            }
                            rdma += n;
                            Ok(())
                        }
                    };
                    if expected == Err(NoSlot::Full) {
                        waits = waits.max(n);
                    }
                    prop_assert_eq!(queue.reserve_rdma(n), expected);
                }
                // Of transfers that found no room only: they fit, and the queue was open then.
                Op::Ask(n) if closed || n > room => {}
                Op::Ask(n) => {
                    let left = if rdma != 0 && waits > n { waits } else { 0 };
                    let must = rdma + n + left > room;
                    if must {
                        waits = waits.max(n);
                    }
                    prop_assert_eq!(queue.must_wait(n), must);
                }
                Op::RdmaDone(n) => {
                    prop_assert_eq!(queue.release_rdma(n).is_ok(), n <= rdma);
                    if n <= rdma {
                        rdma -= n;
                    }
                }
                Op::Response => {
                    let result = queue.reserve_response();
                    match (closed, responses < commands) {
                        (true, _) => prop_assert_eq!(result, Err(NoSlot::Closed)),
                        // The promise: a command can always respond, however busy RDMA is.
                        (false, true) => {
                            prop_assert_eq!(result, Ok(()));
                            responses += 1;
                        }
                        (false, false) => prop_assert_eq!(result, Err(NoSlot::Full)),
                    }
                }
                Op::ResponseDone => {
                    prop_assert_eq!(queue.release_response().is_ok(), responses > 0);
                    responses = responses.saturating_sub(1);
                }
                Op::Close => {
                    queue.close();
                    closed = true;
                }
            }
            prop_assert_eq!(queue.outstanding(), rdma + responses);
            prop_assert_eq!(queue.is_idle(), rdma + responses == 0);
            prop_assert!(queue.outstanding() <= total);
        }
    }
}
