// SPDX-License-Identifier: GPL-2.0
//! `initiator dm`: asks a port's device management agent, as `srp_daemon` does, but over any link
//! layer, by its LID or with a global route header, and whatever one likes.
//!
//! Prints a line per question: the question, then the answer's bytes, or what came instead of an
//! answer. What `srp_daemon` would make of the answers is for the test to say.

use std::{
    ffi::{
        c_int,
        c_void,
        CString, //
    },
    fmt::Write as _,
    net::Ipv6Addr,
    path::Path,
    process::ExitCode,
    time::{
        Duration,
        Instant, //
    }, //
};

use clap::{
    value_parser,
    Arg,
    ArgAction,
    ArgMatches,
    Command, //
};

use crate::{
    srp::wire::dm::{
        self,
        attr::{
            ClassPortInfo,
            IoUnitInfo,
            IocProfile,
            ServiceEntries, //
        },
        method,
        Header,
        Query, //
    },
    sys, //
};

/// Queue key of all queue pairs 1.
const QP1_QKEY: u32 = 0x8001_0000;

/// `ETIMEDOUT`, the status of a request without an answer.
const TIMED_OUT: i32 = 110;

/// What is written instead of the request's transaction.
const TRANSACTION: u64 = 0x5252_5252;

pub(crate) fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .default_value(default)
            .value_parser(value_parser!(u16))
            .help(help)
    };
    Command::new("dm")
        .about("Ask a device management agent")
        .arg(
            Arg::new("dgid")
                .long("dgid")
                .required_unless_present("lid")
                .value_parser(value_parser!(Ipv6Addr))
                .help("GID of the port to ask, written like an IPv6 address"),
        )
        .arg(
            Arg::new("lid")
                .long("lid")
                .value_parser(value_parser!(u16))
                .help("LID of the port to ask; without --dgid there is no global route header"),
        )
        .arg(
            Arg::new("device")
                .long("device")
                .default_value("rxe0")
                .help("our HCA"),
        )
        .arg(number("port", "1", "our port"))
        .arg(number("gid-index", "0", "our GID"))
        .arg(number(
            "timeout",
            "1000",
            "milliseconds to wait for an answer",
        ))
        .arg(number("retries", "3", "how often to ask again"))
        .arg(number(
            "seconds",
            "0",
            "ask for so long and only count the answers",
        ))
        .arg(
            Arg::new("until")
                .long("until")
                .value_name("FILE")
                .requires("seconds")
                .help("end earlier, when this file is there"),
        )
        .arg(
            Arg::new("fields")
                .long("fields")
                .action(ArgAction::SetTrue)
                .help("also print the fields of the answers"),
        )
        .arg(
            Arg::new("question")
                .required(true)
                .action(ArgAction::Append)
                .help(
                    "class-port-info, io-unit-info, ioc-profile:SLOT, services:SLOT:FIRST:LAST, \
                     mad:METHOD:ATTRIBUTE:MODIFIER, raw:BYTES; numbers are hexadecimal",
                ),
        )
}

pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    match ask_all(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error {error}");
            ExitCode::FAILURE
        }
    }
}

/// A datagram, as it is on the wire.
type Mad = [u8; dm::MAD_SIZE];

/// What became of a request.
enum Reply {
    Answer(Box<Mad>),
    Timeout,
    /// The request could not be sent, or the answer not be received.
    Error(i32),
}

