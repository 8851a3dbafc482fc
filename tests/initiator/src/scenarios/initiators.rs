// SPDX-License-Identifier: GPL-2.0
//! Published initiators: each logs in as its source has it, writes, reads, aborts if it can, meets a
//! change of the logical units, and leaves.
//!
//! What matters most is what the target must not say: some take any unit for a response, some post a
//! receive per request, some close the connection. Another initiator, which asks for events, tells
//! when the target has noticed a change. docs/initiators.md names the sources.

use std::time::Duration;

use super::{
    admin_row,
    immediate::OFFSET,
    tasks::{
        slowly,
        ABORT_TASK,
        SLOW, //
    },
    Scenario, //
};
use crate::{
    bench::{
        Bench,
        Guarded, //
    },
    conn::Options,
    iu::{
        lun,
        read_10,
        scsi,
        task_management,
        write_10,
        Cmd,
        Table,
        BLOCK, //
    },
    session::{
        Seen,
        Session,
        PATIENCE, //
    },
    srp::wire::login::{
        LoginReq,
        MultiChannel, //
    },
    verbs::Fallible, //
};

/// Time after which a change of logical units was noticed.
const NOTICED: Duration = Duration::from_secs(7);

const SAME: &str = "same data";

const GOOD: &[&str] =
    &["same data; abort code 0, command silent; abort code 5; nothing said; works; left"];

pub(super) const ROWS: &[Scenario] = &[
    admin_row(
        "initiators.ipxe",
        "iPXE: short units, formats in the wrong byte order, two receives, no aborts",
        &["same data; no abort; nothing said; works; left"],
        |b| IPXE.run(b),
    ),
    admin_row(
        "initiators.gpxe",
        "gPXE: the same with tags that count from 1",
        &["same data; no abort; nothing said; works; left"],
        |b| GPXE.run(b),
    ),
    admin_row(
        "initiators.topspin",
        "Topspin's for Linux 2.4 and 2.6: tables only, tags are addresses in the kernel",
        GOOD,
        |b| TOPSPIN.run(b),
    ),
    admin_row(
        "initiators.windows",
        "WinOFED: the length that the profile allows, any unit is a response",
        GOOD,
        |b| WINDOWS.run(b),
    ),
    admin_row(
        "initiators.linux_2_6_15",
        "the first ib_srp: a receive per request",
        GOOD,
        |b| LINUX_2_6_15.run(b),
    ),
    admin_row(
        "initiators.linux_3_0",
        "ib_srp before it had channels: tables in the unit",
        GOOD,
        |b| LINUX_3_0.run(b),
    ),
    admin_row(
        "initiators.linux_3_19",
        "ib_srp with two channels",
        GOOD,
        |b| LINUX_3_19.run(b),
    ),
    admin_row(
        "initiators.linux_5_1",
        "ib_srp with two channels and immediate data",
        GOOD,
        |b| LINUX_5_1.run(b),
    ),
];

/// What is particular to an initiator.
struct Profile {
    /// Length of the units that it asks for.
    iu_len: u32,
    /// Descriptor formats, as they are on the wire.
    formats: u16,
    /// It asks for immediate data, and sends some.
    immediate: bool,
    /// Tag of its n-th command.
    tag: fn(u64) -> u64,
    /// Tag of the n-th task management request; [`None`] if it sends none.
    abort: Option<fn(u64) -> u64>,
    /// Descriptors of a block.
    pieces: usize,
    /// Receives that are posted before the first request.
    receives: usize,
    /// It posts a receive with each request, and none again.
    receive_per_request: bool,
    /// Channels: the first is SINGLE, others are MULTI.
    channels: usize,
}

/// ipxe: `src/drivers/block/srp.c`, `src/net/infiniband/ib_cmrc.c`.
const IPXE: Profile = Profile {
    iu_len: 80,
    formats: 0x0200,
    immediate: false,
    tag: |n| 0x6950_5845_0000_0000 | n,
    abort: None,
    pieces: 1,
    receives: 2,
    receive_per_request: false,
    channels: 1,
};

/// gpxe: `src/drivers/block/srp.c`.
const GPXE: Profile = Profile {
    tag: |n| 1 + n,
    ..IPXE
};

