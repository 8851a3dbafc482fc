// SPDX-License-Identifier: GPL-2.0

//! SCST's table of callbacks (`struct scst_tgt_template`) and its registration.
//!
//! The callbacks only convert pointers and results. SCST takes no reference on the module for them,
//! so dropping the registration waits until all targets are unregistered, and with them the last
//! callback has returned.
//!
//! Not here: their implementation ([`super::target`], [`super::shared`], [`super::cmd`]), the
//! state of the registration ([`super::registry`]).
//!
//! C source: `scst/src/scst_main.c`.

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use super::{
    attrs::{
        SessionFiles,
        TargetFiles, //
    },
    cmd::{
        self,
        ScstCmd, //
    },
    params,
    registry::{
        self,
        Template, //
    },
    shared,
    target::{
        self,
        Target, //
    }, //
};
use crate::{
    attr::abi::kobject_list,
    bindings,
    engine::{
        self,
        Aen,
        SessionKey, //
    },
    sync::gate::HasGate, //
};

/// Name of the template, and of its directory in `/sys/kernel/scst_tgt/targets`.
const NAME: &[u8] = b"ib_srpt";

/// Maximum number of entries of a command's scatterlist; as in SCST's own SRP target.
const SG_TABLESIZE: c_int = 1 << 16;

/// Time in seconds after which SCST reports that a transfer takes too long; as in SCST's own SRP
/// target. More than a queue pair of a reliable connection takes to report an error.
const MAX_HW_PENDING_TIME: c_int = 80;

/// Version descriptor of SRP in INQUIRY data (SPC).
const TRANSPORT_VERSION: u16 = 0x0940;

/// Protocol identifier of SRP in a TransportID (SPC).
const PROTOCOL_SRP: u8 = 4;

/// Size in bytes of a TransportID of SRP: its protocol, seven reserved bytes, the initiator port
/// identifier (SPC).
const TRANSPORT_ID_SIZE: usize = 24;

/// Registration of the template with SCST; dropping it removes all targets, which waits for their
/// sessions, and unregisters the template.
pub(crate) struct Registration {
    template: Arc<Template>,
}

impl Registration {
    /// Registers the template `ib_srpt` (`scst_register_target_template()`), and a target for each
    /// usable port. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a parameter is out of range, or if SCST is not the one that this module was
    /// built for; `ENOMEM`, `EINTR`.
    pub(super) fn new<T: engine::Target>() -> Result<Self> {
        params::validate()?;
        // SAFETY: The shims only read an address and a constant.
        let (core, headers) = unsafe {
            (
                bindings::srpt_scst_core_traces(),
                bindings::srpt_scst_headers_trace(),
            )
        };
        if core != headers {
            pr_err!(
                "scst.ko was built in another mode (2debug, 2release, 2perf) than the tree that \
                 this module was built with: build the module again with SCST_DIR=<that tree>\n"
            );
            return Err(EINVAL);
        }
        let template = Template::new(table::<T>())?;
        // SAFETY: The table is complete; its callbacks fulfil the contracts of the members, and its
        // lists are static. It is zeroed otherwise, and stays where it is until it is unregistered.
        // The version that the shim passes on is that of the headers which the table was made with.
        to_result(unsafe { bindings::srpt_scst_register_template(template.as_raw()) })
            .inspect_err(|e| {
                pr_err!(
                    "SCST refuses this module ({:?}): if it calls the version incorrect, build the \
                     module again with SCST_DIR=<the tree of the scst.ko in use>\n",
                    e
                );
            })?;
        // SAFETY: It was registered just above. The drop of the registration, which begins to exist
        // below, closes the registry and waits for the gate before it unregisters the template.
        unsafe { registry::open(&template) };
        // From here on a failure drops this.
        let this = Self { template };
        T::offer_ports()?;
        Ok(this)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        registry::close();
        while let Some(port) = registry::next() {
            target::remove(&port);
        }
        // Targets that are being removed concurrently, with their HCA.
        self.template.gate().wait_empty();
        registry::clear();
        // SAFETY: Registered in `new()`. Its targets are unregistered: each was inside the gate.
        unsafe { bindings::scst_unregister_target_template(self.template.as_raw()) };
    }
}

/// Returns the table of callbacks.
fn table<T: engine::Target>() -> bindings::scst_tgt_template {
    let mut name = [0; bindings::SCST_MAX_NAME as usize];
    for (to, from) in name.iter_mut().zip(NAME) {
        // CAST: The same bits.
        *to = *from as c_char;
    }
    let mut table = bindings::scst_tgt_template {
        name,
        sg_tablesize: SG_TABLESIZE,
        max_hw_pending_time: MAX_HW_PENDING_TIME,
        // SAFETY: SCST creates the files of this member in the directories of targets only.
        tgt_attrs: unsafe { kobject_list::<TargetFiles>() },
        // SAFETY: SCST creates the files of this member in the directories of sessions only.
        sess_attrs: unsafe { kobject_list::<SessionFiles<T>>() },
        xmit_response: Some(xmit_response_callback::<T>),
        tgt_alloc_data_buf: Some(tgt_alloc_data_buf_callback::<T>),
        rdy_to_xfer: Some(rdy_to_xfer_callback::<T>),
        on_hw_pending_cmd_timeout: Some(on_hw_pending_cmd_timeout_callback::<T>),
        on_free_cmd: Some(on_free_cmd_callback::<T>),
        task_mgmt_fn_done: Some(task_mgmt_fn_done_callback::<T>),
        release: Some(release_callback::<T>),
        report_aen: Some(report_aen_callback::<T>),
        get_initiator_port_transport_id: Some(get_initiator_port_transport_id_callback),
        enable_target: Some(enable_target_callback::<T>),
        is_target_enabled: Some(is_target_enabled_callback),
        close_session: Some(close_session_callback::<T>),
        get_scsi_transport_version: Some(get_scsi_transport_version_callback),
        ..pin_init::zeroed()
    };
    table.set_use_clustering(1);
    table
}

