// SPDX-License-Identifier: GPL-2.0
//! Tests of `srp/wire/cdb.rs`.

use crate::srp::wire::{cdb::*, scsi::sense};

use proptest::prelude::*;

/// A CDB of 16 bytes with these at the beginning.
fn cdb(head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(16, 0);
    bytes
}

/// The same with bytes at a place.
fn with(head: &[u8], at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = cdb(head);
    bytes.resize(bytes.len().max(at + field.len()), 0);
    bytes[at..at + field.len()].copy_from_slice(field);
    bytes
}

/// Where SAM-5 has the control byte: the last one of the group's length, or the second one.
#[test]
fn control_byte() {
    let places = [
        (0x00, 5),
        (0x12, 5),
        (0x28, 9),
        (0x5a, 9),
        (0x7f, 1),
        (0x88, 15),
        (0x9e, 15),
        (0xa0, 11),
        (0xbf, 11),
        (0xd1, 11),
        (0xe7, 9),
    ];
    for (op, at) in places {
        for bits in 0..=u8::MAX {
            let fault = fault(&with(&[op], at, &[bits]));
            let expected = (bits & 5 != 0).then_some(CdbFault::Control);
            assert_eq!(fault, expected, "{op:#x}, {bits:#x}");
        }
    }
    // Elsewhere the bits mean something else.
    assert_eq!(fault(&with(&[0x28], 5, &[0xff])), None);
    assert_eq!(fault(&with(&[0xc0], 5, &[0xff; 11])), None);
}

#[test]
fn lengths() {
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let more = 0x8000_0000_u32.to_be_bytes();
    for (op, at) in [
        (0x5e_u8, 5),
        (0x5f, 5),
        (0x83, 10),
        (0x88, 10),
        (0x8a, 10),
        (0x9e, 10),
        (0xa0, 6),
        (0xa3, 6),
        (0xa4, 6),
        (0xa8, 6),
        (0xb5, 6),
    ] {
        assert_eq!(fault(&with(&[op], at, &most)), None, "{op:#x}");
        let found = fault(&with(&[op], at, &more));
        assert_eq!(found, Some(CdbFault::Length), "{op:#x}");
    }
    // Numbers of blocks without a buffer of that size.
    assert_eq!(fault(&with(&[0x8f], 10, &more)), None);
    assert_eq!(fault(&with(&[0x93], 10, &more)), None);
    // A place in a changer (MOVE MEDIUM), and a register (ATA PASS-THROUGH(12)).
    assert_eq!(fault(&with(&[0xa5], 6, &more)), None);
    assert_eq!(fault(&with(&[0xa1], 6, &more)), None);
}

#[test]
fn addresses() {
    let end = (1_u64 << 51) - (1 << 32);
    for (head, at) in [
        (&[0x88_u8, 0][..], 2),
        (&[0x89, 0], 2),
        (&[0x8a, 0], 2),
        (&[0x8e, 0], 2),
        (&[0x8f, 0], 2),
        (&[0x90, 0], 2),
        (&[0x91, 0], 2),
        (&[0x93, 0], 2),
        (&[0x9e, 0x12], 2),
        (&[0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 9], 12),
    ] {
        assert_eq!(fault(&with(head, at, &(end - 1).to_be_bytes())), None);
        for address in [end, 1 << 51, 1 << 54, 1 << 63, u64::MAX] {
            let found = fault(&with(head, at, &address.to_be_bytes()));
            assert_eq!(found, Some(CdbFault::Address), "{head:x?}, {address:#x}");
        }
    }
    // READ CAPACITY(16), and SPACE(16) of a tape, backwards.
    let all = u64::MAX.to_be_bytes();
    assert_eq!(fault(&with(&[0x9e, 0x10], 2, &all)), None);
    assert_eq!(fault(&with(&[0x91], 4, &all)), None);
    // A CDB that says it has more than was received.
    assert_eq!(fault(&with(&[0x7f], 12, &[0xff; 4])), None);
}

