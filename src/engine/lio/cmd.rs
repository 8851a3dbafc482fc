// SPDX-License-Identifier: GPL-2.0

//! Commands and task management functions (`struct se_cmd`): target core's callbacks for them, and
//! their references.
//!
//! Not here: submission ([`super::submit`]), callbacks where the target cannot run
//! ([`late`]), transfers and responses ([`TargetCmd`]).
//!
//! C source: `drivers/target/target_core_transport.c`.
//!
//! # References
//!
//! Target core owns a submitted command: [`super::submit`] turns an `Arc` of the command into a
//! pointer, and [`reclaim`] finally turns it back. In between target core counts references with
//! `cmd_kref`; because of `TARGET_SCF_ACK_KREF` there are two from the start:
//!
//! | reference | put by |
//! |---|---|
//! | target core's | target core: `check_stop_free()` after `queue_*()` or `aborted_task()` |
//! | | returned; `target_submit_prep()` itself if the logical unit does not exist |
//! | acknowledgment | [`LioCmd::done`] when the response was sent or never will be, |
//! | | [`LioCmd::answer`] if it cannot be sent ([`late`] likewise), target core itself after |
//! | | `aborted_task()` |
//!
//! # Errors of the callbacks
//!
//! | callback | error | reaction |
//! |---|---|---|
//! | `write_pending()` | `-EAGAIN` | called again, *but* a command that is aborted meanwhile is |
//! | | | never completed (`transport_write_pending_qf()`): never returned |
//! | | other | CHECK CONDITION through `queue_status()`; done directly here |
//! | `queue_data_in()` | `-EAGAIN` | called again at once, until it succeeds: never returned |
//! | | other | CHECK CONDITION through `queue_status()` |
//! | `queue_status()` | any | the same; without a device, ignored, and the command leaks |
//! | | | (`target_submit_prep()`): never returned |
//!
//! Where a command has to wait for room in the send queue, a work item of this module tries again.
//!
//! # Commands that wait for commands
//!
//! Target core executes a write in the context in which its data arrives, which is that of the
//! completion queue. PREEMPT AND ABORT waits there until the commands that it aborts have ended
//! (`core_tmr_lun_reset()`), whose responses complete on the same queue or on one processed in the
//! same way. So it is executed from a work item. Task management functions have a work queue in
//! target core.

use core::cell::UnsafeCell;

use kernel::{
    container_of,
    new_delayed_work,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::Opaque,
    workqueue::{
        DelayedWork,
        HasDelayedWork,
        Work,
        WorkItem, //
    }, //
};

use super::{
    caw::Kept,
    data::DataBuf,
    order,
    tpg::Entry, //
};
use crate::{
    bindings,
    engine::{
        phase::Phases,
        Delivery,
        DoneContext,
        EngineCmd,
        RxDataStatus,
        TargetCmd,
        TmResult, //
    },
    queues::{
        self,
        Queues, //
    },
    rdma::{
        buf::Immediate,
        sg::SgList, //
    },
    srp::wire::{
        ident::AclId,
        rsp::Residual, //
    },
    sync::{
        ratelimit,
        state::atomic_enum, //
    }, //
};

mod late;

use late::{
    Caller,
    Inside, //
};

/// Service actions of PERSISTENT RESERVE OUT (SPC-4 6.16) that register an initiator.
const REGISTER: u8 = 0x00;
const REGISTER_AND_IGNORE: u8 = 0x06;
/// Service action that waits for other commands to end.
const PREEMPT_AND_ABORT: u8 = 0x05;

/// Size of a sense buffer in bytes.
// CAST: 96.
const SENSE_SIZE: usize = bindings::TRANSPORT_SENSE_BUFFER as usize;

/// Flags of a command that has sense data.
const SENSE: u32 = bindings::se_cmd_flags_table_SCF_TRANSPORT_TASK_SENSE
    | bindings::se_cmd_flags_table_SCF_EMULATED_TASK_SENSE;

/// Time between two retries, in jiffies.
const RETRY_DELAY: usize = 1;

