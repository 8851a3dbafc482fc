// SPDX-License-Identifier: GPL-2.0

//! Target ports (`struct se_wwn`), target portal groups (`struct se_portal_group`, TPG) and access
//! control entries (`struct se_node_acl`): the directories `srpt/<port>`, `srpt/<port>/<tpg>` and
//! `acls/<name>`, and which portal groups are enabled.
//!
//! Target core creates, enables and drops them for configfs, through the callbacks in
//! [`super::fabric`]. Not here: the files in the directories ([`super::attrs`]), the search for an
//! entry at login ([`super::session`]).
//!
//! C source: `drivers/target/target_core_fabric_configfs.c`, `target_core_tpg.c`.

use kernel::{
    container_of,
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        lock::mutex::MutexGuard,
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

use crate::{
    bindings,
    engine::{
        epoch::Epoch,
        ConfiguredPort,
        EntryChannel,
        Port,
        Target,
        TargetKey, //
    },
    port::PortData,
    srp::{
        machine::access::Directory,
        wire::ident::{
            AclId,
            NameBuf, //
        }, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    }, //
};

/// Tag of every portal group, as in the C driver.
pub(super) const TPG_TAG: u16 = 1;

/// Name of a port directory: a GUID or a GID, at most 34 characters and a NUL.
type PortName = NameBuf<40>;

/// The portal groups of one HCA port, under both names that its port directories may have.
#[pin_data]
pub(crate) struct LioPortData {
    #[pin]
    tpgs: Mutex<KVec<Arc<Tpg>>>,
}

impl PortData for LioPortData {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            tpgs <- new_mutex!(KVec::new(), "LioPortData::tpgs"),
        })
    }
}

impl LioPortData {
    /// Locks the list of portal groups, so that none can be added, removed, enabled or disabled.
    /// May sleep.
    pub(super) fn lock(&self) -> MutexGuard<'_, KVec<Arc<Tpg>>> {
        self.tpgs.lock()
    }
}

/// A target port, `struct se_wwn`: a directory named after an HCA port.
///
/// Holds the port object, which outlives its HCA. Two directories may exist per port, one under
/// each of its names.
#[pin_data]
pub(super) struct Wwn {
    #[pin]
    wwn: Opaque<bindings::se_wwn>,
    port: ConfiguredPort,
    name: PortName,
}

