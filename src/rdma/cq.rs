// SPDX-License-Identifier: GPL-2.0

//! Completion queues, each of one queue pair.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: completions ([`super::wc`]) and their handlers ([`super::cqe`], [`super::qp`]).

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    str::CStrExt,
    sync::Arc, //
};

use super::device::Device;
use crate::{
    bindings,
    sync::atomic::{
        AtomicFlag,
        Relaxed, //
    }, //
};

/// Entries for the markers of a drain. They are posted one after the other.
const DRAIN_CQE: u32 = 2;

/// A `struct ib_cq` of one queue pair; dropping it frees it.
///
/// Completions are processed on the RDMA core's work queue, that is in process context
/// (`IB_POLL_WORKQUEUE`), by the queue's work item only, one completion after the other. Queue
/// pairs hold their queue until they are destroyed. The drop waits for the work item, so it must
/// not be in a completion; after the drop no completion function runs any more.
///
/// # Invariants
///
/// `raw` is on `device`, and came from `__ib_alloc_cq`.
pub(crate) struct CompletionQueue {
    raw: NonNull<bindings::ib_cq>,
    /// Whether the queue has failed (`IB_EVENT_CQ_ERR`). The event handler refers to this flag.
    failed: Arc<AtomicFlag>,
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
        let failed = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
        let private = Arc::as_ptr(&failed).cast_mut().cast::<c_void>();
        let (dev, name) = (device.as_raw(), c"ib_srpt".as_char_ptr());
        let context = bindings::ib_poll_context_IB_POLL_WORKQUEUE;
        let vector = existing_vector(device, comp_vector)?;
        // SAFETY: The device is registered as long as the handle exists, and has this vector. The
        // name is a string that lives as long as the module, and so longer than the queue.
        let raw = from_err_ptr(unsafe {
            bindings::__ib_alloc_cq(dev, private, nr_cqe, vector, context, name)
        })?;
        // SAFETY: The queue is new: no queue pair uses it, so there are no events yet.
        unsafe { (*raw).event_handler = Some(event_callback) };
        // INVARIANT: It was just created.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            failed,
            device: device.clone(),
        })
    }

    /// Returns the C queue.
    pub(super) fn as_raw(&self) -> *mut bindings::ib_cq {
        self.raw.as_ptr()
    }

    /// Stops the queue's work item for good (`disable_work_sync`): no completion function runs when
    /// this returns, or begins any more but in [`Self::process`]. Sleeps until one that is running
    /// has ended, so it must not be called in one.
    pub(super) fn silence(&self) {
        // SAFETY: By the type invariant the queue is valid, and its work item is initialised
        // (`IB_POLL_WORKQUEUE`).
        unsafe { bindings::srpt_cq_silence(self.as_raw()) };
    }

    /// Handles the completions that are in the queue, at most as many as it has entries
    /// (`ib_process_cq_direct`). To be called after [`Self::silence`]. Process context.
    pub(super) fn process(&self) {
        // SAFETY: By the type invariant the queue is valid. Its work item is stopped, so no other
        // task polls it.
        unsafe { bindings::ib_process_cq_direct(self.as_raw(), (*self.as_raw()).cqe) };
    }

    /// Mark that the queue has failed (`IB_EVENT_CQ_ERR`).
    pub(super) fn failed(&self) -> &Arc<AtomicFlag> {
        &self.failed
    }

    /// Device of the queue.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours. Queue pairs hold it, so there are none.
        unsafe { bindings::ib_free_cq(self.as_raw()) };
    }
}

/// `ib_cq.event_handler`. Any context.
///
/// # Safety
///
/// Called by the device's driver only, for a queue whose context is the `failed` of its owner.
unsafe extern "C" fn event_callback(event: *mut bindings::ib_event, context: *mut c_void) {
    // SAFETY: The driver passes a valid event.
    if unsafe { (*event).event } == bindings::ib_event_type_IB_EVENT_CQ_ERR {
        pr_err!("a completion queue has failed; what it owes may never complete\n");
        // SAFETY: The flag is dropped after `ib_free_cq`, and no event comes after that.
        unsafe { &*context.cast_const().cast::<AtomicFlag>() }.store(true, Relaxed);
    }
}
