// SPDX-License-Identifier: GPL-2.0

//! Completion functions of posted work, and posting the next part of a transfer.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! A completion function releases what the post has claimed and calls the handler. All of them run
//! in process context, those of one queue pair one after the other.
//!
//! Not here: posting ([`super::post`]), receives from a shared receive queue ([`super::srq`]).

use core::ptr;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    super::{
        cqe::{
            Cqe,
            CqeHandler,
            HasCqe,
            READ,
            SEND, //
        },
        rw::{
            HasRw,
            Part,
            Tail, //
        },
        wc::WorkCompletion, //
    },
    chain::{
        note_part,
        post_chain,
        Failed,
        ReadItem,
        SendItem,
        WriteSendItem, //
    },
    core::QpCore,
    Posted,
    QpInner,
    QpOwner,
    RecvBuf, //
};
use crate::{
    bindings,
    sync::ratelimit, //
};

/// Completion function of a receive.
///
/// # Safety
///
/// Called by the RDMA core, or in its place ([`super::stuck`]), for a buffer that `post_recv` of an
/// `O` has posted.
pub(super) unsafe extern "C" fn recv_done<O: QpOwner>(
    _cq: *mut bindings::ib_cq,
    wc: *mut bindings::ib_wc,
) {
    // SAFETY: This is its completion.
    let Some((buf, Posted::Qp(flight))) = (unsafe { take_back::<O>(wc) }) else {
        return;
    };
    // INVARIANT: It has completed.
    flight.leave_seat(&buf.seat);
    if let Some(owner) = QpInner::owner(&flight) {
        // SAFETY: The completion is valid until we return, and that of a receive.
        let received = unsafe { WorkCompletion::from_raw(wc).received() };
        O::recv_done(owner, KBox::into_pin(buf), received);
    }
    drop(flight);
}

/// Begins the completion of a receive: takes the buffer back. Returns [`None`] if it is not posted.
///
/// # Safety
///
/// `wc` must be the completion of a buffer of an `O`, which was posted.
pub(super) unsafe fn take_back<O: QpOwner>(
    wc: *mut bindings::ib_wc,
) -> Option<(KBox<RecvBuf<O>>, Posted<O>)> {
    // SAFETY: The completion is valid. The entry is the first member of the buffer.
    let raw = unsafe { (*wc).__bindgen_wr_cqe.wr_cqe.cast::<RecvBuf<O>>() };
    // SAFETY: The buffer is posted, and so nothing else accesses it. After a completion too many
    // this may be untrue; then it is usually still there, and not being posted (docs/security.md).
    let posted = unsafe { core::mem::take(&mut (*raw).posted) };
    if matches!(posted, Posted::No) {
        completed_twice();
        return None;
    }
    // SAFETY: The post turned the buffer into a pointer, and its completion turns it back. This is
    // that completion: the mark was there.
    let buf = unsafe { KBox::from_raw(raw) };
    buf.dma().sync_for_cpu();
    Some((buf, posted))
}

/// Says that a device's driver completes a request twice, as siw does with RDMA READs that it
/// flushes. It must not make us drop two references, or free what is in use.
#[cold]
fn completed_twice() {
    if ratelimit::ok() {
        pr_warn!("a request was completed twice\n");
    }
}

/// Begins the completion of an entry of the send queue: takes the item back. Returns [`None`] if
/// the entry was completed before.
///
/// # Safety
///
/// `wc` must be the completion of an entry of a `T`, which was posted.
unsafe fn begin<T: HasCqe<ID>, const ID: u64>(
    wc: *mut bindings::ib_wc,
) -> Option<(*mut Cqe<T, ID>, Arc<T>)> {
    // SAFETY: The completion is valid.
    let cqe = unsafe { (*wc).__bindgen_wr_cqe.wr_cqe.cast::<Cqe<T, ID>>() };
    // SAFETY: The entry is part of an item; one that has completed before is usually still there.
    if !unsafe { (*cqe).end() } {
        completed_twice();
        return None;
    }
    // SAFETY: The post turned the item into a pointer, and its completion turns it back. This is
    // that completion: `end` returns `true` once per post.
    let item = unsafe { Arc::from_raw(T::cqe_container_of(cqe).cast_const()) };
    Some((cqe, item))
}

