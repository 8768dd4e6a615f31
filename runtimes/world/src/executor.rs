//! The virtual-time executor: a ready queue of tasks and a queue of timers.
//!
//! One thread takes ready tasks in order (or, to explore interleavings, in an order drawn from a
//! seed). When none is ready the clock jumps to the earliest timer. Timers that are due at the same
//! nanosecond fire in the order in which they were set, so that nothing depends on the heap.
//! When there is neither a ready task nor a timer, nothing can ever happen again: a deadlock, and
//! every task says what it was waiting for.
//!
//! No borrow of a queue is held while foreign code runs: not while a task or a message does, nor
//! while a waker is woken or anything of theirs is dropped. All of these may come back here.

use crate::timers::{Due, TimerId, Timers};
use crate::{Nanos, Random};
use async_task::{Builder, Runnable, Task};
use futures_util::FutureExt;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use thiserror::Error;

/// A task that will never run again, and what it was waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The label that the task was spawned with.
    pub task: String,
    /// What its innermost pending operation called itself.
    pub waiting_for: &'static str,
}

/// Nothing is ready and no timer is set, but the root task has not finished.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("deadlock at {now} ns: {}", .blocked.iter().map(|b| format!("{} waits for {}", b.task, b.waiting_for)).collect::<Vec<_>>().join("; "))]
pub struct Deadlock {
    /// The virtual time at which everything stood still.
    pub now: Nanos,
    /// Every task that was left, in the order in which they were spawned.
    pub blocked: Vec<Blocked>,
}

/// Names a task; it stays harmless after the task is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskId {
    slot: u32,
    /// The how-many-th task of the world it is; no two share it.
    serial: u64,
}

/// A place for a task. Places are used again, and with them their memory.
struct Entry {
    serial: u64,
    label: String,
    waiting_for: &'static str,
    /// Owned here so that the executor can cancel what nobody else would. Nothing if the place is
    /// free.
    task: Option<Task<(), TaskId>>,
}

#[derive(Default)]
struct Tasks {
    entries: Vec<Entry>,
    free: Vec<u32>,
    spawned: u64,
}

impl Tasks {
    fn reserve(&mut self, label: &str) -> TaskId {
        let serial = self.spawned;
        self.spawned += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                serial,
                label: String::new(),
                waiting_for: "",
                task: None,
            });
            u32::try_from(self.entries.len() - 1).expect("memory ends before 2^32 tasks")
        });
        let entry = &mut self.entries[slot as usize];
        entry.serial = serial;
        entry.label.clear();
        entry.label.push_str(label);
        entry.waiting_for = "its first turn";
        TaskId { slot, serial }
    }

    fn get(&mut self, id: TaskId) -> Option<&mut Entry> {
        let entry = &mut self.entries[id.slot as usize];
        (entry.serial == id.serial && entry.task.is_some()).then_some(entry)
    }

    fn take(&mut self, id: TaskId) -> Option<Task<(), TaskId>> {
        let task = self.get(id)?.task.take();
        self.free.push(id.slot);
        task
    }

    fn take_all(&mut self) -> Vec<Task<(), TaskId>> {
        let entries = self.entries.iter_mut();
        let left = entries.filter_map(|entry| entry.task.take()).collect();
        self.free.clear();
        self.free.extend((0..self.entries.len() as u32).rev());
        left
    }
}

/// Ready tasks. A mutex only because wakers must be `Send`; there is one thread, so it is never
/// contended.
#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<Runnable<TaskId>>>,
    /// Whether there are any: spares the lock before each jump of the clock.
    any: AtomicBool,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Runnable<TaskId>>> {
        let queue = self.queue.lock();
        queue.expect("no task panics while it holds the queue")
    }

    fn push(&self, runnable: Runnable<TaskId>) {
        self.lock().push_back(runnable);
        self.any.store(true, Relaxed);
    }

    /// Takes the first, or with a source of randomness any.
    fn pop(&self, shuffle: Option<&RefCell<Random>>) -> Option<Runnable<TaskId>> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let mut queue = self.lock();
        let next = match shuffle {
            Some(random) if queue.len() > 1 => {
                let at = random.borrow_mut().below(queue.len() as u64) as usize;
                queue.swap_remove_back(at)
            }
            _ => queue.pop_front(),
        };
        self.any.store(!queue.is_empty(), Relaxed);
        next
    }
}

/// See the module documentation.
pub(crate) struct Executor {
    now: Cell<Nanos>,
    ready: Arc<Ready>,
    timers: RefCell<Timers>,
    tasks: RefCell<Tasks>,
    shuffle: Option<RefCell<Random>>,
    /// What the running task said last that it waits for; nothing if it was a timer.
    waiting_for: Cell<Option<&'static str>>,
    /// The root task has finished.
    finished: Cell<bool>,
    /// The world has ended: nothing starts any more.
    closed: Cell<bool>,
    /// What is done when the world is freed.
    endings: RefCell<Vec<Box<dyn FnOnce()>>>,
}

