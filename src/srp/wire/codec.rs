// SPDX-License-Identifier: GPL-2.0
//! Checked access to big-endian bytes, and the errors shared by all codecs.
//!
//! There are two styles. [`be16`], [`be32`], [`be64`], [`array()`] and [`put`] take an offset that
//! is known at run time only, and return an error if the access does not fit. [`View`] and
//! [`Image`] take a constant offset and do not compile if the access does not fit, so that fixed
//! headers are read and written without error handling and without a possible panic.
//!
//! Not here: anything specific to SRP. Field offsets are in the codecs of the information units
//! (IUs).

use core::fmt;

/// Bytes that do not have the form of the expected information unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The information unit ends before its last mandatory field.
    Truncated {
        /// Number of bytes needed.
        need: usize,
        /// Number of bytes present.
        have: usize,
    },
    /// The opcode byte is not that of the expected information unit.
    Opcode {
        /// Opcode of the expected information unit.
        want: u8,
        /// Opcode found.
        got: u8,
    },
    /// The named field contradicts another field or has an undefined value.
    Field(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { need, have } => write!(f, "truncated: {have} of {need} bytes"),
            Self::Opcode { want, got } => write!(f, "opcode {got:#04x} instead of {want:#04x}"),
            Self::Field(name) => write!(f, "invalid field {name}"),
        }
    }
}

/// The buffer is too small for the mandatory part of the information unit to be emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSpace;

/// Returns the `N` bytes at `off`, or [`None`] if they are not all inside `buf`.
pub(crate) fn array<const N: usize>(buf: &[u8], off: usize) -> Option<[u8; N]> {
    buf.get(off..)?.first_chunk::<N>().copied()
}

/// Reads a big-endian 16-bit value at `off`.
pub(crate) fn be16(buf: &[u8], off: usize) -> Option<u16> {
    array(buf, off).map(u16::from_be_bytes)
}

/// Reads a big-endian 32-bit value at `off`.
pub(crate) fn be32(buf: &[u8], off: usize) -> Option<u32> {
    array(buf, off).map(u32::from_be_bytes)
}

/// Reads a big-endian 64-bit value at `off`.
pub(crate) fn be64(buf: &[u8], off: usize) -> Option<u64> {
    array(buf, off).map(u64::from_be_bytes)
}

/// Returns the `len` bytes at `off`, or [`None`] if they are not all inside `buf`.
pub(crate) fn bytes(buf: &[u8], off: usize, len: usize) -> Option<&[u8]> {
    buf.get(off..)?.get(..len)
}

/// Copies `src` to `off`. Leaves `buf` unchanged if `src` does not fit.
///
/// # Errors
///
/// [`NoSpace`] if `src` does not fit.
pub(crate) fn put(buf: &mut [u8], off: usize, src: &[u8]) -> Result<(), NoSpace> {
    buf.get_mut(off..)
        .and_then(|tail| tail.get_mut(..src.len()))
        .ok_or(NoSpace)?
        .copy_from_slice(src);
    Ok(())
}

/// A borrowed fixed-size header whose fields are read at constant offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a, const N: usize>(&'a [u8; N]);

impl<'a, const N: usize> View<'a, N> {
    /// Borrows a whole header.
    pub(crate) const fn of(header: &'a [u8; N]) -> Self {
        Self(header)
    }

    /// Borrows the first `N` bytes of `buf`. Further bytes are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if `buf` is shorter than `N` bytes.
    pub(crate) fn new(buf: &'a [u8]) -> Result<Self, Malformed> {
        buf.first_chunk::<N>()
            .map(Self)
            .ok_or(Malformed::Truncated {
                need: N,
                have: buf.len(),
            })
    }

    /// Returns the `LEN` bytes at `OFF`. The bounds are checked at build time.
    pub(crate) fn array<const OFF: usize, const LEN: usize>(self) -> [u8; LEN] {
        const {
            assert!(OFF <= N && LEN <= N - OFF);
        }
        // The fallback is unreachable because of the assertion above.
        array(self.0, OFF).unwrap_or([0; LEN])
    }

