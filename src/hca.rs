// SPDX-License-Identifier: GPL-2.0

//! An HCA: what is allocated once per RDMA device, between its arrival and its removal.
//!
//! The protection domain, the shared receive queue, the device's ports with their device management
//! agents, and the listener for native InfiniBand logins live here. How logins use them is in
//! [`crate::channel`]; the listener for RDMA/CM logins is in [`crate::target`].
//!
//! # Lifetime
//!
//! A login and every channel hold a [`Pass`] on their HCA. Removal closes the gate, closes the
//! channels and waits until the last pass is gone; only then are the verbs objects freed and the
//! device let go of.

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};

use crate::{
    channel::{
        self,
        login::Logins,
        srq,
        Channel, //
    },
    dm_agent::DmAgent,
    engine::{
        Active,
        Engine, //
    },
    params,
    port::{
        Port,
        PortAttr, //
    },
    rdma::{
        client::Client,
        cm::{
            IbListener,
            PeerAddr, //
        },
        device::{
            Device,
            DeviceId,
            LinkLayer,
            Protocol, //
        },
        event::{
            DeviceEvent,
            DeviceEvents,
            EventHandler, //
        },
        pd::ProtectionDomain,
        qp::srq::SharedReceiveQueue, //
    },
    srp::{
        access::Advice,
        channel::CloseReason,
        consts::{
            limit,
            RejectReason, //
        },
        ident::{
            NameBuf,
            PortId, //
        },
        ports::{
            Place,
            NO_GID, //
        },
        stats::{
            refusal_index,
            Stats,
            REFUSALS, //
        }, //
    },
    sync::gate::{
        Gate,
        HasGate, //
    },
    sysfs::{
        PortDir,
        SessionDir, //
    }, //
};

pub(crate) mod list;
pub(crate) mod ports;

/// The port object of an [`HcaPort`].
struct Current {
    /// Another one if the port's GID turns out to be that of a port seen before.
    port: Arc<Port>,
    /// It was left to the HCA's return; it may belong to another [`HcaPort`] by now.
    released: bool,
}

/// A login that was refused.
#[derive(Clone, Copy)]
pub(crate) struct RefusedLogin {
    pub(crate) at: Instant<Monotonic>,
    pub(crate) reason: RejectReason,
    /// Zero if the request was none.
    pub(crate) initiator_port: PortId,
    pub(crate) peer: PeerAddr,
    /// What would let the initiator in, if that is why.
    pub(crate) advice: Option<Advice>,
}

/// How many of them are kept.
const KEPT_REFUSALS: usize = 8;

/// One port of an HCA; dropping it leaves the port to the HCA's return.
#[pin_data(PinnedDrop)]
pub(crate) struct HcaPort {
    device: DeviceId,
    number: u32,
    /// Native InfiniBand logins are accepted.
    ib_cm: bool,
    /// Logins granted.
    logins: Atomic<u64>,
    /// Logins refused, by reason.
    refusals: [Atomic<u64>; REFUSALS],
    /// The last of them, the newest first.
    #[pin]
    refused: SpinLock<[Option<RefusedLogin>; KEPT_REFUSALS]>,
    /// What was counted about channels that have ended; changed with the list of channels locked.
    #[pin]
    past: SpinLock<Stats>,
    #[pin]
    current: Mutex<Current>,
}

