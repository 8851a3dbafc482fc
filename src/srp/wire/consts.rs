// SPDX-License-Identifier: GPL-2.0
//! Constants of the SRP protocol and limits of this target.
//!
//! Opcodes, sizes, flag bits and code tables shared by several codecs. Source: `include/scsi/srp.h`
//! (T10 SRP revision 16a); the limits are those of the in-tree `ib_srpt` driver, whose
//! configurations must keep working.
//!
//! Not here: field offsets (the codec of each information unit).

use super::codec::wire_enum;

/// Opcodes, the first byte of every information unit except the RDMA/CM login request.
///
/// Bit 7 is set if the target sends the information unit, bit 6 if it is a response.
pub(crate) mod opcode {
    /// Login request, carried by the connection manager.
    pub(crate) const LOGIN_REQ: u8 = 0x00;
    /// Task management request.
    pub(crate) const TSK_MGMT: u8 = 0x01;
    /// SCSI command request.
    pub(crate) const CMD: u8 = 0x02;
    /// Initiator logout request.
    pub(crate) const I_LOGOUT: u8 = 0x03;
    /// Credit response, to [`CRED_REQ`].
    pub(crate) const CRED_RSP: u8 = 0x41;
    /// Asynchronous event response, to [`AER_REQ`].
    pub(crate) const AER_RSP: u8 = 0x42;
    /// Target logout request.
    pub(crate) const T_LOGOUT: u8 = 0x80;
    /// Credit request.
    pub(crate) const CRED_REQ: u8 = 0x81;
    /// Asynchronous event request.
    pub(crate) const AER_REQ: u8 = 0x82;
    /// Login response, carried by the connection manager.
    pub(crate) const LOGIN_RSP: u8 = 0xc0;
    /// Response to a command or to a task management request.
    pub(crate) const RSP: u8 = 0xc1;
    /// Login reject, carried by the connection manager.
    pub(crate) const LOGIN_REJ: u8 = 0xc2;

    /// Bit that marks an information unit sent by a target.
    pub(crate) const FROM_TARGET: u8 = 0x80;
    /// Bit that marks a response.
    pub(crate) const RESPONSE: u8 = 0x40;
}

/// Sizes of the information units, without their variable part.
pub(crate) mod size {
    /// Smallest information unit: opcode, seven bytes, tag.
    pub(crate) const HEADER: usize = 16;
    /// Login request as carried by the InfiniBand CM.
    pub(crate) const LOGIN_REQ: usize = 64;
    /// Login request as carried by the RDMA/CM.
    pub(crate) const LOGIN_REQ_RDMA: usize = 56;
    /// Login response.
    pub(crate) const LOGIN_RSP: usize = 52;
    /// Login reject.
    pub(crate) const LOGIN_REJ: usize = 32;
    /// SCSI command without additional CDB and data descriptors.
    pub(crate) const CMD: usize = 48;
    /// Task management request.
    pub(crate) const TSK_MGMT: usize = 48;
    /// Response without response data and sense data.
    pub(crate) const RSP: usize = 36;
    /// Response data, which is present if a response code is.
    pub(crate) const RSP_DATA: usize = 4;
    /// Asynchronous event request without sense data.
    pub(crate) const AER_REQ: usize = 36;
    /// Initiator logout request.
    pub(crate) const I_LOGOUT: usize = HEADER;
    /// Target logout request.
    pub(crate) const T_LOGOUT: usize = HEADER;
    /// Credit request.
    pub(crate) const CRED_REQ: usize = HEADER;
    /// Credit response.
    pub(crate) const CRED_RSP: usize = HEADER;
    /// Asynchronous event response.
    pub(crate) const AER_RSP: usize = HEADER;
    /// One memory descriptor (`struct srp_direct_buf`).
    pub(crate) const DIRECT_BUF: usize = 16;
    /// Indirect descriptor without its inline list (`struct srp_indirect_buf`).
    pub(crate) const INDIRECT_BUF: usize = 20;
    /// Immediate data descriptor (`struct srp_imm_buf`).
    pub(crate) const IMM_BUF: usize = 4;
}

/// Limits of this target, with the values of the in-tree driver where it has the same limit.
pub(crate) mod limit {
    use super::size;

