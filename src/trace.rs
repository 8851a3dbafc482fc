// SPDX-License-Identifier: GPL-2.0

//! Tracepoints `srpt:*`, for perf, trace-cmd and bpftrace. One that is on the way of a
//! command costs a load and a comparison while it is disabled.
//!
//! Channels are identified by their number in the log, commands by the initiator's tag. All
//! functions may be called in any context.
//!
//! Not here: the fields of tracepoints (`srpt_trace.h`), and counters
//! ([`crate::srp::machine::stats`]).

use kernel::prelude::*;

use crate::{
    bindings,
    srp::wire::ident::PortId, //
};

/// Without this option there are no tracepoints, and no objects to look at.
const EXIST: bool = cfg!(CONFIG_TRACEPOINTS);

/// Returns whether a tracepoint of `trace.c` is enabled (`tracepoint_enabled()`).
///
/// Not the macro of the kernel crate for static keys: it includes a file that packages with Rust
/// metadata may lack.
#[inline]
fn is_enabled(tracepoint: *const bindings::tracepoint) -> bool {
    // SAFETY: A static of this module. The count is read as `atomic_read()` does.
    unsafe { (&raw const (*tracepoint).key.key.enabled.counter).read_volatile() != 0 }
}

/// Defines a function over the one for the same tracepoint in `trace.c`.
macro_rules! tracepoints {
    ($(
        $(#[$meta:meta])*
        $name:ident($($arg:ident: $type:ty),*) = $shim:ident, $tracepoint:ident;
    )*) => {$(
        $(#[$meta])*
        #[inline]
        pub(crate) fn $name($($arg: $type),*) {
            #[cold]
            fn record($($arg: $type),*) {
                // SAFETY: Takes plain numbers, and may be called in any context.
                unsafe { bindings::$shim($($arg),*) }
            }

            if EXIST && is_enabled(&raw const bindings::$tracepoint) {
                record($($arg),*);
            }
        }
    )*};
}

tracepoints! {
    /// Records that tear-down of a channel has finished.
    gone(channel: u64) = srpt_trace_gone, __tracepoint_srpt_gone;
    /// Records that an information unit arrived.
    iu(channel: u64, opcode: u8, tag: u64, len: u32) = srpt_trace_iu, __tracepoint_srpt_iu;
    /// Records that a SCSI command is submitted to the engine.
    submit(channel: u64, tag: u64, lun: u64, op: u8, bytes: u32)
        = srpt_trace_submit, __tracepoint_srpt_submit;
    /// Records that RDMA READs are about to be posted.
    rdma_read(channel: u64, tag: u64, bytes: u32)
        = srpt_trace_rdma_read, __tracepoint_srpt_rdma_read;
    /// Records that RDMA WRITEs are about to be posted.
    rdma_write(channel: u64, tag: u64, bytes: u32)
        = srpt_trace_rdma_write, __tracepoint_srpt_rdma_write;
    /// Records that the initiator's data has arrived or could not be fetched.
    data(channel: u64, tag: u64, ok: bool) = srpt_trace_data, __tracepoint_srpt_data;
    /// Records that a response is about to be posted, and whether [`sent`] follows.
    response(channel: u64, tag: u64, status: u8, delta: i32, signaled: bool)
        = srpt_trace_response, __tracepoint_srpt_response;
    /// Records that the send of a response succeeded or failed.
    sent(channel: u64, tag: u64, ok: bool) = srpt_trace_sent, __tracepoint_srpt_sent;
}

/// Returns whether [`iu`] records anything.
#[inline]
pub(crate) fn wants_iu() -> bool {
    EXIST && is_enabled(&raw const bindings::__tracepoint_srpt_iu)
}

/// Records that a login was granted.
pub(crate) fn login(channel: u64, initiator: PortId, req_lim: u32) {
    let (high, low) = initiator.halves();
    // SAFETY: Takes plain numbers, and may be called in any context.
    unsafe { bindings::srpt_trace_login(channel, high.0, low.0, req_lim) }
}

/// Records that a login was refused.
pub(crate) fn login_refused(initiator: PortId, reason: u32) {
    let (high, low) = initiator.halves();
    // SAFETY: Takes plain numbers, and may be called in any context.
    unsafe { bindings::srpt_trace_login_refused(high.0, low.0, reason) }
}

/// Records that a channel is closed.
pub(crate) fn close(channel: u64, reason: &CStr) {
    // SAFETY: The string is NUL-terminated, and copied; may be called in any context.
    unsafe { bindings::srpt_trace_close(channel, reason.as_char_ptr()) }
}
