// SPDX-License-Identifier: GPL-2.0

//! Per-command timestamps and byte counts; what comes of them is counted by [`crate::srp::machine::stats`].

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

/// Timestamps and byte counts of a SCSI command so far.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    arrived: Time,
    /// The engine got it.
    submitted: Time,
    /// The engine asked for data.
    wanted: Option<Time>,
    /// How long the data took that has come.
    fetch: Option<Delta>,
    /// The engine has answered.
    answered: Option<Time>,
    read: u32,
    written: u32,
    failed: bool,
}

impl Timing {
    /// A command that arrived then, and is handed to the engine now.
    pub(super) fn new(arrived: Time) -> Self {
        Self {
            arrived,
            submitted: Time::now(),
            wanted: None,
            fetch: None,
            answered: None,
            read: 0,
            written: 0,
            failed: false,
        }
    }

    /// The engine gets it only now.
    pub(super) fn submitted(&mut self) {
        self.submitted = Time::now();
    }

    /// The engine asks for this many bytes.
    pub(super) fn wants_data(&mut self, bytes: usize) {
        self.written = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.wanted = Some(Time::now());
    }

    /// They are there.
    pub(super) fn has_data(&mut self) {
        self.fetch = self.wanted.map(|wanted| wanted.elapsed());
    }

    /// The engine's answer, with this many bytes for the initiator, is about to be sent.
    pub(super) fn answered(&mut self, bytes: usize, failed: bool) {
        self.read = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.failed = failed;
        self.answered = Some(Time::now());
    }

    /// The answer was sent. Only commands that the engine had say something about its speed.
    pub(super) fn finished(&self, by_engine: bool) -> Finished {
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
                (Stage::Send, Some(ns(answered.elapsed()))),
            ] {
                if let Some(slot) = finished.ns.get_mut(stage as usize) {
                    *slot = time;
                }
            }
        }
        finished
    }
}

/// A time span in nanoseconds.
fn ns(delta: Delta) -> u64 {
    u64::try_from(delta.as_nanos()).unwrap_or(0)
}
