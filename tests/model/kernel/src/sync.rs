// SPDX-License-Identifier: GPL-2.0
//! Locks, references, atomics. Taking a lock and using an atomic are points at which another thread
//! may come in; counting references is not, except when the last one is looked for.

use core::{
    cell::{Cell, UnsafeCell},
    ops::{Deref, DerefMut},
};

use sched::Trace;

use crate::init::{from_fn, PinInit};

mod arc;
pub mod atomic;

pub use crate::global_lock;
pub use arc::{Arc, ArcBorrow};

/// A lock.
pub struct Lock<T> {
    held: Cell<bool>,
    trace: Trace,
    data: UnsafeCell<T>,
}

/// A lock that spins.
pub type SpinLock<T> = Lock<T>;
/// A lock that sleeps.
pub type Mutex<T> = Lock<T>;
/// What holds a lock.
pub type SpinLockGuard<'a, T> = Guard<'a, T>;
/// What holds a lock.
pub type MutexGuard<'a, T> = Guard<'a, T>;

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl<T> Send for Lock<T> {}
// SAFETY: As above; `held` gives exclusive access.
unsafe impl<T> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub const fn holding(data: T) -> Self {
        Self {
            held: Cell::new(false),
            trace: Trace::new(),
            data: UnsafeCell::new(data),
        }
    }

    pub fn new(data: T) -> impl PinInit<Self> {
        from_fn(move || Ok(Self::holding(data)))
    }

    pub fn lock(&self) -> Guard<'_, T> {
        sched::lock(&self.held, &self.trace);
        Guard(self)
    }
}

/// What holds a lock.
pub struct Guard<'a, T>(&'a Lock<T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        sched::unlock(&self.0.held);
    }
}

/// What tasks wait for that hold a lock.
pub struct CondVar {
    signals: Cell<u64>,
    trace: Trace,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl Send for CondVar {}
// SAFETY: As above.
unsafe impl Sync for CondVar {}

impl CondVar {
    pub fn new() -> impl PinInit<Self> {
        from_fn(|| {
            Ok(Self {
                signals: Cell::new(0),
                trace: Trace::new(),
            })
        })
    }

    /// Waits for a signal, without the lock.
    pub fn wait<T>(&self, guard: &mut Guard<'_, T>) {
        let signals: *const Cell<u64> = &self.signals;
        let before = self.signals.get();
        sched::unlock(&guard.0.held);
        // SAFETY: The thread that waits keeps it.
        sched::wait(&self.trace, move || unsafe { &*signals }.get() != before);
        sched::lock(&guard.0.held, &guard.0.trace);
    }

    pub fn notify_all(&self) {
        self.signals.set(self.signals.get() + 1);
        sched::touch(&self.trace, true);
    }
}

/// An initialiser for a spin lock.
#[macro_export]
macro_rules! new_spinlock {
    ($data:expr, $name:literal $(,)?) => {
        $crate::sync::Lock::new($data)
    };
}

/// An initialiser for a mutex.
#[macro_export]
macro_rules! new_mutex {
    ($data:expr, $name:literal $(,)?) => {
        $crate::sync::Lock::new($data)
    };
}

/// An initialiser for a condition variable.
#[macro_export]
macro_rules! new_condvar {
    ($name:literal) => {
        $crate::sync::CondVar::new()
    };
}

/// A static lock. On the host each operating system thread has one, as each explores by itself.
#[macro_export]
macro_rules! global_lock {
    ($(#[$meta:meta])* unsafe(uninit) static $name:ident: Mutex<$type:ty> = $value:expr;) => {
        $(#[$meta])*
        static $name: $crate::sync::Global<$type> = {
            ::std::thread_local! {
                static LOCK: &'static $crate::sync::Lock<$type> =
                    ::std::boxed::Box::leak(::std::boxed::Box::new(
                        $crate::sync::Lock::holding($value),
                    ));
            }
            $crate::sync::Global::new(|| LOCK.with(|lock| *lock))
        };
    };
}

/// See [`global_lock!`].
pub struct Global<T: 'static>(fn() -> &'static Lock<T>);

impl<T> Global<T> {
    pub const fn new(lock: fn() -> &'static Lock<T>) -> Self {
        Self(lock)
    }

    /// Does nothing.
    ///
    /// # Safety
    ///
    /// None; the kernel's has requirements.
    pub unsafe fn init(&self) {}

    pub fn lock(&self) -> Guard<'static, T> {
        (self.0)().lock()
    }
}
