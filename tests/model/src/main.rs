// SPDX-License-Identifier: GPL-2.0
//! Explores the machines of `src/srp` exhaustively, to a stated bound.
//!
//! The machines are the very files of the kernel module. Around them is a driver that executes
//! their decisions in the order of the module (`driver`), and a world that does everything it may
//! in every order (`world`). What has to hold is in `rules`, what could be wrong with a driver in
//! `mutants`. The decision about logins, which has no order of events, is in `login`.
//!
//! ```text
//! cargo run --locked [-- name...]
//! ```
//!
//! `MODEL_BOUND=large` takes larger bounds: minutes, and gigabytes of memory.
//!
//! Prints KTAP, a result per exploration; exit status 0 if all are ok.

#[path = "../../../src/srp/mod.rs"]
mod srp;

mod bounds;
mod driver;
mod graph;
mod login;
mod mutants;
mod notice;
mod rules;
mod simple;
mod state;
mod teardown;
mod world;

use std::{process::ExitCode, time::Instant};

use stateright::{Checker, Model};

use graph::Graph;
use mutants::MUTANTS;
use rules::Rule;
use world::{Config, Step};

/// Prints what happened.
struct Report {
    count: usize,
    failed: bool,
}

impl Report {
    fn new() -> Self {
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

    fn ok(&mut self, name: &str, about: &str) {
        self.result("ok", name, about);
    }

    fn not_ok(&mut self, name: &str, why: &str) {
        self.failed = true;
        self.result("not ok", name, why);
    }

    fn end(self) -> ExitCode {
        println!("1..{}", self.count);
        ExitCode::from(u8::from(self.failed))
    }
}

/// A rule that is broken, and how it came to that.
struct Finding {
    rule: Rule,
    path: Vec<Step>,
    state: Box<state::State>,
}

impl Finding {
    fn new(cfg: &Config, graph: &Graph, rule: Rule, at: u32) -> Self {
        let (path, state) = graph.path(cfg, at);
        let state = Box::new(state);
        Self { rule, path, state }
    }

    fn text(&self) -> String {
        let mut text = format!("{:?} is broken after", self.rule);
        for step in &self.path {
            text += &format!("\n  {step:?}");
        }
        text + &format!("\n{:?}", self.state)
    }
}

/// Explores one bound; returns the graph, and the rules that are broken.
fn explore(cfg: &Config) -> (Graph, Vec<Finding>) {
    let graph = Graph::new(cfg);
    let mut broken: Vec<(Rule, u32)> = graph.broken.into_iter().collect();
    // A graph that was not finished says nothing about the future.
    if broken.is_empty() {
        broken.extend(graph.ends_always().err().map(|at| (Rule::Ends, at)));
        broken.extend(graph.calms_down().err().map(|at| (Rule::CalmDown, at)));
    }
    let findings = broken
        .into_iter()
        .map(|(rule, at)| Finding::new(cfg, &graph, rule, at))
        .collect();
    (graph, findings)
}

/// Explores a bound with stateright and with the graph, which must agree.
fn check(report: &mut Report, cfg: &Config) {
    let began = Instant::now();
    let (graph, findings) = explore(cfg);
    let (states, steps, depth) = (graph.states(), graph.steps(), graph.depth);
    let ends = graph.ends();
    drop(graph);
    let size = format!(
        "{} at a time, {states} states, {steps} steps, depth {depth}, {ends} ends",
        cfg.limit
    );
    if let Some(finding) = findings.first() {
        return report.not_ok(cfg.name, &format!("{size}\n{}", finding.text()));
    }
    let checker = cfg.clone().checker().threads(2).spawn_bfs().join();
    let text = format!("{size}, {:.1} s", began.elapsed().as_secs_f64());
    let wrong = if !checker.discoveries().is_empty() {
        "stateright finds a broken rule, the graph does not".into()
    } else if checker.unique_state_count() != states {
        format!("stateright sees {} states", checker.unique_state_count())
    } else if ends == 0 && cfg.ends {
        "no channel ever ends".into()
    } else {
        return report.ok(cfg.name, &text);
    };
    report.not_ok(cfg.name, &format!("{text}\n{wrong}"));
}

/// Explores drivers that are wrong: each has to be noticed, by the rule that is about it.
fn check_mutants(report: &mut Report, bounds: &[Config]) {
    for &(mutant, expected, bound) in MUTANTS {
        let Some(cfg) = bounds.iter().find(|cfg| cfg.name == bound) else {
            report.not_ok(&format!("{mutant:?}"), "there is no such bound");
            continue;
        };
        let cfg = Config {
            mutant,
            ..cfg.clone()
        };
        let rules: Vec<Rule> = explore(&cfg).1.iter().map(|f| f.rule).collect();
        let name = format!("a driver with {mutant:?} breaks {expected:?} (in {bound})");
        if rules.contains(&expected) {
            report.ok(&name, "");
        } else {
            report.not_ok(&name, &format!("broken instead: {rules:?}"));
        }
    }
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w));
    let large = std::env::var("MODEL_BOUND").is_ok_and(|bound| bound == "large");
    let mut report = Report::new();
    if is_wanted("login") {
        login::check(&mut report);
    }
    for cfg in bounds::all(large) {
        if is_wanted(cfg.name) {
            check(&mut report, &cfg);
        }
    }
    if is_wanted("mutants") {
        check_mutants(&mut report, &bounds::all(true));
    }
    report.end()
}
