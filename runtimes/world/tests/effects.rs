//! Crash points: the four kinds and the duplicate, seen through a small supervisor.

use futures_util::future::{Either, join_all, select};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{Life, MS, Options, Order, SECOND, Scope, World};

const REQUEST: u64 = 7;

/// What the function's two effects did, and when; what it returned.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<(u64, String)>>>);

impl Seen {
    fn note(&self, world: &World, what: impl Into<String>) {
        self.0.borrow_mut().push((world.now(), what.into()));
    }

    fn count(&self, what: &str) -> usize {
        self.0.borrow().iter().filter(|(_, w)| w == what).count()
    }
}

/// A message that its server applies after 1 ms, and whose reply takes another.
fn message(world: &World, seen: &Seen, name: &'static str) -> impl Future<Output = ()> + 'static {
    let (world, seen) = (world.clone(), seen.clone());
    async move {
        world.sleep(MS).await;
        seen.note(&world, name);
        world.sleep(MS).await;
    }
}

async fn function(world: World, scope: Scope, seen: Seen) {
    for name in ["first", "second"] {
        world
            .effect(&scope, name, message(&world, &seen, name))
            .await;
    }
    seen.note(&world, "returned");
}

type Body = fn(World, Scope, Seen) -> Pin<Box<dyn Future<Output = ()>>>;

/// Runs a function until it ends: again 100 ms after a crash, and twice if so ordered.
async fn supervise(world: World, seen: Seen, body: Body) {
    let request = world.request(REQUEST);
    request.begin();
    'executions: loop {
        let life = Life::new();
        let scope = Scope::new(Rc::clone(&request), 1, life.clone());
        let mut execution = body(world.clone(), scope, seen.clone());
        loop {
            let order = pin!(life.order());
            match select(order, execution.as_mut()).await {
                Either::Right(((), _)) => break 'executions,
                Either::Left((Order::Crash, _)) => break,
                Either::Left((Order::Duplicate, _)) => {
                    let again: Pin<Box<dyn Future<Output = ()>>> =
                        Box::pin(supervise(world.clone(), seen.clone(), body));
                    world.spawn("duplicate", again);
                }
            }
        }
        drop(execution);
        seen.note(&world, "crashed");
        world.sleep(100 * MS).await;
    }
    request.end(world.now());
}

fn injection(nth: u32, action: Action) -> (u64, Injection) {
    let late = 300 * MS;
    (REQUEST, Injection { nth, action, late })
}

/// The trace of one request under exact faults, and how many of them fired.
fn run(exact: Vec<(u64, Injection)>, body: Body) -> (Seen, u16) {
    let faults = Faults {
        exact,
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    let run = World::simulate(5, options, |world| async move {
        let seen = Seen::default();
        let request = world.begin_request(REQUEST, 0);
        supervise(world.clone(), seen.clone(), body).await;
        while request.live() > 0 {
            world.sleep(MS).await;
        }
        let settled = request.settled();
        world.sleep(10 * SECOND).await;
        let last = seen.0.borrow().last().map_or(0, |(at, _)| *at);
        assert!(
            settled >= last,
            "nothing happens after the request has settled"
        );
        let struck: u64 = world.struck().values().sum();
        assert_eq!(struck, u64::from(request.fired()));
        (seen, request.fired())
    });
    run.expect("no deadlock")
}

fn two_effects(world: World, scope: Scope, seen: Seen) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(function(world, scope, seen))
}

fn crash(kind: CrashKind) -> (Seen, u16) {
    run(vec![injection(0, Action::Crash(kind))], two_effects)
}

#[test]
fn without_faults_each_effect_happens_once() {
    let (seen, fired) = run(Vec::new(), two_effects);
    assert_eq!(fired, 0);
    for what in ["first", "second", "returned"] {
        assert_eq!(seen.count(what), 1);
    }
    assert_eq!(seen.count("crashed"), 0);
}

#[test]
fn before_the_effect_never_happens_in_the_first_execution() {
    let (seen, fired) = crash(CrashKind::Before);
    assert_eq!(fired, 1);
    assert_eq!((seen.count("first"), seen.count("crashed")), (1, 1));
    assert_eq!(seen.0.borrow()[0], (0, "crashed".into()));
}

#[test]
fn in_flight_the_effect_is_applied_late_and_once_more_by_the_re_execution() {
    let (seen, _) = crash(CrashKind::InFlight);
    let seen = seen.0.borrow();
    let firsts: Vec<u64> = seen
        .iter()
        .filter(|(_, w)| w == "first")
        .map(|s| s.0)
        .collect();
    assert_eq!(seen[0], (0, "crashed".into()));
    assert_eq!(firsts, [101 * MS, 301 * MS]);
}

