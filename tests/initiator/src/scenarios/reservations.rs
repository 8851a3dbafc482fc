// SPDX-License-Identifier: GPL-2.0
//! Persistent reservations, as far as the transport can get in their way: PREEMPT AND ABORT waits
//! until the commands that it aborts have ended, their responses included. What reservations mean
//! is the engine's business.

use std::time::Duration;

use super::{
    admin_row,
    immediate::{requested, OFFSET},
    tasks::{slowly, start_slow, SLOW},
    Scenario,
};
use crate::{
    iu::{lun, Cmd},
    session::{Seen, Session, PATIENCE},
    verbs::Fallible,
};

/// Service actions of PERSISTENT RESERVE OUT (SPC-4 6.16).
const RESERVE: u8 = 0x01;
const CLEAR: u8 = 0x03;
const PREEMPT_AND_ABORT: u8 = 0x05;
const REGISTER_AND_IGNORE: u8 = 0x06;

/// Write Exclusive, for the logical unit.
const WRITE_EXCLUSIVE: u8 = 0x01;

/// Keys of the two initiators.
const OURS: u64 = 0x1111;
const THEIRS: u64 = 0x2222;

/// Commands that the disk works on.
const READS: usize = 4;

pub(super) const ROWS: &[Scenario] = &[
    admin_row(
        "reservations.preempt_own",
        "PREEMPT AND ABORT while the disk works on 4 commands of the same channel",
        &["GOOD, 4 TASK ABORTED; works; cleared GOOD"],
        |b| {
            slowly(b, |b| {
                let mut s = b.session_as(requested)?;
                reserve(&mut s, OURS)?;
                start_reads(&mut s)?;
                let tag = s.start(&prout_cmd(PREEMPT_AND_ABORT, OURS, OURS))?;
                let seen = answers(&mut s, tag, READS + 1)?;
                end(seen, &mut s)
            })
        },
    ),
    admin_row(
        "reservations.preempt_other",
        "PREEMPT AND ABORT while the disk works on 4 commands of another initiator",
        &["GOOD, 4 TASK ABORTED; works; cleared GOOD"],
        |b| {
            slowly(b, |b| {
                let mut request = b.request(2);
                requested(&mut request);
                let mut other = b.session_with(&request, Default::default())?;
                let mut s = b.session_as(requested)?;
                prout(&mut s, REGISTER_AND_IGNORE, 0, OURS)?;
                reserve(&mut other, THEIRS)?;
                start_reads(&mut other)?;
                let tag = s.start(&prout_cmd(PREEMPT_AND_ABORT, OURS, THEIRS))?;
                let mut seen = answers(&mut s, tag, 1)?;
                seen += &answers(&mut other, 0, READS)?;
                end(seen, &mut s)
            })
        },
    ),
];

/// PERSISTENT RESERVE OUT with its parameter list as immediate data: it is executed as soon as its
/// unit is here.
fn prout_cmd(action: u8, key: u64, action_key: u64) -> Cmd {
    let mut cdb = vec![0x5f, action, WRITE_EXCLUSIVE, 0, 0, 0, 0, 0, 24, 0];
    cdb.resize(16, 0);
    let mut list = [0; 24];
    list[..8].copy_from_slice(&key.to_be_bytes());
    list[8..16].copy_from_slice(&action_key.to_be_bytes());
    Cmd {
        lun: lun(SLOW),
        ..Cmd::immediate(cdb, OFFSET, 24, &list)
    }
}

/// The same, and its answer.
fn prout(s: &mut Session, action: u8, key: u64, action_key: u64) -> Fallible<Seen> {
    s.ask(&prout_cmd(action, key, action_key))
}

/// Registers a key, and reserves the logical unit with it.
fn reserve(s: &mut Session, key: u64) -> Fallible<()> {
    for (action, key, action_key) in [(REGISTER_AND_IGNORE, 0, key), (RESERVE, key, 0)] {
        match prout(s, action, key, action_key)? {
            Seen::Rsp(rsp) if rsp.status == 0 => (),
            other => return Err(format!("service action {action}: {other}")),
        }
    }
    Ok(())
}

/// Starts commands that the disk takes two seconds for.
fn start_reads(s: &mut Session) -> Fallible<()> {
    for _ in 0..READS {
        start_slow(s)?;
    }
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Waits for this many answers. Says what came for the tag, and what for others.
fn answers(s: &mut Session, tag: u64, count: usize) -> Fallible<String> {
    let mut asked = String::new();
    let mut others: Vec<String> = Vec::new();
    for _ in 0..count {
        match s.answer(PATIENCE)? {
            Seen::Rsp(rsp) if rsp.tag == tag => asked = rsp.to_string(),
            Seen::Rsp(rsp) => others.push(rsp.to_string()),
            seen => return Ok(format!("{seen} after {asked} and {others:?}")),
        }
    }
    others.sort();
    others.dedup_by(|a, b| a == b);
    let others = match others.as_slice() {
        [] => String::new(),
        [one] => format!(", {READS} {one}"),
        _ => format!(", {}", others.join(" or ")),
    };
    Ok(format!("{asked}{others}"))
}

/// What was seen, whether the session works, and no registration is left.
fn end(seen: String, s: &mut Session) -> Fallible<String> {
    Ok(format!("{seen}; {}; {}", s.works()?, cleared(s)?))
}

/// Takes registrations and reservation away.
fn cleared(s: &mut Session) -> Fallible<String> {
    Ok(format!("cleared {}", prout(s, CLEAR, OURS, 0)?))
}
