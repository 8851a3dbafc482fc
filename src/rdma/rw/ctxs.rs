// SPDX-License-Identifier: GPL-2.0

//! The RDMA contexts of a transfer, and the parts in which they are posted.
//!
//! C header: [`include/rdma/rw.h`](srctree/include/rdma/rw.h)
//!
//! A transfer may have more work requests than fit in the send queue. Its contexts, whose pages are
//! mapped all the time, are posted one part after the other, each when the one before has
//! completed. The rare transfer with a context that is larger than a part gets smaller contexts.
//!
//! Not here: states of a transfer ([`super`]), posting ([`super::super::qp`]).

use core::{
    ops::{
        Deref,
        Range, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    prelude::*,
    types::Opaque, //
};

use super::{
    super::{
        qp::{
            core::{
                QpCore,
                HELD, //
            },
            MIN_PART, //
        },
        sg::SgList, //
    },
    Part,
    RemoteSeg,
    RwDir, //
};
use crate::{
    bindings,
    sync::gate::Stay, //
};

/// What contexts are initialised for.
pub(super) struct Purpose {
    pub(super) core: Keeper,
    pub(super) dir: RwDir,
}

/// The queue pair of a transfer, and what keeps it: a guard while the transfer is not posted, then
/// the poster and the entry that completes it.
pub(super) struct Keeper {
    core: NonNull<QpCore>,
    prepared: Option<Stay<QpCore, HELD>>,
}

impl Keeper {
    /// Keeps the queue pair.
    pub(super) fn new(prepared: Stay<QpCore, HELD>) -> Self {
        Self {
            core: NonNull::from(&*prepared),
            prepared: Some(prepared),
        }
    }

    /// Returns whether the queue pair is `core`.
    pub(super) fn is_of(&self, core: &QpCore) -> bool {
        ptr::eq(self.core.as_ptr(), core)
    }

    /// Leaves it to poster and entry to keep the queue pair.
    pub(super) fn hand_over(&mut self) {
        self.prepared = None;
    }
}

impl Deref for Keeper {
    type Target = QpCore;

    #[inline]
    fn deref(&self) -> &QpCore {
        // SAFETY: The guard keeps it. By the invariants of `RwSlot` there is none in `Posted` only:
        // while a caller is inside the queue pair, or until the completion of the entry, which
        // destroys the contexts before it releases the queue pair.
        unsafe { self.core.as_ref() }
    }
}

/// One context and the scatterlist it was initialised with. Must not move between initialisation
/// and destruction.
struct Ctx {
    raw: Opaque<bindings::rdma_rw_ctx>,
    sgl: *mut bindings::scatterlist,
    nents: u32,
    /// Work requests; set by the initialisation.
    wrs: u32,
}

/// The contexts of a transfer.
///
/// # Invariants
///
/// - `one` is initialised if `one_used`, and all of `many.ctxs` are; only one of the two has any.
///   The owner passes the same [`Purpose`] to all functions from [`Self::build`] to
///   [`Self::destroy`].
/// - `many.ctxs` does not grow while it has contexts, so these do not move. Nor does this, because
///   the slot is pinned.
pub(super) struct Ctxs {
    /// The context for the common case of one segment.
    one: Ctx,
    one_used: bool,
    /// The contexts otherwise.
    many: Option<Many>,
}

/// Several contexts.
struct Many {
    ctxs: KVVec<Ctx>,
    /// Their scatterlists, one after the other.
    lists: KVVec<bindings::scatterlist>,
    /// Contexts that are posted, or were last.
    part: Range<usize>,
}

impl Ctxs {
    /// Returns no contexts.
    pub(super) const fn new() -> Self {
        // INVARIANT: There are none.
        Self {
            one: Ctx::new(),
            one_used: false,
            many: None,
        }
    }

    /// Initialises contexts for `total` bytes at the start of `sg` and the remote memory `segs`;
    /// `is_all` says that these are all bytes of `sg`. Returns the number of work requests of the
    /// largest part. There must be no contexts; on failure, the caller destroys those there are.
    ///
    /// # Errors
    ///
    /// Those of [`RwSlot::fill`](super::RwSlot::fill).
    #[inline]
    pub(super) fn build(
        &mut self,
        purpose: &Purpose,
        sg: &SgList,
        segs: impl Iterator<Item = RemoteSeg> + Clone,
        total: u32,
        is_all: bool,
    ) -> Result<u32> {
        let part = purpose.core.largest_part();
        let first = segs.clone().find(|seg| seg.len != 0).ok_or(EINVAL)?;
        let built = if is_all && first.len >= total {
            self.build_one(purpose, sg, first)
                .map(|wrs| (wrs <= part).then_some(wrs))
        } else {
            self.build_many(purpose, sg, segs.clone(), total, &Limit::NONE)
                .map(|()| self.many.as_ref().and_then(|many| many.fit(part)))
        };
        match built {
            Ok(Some(wrs)) => return Ok(wrs),
            // Too many requests, or a region without room for its entries: the RDMA core counts
            // entries, of which each may have many pages (`rdma_rw_init_one_mr`).
            Ok(None) | Err(EINVAL) => {}
            Err(e) => return Err(e),
        }
        self.destroy(purpose);
        self.build_many(purpose, sg, segs, total, &Limit::of(purpose, part))?;
        let many = self.many.as_ref().ok_or(EINVAL)?;
        many.fit(part).ok_or(E2BIG)
    }

    /// Initialises the context for the engine's whole list and one segment of remote memory.
    fn build_one(&mut self, purpose: &Purpose, sg: &SgList, seg: RemoteSeg) -> Result<u32> {
        self.one.sgl = sg.as_raw();
        self.one.nents = sg.nents();
        self.one.init(purpose, seg).map_err(|e| match e {
            EAGAIN => none_left(purpose, 1, sg.nents() as usize),
            e => e,
        })?;
        self.one_used = true;
        Ok(self.one.wrs)
    }

    /// Initialises contexts for several segments, for a list that is longer than the data, or
    /// within `limit`.
    fn build_many(
        &mut self,
        purpose: &Purpose,
        sg: &SgList,
        segs: impl Iterator<Item = RemoteSeg>,
        total: u32,
        limit: &Limit,
    ) -> Result {
        let mut used = KVVec::new();
        let mut left = total;
        for seg in segs {
            if left == 0 {
                break;
            }
            if seg.len != 0 {
                let len = seg.len.min(left);
                used.push(RemoteSeg { len, ..seg }, GFP_KERNEL)?;
                left -= len;
            }
        }
        if left != 0 {
            return Err(EINVAL);
        }
        let nents = sg.nents() as usize;
        let (max, contexts) = limit.sizes(nents, used.len(), total).ok_or(EINVAL)?;
        let many = self.many.insert(Many {
            ctxs: KVVec::with_capacity(contexts, GFP_KERNEL)?,
            lists: KVVec::from_elem(Default::default(), max, GFP_KERNEL)?,
            part: 0..0,
        });
        let lists = many.lists.as_mut_ptr();
        // SAFETY: There are that many entries.
        unsafe { bindings::sg_init_table(lists, u32::try_from(max)?) };

        let mut source = Source {
            sg: sg.as_raw(),
            left: sg.nents(),
            skip: 0,
        };
        let mut at = 0usize;
        for seg in used.iter() {
            let mut seg = *seg;
            while seg.len != 0 {
                let begin = at;
                let mut len = 0;
                let most = seg.len.min(limit.bytes);
                while len < most && at - begin < limit.entries {
                    if at >= max {
                        return Err(EINVAL);
                    }
                    // SAFETY: `at` is within the table.
                    let entry = unsafe { lists.add(at) };
                    len += source.take(entry, most - len)?;
                    at += 1;
                }
                // SAFETY: At least one entry was taken, so `at - 1` is within the table.
                unsafe { bindings::srpt_sg_mark_end(lists.add(at - 1)) };
                let ctx = Ctx {
                    // SAFETY: `begin` is within the table.
                    sgl: unsafe { lists.add(begin) },
                    nents: u32::try_from(at - begin)?,
                    ..Ctx::new()
                };
                many.add(purpose, ctx, RemoteSeg { len, ..seg })
                    .map_err(|e| match e {
                        EAGAIN => none_left(purpose, contexts, nents),
                        e => e,
                    })?;
                seg.len -= len;
                if seg.len != 0 {
                    seg.addr = seg.addr.checked_add(len.into()).ok_or(EINVAL)?;
                }
            }
        }
        Ok(())
    }

    /// Goes on to the next part, which is the first after [`Self::build`] or [`Self::rewind`], and
    /// returns it.
    #[inline]
    pub(super) fn next(&mut self, purpose: &Purpose) -> Part {
        let wrs = match &mut self.many {
            Some(many) => many.next(purpose.core.largest_part()),
            None => self.one.wrs,
        };
        Part {
            wrs,
            is_last: !self.has_more(),
        }
    }

    /// Returns whether the current part is not the last.
    pub(super) fn has_more(&self) -> bool {
        self.many
            .as_ref()
            .is_some_and(|many| many.part.end < many.ctxs.len())
    }

    /// Goes back to before the first part.
    pub(super) fn rewind(&mut self) {
        if let Some(many) = &mut self.many {
            many.part = 0..0;
        }
    }

    /// Builds the chain of work requests of the current part (`rdma_rw_ctx_wrs`), with `tail` at
    /// its end. If `tail` is NULL, the last request is signaled and completes to `cqe`.
    #[inline]
    pub(super) fn chain(
        &mut self,
        purpose: &Purpose,
        cqe: *mut bindings::ib_cqe,
        tail: *mut bindings::ib_send_wr,
    ) -> *mut bindings::ib_send_wr {
        let (qp, port) = (purpose.core.as_raw(), purpose.core.port_num());
        let mut next = tail;
        let one = self.one_used.then_some(&mut self.one);
        let part = match &mut self.many {
            Some(many) => many.ctxs.get_mut(many.part.clone()).unwrap_or_default(),
            None => &mut [],
        };
        for ctx in Iterator::chain(part.iter_mut().rev(), one) {
            let cqe = if next.is_null() { cqe } else { ptr::null_mut() };
            // SAFETY: By the type invariant the context is initialised, for this queue pair, which
            // exists. Either there is a next request or an entry.
            next = unsafe { bindings::rdma_rw_ctx_wrs(ctx.raw.get(), qp, port, cqe, next) };
        }
        next
    }

    /// Destroys all contexts. None of them may be posted.
    #[inline]
    pub(super) fn destroy(&mut self, purpose: &Purpose) {
        if self.one_used {
            self.one_used = false;
            // SAFETY: It is initialised and not posted (any more).
            unsafe { self.one.destroy(purpose) };
        }
        for ctx in self.many.take().iter_mut().flat_map(|many| &mut many.ctxs) {
            // SAFETY: All contexts in the vector are initialised and not posted (any more).
            unsafe { ctx.destroy(purpose) };
        }
    }
}

impl Many {
    /// Adds a context.
    fn add(&mut self, purpose: &Purpose, ctx: Ctx, seg: RemoteSeg) -> Result {
        self.ctxs.push_within_capacity(ctx).map_err(|_| ENOMEM)?;
        // An initialised context must not move, so it is initialised in the vector.
        match self.ctxs.last_mut().map(|ctx| ctx.init(purpose, seg)) {
            Some(Ok(())) => Ok(()),
            failed => {
                // Everything that stays in the vector is initialised.
                self.ctxs.pop();
                failed.unwrap_or(Err(EINVAL))
            }
        }
    }

    /// Returns the number of work requests of the largest part, if parts have at most `limit`;
    /// [`None`] if a context has more.
    fn fit(&self, limit: u32) -> Option<u32> {
        let (mut largest, mut sum) = (0, 0);
        for ctx in self.ctxs.iter() {
            sum = match ctx.wrs.saturating_add(sum) {
                more if more <= limit => more,
                _ if ctx.wrs <= limit => ctx.wrs,
                _ => return None,
            };
            largest = sum.max(largest);
        }
        Some(largest)
    }

    /// Goes on to the next part of at most `limit` work requests, and returns how many it has.
    fn next(&mut self, limit: u32) -> u32 {
        let begin = self.part.end;
        let mut wrs = 0u32;
        let mut end = begin;
        for ctx in self.ctxs.iter().skip(begin) {
            let more = wrs.saturating_add(ctx.wrs);
            if more > limit {
                break;
            }
            wrs = more;
            end += 1;
        }
        self.part = begin..end;
        wrs
    }
}

impl Ctx {
    /// Returns a context that is not initialised.
    const fn new() -> Self {
        Self {
            raw: Opaque::uninit(),
            sgl: ptr::null_mut(),
            nents: 0,
            wrs: 0,
        }
    }

    /// Initialises the context for its scatterlist.
    fn init(&mut self, purpose: &Purpose, seg: RemoteSeg) -> Result {
        // SAFETY: The list has that many entries, by the invariant of `SgList` or because
        // `build_many` made it. The queue pair exists, because it is held.
        let ret = unsafe {
            bindings::rdma_rw_ctx_init(
                self.raw.get(),
                purpose.core.as_raw(),
                purpose.core.port_num(),
                self.sgl,
                self.nents,
                0,
                seg.addr,
                seg.key,
                purpose.dir.dma().as_raw(),
            )
        };
        self.wrs = u32::try_from(ret).map_err(|_| Error::from_errno(ret))?;
        Ok(())
    }

    /// Destroys the context.
    ///
    /// # Safety
    ///
    /// It must be initialised with `purpose`, and all of its work must have completed.
    unsafe fn destroy(&mut self, purpose: &Purpose) {
        // SAFETY: The caller promises that it is initialised and complete; the rest is what it was
        // initialised with. The queue pair, or what stands in for it, exists; see `Keeper`.
        unsafe {
            bindings::rdma_rw_ctx_destroy(
                self.raw.get(),
                purpose.core.as_raw(),
                purpose.core.port_num(),
                self.sgl,
                self.nents,
                purpose.dir.dma().as_raw(),
            );
        }
    }
}

/// Bounds of a context.
struct Limit {
    /// Scatterlist entries.
    entries: usize,
    /// Bytes of data.
    bytes: u32,
}

impl Limit {
    const NONE: Self = Self {
        entries: usize::MAX,
        bytes: u32::MAX,
    };

    /// Returns the bounds by which a context has at most `part` work requests, and no more pages
    /// than a memory region takes, however the IOMMU merges its entries.
    fn of(purpose: &Purpose, part: u32) -> Self {
        // CAST: 4 to 64 KiB.
        const PAGE: u32 = kernel::page::PAGE_SIZE as u32;

        let attrs = purpose.core.device().attrs();
        let bytes = match attrs.max_region_pages {
            // There are no regions.
            0 => u32::MAX,
            // The data may begin within a page.
            _ => region_pages(purpose).saturating_sub(1).max(1) * PAGE,
        };
        Self {
            // An entry takes at most `MIN_PART` requests (`rdma_rw_init_one_mr`).
            entries: (part / MIN_PART).max(1) as usize,
            bytes,
        }
    }

    /// Returns the largest number of scatterlist entries, and of contexts, for `total` bytes in a
    /// list of `nents` entries and `segs` segments of remote memory.
    fn sizes(&self, nents: usize, segs: usize, total: u32) -> Option<(usize, usize)> {
        // CAST: A u32 fits in a usize on every architecture with RDMA.
        let cuts = total.checked_div(self.bytes)? as usize;
        // Every entry is used once, plus once more for every cut, and for every boundary between
        // segments.
        let entries = nents.checked_add(segs)?.checked_add(cuts)?;
        // Each segment begins a context, and so does each cut, and each entry for which one has no
        // room.
        let full = entries.checked_div(self.entries)?;
        let contexts = segs.checked_add(cuts)?.checked_add(full)?;
        Some((entries, contexts))
    }
}

/// Returns the number of pages of a memory region, as `rdma_rw_fr_page_list_len`.
fn region_pages(purpose: &Purpose) -> u32 {
    purpose.core.device().attrs().max_region_pages.clamp(1, 256)
}

/// Returns the error of a transfer of so many contexts and entries, when no memory region is free:
/// more regions than there are would fail for ever.
fn none_left(purpose: &Purpose, contexts: usize, entries: usize) -> Error {
    // CAST: At most 256.
    let pages = region_pages(purpose) as usize;
    let least = entries.checked_div(pages).unwrap_or(entries);
    match contexts.saturating_add(least) > purpose.core.rdma_ctxs() {
        true => E2BIG,
        false => EAGAIN,
    }
}

/// A position in the engine's list.
struct Source {
    sg: *mut bindings::scatterlist,
    /// Entries left, including the current one.
    left: u32,
    /// Bytes of the current entry that are already used.
    skip: u32,
}

impl Source {
    /// Makes `entry` refer to the next bytes, at most `max`. Returns how many these are.
    fn take(&mut self, entry: *mut bindings::scatterlist, max: u32) -> Result<u32> {
        while self.left != 0 && !self.sg.is_null() {
            // SAFETY: There is an entry left, so this one is valid.
            let length = unsafe { (*self.sg).length };
            let len = length.saturating_sub(self.skip).min(max);
            if len != 0 {
                // SAFETY: Both entries are valid; the bytes are inside the source's.
                unsafe { bindings::srpt_sg_set_part(entry, self.sg, self.skip, len) };
                self.skip += len;
                return Ok(len);
            }
            // SAFETY: This entry is valid.
            self.sg = unsafe { bindings::srpt_sg_next(self.sg) };
            self.left -= 1;
            self.skip = 0;
        }
        Err(EINVAL)
    }
}
