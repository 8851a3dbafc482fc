// SPDX-License-Identifier: GPL-2.0

//! Data buffers that commands keep for their next use.
//!
//! Target core would allocate, clear and free the pages of every command. Instead a command of this
//! module keeps the pages of its last transfer, and hands them to target core with the next.
//!
//! # No foreign bytes
//!
//! A byte that the engine did not write must not leave in these pages. Three facts see to that:
//!
//! - Only commands that target core itself executes get them, and of these only those that fill or
//!   consume the whole buffer: READ and WRITE of every length (`SCF_SCSI_DATA_CDB`), without
//!   residual, not COMPARE AND WRITE. For all others target core allocates, as it does without this
//!   module.
//! - Pages are zeroed when they are allocated, so they never hold other memory of the kernel.
//! - A command belongs to one channel from its allocation to its end, and its pages with it. What a
//!   backstore leaves in a buffer that it claims to have filled (a RAM disk with `rd_nullio` does)
//!   is data that was read or written for the same initiator.
//!
//! # Pages that others still read
//!
//! A RDMA WRITE may complete while a device in software still has the pages in the queue of a
//! socket: siw sends them without a copy, and TCP keeps a reference on each until the peer has
//! acknowledged it. So pages with other references are not used again, but left to these.
//!
//! # Bounds
//!
//! A command keeps the pages of its largest transfer between two periodic checks, [`MAX_LEN`] at
//! most, and all commands together keep [`BUDGET`]; beyond that target core allocates. A check
//! frees pages of which less than half was used.
//!
//! Not here: which commands get a buffer ([`super::cmd`]), immediate data, which stays in its
//! receive buffer ([`crate::rdma::buf::Immediate`]).
//!
//! C header: [`include/linux/gfp.h`](srctree/include/linux/gfp.h)

use core::ptr::NonNull;

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Maximum number of bytes that a command keeps.
const MAX_LEN: usize = 1 << 20;

/// Maximum number of bytes that all commands keep.
const BUDGET: usize = 64 << 20;

/// Order of the largest chunk: few entries make few work requests.
const MAX_ORDER: u32 = 4;

/// Number of pages that are kept.
static KEPT: Atomic<u32> = Atomic::new(0);

/// Contiguous pages.
///
/// # Invariants
///
/// `page` is the first of `1 << order` pages, which are owned and counted in [`KEPT`].
struct Chunk {
    page: NonNull<bindings::page>,
    order: u32,
}

// SAFETY: Pages belong to no thread.
unsafe impl Send for Chunk {}
// SAFETY: A shared reference gives no access to the pages.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// Allocates zeroed pages. May sleep. Returns `None` if the budget is spent or without memory.
    fn new(order: u32) -> Option<Self> {
        const MAX_PAGES: u32 = (BUDGET / PAGE_SIZE) as u32;

        let pages = 1 << order;
        let kept = KEPT.fetch_add(pages, Relaxed);
        let page = if kept.saturating_add(pages) <= MAX_PAGES {
            // SAFETY: There are no preconditions but process context.
            NonNull::new(unsafe { bindings::srpt_alloc_data(order) })
        } else {
            None
        };
        if page.is_none() {
            KEPT.fetch_sub(pages, Relaxed);
        }
        // INVARIANT: Allocated and counted above.
        page.map(|page| Self { page, order })
    }

    /// Size in bytes.
    fn len(&self) -> usize {
        PAGE_SIZE << self.order
    }

    /// Returns whether others have references on the pages (`page_count`).
    fn is_shared(&self) -> bool {
        // SAFETY: By the type invariant the pages are ours.
        unsafe { bindings::srpt_data_is_shared(self.page.as_ptr()) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the pages are ours, and of this order.
        unsafe { bindings::srpt_free_data(self.page.as_ptr(), self.order) };
        KEPT.fetch_sub(1 << self.order, Relaxed);
    }
}

