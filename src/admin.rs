// SPDX-License-Identifier: GPL-2.0

//! Administration through `/sys/class/infiniband_srpt/`, the same for every storage engine: the
//! functions of files that take more than a line. The files are described in
//! `docs/ABI/sysfs-class-infiniband_srpt`. No function waits for I/O.
//!
//! Not here: the tables of files, with the other functions ([`files`]), and the directories
//! ([`crate::sysfs`]).

use core::{
    fmt::Write as _,
    net::{
        IpAddr,
        Ipv6Addr, //
    }, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    attr::page::{
        parse_u32,
        Page, //
    },
    channel::{
        list,
        Channel, //
    },
    engine::{
        Port,
        SessionView, //
    },
    hca::port::HcaPort,
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
                REFUSALS, //
            }, //
        },
        wire::dm::ControllerName, //
    },
    sysfs::DirKey, //
};

pub(crate) mod dump;
mod files;

/// Largest number of entries of a GID table that are read; each makes at most one line.
const MOST_GIDS: u16 = 256;

/// Returns the device of a port's HCA.
///
/// # Errors
///
/// `ENODEV` if the HCA is being removed.
fn device(port: &HcaPort) -> Result<Device> {
    let hca = hcas::get(port.device());
    hca.and_then(|hca| hca.device()).ok_or(ENODEV)
}

/// Shows a tunable attribute of a port. Process context.
fn show_attr(port: &HcaPort, attr: PortAttr, page: &mut Page<'_>) -> Result {
    page.line(port.current().attr(attr))
}

/// Sets a tunable attribute of a port. Process context.
///
/// # Errors
///
/// `EINVAL` if the value is not acceptable, `EPERM` if the engine overrides it for all ports.
fn set_attr(port: &HcaPort, attr: PortAttr, text: &str) -> Result {
    if Port::is_fixed(attr) {
        return Err(EPERM);
    }
    port.current().set_attr(attr, parse_u32(text)?)
}

/// Sets the text by which device management identifies a port's I/O controller. Process context,
/// may sleep.
///
/// # Errors
///
/// `EINVAL` if the text is empty, too long, or contains control characters.
fn set_port_id(port: &HcaPort, text: &str) -> Result {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(EINVAL);
    }
    let name = ControllerName::from_display(text).map_err(|_| EINVAL)?;
    port.current().set_controller_name(name);
    Ok(())
}

/// Sets the completion vectors of a port's new channels. Process context, may sleep.
///
/// # Errors
///
/// `EINVAL` if the mask is not acceptable; `ENOMEM`.
fn set_comp_v_mask(port: &HcaPort, text: &str) -> Result {
    let taken = port.current().vectors().parse(text);
    taken.map_err(|e| if e == EOVERFLOW { EINVAL } else { e })
}

/// Returns the number of refused logins of a port, for all reasons.
fn all_refusals(port: &HcaPort) -> u64 {
    let all = (0..REFUSALS).filter_map(|index| port.refusals(index));
    all.fold(0, u64::wrapping_add)
}

/// Returns the channel of a session.
///
/// # Errors
///
/// `ENODEV` if the channel has ended.
fn channel(key: DirKey) -> Result<Arc<Channel>> {
    list::shown(key).ok_or(ENODEV)
}

/// Returns the state of the channel of a session.
///
/// # Errors
///
/// `ENODEV` if the channel has ended.
fn view(key: DirKey) -> Result<SessionView> {
    Ok(channel(key)?.view())
}

/// Closes all channels of the nexus of a session if `text` is "1". Does not wait. Process context.
///
/// # Errors
///
/// `EINVAL` if `text` is something else, `ENODEV` if the channel has ended.
fn disconnect(key: DirKey, text: &str) -> Result {
    if text.trim_ascii() != "1" {
        return Err(EINVAL);
    }
    let channel = channel(key)?;
    list::close(CloseReason::Administrator, |other| {
        other.same_nexus(&channel)
    });
    Ok(())
}

/// Shows the buckets of a histogram in one line.
fn buckets(histogram: &Histogram, page: &mut Page<'_>) -> Result {
    for (index, count) in histogram.buckets().iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        write!(page, "{space}{count}")?;
    }
    page.line("")
}

/// Shows a line per address of a port for RDMA/CM logins; as many as fit in the page. On RoCE the
/// GID table contains the addresses of the network interfaces, once per RoCE version.
///
/// # Errors
///
/// `ENODEV` if the HCA is being removed.
fn login_info_rdma_cm(entry: &HcaPort, page: &mut Page<'_>) -> Result {
    let (device, port) = (device(entry)?, entry.number());
    let cm_port = params::rdma_cm_port();
    let Some(guid) = params::service_guid() else {
        return Ok(());
    };
    if cm_port == 0 || device.protocol(port) != Protocol::Roce {
        return Ok(());
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
            page.truncate(before);
            break;
        }
    }
    Ok(())
}

/// Returns the IP address in a GID of a RoCE port; [`None`] if it is unspecified, or link-local,
/// which an initiator cannot use without the name of one of its interfaces.
fn reachable(gid: [u8; 16]) -> Option<IpAddr> {
    let addr = Ipv6Addr::from(gid);
    match addr.to_ipv4_mapped() {
        Some(v4) => Some(IpAddr::V4(v4)),
        None if addr.is_unicast_link_local() || addr.is_unspecified() => None,
        None => Some(IpAddr::V6(addr)),
    }
}

/// Displays sixteen hexadecimal digits.
#[derive(Clone, Copy)]
struct Bare(u64);

impl core::fmt::Display for Bare {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Shows the last refused logins, the newest first: age in seconds, how often, reason, initiator
/// port identifier, address, and how an entry could admit the initiator, if it has none.
fn last_refusals(port: &HcaPort, page: &mut Page<'_>) -> Result {
    for login in port.last_refusals().into_iter().flatten() {
        let ago = login.at.elapsed().as_millis() / 1000;
        let reason = login.reason.code();
        write!(
            page,
            "{ago} {} {reason:#x} {} {}",
            login.times, login.initiator_port, login.peer
        )?;
        match login.advice {
            Some(advice) => writeln!(page, "; {advice}")?,
            None => writeln!(page)?,
        }
    }
    Ok(())
}
