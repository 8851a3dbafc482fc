// SPDX-License-Identifier: GPL-2.0

//! States that several tasks change atomically.
//!
//! Not here: the states, each of which is declared where it is used.

/// Declares an `enum` without data that an `Atomic` can hold. Every variant has a number.
macro_rules! atomic_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident = $number:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        $vis enum $name {
            $($(#[$of_variant])* $variant = $number,)*
        }

        // SAFETY: The type has the size and alignment of a `u32`, and so of an `i32`; its bits are
        // always a valid `i32`, and transmuting them back yields the same value.
        unsafe impl ::kernel::sync::atomic::AtomicType for $name {
            type Repr = i32;
        }
    };
}
pub(crate) use atomic_enum;
