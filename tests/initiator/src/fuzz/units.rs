// SPDX-License-Identifier: GPL-2.0
//! What is sent: units that begin well-formed and are then changed, field by field or byte by byte,
//! and login requests.
//!
//! Not here: what the target must make of them (`channel.rs`).

use super::rng::Rng;
use crate::{
    dest::{
        Dest,
        Layout, //
    },
    iu::{
        descriptors,
        fmt_code,
        inquiry,
        lun,
        rw_10,
        rw_16,
        rw_32,
        scsi,
        short_iu,
        task_management,
        Cmd,
        Table,
        BLOCK, //
    },
    memory::Memory,
    srp::wire::{
        desc::DirectDesc,
        login::{
            LoginReq,
            MultiChannel, //
        }, //
    }, //
};

/// Buffers for data, one behind the other with a gap that no unit describes.
const SLOTS: usize = 64;
const SLOT: usize = 8192;
const GAP: usize = 512;
/// External tables lie behind the buffers.
const TABLES: usize = SLOTS * (SLOT + GAP);
const TABLE: usize = 4096;
/// More than there are requests under way, so that no table changes while it is read.
const TABLE_SLOTS: usize = 64;
/// Size in bytes of the memory all this takes.
pub(crate) const MEMORY: usize = TABLES + TABLE_SLOTS * (TABLE + GAP);

/// Blocks of the disks that are used: all of them and some that are not there.
const BLOCKS: usize = 9000;

/// Offset of immediate data.
pub(crate) const IMMEDIATE: u16 = 68;

/// Operation codes that are tried. None takes long, and none goes to another target.
const OPCODES: &[u8] = &[
    0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x25, 0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x42,
    0x53, 0x55, 0x5a, 0x5e, 0x7f, 0x84, 0x85, 0x88, 0x89, 0x8a, 0x91, 0x93, 0x9e, 0xa0, 0xa1, 0xa3,
    0xa4, 0xa8, 0xaa, 0xff,
];

/// Makes the units of one session.
pub(crate) struct Maker<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) memory: &'a mut Memory,
    /// Immediate data was agreed on.
    pub(crate) immediate: bool,
    /// Tag of the unit to be made.
    pub(crate) tag: u64,
    /// Tags that were used lately, for task management.
    pub(crate) tags: &'a [u64],
}

