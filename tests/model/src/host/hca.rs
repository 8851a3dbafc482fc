// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/hca.rs` and `src/hca/port.rs`: an HCA and its port, with the module's gate.

use core::marker::PhantomData;

use kernel::{
    error::Result,
    prelude::*,
    sync::{Arc, SpinLock},
};

use crate::{
    rdma::{device::DeviceId, qp::QpOwner},
    sync::gate::{Gate, HasGate},
    sysfs::SessionDir,
};

/// An HCA.
pub(crate) struct Hca<O: QpOwner> {
    gate: Gate,
    _of: PhantomData<fn() -> O>,
}

impl<O: QpOwner> Hca<O> {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let gate = kernel::init::PinInit::make(Gate::new())?;
        let _of = PhantomData;
        Ok(Arc::new(Self { gate, _of }, GFP_KERNEL)?)
    }

    pub(crate) fn id(&self) -> DeviceId {
        DeviceId
    }

    pub(crate) fn session_dir(&self, _: u32, _: &CStr) -> Result<SessionDir> {
        Ok(SessionDir)
    }
}

impl<O: QpOwner> HasGate for Hca<O> {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// Receive buffers.
pub(crate) mod srq {
    use super::*;
    use crate::rdma::{buf::RecvBufs, device::Device};

    pub(crate) fn buffers(
        device: &Device,
        _len: u32,
        _imm_offset: u16,
        _count: u32,
    ) -> Result<RecvBufs> {
        Ok(RecvBufs::new(device))
    }
}

/// Its port.
pub(crate) mod port {
    use super::*;
    use crate::srp::machine::stats::Stats;

    /// A port of an HCA.
    pub(crate) struct HcaPort {
        past: SpinLock<Stats>,
    }

    impl HcaPort {
        pub(crate) fn new() -> Result<Arc<Self>> {
            let past = SpinLock::holding(Stats::new());
            Ok(Arc::new(Self { past }, GFP_KERNEL)?)
        }

        pub(crate) fn number(&self) -> u32 {
            1
        }

        pub(crate) fn past(&self) -> Stats {
            *self.past.lock()
        }

        pub(crate) fn keep(&self, stats: &Stats) {
            self.past.lock().merge(stats);
        }
    }
}
