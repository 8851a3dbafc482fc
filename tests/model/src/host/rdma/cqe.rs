// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/rdma/cqe.rs`: completion queue entries.

use core::{cell::Cell, marker::PhantomData};

use kernel::sync::Arc;

use super::wc::WorkCompletion;

/// Entry of a SEND.
pub(crate) const SEND: u64 = 0;
/// Entry of RDMA READs.
pub(crate) const READ: u64 = 1;

/// What to do when posted work is done.
pub(crate) trait CqeHandler<const ID: u64>: Send + Sync + Sized + 'static {
    fn done(self: Arc<Self>, wc: &WorkCompletion);
}

/// An entry.
pub(crate) struct Cqe<T, const ID: u64> {
    posted: Cell<bool>,
    _embedded_in: PhantomData<fn() -> T>,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl<T, const ID: u64> Send for Cqe<T, ID> {}
// SAFETY: As above.
unsafe impl<T, const ID: u64> Sync for Cqe<T, ID> {}

impl<T, const ID: u64> Cqe<T, ID> {
    pub(crate) const fn new() -> Self {
        Self {
            posted: Cell::new(false),
            _embedded_in: PhantomData,
        }
    }

    /// Says whether it was free; it is posted from now on.
    pub(super) fn claim(&self) -> bool {
        !self.posted.replace(true)
    }

    pub(super) fn release(&self) {
        self.posted.set(false);
    }
}

/// Has an entry.
pub(crate) trait HasCqe<const ID: u64>: Sized {
    fn cqe(&self) -> &Cqe<Self, ID>;
}

/// Says which.
macro_rules! impl_has_cqe {
    ($(impl$({$($generics:tt)*})? HasCqe<$id:tt> for $self:ty { self.$field:ident })*) => {$(
        impl$(<$($generics)*>)? $crate::rdma::cqe::HasCqe<$id> for $self {
            fn cqe(&self) -> &$crate::rdma::cqe::Cqe<Self, $id> {
                &self.$field
            }
        }
    )*};
}
pub(crate) use impl_has_cqe;
