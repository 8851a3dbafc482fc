// SPDX-License-Identifier: GPL-2.0
//! Explores the driver of the kernel module, that is its orchestration of channel and command, in
//! many orders of events: all of them in small bounds, and a stated number at random in larger ones.
//!
//! The driver is the module's: `build.rs` copies `src/channel*`, `src/command*`, `src/link*` and some
//! more, `src/srp` is included as it is. What lies below them is scripted: the kernel crate
//! (`kernel/`, with threads and choices of `sched/`), the wrappers of RDMA and the rest (`host/`),
//! the storage engine (`scripted`). Around the channel are a connection (`conn`), a peer (`peer`) and
//! everything else that acts on it (`threads`). What has to hold is in `world` and in the functions
//! `check_*` of `conn`; what could be wrong with a driver in `mutants`. The decision about logins,
//! which has no order of events, is in `decision`.
//!
//! ```text
//! RUSTC_BOOTSTRAP=srpt_model cargo run --locked [-- name...]
//! ```
//!
//! `MODEL_BOUND=large` explores 125 times as many orders, and larger bounds. `MODEL_REPLAY=<what a
//! failure says>` repeats one execution and prints what happens in it.
//!
//! Prints KTAP, a result per exploration; exit status 0 if all are ok.

#![allow(clippy::type_complexity, reason = "signatures are the module's")]
// As the kernel's build allows it: methods of what an `Arc` of the kernel crate refers to.
#![feature(arbitrary_self_types)]

mod bounds;
mod conn;
mod decision;
mod explore;
mod mutants;
mod peer;
mod report;
mod scripted;
mod threads;
mod world;

#[path = "../../../src/srp/mod.rs"]
#[allow(dead_code, reason = "the whole layer, whatever is used here")]
mod srp;

#[path = "host/hca.rs"]
mod hca;
#[path = "host/login.rs"]
mod login;
#[path = "host/port.rs"]
mod port;
#[path = "host/rdma/mod.rs"]
mod rdma;
#[path = "host/sync.rs"]
mod sync;
#[path = "host/sysfs.rs"]
mod sysfs;
#[path = "host/target.rs"]
mod target;
#[path = "host/trace.rs"]
mod trace;

// The modules of the driver.
include!(concat!(env!("OUT_DIR"), "/driver.rs"));

use std::{process::ExitCode, time::Instant};

use bounds::{Bound, How};
use explore::{Finding, Seen};
use mutants::MUTANTS;
use report::{execute, Job, Outcome, Report};
use world::Config;

/// Executions in which an error has to be noticed.
const MOST: u64 = 400_000;

/// The text about a finding: the rule, how to see it again, what happened.
fn about(cfg: &Config, finding: &Finding) -> String {
    let (_, log) = explore::replay(cfg, &finding.choices);
    format!(
        "{:?} is broken: {}\nMODEL_REPLAY='{}::{}'\n{}",
        finding.rule,
        finding.how,
        cfg.name,
        finding.choices,
        log.join("\n")
    )
}

/// Explores a bound.
fn explore_bound(bound: &Bound) -> Outcome {
    let began = Instant::now();
    let cfg = &bound.cfg;
    mutants::set(None);
    let (seen, finding) = match bound.how {
        How::All { interruptions } => explore::all(cfg, interruptions),
        How::Random { executions } => explore::random(cfg, 0..executions),
    };
    if let Some(finding) = finding {
        return (false, about(cfg, &finding));
    }
    let time = began.elapsed().as_secs_f64();
    let Seen {
        executions,
        points,
        states,
    } = seen;
    let what = match bound.how {
        How::All { interruptions } => {
            format!("all, {interruptions} interruptions, {executions} executions, {states} states")
        }
        How::Random { .. } => format!("{executions} executions at random"),
    };
    (true, format!("{what}, {points} points, {time:.1} s"))
}

/// Explores a driver that is wrong: that has to be noticed, by a rule that is about it.
fn explore_mutant(number: usize, bounds: &[Bound]) -> Outcome {
    let mutant = &MUTANTS[number];
    let Some(bound) = bounds.iter().find(|bound| bound.cfg.name == mutant.bound) else {
        return (false, "there is no such bound".into());
    };
    mutants::set(Some(number));
    let mut others = Vec::new();
    let mut next = 0;
    while next < MOST && others.len() < 40 {
        let (seen, finding) = explore::random(&bound.cfg, next..MOST);
        next += seen.executions;
        let Some(finding) = finding else { break };
        let rule = format!("{:?}", finding.rule);
        // What is printed about it is good for something.
        let again = explore::replay(&bound.cfg, &finding.choices).0;
        if again.is_none_or(|(again, _)| again != finding.rule) {
            return (false, format!("{} is not repeated", finding.choices));
        }
        if mutant.rules.contains(&rule.as_str()) {
            let text = format!("{rule} after {next} executions: {}", finding.how);
            let again = format!(
                "MODEL_REPLAY='{}:{}:{}'",
                mutant.bound, mutant.name, finding.choices
            );
            return (true, format!("{text}\n{again}"));
        }
        if !others.contains(&rule) {
            others.push(rule);
        }
    }
    (false, format!("broken instead: {others:?}"))
}

/// Executes once more what `MODEL_REPLAY` says.
fn replay(what: &str, bounds: &[Bound]) -> ExitCode {
    kernel::print::set(world::printed);
    let mut parts = what.split(':');
    let mut part = || parts.next().unwrap_or("");
    let (name, mutant, choices) = (part(), part(), part());
    mutants::set(MUTANTS.iter().position(|m| m.name == mutant));
    let Some(bound) = bounds.iter().find(|bound| bound.cfg.name == name) else {
        eprintln!("there is no exploration {name:?}");
        return ExitCode::FAILURE;
    };
    let (broken, log) = explore::replay(&bound.cfg, choices);
    println!("{}", log.join("\n"));
    println!("{broken:?}");
    ExitCode::from(u8::from(broken.is_some()))
}

fn main() -> ExitCode {
    // A panic is a finding, and said with it.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    let large = std::env::var("MODEL_BOUND").is_ok_and(|bound| bound == "large");
    let random = bounds::random(if large { 125 } else { 1 });
    let mut bounds = bounds::all(large);
    bounds.extend(&random);
    if let Ok(what) = std::env::var("MODEL_REPLAY") {
        return replay(&what, &bounds);
    }
    let mut report = Report::new();
    if is_wanted("login decision") {
        decision::check(&mut report);
    }
    let mut jobs = Vec::new();
    for bound in bounds.into_iter().filter(|b| is_wanted(b.cfg.name)) {
        jobs.push(Job {
            name: bound.cfg.name.into(),
            run: Box::new(move || explore_bound(&bound)),
        });
    }
    for (number, mutant) in MUTANTS.iter().enumerate() {
        let name = format!(
            "a driver with {} breaks {} (in {})",
            mutant.name,
            mutant.rules.join(" or "),
            mutant.bound
        );
        let random = random.clone();
        if is_wanted("mutants") || is_wanted(mutant.name) {
            jobs.push(Job {
                name,
                run: Box::new(move || explore_mutant(number, &random)),
            });
        }
    }
    execute(&mut report, jobs, || kernel::print::set(world::printed));
    report.end()
}
