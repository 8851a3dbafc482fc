// SPDX-License-Identifier: GPL-2.0
//! One connection to a target: address, login, messages in both directions, and every way to end it.
//!
//! librdmacm makes it in either case: it carries the IB/CM, too, for an address of the family AF_IB.
//! The request then has the private data as they are given, without a header of the RDMA/CM before.
//!
//! It knows nothing about SRP but how messages are counted; what they say is in `iu.rs`, what is done
//! with them in `session.rs`.

use std::{
    collections::VecDeque,
    ffi::CStr,
    io, mem,
    net::SocketAddr,
    os::raw::c_int,
    ptr,
    time::{Duration, Instant},
};

use crate::{
    dest::{Dest, Service},
    memory::{Memory, CANARY},
    sys,
    verbs::{
        never_block, os_error, paced, private_data, status_name, wait_readable, Access, Completion,
        Fallible, Queue, Region,
    },
};

/// Time limit for anything the connection manager does.
const CM_TIMEOUT: Duration = Duration::from_secs(30);

/// Size of the largest message that is sent or received, in bytes.
pub(crate) const MESSAGE: usize = 16384;

/// Room for messages of a target; more than it may send, to notice if it does.
const RECV_SIZE: usize = 2048;

/// What can be chosen about a connection.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Number of receives there are.
    pub(crate) recvs: usize,
    /// How many of them are posted before connecting.
    pub(crate) first_recvs: usize,
    /// Number of messages that can be under way.
    pub(crate) sends: usize,
    /// Size in bytes of the memory the target may access.
    pub(crate) memory: usize,
    /// Post a receive again when its message was taken.
    pub(crate) repost: bool,
    /// Post a receive with each message that is sent.
    pub(crate) recv_per_send: bool,
    /// Answer a disconnect of the target.
    pub(crate) answer_disconnect: bool,
    /// Never ask for events with messages, but look every few milliseconds: an event that was asked
    /// for cannot be called off, and would hide whether a message is solicited.
    pub(crate) poll_only: bool,
    /// How often the target's sends are retried when no receive is posted; 7 is for ever.
    pub(crate) rnr_retry: u8,
    /// RDMA READs that the target may have under way.
    pub(crate) read_depth: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recvs: 200,
            first_recvs: usize::MAX,
            sends: 32,
            memory: 1 << 20,
            repost: true,
            recv_per_send: false,
            answer_disconnect: true,
            poll_only: false,
            rnr_retry: 7,
            read_depth: 4,
        }
    }
}

/// How an attempt to connect ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Accepted, with the private data of the answer.
    Accepted(Vec<u8>),
    /// Refused, with the reason of the connection manager and the private data of the answer.
    Rejected(c_int, Vec<u8>),
    /// Neither, with the event and its status.
    Failed(String, c_int),
}

/// What came of waiting for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// A message.
    Message(Vec<u8>),
    /// The connection has ended, and no message is left.
    Gone,
    /// Nothing in time.
    Timeout,
}

/// A connection. Dropping it disconnects.
pub(crate) struct Conn {
    has_qp: bool,
    // Fields are dropped in this order, after the queue pair.
    recv_queue: Queue,
    send_queue: Queue,
    recv_ring: Region,
    send_ring: Region,
    /// What the target may access.
    pub(crate) memory: Memory,
    /// What it may access for a while; see [`Self::lend`].
    lent: Option<Region>,
    /// What was chosen; may be changed on the way.
    pub(crate) options: Options,
    messages: VecDeque<Vec<u8>>,
    free_sends: Vec<usize>,
    /// Slots of receives that are not posted.
    free_recvs: Vec<usize>,
    connected: bool,
    gone: Option<String>,
    handles: Handles,
}

// SAFETY: A connection is used by one thread at a time; libibverbs and librdmacm do not care which.
unsafe impl Send for Conn {}

