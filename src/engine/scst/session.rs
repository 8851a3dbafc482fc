// SPDX-License-Identifier: GPL-2.0

//! A channel's part in a session of SCST's: what it submits, and how it leaves.
//!
//! Not here: the session itself, which the channels of an I_T nexus share ([`super::shared`]);
//! access control, which SCST decides by the name of the session; the forms of names
//! ([`crate::srp::wire::ident`]).
//!
//! C source: `scst/src/scst_targ.c`, `scst_lib.c`.

use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    }, //
};

use super::{
    place::Place,
    shared::Shared, //
};
use crate::{
    bindings,
    engine::{
        OpenError,
        Port,
        Session,
        SessionKey,
        SessionRequest,
        TargetKey, //
    },
    queues,
    srp::{
        machine::{
            members::Member,
            order::{
                Admission,
                Order, //
            }, //
        },
        wire::{
            cdb,
            cmd::TaskAttr,
            ident::{
                address_name,
                gid_name, //
            }, //
        }, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        gate::{
            Gate,
            HasGate,
            Inside,
            Pass, //
        },
        workqueue::Queue, //
    }, //
};

/// Gate of callers that submit.
const SUBMITTERS: u64 = 1;

/// What the commands of a channel use of its session.
#[pin_data]
pub(super) struct Side {
    shared: Arc<Shared>,
    /// Which of the session's channels it is.
    member: Member,
    /// The users inside are submitting a command or function; the channel must not leave the
    /// session meanwhile.
    #[pin]
    submitters: Gate,
    /// The users inside are submitted commands and functions that were not returned.
    #[pin]
    commands: Gate,
    /// For commands that SCST returns in atomic context. Outlives the session, see
    /// [`crate::target::Lifetime`].
    queue: Arc<Queue>,
}

impl HasGate for Side {
    fn gate(&self) -> &Gate {
        &self.commands
    }
}

impl HasGate<SUBMITTERS> for Side {
    fn gate(&self) -> &Gate {
        &self.submitters
    }
}

/// Pass of a submitted command or function that was not returned: its channel stays in the session
/// until then. Drops also count off an ORDERED command.
pub(super) struct Submitted {
    pass: Pass<Side>,
    /// Logical unit that it is for.
    lun: u64,
    /// Whether it is counted in [`Shared::order`].
    ordered: bool,
}

impl Submitted {
    /// Work queue for commands that SCST returns in atomic context.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.pass.queue
    }

    /// Returns the tag by which SCST knows a task of this channel.
    #[inline]
    pub(super) fn engine_tag(&self, tag: u64) -> u64 {
        self.pass.member.engine_tag(tag)
    }

    /// Decides on the attribute of the command; see [`Order::admit`]. Returns [`None`] if it is to
    /// be answered with BUSY. The command is to be given to SCST while the guard exists. To be
    /// called at most once. Process context; sleeps with a command that becomes ORDERED.
    #[inline]
    pub(super) fn admit(&mut self, attr: TaskAttr, cdb: &[u8]) -> Option<(TaskAttr, rcu::Guard)> {
        let reading = rcu::read_lock();
        let bits = self.order().load(Acquire);
        if attr == TaskAttr::Simple && bits == Order::NONE.to_bits() {
            return Some((attr, reading));
        }
        let attr = self.admit_in_order(attr, cdb::is_executed_first(cdb), bits)?;
        if !self.ordered {
            return Some((attr, reading));
        }
        drop(reading);
        self.settle();
        Some((attr, rcu::read_lock()))
    }

    /// Counts this as an ORDERED command, which it may be no more than once. Process context,
    /// sleeps.
    #[cold]
    pub(super) fn count_ordered(&mut self) {
        let bits = self.order().load(Acquire);
        // An ORDERED command is always admitted.
        let _ = self.admit_in_order(TaskAttr::Ordered, false, bits);
        self.settle();
    }

    /// Implements [`Self::admit`]; `bits` is the state that was found.
    #[cold]
    fn admit_in_order(&mut self, attr: TaskAttr, first: bool, mut bits: u64) -> Option<TaskAttr> {
        loop {
            let now = Order::from_bits(bits);
            let (next, admission) = now.admit(attr, first);
            let Admission::As(attr) = admission else {
                return None;
            };
            if next == now {
                return Some(attr);
            }
            match self.order().cmpxchg(bits, next.to_bits(), Full) {
                Ok(_) => {
                    self.ordered = true;
                    return Some(attr);
                }
                Err(changed) => bits = changed,
            }
        }
    }

    /// Waits until SCST has the SIMPLE commands that were admitted before this ORDERED one.
    ///
    /// Not with one channel: its commands are submitted by at most two tasks at a time, what
    /// processes requests in the order of arrival, and the completion queue with a command whose
    /// descriptor table has arrived. So SCST may get one SIMPLE command behind this one. Harm needs
    /// two of them. (`several` is set before a second channel reads the state.)
    #[cold]
    fn settle(&self) {
        let state = Order::from_bits(self.order().load(Acquire));
        if state.is_settled() || !self.pass.shared.several.load(Acquire) {
            return;
        }
        // SAFETY: Process context, outside of a read-side critical section: the callers are.
        unsafe { kernel::bindings::synchronize_rcu() };
        self.change(Order::settle);
    }

    /// Counts off the command if it is ORDERED: SCST has returned it, or did not take it.
    /// Idempotent.
    #[inline]
    pub(super) fn ended(&mut self) {
        if core::mem::take(&mut self.ordered) {
            self.change(Order::ended);
        }
    }

    /// The ORDERED commands to the same logical unit.
    #[inline]
    fn order(&self) -> &Atomic<u64> {
        self.pass.shared.order(self.lun)
    }

    /// Changes the state of the ORDERED commands.
    #[cold]
    fn change(&self, f: impl Fn(Order) -> Order) {
        let order = self.order();
        let mut bits = order.load(Acquire);
        while let Err(changed) = order.cmpxchg(bits, f(Order::from_bits(bits)).to_bits(), Full) {
            bits = changed;
        }
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        self.ended();
    }
}

