// SPDX-License-Identifier: GPL-2.0
//! Executions of the driver in a world: one, as many as a bound has, or again the one that broke a
//! rule.

use sched::{
    choose::{All, Chooser, Kept, Random, Replay},
    Failure,
};

use crate::{
    threads,
    world::{Config, Rule, World},
};

/// A rule that is broken, and the execution in which it is.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) how: String,
    /// The choices, see [`replay`].
    pub(crate) choices: String,
}

/// Stands before the choices of an execution in which no thread is interrupted.
const UNDISTURBED: char = '-';

impl Finding {
    fn new((rule, how): (Rule, String), choices: &str, undisturbed: bool) -> Self {
        let choices = match undisturbed {
            true => format!("{UNDISTURBED}{choices}"),
            false => choices.into(),
        };
        Self { rule, how, choices }
    }
}

/// What an exploration has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) executions: u64,
    /// Points at which another thread could have come in, in all executions.
    pub(crate) points: u64,
    /// States in which there was a choice, if everything was explored.
    pub(crate) states: usize,
}

/// Executes once. Returns the points passed.
fn once(
    cfg: &Config,
    chooser: &mut dyn Chooser,
    undisturbed: bool,
    log: bool,
) -> (u32, Option<(Rule, String)>, Vec<String>) {
    let world = World::begin(*cfg, undisturbed, log);
    let result = sched::run(
        chooser,
        || threads::begin(cfg),
        || {
            for conn in crate::world::world().conns() {
                conn.check();
            }
        },
    );
    if result.is_ok() {
        for conn in world.conns() {
            conn.check_end();
        }
    }
    let mut broken = world.broken.take();
    let failed = match &result {
        Ok(_) | Err(Failure::Stopped) => None,
        Err(Failure::Stuck(threads)) => Some((Rule::Ends, format!("stuck: {threads}"))),
        Err(Failure::Endless) => Some((Rule::Ends, "there is no end".into())),
        Err(Failure::Panic(text)) => Some((Rule::NoPanic, text.clone())),
    };
    if broken.is_none() {
        broken = failed;
    }
    let log = world.log.take().unwrap_or_default();
    if broken.is_none() {
        // SAFETY: All threads have ended; the queues and the list are cleared before the next one.
        unsafe { world.end() };
    }
    (result.unwrap_or(0), broken, log)
}

/// Explores everything, with at most so many interruptions, up to the first broken rule.
pub(crate) fn all(cfg: &Config, interruptions: u8) -> (Seen, Option<Finding>) {
    let mut seen = Seen::default();
    let mut all = All::new(interruptions);
    while all.advance() {
        let mut kept = Kept::new(&mut all);
        let undisturbed = interruptions == 0;
        let (points, broken, _) = once(cfg, &mut kept, undisturbed, false);
        seen.executions += 1;
        seen.points += u64::from(points);
        if let Some(broken) = broken {
            return (seen, Some(Finding::new(broken, &kept.text(), undisturbed)));
        }
    }
    seen.states = all.states();
    (seen, None)
}

/// Whether no thread is interrupted in the execution with this seed: some rules can be looked at
/// from outside only then.
fn is_undisturbed(seed: u64) -> bool {
    seed % 4 == 0
}

/// Explores at random, one execution per seed, up to the first broken rule.
pub(crate) fn random(cfg: &Config, seeds: impl Iterator<Item = u64>) -> (Seen, Option<Finding>) {
    let mut seen = Seen::default();
    for seed in seeds {
        let undisturbed = is_undisturbed(seed);
        let mut random = match undisturbed {
            true => Random::undisturbed(seed),
            false => Random::new(seed),
        };
        let mut kept = Kept::new(&mut random);
        let (points, broken, _) = once(cfg, &mut kept, undisturbed, false);
        seen.executions += 1;
        seen.points += u64::from(points);
        if let Some((rule, how)) = broken {
            let broken = (rule, format!("{how} (seed {seed})"));
            return (seen, Some(Finding::new(broken, &kept.text(), undisturbed)));
        }
    }
    (seen, None)
}

/// Executes once more as before; returns what happened.
pub(crate) fn replay(cfg: &Config, choices: &str) -> (Option<(Rule, String)>, Vec<String>) {
    let mut replay = Replay::new(choices);
    let (_, broken, log) = once(cfg, &mut replay, choices.starts_with(UNDISTURBED), true);
    (broken, log)
}
