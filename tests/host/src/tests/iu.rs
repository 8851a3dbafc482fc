// SPDX-License-Identifier: GPL-2.0
//! Tests of the dispatch of received information units.

use super::{
    desc_bytes,
    CmdBytes, //
};
use crate::srp::wire::cmd::CmdErrorKind;
use crate::srp::wire::codec::Malformed;
use crate::srp::wire::consts::{
    RspCode,
    SolNot, //
};
use crate::srp::wire::ctrl::{
    AerRsp,
    CredRsp,
    ILogout, //
};
use crate::srp::wire::desc::DataDesc;
use crate::srp::wire::iu::*;
use proptest::prelude::*;

const TAG: u64 = 0x0011_2233_4455_6677;

/// An information unit of `len` bytes with the given opcode and [`TAG`].
fn bytes(opcode: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = opcode;
    bytes[8..16].copy_from_slice(&TAG.to_be_bytes());
    bytes.truncate(len);
    bytes
}

#[test]
fn requests_and_responses() {
    let command = CmdBytes::default().build();
    let iu = Iu::parse(&command, None).unwrap();
    assert!(matches!(iu, Iu::Cmd(cmd) if cmd.cdb == b"0123456789abcdef"));
    assert!(iu.consumes_credit());
    assert_eq!(iu.tag(), TAG);

    let tsk_mgmt = bytes(0x01, 48);
    let iu = Iu::parse(&tsk_mgmt, None).unwrap();
    assert!(matches!(iu, Iu::TskMgmt(_)));
    assert!(iu.consumes_credit());
    assert_eq!(iu.tag(), TAG);

    for (opcode, expected, credit) in [
        (0x03, Iu::ILogout(ILogout { tag: TAG }), true),
        (0x41, Iu::CredRsp(CredRsp { tag: TAG }), false),
        (0x42, Iu::AerRsp(AerRsp { tag: TAG }), false),
    ] {
        let bytes = bytes(opcode, 16);
        let iu = Iu::parse(&bytes, None).unwrap();
        assert_eq!(iu, expected);
        assert_eq!(iu.tag(), TAG);
        assert_eq!(iu.consumes_credit(), credit);
    }
}

#[test]
fn immediate_offset_is_passed_on() {
    let bytes = CmdBytes {
        formats: 0x30,
        tail: [2u32.to_be_bytes().to_vec(), vec![0; 16], vec![7, 8]].concat(),
        ..CmdBytes::default()
    }
    .build();
    assert!(Iu::parse(&bytes, Some(68)).is_ok());
    assert!(Iu::parse(&bytes, None).is_err());
}

#[test]
fn too_short_for_a_tag() {
    for opcode in [0x01, 0x02, 0x03, 0x41, 0xff] {
        for len in 0..16 {
            let error = Iu::parse(&bytes(opcode, len), None).unwrap_err();
            assert_eq!(error, IuError::TooShort { have: len });
            assert!(matches!(error.answer(), Answer::Disconnect));
            assert!(!error.consumes_credit());
        }
    }
}

#[test]
fn invalid_requests_are_answered() {
    let answer = Answer::Respond {
        tag: TAG,
        sol_not: SolNot(4),
        rsp_code: RspCode::FieldsInvalid,
    };
    for opcode in [0x01, 0x02] {
        for len in 16..48 {
            let mut bytes = bytes(opcode, len);
            bytes[1] = 4;
            let error = Iu::parse(&bytes, None).unwrap_err();
            let truncated = Malformed::Truncated {
                need: 48,
                have: len,
            };
            let kind = match opcode {
                1 => InvalidKind::TskMgmt(truncated),
                _ => InvalidKind::Cmd(CmdErrorKind::Malformed(truncated)),
            };
            assert_eq!(
                error,
                IuError::Invalid {
                    tag: TAG,
                    opcode,
                    sol_not: SolNot(4),
                    kind
                }
            );
            assert_eq!(error.answer(), answer);
            assert!(error.consumes_credit());
        }
    }
}

/// A command whose descriptor table is elsewhere is not an error.
#[test]
fn external_table() {
    let mut tail = desc_bytes(0x1000, 1, 32);
    tail.extend(8192u32.to_be_bytes());
    let bytes = CmdBytes {
        formats: 0x20,
        tail,
        ..CmdBytes::default()
    }
    .build();
    let Ok(Iu::Cmd(cmd)) = Iu::parse(&bytes, None) else {
        panic!("not a command");
    };
    assert!(matches!(cmd.data, DataDesc::External(_)));
    assert_eq!(cmd.dir(), Some(crate::srp::wire::desc::Dir::Out));
    assert_eq!(cmd.data_len(), 8192);
}

/// All other opcodes end the channel; those the protocol defines are told from the rest.
#[test]
fn every_other_opcode() {
    let disconnect = Answer::Disconnect;
    for opcode in 0..=255 {
        if [0x01, 0x02, 0x03, 0x41, 0x42].contains(&opcode) {
            continue;
        }
        let error = Iu::parse(&bytes(opcode, 64), Some(48)).unwrap_err();
        let tag = TAG;
        let expected = if [0x00, 0xc0, 0xc1, 0xc2, 0x80, 0x81, 0x82].contains(&opcode) {
            IuError::UnsolicitedOpcode { tag, opcode }
        } else {
            IuError::UnknownOpcode { tag, opcode }
        };
        assert_eq!(error, expected);
        assert_eq!(error.answer(), disconnect);
        assert!(!error.consumes_credit());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any bytes are parsed, answered or a reason to disconnect; the tag is never invented.
    #[test]
    fn total(
        opcode in prop_oneof![any::<u8>(), 0u8..4],
        rest in prop::collection::vec(any::<u8>(), 0..400), imm: Option<u16>,
    ) {
        let mut bytes = vec![opcode];
        bytes.extend(rest);
        let tag = bytes.get(8..16).map(|b| u64::from_be_bytes(b.try_into().unwrap()));
        match Iu::parse(&bytes, imm) {
            Ok(iu) => prop_assert_eq!(Some(iu.tag()), tag),
            Err(error) => match error.answer() {
                Answer::Respond { tag: to, .. } => {
                    prop_assert_eq!(Some(to), tag);
                    prop_assert!(opcode == 1 || opcode == 2);
                }
                Answer::Disconnect => prop_assert!(tag.is_none() || opcode != 2),
            },
        }
    }
}
