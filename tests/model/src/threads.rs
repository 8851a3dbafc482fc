// SPDX-License-Identifier: GPL-2.0
//! What happens, and when: the threads that act on the channel. Each does in its own time what HCA,
//! connection manager, peer, engine, reaper and administrator do; with all of them the scheduler
//! makes every order.
//!
//! Not here: what the driver does about it, which is the module's files, and the work queues, whose
//! work is threads, too.

use std::rc::Rc;

use kernel::{error::Result, sync::Arc};

use crate::{
    channel::{list, Channel},
    conn::{Conn, What},
    hca::Hca,
    login::{self, Login},
    queues,
    rdma::{
        cm::{CmEvent, ConnHandler},
        qp::{QpEvent, QpOwner},
        wc::WcStatus,
    },
    scripted::work,
    srp::machine::channel::CloseReason,
    sync::gate::HasGate,
    world::{world, Config, End, Rule, Second},
};

/// What a thread does.
type Run = fn(Rc<Conn>);

/// Makes the channel and everything around it, and the threads.
pub(crate) fn begin(cfg: &Config) {
    begin_checked(cfg).expect("memory");
}

fn begin_checked(cfg: &Config) -> Result {
    list::clear();
    queues::start()?;
    let hca = Hca::new()?;
    for number in 0..if cfg.second == Second::None { 1 } else { 2 } {
        connect(cfg, number, &hca)?;
    }
    let first = world().conn(0);
    let threads: [(&str, u8, Run); 3] = [
        ("reaper", cfg.looks, look),
        ("luns", cfg.events, change_luns),
        ("end", u8::from(cfg.ends != [End::Rest]), end),
    ];
    for (name, times, run) in threads {
        if times > 0 {
            let at = first.clone();
            sched::spawn(name, move || run(at));
        }
    }
    sched::spawn_late("rest", 2, rest);
    Ok(())
}

/// Makes a channel and its threads.
fn connect(cfg: &Config, number: usize, hca: &Arc<Hca<Channel>>) -> Result {
    let conn = Conn::new(number);
    world().connects(&conn);
    let prepared = login::prepare(&conn, hca)?;
    *conn.channel.borrow_mut() = Some(prepared.channel().clone());
    *conn.hca.borrow_mut() = Some(hca.clone());
    if cfg.connected && (number == 0 || cfg.second == Second::Beside) {
        log_in(&conn, prepared);
        conn.established.set(true);
        Channel::cm_event(conn.channel().as_arc_borrow(), CmEvent::Established);
    } else {
        let at = conn.clone();
        sched::spawn("login", move || log_in(&at, prepared));
    }
    let engines = usize::from(cfg.engines);
    let late = u8::from(cfg.slow);
    let threads: [(&str, u8, usize, Run); 7] = [
        ("completions", 0, 1, completions),
        ("wire", 0, 1, wire),
        ("cm", 0, 1, connection_manager),
        ("peer", 0, 1, speak),
        ("engine", late, engines, work::work),
        ("retry", 1, 1, work::retry),
        ("abort", 0, usize::from(cfg.aborts > 0), work::abort),
    ];
    for (name, late, count, run) in threads {
        for _ in 0..count {
            let at = conn.clone();
            sched::spawn_late(name, late, move || run(at));
        }
    }
    Ok(())
}

/// The login handler.
fn log_in(conn: &Rc<Conn>, prepared: Login) {
    login::connect(conn, prepared);
    conn.login_done.set(true);
    sched::touch(&conn.cm, true);
}

/// The work item that polls the completion queue.
fn completions(conn: Rc<Conn>) {
    loop {
        let at = conn.clone();
        sched::wait(&conn.qp, move || {
            at.recv_due() || at.send_due() || at.over.get()
        });
        let (recv, send) = (conn.recv_due(), conn.send_due());
        if !recv && !send {
            return;
        }
        let recv = recv && (!send || sched::choose(2) == 0);
        conn.handling.set(true);
        match recv {
            true => complete_recv(&conn),
            false => complete_send(&conn),
        }
        conn.handling.set(false);
        sched::touch(&conn.qp, true);
    }
}

