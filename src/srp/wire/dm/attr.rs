// SPDX-License-Identifier: GPL-2.0
//! Attributes of device management in their wire form.
//!
//! Both directions are here: the agent emits attributes, initiators parse them.
//!
//! Source: InfiniBand Architecture Specification, 13.4.8.1 (ClassPortInfo) and 16.3.3 (the others).
//!
//! Not here: the agent's responses ([`super::answer`]).

use core::fmt;

use super::{
    super::{
        codec::{
            self,
            Image,
            View, //
        },
        consts::REV16A_IB_IO_CLASS,
        ident::{
            Guid,
            NameBuf, //
        }, //
    },
    Controller,
    DATA_SIZE,
    VERSION, //
};

/// Capabilities of an agent (ClassPortInfo). Redirection and traps are not used and left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassPortInfo {
    /// Capabilities; bit 0 is "generates traps".
    pub(crate) capabilities: u16,
    /// Longest time to a response: 4.096 us * 2^`response_time`. Five bits.
    pub(crate) response_time: u8,
}

impl ClassPortInfo {
    /// Parses the attribute.
    pub(crate) fn parse(data: &[u8; DATA_SIZE]) -> Self {
        let data = view(data);
        Self {
            capabilities: data.be16::<2>(),
            response_time: data.u8::<7>() & 0x1f,
        }
    }

    /// Emits the attribute.
    pub(crate) fn emit(&self) -> [u8; DATA_SIZE] {
        Image::new()
            .u8::<0>(VERSION)
            .u8::<1>(VERSION)
            .be16::<2>(self.capabilities)
            .u8::<7>(self.response_time & 0x1f)
            .into_bytes()
    }
}

/// State of a slot of the I/O unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// No controller.
    Empty,
    /// A controller.
    Present,
    /// The slot does not exist.
    NoSlot,
    /// A reserved value, four bits.
    Reserved(u8),
}

impl SlotState {
    /// Returns the state for the four bits of a slot.
    const fn from_code(code: u8) -> Self {
        match code & 0xf {
            0x0 => Self::Empty,
            0x1 => Self::Present,
            0xf => Self::NoSlot,
            other => Self::Reserved(other),
        }
    }

    /// Returns the four bits of a slot.
    const fn code(self) -> u8 {
        match self {
            Self::Empty => 0x0,
            Self::Present => 0x1,
            Self::NoSlot => 0xf,
            Self::Reserved(other) => other & 0xf,
        }
    }
}

/// Size of the list of controllers, in bytes.
const LIST_SIZE: usize = 128;

/// The list of I/O controllers (IOUnitInfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoUnitInfo {
    /// Change counter of the list of controllers.
    pub(crate) change_id: u16,
    /// Number of slots.
    pub(crate) max_controllers: u8,
    /// Presence of diagnostics and of an option ROM; 0 for neither.
    pub(crate) flags: u8,
    /// Two slots per byte, the first in the upper half.
    list: [u8; LIST_SIZE],
}

impl IoUnitInfo {
    /// Returns a unit with `max_controllers` empty slots. The other slots do not exist.
    pub(crate) fn empty(change_id: u16, max_controllers: u8) -> Self {
        let mut unit = Self {
            change_id,
            max_controllers,
            flags: 0,
            list: [0xff; LIST_SIZE],
        };
        for slot in 1..=max_controllers {
            unit.set(slot, SlotState::Empty);
        }
        unit
    }

    /// Returns the index of the list byte that holds a slot, and the shift of the slot in it.
    fn place(slot: u8) -> Option<(usize, u32)> {
        let index = slot.checked_sub(1)?;
        Some((usize::from(index / 2), if index % 2 == 0 { 4 } else { 0 }))
    }

    /// Returns the state of a slot; slots count from 1.
    pub(crate) fn slot(&self, slot: u8) -> SlotState {
        Self::place(slot)
            .and_then(|(byte, shift)| Some(SlotState::from_code(self.list.get(byte)? >> shift)))
            .unwrap_or(SlotState::NoSlot)
    }

    /// Sets the state of a slot; slots count from 1, and slot 0 is ignored.
    pub(crate) fn set(&mut self, slot: u8, state: SlotState) {
        if let Some((byte, shift)) = Self::place(slot) {
            if let Some(byte) = self.list.get_mut(byte) {
                *byte = (*byte & !(0xf << shift)) | (state.code() << shift);
            }
        }
    }

    /// Parses the attribute.
    pub(crate) fn parse(data: &[u8; DATA_SIZE]) -> Self {
        let data = view(data);
        Self {
            change_id: data.be16::<0>(),
            max_controllers: data.u8::<2>(),
            flags: data.u8::<3>(),
            list: data.array::<4, LIST_SIZE>(),
        }
    }

