// SPDX-License-Identifier: GPL-2.0

//! Sessions (`struct scst_session`): one per channel, named after the initiator. Which LUNs a
//! session sees is decided by SCST, by that name; the forms of names are in [`crate::srp::wire::ident`].
//!
//! C source: `scst/src/scst_targ.c`, `scst_lib.c`.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        Arc, //
    }, //
};

use super::target::{
    Epoch,
    Target, //
};
use crate::{
    bindings,
    engine::{
        OpenError,
        Port,
        Session,
        SessionKey,
        SessionRequest,
        TargetKey, //
    },
    queues,
    srp::wire::ident::{
        address_name,
        gid_name,
        AclName,
        PortId, //
    },
    sync::{
        gate::{
            Gate,
            HasGate,
            Inside,
            Pass, //
        },
        workqueue::Queue, //
    }, //
};

/// What callbacks and commands need of a session; the private pointer of the C object.
#[pin_data]
pub(super) struct Shared {
    initiator_port: PortId,
    /// The session is to be closed. Set perhaps before its channel is on the list.
    forced: Atomic<bool>,
    /// Inside are tasks that are submitting something; SCST must not be told to end the session then.
    #[pin]
    submitters: Gate,
    /// Inside is what was submitted and not given back. SCST may end a session before it gives the
    /// last command back.
    #[pin]
    commands: Gate,
    /// For commands that are given back in atomic context. Outlives the session, see
    /// [`crate::target::Lifetime`].
    queue: Arc<Queue>,
}

impl HasGate for Shared {
    fn gate(&self) -> &Gate {
        &self.commands
    }
}

impl Shared {
    /// The queue for what cannot be done in atomic context.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

/// Something that was submitted and is not given back: keeps the session from ending completely.
pub(super) type Submitted = Pass<Shared>;

/// A session with SCST: one RDMA channel of an I_T nexus.
///
/// Dropping a session that was not closed closes it, which sleeps; so a login that fails half way
/// needs no special care.
///
/// # Invariants
///
/// - `sess` was returned by `scst_register_session()` with `shared` as private pointer, and is valid
///   until `closed` is set.
/// - `closed` is set once, by the only caller of `scst_unregister_session()`.
pub(crate) struct ScstSession {
    sess: NonNull<bindings::scst_session>,
    shared: Arc<Shared>,
    target: Arc<Target>,
    /// When the target let the session in; see [`Target::epoch`].
    epoch: Epoch,
    name: AclName,
    closed: Atomic<bool>,
}

// SAFETY: A `struct scst_session` belongs to no thread; SCST's functions on it may be called from
// any process context. All other fields are `Send`.
unsafe impl Send for ScstSession {}
// SAFETY: Submitting is thread-safe in SCST; that nothing is submitted while the session is being ended
// follows from `Shared::submitters`. All other fields are `Sync`.
unsafe impl Sync for ScstSession {}

/// Proof that the session is not being ended meanwhile.
pub(super) struct Submission<'a> {
    session: &'a ScstSession,
    _inside: Inside<'a>,
}

impl Submission<'_> {
    /// The C session, valid as long as this exists.
    pub(super) fn as_raw(&self) -> *mut bindings::scst_session {
        self.session.sess.as_ptr()
    }

    /// What something that is submitted has to keep until it is given back.
    pub(super) fn submitted(&self) -> Option<Submitted> {
        Pass::enter(&self.session.shared)
    }
}

impl ScstSession {
    /// Opens a session on the target of the port. Wraps `scst_register_session()`.
    ///
    /// The port's target stays locked meanwhile, so that it is not unregistered; SCST demands that.
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
        let queue = queues::retry().ok_or(OpenError::NotAllowed(None))?;
        let slot = port.engine().lock();
        let target = slot.as_ref().ok_or(OpenError::NotAllowed(None))?.target();
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
                queue,
            }),
            GFP_KERNEL,
        )
        .map_err(|_| OpenError::NoMemory)?;
        // SAFETY: The target is registered: it is in the slot of its port, which is locked. The
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
        // INVARIANT: The session is fresh and nothing else ends it: `close_session()` of the template
        // only asks the owner of the session to do so.
        Ok(Self {
            sess: NonNull::new(sess).ok_or(OpenError::NoMemory)?,
            shared,
            target: target.clone(),
            epoch,
            name,
            closed: Atomic::new(false),
        })
    }

    /// Lets something be submitted, unless the session was stopped. Any context.
    pub(super) fn begin(&self) -> Option<Submission<'_>> {
        Some(Submission {
            session: self,
            _inside: self.shared.submitters.enter()?,
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

    /// Name of the session, by which SCST decides what it sees.
    fn name(&self) -> &CStr {
        self.name.as_c_str()
    }

    /// Two sessions of an initiator are of one nexus, whatever their names.
    fn entry(&self) -> &CStr {
        c""
    }

    /// Refuses further commands. Idempotent. Any context.
    fn stop(&self) {
        self.shared.submitters.close();
    }

    /// Returns whether no close was requested, and the target was not disabled meanwhile.
    /// Both are noted before channels are looked for, so this or the search finds out.
    fn is_valid(&self) -> bool {
        !self.shared.forced.load(Acquire) && self.target.epoch() == self.epoch
    }

    /// Stops the session, ends it, and waits until all its commands were given back. Wraps
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
        // Bounded: SCST has let go of every command but for the call that gives it back.
        self.shared.commands.close();
        self.shared.commands.wait_empty();
    }
}

impl Drop for ScstSession {
    fn drop(&mut self) {
        self.close();
    }
}

/// Notes that a session is to be closed; `close_session()` of the template.
///
/// # Safety
///
/// `sess` must come from [`ScstSession::open`], or be about to, and not be ended.
pub(super) unsafe fn forced(sess: *mut bindings::scst_session) {
    // SAFETY: By the safety requirements; see [`shared`].
    let shared = unsafe { shared(sess) };
    shared.forced.store(true, Release);
}

/// The initiator port of a session.
///
/// # Safety
///
/// As for [`forced`].
pub(super) unsafe fn initiator_port(sess: *mut bindings::scst_session) -> PortId {
    // SAFETY: By the safety requirements; see [`shared`].
    unsafe { shared(sess) }.initiator_port
}

/// The private pointer of a session.
///
/// # Safety
///
/// As for [`forced`], for `'a`.
unsafe fn shared<'a>(sess: *mut bindings::scst_session) -> &'a Shared {
    // SAFETY: The private pointer is set before the session is initialised, never changes, and what
    // it names is kept until the session was ended; see `ScstSession::open()`.
    unsafe { &*bindings::srpt_scst_sess_priv(sess).cast::<Shared>() }
}
