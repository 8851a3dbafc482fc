// SPDX-License-Identifier: GPL-2.0
//! Bytes that are no proper unit, and units that no initiator may send.

use super::{commands::tur, row, Scenario, DISCONNECTED, INVALID};
use crate::{
    bench::Bench,
    iu::{read_10, short_iu, write_10, Cmd, BLOCK},
    session::{Seen, PATIENCE},
    verbs::Fallible,
};

pub(super) const ROWS: &[Scenario] = &[
    row(
        "malformed.empty",
        "a message of no bytes",
        DISCONNECTED,
        |b| end(b, &[]),
    ),
    row(
        "malformed.one_byte",
        "a message of one byte: SRP_CMD",
        DISCONNECTED,
        |b| end(b, &[2]),
    ),
    row(
        "malformed.fifteen",
        "15 bytes of SRP_CMD: no complete tag",
        DISCONNECTED,
        |b| end(b, &tur().bytes()[..15]),
    ),
    row(
        "malformed.stale",
        "one byte after a WRITE: the buffer's old contents are not run again",
        &["disconnected; kept"],
        |b| {
            let mut s = b.session()?;
            s.conn.memory.fill(0, &[1; BLOCK]);
            let desc = s.conn.memory.desc(0, BLOCK);
            // Through all receive buffers of the target.
            for _ in 0..2 * s.login.req_lim_delta {
                s.ask(&Cmd::data_out(write_10(77, 1), desc))?;
            }
            s.conn.memory.fill(0, &[2; BLOCK]);
            s.send(&[2])?;
            let end = s.answer(PATIENCE)?;
            let mut other = b.session()?;
            other.conn.memory.allow(0, BLOCK);
            let desc = other.conn.memory.desc(0, BLOCK);
            other.ask(&Cmd::data_in(read_10(77, 1), desc))?;
            let kept = other.conn.memory.read(0, BLOCK) == [1; BLOCK];
            Ok(format!(
                "{end}; {}",
                if kept { "kept" } else { "written again" }
            ))
        },
    ),
    row("malformed.cmd_16", "16 bytes of SRP_CMD", INVALID, |b| {
        cut(b, 16)
    }),
    row("malformed.cmd_31", "31 bytes of SRP_CMD", INVALID, |b| {
        cut(b, 31)
    }),
    row("malformed.cmd_47", "47 bytes of SRP_CMD", INVALID, |b| {
        cut(b, 47)
    }),
    row(
        "malformed.too_long",
        "a unit longer than was agreed on",
        DISCONNECTED,
        |b| {
            let mut s = b.session()?;
            let mut bytes = tur().bytes();
            bytes.resize(s.login.max_it_iu_len as usize + 100, 0);
            s.send(&bytes)?;
            Ok(s.end(PATIENCE)?.to_string())
        },
    ),
    row(
        "malformed.longest",
        "a unit as long as was agreed on",
        &["GOOD; works"],
        |b| {
            let mut s = b.session()?;
            let tag = s.tag();
            let mut bytes = Cmd { tag, ..tur() }.bytes();
            bytes.resize(s.login.max_it_iu_len as usize, 0);
            s.send(&bytes)?;
            let seen = s.answer_to(tag)?;
            Ok(format!("{seen}; {}", s.works()?))
        },
    ),
    row(
        "malformed.opcode_55",
        "an opcode that does not exist",
        DISCONNECTED,
        |b| opcode(b, 0x55),
    ),
    row("malformed.opcode_ff", "opcode 0xff", DISCONNECTED, |b| {
        opcode(b, 0xff)
    }),
    row(
        "malformed.login_req",
        "SRP_LOGIN_REQ on a channel",
        DISCONNECTED,
        |b| opcode(b, 0x00),
    ),
    row(
        "malformed.login_rsp",
        "SRP_LOGIN_RSP from an initiator",
        DISCONNECTED,
        |b| opcode(b, 0xc0),
    ),
    row(
        "malformed.rsp",
        "SRP_RSP from an initiator",
        DISCONNECTED,
        |b| opcode(b, 0xc1),
    ),
    row(
        "malformed.login_rej",
        "SRP_LOGIN_REJ from an initiator",
        DISCONNECTED,
        |b| opcode(b, 0xc2),
    ),
    row(
        "malformed.t_logout",
        "SRP_T_LOGOUT from an initiator",
        DISCONNECTED,
        |b| opcode(b, 0x80),
    ),
    row(
        "malformed.cred_req",
        "SRP_CRED_REQ from an initiator",
        DISCONNECTED,
        |b| opcode(b, 0x81),
    ),
    row(
        "malformed.aer_req",
        "SRP_AER_REQ from an initiator",
        DISCONNECTED,
        |b| opcode(b, 0x82),
    ),
    row(
        "malformed.aer_rsp",
        "SRP_AER_RSP to nothing",
        DISCONNECTED,
        |b| end(b, &short_iu(0x42, 1)),
    ),
    row(
        "malformed.opcodes",
        "every ninth opcode, each on a channel of its own",
        &["29 disconnected"],
        |b| {
            let mut gone = 0;
            for op in (0..=255_u8).step_by(9) {
                let mut s = b.session()?;
                let mut bytes = short_iu(op, 5);
                bytes.resize(64, 0);
                s.send(&bytes)?;
                match s.answer(PATIENCE)? {
                    Seen::Gone => gone += 1,
                    seen => return Ok(format!("{seen} to opcode {op:#04x}")),
                }
            }
            Ok(format!("{gone} disconnected"))
        },
    ),
    row(
        "malformed.beside",
        "garbage on one channel, work on another",
        &["disconnected; works, works"],
        |b| {
            let (mut good, mut bad) = (b.session()?, b.session()?);
            let first = good.works()?;
            bad.send(&[0xa5; 64])?;
            let end = bad.end(PATIENCE)?;
            Ok(format!("{end}; {first}, {}", good.works()?))
        },
    ),
    row(
        "malformed.hundred",
        "100 units of garbage at once",
        DISCONNECTED,
        |b| {
            let mut s = b.session()?;
            for n in 0..100_u8 {
                s.send(&[n | 0x10; 80])?;
            }
            Ok(s.end(PATIENCE)?.to_string())
        },
    ),
];

/// Sends a message on a working session; says what comes.
fn end(b: &Bench, bytes: &[u8]) -> Fallible<String> {
    let mut s = b.session()?;
    s.works()?;
    s.send(bytes)?;
    Ok(s.answer(PATIENCE)?.to_string())
}

/// Sends 64 bytes with this opcode.
fn opcode(b: &Bench, opcode: u8) -> Fallible<String> {
    let mut bytes = short_iu(opcode, 1);
    bytes.resize(64, 0);
    end(b, &bytes)
}

/// Sends the beginning of a proper command.
fn cut(b: &Bench, len: usize) -> Fallible<String> {
    let mut s = b.session()?;
    s.works()?;
    let tag = s.tag();
    s.send(&Cmd { tag, ..tur() }.bytes()[..len])?;
    let seen = s.answer_to(tag)?;
    match seen {
        Seen::Gone => Ok(seen.to_string()),
        _ => Ok(format!("{seen}; {}", s.works()?)),
    }
}
