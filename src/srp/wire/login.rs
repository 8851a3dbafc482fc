// SPDX-License-Identifier: GPL-2.0
//! Login: request, response and reject, and the decision between the latter two.
//!
//! The three information units are private data of the connection manager; the InfiniBand CM and
//! the RDMA/CM use different layouts of the request and the same layouts of response and reject.
//! [`decide`] makes every check that requires neither memory nor the SCSI engine.
//!
//! Source: `struct srp_login_req`, `srp_login_req_rdma`, `srp_login_rsp` and `srp_login_rej` in
//! `include/scsi/srp.h`; the order of the checks is that of the in-tree driver.
//!
//! Not here: access control and resource allocation (the driver, which maps their failures to a
//! [`RejectReason`]).

use super::{
    codec::{
        wire_enum,
        Image,
        Malformed,
        View, //
    },
    consts::{
        buf_fmt,
        limit,
        login_flag,
        opcode,
        size,
        RejectReason, //
    },
    ident::{
        Guid,
        PortId, //
    }, //
};

/// Multi-channel action: what a login request demands for existing channels of the same I_T nexus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MultiChannel {
    /// Terminate them.
    Single,
    /// Keep them.
    Multi,
    /// A reserved action.
    Reserved(u8),
}

impl MultiChannel {
    /// Extracts the action from the flags of a login request.
    const fn from_flags(flags: u8) -> Self {
        match flags & login_flag::MULTICHANNEL_MASK {
            0 => Self::Single,
            1 => Self::Multi,
            other => Self::Reserved(other),
        }
    }

    /// Returns the action as part of the flags of a login request.
    const fn to_flags(self) -> u8 {
        match self {
            Self::Single => 0,
            Self::Multi => 1,
            Self::Reserved(other) => other & login_flag::MULTICHANNEL_MASK,
        }
    }
}

wire_enum! {
    /// What the target did with existing channels of the same I_T nexus.
    pub(crate) enum MultiChannelResult: u8 {
        /// There were none.
        NoChannel = 0,
        /// They were terminated.
        Terminated = 1,
        /// They continue to operate.
        Maintained = 2,
    }
}

/// Returns the multi-channel result for a new login, and whether the existing channels of its I_T
/// nexus are to be terminated.
#[must_use = "the other channels have to be closed"]
pub(crate) const fn multichannel_outcome(
    action: MultiChannel,
    existing_channels: usize,
) -> (MultiChannelResult, bool) {
    match (action, existing_channels) {
        (_, 0) => (MultiChannelResult::NoChannel, false),
        (MultiChannel::Single, _) => (MultiChannelResult::Terminated, true),
        // The harmless outcome of reserved actions is to keep channels.
        (MultiChannel::Multi | MultiChannel::Reserved(_), _) => {
            (MultiChannelResult::Maintained, false)
        }
    }
}

/// A login request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoginReq {
    /// Tag to be echoed in the response or reject.
    pub(crate) tag: u64,
    /// Size of the largest information unit that the initiator requests to send.
    pub(crate) req_it_iu_len: u32,
    /// Data buffer descriptor formats the initiator needs, see [`buf_fmt`].
    pub(crate) buf_fmt: u16,
    /// What to do with existing channels.
    pub(crate) multichannel: MultiChannel,
    /// The initiator requests a solicited event for a target logout.
    pub(crate) solicit_logout: bool,
    /// The initiator requests a solicited event for credit requests.
    pub(crate) solicit_credit: bool,
    /// The initiator requests a solicited event for asynchronous event requests.
    pub(crate) solicit_event: bool,
    /// The initiator requests to send immediate data.
    pub(crate) imm_requested: bool,
    /// Offset of immediate data in a command.
    pub(crate) imm_data_offset: u16,
    /// Initiator port identifier.
    pub(crate) initiator_port: PortId,
    /// Target port identifier.
    pub(crate) target_port: PortId,
}

