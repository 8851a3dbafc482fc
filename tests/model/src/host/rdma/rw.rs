// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/rdma/rw.rs`: RDMA transfers.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use kernel::{
    alloc::KVec,
    error::{code::*, Result},
};
use sched::Trace;

use super::{
    qp::{QpOwner, QueuePair},
    sg::SgList,
};
use crate::{
    conn::Conn,
    peer,
    world::{world, Rule},
};

/// A piece of remote memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RemoteSeg {
    pub(crate) addr: u64,
    pub(crate) key: u32,
    pub(crate) len: u32,
}

/// Direction of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RwDir {
    Read,
    Write,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Filled,
    Posted,
}

/// The RDMA transfer of one command.
pub(crate) struct RwSlot {
    state: Cell<State>,
    dir: Cell<RwDir>,
    /// Tag of the request, as the remote address says.
    tag: Cell<u64>,
    /// Memory of its own.
    own: RefCell<Option<Vec<u8>>>,
    /// The engine's buffer, while it is mapped.
    lent: RefCell<Option<SgList>>,
    conn: RefCell<Option<Rc<Conn>>>,
    trace: Trace,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl Send for RwSlot {}
// SAFETY: As above.
unsafe impl Sync for RwSlot {}

impl RwSlot {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            state: Cell::new(State::Idle),
            dir: Cell::new(RwDir::Read),
            tag: Cell::new(0),
            own: RefCell::new(None),
            lent: RefCell::new(None),
            conn: RefCell::new(None),
            trace: Trace::new(),
        })
    }

    pub(crate) fn fill<O: QpOwner>(
        &self,
        qp: &QueuePair<O>,
        sg: SgList,
        mut segs: impl Iterator<Item = RemoteSeg>,
        total: u32,
        dir: RwDir,
    ) -> Result<u32> {
        let seg = segs.next().ok_or(EINVAL)?;
        if sg.len() < total as usize || seg.len < total {
            return Err(EINVAL);
        }
        let slots = self.prepare(qp, seg, dir)?;
        *self.lent.borrow_mut() = Some(sg);
        Ok(slots)
    }

    pub(crate) fn fill_own<O: QpOwner>(&self, qp: &QueuePair<O>, seg: RemoteSeg) -> Result<u32> {
        let slots = self.prepare(qp, seg, RwDir::Read)?;
        *self.own.borrow_mut() = Some(peer::memory(seg.addr, seg.len));
        Ok(slots)
    }

    fn prepare<O: QpOwner>(&self, qp: &QueuePair<O>, seg: RemoteSeg, dir: RwDir) -> Result<u32> {
        let conn = qp.conn();
        sched::access(&conn.qp, true);
        sched::touch(&self.trace, true);
        if self.state.get() != State::Idle {
            return Err(EBUSY);
        }
        if conn.gate_closed.get() {
            return Err(EPIPE);
        }
        conn.contexts.set(conn.contexts.get() + 1);
        *self.conn.borrow_mut() = Some(conn.clone());
        self.tag.set(peer::tag_of(seg.addr));
        self.dir.set(dir);
        self.state.set(State::Filled);
        Ok(conn.cfg.rdma_slots)
    }

    pub(crate) fn take_own(&self) -> Result<KVec<u8>> {
        sched::touch(&self.trace, true);
        match self.state.get() {
            State::Idle => self.own.take().map(Into::into).ok_or(ENOENT),
            _ => Err(EBUSY),
        }
    }

    pub(crate) fn cancel(&self) -> bool {
        sched::touch(&self.trace, true);
        if self.state.get() == State::Filled {
            self.destroy();
        }
        self.state.get() == State::Idle
    }

    fn destroy(&self) {
        drop(self.lent.take());
        if let Some(conn) = self.conn.take() {
            conn.contexts.set(conn.contexts.get() - 1);
            sched::touch(&conn.qp, true);
        }
        self.state.set(State::Idle);
    }

    pub(super) fn is_filled(&self) -> bool {
        self.state.get() == State::Filled
    }

    /// The tag of the request it is for; it is the device's from now on.
    pub(super) fn begin_post(&self, dir: RwDir) -> Result<u64> {
        sched::touch(&self.trace, true);
        if self.state.get() != State::Filled || self.dir.get() != dir {
            return Err(EINVAL);
        }
        self.state.set(State::Posted);
        self.count_posted(1);
        Ok(self.tag.get())
    }

    pub(super) fn abort_post(&self) {
        self.count_posted(-1);
        self.state.set(State::Filled);
    }

    fn count_posted(&self, by: i32) {
        if let Some(conn) = &*self.conn.borrow() {
            conn.contexts_posted.set(conn.contexts_posted.get() + by);
        }
    }

    pub(super) fn end_post(&self) {
        sched::touch(&self.trace, true);
        if self.state.get() == State::Posted {
            self.count_posted(-1);
            self.destroy();
        }
    }
}

impl Drop for RwSlot {
    fn drop(&mut self) {
        if !self.cancel() {
            world().breaks(Rule::NothingFreedInUse, "a transfer that is posted");
        }
    }
}

/// Has a transfer.
pub(crate) trait HasRw {
    fn rw(&self) -> &RwSlot;
}

/// Says which.
macro_rules! impl_has_rw {
    ($(impl$({$($generics:tt)*})? HasRw for $self:ty { self.$field:ident })*) => {$(
        impl$(<$($generics)*>)? $crate::rdma::rw::HasRw for $self {
            fn rw(&self) -> &$crate::rdma::rw::RwSlot {
                &self.$field
            }
        }
    )*};
}
pub(crate) use impl_has_rw;
