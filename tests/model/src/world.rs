// SPDX-License-Identifier: GPL-2.0
//! The world around the channel: what the peer, the wire, the connection manager, the engine and
//! the administrator may do, and the model as stateright sees it.
//!
//! Whenever something may happen in more than one way, or now or later, both are explored. What
//! the driver does about it is in `driver`.

use stateright::{
    Model,
    Property, //
};

use crate::{
    driver::Taken,
    mutants::Mutant,
    rules::{
        self,
        Rule, //
    },
    srp::machine::{
        channel::{
            Channel,
            CloseReason,
            Event as ChannelEvent,
            State as ChannelState, //
        },
        command::{
            Command,
            State as CommandState, //
        },
        credit::Credits,
        notice::Notice,
        sendq::SendQueue, //
    },
    state::{
        Cmd,
        CqPc,
        Engine,
        Fifo,
        Kind,
        Login,
        Pc,
        Peer,
        Place,
        State,
        Teardown,
        What,
        Who, //
    }, //
};

/// What is explored: the bound.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// The request limit.
    pub(crate) limit: usize,
    /// Commands and receive buffers: as many as the limit, and one for each kind of answer to a
    /// request of the target.
    pub(crate) commands: usize,
    /// The target asks for credits to be taken back, and the peer answers.
    pub(crate) notices: bool,
    /// The peer is known to listen to such requests.
    pub(crate) listens: bool,
    /// Logical units change, and the peer is told.
    pub(crate) events: bool,
    /// What the peer sends, in any order and any number.
    pub(crate) kinds: &'static [Kind],
    /// Slots of the send queue, and how many of them a transfer takes.
    pub(crate) sendq: u32,
    pub(crate) rdma_slots: u32,
    /// Posts and work requests that fail although the connection works, at most.
    pub(crate) faults: u8,
    /// How many commands at a time the engine may have aborted.
    pub(crate) aborts: usize,
    /// The engine may refuse commands.
    pub(crate) refusals: bool,
    /// The peer may send one request without having a credit.
    pub(crate) overrun: bool,
    /// The wire may be cut, the peer may disconnect or refuse.
    pub(crate) ends: bool,
    /// The administrator closes, too, which the peer is told with a logout.
    pub(crate) logouts: bool,
    /// Threads that are busy with a command outside completions wait for each other. Keeps larger
    /// channels small enough.
    pub(crate) in_turn: bool,
    /// The connection starts confirmed: logins are left out.
    pub(crate) connected: bool,
    pub(crate) mutant: Mutant,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The login handler accepts the connection.
    Accept { ok: bool },
    /// It lets go of the channel.
    SetUp,
    /// The peer sends.
    Send(Kind),
    /// The peer answers a request of the target.
    Answer(Kind),
    /// A logical unit changes.
    LunsChanged,
    /// A request of the target is posted; that may fail.
    Notice { notice: u8, fail: bool },
    /// The peer disconnects.
    Disconnect,
    /// The peer refuses the connection instead of confirming it.
    Reject,
    /// The connection manager gives up.
    Unreachable,
    /// The peer's confirmation arrives, or the first message stands for it.
    Established,
    /// The reaper takes the first message for the confirmation.
    Confirm,
    /// The connection manager reports that the peer has disconnected or answered.
    Disconnected,
    /// Somebody closes the channel.
    Close(CloseReason),
    /// The wire is cut: the queue pair goes to error state.
    Cut,
    /// The next posted send is carried out.
    Wire { ok: bool },
    /// The completion of a receive is handled.
    Receive,
    /// The completion of a send is handled.
    Completion,
    /// The completion handler goes on.
    Cq(Taken),
    /// The worker for what came before the confirmation begins.
    Early,
    /// Who processes what was held goes on.
    Drain(Taken),
    /// The engine asks for data.
    Fetch(u8),
    /// The engine wants the response sent.
    Respond(u8),
    /// The engine lets go of a command.
    Free(u8),
    /// The engine aborts a command.
    Abort(u8),
    /// A thread goes on with a command; its post may fail.
    Command { cmd: u8, fail: bool },
    /// Tear-down goes on.
    Teardown,
}

impl Step {
    /// Whether it is sure to happen as long as it can: the system's own progress, in contrast to
    /// what the world may do or leave.
    pub(crate) fn is_progress(self) -> bool {
        match self {
            Self::Accept { ok } | Self::Wire { ok } => ok,
            Self::Command { fail, .. } | Self::Notice { fail, .. } => !fail,
            Self::SetUp
            | Self::Answer(_)
            | Self::Established
            | Self::Confirm
            | Self::Receive
            | Self::Completion
            | Self::Cq(_)
            | Self::Early
            | Self::Drain(_)
            | Self::Fetch(_)
            | Self::Respond(_)
            | Self::Free(_)
            | Self::Teardown => true,
            Self::Send(_)
            | Self::LunsChanged
            | Self::Disconnect
            | Self::Reject
            | Self::Unreachable
            | Self::Disconnected
            | Self::Close(_)
            | Self::Cut
            | Self::Abort(_) => false,
        }
    }
}

