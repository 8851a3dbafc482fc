// SPDX-License-Identifier: GPL-2.0
//! Accounting of send queue slots.
//!
//! Responses and RDMA work requests share a send queue of fixed size. If RDMA work requests could
//! fill it, the response to a finished command might not be posted, and the initiator would see a
//! timeout. Therefore one slot per command is set aside for its response, and RDMA gets the rest.
//!
//! A transfer that finds no room tries again later. Until then room of its size is left to it by
//! smaller ones, which would otherwise take every slot that becomes free.
//!
//! Not here: posting work requests and waiting for slots (the driver).

/// The send queue has no room for RDMA next to the responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSmall;

/// Why slots could not be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// Not now, but possibly after a release.
    Full,
    /// Never: more were requested than exist.
    NeverFits,
    /// Never again: the queue was closed.
    Closed,
}

/// More slots were released than are in use: an error of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// The slots of one send queue.
///
/// # Invariants
///
/// `rdma <= total - commands` and `responses <= commands`, hence `rdma + responses <= total`: all
/// reserved slots exist. Once closed, no counter increases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SendQueue {
    /// Number of slots RDMA may use.
    rdma_limit: u32,
    /// Number of slots set aside for responses.
    commands: u32,
    /// Number of slots used by RDMA.
    rdma: u32,
    /// Number of slots used by responses.
    responses: u32,
    /// Number of slots that the largest transfer that found no room needs; 0 if there is none.
    wanted: u32,
    /// Reservations are refused.
    closed: bool,
}

impl SendQueue {
    /// Divides a queue of `total` slots among `commands` responses and RDMA.
    ///
    /// Other sends of the driver, such as credit requests or the last work request of a drain, are
    /// either counted in `commands` or left out of `total`.
    ///
    /// # Errors
    ///
    /// [`TooSmall`] if nothing is left for RDMA.
    pub(crate) fn new(total: u32, commands: u32) -> Result<Self, TooSmall> {
        match total.checked_sub(commands) {
            None | Some(0) => Err(TooSmall),
            Some(rdma_limit) => Ok(Self {
                rdma_limit,
                commands,
                rdma: 0,
                responses: 0,
                wanted: 0,
                closed: false,
            }),
        }
    }

    /// Reserves `n` slots for RDMA, all or none. A larger transfer that found no room before gets
    /// it first, unless no slot is in use for RDMA: then that one may have been given up.
    ///
    /// # Errors
    ///
    /// [`NoSlot`]; nothing is reserved in this case.
    pub(crate) fn reserve_rdma(&mut self, n: u32) -> Result<(), NoSlot> {
        if self.closed {
            return Err(NoSlot::Closed);
        }
        if n > self.rdma_limit {
            return Err(NoSlot::NeverFits);
        }
        if n == 0 {
            return Ok(());
        }
        if self.must_wait(n) {
            return Err(NoSlot::Full);
        }
        if self.left_by(n) == 0 {
            self.wanted = 0;
        }
        self.rdma = self.rdma.saturating_add(n);
        Ok(())
    }

    /// Returns whether a transfer of `n` slots that found no room must still wait. Room is left to
    /// it then, as if it had tried to reserve.
    pub(crate) fn must_wait(&mut self, n: u32) -> bool {
        let waits = !self.has_room(n);
        if waits {
            self.wanted = self.wanted.max(n);
        }
        waits
    }

    /// Returns whether `n` slots for RDMA can be reserved now.
    fn has_room(&self, n: u32) -> bool {
        // The sums are of numbers that are each at most the size of the queue.
        let used = self.rdma.saturating_add(n);
        used.saturating_add(self.left_by(n)) <= self.rdma_limit
    }

    /// Returns how many slots a transfer of `n` slots leaves to a larger one.
    fn left_by(&self, n: u32) -> u32 {
        match self.wanted {
            wanted if wanted > n && self.rdma != 0 => wanted,
            _ => 0,
        }
    }

    /// Releases `n` RDMA slots, because the work requests completed or were not posted.
    ///
    /// # Errors
    ///
    /// [`Unbalanced`] if fewer are in use. Nothing changes in this case.
    pub(crate) fn release_rdma(&mut self, n: u32) -> Result<(), Unbalanced> {
        self.rdma = self.rdma.checked_sub(n).ok_or(Unbalanced)?;
        Ok(())
    }

    /// Reserves the slot set aside for the response of a command.
    ///
    /// # Errors
    ///
    /// [`NoSlot::Closed`] after a close. [`NoSlot::Full`] if more responses are under way than
    /// there are commands, which is an error of the caller.
    pub(crate) fn reserve_response(&mut self) -> Result<(), NoSlot> {
        if self.closed {
            return Err(NoSlot::Closed);
        }
        if self.responses >= self.commands {
            return Err(NoSlot::Full);
        }
        self.responses = self.responses.saturating_add(1);
        Ok(())
    }

    /// Releases the slot of a response, because it completed or was not posted.
    ///
    /// # Errors
    ///
    /// [`Unbalanced`] if no response is under way. Nothing changes in this case.
    pub(crate) fn release_response(&mut self) -> Result<(), Unbalanced> {
        self.responses = self.responses.checked_sub(1).ok_or(Unbalanced)?;
        Ok(())
    }

    /// Refuses all further reservations. Reserved slots still have to be released.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Returns whether the queue was closed.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the largest number of RDMA slots that can ever be reserved.
    #[allow(dead_code, reason = "for the tests' invariants")]
    pub(crate) const fn rdma_limit(&self) -> u32 {
        self.rdma_limit
    }

    /// Returns the number of slots in use.
    pub(crate) const fn outstanding(&self) -> u32 {
        // The invariant bounds the sum by the size of the queue.
        self.rdma.saturating_add(self.responses)
    }

    /// Returns whether no slot is in use.
    pub(crate) const fn is_idle(&self) -> bool {
        self.outstanding() == 0
    }
}