/// `xmit_response()`: sends data and response. A thread of SCST, or the caller of an SCST function;
/// process context. Returns one of `SCST_TGT_RES_*`.
///
/// # Safety
///
/// Called by SCST with a command submitted to it.
unsafe extern "C" fn xmit_response_callback<T: engine::Target>(
    raw: *mut bindings::scst_cmd,
) -> c_int {
    // SAFETY: By the safety requirements; SCST does not release the command before it is completed,
    // which only follows from this call.
    ScstCmd::answer(unsafe { cmd::borrow::<T::Cmd>(raw) }.into())
}

/// `tgt_alloc_data_buf()`: gives SCST the data that a write came with as its buffer. A thread of
/// SCST, or the caller of an SCST function; process context. Returns 0, or 1 if SCST is to allocate
/// a buffer.
///
/// # Safety
///
/// Called by SCST with a command submitted to it.
unsafe extern "C" fn tgt_alloc_data_buf_callback<T: engine::Target>(
    raw: *mut bindings::scst_cmd,
) -> c_int {
    // SAFETY: As in `xmit_response_callback()`.
    let placed = ScstCmd::place_data(unsafe { cmd::borrow::<T::Cmd>(raw) });
    (!placed).into()
}

/// `rdy_to_xfer()`: fetches the data of a write. A thread of SCST, or the caller of an SCST
/// function; process context. Returns one of `SCST_TGT_RES_*`.
///
/// # Safety
///
/// Called by SCST with a command submitted to it.
unsafe extern "C" fn rdy_to_xfer_callback<T: engine::Target>(
    raw: *mut bindings::scst_cmd,
) -> c_int {
    // SAFETY: As in `xmit_response_callback()`.
    ScstCmd::fetch(unsafe { cmd::borrow::<T::Cmd>(raw) }.into())
}

/// `on_hw_pending_cmd_timeout()`: a transfer takes more than [`MAX_HW_PENDING_TIME`]. A work queue.
///
/// # Safety
///
/// Called by SCST with a command that was submitted, and whose channel has not left the session.
unsafe extern "C" fn on_hw_pending_cmd_timeout_callback<T: engine::Target>(
    raw: *mut bindings::scst_cmd,
) {
    // SAFETY: SCST does not hold the command, so it may be completed meanwhile, and submitted
    // again. But it exists: its channel waits for this work before it leaves the session
    // (`Place::leave()`), and the submitter of a command keeps it until its part in the session is
    // closed, see the contract in `crate::engine`.
    ScstCmd::timed_out(unsafe { cmd::borrow::<T::Cmd>(raw) });
}

/// `on_free_cmd()`: SCST has released a command. Any context.
///
/// # Safety
///
/// Called by SCST, once per submission, with a command it does not use afterwards.
unsafe extern "C" fn on_free_cmd_callback<T: engine::Target>(raw: *mut bindings::scst_cmd) {
    // SAFETY: By the safety requirements.
    ScstCmd::freed(unsafe { cmd::reclaim::<T::Cmd>(raw) });
}

/// `task_mgmt_fn_done()`: sends the response of a task management function. SCST's management
/// thread.
///
/// # Safety
///
/// Called by SCST, once, with a function submitted to it, which it frees afterwards.
unsafe extern "C" fn task_mgmt_fn_done_callback<T: engine::Target>(
    mcmd: *mut bindings::scst_mgmt_cmd,
) {
    // SAFETY: By the safety requirements; the private pointer is the one passed at submission.
    unsafe {
        let status = bindings::srpt_scst_mgmt_status(mcmd);
        cmd::tmf_done::<T::Cmd>(bindings::srpt_scst_mgmt_priv(mcmd), status);
    }
}

/// `release()`: the target is being unregistered and its directory is removed. Closes its sessions
/// without waiting. Process context. The result is ignored.
///
/// # Safety
///
/// Called by SCST with a registered target, inside `scst_unregister_target()`.
unsafe extern "C" fn release_callback<T: engine::Target>(tgt: *mut bindings::scst_tgt) -> c_int {
    // SAFETY: By the safety requirements, `remove()` has not returned yet and keeps the target.
    if let Some(target) = unsafe { Target::from_raw(tgt) } {
        target.retire::<T>();
    }
    0
}

