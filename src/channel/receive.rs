// SPDX-License-Identifier: GPL-2.0

//! Receive path of a channel: information units are processed in the order of arrival, each with a
//! free command, or held until a command is free.
//!
//! Not here: their contents ([`super::dispatch`]).

use kernel::{
    alloc::kvec::PushError,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    dispatch,
    Buffer,
    Busy,
    Channel,
    Command,
    Inner,
    Received, //
};
use crate::{
    command::timing::Arrival,
    link::Owner,
    rdma::qp::srq::SharedReceiveQueue,
    srp::machine::channel::{
        CloseReason,
        Disposition, //
    }, //
};

/// Resources to process an information unit.
struct Ready<'a> {
    /// Taken from the pool.
    cmd: Arc<Command>,
    /// Keeps session and connection.
    busy: Busy<'a>,
}

impl Ready<'_> {
    #[inline]
    fn process(self, received: Received) {
        dispatch::process(self.busy.owner(), self.cmd, received);
    }
}

/// Decision on an information unit, made with the lock held.
enum Decision<'a> {
    /// Process it.
    Process(Ready<'a>, Received),
    /// Held for later.
    Held,
    /// Drop it: the channel is closing.
    Discard(Received),
    /// Close the channel: the peer sent more than its credits allow.
    Overflow(Received),
}

impl Inner {
    /// Returns whether no earlier information unit is held or being processed by
    /// [`Channel::run_held`].
    fn in_order(&self) -> bool {
        self.incoming.held.is_empty() && !self.incoming.draining
    }

    /// Holds an information unit. There is room for as many as the peer has credits.
    fn hold(&mut self, mut received: Received) -> Decision<'static> {
        received.at.waited = true;
        match self.incoming.held.push_within_capacity(received) {
            Ok(()) => Decision::Held,
            Err(PushError(received)) => Decision::Overflow(received),
        }
    }
}

impl Channel {
    /// Takes a free command. The caller holds the lock.
    fn next_command<'a>(this: ArcBorrow<'a, Self>, inner: &mut Inner) -> Option<Ready<'a>> {
        let cmd = inner.commands.pool.pop()?;
        Some(Ready {
            cmd,
            busy: Busy::new(this),
        })
    }

    /// Takes the next held information unit that can be processed or dropped now. The caller holds
    /// the lock.
    fn next_held<'a>(this: ArcBorrow<'a, Self>, inner: &mut Inner) -> Option<Decision<'a>> {
        if inner.incoming.held.is_empty() {
            return None;
        }
        match inner.machine.iu_disposition() {
            Disposition::Discard => inner.incoming.held.remove(0).ok().map(Decision::Discard),
            Disposition::Process => {
                let ready = Self::next_command(this, inner)?;
                // Not empty: checked above.
                let received = inner.incoming.held.remove(0).ok()?;
                Some(Decision::Process(ready, received))
            }
        }
    }

    /// Handles an information unit that arrived. Process context.
    pub(super) fn incoming(this: ArcBorrow<'_, Self>, buf: Buffer, len: usize) {
        let received = Received {
            buf,
            len,
            at: Arrival::now(),
        };
        this.flow.heard();
        let arrival = {
            let mut inner = this.inner.lock();
            match inner.machine.iu_arrives() {
                Disposition::Discard => Decision::Discard(received),
                Disposition::Process if inner.in_order() => {
                    match Self::next_command(this, &mut inner) {
                        Some(ready) => Decision::Process(ready, received),
                        None => inner.hold(received),
                    }
                }
                Disposition::Process => inner.hold(received),
            }
        };
        match arrival {
            Decision::Process(ready, received) => ready.process(received),
            // A command may have become free since the lock was dropped.
            Decision::Held => Self::run_held(this),
            Decision::Discard(received) => this.discard(received.buf),
            Decision::Overflow(received) => {
                this.discard(received.buf);
                Self::close(this, CloseReason::ProtocolViolation);
            }
        }
    }

    /// Processes held information units while commands are free; on a closing channel, drops them.
    ///
    /// One task at a time does so, in the order of arrival. A nested call (a command that was just
    /// started may be free again) returns at once, which bounds the stack.
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
                Some(Decision::Process(ready, received)) => ready.process(received),
                Some(Decision::Discard(received)) => this.discard(received.buf),
                _ => return,
            }
        }
    }

    /// Reposts a buffer of the shared receive queue; frees any other. For channels that are
    /// closing.
    pub(super) fn discard(&self, buf: Buffer) {
        if let Some(srq) = self.shared_queue() {
            // If the device does not take it now, it is kept.
            let _ = srq.post_recv(buf);
        }
    }

    /// Posts the shared receives that the device did not take. Called once per period.
    pub(crate) fn refill(&self) {
        if let Some(srq) = self.shared_queue() {
            srq.refill();
        }
    }

    fn shared_queue(&self) -> Option<Arc<SharedReceiveQueue<Self>>> {
        let inner = self.inner.lock();
        let link = inner.connection.link.as_ref();
        link.and_then(|link| link.srq.clone())
    }
}
