// SPDX-License-Identifier: GPL-2.0
//! A logged-in connection: tags, credits, answers to what the target asks, and the rules a target
//! must keep whatever a scenario does.
//!
//! Not here: the transport (`conn.rs`), the units' layout (`iu.rs`).

use std::{
    fmt,
    time::{
        Duration,
        Instant, //
    }, //
};

use crate::{
    conn::{
        Conn,
        Got,
        Options,
        Outcome, //
    },
    dest::Dest,
    iu::{
        inquiry,
        Cmd,
        Response, //
    },
    srp::wire::{
        consts::opcode,
        ctrl::{
            AerReq,
            AerRsp,
            CredReq,
            CredRsp,
            TLogout, //
        },
        ident::Lun,
        login::{
            LoginRej,
            LoginReq,
            LoginRsp,
            MultiChannel, //
        }, //
    },
    verbs::Fallible, //
};

/// Time limit for every answer of the target. The machines are emulated.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// CM's "the consumer says no", which goes with an SRP_LOGIN_REJ.
const CONSUMER_DEFINED: i32 = 28;
/// The only reason that iWARP has (`-ECONNRESET`).
const CONNECTION_RESET: i32 = -104;

/// The task management function.
const LUN_RESET: u8 = 0x08;

/// The answer to a login request.
pub(crate) enum Login {
    /// A session.
    Accepted(Box<Session>),
    /// SRP_LOGIN_REJ.
    Rejected(LoginRej),
    /// Neither; in words.
    Other(String),
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(_) => f.write_str("accepted"),
            Self::Rejected(rej) => write!(f, "rejected {:#07x}", rej.reason),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Something the target sent, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// SRP_RSP.
    Rsp(Response),
    /// SRP_CRED_REQ.
    CredReq { tag: u64, delta: i32, sol_not: bool },
    /// SRP_AER_REQ.
    AerReq {
        tag: u64,
        delta: i32,
        sol_not: bool,
        lun: Lun,
        sense: Vec<u8>,
    },
    /// SRP_T_LOGOUT.
    TLogout { reason: u32, sol_not: bool },
    /// A unit that makes no sense.
    Odd(String),
    /// The connection has ended.
    Gone,
    /// Nothing, in time.
    Nothing,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsp(rsp) => rsp.fmt(f),
            Self::CredReq { delta, .. } => write!(f, "SRP_CRED_REQ delta {delta}"),
            Self::AerReq { .. } => write!(f, "SRP_AER_REQ"),
            Self::TLogout { reason, .. } => write!(f, "SRP_T_LOGOUT {reason}"),
            Self::Odd(text) => f.write_str(text),
            Self::Gone => f.write_str("disconnected"),
            Self::Nothing => f.write_str("no answer"),
        }
    }
}

/// A logged-in connection.
pub(crate) struct Session {
    /// What carries it.
    pub(crate) conn: Conn,
    /// The answer to the login.
    pub(crate) login: LoginRsp,
    /// Private data of that answer.
    pub(crate) login_bytes: Vec<u8>,
    /// Requests that may be sent now; negative if the rules were broken.
    pub(crate) credits: i64,
    /// Answer SRP_CRED_REQ and SRP_AER_REQ.
    pub(crate) polite: bool,
    /// Rules that the target broke.
    pub(crate) faults: Vec<String>,
    /// LUN RESET was sent, which leaves unit attentions behind.
    pub(crate) has_reset: bool,
    tag: u64,
}

