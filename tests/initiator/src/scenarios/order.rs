// SPDX-License-Identifier: GPL-2.0
//! Task attributes: what an ORDERED command that takes long makes of commands behind it.
//!
//! Not here: that an attribute is accepted (`commands.rs`).

use std::{
    collections::HashSet,
    time::{
        Duration,
        Instant, //
    }, //
};

use super::{
    admin_row,
    commands::{
        data_in,
        tur, //
    },
    immediate::{
        requested,
        OFFSET, //
    },
    tasks::{
        slowly,
        start_slow,
        LUN_RESET,
        SLOW, //
    },
    Bench,
    Scenario, //
};
use crate::{
    iu::{
        lun,
        read_10,
        short_iu,
        task_management,
        Cmd,
        BLOCK, //
    },
    session::{
        Seen,
        Session, //
    },
    verbs::Fallible, //
};

const HEAD_OF_QUEUE: u8 = 1;
const ORDERED: u8 = 2;

const MODE_SELECT_6: u8 = 0x15;

/// Values of the QUEUE ALGORITHM MODIFIER (SPC): commands may be reordered or not.
const RESTRICTED: u8 = 0;
const UNRESTRICTED: u8 = 1;

/// Commands to another disk while the slow one executes an ORDERED one.
const MANY: usize = 1100;

pub(super) const ROWS: &[Scenario] = &[
    admin_row(
        "order.behind",
        "READs behind an ORDERED READ of the slow disk, which takes 2 s for each",
        &["ORDERED first, the others after it; works"],
        |b| {
            slowly(b, |b| {
                let mut s = b.session()?;
                let first = start_ordered(&mut s)?;
                for _ in 0..4 {
                    start_slow(&mut s)?;
                }
                let mut seen = answers(&mut s, 1)?;
                let since = Instant::now();
                seen.extend(answers(&mut s, 1)?);
                let others = if since.elapsed() > Duration::from_secs(1) {
                    "after it"
                } else {
                    "with it"
                };
                seen.extend(answers(&mut s, 3)?);
                let place = place(&seen, first);
                Ok(format!(
                    "ORDERED {place}, the others {others}; {}",
                    s.works()?
                ))
            })
        },
    ),
    admin_row(
        "order.head",
        "TEST UNIT READY, HEAD OF QUEUE, behind an ORDERED READ of the slow disk",
        &["HEAD OF QUEUE first; works"],
        |b| {
            slowly(b, |b| {
                let mut s = b.session()?;
                start_ordered(&mut s)?;
                let head = s.start(&Cmd {
                    lun: lun(SLOW),
                    attr: HEAD_OF_QUEUE,
                    ..tur()
                })?;
                let seen = answers(&mut s, 2)?;
                let place = place(&seen, head);
                Ok(format!("HEAD OF QUEUE {place}; {}", s.works()?))
            })
        },
    ),
    admin_row(
        "order.refused_behind",
        "a READ and an unknown command behind an ORDERED READ of the slow disk; the session ends",
        &["3 answers; disconnected; 0 connections"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            slowly(b, |b| {
                let mut s = b.session()?;
                start_ordered(&mut s)?;
                start_slow(&mut s)?;
                s.start(&Cmd {
                    lun: lun(SLOW),
                    ..Cmd::new(vec![0xff])
                })?;
                let seen = answers(&mut s, 3)?;
                let tag = s.tag();
                s.send(&short_iu(3, tag))?;
                let end = s.next(Duration::from_secs(15))?;
                drop(s);
                gone(b, &format!("{} answers; {end}", seen.len()))
            })
        },
    ),
    admin_row(
        "order.refused_elsewhere",
        "the same with a channel for each command; the channels end",
        &["3 answers; 0 connections"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            slowly(b, |b| {
                let mut channels = [b.session()?, b.session()?, b.session()?];
                let [first, behind, refused] = &mut channels;
                start_ordered(first)?;
                std::thread::sleep(Duration::from_millis(200));
                start_slow(behind)?;
                refused.start(&Cmd {
                    lun: lun(SLOW),
                    ..Cmd::new(vec![0xff])
                })?;
                let mut seen = 0;
                for channel in &mut channels {
                    seen += answers(channel, 1)?.len();
                }
                drop(channels);
                gone(b, &format!("{seen} answers"))
            })
        },
    ),
    admin_row(
        "order.modifier",
        "MODE SELECT as HEAD OF QUEUE changes the QUEUE ALGORITHM MODIFIER, twice, among READs and \
         unknown commands behind an ORDERED READ; the session ends",
        &["9 answers; 0 connections"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            slowly(b, |b| {
                let mut s = b.session_as(requested)?;
                start_ordered(&mut s)?;
                for modifier in [UNRESTRICTED, RESTRICTED] {
                    s.start(&set_modifier(modifier))?;
                    start_refused(&mut s)?;
                }
                start_ordered(&mut s)?;
                start_slow(&mut s)?;
                let seen = answers(&mut s, 9)?.len();
                drop(s);
                gone(b, &format!("{seen} answers"))
            })
        },
    ),
    admin_row(
        "order.reset_between",
        "LUN RESET between ORDERED READs of the slow disk, each with others behind it; the session ends",
        &["LUN RESET code 0, none answered twice; 0 connections"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            slowly(b, |b| {
                let mut s = b.session()?;
                start_ordered(&mut s)?;
                start_refused(&mut s)?;
                let reset = s.tag();
                s.send(&task_management(reset, LUN_RESET, lun(SLOW), 0))?;
                start_ordered(&mut s)?;
                start_refused(&mut s)?;
                let (mut tags, mut twice) = (HashSet::new(), "none");
                let mut done = "silent".to_string();
                // The function waits for what it aborts: up to four READs of 2 s, in turn.
                let mut patience = Duration::from_secs(30);
                while let Seen::Rsp(rsp) = s.answer(patience)? {
                    if rsp.tag == reset {
                        done = rsp.to_string();
                        patience = Duration::from_secs(5);
                    }
                    if !tags.insert(rsp.tag) {
                        twice = "one";
                    }
                }
                drop(s);
                gone(b, &format!("LUN RESET {done}, {twice} answered twice"))
            })
        },
    ),
    admin_row(
        "order.many_behind",
        "1100 READs of another disk while the slow one executes an ORDERED READ",
        &["1100 GOOD, 0 BUSY, none of another kind; GOOD; works"],
        |b| {
            // Before the disk is slow: so is the one behind it, which every session asks.
            let mut s = b.session()?;
            b.admin("delay 10000")?;
            let seen = many_behind(&mut s);
            b.admin("delay 0")?;
            seen
        },
    ),
];

