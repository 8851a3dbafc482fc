// SPDX-License-Identifier: GPL-2.0

//! The files in the configfs directories: a small typed layer over `struct configfs_attribute`,
//! and the attributes themselves.
//!
//! An attribute is a type that implements [`Show`] and, if it can be written, [`Store`]; the mode
//! of the file follows from that. Names, modes, limits and the format of the values are those of
//! the C driver. Only attributes that target core hangs into its own directories can be described
//! here; the `kernel::configfs` module is for subsystems of one's own.
//!
//! C header: [`include/linux/configfs.h`](srctree/include/linux/configfs.h)

use core::{
    cell::UnsafeCell,
    fmt::Write as _,
    net::Ipv6Addr, //
};

use kernel::{
    fmt,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

use super::tpg::{
    Entry,
    Tpg, //
};
use crate::{
    attr::page::{
        parse_number,
        to_ssize,
        Page, //
    },
    bindings,
    compat::this_module,
    params,
    port::PortAttr,
    rdma::cm::PeerAddr, //
};

/// Mode of a file that cannot be written; `CONFIGFS_ATTR_RO`.
const MODE_RO: bindings::umode_t = 0o444;
/// Mode of a file that can be written; `CONFIGFS_ATTR`.
const MODE_RW: bindings::umode_t = 0o644;

/// What the attributes of a directory are about.
trait Object {
    /// The object a configfs item stands for.
    ///
    /// # Safety
    ///
    /// `item` must be what configfs passes to the attributes of the directory in whose list in
    /// `struct target_core_fabric_ops` the attribute is, and its directory must exist for `'a`.
    unsafe fn from_item<'a>(item: *mut bindings::config_item) -> &'a Self;
}

/// The target as a whole: the directories `srpt` and `srpt/discovery_auth`.
struct Whole;

impl Object for Whole {
    unsafe fn from_item<'a>(_: *mut bindings::config_item) -> &'a Self {
        &Self
    }
}

/// The directory `srpt/<port>/<tpg>/attrib`.
impl Object for Tpg {
    unsafe fn from_item<'a>(item: *mut bindings::config_item) -> &'a Self {
        // SAFETY: By the safety requirements, `item` is that of the `tpg_attrib_group` of a portal
        // group, which is the contract of `attrib_to_tpg()`. It came from `Tpg::make`, and is not
        // dropped before its directory is gone.
        unsafe { Self::from_raw(bindings::srpt_attrib_to_tpg(item)) }
    }
}

/// The directory `srpt/<port>/<tpg>/acls/<name>`.
impl Object for Entry {
    unsafe fn from_item<'a>(item: *mut bindings::config_item) -> &'a Self {
        // SAFETY: By the safety requirements, `item` is that of the `acl_group` of an entry, which
        // is the contract of `acl_to_nacl()`, and its directory exists.
        unsafe { Self::from_raw(bindings::srpt_item_to_acl(item)) }
    }
}

/// An attribute that can be read.
trait Show {
    /// Name of the file.
    const NAME: &'static CStr;
    /// What the attribute belongs to.
    type Object: Object;

    /// Writes the content of the file, including the newline. Process context, may sleep.
    fn show(object: &Self::Object, page: &mut Page<'_>) -> fmt::Result;
}

/// An attribute that can also be written.
trait Store: Show {
    /// Takes over a value, given as written to the file up to a NUL. Process context, may sleep.
    fn store(object: &Self::Object, text: &str) -> Result;
}

/// `show()` of a `struct configfs_attribute`.
///
/// # Safety
///
/// As for [`Object::from_item`]; `page` must be a page nobody else uses.
unsafe extern "C" fn show_callback<A: Show>(
    item: *mut bindings::config_item,
    page: *mut c_char,
) -> isize {
    // SAFETY: `fill_read_buffer()` passes an item whose directory exists: it holds the semaphore
    // that configfs' removal takes.
    let object = unsafe { A::Object::from_item(item) };
    // SAFETY: `fill_read_buffer()` passes a zeroed page, and holds the mutex of the open file.
    let mut page = unsafe { Page::from_raw(page) };
    to_ssize(match A::show(object, &mut page) {
        Ok(()) => Ok(page.len()),
        Err(fmt::Error) => Err(EINVAL),
    })
}

/// `store()` of a `struct configfs_attribute`.
///
/// # Safety
///
/// As for [`Object::from_item`]; `page` must be NUL-terminated and not change meanwhile.
unsafe extern "C" fn store_callback<A: Store>(
    item: *mut bindings::config_item,
    page: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: As in `show_callback()`, but for `flush_write_buffer()`.
    let object = unsafe { A::Object::from_item(item) };
    // SAFETY: `fill_write_buffer()` puts a NUL behind the bytes it copied; the mutex of the open
    // file is held.
    let text = unsafe { CStr::from_char_ptr(page) };
    to_ssize(
        text.to_str()
            .map_err(|_| EINVAL)
            .and_then(|text| A::store(object, text))
            .map(|()| count),
    )
}

/// A `struct configfs_attribute`. Configfs wants a mutable pointer but does not write to it.
#[repr(transparent)]
struct Attribute(UnsafeCell<bindings::configfs_attribute>);

// SAFETY: Nobody writes to it: configfs reads the members only.
unsafe impl Sync for Attribute {}

impl Attribute {
    /// Describes an attribute that can be read only.
    const fn ro<A: Show>() -> Self {
        Self::new::<A>(MODE_RO, None)
    }

    /// Describes an attribute that can be written.
    const fn rw<A: Store>() -> Self {
        Self::new::<A>(MODE_RW, Some(store_callback::<A>))
    }

    const fn new<A: Show>(
        mode: bindings::umode_t,
        store: Option<
            unsafe extern "C" fn(*mut bindings::config_item, *const c_char, usize) -> isize,
        >,
    ) -> Self {
        Self(UnsafeCell::new(bindings::configfs_attribute {
            ca_name: as_char_ptr_in_const_context(A::NAME),
            ca_owner: this_module().cast(),
            ca_mode: mode,
            show: Some(show_callback::<A>),
            store,
        }))
    }
}

/// A NULL-terminated list of attributes, as the `tfc_*_attrs` members want it.
#[repr(transparent)]
pub(super) struct List<const N: usize>(UnsafeCell<[*mut bindings::configfs_attribute; N]>);

// SAFETY: Nobody writes to it: target core and configfs only iterate over it.
unsafe impl<const N: usize> Sync for List<N> {}

impl<const N: usize> List<N> {
    /// The list as target core wants it.
    pub(super) const fn as_raw(&'static self) -> *mut *mut bindings::configfs_attribute {
        self.0.get().cast()
    }
}

/// Declares a static [`List`] of attributes.
macro_rules! attribute_list {
    ($(#[$meta:meta])* $name:ident: $($mode:ident $attr:ty),* $(,)?) => {
        $(#[$meta])*
        pub(super) static $name: List<{ [$(stringify!($attr)),*].len() + 1 }> = List(
            UnsafeCell::new([
                $({
                    static ATTRIBUTE: Attribute = Attribute::$mode::<$attr>();
                    ATTRIBUTE.0.get()
                },)*
                core::ptr::null_mut(),
            ]),
        );
    };
}

attribute_list! {
    /// Files of `srpt/discovery_auth`; `tfc_discovery_attrs`.
    DISCOVERY: rw RdmaCmPort
}

attribute_list! {
    /// Files of `srpt`; `tfc_wwn_attrs`.
    WWN: ro Version
}

attribute_list! {
    /// Files of `srpt/<port>/<tpg>/attrib`; `tfc_tpg_attrib_attrs`.
    TPG_ATTRIB: rw MaxRdmaSize, rw MaxRspSize, rw SqSize, rw UseSrq
}

attribute_list! {
    /// Files of `srpt/<port>/<tpg>/acls/<name>`; `tfc_tpg_nacl_base_attrs`.
    ENTRY: ro Info
}

/// `info`: the sessions that the entry has let in, in the form in which rtslib reads it, which is
/// that of the iSCSI target (`lio_target_nacl_info_show()`): one session per entry, with a
/// connection per channel. `targetcli sessions` shows them.
struct Info;

impl Info {
    /// Channels that fit into a page.
    const MOST: usize = 24;
}

impl Show for Info {
    const NAME: &'static CStr = c"info";
    type Object = Entry;

    fn show(entry: &Entry, page: &mut Page<'_>) -> fmt::Result {
        let name = entry.name().to_str().unwrap_or("?");
        let channels = entry.channels().map_err(|_| fmt::Error)?;
        let Some(first) = channels.first() else {
            return writeln!(page, "No active SRP session for initiator port {name}");
        };
        writeln!(page, "InitiatorName: {name}")?;
        writeln!(page, "InitiatorAlias: {}", first.initiator_port)?;
        writeln!(page, "LIO Session ID: {}   SessionType: SRP", first.serial)?;
        writeln!(page, "Session State: TARG_SESS_STATE_LOGGED_IN")?;
        for channel in channels.iter().take(Self::MOST) {
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
}

/// `rdma_cm_port`: TCP port number of the RDMA/CM listener, 0 for none.
struct RdmaCmPort;

impl Show for RdmaCmPort {
    const NAME: &'static CStr = c"rdma_cm_port";
    type Object = Whole;

    fn show(_: &Whole, page: &mut Page<'_>) -> fmt::Result {
        writeln!(page, "{}", params::rdma_cm_port())
    }
}

impl Store for RdmaCmPort {
    fn store(_: &Whole, text: &str) -> Result {
        let port = parse_number(text)?;
        params::set_rdma_cm_port(u16::try_from(port).map_err(|_| ERANGE)?)
    }
}

/// `version`: version of this module. (The C driver shows an empty line.)
struct Version;

impl Show for Version {
    const NAME: &'static CStr = c"version";
    type Object = Whole;

    fn show(_: &Whole, page: &mut Page<'_>) -> fmt::Result {
        // SAFETY: The shim only reads a member of `THIS_MODULE`.
        let version = unsafe { bindings::srpt_version() };
        if version.is_null() {
            return writeln!(page);
        }
        // SAFETY: Not null, hence the string `setup_modinfo()` has copied, which lives
        // as long as the module.
        let version = unsafe { CStr::from_char_ptr(version) };
        writeln!(page, "{}", version.to_str().unwrap_or(""))
    }
}

/// Declares the attributes that are kept in the port object, shared by all its portal groups.
macro_rules! port_attributes {
    ($($(#[$meta:meta])* $name:ident = $file:literal;)*) => {$(
        $(#[$meta])*
        struct $name;

        impl Show for $name {
            const NAME: &'static CStr = $file;
            type Object = Tpg;

            fn show(tpg: &Tpg, page: &mut Page<'_>) -> fmt::Result {
                writeln!(page, "{}", tpg.port().attr(PortAttr::$name))
            }
        }

        impl Store for $name {
            fn store(tpg: &Tpg, text: &str) -> Result {
                // Whatever is wrong with the number, the C driver calls it `EINVAL`.
                let value = parse_number(text).map_err(|_| EINVAL)?;
                let value = u32::try_from(value).map_err(|_| EINVAL)?;
                tpg.port().set_attr(PortAttr::$name, value)
            }
        }
    )*};
}

port_attributes! {
    /// `srp_max_rdma_size`: number of bytes one command may move.
    MaxRdmaSize = c"srp_max_rdma_size";
    /// `srp_max_rsp_size`: size of a response buffer in bytes.
    MaxRspSize = c"srp_max_rsp_size";
    /// `srp_sq_size`: number of send queue entries.
    SqSize = c"srp_sq_size";
    /// `use_srq`: 1 if channels share one receive queue per HCA, 0 if each has its own.
    UseSrq = c"use_srq";
}
