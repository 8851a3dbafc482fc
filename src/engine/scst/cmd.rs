// SPDX-License-Identifier: GPL-2.0

//! Commands (`struct scst_cmd`) and task management functions (`struct scst_mgmt_cmd`): SCST's
//! callbacks for them, and the completions owed to SCST.
//!
//! Not here: submission ([`super::submit`]), transfers and responses ([`TargetCmd`]).
//!
//! C source: `scst/src/scst_targ.c`, `scst_lib.c`.
//!
//! # Ownership
//!
//! SCST owns a submitted command: [`super::submit`] turns an `Arc` of the command into a pointer,
//! and [`reclaim`] finally turns it back. In between:
//!
//! | callback | returned | owed |
//! |---|---|---|
//! | `rdy_to_xfer()` | `SCST_TGT_RES_SUCCESS` | one `scst_rx_data()` |
//! | | `SCST_TGT_RES_QUEUE_FULL` | nothing; it is called again |
//! | | `SCST_TGT_RES_FATAL_ERROR` | nothing; CHECK CONDITION through `xmit_response()` |
//! | `xmit_response()` | `SCST_TGT_RES_SUCCESS` | one `scst_tgt_cmd_done()` |
//! | | `SCST_TGT_RES_QUEUE_FULL` | nothing; it is called again |
//! | | `SCST_TGT_RES_FATAL_ERROR` | nothing; the initiator gets no response |
//! | `task_mgmt_fn_done()` | | nothing; the command is returned to the target once answered |
//!
//! A response that cannot be sent with its data is sent without data, with CHECK CONDITION, so that
//! `xmit_response()` returns `SCST_TGT_RES_FATAL_ERROR` only if no response can be sent at all.
//!
//! # Immediate data
//!
//! SCST uses the immediate data of a plain WRITE where it was received, if it has the length of the
//! buffer that SCST would allocate ([`ScstCmd::place_data`]). The receive buffer is lent until
//! `xmit_response()`, or until SCST returns a command that is not answered: the device handler has
//! executed the command by then, and SCST itself does not look at the data again.

use core::{
    cell::UnsafeCell,
    convert::Infallible,
    ptr, //
};

use kernel::{
    container_of,
    new_work,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::Opaque,
    workqueue::{
        HasWork,
        Work,
        WorkItem, //
    }, //
};

use super::session::Submitted;
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
    rdma::{
        buf::Immediate,
        sg::SgList, //
    },
    srp::wire::rsp::Residual,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        state::atomic_enum, //
    }, //
};

/// Results of the callbacks.
// CAST: 0.
const SUCCESS: c_int = bindings::SCST_TGT_RES_SUCCESS as c_int;
const QUEUE_FULL: c_int = bindings::SCST_TGT_RES_QUEUE_FULL;
const FATAL_ERROR: c_int = bindings::SCST_TGT_RES_FATAL_ERROR;

/// Context in which SCST continues: in a thread of its own, ...
pub(super) const THREAD: bindings::scst_exec_context =
    bindings::scst_exec_context_SCST_CONTEXT_THREAD;
/// ... directly in the calling context, which may sleep, ...
const DIRECT: bindings::scst_exec_context = bindings::scst_exec_context_SCST_CONTEXT_DIRECT;
/// ... or in the context in which it called `xmit_response()`.
const SAME: bindings::scst_exec_context = bindings::scst_exec_context_SCST_CONTEXT_SAME;

atomic_enum! {
    /// Phase of a command. Every completion is checked against it, so that one that is not owed is
    /// refused.
    pub(super) enum Phase {
        /// Not submitted.
        Idle = 0,
        /// Owned by SCST.
        Core = 1,
        /// Data of a write is being fetched: the target owes one `scst_rx_data()`.
        Fetching = 2,
        /// A response is being sent: the target owes one `scst_tgt_cmd_done()`.
        Answering = 3,
        /// Data of a read and a response are being sent: the target owes one `scst_tgt_cmd_done()`.
        Sending = 4,
        /// Completed; SCST has not released it yet.
        Done = 5,
        /// A task management function owned by SCST.
        Mgmt = 6,
        /// A task management function that is being answered; it is returned once to the target
        /// then.
        MgmtAnswering = 7,
    }
}

