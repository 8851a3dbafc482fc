// SPDX-License-Identifier: GPL-2.0

//! Scatterlists of the storage engine, lent to the target for a transfer.
//!
//! C header: [`include/linux/scatterlist.h`](srctree/include/linux/scatterlist.h)
//!
//! Not here: transfers ([`super::rw`]).

use core::ptr::{
    self,
    NonNull, //
};

use crate::{
    bindings,
    sync::atomic::{
        Acquire,
        AtomicFlag,
        Release, //
    }, //
};

/// Flag of a scatterlist's owner: whether the list is lent. The owner may use or free the list only
/// while it is not.
pub(crate) struct Lender(AtomicFlag);

impl Lender {
    /// Returns a lender that has lent nothing.
    pub(crate) const fn new() -> Self {
        Self(AtomicFlag::new(false))
    }

    /// Lends a list of `nents` entries that hold `len` bytes of data, until the result is dropped.
    ///
    /// # Safety
    ///
    /// - The list must be well-formed, chained or not: `nents` entries, with a page, an offset and
    ///   a length each, that add up to `len` or more.
    /// - As long as [`Self::is_lent`], list and pages must stay valid, the pages must not be
    ///   touched by others, and this object must stay where it is and not be used to lend again.
    pub(crate) unsafe fn lend(
        &self,
        sgl: *mut bindings::scatterlist,
        nents: u32,
        len: usize,
    ) -> SgList {
        if sgl.is_null() || nents == 0 || len == 0 {
            return SgList::empty();
        }
        self.0.store(true, Release);
        // INVARIANT: The caller promises it.
        SgList {
            sgl,
            nents,
            len,
            lender: Some(NonNull::from(self)),
        }
    }

    /// Returns whether a list was lent and not dropped yet.
    pub(crate) fn is_lent(&self) -> bool {
        self.0.load(Acquire)
    }
}

/// The data buffer of a command: a C scatterlist that the engine has lent. Dropping this returns
/// it; a [`RwSlot`](super::rw::RwSlot) that was filled from it does so when it becomes idle.
///
/// # Invariants
///
/// - `sgl` is a list of `nents` entries that hold `len` bytes or more, valid as long as this; or
///   `nents` is 0.
/// - `lender` is valid as long as this.
pub(crate) struct SgList {
    sgl: *mut bindings::scatterlist,
    nents: u32,
    len: usize,
    lender: Option<NonNull<Lender>>,
}

// SAFETY: The list belongs to no thread, and its lender is atomic.
unsafe impl Send for SgList {}
// SAFETY: A shared reference gives no access to the list but through functions of this module.
unsafe impl Sync for SgList {}

impl SgList {
    /// Returns a list without data.
    pub(crate) const fn empty() -> Self {
        // INVARIANT: `nents` is 0.
        Self {
            sgl: ptr::null_mut(),
            nents: 0,
            len: 0,
            lender: None,
        }
    }

    /// Wraps a list that is not lent but owned by the RDMA wrappers.
    ///
    /// # Safety
    ///
    /// As for [`Lender::lend`], as long as the result exists.
    pub(super) unsafe fn own(sgl: *mut bindings::scatterlist, nents: u32, len: usize) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            sgl,
            nents,
            len,
            lender: None,
        }
    }

    /// Length of the data in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no data.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of entries.
    pub(crate) fn nents(&self) -> u32 {
        self.nents
    }

    /// Copies `data` to the start of the buffer (`sg_copy_from_buffer`). Returns the number of
    /// bytes copied. Does not sleep.
    pub(crate) fn copy_from_slice(&mut self, data: &[u8]) -> usize {
        if self.nents == 0 {
            return 0;
        }
        let len = data.len().min(self.len);
        // SAFETY: By the type invariant the list is valid, and nothing else touches the pages.
        unsafe { bindings::sg_copy_from_buffer(self.sgl, self.nents, data.as_ptr().cast(), len) }
    }

    /// The C list.
    pub(super) fn as_raw(&self) -> *mut bindings::scatterlist {
        self.sgl
    }

    /// Sum of the entries' lengths in bytes.
    pub(super) fn capacity(&self) -> usize {
        let mut sum = 0usize;
        let mut sg = self.sgl;
        let mut left = self.nents;
        while left != 0 && !sg.is_null() {
            // SAFETY: By the type invariant there are that many entries.
            sum = sum.saturating_add(unsafe { (*sg).length } as usize);
            left -= 1;
            if left != 0 {
                // SAFETY: As above.
                sg = unsafe { bindings::srpt_sg_next(sg) };
            }
        }
        sum
    }
}

impl Drop for SgList {
    fn drop(&mut self) {
        if let Some(lender) = self.lender {
            // SAFETY: By the type invariant the lender is valid. It may be freed after the store.
            unsafe { lender.as_ref() }.0.store(false, Release);
        }
    }
}
