// SPDX-License-Identifier: GPL-2.0

//! Filling the receive queues: a channel's own, or the one its HCA's channels share.

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
            RecvBuf, //
        }, //
    }, //
};

use super::{
    Buffer,
    Channel, //
};

/// Bytes of a receive buffer: the largest information unit an initiator may send.
pub(crate) fn buffer_size() -> usize {
    // CAST: A u32 fits in a usize on every architecture with RDMA.
    params::srp_max_req_size() as usize
}

/// A new receive buffer. May sleep.
pub(crate) fn buffer(device: &Device) -> Result<Buffer> {
    RecvBuf::new(device, buffer_size())
}

/// Creates a shared receive queue and fills it. Process context, sleeps.
pub(crate) fn create(
    device: &Device,
    pd: &Arc<ProtectionDomain>,
    entries: u32,
) -> Result<Arc<SharedReceiveQueue<Channel>>> {
    let srq = SharedReceiveQueue::new(pd, entries)?;
    for _ in 0..entries {
        srq.post_recv(buffer(device)?).map_err(|(e, _)| e)?;
    }
    Ok(srq)
}
