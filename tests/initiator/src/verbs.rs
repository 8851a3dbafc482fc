// SPDX-License-Identifier: GPL-2.0
//! Memory that hardware may read and write, completion queues, and waiting for file descriptors:
//! thin wrappers of libibverbs.
//!
//! Not here: connections and queue pairs (`conn.rs`), which bytes of the memory may change
//! (`memory.rs`).

use std::{
    alloc::{alloc_zeroed, dealloc, Layout},
    io,
    os::raw::c_int,
    ptr, slice,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::sys;

/// What went wrong, in words. Nothing in this program acts on the kind of an error.
pub(crate) type Fallible<T> = Result<T, String>;

/// Returns the text of `what` with that of the last error of the operating system.
pub(crate) fn os_error(what: &str) -> String {
    format!("{what}: {}", io::Error::last_os_error())
}

/// Page-aligned memory that the HCA may access by itself.
///
/// It is only read and written by copying, because its bytes may change at any time.
struct Pages {
    base: *mut u8,
    layout: Layout,
}

impl Pages {
    /// Allocates at least `len` bytes, all zero.
    fn new(len: usize) -> Fallible<Self> {
        let layout = Layout::from_size_align(len.max(1), 4096).map_err(|e| e.to_string())?;
        // SAFETY: The size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(format!("no memory for {len} bytes"));
        }
        Ok(Self { base, layout })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: This is what the constructor allocated, with the same layout.
        unsafe { dealloc(self.base, self.layout) }
    }
}

/// Whether the other side may access a [`Region`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only our own work requests.
    Local,
    /// The other side may read and write it.
    Remote,
}

/// A registered memory region with its memory.
pub(crate) struct Region {
    mr: *mut sys::ibv_mr,
    pages: Pages,
    len: usize,
}

impl Region {
    /// Allocates and registers `len` bytes.
    ///
    /// # Safety
    ///
    /// `pd` is a protection domain that outlives the region.
    pub(crate) unsafe fn new(pd: *mut sys::ibv_pd, len: usize, access: Access) -> Fallible<Self> {
        let pages = Pages::new(len)?;
        let flags = match access {
            Access::Local => sys::IBV_ACCESS_LOCAL_WRITE,
            Access::Remote => {
                sys::IBV_ACCESS_LOCAL_WRITE
                    | sys::IBV_ACCESS_REMOTE_READ
                    | sys::IBV_ACCESS_REMOTE_WRITE
            }
        };
        // SAFETY: `pd` is valid by the contract of this function; the memory stays until the
        // region is deregistered, which `drop()` does first.
        let mr = unsafe { sys::ibv_reg_mr(pd, pages.base.cast(), len, flags as c_int) };
        if mr.is_null() {
            return Err(os_error("ibv_reg_mr"));
        }
        Ok(Self { mr, pages, len })
    }

    /// Returns the size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of the first byte.
    pub(crate) fn address(&self) -> u64 {
        self.pages.base as u64
    }

    /// Returns the key for our own work requests.
    pub(crate) fn lkey(&self) -> u32 {
        // SAFETY: The region is registered as long as `self` exists.
        unsafe { (*self.mr).lkey }
    }

    /// Returns the key for the other side.
    pub(crate) fn rkey(&self) -> u32 {
        // SAFETY: The region is registered as long as `self` exists.
        unsafe { (*self.mr).rkey }
    }

    /// Copies `data` to `offset`. Panics if it does not fit, a mistake of the caller.
    pub(crate) fn write(&self, offset: usize, data: &[u8]) {
        assert!(offset <= self.len && data.len() <= self.len - offset);
        // SAFETY: The range was checked; there are no references into the pages.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), self.pages.base.add(offset), data.len()) }
    }

    /// Copies `len` bytes from `offset`. Panics if they are not there, a mistake of the caller.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset <= self.len && len <= self.len - offset);
        let mut out = vec![0; len];
        // SAFETY: The range was checked; there are no references into the pages.
        unsafe { ptr::copy_nonoverlapping(self.pages.base.add(offset), out.as_mut_ptr(), len) }
        out
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: Registered in the constructor; deregistered only here.
        unsafe { sys::ibv_dereg_mr(self.mr) };
    }
}

/// How many times as long everything may take.
static PACE: AtomicU32 = AtomicU32::new(1);

/// Everything may take this many times as long: the kernels are slow ones.
pub(crate) fn set_pace(times: u32) {
    PACE.store(times.max(1), Ordering::Relaxed);
}

/// Returns how long something may take that takes `usually` on a usual kernel.
pub(crate) fn paced(usually: Duration) -> Duration {
    usually * PACE.load(Ordering::Relaxed)
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// What was given when the work request was posted.
    pub(crate) id: u64,
    /// One of `IBV_WC_*`.
    pub(crate) status: u32,
    /// Length of a received message.
    pub(crate) len: usize,
}

/// A completion queue with a channel of its own, to wait for completions.
pub(crate) struct Queue {
    cq: *mut sys::ibv_cq,
    channel: *mut sys::ibv_comp_channel,
}

