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
        device::Device,
        pd::ProtectionDomain,
        qp::{
            srq::SharedReceiveQueue,
            QpOwner,
            RecvBuf, //
        }, //
    },
    srp::wire::consts::limit, //
};

/// Returns a new receive buffer for information units of at most `len` bytes, in which immediate
/// data at the offset `imm_offset` is aligned to a block, so that a disk can take it from there.
/// May sleep.
///
/// # Errors
///
/// `ENOMEM`, `EIO` if the device cannot map it.
pub(crate) fn buffer<O: QpOwner>(
    device: &Device,
    len: u32,
    imm_offset: u16,
) -> Result<Pin<KBox<RecvBuf<O>>>> {
    // CAST: A u32 fits in a usize on every architecture with RDMA.
    RecvBuf::new(device, len as usize, imm_offset.into())
}

/// Creates a shared receive queue and fills it. Process context, sleeps.
///
/// # Errors
///
/// Those of [`SharedReceiveQueue::new`] and [`buffer`].
pub(super) fn create<O: QpOwner>(
    device: &Device,
    pd: &Arc<ProtectionDomain>,
    entries: u32,
) -> Result<Arc<SharedReceiveQueue<O>>> {
    let srq = SharedReceiveQueue::new(pd, entries)?;
    for _ in 0..entries {
        let buf = buffer(
            device,
            params::srp_max_req_size(),
            limit::IMM_DATA_OFFSET_LINUX,
        )?;
        srq.post_recv(buf).map_err(|(e, _)| e)?;
    }
    Ok(srq)
}
