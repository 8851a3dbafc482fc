// SPDX-License-Identifier: GPL-2.0

//! What administrators see and set in `/sys/class/infiniband_srpt/`, whatever the storage engine.
//!
//! The contents of the files are here; that there are such files, with their names and modes, is the
//! business of `sysfs.c` and [`files`], and what they mean is written in
//! `docs/ABI/sysfs-class-infiniband_srpt`. Nothing here waits for I/O.

use core::{
    fmt::Write as _,
    net::{
        IpAddr,
        Ipv6Addr, //
    }, //
};

use kernel::{
    fmt,
    prelude::*, //
};

use crate::{
    attr::page::{
        parse_number,
        Page, //
    },
    channel::list,
    engine::Port,
    hca::port::HcaPort,
    link::Owner,
    login::hcas,
    params,
    port::PortAttr,
    rdma::device::{
        Device,
        Protocol, //
    },
    srp::{
        machine::{
            channel::CloseReason,
            stats::{
                Histogram,
                Stats,
                REFUSALS, //
            }, //
        },
        wire::dm::ControllerName, //
    },
    sysfs::DirKey, //
};

pub(crate) mod dump;
mod files;

/// Entries of a GID table that are looked at; each can make one line.
const MOST_GIDS: u16 = 256;

/// A file of a port.
#[derive(Clone, Copy)]
pub(crate) enum PortFile {
    /// What to write to `add_target` for InfiniBand's own connection manager.
    LoginInfo,
    /// The same for RDMA/CM.
    LoginInfoRdmaCm,
    /// Whether logins are allowed.
    Enabled,
    /// Name of the HCA.
    Device,
    /// Link layer of the port.
    LinkLayer,
    /// Port number of the RDMA/CM listener.
    RdmaCmPort,
    /// The last logins that were refused.
    LoginRefused,
    /// The text by which device management identifies the port's I/O controller.
    PortId,
    /// Completion vectors of new channels.
    CompVMask,
    /// A tunable attribute.
    Attr(PortAttr),
    /// A counter, by its number.
    Counter(usize),
    /// Logins granted.
    Logins,
    /// Logins refused.
    LoginsRefused,
    /// Logins refused for one reason, by its number.
    Refusal(usize),
    /// The histogram of a stage, by its number.
    Latency(usize),
}

/// A file of a session.
#[derive(Clone, Copy)]
pub(crate) enum SessionFile {
    /// Initiator port identifier.
    InitiatorPortId,
    /// Address of the peer.
    Peer,
    /// How many channels the nexus has.
    Channels,
    /// State of the channel.
    State,
    /// Credits of the initiator.
    ReqLim,
    /// Commands in use.
    Active,
    /// Slots of the send queue in use.
    SqUsed,
    /// Completion vector.
    CompVector,
    /// Seconds since the login.
    Age,
    /// A counter, by its number.
    Counter(usize),
    /// The histogram of a stage, by its number.
    Latency(usize),
}

/// Shows a file of a port. Process context, may sleep.
///
/// # Errors
///
/// `ENODEV` if the HCA is going away.
pub(crate) fn show_port(port: &HcaPort, file: PortFile, page: &mut Page<'_>) -> Result {
    let device = || hcas::get(port.device()).and_then(|hca| hca.device());
    let shown = match file {
        PortFile::LoginInfo => port.current().login_info(page),
        PortFile::LoginInfoRdmaCm => {
            login_info_rdma_cm(&device().ok_or(ENODEV)?, port.number(), page);
            Ok(())
        }
        PortFile::Enabled => writeln!(page, "{}", u8::from(port.current().is_enabled())),
        PortFile::Device => {
            let device = device().ok_or(ENODEV)?;
            writeln!(page, "{}", device.name().as_str())
        }
        PortFile::LinkLayer => {
            let layer = device().ok_or(ENODEV)?.link_layer(port.number());
            writeln!(page, "{}", layer.name())
        }
        PortFile::RdmaCmPort => writeln!(page, "{}", params::rdma_cm_port()),
        PortFile::LoginRefused => last_refusals(port, page),
        PortFile::PortId => writeln!(page, "{}", port.current().controller_name()),
        PortFile::CompVMask => writeln!(page, "{}", *port.current().vectors()),
        PortFile::Attr(attr) => writeln!(page, "{}", port.current().attr(attr)),
        PortFile::Counter(index) => return show_counter(&list::port_stats(port), index, page),
        PortFile::Latency(index) => return show_latency(&list::port_stats(port), index, page),
        PortFile::Logins => writeln!(page, "{}", port.logins()),
        PortFile::LoginsRefused => {
            let all = (0..REFUSALS).filter_map(|index| port.refusals(index));
            writeln!(page, "{}", all.fold(0, u64::wrapping_add))
        }
        PortFile::Refusal(index) => {
            writeln!(page, "{}", port.refusals(index).ok_or(EINVAL)?)
        }
    };
    shown.map_err(|_| EINVAL)
}

/// Takes a value for a file of a port, as it was written. Process context, may sleep.
///
/// # Errors
///
/// `EINVAL` if it is not an acceptable value, `EPERM` if the engine has one for all ports.
pub(crate) fn store_port(port: &HcaPort, file: PortFile, text: &str) -> Result {
    match file {
        PortFile::Attr(attr) if Port::is_fixed(attr) => Err(EPERM),
        PortFile::Attr(attr) => {
            let value = parse_number(text).map_err(|_| EINVAL)?;
            let value = u32::try_from(value).map_err(|_| EINVAL)?;
            port.current().set_attr(attr, value)
        }
        PortFile::PortId => {
            let text = text.strip_suffix('\n').unwrap_or(text);
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(EINVAL);
            }
            let name = ControllerName::from_display(text).map_err(|_| EINVAL)?;
            port.current().set_controller_name(name);
            Ok(())
        }
        PortFile::CompVMask => {
            let taken = port.current().vectors().parse(text);
            taken.map_err(|e| if e == EOVERFLOW { EINVAL } else { e })
        }
        _ => Err(EPERM),
    }
}

