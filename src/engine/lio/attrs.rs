// SPDX-License-Identifier: GPL-2.0

//! Files in the configfs directories.
//!
//! Names, modes, limits and the format of the values are those of the C driver. A file is an entry
//! of the table of its directory, see [`crate::attr`]. The files are in directories that target
//! core creates, so the kernel crate's `configfs` module, which is for subsystems of the module's
//! own, cannot be used.
//!
//! Not here: the directories ([`super::tpg`]).
//!
//! C header: [`include/target/target_core_fabric.h`](srctree/include/target/target_core_fabric.h)

use core::{
    fmt::Write as _,
    marker::PhantomData,
    net::Ipv6Addr, //
};

use kernel::prelude::*;

use super::tpg::{
    Entry,
    Tpg, //
};
use crate::{
    attr::{
        page::{
            parse_number,
            parse_u32,
            Page, //
        },
        Attr,
        Kind,
        Table,
        Unit, //
    },
    bindings,
    engine::Target,
    params,
    port::PortAttr,
    rdma::cm::PeerAddr, //
};

/// The directories `srpt` and `srpt/discovery_auth`, whose files concern the whole target.
pub(super) struct Whole;

impl Kind for Whole {
    type Raw = bindings::config_item;
    type Object = Self;

    unsafe fn with<R>(
        _: *mut bindings::config_item,
        f: impl FnOnce(&Self) -> Result<R>,
    ) -> Result<R> {
        f(&Self)
    }
}

/// The files of `srpt/discovery_auth`; `tfc_discovery_attrs`.
pub(super) struct Discovery;

impl Table for Discovery {
    type Kind = Whole;
    const FILES: &'static [Attr<Whole>] = &[
        // TCP port number of the RDMA/CM listener, 0 for none.
        Attr::rw(
            c"rdma_cm_port",
            Unit::PortNumber,
            |_, page| page.line(params::rdma_cm_port()),
            |_, text| {
                let port = parse_number(text)?;
                params::set_rdma_cm_port(u16::try_from(port).map_err(|_| ERANGE)?)
            },
        ),
    ];
}

/// The files of `srpt`; `tfc_wwn_attrs`.
pub(super) struct Wwn;

impl Table for Wwn {
    type Kind = Whole;
    const FILES: &'static [Attr<Whole>] = &[
        // Version of this module. (The C driver shows an empty line.)
        Attr::ro(c"version", Unit::Text, |_, page| version(page)),
    ];
}

/// The directory `srpt/<port>/<tpg>/attrib`, whose files concern the portal group;
/// `tfc_tpg_attrib_attrs`.
pub(super) struct TpgAttrib;

impl Kind for TpgAttrib {
    type Raw = bindings::config_item;
    type Object = Tpg;

    unsafe fn with<R>(
        item: *mut bindings::config_item,
        f: impl FnOnce(&Tpg) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: By the safety requirements, `item` is that of the `tpg_attrib_group` of a portal
        // group, which is the contract of `attrib_to_tpg()`. It came from `Tpg::make`, and is not
        // dropped before its directory is gone.
        f(unsafe { Tpg::from_raw(bindings::srpt_attrib_to_tpg(item)) })
    }
}

/// Defines a file of an attribute that is stored in the port object, which all portal groups of the
/// port share.
macro_rules! port_attr {
    ($name:literal, $unit:ident, $attr:ident) => {
        Attr::rw(
            $name,
            Unit::$unit,
            |tpg, page| show_attr(tpg, PortAttr::$attr, page),
            |tpg, text| set_attr(tpg, PortAttr::$attr, text),
        )
    };
}

impl Table for TpgAttrib {
    type Kind = Self;
    const FILES: &'static [Attr<Tpg>] = &[
        // Maximum number of bytes that one command may transfer.
        port_attr!(c"srp_max_rdma_size", Bytes, MaxRdmaSize),
        // Size of a response buffer in bytes.
        port_attr!(c"srp_max_rsp_size", Bytes, MaxRspSize),
        // Number of send queue entries.
        port_attr!(c"srp_sq_size", Entries, SqSize),
        // 1 if channels share one receive queue per HCA, 0 if each has its own.
        port_attr!(c"use_srq", Flag, UseSrq),
    ];
}

/// Shows an attribute of a portal group's port. Process context.
fn show_attr(tpg: &Tpg, attr: PortAttr, page: &mut Page<'_>) -> Result {
    page.line(tpg.port().attr(attr))
}

/// Sets an attribute of a portal group's port. Process context.
///
/// # Errors
///
/// `EINVAL` if the value is not acceptable.
fn set_attr(tpg: &Tpg, attr: PortAttr, text: &str) -> Result {
    tpg.port().set_attr(attr, parse_u32(text)?)
}

/// The directory `srpt/<port>/<tpg>/acls/<name>`, whose files concern the access control entry;
/// `tfc_tpg_nacl_base_attrs`.
pub(super) struct Acl<T>(PhantomData<T>);

impl<T: Target> Kind for Acl<T> {
    type Raw = bindings::config_item;
    type Object = Entry;

    unsafe fn with<R>(
        item: *mut bindings::config_item,
        f: impl FnOnce(&Entry) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: By the safety requirements, `item` is that of the `acl_group` of an entry, which
        // is the contract of `acl_to_nacl()`, and its directory exists.
        f(unsafe { Entry::from_raw(bindings::srpt_item_to_acl(item)) })
    }
}

impl<T: Target> Table for Acl<T> {
    type Kind = Self;
    const FILES: &'static [Attr<Entry>] = &[
        // The sessions that the entry has let in.
        Attr::ro(c"info", Unit::Text, info::<T>),
    ];
}

/// Maximum number of channels shown, which fit into a page.
const MOST_SHOWN: usize = 24;

/// Shows the sessions that an entry has let in, in the format that rtslib parses, which is that of
/// the iSCSI target (`lio_target_nacl_info_show()`): one session per entry, with a connection per
/// channel. `targetcli sessions` shows them.
fn info<T: Target>(entry: &Entry, page: &mut Page<'_>) -> Result {
    let name = entry.name().to_str().unwrap_or("?");
    let channels = entry.channels::<T>().map_err(|_| EINVAL)?;
    let Some(first) = channels.first() else {
        writeln!(page, "No active SRP session for initiator port {name}")?;
        return Ok(());
    };
    writeln!(page, "InitiatorName: {name}")?;
    writeln!(page, "InitiatorAlias: {}", first.initiator_port)?;
    writeln!(page, "LIO Session ID: {}   SessionType: SRP", first.serial)?;
    writeln!(page, "Session State: TARG_SESS_STATE_LOGGED_IN")?;
    for channel in channels.iter().take(MOST_SHOWN) {
        writeln!(
            page,
            "CID: {}  Connection State: TARG_CONN_STATE_LOGGED_IN",
            channel.serial
        )?;
        match channel.peer {
            PeerAddr::Gid(gid) => writeln!(page, "   Address {} IB", Ipv6Addr::from(gid))?,
            PeerAddr::Unknown => writeln!(page, "   Address unknown RDMA")?,
            peer => writeln!(page, "   Address {peer} RDMA")?,
        }
    }
    Ok(())
}

/// Shows the version of this module.
fn version(page: &mut Page<'_>) -> Result {
    // SAFETY: `modinfo.c` returns a string literal, which lives as long as the module.
    let version = unsafe { CStr::from_char_ptr(bindings::srpt_version()) };
    page.line(version.to_str().unwrap_or(""))
}
