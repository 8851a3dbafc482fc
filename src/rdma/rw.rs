// SPDX-License-Identifier: GPL-2.0

//! RDMA READ and WRITE between an engine's buffer and the memory a peer has described.
//!
//! C header: [`include/rdma/rw.h`](srctree/include/rdma/rw.h)
//!
//! `rdma_rw_ctx` moves data between whole scatterlist entries and one piece of remote memory. SRP
//! commands describe any number of pieces, so a [`RwSlot`] has one context per piece, each with a
//! scatterlist of its own; for the common case of one piece the engine's list is used as it is.
//!
//! Posting is in [`super::qp`].

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

/// A piece of remote memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RemoteSeg {
    /// Virtual address at the peer.
    pub(crate) addr: u64,
    /// Remote key.
    pub(crate) key: u32,
    /// Length in bytes.
    pub(crate) len: u32,
}

/// Direction of a transfer, as the verbs call it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RwDir {
    /// RDMA READ: from the peer into the engine's buffer.
    Read,
    /// RDMA WRITE: from the engine's buffer to the peer.
    Write,
}

impl RwDir {
    /// The direction for the DMA mapping.
    fn dma(self) -> DmaDir {
        match self {
            Self::Read => DmaDir::FromDevice,
            Self::Write => DmaDir::ToDevice,
        }
    }
}

/// Nothing in the slot.
const IDLE: u32 = 0;
/// One task has exclusive access.
const BUSY: u32 = 1;
/// Contexts are ready to be posted.
const FILLED: u32 = 2;
/// The device moves data.
const POSTED: u32 = 3;

/// One context, and what it was made from. Must not move between init and destruction.
struct Ctx {
    raw: MaybeUninit<bindings::rdma_rw_ctx>,
    sgl: *mut bindings::scatterlist,
    nents: u32,
}

impl Ctx {
    /// Not initialised.
    const fn new() -> Self {
        Self {
            raw: MaybeUninit::uninit(),
            sgl: ptr::null_mut(),
            nents: 0,
        }
    }
}

/// What a filled slot holds.
struct Filled {
    core: Stay<QpCore, HELD>,
    dir: RwDir,
    wrs: u32,
}

/// The contents of a slot.
struct Contents {
    filled: Option<Filled>,
    /// The list that the contexts were made from.
    sg: SgList,
    /// The context of the common case, in memory of its own so that the slot may be moved.
    one: KBox<Ctx>,
    one_used: bool,
    /// The contexts otherwise; never grown once there is one, so they do not move.
    many: KVVec<Ctx>,
    /// Their scatterlists, one after the other; for `own`, its one entry.
    lists: KVVec<bindings::scatterlist>,
    /// Memory of the slot itself, see [`RwSlot::fill_own`]. Contiguous, because one entry describes
    /// it. Not touched while there is a context.
    own: KVec<u8>,
}

/// The RDMA transfer of one command.
///
/// A slot goes from idle to filled ([`RwSlot::fill`]), to posted (`QueuePair::post_read`,
/// `QueuePair::post_write_send`), and back to idle with the completion; [`RwSlot::cancel`] takes
/// it from filled to idle. While it is not idle, the queue pair cannot be destroyed.
///
/// The slot owns the list it was filled from, whose pages are mapped for the device, and gives it
/// back to the engine when it is idle again.
///
/// # Invariants
///
/// - The task that changed `state` to `BUSY` owns `contents`; in `POSTED`, the completion does.
/// - In `FILLED` and `POSTED`, `contents.filled` is set and there is at least one initialised
///   context, all of them for its queue pair, which it holds, and of the list `contents.sg` or of
///   `contents.lists`, which is about the same pages. Otherwise there are none.
pub(crate) struct RwSlot {
    state: Atomic<u32>,
    contents: UnsafeCell<Contents>,
}

// SAFETY: Contexts may be posted and destroyed by any task.
unsafe impl Send for RwSlot {}
// SAFETY: By the type invariant `state` gives exclusive access to the contents.
unsafe impl Sync for RwSlot {}

