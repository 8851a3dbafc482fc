// SPDX-License-Identifier: GPL-2.0

//! What files of configfs and sysfs have in common: the page their content is written to, and the
//! result their operations return. The files themselves are the engines' and [`crate::sysfs`]'s.
//!
//! C source: `fill_read_buffer()` in `fs/configfs/file.c`, `sysfs_kf_seq_show()` in
//! `fs/sysfs/file.c`.

use kernel::{
    fmt,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The page a file's content is written to.
pub(crate) struct Page<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl Page<'_> {
    /// An empty page.
    ///
    /// # Safety
    ///
    /// `page` must be a page of initialised memory that nobody else uses as long as the result
    /// exists.
    pub(crate) unsafe fn from_raw(page: *mut c_char) -> Self {
        // SAFETY: By the safety requirements.
        let buf = unsafe { core::slice::from_raw_parts_mut(page.cast::<u8>(), PAGE_SIZE) };
        Self { buf, len: 0 }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.len
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

/// Turns a result into what the file systems expect: a number of bytes or a negative error number.
pub(crate) fn to_ssize(result: Result<usize>) -> isize {
    match result {
        // A page and a write to a file are both much smaller than `isize::MAX`.
        Ok(len) => isize::try_from(len).unwrap_or(isize::MAX),
        // CAST: `isize` is at least as wide as `c_int` on all architectures with Rust support.
        Err(e) => e.to_errno() as isize,
    }
}
