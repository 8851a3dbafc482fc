// SPDX-License-Identifier: GPL-2.0

//! Files in configfs and sysfs: what all of them share.
//!
//! Not here: the files themselves ([`crate::engine`], [`crate::admin`]), directories in sysfs
//! ([`crate::sysfs`]), module parameters ([`crate::params`]).

pub(crate) mod page;
