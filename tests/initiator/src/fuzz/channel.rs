// SPDX-License-Identifier: GPL-2.0
//! One channel of the fuzzer: sends what `units.rs` makes, keeps track of what the target owes, and
//! reconnects when it is thrown out.
//!
//! The law: every SRP_CMD and SRP_TSK_MGMT that is long enough for a tag is answered once, with its
//! tag, or the connection ends. Commands that were aborted may stay silent. Nothing else is ever
//! answered. No byte of memory changes that no unit described.

use std::{
    collections::HashMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    rng::Rng,
    units::{described, login, Maker, MEMORY},
    Shared,
};
use crate::{
    conn::{Got, Options},
    session::{login_bytes, request, Login, Seen, Session},
    verbs::{paced, Fallible},
};

/// Requests of a channel under way at most.
const WINDOW: usize = 48;

/// After so many units everything is waited for, and the memory looked at.
const ROUND: usize = 400;

/// A request that has no answer after this time, on a connection that stands, never gets one.
const USUAL_HANG: Duration = Duration::from_secs(40);

/// Units that are remembered for the report of a failure.
const REMEMBERED: usize = 40;

/// A request under way.
struct Owed {
    since: Instant,
    /// Resets that were over when it was sent.
    resets: u64,
    /// A function was sent to abort it.
    aborted: bool,
}

/// One channel.
pub(crate) struct Channel<'a> {
    pub(crate) number: u64,
    pub(crate) shared: &'a Shared,
    pub(crate) rng: Rng,
    owed: HashMap<u64, Vec<Owed>>,
    /// How many requests with a tag stayed silent, as they may, and may be answered late.
    late: HashMap<u64, usize>,
    /// Tags of resets under way.
    resets: Vec<u64>,
    tags: Vec<u64>,
    tag: u64,
    hang: Duration,
    last: Vec<Vec<u8>>,
}

impl<'a> Channel<'a> {
    pub(crate) fn new(number: u64, shared: &'a Shared, seed: u64) -> Self {
        Self {
            number,
            shared,
            rng: Rng::new(seed, number),
            owed: HashMap::new(),
            late: HashMap::new(),
            resets: Vec::new(),
            tags: Vec::new(),
            tag: number << 48,
            hang: paced(USUAL_HANG),
            last: Vec::new(),
        }
    }

    /// Runs until the budget is spent or a rule is broken.
    pub(crate) fn run(&mut self) {
        if let Err(text) = self.work() {
            let mut text = format!("channel {}: {text}; its last units:", self.number);
            for unit in &self.last {
                text += "\n    ";
                for byte in unit.iter().take(160) {
                    text += &format!("{byte:02x}");
                }
                if unit.len() > 160 {
                    text += &format!("... {} bytes", unit.len());
                }
            }
            self.shared.fail(text);
        }
    }

