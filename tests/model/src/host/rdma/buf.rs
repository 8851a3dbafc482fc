// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/rdma/buf.rs`: receive buffers and response buffers.

use core::{
    cell::{Cell, RefCell},
    marker::PhantomData,
};
use std::rc::Rc;

use kernel::{error::code::*, error::Result};
use sched::Trace;

use super::device::Device;
use crate::world::{world, Rule};

/// Counts a buffer that is mapped for the device, for a connection.
struct Mapped(usize);

impl Mapped {
    fn new(device: &Device) -> Self {
        let conn = world().conn(device.0);
        conn.mapped.set(conn.mapped.get() + 1);
        Self(device.0)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let conn = world().conn(self.0);
        conn.mapped.set(conn.mapped.get() - 1);
    }
}

/// A receive buffer.
pub(crate) struct RecvBuf<P> {
    data: Vec<u8>,
    lent: Rc<Cell<bool>>,
    _mapped: Mapped,
    _of: PhantomData<fn() -> P>,
}

/// New receive buffers.
pub(crate) struct RecvBufs(Device);

impl RecvBufs {
    pub(crate) fn new(device: &Device) -> Self {
        Self(Device(device.0))
    }

    pub(crate) fn take<P>(&mut self) -> Result<core::pin::Pin<Box<RecvBuf<P>>>> {
        Ok(Box::pin(RecvBuf {
            data: Vec::new(),
            lent: Rc::new(Cell::new(false)),
            _mapped: Mapped::new(&self.0),
            _of: PhantomData,
        }))
    }
}

impl<P> RecvBuf<P> {
    /// The device writes to it.
    pub(crate) fn receive(&mut self, data: Vec<u8>) {
        self.data = data;
    }

    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        &self.data[..len.min(self.data.len())]
    }

    pub(crate) fn lend(&self, part: &[u8]) -> Option<Immediate> {
        let lends = !part.is_empty() && !self.lent.replace(true);
        lends.then(|| Immediate(self.lent.clone()))
    }

    /// Whether the engine uses it. What is in use must not be posted.
    pub(super) fn is_lent(&self) -> bool {
        let lent = self.lent.get();
        if lent {
            world().breaks(
                Rule::NothingFreedInUse,
                "a receive buffer that the engine uses",
            );
        }
        lent
    }
}

/// Immediate data that the engine uses in its receive buffer.
pub(crate) struct Immediate(Rc<Cell<bool>>);

impl Drop for Immediate {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Filled,
    Posted,
}

/// A response buffer.
pub(crate) struct TxBuf {
    state: Cell<State>,
    data: RefCell<Vec<u8>>,
    filled: Cell<usize>,
    trace: Trace,
    _mapped: Mapped,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl Send for TxBuf {}
// SAFETY: As above.
unsafe impl Sync for TxBuf {}

/// New response buffers.
pub(crate) struct TxBufs(Device, usize);

impl TxBufs {
    pub(crate) fn new(device: &Device, len: usize, _count: usize) -> Result<Self> {
        Ok(Self(Device(device.0), len))
    }

    pub(crate) fn take(&mut self) -> Result<TxBuf> {
        Ok(TxBuf {
            state: Cell::new(State::Idle),
            data: RefCell::new(vec![0; self.1]),
            filled: Cell::new(0),
            trace: Trace::new(),
            _mapped: Mapped::new(&self.0),
        })
    }
}

impl TxBuf {
    pub(crate) fn fill(&self, build: impl FnOnce(&mut [u8]) -> usize) -> Result<usize> {
        sched::touch(&self.trace, true);
        if self.state.get() == State::Posted {
            return Err(EBUSY);
        }
        let len = build(&mut self.data.borrow_mut());
        self.filled.set(len);
        self.state.set(State::Filled);
        Ok(len)
    }

    /// The bytes to send; the buffer is the device's from now on.
    pub(super) fn begin_post(&self, len: usize) -> Result<Vec<u8>> {
        sched::touch(&self.trace, true);
        if self.state.get() != State::Filled {
            return Err(EBUSY);
        }
        if len == 0 || len > self.filled.get() {
            return Err(EINVAL);
        }
        self.state.set(State::Posted);
        Ok(self.data.borrow()[..len].to_vec())
    }

    pub(super) fn abort_post(&self) {
        sched::touch(&self.trace, true);
        self.state.set(State::Filled);
    }

    pub(super) fn end_post(&self) {
        sched::touch(&self.trace, true);
        self.state.set(State::Idle);
    }
}

impl Drop for TxBuf {
    fn drop(&mut self) {
        if self.state.get() == State::Posted {
            world().breaks(Rule::NothingFreedInUse, "a response buffer that is posted");
        }
    }
}

/// Has a response buffer.
pub(crate) trait HasTx {
    fn tx(&self) -> &TxBuf;
}

/// Says which.
macro_rules! impl_has_tx {
    ($(impl$({$($generics:tt)*})? HasTx for $self:ty { self.$field:ident })*) => {$(
        impl$(<$($generics)*>)? $crate::rdma::buf::HasTx for $self {
            fn tx(&self) -> &$crate::rdma::buf::TxBuf {
                &self.$field
            }
        }
    )*};
}
pub(crate) use impl_has_tx;
