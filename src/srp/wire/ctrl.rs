// SPDX-License-Identifier: GPL-2.0
//! Control information units: logout, credit and asynchronous event requests and responses.
//!
//! Source: `struct srp_i_logout`, `srp_t_logout`, `srp_cred_req`, `srp_cred_rsp`, `srp_aer_req` and
//! `srp_aer_rsp` in `include/scsi/srp.h`.
//!
//! Not here: when to send a credit request ([`Credits`](super::super::machine::credit::Credits)),
//! and the effect of a logout ([`Channel`](super::super::machine::channel::Channel)).

use super::{
    codec::{
        self,
        Image,
        Malformed,
        NoSpace,
        View, //
    },
    consts::{
        opcode,
        size,
        SOLNT, //
    },
    ident::Lun, //
};

/// Emits an information unit that consists of an opcode and a tag.
fn emit_tag_only(opcode: u8, tag: u64) -> [u8; size::HEADER] {
    Image::new().u8::<0>(opcode).be64::<8>(tag).into_bytes()
}

/// Parses an information unit that consists of an opcode and a tag.
fn parse_tag_only(opcode: u8, buf: &[u8]) -> Result<u64, Malformed> {
    let iu = View::<{ size::HEADER }>::new(buf)?;
    iu.expect_opcode::<0>(opcode)?;
    Ok(iu.be64::<8>())
}

/// Returns the solicited notification byte of an information unit sent by a target.
const fn sol_not_byte(sol_not: bool) -> u8 {
    if sol_not {
        SOLNT
    } else {
        0
    }
}

/// Initiator logout: the initiator is about to disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ILogout {
    /// Tag. There is no response.
    pub(crate) tag: u64,
}

impl ILogout {
    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::I_LOGOUT] {
        emit_tag_only(opcode::I_LOGOUT, self.tag)
    }

    /// Parses the wire form.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or have another opcode.
    pub(crate) fn parse(buf: &[u8]) -> Result<Self, Malformed> {
        let tag = parse_tag_only(opcode::I_LOGOUT, buf)?;
        Ok(Self { tag })
    }
}

/// Target logout: the target is about to disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TLogout {
    /// Tag. There is no response.
    pub(crate) tag: u64,
    /// The initiator requested a solicited event at login.
    pub(crate) sol_not: bool,
    /// Reason, a [`TLogoutReason`](super::consts::TLogoutReason) if sent by this target.
    pub(crate) reason: u32,
}

impl TLogout {
    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::T_LOGOUT] {
        Image::new()
            .u8::<0>(opcode::T_LOGOUT)
            .u8::<1>(sol_not_byte(self.sol_not))
            .be32::<4>(self.reason)
            .be64::<8>(self.tag)
            .into_bytes()
    }

    /// Parses the wire form.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or have another opcode.
    pub(crate) fn parse(buf: &[u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::T_LOGOUT }>::new(buf)?;
        iu.expect_opcode::<0>(opcode::T_LOGOUT)?;
        Ok(Self {
            tag: iu.be64::<8>(),
            sol_not: iu.u8::<1>() & SOLNT != 0,
            reason: iu.be32::<4>(),
        })
    }
}

/// Credit request: the target returns credits without a response to carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CredReq {
    /// Tag to be echoed in the response.
    pub(crate) tag: u64,
    /// The initiator requested a solicited event at login.
    pub(crate) sol_not: bool,
    /// Number of credits returned.
    pub(crate) req_lim_delta: i32,
}

impl CredReq {
    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::CRED_REQ] {
        Image::new()
            .u8::<0>(opcode::CRED_REQ)
            .u8::<1>(sol_not_byte(self.sol_not))
            .be_i32::<4>(self.req_lim_delta)
            .be64::<8>(self.tag)
            .into_bytes()
    }

    /// Parses the wire form.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or have another opcode.
    pub(crate) fn parse(buf: &[u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::CRED_REQ }>::new(buf)?;
        iu.expect_opcode::<0>(opcode::CRED_REQ)?;
        Ok(Self {
            tag: iu.be64::<8>(),
            sol_not: iu.u8::<1>() & SOLNT != 0,
            req_lim_delta: iu.be_i32::<4>(),
        })
    }
}

/// Credit response to a [`CredReq`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CredRsp {
    /// Tag of the request.
    pub(crate) tag: u64,
}

impl CredRsp {
    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::CRED_RSP] {
        emit_tag_only(opcode::CRED_RSP, self.tag)
    }

    /// Parses the wire form.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or have another opcode.
    pub(crate) fn parse(buf: &[u8]) -> Result<Self, Malformed> {
        let tag = parse_tag_only(opcode::CRED_RSP, buf)?;
        Ok(Self { tag })
    }
}

/// Asynchronous event request: reports an event of a logical unit, and returns credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AerReq<'a> {
    /// Tag to be echoed in the response.
    pub(crate) tag: u64,
    /// The initiator requested a solicited event at login.
    pub(crate) sol_not: bool,
    /// Number of credits returned.
    pub(crate) req_lim_delta: i32,
    /// Logical unit of the event.
    pub(crate) lun: Lun,
    /// Sense data that describes the event.
    pub(crate) sense: &'a [u8],
}

impl<'a> AerReq<'a> {
    /// Emits the request into `buf` and returns its length. Sense data that does not fit is cut
    /// off; bytes after the returned length are not touched.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] if `buf` has no room for the fixed part.
    pub(crate) fn emit(&self, buf: &mut [u8]) -> Result<usize, NoSpace> {
        let (head, tail) = buf
            .split_first_chunk_mut::<{ size::AER_REQ }>()
            .ok_or(NoSpace)?;
        let sense_len = self
            .sense
            .iter()
            .zip(tail)
            .map(|(src, dst)| *dst = *src)
            .count();
        *head = Image::new()
            .u8::<0>(opcode::AER_REQ)
            .u8::<1>(sol_not_byte(self.sol_not))
            .be_i32::<4>(self.req_lim_delta)
            .be64::<8>(self.tag)
            .array::<20, 8>(self.lun.0)
            .be32::<28>(u32::try_from(sense_len).map_err(|_| NoSpace)?)
            .into_bytes();
        size::AER_REQ.checked_add(sense_len).ok_or(NoSpace)
    }

    /// Parses the wire form.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or have another opcode.
    pub(crate) fn parse(buf: &'a [u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::AER_REQ }>::new(buf)?;
        iu.expect_opcode::<0>(opcode::AER_REQ)?;
        let sense_len = usize::try_from(iu.be32::<28>()).unwrap_or(usize::MAX);
        let sense = codec::bytes(buf, size::AER_REQ, sense_len).ok_or(Malformed::Truncated {
            need: size::AER_REQ.saturating_add(sense_len),
            have: buf.len(),
        })?;
        Ok(Self {
            tag: iu.be64::<8>(),
            sol_not: iu.u8::<1>() & SOLNT != 0,
            req_lim_delta: iu.be_i32::<4>(),
            lun: Lun(iu.array::<20, 8>()),
            sense,
        })
    }
}

/// Asynchronous event response to an [`AerReq`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AerRsp {
    /// Tag of the request.
    pub(crate) tag: u64,
}

impl AerRsp {
    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::AER_RSP] {
        emit_tag_only(opcode::AER_RSP, self.tag)
    }

    /// Parses the wire form.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or have another opcode.
    pub(crate) fn parse(buf: &[u8]) -> Result<Self, Malformed> {
        let tag = parse_tag_only(opcode::AER_RSP, buf)?;
        Ok(Self { tag })
    }
}
