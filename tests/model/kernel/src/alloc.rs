// SPDX-License-Identifier: GPL-2.0
//! Vectors that grow only when told to, and boxes.

use core::ops::{Deref, DerefMut};

/// There is no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocError;

/// A box.
pub type KBox<T> = Box<T>;
/// A vector that need not be contiguous.
pub type KVVec<T> = KVec<T>;

/// How to allocate.
pub mod flags {
    /// See [`GFP_KERNEL`].
    #[derive(Clone, Copy)]
    pub struct Flags;

    pub const GFP_KERNEL: Flags = Flags;
    pub const GFP_ATOMIC: Flags = Flags;
}

use flags::Flags;

/// Errors of vectors.
pub mod kvec {
    /// There is no room; what was to be pushed.
    pub struct PushError<T>(pub T);

    /// There is no such element.
    #[derive(Debug)]
    pub struct RemoveError;
}

/// A vector. Its capacity is what was asked for.
#[derive(Debug)]
pub struct KVec<T> {
    items: Vec<T>,
    capacity: usize,
}

impl<T> KVec<T> {
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            capacity: 0,
        }
    }

    pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self, AllocError> {
        Ok(Self {
            items: Vec::with_capacity(capacity),
            capacity,
        })
    }

    pub fn push(&mut self, item: T, _: Flags) -> Result<(), AllocError> {
        self.items.push(item);
        self.capacity = self.capacity.max(self.items.len());
        Ok(())
    }

    pub fn reserve(&mut self, additional: usize, _: Flags) -> Result<(), AllocError> {
        self.capacity = self.capacity.max(self.items.len() + additional);
        Ok(())
    }

    pub fn extend_from_slice(&mut self, items: &[T], flags: Flags) -> Result<(), AllocError>
    where
        T: Copy,
    {
        items.iter().try_for_each(|item| self.push(*item, flags))
    }

    pub fn push_within_capacity(&mut self, item: T) -> Result<(), kvec::PushError<T>> {
        if self.items.len() >= self.capacity {
            return Err(kvec::PushError(item));
        }
        self.items.push(item);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    pub fn remove(&mut self, index: usize) -> Result<T, kvec::RemoveError> {
        match index < self.items.len() {
            true => Ok(self.items.remove(index)),
            false => Err(kvec::RemoveError),
        }
    }

    pub fn clear(&mut self) {
        self.items.clear();
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<Vec<T>> for KVec<T> {
    fn from(items: Vec<T>) -> Self {
        let capacity = items.len();
        Self { items, capacity }
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}
