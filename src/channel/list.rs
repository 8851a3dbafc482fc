// SPDX-License-Identifier: GPL-2.0

//! The list of channels, and operations on several channels: of a nexus, of a port, of an access
//! control entry.
//!
//! The lock is held while the list is searched, not around calls into the engine, the connection
//! manager or verbs but those in `docs/locking.md`. Not here: operations on one channel
//! ([`super`]).

use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::Arc, //
};

use crate::{
    engine::{
        EntryChannel,
        Session,
        SessionKey,
        SessionView,
        TargetKey, //
    },
    hca::port::HcaPort,
    link::Owner,
    rdma::cm::PeerAddr,
    srp::{
        machine::{
            bounds::{
                Bound,
                Channels as Bounds, //
            },
            channel::CloseReason,
            nexus::Nexus,
            stats::Stats,
            watch::Look, //
        },
        wire::login::{
            multichannel_outcome,
            MultiChannel,
            MultiChannelResult, //
        }, //
    },
    sync::global::global_mutex,
    sysfs::DirKey, //
};

use super::Channel;

global_mutex! {
    static CHANNELS: KVec<Arc<Channel>> = KVec::new();
    init = init;
}

/// A channel that is to be added.
pub(crate) struct Joining<'a> {
    pub(crate) nexus: Nexus<&'a CStr, PeerAddr>,
    pub(crate) port: &'a HcaPort,
    pub(crate) target: TargetKey,
    /// The access control entry that has let it in.
    pub(crate) entry: &'a CStr,
    pub(crate) action: MultiChannel,
}

impl Joining<'_> {
    /// Returns the bound that the channel would exceed, if any.
    fn bound(&self, channels: &[Arc<Channel>], most: &Bounds) -> Option<Bound> {
        let mut there = Bounds::default();
        for other in channels {
            let nexus = other.nexus().is_same(&self.nexus);
            let closing = other.is_closing();
            // The login ends these, so that an initiator that comes back finds room.
            if nexus && self.action == MultiChannel::Single && !closing {
                continue;
            }
            let entry = other.is_let_in_by(self.target, self.entry);
            let port = core::ptr::eq(other.hca_port(), self.port);
            // Those that are ending still take memory, which an entry and a port have so much of;
            // an initiator has left them.
            let nexus = nexus && !closing;
            there.count(nexus, entry, port, entry && other.is_connecting());
        }
        most.reached(&there)
    }
}

/// Returns the bound that a channel would exceed, if any. [`add`] decides; this is for before much
/// is allocated.
pub(crate) fn bound(joining: &Joining<'_>, most: &Bounds) -> Option<Bound> {
    joining.bound(&CHANNELS.lock(), most)
}

/// Why a channel is not added.
pub(crate) enum NotAdded {
    /// There are as many as this allows.
    Bound(Bound),
    /// `ENOMEM`.
    NoMemory(AllocError),
}

impl From<AllocError> for NotAdded {
    fn from(e: AllocError) -> Self {
        Self::NoMemory(e)
    }
}

/// Adds a channel unless there are too many and, under the same lock, decides on the other channels
/// of its nexus. Returns the outcome for the login response and the channels to close.
pub(crate) fn add(
    channel: &Arc<Channel>,
    action: MultiChannel,
    most: &Bounds,
) -> Result<(MultiChannelResult, KVec<Arc<Channel>>), NotAdded> {
    let mut channels = CHANNELS.lock();
    if let Some(bound) = channel.joining(action).bound(&channels, most) {
        return Err(NotAdded::Bound(bound));
    }
    let mut siblings = KVec::new();
    for other in channels.iter() {
        if other.same_nexus(channel) && !other.is_closing() {
            siblings.push(other.clone(), GFP_KERNEL)?;
        }
    }
    channels.push(channel.clone(), GFP_KERNEL)?;
    let (result, terminate) = multichannel_outcome(action, siblings.len());
    if !terminate {
        siblings.clear();
    }
    Ok((result, siblings))
}

/// Calls `f` with the list locked: `f` must not wait for a channel.
pub(crate) fn look<R>(f: impl FnOnce(&[Arc<Channel>]) -> R) -> R {
    f(&CHANNELS.lock())
}

/// Probes the peers that have been silent, and confirms connections on which the peer sends without
/// a confirmation; frees what commands keep in vain; posts shared receives that an HCA did not
/// take. Called once per period. Process context.
pub(crate) fn look_after_peers() {
    let mut early = KVec::new();
    let mut silent = KVec::new();
    let mut gone = KVec::new();
    {
        let channels = CHANNELS.lock();
        for channel in channels.iter() {
            channel.age();
            channel.refill();
            // Without memory the next look, in the next period, finds the same.
            if channel.confirmation_is_late() && early.push(channel.clone(), GFP_KERNEL).is_err() {
                break;
            }
            let list = match channel.look() {
                Look::Fine => continue,
                Look::Probe => &mut silent,
                Look::GiveUp => &mut gone,
            };
            if list.push(channel.clone(), GFP_KERNEL).is_err() {
                break;
            }
        }
    }
    for channel in gone {
        Channel::close(channel.as_arc_borrow(), CloseReason::PeerSilent);
    }
    for channel in early {
        Channel::confirm(channel.as_arc_borrow());
    }
    for channel in silent {
        Channel::probe(channel.as_arc_borrow());
    }
}

