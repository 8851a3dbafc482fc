// SPDX-License-Identifier: GPL-2.0
//! Tests of the SCSI command request.

use super::{
    desc_bytes,
    hex,
    CmdBytes, //
};
use crate::srp::wire::cmd::*;
use crate::srp::wire::codec::Malformed;
use crate::srp::wire::consts::SolNot;
use crate::srp::wire::desc::{
    DataDesc,
    DescError,
    DescFault,
    DescParams,
    DescViolation,
    Dir, //
};
use crate::srp::wire::ident::Lun;
use proptest::prelude::*;

/// READ(10) of 8 blocks with one direct descriptor, as the Linux initiator sends it.
fn read_10() -> Vec<u8> {
    hex(
        "02 00 000000 01 00 00             // opcode, sol_not, reserved, buf_fmt, counts
         0000000000010042                  // tag
         00000000                          // reserved
         0003000000000000                  // lun
         00 00 00 00                       // reserved, task_attr, reserved, add_cdb_len
         28000000001000000800 000000000000 // cdb
         0000000012345000 0000beef 00001000",
    )
}

/// WRITE(10) with immediate data at offset 68, as the Linux initiator sends it.
fn write_10_immediate() -> Vec<u8> {
    hex("02 00 000000 30 00 00
         0000000000010043
         00000000
         0003000000000000
         00 00 00 00
         2a000000001000000100 000000000000
         00000008                          // immediate data length
         00000000000000000000000000000000  // padding up to offset 68
         0102030405060708")
}

fn kind(bytes: &[u8]) -> CmdErrorKind {
    Cmd::parse(bytes, None).unwrap_err().kind
}

#[test]
fn read_vector() {
    let bytes = read_10();
    let cmd = Cmd::parse(&bytes, None).unwrap();
    assert_eq!(cmd.tag, 0x10042);
    assert_eq!(cmd.sol_not, SolNot(0));
    assert_eq!(cmd.lun, Lun([0, 3, 0, 0, 0, 0, 0, 0]));
    assert_eq!(cmd.attr, TaskAttr::Simple);
    assert_eq!(cmd.cdb, hex("28000000001000000800 000000000000"));
    assert_eq!(cmd.dir(), Some(Dir::In));
    assert_eq!(cmd.data_len(), 4096);
    let DataDesc::In(list) = cmd.data else {
        panic!()
    };
    let desc = list.segments().next().unwrap();
    assert_eq!((desc.va, desc.key, desc.len), (0x1234_5000, 0xbeef, 4096));
}

#[test]
fn immediate_vector() {
    let bytes = write_10_immediate();
    assert_eq!(bytes.len(), 76);
    let cmd = Cmd::parse(&bytes, Some(68)).unwrap();
    assert_eq!(cmd.data, DataDesc::Immediate(&[1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!((cmd.dir(), cmd.data_len()), (Some(Dir::Out), 8));
    assert_eq!(
        kind(&bytes),
        CmdErrorKind::Desc(DescError::Violation(DescViolation::ImmediateNotNegotiated))
    );
    assert_eq!(
        Cmd::parse(&bytes[..75], Some(68)),
        Err(CmdError {
            tag: Some(0x10043),
            kind: CmdErrorKind::Desc(DescFault::ImmediateTruncated.into()),
        })
    );
}

#[test]
fn every_field() {
    let bytes = CmdBytes {
        tag: 0xffee_ddcc_bbaa_9988,
        sol_not: 0x06,
        lun: [1, 2, 3, 4, 5, 6, 7, 8],
        attr: 4,
        ..CmdBytes::default()
    }
    .build();
    assert_eq!(
        Cmd::parse(&bytes, None),
        Ok(Cmd {
            tag: 0xffee_ddcc_bbaa_9988,
            sol_not: SolNot(6),
            lun: Lun([1, 2, 3, 4, 5, 6, 7, 8]),
            attr: TaskAttr::Aca,
            cdb: b"0123456789abcdef",
            params: DescParams {
                offset: 48,
                formats: 0,
                out_count: 0,
                in_count: 0,
                imm_offset: None,
            },
            data: DataDesc::None,
        })
    );
}

#[test]
fn solicited_notification() {
    assert!(SolNot(2).wants(true) && !SolNot(2).wants(false));
    assert!(SolNot(4).wants(false) && !SolNot(4).wants(true));
    assert!(!SolNot(!6).wants(true) && !SolNot(!6).wants(false));
}

#[test]
fn task_attributes() {
    let attr = |attr| {
        let bytes = CmdBytes {
            attr,
            ..CmdBytes::default()
        }
        .build();
        Cmd::parse(&bytes, None).map(|c| c.attr).map_err(|e| e.kind)
    };
    assert_eq!(attr(0), Ok(TaskAttr::Simple));
    assert_eq!(attr(1), Ok(TaskAttr::HeadOfQueue));
    assert_eq!(attr(2), Ok(TaskAttr::Ordered));
    assert_eq!(attr(4), Ok(TaskAttr::Aca));
    // Reserved bits are ignored, reserved values are not.
    assert_eq!(attr(0xf9), Ok(TaskAttr::HeadOfQueue));
    for reserved in [3, 5, 6, 7] {
        assert_eq!(attr(reserved), Ok(TaskAttr::Ordered));
    }
}

/// The additional CDB bytes belong to the CDB, and the descriptor comes after them.
#[test]
fn additional_cdb() {
    for n in [4usize, 16, 252] {
        let mut bytes = CmdBytes {
            additional_cdb: (0..n).map(|i| u8::try_from(i).unwrap()).collect(),
            formats: 0x10,
            tail: desc_bytes(0x1000, 1, 512),
            ..CmdBytes::default()
        }
        .build();
        for low_bits in 0..4u8 {
            // The lower two bits are reserved.
            bytes[31] = u8::try_from(n).unwrap() | low_bits;
            let cmd = Cmd::parse(&bytes, None).unwrap();
            assert_eq!(cmd.cdb, &bytes[32..48 + n]);
            assert_eq!(cmd.data_len(), 512);
        }
        assert_eq!(
            kind(&bytes[..48 + n - 1]),
            CmdErrorKind::Malformed(Malformed::Truncated {
                need: 48 + n,
                have: 48 + n - 1
            })
        );
        assert_eq!(
            kind(&bytes[..48 + n + 15]),
            CmdErrorKind::Desc(DescFault::Truncated.into())
        );
    }
}

#[test]
fn truncated_at_every_length() {
    let bytes = read_10();
    for len in 0..bytes.len() {
        let error = Cmd::parse(&bytes[..len], None).unwrap_err();
        assert_eq!(error.tag, (len >= 16).then_some(0x10042));
        let expected = if len < 48 {
            CmdErrorKind::Malformed(Malformed::Truncated {
                need: 48,
                have: len,
            })
        } else {
            CmdErrorKind::Desc(DescFault::Truncated.into())
        };
        assert_eq!(error.kind, expected);
    }
    // Trailing bytes do no harm.
    let mut longer = bytes.clone();
    longer.push(0xff);
    assert_eq!(Cmd::parse(&longer, None), Cmd::parse(&bytes, None));
}

#[test]
fn wrong_opcode() {
    let mut bytes = read_10();
    bytes[0] = 1;
    assert_eq!(
        kind(&bytes),
        CmdErrorKind::Malformed(Malformed::Opcode { want: 2, got: 1 })
    );
}

#[test]
fn directions() {
    let parse = |formats, tail: Vec<u8>| {
        let bytes = CmdBytes {
            formats,
            tail,
            ..CmdBytes::default()
        }
        .build();
        Cmd::parse(&bytes, None).map(|c| (c.dir(), c.data_len()))
    };
    let (out, r#in) = (desc_bytes(0, 1, 100), desc_bytes(0, 2, 200));
    let both = [out.clone(), r#in].concat();
    assert_eq!(parse(0, vec![]), Ok((None, 0)));
    assert_eq!(parse(0x10, out.clone()), Ok((Some(Dir::Out), 100)));
    assert_eq!(parse(0x01, out), Ok((Some(Dir::In), 100)));
    assert_eq!(parse(0x11, both), Ok((None, 100)));
    assert_eq!(
        parse(0x03, vec![0; 16]).unwrap_err().kind,
        CmdErrorKind::Desc(
            DescFault::Format {
                dir: Dir::In,
                format: 3
            }
            .into()
        )
    );
}

/// The largest command there can be: everything at its maximum in both directions.
#[test]
fn largest_command() {
    let table = |base: u64| {
        let mut bytes = desc_bytes(0xfeed, 7, 255 * 16);
        bytes.extend((255 * 512u32).to_be_bytes());
        for i in 0..255 {
            bytes.extend(desc_bytes(base + i * 4096, 1, 512));
        }
        bytes
    };
    let bytes = CmdBytes {
        additional_cdb: vec![0xee; 252],
        formats: 0x22,
        out_count: 255,
        in_count: 255,
        tail: [table(0), table(1 << 40)].concat(),
        ..CmdBytes::default()
    }
    .build();
    assert_eq!(bytes.len(), 48 + 252 + 2 * (20 + 255 * 16));
    let cmd = Cmd::parse(&bytes, None).unwrap();
    let DataDesc::Bidi { out, r#in } = cmd.data else {
        panic!()
    };
    assert_eq!((out.count(), r#in.count()), (255, 255));
    assert_eq!(r#in.iter().last().unwrap().va, (1 << 40) + 254 * 4096);
    for len in (0..bytes.len()).step_by(97) {
        assert!(Cmd::parse(&bytes[..len], None).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..500), imm: Option<u16>) {
        let mut bytes = bytes;
        let _ = Cmd::parse(&bytes, imm);
        if let Some(first) = bytes.first_mut() {
            *first = 2;
        }
        if let Ok(cmd) = Cmd::parse(&bytes, imm) {
            prop_assert!(cmd.cdb.len() >= 16 && cmd.cdb.len() % 4 == 0);
            prop_assert!(cmd.cdb.len() <= 16 + 252);
        }
    }

    /// A valid command with a few corrupted bytes is parsed or refused, but never a panic, and the
    /// answer goes to the right tag.
    #[test]
    fn corrupted(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop_oneof![Just(0usize), 0usize..90],
        immediate: bool,
    ) {
        let mut bytes = if immediate { write_10_immediate() } else { read_10() };
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let tag = bytes.get(8..16).map(|b| u64::from_be_bytes(b.try_into().unwrap()));
        match Cmd::parse(&bytes, Some(68)) {
            Ok(cmd) => prop_assert_eq!(Some(cmd.tag), tag),
            Err(error) => prop_assert_eq!(error.tag, tag),
        }
    }
}