/// The connection manager's id and the channel of its events. What belongs to the device of the id
/// must be gone before.
struct Handles {
    channel: *mut sys::rdma_event_channel,
    id: *mut sys::rdma_cm_id,
}

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: Both are ours or null, and events are acknowledged as they are taken.
        unsafe {
            if !self.id.is_null() {
                sys::rdma_destroy_id(self.id);
            }
            if !self.channel.is_null() {
                sys::rdma_destroy_event_channel(self.channel);
            }
        }
    }
}

/// An event of the connection manager, copied.
struct Event {
    kind: u32,
    status: c_int,
    data: Vec<u8>,
}

impl Event {
    fn name(&self) -> String {
        // SAFETY: The function takes any number and returns a constant string.
        let text = unsafe { CStr::from_ptr(sys::rdma_event_str(self.kind)) };
        text.to_string_lossy()
            .replace("RDMA_CM_EVENT_", "")
            .to_lowercase()
    }
}

/// Waits for the next event and takes it; [`None`] if there is none in time.
fn next_event(channel: *mut sys::rdma_event_channel, timeout: Duration) -> Fallible<Option<Event>> {
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // SAFETY: The channel is that of a connection, which exists.
        let [readable] = wait_readable([unsafe { (*channel).fd }], left)?;
        if !readable {
            return Ok(None);
        }
        // The library keeps some events to itself, and then there is none after all.
        if let Some(event) = take_event(channel)? {
            return Ok(Some(event));
        }
    }
}

/// Takes an event that is there.
fn take_event(channel: *mut sys::rdma_event_channel) -> Fallible<Option<Event>> {
    let mut event = ptr::null_mut();
    // SAFETY: The channel is that of a connection, which exists; the event is ours until it is
    // acknowledged, and copied before.
    unsafe {
        if sys::rdma_get_cm_event(channel, &mut event) != 0 {
            return match io::Error::last_os_error().kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(os_error("rdma_get_cm_event")),
            };
        }
        let conn = (*event).param.conn;
        let with_data = matches!(
            (*event).event,
            sys::RDMA_CM_EVENT_ESTABLISHED
                | sys::RDMA_CM_EVENT_CONNECT_RESPONSE
                | sys::RDMA_CM_EVENT_REJECTED
        );
        let copy = Event {
            kind: (*event).event,
            status: (*event).status,
            data: if with_data {
                private_data(conn.private_data, conn.private_data_len)
            } else {
                Vec::new()
            },
        };
        sys::rdma_ack_cm_event(event);
        Ok(Some(copy))
    }
}

/// Waits for an event of this kind.
fn expect_event(channel: *mut sys::rdma_event_channel, kind: u32) -> Fallible<()> {
    match next_event(channel, paced(CM_TIMEOUT))? {
        Some(event) if event.kind == kind => Ok(()),
        Some(event) => Err(format!("{}, status {}", event.name(), event.status)),
        None => Err("the connection manager says nothing".into()),
    }
}

/// Returns the port space of the RDMA/CM that such addresses are in.
fn port_space(dest: Dest) -> u32 {
    match dest {
        Dest::Rdma(_) => sys::RDMA_PS_TCP,
        Dest::Ib(_) => sys::RDMA_PS_IB,
    }
}

