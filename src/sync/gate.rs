// SPDX-License-Identifier: GPL-2.0

//! A gate: counts the users inside, can be closed for good, and can be awaited until it is empty.
//!
//! The tear-down of an object closes the object's gate and waits until the last user has left;
//! later users are refused. There is no lock, because some gates are entered several times per
//! command: entering and leaving take one atomic operation each.
//!
//! A user inside holds a guard, whose drop leaves. The three kinds of guards differ in what keeps
//! the object meanwhile:
//!
//! | guard | the object is kept by |
//! |---|---|
//! | [`Inside`] | a borrow |
//! | [`Pass`] | a reference of its own |
//! | [`Stay`] | its end, which waits for the guard: for posted work, without a reference per post |
//!
//! The module has no other kind of gate. Not here: the counts of
//! [`Flow`](crate::link::flow::Flow), which explains why it does not use one.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::Arc,
    time::Msecs, //
};

use super::{
    atomic::{
        Acquire,
        Atomic,
        Full, //
    },
    completion::Completion, //
};

/// Bit of [`Gate::users`] that is set when the gate is closed; the other bits are the count.
const CLOSED: u32 = 1 << 31;

/// A gate, embedded in the object it guards.
///
/// # Invariants
///
/// The lower bits of `users` are the number of guards, plus the number of users being refused.
#[pin_data]
pub(crate) struct Gate {
    users: Atomic<u32>,
    /// Completed when the gate is closed and there is no guard.
    #[pin]
    empty: Completion,
}

impl Gate {
    /// Returns an initialiser for an open, empty gate.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: There is no guard.
        pin_init!(Self {
            users: Atomic::new(0),
            empty <- Completion::new(),
        })
    }

    /// Counts a user, unless the gate is closed. Returns whether it did. For the guards only.
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

    /// Ends the count of a user. Any context.
    ///
    /// # Safety
    ///
    /// To be called once per [`Self::count`]. The gate must be valid until it was closed and has
    /// been empty; if others may try to enter it after that, until this has returned.
    #[inline]
    unsafe fn discount(this: *const Self) {
        // SAFETY: The user that leaves is counted, so the gate is valid.
        let users = unsafe { &(*this).users }.fetch_sub(1, Full);
        if users == CLOSED + 1 {
            // SAFETY: The gate has not been empty before, unless another user was refused
            // meanwhile, and then the caller promises that it is valid. Waiters go on only after
            // this call has taken and released the lock of the completion.
            unsafe { &(*this).empty }.complete_all();
        }
    }

    /// Closes the gate: users are refused from now on. Does not wait. Idempotent. Any context.
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

    /// Returns the number of users inside. Any context.
    pub(crate) fn users(&self) -> u32 {
        self.users.load(Acquire) & !CLOSED
    }

    /// Returns whether the gate is closed. Any context.
    pub(crate) fn is_closed(&self) -> bool {
        self.users.load(Acquire) & CLOSED != 0
    }

    /// Waits until the gate is empty. To be called after [`Gate::close`]. Sleeps without limit, so
    /// every user inside must be bound to leave.
    pub(crate) fn wait_empty(&self) {
        self.empty.wait();
    }

    /// As [`Self::wait_empty`], for at most `msecs` milliseconds. Returns whether the gate is
    /// empty. Sleeps.
    pub(crate) fn wait_empty_timeout(&self, msecs: Msecs) -> bool {
        self.empty.wait_timeout(msecs)
    }
}

/// An object with a gate; `ID` distinguishes several gates of one object.
pub(crate) trait HasGate<const ID: u64 = 0> {
    /// Returns the object's gate, always the same.
    fn gate(&self) -> &Gate;
}

/// Guard: a user inside an object's gate, for the time of a borrow. What may be done inside only is
/// done with the object that this derefs to, so the guard of one object does not open another.
#[must_use = "its drop leaves the gate"]
pub(crate) struct Inside<'a, T: HasGate<ID>, const ID: u64 = 0>(&'a T);

impl<'a, T: HasGate<ID>, const ID: u64> Inside<'a, T, ID> {
    /// Enters, unless the gate is closed. Any context.
    #[inline]
    pub(crate) fn enter(object: &'a T) -> Option<Self> {
        object.gate().count().then(|| Self(object))
    }
}

impl<T: HasGate<ID>, const ID: u64> Deref for Inside<'_, T, ID> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0
    }
}

impl<T: HasGate<ID>, const ID: u64> Drop for Inside<'_, T, ID> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: This guard was counted once, and is borrowing the object, and with it the gate,
        // until it is gone.
        unsafe { Gate::discount(self.0.gate()) };
    }
}

/// Guard: a user inside an object's gate, with a reference on the object.
#[must_use = "its drop leaves the gate"]
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
        // SAFETY: This guard was counted once, and keeps the object, and with it the gate, until
        // this has returned.
        unsafe { Gate::discount(self.object.gate()) };
    }
}

/// Guard: a user inside an object's gate that outlives a call but needs no reference, because the
/// end of the object waits for it.
///
/// # Invariants
///
/// The object is valid, by the contract of [`Stay::enter`].
#[must_use = "its drop leaves the gate"]
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
        // SAFETY: This guard was counted once. By the contract of `enter` the gate is valid until
        // it was closed and has been empty, and nothing tries to enter it then.
        unsafe { Gate::discount(gate) };
    }
}
