// SPDX-License-Identifier: GPL-2.0

//! IB client: addition, renaming and removal of HCAs, and events of their ports.
//!
//! Not here: the contents of an HCA ([`crate::hca`]), the registration ([`crate::rdma::client`]),
//! and the listeners ([`super::ib_listen`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::ib_listen;
use crate::{
    channel::{
        self,
        Channel, //
    },
    engine::{
        Active,
        Engine, //
    },
    hca::{
        port::HcaPort,
        Hca, //
    },
    login::hcas,
    rdma::{
        client::Client,
        device::{
            Device,
            DeviceId, //
        },
        event::{
            DeviceEvent,
            DeviceEvents,
            EventHandler, //
        }, //
    },
    srp::machine::{
        channel::CloseReason,
        ports::NO_GID, //
    },
    sync::gate::HasGate, //
};

/// The state of an HCA in use. Removal dismantles it in the order of the fields, with steps of the
/// HCA's own in between.
pub(crate) struct Attached {
    /// Handles port events; [`None`] if it could not be registered.
    events: Option<EventHandler<PortWatch>>,
    hca: Arc<Hca<Channel>>,
}

/// Handler of port events: refreshes names of ports. Looks up the HCA by its device, so that it
/// holds no reference.
pub(crate) struct PortWatch {
    id: DeviceId,
}

impl DeviceEvents for PortWatch {
    fn event(&self, event: DeviceEvent) {
        // Drivers differ in the event by which they report a new GID or subnet prefix; reading the
        // GID again costs little.
        if event.port != 0 {
            if let Some(hca) = hcas::get(self.id) {
                refresh_port(&hca, event.port);
            }
        }
    }
}

/// The IB client of this module.
pub(crate) struct SrpClient;

impl Client for SrpClient {
    type Data = Attached;
    const NAME: &'static CStr = c"ib_srpt";

    fn add(device: &Device) -> Result<Attached> {
        let hca = Hca::new(device)
            .inspect_err(|e| pr_err!("{}: cannot be used: {:?}\n", device.name(), e))?;
        // Before logins: the RDMA/CM may have one already, whose channel gets a directory in these.
        hca.make_dirs(device);
        hcas::add(&hca, device.node_guid())?;
        let events = Arc::new(PortWatch { id: device.id() }, GFP_KERNEL)
            .map_err(Error::from)
            .and_then(|watch| EventHandler::new(device, watch))
            .inspect_err(|e| pr_warn!("{}: no port events: {:?}\n", device.name(), e))
            .ok();
        for hca_port in hca.ports() {
            // The GID may have changed before events were reported.
            hca_port.refresh(device);
            hca_port.log(device);
        }
        hca.start_agents(device);
        offer_ports(&hca);
        ib_listen::start(&hca, true);
        // Announces the ports only now that logins are possible.
        hca.follow_ports(true, |_| true);
        Ok(Attached { events, hca })
    }

    fn renamed(attached: &Attached) {
        attached.hca.rename_dirs();
    }

    fn remove(attached: Attached) {
        let Attached { events, hca } = attached;
        drop(events);
        hca.end_agents();
        hcas::remove(&hca);
        hca.gate().close();
        // Waits for logins in progress.
        ib_listen::stop(&hca);
        for hca_port in hca.ports() {
            hca_port.release();
        }
        channel::list::close(CloseReason::DeviceRemoved, |channel| {
            channel.device_id() == hca.id()
        });
        hca.gate().wait_empty();
        hca.remove_dirs();
        for hca_port in hca.ports() {
            Active::port_removed(&hca_port.current());
        }
        hca.free();
    }
}

/// Offers a port to the engine if it has a GID. May sleep.
fn offer(hca_port: &HcaPort, device: &Device) {
    let port = hca_port.current();
    if port.known().gid != NO_GID {
        Active::port_added(&port, device, hca_port.number());
    }
}

/// Offers the ports of an HCA to the engine. The caller prevents the removal of the HCA. May sleep.
pub(super) fn offer_ports(hca: &Hca<Channel>) {
    if let Some(device) = hca.device() {
        for hca_port in hca.ports() {
            offer(hca_port, &device);
        }
    }
}

/// Reads the GID of a port again, and acts on a change. May sleep.
fn refresh_port(hca: &Hca<Channel>, number: u32) {
    let (Some(device), Some(hca_port)) = (hca.device(), hca.hca_port(number)) else {
        return;
    };
    if hca_port.refresh(&device) {
        hca_port.log(&device);
    }
    // The port object may be another one now; and an announcement that failed is made now.
    hca.follow_ports(true, |port| port.number() == number);
    offer(hca_port, &device);
}
