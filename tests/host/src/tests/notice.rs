// SPDX-License-Identifier: GPL-2.0
//! Tests of the requests of the target.

use crate::srp::machine::notice::*;
use std::collections::HashSet;

#[test]
fn response_after_send() {
    let mut notice = Notice::new();
    assert!(!notice.begin(7), "nothing to say");
    notice.want();
    assert!(notice.is_due());
    assert!(notice.begin(7));
    assert!(!notice.is_due());
    notice.sent();
    assert_ne!(notice, Notice::new());
    assert_eq!(notice.answered(7), Ok(()));
    assert_eq!(notice, Notice::new());
}

/// The response may be seen before the completion of the send.
#[test]
fn response_before_send() {
    let mut notice = Notice::new();
    notice.want();
    assert!(notice.begin(7));
    assert_eq!(notice.answered(7), Ok(()));
    notice.want();
    assert!(!notice.is_due(), "the buffer is still in use");
    assert!(!notice.begin(8));
    notice.sent();
    assert!(notice.begin(8));
}

#[test]
fn spurious_responses() {
    let mut notice = Notice::new();
    assert_eq!(notice.answered(0), Err(Spurious));
    notice.want();
    assert_eq!(notice.answered(0), Err(Spurious));
    assert!(notice.begin(7));
    assert_eq!(notice.answered(8), Err(Spurious));
    assert_eq!(notice.answered(7), Ok(()));
    assert_eq!(notice.answered(7), Err(Spurious));
    notice.sent();
    assert_eq!(notice.answered(7), Err(Spurious));
}

#[test]
fn post_fails() {
    let mut notice = Notice::new();
    notice.want();
    assert!(notice.begin(7));
    notice.want();
    notice.post_failed();
    assert_eq!(notice.answered(7), Err(Spurious));
    assert!(notice.is_due(), "what came up meanwhile is not forgotten");
}

/// Walks through everything that can happen, and counts what is in the air.
#[test]
fn every_order_of_events() {
    // State; send under way; response owed by the peer; something wanted and not yet begun.
    let mut seen = HashSet::new();
    let mut work = vec![(Notice::new(), false, false, false)];
    while let Some(state) = work.pop() {
        if !seen.insert(state) {
            continue;
        }
        let (notice, sending, owed, wanted) = state;
        assert_eq!(notice.is_due(), wanted && !sending && !owed);
        let mut next = notice;
        next.want();
        work.push((next, sending, owed, true));
        let mut next = notice;
        if next.begin(7) {
            assert!(wanted && !sending && !owed);
            work.push((next, true, true, false));
            next.post_failed();
            work.push((next, false, false, false));
        } else {
            assert_eq!(next, notice);
        }
        let mut next = notice;
        assert_eq!(next.answered(7).is_ok(), owed);
        work.push((next, sending, false, wanted));
        if sending {
            let mut next = notice;
            next.sent();
            work.push((next, false, owed, wanted));
        }
    }
    assert!(seen.len() >= 8, "{}", seen.len());
}
