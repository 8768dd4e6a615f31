//! The load: who asks when, and what is kept of it.
//!
//! In a *closed* loop each client asks as soon as it was answered: that shows how much a system
//! carries. In an *open* loop requests are due at times that were fixed before, whatever the system
//! does, and latency counts from then: that shows what users of a loaded system see. What is asked
//! is a [`Call`], so the same load goes to any system.

use futures_util::future::LocalBoxFuture;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use triptych_load::pool::Cancel;
use triptych_load::schedule::{Arrivals, Rate, Schedule};
use triptych_world::{MS, Nanos, SECOND, World};

/// One request of a client, by its number in the run. Answers with the place that an append got, or
/// with anything else that the caller knows how to read.
pub type Call = Rc<dyn Fn(u64) -> LocalBoxFuture<'static, Result<u64, Trouble>>>;

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// It surely had no effect.
    Refused(String),
    /// Nobody knows whether it had one.
    Unknown(String),
}

impl Trouble {
    /// What was said.
    pub fn text(&self) -> &str {
        let (Trouble::Refused(text) | Trouble::Unknown(text)) = self;
        text
    }
}

/// When requests are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each client asks again when it was answered.
    Closed,
    /// At random times that are fixed before the run, so many per second over all clients.
    Open(Rate),
}

/// How long it goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// When requests are made.
    pub pace: Pace,
    /// How long at the start nothing is measured.
    pub warmup: Nanos,
    /// How long is measured after that.
    pub span: Nanos,
    /// The seed of the times.
    pub seed: u64,
}

/// What became of one request. Times are of the driving world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number in the run.
    pub number: u64,
    /// When it was due; in a closed loop when it was sent.
    pub due: Nanos,
    /// When it was sent.
    pub sent: Nanos,
    /// When it was answered.
    pub done: Nanos,
    /// With what.
    pub result: Result<u64, Trouble>,
}

/// What a load came to.
#[derive(Debug)]
pub struct Driven {
    /// Every request, in the order of the answers.
    pub ops: Vec<Op>,
    /// From when to when was measured.
    pub window: (Nanos, Nanos),
    /// Whether it was stopped before its end.
    pub cut_short: bool,
}

/// A histogram of nanoseconds, three significant digits, to a bit more than an hour.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 4_000 * SECOND, 3).expect("the bounds are constant and fit")
}

impl Driven {
    /// Those that were due while it was measured.
    pub fn measured(&self) -> impl Iterator<Item = &Op> {
        let (from, to) = self.window;
        self.ops
            .iter()
            .filter(move |op| (from..to).contains(&op.due))
    }

    /// Latency from when it was due, of those that had a result.
    pub fn latency(&self) -> Histogram<u64> {
        let mut latency = histogram();
        for op in self.measured().filter(|op| op.result.is_ok()) {
            latency.saturating_record((op.done - op.due).max(1));
        }
        latency
    }

    /// By how much the generator was later than its own schedule.
    pub fn lateness(&self) -> Histogram<u64> {
        let mut lateness = histogram();
        for op in self.measured() {
            lateness.saturating_record((op.sent - op.due).max(1));
        }
        lateness
    }

    /// Results while it was measured.
    pub fn completed(&self) -> u64 {
        let (from, to) = self.window;
        let in_window = |op: &&Op| op.result.is_ok() && (from..to).contains(&op.done);
        self.ops.iter().filter(in_window).count() as u64
    }

    /// Those without a result that were due while it was measured.
    pub fn failed(&self) -> u64 {
        self.measured().filter(|op| op.result.is_err()).count() as u64
    }

    /// How long was measured, in seconds.
    pub fn seconds(&self) -> f64 {
        (self.window.1 - self.window.0) as f64 / SECOND as f64
    }

    /// Results per second.
    pub fn rate(&self) -> f64 {
        self.completed() as f64 / self.seconds().max(1e-9)
    }
}

/// What clients share while they work.
struct Shared {
    world: World,
    next: Cell<u64>,
    ops: RefCell<Vec<Op>>,
}

