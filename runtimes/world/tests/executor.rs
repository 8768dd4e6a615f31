//! The virtual-time executor as its users see it: order, seeds, deadlocks, freeing, panics.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use triptych_world::{Elapsed, MS, Options, SECOND, US, World};

type Log = Rc<RefCell<Vec<(u64, String)>>>;

fn simulate<T: 'static, F: Future<Output = T> + 'static>(body: impl FnOnce(World) -> F) -> T {
    World::simulate(1, Options::default(), body).expect("no deadlock")
}

/// Ten tasks that sleep at random, wake each other's like, and note what they do.
fn trace(seed: u64, shuffle: bool) -> Vec<(u64, String)> {
    let options = Options {
        shuffle,
        ..Options::default()
    };
    let run = World::simulate(seed, options, |world| async move {
        let log = Log::default();
        let tasks: Vec<_> = (0..10)
            .map(|task| {
                let (inner, log) = (world.clone(), Rc::clone(&log));
                world.spawn("dice", async move {
                    let mut random = inner.random(&format!("dice {task}"));
                    for turn in 0..20 {
                        match random.below(3) {
                            0 => inner.yield_now().await,
                            1 => inner.sleep(random.below(4)).await,
                            _ => {
                                let nested = inner.clone();
                                let span = random.below(3);
                                let child = async move { nested.sleep(span).await };
                                inner.spawn("child", child).await;
                            }
                        }
                        log.borrow_mut()
                            .push((inner.now(), format!("{task}.{turn}")));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        log.take()
    });
    run.expect("no deadlock")
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(trace(3, false), trace(3, false));
    assert_ne!(trace(3, false), trace(4, false));
}

#[test]
fn a_shuffled_schedule_differs_with_the_seed_and_is_reproducible() {
    assert_eq!(trace(3, true), trace(3, true));
    assert_ne!(trace(3, true), trace(3, false));
    // The same program, whose only randomness is the schedule.
    let order = |seed| {
        let options = Options {
            shuffle: true,
            ..Options::default()
        };
        let run = World::simulate(seed, options, |world| async move {
            let log = Rc::new(RefCell::new(Vec::new()));
            for task in 0..8 {
                let (log, inner) = (Rc::clone(&log), world.clone());
                world.spawn("racer", async move {
                    // All are due at the same instant, which must not line them up.
                    inner.sleep_until(MS).await;
                    log.borrow_mut().push(task);
                });
            }
            world.sleep(SECOND).await;
            log.take()
        });
        run.expect("no deadlock")
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_ne!(order(1), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_deadlock_names_every_task_and_what_it_waits_for() {
    let error = World::simulate(1, Options::default(), |world| async move {
        let stuck = world.clone();
        world.spawn("reader", async move {
            stuck.sleep(5 * US).await;
            stuck.waiting("a lock", pending::<()>()).await;
        });
        world.spawn("finished", async {});
        let silent = world.clone();
        world.spawn("silent", async move {
            silent.sleep(US).await;
            pending::<()>().await;
        });
        let join = world.clone();
        let middle = world.spawn("middle", async move {
            let never = join.spawn("leaf", join.clone().waiting_forever());
            // A time limit that is not reached does not keep the world going.
            let _ = join.timeout(SECOND, async {}).await;
            never.await
        });
        middle.await
    });
    let error = error.unwrap_err();
    assert_eq!(error.now, 5 * US);
    let blocked: Vec<_> = error
        .blocked
        .iter()
        .map(|blocked| (blocked.task.as_str(), blocked.waiting_for))
        .collect();
    assert_eq!(
        blocked,
        [
            ("root", "another task"),
            ("reader", "a lock"),
            ("silent", "something that it did not name"),
            ("middle", "another task"),
            ("leaf", "a message"),
        ]
    );
    assert!(
        error
            .to_string()
            .contains("5000 ns: root waits for another task; reader waits")
    );
}

trait Forever {
    async fn waiting_forever(self);
}

impl Forever for World {
    async fn waiting_forever(self) {
        self.waiting("a message", pending()).await
    }
}

#[test]
fn timers_of_one_nanosecond_fire_in_the_order_in_which_they_were_set() {
    let order = simulate(|world| async move {
        let log = Rc::new(RefCell::new(Vec::new()));
        for n in 0..100 {
            let note = Rc::clone(&log);
            // From different distances, so that they take different ways through the queue.
            world.sleep(n % 7).await;
            world.after(MS - world.now(), move || note.borrow_mut().push(n));
        }
        world.sleep_until(MS).await;
        log.borrow_mut().push(100);
        log.take()
    });
    assert_eq!(order, (0..=100).collect::<Vec<_>>());
}

#[test]
fn timeout_drops_what_takes_too_long() {
    simulate(|world| async move {
        let guard = Rc::new(());
        let inner = Rc::clone(&guard);
        let slow = async move {
            pending::<()>().await;
            drop(inner);
        };
        assert_eq!(world.timeout(MS, slow).await, Err(Elapsed));
        assert_eq!((world.now(), Rc::strong_count(&guard)), (MS, 1));
        let quick = world.sleep(MS);
        assert_eq!(world.timeout(MS, quick).await, Ok(()), "just in time");
        assert_eq!(world.now(), 2 * MS);
    });
}

#[test]
fn a_sleep_goes_on_in_another_task_and_bears_chance_polls() {
    simulate(|world| async move {
        let mut sleep = Box::pin(world.sleep(MS));
        // Polled once here, by a waker that nobody listens to any more when it is due.
        for _ in 0..3 {
            let mut cx = std::task::Context::from_waker(Waker::noop());
            assert!(sleep.as_mut().poll(&mut cx).is_pending());
        }
        let inner = world.clone();
        let moved = world.spawn("moved", async move {
            sleep.await;
            inner.now()
        });
        assert_eq!(moved.await, MS);
        // A dropped sleep wakes nobody: the root is polled once for each of its own waits.
        let polls = Cell::new(0);
        let mut long = pin!(world.sleep(SECOND));
        poll_fn(|cx| {
            polls.set(polls.get() + 1);
            if polls.get() == 1 {
                let mut short = pin!(world.sleep(MS));
                assert!(short.as_mut().poll(cx).is_pending());
            }
            long.as_mut().poll(cx)
        })
        .await;
        assert_eq!((polls.get(), world.now()), (2, MS + SECOND));
    });
}

#[test]
fn an_absurdly_long_sleep_is_one_that_never_ends() {
    simulate(|world| async move {
        world.sleep(MS).await;
        let never = world.sleep(u64::MAX);
        assert_eq!(world.timeout(SECOND, never).await, Err(Elapsed));
    });
}

#[test]
fn an_aborted_task_is_never_polled_again_and_is_dropped() {
    simulate(|world| async move {
        let (polled, guard) = (Rc::new(Cell::new(0)), Rc::new(()));
        let (count, inner, held) = (Rc::clone(&polled), world.clone(), Rc::clone(&guard));
        let task = world.spawn("victim", async move {
            let _held = held;
            loop {
                count.set(count.get() + 1);
                inner.yield_now().await;
            }
        });
        world.yield_now().await;
        world.yield_now().await;
        // It is in the ready queue now.
        let before = polled.get();
        task.abort();
        task.abort();
        world.yield_now().await;
        assert_eq!((polled.get(), Rc::strong_count(&guard)), (before, 1));
        assert_eq!(world.timeout(MS, task).await, Err(Elapsed));
        // One that has not begun, and one that has ended.
        let fresh = world.spawn("fresh", async { unreachable!("it was aborted before") });
        fresh.abort();
        let ended = world.spawn("ended", async { 5 });
        world.yield_now().await;
        ended.abort();
        assert_eq!(ended.await, 5);
    });
}

#[test]
fn a_task_that_aborts_itself_ends_at_its_next_await() {
    simulate(|world| async move {
        let (handle, reached) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(0)));
        let (own, count, inner) = (Rc::clone(&handle), Rc::clone(&reached), world.clone());
        let task = world.spawn("suicide", async move {
            inner.yield_now().await;
            let task: triptych_world::JoinHandle<()> = own.borrow_mut().take().expect("given");
            task.abort();
            count.set(1);
            // Takes the place that has just become free; what the dying task waits for must not be
            // noted as its.
            let waits = inner.clone();
            inner.spawn("successor", waits.waiting_forever());
            inner.sleep(MS).await;
            count.set(2);
        });
        *handle.borrow_mut() = Some(task);
        world.sleep(SECOND).await;
        assert_eq!(reached.get(), 1);
        drop((handle, reached));
        let error = world.timeout(MS, pending::<()>()).await;
        assert_eq!(error, Err(Elapsed));
    });
}

/// Counts what was freed; comes back into the world while it is.
struct Guard {
    freed: Rc<Cell<u32>>,
    world: World,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.freed.set(self.freed.get() + 1);
        let freed = Rc::clone(&self.freed);
        let world = self.world.clone();
        self.world.after(0, move || freed.set(1_000_000));
        self.world.spawn("from a destructor", async move {
            world.sleep(1).await;
            unreachable!("the world has ended");
        });
    }
}

/// A world full of guards, in tasks that wait for each other in a circle and in messages.
fn populate(world: &World, freed: &Rc<Cell<u32>>) {
    let guard = || Guard {
        freed: Rc::clone(freed),
        world: world.clone(),
    };
    let circle = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..3 {
        let (circle_inside, guard) = (Rc::clone(&circle), guard());
        let task = world.spawn("in a circle", async move {
            let _guard = guard;
            let other = circle_inside.borrow_mut().pop();
            if let Some(other) = other {
                let other: triptych_world::JoinHandle<()> = other;
                other.await;
            }
            pending::<()>().await;
            drop(circle_inside);
        });
        circle.borrow_mut().push(task);
    }
    let (late, asleep, ready) = (guard(), guard(), guard());
    world.after(SECOND, move || drop(late));
    let sleeper = world.clone();
    world.spawn("asleep", async move {
        sleeper.sleep(SECOND).await;
        drop(asleep);
    });
    let spinner = world.clone();
    world.spawn("ready", async move {
        let _ready = ready;
        loop {
            spinner.yield_now().await;
        }
    });
}

#[test]
fn the_end_frees_everything() {
    let freed = Rc::new(Cell::new(0));
    let outer = Rc::clone(&freed);
    simulate(|world| async move {
        populate(&world, &outer);
        world.sleep(0).await;
        world.yield_now().await;
        assert_eq!(outer.get(), 0);
    });
    assert_eq!((freed.get(), Rc::strong_count(&freed)), (6, 1));
}

#[test]
fn a_panic_ends_the_world_and_frees_everything() {
    let freed = Rc::new(Cell::new(0));
    let outer = Rc::clone(&freed);
    let result = catch_unwind(AssertUnwindSafe(move || {
        simulate(|world| async move {
            populate(&world, &outer);
            let inner = world.clone();
            world.spawn("bad", async move {
                inner.yield_now().await;
                panic!("as told");
            });
            pending::<()>().await;
        });
    }));
    let panic = result.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"as told"));
    assert_eq!((freed.get(), Rc::strong_count(&freed)), (6, 1));
}

#[test]
fn a_world_may_live_in_another() {
    let inner = simulate(|world| async move {
        world.sleep(MS).await;
        let inner = simulate(|inner| async move {
            inner.sleep(7).await;
            inner.now()
        });
        (world.now(), inner)
    });
    assert_eq!(inner, (MS, 7));
}

#[test]
fn wakers_that_come_back_into_the_executor_do_no_harm() {
    struct Meddler(std::sync::Mutex<Vec<Waker>>);
    impl std::task::Wake for Meddler {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().drain(..).for_each(Waker::wake);
        }
    }
    use std::sync::Arc;
    simulate(|world| async move {
        let inner = world.clone();
        let mut task = pin!(world.spawn("slow", async move { inner.sleep(MS).await }));
        let mut sleep = pin!(world.sleep(2 * MS));
        poll_fn(|cx| {
            // Both wait with a waker that wakes another in its wake.
            let meddler = Arc::new(Meddler(vec![cx.waker().clone()].into()));
            let waker = Waker::from(meddler);
            let mut nested = std::task::Context::from_waker(&waker);
            let joined = task.as_mut().poll(&mut nested);
            if joined.is_ready() {
                return Poll::Ready(());
            }
            assert!(sleep.as_mut().poll(&mut nested).is_pending());
            Poll::Pending
        })
        .await;
        assert_eq!(world.now(), MS);
    });
}
