// SPDX-License-Identifier: GPL-2.0
//! The response, `SRP_RSP`, to a command or a task management request.
//!
//! A response carries the SCSI status with residual counts and sense data, or a response code, or
//! both, and returns credits. The caller provides the buffer; nothing is ever written beyond it,
//! and bytes after the returned length are not touched.
//!
//! Not here: the answer to a login ([`super::login`]), the number of credits
//! ([`super::super::machine::credit`]), status and sense data (the driver and the SCSI engine).
//!
//! Source: `struct srp_rsp` in `include/scsi/srp.h`. Response data precedes sense data.

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
        rsp_flag,
        size,
        SOLNT, //
    }, //
};

/// The difference between the data a command needed and the buffer it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Residual {
    /// No difference.
    #[default]
    None,
    /// The buffer was larger, by this many bytes.
    Under(u32),
    /// The buffer was smaller, by this many bytes.
    Over(u32),
}

impl Residual {
    /// Compares the length of the buffer with the length that was needed.
    pub(crate) const fn between(buffer: u32, needed: u32) -> Self {
        match (buffer.checked_sub(needed), needed.checked_sub(buffer)) {
            (Some(under), None) => Self::Under(under),
            (None, Some(over)) => Self::Over(over),
            _ => Self::None,
        }
    }

    /// Returns the flag to be set, `over` or `under`, and the count.
    const fn encode(self, over: u8, under: u8) -> (u8, u32) {
        match self {
            Self::None => (0, 0),
            Self::Over(count) => (over, count),
            Self::Under(count) => (under, count),
        }
    }

    /// Inverse of [`Self::encode`]. [`None`] if both flags are set.
    const fn decode(flags: u8, over: u8, under: u8, count: u32) -> Option<Self> {
        match (flags & over != 0, flags & under != 0) {
            (false, false) => Some(Self::None),
            (true, false) => Some(Self::Over(count)),
            (false, true) => Some(Self::Under(count)),
            (true, true) => None,
        }
    }
}

/// A response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rsp<'a> {
    /// Tag of the request.
    pub(crate) tag: u64,
    /// The request asked for a solicited event. The driver must also set SEND_SOLICITED in the work
    /// request.
    pub(crate) sol_not: bool,
    /// Number of credits returned.
    pub(crate) req_lim_delta: i32,
    /// SCSI status.
    pub(crate) status: u8,
    /// Residual of the data-out buffer.
    pub(crate) residual_out: Residual,
    /// Residual of the data-in buffer.
    pub(crate) residual_in: Residual,
    /// Sense data; empty if there is none.
    pub(crate) sense: &'a [u8],
    /// Response code, a [`RspCode`](super::consts::RspCode), if the response has one.
    pub(crate) rsp_code: Option<u8>,
}

impl<'a> Rsp<'a> {
    /// Emits the response into `buf` and returns its length.
    ///
    /// Sense data that does not fit is cut off; initiators handle that, as the additional sense
    /// length gives the full length.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] if `buf` has no room for the fixed part and the response data.
    #[inline]
    pub(crate) fn emit(&self, buf: &mut [u8]) -> Result<usize, NoSpace> {
        let (head, tail) = buf
            .split_first_chunk_mut::<{ size::RSP }>()
            .ok_or(NoSpace)?;

        let (data_len, tail) = match self.rsp_code {
            Some(code) => {
                let (data, tail) = tail
                    .split_first_chunk_mut::<{ size::RSP_DATA }>()
                    .ok_or(NoSpace)?;
                *data = [0, 0, 0, code];
                (size::RSP_DATA, tail)
            }
            None => (0, tail),
        };

        let sense_len = self
            .sense
            .iter()
            .zip(tail)
            .map(|(src, dst)| *dst = *src)
            .count();

        let (out_flag, out_count) = self
            .residual_out
            .encode(rsp_flag::DOOVER, rsp_flag::DOUNDER);
        let (in_flag, in_count) = self.residual_in.encode(rsp_flag::DIOVER, rsp_flag::DIUNDER);
        let data_flag = if data_len != 0 { rsp_flag::RSPVALID } else { 0 };
        let sense_flag = if sense_len != 0 {
            rsp_flag::SNSVALID
        } else {
            0
        };

        *head = Image::new()
            .u8::<0>(opcode::RSP)
            .u8::<1>(if self.sol_not { SOLNT } else { 0 })
            .be_i32::<4>(self.req_lim_delta)
            .be64::<8>(self.tag)
            .u8::<18>(out_flag | in_flag | data_flag | sense_flag)
            .u8::<19>(self.status)
            .be32::<20>(out_count)
            .be32::<24>(in_count)
            .be32::<28>(u32::try_from(sense_len).map_err(|_| NoSpace)?)
            .be32::<32>(u32::try_from(data_len).map_err(|_| NoSpace)?)
            .into_bytes();

        size::RSP
            .checked_add(data_len)
            .and_then(|len| len.checked_add(sense_len))
            .ok_or(NoSpace)
    }

    /// Parses a response.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few for the lengths in the response, are not a response,
    /// or if flags contradict each other.
    pub(crate) fn parse(buf: &'a [u8]) -> Result<Self, Malformed> {
        let head = View::<{ size::RSP }>::new(buf)?;
        head.expect_opcode::<0>(opcode::RSP)?;
        let flags = head.u8::<18>();

        // A length is meaningful only if its flag is set.
        let length = |flag: u8, field: u32| {
            let field = if flags & flag != 0 { field } else { 0 };
            usize::try_from(field).unwrap_or(usize::MAX)
        };
        let data_len = length(rsp_flag::RSPVALID, head.be32::<32>());
        let sense_len = length(rsp_flag::SNSVALID, head.be32::<28>());

        let truncated = Malformed::Truncated {
            need: size::RSP.saturating_add(data_len).saturating_add(sense_len),
            have: buf.len(),
        };
        let data = codec::bytes(buf, size::RSP, data_len).ok_or(truncated)?;
        let sense = size::RSP
            .checked_add(data_len)
            .and_then(|off| codec::bytes(buf, off, sense_len))
            .ok_or(truncated)?;
        let rsp_code = match data {
            [_, _, _, code, ..] => Some(*code),
            _ if flags & rsp_flag::RSPVALID != 0 => return Err(Malformed::Field("resp_data_len")),
            _ => None,
        };

        Ok(Self {
            tag: head.be64::<8>(),
            sol_not: head.u8::<1>() & SOLNT != 0,
            req_lim_delta: head.be_i32::<4>(),
            status: head.u8::<19>(),
            residual_out: Residual::decode(
                flags,
                rsp_flag::DOOVER,
                rsp_flag::DOUNDER,
                head.be32::<20>(),
            )
            .ok_or(Malformed::Field("data_out_res_cnt"))?,
            residual_in: Residual::decode(
                flags,
                rsp_flag::DIOVER,
                rsp_flag::DIUNDER,
                head.be32::<24>(),
            )
            .ok_or(Malformed::Field("data_in_res_cnt"))?,
            sense,
            rsp_code,
        })
    }
}