impl Shared {
    async fn one(&self, call: &Call, due: Option<Nanos>) {
        let number = self.next.replace(self.next.get() + 1);
        let sent = self.world.now();
        let result = call(number).await;
        let done = self.world.now();
        self.ops.borrow_mut().push(Op {
            number,
            due: due.unwrap_or(sent),
            sent,
            done,
            result,
        });
    }
}

/// How long a client that was refused waits before it asks again, so that a system which takes
/// nothing is not asked a million times a second.
const PAUSE: Nanos = MS;

/// Puts a load on a system, one client per call. Numbers count from `first`. `mark` is called when
/// measuring begins and when it ends, to look at clocks of processor time. Must run in a real world.
pub async fn drive(
    world: &World,
    calls: &[Call],
    plan: Plan,
    first: u64,
    cancel: &Arc<Cancel>,
    mut mark: impl FnMut() + 'static,
) -> Driven {
    let shared = Rc::new(Shared {
        world: world.clone(),
        next: Cell::new(first),
        ops: RefCell::default(),
    });
    let start = world.now();
    let window = Rc::new(Cell::new((start + plan.warmup, start + plan.warmup)));
    let marks = {
        let (world, window) = (world.clone(), Rc::clone(&window));
        let cancel = Arc::clone(cancel);
        world.clone().spawn("marks", async move {
            world.sleep_until(start + plan.warmup).await;
            mark();
            let from = world.now();
            // In steps, because somebody may want to stop it.
            while world.now() < from + plan.span && !cancel.is_cancelled() {
                let left = from + plan.span - world.now();
                world.sleep(left.min(50 * MS)).await;
            }
            mark();
            window.set((from, world.now()));
        })
    };
    let end = start + plan.warmup + plan.span;
    match plan.pace {
        Pace::Closed => closed(&shared, calls, end, cancel).await,
        Pace::Open(rate) => open(&shared, calls, rate, &plan, start, cancel).await,
    }
    marks.await;
    let ops = shared.ops.take();
    Driven {
        ops,
        window: window.get(),
        cut_short: cancel.is_cancelled(),
    }
}

async fn closed(shared: &Rc<Shared>, calls: &[Call], end: Nanos, cancel: &Arc<Cancel>) {
    let clients = calls.iter().map(|call| {
        let (shared, call, cancel) = (Rc::clone(shared), Rc::clone(call), Arc::clone(cancel));
        shared.world.clone().spawn("marks", async move {
            while shared.world.now() < end && !cancel.is_cancelled() {
                shared.one(&call, None).await;
                let failed = |op: &Op| op.result.is_err();
                if shared.ops.borrow().last().is_some_and(failed) {
                    shared.world.sleep(PAUSE).await;
                }
            }
        })
    });
    futures_util::future::join_all(clients.collect::<Vec<_>>()).await;
}

