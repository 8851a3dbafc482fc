// SPDX-License-Identifier: GPL-2.0

//! SENDs of a few bytes, which are copied into the work request (`IB_SEND_INLINE`) and do not
//! complete.
//!
//! The HCA does not fetch the bytes, and their memory is free as soon as they are posted. So
//! nothing has to wait for such a SEND, and it is not signaled: it has an entry in the completion
//! queue only if it fails, and then the owner is told, and closes the connection.
//!
//! # Room in the send queue
//!
//! A request that is not signaled leaves the send queue when one that was posted later completes
//! (InfiniBand Architecture Specification, 10.8.6). Such requests have places of their own
//! ([`super::parts`]). A signaled post takes over those that were posted before it, and its
//! completion frees their places with its own. After about half of the places without a signaled
//! request there has to be one, so that there are places for others until it completes.
//!
//! Not here: responses that complete ([`super::post`]).
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)

use kernel::prelude::*;

use super::{
    super::{
        buf::inline_sge,
        rw::Tail,
        wc::WorkCompletion, //
    },
    chain::{
        post_chain,
        Failed, //
    },
    core::Caller,
    QpInner,
    QpOwner,
    QueuePair, //
};
use crate::{
    bindings,
    sync::atomic::Acquire, //
};

/// Room in a send queue for a SEND that is copied and not signaled. Keeps the queue pair.
#[must_use = "its drop gives the room back"]
pub(crate) struct InlineSend<'a, O: QpOwner> {
    core: Caller<'a>,
    inner: &'a QpInner<O>,
    posted: bool,
}

impl<O: QpOwner> QueuePair<O> {
    /// Returns room for a SEND of up to `len` bytes that is copied and not signaled. [`None`] if
    /// the device does not copy so many, if the next request has to be a signaled one, or if the
    /// queue pair is being torn down: the caller then posts a SEND that completes. Any context.
    #[inline]
    pub(crate) fn begin_inline(&self, len: usize) -> Option<InlineSend<'_, O>> {
        let inner: &QpInner<O> = &self.inner;
        if len > inner.core.max_inline() {
            return None;
        }
        let core = inner.core.enter()?;
        if !core.unsignaled.begin() {
            return None;
        }
        if core.take_send(1).is_err() {
            core.unsignaled.left(1);
            return None;
        }
        Some(InlineSend {
            core,
            inner,
            posted: false,
        })
    }
}

impl<O: QpOwner> InlineSend<'_, O> {
    /// Posts a SEND of `bytes` (`ib_post_send`), which are copied. With `solicited` it raises a
    /// solicited event at the peer. If it fails later, [`QpOwner::send_failed`] is called. Does not
    /// sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are no bytes, or more than the device copies, and those of the device's
    /// driver.
    #[inline]
    pub(crate) fn post(mut self, bytes: &[u8], solicited: bool) -> Result {
        if bytes.is_empty() || bytes.len() > self.core.max_inline() {
            return Err(EINVAL);
        }
        // CAST: What the device copies is less than 4 GiB.
        let mut sge = inline_sge(bytes.as_ptr(), bytes.len() as u32);
        let mut flags = bindings::ib_send_flags_IB_SEND_INLINE;
        if solicited {
            flags |= bindings::ib_send_flags_IB_SEND_SOLICITED;
        }
        let mut send = Tail::request(&mut sge, flags);
        send.__bindgen_wr_cqe.wr_cqe = (&raw const self.inner.unsignaled).cast_mut().cast();
        // SAFETY: We are inside, so the queue pair is valid. The request is, too; its bytes are
        // copied by the call. Its entry is a part of the queue pair's own state, and outlives it.
        match unsafe { post_chain(&self.core, &send, 1) } {
            Ok(()) => {
                self.posted = true;
                self.core.unsignaled.posted();
                Ok(())
            }
            Err(Failed::Nothing(e) | Failed::Part(e)) => Err(e),
        }
    }
}

impl<O: QpOwner> Drop for InlineSend<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if !self.posted {
            self.core.give_send(1);
            self.core.unsignaled.left(1);
        }
    }
}

/// Completion function of a SEND that is not signaled: it has failed. Process context.
///
/// # Safety
///
/// Called by the RDMA core with the entry [`QpInner::unsignaled`] of a queue pair of an `O`.
pub(super) unsafe extern "C" fn unsignaled_done<O: QpOwner>(
    _cq: *mut bindings::ib_cq,
    wc: *mut bindings::ib_wc,
) {
    // SAFETY: The completion is valid, and its entry is that field of a queue pair's state. That
    // state, and the context with the owner, are freed when the completion queue is freed or
    // silenced, and so after this call.
    let owner = unsafe {
        let cqe = (*wc).__bindgen_wr_cqe.wr_cqe;
        let inner = QpInner::<O>::of_unsignaled(cqe);
        let context = (*inner).context.load(Acquire);
        if context.is_null() {
            return;
        }
        (*context).owner.as_arc_borrow()
    };
    // SAFETY: The completion is valid until we return.
    if let Err(status) = unsafe { WorkCompletion::from_raw(wc) }.result() {
        O::send_failed(owner, status);
    }
}
