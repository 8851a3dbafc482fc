// SPDX-License-Identifier: GPL-2.0
//! Tests of `srp/machine/order.rs`.

use crate::srp::{machine::order::*, wire::cmd::TaskAttr};

use proptest::prelude::*;

/// Commands after which a SIMPLE one is answered with BUSY, counted here.
fn turned_until_busy(mut order: Order) -> u32 {
    for turned in 0..1_000_000 {
        match order.admit(TaskAttr::Simple, false) {
            (next, Admission::As(attr)) => {
                assert_eq!(attr, TaskAttr::Ordered);
                order = next;
            }
            (next, Admission::Busy) => {
                assert_eq!(next, order);
                return turned;
            }
        }
    }
    panic!("never busy");
}

#[test]
fn without_ordered_nothing_changes() {
    for attr in [TaskAttr::Simple, TaskAttr::HeadOfQueue, TaskAttr::Aca] {
        for first in [false, true] {
            assert_eq!(
                Order::NONE.admit(attr, first),
                (Order::NONE, Admission::As(attr))
            );
        }
    }
}

#[test]
fn behind_an_ordered_one() {
    let (one, admission) = Order::NONE.admit(TaskAttr::Ordered, false);
    assert_eq!(admission, Admission::As(TaskAttr::Ordered));
    // What waits for nothing does not wait, and does not make others wait.
    for (attr, first) in [
        (TaskAttr::HeadOfQueue, false),
        (TaskAttr::HeadOfQueue, true),
        (TaskAttr::Simple, true),
    ] {
        assert_eq!(
            one.admit(attr, first),
            (one, Admission::As(TaskAttr::HeadOfQueue))
        );
    }
    // A SIMPLE one waits, and counts when the first has ended.
    let (two, admission) = one.admit(TaskAttr::Simple, false);
    assert_eq!(admission, Admission::As(TaskAttr::Ordered));
    let left = two.ended();
    let (_, admission) = left.admit(TaskAttr::Simple, false);
    assert_eq!(admission, Admission::As(TaskAttr::Ordered));
    assert_eq!(left.ended(), Order::NONE);
}

/// A session that is never idle is told to wait some day, and may go on when nothing is ordered any
/// more; ORDERED commands are always taken, and begin the count anew.
#[test]
fn busy_until_none_is_left() {
    let (one, _) = Order::NONE.admit(TaskAttr::Ordered, false);
    let most = turned_until_busy(one);
    assert!(most > 0);
    // The same if each command ends before the next, but the first.
    let mut order = one;
    for _ in 0..most {
        order = order.admit(TaskAttr::Simple, false).0.ended();
    }
    assert_eq!(
        order.admit(TaskAttr::Simple, false),
        (order, Admission::Busy)
    );
    let (two, admission) = order.admit(TaskAttr::Ordered, false);
    assert_eq!(admission, Admission::As(TaskAttr::Ordered));
    assert_eq!(turned_until_busy(two), most);
    assert_eq!(order.ended(), Order::NONE);
    let (again, _) = order.ended().admit(TaskAttr::Ordered, false);
    assert_eq!(turned_until_busy(again), most);
}

/// What was admitted before the first ORDERED command is waited for once, as long as there is one.
#[test]
fn settled_until_none_is_left() {
    let (one, _) = Order::NONE.admit(TaskAttr::Ordered, false);
    assert!(!one.is_settled());
    // Those that come meanwhile wait, too.
    let (two, _) = one.admit(TaskAttr::Simple, false);
    assert!(!two.is_settled());
    let two = two.settle();
    assert!(two.is_settled());
    assert_eq!(Order::from_bits(two.to_bits()), two);
    let (three, _) = two.admit(TaskAttr::Ordered, false);
    assert!(three.is_settled() && three.ended().is_settled());
    let none = three.ended().ended().ended();
    assert_eq!(none, Order::NONE);
    // The next one is another first.
    let (again, _) = none.admit(TaskAttr::Ordered, false);
    assert!(!again.is_settled());
    assert_eq!(Order::NONE.settle(), Order::NONE);
}

proptest! {
    /// The law: no SIMPLE command is given to an engine that has an ORDERED one, and as many
    /// ORDERED ones are counted as it has.
    #[test]
    fn no_simple_behind_ordered(steps in prop::collection::vec((0..6_u8, any::<bool>()), 0..200)) {
        let mut order = Order::NONE;
        let mut at_engine = 0_u32;
        for (step, first) in steps {
            let attr = match step {
                0 | 1 => TaskAttr::Simple,
                2 => TaskAttr::HeadOfQueue,
                3 => TaskAttr::Ordered,
                _ => {
                    if at_engine > 0 {
                        at_engine -= 1;
                        order = order.ended();
                    }
                    continue;
                }
            };
            let (next, admission) = order.admit(attr, first);
            match admission {
                Admission::As(TaskAttr::Simple) => prop_assert_eq!(at_engine, 0),
                Admission::As(TaskAttr::Ordered) => at_engine += 1,
                _ => (),
            }
            order = next;
            prop_assert_eq!(order == Order::NONE, at_engine == 0);
            prop_assert_eq!(Order::from_bits(order.to_bits()), order);
        }
    }
}