/// The part of a command `C` that belongs to SCST.
///
/// # Writers of the fields
///
/// - `raw`: [`super::submit`] until the command is submitted; from then on SCST. Shims read it
///   inside the callbacks and, for the data buffer, until the completion; SCST does not change what
///   they read then.
/// - `session`: the submitter of the command, and the callback that returns it; SCST owns the
///   command in between.
/// - `place`: the same, and the callbacks `tgt_alloc_data_buf()`, `rdy_to_xfer()` and
///   `xmit_response()`, of which SCST calls one at a time; what answers the command.
/// - `phase`: the task that handles the command; changes of owner are atomic.
#[pin_data]
pub(crate) struct ScstCmd<C> {
    #[pin]
    pub(super) raw: Opaque<bindings::scst_cmd>,
    phase: Phases<Phase>,
    /// Result of a task management function, `SCST_MGMT_STATUS_*`.
    tm_status: Atomic<i32>,
    /// Pass of the channel's part in the session, whose close waits for it.
    session: UnsafeCell<Option<Submitted>>,
    place: UnsafeCell<Place>,
    #[pin]
    give_back: Work<C>,
}

/// Immediate data of a command.
///
/// # Invariants
///
/// If `used` is set, `entry` describes the data, also when `data` was given back.
struct Place {
    /// Until SCST has used it, or does not want it.
    data: Option<Immediate>,
    /// SCST has got it as the command's data buffer, until the command is free.
    used: bool,
    entry: bindings::scatterlist,
}

// SAFETY: A `struct scst_cmd` belongs to no thread: SCST passes it between threads.
unsafe impl<C> Send for ScstCmd<C> {}
// SAFETY: `phase` and `tm_status` are atomic. The other fields are written by their owner only,
// see the type's documentation; ownership is handed over with `phase` (release and acquire) or by
// SCST.
unsafe impl<C> Sync for ScstCmd<C> {}

