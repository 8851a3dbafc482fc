// SPDX-License-Identifier: GPL-2.0

//! Memory that the device reads and writes: DMA buffers, receive buffers, response buffers.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: data buffers of commands, which the engine owns ([`super::sg`]).

use core::{
    marker::PhantomPinned,
    ptr::NonNull,
    slice, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    device::Device,
    fill::Fill,
    memory::Memory, //
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

/// Direction of a DMA mapping (`enum dma_data_direction`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DmaDir {
    /// The device reads the buffer.
    ToDevice,
    /// The device writes the buffer.
    FromDevice,
}

impl DmaDir {
    /// Returns the C value.
    pub(super) fn as_raw(self) -> bindings::dma_data_direction {
        match self {
            Self::ToDevice => bindings::dma_data_direction_DMA_TO_DEVICE,
            Self::FromDevice => bindings::dma_data_direction_DMA_FROM_DEVICE,
        }
    }
}

/// Physically contiguous memory, mapped for a device; dropping it unmaps and frees.
///
/// # Invariants
///
/// `memory` has `len` bytes, which are mapped for `device` at `addr` in direction `dir`.
pub(crate) struct DmaBuf {
    memory: Memory,
    len: u32,
    addr: u64,
    dir: DmaDir,
    /// CPU and device do not see the same memory: transfers of ownership do something. The same as
    /// long as the memory is mapped (`dma_need_sync`).
    needs_sync: bool,
    device: Device,
}

// SAFETY: The memory is owned, and may be unmapped and freed by any task.
unsafe impl Send for DmaBuf {}
// SAFETY: Shared references give access to shared references of the bytes only.
unsafe impl Sync for DmaBuf {}

impl DmaBuf {
    /// Allocates and maps `len` zeroed bytes (`ib_dma_map_single`). May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `len` is 0 or does not fit in a scatter/gather entry, `ENOMEM`, `EIO` if the
    /// memory cannot be mapped.
    pub(crate) fn new(device: &Device, len: usize, dir: DmaDir) -> Result<Self> {
        let short = u32::try_from(len)?;
        let memory = Memory::zeroed(len)?;
        let data = memory.data().as_ptr();
        // SAFETY: The memory is ours, and contiguous. The device is registered.
        let addr = unsafe {
            bindings::srpt_ib_dma_map_single(device.as_raw(), data.cast(), len, dir.as_raw())
        };
        // SAFETY: `addr` is what mapping returned.
        if unsafe { bindings::srpt_ib_dma_mapping_error(device.as_raw(), addr) } != 0 {
            return Err(EIO);
        }
        // SAFETY: The device is registered, and the address is one that was mapped for it.
        let needs_sync = unsafe { bindings::srpt_ib_dma_need_sync(device.as_raw(), addr) };
        // INVARIANT: Allocated and mapped above.
        Ok(Self {
            memory,
            len: short,
            addr,
            dir,
            needs_sync,
            device: device.clone(),
        })
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Pointer to the bytes, valid as long as this.
    fn data(&self) -> NonNull<u8> {
        self.memory.data()
    }

    /// Device that the memory is mapped for.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Returns a scatter/gather entry for the first `len` bytes, or for all if there are fewer.
    pub(super) fn sge(&self, len: u32, lkey: u32) -> bindings::ib_sge {
        bindings::ib_sge {
            addr: self.addr,
            length: len.min(self.len),
            lkey,
        }
    }

    /// Transfers ownership of the memory to the device (`ib_dma_sync_single_for_device`).
    #[inline]
    pub(super) fn sync_for_device(&self) {
        if !self.needs_sync {
            return;
        }
        // SAFETY: By the type invariant this is what was mapped.
        unsafe {
            bindings::srpt_ib_dma_sync_single_for_device(
                self.device.as_raw(),
                self.addr,
                self.len(),
                self.dir.as_raw(),
            )
        };
    }

    /// Transfers ownership of the memory to the CPU (`ib_dma_sync_single_for_cpu`).
    #[inline]
    pub(super) fn sync_for_cpu(&self) {
        if !self.needs_sync {
            return;
        }
        // SAFETY: By the type invariant this is what was mapped.
        unsafe {
            bindings::srpt_ib_dma_sync_single_for_cpu(
                self.device.as_raw(),
                self.addr,
                self.len(),
                self.dir.as_raw(),
            )
        };
    }
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this is what was mapped. The memory is freed afterwards.
        unsafe {
            bindings::srpt_ib_dma_unmap_single(
                self.device.as_raw(),
                self.addr,
                self.len(),
                self.dir.as_raw(),
            );
        }
    }
}

