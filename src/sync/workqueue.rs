// SPDX-License-Identifier: GPL-2.0

//! Owned work queues and periodic work.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)
//!
//! The kernel crate has work items and the system's work queues, but neither owned queues, which
//! are drained before the module's code is freed, nor cancelling. Not here: the queues of the
//! module ([`crate::queues`]).

use core::{
    cell::UnsafeCell,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    container_of,
    ffi::c_int,
    prelude::*,
    static_lock_class,
    sync::Arc,
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    workqueue::RawWorkItem, //
};

use super::atomic::{
    AtomicFlag,
    Relaxed, //
};

/// An owned `struct workqueue_struct`; dropping it drains and destroys it.
///
/// It has a rescuer (`WQ_MEM_RECLAIM`).
///
/// # Invariants
///
/// `raw` came from `alloc_workqueue` and is owned by this object.
pub(crate) struct Queue {
    raw: NonNull<bindings::workqueue_struct>,
}

// SAFETY: A workqueue may be used and destroyed from any task.
unsafe impl Send for Queue {}
// SAFETY: Queueing and flushing are thread-safe.
unsafe impl Sync for Queue {}

impl Queue {
    /// Allocates a queue whose work runs on any CPU (`alloc_workqueue`, `WQ_UNBOUND`). `name` is
    /// shown by `ps`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn unbound(name: &'static CStr) -> Result<Self> {
        Self::new(name, bindings::wq_flags_WQ_UNBOUND)
    }

    /// As [`Self::unbound`], but without a thread for times without memory (`WQ_MEM_RECLAIM`): for
    /// work that waits for queues which have none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn waiting(name: &'static CStr) -> Result<Self> {
        Self::with_flags(name, bindings::wq_flags_WQ_UNBOUND)
    }

    /// As [`Self::unbound`], but work runs on the CPU that it is queued for or from (`WQ_PERCPU`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn per_cpu(name: &'static CStr) -> Result<Self> {
        Self::new(name, bindings::wq_flags_WQ_PERCPU)
    }

    fn new(name: &'static CStr, bound: bindings::wq_flags) -> Result<Self> {
        Self::with_flags(name, bound | bindings::wq_flags_WQ_MEM_RECLAIM)
    }

    fn with_flags(name: &'static CStr, flags: bindings::wq_flags) -> Result<Self> {
        // SAFETY: The format takes one string, and `name` is one. 0 is the default concurrency.
        let raw = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        // INVARIANT: `alloc_workqueue` returned it, nothing else owns it.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// Returns the queue as the kernel crate's type, for work items.
    pub(crate) fn as_queue(&self) -> &kernel::workqueue::Queue {
        // SAFETY: By the type invariant the queue is valid as long as `self` is.
        unsafe { kernel::workqueue::Queue::from_raw(self.raw.as_ptr()) }
    }

    /// Queues work for a CPU (`queue_work_on`); `WORK_CPU_UNBOUND` is this one. Any context.
    #[allow(dead_code, reason = "not every engine chooses a CPU")]
    pub(crate) fn enqueue_on<W, const ID: u64>(&self, cpu: c_int, work: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        let queue = self.raw.as_ptr();
        // SAFETY: `queue_work_on` returns `false` only if the work is queued already. The item is
        // `Send` and not annotated with a lifetime. By the type invariant the queue is valid.
        unsafe { work.__enqueue(move |work| bindings::queue_work_on(cpu, queue, work)) }
    }

    /// Waits until all work that is queued at the time of the call has run (`__flush_workqueue`).
    /// May sleep; must not be called from work on this queue.
    pub(crate) fn flush(&self) {
        // SAFETY: By the type invariant the queue is valid.
        unsafe { bindings::__flush_workqueue(self.raw.as_ptr()) };
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the queue is ours. `destroy_workqueue` runs what is
        // queued, and no task can queue more, because that takes a reference to `self`.
        unsafe { bindings::destroy_workqueue(self.raw.as_ptr()) };
    }
}

/// Target of a [`Periodic`].
pub(crate) trait Tick: Send + Sync + 'static {
    /// Called after each period, in process context; calls do not overlap. May sleep. Must not drop
    /// the [`Periodic`] it belongs to.
    fn tick(&self);
}

