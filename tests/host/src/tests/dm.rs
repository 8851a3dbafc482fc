// SPDX-License-Identifier: GPL-2.0
//! Tests of device management: what the agent answers, byte by byte, and that an initiator makes
//! the right login of it. The initiator here is a model of `srp_daemon` that shares no code with
//! the layer under test; it looks at the same bytes in the same order.

use super::hex;
use crate::srp::wire::codec::Malformed;
use crate::srp::wire::dm::{
    attr::*,
    *, //
};
use crate::srp::wire::ident::Guid;
use proptest::prelude::*;

const GUID: u64 = 0x5054_00ff_fe00_0001;

fn controller() -> Controller {
    Controller {
        service_guid: Guid(GUID),
        vendor_id: 0x0002_c903,
        device_id: 0x1003,
        device_version: 0x0a0b,
        send_queue_depth: 128,
        rdma_read_depth: 4,
        send_size: 8276,
        rdma_size: 65536,
        name: ControllerName::from_display(ID_TEXT).unwrap(),
    }
}

/// A request, built independently of the code under test.
fn request(method: u8, attribute: u16, modifier: u32) -> Vec<u8> {
    let mut mad = vec![1, 6, 1, method, 0, 0, 0, 0];
    mad.extend(0x0123_4567_89ab_cdefu64.to_be_bytes());
    mad.extend(attribute.to_be_bytes());
    mad.extend([0, 0]);
    mad.extend(modifier.to_be_bytes());
    // Nothing of this may come back.
    mad.resize(256, 0xee);
    mad
}

/// The header of an answer, up to the attribute.
fn header(method: u8, status: u16, attribute: u16, modifier: u32) -> Vec<u8> {
    let mut mad = vec![1, 6, 1, method];
    mad.extend(status.to_be_bytes());
    mad.extend([0, 0]);
    mad.extend(0x0123_4567_89ab_cdefu64.to_be_bytes());
    mad.extend(attribute.to_be_bytes());
    mad.extend([0, 0]);
    mad.extend(modifier.to_be_bytes());
    mad.resize(64, 0);
    mad
}

/// Asks for an attribute; the answer must be whole, and empty behind `data`.
fn check(attribute: u16, modifier: u32, status: u16, data: &[u8]) {
    let mut expected = header(0x81, status, attribute, modifier);
    expected.extend(data);
    expected.resize(256, 0);
    let answer = answer(&request(1, attribute, modifier), &controller()).unwrap();
    assert_eq!(
        answer.as_slice(),
        expected,
        "attribute {attribute:#x}, modifier {modifier:#x}"
    );
}

#[test]
fn class_port_info() {
    check(1, 0, 0, &hex("01 01 0000 00000014"));
}

