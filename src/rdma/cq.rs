// SPDX-License-Identifier: GPL-2.0

//! Completion queues: a share of a queue of the RDMA core's pool, or a queue of one queue pair.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: completions ([`super::wc`]) and their handlers ([`super::cqe`], [`super::qp`]).

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    error::from_err_ptr,
    ffi::c_int,
    prelude::*,
    str::CStrExt, //
};

use super::device::Device;
use crate::bindings;

/// Entries that draining a queue pair requires, one per direction.
const DRAIN_CQE: u32 = 2;

/// Origin of a completion queue, which decides how it is released.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The pool, of which this many entries were taken.
    Pool(u32),
    /// Created for this object.
    Own,
}

/// A `struct ib_cq` or a share of one; dropping it releases it.
///
/// Completions are processed on the RDMA core's work queue, that is in process context
/// (`IB_POLL_WORKQUEUE`). Queue pairs hold their queue until they are destroyed.
///
/// A pooled queue is also processed by any task that drains a queue pair with a shared receive
/// queue on it, of this module or of another (`__ib_drain_srq`). Completions of the queue are then
/// handled by two tasks concurrently. A queue made with [`CompletionQueue::new`] is processed by
/// its work item only, one completion after the other. Dropping it waits for the work item, so it
/// must not be dropped in a completion; after the drop no completion function runs any more.
///
/// # Invariants
///
/// `raw` is on `device`. It came from `ib_cq_pool_get` with that many entries, or from
/// `__ib_alloc_cq`, according to `origin`.
pub(crate) struct CompletionQueue {
    raw: NonNull<bindings::ib_cq>,
    origin: Origin,
    device: Device,
}

// SAFETY: Completion queues may be used and released by any task.
unsafe impl Send for CompletionQueue {}
// SAFETY: The queue is only passed to C functions, which lock it.
unsafe impl Sync for CompletionQueue {}

/// Maps `comp_vector` to a completion vector of the device, modulo their number.
fn existing_vector(device: &Device, comp_vector: u32) -> Result<c_int> {
    Ok(c_int::try_from(comp_vector % device.num_comp_vectors())?)
}

impl CompletionQueue {
    /// Takes `nr_cqe` entries of the least used queue on a completion vector (`ib_cq_pool_get`),
    /// plus those that draining a queue pair requires. May sleep.
    ///
    /// # Errors
    ///
    /// Those of the device's driver; `EINVAL` if a queue of the device cannot have so many entries.
    pub(crate) fn from_pool(device: &Device, nr_cqe: u32, comp_vector: u32) -> Result<Self> {
        let nr_cqe = nr_cqe.saturating_add(DRAIN_CQE);
        // `ib_cq_pool_get` would try forever: no queue it can create is large enough.
        if nr_cqe > device.attrs().max_cqe {
            return Err(EINVAL);
        }
        let hint = existing_vector(device, comp_vector)?;
        // SAFETY: The device is registered as long as the handle exists.
        let raw = from_err_ptr(unsafe {
            bindings::ib_cq_pool_get(
                device.as_raw(),
                nr_cqe,
                hint,
                bindings::ib_poll_context_IB_POLL_WORKQUEUE,
            )
        })?;
        // INVARIANT: It was just taken.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            origin: Origin::Pool(nr_cqe),
            device: device.clone(),
        })
    }

    /// Creates a queue for one queue pair on a completion vector (`ib_alloc_cq`), with `wanted`
    /// entries or, if the device allows fewer, as many as it allows but at least `least`. The
    /// entries that draining requires are added. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of the device's driver; `EINVAL` if the device does not allow `least`
    /// entries.
    pub(crate) fn new(device: &Device, least: u32, wanted: u32, comp_vector: u32) -> Result<Self> {
        let most = device.attrs().max_cqe;
        if least.saturating_add(DRAIN_CQE) > most {
            return Err(EINVAL);
        }
        let nr_cqe = c_int::try_from(wanted.saturating_add(DRAIN_CQE).min(most))?;
        let (dev, name) = (device.as_raw(), c"ib_srpt".as_char_ptr());
        let context = bindings::ib_poll_context_IB_POLL_WORKQUEUE;
        let vector = existing_vector(device, comp_vector)?;
        // SAFETY: The device is registered as long as the handle exists, and has this vector. The
        // name is a string that lives as long as the module, and so longer than the queue.
        let raw = from_err_ptr(unsafe {
            bindings::__ib_alloc_cq(dev, ptr::null_mut(), nr_cqe, vector, context, name)
        })?;
        // INVARIANT: It was just created.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            origin: Origin::Own,
            device: device.clone(),
        })
    }

    /// Returns whether the queue was made for one queue pair.
    pub(super) fn is_own(&self) -> bool {
        self.origin == Origin::Own
    }

    /// Returns the C queue.
    pub(super) fn as_raw(&self) -> *mut bindings::ib_cq {
        self.raw.as_ptr()
    }

    /// Device of the queue.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        match self.origin {
            // SAFETY: By the type invariant that many entries were taken from it.
            Origin::Pool(nr_cqe) => unsafe { bindings::ib_cq_pool_put(self.as_raw(), nr_cqe) },
            // SAFETY: By the type invariant it is ours. Queue pairs hold it, so there are none.
            Origin::Own => unsafe { bindings::ib_free_cq(self.as_raw()) },
        }
    }
}
