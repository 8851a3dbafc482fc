// SPDX-License-Identifier: GPL-2.0
//! Results as KTAP, and jobs that have some.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{mpsc, Mutex},
};

/// Prints what happened.
pub(crate) struct Report {
    count: usize,
    failed: bool,
}

impl Report {
    pub(crate) fn new() -> Self {
        println!("KTAP version 1");
        Self {
            count: 0,
            failed: false,
        }
    }

    /// Prints a result, and what there is to say about it in lines of its own.
    fn result(&mut self, word: &str, name: &str, about: &str) {
        self.count += 1;
        println!("{word} {} - {name}", self.count);
        for line in about.lines() {
            println!("# {line}");
        }
    }

    pub(crate) fn ok(&mut self, name: &str, about: &str) {
        self.result("ok", name, about);
    }

    pub(crate) fn not_ok(&mut self, name: &str, why: &str) {
        self.failed = true;
        self.result("not ok", name, why);
    }

    pub(crate) fn end(self) -> ExitCode {
        println!("1..{}", self.count);
        ExitCode::from(u8::from(self.failed))
    }
}

/// Whether a job was successful, and what there is to say about it.
pub(crate) type Outcome = (bool, String);

/// What is to be done.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnOnce() -> Outcome + Send>,
}

/// Jobs that are done at the same time. Each explores in an operating system thread of its own.
const AT_ONCE: usize = 2;

/// Does the jobs, and prints what came of them in their order.
pub(crate) fn execute(report: &mut Report, jobs: Vec<Job>, prepare: fn()) {
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let (sender, outcomes) = mpsc::channel::<(usize, Outcome)>();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let sender = sender.clone();
            let queue = &queue;
            scope.spawn(move || {
                prepare();
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some((number, job)) = next else { return };
                    let _ = sender.send((number, (job.run)()));
                }
            });
        }
        drop(sender);
        let mut done = BTreeMap::new();
        let mut next = 0;
        for (number, outcome) in outcomes {
            done.insert(number, outcome);
            while let Some((ok, text)) = done.remove(&next) {
                match ok {
                    true => report.ok(&names[next], &text),
                    false => report.not_ok(&names[next], &text),
                }
                next += 1;
            }
        }
        // A job that panicked has no outcome.
        for name in &names[next..] {
            report.not_ok(name, "no result");
        }
    });
}
