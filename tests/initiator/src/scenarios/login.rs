// SPDX-License-Identifier: GPL-2.0
//! Logins: what is agreed on, what is refused and why, channels of one nexus.

use std::time::Duration;

use super::{
    admin_row,
    row,
    Needs,
    Scenario, //
};
use crate::{
    bench::{
        Bench,
        Guarded, //
    },
    conn::Options,
    dest::{
        Dest,
        Service, //
    },
    session::{
        login_bytes,
        Login, //
    },
    srp::wire::{
        ident::PortId,
        login::{
            LoginReq,
            MultiChannel,
            MultiChannelResult, //
        }, //
    },
    verbs::Fallible, //
};

const REJ_LENGTH: &[&str] = &["rejected 0x10002"];
const REJ_TARGET: &[&str] = &["rejected 0x10003"];
const ACCEPTED: &[&str] = &["accepted; works"];
const PROPER: &[&str] = &["tag echoed, formats 0x6, no channel; works"];

/// Private data of the IB/CM's request, in bytes.
const IB_PRIVATE_DATA: usize = 92;

pub(super) const ROWS: &[Scenario] = &[
    row("login.ipv4", "a proper login over IPv4", PROPER, |b| {
        proper(b, b.dest)
    })
    .needing(Needs::RdmaCm),
    row("login.ipv6", "a proper login over IPv6", PROPER, |b| {
        proper(b, b.dest6.ok_or("no --dest6")?)
    })
    .needing(Needs::RdmaCm),
    row(
        "login.ib",
        "a proper login through the IB/CM",
        PROPER,
        |b| proper(b, b.dest),
    )
    .needing(Needs::IbCm),
    row(
        "login.ib_padding",
        "bytes behind the request, as many as the IB/CM carries",
        ACCEPTED,
        |b| {
            let mut data = b.dest.emit(&b.request(1));
            data.resize(IB_PRIVATE_DATA, 0x5a);
            bytes_work(b, &data)
        },
    )
    .needing(Needs::IbCm),
    row(
        "login.ib_service",
        "another service id of the port",
        &["rejected by the CM, 8"],
        |b| {
            let Dest::Ib(service) = b.dest else {
                return Err("no destination of the IB/CM".into());
            };
            let other = Dest::Ib(Service {
                id: service.id ^ 1,
                ..service
            });
            let data = other.emit(&b.request(1));
            Ok(login_bytes(other, Options::default(), &data)?.to_string())
        },
    )
    .needing(Needs::IbCm),
    row(
        "login.tag_extremes",
        "tags 0 and 2^64 - 1",
        &["echoed, echoed"],
        |b| {
            let mut words = Vec::new();
            for tag in [0, u64::MAX] {
                let session = b.session_as(|r| r.tag = tag)?;
                words.push(if session.login.tag == tag {
                    "echoed"
                } else {
                    "another"
                });
            }
            Ok(words.join(", "))
        },
    ),
    row(
        "login.rejected_tag",
        "the tag of a refused login",
        &["rejected, tag echoed"],
        |b| {
            let req = LoginReq {
                req_it_iu_len: 8,
                ..b.request(1)
            };
            Ok(match b.login(&req)? {
                Login::Rejected(rej) if rej.tag == req.tag => "rejected, tag echoed".into(),
                other => other.to_string(),
            })
        },
    ),
    row(
        "login.rejected_formats",
        "a refused login names the formats",
        &["formats 0x6"],
        |b| match b.login(&LoginReq {
            req_it_iu_len: 0,
            ..b.request(1)
        })? {
            Login::Rejected(rej) => Ok(format!("formats {:#x}", rej.buf_fmt)),
            other => Ok(other.to_string()),
        },
    ),
    // --- lengths ---
    row(
        "login.iu_len_63",
        "units of 63 bytes asked for",
        REJ_LENGTH,
        |b| with_length(b, 63),
    ),
    row(
        "login.iu_len_64",
        "units of 64 bytes, the smallest",
        ACCEPTED,
        |b| with_length(b, 64),
    ),
    row(
        "login.iu_len_largest",
        "units of srp_max_req_size",
        ACCEPTED,
        |b| with_length(b, 8276),
    ),
    row(
        "login.iu_len_above",
        "units of one byte more",
        REJ_LENGTH,
        |b| with_length(b, 8277),
    ),
    row("login.iu_len_zero", "units of no bytes", REJ_LENGTH, |b| {
        with_length(b, 0)
    }),
    row("login.iu_len_4g", "units of 4 GiB", REJ_LENGTH, |b| {
        with_length(b, u32::MAX)
    }),
    row(
        "login.ti_iu_len",
        "max_ti_iu_len is what the target will send, not an echo",
        &["256 to 8276, 64 to 64"],
        |b| {
            let large = b.session()?.login.max_ti_iu_len;
            let small = b.session_as(|r| r.req_it_iu_len = 64)?.login.max_ti_iu_len;
            Ok(format!("{large} to 8276, {small} to 64"))
        },
    ),
    row(
        "login.it_iu_len",
        "max_it_iu_len is srp_max_req_size",
        &["8276"],
        |b| Ok(b.session()?.login.max_it_iu_len.to_string()),
    ),
    row(
        "login.reserved_zero",
        "reserved bytes of the response are zero",
        &["zero"],
        |b| {
            let s = b.session()?;
            let bytes = &s.login_bytes;
            let clean = bytes[1..4].iter().chain(&bytes[27..52]).all(|&x| x == 0);
            Ok(if clean {
                "zero".into()
            } else {
                "not zero".into()
            })
        },
    ),
    // --- names ---
    row(
        "login.wrong_target",
        "the id of another target",
        REJ_TARGET,
        |b| answer(b, |r| r.target_port = PortId([0x5a; 16])),
    ),
    row(
        "login.wrong_target_high",
        "the first half is wrong",
        REJ_TARGET,
        |b| answer(b, |r| r.target_port.0[7] ^= 1),
    ),
    row(
        "login.wrong_target_low",
        "the second half is wrong",
        REJ_TARGET,
        |b| answer(b, |r| r.target_port.0[15] ^= 1),
    ),
    row(
        "login.no_access",
        "an initiator that has no access",
        &["rejected 0x10006"],
        |b| answer(b, |r| r.initiator_port = PortId([0x77; 16])),
    ),
    row(
        "login.revision_10",
        "port ids in the layout of revision 10: the halves swapped",
        ACCEPTED,
        |b| {
            works_with(b, |r| {
                r.initiator_port.0.rotate_left(8);
                r.target_port.0.rotate_left(8);
            })
        },
    ),
    // --- formats ---
    row(
        "login.formats_none",
        "no descriptor format asked for",
        ACCEPTED,
        |b| works_with(b, |r| r.buf_fmt = 0),
    ),
    row(
        "login.formats_unknown",
        "only unknown formats",
        ACCEPTED,
        |b| works_with(b, |r| r.buf_fmt = 0xfff9),
    ),
    row(
        "login.formats_swapped",
        "formats with their bytes swapped, as iPXE has them",
        ACCEPTED,
        |b| works_with(b, |r| r.buf_fmt = 0x0200),
    ),
    row(
        "login.formats_direct",
        "direct descriptors only",
        ACCEPTED,
        |b| works_with(b, |r| r.buf_fmt = 2),
    ),
    row(
        "login.formats_indirect",
        "indirect descriptors only",
        ACCEPTED,
        |b| works_with(b, |r| r.buf_fmt = 4),
    ),
    row(
        "login.formats_more",
        "unknown formats besides known ones",
        ACCEPTED,
        |b| works_with(b, |r| r.buf_fmt = 0xffff),
    ),
    // --- flags ---
    row(
        "login.action_2",
        "reserved multi-channel action 2",
        ACCEPTED,
        |b| works_with(b, |r| r.multichannel = MultiChannel::Reserved(2)),
    ),
    row(
        "login.action_3",
        "reserved multi-channel action 3",
        ACCEPTED,
        |b| works_with(b, |r| r.multichannel = MultiChannel::Reserved(3)),
    ),
    row(
        "login.reserved_flags",
        "reserved bits of req_flags",
        ACCEPTED,
        |b| {
            let mut data = b.dest.emit(&b.request(1));
            data[b.dest.layout().flags] |= 0x0c;
            bytes_work(b, &data)
        },
    ),
    row(
        "login.wrong_opcode",
        "private data that is no login request",
        &["rejected 0x10000"],
        |b| {
            let mut data = b.dest.emit(&b.request(1));
            data[b.dest.layout().opcode] = 2;
            Ok(b.login_bytes(&data, Options::default())?.to_string())
        },
    )
    .needing(Needs::FirstByte),
    row(
        "login.no_data",
        "no private data: the CM pads it with zeros, so the length asked for is 0",
        REJ_LENGTH,
        |b| Ok(b.login_bytes(&[], Options::default())?.to_string()),
    ),
    // --- immediate data ---
    row(
        "login.immediate_offsets",
        "immediate data at 48, 68, 80 is granted; at 0, 47, 81, 65535 not",
        &["yes yes yes no no no no"],
        |b| {
            let mut words = Vec::new();
            for offset in [48, 68, 80, 0, 47, 81, 65535] {
                let s = b.session_as(|r| {
                    r.imm_requested = true;
                    r.imm_data_offset = offset;
                })?;
                words.push(if s.login.imm_supported { "yes" } else { "no" });
            }
            Ok(words.join(" "))
        },
    ),
    row(
        "login.immediate_unasked",
        "immediate data that nobody asked for",
        &["no"],
        |b| {
            let s = b.session_as(|r| r.imm_data_offset = 68)?;
            Ok(if s.login.imm_supported { "yes" } else { "no" }.into())
        },
    ),
    row(
        "login.immediate_no_room",
        "immediate data beyond the unit asked for",
        &["no; works"],
        |b| {
            let mut s = b.session_as(|r| {
                r.imm_requested = true;
                r.imm_data_offset = 68;
                r.req_it_iu_len = 64;
            })?;
            let granted = if s.login.imm_supported { "yes" } else { "no" };
            Ok(format!("{granted}; {}", s.works()?))
        },
    ),
    // --- channels ---
    row(
        "login.single_fresh",
        "SINGLE without other channels",
        &["no channel; works"],
        |b| {
            let mut s = b.session_as(|r| r.multichannel = MultiChannel::Single)?;
            let result = result(&s);
            Ok(format!("{result}; {}", s.works()?))
        },
    ),
    row(
        "login.multi_joins",
        "MULTI beside another channel of the nexus",
        &["no channel, maintained; works, works"],
        |b| {
            let (mut one, mut two) = (b.session()?, b.session()?);
            let results = format!("{}, {}", result(&one), result(&two));
            Ok(format!("{results}; {}, {}", one.works()?, two.works()?))
        },
    ),
    row(
        "login.single_terminates",
        "SINGLE ends all other channels of the nexus",
        &["terminated; disconnected, disconnected, disconnected; works"],
        |b| {
            let mut old = vec![b.session()?, b.session()?, b.session()?];
            let mut new = b.session_as(|r| r.multichannel = MultiChannel::Single)?;
            let mut ends = Vec::new();
            for s in &mut old {
                ends.push(s.end(Duration::from_secs(15))?.to_string());
            }
            Ok(format!(
                "{}; {}; {}",
                result(&new),
                ends.join(", "),
                new.works()?
            ))
        },
    ),
    row(
        "login.single_of_another",
        "SINGLE of another initiator leaves ours alone",
        &["no channel; works, works"],
        |b| {
            let mut ours = b.session()?;
            let mut theirs = b.session_with(
                &LoginReq {
                    multichannel: MultiChannel::Single,
                    ..b.request(2)
                },
                Options::default(),
            )?;
            let result = result(&theirs);
            Ok(format!("{result}; {}, {}", ours.works()?, theirs.works()?))
        },
    ),
    row(
        "login.failed_single",
        "SINGLE in a login that is refused ends nothing",
        &["rejected 0x10002; works"],
        |b| {
            let mut ours = b.session()?;
            let refused = b.login(&LoginReq {
                multichannel: MultiChannel::Single,
                req_it_iu_len: 0,
                ..b.request(1)
            })?;
            Ok(format!("{refused}; {}", ours.works()?))
        },
    ),
    row(
        "login.many_channels",
        "16 channels of one nexus",
        &["16 work"],
        |b| {
            let mut all: Vec<Guarded> = (0..16).map(|_| b.session()).collect::<Fallible<_>>()?;
            let mut good = 0;
            for s in &mut all {
                good += usize::from(s.works()? == "works");
            }
            Ok(format!("{good} work"))
        },
    ),
    // --- nothing stays ---
    admin_row(
        "login.failures_leave_nothing",
        "100 refused logins, in four ways, leave nothing",
        &["100 refused; 0 connections; works"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            let mut refused = 0;
            for n in 0..100_u8 {
                let mut req = b.request(1);
                match n % 4 {
                    0 => req.req_it_iu_len = 1,
                    1 => req.target_port.0[0] ^= 1,
                    2 => req.req_it_iu_len = u32::MAX,
                    _ => req.initiator_port = PortId([n | 0x80; 16]),
                }
                refused += usize::from(matches!(b.login(&req)?, Login::Rejected(_)));
            }
            let left = b.connections(0, Duration::from_secs(10))?;
            Ok(format!(
                "{refused} refused; {left} connections; {}",
                b.session()?.works()?
            ))
        },
    ),
    admin_row(
        "login.disabled",
        "a target port that is not enabled",
        &["rejected 0x10001; accepted; works"],
        |b| {
            b.admin("disable")?;
            let first = answer(b, |_| ());
            b.admin("enable")?;
            Ok(format!("{}; {}", first?, works_with(b, |_| ())?))
        },
    ),
    admin_row(
        "login.given_up",
        "20 logins that nobody waits for leave nothing",
        &["0 connections; works"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            for _ in 0..20 {
                let mut conn = crate::conn::Conn::open(b.dest, Options::default())?;
                conn.request(&b.dest.emit(&b.request(1)))?;
            }
            let left = b.connections(0, Duration::from_secs(60))?;
            Ok(format!("{left} connections; {}", b.session()?.works()?))
        },
    ),
    admin_row(
        "login.after_death",
        "the same initiator comes back with SINGLE after it dropped dead",
        &["terminated; works; 1 connections"],
        |b| {
            let mut dead = b.session()?;
            dead.conn.drop_dead();
            let mut s = b.session_as(|r| r.multichannel = MultiChannel::Single)?;
            let seen = format!("{}; {}", result(&s), s.works()?);
            let left = b.connections(1, Duration::from_secs(60))?;
            Ok(format!("{seen}; {left} connections"))
        },
    ),
];

