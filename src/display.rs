// SPDX-License-Identifier: GPL-2.0

//! Lets the `pr_*!` macros print types of the protocol layer.
//!
//! The kernel crate prints with a `Display` trait of its own; the protocol layer, which knows
//! nothing of the kernel, implements that of `core`.

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
