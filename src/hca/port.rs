// SPDX-License-Identifier: GPL-2.0

//! A port of an HCA: its number, what is counted about it, and which [`Port`] object stands for it
//! at the moment.
//!
//! Not here: names, attributes and configuration ([`crate::port`]).

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
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
    }, //
};

/// The port object of an [`HcaPort`].
struct Current {
    /// Another one if the port's GID turns out to be that of a port seen before.
    port: Arc<Port>,
    /// It was left to the HCA's return; it may belong to another [`HcaPort`] by now.
    released: bool,
}

/// A login that was refused.
#[derive(Clone, Copy)]
pub(crate) struct RefusedLogin {
    pub(crate) at: Instant<Monotonic>,
    pub(crate) reason: RejectReason,
    /// Zero if the request was none.
    pub(crate) initiator_port: PortId,
    pub(crate) peer: PeerAddr,
    /// What would let the initiator in, if that is why.
    pub(crate) advice: Option<Advice>,
}

/// How many of them are kept.
const KEPT_REFUSALS: usize = 8;

/// One port of an HCA; dropping it leaves the port to the HCA's return.
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
    /// The last of them, the newest first.
    #[pin]
    refused: SpinLock<[Option<RefusedLogin>; KEPT_REFUSALS]>,
    /// What was counted about channels that have ended; changed with the list of channels locked.
    #[pin]
    past: SpinLock<Stats>,
    #[pin]
    current: Mutex<Current>,
}

impl HcaPort {
    /// Finds or makes the port object. May sleep.
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

    /// The HCA's device.
    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// Number of the port, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Whether native InfiniBand logins are accepted.
    pub(crate) fn takes_ib_cm(&self) -> bool {
        self.ib_cm
    }

    /// Logins granted.
    pub(crate) fn logins(&self) -> u64 {
        self.logins.load(Relaxed)
    }

    /// Counts a login that was granted.
    pub(crate) fn count_login(&self) {
        self.logins.fetch_add(1, Relaxed);
    }

    /// Logins refused for a reason, by its number.
    pub(crate) fn refusals(&self, index: usize) -> Option<u64> {
        self.refusals.get(index).map(|count| count.load(Relaxed))
    }

    /// Counts a login that was refused, and keeps it among the last ones.
    pub(crate) fn count_refusal(&self, login: RefusedLogin) {
        if let Some(count) = self.refusals.get(refusal_index(login.reason)) {
            count.fetch_add(1, Relaxed);
        }
        let mut refused = self.refused.lock();
        refused.rotate_right(1);
        if let Some(newest) = refused.first_mut() {
            *newest = Some(login);
        }
    }

    /// The last logins that were refused, the newest first.
    pub(crate) fn last_refusals(&self) -> [Option<RefusedLogin>; KEPT_REFUSALS] {
        *self.refused.lock()
    }

    /// What was counted about channels that have ended.
    pub(crate) fn past(&self) -> Stats {
        *self.past.lock()
    }

    /// Keeps what was counted about a channel that ends.
    pub(crate) fn keep(&self, stats: &Stats) {
        self.past.lock().merge(stats);
    }

    /// The port object. May sleep.
    pub(crate) fn current(&self) -> Arc<Port> {
        self.current.lock().port.clone()
    }

    /// Reads the GID again; says whether it has changed. May sleep.
    pub(crate) fn refresh(&self, device: &Device) -> bool {
        // Events may be handled several at a time. With the lock held around reading, which looks
        // into a cache, what is read last is written last.
        let mut current = self.current.lock();
        let gid = device.query_gid(self.number, 0).unwrap_or(NO_GID);
        // A port whose GID has gone for a moment keeps its names.
        if current.released || gid == NO_GID || gid == current.port.known().gid {
            return false;
        }
        if let Some(old) = ports::rename(&current.port, gid) {
            // Without memory the mask stays as it was, which does no harm.
            let _ = old.fit_vectors(device.num_comp_vectors());
            current.port = old;
        }
        true
    }

    /// Says in the log how the port is named.
    pub(crate) fn log(&self, device: &Device) {
        let gid = self.current().gid_name();
        pr_info!("{} port {}: {}\n", device.name(), self.number, gid);
    }

    /// Leaves the port to the HCA's return. May be called twice.
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

/// Whether a port is meant for native InfiniBand logins: those whose link layer is InfiniBand, and
/// those of RoCE if the administrator wants that.
fn takes_ib_cm(device: &Device, port: u32) -> bool {
    let wanted = match device.link_layer(port) {
        LinkLayer::InfiniBand => true,
        _ => params::ib_cm_on_roce() && device.protocol(port) == Protocol::Roce,
    };
    wanted && device.has_ib_cm(port)
}
