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
//! [`multichannel_outcome`]: super::login::multichannel_outcome

use core::net::IpAddr;

use super::ident::{
    Guid,
    PortId, //
};

/// What a channel says about its nexus. `E` is what the engine knows an access control entry by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nexus<E> {
    /// Initiator port identifier of the login.
    pub(crate) initiator_port: PortId,
    /// Target port identifier of the login.
    pub(crate) target_port: PortId,
    /// The access control entry that let the initiator in.
    pub(crate) entry: E,
    /// The peer's network address, if it is known.
    pub(crate) peer: Option<IpAddr>,
}

impl<E: PartialEq> Nexus<E> {
    /// Says whether both are the same nexus.
    ///
    /// An initiator chooses its port identifier freely, so the access control entry belongs to it:
    /// somebody who was let in as another is not the same. The lower half of the identifier is a
    /// GUID. Where there is none (Linux over iWARP has no GID with an interface identifier and says
    /// zero) all initiators would be one, so there the address belongs to it, too.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (_, guid) = self.initiator_port.halves();
        self.initiator_port == other.initiator_port
            && self.target_port == other.target_port
            && self.entry == other.entry
            && (guid != Guid(0) || self.peer == other.peer)
    }
}
