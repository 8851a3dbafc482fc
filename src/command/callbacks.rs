// SPDX-License-Identifier: GPL-2.0

//! A command as the storage engine sees it: the place of the engine's part, and the callbacks.
//!
//! The callbacks call inherent functions of the same names, which the compiler finds before those
//! of the trait. Not here: those functions ([`super`], [`super::transfer`], [`super::respond`]).

use kernel::sync::{
    Arc,
    ArcBorrow, //
};

use super::{
    Command,
    Pool, //
};
use crate::{
    engine::{
        impl_has_engine_cmd,
        Delivery,
        TargetCmd, //
    },
    rdma::sg::SgList, //
};

impl_has_engine_cmd! {
    impl{O: Pool} HasEngineCmd for Command<O> { self.engine }
}

impl<O: Pool> TargetCmd for Command<O> {
    fn rdy_to_xfer(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery {
        Self::rdy_to_xfer(this, data)
    }

    fn xmit_response(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery {
        Self::xmit_response(this, data)
    }

    fn task_mgmt_fn_done(this: ArcBorrow<'_, Self>) {
        Self::task_mgmt_fn_done(this);
    }

    fn on_abort_cmd(this: ArcBorrow<'_, Self>) {
        this.on_abort();
    }

    fn on_free_cmd(this: Arc<Self>) {
        Self::on_free(this);
    }

    fn on_hw_timeout(this: ArcBorrow<'_, Self>) {
        Self::on_hw_timeout(&this);
    }
}
