// SPDX-License-Identifier: GPL-2.0
//! Immediate data: data of a write that is part of the unit.

use super::{
    admin_row,
    commands::{
        ask_and_work,
        some_data,
        tur, //
    },
    row,
    Scenario,
    INVALID, //
};
use crate::{
    bench::{
        Bench,
        Guarded, //
    },
    iu::{
        fmt_code,
        read_10,
        write_10,
        Cmd,
        BLOCK, //
    },
    session::Session,
    srp::wire::login::LoginReq,
    verbs::Fallible, //
};

/// Offset of the data in the unit; that of the Linux initiator.
pub(super) const OFFSET: usize = 68;

const SAME: &[&str] = &["GOOD; same data"];

pub(super) const ROWS: &[Scenario] = &[
    row(
        "immediate.block",
        "512 bytes of immediate data",
        SAME,
        |b| written(b, 1),
    ),
    row(
        "immediate.largest",
        "8192 bytes of immediate data",
        SAME,
        |b| written(b, 16),
    ),
    row(
        "immediate.empty",
        "no bytes of immediate data",
        &["GOOD; works"],
        |b| {
            let mut s = session(b)?;
            ask_and_work(&mut s, |_| Cmd::immediate(tur().cdb, OFFSET, 0, &[]))
        },
    ),
    row(
        "immediate.too_little",
        "512 bytes for a WRITE of 1024",
        &["CHECK CONDITION 05/0e/03 out over 512; works"],
        |b| claimed(b, write_10(0, 2), 512, 512),
    ),
    row(
        "immediate.too_much",
        "1024 bytes for a WRITE of 512",
        &["CHECK CONDITION 05/0e/03 out under 512; works"],
        |b| claimed(b, write_10(0, 1), 1024, 1024),
    ),
    row(
        "immediate.lies",
        "1024 bytes claimed, 512 there",
        INVALID,
        |b| claimed(b, write_10(0, 2), 1024, 512),
    ),
    row(
        "immediate.wraps",
        "4 GiB claimed, so that the end wraps",
        INVALID,
        |b| claimed(b, write_10(0, 1), 0xffff_fff0, 512),
    ),
    row(
        "immediate.nothing_there",
        "512 bytes claimed, none there",
        INVALID,
        |b| claimed(b, write_10(0, 1), 512, 0),
    ),
    row(
        "immediate.no_length",
        "not even the length is there",
        INVALID,
        |b| {
            let mut s = session(b)?;
            ask_and_work(&mut s, |_| Cmd {
                out_fmt: fmt_code::IMMEDIATE,
                ..Cmd::new(write_10(0, 1))
            })
        },
    ),
    row(
        "immediate.behind_cdb",
        "the offset lies inside an additional CDB",
        INVALID,
        |b| {
            let mut s = session(b)?;
            ask_and_work(&mut s, |_| {
                let mut cdb = write_10(0, 1);
                cdb.resize(16 + 64, 0);
                let mut cmd = Cmd::immediate(cdb, OFFSET, 512, &[0; 512]);
                cmd.tail.extend([0; 64]);
                cmd
            })
        },
    ),
    row(
        "immediate.not_negotiated",
        "immediate data that was not agreed on",
        INVALID,
        |b| {
            let mut s = b.session()?;
            ask_and_work(&mut s, |_| {
                Cmd::immediate(write_10(0, 1), OFFSET, 512, &[0; 512])
            })
        },
    ),
    row(
        "immediate.as_data_in",
        "the immediate format for data-in",
        INVALID,
        |b| {
            let mut s = session(b)?;
            ask_and_work(&mut s, |_| {
                let mut cmd = Cmd::immediate(read_10(0, 1), OFFSET, 512, &[0; 512]);
                (cmd.in_fmt, cmd.out_fmt) = (fmt_code::IMMEDIATE, 0);
                cmd
            })
        },
    ),
    row(
        "immediate.both_ways",
        "immediate data beside a data-in descriptor",
        INVALID,
        |b| {
            let mut s = session(b)?;
            ask_and_work(&mut s, |s| {
                let mut cmd = Cmd::immediate(write_10(0, 1), OFFSET, 512, &[0; 512]);
                cmd.in_fmt = fmt_code::DIRECT;
                cmd.tail.splice(4..4, s.conn.memory.desc(0, BLOCK).emit());
                cmd
            })
        },
    ),
    row(
        "immediate.many",
        "64 writes with immediate data under way",
        &["64 GOOD; works"],
        |b| {
            let mut s = session(b)?;
            for n in 0..64_u32 {
                s.start(&Cmd::immediate(
                    write_10(n, 1),
                    OFFSET,
                    512,
                    &[n as u8; 512],
                ))?;
            }
            let mut good = 0;
            for _ in 0..64 {
                good += usize::from(s.answer(crate::session::PATIENCE)?.to_string() == "GOOD");
            }
            Ok(format!("{good} GOOD; {}", s.works()?))
        },
    ),
    admin_row(
        "immediate.shared_queue",
        "immediate data with a shared receive queue",
        &["granted; GOOD; same data"],
        |b| {
            b.admin("attr use_srq 1")?;
            let seen = session(b).and_then(|s| {
                let granted = if s.login.imm_supported {
                    "granted"
                } else {
                    "not granted"
                };
                drop(s);
                Ok(format!("{granted}; {}", written(b, 8)?))
            });
            b.admin("attr use_srq 0")?;
            seen
        },
    ),
    admin_row(
        "immediate.shared_queue_lies",
        "64 lies about immediate data with a shared receive queue",
        &["64 refused; works"],
        |b| {
            b.admin("attr use_srq 1")?;
            let seen = session(b).and_then(|mut s| {
                let mut refused = 0;
                for _ in 0..64 {
                    let seen = s.ask(&Cmd::immediate(write_10(0, 2), OFFSET, 1024, &[0; 512]))?;
                    refused += usize::from(seen.to_string() == "code 2 CHECK CONDITION 05/0e/03");
                }
                Ok(format!("{refused} refused; {}", s.works()?))
            });
            b.admin("attr use_srq 0")?;
            seen
        },
    ),
];