/// Ends the completion: calls `finish` to release what the device used, and calls the handler.
///
/// # Safety
///
/// `cqe` and `item` must be those of [`begin`]. `wc` must be valid.
unsafe fn end<T: HasCqe<ID> + CqeHandler<ID>, const ID: u64>(
    cqe: *mut Cqe<T, ID>,
    item: Arc<T>,
    wc: *const bindings::ib_wc,
    finish: impl FnOnce(&T),
) {
    finish(&item);
    // SAFETY: The entry is part of the item, and its completion owns it.
    let Some(flight) = (unsafe { (*cqe).release() }) else {
        return;
    };
    flight
        .core
        .give_send(flight.wrs.saturating_add(flight.before));
    flight.core.unsignaled.left(flight.before);
    // SAFETY: The completion is valid until we return.
    item.done(unsafe { WorkCompletion::from_raw(wc) });
    drop(flight);
}

/// Completes an entry of the send queue; see [`end`].
///
/// # Safety
///
/// As for [`begin`].
unsafe fn complete<T: HasCqe<ID> + CqeHandler<ID>, const ID: u64>(
    wc: *mut bindings::ib_wc,
    finish: impl FnOnce(&T),
) {
    // SAFETY: As the caller promises.
    if let Some((cqe, item)) = unsafe { begin::<T, ID>(wc) } {
        // SAFETY: These are its results.
        unsafe { end(cqe, item, wc, finish) };
    }
}

/// Completes a part of a transfer: posts the next one, or completes the entry as [`complete`] does.
///
/// # Safety
///
/// As for [`begin`]; the transfer was posted with the entry.
unsafe fn complete_part<T: HasCqe<ID> + HasRw + CqeHandler<ID>, const ID: u64>(
    wc: *mut bindings::ib_wc,
    finish: impl FnOnce(&T),
) {
    // SAFETY: As the caller promises.
    let Some((cqe, item)) = (unsafe { begin::<T, ID>(wc) }) else {
        return;
    };
    // SAFETY: The completion is valid, and that of the transfer.
    let next = match unsafe { (*wc).status } {
        // SAFETY: As above.
        bindings::ib_wc_status_IB_WC_SUCCESS => unsafe { item.rw().next_part() },
        _ => None,
    };
    let Some((part, tail)) = next else {
        // SAFETY: These are the results of `begin`.
        return unsafe { end(cqe, item, wc, finish) };
    };
    // SAFETY: As above, and this is the next part.
    if let Err((status, item)) = unsafe { post_next(cqe, item, part, tail) } {
        // SAFETY: The completion is valid.
        let mut failed = unsafe { *wc };
        failed.status = status;
        // SAFETY: As above.
        unsafe { end(cqe, item, &failed, finish) };
    }
}

