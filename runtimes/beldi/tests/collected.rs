//! Beldi with its garbage collector at work: a long run of many requests, collected while it goes
//! on, leaves the data of the same run without a collector, whatever crashes; and what is long over
//! is really gone.

#[path = "common/cloud.rs"]
mod cloud;
mod common;

use cloud::{Cloud, PERIOD, T, background, check, config, data, run, simulate};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_beldi::{Bug, Config};
use triptych_faas::{Deployment, Payload, Platform};
use triptych_model::{Item, Name, Outcome, Value};
use triptych_store::{Request, Store};
use triptych_world::fault::{Action, CrashKind};
use triptych_world::{Life, MS, SECOND, Scope};

#[test]
fn data_are_those_of_a_run_without_a_collector_and_storage_is_bounded() {
    let without = run(
        Config {
            gc_period: None,
            ..config()
        },
        100,
        Vec::new(),
    );
    let with = run(config(), 100, Vec::new());
    check("without faults", 100, &with);
    assert_eq!(data(&without.state), data(&with.state));
    // Two entries a second on the hot row, four to a row: T and the period are 30 rows, and as many
    // wait to be deleted.
    assert!(without.longest.0 >= 50, "{:?}", without.longest);
    assert!(with.longest.0 <= 32, "{:?}", with.longest);
    assert!(with.longest.1 <= 60, "{:?}", with.longest);
    assert!(with.longest.0 < without.longest.0);
    let intents = without.kept.iter().find(|(name, _)| &**name == "intents");
    assert!(intents.unwrap().1 >= 300);
}

#[test]
fn a_long_run_keeps_no_more_than_a_short_one() {
    let kept = |requests: u64| {
        simulate(5, Vec::new(), move |world| async move {
            let mut cloud = Cloud::new(world, config()).await;
            cloud.send(requests).await;
            cloud.beldi.gauges().await.unwrap()
        })
    };
    let (short, long) = (kept(150), kept(600));
    for (name, count) in &long {
        let before = short[name];
        assert!(
            *count <= before + before / 4 + 8,
            "{name}: {before}, later {count}"
        );
    }
}

#[test]
fn a_crash_at_every_step_of_a_collector_harms_nothing() {
    let sound = run(config(), 30, Vec::new());
    check("without faults", 30, &sound);
    // Where the passes are that have something to do; the others are all alike.
    let mut points = BTreeSet::new();
    let step = (sound.effects / 90).max(1) as usize;
    for (at, nth) in (0..sound.effects).step_by(step).enumerate() {
        let kind = CrashKind::ALL[at % 4];
        let faults = vec![background(nth, Action::Crash(kind), 15 * SECOND)];
        let end = run(config(), 30, faults);
        check(&format!("{kind:?} at background effect {nth}"), 30, &end);
        points.extend(end.points);
    }
    assert!(points.len() >= 8, "only {points:?} were crashed");
}

/// All steps of a pass, but for the removal of a stamp from a reachable row, which only overlapping
/// passes can need.
const STEPS: [&str; 16] = [
    "beldi.gc.again",
    "beldi.gc.chains",
    "beldi.gc.delete",
    "beldi.gc.empty",
    "beldi.gc.finished",
    "beldi.gc.intent",
    "beldi.gc.intents",
    "beldi.gc.lease",
    "beldi.gc.list",
    "beldi.gc.log",
    "beldi.gc.log.delete",
    "beldi.gc.release",
    "beldi.gc.shadow.delete",
    "beldi.gc.shadows",
    "beldi.gc.stamp",
    "beldi.gc.unlink",
];

#[test]
fn every_kind_of_step_is_crashed_twice_in_all_ways() {
    // Which effect is which step shows when it is crashed.
    let sound = run(config(), 20, Vec::new());
    let mut first = BTreeMap::new();
    let order = (0..5).flat_map(|from| (from..sound.effects).step_by(5));
    for nth in order {
        let crash = background(nth, Action::Crash(CrashKind::After), 0);
        for point in run(config(), 20, vec![crash]).points {
            first.entry(point).or_insert(nth);
        }
        if STEPS.iter().all(|step| first.contains_key(step)) {
            break;
        }
    }
    for step in STEPS {
        assert!(first.contains_key(step), "{step} is not among {first:?}");
    }
    for (point, nth) in first {
        for (at, kind) in CrashKind::ALL.into_iter().enumerate() {
            let other = CrashKind::ALL[(at + 1) % 4];
            let faults = vec![
                background(nth, Action::Crash(kind), 15 * SECOND),
                background(nth + 3, Action::Crash(other), 15 * SECOND),
                background(nth + 9, Action::Duplicate, 0),
            ];
            let what = format!("{kind:?} then {other:?} at {point}");
            check(&what, 20, &run(config(), 20, faults));
        }
    }
}