#[test]
fn a_lost_reply_leaves_the_effect_applied_once_per_execution() {
    let (seen, _) = crash(CrashKind::ReplyLost);
    let seen = seen.0.borrow();
    assert_eq!(seen[0], (MS, "first".into()));
    assert_eq!(seen[1], (2 * MS, "crashed".into()));
    assert_eq!(seen.iter().filter(|(_, w)| w == "first").count(), 2);
    assert_eq!(seen.iter().filter(|(_, w)| w == "second").count(), 1);
}

#[test]
fn after_the_reply_nothing_more_is_done_by_the_dead_execution() {
    let (seen, _) = crash(CrashKind::After);
    let seen = seen.0.borrow();
    assert_eq!(seen[1], (2 * MS, "crashed".into()));
    assert_eq!(seen.iter().filter(|(_, w)| w == "second").count(), 1);
    assert_eq!(seen.iter().filter(|(_, w)| w == "returned").count(), 1);
}

#[test]
fn a_duplicate_runs_beside_the_first() {
    let (seen, _) = run(vec![injection(1, Action::Duplicate)], two_effects);
    for what in ["first", "second", "returned"] {
        assert_eq!(seen.count(what), 2, "{what}");
    }
    assert_eq!(seen.count("crashed"), 0);
}

#[test]
fn a_duplicate_and_a_crash_may_strike_the_same_point() {
    for kind in CrashKind::ALL {
        let both = vec![
            injection(0, Action::Crash(kind)),
            injection(0, Action::Duplicate),
        ];
        let (seen, fired) = run(both, two_effects);
        assert_eq!((fired, seen.count("crashed")), (2, 1), "{kind:?}");
        assert_eq!(seen.count("returned"), 2, "{kind:?}");
    }
}

#[test]
fn a_crash_in_one_branch_stops_the_others() {
    fn branches(world: World, scope: Scope, seen: Seen) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let branch = |pause: u64| {
                let (world, scope, seen) = (world.clone(), scope.clone(), seen.clone());
                async move {
                    world.sleep(pause).await;
                    world
                        .effect(&scope, "first", message(&world, &seen, "first"))
                        .await;
                    world
                        .effect(&scope, "second", message(&world, &seen, "second"))
                        .await;
                }
            };
            // All of them are polled in the turn in which the first is crashed.
            join_all([branch(0), branch(0), branch(0)]).await;
            seen.note(&world, "returned");
        })
    }
    for kind in CrashKind::ALL {
        let (seen, fired) = run(vec![injection(0, Action::Crash(kind))], branches);
        assert_eq!((fired, seen.count("crashed")), (1, 1));
        // The re-execution's three, and what the dead execution had sent: its one effect that was
        // struck, and with the reply lost or received the other branches' too.
        let expected = match kind {
            CrashKind::Before => 3,
            CrashKind::InFlight => 4,
            CrashKind::ReplyLost | CrashKind::After => 6,
        };
        assert_eq!(seen.count("first"), expected, "{kind:?}");
        assert_eq!(seen.count("second"), 3, "{kind:?}");
    }
}

#[test]
fn keyed_draws_do_not_depend_on_order() {
    let draws = |reverse: bool| {
        let run = World::simulate(9, Options::default(), move |world| async move {
            let mut keys: Vec<u64> = (0..50).collect();
            if reverse {
                keys.reverse();
            }
            let mut drawn: Vec<_> = keys
                .into_iter()
                .map(|key| {
                    let factor = world.begin_request(key, 0).factor;
                    (key, world.keyed(key).bits(), factor.to_bits())
                })
                .collect();
            drawn.sort_unstable();
            drawn
        });
        run.expect("no deadlock")
    };
    assert_eq!(draws(false), draws(true));
}

#[test]
fn the_n_th_operation_of_an_execution_has_the_same_key_again() {
    let run = World::simulate(9, Options::default(), |world| async move {
        let keys = |path| {
            let scope = Scope::new(world.request(3), path, Life::new());
            [scope.next_key(), scope.next_key(), scope.next_trace().path]
        };
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
    });
    run.expect("no deadlock");
}

#[test]
fn exact_faults_reach_work_that_no_request_caused() {
    let exact = Injection {
        nth: 1,
        action: Action::Crash(CrashKind::Before),
        late: 0,
    };
    let options = Options {
        faults: Faults {
            exact: vec![(triptych_world::Trace::BACKGROUND, exact)],
            crash_rate: 1.0,
            ..Faults::default()
        },
        ..Options::default()
    };
    let run = World::simulate(1, options, |world| async move {
        let done = Rc::new(Cell::new(0));
        let scope = world.background_scope();
        let collector = async {
            for _ in 0..3 {
                world.effect(&scope, "collect", async {}).await;
                done.set(done.get() + 1);
            }
        };
        let collector = pin!(collector);
        let order = pin!(scope.life().order());
        assert!(matches!(
            select(order, collector).await,
            Either::Left((Order::Crash, _))
        ));
        done.get()
    });
    assert_eq!(run, Ok(1));
}
