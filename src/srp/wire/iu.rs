// SPDX-License-Identifier: GPL-2.0
//! Dispatch of the information units (IUs) an initiator sends on an established channel.
//!
//! [`Iu::parse`] turns the bytes of a receive completion into a typed request or response;
//! [`IuError::answer`] says what the peer is told if that fails. Login requests are not handled
//! here, because they travel through the connection manager (see [`super::login`]), and neither
//! is whether a response was asked for, because that is state of the channel.
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
        SolNot,
        TLogoutReason, //
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
    /// Answer to a credit request.
    CredRsp(CredRsp),
    /// Answer to an asynchronous event request.
    AerRsp(AerRsp),
}

/// What is wrong with a request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidKind {
    /// A SCSI command.
    Cmd(CmdErrorKind),
    /// A task management request.
    TskMgmt(Malformed),
}

/// A received information unit that cannot be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IuError {
    /// There are not even enough bytes for a tag.
    TooShort {
        /// Number of bytes received.
        have: usize,
    },
    /// A request with invalid fields. It is answered, and its credit returns with the answer.
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

/// What is done about an [`IuError`].
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
    /// Close the channel: the peer does not speak the protocol.
    Disconnect {
        /// Reason for a target logout.
        reason: TLogoutReason,
    },
}

impl<'a> Iu<'a> {
    /// Parses the bytes of a receive completion.
    ///
    /// `imm_offset` is the offset of immediate data granted at login.
    ///
    /// # Errors
    ///
    /// [`IuError`], which knows what to do about it.
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

    /// Says whether the initiator spent a credit on this information unit: requests do, responses
    /// do not.
    pub(crate) const fn consumes_credit(&self) -> bool {
        match self {
            Self::Cmd(_) | Self::TskMgmt(_) | Self::ILogout(_) => true,
            Self::CredRsp(_) | Self::AerRsp(_) => false,
        }
    }
}

impl IuError {
    /// Says whether the initiator spent a credit on the information unit.
    ///
    /// Only an answered request has one to give back; the other errors end the channel.
    pub(crate) const fn consumes_credit(&self) -> bool {
        matches!(self, Self::Invalid { .. })
    }

    /// Says what to do about the error.
    pub(crate) const fn answer(&self) -> Answer {
        match *self {
            Self::Invalid { tag, sol_not, .. } => Answer::Respond {
                tag,
                sol_not,
                rsp_code: RspCode::FieldsInvalid,
            },
            Self::TooShort { .. } | Self::UnknownOpcode { .. } | Self::UnsolicitedOpcode { .. } => {
                Answer::Disconnect {
                    reason: TLogoutReason::InvalidIuType,
                }
            }
        }
    }
}
