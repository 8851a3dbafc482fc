// SPDX-License-Identifier: GPL-2.0
//! Which HCA port is which: how one that comes back finds its configuration.
//!
//! Administrators name a port by the GID at index 0 of its table. That can change while the port
//! is in use, and can be missing when it appears. What does not change is its place: the HCA's node
//! GUID and the number of the port.
//!
//! The list of ports is kept by the driver; the rules for it are here.

/// Where a port is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Node GUID of the HCA in host byte order; 0 if it has none.
    pub(crate) node_guid: u64,
    /// Number of the port, from 1.
    pub(crate) number: u32,
}

/// A GID in network byte order. All zeroes stand for "not known".
pub(crate) type Gid = [u8; 16];

/// No GID.
pub(crate) const NO_GID: Gid = [0; 16];

/// A port as far as the rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// GID at index 0 when it was last seen.
    pub(crate) gid: Gid,
    /// Place when it was last seen.
    pub(crate) place: Place,
    /// An HCA with this port is present.
    pub(crate) attached: bool,
    /// GID by which an administrator has configured something for it: the name of its first
    /// directory. [`None`] if nothing is configured.
    pub(crate) configured_as: Option<Gid>,
}

impl Known {
    /// Whether there is a reason to remember it.
    pub(crate) const fn is_needed(&self) -> bool {
        self.attached || self.configured_as.is_some()
    }

    /// Whether this port is absent and is configured by this GID.
    fn is_configured_as(&self, gid: Gid) -> bool {
        !self.attached && gid != NO_GID && self.configured_as == Some(gid)
    }

    /// Whether this port is absent and was last seen with this GID.
    fn was(&self, gid: Gid) -> bool {
        !self.attached && gid != NO_GID && self.gid == gid
    }

    /// Whether this port is absent and was last seen in this place.
    fn was_in(&self, place: Place) -> bool {
        !self.attached && place.node_guid != 0 && self.place == place
    }
}

/// Which of the known ports is the one that appears in `place` with `gid`; [`None`] if it is a new
/// one.
///
/// The names count more than the place, the configured one most: what was configured for a GID stays
/// with it if a card takes another's place, or two swap their addresses.
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

/// Which of the known ports the configuration of `current` is, now that its GID changes to `gid`;
/// [`None`] if it goes on as the same port with another name.
///
/// A configured port keeps its configuration. One that is not may turn out to be one that is: its
/// GID was missing when it appeared, or was another one.
pub(crate) fn find_renamed<I>(mut known: I, current: Known, gid: Gid) -> Option<usize>
where
    I: Iterator<Item = Known>,
{
    if current.configured_as.is_some() {
        return None;
    }
    known.position(|port| port.is_configured_as(gid) || port.was(gid))
}