/// Logs in over a new connection with any private data.
pub(crate) fn login_bytes(dest: Dest, options: Options, data: &[u8]) -> Fallible<Login> {
    let mut conn = Conn::open(dest, options)?;
    match conn.connect(data)? {
        Outcome::Accepted(bytes) => match LoginRsp::parse(&bytes) {
            Ok(login) => Ok(Login::Accepted(Box::new(Session::new(conn, login, bytes)))),
            Err(e) => Ok(Login::Other(format!("accepted, malformed response: {e}"))),
        },
        Outcome::Rejected(CONSUMER_DEFINED | CONNECTION_RESET, bytes) => {
            match LoginRej::parse(&bytes) {
                Ok(rej) => Ok(Login::Rejected(rej)),
                Err(_) => Ok(Login::Other("rejected without SRP_LOGIN_REJ".into())),
            }
        }
        Outcome::Rejected(reason, _) => Ok(Login::Other(format!("rejected by the CM, {reason}"))),
        Outcome::Failed(event, _) => Ok(Login::Other(event)),
    }
}

impl Session {
    fn new(conn: Conn, login: LoginRsp, login_bytes: Vec<u8>) -> Self {
        Self {
            conn,
            login,
            login_bytes,
            credits: login.req_lim_delta.into(),
            polite: true,
            faults: Vec::new(),
            has_reset: false,
            tag: 0x5000_0000_0000_0000,
        }
    }

    /// Returns a new tag.
    pub(crate) fn tag(&mut self) -> u64 {
        self.tag += 1;
        self.tag
    }