impl HcaPort {
    /// Finds or makes the port object. May sleep.
    fn new(device: &Device, number: u32) -> Result<Arc<Self>> {
        let place = Place {
            node_guid: device.node_guid(),
            number,
        };
        // A port whose GID cannot be read yet is named when its GID appears.
        let port = ports::adopt(place, device.query_gid(number, 0).unwrap_or(NO_GID))?;
        port.fit_vectors(device.num_comp_vectors())
            .inspect_err(|_| ports::release(&port))?;
        let current = Current {
            port: port.clone(),
            released: false,
        };
        let ib_cm = takes_ib_cm(device, number);
        Arc::pin_init(
            pin_init!(Self {
                device: device.id(),
                number,
                ib_cm,
                logins: Atomic::new(0),
                refusals: [const { Atomic::new(0) }; REFUSALS],
                refused <- new_spinlock!([None; KEPT_REFUSALS], "HcaPort::refused"),
                past <- new_spinlock!(Stats::new(), "HcaPort::past"),
                current <- new_mutex!(current, "HcaPort::current"),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| ports::release(&port))
    }

    /// The HCA's device.
    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// Number of the port, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Logins granted.
    pub(crate) fn logins(&self) -> u64 {
        self.logins.load(Relaxed)
    }

    /// Counts a login that was granted.
    pub(crate) fn count_login(&self) {
        self.logins.fetch_add(1, Relaxed);
    }

    /// Logins refused for a reason, by its number.
    pub(crate) fn refusals(&self, index: usize) -> Option<u64> {
        self.refusals.get(index).map(|count| count.load(Relaxed))
    }

    /// Counts a login that was refused, and keeps it among the last ones.
    pub(crate) fn count_refusal(&self, login: RefusedLogin) {
        if let Some(count) = self.refusals.get(refusal_index(login.reason)) {
            count.fetch_add(1, Relaxed);
        }
        let mut refused = self.refused.lock();
        refused.rotate_right(1);
        if let Some(newest) = refused.first_mut() {
            *newest = Some(login);
        }
    }

    /// The last logins that were refused, the newest first.
    pub(crate) fn last_refusals(&self) -> [Option<RefusedLogin>; KEPT_REFUSALS] {
        *self.refused.lock()
    }

    /// What was counted about channels that have ended.
    pub(crate) fn past(&self) -> Stats {
        *self.past.lock()
    }

    /// Keeps what was counted about a channel that ends.
    pub(crate) fn keep(&self, stats: &Stats) {
        self.past.lock().merge(stats);
    }

    /// The port object. May sleep.
    pub(crate) fn current(&self) -> Arc<Port> {
        self.current.lock().port.clone()
    }

    /// Reads the GID again; says whether it has changed. May sleep.
    fn refresh(&self, device: &Device) -> bool {
        // Events may be handled several at a time. With the lock held around reading, which looks
        // into a cache, what is read last is written last.
        let mut current = self.current.lock();
        let gid = device.query_gid(self.number, 0).unwrap_or(NO_GID);
        // A port whose GID has gone for a moment keeps its names.
        if current.released || gid == NO_GID || gid == current.port.known().gid {
            return false;
        }
        if let Some(old) = ports::rename(&current.port, gid) {
            // Without memory the mask stays as it was, which does no harm.
            let _ = old.fit_vectors(device.num_comp_vectors());
            current.port = old;
        }
        true
    }

    /// Says in the log how the port is named.
    fn log(&self, device: &Device) {
        let gid = self.current().gid_name();
        pr_info!("{} port {}: {}\n", device.name(), self.number, gid);
    }

    /// Offers the port to the engine if it has a name. May sleep.
    fn offer(&self, device: &Device) {
        let port = self.current();
        if port.known().gid != NO_GID {
            Active::port_added(&port, device, self.number);
        }
    }

    /// Leaves the port to the HCA's return. May be called twice.
    fn release(&self) {
        let mut current = self.current.lock();
        if !core::mem::replace(&mut current.released, true) {
            ports::release(&current.port);
        }
    }
}

#[pinned_drop]
impl PinnedDrop for HcaPort {
    fn drop(self: Pin<&mut Self>) {
        self.release();
    }
}

/// Verbs objects of the device; taken out and freed on removal.
struct Verbs {
    pd: Arc<ProtectionDomain>,
    /// Created when the first channel of a port with `use_srq` logs in.
    srq: Option<Arc<SharedReceiveQueue<Channel>>>,
}

/// An HCA.
#[pin_data]
pub(crate) struct Hca {
    id: DeviceId,
    #[pin]
    device: Mutex<Option<Device>>,
    #[pin]
    verbs: Mutex<Option<Verbs>>,
    #[pin]
    events: Mutex<Option<EventHandler<PortWatch>>>,
    #[pin]
    agents: Mutex<KVec<Arc<DmAgent>>>,
    /// Directories of the ports in sysfs, with their numbers.
    #[pin]
    dirs: Mutex<KVec<(u32, PortDir<HcaPort>)>>,
    /// For logins through the IB/CM; `None` if no port is meant for them.
    #[pin]
    listener: Mutex<Option<IbListener<Logins>>>,
    ports: KVec<Arc<HcaPort>>,
    #[pin]
    gate: Gate,
}

impl HasGate for Hca {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// Follows changes of port names. A separate object, so that it does not hold the HCA.
pub(crate) struct PortWatch {
    id: DeviceId,
}

impl DeviceEvents for PortWatch {
    fn event(&self, event: DeviceEvent) {
        // Which event a new GID or subnet prefix comes with differs between drivers; reading the
        // GID again costs little.
        if event.port != 0 {
            if let Some(hca) = list::get(self.id) {
                hca.refresh_port(event.port);
            }
        }
    }
}

impl Hca {
    /// Sets up everything for `device`. Process context, sleeps.
    fn new(device: &Device) -> Result<Arc<Self>> {
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
                events <- new_mutex!(None, "Hca::events"),
                agents <- new_mutex!(KVec::new(), "Hca::agents"),
                dirs <- new_mutex!(KVec::new(), "Hca::dirs"),
                listener <- new_mutex!(None, "Hca::listener"),
                ports,
                gate <- Gate::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Identity of the device.
    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    /// The device. `None` once it is being removed; never while a pass is held. May sleep.
    pub(crate) fn device(&self) -> Option<Device> {
        self.device.lock().clone()
    }

    /// The protection domain, `None` as for [`Self::device`]. May sleep.
    pub(crate) fn pd(&self) -> Option<Arc<ProtectionDomain>> {
        self.verbs.lock().as_ref().map(|verbs| verbs.pd.clone())
    }

    /// The port with this number.
    pub(crate) fn hca_port(&self, number: u32) -> Option<&Arc<HcaPort>> {
        self.ports.iter().find(|entry| entry.number == number)
    }

    /// Whether native InfiniBand logins are accepted on the port with this number.
    pub(crate) fn takes_ib_cm(&self, number: u32) -> bool {
        self.hca_port(number).is_some_and(|entry| entry.ib_cm)
    }

    /// Starts to listen for native InfiniBand logins if there is a port for them. The service id is
    /// the service GUID, as with the C driver. Without a listener the HCA serves RDMA/CM logins all
    /// the same. May sleep.
    fn listen(&self, device: &Device) {
        if !self.ports.iter().any(|entry| entry.ib_cm) {
            return;
        }
        let Some(service) = params::service_guid() else {
            return;
        };
        match IbListener::new(device, service.0) {
            Ok(listener) => {
                *self.listener.lock() = Some(listener);
                pr_info!(
                    "{}: listening for IB/CM logins on service 0x{:016x}\n",
                    device.name(),
                    service.0
                );
            }
            // An id that is in use, or of the range that the IB/CM assigns itself.
            Err(e) => pr_warn!(
                "{}: cannot listen for IB/CM logins on service 0x{:016x}: {:?}\n",
                device.name(),
                service.0,
                e
            ),
        }
    }

    /// The shared receive queue, filled; created on first use. It lives until the last channel
    /// that uses it is gone and no port asks for it any more. Process context, sleeps.
    pub(crate) fn srq(&self) -> Result<Arc<SharedReceiveQueue<Channel>>> {
        let device = self.device().ok_or(ENODEV)?;
        let mut verbs = self.verbs.lock();
        let verbs = (*verbs).as_mut().ok_or(ENODEV)?;
        // Channels of one that the device has given up are being closed; they keep it until then.
        if let Some(srq) = verbs.srq.as_ref().filter(|srq| !srq.has_failed()) {
            return Ok(srq.clone());
        }
        let entries = params::srq_size()
            .min(device.attrs().max_srq_wr)
            .max(limit::MIN_SRQ_SIZE);
        let srq = srq::create(&device, &verbs.pd, entries)?;
        verbs.srq = Some(srq.clone());
        Ok(srq)
    }

    /// Lets go of the shared receive queue if no port asks for it any more; it lives on until the
    /// last channel that uses it is gone. May sleep.
    pub(crate) fn forget_unused_srq(&self) {
        let wanted = |entry: &Arc<HcaPort>| entry.current().attr(PortAttr::UseSrq) != 0;
        if self.ports.iter().any(wanted) {
            return;
        }
        let old = (*self.verbs.lock())
            .as_mut()
            .and_then(|verbs| verbs.srq.take());
        drop(old);
    }

    /// Reads the GID of a port again. May sleep.
    fn refresh_port(&self, number: u32) {
        let (Some(device), Some(entry)) = (self.device(), self.hca_port(number)) else {
            return;
        };
        if entry.refresh(&device) {
            entry.log(&device);
            // It may be another port by now.
            self.follow_ports(|port| port.number == number);
        }
        entry.offer(&device);
    }

    /// Offers the ports to the engine. The caller keeps the HCA from being removed. May sleep.
    pub(crate) fn offer_ports(&self) {
        if let Some(device) = self.device() {
            for entry in self.ports.iter() {
                entry.offer(&device);
            }
        }
    }

    /// Makes the directories of the ports in sysfs. Without them the ports work all the same. May
    /// sleep.
    fn make_dirs(&self, device: &Device) {
        let mut dirs = KVec::new();
        for entry in self.ports.iter() {
            let number = entry.number;
            let name = NameBuf::<96>::from_display(DirName(device, number));
            let made = name
                .map_err(|_| EINVAL)
                .and_then(|name| PortDir::new(name.as_c_str(), entry.clone()))
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

    /// Follows a change of the device's name: directories of the ports, with everything in them. May
    /// sleep.
    fn rename_dirs(&self) {
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

    /// Makes the directory of a channel, still without files. The caller keeps the HCA from being
    /// removed. May sleep.
    pub(crate) fn session_dir(&self, number: u32, name: &CStr) -> Result<SessionDir> {
        let dirs = self.dirs.lock();
        let parent = dirs.iter().find(|(port, _)| *port == number);
        let (_, parent) = parent.ok_or(ENODEV)?;
        SessionDir::new(parent, name)
    }

    /// Starts the device management agents. May sleep.
    fn start_agents(&self, device: &Device) {
        let mut agents = KVec::new();
        for entry in self.ports.iter().filter(|e| device.has_mads(e.number)) {
            let started =
                DmAgent::start(device, entry).and_then(|agent| Ok(agents.push(agent, GFP_KERNEL)?));
            if let Err(e) = started {
                pr_warn!(
                    "{} port {}: no device management, initiators cannot discover it: {:?}\n",
                    device.name(),
                    entry.number,
                    e
                );
            }
        }
        *self.agents.lock() = agents;
    }

    /// Lets the agents of the ports that `which` selects follow whether these let initiators in. May
    /// sleep.
    pub(crate) fn follow_ports(&self, which: impl Fn(&HcaPort) -> bool) {
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
                if let Err(e) = agent.follow() {
                    pr_warn!(
                        "{} port {}: not announced, initiators cannot discover it: {:?}\n",
                        device.name(),
                        agent.port().number,
                        e
                    );
                }
            }
            index += 1;
        }
    }
}

/// Name of a port's directory in sysfs.
struct DirName<'a>(&'a Device, u32);

impl core::fmt::Display for DirName<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "srpt-{}-{}", self.0.name().as_str(), self.1)
    }
}

/// Whether a port is meant for native InfiniBand logins: those whose link layer is InfiniBand, and
/// those of RoCE if the administrator wants that.
fn takes_ib_cm(device: &Device, port: u32) -> bool {
    let wanted = match device.link_layer(port) {
        LinkLayer::InfiniBand => true,
        _ => params::ib_cm_on_roce() && device.protocol(port) == Protocol::Roce,
    };
    wanted && device.has_ib_cm(port)
}

/// The IB client of this module.
pub(crate) struct SrpClient;

impl Client for SrpClient {
    type Data = Hca;
    const NAME: &'static CStr = c"ib_srpt";

