// SPDX-License-Identifier: GPL-2.0

//! Scatterlists of the storage engine, borrowed.
//!
//! C header: [`include/linux/scatterlist.h`](srctree/include/linux/scatterlist.h)

use core::{
    marker::PhantomData,
    ptr, //
};

use crate::bindings;

/// The data buffer of a command, as a C scatterlist that belongs to the engine.
///
/// # Invariants
///
/// `sgl` is a list of `nents` entries that hold `len` bytes or more, valid for `'a` and as
/// [`SgList::from_raw`] says; or `nents` is 0.
#[derive(Clone, Copy)]
pub(crate) struct SgList<'a> {
    sgl: *mut bindings::scatterlist,
    nents: u32,
    len: usize,
    _borrow: PhantomData<&'a mut [u8]>,
}

impl SgList<'_> {
    /// No data.
    pub(crate) const fn empty() -> Self {
        // INVARIANT: `nents` is 0.
        Self {
            sgl: ptr::null_mut(),
            nents: 0,
            len: 0,
            _borrow: PhantomData,
        }
    }

    /// Wraps a list of `nents` entries that hold `len` bytes of data.
    ///
    /// # Safety
    ///
    /// - The list must be well-formed, chained or not: `nents` entries, with a page, an offset and
    ///   a length each, that add up to `len` or more.
    /// - List and pages must stay valid, and the pages must not be touched by others, for `'a`, and
    ///   in addition until every [`RwSlot`](super::rw::RwSlot) that was filled from this list was
    ///   cancelled or its work has completed.
    pub(crate) unsafe fn from_raw(sgl: *mut bindings::scatterlist, nents: u32, len: usize) -> Self {
        if sgl.is_null() || nents == 0 {
            return Self::empty();
        }
        // INVARIANT: The caller promises it.
        Self {
            sgl,
            nents,
            len,
            _borrow: PhantomData,
        }
    }

    /// Bytes of data.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no data.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of entries.
    pub(crate) fn nents(&self) -> u32 {
        self.nents
    }

    /// Copies `data` to the start of the buffer (`sg_copy_from_buffer`); returns how many bytes
    /// fitted. Does not sleep.
    pub(crate) fn copy_from_slice(&self, data: &[u8]) -> usize {
        if self.nents == 0 {
            return 0;
        }
        let len = data.len().min(self.len);
        // SAFETY: By the type invariant the list is valid, and nobody else touches the pages.
        unsafe { bindings::sg_copy_from_buffer(self.sgl, self.nents, data.as_ptr().cast(), len) }
    }

    /// The C list.
    pub(super) fn as_raw(&self) -> *mut bindings::scatterlist {
        self.sgl
    }

    /// Sum of the entries' lengths.
    pub(super) fn capacity(&self) -> usize {
        let mut sum = 0usize;
        let mut sg = self.sgl;
        for _ in 0..self.nents {
            if sg.is_null() {
                break;
            }
            // SAFETY: By the type invariant there are that many entries.
            unsafe {
                sum = sum.saturating_add((*sg).length as usize);
                sg = bindings::srpt_sg_next(sg);
            }
        }
        sum
    }
}
