// SPDX-License-Identifier: GPL-2.0

//! Targets (`struct scst_tgt`), one per HCA port: the directories
//! `/sys/kernel/scst_tgt/targets/ib_srpt/<GID>`, and which of them let initiators in.
//!
//! Not here: the callbacks behind SCST's own files in these directories ([`super::template`]), the
//! other files ([`super::attrs`]).
//!
//! C source: `scst/src/scst_main.c`, `scst_sysfs.c`.

use core::ptr::NonNull;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        lock::mutex::MutexGuard,
        Arc,
        Mutex, //
    }, //
};

use super::{
    params,
    registry::{
        self,
        Template, //
    },
    shared::Sessions, //
};
use crate::{
    bindings,
    engine::{
        self,
        epoch::Epoch,
        Port,
        TargetKey, //
    },
    port::{
        PortAttr,
        PortData, //
    },
    rdma::device::{
        Device,
        DeviceName,
        LinkLayer, //
    },
    srp::wire::ident::gid_name,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        gate::Pass, //
    }, //
};

/// The target of one HCA port.
#[pin_data]
pub(crate) struct ScstPortData {
    /// Also serialises registering and unregistering the target.
    #[pin]
    registered: Mutex<Option<Registered>>,
}

/// A registered target.
pub(super) struct Registered {
    target: Arc<Target>,
    _pass: Pass<Template>,
}

impl Registered {
    /// Returns the target.
    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }
}

impl PortData for ScstPortData {
    const CONTROLLER_NAME: &'static str = "SCST SRP target";

    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registered <- new_mutex!(None, "ScstPortData::registered"),
        })
    }

    fn attr(attr: PortAttr) -> Option<u32> {
        Some(params::attr(attr))
    }
}

impl ScstPortData {
    /// Locks the registration, so that the target can neither be registered nor unregistered. May
    /// sleep.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Registered>> {
        self.registered.lock()
    }
}

/// Registers a target for a port, which is disabled, unless the port has one or the template is not
/// registered. The target keeps the name, which is the current GID of the port. Wraps
/// `scst_register_target()`. Process context, sleeps.
pub(super) fn add(port: &Arc<Port>, device: &Device, number: u32) {
    let mut registered = port.engine().lock();
    if registered.is_some() {
        return;
    }
    let Some(pass) = registry::enter(port) else {
        return;
    };
    match Target::register(port, &pass, device, number) {
        Ok(target) => {
            *registered = Some(Registered {
                target,
                _pass: pass,
            });
        }
        Err(e) => {
            registry::leave(port);
            pr_err!("{} port {}: no target: {:?}\n", device.name(), number, e);
        }
    }
}

/// Unregisters the target of a port, if it has one: closes its sessions and waits until they have
/// ended. Wraps `scst_unregister_target()`. Process context, sleeps.
pub(super) fn remove(port: &Port) {
    let registered = port.engine().lock().take();
    registry::leave(port);
    if let Some(registered) = registered {
        // SAFETY: Registered in `Target::register()`; it was taken out of the only place from which
        // it is unregistered. No session is registered any more, because that is done with the
        // registration locked. The target that its private pointer names is kept until this has
        // returned.
        unsafe { bindings::scst_unregister_target(registered.target.tgt.as_ptr()) };
    }
}

/// A target.
///
/// # Invariants
///
/// - `tgt` is registered until [`remove`], and its private pointer is this object from the end of
///   [`Target::register`] on. `remove` keeps a reference until SCST does not use it any more.
/// - `epoch` changes only with `retired` locked.
#[pin_data]
pub(super) struct Target {
    tgt: NonNull<bindings::scst_tgt>,
    port: Arc<Port>,
    /// The device of the port. Dropped with the target, before the device goes.
    device: Device,
    number: u32,
    epoch: Atomic<u32>,
    /// The sessions that channels may join.
    #[pin]
    sessions: Sessions,
    /// Whether the target is being unregistered.
    #[pin]
    retired: Mutex<bool>,
}

// SAFETY: A `struct scst_tgt` belongs to no thread; SCST's functions on it take its locks. All
// other fields are `Send`.
unsafe impl Send for Target {}
// SAFETY: As above. All other fields are `Sync`.
unsafe impl Sync for Target {}

