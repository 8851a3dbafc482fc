// SPDX-License-Identifier: GPL-2.0

//! Accounts of a connection: credits, send queue slots, statistics, and the tasks that keep
//! tear-down waiting.
//!
//! Not here: their rules ([`crate::srp::machine::credit`], [`crate::srp::machine::sendq`]), sending
//! and receiving.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::SpinLock, //
};

use crate::{
    srp::machine::{
        credit::{
            Credits,
            Overrun, //
        },
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
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        completion::Completion, //
    }, //
};

/// Accounts behind the lock.
struct Accounts {
    credits: Credits,
    sendq: SendQueue,
    stats: Stats,
}

impl Accounts {
    /// Reserves slots for the RDMA work requests of a transfer, and counts a transfer that has to
    /// wait.
    fn reserve_rdma(&mut self, slots: u32) -> Result<(), NoSlot> {
        let reserved = self.sendq.reserve_rdma(slots);
        if reserved == Err(NoSlot::Full) {
            self.stats.count(Counter::SqFull);
        }
        reserved
    }
}

/// Result of charging a request.
#[must_use = "a request without a credit ends the channel"]
pub(crate) struct Charged {
    /// The peer had a credit.
    pub(crate) had: bool,
    /// The peer has few credits left and others are returnable: return them at once.
    pub(crate) return_now: bool,
}

/// Snapshot of the accounts.
pub(crate) struct FlowView {
    /// Requests that the initiator may send now.
    pub(crate) req_lim: u32,
    /// Credits that wait for a carrier.
    pub(crate) delta: u32,
    /// Send queue slots in use.
    pub(crate) sq_used: u32,
    /// Tasks that keep tear-down waiting.
    pub(crate) busy: u32,
}

/// Accounts of a connection.
///
/// No [`Gate`](crate::sync::gate::Gate): what ends it is the last slot of the send queue, which is
/// counted with the lock held, or the last of the tasks, which begin others when it is closed
/// already.
#[pin_data]
pub(crate) struct Flow {
    #[pin]
    accounts: SpinLock<Accounts>,
    /// Serial number of the channel, for log lines.
    serial: u64,
    /// The initiator gets credit requests.
    takes_credit_requests: bool,
    /// The peer has sent or acknowledged something since the last [`Self::was_heard`]; see
    /// [`crate::srp::machine::watch`].
    heard: Atomic<bool>,
    /// Tasks that use the session or the connection, without a command of the engine that would
    /// keep tear-down waiting; see [`super::Busy`].
    busy: Atomic<u32>,
    /// Copy of the send queue's closed mark, for the end of a task, which takes no lock. Set with
    /// `accounts` locked.
    closed: Atomic<bool>,
    /// Done when the send queue is closed and empty, and no task is left.
    #[pin]
    quiet: Completion,
}

impl Flow {
    /// Initialises the accounts of the channel with this serial number. [`Self::open`] replaces
    /// `sendq`.
    pub(crate) fn new(
        serial: u64,
        credits: Credits,
        sendq: SendQueue,
        takes_credit_requests: bool,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            accounts <- new_spinlock!(
                Accounts {
                    credits,
                    sendq,
                    stats: Stats::new(),
                },
                "Flow::accounts"
            ),
            serial,
            takes_credit_requests,
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
        // Full order: either this sees the last task gone, or the end of that task sees the mark.
        self.closed.xchg(true, Full);
        self.check_quiet(&accounts);
    }

    /// Waits until the send queue is empty and no task is left. Called after [`Self::close`].
    /// Sleeps without limit: everything posted completes.
    pub(crate) fn wait_quiet(&self) {
        self.quiet.wait();
    }

    /// Counts a task; see [`super::Busy::new`] for the conditions.
    #[inline]
    pub(super) fn begin_task(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    /// Ends a task.
    #[inline]
    pub(super) fn end_task(&self) {
        self.busy.fetch_sub(1, Full);
        if self.closed.load(Relaxed) {
            self.check_quiet(&self.accounts.lock());
        }
    }

    /// Ends the wait of tear-down if its conditions are met.
    #[inline]
    fn check_quiet(&self, accounts: &Accounts) {
        let sendq = &accounts.sendq;
        // Acquire: tear-down also sees what the tasks that have ended did.
        if sendq.is_closed() && sendq.is_idle() && self.busy.load(Acquire) == 0 {
            self.quiet.complete_all();
        }
    }

    /// Notes a sign of life of the peer.
    pub(crate) fn heard(&self) {
        self.heard.store(true, Relaxed);
    }

    /// Returns whether the peer has sent or acknowledged anything since the last call.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard.xchg(false, Relaxed)
    }