/// Calls `T::tick` periodically, from [`Periodic::start`] until [`Periodic::stop`] or the drop.
///
/// # Invariants
///
/// `work` was initialised with `periodic_callback::<T>`, and is queued on `queue` only. It is not
/// queued any more once `stopped` was set and `cancel_delayed_work_sync` returned.
#[pin_data(PinnedDrop)]
pub(crate) struct Periodic<T: Tick> {
    work: UnsafeCell<bindings::delayed_work>,
    queue: Arc<Queue>,
    period: Msecs,
    stopped: AtomicFlag,
    target: T,
    #[pin]
    _pin: core::marker::PhantomPinned,
}

// SAFETY: The delayed work may be used from any task; the rest is `Send`.
unsafe impl<T: Tick> Send for Periodic<T> {}
// SAFETY: The delayed work is touched through the workqueue API only, which is thread-safe; the
// rest is `Sync`.
unsafe impl<T: Tick> Sync for Periodic<T> {}

impl<T: Tick> Periodic<T> {
    /// Starts calling `target.tick()` on `queue`: first after `period` milliseconds, then `period`
    /// milliseconds after each call has ended. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn start(queue: &Arc<Queue>, target: T, period: Msecs) -> Result<Pin<KBox<Self>>> {
        // Allocated first: the drop of the value requires that its work is initialised.
        let memory = KBox::<Self>::new_uninit(GFP_KERNEL)?;
        let this = KBox::into_pin(memory.write(Self {
            work: UnsafeCell::new(pin_init::zeroed()),
            queue: queue.clone(),
            period,
            stopped: AtomicFlag::new(false),
            target,
            _pin: core::marker::PhantomPinned,
        }));
        let work = this.work.get();
        // SAFETY: `work` points to memory for a `struct delayed_work` that does not move any
        // more, because it is pinned. The keys and names are static.
        //
        // INVARIANT: The work is initialised with `periodic_callback::<T>`.
        unsafe {
            bindings::init_work_with_key(
                &raw mut (*work).work,
                Some(periodic_callback::<T>),
                false,
                c"ib_srpt::Periodic".as_char_ptr(),
                static_lock_class!().as_ptr(),
            );
            bindings::timer_init_key(
                &raw mut (*work).timer,
                Some(bindings::delayed_work_timer_fn),
                bindings::TIMER_IRQSAFE,
                c"ib_srpt::Periodic_timer".as_char_ptr(),
                static_lock_class!().as_ptr(),
            );
        }
        this.arm();
        Ok(this)
    }

    /// Queues the next call.
    fn arm(&self) {
        // SAFETY: By the type invariant the work is initialised; it stays valid until `stop` was
        // called, which the drop does, and then it is not queued any more. The queue is alive.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                self.queue.raw.as_ptr(),
                self.work.get(),
                msecs_to_jiffies(self.period),
            );
        }
    }

    /// Stops the calls and waits for one in progress. Idempotent. May sleep; must not be called
    /// from `T::tick`.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
        // SAFETY: By the type invariant the work is initialised. `cancel_delayed_work_sync` also
        // catches work that queues itself again.
        unsafe { bindings::cancel_delayed_work_sync(self.work.get()) };
    }
}

impl<T: Tick> Deref for Periodic<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.target
    }
}

#[pinned_drop]
impl<T: Tick> PinnedDrop for Periodic<T> {
    fn drop(self: Pin<&mut Self>) {
        self.stop();
    }
}

/// The work function of [`Periodic`].
///
/// # Safety
///
/// Called by the workqueue only, with the `work` of a [`Periodic<T>`].
unsafe extern "C" fn periodic_callback<T: Tick>(work: *mut bindings::work_struct) {
    // SAFETY: The work was initialised as the `work` member of a `struct delayed_work`, which is
    // the `work` field of a `Periodic<T>`; that is valid, since its drop waits for this function.
    let this = unsafe {
        let delayed = container_of!(work, bindings::delayed_work, work);
        let cell = delayed.cast::<UnsafeCell<bindings::delayed_work>>();
        &*container_of!(cell, Periodic<T>, work)
    };
    this.target.tick();
    if !this.stopped.load(Relaxed) {
        this.arm();
    }
}
