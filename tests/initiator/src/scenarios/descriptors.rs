// SPDX-License-Identifier: GPL-2.0
//! Data descriptors: direct, indirect, with the table inside and outside the unit, right and wrong.

use super::{
    commands::{
        ask_and_work,
        data_in,
        one,
        some_data,
        tur, //
    },
    row,
    Scenario,
    DISCONNECTED,
    INVALID, //
};
use crate::{
    bench::Bench,
    iu::{
        compare_and_write,
        descriptors,
        fmt_code,
        read_10,
        scsi,
        write_10,
        Cmd,
        Table,
        BLOCK, //
    },
    session::{
        Seen,
        Session, //
    },
    srp::wire::desc::DirectDesc,
    verbs::Fallible, //
};

const SAME: &[&str] = &["GOOD; same data"];
const REFUSED: &[&str] = &["CHECK CONDITION; works"];

/// Where external tables lie in the memory.
const TABLE_AT: usize = 768 << 10;

pub(super) const ROWS: &[Scenario] = &[
    // --- tables in the unit ---
    row("descriptors.read_3", "READ into three pieces", SAME, |b| {
        pieces(b, &[512, 1536, 2048])
    }),
    row("descriptors.read_255", "READ into 255 pieces", SAME, |b| {
        pieces(b, &[512; 255])
    }),
    row(
        "descriptors.read_odd",
        "READ into pieces of odd sizes",
        SAME,
        |b| pieces(b, &[1, 511, 3, 509, 255, 257, 511, 1]),
    ),
    row(
        "descriptors.write_3",
        "WRITE from three pieces",
        SAME,
        |b| write_pieces(b, &[2048, 512, 1536]),
    ),
    row(
        "descriptors.write_255",
        "WRITE from 255 pieces",
        SAME,
        |b| write_pieces(b, &[512; 255]),
    ),
    row(
        "descriptors.empty_ones",
        "descriptors of no bytes between others",
        SAME,
        |b| pieces(b, &[0, 512, 0, 0, 512, 0]),
    ),
    row(
        "descriptors.more_than_data",
        "descriptors for more than the data",
        SAME,
        |b| with_table(b, |t| t.total = 1024, &[512, 512, 512, 512], 1024),
    ),
    row(
        "descriptors.empty_direct",
        "a direct descriptor of no bytes",
        &["GOOD; works"],
        |b| {
            one(b, |s| {
                Cmd::data_in(vec![scsi::TEST_UNIT_READY], s.conn.memory.desc(0, 0))
            })
        },
    ),
    row(
        "descriptors.empty_read",
        "READ of a block with a direct descriptor of no bytes",
        &[
            "GOOD in over 512; works",
            "CHECK CONDITION in over 512; works",
        ],
        |b| {
            let mut s = b.session()?;
            let desc = s.conn.memory.desc(0, 0);
            loosely(&mut s, &Cmd::data_in(read_10(0, 1), desc))
        },
    ),
    row(
        "descriptors.empty_table",
        "a table without entries, for no data",
        &["GOOD; works"],
        |b| {
            one(b, |_| {
                Cmd::table_in(vec![scsi::TEST_UNIT_READY], &Table::new(Vec::new()))
            })
        },
    ),
    row(
        "descriptors.more_behind",
        "bytes behind the last descriptor",
        &["GOOD; works"],
        |b| {
            one(b, |s| {
                let mut cmd = data_in(s, read_10(0, 1), BLOCK);
                cmd.tail.extend([0xee; 100]);
                cmd
            })
        },
    ),
    row(
        "descriptors.counts_ignored",
        "counts beside a direct descriptor",
        &["GOOD; works"],
        |b| {
            one(b, |s| Cmd {
                in_count: 200,
                out_count: 200,
                ..data_in(s, read_10(0, 1), BLOCK)
            })
        },
    ),
    row(
        "descriptors.same_place",
        "two descriptors of the same place",
        &["GOOD; works"],
        |b| {
            one(b, |s| {
                s.conn.memory.allow(0, BLOCK);
                let desc = s.conn.memory.desc(0, BLOCK);
                Cmd::table_in(read_10(0, 2), &Table::new(vec![desc, desc]))
            })
        },
    ),
    // --- descriptors that are not there ---
    row(
        "descriptors.missing_direct",
        "a direct descriptor that is not there",
        INVALID,
        |b| {
            one(b, |_| Cmd {
                in_fmt: fmt_code::DIRECT,
                ..Cmd::new(read_10(0, 1))
            })
        },
    ),
    row(
        "descriptors.missing_direct_out",
        "the same for data-out",
        INVALID,
        |b| {
            one(b, |_| Cmd {
                out_fmt: fmt_code::DIRECT,
                ..Cmd::new(write_10(0, 1))
            })
        },
    ),
    row(
        "descriptors.missing_table",
        "an indirect descriptor that is not there",
        INVALID,
        |b| {
            one(b, |_| Cmd {
                in_fmt: fmt_code::INDIRECT,
                in_count: 1,
                ..Cmd::new(read_10(0, 1))
            })
        },
    ),
    row(
        "descriptors.half_direct",
        "half of a direct descriptor",
        INVALID,
        |b| {
            one(b, |s| {
                let mut cmd = data_in(s, read_10(0, 1), BLOCK);
                cmd.tail.truncate(8);
                cmd
            })
        },
    ),
    row(
        "descriptors.table_cut",
        "a table that ends behind the unit",
        INVALID,
        |b| {
            one(b, |s| {
                s.conn.memory.allow(0, 4 * BLOCK);
                let list = (0..4)
                    .map(|n| s.conn.memory.desc(n * BLOCK, BLOCK))
                    .collect();
                let mut cmd = Cmd::table_in(read_10(0, 4), &Table::new(list));
                let len = cmd.tail.len();
                cmd.tail.truncate(len - 24);
                cmd
            })
        },
    ),
    row(
        "descriptors.count_255_cut",
        "255 descriptors claimed, one there",
        INVALID,
        |b| {
            bad_table(b, |t| {
                t.count = 255;
                t.table.len = 255 * 16;
            })
        },
    ),
    // --- tables that contradict themselves ---
    row(
        "descriptors.sum_short",
        "descriptors for less than the data",
        INVALID,
        |b| bad_table(b, |t| t.total = 4096),
    ),
    row(
        "descriptors.none_for_data",
        "no descriptors for some data",
        INVALID,
        |b| {
            bad_table(b, |t| {
                t.list.clear();
                t.count = 0;
                t.table.len = 0;
            })
        },
    ),
    row(
        "descriptors.none_for_write",
        "a WRITE without descriptors for its data",
        INVALID,
        |b| {
            one(b, |_| {
                let mut table = Table::new(Vec::new());
                table.total = 512;
                Cmd::table_out(write_10(0, 1), &table)
            })
        },
    ),
    row(
        "descriptors.table_odd",
        "a table of one entry and a half",
        INVALID,
        |b| {
            bad_table(b, |t| {
                t.count = 2;
                t.table.len = 24;
            })
        },
    ),
    row(
        "descriptors.length_4g",
        "a direct descriptor of 4 GiB",
        REFUSED,
        |b| {
            let mut s = b.session()?;
            let desc = DirectDesc {
                len: u32::MAX,
                ..s.conn.memory.desc(0, 0)
            };
            s.conn.memory.allow(0, BLOCK);
            loosely(&mut s, &Cmd::data_in(read_10(0, 1), desc))
        },
    ),
    row(
        "descriptors.length_4g_out",
        "a WRITE of 4 GiB",
        REFUSED,
        |b| {
            let mut s = b.session()?;
            let desc = DirectDesc {
                len: u32::MAX,
                ..s.conn.memory.desc(0, 0)
            };
            loosely(&mut s, &Cmd::data_out(write_10(0, 1), desc))
        },
    ),
    row(
        "descriptors.wrap",
        "a descriptor beyond the address space",
        INVALID,
        |b| {
            one(b, |s| {
                let desc = DirectDesc {
                    va: u64::MAX - 100,
                    ..s.conn.memory.desc(0, BLOCK)
                };
                Cmd::data_in(read_10(0, 1), desc)
            })
        },
    ),
    // --- formats ---
    row(
        "descriptors.formats_in",
        "reserved data-in formats 4 to 15",
        &["12 refused; works"],
        |b| formats(b, |f| (0, f)),
    ),
    row(
        "descriptors.formats_out",
        "reserved data-out formats 4 to 15",
        &["12 refused; works"],
        |b| formats(b, |f| (f, 0)),
    ),
    row(
        "descriptors.bidi_direct",
        "data in both directions",
        &["CHECK CONDITION 05/24/00; works"],
        |b| {
            one(b, |s| {
                let mut cmd = data_in(s, read_10(0, 1), BLOCK);
                cmd.out_fmt = fmt_code::DIRECT;
                cmd.tail.extend(s.conn.memory.desc(4096, BLOCK).emit());
                cmd
            })
        },
    ),
    row(
        "descriptors.bidi_tables",
        "tables in both directions",
        &["CHECK CONDITION 05/24/00; works"],
        |b| {
            one(b, |s| {
                let table = Table::new(vec![s.conn.memory.desc(0, BLOCK)]);
                let mut cmd = Cmd::table_out(write_10(0, 1), &table);
                cmd.in_fmt = fmt_code::INDIRECT;
                cmd.in_count = 1;
                cmd.tail.extend(table.bytes());
                cmd
            })
        },
    ),
    // --- memory the target may not touch ---
    row(
        "descriptors.bad_key_read",
        "READ into memory with a wrong key",
        DISCONNECTED,
        |b| {
            one(b, |s| {
                let mut desc = s.conn.memory.desc(0, BLOCK);
                desc.key ^= 0x5a5a;
                Cmd::data_in(read_10(0, 1), desc)
            })
        },
    ),
    row(
        "descriptors.bad_key_write",
        "WRITE from memory with a wrong key",
        DISCONNECTED,
        |b| {
            one(b, |s| {
                let mut desc = s.conn.memory.desc(0, BLOCK);
                desc.key ^= 0x5a5a;
                Cmd::data_out(write_10(0, 1), desc)
            })
        },
    ),
    row(
        "descriptors.bad_key_compare",
        "COMPARE AND WRITE from memory with a wrong key",
        DISCONNECTED,
        |b| {
            one(b, |s| {
                let mut desc = s.conn.memory.desc(0, 2 * BLOCK);
                desc.key ^= 0x5a5a;
                Cmd::data_out(compare_and_write(0), desc)
            })
        },
    ),
    row(
        "descriptors.beyond_region",
        "READ beyond the end of the region",
        DISCONNECTED,
        |b| {
            one(b, |s| {
                let end = s.conn.memory.len() + crate::memory::CANARY;
                Cmd::data_in(read_10(0, 1), s.conn.memory.desc(end, BLOCK))
            })
        },
    ),
    row(
        "descriptors.bad_key_second",
        "WRITE with a wrong key in its second piece",
        DISCONNECTED,
        |b| {
            one(b, |s| {
                let mut list: Vec<_> = (0..3)
                    .map(|n| s.conn.memory.desc(n * BLOCK, BLOCK))
                    .collect();
                list[1].key ^= 0x5a5a;
                Cmd::table_out(write_10(0, 3), &Table::new(list))
            })
        },
    ),
    // --- tables outside the unit ---
    row(
        "descriptors.external_read",
        "a READ with its table in our memory",
        SAME,
        |b| external(b, &[512, 1024, 512], 0, false),
    ),
    row(
        "descriptors.external_write",
        "a WRITE with its table in our memory",
        SAME,
        |b| external(b, &[512, 1024, 512], 0, true),
    ),
    row(
        "descriptors.external_partly",
        "the first of five entries are in the unit",
        SAME,
        |b| external(b, &[512; 5], 2, false),
    ),
    row(
        "descriptors.external_1000",
        "a table of 1000 entries",
        SAME,
        |b| external(b, &[512; 1000], 0, false),
    ),
    row(
        "descriptors.external_4096",
        "a table of 4096 entries, the most",
        SAME,
        |b| external(b, &[128; 4096], 0, true),
    ),
    row(
        "descriptors.external_4097",
        "a table of one entry more",
        INVALID,
        |b| outside(b, 4097, |_| ()),
    ),
    row(
        "descriptors.external_4g",
        "a table of 4 GiB",
        INVALID,
        |b| outside(b, 4, |t| t.table.len = 0xffff_fff0),
    ),
    row(
        "descriptors.external_odd",
        "an external table of 40 bytes",
        INVALID,
        |b| outside(b, 4, |t| t.table.len = 40),
    ),
    row(
        "descriptors.external_short",
        "an external table for less than the data",
        INVALID,
        |b| outside(b, 4, |t| t.total = 1 << 20),
    ),
    row(
        "descriptors.external_wrap",
        "an external table beyond the address space",
        INVALID,
        |b| outside(b, 4, |t| t.table.va = u64::MAX - 10),
    ),
    row(
        "descriptors.external_bad_key",
        "an external table with a wrong key",
        DISCONNECTED,
        |b| outside(b, 4, |t| t.table.key ^= 0x5a5a),
    ),
    row(
        "descriptors.external_nowhere",
        "an external table without address",
        DISCONNECTED,
        |b| outside(b, 4, |t| (t.table.va, t.table.key) = (0, 0)),
    ),
    row(
        "descriptors.external_bidi",
        "an external table and data in the other direction",
        INVALID,
        |b| {
            let mut s = b.session()?;
            let table = outside_table(&mut s, 4);
            ask_and_work(&mut s, |s| {
                let mut cmd = Cmd::table_in(read_10(0, 4), &table);
                cmd.out_fmt = fmt_code::DIRECT;
                let mut tail = s.conn.memory.desc(0, BLOCK).emit().to_vec();
                tail.append(&mut cmd.tail);
                Cmd { tail, ..cmd }
            })
        },
    ),
    row(
        "descriptors.external_garbage",
        "an external table of random bytes",
        &["code 2 CHECK CONDITION 05/0e/03; works", "disconnected"],
        |b| {
            let mut s = b.session()?;
            let table = outside_table(&mut s, 64);
            s.conn.memory.fill(TABLE_AT, &some_data(64 * 16));
            ask_and_work(&mut s, |_| Cmd::table_in(read_10(0, 64), &table))
        },
    ),
];

