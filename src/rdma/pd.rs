// SPDX-License-Identifier: GPL-2.0

//! Protection domains (`struct ib_pd`).
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: what a domain is for: queue pairs and shared receive queues ([`super::qp`]), memory
//! that its key gives access to ([`super::buf`]).

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use super::device::Device;
use crate::bindings;

/// A `struct ib_pd`; dropping it deallocates it.
///
/// # Invariants
///
/// `raw` was allocated on `device` and is owned by this object. Nothing that uses it outlives it,
/// because queue pairs and shared receive queues hold the domain.
pub(crate) struct ProtectionDomain {
    raw: NonNull<bindings::ib_pd>,
    device: Device,
}

// SAFETY: A protection domain may be used and deallocated by any task.
unsafe impl Send for ProtectionDomain {}
// SAFETY: Creating objects in a domain is thread-safe; its key does not change.
unsafe impl Sync for ProtectionDomain {}

impl ProtectionDomain {
    /// Allocates a domain without remote access (`ib_alloc_pd`). May sleep.
    ///
    /// # Errors
    ///
    /// Those of the device's driver.
    pub(crate) fn new(device: &Device) -> Result<Self> {
        // SAFETY: The device is registered as long as the handle exists; the name is static.
        let raw = from_err_ptr(unsafe {
            bindings::__ib_alloc_pd(device.as_raw(), 0, super::CALLER.as_char_ptr())
        })?;
        // INVARIANT: It was just allocated.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            device: device.clone(),
        })
    }

    /// Returns the C domain.
    pub(super) fn as_raw(&self) -> *mut bindings::ib_pd {
        self.raw.as_ptr()
    }

    /// Device of the domain.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Key for the device's access to local DMA mapped memory (`local_dma_lkey`).
    pub(crate) fn lkey(&self) -> u32 {
        // SAFETY: By the type invariant the domain is valid; the key is set once.
        unsafe { (*self.as_raw()).local_dma_lkey }
    }
}

impl Drop for ProtectionDomain {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the domain is ours and nothing uses it any more. It is a
        // kernel object, so there is no user data.
        let ret = unsafe { bindings::ib_dealloc_pd_user(self.as_raw(), ptr::null_mut()) };
        if ret != 0 {
            pr_err!(
                "{}: cannot deallocate a protection domain: {}\n",
                self.device.name(),
                ret
            );
        }
    }
}
