// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/rdma/qp.rs`, `qp/post.rs` and `qp/core.rs`: queue pairs.
//!
//! A function is one step: it has a point before it, and none inside. What the gate and the counters
//! of the real ones are for is taken as given.

use core::pin::Pin;
use std::rc::Rc;

use kernel::{
    error::{code::*, Error},
    sync::{Arc, ArcBorrow},
};

use super::{
    buf::{self, HasTx},
    cq::CompletionQueue,
    cqe::{CqeHandler, HasCqe, READ, SEND},
    pd::ProtectionDomain,
    rw::{HasRw, RwDir},
    wc::{WcStatus, WorkCompletion},
};
use crate::{
    conn::{Conn, What, Wr},
    world::{world, Rule},
};

/// A receive buffer.
pub(crate) type RecvBuf<O> = buf::RecvBuf<O>;

/// An asynchronous event of a queue pair.
#[allow(dead_code, reason = "the driver has names for them")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QpEvent {
    LastWqeReached,
    Fatal(u32),
    Other(u32),
}

/// Result of a drain.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drained {
    Completely,
    Stuck,
}

/// What a queue pair belongs to.
pub(crate) trait QpOwner: Send + Sync + Sized + 'static {
    fn recv_done(
        this: ArcBorrow<'_, Self>,
        buf: Pin<Box<RecvBuf<Self>>>,
        received: Result<usize, WcStatus>,
    );

    fn send_failed(this: ArcBorrow<'_, Self>, status: WcStatus);

    fn qp_event(this: ArcBorrow<'_, Self>, event: QpEvent);
}

/// What a new queue pair shall be.
#[allow(dead_code, reason = "what is in it goes to the device")]
pub(crate) struct QpInit<O: QpOwner> {
    pub(crate) pd: Arc<ProtectionDomain>,
    pub(crate) cq: CompletionQueue,
    pub(crate) srq: Option<Arc<srq::SharedReceiveQueue<O>>>,
    pub(crate) max_send_wr: u32,
    pub(crate) max_recv_wr: u32,
    pub(crate) max_rdma_ctxs: u32,
    pub(crate) largest_part: u32,
    pub(crate) max_send_sge: u32,
    pub(crate) max_inline: u32,
    pub(crate) owner: Arc<O>,
}

/// Sends that may be copied and not have completed.
pub(crate) const UNSIGNALED: u32 = 32;

/// A queue pair.
pub(crate) struct QueuePair<O: QpOwner> {
    conn: Rc<Conn>,
    owner: Arc<O>,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl<O: QpOwner> Send for QueuePair<O> {}
// SAFETY: As above.
unsafe impl<O: QpOwner> Sync for QueuePair<O> {}

impl<O: QpOwner> QueuePair<O> {
    /// That of a connection.
    pub(super) fn new(conn: &Rc<Conn>, init: QpInit<O>) -> Self {
        // The drain has a slot of its own besides.
        conn.sq_size.set(init.max_send_wr + init.max_rdma_ctxs);
        Self {
            conn: conn.clone(),
            owner: init.owner,
        }
    }

    pub(crate) fn cq_failed(&self) -> bool {
        false
    }

    pub(crate) fn max_send_wr(&self) -> u32 {
        self.conn.sq_size.get()
    }

    pub(super) fn conn(&self) -> &Rc<Conn> {
        &self.conn
    }

    pub(crate) fn post_recv(&self, buf: Pin<Box<RecvBuf<O>>>) -> Result<(), Error> {
        sched::access(&self.conn.qp, true);
        if buf.is_lent() {
            return Err(EBUSY);
        }
        if self.conn.gate_closed.get() {
            return Err(EPIPE);
        }
        let owner = self.owner.clone();
        let done = move |received: Option<Vec<u8>>| {
            let mut buf = buf;
            let result = match received {
                Some(data) => {
                    let len = data.len();
                    buf.receive(data);
                    Ok(len)
                }
                None => Err(WcStatus::Flush),
            };
            O::recv_done(owner.as_arc_borrow(), buf, result);
        };
        self.conn.posted.borrow_mut().push_back(Box::new(done));
        Ok(())
    }

    pub(crate) fn post_send<T>(
        &self,
        item: Arc<T>,
        len: usize,
        _solicited: bool,
    ) -> Result<(), (Error, Arc<T>)>
    where
        T: HasCqe<SEND> + HasTx + CqeHandler<SEND>,
    {
        self.post_tx(item, len, 0, |_| ())
    }

    pub(crate) fn post_write_send<T>(
        &self,
        item: Arc<T>,
        len: usize,
        solicited: bool,
    ) -> Result<(), (Error, Arc<T>)>
    where
        T: HasCqe<SEND> + HasTx + CqeHandler<SEND> + HasRw,
    {
        if !item.rw().is_filled() {
            return self.post_send(item, len, solicited);
        }
        if let Err(e) = item.rw().begin_post(RwDir::Write) {
            return Err((e, item));
        }
        let slots = self.conn.cfg.rdma_slots;
        self.post_tx(item, len, slots, |item| item.rw().end_post())
            .map_err(|(e, item)| {
                item.rw().abort_post();
                (e, item)
            })
    }

    pub(crate) fn begin_inline(&self, _len: usize) -> Option<InlineSend<'_, O>> {
        let conn = &self.conn;
        if !conn.cfg.copies || sched::choose(2) == 0 {
            return None;
        }
        sched::access(&conn.qp, true);
        // The gate waits for what is inside.
        conn.inside.set(conn.inside.get() + 1);
        let room = InlineSend(self);
        (!conn.gate_closed.get()).then_some(room)
    }

    fn post_tx<T>(
        &self,
        item: Arc<T>,
        len: usize,
        rdma: u32,
        end: fn(&T),
    ) -> Result<(), (Error, Arc<T>)>
    where
        T: HasCqe<SEND> + HasTx + CqeHandler<SEND>,
    {
        let bytes = match item.tx().begin_post(len) {
            Ok(bytes) => bytes,
            Err(e) => return Err((e, item)),
        };
        let posted = self.launch::<T, SEND>(item, What::Send(bytes), rdma + 1, move |item| {
            item.tx().end_post();
            end(item);
        });
        posted.map_err(|(e, item)| {
            item.tx().abort_post();
            (e, item)
        })
    }

    pub(crate) fn post_read<T>(&self, item: Arc<T>) -> Result<(), (Error, Arc<T>)>
    where
        T: HasCqe<READ> + HasRw + CqeHandler<READ>,
    {
        let tag = match item.rw().begin_post(RwDir::Read) {
            Ok(tag) => tag,
            Err(e) => return Err((e, item)),
        };
        let slots = self.conn.cfg.rdma_slots;
        self.launch::<T, READ>(item, What::Read(tag), slots, |item| item.rw().end_post())
            .map_err(|(e, item)| {
                item.rw().abort_post();
                (e, item)
            })
    }

    pub(crate) fn post_empty_write<T>(&self, item: Arc<T>) -> Result<(), (Error, Arc<T>)>
    where
        T: HasCqe<SEND> + CqeHandler<SEND>,
    {
        self.launch::<T, SEND>(item, What::Probe, 1, |_| ())
    }

    /// Posts. `end` is what the completion does before the handler.
    fn launch<T, const ID: u64>(
        &self,
        item: Arc<T>,
        what: What,
        slots: u32,
        end: impl FnOnce(&T) + 'static,
    ) -> Result<(), (Error, Arc<T>)>
    where
        T: HasCqe<ID> + CqeHandler<ID>,
    {
        let conn = &self.conn;
        sched::access(&conn.qp, true);
        if conn.gate_closed.get() {
            return Err((EPIPE, item));
        }
        if conn.destroyed.get() {
            world().breaks(Rule::NothingFreedInUse, "a queue pair that is destroyed");
        }
        let of_commands = conn.sq_used_by_commands() + slots;
        if conn.sq_used() + slots > conn.sq_size.get()
            || (what.is_of_command() && of_commands > conn.sq_for_commands())
        {
            world().breaks(Rule::SendQueueBalanced, "more is posted than fits");
            return Err((EAGAIN, item));
        }
        if !matches!(what, What::Probe) && conn.fails() {
            return Err((EIO, item));
        }
        if !item.cqe().claim() {
            world().breaks(Rule::NothingFreedInUse, "an entry that is posted");
            return Err((EBUSY, item));
        }
        let entry = Self::entry::<T, ID>(&item);
        let done = Box::new(move |status: WcStatus| {
            item.cqe().release();
            end(&item);
            item.done(&WorkCompletion(status));
        });
        let status = None;
        conn.posts(&what);
        conn.sends.borrow_mut().push_back(Wr {
            what,
            slots,
            copied: false,
            status,
            entry,
            done,
        });
        Ok(())
    }

    /// What tells an item's entry from all others.
    fn entry<T, const ID: u64>(item: &Arc<T>) -> usize {
        core::ptr::from_ref(&**item).addr() + ID as usize
    }

    pub(crate) fn drain(&self) -> Drained {
        let conn = &self.conn;
        sched::access(&conn.qp, true);
        conn.gate_closed.set(true);
        if conn.inside.get() != 0 {
            let at = conn.clone();
            sched::wait(&conn.qp, move || at.inside.get() == 0);
        }
        conn.error.set(true);
        let at = conn.clone();
        sched::wait(&conn.qp, move || at.is_drained() || at.stuck.get());
        match conn.is_drained() {
            true => Drained::Completely,
            false => Drained::Stuck,
        }
    }

    pub(crate) fn break_off(&self) {
        let conn = &self.conn;
        if !conn.cm_gone.get() {
            world().breaks(Rule::Ends, "the queue pair waits for its id");
        }
        let at = conn.clone();
        sched::wait(&conn.qp, move || {
            at.contexts.get() == at.contexts_posted.get() && !at.handling.get()
        });
        conn.broken_off.set(true);
        // Nothing is to be completed of these.
        conn.sends.borrow_mut().retain(|wr| !wr.copied);
        loop {
            let arrived = conn.arrived.borrow_mut().pop_front().map(|(done, _)| done);
            let Some(done) = arrived.or_else(|| conn.posted.borrow_mut().pop_front()) else {
                break;
            };
            done(None);
        }
        sched::touch(&conn.qp, true);
    }

    pub(crate) fn complete_lost<T: HasCqe<ID>, const ID: u64>(&self, item: &Arc<T>) {
        let conn = &self.conn;
        if !conn.broken_off.get() {
            return;
        }
        let entry = Self::entry::<T, ID>(item);
        let wr = {
            let mut sends = conn.sends.borrow_mut();
            let at = sends.iter().position(|wr| wr.entry == entry);
            at.and_then(|at| sends.remove(at))
        };
        if let Some(wr) = wr {
            sched::touch(conn.engine.trace(), true);
            if let What::Read(tag) = &wr.what {
                conn.unread.borrow_mut().push(*tag);
            }
            conn.completed.set(conn.completed.get() + 1);
            world().note(|| "completes what is lost".into());
            (wr.done)(WcStatus::Flush);
        }
    }

    pub(crate) fn destroy(&self) {
        if self.drain() == Drained::Stuck {
            world().breaks(Rule::Ends, "sends that the device does not complete");
        }
        let at = self.conn.clone();
        sched::wait(&self.conn.qp, move || at.contexts.get() == 0);
        self.conn.destroyed.set(true);
    }
}

/// Room for a send that is copied.
pub(crate) struct InlineSend<'a, O: QpOwner>(&'a QueuePair<O>);

