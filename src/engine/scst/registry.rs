// SPDX-License-Identifier: GPL-2.0

//! What is registered with SCST: the template, and the ports that have a target. The only statics of
//! this engine are here.
//!
//! What the template says is in [`super::template`], targets are in [`super::target`].

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

/// What exists as long as the template is registered.
///
/// # Invariants
///
/// `raw` stays where it is. It is registered while [`REGISTERED`] names it, and from then on until
/// nothing is inside the gate; see [`super::template::Registration`].
#[pin_data]
pub(super) struct Template {
    #[pin]
    raw: Opaque<bindings::scst_tgt_template>,
    /// Inside are targets that are registered.
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
    /// A template with this table, not registered yet.
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

    /// The C object.
    pub(super) fn as_raw(&self) -> *mut bindings::scst_tgt_template {
        self.raw.get()
    }
}

/// What is registered with SCST.
struct Registered {
    template: Option<Arc<Template>>,
    /// Ports that have a target, or are about to.
    ports: KVec<Arc<Port>>,
}

global_mutex! {
    static REGISTERED: Registered = Registered {
        template: None,
        ports: KVec::new(),
    };
    init = init;
}

/// Lets a target of the port be registered; `None` if the template is not registered, or there is
/// no memory. May sleep.
pub(super) fn enter(port: &Arc<Port>) -> Option<Pass<Template>> {
    let mut registered = REGISTERED.lock();
    let pass = Pass::enter(registered.template.as_ref()?)?;
    registered.ports.push(port.clone(), GFP_KERNEL).ok()?;
    Some(pass)
}

/// Notes that a port has no target any more. May sleep.
pub(super) fn leave(port: &Port) {
    let mut registered = REGISTERED.lock();
    registered
        .ports
        .retain(|known| !core::ptr::eq(&**known, port));
}

/// Lets targets be registered from here on. May sleep.
///
/// # Safety
///
/// The template must be registered, and stay so until [`close`] was called and its gate has been
/// empty.
pub(super) unsafe fn open(template: &Arc<Template>) {
    // INVARIANT: It is registered, as the caller promises.
    REGISTERED.lock().template = Some(template.clone());
}

/// Lets no more targets be registered. May sleep.
pub(super) fn close() {
    let old = REGISTERED.lock().template.take();
    if let Some(template) = old {
        template.gate.close();
    }
}

/// Takes a port off the list, whose target the caller then removes. May sleep.
pub(super) fn next() -> Option<Arc<Port>> {
    REGISTERED.lock().ports.pop()
}

/// Frees the list of ports: statics are not dropped with the module. May sleep.
pub(super) fn clear() {
    let list = core::mem::take(&mut REGISTERED.lock().ports);
    drop(list);
}
