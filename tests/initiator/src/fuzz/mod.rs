// SPDX-License-Identifier: GPL-2.0
//! The subcommand `fuzz`: random logins and units over several channels, with a law that the target
//! must keep; see `channel.rs`.
//!
//! The same seed gives the same units per channel; how those of several channels mix, and what the
//! target does meanwhile, is up to time.

mod channel;
mod rng;
mod units;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Mutex, PoisonError,
    },
    thread,
    time::{Duration, Instant},
};

use clap::{ArgMatches, Command};

use crate::{
    bench::{self, Bench},
    dest::Dest,
};

/// Upper half of the initiator port identifiers, far from that of any proper initiator. The number
/// of the channel is added.
const EXTENSION: u64 = 0xf022_f022_f022_0000;

/// Describes the subcommand.
pub(crate) fn command() -> Command {
    Command::new("fuzz")
        .about("Send random units over several channels")
        .args(bench::arguments())
        .arg(bench::number("seed", "1", "of the random numbers"))
        .arg(bench::number("count", "50000", "how many units to send"))
        .arg(bench::number(
            "channels",
            "4",
            "how many connections; each is an initiator of its own",
        ))
}

/// What the channels share.
pub(crate) struct Shared {
    dest: Dest,
    target: [u8; 16],
    guid: u64,
    left: AtomicU64,
    logins: AtomicU64,
    /// Functions other than ABORT TASK that were sent, and that are over.
    resets_sent: AtomicU64,
    resets_done: AtomicU64,
    failed: AtomicBool,
    failures: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Shared {
    fn initiator_id(&self, channel: u64) -> [u8; 16] {
        ((u128::from(EXTENSION + channel) << 64) | u128::from(self.guid)).to_be_bytes()
    }

    fn target_id(&self) -> [u8; 16] {
        self.target
    }

    /// Nothing more is to be sent.
    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0 || self.failed.load(Ordering::Relaxed)
    }

    /// Takes one unit from the budget; false if there is none.
    fn take_one(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    fn count(&self, what: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what.to_string()).or_default() += 1;
    }

    fn fail(&self, text: String) {
        self.failed.store(true, Ordering::Relaxed);
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let number = |name| bench::value(arguments, name);
    let (seed, count, channels) = (number("seed"), number("count"), number("channels"));
    let bench = match Bench::new(arguments) {
        Ok(bench) => bench,
        Err(text) => {
            eprintln!("initiator: {text}");
            return ExitCode::from(2);
        }
    };
    let shared = Shared {
        dest: bench.dest,
        target: bench.target_id(),
        guid: bench.guid,
        left: AtomicU64::new(count),
        logins: AtomicU64::new(0),
        resets_sent: AtomicU64::new(0),
        resets_done: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        failures: Mutex::default(),
        counts: Mutex::default(),
    };
    println!("fuzz --seed {seed} --count {count} --channels {channels}");
    let began = Instant::now();
    thread::scope(|scope| {
        let all: Vec<_> = (0..channels)
            .map(|n| {
                let shared = &shared;
                scope.spawn(move || channel::Channel::new(n, shared, seed).run())
            })
            .collect();
        let mut printed = Instant::now();
        while !all.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(100));
            if printed.elapsed() > Duration::from_secs(5) {
                printed = Instant::now();
                let sent = count - shared.left.load(Ordering::Relaxed);
                println!(
                    "{sent} of {count} units, {:.0} a second, {} logins",
                    sent as f64 / began.elapsed().as_secs_f64(),
                    shared.logins.load(Ordering::Relaxed)
                );
            }
        }
        for thread in all {
            if thread.join().is_err() {
                shared.fail("a thread panicked".into());
            }
        }
    });
    for (what, times) in &*shared.counts.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{times:>8}  {what}");
    }
    let failures = shared
        .failures
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    for text in &*failures {
        println!("FAILED {text}");
    }
    let sent = count - shared.left.load(Ordering::Relaxed);
    println!(
        "{sent} units, {} logins, seed {seed}, {:.1} s: {}",
        shared.logins.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
        if failures.is_empty() { "ok" } else { "FAILED" }
    );
    if failures.is_empty() && sent == count {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