impl Maker<'_> {
    /// A buffer of up to `len` bytes.
    fn buffer(&mut self, len: usize) -> DirectDesc {
        let slot = self.rng.below(SLOTS);
        let len = len.min(SLOT);
        let at = slot * (SLOT + GAP) + self.rng.below(SLOT - len + 1);
        self.memory.desc(at, len)
    }

    /// Descriptors of `len` bytes together.
    fn list(&mut self, len: usize) -> Vec<DirectDesc> {
        let most = if self.rng.per_mille(50) { 200 } else { 6 };
        let count = 1 + self.rng.below(most);
        let mut left = len;
        let mut list = Vec::new();
        for n in (1..=count).rev() {
            let part = if n == 1 {
                left
            } else {
                self.rng.below(left + 1)
            };
            left -= part.min(SLOT);
            list.push(self.buffer(part));
        }
        list
    }

    /// A CDB, and the length and direction (true: out) of its data.
    fn cdb(&mut self) -> (Vec<u8>, usize, Option<bool>) {
        let block = self.rng.below(BLOCKS) as u32;
        let most = if self.rng.per_mille(100) { 16 } else { 4 };
        let blocks = 1 + self.rng.below(most) as u16;
        let len = usize::from(blocks) * BLOCK;
        match self.rng.below(10) {
            0..=2 => (rw_10(scsi::READ_10, block, blocks), len, Some(false)),
            3..=5 => (rw_10(scsi::WRITE_10, block, blocks), len, Some(true)),
            6 => {
                let out = self.rng.per_mille(500);
                let opcode = if out { scsi::WRITE_16 } else { scsi::READ_16 };
                (rw_16(opcode, block.into(), blocks.into()), len, Some(out))
            }
            7 => (inquiry(96), 96, Some(false)),
            8 => (vec![scsi::TEST_UNIT_READY], 0, None),
            _ => {
                let mut cdb = vec![self.rng.pick(OPCODES)];
                let more = self.rng.pick(&[5, 9, 11, 15]);
                cdb.extend((0..more).map(|_| self.rng.next() as u8 & self.rng.next() as u8));
                if self.rng.per_mille(200) {
                    cdb = rw_32(self.rng.pick(&[9, 11, 13]), block.into(), blocks.into());
                }
                (
                    cdb,
                    self.rng.below(1024),
                    self.rng.pick(&[None, Some(true), Some(false)]),
                )
            }
        }
    }

    /// A well-formed command.
    fn command(&mut self) -> Cmd {
        let (cdb, len, out) = self.cdb();
        let mut cmd = match (out, self.rng.below(8)) {
            (None, _) => Cmd::new(cdb),
            (Some(true), 0..=2) if self.immediate => {
                let mut offset = usize::from(IMMEDIATE);
                if cdb.len() > 16 {
                    offset = 0;
                }
                let data = vec![self.rng.next() as u8; len];
                Cmd::immediate(cdb, offset, len as u32, &data)
            }
            (Some(out), 0..=3) => {
                let desc = self.buffer(len);
                if out {
                    Cmd::data_out(cdb, desc)
                } else {
                    Cmd::data_in(cdb, desc)
                }
            }
            (Some(out), kind) => {
                let list = self.list(len);
                let mut table = Table::new(list);
                if kind == 7 && table.list.len() * 16 <= TABLE {
                    self.external(&mut table);
                }
                if out {
                    Cmd::table_out(cdb, &table)
                } else {
                    Cmd::table_in(cdb, &table)
                }
            }
        };
        cmd.lun = lun(self.rng.below(2) as u16);
        cmd.attr = self.rng.pick(&[0, 0, 0, 0, 0, 0, 1, 2]);
        cmd.sol_not = self.rng.pick(&[0, 0, 0, 2, 4, 6]);
        cmd
    }

    /// Moves the table to the memory; a part stays in the unit.
    fn external(&mut self, table: &mut Table) {
        let at = TABLES + self.tag as usize % TABLE_SLOTS * (TABLE + GAP);
        self.memory.fill(at, &descriptors(&table.list));
        for desc in &table.list {
            self.memory.allow_address(desc.va, desc.len);
        }
        table.table = self.memory.desc(at, table.list.len() * 16);
        let keep = self.rng.below(table.list.len());
        table.list.truncate(keep);
        table.count = keep as u8;
    }

    /// Lies in one or more fields of a command.
    fn lie(&mut self, cmd: &mut Cmd) {
        for _ in 0..=self.rng.below(2) {
            let edge = self.rng.edge();
            match self.rng.below(16) {
                0 => cmd.attr = edge as u8,
                1 => cmd.lun = edge.to_be_bytes(),
                2 => cmd.add_cdb = Some(edge as u8),
                3 => cmd.out_count = edge as u8,
                4 => cmd.in_count = edge as u8,
                5 => cmd.in_fmt = edge as u8 & 15,
                6 => cmd.out_fmt = edge as u8 & 15,
                7 => std::mem::swap(&mut cmd.in_fmt, &mut cmd.out_fmt),
                8 => cmd.out_fmt = self.rng.pick(&[0, 1, 2, fmt_code::IMMEDIATE]),
                9 => {
                    let keep = self.rng.below(cmd.tail.len() + 1);
                    cmd.tail.truncate(keep);
                }
                10 => cmd.tail.extend(vec![edge as u8; self.rng.below(600)]),
                // The length of a direct descriptor or of a table; mostly too small, because what
                // is too large for the memory ends the session.
                11 if self.rng.per_mille(100) => self.put(cmd, 12, edge as u32),
                11 => self.put(cmd, 12, edge as u32 % BLOCK as u32),
                12 if cmd.out_fmt == fmt_code::IMMEDIATE => self.put(cmd, 0, edge as u32),
                12 => cmd.out_count = cmd.out_count.wrapping_add(1),
                // The length of the data behind a table.
                13 => self.put(cmd, 16, edge as u32),
                // An address inside the memory with a length that is not.
                14 => self.put(cmd, 12, SLOT as u32 * 4),
                _ => cmd.sol_not = edge as u8,
            }
        }
    }

    fn put(&mut self, cmd: &mut Cmd, at: usize, value: u32) {
        if let Some(bytes) = cmd.tail.get_mut(at..at + 4) {
            bytes.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// A task management request; resets are rare, because they end commands of all channels.
    fn function(&mut self, tag: u64) -> Vec<u8> {
        let task = match self.rng.below(3) {
            0 if !self.tags.is_empty() => self.rng.pick(self.tags),
            1 => self.tags.last().copied().unwrap_or(0),
            _ => self.rng.edge(),
        };
        let function = match self.rng.below(40) {
            0 => 0x08,
            1..=3 => self.rng.edge() as u8,
            4..=6 => self.rng.pick(&[0x02, 0x04, 0x40]),
            _ => 0x01,
        };
        let number = self.rng.pick(&[0, 0, 1, 77]);
        task_management(tag, function, lun(number), task)
    }

    /// A unit that ends the session, if the target does what it should.
    fn deadly(&mut self, tag: u64) -> Vec<u8> {
        match self.rng.below(6) {
            0 => vec![self.rng.next() as u8; self.rng.below(16)],
            1 => short_iu(0x03, tag),
            2 => short_iu(self.rng.pick(&[0x41, 0x42]), tag),
            3 => {
                let mut desc = self.buffer(BLOCK);
                desc.key ^= 1 + self.rng.below(0xffff) as u32;
                Cmd {
                    tag,
                    ..Cmd::data_in(rw_10(scsi::READ_10, 0, 1), desc)
                }
                .bytes()
            }
            4 => {
                let len = self.rng.below(300);
                (0..len).map(|_| self.rng.next() as u8).collect()
            }
            _ => {
                let mut bytes = short_iu(self.rng.next() as u8, tag);
                bytes.resize(16 + self.rng.below(100), 0);
                bytes
            }
        }
    }

    /// The next unit: good as often as not.
    pub(crate) fn unit(&mut self) -> Vec<u8> {
        let tag = self.tag;
        let mut bytes = match self.rng.below(1000) {
            0 | 1 => return self.deadly(tag),
            2..=69 => self.function(tag),
            70..=399 => {
                let mut cmd = self.command();
                self.lie(&mut cmd);
                Cmd { tag, ..cmd }.bytes()
            }
            _ => Cmd {
                tag,
                ..self.command()
            }
            .bytes(),
        };
        if self.rng.per_mille(10) {
            match self.rng.below(3) {
                0 => {
                    let keep = 16 + self.rng.below(bytes.len() - 15);
                    bytes.truncate(keep);
                }
                // Not in the first bytes, which decide about life and death.
                1 => {
                    let at = 16 + self.rng.below((bytes.len() - 16).min(60));
                    bytes[at] ^= 1 << self.rng.below(8);
                }
                _ => {
                    let at = 1 + self.rng.below(bytes.len() - 1);
                    bytes[at] = self.rng.edge() as u8;
                }
            }
        }
        bytes
    }
}

/// Changes a login request that goes to `dest`; more often than not it is still a good one.
pub(crate) fn login(rng: &mut Rng, req: &LoginReq, dest: Dest) -> Vec<u8> {
    let mut req = *req;
    if rng.per_mille(500) {
        req.imm_requested = true;
        req.imm_data_offset = IMMEDIATE;
    }
    if rng.per_mille(100) {
        req.multichannel = MultiChannel::Single;
    }
    let mut bytes = dest.emit(&req);
    let &Layout {
        iu_len, imm_offset, ..
    } = dest.layout();
    if rng.per_mille(250) {
        match rng.below(4) {
            0 => {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
            1 => bytes[imm_offset..][..2].copy_from_slice(&(rng.edge() as u16).to_be_bytes()),
            2 => bytes[iu_len..][..4].copy_from_slice(&(rng.edge() as u32).to_be_bytes()),
            _ => {
                let at = rng.below(bytes.len());
                bytes[at] = rng.edge() as u8;
            }
        }
    }
    bytes
}

/// Every descriptor with our key that could be read from these bytes, at whatever offset.
pub(crate) fn described(bytes: &[u8], key: u32) -> Vec<(u64, u32)> {
    let key = key.to_be_bytes();
    let mut out = Vec::new();
    for window in bytes.windows(16) {
        if window[8..12] == key {
            let va = window[..8].try_into().map_or(0, u64::from_be_bytes);
            let len = window[12..].try_into().map_or(0, u32::from_be_bytes);
            out.push((va, len));
        }
    }
    out
}
