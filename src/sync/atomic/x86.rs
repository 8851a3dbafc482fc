// SPDX-License-Identifier: GPL-2.0

//! Atomic operations of x86-64.
//!
//! Each is what the kernel crate's operation of that name does there, in place, so the kernel's
//! memory model holds for them:
//! `READ_ONCE()` and `WRITE_ONCE()` are volatile accesses, `smp_load_acquire()` and
//! `smp_store_release()` are these with a barrier for the compiler, and everything that reads and
//! writes is one locked instruction, which is a full barrier whatever order was asked for.
//!
//! Not here: other architectures ([`super`]).

use core::{
    arch::asm,
    mem::transmute_copy, //
};

use kernel::{
    build_error,
    sync::atomic::{
        ordering::{
            AcquireOrRelaxed,
            Ordering,
            OrderingType,
            ReleaseOrRelaxed, //
        },
        Atomic as Plain,
        AtomicType, //
    }, //
};

/// A variable that tasks read and write atomically; see the kernel crate's `Atomic`.
#[repr(transparent)]
pub(crate) struct Atomic<T: AtomicType>(Plain<T>);

/// A flag; see the kernel crate's `AtomicFlag`.
pub(crate) type AtomicFlag = Atomic<bool>;

/// Barrier for the compiler (`barrier()`).
#[inline(always)]
fn barrier() {
    // SAFETY: There is no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

impl<T: AtomicType> Atomic<T> {
    /// Returns a variable with this value.
    #[inline(always)]
    pub(crate) const fn new(value: T) -> Self {
        Self(Plain::new(value))
    }

    /// Returns the value.
    #[inline(always)]
    pub(crate) fn load<O: AcquireOrRelaxed>(&self, _: O) -> T {
        // SAFETY: The variable is valid and aligned. It has 8 bytes at most, so the access is one
        // instruction; a volatile access is a marked one in the kernel's memory model, so those at
        // the same time are no data race.
        let value = unsafe { self.0.as_ptr().read_volatile() };
        if matches!(O::TYPE, OrderingType::Acquire) {
            barrier();
        }
        value
    }

    /// Sets the value.
    #[inline(always)]
    pub(crate) fn store<O: ReleaseOrRelaxed>(&self, value: T, _: O) {
        if matches!(O::TYPE, OrderingType::Release) {
            barrier();
        }
        // SAFETY: As in `load`.
        unsafe { self.0.as_ptr().write_volatile(value) };
    }

    /// Sets the value and returns the one before.
    #[inline(always)]
    pub(crate) fn xchg<O: Ordering>(&self, value: T, _: O) -> T {
        let at = self.0.as_ptr();
        macro_rules! xchg {
            ($word:ty, $class:ident, $instruction:literal) => {{
                // SAFETY: A value of a type of this size, which round-trips by the contract of
                // `AtomicType`; the variable is valid.
                unsafe {
                    let mut word: $word = transmute_copy(&value);
                    asm!(
                        $instruction,
                        at = in(reg) at,
                        word = inout($class) word,
                        options(nostack, preserves_flags),
                    );
                    transmute_copy(&word)
                }
            }};
        }
        match size_of::<T>() {
            1 => xchg!(u8, reg_byte, "xchg byte ptr [{at}], {word}"),
            4 => xchg!(u32, reg, "xchg dword ptr [{at}], {word:e}"),
            8 => xchg!(u64, reg, "xchg qword ptr [{at}], {word}"),
            _ => build_error!("no atomic type of this size"),
        }
    }

    /// Sets the value to `new` if it is `old`.
    ///
    /// # Errors
    ///
    /// The value, if it is another one.
    #[inline(always)]
    pub(crate) fn cmpxchg<O: Ordering>(&self, old: T, new: T, _: O) -> Result<T, T> {
        let at = self.0.as_ptr();
        macro_rules! cmpxchg {
            ($word:ty, $acc:tt, $class:ident, $instruction:literal) => {{
                // SAFETY: As in `xchg`.
                unsafe {
                    let expected: $word = transmute_copy(&old);
                    let wanted: $word = transmute_copy(&new);
                    let found: $word;
                    asm!(
                        $instruction,
                        at = in(reg) at,
                        wanted = in($class) wanted,
                        inout($acc) expected => found,
                        options(nostack),
                    );
                    if found == expected {
                        Ok(old)
                    } else {
                        Err(transmute_copy(&found))
                    }
                }
            }};
        }
        match size_of::<T>() {
            1 => cmpxchg!(u8, "al", reg_byte, "lock cmpxchg byte ptr [{at}], {wanted}"),
            4 => cmpxchg!(u32, "eax", reg, "lock cmpxchg dword ptr [{at}], {wanted:e}"),
            8 => cmpxchg!(u64, "rax", reg, "lock cmpxchg qword ptr [{at}], {wanted}"),
            _ => build_error!("no atomic type of this size"),
        }
    }
}

/// Implements addition for integers of a size.
macro_rules! add {
    ($($int:ty, $word:literal, $instruction:literal;)*) => {$(
        impl Atomic<$int> {
            /// Adds, and returns the value before. Wraps around.
            #[inline(always)]
            pub(crate) fn fetch_add<O: Ordering>(&self, more: $int, _: O) -> $int {
                let mut sum = more;
                // SAFETY: The variable is valid.
                unsafe {
                    asm!(
                        concat!("lock xadd ", $word, " ptr [{at}], ", $instruction),
                        at = in(reg) self.0.as_ptr(),
                        sum = inout(reg) sum,
                        options(nostack),
                    );
                }
                sum
            }

            /// Subtracts, and returns the value before. Wraps around.
            #[allow(dead_code, reason = "not every size is used")]
            #[inline(always)]
            pub(crate) fn fetch_sub<O: Ordering>(&self, less: $int, order: O) -> $int {
                self.fetch_add(less.wrapping_neg(), order)
            }
        }
    )*};
}

add! {
    i32, "dword", "{sum:e}";
    u32, "dword", "{sum:e}";
    u64, "qword", "{sum}";
}
