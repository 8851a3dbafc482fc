// SPDX-License-Identifier: GPL-2.0

//! Sessions (`struct scst_session`): one per channel, named after the initiator.
//!
//! Not here: access control, which SCST decides by the name of the session; the forms of names
//! ([`crate::srp::wire::ident`]).
//!
//! C source: `scst/src/scst_targ.c`, `scst_lib.c`.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::target::Target;
use crate::{
    bindings,
    engine::{
        epoch::Epoch,
        OpenError,
        Port,
        Session,
        SessionKey,
        SessionRequest,
        TargetKey, //
    },
    queues,
    srp::{
        machine::order::{
            Admission,
            Order, //
        },
        wire::{
            cdb,
            cmd::TaskAttr,
            ident::{
                address_name,
                gid_name,
                AclName,
                PortId, //
            }, //
        }, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        gate::{
            Gate,
            HasGate,
            Inside,
            Pass, //
        },
        workqueue::Queue, //
    }, //
};

/// Gate of callers that submit.
const SUBMITTERS: u64 = 1;

/// State of a session that callbacks and commands use: the private pointer of the C object.
#[pin_data]
pub(super) struct Shared {
    initiator_port: PortId,
    /// Whether the session is to be closed. May be set before its channel is on the list.
    forced: Atomic<bool>,
    /// The users inside are submitting a command or function; the session must not be unregistered
    /// meanwhile.
    #[pin]
    submitters: Gate,
    /// The users inside are submitted commands and functions that were not returned. SCST may end a
    /// session before it returns the last command.
    #[pin]
    commands: Gate,
    /// The ORDERED commands that SCST has of the session; the number of [`Order::to_bits`].
    order: Atomic<u64>,
    /// For commands that SCST returns in atomic context. Outlives the session, see
    /// [`crate::target::Lifetime`].
    queue: Arc<Queue>,
}

impl HasGate for Shared {
    fn gate(&self) -> &Gate {
        &self.commands
    }
}

impl HasGate<SUBMITTERS> for Shared {
    fn gate(&self) -> &Gate {
        &self.submitters
    }
}

/// Pass of a submitted command or function that was not returned: the close of the session waits
/// for it. Drops also count off an ORDERED command.
pub(super) struct Submitted {
    pass: Pass<Shared>,
    /// Whether it is counted in [`Shared::order`].
    ordered: bool,
}

impl Submitted {
    /// Work queue for commands that SCST returns in atomic context.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.pass.queue
    }

    /// Decides on the attribute of the command; see [`Order::admit`]. Returns [`None`] if it is to
    /// be answered with BUSY. To be called at most once.
    ///
    /// Commands of a session are submitted by at most two tasks at a time: what processes requests
    /// in the order of arrival, and the completion queue with a command whose descriptor table has
    /// arrived. So SCST may get one SIMPLE command behind an ORDERED one, which was admitted just
    /// before that. Harm needs two of them.
    #[inline]
    pub(super) fn admit(&mut self, attr: TaskAttr, cdb: &[u8]) -> Option<TaskAttr> {
        let bits = self.pass.order.load(Acquire);
        if attr == TaskAttr::Simple && bits == Order::NONE.to_bits() {
            return Some(attr);
        }
        self.admit_in_order(attr, cdb::is_executed_first(cdb), bits)
    }

    /// Counts this as an ORDERED command, which it may be no more than once.
    #[cold]
    pub(super) fn count_ordered(&mut self) {
        let bits = self.pass.order.load(Acquire);
        // An ORDERED command is always admitted.
        let _ = self.admit_in_order(TaskAttr::Ordered, false, bits);
    }

    /// Implements [`Self::admit`]; `bits` is the state that was found.
    #[cold]
    fn admit_in_order(&mut self, attr: TaskAttr, first: bool, mut bits: u64) -> Option<TaskAttr> {
        loop {
            let now = Order::from_bits(bits);
            let (next, admission) = now.admit(attr, first);
            let Admission::As(attr) = admission else {
                return None;
            };
            if next == now {
                return Some(attr);
            }
            match self.pass.order.cmpxchg(bits, next.to_bits(), Full) {
                Ok(_) => {
                    self.ordered = true;
                    return Some(attr);
                }
                Err(changed) => bits = changed,
            }
        }
    }

    /// Counts off the command if it is ORDERED: SCST has returned it, or did not take it.
    /// Idempotent.
    #[inline]
    pub(super) fn ended(&mut self) {
        if core::mem::take(&mut self.ordered) {
            self.count_off();
        }
    }

    #[cold]
    fn count_off(&self) {
        let order = &self.pass.order;
        let mut bits = order.load(Acquire);
        while let Err(changed) = order.cmpxchg(bits, Order::from_bits(bits).ended().to_bits(), Full)
        {
            bits = changed;
        }
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        self.ended();
    }
}

/// A session with SCST: one RDMA channel of an I_T nexus.
///
/// Dropping a session that was not closed closes it, which sleeps; so a login that fails afterwards
/// need not close it.
///
/// # Invariants
///
/// - `sess` was returned by `scst_register_session()` with `shared` as private pointer, and is
///   valid until `closed` is set.
/// - `closed` is set once, by the only caller of `scst_unregister_session()`.
pub(crate) struct ScstSession {
    sess: NonNull<bindings::scst_session>,
    shared: Arc<Shared>,
    target: Arc<Target>,
    /// Epoch of the target in which it let the session in; see [`Target::epoch`].
    epoch: Epoch,
    name: AclName,
    closed: Atomic<bool>,
}

