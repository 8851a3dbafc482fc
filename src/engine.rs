// SPDX-License-Identifier: GPL-2.0

//! The boundary between the SRP target and the storage engine behind it.
//!
//! Traits in the vocabulary of SCST's target driver interface. What the target asks of the engine
//! is [`Engine`] (`scst_rx_cmd`, `scst_rx_data`, `scst_tgt_cmd_done`, ...), with [`Session`] and
//! [`EngineCmd`]; what the engine asks of the target is [`TargetCmd`] for one command
//! (`rdy_to_xfer`, `xmit_response`, `on_free_cmd`, ...) and [`Target`] for everything else. An
//! engine does not know what is above it: it is generic over these two. Which engine is compiled
//! in is decided here and nowhere else; every call is static.
//!
//! No bindings and no `unsafe` live here; the adapters in `engine/` have both.
//!
//! # Contract
//!
//! - A command that [`Engine::rx_cmd`] or [`Engine::rx_mgmt_fn`] accepted is owned by the engine:
//!   it holds the `Arc` of it until it hands it back in [`TargetCmd::on_free_cmd`].
//! - [`TargetCmd::rdy_to_xfer`] that returned [`Delivery::Success`] owes exactly one
//!   [`Engine::rx_data`]; [`TargetCmd::xmit_response`] and
//!   [`TargetCmd::task_mgmt_fn_done`] that returned `Success` owe exactly one
//!   [`Engine::tgt_cmd_done`]. The engine keeps the data buffer until then. It is lent
//!   ([`SgList`]): as long as the list is not dropped, the completion is refused, and so is a callback
//!   that returns something else than `Success`.
//! - All callbacks run in process context. They do not sleep on I/O.
//! - The submitter of a command keeps a reference of its own on it until the session is closed
//!   ([`Session::close`] has returned). [`TargetCmd::on_hw_timeout`] leans on that.

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

/// What the engine keeps of a command of the target.
pub(crate) type ActiveCmd<C> = <Active as Engine>::Cmd<C>;
/// An HCA port with what the engine keeps for it.
pub(crate) type Port = port::Port<<Active as Engine>::PortData>;
/// A port a directory stands for.
pub(crate) type ConfiguredPort = port::ConfiguredPort<<Active as Engine>::PortData>;

/// Data direction of a command as the initiator announced it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// No data.
    None,
    /// Initiator to target (a write).
    ToTarget,
    /// Target to initiator (a read).
    FromTarget,
}

/// A SCSI command as received, already checked by the protocol layer.
pub(crate) struct RxCmd<'a> {
    /// Initiator's tag.
    pub(crate) tag: u64,
    /// Logical unit number, see [`Engine::lun_number`].
    pub(crate) lun: u64,
    /// CDB: 16 bytes, plus the additional bytes that follow them.
    pub(crate) cdb: &'a [u8],
    /// Task attribute.
    pub(crate) attr: TaskAttr,
    /// Direction the data descriptors announce.
    pub(crate) dir: Direction,
    /// Bytes the data descriptors announce.
    pub(crate) data_len: u32,
}

impl RxCmd<'_> {
    /// The part of the CDB that an engine is to see, which may copy as much of it as its first byte
    /// says: 16 bytes, or if the CDB has a variable length, 8 more than the eighth byte says. `None`
    /// if that is more than `most` or more than what came.
    pub(crate) fn complete_cdb(&self, most: usize) -> Option<&[u8]> {
        /// Operation code of CDBs of variable length (SPC).
        const VARIABLE_LENGTH: u8 = 0x7f;
        /// Length of all others, at most.
        const FIXED: usize = 16;
        let needed = match *self.cdb.first_chunk::<FIXED>()? {
            [VARIABLE_LENGTH, _, _, _, _, _, _, additional, ..] => usize::from(additional) + 8,
            _ => FIXED,
        };
        if needed > most {
            return None;
        }
        self.cdb.get(..needed)
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
    /// Function.
    pub(crate) function: TmFunction,
    /// Tag of the task to abort, for ABORT TASK.
    pub(crate) task_tag: u64,
}

