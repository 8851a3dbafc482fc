// SPDX-License-Identifier: GPL-2.0
//! Sequences of events for the state machines, longer than any exploration can be.
//!
//! Two bytes are an event. Next to each machine runs an account of what it has asked for; the two
//! must agree after every event. How the machines work together is explored in `tests/model`.

use crate::srp::machine::{
    channel::{
        Actions,
        Channel,
        CloseReason,
        Disposition,
        Event as ChannelEvent,
        Farewell,
        State as ChannelState, //
    },
    command::{
        Action,
        Command,
        Event,
        Fact,
        State as CommandState, //
    },
    credit::Credits,
    notice::Notice,
    sendq::{
        NoSlot,
        SendQueue, //
    }, //
};

/// Feeds events to one machine of each kind. The first byte decides about sizes.
pub fn machines(data: &[u8]) {
    let Some((&sizes, data)) = data.split_first() else {
        return;
    };
    let limit = u32::from(sizes & 0x0f);
    let mut channel = ChannelAccount::default();
    let mut command = CommandAccount::default();
    let mut credits = CreditAccount::new(limit);
    let mut notice = NoticeAccount::new();
    let mut sendq = SendAccount::new(limit + u32::from(sizes >> 4), limit);
    for event in data.chunks_exact(2) {
        let (what, arg) = (event[0], event[1]);
        match what & 3 {
            0 => channel.event(arg),
            1 if what & 0x80 != 0 => notice.event(arg),
            1 => command.event(arg),
            2 => credits.event(what >> 2, arg),
            _ => {
                if let Some(sendq) = &mut sendq {
                    sendq.event(what >> 2, u32::from(arg));
                }
            }
        }
    }
}

struct ChannelAccount {
    machine: Channel,
    teardowns: u32,
    logouts: u32,
    disconnects: u32,
}

impl Default for ChannelAccount {
    fn default() -> Self {
        Self {
            machine: Channel::new(true),
            teardowns: 0,
            logouts: 0,
            disconnects: 0,
        }
    }
}

impl ChannelAccount {
    fn close(&mut self, reason: CloseReason) -> Actions {
        self.machine.handle(ChannelEvent::Close(reason))
    }

    fn event(&mut self, arg: u8) {
        let before = self.machine;
        let (mut actions, mut farewell) = (Actions::NONE, Farewell::default());
        match arg % 11 {
            0 => actions = self.machine.handle(ChannelEvent::Established),
            1 => actions = self.machine.handle(ChannelEvent::PeerDisconnected),
            2 => actions = self.machine.handle(ChannelEvent::PeerRejected),
            3 => actions = self.machine.handle(ChannelEvent::ConnectFailed),
            4 => actions = self.close(CloseReason::Disabled),
            5 => actions = self.close(CloseReason::ProtocolViolation),
            6 => farewell = self.machine.begin_teardown(),
            7 => self.machine.accept(),
            8 if self.machine.vouch() && arg & 0x80 != 0 => self.machine.vouch_failed(),
            8 => {}
            9 => {
                let _ = self.machine.iu_arrives();
            }
            _ => self.machine.drained(),
        }
        let now = &self.machine;
        self.teardowns += u32::from(actions.start_teardown.is_some());
        self.logouts += u32::from(farewell.send_logout.is_some());
        self.disconnects += u32::from(farewell.send_disconnect);
        assert!(now.state() >= before.state());
        let closing = now.state() >= ChannelState::Disconnecting;
        assert_eq!(self.teardowns, u32::from(closing));
        let begun = u32::from(now.state() >= ChannelState::Draining);
        assert!(self.disconnects <= begun && self.logouts <= begun);
        assert_eq!(now.close_reason().is_some(), closing);
        assert!(before.close_reason().is_none() || now.close_reason() == before.close_reason());
        let live = now.state() == ChannelState::Live;
        assert_eq!(now.iu_disposition() == Disposition::Process, live);
    }
}

struct CommandAccount {
    machine: Command,
    /// The credit of the request was given to a response, or made returnable.
    credit_given: bool,
    /// A response was not posted, and its credits were made returnable.
    unsent: bool,
}

