// SPDX-License-Identifier: GPL-2.0
//! Data buffer descriptors of a command: direct, indirect and immediate.
//!
//! A descriptor locates the data of a command, in the memory of the initiator or in the information
//! unit itself. This file turns the descriptor bytes of a command into checked views of the receive
//! buffer: after [`DataDesc::parse`] every length is covered by descriptors, and every descriptor
//! is inside the buffer.
//!
//! Source: `struct srp_direct_buf`, `srp_indirect_buf` and `srp_imm_buf` in `include/scsi/srp.h`.
//!
//! Not here: fetching external tables and moving data (the driver).

use super::{
    codec,
    consts::{
        desc_fmt,
        limit,
        size, //
    }, //
};

/// Direction of a data transfer as seen by the initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dir {
    /// From the initiator to the target (SCSI write).
    Out,
    /// From the target to the initiator (SCSI read).
    In,
}

/// A memory descriptor: a range of the memory of the initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectDesc {
    /// Virtual address.
    pub(crate) va: u64,
    /// Memory handle (remote key).
    pub(crate) key: u32,
    /// Length in bytes.
    pub(crate) len: u32,
}

impl DirectDesc {
    /// Reads a descriptor at `off`.
    pub(crate) fn parse(buf: &[u8], off: usize) -> Option<Self> {
        let bytes: [u8; size::DIRECT_BUF] = codec::array(buf, off)?;
        Some(Self {
            va: codec::be64(&bytes, 0)?,
            key: codec::be32(&bytes, 8)?,
            len: codec::be32(&bytes, 12)?,
        })
    }

    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::DIRECT_BUF] {
        codec::Image::new()
            .be64::<0>(self.va)
            .be32::<8>(self.key)
            .be32::<12>(self.len)
            .into_bytes()
    }

    /// Returns whether the range ends beyond the address space.
    fn wraps(&self) -> bool {
        // The last byte must have an address; the one after it need not.
        let last = u64::from(self.len.saturating_sub(1));
        self.va.checked_add(last).is_none()
    }
}

/// What is wrong with descriptor bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescFault {
    /// The descriptors end beyond the information unit.
    Truncated,
    /// The format code is not defined for this direction.
    Format {
        /// Direction of the descriptor.
        dir: Dir,
        /// Format code.
        format: u8,
    },
    /// The length of the descriptor table is not a multiple of the descriptor size.
    TableLength(u32),
    /// The descriptors describe less memory than the total length.
    LengthMismatch {
        /// Total length.
        data_len: u32,
        /// Sum of the descriptor lengths.
        described: u64,
    },
    /// A descriptor ends beyond the address space.
    AddressWrap,
    /// Immediate data starts before the end of its descriptor.
    ImmediateOverlap,
    /// Immediate data ends beyond the information unit.
    ImmediateTruncated,
}

/// Which rule well-formed descriptors violate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescViolation {
    /// Immediate data was not negotiated at login.
    ImmediateNotNegotiated,
    /// Immediate data cannot be combined with a data-in buffer.
    ImmediateBidi,
    /// A descriptor table outside the information unit cannot be combined with data in the other
    /// direction.
    ExternalBidi,
}

/// Why the descriptors of a command are not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescError {
    /// The bytes are malformed.
    Malformed(DescFault),
    /// The bytes are well-formed but not allowed.
    Violation(DescViolation),
}

impl From<DescFault> for DescError {
    fn from(fault: DescFault) -> Self {
        Self::Malformed(fault)
    }
}

/// A checked list of memory descriptors.
///
/// # Invariants
///
/// The size of `bytes` is a multiple of the descriptor size, no descriptor wraps, and the sum of
/// the descriptor lengths is at least `data_len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescList<'a> {
    bytes: &'a [u8],
    data_len: u32,
}

