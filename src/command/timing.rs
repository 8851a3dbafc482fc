// SPDX-License-Identifier: GPL-2.0

//! Per-command timestamps and byte counts.
//!
//! Not here: counters and histograms ([`crate::srp::machine::stats`]).

use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};

use crate::srp::machine::stats::{
    Finished,
    Stage,
    STAGES, //
};

/// A point in time. Reading the clock costs some ten nanoseconds.
pub(crate) type Time = Instant<Monotonic>;

/// Arrival of an information unit.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    /// Time of arrival.
    pub(crate) at: Time,
    /// It has waited for a free command.
    pub(crate) waited: bool,
}

impl Arrival {
    /// Returns the arrival of an information unit now.
    pub(crate) fn now() -> Self {
        Self {
            at: Time::now(),
            waited: false,
        }
    }
}

/// Timestamps and byte counts of a SCSI command so far.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    arrived: Time,
    /// Submission to the engine.
    submitted: Time,
    /// The engine's request for data.
    wanted: Option<Time>,
    /// Time that fetching the data took.
    fetch: Option<Delta>,
    /// The engine's response.
    answered: Option<Time>,
    read: u32,
    written: u32,
    failed: bool,
}

impl Timing {
    /// Starts with a command that is submitted now. If it has not waited, that is the time of its
    /// arrival: the clock is not read again for the few instructions since.
    #[inline]
    pub(super) fn new(arrival: Arrival) -> Self {
        Self {
            arrived: arrival.at,
            submitted: if arrival.waited {
                Time::now()
            } else {
                arrival.at
            },
            wanted: None,
            fetch: None,
            answered: None,
            read: 0,
            written: 0,
            failed: false,
        }
    }

    /// Notes that the command is submitted only now.
    pub(super) fn submitted(&mut self) {
        self.submitted = Time::now();
    }

    /// Notes the engine's request for this many bytes.
    pub(super) fn wants_data(&mut self, bytes: usize) {
        self.written = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.wanted = Some(Time::now());
    }

    /// Notes the engine's request for this many bytes, which arrived with the command.
    pub(super) fn came_with_data(&mut self, bytes: usize) {
        self.written = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.fetch = Some(Delta::ZERO);
    }

    /// Notes that the bytes have arrived.
    pub(super) fn has_data(&mut self) {
        self.fetch = self.wanted.map(|wanted| wanted.elapsed());
    }

    /// Notes that the response is about to be posted, with this many bytes for the initiator.
    #[inline]
    pub(super) fn answered(&mut self, bytes: usize, failed: bool) {
        self.read = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.failed = failed;
        self.answered = Some(Time::now());
    }

    /// Returns what is counted when the response was `sent`, or posted if it does not complete.
    /// Only commands that the engine had (`by_engine`) enter the histograms.
    #[inline]
    pub(super) fn finished(&self, by_engine: bool, sent: Option<Time>) -> Finished {
        let mut finished = Finished {
            read: self.read,
            written: if self.fetch.is_some() {
                self.written
            } else {
                0
            },
            failed: self.failed,
            ns: [None; STAGES],
        };
        if let (true, Some(answered)) = (by_engine, self.answered) {
            let fetch = self.fetch.map(ns);
            let engine = ns(answered - self.submitted);
            for (stage, time) in [
                (Stage::Receive, Some(ns(self.submitted - self.arrived))),
                (
                    Stage::Engine,
                    Some(engine.saturating_sub(fetch.unwrap_or(0))),
                ),
                (Stage::Fetch, fetch),
                (Stage::Send, sent.map(|sent| ns(sent - answered))),
            ] {
                if let Some(slot) = finished.ns.get_mut(stage as usize) {
                    *slot = time;
                }
            }
        }
        finished
    }
}

/// Returns a time span in nanoseconds; 0 if it is negative.
fn ns(delta: Delta) -> u64 {
    u64::try_from(delta.as_nanos()).unwrap_or(0)
}
