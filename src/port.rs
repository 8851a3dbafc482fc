// SPDX-License-Identifier: GPL-2.0

//! HCA port as configured by administrators: names, attributes, and whether logins are allowed.
//!
//! A `Port` outlives the HCA it belongs to: configfs directories hold it, and when the same HCA
//! returns it is attached to the same object again, configuration included.
//!
//! Not here: which object a returning port gets ([`crate::srp::machine::ports`]), the list of ports
//! ([`crate::hca::ports`]), verbs objects ([`crate::hca`]), and channels ([`crate::channel`]).

use core::fmt;

use kernel::{
    cpu::nr_cpu_ids,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
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
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    },
    vectors::VectorMask, //
};

/// Tunable attributes of a port, named after the files in configfs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PortAttr {
    /// `srp_max_rdma_size`: largest number of bytes that one command may transfer.
    MaxRdmaSize,
    /// `srp_max_rsp_size`: bytes of a response buffer; new channels only.
    MaxRspSize,
    /// `srp_sq_size`: send queue entries; new channels only.
    SqSize,
    /// `use_srq`: 1 to use the HCA's shared receive queue; new channels only.
    UseSrq,
}

impl PortAttr {
    /// Returns the smallest and the largest accepted value.
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

/// Identity of a port, and the number of its directories.
struct Identity {
    /// Both names follow from the GID.
    known: Known,
    /// Number of configfs directories of the port.
    directories: u32,
}

/// The engine's data per port, and its settings for all ports.
pub(crate) trait PortData: Sized + Send + Sync + 'static {
    /// The text by which device management identifies the I/O controller of a port unless an
    /// administrator sets another; at most 63 bytes.
    const CONTROLLER_NAME: &'static str = ID_TEXT;

    /// Returns an initialiser of the data.
    fn new() -> impl PinInit<Self, Error>;

    /// Returns the value of an attribute that overrides that of every port; [`None`] if ports have
    /// their own values.
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
    /// Completion vectors of new channels, used in turn.
    #[pin]
    vectors: Mutex<VectorMask>,
    /// The engine's data.
    #[pin]
    engine: D,
}

impl<D: PortData> Port<D> {
    /// Creates a port with default attributes, disabled and not attached. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(place: Place, gid: Gid) -> Result<Arc<Self>> {
        // It is shorter than the buffer.
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

    /// Returns the identity of the port.
    pub(crate) fn known(&self) -> Known {
        self.identity.lock().known
    }

    /// Records that the port is present, its place and its GID.
    pub(crate) fn attach(&self, place: Place, gid: Gid) {
        let known = &mut self.identity.lock().known;
        known.attached = true;
        known.place = place;
        // A GID that cannot be read yet does not invalidate the old name.
        if gid != NO_GID {
            known.gid = gid;
        }
    }

    /// Records that the HCA was removed.
    pub(crate) fn detach(&self) {
        self.identity.lock().known.attached = false;
    }

    /// Records a changed GID.
    pub(crate) fn set_gid(&self, gid: Gid) {
        self.identity.lock().known.gid = gid;
    }

    /// Returns the GID at index 0; displayed as `0x` and 32 hex digits.
    pub(crate) fn gid_name(&self) -> PortId {
        PortId(self.known().gid)
    }

    /// Returns the port GUID, the lower half of the GID; displayed as four groups of four hex
    /// digits.
    #[allow(
        dead_code,
        reason = "only for engines with directories of their own making"
    )]
    pub(crate) fn guid_name(&self) -> Guid {
        self.gid_name().halves().1
    }

    /// Returns whether `name` is one of the two names of this port. Without a GID it has none.
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

    /// Writes the parameters that an initiator writes to `add_target` to log in through the
    /// InfiniBand CM, except that `tid_ext` stands for `id_ext`.
    pub(crate) fn login_info(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let guid = params::service_guid().map_or(0, |guid| guid.0);
        let gid = self.gid_name().without_prefix();
        writeln!(
            out,
            "tid_ext={guid:016x},ioc_guid={guid:016x},pkey=ffff,dgid={gid},service_id={guid:016x}"
        )
    }

    /// Returns the engine's data.
    pub(crate) fn engine(&self) -> &D {
        &self.engine
    }

    /// Returns whether the engine overrides an attribute of all ports.
    pub(crate) fn is_fixed(attr: PortAttr) -> bool {
        D::attr(attr).is_some()
    }

    /// Returns the value of an attribute, or the engine's override.
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

    /// Sets an attribute.
    ///
    /// # Errors
    ///
    /// `EINVAL` outside [`PortAttr::limits`]; the attribute is unchanged then.
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

    /// Returns the text by which device management identifies the port's I/O controller. May sleep.
    pub(crate) fn controller_name(&self) -> ControllerName {
        *self.controller_name.lock()
    }

    /// Sets the text by which device management identifies the port's I/O controller. May sleep.
    pub(crate) fn set_controller_name(&self, name: ControllerName) {
        *self.controller_name.lock() = name;
    }

    /// Locks and returns the completion vectors. May sleep.
    pub(crate) fn vectors(&self) -> MutexGuard<'_, VectorMask> {
        self.vectors.lock()
    }

    /// Sets the number of completion vectors of the device. A configured mask is kept if the number
    /// is unchanged. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the old mask is kept then, which queues take modulo the number of vectors.
    pub(crate) fn fit_vectors(&self, vectors: u32) -> Result {
        let mut mask = self.vectors.lock();
        if mask.vectors() != vectors {
            *mask = VectorMask::all(vectors, nr_cpu_ids())?;
        }
        Ok(())
    }

    /// Returns whether logins are allowed.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Acquire)
    }

    /// Allows or forbids logins; existing sessions are not affected.
    pub(crate) fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Release);
    }
}

/// A port with a configfs directory. While one exists, the port keeps its configuration, whatever
/// happens to the HCA and the GID.
pub(crate) struct ConfiguredPort<D: PortData>(Arc<Port<D>>);

impl<D: PortData> ConfiguredPort<D> {
    /// Increments the number of directories. The list of ports must be locked, so that the port
    /// stays in it.
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

    /// Returns the port.
    #[allow(
        dead_code,
        reason = "only for engines with directories of their own making"
    )]
    pub(crate) fn port(&self) -> &Arc<Port<D>> {
        &self.0
    }
}

impl<D: PortData> Drop for ConfiguredPort<D> {
    /// Decrements the number of directories. An absent port is removed with the next change of the
    /// list of ports.
    fn drop(&mut self) {
        let mut identity = self.0.identity.lock();
        identity.directories = identity.directories.saturating_sub(1);
        if identity.directories == 0 {
            identity.known.configured_as = None;
        }
    }
}
