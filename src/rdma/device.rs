// SPDX-License-Identifier: GPL-2.0

//! RDMA devices (`struct ib_device`): handles, names, capabilities, ports.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)
//!
//! Not here: addition and removal of devices ([`super::client`]), their events ([`super::event`]).

use core::{
    ops::RangeInclusive,
    ptr::NonNull, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    compat::device_limit,
    sync::{
        atomic::AtomicFlag,
        completion::Completion,
        workqueue::Queue, //
    }, //
};

/// Identity of a device: its address, which is compared but never dereferenced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceId(usize);

impl DeviceId {
    /// Returns the identity of a device, which need not exist any more.
    pub(super) fn of(raw: *const bindings::ib_device) -> Self {
        Self(raw.addr())
    }
}

/// Capabilities of a device (`struct ib_device_attr`), in units of the C fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceAttrs {
    /// IEEE vendor ID.
    pub(crate) vendor_id: u32,
    /// Part ID, as the vendor defines it.
    pub(crate) vendor_part_id: u32,
    /// Hardware version, as the vendor defines it.
    pub(crate) hw_ver: u32,
    /// Maximum number of work requests per work queue.
    pub(crate) max_qp_wr: u32,
    /// Maximum number of scatter/gather entries per send request.
    pub(crate) max_send_sge: u32,
    /// Maximum number of pages of a memory region (`max_fast_reg_page_list_len`).
    pub(crate) max_region_pages: u32,
    /// Maximum number of entries per completion queue.
    pub(crate) max_cqe: u32,
    /// The same as requester.
    pub(crate) max_qp_init_rd_atom: u32,
    /// Maximum number of work requests per shared receive queue; 0 if the device has none of these.
    pub(crate) max_srq_wr: u32,
}

/// Link layer of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LinkLayer {
    /// InfiniBand.
    InfiniBand,
    /// Ethernet.
    Ethernet,
    /// Anything else, or unknown.
    Unspecified,
}

impl LinkLayer {
    /// Name of the link layer, as the RDMA core shows it in sysfs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InfiniBand => "InfiniBand",
            Self::Ethernet => "Ethernet",
            Self::Unspecified => "Unknown",
        }
    }
}

/// RDMA protocol of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// InfiniBand.
    Ib,
    /// RDMA over converged Ethernet, any version.
    Roce,
    /// iWARP.
    Iwarp,
    /// Anything else.
    Other,
}

/// A copy of a device's name.
#[derive(Clone, Copy)]
pub(crate) struct DeviceName([u8; bindings::IB_DEVICE_NAME_MAX as usize]);

impl DeviceName {
    /// Copies the name of a device.
    ///
    /// # Safety
    ///
    /// The device must be registered or being removed.
    pub(super) unsafe fn read(raw: *const bindings::ib_device) -> Self {
        // SAFETY: The caller promises that the device is valid. It has a name; as that may be
        // changed meanwhile, each byte is read once, and no reference is made.
        let mut copy = unsafe { (&raw const (*raw).name).read_volatile() };
        if let Some(last) = copy.last_mut() {
            *last = 0;
        }
        Self(copy)
    }

    /// Returns the name.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"?")
    }

    /// Returns the name as text.
    pub(crate) fn as_str(&self) -> &str {
        self.as_c_str().to_str().unwrap_or("?")
    }
}

impl kernel::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// State shared by all handles on a device.
///
/// # Invariants
///
/// `raw` is registered with the RDMA core and `destroy_queue` is valid, until `gone` is completed.
struct Inner {
    raw: NonNull<bindings::ib_device>,
    gone: Arc<Completion>,
    destroy_queue: NonNull<Queue>,
    silent_about_last_wqe: AtomicFlag,
}

// SAFETY: Devices are used from any task; `Queue` is `Sync`.
unsafe impl Send for Inner {}
// SAFETY: The verbs on a device are thread-safe; what is read directly does not change while the
// device is registered.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gone.complete_all();
    }
}

/// A handle on a device. Cheap to clone.
///
/// While handles exist the device stays registered: the client's remove callback waits for the
/// last one (see [`super::client`]).
#[derive(Clone)]
pub(crate) struct Device(Arc<Inner>);

