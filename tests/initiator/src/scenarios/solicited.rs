// SPDX-License-Identifier: GPL-2.0
//! Solicited notification: a unit of the target has the bit, and its completion raises a solicited
//! event, exactly when that was asked for.

use super::{
    admin_row,
    commands::tur,
    row,
    Scenario, //
};
use crate::{
    bench::{
        Bench,
        Guarded, //
    },
    conn::{
        Got,
        Options, //
    },
    iu::{
        lun,
        task_management,
        Cmd, //
    },
    session::{
        Session,
        PATIENCE, //
    },
    srp::wire::login::LoginReq,
    verbs::Fallible, //
};

/// Asks for an event with a response that says success.
const SUCCESS: u8 = 0x02;
/// Asks for an event with a response that says failure.
const FAILURE: u8 = 0x04;

const NO: &[&str] = &["no bit, no event"];
const YES: &[&str] = &["bit, event"];

pub(super) const ROWS: &[Scenario] = &[
    row(
        "solicited.unasked",
        "a response that nobody wants to be told of",
        NO,
        |b| command(b, 0, 0x00),
    ),
    row("solicited.success", "success wanted, GOOD", YES, |b| {
        command(b, SUCCESS, 0x00)
    }),
    row(
        "solicited.success_failed",
        "success wanted, CHECK CONDITION",
        NO,
        |b| command(b, SUCCESS, 0xff),
    ),
    row(
        "solicited.failure",
        "failure wanted, CHECK CONDITION",
        YES,
        |b| command(b, FAILURE, 0xff),
    ),
    row("solicited.failure_good", "failure wanted, GOOD", NO, |b| {
        command(b, FAILURE, 0x00)
    }),
    row("solicited.both", "both wanted, GOOD", YES, |b| {
        command(b, SUCCESS | FAILURE, 0x00)
    }),
    row(
        "solicited.malformed",
        "failure wanted, malformed command",
        YES,
        |b| {
            let mut s = quiet(b, |_| ())?;
            let cmd = Cmd {
                sol_not: FAILURE,
                in_fmt: 1,
                ..tur()
            };
            told(&mut s, &cmd.bytes())
        },
    ),
    row(
        "solicited.function",
        "success wanted, LUN RESET",
        YES,
        |b| {
            let mut s = quiet(b, |_| ())?;
            let mut bytes = task_management(9, 8, lun(0), 0);
            bytes[1] = SUCCESS;
            told(&mut s, &bytes)
        },
    ),
    row(
        "solicited.function_unasked",
        "LUN RESET, nothing wanted",
        NO,
        |b| {
            let mut s = quiet(b, |_| ())?;
            told(&mut s, &task_management(9, 8, lun(0), 0))
        },
    ),
    row(
        "solicited.function_failed",
        "failure wanted, unknown function",
        YES,
        |b| {
            let mut s = quiet(b, |_| ())?;
            let mut bytes = task_management(9, 0x77, lun(0), 0);
            bytes[1] = FAILURE;
            told(&mut s, &bytes)
        },
    ),
    admin_row(
        "solicited.logout",
        "SRP_T_LOGOUT, wanted at login",
        YES,
        |b| at_disable(b, |r| r.solicit_logout = true),
    ),
    admin_row(
        "solicited.logout_unasked",
        "SRP_T_LOGOUT, not wanted",
        NO,
        |b| at_disable(b, |_| ()),
    ),
    admin_row(
        "solicited.event",
        "SRP_AER_REQ, wanted at login",
        YES,
        |b| at_new_lun(b, |r| r.solicit_event = true),
    ),
    admin_row(
        "solicited.event_unasked",
        "events not wanted: no SRP_AER_REQ",
        &["no answer"],
        |b| at_new_lun(b, |_| ()),
    ),
];

/// A session that never asks for events by itself.
fn quiet(b: &Bench, change: impl FnOnce(&mut LoginReq)) -> Fallible<Guarded> {
    let mut req = b.request(1);
    change(&mut req);
    let options = Options {
        poll_only: true,
        ..Options::default()
    };
    b.session_with(&req, options)
}

/// Words for a unit that came.
fn words(got: Got, event: bool) -> String {
    match got {
        Got::Message(bytes) => {
            let bit = if bytes.get(1).is_some_and(|b| b & 1 != 0) {
                "bit"
            } else {
                "no bit"
            };
            format!("{bit}, {}", if event { "event" } else { "no event" })
        }
        Got::Gone => "disconnected".into(),
        Got::Timeout => "no answer".into(),
    }
}

/// Sends a request and says how its response was announced.
fn told(s: &mut Session, bytes: &[u8]) -> Fallible<String> {
    // One that works, so that nothing of the login is left in the queues.
    s.works()?;
    s.conn.arm_solicited()?;
    s.send(bytes)?;
    let (got, event) = s.conn.recv_solicited(PATIENCE)?;
    Ok(words(got, event))
}

fn command(b: &Bench, sol_not: u8, opcode: u8) -> Fallible<String> {
    let mut s = quiet(b, |_| ())?;
    let cmd = Cmd {
        sol_not,
        tag: 5,
        ..Cmd::new(vec![opcode])
    };
    told(&mut s, &cmd.bytes())
}

/// The unit that comes when the port is disabled.
fn at_disable(b: &Bench, change: impl FnOnce(&mut LoginReq)) -> Fallible<String> {
    let mut s = quiet(b, change)?;
    s.works()?;
    s.conn.arm_solicited()?;
    b.admin_start("disable")?;
    let got = s.conn.recv_solicited(PATIENCE);
    drop(s);
    b.admin_done()?;
    b.admin("enable")?;
    let (got, event) = got?;
    Ok(words(got, event))
}

/// The unit that comes when a logical unit is added.
fn at_new_lun(b: &Bench, change: impl FnOnce(&mut LoginReq)) -> Fallible<String> {
    let mut s = quiet(b, change)?;
    s.works()?;
    s.conn.arm_solicited()?;
    b.admin_start("add-lun")?;
    let got = s.conn.recv_solicited(PATIENCE);
    b.admin_done()?;
    drop(s);
    b.admin("drop-lun")?;
    let (got, event) = got?;
    Ok(words(got, event))
}