    /// Emits the attribute.
    pub(crate) fn emit(&self) -> [u8; DATA_SIZE] {
        Image::new()
            .be16::<0>(self.change_id)
            .u8::<2>(self.max_controllers)
            .u8::<3>(self.flags)
            .array::<4, LIST_SIZE>(self.list)
            .into_bytes()
    }
}

/// Operations of a controller (`ControllerOperationsCapabilityMask`).
pub(crate) mod operation {
    /// Receives SENDs.
    pub(crate) const SEND_TO: u8 = 1 << 0;
    /// Issues SENDs.
    pub(crate) const SEND_FROM: u8 = 1 << 1;
    /// Issues RDMA READs.
    pub(crate) const READ_FROM: u8 = 1 << 3;
    /// Issues RDMA WRITEs.
    pub(crate) const WRITE_FROM: u8 = 1 << 5;
}

/// I/O subclass of SRP: NCITS T10.
pub(crate) const IO_SUBCLASS: u16 = 0x609e;
/// Protocol: SRP.
pub(crate) const PROTOCOL: u16 = 0x0108;
/// Version of the protocol.
pub(crate) const PROTOCOL_VERSION: u16 = 1;

/// Size of the identifying text of a controller, in bytes.
pub(super) const ID_SIZE: usize = 64;

/// Profile of an I/O controller (IOControllerProfile).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IocProfile {
    /// Identifies the controller.
    pub(crate) guid: Guid,
    /// IEEE vendor ID, 24 bits.
    pub(crate) vendor_id: u32,
    /// Part ID, defined by the vendor.
    pub(crate) device_id: u32,
    /// Version of the part.
    pub(crate) device_version: u16,
    /// IEEE vendor ID of the subsystem, 24 bits.
    pub(crate) subsystem_vendor_id: u32,
    /// Subsystem ID, defined by the vendor.
    pub(crate) subsystem_id: u32,
    /// I/O class; depends on the revision of SRP.
    pub(crate) io_class: u16,
    /// I/O subclass, [`IO_SUBCLASS`].
    pub(crate) io_subclass: u16,
    /// Protocol, [`PROTOCOL`].
    pub(crate) protocol: u16,
    /// Version of the protocol, [`PROTOCOL_VERSION`].
    pub(crate) protocol_version: u16,
    /// Largest number of outstanding messages.
    pub(crate) send_queue_depth: u16,
    /// Largest number of outstanding RDMA READs.
    pub(crate) rdma_read_depth: u8,
    /// Largest message, in bytes.
    pub(crate) send_size: u32,
    /// Largest transfer, in bytes.
    pub(crate) rdma_size: u32,
    /// Operations of the controller, see [`operation`].
    pub(crate) operations: u8,
    /// Number of service entries.
    pub(crate) services: u8,
    /// Text, padded with zeroes; not terminated if it fills the field.
    pub(crate) id: [u8; ID_SIZE],
}

impl IocProfile {
    /// Returns the profile of an SRP target (annex B.7 of the standard).
    pub(crate) fn srp_target(controller: &Controller, services: u8) -> Self {
        Self {
            guid: controller.service_guid,
            vendor_id: controller.vendor_id,
            device_id: controller.device_id,
            device_version: controller.device_version,
            subsystem_vendor_id: controller.vendor_id,
            subsystem_id: 0,
            io_class: REV16A_IB_IO_CLASS,
            io_subclass: IO_SUBCLASS,
            protocol: PROTOCOL,
            protocol_version: PROTOCOL_VERSION,
            send_queue_depth: controller.send_queue_depth,
            rdma_read_depth: controller.rdma_read_depth,
            send_size: controller.send_size,
            rdma_size: controller.rdma_size,
            operations: operation::SEND_TO
                | operation::SEND_FROM
                | operation::READ_FROM
                | operation::WRITE_FROM,
            services,
            id: padded(controller.name.as_str()),
        }
    }

    /// Parses the attribute.
    pub(crate) fn parse(data: &[u8; DATA_SIZE]) -> Self {
        let data = view(data);
        Self {
            guid: Guid(data.be64::<0>()),
            vendor_id: data.be32::<8>() >> 8,
            device_id: data.be32::<12>(),
            device_version: data.be16::<16>(),
            subsystem_vendor_id: data.be32::<20>() >> 8,
            subsystem_id: data.be32::<24>(),
            io_class: data.be16::<28>(),
            io_subclass: data.be16::<30>(),
            protocol: data.be16::<32>(),
            protocol_version: data.be16::<34>(),
            send_queue_depth: data.be16::<40>(),
            rdma_read_depth: data.u8::<43>(),
            send_size: data.be32::<44>(),
            rdma_size: data.be32::<48>(),
            operations: data.u8::<52>(),
            services: data.u8::<54>(),
            id: data.array::<64, ID_SIZE>(),
        }
    }

