// SPDX-License-Identifier: GPL-2.0

//! What a connection accounts for: credits, slots of the send queue, statistics, and the tasks that
//! keep tear-down waiting.
//!
//! Not here: what is sent and received. What the numbers mean is decided in [`crate::srp::machine::credit`] and
//! [`crate::srp::machine::sendq`].

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        SpinLock, //
    }, //
};

use crate::{
    srp::machine::{
        credit::Credits,
        sendq::{
            NoSlot,
            SendQueue, //
        },
        stats::{
            Counter,
            Finished,
            Stats, //
        }, //
    },
    sync::completion::Completion, //
};

/// What the lock protects.
struct Accounts {
    credits: Credits,
    sendq: SendQueue,
    stats: Stats,
}

/// What became of the credit that a request costs.
pub(crate) struct Charged {
    /// The peer had one.
    pub(crate) had: bool,
    /// It was one of the last, and others wait for a response to carry them: they go back now.
    pub(crate) return_now: bool,
}

/// The accounts of a connection.
#[pin_data]
pub(crate) struct Flow {
    #[pin]
    accounts: SpinLock<Accounts>,
    /// The initiator takes credit requests.
    listens: bool,
    /// The peer has sent or acknowledged something since the last look; see [`crate::srp::machine::watch`].
    heard: Atomic<bool>,
    /// Tasks that use the session or the connection, without a command of the engine that would keep
    /// tear-down waiting; see [`super::Busy`].
    busy: Atomic<u32>,
    /// The send queue is closed.
    closed: Atomic<bool>,
    /// The send queue is closed and empty, and there is no task.
    #[pin]
    quiet: Completion,
}

impl Flow {
    /// The accounts of a connection that was granted these credits. Nothing can be sent before
    /// [`Self::open`].
    ///
    pub(crate) fn new(credits: Credits, sendq: SendQueue, listens: bool) -> impl PinInit<Self> {
        pin_init!(Self {
            accounts <- new_spinlock!(
                Accounts {
                    credits,
                    sendq,
                    stats: Stats::new(),
                },
                "Flow::accounts"
            ),
            listens,
            heard: Atomic::new(false),
            busy: Atomic::new(0),
            closed: Atomic::new(false),
            quiet <- Completion::new(),
        })
    }

    /// Sets the real size of the send queue. Called once, before anything is sent.
    pub(crate) fn open(&self, mut sendq: SendQueue) {
        let mut accounts = self.accounts.lock();
        if accounts.sendq.is_closed() {
            sendq.close();
        }
        accounts.sendq = sendq;
    }

    /// Refuses to send anything from now on. Idempotent.
    pub(crate) fn close(&self) {
        let mut accounts = self.accounts.lock();
        accounts.sendq.close();
        // Ordered before the look at the tasks, as the end of a task is before its look at this.
        self.closed.xchg(true, Full);
        self.check_quiet(&accounts);
    }

    /// Waits until nothing is on the send queue and no task is left. To be called after
    /// [`Self::close`]. Sleeps without limit: whatever was sent has to complete.
    pub(crate) fn wait_quiet(&self) {
        self.quiet.wait();
    }

    /// Counts a task. To be called only by one that keeps tear-down waiting already, or within a lock
    /// under which the channel's state allows it.
    pub(super) fn begin_task(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    /// Counts a task less.
    pub(super) fn end_task(&self) {
        self.busy.fetch_sub(1, Full);
        if self.closed.load(Relaxed) {
            self.check_quiet(&self.accounts.lock());
        }
    }

    /// Lets tear-down go on if nothing is left that it has to wait for.
    fn check_quiet(&self, accounts: &Accounts) {
        let sendq = &accounts.sendq;
        if sendq.is_closed() && sendq.is_idle() && self.busy.load(Relaxed) == 0 {
            self.quiet.complete_all();
        }
    }

    /// Tasks there are.
    pub(crate) fn tasks(&self) -> u32 {
        self.busy.load(Relaxed)
    }

    /// The peer has sent something.
    pub(crate) fn heard(&self) {
        self.heard.store(true, Relaxed);
    }

    /// Whether the peer has sent or acknowledged anything since this was asked last.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard.xchg(false, Relaxed)
    }

