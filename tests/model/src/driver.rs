// SPDX-License-Identifier: GPL-2.0
//! The driver: executes what the machines decide, in the order of `src/channel.rs`,
//! `src/channel/receive.rs` and `dispatch.rs`, `src/command.rs` and what is in `src/command/`, and
//! `src/link/flow.rs`. The order of `src/channel/notice.rs` is in `notice`, that of `src/channel/teardown.rs` in `teardown`.
//!
//! This is an interpreter, not the driver itself: that one cannot run without a kernel. Each
//! function names the one it stands for. One call is what happens between two places at which
//! another thread may come in; a lock held in the driver is one call here. Where the driver does
//! two things with different locks one after the other, and nothing between them can matter, they
//! are one step; the comment says so. Decisions are made by the machines alone.
//!
//! [`Mutant`]s break the order on purpose: `main` shows that each is noticed.

use crate::{
    mutants::Mutant,
    rules::Rule,
    srp::machine::{
        channel::{
            Channel,
            CloseReason,
            Disposition,
            Event as ChannelEvent,
            State as ChannelState, //
        },
        command::{
            Action,
            Event,
            Fact,
            State as CommandState, //
        },
        sendq::NoSlot, //
    },
    state::{
        CqPc,
        Drainer,
        Engine,
        Kind,
        Pc,
        Place,
        State,
        Teardown,
        What,
        Who,
        Wr, //
    },
    world::Config, //
};

/// What the engine says to a new command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Taken {
    /// It takes it.
    Yes,
    /// No memory, or something it does not know: the target answers.
    No,
}

impl State {
    /// Notes that a rule was broken; the first one counts.
    pub(crate) fn breaks(&mut self, rule: Rule) {
        self.broken.get_or_insert(rule);
    }

    /// Feeds an event to a command's machine (`step`): violations are errors of the driver.
    fn step(&mut self, i: usize, event: Event) -> Option<Action> {
        let action = self.cmds[i].machine.handle(event).ok();
        if action.is_none() {
            self.breaks(Rule::NoViolation);
        }
        action
    }

    /// Tells a command's machine what asks for nothing (`note`).
    fn note(&mut self, i: usize, fact: Fact) {
        if self.cmds[i].machine.note(fact).is_err() {
            self.breaks(Rule::NoViolation);
        }
    }

    /// `Channel::handle` and `Channel::execute`.
    pub(crate) fn channel_event(&mut self, cfg: &Config, event: ChannelEvent, who: Who) {
        let actions = self.chan.handle(event);
        if actions.start_teardown.is_some() {
            if cfg.mutant != Mutant::SendQueueStaysOpen {
                self.sendq.close();
            }
            self.check_quiet();
            self.teardowns += 1;
            self.note_reason();
        }
        let mut first_held = false;
        if actions.release_held_ius && cfg.mutant != Mutant::HeldForgotten {
            first_held = self.release_held(cfg, who);
        }
        if actions.start_teardown.is_some() && self.teardown == Teardown::None {
            // The same thread queues tear-down after it has let go of what was held.
            self.teardown = if first_held {
                Teardown::Pending
            } else {
                Teardown::Queued
            };
        }
    }

    /// `Channel::release_held`. Says whether the caller is inside `run_held` now.
    fn release_held(&mut self, cfg: &Config, who: Who) -> bool {
        if self.chan.state() != ChannelState::Live || self.held.is_empty() {
            return self.run_held(who);
        }
        if cfg.mutant != Mutant::EarlyNotBusy {
            self.busy += 1;
        }
        self.early = true;
        false
    }

    /// `WorkItem<EARLY>::run`, up to the first place without lock.
    pub(crate) fn run_early(&mut self) {
        if !self.run_held(Who::Early) {
            self.early = false;
            self.idle();
        }
    }