/// `enable_target()`: a write to `<target>/enabled`. A thread of SCST.
///
/// # Safety
///
/// Called by SCST with a target whose `kobject` is held.
unsafe extern "C" fn enable_target_callback<T: engine::Target>(
    tgt: *mut bindings::scst_tgt,
    enable: bool,
) -> c_int {
    // SAFETY: `scst_unregister_target()` waits for the `kobject`, and `remove()` keeps the target
    // until that has returned.
    match unsafe { Target::from_raw(tgt) } {
        Some(target) => match target.set_enabled::<T>(enable) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        },
        // `E_TGT_PRIV_NOT_YET_SET`.
        None => EBUSY.to_errno(),
    }
}

/// `is_target_enabled()`. Process context.
///
/// # Safety
///
/// As for [`enable_target_callback`].
unsafe extern "C" fn is_target_enabled_callback(tgt: *mut bindings::scst_tgt) -> bool {
    // SAFETY: As in `enable_target_callback()`.
    unsafe { Target::from_raw(tgt) }.is_some_and(Target::is_enabled)
}

/// `close_session()`: a write to `<session>/force_close`, or the removal of the session's group.
/// Process context, possibly with SCST's mutex held: does not wait.
///
/// # Safety
///
/// Called by SCST with a session that is not closed.
unsafe extern "C" fn close_session_callback<T: engine::Target>(
    sess: *mut bindings::scst_session,
) -> c_int {
    // SAFETY: By the safety requirements.
    unsafe { shared::forced(sess) };
    T::close_session(SessionKey(sess.addr()));
    0
}

/// `get_initiator_port_transport_id()`: the TransportID of a session, for persistent reservations,
/// or the protocol if there is no session. Process context. Returns 0, the protocol, or `-ENOMEM`.
///
/// # Safety
///
/// Called by SCST; `sess` is NULL or a session that is not closed, possibly one that is still being
/// registered. `id` is valid for a write; SCST frees the pointer stored there with `kfree()`.
unsafe extern "C" fn get_initiator_port_transport_id_callback(
    _: *mut bindings::scst_tgt,
    sess: *mut bindings::scst_session,
    id: *mut *mut u8,
) -> c_int {
    if sess.is_null() {
        return c_int::from(PROTOCOL_SRP);
    }
    // SAFETY: By the safety requirements.
    let initiator = unsafe { shared::initiator_port(sess) };
    let mut bytes = [0u8; TRANSPORT_ID_SIZE];
    let [protocol, _, _, _, _, _, _, _, port @ ..] = &mut bytes;
    *protocol = PROTOCOL_SRP;
    *port = initiator.0;
    match KBox::new(bytes, GFP_KERNEL) {
        Ok(bytes) => {
            // SAFETY: By the safety requirements. A `KBox` is memory from `kmalloc()`.
            unsafe { id.write(KBox::into_raw(bytes).cast()) };
            0
        }
        Err(_) => ENOMEM.to_errno(),
    }
}

/// `get_scsi_transport_version()`. Any context.
///
/// # Safety
///
/// None; the type of the member demands `unsafe`.
unsafe extern "C" fn get_scsi_transport_version_callback(_: *mut bindings::scst_tgt) -> u16 {
    TRANSPORT_VERSION
}

/// `report_aen()`: an asynchronous event of a session. Process context, possibly with SCST's mutex
/// held; inside an RCU critical section for some events, but not for the one that is passed on.
///
/// Always returns `SCST_AEN_RES_NOT_SUPPORTED`, so that SCST establishes a unit attention condition
/// as well: the Linux initiator evaluates only those.
///
/// # Safety
///
/// Called by SCST with an event that it owns.
unsafe extern "C" fn report_aen_callback<T: engine::Target>(aen: *mut bindings::scst_aen) -> c_int {
    // SAFETY: By the safety requirements. The sense data is part of the event.
    let (event, sense, sess) = unsafe {
        let len = usize::try_from(bindings::srpt_scst_aen_sense_len(aen)).unwrap_or(0);
        (
            bindings::srpt_scst_aen_event(aen),
            core::slice::from_raw_parts(bindings::srpt_scst_aen_sense(aen), len),
            bindings::srpt_scst_aen_sess(aen),
        )
    };
    // CAST: 0.
    if event == bindings::SCST_AEN_SCSI as c_int && is_luns_changed(sense) {
        T::report_session_aen(SessionKey(sess.addr()), Aen::LunsChanged);
    }
    bindings::SCST_AEN_RES_NOT_SUPPORTED
}

/// Returns whether sense data, in either format, is REPORTED LUNS DATA HAS CHANGED.
fn is_luns_changed(sense: &[u8]) -> bool {
    const CODE: Option<(u8, u8)> = Some((0x3f, 0x0e));
    let pair = |at: usize| Some((*sense.get(at)?, *sense.get(at + 1)?));
    match sense.first().map(|code| code & 0x7f) {
        Some(0x70 | 0x71) => pair(12) == CODE,
        Some(0x72 | 0x73) => pair(2) == CODE,
        _ => false,
    }
}
