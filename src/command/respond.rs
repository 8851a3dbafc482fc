// SPDX-License-Identifier: GPL-2.0

//! The response to a request: the engine's, or the target's own.
//!
//! Not here: what the target's own responses say ([`super::answer`]), the data of a read
//! ([`super::transfer`]).

use core::iter::once;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    answer::LocalAnswer,
    note,
    step,
    timing::{
        Time,
        Timing, //
    },
    transfer::is_transient,
    Command,
    Descs,
    Inner,
    Part,
    Pool, //
};
use crate::{
    engine::{
        Active,
        Delivery,
        DoneContext,
        Engine,
        EngineCmd,
        TmResult, //
    },
    link::Busy,
    rdma::{
        cqe::{
            CqeHandler,
            SEND, //
        },
        qp::InlineSend,
        rw::RwDir,
        sg::SgList,
        wc::WorkCompletion, //
    },
    srp::{
        machine::{
            channel::CloseReason,
            command::{
                Action,
                Event,
                Fact, //
            },
            sendq::NoSlot,
            stats::Finished, //
        },
        wire::{
            consts::{
                size,
                RspCode, //
            },
            desc::{
                DataDesc,
                Dir, //
            },
            rsp::{
                Residual,
                Rsp, //
            },
            scsi::status, //
        }, //
    },
    trace, //
};

/// Reason why a response was not posted.
pub(super) enum NotSent {
    /// The send queue has no room for RDMA now.
    QueueFull,
    /// The command needs more RDMA work requests than the send queue has slots.
    NeverFits,
    /// There will be no response: the channel is closing, or the command was aborted. The engine
    /// has to be notified of the end.
    Never,
}

impl From<NoSlot> for NotSent {
    fn from(e: NoSlot) -> Self {
        match e {
            NoSlot::Full => Self::QueueFull,
            NoSlot::NeverFits => Self::NeverFits,
            NoSlot::Closed => Self::Never,
        }
    }
}

/// Returns whether the response reports success.
fn is_success(rsp: &Rsp<'_>) -> bool {
    let complete = RspCode::Complete.code();
    rsp.status == status::GOOD && rsp.rsp_code.is_none_or(|code| code == complete)
}

/// Returns a response of the target itself, without tag and credits.
pub(super) fn own(answer: &LocalAnswer) -> Rsp<'static> {
    Rsp {
        status: answer.status(),
        sense: answer.sense(),
        rsp_code: answer.rsp_code(),
        ..Rsp::default()
    }
}

/// RDMA WRITEs before a response, prepared in the command's slot.
#[derive(Clone, Copy)]
pub(super) struct Writes {
    /// Work requests.
    slots: u32,
    /// Bytes.
    len: usize,
}

impl Writes {
    /// No RDMA WRITE.
    pub(super) const NONE: Self = Self { slots: 0, len: 0 };
}

