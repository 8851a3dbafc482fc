// SPDX-License-Identifier: GPL-2.0

//! The receive path of a channel: information units are processed in the order of arrival, each with a
//! free command, or held until the connection is confirmed or a command is free.
//!
//! Not here: what an information unit asks for ([`super::dispatch`]).

use kernel::{
    alloc::kvec::PushError,
    new_work,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use super::{
    dispatch,
    Buffer,
    Busy,
    Channel,
    Command,
    Hold,
    Inner,
    Link, //
};
use crate::{
    command::timing::Time,
    link::Owner,
    queues,
    srp::machine::channel::{
        CloseReason,
        Disposition,
        State, //
    },
    sync::ratelimit, //
};

/// A received information unit: its buffer, its length, and when it arrived.
pub(super) struct Received {
    pub(super) buf: Buffer,
    pub(super) len: usize,
    pub(super) at: Time,
}

/// What processing an information unit needs.
struct Ready<'a> {
    link: Arc<Link>,
    /// A free command.
    cmd: Arc<Command>,
    /// Session and connection stay meanwhile.
    _busy: Busy<'a>,
}

impl Ready<'_> {
    fn process(self, received: Received) {
        dispatch::process(&self.link, self.cmd, received);
    }
}

/// Processes what came before the connection was confirmed, on a work queue.
#[pin_data]
struct Early {
    #[pin]
    work: Work<Early>,
    /// Keeps tear-down waiting meanwhile.
    hold: Hold,
}

kernel::impl_has_work! {
    impl HasWork<Self> for Early { self.work }
}

impl Early {
    /// The caller keeps tear-down waiting.
    fn new(channel: &Arc<Channel>) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                work <- new_work!("Early::work"),
                hold: Hold::new(channel),
            }),
            GFP_KERNEL,
        )
    }
}

impl WorkItem for Early {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        Channel::run_held(this.hold.owner().as_arc_borrow());
    }
}

/// What to do with an information unit, decided with the lock held.
enum Arrival<'a> {
    /// Process it.
    Process(Ready<'a>, Received),
    /// It is held.
    Held,
    /// The channel is closing.
    Discard(Received),
    /// More arrived than the peer has credits for.
    Overflow(Received),
}

impl Inner {
    /// Whether nothing that came earlier is held, or taken and not with the engine yet.
    fn in_order(&self) -> bool {
        self.incoming.held.is_empty() && !self.incoming.draining
    }

    /// Keeps an information unit for later. There is room for as many as the peer has credits.
    fn hold(&mut self, received: Received) -> Arrival<'static> {
        match self.incoming.held.push_within_capacity(received) {
            Ok(()) => Arrival::Held,
            Err(PushError(received)) => Arrival::Overflow(received),
        }
    }
}

impl Channel {
    /// Takes a free command to process something with. The caller holds the lock.
    fn next_command<'a>(this: ArcBorrow<'a, Self>, inner: &mut Inner) -> Option<Ready<'a>> {
        let link = inner.connection.link.clone()?;
        let cmd = inner.commands.pool.pop()?;
        Some(Ready {
            link,
            cmd,
            _busy: Busy::new(this),
        })
    }

    /// Takes the next held information unit for which there is something to do now. The caller holds
    /// the lock.
    fn next_held<'a>(this: ArcBorrow<'a, Self>, inner: &mut Inner) -> Option<Arrival<'a>> {
        if inner.incoming.held.is_empty() {
            return None;
        }
        match inner.machine.iu_disposition() {
            Disposition::Hold => None,
            Disposition::Discard => inner.incoming.held.remove(0).ok().map(Arrival::Discard),
            Disposition::Process => {
                let ready = Self::next_command(this, inner)?;
                // It is not empty.
                let received = inner.incoming.held.remove(0).ok()?;
                Some(Arrival::Process(ready, received))
            }
        }
    }

    /// An information unit arrived.
    pub(super) fn incoming(this: ArcBorrow<'_, Self>, buf: Buffer, len: usize) {
        let received = Received {
            buf,
            len,
            at: Time::now(),
        };
        this.flow.heard();
        let arrival = {
            let mut inner = this.inner.lock();
            match inner.machine.iu_disposition() {
                Disposition::Discard => Arrival::Discard(received),
                Disposition::Process if inner.in_order() => {
                    match Self::next_command(this, &mut inner) {
                        Some(ready) => Arrival::Process(ready, received),
                        None => inner.hold(received),
                    }
                }
                Disposition::Hold | Disposition::Process => inner.hold(received),
            }
        };
        match arrival {
            Arrival::Process(ready, received) => ready.process(received),
            // A command may have come free between the look at the pool and now.
            Arrival::Held => Self::run_held(this),
            Arrival::Discard(received) => this.discard(received.buf),
            Arrival::Overflow(received) => {
                this.discard(received.buf);
                Self::close(this, CloseReason::ProtocolViolation);
            }
        }
    }

    /// Processes what was held back, as far as commands are free. On a channel that is closing
    /// the held buffers go back instead.
    ///
    /// One task at a time does this, in the order of arrival; a call from within, when a command
    /// that was just started is free again already, returns at once, so the stack does not grow.
    pub(crate) fn run_held(this: ArcBorrow<'_, Self>) {
        {
            let mut inner = this.inner.lock();
            if inner.incoming.draining || inner.incoming.held.is_empty() {
                return;
            }
            inner.incoming.draining = true;
        }
        loop {
            let next = {
                let mut inner = this.inner.lock();
                let next = Self::next_held(this, &mut inner);
                if next.is_none() {
                    inner.incoming.draining = false;
                }
                next
            };
            match next {
                Some(Arrival::Process(ready, received)) => ready.process(received),
                Some(Arrival::Discard(received)) => this.discard(received.buf),
                _ => return,
            }
        }
    }

    /// A buffer of a channel that is closing: a shared one goes back to its queue, others are freed.
    pub(super) fn discard(&self, buf: Buffer) {
        let srq = self
            .inner
            .lock()
            .connection
            .link
            .as_ref()
            .and_then(|link| link.srq.clone());
        if let Some(srq) = srq {
            if srq.post_recv(buf).is_err() && ratelimit::ok() {
                pr_warn!(
                    "channel {}: a shared receive buffer is lost\n",
                    self.id.serial
                );
            }
        }
    }

    /// Lets go of what was held until the connection was confirmed or given up. The connection
    /// manager, whose worker this is, has other connections to look after: what has to go to the
    /// engine is left to a worker of ours, which may have to wait for a disk.
    pub(super) fn release_held(this: ArcBorrow<'_, Self>) {
        let wanted = {
            let inner = this.inner.lock();
            let wanted = inner.machine.state() == State::Live && !inner.incoming.held.is_empty();
            wanted.then(|| Busy::new(this))
        };
        if let (Some(_busy), Some(queue)) = (&wanted, queues::retry()) {
            if let Ok(early) = Early::new(&Arc::from(this)) {
                queue.as_queue().enqueue::<_, 0>(early);
                return;
            }
        }
        Self::run_held(this);
    }
}
