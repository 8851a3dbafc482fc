// SPDX-License-Identifier: GPL-2.0

//! The files of targets and sessions in sysfs that are not SCST's own: what they show and take.
//! Their declarations are in `attrs.c`, because the kernel has macros for that.
//!
//! Names, formats and errors are those of SCST's own SRP target. A line `[key]` tells `scstadmin`
//! that a value is to be saved.
//!
//! C source: `sysfs_kf_seq_show()` and `sysfs_kf_write()` in `fs/sysfs/file.c`.
//!
//! # Why the objects exist
//!
//! A file is in use as long as one of these functions runs, and removing its directory waits for
//! that (`kernfs_drain()`). SCST removes the directory of a target first thing in
//! `scst_unregister_target()`, and that of a session before the session ends.

use core::fmt::Write as _;

use kernel::{
    fmt,
    prelude::*, //
};

use super::{
    session,
    target::{
        ScstPortData,
        Target, //
    }, //
};
use crate::{
    attr::page::{
        to_ssize,
        Page, //
    },
    bindings,
    engine::SessionView,
    port::PortData,
    srp::wire::dm::ControllerName, //
};

/// The line that makes `scstadmin` save a value.
const KEY_MARK: &str = "[key]";

/// Shows an attribute of a target.
///
/// # Safety
///
/// As for the functions below.
unsafe fn show_target(
    kobj: *mut bindings::kobject,
    buf: *mut c_char,
    show: impl FnOnce(&Target, &mut Page<'_>) -> fmt::Result,
) -> isize {
    // SAFETY: By the safety requirements; see the head of this file.
    let target = unsafe { Target::from_raw(bindings::srpt_scst_kobj_to_tgt(kobj)) };
    let Some(target) = target else {
        // `E_TGT_PRIV_NOT_YET_SET`.
        return to_ssize(Err(EBUSY));
    };
    // SAFETY: By the safety requirements.
    let mut page = unsafe { Page::from_raw(buf) };
    to_ssize(match show(target, &mut page) {
        Ok(()) => Ok(page.len()),
        Err(fmt::Error) => Err(EINVAL),
    })
}

/// Sets an attribute of a target.
///
/// # Safety
///
/// As for the functions below.
unsafe fn store_target(
    kobj: *mut bindings::kobject,
    buf: *const c_char,
    count: usize,
    store: impl FnOnce(&Target, &str) -> Result,
) -> isize {
    // SAFETY: By the safety requirements; see the head of this file.
    let target = unsafe { Target::from_raw(bindings::srpt_scst_kobj_to_tgt(kobj)) };
    let Some(target) = target else {
        return to_ssize(Err(EBUSY));
    };
    // SAFETY: By the safety requirements.
    let text = unsafe { CStr::from_char_ptr(buf) };
    to_ssize(
        text.to_str()
            .map_err(|_| EINVAL)
            .and_then(|text| store(target, text))
            .map(|()| count),
    )
}

/// Shows an attribute of a session; `ENOENT` if it has no channel.
///
/// # Safety
///
/// As for the functions below.
unsafe fn show_session(
    kobj: *mut bindings::kobject,
    buf: *mut c_char,
    show: impl FnOnce(&SessionView, &mut Page<'_>) -> fmt::Result,
) -> isize {
    // SAFETY: By the safety requirements; see the head of this file.
    let view = unsafe { session::view(bindings::srpt_scst_kobj_to_sess(kobj)) };
    let Some(view) = view else {
        return to_ssize(Err(ENOENT));
    };
    // SAFETY: By the safety requirements.
    let mut page = unsafe { Page::from_raw(buf) };
    to_ssize(match show(&view, &mut page) {
        Ok(()) => Ok(page.len()),
        Err(fmt::Error) => Err(EINVAL),
    })
}

/// Defines the functions that `attrs.c` names: each calls the one above that fits, and has the type
/// that `shims.h` promises to C.
macro_rules! attributes {
    ($($(#[$meta:meta])* $kind:ident $name:ident: $body:expr;)*) => {
        $(attributes! { @$kind $(#[$meta])* $name $body })*
        // The branches of an `if` must have one type; bindgen made the first from the header.
        $(const _: () = {
            if true {
                bindings::$name
            } else {
                $name
            };
        };)*
    };
    (@target $(#[$meta:meta])* $name:ident $body:expr) => {
        attributes! { @show show_target $(#[$meta])* $name $body }
    };
    (@session $(#[$meta:meta])* $name:ident $body:expr) => {
        attributes! { @show show_session $(#[$meta])* $name $body }
    };
    (@show $via:ident $(#[$meta:meta])* $name:ident $body:expr) => {
        $(#[$meta])* ///
        /// Process context, may sleep.
        ///
        /// # Safety
        ///
        /// Called by sysfs with the directory of a target or session and a zeroed page, with the
        /// mutex of the open file held.
        #[no_mangle]
        unsafe extern "C" fn $name(
            kobj: *mut bindings::kobject,
            _: *mut bindings::kobj_attribute,
            buf: *mut c_char,
        ) -> isize {
            // SAFETY: By the safety requirements.
            unsafe { $via(kobj, buf, $body) }
        }
    };
    (@store $(#[$meta:meta])* $name:ident $body:expr) => {
        $(#[$meta])* ///
        /// Process context, may sleep.
        ///
        /// # Safety
        ///
        /// Called by sysfs with the directory of a target and what was written, NUL-terminated.
        #[no_mangle]
        unsafe extern "C" fn $name(
            kobj: *mut bindings::kobject,
            _: *mut bindings::kobj_attribute,
            buf: *const c_char,
            count: usize,
        ) -> isize {
            // SAFETY: By the safety requirements.
            unsafe { store_target(kobj, buf, count, $body) }
        }
    };
}

attributes! {
    /// `login_info`: what an initiator has to write to log in through this port.
    target srpt_scst_show_login_info: |target: &Target, page: &mut Page<'_>| {
        target.port().login_info(page)
    };

    /// `comp_v_mask`: which completion vectors new channels use.
    target srpt_scst_show_comp_v_mask: |target: &Target, page: &mut Page<'_>| {
        writeln!(page, "{}\n{KEY_MARK}", *target.port().vectors())
    };

    /// Sets `comp_v_mask`.
    store srpt_scst_store_comp_v_mask: |target: &Target, text: &str| {
        target.port().vectors().parse(text)
    };

    /// `device`: name of the RDMA device.
    target srpt_scst_show_device: |target: &Target, page: &mut Page<'_>| {
        writeln!(page, "{}", target.device())
    };

    /// `link_layer`: that of the port, in the words of the RDMA core.
    target srpt_scst_show_link_layer: |target: &Target, page: &mut Page<'_>| {
        writeln!(page, "{}", target.link_layer().name())
    };

    /// `port_id`: the text by which device management identifies the port's I/O controller.
    target srpt_scst_show_port_id: |target: &Target, page: &mut Page<'_>| {
        let name = target.port().controller_name();
        writeln!(page, "{name}")?;
        if name.as_str() != ScstPortData::CONTROLLER_NAME {
            writeln!(page, "{KEY_MARK}")?;
        }
        Ok(())
    };

    /// Sets `port_id`: at most 63 bytes.
    store srpt_scst_store_port_id: |target: &Target, text: &str| {
        let name = ControllerName::from_display(text.trim_ascii_end()).map_err(|_| E2BIG)?;
        target.port().set_controller_name(name);
        Ok(())
    };

    /// `req_lim`: requests the initiator may send now.
    session srpt_scst_show_req_lim: |view: &SessionView, page: &mut Page<'_>| {
        writeln!(page, "{}", view.req_lim)
    };

    /// `req_lim_delta`: what the next response adds to that.
    session srpt_scst_show_req_lim_delta: |view: &SessionView, page: &mut Page<'_>| {
        writeln!(page, "{}", view.delta)
    };

    /// `ch_state`: what the channel is doing.
    session srpt_scst_show_ch_state: |view: &SessionView, page: &mut Page<'_>| {
        writeln!(page, "{}", view.state)
    };

    /// `comp_vector`: the completion vector of the channel.
    session srpt_scst_show_comp_vector: |view: &SessionView, page: &mut Page<'_>| {
        writeln!(page, "{}", view.comp_vector)
    };
}