/// Topspin 2004: `srp_host.c`. Tags are the addresses of its own structures.
const TOPSPIN: Profile = Profile {
    iu_len: 48 + 20 + 16 * 16,
    formats: 4,
    tag: |n| 0xffff_8100_0000_0000 + 0x100 * n,
    abort: Some(|n| 0xffff_8100_0001_0000 + 0x100 * n),
    receives: 4,
    receive_per_request: true,
    ..WINDOWS
};

/// WinOFED: `ulp/srp/kernel/srp_connection.c`, `srp_data_path.c`.
const WINDOWS: Profile = Profile {
    iu_len: 64 + 20 + 16 * 257,
    formats: 6,
    tag: |n| n,
    abort: Some(|n| n),
    pieces: 2,
    receives: 64,
    ..IPXE
};

/// Linux 2.6.15: `drivers/infiniband/ulp/srp/ib_srp.c`. Tags are numbers of slots.
const LINUX_2_6_15: Profile = Profile {
    iu_len: 48 + 20 + 16 * 16,
    abort: Some(|n| n | (1 << 31)),
    receives: 1,
    receive_per_request: true,
    ..WINDOWS
};

/// Linux 3.0: the same file.
const LINUX_3_0: Profile = Profile {
    iu_len: 48 + 20 + 16 * 12,
    receives: 64,
    receive_per_request: false,
    ..LINUX_2_6_15
};

/// Linux 3.19: the same file.
const LINUX_3_19: Profile = Profile {
    channels: 2,
    ..LINUX_3_0
};

/// Linux 5.1: the same file.
const LINUX_5_1: Profile = Profile {
    iu_len: 8276,
    immediate: true,
    ..LINUX_3_19
};

impl Profile {
    /// Logs in a channel.
    fn channel(&self, b: &Bench, multichannel: MultiChannel) -> Fallible<Guarded> {
        let req = LoginReq {
            tag: 0,
            req_it_iu_len: self.iu_len,
            buf_fmt: self.formats,
            multichannel,
            imm_requested: self.immediate,
            imm_data_offset: if self.immediate { OFFSET as u16 } else { 0 },
            ..b.request(1)
        };
        let spare = if self.receive_per_request { 64 } else { 0 };
        let options = Options {
            recvs: self.receives + spare,
            first_recvs: self.receives,
            repost: !self.receive_per_request,
            recv_per_send: self.receive_per_request,
            ..Options::default()
        };
        b.session_with(&req, options)
    }

    fn run(&self, b: &Bench) -> Fallible<String> {
        let mut s = self.channel(b, MultiChannel::Single)?;
        let mut others = Vec::new();
        for _ in 1..self.channels {
            let mut other = self.channel(b, MultiChannel::Multi)?;
            let data = self.data(&mut other)?;
            if data != SAME {
                return Ok(format!("{data} on another channel"));
            }
            others.push(other);
        }
        let mut words = vec![self.data(&mut s)?];
        match self.abort {
            Some(tag) => {
                self.works(&mut s, SLOW)?;
                words.push(slowly(b, |_| self.abort_running(&mut s, tag(6)))?);
                words.push(match self.abort_nothing(&mut s, tag(7))? {
                    Seen::Rsp(rsp) => format!("abort {rsp}"),
                    other => format!("abort: {other}"),
                });
            }
            None => words.push("no abort".into()),
        }
        let watching = LoginReq {
            solicit_event: true,
            ..b.request(2)
        };
        let mut watcher = b.session_with(&watching, Options::default())?;
        watcher.works()?;
        b.admin("add-lun")?;
        // LIO's LUNs are noticed within five seconds, by some targets never.
        watcher.next(NOTICED)?;
        // Whatever comes now was not asked for.
        let said = s.next(Duration::from_secs(1))?;
        b.admin("drop-lun")?;
        let said = match (said, s.next(Duration::from_secs(1))?) {
            (Seen::Nothing, Seen::Nothing) => "nothing said".into(),
            (Seen::Nothing, seen) | (seen, _) => format!("{seen} said"),
        };
        words.push(said);
        words.push(self.works(&mut s, 0)?);
        drop(watcher);
        for mut one in others.into_iter().chain([s]) {
            one.conn.disconnect(PATIENCE)?;
        }
        words.push("left".into());
        Ok(words.join("; "))
    }

