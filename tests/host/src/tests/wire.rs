// SPDX-License-Identifier: GPL-2.0
//! Tests of the byte access helpers.

use crate::srp::wire::codec::*;
use proptest::prelude::*;

#[test]
fn reads_big_endian() {
    let buf = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff];
    assert_eq!(be16(&buf, 0), Some(0x0123));
    assert_eq!(be16(&buf, 7), Some(0xefff));
    assert_eq!(be16(&buf, 8), None);
    assert_eq!(be32(&buf, 1), Some(0x2345_6789));
    assert_eq!(be32(&buf, 6), None);
    assert_eq!(be64(&buf, 0), Some(0x0123_4567_89ab_cdef));
    assert_eq!(be64(&buf, 1), Some(0x2345_6789_abcd_efff));
    assert_eq!(be64(&buf, 2), None);
    assert_eq!(array::<3>(&buf, 6), Some([0xcd, 0xef, 0xff]));
}

#[test]
fn offsets_near_the_maximum_do_not_wrap() {
    let buf = [0u8; 16];
    for off in [17, usize::MAX - 8, usize::MAX - 1, usize::MAX] {
        assert_eq!(be64(&buf, off), None);
        assert_eq!(bytes(&buf, off, 1), None);
        assert_eq!(put(&mut [0; 16], off, &[1]), Err(NoSpace));
    }
    assert_eq!(bytes(&buf, 8, usize::MAX), None);
    assert_eq!(bytes(&buf, 16, 0), Some(&[][..]));
}

#[test]
fn put_is_all_or_nothing() {
    let mut buf = [0u8; 4];
    assert_eq!(put(&mut buf, 2, &[1, 2, 3]), Err(NoSpace));
    assert_eq!(buf, [0; 4]);
    assert_eq!(put(&mut buf, 1, &[1, 2, 3]), Ok(()));
    assert_eq!(buf, [0, 1, 2, 3]);
}

#[test]
fn view_and_image_agree() {
    let bytes = Image::<20>::new()
        .u8::<0>(0xaa)
        .be16::<1>(0x1234)
        .be32::<4>(0xdead_beef)
        .be_i32::<8>(-2)
        .be64::<12>(0x0102_0304_0506_0708)
        .into_bytes();
    assert_eq!(
        bytes.as_slice(),
        super::hex("aa123400 deadbeef fffffffe 0102030405060708")
    );
    let view = View::<20>::new(&bytes).unwrap();
    assert_eq!(view.u8::<0>(), 0xaa);
    assert_eq!(view.be16::<1>(), 0x1234);
    assert_eq!(view.be32::<4>(), 0xdead_beef);
    assert_eq!(view.be_i32::<8>(), -2);
    assert_eq!(view.be64::<12>(), 0x0102_0304_0506_0708);
    assert_eq!(view.expect_opcode::<0>(0xaa), Ok(()));
    assert_eq!(
        view.expect_opcode::<0>(0xab),
        Err(Malformed::Opcode {
            want: 0xab,
            got: 0xaa
        })
    );
    assert_eq!(
        View::<20>::new(&bytes[..19]).unwrap_err(),
        Malformed::Truncated { need: 20, have: 19 }
    );
}

#[test]
fn malformed_display() {
    let text = |e: Malformed| e.to_string();
    assert_eq!(
        text(Malformed::Truncated { need: 48, have: 3 }),
        "truncated: 3 of 48 bytes"
    );
    assert_eq!(
        text(Malformed::Opcode { want: 2, got: 0x41 }),
        "opcode 0x41 instead of 0x02"
    );
    assert_eq!(text(Malformed::Field("x")), "invalid field x");
}

proptest! {
    /// The helpers agree with slicing wherever slicing does not panic, and fail elsewhere.
    #[test]
    fn agrees_with_slicing(buf: Vec<u8>, off in 0usize..300, len in 0usize..300) {
        prop_assert_eq!(bytes(&buf, off, len).is_some(), off + len <= buf.len());
        prop_assert_eq!(be64(&buf, off).is_some(), off + 8 <= buf.len());
        if let Some(slice) = bytes(&buf, off, len) {
            prop_assert_eq!(slice, &buf[off..off + len]);
        }
        if let Some(value) = be32(&buf, off) {
            prop_assert_eq!(value.to_be_bytes(), &buf[off..off + 4]);
        }
    }
}
