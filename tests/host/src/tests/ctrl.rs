// SPDX-License-Identifier: GPL-2.0
//! Tests of the control information units.

use super::hex;
use crate::srp::wire::codec::{
    Malformed,
    NoSpace, //
};
use crate::srp::wire::consts::TLogoutReason;
use crate::srp::wire::ctrl::*;
use crate::srp::wire::ident::Lun;
use proptest::prelude::*;

const TAG: u64 = 0x0102_0304_0506_0708;

#[test]
fn tag_only_vectors() {
    let bytes = |opcode| hex(&format!("{opcode:02x} 00000000000000 0102030405060708"));
    assert_eq!(ILogout { tag: TAG }.emit().as_slice(), bytes(0x03));
    assert_eq!(CredRsp { tag: TAG }.emit().as_slice(), bytes(0x41));
    assert_eq!(AerRsp { tag: TAG }.emit().as_slice(), bytes(0x42));
    assert_eq!(ILogout::parse(&bytes(0x03)), Ok(ILogout { tag: TAG }));
    assert_eq!(CredRsp::parse(&bytes(0x41)), Ok(CredRsp { tag: TAG }));
    assert_eq!(AerRsp::parse(&bytes(0x42)), Ok(AerRsp { tag: TAG }));

    assert_eq!(
        CredRsp::parse(&bytes(0x42)),
        Err(Malformed::Opcode {
            want: 0x41,
            got: 0x42
        })
    );
    assert_eq!(
        AerRsp::parse(&bytes(0x42)[..15]),
        Err(Malformed::Truncated { need: 16, have: 15 })
    );
}

#[test]
fn target_logout_vector() {
    let logout = TLogout {
        tag: TAG,
        sol_not: true,
        reason: TLogoutReason::MultiChannelAction.code(),
    };
    let bytes = hex("80 01 0000 00000004 0102030405060708");
    assert_eq!(logout.emit().as_slice(), bytes);
    assert_eq!(TLogout::parse(&bytes), Ok(logout));
    assert!(TLogout::parse(&bytes[..15]).is_err());
    let codes: Vec<u32> = TLogoutReason::ALL.iter().map(|r| r.code()).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4]);
}

#[test]
fn credit_request_vector() {
    let req = CredReq {
        tag: TAG,
        sol_not: false,
        req_lim_delta: 17,
    };
    let bytes = hex("81 00 0000 00000011 0102030405060708");
    assert_eq!(req.emit().as_slice(), bytes);
    assert_eq!(CredReq::parse(&bytes), Ok(req));
    assert!(CredReq::parse(&bytes[..15]).is_err());
}

#[test]
fn event_request_vector() {
    let req = AerReq {
        tag: TAG,
        sol_not: true,
        req_lim_delta: 1,
        lun: Lun([0x40, 9, 0, 0, 0, 0, 0, 0]),
        sense: &[0x72, 6, 0x3f, 0x0e],
    };
    let bytes = hex(
        "82 01 0000 00000001      // opcode, sol_not, reserved, req_lim_delta
                     0102030405060708         // tag
                     00000000                 // reserved
                     4009000000000000         // lun
                     00000004 00000000        // sense_data_len, reserved
                     72063f0e",
    );
    let mut buf = [0xa5; 64];
    assert_eq!(req.emit(&mut buf), Ok(40));
    assert_eq!(buf[..40], bytes);
    assert_eq!(buf[40..], [0xa5; 24]);
    assert_eq!(AerReq::parse(&bytes), Ok(req));
    for len in 0..40 {
        assert!(AerReq::parse(&bytes[..len]).is_err());
    }
    // Truncation of sense data.
    assert_eq!(req.emit(&mut buf[..38]), Ok(38));
    assert_eq!(AerReq::parse(&buf[..38]).unwrap().sense, &[0x72, 6]);
    assert_eq!(req.emit(&mut buf[..35]), Err(NoSpace));
}

proptest! {
    #[test]
    fn round_trips(
        tag: u64, sol_not: bool, req_lim_delta: i32, reason: u32, lun: [u8; 8],
        sense in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        prop_assert_eq!(ILogout::parse(&ILogout { tag }.emit()), Ok(ILogout { tag }));
        let logout = TLogout { tag, sol_not, reason };
        prop_assert_eq!(TLogout::parse(&logout.emit()), Ok(logout));
        let req = CredReq { tag, sol_not, req_lim_delta };
        prop_assert_eq!(CredReq::parse(&req.emit()), Ok(req));
        let req = AerReq { tag, sol_not, req_lim_delta, lun: Lun(lun), sense: &sense };
        let mut buf = [0; 256];
        let len = req.emit(&mut buf).unwrap();
        prop_assert_eq!(AerReq::parse(&buf[..len]), Ok(req));
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), opcode in 0usize..6) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = [0x03, 0x41, 0x42, 0x80, 0x81, 0x82][opcode];
        }
        let _ = ILogout::parse(&bytes);
        let _ = TLogout::parse(&bytes);
        let _ = CredReq::parse(&bytes);
        let _ = CredRsp::parse(&bytes);
        let _ = AerReq::parse(&bytes);
        let _ = AerRsp::parse(&bytes);
    }
}
