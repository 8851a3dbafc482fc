// SPDX-License-Identifier: GPL-2.0

//! The boundary between the SRP target and the storage engine behind it.
//!
//! Traits in the vocabulary of SCST's target driver interface. The target calls the engine through
//! [`Engine`] (`scst_rx_cmd`, `scst_rx_data`, `scst_tgt_cmd_done`, ...), [`Session`] and
//! [`EngineCmd`]; the engine calls the target through [`TargetCmd`] for a command (`rdy_to_xfer`,
//! `xmit_response`, `on_free_cmd`, ...) and through [`Target`] for everything else. An engine is
//! generic over the latter two. The engine is selected at compile time, in this file only, so every
//! call is static.
//!
//! Not here: bindings and `unsafe` code, which are in the adapters in `engine/`.
//!
//! # Contract
//!
//! - The engine owns a command that [`Engine::rx_cmd`] or [`Engine::rx_mgmt_fn`] accepted: it holds
//!   the `Arc` until it returns it through [`TargetCmd::on_free_cmd`].
//! - After [`TargetCmd::rdy_to_xfer`] has returned [`Delivery::Success`], the target owes exactly
//!   one [`Engine::rx_data`]; after [`TargetCmd::xmit_response`] has returned `Success`, and after
//!   [`TargetCmd::task_mgmt_fn_done`], exactly one [`Engine::tgt_cmd_done`], which may come inside
//!   the callback ([`DoneContext::Same`]). The engine keeps the
//!   data buffer until then. The buffer is lent ([`SgList`]): while the list is not dropped, the
//!   engine refuses the completion, and a callback that returns anything but `Success`.
//! - Immediate data is lent to the engine with the command. An engine that uses it in place drops
//!   it before it calls [`TargetCmd::xmit_response`] or [`TargetCmd::on_free_cmd`], because the
//!   target then posts the receive buffer; one that does not drops it in [`Engine::rx_cmd`].
//! - All callbacks run in process context. They do not sleep on I/O.
//! - The submitter of a command keeps a reference of its own on it until the session is closed
//!   ([`Session::close`] has returned). [`TargetCmd::on_hw_timeout`] depends on that.

use core::net::IpAddr;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use crate::{
    port::{
        self,
        PortData, //
    },
    rdma::{
        buf::Immediate,
        cm::PeerAddr,
        device::Device,
        sg::SgList, //
    },
    srp::{
        self,
        machine::access::{
            Hint,
            Initiator, //
        },
        wire::{
            cmd::TaskAttr,
            desc::Dir,
            ident::{
                Lun,
                PortId, //
            },
            rsp::Residual,
            tmf::TmFunction, //
        }, //
    }, //
};

mod embed;
mod epoch;
mod phase;

#[cfg(srpt_engine = "lio")]
mod lio;
#[cfg(srpt_engine = "lio")]
pub(crate) use lio::{
    cmd::{
        impl_cmd_work,
        CmdWork, //
    },
    Lio as Active, //
};
#[cfg(srpt_engine = "scst")]
mod scst;
#[cfg(srpt_engine = "scst")]
pub(crate) use scst::{
    cmd::{
        impl_cmd_work,
        CmdWork, //
    },
    Scst as Active, //
};

pub(crate) use embed::{
    impl_has_engine_cmd,
    HasEngineCmd, //
};

/// The engine's part of a command of the target.
pub(crate) type ActiveCmd<C> = <Active as Engine>::Cmd<C>;
/// An HCA port with the engine's data.
pub(crate) type Port = port::Port<<Active as Engine>::PortData>;
/// A port that has a directory in the engine's configuration.
pub(crate) type ConfiguredPort = port::ConfiguredPort<<Active as Engine>::PortData>;

