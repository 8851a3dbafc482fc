// SPDX-License-Identifier: GPL-2.0

//! The data of a command: copies immediate data unless the engine has used it in place, fetches
//! other data by RDMA READ, and prepares the RDMA WRITEs of a read.
//!
//! Not here: descriptor tables ([`super::table`]).

use core::iter::once;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    note,
    step,
    Command,
    Descs,
    Part,
    Pool,
    Request, //
};
use crate::{
    engine::{
        Active,
        Delivery,
        Engine,
        RxDataStatus, //
    },
    rdma::{
        cqe::{
            CqeHandler,
            READ, //
        },
        rw::{
            RemoteSeg,
            RwDir, //
        },
        sg::SgList,
        wc::WorkCompletion, //
    },
    srp::{
        machine::{
            command::{
                Action,
                Event,
                Fact, //
            },
            sendq::NoSlot, //
        },
        wire::desc::{
            DataDesc,
            Dir,
            DirectDesc, //
        }, //
    },
    sync::atomic::Relaxed,
    trace, //
};

/// Result of a request for data.
enum Fetch {
    /// Immediate data: it is in the engine's buffer.
    Here,
    /// RDMA READs are prepared.
    Posting,
    /// The engine gets this result.
    Refused(Delivery),
}

/// Returns whether a repetition of [`crate::rdma::rw::RwSlot::fill`] may succeed after this error.
pub(super) fn is_transient(e: Error) -> bool {
    e == ENOMEM || e == EAGAIN
}

impl<O: Pool> Command<O> {
    /// Fetches the data of a write. See [`crate::engine::TargetCmd::rdy_to_xfer`].
    pub(crate) fn rdy_to_xfer(this: ArcBorrow<'_, Self>, data: SgList) -> Delivery {
        if this.must_wait() {
            return Delivery::QueueFull;
        }
        match this.fetch(data) {
            Fetch::Here => {
                Active::rx_data(this, RxDataStatus::Success);
                Delivery::Success
            }
            Fetch::Posting => Self::post_read(this),
            Fetch::Refused(delivery) => delivery,
        }
    }

    /// Copies immediate data into the engine's buffer, or prepares to fetch data by RDMA.
    fn fetch(&self, data: SgList) -> Fetch {
        match self.part(Dir::Out) {
            Part::None => Fetch::Refused(Delivery::FatalError),
            Part::Single(desc) => self.prepare_read(data, once(desc)),
            Part::Immediate | Part::Inside => {
                let Some(rx) = self.take_rx() else {
                    return Fetch::Refused(Delivery::FatalError);
                };
                let fetched = self.fetch_inside(&rx, data);
                self.put_rx(rx);
                match fetched {
                    Fetch::Here => self.note_immediate(),
                    other => other,
                }
            }
        }
    }

    /// As [`Self::fetch`], for data that has to be found in the request.
    fn fetch_inside(&self, rx: &Request<O>, mut sg: SgList) -> Fetch {
        let len = sg.len();
        let Some(data) = rx.data() else {
            return Fetch::Refused(Delivery::FatalError);
        };
        match data {
            DataDesc::Immediate(bytes) => {
                // The engine's buffer has the length of the CDB's transfer, or of the descriptors
                // if that is less.
                if sg.copy_from_slice(bytes) < len {
                    return Fetch::Refused(Delivery::FatalError);
                }
                Fetch::Here
            }
            DataDesc::Out(list) => self.prepare_read(sg, list.segments()),
            DataDesc::None | DataDesc::In(_) | DataDesc::External(_) | DataDesc::Bidi { .. } => {
                Fetch::Refused(Delivery::FatalError)
            }
        }
    }

    /// Notes that the engine has the data, which is immediate data.
    fn note_immediate(&self) -> Fetch {
        let mut inner = self.inner.lock();
        let (Descs::Immediate(len, _), true) = (inner.descs, inner.buf.is_some()) else {
            return Fetch::Refused(Delivery::FatalError);
        };
        if let Some(timing) = &mut inner.timing {
            timing.came_with_data(len);
        }
        // This is the event's only action.
        match step(&mut inner.machine, Event::HasData) {
            Some(Action::Execute) => Fetch::Here,
            _ => Fetch::Refused(Delivery::FatalError),
        }
    }