atomic_enum! {
    /// Phase of a command with regard to the acknowledgment reference and the data buffer. Every
    /// completion is checked against it, so that one that is not owed is refused.
    enum Phase {
        /// Not submitted.
        Idle = 0,
        /// Owned by target core.
        Core = 1,
        /// Data of a write is being fetched: the target owes one [`LioCmd::data_arrived`].
        Fetching = 2,
        /// Fetching data of a write waits for a retry: the send queue was full.
        FetchBlocked = 3,
        /// A response is being sent: the target owes one [`LioCmd::done`].
        Answering = 4,
        /// Data of a read and a response are being sent: the target owes one [`LioCmd::done`].
        Sending = 5,
        /// Sending a response, which target core does not wait for, waits for a work item: the send
        /// queue was full, or target core called back where the target cannot run.
        AnswerLate = 6,
        /// Acknowledged or aborted; target core has not released it yet.
        Done = 7,
        /// Data of a write has arrived; a work item is to execute it.
        Deferred = 8,
        /// As [`Self::AnswerLate`], for data of a read and a response.
        DataLate = 9,
        /// Released by target core where the target cannot run; a work item returns it to the
        /// target.
        Released = 10,
    }
}

/// The part of a command `C` that belongs to target core.
///
/// # Writers of the fields
///
/// - `se`, `sense`: [`super::submit`] while the command is in [`Phase::Core`] and not yet
///   submitted; from then on target core, and [`late`] after a callback that has returned success
///   for an answer. Fields are read through raw pointers, inside the callbacks, in the work item
///   that takes the place of one, and, for the data buffer, until the acknowledgment; target core
///   does not change them then. No Rust reference to them is ever made, except for the sense data.
/// - `phase`, `kept`: the task that handles the command; changes of owner are atomic.
/// - `place`: [`super::submit`] while the command is in [`Phase::Core`] and not yet submitted; then
///   the task that handles the command in a callback of target core; [`EngineCmd::age`] in the
///   phase that it takes the command to.
///
/// # Invariants
///
/// In [`Phase::Fetching`], [`Phase::FetchBlocked`], [`Phase::Deferred`], [`Phase::Answering`],
/// [`Phase::Sending`], [`Phase::AnswerLate`] and [`Phase::DataLate`] the acknowledgment reference
/// has not been put.
#[pin_data]
pub(crate) struct LioCmd<C> {
    #[pin]
    pub(super) se: Opaque<bindings::se_cmd>,
    pub(super) sense: UnsafeCell<[u8; SENSE_SIZE]>,
    phase: Phases<Phase>,
    kept: Kept,
    place: UnsafeCell<Place>,
    caller: Caller,
    /// For the work item.
    queues: Arc<Queues>,
    #[pin]
    retry: DelayedWork<C>,
}

// SAFETY: A `struct se_cmd` belongs to no thread: target core passes it between work queues.
unsafe impl<C> Send for LioCmd<C> {}
// SAFETY: `phase` is atomic. `se`, `sense`, `kept` and `place` are written by their owner only, see
// the type's documentation; ownership is handed over with `phase` (release and acquire) or by
// target core.
unsafe impl<C> Sync for LioCmd<C> {}

/// Memory for the data of a command.
///
/// # Invariants
///
/// `entry` describes `immediate` if target core has got it as the command's data buffer.
struct Place {
    /// Kept from command to command.
    buf: Option<DataBuf>,
    /// Data that arrived with the command, until the response.
    immediate: Option<Immediate>,
    /// Target core has used such data, until the command is free.
    used: bool,
    entry: bindings::scatterlist,
}

/// Reads a field of the C command.
macro_rules! read_se {
    ($cmd:expr, $field:ident) => {{
        let se: *mut bindings::se_cmd = $cmd.se.get();
        // SAFETY: `se` is part of a live `LioCmd` and initialised, with zeroes if nothing else. Its
        // owner does not write to the field now, see the documentation of `LioCmd`.
        unsafe { (&raw const (*se).$field).read() }
    }};
}
use read_se;

