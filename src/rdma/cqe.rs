// SPDX-License-Identifier: GPL-2.0

//! Completion queue entries of work that is posted to a send queue (`struct ib_cqe`).
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! The pattern is that of the kernel crate's `Work`: a type embeds a [`Cqe`], [`impl_has_cqe!`]
//! proves where, and [`CqeHandler`] is called when the work completes. While it is posted, the
//! entry owns one `Arc` of the type it is embedded in. `ID` distinguishes several entries of one
//! type; [`SEND`] and [`READ`] are in use.
//!
//! Not here: posting ([`super::qp`]), entries of receives, which are part of the buffer
//! ([`super::buf`]).

use core::{
    cell::UnsafeCell,
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    ptr, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    entry::{
        CqeHead,
        Done, //
    },
    qp::core::{
        QpCore,
        IN_FLIGHT, //
    },
    wc::WorkCompletion, //
};
use crate::{
    bindings,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        gate::Stay,
        state::atomic_enum, //
    }, //
};

/// Entry of a SEND, possibly with RDMA WRITEs before it.
pub(crate) const SEND: u64 = 0;
/// Entry of RDMA READs.
pub(crate) const READ: u64 = 1;

/// Handler of the completion of posted work.
pub(crate) trait CqeHandler<const ID: u64>: Send + Sync + Sized + 'static {
    /// Handles the completion, successful or not. Called exactly once per successful post, in
    /// process context.
    ///
    /// Buffers and RDMA contexts of the work are already free for reuse. Must not destroy or drain
    /// the queue pair.
    fn done(self: Arc<Self>, wc: &WorkCompletion);
}

atomic_enum! {
    /// State of an entry.
    enum Post {
        /// It is not posted.
        Free = 0,
        /// It is posted, or about to be.
        Posted = 1,
        /// Its completion is being handled.
        Ending = 2,
    }
}

/// A completion queue entry, embedded in `T`.
///
/// # Invariants
///
/// The task that changed `state` from `Free` owns `claim`, until `state` is `Free` again; but while
/// the entry is posted, the completion that has changed it from `Posted` does.
#[repr(C)]
pub(crate) struct Cqe<T, const ID: u64> {
    claim: UnsafeCell<Claim>,
    /// The queue pair that it is posted to; null while it is not posted.
    posted_to: Atomic<*const QpCore>,
    state: Atomic<Post>,
    _embedded_in: PhantomData<fn() -> T>,
    _pin: PhantomPinned,
}

/// State of a posted entry. Begins with the head, which begins with the C entry, so that one
/// address serves for all of them.
#[repr(C)]
struct Claim {
    head: CqeHead,
    flight: Option<Flight>,
}

/// Guard of a posted entry: keeps the queue pair, and records how many entries of the send queue
/// are taken.
pub(super) struct Flight {
    /// The queue pair, which cannot be destroyed before this is dropped.
    pub(super) core: Stay<QpCore, IN_FLIGHT>,
    /// Work requests of the chain.
    pub(super) wrs: u32,
    /// Unsignaled requests before it whose places its completion frees.
    pub(super) before: u32,
}

// SAFETY: The entry does not contain a `T`; its own data is `Send`.
unsafe impl<T, const ID: u64> Send for Cqe<T, ID> {}
// SAFETY: By the type invariant `state` gives exclusive access to `claim`.
unsafe impl<T, const ID: u64> Sync for Cqe<T, ID> {}