fn complete_recv(conn: &Conn) {
    let arrived = conn.arrived.borrow_mut().pop_front();
    let (done, data) = match arrived {
        Some((done, data)) => (Some(done), Some(data)),
        None => (conn.posted.borrow_mut().pop_front(), None),
    };
    if let Some(done) = done {
        match &data {
            Some(data) => world().note(|| format!("receives 0x{:x}", data[0])),
            None => world().note(|| "flushes a receive".into()),
        }
        done(data);
    }
}

fn complete_send(conn: &Conn) {
    let wr = conn.sends.borrow_mut().pop_front();
    let Some(wr) = wr else { return };
    let status = wr.status.unwrap_or(WcStatus::Flush);
    conn.completed.set(conn.completed.get() + 1);
    if let (What::Read(tag), true) = (&wr.what, status != WcStatus::Ok) {
        conn.unread.borrow_mut().push(*tag);
    }
    sched::touch(conn.engine.trace(), true);
    world().note(|| match &wr.what {
        What::Read(tag) => format!("completes the READ for {tag}: {status}"),
        What::Send(bytes) => format!("completes 0x{:x}: {status}", bytes[0]),
        What::Probe => format!("completes a probe: {status}"),
    });
    (wr.done)(status);
}

/// Carries out what is posted, in order.
fn wire(conn: Rc<Conn>) {
    loop {
        let at = conn.clone();
        sched::wait(&conn.qp, move || at.wire_due() || at.over.get());
        if !conn.wire_due() {
            return;
        }
        sched::touch(&conn.peer.trace, true);
        let fails = !conn.peer.up.get() || conn.fails();
        let mut bytes = None;
        if let Some(wr) = conn
            .sends
            .borrow_mut()
            .iter_mut()
            .find(|wr| wr.status.is_none())
        {
            wr.status = Some(if fails {
                WcStatus::Failed
            } else {
                WcStatus::Ok
            });
            if let (What::Send(data), false) = (&wr.what, fails) {
                bytes = Some(data.clone());
            }
        }
        if !fails {
            let mut sends = conn.sends.borrow_mut();
            sends.retain(|wr| !(wr.copied && matches!(wr.status, Some(WcStatus::Ok))));
        }
        if fails {
            conn.error.set(true);
        }
        if let Some(bytes) = bytes {
            world().note(|| format!("the peer gets 0x{:x}", bytes[0]));
            conn.peer.receive(&conn, &bytes);
        }
    }
}

/// What the connection manager may report.
fn reports(conn: &Conn) -> Vec<CmEvent> {
    let mut events = Vec::new();
    if !conn.login_done.get() || conn.cm_gone.get() || !conn.accepted.get() {
        return events;
    }
    if !conn.established.get() {
        if conn.refused.get() {
            events.push(CmEvent::Rejected(0));
        } else if conn.unreachable.get() {
            events.push(CmEvent::Unreachable);
        } else if conn.peer.up.get() || conn.notified.get() {
            events.push(CmEvent::Established);
        }
    }
    if conn.disconnected.get() {
        events.push(CmEvent::Disconnected);
    }
    events
}

/// The connection manager: one report at a time.
fn connection_manager(conn: Rc<Conn>) {
    loop {
        let at = conn.clone();
        sched::wait(&conn.cm, move || !reports(&at).is_empty() || at.over.get());
        sched::touch(&conn.peer.trace, true);
        let events = reports(&conn);
        if events.is_empty() {
            return;
        }
        let event = events[sched::choose(events.len())];
        match event {
            CmEvent::Established => conn.established.set(true),
            CmEvent::Disconnected => conn.disconnected.set(false),
            // One report, as for a connection that is there.
            _ => conn.established.set(true),
        }
        world().note(|| format!("reports {event:?}"));
        conn.in_cm_handler.set(true);
        Channel::cm_event(conn.channel().as_arc_borrow(), event);
        conn.in_cm_handler.set(false);
        sched::touch(&conn.cm, true);
    }
}

