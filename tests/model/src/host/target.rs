// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/target.rs`: what the engine asks of the target but for single commands. The one
//! here does not ask.

use core::ffi::CStr;

use kernel::{
    alloc::KVec,
    error::{code::*, Result},
};

use crate::{
    channel::Command,
    engine::{
        Aen, ConfiguredPort, EntryChannel, HasTarget, Port, SessionKey, SessionView, Target,
        TargetKey, Top,
    },
};

/// The target.
pub(crate) struct SrpTarget;

impl HasTarget for Top {
    type Target = SrpTarget;
}

impl Target for SrpTarget {
    type Cmd = Command;

    fn close_session(_: SessionKey) {}

    fn close_target_sessions(_: &Port, _: TargetKey) {}

    fn port_changed(_: &Port) {}

    fn report_session_aen(_: SessionKey, _: Aen) {}

    fn entry_channels(_: TargetKey, _: &CStr) -> Result<KVec<EntryChannel>> {
        Err(ENOMEM)
    }

    fn session_views(_: SessionKey) -> Result<KVec<SessionView>> {
        Ok(KVec::new())
    }

    fn offer_ports() -> Result {
        Ok(())
    }

    fn find_port(_: &str) -> Option<ConfiguredPort> {
        None
    }
}
