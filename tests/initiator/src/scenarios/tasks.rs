// SPDX-License-Identifier: GPL-2.0
//! Task management: every function is answered exactly once, with the right code.

use std::time::Duration;

use super::{
    admin_row,
    descriptors::{
        outside_at,
        outside_table,
        table_bytes, //
    },
    row,
    Scenario, //
};
use crate::{
    bench::{
        Bench,
        Guarded, //
    },
    iu::{
        lun,
        read_10,
        task_management,
        Cmd,
        BLOCK, //
    },
    session::{
        Seen,
        Session,
        PATIENCE, //
    },
    srp::wire::desc::DirectDesc,
    verbs::Fallible, //
};

/// Functions.
pub(super) const ABORT_TASK: u8 = 0x01;
const ABORT_TASK_SET: u8 = 0x02;
const CLEAR_TASK_SET: u8 = 0x04;
pub(super) const LUN_RESET: u8 = 0x08;
const CLEAR_ACA: u8 = 0x40;

const COMPLETE: &[&str] = &["code 0; works"];
const NOT_SUPPORTED: &[&str] = &["code 4; works"];
const FAILED: &[&str] = &["code 5; works"];
const INVALID: &[&str] = &["code 2; works"];

/// The logical unit that can be slow.
pub(super) const SLOW: u16 = 2;

/// Another one, where commands aborted by another initiator have no response.
pub(super) const SILENT: u16 = 4;

