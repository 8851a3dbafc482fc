// SPDX-License-Identifier: GPL-2.0

//! Files of targets and sessions in sysfs that are not SCST's own. A file is an entry of the
//! table of its directory, see [`crate::attr`].
//!
//! Names, formats and errors are those of SCST's own SRP target. A line `[key]` makes `scstadmin`
//! save a value.
//!
//! Not here: targets ([`super::target`]) and sessions ([`super::session`]) themselves.
//!
//! C source: `scst/src/scst_sysfs.c`.
//!
//! # Lifetime of the objects
//!
//! A file is in use as long as one of its functions runs, and the removal of its directory waits
//! for that (`kernfs_drain()`). SCST removes the directory of a target at the beginning of
//! `scst_unregister_target()`, and that of a session before the session ends.

use core::{
    fmt,
    marker::PhantomData, //
};

use kernel::prelude::*;

use super::target::{
    ScstPortData,
    Target, //
};
use crate::{
    attr::{
        Attr,
        Kind,
        Table,
        Unit, //
    },
    bindings,
    engine::{
        self,
        SessionKey,
        SessionView, //
    },
    port::PortData,
    srp::{
        machine::channel::State,
        wire::dm::ControllerName, //
    }, //
};

/// Line that makes `scstadmin` save a value.
const KEY_MARK: &str = "[key]";

/// The directory of a target, whose files concern the target.
pub(super) struct TargetFiles;

impl Kind for TargetFiles {
    type Raw = bindings::kobject;
    type Object = Target;

    /// Fails with `EBUSY` if the target is still being registered.
    unsafe fn with<R>(
        kobj: *mut bindings::kobject,
        f: impl FnOnce(&Target) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: By the safety requirements, this is the kobject in a `struct scst_tgt`, whose
        // directory exists; see the head of this file.
        let target = unsafe { Target::from_raw(bindings::srpt_scst_kobj_to_tgt(kobj)) };
        // `E_TGT_PRIV_NOT_YET_SET`.
        f(target.ok_or(EBUSY)?)
    }
}

impl Table for TargetFiles {
    type Kind = Self;
    const FILES: &'static [Attr<Target>] = &[
        // Completion vectors that new channels use.
        Attr::rw(
            c"comp_v_mask",
            Unit::Vector,
            |target, page| {
                page.line(&*target.port().vectors())?;
                page.line(KEY_MARK)
            },
            |target, text| target.port().vectors().parse(text),
        ),
        // Name of the RDMA device.
        Attr::ro(c"device", Unit::Text, |target, page| {
            page.line(target.device_name().as_str())
        }),
        // Link layer of the port, named as in the RDMA core.
        Attr::ro(c"link_layer", Unit::Text, |target, page| {
            page.line(target.link_layer().name())
        }),
        // The text by which device management identifies the port's I/O controller; at most 63
        // bytes.
        Attr::rw(
            c"port_id",
            Unit::Text,
            |target, page| {
                let name = target.port().controller_name();
                page.line(name)?;
                if name.as_str() != ScstPortData::CONTROLLER_NAME {
                    page.line(KEY_MARK)?;
                }
                Ok(())
            },
            |target, text| {
                let name =
                    ControllerName::from_display(text.trim_ascii_end()).map_err(|_| E2BIG)?;
                target.port().set_controller_name(name);
                Ok(())
            },
        ),
        // Login parameters of this port, as the Linux initiator requires them.
        Attr::ro(c"login_info", Unit::Text, |target, page| {
            target.port().login_info(page).map_err(|_| EINVAL)
        }),
    ];
}

/// The directory of a session, whose files concern its channels.
pub(super) struct SessionFiles<T>(PhantomData<T>);

impl<T: engine::Target> Kind for SessionFiles<T> {
    type Raw = bindings::kobject;
    type Object = Channels;

    /// Fails with `ENOENT` if the session has no channel.
    unsafe fn with<R>(
        kobj: *mut bindings::kobject,
        f: impl FnOnce(&Channels) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: By the safety requirements, this is the kobject in a `struct scst_session`. The
        // shim computes an address.
        let sess = unsafe { bindings::srpt_scst_kobj_to_sess(kobj) };
        let channels = Channels(T::session_views(SessionKey(sess.addr()))?);
        if channels.0.is_empty() {
            return Err(ENOENT);
        }
        f(&channels)
    }
}

/// The channels of a session, oldest first.
pub(super) struct Channels(KVec<SessionView>);

impl Channels {
    /// Returns the sum of a number of each.
    fn sum(&self, number: impl Fn(&SessionView) -> u32) -> u32 {
        self.0.iter().map(number).fold(0, u32::saturating_add)
    }

    /// Returns the state of the newest live channel, or of the newest if none is.
    fn state(&self) -> Option<State> {
        let mut newest_first = self.0.iter().rev().map(|channel| channel.state);
        let live = newest_first.clone().find(|state| *state == State::Live);
        live.or_else(|| newest_first.next())
    }
}

/// The completion vector of each channel.
struct Vectors<'a>(&'a [SessionView]);

impl fmt::Display for Vectors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, channel) in self.0.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(f, "{space}{}", channel.comp_vector)?;
        }
        Ok(())
    }
}

impl<T: engine::Target> Table for SessionFiles<T> {
    type Kind = Self;
    const FILES: &'static [Attr<Channels>] = &[
        // Number of requests that the initiator may send now, on all channels.
        Attr::ro(c"req_lim", Unit::Requests, |channels, page| {
            page.line(channels.sum(|channel| channel.req_lim))
        }),
        // Number that the next response or request of the target on each channel adds to that.
        Attr::ro(c"req_lim_delta", Unit::Requests, |channels, page| {
            page.line(channels.sum(|channel| channel.delta))
        }),
        // State of the session: `live` if a channel is, or else of the newest channel.
        Attr::ro(c"ch_state", Unit::Text, |channels, page| {
            page.line(channels.state().ok_or(ENOENT)?)
        }),
        // Completion vectors of the channels.
        Attr::ro(c"comp_vector", Unit::Vector, |channels, page| {
            page.line(Vectors(&channels.0))
        }),
    ];
}
