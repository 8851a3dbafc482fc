// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/sync.rs`. Gates and global locks are the module's files.

pub(crate) use kernel::sync::atomic;

/// Completions.
pub(crate) mod completion {
    use core::cell::Cell;

    use kernel::{
        init::{from_fn, PinInit},
        time::Msecs,
    };
    use sched::Trace;

    /// A completion.
    pub(crate) struct Completion {
        done: Cell<bool>,
        trace: Trace,
    }

    // SAFETY: The threads are coroutines of one operating system thread.
    unsafe impl Send for Completion {}
    // SAFETY: As above.
    unsafe impl Sync for Completion {}

    impl Completion {
        pub(crate) fn new() -> impl PinInit<Self> {
            from_fn(|| {
                Ok(Self {
                    done: Cell::new(false),
                    trace: Trace::new(),
                })
            })
        }

        pub(crate) fn complete_all(&self) {
            sched::access(&self.trace, true);
            self.done.set(true);
        }

        pub(crate) fn wait(&self) {
            let done: *const Cell<bool> = &self.done;
            // SAFETY: The thread that waits keeps it.
            sched::wait(&self.trace, move || unsafe { &*done }.get());
        }

        /// The time may be over at any moment.
        pub(crate) fn wait_timeout(&self, _: Msecs) -> bool {
            sched::rest(&self.trace);
            self.done.get()
        }
    }
}

/// Rate limit for log lines.
pub(crate) mod ratelimit {
    pub(crate) fn ok() -> bool {
        true
    }
}

/// Work queues.
pub(crate) mod workqueue {
    use kernel::{prelude::*, workqueue::Queue as Inner};

    /// A queue; its work is threads.
    pub(crate) struct Queue(Inner);

    impl Queue {
        pub(crate) fn waiting(name: &'static CStr) -> Result<Self> {
            Self::unbound(name)
        }

        pub(crate) fn unbound(name: &'static CStr) -> Result<Self> {
            Ok(Self(Inner::new(name.to_str().unwrap_or("work"))))
        }

        pub(crate) fn per_cpu(name: &'static CStr) -> Result<Self> {
            Self::unbound(name)
        }

        pub(crate) fn as_queue(&self) -> &Inner {
            &self.0
        }

        /// The model ends when all threads have.
        pub(crate) fn flush(&self) {}
    }
}

include!(concat!(env!("OUT_DIR"), "/sync.rs"));
