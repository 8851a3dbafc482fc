// SPDX-License-Identifier: GPL-2.0

//! What a connection accounts for: credits, slots of the send queue, statistics, and the tasks that
//! keep tear-down waiting.
//!
//! Not here: what is sent and received. What the numbers mean is decided in
//! [`crate::srp::machine::credit`] and [`crate::srp::machine::sendq`].

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

impl Accounts {
    /// Takes room for RDMA work requests of a transfer, which has to wait if there is none.
    fn reserve_rdma(&mut self, slots: u32) -> Result<(), NoSlot> {
        let reserved = self.sendq.reserve_rdma(slots);
        if reserved == Err(NoSlot::Full) {
            self.stats.count(Counter::SqFull);
        }
        reserved
    }
}

/// What became of the credit that a request costs.
pub(crate) struct Charged {
    /// The peer had one.
    pub(crate) had: bool,
    /// It was one of the last, and others wait for a response to carry them: they go back now.
    pub(crate) return_now: bool,
}

/// What can be seen of the accounts at one moment.
pub(crate) struct FlowView {
    /// Requests the initiator may send now.
    pub(crate) req_lim: u32,
    /// Credits that wait for a carrier.
    pub(crate) delta: u32,
    /// Slots of the send queue in use.
    pub(crate) sq_used: u32,
    /// Tasks that keep tear-down waiting.
    pub(crate) busy: u32,
}

/// The accounts of a connection.
///
/// No [`Gate`](crate::sync::gate::Gate): what ends it is the last slot of the send queue, which is
/// counted with the lock held, or the last of the tasks, which begin others when it is closed already.
#[pin_data]
pub(crate) struct Flow {
    #[pin]
    accounts: SpinLock<Accounts>,
    /// Serial number of the channel, for log lines.
    serial: u64,
    /// The initiator takes credit requests.
    listens: bool,
    /// The peer has sent or acknowledged something since the last look; see
    /// [`crate::srp::machine::watch`].
    heard: Atomic<bool>,
    /// Tasks that use the session or the connection, without a command of the engine that would keep
    /// tear-down waiting; see [`super::Busy`].
    busy: Atomic<u32>,
    /// The send queue is closed: said once more for the end of a task, which takes no lock. Set with
    /// `accounts` locked.
    closed: Atomic<bool>,
    /// The send queue is closed and empty, and there is no task.
    #[pin]
    quiet: Completion,
}

impl Flow {
    /// The accounts of the channel with this serial number, whose initiator `listens` to credit
    /// requests. The size of `sendq` is that of [`Self::open`] later.
    pub(crate) fn new(
        serial: u64,
        credits: Credits,
        sendq: SendQueue,
        listens: bool,
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

    /// Takes the credits that wait for a carrier, if `choose` finds one. It is told whether they are to
    /// go back by a request of their own; nothing else takes them meanwhile.
    pub(crate) fn carry<R>(&self, choose: impl FnOnce(bool) -> Option<R>) -> Option<(R, i32)> {
        let mut accounts = self.accounts.lock();
        let carrier = choose(accounts.credits.wants_credit_request(self.listens))?;
        Some((carrier, accounts.credits.take_delta()))
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

    /// Takes room for RDMA work requests of a transfer, which has to wait if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`SendQueue::reserve_rdma`].
    pub(crate) fn reserve_rdma(&self, slots: u32) -> Result<(), NoSlot> {
        self.accounts.lock().reserve_rdma(slots)
    }

    /// Takes room for the READ of a descriptor table. It does not wait, so it is not counted as
    /// waiting.
    ///
    /// # Errors
    ///
    /// Those of [`SendQueue::reserve_rdma`].
    pub(crate) fn reserve_table(&self, slots: u32) -> Result<(), NoSlot> {
        self.accounts.lock().sendq.reserve_rdma(slots)
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
        accounts.reserve_rdma(rdma).inspect_err(|_| {
            let _ = accounts.sendq.release_response();
        })?;
        // An error means that the peer had no credit for the request: it is being disconnected.
        let _ = accounts.credits.add_returnable(1);
        Ok(accounts.credits.take_delta())
    }

    /// RDMA work requests have completed, or were not posted: their slots are free again.
    pub(crate) fn release_rdma(&self, slots: u32) {
        self.release(|accounts| accounts.sendq.release_rdma(slots).is_ok());
    }

    /// A response, and the work requests before it, have completed or were not posted: their slots are
    /// free again.
    pub(crate) fn release_response(&self, rdma: u32, finished: Option<&Finished>) {
        self.release(|accounts| {
            if let Some(finished) = finished {
                accounts.stats.finished(finished);
            }
            // Both, whatever becomes of the first.
            let rdma = accounts.sendq.release_rdma(rdma);
            accounts.sendq.release_response().and(rdma).is_ok()
        });
    }

    /// Gives slots back. `give` says whether they had been taken.
    fn release(&self, give: impl FnOnce(&mut Accounts) -> bool) {
        // What has completed was acknowledged, or the channel closes.
        self.heard();
        let mut accounts = self.accounts.lock();
        let balanced = give(&mut accounts);
        self.check_quiet(&accounts);
        drop(accounts);
        if !balanced {
            pr_err!("channel {}: send queue accounting is off\n", self.serial);
        }
    }

    /// Statistics so far.
    pub(crate) fn stats(&self) -> Stats {
        self.accounts.lock().stats
    }

    /// What can be seen of the accounts at one moment.
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
