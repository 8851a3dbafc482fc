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
    answer::{
        sam,
        LocalAnswer, //
    },
    note,
    step,
    transfer::is_transient,
    Command,
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
    link::{
        Busy,
        Link, //
    },
    rdma::{
        cqe::{
            CqeHandler,
            SEND, //
        },
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
            sendq::NoSlot, //
        },
        wire::{
            consts::RspCode,
            desc::{
                DataDesc,
                Dir, //
            },
            rsp::{
                Residual,
                Rsp, //
            }, //
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
    /// The channel is closing, or the command was aborted.
    Dead,
}

impl From<NoSlot> for NotSent {
    fn from(e: NoSlot) -> Self {
        match e {
            NoSlot::Full => Self::QueueFull,
            NoSlot::NeverFits => Self::NeverFits,
            NoSlot::Closed => Self::Dead,
        }
    }
}

/// Contents of a response, apart from tag and credits.
pub(super) struct Outcome<'a> {
    status: u8,
    sense: &'a [u8],
    rsp_code: Option<u8>,
    residual_out: Residual,
    residual_in: Residual,
}

impl Outcome<'_> {
    /// Returns whether the response reports success.
    fn is_success(&self) -> bool {
        let complete = RspCode::Complete.code();
        self.status == sam::GOOD && self.rsp_code.is_none_or(|code| code == complete)
    }

    pub(super) fn of(answer: &LocalAnswer) -> Outcome<'static> {
        Outcome {
            status: answer.status(),
            sense: answer.sense(),
            rsp_code: answer.rsp_code(),
            residual_out: Residual::None,
            residual_in: Residual::None,
        }
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
        let (Some(link), part) = this.part(Dir::In) else {
            return Delivery::FatalError;
        };
        let dir = match &part {
            Part::Gone => None,
            Part::None | Part::Immediate(_) => Some(Dir::Out),
            Part::Single(_) | Part::Inside => Some(Dir::In),
        };
        let residual = |of| match dir == Some(of) {
            true => this.engine.residual(),
            false => Residual::None,
        };
        let outcome = Outcome {
            status: this.engine.status(),
            sense: this.engine.sense(),
            rsp_code: None,
            residual_out: residual(Dir::Out),
            residual_in: residual(Dir::In),
        };
        let writes = match this.prepare(&link, part, data) {
            Ok(writes) => writes,
            Err(e) if is_transient(e) => return Delivery::QueueFull,
            Err(_) => return Delivery::FatalError,
        };
        match Self::send(this, &link, writes, &outcome) {
            Ok(()) => Delivery::Success,
            Err(NotSent::QueueFull) => Delivery::QueueFull,
            Err(NotSent::NeverFits) => Delivery::FatalError,
            Err(NotSent::Dead) => {
                Active::tgt_cmd_done(this, DoneContext::Same);
                Delivery::Success
            }
        }
    }

    /// Prepares the RDMA WRITEs of a read; `part` is that in the direction [`Dir::In`].
    fn prepare(&self, link: &Link<O>, part: Part, data: SgList) -> Result<Writes> {
        let len = data.len();
        let slots = match part {
            _ if len == 0 => return Ok(Writes::NONE),
            Part::Gone | Part::None | Part::Immediate(_) => return Ok(Writes::NONE),
            Part::Single(desc) => self.fill(link, data, once(desc), RwDir::Write)?,
            Part::Inside => {
                let Some(rx) = self.take_rx() else {
                    return Ok(Writes::NONE);
                };
                let filled = match rx.data() {
                    Some(DataDesc::In(list)) => {
                        self.fill(link, data, list.segments(), RwDir::Write)
                    }
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
        let outcome = Outcome::of(&LocalAnswer::Mgmt(code));
        let sent = match this.link() {
            Some(link) => Self::send(this, &link, Writes::NONE, &outcome).is_ok(),
            None => false,
        };
        if !sent {
            Active::tgt_cmd_done(this, DoneContext::Same);
        }
    }

    /// Posts the response, after the RDMA WRITEs in the filled slot if there are any.
    pub(super) fn send(
        this: ArcBorrow<'_, Self>,
        link: &Arc<Link<O>>,
        writes: Writes,
        outcome: &Outcome<'_>,
    ) -> Result<(), NotSent> {
        let Writes {
            slots: rdma,
            len: read,
        } = writes;
        let delta = link.flow().reserve_response(rdma).map_err(|e| {
            if rdma != 0 {
                this.rw.cancel();
            }
            NotSent::from(e)
        })?;
        let (action, head, rx) = {
            let mut inner = this.inner.lock();
            inner.rdma_slots = rdma;
            if let Some(timing) = &mut inner.timing {
                timing.answered(read, outcome.status != sam::GOOD);
            }
            let action = step(&mut inner.machine, Event::XmitResponse);
            (action, inner.head, inner.rx.take())
        };
        let serial = link.owner.serial();
        if rdma != 0 {
            // CAST: What one command moves is less than 4 GiB.
            trace::rdma_write(serial, head.tag, read as u32);
        }
        trace::response(serial, head.tag, outcome.status, delta);
        // A buffer is posted before the credit for it is sent.
        if let Some(rx) = rx {
            link.repost(rx.buf);
        }
        let sol_not = head.sol_not.wants(outcome.is_success());
        let rsp = Rsp {
            tag: head.tag,
            sol_not,
            req_lim_delta: delta,
            status: outcome.status,
            residual_out: outcome.residual_out,
            residual_in: outcome.residual_in,
            sense: outcome.sense,
            rsp_code: outcome.rsp_code,
        };
        let post = || {
            this.tx.fill(|buf| rsp.emit(buf).unwrap_or(0))?;
            link.qp
                .post_write_send(Arc::from(this), this.tx.len(), sol_not)
                .map_err(|(e, _)| e)
        };
        let posted = match action {
            Some(Action::SendResponse) => Some(post()),
            // Aborted; or a violation, after which nothing is owed to the initiator either.
            _ => None,
        };
        if let Some(Ok(())) = posted {
            return Ok(());
        }
        if rdma != 0 {
            this.rw.cancel();
        }
        if let Some(Err(e)) = posted {
            note(&mut this.inner.lock().machine, Fact::PostFailed);
            link.close_after("a response", e);
        }
        link.flow().undo_delta(delta);
        this.inner.lock().rdma_slots = 0;
        link.flow().release_response(rdma, None);
        // The credits need another carrier, perhaps a request of the target.
        O::credits_due(link.owner.as_arc_borrow());
        Err(NotSent::Dead)
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
            Some(timing) if ok => Some(timing.finished(by_engine)),
            _ => None,
        };
        inner.timing = None;
        let tag = inner.head.tag;
        let link = inner.link.clone();
        // The engine frees its commands later.
        let end = if by_engine { None } else { inner.end(action) };
        drop(inner);
        let Some(link) = link else {
            return;
        };
        trace::sent(link.owner.serial(), tag, wc.result().is_ok());
        self.check(&link, "response", wc);
        if let Some(Action::Complete { ok }) = action {
            link.flow().release_response(slots, finished.as_ref());
            let context = match ok {
                true => DoneContext::Completion,
                false => DoneContext::Lost,
            };
            Active::tgt_cmd_done(self.as_arc_borrow(), context);
        } else if let Some(end) = end {
            // The slot of the response is free before the command can be reused, and tear-down
            // waits until the command is in the pool.
            let _busy = Busy::new(link.owner.as_arc_borrow());
            let given_back = end.give_back();
            link.flow().release_response(slots, finished.as_ref());
            O::command_free(link.owner.as_arc_borrow(), self);
            drop(given_back);
        } else {
            // A violation. The slots are free all the same, or tear-down would wait for them.
            link.flow().release_response(slots, None);
            link.close(CloseReason::QpError);
        }
    }
}