    /// Keeps what follows from the reason of the end, and forgets the reason: the machine does not
    /// look at it again. Channels that close for different reasons would be different states.
    fn note_reason(&mut self) {
        let reason = self.chan.close_reason();
        let blamed = matches!(
            reason,
            Some(CloseReason::ProtocolViolation | CloseReason::SpuriousResponse)
        );
        if blamed && !self.peer.rogue {
            self.breaks(Rule::HonestPeer);
        }
        // What the machine will decide when the tear-down begins, as its reason is forgotten here.
        let mut ahead = self.chan;
        ahead.accept();
        let farewell = ahead.begin_teardown();
        self.logout = farewell.send_logout.is_some();
        self.tell_peer = farewell.send_disconnect;
        let mut same = Channel::new();
        let _ = same.handle(ChannelEvent::Close(CloseReason::Disabled));
        if same.state() != self.chan.state() {
            return self.breaks(Rule::OneTeardown);
        }
        self.chan = same;
    }

    /// `Channel::close`.
    pub(crate) fn close(&mut self, cfg: &Config, reason: CloseReason, who: Who) {
        self.channel_event(cfg, ChannelEvent::Close(reason), who);
    }

    /// `Flow::check_quiet`.
    fn check_quiet(&mut self) {
        if self.sendq.is_closed() && self.sendq.is_idle() && self.busy == 0 {
            self.quiet = true;
        }
    }

    /// The drop of a `Busy`: `Flow::end_task`.
    pub(crate) fn idle(&mut self) {
        self.busy = self.busy.saturating_sub(1);
        self.check_quiet();
    }

    /// `Channel::next_command`: a command of the pool, and the caller is busy. Commands are alike.
    fn next_command(&mut self, cfg: &Config) -> Option<usize> {
        let free = (0..cfg.commands).rfind(|&i| self.cmds[i].place == Place::Pool)?;
        self.cmds[free].place = Place::Hand;
        if cfg.mutant != Mutant::NotBusy {
            self.busy += 1;
        }
        Some(free)
    }

    /// The completion of a receive: `Channel::recv_done` and `Channel::incoming`.
    pub(crate) fn receive(&mut self, cfg: &Config) {
        let Some(kind) = self.arrived.pop() else {
            // A flushed receive: `discard`, then close.
            self.posted -= 1;
            return self.close(cfg, CloseReason::QpError, Who::Cq);
        };
        let disposition = match cfg.mutant {
            Mutant::ProcessedEarly => Disposition::Process,
            _ => self.chan.iu_disposition(),
        };
        match disposition {
            // The buffer is freed.
            Disposition::Discard => {}
            Disposition::Process if self.in_order() => match self.next_command(cfg) {
                Some(i) => {
                    self.cmds[i].kind = kind;
                    self.cq = CqPc::Process(i as u8);
                }
                None => self.hold(cfg, kind),
            },
            Disposition::Hold | Disposition::Process => self.hold(cfg, kind),
        }
    }

    /// `Inner::in_order`.
    fn in_order(&self) -> bool {
        self.held.is_empty() && self.drainer.is_none()
    }

    /// `Inner::hold`, and what `incoming` does with its result.
    fn hold(&mut self, cfg: &Config, kind: Kind) {
        let room = match cfg.mutant {
            Mutant::HeldTooSmall => cfg.commands - 1,
            _ => cfg.commands,
        };
        if self.held.len() >= room {
            // Overflow.
            return self.close(cfg, CloseReason::ProtocolViolation, Who::Cq);
        }
        self.held.push(kind);
        self.run_held(Who::Cq);
    }

    /// `Channel::waits_for_confirmation` with the first part of `Channel::confirm`, whose time the
    /// reaper chooses.
    pub(crate) fn may_confirm(&self) -> bool {
        self.chan.state() == ChannelState::Connecting
            && self.cm
            && !self.held.is_empty()
            && !self.notified
    }

    /// `Channel::confirm`, up to the next place without lock.
    pub(crate) fn confirm(&mut self) {
        if self.confirming {
            // The connection manager reports it from a thread of its own.
            self.notified = true;
            self.confirming = false;
            self.idle();
        } else {
            self.busy += 1;
            self.confirming = true;
        }
    }

    /// `Channel::run_held`: its first part. Says whether the caller is inside now.
    pub(crate) fn run_held(&mut self, who: Who) -> bool {
        if self.drainer.is_some() || self.held.is_empty() {
            return false;
        }
        self.drainer = Some(Drainer { who, with: None });
        true
    }