impl RwSlot {
    /// An idle slot. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: It is idle and there are no contexts.
        Ok(Self {
            state: Atomic::new(IDLE),
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
    /// number of work requests it takes. Process context, may sleep.
    ///
    /// # Errors
    ///
    /// With the list given back to its lender:
    ///
    /// - `EBUSY`: the slot is not idle.
    /// - `EINVAL`: `total` is 0, more than `sg` holds, or more than the segments hold.
    /// - `E2BIG`: more work requests or memory regions than the queue pair can ever have.
    /// - `EAGAIN`: no memory region is free now; some will be when other transfers have ended.
    /// - `EPIPE`: the queue pair is being torn down.
    /// - `ENOMEM`, `EIO`: no memory, or it cannot be mapped.
    pub(crate) fn fill<O: QpOwner>(
        &self,
        qp: &QueuePair<O>,
        sg: SgList,
        segs: impl Iterator<Item = RemoteSeg>,
        total: u32,
        dir: RwDir,
    ) -> Result<u32> {
        self.state.cmpxchg(IDLE, BUSY, Full).map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant the contents are ours in `BUSY`.
        let contents = unsafe { &mut *self.contents.get() };
        match contents.fill(qp.core(), sg, segs, total, dir) {
            Ok(wrs) => {
                // INVARIANT: The contexts are initialised.
                self.state.store(FILLED, Release);
                Ok(wrs)
            }
            Err(e) => {
                // INVARIANT: `Contents::fill` left no context.
                self.state.store(IDLE, Release);
                Err(e)
            }
        }
    }

    /// Prepares a READ of all of `seg` into memory of the slot's own, which is allocated here and to
    /// be taken with [`RwSlot::take_own`] afterwards. Process context, may sleep.
    ///
    /// # Errors
    ///
    /// Those of [`RwSlot::fill`].
    pub(crate) fn fill_own<O: QpOwner>(&self, qp: &QueuePair<O>, seg: RemoteSeg) -> Result<u32> {
        self.state.cmpxchg(IDLE, BUSY, Full).map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant the contents are ours in `BUSY`.
        let contents = unsafe { &mut *self.contents.get() };
        let result = contents.fill_own(qp.core(), seg);
        // INVARIANT: With `Ok` the context is initialised, otherwise there is none.
        let state = if result.is_ok() { FILLED } else { IDLE };
        self.state.store(state, Release);
        result
    }

    /// The slot's own memory, of any contents unless the READ has completed with success; empty if
    /// nothing was read since it was taken last.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the slot is not idle.
    pub(crate) fn take_own(&self) -> Result<KVec<u8>> {
        self.state.cmpxchg(IDLE, BUSY, Full).map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant the contents are ours in `BUSY`. There is no context, so
        // the device does not write to the memory.
        let own = unsafe { core::mem::take(&mut (*self.contents.get()).own) };
        // INVARIANT: There is still no context.
        self.state.store(IDLE, Release);
        Ok(own)
    }

    /// Gives up a transfer that was prepared but not posted; afterwards the slot is idle. Does
    /// nothing otherwise: returns `false` if the slot is posted. May sleep.
    pub(crate) fn cancel(&self) -> bool {
        match self.state.cmpxchg(FILLED, BUSY, Full) {
            Ok(_) => {
                // SAFETY: By the type invariant the contents are ours in `BUSY`, and were filled.
                unsafe { (*self.contents.get()).destroy() };
                // INVARIANT: No contexts are left.
                self.state.store(IDLE, Release);
                true
            }
            Err(state) => state == IDLE,
        }
    }

    /// Whether a transfer is prepared but not posted.
    pub(crate) fn is_filled(&self) -> bool {
        self.state.load(Acquire) == FILLED
    }

    /// Work requests of the transfer on `core`, and the right to post it. The slot is posted from
    /// now on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if nothing is prepared, or not in this direction and for this queue pair.
    pub(super) fn begin_post(&self, core: &QpCore, dir: RwDir) -> Result<u32> {
        self.state.cmpxchg(FILLED, BUSY, Full).map_err(|_| EINVAL)?;
        // SAFETY: By the type invariant the contents are ours in `BUSY`.
        let contents = unsafe { &*self.contents.get() };
        match &contents.filled {
            Some(filled) if filled.dir == dir && filled.core.is_of(core) => {
                let wrs = filled.wrs;
                // INVARIANT: It is about to be posted, and owned by the task that posts it.
                self.state.store(POSTED, Release);
                Ok(wrs)
            }
            _ => {
                self.state.store(FILLED, Release);
                Err(EINVAL)
            }
        }
    }

    /// Undoes [`Self::begin_post`] after a post that failed.
    ///
    /// # Safety
    ///
    /// The caller must have begun the post, and the device must not have got any of it.
    pub(super) unsafe fn abort_post(&self) {
        // INVARIANT: The contexts are as before.
        self.state.store(FILLED, Release);
    }

    /// The chain of work requests, with `tail` (or NULL) at its end; without a tail the last
    /// request is signaled and completes to `cqe`.
    ///
    /// # Safety
    ///
    /// The caller must have begun the post. `tail` must be valid until the chain was posted.
    pub(super) unsafe fn chain(
        &self,
        cqe: *mut bindings::ib_cqe,
        tail: *mut bindings::ib_send_wr,
    ) -> *mut bindings::ib_send_wr {
        // SAFETY: By the type invariant the contents are the caller's in `POSTED`.
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

    /// The device has finished: unmaps the engine's buffer (`rdma_rw_ctx_destroy`), and gives it back.
    ///
    /// # Safety
    ///
    /// Called by the completion of the post, once.
    pub(super) unsafe fn end_post(&self) {
        if self.state.load(Acquire) != POSTED {
            return;
        }
        // SAFETY: By the type invariant the contents are the completion's in `POSTED`.
        unsafe { (*self.contents.get()).destroy() };
        // INVARIANT: No contexts are left.
        self.state.store(IDLE, Release);
    }
}

impl Drop for RwSlot {
    fn drop(&mut self) {
        // A posted slot cannot be dropped: its owner is held by the completion.
        self.cancel();
    }
}

impl Contents {
    /// See [`RwSlot::fill`]. On failure, nothing is left in `self`.
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
        // The queue pair cannot go away while we are inside, nor while it is held.
        let inside = core.enter().ok_or(EPIPE)?;
        self.filled = Some(Filled {
            core: core.hold(&inside)?,
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

    /// See [`RwSlot::fill_own`]. On failure, nothing is left in `self`.
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
        // SAFETY: The list is the one just made. It and the bytes stay in place until `destroy`, which
        // drops the result, and nothing looks at the bytes before.
        let sg = unsafe { SgList::own(sgl, 1, len) };
        self.fill(core, sg, core::iter::once(seg), seg.len, RwDir::Read)
    }

    /// One piece of remote memory for the whole of the engine's list.
    fn fill_one(&mut self, seg: RemoteSeg) -> Result<u32> {
        let filled = self.filled.as_ref().ok_or(EINVAL)?;
        self.one.sgl = self.sg.as_raw();
        self.one.nents = self.sg.nents();
        let wrs = self.one.init(filled, seg)?;
        self.one_used = true;
        Ok(wrs)
    }

    /// Several pieces, or a list that is longer than the data.
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
        // Otherwise it would be tried again for ever on devices that run out of memory regions.
        if used.len()
            > self
                .filled
                .as_ref()
                .map_or(0, |filled| filled.core.rdma_ctxs())
        {
            return Err(E2BIG);
        }

        // Every entry is used once, plus once more for every border between segments.
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
            // It has to be in its place before it is initialised.
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

    /// Destroys all contexts, gives the list back, and lets go of the queue pair.
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
        self.many = KVVec::new();
        self.lists = KVVec::new();
        // The pages are not mapped any more.
        self.sg = SgList::empty();
        drop(filled);
    }
}

impl Ctx {
    /// Initialises the context for the scatterlist in it. Returns the number of work requests.
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
    /// Entries left, with the current one.
    left: u32,
    /// Bytes of the current entry that are used already.
    skip: u32,
}

impl Source {
    /// Makes `entry` refer to the next bytes, at most `max`; returns how many.
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
    /// The transfer.
    fn rw(&self) -> &RwSlot;
}

/// Safely implements [`HasRw`]: `impl_has_rw! { impl HasRw for Command { self.rw } }`.
macro_rules! impl_has_rw {
    ($(impl$({$($generics:tt)*})? HasRw for $self:ty { self.$field:ident })*) => {$(
        // SAFETY: It is a field of the type `RwSlot`, always the same: `offset_of!` takes none that is
        // reached through a `Deref`.
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
