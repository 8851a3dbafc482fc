// SPDX-License-Identifier: GPL-2.0

//! The target as a whole: which HCAs, ports and channels exist, the RDMA/CM listener, and the
//! engine's view of all of it ([`Srpt`]).
//!
//! The only module-wide state is here, behind one mutex that is held for list operations only,
//! never around calls into the engine, the connection manager or verbs.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use crate::{
    channel::{
        login::Logins,
        manage::TableWait,
        Channel,
        Hold, //
    },
    command::Command,
    engine::{
        Active,
        Aen,
        Delivery,
        Engine,
        EntryChannel,
        SessionKey,
        SessionView,
        TargetDriver,
        TargetKey, //
    },
    hca::{
        Hca,
        HcaPort, //
    },
    params,
    port::{
        ConfiguredPort,
        Port, //
    },
    rdma::{
        cm::{
            Family,
            Listener, //
        },
        device::DeviceId, //
    },
    srp::{
        channel::CloseReason,
        login::{
            multichannel_outcome,
            MultiChannel,
            MultiChannelResult, //
        },
        ports::{
            find_renamed,
            find_returning,
            Gid,
            Place, //
        },
        stats::Stats,
        watch::Look, //
    },
    sync::{
        gate::Pass,
        global::global_mutex,
        workqueue::{
            Periodic,
            Queue,
            Tick, //
        }, //
    },
    sysfs::DirKey, //
};

/// A channel that is not connected after this time is closed, in milliseconds. The peer's RTU
/// normally takes one round trip; the IB CM gives up on its own after about a minute.
const CONNECT_TIMEOUT_MS: i64 = 30_000;

/// How often channels are looked over, in milliseconds.
const REAP_PERIOD_MS: u32 = 5_000;

/// What exists.
struct State {
    hcas: KVec<Arc<Hca>>,
    /// The ports of these HCAs, and absent ones with a configuration, which a returning HCA finds.
    ports: KVec<Arc<Port>>,
    channels: KVec<Arc<Channel>>,
    /// For tear-down, which waits.
    queue: Option<Arc<Queue>>,
    /// For what tear-down waits for.
    retry_queue: Option<Arc<Queue>>,
}

global_mutex! {
    static STATE: State = State {
        hcas: KVec::new(),
        ports: KVec::new(),
        channels: KVec::new(),
        queue: None,
        retry_queue: None,
    };
    init = init_state;
}

global_mutex! {
    /// The RDMA/CM listener. Changes are one at a time: see [`params::on_cm_port_change`].
    static LISTENER: Option<Listener<Logins>> = None;
    init = init_listener;
}

/// Closes channels whose connection never completes, whose queue pair failed unnoticed, or whose
/// peer gives no sign of life; tells initiators that logical units have changed.
struct Reaper;

impl Tick for Reaper {
    fn tick(&self) {
        close_channels(CloseReason::ConnectTimeout, |channel| {
            channel.is_connecting() && channel.age_ms() > CONNECT_TIMEOUT_MS
        });
        close_channels(CloseReason::QpError, Channel::has_failed);
        look_after_peers();
        announce_luns(Channel::sees_other_luns);
    }
}

/// Looks for signs of life of all peers, and probes those that have been silent; confirms the
/// connections of those that send and do not confirm. Process context.
fn look_after_peers() {
    let mut silent = KVec::new();
    let mut early = KVec::new();
    {
        let state = STATE.lock();
        for channel in state.channels.iter() {
            let list = if channel.waits_for_confirmation() {
                &mut early
            } else if channel.look() == Look::Probe {
                &mut silent
            } else {
                continue;
            };
            // Without memory it is this peer's turn at the next look.
            if list.push(channel.clone(), GFP_KERNEL).is_err() {
                break;
            }
        }
    }
    for channel in early {
        Channel::confirm(channel.as_arc_borrow());
    }
    for channel in silent {
        Channel::probe(channel.as_arc_borrow());
    }
    close_channels(CloseReason::PeerSilent, Channel::is_given_up);
}

