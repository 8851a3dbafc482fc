// SPDX-License-Identifier: GPL-2.0
//! Tests of data buffer descriptors, in particular of lengths that lie.

use super::{
    desc_bytes,
    hex, //
};
use crate::srp::wire::desc::*;
use proptest::prelude::*;

/// Parses descriptors at the start of `bytes`.
fn parse(
    bytes: &[u8],
    formats: u8,
    counts: (u8, u8),
    imm_offset: Option<u16>,
) -> Result<DataDesc<'_>, DescError> {
    DataDesc::parse(
        bytes,
        &DescParams {
            offset: 0,
            formats,
            out_count: counts.0,
            in_count: counts.1,
            imm_offset,
        },
    )
}

/// Builds an indirect descriptor whose table length is `table_len`.
fn indirect(table_len: u32, data_len: u32, list: &[(u64, u32, u32)]) -> Vec<u8> {
    let mut bytes = desc_bytes(0xfeed_0000, 0x77, table_len);
    bytes.extend(data_len.to_be_bytes());
    for &(va, key, len) in list {
        bytes.extend(desc_bytes(va, key, len));
    }
    bytes
}

fn lens(list: &DescList<'_>) -> Vec<u32> {
    list.segments().map(|desc| desc.len).collect()
}

#[test]
fn no_data() {
    assert_eq!(parse(&[], 0, (0, 0), None), Ok(DataDesc::None));
    // The counts of absent descriptors mean nothing.
    assert_eq!(parse(&[], 0, (9, 9), Some(48)), Ok(DataDesc::None));
}

#[test]
fn direct_vector() {
    let bytes = hex("1122334455667788 aabbccdd 00001000");
    let desc = DirectDesc {
        va: 0x1122_3344_5566_7788,
        key: 0xaabb_ccdd,
        len: 4096,
    };
    assert_eq!(desc.emit().as_slice(), bytes);
    for (formats, out_len, in_len) in [(0x10, 4096, 0), (0x01, 0, 4096)] {
        let data = parse(&bytes, formats, (0, 0), None).unwrap();
        assert_eq!((data.out_len(), data.in_len()), (out_len, in_len));
        let (DataDesc::Out(list) | DataDesc::In(list)) = data else {
            panic!("{data:?}")
        };
        assert_eq!(list.iter().collect::<Vec<_>>(), [desc]);
        assert_eq!(list.segments().collect::<Vec<_>>(), [desc]);
        assert_eq!((list.count(), list.total_len()), (1, Some(4096)));
    }
    assert_eq!(
        parse(&bytes[..15], 0x01, (0, 0), None),
        Err(DescFault::Truncated.into())
    );
}