/// The datagram of a question of the command line.
fn parse(text: &str) -> Result<Mad, String> {
    let wrong = || format!("cannot understand '{text}'");
    let mut words = text.split(':');
    let kind = words.next().unwrap_or_default();
    if kind == "raw" {
        let bytes = words.next().and_then(unhex).ok_or_else(wrong)?;
        return Mad::try_from(bytes).map_err(|_| wrong());
    }
    let numbers: Vec<u32> = words
        .map(|word| u32::from_str_radix(word, 16))
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let byte = |number: u32| u8::try_from(number).map_err(|_| wrong());
    let word = |number: u32| u16::try_from(number).map_err(|_| wrong());
    let query = match (kind, numbers.as_slice()) {
        ("class-port-info", []) => Query::ClassPortInfo,
        ("io-unit-info", []) => Query::IoUnitInfo,
        ("ioc-profile", &[slot]) => Query::IocProfile { slot },
        ("services", &[slot, first, last]) => Query::ServiceEntries {
            slot: word(slot)?,
            first: byte(first)?,
            last: byte(last)?,
        },
        ("mad", &[method, attribute, modifier]) => {
            return Ok(request(byte(method)?, word(attribute)?, modifier));
        }
        _ => return Err(wrong()),
    };
    let (attribute, modifier) = query.code();
    Ok(request(method::GET, attribute, modifier))
}