impl Config {
    fn initial(&self) -> State {
        let cmd = |i| Cmd {
            machine: Command::new(),
            place: if i < self.commands {
                Place::Pool
            } else {
                Place::Freed
            },
            kind: Kind::Plain,
            rx: false,
            rdma_slots: 0,
            at_engine: false,
            engine: Engine::None,
            pc: Pc::Idle,
            busy: false,
            delta: 0,
            owes: (0, 0),
            answered: false,
            aborted: false,
        };
        let limit = self.limit as u32;
        let responses = match self.mutant {
            Mutant::SlotPerCredit => limit,
            _ => self.commands as u32,
        };
        let mut state = State {
            chan: Channel::new(),
            credits: Credits::new(limit),
            sendq: SendQueue::new(self.sendq, responses).expect("a send queue with room for RDMA"),
            held: Fifo::new(),
            drainer: None,
            early: false,
            busy: 0,
            accepted: self.connected,
            quiet: false,
            cmds: core::array::from_fn(cmd),
            notices: [Notice::new(); 2],
            posting: [None; 2],
            cq: CqPc::Idle,
            login: if self.connected {
                Login::Done
            } else {
                Login::BringUp
            },
            teardown: Teardown::None,
            stopped: false,
            qp_error: false,
            gate_closed: false,
            posted: self.commands as u8,
            arrived: Fifo::new(),
            sends: Fifo::new(),
            cm: true,
            rtu: self.connected,
            notified: false,
            confirming: false,
            disconnect_pending: false,
            tell_peer: false,
            logout: false,
            peer: Peer {
                up: self.connected,
                credits: self.limit as i8,
                rogue: false,
                owes: [false; 2],
            },
            faults: self.faults,
            teardowns: 0,
            broken: None,
        };
        if self.connected {
            state.channel_event(self, ChannelEvent::Established, Who::Cm);
        }
        state
    }

    /// What the peer may do.
    fn peer(&self, s: &State, out: &mut Vec<Step>) {
        if s.peer.up && !s.qp_error && s.posted > 0 {
            for &kind in self.kinds {
                let spends = kind.consumes_credit();
                let overruns = self.overrun && s.peer.credits == 0;
                if !spends || s.peer.credits > 0 || overruns {
                    out.push(Step::Send(kind));
                }
            }
            for (owes, kind) in s
                .peer
                .owes
                .into_iter()
                .zip([Kind::CreditRsp, Kind::EventRsp])
            {
                if owes {
                    out.push(Step::Answer(kind));
                }
            }
        }
        if self.ends && s.peer.up {
            out.push(Step::Disconnect);
        }
    }

    /// What the connection manager may report. It does so from one thread, after the login handler.
    fn connection(&self, s: &State, out: &mut Vec<Step>) {
        let free = s.drainer.is_none_or(|d| d.who != Who::Cm);
        if !s.cm || s.login != Login::Done || !s.accepted || !free {
            return;
        }
        if !s.rtu && (s.peer.up || s.notified) {
            out.push(Step::Established);
        }
        if self.ends && !s.rtu && s.chan.state() == ChannelState::Connecting {
            out.push(Step::Unreachable);
            if s.peer.up {
                out.push(Step::Reject);
            }
        }
        if s.disconnect_pending {
            out.push(Step::Disconnected);
        }
    }

    /// What the engine may do with a command; see the contract in `src/engine.rs`.
    fn engine(&self, s: &State, i: usize, out: &mut Vec<Step>) {
        let cmd = &s.cmds[i];
        let id = i as u8;
        let aborted = cmd.machine.is_aborted();
        // While the table is being fetched, a task management request aborts the command.
        let known = !matches!(cmd.engine, Engine::None | Engine::Done)
            || cmd.machine.state() == CommandState::FetchingTable;
        let others = s.cmds.iter().filter(|cmd| cmd.machine.is_aborted()).count();
        if others < self.aborts && known && !aborted && cmd.kind != Kind::Mgmt {
            out.push(Step::Abort(id));
        }
        if cmd.pc != Pc::Idle {
            return;
        }
        match cmd.engine {
            Engine::None | Engine::Data | Engine::Answering => {}
            Engine::Has | Engine::Ready => {
                let write = matches!(cmd.kind, Kind::Write | Kind::Immediate | Kind::Table);
                if write && cmd.engine == Engine::Has && !aborted {
                    out.push(Step::Fetch(id));
                }
                out.push(Step::Respond(id));
                if aborted {
                    out.push(Step::Free(id));
                }
            }
            Engine::Done => out.push(Step::Free(id)),
        }
    }