/// Words for what became of other channels.
fn result(session: &Guarded) -> &'static str {
    match session.login.multichannel {
        MultiChannelResult::NoChannel => "no channel",
        MultiChannelResult::Terminated => "terminated",
        MultiChannelResult::Maintained => "maintained",
    }
}

fn proper(b: &Bench, dest: Dest) -> Fallible<String> {
    let req = b.request(1);
    let login = login_bytes(dest, Options::default(), &dest.emit(&req))?;
    let Login::Accepted(session) = login else {
        return Ok(login.to_string());
    };
    let mut s = b.guard(session);
    let tag = if s.login.tag == req.tag {
        "tag echoed"
    } else {
        "another tag"
    };
    let words = format!("{tag}, formats {:#x}, {}", s.login.buf_fmt, result(&s));
    Ok(format!("{words}; {}", s.works()?))
}

/// The answer to a changed request; a session is ended at once.
fn answer(b: &Bench, change: impl FnOnce(&mut LoginReq)) -> Fallible<String> {
    let mut req = b.request(1);
    change(&mut req);
    Ok(b.login(&req)?.to_string())
}

/// The answer to private data, and whether the session works.
fn bytes_work(b: &Bench, data: &[u8]) -> Fallible<String> {
    match b.login_bytes(data, Options::default())? {
        Login::Accepted(session) => {
            let mut s = b.guard(session);
            Ok(format!("accepted; {}", s.works()?))
        }
        other => Ok(other.to_string()),
    }
}

fn works_with(b: &Bench, change: impl FnOnce(&mut LoginReq)) -> Fallible<String> {
    let mut req = b.request(1);
    change(&mut req);
    bytes_work(b, &b.dest.emit(&req))
}

/// A login that asks for units of this length.
fn with_length(b: &Bench, length: u32) -> Fallible<String> {
    works_with(b, |r| r.req_it_iu_len = length)
}
