// SPDX-License-Identifier: GPL-2.0
//! Credits: as many requests as were granted, no more; every credit comes back.

use std::time::Duration;

use super::{
    admin_row,
    commands::tur,
    row,
    tasks::{credits_and_work, slowly, start_on, start_slow, SILENT, SLOW},
    Scenario,
};
use crate::{
    bench::Bench,
    conn::Options,
    iu::{lun, read_10, short_iu, task_management, Cmd},
    session::{Seen, Session, PATIENCE},
    srp::wire::login::MultiChannel,
    verbs::Fallible,
};

pub(super) const ROWS: &[Scenario] = &[
    row(
        "credits.all_at_once",
        "as many commands at once as were granted",
        &["all answered; all credits; works"],
        |b| {
            let mut s = b.session()?;
            flood(&mut s, 1)
        },
    ),
    row(
        "credits.ten_times",
        "the same ten times in a row",
        &["all answered; all credits; works"],
        |b| {
            let mut s = b.session()?;
            flood(&mut s, 10)
        },
    ),
    row(
        "credits.one_by_one",
        "every response returns one credit",
        &["delta 1 each time"],
        |b| {
            let mut s = b.session()?;
            for n in 0..20 {
                match s.ask(&tur())? {
                    Seen::Rsp(rsp) if rsp.delta == 1 => (),
                    Seen::Rsp(rsp) => return Ok(format!("delta {} at {n}", rsp.delta)),
                    other => return Ok(other.to_string()),
                }
            }
            Ok("delta 1 each time".into())
        },
    ),
    row(
        "credits.of_malformed",
        "malformed requests return their credits",
        &["all credits; works"],
        |b| {
            let mut s = b.session()?;
            for n in 0..50_u8 {
                let cmd = Cmd {
                    in_fmt: 1 + n % 2,
                    ..Cmd::new(read_10(0, 1))
                };
                let tag = s.tag();
                match n % 3 {
                    0 => s.send(&Cmd { tag, ..cmd }.bytes())?,
                    1 => s.send(&Cmd { tag, ..cmd }.bytes()[..20])?,
                    _ => s.send(&task_management(tag, 8, lun(0), 0)[..30])?,
                }
                if let Seen::Gone = s.answer(PATIENCE)? {
                    return Ok(format!("disconnected at {n}"));
                }
            }
            credits_and_work(&mut s)
        },
    ),
    admin_row(
        "credits.overrun",
        "one command more than was granted",
        &["disconnected"],
        |b| {
            slowly(b, |b| {
                let mut s = b.session()?;
                let limit = s.login.req_lim_delta;
                for _ in 0..limit {
                    start_slow(&mut s)?;
                }
                s.start(&tur())?;
                Ok(s.end(Duration::from_secs(8))?.to_string())
            })
        },
    ),
    admin_row(
        "credits.overrun_by_many",
        "64 commands more than were granted; a session beside it does not notice",
        &["disconnected; works"],
        |b| {
            slowly(b, |b| {
                let mut beside = b.session_with(&b.request(2), Options::default())?;
                let mut s = b.session_with(
                    &b.request(1),
                    Options {
                        sends: 256,
                        ..Options::default()
                    },
                )?;
                let limit = s.login.req_lim_delta;
                for _ in 0..limit + 64 {
                    start_slow(&mut s)?;
                }
                let end = s.end(Duration::from_secs(8))?;
                Ok(format!("{end}; {}", beside.works()?))
            })
        },
    ),
    admin_row(
        "credits.of_aborted",
        "8 commands aborted one after the other: their credits come back",
        &["all credits; works"],
        |b| {
            slowly(b, |b| {
                let mut s = b.session()?;
                let tasks: Vec<u64> = (0..8)
                    .map(|_| start_slow(&mut s))
                    .collect::<Fallible<_>>()?;
                std::thread::sleep(Duration::from_millis(200));
                let mut tags = Vec::new();
                for task in tasks {
                    let tag = s.tag();
                    s.send(&task_management(tag, 1, lun(SLOW), task))?;
                    tags.push(tag);
                }
                while !tags.is_empty() {
                    match s.answer(Duration::from_secs(20))? {
                        Seen::Rsp(rsp) => tags.retain(|&t| t != rsp.tag),
                        other => return Ok(format!("{other}, {} functions open", tags.len())),
                    }
                }
                while let Seen::Rsp(_) = s.answer(Duration::from_secs(1))? {}
                credits_and_work(&mut s)
            })
        },
    ),
    admin_row(
        "credits.request",
        "commands that end silently by the reset of another initiator: SRP_CRED_REQ",
        &["SRP_CRED_REQ; all credits; works"],
        |b| silent_end(b, MultiChannel::Multi, true),
    ),
    admin_row(
        "credits.request_unasked",
        "the same of an initiator that may take SRP_CRED_REQ for a response, and has a credit left",
        &["no SRP_CRED_REQ; all credits; works"],
        |b| silent_end(b, MultiChannel::Single, true),
    ),
    admin_row(
        "credits.request_unanswered",
        "the same, and SRP_CRED_REQ is never answered",
        &["SRP_CRED_REQ; all credits; works"],
        |b| silent_end(b, MultiChannel::Multi, false),
    ),
    row(
        "credits.response_to_nothing",
        "SRP_CRED_RSP that nobody asked for",
        &["disconnected"],
        |b| {
            let mut s = b.session()?;
            s.send(&short_iu(0x41, 1))?;
            Ok(s.end(PATIENCE)?.to_string())
        },
    ),
    row(
        "credits.few_receives",
        "4 receives here, posted again late",
        &["32 answers; works"],
        |b| {
            let options = Options {
                recvs: 40,
                first_recvs: 4,
                repost: false,
                ..Options::default()
            };
            let mut s = b.session_with(&b.request(1), options)?;
            for _ in 0..32 {
                s.start(&tur())?;
            }
            std::thread::sleep(Duration::from_millis(500));
            s.conn.post_recvs(4)?;
            let mut answers = 0;
            while answers < 32 {
                match s.answer(PATIENCE)? {
                    Seen::Rsp(_) => answers += 1,
                    other => return Ok(format!("{other} after {answers}")),
                }
            }
            Ok(format!("{answers} answers; {}", s.works()?))
        },
    ),
    row(
        "credits.no_receives",
        "no receive at all, and no patience granted to the target",
        &["disconnected"],
        |b| {
            let options = Options {
                recvs: 4,
                first_recvs: 0,
                rnr_retry: 1,
                repost: false,
                ..Options::default()
            };
            let mut s = b.session_with(&b.request(1), options)?;
            s.start(&tur())?;
            Ok(s.end(Duration::from_secs(20))?.to_string())
        },
    ),
];

