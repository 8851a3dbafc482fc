// SPDX-License-Identifier: GPL-2.0
//! I_T nexus: which channels belong to the same one.
//!
//! A login may end the channels of its nexus, and an ABORT TASK is looked up on all of them.
//!
//! Source: T10 SRP revision 16a, I_T nexus and multi-channel action; the in-tree driver compares
//! the port identifiers only.
//!
//! Not here: the list of channels (the driver's), and which of them a login ends
//! ([`multichannel_outcome`]).
//!
//! [`multichannel_outcome`]: super::super::wire::login::multichannel_outcome

use super::super::wire::ident::{
    Guid,
    PortId, //
};

/// Identity of the nexus of a channel. `E` is the engine's identity of an access control entry, `P`
/// the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nexus<E, P> {
    /// Initiator port identifier of the login.
    pub(crate) initiator_port: PortId,
    /// Target port identifier of the login.
    pub(crate) target_port: PortId,
    /// The access control entry that admitted the initiator.
    pub(crate) entry: E,
    /// The peer's address.
    pub(crate) peer: P,
}

impl<E: PartialEq, P: PartialEq> Nexus<E, P> {
    /// Returns whether both are the same nexus: the same identifiers through one entry. An
    /// equivalence relation.
    ///
    /// An initiator chooses its port identifier freely, so the same identifier through another
    /// entry, which may have other logical units, is another initiator. The lower half of the
    /// identifier is a GUID. Where there is none (Linux over iWARP has no GID with an interface
    /// identifier and sends zero) all initiators have the same, so the address counts, too.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (_, guid) = self.initiator_port.halves();
        self.initiator_port == other.initiator_port
            && self.target_port == other.target_port
            && self.entry == other.entry
            && (guid != Guid(0) || self.peer == other.peer)
    }
}
