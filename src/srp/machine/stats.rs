// SPDX-License-Identifier: GPL-2.0
//! Counters of a channel: events, bytes, and durations of the stages of commands.
//!
//! Plain numbers: they are updated under a lock that the caller holds for another reason anyway, so
//! that counting costs an addition. Which file shows which counter is described in
//! `docs/ABI/sysfs-class-infiniband_srpt`.
//!
//! Not here: the clock, the lock, and the files (the driver).

use super::super::wire::consts::RejectReason;

/// Counters of [`Stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Counter {
    /// SCSI commands received.
    Commands,
    /// Commands with data sent to the initiator, counted at the response.
    Reads,
    /// Commands with data received from the initiator, counted at the response.
    Writes,
    /// Bytes sent to the initiator.
    ReadBytes,
    /// Bytes received from the initiator.
    WriteBytes,
    /// Commands whose response has a status other than GOOD.
    Failed,
    /// Requests that ended without a response.
    Aborted,
    /// Task management requests received.
    TaskManagement,
    /// Information units of a wrong form.
    Malformed,
    /// Requests that took the initiator's last credit.
    CreditsStarved,
    /// Transfers that had to wait for slots of the send queue.
    SqFull,
}

/// Number of [`Counter`]s.
pub(crate) const COUNTERS: usize = Counter::SqFull as usize + 1;

/// Number of reasons to refuse a login. They are numbered from 0, in the order of their codes.
pub(crate) const REFUSALS: usize = refusal_index(RejectReason::ChannelLimitReached) + 1;

/// Returns the number of a reason to refuse a login.
pub(crate) const fn refusal_index(reason: RejectReason) -> usize {
    // CAST: A u32 fits in a usize on every architecture with RDMA.
    reason
        .code()
        .saturating_sub(RejectReason::UnableEstablishChannel.code()) as usize
}

/// A stage of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Stage {
    /// From its arrival until it is submitted to the engine.
    Receive,
    /// In the engine, without the transfer of the initiator's data.
    Engine,
    /// From the engine's request for the initiator's data until all of it has arrived.
    Fetch,
    /// From the engine's response until its send completed.
    Send,
}

/// Number of [`Stage`]s.
pub(crate) const STAGES: usize = Stage::Send as usize + 1;

/// Number of buckets of a [`Histogram`].
pub(crate) const BUCKETS: usize = 24;

/// Times below `1 << FIRST_BITS` nanoseconds are in the first bucket.
pub(crate) const FIRST_BITS: u32 = 10;

/// Histogram of durations. Bucket `i` counts those below `1 << (FIRST_BITS + i)` nanoseconds that
/// are in no bucket before; the last counts all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Histogram([u64; BUCKETS]);

impl Histogram {
    /// Creates an empty histogram.
    pub(crate) const fn new() -> Self {
        Self([0; BUCKETS])
    }

    /// Counts a duration in nanoseconds.
    #[inline]
    pub(crate) fn note(&mut self, ns: u64) {
        // Times of 0 and 1 are in the same bucket.
        let bits = u64::BITS.saturating_sub((ns | 1).leading_zeros());
        let index = bits.saturating_sub(FIRST_BITS) as usize;
        if let Some(bucket) = self.0.get_mut(index.min(BUCKETS - 1)) {
            *bucket = bucket.wrapping_add(1);
        }
    }

    /// Returns the buckets.
    pub(crate) const fn buckets(&self) -> &[u64; BUCKETS] {
        &self.0
    }

    fn merge(&mut self, other: &Self) {
        for (to, from) in self.0.iter_mut().zip(other.0) {
            *to = to.wrapping_add(from);
        }
    }
}

/// A command with a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finished {
    /// Bytes sent to the initiator.
    pub(crate) read: u32,
    /// Bytes received from the initiator.
    pub(crate) written: u32,
    /// The SCSI status was not GOOD.
    pub(crate) failed: bool,
    /// Nanoseconds per stage; [`None`] if the command had no such stage.
    pub(crate) ns: [Option<u64>; STAGES],
}

/// Counters and histograms of a channel, or the sums of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stats {
    counters: [u64; COUNTERS],
    latency: [Histogram; STAGES],
}

impl Stats {
    /// Creates counters that are all zero.
    pub(crate) const fn new() -> Self {
        Self {
            counters: [0; COUNTERS],
            latency: [Histogram::new(); STAGES],
        }
    }

    /// Increments a counter.
    pub(crate) fn count(&mut self, what: Counter) {
        self.add(what, 1);
    }

    fn add(&mut self, what: Counter, n: u64) {
        if let Some(counter) = self.counters.get_mut(what as usize) {
            *counter = counter.wrapping_add(n);
        }
    }

    /// Counts a command with a response.
    #[inline]
    pub(crate) fn finished(&mut self, cmd: &Finished) {
        if cmd.read != 0 {
            self.count(Counter::Reads);
            self.add(Counter::ReadBytes, cmd.read.into());
        }
        if cmd.written != 0 {
            self.count(Counter::Writes);
            self.add(Counter::WriteBytes, cmd.written.into());
        }
        if cmd.failed {
            self.count(Counter::Failed);
        }
        for (histogram, ns) in self.latency.iter_mut().zip(&cmd.ns) {
            if let Some(ns) = ns {
                histogram.note(*ns);
            }
        }
    }

    /// Adds all counters and histograms of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (to, from) in self.counters.iter_mut().zip(other.counters) {
            *to = to.wrapping_add(from);
        }
        for (to, from) in self.latency.iter_mut().zip(&other.latency) {
            to.merge(from);
        }
    }

    /// Returns a counter by its number; [`None`] if the number is out of range.
    pub(crate) fn counter(&self, index: usize) -> Option<u64> {
        self.counters.get(index).copied()
    }

    /// Returns the histogram of a stage by its number; [`None`] if the number is out of range.
    pub(crate) fn histogram(&self, index: usize) -> Option<&Histogram> {
        self.latency.get(index)
    }
}
