// SPDX-License-Identifier: GPL-2.0

//! LIO, the kernel's own SCSI target core, as storage engine.
//!
//! This file implements [`Engine`] by delegation. The rest is divided by the wrapped C object:
//!
//! - [`fabric`]: `struct target_core_fabric_ops`, the callbacks and their registration;
//! - [`tpg`]: `struct se_wwn` and `struct se_portal_group`, the directories below
//!   `/sys/kernel/config/target/srpt`, and which of them are enabled;
//! - [`attrs`]: the files in these directories;
//! - [`session`]: `struct se_session` and access control;
//! - [`cmd`]: `struct se_cmd`, its life cycle and its references; [`submit`] begins it; [`data`] is
//!   its memory; [`order`] and [`caw`] are workarounds for defects of target core.
//!
//! Directory names, attributes, limits and modes are those of the C driver, because saved
//! configurations and `targetcli` depend on them. Not here: the SRP protocol and verbs.
//!
//! C header: [`include/target/target_core_fabric.h`](srctree/include/target/target_core_fabric.h)
//!
//! # Context
//!
//! Commands are submitted from process context only, and target core calls back in process context
//! but for completions: these come where the disk completes (`TARGET_DIRECT_COMPL`), see [`cmd`].

mod attrs;
mod caw;
pub(super) mod cmd;
mod data;
mod fabric;
mod order;
mod session;
mod submit;
mod tpg;

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
    rdma::buf::Immediate,
    srp::wire::ident::Lun, //
};

/// The storage engine LIO.
pub(crate) struct Lio;

impl Engine for Lio {
    type Registration = fabric::Registration;
    type PortData = tpg::LioPortData;
    type Session = session::LioSession;
    type Cmd<C> = cmd::LioCmd<C>;

    /// Target core asks for neither: task management functions pass over commands that are
    /// complete (`__target_check_io_state()`).
    const ENDS_WHEN_POSTED: bool = true;

    /// Target core implements neither.
    const HAS_TASK_SETS: bool = false;

    fn register<T: Target>() -> Result<fabric::Registration>
    where
        Top: HasTarget<Target = T>,
    {
        fabric::Registration::new::<T>()
    }

    fn new_cmd<C: TargetCmd>() -> impl PinInit<cmd::LioCmd<C>, Error>
    where
        Top: HasTarget<Target: Target<Cmd = C>>,
    {
        cmd::LioCmd::new()
    }

    fn admits(port: &Port) -> bool {
        let tpgs = port.engine().lock();
        let mut enabled = tpgs.iter().filter(|tpg| tpg.epoch().is_enabled());
        enabled.any(|tpg| tpg.has_acl())
    }

    fn open_session(
        port: &Port,
        request: &SessionRequest,
    ) -> Result<session::LioSession, OpenError> {
        session::LioSession::open(port, request)
    }

    /// The addressing method is part of the number, as in the C driver: LIO has numbers up to 65535
    /// and above, which REPORT LUNS reports in this form, and the number of a removed logical unit
    /// must not be mistaken for another one.
    fn lun_number(lun: Lun) -> u64 {
        lun.to_u64()
    }

    fn rx_cmd<C: TargetCmd>(
        cmd: Arc<C>,
        session: &session::LioSession,
        rx: &RxCmd,
        immediate: Option<Immediate>,
    ) -> Result<(), (RxError, Arc<C>)> {
        submit::submit(cmd, session, rx, immediate)
    }

    fn rx_data<C: TargetCmd>(cmd: ArcBorrow<'_, C>, status: RxDataStatus) {
        cmd::LioCmd::data_arrived(cmd, status);
    }

    fn tgt_cmd_done<C: TargetCmd>(cmd: ArcBorrow<'_, C>, context: DoneContext) {
        cmd.engine_cmd().done(context);
    }

    fn rx_mgmt_fn<C: TargetCmd>(
        cmd: Arc<C>,
        session: &session::LioSession,
        rx: &RxMgmt,
    ) -> Result<(), (RxError, Arc<C>)> {
        submit::submit_tmf(cmd, session, rx)
    }
}