    /// `Channel::run_held`: one round of its loop, up to the next place without lock.
    pub(crate) fn drain_held(&mut self, cfg: &Config, taken: Taken) {
        let Some(Drainer { who, with }) = self.drainer else {
            return;
        };
        if let Some(i) = with {
            self.drainer = Some(Drainer { who, with: None });
            return self.process(cfg, usize::from(i), taken, who);
        }
        // `Channel::next_held`.
        let next = match self.chan.iu_disposition() {
            _ if self.held.is_empty() => None,
            Disposition::Hold => None,
            Disposition::Discard => {
                self.held.pop();
                return;
            }
            Disposition::Process => self.next_command(cfg),
        };
        match next {
            Some(i) => {
                if let Some(kind) = self.held.pop() {
                    self.cmds[i].kind = kind;
                }
                self.drainer = Some(Drainer {
                    who,
                    with: Some(i as u8),
                });
            }
            None => {
                self.drainer = None;
                if who == Who::Early {
                    self.early = false;
                    self.idle();
                }
                if self.teardown == Teardown::Pending {
                    self.teardown = Teardown::Queued;
                }
            }
        }
    }

    /// `dispatch::process`, up to the hand-over to the engine, and the drop of its `Busy`. If the
    /// target itself answers, that is done by a thread of its own here, which drops the `Busy`.
    pub(crate) fn process(&mut self, cfg: &Config, i: usize, taken: Taken, who: Who) {
        let kind = self.cmds[i].kind;
        if self.chan.state() == ChannelState::Connecting {
            self.breaks(Rule::OnlyConfirmed);
        }
        let overrun = kind.consumes_credit() && self.credits.on_request().is_err();
        // `count`. What is to be said is posted by a thread of its own here.
        if kind.consumes_credit()
            && !overrun
            && self.wants_credit_request(cfg)
            && cfg.mutant != Mutant::LastCreditKept
        {
            self.send_notices(cfg);
        }
        match kind {
            Kind::Logout if !overrun => {
                self.close(cfg, CloseReason::Logout, who);
                self.recycle(cfg, i, who);
                self.idle();
            }
            Kind::Garbage | Kind::Logout => {
                self.break_off(cfg, i, CloseReason::ProtocolViolation, who);
            }
            Kind::CreditRsp => self.answered(cfg, i, 0, who),
            Kind::EventRsp => self.answered(cfg, i, 1, who),
            _ if overrun && cfg.mutant != Mutant::OverrunServed => {
                self.break_off(cfg, i, CloseReason::ProtocolViolation, who);
            }
            Kind::Table => {
                self.begin(i);
                self.cmds[i].busy = true;
                self.cmds[i].pc = Pc::TableStart;
            }
            _ => {
                self.begin(i);
                self.submit(i, taken);
                // A thread that is not busy is not waited for.
                if cfg.mutant == Mutant::NotBusy {
                    self.cmds[i].busy = false;
                }
            }
        }
    }

    /// `submit` and `manage`: the hand-over to the engine. The caller is busy; a thread that answers
    /// or abandons the command instead goes on to be.
    fn submit(&mut self, i: usize, taken: Taken) {
        let kind = self.cmds[i].kind;
        match taken {
            Taken::Yes if kind != Kind::Invalid && !self.stopped => {
                self.cmds[i].engine = Engine::Has;
                self.idle();
            }
            // `ShuttingDown`: `abandon`, which is `on_free`.
            _ if self.stopped && !matches!(kind, Kind::Invalid | Kind::Mgmt) => {
                self.cmds[i].busy = true;
                self.on_free(i);
            }
            _ => {
                self.cmds[i].busy = true;
                self.answer(i);
            }
        }
    }

    /// `Command::answer`, up to `send`.
    fn answer(&mut self, i: usize) {
        self.note(i, Fact::Refused);
        self.cmds[i].at_engine = false;
        self.cmds[i].pc = Pc::Answer;
    }

    /// `break_off`.
    pub(crate) fn break_off(&mut self, cfg: &Config, i: usize, reason: CloseReason, who: Who) {
        self.close(cfg, reason, who);
        self.recycle(cfg, i, who);
        self.idle();
    }