/// Keeps the module-wide state alive; dropping it clears everything. Must be dropped after the
/// listener was stopped, the IB client and the engine were unregistered: no channel exists then.
pub(crate) struct Lifetime {
    reaper: Pin<KBox<Periodic<Reaper>>>,
    queue: Arc<Queue>,
    retry_queue: Arc<Queue>,
}

impl Lifetime {
    /// Initialises the module-wide state; called once, first thing in the module's init.
    pub(crate) fn new() -> Result<Self> {
        init_state();
        init_listener();
        Active::init();
        let queue = Arc::new(Queue::new(c"ib_srpt")?, GFP_KERNEL)?;
        let retry_queue = Arc::new(Queue::new(c"ib_srpt_retry")?, GFP_KERNEL)?;
        {
            let mut state = STATE.lock();
            state.queue = Some(queue.clone());
            state.retry_queue = Some(retry_queue.clone());
        }
        let reaper = Periodic::start(&retry_queue, Reaper, REAP_PERIOD_MS).inspect_err(|_| {
            let mut state = STATE.lock();
            let queues = (state.queue.take(), state.retry_queue.take());
            drop(state);
            drop(queues);
        })?;
        Ok(Self {
            reaper,
            queue,
            retry_queue,
        })
    }
}

impl Drop for Lifetime {
    fn drop(&mut self) {
        self.reaper.stop();
        // The last channels may still be on their way out of the work function.
        self.queue.flush();
        self.retry_queue.flush();
        let mut state = STATE.lock();
        let old = (
            core::mem::take(&mut state.hcas),
            core::mem::take(&mut state.ports),
            core::mem::take(&mut state.channels),
            state.queue.take(),
            state.retry_queue.take(),
        );
        drop(state);
        drop(old);
    }
}

/// Keeps the RDMA/CM listener, whose port the module parameter and the configfs attribute set;
/// dropping it stops listening, waits for a login in progress and forbids to start again.
pub(crate) struct ListenerGuard {
    hook: Option<params::CmPortHook>,
}

impl ListenerGuard {
    /// Starts to listen if the module parameter names a port. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let hook = params::on_cm_port_change(listen)?;
        Ok(Self { hook: Some(hook) })
    }
}

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        drop(self.hook.take());
        let old = LISTENER.lock().take();
        drop(old);
    }
}

/// Starts, moves or (0) stops the RDMA/CM listener. Called by `params` only, one call at a time.
///
/// # Errors
///
/// Those of binding and listening, with the old listener still in place.
fn listen(port: u16) -> Result {
    let new = match port {
        0 => None,
        port => Some(Listener::new(port)?),
    };
    if let Some((family, error)) = new.as_ref().and_then(Listener::missing) {
        let family = match family {
            Family::Ipv6 => "IPv6",
            Family::Ipv4 => "IPv4",
        };
        pr_warn!("no RDMA/CM logins over {}: {:?}\n", family, error);
    }
    let old = core::mem::replace(&mut *LISTENER.lock(), new);
    match port {
        0 => pr_info!("RDMA/CM listener stopped\n"),
        port => pr_info!("listening for RDMA/CM logins on port {}\n", port),
    }
    drop(old);
    Ok(())
}

/// The work queue for tear-down.
pub(crate) fn queue() -> Option<Arc<Queue>> {
    STATE.lock().queue.clone()
}

/// The work queue for retries of commands. Tear-down waits for commands, so they do not share one.
pub(crate) fn retry_queue() -> Option<Arc<Queue>> {
    STATE.lock().retry_queue.clone()
}

/// The port object for a port that appears: one that was seen before, or a new one. It counts as
/// attached from now on; see [`release_port`].
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn adopt_port(place: Place, gid: Gid) -> Result<Arc<Port>> {
    let fresh = Port::new(place, gid)?;
    let mut state = STATE.lock();
    let known = state.ports.iter().map(|port| port.known());
    let found = find_returning(known, place, gid);
    let port = match found.and_then(|index| state.ports.get(index)) {
        Some(port) => port.clone(),
        None => {
            state.ports.push(fresh.clone(), GFP_KERNEL)?;
            fresh
        }
    };
    port.attach(place, gid);
    Ok(port)
}

