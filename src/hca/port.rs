// SPDX-License-Identifier: GPL-2.0

//! A port of an HCA: its number, its counters, and the [`Port`] object it is attached to.
//!
//! Not here: names, attributes and configuration ([`crate::port`]).

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};

use super::ports;
use crate::{
    engine::Port,
    params,
    rdma::{
        cm::PeerAddr,
        device::{
            Device,
            DeviceId,
            LinkLayer,
            Protocol, //
        }, //
    },
    srp::{
        machine::{
            access::Advice,
            ports::{
                Place,
                NO_GID, //
            },
            stats::{
                refusal_index,
                Stats,
                REFUSALS, //
            }, //
        },
        wire::{
            consts::RejectReason,
            ident::PortId, //
        }, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The port object of an [`HcaPort`].
struct Current {
    /// Replaced if the port's GID proves to be that of a known port.
    port: Arc<Port>,
    /// It was released; it may belong to another [`HcaPort`] by now.
    released: bool,
}

/// A refused login.
#[derive(Clone, Copy)]
pub(crate) struct RefusedLogin {
    pub(crate) at: Instant<Monotonic>,
    pub(crate) reason: RejectReason,
    /// Zero if the request was malformed.
    pub(crate) initiator_port: PortId,
    pub(crate) peer: PeerAddr,
    /// How an entry could admit the initiator, if it has none.
    pub(crate) advice: Option<Advice>,
    /// How often the initiator was refused for this reason.
    pub(crate) times: u64,
}

impl RefusedLogin {
    /// Returns whether the same initiator was refused for the same reason.
    fn repeats(&self, other: &Self) -> bool {
        self.initiator_port == other.initiator_port
            && self.peer == other.peer
            && self.reason == other.reason
    }
}

/// Number of refused logins that are kept.
const KEPT_REFUSALS: usize = 8;

/// One port of an HCA; dropping it releases the port object.
#[pin_data(PinnedDrop)]
pub(crate) struct HcaPort {
    device: DeviceId,
    number: u32,
    /// Native InfiniBand logins are accepted.
    ib_cm: bool,
    /// Logins granted.
    logins: Atomic<u64>,
    /// Logins refused, by reason.
    refusals: [Atomic<u64>; REFUSALS],
    /// The last refused logins, the newest first.
    #[pin]
    refused: SpinLock<[Option<RefusedLogin>; KEPT_REFUSALS]>,
    /// Sum of the counters of channels that have ended; changed with the list of channels locked.
    #[pin]
    past: SpinLock<Stats>,
    #[pin]
    current: Mutex<Current>,
}

impl HcaPort {
    /// Finds or creates the port object. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(device: &Device, number: u32) -> Result<Arc<Self>> {
        let place = Place {
            node_guid: device.node_guid(),
            number,
        };
        // A port whose GID cannot be read yet is named when its GID appears.
        let port = ports::adopt(place, device.query_gid(number, 0).unwrap_or(NO_GID))?;
        port.fit_vectors(device.num_comp_vectors())
            .inspect_err(|_| ports::release(&port))?;
        let current = Current {
            port: port.clone(),
            released: false,
        };
        let ib_cm = takes_ib_cm(device, number);
        Arc::pin_init(
            pin_init!(Self {
                device: device.id(),
                number,
                ib_cm,
                logins: Atomic::new(0),
                refusals: [const { Atomic::new(0) }; REFUSALS],
                refused <- new_spinlock!([None; KEPT_REFUSALS], "HcaPort::refused"),
                past <- new_spinlock!(Stats::new(), "HcaPort::past"),
                current <- new_mutex!(current, "HcaPort::current"),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| ports::release(&port))
    }

    /// Returns the identity of the HCA's device.
    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns the number of the port, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Returns whether native InfiniBand logins are accepted.
    pub(crate) fn takes_ib_cm(&self) -> bool {
        self.ib_cm
    }

    /// Returns the number of granted logins.
    pub(crate) fn logins(&self) -> u64 {
        self.logins.load(Relaxed)
    }

    /// Counts a granted login.
    pub(crate) fn count_login(&self) {
        self.logins.fetch_add(1, Relaxed);
    }

    /// Returns the number of logins refused for a reason, by the number of the reason; [`None`] if
    /// it is out of range.
    pub(crate) fn refusals(&self, index: usize) -> Option<u64> {
        self.refusals.get(index).map(|count| count.load(Relaxed))
    }

    /// Counts a refused login, and keeps it among the last ones. One that is repeated takes a
    /// single place, so that an initiator that tries for ever does not displace the others.
    pub(crate) fn count_refusal(&self, mut login: RefusedLogin) {
        if let Some(count) = self.refusals.get(refusal_index(login.reason)) {
            count.fetch_add(1, Relaxed);
        }
        let mut refused = self.refused.lock();
        let earlier = refused
            .iter()
            .position(|kept| kept.is_some_and(|kept| kept.repeats(&login)));
        let place = earlier.unwrap_or(KEPT_REFUSALS - 1);
        if let Some(until_place) = refused.get_mut(..=place) {
            until_place.rotate_right(1);
        }
        if let Some(newest) = refused.first_mut() {
            let kept = newest.filter(|_| earlier.is_some());
            let times = kept.map_or(0, |kept| kept.times);
            login.times = login.times.saturating_add(times);
            *newest = Some(login);
        }
    }

    /// Returns the last refused logins, the newest first.
    pub(crate) fn last_refusals(&self) -> [Option<RefusedLogin>; KEPT_REFUSALS] {
        *self.refused.lock()
    }

    /// Returns the sum of the counters of channels that have ended.
    pub(crate) fn past(&self) -> Stats {
        *self.past.lock()
    }

    /// Adds the counters of a channel that ends.
    pub(crate) fn keep(&self, stats: &Stats) {
        self.past.lock().merge(stats);
    }

    /// Returns the port object. May sleep.
    pub(crate) fn current(&self) -> Arc<Port> {
        self.current.lock().port.clone()
    }

    /// Reads the GID again; returns whether it has changed. May sleep.
    pub(crate) fn refresh(&self, device: &Device) -> bool {
        // Events may be handled concurrently. With the lock held around the read, which is one of a
        // cache, the last GID read is the last one stored.
        let mut current = self.current.lock();
        let gid = device.query_gid(self.number, 0).unwrap_or(NO_GID);
        // A port whose GID is missing for a moment keeps its names.
        if current.released || gid == NO_GID || gid == current.port.known().gid {
            return false;
        }
        if let Some(old) = ports::rename(&current.port, gid) {
            // Without memory the old mask stays, which queues take modulo the number of vectors.
            let _ = old.fit_vectors(device.num_comp_vectors());
            current.port = old;
        }
        true
    }

    /// Logs the name of the port. May sleep.
    pub(crate) fn log(&self, device: &Device) {
        let port = self.current();
        match port.known().gid {
            NO_GID => pr_info!("{} port {}: no GID yet\n", device.name(), self.number),
            _ => pr_info!(
                "{} port {}: {}\n",
                device.name(),
                self.number,
                port.gid_name()
            ),
        }
    }

    /// Releases the port object, which keeps its configuration for the HCA's return. May be called
    /// twice. May sleep.
    pub(crate) fn release(&self) {
        let mut current = self.current.lock();
        if !core::mem::replace(&mut current.released, true) {
            ports::release(&current.port);
        }
    }
}

#[pinned_drop]
impl PinnedDrop for HcaPort {
    fn drop(self: Pin<&mut Self>) {
        self.release();
    }
}

/// Returns whether a port accepts native InfiniBand logins: if its link layer is InfiniBand, or it
/// is a RoCE port and the module parameter `ib_cm_on_roce` is set.
fn takes_ib_cm(device: &Device, port: u32) -> bool {
    let wanted = match device.link_layer(port) {
        LinkLayer::InfiniBand => true,
        _ => params::ib_cm_on_roce() && device.protocol(port) == Protocol::Roce,
    };
    wanted && device.has_ib_cm(port)
}
