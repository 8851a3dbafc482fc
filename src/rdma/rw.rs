// SPDX-License-Identifier: GPL-2.0

//! RDMA READ and WRITE between an engine's buffer and memory that a peer has described.
//!
//! C header: [`include/rdma/rw.h`](srctree/include/rdma/rw.h)
//!
//! `rdma_rw_ctx` moves data between whole scatterlist entries and one segment of remote memory. SRP
//! commands describe any number of segments, so a [`RwSlot`] has one context per segment, each with
//! a scatterlist of its own; in the common case of one segment, the engine's list is used as it is.
//! A transfer that is too large for the send queue is posted in parts ([`ctxs`]).
//!
//! Not here: posting ([`super::qp`]), scatterlists of the engine ([`super::sg`]).

use core::{
    cell::UnsafeCell,
    ffi::c_int, //
};

use kernel::{
    prelude::*,
    types::Opaque, //
};

use super::{
    dma::DmaDir,
    fill::Fill,
    qp::{
        core::{
            Caller,
            QpCore, //
        },
        QpOwner,
        QueuePair, //
    },
    sg::SgList, //
};
use crate::{
    bindings,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Release, //
    }, //
};

mod ctxs;

use ctxs::{
    Ctxs,
    Keeper,
    Purpose, //
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

/// A part of a transfer: the work requests that are posted together.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Number of requests, without a SEND.
    pub(super) wrs: u32,
    /// It is the last: it completes the transfer, or the SEND follows it.
    pub(super) is_last: bool,
}

/// The SEND after RDMA WRITEs, as it is kept until the last part of these is posted.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    /// The response.
    pub(super) sge: bindings::ib_sge,
    /// Flags of the request.
    pub(super) flags: c_int,
}

impl Tail {
    /// Returns the request, without the entry that it completes to. `sge` must stay valid until it
    /// is posted.
    pub(super) fn request(sge: &mut bindings::ib_sge, flags: c_int) -> bindings::ib_send_wr {
        bindings::ib_send_wr {
            sg_list: sge,
            num_sge: 1,
            opcode: bindings::ib_wr_opcode_IB_WR_SEND,
            send_flags: flags,
            ..pin_init::zeroed()
        }
    }
}

/// The contents of a slot.
struct Contents {
    purpose: Option<Purpose>,
    /// The list that the contexts were initialised from.
    sg: SgList,
    ctxs: Ctxs,
    tail: Option<Tail>,
    /// Memory owned by the slot, see [`RwSlot::fill_own`]. Not accessed while there is a context.
    own: Option<KVec<u8>>,
    /// The list that describes it: it is contiguous.
    own_list: Opaque<bindings::scatterlist>,
}

/// The RDMA transfer of one command.
///
/// States: idle, filled ([`RwSlot::fill`]), posted (`QueuePair::post_read`,
/// `QueuePair::post_write_send`), and idle again after the completion; [`RwSlot::cancel`] changes
/// filled to idle. The queue pair cannot be destroyed while the slot is filled; while it is posted,
/// only if the device does not complete it, see [`super::qp::stuck`].
///
/// The slot owns the list it was filled from, whose pages are mapped for the device, and returns it
/// to the engine when it becomes idle.
///
/// # Invariants
///
/// - The task that changed `state` to `Busy` owns `contents`; in `Posted`, the completion does.
/// - In `Filled` and `Posted`, `contents.purpose` is set, `contents.ctxs` are built for it and for
///   the list `contents.sg`, and in `Filled` they are before their first part. Otherwise there are
///   no contexts.
/// - In `Filled`, `contents.purpose` keeps the queue pair. In `Posted`, the caller that posts it
///   does, and then the entry to which it completes.
/// - It is pinned, so the contents do not move.
#[pin_data(PinnedDrop)]
pub(crate) struct RwSlot {
    state: Atomic<Fill>,
    #[pin]
    contents: UnsafeCell<Contents>,
}

// SAFETY: Contexts may be posted and destroyed by any task.
unsafe impl Send for RwSlot {}
// SAFETY: By the type invariant `state` gives exclusive access to the contents.
unsafe impl Sync for RwSlot {}

