//! Beldi under every crash point: a small app that uses each operation once is crashed at every
//! effect boundary, in all four kinds, once, twice, and with a duplicate that runs at the same time.
//! Whatever happens, the state it leaves and the answer it gives are those of a run without faults.

mod common;
#[path = "common/crashes.rs"]
mod crashes;

use common::{app_of, place};
use crashes::{End, configs, crash, duplicate};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_api::{App, Call, Change, Condition, Ctx, Handler, Op, Path, Result, join};
use triptych_beldi::{Bug, Config};
use triptych_faas::{Deployment, Platform};
use triptych_model::{Name, Outcome, State, Value};
use triptych_world::fault::{CrashKind, Injection};
use triptych_world::{Life, Options, SECOND, Scope, World};

#[derive(serde::Serialize, serde::Deserialize)]
struct Work {}

impl Op for Work {
    const FUNCTION: &'static str = "Front";
    const OP: &'static str = "Work";
    type Output = Vec<i64>;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Bump {
    key: String,
    by: i64,
}

impl Op for Bump {
    const FUNCTION: &'static str = "Back";
    const OP: &'static str = "Bump";
    type Output = i64;
}

async fn work(ctx: &mut Ctx) -> Result<Vec<i64>> {
    let once = Condition::Absent(Path::attr("claimed"));
    let claim = vec![Change::set("claimed", true), Change::add("claims", 1)];
    let claimed = ctx.update("front", "row", Some(once), claim).await?;
    let now = ctx.now().await?;
    ctx.write("front", "stamp", &now).await?;
    let seen: Option<i64> = ctx.read("front", "stamp").await?;
    let [mut left, mut right] = ctx.fork();
    let (left, right) = join!(
        left.call(Bump {
            key: "a".to_owned(),
            by: 1
        }),
        right.call(Bump {
            key: "a".to_owned(),
            by: 10
        }),
    );
    let (left, right) = (left?, right?);
    ctx.send(Bump {
        key: "late".to_owned(),
        by: 100,
    })
    .await?;
    let entry = Change::append_keeping("list", seen == Some(now), Some(3));
    ctx.update("front", "row", None, vec![entry, Change::add("runs", 1)])
        .await?;
    let keys = ["row", "stamp", "none"];
    let many: Vec<Option<triptych_model::Value>> = ctx.read_many("front", keys).await?;
    let rows: Vec<(Name, Value)> = ctx.scan("front").await?;
    // Which of the two calls came first is open; what they saw in sum is not.
    Ok(vec![
        i64::from(claimed.applied),
        claimed.sum.unwrap_or(-1),
        left.max(right),
        many.iter().flatten().count() as i64,
        rows.len() as i64,
    ])
}

async fn bump(ctx: &mut Ctx, input: Bump) -> Result<i64> {
    let changes = vec![Change::add("sum", input.by), Change::append("by", input.by)];
    let updated = ctx.update("back", &input.key, None, changes).await?;
    Ok(updated.sum.unwrap_or(-1))
}

fn app() -> App {
    let front: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            call.input::<Work>()?;
            Call::output::<Work>(&work(ctx).await?)
        })
    });
    let back: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let input = call.input::<Bump>()?;
            Call::output::<Bump>(&bump(ctx, input).await?)
        })
    });
    app_of(vec![
        ("Front", &["front"], front),
        ("Back", &["back"], back),
    ])
}

fn run(config: Config, faults: Vec<Injection>) -> End {
    crashes::run(app(), "Work", config, faults)
}

/// The state without what may differ between runs: times, and the order of concurrent effects.
fn normal(state: &State) -> BTreeMap<Name, BTreeMap<Name, Value>> {
    let mut tables = state.tables.clone();
    tables
        .get_mut("front")
        .unwrap()
        .insert(Name::from("stamp"), Value::Null);
    let sorted = |list: &Value| {
        let mut sorted = list.as_list().unwrap().to_vec();
        sorted.sort();
        Value::list(sorted)
    };
    for row in tables.get_mut("back").unwrap().values_mut() {
        let sum = row.get("sum").cloned().unwrap_or_default();
        let by = row.get("by").map(sorted).unwrap_or_default();
        *row = Value::map([("sum", sum), ("by", by)]);
    }
    tables
}

fn check(what: &str, config: Config, reference: &End, faults: Vec<Injection>) -> End {
    let end = run(config, faults);
    assert_eq!(normal(&end.state), normal(&reference.state), "{what}");
    assert_eq!(end.state.pending, Vec::<String>::new(), "{what}");
    assert_eq!(end.state.corrupt, Vec::<String>::new(), "{what}");
    if end.outcome == Outcome::Ok {
        assert_eq!(end.output, reference.output, "{what}");
        assert_eq!(
            normal(&end.alone),
            normal(&reference.state),
            "{what}: before it was sent again"
        );
    } else {
        // All or nothing: an instance that was never recorded left no trace.
        if end.alone.tables.values().any(|rows| !rows.is_empty()) {
            assert_eq!(
                normal(&end.alone),
                normal(&reference.state),
                "{what}: in part"
            );
        }
        assert!(
            matches!(end.outcome, Outcome::Indeterminate(_)),
            "{what}: {:?}",
            end.outcome
        );
    }
    assert_eq!(end.again, (Outcome::Ok, reference.output.clone()), "{what}");
    end
}