/// Why the engine did not take a command. It keeps nothing of it then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RxError {
    /// The session is being closed.
    ShuttingDown,
    /// The CDB is longer than the bytes that came with it, or than the engine can hold.
    InvalidCdb,
    /// The task management function does not exist in this engine.
    UnknownFunction,
    /// No memory.
    NoMemory,
}

/// How the transfer of write data ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RxDataStatus {
    /// All bytes are in the engine's buffer.
    Success,
    /// They are not; the command ends with CHECK CONDITION.
    Error,
}

/// What a callback of the engine achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Delivery {
    /// Accepted; a completion is owed (see the contract above).
    Success,
    /// No room in the send queue now: call again later. Nothing was changed.
    QueueFull,
    /// Cannot be done for this command, ever. Nothing is owed.
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

/// In which situation the target lets go of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DoneContext {
    /// From the completion of the response's SEND.
    Completion,
    /// From there, but the response was not sent.
    Lost,
    /// From inside `xmit_response` or `task_mgmt_fn_done`, because nothing can be sent any more.
    Same,
}

/// Identity of a session: compared, never followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SessionKey(pub(crate) usize);

/// Identity of the engine's target object (LIO: a target portal group) a session belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TargetKey(pub(crate) usize);

/// What can be seen of a session, that is of its channel, at one moment.
pub(crate) struct SessionView {
    /// State of the channel.
    pub(crate) state: srp::machine::channel::State,
    /// Requests the initiator may send now.
    pub(crate) req_lim: u32,
    /// Credits that wait for a response to carry them.
    #[allow(dead_code, reason = "not every engine shows it")]
    pub(crate) delta: u32,
    /// Commands in use.
    pub(crate) active: usize,
    /// Slots of the send queue in use.
    pub(crate) sq_used: u32,
    /// Information units that wait for a command, or for the connection to be confirmed.
    pub(crate) held: usize,
    /// Tasks that keep tear-down waiting.
    pub(crate) busy: u32,
    /// Completion vector.
    pub(crate) comp_vector: u32,
}

/// A channel, as the files of an access control entry show it.
#[allow(dead_code, reason = "not every engine shows it")]
pub(crate) struct EntryChannel {
    /// Its number, as in the log.
    pub(crate) serial: u64,
    /// Initiator port identifier.
    pub(crate) initiator_port: PortId,
    /// The peer's address.
    pub(crate) peer: PeerAddr,
}

/// An asynchronous event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "not every engine reports them")]
pub(crate) enum Aen {
    /// Logical units were added or removed (REPORTED LUNS DATA HAS CHANGED).
    LunsChanged,
}

/// Initiator of a login, for the engine's access control.
pub(crate) struct SessionRequest {
    /// Initiator port identifier of the login.
    pub(crate) initiator_port: PortId,
    /// GID of the initiator's HCA port, known for IB/CM logins only.
    pub(crate) port_gid: Option<PortId>,
    /// The peer's network address, known for RDMA/CM logins only.
    pub(crate) peer: Option<IpAddr>,
    /// The address it logs in to, known for RDMA/CM logins only.
    #[allow(dead_code, reason = "not every engine asks for it")]
    pub(crate) local: Option<IpAddr>,
}

impl SessionRequest {
    /// The initiator as access control entries know it.
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
    /// No access control entry matches, or the target is not enabled. An engine that has looked may
    /// name an entry that was perhaps meant.
    NotAllowed(Option<Hint>),
    /// No memory.
    NoMemory,
    /// Anything else the engine reported.
    #[allow(dead_code, reason = "not every engine says why")]
    Other(Error),
}

