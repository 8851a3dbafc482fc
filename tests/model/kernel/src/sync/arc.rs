// SPDX-License-Identifier: GPL-2.0
//! References that are counted.

use core::ops::Deref;

use sched::Trace;

use crate::{
    alloc::{flags::Flags, AllocError},
    error::Error,
    init::PinInit,
};

struct Inner<T> {
    trace: Trace,
    data: T,
}

/// A reference that is counted.
pub struct Arc<T>(std::sync::Arc<Inner<T>>);

impl<T> Arc<T> {
    pub fn new(data: T, _: Flags) -> Result<Self, AllocError> {
        let trace = Trace::new();
        Ok(Self(std::sync::Arc::new(Inner { trace, data })))
    }

    pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, Error>
    where
        Error: From<E>,
    {
        Ok(Self::new(init.make()?, flags)?)
    }

    pub fn as_arc_borrow(&self) -> ArcBorrow<'_, T> {
        ArcBorrow(self)
    }

    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&this.0, &other.0)
    }

    pub fn as_ptr(this: &Self) -> *const T {
        &raw const this.0.data
    }

    /// What is behind the reference, if it was the last one.
    pub fn into_unique_or_drop(this: Self) -> Option<UniqueArc<T>> {
        sched::access(&this.0.trace, true);
        std::sync::Arc::into_inner(this.0).map(|inner| UniqueArc(inner.data))
    }

    /// How many there are.
    pub fn count(this: &Self) -> usize {
        std::sync::Arc::strong_count(&this.0)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.data
    }
}

/// The only reference.
pub struct UniqueArc<T>(T);

impl<T> Deref for UniqueArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A reference that is borrowed.
pub struct ArcBorrow<'a, T>(&'a Arc<T>);

impl<T> Clone for ArcBorrow<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ArcBorrow<'_, T> {}

impl<T> Deref for ArcBorrow<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

impl<T> From<ArcBorrow<'_, T>> for Arc<T> {
    fn from(borrow: ArcBorrow<'_, T>) -> Self {
        borrow.0.clone()
    }
}