/// A command whose sense data does not matter.
fn loosely(s: &mut Session, cmd: &Cmd) -> Fallible<String> {
    let seen = s.ask(cmd)?;
    match seen {
        Seen::Rsp(mut rsp) if rsp.status == 2 => {
            rsp.sense.clear();
            rsp.code = None;
            let text = rsp.to_string().replace(" without sense", "");
            Ok(format!("{text}; {}", s.works()?))
        }
        Seen::Gone => Ok(seen.to_string()),
        _ => Ok(format!("{seen}; {}", s.works()?)),
    }
}

/// A READ with a table of one entry that `spoil` has changed.
fn bad_table(b: &Bench, spoil: impl FnOnce(&mut Table)) -> Fallible<String> {
    one(b, |s| {
        let mut table = Table::new(vec![s.conn.memory.desc(0, BLOCK)]);
        spoil(&mut table);
        Cmd::table_in(read_10(0, 1), &table)
    })
}

/// Puts data on the disk, from one buffer at the end of the memory.
fn prepare(s: &mut Session, data: &[u8]) -> Fallible<()> {
    let at = s.conn.memory.len() - data.len() - 4096;
    s.conn.memory.fill(at, data);
    let desc = s.conn.memory.desc(at, data.len());
    match s
        .ask(&Cmd::data_out(
            write_10(128, (data.len() / BLOCK) as u16),
            desc,
        ))?
        .to_string()
    {
        good if good == "GOOD" => Ok(()),
        other => Err(format!("the preparing write: {other}")),
    }
}