impl Default for CommandAccount {
    fn default() -> Self {
        Self {
            machine: Command::new(),
            credit_given: true,
            unsent: false,
        }
    }
}

impl CommandAccount {
    fn event(&mut self, arg: u8) {
        match arg % 14 {
            0 => self.happens(Event::StartTable),
            1 => self.is_so(Fact::Start),
            2 => self.is_so(Fact::StartMgmt),
            3 => self.happens(Event::RdyToXfer),
            4 => self.happens(Event::HasData),
            5 => self.happens(Event::DataArrived { ok: true }),
            6 => self.happens(Event::DataArrived { ok: false }),
            7 => self.happens(Event::XmitResponse),
            8 => self.happens(Event::SendDone { ok: true }),
            9 => self.happens(Event::SendDone { ok: false }),
            10 => self.is_so(Fact::PostFailed),
            11 => self.is_so(Fact::Aborted),
            12 => self.is_so(Fact::Refused),
            _ => self.happens(Event::Freed),
        }
        assert_eq!(self.machine.holds_credit(), !self.credit_given);
    }

    fn starts(&mut self, before: Command) {
        assert_eq!(before.state(), CommandState::Free);
        assert!(self.credit_given);
        self.credit_given = false;
        self.unsent = false;
    }

    fn is_so(&mut self, fact: Fact) {
        let before = self.machine;
        if self.machine.note(fact).is_err() {
            assert_eq!(self.machine, before, "a violation changes nothing");
            return;
        }
        match fact {
            Fact::Start | Fact::StartMgmt => self.starts(before),
            Fact::PostFailed => self.unsent |= self.credit_given,
            Fact::Refused => assert!(!self.machine.is_at_engine()),
            Fact::Aborted => {}
        }
    }

    fn happens(&mut self, event: Event) {
        let before = self.machine;
        let Ok(action) = self.machine.handle(event) else {
            assert_eq!(self.machine, before, "a violation changes nothing");
            return;
        };
        match action {
            Action::FetchTable => self.starts(before),
            Action::SendResponse | Action::SkipResponse => {
                assert!(!self.credit_given || self.unsent);
                self.credit_given = true;
            }
            Action::Recycle { return_credit } => {
                assert_eq!(return_credit, !self.credit_given);
                let sent = matches!(event, Event::SendDone { .. });
                assert_eq!(before.state().on_wire(), sent);
                self.credit_given = true;
            }
            Action::Answer | Action::Complete { .. } => assert!(before.is_at_engine()),
            Action::Submit
            | Action::Abandon
            | Action::Fetch
            | Action::Execute
            | Action::FailData => {}
        }
    }
}

struct CreditAccount {
    machine: Credits,
    /// With the peer, in requests, returnable.
    parts: [u32; 3],
}

impl CreditAccount {
    fn new(limit: u32) -> Self {
        Self {
            machine: Credits::new(limit),
            parts: [limit, 0, 0],
        }
    }

    fn event(&mut self, what: u8, arg: u8) {
        let n = u32::from(arg & 0x0f);
        let [peer, requests, returnable] = self.parts;
        match what % 4 {
            0 => {
                assert_eq!(self.machine.on_request().is_ok(), peer > 0);
                if peer > 0 {
                    self.parts = [peer - 1, requests + 1, returnable];
                }
            }
            1 => {
                assert_eq!(self.machine.add_returnable(n).is_ok(), requests >= n);
                if requests >= n {
                    self.parts = [peer, requests - n, returnable + n];
                }
            }
            2 => {
                assert_eq!(i64::from(self.machine.take_delta()), i64::from(returnable));
                self.parts = [peer + returnable, requests, 0];
            }
            _ => {
                let wanted = u32::from(arg);
                let taken = wanted.min(peer);
                assert_eq!(self.machine.undo(arg.into()).is_ok(), taken == wanted);
                self.parts = [peer - taken, requests, returnable + taken];
            }
        }
        let m = &self.machine;
        assert_eq!([m.at_peer(), m.outstanding(), m.returnable()], self.parts);
        assert_eq!(self.parts.iter().sum::<u32>(), m.limit());
    }
}