/// The peer sends.
fn speak(conn: Rc<Conn>) {
    loop {
        let at = conn.clone();
        let ready = |at: &Conn| {
            at.peer.up.get()
                && !at.silent.get()
                && at.accepted.get()
                && !at.error.get()
                && !at.posted.borrow().is_empty()
                && at.peer.can_speak()
        };
        let over = |at: &Conn| at.over.get() || !at.peer.up.get() && at.closing.get();
        sched::wait(&conn.peer.trace, move || over(&at) || ready(&at));
        sched::touch(&conn.qp, true);
        if !ready(&conn) {
            return;
        }
        if let Some(bytes) = conn.peer.speak() {
            if let Some(done) = conn.posted.borrow_mut().pop_front() {
                conn.arrived.borrow_mut().push_back((done, bytes));
            }
        }
    }
}

/// The reaper.
fn look(conn: Rc<Conn>) {
    for _ in 0..conn.cfg.looks {
        let at = conn.clone();
        sched::wait(&conn.cm, move || at.login_done.get() || at.over.get());
        list::look_after_peers();
    }
}

/// Logical units change.
fn change_luns(conn: Rc<Conn>) {
    for _ in 0..conn.cfg.events {
        let at = conn.clone();
        sched::wait(&conn.cm, move || at.login_done.get());
        list::announce_luns(|_| true);
    }
}

/// The connection ends, unless that is left to [`rest`].
fn end(conn: Rc<Conn>) {
    let ends = conn.cfg.ends;
    let end = ends[sched::choose(ends.len())];
    let at = conn.clone();
    let early = end == End::Remove;
    sched::wait(&conn.cm, move || {
        early || at.accepted.get() || at.closing.get()
    });
    if end != End::Rest {
        world().note(|| format!("the end: {end:?}"));
    }
    match end {
        End::Rest => {}
        End::Disconnect | End::Reject | End::Unreachable => {
            sched::touch(&conn.peer.trace, true);
            conn.peer.up.set(false);
            match end {
                End::Reject if !conn.established.get() => conn.refused.set(true),
                End::Unreachable if !conn.established.get() => conn.unreachable.set(true),
                _ => conn.disconnected.set(true),
            }
        }
        End::Close => list::close(CloseReason::Administrator, |_| true),
        End::Cut => {
            sched::touch(&conn.qp, true);
            conn.error.set(true);
        }
        End::Silence => {
            sched::touch(&conn.qp, true);
            conn.silent.set(true);
            list::close(CloseReason::PeerSilent, |_| true);
        }
        End::Stuck => {
            sched::touch(&conn.qp, true);
            conn.stuck.set(true);
            list::close(CloseReason::Administrator, |_| true);
        }
        End::Remove => {
            let hca = conn.hca.borrow().clone().expect("an HCA");
            for conn in world().conns() {
                conn.removing.set(true);
            }
            hca.gate().close();
            list::close(CloseReason::DeviceRemoved, |_| true);
            hca.gate().wait_empty();
            if !conn.over.get() && !conn.hca_left() {
                world().breaks(
                    Rule::NothingLeft,
                    "the HCA is freed before the channel is gone",
                );
            }
        }
        End::Fatal => {
            let channel = conn.channel();
            conn.reported.set(true);
            Channel::qp_event(channel.as_arc_borrow(), QpEvent::Fatal(0));
            // What the reaper does about it.
            list::close(CloseReason::QpError, Channel::has_failed);
        }
    }
}

/// Nothing happens any more: open channels are looked at, and closed.
fn rest() {
    let conns = world().conns();
    sched::wait(&conns[0].cm, || true);
    if conns[0].cfg.second == Second::Instead && conns.iter().all(|conn| !conn.closing.get()) {
        return world().breaks(Rule::Replaced, "both channels are open");
    }
    for conn in conns.iter().filter(|conn| !conn.over.get()) {
        if conn.closing.get() {
            return world().breaks(Rule::Ends, "tear-down does not go on");
        }
        if conn.removing.get() {
            return world().breaks(Rule::Ends, "open, and the HCA is being removed");
        }
        let calm = conn.peer.up.get() && !conn.error.get() && !conn.faulty.get();
        world().note(|| "nothing more happens".into());
        if calm {
            conn.check_rest();
        }
    }
    list::close(CloseReason::Administrator, |_| true);
}
