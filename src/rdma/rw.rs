// SPDX-License-Identifier: GPL-2.0

//! RDMA READ and WRITE between an engine's buffer and memory that a peer has described.
//!
//! C header: [`include/rdma/rw.h`](srctree/include/rdma/rw.h)
//!
//! `rdma_rw_ctx` moves data between whole scatterlist entries and one segment of remote memory. SRP
//! commands describe any number of segments, so a [`RwSlot`] has one context per segment, each with
//! a scatterlist of its own; in the common case of one segment, the engine's list is used as it is.
//!
//! Not here: posting ([`super::qp`]), scatterlists of the engine ([`super::sg`]).

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    ptr, //
};

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Release, //
    }, //
};

use super::{
    buf::DmaDir,
    fill::Fill,
    qp::{
        core::{
            QpCore,
            HELD, //
        },
        QpOwner,
        QueuePair, //
    },
    sg::SgList, //
};
use crate::{
    bindings,
    sync::gate::Stay, //
};

/// A segment of remote memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RemoteSeg {
    /// Virtual address at the peer.
    pub(crate) addr: u64,
    /// Remote key.
    pub(crate) key: u32,
    /// Length in bytes.
    pub(crate) len: u32,
}

/// Direction of a transfer, in the terms of verbs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RwDir {
    /// RDMA READ: from the peer into the engine's buffer.
    Read,
    /// RDMA WRITE: from the engine's buffer to the peer.
    Write,
}

impl RwDir {
    /// Returns the direction for the DMA mapping.
    fn dma(self) -> DmaDir {
        match self {
            Self::Read => DmaDir::FromDevice,
            Self::Write => DmaDir::ToDevice,
        }
    }
}

/// One context and the scatterlist it was initialised with. Must not move between initialisation
/// and destruction.
struct Ctx {
    raw: MaybeUninit<bindings::rdma_rw_ctx>,
    sgl: *mut bindings::scatterlist,
    nents: u32,
}

impl Ctx {
    /// Returns a context that is not initialised.
    const fn new() -> Self {
        Self {
            raw: MaybeUninit::uninit(),
            sgl: ptr::null_mut(),
            nents: 0,
        }
    }
}

/// State of a slot that is filled.
struct Filled {
    core: Stay<QpCore, HELD>,
    dir: RwDir,
    wrs: u32,
}

/// The contents of a slot.
struct Contents {
    filled: Option<Filled>,
    /// The list that the contexts were initialised from.
    sg: SgList,
    /// The context for the common case of one segment, in a box so that the slot may be moved.
    one: KBox<Ctx>,
    one_used: bool,
    /// The contexts otherwise. The vector does not grow while it has one, so they do not move.
    many: KVVec<Ctx>,
    /// Scatterlists of `many`, one after the other; with `own`, the one entry for that.
    lists: KVVec<bindings::scatterlist>,
    /// Memory owned by the slot, see [`RwSlot::fill_own`]. Contiguous, because one entry describes
    /// it. Not accessed while there is a context.
    own: KVec<u8>,
}

/// The RDMA transfer of one command.
///
/// States: idle, filled ([`RwSlot::fill`]), posted (`QueuePair::post_read`,
/// `QueuePair::post_write_send`), and idle again after the completion; [`RwSlot::cancel`] changes
/// filled to idle. The queue pair cannot be destroyed while the slot is filled or posted.
///
/// The slot owns the list it was filled from, whose pages are mapped for the device, and returns it
/// to the engine when it becomes idle.
///
/// # Invariants
///
/// - The task that changed `state` to `Busy` owns `contents`; in `Posted`, the completion does.
/// - In `Filled` and `Posted`, `contents.filled` is set and there is at least one initialised
///   context, all of them for its queue pair, which it holds, and of the list `contents.sg` or of
///   `contents.lists`, which is about the same pages. Otherwise there are none.
pub(crate) struct RwSlot {
    state: Atomic<Fill>,
    contents: UnsafeCell<Contents>,
}

// SAFETY: Contexts may be posted and destroyed by any task.
unsafe impl Send for RwSlot {}
// SAFETY: By the type invariant `state` gives exclusive access to the contents.
unsafe impl Sync for RwSlot {}

