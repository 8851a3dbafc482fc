// SPDX-License-Identifier: GPL-2.0

//! The list of channels, and what concerns several of them: channels of one nexus, of a port, of an
//! access control entry.
//!
//! The lock is held for looking at the list only, never around calls into the engine, the connection
//! manager or verbs.

use kernel::{
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
    srp::{
        machine::{
            channel::CloseReason,
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

/// Makes a channel known, and decides in the same instant what becomes of the other channels of
/// its nexus. Returns the outcome to report and the channels to close.
pub(crate) fn add(
    channel: &Arc<Channel>,
    action: MultiChannel,
) -> Result<(MultiChannelResult, KVec<Arc<Channel>>)> {
    let mut channels = CHANNELS.lock();
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

/// Looks at all channels. None comes or goes meanwhile, so `f` must not wait for one.
pub(crate) fn look<R>(f: impl FnOnce(&[Arc<Channel>]) -> R) -> R {
    f(&CHANNELS.lock())
}

/// Looks for signs of life of all peers, and probes those that have been silent; confirms the
/// connections of those that send and do not confirm. Process context.
pub(crate) fn look_after_peers() {
    let mut silent = KVec::new();
    let mut early = KVec::new();
    {
        let channels = CHANNELS.lock();
        for channel in channels.iter() {
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
    close(CloseReason::PeerSilent, Channel::is_given_up);
}

/// Tells the initiators whose sessions `which` selects that their logical units have changed, each
/// on the oldest of its channels that are told of events. Does not wait. Process context.
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
pub(crate) fn shown(key: DirKey) -> Option<Arc<Channel>> {
    let channels = CHANNELS.lock();
    let mut all = channels.iter();
    all.find(|channel| channel.is_shown_as(key)).cloned()
}

/// All channels there are; `ENOMEM`.
pub(crate) fn all() -> Result<KVec<Arc<Channel>>> {
    let channels = CHANNELS.lock();
    let mut all = KVec::new();
    for channel in channels.iter() {
        all.push(channel.clone(), GFP_KERNEL)?;
    }
    Ok(all)
}

/// How many channels there are in the nexus of this one.
pub(crate) fn nexus_size(channel: &Channel) -> usize {
    let channels = CHANNELS.lock();
    let of_nexus = |other: &&Arc<Channel>| other.same_nexus(channel);
    channels.iter().filter(of_nexus).count()
}

/// What was counted about all channels of a port, past ones included.
pub(crate) fn port_stats(port: &HcaPort) -> Stats {
    let channels = CHANNELS.lock();
    let mut stats = port.past();
    for channel in channels.iter() {
        if core::ptr::eq(channel.entry(), port) {
            stats.merge(&channel.flow().stats());
        }
    }
    stats
}

/// Forgets a channel.
pub(crate) fn remove(channel: &Channel) {
    let mut gone = None;
    {
        let mut channels = CHANNELS.lock();
        let found = channels
            .iter()
            .position(|known| core::ptr::eq(&**known, channel));
        if let Some(index) = found {
            // In one step for those who add up, see `port_stats()`.
            channel.entry().keep(&channel.flow().stats());
            gone = channels.remove(index).ok();
        }
    }
    drop(gone);
}

/// Closes every channel `which` selects. Does not wait. Process context.
pub(crate) fn close(reason: CloseReason, which: impl Fn(&Channel) -> bool) {
    // One at a time: closing needs no allocation then, and the lock is not held around it. A
    // channel that is closing is not selected again, so this ends.
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

/// The live channels whose sessions an access control entry has let in, oldest first.
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

/// What the channel of a session does.
#[allow(dead_code, reason = "not every engine shows it")]
pub(crate) fn session_view(key: SessionKey) -> Option<SessionView> {
    let channels = CHANNELS.lock();
    // The newest: where the session of a channel that is closing was, another may be by now.
    let mut newest_first = channels.iter().rev();
    newest_first
        .find(|channel| channel.session().key() == key)
        .map(|channel| channel.view())
}

/// Forgets what is left of the list, when the module goes.
pub(crate) fn clear() {
    let old = core::mem::take(&mut *CHANNELS.lock());
    drop(old);
}