/// ATA PASS-THROUGH: where the length is, and its unit.
#[test]
fn ata_lengths() {
    let bad = Some(CdbFault::AtaLength);
    let (extended, response) = (1, 0xf << 1);
    let (blocks, logical) = (0x04, 0x14);
    for (head, expected) in [
        // No data, and data whose length is not in the CDB.
        (&[0x85_u8, 0, 0][..], None),
        (&[0x85, 0, 3], bad),
        (&[0xa1, 0, 3], bad),
        (&[0x85, response, 3], None),
        (&[0xa1, response, 3], None),
        // Bytes, sectors and logical blocks, with what they are multiplied by.
        (&[0x85, 7 << 5 | extended, 1, 0xff, 0xff], None),
        (&[0x85, 7 << 5 | extended, 1 | blocks, 0x7f, 0xff], None),
        (&[0x85, 7 << 5 | extended, 1 | blocks, 0x80, 0], bad),
        (&[0x85, 7 << 5, 1 | blocks, 0x80, 0], None),
        (&[0x85, 7 << 5 | extended, 2 | blocks, 0, 0, 0x80, 0], bad),
        (&[0x85, extended, 2 | logical, 0, 0, 0x7f, 0xff], None),
        (&[0x85, extended, 2 | logical, 0, 0, 0x80, 0], bad),
        (&[0x85, 7 << 5, 2 | logical, 0, 0, 0, 0xff], None),
        (&[0x85, 7 << 5, 1 | logical, 0, 0xff], None),
        (&[0xa1, 7 << 5, 1 | logical, 0xff], None),
        (&[0xa1, 7 << 5, 2 | logical, 0, 0xff], None),
        (&[0xa1, 7 << 5 | extended, 1 | blocks, 0xff, 0xff], None),
    ] {
        assert_eq!(fault(&cdb(head)), expected, "{head:x?}");
    }
}

#[test]
fn what_is_reported() {
    assert_eq!(CdbFault::Address.sense(), &sense::LBA_OUT_OF_RANGE);
    for other in [
        CdbFault::Control,
        CdbFault::Length,
        CdbFault::SenseRoom,
        CdbFault::AtaLength,
    ] {
        assert_eq!(other.sense(), &sense::INVALID_CDB);
    }
}

/// REQUEST SENSE: no room is allowed, and all of fixed format.
#[test]
fn sense_room() {
    for room in 0..=u8::MAX {
        let expected = (1..18).contains(&room).then_some(CdbFault::SenseRoom);
        for desc in [0, 1] {
            assert_eq!(fault(&cdb(&[0x03, desc, 0, 0, room])), expected, "{room}");
        }
    }
    assert_eq!(fault(&cdb(&[0x12, 0, 0, 0, 5])), None);
}

#[test]
fn kinds() {
    for (head, first) in [
        (&[0x00_u8][..], true),
        (&[0x12], true),
        (&[0x25], true),
        (&[0xa0], true),
        (&[0x9e, 0x10], true),
        (&[0x9e, 0xf0], true),
        (&[0x9e, 0x12], false),
        (&[0x03], false),
        (&[0x28], false),
        (&[], false),
    ] {
        assert_eq!(is_executed_first(head), first, "{head:x?}");
    }
    for op in 0..=u8::MAX {
        let select = op == 0x15 || op == 0x55;
        assert_eq!(is_mode_select(&cdb(&[op])), select, "{op:#x}");
        let write = [0x0a, 0x2a, 0x8a, 0xaa].contains(&op);
        assert_eq!(is_plain_write(&cdb(&[op])), write, "{op:#x}");
    }
}

proptest! {
    /// Any bytes have an answer; fewer than 16 have no fault.
    #[test]
    fn total(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let found = fault(&bytes);
        prop_assert!(bytes.len() >= 16 || found.is_none());
    }

    /// What was passed has neither bit where the control byte is, whatever comes behind it.
    #[test]
    fn usual_commands(op in prop::sample::select(vec![0x28_u8, 0x2a, 0x2f, 0x35, 0x41, 0x42]),
                      fields in any::<[u8; 8]>(), spare in any::<[u8; 6]>()) {
        let mut bytes = vec![op];
        bytes.extend(fields);
        bytes.push(0);
        bytes.extend(spare);
        prop_assert_eq!(fault(&bytes), None);
    }
}