impl Executor {
    pub(crate) fn new(shuffle: Option<Random>) -> Self {
        Executor {
            now: Cell::new(0),
            ready: Arc::default(),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            shuffle: shuffle.map(RefCell::new),
            waiting_for: Cell::new(None),
            finished: Cell::new(false),
            closed: Cell::new(false),
            endings: RefCell::default(),
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        self.now.get()
    }

    /// Wakes at a point in time; `None` if the world has ended.
    pub(crate) fn wake_at(&self, at: Nanos, waker: &Waker) -> Option<TimerId> {
        self.set(at, Due::Wake(waker.clone()))
    }

    pub(crate) fn call_at(&self, at: Nanos, call: Box<dyn FnOnce()>) {
        self.set(at, Due::Call(call));
    }

    fn set(&self, at: Nanos, due: Due) -> Option<TimerId> {
        let at = at.max(self.now.get());
        (!self.closed.get()).then(|| self.timers.borrow_mut().set(at, due))
    }

    /// Makes a timer wake someone else: its future has moved to another task.
    pub(crate) fn rewake(&self, timer: TimerId, waker: &Waker) {
        let mut timers = self.timers.borrow_mut();
        if let Some(old) = timers.waker_mut(timer)
            && !old.will_wake(waker)
        {
            let old = std::mem::replace(old, waker.clone());
            drop(timers);
            drop(old);
        }
    }

    pub(crate) fn cancel_timer(&self, timer: TimerId) {
        let due = self.timers.borrow_mut().cancel(timer);
        drop(due);
    }

    /// Starts a task that ends with `done`. The executor owns it; [`Executor::cancel`] drops it.
    pub(crate) fn spawn<T: 'static>(
        self: &Rc<Self>,
        label: &str,
        future: impl Future<Output = T> + 'static,
        done: impl FnOnce(T) + 'static,
    ) -> TaskId {
        let id = self.tasks.borrow_mut().reserve(label);
        if self.closed.get() {
            // Some destructor spawns while the world is being freed.
            return id;
        }
        let executor = Rc::clone(self);
        // Not an async block: that would hold the future twice, before and while it awaits it.
        let future = future.map(move |value| {
            done(value);
            let task = executor.tasks.borrow_mut().take(id);
            if let Some(task) = task {
                task.detach();
            }
        });
        let ready = Arc::clone(&self.ready);
        let schedule = move |runnable| ready.push(runnable);
        let (runnable, task) = Builder::new()
            .metadata(id)
            .spawn_local(move |_| future, schedule);
        self.tasks.borrow_mut().entries[id.slot as usize].task = Some(task);
        runnable.schedule();
        id
    }

    /// Never polls a task again, and drops its future at what would have been its next turn. A task
    /// that cancels itself ends at its next await.
    pub(crate) fn cancel(&self, id: TaskId) {
        let task = self.tasks.borrow_mut().take(id);
        drop(task);
    }

    /// Notes what the running task waits for, for a deadlock's report.
    pub(crate) fn waits_for(&self, what: &'static str) {
        self.waiting_for.set(Some(what));
    }

    /// The running task waits for a timer. That needs no note, which with very many tasks would be
    /// a cache miss: no timer is left in a deadlock, so the task has had a later turn by then.
    pub(crate) fn waits_for_timer(&self) {
        self.waiting_for.set(None);
    }

    fn run_task(&self, runnable: Runnable<TaskId>) {
        let id = *runnable.metadata();
        // What it said at an earlier turn need not be true any more.
        self.waiting_for.set(Some("something that it did not name"));
        runnable.run();
        if let Some(what) = self.waiting_for.get()
            // Nothing is there if it has finished or cancelled itself.
            && let Some(entry) = self.tasks.borrow_mut().get(id)
        {
            entry.waiting_for = what;
        }
    }

    /// Ends [`Executor::run`] after the current turn.
    pub(crate) fn finish(&self) {
        self.finished.set(true);
    }

    /// Runs until [`Executor::finish`], or until nothing can happen any more.
    pub(crate) fn run(&self) -> Result<(), Deadlock> {
        loop {
            while let Some(runnable) = self.ready.pop(self.shuffle.as_ref()) {
                self.run_task(runnable);
                if self.finished.get() {
                    return Ok(());
                }
            }
            let next = self.timers.borrow_mut().pop();
            let Some((at, due)) = next else {
                return Err(self.deadlock());
            };
            self.now.set(at);
            fire(due);
            if self.shuffle.is_some() {
                // All that is due at this instant is ready now, and may run in any order. What these
                // set for the same instant comes after it, or they could keep the tasks waiting.
                let due: Vec<Due> = std::iter::from_fn(|| self.pop_now()).collect();
                due.into_iter().for_each(fire);
            }
        }
    }

    fn pop_now(&self) -> Option<Due> {
        self.timers.borrow_mut().pop_now()
    }

    fn deadlock(&self) -> Deadlock {
        let tasks = self.tasks.borrow();
        let mut left: Vec<&Entry> = tasks.entries.iter().filter(|e| e.task.is_some()).collect();
        left.sort_by_key(|entry| entry.serial);
        let blocked = left.into_iter().map(|entry| Blocked {
            task: entry.label.clone(),
            waiting_for: entry.waiting_for,
        });
        Deadlock {
            now: self.now.get(),
            blocked: blocked.collect(),
        }
    }

    /// Has something done when the world is freed.
    pub(crate) fn at_end(&self, ending: Box<dyn FnOnce()>) {
        self.endings.borrow_mut().push(ending);
    }

    /// Drops every task and timer, for good. Tasks hold the world and the world holds tasks, so
    /// without this a simulation would never be freed.
    pub(crate) fn shutdown(&self) {
        self.closed.set(true);
        let tasks = self.tasks.borrow_mut().take_all();
        let timers = self.timers.borrow_mut().clear();
        drop(tasks);
        drop(timers);
        // A cancelled task drops its future when it is run once more.
        while let Some(runnable) = self.ready.pop(None) {
            runnable.run();
        }
        let endings = self.endings.take();
        endings.into_iter().for_each(|ending| ending());
    }
}

fn fire(due: Due) {
    match due {
        Due::Wake(waker) => waker.wake(),
        Due::Call(call) => call(),
    }
}
