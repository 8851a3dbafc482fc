// SPDX-License-Identifier: GPL-2.0

//! Posting to a queue pair, and the completion functions of posted work.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! A post of a send claims in a fixed order: the callers' gate, the states of buffer and RDMA slot,
//! the gate of posted work, room in the queue, the completion queue entry. If it fails, it releases
//! them. The completion functions at the end of the file release the claims and call the handlers.
//!
//! Not here: receives from a shared receive queue ([`super::srq`]).

use core::{
    pin::Pin,
    ptr, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    super::{
        buf::HasTx,
        cqe::{
            Cqe,
            CqeHandler,
            Flight,
            HasCqe,
            READ,
            SEND, //
        },
        entry::Done,
        rw::{
            HasRw,
            RwDir, //
        },
        wc::WorkCompletion, //
    },
    core::{
        Caller,
        QpCore,
        CALLERS, //
    },
    Posted,
    QpInner,
    QpOwner,
    QueuePair,
    RecvBuf, //
};
use crate::{
    bindings,
    sync::{
        gate::Inside,
        ratelimit, //
    }, //
};

/// An object that can be sent: has a response buffer and an entry for its completion.
pub(crate) trait SendItem: HasCqe<SEND> + HasTx + CqeHandler<SEND> {}
impl<T: HasCqe<SEND> + HasTx + CqeHandler<SEND>> SendItem for T {}

/// An object that can be sent after RDMA WRITEs of data.
pub(crate) trait WriteSendItem: SendItem + HasRw {}
impl<T: SendItem + HasRw> WriteSendItem for T {}

/// An object that RDMA READs can fetch data for.
pub(crate) trait ReadItem: HasCqe<READ> + HasRw + CqeHandler<READ> {}
impl<T: HasCqe<READ> + HasRw + CqeHandler<READ>> ReadItem for T {}

/// Failure to post a chain.
enum Failed {
    /// The device accepted none of it.
    Nothing(Error),
    /// The device accepted some of it.
    Part(Error),
}

/// SEND of a response: number of bytes, and whether it is solicited.
struct Response {
    len: usize,
    solicited: bool,
}

impl<O: QpOwner> QueuePair<O> {
    /// Posts a receive (`ib_post_recv`). Does not sleep.
    ///
    /// # Errors
    ///
    /// Returned with the buffer: `EPIPE` if the queue pair is being torn down, `EBUSY` if a part of
    /// the buffer is lent, `EINVAL` if it is for another device or the queue pair has a shared
    /// receive queue, `EAGAIN` if the queue is full, and those of the device's driver.
    #[allow(clippy::type_complexity, reason = "the buffer must not be lost")]
    pub(crate) fn post_recv(
        &self,
        buf: Pin<KBox<RecvBuf<O>>>,
    ) -> Result<(), (Error, Pin<KBox<RecvBuf<O>>>)> {
        let Some(inner) = Inside::<_, CALLERS>::enter(&**self.inner) else {
            return Err((EPIPE, buf));
        };
        let core = &inner.core;
        if buf.is_lent() {
            return Err((EBUSY, buf));
        }
        if core.has_srq() || buf.dma().device().id() != core.device().id() {
            return Err((EINVAL, buf));
        }
        let flight = match QpInner::launch(&inner) {
            Ok(flight) => flight,
            Err(e) => return Err((e, buf)),
        };
        if let Err(e) = core.take_recv() {
            return Err((e, buf));
        }

        // SAFETY: The buffer is not moved out of the box.
        let mut owned = unsafe { Pin::into_inner_unchecked(buf) };
        owned.cqe.done = Some(recv_done::<O>);
        owned.posted = Posted::Qp(flight);
        owned.dma().sync_for_device();
        let mut sge = owned.sge(core.lkey());

        let raw = KBox::into_raw(owned);
        let mut wr = bindings::ib_recv_wr {
            sg_list: &mut sge,
            num_sge: 1,
            ..Default::default()
        };
        // CAST: The entry is the first member, and the type is `repr(C)`.
        wr.__bindgen_anon_1.wr_cqe = raw.cast();
        // SAFETY: We are inside, so the queue pair is valid. The buffer is mapped for its device
        // and valid until its completion.
        let ret = unsafe { bindings::srpt_ib_post_recv(core.as_raw(), &wr) };
        if ret == 0 {
            return Ok(());
        }

        // SAFETY: The device did not take it, so it is still ours.
        let mut owned = unsafe { KBox::from_raw(raw) };
        owned.posted = Posted::No;
        core.give_recv();
        Err((Error::from_errno(ret), KBox::into_pin(owned)))
    }