/// A request.
fn request(method: u8, attribute: u16, modifier: u32) -> Mad {
    Header::request(method, TRANSACTION, attribute, modifier).emit([0; dm::DATA_SIZE])
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks(2)
            .map(|pair| (pair[0] << 4) | pair[1])
            .collect(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The fields of an answer, if it is one to a question of ours.
fn fields(mad: &Mad) -> Option<String> {
    let header = Header::parse(mad).ok()?;
    let data = dm::data(mad).ok()?;
    Some(match Query::new(header.attr_id, header.attr_mod)? {
        _ if header.status != 0 => format!("{:?}", dm::Status::from_code(header.status)),
        Query::ClassPortInfo => format!("{:?}", ClassPortInfo::parse(&data)),
        Query::IoUnitInfo => format!("{:?}", IoUnitInfo::parse(&data)),
        Query::IocProfile { .. } => format!("{:?}", IocProfile::parse(&data)),
        Query::ServiceEntries { .. } => format!("{:?}", ServiceEntries::parse(&data)),
    })
}

/// How often each kind of reply came.
#[derive(Default)]
struct Count {
    answers: u32,
    timeouts: u32,
    errors: u32,
}

fn ask_all(arguments: &ArgMatches) -> Result<(), String> {
    let questions: Vec<(&String, Mad)> = arguments
        .get_many::<String>("question")
        .unwrap_or_default()
        .map(|text| Ok((text, parse(text)?)))
        .collect::<Result<_, String>>()?;
    let mut agent = Agent::open(arguments)?;
    let seconds = arguments.get_one::<u16>("seconds").copied();
    let seconds = Duration::from_secs(seconds.unwrap_or_default().into());
    if !seconds.is_zero() {
        let mut count = Count::default();
        let began = Instant::now();
        let endless = questions.iter().cycle();
        let until = arguments.get_one::<String>("until").map(Path::new);
        let goes_on = || began.elapsed() < seconds && !until.is_some_and(Path::exists);
        for (_, mad) in endless.take_while(|_| goes_on()) {
            match agent.ask(mad) {
                Reply::Answer(_) => count.answers += 1,
                Reply::Timeout => count.timeouts += 1,
                Reply::Error(_) => count.errors += 1,
            }
        }
        println!(
            "{} answers, {} timeouts, {} errors",
            count.answers, count.timeouts, count.errors
        );
        return Ok(());
    }
    for (text, mad) in &questions {
        match agent.ask(mad) {
            Reply::Answer(answer) => {
                println!("{text} {}", hex(answer.as_slice()));
                if let Some(fields) = fields(&answer).filter(|_| arguments.get_flag("fields")) {
                    println!("  {fields}");
                }
            }
            Reply::Timeout => println!("{text} timeout"),
            Reply::Error(error) => println!("{text} error {error}"),
        }
    }
    Ok(())
}

/// A port opened for management datagrams, and the port to ask.
struct Agent {
    port: c_int,
    agent: c_int,
    dgid: Option<Ipv6Addr>,
    lid: u16,
    gid_index: u8,
    timeout: c_int,
    retries: c_int,
    transaction: u32,
    /// A `struct ib_user_mad` with its datagram, aligned as the struct wants it.
    buffer: Vec<u64>,
}

impl Agent {
    fn open(arguments: &ArgMatches) -> Result<Self, String> {
        let number = |name| arguments.get_one::<u16>(name).copied().unwrap_or_default();
        let device = arguments
            .get_one::<String>("device")
            .and_then(|name| CString::new(name.as_str()).ok())
            .ok_or("a device is needed")?;
        let gid_index = u8::try_from(number("gid-index")).map_err(|e| e.to_string())?;
        // SAFETY: The name is a string; the library has no other requirement.
        let port = unsafe {
            sys::umad_init();
            sys::umad_open_port(device.as_ptr(), number("port").into())
        };
        if port < 0 {
            return Err(format!("umad_open_port: {port}"));
        }
        // Without methods: answers only.
        // SAFETY: The port is open.
        let agent = unsafe {
            sys::umad_register(
                port,
                dm::CLASS.into(),
                dm::VERSION.into(),
                0,
                std::ptr::null_mut(),
            )
        };
        if agent < 0 {
            return Err(format!("umad_register: {agent}"));
        }
        // SAFETY: A constant.
        let head = unsafe { sys::umad_size() };
        Ok(Self {
            port,
            agent,
            dgid: arguments.get_one("dgid").copied(),
            lid: number("lid"),
            gid_index,
            timeout: number("timeout").into(),
            retries: number("retries").into(),
            transaction: 0,
            buffer: vec![0; (head + dm::MAD_SIZE).div_ceil(8)],
        })
    }

    /// Sends a request and waits for its answer, or for the kernel to give up.
    fn ask(&mut self, mad: &Mad) -> Reply {
        self.transaction = self.transaction.wrapping_add(1);
        self.buffer.fill(0);
        let umad = self.buffer.as_mut_ptr().cast::<c_void>();
        // CAST: A constant, 256; and the bits of the key.
        let (size, qkey) = (dm::MAD_SIZE as c_int, QP1_QKEY as c_int);
        // SAFETY: The buffer has room for the header and a datagram, aligned.
        let sent = unsafe {
            sys::umad_set_addr(umad, self.lid.into(), 1, 0, qkey);
            let addr = &mut *sys::umad_get_mad_addr(umad);
            if let Some(dgid) = self.dgid {
                addr.grh_present = 1;
                addr.gid_index = self.gid_index;
                addr.hop_limit = 64;
                addr.__bindgen_anon_1.gid = dgid.octets();
            }
            let data = &mut *sys::umad_get_mad(umad).cast::<Mad>();
            *data = *mad;
            data[8..16].copy_from_slice(&u64::from(self.transaction).to_be_bytes());
            sys::umad_send(
                self.port,
                self.agent,
                umad,
                size,
                self.timeout,
                self.retries,
            )
        };
        if sent != 0 {
            return Reply::Error(sent);
        }
        loop {
            let mut length = size;
            // The kernel gives up in time; this limit is for the case that it does not.
            let limit = (self.retries + 1) * self.timeout + 5000;
            // SAFETY: As above; the length is that of the datagram.
            let (received, status) = unsafe {
                let received = sys::umad_recv(self.port, umad, &mut length, limit);
                (received, sys::umad_status(umad))
            };
            if received < 0 {
                return Reply::Error(received);
            }
            // SAFETY: As above.
            let data = unsafe { *sys::umad_get_mad(umad).cast::<Mad>() };
            // The kernel puts a number of its own into the upper half.
            if data[12..16] != self.transaction.to_be_bytes() {
                continue;
            }
            return match status {
                0 if length == size => Reply::Answer(Box::new(data)),
                0 => Reply::Error(-length),
                TIMED_OUT => Reply::Timeout,
                other => Reply::Error(other),
            };
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SAFETY: Both were opened together and are not used any more.
        unsafe {
            sys::umad_unregister(self.port, self.agent);
            sys::umad_close_port(self.port);
        }
    }
}