impl<T, const ID: u64> Cqe<T, ID> {
    /// Returns an entry that is not posted.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Nothing owns `claim`.
        Self {
            claim: UnsafeCell::new(Claim {
                head: CqeHead::new(),
                flight: None,
            }),
            posted_to: Atomic::new(ptr::null()),
            state: Atomic::new(Post::Free),
            _embedded_in: PhantomData,
            _pin: PhantomPinned,
        }
    }

    /// Claims the entry for a post.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is posted already.
    pub(super) fn claim(&self, done: Done, flight: Flight) -> Result {
        self.state
            .cmpxchg(Post::Free, Post::Posted, Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant we own it now.
        let claim = unsafe { &mut *self.claim.get() };
        claim.head.set_done(done);
        self.posted_to.store(&raw const *flight.core, Relaxed);
        claim.flight = Some(flight);
        Ok(())
    }

    /// Releases the entry after its completion or a post that failed.
    ///
    /// # Safety
    ///
    /// The caller must own `claim` (see the type invariant).
    pub(super) unsafe fn release(&self) -> Option<Flight> {
        // SAFETY: The caller promises ownership.
        let flight = unsafe { (*self.claim.get()).flight.take() };
        self.posted_to.store(ptr::null(), Relaxed);
        // INVARIANT: The caller owned it, and does so no more.
        self.state.store(Post::Free, Release);
        flight
    }

    /// Returns the flight of a posted entry whose completion has begun.
    ///
    /// # Safety
    ///
    /// The caller must own `claim` (see the type invariant), and call [`Self::resume`] or
    /// [`Self::release`] only when it does not use the result any more.
    pub(super) unsafe fn flight<'a>(this: *mut Self) -> Option<&'a mut Flight> {
        // SAFETY: The caller promises ownership.
        unsafe { (*(*this).claim.get()).flight.as_mut() }
    }

    /// Makes an entry whose completion has begun a posted one again, for another post.
    ///
    /// # Safety
    ///
    /// The caller must own `claim` (see the type invariant).
    pub(super) unsafe fn resume(&self) {
        // INVARIANT: The caller owned it, and does so no more.
        self.state.store(Post::Posted, Release);
    }

    /// Completes an entry that is posted to `core` in place of C, as flushed. Does nothing if it is
    /// not.
    ///
    /// # Safety
    ///
    /// `this` must be valid. The queue pair must be broken off, so that C completes nothing, and
    /// nothing is posted. To be called by one task at a time.
    pub(super) unsafe fn complete_lost(this: *mut Self, core: &QpCore) {
        // SAFETY: The caller promises that it is valid.
        let (posted, to) =
            unsafe { ((*this).state.load(Acquire), (*this).posted_to.load(Relaxed)) };
        if posted == Post::Posted && ptr::eq(to, core) {
            // SAFETY: It is posted to this queue pair, and the caller promises that C never
            // completes it, nor another task. The head is the first member.
            unsafe { CqeHead::complete(this.cast(), &mut core.flushed()) };
        }
    }

    /// Converts a pointer to an entry to one to its C entry.
    pub(super) fn raw_cqe(this: *mut Self) -> *mut bindings::ib_cqe {
        // CAST: The entry starts with the claim, that with the head, and that with the C entry; all
        // are `repr(C)`, and `UnsafeCell` is transparent.
        this.cast()
    }

    /// Begins the completion of a posted entry. Returns whether the entry was posted: `true` once
    /// per post, `false` for a second completion, even for a concurrent one.
    pub(super) fn end(&self) -> bool {
        // INVARIANT: The completion owns `claim` from now on.
        self.state.cmpxchg(Post::Posted, Post::Ending, Full).is_ok()
    }
}

/// Declares that a type contains a [`Cqe<Self, ID>`](Cqe). Implemented by [`impl_has_cqe!`].
///
/// # Safety
///
/// Both functions must return valid pointers, and be inverses of each other.
pub(crate) unsafe trait HasCqe<const ID: u64>: Sized {
    /// Returns the entry of an object.
    ///
    /// # Safety
    ///
    /// `this` must point to a valid object.
    unsafe fn raw_get_cqe(this: *mut Self) -> *mut Cqe<Self, ID>;

    /// Returns the object that contains an entry.
    ///
    /// # Safety
    ///
    /// `cqe` must point to the entry of a valid object.
    unsafe fn cqe_container_of(cqe: *mut Cqe<Self, ID>) -> *mut Self;
}

/// Safely implements [`HasCqe`]:
///
/// ```ignore
/// impl_has_cqe! {
///     impl HasCqe<SEND> for Command { self.send_cqe }
///     impl{E: Engine} HasCqe<READ> for Other<E> { self.read_cqe }
/// }
/// ```
macro_rules! impl_has_cqe {
    ($(impl$({$($generics:tt)*})? HasCqe<$id:tt> for $self:ty { self.$field:ident })*) => {$(
        // SAFETY: This compiles only if the field has the right type and is not reached through a
        // `Deref`, which `container_of!` does not take; `raw_get_cqe` adds the field's offset,
        // `cqe_container_of` subtracts it.
        unsafe impl$(<$($generics)*>)? $crate::rdma::cqe::HasCqe<$id> for $self {
            #[inline]
            unsafe fn raw_get_cqe(this: *mut Self) -> *mut $crate::rdma::cqe::Cqe<Self, $id> {
                // SAFETY: The caller promises that the object is valid.
                unsafe { &raw mut (*this).$field }
            }

            #[inline]
            unsafe fn cqe_container_of(
                cqe: *mut $crate::rdma::cqe::Cqe<Self, $id>,
            ) -> *mut Self {
                // SAFETY: The caller promises that the entry is the one of a valid object.
                unsafe { ::kernel::container_of!(cqe, Self, $field) }
            }
        }
    )*};
}
pub(crate) use impl_has_cqe;