    /// Posts the first `len` bytes of the item's response buffer as a SEND (`ib_post_send`), which
    /// completes with `CqeHandler<SEND>`. With `solicited` it raises a solicited event at the peer.
    /// Does not sleep.
    ///
    /// # Errors
    ///
    /// Returned with the item, whose buffer stays filled: `EPIPE` if the queue pair is being torn
    /// down, `EBUSY` if the item is already posted or its buffer is not filled, `EINVAL` if `len`
    /// is 0 or more than was filled in, or if the buffer is for another device, `EAGAIN` if the
    /// send queue is full, and those of the device's driver.
    pub(crate) fn post_send<T: SendItem>(
        &self,
        item: Arc<T>,
        len: usize,
        solicited: bool,
    ) -> Result<(), (Error, Arc<T>)> {
        let what = Response { len, solicited };
        self.post_response(item, what, send_done::<T>, |_| Ok(0), |_, tail| tail)
    }

    /// Like [`QueuePair::post_send`], but if the item's [`RwSlot`](crate::rdma::rw::RwSlot) is
    /// filled, its RDMA WRITEs are posted before, in the same call.
    ///
    /// # Errors
    ///
    /// As [`QueuePair::post_send`], and the slot stays filled; in addition `EINVAL` if the slot is
    /// filled for another queue pair or direction.
    ///
    /// If the device accepts some of the WRITEs but not the SEND, the result is `Ok`, because the
    /// buffers must stay as they are until the device has finished. The queue pair is put into the
    /// error state, and the item completes as flushed when the queue pair is drained.
    pub(crate) fn post_write_send<T: WriteSendItem>(
        &self,
        item: Arc<T>,
        len: usize,
        solicited: bool,
    ) -> Result<(), (Error, Arc<T>)> {
        if !item.rw().is_filled() {
            return self.post_send(item, len, solicited);
        }
        self.post_response(
            item,
            Response { len, solicited },
            write_send_done::<T>,
            |item| item.rw().begin_post(&self.inner.core, RwDir::Write),
            |item, tail| match tail {
                Chain::Make(tail) => {
                    // SAFETY: The post was begun, and the tail is valid until it is posted.
                    Chain::Make(unsafe { (*item).rw().chain(ptr::null_mut(), tail) })
                }
                Chain::Abort => {
                    // SAFETY: The post was begun, and the device got nothing.
                    unsafe { (*item).rw().abort_post() };
                    Chain::Abort
                }
            },
        )
    }

    /// Posts the RDMA READs of the item's [`RwSlot`](crate::rdma::rw::RwSlot), which complete with
    /// `CqeHandler<READ>`. Does not sleep.
    ///
    /// # Errors
    ///
    /// Returned with the item, whose slot stays filled if it was: `EPIPE` if the queue pair is
    /// being torn down, `EINVAL` if the slot is not filled, or filled for another queue pair or
    /// direction, `EBUSY` if the item is already posted, `EAGAIN` if the send queue is full, and
    /// those of the device's driver. If the device accepts only some of the READs, the result is as
    /// described at [`QueuePair::post_write_send`].
    pub(crate) fn post_read<T: ReadItem>(&self, item: Arc<T>) -> Result<(), (Error, Arc<T>)> {
        let Some(core) = self.inner.core.enter() else {
            return Err((EPIPE, item));
        };
        let wrs = match item.rw().begin_post(&core, RwDir::Read) {
            Ok(wrs) => wrs,
            Err(e) => return Err((e, item)),
        };
        let posted = self.launch::<T, READ>(&core, item, read_done::<T>, wrs, |item, cqe| {
            // SAFETY: The item is valid, and the post was begun; there is no tail.
            unsafe { (*item).rw().chain(cqe, ptr::null_mut()) }
        });
        posted.map_err(|(e, item)| {
            // SAFETY: The post was begun, and the device got nothing.
            unsafe { item.rw().abort_post() };
            (e, item)
        })
    }