#[test]
fn io_unit_info() {
    let mut data = hex("0001 10 00              // change id, slots, no option ROM
                        1000000000000000        // slot 1 present, 2..16 empty");
    data.resize(4 + 128, 0xff); // slots 17..256 do not exist
    check(0x10, 0, 0, &data);
}

#[test]
fn ioc_profile() {
    let data = hex("505400fffe000001            // GUID
        02c903 00                               // vendor, reserved
        00001003 0a0b 0000                      // device, version, reserved
        02c903 00 00000000                      // vendor and id of the subsystem
        0100 609e 0108 0001                     // I/O class and subclass, protocol, version
        00000000                                // not used by SRP
        0080 00 04                              // send queue, reserved, READs
        00002054 00010000                       // largest message, largest transfer
        2b 00 01                                // operations, services, service entries
        000000000000000000                      // reserved
        4c696e757820535250207461726765740000    // Linux SRP target");
    check(0x11, 1, 0, &data);
}

#[test]
fn service_entries() {
    let entry = hex(
        "5352502e5431303a353035343030666666653030303030310000000000000000
        0000000000000000 505400fffe000001",
    );
    assert_eq!(entry.len(), 48);
    // A client that does not look at the number of services asks for four.
    for modifier in [0x0001_0000, 0x0001_0100, 0x0001_0300] {
        check(0x12, modifier, 0, &entry);
    }
}

#[test]
fn vendor_id_is_cut_to_24_bits() {
    let all = Controller {
        vendor_id: u32::MAX,
        ..controller()
    };
    let answer = answer(&request(1, 0x11, 1), &all).unwrap();
    assert_eq!(answer[64 + 8..64 + 12], [0xff, 0xff, 0xff, 0]);
    assert_eq!(answer[64 + 20..64 + 24], [0xff, 0xff, 0xff, 0]);
}

#[test]
fn slots() {
    for slot in 2..=16 {
        check(0x11, slot, 0x0100, &[]);
        check(0x12, slot << 16, 0x0100, &[]);
    }
    for slot in [0, 17, 0x100, 0x101, 0xffff] {
        check(0x11, slot, 0x001c, &[]);
        check(0x12, slot << 16, 0x001c, &[]);
    }
    for slot in [0x1_0001, 0x8000_0001, u32::MAX] {
        check(0x11, slot, 0x001c, &[]);
    }
}

#[test]
fn service_ranges() {
    for first in 0..=255u32 {
        for last in 0..=255u32 {
            let modifier = 0x1_0000 | last << 8 | first;
            let status = if first > last || last - first > 3 {
                0x001c
            } else if first > 0 {
                0x0200
            } else {
                continue; // See service_entries.
            };
            check(0x12, modifier, status, &[]);
        }
    }
}

#[test]
fn unknown_attributes() {
    for attribute in 0..=0xffff {
        if ![1, 0x10, 0x11, 0x12].contains(&attribute) {
            check(attribute, 1, 0x000c, &[]);
        }
    }
}

#[test]
fn methods() {
    for method in 0..=255 {
        let seen = answer(&request(method, 0x10, 0), &controller());
        match method {
            1 => assert_eq!(seen.unwrap()[..8], hex("01060181 00000000")),
            2 => assert_eq!(seen.unwrap()[..8], hex("01060181 000c0000")),
            3 | 5 | 7 | 0x80.. => assert_eq!(seen, Err(Silence::NoRequest(method))),
            other => {
                let expected = header(other | 0x80, 0x0008, 0x10, 0);
                assert_eq!(seen.unwrap()[..64], expected);
            }
        }
    }
    // No attribute can be set, not even one that can be got.
    for attribute in [1, 0x10, 0x11, 0x12, 0x20, 0xffff] {
        let seen = answer(&request(2, attribute, 0), &controller()).unwrap();
        assert_eq!(seen[..64], header(0x81, 0x000c, attribute, 0));
        assert_eq!(seen[64..], [0; 192]);
    }
}

#[test]
fn versions_and_classes() {
    for (byte, value) in [(0, 0), (0, 2), (0, 0x80), (2, 0), (2, 2)] {
        let mut mad = request(1, 0x10, 0);
        mad[byte] = value;
        let seen = answer(&mad, &controller()).unwrap();
        assert_eq!(seen[..64], header(0x81, 0x0004, 0x10, 0));
        assert_eq!(seen[64..], [0; 192]);
    }
    for class in (0..=255).filter(|&class| class != 6) {
        let mut mad = request(1, 0x10, 0);
        mad[1] = class;
        assert_eq!(answer(&mad, &controller()), Err(Silence::OtherClass(class)));
    }
}

#[test]
fn short() {
    let mad = request(1, 0x10, 0);
    for len in 0..256 {
        let kind = Malformed::Truncated {
            need: 256,
            have: len,
        };
        assert_eq!(
            answer(&mad[..len], &controller()),
            Err(Silence::Malformed(kind))
        );
        assert_eq!(data(&mad[..len]), Err(kind));
    }
    // What is behind a datagram is not looked at.
    let mut long = mad.clone();
    long.resize(2048, 0x55);
    assert_eq!(answer(&long, &controller()), answer(&mad, &controller()));
}

#[test]
fn statuses() {
    let codes: Vec<u16> = Status::ALL.iter().map(|s| s.code()).collect();
    assert_eq!(codes, [0, 4, 8, 0xc, 0x1c, 0x100, 0x200]);
}

/// What `srp_daemon` does with a port, after its rules: which attributes it asks for, which fields
/// it looks at, which targets it takes, and what it writes into `add_target`.
mod daemon {
    fn be(bytes: &[u8]) -> u64 {
        bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn text(bytes: &[u8]) -> String {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        String::from_utf8(bytes[..end].to_vec()).expect("a text")
    }

    /// One line per target that the port with this GID has.
    pub(super) fn scan(
        gid: &str,
        pkey: u16,
        max_imm_data: Option<u64>,
        mut ask: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> Vec<String> {
        let mut tid = 0;
        let mut get = |attribute: u16, modifier: u32| -> Option<Vec<u8>> {
            tid += 1;
            let mut mad = vec![0; 256];
            mad[..4].copy_from_slice(&[1, 6, 1, 1]);
            mad[8..16].copy_from_slice(&u64::to_be_bytes(tid));
            mad[16..18].copy_from_slice(&attribute.to_be_bytes());
            mad[20..24].copy_from_slice(&modifier.to_be_bytes());
            let answer = ask(&mad);
            assert_eq!(answer[8..16], mad[8..16], "transaction");
            // Anything but 0 is an error to it.
            (answer[4..6] == [0, 0]).then(|| answer[64..].to_vec())
        };
        let mut lines = Vec::new();
        let Some(unit) = get(0x10, 0) else {
            return lines;
        };
        for slot in 0..usize::from(unit[2]) {
            let byte = unit[4 + slot / 2];
            let state = if slot % 2 == 0 { byte >> 4 } else { byte & 15 };
            if state != 1 {
                continue;
            }
            let number = u32::try_from(slot).unwrap() + 1;
            let Some(ioc) = get(0x11, number) else {
                continue;
            };
            let services = u32::from(ioc[54]);
            for first in (0..services).step_by(4) {
                let last = (first + 3).min(services - 1);
                let Some(entries) = get(0x12, number << 16 | last << 8 | first) else {
                    continue;
                };
                for entry in entries.chunks(48).take((last - first + 1) as usize) {
                    let name = text(&entry[..40]);
                    let Some(extension) = name.strip_prefix("SRP.T10:") else {
                        continue;
                    };
                    let mut line = format!(
                        "id_ext={:.16},ioc_guid={:016x},dgid={gid},pkey={pkey:04x},\
                         service_id={:016x}",
                        extension,
                        be(&ioc[..8]),
                        be(&entry[40..])
                    );
                    if ioc[28..30] != [1, 0] {
                        line += &format!(",io_class={:04x}", be(&ioc[28..30]));
                    }
                    let send_size = be(&ioc[44..48]);
                    if max_imm_data.is_some_and(|max| max > send_size) {
                        line += &format!(",max_it_iu_size={send_size}");
                    }
                    lines.push(line);
                }
            }
        }
        lines
    }
}

const GID: &str = "fe80000000000000505400fffe000001";

#[test]
fn srp_daemon_finds_the_target() {
    let mut asked = Vec::new();
    let lines = daemon::scan(GID, 0xffff, Some(8192), |mad| {
        asked.push((mad[17], mad[20..24].to_vec()));
        answer(mad, &controller()).unwrap().to_vec()
    });
    assert_eq!(
        lines,
        ["id_ext=505400fffe000001,ioc_guid=505400fffe000001,\
          dgid=fe80000000000000505400fffe000001,pkey=ffff,service_id=505400fffe000001"]
    );
    // One controller, one service: no more questions than needed.
    assert_eq!(
        asked,
        [
            (0x10, vec![0, 0, 0, 0]),
            (0x11, vec![0, 0, 0, 1]),
            (0x12, vec![0, 1, 0, 0])
        ]
    );
}

#[test]
fn srp_daemon_limits_requests_without_room_for_immediate_data() {
    let small = Controller {
        send_size: 2132,
        ..controller()
    };
    let scan = |max_imm_data| {
        daemon::scan(GID, 0x7fff, max_imm_data, |mad| {
            answer(mad, &small).unwrap().to_vec()
        })
    };
    assert!(scan(Some(8192))[0].ends_with(",max_it_iu_size=2132"));
    assert!(scan(Some(2132))[0].ends_with(",pkey=7fff,service_id=505400fffe000001"));
    assert!(scan(None)[0].ends_with(",service_id=505400fffe000001"));
}

#[test]
fn srp_daemon_takes_nothing_of_a_unit_without_controllers() {
    let unit = IoUnitInfo::empty(7, 16);
    let empty = |mad: &[u8]| {
        let header = Header {
            method: method::GET_RESP,
            ..Header::parse(mad).unwrap()
        };
        header.emit(unit.emit()).to_vec()
    };
    assert_eq!(daemon::scan(GID, 0xffff, None, empty), [""; 0]);
}

#[test]
fn slot_states() {
    let mut unit = IoUnitInfo::empty(1, 255);
    for slot in 1..=255 {
        assert_eq!(unit.slot(slot), SlotState::Empty);
    }
    unit.set(0, SlotState::Present); // not a slot
    assert_eq!(unit, IoUnitInfo::empty(1, 255));
    unit.set(255, SlotState::Present);
    unit.set(2, SlotState::Reserved(9));
    unit.set(3, SlotState::NoSlot);
    assert_eq!(unit.slot(0), SlotState::NoSlot);
    assert_eq!(unit.slot(1), SlotState::Empty);
    assert_eq!(unit.slot(2), SlotState::Reserved(9));
    assert_eq!(unit.slot(3), SlotState::NoSlot);
    assert_eq!(unit.slot(255), SlotState::Present);
    assert_eq!(IoUnitInfo::parse(&unit.emit()), unit);
    // Two per byte, the first in the upper half.
    assert_eq!(unit.emit()[4..7], [0x09, 0xf0, 0x00]);
    assert_eq!(unit.emit()[4 + 127], 0x1f);
}

#[test]
fn queries() {
    let query = Query::ServiceEntries {
        slot: 0x0102,
        first: 3,
        last: 4,
    };
    assert_eq!(query.code(), (0x12, 0x0102_0403));
    assert_eq!(Query::new(0x12, 0x0102_0403), Some(query));
    let query = Query::IocProfile { slot: 0x0102_0403 };
    assert_eq!(query.code(), (0x11, 0x0102_0403));
    assert_eq!(Query::new(0x11, 0x0102_0403), Some(query));
    assert_eq!(Query::new(1, 9), Some(Query::ClassPortInfo));
    assert_eq!(Query::new(0x10, 9), Some(Query::IoUnitInfo));
    assert_eq!(Query::new(2, 0), None);
}

proptest! {
    #[test]
    fn profile_round_trip(
        ids: (u64, u32, u32, u16, u32, u32),
        classes: (u16, u16, u16, u16),
        sizes: (u16, u8, u32, u32),
        rest: (u8, u8),
        id in prop::collection::vec(any::<u8>(), 64),
    ) {
        let profile = IocProfile {
            guid: Guid(ids.0),
            vendor_id: ids.1 >> 8,
            device_id: ids.2,
            device_version: ids.3,
            subsystem_vendor_id: ids.4 >> 8,
            subsystem_id: ids.5,
            io_class: classes.0,
            io_subclass: classes.1,
            protocol: classes.2,
            protocol_version: classes.3,
            send_queue_depth: sizes.0,
            rdma_read_depth: sizes.1,
            send_size: sizes.2,
            rdma_size: sizes.3,
            operations: rest.0,
            services: rest.1,
            id: id.try_into().unwrap(),
        };
        prop_assert_eq!(IocProfile::parse(&profile.emit()), profile);
    }

    #[test]
    fn other_attributes_round_trip(bytes in prop::collection::vec(any::<u8>(), 192)) {
        let data: [u8; 192] = bytes.try_into().unwrap();
        let entries = ServiceEntries::parse(&data);
        prop_assert_eq!(entries.emit(), data);
        let unit = IoUnitInfo::parse(&data);
        prop_assert_eq!(unit.emit()[..132].to_vec(), data[..132].to_vec());
        let info = ClassPortInfo::parse(&data);
        prop_assert_eq!(ClassPortInfo::parse(&info.emit()), info);
    }

    #[test]
    fn header_round_trip(
        versions: (u8, u8, u8, u8),
        status: u16,
        tid: u64,
        attr_id: u16,
        attr_mod: u32,
        bytes in prop::collection::vec(any::<u8>(), 192),
    ) {
        let header = Header {
            base_version: versions.0,
            class: versions.1,
            class_version: versions.2,
            method: versions.3,
            status,
            tid,
            attr_id,
            attr_mod,
        };
        let attribute: [u8; 192] = bytes.try_into().unwrap();
        let mad = header.emit(attribute);
        prop_assert_eq!(Header::parse(&mad), Ok(header));
        prop_assert_eq!(data(&mad), Ok(attribute));
    }

    /// Whatever comes in: no panic; the answer fits to the request, and an answer to it there is
    /// not.
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(seen) = answer(&bytes, &controller()) {
            prop_assert!(seen[3] & 0x80 != 0);
            prop_assert_eq!(&seen[8..24], &[&bytes[8..18], &[0, 0], &bytes[20..24]].concat()[..]);
            prop_assert!(answer(&seen, &controller()).is_err());
        }
    }

    /// The same with the class right, so that most get an answer.
    #[test]
    fn arbitrary_requests(
        mut bytes in prop::collection::vec(any::<u8>(), 256),
        method in 0u8..9,
        attribute in 0u16..0x14,
        modifier in prop_oneof![any::<u32>(), 0u32..20, (0u32..20).prop_map(|slot| slot << 16)],
    ) {
        bytes[..4].copy_from_slice(&[1, 6, 1, method]);
        bytes[16..18].copy_from_slice(&attribute.to_be_bytes());
        bytes[20..24].copy_from_slice(&modifier.to_be_bytes());
        if let Ok(seen) = answer(&bytes, &controller()) {
            let status = u16::from_be_bytes([seen[4], seen[5]]);
            prop_assert!(Status::from_code(status).is_some());
            // An error has no attribute, and nothing of the request is reflected.
            prop_assert!(status == 0 || seen[64..].iter().all(|&byte| byte == 0));
            prop_assert!(seen[24..64].iter().all(|&byte| byte == 0));
            prop_assert!(answer(&seen, &controller()).is_err());
        } else {
            prop_assert!([3, 5, 7].contains(&method));
        }
    }
}
