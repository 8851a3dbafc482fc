// SPDX-License-Identifier: GPL-2.0

//! Module parameters of this engine: SCST's own SRP target has module parameters where LIO has
//! attributes of portal groups.
//!
//! Not here: the `module_param` macros (`params.c`), parameters that do not depend on the engine
//! ([`crate::params`]).

use kernel::prelude::*;

use crate::{
    bindings,
    port::PortAttr,
    srp::wire::consts::limit, //
};

/// Smallest `srp_max_rdma_size` that is reported, in bytes.
const MIN_RDMA_SIZE: u32 = 256;

/// Checks the parameters that have limits, like SCST's own SRP target.
///
/// # Errors
///
/// `EINVAL`, with a message in the kernel log: the module must then fail to load.
pub(super) fn validate() -> Result {
    let size = rsp_size();
    if size < limit::MIN_MAX_RSP_SIZE {
        pr_err!("srp_max_rsp_size={} is less than 40\n", size);
        return Err(EINVAL);
    }
    let size = sq_size();
    if size < limit::MIN_SQ_SIZE {
        pr_err!("srpt_sq_size={} is less than 16\n", size);
        return Err(EINVAL);
    }
    Ok(())
}

/// Returns the value of an attribute, which is the same for all ports. Any context.
pub(super) fn attr(attr: PortAttr) -> u32 {
    match attr {
        PortAttr::MaxRdmaSize => rdma_size().clamp(MIN_RDMA_SIZE, limit::MAX_MAX_RDMA_SIZE),
        PortAttr::MaxRspSize => rsp_size().clamp(limit::MIN_MAX_RSP_SIZE, limit::MAX_MAX_RSP_SIZE),
        PortAttr::SqSize => sq_size().min(limit::MAX_CONFIG_SQ_SIZE),
        PortAttr::UseSrq => u32::from(use_srq()),
    }
}

/// Returns `srp_max_rdma_size` in bytes.
fn rdma_size() -> u32 {
    // SAFETY: An aligned variable of the module; `param_set_uint()` writes it as a whole.
    unsafe { (&raw const bindings::srpt_scst_param_max_rdma_size).read_volatile() }
}

/// Returns `srp_max_rsp_size` in bytes.
fn rsp_size() -> u32 {
    // SAFETY: As above.
    unsafe { (&raw const bindings::srpt_scst_param_max_rsp_size).read_volatile() }
}

/// Returns `srpt_sq_size` in entries.
fn sq_size() -> u32 {
    // SAFETY: As above.
    unsafe { (&raw const bindings::srpt_scst_param_sq_size).read_volatile() }
}

/// Returns `use_srq`.
fn use_srq() -> bool {
    // SAFETY: As above, with `param_set_bool()`, which writes 0 or 1.
    unsafe { (&raw const bindings::srpt_scst_param_use_srq).read_volatile() }
}

/// Returns `session_per_channel`.
pub(super) fn session_per_channel() -> bool {
    // SAFETY: As above.
    unsafe { (&raw const bindings::srpt_scst_param_session_per_channel).read_volatile() }
}