    /// `Command::begin`.
    fn begin(&mut self, i: usize) {
        match self.cmds[i].kind {
            Kind::Mgmt => self.note(i, Fact::StartMgmt),
            Kind::Table => {
                let _ = self.step(i, Event::StartTable);
            }
            _ => self.note(i, Fact::Start),
        }
        let cmd = &mut self.cmds[i];
        cmd.place = Place::Use;
        cmd.rx = true;
        cmd.rdma_slots = 0;
        cmd.at_engine = true;
        cmd.answered = false;
        cmd.aborted = false;
    }

    /// `Channel::recycle`.
    pub(crate) fn recycle(&mut self, cfg: &Config, i: usize, who: Who) {
        if self.cmds[i].place == Place::Pool || self.teardown >= Teardown::PoolFreed {
            self.breaks(Rule::NothingFreedInUse);
        }
        self.cmds[i].place = Place::Pool;
        if !self.held.is_empty() && cfg.mutant != Mutant::HeldNotResumed {
            self.run_held(who);
        }
    }

    /// `Link::repost`.
    fn repost(&mut self, cfg: &Config, i: usize) {
        self.cmds[i].rx = false;
        if cfg.mutant == Mutant::BufferLost {
            return;
        }
        if self.gate_closed {
            // The buffer is freed with the error.
            self.close(cfg, CloseReason::QpError, Who::Engine);
        } else {
            self.posted += 1;
        }
    }

    /// `Flow::release_rdma` and `Flow::release_response`.
    fn release_sends(&mut self, i: usize, rdma: u8, responses: u8) {
        let mut balanced = self.sendq.release_rdma(u32::from(rdma)).is_ok();
        for _ in 0..responses {
            balanced &= self.sendq.release_response().is_ok();
        }
        let (had_rdma, had_responses) = self.cmds[i].owes;
        match (
            had_rdma.checked_sub(rdma),
            had_responses.checked_sub(responses),
        ) {
            (Some(rdma), Some(responses)) if balanced => self.cmds[i].owes = (rdma, responses),
            _ => self.breaks(Rule::SendQueueBalanced),
        }
        self.check_quiet();
    }

    /// Posts a send (`QueuePair::launch`): what `in_flight` counts.
    pub(crate) fn post(&mut self, what: What, delta: u8, fail: bool) -> bool {
        if fail {
            self.faults -= 1;
        }
        if fail || self.gate_closed {
            return false;
        }
        if self.sends.iter().any(|wr| wr.what == what) {
            self.breaks(Rule::NothingFreedInUse);
            return false;
        }
        self.sends.push(Wr {
            what,
            delta,
            status: None,
        });
        true
    }

    // --- What the engine calls. ---

    /// `Command::rdy_to_xfer`, up to the reservation. Says whether anything was done: a full queue
    /// means that the engine calls again.
    pub(crate) fn rdy_to_xfer(&mut self, cfg: &Config, i: usize) -> bool {
        if self.cmds[i].kind == Kind::Immediate {
            self.cmds[i].engine = Engine::Data;
            let _ = self.step(i, Event::HasData);
            self.rx_data(i);
            return true;
        }
        let slots = cfg.rdma_slots;
        match self.sendq.reserve_rdma(slots) {
            Ok(()) => {
                self.cmds[i].engine = Engine::Data;
                self.cmds[i].owes.0 += slots as u8;
                self.cmds[i].pc = Pc::FetchReserved;
                true
            }
            Err(NoSlot::Full) => false,
            // A fatal error: the engine ends the command with CHECK CONDITION.
            Err(NoSlot::NeverFits | NoSlot::Closed) => {
                self.cmds[i].engine = Engine::Ready;
                true
            }
        }
    }

    /// `Command::xmit_response` and `task_mgmt_fn_done`, up to the reservation. Says whether
    /// anything was done.
    pub(crate) fn xmit_response(&mut self, cfg: &Config, i: usize) -> bool {
        let before = self.cmds[i].engine;
        self.cmds[i].engine = Engine::Answering;
        let rdma = match self.cmds[i].kind {
            Kind::Read => cfg.rdma_slots,
            _ => 0,
        };
        match self.reserve_response(i, rdma) {
            Ok(()) => true,
            Err(NoSlot::Full) => {
                self.cmds[i].engine = before;
                false
            }
            // Dead.
            Err(NoSlot::Closed | NoSlot::NeverFits) => {
                self.tgt_cmd_done(i);
                true
            }
        }
    }

