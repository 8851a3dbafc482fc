// SPDX-License-Identifier: GPL-2.0

//! State of an object that a task fills, the device uses, and a completion gives back.
//!
//! Not here: the objects: response buffers ([`super::buf`]), transfers ([`super::rw`]).

use kernel::sync::atomic::AtomicType;

/// State of such an object.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Fill {
    /// There is nothing to post.
    Idle = 0,
    /// One task has exclusive access.
    Busy = 1,
    /// Ready to be posted.
    Filled = 2,
    /// The device uses it.
    Posted = 3,
}

// SAFETY: The type has the size and alignment of a `u32`, and so of an `i32`; its bits are always a
// valid `i32`, and transmuting them back yields the same state.
unsafe impl AtomicType for Fill {
    type Repr = i32;
}
