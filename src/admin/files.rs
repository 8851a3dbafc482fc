// SPDX-License-Identifier: GPL-2.0

//! Files in `/sys/class/infiniband_srpt/`: a table per directory, an entry per file, see
//! [`crate::attr`]. All functions run in process context and may sleep.
//!
//! Not here: functions that do not fit in an entry ([`super`]), and the directories
//! ([`crate::sysfs`], which explains why the objects behind them exist).

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::{
    attr::{
        abi::{
            Group,
            Groups, //
        },
        Attr,
        Table,
        Unit, //
    },
    channel::list,
    hca::port::HcaPort,
    link::Owner,
    params,
    port::PortAttr,
    srp::{
        machine::stats::{
            refusal_index,
            Counter,
            Stage,
            Stats,
            COUNTERS,
            REFUSALS,
            STAGES, //
        },
        wire::consts::RejectReason, //
    },
    sysfs::{
        DirKey,
        PortFiles,
        SessionFiles,
        ShownPort, //
    }, //
};

use super::{
    all_refusals,
    buckets,
    channel,
    device,
    disconnect,
    last_refusals,
    login_info_rdma_cm,
    set_attr,
    set_comp_v_mask,
    set_port_id,
    show_attr,
    view, //
};

impl ShownPort for HcaPort {
    const FILES: Groups<PortFiles<Self>> = Groups::new(&[
        Group::of_device::<Port>(),
        Group::of_device::<PortCounters>(),
        Group::of_device::<PortLatency>(),
        Group::of_device::<PortRefusals>(),
        Group::END,
    ]);
    const SESSION_FILES: Groups<SessionFiles> = Groups::new(&[
        Group::of_kobject::<Session>(),
        Group::of_kobject::<SessionCounters>(),
        Group::of_kobject::<SessionLatency>(),
        Group::END,
    ]);
}

/// Defines the file of a tunable attribute of a port.
macro_rules! port_attr {
    ($name:literal, $unit:ident, $attr:ident) => {
        Attr::rw(
            $name,
            Unit::$unit,
            |port: &HcaPort, page| show_attr(port, PortAttr::$attr, page),
            |port, text| set_attr(port, PortAttr::$attr, text),
        )
    };
}

/// The directory of a port.
struct Port;

impl Table for Port {
    type Kind = PortFiles<HcaPort>;
    const FILES: &'static [Attr<HcaPort>] = &[
        // Parameters for `add_target`, for logins through the InfiniBand CM.
        Attr::ro(c"login_info", Unit::Text, |port, page| {
            port.current().login_info(page).map_err(|_| EINVAL)
        }),
        // The same for the RDMA/CM.
        Attr::ro(c"login_info_rdma_cm", Unit::Text, login_info_rdma_cm),
        // Whether logins are allowed.
        Attr::ro(c"enabled", Unit::Flag, |port, page| {
            page.line(u8::from(port.current().is_enabled()))
        }),
        // Name of the HCA.
        Attr::ro(c"device", Unit::Text, |port, page| {
            page.line(device(port)?.name().as_str())
        }),
        // Link layer of the port.
        Attr::ro(c"link_layer", Unit::Text, |port, page| {
            page.line(device(port)?.link_layer(port.number()).name())
        }),
        // Port number of the RDMA/CM listener.
        Attr::ro(c"rdma_cm_port", Unit::PortNumber, |_, page| {
            page.line(params::rdma_cm_port())
        }),
        // The last refused logins.
        Attr::ro(c"login_refused", Unit::Text, last_refusals),
        // The text by which device management identifies the port's I/O controller.
        Attr::rw(
            c"port_id",
            Unit::Text,
            |port, page| page.line(port.current().controller_name()),
            set_port_id,
        ),
        // Completion vectors of new channels.
        Attr::rw(
            c"comp_v_mask",
            Unit::Vector,
            |port, page| page.line(&*port.current().vectors()),
            set_comp_v_mask,
        ),
        port_attr!(c"srp_max_rdma_size", Bytes, MaxRdmaSize),
        port_attr!(c"srp_max_rsp_size", Bytes, MaxRspSize),
        port_attr!(c"srp_sq_size", Entries, SqSize),
        port_attr!(c"use_srq", Flag, UseSrq),
    ];
}

/// An object with counters and histograms.
trait Counted: 'static {
    /// Returns their current values.
    fn counted(&self) -> Result<Stats>;
}

impl Counted for HcaPort {
    fn counted(&self) -> Result<Stats> {
        Ok(list::port_stats(self))
    }
}

impl Counted for DirKey {
    fn counted(&self) -> Result<Stats> {
        Ok(channel(*self)?.flow().stats())
    }
}

/// Returns the file of a counter.
const fn counter<T: Counted>(name: &'static CStr, unit: Unit, counter: Counter) -> Attr<T> {
    Attr::nth(
        name,
        unit,
        |object, index, page| {
            let stats = object.counted()?;
            page.line(stats.counter(index).ok_or(EINVAL)?)
        },
        counter as usize,
    )
}

/// Returns the file of a histogram.
const fn stage<T: Counted>(name: &'static CStr, stage: Stage) -> Attr<T> {
    Attr::nth(
        name,
        Unit::Commands,
        |object, index, page| {
            let stats = object.counted()?;
            buckets(stats.histogram(index).ok_or(EINVAL)?, page)
        },
        stage as usize,
    )
}

/// Files of both ports and sessions.
struct Both<T>(PhantomData<T>);