/// Pages of a command and the scatterlist that describes them.
///
/// # Invariants
///
/// If `described` is not 0, `list` begins with a list of `nents` entries that describe as many
/// bytes of `chunks`.
pub(crate) struct DataBuf {
    chunks: KVec<Chunk>,
    list: KVec<bindings::scatterlist>,
    /// Size of all chunks in bytes.
    capacity: usize,
    described: usize,
    nents: u32,
    /// Largest length since the last [`Self::age`], in bytes.
    used: usize,
}

// SAFETY: The pointers in the list are to pages that `chunks` owns.
unsafe impl Send for DataBuf {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl Sync for DataBuf {}

impl DataBuf {
    /// Returns a buffer without pages.
    pub(super) const fn new() -> Self {
        // INVARIANT: Nothing is described.
        Self {
            chunks: KVec::new(),
            list: KVec::new(),
            capacity: 0,
            described: 0,
            nents: 0,
            used: 0,
        }
    }

    /// Returns the scatterlist of a buffer of exactly `len` bytes and the number of its entries. It
    /// stays valid until the next call of a function of this object. Returns `None` if no buffer of
    /// this length is kept. May sleep.
    pub(super) fn of_len(&mut self, len: usize) -> Option<(*mut bindings::scatterlist, u32)> {
        if len == 0 || len > MAX_LEN {
            return None;
        }
        if self.chunks.iter().any(Chunk::is_shared) {
            *self = Self::new();
        }
        if self.described != len {
            self.described = 0;
            if len > self.capacity {
                self.allocate(len)?;
            }
            self.describe(len)?;
        }
        self.used = self.used.max(len);
        Some((self.list.as_mut_ptr(), self.nents))
    }

    /// Replaces the chunks with others that hold `len` bytes; on failure with none.
    fn allocate(&mut self, len: usize) -> Option<()> {
        *self = Self::new();
        self.add_chunks(len).or_else(|| {
            *self = Self::new();
            None
        })
    }

    fn add_chunks(&mut self, len: usize) -> Option<()> {
        let mut order = MAX_ORDER;
        while self.capacity < len {
            let pages = (len - self.capacity).div_ceil(PAGE_SIZE);
            order = order.min(pages.ilog2());
            match Chunk::new(order) {
                Some(chunk) => {
                    let more = chunk.len();
                    self.chunks.push(chunk, GFP_KERNEL).ok()?;
                    self.capacity += more;
                }
                None if order == 0 => return None,
                None => order -= 1,
            }
        }
        Some(())
    }

    /// Describes the first `len` bytes of the chunks.
    fn describe(&mut self, len: usize) -> Option<()> {
        let mut nents = 0;
        let mut left = len;
        for chunk in &self.chunks {
            if left != 0 {
                left = left.saturating_sub(chunk.len());
                nents += 1;
            }
        }
        if left != 0 || nents == 0 {
            return None;
        }
        if self.list.len() < nents {
            self.list = KVec::from_elem(Default::default(), nents, GFP_KERNEL).ok()?;
        }
        self.nents = u32::try_from(nents).ok()?;
        let list = self.list.as_mut_ptr();
        // SAFETY: There are that many entries.
        unsafe { bindings::sg_init_table(list, self.nents) };
        let mut left = len;
        for (entry, chunk) in self.list.iter_mut().zip(&self.chunks).take(nents) {
            let part = left.min(chunk.len());
            // SAFETY: The entry is valid, and the chunk has that many bytes.
            // CAST: At most `MAX_LEN`.
            unsafe { bindings::srpt_sg_set_data(entry, chunk.page.as_ptr(), part as u32) };
            left -= part;
        }
        // INVARIANT: Described above, all of it: the chunks hold `len` bytes.
        self.described = len;
        Some(())
    }

    /// Takes the pages out if less than half of them was used since the last call. Does not sleep.
    pub(super) fn age(&mut self) -> Option<Self> {
        let used = core::mem::take(&mut self.used);
        let wasted = self.capacity != 0 && used.saturating_mul(2) < self.capacity;
        wasted.then(|| core::mem::replace(self, Self::new()))
    }
}
