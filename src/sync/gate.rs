// SPDX-License-Identifier: GPL-2.0

//! A gate that counts those inside, can be closed for good, and tells when the last one has left.
//!
//! Whatever tears an object down closes its gate and waits until the last user has left; users that
//! come later are refused. This is the only gate of the module. It has no lock, because some are
//! entered several times per command: to enter and to leave is one atomic operation each.
//!
//! Being inside is a guard, which leaves when it is dropped. There are three, which differ in what
//! keeps the object meanwhile:
//!
//! | guard | the object is kept by |
//! |---|---|
//! | [`Inside`] | a borrow |
//! | [`Pass`] | a reference of its own |
//! | [`Stay`] | its end, which waits for the guard: for posted work, without a reference per post |
//!
//! Only [`Flow`](crate::link::flow::Flow) counts for itself, and says why.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        Arc, //
    },
    time::Msecs, //
};

use super::completion::Completion;

/// Set in [`Gate::users`] when the gate is closed; the rest of the bits count.
const CLOSED: u32 = 1 << 31;

/// The gate itself; embedded in the object it guards.
///
/// # Invariants
///
/// The lower bits of `users` count the guards there are, and those that are being refused.
#[pin_data]
pub(crate) struct Gate {
    users: Atomic<u32>,
    /// Completed when it is closed and there is no guard.
    #[pin]
    empty: Completion,
}

impl Gate {
    /// An open gate, which is empty.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: There is no guard.
        pin_init!(Self {
            users: Atomic::new(0),
            empty <- Completion::new(),
        })
    }

    /// Counts one more, unless the gate is closed. For the guards only.
    #[inline]
    fn count(&self) -> bool {
        // INVARIANT: The caller makes a guard, or this is undone below.
        if self.users.fetch_add(1, Full) & CLOSED == 0 {
            return true;
        }
        // SAFETY: The gate is valid for as long as the reference to it.
        unsafe { Self::discount(self) };
        false
    }

    /// Counts one less. Any context.
    ///
    /// # Safety
    ///
    /// To be called once per [`Self::count`]. The gate must be valid until it was closed and has been
    /// empty; if others may try to enter it after that, until this has returned.
    #[inline]
    unsafe fn discount(this: *const Self) {
        // SAFETY: The one that leaves is counted, so the gate is valid.
        let users = unsafe { &(*this).users }.fetch_sub(1, Full);
        if users == CLOSED + 1 {
            // SAFETY: The gate has not been empty before, unless another one was refused meanwhile,
            // and then the caller promises that it is valid. Whatever waits goes on after this call
            // has taken and released the lock of the completion.
            unsafe { &(*this).empty }.complete_all();
        }
    }

    /// Enters, unless the gate is closed. Any context.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        self.count().then(|| Inside(self))
    }

    /// Refuses all from now on. Does not wait. May be called again. Any context.
    pub(crate) fn close(&self) {
        let mut users = self.users.load(Acquire);
        while users & CLOSED == 0 {
            match self.users.cmpxchg(users, users | CLOSED, Full) {
                Ok(_) if users == 0 => return self.empty.complete_all(),
                Ok(_) => return,
                Err(now) => users = now,
            }
        }
    }

    /// Whether the gate was closed. Any context.
    pub(crate) fn is_closed(&self) -> bool {
        self.users.load(Acquire) & CLOSED != 0
    }

    /// Waits until it is empty. To be called after [`Gate::close`]; sleeps without limit, so
    /// whatever is inside must be bound to leave.
    pub(crate) fn wait_empty(&self) {
        self.empty.wait();
    }

    /// As [`Self::wait_empty`], for at most `msecs` milliseconds. Returns whether it is empty.
    pub(crate) fn wait_empty_timeout(&self, msecs: Msecs) -> bool {
        self.empty.wait_timeout(msecs)
    }
}

/// Proof of being inside a gate, for the time of a borrow.
pub(crate) struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: This guard was counted once, and is borrowing the gate until it is gone.
        unsafe { Gate::discount(self.0) };
    }
}

/// An object with a gate; with several, `ID` tells them apart.
pub(crate) trait HasGate<const ID: u64 = 0> {
    /// The object's gate, always the same.
    fn gate(&self) -> &Gate;
}

/// Proof of being inside an object's gate, and a reference on the object.
pub(crate) struct Pass<T: HasGate> {
    object: Arc<T>,
}

impl<T: HasGate> Pass<T> {
    /// Enters, unless the gate is closed. Any context.
    pub(crate) fn enter(object: &Arc<T>) -> Option<Self> {
        object.gate().count().then(|| Self {
            object: object.clone(),
        })
    }
}

impl<T: HasGate> Deref for Pass<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: HasGate> Drop for Pass<T> {
    fn drop(&mut self) {
        // SAFETY: This guard was counted once, and keeps the object, and with it the gate, until this
        // has returned.
        unsafe { Gate::discount(self.object.gate()) };
    }
}

/// Proof of being inside an object's gate, for what outlives a call and needs no reference, because
/// the object's end waits for it.
///
/// # Invariants
///
/// The object is valid, as [`Stay::enter`] says.
pub(crate) struct Stay<T: HasGate<ID>, const ID: u64> {
    object: NonNull<T>,
    _borrow: PhantomData<*const T>,
}

// SAFETY: It is a shared reference to the object, which any task may drop.
unsafe impl<T: HasGate<ID> + Sync, const ID: u64> Send for Stay<T, ID> {}
// SAFETY: It is a shared reference to the object.
unsafe impl<T: HasGate<ID> + Sync, const ID: u64> Sync for Stay<T, ID> {}

impl<T: HasGate<ID>, const ID: u64> Stay<T, ID> {
    /// Enters, unless the gate is closed. Any context.
    ///
    /// # Safety
    ///
    /// - The object, and the gate, must stay where they are, and not be freed before the gate was
    ///   closed and has been empty.
    /// - When the gate is closed, nothing may try to enter it any more.
    #[inline]
    pub(crate) unsafe fn enter(object: &T) -> Option<Self> {
        // INVARIANT: The caller promises it.
        object.gate().count().then(|| Self {
            object: NonNull::from(object),
            _borrow: PhantomData,
        })
    }

    /// Whether this is about that object.
    #[inline]
    pub(crate) fn is_of(&self, object: &T) -> bool {
        core::ptr::eq(self.object.as_ptr(), object)
    }
}

impl<T: HasGate<ID>, const ID: u64> Deref for Stay<T, ID> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariant.
        unsafe { self.object.as_ref() }
    }
}

impl<T: HasGate<ID>, const ID: u64> Drop for Stay<T, ID> {
    #[inline]
    fn drop(&mut self) {
        let gate: *const Gate = self.gate();
        // SAFETY: This guard was counted once. By the contract of `enter` the gate is valid until it
        // was closed and has been empty, and nothing tries to enter it then.
        unsafe { Gate::discount(gate) };
    }
}
