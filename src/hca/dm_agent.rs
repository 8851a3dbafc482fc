// SPDX-License-Identifier: GPL-2.0

//! Device management agent of an HCA port, which `srp_daemon` and similar tools query.
//!
//! It reports the properties of the port's I/O controller as long as the HCA is present, as that of
//! the C driver does. It is announced while the port would let an initiator in.
//!
//! Not here: the datagrams ([`crate::srp::wire::dm`]), and their transport ([`crate::rdma::mad`]).

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
    engine::{
        Active,
        Engine, //
    },
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

/// Requests that the agent receives.
const CLASS: MadClass = MadClass {
    class: dm::CLASS,
    version: dm::VERSION,
    methods: &[dm::method::GET, dm::method::SET],
    header: dm::HEADER_SIZE,
};

/// Responds to the requests to one port.
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

/// State of the announcement of the agent.
enum Announcement {
    /// Not announced.
    None,
    /// Not announced, because the device did not allow it.
    Failed,
    /// Announced as long as the value exists.
    Made { _lasts: DeviceManagement },
    /// Never announced again: the HCA is being removed.
    Over,
}

/// The agent of a port and its announcement. Dropping it withdraws the announcement, then waits for
/// responses in progress; may sleep.
#[pin_data]
pub(crate) struct DmAgent {
    device: Device,
    port: Arc<HcaPort>,
    #[pin]
    announcement: Mutex<Announcement>,
    _agent: MadAgent<Responder>,
}

impl DmAgent {
    /// Starts the agent. The service GUID must have been set. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`MadAgent::register`]. The port works without an agent, but initiators cannot
    /// discover it.
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

    /// Returns the port.
    pub(crate) fn port(&self) -> &HcaPort {
        &self.port
    }

    /// Announces the agent or withdraws the announcement, as the port lets an initiator in or not:
    /// one that discovers a target and is refused may not try again. `reachable`: the logins that
    /// the agent speaks of are listened for. `again`: try again what has failed, without a report:
    /// virtual functions often never allow it. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`DeviceManagement::announce`], at the first failure.
    pub(crate) fn follow(&self, reachable: bool, again: bool) -> Result {
        // Under the lock, so that the last state read is the last one applied.
        let mut announcement = self.announcement.lock();
        let open = reachable && Active::admits(&self.port.current());
        match (&*announcement, open) {
            (Announcement::None, true) => {
                *announcement = Announcement::Failed;
                *announcement = self.announce()?;
            }
            (Announcement::Failed, true) if again => {
                if let Ok(made) = self.announce() {
                    *announcement = made;
                }
            }
            (Announcement::Made { .. } | Announcement::Failed, false) => {
                *announcement = Announcement::None;
            }
            _ => {}
        }
        Ok(())
    }

    fn announce(&self) -> Result<Announcement> {
        let made = DeviceManagement::announce(&self.device, self.port.number())?;
        Ok(Announcement::Made { _lasts: made })
    }

    /// Withdraws the announcement for good. May sleep.
    pub(crate) fn end(&self) {
        *self.announcement.lock() = Announcement::Over;
    }
}