    /// Posts an RDMA WRITE of length 0 (`ib_post_send`), which completes with `CqeHandler<SEND>`
    /// when the peer's HCA has acknowledged it. It names no memory: the responder checks no key for
    /// a length of 0 (InfiniBand Architecture Specification, C9-88). Does not sleep.
    ///
    /// # Errors
    ///
    /// Returned with the item: `EPIPE` if the queue pair is being torn down, `EBUSY` if the item is
    /// already posted, `EAGAIN` if the send queue is full, and those of the device's driver.
    pub(crate) fn post_empty_write<T: HasCqe<SEND> + CqeHandler<SEND>>(
        &self,
        item: Arc<T>,
    ) -> Result<(), (Error, Arc<T>)> {
        let Some(core) = self.inner.core.enter() else {
            return Err((EPIPE, item));
        };
        let mut write = bindings::ib_rdma_wr::default();
        write.wr.opcode = bindings::ib_wr_opcode_IB_WR_RDMA_WRITE;
        write.wr.send_flags = bindings::ib_send_flags_IB_SEND_SIGNALED;
        self.launch::<T, SEND>(&core, item, empty_write_done::<T>, 1, |_, cqe| {
            write.wr.__bindgen_anon_1.wr_cqe = cqe;
            &mut write.wr
        })
    }

    /// Posts a response; common part of [`Self::post_send`] and [`Self::post_write_send`]. `begin`
    /// claims the requests before the SEND and returns their number; `before` chains these to the
    /// SEND, or undoes `begin`.
    fn post_response<T: SendItem>(
        &self,
        item: Arc<T>,
        what: Response,
        done: Done,
        begin: impl FnOnce(&T) -> Result<u32>,
        before: impl Fn(*const T, Chain) -> Chain,
    ) -> Result<(), (Error, Arc<T>)> {
        let Some(core) = self.inner.core.enter() else {
            return Err((EPIPE, item));
        };
        if item.tx().device().id() != core.device().id() {
            return Err((EINVAL, item));
        }
        let mut sge = match item.tx().begin_post(what.len, core.lkey()) {
            Ok(sge) => sge,
            Err(e) => return Err((e, item)),
        };
        let wrs = match begin(&item) {
            Ok(wrs) => wrs,
            Err(e) => {
                // SAFETY: The post was begun, and the device got nothing.
                unsafe { item.tx().abort_post() };
                return Err((e, item));
            }
        };
        let solicited = match what.solicited {
            true => bindings::ib_send_flags_IB_SEND_SOLICITED,
            false => 0,
        };
        let mut send = bindings::ib_send_wr {
            sg_list: &mut sge,
            num_sge: 1,
            opcode: bindings::ib_wr_opcode_IB_WR_SEND,
            send_flags: bindings::ib_send_flags_IB_SEND_SIGNALED | solicited,
            ..Default::default()
        };
        let total = wrs.saturating_add(1);
        let posted = self.launch::<T, SEND>(&core, item, done, total, |item, cqe| {
            send.__bindgen_anon_1.wr_cqe = cqe;
            match before(item, Chain::Make(&mut send)) {
                Chain::Make(first) => first,
                Chain::Abort => ptr::null_mut(),
            }
        });
        posted.map_err(|(e, item)| {
            before(Arc::as_ptr(&item), Chain::Abort);
            // SAFETY: The post was begun, and the device got nothing.
            unsafe { item.tx().abort_post() };
            (e, item)
        })
    }