impl RwSlot {
    /// Allocates an idle slot. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: It is idle and there are no contexts.
        Ok(Self {
            state: Atomic::new(Fill::Idle),
            contents: UnsafeCell::new(Contents {
                filled: None,
                sg: SgList::empty(),
                one: KBox::new(Ctx::new(), GFP_KERNEL)?,
                one_used: false,
                many: KVVec::new(),
                lists: KVVec::new(),
                own: KVec::new(),
            }),
        })
    }

    /// Prepares the transfer of `total` bytes between the start of `sg` and the remote memory
    /// `segs`, which is used in order. Maps `sg` for the device (`rdma_rw_ctx_init`). Returns the
    /// number of work requests of the transfer. Process context, may sleep.
    ///
    /// # Errors
    ///
    /// With every error, the list is returned to its lender.
    ///
    /// - `EBUSY`: the slot is not idle.
    /// - `EINVAL`: `total` is 0, more than `sg` holds, or more than the segments hold.
    /// - `E2BIG`: more work requests or memory regions than the queue pair can ever have.
    /// - `EAGAIN`: no memory region is free now; the end of other transfers frees some.
    /// - `EPIPE`: the queue pair is being torn down.
    /// - `ENOMEM`, `EIO`: allocating memory or mapping it failed.
    pub(crate) fn fill<O: QpOwner>(
        &self,
        qp: &QueuePair<O>,
        sg: SgList,
        segs: impl Iterator<Item = RemoteSeg>,
        total: u32,
        dir: RwDir,
    ) -> Result<u32> {
        self.state
            .cmpxchg(Fill::Idle, Fill::Busy, Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant the contents are ours in `Busy`.
        let contents = unsafe { &mut *self.contents.get() };
        match contents.fill(qp.core(), sg, segs, total, dir) {
            Ok(wrs) => {
                // INVARIANT: The contexts are initialised.
                self.state.store(Fill::Filled, Release);
                Ok(wrs)
            }
            Err(e) => {
                // INVARIANT: `Contents::fill` left no context.
                self.state.store(Fill::Idle, Release);
                Err(e)
            }
        }
    }

    /// Prepares a READ of all of `seg` into memory owned by the slot. The memory is allocated here;
    /// [`RwSlot::take_own`] takes it after the READ. Process context, may sleep.
    ///
    /// # Errors
    ///
    /// Those of [`RwSlot::fill`].
    pub(crate) fn fill_own<O: QpOwner>(&self, qp: &QueuePair<O>, seg: RemoteSeg) -> Result<u32> {
        self.state
            .cmpxchg(Fill::Idle, Fill::Busy, Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant the contents are ours in `Busy`.
        let contents = unsafe { &mut *self.contents.get() };
        let result = contents.fill_own(qp.core(), seg);
        // INVARIANT: With `Ok` the context is initialised, otherwise there is none.
        let state = if result.is_ok() {
            Fill::Filled
        } else {
            Fill::Idle
        };
        self.state.store(state, Release);
        result
    }

    /// Takes the memory owned by the slot. Its contents are undefined, though initialised, unless
    /// the READ completed successfully. Returns an empty vector if [`RwSlot::fill_own`] did not
    /// succeed since the last call.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the slot is not idle.
    pub(crate) fn take_own(&self) -> Result<KVec<u8>> {
        self.state
            .cmpxchg(Fill::Idle, Fill::Busy, Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant the contents are ours in `Busy`. There is no context, so
        // the device does not write to the memory.
        let own = unsafe { core::mem::take(&mut (*self.contents.get()).own) };
        // INVARIANT: There is still no context.
        self.state.store(Fill::Idle, Release);
        Ok(own)
    }

    /// Cancels a transfer that was prepared but not posted, which makes the slot idle. Does nothing
    /// otherwise. Returns whether the slot is idle: `false` if it is posted or another task has it.
    /// May sleep.
    pub(crate) fn cancel(&self) -> bool {
        match self.state.cmpxchg(Fill::Filled, Fill::Busy, Full) {
            Ok(_) => {
                // SAFETY: By the type invariant the contents are ours in `Busy`, and were filled.
                unsafe { (*self.contents.get()).destroy() };
                // INVARIANT: No contexts are left.
                self.state.store(Fill::Idle, Release);
                true
            }
            Err(state) => state == Fill::Idle,
        }
    }

    /// Returns whether a transfer is prepared but not posted.
    pub(crate) fn is_filled(&self) -> bool {
        self.state.load(Acquire) == Fill::Filled
    }

    /// Marks the slot as posted, for a transfer on `core` that the caller then posts. Returns the
    /// number of its work requests.
    ///
    /// # Errors
    ///
    /// `EINVAL` if nothing is prepared, or not in this direction and for this queue pair.
    pub(super) fn begin_post(&self, core: &QpCore, dir: RwDir) -> Result<u32> {
        self.state
            .cmpxchg(Fill::Filled, Fill::Busy, Full)
            .map_err(|_| EINVAL)?;
        // SAFETY: By the type invariant the contents are ours in `Busy`.
        let contents = unsafe { &*self.contents.get() };
        match &contents.filled {
            Some(filled) if filled.dir == dir && filled.core.is_of(core) => {
                let wrs = filled.wrs;
                // INVARIANT: It is about to be posted, and owned by the task that posts it.
                self.state.store(Fill::Posted, Release);
                Ok(wrs)
            }
            _ => {
                self.state.store(Fill::Filled, Release);
                Err(EINVAL)
            }
        }
    }

    /// Undoes [`Self::begin_post`] after a post that failed.
    ///
    /// # Safety
    ///
    /// The caller must have begun the post, and the device must not have accepted any of it.
    pub(super) unsafe fn abort_post(&self) {
        // INVARIANT: The contexts are as before.
        self.state.store(Fill::Filled, Release);
    }

    /// Builds the chain of work requests (`rdma_rw_ctx_wrs`), with `tail` at its end. If `tail` is
    /// NULL, the last request of the transfer is signaled and completes to `cqe`.
    ///
    /// # Safety
    ///
    /// The caller must have begun the post. `tail` must be valid until the chain was posted.
    pub(super) unsafe fn chain(
        &self,
        cqe: *mut bindings::ib_cqe,
        tail: *mut bindings::ib_send_wr,
    ) -> *mut bindings::ib_send_wr {
        // SAFETY: By the type invariant the contents are the caller's in `Posted`.
        let contents = unsafe { &mut *self.contents.get() };
        let Some(filled) = &contents.filled else {
            return tail;
        };
        let (qp, port) = (filled.core.as_raw(), filled.core.port_num());
        let mut next = tail;
        let one = contents.one_used.then_some(&mut *contents.one);
        for ctx in Iterator::chain(contents.many.iter_mut().rev(), one) {
            let cqe = if next.is_null() { cqe } else { ptr::null_mut() };
            // SAFETY: By the type invariant the context is initialised, for this queue pair, which
            // exists. Either there is a next request or an entry.
            next = unsafe { bindings::rdma_rw_ctx_wrs(ctx.raw.as_mut_ptr(), qp, port, cqe, next) };
        }
        next
    }

    /// Ends the transfer after its completion: unmaps the engine's buffer (`rdma_rw_ctx_destroy`)
    /// and returns it.
    ///
    /// # Safety
    ///
    /// Called by the completion of the post, once.
    pub(super) unsafe fn end_post(&self) {
        if self.state.load(Acquire) != Fill::Posted {
            return;
        }
        // SAFETY: By the type invariant the contents are the completion's in `Posted`.
        unsafe { (*self.contents.get()).destroy() };
        // INVARIANT: No contexts are left.
        self.state.store(Fill::Idle, Release);
    }
}

impl Drop for RwSlot {
    fn drop(&mut self) {
        // A posted slot cannot be dropped: its owner is held by the completion.
        self.cancel();
    }
}

impl Contents {
    /// See [`RwSlot::fill`]. On failure, `self` is empty.
    fn fill(
        &mut self,
        core: &QpCore,
        sg: SgList,
        mut segs: impl Iterator<Item = RemoteSeg>,
        total: u32,
        dir: RwDir,
    ) -> Result<u32> {
        let capacity = sg.capacity();
        if total == 0 || capacity < total as usize {
            return Err(EINVAL);
        }
        // The queue pair cannot be destroyed while a caller is inside, nor while it is held.
        let core = core.enter().ok_or(EPIPE)?;
        self.filled = Some(Filled {
            core: QpCore::hold(&core)?,
            dir,
            wrs: 0,
        });
        self.sg = sg;
        let first = segs.find(|seg| seg.len != 0);
        let result = match first {
            Some(seg) if seg.len >= total && capacity == total as usize => self.fill_one(seg),
            Some(seg) => self.fill_many(seg, segs, total),
            None => Err(EINVAL),
        };
        let result = result.and_then(|wrs| {
            if wrs < core.sq_capacity() {
                Ok(wrs)
            } else {
                Err(E2BIG)
            }
        });
        match (&result, &mut self.filled) {
            (Ok(wrs), Some(filled)) => filled.wrs = *wrs,
            _ => self.destroy(),
        }
        result
    }

    /// See [`RwSlot::fill_own`]. On failure, `self` is empty.
    fn fill_own(&mut self, core: &QpCore, seg: RemoteSeg) -> Result<u32> {
        let result = self.try_fill_own(core, seg);
        if result.is_err() {
            self.own = KVec::new();
            self.lists = KVVec::new();
        }
        result
    }

    fn try_fill_own(&mut self, core: &QpCore, seg: RemoteSeg) -> Result<u32> {
        let len = seg.len as usize;
        let flags = GFP_KERNEL | __GFP_NOWARN;
        self.own = KVec::from_elem(0, len, flags)?;
        self.lists = KVVec::from_elem(Default::default(), 1, flags)?;
        let sgl = self.lists.as_mut_ptr();
        // SAFETY: There is one entry. The bytes came from `kmalloc`, so they are contiguous and
        // have pages; there are `seg.len` of them.
        unsafe { bindings::sg_init_one(sgl, self.own.as_mut_ptr().cast(), seg.len) };
        // SAFETY: The list is the one just made. It and the bytes stay in place until `destroy`,
        // which drops the result, and nothing accesses the bytes before.
        let sg = unsafe { SgList::own(sgl, 1, len) };
        self.fill(core, sg, core::iter::once(seg), seg.len, RwDir::Read)
    }

    /// Prepares the transfer of the engine's whole list with one segment of remote memory.
    fn fill_one(&mut self, seg: RemoteSeg) -> Result<u32> {
        let filled = self.filled.as_ref().ok_or(EINVAL)?;
        self.one.sgl = self.sg.as_raw();
        self.one.nents = self.sg.nents();
        let wrs = self.one.init(filled, seg)?;
        self.one_used = true;
        Ok(wrs)
    }

    /// Prepares a transfer with several segments, or with a list that is longer than the data.
    fn fill_many(
        &mut self,
        first: RemoteSeg,
        rest: impl Iterator<Item = RemoteSeg>,
        total: u32,
    ) -> Result<u32> {
        let mut used = KVVec::new();
        let mut left = total;
        for seg in Iterator::chain(core::iter::once(first), rest) {
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
        // On devices that use memory regions, more contexts than `max_rdma_ctxs` would fail with
        // `EAGAIN` for ever.
        if used.len()
            > self
                .filled
                .as_ref()
                .map_or(0, |filled| filled.core.rdma_ctxs())
        {
            return Err(E2BIG);
        }

        // Every entry is used once, plus once more for every boundary between segments.
        let max = (self.sg.nents() as usize)
            .checked_add(used.len())
            .ok_or(EINVAL)?;
        self.lists = KVVec::from_elem(Default::default(), max, GFP_KERNEL)?;
        let lists = self.lists.as_mut_ptr();
        // SAFETY: There are that many entries.
        unsafe { bindings::sg_init_table(lists, u32::try_from(max)?) };
        self.many = KVVec::with_capacity(used.len(), GFP_KERNEL)?;

        let mut source = Source {
            sg: self.sg.as_raw(),
            left: self.sg.nents(),
            skip: 0,
        };
        let mut at = 0usize;
        let mut wrs = 0u32;
        for seg in used.iter() {
            let begin = at;
            let mut need = seg.len;
            while need != 0 {
                if at >= max {
                    return Err(EINVAL);
                }
                // SAFETY: `at` is within the table.
                let entry = unsafe { lists.add(at) };
                let len = source.take(entry, need)?;
                need -= len;
                at += 1;
            }
            // SAFETY: At least one entry was taken, so `at - 1` is within the table.
            unsafe { bindings::srpt_sg_mark_end(lists.add(at - 1)) };
            let filled = self.filled.as_ref().ok_or(EINVAL)?;
            let ctx = Ctx {
                // SAFETY: `begin` is within the table.
                sgl: unsafe { lists.add(begin) },
                nents: u32::try_from(at - begin)?,
                ..Ctx::new()
            };
            self.many.push_within_capacity(ctx).map_err(|_| ENOMEM)?;
            // An initialised context must not move, so it is initialised in the vector.
            match self.many.last_mut().map(|ctx| ctx.init(filled, *seg)) {
                Some(Ok(n)) => wrs = wrs.saturating_add(n),
                failed => {
                    // Everything that stays in the vector is initialised.
                    self.many.pop();
                    return failed.unwrap_or(Err(EINVAL));
                }
            }
        }
        Ok(wrs)
    }

    /// Destroys all contexts, returns the list and releases the queue pair.
    fn destroy(&mut self) {
        let Some(filled) = self.filled.take() else {
            return;
        };
        if self.one_used {
            self.one_used = false;
            // SAFETY: It is initialised and not posted (any more).
            unsafe { self.one.destroy(&filled) };
        }
        for ctx in self.many.iter_mut() {
            // SAFETY: All contexts in the vector are initialised and not posted (any more).
            unsafe { ctx.destroy(&filled) };
        }
        // The drop of an empty vector calls the allocator.
        if self.lists.capacity() != 0 {
            self.many = KVVec::new();
            self.lists = KVVec::new();
        }
        // The pages are not mapped any more, so the lender may have them back.
        self.sg = SgList::empty();
        drop(filled);
    }
}

impl Ctx {
    /// Initialises the context for its scatterlist. Returns the number of work requests.
    fn init(&mut self, filled: &Filled, seg: RemoteSeg) -> Result<u32> {
        // SAFETY: The list has that many entries, by the invariant of `SgList` or because
        // `fill_many` built it. The queue pair exists, because it is held.
        let ret = unsafe {
            bindings::rdma_rw_ctx_init(
                self.raw.as_mut_ptr(),
                filled.core.as_raw(),
                filled.core.port_num(),
                self.sgl,
                self.nents,
                0,
                seg.addr,
                seg.key,
                filled.dir.dma().as_raw(),
            )
        };
        u32::try_from(ret).map_err(|_| Error::from_errno(ret))
    }

    /// Destroys the context.
    ///
    /// # Safety
    ///
    /// It must be initialised with `filled`, and all of its work must have completed.
    unsafe fn destroy(&mut self, filled: &Filled) {
        // SAFETY: The caller promises that it is initialised and complete; the rest is what it was
        // initialised with. The queue pair exists, because it is still held.
        unsafe {
            bindings::rdma_rw_ctx_destroy(
                self.raw.as_mut_ptr(),
                filled.core.as_raw(),
                filled.core.port_num(),
                self.sgl,
                self.nents,
                filled.dir.dma().as_raw(),
            );
        }
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

/// Declares that a type contains its one transfer. Implemented by [`impl_has_rw!`].
///
/// # Safety
///
/// The function must return the same slot, which belongs to this object, every time.
pub(crate) unsafe trait HasRw {
    /// Returns the transfer.
    fn rw(&self) -> &RwSlot;
}

/// Safely implements [`HasRw`]: `impl_has_rw! { impl HasRw for Command { self.rw } }`.
macro_rules! impl_has_rw {
    ($(impl$({$($generics:tt)*})? HasRw for $self:ty { self.$field:ident })*) => {$(
        // SAFETY: It is a field of the type `RwSlot`, always the same: `offset_of!` takes none that
        // is reached through a `Deref`.
        unsafe impl$(<$($generics)*>)? $crate::rdma::rw::HasRw for $self {
            #[inline]
            fn rw(&self) -> &$crate::rdma::rw::RwSlot {
                let _ = ::core::mem::offset_of!(Self, $field);
                let field: *const $crate::rdma::rw::RwSlot = &raw const self.$field;
                // SAFETY: A pointer to a field of a reference, for as long as the reference.
                unsafe { &*field }
            }
        }
    )*};
}
pub(crate) use impl_has_rw;
