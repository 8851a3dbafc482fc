// SPDX-License-Identifier: GPL-2.0
//! Threads whose interleaving is chosen: coroutines of one operating system thread, of which one
//! runs until it comes to a point at which another may come in.
//!
//! Such a point is before every access to what threads share: a lock, an atomic, a queue. Which
//! thread goes on there, and which of several things happens, is asked of a [`Chooser`]; those are
//! in [`choose`]. What threads share carries a [`Trace`], so that a state is known by how it came
//! about, see [`Trace`].
//!
//! Memory is sequentially consistent here: what a weaker order of loads and stores makes possible
//! is not seen.
//!
//! Not here: locks (crate `kernel`), what the threads do (crate `srpt-model`).

use std::{
    cell::{Cell, RefCell},
    panic::{catch_unwind, AssertUnwindSafe},
};

use corosensei::{stack::DefaultStack, Coroutine, CoroutineResult, Yielder};

pub mod choose;
mod trace;

pub use choose::{Chooser, Point};
use trace::mix;
pub use trace::Trace;

/// Bytes of a thread's stack.
const STACK: usize = 256 * 1024;
/// Points after which an execution counts as endless.
const ENDLESS: u32 = 20_000;

/// See [`spawn_late`].
const LATEST: u8 = 2;

/// What a thread sees when it begins.
const BEGUN: u64 = 4;

/// What a thread waits for.
enum Wait {
    /// Nothing.
    Nothing,
    /// A lock that is held.
    Lock(*const Cell<bool>),
    /// Something else.
    Until(Box<dyn Fn() -> bool>),
    /// It has ended.
    Ended,
}

struct Thread {
    name: &'static str,
    coroutine: Option<Coroutine<(), (), (), DefaultStack>>,
    yielder: *const Yielder<(), ()>,
    wait: Wait,
    /// Stands for everything the thread has seen.
    past: u64,
    /// Goes on only when no thread with less can.
    late: u8,
}

impl Thread {
    fn can_run(&self) -> bool {
        match &self.wait {
            Wait::Nothing => true,
            // SAFETY: The lock lives as long as a thread waits for it.
            Wait::Lock(held) => !unsafe { &**held }.get(),
            Wait::Until(ready) => ready(),
            Wait::Ended => false,
        }
    }
}

/// Why an execution ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// [`stop`] was called.
    Stopped,
    /// No thread can go on; these have not ended.
    Stuck(String),
    /// There is no end.
    Endless,
    /// A thread panicked.
    Panic(String),
}

/// The number of no thread.
const NONE: usize = usize::MAX;

struct Scheduler {
    threads: Vec<Thread>,
    current: usize,
    next: usize,
    steps: u32,
    /// Stands for the state: the sum of what stands for each thread.
    state: u64,
    /// Locks that are held.
    locks: u32,
    /// Points are passed without a choice.
    quiet: bool,
    failure: Option<Failure>,
    chooser: *mut dyn Chooser,
    /// Called at every point.
    watch: Option<Box<dyn Fn()>>,
    options: Vec<usize>,
}

thread_local! {
    static ACTIVE: Cell<*mut Scheduler> = const { Cell::new(std::ptr::null_mut()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    /// The number of the execution: traces of earlier ones do not count.
    static RUN: Cell<u64> = const { Cell::new(0) };
}

/// The scheduler, if there is one. No caller keeps the reference across a switch.
fn active() -> Option<&'static mut Scheduler> {
    // SAFETY: It is set while `run` owns the scheduler, on this operating system thread, and used
    // in one function at a time.
    unsafe { ACTIVE.get().as_mut() }
}

impl Scheduler {
    fn push(&mut self, name: &'static str, past: u64, late: u8, body: Box<dyn FnOnce()>) {
        let index = self.threads.len();
        let stack = STACKS.with_borrow_mut(Vec::pop);
        let stack = stack.unwrap_or_else(|| DefaultStack::new(STACK).expect("a stack"));
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            if let Some(scheduler) = active() {
                scheduler.threads[index].yielder = yielder;
                // A thread that has begun is another than one that has not.
                scheduler.saw(BEGUN);
            }
            body();
        });
        self.threads.push(Thread {
            name,
            coroutine: Some(coroutine),
            yielder: std::ptr::null(),
            wait: Wait::Nothing,
            past,
            late,
        });
        self.state = self.state.wrapping_add(mix(past, 1));
    }

    /// The thread that runs has seen something.
    fn saw(&mut self, what: u64) {
        let past = &mut self.threads[self.current].past;
        let old = *past;
        *past = mix(old, what);
        let (old, new) = (mix(old, 1), mix(*past, 1));
        self.state = self.state.wrapping_sub(old).wrapping_add(new);
    }

    /// Collects the threads that can go on, `first` before the others.
    fn collect(&mut self, first: usize) {
        self.options.clear();
        for late in 0..=LATEST {
            if first != NONE && self.threads[first].late == late && self.threads[first].can_run() {
                self.options.push(first);
            }
            for (index, thread) in self.threads.iter().enumerate() {
                if index != first && thread.late == late && thread.can_run() {
                    self.options.push(index);
                }
            }
            if !self.options.is_empty() {
                return;
            }
        }
    }

    /// Decides which thread goes on; [`NONE`] if none can.
    fn decide(&mut self, current: usize, free: bool) -> usize {
        self.steps += 1;
        if self.steps > ENDLESS {
            self.failure.get_or_insert(Failure::Endless);
            return NONE;
        }
        self.collect(current);
        let chosen = match self.options.len() {
            0 => return NONE,
            1 => 0,
            _ => {
                let stays = self.options[0] == current;
                let point = Point {
                    options: &self.options,
                    // Going on with the same thread is no choice between equals.
                    costs: stays && !free,
                    state: match stays && !free {
                        true => mix(self.state, self.threads[current].past),
                        false => self.state,
                    },
                };
                // SAFETY: `run` keeps the chooser.
                unsafe { &mut *self.chooser }.thread(&point)
            }
        };
        self.options[chosen]
    }
}

