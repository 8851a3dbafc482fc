// SPDX-License-Identifier: GPL-2.0

//! An HCA port as administrators see it: its names, its attributes, whether logins are allowed.
//!
//! A `Port` outlives the HCA it belongs to: configfs directories hold it, and when the same HCA
//! comes back it is attached to the same object again, configuration included; the rules for that
//! are in [`crate::srp::machine::ports`], the list of ports in [`crate::hca::ports`]. Verbs objects live in
//! [`crate::hca`], channels in [`crate::channel`].

use core::fmt;

use kernel::{
    cpu::nr_cpu_ids,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        lock::mutex::MutexGuard,
        Arc,
        Mutex,
        SpinLock, //
    }, //
};

use crate::{
    params,
    srp::{
        machine::ports::{
            Gid,
            Known,
            Place,
            NO_GID, //
        },
        wire::{
            consts::limit,
            dm::{
                ControllerName,
                ID_TEXT, //
            },
            ident::{
                Guid,
                NameBuf,
                PortId, //
            }, //
        }, //
    },
    vectors::VectorMask, //
};

/// Tunable attributes of a port. The names are those of the files in configfs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PortAttr {
    /// `srp_max_rdma_size`: bytes one command may move.
    MaxRdmaSize,
    /// `srp_max_rsp_size`: bytes of a response buffer; new channels only.
    MaxRspSize,
    /// `srp_sq_size`: send queue entries; new channels only.
    SqSize,
    /// `use_srq`: 1 for the device's shared receive queue; new channels only.
    UseSrq,
}

impl PortAttr {
    /// Smallest and largest value accepted.
    #[allow(dead_code, reason = "only for engines that keep attributes here")]
    pub(crate) const fn limits(self) -> (u32, u32) {
        match self {
            Self::MaxRdmaSize => (limit::DEFAULT_MAX_RDMA_SIZE, limit::MAX_MAX_RDMA_SIZE),
            Self::MaxRspSize => (limit::MIN_MAX_RSP_SIZE, limit::MAX_MAX_RSP_SIZE),
            Self::SqSize => (limit::MIN_CONFIG_SQ_SIZE, limit::MAX_CONFIG_SQ_SIZE),
            Self::UseSrq => (0, 1),
        }
    }
}

/// Values of the tunable attributes.
#[derive(Clone, Copy)]
struct Attrs {
    max_rdma_size: u32,
    max_rsp_size: u32,
    sq_size: u32,
    use_srq: u32,
}

/// Who a port is, and for how many directories.
struct Identity {
    /// Both names follow from the GID.
    known: Known,
    /// How many configfs directories there are.
    directories: u32,
}

/// What an engine keeps per port, and what it lays down for all of them.
pub(crate) trait PortData: Sized + Send + Sync + 'static {
    /// The text by which device management identifies the I/O controller of a port unless an
    /// administrator sets another; at most 63 bytes.
    const CONTROLLER_NAME: &'static str = ID_TEXT;

    /// Initial data.
    fn new() -> impl PinInit<Self, Error>;

    /// A value for an attribute of all ports that takes the place of the port's own.
    fn attr(_attr: PortAttr) -> Option<u32> {
        None
    }
}

/// An HCA port, with the data of an engine.
#[pin_data]
pub(crate) struct Port<D: PortData> {
    #[pin]
    identity: SpinLock<Identity>,
    /// Logins are allowed.
    enabled: Atomic<bool>,
    #[pin]
    attrs: SpinLock<Attrs>,
    /// The text by which device management identifies the port's I/O controller.
    #[pin]
    controller_name: Mutex<ControllerName>,
    /// Which completion vectors new channels use, in turn.
    #[pin]
    vectors: Mutex<VectorMask>,
    /// What the engine keeps per port.
    #[pin]
    engine: D,
}

