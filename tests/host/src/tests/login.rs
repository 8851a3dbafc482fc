// SPDX-License-Identifier: GPL-2.0
//! Tests of the login information units and of the login decision.

use super::hex;
use crate::srp::wire::codec::Malformed;
use crate::srp::wire::consts::{
    limit,
    RejectReason, //
};
use crate::srp::wire::ident::{
    Guid,
    PortId, //
};
use crate::srp::wire::login::*;
use proptest::prelude::*;

const GUID: Guid = Guid(0x0002_c903_000a_bcd0);

fn initiator() -> PortId {
    PortId::from_halves(Guid(0x1111_1111_2222_2222), Guid(0x0002_c903_000a_bcd1))
}

/// What the Linux initiator sends for its second channel, with default parameters.
fn request() -> LoginReq {
    LoginReq {
        tag: 0x0102_0304_0506_0708,
        req_it_iu_len: 8260,
        buf_fmt: 6,
        multichannel: MultiChannel::Multi,
        solicit_logout: false,
        solicit_credit: false,
        solicit_event: false,
        imm_requested: true,
        imm_data_offset: 68,
        initiator_port: initiator(),
        target_port: PortId::from_halves(GUID, GUID),
    }
}

fn policy() -> LoginPolicy {
    LoginPolicy {
        enabled: true,
        service_guid: GUID,
        max_req_size: limit::DEFAULT_MAX_REQ_SIZE,
        max_rsp_size: limit::DEFAULT_MAX_RSP_SIZE,
        rq_size: limit::MAX_RQ_SIZE,
        immediate: true,
    }
}

