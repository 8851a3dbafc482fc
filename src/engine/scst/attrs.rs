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

use core::marker::PhantomData;

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
    srp::wire::dm::ControllerName, //
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

/// The directory of a session, whose files concern the state of its channel.
pub(super) struct SessionFiles<T>(PhantomData<T>);

impl<T: engine::Target> Kind for SessionFiles<T> {
    type Raw = bindings::kobject;
    type Object = SessionView;

    /// Fails with `ENOENT` if the session has no channel.
    unsafe fn with<R>(
        kobj: *mut bindings::kobject,
        f: impl FnOnce(&SessionView) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: By the safety requirements, this is the kobject in a `struct scst_session`. The
        // shim computes an address.
        let sess = unsafe { bindings::srpt_scst_kobj_to_sess(kobj) };
        f(&T::session_view(SessionKey(sess.addr())).ok_or(ENOENT)?)
    }
}

impl<T: engine::Target> Table for SessionFiles<T> {
    type Kind = Self;
    const FILES: &'static [Attr<SessionView>] = &[
        // Number of requests that the initiator may send now.
        Attr::ro(c"req_lim", Unit::Requests, |view, page| {
            page.line(view.req_lim)
        }),
        // Number that the next response or request of the target adds to that.
        Attr::ro(c"req_lim_delta", Unit::Requests, |view, page| {
            page.line(view.delta)
        }),
        // State of the channel.
        Attr::ro(c"ch_state", Unit::Text, |view, page| page.line(view.state)),
        // Completion vector of the channel.
        Attr::ro(c"comp_vector", Unit::Vector, |view, page| {
            page.line(view.comp_vector)
        }),
    ];
}