    /// `Flow::reserve_response`.
    fn reserve_response(&mut self, i: usize, rdma: u32) -> Result<(), NoSlot> {
        if self.sendq.reserve_response().is_err() {
            return Err(NoSlot::Closed);
        }
        if let Err(e) = self.sendq.reserve_rdma(rdma) {
            let _ = self.sendq.release_response();
            return Err(e);
        }
        self.cmds[i].owes.0 += rdma as u8;
        self.cmds[i].owes.1 += 1;
        let _ = self.credits.add_returnable(1);
        self.cmds[i].delta = self.credits.take_delta() as u8;
        self.cmds[i].rdma_slots = rdma as u8;
        self.cmds[i].pc = Pc::SendReserved;
        Ok(())
    }

    /// The command goes on from where it is; `fail` makes a post fail.
    pub(crate) fn command_step(&mut self, cfg: &Config, i: usize, fail: bool) {
        match self.cmds[i].pc {
            Pc::Idle => {}

            // `Command::fetch` and `Command::post_read`.
            Pc::FetchReserved => {
                self.cmds[i].rdma_slots = self.cmds[i].owes.0;
                let _ = self.step(i, Event::RdyToXfer);
                self.cmds[i].pc = Pc::FetchStarted;
            }
            Pc::FetchStarted => {
                self.cmds[i].pc = match self.post(What::Read(i as u8), 0, fail) {
                    true => Pc::Idle,
                    false => Pc::FetchFailed,
                };
            }
            Pc::FetchFailed => {
                self.note(i, Fact::PostFailed);
                self.cmds[i].pc = Pc::FetchUndone;
            }
            Pc::FetchUndone => {
                let slots = core::mem::take(&mut self.cmds[i].rdma_slots);
                self.release_sends(i, slots, 0);
                self.cmds[i].pc = Pc::FetchReleased;
            }
            Pc::FetchReleased => {
                self.close(cfg, CloseReason::QpError, Who::Engine);
                self.cmds[i].engine = Engine::Ready;
                self.cmds[i].pc = Pc::Idle;
            }

            // `Command::start_table`.
            Pc::TableStart => match self.sendq.reserve_rdma(cfg.rdma_slots) {
                Ok(()) => {
                    self.cmds[i].owes.0 += cfg.rdma_slots as u8;
                    self.cmds[i].rdma_slots = cfg.rdma_slots as u8;
                    self.cmds[i].pc = Pc::TableReserved;
                }
                Err(_) => {
                    self.note(i, Fact::PostFailed);
                    self.answer(i);
                }
            },
            Pc::TableReserved => {
                self.cmds[i].pc = match self.post(What::Read(i as u8), 0, fail) {
                    true => {
                        self.leave_process(i);
                        Pc::Idle
                    }
                    false => Pc::TableFailed,
                };
            }
            Pc::TableFailed => {
                self.note(i, Fact::PostFailed);
                self.cmds[i].pc = Pc::TableUndone;
            }
            Pc::TableUndone => {
                let slots = core::mem::take(&mut self.cmds[i].rdma_slots);
                self.release_sends(i, slots, 0);
                self.close(cfg, CloseReason::QpError, Who::Engine);
                self.on_free(i);
            }

            // `Command::answer`, then `Command::send`.
            Pc::Answer => {
                if self.reserve_response(i, 0).is_err() {
                    self.on_free(i);
                }
            }
            Pc::SendReserved => {
                let wanted = self.step(i, Event::XmitResponse) == Some(Action::SendResponse);
                if wanted && self.cmds[i].aborted {
                    self.breaks(Rule::AbortedIsSilent);
                }
                self.cmds[i].pc = Pc::SendStarted { wanted };
            }
            Pc::SendStarted { wanted } => {
                if cfg.mutant != Mutant::RepostAfterSend && self.cmds[i].rx {
                    self.repost(cfg, i);
                }
                self.cmds[i].pc = Pc::SendReposted { wanted };
            }
            Pc::SendReposted { wanted } => {
                let delta = self.cmds[i].delta;
                let posted = wanted && self.post(What::Response(i as u8), delta, fail);
                if posted && cfg.mutant == Mutant::AnsweredTwice && self.sends.len() < 3 {
                    self.sends.push(Wr {
                        what: What::Response(i as u8),
                        delta: 0,
                        status: None,
                    });
                }
                self.cmds[i].pc = match (posted, wanted) {
                    (true, _) => {
                        self.cmds[i].delta = 0;
                        if cfg.mutant == Mutant::RepostAfterSend && self.cmds[i].rx {
                            self.repost(cfg, i);
                        }
                        self.leave_process(i);
                        if cfg.mutant == Mutant::ToldTwice {
                            self.tgt_cmd_done(i);
                        }
                        Pc::Idle
                    }
                    (false, true) => Pc::SendFailed,
                    (false, false) => Pc::SendClosed,
                };
            }
            Pc::SendFailed => {
                self.note(i, Fact::PostFailed);
                self.cmds[i].pc = Pc::SendUndone;
            }
            Pc::SendUndone => {
                self.close(cfg, CloseReason::QpError, Who::Engine);
                self.cmds[i].pc = Pc::SendClosed;
            }
            Pc::SendClosed => {
                let delta = core::mem::take(&mut self.cmds[i].delta);
                if cfg.mutant != Mutant::CreditsNotUndone {
                    let _ = self.credits.undo(i32::from(delta));
                }
                self.cmds[i].pc = Pc::SendReleasing;
            }
            Pc::SendReleasing => {
                let slots = core::mem::take(&mut self.cmds[i].rdma_slots);
                self.release_sends(i, slots, 1);
                if cfg.mutant != Mutant::UndoneKept {
                    self.send_notices(cfg);
                }
                self.cmds[i].pc = Pc::Idle;
                if self.cmds[i].at_engine {
                    self.tgt_cmd_done(i);
                } else {
                    self.on_free(i);
                }
            }

            // `Command::on_free`.
            Pc::Freeing { credit } => {
                if self.cmds[i].rx {
                    self.repost(cfg, i);
                }
                self.cmds[i].pc = Pc::FreedBuffer { credit };
            }
            Pc::FreedBuffer { credit } => {
                if credit && cfg.mutant != Mutant::CreditLost {
                    let _ = self.credits.add_returnable(1);
                    if cfg.mutant != Mutant::CreditKept {
                        self.send_notices(cfg);
                    }
                }
                self.cmds[i].pc = Pc::FreedCredit;
            }
            Pc::FreedCredit => {
                self.cmds[i].pc = Pc::Idle;
                self.recycle(cfg, i, Who::Engine);
                self.leave_process(i);
            }
        }
    }