impl<C: TargetCmd> LioCmd<C> {
    /// Returns an initialiser for a command that is not submitted.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            se <- Opaque::ffi_init(|slot: *mut bindings::se_cmd| {
                // SAFETY: `slot` is valid for a write, and an `Opaque` may hold any bytes.
                unsafe { slot.write_bytes(0, 1) }
            }),
            sense: UnsafeCell::new([0; SENSE_SIZE]),
            phase: Phases::new(Phase::Idle),
            kept: Kept::new(),
            place: UnsafeCell::new(Place {
                buf: None,
                immediate: None,
                used: false,
                entry: Default::default(),
            }),
            caller: Caller::new(),
            queues: queues::get()?,
            retry <- new_delayed_work!("LioCmd::retry"),
        })
    }

    /// Phase as a number for target core's log messages.
    pub(super) fn state_number(&self) -> c_int {
        // CAST: A small number.
        self.phase.get() as c_int
    }

    /// Clears the state of the previous use and sets the tag. Returns `false` if the command is in
    /// use.
    pub(super) fn prepare(&self, tag: u64) -> bool {
        if !self.phase.change(Phase::Idle, Phase::Core) {
            pr_err!("command submitted twice\n");
            return false;
        }
        self.clear();
        // SAFETY: Idle until now, so target core does not hold the command, and the change of
        // phase above made it ours.
        unsafe { (&raw mut (*self.se.get()).tag).write(tag) };
        true
    }

    /// Zeroes the C command, and the sense data if there was any. To be called while target core
    /// does not hold the command.
    fn clear(&self) {
        let had_sense = read_se!(self, se_cmd_flags) & SENSE != 0;
        // SAFETY: Both pointers are valid for writes; any bytes are allowed in either. Nothing else
        // accesses them: callers own the command.
        unsafe {
            self.se.get().write_bytes(0, 1);
            if had_sense {
                self.sense.get().write_bytes(0, 1);
            }
        }
    }

    /// Takes back a command that target core did not accept and does not hold any more.
    pub(super) fn withdraw(&self) {
        // Target core may have left a pointer to a freed `struct se_tmr_req` behind.
        self.clear();
        self.phase.set(Phase::Idle);
    }

    /// `write_pending()`: makes the target fetch data.
    ///
    /// Takes a reference of its own, because when the data arrives the command may be executed,
    /// answered and released on another CPU before the target's function returns.
    pub(super) fn fetch(cmd: Arc<C>) {
        let this = &cmd.engine_cmd();
        // SAFETY: Target core has called back, so `place` is this task's.
        let place = unsafe { &mut *this.place.get() };
        if place.immediate.is_some() {
            place.used = true;
            let _inside = this.caller.enter();
            // Only plain WRITEs are here, see `place_data()`.
            return this.execute();
        }
        // SAFETY: Target core has passed the command to `write_pending()`; if this is a retry, it
        // was not returned.
        unsafe { this.kept.take(this.se.get(), execute_kept_callback::<C>) };
        // SAFETY: Target core owns the command until the phase is set to `Fetching`.
        let data = unsafe { this.lend() };
        this.phase.set(Phase::Fetching);
        match C::rdy_to_xfer(cmd.as_arc_borrow(), data) {
            Delivery::Success => {}
            _ if !this.phase.is_back() => {}
            Delivery::QueueFull => Self::retry_later(cmd, Phase::FetchBlocked),
            Delivery::FatalError => {
                this.phase.set(Phase::Core);
                this.fail(bindings::tcm_sense_reason_table_TCM_LOGICAL_UNIT_COMMUNICATION_FAILURE);
            }
        }
    }

    /// `queue_data_in()`: makes the target send data and response. Returns the callback's return
    /// value. Any context.
    #[inline]
    pub(super) fn answer_with_data(cmd: ArcBorrow<'_, C>) -> c_int {
        if !Self::is_here(&cmd) {
            Self::postpone(cmd.into(), Phase::DataLate);
            return 0;
        }
        match Self::send_data(cmd) {
            Delivery::Success => 0,
            // Target core would try again at once, and again.
            Delivery::QueueFull => {
                Self::retry_later(cmd.into(), Phase::DataLate);
                0
            }
            Delivery::FatalError => {
                cmd.engine_cmd().phase.set(Phase::Core);
                EIO.to_errno()
            }
        }
    }

    /// Makes the target send data and response. The caller owns the command, and does so again if
    /// the result is an error. Process context.
    #[inline]
    fn send_data(cmd: ArcBorrow<'_, C>) -> Delivery {
        let this = &cmd.engine_cmd();
        // SAFETY: The caller owns the command until the phase is set to `Sending`.
        let data = unsafe { this.lend() };
        this.phase.set(Phase::Sending);
        match C::xmit_response(cmd, data) {
            Delivery::Success => Delivery::Success,
            _ if !this.phase.is_back() => Delivery::Success,
            error => error,
        }
    }

    /// `queue_status()`: makes the target send a response. Any context.
    pub(super) fn answer(cmd: ArcBorrow<'_, C>) {
        let this = &cmd.engine_cmd();
        // With the status TASK ABORTED this is the callback that ends an aborted command.
        // SAFETY: Target core has just passed the command to `queue_status()`.
        unsafe { order::count_off(this.se.get()) };
        if !Self::is_here(&cmd) {
            return Self::postpone(cmd.into(), Phase::AnswerLate);
        }
        Self::answer_late(cmd);
    }

    /// Makes the target send a response. The caller owns the command, and does so again if the
    /// result is an error. Process context.
    fn send_status(cmd: ArcBorrow<'_, C>) -> Delivery {
        let this = &cmd.engine_cmd();
        this.return_immediate();
        this.phase.set(Phase::Answering);
        C::xmit_response(cmd, SgList::empty())
    }

    /// `queue_tm_rsp()`: makes the target send the response of a task management function.
    pub(super) fn answer_tmf(cmd: ArcBorrow<'_, C>) {
        cmd.engine_cmd().phase.set(Phase::Answering);
        C::task_mgmt_fn_done(cmd);
    }

    /// `aborted_task()`: notifies the target that the command was aborted.
    pub(super) fn aborted(cmd: ArcBorrow<'_, C>) {
        // SAFETY: Target core has just passed the command to `aborted_task()`.
        unsafe { order::count_off(cmd.engine_cmd().se.get()) };
        cmd.engine_cmd().phase.set(Phase::Done);
        C::on_abort_cmd(cmd);
    }

    /// Sets the phase to `phase` and queues the command's work item, on one of the module's own
    /// queues, which are drained before the module's code is freed.
    fn retry_later(cmd: Arc<C>, phase: Phase) {
        let queues = cmd.engine_cmd().queues.clone();
        let queue = match phase {
            // Waits for commands whose work items are on the other queue.
            Phase::Deferred => &*queues.retry,
            _ => &queues.completions,
        };
        cmd.engine_cmd().phase.set(phase);
        let queued = queue.as_queue().enqueue_delayed::<_, 0>(cmd, RETRY_DELAY);
        if queued.is_err() {
            // Cannot happen: a command is in one blocked phase at a time, so its work item is not
            // queued yet.
            pr_err!("no retry for a command\n");
        }
    }

    /// Handles the end of the transfer that [`TargetCmd::rdy_to_xfer`] requested. Process context,
    /// may sleep. The caller must hold a reference of its own during the call.
    pub(super) fn data_arrived(cmd: ArcBorrow<'_, C>, status: RxDataStatus) {
        let this = &cmd.engine_cmd();
        let _inside = this.caller.enter();
        if !this.phase.end(Phase::Fetching, Phase::Core) {
            pr_err!("data that was not requested\n");
            return;
        }
        match status {
            RxDataStatus::Success => {
                let action = this.reservation_action();
                if matches!(action, Some(REGISTER | REGISTER_AND_IGNORE)) {
                    this.check_registrant();
                }
                if action == Some(PREEMPT_AND_ABORT) {
                    Self::retry_later(cmd.into(), Phase::Deferred);
                } else {
                    this.execute();
                }
            }
            RxDataStatus::Error => {
                this.fail(bindings::tcm_sense_reason_table_TCM_CHECK_CONDITION_ABORT_CMD);
            }
        }
    }

    /// Returns the service action of PERSISTENT RESERVE OUT (SPC-4 6.16); `None` for other
    /// commands.
    fn reservation_action(&self) -> Option<u8> {
        // CAST: 0x5f.
        const OPCODE: u8 = bindings::PERSISTENT_RESERVE_OUT as u8;

        let cdb = read_se!(self, t_task_cdb).cast_const();
        if cdb.is_null() {
            return None;
        }
        // SAFETY: `target_cmd_init_cdb()` has set the pointer to at least `TCM_MAX_COMMAND_SIZE`
        // bytes, which stay until the last reference is put and are not changed any more.
        let (opcode, action) = unsafe { (cdb.read(), cdb.add(1).read()) };
        (opcode == OPCODE).then_some(action & 0x1f)
    }

    /// Warns if reservations of the initiator have no TransportID: target core makes none from the
    /// name of an access control entry that is not hexadecimal digits
    /// (`srp_get_pr_transport_id()`).
    fn check_registrant(&self) {
        let sess = read_se!(self, se_sess);
        // SAFETY: A command that was submitted has a session, which has an entry of ours; both stay
        // until the command's last reference is put (`transport_free_session()`).
        let entry = unsafe { Entry::from_raw((*sess).se_node_acl) };
        let name = entry.name().to_str().unwrap_or("?");
        if !AclId::parse(name).is_ok_and(AclId::has_transport_id) && ratelimit::ok() {
            pr_warn!(
                "ACL {}: its reservations have no TransportID; one named after the initiator's \
                 port identifier has\n",
                name
            );
        }
    }

    /// Executes a write whose data has arrived, or ends it if it was aborted meanwhile.
    fn execute(&self) {
        // SAFETY: The command was passed to the fabric with `write_pending()` and not returned
        // since (this is inside that callback, or it was in `Fetching`, `FetchBlocked` or
        // `Deferred`), so target core's reference is held. Process context with interrupts enabled.
        unsafe { bindings::target_execute_cmd(self.se.get()) };
    }

    /// Ends a write whose data cannot be fetched: with CHECK CONDITION, or without a response if it
    /// was aborted meanwhile.
    fn fail(&self, reason: bindings::tcm_sense_reason_table) {
        // SAFETY: As in `execute()`. The command has a device, because its logical unit was found.
        unsafe { bindings::transport_generic_request_failure(self.se.get(), reason) };
    }

    /// Completes a response: puts the acknowledgment reference. Process context. The caller must
    /// hold a reference of its own during the call.
    #[inline]
    pub(super) fn done(&self, context: DoneContext) {
        let answering = [Phase::Answering, Phase::Sending];
        if !self.phase.end_one_of(answering, Phase::Done) {
            pr_err!("completion of a response that was not asked for\n");
            return;
        }
        let se = self.se.get();
        let _inside = self.caller.enter();
        match context {
            // SAFETY: By the type invariants, the acknowledgment reference was ours; the new phase
            // records that it is put. This may run before the `queue_*()` callback has returned;
            // see the description of the protocol at `transport_generic_free_cmd()`.
            DoneContext::Completion | DoneContext::Lost => unsafe {
                bindings::transport_generic_free_cmd(se, 0);
            },
            // SAFETY: As above. The caller of the callback may still use the command, hence only
            // the reference is put here; in the work item, which is no callback, that does it, too.
            DoneContext::Same => unsafe {
                bindings::target_put_sess_cmd(se);
            },
        }
    }
}