/// Starts to resolve `dest`.
fn resolve(id: *mut sys::rdma_cm_id, dest: Dest) -> c_int {
    let ms = CM_TIMEOUT.as_millis() as c_int;
    // SAFETY: All zero is a valid value of these structures; the library copies the address. The id
    // is that of a connection in the making.
    unsafe {
        match dest {
            Dest::Rdma(SocketAddr::V4(v4)) => {
                let mut address: sys::sockaddr_in = mem::zeroed();
                address.sin_family = sys::AF_INET as u16;
                address.sin_port = v4.port().to_be();
                address.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                let to = ptr::from_mut(&mut address).cast();
                sys::rdma_resolve_addr(id, ptr::null_mut(), to, ms)
            }
            Dest::Rdma(SocketAddr::V6(v6)) => {
                let mut address: sys::sockaddr_in6 = mem::zeroed();
                address.sin6_family = sys::AF_INET6 as u16;
                address.sin6_port = v6.port().to_be();
                address.sin6_addr.__in6_u.__u6_addr8 = v6.ip().octets();
                address.sin6_scope_id = v6.scope_id();
                let to = ptr::from_mut(&mut address).cast();
                sys::rdma_resolve_addr(id, ptr::null_mut(), to, ms)
            }
            Dest::Ib(Service {
                dgid,
                pkey,
                id: service,
            }) => {
                let mut address: sys::sockaddr_ib = mem::zeroed();
                address.sib_family = sys::AF_IB as u16;
                address.sib_pkey = pkey.to_be();
                address.sib_addr.ib_u.uib_addr8 = dgid;
                address.sib_sid = service.to_be();
                address.sib_sid_mask = u64::MAX;
                let to = ptr::from_mut(&mut address).cast();
                sys::rdma_resolve_addr(id, ptr::null_mut(), to, ms)
            }
        }
    }
}

impl Conn {
    /// Resolves the address and route to `dest` and makes a queue pair with its receives.
    pub(crate) fn open(dest: Dest, options: Options) -> Fallible<Self> {
        let mut handles = Handles {
            channel: ptr::null_mut(),
            id: ptr::null_mut(),
        };
        // SAFETY: Takes nothing.
        handles.channel = unsafe { sys::rdma_create_event_channel() };
        if handles.channel.is_null() {
            return Err(os_error("rdma_create_event_channel"));
        }
        // SAFETY: The channel was just made.
        never_block(unsafe { (*handles.channel).fd })?;
        // SAFETY: The channel was just made; the id is ours.
        let rc = unsafe {
            sys::rdma_create_id(
                handles.channel,
                &mut handles.id,
                ptr::null_mut(),
                port_space(dest),
            )
        };
        if rc != 0 {
            return Err(os_error("rdma_create_id"));
        }
        if resolve(handles.id, dest) != 0 {
            return Err(os_error("rdma_resolve_addr"));
        }
        expect_event(handles.channel, sys::RDMA_CM_EVENT_ADDR_RESOLVED)?;
        // SAFETY: The id is ours.
        if unsafe { sys::rdma_resolve_route(handles.id, CM_TIMEOUT.as_millis() as c_int) } != 0 {
            return Err(os_error("rdma_resolve_route"));
        }
        expect_event(handles.channel, sys::RDMA_CM_EVENT_ROUTE_RESOLVED)?;

        // SAFETY: The id is ours and bound to a device, which librdmacm keeps open.
        let (context, pd) = unsafe { ((*handles.id).verbs, (*handles.id).pd) };
        // SAFETY: As above, for all of these.
        let (recv_queue, send_queue, recv_ring, send_ring, exposed) = unsafe {
            (
                Queue::new(context, options.recvs + 8)?,
                Queue::new(context, options.sends + 8)?,
                Region::new(pd, options.recvs.max(1) * RECV_SIZE, Access::Local)?,
                Region::new(pd, options.sends * MESSAGE, Access::Local)?,
                Region::new(pd, options.memory + 2 * CANARY, Access::Remote)?,
            )
        };
        // SAFETY: All zero is a valid value of this structure.
        let mut attr: sys::ibv_qp_init_attr = unsafe { mem::zeroed() };
        attr.cap = sys::ibv_qp_cap {
            max_send_wr: options.sends as u32 + 4,
            max_recv_wr: options.recvs as u32 + 4,
            max_send_sge: 1,
            max_recv_sge: 1,
            max_inline_data: 0,
        };
        attr.qp_type = sys::IBV_QPT_RC;
        attr.sq_sig_all = 1;
        attr.send_cq = send_queue.as_ptr();
        attr.recv_cq = recv_queue.as_ptr();
        // SAFETY: The id is ours; the queues outlive the queue pair.
        if unsafe { sys::rdma_create_qp(handles.id, pd, &mut attr) } != 0 {
            return Err(os_error("rdma_create_qp"));
        }

        let first = options.first_recvs.min(options.recvs);
        let conn = Self {
            has_qp: true,
            recv_queue,
            send_queue,
            recv_ring,
            send_ring,
            memory: Memory::new(exposed),
            lent: None,
            messages: VecDeque::new(),
            free_sends: (0..options.sends).collect(),
            free_recvs: (first..options.recvs).collect(),
            options,
            connected: false,
            gone: None,
            handles,
        };
        (0..first).try_for_each(|slot| conn.post_recv(slot))?;
        Ok(conn)
    }

