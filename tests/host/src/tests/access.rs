// SPDX-License-Identifier: GPL-2.0
//! Tests of `srp/machine/access.rs`.

use crate::srp::{
    machine::access::*,
    wire::ident::{
        AclId,
        AclName,
        Guid,
        PortId,
        ACL_NAME_SIZE, //
    }, //
};
use proptest::prelude::*;
use std::net::IpAddr;

const PORT: PortId = PortId([
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
]);

fn initiator(guid: Option<u64>, addr: Option<&str>) -> Initiator {
    Initiator {
        port_id: PORT,
        guid: guid.map(Guid),
        addr: addr.map(|addr| addr.parse().unwrap()),
    }
}

fn names(guid: Option<u64>, addr: Option<&str>) -> Vec<String> {
    initiator(guid, addr)
        .all_names()
        .map(|name| name.to_string())
        .collect()
}

/// What a configuration of two directories gives: the entry that lets the initiator in.
fn entry(directories: &[(Directory, &'static str)], one: Initiator) -> Option<&'static str> {
    one.search(
        directories.iter(),
        |(of, _)| *of,
        |(_, acl), name| (name.as_str() == *acl).then_some(*acl),
    )
}

/// Which entry wins. The in-tree driver finds those of the first five lines only; whatever it finds
/// wins here, too, in either order of making the directories.
#[test]
fn order_of_the_c_driver() {
    use Directory::{
        Gid,
        Guid, //
    };
    const ID: &str = "0x00112233445566778899aabbccddeeff";
    const BARE: &str = "00112233445566778899aabbccddeeff";
    const ADDR: &str = "10.1.2.3";
    let one = initiator(None, Some(ADDR));
    let cases: [(&[(Directory, &'static str)], Option<&str>); 9] = [
        // Entries that it finds: by the port's names below the GUID, by port id below the GID.
        (&[(Guid, ADDR), (Gid, ID)], Some(ADDR)),
        (&[(Gid, ID), (Guid, ADDR)], Some(ADDR)),
        (&[(Gid, BARE), (Gid, ID)], Some(BARE)),
        (&[(Guid, ADDR), (Guid, ID)], Some(ADDR)),
        (&[(Gid, ID), (Gid, ADDR)], Some(ID)),
        // Entries that only this driver finds come after those.
        (&[(Guid, ID), (Gid, ID)], Some(ID)),
        (&[(Gid, ADDR), (Guid, ID)], Some(ID)),
        (&[(Gid, ADDR)], Some(ADDR)),
        (&[(Guid, "10.1.2.4")], None),
    ];
    for (directories, expected) in cases {
        assert_eq!(entry(directories, one), expected, "{directories:?}");
    }
}

#[test]
fn directories() {
    assert_eq!(Directory::of("5054:00ff:fe09:0001"), Directory::Guid);
    assert_eq!(
        Directory::of("0xfe80000000000000505400fffe090001"),
        Directory::Gid
    );
}

#[test]
fn near_misses() {
    let one = initiator(None, Some("10.1.2.3"));
    let own = Some("::ffff:10.1.2.1".parse::<IpAddr>().unwrap());
    let why = |name: &str| one.nearly(AclId::parse(name).unwrap(), own);
    assert_eq!(
        why("0x00000000000000008899aabbccddeeff"),
        Some(Nearly::OtherExtension)
    );
    assert_eq!(why("0x8899aabbccddeeff"), Some(Nearly::OtherExtension));
    for own in ["10.1.2.1", "0x00000000000000000000ffff0a010201"] {
        assert_eq!(why(own), Some(Nearly::OwnAddress));
    }
    assert!(Nearly::Disabled > Nearly::OtherForm && Nearly::OtherForm > Nearly::OwnAddress);
    // Names are compared as text: these mean the initiator, and are not looked for.
    for form in [
        "0x00112233445566778899AABBCCDDEEFF",
        "::ffff:a01:203",
        "00000000000000000000ffff0a010203",
    ] {
        assert_eq!(why(form), Some(Nearly::OtherForm), "{form}");
    }
    for other in [
        "0x00112233445566778899aabbccddeef0",
        "10.1.2.4",
        "8899:aabb:ccdd:eeff",
    ] {
        assert_eq!(why(other), None, "{other}");
    }
    assert_eq!(one.nearly(AclId::parse("10.1.2.1").unwrap(), None), None);
}

#[test]
fn advice() {
    let initiator = initiator(None, Some("10.1.2.3"));
    let text = |hint| Advice { initiator, hint }.to_string();
    let names = "it may be named 0x00112233445566778899aabbccddeeff or 10.1.2.3";
    assert_eq!(text(None), names);
    let entry = AclName::from_display("0x00000000000000008899aabbccddeeff").unwrap();
    let why = Nearly::OtherExtension;
    assert_eq!(
        text(Some(Hint { entry, why })),
        format!("{names}; ACL {entry} differs in initiator_ext")
    );
}

#[test]
fn candidates_ib_cm() {
    assert_eq!(
        names(Some(0x0002_c903_000a_bcd1), None),
        [
            "0x00112233445566778899aabbccddeeff",
            "00112233445566778899aabbccddeeff",
            "0002:c903:000a:bcd1",
        ]
    );
}

#[test]
fn candidates_rdma_cm() {
    let port = [
        "0x00112233445566778899aabbccddeeff",
        "00112233445566778899aabbccddeeff",
    ];
    assert_eq!(names(None, None), port);
    let mapped = "0x00000000000000000000ffff0a010203";
    assert_eq!(names(None, Some("10.1.2.3"))[2..], ["10.1.2.3", mapped]);
    assert_eq!(
        names(None, Some("fe80::c:1"))[2..],
        [
            "fe80:0000:0000:0000:0000:0000:000c:0001",
            "fe80::c:1",
            "0xfe8000000000000000000000000c0001",
        ]
    );
    assert_eq!(
        names(None, Some("::ffff:10.1.2.3"))[2..],
        [
            "0000:0000:0000:0000:0000:ffff:0a01:0203",
            "::ffff:10.1.2.3",
            "10.1.2.3",
            mapped,
        ]
    );
    // The longest name there is uses the whole buffer.
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(longest.len(), ACL_NAME_SIZE - 1);
    assert_eq!(names(None, Some(longest))[2], longest);
}

proptest! {
    /// Every name an initiator is looked up under is a valid ACL name and designates it.
    #[test]
    fn candidates_parse_back(id: [u8; 16], guid: Option<u64>, addr: Option<IpAddr>) {
        let one = Initiator { port_id: PortId(id), guid: guid.map(Guid), addr };
        let candidates: Vec<_> = one.all_names().collect();
        prop_assert!(candidates.len() >= 2);
        for name in candidates {
            prop_assert_eq!(name.as_c_str().to_str().unwrap(), name.as_str());
            match AclId::parse(name.as_str()) {
                Ok(AclId::PortId(p)) if p == PortId(id) => {}
                // The address in this form.
                Ok(AclId::PortId(p)) => {
                    let v6 = std::net::Ipv6Addr::from(p.0);
                    prop_assert_eq!(v6.to_canonical(), addr.unwrap().to_canonical());
                }
                Ok(AclId::Guid(g)) => prop_assert_eq!(Some(g.0), guid),
                Ok(AclId::Ip(a)) => {
                    prop_assert_eq!(a.to_canonical(), addr.unwrap().to_canonical());
                }
                Err(e) => prop_assert!(false, "{:?}: {:?}", name, e),
            }
        }
    }
}
