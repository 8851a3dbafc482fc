// SPDX-License-Identifier: GPL-2.0
//! Ends of a session: logout of either side, disconnects that are not answered, peers that drop dead.

use std::time::Duration;

use super::{
    admin_row,
    commands::tur,
    row,
    tasks::{
        slowly,
        start_slow, //
    },
    Scenario,
    DISCONNECTED, //
};
use crate::{
    bench::Bench,
    conn::Options,
    iu::short_iu,
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

const I_LOGOUT: u8 = 0x03;

pub(super) const ROWS: &[Scenario] = &[
    row("logout.initiator", "SRP_I_LOGOUT", DISCONNECTED, |b| {
        let mut s = b.session()?;
        s.works()?;
        logout(&mut s)
    }),
    row(
        "logout.first",
        "SRP_I_LOGOUT as the first unit",
        DISCONNECTED,
        |b| logout(&mut *b.session()?),
    ),
    row(
        "logout.one_channel",
        "SRP_I_LOGOUT on one of two channels",
        &["disconnected; works"],
        |b| {
            let (mut one, mut two) = (b.session()?, b.session()?);
            let end = logout(&mut one)?;
            Ok(format!("{end}; {}", two.works()?))
        },
    ),
    row(
        "logout.and_more",
        "commands behind SRP_I_LOGOUT",
        DISCONNECTED,
        |b| {
            let mut s = b.session()?;
            let tag = s.tag();
            s.send(&short_iu(I_LOGOUT, tag))?;
            for _ in 0..20 {
                s.start(&tur())?;
            }
            // Those behind it are not served.
            Ok(s.answer(PATIENCE)?.to_string())
        },
    ),
    row(
        "logout.no_t_logout",
        "SRP_I_LOGOUT is not answered by SRP_T_LOGOUT",
        &["disconnected"],
        |b| {
            let mut s = b.session()?;
            let tag = s.tag();
            s.send(&short_iu(I_LOGOUT, tag))?;
            Ok(s.next(PATIENCE)?.to_string())
        },
    ),
    admin_row(
        "logout.busy",
        "SRP_I_LOGOUT while the disk works on 16 commands",
        &["disconnected; 0 connections"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            slowly(b, |b| {
                let mut s = b.session()?;
                for _ in 0..16 {
                    start_slow(&mut s)?;
                }
                let end = logout(&mut s)?;
                drop(s);
                let left = b.connections(0, Duration::from_secs(30))?;
                Ok(format!("{end}; {left} connections"))
            })
        },
    ),
    // --- logout of the target ---
    row(
        "logout.garbage_reason",
        "a unit that does not exist: SRP_T_LOGOUT says invalid type",
        &["SRP_T_LOGOUT 2, disconnected"],
        |b| {
            let mut s = b.session()?;
            s.works()?;
            s.send(&[0x55; 64])?;
            goodbye(&mut s)
        },
    ),
    row(
        "logout.spurious_reason",
        "SRP_CRED_RSP to nothing: SRP_T_LOGOUT says so",
        &["SRP_T_LOGOUT 3, disconnected"],
        |b| {
            let mut s = b.session()?;
            s.works()?;
            s.send(&short_iu(0x41, 1))?;
            goodbye(&mut s)
        },
    ),
    row(
        "logout.replaced_reason",
        "SINGLE of the same initiator: SRP_T_LOGOUT says so",
        &["SRP_T_LOGOUT 4, disconnected"],
        |b| {
            let mut old = b.session()?;
            old.works()?;
            let new = b.session_as(|r| r.multichannel = MultiChannel::Single)?;
            let seen = goodbye(&mut old);
            drop(new);
            seen
        },
    ),
    admin_row(
        "logout.disabled_reason",
        "the port is disabled: SRP_T_LOGOUT without a reason",
        &["SRP_T_LOGOUT 0, disconnected"],
        |b| at_order(b, "disable", "enable", |_| ()),
    ),
    admin_row(
        "logout.not_told",
        "the port is disabled; an initiator that shows nothing is not told",
        &["disconnected"],
        |b| {
            at_order(b, "disable", "enable", |r| {
                r.multichannel = MultiChannel::Single;
                r.imm_requested = false;
            })
        },
    ),
    admin_row(
        "logout.revoked_reason",
        "the access is taken away: SRP_T_LOGOUT without a reason",
        &["SRP_T_LOGOUT 0, disconnected"],
        |b| at_order(b, "drop-acl 1", "add-acl 1", |_| ()),
    ),
    admin_row(
        "logout.disabled_busy",
        "the port is disabled while commands are under way",
        &["disconnected; 0 connections; works"],
        |b| {
            let seen = slowly(b, |b| {
                let mut s = b.session()?;
                for _ in 0..16 {
                    start_slow(&mut s)?;
                }
                std::thread::sleep(Duration::from_millis(200));
                b.admin_start("disable")?;
                let end = loop {
                    match s.next(Duration::from_secs(15))? {
                        Seen::TLogout { .. } | Seen::Rsp(_) => (),
                        other => break other,
                    }
                };
                drop(s);
                b.admin_done()?;
                let left = b.connections(0, Duration::from_secs(30))?;
                Ok(format!("{end}; {left} connections"))
            });
            b.admin("enable")?;
            Ok(format!("{}; {}", seen?, b.session()?.works()?))
        },
    ),
    // --- peers that do not play along ---
    admin_row(
        "logout.unanswered",
        "a disconnect of the target that is never answered",
        &["0 connections; works"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            let mut s = b.session()?;
            s.conn.options.answer_disconnect = false;
            s.works()?;
            let tag = s.tag();
            s.send(&short_iu(I_LOGOUT, tag))?;
            s.next(PATIENCE)?;
            let left = b.connections(0, Duration::from_secs(60))?;
            drop(s);
            Ok(format!("{left} connections; {}", b.session()?.works()?))
        },
    ),
    admin_row(
        "logout.dead_idle",
        "a peer that drops dead while nothing is under way is let go when the port is disabled",
        &["0 connections; works"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            let mut s = b.session()?;
            s.works()?;
            s.conn.drop_dead();
            b.admin("disable")?;
            let left = b.connections(0, Duration::from_secs(60))?;
            b.admin("enable")?;
            drop(s);
            Ok(format!("{left} connections; {}", b.session()?.works()?))
        },
    ),
    admin_row(
        "logout.dead_unnoticed",
        "a peer that drops dead while nothing is under way, and nobody disables anything",
        &["0 connections; works"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            let mut s = b.session()?;
            s.works()?;
            s.conn.drop_dead();
            let left = b.connections(0, Duration::from_secs(90))?;
            drop(s);
            Ok(format!("{left} connections; {}", b.session()?.works()?))
        },
    ),
    admin_row(
        "logout.dead_busy",
        "a peer that drops dead while the disk works on 16 commands",
        &["0 connections; works"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            let left = slowly(b, |b| {
                let mut s = b.session()?;
                for _ in 0..16 {
                    start_slow(&mut s)?;
                }
                std::thread::sleep(Duration::from_millis(500));
                s.conn.drop_dead();
                let left = b.connections(0, Duration::from_secs(60))?;
                Ok(left.to_string())
            })?;
            Ok(format!("{left} connections; {}", b.session()?.works()?))
        },
    ),
    admin_row(
        "logout.process_dies",
        "the connection goes without a word of SRP",
        &["0 connections; works"],
        |b| {
            b.connections(0, Duration::from_secs(30))?;
            for _ in 0..8 {
                let mut s = b.session_with(&b.request(1), Options::default())?;
                s.start(&tur())?;
                drop(s);
            }
            // A disconnect that is lost is never repeated, as its sender is gone.
            let left = b.connections(0, Duration::from_secs(90))?;
            Ok(format!("{left} connections; {}", b.session()?.works()?))
        },
    ),
];

/// Logs out; says what comes.
fn logout(s: &mut Session) -> Fallible<String> {
    let tag = s.tag();
    s.send(&short_iu(I_LOGOUT, tag))?;
    let end = loop {
        match s.next(Duration::from_secs(15))? {
            Seen::Rsp(_) => (),
            other => break other,
        }
    };
    Ok(end.to_string())
}

/// What the target says before it disconnects.
fn goodbye(s: &mut Session) -> Fallible<String> {
    let first = s.next(Duration::from_secs(15))?;
    Ok(match first {
        Seen::TLogout { .. } => format!("{first}, {}", s.next(Duration::from_secs(15))?),
        _ => first.to_string(),
    })
}

/// What the target says when an order is carried out; `undo` takes it back.
fn at_order(
    b: &Bench,
    order: &str,
    undo: &str,
    change: impl FnOnce(&mut LoginReq),
) -> Fallible<String> {
    let mut s = b.session_as(change)?;
    s.works()?;
    b.admin_start(order)?;
    let seen = goodbye(&mut s);
    drop(s);
    b.admin_done()?;
    b.admin(undo)?;
    seen
}