pub(super) const ROWS: &[Scenario] = &[
    row("tasks.lun_reset", "LUN RESET", COMPLETE, |b| {
        function(b, LUN_RESET, lun(0))
    }),
    row(
        "tasks.abort_nothing",
        "ABORT TASK of a task that is not there",
        FAILED,
        |b| function(b, ABORT_TASK, lun(0)),
    ),
    row(
        "tasks.abort_task_set",
        "ABORT TASK SET, which the engine does not have",
        NOT_SUPPORTED,
        |b| function(b, ABORT_TASK_SET, lun(0)),
    ),
    row(
        "tasks.clear_task_set",
        "CLEAR TASK SET, the same",
        NOT_SUPPORTED,
        |b| function(b, CLEAR_TASK_SET, lun(0)),
    ),
    row(
        "tasks.clear_aca",
        "CLEAR ACA, the same",
        NOT_SUPPORTED,
        |b| function(b, CLEAR_ACA, lun(0)),
    ),
    row("tasks.function_0", "function 0", NOT_SUPPORTED, |b| {
        function(b, 0, lun(0))
    }),
    row(
        "tasks.function_3",
        "function 3: two bits",
        NOT_SUPPORTED,
        |b| function(b, 3, lun(0)),
    ),
    row("tasks.function_77", "function 0x77", NOT_SUPPORTED, |b| {
        function(b, 0x77, lun(0))
    }),
    row("tasks.function_ff", "function 0xff", NOT_SUPPORTED, |b| {
        function(b, 0xff, lun(0))
    }),
    row("tasks.no_lun", "LUN RESET of LUN 99", FAILED, |b| {
        function(b, LUN_RESET, lun(99))
    }),
    row(
        "tasks.lun_flat",
        "LUN RESET of LUN 1 in flat addressing",
        FAILED,
        |b| function(b, LUN_RESET, [0x40, 1, 0, 0, 0, 0, 0, 0]),
    ),
    row("tasks.short_40", "a request of 40 bytes", INVALID, |b| {
        cut(b, 40)
    }),
    row("tasks.short_16", "a request of 16 bytes", INVALID, |b| {
        cut(b, 16)
    }),
    row(
        "tasks.long",
        "a request with 200 bytes behind it",
        COMPLETE,
        |b| {
            let mut s = b.session()?;
            let tag = s.tag();
            let mut bytes = task_management(tag, LUN_RESET, lun(0), 0);
            bytes.resize(248, 0xee);
            s.send(&bytes)?;
            answered(&mut s, tag)
        },
    ),
    row(
        "tasks.response_data",
        "response data is 4 bytes, of which 3 are zero",
        &["0 0 0 0"],
        |b| {
            let mut s = b.session()?;
            let tag = s.tag();
            s.send(&task_management(tag, LUN_RESET, lun(0), 0))?;
            match s.conn.recv(PATIENCE)? {
                crate::conn::Got::Message(bytes) if bytes.len() == 40 => {
                    let words: Vec<String> = bytes[36..].iter().map(u8::to_string).collect();
                    Ok(words.join(" "))
                }
                crate::conn::Got::Message(bytes) => Ok(format!("{} bytes", bytes.len())),
                other => Ok(format!("{other:?}")),
            }
        },
    ),
    row(
        "tasks.many",
        "64 functions under way at once",
        &["64 answers, none twice; works"],
        |b| {
            let mut s = b.session()?;
            let mut tags = Vec::new();
            for n in 0..64_u8 {
                let tag = s.tag();
                let function = [ABORT_TASK, LUN_RESET, ABORT_TASK_SET, 0x33][usize::from(n % 4)];
                s.send(&task_management(tag, function, lun(1), 77))?;
                tags.push(tag);
            }
            let mut answers = 0;
            let mut wrong = 0;
            while let Seen::Rsp(rsp) = s.answer(if answers < 64 {
                Duration::from_secs(30)
            } else {
                Duration::from_millis(500)
            })? {
                answers += 1;
                match tags.iter().position(|&t| t == rsp.tag) {
                    Some(at) => drop(tags.swap_remove(at)),
                    None => wrong += 1,
                }
            }
            let twice = if wrong == 0 {
                "none".into()
            } else {
                wrong.to_string()
            };
            Ok(format!("{answers} answers, {twice} twice; {}", s.works()?))
        },
    ),
    admin_row(
        "tasks.abort",
        "ABORT TASK of a command that the disk works on",
        &["ABORT TASK code 0, command silent; all credits; works"],
        |b| slowly(b, |b| abort(b, false)),
    ),
    admin_row(
        "tasks.abort_elsewhere",
        "ABORT TASK on another channel of the nexus",
        &["ABORT TASK code 0, command silent; all credits; works"],
        |b| slowly(b, |b| abort(b, true)),
    ),
    admin_row(
        "tasks.abort_tag_on_two_channels",
        "ABORT TASK on one of two channels whose commands have the same tag",
        &["code 0, its own silent, the other GOOD; all credits; works"],
        |b| {
            slowly(b, |b| {
                let mut s = b.session()?;
                let mut other = b.session()?;
                let task = start_slow(&mut s)?;
                other.conn.memory.allow(0, BLOCK);
                let same = Cmd {
                    tag: task,
                    lun: lun(SLOW),
                    ..Cmd::data_in(read_10(8, 1), other.conn.memory.desc(0, BLOCK))
                };
                other.send(&same.bytes())?;
                std::thread::sleep(Duration::from_millis(200));
                let tag = other.tag();
                other.send(&task_management(tag, ABORT_TASK, lun(SLOW), task))?;
                let aborted = other.answer(PATIENCE)?;
                let left = s.answer_to(task)?;
                let own = match other.answer(Duration::from_secs(1))? {
                    Seen::Nothing => "silent".to_string(),
                    unexpected => unexpected.to_string(),
                };
                let rest = credits_and_work(&mut other)?;
                Ok(format!("{aborted}, its own {own}, the other {left}; {rest}"))
            })
        },
    ),
    admin_row(
        "tasks.abort_overlapped",
        "ABORT TASK on a channel where three commands have the same tag: one of them ends",
        &["code 0, 2 GOOD; code 5; all credits; works"],
        |b| slowly(b, abort_overlapped),
    ),
    admin_row(
        "tasks.abort_of_another",
        "ABORT TASK of a task of another initiator finds nothing",
        &["code 5, GOOD"],
        |b| {
            slowly(b, |b| {
                let mut ours = b.session()?;
                let mut theirs = b.session_with(&b.request(2), Default::default())?;
                let task = start_slow(&mut ours)?;
                std::thread::sleep(Duration::from_millis(200));
                let tag = theirs.tag();
                theirs.send(&task_management(tag, ABORT_TASK, lun(SLOW), task))?;
                let answer = theirs.answer_to(tag)?;
                Ok(format!("{answer}, {}", ours.answer_to(task)?))
            })
        },
    ),
    admin_row(
        "tasks.reset_busy",
        "LUN RESET while 8 commands are under way; none is answered twice",
        &["code 0; 8 ended once; all credits; works"],
        |b| {
            slowly(b, |b| {
                let mut s = b.session()?;
                let tasks: Vec<u64> = (0..8)
                    .map(|_| start_slow(&mut s))
                    .collect::<Fallible<_>>()?;
                std::thread::sleep(Duration::from_millis(200));
                let tag = s.tag();
                s.send(&task_management(tag, LUN_RESET, lun(SLOW), 0))?;
                let mut seen = std::collections::HashMap::new();
                let mut reset = None;
                while reset.is_none() {
                    match s.answer(Duration::from_secs(30))? {
                        Seen::Rsp(rsp) if rsp.tag == tag => reset = Some(rsp.to_string()),
                        Seen::Rsp(rsp) => *seen.entry(rsp.tag).or_insert(0) += 1,
                        other => return Ok(other.to_string()),
                    }
                }
                while let Seen::Rsp(rsp) = s.answer(Duration::from_secs(1))? {
                    *seen.entry(rsp.tag).or_insert(0) += 1;
                }
                // Aborted ones are silent or say TASK ABORTED.
                let once = tasks
                    .iter()
                    .filter(|t| *seen.get(t).unwrap_or(&0) <= 1)
                    .count();
                let reset = reset.unwrap_or_default();
                Ok(format!(
                    "{reset}; {once} ended once; {}",
                    credits_and_work(&mut s)?
                ))
            })
        },
    ),
    row(
        "tasks.reset_table",
        "LUN RESET behind a command whose table of 64 KiB is fetched; nothing comes after its answer",
        &["code 0, then nothing; all credits; works"],
        reset_table,
    ),
    row(
        "tasks.abort_table_gone",
        "ABORT TASK through another channel while a table is fetched, whose memory goes with the answer",
        &["all answered; all credits; works"],
        abort_table_gone,
    ),
    admin_row(
        "tasks.while_leaving",
        "16 functions and a logout behind them",
        &["disconnected; 0 connections"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            let mut s = b.session()?;
            for _ in 0..16 {
                let tag = s.tag();
                s.send(&task_management(tag, LUN_RESET, lun(0), 0))?;
            }
            let tag = s.tag();
            s.send(&crate::iu::short_iu(3, tag))?;
            let end = loop {
                match s.next(Duration::from_secs(15))? {
                    Seen::Rsp(_) => (),
                    other => break other,
                }
            };
            drop(s);
            let left = b.connections(0, Duration::from_secs(30))?;
            Ok(format!("{end}; {left} connections"))
        },
    ),
];