/// Buffers of these sizes in a mixed-up order, with gaps between them.
fn scatter(s: &Session, sizes: &[usize]) -> Vec<(usize, DirectDesc)> {
    let step = sizes.iter().max().unwrap_or(&0) + 64;
    let n = sizes.len();
    let place = |i: usize| {
        (if i % 2 == 0 {
            i
        } else {
            n - 1 - (i | 1) % n.max(1)
        }) * step
    };
    // Every place once: even ones from the front, odd ones wherever is left.
    let mut used: Vec<usize> = Vec::new();
    let mut out = Vec::new();
    for (i, &len) in sizes.iter().enumerate() {
        let mut at = place(i);
        while used.contains(&at) {
            at = (at + step) % (n * step);
        }
        used.push(at);
        out.push((at, s.conn.memory.desc(at, len)));
    }
    out
}

/// Reads back what the pieces hold, in their order.
fn gather(s: &Session, pieces: &[(usize, DirectDesc)]) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|(at, d)| s.conn.memory.read(*at, d.len as usize))
        .collect()
}

/// READ into pieces.
fn pieces(b: &Bench, sizes: &[usize]) -> Fallible<String> {
    with_table(b, |_| (), sizes, sizes.iter().sum())
}

/// READ of `len` bytes into pieces, with a table that `change` has changed.
fn with_table(
    b: &Bench,
    change: impl FnOnce(&mut Table),
    sizes: &[usize],
    len: usize,
) -> Fallible<String> {
    let mut s = b.session()?;
    let data = some_data(len);
    prepare(&mut s, &data)?;
    let places = scatter(&s, sizes);
    let mut left = len;
    for (at, d) in &places {
        let n = left.min(d.len as usize);
        s.conn.memory.allow(*at, n);
        left -= n;
    }
    let mut table = Table::new(places.iter().map(|p| p.1).collect());
    change(&mut table);
    let seen = s.ask(&Cmd::table_in(read_10(128, (len / BLOCK) as u16), &table))?;
    let same = gather(&s, &places).get(..len) == Some(&data[..]);
    Ok(format!(
        "{seen}; {} data",
        if same { "same" } else { "other" }
    ))
}