impl<C> LioCmd<C> {
    /// Lends the data buffer: the destination of a write's data, or the source of a read's.
    ///
    /// The length is `data_length`, which target core derives from the length in the descriptors: a
    /// read that requires or returned less is shorter. A write, if it is executed at all, has the
    /// length of the descriptors; for commands other than plain writes the surplus is fetched and
    /// ignored (`target_cmd_size_check()`).
    ///
    /// # Safety
    ///
    /// To be called by the owner of the command, before the phase is set to `Fetching` or
    /// `Sending`. That phase must not be left but by [`Phases::end`], or if [`Phases::is_back`].
    unsafe fn lend(&self) -> SgList {
        let sg = read_se!(self, t_data_sg);
        let nents = read_se!(self, t_data_nents);
        let len = read_se!(self, data_length) as usize;
        // SAFETY: `transport_generic_new_cmd()` allocated the list, or `place_data()` gave it, with
        // room for `data_length` bytes at that time, and the length only shrinks. It stays until
        // the last reference is put, and so does this command. By the type invariants ours is not
        // put in these two phases, and by the safety requirements they do not end while the list is
        // lent.
        unsafe { self.phase.lend(sg, nents, len) }
    }
}

impl<C> LioCmd<C> {
    /// Records that the calling task is about to hand the command to target core; see [`late`].
    pub(super) fn enter(&self) -> Inside<'_> {
        self.caller.enter()
    }

    /// Stores data that arrived with the command, until [`Self::place_data`] or a response. For
    /// [`super::submit`].
    pub(super) fn keep_immediate(&self, immediate: Option<Immediate>) {
        // SAFETY: The command is in `Core` and not submitted, so `place` is the caller's.
        unsafe { (*self.place.get()).immediate = immediate };
    }

    /// Gives target core the memory for the command's data, if it is a plain READ or WRITE that
    /// target core executes itself. (Those that a backstore passes through have a length that the
    /// CDB need not agree with, and pSCSI takes entries of one page.) The memory is the receive
    /// buffer that the data has arrived in, or the pages that the command keeps. Commands of other
    /// kinds, and those for which there is no memory, are left to target core. May sleep.
    ///
    /// For [`super::submit`], between `target_submit_prep()` and `target_submit()`.
    pub(super) fn place_data(&self) {
        const DATA: u32 = bindings::se_cmd_flags_table_SCF_SCSI_DATA_CDB;
        const OTHER: u32 = bindings::se_cmd_flags_table_SCF_COMPARE_AND_WRITE
            | bindings::se_cmd_flags_table_SCF_BIDI
            | bindings::se_cmd_flags_table_SCF_OVERFLOW_BIT
            | bindings::se_cmd_flags_table_SCF_UNDERFLOW_BIT;
        const PLACED: u32 = bindings::se_cmd_flags_table_SCF_PASSTHROUGH_SG_TO_MEM_NOALLOC;

        let flags = read_se!(self, se_cmd_flags);
        let len = read_se!(self, data_length) as usize;
        // SAFETY: The command is in `Core` and not submitted, so `place` is the caller's.
        let place = unsafe { &mut *self.place.get() };
        let data = if flags & DATA == 0 || flags & OTHER != 0 || self.is_passed_through() {
            None
        } else {
            match &place.immediate {
                Some(immediate) if immediate.len() == len && immediate.is_aligned() => {
                    // INVARIANT: Target core gets it below.
                    immediate.describe(&mut place.entry);
                    Some((&raw mut place.entry, 1))
                }
                _ => {
                    place.immediate = None;
                    place.buf.get_or_insert_with(DataBuf::new).of_len(len)
                }
            }
        };
        let Some((list, nents)) = data else {
            place.immediate = None;
            return;
        };
        let se = self.se.get();
        // SAFETY:
        // - The command is prepared and not submitted, so nothing else accesses these fields; they
        //   are what `transport_generic_map_mem_to_cmd()` sets.
        // - The list describes `len` bytes. It and the memory stay until the command is released,
        //   or for immediate data, which target core only reads, until its response, when target
        //   core has used it.
        unsafe {
            (&raw mut (*se).t_data_sg).write(list);
            (&raw mut (*se).t_data_nents).write(nents);
            (&raw mut (*se).se_cmd_flags).write(flags | PLACED);
        }
    }

    /// Returns whether the backstore executes commands, and not target core.
    fn is_passed_through(&self) -> bool {
        let dev = read_se!(self, se_dev);
        if dev.is_null() {
            return true;
        }
        // SAFETY: The command has a reference on its logical unit, which keeps the device. The
        // flag does not change once the device is configured.
        let flags = unsafe { (&raw const (*dev).transport_flags).read() };
        u32::from(flags) & bindings::TRANSPORT_FLAG_PASSTHROUGH != 0
    }

    /// Returns the receive buffer to the target. To be called by the task that handles the command
    /// when target core has used the data.
    fn return_immediate(&self) {
        // SAFETY: `place` is the caller's.
        unsafe { (*self.place.get()).immediate = None };
    }

    /// Forgets the data of a command that target core has released. To be called by the task that
    /// handles it.
    fn forget_data(&self) {
        // SAFETY: `place` is the caller's.
        let place = unsafe { &mut *self.place.get() };
        place.immediate = None;
        place.used = false;
    }
}