impl Target {
    /// Registers a target; see [`add`].
    fn register(
        port: &Arc<Port>,
        template: &Template,
        device: &Device,
        number: u32,
    ) -> Result<Arc<Self>> {
        let name = gid_name(port.gid_name());
        // SAFETY: The template is registered and stays so: the caller is inside its gate. The name
        // is NUL-terminated and copied.
        let tgt = unsafe {
            bindings::scst_register_target(template.as_raw(), name.as_c_str().as_char_ptr())
        };
        let tgt = NonNull::new(tgt).ok_or(EINVAL)?;
        let target = Arc::pin_init(
            try_pin_init!(Self {
                tgt,
                port: port.clone(),
                device: device.clone(),
                number,
                epoch: Atomic::new(0),
                sessions <- Sessions::new(),
                retired <- new_mutex!(false, "Target::retired"),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| {
            // SAFETY: Registered just above; there are no sessions, and no private pointer.
            unsafe { bindings::scst_unregister_target(tgt.as_ptr()) };
        })?;
        // INVARIANT: From here on the private pointer is this object.
        // SAFETY: Registered just above. Until now callbacks have found no private pointer.
        unsafe {
            bindings::srpt_scst_set_tgt_priv(
                tgt.as_ptr(),
                Arc::as_ptr(&target).cast_mut().cast::<c_void>(),
            );
        }
        Ok(target)
    }

    /// Returns the target of a `struct scst_tgt`; `None` if that is still being registered.
    ///
    /// # Safety
    ///
    /// `tgt` must come from [`Self::register`] or be about to, and [`remove`] must not return for
    /// `'a`.
    pub(super) unsafe fn from_raw<'a>(tgt: *mut bindings::scst_tgt) -> Option<&'a Self> {
        // SAFETY: By the safety requirements and the type invariants.
        unsafe { bindings::srpt_scst_tgt_priv(tgt).cast::<Self>().as_ref() }
    }

    /// Returns the C object, to be used while the registration of the port is locked.
    pub(super) fn as_raw(&self) -> *mut bindings::scst_tgt {
        self.tgt.as_ptr()
    }

    /// Identity of the target.
    pub(super) fn key(&self) -> TargetKey {
        TargetKey(core::ptr::from_ref(self).addr())
    }

    /// The sessions that channels may join.
    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The HCA port.
    pub(super) fn port(&self) -> &Port {
        &self.port
    }

    /// Current name of the RDMA device.
    pub(super) fn device_name(&self) -> DeviceName {
        self.device.name()
    }

    /// Link layer of the port.
    pub(super) fn link_layer(&self) -> LinkLayer {
        self.device.link_layer(self.number)
    }

    /// Current epoch of the target.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Acquire))
    }

    /// Returns whether the target is enabled, so that it lets initiators in.
    pub(super) fn is_enabled(&self) -> bool {
        self.epoch().is_enabled()
    }

    /// Enables or disables the target. Disabling closes its sessions without waiting for their end.
    /// The epoch is changed first, so every session that was let in before is either found by
    /// `close_target_sessions()` or `ScstSession::is_valid` detects the new epoch. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the target is being unregistered.
    pub(super) fn set_enabled<T: engine::Target>(&self, on: bool) -> Result {
        {
            let retired = self.retired.lock();
            if *retired {
                return Err(ENODEV);
            }
            self.change(on);
        }
        T::port_changed(&self.port);
        if !on {
            T::close_target_sessions(&self.port, self.key());
        }
        Ok(())
    }

    /// Disables the target for good and closes its sessions, for `release()`. Does not wait for
    /// their end. May sleep.
    pub(super) fn retire<T: engine::Target>(&self) {
        {
            let mut retired = self.retired.lock();
            *retired = true;
            self.change(false);
        }
        T::port_changed(&self.port);
        T::close_target_sessions(&self.port, self.key());
    }

    /// Changes the epoch unless it already means `on`; `retired` must be locked.
    fn change(&self, on: bool) {
        let epoch = self.epoch();
        if epoch.is_enabled() != on {
            // INVARIANT: `retired` is locked. Wrapping around keeps the meaning of the lowest bit.
            self.epoch.store(epoch.next().0, Release);
        }
        self.port.set_enabled(on);
    }
}
