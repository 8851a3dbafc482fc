// SPDX-License-Identifier: GPL-2.0
//! The subcommand `neighbours`: many peers that take what a login gives them and give nothing back,
//! for some seconds; other sessions are to be served beside them.
//!
//! Not here: units that are wrong (`fuzz`).

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::Barrier,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use clap::{
    builder::PossibleValue,
    value_parser,
    Arg,
    ArgMatches,
    Command,
    ValueEnum, //
};

use crate::{
    bench::{
        self,
        Bench, //
    },
    conn::{
        Conn,
        Options, //
    },
    iu::{
        inquiry,
        Cmd, //
    },
    session::{
        Login,
        Seen,
        Session, //
    },
    verbs::Fallible, //
};

/// Length of the answers that are asked for, in bytes.
const ANSWER: u16 = 96;

/// What the peers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Log in, and send nothing.
    Idle,
    /// Spend all credits, and take no response.
    Deaf,
    /// Spend all credits, all the time.
    Busy,
    /// Log in and out.
    Churn,
    /// Ask for connections, and go before the answer.
    Storm,
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Idle, Self::Deaf, Self::Busy, Self::Churn, Self::Storm]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Idle => ("idle", "log in, and send nothing"),
            Self::Deaf => ("deaf", "spend all credits, and take no response"),
            Self::Busy => ("busy", "spend all credits, all the time"),
            Self::Churn => ("churn", "log in and out"),
            Self::Storm => ("storm", "ask for connections, and go before the answer"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// Describes the subcommand.
pub(crate) fn command() -> Command {
    Command::new("neighbours")
        .about("Be many peers that give nothing back")
        .args(bench::arguments())
        .arg(
            Arg::new("kind")
                .long("kind")
                .required(true)
                .value_parser(value_parser!(Kind))
                .help("what they do"),
        )
        .arg(bench::number(
            "peers",
            "64",
            "how many, each an initiator of its own",
        ))
        .arg(bench::number(
            "seconds",
            "20",
            "for how long, from the last login on",
        ))
}

/// What became of logins, and what came back, each with how often.
type Counts = BTreeMap<String, u64>;

fn count(counts: &mut Counts, what: &str) {
    *counts.entry(what.into()).or_default() += 1;
}

/// One peer.
struct Peer<'a> {
    bench: &'a Bench,
    kind: Kind,
    extension: u64,
    counts: Counts,
}

impl Peer<'_> {
    fn options(&self) -> Options {
        let deaf = self.kind == Kind::Deaf;
        Options {
            // A deaf one has room for the first response only, and keeps the target waiting.
            recvs: if deaf { 1 } else { 200 },
            repost: !deaf,
            memory: 4096,
            ..Options::default()
        }
    }

    /// A login; [`None`] if it was refused.
    fn login(&mut self) -> Fallible<Option<Box<Session>>> {
        let request = self.bench.dest.emit(&self.bench.request(self.extension));
        let login = self.bench.login_bytes(&request, self.options())?;
        count(&mut self.counts, &format!("login {login}"));
        Ok(match login {
            Login::Accepted(session) => Some(session),
            _ => None,
        })
    }

    /// Spends credits; the answers go to the one place.
    fn spend(session: &mut Session) -> Fallible<()> {
        let length = usize::from(ANSWER);
        session.conn.memory.allow(0, length);
        let cmd = Cmd::data_in(inquiry(ANSWER), session.conn.memory.desc(0, length));
        while session.credits > 0 {
            session.start(&cmd)?;
        }
        Ok(())
    }

    /// Does what peers of this kind do once they are logged in.
    fn stay(&mut self, session: &mut Session, end: Instant) -> Fallible<()> {
        if self.kind != Kind::Idle {
            Self::spend(session)?;
        }
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if self.kind != Kind::Busy {
                thread::sleep(left);
                return Ok(());
            }
            match session.next(left.min(Duration::from_secs(1)))? {
                Seen::Rsp(rsp) => count(&mut self.counts, &format!("status {:#x}", rsp.status)),
                Seen::Gone => {
                    count(&mut self.counts, "ended by the target");
                    return Ok(());
                }
                _ => (),
            }
            Self::spend(session)?;
        }
    }

    /// Logs in and out, or asks and goes, until the end.
    fn come_and_go(&mut self, end: Instant) -> Fallible<()> {
        while Instant::now() < end {
            if self.kind == Kind::Churn {
                self.login()?;
            } else {
                let mut conn = Conn::open(self.bench.dest, self.options())?;
                conn.request(&self.bench.dest.emit(&self.bench.request(self.extension)))?;
                count(&mut self.counts, "asked");
            }
        }
        Ok(())
    }

    /// Waits at `all` until all peers have tried to log in.
    fn run(mut self, seconds: u64, all: &Barrier) -> Fallible<Counts> {
        let stays = matches!(self.kind, Kind::Idle | Kind::Deaf | Kind::Busy);
        let login = if stays { self.login() } else { Ok(None) };
        all.wait();
        let mut session = login?;
        let end = Instant::now() + Duration::from_secs(seconds);
        match &mut session {
            Some(session) => self.stay(session, end)?,
            None if stays => (),
            None => self.come_and_go(end)?,
        }
        Ok(self.counts)
    }
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    let number = |name| bench::value(arguments, name);
    let (peers, seconds) = (number("peers"), number("seconds"));
    let Some(&kind) = arguments.get_one::<Kind>("kind") else {
        return ExitCode::FAILURE;
    };
    let all_there = Barrier::new(usize::try_from(peers).unwrap_or(usize::MAX));
    let one = |extension| {
        let bench = Bench::new(arguments)?;
        let peer = Peer {
            bench: &bench,
            kind,
            extension,
            counts: Counts::new(),
        };
        peer.run(seconds, &all_there)
    };
    let (mut counts, mut failed) = (Counts::new(), false);
    thread::scope(|scope| {
        let all: Vec<_> = (1..=peers).map(|n| scope.spawn(move || one(n))).collect();
        for peer in all {
            match peer
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
            {
                Ok(some) => some
                    .into_iter()
                    .for_each(|(what, n)| *counts.entry(what).or_default() += n),
                Err(text) => {
                    println!("FAILED {text}");
                    failed = true;
                }
            }
        }
    });
    for (what, number) in counts {
        println!("{what}: {number}");
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
