// SPDX-License-Identifier: GPL-2.0
//! Wire formats: bytes become typed values here, and typed values bytes. What can be said of a value
//! alone, such as whether a login is acceptable to a policy, is here, too.
//!
//! Not here: anything with a state ([`super::machine`]).

pub(crate) mod cmd;
pub(crate) mod codec;
pub(crate) mod consts;
pub(crate) mod ctrl;
pub(crate) mod desc;
pub(crate) mod dm;
pub(crate) mod ident;
pub(crate) mod iu;
pub(crate) mod login;
pub(crate) mod rsp;
pub(crate) mod tmf;