impl LoginReq {
    /// Parses the 64-byte form sent through the InfiniBand CM. Padding may follow.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or not a login request.
    pub(crate) fn parse_ib(buf: &[u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::LOGIN_REQ }>::new(buf)?;
        iu.expect_opcode::<0>(opcode::LOGIN_REQ)?;
        Ok(Self {
            tag: iu.be64::<8>(),
            req_it_iu_len: iu.be32::<16>(),
            buf_fmt: iu.be16::<24>(),
            imm_data_offset: iu.be16::<28>(),
            initiator_port: PortId(iu.array::<32, 16>()),
            target_port: PortId(iu.array::<48, 16>()),
            ..Self::from_flags(iu.u8::<26>())
        })
    }

    /// Parses the 56-byte form sent through the RDMA/CM. Padding may follow.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or not a login request.
    pub(crate) fn parse_rdma(buf: &[u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::LOGIN_REQ_RDMA }>::new(buf)?;
        iu.expect_opcode::<11>(opcode::LOGIN_REQ)?;
        Ok(Self {
            tag: iu.be64::<0>(),
            req_it_iu_len: iu.be32::<12>(),
            buf_fmt: iu.be16::<8>(),
            imm_data_offset: iu.be16::<48>(),
            initiator_port: PortId(iu.array::<16, 16>()),
            target_port: PortId(iu.array::<32, 16>()),
            ..Self::from_flags(iu.u8::<10>())
        })
    }

    /// Returns which requests of the target the initiator gets.
    ///
    /// With [`Requests::Able`] these are the ones that it requests a solicited event for.
    /// SRP_CRED_REQ and SRP_T_LOGOUT go also to initiators with a feature that only those request
    /// which handle both (several channels, immediate data: Linux from 3.19 and 5.1 on, which has
    /// handled them since 2.6.38). SRP_T_LOGOUT, which wants no response, goes to all that request
    /// a solicited event, so that they tell requests from responses. Others may take any
    /// information unit for a response.
    pub(crate) fn takes(&self, policy: Requests) -> Takes {
        let modern = self.imm_requested || self.multichannel == MultiChannel::Multi;
        match policy {
            Requests::None => Takes {
                credit: false,
                event: false,
                logout: false,
            },
            Requests::Able => Takes {
                credit: self.solicit_credit || modern,
                event: self.solicit_event,
                logout: self.solicit_logout || self.solicit_credit || self.solicit_event || modern,
            },
            Requests::All => Takes {
                credit: true,
                event: true,
                logout: true,
            },
        }
    }

    /// Emits the form for the InfiniBand CM.
    pub(crate) fn emit_ib(&self) -> [u8; size::LOGIN_REQ] {
        Image::new()
            .u8::<0>(opcode::LOGIN_REQ)
            .be64::<8>(self.tag)
            .be32::<16>(self.req_it_iu_len)
            .be16::<24>(self.buf_fmt)
            .u8::<26>(self.flags())
            .be16::<28>(self.imm_data_offset)
            .array::<32, 16>(self.initiator_port.0)
            .array::<48, 16>(self.target_port.0)
            .into_bytes()
    }

    /// Emits the form for the RDMA/CM.
    pub(crate) fn emit_rdma(&self) -> [u8; size::LOGIN_REQ_RDMA] {
        Image::new()
            .be64::<0>(self.tag)
            .be16::<8>(self.buf_fmt)
            .u8::<10>(self.flags())
            .u8::<11>(opcode::LOGIN_REQ)
            .be32::<12>(self.req_it_iu_len)
            .array::<16, 16>(self.initiator_port.0)
            .array::<32, 16>(self.target_port.0)
            .be16::<48>(self.imm_data_offset)
            .into_bytes()
    }

    /// Returns a request in which only the fields encoded in the flags are set.
    const fn from_flags(flags: u8) -> Self {
        Self {
            tag: 0,
            req_it_iu_len: 0,
            buf_fmt: 0,
            multichannel: MultiChannel::from_flags(flags),
            solicit_logout: flags & login_flag::LOSOLNT != 0,
            solicit_credit: flags & login_flag::CRSOLNT != 0,
            solicit_event: flags & login_flag::AESOLNT != 0,
            imm_requested: flags & login_flag::IMMEDIATE != 0,
            imm_data_offset: 0,
            initiator_port: PortId([0; 16]),
            target_port: PortId([0; 16]),
        }
    }