/// Notes that the HCA of a port is gone. What was configured is kept for its return.
pub(crate) fn release_port(port: &Port) {
    let mut state = STATE.lock();
    port.detach();
    forget_unneeded(&mut state);
}

/// Notes that the GID of a port that is in use has changed. Returns the port object that takes the
/// place of `port` if its configuration turns out to be that of a port seen before.
pub(crate) fn rename_port(port: &Port, gid: Gid) -> Option<Arc<Port>> {
    let mut state = STATE.lock();
    let current = port.known();
    let known = state.ports.iter().map(|port| port.known());
    let found = find_renamed(known, current, gid);
    match found.and_then(|index| state.ports.get(index)).cloned() {
        Some(old) => {
            old.attach(current.place, gid);
            port.detach();
            forget_unneeded(&mut state);
            Some(old)
        }
        None => {
            port.set_gid(gid);
            None
        }
    }
}

/// Notes that a configfs directory of a port is gone.
pub(crate) fn drop_directory(port: &Port) {
    let mut state = STATE.lock();
    port.drop_directory();
    forget_unneeded(&mut state);
}

/// Forgets ports that are absent and have no configuration, so that the list does not grow with
/// every HCA that comes under a new name.
fn forget_unneeded(state: &mut State) {
    // A port that goes here has no portal groups, so nothing but memory is freed.
    state.ports.retain(|port| port.known().is_needed());
}

/// Makes an HCA known to logins.
pub(crate) fn add_hca(hca: &Arc<Hca>, node_guid: u64) -> Result {
    STATE.lock().hcas.push(hca.clone(), GFP_KERNEL)?;
    if params::service_guid_or(Active::service_guid(node_guid)) == 0 {
        pr_warn!(
            "no node GUID: logins have to name the service GUID 0, or set srpt_service_guid\n"
        );
    }
    Ok(())
}

/// Hides an HCA from logins.
pub(crate) fn remove_hca(hca: &Arc<Hca>) {
    STATE.lock().hcas.retain(|known| !Arc::ptr_eq(known, hca));
}

/// The HCA of a device.
pub(crate) fn hca(id: DeviceId) -> Option<Arc<Hca>> {
    STATE.lock().hcas.iter().find(|hca| hca.id() == id).cloned()
}

/// Makes a channel known, and decides in the same instant what becomes of the other channels of
/// its nexus. Returns the outcome to report and the channels to close.
pub(crate) fn add_channel(
    channel: &Arc<Channel>,
    action: MultiChannel,
) -> Result<(MultiChannelResult, KVec<Arc<Channel>>)> {
    let mut state = STATE.lock();
    let mut siblings = KVec::new();
    for other in state.channels.iter() {
        if other.same_nexus(channel) && !other.is_closing() {
            siblings.push(other.clone(), GFP_KERNEL)?;
        }
    }
    state.channels.push(channel.clone(), GFP_KERNEL)?;
    let (result, terminate) = multichannel_outcome(action, siblings.len());
    if !terminate {
        siblings.clear();
    }
    Ok((result, siblings))
}

/// Where the command that an ABORT TASK names was found.
pub(crate) enum FoundTask {
    /// It was aborted before the engine heard of it.
    Aborted,
    /// On another channel of the nexus, which is kept from being torn down.
    Sibling(Hold),
    /// On no other channel.
    NoSibling,
}

/// Looks for a SCSI command with this tag on all channels of the nexus of `channel` that were let in
/// as it was. A command of the channel itself comes first.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn find_task(channel: &Arc<Channel>, tag: u64, wait: &TableWait) -> Result<FoundTask> {
    if channel.abort_table(tag, wait)? {
        return Ok(FoundTask::Aborted);
    }
    if channel.has_task(tag) {
        return Ok(FoundTask::NoSibling);
    }
    let state = STATE.lock();
    let siblings = || {
        let others = state.channels.iter();
        others.filter(|other| {
            !Arc::ptr_eq(other, channel) && other.same_nexus(channel) && other.same_luns(channel)
        })
    };
    for other in siblings() {
        if other.abort_table(tag, wait)? {
            return Ok(FoundTask::Aborted);
        }
    }
    Ok(siblings()
        .find(|other| other.has_task(tag))
        .and_then(Hold::if_live)
        .map_or(FoundTask::NoSibling, FoundTask::Sibling))
}

