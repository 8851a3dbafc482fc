// SPDX-License-Identifier: GPL-2.0
// Errors that the driver could have. A rule that was never seen to be broken proves
// nothing: each of these is explored, too, and has to break a rule named here.
//
// `build.rs` includes this file, and so does the model. The driver's files are copied with all of
// them in it (`edits.rs`), as choices at run time.

/// An error.
#[allow(dead_code, reason = "build.rs looks at the name only")]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// What notices it: one of these rules.
    pub(crate) rules: &'static [&'static str],
    /// The exploration in which that happens.
    pub(crate) bound: &'static str,
}

const fn mutant(name: &'static str, bound: &'static str, rules: &'static [&'static str]) -> Mutant {
    Mutant { name, rules, bound }
}

/// All of them.
pub(crate) const MUTANTS: &[Mutant] = &[
    // The credit of a request that ends without response is forgotten.
    mutant("CreditLost", "credit requests", &["Credits", "NotStarved"]),
    // Credits of a response that was not posted are forgotten.
    mutant(
        "CreditsNotUndone",
        "credit requests",
        &["Credits", "NotStarved"],
    ),
    // The engine is not told of the end of a response that does not complete.
    mutant("CopiedNotTold", "copied", &["CalmDown", "Ends"]),
    // The credit of an aborted request is forgotten, whose response would not complete.
    mutant(
        "CopiedCreditLost",
        "copied and aborted",
        &["Credits", "NotStarved"],
    ),
    // A request without credit is served.
    mutant("OverrunServed", "rogue", &["Overrun"]),
    // The receive buffer of an answered request is forgotten.
    mutant("BufferLost", "plain", &["BufferPerCredit", "Buffers"]),
    // The receive buffer is posted after the response.
    mutant("RepostAfterSend", "notices", &["BufferPerCredit"]),
    // A completion is reported twice.
    mutant("CompletedTwice", "plain", &["NoViolation"]),
    // A slot of RDMA READs is not given back.
    mutant("SlotsLeak", "data", &["CalmDown", "Ends"]),
    // The send queue is not closed with the channel.
    mutant("SendQueueStaysOpen", "plain", &["Ends"]),
    // A command that comes free does not look for what is held.
    mutant("HeldNotResumed", "freed late", &["NothingLeft"]),
    // The engine is not told that its data has arrived.
    mutant("DataNotTold", "data", &["CalmDown", "Ends"]),
    // The engine is told that data is there which could not be fetched.
    mutant("LostDataTold", "data and faults", &["DataThere"]),
    // A logout is taken note of, and nothing else.
    mutant("LogoutIgnored", "request", &["RogueEnds", "Buffers"]),
    // Room for fewer held information units than the peer has credits.
    mutant("HeldTooSmall", "freed late", &["HonestPeer"]),
    // Slots of a response are given back twice.
    mutant("SlotsTwice", "plain", &["SendQueueBalanced"]),
    // The target's own answer is sent twice.
    mutant("AnsweredTwice", "request", &["OneAnswer", "NoViolation"]),
    // The engine is told of the end by the thread that posts the response, too.
    mutant("ToldTwice", "plain", &["OneCompletion"]),
    // The channel counts as drained before the engine has let go of its commands.
    mutant("DrainedEarly", "request", &["OneTeardown"]),
    // The machine is not told that a command was aborted.
    mutant("AbortForgotten", "credit requests", &["AbortedIsSilent"]),
    // Information units are dropped until the connection manager reports the confirmation.
    mutant(
        "FirstUnitLost",
        "early requests",
        &["Credits", "OneAnswer", "Buffers"],
    ),
    // The buffer of an answer to a request of the target is forgotten.
    mutant(
        "AnswerBufferLost",
        "events",
        &["BufferPerCredit", "Buffers"],
    ),
    // A credit that becomes returnable waits for the next response.
    mutant("CreditKept", "credit requests", &["NotStarved"]),
    // Credits of a response that is not wanted any more wait for the next response.
    mutant("UndoneKept", "credit requests", &["NotStarved"]),
    // Credits that can be returned are not, when the peer sends its last request.
    mutant("LastCreditKept", "slow engine", &["NotStarved"]),
    // A credit request goes to a peer that may take it for a response.
    mutant("AskedAnyway", "deaf", &["NotAsked"]),
    // Slots for as many responses as the peer has credits, not as there are commands.
    mutant("SlotPerCredit", "freed late", &["OneAnswer"]),
    // A channel that comes up while its HCA is removed is let in.
    mutant("GateNotAsked", "login", &["Ends"]),
    // A login does not end the other channels although it asks for that.
    mutant("OthersKept", "replaced", &["Replaced"]),
    // Tear-down does not wait for the flushed completions.
    mutant("NoDrain", "silence", &["Ends"]),
    // The connection manager's id is kept while its queue pair is destroyed.
    mutant("IdKept", "stuck", &["Ends"]),
    // What the device does not complete is not completed.
    mutant("LostForgotten", "stuck", &["Ends", "NothingLeft"]),
    mutant("ProbeForgotten", "stuck", &["Ends", "NothingLeft"]),
    mutant("SenderForgotten", "stuck", &["Ends", "NothingLeft"]),
    // Tear-down does not wait for tasks.
    mutant(
        "NoQuiet",
        "early requests",
        &["NothingFreedInUse", "NothingLeft", "NoViolation"],
    ),
    // Tear-down does not wait for the engine.
    mutant(
        "NoEngineWait",
        "request",
        &["NothingLeft", "NothingFreedInUse", "NoViolation"],
    ),
    // Of locks and orders.
    // Whether credits are to go back is asked, and they are taken, in two steps.
    mutant("CarriedInTwoSteps", "two credits", &["CreditCarried"]),
    // A request of the target counts as answered before the buffer of the answer is back.
    mutant("AnswerNotedEarly", "notices", &["BufferPerCredit"]),
    // A request of the target is counted as a task after the lock was dropped.
    mutant(
        "NoticeBusyLate",
        "events",
        &["NothingLeft", "NothingFreedInUse"],
    ),
    // The end of a task looks whether the queue is closed, then counts.
    mutant("LookThenCount", "request", &["Ends"]),
    // A task says that it does not process what is held any more after the lock was dropped.
    mutant("DrainingLate", "freed late", &["NothingLeft", "NotStarved"]),
    // The slot of a response is free after its command is.
    mutant("SlotFreeLate", "freed late", &["OneAnswer"]),
    // A confirmation is counted as a task after the lock was dropped.
    mutant("ConfirmBusyLate", "early requests", &["NothingLeft"]),
    // A task management function is handed to the session of a channel that ends.
    mutant(
        "HeldThoughDead",
        "two channels",
        &["NothingFreedInUse", "NothingLeft", "NoViolation"],
    ),
    // Tear-down does not wait for a function that the session of another channel has.
    mutant(
        "OwnNotHeld",
        "two channels",
        &["NothingLeft", "NothingFreedInUse", "NoViolation"],
    ),
    // A function is answered before the tables of what it has aborted are here.
    mutant("TablesNotAwaited", "tables", &["AbortedIsGone"]),
];

std::thread_local! {
    static ON: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
}

/// Makes this error from now on, or none.
#[allow(dead_code, reason = "build.rs does not")]
pub(crate) fn set(number: Option<usize>) {
    ON.set(number.unwrap_or(usize::MAX));
}

/// Whether this error is made.
#[allow(dead_code, reason = "build.rs does not")]
pub(crate) fn is_on(number: usize) -> bool {
    ON.get() == number
}