    /// Posts a chain of `wrs` requests, the last of which completes to the item's entry. On success
    /// the entry owns the item. `chain` builds the chain. `core` is that of this queue pair.
    fn launch<T: HasCqe<ID>, const ID: u64>(
        &self,
        core: &Caller<'_>,
        item: Arc<T>,
        done: Done,
        wrs: u32,
        chain: impl FnOnce(*const T, *mut bindings::ib_cqe) -> *mut bindings::ib_send_wr,
    ) -> Result<(), (Error, Arc<T>)> {
        let core_in_flight = match QpCore::launch(core) {
            Ok(core) => core,
            Err(e) => return Err((e, item)),
        };
        if let Err(e) = core.take_send(wrs) {
            return Err((e, item));
        }
        let raw = Arc::into_raw(item);
        // SAFETY: The item is valid.
        let cqe = unsafe { T::raw_get_cqe(raw.cast_mut()) };
        let flight = Flight {
            core: core_in_flight,
            wrs,
        };
        // SAFETY: The entry is a part of the item, which is valid.
        if let Err(e) = unsafe { (*cqe).claim(done, flight) } {
            core.give_send(wrs);
            // SAFETY: It came from `into_raw` above.
            return Err((e, unsafe { Arc::from_raw(raw) }));
        }
        let first = chain(raw, Cqe::raw_cqe(cqe));
        // SAFETY: The requests are valid; what they refer to stays so until the completion.
        match unsafe { post_chain(core, first, wrs) } {
            Ok(()) => Ok(()),
            Err(Failed::Part(e)) => {
                pr_warn!(
                    "{}: QP {}: a chain of requests was posted in part: {:?}\n",
                    core.device().name(),
                    core.qp_num(),
                    e
                );
                // SAFETY: The entry is claimed; the signaled request at the end of the chain was
                // not posted, so it will not complete.
                unsafe { core.orphan(cqe.cast()) };
                // Deferred, because it sleeps. If the work item is already queued, once suffices.
                let _ = core
                    .device()
                    .reaper()
                    .as_queue()
                    .enqueue::<Arc<QpInner<O>>, 1>(Arc::clone(&self.inner));
                Ok(())
            }
            Err(Failed::Nothing(e)) => {
                // SAFETY: We have claimed the entry, and no completion comes.
                drop(unsafe { (*cqe).release() });
                core.give_send(wrs);
                // SAFETY: It came from `into_raw` above; no completion owns it.
                Err((e, unsafe { Arc::from_raw(raw) }))
            }
        }
    }
}

/// Posts `wrs` chained requests.
///
/// # Safety
///
/// The requests must be valid, and what they refer to as well, until they have completed.
unsafe fn post_chain(
    core: &Caller<'_>,
    first: *const bindings::ib_send_wr,
    wrs: u32,
) -> Result<(), Failed> {
    if first.is_null() {
        return Err(Failed::Nothing(EINVAL));
    }
    let mut bad = ptr::null();
    // SAFETY: We are inside, so the queue pair is valid; the caller promises it for the rest.
    let ret = unsafe { bindings::srpt_ib_post_send_chain(core.as_raw(), first, &mut bad) };
    if ret == 0 {
        Ok(())
    } else if wrs == 1 || ptr::eq(bad, first) {
        Err(Failed::Nothing(Error::from_errno(ret)))
    } else {
        // Also if the driver does not report the failed request.
        Err(Failed::Part(Error::from_errno(ret)))
    }
}

/// Argument and result of `before` in [`QueuePair::post_response`].
enum Chain {
    /// Build a chain. Argument: its last request; result: its first.
    Make(*mut bindings::ib_send_wr),
    /// Undo `begin`.
    Abort,
}