/// Two passes at the same time, although there is a lease: the lease is removed between them.
#[test]
fn overlapping_passes_harm_nothing() {
    for seed in 0..6 {
        let (state, kept) = simulate(seed, Vec::new(), |world| async move {
            let mut cloud = Cloud::new(world, config()).await;
            for _ in 0..8 {
                cloud.send(10).await;
                for _ in 0..3 {
                    for function in ["Front", "Back"] {
                        let forget = Request::Delete {
                            table: Name::from(format!("{function}-gc")),
                            key: triptych_store::Key::hash("lease"),
                            condition: None,
                        };
                        let scope = cloud.world.background_scope();
                        cloud.store.call(&scope, forget).await.unwrap();
                        let sweep = Payload::new(triptych_faas::timer_payload("sweep"));
                        let function = Name::from(function);
                        let pass = cloud.pool.invoke(&scope, &function, sweep);
                        cloud.world.spawn("pass", async move { drop(pass.await) });
                        cloud.world.sleep(7 * MS).await;
                    }
                }
            }
            cloud.settle().await;
            cloud.world.sleep(3 * T + 6 * PERIOD).await;
            let state = cloud.beldi.dump().await.unwrap();
            (state, cloud.gauge("list_rows").await)
        });
        assert_eq!(state.corrupt, Vec::<String>::new(), "seed {seed}");
        assert_eq!(data(&state), Value::list([80; 5].map(Value::Int)));
        assert!(kept <= 10, "{kept}");
    }
}

#[test]
fn a_reader_finds_the_tail_while_rows_are_unlinked_under_it() {
    simulate(11, Vec::new(), |world| async move {
        let mut cloud = Cloud::new(world, config()).await;
        let mut readers = Vec::new();
        for n in 0..4u64 {
            cloud.send(25).await;
            let (pool, beldi) = (cloud.pool.clone(), Rc::clone(&cloud.beldi));
            let scope = Scope::new(cloud.world.begin_request(1_000 + n, 1), 0, Life::new());
            readers.push(cloud.world.spawn("reader", async move {
                let none = Value::map::<&str>([]);
                let payload = beldi.request(&format!("w{n}"), "Watch", none, &Value::Null);
                beldi.answer(pool.invoke(&scope, &Name::from("Front"), payload).await)
            }));
        }
        cloud.send(40).await;
        for reader in readers {
            let answer = reader.await;
            assert_eq!(answer.outcome, Outcome::Ok);
            let seen = answer.output.as_list().unwrap();
            assert!(seen.is_sorted(), "the row went back: {seen:?}");
            // It began when rows were unlinked already, and saw ten requests or more go by.
            let [first, .., last] = seen else { panic!() };
            assert!(first.as_int() >= Some(20), "{first:?}");
            assert!(last.as_int() >= first.as_int().map(|n| n + 10), "{last:?}");
        }
        assert!(
            cloud.gauge("longest_list_linked").await < 50,
            "nothing was unlinked"
        );
    });
}

#[test]
fn a_duplicate_that_comes_after_collection_is_refused() {
    for bug in [None, Some(Bug::AcceptCollected)] {
        let sums = simulate(7, Vec::new(), move |world| async move {
            let mut cloud = Cloud::new(world, Config { bug, ..config() }).await;
            cloud.send(5).await;
            cloud.settle().await;
            let events = cloud.scan("Back-intent").await;
            let events = events
                .into_iter()
                .filter(|intent| intent["ASYNC"] == Value::Bool(true));
            let events: Vec<Item> = events.collect();
            assert_eq!(events.len(), 5);
            cloud.world.sleep(2 * T + 3 * PERIOD).await;
            assert_eq!(cloud.gauge("intents").await, 0);
            let before = data(&cloud.beldi.dump().await.unwrap());
            for event in &events {
                let body = Value::map([
                    ("kind", Value::str("start")),
                    ("instance", event["InstanceId"].clone()),
                    ("op", event["OP"].clone()),
                    ("input", event["INPUT"].clone()),
                ]);
                let scope = cloud.world.background_scope();
                let late = cloud
                    .pool
                    .enqueue(&scope, &Name::from("Back"), Payload::new(body));
                late.await.unwrap();
            }
            cloud.settle().await;
            cloud.world.sleep(5 * SECOND).await;
            (before, data(&cloud.beldi.dump().await.unwrap()))
        });
        assert_eq!(sums.0 == sums.1, bug.is_none(), "{bug:?}: {sums:?}");
    }
}