    /// The end of `process` for an answer of the target itself.
    fn leave_process(&mut self, i: usize) {
        if core::mem::take(&mut self.cmds[i].busy) {
            self.idle();
        }
    }

    /// `Command::on_free`, up to the machine.
    pub(crate) fn on_free(&mut self, i: usize) {
        let action = self.step(i, Event::Freed);
        if action == Some(Action::Answer) {
            self.cmds[i].engine = Engine::None;
            self.cmds[i].at_engine = false;
            self.cmds[i].pc = Pc::Answer;
            return;
        }
        let credit = action
            == Some(Action::Recycle {
                return_credit: true,
            });
        if self.sends.iter().any(|wr| wr.what.cmd() == Some(i as u8)) {
            self.breaks(Rule::NothingFreedInUse);
        }
        self.cmds[i].engine = Engine::None;
        self.cmds[i].pc = Pc::Freeing { credit };
    }

    /// `Command::on_abort`.
    pub(crate) fn on_abort(&mut self, cfg: &Config, i: usize) {
        self.cmds[i].aborted |= matches!(
            self.cmds[i].machine.state(),
            CommandState::FetchingTable
                | CommandState::New
                | CommandState::Fetching
                | CommandState::Executing
        );
        if cfg.mutant != Mutant::AbortForgotten {
            self.note(i, Fact::Aborted);
        }
    }

    // --- What the engine is told. ---

    /// `Engine::rx_data`.
    fn rx_data(&mut self, i: usize) {
        if self.cmds[i].engine != Engine::Data {
            self.breaks(Rule::OneCompletion);
        }
        self.cmds[i].engine = Engine::Ready;
    }

