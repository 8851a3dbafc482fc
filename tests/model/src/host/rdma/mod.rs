// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/rdma.rs`: an HCA, its queue pairs and the connection manager, scripted. The names
//! and the contracts are those of the files there.
//!
//! What they do with a connection is in [`crate::conn`].

pub(crate) mod buf;
pub(crate) mod cm;
pub(crate) mod cqe;
pub(crate) mod qp;
pub(crate) mod rw;

/// The device.
pub(crate) mod device {
    /// A device. It knows for which connection it is asked.
    #[derive(Clone)]
    pub(crate) struct Device(pub(crate) usize);

    /// What the device can do.
    pub(crate) struct Attrs {
        pub(crate) max_send_sge: u32,
    }

    /// RDMA protocol of a port.
    #[derive(Clone, Copy, PartialEq, Eq)]
    #[allow(dead_code, reason = "of those that there are, the model has one")]
    pub(crate) enum Protocol {
        Ib,
        Iwarp,
    }

    impl Device {
        pub(crate) fn protocol(&self, _port: u32) -> Protocol {
            Protocol::Ib
        }

        pub(crate) fn attrs(&self) -> Attrs {
            Attrs { max_send_sge: 1 }
        }
    }

    /// Identity of a device.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct DeviceId;
}

/// Protection domains.
pub(crate) mod pd {
    /// A protection domain.
    pub(crate) struct ProtectionDomain;
}

/// Completion queues, each of which has a connection of its own.
pub(crate) mod cq {
    use kernel::error::Result;

    use super::device::Device;

    /// A completion queue.
    pub(crate) struct CompletionQueue;

    impl CompletionQueue {
        pub(crate) fn new(_: &Device, _least: u32, _wanted: u32, _vector: u32) -> Result<Self> {
            Ok(Self)
        }
    }
}

/// The engine's buffers, of which there is the length only, and whether they are lent.
pub(crate) mod sg {
    use std::{cell::Cell, rc::Rc};

    /// How many lists of a buffer are lent.
    pub(crate) type Lent = Rc<Cell<u32>>;

    /// A buffer that is lent until this is dropped.
    pub(crate) struct SgList(usize, Option<Lent>);

    impl SgList {
        /// Lends a buffer of this length, if there is one.
        pub(crate) fn lend(len: usize, lent: &Lent) -> Self {
            if len == 0 {
                return Self(0, None);
            }
            lent.set(lent.get() + 1);
            Self(len, Some(lent.clone()))
        }

        pub(crate) fn len(&self) -> usize {
            self.0
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0 == 0
        }

        pub(crate) fn copy_from_slice(&mut self, data: &[u8]) -> usize {
            data.len().min(self.0)
        }
    }

    impl Drop for SgList {
        fn drop(&mut self) {
            if let Some(lent) = &self.1 {
                lent.set(lent.get() - 1);
            }
        }
    }
}

/// Work completions.
pub(crate) mod wc {
    use core::fmt;

    /// How a work request ended.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum WcStatus {
        Ok,
        Flush,
        Failed,
    }

    impl WcStatus {
        pub(crate) fn is_flush(self) -> bool {
            self == Self::Flush
        }
    }

    impl fmt::Display for WcStatus {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{self:?}")
        }
    }

    /// A completion.
    pub(crate) struct WorkCompletion(pub(crate) WcStatus);

    impl WorkCompletion {
        pub(crate) fn result(&self) -> Result<(), WcStatus> {
            match self.0 {
                WcStatus::Ok => Ok(()),
                status => Err(status),
            }
        }

        pub(crate) fn is_flush(&self) -> bool {
            self.0.is_flush()
        }
    }
}