/// Sends all that is granted, and waits for all answers, `times` times.
fn flood(s: &mut Session, times: usize) -> Fallible<String> {
    for _ in 0..times {
        let limit = s.login.req_lim_delta;
        for _ in 0..limit {
            s.start(&tur())?;
        }
        for n in 0..limit {
            match s.answer(PATIENCE)? {
                Seen::Rsp(_) => (),
                other => return Ok(format!("{other} after {n} of {limit}")),
            }
        }
    }
    Ok(format!("all answered; {}", credits_and_work(s)?))
}

/// All credits are spent on slow commands, which another initiator's LUN RESET ends. On this disk
/// they have no response then, so only SRP_CRED_REQ can bring the credits back. An initiator that
/// gets none, because it asks for SINGLE, keeps one for its next request, as Linux does.
fn silent_end(b: &Bench, multichannel: MultiChannel, polite: bool) -> Fallible<String> {
    slowly(b, |b| {
        let mut s = b.session_as(|r| r.multichannel = multichannel)?;
        s.polite = polite;
        let mut other = b.session_with(&b.request(2), Options::default())?;
        let limit = s.login.req_lim_delta;
        let kept = i32::from(multichannel == MultiChannel::Single);
        for _ in kept..limit {
            start_on(&mut s, SILENT)?;
        }
        std::thread::sleep(Duration::from_millis(500));
        let tag = other.tag();
        other.send(&task_management(tag, 8, lun(SILENT), 0))?;
        let mut asked = false;
        let end = std::time::Instant::now() + Duration::from_secs(15);
        while !asked && std::time::Instant::now() < end {
            match s.next(Duration::from_secs(1))? {
                Seen::CredReq { .. } => asked = true,
                Seen::Gone => return Ok("disconnected".into()),
                _ => (),
            }
        }
        // When the reset is over, all commands are; the next response brings the credits that no
        // request has brought, because the initiator was not without any.
        other.answer(Duration::from_secs(30))?;
        let word = if asked {
            "SRP_CRED_REQ"
        } else {
            "no SRP_CRED_REQ"
        };
        if s.credits <= 0 {
            return Ok(format!("{word}; {} of {limit} credits", s.credits));
        }
        Ok(format!("{word}; {}", credits_and_work(&mut s)?))
    })
}