impl Device {
    /// Creates the first handle on a device. The returned completion is completed when the last
    /// handle is dropped.
    ///
    /// # Safety
    ///
    /// The device must stay registered and `destroy_queue` valid until the returned completion is
    /// completed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) unsafe fn attach(
        raw: NonNull<bindings::ib_device>,
        destroy_queue: NonNull<Queue>,
    ) -> Result<(Self, Arc<Completion>)> {
        let gone = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        // INVARIANT: The caller promises it.
        let inner = Inner {
            raw,
            gone: gone.clone(),
            destroy_queue,
            silent_about_last_wqe: AtomicFlag::new(false),
        };
        Ok((Self(Arc::new(inner, GFP_KERNEL)?), gone))
    }

    /// Returns the C device.
    pub(super) fn as_raw(&self) -> *mut bindings::ib_device {
        self.0.raw.as_ptr()
    }

    /// Work queue that destroys objects of this device whose drop must not sleep. Outlives the
    /// handle.
    pub(super) fn destroy_queue(&self) -> &Queue {
        // SAFETY: By the type invariant the queue is valid while a handle exists.
        unsafe { self.0.destroy_queue.as_ref() }
    }

    /// Whether the device failed to report the last receive (`IB_EVENT_QP_LAST_WQE_REACHED`) of the
    /// queue pair that was drained last, of those with a shared receive queue.
    pub(super) fn silent_about_last_wqe(&self) -> &AtomicFlag {
        &self.0.silent_about_last_wqe
    }

    /// Identity of the device.
    pub(crate) fn id(&self) -> DeviceId {
        DeviceId::of(self.as_raw())
    }

    /// Name of the device, for example `mlx5_0`. During a change of the name, the result may be a
    /// mixture of both names.
    pub(crate) fn name(&self) -> DeviceName {
        // SAFETY: By the type invariant of `Inner` the device is registered.
        unsafe { DeviceName::read(self.as_raw()) }
    }

    /// Node GUID in host byte order.
    pub(crate) fn node_guid(&self) -> u64 {
        // SAFETY: By the type invariant of `Inner` the device is registered.
        u64::from_be(unsafe { (*self.as_raw()).node_guid })
    }

    /// Numbers of the ports (`rdma_start_port`, `rdma_end_port`).
    pub(crate) fn ports(&self) -> RangeInclusive<u32> {
        // SAFETY: By the type invariant of `Inner` the device is registered.
        unsafe {
            bindings::srpt_rdma_start_port(self.as_raw())
                ..=bindings::srpt_rdma_end_port(self.as_raw())
        }
    }

    /// Number of completion vectors, at least 1.
    pub(crate) fn num_comp_vectors(&self) -> u32 {
        // SAFETY: By the type invariant of `Inner` the device is registered.
        let vectors = unsafe { (*self.as_raw()).num_comp_vectors };
        u32::try_from(vectors).unwrap_or(1).max(1)
    }

    /// Capabilities.
    pub(crate) fn attrs(&self) -> DeviceAttrs {
        // SAFETY: By the type invariant of `Inner` the device is registered; its attributes were
        // filled in before.
        let attrs = unsafe { &(*self.as_raw()).attrs };
        DeviceAttrs {
            vendor_id: attrs.vendor_id,
            vendor_part_id: attrs.vendor_part_id,
            hw_ver: attrs.hw_ver,
            max_qp_wr: device_limit(attrs.max_qp_wr),
            max_send_sge: device_limit(attrs.max_send_sge),
            max_region_pages: attrs.max_fast_reg_page_list_len,
            max_cqe: device_limit(attrs.max_cqe),
            max_qp_init_rd_atom: device_limit(attrs.max_qp_init_rd_atom),
            max_srq_wr: device_limit(attrs.max_srq_wr),
        }
    }

    /// Returns `wanted` if the device's driver copies a SEND with `IB_SEND_INLINE` when it is
    /// posted, from an address of the CPU, and 0 otherwise. That is not to be asked: drivers that
    /// do neither (rdmavt, vmw_pvrdma) leave the requested size in `cap.max_inline_data`, and the
    /// device would fetch the bytes later or from elsewhere. So these are the drivers whose source
    /// says so.
    pub(crate) fn inline_limit(&self, wanted: u32) -> u32 {
        // SAFETY: By the type invariant of `Inner` the device is registered; its driver does not
        // change.
        let driver = unsafe { (*self.as_raw()).ops.driver_id };
        match driver {
            bindings::rdma_driver_id_RDMA_DRIVER_MLX5
            | bindings::rdma_driver_id_RDMA_DRIVER_CXGB4
            | bindings::rdma_driver_id_RDMA_DRIVER_BNXT_RE
            | bindings::rdma_driver_id_RDMA_DRIVER_OCRDMA
            | bindings::rdma_driver_id_RDMA_DRIVER_IRDMA
            | bindings::rdma_driver_id_RDMA_DRIVER_QEDR
            | bindings::rdma_driver_id_RDMA_DRIVER_HNS
            | bindings::rdma_driver_id_RDMA_DRIVER_RXE
            | bindings::rdma_driver_id_RDMA_DRIVER_SIW => wanted,
            _ => 0,
        }
    }

    /// Link layer of a port (`rdma_port_get_link_layer`).
    pub(crate) fn link_layer(&self, port: u32) -> LinkLayer {
        if !self.ports().contains(&port) {
            return LinkLayer::Unspecified;
        }
        // SAFETY: By the type invariant of `Inner` the device is registered; the port exists.
        match unsafe { bindings::rdma_port_get_link_layer(self.as_raw(), port) } {
            bindings::rdma_link_layer_IB_LINK_LAYER_INFINIBAND => LinkLayer::InfiniBand,
            bindings::rdma_link_layer_IB_LINK_LAYER_ETHERNET => LinkLayer::Ethernet,
            _ => LinkLayer::Unspecified,
        }
    }

    /// RDMA protocol of a port (`rdma_protocol_ib`, `rdma_protocol_roce`, `rdma_protocol_iwarp`).
    pub(crate) fn protocol(&self, port: u32) -> Protocol {
        let dev = self.as_raw();
        if !self.ports().contains(&port) {
            return Protocol::Other;
        }
        // SAFETY: By the type invariant of `Inner` the device is registered; the port exists.
        unsafe {
            if bindings::srpt_rdma_protocol_ib(dev, port) {
                Protocol::Ib
            } else if bindings::srpt_rdma_protocol_roce(dev, port) {
                Protocol::Roce
            } else if bindings::srpt_rdma_protocol_iwarp(dev, port) {
                Protocol::Iwarp
            } else {
                Protocol::Other
            }
        }
    }

    /// Returns whether a port supports management datagrams (`rdma_cap_ib_mad`).
    pub(crate) fn has_mads(&self, port: u32) -> bool {
        if !self.ports().contains(&port) {
            return false;
        }
        // SAFETY: By the type invariant of `Inner` the device is registered; the port exists.
        unsafe { bindings::srpt_rdma_cap_ib_mad(self.as_raw(), port) }
    }

    /// Returns whether a port supports the InfiniBand connection manager (`rdma_cap_ib_cm`).
    pub(crate) fn has_ib_cm(&self, port: u32) -> bool {
        if !self.ports().contains(&port) {
            return false;
        }
        // SAFETY: By the type invariant of `Inner` the device is registered; the port exists.
        unsafe { bindings::srpt_rdma_cap_ib_cm(self.as_raw(), port) }
    }

    /// Returns an entry of a port's GID table, in network byte order (`rdma_query_gid`). Reads the
    /// cache; does not sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such port or entry, `ENOENT` if the entry is empty.
    pub(crate) fn query_gid(&self, port: u32, index: u16) -> Result<[u8; 16]> {
        let mut gid: bindings::ib_gid = pin_init::zeroed();
        // SAFETY: By the type invariant of `Inner` the device is registered; `rdma_query_gid`
        // checks port and index. All of the union's bytes are initialised in every case.
        unsafe {
            to_result(bindings::rdma_query_gid(
                self.as_raw(),
                port,
                index.into(),
                &mut gid,
            ))?;
            Ok(gid.raw)
        }
    }
}
