// SPDX-License-Identifier: GPL-2.0

//! Filling of receive queues: a channel's own, or the shared receive queue of an HCA.
//!
//! Not here: the queues themselves ([`crate::rdma::qp`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    params,
    rdma::{
        buf::RecvBufs,
        device::Device,
        pd::ProtectionDomain,
        qp::{
            srq::SharedReceiveQueue,
            QpOwner, //
        }, //
    },
    srp::wire::consts::limit, //
};

/// Returns `count` receive buffers to be made, for information units of at most `len` bytes, in
/// which immediate data at the offset `imm_offset` is aligned to a block, so that a disk can take
/// it from there.
///
/// # Errors
///
/// `EINVAL` if `len` is 0.
pub(crate) fn buffers(device: &Device, len: u32, imm_offset: u16, count: u32) -> Result<RecvBufs> {
    // CAST: A u32 fits in a usize on every architecture with RDMA.
    RecvBufs::new(device, len as usize, imm_offset.into(), count as usize)
}

/// Creates a shared receive queue and fills it. Process context, sleeps.
///
/// # Errors
///
/// Those of [`SharedReceiveQueue::new`] and [`RecvBufs::take`].
pub(super) fn create<O: QpOwner>(
    device: &Device,
    pd: &Arc<ProtectionDomain>,
    entries: u32,
) -> Result<Arc<SharedReceiveQueue<O>>> {
    let srq = SharedReceiveQueue::new(pd, entries)?;
    let size = params::srp_max_req_size();
    let mut bufs = buffers(device, size, limit::IMM_DATA_OFFSET_LINUX, entries)?;
    for _ in 0..entries {
        srq.post_recv(bufs.take()?)?;
    }
    Ok(srq)
}