    /// Counts an information unit, and charges a credit if it `consumes` one.
    #[inline]
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
            return_now: had && self.wants_credit_request(&accounts),
        }
    }

    /// Returns whether a credit request is due.
    #[inline]
    fn wants_credit_request(&self, accounts: &Accounts) -> bool {
        self.takes_credit_requests && accounts.credits.wants_credit_request()
    }

    /// Takes the returnable credits if `choose` returns a carrier for them. Its argument says
    /// whether a credit request is due. Atomic: no other carrier takes them meanwhile.
    pub(crate) fn carry<R>(&self, choose: impl FnOnce(bool) -> Option<R>) -> Option<(R, i32)> {
        let mut accounts = self.accounts.lock();
        let carrier = choose(self.wants_credit_request(&accounts))?;
        Some((carrier, accounts.credits.take_delta()))
    }

    /// Takes back credits whose carrier was not posted.
    ///
    /// # Errors
    ///
    /// [`Overrun`] if the peer uses credits that it was never given.
    pub(crate) fn undo_delta(&self, delta: i32) -> Result<(), Overrun> {
        self.accounts.lock().credits.undo(delta)
    }

    /// Takes back the credits of a response that is not posted, that of its own request included.
    /// `aborted`: counts a request that ends without a response.
    ///
    /// # Errors
    ///
    /// Those of [`Self::undo_delta`].
    pub(crate) fn undo_response(&self, delta: i32, aborted: bool) -> Result<(), Overrun> {
        let mut accounts = self.accounts.lock();
        if aborted {
            accounts.stats.count(Counter::Aborted);
        }
        accounts.credits.undo(delta)
    }

    /// Makes the credit of a request without response returnable.
    pub(crate) fn forgo_response(&self) {
        let mut accounts = self.accounts.lock();
        accounts.stats.count(Counter::Aborted);
        // An error means that the peer had no credit for it: the channel is closing.
        let _ = accounts.credits.add_returnable(1);
    }

    /// Reserves slots for the RDMA work requests of a transfer, and counts a transfer that has to
    /// wait.
    ///
    /// # Errors
    ///
    /// Those of [`SendQueue::reserve_rdma`].
    pub(crate) fn reserve_rdma(&self, slots: u32) -> Result<(), NoSlot> {
        self.accounts.lock().reserve_rdma(slots)
    }

    /// Returns whether a transfer that found no room must still wait; `false` once nothing can be
    /// sent any more.
    pub(crate) fn must_wait(&self, slots: u32) -> bool {
        let mut accounts = self.accounts.lock();
        !accounts.sendq.is_closed() && accounts.sendq.must_wait(slots)
    }

    /// Reserves slots for the READ of a descriptor table. It never waits, so it is not counted.
    ///
    /// # Errors
    ///
    /// Those of [`SendQueue::reserve_rdma`].
    pub(crate) fn reserve_table(&self, slots: u32) -> Result<(), NoSlot> {
        self.accounts.lock().sendq.reserve_rdma(slots)
    }

    /// Reserves slots for a response and for `rdma` work requests before it, and takes the credits
    /// that the response carries, that of its own request included.
    ///
    /// # Errors
    ///
    /// `Closed` if nothing can be sent any more, or those of [`SendQueue::reserve_rdma`].
    #[inline]
    pub(crate) fn reserve_response(&self, rdma: u32) -> Result<i32, NoSlot> {
        let mut accounts = self.accounts.lock();
        // A slot is set aside for the response of each command.
        accounts
            .sendq
            .reserve_response()
            .map_err(|_| NoSlot::Closed)?;
        accounts.reserve_rdma(rdma).inspect_err(|_| {
            let _ = accounts.sendq.release_response();
        })?;
        // An error means that the peer had no credit for the request: the channel is closing.
        let _ = accounts.credits.add_returnable(1);
        Ok(accounts.credits.take_delta())
    }

    /// Takes the credits that a response carries, that of its own request included, and counts the
    /// command: for a response that does not complete, and so needs no slot.
    ///
    /// # Errors
    ///
    /// `Closed` if nothing can be sent any more.
    #[inline]
    pub(crate) fn respond(&self, finished: Option<&Finished>) -> Result<i32, NoSlot> {
        let mut accounts = self.accounts.lock();
        if accounts.sendq.is_closed() {
            return Err(NoSlot::Closed);
        }
        if let Some(finished) = finished {
            accounts.stats.finished(finished);
        }
        // An error means that the peer had no credit for the request: the channel is closing.
        let _ = accounts.credits.add_returnable(1);
        Ok(accounts.credits.take_delta())
    }

    /// Frees the slots of RDMA work requests that have completed or were not posted.
    pub(crate) fn release_rdma(&self, slots: u32) {
        self.release(|accounts| accounts.sendq.release_rdma(slots).is_ok());
    }

    /// Frees the slots of a response and of the work requests before it, which have completed or
    /// were not posted.
    #[inline]
    pub(crate) fn release_response(&self, rdma: u32, finished: Option<&Finished>) {
        self.release(|accounts| {
            if let Some(finished) = finished {
                accounts.stats.finished(finished);
            }
            // Frees both, even if the first fails.
            let rdma = accounts.sendq.release_rdma(rdma);
            accounts.sendq.release_response().and(rdma).is_ok()
        });
    }

    /// Frees slots. `give` returns whether they were reserved.
    #[inline]
    fn release(&self, give: impl FnOnce(&mut Accounts) -> bool) {
        // A completion is an acknowledgment of the peer, or the channel is closing.
        self.heard();
        let mut accounts = self.accounts.lock();
        let balanced = give(&mut accounts);
        self.check_quiet(&accounts);
        drop(accounts);
        if !balanced {
            pr_err!("channel {}: send queue accounting is off\n", self.serial);
        }
    }

    /// Returns the statistics.
    pub(crate) fn stats(&self) -> Stats {
        self.accounts.lock().stats
    }

    /// Returns a snapshot.
    pub(crate) fn view(&self) -> FlowView {
        let accounts = self.accounts.lock();
        FlowView {
            req_lim: accounts.credits.at_peer(),
            delta: accounts.credits.returnable(),
            sq_used: accounts.sendq.outstanding(),
            busy: self.busy.load(Relaxed),
        }
    }
}
