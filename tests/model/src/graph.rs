// SPDX-License-Identifier: GPL-2.0
//! The graph of all states, and the rules about the future.
//!
//! stateright checks what holds in every state. That every path reaches an end is not a question
//! about single states, and its `eventually` does not see cycles. So the graph is built here, over
//! the same model, and sorted: a graph without cycles whose only dead ends are the ones wanted
//! leaves no path that goes on for ever or stops half-way. No fairness is assumed, except that a
//! step that is possible is taken some time; a call that found the send queue full and changed
//! nothing is no step.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher,
};

use ahash::RandomState;
use stateright::Model;

use crate::{
    rules::{self, Rule},
    state::{Login, State, Teardown},
    world::{Config, Step},
};

/// What is known about a state.
#[derive(Clone, Copy)]
struct Node {
    /// State it was found from, and its number in the order of steps.
    parent: u32,
    step: u8,
    /// The channel closes.
    closing: bool,
    /// The channel is open, and everything works.
    calm: bool,
    /// It is where a path may stop.
    end: bool,
}

/// The finished graph.
pub(crate) struct Graph {
    nodes: Vec<Node>,
    /// Where the edges of each node begin in `edges`; one more at the end.
    offsets: Vec<usize>,
    /// Target, and whether it is progress.
    edges: Vec<(u32, bool)>,
    /// Longest shortest way to a state.
    pub(crate) depth: u32,
    /// The first state found that breaks a rule.
    pub(crate) broken: Option<(Rule, u32)>,
}

/// Two hashes with different keys: 128 bits stand for a state.
struct Fingerprints(RandomState, RandomState);

impl Fingerprints {
    fn of(&self, state: &State) -> (u64, u64) {
        (self.0.hash_one(state), self.1.hash_one(state))
    }
}

impl Graph {
    /// Explores everything, or up to the first broken rule.
    pub(crate) fn new(cfg: &Config) -> Self {
        let keys = Fingerprints(RandomState::new(), RandomState::new());
        let mut known = HashMap::with_hasher(RandomState::new());
        let mut graph = Self {
            nodes: Vec::new(),
            offsets: vec![0],
            edges: Vec::new(),
            depth: 0,
            broken: None,
        };
        let mut todo = VecDeque::new();
        for state in cfg.init_states() {
            known.insert(keys.of(&state), 0);
            graph.nodes.push(graph.node(cfg, &state, 0, 0));
            todo.push_back((state, 0));
        }
        let mut steps = Vec::new();
        while let Some((state, depth)) = todo.pop_front() {
            let here = (graph.offsets.len() - 1) as u32;
            graph.depth = graph.depth.max(depth);
            steps.clear();
            cfg.actions(&state, &mut steps);
            for (number, &step) in steps.iter().enumerate() {
                let Some(next) = cfg.next_state(&state, step) else {
                    continue;
                };
                let new = graph.nodes.len() as u32;
                let to = *known.entry(keys.of(&next)).or_insert(new);
                if to == new {
                    let node = graph.node(cfg, &next, here, number as u8);
                    graph.nodes.push(node);
                    if let (Some(rule), None) = (next.broken, graph.broken) {
                        graph.broken = Some((rule, to));
                        return graph;
                    }
                    todo.push_back((next, depth + 1));
                }
                graph.edges.push((to, step.is_progress()));
            }
            graph.offsets.push(graph.edges.len());
        }
        graph
    }

    fn node(&self, cfg: &Config, s: &State, parent: u32, step: u8) -> Node {
        let closing = !s.is_open();
        let connected = s.peer.up || s.login == Login::BringUp;
        let calm = !closing && !s.qp_error && connected && !s.disconnect_pending;
        Node {
            parent,
            step,
            closing,
            calm,
            end: s.teardown == Teardown::End || (calm && rules::at_rest(s, cfg)),
        }
    }

    pub(crate) fn states(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn steps(&self) -> usize {
        self.edges.len()
    }

    /// Channels that are over: how often the end was reached in different ways.
    pub(crate) fn ends(&self) -> usize {
        self.nodes.iter().filter(|n| n.closing && n.end).count()
    }

    /// [`Rule::Ends`]: returns a state from which a path does not.
    pub(crate) fn ends_always(&self) -> Result<(), u32> {
        self.terminates(|node| node.closing, |_| true)
    }

    /// [`Rule::CalmDown`].
    pub(crate) fn calms_down(&self) -> Result<(), u32> {
        self.terminates(|node| node.calm, |progress| progress)
    }

    /// Looks at the part of the graph that `inside` and `counts` choose: it must have no cycle, and
    /// no dead end but ends.
    fn terminates(
        &self,
        inside: impl Fn(&Node) -> bool,
        counts: impl Fn(bool) -> bool,
    ) -> Result<(), u32> {
        let mut incoming = vec![0u32; self.nodes.len()];
        let edges = |n: usize| {
            let all = &self.edges[self.offsets[n]..self.offsets[n + 1]];
            all.iter().filter(|e| counts(e.1)).map(|e| e.0 as usize)
        };
        let mut members = 0;
        for (n, node) in self.nodes.iter().enumerate() {
            if !inside(node) {
                continue;
            }
            members += 1;
            let mut stuck = true;
            for to in edges(n) {
                stuck = false;
                incoming[to] += u32::from(inside(&self.nodes[to]));
            }
            if stuck && !node.end {
                return Err(n as u32);
            }
        }
        // Whoever cannot be taken away last has a cycle above or in itself.
        let first = |&n: &usize| inside(&self.nodes[n]) && incoming[n] == 0;
        let mut todo: Vec<usize> = (0..self.nodes.len()).filter(first).collect();
        let mut left = members;
        while let Some(n) = todo.pop() {
            left -= 1;
            for to in edges(n).filter(|&to| inside(&self.nodes[to])) {
                incoming[to] -= 1;
                if incoming[to] == 0 {
                    todo.push(to);
                }
            }
        }
        if left == 0 {
            return Ok(());
        }
        let cyclic = (0..self.nodes.len()).find(|&n| incoming[n] != 0);
        Err(cyclic.unwrap_or(0) as u32)
    }

    /// The way to a state, for people: steps, then the state itself.
    pub(crate) fn path(&self, cfg: &Config, to: u32) -> (Vec<Step>, State) {
        let mut numbers = Vec::new();
        let mut at = to;
        while at != 0 {
            let node = self.nodes[at as usize];
            numbers.push(node.step);
            at = node.parent;
        }
        let mut state = cfg.init_states()[0];
        let mut path = Vec::new();
        for number in numbers.into_iter().rev() {
            let mut steps = Vec::new();
            cfg.actions(&state, &mut steps);
            let step = steps[usize::from(number)];
            path.push(step);
            state = cfg.next_state(&state, step).unwrap_or(state);
        }
        (path, state)
    }
}