    /// Smallest accepted maximum size of an initiator-to-target information unit.
    pub(crate) const MIN_MAX_REQ_SIZE: u32 = 996;
    /// Default maximum size of an initiator-to-target information unit.
    pub(crate) const DEFAULT_MAX_REQ_SIZE: u32 = 8276;
    /// Smallest request size that an initiator may request at login.
    pub(crate) const MIN_REQ_IT_IU_LEN: u32 = 64;
    /// Smallest size of a target-to-initiator information unit: a response with response data.
    pub(crate) const MIN_MAX_RSP_SIZE: u32 = 40;
    /// Default size of a target-to-initiator information unit.
    pub(crate) const DEFAULT_MAX_RSP_SIZE: u32 = 256;
    /// Largest size of a target-to-initiator information unit.
    pub(crate) const MAX_MAX_RSP_SIZE: u32 = 1024;
    /// Smallest and default value of the advertised largest transfer.
    pub(crate) const DEFAULT_MAX_RDMA_SIZE: u32 = 65536;
    /// Largest value of the advertised largest transfer.
    pub(crate) const MAX_MAX_RDMA_SIZE: u32 = 1 << 24;
    /// Default send queue size. The C driver's is 4096; here larger transfers are posted in parts.
    pub(crate) const DEFAULT_SQ_SIZE: u32 = 256;
    /// Send queue size below which no channel is set up.
    pub(crate) const MIN_SQ_SIZE: u32 = 16;
    /// Smallest send queue size that can be configured.
    pub(crate) const MIN_CONFIG_SQ_SIZE: u32 = 4;
    /// Largest send queue size that can be configured.
    pub(crate) const MAX_CONFIG_SQ_SIZE: u32 = 65535;
    /// Largest receive queue size, hence the largest request limit of a channel.
    pub(crate) const MAX_RQ_SIZE: u32 = 128;
    /// Requests that the target may have under way on a channel, one of each kind that has a
    /// response: a credit request and an asynchronous event request. As many receive buffers are
    /// needed for the responses, which cost no credit.
    pub(crate) const TARGET_REQUESTS: u32 = 2;
    /// Largest number of outstanding RDMA READs of a channel.
    pub(crate) const MAX_RDMA_READS: u8 = 4;
    /// Smallest shared receive queue size.
    pub(crate) const MIN_SRQ_SIZE: u32 = 4;
    /// Default shared receive queue size.
    pub(crate) const DEFAULT_SRQ_SIZE: u32 = 4095;
    /// Largest shared receive queue size.
    pub(crate) const MAX_SRQ_SIZE: u32 = 65535;
    /// Smallest offset of immediate data: the fixed part of a command comes first.
    pub(crate) const MIN_IMM_DATA_OFFSET: u16 = 48;
    /// Largest offset of immediate data that is granted.
    pub(crate) const MAX_IMM_DATA_OFFSET: u16 = 80;
    /// Offset of immediate data that `ib_srp` asks for: a CDB of 32 bytes and the descriptor come
    /// first.
    // CAST: 48 fits.
    pub(crate) const IMM_DATA_OFFSET_LINUX: u16 = size::CMD as u16 + 16 + 4;
    /// Amount of immediate data that fits in the default request size.
    pub(crate) const MAX_IMM_DATA: u32 = 8192;
    /// Largest number of inline memory descriptors per direction: the count field has eight bits.
    pub(crate) const MAX_DESC: usize = 255;
    /// Largest descriptor table that is fetched from the initiator, in bytes: 4096 descriptors,
    /// one per page of the largest transfer.
    pub(crate) const MAX_TABLE_LEN: u32 = 65536;
    /// Largest number of descriptors that Linux puts into a table (`SG_MAX_SEGMENTS`).
    pub(crate) const LINUX_TABLE_DESCS: u32 = 2048;

    const _: () = assert!(size::CMD == 48 && MIN_IMM_DATA_OFFSET == 48);
    // The default fits a command with 16 additional CDB bytes and 128 descriptors, and one with
    // the largest immediate data.
    const _: () = assert!(size::CMD + 16 + size::INDIRECT_BUF + 128 * size::DIRECT_BUF == 2132);
    const _: () = assert!(80 + 4 + MAX_IMM_DATA == DEFAULT_MAX_REQ_SIZE);
    const _: () = assert!(size::RSP + size::RSP_DATA == 40 && MIN_MAX_RSP_SIZE == 40);
    // The minimum leaves room for 57 inline descriptors.
    const _: () = assert!(size::CMD + 16 + size::INDIRECT_BUF + 57 * size::DIRECT_BUF == 996);
    const _: () = assert!(MIN_MAX_REQ_SIZE == 996);
}

/// Data buffer descriptor formats negotiated at login (`req_buf_fmt`, `buf_fmt`).
pub(crate) mod buf_fmt {
    /// Direct data buffer descriptors.
    pub(crate) const DIRECT: u16 = 1 << 1;
    /// Indirect data buffer descriptors.
    pub(crate) const INDIRECT: u16 = 1 << 2;
    /// Formats supported by this target.
    pub(crate) const SUPPORTED: u16 = DIRECT | INDIRECT;
}