impl<C> EngineCmd for LioCmd<C> {
    type Kept = DataBuf;

    fn age(&self) -> Option<DataBuf> {
        if !self.phase.change(Phase::Idle, Phase::Core) {
            return None;
        }
        // SAFETY: The command is not submitted, and the change of phase has made it ours.
        let place = unsafe { &mut *self.place.get() };
        let unused = place.buf.as_mut().and_then(DataBuf::age);
        self.phase.set(Phase::Idle);
        unused
    }

    /// SCSI status, inside `queue_data_in()` and `queue_status()` or the work item in their place.
    fn status(&self) -> u8 {
        read_se!(self, scsi_status)
    }

    /// Sense data, where [`Self::status`] may be read; empty if there is none.
    fn sense(&self) -> &[u8] {
        if read_se!(self, se_cmd_flags) & SENSE == 0 {
            return &[];
        }
        let len = usize::from(read_se!(self, scsi_sense_length));
        // SAFETY: `sense` is valid and initialised. Target core wrote it before it called back, and
        // does not write it again before the target's function has returned, nor after the
        // callback has, if a work item calls the target.
        let sense = unsafe { &*self.sense.get() };
        sense.get(..len).unwrap_or(sense)
    }

    fn used_immediate(&self) -> bool {
        // SAFETY: The caller answers the command, so `place` is this task's: after a callback, or
        // because target core does not hold the command, which is not in the pool.
        unsafe { (*self.place.get()).used }
    }

