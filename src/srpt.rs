// SPDX-License-Identifier: GPL-2.0

//! SCSI RDMA Protocol (SRP) target.
//!
//! Crate root: the list of modules, and the order in which the parts of the kernel module are
//! started and stopped.
//!
//! Not here: any logic. What the parts do when they are started and stopped is in their modules
//! ([`target`], [`sysfs`], [`engine`]); the module's version is in `modinfo.c`.

#![crate_name = "ib_srpt"]
#![allow(
    clippy::needless_update,
    reason = "with other headers a C structure has members that these do not have"
)]

use kernel::prelude::*;

mod admin;
mod attr;
mod bindings;
mod channel;
mod command;
mod compat;
mod display;
mod engine;
mod hca;
mod link;
mod login;
mod params;
mod port;
mod queues;
mod rdma;
mod srp;
mod sync;
mod sysfs;
mod target;
mod trace;
mod vectors;

use engine::{
    Active,
    Engine, //
};
use rdma::client::Registration;

/// The module.
///
/// Fields are dropped in the order they are declared: first the engine's registration, and with it
/// configfs; then the listener, so that no logins follow; then the HCAs, which closes every channel
/// and waits for it; then the directories in sysfs and debugfs; last the module-wide state. The
/// module cannot be unloaded while configfs directories exist, because the engine holds a reference
/// to it for each; without them there is no session. The engine is registered last: once
/// directories can be created, nothing may fail any more.
struct SrpTarget {
    _engine: <Active as Engine>::Registration,
    _listener: target::ListenerGuard,
    _client: Registration<target::client::SrpClient>,
    _class: sysfs::Class,
    _debugfs: admin::dump::Debugfs,
    _lifetime: target::Lifetime,
}

impl kernel::Module for SrpTarget {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        params::validate()?;
        let lifetime = target::Lifetime::new()?;
        let debugfs = admin::dump::Debugfs::new()?;
        let class = sysfs::Class::new()?;
        let client = Registration::new()?;
        let listener = target::ListenerGuard::new()?;
        let engine = Active::register::<target::Srpt>()?;
        Ok(Self {
            _engine: engine,
            _listener: listener,
            _client: client,
            _class: class,
            _debugfs: debugfs,
            _lifetime: lifetime,
        })
    }
}

module! {
    type: SrpTarget,
    name: "ib_srpt",
    authors: ["The ib_srpt developers"],
    description: "SCSI RDMA Protocol target driver written in Rust",
    license: "GPL",
}