    /// What the threads of the target may do.
    fn target(&self, s: &State, out: &mut Vec<Step>) {
        match s.login {
            Login::BringUp => {
                out.push(Step::Accept { ok: true });
                if self.faults > 0 {
                    out.push(Step::Accept { ok: false });
                }
            }
            Login::Accepted => out.push(Step::SetUp),
            Login::Done => {}
        }
        let handler_free = s.drainer.is_none_or(|d| d.who != Who::Cq);
        if s.cq != CqPc::Idle {
            // `process` may lead into `run_held`, which is the same thread.
            if handler_free {
                self.with_answers(s.cq_command(), s, out, Step::Cq);
            }
        } else if handler_free {
            if !s.arrived.is_empty() || (s.qp_error && s.posted > 0) {
                out.push(Step::Receive);
            }
            if s.sends.first().is_some_and(|wr| wr.status.is_some()) {
                out.push(Step::Completion);
            }
        }
        if s.confirming || s.may_confirm() {
            out.push(Step::Confirm);
        }
        if s.early && s.drainer.is_none_or(|d| d.who != Who::Early) {
            out.push(Step::Early);
        }
        if let Some(drainer) = s.drainer {
            self.with_answers(drainer.with, s, out, Step::Drain);
        }
        for i in 0..self.commands {
            if s.cmds[i].pc == Pc::Idle {
                continue;
            }
            let cmd = i as u8;
            out.push(Step::Command { cmd, fail: false });
            let posts = matches!(
                s.cmds[i].pc,
                Pc::FetchStarted | Pc::TableReserved | Pc::SendReposted { wanted: true }
            );
            if posts && s.faults > 0 && !s.gate_closed {
                out.push(Step::Command { cmd, fail: true });
            }
            if self.in_turn {
                break;
            }
        }
        for notice in 0..2 {
            if s.posting[usize::from(notice)].is_some() {
                out.push(Step::Notice {
                    notice,
                    fail: false,
                });
                if s.faults > 0 && !s.gate_closed {
                    out.push(Step::Notice { notice, fail: true });
                }
            }
        }
        if self.events && s.is_open() && s.login == Login::Done {
            out.push(Step::LunsChanged);
        }
        if s.teardown_ready(self) {
            out.push(Step::Teardown);
        }
    }

    /// A step that may hand a request to the engine, which may refuse it.
    fn with_answers(
        &self,
        cmd: Option<u8>,
        s: &State,
        out: &mut Vec<Step>,
        step: fn(Taken) -> Step,
    ) {
        out.push(step(Taken::Yes));
        let refusable = cmd.is_some_and(|i| {
            !matches!(
                s.cmds[usize::from(i)].kind,
                Kind::Invalid | Kind::Logout | Kind::Garbage | Kind::CreditRsp | Kind::EventRsp
            )
        });
        if self.refusals && refusable {
            out.push(step(Taken::No));
        }
    }

    /// The peer sends something.
    fn send(&self, s: &mut State, kind: Kind) {
        if kind.consumes_credit() {
            s.peer.credits -= 1;
        }
        match kind {
            Kind::CreditRsp => s.peer.rogue |= !core::mem::take(&mut s.peer.owes[0]),
            Kind::EventRsp => s.peer.rogue |= !core::mem::take(&mut s.peer.owes[1]),
            Kind::Garbage => s.peer.rogue = true,
            _ => s.peer.rogue |= s.peer.credits < 0,
        }
        s.posted -= 1;
        s.arrived.push(kind);
    }

    /// The next posted send is carried out, or fails.
    fn wire(&self, s: &mut State, ok: bool) {
        let failed = !ok || s.qp_error;
        if !failed {
            let next = s.sends.iter().find(|wr| wr.status.is_none());
            if let Some(wr) = next {
                s.peer.credits += wr.delta as i8;
                match wr.what {
                    What::Response(cmd) => {
                        let cmd = &mut s.cmds[usize::from(cmd)];
                        if core::mem::replace(&mut cmd.answered, true) {
                            s.breaks(Rule::OneAnswer);
                        }
                    }
                    What::Credit => s.peer.owes[0] = true,
                    What::Event => s.peer.owes[1] = true,
                    What::Read(_) | What::Logout => {}
                }
            }
        } else if !s.qp_error {
            if s.peer.up {
                s.faults -= 1;
            }
            s.qp_error = true;
        }
        if let Some(wr) = s.sends.iter_mut().find(|wr| wr.status.is_none()) {
            wr.status = Some(!failed);
        }
    }

