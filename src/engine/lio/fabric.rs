// SPDX-License-Identifier: GPL-2.0

//! Target core's table of callbacks (`struct target_core_fabric_ops`) and its registration.
//!
//! The callbacks only convert pointers and results. Not here: their implementation
//! ([`super::tpg`], [`super::cmd`]). The table has bit fields, for which bindgen offers no constant
//! constructors, so it is filled at run time.
//!
//! C header: [`include/target/target_core_fabric.h`](srctree/include/target/target_core_fabric.h)

use kernel::{
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

use super::{
    attrs,
    cmd::{
        self,
        LioCmd, //
    },
    tpg::{
        self,
        Tpg,
        Wwn, //
    }, //
};
use crate::{
    attr::abi::configfs_list,
    bindings,
    compat::this_module,
    engine::{
        HasEngineCmd,
        SessionKey,
        Target, //
    },
    srp::wire::consts::limit, //
};

/// Name of the fabric, and of its directory in `/sys/kernel/config/target`.
const FABRIC_NAME: &CStr = c"srpt";

/// Registration of the target driver with target core; dropping it unregisters the driver.
///
/// # Invariants
///
/// `ops` is registered with `target_register_template()`.
pub(crate) struct Registration {
    ops: KBox<bindings::target_core_fabric_ops>,
}

// SAFETY: After registration the table is only read, and its pointers are to static data.
unsafe impl Send for Registration {}
// SAFETY: As above.
unsafe impl Sync for Registration {}

impl Registration {
    /// Registers the fabric `srpt` (`target_register_template()`). From then on configfs
    /// directories can be created, and every callback can be called. Process context, sleeps.
    ///
    /// Should be the last step of the module's init that can fail: if a later one fails, and a
    /// directory was created meanwhile, target core's `BUG_ON()` in `target_unregister_template()`
    /// triggers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new<T: Target>() -> Result<Self> {
        let ops = KBox::new(fabric_ops::<T>(), GFP_KERNEL)?;
        // SAFETY: The table is complete, see `target_fabric_tf_ops_check()`; its callbacks fulfil
        // the contracts of the members, and its strings and lists are static. Target core copies
        // the table. There is no second module with this fabric name: `ib_srpt` is the name of the
        // only other module that has it, and is also ours.
        to_result(unsafe { bindings::target_register_template(&*ops) })?;
        // INVARIANT: It was registered just above.
        Ok(Self { ops })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant. No directory of the fabric exists, which target
        // core requires: each holds a reference on the module (`ct_owner`), so the module is not
        // unloaded while there is one; and init drops this only if it fails later on, see
        // `Registration::new()`.
        unsafe { bindings::target_unregister_template(&*self.ops) };
    }
}

/// Maximum number of pages of a command. Target core reports it to initiators (MAXIMUM TRANSFER
/// LENGTH in the Block Limits VPD page), which might otherwise send commands that are too large for
/// the target.
// CAST: A page is smaller than that.
const MAX_PAGES: u32 = limit::MAX_MAX_RDMA_SIZE / PAGE_SIZE as u32;

/// Returns the table of callbacks.
fn fabric_ops<T: Target>() -> bindings::target_core_fabric_ops {
    // SAFETY: It becomes `tfc_discovery_attrs`, which target core gives to configfs for
    // `srpt/discovery_auth` only.
    let discovery = unsafe { configfs_list::<attrs::Discovery>() };
    // SAFETY: `tfc_wwn_attrs` is for `srpt` only.
    let wwn = unsafe { configfs_list::<attrs::Wwn>() };
    // SAFETY: `tfc_tpg_attrib_attrs` is for `srpt/<port>/<tpg>/attrib` only.
    let tpg_attrib = unsafe { configfs_list::<attrs::TpgAttrib>() };
    // SAFETY: `tfc_tpg_nacl_base_attrs` is for `srpt/<port>/<tpg>/acls/<name>` only.
    let acl = unsafe { configfs_list::<attrs::Acl<T>>() };
    let mut ops = bindings::target_core_fabric_ops {
        module: this_module().cast(),
        fabric_name: as_char_ptr_in_const_context(FABRIC_NAME),
        max_data_sg_nents: MAX_PAGES,
        node_acl_size: core::mem::size_of::<bindings::se_node_acl>(),
        tpg_get_wwn: Some(tpg_get_wwn_callback),
        tpg_get_tag: Some(tpg_get_tag_callback),
        // There is no demo mode (`tpg_check_demo_mode` is not set), so these two are never called.
        // They are those of the C driver.
        tpg_check_demo_mode_cache: Some(true_callback),
        tpg_check_demo_mode_write_protect: Some(true_callback),
        check_stop_free: Some(check_stop_free_callback),
        release_cmd: Some(release_cmd_callback::<T>),
        close_session: Some(close_session_callback::<T>),
        write_pending: Some(write_pending_callback::<T>),
        queue_data_in: Some(queue_data_in_callback::<T>),
        queue_status: Some(queue_status_callback::<T>),
        queue_tm_rsp: Some(queue_tm_rsp_callback::<T>),
        aborted_task: Some(aborted_task_callback::<T>),
        get_cmd_state: Some(get_cmd_state_callback::<T>),
        fabric_make_wwn: Some(fabric_make_wwn_callback::<T>),
        fabric_drop_wwn: Some(fabric_drop_wwn_callback),
        fabric_make_tpg: Some(fabric_make_tpg_callback),
        fabric_enable_tpg: Some(fabric_enable_tpg_callback::<T>),
        fabric_drop_tpg: Some(fabric_drop_tpg_callback::<T>),
        fabric_init_nodeacl: Some(fabric_init_nodeacl_callback),
        tfc_discovery_attrs: discovery,
        tfc_wwn_attrs: wwn,
        tfc_tpg_attrib_attrs: tpg_attrib,
        tfc_tpg_nacl_base_attrs: acl,
        // CAST: 1 and 2.
        default_submit_type: bindings::target_submit_type_TARGET_DIRECT_SUBMIT as u8,
        default_compl_type: bindings::target_compl_type_TARGET_DIRECT_COMPL as u8,
        ..pin_init::zeroed()
    };
    ops.set_direct_submit_supp(1);
    ops.set_direct_compl_supp(1);
    ops
}

