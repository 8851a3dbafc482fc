// SPDX-License-Identifier: GPL-2.0

//! The target as a whole: start and stop of the module's parts, the RDMA/CM listener, the periodic
//! check of all channels, and the engine's view of the target ([`Srpt`]).
//!
//! Not here: the lists of HCAs ([`crate::login::hcas`]), of ports ([`crate::hca::ports`]) and of
//! channels ([`crate::channel::list`]).

use kernel::prelude::*;

use crate::{
    channel::{
        list,
        Channel,
        Command, //
    },
    engine::{
        Active,
        Aen,
        ConfiguredPort,
        Engine,
        EntryChannel,
        HasTarget,
        Port,
        Session,
        SessionKey,
        SessionView,
        Target,
        TargetKey,
        Top, //
    },
    hca::{
        self,
        port::HcaPort,
        Hca, //
    },
    link::Owner,
    login::{
        hcas,
        Logins, //
    },
    params,
    queues,
    rdma::cm::{
        Family,
        Listener, //
    },
    srp::machine::channel::CloseReason,
    sync::{
        gate::Pass,
        global::global_mutex,
        workqueue::{
            Periodic,
            Tick, //
        }, //
    },
    sysfs, //
};

pub(crate) mod client;
mod ib_listen;

/// Time after which a channel that is not connected is closed, in milliseconds. The peer's RTU
/// normally takes one round trip; the IB CM gives up by itself after about a minute.
const CONNECT_TIMEOUT_MS: i64 = 30_000;

/// Period of the check of all channels, in milliseconds.
const REAP_PERIOD_MS: u32 = 5_000;

global_mutex! {
    /// The RDMA/CM listener. Changes are serialised: see [`params::on_cm_port_change`].
    static LISTENER: Option<Listener<Logins>> = None;
    init = init_listener;
}

/// Periodic check: closes channels that are not connected in time, whose queue pair failed without
/// an event, or whose peer is dead; notifies initiators of changed logical units; posts shared
/// receives that an HCA did not take; tries again to listen for native logins; announces ports.
struct Reaper;

impl Tick for Reaper {
    fn tick(&self) {
        list::close(CloseReason::ConnectTimeout, |channel| {
            channel.is_connecting() && channel.age_ms() > CONNECT_TIMEOUT_MS
        });
        list::close(CloseReason::QpError, Channel::has_failed);
        list::look_after_peers();
        list::announce_luns(Channel::sees_other_luns);
        each_hca(|hca| {
            ib_listen::start(hca, false);
            // LIO's entries come and go without a report, or before they are complete.
            hca.follow_ports(false, |_| true);
        });
    }
}

/// Announces the ports that `which` selects to initiators that look for targets, or withdraws the
/// announcements. May sleep.
fn follow_ports(again: bool, which: impl Fn(&HcaPort) -> bool) {
    // One that is being removed has withdrawn its announcements.
    each_hca(|hca| hca.follow_ports(again, &which));
}

/// Calls `f` with each HCA that is not being removed. May sleep.
fn each_hca(f: impl Fn(&Hca<Channel>)) {
    // Without memory it follows in the next period.
    let Ok(hcas) = hcas::all() else {
        return;
    };
    for hca in hcas {
        if let Some(hca) = Pass::enter(&hca) {
            f(&hca);
        }
    }
}

/// Keeps the module-wide state alive; dropping it frees everything. Must be dropped after the
/// listener was stopped, and the IB client and the engine were unregistered: no channel exists
/// then.
pub(crate) struct Lifetime {
    reaper: Pin<KBox<Periodic<Reaper>>>,
}

impl Lifetime {
    /// Initialises the module-wide state; called once, before any other part of the module is
    /// started. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        queues::init();
        sysfs::init();
        list::init();
        hcas::init();
        hca::ports::init();
        init_listener();
        ib_listen::init();
        Active::init();
        let queue = queues::start()?;
        let reaper = Periodic::start(&queue, Reaper, REAP_PERIOD_MS);
        Ok(Self {
            reaper: reaper.inspect_err(|_| queues::stop())?,
        })
    }
}