impl<O: Pool> Command<O> {
    /// Sends the data of a read, if any, and the response. See
    /// [`crate::engine::TargetCmd::xmit_response`].
    pub(crate) fn xmit_response(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery {
        let rsp = Rsp {
            status: this.engine.status(),
            sense: this.engine.sense(),
            ..Rsp::default()
        };
        let writes = match data.is_empty() {
            true => Ok(Writes::NONE),
            false if this.must_wait() => return Delivery::QueueFull,
            false => this.prepare(data),
        };
        let writes = match writes {
            Ok(writes) => writes,
            Err(e) if is_transient(e) => return Delivery::QueueFull,
            Err(_) => return Delivery::FatalError,
        };
        // Nothing waits for the end of a short response without data.
        let short = writes.slots == 0 && is_success(&rsp) && rsp.sense.is_empty();
        if <Active as Engine>::ENDS_WHEN_POSTED && short {
            if let Some(room) = this.link.qp.begin_inline(size::RSP) {
                this.send_unsignaled(room, rsp, this.engine.residual());
                Active::tgt_cmd_done(this, DoneContext::Same);
                return Delivery::Success;
            }
        }
        match Self::send(this, writes, rsp, this.engine.residual()) {
            Ok(()) => Delivery::Success,
            Err(NotSent::QueueFull) => Delivery::QueueFull,
            Err(NotSent::NeverFits) => Delivery::FatalError,
            Err(NotSent::Never) => {
                Active::tgt_cmd_done(this, DoneContext::Same);
                Delivery::Success
            }
        }
    }

    /// Prepares the RDMA WRITEs of a read.
    fn prepare(&self, data: SgList) -> Result<Writes> {
        let len = data.len();
        let slots = match self.part(Dir::In) {
            Part::None | Part::Immediate => return Ok(Writes::NONE),
            Part::Single(desc) => self.fill(data, once(desc), RwDir::Write)?,
            Part::Inside => {
                let Some(rx) = self.take_rx() else {
                    return Ok(Writes::NONE);
                };
                let filled = match rx.data() {
                    Some(DataDesc::In(list)) => self.fill(data, list.segments(), RwDir::Write),
                    _ => Err(EINVAL),
                };
                self.put_rx(rx);
                filled?
            }
        };
        Ok(Writes { slots, len })
    }

    /// Sends the response to a task management request.
    pub(crate) fn task_mgmt_fn_done(this: ArcBorrow<'_, Self>) {
        let code = match this.engine.tm_result() {
            TmResult::Complete => RspCode::Complete,
            // The C driver uses this code only for unknown functions, not for those that LIO lacks.
            TmResult::Rejected | TmResult::NotSupported => RspCode::NotSupported,
            TmResult::TaskDoesNotExist | TmResult::LunDoesNotExist | TmResult::Failed => {
                RspCode::Failed
            }
        };
        let rsp = own(&LocalAnswer::Mgmt(code));
        if Self::send(this, Writes::NONE, rsp, Residual::None).is_err() {
            Active::tgt_cmd_done(this, DoneContext::Same);
        }
    }

    /// Posts the response, after the RDMA WRITEs in the filled slot if there are any. Adds tag and
    /// credits to `rsp`, and `residual` where it belongs.
    pub(super) fn send(
        this: ArcBorrow<'_, Self>,
        writes: Writes,
        mut rsp: Rsp<'_>,
        residual: Residual,
    ) -> Result<(), NotSent> {
        let link = &this.link;
        let Writes {
            slots: rdma,
            len: read,
        } = writes;
        let delta = link.flow().reserve_response(rdma).map_err(|e| {
            if rdma != 0 {
                this.give_up(rdma, e);
            }
            NotSent::from(e)
        })?;
        let (action, buf) = {
            let mut inner = this.inner.lock();
            inner.rdma_slots = rdma;
            if let Some(timing) = inner.timed(this.engine.used_immediate()) {
                timing.answered(read, rsp.status != status::GOOD);
            }
            let action = step(&mut inner.machine, Event::XmitResponse);
            inner.complete(&mut rsp, residual);
            (action, inner.buf.take())
        };
        // A buffer is posted before the credit for it is sent.
        if let Some(buf) = buf {
            link.repost(buf);
        }
        match action {
            Some(Action::SendResponse) => {}
            Some(Action::SkipResponse) => return Err(this.skip(rdma, delta, true)),
            // A violation, after which nothing is owed to the initiator either.
            Some(
                Action::FetchTable
                | Action::Submit
                | Action::Abandon
                | Action::Fetch
                | Action::Execute
                | Action::FailData
                | Action::Answer
                | Action::Complete { .. }
                | Action::Recycle { .. },
            )
            | None => return Err(this.skip(rdma, delta, false)),
        }
        let serial = link.owner.serial();
        if rdma != 0 {
            // CAST: What one command moves is less than 4 GiB.
            trace::rdma_write(serial, rsp.tag, read as u32);
        }
        trace::response(serial, rsp.tag, rsp.status, delta, true);
        rsp.req_lim_delta = delta;
        let filled = this.tx.fill(|buf| rsp.emit(buf).unwrap_or(0));
        let posted = filled.and_then(|len| {
            link.qp
                .post_write_send(Arc::from(this), len, rsp.sol_not)
                .map_err(|(e, _)| e)
        });
        if let Err(e) = posted {
            note(&mut this.inner.lock().machine, Fact::PostFailed);
            link.close_after("a response", e);
            return Err(this.skip(rdma, delta, false));
        }
        Ok(())
    }

    /// Posts a response that does not complete. The engine is then notified of the end, whether it
    /// could be posted or not.
    fn send_unsignaled(&self, room: InlineSend<'_, O>, mut rsp: Rsp<'_>, residual: Residual) {
        let link = &self.link;
        let (action, buf, finished) = {
            let mut inner = self.inner.lock();
            let finished = inner.timed(self.engine.used_immediate()).map(|timing| {
                timing.answered(0, false);
                timing.finished(true, None)
            });
            inner.timing = None;
            let action = step(&mut inner.machine, Event::XmitUnsignaled);
            inner.complete(&mut rsp, residual);
            (action, inner.buf.take(), finished)
        };
        // A buffer is posted before the credit for it is sent.
        let skipped = matches!(action, Some(Action::SkipResponse));
        self.give_back(buf, skipped);
        let Some(Action::SendResponse) = action else {
            return;
        };
        // An error means that the channel is closing.
        let Ok(delta) = link.flow().respond(finished.as_ref()) else {
            return link.flow().forgo_response();
        };
        trace::response(link.owner.serial(), rsp.tag, rsp.status, delta, false);
        rsp.req_lim_delta = delta;
        let mut bytes = [0; size::RSP];
        let filled = rsp.emit(&mut bytes).map_err(|_| EINVAL);
        let sent = filled.and_then(|_| room.post(&bytes, rsp.sol_not));
        if let Err(e) = sent {
            link.close_after("a response", e);
            self.undo(delta, false);
        }
    }

    /// Makes the credits returnable that a response would have carried which is not posted.
    /// `aborted`: none is to be sent.
    fn undo(&self, delta: i32, aborted: bool) {
        let link = &self.link;
        if link.flow().undo_response(delta, aborted).is_err() {
            link.close(CloseReason::ProtocolViolation);
        }
    }

    /// Frees what was reserved for a response that is not posted, and makes the credits that it
    /// would have carried returnable. `aborted`: none is to be sent.
    #[cold]
    fn skip(&self, rdma: u32, delta: i32, aborted: bool) -> NotSent {
        let link = &self.link;
        if rdma != 0 {
            self.rw.cancel();
        }
        self.undo(delta, aborted);
        self.inner.lock().rdma_slots = 0;
        link.flow().release_response(rdma, None);
        // The credits need another carrier, perhaps a request of the target.
        O::credits_due(link.owner.as_arc_borrow());
        NotSent::Never
    }
}

impl<O: Pool> Inner<O> {
    /// Returns the timestamps of a command that is to be answered. `used`: its immediate data was
    /// used in place.
    #[inline]
    fn timed(&mut self, used: bool) -> Option<&mut Timing> {
        let timing = self.timing.as_mut()?;
        if let (true, Descs::Immediate(len, _)) = (used, self.descs) {
            timing.came_with_data(len);
        }
        Some(timing)
    }

