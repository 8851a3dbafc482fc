// SPDX-License-Identifier: GPL-2.0
//! SCSI status codes, and sense data, of what the target itself reports.
//!
//! Source: SAM-5 5.3 (status codes), SPC-4 4.5 (sense data); `include/scsi/scsi_proto.h`.
//!
//! Not here: what an engine reports, which is passed on as it is.

/// Status codes.
pub(crate) mod status {
    /// GOOD.
    pub(crate) const GOOD: u8 = 0x00;
    /// CHECK CONDITION.
    pub(crate) const CHECK_CONDITION: u8 = 0x02;
    /// BUSY.
    pub(crate) const BUSY: u8 = 0x08;
}

/// Sense data in fixed format.
pub(crate) mod sense {
    /// Bytes of sense data in fixed format without additional bytes.
    pub(crate) const SIZE: usize = 18;

    /// Sense key NOT READY.
    const NOT_READY: u8 = 0x02;
    /// Sense key ILLEGAL REQUEST.
    const ILLEGAL_REQUEST: u8 = 0x05;
    /// Sense key UNIT ATTENTION.
    const UNIT_ATTENTION: u8 = 0x06;

    /// Returns sense data without additional bytes.
    pub(crate) const fn fixed(key: u8, asc: u8, ascq: u8) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0] = 0x70;
        bytes[2] = key;
        // Bytes after this one.
        bytes[7] = 10;
        bytes[12] = asc;
        bytes[13] = ascq;
        bytes
    }

    /// LOGICAL UNIT COMMUNICATION FAILURE.
    pub(crate) static COMMUNICATION_FAILURE: [u8; SIZE] = fixed(NOT_READY, 0x08, 0x00);
    /// INVALID FIELD IN CDB.
    pub(crate) static INVALID_CDB: [u8; SIZE] = fixed(ILLEGAL_REQUEST, 0x24, 0x00);
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub(crate) static LBA_OUT_OF_RANGE: [u8; SIZE] = fixed(ILLEGAL_REQUEST, 0x21, 0x00);
    /// INVALID MESSAGE ERROR.
    pub(crate) static INVALID_MESSAGE: [u8; SIZE] = fixed(ILLEGAL_REQUEST, 0x49, 0x00);
    /// INVALID FIELD IN COMMAND INFORMATION UNIT.
    pub(crate) static INVALID_IU: [u8; SIZE] = fixed(ILLEGAL_REQUEST, 0x0e, 0x03);
    /// REPORTED LUNS DATA HAS CHANGED.
    pub(crate) static LUNS_CHANGED: [u8; SIZE] = fixed(UNIT_ATTENTION, 0x3f, 0x0e);
}
