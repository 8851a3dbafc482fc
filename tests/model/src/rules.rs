// SPDX-License-Identifier: GPL-2.0
//! The rules: what must hold in every state that can be reached.
//!
//! A rule about single steps (nothing is completed twice, say) is checked where the step is taken,
//! in `driver`; the state then carries the broken rule. The two rules about the future, `Ends` and
//! `CalmDown`, are checked on the finished graph of states, in `graph`.

use crate::{
    srp::machine::{
        channel::State as ChannelState,
        notice::Notice, //
    },
    state::{
        CqPc,
        Engine,
        Login,
        Pc,
        Place,
        State,
        Teardown,
        What,
        Wr, //
    },
    world::Config, //
};

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// `at_peer + outstanding + returnable` is the limit, always.
    Conserved,
    /// On an open channel, `outstanding` is the number of requests that hold their credit.
    Outstanding,
    /// On an open channel, the target's idea of the peer's credits is right: they are with the
    /// peer, on the way to it, or came back with a request that was not looked at yet.
    EndToEnd,
    /// On an open channel no receive buffer is lost: there are as many as the limit, and one for the
    /// answer to each request of the target that may be under way.
    Buffers,
    /// For every credit the peer has or is about to get, a receive buffer is posted.
    BufferPerCredit,
    /// A peer that keeps to the rules is never told that it broke them.
    HonestPeer,
    /// The engine is told of the end of each command and of each transfer once, and only if it
    /// waits for it.
    OneCompletion,
    /// No machine gets an event that is not possible in its state.
    NoViolation,
    /// On an open channel, a command that was not aborted ends with a response, and with one only.
    OneAnswer,
    /// A command that was aborted before its response was begun sends none.
    AbortedIsSilent,
    /// No request is acted on before the connection is confirmed.
    OnlyConfirmed,
    /// Slots of the send queue are given back once, and all; it never holds more than fit.
    SendQueueBalanced,
    /// Nothing is freed or used again while a work request, a thread or the engine refers to it.
    NothingFreedInUse,
    /// Once tear-down has waited for it, the channel is quiet for good.
    StaysQuiet,
    /// Tear-down is begun once, and those who wait for it are woken up once, at its end.
    OneTeardown,
    /// At the end, nothing is left behind.
    NothingLeft,
    /// While nobody but the engine has anything to do on an open channel, no credit is kept that the
    /// peer may be waiting for.
    NotStarved,
    /// A peer that may not listen to credit requests gets one only when nothing else is going to carry
    /// credits: no request is outstanding.
    LastResort,
    /// Once a channel closes, every path leads to its end, whatever the peer, the wire and the
    /// engine do.
    Ends,
    /// An open channel to which nothing more happens comes to rest, with every request answered
    /// and no credit kept that the peer may be waiting for.
    CalmDown,
}

/// The first rule that the state breaks.
pub(crate) fn broken(s: &State, cfg: &Config) -> Option<Rule> {
    type Holds = fn(&State, &Config) -> bool;
    let rules: [(Rule, Holds); 11] = [
        (Rule::Conserved, conserved),
        (Rule::Outstanding, outstanding),
        (Rule::EndToEnd, end_to_end),
        (Rule::Buffers, buffers),
        (Rule::BufferPerCredit, buffer_per_credit),
        (Rule::SendQueueBalanced, send_queue),
        (Rule::NothingFreedInUse, nothing_freed_in_use),
        (Rule::StaysQuiet, stays_quiet),
        (Rule::OneTeardown, one_teardown),
        (Rule::NothingLeft, nothing_left),
        (Rule::NotStarved, not_starved),
    ];
    let broken = rules.into_iter().find(|(_, holds)| !holds(s, cfg));
    s.broken.or(broken.map(|(rule, _)| rule))
}

/// Whether the channel is open and the queue pair works: promises to the peer count.
fn open(s: &State) -> bool {
    s.chan.state() <= ChannelState::Live && !s.qp_error
}