/// `tpg_get_wwn()`: the name of the port directory. Any context.
///
/// # Safety
///
/// Called by target core with a portal group of this fabric.
unsafe extern "C" fn tpg_get_wwn_callback(tpg: *mut bindings::se_portal_group) -> *mut c_char {
    // SAFETY: By the safety requirements. The name lives as long as the portal group; target core
    // does not write to it.
    unsafe { Tpg::from_raw(tpg) }.wwn_name().cast_mut()
}

/// `tpg_get_tag()`. Any context.
///
/// # Safety
///
/// None; the type of the member demands `unsafe`.
unsafe extern "C" fn tpg_get_tag_callback(_: *mut bindings::se_portal_group) -> u16 {
    tpg::TPG_TAG
}

/// Returns 1, for predicates of portal groups. Any context.
///
/// # Safety
///
/// None; the type of the members demands `unsafe`.
unsafe extern "C" fn true_callback(_: *mut bindings::se_portal_group) -> c_int {
    1
}

/// `check_stop_free()`: puts target core's own reference. Any context. Returns 1 if this freed
/// the command.
///
/// # Safety
///
/// Called by target core with a command submitted to it, whose own reference it gives up.
unsafe extern "C" fn check_stop_free_callback(se: *mut bindings::se_cmd) -> c_int {
    // SAFETY: With `TARGET_SCF_ACK_KREF`, the reference target core holds for itself is put here
    // (see `target_get_sess_cmd()`).
    unsafe { bindings::target_put_sess_cmd(se) }
}

/// `release_cmd()`: the last reference was put. Any context.
///
/// # Safety
///
/// Called by target core, once, with a command submitted to it, which it does not use afterwards.
unsafe extern "C" fn release_cmd_callback<T: Target>(se: *mut bindings::se_cmd) {
    // SAFETY: By the safety requirements.
    LioCmd::released(unsafe { cmd::reclaim::<T::Cmd>(se) });
}

/// `close_session()`: the access control entry of a session is being removed. Process context.
///
/// # Safety
///
/// None. The session may be freed already: `target_shutdown_sessions()` calls this without a
/// reference, after it has dropped the lock that kept the session. So only the address is used.
unsafe extern "C" fn close_session_callback<T: Target>(sess: *mut bindings::se_session) {
    T::close_session(SessionKey(sess.addr()));
}

/// `write_pending()`: fetches the data of a write. Process context. Always returns 0, because
/// target core never completes a command that is aborted while it waits for a retry.
///
/// # Safety
///
/// Called by target core with a command submitted to it.
unsafe extern "C" fn write_pending_callback<T: Target>(se: *mut bindings::se_cmd) -> c_int {
    // SAFETY: By the safety requirements; target core's reference is held until data was fetched.
    LioCmd::fetch(unsafe { cmd::borrow::<T::Cmd>(se) }.into());
    0
}

/// `queue_data_in()`: sends data and response. Any context. Returns 0, or in process context an
/// error, after which target core calls `queue_status()`; never `-EAGAIN`.
///
/// # Safety
///
/// Called by target core with a command submitted to it.
unsafe extern "C" fn queue_data_in_callback<T: Target>(se: *mut bindings::se_cmd) -> c_int {
    // SAFETY: By the safety requirements; target core holds its reference until this returns.
    LioCmd::answer_with_data(unsafe { cmd::borrow::<T::Cmd>(se) })
}

/// `queue_status()`: sends a response without data. Any context. Always returns 0.
///
/// # Safety
///
/// Called by target core with a command submitted to it.
unsafe extern "C" fn queue_status_callback<T: Target>(se: *mut bindings::se_cmd) -> c_int {
    // SAFETY: By the safety requirements; target core holds its reference until this returns.
    LioCmd::answer(unsafe { cmd::borrow::<T::Cmd>(se) });
    0
}

