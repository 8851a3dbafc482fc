// SPDX-License-Identifier: GPL-2.0

//! The list of HCAs that logins may use.

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

/// Makes an HCA known to logins.
pub(crate) fn add(hca: &Arc<Hca<Channel>>, node_guid: u64) -> Result {
    HCAS.lock().push(hca.clone(), GFP_KERNEL)?;
    if params::service_guid_or(Active::service_guid(node_guid)) == 0 {
        pr_warn!(
            "no node GUID: logins have to name the service GUID 0, or set srpt_service_guid\n"
        );
    }
    Ok(())
}

/// Hides an HCA from logins.
pub(crate) fn remove(hca: &Arc<Hca<Channel>>) {
    HCAS.lock().retain(|known| !Arc::ptr_eq(known, hca));
}

/// The HCA of a device.
pub(crate) fn get(id: DeviceId) -> Option<Arc<Hca<Channel>>> {
    HCAS.lock().iter().find(|hca| hca.id() == id).cloned()
}

/// All HCAs. Each may be on its way out.
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

/// Forgets what is left of the list, when the module goes.
pub(crate) fn clear() {
    let old = core::mem::take(&mut *HCAS.lock());
    drop(old);
}
