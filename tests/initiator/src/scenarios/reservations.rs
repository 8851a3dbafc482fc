// SPDX-License-Identifier: GPL-2.0
//! Persistent reservations, as far as the transport can get in their way: they are those of the
//! initiator, through all of its channels, also when channels come and go; PREEMPT AND ABORT waits
//! until the commands that it aborts have ended, their responses included. What reservations mean
//! is the engine's business.

use std::time::Duration;

use super::{
    admin_row,
    commands::{data_in, data_out},
    immediate::{requested, OFFSET},
    row,
    tasks::{slowly, start_slow, SLOW},
    Scenario,
};
use crate::{
    bench::{Bench, Guarded},
    iu::{lun, read_10, write_10, Cmd, BLOCK},
    session::{Seen, Session, PATIENCE},
    srp::wire::login::MultiChannel,
    verbs::Fallible,
};

/// Service actions of PERSISTENT RESERVE OUT (SPC-4 6.16).
const RESERVE: u8 = 0x01;
const RELEASE: u8 = 0x02;
const CLEAR: u8 = 0x03;
const PREEMPT_AND_ABORT: u8 = 0x05;
const REGISTER_AND_IGNORE: u8 = 0x06;

/// Types of reservations: for one initiator, for registrants, for all registrants, each as Write
/// Exclusive and as Exclusive Access.
const TYPES: [u8; 6] = [WRITE_EXCLUSIVE, 3, WRITE_EXCLUSIVE_REGISTRANTS, 6, 7, 8];
const WRITE_EXCLUSIVE: u8 = 1;
const WRITE_EXCLUSIVE_REGISTRANTS: u8 = 5;

/// What [`each_type`] sees.
const EACH_TYPE: &[&str] = &[
    "6 types: own GOOD; another's writes RESERVATION CONFLICT, reads GOOD or \
      RESERVATION CONFLICT, GOOD afterwards",
];

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
    row(
        "reservations.two_channels",
        "each type, registered through one of 2 channels and reserved through the other",
        EACH_TYPE,
        |b| each_type(b, 2),
    ),
    row(
        "reservations.four_channels",
        "the same with 4 channels",
        EACH_TYPE,
        |b| each_type(b, 4),
    ),
    row(
        "reservations.channel_lost",
        "the channel of 2 that has registered and reserved goes, and another one comes",
        &["left GOOD, new GOOD, another's RESERVATION CONFLICT; released GOOD"],
        |b| {
            let mut first = b.session_as(requested)?;
            let mut left = b.session_as(requested)?;
            let mut other = b.session_with(&b.request(2), Default::default())?;
            registered(&mut first, OURS)?;
            change(&mut left, RESERVE, WRITE_EXCLUSIVE, OURS, 0)?;
            drop(first);
            let without = write(&mut left)?;
            let mut new = b.session_as(requested)?;
            let written = write(&mut new)?;
            let others = write(&mut other)?;
            let released = change(&mut new, RELEASE, WRITE_EXCLUSIVE, OURS, 0)?;
            change(&mut left, CLEAR, 0, OURS, 0)?;
            Ok(format!(
                "left {without}, new {written}, another's {others}; released {released}"
            ))
        },
    ),
    admin_row(
        "reservations.come_back",
        "a login takes the place of 2 channels, and then all are gone, with a reservation",
        &["instead GOOD, another's RESERVATION CONFLICT; afterwards GOOD; released GOOD"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            let mut other = b.session_with(&b.request(2), Default::default())?;
            let mut first = b.session_as(requested)?;
            let second = b.session_as(requested)?;
            registered(&mut first, OURS)?;
            change(&mut first, RESERVE, WRITE_EXCLUSIVE, OURS, 0)?;
            let mut instead = b.session_as(|request| {
                requested(request);
                request.multichannel = MultiChannel::Single;
            })?;
            let written = write(&mut instead)?;
            let others = write(&mut other)?;
            drop((first, second, instead));
            b.connections(1, Duration::from_secs(30))?;
            let mut back = b.session_as(requested)?;
            let again = write(&mut back)?;
            let released = change(&mut back, RELEASE, WRITE_EXCLUSIVE, OURS, 0)?;
            change(&mut back, CLEAR, 0, OURS, 0)?;
            Ok(format!(
                "instead {written}, another's {others}; afterwards {again}; released {released}"
            ))
        },
    ),
    row(
        "reservations.fenced",
        "PREEMPT AND ABORT by another initiator, each with 2 channels",
        &["before GOOD, RESERVATION CONFLICT; preempted GOOD; then RESERVATION CONFLICT, GOOD"],
        |b| {
            let mut ours = channels(b, 1, 2)?;
            let mut theirs = channels(b, 2, 2)?;
            registered(&mut ours[0], OURS)?;
            change(&mut ours[1], RESERVE, WRITE_EXCLUSIVE_REGISTRANTS, OURS, 0)?;
            let before = (all(&mut ours, write)?, all(&mut theirs, write)?);
            registered(&mut theirs[0], THEIRS)?;
            let preempted = change(
                &mut theirs[1],
                PREEMPT_AND_ABORT,
                WRITE_EXCLUSIVE_REGISTRANTS,
                THEIRS,
                OURS,
            )?;
            let after = (all(&mut ours, write)?, all(&mut theirs, write)?);
            change(&mut theirs[0], CLEAR, 0, THEIRS, 0)?;
            Ok(format!(
                "before {}, {}; preempted {preempted}; then {}, {}",
                before.0, before.1, after.0, after.1
            ))
        },
    ),
];

