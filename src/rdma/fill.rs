// SPDX-License-Identifier: GPL-2.0

//! State of an object that a task fills, the device uses, and a completion gives back.
//!
//! Not here: the objects: response buffers ([`super::buf`]), transfers ([`super::rw`]).

use crate::sync::state::atomic_enum;

atomic_enum! {
    /// State of such an object.
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
}
