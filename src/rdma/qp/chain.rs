// SPDX-License-Identifier: GPL-2.0

//! Chains of send requests, and what they can be posted for.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: what a post claims ([`super::post`]) and a completion releases ([`super::complete`]).

use core::ptr;

use kernel::prelude::*;

use super::{
    super::{
        buf::HasTx,
        cqe::{
            CqeHandler,
            HasCqe,
            READ,
            SEND, //
        },
        rw::HasRw, //
    },
    core::QpCore, //
};
use crate::bindings;

/// An object that can be sent: has a response buffer and an entry for its completion.
pub(crate) trait SendItem: HasCqe<SEND> + HasTx + CqeHandler<SEND> {}
impl<T: HasCqe<SEND> + HasTx + CqeHandler<SEND>> SendItem for T {}

/// An object that can be sent after RDMA WRITEs of data.
pub(crate) trait WriteSendItem: SendItem + HasRw {}
impl<T: SendItem + HasRw> WriteSendItem for T {}

/// An object that RDMA READs can fetch data for.
pub(crate) trait ReadItem: HasCqe<READ> + HasRw + CqeHandler<READ> {}
impl<T: HasCqe<READ> + HasRw + CqeHandler<READ>> ReadItem for T {}

/// Failure to post a chain.
pub(super) enum Failed {
    /// The device accepted none of it.
    Nothing(Error),
    /// The device accepted some of it.
    Part(Error),
}

/// Returns a signaled RDMA WRITE of length 0, which names no memory.
pub(super) fn empty_write() -> bindings::ib_rdma_wr {
    let mut write: bindings::ib_rdma_wr = pin_init::zeroed();
    write.wr.opcode = bindings::ib_wr_opcode_IB_WR_RDMA_WRITE;
    write.wr.send_flags = bindings::ib_send_flags_IB_SEND_SIGNALED;
    write
}

/// Posts `wrs` chained requests.
///
/// # Safety
///
/// The caller must keep the queue pair. The requests must be valid, and what they refer to as well,
/// until they have completed.
pub(super) unsafe fn post_chain(
    core: &QpCore,
    first: *const bindings::ib_send_wr,
    wrs: u32,
) -> Result<(), Failed> {
    if first.is_null() {
        return Err(Failed::Nothing(EINVAL));
    }
    let mut bad = ptr::null();
    // SAFETY: The queue pair is valid, and so is the rest, as the caller promises.
    let ret = unsafe { bindings::srpt_ib_post_send_chain(core.as_raw(), first, &mut bad) };
    if ret == 0 {
        Ok(())
    } else if wrs == 1 || ptr::eq(bad, first) {
        Err(Failed::Nothing(Error::from_errno(ret)))
    } else {
        // Also if the driver does not report the failed request.
        Err(Failed::Part(Error::from_errno(ret)))
    }
}

/// Logs that the device accepted only some requests of a chain.
pub(super) fn note_part(core: &QpCore, e: Error) {
    pr_warn!(
        "{}: QP {}: a chain of requests was posted in part: {:?}\n",
        core.device().name(),
        core.qp_num(),
        e
    );
}
