// SPDX-License-Identifier: GPL-2.0

//! Sessions (`struct se_session`) and the search for the access control entry that lets an
//! initiator in.
//!
//! Not here: the names of an initiator and their precedence ([`crate::srp::machine::access`]),
//! access control entries themselves ([`super::tpg`]).
//!
//! C source: `drivers/target/target_core_transport.c`, `target_core_tpg.c`.

use core::ptr::NonNull;

use kernel::{
    container_of,
    error::from_err_ptr,
    prelude::*,
    sync::{
        atomic::atomic_load,
        rcu,
        Arc, //
    }, //
};

use super::tpg::Tpg;
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
    srp::{
        machine::access::{
            Hint,
            Nearly, //
        },
        wire::ident::{
            AclId,
            AclName, //
        }, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        Full, //
    }, //
};

/// A session with target core: one RDMA channel of an I_T nexus.
///
/// Dropping a session that was not closed closes it, which sleeps; so a login that fails afterwards
/// need not close it.
///
/// # Invariants
///
/// - `sess` was returned by `target_setup_session()` for `tpg`, and is valid until `closed` is set.
/// - `closed` is set once, by the only caller of `target_remove_session()`.
pub(crate) struct LioSession {
    sess: NonNull<bindings::se_session>,
    tpg: Arc<Tpg>,
    /// Epoch of the portal group in which it let the session in; see [`Tpg::epoch`].
    epoch: Epoch,
    /// Name of the access control entry. A copy, because the entry may be removed before the
    /// session.
    name: AclName,
    closed: Atomic<bool>,
}

// SAFETY: A `struct se_session` belongs to no thread; target core's session functions may be called
// from any process context. All other fields are `Send`.
unsafe impl Send for LioSession {}
// SAFETY: The functions called on a shared session synchronise among each other:
// `target_stop_session()` by `atomic_cmpxchg()`, `target_get_sess_cmd()` by a `percpu_ref`. That
// the session is not removed meanwhile follows from `closed` and the contract of `Session::close`,
// see `LioSession::live`.
unsafe impl Sync for LioSession {}

impl LioSession {
    /// Opens a session for the first access control entry that matches, in the order of
    /// [`search`](crate::srp::machine::access::Initiator::search). Wraps `target_setup_session()`.
    ///
    /// The port's list of portal groups stays locked meanwhile, so that none of them can be
    /// removed; see [`Tpg`]. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `NotAllowed` if no portal group is enabled or none of them has an entry that matches,
    /// `NoMemory`, or `Other` with another error of target core.
    pub(super) fn open(port: &Port, request: &SessionRequest) -> Result<Self, OpenError> {
        let tpgs = port.engine().lock();
        let found = request.initiator().search(
            tpgs.iter(),
            |tpg| tpg.directory(),
            |tpg, name| {
                let epoch = tpg.epoch();
                if !epoch.is_enabled() {
                    return None;
                }
                match Self::setup(tpg, epoch, name) {
                    // Dropping closes the session.
                    Ok(session) => session.is_valid().then_some(Ok(session)),
                    Err(EACCES) => None,
                    Err(ENOMEM) => Some(Err(OpenError::NoMemory)),
                    Err(e) => Some(Err(OpenError::Other(e))),
                }
            },
        );
        found.unwrap_or_else(|| Err(OpenError::NotAllowed(hint(&tpgs, request))))
    }

    /// Opens a session for the entry `name` of `tpg`. The port's list of portal groups must be
    /// locked and contain `tpg`.
    ///
    /// # Errors
    ///
    /// `EACCES` if there is no such entry, `ENOMEM`.
    fn setup(tpg: &Arc<Tpg>, epoch: Epoch, name: AclName) -> Result<Self> {
        // SAFETY:
        // - The portal group is registered: it is on its port's list, from which it is removed,
        //   under the lock the caller holds, before `core_tpg_deregister()`.
        // - The name is NUL-terminated and only compared (`core_tpg_check_initiator_node_acl()`;
        //   the demo mode that would keep it does not exist here).
        // - No tags are requested, and there is no callback that would use the private pointer.
        let sess = from_err_ptr(unsafe {
            bindings::target_setup_session(
                tpg.as_raw(),
                0,
                0,
                bindings::target_prot_op_TARGET_PROT_NORMAL,
                name.as_c_str().as_char_ptr(),
                core::ptr::null_mut(),
                None,
            )
        })?;
        // INVARIANT: The session is new and nothing else removes it: `close_session()` of the
        // fabric operations only requests that the owner of the session does so.
        Ok(Self {
            sess: NonNull::new(sess).ok_or(EINVAL)?,
            tpg: tpg.clone(),
            epoch,
            name,
            closed: Atomic::new(false),
        })
    }

    /// Returns the C session, unless it was closed.
    ///
    /// The pointer is valid as long as no [`Self::close`] runs. Users are the other functions of
    /// this type and command submission. By the contract of `Session::close`, which is called when
    /// nothing else uses the session any more, these do not overlap with it.
    pub(super) fn live(&self) -> Option<*mut bindings::se_session> {
        (!self.closed.load(Acquire)).then_some(self.sess.as_ptr())
    }
}

impl Session for LioSession {
    /// Identity of the session: the address of the C session, which `close_session()` is passed.
    fn key(&self) -> SessionKey {
        SessionKey(self.sess.as_ptr().addr())
    }

