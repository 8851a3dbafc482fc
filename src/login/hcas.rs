// SPDX-License-Identifier: GPL-2.0

//! The list of HCAs available to logins.
//!
//! Not here: HCAs themselves ([`crate::hca`]), and when they are added and removed
//! ([`crate::target::client`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    channel::Channel,
    engine::{
        Active,
        Engine, //
    },
    hca::Hca,
    params,
    rdma::device::DeviceId,
    sync::global::global_mutex, //
};

global_mutex! {
    static HCAS: KVec<Arc<Hca<Channel>>> = KVec::new();
    init = init;
}

/// Adds an HCA to the list, and sets the service GUID if none is set yet; warns if it is zero. May
/// sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn add(hca: &Arc<Hca<Channel>>, node_guid: u64) -> Result {
    let mut hcas = HCAS.lock();
    hcas.push(hca.clone(), GFP_KERNEL)?;
    // With the lock held: HCAs may be added concurrently.
    if params::service_guid_or(Active::service_guid(node_guid)) == 0 {
        pr_warn!(
            "no node GUID: logins have to name the service GUID 0, or set srpt_service_guid\n"
        );
    }
    Ok(())
}

/// Removes an HCA from the list. May sleep.
pub(crate) fn remove(hca: &Arc<Hca<Channel>>) {
    HCAS.lock().retain(|known| !Arc::ptr_eq(known, hca));
}

/// Returns the HCA of a device. May sleep.
pub(crate) fn get(id: DeviceId) -> Option<Arc<Hca<Channel>>> {
    HCAS.lock().iter().find(|hca| hca.id() == id).cloned()
}

/// Returns all HCAs. Each may be in the course of its removal.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn all() -> Result<KVec<Arc<Hca<Channel>>>> {
    let hcas = HCAS.lock();
    let mut all = KVec::with_capacity(hcas.len(), GFP_KERNEL)?;
    for hca in hcas.iter() {
        all.push(hca.clone(), GFP_KERNEL)?;
    }
    Ok(all)
}

/// Empties the list when the module is unloaded.
pub(crate) fn clear() {
    let old = core::mem::take(&mut *HCAS.lock());
    drop(old);
}