/// A receive buffer. It belongs to the owner of its box; posting passes the box to the hardware,
/// the completion returns it. `P` describes where it is posted; its default is "not posted".
#[repr(C)]
pub(crate) struct RecvBuf<P> {
    /// First, so that a pointer to it is also a pointer to the buffer.
    pub(super) cqe: bindings::ib_cqe,
    pub(super) posted: P,
    area: Arc<Area>,
    _pin: PhantomPinned,
}

/// Largest alignment of data that a disk requires: its block size, 4096 bytes at most.
const BLOCK: usize = 4096;

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
    #[allow(dead_code, reason = "not every engine uses the data in place")]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns whether the data begins at a multiple of [`BLOCK`], as disks may require.
    #[allow(dead_code, reason = "not every engine uses the data in place")]
    pub(crate) fn is_aligned(&self) -> bool {
        let begin = self.area.dma.data().addr().get().checked_add(self.at);
        begin.is_some_and(|begin| begin % BLOCK == 0)
    }

    /// Makes `entry` a scatterlist of one entry that describes the data (`sg_init_one`). The list
    /// is valid as long as this object.
    #[allow(dead_code, reason = "not every engine uses the data in place")]
    pub(crate) fn describe(&self, entry: &mut bindings::scatterlist) {
        // SAFETY: The entry is valid. By the type invariant the bytes are inside the buffer, which
        // is contiguous and has pages.
        unsafe {
            let data = self.area.dma.data().as_ptr().add(self.at);
            bindings::sg_init_one(entry, data.cast(), self.len);
        }
    }
}

impl Drop for Immediate {
    fn drop(&mut self) {
        self.area.lent.store(false, Release);
    }
}

impl<P: Default> RecvBuf<P> {
    /// Allocates a buffer for information units of up to `len` bytes. Unless that takes more memory
    /// than the next power of two, the byte at offset `aligned` has an address that is a multiple
    /// of [`BLOCK`]. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`DmaBuf::new`].
    pub(crate) fn new(device: &Device, len: usize, aligned: usize) -> Result<Pin<KBox<Self>>> {
        // What `kmalloc` would take.
        let room = len.checked_next_power_of_two().ok_or(EINVAL)?;
        let start = match (BLOCK - aligned % BLOCK) % BLOCK {
            start if start <= room.saturating_sub(len) => start,
            _ => 0,
        };
        let size = len.checked_add(start).ok_or(EINVAL)?;
        let buf = Self {
            cqe: bindings::ib_cqe { done: None },
            posted: P::default(),
            area: Arc::new(
                Area {
                    dma: DmaBuf::new(device, size, DmaDir::FromDevice)?,
                    start,
                    lent: AtomicFlag::new(false),
                },
                GFP_KERNEL,
            )?,
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
        let all = self.dma().sge(u32::MAX, lkey);
        // CAST: Less than the size of the buffer, which is less than 4 GiB.
        let start = self.area.start as u32;
        bindings::ib_sge {
            addr: all.addr.wrapping_add(start.into()),
            length: all.length.saturating_sub(start),
            ..all
        }
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

impl TxBuf {
    /// Allocates a buffer of `len` bytes. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`DmaBuf::new`].
    pub(crate) fn new(device: &Device, len: usize) -> Result<Self> {
        // INVARIANT: It is not in use yet.
        Ok(Self {
            state: Atomic::new(Fill::Idle),
            filled: Atomic::new(0),
            dma: DmaBuf::new(device, len, DmaDir::ToDevice)?,
        })
    }

    /// Size of the buffer in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.dma.len()
    }

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
            Ok(short) if short <= self.dma.len => {
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
    #[inline]
    pub(super) fn begin_post(&self, len: usize, lkey: u32) -> Result<bindings::ib_sge> {
        self.state
            .cmpxchg(Fill::Filled, Fill::Posted, Full)
            .map_err(|_| EBUSY)?;
        // INVARIANT: It is about to be posted.
        match u32::try_from(len) {
            Ok(len) if len != 0 && len <= self.filled.load(Relaxed) => Ok(self.dma.sge(len, lkey)),
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
