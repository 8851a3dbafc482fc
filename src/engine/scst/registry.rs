// SPDX-License-Identifier: GPL-2.0

//! The template registered with SCST, and the ports that have a target. This file has the only
//! statics of this engine.
//!
//! Not here: the contents of the template ([`super::template`]), targets ([`super::target`]).

use kernel::{
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

use crate::{
    bindings,
    engine::Port,
    sync::{
        gate::{
            Gate,
            HasGate,
            Pass, //
        },
        global::global_mutex, //
    }, //
};

/// The template, and the gate of its targets.
///
/// # Invariants
///
/// `raw` stays where it is. It is registered while [`REGISTERED`] names it, and from then on until
/// nothing is inside the gate; see [`super::template::Registration`].
#[pin_data]
pub(super) struct Template {
    #[pin]
    raw: Opaque<bindings::scst_tgt_template>,
    /// The users inside are registered targets.
    #[pin]
    gate: Gate,
}

// SAFETY: The C object belongs to no thread; SCST changes it with its own locks.
unsafe impl Send for Template {}
// SAFETY: Of the C object, only its address is used here once it is registered.
unsafe impl Sync for Template {}

impl HasGate for Template {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Template {
    /// Allocates a template with this table; does not register it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(table: bindings::scst_tgt_template) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                raw <- Opaque::ffi_init(|slot: *mut bindings::scst_tgt_template| {
                    // SAFETY: `slot` is valid for a write.
                    unsafe { slot.write(table) }
                }),
                gate <- Gate::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::scst_tgt_template {
        self.raw.get()
    }
}

/// Registrations with SCST.
struct Registered {
    template: Option<Arc<Template>>,
    /// Ports that have a target or are about to.
    ports: KVec<Arc<Port>>,
}

global_mutex! {
    static REGISTERED: Registered = Registered {
        template: None,
        ports: KVec::new(),
    };
    init = init;
}

/// Adds a port to the list and returns the pass with which its target may be registered; `None` if
/// the template is not registered or there is no memory. May sleep.
pub(super) fn enter(port: &Arc<Port>) -> Option<Pass<Template>> {
    let mut registered = REGISTERED.lock();
    let pass = Pass::enter(registered.template.as_ref()?)?;
    registered.ports.push(port.clone(), GFP_KERNEL).ok()?;
    Some(pass)
}

/// Removes a port, which has no target any more, from the list. May sleep.
pub(super) fn leave(port: &Port) {
    let mut registered = REGISTERED.lock();
    registered
        .ports
        .retain(|known| !core::ptr::eq(&**known, port));
}

/// Allows targets to be registered from now on. May sleep.
///
/// # Safety
///
/// The template must be registered, and stay so until [`close`] was called and its gate has been
/// empty.
pub(super) unsafe fn open(template: &Arc<Template>) {
    // INVARIANT: It is registered, as the caller promises.
    REGISTERED.lock().template = Some(template.clone());
}

/// Allows no more targets to be registered. May sleep.
pub(super) fn close() {
    let old = REGISTERED.lock().template.take();
    if let Some(template) = old {
        template.gate.close();
    }
}

/// Takes a port off the list. The caller then removes its target. May sleep.
pub(super) fn next() -> Option<Arc<Port>> {
    REGISTERED.lock().ports.pop()
}

/// Frees the list of ports: statics are not dropped with the module. May sleep.
pub(super) fn clear() {
    let list = core::mem::take(&mut REGISTERED.lock().ports);
    drop(list);
}
