// SPDX-License-Identifier: GPL-2.0

//! Compile-time proof that Rust sees C types as the kernel's C compiler does.
//!
//! Nothing checks this when a module is loaded (kernels without `CONFIG_MODVERSIONS`), and the two
//! sides are computed by different programs: bindgen asks libclang, the kernel was compiled by,
//! say, GCC. `bindings/layout*.list` names the types; `scripts/bindgen.mk` lets the kernel's
//! compiler work out the numbers and generates one [`compare`] for each. A difference fails the
//! build with both numbers in the message.
//!
//! Types that the `kernel` crate has bindings of its own for are compared with those, too, because
//! pointers to them are cast from one to the other.
//!
//! Not here: signatures of functions. Those that Rust defines for a header are compared by
//! [`bindings::assert_matches_header`], those of C functions by nothing.

use core::mem::{
    align_of,
    offset_of,
    size_of, //
};

use crate::bindings;

/// Fails constant evaluation, and so the build, unless C and Rust have the same number.
const fn compare(what: &str, in_c: usize, in_rust: usize) {
    if in_c != in_rust {
        fail(what, in_c, "for the kernel's C compiler", in_rust);
    }
}

/// Fails constant evaluation with both numbers.
const fn fail(what: &str, wanted: usize, there: &str, in_rust: usize) {
    let message = Message::new()
        .text("layout check: ")
        .text(what)
        .text(" is ")
        .number(wanted)
        .text(" ")
        .text(there)
        .text(" but ")
        .number(in_rust)
        .text(" in the Rust bindings: bindgen was run with other headers or flags");
    panic!("{}", message.as_str());
}

/// Text put together during constant evaluation, where `format_args!` is not available.
struct Message {
    /// The text is the first `used` bytes.
    bytes: [u8; 256],
    /// How many bytes are in use; what does not fit is cut off.
    used: usize,
}

impl Message {
    /// Returns an empty text.
    const fn new() -> Self {
        Self {
            bytes: [0; 256],
            used: 0,
        }
    }

    /// Appends one byte.
    const fn byte(mut self, byte: u8) -> Self {
        if self.used < self.bytes.len() {
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        self
    }

    /// Appends a string.
    const fn text(mut self, text: &str) -> Self {
        let mut i = 0;
        while i < text.len() {
            self = self.byte(text.as_bytes()[i]);
            i += 1;
        }
        self
    }

    /// Appends a decimal number.
    const fn number(mut self, number: usize) -> Self {
        if number >= 10 {
            self = self.number(number / 10);
        }
        // CAST: A digit.
        self.byte(b'0' + (number % 10) as u8)
    }

    /// Returns the text.
    const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.bytes.split_at(self.used).0) {
            Ok(text) => text,
            Err(_) => "layout check failed",
        }
    }
}

/// Compares types with the `kernel` crate's bindings of the same name.
macro_rules! compare_with_kernel_crate {
    ($($name:ident),* $(,)?) => {$(
        const _: () = {
            let (theirs, ours) = (
                size_of::<kernel::bindings::$name>(),
                size_of::<bindings::$name>(),
            );
            if theirs != ours {
                let what = concat!("the size of `", stringify!($name), "`");
                fail(what, theirs, "in the kernel crate", ours);
            }
            let (theirs, ours) = (
                align_of::<kernel::bindings::$name>(),
                align_of::<bindings::$name>(),
            );
            if theirs != ours {
                let what = concat!("the alignment of `", stringify!($name), "`");
                fail(what, theirs, "in the kernel crate", ours);
            }
        };
    )*};
}

compare_with_kernel_crate! {
    completion,
    list_head,
    llist_node,
    module,
    mutex,
    scatterlist,
    spinlock,
    work_struct,
}

include!(env!("SRPT_LAYOUT"));
