// SPDX-License-Identifier: GPL-2.0

//! Shared receive queues: receive buffers for all connections of a device.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! A completion contains a pointer to its queue pair. The queue pair may already be freed, so the
//! pointer is not dereferenced but looked up in a table of the queue pairs that use the queue.
//!
//! Receives that the device has taken but not yet completed are not counted. Destruction is safe
//! because every queue pair here has a completion queue of its own, which is freed after the queue
//! pair and before the shared receive queue: then no completion of a receive is pending.
//!
//! Not here: receives of queue pairs without a shared receive queue ([`super::post`]).

use core::{
    ffi::c_void,
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    error::from_err_ptr,
    new_spinlock,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        SpinLock, //
    }, //
};

use super::{
    super::{
        cq::CompletionQueue,
        device::Device,
        pd::ProtectionDomain,
        wc::WorkCompletion, //
    },
    complete::take_back,
    Context,
    Posted,
    QpOwner,
    RecvBuf, //
};
use crate::{
    bindings,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        ratelimit, //
    }, //
};

/// A posted buffer, which belongs to the queue.
struct Slot<O: QpOwner>(NonNull<RecvBuf<O>>);

// SAFETY: The buffer may be freed by any task.
unsafe impl<O: QpOwner> Send for Slot<O> {}

/// A queue pair that uses the queue.
struct User<O: QpOwner> {
    context: Arc<Context<O>>,
    /// Address of its completion queue, which is freed after the queue pair: together, the two
    /// addresses identify one queue pair, even if a later one is allocated at the same address.
    cq: usize,
}

/// State protected by the lock.
struct Tables<O: QpOwner> {
    /// Posted buffers, by the index in [`Posted::Srq`].
    slots: KVVec<Option<Slot<O>>>,
    /// Free indices.
    free: KVVec<usize>,
    /// Buffers that the device did not take.
    kept: KVVec<Pin<KBox<RecvBuf<O>>>>,
    /// Queue pairs that use the queue, by address.
    users: RBTree<usize, User<O>>,
}

/// Memory and context for an entry in the table of queue pairs.
pub(in crate::rdma) struct Reservation<O: QpOwner> {
    node: RBTreeNodeReservation<usize, User<O>>,
    context: Arc<Context<O>>,
}

/// A `struct ib_srq`; dropping it destroys it and frees the buffers that are posted or kept.
///
/// Queue pairs that use it hold it until they and their completion queues are destroyed.
///
/// # Invariants
///
/// - `raw` was created in `pd` and is owned by this object.
/// - `tables.slots` has every buffer that is posted and not yet completed, and no other.
/// - `tables.users` has only queue pairs that exist.
#[pin_data(PinnedDrop)]
pub(crate) struct SharedReceiveQueue<O: QpOwner> {
    raw: NonNull<bindings::ib_srq>,
    max_wr: u32,
    #[pin]
    tables: SpinLock<Tables<O>>,
    /// Whether the queue has failed (`IB_EVENT_SRQ_ERR`). The event handler refers to this flag.
    failed: Arc<AtomicFlag>,
    pd: Arc<ProtectionDomain>,
}

// SAFETY: A shared receive queue may be used and destroyed by any task.
unsafe impl<O: QpOwner> Send for SharedReceiveQueue<O> {}
// SAFETY: Posting is thread-safe, and the tables are locked.
unsafe impl<O: QpOwner> Sync for SharedReceiveQueue<O> {}

