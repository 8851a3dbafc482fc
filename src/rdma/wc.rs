// SPDX-License-Identifier: GPL-2.0

//! Work completions (`struct ib_wc`).
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: the objects that complete ([`super::cqe`], [`super::buf`]).

use kernel::{
    fmt,
    prelude::*,
    types::Opaque, //
};

use crate::bindings;

/// Status of a completed work request (`enum ib_wc_status`). Displayed as text
/// (`ib_wc_status_msg`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WcStatus(bindings::ib_wc_status);

impl WcStatus {
    /// Returns whether the work request succeeded.
    pub(crate) fn is_ok(self) -> bool {
        self.0 == bindings::ib_wc_status_IB_WC_SUCCESS
    }

    /// Returns whether the work request was flushed, because the queue pair is in the error state.
    pub(crate) fn is_flush(self) -> bool {
        self.0 == bindings::ib_wc_status_IB_WC_WR_FLUSH_ERR
    }
}

impl fmt::Display for WcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: `ib_wc_status_msg` returns a static string for every value.
        let text = unsafe { CStr::from_char_ptr(bindings::ib_wc_status_msg(self.0)) };
        fmt::Display::fmt(text, f)
    }
}

/// A completion, borrowed for the duration of the callback it is passed to.
#[repr(transparent)]
pub(crate) struct WorkCompletion(Opaque<bindings::ib_wc>);

impl WorkCompletion {
    /// Wraps a C completion.
    ///
    /// # Safety
    ///
    /// `raw` must be valid and unchanged for `'a`.
    pub(super) unsafe fn from_raw<'a>(raw: *const bindings::ib_wc) -> &'a Self {
        // SAFETY: The caller promises validity; the type is transparent.
        unsafe { &*raw.cast::<Self>() }
    }

    /// Status of the work request.
    pub(crate) fn status(&self) -> WcStatus {
        // SAFETY: `from_raw` got a valid completion. The status is always set.
        WcStatus(unsafe { (*self.0.get()).status })
    }

    /// Returns the status as a result.
    pub(crate) fn result(&self) -> Result<(), WcStatus> {
        match self.status() {
            status if status.is_ok() => Ok(()),
            status => Err(status),
        }
    }

    /// Returns the number of bytes received, or the status if the receive failed.
    ///
    /// # Safety
    ///
    /// It must be the completion of a receive. Drivers set the length of those only, and only if
    /// they succeed.
    pub(super) unsafe fn received(&self) -> Result<usize, WcStatus> {
        self.result()?;
        // SAFETY: `from_raw` got a valid completion, and the caller promises that it is that of a
        // receive, which was successful.
        Ok(unsafe { (*self.0.get()).byte_len as usize })
    }
}