impl<'a> DescList<'a> {
    /// Checks a table of descriptors for `data_len` bytes of data.
    ///
    /// # Errors
    ///
    /// Any of [`DescFault::TableLength`], [`DescFault::AddressWrap`] and
    /// [`DescFault::LengthMismatch`].
    pub(crate) fn new(bytes: &'a [u8], data_len: u32) -> Result<Self, DescFault> {
        let list = Self { bytes, data_len };
        if !bytes.chunks_exact(size::DIRECT_BUF).remainder().is_empty() {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            return Err(DescFault::TableLength(len));
        }
        if list.iter().any(|desc| desc.wraps()) {
            return Err(DescFault::AddressWrap);
        }
        match list.total_len() {
            Some(described) if described < u64::from(data_len) => Err(DescFault::LengthMismatch {
                data_len,
                described,
            }),
            Some(_) => Ok(list),
            None => Err(DescFault::AddressWrap),
        }
    }

    /// Returns the descriptors as received. They may describe more memory than the data needs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = DirectDesc> + Clone + 'a {
        self.bytes
            .chunks_exact(size::DIRECT_BUF)
            .filter_map(|bytes| DirectDesc::parse(bytes, 0))
    }

    /// Returns the ranges to be transferred: exactly [`Self::data_len`] bytes, no empty range.
    pub(crate) fn segments(&self) -> impl Iterator<Item = DirectDesc> + Clone + 'a {
        self.iter()
            .scan(self.data_len, |left, desc| {
                let len = desc.len.min(*left);
                *left = left.saturating_sub(len);
                Some(DirectDesc { len, ..desc })
            })
            .filter(|desc| desc.len != 0)
    }

    /// Returns the number of descriptors.
    pub(crate) fn count(&self) -> usize {
        self.bytes.chunks_exact(size::DIRECT_BUF).len()
    }

    /// Returns the sum of the descriptor lengths, [`None`] if it overflows.
    pub(crate) fn total_len(&self) -> Option<u64> {
        self.iter()
            .try_fold(0u64, |sum, desc| sum.checked_add(u64::from(desc.len)))
    }

    /// Returns the length of the data.
    pub(crate) const fn data_len(&self) -> u32 {
        self.data_len
    }
}

/// A descriptor table in the memory of the initiator, which has to be fetched before the data of
/// the command can be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExternalTable {
    /// Direction of the data.
    pub(crate) dir: Dir,
    /// Location of the complete table; its length is neither zero nor above the limit.
    pub(crate) table: DirectDesc,
    /// Length of the data.
    pub(crate) data_len: u32,
}

impl ExternalTable {
    /// Makes the checks that do not require the table. Without data there is nothing to fetch.
    ///
    /// # Errors
    ///
    /// [`DescFault::TableLength`] if the table is above [`limit::MAX_TABLE_LEN`],
    /// [`DescFault::AddressWrap`].
    fn data<'a>(self) -> Result<DataDesc<'a>, DescFault> {
        if self.table.len > limit::MAX_TABLE_LEN {
            return Err(DescFault::TableLength(self.table.len));
        }
        if self.table.wraps() {
            return Err(DescFault::AddressWrap);
        }
        match self.data_len {
            0 => self.resolve(&[]),
            _ => Ok(DataDesc::External(self)),
        }
    }

    /// Checks the bytes of the fetched table, and returns the data of the command.
    ///
    /// # Errors
    ///
    /// Those of [`DescList::new`].
    pub(crate) fn resolve<'a>(&self, bytes: &'a [u8]) -> Result<DataDesc<'a>, DescFault> {
        let list = DescList::new(bytes, self.data_len)?;
        Ok(match self.dir {
            Dir::Out => DataDesc::Out(list),
            Dir::In => DataDesc::In(list),
        })
    }
}

