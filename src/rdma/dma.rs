// SPDX-License-Identifier: GPL-2.0

//! Memory that is mapped for a device, and buffers of one size that share it.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! A connection has hundreds of buffers of two sizes. A [`Supply`] takes memory for many of them at
//! a time: allocating, mapping and freeing it once costs less, and pages are not split. The memory
//! is kept until the last of its buffers is freed.
//!
//! Not here: what the buffers are for ([`super::buf`]), the allocator ([`super::memory`]).

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    device::Device,
    memory::Memory, //
};
use crate::bindings;

/// Direction of a DMA mapping (`enum dma_data_direction`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DmaDir {
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
/// The bytes of `memory` are mapped for `device` at `addr` in direction `dir`.
struct Mapping {
    memory: Memory,
    addr: u64,
    dir: DmaDir,
    /// CPU and device do not see the same memory: transfers of ownership do something. The same as
    /// long as the memory is mapped (`dma_need_sync`).
    needs_sync: bool,
    device: Device,
}

// SAFETY: The memory is owned, and may be unmapped and freed by any task.
unsafe impl Send for Mapping {}
// SAFETY: Shared references give no access to the bytes.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps memory (`ib_dma_map_single`). May sleep.
    ///
    /// # Errors
    ///
    /// `EIO` if it cannot be mapped.
    fn new(device: &Device, memory: Memory, dir: DmaDir) -> Result<Self> {
        let (data, len) = (memory.data().as_ptr(), memory.len());
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
        // INVARIANT: Mapped above.
        Ok(Self {
            memory,
            addr,
            dir,
            needs_sync,
            device: device.clone(),
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this is what was mapped. The memory is freed afterwards.
        unsafe {
            bindings::srpt_ib_dma_unmap_single(
                self.device.as_raw(),
                self.addr,
                self.memory.len(),
                self.dir.as_raw(),
            );
        }
    }
}

/// A part of mapped memory that belongs to one buffer. The memory is unmapped and freed with the
/// last of its parts.
///
/// # Invariants
///
/// `data` points to `len` initialised bytes of `mapping`, which the device has at `addr`. No other
/// buffer has any of them.
pub(super) struct DmaBuf {
    data: NonNull<u8>,
    addr: u64,
    len: u32,
    /// As in [`Mapping`].
    needs_sync: bool,
    mapping: Arc<Mapping>,
}

// SAFETY: The bytes are owned, and may be accessed and given up by any task.
unsafe impl Send for DmaBuf {}
// SAFETY: Shared references give access to shared references of the bytes only.
unsafe impl Sync for DmaBuf {}

impl DmaBuf {
    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Pointer to the bytes, valid as long as this.
    pub(super) fn data(&self) -> NonNull<u8> {
        self.data
    }

    /// Device that the memory is mapped for.
    pub(super) fn device(&self) -> &Device {
        &self.mapping.device
    }

    /// Returns a scatter/gather entry for the first `len` bytes, or for all if there are fewer.
    #[inline]
    pub(super) fn sge(&self, len: u32, lkey: u32) -> bindings::ib_sge {
        bindings::ib_sge {
            addr: self.addr,
            length: len.min(self.len),
            lkey,
            ..pin_init::zeroed()
        }
    }

    /// Transfers ownership of the bytes to the device (`ib_dma_sync_single_for_device`).
    #[inline]
    pub(super) fn sync_for_device(&self) {
        if !self.needs_sync {
            return;
        }
        // SAFETY: By the type invariant this is a part of what was mapped.
        unsafe {
            bindings::srpt_ib_dma_sync_single_for_device(
                self.device().as_raw(),
                self.addr,
                self.len(),
                self.mapping.dir.as_raw(),
            )
        };
    }

    /// Transfers ownership of the bytes to the CPU (`ib_dma_sync_single_for_cpu`).
    #[inline]
    pub(super) fn sync_for_cpu(&self) {
        if !self.needs_sync {
            return;
        }
        // SAFETY: By the type invariant this is a part of what was mapped.
        unsafe {
            bindings::srpt_ib_dma_sync_single_for_cpu(
                self.device().as_raw(),
                self.addr,
                self.len(),
                self.mapping.dir.as_raw(),
            )
        };
    }
}

/// Largest alignment of memory that a disk requires, in bytes (`dma_alignment`): that of zram.
pub(super) const BLOCK: usize = 4096;

/// Alignment of smaller buffers: no two of them share a cache line, also where caches are not
/// coherent (`ARCH_DMA_MINALIGN`, 128 at most).
const LINE: usize = 128;

/// Most bytes that are mapped at a time. More would save nothing.
const LARGEST: usize = 256 << 10;

/// Buffers of one size. Each begins zeroed, and at a multiple of [`BLOCK`] if it has that many
/// bytes.
pub(super) struct Supply {
    device: Device,
    dir: DmaDir,
    /// Length of a buffer.
    len: u32,
    /// Distance of buffers in memory.
    stride: usize,
    /// Buffers that are still to be taken.
    left: usize,
    /// Most bytes to map at a time: as many as could be allocated and mapped the last time.
    largest: usize,
    /// Memory with room for the next buffer, and where that is.
    current: Option<(Arc<Mapping>, usize)>,
}

impl Supply {
    /// Returns a supply of `count` buffers of `len` bytes. Does not allocate.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `len` is 0 or does not fit in a scatter/gather entry.
    pub(super) fn new(device: &Device, len: usize, dir: DmaDir, count: usize) -> Result<Self> {
        let unit = if len >= BLOCK { BLOCK } else { LINE };
        if len == 0 {
            return Err(EINVAL);
        }
        Ok(Self {
            device: device.clone(),
            dir,
            len: u32::try_from(len)?,
            stride: len.checked_next_multiple_of(unit).ok_or(EINVAL)?,
            left: count,
            largest: LARGEST,
            current: None,
        })
    }

    /// Returns the next buffer. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT` if all were taken, `ENOMEM`, `EIO` if the memory cannot be mapped.
    pub(super) fn take(&mut self) -> Result<DmaBuf> {
        let left = self.left.checked_sub(1).ok_or(ENOENT)?;
        let (mapping, at) = match self.current.take() {
            Some(current) => current,
            None => (Arc::new(self.map()?, GFP_KERNEL)?, 0),
        };
        self.left = left;
        // It has room for a buffer at `at`, so both ends of that fit.
        let end = at.wrapping_add(self.stride);
        let more = end.wrapping_add(self.stride) <= mapping.memory.len();
        if left != 0 && more {
            self.current = Some((mapping.clone(), end));
        }
        // INVARIANT: The bytes are inside the memory; the next buffer begins after them.
        Ok(DmaBuf {
            // SAFETY: As above.
            data: unsafe { mapping.memory.data().add(at) },
            // CAST: Sizes fit in 64 bits.
            addr: mapping.addr.wrapping_add(at as u64),
            len: self.len,
            needs_sync: mapping.needs_sync,
            mapping,
        })
    }

    /// Allocates and maps memory for the buffers that are left, or for some of them.
    fn map(&mut self) -> Result<Mapping> {
        loop {
            let wanted = self.stride.saturating_mul(self.left).min(self.largest);
            let memory = Memory::up_to(wanted.max(self.stride), self.stride)?;
            self.largest = memory.len();
            match Mapping::new(&self.device, memory, self.dir) {
                // Bounce buffers are small.
                Err(_) if self.largest > self.stride => self.largest /= 2,
                mapped => return mapped,
            }
        }
    }
}
