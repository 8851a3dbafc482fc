// SPDX-License-Identifier: GPL-2.0
//! Information units as an initiator writes them, right or wrong, and responses as words.
//!
//! Commands are built field by field, so that every field can lie. What the target answers is parsed
//! by the code of the module and described in a fixed form that tables can compare.

use std::fmt;

use crate::srp::wire::{
    desc::DirectDesc,
    rsp::{
        Residual,
        Rsp, //
    },
    tmf::{
        TmFunction,
        TskMgmt, //
    }, //
};

/// SCSI operation codes used here.
pub(crate) mod scsi {
    pub(crate) const TEST_UNIT_READY: u8 = 0x00;
    pub(crate) const INQUIRY: u8 = 0x12;
    pub(crate) const READ_10: u8 = 0x28;
    pub(crate) const WRITE_10: u8 = 0x2a;
    pub(crate) const WRITE_SAME_10: u8 = 0x41;
    pub(crate) const VARIABLE: u8 = 0x7f;
    pub(crate) const ATA_16: u8 = 0x85;
    pub(crate) const READ_16: u8 = 0x88;
    pub(crate) const COMPARE_AND_WRITE: u8 = 0x89;
    pub(crate) const WRITE_16: u8 = 0x8a;
    pub(crate) const WRITE_SAME_16: u8 = 0x93;
    pub(crate) const REPORT_LUNS: u8 = 0xa0;
}

/// Logical block size of the disks, in bytes.
pub(crate) const BLOCK: usize = 512;

/// INQUIRY for `len` bytes.
pub(crate) fn inquiry(len: u16) -> Vec<u8> {
    let [high, low] = len.to_be_bytes();
    vec![scsi::INQUIRY, 0, 0, high, low, 0]
}

/// A ten-byte READ, WRITE or WRITE SAME.
pub(crate) fn rw_10(opcode: u8, block: u32, blocks: u16) -> Vec<u8> {
    let mut cdb = vec![opcode, 0];
    cdb.extend(block.to_be_bytes());
    cdb.push(0);
    cdb.extend(blocks.to_be_bytes());
    cdb.push(0);
    cdb
}

/// READ(10).
pub(crate) fn read_10(block: u32, blocks: u16) -> Vec<u8> {
    rw_10(scsi::READ_10, block, blocks)
}

/// WRITE(10).
pub(crate) fn write_10(block: u32, blocks: u16) -> Vec<u8> {
    rw_10(scsi::WRITE_10, block, blocks)
}

/// A sixteen-byte READ, WRITE or WRITE SAME.
pub(crate) fn rw_16(opcode: u8, block: u64, blocks: u32) -> Vec<u8> {
    let mut cdb = vec![opcode, 0];
    cdb.extend(block.to_be_bytes());
    cdb.extend(blocks.to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

/// COMPARE AND WRITE of one block. Its data is two blocks: what must be there, and what is to be.
pub(crate) fn compare_and_write(block: u64) -> Vec<u8> {
    // In this command the number of blocks is one byte, the last of four.
    rw_16(scsi::COMPARE_AND_WRITE, block, 1)
}

/// READ(32) or WRITE(32), by service action 9 or 11.
pub(crate) fn rw_32(service_action: u16, block: u64, blocks: u32) -> Vec<u8> {
    let mut cdb = vec![scsi::VARIABLE, 0, 0, 0, 0, 0, 0, 24];
    cdb.extend(service_action.to_be_bytes());
    cdb.extend([0, 0]);
    cdb.extend(block.to_be_bytes());
    // The expected initial reference tag is the low half of the block address.
    cdb.extend((block as u32).to_be_bytes());
    cdb.extend([0; 4]);
    cdb.extend(blocks.to_be_bytes());
    cdb
}

/// A logical unit number as the Linux initiator writes it.
pub(crate) fn lun(number: u16) -> [u8; 8] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0, 0, 0, 0, 0]
}

/// Formats of data descriptors.
pub(crate) mod fmt_code {
    pub(crate) const DIRECT: u8 = 1;
    pub(crate) const INDIRECT: u8 = 2;
    pub(crate) const IMMEDIATE: u8 = 3;
}