impl<O: QpOwner> SharedReceiveQueue<O> {
    /// Creates a queue with room for `max_wr` buffers (`ib_create_srq_user`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of the device's driver.
    pub(crate) fn new(pd: &Arc<ProtectionDomain>, max_wr: u32) -> Result<Arc<Self>> {
        let mut slots = KVVec::with_capacity(max_wr as usize, GFP_KERNEL)?;
        let mut free = KVVec::with_capacity(max_wr as usize, GFP_KERNEL)?;
        let kept = KVVec::with_capacity(max_wr as usize, GFP_KERNEL)?;
        for index in 0..max_wr as usize {
            slots.push(None, GFP_KERNEL)?;
            free.push(index, GFP_KERNEL)?;
        }
        let failed = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
        let mut attr = bindings::ib_srq_init_attr {
            event_handler: Some(event_callback),
            srq_context: Arc::as_ptr(&failed).cast_mut().cast(),
            attr: bindings::ib_srq_attr {
                max_wr,
                max_sge: 1,
                ..pin_init::zeroed()
            },
            srq_type: bindings::ib_srq_type_IB_SRQT_BASIC,
            ..pin_init::zeroed()
        };
        // SAFETY: The protection domain is valid as long as its object exists; it is a kernel
        // object, so there is no user data.
        let raw = from_err_ptr(unsafe {
            bindings::ib_create_srq_user(pd.as_raw(), &mut attr, ptr::null_mut(), ptr::null_mut())
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // INVARIANT: It is new, nothing is posted, and it is not in use.
        let made = Arc::pin_init(
            pin_init!(Self {
                raw,
                max_wr,
                tables <- new_spinlock!(
                    Tables {
                        slots,
                        free,
                        kept,
                        users: RBTree::new(),
                    },
                    "SharedReceiveQueue::tables"
                ),
                failed: failed.clone(),
                pd: pd.clone(),
            }),
            GFP_KERNEL,
        );
        if made.is_err() {
            // SAFETY: It is ours and not in use.
            unsafe { bindings::ib_destroy_srq_user(raw.as_ptr(), ptr::null_mut()) };
        }
        made
    }

    /// Returns the C queue.
    pub(in crate::rdma) fn as_raw(&self) -> *mut bindings::ib_srq {
        self.raw.as_ptr()
    }

    /// Number of receives that may be posted at the same time.
    pub(crate) fn max_wr(&self) -> u32 {
        self.max_wr
    }

    /// Returns whether the queue has failed (`IB_EVENT_SRQ_ERR`): the device receives nothing from
    /// it any more. Any context.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Device of the queue.
    pub(crate) fn device(&self) -> &Device {
        self.pd.device()
    }

    /// Posts a receive (`ib_post_srq_recv`). Does not sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a part of the buffer is lent, `EINVAL` if it is for another device, `EAGAIN` if
    /// the queue is full: the buffer is freed. Those of the device's driver: the buffer is kept for
    /// [`Self::refill`].
    pub(crate) fn post_recv(&self, buf: Pin<KBox<RecvBuf<O>>>) -> Result {
        if buf.is_lent() {
            return Err(self.loses(EBUSY));
        }
        if buf.dma().device().id() != self.device().id() {
            return Err(self.loses(EINVAL));
        }
        // SAFETY: The buffer is not moved out of the box.
        let mut owned = unsafe { Pin::into_inner_unchecked(buf) };
        owned.dma().sync_for_device();
        let mut sge = owned.sge(self.pd.lkey());
        owned.cqe.set_done(srq_recv_done::<O>);
        let raw = KBox::into_raw(owned);
        // INVARIANT: It is being posted.
        let Some(index) = self.insert(raw) else {
            // SAFETY: It was not posted, so it is ours.
            drop(unsafe { KBox::from_raw(raw) });
            return Err(self.loses(EAGAIN));
        };
        let mut wr = bindings::ib_recv_wr {
            sg_list: &mut sge,
            num_sge: 1,
            ..pin_init::zeroed()
        };
        // CAST: The entry is the first member, and the type is `repr(C)`.
        wr.__bindgen_wr_cqe.wr_cqe = raw.cast();
        // SAFETY: The queue is valid. The buffer is mapped for its device and valid until its
        // completion, or until the queue was destroyed.
        let ret = unsafe { bindings::srpt_ib_post_srq_recv(self.as_raw(), &wr) };
        if ret == 0 {
            return Ok(());
        }
        // INVARIANT: It was not posted after all.
        self.remove(index);
        // SAFETY: The device did not take it, so it is ours.
        let mut owned = unsafe { KBox::from_raw(raw) };
        owned.posted = Posted::No;
        let e = Error::from_errno(ret);
        let mut tables = self.tables.lock();
        // There is room: no more buffers are made than fit in the queue.
        let lost = tables
            .kept
            .push_within_capacity(KBox::into_pin(owned))
            .err();
        drop(tables);
        match lost {
            None => Err(e),
            Some(_) => Err(self.loses(e)),
        }
    }

    /// Says that a buffer is lost. Returns the error.
    #[cold]
    fn loses(&self, e: Error) -> Error {
        if ratelimit::ok() {
            pr_warn!(
                "{}: a shared receive buffer is lost: {:?}\n",
                self.device().name(),
                e
            );
        }
        e
    }

    /// Posts the receives that the device did not take, until it does not take one. Does not sleep.
    pub(crate) fn refill(&self) {
        loop {
            let Some(buf) = self.tables.lock().kept.pop() else {
                return;
            };
            if self.post_recv(buf).is_err() {
                return;
            }
        }
    }

    /// Adds a buffer to the table and stores its index in the buffer. Returns `None` if the table
    /// is full.
    fn insert(&self, raw: *mut RecvBuf<O>) -> Option<usize> {
        let mut tables = self.tables.lock();
        let index = tables.free.pop()?;
        let slot = NonNull::new(raw).map(Slot);
        if let Some(entry) = tables.slots.get_mut(index) {
            *entry = slot;
        }
        // SAFETY: The caller owns the buffer; nothing else accesses it before it is posted.
        unsafe { (*raw).posted = Posted::Srq(NonNull::from(self), index) };
        Some(index)
    }

    /// Removes a buffer from the table.
    fn remove(&self, index: usize) {
        let mut tables = self.tables.lock();
        if let Some(entry) = tables.slots.get_mut(index) {
            *entry = None;
        }
        // The vector has capacity for all indices.
        let _ = tables.free.push_within_capacity(index);
    }

    /// Allocates what [`Self::register`] requires. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(in crate::rdma) fn prepare(&self, context: Arc<Context<O>>) -> Result<Reservation<O>> {
        Ok(Reservation {
            node: RBTreeNodeReservation::new(GFP_KERNEL)?,
            context,
        })
    }

    /// Adds a queue pair and its completion queue to the table.
    pub(in crate::rdma) fn register(
        &self,
        qp: *mut bindings::ib_qp,
        cq: &CompletionQueue,
        reservation: Reservation<O>,
    ) {
        let Reservation { node, context } = reservation;
        let cq = cq.as_raw().addr();
        let node = node.into_node(qp.addr(), User { context, cq });
        let old = self.tables.lock().users.insert(node);
        drop(old);
    }

    /// Removes a queue pair that is about to be destroyed from the table.
    pub(in crate::rdma) fn unregister(&self, qp: *mut bindings::ib_qp) {
        let old = self.tables.lock().users.remove_node(&qp.addr());
        drop(old);
    }
}

#[pinned_drop]
impl<O: QpOwner> PinnedDrop for SharedReceiveQueue<O> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the queue is ours. Queue pairs that use it hold it, so
        // there are none.
        let ret = unsafe { bindings::ib_destroy_srq_user(self.as_raw(), ptr::null_mut()) };
        if ret != 0 {
            pr_err!(
                "{}: cannot destroy a shared receive queue: {}\n",
                self.device().name(),
                ret
            );
            // The device may still write to the buffers and report events: buffers, domain and flag
            // are leaked.
            core::mem::forget((self.pd.clone(), self.failed.clone()));
            return;
        }
        let mut tables = self.tables.lock();
        let slots = core::mem::replace(&mut tables.slots, KVVec::new());
        drop(tables);
        for Slot(buf) in slots.into_iter().flatten() {
            // SAFETY: By the type invariant the buffer was posted and has not completed. The queue
            // is gone, and so are the queue pairs, so the device has no access to it. The
            // completion queues of the queue pairs were their own and are freed, which waits for
            // their completion functions: it will not complete, and is ours.
            drop(unsafe { KBox::from_raw(buf.as_ptr()) });
        }
    }
}

