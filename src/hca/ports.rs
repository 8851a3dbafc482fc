// SPDX-License-Identifier: GPL-2.0

//! The list of ports: those of the HCAs that are there, and absent ones with a configuration, which a
//! returning HCA finds. Which of them is which after a change is decided in [`crate::srp::machine::ports`].

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

/// The port object for a port that appears: one that was seen before, or a new one. It counts as
/// attached from now on; see [`release`].
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

/// Notes that the HCA of a port is gone. What was configured is kept for its return.
pub(crate) fn release(port: &Port) {
    let mut ports = PORTS.lock();
    port.detach();
    forget_unneeded(&mut ports);
}

/// Notes that the GID of a port that is in use has changed. Returns the port object that takes the
/// place of `port` if its configuration turns out to be that of a port seen before.
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

/// Forgets ports that are absent and have no configuration (any more), so that a returning HCA finds
/// none of them, and the list does not grow with every HCA that comes under a new name.
fn forget_unneeded(ports: &mut KVec<Arc<Port>>) {
    // A port that goes here has no portal groups, so nothing but memory is freed.
    ports.retain(|port| port.known().is_needed());
}

/// Finds a port that is there by one of its names. It counts as configured until the result is
/// dropped.
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

/// Forgets what is left of the list, when the module goes.
pub(crate) fn clear() {
    let old = core::mem::take(&mut *PORTS.lock());
    drop(old);
}
