// SPDX-License-Identifier: GPL-2.0

//! The device management agent of an HCA port: what `srp_daemon` and its like ask.
//!
//! It says what the port's I/O controller is like, and answers as long as the HCA is there, as that of
//! the C driver. It is announced while the port lets initiators in. The datagrams are in
//! [`crate::srp::wire::dm`].

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use super::port::HcaPort;
use crate::{
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
    srp::wire::{
        consts::limit,
        dm::{
            self,
            Controller, //
        }, //
    }, //
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
            service_guid: params::service_guid()?,
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

/// Whether the agent is announced.
enum Announcement {
    /// No.
    None,
    /// As long as this exists.
    Made { _lasts: DeviceManagement },
    /// No, and never again: the HCA is going away.
    Over,
}

/// The agent of a port and its announcement. Dropping it takes back the announcement, then waits for
/// answers in progress; may sleep.
#[pin_data]
pub(crate) struct DmAgent {
    device: Device,
    port: Arc<HcaPort>,
    #[pin]
    announcement: Mutex<Announcement>,
    _agent: MadAgent<Responder>,
}

impl DmAgent {
    /// Starts to answer. The service GUID must be known by now. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`MadAgent::register`]. The port can be used without an agent: initiators then have
    /// to be told where it is.
    pub(crate) fn start(device: &Device, port: &Arc<HcaPort>) -> Result<Arc<Self>> {
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
        Arc::pin_init(
            pin_init!(Self {
                device: device.clone(),
                port: port.clone(),
                announcement <- new_mutex!(Announcement::None, "DmAgent::announcement"),
                _agent: agent,
            }),
            GFP_KERNEL,
        )
    }

    /// The port.
    pub(crate) fn port(&self) -> &HcaPort {
        &self.port
    }

    /// Announces the agent, or takes that back, as the port lets initiators in or not: an initiator
    /// that is told of a target and is refused may not ask again. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`DeviceManagement::announce`]; it is tried again at the next change.
    pub(crate) fn follow(&self) -> Result {
        // What was seen last has to be done last.
        let mut announcement = self.announcement.lock();
        let enabled = self.port.current().is_enabled();
        match (&*announcement, enabled) {
            (Announcement::None, true) => {
                let made = DeviceManagement::announce(&self.device, self.port.number())?;
                *announcement = Announcement::Made { _lasts: made };
            }
            (Announcement::Made { .. }, false) => *announcement = Announcement::None,
            _ => {}
        }
        Ok(())
    }

    /// Takes the announcement back for good. May sleep.
    pub(crate) fn end(&self) {
        *self.announcement.lock() = Announcement::Over;
    }
}
