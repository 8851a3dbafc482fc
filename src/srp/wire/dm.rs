// SPDX-License-Identifier: GPL-2.0
//! Device management: the management datagrams (MADs) by which initiators discover SRP targets.
//!
//! [`answer`] returns the response of a port's agent to a datagram; the layouts of the attributes
//! are in [`attr`].
//!
//! Sources: the InfiniBand Architecture Specification, 13.4 (datagrams) and 16.3 (device
//! management); SRP revision 16a, annex B.7 (what an I/O controller for SRP reports). Their numbers
//! are those of `include/rdma/ib_mad.h`, `drivers/infiniband/ulp/srpt/ib_dm_mad.h` and
//! `srp_daemon`.
//!
//! Not here: receiving and sending datagrams (the driver), and finding the ports to query (subnet
//! administration, by the initiator).

use super::{
    codec::{
        wire_enum,
        Image,
        Malformed,
        View, //
    },
    ident::{
        Guid,
        NameBuf, //
    }, //
};

pub(crate) mod attr;

use attr::{
    ClassPortInfo,
    IoUnitInfo,
    IocProfile,
    ServiceEntries,
    ServiceEntry,
    SlotState, //
};

/// Size of a management datagram.
pub(crate) const MAD_SIZE: usize = 256;

/// Size of the headers in front of the attribute: common header (24 bytes), header of multi-packet
/// transfers (12, not used) and 28 reserved bytes.
pub(crate) const HEADER_SIZE: usize = 64;

/// Size of the part of a datagram that holds an attribute.
pub(crate) const DATA_SIZE: usize = MAD_SIZE - HEADER_SIZE;

/// Management class of device management.
pub(crate) const CLASS: u8 = 0x06;

/// Version of the class and of the common header.
pub(crate) const VERSION: u8 = 1;

/// Bit of the method that marks a response.
const RESPONSE: u8 = 0x80;

/// Number of controller slots of the I/O unit, the same as that of the C driver.
pub(crate) const MAX_CONTROLLERS: u8 = 16;

/// Slot of the target's controller; slots count from 1.
pub(crate) const OUR_SLOT: u8 = 1;

/// Number of services of the controller.
const SERVICES: u8 = 1;

/// Change counter of the list of controllers. It is constant: the controller is present as long as
/// the agent, whether or not the target port is enabled.
const CHANGE_ID: u16 = 1;

/// Longest time to a response: 4.096 us * 2^20 = 4.3 s, as with the C driver.
const RESPONSE_TIME: u8 = 20;

/// Methods. Requests other than the first two are undefined in this class or have no response.
pub(crate) mod method {
    /// Reads an attribute.
    pub(crate) const GET: u8 = 0x01;
    /// Changes an attribute.
    pub(crate) const SET: u8 = 0x02;
    /// A datagram without a response.
    pub(crate) const SEND: u8 = 0x03;
    /// A notice, answered by [`TRAP_REPRESS`].
    pub(crate) const TRAP: u8 = 0x05;
    /// Stops the repetition of a [`TRAP`].
    pub(crate) const TRAP_REPRESS: u8 = 0x07;
    /// Response to [`GET`] and [`SET`].
    pub(crate) const GET_RESP: u8 = 0x81;
}

/// Attributes of this class.
pub(crate) mod attr_id {
    /// [`ClassPortInfo`](super::attr::ClassPortInfo).
    pub(crate) const CLASS_PORT_INFO: u16 = 0x0001;
    /// [`IoUnitInfo`](super::attr::IoUnitInfo).
    pub(crate) const IO_UNIT_INFO: u16 = 0x0010;
    /// [`IocProfile`](super::attr::IocProfile); the modifier is the slot.
    pub(crate) const IOC_PROFILE: u16 = 0x0011;
    /// [`ServiceEntries`](super::attr::ServiceEntries); the modifier is `slot << 16 | last << 8 |
    /// first`.
    pub(crate) const SERVICE_ENTRIES: u16 = 0x0012;
}

wire_enum! {
    /// Outcome of a request.
    pub(crate) enum Status: u16 {
        /// Success.
        Good = 0x0000,
        /// The class, or this version of it, is not supported.
        BadVersion = 0x0004,
        /// The method is not supported.
        UnsupportedMethod = 0x0008,
        /// The attribute is not supported, or not with this method.
        UnsupportedAttribute = 0x000c,
        /// A field of the attribute, or the attribute modifier, has an invalid value.
        InvalidField = 0x001c,
        /// There is no I/O controller in this slot.
        NoController = 0x0100,
        /// The I/O controller has no such service entries.
        NoServiceEntries = 0x0200,
    }
}