impl RwSlot {
    /// Initialises an idle slot.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: It is idle and there are no contexts. There is no other way to make one, so it
        // is pinned.
        pin_init!(Self {
            state: Atomic::new(Fill::Idle),
            contents: UnsafeCell::new(Contents {
                purpose: None,
                sg: SgList::empty(),
                ctxs: Ctxs::new(),
                tail: None,
                own: None,
                own_list: Opaque::uninit(),
            }),
        })
    }

    /// Prepares the transfer of `total` bytes between the start of `sg` and the remote memory
    /// `segs`, which is used in order. Maps `sg` for the device (`rdma_rw_ctx_init`). Returns the
    /// number of work requests that the transfer has posted at a time. Process context, may sleep.
    ///
    /// # Errors
    ///
    /// With every error, the list is returned to its lender.
    ///
    /// - `EBUSY`: the slot is not idle.
    /// - `EINVAL`: `total` is 0, more than `sg` holds, or more than the segments hold.
    /// - `E2BIG`: more memory regions than the queue pair can ever have.
    /// - `EAGAIN`: no memory region is free now; the end of other transfers frees some.
    /// - `EPIPE`: the queue pair is being torn down.
    /// - `ENOMEM`, `EIO`: allocating memory or mapping it failed.
    pub(crate) fn fill<O: QpOwner>(
        &self,
        qp: &QueuePair<O>,
        sg: SgList,
        segs: impl Iterator<Item = RemoteSeg> + Clone,
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
    /// the READ completed successfully.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the slot is not idle, `ENOENT` if [`RwSlot::fill_own`] did not succeed since the
    /// last call.
    pub(crate) fn take_own(&self) -> Result<KVec<u8>> {
        self.state
            .cmpxchg(Fill::Idle, Fill::Busy, Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant the contents are ours in `Busy`. There is no context, so
        // the device does not write to the memory.
        let own = unsafe { (*self.contents.get()).own.take() };
        // INVARIANT: There is still no context.
        self.state.store(Fill::Idle, Release);
        own.ok_or(ENOENT)
    }

    /// Cancels a transfer that was prepared but not posted, which makes the slot idle. Does nothing
    /// otherwise. Returns whether the slot is idle: `false` if it is posted or another task has it.
    /// May sleep.
    pub(crate) fn cancel(&self) -> bool {
        match self.state.cmpxchg(Fill::Filled, Fill::Busy, Full) {
            Ok(_) => {
                // SAFETY: By the type invariant the contents are ours in `Busy`, and were filled.
                let contents = unsafe { &mut *self.contents.get() };
                contents.destroy();
                contents.own = None;
                // INVARIANT: No contexts are left.
                self.state.store(Fill::Idle, Release);
                true
            }
            // An exchange that fails orders nothing: what made the slot idle is seen from here on.
            Err(_) => self.state.load(Acquire) == Fill::Idle,
        }
    }

    /// Returns whether a transfer is prepared but not posted.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.state.load(Acquire) == Fill::Filled
    }

    /// Marks the slot as posted, for a transfer on `core` whose first part the caller then posts.
    ///
    /// # Errors
    ///
    /// `EINVAL` if nothing is prepared, or not in this direction and for this queue pair.
    #[inline]
    pub(super) fn begin_post(&self, core: &Caller<'_>, dir: RwDir) -> Result<Part> {
        self.state
            .cmpxchg(Fill::Filled, Fill::Busy, Full)
            .map_err(|_| EINVAL)?;
        // SAFETY: By the type invariant the contents are ours in `Busy`.
        let contents = unsafe { &mut *self.contents.get() };
        match &mut contents.purpose {
            Some(purpose) if purpose.dir == dir && purpose.core.is_of(core) => {
                // The queue pair is kept by `core` until the entry does.
                purpose.core.hand_over();
                let part = contents.ctxs.next(purpose);
                // INVARIANT: It is about to be posted, and owned by the task that posts it.
                self.state.store(Fill::Posted, Release);
                Ok(part)
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
    /// The caller must have begun the post on `core`, and the device must not have accepted any of
    /// it.
    pub(super) unsafe fn abort_post(&self, core: &Caller<'_>) {
        // SAFETY: By the type invariant the contents are the caller's in `Posted`.
        let contents = unsafe { &mut *self.contents.get() };
        let state = match (&mut contents.purpose, QpCore::hold(core)) {
            (Some(purpose), Ok(stay)) => {
                purpose.core = Keeper::new(stay);
                contents.ctxs.rewind();
                Fill::Filled
            }
            // Callers can always hold the queue pair.
            _ => {
                contents.destroy();
                Fill::Idle
            }
        };
        // INVARIANT: The contexts are as before, or there are none.
        self.state.store(state, Release);
    }

    /// Keeps the SEND that follows the last part.
    ///
    /// # Safety
    ///
    /// The caller must have begun the post.
    pub(super) unsafe fn keep_tail(&self, tail: Tail) {
        // SAFETY: By the type invariant the contents are the caller's in `Posted`.
        unsafe { (*self.contents.get()).tail = Some(tail) };
    }

    /// Goes on to the next part of a posted transfer, which the caller then posts; if it is the
    /// last, with the SEND that was kept. Returns [`None`] if there is none.
    ///
    /// # Safety
    ///
    /// Called by the completion of the part before.
    #[inline]
    pub(super) unsafe fn next_part(&self) -> Option<(Part, Option<Tail>)> {
        if self.state.load(Acquire) != Fill::Posted {
            return None;
        }
        // SAFETY: By the type invariant the contents are the completion's in `Posted`.
        let contents = unsafe { &mut *self.contents.get() };
        if !contents.ctxs.has_more() {
            return None;
        }
        let part = contents.ctxs.next(contents.purpose.as_ref()?);
        let tail = if part.is_last {
            contents.tail.take()
        } else {
            None
        };
        Some((part, tail))
    }

    /// Builds the chain of work requests of the current part; see [`Ctxs::chain`].
    ///
    /// # Safety
    ///
    /// The caller must have begun the post, or gone on to the part. `tail` must be valid until the
    /// chain was posted.
    pub(super) unsafe fn chain(
        &self,
        cqe: *mut bindings::ib_cqe,
        tail: *mut bindings::ib_send_wr,
    ) -> *mut bindings::ib_send_wr {
        // SAFETY: By the type invariant the contents are the caller's in `Posted`.
        let Contents { purpose, ctxs, .. } = unsafe { &mut *self.contents.get() };
        match purpose {
            Some(purpose) => ctxs.chain(purpose, cqe, tail),
            None => tail,
        }
    }

    /// Ends the transfer after its completion: unmaps the engine's buffer (`rdma_rw_ctx_destroy`)
    /// and returns it.
    ///
    /// # Safety
    ///
    /// Called by the completion of the post, once.
    #[inline]
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

#[pinned_drop]
impl PinnedDrop for RwSlot {
    fn drop(self: Pin<&mut Self>) {
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
        segs: impl Iterator<Item = RemoteSeg> + Clone,
        total: u32,
        dir: RwDir,
    ) -> Result<u32> {
        let capacity = sg.capacity();
        if total == 0 || capacity < total as usize {
            return Err(EINVAL);
        }
        // The queue pair cannot be destroyed while a caller is inside, nor while it is held.
        let core = core.enter().ok_or(EPIPE)?;
        let purpose = Purpose {
            core: Keeper::new(QpCore::hold(&core)?),
            dir,
        };
        let is_all = capacity == total as usize;
        let built = self.ctxs.build(&purpose, &sg, segs, total, is_all);
        self.purpose = Some(purpose);
        self.sg = sg;
        if built.is_err() {
            self.destroy();
        }
        built
    }

    /// See [`RwSlot::fill_own`]. On failure, `self` is empty.
    fn fill_own(&mut self, core: &QpCore, seg: RemoteSeg) -> Result<u32> {
        self.own = None;
        let len = seg.len as usize;
        let own = self
            .own
            .insert(KVec::from_elem(0, len, GFP_KERNEL | __GFP_NOWARN)?);
        let sgl = self.own_list.get();
        // SAFETY: There is one entry. The bytes came from `kmalloc`, so they are contiguous and
        // have pages; there are `seg.len` of them.
        unsafe { bindings::sg_init_one(sgl, own.as_mut_ptr().cast(), seg.len) };
        // SAFETY: The list is the one just made. It stays in place because the slot is pinned, and
        // so do the bytes until `destroy`, which drops the result; nothing accesses them before.
        let sg = unsafe { SgList::own(sgl, 1, len) };
        let result = self.fill(core, sg, core::iter::once(seg), seg.len, RwDir::Read);
        if result.is_err() {
            self.own = None;
        }
        result
    }

    /// Destroys all contexts, returns the list and releases the queue pair.
    #[inline]
    fn destroy(&mut self) {
        let Some(purpose) = self.purpose.take() else {
            return;
        };
        self.ctxs.destroy(&purpose);
        self.tail = None;
        // The pages are not mapped any more, so the lender may have them back.
        self.sg = SgList::empty();
        drop(purpose);
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
