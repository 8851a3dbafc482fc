// SPDX-License-Identifier: GPL-2.0
//! What a scenario gets: where the target is, sessions with it, and the hand of its administrator.
//!
//! The program cannot configure the target. With `--admin` it prints a line `admin <order>` and reads
//! the answer, `ok [text]` or `error <text>`, from standard input; see `tests/guest/conformance.py`
//! for the orders.

use std::{
    cell::{
        Cell,
        RefCell, //
    },
    io::{
        self,
        BufRead,
        Write, //
    },
    ops::{
        Deref,
        DerefMut, //
    },
    rc::Rc,
    time::{
        Duration,
        Instant, //
    }, //
};

use clap::{
    value_parser,
    Arg,
    ArgAction,
    ArgMatches, //
};

use crate::{
    conn::Options,
    dest::Dest,
    iu::{
        lun,
        scsi,
        Cmd, //
    },
    session::{
        login_bytes,
        request,
        Login,
        Seen,
        Session, //
    },
    srp::wire::login::LoginReq,
    verbs::{
        paced,
        set_pace,
        Fallible, //
    }, //
};

/// Rules broken by the target in a scenario, from all of its sessions.
type Faults = Rc<RefCell<Vec<String>>>;

/// A session of a scenario. When it is dropped, the memory is looked at for the last time.
pub(crate) struct Guarded {
    session: Box<Session>,
    faults: Faults,
    attention: Rc<Cell<bool>>,
}

impl Deref for Guarded {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Whatever the target was doing is over when the connection is.
        let answers = self.session.conn.options.answer_disconnect;
        if answers
            && self
                .session
                .conn
                .disconnect(Duration::from_secs(5))
                .is_err()
        {
            self.session.faults.push("the disconnect fails".into());
        }
        self.faults.borrow_mut().append(&mut self.session.faults());
        if self.session.has_reset {
            self.attention.set(true);
        }
    }
}

/// What a scenario gets.
pub(crate) struct Bench {
    /// Where the target listens, as the command line says: usually an address of IPv4.
    pub(crate) dest: Dest,
    /// Its IPv6 address.
    pub(crate) dest6: Option<Dest>,
    /// Both halves of the target port identifier.
    pub(crate) target_guid: u64,
    /// Second half of the initiator port identifiers that are let in.
    pub(crate) guid: u64,
    /// There is an administrator.
    pub(crate) has_admin: bool,
    /// Every new session finds unit attentions.
    attentions: bool,
    faults: Faults,
    attention: Rc<Cell<bool>>,
}

/// Arguments that say where the target is.
pub(crate) fn arguments() -> [Arg; 7] {
    [
        Arg::new("dest")
            .long("dest")
            .required(true)
            .value_parser(value_parser!(Dest))
            .value_name("WHERE")
            .help(Dest::SYNTAX),
        Arg::new("dest6")
            .long("dest6")
            .value_parser(value_parser!(Dest))
            .value_name("WHERE")
            .help("for the IPv6 rows"),
        Arg::new("target-guid")
            .long("target-guid")
            .required(true)
            .value_name("HEX")
            .help("the target's service GUID"),
        Arg::new("guid")
            .long("guid")
            .required(true)
            .value_name("HEX")
            .help("GUID in the initiator port identifiers that are let in"),
        Arg::new("admin")
            .long("admin")
            .action(ArgAction::SetTrue)
            .help("ask on standard output for changes of the target's configuration"),
        Arg::new("attentions")
            .long("attentions")
            .action(ArgAction::SetTrue)
            .help("every session finds unit attentions, which are taken away first"),
        Arg::new("pace")
            .long("pace")
            .value_parser(value_parser!(u32))
            .default_value("1")
            .help("everything may take this many times as long"),
    ]
}

/// An argument that is a number.
pub(crate) fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_parser(value_parser!(u64))
        .default_value(default)
        .help(help)
}

/// Returns the value of such an argument, which always has one.
pub(crate) fn value(arguments: &ArgMatches, name: &str) -> u64 {
    arguments.get_one(name).copied().unwrap_or_default()
}

/// Returns the number behind a hexadecimal argument.
fn hex(arguments: &ArgMatches, name: &str) -> Fallible<u64> {
    let text = arguments
        .get_one::<String>(name)
        .ok_or_else(|| format!("no --{name}"))?;
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|e| format!("--{name}: {e}"))
}

/// Takes away the unit attentions that a session finds at the logical units of the scenarios, with
/// the receives it has; afterwards as many are posted as before.
fn take_attentions(session: &mut Session) {
    if session.conn.options.first_recvs == 0 {
        return;
    }
    let repost = std::mem::replace(&mut session.conn.options.repost, true);
    for number in 0..5 {
        let cmd = Cmd {
            lun: lun(number),
            ..Cmd::new(vec![scsi::TEST_UNIT_READY])
        };
        for _ in 0..8 {
            match session.ask(&cmd) {
                Ok(Seen::Rsp(rsp)) if rsp.status == 2 => (),
                _ => break,
            }
        }
    }
    session.conn.options.repost = repost;
}

