// SPDX-License-Identifier: GPL-2.0
//! Bounds on channels: how many one initiator, one entry and one port may have.
//!
//! A login costs the target memory before the initiator has shown anything but a name that it
//! chooses. The bounds limit what one of them can take from the others.
//!
//! Not here: the channels (the driver's list), and the reject (the driver).

/// A bound on the number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Channels of an I_T nexus.
    Nexus,
    /// Channels that an access control entry has let in.
    Entry,
    /// Channels of an HCA port.
    Port,
    /// Channels that an entry has let in, and whose initiator has not confirmed the connection.
    Unconfirmed,
}

impl Bound {
    /// Returns the text for the log, with the module parameter that sets the bound.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Nexus => "as many channels of this initiator as max_channels_per_nexus",
            Self::Entry => "as many channels through this ACL as max_channels_per_entry",
            Self::Port => "as many channels on this port as max_channels_per_port",
            Self::Unconfirmed => {
                "as many unconfirmed logins through this ACL as max_unconfirmed_logins"
            }
        }
    }
}

/// A number for each bound: the most that is allowed, where zero is no bound, or what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channels {
    /// See [`Bound::Nexus`].
    pub(crate) nexus: u32,
    /// See [`Bound::Entry`].
    pub(crate) entry: u32,
    /// See [`Bound::Port`].
    pub(crate) port: u32,
    /// See [`Bound::Unconfirmed`].
    pub(crate) unconfirmed: u32,
}

impl Channels {
    /// Takes these as the most that is allowed, and returns the bound that one channel more than
    /// `there` would exceed; the narrowest first.
    pub(crate) fn reached(&self, there: &Self) -> Option<Bound> {
        [
            (self.unconfirmed, there.unconfirmed, Bound::Unconfirmed),
            (self.nexus, there.nexus, Bound::Nexus),
            (self.entry, there.entry, Bound::Entry),
            (self.port, there.port, Bound::Port),
        ]
        .into_iter()
        .find(|(most, there, _)| *most != 0 && there >= most)
        .map(|(_, _, bound)| bound)
    }

    /// Counts a channel: of the same `nexus`, of the same `entry` and then `unconfirmed` or not, on
    /// the same `port`.
    pub(crate) fn count(&mut self, nexus: bool, entry: bool, port: bool, unconfirmed: bool) {
        for (number, counts) in [
            (&mut self.nexus, nexus),
            (&mut self.entry, entry),
            (&mut self.port, port),
            (&mut self.unconfirmed, unconfirmed),
        ] {
            *number = number.saturating_add(u32::from(counts));
        }
    }
}
