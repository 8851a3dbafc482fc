// SPDX-License-Identifier: GPL-2.0
//! Tests of the response, in particular of the limits of its buffer.

use super::hex;
use crate::srp::wire::codec::{
    Malformed,
    NoSpace, //
};
use crate::srp::wire::rsp::*;
use proptest::prelude::*;

/// Emits into a buffer of `size` bytes full of garbage, followed by a guard zone.
fn emit(rsp: &Rsp<'_>, size: usize) -> Result<Vec<u8>, NoSpace> {
    const GUARD: usize = 64;
    let mut buf = vec![0xa5; size + GUARD];
    let len = rsp.emit(&mut buf[..size])?;
    assert!(len <= size);
    assert!(
        buf[len..].iter().all(|&b| b == 0xa5),
        "wrote beyond the returned length"
    );
    Ok(buf[..len].to_vec())
}

#[test]
fn good_status_vector() {
    let rsp = Rsp {
        tag: 0x10042,
        req_lim_delta: 3,
        ..Rsp::default()
    };
    let bytes = hex(
        "c1 00 0000 00000003      // opcode, sol_not, reserved, req_lim_delta
                     0000000000010042         // tag
                     0000 00 00               // reserved, flags, status
                     00000000 00000000        // residual counts
                     00000000 00000000        // sense_data_len, resp_data_len",
    );
    assert_eq!(bytes.len(), 36);
    assert_eq!(emit(&rsp, 256), Ok(bytes.clone()));
    assert_eq!(emit(&rsp, 36), Ok(bytes.clone()));
    assert_eq!(emit(&rsp, 35), Err(NoSpace));
    assert_eq!(Rsp::parse(&bytes), Ok(rsp));
}

