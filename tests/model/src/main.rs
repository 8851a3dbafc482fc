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
//! Prints a line per exploration, `ok` or `not ok`; exit status 0 if all are ok.

#[path = "../../../src/srp/mod.rs"]
mod srp;

mod bounds;
mod driver;
mod graph;
mod login;
mod mutants;
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
    failed: bool,
}

impl Report {
    fn ok(&mut self, text: String) {
        println!("ok - {text}");
    }

    fn not_ok(&mut self, text: String, why: &str) {
        self.failed = true;
        println!("not ok - {text}");
        for line in why.lines() {
            println!("    {line}");
        }
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
    let name = format!(
        "{}: {} at a time, {states} states, {steps} steps, depth {depth}, {ends} ends",
        cfg.name, cfg.limit
    );
    if let Some(finding) = findings.first() {
        return report.not_ok(name, &finding.text());
    }
    let checker = cfg.clone().checker().threads(2).spawn_bfs().join();
    let text = format!("{name}, {:.1} s", began.elapsed().as_secs_f64());
    if !checker.discoveries().is_empty() {
        report.not_ok(text, "stateright finds a broken rule, the graph does not");
    } else if checker.unique_state_count() != states {
        let seen = checker.unique_state_count();
        report.not_ok(text, &format!("stateright sees {seen} states"));
    } else if ends == 0 && cfg.ends {
        report.not_ok(text, "no channel ever ends");
    } else {
        report.ok(text);
    }
}

/// Explores drivers that are wrong: each has to be noticed, by the rule that is about it.
fn check_mutants(report: &mut Report, bounds: &[Config]) {
    for &(mutant, expected, bound) in MUTANTS {
        let Some(cfg) = bounds.iter().find(|cfg| cfg.name == bound) else {
            report.not_ok(format!("{mutant:?}"), "there is no such bound");
            continue;
        };
        let cfg = Config {
            mutant,
            ..cfg.clone()
        };
        let rules: Vec<Rule> = explore(&cfg).1.iter().map(|f| f.rule).collect();
        let name = format!("a driver with {mutant:?} breaks {expected:?} (in {bound})");
        if rules.contains(&expected) {
            report.ok(name);
        } else {
            report.not_ok(name, &format!("broken instead: {rules:?}"));
        }
    }
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w));
    let large = std::env::var("MODEL_BOUND").is_ok_and(|bound| bound == "large");
    let mut report = Report { failed: false };
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
    ExitCode::from(u8::from(report.failed))
}