/// Reports changed logical units to the initiators of the sessions that `which` selects, each on
/// the oldest of its channels that take events. Does not wait. Process context.
pub(crate) fn announce_luns(which: impl Fn(&Arc<Channel>) -> bool) {
    let mut told = KVec::new();
    {
        let channels = CHANNELS.lock();
        let listens = |channel: &&Arc<Channel>| channel.takes_events() && channel.is_live();
        for channel in channels.iter().filter(listens) {
            if !which(channel) {
                continue;
            }
            let elder = channels
                .iter()
                .filter(listens)
                .any(|other| other.same_luns(channel) && other.serial() < channel.serial());
            // Without memory the initiator finds the unit attention only.
            if !elder && told.push(channel.clone(), GFP_KERNEL).is_err() {
                break;
            }
        }
    }
    for channel in told {
        Channel::luns_changed(channel.as_arc_borrow());
    }
}

/// Returns the channel of a directory in sysfs.
pub(crate) fn shown(key: DirKey) -> Option<Arc<Channel>> {
    let channels = CHANNELS.lock();
    let mut all = channels.iter();
    all.find(|channel| channel.is_shown_as(key)).cloned()
}

/// Returns all channels.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn all() -> Result<KVec<Arc<Channel>>> {
    let channels = CHANNELS.lock();
    let mut all = KVec::new();
    for channel in channels.iter() {
        all.push(channel.clone(), GFP_KERNEL)?;
    }
    Ok(all)
}

/// Returns the number of channels in the nexus of `channel`, itself included.
pub(crate) fn nexus_size(channel: &Channel) -> usize {
    let channels = CHANNELS.lock();
    let of_nexus = |other: &&Arc<Channel>| other.same_nexus(channel);
    channels.iter().filter(of_nexus).count()
}

/// Returns the sum of the counters of all channels of a port, past channels included.
pub(crate) fn port_stats(port: &HcaPort) -> Stats {
    let channels = CHANNELS.lock();
    let mut stats = port.past();
    for channel in channels.iter() {
        if core::ptr::eq(channel.hca_port(), port) {
            stats.merge(&channel.flow().stats());
        }
    }
    stats
}

/// Removes a channel and adds its counters to those of its port.
pub(crate) fn remove(channel: &Channel) {
    let mut gone = None;
    {
        let mut channels = CHANNELS.lock();
        let found = channels
            .iter()
            .position(|known| core::ptr::eq(&**known, channel));
        if let Some(index) = found {
            // Under the lock, so that `port_stats()` counts the channel once.
            channel.hca_port().keep(&channel.flow().stats());
            gone = channels.remove(index).ok();
        }
    }
    drop(gone);
}

/// Closes every channel that `which` selects. Does not wait. Process context.
pub(crate) fn close(reason: CloseReason, which: impl Fn(&Channel) -> bool) {
    // One at a time, so that closing needs neither memory nor the lock. A channel that is closing
    // is not selected again, so this ends.
    loop {
        let next = CHANNELS
            .lock()
            .iter()
            .find(|channel| !channel.is_closing() && which(channel))
            .cloned();
        match next {
            Some(channel) => Channel::close(channel.as_arc_borrow(), reason),
            None => return,
        }
    }
}

/// Returns the live channels that an access control entry has let in, oldest first.
///
/// # Errors
///
/// `ENOMEM`.
#[allow(dead_code, reason = "not every engine shows it")]
pub(crate) fn of_entry(target: TargetKey, entry: &CStr) -> Result<KVec<EntryChannel>> {
    let channels = CHANNELS.lock();
    let mut found = KVec::new();
    let wanted = |channel: &&Arc<Channel>| channel.is_live() && channel.is_let_in_by(target, entry);
    for channel in channels.iter().filter(wanted) {
        let shown = EntryChannel {
            serial: channel.serial(),
            initiator_port: channel.initiator_port(),
            peer: channel.peer(),
        };
        found.push(shown, GFP_KERNEL)?;
    }
    Ok(found)
}

/// Returns snapshots of the channels of a session, oldest first.
///
/// # Errors
///
/// `ENOMEM`.
#[allow(dead_code, reason = "not every engine shows it")]
pub(crate) fn session_views(key: SessionKey) -> Result<KVec<SessionView>> {
    let channels = CHANNELS.lock();
    let mut views = KVec::new();
    let wanted = |channel: &&Arc<Channel>| channel.session().key() == key;
    for channel in channels.iter().filter(wanted) {
        views.push(channel.view(), GFP_KERNEL)?;
    }
    Ok(views)
}

/// Frees the list when the module is unloaded.
pub(crate) fn clear() {
    let old = core::mem::take(&mut *CHANNELS.lock());
    drop(old);
}
