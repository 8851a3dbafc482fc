// SPDX-License-Identifier: GPL-2.0

//! The module parameters that come with this engine: what LIO has attributes of portal groups for,
//! SCST's own SRP target has as parameters of the module.
//!
//! The `module_param` macros are in `params.c`. Parameters that do not depend on the engine are in
//! [`crate::params`].

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
/// `EINVAL`, after saying so in the kernel log: the module must then refuse to load.
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

/// The value of an attribute, for all ports. Any context.
pub(super) fn attr(attr: PortAttr) -> u32 {
    match attr {
        PortAttr::MaxRdmaSize => rdma_size().clamp(MIN_RDMA_SIZE, limit::MAX_MAX_RDMA_SIZE),
        PortAttr::MaxRspSize => rsp_size().clamp(limit::MIN_MAX_RSP_SIZE, limit::MAX_MAX_RSP_SIZE),
        PortAttr::SqSize => sq_size().min(limit::MAX_CONFIG_SQ_SIZE),
        PortAttr::UseSrq => u32::from(use_srq()),
    }
}

fn rdma_size() -> u32 {
    // SAFETY: An aligned variable of the module; `param_set_uint()` writes it as a whole.
    unsafe { (&raw const bindings::srpt_scst_param_max_rdma_size).read_volatile() }
}

fn rsp_size() -> u32 {
    // SAFETY: As above.
    unsafe { (&raw const bindings::srpt_scst_param_max_rsp_size).read_volatile() }
}

fn sq_size() -> u32 {
    // SAFETY: As above.
    unsafe { (&raw const bindings::srpt_scst_param_sq_size).read_volatile() }
}

fn use_srq() -> bool {
    // SAFETY: As above, with `param_set_bool()`, which writes 0 or 1.
    unsafe { (&raw const bindings::srpt_scst_param_use_srq).read_volatile() }
}