/// What the SRP target asks of a storage engine.
pub(crate) trait Engine: Sized + 'static {
    /// Keeps the target driver registered with the engine; dropping it unregisters.
    type Registration: Send + Sync;
    /// What the engine keeps per HCA port (LIO: the port's target portal groups).
    type PortData: PortData;
    /// What the engine keeps per session.
    type Session: Session;
    /// What the engine keeps per command, embedded in a command `C` of the target.
    type Cmd<C>: EngineCmd;

    /// Whether the engine carries out ABORT TASK SET and CLEAR TASK SET.
    const HAS_TASK_SETS: bool = true;

    /// The service GUID if the administrator has set none, from the node GUID of the first HCA.
    fn service_guid(node_guid: u64) -> u64 {
        node_guid
    }
    /// Prepares what is module-wide; called once, first thing in the module's init.
    fn init() {}
    /// Registers with the engine. Process context, may sleep.
    fn register<T: Target>() -> Result<Self::Registration>
    where
        Top: HasTarget<Target = T>;

    /// A port is there and has a name, that is a GID; also called if that was so before. Engines
    /// that want a target for every port make it now. Process context, may sleep.
    fn port_added(_port: &Arc<Port>, _device: &Device, _number: u32) {}
    /// The HCA of a port is going away; its channels have ended. The engine lets go of the device.
    /// Process context, may sleep.
    fn port_removed(_port: &Port) {}
    /// How many commands of an initiator the engine takes at a time. Process context, may sleep.
    fn max_commands() -> u32 {
        u32::MAX
    }

    /// Initial per-command data. Only the commands of the target that registers have any, so no others
    /// can be submitted.
    fn new_cmd<C: TargetCmd>() -> impl PinInit<Self::Cmd<C>, Error>
    where
        Top: HasTarget<Target: Target<Cmd = C>>;

    /// Opens a session on `port` for the first access control entry that matches.
    /// Process context, may sleep.
    fn open_session(port: &Port, request: &SessionRequest) -> Result<Self::Session, OpenError>;

    /// The number of the logical unit that an address names: the same for all of its addresses, so
    /// that commands and task management functions find each other.
    fn lun_number(lun: Lun) -> u64;

    /// Hands a new command to the engine (`scst_rx_cmd` and `scst_cmd_init_done`).
    /// Process context. Callbacks for the command may run before this returns.
    fn rx_cmd<C: TargetCmd>(
        cmd: Arc<C>,
        session: &Self::Session,
        rx: &RxCmd<'_>,
    ) -> Result<(), (RxError, Arc<C>)>;
    /// The data asked for by `rdy_to_xfer` arrived, or did not. Process context; the engine may
    /// execute the command before this returns.
    fn rx_data<C: TargetCmd>(cmd: ArcBorrow<'_, C>, status: RxDataStatus);
    /// The target is done with the command: the response was sent or never will be.
    fn tgt_cmd_done<C: TargetCmd>(cmd: ArcBorrow<'_, C>, context: DoneContext);
    /// Hands a task management function to the engine; the answer comes through
    /// [`TargetCmd::task_mgmt_fn_done`].
    fn rx_mgmt_fn<C: TargetCmd>(
        cmd: Arc<C>,
        session: &Self::Session,
        rx: &RxMgmt,
    ) -> Result<(), (RxError, Arc<C>)>;
}

/// A session with the engine, that is one RDMA channel of an I_T nexus.
pub(crate) trait Session: Send + Sync {
    /// Identity of the session, as used in [`Target::close_session`].
    fn key(&self) -> SessionKey;
    /// The target object the session was opened on.
    fn target(&self) -> TargetKey;
    /// Name of the access control entry that let the session in.
    fn name(&self) -> &CStr;
    /// Name of the access control entry that let the session in, as part of the nexus; empty with
    /// engines whose sessions are named after addresses.
    fn entry(&self) -> &CStr {
        self.name()
    }
    /// A number that stands for the logical units of the session: another one when some have come or
    /// gone. An engine that says so itself ([`Target::report_session_aen`]) has no need of it.
    /// Process context; does not wait.
    fn luns(&self) -> u64 {
        0
    }
    /// From here on new commands are refused with [`RxError::ShuttingDown`]. Idempotent.
    fn stop(&self);
    /// Whether the access control entry and the target object that let the session in are still
    /// there and enabled. Asked once the channel can be found by [`Target::close_session`],
    /// so that a removal between [`Engine::open_session`] and then is not missed.
    fn is_valid(&self) -> bool;
    /// Stops the session, waits until every command of it was freed, then ends it. Called exactly
    /// once per session; afterwards only `key`, `target`, `name` and `entry` may be asked. Process
    /// context, sleeps.
    fn close(&self);
}

/// What the engine keeps of a command, as the target sees it.
pub(crate) trait EngineCmd: Send + Sync {
    /// SCSI status to report (inside `xmit_response`).
    fn status(&self) -> u8;
    /// Sense data to report, empty if none (inside `xmit_response`).
    fn sense(&self) -> &[u8];
    /// Residual count to report (inside `xmit_response`), in the command's own direction.
    fn residual(&self) -> Residual;
    /// Result to report (inside `task_mgmt_fn_done`).
    fn tm_result(&self) -> TmResult;
}

/// What a storage engine asks of a command of the SRP target.
pub(crate) trait TargetCmd: HasEngineCmd + Send + Sync + 'static {
    /// The engine has a buffer: fetch the initiator's data into it.
    fn rdy_to_xfer(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery;
    /// Send the data of a read, empty if there is none, and the response.
    fn xmit_response(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery;
    /// Send the response of a task management function.
    fn task_mgmt_fn_done(this: ArcBorrow<'_, Self>);
    /// The command was aborted: no response will be asked for, and none may be sent.
    fn on_abort_cmd(this: ArcBorrow<'_, Self>);
    /// The engine's last reference is gone.
    fn on_free_cmd(this: Arc<Self>);
    /// The transfers of this command take longer than the engine is ready to wait: brings about
    /// their completion, by ending the channel, and does not wait for it. The buffer stays in use
    /// until then.
    #[allow(dead_code, reason = "not every engine watches transfers")]
    fn on_hw_timeout(this: ArcBorrow<'_, Self>);
}

/// What is above the engine; see [`HasTarget`].
pub(crate) struct Top;

/// Names the target that registers with the engine, whose commands the callbacks are for. Implemented
/// for [`Top`], hence once.
pub(crate) trait HasTarget {
    /// That target.
    type Target: Target;
}

/// What a storage engine asks of the SRP target but for single commands.
#[allow(dead_code, reason = "no engine asks everything")]
pub(crate) trait Target: 'static {
    /// Its commands.
    type Cmd: TargetCmd;

    /// Close the session with this key if it still exists. Does not wait.
    fn close_session(key: SessionKey);
    /// Close every session of this target object of the port. Does not wait.
    fn close_target_sessions(port: &Port, target: TargetKey);
    /// The port may have begun or ceased to let initiators in. May sleep.
    fn port_changed(port: &Port);
    /// Tells the initiator of a session about an event; one with several sessions is told once. Does
    /// not wait.
    fn report_session_aen(key: SessionKey, event: Aen);
    /// The live channels whose sessions an access control entry has let in, oldest first; `ENOMEM`.
    fn entry_channels(target: TargetKey, entry: &CStr) -> Result<KVec<EntryChannel>>;
    /// What the channel of a session does; `None` if it has none (yet or any more).
    fn session_view(key: SessionKey) -> Option<SessionView>;
    /// Calls [`Engine::port_added`] for every port that is there; `ENOMEM`. May sleep.
    fn offer_ports() -> Result;
    /// Finds an HCA port by the name an administrator uses for it: its GUID or its GID. It counts
    /// as configured until the result is dropped.
    fn find_port(name: &str) -> Option<ConfiguredPort>;
}