    fn add(device: &Device) -> Result<Arc<Hca>> {
        let hca = Hca::new(device)
            .inspect_err(|e| pr_err!("{}: cannot be used: {:?}\n", device.name(), e))?;
        list::add(&hca, device.node_guid())?;
        let watch = Arc::new(PortWatch { id: device.id() }, GFP_KERNEL)
            .map_err(Error::from)
            .and_then(|watch| EventHandler::new(device, watch));
        match watch {
            Ok(handler) => *hca.events.lock() = Some(handler),
            Err(e) => pr_warn!("{}: no port events: {:?}\n", device.name(), e),
        }
        for entry in hca.ports.iter() {
            // The GID may have changed before events were reported.
            entry.refresh(device);
            entry.log(device);
        }
        hca.make_dirs(device);
        hca.start_agents(device);
        hca.offer_ports();
        hca.listen(device);
        // Now that it can be logged in to.
        hca.follow_ports(|_| true);
        Ok(hca)
    }

    fn renamed(hca: &Hca) {
        hca.rename_dirs();
    }

    fn remove(hca: Arc<Hca>) {
        drop(hca.events.lock().take());
        // Unregistering waits for answers in progress: not with the lock held.
        let agents = core::mem::take(&mut *hca.agents.lock());
        for agent in agents.iter() {
            agent.end();
        }
        drop(agents);
        list::remove(&hca);
        hca.gate.close();
        // Not under the lock: this waits for a login that is being handled.
        let listener = hca.listener.lock().take();
        drop(listener);
        for entry in hca.ports.iter() {
            entry.release();
        }
        channel::list::close(CloseReason::DeviceRemoved, |channel| {
            channel.device_id() == hca.id
        });
        hca.gate.wait_empty();
        // Not under the lock: this waits for those who look into the files.
        let dirs = core::mem::take(&mut *hca.dirs.lock());
        drop(dirs);
        for entry in hca.ports.iter() {
            Active::port_removed(&entry.current());
        }
        drop(hca.verbs.lock().take());
        drop(hca.device.lock().take());
    }
}
