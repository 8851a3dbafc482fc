// SPDX-License-Identifier: GPL-2.0

//! Queue pairs whose device does not complete what was posted, as after a firmware stall, a reset
//! or a hot unplug: it cannot put a queue pair into the error state, or its completions are lost.
//!
//! What is posted must not be freed as long as the device may access it, and the engine waits for
//! its commands. So the order is another one than usual:
//!
//! 1. [`QpCore::drain`] has waited in vain. There are no callers any more.
//! 2. [`QpCore::break_off`] waits for contexts that are not posted, stops the completion queue's
//!    work item, handles what is in it, and frees the `ib_qp` and the queue. As far as its driver
//!    says the device has no access then, and no completion function is called by C.
//! 3. What is still posted is completed here, as flushed: receives from a table, sends by their
//!    owner, which knows its entries ([`QueuePair::complete_lost`](super::QueuePair)). RDMA
//!    contexts are destroyed by that. They require an `ib_qp`, of which `rdma_rw_ctx_destroy` uses
//!    the device and the list of memory regions: a copy stands in.
//! 4. [`QpCore::destroy`] frees the memory regions.
//!
//! Not here: the wait that decides ([`super::core`]).

use core::ptr;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    super::{
        cqe::{
            impl_has_cqe,
            Cqe,
            CqeHandler,
            Flight,
            HasCqe,
            SEND, //
        },
        wc::WorkCompletion, //
    },
    chain::{
        empty_write,
        post_chain,
        Failed, //
    },
    complete::{
        empty_write_done,
        recv_done, //
    },
    core::{
        QpCore,
        IN_FLIGHT,
        STUCK_MS, //
    },
    parts::Stage,
    Posted,
    QpInner,
    QpOwner, //
};
use crate::{
    bindings,
    sync::{
        atomic::{
            Acquire,
            Relaxed,
            Release, //
        },
        gate::Stay, //
    }, //
};

impl_has_cqe! { impl{O: QpOwner} HasCqe<0> for QpInner<O> { self.marker } }

impl<O: QpOwner> CqeHandler<SEND> for QpInner<O> {
    fn done(self: Arc<Self>, _: &WorkCompletion) {
        self.marked.complete();
    }
}

impl<O: QpOwner> QpInner<O> {
    /// Posts a marker, an RDMA WRITE of length 0, and waits until it has completed, and with it
    /// everything that was posted before; at most [`STUCK_MS`]. Returns whether it has. The caller
    /// drains the queue pair: there is room for one request, and there are no other callers.
    /// Sleeps.
    pub(super) fn mark(this: &Arc<Self>) -> bool {
        Self::post_mark(this).is_ok() && this.marked.wait_timeout(STUCK_MS)
    }

    fn post_mark(this: &Arc<Self>) -> Result {
        // SAFETY: By the type invariant the core is not freed before the gate was closed and has
        // been empty. It is pinned. Only the drain, which this is a part of, closes the gate.
        let core = unsafe { Stay::<QpCore, IN_FLIGHT>::enter(&*this.core) }.ok_or(EPIPE)?;
        let mut write = empty_write();
        let raw = Arc::into_raw(this.clone());
        // SAFETY: The object is valid.
        let cqe = unsafe { Self::raw_get_cqe(raw.cast_mut()) };
        // The drain's own room is not counted.
        let flight = Flight {
            core,
            wrs: 0,
            before: 0,
        };
        // SAFETY: The entry is a part of the object, which is valid.
        if let Err(e) = unsafe { (*cqe).claim(empty_write_done::<Self>, flight) } {
            // SAFETY: It came from `into_raw` above.
            drop(unsafe { Arc::from_raw(raw) });
            return Err(e);
        }
        write.wr.__bindgen_wr_cqe.wr_cqe = Cqe::raw_cqe(cqe);
        // SAFETY: What is in flight keeps the queue pair. The request is valid, and so is the entry
        // until its completion.
        let posted = unsafe { post_chain(&this.core, &write.wr, 1) };
        posted.map_err(|(Failed::Nothing(e) | Failed::Part(e))| {
            // SAFETY: We have claimed the entry, and no completion comes, as it was the only
            // request. The pointer is from above.
            unsafe {
                drop((*cqe).release());
                drop(Arc::from_raw(raw));
            }
            e
        })
    }