    /// Residual, where [`Self::status`] may be read.
    fn residual(&self) -> Residual {
        let flags = read_se!(self, se_cmd_flags);
        let count = read_se!(self, residual_count);
        if flags & bindings::se_cmd_flags_table_SCF_UNDERFLOW_BIT != 0 {
            Residual::Under(count)
        } else if flags & bindings::se_cmd_flags_table_SCF_OVERFLOW_BIT != 0 {
            Residual::Over(count)
        } else {
            Residual::None
        }
    }

    /// Result of a task management function, inside `queue_tm_rsp()`.
    fn tm_result(&self) -> TmResult {
        let tmr = read_se!(self, se_tmr_req);
        if tmr.is_null() {
            return TmResult::Failed;
        }
        // SAFETY: Not null, hence allocated by `core_tmr_alloc_req()` for this command, and freed
        // with its last reference.
        let response = unsafe { (&raw const (*tmr).response).read() };
        match u32::from(response) {
            bindings::tcm_tmrsp_table_TMR_FUNCTION_COMPLETE => TmResult::Complete,
            bindings::tcm_tmrsp_table_TMR_TASK_DOES_NOT_EXIST => TmResult::TaskDoesNotExist,
            bindings::tcm_tmrsp_table_TMR_LUN_DOES_NOT_EXIST => TmResult::LunDoesNotExist,
            bindings::tcm_tmrsp_table_TMR_TASK_MGMT_FUNCTION_NOT_SUPPORTED => {
                TmResult::NotSupported
            }
            bindings::tcm_tmrsp_table_TMR_FUNCTION_REJECTED => TmResult::Rejected,
            _ => TmResult::Failed,
        }
    }
}

