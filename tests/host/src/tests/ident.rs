// SPDX-License-Identifier: GPL-2.0
//! Tests of port identifiers, LUNs and ACL names.

use crate::srp::wire::ident::*;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::net::IpAddr;

const PORT: PortId = PortId([
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
]);

#[test]
fn text_forms() {
    assert_eq!(
        Guid(0x0002_c903_000a_bcd1).to_string(),
        "0002:c903:000a:bcd1"
    );
    assert_eq!(PORT.to_string(), "0x00112233445566778899aabbccddeeff");
    assert_eq!(
        PORT.without_prefix().to_string(),
        "00112233445566778899aabbccddeeff"
    );
    assert_eq!(PortId([0; 16]).to_string(), format!("0x{:032x}", 0));
    assert_eq!(
        Lun([0x40, 1, 0, 0, 0, 0, 0, 2]).to_string(),
        "0x4001000000000002"
    );
}

#[test]
fn port_id_halves() {
    let (high, low) = PORT.halves();
    assert_eq!(high, Guid(0x0011_2233_4455_6677));
    assert_eq!(low, Guid(0x8899_aabb_ccdd_eeff));
    assert_eq!(PortId::from_halves(high, low), PORT);
}

#[test]
fn service_guid_parameter() {
    assert_eq!(
        Guid::from_hex("0x2c903000abcd1"),
        Some(Guid(0x0002_c903_000a_bcd1))
    );
    assert_eq!(Guid::from_hex("ffffffffffffffff"), Some(Guid(u64::MAX)));
    for bad in [
        "",
        "0x",
        "1 ",
        "+1",
        "-1",
        "g",
        "0x10000000000000000",
        "0x0x1",
    ] {
        assert_eq!(Guid::from_hex(bad), None, "{bad:?}");
    }
}

/// What `scsilun_to_int()` computes, transcribed from its description: the two bytes of each level
/// form a big-endian number, levels are ordered from the least significant.
fn scsilun_to_int(lun: [u8; 8]) -> u64 {
    (0..4)
        .map(|level| {
            u64::from(u16::from_be_bytes([lun[2 * level], lun[2 * level + 1]])) << (16 * level)
        })
        .sum()
}

#[test]
fn lun_vectors() {
    // (bytes, to_u64, flat): what LIO takes for the number, and SCST. The method is part of the
    // first, as in the C drivers: LIO's LUN 16384 has the address 40 00.
    let cases: [([u8; 8], u64, Option<u64>); 15] = [
        ([0, 255, 0, 0, 0, 0, 0, 0], 255, Some(255)),
        ([1, 0, 0, 0, 0, 0, 0, 0], 256, Some(256)),
        ([0x3f, 0xff, 0, 0, 0, 0, 0, 0], 16383, Some(16383)),
        ([0x40, 0, 0, 0, 0, 0, 0, 0], 16384, Some(0)),
        ([0x80, 0, 0, 0, 0, 0, 0, 0], 32768, Some(0)),
        ([0xff, 0xff, 0, 0, 0, 0, 0, 0], 65535, None),
        ([0; 8], 0, Some(0)),
        ([0, 7, 0, 0, 0, 0, 0, 0], 7, Some(7)),
        // int_to_scsilun(300): the high byte goes where peripheral addressing has a bus.
        ([0x01, 0x2c, 0, 0, 0, 0, 0, 0], 300, Some(300)),
        ([0x40, 7, 0, 0, 0, 0, 0, 0], 0x4007, Some(7)),
        ([0x41, 0x2c, 0, 0, 0, 0, 0, 0], 0x412c, Some(300)),
        ([0x80, 7, 0, 0, 0, 0, 0, 0], 0x8007, Some(7)),
        ([0xc1, 7, 0, 0, 0, 0, 0, 0], 0xc107, None),
        ([0, 1, 0, 2, 0, 0, 0, 0], 0x2_0001, None),
        ([0, 1, 0, 0, 0, 0, 0, 1], 0x0001_0000_0000_0001, None),
    ];
    for (bytes, value, flat) in cases {
        assert_eq!(Lun(bytes).to_u64(), value, "{bytes:02x?}");
        assert_eq!(Lun(bytes).flat(), flat, "{bytes:02x?}");
    }
    assert_eq!(
        Lun([0x3f, 0, 0, 0, 0, 0, 0, 0]).method(),
        LunMethod::Peripheral
    );
    assert_eq!(Lun([0x7f, 0, 0, 0, 0, 0, 0, 0]).method(), LunMethod::Flat);
    assert_eq!(
        Lun([0xbf, 0, 0, 0, 0, 0, 0, 0]).method(),
        LunMethod::LogicalUnit
    );
    assert_eq!(
        Lun([0xff, 0, 0, 0, 0, 0, 0, 0]).method(),
        LunMethod::Extended
    );
}