/// WRITE from pieces, read back in one.
fn write_pieces(b: &Bench, sizes: &[usize]) -> Fallible<String> {
    let mut s = b.session()?;
    let places = scatter(&s, sizes);
    let data = some_data(sizes.iter().sum());
    let mut from = 0;
    for (at, d) in &places {
        let len = d.len as usize;
        s.conn.memory.fill(*at, &data[from..from + len]);
        from += len;
    }
    let table = Table::new(places.iter().map(|p| p.1).collect());
    let cdb = write_10(512, (data.len() / BLOCK) as u16);
    let seen = s.ask(&Cmd::table_out(cdb, &table))?;
    Ok(format!("{seen}; {} data", check(&mut s, 512, &data)?))
}

/// Reads blocks into the end of the memory: "same" or "other".
fn check(s: &mut Session, block: u32, data: &[u8]) -> Fallible<&'static str> {
    let at = s.conn.memory.len() - data.len() - 4096;
    s.conn.memory.fill(at, &vec![0; data.len()]);
    s.conn.memory.allow(at, data.len());
    let desc = s.conn.memory.desc(at, data.len());
    s.ask(&Cmd::data_in(
        read_10(block, (data.len() / BLOCK) as u16),
        desc,
    ))?;
    Ok(if s.conn.memory.read(at, data.len()) == data {
        "same"
    } else {
        "other"
    })
}

