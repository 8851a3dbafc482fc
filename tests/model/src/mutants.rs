// SPDX-License-Identifier: GPL-2.0
//! Drivers that are wrong on purpose.
//!
//! A rule that was never seen to be broken proves nothing. Each mutant is an error somebody could
//! make in the driver; `main` explores it, too, and expects the rule named here to be broken.

use crate::rules::Rule;

/// What is wrong with the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    None,
    /// The credit of a request that ends without response is forgotten.
    CreditLost,
    /// Credits of a response that was not posted are forgotten.
    CreditsNotUndone,
    /// A request without credit is served.
    OverrunServed,
    /// A receive buffer is forgotten.
    BufferLost,
    /// The receive buffer is posted after the response.
    RepostAfterSend,
    /// A completion is reported twice.
    CompletedTwice,
    /// Slots of RDMA READs are not given back.
    SlotsLeak,
    /// The send queue is not closed with the channel.
    SendQueueStaysOpen,
    /// What was held is not let go of.
    HeldForgotten,
    /// A command that comes free does not look for what is held.
    HeldNotResumed,
    /// The engine is not told that its data has arrived.
    DataNotTold,
    /// Room for fewer held information units than the peer has credits.
    HeldTooSmall,
    /// Slots of a response are given back twice.
    SlotsTwice,
    /// A response is posted twice.
    AnsweredTwice,
    /// The engine is told of the end by the thread that posts the response, too.
    ToldTwice,
    /// The channel counts as drained before the engine has let go of its commands.
    DrainedEarly,
    /// The machine is not told that a command was aborted.
    AbortForgotten,
    /// Information units are processed before the connection is confirmed.
    ProcessedEarly,
    /// The buffer of an answer to a request of the target is forgotten.
    AnswerBufferLost,
    /// A credit that becomes returnable waits for the next response.
    CreditKept,
    /// Credits are asked to be taken back by a peer that may not listen while responses are to come.
    AskedTooEarly,
    /// Credits that can be returned are not, when the peer sends its last request.
    LastCreditKept,
    /// Credits of a response that is not wanted any more wait for the next response.
    UndoneKept,
    /// Slots for as many responses as the peer has credits, not as there are commands.
    SlotPerCredit,
    /// The worker for what came early is not counted.
    EarlyNotBusy,
    /// Whoever processes an information unit is not counted.
    NotBusy,
    /// Tear-down does not wait for the flushed completions.
    NoDrain,
    /// Tear-down does not wait for `quiet`.
    NoQuiet,
    /// Tear-down does not wait for the engine.
    NoEngineWait,
}

/// Every mutant, what notices it, and the bound in which that happens.
pub(crate) const MUTANTS: &[(Mutant, Rule, &str)] = &[
    (Mutant::CreditLost, Rule::Outstanding, "credit requests"),
    (Mutant::CreditsNotUndone, Rule::EndToEnd, "credit requests"),
    (Mutant::OverrunServed, Rule::Outstanding, "rogue"),
    (Mutant::BufferLost, Rule::Buffers, "request"),
    (
        Mutant::RepostAfterSend,
        Rule::BufferPerCredit,
        "credit requests",
    ),
    (Mutant::CompletedTwice, Rule::NoViolation, "request"),
    (Mutant::SlotsLeak, Rule::Ends, "request"),
    (Mutant::SendQueueStaysOpen, Rule::Ends, "login"),
    (Mutant::HeldForgotten, Rule::NothingLeft, "login"),
    (Mutant::HeldNotResumed, Rule::NothingLeft, "rogue"),
    (Mutant::DataNotTold, Rule::CalmDown, "request"),
    (Mutant::HeldTooSmall, Rule::HonestPeer, "login"),
    (Mutant::SlotsTwice, Rule::SendQueueBalanced, "request"),
    (Mutant::AnsweredTwice, Rule::OneAnswer, "rogue"),
    (Mutant::ToldTwice, Rule::OneCompletion, "request"),
    (Mutant::DrainedEarly, Rule::OneTeardown, "login"),
    (
        Mutant::AbortForgotten,
        Rule::AbortedIsSilent,
        "credit requests",
    ),
    (Mutant::ProcessedEarly, Rule::OnlyConfirmed, "login"),
    (Mutant::AnswerBufferLost, Rule::Buffers, "events"),
    (Mutant::CreditKept, Rule::NotStarved, "credit requests"),
    (Mutant::UndoneKept, Rule::NotStarved, "credit requests"),
    (Mutant::LastCreditKept, Rule::NotStarved, "slow engine"),
    (Mutant::AskedTooEarly, Rule::LastResort, "last resort"),
    (Mutant::SlotPerCredit, Rule::OneAnswer, "events"),
    (Mutant::EarlyNotBusy, Rule::NothingLeft, "login"),
    (Mutant::NotBusy, Rule::NothingFreedInUse, "request"),
    (Mutant::NoDrain, Rule::NothingFreedInUse, "login"),
    (Mutant::NoQuiet, Rule::StaysQuiet, "login"),
    (Mutant::NoEngineWait, Rule::NothingFreedInUse, "login"),
];