    /// Adds the fields that a response has from its request, and the residual where it belongs.
    #[inline]
    fn complete(&self, rsp: &mut Rsp<'_>, residual: Residual) {
        match self.descs.dir() {
            Dir::Out => rsp.residual_out = residual,
            Dir::In => rsp.residual_in = residual,
        }
        rsp.tag = self.head.tag;
        rsp.sol_not = self.head.sol_not.wants(is_success(rsp));
    }
}

impl<O: Pool> CqeHandler<SEND> for Command<O> {
    fn done(self: Arc<Self>, wc: &WorkCompletion) {
        let ok = wc.result().is_ok();
        let mut inner = self.inner.lock();
        let action = step(&mut inner.machine, Event::SendDone { ok });
        let slots = core::mem::take(&mut inner.rdma_slots);
        let by_engine = matches!(action, Some(Action::Complete { .. }));
        let finished = match &inner.timing {
            Some(timing) if ok => Some(timing.finished(by_engine, Some(Time::now()))),
            _ => None,
        };
        inner.timing = None;
        let tag = inner.head.tag;
        drop(inner);
        let link = &self.link;
        trace::sent(link.owner.serial(), tag, ok);
        self.check("response", wc);
        match action {
            Some(Action::Complete { ok }) => {
                link.flow().release_response(slots, finished.as_ref());
                let context = match ok {
                    true => DoneContext::Completion,
                    false => DoneContext::Lost,
                };
                Active::tgt_cmd_done(self.as_arc_borrow(), context);
            }
            Some(Action::Recycle { return_credit }) => {
                self.give_back(None, return_credit);
                Self::recycle_sent(self, slots, finished.as_ref());
            }
            Some(
                Action::FetchTable
                | Action::Submit
                | Action::Abandon
                | Action::Fetch
                | Action::Execute
                | Action::FailData
                | Action::SendResponse
                | Action::SkipResponse
                | Action::Answer,
            )
            | None => {
                // A violation. The slots are free all the same, or tear-down would wait for them.
                link.flow().release_response(slots, None);
                link.close(CloseReason::QpError);
            }
        }
    }
}

impl<O: Pool> Command<O> {
    /// Returns a command to the pool whose response was sent, and which is not with the engine. The
    /// slot of the response is free before the command can be reused, and tear-down waits until the
    /// command is in the pool.
    fn recycle_sent(this: Arc<Self>, slots: u32, finished: Option<&Finished>) {
        let owner = this.link.owner.clone();
        let _busy = Busy::new(owner.as_arc_borrow());
        this.link.flow().release_response(slots, finished);
        Self::recycle_rest(this);
    }
}