    /// `Engine::tgt_cmd_done`.
    fn tgt_cmd_done(&mut self, i: usize) {
        if self.cmds[i].engine != Engine::Answering {
            self.breaks(Rule::OneCompletion);
        }
        self.cmds[i].engine = Engine::Done;
    }

    // --- Completions. ---

    /// The completion of a send: `CqeHandler::done`, its first lock, and `check`.
    pub(crate) fn send_completed(&mut self, cfg: &Config) {
        let Some(Wr {
            what,
            status: Some(ok),
            ..
        }) = self.sends.pop()
        else {
            return;
        };
        match what {
            What::Response(cmd) => {
                let i = usize::from(cmd);
                let _ = self.step(i, Event::SendDone { ok });
                if cfg.mutant == Mutant::CompletedTwice {
                    let _ = self.step(i, Event::SendDone { ok });
                }
                let slots = core::mem::take(&mut self.cmds[i].rdma_slots);
                self.cq = CqPc::Sent { cmd, slots };
            }
            What::Read(cmd) => {
                let i = usize::from(cmd);
                let action = self.step(i, Event::DataArrived { ok });
                let slots = core::mem::take(&mut self.cmds[i].rdma_slots);
                self.cq = match action {
                    Some(Action::Submit) => CqPc::Table {
                        cmd,
                        slots,
                        ok: true,
                    },
                    Some(Action::Abandon) => CqPc::Table {
                        cmd,
                        slots,
                        ok: false,
                    },
                    action => {
                        let ok = action == Some(Action::Execute);
                        CqPc::Read { cmd, slots, ok }
                    }
                };
            }
            // `Sender::done`.
            What::Credit => self.notices[0].sent(),
            What::Event => self.notices[1].sent(),
            What::Logout => {}
        }
        if !ok {
            self.close(cfg, CloseReason::QpError, Who::Cq);
        }
        if what.cmd().is_none() {
            self.send_notices(cfg);
        }
    }

    /// The completion handler goes on from where it is.
    pub(crate) fn completion_step(&mut self, cfg: &Config, taken: Taken) {
        let at = core::mem::replace(&mut self.cq, CqPc::Idle);
        match at {
            CqPc::Idle => {}
            CqPc::Process(cmd) => self.process(cfg, usize::from(cmd), taken, Who::Cq),
            CqPc::Sent { cmd, slots } => {
                let i = usize::from(cmd);
                if self.cmds[i].at_engine {
                    self.release_sends(i, slots, 1);
                    if cfg.mutant == Mutant::SlotsTwice {
                        self.release_sends(i, slots, 1);
                    }
                    self.cq = CqPc::Tell(cmd);
                } else {
                    // `give_back` has nothing to give: the response had it all.
                    if self.cmds[i].machine.holds_credit() || self.cmds[i].rx {
                        self.breaks(Rule::NoViolation);
                    }
                    self.release_sends(i, slots, 1);
                    self.recycle(cfg, i, Who::Cq);
                }
            }
            CqPc::Tell(cmd) => self.tgt_cmd_done(usize::from(cmd)),
            CqPc::Read { cmd, slots, ok } => {
                let slots = match cfg.mutant {
                    Mutant::SlotsLeak => slots.saturating_sub(1),
                    _ => slots,
                };
                self.release_sends(usize::from(cmd), slots, 0);
                self.cq = CqPc::Data { cmd, ok };
            }
            CqPc::Table { cmd, slots, ok } => {
                // `Hold::new`, then the release: tear-down does not come in between.
                self.busy += 1;
                self.release_sends(usize::from(cmd), slots, 0);
                self.cq = CqPc::Submit { cmd, ok };
            }
            CqPc::Submit { cmd, ok: true } => self.submit(usize::from(cmd), taken),
            CqPc::Submit { cmd, ok: false } => {
                self.cmds[usize::from(cmd)].busy = true;
                self.on_free(usize::from(cmd));
            }
            CqPc::Data { .. } if cfg.mutant == Mutant::DataNotTold => {}
            CqPc::Data { cmd, .. } => self.rx_data(usize::from(cmd)),
        }
    }

    /// Says whether the machine of a command is where the pool wants it.
    pub(crate) fn is_free(&self, i: usize) -> bool {
        self.cmds[i].machine.state() == CommandState::Free
    }
}
