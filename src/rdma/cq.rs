// SPDX-License-Identifier: GPL-2.0

//! Completion queues: a share of one of the RDMA core's pool, or one of one's own.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)

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

/// Entries the drain of a queue pair needs, one per direction.
const DRAIN_CQE: u32 = 2;

/// Where a completion queue comes from, and so how it is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The pool; so many entries of it are ours.
    Pool(u32),
    /// It was created for us.
    Own,
}

/// A `struct ib_cq` or a share of one; dropping it gives it back.
///
/// Completions are processed on the RDMA core's work queue, so in process context
/// (`IB_POLL_WORKQUEUE`). Queue pairs hold their queue until they are destroyed.
///
/// A pooled queue is also processed by any task that drains a queue pair with a shared receive
/// queue on it, be it of this module or another (`__ib_drain_srq`). Its users' completions are then
/// handled on two tasks at once. A queue of one's own is processed by its work item only, one
/// completion after the other; dropping it waits for that, so must not be done from a completion,
/// and after the drop no completion function runs any more.
///
/// # Invariants
///
/// `raw` is on `device`. It came from `ib_cq_pool_get` with that many entries, or from
/// `__ib_alloc_cq`, as `origin` says.
pub(crate) struct CompletionQueue {
    raw: NonNull<bindings::ib_cq>,
    origin: Origin,
    device: Device,
}

// SAFETY: A pooled completion queue may be used and given back by any task.
unsafe impl Send for CompletionQueue {}
// SAFETY: The queue is only passed to C functions, which lock it.
unsafe impl Sync for CompletionQueue {}

/// A completion vector that the device has: another one, in turn, for a number beyond its last.
fn existing_vector(device: &Device, comp_vector: u32) -> Result<c_int> {
    Ok(c_int::try_from(comp_vector % device.num_comp_vectors())?)
}

impl CompletionQueue {
    /// Takes `nr_cqe` entries of the least used queue on a completion vector (`ib_cq_pool_get`). The
    /// entries that draining a queue pair needs are added. May sleep.
    ///
    /// # Errors
    ///
    /// Those of the device's driver; `EINVAL` if the device cannot have so many entries.
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
    /// entries, or if the device cannot have so many, with at least `least`. The entries that
    /// draining needs are added. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of the device's driver; `EINVAL` if it cannot have `least` entries.
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

    /// Returns whether no other queue pairs complete here.
    pub(super) fn is_own(&self) -> bool {
        self.origin == Origin::Own
    }

    /// The C queue.
    pub(super) fn as_raw(&self) -> *mut bindings::ib_cq {
        self.raw.as_ptr()
    }

    /// The device of the queue.
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
