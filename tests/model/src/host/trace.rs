// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/trace.rs`: the tracepoints. From two of them the model knows that a channel closes
//! and that it is gone.

use core::ffi::CStr;
use std::rc::Rc;

use crate::{
    conn::Conn,
    link::Owner,
    world::{world, Rule},
};

/// The connection of the channel with this serial number.
fn conn_of(serial: u64) -> Rc<Conn> {
    let is = |conn: &Rc<Conn>| conn.channel().serial() == serial;
    let conn = world().conns().into_iter().find(is);
    conn.expect("a connection")
}

/// The end of a channel was decided.
pub(crate) fn close(serial: u64, reason: &CStr) {
    let (world, conn) = (world(), conn_of(serial));
    let reason = reason.to_str().unwrap_or("");
    world.note(|| format!("channel {} closes: {reason}", conn.number));
    if conn.closing.replace(true) {
        world.breaks(Rule::OneTeardown, "the channel closes twice");
    }
    let failed = conn.error.get() || conn.faulty.get() || conn.reported.get();
    if reason == "queue pair error" && !failed {
        world.breaks(Rule::ErrorHappened, reason);
    }
    let blamed = matches!(reason, "protocol violation" | "response to nothing");
    if blamed && !conn.peer.rogue.get() {
        world.breaks(Rule::HonestPeer, reason);
    }
}

/// A channel is gone.
pub(crate) fn gone(serial: u64) {
    let conn = conn_of(serial);
    world().note(|| format!("channel {} is gone", conn.number));
    if conn.over.replace(true) {
        world().breaks(Rule::OneTeardown, "the channel is gone twice");
    }
    conn.check_gone();
    if world().conns().iter().all(|conn| conn.over.get()) {
        sched::settled();
    }
}

/// Tracepoints that the model has no use for.
macro_rules! unused {
    ($($name:ident($($type:ty),*);)*) => {$(
        pub(crate) fn $name($(_: $type),*) {}
    )*};
}

unused! {
    iu(u64, u8, u64, u32);
    submit(u64, u64, u64, u8, u32);
    rdma_read(u64, u64, u32);
    rdma_write(u64, u64, u32);
    data(u64, u64, bool);
    response(u64, u64, u8, i32, bool);
    sent(u64, u64, bool);
}

/// Nothing is recorded.
pub(crate) fn wants_iu() -> bool {
    false
}