#[test]
fn name_buf_never_truncates() {
    let mut buf = NameBuf::<5>::new();
    assert_eq!(buf.as_str(), "");
    assert_eq!(buf.as_c_str(), c"");
    write!(buf, "abc").unwrap();
    assert!(buf.write_str("de").is_err());
    assert_eq!(buf.as_str(), "abc");
    buf.write_str("d").unwrap();
    assert!(buf.write_str("e").is_err());
    buf.write_str("").unwrap();
    assert_eq!(buf.as_str(), "abcd");
    assert_eq!(buf.as_c_str(), c"abcd");
    assert!(NameBuf::<5>::new().write_str("a\0b").is_err());
    assert_eq!(NameBuf::<4>::from_display("abcd"), Err(NameTooLong));
    assert!(NameBuf::<0>::new().write_str("").is_err());
    assert_eq!(NameBuf::<0>::new().as_c_str(), c"");
}

#[test]
fn acl_names_accepted() {
    let guid = |v| Ok(AclId::Guid(Guid(v)));
    let port = |h, l| Ok(AclId::PortId(PortId::from_halves(Guid(h), Guid(l))));
    let ip = |s: &str| Ok(AclId::Ip(s.parse::<IpAddr>().unwrap()));
    let cases = [
        ("0002:c903:000a:bcd1", guid(0x0002_c903_000a_bcd1)),
        ("2:C903:a:bcd1", guid(0x0002_c903_000a_bcd1)),
        (
            "0x00112233445566778899aabbccddeeff",
            port(0x0011_2233_4455_6677, 0x8899_aabb_ccdd_eeff),
        ),
        (
            "00112233445566778899AABBCCDDEEFF",
            port(0x0011_2233_4455_6677, 0x8899_aabb_ccdd_eeff),
        ),
        ("0X12", port(0, 0x12)),
        ("12", port(0, 0x12)),
        ("0123456789abcdef01", port(0x01, 0x2345_6789_abcd_ef01)),
        ("192.168.1.17", ip("192.168.1.17")),
        ("fe80::1", ip("fe80::1")),
        ("::ffff:10.0.0.1", ip("::ffff:10.0.0.1")),
        ("fe80:0000:0000:0000:0000:0000:0000:0001", ip("fe80::1")),
        ("1:2:3:4:5:6:7:8", ip("1:2:3:4:5:6:7:8")),
    ];
    for (name, expected) in cases {
        assert_eq!(AclId::parse(name), expected, "{name:?}");
    }
}

#[test]
fn acl_names_refused() {
    for name in [
        "",
        "0x",
        "0x123",
        "abc",
        "0x00112233445566778899aabbccddeeff00",
        "00112233445566778899aabbccddeefg",
        "0002:c903:000a",
        "0002:c903:000a:bcd1:",
        "0002:c903:000a:bcd1x",
        "00002:c903:000a:bcd1",
        ":c903:000a:bcd1",
        "+002:c903:000a:bcd1",
        "192.168.1",
        "192.168.1.256",
        "192.168.1.1 ",
        "fe80::1%eth0",
        "localhost",
        // 16 bytes, but a multi-byte character in the middle of the digits.
        "0123456\u{e9}1234567",
        "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
    ] {
        assert_eq!(AclId::parse(name), Err(BadAclName), "{name:?}");
    }
}

/// The one name that an engine without entries of its own knows an initiator by.
#[test]
fn single_names() {
    let gid = 0xfe80_0000_0000_0000_5054_00ff_fe09_0001_u128;
    let name = "fe80:0000:0000:0000:5054:00ff:fe09:0001";
    assert_eq!(gid_name(PortId(gid.to_be_bytes())).as_str(), name);
    let of = |addr: &str| address_name(addr.parse().unwrap()).as_str().to_owned();
    assert_eq!(of("fe80::5054:ff:fe09:1"), name);
    assert_eq!(of("192.168.5.1"), "192.168.5.1");
    assert_eq!(of("::ffff:192.168.5.1"), "192.168.5.1");
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(of(longest), longest);
}

proptest! {
    #[test]
    fn lun_agrees_with_kernel(bytes: [u8; 8]) {
        prop_assert_eq!(Lun(bytes).to_u64(), scsilun_to_int(bytes));
        prop_assert_eq!(Lun::from_u64(Lun(bytes).to_u64()), Lun(bytes));
    }

    #[test]
    fn guid_text_agrees_with_format(value: u64) {
        let text = Guid(value).to_string();
        let expected = format!("{:04x}:{:04x}:{:04x}:{:04x}",
            value >> 48, (value >> 32) & 0xffff, (value >> 16) & 0xffff, value & 0xffff);
        prop_assert_eq!(&text, &expected);
        prop_assert_eq!(AclId::parse(&text), Ok(AclId::Guid(Guid(value))));
        prop_assert_eq!(Guid::from_be_bytes(value.to_be_bytes()), Guid(value));
    }

    /// The canonical form of a parsed name is a valid name of the same initiator.
    #[test]
    fn canonical_form_is_stable(name in "(0[xX])?[0-9a-fA-F]{0,34}|[0-9a-f:]{0,24}|\\PC{0,40}") {
        if let Ok(id) = AclId::parse(&name) {
            let canonical = AclName::from_display(id).unwrap();
            prop_assert_eq!(AclId::parse(canonical.as_str()), Ok(id));
        }
    }
}
