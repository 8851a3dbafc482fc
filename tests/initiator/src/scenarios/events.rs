// SPDX-License-Identifier: GPL-2.0
//! Asynchronous events: SRP_AER_REQ when logical units come and go.

use std::time::Duration;

use super::{admin_row, Scenario};
use crate::{
    bench::{Bench, Guarded},
    iu::short_iu,
    session::{Seen, PATIENCE},
    verbs::Fallible,
};

/// Longer than the target takes to notice that logical units have changed.
const NOTICED: Duration = Duration::from_secs(6);

pub(super) const ROWS: &[Scenario] = &[
    admin_row(
        "events.lun_added",
        "a logical unit is added",
        &["SRP_AER_REQ 06/3f/0e; works"],
        |b| told(b, "add-lun", "drop-lun", true),
    ),
    admin_row(
        "events.lun_removed",
        "a logical unit is removed",
        &["SRP_AER_REQ 06/3f/0e; works"],
        |b| {
            b.admin("add-lun")?;
            told(b, "drop-lun", "", true)
        },
    ),
    admin_row(
        "events.lun_of_others",
        "a logical unit comes and goes that this initiator has not",
        &["no answer; works"],
        |b| {
            let mut s = with_events(b, true)?;
            b.admin("add-other-lun")?;
            let seen = s.next(NOTICED);
            b.admin("drop-other-lun")?;
            Ok(match seen? {
                Seen::Nothing => format!("{}; {}", s.next(NOTICED)?, s.works()?),
                told => told.to_string(),
            })
        },
    ),
    admin_row(
        "events.unanswered",
        "SRP_AER_REQ that is never answered: the session goes on",
        &["SRP_AER_REQ 06/3f/0e; works"],
        |b| told(b, "add-lun", "drop-lun", false),
    ),
    admin_row(
        "events.answered_twice",
        "SRP_AER_REQ that is answered twice",
        &["SRP_AER_REQ; disconnected"],
        |b| {
            let mut s = with_events(b, false)?;
            b.admin("add-lun")?;
            let seen = s.next(PATIENCE)?;
            if let Seen::AerReq { tag, .. } = seen {
                s.send(&short_iu(0x42, tag))?;
                s.send(&short_iu(0x42, tag))?;
            }
            let end = s.end(PATIENCE);
            b.admin("drop-lun")?;
            Ok(format!("{seen}; {}", end?))
        },
    ),
    admin_row(
        "events.wrong_tag",
        "SRP_AER_REQ that is answered with another tag",
        &["SRP_AER_REQ; disconnected"],
        |b| {
            let mut s = with_events(b, false)?;
            b.admin("add-lun")?;
            let seen = s.next(PATIENCE)?;
            if let Seen::AerReq { tag, .. } = seen {
                s.send(&short_iu(0x42, tag ^ 1))?;
            }
            let end = s.end(PATIENCE);
            b.admin("drop-lun")?;
            Ok(format!("{seen}; {}", end?))
        },
    ),
];

/// A session that asked for events at login; a `polite` one answers them by itself.
fn with_events(b: &Bench, polite: bool) -> Fallible<Guarded> {
    let mut s = b.session_as(|r| r.solicit_event = true)?;
    s.polite = polite;
    Ok(s)
}

/// What comes when an order is carried out, and whether the session works then.
fn told(b: &Bench, order: &str, undo: &str, polite: bool) -> Fallible<String> {
    let mut s = with_events(b, polite)?;
    s.works()?;
    b.admin(order)?;
    let seen = s.next(PATIENCE)?;
    let mut words = seen.to_string();
    if let Seen::AerReq { sense, .. } = &seen {
        let at = |i: usize| sense.get(i).copied().unwrap_or(0);
        let triple = match at(0) & 0x7f {
            0x72 => (at(1) & 15, at(2), at(3)),
            _ => (at(2) & 15, at(12), at(13)),
        };
        words += &format!(" {:02x}/{:02x}/{:02x}", triple.0, triple.1, triple.2);
    }
    let works = s.works();
    if !undo.is_empty() {
        b.admin(undo)?;
    }
    Ok(format!("{words}; {}", works?))
}