/// Sessions of the initiator with this extension: its channels.
fn channels(b: &Bench, extension: u64, count: usize) -> Fallible<Vec<Guarded>> {
    let mut request = b.request(extension);
    requested(&mut request);
    let login = |_| b.session_with(&request, Default::default());
    (0..count).map(login).collect()
}

/// What is seen on all channels, once if it is the same.
fn all(
    channels: &mut [Guarded],
    mut seen: impl FnMut(&mut Session) -> Fallible<String>,
) -> Fallible<String> {
    let mut words: Vec<String> = channels
        .iter_mut()
        .map(|channel| seen(channel))
        .collect::<Fallible<_>>()?;
    words.dedup();
    Ok(words.join(" or "))
}

/// Reservations of each type, of an initiator with this many channels: commands through all of them
/// and of another initiator.
fn each_type(b: &Bench, count: usize) -> Fallible<String> {
    let mut ours = channels(b, 1, count)?;
    let mut other = b.session_with(&b.request(2), Default::default())?;
    let (mut own, mut writes, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    let mut afterwards = Vec::new();
    for kind in TYPES {
        registered(&mut ours[0], OURS)?;
        own.push(change(&mut ours[count - 1], RESERVE, kind, OURS, 0)?);
        own.push(all(&mut ours, write)?);
        own.push(all(&mut ours, read)?);
        writes.push(write(&mut other)?);
        reads.push(read(&mut other)?);
        own.push(change(&mut ours[0], RELEASE, kind, OURS, 0)?);
        afterwards.push(write(&mut other)?);
        change(&mut ours[count - 1], CLEAR, 0, OURS, 0)?;
    }
    for list in [&mut own, &mut writes, &mut reads, &mut afterwards] {
        list.sort();
        list.dedup();
    }
    Ok(format!(
        "{} types: own {}; another's writes {}, reads {}, {} afterwards",
        TYPES.len(),
        own.join(" or "),
        writes.join(" or "),
        reads.join(" or "),
        afterwards.join(" or ")
    ))
}

/// The status of a command to the first disk, behind the unit attentions that reservations leave.
fn status(s: &mut Session, cmd: &Cmd) -> Fallible<String> {
    loop {
        match s.ask(cmd)? {
            Seen::Rsp(rsp) if rsp.sense_triple().is_some_and(|(key, ..)| key == 6) => (),
            // A command that is refused transfers nothing.
            Seen::Rsp(rsp) if rsp.status == 0x18 => return Ok("RESERVATION CONFLICT".into()),
            other => return Ok(other.to_string()),
        }
    }
}

fn write(s: &mut Session) -> Fallible<String> {
    let cmd = data_out(s, write_10(0, 1), BLOCK);
    status(s, &cmd)
}

fn read(s: &mut Session) -> Fallible<String> {
    let cmd = data_in(s, read_10(0, 1), BLOCK);
    status(s, &cmd)
}

/// PERSISTENT RESERVE OUT for the first disk, and its status.
fn change(s: &mut Session, action: u8, kind: u8, key: u64, action_key: u64) -> Fallible<String> {
    let cmd = Cmd {
        lun: lun(0),
        ..prout_as(action, kind, key, action_key)
    };
    status(s, &cmd)
}

/// Registers a key with the first disk.
fn registered(s: &mut Session, key: u64) -> Fallible<()> {
    match change(s, REGISTER_AND_IGNORE, 0, 0, key)?.as_str() {
        "GOOD" => Ok(()),
        other => Err(format!("registering: {other}")),
    }
}

/// PERSISTENT RESERVE OUT for Write Exclusive.
fn prout_cmd(action: u8, key: u64, action_key: u64) -> Cmd {
    prout_as(action, WRITE_EXCLUSIVE, key, action_key)
}

/// PERSISTENT RESERVE OUT with its parameter list as immediate data: it is executed as soon as its
/// unit is here.
fn prout_as(action: u8, kind: u8, key: u64, action_key: u64) -> Cmd {
    let mut cdb = vec![0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0];
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