#[test]
fn indirect_vector() {
    let bytes = hex("00000000feed0000 00000077 00000020 00001800
                     0000000000001000 00000001 00001000
                     0000000000009000 00000002 00000800");
    let Ok(DataDesc::Out(list)) = parse(&bytes, 0x20, (2, 0), None) else {
        panic!()
    };
    assert_eq!(list.data_len(), 0x1800);
    assert_eq!(list.count(), 2);
    assert_eq!(
        list.iter().collect::<Vec<_>>(),
        [
            DirectDesc {
                va: 0x1000,
                key: 1,
                len: 0x1000
            },
            DirectDesc {
                va: 0x9000,
                key: 2,
                len: 0x800
            }
        ]
    );
    for len in 0..bytes.len() {
        assert_eq!(
            parse(&bytes[..len], 0x20, (2, 0), None),
            Err(DescFault::Truncated.into()),
            "{len}"
        );
    }
}

/// The table may describe more memory than there is data; only the data is transferred.
#[test]
fn segments_stop_at_the_data_length() {
    let list = [
        (0x1000, 1, 100),
        (0x2000, 2, 0),
        (0x3000, 3, 100),
        (4, 4, 9),
    ];
    let check = |data_len, expected: &[u32]| {
        let bytes = indirect(64, data_len, &list);
        let Ok(DataDesc::In(list)) = parse(&bytes, 0x02, (0, 4), None) else {
            panic!()
        };
        assert_eq!(lens(&list), expected);
        assert_eq!(list.total_len(), Some(209));
    };
    check(209, &[100, 100, 9]);
    check(208, &[100, 100, 8]);
    check(200, &[100, 100]);
    check(101, &[100, 1]);
    check(100, &[100]);
    check(1, &[1]);
    check(0, &[]);
}

/// Ranges of one byte are ranges: at every place in a table, next to empty ones, at the last
/// address there is, and as what is left of a longer one.
#[test]
fn segments_of_one_byte() {
    let list = [
        (0x1000, 1, 1),
        (0x2000, 2, 0),
        (0x3000, 3, 1),
        (0x4000, 4, 512),
        (u64::MAX, 5, 1),
    ];
    let whole: Vec<_> = [list[0], list[2], list[3], list[4]].to_vec();
    let check = |data_len, expected: &[(u64, u32, u32)]| {
        let bytes = indirect(80, data_len, &list);
        let Ok(DataDesc::Out(list)) = parse(&bytes, 0x20, (5, 0), None) else {
            panic!()
        };
        let segments: Vec<_> = list.segments().map(|d| (d.va, d.key, d.len)).collect();
        assert_eq!(segments, expected);
        assert_eq!(list.total_len(), Some(515));
    };
    check(515, &whole);
    check(514, &whole[..3]);
    check(3, &[whole[0], whole[1], (0x4000, 4, 1)]);
    check(2, &whole[..2]);
    check(1, &whole[..1]);
    // All of one byte, as many as a request can have.
    let bytes: Vec<u8> = (0..255).flat_map(|n| desc_bytes(n, 7, 1)).collect();
    let list = DescList::new(&bytes, 255).unwrap();
    assert_eq!(lens(&list), [1; 255]);
    assert!(list.segments().map(|d| d.va).eq(0..255));
    assert!(DescList::new(&bytes, 256).is_err());
}

#[test]
fn lying_lengths() {
    let one = [(0x1000, 1, 512)];
    let fault = |bytes: &[u8], count| match parse(bytes, 0x02, (0, count), None) {
        Err(DescError::Malformed(fault)) => fault,
        other => panic!("{other:?}"),
    };
    // The table is not a whole number of descriptors.
    for table_len in [1, 15, 17, u32::MAX] {
        assert_eq!(
            fault(&indirect(table_len, 512, &one), 1),
            DescFault::TableLength(table_len)
        );
    }
    // More data than memory.
    assert_eq!(
        fault(&indirect(16, 513, &one), 1),
        DescFault::LengthMismatch {
            data_len: 513,
            described: 512
        }
    );
    // Data, but no descriptor at all (hangs a write in the in-tree driver).
    assert_eq!(
        fault(&indirect(0, 512, &[]), 0),
        DescFault::LengthMismatch {
            data_len: 512,
            described: 0
        }
    );
    // No data and no descriptor is fine.
    let bytes = indirect(0, 0, &[]);
    assert!(
        matches!(parse(&bytes, 0x02, (0, 0), None), Ok(DataDesc::In(list)) if list.count() == 0)
    );
    // The table ends beyond the IU.
    assert_eq!(fault(&indirect(32, 512, &one), 2), DescFault::Truncated);
}

#[test]
fn address_wrap() {
    let wraps = |va, len| parse(&desc_bytes(va, 1, len), 0x01, (0, 0), None).is_err();
    assert!(!wraps(u64::MAX, 0));
    assert!(!wraps(u64::MAX, 1));
    assert!(wraps(u64::MAX, 2));
    assert!(!wraps(u64::MAX - 511, 512));
    assert!(wraps(u64::MAX - 510, 512));
    assert!(!wraps(0, u32::MAX));
    let bytes = indirect(32, 0, &[(0, 1, 512), (u64::MAX, 1, 512)]);
    assert_eq!(
        parse(&bytes, 0x02, (0, 2), None),
        Err(DescFault::AddressWrap.into())
    );
}

/// What the Linux initiator sends with `allow_ext_sg=1` and too many segments.
#[test]
fn external_table_is_not_malformed() {
    let bytes = indirect(48, 3000, &[(0x1000, 1, 1000), (0x2000, 1, 1000)]);
    let table = DirectDesc {
        va: 0xfeed_0000,
        key: 0x77,
        len: 48,
    };
    let external = |dir| ExternalTable {
        dir,
        table,
        data_len: 3000,
    };
    let data = DataDesc::External(external(Dir::Out));
    assert_eq!(parse(&bytes, 0x20, (2, 0), None), Ok(data));
    assert_eq!((data.out_len(), data.in_len()), (3000, 0));
    // No inline descriptor at all.
    let data = DataDesc::External(external(Dir::In));
    assert_eq!(parse(&bytes[..20], 0x02, (0, 0), None), Ok(data));
    assert_eq!((data.out_len(), data.in_len()), (0, 3000));
    // The fetched table is checked by the same code.
    let full: Vec<u8> = (0..3).flat_map(|i| desc_bytes(i << 12, 1, 1000)).collect();
    assert_eq!(lens(&DescList::new(&full, 3000).unwrap()), [1000; 3]);
    let list = DescList::new(&full, 3000).unwrap();
    assert_eq!(external(Dir::Out).resolve(&full), Ok(DataDesc::Out(list)));
    assert_eq!(external(Dir::In).resolve(&full), Ok(DataDesc::In(list)));
    assert_eq!(
        DescList::new(&full, 3001),
        Err(DescFault::LengthMismatch {
            data_len: 3001,
            described: 3000
        })
    );
    assert_eq!(
        DescList::new(&full[..47], 10),
        Err(DescFault::TableLength(47))
    );
}

/// The sum of the lengths does not wrap at 32 bits.
#[test]
fn huge_sum() {
    let list = [(0, 1, u32::MAX); 255];
    let bytes = indirect(255 * 16, u32::MAX, &list);
    let Ok(DataDesc::In(list)) = parse(&bytes, 0x02, (0, 255), None) else {
        panic!()
    };
    assert_eq!(list.total_len(), Some(255 * u64::from(u32::MAX)));
    assert_eq!(lens(&list), [u32::MAX]);
}

#[test]
fn bidirectional() {
    // Out direct, in indirect.
    let mut bytes = desc_bytes(0x1000, 1, 512);
    bytes.extend(indirect(16, 256, &[(0x2000, 2, 256)]));
    let Ok(DataDesc::Bidi { out, r#in }) = parse(&bytes, 0x12, (0, 1), None) else {
        panic!()
    };
    assert_eq!((lens(&out), lens(&r#in)), (vec![512], vec![256]));

    // Both indirect. The in descriptor comes after as many entries as the count says, even if the
    // table does not use them all.
    let mut bytes = indirect(16, 100, &[(0x1000, 1, 100), (0xdead, 9, 9)]);
    bytes.extend(indirect(32, 300, &[(0x2000, 2, 150), (0x3000, 2, 150)]));
    let data = parse(&bytes, 0x22, (2, 2), None).unwrap();
    assert_eq!((data.out_len(), data.in_len()), (100, 300));
    let DataDesc::Bidi { out, r#in } = data else {
        panic!()
    };
    assert_eq!((lens(&out), lens(&r#in)), (vec![100], vec![150, 150]));
}

#[test]
fn immediate() {
    // Descriptor at 0, data at 8.
    let bytes = hex("00000005 ffffffff 0102030405 06");
    assert_eq!(
        parse(&bytes, 0x30, (0, 0), Some(8)),
        Ok(DataDesc::Immediate(&[1, 2, 3, 4, 5]))
    );
    assert_eq!(
        parse(&bytes, 0x30, (0, 0), Some(9)),
        Ok(DataDesc::Immediate(&[2, 3, 4, 5, 6]))
    );
    // Directly after the descriptor, but not before its end.
    assert!(parse(&bytes, 0x30, (0, 0), Some(4)).is_ok());
    assert_eq!(
        parse(&bytes, 0x30, (0, 0), Some(3)),
        Err(DescFault::ImmediateOverlap.into())
    );
    // One byte beyond the end.
    assert_eq!(
        parse(&bytes, 0x30, (0, 0), Some(10)),
        Err(DescFault::ImmediateTruncated.into())
    );
    let huge = hex("ffffffff 00000000 00");
    assert_eq!(
        parse(&huge, 0x30, (0, 0), Some(8)),
        Err(DescFault::ImmediateTruncated.into())
    );
    assert_eq!(
        parse(&bytes[..3], 0x30, (0, 0), Some(8)),
        Err(DescFault::Truncated.into())
    );
    // No data at all is fine if the offset is.
    let empty = hex("00000000");
    assert_eq!(
        parse(&empty, 0x30, (0, 0), Some(4)),
        Ok(DataDesc::Immediate(&[]))
    );
    assert_eq!(
        parse(&empty, 0x30, (0, 0), Some(5)),
        Err(DescFault::ImmediateTruncated.into())
    );
}

#[test]
fn immediate_rules() {
    let bytes = hex("00000001 00000000 ff000000 00000000 00000000");
    assert_eq!(
        parse(&bytes, 0x30, (0, 0), None),
        Err(DescError::Violation(DescViolation::ImmediateNotNegotiated))
    );
    for formats in [0x31, 0x32] {
        assert_eq!(
            parse(&bytes, formats, (0, 0), Some(8)),
            Err(DescError::Violation(DescViolation::ImmediateBidi))
        );
    }
    let data_in = |format| {
        Err(DescError::Malformed(DescFault::Format {
            dir: Dir::In,
            format,
        }))
    };
    assert_eq!(parse(&bytes, 0x33, (0, 0), Some(8)), data_in(3));
    assert_eq!(parse(&bytes, 0x03, (0, 0), Some(8)), data_in(3));
}

#[test]
fn undefined_formats() {
    let bytes = [0u8; 64];
    for format in 4..=15 {
        let fault = |dir| Err(DescFault::Format { dir, format }.into());
        assert_eq!(
            parse(&bytes, format << 4, (0, 0), Some(48)),
            fault(Dir::Out)
        );
        assert_eq!(parse(&bytes, format, (0, 0), Some(48)), fault(Dir::In));
    }
}

/// One direction as an initiator might describe it.
#[derive(Clone, Debug)]
enum Part {
    None,
    Direct((u64, u32, u32)),
    Indirect {
        list: Vec<(u64, u32, u32)>,
        table_len: u32,
        data_len: u32,
        count: u8,
    },
}

/// What the parser ought to say about a [`Part`] that lies completely inside the IU.
#[derive(Debug, PartialEq)]
enum Verdict {
    Good(u32),
    Malformed,
    External,
}

impl Part {
    fn format(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Direct(_) => 1,
            Self::Indirect { .. } => 2,
        }
    }

    fn count(&self) -> u8 {
        match self {
            Self::Indirect { count, .. } => *count,
            _ => 0,
        }
    }

    /// Emits the descriptor with exactly as many entries as the count says.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => vec![],
            Self::Direct((va, key, len)) => desc_bytes(*va, *key, *len),
            Self::Indirect {
                list,
                table_len,
                data_len,
                count,
            } => {
                let mut bytes = indirect(*table_len, *data_len, list);
                bytes.resize(20 + 16 * usize::from(*count), 0);
                bytes
            }
        }
    }

    /// The rules of the protocol, on the values instead of on the bytes.
    fn verdict(&self) -> Verdict {
        let wraps = |&(va, _, len): &(u64, u32, u32)| u128::from(va) + u128::from(len) > 1 << 64;
        match self {
            Self::None => Verdict::Good(0),
            Self::Direct(desc) if wraps(desc) => Verdict::Malformed,
            Self::Direct((_, _, len)) => Verdict::Good(*len),
            Self::Indirect { table_len, .. } if table_len % 16 != 0 => Verdict::Malformed,
            Self::Indirect {
                table_len, count, ..
            } if *table_len / 16 > u32::from(*count) => Verdict::External,
            Self::Indirect {
                list,
                table_len,
                data_len,
                ..
            } => {
                // Entries that were not given are zero.
                let used = (*table_len / 16) as usize;
                let used = &list[..used.min(list.len())];
                let sum: u128 = used.iter().map(|d| u128::from(d.2)).sum();
                if used.iter().any(wraps) || sum < u128::from(*data_len) {
                    Verdict::Malformed
                } else {
                    Verdict::Good(*data_len)
                }
            }
        }
    }
}

fn any_desc() -> impl Strategy<Value = (u64, u32, u32)> {
    let va = prop_oneof![
        8 => any::<u64>(),
        1 => (0u64..1 << 20).prop_map(|n| u64::MAX - n),
    ];
    let len = prop_oneof![8 => 0u32..1 << 20, 1 => any::<u32>()];
    (va, any::<u32>(), len)
}

fn any_part() -> impl Strategy<Value = Part> {
    let indirect = prop::collection::vec(any_desc(), 0..12)
        .prop_flat_map(|list| {
            let n = u32::try_from(list.len()).unwrap();
            let sum = list.iter().map(|d| u64::from(d.2)).sum::<u64>();
            let sum = u32::try_from(sum).unwrap_or(u32::MAX);
            let table_len = prop_oneof![
                6 => Just(16 * n),
                1 => (0..=n).prop_map(|n| 16 * n),
                1 => Just(16 * (n + 1)),
                1 => any::<u32>(),
                1 => 0u32..300,
            ];
            let data_len = prop_oneof![
                4 => Just(sum),
                2 => 0..=sum,
                1 => Just(sum.saturating_add(1)),
                1 => any::<u32>(),
            ];
            let n = u8::try_from(n).unwrap();
            let count = prop_oneof![6 => Just(n), 1 => 0..=n, 1 => n..=n + 3];
            (Just(list), table_len, data_len, count)
        })
        .prop_map(|(list, table_len, data_len, count)| Part::Indirect {
            list,
            table_len,
            data_len,
            count,
        });
    prop_oneof![
        1 => Just(Part::None),
        2 => any_desc().prop_map(Part::Direct),
        6 => indirect,
    ]
}

/// What holds for every list the parser lets through.
fn check_list(iu: &[u8], list: &DescList<'_>) {
    let segments: Vec<_> = list.segments().collect();
    assert_eq!(
        segments.iter().map(|d| u64::from(d.len)).sum::<u64>(),
        u64::from(list.data_len())
    );
    assert!(segments.iter().all(|d| d.len != 0));
    assert!(segments.len() <= list.count());
    assert!(list.count() * 16 <= iu.len());
    assert_eq!(list.iter().count(), list.count());
    assert!(list.total_len().unwrap() >= u64::from(list.data_len()));
}

fn check_data(iu: &[u8], data: &DataDesc<'_>) {
    match data {
        DataDesc::None => {}
        DataDesc::Out(list) | DataDesc::In(list) => check_list(iu, list),
        DataDesc::Bidi { out, r#in } => {
            check_list(iu, out);
            check_list(iu, r#in);
        }
        DataDesc::Immediate(data) => assert!(data.len() <= iu.len()),
        DataDesc::External(external) => {
            assert!((16..=65536).contains(&external.table.len));
            assert!(external.data_len != 0);
        }
    }
}

/// A table outside the IU is fetched if it is not too large and there is data.
fn check_external(part: &Part, dir: Dir, result: Result<DataDesc<'_>, DescError>) {
    let Part::Indirect {
        table_len,
        data_len,
        ..
    } = part
    else {
        panic!("{part:?} is not external");
    };
    match result {
        Err(error) => {
            assert!(*table_len > 65536);
            assert_eq!(error, DescFault::TableLength(*table_len).into());
        }
        Ok(DataDesc::External(external)) => {
            assert!(*data_len != 0 && *table_len <= 65536);
            assert_eq!((external.dir, external.data_len), (dir, *data_len));
            assert_eq!(external.table.len, *table_len);
        }
        Ok(data) => {
            assert_eq!(*data_len, 0);
            assert!(matches!(data, DataDesc::Out(_) | DataDesc::In(_)));
        }
    }
}

/// The largest table that is fetched, and what is refused without a look at it.
#[test]
fn external_table_limits() {
    let table = |va: u64, len: u32, data_len: u32| {
        let mut bytes = desc_bytes(va, 1, len);
        bytes.extend(data_len.to_be_bytes());
        bytes
    };
    let parse_in = |bytes: &[u8]| parse(bytes, 0x02, (0, 0), None).map(|data| data.in_len());
    assert_eq!(parse_in(&table(0x1000, 65536, 9)), Ok(9));
    assert_eq!(
        parse_in(&table(0x1000, 65552, 9)),
        Err(DescFault::TableLength(65552).into())
    );
    assert_eq!(parse_in(&table(u64::MAX - 31, 32, 9)), Ok(9));
    assert_eq!(
        parse_in(&table(u64::MAX - 30, 32, 9)),
        Err(DescFault::AddressWrap.into())
    );
    // Nothing to fetch without data.
    assert!(matches!(
        parse(&table(0x1000, 32, 0), 0x02, (0, 0), None),
        Ok(DataDesc::In(list)) if list.count() == 0
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        formats: u8, counts: (u8, u8), imm: Option<u16>, offset in prop_oneof![0usize..500, any::<usize>()],
    ) {
        let params = DescParams {
            offset, formats, out_count: counts.0, in_count: counts.1, imm_offset: imm,
        };
        if let Ok(data) = DataDesc::parse(&bytes, &params) {
            check_data(&bytes, &data);
        }
        if let Ok(list) = DescList::new(&bytes, u32::from(formats)) {
            check_list(&bytes, &list);
        }
    }

    /// The verdict on descriptors agrees with the rules applied to the values.
    #[test]
    fn verdict_matches_model(out in any_part(), data_in in any_part()) {
        let mut bytes = out.bytes();
        bytes.extend(data_in.bytes());
        let formats = (out.format() << 4) | data_in.format();
        let result = parse(&bytes, formats, (out.count(), data_in.count()), None);
        match (out.verdict(), data_in.verdict(), result) {
            (Verdict::Good(out_len), Verdict::Good(in_len), Ok(data)) => {
                prop_assert_eq!((data.out_len(), data.in_len()), (out_len, in_len));
                check_data(&bytes, &data);
            }
            (Verdict::Malformed, _, Err(DescError::Malformed(_))) => {}
            (_, Verdict::Malformed, Err(DescError::Malformed(_))) => {}
            (Verdict::External, _, result) if matches!(data_in, Part::None) => {
                check_external(&out, Dir::Out, result);
            }
            (_, Verdict::External, result) if matches!(out, Part::None) => {
                check_external(&data_in, Dir::In, result);
            }
            (
                Verdict::External,
                Verdict::Good(_) | Verdict::External,
                Err(DescError::Violation(DescViolation::ExternalBidi)),
            ) => {}
            (
                Verdict::Good(_),
                Verdict::External,
                Err(DescError::Violation(DescViolation::ExternalBidi)),
            ) => {}
            (o, i, r) => prop_assert!(false, "{:?} {:?} {:?}", o, i, r),
        }
    }

    /// Cutting bytes off never turns a refused command into an accepted one with more data, and an
    /// accepted one stays the same.
    #[test]
    fn truncation_is_noticed(part in any_part(), cut in 0usize..300) {
        let bytes = part.bytes();
        let short = &bytes[..bytes.len().saturating_sub(cut)];
        let count = part.count();
        let whole = parse(&bytes, part.format(), (0, count), None);
        match parse(short, part.format(), (0, count), None) {
            Ok(data) => prop_assert_eq!(Ok(data), whole),
            Err(DescError::Malformed(DescFault::Truncated)) => prop_assert!(cut > 0 || whole.is_err()),
            Err(e) => prop_assert_eq!(Err(e), whole),
        }
    }

    #[test]
    fn immediate_matches_model(
        len in prop_oneof![0u32..200, any::<u32>()], imm in 0u16..120, size in 0usize..160,
    ) {
        let mut bytes = len.to_be_bytes().to_vec();
        bytes.extend((4u8..).take(156));
        let bytes = &bytes[..size];
        let end = u64::from(imm) + u64::from(len);
        let good = size >= 4 && imm >= 4 && end <= u64::try_from(size).unwrap();
        match parse(bytes, 0x30, (0, 0), Some(imm)) {
            Ok(DataDesc::Immediate(data)) => {
                prop_assert!(good);
                let end = usize::try_from(end).unwrap();
                prop_assert_eq!(data, &bytes[usize::from(imm)..end]);
            }
            other => prop_assert!(!good, "{:?}", other),
        }
    }
}