/// `execute_cmd()` of a command whose `execute_cmd()` and callback are in `kept`. Process context,
/// may sleep.
///
/// # Safety
///
/// Called by target core with a command that this was set for.
unsafe extern "C" fn execute_kept_callback<C: TargetCmd>(
    se: *mut bindings::se_cmd,
) -> bindings::sense_reason_t {
    // SAFETY: By the safety requirements; target core holds a reference while it executes a
    // command.
    let cmd = unsafe { borrow::<C>(se) };
    // SAFETY: It is this command, and target core executes it.
    unsafe { cmd.engine_cmd().kept.execute(se) }
}

/// Returns the command that contains a `struct se_cmd`.
///
/// All commands are of the target's type, see [`HasTarget`](crate::engine::HasTarget).
///
/// # Safety
///
/// `se` must be part of a command of the type `C` that was submitted and not reclaimed, nor be
/// reclaimed for `'a`.
pub(super) unsafe fn borrow<'a, C: TargetCmd>(se: *mut bindings::se_cmd) -> ArcBorrow<'a, C> {
    // SAFETY: By the safety requirements, `se` is that field of a command whose `Arc` was turned
    // into a pointer by `submit()` or `submit_tmf()`, and exists.
    unsafe { ArcBorrow::from_raw(container_of(se)) }
}