/// Formats 4 to 15, of which each must be refused.
fn formats(b: &Bench, place: fn(u8) -> (u8, u8)) -> Fallible<String> {
    let mut s = b.session()?;
    let mut refused = 0;
    for f in 4..16 {
        let (out_fmt, in_fmt) = place(f);
        let cmd = Cmd {
            out_fmt,
            in_fmt,
            tail: vec![0; 64],
            ..tur()
        };
        let seen = s.ask(&cmd)?.to_string();
        refused += usize::from(seen == "code 2 CHECK CONDITION 05/0e/03");
    }
    Ok(format!("{refused} refused; {}", s.works()?))
}

/// A command with a good table in the memory, of which `inline` entries are in the unit, too.
fn external(b: &Bench, sizes: &[usize], inline: usize, write: bool) -> Fallible<String> {
    let options = crate::conn::Options {
        memory: 2 << 20,
        ..Default::default()
    };
    let mut s = b.session_with(&b.request(1), options)?;
    let data = some_data(sizes.iter().sum());
    let places = scatter(&s, sizes);
    let list: Vec<DirectDesc> = places.iter().map(|p| p.1).collect();
    let table_at = (2 << 20) - 65536 - 4096 - data.len() - 8192;
    s.conn.memory.fill(table_at, &descriptors(&list));
    let table = Table {
        table: s.conn.memory.desc(table_at, list.len() * 16),
        total: data.len() as u32,
        count: inline as u8,
        list: list[..inline].to_vec(),
    };
    let blocks = (data.len() / BLOCK) as u16;
    if write {
        let mut from = 0;
        for (at, d) in &places {
            s.conn.memory.fill(*at, &data[from..from + d.len as usize]);
            from += d.len as usize;
        }
        let seen = s.ask(&Cmd::table_out(write_10(2048, blocks), &table))?;
        if let Seen::Gone = seen {
            return Ok(seen.to_string());
        }
        return Ok(format!("{seen}; {} data", check(&mut s, 2048, &data)?));
    }
    prepare(&mut s, &data)?;
    for (at, d) in &places {
        s.conn.memory.allow(*at, d.len as usize);
    }
    let seen = s.ask(&Cmd::table_in(read_10(128, blocks), &table))?;
    let same = gather(&s, &places) == data;
    Ok(format!(
        "{seen}; {} data",
        if same { "same" } else { "other" }
    ))
}

/// A table of `entries` entries of one block in the memory, none of them in the unit.
pub(super) fn outside_table(s: &mut Session, entries: usize) -> Table {
    let bytes = table_bytes(s, entries);
    s.conn.memory.fill(TABLE_AT, &bytes);
    outside_at(s.conn.memory.desc(TABLE_AT, bytes.len()))
}

/// The bytes of such a table.
pub(super) fn table_bytes(s: &Session, entries: usize) -> Vec<u8> {
    let list: Vec<_> = (0..entries)
        .map(|n| s.conn.memory.desc(n % 256 * BLOCK, BLOCK))
        .collect();
    descriptors(&list)
}

/// Such a table, which is there.
pub(super) fn outside_at(table: DirectDesc) -> Table {
    Table {
        table,
        total: table.len / 16 * BLOCK as u32,
        count: 0,
        list: Vec::new(),
    }
}

/// A READ with an external table that `spoil` has changed.
fn outside(b: &Bench, entries: usize, spoil: impl FnOnce(&mut Table)) -> Fallible<String> {
    let mut s = b.session()?;
    let mut table = outside_table(&mut s, entries);
    spoil(&mut table);
    ask_and_work(&mut s, |_| Cmd::table_in(read_10(0, 4), &table))
}
