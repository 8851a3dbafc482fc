// SPDX-License-Identifier: GPL-2.0

//! Physically contiguous memory of any length.
//!
//! C header: [`include/linux/gfp.h`](srctree/include/linux/gfp.h)
//!
//! `kmalloc` takes a power of two bytes, so what is larger than two pages comes in whole pages: as
//! many as it takes, or, where the caller can use any number, a power of two of them, which are
//! allocated and freed as one.
//!
//! Not here: mapping it for a device ([`super::dma`]).

use core::ptr::NonNull;

use kernel::{
    alloc::flags::__GFP_ZERO,
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::bindings;

/// Owned bytes, contiguous and initialised. Used through a pointer, because devices write there.
///
/// # Invariants
///
/// `data` points to `len` initialised bytes that came from `origin`.
pub(super) struct Memory {
    data: NonNull<u8>,
    len: usize,
    origin: Origin,
}

/// Allocator of memory.
#[derive(Clone, Copy)]
enum Origin {
    /// `kmalloc`; a vector with this capacity.
    Vector(usize),
    /// `alloc_pages_exact`.
    Pages,
    /// `__get_free_pages` of this order.
    Block(u32),
}

impl Memory {
    /// Allocates `len` zeroed bytes. If that takes more than a page, the memory begins at the start
    /// of one. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if `len` is 0.
    pub(super) fn zeroed(len: usize) -> Result<Self> {
        if len == 0 {
            return Err(EINVAL);
        }
        let (data, origin) = if len > 2 * PAGE_SIZE {
            // SAFETY: It may sleep, and has no other condition.
            let data = unsafe { bindings::srpt_alloc_pages_exact(len) };
            (data.cast(), Origin::Pages)
        } else {
            // The allocator clears memory faster than a vector fills itself.
            let mut bytes = KVec::<u8>::with_capacity(len, GFP_KERNEL | __GFP_ZERO)?;
            // SAFETY: There is room for as many, and they are zeroed.
            unsafe { bytes.inc_len(len) };
            let (data, _, capacity) = bytes.into_raw_parts();
            (data, Origin::Vector(capacity))
        };
        // INVARIANT: Allocated above. The pages are zeroed.
        Ok(Self {
            data: NonNull::new(data).ok_or(ENOMEM)?,
            len,
            origin,
        })
    }

    /// Allocates at most `wanted` zeroed bytes, at least `least`: a power of two of pages if that
    /// is free, or else `least` as [`Self::zeroed`] does. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Self::zeroed`].
    pub(super) fn up_to(wanted: usize, least: usize) -> Result<Self> {
        if wanted <= 2 * PAGE_SIZE {
            return Self::zeroed(wanted);
        }
        for order in (0..=(wanted / PAGE_SIZE).ilog2()).rev() {
            if PAGE_SIZE << order < 2 * least {
                break;
            }
            if let Some(block) = Self::block(order) {
                return Ok(block);
            }
        }
        Self::zeroed(least)
    }

    /// Allocates zeroed pages that are free, without reclaiming any.
    fn block(order: u32) -> Option<Self> {
        // SAFETY: It has no conditions.
        let data = unsafe { bindings::srpt_get_free_pages(order) };
        // INVARIANT: Allocated here, and zeroed.
        Some(Self {
            data: NonNull::new(data.cast())?,
            len: PAGE_SIZE << order,
            origin: Origin::Block(order),
        })
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Pointer to the bytes, valid as long as this.
    pub(super) fn data(&self) -> NonNull<u8> {
        self.data
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let data = self.data.as_ptr();
        match self.origin {
            Origin::Vector(capacity) => {
                // SAFETY: By the type invariant these are the parts of a vector.
                drop(unsafe { KVec::from_raw_parts(data, self.len, capacity) })
            }
            // SAFETY: By the type invariant it was allocated with this length.
            Origin::Pages => unsafe { bindings::srpt_free_pages_exact(data.cast(), self.len) },
            // SAFETY: By the type invariant it was allocated with this order.
            Origin::Block(order) => unsafe { bindings::srpt_free_pages(data.cast(), order) },
        }
    }
}
