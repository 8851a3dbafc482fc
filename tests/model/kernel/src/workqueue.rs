// SPDX-License-Identifier: GPL-2.0
//! Work queues: each item of work is a thread of its own.

use core::{cell::Cell, marker::PhantomData, pin::Pin};

use crate::{
    init::{from_fn, PinInit},
    sync::Arc,
};

/// A work item embedded in a `T`.
pub struct Work<T, const ID: u64 = 0> {
    queued: Cell<bool>,
    _embedded_in: PhantomData<fn() -> T>,
}

// SAFETY: The threads are coroutines of one operating system thread.
unsafe impl<T, const ID: u64> Send for Work<T, ID> {}
// SAFETY: As above.
unsafe impl<T, const ID: u64> Sync for Work<T, ID> {}

impl<T, const ID: u64> Work<T, ID> {
    pub fn new() -> impl PinInit<Self> {
        from_fn(|| {
            Ok(Self {
                queued: Cell::new(false),
                _embedded_in: PhantomData,
            })
        })
    }
}

/// An initialiser for a work item.
#[macro_export]
macro_rules! new_work {
    ($name:literal) => {
        $crate::workqueue::Work::new()
    };
}

/// What to do.
pub trait WorkItem<const ID: u64 = 0> {
    /// What the queue holds.
    type Pointer;

    /// Does it.
    fn run(this: Self::Pointer);
}

/// Where the work item of an object is.
///
/// # Safety
///
/// The functions must be inverses of each other.
pub unsafe trait HasWork<T, const ID: u64 = 0> {
    /// The work item of an object.
    ///
    /// # Safety
    ///
    /// The object must be valid.
    unsafe fn raw_get_work(this: *mut Self) -> *mut Work<T, ID>;

    /// The object of a work item.
    ///
    /// # Safety
    ///
    /// The work item must be that of a valid object.
    unsafe fn work_container_of(work: *mut Work<T, ID>) -> *mut Self;
}

/// The same for work that begins later.
///
/// # Safety
///
/// As [`HasWork`].
pub unsafe trait HasDelayedWork<T, const ID: u64 = 0>: HasWork<T, ID> {}

/// Says where work items are.
#[macro_export]
macro_rules! impl_has_work {
    ($(impl HasWork<$type:ty $(, $id:tt)?> for $self:ty { self.$field:ident })*) => {$(
        // SAFETY: The functions add and subtract the offset of the field.
        unsafe impl $crate::workqueue::HasWork<$type $(, $id)?> for $self {
            unsafe fn raw_get_work(
                this: *mut Self,
            ) -> *mut $crate::workqueue::Work<$type $(, $id)?> {
                // SAFETY: The object is valid.
                unsafe { &raw mut (*this).$field }
            }

            unsafe fn work_container_of(
                work: *mut $crate::workqueue::Work<$type $(, $id)?>,
            ) -> *mut Self {
                // SAFETY: It is that field of a valid object.
                unsafe { $crate::container_of!(work, Self, $field) }
            }
        }
    )*};
}

/// What can be queued.
pub trait RawWorkItem<const ID: u64>: Sized {
    /// What becomes of it.
    type EnqueueOutput;

    /// Queues it under this name.
    fn begin(self, name: &'static str) -> Self::EnqueueOutput;
}

impl<T, const ID: u64> RawWorkItem<ID> for Pin<Box<T>>
where
    T: HasWork<T, ID> + WorkItem<ID, Pointer = Pin<Box<T>>> + 'static,
{
    type EnqueueOutput = ();

    fn begin(self, name: &'static str) {
        sched::spawn(name, move || T::run(self));
    }
}

impl<T, const ID: u64> RawWorkItem<ID> for Arc<T>
where
    T: HasWork<T, ID> + WorkItem<ID, Pointer = Arc<T>> + 'static,
{
    type EnqueueOutput = Result<(), Self>;

    fn begin(self, name: &'static str) -> Result<(), Self> {
        // SAFETY: The object is valid. Nothing is written through the pointer but a cell.
        let work = unsafe { &*T::raw_get_work((&raw const *self).cast_mut()) };
        if work.queued.replace(true) {
            return Err(self);
        }
        sched::spawn(name, move || {
            // SAFETY: As above.
            let work = unsafe { &*T::raw_get_work((&raw const *self).cast_mut()) };
            work.queued.set(false);
            T::run(self);
        });
        Ok(())
    }
}

/// A queue.
pub struct Queue {
    name: &'static str,
}

impl Queue {
    pub const fn new(name: &'static str) -> Self {
        Self { name }
    }

    /// Queues work; gives shared work back that is queued already.
    pub fn enqueue<W: RawWorkItem<ID>, const ID: u64>(&self, work: W) -> W::EnqueueOutput {
        work.begin(self.name)
    }
}