// SAFETY: A `struct scst_session` belongs to no thread; SCST's functions on it may be called from
// any process context. All other fields are `Send`.
unsafe impl Send for ScstSession {}
// SAFETY: Submitting is thread-safe in SCST; that nothing is submitted while the session is being
// ended follows from `Shared::submitters`. All other fields are `Sync`.
unsafe impl Sync for ScstSession {}

/// Guard: the session is not being ended meanwhile.
pub(super) struct Submission<'a> {
    session: &'a ScstSession,
    _inside: Inside<'a, Shared, SUBMITTERS>,
}

impl Submission<'_> {
    /// Returns the C session, which is valid as long as this exists.
    pub(super) fn as_raw(&self) -> *mut bindings::scst_session {
        self.session.sess.as_ptr()
    }

    /// Returns the pass that a submitted command or function keeps until it is returned.
    pub(super) fn submitted(&self) -> Option<Submitted> {
        Some(Submitted {
            pass: Pass::enter(&self.session.shared)?,
            ordered: false,
        })
    }
}

impl ScstSession {
    /// Opens a session on the target of the port. Wraps `scst_register_session()`.
    ///
    /// The port's target stays locked meanwhile, so that it is not unregistered, as SCST requires.
    /// Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `NotAllowed` if there is no target or it is not enabled, `NoMemory`.
    pub(super) fn open(port: &Port, request: &SessionRequest) -> Result<Self, OpenError> {
        let name = match (request.port_gid, request.peer) {
            (Some(gid), _) => gid_name(gid),
            (None, Some(addr)) => address_name(addr),
            (None, None) => gid_name(request.initiator_port),
        };
        let queues = queues::get().map_err(|_| OpenError::NoMemory)?;
        let registered = port.engine().lock();
        let target = registered
            .as_ref()
            .ok_or(OpenError::NotAllowed(None))?
            .target();
        let epoch = target.epoch();
        if !epoch.is_enabled() {
            return Err(OpenError::NotAllowed(None));
        }
        let shared = Arc::pin_init(
            pin_init!(Shared {
                initiator_port: request.initiator_port,
                forced: Atomic::new(false),
                submitters <- Gate::new(),
                commands <- Gate::new(),
                order: Atomic::new(Order::NONE.to_bits()),
                queue: queues.retry.clone(),
            }),
            GFP_KERNEL,
        )
        .map_err(|_| OpenError::NoMemory)?;
        // SAFETY: The target is registered: its port has it registered, which is locked. The
        // name is NUL-terminated and copied. The private pointer is valid until the session was
        // ended: it is kept together with the result. This may sleep.
        let sess = unsafe {
            bindings::scst_register_session(
                target.as_raw(),
                bindings::SCST_NON_ATOMIC as c_int,
                name.as_c_str().as_char_ptr(),
                Arc::as_ptr(&shared).cast_mut().cast::<c_void>(),
                core::ptr::null_mut(),
                None,
            )
        };
        // INVARIANT: The session is new and nothing else ends it: `close_session()` of the template
        // only requests that the owner of the session does so.
        Ok(Self {
            sess: NonNull::new(sess).ok_or(OpenError::NoMemory)?,
            shared,
            target: target.clone(),
            epoch,
            name,
            closed: Atomic::new(false),
        })
    }

    /// Returns the guard for a submission, unless the session was stopped. Any context.
    pub(super) fn begin(&self) -> Option<Submission<'_>> {
        Some(Submission {
            session: self,
            _inside: Inside::enter(&*self.shared)?,
        })
    }
}

impl Session for ScstSession {
    /// Identity of the session: the address of the C session.
    fn key(&self) -> SessionKey {
        SessionKey(self.sess.as_ptr().addr())
    }

    /// Identity of the target.
    fn target(&self) -> TargetKey {
        self.target.key()
    }

    /// Name of the session, by which SCST decides which LUNs it can access.
    fn name(&self) -> &CStr {
        self.name.as_c_str()
    }

    /// Empty: the names of sessions do not distinguish nexuses.
    fn entry(&self) -> &CStr {
        c""
    }

    /// Stops the session: further commands and functions are refused. Idempotent. Any context.
    fn stop(&self) {
        self.shared.submitters.close();
    }

    /// Returns whether no close was requested and the target was not disabled since it let the
    /// session in. Both are recorded before the search for channels, so either this or the search
    /// detects them.
    fn is_valid(&self) -> bool {
        !self.shared.forced.load(Acquire) && self.target.epoch() == self.epoch
    }

    /// Stops the session, ends it, and waits until all its commands were returned. Wraps
    /// `scst_unregister_session()`. Only the first call has an effect. Process context, sleeps.
    fn close(&self) {
        if self.closed.xchg(true, Full) {
            return;
        }
        self.stop();
        // Bounded: submitting does not wait for commands.
        self.shared.submitters.wait_empty();
        // SAFETY: By the type invariants the session was valid until `closed` was set, which this
        // thread just did. Nothing is being submitted, or will be. This waits until SCST has freed
        // the session; the private pointer is valid until then.
        unsafe { bindings::scst_unregister_session(self.sess.as_ptr(), 1, None) };
        // Bounded: SCST does not use any command any more, except for the call that returns it.
        self.shared.commands.close();
        self.shared.commands.wait_empty();
    }
}

impl Drop for ScstSession {
    fn drop(&mut self) {
        self.close();
    }
}

/// Records that a session is to be closed, for `close_session()` of the template.
///
/// # Safety
///
/// `sess` must come from [`ScstSession::open`], or be about to, and not be ended.
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
    // target is kept until the session was ended; see `ScstSession::open()`.
    unsafe { &*bindings::srpt_scst_sess_priv(sess).cast::<Shared>() }
}