impl Drop for Lifetime {
    fn drop(&mut self) {
        self.reaper.stop();
        // The work functions of the last channels may still be returning.
        queues::stop();
        list::clear();
        hca::ports::clear();
        hcas::clear();
        ib_listen::clear();
    }
}

/// Keeps the RDMA/CM listener, whose port the module parameter and the configfs attribute set.
/// Dropping it stops the listener, waits for logins in progress, and prevents another start; may
/// sleep.
pub(crate) struct ListenerGuard {
    hook: Option<params::CmPortHook>,
}

impl ListenerGuard {
    /// Starts the listener if the module parameter sets a port. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`params::on_cm_port_change`].
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

/// Starts, moves or (0) stops the RDMA/CM listener. One that is on this port already tries again to
/// serve the family of addresses that it lacks. Called by `params` only, one call at a time. May
/// sleep.
///
/// # Errors
///
/// Those of [`Listener::new`]; the old listener is kept then. A family that is still missing is
/// logged only.
fn listen(port: u16) -> Result {
    if is_on(port) {
        return Ok(());
    }
    let new = match port {
        0 => None,
        port => Some(Listener::new(port)?),
    };
    if let Some(listener) = &new {
        report_missing(listener);
    }
    let old = core::mem::replace(&mut *LISTENER.lock(), new);
    match port {
        0 => pr_info!("RDMA/CM listener stopped\n"),
        port => pr_info!("listening for RDMA/CM logins on port {}\n", port),
    }
    drop(old);
    Ok(())
}

/// Returns whether the listener is on this port already, or is (0) stopped; tries again to serve
/// the family that it lacks.
fn is_on(port: u16) -> bool {
    let mut listener = LISTENER.lock();
    let Some(listener) = listener.as_mut() else {
        return port == 0;
    };
    if listener.port() != port {
        return false;
    }
    if listener.missing().is_some() {
        listener.complete();
        match listener.missing() {
            None => pr_info!("listening for RDMA/CM logins on port {}\n", port),
            Some(_) => report_missing(listener),
        }
    }
    true
}

/// Logs which family of addresses a listener does not serve.
fn report_missing(listener: &Listener<Logins>) {
    if let Some((family, error)) = listener.missing() {
        let family = match family {
            Family::Ipv6 => "IPv6",
            Family::Ipv4 => "IPv4",
        };
        pr_warn!("no RDMA/CM logins over {}: {:?}\n", family, error);
    }
}

/// The engine's view of the SRP target.
pub(crate) struct Srpt;

impl HasTarget for Top {
    type Target = Srpt;
}

impl Target for Srpt {
    type Cmd = Command;

    fn close_session(key: SessionKey) {
        list::close(CloseReason::AclRemoved, |channel| {
            channel.session().key() == key
        });
    }

    fn close_target_sessions(port: &Port, target: TargetKey) {
        list::close(CloseReason::Disabled, |channel| {
            core::ptr::eq(channel.port(), port) && channel.session().target() == target
        });
    }

    fn port_changed(port: &Port) {
        follow_ports(true, |hca_port| core::ptr::eq(&*hca_port.current(), port));
    }

    fn report_session_aen(key: SessionKey, event: Aen) {
        match event {
            Aen::LunsChanged => {
                list::announce_luns(|channel| channel.session().key() == key);
            }
        }
    }

    fn entry_channels(target: TargetKey, entry: &CStr) -> Result<KVec<EntryChannel>> {
        list::of_entry(target, entry)
    }

    fn session_views(key: SessionKey) -> Result<KVec<SessionView>> {
        list::session_views(key)
    }

    fn offer_ports() -> Result {
        // An HCA that is added meanwhile offers its ports itself; the removal of one waits for the
        // pass.
        for hca in hcas::all()? {
            if let Some(hca) = Pass::enter(&hca) {
                client::offer_ports(&hca);
            }
        }
        Ok(())
    }

    fn find_port(name: &str) -> Option<ConfiguredPort> {
        hca::ports::configured(name)
    }
}
