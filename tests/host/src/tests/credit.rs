// SPDX-License-Identifier: GPL-2.0
//! Tests of the credit accounting against a peer that counts for itself.

use crate::srp::machine::credit::*;
use proptest::prelude::*;

fn check(credits: &Credits) {
    let sum = u64::from(credits.at_peer())
        + u64::from(credits.outstanding())
        + u64::from(credits.returnable());
    assert_eq!(sum, u64::from(credits.limit()), "{credits:?}");
}

#[test]
fn one_command() {
    let mut credits = Credits::new(3);
    credits.on_request().unwrap();
    assert_eq!((credits.at_peer(), credits.outstanding()), (2, 1));
    assert_eq!(credits.take_delta(), 0);
    credits.add_returnable(1).unwrap();
    assert_eq!(credits.returnable(), 1);
    assert_eq!(credits.take_delta(), 1);
    assert_eq!(credits, Credits::new(3));
}

#[test]
fn overrun() {
    let mut credits = Credits::new(1);
    assert_eq!(credits.on_request(), Ok(()));
    let before = credits;
    assert_eq!(credits.on_request(), Err(Overrun));
    assert_eq!(credits, before);
    assert_eq!(Credits::new(0).on_request(), Err(Overrun));
}

#[test]
fn excess() {
    let mut credits = Credits::new(5);
    credits.on_request().unwrap();
    let before = credits;
    assert_eq!(credits.add_returnable(2), Err(Excess));
    assert_eq!(credits.add_returnable(u32::MAX), Err(Excess));
    assert_eq!(credits, before);
}

/// The next response carries the credits of aborted commands.
#[test]
fn aborted_commands() {
    let mut credits = Credits::new(4);
    for _ in 0..4 {
        credits.on_request().unwrap();
    }
    credits.add_returnable(3).unwrap();
    credits.add_returnable(1).unwrap();
    assert_eq!(credits.take_delta(), 4);
    assert_eq!(credits.take_delta(), 0);
}

#[test]
fn undo() {
    let mut credits = Credits::new(2);
    credits.on_request().unwrap();
    credits.add_returnable(1).unwrap();
    let before = credits;
    let delta = credits.take_delta();
    assert_eq!(credits.undo(delta), Ok(()));
    assert_eq!(credits, before);
    // A delta that never was.
    assert_eq!(credits.undo(0), Ok(()));
    assert_eq!(credits.undo(-5), Ok(()));
    assert_eq!(credits, before);
}

/// The peer used a credit before the response with it was sent; that comes out when the response
/// cannot be sent.
#[test]
fn undo_discovers_overrun() {
    let mut credits = Credits::new(1);
    credits.on_request().unwrap();
    credits.add_returnable(1).unwrap();
    let delta = credits.take_delta();
    credits.on_request().unwrap();
    assert_eq!(credits.undo(delta), Err(Overrun));
    check(&credits);
}

#[test]
fn credit_request_is_wanted_when_the_peer_is_dry() {
    let mut credits = Credits::new(3);
    for _ in 0..3 {
        credits.on_request().unwrap();
        assert!(!credits.wants_credit_request(), "nothing to return");
    }
    credits.add_returnable(1).unwrap();
    assert!(credits.wants_credit_request());
    assert_eq!(credits.take_delta(), 1);
    assert!(!credits.wants_credit_request());
    // Plenty of credits: no hurry.
    let mut credits = Credits::new(3);
    credits.on_request().unwrap();
    credits.add_returnable(1).unwrap();
    assert!(!credits.wants_credit_request());
}

#[test]
fn limit_fits_in_a_delta() {
    let mut credits = Credits::new(u32::MAX);
    assert_eq!(credits.limit(), 0x7fff_ffff);
    for _ in 0..10 {
        credits.on_request().unwrap();
    }
    credits.add_returnable(10).unwrap();
    assert_eq!(credits.take_delta(), 10);
}

#[derive(Clone, Debug)]
enum Op {
    Request,
    Finish(u32),
    /// Post a response; the flag says whether that works.
    Respond(bool),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Request),
        2 => (0u32..4).prop_map(Op::Finish),
        2 => any::<bool>().prop_map(Op::Respond),
    ]
}

proptest! {
    /// An initiator that adds up the deltas it receives, and sends only when it may, is never
    /// accused of an overrun; one that sends without a credit always is.
    #[test]
    fn agrees_with_the_peer(limit in 0u32..6, ops in prop::collection::vec(any_op(), 0..200)) {
        let mut credits = Credits::new(limit);
        let mut peer = limit;
        let mut working = 0;
        for op in ops {
            match op {
                Op::Request => {
                    let allowed = peer > 0;
                    prop_assert_eq!(credits.on_request().is_ok(), allowed);
                    if allowed {
                        peer -= 1;
                        working += 1;
                    }
                }
                Op::Finish(n) => {
                    prop_assert_eq!(credits.add_returnable(n).is_ok(), n <= working);
                    if n <= working {
                        working -= n;
                    }
                }
                Op::Respond(posted) => {
                    let delta = credits.take_delta();
                    prop_assert!(delta >= 0);
                    if posted {
                        peer += u32::try_from(delta).unwrap();
                    } else {
                        prop_assert_eq!(credits.undo(delta), Ok(()));
                    }
                }
            }
            check(&credits);
            prop_assert_eq!(credits.at_peer(), peer);
            prop_assert_eq!(credits.outstanding(), working);
        }
        // Nothing is lost: when all is done, the peer has all its credits again.
        credits.add_returnable(working).unwrap();
        peer += u32::try_from(credits.take_delta()).unwrap();
        prop_assert_eq!(peer, limit);
    }
}