impl<C: TargetCmd> ScstCmd<C> {
    /// Returns an initialiser for a command that is not submitted.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            raw <- Opaque::ffi_init(|slot: *mut bindings::scst_cmd| {
                // SAFETY: `slot` is valid for a write, and an `Opaque` may hold any bytes.
                unsafe { slot.write_bytes(0, 1) }
            }),
            phase: Phases::new(Phase::Idle),
            tm_status: Atomic::new(0),
            session: UnsafeCell::new(None),
            place: UnsafeCell::new(Place {
                data: None,
                used: false,
                entry: pin_init::zeroed(),
            }),
            give_back <- new_work!("ScstCmd::give_back"),
        })
    }

    /// Prepares an idle command for submission, with data that SCST may use in place. Returns
    /// `false` if it is in use.
    pub(super) fn prepare(
        &self,
        phase: Phase,
        session: Submitted,
        data: Option<Immediate>,
    ) -> bool {
        if !self.phase.change(Phase::Idle, phase) {
            pr_err!("command submitted twice\n");
            return false;
        }
        // SAFETY: Idle until now, so SCST does not hold the command, and the change of phase above
        // made it ours. Any bytes are allowed in the C command.
        unsafe {
            self.raw.get().write_bytes(0, 1);
            *self.session.get() = Some(session);
            (*self.place.get()).data = data;
        }
        true
    }

    /// Ends a use of the command, which the caller owns. Returns the pass of its session.
    fn retire(&self) -> Option<Submitted> {
        // SAFETY: The caller owns the command.
        let (mut session, place) =
            unsafe { ((*self.session.get()).take(), &mut *self.place.get()) };
        place.data = None;
        place.used = false;
        if let Some(session) = &mut session {
            // Before the command is given back, which may submit the next one.
            session.ended();
        }
        self.phase.set(Phase::Idle);
        session
    }

    /// Takes back a command that SCST did not accept and does not hold.
    pub(super) fn withdraw(&self) {
        drop(self.retire());
    }

    /// `tgt_alloc_data_buf()`: gives SCST the immediate data as the command's data buffer, if it
    /// has the length of the one that SCST would allocate. Returns whether it does.
    pub(super) fn place_data(cmd: ArcBorrow<'_, C>) -> bool {
        let this = &cmd.engine_cmd();
        let raw = this.raw.get();
        // SAFETY: SCST calls back for the command, and no other callback of it at the same time, so
        // `place` is this one's.
        let place = unsafe { &mut *this.place.get() };
        // SAFETY: SCST has passed the command to the callback.
        let len =
            unsafe { bindings::srpt_scst_takes_buf(raw).then(|| bindings::srpt_scst_bufflen(raw)) };
        let len = len.and_then(|len| usize::try_from(len).ok());
        let data = place.data.take();
        place.data = data.filter(|data| Some(data.len()) == len && data.is_aligned());
        if let Some(data) = &place.data {
            // INVARIANT: Described here.
            data.describe(&mut place.entry);
            place.used = true;
            // SAFETY: As above. The list is a part of the command, which SCST returns when it does
            // not use it any more. It describes as many bytes as SCST wants, which stay until they
            // were used: see the module's documentation.
            unsafe { bindings::srpt_scst_set_buf(raw, &raw mut place.entry) };
        }
        place.used
    }

    /// `rdy_to_xfer()`: makes the target fetch data. Returns the callback's return value.
    ///
    /// Takes a reference of its own, because when the data arrives the command may be executed,
    /// answered and returned on another CPU before the target's function returns.
    pub(super) fn fetch(cmd: Arc<C>) -> c_int {
        let this = &cmd.engine_cmd();
        if this.used_immediate() {
            // CAST: 0.
            let status = bindings::SCST_RX_STATUS_SUCCESS as c_int;
            // SAFETY: SCST has passed the command to `rdy_to_xfer()`, and this is its only
            // completion.
            unsafe { bindings::scst_rx_data(this.raw.get(), status, SAME) };
            return SUCCESS;
        }
        let (mut sg, mut nents) = (ptr::null_mut(), 0);
        // SAFETY: SCST has passed the command to `rdy_to_xfer()`; the pointers are to locals.
        let len = unsafe { bindings::srpt_scst_write_fields(this.raw.get(), &mut sg, &mut nents) };
        // SAFETY: SCST owns the command until the phase is set to `Fetching`, and the list is that
        // of the write.
        let data = unsafe { this.lend(sg, nents, len) };
        this.phase.set(Phase::Fetching);
        this.outcome(C::rdy_to_xfer(cmd.as_arc_borrow(), data))
    }

    /// `xmit_response()`: makes the target send data and response. Returns the callback's return
    /// value. Takes a reference of its own for the same reason.
    pub(super) fn answer(cmd: Arc<C>) -> c_int {
        let this = &cmd.engine_cmd();
        let raw = this.raw.get();
        // SAFETY: SCST has passed the command to `xmit_response()`, so `place` is this task's.
        unsafe { (*this.place.get()).data = None };
        // SAFETY: SCST has passed the command to `xmit_response()`.
        if unsafe { bindings::srpt_scst_aborted_on_xmit(raw) } {
            C::on_abort_cmd(cmd.as_arc_borrow());
            this.phase.set(Phase::Done);
            // SAFETY: As above. This is the one completion that is owed, as the phase records.
            unsafe {
                // CAST: A small negative number.
                bindings::srpt_scst_set_delivery(raw, bindings::SCST_CMD_DELIVERY_ABORTED);
                bindings::scst_tgt_cmd_done(raw, SAME);
            }
            return SUCCESS;
        }
        // SAFETY: As above.
        let reads = unsafe {
            // CAST: 2.
            bindings::srpt_scst_direction(raw)
                == bindings::scst_data_direction_SCST_DATA_READ as c_int
                && bindings::srpt_scst_read_len(raw) > 0
        };
        if reads {
            // SAFETY: SCST owns the command until the phase is set to `Sending`, and the list is
            // that of the read.
            let data = unsafe {
                this.lend(
                    bindings::srpt_scst_sg(raw),
                    bindings::srpt_scst_sg_cnt(raw),
                    bindings::srpt_scst_read_len(raw),
                )
            };
            this.phase.set(Phase::Sending);
            match this.outcome(C::xmit_response(cmd.as_arc_borrow(), data)) {
                FATAL_ERROR => {
                    // SAFETY: As above; SCST does the same after a fatal error, but then without a
                    // response.
                    unsafe { bindings::srpt_scst_set_hw_error(raw) };
                }
                other => return other,
            }
        }
        this.phase.set(Phase::Answering);
        this.outcome(C::xmit_response(cmd.as_arc_borrow(), SgList::empty()))
    }

    /// Returns the return value of a callback. Unless the target accepted, SCST owns the command
    /// again; if it did, the command may be freed already, and is not used here.
    fn outcome(&self, delivery: Delivery) -> c_int {
        let result = match delivery {
            Delivery::Success => return SUCCESS,
            _ if !self.phase.is_back() => return SUCCESS,
            Delivery::QueueFull => QUEUE_FULL,
            Delivery::FatalError => FATAL_ERROR,
        };
        self.phase.set(Phase::Core);
        result
    }

    /// `on_hw_pending_cmd_timeout()`: handles a transfer that takes too long. The HCA may still use
    /// the buffer, so nothing is completed here; the target makes the transfer complete. May sleep.
    pub(super) fn timed_out(cmd: ArcBorrow<'_, C>) {
        let this = &cmd.engine_cmd();
        if this.phase.is(Phase::Fetching)
            || this.phase.is(Phase::Answering)
            || this.phase.is(Phase::Sending)
        {
            C::on_hw_timeout(cmd);
        }
    }

    /// `on_free_cmd()`: returns the command to the target, from a work queue if this is atomic
    /// context. Any context.
    pub(super) fn freed(cmd: Arc<C>) {
        // SAFETY: The shim only reads the context of the caller.
        if unsafe { bindings::srpt_scst_may_sleep() } {
            return give_back(cmd);
        }
        // SAFETY: SCST has returned the command, so it is ours.
        let session = unsafe { &*cmd.engine_cmd().session.get() };
        let queue = session.as_ref().map(|session| session.queue().clone());
        let queued = match queue {
            Some(queue) => queue.as_queue().enqueue::<_, 0>(cmd).is_ok(),
            None => false,
        };
        if !queued {
            // Cannot happen: a submitted command has a session, and is returned once.
            pr_err!("a command is lost\n");
        }
    }

    /// Handles the end of the transfer that [`TargetCmd::rdy_to_xfer`] requested. Process context.
    pub(super) fn data_arrived(&self, status: RxDataStatus) {
        if !self.phase.end(Phase::Fetching, Phase::Core) {
            pr_err!("data that was not requested\n");
            return;
        }
        // CAST: 0 and 1.
        let status = match status {
            RxDataStatus::Success => bindings::SCST_RX_STATUS_SUCCESS as c_int,
            RxDataStatus::Error => bindings::SCST_RX_STATUS_ERROR as c_int,
        };
        // SAFETY: `rdy_to_xfer()` requested it, and the change of phase proves that this is the
        // first completion since.
        unsafe { bindings::scst_rx_data(self.raw.get(), status, THREAD) };
    }
}

