// SPDX-License-Identifier: GPL-2.0

//! Work completions.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)

use kernel::{
    fmt,
    prelude::*,
    types::Opaque, //
};

use crate::bindings;

/// How a work request ended (`enum ib_wc_status`). Displayed in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WcStatus(bindings::ib_wc_status);

impl WcStatus {
    /// Whether the work was done.
    pub(crate) fn is_ok(self) -> bool {
        self.0 == bindings::ib_wc_status_IB_WC_SUCCESS
    }

    /// Whether the work was given up because the queue pair is in the error state.
    pub(crate) fn is_flush(self) -> bool {
        self.0 == bindings::ib_wc_status_IB_WC_WR_FLUSH_ERR
    }

    /// The C value.
    pub(crate) fn code(self) -> u32 {
        self.0
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

    /// How the work request ended.
    pub(crate) fn status(&self) -> WcStatus {
        // SAFETY: `from_raw` got a valid completion. The status is always set.
        WcStatus(unsafe { (*self.0.get()).status })
    }

    /// The status as a result.
    pub(crate) fn result(&self) -> Result<(), WcStatus> {
        match self.status() {
            status if status.is_ok() => Ok(()),
            status => Err(status),
        }
    }

    /// Whether the work was given up because the queue pair is in the error state.
    pub(crate) fn is_flush(&self) -> bool {
        self.status().is_flush()
    }

    /// What became of a receive: the bytes received, or how it ended otherwise.
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