fn request_ib() -> Vec<u8> {
    hex("00 00000000000000          // opcode, reserved
         0102030405060708           // tag
         00002044 00000000          // req_it_iu_len, reserved
         0006 81 00                 // req_buf_fmt, req_flags, reserved
         0044 0000                  // imm_data_offset, reserved
         1111111122222222 0002c903000abcd1
         0002c903000abcd0 0002c903000abcd0")
}

fn request_rdma() -> Vec<u8> {
    hex("0102030405060708           // tag
         0006 81 00                 // req_buf_fmt, req_flags, opcode
         00002044                   // req_it_iu_len
         1111111122222222 0002c903000abcd1
         0002c903000abcd0 0002c903000abcd0
         0044 000000000000          // imm_data_offset, reserved")
}

#[test]
fn request_vectors() {
    assert_eq!(request_ib().len(), 64);
    assert_eq!(request_rdma().len(), 56);
    assert_eq!(LoginReq::parse_ib(&request_ib()), Ok(request()));
    assert_eq!(LoginReq::parse_rdma(&request_rdma()), Ok(request()));
    assert_eq!(request().emit_ib().as_slice(), request_ib());
    assert_eq!(request().emit_rdma().as_slice(), request_rdma());
}

#[test]
fn request_padding_is_ignored() {
    let mut bytes = request_ib();
    bytes.resize(92, 0xff);
    assert_eq!(LoginReq::parse_ib(&bytes), Ok(request()));
    let mut bytes = request_rdma();
    bytes.resize(196, 0xff);
    assert_eq!(LoginReq::parse_rdma(&bytes), Ok(request()));
}

#[test]
fn request_malformed() {
    for len in 0..64 {
        assert_eq!(
            LoginReq::parse_ib(&request_ib()[..len]),
            Err(Malformed::Truncated {
                need: 64,
                have: len
            })
        );
    }
    for len in 0..56 {
        assert_eq!(
            LoginReq::parse_rdma(&request_rdma()[..len]),
            Err(Malformed::Truncated {
                need: 56,
                have: len
            })
        );
    }
    let opcode = Malformed::Opcode { want: 0, got: 2 };
    let mut bytes = request_ib();
    bytes[0] = 2;
    assert_eq!(LoginReq::parse_ib(&bytes), Err(opcode));
    let mut bytes = request_rdma();
    bytes[11] = 2;
    assert_eq!(LoginReq::parse_rdma(&bytes), Err(opcode));
}

#[test]
fn request_flags() {
    let parse = |flags| {
        let mut bytes = request_ib();
        bytes[26] = flags;
        LoginReq::parse_ib(&bytes).unwrap()
    };
    assert_eq!(parse(0).multichannel, MultiChannel::Single);
    assert_eq!(parse(1).multichannel, MultiChannel::Multi);
    assert_eq!(parse(2).multichannel, MultiChannel::Reserved(2));
    assert_eq!(parse(0xff).multichannel, MultiChannel::Reserved(3));
    assert!(parse(0x10).solicit_logout && !parse(!0x10).solicit_logout);
    assert!(parse(0x20).solicit_credit && !parse(!0x20).solicit_credit);
    assert!(parse(0x40).solicit_event && !parse(!0x40).solicit_event);
    assert!(parse(0x80).imm_requested && !parse(!0x80).imm_requested);
}

#[test]
fn response_vector() {
    let rsp = LoginRsp {
        tag: 0x0102_0304_0506_0708,
        req_lim_delta: 128,
        max_it_iu_len: 8276,
        max_ti_iu_len: 256,
        buf_fmt: 6,
        multichannel: MultiChannelResult::Maintained,
        imm_supported: true,
    };
    let bytes = hex(
        "c0 000000 00000080        // opcode, reserved, req_lim_delta
                     0102030405060708          // tag
                     00002054 00000100         // max_it_iu_len, max_ti_iu_len
                     0006 82 00                // buf_fmt, rsp_flags, reserved
                     000000000000000000000000000000000000000000000000",
    );
    assert_eq!(bytes.len(), 52);
    assert_eq!(rsp.emit().as_slice(), bytes);
    assert_eq!(LoginRsp::parse(&bytes), Ok(rsp));

    let mut padded = bytes.clone();
    padded.resize(196, 0xff);
    assert_eq!(LoginRsp::parse(&padded), Ok(rsp));
    assert!(LoginRsp::parse(&bytes[..51]).is_err());

    let mut reserved = bytes.clone();
    reserved[26] = 0x83;
    assert_eq!(
        LoginRsp::parse(&reserved),
        Err(Malformed::Field("rsp_flags"))
    );
    let mut reject = bytes;
    reject[0] = 0xc2;
    assert!(LoginRsp::parse(&reject).is_err());
}

#[test]
fn reject_vector() {
    let rej = LoginRej::new(0x0102_0304_0506_0708, RejectReason::UnableAssociateChannel);
    let bytes = hex("c2 000000 00010003        // opcode, reserved, reason
                     0102030405060708          // tag
                     0000000000000000          // reserved
                     0006 000000000000         // buf_fmt, reserved");
    assert_eq!(bytes.len(), 32);
    assert_eq!(rej.emit().as_slice(), bytes);
    assert_eq!(LoginRej::parse(&bytes), Ok(rej));
    assert!(LoginRej::parse(&bytes[..31]).is_err());
    // The in-tree target is known to send reason 0.
    let mut odd = bytes;
    odd[4..8].fill(0);
    assert_eq!(LoginRej::parse(&odd).unwrap().reason, 0);
}

#[test]
fn reject_codes() {
    let codes: Vec<u32> = RejectReason::ALL.iter().map(|r| r.code()).collect();
    assert_eq!(codes, (0x10000..=0x10006).collect::<Vec<_>>());
    for &reason in RejectReason::ALL {
        assert_eq!(RejectReason::from_code(reason.code()), Some(reason));
    }
    assert_eq!(RejectReason::from_code(0), None);
    assert_eq!(RejectReason::from_code(0x10007), None);
}

#[test]
fn granted_login() {
    let grant = decide(&request(), &policy()).unwrap();
    assert_eq!(
        grant,
        LoginGrant {
            max_it_iu_len: 8260,
            max_ti_iu_len: 256,
            req_lim: 128,
            buf_fmt: 6,
            imm_offset: Some(68),
        }
    );
    let rsp = LoginRsp::granted(7, &grant, MultiChannelResult::NoChannel);
    assert_eq!((rsp.tag, rsp.req_lim_delta), (7, 128));
    assert_eq!((rsp.max_it_iu_len, rsp.max_ti_iu_len), (8260, 256));
    assert!(rsp.imm_supported);

    // A limit that does not fit in a delta is not announced as a negative one.
    let huge = LoginGrant {
        req_lim: u32::MAX,
        ..grant
    };
    let rsp = LoginRsp::granted(7, &huge, MultiChannelResult::NoChannel);
    assert_eq!(rsp.req_lim_delta, i32::MAX);
}

/// Each check alone, at its boundaries.
#[test]
fn rejected_logins() {
    let check = |change: &dyn Fn(&mut LoginReq, &mut LoginPolicy)| {
        let (mut req, mut pol) = (request(), policy());
        change(&mut req, &mut pol);
        decide(&req, &pol).err()
    };

    let too_large = Some(RejectReason::ReqItIuLengthTooLarge);
    assert_eq!(check(&|r, _| r.req_it_iu_len = 0), too_large);
    assert_eq!(check(&|r, _| r.req_it_iu_len = 63), too_large);
    assert_eq!(check(&|r, _| r.req_it_iu_len = 64), None);
    assert_eq!(check(&|r, _| r.req_it_iu_len = 8276), None);
    assert_eq!(check(&|r, _| r.req_it_iu_len = 8277), too_large);
    assert_eq!(check(&|r, _| r.req_it_iu_len = u32::MAX), too_large);

    let disabled = Some(RejectReason::InsufficientResources);
    assert_eq!(check(&|_, p| p.enabled = false), disabled);

    let other = Guid(GUID.0 + 1);
    let wrong_port = Some(RejectReason::UnableAssociateChannel);
    assert_eq!(
        check(&|r, _| r.target_port = PortId::from_halves(other, GUID)),
        wrong_port
    );
    assert_eq!(
        check(&|r, _| r.target_port = PortId::from_halves(GUID, other)),
        wrong_port
    );

    // Initiators swap the bytes of this field (0x0200) or leave it empty; nobody else looks at it.
    for buf_fmt in [0, 1, 2, 4, 6, 0x0200, 0xfff9, 0xffff] {
        assert_eq!(check(&|r, _| r.buf_fmt = buf_fmt), None);
    }
    for action in [
        MultiChannel::Single,
        MultiChannel::Multi,
        MultiChannel::Reserved(2),
        MultiChannel::Reserved(3),
    ] {
        assert_eq!(check(&|r, _| r.multichannel = action), None);
    }
}

#[test]
fn what_it_listens_to() {
    let single = LoginReq {
        multichannel: MultiChannel::Single,
        imm_requested: false,
        solicit_credit: false,
        solicit_event: false,
        solicit_logout: false,
        ..request()
    };
    let able = |req: &LoginReq| {
        let takes = req.takes(Requests::Able);
        (takes.credit, takes.event, takes.logout)
    };
    assert_eq!(able(&single), (false, false, false));
    let changes: [(fn(&mut LoginReq), (bool, bool, bool)); 5] = [
        (|r| r.solicit_credit = true, (true, false, true)),
        (|r| r.solicit_event = true, (false, true, true)),
        (|r| r.solicit_logout = true, (false, false, true)),
        (|r| r.imm_requested = true, (true, false, true)),
        (
            |r| r.multichannel = MultiChannel::Multi,
            (true, false, true),
        ),
    ];
    for (change, expected) in changes {
        let mut req = single;
        change(&mut req);
        assert_eq!(able(&req), expected);
        // Whatever it asks for.
        let takes = req.takes(Requests::None);
        assert_eq!(
            (takes.credit, takes.event, takes.logout),
            (false, false, false)
        );
        let takes = req.takes(Requests::All);
        assert_eq!(
            (takes.credit, takes.event, takes.logout),
            (true, true, true)
        );
    }
    assert_eq!(Requests::from_number(3), None);
}

#[test]
fn immediate_data_negotiation() {
    let offset = |change: &dyn Fn(&mut LoginReq, &mut LoginPolicy)| {
        let (mut req, mut pol) = (request(), policy());
        change(&mut req, &mut pol);
        decide(&req, &pol).unwrap().imm_offset
    };
    assert_eq!(offset(&|_, _| ()), Some(68));
    assert_eq!(offset(&|r, _| r.imm_requested = false), None);
    assert_eq!(offset(&|_, p| p.immediate = false), None);
    assert_eq!(offset(&|r, _| r.imm_data_offset = 47), None);
    assert_eq!(offset(&|r, _| r.imm_data_offset = 48), Some(48));
    assert_eq!(offset(&|r, _| r.imm_data_offset = 80), Some(80));
    assert_eq!(offset(&|r, _| r.imm_data_offset = 81), None);
    assert_eq!(offset(&|r, _| r.imm_data_offset = u16::MAX), None);
    // There must be room for data.
    assert_eq!(offset(&|r, _| r.req_it_iu_len = 68), None);
    assert_eq!(offset(&|r, _| r.req_it_iu_len = 69), Some(68));
}

#[test]
fn response_size_is_honest() {
    let size = |req_it_iu_len, max_rsp_size| {
        let req = LoginReq {
            req_it_iu_len,
            ..request()
        };
        let pol = LoginPolicy {
            max_rsp_size,
            ..policy()
        };
        decide(&req, &pol).unwrap().max_ti_iu_len
    };
    assert_eq!(size(8260, 256), 256);
    assert_eq!(size(100, 256), 100);
    assert_eq!(size(8260, 40), 40);
    assert_eq!(size(8260, 0), 40);
}

#[test]
fn multichannel_outcomes() {
    use MultiChannel::{
        Multi,
        Reserved,
        Single, //
    };
    use MultiChannelResult::{
        Maintained,
        NoChannel,
        Terminated, //
    };
    for n in [1, 2, usize::MAX] {
        assert_eq!(multichannel_outcome(Single, n), (Terminated, true));
        assert_eq!(multichannel_outcome(Multi, n), (Maintained, false));
        assert_eq!(multichannel_outcome(Reserved(2), n), (Maintained, false));
    }
    for action in [Single, Multi, Reserved(3)] {
        assert_eq!(multichannel_outcome(action, 0), (NoChannel, false));
    }
}

prop_compose! {
    fn any_request()(
        tag: u64,
        req_it_iu_len in prop_oneof![any::<u32>(), 0u32..9000],
        buf_fmt in prop_oneof![any::<u16>(), Just(6u16)],
        flags: u8,
        imm_data_offset in prop_oneof![any::<u16>(), 40u16..100],
        ini: [u8; 16],
        tgt in prop_oneof![any::<[u8; 16]>(), Just(PortId::from_halves(GUID, GUID).0)],
    ) -> LoginReq {
        LoginReq {
            tag,
            req_it_iu_len,
            buf_fmt,
            multichannel: match flags & 3 {
                0 => MultiChannel::Single,
                1 => MultiChannel::Multi,
                n => MultiChannel::Reserved(n),
            },
            solicit_logout: flags & 0x10 != 0,
            solicit_credit: flags & 0x20 != 0,
            solicit_event: flags & 0x40 != 0,
            imm_requested: flags & 0x80 != 0,
            imm_data_offset,
            initiator_port: PortId(ini),
            target_port: PortId(tgt),
        }
    }
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), zero_opcode: bool) {
        let mut bytes = bytes;
        if zero_opcode {
            for at in [0, 11] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 0;
                }
            }
        }
        if let Ok(req) = LoginReq::parse_ib(&bytes) {
            let _ = decide(&req, &policy());
        }
        if let Ok(req) = LoginReq::parse_rdma(&bytes) {
            let _ = decide(&req, &policy());
        }
        let _ = LoginRsp::parse(&bytes);
        let _ = LoginRej::parse(&bytes);
    }

    #[test]
    fn request_round_trip(req in any_request()) {
        prop_assert_eq!(LoginReq::parse_ib(&req.emit_ib()), Ok(req));
        prop_assert_eq!(LoginReq::parse_rdma(&req.emit_rdma()), Ok(req));
    }

    #[test]
    fn answer_round_trip(
        tag: u64, req_lim_delta: i32, max_it_iu_len: u32, max_ti_iu_len: u32, buf_fmt: u16,
        result in 0u8..3, imm_supported: bool, reason: u32,
    ) {
        let multichannel = MultiChannelResult::from_code(result).unwrap();
        let rsp = LoginRsp {
            tag, req_lim_delta, max_it_iu_len, max_ti_iu_len, buf_fmt, multichannel, imm_supported,
        };
        prop_assert_eq!(LoginRsp::parse(&rsp.emit()), Ok(rsp));
        let rej = LoginRej { tag, reason, buf_fmt };
        prop_assert_eq!(LoginRej::parse(&rej.emit()), Ok(rej));
    }

    /// The decision is the first failed check; a grant stays within the policy.
    #[test]
    fn decision_matches_model(
        req in any_request(), enabled: bool, immediate: bool,
        max_req_size in 996u32..10000, max_rsp_size in 40u32..=1024,
    ) {
        let pol = LoginPolicy { enabled, immediate, max_req_size, max_rsp_size, ..policy() };
        let target = [GUID.to_be_bytes(), GUID.to_be_bytes()].concat();
        let checks = [
            (req.req_it_iu_len >= 64 && req.req_it_iu_len <= max_req_size, 0x10002),
            (enabled, 0x10001),
            (req.target_port.0.as_slice() == target, 0x10003),
        ];
        let expected = checks.iter().find(|(ok, _)| !ok).map(|&(_, code)| code);
        match decide(&req, &pol) {
            Err(reason) => prop_assert_eq!(Some(reason.code()), expected),
            Ok(grant) => {
                prop_assert_eq!(None, expected);
                prop_assert!(grant.max_ti_iu_len >= 40);
                prop_assert!(grant.max_ti_iu_len <= max_rsp_size);
                prop_assert!(grant.max_ti_iu_len <= req.req_it_iu_len);
                let imm = immediate && req.imm_requested
                    && req.imm_data_offset >= 48 && req.imm_data_offset <= 80
                    && u32::from(req.imm_data_offset) < req.req_it_iu_len;
                prop_assert_eq!(grant.imm_offset, imm.then_some(req.imm_data_offset));
                let longest = if imm { req.req_it_iu_len } else { max_req_size };
                prop_assert_eq!(grant.max_it_iu_len, longest);
            }
        }
    }
}
