// SPDX-License-Identifier: GPL-2.0
//! Fields of a command descriptor block (CDB) that an engine may have to be kept from: valid by
//! SAM, SPC and SBC, but with values that no logical unit serves.
//!
//! The position of a field follows from the operation code. Operation codes that are not listed
//! have no such field, or one that is too short for such a value.
//!
//! Source: SAM-5 5.2 (control byte), SPC-4 and SBC-4 (CDBs), SAT-4 12.2 (ATA PASS-THROUGH).
//!
//! Not here: what else a CDB means (the SCSI engine).

use super::{
    codec::{
        be16,
        be32,
        be64, //
    },
    scsi::sense, //
};

/// Operation code REQUEST SENSE.
const REQUEST_SENSE: u8 = 0x03;
/// Operation code of variable length CDBs.
const VARIABLE_LENGTH: u8 = 0x7f;
/// Operation code SERVICE ACTION IN(16), and its service action GET LBA STATUS.
const SERVICE_ACTION_IN: u8 = 0x9e;
const GET_LBA_STATUS: u8 = 0x12;
/// Operation codes ATA PASS-THROUGH(12) and ATA PASS-THROUGH(16).
const ATA_12: u8 = 0xa1;
const ATA_16: u8 = 0x85;

/// Bits LINK and NACA of the control byte.
const LINK_OR_NACA: u8 = 0x01 | 0x04;

/// First logical block address that no logical unit has: a transfer of `u32::MAX` blocks of 4096
/// bytes that begins below it ends before 2^63 bytes, the largest size of a file or a disk; with
/// blocks of 512 bytes it is 1 EiB away.
const LBA_END: u64 = (1 << 51) - (1 << 32);

/// Length that no data buffer has.
const LENGTH_END: u32 = 1 << 31;

/// Largest logical block, in bytes, that is reckoned with where only the device knows the size.
const BLOCK_MOST: u64 = 1 << 16;

/// What is wrong with a CDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CdbFault {
    /// LINK or NACA is set.
    Control,
    /// The allocation, parameter list or transfer length is 2^31 or more.
    Length,
    /// REQUEST SENSE with room for a part of the sense data only.
    SenseRoom,
    /// The logical block address exceeds every capacity.
    Address,
    /// An ATA transfer length that is not in the CDB, or whose number of bytes is 2^31 or more.
    AtaLength,
}

impl CdbFault {
    /// Returns the sense data to report.
    pub(crate) fn sense(self) -> &'static [u8] {
        match self {
            Self::Address => &sense::LBA_OUT_OF_RANGE,
            Self::Control | Self::Length | Self::SenseRoom | Self::AtaLength => &sense::INVALID_CDB,
        }
    }
}

/// Returns what is wrong with a CDB of 16 bytes or more; [`None`] also if it is shorter.
#[inline]
pub(crate) fn fault(cdb: &[u8]) -> Option<CdbFault> {
    /// Below this one, no CDB has a field that is as long as the values demand.
    const LONG_FIELDS: u8 = 0x5e;
    let &[op, one, _, _, four, five, _, _, _, nine, _, eleven, _, _, _, fifteen] =
        cdb.first_chunk::<16>()?;
    let control = match op {
        0x00..=0x1f => five,
        0x20..=0x5f => nine,
        VARIABLE_LENGTH => one,
        0x80..=0x9f => fifteen,
        0xa0..=0xbf => eleven,
        // Of the reserved and vendor-specific ones these have a control byte in SCST's table.
        0xd1 | 0xd2 => eleven,
        0xe7 => nine,
        _ => 0,
    };
    if control & LINK_OR_NACA != 0 {
        return Some(CdbFault::Control);
    }
    if op == REQUEST_SENSE && four != 0 && usize::from(four) < sense::SIZE {
        return Some(CdbFault::SenseRoom);
    }
    if op < LONG_FIELDS {
        return None;
    }
    long_fields(op, one, cdb)
}

/// Returns whether SCST executes a SIMPLE command with this CDB as if it were HEAD OF QUEUE, on a
/// disk: TEST UNIT READY, INQUIRY, READ CAPACITY, REPORT LUNS.
pub(crate) fn is_executed_first(cdb: &[u8]) -> bool {
    /// READ CAPACITY(16), a service action.
    const READ_CAPACITY: u8 = 0x10;
    match *cdb {
        [0x00 | 0x12 | 0x25 | 0xa0, ..] => true,
        [SERVICE_ACTION_IN, action, ..] => action & 0x1f == READ_CAPACITY,
        _ => false,
    }
}

/// Returns whether this is MODE SELECT(6) or MODE SELECT(10).
pub(crate) fn is_mode_select(cdb: &[u8]) -> bool {
    matches!(*cdb, [0x15 | 0x55, ..])
}

/// Returns whether this is WRITE(6), WRITE(10), WRITE(12) or WRITE(16).
pub(crate) fn is_plain_write(cdb: &[u8]) -> bool {
    matches!(*cdb, [0x0a | 0x2a | 0xaa | 0x8a, ..])
}

/// Implements [`fault`] for CDBs with long fields.
fn long_fields(op: u8, one: u8, cdb: &[u8]) -> Option<CdbFault> {
    let length = match op {
        0x5e | 0x5f => be32(cdb, 5),
        0x81..=0x84 | 0x88 | 0x8a | 0x8c..=0x8e | SERVICE_ACTION_IN => be32(cdb, 10),
        0xa0 | 0xa2..=0xa4 | 0xa8 | 0xaa | 0xab | 0xae | 0xb5 | 0xba..=0xbf | 0xd1 | 0xd2 => {
            be32(cdb, 6)
        }
        _ => None,
    };
    if length.is_some_and(|length| length >= LENGTH_END) {
        return Some(CdbFault::Length);
    }
    let address = match op {
        0x88..=0x8a | 0x8e..=0x91 | 0x93 => be64(cdb, 2),
        SERVICE_ACTION_IN if one & 0x1f == GET_LBA_STATUS => be64(cdb, 2),
        VARIABLE_LENGTH => be64(cdb, 12),
        _ => None,
    };
    if address.is_some_and(|address| address >= LBA_END) {
        return Some(CdbFault::Address);
    }
    match op {
        ATA_12 | ATA_16 if !is_ata_length(cdb)? => Some(CdbFault::AtaLength),
        _ => None,
    }
}

/// Returns whether the number of bytes of an ATA PASS-THROUGH CDB is in it and less than 2^31.
/// [`None`] if the CDB is too short.
fn is_ata_length(cdb: &[u8]) -> Option<bool> {
    /// Protocol "return response information": all other fields are ignored.
    const RESPONSE: u8 = 0xf;
    let &[op, one, two, ..] = cdb.first_chunk::<16>()?;
    if (one >> 1) & 0xf == RESPONSE {
        return Some(true);
    }
    let extended = op == ATA_16 && one & 1 != 0;
    let count = match two & 3 {
        1 if extended => be16(cdb, 3)?,
        2 if extended => be16(cdb, 5)?,
        // The length is in the transport's own unit, which SRP does not have.
        3 => return Some(false),
        // None, or one byte, which is not too much of any unit.
        _ => return Some(true),
    };
    let unit = match (two & 0x04 != 0, two & 0x10 != 0) {
        (false, _) => 1,
        (true, false) => 512,
        (true, true) => BLOCK_MOST,
    };
    // At most 16 bits, 16 bits and 7 places: no overflow.
    Some((u64::from(count) * unit) << (one >> 5) < LENGTH_END.into())
}
