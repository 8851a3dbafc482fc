// SPDX-License-Identifier: GPL-2.0

//! Responses of the target itself: to requests that are malformed, that no engine supports, or that
//! the engine refuses.
//!
//! Not here: the engine's responses ([`super::respond`]).

use crate::srp::wire::consts::RspCode;

/// SCSI status codes (`include/scsi/scsi_proto.h`).
pub(crate) mod sam {
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
    /// Sense key ILLEGAL REQUEST.
    const ILLEGAL_REQUEST: u8 = 0x05;

    const fn fixed(key: u8, asc: u8, ascq: u8) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0] = 0x70;
        bytes[2] = key;
        // Bytes after this one.
        bytes[7] = 10;
        bytes[12] = asc;
        bytes[13] = ascq;
        bytes
    }

    /// INVALID FIELD IN CDB.
    pub(crate) static INVALID_CDB: [u8; SIZE] = fixed(ILLEGAL_REQUEST, 0x24, 0x00);
    /// INVALID FIELD IN COMMAND INFORMATION UNIT.
    pub(crate) static INVALID_IU: [u8; SIZE] = fixed(ILLEGAL_REQUEST, 0x0e, 0x03);
}

/// A response of the target itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LocalAnswer {
    /// For a command with invalid fields: this response code, and sense data for initiators that
    /// ignore the response code of a command, such as Linux.
    InvalidFields(RspCode),
    /// CHECK CONDITION with this sense data.
    Sense(&'static [u8]),
    /// This status, without sense data.
    Status(u8),
    /// For a task management request.
    Mgmt(RspCode),
}

impl LocalAnswer {
    /// For a command whose fields are well-formed, but ask for what is not possible.
    pub(crate) const INVALID_FIELDS: Self = Self::InvalidFields(RspCode::FieldsInvalid);

    /// Returns the SCSI status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::InvalidFields(_) | Self::Sense(_) => sam::CHECK_CONDITION,
            Self::Status(status) => *status,
            Self::Mgmt(_) => sam::GOOD,
        }
    }

    /// Returns the sense data, which may be empty.
    pub(crate) fn sense(&self) -> &'static [u8] {
        match self {
            Self::InvalidFields(_) => &sense::INVALID_IU,
            Self::Sense(bytes) => bytes,
            Self::Status(_) | Self::Mgmt(_) => &[],
        }
    }

    /// Returns the response code.
    pub(crate) fn rsp_code(&self) -> Option<u8> {
        match self {
            Self::InvalidFields(code) | Self::Mgmt(code) => Some(code.code()),
            Self::Sense(_) | Self::Status(_) => None,
        }
    }
}