    /// Emits the attribute. Of the vendor IDs, only 24 bits are kept: they are followed by a
    /// reserved byte (which the C driver has in front of them).
    pub(crate) fn emit(&self) -> [u8; DATA_SIZE] {
        Image::new()
            .be64::<0>(self.guid.0)
            .be32::<8>(self.vendor_id << 8)
            .be32::<12>(self.device_id)
            .be16::<16>(self.device_version)
            .be32::<20>(self.subsystem_vendor_id << 8)
            .be32::<24>(self.subsystem_id)
            .be16::<28>(self.io_class)
            .be16::<30>(self.io_subclass)
            .be16::<32>(self.protocol)
            .be16::<34>(self.protocol_version)
            .be16::<40>(self.send_queue_depth)
            .u8::<43>(self.rdma_read_depth)
            .be32::<44>(self.send_size)
            .be32::<48>(self.rdma_size)
            .u8::<52>(self.operations)
            .u8::<54>(self.services)
            .array::<64, ID_SIZE>(self.id)
            .into_bytes()
    }
}

/// Size of the name of a service, in bytes.
const NAME_SIZE: usize = 40;

/// Size of a service entry, in bytes.
const ENTRY_SIZE: usize = NAME_SIZE + 8;

/// A service of an I/O controller (a service entry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceEntry {
    /// Name, padded with zeroes; not terminated if it fills the field.
    pub(crate) name: [u8; NAME_SIZE],
    /// Service ID to connect to.
    pub(crate) id: u64,
}

impl ServiceEntry {
    /// An unused entry.
    const EMPTY: Self = Self {
        name: [0; NAME_SIZE],
        id: 0,
    };

    /// Returns the service of an SRP target: its name contains the id extension, which is the
    /// service GUID here; its ID is the one that the connection manager listens on.
    pub(crate) fn srp_target(guid: Guid) -> Self {
        let text = NameBuf::<NAME_SIZE>::from_display(ServiceName(guid)).unwrap_or(NameBuf::new());
        Self {
            name: padded(text.as_str()),
            id: guid.0,
        }
    }
}

/// Displays the name of the service of an SRP target.
struct ServiceName(Guid);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SRP.T10:{:016x}", self.0 .0)
    }
}

/// Up to four services of a controller (ServiceEntries).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceEntries(pub(crate) [ServiceEntry; Self::COUNT]);

impl Default for ServiceEntries {
    fn default() -> Self {
        Self([ServiceEntry::EMPTY; Self::COUNT])
    }
}

impl ServiceEntries {
    /// Number of entries in a datagram.
    pub(crate) const COUNT: usize = 4;

    /// Returns a list with a single service as its first entry.
    pub(crate) const fn only(service: ServiceEntry) -> Self {
        let empty = ServiceEntry::EMPTY;
        Self([service, empty, empty, empty])
    }

    /// Parses the attribute.
    pub(crate) fn parse(data: &[u8; DATA_SIZE]) -> Self {
        let mut entries = Self::default();
        for (entry, bytes) in entries.0.iter_mut().zip(data.chunks_exact(ENTRY_SIZE)) {
            if let (Some(name), Some(id)) = (codec::array(bytes, 0), codec::be64(bytes, NAME_SIZE))
            {
                *entry = ServiceEntry { name, id };
            }
        }
        entries
    }

    /// Emits the attribute.
    pub(crate) fn emit(&self) -> [u8; DATA_SIZE] {
        const { assert!(Self::COUNT * ENTRY_SIZE == DATA_SIZE) }
        let mut data = [0; DATA_SIZE];
        for (bytes, entry) in data.chunks_exact_mut(ENTRY_SIZE).zip(self.0.iter()) {
            if let Some((name, id)) = bytes.split_first_chunk_mut::<NAME_SIZE>() {
                *name = entry.name;
                // Both have eight bytes.
                let _ = codec::put(id, 0, &entry.id.to_be_bytes());
            }
        }
        data
    }
}

/// Returns a view of an attribute.
fn view(data: &[u8; DATA_SIZE]) -> View<'_, DATA_SIZE> {
    View::of(data)
}

/// Returns a text in a field of fixed size, cut off if it is too long.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    field
}