impl Bench {
    /// Takes the arguments above.
    pub(crate) fn new(arguments: &ArgMatches) -> Fallible<Self> {
        set_pace(arguments.get_one::<u32>("pace").copied().unwrap_or(1));
        Ok(Self {
            dest: *arguments.get_one("dest").ok_or("no --dest")?,
            dest6: arguments.get_one("dest6").copied(),
            target_guid: hex(arguments, "target-guid")?,
            guid: hex(arguments, "guid")?,
            has_admin: arguments.get_flag("admin"),
            attentions: arguments.get_flag("attentions"),
            faults: Faults::default(),
            // Those of a configuration that is new.
            attention: Rc::new(Cell::new(true)),
        })
    }

    /// The initiator port identifier with this extension. Extensions 1 to 8 are let in.
    pub(crate) fn initiator_id(&self, extension: u64) -> [u8; 16] {
        ((u128::from(extension) << 64) | u128::from(self.guid)).to_be_bytes()
    }

    /// The target port identifier.
    pub(crate) fn target_id(&self) -> [u8; 16] {
        ((u128::from(self.target_guid) << 64) | u128::from(self.target_guid)).to_be_bytes()
    }

    /// A proper login request of this initiator; asks to keep other channels.
    pub(crate) fn request(&self, extension: u64) -> LoginReq {
        request(self.initiator_id(extension), self.target_id())
    }

    /// Logs in with any private data.
    pub(crate) fn login_bytes(&self, data: &[u8], options: Options) -> Fallible<Login> {
        login_bytes(self.dest, options, data)
    }

    /// Logs in with any request.
    pub(crate) fn login(&self, req: &LoginReq) -> Fallible<Login> {
        self.login_bytes(&self.dest.emit(req), Options::default())
    }

    /// A session whose end is watched.
    pub(crate) fn guard(&self, session: Box<Session>) -> Guarded {
        Guarded {
            session,
            faults: self.faults.clone(),
            attention: self.attention.clone(),
        }
    }

    /// A session, by a login that must succeed.
    pub(crate) fn session_with(&self, req: &LoginReq, options: Options) -> Fallible<Guarded> {
        match self.login_bytes(&self.dest.emit(req), options)? {
            Login::Accepted(mut session) => {
                if self.attentions {
                    take_attentions(&mut session);
                }
                Ok(self.guard(session))
            }
            other => Err(format!("login {other}")),
        }
    }

    /// A session with a request that `change` has changed.
    pub(crate) fn session_as(&self, change: impl FnOnce(&mut LoginReq)) -> Fallible<Guarded> {
        let mut req = self.request(1);
        change(&mut req);
        self.session_with(&req, Options::default())
    }

    /// The usual session, of the initiator with extension 1.
    pub(crate) fn session(&self) -> Fallible<Guarded> {
        self.session_as(|_| ())
    }

    /// After resets and changes of the configuration: takes away the unit attentions they left, which
    /// stay with the initiator and would be the answer to the next session's first command.
    pub(crate) fn settle(&self) {
        if !self.attention.take() {
            return;
        }
        for extension in [1, 2] {
            let Ok(mut s) = self.session_with(&self.request(extension), Options::default()) else {
                continue;
            };
            take_attentions(&mut s);
        }
        // What goes wrong here is not the fault of the next scenario.
        self.take_faults();
    }

    /// Takes the rules that were broken since the last time.
    pub(crate) fn take_faults(&self) -> Vec<String> {
        self.faults.take()
    }

    /// Gives an order to the administrator, and returns without an answer; see [`Self::admin_done`].
    pub(crate) fn admin_start(&self, order: &str) -> Fallible<()> {
        // A new entry is told of its logical units, too.
        if order.contains("-lun") || order.contains("-acl") {
            self.attention.set(true);
        }
        println!("admin {order}");
        io::stdout().flush().map_err(|e| e.to_string())
    }

    /// Waits for the answer of the administrator.
    pub(crate) fn admin_done(&self) -> Fallible<String> {
        let mut line = String::new();
        io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        match line
            .trim_end()
            .split_once(' ')
            .unwrap_or((line.trim_end(), ""))
        {
            ("ok", text) => Ok(text.to_string()),
            (_, text) => Err(format!("the administrator: {text}")),
        }
    }

    /// Gives an order to the administrator, and waits until it is carried out.
    pub(crate) fn admin(&self, order: &str) -> Fallible<String> {
        self.admin_start(order)?;
        self.admin_done()
    }

    /// Waits until the target has this many queue pairs; returns the last number there was.
    pub(crate) fn connections(&self, wanted: usize, timeout: Duration) -> Fallible<usize> {
        let end = Instant::now() + paced(timeout);
        loop {
            let text = self.admin("connections")?;
            let count = text
                .trim()
                .parse()
                .map_err(|_| format!("'{text}' is no number"))?;
            if count == wanted || Instant::now() > end {
                return Ok(count);
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}