    /// Returns the flags byte.
    const fn flags(&self) -> u8 {
        self.multichannel.to_flags()
            | flag_if(self.solicit_logout, login_flag::LOSOLNT)
            | flag_if(self.solicit_credit, login_flag::CRSOLNT)
            | flag_if(self.solicit_event, login_flag::AESOLNT)
            | flag_if(self.imm_requested, login_flag::IMMEDIATE)
    }
}

/// Returns `flag` if `set`, else zero.
const fn flag_if(set: bool, flag: u8) -> u8 {
    if set {
        flag
    } else {
        0
    }
}

/// Policy for requests of the target: which initiators get SRP_CRED_REQ, SRP_AER_REQ, SRP_T_LOGOUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requests {
    /// No initiator.
    None,
    /// Those that ask for them at login, or show that they handle them.
    Able,
    /// All.
    All,
}

impl Requests {
    /// Returns the policy with this number, as users write it.
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Able),
            2 => Some(Self::All),
            _ => None,
        }
    }
}

/// Requests of the target that an initiator gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Takes {
    /// SRP_CRED_REQ.
    pub(crate) credit: bool,
    /// SRP_AER_REQ.
    pub(crate) event: bool,
    /// SRP_T_LOGOUT.
    pub(crate) logout: bool,
}

/// The target port's policy for logins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginPolicy {
    /// The port accepts logins.
    pub(crate) enabled: bool,
    /// Service GUID, both halves of the target port identifier.
    pub(crate) service_guid: Guid,
    /// Largest information unit that can be received.
    pub(crate) max_req_size: u32,
    /// Largest information unit the port is configured to send.
    pub(crate) max_rsp_size: u32,
    /// Number of receive buffers of the new channel, hence its request limit.
    pub(crate) rq_size: u32,
    /// Immediate data can be received.
    pub(crate) immediate: bool,
}

/// The parameters of an accepted login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoginGrant {
    /// Largest information unit the initiator may send.
    pub(crate) max_it_iu_len: u32,
    /// Largest information unit the target will send.
    pub(crate) max_ti_iu_len: u32,
    /// Initial request limit.
    pub(crate) req_lim: u32,
    /// Supported data buffer descriptor formats.
    pub(crate) buf_fmt: u16,
    /// Offset of immediate data if requested and granted.
    pub(crate) imm_offset: Option<u16>,
}

/// Checks a login request against the policy of the port it arrived at.
///
/// # Errors
///
/// The first of these that applies:
/// - [`RejectReason::ReqItIuLengthTooLarge`]: `req_it_iu_len` is below 64 or above the policy;
/// - [`RejectReason::InsufficientResources`]: the port is disabled;
/// - [`RejectReason::UnableAssociateChannel`]: the target port identifier is not that of this
///   target (both halves are the service GUID, so the revision 10 layout, which swaps them, does
///   not differ).
///
/// The requested descriptor formats are not checked: some initiators swap the bytes of the field
/// (iPXE) or leave it empty, and use the formats in the response. Nor is a reserved multi-channel
/// action, which keeps the other channels. The in-tree driver checks neither.
pub(crate) fn decide(req: &LoginReq, policy: &LoginPolicy) -> Result<LoginGrant, RejectReason> {
    if !(limit::MIN_REQ_IT_IU_LEN..=policy.max_req_size).contains(&req.req_it_iu_len) {
        return Err(RejectReason::ReqItIuLengthTooLarge);
    }
    if !policy.enabled {
        return Err(RejectReason::InsufficientResources);
    }
    if req.target_port.halves() != (policy.service_guid, policy.service_guid) {
        return Err(RejectReason::UnableAssociateChannel);
    }

    // Immediate data is optional: if it is not possible the login succeeds without it.
    let imm_offset = Some(req.imm_data_offset).filter(|&offset| {
        policy.immediate
            && req.imm_requested
            && (limit::MIN_IMM_DATA_OFFSET..=limit::MAX_IMM_DATA_OFFSET).contains(&offset)
            && u32::from(offset) < req.req_it_iu_len
    });

    Ok(LoginGrant {
        // An initiator that asks for immediate data (Linux from 5.1 on) sends no more than it has
        // asked for, so its buffers are not larger. Others are not relied upon.
        max_it_iu_len: match imm_offset {
            Some(_) => req.req_it_iu_len,
            None => policy.max_req_size,
        },
        max_ti_iu_len: policy
            .max_rsp_size
            .min(req.req_it_iu_len)
            .max(limit::MIN_MAX_RSP_SIZE),
        req_lim: policy.rq_size,
        buf_fmt: buf_fmt::SUPPORTED,
        imm_offset,
    })
}

