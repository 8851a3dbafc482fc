// SPDX-License-Identifier: GPL-2.0
//! Commands that are well-formed: data in both directions, residuals, attributes, logical units, long
//! CDBs, sense data.
//!
//! The layout of the disks is that of `tests/guest/conformance.py`: LUNs 0 and 1 are RAM disks, 2
//! and 4 can be slow, 3 passes commands through to a disk that knows 32-byte CDBs.

use super::{
    admin_row, row,
    tasks::{LUN_RESET, SLOW},
    Scenario, INVALID, WORKS,
};
use crate::{
    bench::Bench,
    conn::Options,
    iu::{
        compare_and_write, inquiry, lun, read_10, rw_10, rw_16, rw_32, scsi, task_management,
        write_10, Cmd, BLOCK,
    },
    session::{Seen, Session, PATIENCE},
    verbs::Fallible,
};

const GOOD: &[&str] = &["GOOD; works"];
const REQUEST_SENSE: u8 = 0x03;
/// What a command that may not write has left.
const NOT_WRITTEN: &[&str] = &["refused; same data"];
const NO_LUN: &[&str] = &["CHECK CONDITION 05/25/00; works"];

pub(super) const ROWS: &[Scenario] = &[
    row("commands.inquiry", "INQUIRY", WORKS, |b| {
        b.session()?.works()
    }),
    row("commands.no_data", "TEST UNIT READY", GOOD, |b| {
        one(b, |_| tur())
    }),
    row(
        "commands.write_read",
        "WRITE(10) and READ(10) of 4 KiB",
        &["same data"],
        |b| write_read(b, 4096, 0),
    ),
    row(
        "commands.write_read_1m",
        "WRITE(10) and READ(10) of 1 MiB",
        &["same data"],
        |b| write_read(b, 1 << 20, 4096),
    ),
    row(
        "commands.unaligned",
        "data at an odd address",
        &["same data"],
        |b| write_read(b, 1536, 777),
    ),
    row(
        "commands.write_same_in",
        "WRITE SAME(10) with data in the wrong direction",
        NOT_WRITTEN,
        |b| wrong_way(b, rw_10(scsi::WRITE_SAME_10, WRITTEN, 1)),
    ),
    row(
        "commands.write_same_16_in",
        "the same with WRITE SAME(16)",
        NOT_WRITTEN,
        |b| wrong_way(b, rw_16(scsi::WRITE_SAME_16, WRITTEN.into(), 1)),
    ),
    row(
        "commands.compare_after_reset",
        "COMPARE AND WRITE again and again, from the unit attention of a LUN RESET on",
        &["GOOD; new data"],
        compare_after_reset,
    ),
    row(
        "commands.two_disks",
        "the same block of two disks differs",
        &["own data"],
        |b| {
            let mut s = b.session()?;
            for (n, byte) in [(0_u16, 0x10_u8), (1, 0x21)] {
                s.conn.memory.fill(0, &[byte; BLOCK]);
                let cmd = Cmd::data_out(write_10(9, 1), s.conn.memory.desc(0, BLOCK));
                s.ask(&Cmd { lun: lun(n), ..cmd })?;
            }
            let mut own = true;
            for (n, byte) in [(0_u16, 0x10_u8), (1, 0x21)] {
                s.conn.memory.allow(0, BLOCK);
                let cmd = Cmd::data_in(read_10(9, 1), s.conn.memory.desc(0, BLOCK));
                s.ask(&Cmd { lun: lun(n), ..cmd })?;
                own &= s.conn.memory.read(0, BLOCK) == [byte; BLOCK];
            }
            Ok(if own { "own data" } else { "foreign data" }.into())
        },
    ),
    row(
        "commands.unknown_cdb",
        "an operation code nobody knows",
        &["CHECK CONDITION 05/20/00; works"],
        |b| one(b, |_| Cmd::new(vec![0xff])),
    ),
    row(
        "commands.beyond_end",
        "READ beyond the end of the disk",
        &["CHECK CONDITION 05/21/00; works"],
        |b| one(b, |s| data_in(s, read_10(0xffff_fff0, 1), BLOCK)),
    ),
    row(
        "commands.in_parallel",
        "64 READs under way at once",
        &["64 GOOD; works"],
        |b| {
            let mut s = b.session()?;
            s.conn.memory.allow(0, 64 * BLOCK);
            let mut tags = Vec::new();
            for n in 0..64 {
                let desc = s.conn.memory.desc(n * BLOCK, BLOCK);
                tags.push(s.start(&Cmd::data_in(read_10(n as u32, 1), desc))?);
            }
            let mut good = 0;
            while let Some(seen) = (!tags.is_empty()).then(|| s.answer(PATIENCE)).transpose()? {
                let Seen::Rsp(rsp) = seen else {
                    return Ok(format!("{seen} after {good}"));
                };
                let Some(at) = tags.iter().position(|&t| t == rsp.tag) else {
                    return Ok(format!("a response with tag {:#x}", rsp.tag));
                };
                tags.swap_remove(at);
                good += usize::from(rsp.status == 0);
            }
            Ok(format!("{good} GOOD; {}", s.works()?))
        },
    ),
    row(
        "commands.same_tag",
        "two commands with the same tag",
        &["GOOD, GOOD; works"],
        |b| {
            let mut s = b.session()?;
            let bytes = Cmd { tag: 7, ..tur() }.bytes();
            s.send(&bytes)?;
            s.send(&bytes)?;
            let (first, second) = (s.answer_to(7)?, s.answer_to(7)?);
            Ok(format!("{first}, {second}; {}", s.works()?))
        },
    ),
    row(
        "commands.tags",
        "tags 0 and 2^64 - 1",
        &["GOOD, GOOD"],
        |b| {
            let mut s = b.session()?;
            let mut seen = Vec::new();
            for tag in [0, u64::MAX] {
                s.send(&Cmd { tag, ..tur() }.bytes())?;
                seen.push(s.answer_to(tag)?.to_string());
            }
            Ok(seen.join(", "))
        },
    ),
    row(
        "commands.reserved_bytes",
        "reserved bytes of SRP_CMD are not zero",
        GOOD,
        |b| {
            let mut s = b.session()?;
            let tag = s.tag();
            let mut bytes = Cmd { tag, ..tur() }.bytes();
            for at in [2, 3, 4, 16, 17, 18, 19, 28, 30] {
                bytes[at] = 0xff;
            }
            // The attribute's upper bits and those below the length of the additional CDB, too.
            bytes[29] |= 0xf8;
            bytes[31] |= 3;
            s.send(&bytes)?;
            let seen = s.answer_to(tag)?;
            Ok(format!("{seen}; {}", s.works()?))
        },
    ),
    // --- residuals ---
    row(
        "commands.in_none",
        "data-in, as much as the command has",
        GOOD,
        |b| one(b, |s| data_in(s, read_10(0, 1), BLOCK)),
    ),
    row(
        "commands.in_under",
        "data-in, 512 bytes too much room",
        &["GOOD in under 512; works"],
        |b| {
            one(b, |s| {
                let desc = s.conn.memory.desc(0, 2 * BLOCK);
                s.conn.memory.allow(0, BLOCK);
                Cmd::data_in(read_10(0, 1), desc)
            })
        },
    ),
    row(
        "commands.in_over",
        "data-in, 512 bytes too little room",
        &["GOOD in over 512; works"],
        |b| one(b, |s| data_in(s, read_10(0, 2), BLOCK)),
    ),
    row(
        "commands.out_none",
        "data-out, as much as the command takes",
        GOOD,
        |b| one(b, |s| data_out(s, write_10(0, 1), BLOCK)),
    ),
    row(
        "commands.out_under",
        "data-out, 512 bytes too much",
        &["CHECK CONDITION 05/0e/03 out under 512; works"],
        |b| one(b, |s| data_out(s, write_10(0, 1), 2 * BLOCK)),
    ),
    row(
        "commands.out_over",
        "data-out, 512 bytes too little",
        &["CHECK CONDITION 05/0e/03 out over 512; works"],
        |b| one(b, |s| data_out(s, write_10(0, 2), BLOCK)),
    ),
    row(
        "commands.in_useless",
        "data-in where the command has none",
        &["GOOD in under 512; works"],
        |b| {
            one(b, |s| {
                Cmd::data_in(vec![scsi::TEST_UNIT_READY], s.conn.memory.desc(0, BLOCK))
            })
        },
    ),
    row(
        "commands.out_useless",
        "data-out where the command has none",
        &["GOOD out under 512; works"],
        |b| {
            one(b, |s| {
                Cmd::data_out(vec![scsi::TEST_UNIT_READY], s.conn.memory.desc(0, BLOCK))
            })
        },
    ),
    row(
        "commands.inquiry_short",
        "INQUIRY with room for 5 of 36 bytes",
        &["GOOD in over 31; works"],
        |b| one(b, |s| data_in(s, inquiry(36), 5)),
    ),
    // --- attributes ---
    row("commands.attr_simple", "task attribute SIMPLE", GOOD, |b| {
        attr(b, 0)
    }),
    row(
        "commands.attr_head",
        "task attribute HEAD OF QUEUE",
        GOOD,
        |b| attr(b, 1),
    ),
    row(
        "commands.attr_ordered",
        "task attribute ORDERED",
        GOOD,
        |b| attr(b, 2),
    ),
    row(
        "commands.attr_aca",
        "task attribute ACA, which the engine refuses",
        &["CHECK CONDITION 05/24/00; works"],
        |b| attr(b, 4),
    ),
    row(
        "commands.attr_3",
        "reserved task attribute 3, which counts as ORDERED",
        GOOD,
        |b| attr(b, 3),
    ),
    row(
        "commands.attr_7",
        "reserved task attribute 7, which counts as ORDERED",
        GOOD,
        |b| attr(b, 7),
    ),
    // --- logical units ---
    row(
        "commands.lun_peripheral",
        "LUN 1 in peripheral addressing",
        GOOD,
        |b| on_lun(b, [0, 1, 0, 0, 0, 0, 0, 0]),
    ),
    // Its addressing method is part of a number: these are 16385 and 32769.
    row(
        "commands.lun_flat",
        "LUN 1 in flat addressing",
        NO_LUN,
        |b| on_lun(b, [0x40, 1, 0, 0, 0, 0, 0, 0]),
    ),
    row(
        "commands.lun_logical",
        "LUN 1 in logical unit addressing",
        NO_LUN,
        |b| on_lun(b, [0x80, 1, 0, 0, 0, 0, 0, 0]),
    ),
    row(
        "commands.lun_extended",
        "extended addressing",
        NO_LUN,
        |b| on_lun(b, [0xc1, 1, 0, 0, 0, 0, 0, 0]),
    ),
    row("commands.lun_levels", "a LUN of two levels", NO_LUN, |b| {
        on_lun(b, [0, 1, 0, 1, 0, 0, 0, 0])
    }),
    row("commands.lun_absent", "LUN 99", NO_LUN, |b| {
        on_lun(b, lun(99))
    }),
    row("commands.lun_ones", "a LUN of all ones", NO_LUN, |b| {
        on_lun(b, [0xff; 8])
    }),
    row(
        "commands.report_luns",
        "REPORT LUNS of LUN 0",
        &["5 LUNs"],
        |b| {
            let mut s = b.session()?;
            s.conn.memory.fill(0, &[0; 256]);
            let cdb = vec![scsi::REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
            let cmd = data_in(&mut s, cdb, 256);
            match s.ask(&cmd)? {
                Seen::Rsp(rsp) if rsp.status == 0 => {
                    let bytes = s.conn.memory.read(0, 4);
                    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    Ok(format!("{} LUNs", length / 8))
                }
                other => Ok(other.to_string()),
            }
        },
    ),
    // --- long CDBs ---
    row(
        "commands.cdb_16",
        "WRITE(16) and READ(16)",
        &["GOOD, GOOD; same data"],
        |b| {
            two_ways(
                b,
                0,
                rw_16(scsi::WRITE_16, 20, 1),
                rw_16(scsi::READ_16, 20, 1),
            )
        },
    ),
    row(
        "commands.cdb_32",
        "WRITE(32) and READ(32) on a disk that takes them",
        &["GOOD, GOOD; same data"],
        |b| two_ways(b, 3, rw_32(11, 30, 1), rw_32(9, 30, 1)),
    ),
    row(
        "commands.cdb_32_unknown",
        "READ(32) on a disk that does not",
        &["CHECK CONDITION 05/20/00; works"],
        |b| one(b, |s| data_in(s, rw_32(9, 0, 1), BLOCK)),
    ),
    row(
        "commands.cdb_spare",
        "additional bytes behind a 10-byte CDB",
        GOOD,
        |b| {
            one(b, |s| {
                let mut cdb = read_10(0, 1);
                cdb.resize(16 + 252, 0xa5);
                data_in(s, cdb, BLOCK)
            })
        },
    ),
    row(
        "commands.cdb_missing",
        "an additional CDB that is not there",
        INVALID,
        |b| {
            one(b, |_| Cmd {
                add_cdb: Some(252),
                ..tur()
            })
        },
    ),
    row(
        "commands.cdb_half",
        "an additional CDB that is there by half",
        INVALID,
        |b| {
            one(b, |_| Cmd {
                add_cdb: Some(32),
                tail: vec![0; 16],
                ..tur()
            })
        },
    ),
    row(
        "commands.cdb_lies",
        "a variable-length CDB longer than what was sent",
        &[
            "CHECK CONDITION 05/24/00; works",
            "CHECK CONDITION 05/20/00; works",
        ],
        |b| {
            one(b, |_| {
                Cmd::new(vec![scsi::VARIABLE, 0, 0, 0, 0, 0, 0, 248, 0, 9])
            })
        },
    ),
    // --- values that no disk serves ---
    row("commands.naca", "NACA in the control byte", GOOD, |b| {
        one(b, |_| Cmd::new(vec![scsi::TEST_UNIT_READY, 0, 0, 0, 0, 4]))
    }),
    row("commands.link", "LINK in the control byte", GOOD, |b| {
        one(b, |_| Cmd::new(vec![scsi::TEST_UNIT_READY, 0, 0, 0, 0, 1]))
    }),
    row(
        "commands.naca_refused",
        "NACA in a variable-length CDB of 8 bytes",
        &["CHECK CONDITION 05/20/00; works"],
        |b| one(b, |_| Cmd::new(vec![scsi::VARIABLE, 4])),
    ),
    row(
        "commands.lba_largest",
        "READ(16) of the block with the largest number",
        &["CHECK CONDITION 05/21/00; works"],
        |b| one(b, |s| data_in(s, rw_16(scsi::READ_16, u64::MAX, 1), BLOCK)),
    ),
    row(
        "commands.lba_2_63",
        "READ(16) that ends 2^63 bytes behind the beginning",
        &["CHECK CONDITION 05/21/00; works"],
        |b| {
            one(b, |s| {
                data_in(s, rw_16(scsi::READ_16, (1 << 54) - 1, 1), BLOCK)
            })
        },
    ),
    row(
        "commands.room_2_31",
        "REPORT LUNS with an allocation length of 2^31",
        &["GOOD in under 208; works"],
        |b| {
            one(b, |s| {
                let cdb = vec![scsi::REPORT_LUNS, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0];
                data_in(s, cdb, 256)
            })
        },
    ),
    row(
        "commands.blocks_2_31",
        "READ(16) of 2^31 blocks",
        &["CHECK CONDITION 05/21/00; works"],
        |b| one(b, |s| data_in(s, rw_16(scsi::READ_16, 0, 1 << 31), BLOCK)),
    ),
    row(
        "commands.ata_length",
        "ATA PASS-THROUGH(16) whose length is not in the CDB",
        &["CHECK CONDITION 05/20/00; works"],
        |b| one(b, |_| Cmd::new(vec![scsi::ATA_16, 0, 3])),
    ),
    row(
        "commands.short_of_a_block",
        "WRITE(10) of a block with 100 bytes, on a block device",
        &["CHECK CONDITION 05/0e/03 out over 412; works"],
        |b| {
            one(b, |s| Cmd {
                lun: lun(SLOW),
                ..data_out(s, write_10(40, 1), 100)
            })
        },
    ),
    // --- sense data ---
    row(
        "commands.sense_short",
        "REQUEST SENSE with room for 4 bytes",
        GOOD,
        |b| one(b, |s| data_in(s, vec![REQUEST_SENSE, 0, 0, 0, 4], 4)),
    ),
    row(
        "commands.sense_room",
        "sense data in units of 256 bytes",
        &["132 bytes or fewer"],
        |b| {
            let mut s = b.session()?;
            sense_size(&mut s, 132)
        },
    ),
    row(
        "commands.sense_cut",
        "sense data in units of 64 bytes",
        &["64 bytes or fewer"],
        |b| {
            let mut s = b.session_as(|r| r.req_it_iu_len = 64)?;
            sense_size(&mut s, 64)
        },
    ),
    admin_row(
        "commands.sense_40",
        "sense data in units of 40 bytes: srp_max_rsp_size is 40",
        &["40 bytes or fewer"],
        |b| {
            b.admin("attr srp_max_rsp_size 40")?;
            let mut s = b.session()?;
            let seen = sense_size(&mut s, 40);
            b.admin("attr srp_max_rsp_size 256")?;
            seen
        },
    ),
];

/// TEST UNIT READY.
pub(super) fn tur() -> Cmd {
    Cmd::new(vec![scsi::TEST_UNIT_READY])
}

/// A command with room for data at the beginning of the memory.
pub(super) fn data_in(s: &mut Session, cdb: Vec<u8>, len: usize) -> Cmd {
    s.conn.memory.allow(0, len);
    Cmd::data_in(cdb, s.conn.memory.desc(0, len))
}

/// A command with data from the beginning of the memory.
pub(super) fn data_out(s: &mut Session, cdb: Vec<u8>, len: usize) -> Cmd {
    s.conn.memory.fill(0, &vec![0xd0; len]);
    Cmd::data_out(cdb, s.conn.memory.desc(0, len))
}

/// One command on a session of its own, and whether that works afterwards.
pub(super) fn one(b: &Bench, make: impl FnOnce(&mut Session) -> Cmd) -> Fallible<String> {
    let mut s = b.session()?;
    ask_and_work(&mut s, make)
}

/// One command, and whether the session works afterwards if it is still there.
pub(super) fn ask_and_work(
    s: &mut Session,
    make: impl FnOnce(&mut Session) -> Cmd,
) -> Fallible<String> {
    let cmd = make(s);
    let seen = s.ask(&cmd)?;
    match seen {
        Seen::Gone => Ok(seen.to_string()),
        _ => Ok(format!("{seen}; {}", s.works()?)),
    }
}

fn attr(b: &Bench, attr: u8) -> Fallible<String> {
    one(b, |_| Cmd { attr, ..tur() })
}

fn on_lun(b: &Bench, lun: [u8; 8]) -> Fallible<String> {
    one(b, |_| Cmd { lun, ..tur() })
}

/// Bytes that differ from place to place.
pub(super) fn some_data(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

/// Writes and reads back; the copy is behind the original.
fn write_read(b: &Bench, len: usize, at: usize) -> Fallible<String> {
    let options = Options {
        memory: 2 * len + 2 * at + 4096,
        ..Options::default()
    };
    let mut s = b.session_with(&b.request(1), options)?;
    let data = some_data(len);
    s.conn.memory.fill(at, &data);
    let blocks = (len / BLOCK) as u16;
    let desc = s.conn.memory.desc(at, len);
    let seen = s.ask(&Cmd::data_out(write_10(64, blocks), desc))?;
    if seen.to_string() != "GOOD" {
        return Ok(format!("write: {seen}"));
    }
    let copy = at + len + at;
    s.conn.memory.allow(copy, len);
    let desc = s.conn.memory.desc(copy, len);
    let seen = s.ask(&Cmd::data_in(read_10(64, blocks), desc))?;
    if seen.to_string() != "GOOD" {
        return Ok(format!("read: {seen}"));
    }
    let same = s.conn.memory.read(copy, len) == data;
    Ok(if same { "same data" } else { "other data" }.into())
}

/// The block that commands write, or must not.
const WRITTEN: u32 = 96;

/// Puts the first block of the data there, from the beginning of the memory, which then holds all of it.
fn put(s: &mut Session, disk: u16, data: &[u8]) -> Fallible<()> {
    s.conn.memory.fill(0, data);
    let cmd = Cmd::data_out(write_10(WRITTEN, 1), s.conn.memory.desc(0, BLOCK));
    let cmd = Cmd {
        lun: lun(disk),
        ..cmd
    };
    match s.ask(&cmd)?.to_string() {
        good if good == "GOOD" => Ok(()),
        other => Err(format!("the preparing write: {other}")),
    }
}

/// Whether that block of a disk holds the data.
fn holds(s: &mut Session, disk: u16, data: &[u8]) -> Fallible<bool> {
    s.conn.memory.allow(4096, BLOCK);
    let cmd = Cmd::data_in(read_10(WRITTEN, 1), s.conn.memory.desc(4096, BLOCK));
    s.ask(&Cmd {
        lun: lun(disk),
        ..cmd
    })?;
    Ok(s.conn.memory.read(4096, BLOCK) == data)
}

/// A command that would write a block, but with data in the other direction: what the block holds
/// afterwards. The disk is one that knows WRITE SAME.
fn wrong_way(b: &Bench, cdb: Vec<u8>) -> Fallible<String> {
    let mut s = b.session()?;
    let data = some_data(BLOCK);
    put(&mut s, SLOW, &data)?;
    let cmd = Cmd {
        lun: lun(SLOW),
        ..data_in(&mut s, cdb, BLOCK)
    };
    let seen = match s.ask(&cmd)? {
        Seen::Rsp(rsp) if rsp.status == 2 => "refused".to_string(),
        other => other.to_string(),
    };
    let same = holds(&mut s, SLOW, &data)?;
    Ok(format!(
        "{seen}; {} data",
        if same { "same" } else { "other" }
    ))
}

/// LUN RESET, then COMPARE AND WRITE of one block until there is no unit attention.
fn compare_after_reset(b: &Bench) -> Fallible<String> {
    let mut s = b.session()?;
    // The first block is to be compared and on the disk, the second is to be written.
    let data = some_data(2 * BLOCK);
    put(&mut s, 0, &data)?;
    let tag = s.tag();
    s.send(&task_management(tag, LUN_RESET, lun(0), 0))?;
    s.answer_to(tag)?;
    let desc = s.conn.memory.desc(0, 2 * BLOCK);
    let cmd = Cmd::data_out(compare_and_write(WRITTEN.into()), desc);
    let mut seen = String::new();
    for _ in 0..3 {
        seen = s.ask(&cmd)?.to_string();
        if !seen.starts_with("CHECK CONDITION 06") {
            break;
        }
    }
    let new = holds(&mut s, 0, &data[BLOCK..])?;
    Ok(format!(
        "{seen}; {} data",
        if new { "new" } else { "other" }
    ))
}

/// Writes a block with one CDB and reads it back with another.
fn two_ways(b: &Bench, number: u16, write: Vec<u8>, read: Vec<u8>) -> Fallible<String> {
    let mut s = b.session()?;
    let data = some_data(BLOCK);
    s.conn.memory.fill(0, &data);
    let cmd = Cmd::data_out(write, s.conn.memory.desc(0, BLOCK));
    let wrote = s.ask(&Cmd {
        lun: lun(number),
        ..cmd
    })?;
    s.conn.memory.allow(4096, BLOCK);
    let cmd = Cmd::data_in(read, s.conn.memory.desc(4096, BLOCK));
    let seen = s.ask(&Cmd {
        lun: lun(number),
        ..cmd
    })?;
    let same = s.conn.memory.read(4096, BLOCK) == data;
    Ok(format!(
        "{wrote}, {seen}; {} data",
        if same { "same" } else { "other" }
    ))
}

/// The size of the response to a command that fails.
fn sense_size(s: &mut Session, limit: usize) -> Fallible<String> {
    match s.ask(&Cmd::new(vec![0xff]))? {
        Seen::Rsp(rsp) if rsp.status == 2 && rsp.len <= limit => {
            Ok(format!("{limit} bytes or fewer"))
        }
        Seen::Rsp(rsp) => Ok(format!("{rsp} in {} bytes", rsp.len)),
        other => Ok(other.to_string()),
    }
}