impl<T: Counted> Both<T> {
    const COUNTERS: [Attr<T>; COUNTERS] = [
        counter(c"commands", Unit::Commands, Counter::Commands),
        counter(c"reads", Unit::Commands, Counter::Reads),
        counter(c"writes", Unit::Commands, Counter::Writes),
        counter(c"read_bytes", Unit::Bytes, Counter::ReadBytes),
        counter(c"write_bytes", Unit::Bytes, Counter::WriteBytes),
        counter(c"failed", Unit::Commands, Counter::Failed),
        counter(c"aborted", Unit::Commands, Counter::Aborted),
        counter(c"task_management", Unit::Requests, Counter::TaskManagement),
        counter(c"malformed", Unit::Units, Counter::Malformed),
        counter(c"credits_starved", Unit::Requests, Counter::CreditsStarved),
        counter(c"sq_full", Unit::Transfers, Counter::SqFull),
    ];

    const STAGES: [Attr<T>; STAGES] = [
        stage(c"receive", Stage::Receive),
        stage(c"engine", Stage::Engine),
        stage(c"fetch", Stage::Fetch),
        stage(c"send", Stage::Send),
    ];
}

/// The directory `counters` of a port.
struct PortCounters;

impl Table for PortCounters {
    type Kind = PortFiles<HcaPort>;
    const GROUP: Option<&'static CStr> = Some(c"counters");
    const SHARED: &'static [Attr<HcaPort>] = &Both::<HcaPort>::COUNTERS;
    const FILES: &'static [Attr<HcaPort>] = &[
        // Logins granted.
        Attr::ro(c"logins", Unit::Logins, |port, page| {
            page.line(port.logins())
        }),
        // Logins refused, for all reasons.
        Attr::ro(c"logins_refused", Unit::Logins, |port, page| {
            page.line(all_refusals(port))
        }),
    ];
}

/// The directory `latency` of a port.
struct PortLatency;

impl Table for PortLatency {
    type Kind = PortFiles<HcaPort>;
    const GROUP: Option<&'static CStr> = Some(c"latency");
    const FILES: &'static [Attr<HcaPort>] = &Both::<HcaPort>::STAGES;
}

/// Returns the file of the number of logins refused for one reason.
const fn refusal(name: &'static CStr, reason: RejectReason) -> Attr<HcaPort> {
    Attr::nth(
        name,
        Unit::Logins,
        |port, index, page| page.line(port.refusals(index).ok_or(EINVAL)?),
        refusal_index(reason),
    )
}

/// A file for each reason.
const REASONS: [Attr<HcaPort>; REFUSALS] = [
    refusal(c"unable_establish", RejectReason::UnableEstablishChannel),
    refusal(c"no_resources", RejectReason::InsufficientResources),
    refusal(c"iu_too_large", RejectReason::ReqItIuLengthTooLarge),
    refusal(c"unable_associate", RejectReason::UnableAssociateChannel),
    refusal(
        c"unsupported_format",
        RejectReason::UnsupportedDescriptorFmt,
    ),
    refusal(c"multichannel", RejectReason::MultiChannelUnsupported),
    refusal(c"channel_limit", RejectReason::ChannelLimitReached),
];

/// The directory `refusals` of a port.
struct PortRefusals;

impl Table for PortRefusals {
    type Kind = PortFiles<HcaPort>;
    const GROUP: Option<&'static CStr> = Some(c"refusals");
    const FILES: &'static [Attr<HcaPort>] = &REASONS;
}

/// The directory of a session. All reads fail with `ENODEV` once the channel has ended.
struct Session;

impl Table for Session {
    type Kind = SessionFiles;
    const FILES: &'static [Attr<DirKey>] = &[
        // Initiator port identifier.
        Attr::ro(c"initiator_port_id", Unit::Text, |&key, page| {
            page.line(channel(key)?.initiator_port())
        }),
        // Address of the peer.
        Attr::ro(c"peer", Unit::Text, |&key, page| {
            page.line(channel(key)?.peer())
        }),
        // Number of channels of the nexus.
        Attr::ro(c"channels", Unit::Channels, |&key, page| {
            page.line(list::nexus_size(&*channel(key)?))
        }),
        // State of the channel.
        Attr::ro(c"state", Unit::Text, |&key, page| {
            page.line(view(key)?.state)
        }),
        // Credits of the initiator.
        Attr::ro(c"req_lim", Unit::Requests, |&key, page| {
            page.line(view(key)?.req_lim)
        }),
        // Commands in use.
        Attr::ro(c"active", Unit::Commands, |&key, page| {
            page.line(view(key)?.active)
        }),
        // Slots of the send queue in use.
        Attr::ro(c"sq_used", Unit::Entries, |&key, page| {
            page.line(view(key)?.sq_used)
        }),
        // Completion vector.
        Attr::ro(c"comp_vector", Unit::Vector, |&key, page| {
            page.line(view(key)?.comp_vector)
        }),
        // Seconds since the login.
        Attr::ro(c"age", Unit::Seconds, |&key, page| {
            page.line(channel(key)?.age_ms() / 1000)
        }),
        // Closes all channels of the nexus.
        Attr::wo(c"disconnect", Unit::Flag, |&key, text| {
            disconnect(key, text)
        }),
    ];
}

/// The directory `counters` of a session.
struct SessionCounters;

impl Table for SessionCounters {
    type Kind = SessionFiles;
    const GROUP: Option<&'static CStr> = Some(c"counters");
    const FILES: &'static [Attr<DirKey>] = &Both::<DirKey>::COUNTERS;
}

/// The directory `latency` of a session.
struct SessionLatency;

impl Table for SessionLatency {
    type Kind = SessionFiles;
    const GROUP: Option<&'static CStr> = Some(c"latency");
    const FILES: &'static [Attr<DirKey>] = &Both::<DirKey>::STAGES;
}
