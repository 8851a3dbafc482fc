// SPDX-License-Identifier: GPL-2.0

//! Static mutexes for module-wide state.
//!
//! Several C callbacks (`ib_client.add`, configfs `mkdir`) have no context pointer, so a little
//! state has to be static. [`global_mutex!`] wraps the kernel crate's `global_lock!` together with
//! the initialisation function that it requires.
//!
//! Not here: the mutexes, which are declared where their state is used, and the calls of the
//! initialisation functions ([`crate::target::Lifetime`]).

/// Declares a static mutex and the function that initialises it.
///
/// The function must be called once, at the beginning of the module's init. Nothing can take the
/// lock before, because every callback is registered later.
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
