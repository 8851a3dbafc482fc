// SPDX-License-Identifier: GPL-2.0

//! The list of ports: those of present HCAs, and absent ones with a configuration, which an HCA
//! that returns takes over.
//!
//! Not here: the rules that identify a port after a change ([`crate::srp::machine::ports`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    engine::{
        ConfiguredPort,
        Port, //
    },
    srp::machine::ports::{
        find_renamed,
        find_returning,
        Gid,
        Place, //
    },
    sync::global::global_mutex, //
};

global_mutex! {
    static PORTS: KVec<Arc<Port>> = KVec::new();
    init = init;
}

/// Returns the port object for a port that appears: a known one, or a new one. It is attached until
/// [`release`]. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn adopt(place: Place, gid: Gid) -> Result<Arc<Port>> {
    let fresh = Port::new(place, gid)?;
    let mut ports = PORTS.lock();
    forget_unneeded(&mut ports);
    let known = ports.iter().map(|port| port.known());
    let found = find_returning(known, place, gid);
    let port = match found.and_then(|index| ports.get(index)) {
        Some(port) => port.clone(),
        None => {
            ports.push(fresh.clone(), GFP_KERNEL)?;
            fresh
        }
    };
    port.attach(place, gid);
    Ok(port)
}

/// Records that the HCA of a port was removed. The configuration of the port is kept for its
/// return. May sleep.
pub(crate) fn release(port: &Port) {
    let mut ports = PORTS.lock();
    port.detach();
    forget_unneeded(&mut ports);
}

/// Records that the GID of an attached port has changed. Returns the port object that replaces
/// `port` if its configuration proves to be that of a known port. May sleep.
pub(crate) fn rename(port: &Port, gid: Gid) -> Option<Arc<Port>> {
    let mut ports = PORTS.lock();
    forget_unneeded(&mut ports);
    let current = port.known();
    let known = ports.iter().map(|port| port.known());
    let found = find_renamed(known, current, gid);
    match found.and_then(|index| ports.get(index)).cloned() {
        Some(old) => {
            old.attach(current.place, gid);
            port.detach();
            forget_unneeded(&mut ports);
            Some(old)
        }
        None => {
            port.set_gid(gid);
            None
        }
    }
}

/// Removes absent ports without configuration, so that a returning HCA finds none of them, and the
/// list does not grow with every HCA that appears under a new name.
fn forget_unneeded(ports: &mut KVec<Arc<Port>>) {
    // A port that is dropped here has no portal groups, so only memory is freed.
    ports.retain(|port| port.known().is_needed());
}

/// Returns the attached port with this name, [`None`] if there is none. It counts as configured
/// until the result is dropped. May sleep.
#[allow(
    dead_code,
    reason = "only for engines with directories of their own making"
)]
pub(crate) fn configured(name: &str) -> Option<ConfiguredPort> {
    let ports = PORTS.lock();
    let mut all = ports.iter();
    let port = all.find(|port| port.known().attached && port.is_named(name))?;
    Some(ConfiguredPort::new(port.clone()))
}

/// Empties the list when the module is unloaded.
pub(crate) fn clear() {
    let old = core::mem::take(&mut *PORTS.lock());
    drop(old);
}