/// A channel's part in a session with SCST.
///
/// Dropping one that was not closed closes it, which sleeps; so a login that fails afterwards need
/// not close it.
pub(crate) struct ScstSession {
    side: Arc<Side>,
    place: Place,
    closed: Atomic<bool>,
}

/// Guard: the channel does not leave the session meanwhile.
pub(super) struct Submission<'a> {
    session: &'a ScstSession,
    _inside: Inside<'a, Side, SUBMITTERS>,
}

impl Submission<'_> {
    /// Returns the C session, which is valid as long as this exists.
    pub(super) fn as_raw(&self) -> *mut bindings::scst_session {
        self.session.place.as_raw()
    }

    /// Returns the pass that a submitted command or function for this logical unit keeps until it
    /// is returned.
    pub(super) fn submitted(&self, lun: u64) -> Option<Submitted> {
        Some(Submitted {
            pass: Pass::enter(&self.session.side)?,
            lun,
            ordered: false,
        })
    }
}

impl ScstSession {
    /// Joins the session of the initiator with the target of the port, or opens one. Process
    /// context, sleeps.
    ///
    /// # Errors
    ///
    /// `NotAllowed` if there is no target or it is not enabled, `NoMemory`.
    pub(super) fn open(port: &Port, request: &SessionRequest) -> Result<Self, OpenError> {
        let name = match (request.port_gid, request.peer) {
            (Some(gid), _) => gid_name(gid),
            (None, Some(addr)) => address_name(addr),
            (None, None) => gid_name(request.initiator_port),
        };
        let queues = queues::get().map_err(|_| OpenError::NoMemory)?;
        let registered = port.engine().lock();
        let registered = registered.as_ref().ok_or(OpenError::NotAllowed(None))?;
        let place = Place::take(registered, request.initiator_port, name)?;
        let (shared, member) = (place.shared().clone(), place.member());
        let side = Arc::pin_init(
            pin_init!(Side {
                shared,
                member,
                submitters <- Gate::new(),
                commands <- Gate::new(),
                queue: queues.retry.clone(),
            }),
            GFP_KERNEL,
        )
        .map_err(|_| OpenError::NoMemory)?;
        Ok(Self {
            side,
            place,
            closed: Atomic::new(false),
        })
    }

    /// Returns the guard for a submission, unless the session was stopped. Any context.
    pub(super) fn begin(&self) -> Option<Submission<'_>> {
        Some(Submission {
            session: self,
            _inside: Inside::enter(&*self.side)?,
        })
    }
}

impl Session for ScstSession {
    /// Identity of the session, which its channels have in common.
    fn key(&self) -> SessionKey {
        self.place.key()
    }

    /// Identity of the target.
    fn target(&self) -> TargetKey {
        self.place.target().key()
    }

    /// Name of the session, by which SCST decides which LUNs it can access.
    fn name(&self) -> &CStr {
        self.side.shared.name.as_c_str()
    }

    /// Empty: the names of sessions do not distinguish nexuses.
    fn entry(&self) -> &CStr {
        c""
    }

    /// Stops the channel: further commands and functions are refused. Idempotent. Any context.
    fn stop(&self) {
        self.side.submitters.close();
    }

    /// Returns whether no close was requested and the target was not disabled since it let the
    /// session in. Both are recorded before the search for channels, so either this or the search
    /// detects them.
    fn is_valid(&self) -> bool {
        self.side.shared.is_wanted() && self.place.target().epoch() == self.side.shared.epoch
    }

    /// Stops the channel, aborts `tasks`, waits until all its commands were returned, and leaves
    /// the session, whose last channel ends it. Only the first call has an effect. Process
    /// context, sleeps.
    fn close(&self, tasks: impl Iterator<Item = u64>) {
        if self.closed.xchg(true, Full) {
            return;
        }
        self.stop();
        // Bounded: submitting does not wait for commands.
        self.side.submitters.wait_empty();
        for tag in tasks {
            self.place.abort(tag);
        }
        // What the device executes is waited for.
        self.side.commands.close();
        self.side.commands.wait_empty();
        self.place.leave();
    }
}

impl Drop for ScstSession {
    fn drop(&mut self) {
        self.close(core::iter::empty());
    }
}
