// SPDX-License-Identifier: GPL-2.0

//! `Display` of the kernel crate for types of the protocol layer, as the `pr_*!` macros require.
//!
//! The protocol layer is independent of the kernel crate and implements `core::fmt::Display`; this
//! file forwards to it.
//!
//! Not here: the texts, which are where the types are ([`crate::srp`], [`crate::rdma::cm`]).

use crate::srp;

macro_rules! forward_display {
    ($($type:ty),* $(,)?) => {
        $(impl ::kernel::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(self, f)
            }
        })*
    };
}

forward_display! {
    crate::rdma::cm::PeerAddr,
    srp::machine::access::Advice,
    srp::machine::channel::CloseReason,
    srp::machine::command::Violation<srp::machine::command::Event>,
    srp::machine::command::Violation<srp::machine::command::Fact>,
    srp::wire::ident::Guid,
    srp::wire::ident::PortId,
}
