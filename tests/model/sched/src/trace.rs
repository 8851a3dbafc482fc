// SPDX-License-Identifier: GPL-2.0
//! How a state came about, as a number.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was done to something that threads share.
///
/// A thread does the same as long as it sees the same, so a number that stands for all that it has
/// seen stands for where it is; the numbers of all threads together stand for the state. What a
/// thread sees when it takes a lock is what was done with it before, by threads with their own
/// pasts. Executions that differ only in the order of accesses to different things, or of reads,
/// lead to the same number: that is the order of events that happen before each other (see
/// Musuvathi and Qadeer, *Iterative context bounding*, 2007, which calls it happens-before graph
/// caching). Two states with the same number by chance are improbable: there are some hundred
/// thousand, and 64 bits.
///
/// Counting references is not an access: which of two threads drops the last one is not told apart,
/// but where the driver asks for that (`Arc::into_unique_or_drop`).
pub struct Trace {
    run: AtomicU64,
    /// The past of the thread that wrote last.
    write: AtomicU64,
    /// The reads since then, in no order.
    reads: AtomicU64,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Trace {
    /// Nothing was done.
    pub const fn new() -> Self {
        Self {
            run: AtomicU64::new(0),
            write: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        }
    }

    /// What a thread with this past sees.
    pub(crate) fn seen_by(&self, past: u64, write: bool, run: u64) -> u64 {
        if self.run.load(Relaxed) != run {
            self.run.store(run, Relaxed);
            self.write.store(0, Relaxed);
            self.reads.store(0, Relaxed);
        }
        let (last, reads) = (self.write.load(Relaxed), self.reads.load(Relaxed));
        if write {
            return mix(last, reads);
        }
        let read = mix(past, last);
        self.reads.store(reads.wrapping_add(read), Relaxed);
        mix(last, 3)
    }

    /// The thread with this past wrote.
    pub(crate) fn written(&self, past: u64) {
        self.write.store(past, Relaxed);
        self.reads.store(0, Relaxed);
    }
}

/// Mixes two numbers into one.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let x = (a ^ b.rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15 ^ b);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
