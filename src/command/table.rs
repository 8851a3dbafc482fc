// SPDX-License-Identifier: GPL-2.0

//! Commands whose descriptor table is in the initiator's memory: the table is fetched by RDMA READ
//! before the command is submitted to the engine.
//!
//! The send queue slot of the READ keeps tear-down waiting until the command is submitted or
//! abandoned. There are no retries: without room in the send queue the status is BUSY. Not here:
//! the format of the table ([`crate::srp::wire::desc`]).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    answer::LocalAnswer,
    note,
    scsi,
    step,
    timing::Timing,
    transfer::is_transient,
    wait::TableWait,
    Command,
    Descs,
    Head,
    Inner,
    Pool,
    Received, //
};

use crate::{
    link::Hold,
    rdma::rw::RemoteSeg,
    srp::{
        machine::{
            command::{
                Action,
                Event,
                Fact,
                State, //
            },
            sendq::NoSlot, //
        },
        wire::{
            desc::DirectDesc,
            scsi::status, //
        }, //
    }, //
};

impl<O: Pool> Command<O> {
    /// Begins a SCSI command for this logical unit by fetching its descriptor table.
    pub(crate) fn start_table(
        this: Arc<Self>,
        head: Head,
        rx: Received<O>,
        descs: Descs,
        lun: u64,
        table: DirectDesc,
    ) {
        let timing = Timing::new(rx.at);
        {
            let mut inner = this.begin(head, rx, descs);
            inner.timing = Some(timing);
            inner.table_lun = lun;
            let action = step(&mut inner.machine, Event::StartTable);
            let Some(Action::FetchTable) = action else {
                drop(inner);
                return Self::abandon(this);
            };
        }
        let link = this.link.clone();
        let slots = match this.reserve_table(table) {
            Ok(slots) => slots,
            Err(answer) => {
                note(&mut this.inner.lock().machine, Fact::PostFailed);
                return Self::answer(this, answer);
            }
        };
        this.inner.lock().rdma_slots = slots;
        if let Err((e, this)) = link.qp.post_read(this) {
            this.rw.cancel();
            {
                let mut inner = this.inner.lock();
                note(&mut inner.machine, Fact::PostFailed);
                inner.rdma_slots = 0;
            }
            link.flow().release_rdma(slots);
            link.close_after("the READ of a descriptor table", e);
            Self::abandon(this);
        }
    }

    /// Prepares the READ and reserves its send queue slots; undoes both on failure.
    fn reserve_table(&self, table: DirectDesc) -> Result<u32, LocalAnswer> {
        let busy = LocalAnswer::Status(status::BUSY);
        let seg = RemoteSeg {
            addr: table.va,
            key: table.key,
            len: table.len,
        };
        let slots = self.rw.fill_own(&self.link.qp, seg).map_err(|e| {
            if is_transient(e) {
                busy
            } else {
                LocalAnswer::INVALID_FIELDS
            }
        })?;
        let reserved = self.link.flow().reserve_table(slots);
        reserved.map(|()| slots).map_err(|e| {
            self.rw.cancel();
            match e {
                NoSlot::Full | NoSlot::Closed => busy,
                NoSlot::NeverFits => LocalAnswer::INVALID_FIELDS,
            }
        })
    }

    /// Submits the command: its table has arrived.
    pub(super) fn table_here(this: Arc<Self>, slots: u32) {
        // Taken before the slots are freed, so that tear-down keeps waiting.
        let hold = Hold::new(&this.link.owner);
        this.link.flow().release_rdma(slots);
        let scsi = match (this.rw.take_own(), this.take_rx()) {
            (Ok(table), Some(mut rx)) => {
                rx.table = Some(table);
                let scsi = rx.parse().map(|cmd| scsi::copy(&cmd));
                this.put_rx(rx);
                if let Some(timing) = &mut this.inner.lock().timing {
                    timing.submitted();
                }
                scsi
            }
            _ => None,
        };
        match scsi {
            Some(Ok(scsi)) => scsi::submit(&**hold.owner(), this, &scsi, None),
            Some(Err(_)) => Self::answer(this, LocalAnswer::Status(status::BUSY)),
            None => Self::answer(this, LocalAnswer::INVALID_FIELDS),
        }
        drop(hold);
    }

    /// Frees the command: its table did not arrive, or it was aborted meanwhile.
    pub(super) fn table_lost(this: Arc<Self>, slots: u32) {
        let hold = Hold::new(&this.link.owner);
        this.link.flow().release_rdma(slots);
        drop(this.rw.take_own());
        Self::abandon(this);
        drop(hold);
    }

    /// Aborts the command if it has this tag and its table is being fetched, so that it is never
    /// submitted; `wait` waits for its end. Returns whether that was so.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: nothing was done.
    pub(crate) fn abort_table(&self, tag: u64, wait: &TableWait<O>) -> Result<bool> {
        let mut inner = self.inner.lock();
        let found = inner.fetches_table() && inner.head.tag == tag;
        if found {
            inner.make_room_for_wait()?;
            inner.abort_table(wait);
        }
        Ok(found)
    }

    /// Prepares [`Self::abort_table_of`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn prepare_abort_of(&self, lun: u64) -> Result {
        let mut inner = self.inner.lock();
        match inner.fetches_table_of(lun) {
            true => inner.make_room_for_wait(),
            false => Ok(()),
        }
    }

    /// Aborts the command if it is for this logical unit and its table is being fetched; `wait`
    /// waits for its end. A command that was not prepared has come later than the function and is
    /// left alone.
    pub(crate) fn abort_table_of(&self, lun: u64, wait: &TableWait<O>) {
        let mut inner = self.inner.lock();
        if inner.fetches_table_of(lun) {
            inner.abort_table(wait);
        }
    }
}

impl<O: Pool> Inner<O> {
    fn fetches_table(&self) -> bool {
        self.machine.state() == State::FetchingTable
    }

    fn fetches_table_of(&self, lun: u64) -> bool {
        self.fetches_table() && self.table_lun == lun
    }

    /// Allocates what [`Self::abort_table`] needs.
    fn make_room_for_wait(&mut self) -> Result {
        let waits = self.waits.get_or_insert_with(KVec::new);
        Ok(waits.reserve(1, GFP_ATOMIC)?)
    }

    /// Aborts the command if there is room for the function that waits for its end.
    fn abort_table(&mut self, wait: &TableWait<O>) {
        let Some(waits) = &mut self.waits else {
            return;
        };
        if waits.push_within_capacity(wait.share()).is_ok() {
            note(&mut self.machine, Fact::Aborted);
        }
    }
}