    /// The engine lets go of a command.
    fn free(&self, s: &mut State, i: usize) {
        let cmd = &s.cmds[i];
        let open = s.chan.state() <= ChannelState::Live && !s.qp_error;
        if open && !cmd.answered && !cmd.machine.is_aborted() && cmd.engine == Engine::Done {
            // It was not sent, so the channel must be closing by now.
            s.breaks(Rule::OneAnswer);
        }
        s.on_free(i);
    }
}

impl State {
    /// The command the completion handler is about to process.
    fn cq_command(&self) -> Option<u8> {
        match self.cq {
            CqPc::Process(i) | CqPc::Submit { cmd: i, ok: true } => Some(i),
            _ => None,
        }
    }

    /// Whether an event may still end the channel.
    pub(crate) fn is_open(&self) -> bool {
        self.chan.state() <= ChannelState::Live
    }
}

impl Model for Config {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, s: &State, out: &mut Vec<Step>) {
        if s.broken.is_some() || s.teardown == Teardown::End {
            return;
        }
        self.peer(s, out);
        self.connection(s, out);
        if self.ends && s.is_open() {
            if self.logouts {
                out.push(Step::Close(CloseReason::Disabled));
            }
            if !self.connected {
                out.push(Step::Close(CloseReason::DeviceRemoved));
            }
            if !s.qp_error {
                out.push(Step::Cut);
            }
        }
        // A queue pair in error state is noticed, if by nothing else, by the reaper.
        if s.is_open() && s.qp_error {
            out.push(Step::Close(CloseReason::QpError));
        }
        if s.is_open() && s.chan.state() == ChannelState::Connecting && s.login == Login::Done {
            out.push(Step::Close(CloseReason::ConnectTimeout));
        }
        if s.sends.iter().any(|wr| wr.status.is_none()) {
            if s.qp_error || !s.peer.up {
                out.push(Step::Wire { ok: false });
            } else {
                out.push(Step::Wire { ok: true });
                if s.faults > 0 {
                    out.push(Step::Wire { ok: false });
                }
            }
        }
        for i in 0..self.commands {
            self.engine(s, i, out);
        }
        self.target(s, out);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut next = *last;
        let s = &mut next;
        match step {
            Step::Accept { ok } => {
                s.accepted = true;
                s.peer.up = ok;
                s.login = Login::Accepted;
                if !ok {
                    s.close(self, CloseReason::ConnectFailed, Who::Closer);
                }
            }
            Step::SetUp => s.login = Login::Done,
            Step::Send(kind) | Step::Answer(kind) => self.send(s, kind),
            Step::LunsChanged => {
                s.notices[1].want();
                s.send_notices(self);
            }
            Step::Notice { notice, fail } => s.post_notice(self, usize::from(notice), fail),
            Step::Disconnect => {
                s.peer.up = false;
                s.disconnect_pending = true;
            }
            Step::Reject => {
                s.peer.up = false;
                s.rtu = true;
                s.channel_event(self, ChannelEvent::PeerRejected, Who::Cm);
            }
            Step::Unreachable => {
                s.peer.up = false;
                s.rtu = true;
                s.channel_event(self, ChannelEvent::ConnectFailed, Who::Cm);
            }
            Step::Established => {
                s.rtu = true;
                s.channel_event(self, ChannelEvent::Established, Who::Cm);
            }
            Step::Confirm => s.confirm(),
            Step::Disconnected => {
                s.disconnect_pending = false;
                s.channel_event(self, ChannelEvent::PeerDisconnected, Who::Cm);
            }
            Step::Close(reason) => s.close(self, reason, Who::Closer),
            Step::Cut => s.qp_error = true,
            Step::Wire { ok } => self.wire(s, ok),
            Step::Receive => s.receive(self),
            Step::Completion => s.send_completed(self),
            Step::Cq(taken) => s.completion_step(self, taken),
            Step::Early => s.run_early(),
            Step::Drain(taken) => s.drain_held(self, taken),
            Step::Fetch(i) => {
                if !s.rdy_to_xfer(self, usize::from(i)) {
                    return None;
                }
            }
            Step::Respond(i) => {
                if !s.xmit_response(self, usize::from(i)) {
                    return None;
                }
            }
            Step::Free(i) => self.free(s, usize::from(i)),
            Step::Abort(i) => s.on_abort(self, usize::from(i)),
            Step::Command { cmd, fail } => s.command_step(self, usize::from(cmd), fail),
            Step::Teardown => s.teardown_step(self),
        }
        if next == *last {
            return None;
        }
        next.broken = rules::broken(&next, self);
        next.simplify(self.commands);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every rule holds", |_, s: &State| {
            s.broken.is_none()
        })]
    }
}
