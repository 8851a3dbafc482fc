// SPDX-License-Identifier: GPL-2.0

//! Posting to a queue pair.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! A post of a send claims in a fixed order: the callers' gate, the states of buffer and RDMA slot,
//! the gate of posted work, room in the queue, the completion queue entry. If it fails, it releases
//! them; otherwise the completion does ([`super::complete`]).
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
            Part,
            RwDir,
            Tail, //
        }, //
    },
    chain::{
        empty_write,
        note_part,
        post_chain,
        Failed,
        ReadItem,
        SendItem,
        WriteSendItem, //
    },
    complete::{
        empty_write_done,
        read_done,
        recv_done,
        send_done,
        write_send_done, //
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
        atomic::Relaxed,
        gate::Inside, //
    }, //
};

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
    /// `EPIPE` if the queue pair is being torn down, `EBUSY` if a part of the buffer is lent,
    /// `EINVAL` if it is for another device, was posted to another queue pair before, or the queue
    /// pair has a shared receive queue, `ENOSPC` if there were as many buffers as fit in the queue
    /// already, and those of the device's driver. The buffer is freed.
    pub(crate) fn post_recv(&self, buf: Pin<KBox<RecvBuf<O>>>) -> Result {
        let Some(inner) = Inside::<_, CALLERS>::enter(&**self.inner) else {
            return Err(EPIPE);
        };
        let core = &inner.core;
        if buf.is_lent() {
            return Err(EBUSY);
        }
        if core.has_srq() || buf.dma().device().id() != core.device().id() {
            return Err(EINVAL);
        }
        let flight = QpInner::launch(&inner)?;
        // SAFETY: The buffer is not moved out of the box.
        let mut owned = unsafe { Pin::into_inner_unchecked(buf) };
        let seat = inner.seat(&mut owned.seat)?;
        owned.cqe.set_done(recv_done::<O>);
        owned.posted = Posted::Qp(flight);
        owned.dma().sync_for_device();
        let mut sge = owned.sge(core.lkey());

        let raw = KBox::into_raw(owned);
        // INVARIANT: It is being posted.
        seat.store(raw, Relaxed);
        let mut wr = bindings::ib_recv_wr {
            sg_list: &mut sge,
            num_sge: 1,
            ..pin_init::zeroed()
        };
        // CAST: The entry is the first member, and the type is `repr(C)`.
        wr.__bindgen_wr_cqe.wr_cqe = raw.cast();
        // SAFETY: We are inside, so the queue pair is valid. The buffer is mapped for its device
        // and valid until its completion.
        let ret = unsafe { bindings::srpt_ib_post_recv(core.as_raw(), &wr) };
        if ret == 0 {
            return Ok(());
        }

        // INVARIANT: It was not posted after all.
        seat.store(ptr::null_mut(), Relaxed);
        // SAFETY: The device did not take it, so it is still ours.
        let mut owned = unsafe { KBox::from_raw(raw) };
        owned.posted = Posted::No;
        Err(Error::from_errno(ret))
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
        let none = Part {
            wrs: 0,
            is_last: true,
        };
        let before = |_: *const T, chain: Chain<'_>| match chain {
            Chain::Make { send, .. } => ptr::from_mut(send),
            Chain::Abort { .. } => ptr::null_mut(),
        };
        self.post_response(item, what, send_done::<T>, |_, _| Ok(none), before)
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
            |item, core| item.rw().begin_post(core, RwDir::Write),
            |item, chain| match chain {
                Chain::Make { send, cqe, later } => match later {
                    // SAFETY: The post was begun, and the SEND is valid until it is posted.
                    None => unsafe { (*item).rw().chain(ptr::null_mut(), send) },
                    // SAFETY: The post was begun; there is no tail.
                    Some(tail) => unsafe {
                        (*item).rw().keep_tail(tail);
                        (*item).rw().chain(cqe, ptr::null_mut())
                    },
                },
                Chain::Abort { core } => {
                    // SAFETY: The post was begun, and the device got nothing.
                    unsafe { (*item).rw().abort_post(core) };
                    ptr::null_mut()
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
        let part = match item.rw().begin_post(&core, RwDir::Read) {
            Ok(part) => part,
            Err(e) => return Err((e, item)),
        };
        let posted = self.launch::<T, READ>(&core, item, read_done::<T>, part.wrs, |item, cqe| {
            // SAFETY: The item is valid, and the post was begun; there is no tail.
            unsafe { (*item).rw().chain(cqe, ptr::null_mut()) }
        });
        posted.map_err(|(e, item)| {
            // SAFETY: The post was begun, and the device got nothing.
            unsafe { item.rw().abort_post(&core) };
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
        let mut write = empty_write();
        self.launch::<T, SEND>(&core, item, empty_write_done::<T>, 1, |_, cqe| {
            write.wr.__bindgen_wr_cqe.wr_cqe = cqe;
            &mut write.wr
        })
    }

    /// Posts a response; common part of [`Self::post_send`] and [`Self::post_write_send`]. `begin`
    /// claims the requests before the SEND and returns what is posted of them now; `before` makes
    /// the chain, or undoes `begin`.
    fn post_response<T: SendItem>(
        &self,
        item: Arc<T>,
        what: Response,
        done: Done,
        begin: impl FnOnce(&T, &Caller<'_>) -> Result<Part>,
        before: impl Fn(*const T, Chain<'_>) -> *mut bindings::ib_send_wr,
    ) -> Result<(), (Error, Arc<T>)> {
        let Some(core) = self.inner.core.enter() else {
            return Err((EPIPE, item));
        };
        if item.tx().device().id() != core.device().id() {
            return Err((EINVAL, item));
        }
        let (mut sge, copied) = match item
            .tx()
            .begin_post(what.len, core.lkey(), core.max_inline())
        {
            Ok(begun) => begun,
            Err(e) => return Err((e, item)),
        };
        let part = match begin(&item, &core) {
            Ok(part) => part,
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
        let flags = bindings::ib_send_flags_IB_SEND_SIGNALED | solicited | copied;
        let later = (!part.is_last).then_some(Tail { sge, flags });
        let total = part.wrs.saturating_add(part.is_last.into());
        let mut send = Tail::request(&mut sge, flags);
        let posted = self.launch::<T, SEND>(&core, item, done, total, |item, cqe| {
            send.__bindgen_wr_cqe.wr_cqe = cqe;
            let send = &mut send;
            before(item, Chain::Make { send, cqe, later })
        });
        posted.map_err(|(e, item)| {
            before(Arc::as_ptr(&item), Chain::Abort { core: &core });
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
        let before = core.unsignaled.take_over();
        let flight = Flight {
            core: core_in_flight,
            wrs,
            before,
        };
        // SAFETY: The entry is a part of the item, which is valid.
        if let Err(e) = unsafe { (*cqe).claim(done, flight) } {
            core.give_send(wrs);
            core.unsignaled.hand_back(before);
            // SAFETY: It came from `into_raw` above.
            return Err((e, unsafe { Arc::from_raw(raw) }));
        }
        let first = chain(raw, Cqe::raw_cqe(cqe));
        // SAFETY: We are inside. The requests are valid; what they refer to stays so until the
        // completion.
        match unsafe { post_chain(core, first, wrs) } {
            Ok(()) => Ok(()),
            Err(Failed::Part(e)) => {
                note_part(core, e);
                // SAFETY: The entry is claimed; the signaled request at the end of the chain was
                // not posted, so it will not complete.
                unsafe { core.orphan(cqe.cast()) };
                // Deferred, because it sleeps. If the work item is already queued, once suffices.
                let _ = core
                    .device()
                    .destroy_queue()
                    .as_queue()
                    .enqueue::<Arc<QpInner<O>>, 1>(Arc::clone(&self.inner));
                Ok(())
            }
            Err(Failed::Nothing(e)) => {
                // SAFETY: We have claimed the entry, and no completion comes.
                drop(unsafe { (*cqe).release() });
                core.give_send(wrs);
                core.unsignaled.hand_back(before);
                // SAFETY: It came from `into_raw` above; no completion owns it.
                Err((e, unsafe { Arc::from_raw(raw) }))
            }
        }
    }
}

/// What `before` in [`QueuePair::post_response`] is to do.
enum Chain<'a> {
    /// Make a chain and return its first request.
    Make {
        /// The SEND, which is the last.
        send: &'a mut bindings::ib_send_wr,
        /// The entry that the last request completes to.
        cqe: *mut bindings::ib_cqe,
        /// The SEND is kept for later: the chain is a part of the transfer before it.
        later: Option<Tail>,
    },
    /// Undo `begin`.
    Abort {
        /// The queue pair, from inside.
        core: &'a Caller<'a>,
    },
}
