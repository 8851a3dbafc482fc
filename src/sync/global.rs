// SPDX-License-Identifier: GPL-2.0

//! Module-wide state behind a mutex.
//!
//! Several C callbacks (`ib_client.add`, configfs `mkdir`) carry no context pointer, so a little
//! state has to be static. [`global_mutex!`] wraps the kernel crate's `global_lock!` with the
//! initialisation function it needs.

/// Declares a static mutex and the function that initialises it.
///
/// The function has to be called once, first thing in the module's init; nothing can reach the
/// lock earlier because every callback is registered later.
macro_rules! global_mutex {
    ($(#[$meta:meta])* static $name:ident: $ty:ty = $value:expr; init = $init:ident;) => {
        ::kernel::sync::global_lock! {
            $(#[$meta])*
            // SAFETY: `$init` runs first in the module's init, before any callback that uses the
            // lock is registered.
            unsafe(uninit) static $name: Mutex<$ty> = $value;
        }

        /// Initialises the lock; called once, by the module's init.
        pub(crate) fn $init() {
            // SAFETY: The module's init runs once per load and calls this once.
            unsafe { $name.init() }
        }
    };
}
pub(crate) use global_mutex;