    /// See [`QueuePair::break_off`](super::QueuePair::break_off).
    pub(super) fn break_off(this: &Arc<Self>) {
        let Some(freed) = this.core.break_off(|| this.unregister()) else {
            return;
        };
        for place in &this.receives {
            let buf = place.load(Relaxed);
            if !buf.is_null() && !freed {
                // SAFETY: It is posted, and C does not complete it any more. The device may still
                // write to its memory, so that is leaked.
                unsafe { (*buf).posted = Posted::No };
            } else if !buf.is_null() {
                let mut wc = this.core.flushed();
                // CAST: The entry is the first member, and the type is `repr(C)`.
                wc.__bindgen_wr_cqe.wr_cqe = buf.cast();
                // SAFETY: By the type invariant it is posted, and C does not complete it any more,
                // because the completion queue is gone.
                unsafe { recv_done::<O>(ptr::null_mut(), &mut wc) };
            }
        }
        this.core.complete_lost(this);
    }
}

impl QpCore {
    /// See [`QueuePair::complete_lost`](super::QueuePair::complete_lost).
    pub(super) fn complete_lost<T: HasCqe<ID>, const ID: u64>(&self, item: &Arc<T>) {
        let _alone = self.end.completing.lock();
        // Pairs with the store in `break_off`.
        if self.raw.load(Acquire) == self.stand_in.get() {
            // SAFETY: The item is valid, and the queue pair broken off, so that the completion
            // queue is gone and there are no callers. The lock keeps other tasks out.
            unsafe { Cqe::complete_lost(T::raw_get_cqe(Arc::as_ptr(item).cast_mut()), self) };
        }
    }

    /// Frees `ib_qp` and completion queue of a queue pair that [`Self::drain`] has found stuck;
    /// `before` removes it from tables. Returns [`None`] if it was not stuck; otherwise the caller
    /// has to complete what is still posted, and the result says whether the device's driver has
    /// freed the `ib_qp`, so that the device has no access to that. Sleeps until contexts that are
    /// not posted are cancelled, a completion function that is running has returned, and the
    /// connection manager's id was dropped.
    fn break_off(&self, before: impl FnOnce()) -> Option<bool> {
        let mut stage = self.end.stage.lock();
        if *stage != Stage::Stuck {
            return None;
        }
        self.users.held.close();
        self.await_empty(&self.users.held, "RDMA contexts");
        pr_warn!(
            "{}: QP {} does not complete {} posts: it is destroyed with them\n",
            self.device().name(),
            self.qp_num(),
            self.users.in_flight.users()
        );
        let freed = self.free_with_queue(|| {
            before();
            let stand_in = self.stand_in.get();
            // SAFETY: The `ib_qp` is valid, and the place is ours and large enough. There are no
            // callers and no completion functions, and contexts that are not posted are gone, so
            // nothing uses the list of memory regions.
            unsafe { bindings::srpt_qp_stand_in(stand_in, self.as_raw()) };
        });
        // INVARIANT: The copy is valid as long as this object, and nothing has used the pointer
        // since it was made.
        self.raw.store(self.stand_in.get(), Release);
        *stage = Stage::BrokenOff;
        drop(stage);
        // SAFETY: The `ib_qp` and its completion queue are freed, or at least not polled any more.
        unsafe { self.complete_orphans() };
        Some(freed)
    }

    /// Waits until all that was posted is completed, and frees the memory regions of contexts that
    /// have outlived the `ib_qp` (`ib_mr_pool_destroy`). Sleeps.
    pub(super) fn forget_stand_in(&self) {
        self.await_empty(&self.users.in_flight, "completions");
        let stand_in = self.stand_in.get();
        // SAFETY: The queue pair is broken off, so the copy is initialised, and its list has the
        // regions of all contexts, as these are destroyed. Their protection domain is kept.
        unsafe { bindings::ib_mr_pool_destroy(stand_in, &raw mut (*stand_in).rdma_mrs) };
    }

    /// Returns the completion of a request that was flushed, as C would pass it.
    pub(in crate::rdma) fn flushed(&self) -> bindings::ib_wc {
        bindings::ib_wc {
            status: bindings::ib_wc_status_IB_WC_WR_FLUSH_ERR,
            qp: self.as_raw(),
            ..pin_init::zeroed()
        }
    }
}
