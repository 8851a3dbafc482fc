// SPDX-License-Identifier: GPL-2.0
//! Dispatch of the information units (IUs) that an initiator sends on an established channel.
//!
//! [`Iu::parse`] turns the bytes of a receive completion into a typed request or response;
//! [`IuError::answer`] returns the answer to the peer if that fails.
//!
//! Not here: login requests, which are private data of the connection manager (see
//! [`super::login`]), and whether a response matches a request of the target, which depends on the
//! state of the channel.
//!
//! Source: opcodes of `include/scsi/srp.h`.

use super::{
    cmd::{
        Cmd,
        CmdErrorKind, //
    },
    codec::{
        Malformed,
        View, //
    },
    consts::{
        opcode,
        RspCode,
        SolNot, //
    },
    ctrl::{
        AerRsp,
        CredRsp,
        ILogout, //
    },
    tmf::TskMgmt, //
};

/// A received information unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Iu<'a> {
    /// SCSI command.
    Cmd(Cmd<'a>),
    /// Task management request.
    TskMgmt(TskMgmt),
    /// Initiator logout.
    ILogout(ILogout),
    /// Credit response.
    CredRsp(CredRsp),
    /// Asynchronous event response.
    AerRsp(AerRsp),
}

/// What is wrong with an invalid request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidKind {
    /// A SCSI command.
    Cmd(CmdErrorKind),
    /// A task management request.
    TskMgmt(Malformed),
}

/// A received information unit that cannot be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IuError {
    /// There are too few bytes for a tag.
    TooShort {
        /// Number of bytes received.
        have: usize,
    },
    /// A request with invalid fields. It gets a response, which returns its credit.
    Invalid {
        /// Tag of the request.
        tag: u64,
        /// Opcode of the request.
        opcode: u8,
        /// Which responses are to raise a solicited event.
        sol_not: SolNot,
        /// What is wrong.
        kind: InvalidKind,
    },
    /// A defined opcode that no initiator may send on an established channel.
    UnsolicitedOpcode {
        /// Tag found.
        tag: u64,
        /// Opcode found.
        opcode: u8,
    },
    /// An undefined opcode.
    UnknownOpcode {
        /// Tag found.
        tag: u64,
        /// Opcode found.
        opcode: u8,
    },
}

/// Answer to an [`IuError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Send a response with this response code.
    Respond {
        /// Tag of the request.
        tag: u64,
        /// Which responses are to raise a solicited event.
        sol_not: SolNot,
        /// Response code.
        rsp_code: RspCode,
    },
    /// Close the channel: the peer violates the protocol.
    Disconnect,
}

impl<'a> Iu<'a> {
    /// Parses the bytes of a receive completion.
    ///
    /// `imm_offset` is the offset of immediate data granted at login.
    ///
    /// # Errors
    ///
    /// [`IuError`]; [`IuError::answer`] returns the answer to it.
    #[inline]
    pub(crate) fn parse(bytes: &'a [u8], imm_offset: Option<u16>) -> Result<Self, IuError> {
        let too_short = IuError::TooShort { have: bytes.len() };
        let head = View::<16>::new(bytes).map_err(|_| too_short)?;
        let (opcode, tag) = (head.u8::<0>(), head.be64::<8>());
        let sol_not = SolNot(head.u8::<1>());
        let invalid = |kind| IuError::Invalid {
            tag,
            opcode,
            sol_not,
            kind,
        };

        match opcode {
            opcode::CMD => Cmd::parse(bytes, imm_offset)
                .map(Self::Cmd)
                .map_err(|e| invalid(InvalidKind::Cmd(e.kind))),
            opcode::TSK_MGMT => TskMgmt::parse(bytes)
                .map(Self::TskMgmt)
                .map_err(|e| invalid(InvalidKind::TskMgmt(e.kind))),
            opcode::I_LOGOUT => Ok(Self::ILogout(ILogout { tag })),
            opcode::CRED_RSP => Ok(Self::CredRsp(CredRsp { tag })),
            opcode::AER_RSP => Ok(Self::AerRsp(AerRsp { tag })),
            opcode::LOGIN_REQ
            | opcode::LOGIN_RSP
            | opcode::LOGIN_REJ
            | opcode::RSP
            | opcode::T_LOGOUT
            | opcode::CRED_REQ
            | opcode::AER_REQ => Err(IuError::UnsolicitedOpcode { tag, opcode }),
            _ => Err(IuError::UnknownOpcode { tag, opcode }),
        }
    }

    /// Returns the tag.
    pub(crate) const fn tag(&self) -> u64 {
        match self {
            Self::Cmd(cmd) => cmd.tag,
            Self::TskMgmt(tm) => tm.tag,
            Self::ILogout(logout) => logout.tag,
            Self::CredRsp(rsp) => rsp.tag,
            Self::AerRsp(rsp) => rsp.tag,
        }
    }

    /// Returns whether the initiator spent a credit on this information unit: on requests it does,
    /// on responses it does not.
    pub(crate) const fn consumes_credit(&self) -> bool {
        match self {
            Self::Cmd(_) | Self::TskMgmt(_) | Self::ILogout(_) => true,
            Self::CredRsp(_) | Self::AerRsp(_) => false,
        }
    }
}

impl IuError {
    /// Returns whether the initiator spent a credit on the information unit.
    ///
    /// Only a request that gets a response returns its credit; the other errors close the channel.
    pub(crate) const fn consumes_credit(&self) -> bool {
        matches!(self, Self::Invalid { .. })
    }

    /// Returns the answer to the error.
    pub(crate) const fn answer(&self) -> Answer {
        match *self {
            Self::Invalid { tag, sol_not, .. } => Answer::Respond {
                tag,
                sol_not,
                rsp_code: RspCode::FieldsInvalid,
            },
            Self::TooShort { .. } | Self::UnknownOpcode { .. } | Self::UnsolicitedOpcode { .. } => {
                Answer::Disconnect
            }
        }
    }
}
