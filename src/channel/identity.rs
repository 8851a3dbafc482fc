// SPDX-License-Identifier: GPL-2.0

//! The constants of a channel: what the login has settled.
//!
//! Not here: everything that changes ([`super::Inner`], [`crate::link::flow::Flow`]).

use core::fmt::Write as _;

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    }, //
};

use crate::{
    engine::Port,
    hca::port::HcaPort,
    rdma::{
        cm::PeerAddr,
        device::DeviceId, //
    },
    srp::{
        machine::nexus::Nexus,
        wire::ident::{
            NameBuf,
            PortId, //
        }, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The serial number of the next channel, for log lines.
static SERIAL: Atomic<u64> = Atomic::new(1);

/// Returns a new serial number.
pub(super) fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Relaxed)
}

/// Constants of a channel, from the login on.
pub(super) struct Identity {
    pub(super) serial: u64,
    pub(super) device: DeviceId,
    pub(super) port: Arc<Port>,
    /// HCA port whose totals take in this channel's counters.
    pub(super) hca_port: Arc<HcaPort>,
    pub(super) initiator_port: PortId,
    pub(super) target_port: PortId,
    pub(super) peer: PeerAddr,
    /// Completion vector: the next one of the port's mask at login.
    pub(super) comp_vector: u32,
    pub(super) born: Instant<Monotonic>,
}

impl Identity {
    /// Returns the name of the directory in sysfs: initiator port identifier and serial number.
    pub(super) fn dir_name(&self) -> NameBuf<64> {
        let mut name = NameBuf::new();
        // It fits: 32 digits, a hyphen, and at most 20 digits.
        let _ = write!(
            name,
            "{}-{}",
            self.initiator_port.without_prefix(),
            self.serial
        );
        name
    }

    /// Returns the I_T nexus; `entry` is the access control entry that let the channel in.
    pub(super) fn nexus<'a>(&self, entry: &'a CStr) -> Nexus<&'a CStr, PeerAddr> {
        Nexus {
            initiator_port: self.initiator_port,
            target_port: self.target_port,
            entry,
            peer: self.peer,
        }
    }
}
