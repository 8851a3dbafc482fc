// SPDX-License-Identifier: GPL-2.0
//! The subcommand `logins`: logs in and out many times, for tests of what stays behind.

use std::{process::ExitCode, thread, time::Instant};

use clap::{ArgMatches, Command};

use crate::{
    bench::{self, Bench},
    conn::Options,
    verbs::Fallible,
};

/// Describes the subcommand.
pub(crate) fn command() -> Command {
    Command::new("logins")
        .about("Log in, ask one command, and log out, many times")
        .args(bench::arguments())
        .arg(bench::number("count", "1000", "how many logins"))
        .arg(bench::number(
            "parallel",
            "4",
            "how many at a time, at most 8",
        ))
}

/// Logs in `count` times as one initiator.
fn some(bench: &Bench, extension: u64, count: u64) -> Fallible<()> {
    let options = Options {
        recvs: 8,
        sends: 8,
        memory: 4096,
        ..Options::default()
    };
    for n in 0..count {
        let mut session = bench.session_with(&bench.request(extension), options.clone())?;
        let seen = session.works()?;
        drop(session);
        let faults = bench.take_faults();
        if seen != "works" || !faults.is_empty() {
            return Err(format!("login {n}: {seen} {}", faults.join("; ")));
        }
    }
    Ok(())
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let number = |name| bench::value(arguments, name);
    let (count, parallel) = (number("count"), number("parallel").clamp(1, 8));
    let began = Instant::now();
    let failed = thread::scope(|scope| {
        let all: Vec<_> = (0..parallel)
            .map(|n| {
                let part = count / parallel + u64::from(n < count % parallel);
                scope.spawn(move || Bench::new(arguments).and_then(|b| some(&b, n + 1, part)))
            })
            .collect();
        let mut failed = false;
        for thread in all {
            let done = thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()));
            if let Err(text) = done {
                println!("FAILED {text}");
                failed = true;
            }
        }
        failed
    });
    let seconds = began.elapsed().as_secs_f64();
    println!("{count} logins, {parallel} at a time, {seconds:.1} s");
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
