// SPDX-License-Identifier: GPL-2.0
//! What the driver uses of the kernel crate, for the host: names and signatures are the kernel's,
//! what is behind them is `std` and the crate `sched`. Every access to a lock or an atomic is a point
//! at which another thread may come in.
//!
//! Memory is never short here, and nothing takes time.
//!
//! Not here: what the module has wrapped itself (`crate::rdma`, `crate::sync`), which is in
//! `src/host` of the model.

#![allow(clippy::new_without_default, reason = "the kernel's types have none")]

pub use core::fmt;

pub mod alloc;
pub mod error;
pub mod init;
pub mod print;
pub mod sync;
pub mod time;
pub mod workqueue;

/// The size of a page.
pub mod page {
    pub const PAGE_SIZE: usize = 4096;
}

/// What every file of a module imports.
pub mod prelude {
    pub use core::{
        ffi::{c_char, CStr},
        pin::Pin,
    };

    pub use macros::pin_data;

    pub use crate::{
        alloc::{flags::*, KBox, KVVec, KVec},
        error::{code::*, Error, Result},
        init::{InPlaceInit, PinInit},
        pin_init, pr_err, pr_info, pr_warn, try_pin_init,
    };
}

/// The object around a field.
#[macro_export]
macro_rules! container_of {
    ($field:expr, $container:ty, $name:ident) => {{
        let offset = ::core::mem::offset_of!($container, $name);
        $field.byte_sub(offset).cast::<$container>()
    }};
}