/// Posts the next part of a transfer, followed by the SEND `tail` if that is due. If it cannot be
/// posted, returns the item, and the status by which the transfer ends.
///
/// # Safety
///
/// `cqe` and `item` must be those of [`begin`], for the completion of the part before, and `part`
/// and `tail` what the transfer has gone on to.
unsafe fn post_next<T: HasCqe<ID> + HasRw, const ID: u64>(
    cqe: *mut Cqe<T, ID>,
    item: Arc<T>,
    part: Part,
    tail: Option<Tail>,
) -> Result<(), (bindings::ib_wc_status, Arc<T>)> {
    const FLUSHED: bindings::ib_wc_status = bindings::ib_wc_status_IB_WC_WR_FLUSH_ERR;
    const FAILED: bindings::ib_wc_status = bindings::ib_wc_status_IB_WC_GENERAL_ERR;

    // SAFETY: The completion owns the entry until the post.
    let Some(flight) = (unsafe { Cqe::flight(cqe) }) else {
        return Err((FAILED, item));
    };
    // Keeps the queue pair when the flight belongs to the next completion.
    let held = flight.core.enter().map(|core| QpCore::launch(&core));
    let Some(Ok(held)) = held else {
        return Err((FLUSHED, item));
    };
    let Some(core) = held.enter() else {
        return Err((FLUSHED, item));
    };
    let total = part.wrs.saturating_add(tail.is_some().into());
    core.give_send(core::mem::replace(&mut flight.wrs, 0));
    // There is room: the owner keeps it for the largest part (`QpInit::largest_part`).
    if core.take_send(total).is_err() {
        return Err((FAILED, item));
    }
    flight.wrs = total;

    let raw = Arc::into_raw(item);
    let raw_cqe = Cqe::raw_cqe(cqe);
    let (mut sge, mut send);
    // SAFETY: The item is valid, we have gone on to the part, and the SEND is valid until then.
    let first = unsafe {
        match tail {
            Some(tail) => {
                sge = tail.sge;
                send = Tail::request(&mut sge, tail.flags);
                send.__bindgen_wr_cqe.wr_cqe = raw_cqe;
                (*raw).rw().chain(ptr::null_mut(), &mut send)
            }
            None => (*raw).rw().chain(raw_cqe, ptr::null_mut()),
        }
    };
    // SAFETY: The completion owns the entry; from now on that of the next part does.
    unsafe { (*cqe).resume() };
    // SAFETY: We are inside. The requests are valid; what they refer to stays so until the
    // completion.
    match unsafe { post_chain(&core, first, total) } {
        Ok(()) => Ok(()),
        Err(Failed::Part(e)) => {
            note_part(&core, e);
            // SAFETY: The entry is posted; the signaled request at the end of the chain was not, so
            // it will not complete.
            unsafe { core.orphan(cqe.cast()) };
            if let Err(e) = core.set_error() {
                pr_warn!("cannot put a queue pair into the error state: {:?}\n", e);
            }
            Ok(())
        }
        Err(Failed::Nothing(e)) => {
            if ratelimit::ok() {
                pr_warn!(
                    "{}: QP {}: cannot post the next part of a transfer: {:?}\n",
                    core.device().name(),
                    core.qp_num(),
                    e
                );
            }
            // SAFETY: The entry is part of the item. No completion comes, so it is ours again, and
            // so is the item: it came from `into_raw` above.
            let item = unsafe {
                (*cqe).end();
                Arc::from_raw(raw)
            };
            Err((FAILED, item))
        }
    }
}

/// Completion function of a SEND.
///
/// # Safety
///
/// Called by the RDMA core, or in its place ([`super::stuck`]), for an item that `post_send` has
/// posted.
pub(super) unsafe extern "C" fn send_done<T: SendItem>(
    _cq: *mut bindings::ib_cq,
    wc: *mut bindings::ib_wc,
) {
    // SAFETY: The buffer was posted with the entry, and this is its completion.
    unsafe { complete::<T, SEND>(wc, |item| item.tx().end_post()) };
}

/// Completion function of an RDMA WRITE of length 0.
///
/// # Safety
///
/// Called by the RDMA core, or in its place ([`super::stuck`]), for an item that `post_empty_write`
/// has posted.
pub(super) unsafe extern "C" fn empty_write_done<T: HasCqe<SEND> + CqeHandler<SEND>>(
    _cq: *mut bindings::ib_cq,
    wc: *mut bindings::ib_wc,
) {
    // SAFETY: This is the completion of the entry that was posted, and nothing else was.
    unsafe { complete::<T, SEND>(wc, |_| ()) };
}

/// Completion function of RDMA WRITEs and a SEND.
///
/// # Safety
///
/// Called by the RDMA core, or in its place ([`super::stuck`]), for an item that `post_write_send`
/// has posted with a transfer.
pub(super) unsafe extern "C" fn write_send_done<T: WriteSendItem>(
    _cq: *mut bindings::ib_cq,
    wc: *mut bindings::ib_wc,
) {
    // SAFETY: Buffer and transfer were posted with the entry; requests of a queue pair complete in
    // order, so this is the completion of both, or of a part of the transfer.
    unsafe {
        complete_part::<T, SEND>(wc, |item| {
            item.tx().end_post();
            item.rw().end_post();
        })
    };
}

/// Completion function of RDMA READs.
///
/// # Safety
///
/// Called by the RDMA core, or in its place ([`super::stuck`]), for an item that `post_read` has
/// posted.
pub(super) unsafe extern "C" fn read_done<T: ReadItem>(
    _cq: *mut bindings::ib_cq,
    wc: *mut bindings::ib_wc,
) {
    // SAFETY: The transfer was posted with the entry, and this is its completion.
    unsafe { complete_part::<T, READ>(wc, |item| item.rw().end_post()) };
}