/// LUN RESET behind a command with an external table, eight times: what follows the answers. (Commands
/// that were executed before are answered before.)
fn reset_table(b: &Bench) -> Fallible<String> {
    let mut s = b.session()?;
    let table = outside_table(&mut s, 4096);
    s.conn.memory.allow(0, 256 * BLOCK);
    let mut last = String::new();
    let mut after = "nothing".to_string();
    for _ in 0..8 {
        s.start(&Cmd::table_in(read_10(0, 1), &table))?;
        let tag = s.tag();
        s.send(&task_management(tag, LUN_RESET, lun(0), 0))?;
        loop {
            match s.answer(PATIENCE)? {
                Seen::Rsp(rsp) if rsp.tag == tag => break last = rsp.to_string(),
                Seen::Rsp(_) => (),
                other => return Ok(other.to_string()),
            }
        }
        match s.answer(Duration::from_millis(500))? {
            Seen::Nothing => (),
            other => after = other.to_string(),
        }
    }
    let rest = credits_and_work(&mut s)?;
    Ok(format!("{last}, then {after}; {rest}"))
}

/// ABORT TASK of a command with an external table, through another channel, 32 times. Once it says
/// that the command is gone, the initiator takes the memory of the table away: a target that still
/// reads it loses the connection. (Through the same channel the answer comes behind what is read.)
fn abort_table_gone(b: &Bench) -> Fallible<String> {
    let mut s = b.session()?;
    let mut other = b.session()?;
    let bytes = table_bytes(&s, 4096);
    s.conn.memory.allow(0, 256 * BLOCK);
    for _ in 0..32 {
        let lent = s.conn.lend(&bytes)?;
        let table = outside_at(DirectDesc {
            va: lent.address(),
            key: lent.rkey(),
            len: lent.len() as u32,
        });
        let task = s.start(&Cmd::table_in(read_10(0, 1), &table))?;
        let tag = other.tag();
        other.send(&task_management(tag, ABORT_TASK, lun(0), task))?;
        match other.answer(PATIENCE)? {
            Seen::Rsp(rsp) if rsp.code == Some(0) => s.conn.take_back(),
            // It was faster, or the function was. Answers to others are those that were on their
            // way when a function found their command.
            Seen::Rsp(_) => loop {
                match s.answer(PATIENCE)? {
                    Seen::Rsp(rsp) if rsp.tag == task => break,
                    Seen::Rsp(_) => (),
                    unexpected => return Ok(format!("command: {unexpected}")),
                }
            },
            unexpected => return Ok(format!("function: {unexpected}")),
        }
    }
    while let Seen::Rsp(_) = s.answer(Duration::from_millis(200))? {}
    let rest = credits_and_work(&mut s)?;
    Ok(format!("all answered; {rest}"))
}

