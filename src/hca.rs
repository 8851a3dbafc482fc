// SPDX-License-Identifier: GPL-2.0

//! HCA: the objects that exist once per RDMA device, from its addition to its removal.
//!
//! The protection domain, the shared receive queue, and the device's ports with their device
//! management agents and directories.
//!
//! Not here: addition and removal of devices ([`crate::target::client`]), and the use of HCAs by
//! logins ([`crate::login`]).
//!
//! # Lifetime
//!
//! A login and every channel hold a [`Pass`] of their HCA. Removal closes the gate, closes the
//! channels and waits until the last pass is dropped; only then are the verbs objects freed and the
//! device reference dropped.
//!
//! [`Pass`]: crate::sync::gate::Pass

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    params,
    port::PortAttr,
    rdma::{
        device::{
            Device,
            DeviceId, //
        },
        pd::ProtectionDomain,
        qp::{
            srq::SharedReceiveQueue,
            QpOwner, //
        }, //
    },
    srp::wire::{
        consts::limit,
        ident::NameBuf, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        gate::{
            Gate,
            HasGate, //
        }, //
    },
    sysfs::{
        PortDir,
        SessionDir, //
    }, //
};

mod dm_agent;
pub(crate) mod port;
pub(crate) mod ports;
pub(crate) mod srq;

use dm_agent::DmAgent;
use port::HcaPort;

/// Verbs objects of the device; taken and freed on removal.
struct Verbs<O: QpOwner> {
    pd: Arc<ProtectionDomain>,
    /// Created when the first channel of a port with `use_srq` logs in.
    srq: Option<Arc<SharedReceiveQueue<O>>>,
}

/// An HCA; `O` is the owner type of its queue pairs.
#[pin_data]
pub(crate) struct Hca<O: QpOwner> {
    id: DeviceId,
    #[pin]
    device: Mutex<Option<Device>>,
    #[pin]
    verbs: Mutex<Option<Verbs<O>>>,
    #[pin]
    agents: Mutex<KVec<Arc<DmAgent>>>,
    /// Directories of the ports in sysfs, with the port numbers.
    #[pin]
    dirs: Mutex<KVec<(u32, PortDir<HcaPort>)>>,
    ports: KVec<Arc<HcaPort>>,
    /// Native logins are listened for.
    listens: Atomic<bool>,
    #[pin]
    gate: Gate,
}

