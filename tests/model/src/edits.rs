// SPDX-License-Identifier: GPL-2.0
// How the errors of `mutants.rs` are built into the driver's text. `build.rs` includes both files.
//
// An edit takes a place that an error is about, and writes both what is right and what is wrong; most
// leave the driver as it is but for the choice.

/// A change of the driver's text.
struct Edit {
    /// The file below `src/`.
    file: &'static str,
    /// Text that is there once.
    from: &'static str,
    /// What takes its place. `$Name` says whether the error of that name is made.
    to: &'static str,
}

const fn edit(file: &'static str, from: &'static str, to: &'static str) -> Edit {
    Edit { file, from, to }
}

/// How the errors are made.
const EDITS: &[Edit] = &[
    edit(
        "command.rs",
        "self.link.flow().forgo_response();",
        "if !$CreditLost { self.link.flow().forgo_response(); }",
    ),
    edit(
        "command/respond.rs",
        "if link.flow().undo_response(delta, aborted).is_err() {",
        "if !$CreditsNotUndone && link.flow().undo_response(delta, aborted).is_err() {",
    ),
    edit(
        "command/respond.rs",
        "Active::tgt_cmd_done(this, DoneContext::Same);
                return Delivery::Success;",
        "if !$CopiedNotTold { Active::tgt_cmd_done(this, DoneContext::Same); }
                return Delivery::Success;",
    ),
    edit(
        "command/respond.rs",
        "self.give_back(buf, skipped);",
        "self.give_back(buf, skipped && !$CopiedCreditLost);",
    ),
    edit(
        "channel/dispatch.rs",
        "if !count(channel, Some(Counter::Commands), consumes) {",
        "if !count(channel, Some(Counter::Commands), consumes) && !$OverrunServed {",
    ),
    edit(
        "command/respond.rs",
        "if let Some(buf) = buf {\n            link.repost(buf);\n        }",
        "let mut buf = buf;
        if $BufferLost {
            buf = None;
        }
        if !$RepostAfterSend {
            if let Some(buf) = buf.take() {
                link.repost(buf);
            }
        }",
    ),
    edit(
        "command/respond.rs",
        "if let Err(e) = posted {",
        "if let (Ok(()), Some(buf)) = (posted, buf.take()) {
            link.repost(buf);
        }
        if let Err(e) = posted {",
    ),
    edit(
        "command/respond.rs",
        "let action = step(&mut inner.machine, Event::SendDone { ok });",
        "let action = step(&mut inner.machine, Event::SendDone { ok });
            if $CompletedTwice {
                let _ = step(&mut inner.machine, Event::SendDone { ok });
            }",
    ),
    edit(
        "command/transfer.rs",
        "link.flow().release_rdma(slots);\n        Active::rx_data(self.as_arc_borrow(), status);",
        "link.flow().release_rdma(slots - u32::from($SlotsLeak));
        if !$DataNotTold {
            Active::rx_data(self.as_arc_borrow(), status);
        }",
    ),
    edit(
        "command/transfer.rs",
        "Some(Action::FailData) => RxDataStatus::Error,",
        "Some(Action::FailData) if !$LostDataTold => RxDataStatus::Error,
            Some(Action::FailData) => RxDataStatus::Success,",
    ),
    edit(
        "channel/dispatch.rs",
        "Channel::close(channel, CloseReason::Logout);",
        "if !$LogoutIgnored {
                Channel::close(channel, CloseReason::Logout);
            }",
    ),
    edit(
        "channel.rs",
        "this.flow.close();",
        "if !$SendQueueStaysOpen { this.flow.close(); }",
    ),
    edit(
        "channel.rs",
        "if waiting {",
        "if waiting && !$HeldNotResumed {",
    ),
    edit(
        "channel/new.rs",
        "let held = KVec::with_capacity(incoming(rq_size) as usize, GFP_KERNEL)?;",
        "let room = if $HeldTooSmall { rq_size - 1 } else { incoming(rq_size) };
    let held = KVec::with_capacity(room as usize, GFP_KERNEL)?;",
    ),
    edit(
        "command/respond.rs",
        "link.flow().release_response(slots, finished.as_ref());
                let context",
        "link.flow().release_response(slots, finished.as_ref());
                if $SlotsTwice {
                    link.flow().release_response(slots, finished.as_ref());
                }
                let context",
    ),
    edit(
        "command.rs",
        "if Self::send(this.as_arc_borrow(), Writes::NONE, rsp, Residual::None).is_err() {",
        "if $AnsweredTwice {
            let _ = Self::send(this.as_arc_borrow(), Writes::NONE, rsp, Residual::None);
        }
        if Self::send(this.as_arc_borrow(), Writes::NONE, rsp, Residual::None).is_err() {",
    ),
    edit(
        "command/respond.rs",
        "Ok(()) => Delivery::Success,",
        "Ok(()) => {
                if $ToldTwice {
                    Active::tgt_cmd_done(this, DoneContext::Same);
                }
                Delivery::Success
            }",
    ),
    edit(
        "channel/teardown.rs",
        "this.session.close(this.tasks());",
        "if $DrainedEarly {
            this.inner.lock().machine.drained();
        }
        if !$NoEngineWait {
            this.session.close(this.tasks());
        }",
    ),
    edit(
        "channel/teardown.rs",
        "if link.qp.drain() == Drained::Stuck {",
        "if !$NoDrain && link.qp.drain() == Drained::Stuck {",
    ),
    edit(
        "channel/teardown.rs",
        "drop(cm.take());",
        "if !$IdKept { drop(cm.take()); }",
    ),
    edit(
        "channel/teardown.rs",
        "cmd.complete_lost();",
        "if !$LostForgotten { cmd.complete_lost(); }",
    ),
    edit(
        "channel/teardown.rs",
        "link.qp.complete_lost(sender);",
        "if !$SenderForgotten { link.qp.complete_lost(sender); }",
    ),
    edit(
        "channel/teardown.rs",
        "link.qp.complete_lost(&probe);",
        "if !$ProbeForgotten { link.qp.complete_lost(&probe); }",
    ),
    edit(
        "channel/teardown.rs",
        "this.waits.wait(&this.flow, Until::Quiet);",
        "if !$NoQuiet { this.waits.wait(&this.flow, Until::Quiet); }",
    ),
    edit(
        "command.rs",
        "note(&mut self.inner.lock().machine, Fact::Aborted);",
        "if !$AbortForgotten { note(&mut self.inner.lock().machine, Fact::Aborted); }",
    ),
    edit(
        "channel/receive.rs",
        "match inner.machine.iu_arrives() {
                Disposition::Discard => Decision::Discard(received),",
        "let disposition = match $FirstUnitLost {
                true => inner.machine.iu_disposition(),
                false => inner.machine.iu_arrives(),
            };
            match disposition {
                Disposition::Discard => Decision::Discard(received),",
    ),
    edit(
        "channel/dispatch.rs",
        "cmd.link().repost(buf);
    if note().is_err() {",
        "let mut note = Some(note);
    let early = $AnswerNotedEarly.then(|| note.take().is_some_and(|note| note().is_err()));
    if $AnswerBufferLost {
        drop(buf);
    } else {
        cmd.link().repost(buf);
    }
    if early.unwrap_or_else(|| note.is_some_and(|note| note().is_err())) {",
    ),
    edit(
        "command.rs",
        "O::credits_due(self.link.owner.as_arc_borrow());",
        "if !$CreditKept { O::credits_due(self.link.owner.as_arc_borrow()); }",
    ),
    edit(
        "command/respond.rs",
        "O::credits_due(link.owner.as_arc_borrow());",
        "if !$UndoneKept { O::credits_due(link.owner.as_arc_borrow()); }",
    ),
    edit(
        "channel/dispatch.rs",
        "if charged.return_now {",
        "if charged.return_now && !$LastCreditKept {",
    ),
    edit(
        "link/flow.rs",
        "let mut accounts = self.accounts.lock();
        let carrier = choose(self.wants_credit_request(&accounts))?;",
        "if $CarriedInTwoSteps {
            let wanted = self.wants_credit_request(&self.accounts.lock());
            let carrier = choose(wanted)?;
            return Some((carrier, self.accounts.lock().credits.take_delta()));
        }
        let mut accounts = self.accounts.lock();
        let carrier = choose(self.wants_credit_request(&accounts))?;",
    ),
    edit(
        "link/flow.rs",
        "self.takes_credit_requests && accounts",
        "(self.takes_credit_requests || $AskedAnyway) && accounts",
    ),
    edit(
        "link/flow.rs",
        "self.busy.fetch_sub(1, Full);
        if self.closed.load(Relaxed) {",
        "let before = $LookThenCount.then(|| self.closed.load(Relaxed));
        self.busy.fetch_sub(1, Full);
        if before.unwrap_or_else(|| self.closed.load(Relaxed)) {",
    ),
    edit(
        "channel/receive.rs",
        "if next.is_none() {
                    inner.incoming.draining = false;
                }
                next
            };",
        "if next.is_none() && !$DrainingLate {
                    inner.incoming.draining = false;
                }
                next
            };
            if $DrainingLate && next.is_none() {
                this.inner.lock().incoming.draining = false;
            }",
    ),
    edit(
        "login/bring_up.rs",
        "SendQueue::new(slots, incoming(prepared.rq_size))",
        "SendQueue::new(
        slots,
        if $SlotPerCredit { prepared.rq_size } else { incoming(prepared.rq_size) },
    )",
    ),
    edit(
        "login/bring_up.rs",
        "if prepared.hca.gate().is_closed()",
        "if (prepared.hca.gate().is_closed() && !$GateNotAsked)",
    ),
    edit(
        "channel/notice.rs",
        "Some(Due {
            kind,",
        "if $NoticeBusyLate {
            drop(guard);
        }
        Some(Due {
            kind,",
    ),
    edit(
        "command/respond.rs",
        "this.link.flow().release_response(slots, finished);
        Self::recycle_rest(this);",
        "if !$SlotFreeLate {
            this.link.flow().release_response(slots, finished);
        }
        Self::recycle_rest(this);
        if $SlotFreeLate {
            crate::link::Owner::flow(&*owner).release_response(slots, finished);
        }",
    ),
    edit(
        "channel/probe.rs",
        "Some(cm) if inner.machine.vouch() => (cm, Busy::new(this)),",
        "Some(cm) if inner.machine.vouch() => {
                    if $ConfirmBusyLate {
                        drop(inner);
                    }
                    (cm, Busy::new(this))
                }",
    ),
    edit(
        "channel.rs",
        "live.then(|| Hold::new(this))",
        "(live || $HeldThoughDead).then(|| Hold::new(this))",
    ),
    edit(
        "channel/list.rs",
        "if !terminate {",
        "if !terminate || $OthersKept {",
    ),
    edit(
        "channel/task_mgmt.rs",
        "Ok(FoundTask::Sibling(_)) => Some(Hold::new(channel)),",
        "Ok(FoundTask::Sibling(_)) if !$OwnNotHeld => Some(Hold::new(channel)),",
    ),
    edit(
        "channel/task_mgmt.rs",
        "Ok(FoundTask::Aborted) => return drop(wait),",
        "Ok(FoundTask::Aborted) if $TablesNotAwaited => {
            wait.cancel();
            return Command::answer(cmd, LocalAnswer::Mgmt(RspCode::Complete));
        }
        Ok(FoundTask::Aborted) => return drop(wait),",
    ),
];
