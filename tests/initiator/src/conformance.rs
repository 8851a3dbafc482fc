// SPDX-License-Identifier: GPL-2.0
//! The subcommand `conformance`: runs scenarios and prints a table.
//!
//! With `--json` every scenario is a line when it begins, `{"begin": name, ...}`, and another with its
//! result, so that they say where the target died.

use std::{
    fmt::Write as _,
    panic::{catch_unwind, AssertUnwindSafe},
    process::ExitCode,
    time::Instant,
};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    bench::{self, Bench},
    scenarios::{all, Scenario},
    verbs::Fallible,
};

/// Describes the subcommand.
pub(crate) fn command() -> Command {
    Command::new("conformance")
        .about("Run scenarios and print a table: scenario, expected, seen")
        .args(bench::arguments().map(|arg| {
            let required = arg.is_required_set();
            arg.required(false).required_unless_present_if(required)
        }))
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("NAMES")
                .value_delimiter(',')
                .help("run only these scenarios, or groups"),
        )
        .arg(
            Arg::new("list")
                .long("list")
                .action(ArgAction::SetTrue)
                .help("list the scenarios and run nothing"),
        )
        .arg(
            Arg::new("ask")
                .long("ask")
                .action(ArgAction::SetTrue)
                .requires("admin")
                .help("ask the administrator which scenario is next, until there is none"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("print lines of JSON instead of a table"),
        )
}

/// `--list` needs no target.
trait UnlessListed {
    fn required_unless_present_if(self, required: bool) -> Self;
}

impl UnlessListed for Arg {
    fn required_unless_present_if(self, required: bool) -> Self {
        if required {
            self.required_unless_present("list")
        } else {
            self
        }
    }
}

/// How a scenario ended.
enum Verdict {
    Ok,
    Differs,
    Skipped,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Differs => "DIFFERS",
            Self::Skipped => "SKIP",
        }
    }
}

/// Runs one scenario; returns the verdict and what was seen.
fn run_one(bench: &Bench, scenario: &Scenario) -> (Verdict, String) {
    if let Some(why) = scenario.needs.missing(bench) {
        return (Verdict::Skipped, why.into());
    }
    let done = catch_unwind(AssertUnwindSafe(|| (scenario.run)(bench)));
    let mut seen = match done {
        Ok(Ok(seen)) => seen,
        Ok(Err(text)) => format!("error: {text}"),
        Err(_) => "error: the scenario panicked".into(),
    };
    for fault in bench.take_faults() {
        let _ = write!(seen, "; {fault}");
    }
    if scenario.expected.contains(&seen.as_str()) {
        (Verdict::Ok, seen)
    } else {
        (Verdict::Differs, seen)
    }
}

/// Quotes a text for JSON.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns the next scenario: of the list, or the one that the administrator names. In either case the
/// administrator can look whether the last one did any harm.
fn next<'a>(
    bench: &Bench,
    ask: bool,
    listed: &mut impl Iterator<Item = &'a Scenario>,
) -> Fallible<Option<&'a Scenario>> {
    if ask {
        let name = bench.admin("next")?;
        if name.is_empty() {
            return Ok(None);
        }
        let found = all().find(|s| s.name == name);
        return found
            .map(Some)
            .ok_or(format!("there is no scenario {name}"));
    }
    let Some(s) = listed.next() else {
        return Ok(None);
    };
    if bench.has_admin {
        bench.admin("next")?;
    }
    Ok(Some(s))
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let only: Vec<&String> = arguments.get_many("only").unwrap_or_default().collect();
    let wanted = |s: &&Scenario| {
        let group = s.name.split('.').next();
        only.is_empty()
            || only
                .iter()
                .any(|o| *o == s.name || Some(o.as_str()) == group)
    };
    let scenarios: Vec<&Scenario> = all().filter(wanted).collect();
    if arguments.get_flag("list") {
        for s in scenarios {
            println!("{}\t{}", s.name, s.says);
        }
        return ExitCode::SUCCESS;
    }
    let bench = match Bench::new(arguments) {
        Ok(bench) => bench,
        Err(text) => {
            eprintln!("initiator: {text}");
            return ExitCode::from(2);
        }
    };
    let json = arguments.get_flag("json");
    let ask = arguments.get_flag("ask");
    let (mut differing, mut ran) = (0, 0);
    let mut listed = scenarios.into_iter();
    loop {
        let s = match next(&bench, ask, &mut listed) {
            Ok(Some(s)) => s,
            Ok(None) => break,
            Err(text) => {
                eprintln!("initiator: {text}");
                return ExitCode::from(2);
            }
        };
        if json {
            println!(
                "{{\"begin\": {}, \"says\": {}, \"expected\": {}}}",
                quote(s.name),
                quote(s.says),
                quote(&s.expected.join(" | "))
            );
        }
        let began = Instant::now();
        bench.settle();
        let (verdict, seen) = run_one(&bench, s);
        let expected = s.expected.join(" | ");
        if json {
            println!(
                "{{\"name\": {}, \"says\": {}, \"expected\": {}, \"seen\": {}, \"verdict\": {}, \
                 \"ms\": {}}}",
                quote(s.name),
                quote(s.says),
                quote(&expected),
                quote(&seen),
                quote(verdict.word()),
                began.elapsed().as_millis()
            );
        } else {
            println!("{:<8} {:<36} {}", verdict.word(), s.name, seen);
            if let Verdict::Differs = verdict {
                println!("{:45} expected: {expected}", "");
            }
        }
        ran += 1;
        differing += usize::from(matches!(verdict, Verdict::Differs));
    }
    if !json {
        println!("{ran} scenarios, {differing} differ");
    }
    if ran > 0 && differing == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
