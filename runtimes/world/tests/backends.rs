//! The same body runs in virtual and in real time, and sees the same.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use triptych_world::latency::Dist;
use triptych_world::link::{LinkConfig, Network};
use triptych_world::{Elapsed, JoinHandle, MS, Options, SECOND, World};

/// What the crate promises of time and tasks, with spans that a busy machine can still tell apart.
async fn conformance(world: World) -> Vec<&'static str> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let note = |what: &'static str| {
        let log = Rc::clone(&log);
        move || log.borrow_mut().push(what)
    };
    let begin = world.now();

    // Sleeps end in the order of their ends, not of their beginnings.
    let later = |span: u64, what: &'static str| {
        let (inner, note) = (world.clone(), note(what));
        world.spawn("sleeper", async move {
            inner.sleep(span).await;
            note();
            what
        })
    };
    let (slow, quick) = (later(80 * MS, "slow"), later(20 * MS, "quick"));
    world.after(50 * MS, note("message"));
    assert_eq!((slow.await, quick.await), ("slow", "quick"));
    assert!(world.now() - begin >= 80 * MS);

    // A sleep into the past ends at once; a point in time is one.
    world.sleep_until(begin).await;
    world.sleep(0).await;

    // An aborted task does nothing more and is dropped; its handle never completes.
    let guard = Rc::new(());
    let held = Rc::clone(&guard);
    let (inner, unwanted) = (world.clone(), note("unwanted"));
    let victim = world.spawn("victim", async move {
        inner.sleep(20 * MS).await;
        unwanted();
        drop(held);
    });
    world.yield_now().await;
    victim.abort();
    world.sleep(40 * MS).await;
    assert_eq!(Rc::strong_count(&guard), 1);
    assert_eq!(world.timeout(MS, victim).await, Err(Elapsed));
    note("aborted")();

    // A task goes on without its handle; a message arrives without its sender.
    drop(later(10 * MS, "detached"));
    let (inner, message) = (world.clone(), note("from the dead"));
    let sender = world.spawn("sender", async move {
        inner.after(30 * MS, message);
        pending::<()>().await;
    });
    world.sleep(MS).await;
    sender.abort();
    world.sleep(60 * MS).await;

    // Time limits: the future is dropped, or its value is there.
    let held = Rc::clone(&guard);
    let never = async move {
        let _held = held;
        pending::<()>().await;
    };
    assert_eq!(world.timeout(10 * MS, never).await, Err(Elapsed));
    assert_eq!(Rc::strong_count(&guard), 1);
    let early = world.timeout(SECOND, later(MS, "in time"));
    assert_eq!(early.await, Ok("in time"));

    // Yielding lets others run.
    let turn = Rc::new(Cell::new(false));
    let other = Rc::clone(&turn);
    world.spawn("other", async move { other.set(true) });
    while !turn.get() {
        world.yield_now().await;
    }

    // A link in order.
    let network = Network::new(&world);
    let spread = Dist::Uniform {
        low: 0.0,
        high: 20.0,
    };
    let link = network.link("a", "b", LinkConfig::new(spread));
    let arrived = Rc::new(RefCell::new(Vec::new()));
    for n in 0..50 {
        let arrived = Rc::clone(&arrived);
        link.send(n, move |n| arrived.borrow_mut().push(n));
    }
    while link.counts().delivered < 50 {
        world.sleep(MS).await;
    }
    assert_eq!(*arrived.borrow(), (0..50).collect::<Vec<_>>());

    assert!(world.unix_ms() > 1_700_000_000_000);
    log.take()
}

const EXPECTED: [&str; 7] = [
    "quick",
    "message",
    "slow",
    "aborted",
    "detached",
    "from the dead",
    "in time",
];

#[test]
fn virtual_time_conforms() {
    let seen = World::simulate(1, Options::default(), conformance);
    assert_eq!(seen.as_deref(), Ok(&EXPECTED[..]));
}

#[test]
fn shuffled_virtual_time_conforms() {
    for seed in 0..50 {
        let options = Options {
            shuffle: true,
            ..Options::default()
        };
        let seen = World::simulate(seed, options, conformance);
        assert_eq!(seen.as_deref(), Ok(&EXPECTED[..]));
    }
}

#[test]
fn real_time_conforms() {
    let seen = World::run_real(1, Options::default(), conformance);
    assert_eq!(seen.expect("a runtime"), EXPECTED);
}

/// A task that nobody awaits panics while the root waits for something else.
async fn unattended(world: World) {
    let inner = world.clone();
    world.spawn("bad", async move {
        inner.sleep(MS).await;
        panic!("as told");
    });
    world.sleep(60 * SECOND).await;
}

/// A message panics.
async fn bad_message(world: World) {
    world.after(MS, || panic!("as told"));
    world.sleep(60 * SECOND).await;
}

#[test]
fn a_panic_of_any_task_ends_the_world_on_both_backends() {
    let virtually = [
        catch_unwind(|| World::simulate(1, Options::default(), unattended).is_ok()),
        catch_unwind(|| World::simulate(1, Options::default(), bad_message).is_ok()),
    ];
    let really = [
        catch_unwind(|| World::run_real(1, Options::default(), unattended).is_ok()),
        catch_unwind(|| World::run_real(1, Options::default(), bad_message).is_ok()),
    ];
    for result in virtually.into_iter().chain(really) {
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"as told"));
    }
}

#[test]
fn in_a_foreign_local_set_a_panic_reaches_whoever_joins() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let result = catch_unwind(AssertUnwindSafe(|| {
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let world = World::real(1, Options::default());
            let task: JoinHandle<()> = world.spawn("bad", async { panic!("as told") });
            world.sleep(MS).await;
            task.await;
        });
    }));
    assert_eq!(result.unwrap_err().downcast_ref(), Some(&"as told"));
}