impl<O: QpOwner> InlineSend<'_, O> {
    pub(crate) fn post(self, bytes: &[u8], _solicited: bool) -> Result<(), Error> {
        let (conn, owner) = (&self.0.conn, self.0.owner.clone());
        sched::access(&conn.qp, true);
        if conn.fails() {
            return Err(EIO);
        }
        let copied = conn.sends.borrow().iter().filter(|wr| wr.copied).count();
        if copied >= UNSIGNALED as usize {
            world().breaks(Rule::SendQueueBalanced, "more is copied than fits");
        }
        let what = What::Send(bytes.to_vec());
        conn.posts(&what);
        conn.sends.borrow_mut().push_back(Wr {
            what,
            slots: 0,
            copied: true,
            status: None,
            entry: 0,
            done: Box::new(move |status| match status {
                WcStatus::Ok => (),
                status => O::send_failed(owner.as_arc_borrow(), status),
            }),
        });
        Ok(())
    }
}

impl<O: QpOwner> Drop for InlineSend<'_, O> {
    fn drop(&mut self) {
        let conn = &self.0.conn;
        conn.inside.set(conn.inside.get() - 1);
        sched::touch(&conn.qp, true);
    }
}

/// Shared receive queues, of which there are none.
pub(crate) mod srq {
    use core::{convert::Infallible, marker::PhantomData, pin::Pin};

    use kernel::error::Error;

    use super::RecvBuf;

    /// A shared receive queue.
    pub(crate) struct SharedReceiveQueue<O>(Infallible, PhantomData<fn() -> O>);

    impl<O> SharedReceiveQueue<O> {
        pub(crate) fn has_failed(&self) -> bool {
            match self.0 {}
        }

        pub(crate) fn max_wr(&self) -> u32 {
            match self.0 {}
        }

        pub(crate) fn post_recv(&self, _: Pin<Box<RecvBuf<O>>>) -> Result<(), Error> {
            match self.0 {}
        }

        pub(crate) fn refill(&self) {
            match self.0 {}
        }
    }
}
