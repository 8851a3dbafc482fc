// SPDX-License-Identifier: GPL-2.0

//! The device management agent of an HCA port: what `srp_daemon` and its like ask.
//!
//! It says what the port's I/O controller is like, not whether somebody may log in: it answers as
//! long as the HCA is there, as that of the C driver. The datagrams are in [`crate::srp::dm`].

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    hca::HcaPort,
    params,
    port::PortAttr,
    rdma::{
        device::Device,
        mad::{
            DeviceManagement,
            Mad,
            MadAgent,
            MadClass,
            MadHandler, //
        }, //
    },
    srp::{
        consts::limit,
        dm::{
            self,
            Controller, //
        }, //
    },
    target, //
};

/// What the agent is asked.
const CLASS: MadClass = MadClass {
    class: dm::CLASS,
    version: dm::VERSION,
    methods: &[dm::method::GET, dm::method::SET],
    header: dm::HEADER_SIZE,
};

/// Answers requests of one port.
pub(crate) struct Responder {
    port: Arc<HcaPort>,
    vendor_id: u32,
    device_id: u32,
    device_version: u16,
    send_queue_depth: u16,
}

impl MadHandler for Responder {
    fn request(&self, mad: &Mad) -> Option<Mad> {
        let port = self.port.current();
        let controller = Controller {
            service_guid: target::service_guid()?,
            vendor_id: self.vendor_id,
            device_id: self.device_id,
            device_version: self.device_version,
            send_queue_depth: self.send_queue_depth,
            rdma_read_depth: limit::MAX_RDMA_READS,
            send_size: params::srp_max_req_size(),
            rdma_size: port.attr(PortAttr::MaxRdmaSize),
            name: port.controller_name(),
        };
        dm::answer(mad, &controller).ok()
    }
}

/// The agent of a port and its announcement; dropping it takes back the announcement, then waits
/// for answers in progress. May sleep.
pub(crate) struct DmAgent {
    _announced: DeviceManagement,
    _agent: MadAgent<Responder>,
}

impl DmAgent {
    /// Starts to answer. The service GUID must be known by now. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`MadAgent::register`] and [`DeviceManagement::announce`]. The port can be used
    /// without an agent: initiators then have to be told where it is.
    pub(crate) fn start(device: &Device, port: &Arc<HcaPort>) -> Result<Self> {
        let attrs = device.attrs();
        let responder = Responder {
            port: port.clone(),
            vendor_id: attrs.vendor_id,
            device_id: attrs.vendor_part_id,
            // CAST: The field has 16 bits; the C driver cuts off the rest, too.
            device_version: attrs.hw_ver as u16,
            send_queue_depth: u16::try_from(limit::MAX_RQ_SIZE.min(attrs.max_qp_wr))?,
        };
        let responder = Arc::new(responder, GFP_KERNEL)?;
        let agent = MadAgent::register(device, port.number(), &CLASS, responder)?;
        Ok(Self {
            _announced: DeviceManagement::announce(device, port.number())?,
            _agent: agent,
        })
    }
}