/// A SCSI command as received, validated by the protocol layer.
pub(crate) struct RxCmd {
    /// Initiator's tag.
    pub(crate) tag: u64,
    /// Logical unit number, see [`Engine::lun_number`].
    pub(crate) lun: u64,
    /// Task attribute.
    pub(crate) attr: TaskAttr,
    /// Direction of the data, from the data descriptors; [`None`] without data.
    pub(crate) dir: Option<Dir>,
    /// Number of bytes, from the data descriptors.
    pub(crate) data_len: u32,
    /// CDB of 16 bytes, as nearly all are; zeroes if `long` is set. To be read with [`Self::cdb`].
    pub(crate) short: [u8; 16],
    /// CDB of 16 bytes and the additional bytes that follow them. See [`Self::cdb`].
    pub(crate) long: Option<KVec<u8>>,
}

impl RxCmd {
    /// Returns the CDB: 16 bytes or more.
    #[inline]
    pub(crate) fn cdb(&self) -> &[u8] {
        match &self.long {
            Some(long) => long,
            None => &self.short,
        }
    }

    /// Returns the part of the CDB to pass to an engine, which may copy the number of bytes that
    /// the CDB itself implies: 16, or for a variable length CDB 8 more than its additional length
    /// (byte 7). Returns `None` if that is more than `most` or more than was received.
    #[inline]
    pub(crate) fn complete_cdb(&self, most: usize) -> Option<&[u8]> {
        /// Operation code of variable length CDBs (SPC).
        const VARIABLE_LENGTH: u8 = 0x7f;
        /// Maximum length of all others.
        const FIXED: usize = 16;
        let cdb = self.cdb();
        let needed = match *cdb.first_chunk::<FIXED>()? {
            [VARIABLE_LENGTH, _, _, _, _, _, _, additional, ..] => usize::from(additional) + 8,
            _ => FIXED,
        };
        if needed > most {
            return None;
        }
        cdb.get(..needed)
    }
}

/// A task management request as received.
#[derive(Clone, Copy)]
pub(crate) struct RxMgmt {
    /// Tag of the request itself.
    #[allow(dead_code, reason = "not every engine asks for it")]
    pub(crate) tag: u64,
    /// Logical unit number, see [`Engine::lun_number`].
    pub(crate) lun: u64,
    /// Task management function.
    pub(crate) function: TmFunction,
    /// Tag of the task to abort, for ABORT TASK.
    pub(crate) task_tag: u64,
}

/// Why the engine refused a command. It has kept nothing of the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RxError {
    /// The session is being closed.
    ShuttingDown,
    /// The CDB is longer than the bytes received, or than the engine can hold.
    InvalidCdb,
    /// The task management function does not exist in this engine.
    UnknownFunction,
    /// No memory, or no room for this command now.
    NoMemory,
}

/// Result of the transfer of write data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RxDataStatus {
    /// All bytes are in the engine's buffer.
    Success,
    /// Not all bytes are; the command ends with CHECK CONDITION.
    Error,
}

/// Result of a callback of the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Delivery {
    /// Accepted; the target owes a completion (see the contract above).
    Success,
    /// The send queue is full. Nothing was changed; the engine calls again later.
    QueueFull,
    /// Permanent failure for this command. No completion is owed.
    FatalError,
}

/// Result of a task management function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TmResult {
    /// Function complete.
    Complete,
    /// The task does not exist.
    TaskDoesNotExist,
    /// The logical unit does not exist.
    LunDoesNotExist,
    /// Function not supported.
    NotSupported,
    /// Function rejected.
    #[allow(dead_code, reason = "not every engine does that")]
    Rejected,
    /// Function failed.
    Failed,
}

/// Circumstances in which the target completes a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DoneContext {
    /// In the completion of the response's SEND.
    Completion,
    /// In that completion, but the response was not sent.
    Lost,
    /// Inside `xmit_response` or `task_mgmt_fn_done`: nothing can be sent any more, or, with
    /// [`Engine::ENDS_WHEN_POSTED`], the response was posted, and does not complete.
    Same,
}

/// Identity of a session: an address, which is compared but never dereferenced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SessionKey(pub(crate) usize);

/// Identity of the engine's target object (LIO: a target portal group) a session belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TargetKey(pub(crate) usize);