/// A request of the target: its tag, whether it was sent, and whether it was answered.
struct NoticeAccount {
    machine: Notice,
    under_way: Option<(u64, bool, bool)>,
    wanted: bool,
    next_tag: u64,
}

impl NoticeAccount {
    fn new() -> Self {
        Self {
            machine: Notice::new(),
            under_way: None,
            wanted: false,
            next_tag: 1,
        }
    }

    fn event(&mut self, arg: u8) {
        match arg % 5 {
            0 => {
                self.machine.want();
                self.wanted = true;
            }
            1 => {
                let due = self.wanted && self.under_way.is_none();
                assert_eq!(self.machine.begin(self.next_tag), due);
                if due {
                    self.wanted = false;
                    self.under_way = Some((self.next_tag, false, false));
                    self.next_tag += 1;
                }
            }
            2 => {
                self.machine.sent();
                self.under_way = self
                    .under_way
                    .map(|(tag, _, answered)| (tag, true, answered));
            }
            // The answer to this one, the one before, the next.
            3 => {
                let tag = self.next_tag.saturating_sub(u64::from(arg / 5 % 3));
                let known = self
                    .under_way
                    .is_some_and(|(t, _, answered)| t == tag && !answered);
                assert_eq!(self.machine.answered(tag).is_ok(), known);
                if known {
                    self.under_way = self.under_way.map(|(tag, sent, _)| (tag, sent, true));
                }
            }
            _ => {
                self.machine.post_failed();
                self.under_way = None;
            }
        }
        if let Some((_, true, true)) = self.under_way {
            self.under_way = None;
        }
        assert_eq!(
            self.machine.is_due(),
            self.wanted && self.under_way.is_none()
        );
    }
}

struct SendAccount {
    machine: SendQueue,
    commands: u32,
    rdma: u32,
    responses: u32,
    /// Size of the largest transfer that waits.
    waits: u32,
}

impl SendAccount {
    fn new(total: u32, commands: u32) -> Option<Self> {
        let machine = SendQueue::new(total, commands);
        assert_eq!(machine.is_ok(), total > commands);
        Some(Self {
            machine: machine.ok()?,
            commands,
            rdma: 0,
            responses: 0,
            waits: 0,
        })
    }

    fn event(&mut self, what: u8, n: u32) {
        let limit = self.machine.rdma_limit();
        let closed = self.machine.is_closed();
        match what % 5 {
            0 => {
                let expected = match n {
                    _ if closed => Err(NoSlot::Closed),
                    n if n > limit => Err(NoSlot::NeverFits),
                    0 => Ok(()),
                    n if self.rdma + n > limit => Err(NoSlot::Full),
                    n if self.rdma != 0 && self.waits > n && self.rdma + n + self.waits > limit => {
                        Err(NoSlot::Full)
                    }
                    _ => Ok(()),
                };
                match expected {
                    Err(NoSlot::Full) => self.waits = self.waits.max(n),
                    Ok(()) if n != 0 && (self.rdma == 0 || n >= self.waits) => self.waits = 0,
                    _ => {}
                }
                assert_eq!(self.machine.reserve_rdma(n), expected);
                self.rdma += if expected.is_ok() { n } else { 0 };
            }
            1 => {
                assert_eq!(self.machine.release_rdma(n).is_ok(), n <= self.rdma);
                self.rdma -= if n <= self.rdma { n } else { 0 };
            }
            2 => {
                let room = !closed && self.responses < self.commands;
                assert_eq!(self.machine.reserve_response().is_ok(), room);
                self.responses += u32::from(room);
            }
            3 => {
                let some = self.responses > 0;
                assert_eq!(self.machine.release_response().is_ok(), some);
                self.responses -= u32::from(some);
            }
            // Seldom, or nothing else is tried.
            _ if n == 0 => self.machine.close(),
            _ => {}
        }
        assert_eq!(self.machine.outstanding(), self.rdma + self.responses);
        assert_eq!(self.machine.is_idle(), self.rdma + self.responses == 0);
    }
}