/// `ib_srq_init_attr.event_handler`. Any context.
///
/// # Safety
///
/// Called by the RDMA core only, for a queue whose context is the `failed` of its owner.
unsafe extern "C" fn event_callback(event: *mut bindings::ib_event, context: *mut c_void) {
    // SAFETY: The core passes a valid event.
    if unsafe { (*event).event } == bindings::ib_event_type_IB_EVENT_SRQ_ERR {
        // SAFETY: The flag is dropped after `ib_destroy_srq_user`, which waits for handlers, and
        // leaked if that fails.
        unsafe { &*context.cast_const().cast::<AtomicFlag>() }.store(true, Relaxed);
    }
}

/// Completion function of a receive from a shared queue.
///
/// # Safety
///
/// Called by the RDMA core only, for a buffer that `post_recv` of a queue for `O` has posted.
unsafe extern "C" fn srq_recv_done<O: QpOwner>(cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
    // SAFETY: This is its completion.
    let Some((buf, Posted::Srq(srq, index))) = (unsafe { take_back::<O>(wc) }) else {
        return;
    };
    // SAFETY: The completion is valid.
    let qp = unsafe { (*wc).qp };
    // SAFETY: The queue exists: the queue pair holds it until its completion queue was freed, which
    // waits for this function.
    let srq = unsafe { srq.as_ref() };
    // INVARIANT: It has completed.
    srq.remove(index);
    let context = {
        let tables = srq.tables.lock();
        let user = tables.users.get(&qp.addr());
        user.filter(|user| user.cq == cq.addr())
            .map(|user| user.context.clone())
    };
    let buf = KBox::into_pin(buf);
    match context {
        Some(context) => {
            // SAFETY: The completion is valid until we return, and that of a receive.
            let received = unsafe { WorkCompletion::from_raw(wc).received() };
            O::recv_done(context.owner.as_arc_borrow(), buf, received);
        }
        // The queue pair is destroyed; the other queue pairs need the buffer. If the device does
        // not take it now, it is kept.
        None => {
            let _ = srq.post_recv(buf);
        }
    }
}
