// SPDX-License-Identifier: GPL-2.0

//! Completion queue entries as C knows them (`struct ib_cqe`), and the link of the list of entries
//! that C will not complete ([`QpCore::orphan`](super::qp::core::QpCore::orphan)).
//!
//! Not here: the object that an entry is embedded in ([`super::cqe`]).

use core::ptr;

use crate::bindings;

/// Completion function that C calls (`ib_cqe.done`).
pub(super) type Done = unsafe extern "C" fn(*mut bindings::ib_cq, *mut bindings::ib_wc);

/// The C part of an entry.
#[repr(transparent)]
pub(super) struct Entry(bindings::ib_cqe);

// SAFETY: C reads the function pointer only, in any task. Members that other headers may have are
// zero, whatever their type.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}

impl Entry {
    /// Returns an entry with this completion function.
    pub(super) const fn new(done: Option<Done>) -> Self {
        Self(bindings::ib_cqe {
            done,
            ..pin_init::zeroed()
        })
    }

    /// Sets the completion function.
    pub(super) fn set_done(&mut self, done: Done) {
        self.0.done = Some(done);
    }
}

/// Head of an entry. Begins with the C part, so that one address serves for both.
#[repr(C)]
pub(super) struct CqeHead {
    cqe: Entry,
    /// The next entry that C will not complete.
    pub(super) next: *mut CqeHead,
}

impl CqeHead {
    /// Returns a head without a completion function.
    pub(super) const fn new() -> Self {
        Self {
            cqe: Entry::new(None),
            next: ptr::null_mut(),
        }
    }

    /// Sets the completion function.
    pub(super) fn set_done(&mut self, done: Done) {
        self.cqe.set_done(done);
    }

    /// Calls the completion function in place of C.
    ///
    /// # Safety
    ///
    /// `this` must be the head of an entry that is posted, and that C will never complete. `wc`
    /// must be valid.
    pub(super) unsafe fn complete(this: *mut Self, wc: *mut bindings::ib_wc) {
        // SAFETY: The entry is posted, so it is valid, and its function was set before.
        let done = unsafe { (*this).cqe.0.done };
        if let Some(done) = done {
            // SAFETY: `wr_cqe` is the member kernel users use. The completion is valid, and this
            // is the only call for this post, as the caller promises.
            unsafe {
                (*wc).__bindgen_wr_cqe.wr_cqe = this.cast();
                done(ptr::null_mut(), wc);
            }
        }
    }
}
