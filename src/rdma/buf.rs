// SPDX-License-Identifier: GPL-2.0

//! Receive buffers and response buffers.
//!
//! Not here: their memory ([`super::dma`]), data buffers of commands, which the engine owns
//! ([`super::sg`]).

use core::{
    marker::PhantomPinned,
    slice, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    device::Device,
    dma::{
        DmaBuf,
        DmaDir,
        Supply,
        BLOCK, //
    },
    entry::Entry,
    fill::Fill, //
};
use crate::{
    bindings,
    sync::atomic::{
        Acquire,
        Atomic,
        AtomicFlag,
        Full,
        Relaxed,
        Release, //
    }, //
};

/// A receive buffer. It belongs to the owner of its box; posting passes the box to the hardware,
/// the completion returns it. `P` describes where it is posted; its default is "not posted".
#[repr(C)]
pub(crate) struct RecvBuf<P> {
    /// First, so that a pointer to it is also a pointer to the buffer.
    pub(super) cqe: Entry,
    pub(super) posted: P,
    pub(super) seat: Seat,
    area: Arc<Area>,
    _pin: PhantomPinned,
}

/// Place of a receive buffer in the table of the queue pair that it is posted to.
#[derive(Clone, Copy, Default)]
pub(super) struct Seat {
    /// Number of the table; 0 before the first post.
    pub(super) table: u64,
    pub(super) index: u32,
}

/// Memory of a receive buffer.
struct Area {
    dma: DmaBuf,
    /// Offset of the first byte that is received; less than the size of `dma`.
    start: usize,
    /// An [`Immediate`] refers to it, so it must not be posted.
    lent: AtomicFlag,
}

/// Immediate data in its receive buffer, lent to the engine. As long as this exists, the buffer
/// cannot be posted; the memory stays even if the buffer is dropped.
///
/// # Invariants
///
/// `area` is marked as lent by this object. `len` bytes from `at` are inside it; `len` is not 0.
pub(crate) struct Immediate {
    area: Arc<Area>,
    at: usize,
    len: u32,
}

impl Immediate {
    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns whether the data begins at a multiple of [`BLOCK`], as disks may require.
    pub(crate) fn is_aligned(&self) -> bool {
        let begin = self.area.dma.data().addr().get().checked_add(self.at);
        begin.is_some_and(|begin| begin % BLOCK == 0)
    }

    /// Makes `entry`, which is zeroed or was described before, a scatterlist of one entry that
    /// describes the data (`sg_set_buf`). The list is valid as long as this object.
    pub(crate) fn describe(&self, entry: &mut bindings::scatterlist) {
        // SAFETY: The entry is valid. By the type invariant the bytes are inside the buffer, which
        // is contiguous and has pages.
        unsafe {
            let data = self.area.dma.data().as_ptr().add(self.at);
            bindings::srpt_sg_set_one(entry, data.cast(), self.len);
        }
    }
}

impl Drop for Immediate {
    fn drop(&mut self) {
        self.area.lent.store(false, Release);
    }
}

/// New receive buffers of one size.
pub(crate) struct RecvBufs {
    supply: Supply,
    /// Offset of the first byte that is received.
    start: usize,
}

impl RecvBufs {
    /// Returns `count` buffers to be made, for information units of up to `len` bytes. Unless that
    /// takes more memory than the next power of two, the byte at offset `aligned` has an address
    /// that is a multiple of [`BLOCK`].
    ///
    /// # Errors
    ///
    /// `EINVAL` if `len` is 0 or too large.
    pub(crate) fn new(device: &Device, len: usize, aligned: usize, count: usize) -> Result<Self> {
        let room = len.checked_next_power_of_two().ok_or(EINVAL)?;
        let start = match (BLOCK - aligned % BLOCK) % BLOCK {
            start if start <= room.saturating_sub(len) => start,
            _ => 0,
        };
        let size = len.checked_add(start).ok_or(EINVAL)?;
        Ok(Self {
            supply: Supply::new(device, size, DmaDir::FromDevice, count)?,
            start,
        })
    }