#[test]
fn everything_vector() {
    let rsp = Rsp {
        tag: 0x0102_0304_0506_0708,
        sol_not: true,
        req_lim_delta: -1,
        status: 2,
        residual_out: Residual::Over(0x11),
        residual_in: Residual::Under(0x22),
        sense: &[0x70, 0, 5, 0],
        rsp_code: Some(5),
    };
    let bytes = hex("c1 01 0000 ffffffff
                     0102030405060708
                     0000 27 02
                     00000011 00000022
                     00000004 00000004
                     00000005                 // response data comes first
                     70000500                 // then sense data");
    assert_eq!(emit(&rsp, 1024), Ok(bytes.clone()));
    assert_eq!(Rsp::parse(&bytes), Ok(rsp));
}

#[test]
fn task_management_vector() {
    let rsp = Rsp {
        tag: 0x8000_0001,
        req_lim_delta: 1,
        rsp_code: Some(4),
        ..Rsp::default()
    };
    let bytes = hex("c1 00 0000 00000001 0000000080000001 0000 01 00
                     00000000 00000000 00000000 00000004 00000004");
    assert_eq!(bytes.len(), 40);
    assert_eq!(emit(&rsp, 40), Ok(bytes.clone()));
    assert_eq!(emit(&rsp, 39), Err(NoSpace));
    assert_eq!(Rsp::parse(&bytes), Ok(rsp));
}

#[test]
fn residual_flags() {
    let flags = |residual_out, residual_in| {
        let rsp = Rsp {
            residual_out,
            residual_in,
            ..Rsp::default()
        };
        let bytes = emit(&rsp, 36).unwrap();
        assert_eq!(Rsp::parse(&bytes), Ok(rsp));
        (bytes[18], bytes[23], bytes[27])
    };
    use Residual::{
        None,
        Over,
        Under, //
    };
    assert_eq!(flags(None, None), (0, 0, 0));
    assert_eq!(flags(Over(7), None), (0x04, 7, 0));
    assert_eq!(flags(Under(7), None), (0x08, 7, 0));
    assert_eq!(flags(None, Over(7)), (0x10, 0, 7));
    assert_eq!(flags(None, Under(7)), (0x20, 0, 7));
}

#[test]
fn residual_between() {
    assert_eq!(Residual::between(512, 512), Residual::None);
    assert_eq!(Residual::between(512, 500), Residual::Under(12));
    assert_eq!(Residual::between(500, 512), Residual::Over(12));
    assert_eq!(Residual::between(0, u32::MAX), Residual::Over(u32::MAX));
    assert_eq!(Residual::between(u32::MAX, 0), Residual::Under(u32::MAX));
}

/// Sense data is cut off at the end of the buffer, whatever the buffer is.
#[test]
fn sense_truncation() {
    let sense: Vec<u8> = (1..=96).collect();
    for (rsp_code, header) in [(None, 36), (Some(2), 40)] {
        let rsp = Rsp {
            status: 2,
            sense: &sense,
            rsp_code,
            ..Rsp::default()
        };
        for size in 0..160 {
            let Ok(bytes) = emit(&rsp, size) else {
                assert!(size < header);
                continue;
            };
            let kept = sense.len().min(size - header);
            assert_eq!(bytes.len(), header + kept);
            assert_eq!(bytes[header..], sense[..kept]);
            assert_eq!(bytes[28..32], u32::try_from(kept).unwrap().to_be_bytes());
            assert_eq!(bytes[18] & 2 != 0, kept != 0, "SNSVALID");
            assert_eq!(Rsp::parse(&bytes).unwrap().sense, &sense[..kept]);
        }
    }
}

#[test]
fn parse_refuses_lies() {
    let good = hex("c1 00 0000 00000001 0000000000000001 0000 03 02
                    00000000 00000000 00000002 00000004 00000000 7000");
    assert!(Rsp::parse(&good).is_ok());
    for len in 0..good.len() {
        assert!(matches!(
            Rsp::parse(&good[..len]),
            Err(Malformed::Truncated { .. })
        ));
    }
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = good.clone();
        for &(at, value) in changes {
            bytes[at] = value;
        }
        Rsp::parse(&bytes).map(|rsp| (rsp.rsp_code, rsp.sense.to_vec()))
    };
    // Lengths up to 4 GiB, whose sum wraps on 32-bit machines.
    assert!(with(&[(28, 0xff), (32, 0xff)]).is_err());
    assert!(with(&[(28, 0xff), (29, 0xff), (30, 0xff), (31, 0xff)]).is_err());
    // Response data without room for the code.
    assert_eq!(with(&[(35, 3)]), Err(Malformed::Field("resp_data_len")));
    // Response data that is longer than usual: the sense data moves.
    assert_eq!(with(&[(35, 5), (31, 1)]), Ok((Some(0), vec![0])));
    // Over and under at the same time.
    assert_eq!(
        with(&[(18, 0x0f)]),
        Err(Malformed::Field("data_out_res_cnt"))
    );
    assert_eq!(
        with(&[(18, 0x33)]),
        Err(Malformed::Field("data_in_res_cnt"))
    );
    // Lengths without their flag mean nothing.
    assert_eq!(with(&[(18, 0)]), Ok((None, vec![])));
    assert!(with(&[(0, 0xc0)]).is_err());
}

fn any_residual() -> impl Strategy<Value = Residual> {
    prop_oneof![
        Just(Residual::None),
        any::<u32>().prop_map(Residual::Under),
        any::<u32>().prop_map(Residual::Over),
    ]
}

proptest! {
    /// Round trip, except for sense data that does not fit.
    #[test]
    fn round_trip(
        tag: u64, sol_not: bool, req_lim_delta: i32, status: u8,
        residual_out in any_residual(), residual_in in any_residual(),
        sense in prop::collection::vec(any::<u8>(), 0..300),
        rsp_code: Option<u8>, size in 0usize..400,
    ) {
        let rsp = Rsp {
            tag, sol_not, req_lim_delta, status, residual_out, residual_in,
            sense: &sense, rsp_code,
        };
        let need = 36 + if rsp_code.is_some() { 4 } else { 0 };
        match emit(&rsp, size) {
            Err(NoSpace) => prop_assert!(size < need),
            Ok(bytes) => {
                prop_assert_eq!(bytes.len(), size.min(need + sense.len()));
                let sense = &sense[..bytes.len() - need];
                prop_assert_eq!(Rsp::parse(&bytes), Ok(Rsp { sense, ..rsp }));
            }
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), small: bool) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = 0xc1;
        }
        if small && bytes.len() >= 36 {
            bytes[28..31].fill(0);
            bytes[32..35].fill(0);
        }
        let _ = Rsp::parse(&bytes);
    }
}