    fn work(&mut self) -> Fallible<()> {
        let mut failures = 0;
        while !self.shared.is_over() {
            match self.connect()? {
                Some(mut session) => {
                    failures = 0;
                    let end = self.serve(&mut session);
                    self.forget();
                    // Nothing writes to the memory once the connection is gone.
                    if session.conn.options.answer_disconnect {
                        session.conn.disconnect(Duration::from_secs(5))?;
                    }
                    if let Some(fault) = session.faults().first() {
                        return Err(fault.clone());
                    }
                    end?;
                }
                None => {
                    failures += 1;
                    if failures > 60 {
                        return Err("60 logins in a row have failed".into());
                    }
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> Fallible<Option<Box<Session>>> {
        let id = self.shared.initiator_id(self.number);
        let req = request(id, self.shared.target_id());
        let data = login(&mut self.rng, &req, self.shared.dest);
        let options = Options {
            recvs: 160,
            sends: 64,
            memory: MEMORY,
            ..Options::default()
        };
        self.shared.logins.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let login = login_bytes(self.shared.dest, options, &data)?;
        if began.elapsed() > self.hang {
            return Err(format!("the login took {:?}", began.elapsed()));
        }
        self.shared.count(&format!("login {login}"));
        match login {
            Login::Accepted(session) => Ok(Some(session)),
            _ => Ok(None),
        }
    }

    /// One session, until it ends or the budget is spent.
    fn serve(&mut self, s: &mut Session) -> Fallible<()> {
        let mut sent = 0;
        loop {
            while let Some(message) = s.conn.try_recv()? {
                let seen = s.take(&message)?;
                self.took(seen)?;
            }
            if s.conn.gone().is_some() {
                self.shared.count("disconnected");
                return Ok(());
            }
            let over = self.shared.is_over();
            if over || sent >= ROUND {
                if !self.all_answered(s)? {
                    return Ok(());
                }
                if let Some(fault) = s.faults().first() {
                    return Err(fault.clone());
                }
                if over {
                    return Ok(());
                }
                sent = 0;
            }
            let overrun = self.rng.per_mille(1) && self.rng.per_mille(300);
            if (s.credits > 0 && self.under_way() < WINDOW) || overrun {
                if !self.shared.take_one() {
                    continue;
                }
                self.send(s)?;
                sent += 1;
                continue;
            }
            self.wait(s)?;
        }
    }

    /// Waits until something comes, when nothing can be sent.
    fn wait(&mut self, s: &mut Session) -> Fallible<()> {
        // What is silent because it was aborted must not fill the window.
        let patience = if self.owed.is_empty() {
            USUAL_HANG
        } else {
            Duration::from_secs(1)
        };
        match s.conn.recv(patience)? {
            Got::Message(message) => {
                let seen = s.take(&message)?;
                self.took(seen)
            }
            Got::Timeout if self.owed.is_empty() => Err(format!(
                "nothing is owed, and {} credits for {} s",
                s.credits,
                self.hang.as_secs()
            )),
            Got::Timeout => self.all_answered(s).map(drop),
            Got::Gone => Ok(()),
        }
    }

    fn under_way(&self) -> usize {
        self.owed.values().map(Vec::len).sum()
    }

    fn send(&mut self, s: &mut Session) -> Fallible<()> {
        self.tag += 1;
        let bytes = Maker {
            tag: self.tag,
            rng: &mut self.rng,
            memory: &mut s.conn.memory,
            immediate: s.login.imm_supported,
            tags: &self.tags,
        }
        .unit();
        for (va, len) in described(&bytes, s.conn.memory.key()) {
            s.conn.memory.allow_address(va, len);
        }
        self.note(&bytes);
        if self.last.len() == REMEMBERED {
            self.last.remove(0);
        }
        self.last.push(bytes.clone());
        s.send(&bytes)?;
        // Something for the timing, and sudden ends.
        match self.rng.below(4000) {
            0..=15 => std::thread::sleep(Duration::from_millis(self.rng.below(5) as u64)),
            16 | 17 => {
                self.shared.count("left");
                s.conn.disconnect(Duration::from_secs(5))?;
            }
            18 if self.rng.per_mille(200) => {
                self.shared.count("dropped dead");
                s.conn.drop_dead();
                s.conn.pretend_gone();
            }
            _ => (),
        }
        Ok(())
    }

    /// Takes down what the target owes for a unit.
    fn note(&mut self, bytes: &[u8]) {
        let be64 = |at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let (Some(&opcode @ (1 | 2)), Some(tag)) = (bytes.first(), be64(8)) else {
            return;
        };
        let done = self.shared.resets_done.load(Ordering::SeqCst);
        self.owed.entry(tag).or_default().push(Owed {
            since: Instant::now(),
            resets: done,
            aborted: false,
        });
        if self.tags.len() == 64 {
            self.tags.remove(0);
        }
        self.tags.push(tag);
        if opcode == 1 {
            let victim = be64(32);
            match bytes.get(30) {
                Some(1) => {
                    for owed in victim
                        .and_then(|v| self.owed.get_mut(&v))
                        .into_iter()
                        .flatten()
                    {
                        owed.aborted = true;
                    }
                }
                // Any other function may end commands of all initiators.
                _ => {
                    self.shared.resets_sent.fetch_add(1, Ordering::SeqCst);
                    self.resets.push(tag);
                }
            }
        }
    }

    /// A unit of the target.
    fn took(&mut self, seen: Seen) -> Fallible<()> {
        match seen {
            Seen::Rsp(rsp) => {
                let mut words = rsp.to_string();
                if let Some(at) = words.find(" in ").or_else(|| words.find(" out ")) {
                    words.truncate(at);
                }
                self.shared.count(&words);
                let Some(owed) = self.owed.get_mut(&rsp.tag) else {
                    return match self.late.get_mut(&rsp.tag) {
                        Some(left @ 1..) => {
                            *left -= 1;
                            Ok(())
                        }
                        _ => Err(format!("a response to nothing: {rsp}, tag {:#x}", rsp.tag)),
                    };
                };
                // With equal tags it cannot be told which is meant; the one that must be answered.
                let at = owed.iter().position(|o| !o.aborted).unwrap_or(0);
                owed.remove(at);
                if owed.is_empty() {
                    self.owed.remove(&rsp.tag);
                }
                if let Some(at) = self.resets.iter().position(|&t| t == rsp.tag) {
                    self.resets.remove(at);
                    self.shared.resets_done.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            }
            Seen::Odd(text) => Err(text),
            other => {
                self.shared.count(match other {
                    Seen::CredReq { .. } => "SRP_CRED_REQ",
                    Seen::AerReq { .. } => "SRP_AER_REQ",
                    _ => "SRP_T_LOGOUT",
                });
                Ok(())
            }
        }
    }

    /// Waits for everything that is owed; false if the connection has ended.
    fn all_answered(&mut self, s: &mut Session) -> Fallible<bool> {
        loop {
            let sent = self.shared.resets_sent.load(Ordering::SeqCst);
            let silent = |o: &Owed| o.aborted || sent > o.resets;
            let waiting = self.owed.values().flatten().filter(|o| !silent(o));
            let Some(since) = waiting.map(|o| o.since).min() else {
                break;
            };
            let left = self.hang.saturating_sub(since.elapsed());
            match s.conn.recv(left.min(Duration::from_secs(1)))? {
                Got::Message(message) => {
                    let seen = s.take(&message)?;
                    self.took(seen)?;
                }
                Got::Gone => return Ok(false),
                Got::Timeout if since.elapsed() >= self.hang => {
                    return Err(format!(
                        "a request has no answer after {} s",
                        self.hang.as_secs()
                    ));
                }
                Got::Timeout => (),
            }
        }
        // What may be silent is silent if nothing comes for a while.
        while !self.owed.is_empty() {
            match s.conn.recv(Duration::from_millis(300))? {
                Got::Message(message) => {
                    let seen = s.take(&message)?;
                    self.took(seen)?;
                }
                Got::Gone => return Ok(false),
                Got::Timeout => break,
            }
        }
        // They may still come.
        let before = self.resets.len();
        for (tag, all) in self.owed.drain() {
            *self.late.entry(tag).or_default() += all.len();
            self.resets.retain(|&t| t != tag);
        }
        let over = before - self.resets.len();
        self.shared
            .resets_done
            .fetch_add(over as u64, Ordering::SeqCst);
        Ok(true)
    }

    /// The connection has ended, and with it all debts.
    fn forget(&mut self) {
        self.owed.clear();
        self.late.clear();
        let resets = self.resets.drain(..).count() as u64;
        self.shared.resets_done.fetch_add(resets, Ordering::SeqCst);
    }
}