/// Asks for immediate data.
pub(super) fn requested(r: &mut LoginReq) {
    r.imm_requested = true;
    r.imm_data_offset = OFFSET as u16;
}

/// A session that has asked for immediate data.
fn session(b: &Bench) -> Fallible<Guarded> {
    b.session_as(requested)
}

/// Writes blocks by immediate data and reads them back.
fn written(b: &Bench, blocks: u16) -> Fallible<String> {
    let mut s = session(b)?;
    let len = usize::from(blocks) * BLOCK;
    let data = some_data(len);
    let seen = s.ask(&Cmd::immediate(
        write_10(700, blocks),
        OFFSET,
        len as u32,
        &data,
    ))?;
    let same = read_back(&mut s, 700, &data)?;
    Ok(format!("{seen}; {same} data"))
}

fn read_back(s: &mut Session, block: u32, data: &[u8]) -> Fallible<&'static str> {
    s.conn.memory.allow(0, data.len());
    let desc = s.conn.memory.desc(0, data.len());
    s.ask(&Cmd::data_in(
        read_10(block, (data.len() / BLOCK) as u16),
        desc,
    ))?;
    Ok(if s.conn.memory.read(0, data.len()) == data {
        "same"
    } else {
        "other"
    })
}

/// One write that claims a length and has another.
fn claimed(b: &Bench, cdb: Vec<u8>, claimed: u32, there: usize) -> Fallible<String> {
    let mut s = session(b)?;
    ask_and_work(&mut s, |_| {
        Cmd::immediate(cdb, OFFSET, claimed, &vec![0; there])
    })
}