    /// Lends `data` to the target, which may read it until [`Self::take_back`].
    pub(crate) fn lend(&mut self, data: &[u8]) -> Fallible<&Region> {
        // SAFETY: The protection domain is that of the id, and the region is dropped before that.
        let region = unsafe { Region::new((*self.handles.id).pd, data.len(), Access::Remote)? };
        region.write(0, data);
        Ok(self.lent.insert(region))
    }

    /// Takes what was lent away: from now on the key is invalid.
    pub(crate) fn take_back(&mut self) {
        self.lent = None;
    }

    /// Asks for the connection, with this private data, and does not wait for the answer.
    pub(crate) fn request(&mut self, data: &[u8]) -> Fallible<()> {
        // SAFETY: All zero is a valid value of this structure.
        let mut param: sys::rdma_conn_param = unsafe { mem::zeroed() };
        param.private_data = data.as_ptr().cast();
        param.private_data_len = u8::try_from(data.len()).map_err(|e| e.to_string())?;
        param.responder_resources = self.options.read_depth;
        param.initiator_depth = self.options.read_depth;
        // Those of the target, too. Not 7, which rxe takes for ever.
        param.retry_count = 5;
        param.rnr_retry_count = self.options.rnr_retry;
        // SAFETY: The id is ours; the private data is copied.
        if unsafe { sys::rdma_connect(self.handles.id, &mut param) } != 0 {
            return Err(os_error("rdma_connect"));
        }
        Ok(())
    }

    /// Asks for the connection, with this private data, and waits for the answer.
    pub(crate) fn connect(&mut self, data: &[u8]) -> Fallible<Outcome> {
        self.request(data)?;
        let Some(event) = next_event(self.handles.channel, paced(CM_TIMEOUT))? else {
            return Ok(Outcome::Failed("no answer".into(), 0));
        };
        Ok(match event.kind {
            sys::RDMA_CM_EVENT_ESTABLISHED => {
                self.connected = true;
                Outcome::Accepted(event.data)
            }
            sys::RDMA_CM_EVENT_REJECTED => Outcome::Rejected(event.status, event.data),
            _ => Outcome::Failed(event.name(), event.status),
        })
    }

    fn post_recv(&self, slot: usize) -> Fallible<()> {
        let mut sge = sys::ibv_sge {
            addr: self.recv_ring.address() + (slot * RECV_SIZE) as u64,
            length: RECV_SIZE as u32,
            lkey: self.recv_ring.lkey(),
        };
        let mut wr = sys::ibv_recv_wr {
            wr_id: slot as u64,
            next: ptr::null_mut(),
            sg_list: &mut sge,
            num_sge: 1,
        };
        let mut bad = ptr::null_mut();
        // SAFETY: The queue pair exists (`has_qp`), the ring outlives it, the structures are copied.
        let rc = unsafe {
            let qp = (*self.handles.id).qp;
            let post = (*(*qp).context).ops.post_recv;
            post.ok_or("no post_recv")?(qp, &mut wr, &mut bad)
        };
        if rc == 0 {
            Ok(())
        } else {
            Err(format!("ibv_post_recv: {rc}"))
        }
    }