/// Takes back a submitted command, in `release_cmd()`.
///
/// # Safety
///
/// `se` must be part of a submitted command of the type `C` that target core does not use any more.
/// To be called once per submission.
pub(super) unsafe fn reclaim<C: TargetCmd>(se: *mut bindings::se_cmd) -> Arc<C> {
    // SAFETY: By the safety requirements, this is the reference that `submit()` or `submit_tmf()`
    // turned into a pointer.
    unsafe { Arc::from_raw(container_of(se)) }
}

/// Returns the address of the command that contains a `struct se_cmd`.
///
/// # Safety
///
/// `se` must be part of a command `C` that exists.
unsafe fn container_of<C: TargetCmd>(se: *mut bindings::se_cmd) -> *const C {
    // SAFETY: By the safety requirements, `se` is that field of a `LioCmd`, and this the one of a
    // command.
    unsafe {
        C::container_of(container_of!(
            se.cast::<Opaque<bindings::se_cmd>>(),
            LioCmd<C>,
            se
        ))
    }
}

/// Traits that the work item of a [`LioCmd`] requires of the command that contains it. Implemented
/// by [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
pub(crate) trait CmdWork:
    HasDelayedWork<Self> + WorkItem<Pointer = Arc<Self>> + Sized
{
}

impl<C> CmdWork for C where C: HasDelayedWork<C> + WorkItem<Pointer = Arc<C>> {}

impl<C> LioCmd<C> {
    /// Returns the work item; for [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
    ///
    /// # Safety
    ///
    /// `this` must not be dangling.
    pub(crate) unsafe fn raw_get_work(this: *mut Self) -> *mut Work<C> {
        // SAFETY: By the safety requirements.
        unsafe { DelayedWork::raw_as_work(&raw const (*this).retry) }
    }

    /// Returns the part that contains a work item; for
    /// [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
    ///
    /// # Safety
    ///
    /// `work` must have been returned by [`Self::raw_get_work`], and not be dangling.
    pub(crate) unsafe fn work_container_of(work: *mut Work<C>) -> *mut Self {
        // SAFETY: By the safety requirements, this is the member of a `struct delayed_work`, and
        // that the one of a `LioCmd`.
        unsafe {
            let work = Work::raw_get(work);
            let delayed = container_of!(work, kernel::bindings::delayed_work, work);
            container_of!(delayed.cast::<DelayedWork<C>>(), Self, retry)
        }
    }
}

impl<C: TargetCmd> LioCmd<C> {
    /// Retries a transfer that found the send queue full, executes a command that waits for other
    /// commands, or does what [`late`] left. Process context; the second sleeps until those other
    /// commands have ended.
    pub(crate) fn run_work(cmd: Arc<C>) {
        let kept = cmd.clone();
        let _inside = kept.engine_cmd().caller.enter();
        let Some(cmd) = Self::run_late(cmd) else {
            return;
        };
        let this = cmd.engine_cmd();
        if this.phase.change(Phase::FetchBlocked, Phase::Core) {
            if read_se!(this, transport_state) & bindings::CMD_T_ABORTED != 0 {
                // Not executed: target core checks the same flag and ends the command.
                this.execute();
            } else {
                Self::fetch(cmd);
            }
        } else if this.phase.change(Phase::Deferred, Phase::Core) {
            this.execute();
        }
    }
}

/// Implements the traits that [`CmdWork`] requires beyond [`HasWork`](kernel::workqueue::HasWork);
/// only for [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
macro_rules! impl_cmd_work {
    (impl$({$($generics:tt)*})? CmdWork for $self:ty) => {
        // SAFETY: `raw_get_work()` is that of `LioCmd`, which returns the `work` member of a
        // `struct delayed_work`.
        unsafe impl$(<$($generics)*>)? ::kernel::workqueue::HasDelayedWork<Self> for $self {}
    };
}
pub(crate) use impl_cmd_work;