fn conserved(s: &State, cfg: &Config) -> bool {
    let sum = s.credits.at_peer() + s.credits.outstanding() + s.credits.returnable();
    sum == s.credits.limit() && s.credits.limit() == cfg.limit as u32
}

/// Commands that are to give their request's credit back.
fn credit_holders(s: &State, cfg: &Config) -> usize {
    (0..cfg.commands)
        .filter(|&i| match s.cmds[i].pc {
            // The credit is in the delta already, or is made returnable next.
            Pc::SendReserved => false,
            Pc::Freeing { credit } | Pc::FreedBuffer { credit } => credit,
            _ => s.cmds[i].machine.holds_credit(),
        })
        .count()
}

fn outstanding(s: &State, cfg: &Config) -> bool {
    // A post that failed has given the credit back and not yet closed the channel.
    let failing = (0..cfg.commands).any(|i| s.cmds[i].pc == Pc::SendUndone);
    !open(s) || failing || s.credits.outstanding() as usize == credit_holders(s, cfg)
}

/// Credits in responses on their way to the peer.
fn travelling(s: &State) -> i64 {
    let sent = s.sends.iter().filter(|wr| wr.status.is_none());
    sent.map(|wr| i64::from(wr.delta)).sum()
}

fn end_to_end(s: &State, cfg: &Config) -> bool {
    let in_hand = s.cmds[..cfg.commands]
        .iter()
        .map(|cmd| i64::from(cmd.delta))
        .chain(s.posting.into_iter().flatten().map(i64::from));
    let unseen = s.arrived.iter().chain(s.held.iter()).chain(in_process(s));
    let unseen = unseen.filter(|kind| kind.consumes_credit()).count() as i64;
    let known = i64::from(s.peer.credits) + travelling(s) + in_hand.sum::<i64>() + unseen;
    !open(s) || i64::from(s.credits.at_peer()) == known
}

/// What somebody has taken in hand and not looked at.
fn in_process(s: &State) -> impl Iterator<Item = crate::state::Kind> + '_ {
    let cq = match s.cq {
        CqPc::Process(i) => Some(i),
        _ => None,
    };
    let drainer = s.drainer.and_then(|d| d.with);
    let taken = cq.into_iter().chain(drainer);
    taken.map(|i| s.cmds[usize::from(i)].kind)
}

fn buffers(s: &State, cfg: &Config) -> bool {
    let with_commands = s.cmds[..cfg.commands].iter().filter(|cmd| cmd.rx).count();
    let all = usize::from(s.posted)
        + s.arrived.len()
        + s.held.len()
        + in_process(s).count()
        + with_commands;
    !open(s) || all == cfg.commands
}

/// Requests of the target that the peer has, and has not answered.
fn owed_answers(s: &State) -> usize {
    s.peer.owes.into_iter().filter(|&owes| owes).count()
}

fn buffer_per_credit(s: &State, _: &Config) -> bool {
    // The peer will answer the target's requests, too.
    let asked = |wr: &Wr| wr.status.is_none() && matches!(wr.what, What::Credit | What::Event);
    let asked = s.sends.iter().filter(asked).count() + owed_answers(s);
    let promised = i64::from(s.peer.credits) + travelling(s) + asked as i64;
    !open(s) || s.peer.rogue || i64::from(s.posted) >= promised
}

fn send_queue(s: &State, cfg: &Config) -> bool {
    let owed = s.cmds[..cfg.commands]
        .iter()
        .map(|cmd| u32::from(cmd.owes.0) + u32::from(cmd.owes.1));
    let owed: u32 = owed.sum();
    owed == s.sendq.outstanding() && owed <= cfg.sendq
}