/// The common header of a management datagram, without reserved fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Version of management datagrams.
    pub(crate) base_version: u8,
    /// Management class.
    pub(crate) class: u8,
    /// Version of the class.
    pub(crate) class_version: u8,
    /// Method, see [`method`].
    pub(crate) method: u8,
    /// Status; [`Status`] has the values used here.
    pub(crate) status: u16,
    /// Transaction ID; echoed.
    pub(crate) tid: u64,
    /// Attribute, see [`attr_id`].
    pub(crate) attr_id: u16,
    /// Attribute modifier.
    pub(crate) attr_mod: u32,
}

impl Header {
    /// Returns the header of a device management request.
    pub(crate) const fn request(method: u8, tid: u64, attr_id: u16, attr_mod: u32) -> Self {
        Self {
            base_version: VERSION,
            class: CLASS,
            class_version: VERSION,
            method,
            status: 0,
            tid,
            attr_id,
            attr_mod,
        }
    }

    /// Parses the header of a datagram.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if `mad` is shorter than [`MAD_SIZE`], the size of every datagram.
    pub(crate) fn parse(mad: &[u8]) -> Result<Self, Malformed> {
        let mad = View::<MAD_SIZE>::new(mad)?;
        Ok(Self {
            base_version: mad.u8::<0>(),
            class: mad.u8::<1>(),
            class_version: mad.u8::<2>(),
            method: mad.u8::<3>(),
            status: mad.be16::<4>(),
            tid: mad.be64::<8>(),
            attr_id: mad.be16::<16>(),
            attr_mod: mad.be32::<20>(),
        })
    }

    /// Emits a datagram with this header and attribute. Everything else is zero.
    pub(crate) fn emit(&self, data: [u8; DATA_SIZE]) -> [u8; MAD_SIZE] {
        Image::new()
            .u8::<0>(self.base_version)
            .u8::<1>(self.class)
            .u8::<2>(self.class_version)
            .u8::<3>(self.method)
            .be16::<4>(self.status)
            .be64::<8>(self.tid)
            .be16::<16>(self.attr_id)
            .be32::<20>(self.attr_mod)
            .array::<HEADER_SIZE, DATA_SIZE>(data)
            .into_bytes()
    }
}

/// Returns the attribute of a datagram.
///
/// # Errors
///
/// [`Malformed::Truncated`] if `mad` is shorter than [`MAD_SIZE`].
pub(crate) fn data(mad: &[u8]) -> Result<[u8; DATA_SIZE], Malformed> {
    View::<MAD_SIZE>::new(mad).map(|mad| mad.array::<HEADER_SIZE, DATA_SIZE>())
}

/// A query: an attribute, and its modifier decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// Capabilities of the agent.
    ClassPortInfo,
    /// List of controllers.
    IoUnitInfo,
    /// The controller in a slot.
    IocProfile {
        /// Slot, from 1.
        slot: u32,
    },
    /// Services of the controller in a slot.
    ServiceEntries {
        /// Slot, from 1.
        slot: u16,
        /// First entry, from 0.
        first: u8,
        /// Last entry.
        last: u8,
    },
}

impl Query {
    /// Returns the query for an attribute; [`None`] if the attribute is not defined here.
    pub(crate) const fn new(attr_id: u16, attr_mod: u32) -> Option<Self> {
        let [a, b, last, first] = attr_mod.to_be_bytes();
        match attr_id {
            attr_id::CLASS_PORT_INFO => Some(Self::ClassPortInfo),
            attr_id::IO_UNIT_INFO => Some(Self::IoUnitInfo),
            attr_id::IOC_PROFILE => Some(Self::IocProfile { slot: attr_mod }),
            attr_id::SERVICE_ENTRIES => Some(Self::ServiceEntries {
                slot: u16::from_be_bytes([a, b]),
                first,
                last,
            }),
            _ => None,
        }
    }

    /// Returns the attribute and its modifier.
    pub(crate) const fn code(self) -> (u16, u32) {
        match self {
            Self::ClassPortInfo => (attr_id::CLASS_PORT_INFO, 0),
            Self::IoUnitInfo => (attr_id::IO_UNIT_INFO, 0),
            Self::IocProfile { slot } => (attr_id::IOC_PROFILE, slot),
            Self::ServiceEntries { slot, first, last } => {
                let [a, b] = slot.to_be_bytes();
                let modifier = u32::from_be_bytes([a, b, last, first]);
                (attr_id::SERVICE_ENTRIES, modifier)
            }
        }
    }
}

/// Why a datagram gets no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It is too short to be a datagram.
    Malformed(Malformed),
    /// It belongs to another class.
    OtherClass(u8),
    /// Its method is a response, or has none.
    NoRequest(u8),
}