impl<D: PortData> Port<D> {
    /// A port with default attributes, disabled and not attached. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(place: Place, gid: Gid) -> Result<Arc<Self>> {
        // It is shorter than what fits.
        let name = ControllerName::from_display(D::CONTROLLER_NAME);
        let vectors = VectorMask::all(1, nr_cpu_ids())?;
        Arc::pin_init(
            try_pin_init!(Self {
                identity <- new_spinlock!(
                    Identity {
                        known: Known {
                            gid,
                            place,
                            attached: false,
                            configured_as: None,
                        },
                        directories: 0,
                    },
                    "Port::identity"
                ),
                enabled: Atomic::new(false),
                attrs <- new_spinlock!(
                    Attrs {
                        max_rdma_size: limit::DEFAULT_MAX_RDMA_SIZE,
                        max_rsp_size: limit::DEFAULT_MAX_RSP_SIZE,
                        sq_size: limit::DEFAULT_SQ_SIZE,
                        use_srq: 0,
                    },
                    "Port::attrs"
                ),
                controller_name <- new_mutex!(
                    name.unwrap_or(ControllerName::new()),
                    "Port::controller_name"
                ),
                vectors <- new_mutex!(vectors, "Port::vectors"),
                engine <- D::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Who the port is.
    pub(crate) fn known(&self) -> Known {
        self.identity.lock().known
    }

    /// Notes that the port is present, where, and under which GID.
    pub(crate) fn attach(&self, place: Place, gid: Gid) {
        let known = &mut self.identity.lock().known;
        known.attached = true;
        known.place = place;
        // One that cannot be read yet does not make the old name invalid.
        if gid != NO_GID {
            known.gid = gid;
        }
    }

    /// Notes that the HCA went away.
    pub(crate) fn detach(&self) {
        self.identity.lock().known.attached = false;
    }

    /// Notes another GID.
    pub(crate) fn set_gid(&self, gid: Gid) {
        self.identity.lock().known.gid = gid;
    }

    /// GID at index 0; displayed as `0x` and 32 hex digits.
    pub(crate) fn gid_name(&self) -> PortId {
        PortId(self.known().gid)
    }

    /// Port GUID, the lower half of the GID; displayed as four groups of four hex digits.
    #[allow(
        dead_code,
        reason = "only for engines with directories of their own making"
    )]
    pub(crate) fn guid_name(&self) -> Guid {
        self.gid_name().halves().1
    }

    /// Whether `name` is one of the two names of this port. Without a GID it has none.
    #[allow(
        dead_code,
        reason = "only for engines with directories of their own making"
    )]
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let is = |text: Result<NameBuf<40>, _>| text.is_ok_and(|text| text.as_str() == name);
        self.known().gid != NO_GID
            && (is(NameBuf::from_display(self.gid_name()))
                || is(NameBuf::from_display(self.guid_name())))
    }

    /// Writes what an initiator has to write to `add_target` to log in through InfiniBand's own
    /// connection manager, but for the `t` of `tid_ext`.
    pub(crate) fn login_info(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let guid = params::service_guid().map_or(0, |guid| guid.0);
        let gid = self.gid_name().without_prefix();
        writeln!(
            out,
            "tid_ext={guid:016x},ioc_guid={guid:016x},pkey=ffff,dgid={gid},service_id={guid:016x}"
        )
    }

    /// What the engine keeps per port.
    pub(crate) fn engine(&self) -> &D {
        &self.engine
    }

    /// Whether the engine has a value of an attribute for all ports, so that no port's own counts.
    pub(crate) fn is_fixed(attr: PortAttr) -> bool {
        D::attr(attr).is_some()
    }

    /// Reads an attribute. The engine may have a value for all ports.
    pub(crate) fn attr(&self, attr: PortAttr) -> u32 {
        if let Some(value) = D::attr(attr) {
            return value;
        }
        let attrs = self.attrs.lock();
        match attr {
            PortAttr::MaxRdmaSize => attrs.max_rdma_size,
            PortAttr::MaxRspSize => attrs.max_rsp_size,
            PortAttr::SqSize => attrs.sq_size,
            PortAttr::UseSrq => attrs.use_srq,
        }
    }

    /// Writes an attribute.
    ///
    /// # Errors
    ///
    /// `EINVAL` outside [`PortAttr::limits`]; nothing is changed then.
    #[allow(dead_code, reason = "only for engines that keep attributes here")]
    pub(crate) fn set_attr(&self, attr: PortAttr, value: u32) -> Result {
        let (low, high) = attr.limits();
        if value < low || value > high {
            return Err(EINVAL);
        }
        let mut attrs = self.attrs.lock();
        match attr {
            PortAttr::MaxRdmaSize => attrs.max_rdma_size = value,
            PortAttr::MaxRspSize => attrs.max_rsp_size = value,
            PortAttr::SqSize => attrs.sq_size = value,
            PortAttr::UseSrq => attrs.use_srq = value,
        }
        Ok(())
    }

    /// The text by which device management identifies the port's I/O controller. May sleep.
    pub(crate) fn controller_name(&self) -> ControllerName {
        *self.controller_name.lock()
    }

    /// Sets it. May sleep.
    pub(crate) fn set_controller_name(&self, name: ControllerName) {
        *self.controller_name.lock() = name;
    }

    /// The completion vectors, locked. May sleep.
    pub(crate) fn vectors(&self) -> MutexGuard<'_, VectorMask> {
        self.vectors.lock()
    }

    /// Notes how many completion vectors the device has. A mask that was set stays if the device
    /// that came back has as many as before. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the old mask stays then, which queues take modulo the number of vectors.
    pub(crate) fn fit_vectors(&self, vectors: u32) -> Result {
        let mut mask = self.vectors.lock();
        if mask.vectors() != vectors {
            *mask = VectorMask::all(vectors, nr_cpu_ids())?;
        }
        Ok(())
    }

    /// Whether logins are allowed.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Acquire)
    }

    /// Allows or forbids logins; existing sessions stay as they are.
    pub(crate) fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Release);
    }
}

/// A port a configfs directory stands for. While there is one, the port keeps its configuration,
/// whatever becomes of the HCA and of the GID.
pub(crate) struct ConfiguredPort<D: PortData>(Arc<Port<D>>);

impl<D: PortData> ConfiguredPort<D> {
    /// Counts a directory. The list of ports must be locked, so that the port is not forgotten.
    #[allow(
        dead_code,
        reason = "only for engines with directories of their own making"
    )]
    pub(crate) fn new(port: Arc<Port<D>>) -> Self {
        {
            let mut identity = port.identity.lock();
            if identity.directories == 0 {
                identity.known.configured_as = Some(identity.known.gid);
            }
            identity.directories = identity.directories.saturating_add(1);
        }
        Self(port)
    }

    /// The port.
    #[allow(
        dead_code,
        reason = "only for engines with directories of their own making"
    )]
    pub(crate) fn port(&self) -> &Arc<Port<D>> {
        &self.0
    }
}

impl<D: PortData> Drop for ConfiguredPort<D> {
    /// Counts the directory less. A port that is absent is forgotten with the next change of the list
    /// of ports.
    fn drop(&mut self) {
        let mut identity = self.0.identity.lock();
        identity.directories = identity.directories.saturating_sub(1);
        if identity.directories == 0 {
            identity.known.configured_as = None;
        }
    }
}
