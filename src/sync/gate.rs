// SPDX-License-Identifier: GPL-2.0

//! A gate that counts who is inside and can be closed for good.
//!
//! Whoever tears an object down closes its gate and waits until the last user has left; users who
//! come later are refused. [`Pass`] ties being inside to a reference on the object, so what is
//! used cannot be freed.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        Mutex, //
    }, //
};

struct State {
    closed: bool,
    inside: usize,
}

/// The gate itself; embedded in the object it guards.
#[pin_data]
pub(crate) struct Gate {
    #[pin]
    state: Mutex<State>,
    #[pin]
    left: CondVar,
}

impl Gate {
    /// An open gate with nobody inside.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State { closed: false, inside: 0 }, "Gate::state"),
            left <- new_condvar!("Gate::left"),
        })
    }

    fn enter(&self) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.inside = state.inside.saturating_add(1);
        true
    }

    fn leave(&self) {
        let mut state = self.state.lock();
        state.inside = state.inside.saturating_sub(1);
        if state.inside == 0 {
            self.left.notify_all();
        }
    }

    /// Refuses everybody from now on. Does not wait. May sleep.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Whether the gate was closed. May sleep.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Waits until nobody is inside. To be called after [`Gate::close`]; sleeps without limit, so
    /// whatever holds a pass must be bound to let go of it.
    pub(crate) fn wait_empty(&self) {
        let mut state = self.state.lock();
        while state.inside != 0 {
            self.left.wait(&mut state);
        }
    }
}

/// An object with a gate.
pub(crate) trait HasGate {
    /// The object's gate.
    fn gate(&self) -> &Gate;
}

/// Proof of being inside an object's gate, and a reference on the object.
pub(crate) struct Pass<T: HasGate> {
    object: Arc<T>,
}

impl<T: HasGate> Pass<T> {
    /// Enters, unless the gate is closed. May sleep.
    pub(crate) fn enter(object: &Arc<T>) -> Option<Self> {
        object.gate().enter().then(|| Self {
            object: object.clone(),
        })
    }
}

impl<T: HasGate> core::ops::Deref for Pass<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: HasGate> Drop for Pass<T> {
    fn drop(&mut self) {
        self.object.gate().leave();
    }
}