async fn open(
    shared: &Rc<Shared>,
    calls: &[Call],
    rate: Rate,
    plan: &Plan,
    start: Nanos,
    cancel: &Arc<Cancel>,
) {
    let schedule = Schedule {
        arrivals: Arrivals::Poisson,
        rate,
        span: plan.warmup + plan.span,
        ramp: 0,
        seed: plan.seed,
    };
    // A thread of its own keeps the time: timers of the executor wake up to a millisecond late.
    let (due, mut dues) = tokio::sync::mpsc::unbounded_channel();
    let began = Instant::now() - Duration::from_nanos(shared.world.now() - start);
    let stop = Arc::clone(cancel);
    let pacer = std::thread::spawn(move || {
        for at in schedule.times() {
            let wait = Duration::from_nanos(at).saturating_sub(began.elapsed());
            // Shorter waits than a wake-up takes would only make it later.
            if wait > Duration::from_micros(60) {
                std::thread::sleep(wait - Duration::from_micros(50));
            }
            if stop.is_cancelled() || due.send(at).is_err() {
                return;
            }
        }
    });
    let mut working = Vec::new();
    let mut clients = calls.iter().cycle();
    while let Some(at) = dues.recv().await {
        let Some(call) = clients.next() else { break };
        let (shared, call) = (Rc::clone(shared), Rc::clone(call));
        let world = shared.world.clone();
        let one = async move { shared.one(&call, Some(start + at)).await };
        working.push(world.spawn("request", one));
    }
    futures_util::future::join_all(working).await;
    drop(dues);
    // It has sent its last, or nobody listens: either way it is about to end.
    let _ = pacer.join();
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_world::Options;

    /// A system that takes so long, and refuses every n-th.
    fn system(world: &World, takes: Nanos, refuses: u64) -> Call {
        let world = world.clone();
        Rc::new(move |number| {
            let world = world.clone();
            Box::pin(async move {
                world.sleep(takes).await;
                match number % refuses {
                    0 => Err(Trouble::Refused("no".to_owned())),
                    _ => Ok(number),
                }
            })
        })
    }

    fn run(plan: Plan, clients: usize, takes: Nanos, refuses: u64) -> (Driven, u32) {
        World::run_real(1, Options::default(), move |world| async move {
            let calls: Vec<Call> = (0..clients)
                .map(|_| system(&world, takes, refuses))
                .collect();
            let marks = Rc::new(Cell::new(0));
            let seen = Rc::clone(&marks);
            let cancel = Arc::new(Cancel::new());
            let mark = move || seen.set(seen.get() + 1);
            let driven = drive(&world, &calls, plan, 10, &cancel, mark).await;
            (driven, marks.get())
        })
        .unwrap()
    }

    const PLAN: Plan = Plan {
        pace: Pace::Closed,
        warmup: 50 * MS,
        span: 200 * MS,
        seed: 1,
    };

    #[test]
    fn a_closed_loop_asks_when_it_was_answered() {
        let (driven, marks) = run(PLAN, 4, 5 * MS, 7);
        assert_eq!((marks, driven.cut_short), (2, false));
        // Each number once, from the first on.
        let mut numbers: Vec<u64> = driven.ops.iter().map(|op| op.number).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(10..10 + numbers.len() as u64));
        // Four clients, 5 ms each: never more than 4 at a time, so at most 160 in the window.
        assert!(
            (8..=164).contains(&driven.completed()),
            "{}",
            driven.completed()
        );
        assert!(driven.failed() > 0 && driven.failed() < driven.completed());
        assert!(driven.latency().min() >= 5 * MS * 99 / 100);
        assert!(driven.measured().count() < driven.ops.len());
    }

    #[test]
    fn an_open_loop_counts_from_when_it_was_due() {
        let rate = Rate::per_second(500.0).unwrap();
        let plan = Plan {
            pace: Pace::Open(rate),
            ..PLAN
        };
        let (driven, _) = run(plan, 2, 20 * MS, u64::MAX);
        // The schedule decides how many there are, not the system: about 125.
        let schedule = Schedule {
            arrivals: Arrivals::Poisson,
            rate,
            span: 250 * MS,
            ramp: 0,
            seed: 1,
        };
        assert_eq!(driven.ops.len(), schedule.times().count());
        for op in &driven.ops {
            assert!(op.due <= op.done && op.done - op.sent >= 20 * MS * 99 / 100);
        }
        assert_eq!(driven.lateness().len(), driven.measured().count() as u64);
    }

    #[test]
    fn it_can_be_stopped() {
        let driven = World::run_real(1, Options::default(), |world| async move {
            let cancel = Arc::new(Cancel::new());
            let calls = [system(&world, MS, u64::MAX)];
            let plan = Plan {
                span: 600 * SECOND,
                ..PLAN
            };
            let raised = Arc::clone(&cancel);
            world.after(100 * MS, move || raised.cancel());
            drive(&world, &calls, plan, 0, &cancel, || ()).await
        });
        let driven = driven.unwrap();
        assert!(driven.cut_short && driven.seconds() < 60.0);
    }
}