/// Passes a point. `free`: the thread is at the end of something, so that another going on is no
/// interruption.
fn pass(wait: Wait, free: bool) {
    let Some(scheduler) = active() else { return };
    if scheduler.current == NONE || scheduler.quiet {
        return;
    }
    let current = scheduler.current;
    scheduler.threads[current].wait = wait;
    if let Some(watch) = scheduler.watch.take() {
        scheduler.quiet = true;
        watch();
        if let Some(scheduler) = active() {
            scheduler.quiet = false;
            scheduler.watch = Some(watch);
        }
    }
    let Some(scheduler) = active() else { return };
    let next = match scheduler.failure {
        Some(_) => NONE,
        None => scheduler.decide(current, free),
    };
    if next != current {
        scheduler.next = next;
        // SAFETY: The thread runs, so it has stored its yielder, which lives as long as it runs.
        unsafe { &*scheduler.threads[current].yielder }.suspend(());
    }
    if let Some(scheduler) = active() {
        scheduler.threads[current].wait = Wait::Nothing;
    }
}

/// Executes `body`, then the threads that it begins, as `chooser` says; `watch` is called at every
/// point. If the execution fails, what its threads own is never freed.
///
/// # Errors
///
/// [`Failure`].
pub fn run(
    chooser: &mut dyn Chooser,
    body: impl FnOnce(),
    watch: impl Fn() + 'static,
) -> Result<u32, Failure> {
    // SAFETY: The pointer is forgotten before this returns.
    let chooser: *mut dyn Chooser = unsafe { std::mem::transmute(chooser) };
    let scheduler = Box::new(Scheduler {
        threads: Vec::new(),
        current: NONE,
        next: NONE,
        steps: 0,
        state: 0,
        locks: 0,
        quiet: false,
        failure: None,
        chooser,
        watch: Some(Box::new(watch)),
        options: Vec::new(),
    });
    RUN.set(RUN.get() + 1);
    let scheduler = Box::into_raw(scheduler);
    ACTIVE.set(scheduler);
    let panicked = catch_unwind(AssertUnwindSafe(body)).err();
    if let (Some(panic), Some(scheduler)) = (panicked, active()) {
        scheduler.failure = Some(Failure::Panic(text_of(&*panic)));
    }
    let result = drive();
    ACTIVE.set(std::ptr::null_mut());
    if result.is_ok() {
        // SAFETY: It came from `into_raw`, and no thread refers to it any more.
        drop(unsafe { Box::from_raw(scheduler) });
    }
    // Otherwise the stacks refer to each other's memory: no order of unwinding them is right.
    result
}

/// Lets the threads go on until all have ended.
fn drive() -> Result<u32, Failure> {
    let mut next = NONE;
    loop {
        let Some(scheduler) = active() else {
            return Ok(0);
        };
        if let Some(failure) = scheduler.failure.take() {
            return Err(failure);
        }
        if next == NONE {
            next = scheduler.decide(NONE, true);
        }
        if next == NONE {
            if let Some(failure) = scheduler.failure.take() {
                return Err(failure);
            }
            let left = scheduler.threads.iter();
            let left = left.filter(|t| !matches!(t.wait, Wait::Ended));
            let left: Vec<&str> = left.map(|t| t.name).collect();
            return match left.is_empty() {
                true => Ok(scheduler.steps),
                false => Err(Failure::Stuck(left.join(", "))),
            };
        }
        scheduler.current = next;
        scheduler.next = NONE;
        let Some(mut coroutine) = scheduler.threads[next].coroutine.take() else {
            return Err(Failure::Stuck("a thread that runs".into()));
        };
        let resumed = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
        let Some(scheduler) = active() else {
            return Ok(0);
        };
        scheduler.current = NONE;
        match resumed {
            Ok(CoroutineResult::Yield(())) => {
                scheduler.threads[next].coroutine = Some(coroutine);
                let stopped = scheduler.next == NONE && scheduler.failure.is_none();
                if stopped {
                    // Nothing can go on: `decide` says so again, without this thread in front.
                    next = NONE;
                    continue;
                }
                next = scheduler.next;
            }
            Ok(CoroutineResult::Return(())) => {
                scheduler.threads[next].wait = Wait::Ended;
                let stack = coroutine.into_stack();
                STACKS.with_borrow_mut(|stacks| stacks.push(stack));
                next = NONE;
            }
            Err(panic) => return Err(Failure::Panic(text_of(&*panic))),
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into()))
        .unwrap_or_default()
}