    /// Prepares to fetch data from `segments` by RDMA.
    fn prepare_read(
        &self,
        sg: SgList,
        segments: impl Iterator<Item = DirectDesc> + Clone,
    ) -> Fetch {
        let link = &self.link;
        let len = sg.len();
        let slots = match self.reserve_rdma(sg, segments, RwDir::Read) {
            Ok(slots) => slots,
            Err(delivery) => return Fetch::Refused(delivery),
        };
        let mut inner = self.inner.lock();
        inner.rdma_slots = slots;
        // CAST: What one command moves is less than 4 GiB.
        trace::rdma_read(link.owner.serial(), inner.head.tag, len as u32);
        if let Some(timing) = &mut inner.timing {
            timing.wants_data(len);
        }
        if let Some(Action::Fetch) = step(&mut inner.machine, Event::RdyToXfer) {
            return Fetch::Posting;
        }
        inner.rdma_slots = 0;
        drop(inner);
        self.rw.cancel();
        link.flow().release_rdma(slots);
        Fetch::Refused(Delivery::FatalError)
    }

    /// Returns whether the transfer found no room in the send queue, and must still wait for some.
    #[inline]
    pub(super) fn must_wait(&self) -> bool {
        let wanted = self.wanted.load(Relaxed);
        wanted != 0 && self.link.flow().must_wait(wanted)
    }

    /// Gives up a prepared transfer that needs `slots` and cannot have them. If it may have them
    /// later, [`Self::must_wait`] says when.
    pub(super) fn give_up(&self, slots: u32, why: NoSlot) {
        self.rw.cancel();
        if why == NoSlot::Full {
            self.wanted.store(slots, Relaxed);
        }
    }

    /// Fills the RDMA slot and reserves send queue slots; undoes both on failure.
    fn reserve_rdma(
        &self,
        sg: SgList,
        segments: impl Iterator<Item = DirectDesc> + Clone,
        dir: RwDir,
    ) -> Result<u32, Delivery> {
        let slots = self.fill(sg, segments, dir).map_err(|e| {
            if is_transient(e) {
                Delivery::QueueFull
            } else {
                Delivery::FatalError
            }
        })?;
        let reserved = self.link.flow().reserve_rdma(slots);
        reserved.map(|()| slots).map_err(|e| {
            self.give_up(slots, e);
            match e {
                NoSlot::Full => Delivery::QueueFull,
                NoSlot::NeverFits | NoSlot::Closed => Delivery::FatalError,
            }
        })
    }

    /// Fills the RDMA slot. The engine gets its list back when the slot is idle again, or with an
    /// error.
    pub(super) fn fill(
        &self,
        sg: SgList,
        segments: impl Iterator<Item = DirectDesc> + Clone,
        dir: RwDir,
    ) -> Result<u32> {
        let segments = segments.map(|desc| RemoteSeg {
            addr: desc.va,
            key: desc.key,
            len: desc.len,
        });
        let total = u32::try_from(sg.len()).map_err(|_| EINVAL)?;
        self.rw.fill(&self.link.qp, sg, segments, total, dir)
    }

    fn post_read(this: ArcBorrow<'_, Self>) -> Delivery {
        let link = &this.link;
        match link.qp.post_read(Arc::from(this)) {
            Ok(()) => Delivery::Success,
            Err((e, _)) => {
                this.rw.cancel();
                let slots = {
                    let mut inner = this.inner.lock();
                    note(&mut inner.machine, Fact::PostFailed);
                    core::mem::take(&mut inner.rdma_slots)
                };
                link.flow().release_rdma(slots);
                link.close_after("RDMA READs", e);
                Delivery::FatalError
            }
        }
    }
}

impl<O: Pool> CqeHandler<READ> for Command<O> {
    fn done(self: Arc<Self>, wc: &WorkCompletion) {
        let (action, slots, tag) = {
            let mut inner = self.inner.lock();
            let ok = wc.result().is_ok();
            let action = step(&mut inner.machine, Event::DataArrived { ok });
            let slots = core::mem::take(&mut inner.rdma_slots);
            if let (true, Some(timing)) = (ok, &mut inner.timing) {
                timing.has_data();
            }
            (action, slots, inner.head.tag)
        };
        let link = &self.link;
        trace::data(link.owner.serial(), tag, wc.result().is_ok());
        self.check("RDMA READ", wc);
        let status = match action {
            Some(Action::Submit) => return Self::table_here(self, slots),
            Some(Action::Abandon) => return Self::table_lost(self, slots),
            Some(Action::Execute) => RxDataStatus::Success,
            Some(Action::FailData) => RxDataStatus::Error,
            Some(
                Action::FetchTable
                | Action::Fetch
                | Action::SendResponse
                | Action::SkipResponse
                | Action::Answer
                | Action::Complete { .. }
                | Action::Recycle { .. },
            )
            | None => return link.flow().release_rdma(slots),
        };
        link.flow().release_rdma(slots);
        Active::rx_data(self.as_arc_borrow(), status);
    }
}