/// The text that identifies a controller: at most 63 bytes and a NUL.
pub(crate) type ControllerName = NameBuf<{ attr::ID_SIZE }>;

/// The default text that identifies a controller, the same as that of the in-tree C driver.
pub(crate) const ID_TEXT: &str = "Linux SRP target";

/// The properties of a controller that differ between controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Controller {
    /// Service GUID of the target: identifies the controller, and is its id extension and the ID of
    /// its service.
    pub(crate) service_guid: Guid,
    /// IEEE vendor ID of the HCA, 24 bits.
    pub(crate) vendor_id: u32,
    /// Part ID of the HCA, defined by the vendor.
    pub(crate) device_id: u32,
    /// Version of the HCA.
    pub(crate) device_version: u16,
    /// Largest number of outstanding requests of a channel.
    pub(crate) send_queue_depth: u16,
    /// Largest number of outstanding RDMA READs of a channel at the initiator.
    pub(crate) rdma_read_depth: u8,
    /// Size of the largest request, in bytes.
    pub(crate) send_size: u32,
    /// Size of the largest transfer, in bytes.
    pub(crate) rdma_size: u32,
    /// The text that identifies it.
    pub(crate) name: ControllerName,
}

/// Returns the response to a received datagram.
///
/// # Errors
///
/// [`Silence`] if there is none. Responses get none, which could loop forever.
pub(crate) fn answer(mad: &[u8], controller: &Controller) -> Result<[u8; MAD_SIZE], Silence> {
    let request = Header::parse(mad).map_err(Silence::Malformed)?;
    if request.class != CLASS {
        return Err(Silence::OtherClass(request.class));
    }
    let has_answer = match request.method {
        method::SEND | method::TRAP | method::TRAP_REPRESS => false,
        method => method & RESPONSE == 0,
    };
    if !has_answer {
        return Err(Silence::NoRequest(request.method));
    }
    let method = match request.method {
        method::GET | method::SET => method::GET_RESP,
        other => other | RESPONSE,
    };
    let (status, data) = match respond(&request, controller) {
        Ok(data) => (Status::Good, data),
        Err(status) => (status, [0; DATA_SIZE]),
    };
    let response = Header {
        base_version: VERSION,
        class_version: VERSION,
        method,
        status: status.code(),
        ..request
    };
    Ok(response.emit(data))
}

/// Returns the attribute of the response to a request, or the error to report.
fn respond(request: &Header, controller: &Controller) -> Result<[u8; DATA_SIZE], Status> {
    if request.base_version != VERSION || request.class_version != VERSION {
        return Err(Status::BadVersion);
    }
    let query = Query::new(request.attr_id, request.attr_mod);
    match (request.method, query) {
        (method::GET, Some(query)) => get(query, controller),
        // No traps, so SET of ClassPortInfo cannot subscribe to any; no diagnostics.
        (method::GET, None) | (method::SET, _) => Err(Status::UnsupportedAttribute),
        _ => Err(Status::UnsupportedMethod),
    }
}

/// Returns the attribute of a query.
fn get(query: Query, controller: &Controller) -> Result<[u8; DATA_SIZE], Status> {
    match query {
        Query::ClassPortInfo => Ok(ClassPortInfo {
            capabilities: 0,
            response_time: RESPONSE_TIME,
        }
        .emit()),
        Query::IoUnitInfo => {
            let mut unit = IoUnitInfo::empty(CHANGE_ID, MAX_CONTROLLERS);
            unit.set(OUR_SLOT, SlotState::Present);
            Ok(unit.emit())
        }
        Query::IocProfile { slot } => {
            find_controller(slot)?;
            Ok(IocProfile::srp_target(controller, SERVICES).emit())
        }
        Query::ServiceEntries { slot, first, last } => {
            find_controller(slot.into())?;
            match last.checked_sub(first) {
                Some(span) if usize::from(span) < ServiceEntries::COUNT => {}
                _ => return Err(Status::InvalidField),
            }
            // The response has the entries in the order of the range. Those after the last one stay
            // empty: the C driver responds to such a range, too.
            if first >= SERVICES {
                return Err(Status::NoServiceEntries);
            }
            let service = ServiceEntry::srp_target(controller.service_guid);
            Ok(ServiceEntries::only(service).emit())
        }
    }
}

/// Checks that the target's controller is in this slot.
///
/// # Errors
///
/// [`Status::NoController`] if the slot is empty, [`Status::InvalidField`] if it does not exist.
fn find_controller(slot: u32) -> Result<(), Status> {
    match u8::try_from(slot) {
        Ok(OUR_SLOT) => Ok(()),
        Ok(1..=MAX_CONTROLLERS) => Err(Status::NoController),
        _ => Err(Status::InvalidField),
    }
}
