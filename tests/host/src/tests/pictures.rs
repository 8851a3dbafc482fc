// SPDX-License-Identifier: GPL-2.0
//! The state diagrams in docs/architecture.md show what the machines do: every transition that one of
//! them makes is drawn, with its event and what the driver has to do, and nothing else is.
//!
//! A transition is written `From --> To : Event, Event (condition) / action, action`. What is in
//! parentheses is for readers. Events that change nothing and ask for nothing are not drawn.

use std::collections::{
    BTreeSet,
    HashSet, //
};

use crate::srp::machine::{
    channel,
    command, //
};

const ARCHITECTURE: &str = include_str!("../../../../docs/architecture.md");

/// From, to, event, and actions separated by commas.
type Transition = (String, String, String, String);

/// Returns the transitions in the state diagram below a heading, but for begin and end.
fn drawn(heading: &str) -> BTreeSet<Transition> {
    let (_, section) = ARCHITECTURE
        .split_once(&format!("\n## {heading}\n"))
        .expect("the section");
    let (_, rest) = section
        .split_once("```mermaid\nstateDiagram-v2\n")
        .expect("its diagram");
    let (diagram, _) = rest.split_once("```").expect("its end");
    let mut found = BTreeSet::new();
    for line in diagram.lines() {
        let Some((from, rest)) = line.split_once(" --> ") else {
            continue;
        };
        let (to, label) = rest.split_once(" : ").unwrap_or((rest, ""));
        if from.trim() == "[*]" || to == "[*]" {
            continue;
        }
        let label = without_conditions(label);
        let (events, actions) = label.split_once(" / ").unwrap_or((&label, ""));
        for event in events.split(',') {
            let transition = (
                from.trim().to_string(),
                to.trim().to_string(),
                event.trim().to_string(),
                actions.trim().to_string(),
            );
            assert!(found.insert(transition), "drawn twice: {line}");
        }
    }
    found
}

/// Removes what is in parentheses.
fn without_conditions(label: &str) -> String {
    let mut text = String::new();
    for part in label.split('(') {
        let (_, shown) = part.split_once(')').unwrap_or(("", part));
        text.push_str(shown.trim_end());
    }
    text
}

/// Returns the name of a variant, without its fields.
fn name(variant: impl std::fmt::Debug) -> String {
    let text = format!("{variant:?}");
    text.split([' ', '(', '{']).next().unwrap().to_string()
}

/// Says what is drawn and not done, and the other way round.
fn compare(drawn: &BTreeSet<Transition>, done: &BTreeSet<Transition>) {
    assert!(!done.is_empty());
    let wrong: Vec<_> = drawn.difference(done).collect();
    let missing: Vec<_> = done.difference(drawn).collect();
    assert!(
        wrong.is_empty() && missing.is_empty(),
        "drawn, but not so: {wrong:#?}\nnot drawn: {missing:#?}"
    );
}

#[test]
fn channel() {
    use super::channel::{
        take,
        Step,
        STEPS, //
    };
    use channel::Channel;
    let mut done = BTreeSet::new();
    // Every order of six steps leads to every state.
    let mut machines = vec![Channel::new(true)];
    for _ in 0..6 {
        let mut next = Vec::new();
        for before in machines {
            for step in STEPS {
                let mut after = before;
                let (actions, farewell) = take(&mut after, step);
                // What is noted and not shown here changes what is said later.
                if after == before {
                    continue;
                }
                next.push(after);
                if after.state() != before.state() {
                    let words: Vec<&str> = [
                        (actions.start_teardown.is_some(), "start_teardown"),
                        (farewell.send_logout.is_some(), "send_logout"),
                        (farewell.send_disconnect, "send_disconnect"),
                    ]
                    .into_iter()
                    .filter_map(|(wanted, word)| wanted.then_some(word))
                    .collect();
                    done.insert((
                        name(before.state()),
                        name(after.state()),
                        match step {
                            Step::Event(event) => name(event),
                            other => name(other),
                        },
                        words.join(", "),
                    ));
                }
            }
        }
        machines = next;
    }
    compare(&drawn("The end of a channel"), &done);
}

#[test]
fn command() {
    use super::command::{
        take,
        Step,
        STEPS, //
    };
    use command::Command;
    let mut done = BTreeSet::new();
    let mut seen = HashSet::from([Command::new()]);
    let mut waiting = vec![Command::new()];
    while let Some(before) = waiting.pop() {
        for step in STEPS {
            let mut after = before;
            let Ok(action) = take(&mut after, step) else {
                continue;
            };
            if after.state() != before.state() || action.is_some() {
                let what = match step {
                    Step::Event(event) => name(event),
                    Step::Fact(fact) => name(fact),
                };
                let word = action.map(name).unwrap_or_default();
                done.insert((name(before.state()), name(after.state()), what, word));
            }
            if seen.insert(after) {
                waiting.push(after);
            }
        }
    }
    compare(&drawn("The life of a command"), &done);
}
