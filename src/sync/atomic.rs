// SPDX-License-Identifier: GPL-2.0

//! Atomic variables of this module: those of the kernel crate, but without a call per operation.
//!
//! A kernel that is built without inlined helpers calls a C function for every operation of the
//! kernel crate's `Atomic`, even for a load, and a command needs many. On x86-64 this module has
//! the instructions in their place, the same ones as the C macros; elsewhere, and where a sanitizer
//! checks accesses, it is the kernel crate's (`docs/decisions/0024-atomics-without-calls.md`).
//!
//! Not here: states as values of such a variable ([`super::state`]).
//!
//! C header: [`arch/x86/include/asm/cmpxchg.h`](srctree/arch/x86/include/asm/cmpxchg.h)

pub(crate) use kernel::sync::atomic::{
    Acquire,
    AtomicType,
    Full,
    Relaxed,
    Release, //
};

#[cfg(any(not(target_arch = "x86_64"), CONFIG_KASAN, CONFIG_KCSAN))]
pub(crate) use kernel::sync::atomic::{
    Atomic,
    AtomicFlag, //
};
#[cfg(all(target_arch = "x86_64", not(CONFIG_KASAN), not(CONFIG_KCSAN)))]
pub(crate) use x86::{
    Atomic,
    AtomicFlag, //
};

#[cfg(all(target_arch = "x86_64", not(CONFIG_KASAN), not(CONFIG_KCSAN)))]
mod x86;