#[test]
fn every_crash_point_once_leaves_every_effect_once() {
    for (name, config) in configs() {
        let reference = run(config, Vec::new());
        assert_eq!(reference.outcome, Outcome::Ok);
        assert_eq!(
            reference.output,
            Value::list([1, 1, 11, 2, 2].map(Value::Int)),
            "{name}: the run without faults"
        );
        let mut points = BTreeSet::new();
        for nth in 0..reference.effects + 20 {
            for kind in CrashKind::ALL {
                let what = format!("{name}: {kind:?} at effect {nth}");
                points.extend(check(&what, config, &reference, vec![crash(nth, kind)]).points);
            }
        }
        assert!(points.len() >= 15, "{name}: only {points:?} were crashed");
    }
}

#[test]
fn crashing_twice_and_duplicating_changes_nothing() {
    for (name, config) in configs() {
        let reference = run(config, Vec::new());
        for nth in 0..reference.effects + 20 {
            for (at, kind) in CrashKind::ALL.into_iter().enumerate() {
                let other = CrashKind::ALL[(at + nth as usize) % 4];
                // The repeated execution crashes as well: soon, or about where the first one did.
                for gap in [2, nth + 2] {
                    let what = format!("{name}: {kind:?} at {nth}, {other:?} {gap} later");
                    let faults = vec![crash(nth, kind), crash(nth + gap, other)];
                    check(&what, config, &reference, faults);
                }
                let what = format!("{name}: a duplicate and {kind:?} around effect {nth}");
                let faults = vec![duplicate(nth), crash(nth + 3, kind)];
                check(&what, config, &reference, faults);
            }
        }
    }
}

#[test]
fn a_seeded_bug_does_not_pass() {
    for bug in [Bug::SkipReadLog, Bug::AcceptLateDuplicate, Bug::DropAppend] {
        let sound = Config::paper(60 * SECOND, 60 * SECOND);
        let config = Config {
            bug: Some(bug),
            ..sound
        };
        let reference = run(sound, Vec::new());
        let wrong = (0..reference.effects).flat_map(|nth| CrashKind::ALL.map(|kind| (nth, kind)));
        let wrong = wrong.filter(|(nth, kind)| {
            let end = run(config, vec![crash(*nth, *kind)]);
            let answer = end.again != (Outcome::Ok, reference.output.clone());
            answer || normal(&end.state) != normal(&reference.state)
        });
        assert!(wrong.count() > 0, "{bug:?} goes unnoticed");
    }
}

#[test]
fn many_instances_on_one_key_lose_nothing_and_lists_grow_row_by_row() {
    let config = Config {
        row_capacity: 3,
        ..Config::paper(60 * SECOND, 60 * SECOND)
    };
    let state = World::simulate(
        5,
        Options {
            shuffle: true,
            ..Options::default()
        },
        |world| async move {
            let (pool, beldi) = place(&world, app(), config);
            beldi.prepare().await.unwrap();
            pool.place(&*beldi);
            let calls: Vec<_> = (0..40u64)
                .map(|n| {
                    let (world, pool, beldi) = (world.clone(), pool.clone(), Rc::clone(&beldi));
                    world.clone().spawn("client", async move {
                        let scope = Scope::new(world.begin_request(n, 0), 0, Life::new());
                        let input = Value::map([("key", Value::str("hot")), ("by", Value::Int(1))]);
                        let payload = beldi.request(&format!("r{n}"), "Bump", input, &Value::Null);
                        beldi.answer(pool.invoke(&scope, &Name::from("Back"), payload).await)
                    })
                })
                .collect();
            let mut sums = BTreeSet::new();
            for call in calls {
                let answer = call.await;
                assert_eq!(answer.outcome, Outcome::Ok);
                sums.insert(answer.output.as_int().unwrap());
            }
            pool.stop_timers();
            assert_eq!(
                sums,
                (1..=40).collect::<BTreeSet<i64>>(),
                "every sum is returned once"
            );
            beldi.dump().await.unwrap()
        },
    )
    .expect("no deadlock");
    assert_eq!(
        state.get("back", "hot").unwrap().get("sum"),
        Some(&Value::Int(40))
    );
    assert_eq!(
        state
            .get("back", "hot")
            .unwrap()
            .get("by")
            .unwrap()
            .as_list()
            .unwrap()
            .len(),
        40
    );
    assert_eq!(state.corrupt, Vec::<String>::new());
}