/// Aborts the SCSI commands of a logical unit that the engine does not know yet, on all channels of
/// the nexus of `channel` that were let in as it was, for `wait`. (To others the number may mean
/// another logical unit.)
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn abort_tables(channel: &Arc<Channel>, lun: u64, wait: &TableWait) -> Result {
    let state = STATE.lock();
    let mut of_nexus = state
        .channels
        .iter()
        .filter(|other| other.same_nexus(channel) && other.same_luns(channel));
    of_nexus.try_for_each(|other| other.abort_tables(lun, wait))
}

/// Tells the initiators whose sessions `which` selects that their logical units have changed, each
/// on the oldest of its channels that are told of events. Does not wait. Process context.
fn announce_luns(which: impl Fn(&Arc<Channel>) -> bool) {
    let mut told = KVec::new();
    {
        let state = STATE.lock();
        let listens = |channel: &&Arc<Channel>| channel.takes_events() && channel.is_live();
        for channel in state.channels.iter().filter(listens) {
            if !which(channel) {
                continue;
            }
            let elder = state
                .channels
                .iter()
                .filter(listens)
                .any(|other| other.same_nexus(channel) && other.serial() < channel.serial());
            // Without memory the initiator finds out by itself.
            if !elder && told.push(channel.clone(), GFP_KERNEL).is_err() {
                break;
            }
        }
    }
    for channel in told {
        Channel::luns_changed(channel.as_arc_borrow());
    }
}

/// The channel that a directory in sysfs stands for.
pub(crate) fn shown_channel(key: DirKey) -> Option<Arc<Channel>> {
    let state = STATE.lock();
    let mut channels = state.channels.iter();
    channels.find(|channel| channel.is_shown_as(key)).cloned()
}

/// All channels there are; `ENOMEM`.
pub(crate) fn channels() -> Result<KVec<Arc<Channel>>> {
    let state = STATE.lock();
    let mut channels = KVec::new();
    for channel in state.channels.iter() {
        channels.push(channel.clone(), GFP_KERNEL)?;
    }
    Ok(channels)
}

/// How many channels there are in the nexus of this one.
pub(crate) fn nexus_size(channel: &Channel) -> usize {
    let state = STATE.lock();
    let of_nexus = |other: &&Arc<Channel>| other.same_nexus(channel);
    state.channels.iter().filter(of_nexus).count()
}

/// What was counted about all channels of a port, past ones included.
pub(crate) fn port_stats(port: &HcaPort) -> Stats {
    let state = STATE.lock();
    let mut stats = port.past();
    for channel in state.channels.iter() {
        if core::ptr::eq(channel.entry(), port) {
            stats.merge(&channel.counted());
        }
    }
    stats
}

/// Forgets a channel.
pub(crate) fn remove_channel(channel: &Channel) {
    let mut gone = None;
    {
        let mut state = STATE.lock();
        let found = state
            .channels
            .iter()
            .position(|known| core::ptr::eq(&**known, channel));
        if let Some(index) = found {
            // In one step for those who add up, see `port_stats()`.
            channel.entry().keep(&channel.counted());
            gone = state.channels.remove(index).ok();
        }
    }
    drop(gone);
}

/// Closes every channel `which` selects. Does not wait. Process context.
pub(crate) fn close_channels(reason: CloseReason, which: impl Fn(&Channel) -> bool) {
    // One at a time: closing needs no allocation then, and the lock is not held around it. A
    // channel that is closing is not selected again, so this ends.
    loop {
        let next = STATE
            .lock()
            .channels
            .iter()
            .find(|channel| !channel.is_closing() && which(channel))
            .cloned();
        match next {
            Some(channel) => Channel::close(channel.as_arc_borrow(), reason),
            None => return,
        }
    }
}