/// Completion function of a receive.
///
/// # Safety
///
/// Called by the RDMA core only, for a buffer that `post_recv` of an `O` has posted.
unsafe extern "C" fn recv_done<O: QpOwner>(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
    // SAFETY: The completion is valid. The entry is the first member of the buffer that `post_recv`
    // turned into a pointer; the completion gives it back.
    let mut buf = unsafe { KBox::from_raw((*wc).__bindgen_anon_1.wr_cqe.cast::<RecvBuf<O>>()) };
    let posted = ::core::mem::replace(&mut buf.posted, Posted::No);
    buf.dma().sync_for_cpu();
    let Posted::Qp(flight) = posted else {
        return;
    };
    flight.core.give_recv();
    if let Some(owner) = QpInner::owner(&flight) {
        // SAFETY: The completion is valid until we return, and that of a receive.
        let received = unsafe { WorkCompletion::from_raw(wc).received() };
        O::recv_done(owner, KBox::into_pin(buf), received);
    }
    drop(flight);
}

/// Completes an entry of the send queue: takes the item back, calls `finish` to release what the
/// device used, and calls the handler.
///
/// # Safety
///
/// `wc` must be the completion of an entry of a `T`, which was posted.
unsafe fn complete<T: HasCqe<ID> + CqeHandler<ID>, const ID: u64>(
    wc: *mut bindings::ib_wc,
    finish: impl FnOnce(&T),
) {
    // SAFETY: The completion is valid.
    let cqe = unsafe { (*wc).__bindgen_anon_1.wr_cqe.cast::<Cqe<T, ID>>() };
    // SAFETY: The entry is part of an item; one that has completed before is usually still there.
    if !unsafe { (*cqe).end() } {
        // A driver that completes a request twice, as siw does with RDMA READs that it flushes,
        // must not make us drop two references.
        if ratelimit::ok() {
            pr_warn!("a request was completed twice\n");
        }
        return;
    }
    // SAFETY: `launch` turned the item into a pointer, and its completion turns it back. This is
    // that completion: `end` returns `true` once per post.
    let item = unsafe { Arc::from_raw(T::cqe_container_of(cqe).cast_const()) };
    finish(&item);
    // SAFETY: The entry is part of the item, and its completion owns it.
    let Some(flight) = (unsafe { (*cqe).release() }) else {
        return;
    };
    flight.core.give_send(flight.wrs);
    // SAFETY: The completion is valid until we return.
    item.done(unsafe { WorkCompletion::from_raw(wc) });
    drop(flight);
}

/// Completion function of a SEND.
///
/// # Safety
///
/// Called by the RDMA core only, for an item that `post_send` has posted.
unsafe extern "C" fn send_done<T: SendItem>(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
    // SAFETY: The buffer was posted with the entry, and this is its completion.
    unsafe { complete::<T, SEND>(wc, |item| item.tx().end_post()) };
}

/// Completion function of an RDMA WRITE of length 0.
///
/// # Safety
///
/// Called by the RDMA core only, for an item that `post_empty_write` has posted.
unsafe extern "C" fn empty_write_done<T: HasCqe<SEND> + CqeHandler<SEND>>(
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
/// Called by the RDMA core only, for an item that `post_write_send` has posted with a transfer.
unsafe extern "C" fn write_send_done<T: WriteSendItem>(
    _cq: *mut bindings::ib_cq,
    wc: *mut bindings::ib_wc,
) {
    // SAFETY: Buffer and transfer were posted with the entry; requests of a queue pair complete in
    // order, so this is the completion of both.
    unsafe {
        complete::<T, SEND>(wc, |item| {
            item.tx().end_post();
            item.rw().end_post();
        })
    };
}

/// Completion function of RDMA READs.
///
/// # Safety
///
/// Called by the RDMA core only, for an item that `post_read` has posted.
unsafe extern "C" fn read_done<T: ReadItem>(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
    // SAFETY: The transfer was posted with the entry, and this is its completion.
    unsafe { complete::<T, READ>(wc, |item| item.rw().end_post()) };
}
