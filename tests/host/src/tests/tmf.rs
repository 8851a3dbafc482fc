// SPDX-License-Identifier: GPL-2.0
//! Tests of the task management request.

use super::hex;
use crate::srp::wire::codec::Malformed;
use crate::srp::wire::consts::{
    RspCode,
    SolNot, //
};
use crate::srp::wire::ident::Lun;
use crate::srp::wire::tmf::*;
use proptest::prelude::*;

fn abort_task() -> Vec<u8> {
    hex("01 06 000000000000      // opcode, sol_not, reserved
         0000000080010000        // tag
         00000000                // reserved
         0002000000000000        // lun
         0000 01 00              // reserved, function, reserved
         0000000000010042        // task_tag
         0000000000000000")
}

#[test]
fn vector() {
    let tm = TskMgmt {
        tag: 0x8001_0000,
        sol_not: SolNot(6),
        lun: Lun([0, 2, 0, 0, 0, 0, 0, 0]),
        function: TmFunction::AbortTask,
        task_tag: 0x10042,
    };
    assert_eq!(abort_task().len(), 48);
    assert_eq!(TskMgmt::parse(&abort_task()), Ok(tm));
    assert_eq!(tm.emit().as_slice(), abort_task());
}

#[test]
fn functions() {
    for code in 0..=255 {
        let expected = match code {
            1 => TmFunction::AbortTask,
            2 => TmFunction::AbortTaskSet,
            4 => TmFunction::ClearTaskSet,
            8 => TmFunction::LunReset,
            0x40 => TmFunction::ClearAca,
            other => TmFunction::Unknown(other),
        };
        let mut bytes = abort_task();
        bytes[30] = code;
        let function = TskMgmt::parse(&bytes).unwrap().function;
        assert_eq!(function, expected);
        assert_eq!(function.code(), code);
    }
}

#[test]
fn response_codes() {
    let codes: Vec<u8> = TmfResponse::ALL.iter().map(|c| c.code()).collect();
    assert_eq!(codes, [0, 2, 4, 5]);
    assert_eq!(RspCode::from_code(5), Some(TmfResponse::Failed));
    assert_eq!(RspCode::from_code(1), None);
}

#[test]
fn malformed() {
    let bytes = abort_task();
    for len in 0..48 {
        assert_eq!(
            TskMgmt::parse(&bytes[..len]),
            Err(TmfError {
                tag: (len >= 16).then_some(0x8001_0000),
                kind: Malformed::Truncated {
                    need: 48,
                    have: len
                },
            })
        );
    }
    let mut bytes = bytes;
    bytes[0] = 2;
    assert_eq!(
        TskMgmt::parse(&bytes).unwrap_err().kind,
        Malformed::Opcode { want: 1, got: 2 }
    );
}

proptest! {
    #[test]
    fn round_trip(tag: u64, sol_not: u8, lun: [u8; 8], function: u8, task_tag: u64) {
        let tm = TskMgmt {
            tag,
            sol_not: SolNot(sol_not),
            lun: Lun(lun),
            function: TmFunction::from_code(function),
            task_tag,
        };
        prop_assert_eq!(TskMgmt::parse(&tm.emit()), Ok(tm));
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = TskMgmt::parse(&bytes);
    }
}