/// Adds to what was seen how many connections are left.
fn gone(b: &Bench, seen: &str) -> Fallible<String> {
    let left = b.connections(0, Duration::from_secs(30))?;
    Ok(format!("{seen}; {left} connections"))
}

/// MODE SELECT(6) of the control mode page of the slow disk, as HEAD OF QUEUE.
fn set_modifier(modifier: u8) -> Cmd {
    const CONTROL_PAGE: u8 = 0x0a;
    let mut list = [0; 16];
    list[4..8].copy_from_slice(&[CONTROL_PAGE, 10, 0, modifier << 4]);
    let cdb = vec![MODE_SELECT_6, 0x10, 0, 0, 16, 0];
    Cmd {
        lun: lun(SLOW),
        attr: HEAD_OF_QUEUE,
        ..Cmd::immediate(cdb, OFFSET, 16, &list)
    }
}

/// Starts a READ of the slow disk, and a command that it refuses.
fn start_refused(s: &mut Session) -> Fallible<()> {
    start_slow(s)?;
    s.start(&Cmd {
        lun: lun(SLOW),
        ..Cmd::new(vec![0xff])
    })?;
    Ok(())
}

/// Starts an ORDERED READ of the slow disk.
fn start_ordered(s: &mut Session) -> Fallible<u64> {
    let cmd = data_in(s, read_10(8, 1), BLOCK);
    s.start(&Cmd {
        lun: lun(SLOW),
        attr: ORDERED,
        ..cmd
    })
}

/// The tags of answers, in their order; fewer than there should be if one is missing.
fn answers(s: &mut Session, count: usize) -> Fallible<Vec<u64>> {
    let mut tags = Vec::new();
    while tags.len() < count {
        match s.answer(Duration::from_secs(20))? {
            Seen::Rsp(rsp) => tags.push(rsp.tag),
            _ => break,
        }
    }
    Ok(tags)
}

/// Where the answer to a command is, in words.
fn place(tags: &[u64], tag: u64) -> &'static str {
    match tags.iter().position(|&t| t == tag) {
        Some(0) => "first",
        Some(_) => "later",
        None => "never",
    }
}

/// Counts the answers to many READs of the first disk, of which some are under way all the time, and
/// then waits for that to the ORDERED command.
fn many_behind(s: &mut Session) -> Fallible<String> {
    const UNDER_WAY: usize = 16;
    let ordered = start_ordered(s)?;
    let (mut sent, mut under_way) = (0, HashSet::new());
    let (mut good, mut busy, mut other) = (0, 0, Vec::new());
    let mut last = None;
    while sent < MANY || !under_way.is_empty() || last.is_none() {
        while sent < MANY && under_way.len() < UNDER_WAY {
            let cmd = data_in(s, read_10(0, 1), BLOCK);
            under_way.insert(s.start(&cmd)?);
            sent += 1;
        }
        match s.answer(Duration::from_secs(20))? {
            Seen::Rsp(rsp) if rsp.tag == ordered && last.is_none() => last = Some(rsp.to_string()),
            Seen::Rsp(rsp) if !under_way.remove(&rsp.tag) => {
                return Ok(format!(
                    "{rsp} to tag {:#x}, which is not under way",
                    rsp.tag
                ));
            }
            Seen::Rsp(rsp) => match rsp.status {
                0 => good += 1,
                8 => busy += 1,
                _ => other.push(rsp.to_string()),
            },
            unexpected => return Ok(unexpected.to_string()),
        }
    }
    let kinds = match other.first() {
        Some(first) => format!("{} like {first}", other.len()),
        None => "none of another kind".into(),
    };
    let last = last.unwrap_or_default();
    Ok(format!(
        "{good} GOOD, {busy} BUSY, {kinds}; {last}; {}",
        s.works()?
    ))
}