impl<C> ScstCmd<C> {
    /// Lends the data buffer: the destination of a write's data, or the source of a read's. SCST
    /// derives its length from that in the descriptors and the CDB.
    ///
    /// # Safety
    ///
    /// To be called by the owner of the command, before the phase is set to `Fetching` or
    /// `Sending`, with SCST's list for that transfer. That phase must not be left except by
    /// [`Phases::end`], or if [`Phases::is_back`].
    unsafe fn lend(&self, sg: *mut bindings::scatterlist, nents: c_int, len: c_int) -> SgList {
        let (Ok(nents), Ok(len)) = (u32::try_from(nents), usize::try_from(len)) else {
            return SgList::empty();
        };
        // SAFETY: SCST or the device handler allocated the list with room for that many bytes
        // (`scst_prepare_space()`, `scst_adjust_sg()`), and frees it, and returns this command,
        // when the command was completed. By the safety requirements that is not while the list is
        // lent.
        unsafe { self.phase.lend(sg, nents, len) }
    }
}

impl<C> EngineCmd for ScstCmd<C> {
    /// SCST keeps no memory in commands that are free.
    type Kept = Infallible;

    fn age(&self) -> Option<Infallible> {
        None
    }

    fn used_immediate(&self) -> bool {
        // SAFETY: The caller answers the command, or handles `rdy_to_xfer()`, so `place` is this
        // task's.
        unsafe { (*self.place.get()).used }
    }