/// Begins a thread.
pub fn spawn(name: &'static str, body: impl FnOnce() + 'static) {
    spawn_late(name, 0, body);
}

/// Begins a thread that goes on only when none can that is less late; 2 is the latest.
pub fn spawn_late(name: &'static str, late: u8, body: impl FnOnce() + 'static) {
    let Some(scheduler) = active() else { return };
    let mut past = match scheduler.current {
        NONE => mix(0, scheduler.threads.len() as u64),
        current => scheduler.threads[current].past,
    };
    for byte in name.bytes() {
        past = mix(past, u64::from(byte));
    }
    scheduler.push(name, past, late, Box::new(body));
}

/// Passes a point, then reads or writes what `trace` belongs to.
pub fn access(trace: &Trace, write: bool) {
    pass(Wait::Nothing, false);
    touch(trace, write);
}

/// Notes an access without a point before it.
pub fn touch(trace: &Trace, write: bool) {
    let Some(scheduler) = active() else { return };
    if scheduler.current == NONE || scheduler.quiet {
        return;
    }
    let seen = trace.seen_by(scheduler.threads[scheduler.current].past, write, RUN.get());
    scheduler.saw(seen);
    if write {
        trace.written(scheduler.threads[scheduler.current].past);
    }
}

/// Takes a lock.
pub fn lock(held: &Cell<bool>, trace: &Trace) {
    pass(Wait::Lock(held), false);
    if held.replace(true) {
        panic!("a lock is taken twice by a thread");
    }
    touch(trace, true);
    if let Some(scheduler) = active() {
        scheduler.locks += 1;
    }
}

/// Lets go of a lock.
pub fn unlock(held: &Cell<bool>) {
    held.set(false);
    if let Some(scheduler) = active() {
        scheduler.locks = scheduler.locks.saturating_sub(1);
    }
}

/// Waits until `ready`, which looks at what `trace` belongs to. Another thread going on instead is
/// no interruption.
pub fn wait(trace: &Trace, ready: impl Fn() -> bool + 'static) {
    pass(Wait::Until(Box::new(ready)), true);
    touch(trace, true);
}

/// As [`wait`] for something that may be there already: if it is, another thread going on
/// interrupts this one.
pub fn wait_now(trace: &Trace, ready: impl Fn() -> bool + 'static) {
    pass(Wait::Until(Box::new(ready)), false);
    touch(trace, true);
}

/// Another thread may go on, which is no interruption; then reads what `trace` belongs to.
pub fn rest(trace: &Trace) {
    pass(Wait::Nothing, true);
    touch(trace, false);
}

/// Which of `n` things happens.
pub fn choose(n: usize) -> usize {
    let Some(scheduler) = active() else { return 0 };
    if n < 2 {
        return 0;
    }
    // SAFETY: `run` keeps the chooser.
    let chosen = unsafe { &mut *scheduler.chooser }.data(n);
    if scheduler.current != NONE {
        scheduler.saw(mix(chosen as u64, 2));
    }
    chosen
}

/// Says that what happens from now on makes no difference, in whatever order.
pub fn settled() {
    if let Some(scheduler) = active() {
        // SAFETY: `run` keeps the chooser.
        unsafe { &mut *scheduler.chooser }.settled();
    }
}

/// Ends the execution at the next point.
pub fn stop() {
    if let Some(scheduler) = active() {
        scheduler.failure.get_or_insert(Failure::Stopped);
    }
}

/// Whether a lock is held by any thread.
pub fn is_locked() -> bool {
    active().is_some_and(|scheduler| scheduler.locks > 0)
}

/// Executes `look` without points in it. No lock may be held.
pub fn quietly<R>(look: impl FnOnce() -> R) -> R {
    let was = active().map(|scheduler| std::mem::replace(&mut scheduler.quiet, true));
    let result = look();
    if let (Some(scheduler), Some(was)) = (active(), was) {
        scheduler.quiet = was;
    }
    result
}

/// Name of the thread that runs.
pub fn current() -> &'static str {
    match active() {
        Some(scheduler) if scheduler.current != NONE => scheduler.threads[scheduler.current].name,
        _ => "main",
    }
}
