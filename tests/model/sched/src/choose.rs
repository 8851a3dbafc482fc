// SPDX-License-Identifier: GPL-2.0
//! Ways to choose: everything up to a bound, at random, or as before.
//!
//! Every choice is kept, so that an execution can be repeated: see [`Replay`].

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A place at which several threads can go on.
pub struct Point<'a> {
    /// Their numbers.
    pub options: &'a [usize],
    /// The first is the one that runs, and is in the middle of something: another one interrupts it.
    pub costs: bool,
    /// Stands for the state.
    pub state: u64,
}

/// What chooses. The functions return an index.
pub trait Chooser {
    /// Which of the threads goes on.
    fn thread(&mut self, point: &Point<'_>) -> usize;
    /// Which of `n` things happens.
    fn data(&mut self, n: usize) -> usize;
    /// What happens from now on makes no difference.
    fn settled(&mut self) {}
}

/// The number is a hash already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

struct Node {
    options: u8,
    chosen: u8,
}

/// Every choice, with at most so many interruptions of a thread in the middle of something: one
/// execution after the other, depth first. What comes after a state that was seen is left out.
pub struct All {
    bound: u8,
    path: Vec<Node>,
    depth: usize,
    used: u8,
    /// Interruptions with which a state was reached, the least.
    seen: HashMap<u64, u8, BuildHasherDefault<Same>>,
    /// The rest of the execution was seen.
    coasting: bool,
    done: bool,
}

impl All {
    pub fn new(bound: u8) -> Self {
        Self {
            bound,
            path: Vec::new(),
            depth: 0,
            used: 0,
            seen: HashMap::default(),
            coasting: false,
            done: false,
        }
    }

    /// States in which there was a choice.
    pub fn states(&self) -> usize {
        self.seen.len()
    }

    /// Gets ready for the next execution; `false` if there is none.
    pub fn advance(&mut self) -> bool {
        if self.depth == 0 && self.path.is_empty() {
            // The first one.
            return !std::mem::replace(&mut self.done, true);
        }
        while let Some(node) = self.path.last_mut() {
            node.chosen += 1;
            if node.chosen < node.options {
                self.depth = 0;
                self.used = 0;
                self.coasting = false;
                return true;
            }
            self.path.pop();
        }
        false
    }

    fn pick(&mut self, options: usize, state: Option<u64>) -> usize {
        if let Some(node) = self.path.get(self.depth) {
            self.depth += 1;
            return usize::from(node.chosen);
        }
        if let Some(state) = state {
            let used = self.used;
            match self.seen.get_mut(&state) {
                Some(least) if *least <= used => {
                    self.coasting = true;
                    return 0;
                }
                Some(least) => *least = used,
                None => {
                    self.seen.insert(state, used);
                }
            }
        }
        self.path.push(Node {
            options: options as u8,
            chosen: 0,
        });
        self.depth += 1;
        0
    }
}

impl Chooser for All {
    fn thread(&mut self, point: &Point<'_>) -> usize {
        if self.coasting || (point.costs && self.used >= self.bound) {
            return 0;
        }
        let chosen = self.pick(point.options.len(), Some(point.state));
        if point.costs && chosen != 0 {
            self.used += 1;
        }
        chosen
    }

    fn data(&mut self, n: usize) -> usize {
        match self.coasting {
            true => 0,
            false => self.pick(n, None),
        }
    }

    fn settled(&mut self) {
        self.coasting = true;
    }
}

/// A generator of numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True `n` times in 256.
    fn rarely(&mut self, n: u64) -> bool {
        self.next() & 0xff < n
    }
}

/// At random, from a seed. Every other execution gives threads priorities that change at a few
/// points (PCT: Burckhardt et al., *A randomized scheduler with probabilistic guarantees of finding
/// bugs*, 2010); the others interrupt threads more or less often.
pub struct Random {
    numbers: Numbers,
    /// How often a thread is interrupted, in 256.
    interrupts: u64,
    /// Priorities by thread, if they count.
    priorities: Option<Vec<u64>>,
    /// One point in so many changes a priority.
    change: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let interrupts = [2, 8, 32, 96, 200][numbers.below(5)];
        let priorities = (seed % 2 == 1).then(Vec::new);
        let change = [16, 48, 160][numbers.below(3)];
        Self {
            numbers,
            interrupts,
            priorities,
            change,
        }
    }

    /// The same without interruptions.
    pub fn undisturbed(seed: u64) -> Self {
        Self {
            interrupts: 0,
            priorities: None,
            ..Self::new(seed)
        }
    }
}

impl Chooser for Random {
    fn thread(&mut self, point: &Point<'_>) -> usize {
        let n = point.options.len();
        let Some(priorities) = &mut self.priorities else {
            return match point.costs && !self.numbers.rarely(self.interrupts) {
                true => 0,
                false => self.numbers.below(n),
            };
        };
        let most = point.options.iter().copied().max().unwrap_or(0);
        while priorities.len() <= most {
            priorities.push(self.numbers.next() | 1 << 63);
        }
        let best = |priorities: &[u64]| {
            let by = |&i: &usize| priorities[point.options[i]];
            (0..n).max_by_key(by).unwrap_or(0)
        };
        if self.numbers.next() % self.change == 0 {
            let best = point.options[best(priorities)];
            priorities[best] = self.numbers.next() >> 1;
        }
        best(priorities)
    }

    fn data(&mut self, n: usize) -> usize {
        self.numbers.below(n)
    }
}

/// Keeps the choices of another.
pub struct Kept<'a> {
    of: &'a mut dyn Chooser,
    /// The choices so far.
    pub choices: Vec<u8>,
}

impl<'a> Kept<'a> {
    pub fn new(of: &'a mut dyn Chooser) -> Self {
        Self {
            of,
            choices: Vec::new(),
        }
    }

    /// The choices as text, for [`Replay::new`].
    pub fn text(&self) -> String {
        let end = self.choices.iter().rposition(|&c| c != 0);
        let kept = &self.choices[..end.map_or(0, |end| end + 1)];
        let digit = |&c: &u8| char::from_digit(u32::from(c).min(35), 36).unwrap_or('z');
        kept.iter().map(digit).collect()
    }
}

impl Chooser for Kept<'_> {
    fn thread(&mut self, point: &Point<'_>) -> usize {
        let chosen = self.of.thread(point);
        self.choices.push(chosen as u8);
        chosen
    }

    fn data(&mut self, n: usize) -> usize {
        let chosen = self.of.data(n);
        self.choices.push(chosen as u8);
        chosen
    }

    fn settled(&mut self) {
        self.of.settled();
    }
}

/// The choices of an earlier execution, then the first of what there is.
pub struct Replay(std::vec::IntoIter<usize>);

impl Replay {
    pub fn new(text: &str) -> Self {
        let digits = text.chars().filter_map(|c| c.to_digit(36));
        let choices: Vec<usize> = digits.map(|c| c as usize).collect();
        Self(choices.into_iter())
    }
}

impl Chooser for Replay {
    fn thread(&mut self, point: &Point<'_>) -> usize {
        self.0.next().unwrap_or(0).min(point.options.len() - 1)
    }

    fn data(&mut self, n: usize) -> usize {
        self.0.next().unwrap_or(0).min(n - 1)
    }
}
