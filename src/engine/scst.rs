// SPDX-License-Identifier: GPL-2.0

//! SCST, the generic SCSI target subsystem, as storage engine.
//!
//! This file implements [`Engine`] by delegation. The rest is divided by the wrapped C object:
//!
//! - [`template`]: `struct scst_tgt_template`, the callbacks and their registration;
//! - [`registry`]: the registered template, and the ports that have a target;
//! - [`target`]: `struct scst_tgt`, one per HCA port, the directories below
//!   `/sys/kernel/scst_tgt/targets/ib_srpt`, and which of them are enabled;
//! - [`attrs`]: the files in these directories that are not SCST's own;
//! - [`shared`]: `struct scst_session`, which the channels of an I_T nexus share; [`place`]: how
//!   one begins and ends; [`session`]: what one channel submits;
//! - [`cmd`]: `struct scst_cmd` and `struct scst_mgmt_cmd`, their life cycles; [`submit`] begins
//!   them;
//! - [`params`]: the module parameters of this engine.
//!
//! Names, attributes, parameters and defaults are those of SCST's own SRP target, because
//! `/etc/scst.conf` and `scstadmin` depend on them. SCST decides which LUNs an initiator can
//! access, by the name of the session. Not here: the SRP protocol and verbs.
//!
//! C header: `scst/include/scst.h` in the SCST tree that the module is built with (`SCST_DIR`).
//!
//! # Context
//!
//! SCST calls `rdy_to_xfer` and `xmit_response` in threads only, because the template does not
//! allow atomic context for them (`rdy_to_xfer_atomic`, `xmit_response_atomic`) and everything is
//! submitted and completed in process context. One callback may be called in any context:
//! `on_free_cmd`, which [`cmd`] defers to a work queue in atomic context.

mod attrs;
pub(super) mod cmd;
mod params;
mod place;
mod registry;
mod session;
mod shared;
mod submit;
mod target;
mod template;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    DoneContext,
    Engine,
    HasTarget,
    OpenError,
    Port,
    RxCmd,
    RxDataStatus,
    RxError,
    RxMgmt,
    SessionRequest,
    Target,
    TargetCmd,
    Top, //
};
use crate::{
    bindings,
    rdma::{
        buf::Immediate,
        device::Device, //
    },
    srp::wire::ident::Lun, //
};

/// The storage engine SCST.
pub(crate) struct Scst;

/// The byte of a service id that decides whether the id is in the range that the IB/CM itself
/// assigns (`IB_SERVICE_ID_AGN_MASK` in `include/rdma/ib_cm.h`).
const SERVICE_ID_AGN_MASK: u64 = 0xff00_0000_0000_0000;

impl Engine for Scst {
    type Registration = template::Registration;
    type PortData = target::ScstPortData;
    type Session = session::ScstSession;
    type Cmd<C> = cmd::ScstCmd<C>;

    /// Clears the highest byte, like SCST's own SRP target.
    fn service_guid(node_guid: u64) -> u64 {
        node_guid & !SERVICE_ID_AGN_MASK
    }

    fn init() {
        registry::init();
    }

    fn register<T: Target>() -> Result<template::Registration>
    where
        Top: HasTarget<Target = T>,
    {
        template::Registration::new::<T>()
    }

    fn port_added(port: &Arc<Port>, device: &Device, number: u32) {
        target::add(port, device, number);
    }

    fn port_removed(port: &Port) {
        target::remove(port);
    }

    fn max_commands() -> u32 {
        // SAFETY: Without a session this reads the list of devices, with SCST's mutex held; callers
        // may sleep.
        let most = unsafe { bindings::scst_get_max_lun_commands(core::ptr::null_mut(), 0) };
        u32::try_from(most).unwrap_or(0)
    }

    fn new_cmd<C: TargetCmd>() -> impl PinInit<cmd::ScstCmd<C>, Error>
    where
        Top: HasTarget<Target: Target<Cmd = C>>,
    {
        cmd::ScstCmd::new()
    }

    fn open_session(
        port: &Port,
        request: &SessionRequest,
    ) -> Result<session::ScstSession, OpenError> {
        session::ScstSession::open(port, request)
    }

    /// SCST has numbers up to 16383, and maps all simple addressing methods to them
    /// (`scst_unpack_lun()`).
    fn lun_number(lun: Lun) -> u64 {
        lun.flat().unwrap_or(lun.to_u64())
    }

    #[inline]
    fn refusal(rx: &RxCmd) -> Option<&'static [u8]> {
        submit::refusal(rx)
    }

    fn rx_cmd<C: TargetCmd>(
        cmd: Arc<C>,
        session: &session::ScstSession,
        rx: &RxCmd,
        immediate: Option<Immediate>,
    ) -> Result<(), (RxError, Arc<C>)> {
        submit::submit(cmd, session, rx, immediate)
    }

    fn rx_data<C: TargetCmd>(cmd: ArcBorrow<'_, C>, status: RxDataStatus) {
        cmd.engine_cmd().data_arrived(status);
    }

    fn tgt_cmd_done<C: TargetCmd>(cmd: ArcBorrow<'_, C>, context: DoneContext) {
        cmd::done(cmd, context);
    }

    fn rx_mgmt_fn<C: TargetCmd>(
        cmd: Arc<C>,
        session: &session::ScstSession,
        rx: &RxMgmt,
    ) -> Result<(), (RxError, Arc<C>)> {
        submit::submit_tmf(cmd, session, rx)
    }
}