    /// Makes the next buffer. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Supply::take`].
    pub(crate) fn take<P: Default>(&mut self) -> Result<Pin<KBox<RecvBuf<P>>>> {
        let area = Area {
            dma: self.supply.take()?,
            start: self.start,
            lent: AtomicFlag::new(false),
        };
        let buf = RecvBuf {
            cqe: Entry::new(None),
            posted: P::default(),
            seat: Seat::default(),
            area: Arc::new(area, GFP_KERNEL)?,
            _pin: PhantomPinned,
        };
        Ok(KBox::pin(buf, GFP_KERNEL)?)
    }
}

impl<P> RecvBuf<P> {
    /// Returns the first `len` bytes, or all if there are fewer: what was received last, followed
    /// by zeroes and older data.
    #[inline]
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        // SAFETY: By the invariant of `DmaBuf` there are that many initialised bytes. The buffer
        // is not posted, because no reference to a posted one exists, so the device does not
        // write to it.
        unsafe {
            let first = self.dma().data().as_ptr().add(self.area.start);
            slice::from_raw_parts(first, len.min(self.capacity()))
        }
    }

    /// Size of the largest information unit in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.dma().len().saturating_sub(self.area.start)
    }

    /// Returns a scatter/gather entry for an information unit.
    #[inline]
    pub(super) fn sge(&self, lkey: u32) -> bindings::ib_sge {
        let mut sge = self.dma().sge(u32::MAX, lkey);
        // CAST: Less than the size of the buffer, which is less than 4 GiB.
        let start = self.area.start as u32;
        sge.addr = sge.addr.wrapping_add(start.into());
        sge.length = sge.length.saturating_sub(start);
        sge
    }

    /// The memory.
    pub(super) fn dma(&self) -> &DmaBuf {
        &self.area.dma
    }

    /// Lends a part of [`Self::bytes`]. Returns `None` if the part is empty or not one of this
    /// buffer, or if a part is lent already.
    pub(crate) fn lend(&self, part: &[u8]) -> Option<Immediate> {
        let at = part
            .as_ptr()
            .addr()
            .checked_sub(self.dma().data().addr().get())?;
        if part.is_empty() || at.checked_add(part.len())? > self.dma().len() {
            return None;
        }
        let len = u32::try_from(part.len()).ok()?;
        // INVARIANT: Checked above, and marked here.
        (!self.area.lent.xchg(true, Full)).then(|| Immediate {
            area: self.area.clone(),
            at,
            len,
        })
    }

    /// Returns whether a part is lent, so that the buffer must not be posted.
    pub(super) fn is_lent(&self) -> bool {
        self.area.lent.load(Acquire)
    }
}

/// A response buffer. [`TxBuf::fill`] writes it; after it was posted, it can be filled again only
/// when the post has completed.
///
/// # Invariants
///
/// `state` is `Busy` while a task writes, `Posted` while the device reads.
pub(crate) struct TxBuf {
    state: Atomic<Fill>,
    /// Number of bytes to send; valid in `Filled` and `Posted`.
    filled: Atomic<u32>,
    dma: DmaBuf,
}

/// New response buffers of one size.
pub(crate) struct TxBufs(Supply);

impl TxBufs {
    /// Returns `count` buffers of `len` bytes to be made.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `len` is 0 or too large.
    pub(crate) fn new(device: &Device, len: usize, count: usize) -> Result<Self> {
        Ok(Self(Supply::new(device, len, DmaDir::ToDevice, count)?))
    }

    /// Makes the next buffer. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Supply::take`].
    pub(crate) fn take(&mut self) -> Result<TxBuf> {
        // INVARIANT: It is not in use yet.
        Ok(TxBuf {
            state: Atomic::new(Fill::Idle),
            filled: Atomic::new(0),
            dma: self.0.take()?,
        })
    }
}