/// A login response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoginRsp {
    /// Tag of the request.
    pub(crate) tag: u64,
    /// Initial request limit.
    pub(crate) req_lim_delta: i32,
    /// Largest information unit the initiator may send.
    pub(crate) max_it_iu_len: u32,
    /// Largest information unit the target will send.
    pub(crate) max_ti_iu_len: u32,
    /// Data buffer descriptor formats the target supports.
    pub(crate) buf_fmt: u16,
    /// What happened to existing channels.
    pub(crate) multichannel: MultiChannelResult,
    /// Immediate data may be sent.
    pub(crate) imm_supported: bool,
}

impl LoginRsp {
    /// Returns the response that announces `grant`.
    pub(crate) fn granted(tag: u64, grant: &LoginGrant, multichannel: MultiChannelResult) -> Self {
        Self {
            tag,
            req_lim_delta: i32::try_from(grant.req_lim).unwrap_or(i32::MAX),
            max_it_iu_len: grant.max_it_iu_len,
            max_ti_iu_len: grant.max_ti_iu_len,
            buf_fmt: grant.buf_fmt,
            multichannel,
            imm_supported: grant.imm_offset.is_some(),
        }
    }

    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::LOGIN_RSP] {
        let flags = self.multichannel.code() | flag_if(self.imm_supported, login_flag::IMMEDIATE);
        Image::new()
            .u8::<0>(opcode::LOGIN_RSP)
            .be_i32::<4>(self.req_lim_delta)
            .be64::<8>(self.tag)
            .be32::<16>(self.max_it_iu_len)
            .be32::<20>(self.max_ti_iu_len)
            .be16::<24>(self.buf_fmt)
            .u8::<26>(flags)
            .into_bytes()
    }

    /// Parses the wire form. Padding may follow.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few, not a login response or carry a reserved
    /// multi-channel result.
    pub(crate) fn parse(buf: &[u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::LOGIN_RSP }>::new(buf)?;
        iu.expect_opcode::<0>(opcode::LOGIN_RSP)?;
        let flags = iu.u8::<26>();
        Ok(Self {
            tag: iu.be64::<8>(),
            req_lim_delta: iu.be_i32::<4>(),
            max_it_iu_len: iu.be32::<16>(),
            max_ti_iu_len: iu.be32::<20>(),
            buf_fmt: iu.be16::<24>(),
            multichannel: MultiChannelResult::from_code(flags & login_flag::MULTICHANNEL_MASK)
                .ok_or(Malformed::Field("rsp_flags"))?,
            imm_supported: flags & login_flag::IMMEDIATE != 0,
        })
    }
}

/// A login reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoginRej {
    /// Tag of the request.
    pub(crate) tag: u64,
    /// Reason code; some targets send values outside [`RejectReason`].
    pub(crate) reason: u32,
    /// Data buffer descriptor formats the target supports.
    pub(crate) buf_fmt: u16,
}

impl LoginRej {
    /// Returns the reject of a login request.
    pub(crate) const fn new(tag: u64, reason: RejectReason) -> Self {
        Self {
            tag,
            reason: reason.code(),
            buf_fmt: buf_fmt::SUPPORTED,
        }
    }

    /// Emits the wire form.
    pub(crate) fn emit(&self) -> [u8; size::LOGIN_REJ] {
        Image::new()
            .u8::<0>(opcode::LOGIN_REJ)
            .be32::<4>(self.reason)
            .be64::<8>(self.tag)
            .be16::<24>(self.buf_fmt)
            .into_bytes()
    }

    /// Parses the wire form. Padding may follow.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are too few or not a login reject.
    pub(crate) fn parse(buf: &[u8]) -> Result<Self, Malformed> {
        let iu = View::<{ size::LOGIN_REJ }>::new(buf)?;
        iu.expect_opcode::<0>(opcode::LOGIN_REJ)?;
        Ok(Self {
            tag: iu.be64::<8>(),
            reason: iu.be32::<4>(),
            buf_fmt: iu.be16::<24>(),
        })
    }
}