/// Snapshot of a channel of a session, for files.
pub(crate) struct SessionView {
    /// State of the channel.
    pub(crate) state: srp::machine::channel::State,
    /// Number of requests that the initiator may send now.
    pub(crate) req_lim: u32,
    /// Credits that the next response or request of the target will carry.
    #[allow(dead_code, reason = "not every engine shows it")]
    pub(crate) delta: u32,
    /// Number of commands in use.
    pub(crate) active: usize,
    /// Number of send queue slots in use.
    pub(crate) sq_used: u32,
    /// Number of information units that wait for a command.
    pub(crate) held: usize,
    /// Number of tasks that tear-down waits for.
    pub(crate) busy: u32,
    /// Completion vector.
    pub(crate) comp_vector: u32,
}

/// A channel, for the files of an access control entry.
#[allow(dead_code, reason = "not every engine shows it")]
pub(crate) struct EntryChannel {
    /// Serial number, as in log lines.
    pub(crate) serial: u64,
    /// Initiator port identifier.
    pub(crate) initiator_port: PortId,
    /// Address of the peer.
    pub(crate) peer: PeerAddr,
}

/// An asynchronous event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "not every engine reports them")]
pub(crate) enum Aen {
    /// Logical units were added or removed (REPORTED LUNS DATA HAS CHANGED).
    LunsChanged,
}

/// Parameters of a login for the engine's access control.
pub(crate) struct SessionRequest {
    /// Initiator port identifier of the login.
    pub(crate) initiator_port: PortId,
    /// GID of the initiator's HCA port; known for IB/CM logins only.
    pub(crate) port_gid: Option<PortId>,
    /// Network address of the peer; known for RDMA/CM logins only.
    pub(crate) peer: Option<IpAddr>,
    /// Network address that it logs in to; known for RDMA/CM logins only.
    #[allow(dead_code, reason = "not every engine asks for it")]
    pub(crate) local: Option<IpAddr>,
}

impl SessionRequest {
    /// Returns the initiator in the form that access control entries are matched with.
    pub(crate) fn initiator(&self) -> Initiator {
        Initiator {
            port_id: self.initiator_port,
            guid: self.port_gid.map(|gid| gid.halves().1),
            addr: self.peer,
        }
    }
}

/// Why the engine refused a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpenError {
    /// No access control entry matches, or the target is not enabled. An engine with entries may
    /// add a hint: the entry that was probably meant.
    NotAllowed(Option<Hint>),
    /// No memory.
    NoMemory,
    /// Another error of the engine.
    #[allow(dead_code, reason = "not every engine says why")]
    Other(Error),
}