    /// Sends any bytes. A unit that is a request costs a credit.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Fallible<()> {
        if bytes.first().is_none_or(|op| op & opcode::RESPONSE == 0) {
            self.credits -= 1;
        }
        if bytes.first() == Some(&opcode::TSK_MGMT) {
            self.has_reset |= bytes.get(30) == Some(&LUN_RESET);
        }
        self.conn.send(bytes)
    }

    /// Sends a command with a tag of its own, and returns that.
    pub(crate) fn start(&mut self, cmd: &Cmd) -> Fallible<u64> {
        let tag = self.tag();
        self.send(&Cmd { tag, ..cmd.clone() }.bytes())?;
        Ok(tag)
    }

    /// Understands a unit, counts its credits, and answers it if it wants an answer.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Fallible<Seen> {
        let limit = self.login.max_ti_iu_len as usize;
        if bytes.len() > limit {
            self.faults
                .push(format!("a unit of {} bytes, {limit} agreed", bytes.len()));
        }
        let (seen, delta, answer) = match bytes.first() {
            Some(&opcode::RSP) => match Response::parse(bytes) {
                Ok(rsp) => (Seen::Rsp(rsp.clone()), rsp.delta, None),
                Err(text) => (Seen::Odd(text), 0, None),
            },
            Some(&opcode::CRED_REQ) => match CredReq::parse(bytes) {
                Ok(req) => (
                    Seen::CredReq {
                        tag: req.tag,
                        delta: req.req_lim_delta,
                        sol_not: req.sol_not,
                    },
                    req.req_lim_delta,
                    Some(CredRsp { tag: req.tag }.emit()),
                ),
                Err(e) => (Seen::Odd(e.to_string()), 0, None),
            },
            Some(&opcode::AER_REQ) => match AerReq::parse(bytes) {
                Ok(req) => (
                    Seen::AerReq {
                        tag: req.tag,
                        delta: req.req_lim_delta,
                        sol_not: req.sol_not,
                        lun: req.lun,
                        sense: req.sense.to_vec(),
                    },
                    req.req_lim_delta,
                    Some(AerRsp { tag: req.tag }.emit()),
                ),
                Err(e) => (Seen::Odd(e.to_string()), 0, None),
            },
            Some(&opcode::T_LOGOUT) => match TLogout::parse(bytes) {
                Ok(req) => (
                    Seen::TLogout {
                        reason: req.reason,
                        sol_not: req.sol_not,
                    },
                    0,
                    None,
                ),
                Err(e) => (Seen::Odd(e.to_string()), 0, None),
            },
            other => (
                Seen::Odd(format!("a unit with opcode {other:02x?}")),
                0,
                None,
            ),
        };
        self.credits += i64::from(delta);
        if delta < 0 {
            self.faults.push(format!("credits taken away: {delta}"));
        }
        if self.credits > i64::from(self.login.req_lim_delta) {
            self.faults.push(format!(
                "{} credits, more than the {} of the login",
                self.credits, self.login.req_lim_delta
            ));
        }
        if let Some(answer) = answer.filter(|_| self.polite) {
            self.conn.send(&answer)?;
        }
        Ok(seen)
    }

    /// Waits for whatever comes next.
    pub(crate) fn next(&mut self, timeout: Duration) -> Fallible<Seen> {
        match self.conn.recv(timeout)? {
            Got::Message(bytes) => self.take(&bytes),
            Got::Gone => Ok(Seen::Gone),
            Got::Timeout => Ok(Seen::Nothing),
        }
    }

    /// Waits for a response or an end; what the target asks meanwhile is answered and passed over.
    pub(crate) fn answer(&mut self, timeout: Duration) -> Fallible<Seen> {
        let end = Instant::now() + timeout;
        loop {
            match self.next(end.saturating_duration_since(Instant::now()))? {
                Seen::CredReq { .. } | Seen::AerReq { .. } | Seen::TLogout { .. } => (),
                seen => return Ok(seen),
            }
        }
    }

    /// Sends a command and waits for its response, which must have its tag.
    pub(crate) fn ask(&mut self, cmd: &Cmd) -> Fallible<Seen> {
        let tag = self.start(cmd)?;
        self.answer_to(tag)
    }

    /// Waits for the response with this tag.
    pub(crate) fn answer_to(&mut self, tag: u64) -> Fallible<Seen> {
        let seen = self.answer(PATIENCE)?;
        if let Seen::Rsp(rsp) = &seen {
            if rsp.tag != tag {
                return Ok(Seen::Odd(format!(
                    "{rsp} to tag {:#x} instead of {tag:#x}",
                    rsp.tag
                )));
            }
        }
        Ok(seen)
    }

    /// Says whether a proper command is still served: "works", or what happened instead.
    pub(crate) fn works(&mut self) -> Fallible<String> {
        let at = self.conn.memory.len() - 64;
        self.conn.memory.fill(at, &[0xee; 64]);
        self.conn.memory.allow(at, 36);
        let cmd = Cmd::data_in(inquiry(36), self.conn.memory.desc(at, 36));
        Ok(match self.ask(&cmd)? {
            Seen::Rsp(rsp) if rsp.status == 0 => {
                let vendor = self.conn.memory.read(at + 8, 7);
                if vendor == b"LIO-ORG" || vendor.starts_with(b"SCST_") {
                    "works".into()
                } else {
                    "GOOD without data".into()
                }
            }
            other => other.to_string(),
        })
    }

    /// Waits until the connection has ended: "disconnected", or what came instead.
    pub(crate) fn end(&mut self, timeout: Duration) -> Fallible<Seen> {
        let end = Instant::now() + timeout;
        loop {
            match self.next(end.saturating_duration_since(Instant::now()))? {
                Seen::Gone => return Ok(Seen::Gone),
                Seen::Nothing => return Ok(Seen::Nothing),
                Seen::TLogout { .. } | Seen::CredReq { .. } | Seen::AerReq { .. } => (),
                other => return Ok(other),
            }
        }
    }

    /// Checks the memory, and returns all rules that were broken so far.
    pub(crate) fn faults(&mut self) -> Vec<String> {
        if let Err(text) = self.conn.memory.verify() {
            self.faults.push(text);
        }
        std::mem::take(&mut self.faults)
    }
}

/// A login request with the usual values.
pub(crate) fn request(initiator: [u8; 16], target: [u8; 16]) -> LoginReq {
    LoginReq {
        tag: 0x1122_3344_5566_7788,
        req_it_iu_len: 8276,
        buf_fmt: 6,
        multichannel: MultiChannel::Multi,
        solicit_logout: false,
        solicit_credit: false,
        solicit_event: false,
        imm_requested: false,
        imm_data_offset: 0,
        initiator_port: crate::srp::wire::ident::PortId(initiator),
        target_port: crate::srp::wire::ident::PortId(target),
    }
}