    /// SCSI status, inside `xmit_response()`.
    fn status(&self) -> u8 {
        // SAFETY: SCST has passed the command to `xmit_response()`.
        unsafe { bindings::srpt_scst_status(self.raw.get()) }
    }

    /// Sense data, inside `xmit_response()`; empty if there is none.
    fn sense(&self) -> &[u8] {
        // SAFETY: SCST has passed the command to `xmit_response()`.
        let (sense, len) = unsafe {
            (
                bindings::srpt_scst_sense(self.raw.get()),
                bindings::srpt_scst_sense_len(self.raw.get()),
            )
        };
        match usize::try_from(len) {
            // SAFETY: That many bytes of the buffer are valid. SCST neither changes nor frees them
            // before the command was completed.
            Ok(len) if !sense.is_null() => unsafe { core::slice::from_raw_parts(sense, len) },
            _ => &[],
        }
    }

    /// Residual, inside `xmit_response()`.
    fn residual(&self) -> Residual {
        let mut count = 0;
        // SAFETY: SCST has passed the command to `xmit_response()`; the pointer is to a local.
        let some = unsafe { bindings::srpt_scst_resid(self.raw.get(), &mut count) };
        match count {
            _ if !some => Residual::None,
            0 => Residual::None,
            1.. => Residual::Under(count.unsigned_abs()),
            _ => Residual::Over(count.unsigned_abs()),
        }
    }

    /// Result of a task management function, inside `task_mgmt_fn_done()`.
    fn tm_result(&self) -> TmResult {
        const COMPLETE: c_int = bindings::SCST_MGMT_STATUS_SUCCESS as c_int;
        match self.tm_status.load(Relaxed) {
            COMPLETE => TmResult::Complete,
            bindings::SCST_MGMT_STATUS_TASK_NOT_EXIST => TmResult::TaskDoesNotExist,
            bindings::SCST_MGMT_STATUS_LUN_NOT_EXIST => TmResult::LunDoesNotExist,
            bindings::SCST_MGMT_STATUS_FN_NOT_SUPPORTED => TmResult::NotSupported,
            // SCST reports this when the function failed.
            bindings::SCST_MGMT_STATUS_REJECTED => TmResult::Failed,
            _ => TmResult::Failed,
        }
    }
}

/// Returns the command that contains a `struct scst_cmd`.
///
/// All commands are of the target's type, see [`HasTarget`](crate::engine::HasTarget).
///
/// # Safety
///
/// `raw` must be part of a command of the type `C` that exists for `'a`: that was submitted and not
/// reclaimed, or has a reference of its own.
pub(super) unsafe fn borrow<'a, C: TargetCmd>(raw: *mut bindings::scst_cmd) -> ArcBorrow<'a, C> {
    // SAFETY: By the safety requirements, `raw` is that field of a command whose `Arc` was turned
    // into a pointer by `submit()`, and exists.
    unsafe { ArcBorrow::from_raw(container_of(raw)) }
}

/// Takes back a submitted command, in `on_free_cmd()`.
///
/// # Safety
///
/// `raw` must be part of a submitted command of the type `C` that SCST does not use any more. To be
/// called once per submission.
pub(super) unsafe fn reclaim<C: TargetCmd>(raw: *mut bindings::scst_cmd) -> Arc<C> {
    // SAFETY: By the safety requirements, this is the reference that `submit()` turned into a
    // pointer.
    unsafe { Arc::from_raw(container_of(raw)) }
}

/// Returns the address of the command that contains a `struct scst_cmd`.
///
/// # Safety
///
/// `raw` must be part of a command `C` that exists.
unsafe fn container_of<C: TargetCmd>(raw: *mut bindings::scst_cmd) -> *const C {
    // SAFETY: By the safety requirements, `raw` is that field of a `ScstCmd`, and this the one of a
    // command.
    unsafe {
        C::container_of(container_of!(
            raw.cast::<Opaque<bindings::scst_cmd>>(),
            ScstCmd<C>,
            raw
        ))
    }
}

/// Returns a command to the target. Process context, may sleep.
fn give_back<C: TargetCmd>(cmd: Arc<C>) {
    let session = cmd.engine_cmd().retire();
    C::on_free_cmd(cmd);
    // Last: after this the close of the session may complete, and free what the command used.
    drop(session);
}