/// ABORT TASK of three slow commands with one tag: its answer, and how many of the commands have one.
/// Then the same once more, when there is none of them any more.
fn abort_overlapped(b: &Bench) -> Fallible<String> {
    let mut s = b.session()?;
    let task = start_slow(&mut s)?;
    let same = Cmd {
        tag: task,
        lun: lun(SLOW),
        ..Cmd::data_in(read_10(0, 1), s.conn.memory.desc(0, BLOCK))
    };
    for _ in 0..2 {
        s.send(&same.bytes())?;
    }
    std::thread::sleep(Duration::from_millis(200));
    let tag = s.tag();
    s.send(&task_management(tag, ABORT_TASK, lun(SLOW), task))?;
    let (mut aborted, mut good) = (String::new(), 0);
    while aborted.is_empty() || good < 2 {
        match s.answer(PATIENCE)? {
            Seen::Rsp(rsp) if rsp.tag == tag => aborted = rsp.to_string(),
            Seen::Rsp(rsp) if rsp.tag == task && rsp.status == 0 => good += 1,
            other => return Ok(format!("{aborted}, {good} GOOD; {other}")),
        }
    }
    match s.answer(Duration::from_secs(1))? {
        Seen::Nothing => (),
        other => return Ok(format!("{aborted}, {good} GOOD; {other}")),
    }
    let tag = s.tag();
    s.send(&task_management(tag, ABORT_TASK, lun(SLOW), task))?;
    let after = s.answer_to(tag)?;
    let rest = credits_and_work(&mut s)?;
    Ok(format!("{aborted}, {good} GOOD; {after}; {rest}"))
}

/// Runs a scenario while commands to the slow disk take two seconds.
pub(super) fn slowly(b: &Bench, f: impl FnOnce(&Bench) -> Fallible<String>) -> Fallible<String> {
    b.admin("delay 2000")?;
    let seen = f(b);
    // Commands of sessions that have ended go on in the disk.
    b.admin("delay 0")?;
    seen
}

/// Starts a READ of the slow disk.
pub(super) fn start_slow(s: &mut Session) -> Fallible<u64> {
    start_on(s, SLOW)
}

/// Starts a READ of this logical unit.
pub(super) fn start_on(s: &mut Session, number: u16) -> Fallible<u64> {
    s.conn.memory.allow(0, BLOCK);
    let cmd = Cmd::data_in(read_10(0, 1), s.conn.memory.desc(0, BLOCK));
    s.start(&Cmd {
        lun: lun(number),
        ..cmd
    })
}

/// Waits for the answer to a function, and for a second one.
fn answered(s: &mut Session, tag: u64) -> Fallible<String> {
    let first = s.answer_to(tag)?;
    if first == Seen::Gone {
        return Ok(first.to_string());
    }
    Ok(format!("{first}; {}", s.works()?))
}

fn function(b: &Bench, function: u8, lun: [u8; 8]) -> Fallible<String> {
    let mut s = b.session()?;
    let tag = s.tag();
    s.send(&task_management(tag, function, lun, 77))?;
    answered(&mut s, tag)
}

fn cut(b: &Bench, len: usize) -> Fallible<String> {
    let mut s = b.session()?;
    // So that the buffer holds something from before.
    let tag = s.tag();
    s.send(&task_management(tag, LUN_RESET, lun(0), 0))?;
    s.answer_to(tag)?;
    let tag = s.tag();
    s.send(&task_management(tag, LUN_RESET, lun(0), 0)[..len])?;
    answered(&mut s, tag)
}

/// "all credits; works", once what was aborted has let go.
pub(super) fn credits_and_work(s: &mut Session) -> Fallible<String> {
    let works = s.works()?;
    let limit = i64::from(s.login.req_lim_delta);
    let credits = if s.credits == limit {
        "all credits".into()
    } else {
        format!("{} of {limit} credits", s.credits)
    };
    Ok(format!("{credits}; {works}"))
}

/// ABORT TASK of a slow command, on its channel or on another one.
fn abort(b: &Bench, elsewhere: bool) -> Fallible<String> {
    let mut s = b.session()?;
    let mut other: Option<Guarded> = if elsewhere { Some(b.session()?) } else { None };
    let task = start_slow(&mut s)?;
    std::thread::sleep(Duration::from_millis(200));
    let channel: &mut Session = match &mut other {
        Some(other) => other,
        None => &mut s,
    };
    let tag = channel.tag();
    channel.send(&task_management(tag, ABORT_TASK, lun(SLOW), task))?;
    let answer = channel.answer(PATIENCE)?;
    if let Seen::Rsp(rsp) = &answer {
        if rsp.tag != tag {
            return Ok(format!("the command was answered first: {rsp}"));
        }
    }
    let command = match s.answer(Duration::from_secs(3))? {
        Seen::Nothing => "silent".to_string(),
        other => other.to_string(),
    };
    let rest = credits_and_work(&mut s)?;
    Ok(format!("ABORT TASK {answer}, command {command}; {rest}"))
}