impl Queue {
    /// Creates a queue with room for `size` completions.
    ///
    /// # Safety
    ///
    /// `context` is an open device that outlives the queue.
    pub(crate) unsafe fn new(context: *mut sys::ibv_context, size: usize) -> Fallible<Self> {
        let size = c_int::try_from(size).map_err(|e| e.to_string())?;
        // SAFETY: `context` is valid by the contract of this function.
        let channel = unsafe { sys::ibv_create_comp_channel(context) };
        if channel.is_null() {
            return Err(os_error("ibv_create_comp_channel"));
        }
        // SAFETY: As above; the channel is destroyed after the queue.
        let cq = unsafe { sys::ibv_create_cq(context, size, ptr::null_mut(), channel, 0) };
        if cq.is_null() {
            let text = os_error("ibv_create_cq");
            // SAFETY: Nothing uses the channel.
            unsafe { sys::ibv_destroy_comp_channel(channel) };
            return Err(text);
        }
        Ok(Self { cq, channel })
    }

    /// Returns the queue for the creation of a queue pair.
    pub(crate) fn as_ptr(&self) -> *mut sys::ibv_cq {
        self.cq
    }

    /// Returns the file descriptor that becomes readable after [`Self::arm`].
    pub(crate) fn fd(&self) -> c_int {
        // SAFETY: The channel exists as long as `self`.
        unsafe { (*self.channel).fd }
    }

    /// Asks for an event with the next completion, or with the next solicited one.
    pub(crate) fn arm(&self, solicited_only: bool) -> Fallible<()> {
        // SAFETY: The queue exists as long as `self`; the table of functions comes with it.
        let rc = unsafe {
            let notify = (*(*self.cq).context).ops.req_notify_cq;
            notify.ok_or("no req_notify_cq")?(self.cq, solicited_only.into())
        };
        if rc == 0 {
            Ok(())
        } else {
            Err(format!("ibv_req_notify_cq: {rc}"))
        }
    }

    /// Takes the event that made [`Self::fd`] readable.
    pub(crate) fn take_event(&self) -> Fallible<()> {
        let (mut cq, mut context) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: The channel and the queue exist as long as `self`; both pointers are ours.
        unsafe {
            if sys::ibv_get_cq_event(self.channel, &mut cq, &mut context) != 0 {
                return Err(os_error("ibv_get_cq_event"));
            }
            sys::ibv_ack_cq_events(cq, 1);
        }
        Ok(())
    }

    /// Takes the next completion, if there is one.
    pub(crate) fn poll(&self) -> Fallible<Option<Completion>> {
        // SAFETY: All zero is a valid value of this structure of numbers.
        let mut wc: sys::ibv_wc = unsafe { std::mem::zeroed() };
        // SAFETY: The queue exists as long as `self`; there is room for one completion.
        let n = unsafe {
            let poll = (*(*self.cq).context).ops.poll_cq;
            poll.ok_or("no poll_cq")?(self.cq, 1, &mut wc)
        };
        match n {
            0 => Ok(None),
            1 => Ok(Some(Completion {
                id: wc.wr_id,
                status: wc.status,
                len: wc.byte_len as usize,
            })),
            _ => Err(format!("ibv_poll_cq: {n}")),
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: Created in the constructor; every event was acknowledged when taken. The owner
        // has destroyed the queue pairs before.
        unsafe {
            sys::ibv_destroy_cq(self.cq);
            sys::ibv_destroy_comp_channel(self.channel);
        }
    }
}

/// Returns the name of a completion status.
pub(crate) fn status_name(status: u32) -> String {
    // SAFETY: The function takes any number and returns a constant string.
    let text = unsafe { std::ffi::CStr::from_ptr(sys::ibv_wc_status_str(status)) };
    text.to_string_lossy().into_owned()
}

/// Waits until one of the files is readable or the time is over; says which are readable.
pub(crate) fn wait_readable<const N: usize>(
    fds: [c_int; N],
    timeout: Duration,
) -> Fallible<[bool; N]> {
    let mut polled = fds.map(|fd| sys::pollfd {
        fd,
        events: sys::POLLIN as i16,
        revents: 0,
    });
    let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: The array has as many entries as is said.
    let n = unsafe { sys::poll(polled.as_mut_ptr(), N as sys::nfds_t, ms) };
    if n < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
        return Err(os_error("poll"));
    }
    Ok(polled.map(|p| n > 0 && p.revents != 0))
}

/// From now on reading from the file never waits: [`wait_readable`] does, with a time limit.
pub(crate) fn never_block(fd: c_int) -> Fallible<()> {
    // SAFETY: Both orders of this function take a number or nothing.
    let rc = unsafe {
        let flags = sys::fcntl(fd, sys::F_GETFL as c_int);
        sys::fcntl(fd, sys::F_SETFL as c_int, flags | sys::O_NONBLOCK as c_int)
    };
    if rc < 0 {
        return Err(os_error("fcntl"));
    }
    Ok(())
}

/// Returns the private data of an event of the connection manager.
///
/// # Safety
///
/// `data` is null or points to `len` bytes.
pub(crate) unsafe fn private_data(data: *const std::ffi::c_void, len: u8) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: By the contract of this function.
    unsafe { slice::from_raw_parts(data.cast::<u8>(), len.into()) }.to_vec()
}