/// `queue_tm_rsp()`: sends the response of a task management function. Process context.
///
/// # Safety
///
/// Called by target core with a command submitted to it.
unsafe extern "C" fn queue_tm_rsp_callback<T: Target>(se: *mut bindings::se_cmd) {
    // SAFETY: By the safety requirements; target core holds its reference until this returns.
    LioCmd::answer_tmf(unsafe { cmd::borrow::<T::Cmd>(se) });
}

/// `aborted_task()`: the command, or task management function, was aborted and gets no response.
/// Process context. Target core puts the reference that a response would have put.
///
/// # Safety
///
/// Called by target core with a command submitted to it.
unsafe extern "C" fn aborted_task_callback<T: Target>(se: *mut bindings::se_cmd) {
    // SAFETY: By the safety requirements; target core holds its reference until this returns.
    LioCmd::aborted(unsafe { cmd::borrow::<T::Cmd>(se) });
}

/// `get_cmd_state()`: a number for log messages. Any context.
///
/// # Safety
///
/// Called by target core with a command submitted to it.
unsafe extern "C" fn get_cmd_state_callback<T: Target>(se: *mut bindings::se_cmd) -> c_int {
    // SAFETY: By the safety requirements.
    unsafe { cmd::borrow::<T::Cmd>(se) }
        .engine_cmd()
        .state_number()
}

/// `fabric_make_wwn()`: `mkdir srpt/<name>`. Process context, sleeps. NULL on failure.
///
/// # Safety
///
/// Called by target core; `name` is NUL-terminated.
unsafe extern "C" fn fabric_make_wwn_callback<T: Target>(
    _: *mut bindings::target_fabric_configfs,
    _: *mut bindings::config_group,
    name: *const c_char,
) -> *mut bindings::se_wwn {
    // SAFETY: By the safety requirements.
    let name = unsafe { CStr::from_char_ptr(name) };
    Wwn::make::<T>(name)
        .inspect_err(|e| pr_err!("no HCA port {}: {:?}\n", name.to_str().unwrap_or("?"), e))
        .unwrap_or(core::ptr::null_mut())
}

/// `fabric_drop_wwn()`: `rmdir srpt/<name>`. Process context.
///
/// # Safety
///
/// Called by target core, once, with what `fabric_make_wwn()` returned.
unsafe extern "C" fn fabric_drop_wwn_callback(wwn: *mut bindings::se_wwn) {
    // SAFETY: By the safety requirements.
    unsafe { Wwn::drop_raw(wwn) };
}

/// `fabric_make_tpg()`: `mkdir srpt/<port>/<tpg>`. Process context, sleeps. NULL on failure.
///
/// # Safety
///
/// Called by target core with what `fabric_make_wwn()` returned.
unsafe extern "C" fn fabric_make_tpg_callback(
    wwn: *mut bindings::se_wwn,
    _: *const c_char,
) -> *mut bindings::se_portal_group {
    // SAFETY: By the safety requirements; the directory of `wwn` exists.
    Tpg::make(unsafe { Wwn::from_raw(wwn) })
        .inspect_err(|e| pr_err!("no target portal group: {:?}\n", e))
        .unwrap_or(core::ptr::null_mut())
}

/// `fabric_enable_tpg()`: a write to `srpt/<port>/<tpg>/enable`. Process context, sleeps.
///
/// # Safety
///
/// Called by target core with what `fabric_make_tpg()` returned.
unsafe extern "C" fn fabric_enable_tpg_callback<T: Target>(
    tpg: *mut bindings::se_portal_group,
    enable: bool,
) -> c_int {
    // SAFETY: By the safety requirements; the directory of `tpg` exists.
    unsafe { Tpg::from_raw(tpg) }.set_enabled::<T>(enable);
    0
}

/// `fabric_drop_tpg()`: `rmdir srpt/<port>/<tpg>`. Process context, sleeps.
///
/// # Safety
///
/// Called by target core, once, with what `fabric_make_tpg()` returned.
unsafe extern "C" fn fabric_drop_tpg_callback<T: Target>(tpg: *mut bindings::se_portal_group) {
    // SAFETY: By the safety requirements.
    unsafe { Tpg::drop_raw::<T>(tpg) };
}

/// `fabric_init_nodeacl()`: `mkdir srpt/<port>/<tpg>/acls/<name>`. Process context.
///
/// # Safety
///
/// Called by target core; `name` is NUL-terminated.
unsafe extern "C" fn fabric_init_nodeacl_callback(
    _: *mut bindings::se_node_acl,
    name: *const c_char,
) -> c_int {
    // SAFETY: By the safety requirements.
    let name = unsafe { CStr::from_char_ptr(name) };
    match tpg::check_acl_name(name) {
        // That it opens the port is noticed by the look that is taken periodically, when it has its
        // LUNs, too.
        Ok(()) => 0,
        Err(e) => {
            pr_err!("invalid initiator name {}\n", name.to_str().unwrap_or("?"));
            e.to_errno()
        }
    }
}