    /// Sends a command with the n-th tag. The next unit must be its response.
    fn ask(&self, s: &mut Session, n: u64, cmd: Cmd) -> Fallible<Seen> {
        let tag = (self.tag)(n);
        s.send(&Cmd { tag, ..cmd }.bytes())?;
        match s.next(PATIENCE)? {
            Seen::Rsp(rsp) if rsp.tag != tag => Ok(Seen::Odd(format!("tag {:#x}", rsp.tag))),
            seen => Ok(seen),
        }
    }

    /// Writes a block and reads it back.
    fn data(&self, s: &mut Session) -> Fallible<String> {
        let data: Vec<u8> = (0..BLOCK).map(|i| (i * 7 + self.pieces) as u8).collect();
        let size = BLOCK / self.pieces;
        let place = |from: usize, i: usize| from + 2 * i * size;
        for (i, piece) in data.chunks(size).enumerate() {
            s.conn.memory.fill(place(0, i), piece);
            s.conn.memory.allow(place(8192, i), size);
        }
        let list = |s: &Session, from| {
            (0..self.pieces)
                .map(|i| s.conn.memory.desc(place(from, i), size))
                .collect::<Vec<_>>()
        };
        let (from, to) = (list(s, 0), list(s, 8192));
        let (write, read) = (write_10(80, 1), read_10(80, 1));
        let (write, read) = if self.immediate {
            let list = Table::new(to);
            let write = Cmd::immediate(write, OFFSET, BLOCK as u32, &data);
            (write, Cmd::table_in(read, &list))
        } else if self.pieces == 1 {
            (Cmd::data_out(write, from[0]), Cmd::data_in(read, to[0]))
        } else {
            let (from, to) = (Table::new(from), Table::new(to));
            (Cmd::table_out(write, &from), Cmd::table_in(read, &to))
        };
        for (n, cmd) in [write, read].into_iter().enumerate() {
            let seen = self.ask(s, n as u64, cmd)?.to_string();
            if seen != "GOOD" {
                return Ok(seen);
            }
        }
        let found: Vec<u8> = (0..self.pieces)
            .flat_map(|i| s.conn.memory.read(place(8192, i), size))
            .collect();
        Ok(if found == data { SAME } else { "other data" }.into())
    }

    /// ABORT TASK of a READ that the disk works on; nothing may be said of the READ.
    fn abort_running(&self, s: &mut Session, tag: u64) -> Fallible<String> {
        let task = (self.tag)(8);
        s.conn.memory.allow(0, BLOCK);
        let read = Cmd {
            tag: task,
            lun: lun(SLOW),
            ..Cmd::data_in(read_10(0, 1), s.conn.memory.desc(0, BLOCK))
        };
        s.send(&read.bytes())?;
        std::thread::sleep(Duration::from_millis(200));
        s.send(&task_management(tag, ABORT_TASK, lun(SLOW), task))?;
        let answer = match s.next(PATIENCE)? {
            Seen::Rsp(rsp) if rsp.tag != tag => return Ok(format!("the command: {rsp}")),
            Seen::Rsp(rsp) => rsp.to_string(),
            other => other.to_string(),
        };
        let command = match s.next(Duration::from_secs(3))? {
            Seen::Nothing => "silent".to_string(),
            other => other.to_string(),
        };
        Ok(format!("abort {answer}, command {command}"))
    }

    /// ABORT TASK of a task that is not there any more.
    fn abort_nothing(&self, s: &mut Session, tag: u64) -> Fallible<Seen> {
        s.send(&task_management(tag, ABORT_TASK, [0; 8], (self.tag)(1)))?;
        s.next(PATIENCE)
    }

    /// Whether commands to a logical unit are served after what may be a unit attention each.
    fn works(&self, s: &mut Session, number: u16) -> Fallible<String> {
        let mut seen = Seen::Nothing;
        for n in 2..6 {
            let cmd = Cmd {
                lun: lun(number),
                ..Cmd::new(vec![scsi::TEST_UNIT_READY])
            };
            seen = self.ask(s, n, cmd)?;
            match seen.to_string().as_str() {
                "GOOD" => return Ok("works".into()),
                attention if attention.starts_with("CHECK CONDITION 06/") => (),
                _ => break,
            }
        }
        Ok(seen.to_string())
    }
}