/// Completes a response: it was sent or will never be. Process context.
pub(super) fn done<C: TargetCmd>(cmd: ArcBorrow<'_, C>, context: DoneContext) {
    let this = &cmd.engine_cmd();
    if this.phase.change(Phase::MgmtAnswering, Phase::Done) {
        // SAFETY: `submit_tmf()` turned this reference into a pointer; `tmf_done()` was called, so
        // SCST does not use it any more, and the change of phase proves that this is the first
        // completion since.
        give_back(unsafe { Arc::from_raw(ptr::from_ref::<C>(&cmd)) });
        return;
    }
    let answering = [Phase::Answering, Phase::Sending];
    if !this.phase.end_one_of(answering, Phase::Done) {
        pr_err!("completion of a response that was not asked for\n");
        return;
    }
    let raw = this.raw.get();
    // SAFETY: `xmit_response()` requested it, and the change of phase proves that this is the first
    // completion since. The command is not used afterwards.
    unsafe {
        match context {
            DoneContext::Completion => bindings::scst_tgt_cmd_done(raw, DIRECT),
            DoneContext::Lost => {
                bindings::srpt_scst_set_delivery(raw, bindings::SCST_CMD_DELIVERY_FAILED);
                bindings::scst_tgt_cmd_done(raw, DIRECT);
            }
            DoneContext::Same => {
                bindings::srpt_scst_set_delivery(raw, bindings::SCST_CMD_DELIVERY_FAILED);
                bindings::scst_tgt_cmd_done(raw, SAME);
            }
        }
    }
}

/// `task_mgmt_fn_done()`: makes the target send the response of a task management function, if an
/// initiator has requested it. May sleep.
///
/// # Safety
///
/// `private` must be NULL, or the pointer that [`super::submit`] passed to SCST, to a command of
/// this type.
/// To be called once per submission.
pub(super) unsafe fn tmf_done<C: TargetCmd>(private: *mut c_void, status: c_int) {
    if private.is_null() {
        return;
    }
    // SAFETY: By the safety requirements, a reference exists that is not dropped before the phase
    // is changed below. This takes one of its own, because the response may be sent, and the
    // command returned, before the target's function returns.
    let cmd: Arc<C> = unsafe { ArcBorrow::from_raw(private.cast::<C>()) }.into();
    cmd.engine_cmd().tm_status.store(status, Relaxed);
    cmd.engine_cmd().phase.set(Phase::MgmtAnswering);
    C::task_mgmt_fn_done(cmd.as_arc_borrow());
}

/// Traits that the work item of a [`ScstCmd`] requires of the command that contains it. Implemented
/// by [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
pub(crate) trait CmdWork: HasWork<Self> + WorkItem<Pointer = Arc<Self>> + Sized {}

impl<C> CmdWork for C where C: HasWork<C> + WorkItem<Pointer = Arc<C>> {}

impl<C> ScstCmd<C> {
    /// Returns the work item; for [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
    ///
    /// # Safety
    ///
    /// `this` must not be dangling.
    pub(crate) unsafe fn raw_get_work(this: *mut Self) -> *mut Work<C> {
        // SAFETY: By the safety requirements.
        unsafe { &raw mut (*this).give_back }
    }

    /// Returns the part that contains a work item; for
    /// [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
    ///
    /// # Safety
    ///
    /// `work` must have been returned by [`Self::raw_get_work`], and not be dangling.
    pub(crate) unsafe fn work_container_of(work: *mut Work<C>) -> *mut Self {
        // SAFETY: By the safety requirements, this is that field of a `ScstCmd`.
        unsafe { container_of!(work, Self, give_back) }
    }
}

impl<C: TargetCmd> ScstCmd<C> {
    /// Completes `on_free_cmd()` if that was called in atomic context. Process context, may sleep.
    pub(crate) fn run_work(cmd: Arc<C>) {
        give_back(cmd);
    }
}

/// Empty, because [`CmdWork`] requires nothing beyond [`HasWork`]; only for
/// [`impl_has_engine_cmd!`](crate::engine::impl_has_engine_cmd).
macro_rules! impl_cmd_work {
    ($($any:tt)*) => {};
}
pub(crate) use impl_cmd_work;