impl<O: QpOwner> HasGate for Hca<O> {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl<O: QpOwner> Hca<O> {
    /// Creates the protection domain and the ports of `device`. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or that of [`ProtectionDomain::new`].
    pub(crate) fn new(device: &Device) -> Result<Arc<Self>> {
        let pd = Arc::new(ProtectionDomain::new(device)?, GFP_KERNEL)?;
        let mut ports = KVec::new();
        for number in device.ports() {
            ports.push(HcaPort::new(device, number)?, GFP_KERNEL)?;
        }
        Arc::pin_init(
            try_pin_init!(Self {
                id: device.id(),
                device <- new_mutex!(Some(device.clone()), "Hca::device"),
                verbs <- new_mutex!(Some(Verbs { pd, srq: None }), "Hca::verbs"),
                agents <- new_mutex!(KVec::new(), "Hca::agents"),
                dirs <- new_mutex!(KVec::new(), "Hca::dirs"),
                ports,
                listens: Atomic::new(false),
                gate <- Gate::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the identity of the device.
    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    /// Returns the device; [`None`] once it is being removed, never while a pass is held. May
    /// sleep.
    pub(crate) fn device(&self) -> Option<Device> {
        self.device.lock().clone()
    }

    /// Returns the protection domain; [`None`] as for [`Self::device`]. May sleep.
    pub(crate) fn pd(&self) -> Option<Arc<ProtectionDomain>> {
        self.verbs.lock().as_ref().map(|verbs| verbs.pd.clone())
    }

    /// Returns the ports.
    pub(crate) fn ports(&self) -> &[Arc<HcaPort>] {
        &self.ports
    }

    /// Returns the port with this number.
    pub(crate) fn hca_port(&self, number: u32) -> Option<&Arc<HcaPort>> {
        self.ports.iter().find(|port| port.number() == number)
    }

    /// Returns the shared receive queue, filled; creates it on first use. It exists until the last
    /// channel that uses it has ended and no port is configured to use it. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the HCA is being removed, or that of [`srq::create`].
    pub(crate) fn srq(&self) -> Result<Arc<SharedReceiveQueue<O>>> {
        let device = self.device().ok_or(ENODEV)?;
        let mut verbs = self.verbs.lock();
        let verbs = (*verbs).as_mut().ok_or(ENODEV)?;
        // Channels that use a failed one are being closed; they hold it until then.
        if let Some(srq) = verbs.srq.as_ref().filter(|srq| !srq.has_failed()) {
            // Its channels do so once per period; it may have none.
            srq.refill();
            return Ok(srq.clone());
        }
        let entries = params::srq_size()
            .min(device.attrs().max_srq_wr)
            .max(limit::MIN_SRQ_SIZE);
        let srq = srq::create(&device, &verbs.pd, entries)?;
        verbs.srq = Some(srq.clone());
        Ok(srq)
    }

    /// Drops the shared receive queue if no port is configured to use it; it exists until the last
    /// channel that uses it has ended. May sleep.
    pub(crate) fn forget_unused_srq(&self) {
        let wanted = |port: &Arc<HcaPort>| port.current().attr(PortAttr::UseSrq) != 0;
        if self.ports.iter().any(wanted) {
            return;
        }
        let old = (*self.verbs.lock())
            .as_mut()
            .and_then(|verbs| verbs.srq.take());
        drop(old);
    }

    /// Creates the directories of the ports in sysfs. A failure is logged; the port works without.
    /// May sleep.
    pub(crate) fn make_dirs(&self, device: &Device) {
        let mut dirs = KVec::new();
        for port in self.ports.iter() {
            let number = port.number();
            let name = NameBuf::<96>::from_display(DirName(device, number));
            let made = name
                .map_err(|_| EINVAL)
                .and_then(|name| PortDir::new(name.as_c_str(), port.clone()))
                .and_then(|dir| Ok(dirs.push((number, dir), GFP_KERNEL)?));
            if let Err(e) = made {
                pr_warn!(
                    "{} port {}: no directory in sysfs: {:?}\n",
                    device.name(),
                    number,
                    e
                );
            }
        }
        *self.dirs.lock() = dirs;
    }

    /// Renames the directories of the ports after a change of the device's name. May sleep.
    pub(crate) fn rename_dirs(&self) {
        let Some(device) = self.device() else {
            return;
        };
        for (number, dir) in self.dirs.lock().iter() {
            let renamed = NameBuf::<96>::from_display(DirName(&device, *number))
                .map_err(|_| EINVAL)
                .and_then(|name| dir.rename(name.as_c_str()));
            match renamed {
                Ok(()) => pr_info!("{} port {}: renamed\n", device.name(), number),
                Err(e) => pr_warn!(
                    "{} port {}: its directory in sysfs keeps the old name: {:?}\n",
                    device.name(),
                    number,
                    e
                ),
            }
        }
    }

    /// Creates the directory of a channel, without files. The caller prevents the removal of the
    /// HCA. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the port has no directory, or that of [`SessionDir::new`].
    pub(crate) fn session_dir(&self, number: u32, name: &CStr) -> Result<SessionDir> {
        let dirs = self.dirs.lock();
        let parent = dirs.iter().find(|(port, _)| *port == number);
        let (_, parent) = parent.ok_or(ENODEV)?;
        SessionDir::new(parent, name)
    }

    /// Starts the device management agents; a failure is logged. May sleep.
    pub(crate) fn start_agents(&self, device: &Device) {
        let mut agents = KVec::new();
        for port in self.ports.iter().filter(|p| device.has_mads(p.number())) {
            let started =
                DmAgent::start(device, port).and_then(|agent| Ok(agents.push(agent, GFP_KERNEL)?));
            if let Err(e) = started {
                pr_warn!(
                    "{} port {}: no device management, initiators cannot discover it: {:?}\n",
                    device.name(),
                    port.number(),
                    e
                );
            }
        }
        *self.agents.lock() = agents;
    }

    /// Records that native logins are listened for.
    pub(crate) fn set_listens(&self) {
        self.listens.store(true, Release);
    }

    /// Returns whether native logins are listened for.
    pub(crate) fn listens(&self) -> bool {
        self.listens.load(Acquire)
    }

    /// Announces the agents of the ports that `which` selects, or withdraws the announcements, as
    /// the ports let initiators in or not. `again`: also those whose announcement has failed. May
    /// sleep.
    pub(crate) fn follow_ports(&self, again: bool, which: impl Fn(&HcaPort) -> bool) {
        let Some(device) = self.device() else {
            return;
        };
        let mut index = 0;
        loop {
            let next = self.agents.lock().get(index).cloned();
            let Some(agent) = next else {
                return;
            };
            if which(agent.port()) {
                let reachable = self.listens() || !agent.port().takes_ib_cm();
                if let Err(e) = agent.follow(reachable, again) {
                    pr_warn!(
                        "{} port {}: not announced, initiators cannot discover it: {:?}\n",
                        device.name(),
                        agent.port().number(),
                        e
                    );
                }
            }
            index += 1;
        }
    }

    /// Withdraws the announcements for good and stops the agents; waits for responses in progress.
    /// May sleep.
    pub(crate) fn end_agents(&self) {
        // Unregistering waits, so not under the lock.
        let agents = core::mem::take(&mut *self.agents.lock());
        for agent in agents.iter() {
            agent.end();
        }
        drop(agents);
    }

    /// Removes the directories of the ports; waits for running reads and writes of their files. No
    /// channel may be left. May sleep.
    pub(crate) fn remove_dirs(&self) {
        // Waits, so not under the lock.
        let dirs = core::mem::take(&mut *self.dirs.lock());
        drop(dirs);
    }

    /// Frees the verbs objects and drops the device reference. No channel may be left. May sleep.
    pub(crate) fn free(&self) {
        drop(self.verbs.lock().take());
        drop(self.device.lock().take());
    }
}

/// Name of a port's directory in sysfs.
struct DirName<'a>(&'a Device, u32);

impl core::fmt::Display for DirName<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "srpt-{}-{}", self.0.name().as_str(), self.1)
    }
}