/// A storage engine, as called by the SRP target.
pub(crate) trait Engine: Sized + 'static {
    /// Registration of the target driver with the engine; dropping it unregisters the driver.
    type Registration: Send + Sync;
    /// The engine's data of an HCA port (LIO: the port's target portal groups).
    type PortData: PortData;
    /// A session with the engine.
    type Session: Session;
    /// The engine's part of a command, embedded in a command `C` of the target.
    type Cmd<C>: EngineCmd;

    /// Whether the engine supports ABORT TASK SET and CLEAR TASK SET.
    const HAS_TASK_SETS: bool = true;

    /// Whether a command may end when its response is posted. Not so for engines that are to know
    /// whether it was delivered, or whose task management functions wait for the end of commands
    /// of other channels: the initiator must not get the function's response first, and take the
    /// command's for that to a new command with its tag.
    const ENDS_WHEN_POSTED: bool = false;

    /// Returns the default of the service GUID, from the node GUID of the first HCA.
    fn service_guid(node_guid: u64) -> u64 {
        node_guid
    }
    /// Initialises the engine's static state. Called once, at the beginning of the module's init.
    fn init() {}
    /// Registers the target driver with the engine. Process context, may sleep.
    fn register<T: Target>() -> Result<Self::Registration>
    where
        Top: HasTarget<Target = T>;

    /// The port became usable (has a GID). May be called again. Engines with a target per port
    /// create it here. Process context, may sleep.
    fn port_added(_port: &Arc<Port>, _device: &Device, _number: u32) {}
    /// The HCA of the port is being removed; its channels have ended. The engine drops its
    /// references to the device. Process context, may sleep.
    fn port_removed(_port: &Port) {}
    /// Maximum number of commands of an initiator that the engine accepts at a time. Process
    /// context, may sleep.
    fn max_commands() -> u32 {
        u32::MAX
    }

    /// Returns an initialiser for the engine's part of a command. The bound admits the commands of
    /// the registered target only, so no others can be submitted.
    fn new_cmd<C: TargetCmd>() -> impl PinInit<Self::Cmd<C>, Error>
    where
        Top: HasTarget<Target: Target<Cmd = C>>;

    /// Returns whether the port could let an initiator in now: it is enabled, and has an access
    /// control entry with engines that need one. Process context, may sleep.
    fn admits(port: &Port) -> bool {
        port.is_enabled()
    }

    /// Opens a session on `port` for the first access control entry that matches.
    /// Process context, may sleep.
    fn open_session(port: &Port, request: &SessionRequest) -> Result<Self::Session, OpenError>;

    /// Returns the number of the logical unit with this address. All addresses of a logical unit
    /// have the same number, so that a task management function finds the commands it is for.
    fn lun_number(lun: Lun) -> u64;

    /// Returns the sense data that answers this command, if the engine must not see it: it would
    /// refuse the command, but not without harm.
    #[inline]
    fn refusal(_rx: &RxCmd) -> Option<&'static [u8]> {
        None
    }

    /// Submits a new command to the engine (`scst_rx_cmd` and `scst_cmd_init_done`). Process
    /// context. Callbacks for the command may run before this returns. `immediate` is the data of a
    /// write that arrived with the command; an engine that does not use it in place drops it before
    /// any callback, because its receive buffer cannot be posted as long as it exists.
    fn rx_cmd<C: TargetCmd>(
        cmd: Arc<C>,
        session: &Self::Session,
        rx: &RxCmd,
        immediate: Option<Immediate>,
    ) -> Result<(), (RxError, Arc<C>)>;
    /// Reports the end of the transfer that `rdy_to_xfer` requested. Process context; the engine
    /// may execute the command before this returns.
    fn rx_data<C: TargetCmd>(cmd: ArcBorrow<'_, C>, status: RxDataStatus);
    /// Completes a response of the command: it was sent or will never be.
    fn tgt_cmd_done<C: TargetCmd>(cmd: ArcBorrow<'_, C>, context: DoneContext);
    /// Submits a task management function to the engine, which reports the result through
    /// [`TargetCmd::task_mgmt_fn_done`].
    fn rx_mgmt_fn<C: TargetCmd>(
        cmd: Arc<C>,
        session: &Self::Session,
        rx: &RxMgmt,
    ) -> Result<(), (RxError, Arc<C>)>;
}

/// A session with the engine, as one RDMA channel of an I_T nexus has it. The channels of a nexus
/// may share what the engine has behind it.
pub(crate) trait Session: Send + Sync {
    /// Identity of the session, as used in [`Target::close_session`]; the same for channels that
    /// share it.
    fn key(&self) -> SessionKey;
    /// Identity of the target object that the session was opened on.
    fn target(&self) -> TargetKey;
    /// Name of the access control entry that let the session in.
    fn name(&self) -> &CStr;
    /// Name of the access control entry that let the session in, as part of the identity of the
    /// nexus; empty with engines whose sessions are named after addresses.
    fn entry(&self) -> &CStr {
        self.name()
    }
    /// Returns a fingerprint of the session's logical units, which changes when some are added or
    /// removed. Constant with an engine that reports such changes itself
    /// ([`Target::report_session_aen`]). Process context; does not wait.
    fn luns(&self) -> u64 {
        0
    }
    /// Stops the session: new commands are refused with [`RxError::ShuttingDown`]. Idempotent.
    fn stop(&self);
    /// Returns whether the access control entry and the target object that let the session in still
    /// exist and are enabled. Called once [`Target::close_session`] can find the channel, so that a
    /// removal between [`Engine::open_session`] and then is not missed.
    fn is_valid(&self) -> bool;
    /// Stops the session, waits until all its commands were freed, and ends it. `tasks` are the
    /// tags of its SCSI commands in progress, for an engine that does not abort them otherwise.
    /// Called exactly once per session; afterwards only `key`, `target`, `name` and `entry` may be
    /// called. Process context, sleeps.
    fn close(&self, tasks: impl Iterator<Item = u64>);
}

/// The engine's part of a command, as read by the target.
pub(crate) trait EngineCmd: Send + Sync {
    /// SCSI status to report. Valid inside `xmit_response`.
    fn status(&self) -> u8;
    /// Sense data to report, empty if there is none. Valid inside `xmit_response`.
    fn sense(&self) -> &[u8];
    /// Residual count to report, in the command's own direction. Valid inside `xmit_response`.
    fn residual(&self) -> Residual;
    /// Result to report. Valid inside `task_mgmt_fn_done`.
    fn tm_result(&self) -> TmResult;
    /// Returns whether the engine has used immediate data in place. For a command that is being
    /// answered, by the engine or by the target.
    fn used_immediate(&self) -> bool;
    /// Memory that a command keeps for its next use.
    type Kept: Send;
    /// Hands over memory that the command keeps, if it was not used since the last call; the caller
    /// frees it. For commands that are not in use. Takes no lock, does not sleep.
    fn age(&self) -> Option<Self::Kept>;
}

/// A command of the SRP target, as called by a storage engine.
pub(crate) trait TargetCmd: HasEngineCmd + Send + Sync + 'static {
    /// Fetches the initiator's data into the engine's buffer `data`. Not called for a command whose
    /// immediate data the engine uses in place.
    fn rdy_to_xfer(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery;
    /// Sends the data of a read, if `data` is not empty, and the response.
    fn xmit_response(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery;
    /// Sends the response of a task management function.
    fn task_mgmt_fn_done(this: ArcBorrow<'_, Self>);
    /// The command was aborted: the engine will request no response, and none may be sent.
    fn on_abort_cmd(this: ArcBorrow<'_, Self>);
    /// Takes the command back: the engine does not use it any more.
    fn on_free_cmd(this: Arc<Self>);
    /// Handles a time-out of the engine on the transfers of this command: closes the channel, which
    /// completes them, and does not wait for it. The buffer stays in use until then.
    #[allow(dead_code, reason = "not every engine watches transfers")]
    fn on_hw_timeout(this: ArcBorrow<'_, Self>);
}

/// Type that carries the choice of the target; see [`HasTarget`].
pub(crate) struct Top;

/// Names the target that registers with the engine, and so the type of commands that the callbacks
/// are for. Implemented for [`Top`], hence once.
pub(crate) trait HasTarget {
    /// The target.
    type Target: Target;
}

/// The SRP target, as called by a storage engine; for its commands see [`TargetCmd`].
#[allow(dead_code, reason = "no engine asks everything")]
pub(crate) trait Target: 'static {
    /// Commands of the target.
    type Cmd: TargetCmd;

    /// Closes the channels of the session with this key, if it still exists. Does not wait.
    fn close_session(key: SessionKey);
    /// Closes all sessions of this target object of the port. Does not wait.
    fn close_target_sessions(port: &Port, target: TargetKey);
    /// The port may have begun or ceased to let initiators in. May sleep.
    fn port_changed(port: &Port);
    /// Reports an event to the initiator of a session, once if it has several sessions. Does not
    /// wait.
    fn report_session_aen(key: SessionKey, event: Aen);
    /// Returns the live channels whose sessions an access control entry has let in, oldest first.
    /// Fails with `ENOMEM`.
    fn entry_channels(target: TargetKey, entry: &CStr) -> Result<KVec<EntryChannel>>;
    /// Returns snapshots of the channels of a session, oldest first; none if it has none (yet or
    /// any more). Fails with `ENOMEM`.
    fn session_views(key: SessionKey) -> Result<KVec<SessionView>>;
    /// Calls [`Engine::port_added`] for every usable port. Fails with `ENOMEM`. May sleep.
    fn offer_ports() -> Result;
    /// Finds an HCA port by its name in the configuration: its GUID or its GID. The port counts as
    /// configured until the result is dropped.
    fn find_port(name: &str) -> Option<ConfiguredPort>;
}