/// The fields of an SRP_CMD. Nothing here is made consistent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cmd {
    pub(crate) tag: u64,
    pub(crate) sol_not: u8,
    pub(crate) lun: [u8; 8],
    pub(crate) attr: u8,
    /// Padded to 16 bytes; what is beyond becomes the additional CDB.
    pub(crate) cdb: Vec<u8>,
    /// The byte that holds the length of the additional CDB, if it is to lie.
    pub(crate) add_cdb: Option<u8>,
    /// Format of the data-out descriptor.
    pub(crate) out_fmt: u8,
    /// Format of the data-in descriptor.
    pub(crate) in_fmt: u8,
    pub(crate) out_count: u8,
    pub(crate) in_count: u8,
    /// What follows the CDB: descriptors, immediate data.
    pub(crate) tail: Vec<u8>,
}

impl Cmd {
    /// A command without data.
    pub(crate) fn new(cdb: Vec<u8>) -> Self {
        Self {
            cdb,
            ..Self::default()
        }
    }

    /// A command with one direct data-in descriptor.
    pub(crate) fn data_in(cdb: Vec<u8>, desc: DirectDesc) -> Self {
        Self {
            in_fmt: fmt_code::DIRECT,
            tail: desc.emit().to_vec(),
            ..Self::new(cdb)
        }
    }

    /// A command with one direct data-out descriptor.
    pub(crate) fn data_out(cdb: Vec<u8>, desc: DirectDesc) -> Self {
        Self {
            out_fmt: fmt_code::DIRECT,
            tail: desc.emit().to_vec(),
            ..Self::new(cdb)
        }
    }

    /// A command with an indirect data-in descriptor and its table in the unit.
    pub(crate) fn table_in(cdb: Vec<u8>, table: &Table) -> Self {
        Self {
            in_fmt: fmt_code::INDIRECT,
            in_count: table.count,
            tail: table.bytes(),
            ..Self::new(cdb)
        }
    }

    /// A command with an indirect data-out descriptor and its table in the unit.
    pub(crate) fn table_out(cdb: Vec<u8>, table: &Table) -> Self {
        Self {
            out_fmt: fmt_code::INDIRECT,
            out_count: table.count,
            tail: table.bytes(),
            ..Self::new(cdb)
        }
    }

    /// A write with immediate data at `offset` in the unit, which claims to be `claimed` bytes.
    pub(crate) fn immediate(cdb: Vec<u8>, offset: usize, claimed: u32, data: &[u8]) -> Self {
        let mut tail = claimed.to_be_bytes().to_vec();
        let before = 32 + cdb.len().max(16);
        tail.resize((offset.saturating_sub(before)).max(4), 0);
        tail.extend(data);
        Self {
            out_fmt: fmt_code::IMMEDIATE,
            tail,
            ..Self::new(cdb)
        }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut cdb = self.cdb.clone();
        cdb.resize(cdb.len().max(16).next_multiple_of(4), 0);
        let additional = u8::try_from(cdb.len() - 16).unwrap_or(0);
        let mut out = vec![0x02, self.sol_not, 0, 0, 0];
        out.extend([
            (self.out_fmt << 4) | self.in_fmt,
            self.out_count,
            self.in_count,
        ]);
        out.extend(self.tag.to_be_bytes());
        out.extend([0; 4]);
        out.extend(self.lun);
        out.extend([0, self.attr, 0, self.add_cdb.unwrap_or(additional)]);
        out.extend(cdb);
        out.extend(&self.tail);
        out
    }
}

/// An indirect descriptor with its table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The descriptors that are part of the unit.
    pub(crate) list: Vec<DirectDesc>,
    /// Where the complete table is, and its length in bytes.
    pub(crate) table: DirectDesc,
    /// Length of the data.
    pub(crate) total: u32,
    /// What the command says about the number of descriptors in the unit.
    pub(crate) count: u8,
}

