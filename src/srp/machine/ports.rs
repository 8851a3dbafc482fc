// SPDX-License-Identifier: GPL-2.0
//! Identity of HCA ports: how a port that reappears finds its configuration.
//!
//! Administrators name a port by the GID at index 0 of its table. That GID can change while the
//! port is in use, and can be missing when the port appears. Its place does not change: the HCA's
//! node GUID and the number of the port.
//!
//! Not here: the list of ports (the driver's).

/// Place of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Node GUID of the HCA in host byte order; 0 if it has none.
    pub(crate) node_guid: u64,
    /// Number of the port, from 1.
    pub(crate) number: u32,
}

/// A GID in network byte order. All zeroes mean "not known".
pub(crate) type Gid = [u8; 16];

/// No GID.
pub(crate) const NO_GID: Gid = [0; 16];

/// A port as the rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Last known GID at index 0.
    pub(crate) gid: Gid,
    /// Last known place.
    pub(crate) place: Place,
    /// An HCA with this port is present.
    pub(crate) attached: bool,
    /// GID under which an administrator has configured the port: the name of its first directory.
    /// [`None`] if nothing is configured.
    pub(crate) configured_as: Option<Gid>,
}

impl Known {
    /// Returns whether the port has to stay in the list.
    pub(crate) const fn is_needed(&self) -> bool {
        self.attached || self.configured_as.is_some()
    }

    /// Returns whether this port is absent and is configured under this GID.
    fn is_configured_as(&self, gid: Gid) -> bool {
        !self.attached && gid != NO_GID && self.configured_as == Some(gid)
    }

    /// Returns whether this port is absent and this was its last known GID.
    fn was(&self, gid: Gid) -> bool {
        !self.attached && gid != NO_GID && self.gid == gid
    }

    /// Returns whether this port is absent and this was its last known place.
    fn was_in(&self, place: Place) -> bool {
        !self.attached && place.node_guid != 0 && self.place == place
    }
}

/// Returns the index of the known port that appears in `place` with `gid`; [`None`] if it is a new
/// one.
///
/// GIDs take precedence over the place, and the configured GID over the last known one: the
/// configuration of a GID stays with it if a card takes another's place, or two swap their
/// addresses.
pub(crate) fn find_returning<I>(known: I, place: Place, gid: Gid) -> Option<usize>
where
    I: Iterator<Item = Known> + Clone,
{
    known
        .clone()
        .position(|port| port.is_configured_as(gid))
        .or_else(|| known.clone().position(|port| port.was(gid)))
        .or_else(|| known.clone().position(|port| port.was_in(place)))
}

/// Returns the index of the known port whose configuration `current` takes over now that its GID
/// changes to `gid`; [`None`] if it stays the same port with another name.
///
/// A configured port keeps its configuration. One that is not configured may prove to be a
/// configured one whose GID was missing or different when it appeared.
pub(crate) fn find_renamed<I>(mut known: I, current: Known, gid: Gid) -> Option<usize>
where
    I: Iterator<Item = Known>,
{
    if current.configured_as.is_some() {
        return None;
    }
    known.position(|port| port.is_configured_as(gid) || port.was(gid))
}