impl Wwn {
    /// Creates the target port of the directory `name`, for `fabric_make_wwn()`.
    ///
    /// Target core owns the result until [`Self::drop_raw`]. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no HCA port has this name, `ENOMEM`. (Target core reports `EINVAL` for both.)
    pub(super) fn make<T: Target>(name: &CStr) -> Result<*mut bindings::se_wwn> {
        let name = name.to_str().map_err(|_| EINVAL)?;
        let port = T::find_port(name).ok_or(EINVAL)?;
        let name = PortName::from_display(name).map_err(|_| EINVAL)?;
        let wwn = KBox::pin_init(
            try_pin_init!(Self {
                wwn <- zeroed(),
                port,
                name,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: Target core does not move the object.
        let wwn = KBox::into_raw(unsafe { Pin::into_inner_unchecked(wwn) });
        // SAFETY: `wwn` is valid: it is the box that was just turned into a pointer.
        Ok(unsafe { (*wwn).wwn.get() })
    }

    /// Returns the target port that contains a `struct se_wwn`.
    ///
    /// # Safety
    ///
    /// `wwn` must come from [`Self::make`] and not be dropped for `'a`.
    pub(super) unsafe fn from_raw<'a>(wwn: *mut bindings::se_wwn) -> &'a Self {
        // SAFETY: By the safety requirements, `wwn` is the field of a `Wwn` that is alive and of
        // which only shared references exist.
        unsafe { &*container_of!(wwn.cast::<Opaque<bindings::se_wwn>>(), Self, wwn) }
    }

    /// Frees a target port, for `fabric_drop_wwn()`. Process context.
    ///
    /// # Safety
    ///
    /// `wwn` must come from [`Self::make`], and must not be used afterwards.
    pub(super) unsafe fn drop_raw(wwn: *mut bindings::se_wwn) {
        // SAFETY: By the safety requirements, this is the box that `make()` turned into a pointer.
        drop(unsafe {
            KBox::from_raw(container_of!(
                wwn.cast::<Opaque<bindings::se_wwn>>(),
                Self,
                wwn
            ))
        });
    }
}

/// A target portal group, `struct se_portal_group`.
///
/// # Lifetime
///
/// Target core owns one reference from [`Self::make`] to [`Self::drop_raw`]; the port's list and
/// the sessions have their own, which keep the memory only. The C object is registered while the
/// portal group is on its port's list:
///
/// - Logins use it with the list locked. [`Self::drop_raw`] takes it off the list before it
///   deregisters it, so no login uses it then, and none can begin to. Logins are bounded (they
///   allocate and compare names), hence so is the wait for the lock.
/// - A session keeps its access control entry, and configfs does not drop a portal group before
///   its access control entries are removed.
///
/// # Invariants
///
/// `epoch` changes only with the port's list locked.
#[pin_data]
pub(super) struct Tpg {
    #[pin]
    tpg: Opaque<bindings::se_portal_group>,
    port: Arc<Port>,
    /// Name of the port directory, not of this directory.
    wwn_name: PortName,
    epoch: Atomic<u32>,
}

// SAFETY: A `struct se_portal_group` belongs to no thread; target core's functions on it take its
// locks. All other fields are `Send`.
unsafe impl Send for Tpg {}
// SAFETY: Of the C object, only its address is used through a shared reference here, and what
// target core does with it is synchronised by its own locks. All other fields are `Sync`.
unsafe impl Sync for Tpg {}

impl Tpg {
    /// Creates a portal group, which is disabled, for `fabric_make_tpg()`. Wraps
    /// `core_tpg_register()`.
    ///
    /// Target core owns the result until [`Self::drop_raw`]. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of target core.
    pub(super) fn make(wwn: &Wwn) -> Result<*mut bindings::se_portal_group> {
        let tpg = Arc::pin_init(
            try_pin_init!(Self {
                tpg <- zeroed(),
                port: wwn.port.port().clone(),
                wwn_name: wwn.name,
                epoch: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let raw = tpg.as_raw();
        // CAST: 4; the parameter is an `int` because internal portal groups have negative values.
        let proto = bindings::scsi_protocol_SCSI_PROTOCOL_SRP as c_int;
        // SAFETY: `wwn` was made by `Wwn::make` and completed by target core, which sets `wwn_tf`
        // in `target_fabric_make_wwn()`; its directory exists. The portal group is all zeroes, as
        // `kzalloc()` would give it, and stays in place until `core_tpg_deregister()`.
        to_result(unsafe { bindings::core_tpg_register(wwn.wwn.get(), raw, proto) })?;
        if let Err(e) = tpg.port.engine().lock().push(tpg.clone(), GFP_KERNEL) {
            // SAFETY: Registered just above, and nothing else uses it yet.
            unsafe { bindings::core_tpg_deregister(raw) };
            return Err(e.into());
        }
        let _ = Arc::into_raw(tpg);
        Ok(raw)
    }

    /// Returns the portal group that contains a `struct se_portal_group`.
    ///
    /// # Safety
    ///
    /// `tpg` must come from [`Self::make`], or be its argument to `core_tpg_register()`, and not
    /// be dropped for `'a`.
    pub(super) unsafe fn from_raw<'a>(tpg: *mut bindings::se_portal_group) -> &'a Self {
        // SAFETY: By the safety requirements, `tpg` is the field of a `Tpg` that is alive and of
        // which only shared references exist.
        unsafe { &*container_of!(tpg.cast::<Opaque<bindings::se_portal_group>>(), Self, tpg) }
    }

    /// Removes a portal group, for `fabric_drop_tpg()`. Wraps `core_tpg_deregister()`.
    ///
    /// Process context; sleeps until no login uses it. Other portal groups of the port, and their
    /// sessions, are not affected.
    ///
    /// # Safety
    ///
    /// `tpg` must come from [`Self::make`], and must not be used afterwards.
    pub(super) unsafe fn drop_raw<T: Target>(tpg: *mut bindings::se_portal_group) {
        // SAFETY: By the safety requirements, this is the reference `make()` gave to target core.
        let this = unsafe {
            Arc::from_raw(container_of!(
                tpg.cast::<Opaque<bindings::se_portal_group>>(),
                Self,
                tpg
            ))
        };
        {
            let mut tpgs = this.port.engine().lock();
            tpgs.retain(|other| !Arc::ptr_eq(other, &this));
            this.publish(&tpgs);
        }
        T::port_changed(&this.port);
        // SAFETY: Registered in `make()`. No login uses it, see the type's documentation, and
        // configfs has dropped the access control entries before, which implies that there is no
        // session.
        unsafe { bindings::core_tpg_deregister(tpg) };
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::se_portal_group {
        self.tpg.get()
    }

    /// Identity of the portal group.
    pub(super) fn key(&self) -> TargetKey {
        TargetKey(self.as_raw().addr())
    }

    /// The HCA port.
    pub(super) fn port(&self) -> &Port {
        &self.port
    }

    /// Kind of name of the port directory.
    pub(super) fn directory(&self) -> Directory {
        Directory::of(self.wwn_name.as_str())
    }

    /// Calls `each` with the name of every access control entry. The port's list of portal groups
    /// must be locked and contain this one. Process context, sleeps.
    pub(super) fn each_acl(&self, mut each: impl FnMut(&CStr)) {
        let tpg = self.as_raw();
        // SAFETY: The portal group is registered, see the type's documentation. Its mutex keeps the
        // entries on the list, each of which has a name that ends within its buffer
        // (`target_alloc_node_acl()`).
        unsafe {
            bindings::srpt_acls_lock(tpg);
            let head = &raw const (*tpg).acl_node_list;
            let mut node: *const _ = (*head).next;
            while !core::ptr::eq(node, head) {
                let acl = container_of!(node, bindings::se_node_acl, acl_list);
                each(CStr::from_char_ptr(
                    (&raw const (*acl).initiatorname).cast(),
                ));
                node = (*node).next;
            }
            bindings::srpt_acls_unlock(tpg);
        }
    }

    /// Returns whether there is an access control entry; as [`Self::each_acl`].
    pub(super) fn has_acl(&self) -> bool {
        let mut found = false;
        self.each_acl(|_| found = true);
        found
    }

    /// Name of the port directory, NUL-terminated; valid as long as `self`.
    pub(super) fn wwn_name(&self) -> *const c_char {
        self.wwn_name.as_c_str().as_char_ptr()
    }

    /// Current epoch of the portal group.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Acquire))
    }

    /// Enables or disables the portal group, for `fabric_enable_tpg()`.
    ///
    /// The port lets initiators in while any of its portal groups is enabled. Disabling closes the
    /// sessions of this portal group and no others, without waiting for their end. The epoch is
    /// changed first, so every session that was let in before is either found by
    /// `close_target_sessions()` or `LioSession::is_valid` detects the new epoch. Process context,
    /// sleeps.
    pub(super) fn set_enabled<T: Target>(&self, on: bool) {
        {
            let tpgs = self.port.engine().lock();
            let epoch = self.epoch();
            if epoch.is_enabled() != on {
                // INVARIANT: The port's list is locked.
                self.epoch.store(epoch.next().0, Release);
            }
            self.publish(&tpgs);
        }
        T::port_changed(&self.port);
        if !on {
            T::close_target_sessions(&self.port, self.key());
        }
    }

    /// Records in the port whether any of its portal groups is enabled. `tpgs` is its locked list.
    fn publish(&self, tpgs: &[Arc<Self>]) {
        self.port
            .set_enabled(tpgs.iter().any(|tpg| tpg.epoch().is_enabled()));
    }
}

/// An access control entry, `struct se_node_acl`: the directory `acls/<name>`.
#[repr(transparent)]
pub(super) struct Entry(Opaque<bindings::se_node_acl>);

impl Entry {
    /// Converts a `struct se_node_acl`.
    ///
    /// # Safety
    ///
    /// `acl` must be an entry of a portal group of [`Tpg::make`], and for `'a` its directory must
    /// exist, or a session that it has let in.
    pub(super) unsafe fn from_raw<'a>(acl: *mut bindings::se_node_acl) -> &'a Self {
        // SAFETY: By the safety requirements; an `Opaque` may be changed by others.
        unsafe { &*acl.cast::<Self>() }
    }

    /// Name of the entry.
    pub(super) fn name(&self) -> &CStr {
        // SAFETY: The name ends within its buffer and does not change (`target_alloc_node_acl()`).
        unsafe { CStr::from_char_ptr((&raw const (*self.0.get()).initiatorname).cast()) }
    }

    /// Returns the live channels whose sessions the entry has let in, oldest first. Process
    /// context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn channels<T: Target>(&self) -> Result<KVec<EntryChannel>> {
        // SAFETY: The member was set when the entry was made, and is not changed. The portal group
        // is one of `Tpg::make()`. It exists: configfs does not drop it before the directory of the
        // entry is removed, and sessions have references of their own.
        let tpg = unsafe { Tpg::from_raw((*self.0.get()).se_tpg) };
        T::entry_channels(tpg.key(), self.name())
    }
}

/// Checks the name of a new access control entry, for `fabric_init_nodeacl()`.
///
/// # Errors
///
/// `EINVAL` if no initiator can have this name: it is not exactly a GUID, a port identifier or a
/// network address.
pub(super) fn check_acl_name(name: &CStr) -> Result {
    name.to_str()
        .ok()
        .and_then(|name| AclId::parse(name).ok())
        .map(|_| ())
        .ok_or(EINVAL)
}

/// Returns an initialiser for a zeroed C object, as target core requires.
fn zeroed<T>() -> impl PinInit<Opaque<T>> {
    Opaque::ffi_init(|slot: *mut T| {
        // SAFETY: `slot` is valid for a write of a `T`. An `Opaque` may hold any bytes.
        unsafe { slot.write_bytes(0, 1) }
    })
}