    /// Identity of the portal group.
    fn target(&self) -> TargetKey {
        self.tpg.key()
    }

    /// Name of the access control entry that let the session in.
    fn name(&self) -> &CStr {
        self.name.as_c_str()
    }

    /// Returns a fingerprint of the logical units of the entry that let the session in, because
    /// target core does not report changes. The caller prevents the session from being closed. Does
    /// not sleep.
    fn luns(&self) -> u64 {
        let Some(sess) = self.live() else {
            return 0;
        };
        let _reading = rcu::read_lock();
        // SAFETY: The session is valid, see `live()`. Its reference keeps the access control entry.
        // Links are stored whole (`hlist_add_head_rcu()`, `hlist_del_rcu()`).
        let mut next = unsafe {
            let first = &raw mut (*(*sess).se_node_acl).lun_entry_hlist.first;
            atomic_load(first, Acquire)
        };
        let mut sum = 0u64;
        while !next.is_null() {
            // SAFETY: The list contains entries of logical units only, linked by this member. Each
            // is freed a grace period after it was taken off the list
            // (`core_disable_device_list_for_node()`); number and next entry are kept until then.
            let lun = unsafe {
                let entry = container_of!(next, bindings::se_dev_entry, link);
                next = atomic_load(&raw mut (*next).next, Acquire);
                ((*entry).mapped_lun, entry.addr())
            };
            sum = sum.wrapping_add(mixed(lun));
        }
        sum
    }

    /// Stops the session (`target_stop_session()`): from then on `target_init_cmd()` and
    /// `target_submit_tmr()` return `-ESHUTDOWN`. Idempotent. Process context; does not wait for
    /// commands.
    fn stop(&self) {
        if let Some(sess) = self.live() {
            // SAFETY: The session is valid, see `live()`.
            unsafe { bindings::target_stop_session(sess) };
        }
    }

    /// Returns whether the access control entry is not being removed and the portal group was not
    /// disabled since it let the session in. May be called concurrently with both.
    ///
    /// `core_tpg_del_initiator_node_acl()` first takes the entry off the list, then requests that
    /// its sessions are closed, then waits for their end. Hence either this function or
    /// `close_session()` of the fabric operations detects the removal, provided that the session
    /// can be found by its key before this function is called. The same holds for the portal group,
    /// see [`Tpg::set_enabled`].
    fn is_valid(&self) -> bool {
        let Some(sess) = self.live() else {
            return false;
        };
        // SAFETY: The session is valid, see `live()`. Its reference keeps the access control entry
        // (`target_put_nacl()` in `transport_free_session()`), whose list head is read with
        // `READ_ONCE()`.
        let acl_gone = unsafe { bindings::srpt_session_acl_gone(sess) };
        !acl_gone && self.tpg.epoch() == self.epoch
    }

    /// Stops the session, waits until all its commands were freed and ends it. Wraps
    /// `target_stop_session()`, `target_wait_for_sess_cmds()` and `target_remove_session()`. Only
    /// the first call has an effect. Process context, sleeps without limit.
    fn close(&self, _tasks: impl Iterator<Item = u64>) {
        if self.closed.xchg(true, Full) {
            return;
        }
        let sess = self.sess.as_ptr();
        // SAFETY: By the type invariants the session was valid until `closed` was set, which this
        // thread just did. No command is left after the wait, hence target core does not refer to
        // the session any more when it is removed. The final put may still be waking us in an RCU
        // read-side critical section (`percpu_ref_put_many()`); the grace period waits for its end,
        // because the wait queue is freed with the session.
        unsafe {
            bindings::target_stop_session(sess);
            bindings::target_wait_for_sess_cmds(sess);
            kernel::bindings::synchronize_rcu();
            bindings::target_remove_session(sess);
        }
    }
}

/// Returns a hash of the number and the address of the entry of a logical unit.
fn mixed((number, entry): (u64, usize)) -> u64 {
    /// Odd, with about half of the bits set.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    // CAST: A usize fits in a u64.
    (number.wrapping_mul(FACTOR) ^ entry as u64).wrapping_mul(FACTOR)
}

/// Searches for the entry that was probably meant for an initiator that no entry lets in. `tpgs` is
/// the port's locked list. Process context, sleeps.
fn hint(tpgs: &[Arc<Tpg>], request: &SessionRequest) -> Option<Hint> {
    let initiator = request.initiator();
    let mut found = None;
    for tpg in tpgs {
        let enabled = tpg.epoch().is_enabled();
        tpg.each_acl(|name| {
            let Some((name, id)) = name
                .to_str()
                .ok()
                .and_then(|name| Some((name, AclId::parse(name).ok()?)))
            else {
                return;
            };
            let why = if !enabled && initiator.all_names().any(|own| own.as_str() == name) {
                Some(Nearly::Disabled)
            } else {
                initiator.nearly(id, request.local)
            };
            // The first of the best matches.
            if let (Some(why), Ok(entry)) = (why, AclName::from_display(name)) {
                if found.is_none_or(|hint: Hint| why > hint.why) {
                    found = Some(Hint { entry, why });
                }
            }
        });
    }
    found
}

impl Drop for LioSession {
    fn drop(&mut self) {
        self.close(core::iter::empty());
    }
}
