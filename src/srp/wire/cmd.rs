// SPDX-License-Identifier: GPL-2.0
//! The SCSI command request, `SRP_CMD`.
//!
//! Parses the fixed part, the command descriptor block (CDB) with its additional bytes and, through
//! [`DataDesc`], the data descriptors.
//!
//! Source: `struct srp_cmd` in `include/scsi/srp.h`.
//!
//! Not here: the meaning of the CDB (the SCSI engine).

use super::{
    codec::{
        self,
        wire_enum,
        Malformed,
        View, //
    },
    consts::{
        limit,
        opcode,
        size,
        SolNot, //
    },
    desc::{
        DataDesc,
        DescError,
        DescParams,
        Dir, //
    },
    ident::Lun, //
};

wire_enum! {
    /// Task attribute.
    pub(crate) enum TaskAttr: u8 {
        /// Simple task.
        Simple = 0,
        /// Head of queue task.
        HeadOfQueue = 1,
        /// Ordered task.
        Ordered = 2,
        /// Auto contingent allegiance task.
        Aca = 4,
    }
}

impl TaskAttr {
    /// The bits of the attribute byte that hold the attribute.
    const MASK: u8 = 0x07;
}

/// Why a well-formed command is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// It has data in both directions, which no engine takes.
    Bidirectional,
    /// Its data is longer than [`limit::MAX_MAX_RDMA_SIZE`].
    TooLong,
}

/// A SCSI command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cmd<'a> {
    /// Tag to be echoed in the response.
    pub(crate) tag: u64,
    /// Which responses are to raise a solicited event.
    pub(crate) sol_not: SolNot,
    /// Addressed logical unit.
    pub(crate) lun: Lun,
    /// Task attribute.
    pub(crate) attr: TaskAttr,
    /// Command descriptor block: 16 bytes and the additional bytes, if any.
    pub(crate) cdb: &'a [u8],
    /// Location of the descriptors; [`DataDesc::parse`] returns `data` again.
    pub(crate) params: DescParams,
    /// The data of the command.
    pub(crate) data: DataDesc<'a>,
}

/// What is wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CmdErrorKind {
    /// The fixed part or the CDB is malformed.
    Malformed(Malformed),
    /// The data descriptors are not usable.
    Desc(DescError),
}

/// A command with invalid fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CmdError {
    /// Tag of the command; [`None`] if there are too few bytes for a tag.
    pub(crate) tag: Option<u64>,
    /// What is wrong.
    pub(crate) kind: CmdErrorKind,
}

impl<'a> Cmd<'a> {
    /// Parses a received command.
    ///
    /// `imm_offset` is the offset of immediate data granted at login. Bytes after the last
    /// descriptor are ignored.
    ///
    /// # Errors
    ///
    /// [`CmdError`] with the tag for the response.
    #[inline]
    pub(crate) fn parse(iu: &'a [u8], imm_offset: Option<u16>) -> Result<Self, CmdError> {
        Self::parse_fields(iu, imm_offset).map_err(|kind| CmdError {
            tag: codec::be64(iu, 8),
            kind,
        })
    }

    /// Implements [`Self::parse`].
    #[inline]
    fn parse_fields(iu: &'a [u8], imm_offset: Option<u16>) -> Result<Self, CmdErrorKind> {
        let head = View::<{ size::CMD }>::new(iu).map_err(CmdErrorKind::Malformed)?;
        head.expect_opcode::<0>(opcode::CMD)
            .map_err(CmdErrorKind::Malformed)?;

        let attr = head.u8::<29>() & TaskAttr::MASK;
        // Reserved ones count as ORDERED, as with the C drivers: that orders too much, not too
        // little.
        let attr = TaskAttr::from_code(attr).unwrap_or(TaskAttr::Ordered);

        // The length is in units of four bytes in the upper six bits: masking yields bytes. The
        // additional bytes directly follow the 16 bytes every command has.
        let additional = usize::from(head.u8::<31>() & !3);
        let offset = size::CMD.saturating_add(additional);
        let cdb = codec::bytes(iu, 32, additional.saturating_add(16)).ok_or(
            CmdErrorKind::Malformed(Malformed::Truncated {
                need: offset,
                have: iu.len(),
            }),
        )?;

        let params = DescParams {
            offset,
            formats: head.u8::<5>(),
            out_count: head.u8::<6>(),
            in_count: head.u8::<7>(),
            imm_offset,
        };
        Ok(Self {
            tag: head.be64::<8>(),
            sol_not: SolNot(head.u8::<1>()),
            lun: Lun(head.array::<20, 8>()),
            attr,
            cdb,
            params,
            data: DataDesc::parse(iu, &params).map_err(CmdErrorKind::Desc)?,
        })
    }

    /// Returns the direction of the data; [`None`] without data, and for data in both directions.
    #[inline]
    pub(crate) const fn dir(&self) -> Option<Dir> {
        match self.data {
            DataDesc::None | DataDesc::Bidi { .. } => None,
            DataDesc::Out(_) | DataDesc::Immediate(_) => Some(Dir::Out),
            DataDesc::In(_) => Some(Dir::In),
            DataDesc::External(external) => Some(external.dir),
        }
    }

    /// Returns why the command is not served, if so.
    #[inline]
    pub(crate) fn unserved(&self) -> Option<Unserved> {
        match self.data {
            DataDesc::Bidi { .. } => Some(Unserved::Bidirectional),
            _ if self.data_len() > limit::MAX_MAX_RDMA_SIZE => Some(Unserved::TooLong),
            _ => None,
        }
    }

    /// Returns the length of the data; for data in both directions, that of the data-out part.
    pub(crate) fn data_len(&self) -> u32 {
        match self.data {
            DataDesc::In(_) => self.data.in_len(),
            DataDesc::External(external) => external.data_len,
            _ => self.data.out_len(),
        }
    }
}
