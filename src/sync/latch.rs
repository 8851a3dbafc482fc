// SPDX-License-Identifier: GPL-2.0

//! A gate without a lock: it counts who is inside, can be closed for good, and tells when the last
//! one has left.
//!
//! For what is entered for every command, in any context; where that does not matter,
//! [`super::gate`] is simpler and ties being inside to a reference.

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full, //
    }, //
};

use super::completion::Completion;

/// Set in [`Latch::users`] when nobody is let in any more; the rest of the bits count.
const CLOSED: u32 = 1 << 31;

/// The gate.
#[pin_data]
pub(crate) struct Latch {
    users: Atomic<u32>,
    /// Completed when it is closed and nobody is inside.
    #[pin]
    empty: Completion,
}

#[allow(dead_code, reason = "not every engine needs it")]
impl Latch {
    /// An open gate with nobody inside.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            users: Atomic::new(0),
            empty <- Completion::new(),
        })
    }

    /// Enters, unless the gate is closed; says whether it did. Each entry is followed by one
    /// [`Self::leave`]. Any context.
    pub(crate) fn enter(&self) -> bool {
        if self.users.fetch_add(1, Full) & CLOSED == 0 {
            return true;
        }
        self.leave();
        false
    }

    /// Leaves. Any context. The caller must see to it that the gate is not freed meanwhile.
    pub(crate) fn leave(&self) {
        if self.users.fetch_sub(1, Full) == CLOSED + 1 {
            self.empty.complete_all();
        }
    }

    /// Refuses everybody from now on. Does not wait. May be called again. Any context.
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

    /// Waits until nobody is inside. To be called after [`Self::close`]; sleeps without limit, so
    /// whoever is inside must be bound to leave.
    pub(crate) fn wait(&self) {
        self.empty.wait();
    }
}