/// The engine's view of the SRP target.
pub(crate) struct Srpt;

impl TargetDriver for Srpt {
    fn rdy_to_xfer(cmd: ArcBorrow<'_, Command>) -> Delivery {
        Command::rdy_to_xfer(cmd)
    }

    fn xmit_response(cmd: ArcBorrow<'_, Command>) -> Delivery {
        Command::xmit_response(cmd)
    }

    fn task_mgmt_fn_done(cmd: ArcBorrow<'_, Command>) {
        Command::task_mgmt_fn_done(cmd);
    }

    fn on_abort_cmd(cmd: ArcBorrow<'_, Command>) {
        cmd.on_abort();
    }

    fn on_free_cmd(cmd: Arc<Command>) {
        Command::on_free(cmd);
    }

    fn on_hw_timeout(cmd: ArcBorrow<'_, Command>) {
        cmd.on_hw_timeout();
    }

    fn close_session(key: SessionKey) {
        close_channels(CloseReason::AclRemoved, |channel| {
            Active::session_key(channel.session()) == key
        });
    }

    fn close_target_sessions(port: &Port, target: TargetKey) {
        close_channels(CloseReason::Disabled, |channel| {
            core::ptr::eq(channel.port(), port)
                && Active::session_target(channel.session()) == target
        });
    }

    fn port_changed(port: &Port) {
        let mut hcas = KVec::new();
        for hca in STATE.lock().hcas.iter() {
            // Without memory initiators hear of it at the next change.
            if hcas.push(hca.clone(), GFP_KERNEL).is_err() {
                break;
            }
        }
        for hca in hcas {
            // One that is being removed announces nothing any more.
            if let Some(hca) = Pass::enter(&hca) {
                hca.follow_ports(|entry| core::ptr::eq(&*entry.current(), port));
            }
        }
    }

    fn report_session_aen(key: SessionKey, event: Aen) {
        match event {
            Aen::LunsChanged => {
                announce_luns(|channel| Active::session_key(channel.session()) == key);
            }
        }
    }

    fn entry_channels(target: TargetKey, entry: &CStr) -> Result<KVec<EntryChannel>> {
        let mut found = KVec::new();
        let state = STATE.lock();
        for channel in state.channels.iter().filter(|channel| channel.is_live()) {
            let session = channel.session();
            if Active::session_target(session) == target && Active::session_name(session) == entry {
                let shown = EntryChannel {
                    serial: channel.serial(),
                    initiator_port: channel.initiator_port(),
                    peer: channel.peer(),
                };
                found.push(shown, GFP_KERNEL)?;
            }
        }
        Ok(found)
    }

    fn session_view(key: SessionKey) -> Option<SessionView> {
        let state = STATE.lock();
        // The newest: where the session of a channel that is closing was, another may be by now.
        let mut channels = state.channels.iter().rev();
        channels
            .find(|channel| Active::session_key(channel.session()) == key)
            .map(|channel| channel.view())
    }

    fn offer_ports() -> Result {
        // An HCA that comes meanwhile offers its ports itself; one that goes waits for the pass.
        let mut hcas = KVec::new();
        for hca in STATE.lock().hcas.iter() {
            hcas.push(hca.clone(), GFP_KERNEL)?;
        }
        for hca in hcas {
            if let Some(hca) = Pass::enter(&hca) {
                hca.offer_ports();
            }
        }
        Ok(())
    }

    fn find_port(name: &str) -> Option<ConfiguredPort> {
        let state = STATE.lock();
        let port = state
            .ports
            .iter()
            .find(|port| port.known().attached && port.is_named(name))?;
        port.add_directory();
        Some(ConfiguredPort::counted(port.clone()))
    }

    fn rdma_cm_port() -> u16 {
        params::rdma_cm_port()
    }

    fn set_rdma_cm_port(port: u16) -> Result {
        params::set_rdma_cm_port(port)
    }
}
