// SPDX-License-Identifier: GPL-2.0

//! Common parts of files in configfs and sysfs: the page for their content, the format of numbers,
//! and the result of their operations.
//!
//! Not here: the operations ([`super`]).
//!
//! C source: `fill_read_buffer()` in `fs/configfs/file.c`, `sysfs_kf_seq_show()` in
//! `fs/sysfs/file.c`.

use core::fmt::Write as _;

use kernel::{
    fmt,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Page for the content of a file.
pub(crate) struct Page<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl Page<'_> {
    /// Returns an empty page.
    ///
    /// # Safety
    ///
    /// `page` must be a page of initialised memory without other users as long as the result
    /// exists.
    pub(super) unsafe fn from_raw(page: *mut c_char) -> Self {
        // SAFETY: By the safety requirements.
        let buf = unsafe { core::slice::from_raw_parts_mut(page.cast::<u8>(), PAGE_SIZE) };
        Self { buf, len: 0 }
    }

    /// Returns the number of bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes a line.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not fit; a part of it may have been written then.
    pub(crate) fn line(&mut self, what: impl core::fmt::Display) -> Result {
        self.write(format_args!("{what}\n"))
    }

    /// Implements [`Self::line`] for all types.
    fn write(&mut self, what: core::fmt::Arguments<'_>) -> Result {
        self.write_fmt(what).map_err(|_| EINVAL)
    }

    /// Removes everything after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl fmt::Write for Page<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        self.buf
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Converts a result to that of a file operation: a number of bytes or a negative error code.
pub(super) fn to_ssize(result: Result<usize>) -> isize {
    match result {
        // A page and a write to a file are both much smaller than `isize::MAX`.
        Ok(len) => isize::try_from(len).unwrap_or(isize::MAX),
        // CAST: `isize` is at least as wide as `c_int` on all architectures with Rust support.
        Err(e) => e.to_errno() as isize,
    }
}

/// Parses a number like `kstrtoull(text, 0, ..)`: hexadecimal with prefix `0x`, octal with prefix
/// `0`, otherwise decimal, with an optional leading `+` and one optional trailing newline.
///
/// # Errors
///
/// `EINVAL` if it is not a number, `ERANGE` if it does not fit.
pub(crate) fn parse_number(text: &str) -> Result<u64> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_prefix('+').unwrap_or(text);
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if digits.is_empty() {
        return Err(EINVAL);
    }
    digits.chars().try_fold(0u64, |value, c| {
        let digit = c.to_digit(radix).ok_or(EINVAL)?;
        value
            .checked_mul(u64::from(radix))
            .and_then(|value| value.checked_add(u64::from(digit)))
            .ok_or(ERANGE)
    })
}

/// Parses a number of 32 bits; see [`parse_number`].
///
/// # Errors
///
/// `EINVAL`, whatever the cause.
pub(crate) fn parse_u32(text: &str) -> Result<u32> {
    let value = parse_number(text).map_err(|_| EINVAL)?;
    u32::try_from(value).map_err(|_| EINVAL)
}
