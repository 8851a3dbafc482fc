// SPDX-License-Identifier: GPL-2.0
//! The task management request, `SRP_TSK_MGMT`, and the outcome of a function.
//!
//! Source: `struct srp_tsk_mgmt` in `include/scsi/srp.h`.
//!
//! Not here: the response, an ordinary one with response data ([`super::rsp`]), and the execution
//! of the function (the SCSI engine).

use super::{
    codec::{
        self,
        Image,
        Malformed,
        View, //
    },
    consts::{
        opcode,
        size,
        RspCode,
        SolNot, //
    },
    ident::Lun, //
};

/// A task management function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TmFunction {
    /// Abort the task with the given tag.
    AbortTask,
    /// Abort all tasks of this I_T nexus on the logical unit.
    AbortTaskSet,
    /// Abort all tasks in the task set of the logical unit.
    ClearTaskSet,
    /// Reset the logical unit.
    LunReset,
    /// Clear the auto contingent allegiance condition.
    ClearAca,
    /// A code that the protocol does not define.
    Unknown(u8),
}

impl TmFunction {
    /// Returns the function for a wire value.
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            0x01 => Self::AbortTask,
            0x02 => Self::AbortTaskSet,
            0x04 => Self::ClearTaskSet,
            0x08 => Self::LunReset,
            0x40 => Self::ClearAca,
            other => Self::Unknown(other),
        }
    }

    /// Returns the wire value.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::AbortTask => 0x01,
            Self::AbortTaskSet => 0x02,
            Self::ClearTaskSet => 0x04,
            Self::LunReset => 0x08,
            Self::ClearAca => 0x40,
            Self::Unknown(other) => other,
        }
    }
}

/// The outcome of a task management function; the value of the response code.
pub(crate) type TmfResponse = RspCode;

/// A task management request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TskMgmt {
    /// Tag to be echoed in the response.
    pub(crate) tag: u64,
    /// Which responses are to raise a solicited event.
    pub(crate) sol_not: SolNot,
    /// Addressed logical unit.
    pub(crate) lun: Lun,
    /// Function to be performed.
    pub(crate) function: TmFunction,
    /// Tag of the task to be managed; meaningful for [`TmFunction::AbortTask`].
    pub(crate) task_tag: u64,
}

/// A malformed task management request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TmfError {
    /// Tag of the request; [`None`] if there are too few bytes for a tag.
    pub(crate) tag: Option<u64>,
    /// What is wrong.
    pub(crate) kind: Malformed,
}

impl TskMgmt {
    /// Parses a received request. Unknown functions are not an error here, because the response to
    /// them is [`RspCode::NotSupported`].
    ///
    /// # Errors
    ///
    /// [`TmfError`] with the tag for the response.
    pub(crate) fn parse(iu: &[u8]) -> Result<Self, TmfError> {
        Self::parse_fields(iu).map_err(|kind| TmfError {
            tag: codec::be64(iu, 8),
            kind,
        })
    }

    /// Implements [`Self::parse`].
    fn parse_fields(iu: &[u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::TSK_MGMT }>::new(iu)?;
        iu.expect_opcode::<0>(opcode::TSK_MGMT)?;
        Ok(Self {
            tag: iu.be64::<8>(),
            sol_not: SolNot(iu.u8::<1>()),
            lun: Lun(iu.array::<20, 8>()),
            function: TmFunction::from_code(iu.u8::<30>()),
            task_tag: iu.be64::<32>(),
        })
    }

    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::TSK_MGMT] {
        Image::new()
            .u8::<0>(opcode::TSK_MGMT)
            .u8::<1>(self.sol_not.0)
            .be64::<8>(self.tag)
            .array::<20, 8>(self.lun.0)
            .u8::<30>(self.function.code())
            .be64::<32>(self.task_tag)
            .into_bytes()
    }
}