    /// Counts what arrived, and the credit it costs if it `consumes` one.
    pub(crate) fn charge(&self, arrived: Option<Counter>, consumes: bool) -> Charged {
        let mut accounts = self.accounts.lock();
        if let Some(counter) = arrived {
            accounts.stats.count(counter);
        }
        if !consumes {
            return Charged {
                had: true,
                return_now: false,
            };
        }
        let had = accounts.credits.on_request().is_ok();
        if had && accounts.credits.at_peer() == 0 {
            accounts.stats.count(Counter::CreditsStarved);
        }
        Charged {
            had,
            return_now: had && accounts.credits.wants_credit_request(self.listens),
        }
    }

    /// Whether the credits that wait for a carrier are to go back by a request of their own.
    pub(crate) fn wants_credit_request(&self) -> bool {
        let accounts = self.accounts.lock();
        accounts.credits.wants_credit_request(self.listens)
    }

    /// Takes the credits that are to go out with what is sent next.
    pub(crate) fn take_delta(&self) -> i32 {
        self.accounts.lock().credits.take_delta()
    }

    /// Takes credits back that did not go out.
    pub(crate) fn undo_delta(&self, delta: i32) {
        // An error means that the peer uses credits it was never given.
        let _ = self.accounts.lock().credits.undo(delta);
    }

    /// Notes the credit of a request that gets no response.
    pub(crate) fn forgo_response(&self) {
        let mut accounts = self.accounts.lock();
        accounts.stats.count(Counter::Aborted);
        // An error means that the peer had no credit for it: it is being disconnected.
        let _ = accounts.credits.add_returnable(1);
    }

    /// Takes room for RDMA work requests.
    ///
    /// # Errors
    ///
    /// Those of [`SendQueue::reserve_rdma`].
    pub(crate) fn reserve_rdma(&self, slots: u32) -> Result<(), NoSlot> {
        let mut accounts = self.accounts.lock();
        let reserved = accounts.sendq.reserve_rdma(slots);
        if reserved == Err(NoSlot::Full) {
            accounts.stats.count(Counter::SqFull);
        }
        reserved
    }

    /// Takes room for a response and `rdma` work requests before it, and the credits that it is to
    /// carry, its own request's included.
    ///
    /// # Errors
    ///
    /// `Closed` if nothing can be sent any more, or those of [`SendQueue::reserve_rdma`].
    pub(crate) fn reserve_response(&self, rdma: u32) -> Result<i32, NoSlot> {
        let mut accounts = self.accounts.lock();
        // There is room for a response of every command.
        accounts
            .sendq
            .reserve_response()
            .map_err(|_| NoSlot::Closed)?;
        if let Err(e) = accounts.sendq.reserve_rdma(rdma) {
            let _ = accounts.sendq.release_response();
            if e == NoSlot::Full {
                accounts.stats.count(Counter::SqFull);
            }
            return Err(e);
        }
        // An error means that the peer had no credit for the request: it is being disconnected.
        let _ = accounts.credits.add_returnable(1);
        Ok(accounts.credits.take_delta())
    }

    /// RDMA work requests have completed, or were not posted: their slots are free again.
    pub(crate) fn release_rdma(&self, slots: u32) {
        self.release(slots, 0, None);
    }

    /// A response, and the work requests before it, have completed or were not posted: their slots are
    /// free again.
    pub(crate) fn release_response(&self, rdma: u32, finished: Option<&Finished>) {
        self.release(rdma, 1, finished);
    }

    fn release(&self, rdma: u32, responses: u32, finished: Option<&Finished>) {
        // What has completed was acknowledged, or the channel closes.
        self.heard();
        let mut accounts = self.accounts.lock();
        if let Some(finished) = finished {
            accounts.stats.finished(finished);
        }
        let mut balanced = accounts.sendq.release_rdma(rdma).is_ok();
        for _ in 0..responses {
            balanced &= accounts.sendq.release_response().is_ok();
        }
        self.check_quiet(&accounts);
        drop(accounts);
        if !balanced {
            pr_err!("send queue accounting is off\n");
        }
    }

    /// Statistics so far.
    pub(crate) fn stats(&self) -> Stats {
        self.accounts.lock().stats
    }

    /// Requests the initiator may send now, and credits that wait for a carrier.
    pub(crate) fn credits(&self) -> (u32, u32) {
        let accounts = self.accounts.lock();
        (accounts.credits.at_peer(), accounts.credits.returnable())
    }

    /// Slots of the send queue in use.
    pub(crate) fn sends(&self) -> u32 {
        self.accounts.lock().sendq.outstanding()
    }
}