    /// Sends a message of up to [`MESSAGE`] bytes and does not wait for its completion.
    ///
    /// A message that cannot be posted because the connection has ended is dropped.
    pub(crate) fn send(&mut self, data: &[u8]) -> Fallible<()> {
        let end = Instant::now() + paced(CM_TIMEOUT);
        let slot = loop {
            if !self.has_qp {
                return Ok(());
            }
            if let Some(slot) = self.free_sends.pop() {
                break slot;
            }
            self.wait(end)?;
            if self.gone.is_some() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err("no message gets through".into());
            }
        };
        assert!(data.len() <= MESSAGE);
        if self.options.recv_per_send {
            let recv = self.free_recvs.pop().ok_or("no receive is left")?;
            self.post_recv(recv)?;
        }
        self.send_ring.write(slot * MESSAGE, data);
        let mut sge = sys::ibv_sge {
            addr: self.send_ring.address() + (slot * MESSAGE) as u64,
            length: data.len() as u32,
            lkey: self.send_ring.lkey(),
        };
        // SAFETY: All zero is a valid value of this structure.
        let mut wr: sys::ibv_send_wr = unsafe { mem::zeroed() };
        wr.wr_id = slot as u64;
        wr.sg_list = &mut sge;
        wr.num_sge = 1;
        wr.opcode = sys::IBV_WR_SEND;
        wr.send_flags = sys::IBV_SEND_SIGNALED;
        let mut bad = ptr::null_mut();
        // SAFETY: The queue pair exists (`has_qp`), the ring outlives it, the structures are copied.
        let rc = unsafe {
            let qp = (*self.handles.id).qp;
            let post = (*(*qp).context).ops.post_send;
            post.ok_or("no post_send")?(qp, &mut wr, &mut bad)
        };
        if rc != 0 {
            self.free_sends.push(slot);
            // The event that says why may be under way.
            let soon = Instant::now() + paced(Duration::from_secs(2));
            self.look()?;
            while self.gone.is_none() {
                if Instant::now() > soon {
                    return Err(format!("ibv_post_send: {rc}"));
                }
                self.wait(soon)?;
            }
        }
        Ok(())
    }

    /// Takes in what has happened, without waiting.
    pub(crate) fn look(&mut self) -> Fallible<()> {
        while let Some(done) = self.send_queue.poll()? {
            self.free_sends.push(done.id as usize);
            if done.status != sys::IBV_WC_SUCCESS && self.gone.is_none() {
                self.gone = Some(format!("send: {}", status_name(done.status)));
            }
        }
        while let Some(done) = self.recv_queue.poll()? {
            self.take_message(done)?;
        }
        while let Some(event) = next_event(self.handles.channel, Duration::ZERO)? {
            if self.options.answer_disconnect && self.connected {
                // SAFETY: The id is ours. Failure means that the connection has ended already.
                unsafe { sys::rdma_disconnect(self.handles.id) };
            }
            if self.gone.is_none() {
                self.gone = Some(event.name());
            }
            // What was received before is delivered before.
            while let Some(done) = self.recv_queue.poll()? {
                self.take_message(done)?;
            }
        }
        Ok(())
    }

    fn take_message(&mut self, done: Completion) -> Fallible<()> {
        if done.status != sys::IBV_WC_SUCCESS {
            if self.gone.is_none() {
                self.gone = Some(format!("receive: {}", status_name(done.status)));
            }
            return Ok(());
        }
        let slot = done.id as usize;
        self.messages
            .push_back(self.recv_ring.read(slot * RECV_SIZE, done.len));
        if self.options.repost && self.has_qp {
            return self.post_recv(slot);
        }
        self.free_recvs.push(slot);
        Ok(())
    }

    /// Waits until something happens or the time is over.
    fn wait(&mut self, end: Instant) -> Fallible<()> {
        if self.options.poll_only {
            std::thread::sleep(Duration::from_millis(2));
            return self.look();
        }
        self.recv_queue.arm(false)?;
        self.send_queue.arm(false)?;
        let before = (
            self.messages.len(),
            self.free_sends.len(),
            self.gone.is_some(),
        );
        self.look()?;
        if before
            != (
                self.messages.len(),
                self.free_sends.len(),
                self.gone.is_some(),
            )
        {
            return Ok(());
        }
        let left = end.saturating_duration_since(Instant::now());
        // SAFETY: The channel exists as long as the connection.
        let fd = unsafe { (*self.handles.channel).fd };
        let fds = [self.recv_queue.fd(), self.send_queue.fd(), fd];
        // A disconnected queue pair wakes no task; look now and then.
        let ready = wait_readable(fds, left.min(Duration::from_millis(500)))?;
        if ready[0] {
            self.recv_queue.take_event()?;
        }
        if ready[1] {
            self.send_queue.take_event()?;
        }
        self.look()
    }

    /// Waits for the next message.
    pub(crate) fn recv(&mut self, timeout: Duration) -> Fallible<Got> {
        let end = Instant::now() + paced(timeout);
        self.look()?;
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Got::Message(message));
            }
            if self.gone.is_some() {
                return Ok(Got::Gone);
            }
            if Instant::now() >= end {
                return Ok(Got::Timeout);
            }
            self.wait(end)?;
        }
    }

    /// Returns a message that is there already.
    pub(crate) fn try_recv(&mut self) -> Fallible<Option<Vec<u8>>> {
        self.look()?;
        Ok(self.messages.pop_front())
    }

    /// Says why the connection has ended, if it has.
    pub(crate) fn gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Asks for an event only with a message that was sent with the solicited bit. The connection
    /// must have been [`Options::poll_only`] from the beginning.
    pub(crate) fn arm_solicited(&mut self) -> Fallible<()> {
        while wait_readable([self.recv_queue.fd()], Duration::ZERO)?[0] {
            self.recv_queue.take_event()?;
        }
        self.recv_queue.arm(true)
    }

    /// Waits for the next message without asking for events, and says whether there was one; see
    /// [`Self::arm_solicited`].
    pub(crate) fn recv_solicited(&mut self, timeout: Duration) -> Fallible<(Got, bool)> {
        let end = Instant::now() + paced(timeout);
        loop {
            self.look()?;
            let got = match self.messages.pop_front() {
                Some(message) => Got::Message(message),
                None if self.gone.is_some() => Got::Gone,
                None if Instant::now() >= end => Got::Timeout,
                None => {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                }
            };
            // The event follows the completion, if there is to be one.
            let [event] = wait_readable([self.recv_queue.fd()], Duration::from_millis(200))?;
            if event {
                self.recv_queue.take_event()?;
            }
            return Ok((got, event));
        }
    }

    /// Posts the receives from slot `from` on; for connections that begin with few.
    pub(crate) fn post_recvs(&mut self, from: usize) -> Fallible<()> {
        (from..self.options.recvs).try_for_each(|slot| self.post_recv(slot))
    }

    /// Treats the connection as ended without waiting to be told.
    pub(crate) fn pretend_gone(&mut self) {
        self.gone.get_or_insert_with(|| "dropped".into());
    }

    /// Disconnects and waits for the answer.
    pub(crate) fn disconnect(&mut self, timeout: Duration) -> Fallible<()> {
        if !self.connected {
            return Ok(());
        }
        // SAFETY: The id is ours. Failure means that the connection has ended already.
        unsafe { sys::rdma_disconnect(self.handles.id) };
        let end = Instant::now() + paced(timeout);
        while self.gone.is_none() && Instant::now() < end {
            self.wait(end)?;
        }
        self.connected = false;
        Ok(())
    }

    /// Destroys the queue pair without a message: from now on the target hears nothing.
    pub(crate) fn drop_dead(&mut self) {
        if mem::take(&mut self.has_qp) {
            // SAFETY: The id is ours and has a queue pair.
            unsafe { sys::rdma_destroy_qp(self.handles.id) };
        }
        self.options.answer_disconnect = false;
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // SAFETY: The id is ours; what the queue pair uses is dropped after it, and then the id.
        unsafe {
            if self.connected && self.options.answer_disconnect {
                sys::rdma_disconnect(self.handles.id);
            }
            if self.has_qp {
                sys::rdma_destroy_qp(self.handles.id);
            }
        }
    }
}
