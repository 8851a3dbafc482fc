// SPDX-License-Identifier: GPL-2.0

//! Listeners for native InfiniBand logins, one per HCA with a port that accepts them.
//!
//! A listener that cannot be started is tried again once per period, without a report: memory comes
//! back, another module may give up the service id. RDMA/CM logins work without.
//!
//! Not here: the RDMA/CM listener ([`super`]), and what the listeners are in C
//! ([`crate::rdma::cm`]).

use kernel::prelude::*;

use crate::{
    channel::Channel,
    hca::Hca,
    login::Logins,
    params,
    rdma::{
        cm::IbListener,
        device::{
            Device,
            DeviceId, //
        }, //
    },
    sync::{
        gate::HasGate,
        global::global_mutex, //
    }, //
};

global_mutex! {
    /// The listeners, with their devices.
    static LISTENERS: KVec<(DeviceId, IbListener<Logins>)> = KVec::new();
    init = init;
}

/// Starts the listener of an HCA unless there is one, or no port accepts native logins. The service
/// id is the service GUID, as with the C driver. A failure is logged if this is the `first` try.
/// The caller prevents the removal of the HCA. May sleep.
pub(super) fn start(hca: &Hca<Channel>, first: bool) {
    if !hca.ports().iter().any(|hca_port| hca_port.takes_ib_cm()) {
        return;
    }
    let (Some(device), Some(service)) = (hca.device(), params::service_guid()) else {
        return;
    };
    match add(hca, &device, service.0) {
        Ok(true) => pr_info!(
            "{}: listening for IB/CM logins on service 0x{:016x}\n",
            device.name(),
            service.0
        ),
        Ok(false) => {}
        // The id is in use, or in the range that the IB/CM assigns itself; or no memory.
        Err(e) if first => pr_warn!(
            "{}: cannot listen for IB/CM logins on service 0x{:016x}: {:?}\n",
            device.name(),
            service.0,
            e
        ),
        Err(_) => {}
    }
}

/// Adds a listener; returns whether it is new.
fn add(hca: &Hca<Channel>, device: &Device, service: u64) -> Result<bool> {
    let mut listeners = LISTENERS.lock();
    // Removal closes the gate before it stops the listener.
    if hca.listens() || hca.gate().is_closed() {
        return Ok(false);
    }
    listeners.reserve(1, GFP_KERNEL)?;
    listeners.push((hca.id(), IbListener::new(device, service)?), GFP_KERNEL)?;
    hca.set_listens();
    Ok(true)
}

/// Stops the listener of an HCA whose gate is closed, and waits for logins in progress. May sleep.
pub(super) fn stop(hca: &Hca<Channel>) {
    let mut listeners = LISTENERS.lock();
    let found = listeners.iter().position(|(id, _)| *id == hca.id());
    let old = found.and_then(|index| listeners.remove(index).ok());
    // Waits, so not under the lock.
    drop(listeners);
    drop(old);
}

/// Frees the list, which is empty, when the module is unloaded.
pub(super) fn clear() {
    let old = core::mem::take(&mut *LISTENERS.lock());
    drop(old);
}
