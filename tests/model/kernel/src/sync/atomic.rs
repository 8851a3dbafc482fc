// SPDX-License-Identifier: GPL-2.0
//! Atomics. Orders of memory are accepted and make no difference.

use core::{
    marker::PhantomData,
    ops::{Add, Sub},
    sync::atomic::{AtomicU64, Ordering as Order},
};

use sched::Trace;

/// An order of memory.
pub trait Ordering {}

macro_rules! orders {
    ($($name:ident)*) => {$(
        pub struct $name;
        impl Ordering for $name {}
    )*};
}

orders! { Relaxed Acquire Release Full }

/// What an atomic may be.
pub trait AtomicType: Copy {
    type Repr;
}

macro_rules! types {
    ($($name:ty)*) => {$(
        impl AtomicType for $name {
            type Repr = $name;
        }
    )*};
}

types! { i32 u32 i64 u64 usize }

impl AtomicType for bool {
    type Repr = i8;
}

/// An atomic. Statics are seen by several operating system threads, each of which explores by
/// itself; hence the one of `std` in it.
pub struct Atomic<T> {
    bits: AtomicU64,
    trace: Trace,
    _of: PhantomData<T>,
}

/// A flag.
pub type AtomicFlag = Atomic<bool>;

impl<T: AtomicType> Atomic<T> {
    pub const fn new(value: T) -> Self {
        Self {
            bits: AtomicU64::new(to_bits(value)),
            trace: Trace::new(),
            _of: PhantomData,
        }
    }

    fn get(&self) -> T {
        let bits = self.bits.load(Order::Relaxed);
        // SAFETY: The bits are those of a value.
        unsafe { core::mem::transmute_copy(&bits) }
    }

    fn replace(&self, value: T) -> T {
        self.update(|_| value)
    }

    /// Changes the value in one step, for other operating system threads, too.
    fn update(&self, change: impl Fn(T) -> T) -> T {
        let new = |bits: u64| {
            // SAFETY: The bits are those of a value.
            let old: T = unsafe { core::mem::transmute_copy(&bits) };
            Some(to_bits(change(old)))
        };
        let old = self.bits.fetch_update(Order::Relaxed, Order::Relaxed, new);
        // SAFETY: As above; the update does not fail.
        unsafe { core::mem::transmute_copy(&old.unwrap_or_else(|bits| bits)) }
    }

    pub fn load(&self, _: impl Ordering) -> T {
        sched::access(&self.trace, false);
        self.get()
    }

    pub fn store(&self, value: T, _: impl Ordering) {
        sched::access(&self.trace, true);
        self.replace(value);
    }

    pub fn xchg(&self, value: T, _: impl Ordering) -> T {
        sched::access(&self.trace, true);
        self.replace(value)
    }

    pub fn cmpxchg(&self, old: T, new: T, _: impl Ordering) -> Result<T, T>
    where
        T: PartialEq,
    {
        sched::access(&self.trace, true);
        let now = self.get();
        if now != old {
            return Err(now);
        }
        Ok(self.replace(new))
    }

    pub fn fetch_add(&self, value: T, _: impl Ordering) -> T
    where
        T: Add<Output = T>,
    {
        sched::access(&self.trace, true);
        self.update(|old| old + value)
    }

    pub fn fetch_sub(&self, value: T, _: impl Ordering) -> T
    where
        T: Sub<Output = T>,
    {
        sched::access(&self.trace, true);
        self.update(|old| old - value)
    }
}

/// The bits of a value of at most eight bytes.
const fn to_bits<T: Copy>(value: T) -> u64 {
    assert!(size_of::<T>() <= size_of::<u64>());
    let mut bits = 0u64;
    // SAFETY: There is room for the value, as was just looked at.
    unsafe { core::ptr::copy_nonoverlapping(&raw const value, (&raw mut bits).cast::<T>(), 1) };
    bits
}