/// Shows a file of a session. Process context, may sleep.
///
/// # Errors
///
/// `ENODEV` if the channel is not there any more.
pub(crate) fn show_session(key: DirKey, file: SessionFile, page: &mut Page<'_>) -> Result {
    let channel = list::shown(key).ok_or(ENODEV)?;
    let view = channel.view();
    let shown = match file {
        SessionFile::InitiatorPortId => writeln!(page, "{}", channel.initiator_port()),
        SessionFile::Peer => writeln!(page, "{}", channel.peer()),
        SessionFile::Channels => writeln!(page, "{}", list::nexus_size(&channel)),
        SessionFile::State => writeln!(page, "{}", view.state),
        SessionFile::ReqLim => writeln!(page, "{}", view.req_lim),
        SessionFile::Active => writeln!(page, "{}", view.active),
        SessionFile::SqUsed => writeln!(page, "{}", view.sq_used),
        SessionFile::CompVector => writeln!(page, "{}", view.comp_vector),
        SessionFile::Age => writeln!(page, "{}", channel.age_ms() / 1000),
        SessionFile::Counter(index) => return show_counter(&channel.flow().stats(), index, page),
        SessionFile::Latency(index) => return show_latency(&channel.flow().stats(), index, page),
    };
    shown.map_err(|_| EINVAL)
}

/// Ends all channels of the nexus of a session if `text` says so. Does not wait. Process context.
///
/// # Errors
///
/// `EINVAL` unless it says 1, `ENODEV` if the channel is not there any more.
pub(crate) fn disconnect(key: DirKey, text: &str) -> Result {
    if text.trim_ascii() != "1" {
        return Err(EINVAL);
    }
    let channel = list::shown(key).ok_or(ENODEV)?;
    list::close(CloseReason::Administrator, |other| {
        other.same_nexus(&channel)
    });
    Ok(())
}

fn show_counter(stats: &Stats, index: usize, page: &mut Page<'_>) -> Result {
    let value = stats.counter(index).ok_or(EINVAL)?;
    writeln!(page, "{value}").map_err(|_| EINVAL)
}

fn show_latency(stats: &Stats, index: usize, page: &mut Page<'_>) -> Result {
    let histogram = stats.histogram(index).ok_or(EINVAL)?;
    line(histogram, page).map_err(|_| EINVAL)
}

/// The buckets of a histogram in one line.
fn line(histogram: &Histogram, page: &mut Page<'_>) -> fmt::Result {
    for (index, count) in histogram.buckets().iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        write!(page, "{space}{count}")?;
    }
    writeln!(page)
}

/// A line per address through which RDMA/CM logins can come; as many as fit in the page. On RoCE
/// the GID table has the addresses of the network interfaces, once per version of the protocol.
fn login_info_rdma_cm(device: &Device, port: u32, page: &mut Page<'_>) {
    let cm_port = params::rdma_cm_port();
    let Some(guid) = params::service_guid() else {
        return;
    };
    if cm_port == 0 || device.protocol(port) != Protocol::Roce {
        return;
    }
    let address = |index| device.query_gid(port, index).ok().and_then(reachable);
    for index in 0..MOST_GIDS {
        let Some(addr) = address(index) else {
            continue;
        };
        if (0..index).any(|before| address(before) == Some(addr)) {
            continue;
        }
        let before = page.len();
        let shown = match addr {
            IpAddr::V4(v4) => writeln!(
                page,
                "id_ext={guid},ioc_guid={guid},dest={v4}:{cm_port}",
                guid = Bare(guid.0)
            ),
            IpAddr::V6(v6) => writeln!(
                page,
                "id_ext={guid},ioc_guid={guid},dest=[{v6}]:{cm_port}",
                guid = Bare(guid.0)
            ),
        };
        if shown.is_err() {
            // A line is written in pieces.
            return page.truncate(before);
        }
    }
}

/// The IP address in a GID of a RoCE port, unless it is link-local, for which the name of an
/// interface of the initiator is needed.
fn reachable(gid: [u8; 16]) -> Option<IpAddr> {
    let addr = Ipv6Addr::from(gid);
    match addr.to_ipv4_mapped() {
        Some(v4) => Some(IpAddr::V4(v4)),
        None if addr.is_unicast_link_local() || addr.is_unspecified() => None,
        None => Some(IpAddr::V6(addr)),
    }
}

/// Sixteen hexadecimal digits.
#[derive(Clone, Copy)]
struct Bare(u64);

impl core::fmt::Display for Bare {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The last logins that were refused, the newest first: how many seconds ago, reason, initiator port
/// identifier, address, and how an entry could let it in if that is why.
fn last_refusals(port: &HcaPort, page: &mut Page<'_>) -> fmt::Result {
    for login in port.last_refusals().into_iter().flatten() {
        let ago = login.at.elapsed().as_millis() / 1000;
        let reason = login.reason.code();
        write!(
            page,
            "{ago} {reason:#x} {} {}",
            login.initiator_port, login.peer
        )?;
        match login.advice {
            Some(advice) => writeln!(page, "; {advice}")?,
            None => writeln!(page)?,
        }
    }
    Ok(())
}