/// Data buffer descriptor formats of a command, one per nibble of its format byte.
pub(crate) mod desc_fmt {
    /// No data in this direction.
    pub(crate) const NONE: u8 = 0;
    /// One memory descriptor.
    pub(crate) const DIRECT: u8 = 1;
    /// A table of memory descriptors.
    pub(crate) const INDIRECT: u8 = 2;
    /// The data itself is part of the information unit (SRP-2, data-out only).
    pub(crate) const IMMEDIATE: u8 = 3;
}

/// Flags of login requests and responses.
pub(crate) mod login_flag {
    /// Request: multi-channel action; response: multi-channel result.
    pub(crate) const MULTICHANNEL_MASK: u8 = 0x03;
    /// Request: raise a solicited event for a target logout.
    pub(crate) const LOSOLNT: u8 = 0x10;
    /// Request: raise a solicited event for a credit request.
    pub(crate) const CRSOLNT: u8 = 0x20;
    /// Request: raise a solicited event for an asynchronous event request.
    pub(crate) const AESOLNT: u8 = 0x40;
    /// Request: immediate data wanted; response: immediate data supported (SRP-2).
    pub(crate) const IMMEDIATE: u8 = 0x80;
}

/// Validity flags of a response.
pub(crate) mod rsp_flag {
    /// Response data is present.
    pub(crate) const RSPVALID: u8 = 1 << 0;
    /// Sense data is present.
    pub(crate) const SNSVALID: u8 = 1 << 1;
    /// The data-out residual count is an overflow.
    pub(crate) const DOOVER: u8 = 1 << 2;
    /// The data-out residual count is an underflow.
    pub(crate) const DOUNDER: u8 = 1 << 3;
    /// The data-in residual count is an overflow.
    pub(crate) const DIOVER: u8 = 1 << 4;
    /// The data-in residual count is an underflow.
    pub(crate) const DIUNDER: u8 = 1 << 5;
}

/// I/O class of a controller that follows revision 10 of the standard.
pub(crate) const REV10_IB_IO_CLASS: u16 = 0xff00;
/// I/O class of a controller that follows revision 16a of the standard.
pub(crate) const REV16A_IB_IO_CLASS: u16 = 0x0100;

/// Solicited notification bit of information units sent by a target.
pub(crate) const SOLNT: u8 = 0x01;

/// The solicited notification byte of a command or task management request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SolNot(pub(crate) u8);

impl SolNot {
    /// Raise a solicited event for the response to a request that succeeded (SCSOLNT).
    pub(crate) const SUCCESS: u8 = 0x02;
    /// Raise a solicited event for the response to a request that failed (UCSOLNT).
    pub(crate) const FAILURE: u8 = 0x04;

    /// Returns whether the response to this request is to raise a solicited event.
    pub(crate) const fn wants(self, success: bool) -> bool {
        let bit = if success {
            Self::SUCCESS
        } else {
            Self::FAILURE
        };
        self.0 & bit != 0
    }
}

wire_enum! {
    /// Why a login was refused.
    pub(crate) enum RejectReason: u32 {
        /// The channel could not be established, for no other reason in this list.
        UnableEstablishChannel = 0x0001_0000,
        /// The target has not enough resources.
        InsufficientResources = 0x0001_0001,
        /// The requested initiator-to-target information unit size is out of range.
        ReqItIuLengthTooLarge = 0x0001_0002,
        /// The channel cannot be associated with the named target port.
        UnableAssociateChannel = 0x0001_0003,
        /// No required data buffer descriptor format is supported.
        UnsupportedDescriptorFmt = 0x0001_0004,
        /// The multi-channel action is not supported.
        MultiChannelUnsupported = 0x0001_0005,
        /// No more channels for this initiator; also sent if no entry admits it.
        ChannelLimitReached = 0x0001_0006,
    }
}

wire_enum! {
    /// Why the target logs out.
    ///
    /// Not in `scsi/srp.h`. Only the codes on which independent transcriptions of the standard
    /// (those of iPXE and SilverStorm) agree are listed; from 5 on they do not.
    pub(crate) enum TLogoutReason: u32 {
        /// No reason given.
        NoReason = 0,
        /// The channel was inactive and its resources are needed.
        Inactive = 1,
        /// An information unit with an invalid type code was received.
        InvalidIuType = 2,
        /// A response without an outstanding request was received.
        SpuriousResponse = 3,
        /// A new login requested that existing channels be terminated.
        MultiChannelAction = 4,
    }
}

wire_enum! {
    /// Response code, the last byte of the response data.
    pub(crate) enum RspCode: u8 {
        /// No failure, or task management function complete.
        Complete = 0x00,
        /// The fields of the request are invalid.
        FieldsInvalid = 0x02,
        /// The task management function is not supported.
        NotSupported = 0x04,
        /// The task management function failed.
        Failed = 0x05,
    }
}