impl Table {
    /// A table that is completely in the unit and says nothing wrong.
    pub(crate) fn new(list: Vec<DirectDesc>) -> Self {
        Self {
            table: DirectDesc {
                va: 0,
                key: 0,
                len: list.len() as u32 * 16,
            },
            total: list.iter().map(|d| d.len).sum(),
            count: list.len() as u8,
            list,
        }
    }

    /// The bytes in the unit.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.table.emit().to_vec();
        out.extend(self.total.to_be_bytes());
        out.extend(descriptors(&self.list));
        out
    }
}

/// Descriptors one after the other.
pub(crate) fn descriptors(list: &[DirectDesc]) -> Vec<u8> {
    list.iter().flat_map(DirectDesc::emit).collect()
}

/// SRP_TSK_MGMT with any function.
pub(crate) fn task_management(tag: u64, function: u8, lun: [u8; 8], task_tag: u64) -> Vec<u8> {
    TskMgmt {
        tag,
        sol_not: crate::srp::wire::consts::SolNot(0),
        lun: crate::srp::wire::ident::Lun(lun),
        function: TmFunction::from_code(function),
        task_tag,
    }
    .emit()
    .to_vec()
}

/// A unit of 16 bytes that is nothing but an opcode and a tag.
pub(crate) fn short_iu(opcode: u8, tag: u64) -> Vec<u8> {
    let mut out = vec![opcode, 0, 0, 0, 0, 0, 0, 0];
    out.extend(tag.to_be_bytes());
    out
}

/// A received SRP_RSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) tag: u64,
    pub(crate) sol_not: bool,
    pub(crate) delta: i32,
    pub(crate) status: u8,
    pub(crate) out: Residual,
    pub(crate) r#in: Residual,
    pub(crate) sense: Vec<u8>,
    pub(crate) code: Option<u8>,
    /// Size of the unit in bytes.
    pub(crate) len: usize,
}

impl Response {
    /// Takes a unit apart.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let rsp = Rsp::parse(bytes).map_err(|e| format!("malformed response: {e}"))?;
        Ok(Self {
            tag: rsp.tag,
            sol_not: rsp.sol_not,
            delta: rsp.req_lim_delta,
            status: rsp.status,
            out: rsp.residual_out,
            r#in: rsp.residual_in,
            sense: rsp.sense.to_vec(),
            code: rsp.rsp_code,
            len: bytes.len(),
        })
    }

    /// Sense key, additional sense code and its qualifier.
    pub(crate) fn sense_triple(&self) -> Option<(u8, u8, u8)> {
        let at = |i: usize| self.sense.get(i).copied();
        match at(0)? & 0x7f {
            0x70 | 0x71 => Some((at(2)? & 15, at(12)?, at(13)?)),
            0x72 | 0x73 => Some((at(1)? & 15, at(2)?, at(3)?)),
            _ => None,
        }
    }
}

/// As in "GOOD", "code 0", "CHECK CONDITION 05/24/00", "code 2 CHECK CONDITION 05/0e/03",
/// "GOOD in under 36".
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(code) = self.code {
            words.push(format!("code {code}"));
        }
        match self.status {
            0x00 if self.code.is_some() => (),
            0x00 => words.push("GOOD".into()),
            0x02 => words.push("CHECK CONDITION".into()),
            0x08 => words.push("BUSY".into()),
            0x18 => words.push("RESERVATION CONFLICT".into()),
            0x28 => words.push("TASK SET FULL".into()),
            0x40 => words.push("TASK ABORTED".into()),
            other => words.push(format!("status {other:#04x}")),
        }
        match self.sense_triple() {
            Some((key, asc, ascq)) => words.push(format!("{key:02x}/{asc:02x}/{ascq:02x}")),
            None if self.status == 2 => words.push("without sense".into()),
            None => (),
        }
        for (name, residual) in [("out", self.out), ("in", self.r#in)] {
            match residual {
                Residual::None => (),
                Residual::Under(n) => words.push(format!("{name} under {n}")),
                Residual::Over(n) => words.push(format!("{name} over {n}")),
            }
        }
        f.write_str(&words.join(" "))
    }
}
