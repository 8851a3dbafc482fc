// SPDX-License-Identifier: GPL-2.0

//! Sessions (`struct scst_session`), named after the initiator: one per I_T nexus, which its
//! channels share, because SCST ties reservations to a session.
//!
//! Which channel ends one is decided in [`crate::srp::machine::members`]. Not here: how a session
//! is opened and ended ([`super::place`]), and what a channel submits ([`super::session`]).
//!
//! C source: `scst/src/scst_targ.c`, `scst_lib.c`, `scst_pres.c`.

use core::{
    array,
    ptr::NonNull, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    bindings,
    engine::epoch::Epoch,
    srp::{
        machine::{
            members::{
                Member,
                Members, //
            },
            order::Order, //
        },
        wire::ident::{
            AclName,
            PortId, //
        }, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Release, //
    }, //
};

/// Number of counts of ORDERED commands of a session.
const ORDERS: usize = 32;

/// State of a session that callbacks and commands use: the private pointer of the C object.
pub(super) struct Shared {
    initiator_port: PortId,
    /// Name of the session, by which SCST decides which LUNs it can access.
    pub(super) name: AclName,
    /// Epoch of the target in which it let the session in.
    pub(super) epoch: Epoch,
    /// Whether the session is to be closed. May be set before a channel is on the list.
    forced: Atomic<bool>,
    /// Whether there has been more than one channel at a time.
    pub(super) several: Atomic<bool>,
    /// See [`Self::order`].
    orders: [Atomic<u64>; ORDERS],
}

impl Shared {
    /// Returns the state of a new session.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(initiator_port: PortId, name: AclName, epoch: Epoch) -> Result<Arc<Self>> {
        let new = Self {
            initiator_port,
            name,
            epoch,
            forced: Atomic::new(false),
            several: Atomic::new(false),
            orders: array::from_fn(|_| Atomic::new(Order::NONE.to_bits())),
        };
        Ok(Arc::new(new, GFP_KERNEL)?)
    }

    /// Returns the ORDERED commands that SCST has of the session for a logical unit, as the number
    /// of [`Order::to_bits`]. Logical units with the same remainder share it, which orders more
    /// than it has to: one that hangs holds up its own commands, and theirs.
    #[inline]
    pub(super) fn order(&self, lun: u64) -> &Atomic<u64> {
        let [first, ..] = &self.orders;
        // CAST: A small number.
        self.orders
            .get((lun % ORDERS as u64) as usize)
            .unwrap_or(first)
    }

    /// Returns whether the session was not requested to be closed.
    pub(super) fn is_wanted(&self) -> bool {
        !self.forced.load(Acquire)
    }
}

/// A session of SCST's.
#[derive(Clone, Copy)]
pub(super) struct Raw(pub(super) NonNull<bindings::scst_session>);

// SAFETY: A `struct scst_session` belongs to no thread; SCST's functions on it may be called from
// any process context.
unsafe impl Send for Raw {}
// SAFETY: As above.
unsafe impl Sync for Raw {}

/// A session that channels may join.
struct Open {
    raw: Raw,
    shared: Arc<Shared>,
    members: Members,
}

/// The sessions of a target that channels may join.
#[pin_data]
pub(super) struct Sessions {
    /// Locked while the list is searched, never around calls into SCST.
    #[pin]
    open: Mutex<KVec<Open>>,
}

impl Sessions {
    /// Returns an initialiser for an empty list.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            open <- new_mutex!(KVec::new(), "Sessions::open"),
        })
    }

    /// Joins the session that `like` would be another one of, if there is one. May sleep.
    pub(super) fn join(&self, like: &Shared) -> Option<(Raw, Arc<Shared>, Member)> {
        let mut open = self.open.lock();
        let known = open.iter_mut().find(|known| {
            let shared = &known.shared;
            shared.initiator_port == like.initiator_port
                && shared.name.as_c_str() == like.name.as_c_str()
                && shared.epoch == like.epoch
                && shared.is_wanted()
        })?;
        let member = known.members.join()?;
        // Before this channel looks at the ORDERED commands of the others.
        known.shared.several.xchg(true, Full);
        Some((known.raw, known.shared.clone(), member))
    }

    /// Lets other channels join a session that a channel has opened. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn add(&self, raw: Raw, shared: &Arc<Shared>) -> Result {
        let open = Open {
            raw,
            shared: shared.clone(),
            members: Members::FIRST,
        };
        Ok(self.open.lock().push(open, GFP_KERNEL)?)
    }

    /// A channel leaves. Returns whether it was the last: the caller ends the session. May sleep.
    pub(super) fn leave(&self, shared: &Arc<Shared>) -> bool {
        let mut open = self.open.lock();
        let found = open
            .iter()
            .position(|known| Arc::ptr_eq(&known.shared, shared));
        // A session that is not on the list has one channel.
        let last = match found.and_then(|index| open.get_mut(index)) {
            Some(known) => known.members.leave(),
            None => true,
        };
        if last {
            open.retain(|known| !Arc::ptr_eq(&known.shared, shared));
        }
        last
    }
}

/// Records that a session is to be closed, for `close_session()` of the template.
///
/// # Safety
///
/// `sess` must come from `Place::take()`, or be about to, and not be ended.
pub(super) unsafe fn forced(sess: *mut bindings::scst_session) {
    // SAFETY: By the safety requirements; see [`shared`].
    let shared = unsafe { shared(sess) };
    shared.forced.store(true, Release);
}

/// Returns the initiator port identifier of a session.
///
/// # Safety
///
/// As for [`forced`].
pub(super) unsafe fn initiator_port(sess: *mut bindings::scst_session) -> PortId {
    // SAFETY: By the safety requirements; see [`shared`].
    unsafe { shared(sess) }.initiator_port
}

/// Dereferences the private pointer of a session.
///
/// # Safety
///
/// As for [`forced`], for `'a`.
unsafe fn shared<'a>(sess: *mut bindings::scst_session) -> &'a Shared {
    // SAFETY: The private pointer is set before the session is initialised, never changes, and its
    // target is kept until the session was ended; see `Place::take()` in [`super::place`].
    unsafe { &*bindings::srpt_scst_sess_priv(sess).cast::<Shared>() }
}