/// A thread or a work request that refers to the command.
fn referred_to(s: &State, i: usize) -> bool {
    let cq = match s.cq {
        CqPc::Idle => None,
        CqPc::Process(cmd) | CqPc::Tell(cmd) => Some(cmd),
        CqPc::Sent { cmd, .. } | CqPc::Read { cmd, .. } | CqPc::Data { cmd, .. } => Some(cmd),
        CqPc::Table { cmd, .. } | CqPc::Submit { cmd, .. } => Some(cmd),
    };
    let drainer = s.drainer.and_then(|d| d.with);
    let wire = s.sends.iter().filter_map(|wr| wr.what.cmd());
    wire.chain(cq)
        .chain(drainer)
        .any(|cmd| usize::from(cmd) == i)
        || s.cmds[i].pc != Pc::Idle
        || s.cmds[i].engine != Engine::None
}

fn nothing_freed_in_use(s: &State, cfg: &Config) -> bool {
    let commands = (0..cfg.commands).all(|i| match s.cmds[i].place {
        Place::Pool | Place::Freed => s.is_free(i) && !s.cmds[i].rx && !referred_to(s, i),
        Place::Hand => s.is_free(i) && referred_to(s, i) && s.teardown < Teardown::PoolFreed,
        // A command in use and a thread that works with it hold the channel and the queue pair.
        Place::Use => s.teardown < Teardown::PoolFreed,
    });
    let qp = s.teardown < Teardown::Drained
        || (s.sends.is_empty() && s.posted == 0 && s.arrived.is_empty() && s.cq == CqPc::Idle);
    commands && qp
}

fn stays_quiet(s: &State, _: &Config) -> bool {
    s.teardown < Teardown::Quiet || (s.sendq.is_closed() && s.sendq.is_idle() && s.busy == 0)
}

fn one_teardown(s: &State, _: &Config) -> bool {
    let closing = s.chan.state() >= ChannelState::Disconnecting;
    s.teardowns == u8::from(closing)
        && (s.teardown != Teardown::None) == closing
        && (s.chan.state() >= ChannelState::Draining) == (s.teardown >= Teardown::Begun)
        && (s.chan.state() == ChannelState::Disconnected) == (s.teardown >= Teardown::SessionClosed)
}

fn nothing_left(s: &State, cfg: &Config) -> bool {
    s.teardown != Teardown::End
        || (s.chan.state() == ChannelState::Disconnected
            && s.held.is_empty()
            && s.drainer.is_none()
            && !s.early
            && !s.cm
            && s.login == Login::Done
            && s.cmds[..cfg.commands]
                .iter()
                .all(|cmd| cmd.place == Place::Freed && !cmd.busy && cmd.owes == (0, 0)))
}

fn not_starved(s: &State, cfg: &Config) -> bool {
    let at_work = s.cq != CqPc::Idle
        || s.drainer.is_some()
        || !s.held.is_empty()
        || s.posting != [None; 2]
        || s.busy > 0
        || s.cmds[..cfg.commands].iter().any(|c| c.pc != Pc::Idle);
    let asked = s.notices[0] != Notice::new();
    // Responses that are to come carry the credits to a peer that may not listen.
    let carried = !cfg.listens && s.credits.outstanding() > 0;
    let wanted = s.credits.wants_credit_request(true) && !carried;
    !cfg.notices || !open(s) || at_work || asked || !wanted
}

/// Whether an open channel is at rest: no request is anywhere in it, and everything it needs for
/// the next ones is where it should be.
pub(crate) fn at_rest(s: &State, cfg: &Config) -> bool {
    let commands = s.cmds[..cfg.commands]
        .iter()
        .all(|c| c.place == Place::Pool);
    commands
        && s.chan.state() == ChannelState::Live
        && s.held.is_empty()
        && s.arrived.is_empty()
        && s.sends.is_empty()
        && s.drainer.is_none()
        && s.cq == CqPc::Idle
        && s.busy == 0
        && s.sendq.is_idle()
        && s.credits.outstanding() == 0
        && s.posting == [None; 2]
        && owed_answers(s) == 0
        // Whether credits are to be asked for is decided by the credits, in the next line.
        && !s.notices[1].is_due()
        && !(cfg.notices && s.credits.wants_credit_request(true))
        && usize::from(s.posted) == cfg.commands
}
