// SPDX-License-Identifier: GPL-2.0
//! The I_T nexus: which channels belong together.
//!
//! A login may end the channels of its nexus, and an ABORT TASK looks for its task on all of them.
//! Here it is said when two channels are of one nexus. The list of channels, and what is done to
//! those of a nexus, is the driver's business ([`multichannel_outcome`] decides it).
//!
//! Source: T10 SRP revision 16a, I_T nexus and multi-channel action; the in-tree driver compares the
//! port identifiers only.
//!
//! [`multichannel_outcome`]: super::super::wire::login::multichannel_outcome

use super::super::wire::ident::{
    Guid,
    PortId, //
};

/// What a channel says about its nexus. `E` is what the engine knows an access control entry by, `P`
/// the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nexus<E, P> {
    /// Initiator port identifier of the login.
    pub(crate) initiator_port: PortId,
    /// Target port identifier of the login.
    pub(crate) target_port: PortId,
    /// The access control entry that let the initiator in.
    pub(crate) entry: E,
    /// The peer's address.
    pub(crate) peer: P,
}

impl<E: PartialEq, P: PartialEq> Nexus<E, P> {
    /// Says whether both are the same nexus: the same identifiers, from one address or through one
    /// entry.
    ///
    /// An initiator chooses its port identifier freely, so what comes from elsewhere and through
    /// another entry is another initiator. The lower half of the identifier is a GUID. Where there
    /// is none (Linux over iWARP has no GID with an interface identifier and says zero) all
    /// initiators have the same, so there the entry does not make one of two addresses.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (_, guid) = self.initiator_port.halves();
        self.initiator_port == other.initiator_port
            && self.target_port == other.target_port
            && (self.peer == other.peer || (guid != Guid(0) && self.entry == other.entry))
    }
}