impl TxBuf {
    /// Fills the buffer: `build` writes it and returns the number of bytes to send, as this does.
    /// It is passed the previous contents. A filled buffer may be filled again. Does not sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the buffer is posted or being filled, `EOVERFLOW` if `build` returned more than
    /// the size of the buffer.
    #[inline]
    pub(crate) fn fill(&self, build: impl FnOnce(&mut [u8]) -> usize) -> Result<usize> {
        if self.state.cmpxchg(Fill::Idle, Fill::Busy, Full).is_err()
            && self.state.cmpxchg(Fill::Filled, Fill::Busy, Full).is_err()
        {
            return Err(EBUSY);
        }
        self.dma.sync_for_cpu();
        // SAFETY: By the invariant of `DmaBuf` there are that many initialised bytes. `Busy` makes
        // this the only access to them.
        let bytes = unsafe { slice::from_raw_parts_mut(self.dma.data().as_ptr(), self.dma.len()) };
        let len = build(bytes);
        self.dma.sync_for_device();
        match u32::try_from(len) {
            Ok(short) if len <= self.dma.len() => {
                self.filled.store(short, Relaxed);
                // INVARIANT: We stopped writing.
                self.state.store(Fill::Filled, Release);
                Ok(len)
            }
            _ => {
                // INVARIANT: We stopped writing.
                self.state.store(Fill::Idle, Release);
                Err(EOVERFLOW)
            }
        }
    }

    /// Marks the buffer as posted, for a SEND of its first `len` bytes that the caller then posts.
    /// Returns its entry, and the flag `IB_SEND_INLINE` if these are at most `max_inline` bytes.
    #[inline]
    pub(super) fn begin_post(
        &self,
        len: usize,
        lkey: u32,
        max_inline: usize,
    ) -> Result<(bindings::ib_sge, bindings::ib_send_flags)> {
        self.state
            .cmpxchg(Fill::Filled, Fill::Posted, Full)
            .map_err(|_| EBUSY)?;
        // INVARIANT: It is about to be posted.
        match u32::try_from(len) {
            Ok(short) if short != 0 && short <= self.filled.load(Relaxed) => {
                Ok(match len <= max_inline {
                    true => (
                        inline_sge(self.dma.data().as_ptr(), short),
                        bindings::ib_send_flags_IB_SEND_INLINE,
                    ),
                    false => (self.dma.sge(short, lkey), 0),
                })
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
    /// The caller must have begun the post, and the device must not have accepted the buffer.
    pub(super) unsafe fn abort_post(&self) {
        // INVARIANT: The device does not read it, as the caller promises.
        self.state.store(Fill::Filled, Release);
    }

    /// Ends the post after its completion.
    ///
    /// # Safety
    ///
    /// Called by the completion of the post, once.
    pub(super) unsafe fn end_post(&self) {
        // INVARIANT: The device does not read it any more, as the caller promises.
        self.state.store(Fill::Idle, Release);
    }

    /// Device that the buffer is mapped for.
    pub(super) fn device(&self) -> &Device {
        self.dma.device()
    }
}

/// Returns the entry for bytes that are copied when they are posted: with `IB_SEND_INLINE` the
/// address is one of the CPU, and there is no key.
#[inline]
pub(super) fn inline_sge(first: *const u8, len: u32) -> bindings::ib_sge {
    bindings::ib_sge {
        // CAST: An address has at most 64 bits.
        addr: first.expose_provenance() as u64,
        length: len,
        ..pin_init::zeroed()
    }
}

/// Declares that a type contains its one response buffer. Implemented by [`impl_has_tx!`].
///
/// # Safety
///
/// The function must return the same buffer, which belongs to this object, every time.
pub(crate) unsafe trait HasTx {
    /// Returns the response buffer.
    fn tx(&self) -> &TxBuf;
}

/// Safely implements [`HasTx`]: `impl_has_tx! { impl HasTx for Command { self.tx } }`.
macro_rules! impl_has_tx {
    ($(impl$({$($generics:tt)*})? HasTx for $self:ty { self.$field:ident })*) => {$(
        // SAFETY: It is a field of the type `TxBuf`, always the same: `offset_of!` takes none that
        // is reached through a `Deref`.
        unsafe impl$(<$($generics)*>)? $crate::rdma::buf::HasTx for $self {
            #[inline]
            fn tx(&self) -> &$crate::rdma::buf::TxBuf {
                let _ = ::core::mem::offset_of!(Self, $field);
                let field: *const $crate::rdma::buf::TxBuf = &raw const self.$field;
                // SAFETY: A pointer to a field of a reference, for as long as the reference.
                unsafe { &*field }
            }
        }
    )*};
}
pub(crate) use impl_has_tx;