/// The data of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataDesc<'a> {
    /// No data.
    None,
    /// Data to be read from the memory of the initiator.
    Out(DescList<'a>),
    /// Data to be written to the memory of the initiator.
    In(DescList<'a>),
    /// Data from the initiator that is part of the information unit.
    Immediate(&'a [u8]),
    /// Data whose descriptors have to be fetched first.
    External(ExternalTable),
    /// Data in both directions.
    Bidi {
        /// Data to be read from the memory of the initiator.
        out: DescList<'a>,
        /// Data to be written to the memory of the initiator.
        r#in: DescList<'a>,
    },
}

/// Location of the descriptors of a command, and the fields elsewhere that describe them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescParams {
    /// Offset of the first descriptor.
    pub(crate) offset: usize,
    /// Format codes: data-out in the upper, data-in in the lower nibble.
    pub(crate) formats: u8,
    /// Number of inline data-out descriptors.
    pub(crate) out_count: u8,
    /// Number of inline data-in descriptors.
    pub(crate) in_count: u8,
    /// Offset of immediate data if negotiated.
    pub(crate) imm_offset: Option<u16>,
}

impl<'a> DataDesc<'a> {
    /// Parses the descriptors of the command `iu`. Data-in descriptors follow data-out descriptors.
    ///
    /// # Errors
    ///
    /// [`DescError`]; data-out is checked first.
    #[inline]
    pub(crate) fn parse(iu: &'a [u8], params: &DescParams) -> Result<Self, DescError> {
        let out_format = params.formats >> 4;
        let in_format = params.formats & 0x0f;

        if out_format == desc_fmt::IMMEDIATE {
            let data = parse_immediate(iu, params)?;
            return match in_format {
                desc_fmt::NONE => Ok(Self::Immediate(data)),
                desc_fmt::DIRECT | desc_fmt::INDIRECT => {
                    Err(DescError::Violation(DescViolation::ImmediateBidi))
                }
                format => Err(DescFault::Format {
                    dir: Dir::In,
                    format,
                }
                .into()),
            };
        }

        let out = parse_list(iu, params.offset, out_format, params.out_count, Dir::Out)?;
        let next = match out {
            List::None => params.offset,
            List::Inline { next, .. } | List::External { next, .. } => next,
        };
        let r#in = parse_list(iu, next, in_format, params.in_count, Dir::In)?;
        match (out, r#in) {
            (List::None, List::None) => Ok(Self::None),
            (List::Inline { list, .. }, List::None) => Ok(Self::Out(list)),
            (List::None, List::Inline { list, .. }) => Ok(Self::In(list)),
            (List::Inline { list: out, .. }, List::Inline { list: r#in, .. }) => {
                Ok(Self::Bidi { out, r#in })
            }
            (List::External { table, .. }, List::None)
            | (List::None, List::External { table, .. }) => Ok(table.data()?),
            (List::External { .. }, List::Inline { .. } | List::External { .. })
            | (List::Inline { .. }, List::External { .. }) => {
                Err(DescError::Violation(DescViolation::ExternalBidi))
            }
        }
    }

    /// Returns the direction of the data and the range that is to be transferred, if the data is in
    /// one direction and has one descriptor, as that of most commands.
    #[inline]
    pub(crate) fn single(&self) -> Option<(Dir, DirectDesc)> {
        let (dir, list) = match self {
            Self::Out(list) => (Dir::Out, list),
            Self::In(list) => (Dir::In, list),
            _ => return None,
        };
        if list.bytes.len() != size::DIRECT_BUF {
            return None;
        }
        let desc = DirectDesc::parse(list.bytes, 0)?;
        // By the type invariant the descriptor is as long as the data, or longer.
        Some((
            dir,
            DirectDesc {
                len: list.data_len(),
                ..desc
            },
        ))
    }

    /// Returns the number of bytes that the initiator sends.
    pub(crate) fn out_len(&self) -> u32 {
        match self {
            Self::None | Self::In(_) => 0,
            Self::External(external) => match external.dir {
                Dir::Out => external.data_len,
                Dir::In => 0,
            },
            Self::Out(out) | Self::Bidi { out, .. } => out.data_len(),
            // Its length comes from a 32-bit field.
            Self::Immediate(data) => u32::try_from(data.len()).unwrap_or(u32::MAX),
        }
    }

    /// Returns the number of bytes that the initiator has room for.
    pub(crate) const fn in_len(&self) -> u32 {
        match self {
            Self::None | Self::Out(_) | Self::Immediate(_) => 0,
            Self::External(external) => match external.dir {
                Dir::Out => 0,
                Dir::In => external.data_len,
            },
            Self::In(r#in) | Self::Bidi { r#in, .. } => r#in.data_len(),
        }
    }
}

/// The descriptors of one direction, and the offset after them.
enum List<'a> {
    /// No data.
    None,
    /// A list that is part of the information unit.
    Inline { list: DescList<'a>, next: usize },
    /// A list that is not, or not completely, part of the information unit.
    External { table: ExternalTable, next: usize },
}

/// Parses the descriptor of one direction at `off`.
fn parse_list(
    iu: &[u8],
    off: usize,
    format: u8,
    count: u8,
    dir: Dir,
) -> Result<List<'_>, DescError> {
    match format {
        desc_fmt::NONE => Ok(List::None),
        desc_fmt::DIRECT => {
            let bytes = codec::bytes(iu, off, size::DIRECT_BUF).ok_or(DescFault::Truncated)?;
            let desc = DirectDesc::parse(bytes, 0).ok_or(DescFault::Truncated)?;
            let next = off.saturating_add(size::DIRECT_BUF);
            let list = DescList::new(bytes, desc.len)?;
            Ok(List::Inline { list, next })
        }
        desc_fmt::INDIRECT => parse_indirect(iu, off, count, dir),
        format => Err(DescFault::Format { dir, format }.into()),
    }
}

/// Parses an indirect descriptor at `off`.
fn parse_indirect(iu: &[u8], off: usize, count: u8, dir: Dir) -> Result<List<'_>, DescError> {
    let header = codec::bytes(iu, off, size::INDIRECT_BUF).ok_or(DescFault::Truncated)?;
    let table = DirectDesc::parse(header, 0).ok_or(DescFault::Truncated)?;
    let data_len = codec::be32(header, size::DIRECT_BUF).ok_or(DescFault::Truncated)?;

    let table_len = usize::try_from(table.len).unwrap_or(usize::MAX);
    if table_len % size::DIRECT_BUF != 0 {
        return Err(DescFault::TableLength(table.len).into());
    }
    // At most 255 * 16, which cannot saturate.
    let inline_len = usize::from(count).saturating_mul(size::DIRECT_BUF);
    let list = off
        .checked_add(size::INDIRECT_BUF)
        .ok_or(DescFault::Truncated)?;
    // The count field determines what follows even if the table uses fewer entries.
    let next = list.checked_add(inline_len).ok_or(DescFault::Truncated)?;
    if table_len > inline_len {
        let table = ExternalTable {
            dir,
            table,
            data_len,
        };
        return Ok(List::External { table, next });
    }
    let bytes = codec::bytes(iu, list, table_len).ok_or(DescFault::Truncated)?;
    let list = DescList::new(bytes, data_len)?;
    Ok(List::Inline { list, next })
}

/// Parses an immediate data descriptor and returns the data.
fn parse_immediate<'a>(iu: &'a [u8], params: &DescParams) -> Result<&'a [u8], DescError> {
    let imm_offset = params
        .imm_offset
        .ok_or(DescError::Violation(DescViolation::ImmediateNotNegotiated))?;
    let start = usize::from(imm_offset);
    let len = codec::be32(iu, params.offset).ok_or(DescFault::Truncated)?;
    let len = usize::try_from(len).map_err(|_| DescFault::ImmediateTruncated)?;

    // `be32()` succeeded, so this does not saturate.
    if params.offset.saturating_add(size::IMM_BUF) > start {
        return Err(DescFault::ImmediateOverlap.into());
    }
    codec::bytes(iu, start, len).ok_or(DescFault::ImmediateTruncated.into())
}
