// SPDX-License-Identifier: GPL-2.0
//! Tests of what is counted.

use crate::srp::machine::stats::*;
use proptest::prelude::*;

fn buckets(times: &[u64]) -> [u64; BUCKETS] {
    let mut histogram = Histogram::new();
    times.iter().for_each(|ns| histogram.note(*ns));
    *histogram.buckets()
}

fn only(index: usize, n: u64) -> [u64; BUCKETS] {
    let mut expected = [0; BUCKETS];
    expected[index] = n;
    expected
}

#[test]
fn limits_of_the_buckets() {
    assert_eq!(buckets(&[0, 1, 1023]), only(0, 3));
    assert_eq!(buckets(&[1024, 2047]), only(1, 2));
    assert_eq!(buckets(&[2048]), only(2, 1));
    let last = 1 << (FIRST_BITS as usize + BUCKETS - 2);
    assert_eq!(buckets(&[last - 1]), only(BUCKETS - 2, 1));
    assert_eq!(buckets(&[last, u64::MAX]), only(BUCKETS - 1, 2));
}

#[test]
fn a_command() {
    let mut stats = Stats::new();
    stats.count(Counter::Commands);
    stats.finished(&Finished {
        read: 4096,
        failed: true,
        ns: [Some(1), Some(5000), None, Some(2000)],
        ..Finished::default()
    });
    let counter = |what: Counter| stats.counter(what as usize).unwrap();
    assert_eq!(counter(Counter::Commands), 1);
    assert_eq!(counter(Counter::Reads), 1);
    assert_eq!(counter(Counter::ReadBytes), 4096);
    assert_eq!(counter(Counter::Writes), 0);
    assert_eq!(counter(Counter::WriteBytes), 0);
    assert_eq!(counter(Counter::Failed), 1);
    let stage = |what: Stage| *stats.histogram(what as usize).unwrap().buckets();
    assert_eq!(stage(Stage::Receive), only(0, 1));
    assert_eq!(stage(Stage::Engine), only(3, 1));
    assert_eq!(stage(Stage::Fetch), [0; BUCKETS]);
    assert_eq!(stage(Stage::Send), only(1, 1));
}

#[test]
fn no_such_number() {
    let stats = Stats::new();
    assert_eq!(stats.counter(COUNTERS - 1), Some(0));
    assert_eq!(stats.counter(COUNTERS), None);
    assert!(stats.histogram(STAGES - 1).is_some());
    assert!(stats.histogram(STAGES).is_none());
}

fn finished() -> impl Strategy<Value = Finished> {
    let ns = prop::option::of(any::<u64>());
    (
        any::<u32>(),
        any::<u32>(),
        any::<bool>(),
        [ns.clone(), ns.clone(), ns.clone(), ns],
    )
        .prop_map(|(read, written, failed, ns)| Finished {
            read,
            written,
            failed,
            ns,
        })
}

proptest! {
    /// Counted together or apart and added up: the same.
    #[test]
    fn merge_is_addition(
        left in prop::collection::vec(finished(), 0..20),
        right in prop::collection::vec(finished(), 0..20),
    ) {
        let mut parts = [Stats::new(); 2];
        let mut whole = Stats::new();
        for (part, cmds) in parts.iter_mut().zip([&left, &right]) {
            for cmd in cmds {
                part.finished(cmd);
                whole.finished(cmd);
            }
        }
        let [mut sum, other] = parts;
        sum.merge(&other);
        prop_assert_eq!(sum, whole);
        let total = |i| whole.histogram(i).unwrap().buckets().iter().sum::<u64>();
        for stage in 0..STAGES {
            let noted = left.iter().chain(&right).filter(|cmd| cmd.ns[stage].is_some()).count();
            prop_assert_eq!(total(stage), noted as u64);
        }
    }

    /// A time is in the bucket that the documentation says.
    #[test]
    fn bucket_of_a_time(ns in any::<u64>()) {
        let index = buckets(&[ns]).iter().position(|n| *n == 1).unwrap();
        if index < BUCKETS - 1 {
            prop_assert!(ns < 1 << (FIRST_BITS as usize + index));
        }
        if index > 0 {
            prop_assert!(ns >= 1 << (FIRST_BITS as usize + index - 1));
        }
    }
}