    /// Reads the byte at `OFF`.
    pub(crate) fn u8<const OFF: usize>(self) -> u8 {
        u8::from_be_bytes(self.array::<OFF, 1>())
    }

    /// Reads the big-endian 16-bit value at `OFF`.
    pub(crate) fn be16<const OFF: usize>(self) -> u16 {
        u16::from_be_bytes(self.array::<OFF, 2>())
    }

    /// Reads the big-endian 32-bit value at `OFF`.
    pub(crate) fn be32<const OFF: usize>(self) -> u32 {
        u32::from_be_bytes(self.array::<OFF, 4>())
    }

    /// Reads the big-endian signed 32-bit value at `OFF`.
    pub(crate) fn be_i32<const OFF: usize>(self) -> i32 {
        i32::from_be_bytes(self.array::<OFF, 4>())
    }

    /// Reads the big-endian 64-bit value at `OFF`.
    pub(crate) fn be64<const OFF: usize>(self) -> u64 {
        u64::from_be_bytes(self.array::<OFF, 8>())
    }

    /// Checks that the byte at `OFF` is the opcode `want`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Opcode`] if it is a different one.
    pub(crate) fn expect_opcode<const OFF: usize>(self, want: u8) -> Result<(), Malformed> {
        match self.u8::<OFF>() {
            got if got == want => Ok(()),
            got => Err(Malformed::Opcode { want, got }),
        }
    }
}

/// A fixed-size header under construction, initially all zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<const N: usize>([u8; N]);

impl<const N: usize> Image<N> {
    /// Returns a header of `N` zero bytes.
    pub(crate) const fn new() -> Self {
        Self([0; N])
    }

    /// Stores `src` at `OFF`. The bounds are checked at build time.
    pub(crate) fn array<const OFF: usize, const LEN: usize>(mut self, src: [u8; LEN]) -> Self {
        const {
            assert!(OFF <= N && LEN <= N - OFF);
        }
        if let Some(dst) = self
            .0
            .get_mut(OFF..)
            .and_then(|tail| tail.first_chunk_mut::<LEN>())
        {
            *dst = src;
        }
        self
    }

    /// Stores a byte at `OFF`.
    pub(crate) fn u8<const OFF: usize>(self, value: u8) -> Self {
        self.array::<OFF, 1>([value])
    }

    /// Stores a big-endian 16-bit value at `OFF`.
    pub(crate) fn be16<const OFF: usize>(self, value: u16) -> Self {
        self.array::<OFF, 2>(value.to_be_bytes())
    }

    /// Stores a big-endian 32-bit value at `OFF`.
    pub(crate) fn be32<const OFF: usize>(self, value: u32) -> Self {
        self.array::<OFF, 4>(value.to_be_bytes())
    }

    /// Stores a big-endian signed 32-bit value at `OFF`.
    pub(crate) fn be_i32<const OFF: usize>(self, value: i32) -> Self {
        self.array::<OFF, 4>(value.to_be_bytes())
    }

    /// Stores a big-endian 64-bit value at `OFF`.
    pub(crate) fn be64<const OFF: usize>(self, value: u64) -> Self {
        self.array::<OFF, 8>(value.to_be_bytes())
    }

    /// Returns the finished header.
    pub(crate) const fn into_bytes(self) -> [u8; N] {
        self.0
    }
}

/// Defines an enum whose variants are wire codes, with conversions in both directions.
///
/// `code()` returns the wire value and `from_code()` the variant, or [`None`] for an undefined
/// value.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub(crate) enum $name:ident: $int:ty {
            $( $(#[$vmeta:meta])* $variant:ident = $value:expr, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $( $(#[$vmeta])* $variant, )+
        }

        impl $name {
            /// All defined values.
            pub(crate) const ALL: &'static [Self] = &[$( Self::$variant, )+];

            /// Returns the value used on the wire.
            pub(crate) const fn code(self) -> $int {
                match self {
                    $( Self::$variant => $value, )+
                }
            }

            /// Returns the variant for a wire value, or [`None`] if the value is not defined.
            pub(crate) fn from_code(code: $int) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.code() == code)
            }
        }
    };
}

pub(crate) use wire_enum;
