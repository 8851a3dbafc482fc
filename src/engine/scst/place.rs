// SPDX-License-Identifier: GPL-2.0

//! The place of a channel in a session (`struct scst_session`): the first channel opens the
//! session, the last one that leaves ends it.
//!
//! Not here: what the channels of a session share, and the list of sessions ([`super::shared`]).
//!
//! C source: `scst/src/scst_targ.c`, `scst_lib.c`.

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    params,
    shared::{
        Raw,
        Shared, //
    },
    target::{
        Registered,
        Target, //
    }, //
};
use crate::{
    bindings,
    engine::{
        OpenError,
        SessionKey, //
    },
    srp::{
        machine::members::Member,
        wire::ident::{
            AclName,
            PortId, //
        }, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        Full, //
    }, //
};

/// The place of a channel in a session. Dropping it leaves the session, which sleeps.
///
/// # Invariants
///
/// `raw` was returned by `scst_register_session()` with `shared` as private pointer. The channel is
/// counted in it until `left` is set, so it is valid until then.
pub(super) struct Place {
    raw: Raw,
    shared: Arc<Shared>,
    member: Member,
    target: Arc<Target>,
    left: Atomic<bool>,
}

impl Place {
    /// Joins the session of an initiator with a target, or opens one. Wraps
    /// `scst_register_session()`. Process context, sleeps.
    ///
    /// The registration of the target is locked meanwhile, so that it is not unregistered, as SCST
    /// requires, and of two channels that find no session one opens it.
    ///
    /// # Errors
    ///
    /// `NotAllowed` if the target is not enabled, `NoMemory`.
    pub(super) fn take(
        registered: &Registered,
        initiator_port: PortId,
        name: AclName,
    ) -> Result<Self, OpenError> {
        let target = registered.target();
        let epoch = target.epoch();
        if !epoch.is_enabled() {
            return Err(OpenError::NotAllowed(None));
        }
        let new = Shared::new(initiator_port, name, epoch).map_err(|_| OpenError::NoMemory)?;
        let shares = !params::session_per_channel();
        if let Some((raw, shared, member)) = shares.then(|| target.sessions().join(&new)).flatten()
        {
            // INVARIANT: It is on the list, and the channel was counted just now.
            return Ok(Self {
                raw,
                shared,
                member,
                target: target.clone(),
                left: Atomic::new(false),
            });
        }
        // SAFETY: The target is registered: its port has it registered, which is locked. The name
        // is NUL-terminated and copied. The private pointer is valid until the session was ended:
        // the place of the channel that ends it keeps it. This may sleep.
        let sess = unsafe {
            bindings::scst_register_session(
                target.as_raw(),
                bindings::SCST_NON_ATOMIC as c_int,
                new.name.as_c_str().as_char_ptr(),
                Arc::as_ptr(&new).cast_mut().cast::<c_void>(),
                ptr::null_mut(),
                None,
            )
        };
        // INVARIANT: The session is new, and only the last place that is left ends it:
        // `close_session()` of the template only requests that its channels are closed.
        let place = Self {
            raw: Raw(NonNull::new(sess).ok_or(OpenError::NoMemory)?),
            shared: new,
            member: Member::ONLY,
            target: target.clone(),
            left: Atomic::new(false),
        };
        if shares {
            target
                .sessions()
                .add(place.raw, &place.shared)
                .map_err(|_| OpenError::NoMemory)?;
        }
        Ok(place)
    }

    /// Returns the C session, which is valid until the place is left.
    pub(super) fn as_raw(&self) -> *mut bindings::scst_session {
        self.raw.0.as_ptr()
    }

    /// Identity of the session: the address of the C session. None once the place was left, because
    /// another session may have that address then.
    pub(super) fn key(&self) -> SessionKey {
        SessionKey(if self.left.load(Acquire) {
            0
        } else {
            self.raw.0.as_ptr().addr()
        })
    }

    /// What the channels of the session share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Which of the session's channels it is.
    pub(super) fn member(&self) -> Member {
        self.member
    }

    /// The target of the session.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Makes SCST end the task of this channel with this tag without executing it, if it can. Does
    /// not wait for it. Not to be called once the place was left. Process context, may sleep.
    pub(super) fn abort(&self, tag: u64) {
        let tag = self.member.engine_tag(tag);
        // SAFETY: By the type invariants the session is valid: the place was not left. There is no
        // command to be answered, which `cmd::tmf_done()` knows.
        //
        // If it fails, the device executes the task, and its end is waited for all the same.
        let _ = unsafe { bindings::srpt_scst_abort_task(self.as_raw(), tag, ptr::null_mut()) };
    }

    /// Leaves the session, whose last channel ends it and waits for that. SCST must have returned
    /// all commands of the channel. Wraps `scst_unregister_session()`. Only the first call has an
    /// effect. Process context, sleeps.
    pub(super) fn leave(&self) {
        if self.left.load(Acquire) {
            return;
        }
        // SAFETY: By the type invariants the session is valid. SCST's search for late transfers may
        // have found a command before it was returned, and does not hold it; what is searched after
        // this finds none.
        unsafe { bindings::srpt_scst_flush_timeouts(self.as_raw()) };
        if self.left.xchg(true, Full) || !self.target.sessions().leave(&self.shared) {
            return;
        }
        // SAFETY: By the type invariants the session was valid until now, and no channel is counted
        // in it any more, so nothing is being submitted, or will be. This waits until SCST has
        // freed the session; the private pointer is valid until then.
        unsafe { bindings::scst_unregister_session(self.as_raw(), 1, None) };
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}
