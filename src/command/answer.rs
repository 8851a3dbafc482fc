// SPDX-License-Identifier: GPL-2.0

//! Responses of the target itself: to requests that are malformed, that no engine supports, or that
//! the engine refuses.
//!
//! Not here: the engine's responses ([`super::respond`]).

use crate::srp::wire::{
    consts::RspCode,
    scsi::{
        sense,
        status, //
    }, //
};

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
            Self::InvalidFields(_) | Self::Sense(_) => status::CHECK_CONDITION,
            Self::Status(status) => *status,
            Self::Mgmt(_) => status::GOOD,
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
