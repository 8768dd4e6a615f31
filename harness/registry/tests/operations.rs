//! Every registered runtime gives the same operations the same meaning: random programs over `Ctx`,
//! each answer compared with a model of a few lines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{
    App, Change, Condition, Ctx, Function, Handler, Name, Path, Retries, Updated, Value, apply,
};
use triptych_faas::{Answer, Deployment, Platform, PoolConfig, SimPool};
use triptych_model::{Item, Map, Outcome, Random};
use triptych_registry::{Site, Timing, runtimes};
use triptych_store::{SimStore, StoreConfig, holds};
use triptych_world::latency::Profile;
use triptych_world::{Life, Options, Scope, World};

#[derive(Clone, Debug)]
enum Operation {
    Read(String),
    ReadMany(Vec<String>),
    Write(String, Value),
    Update(String, Option<Condition>, Vec<Change>),
    Scan,
}

type Rows = BTreeMap<Name, Value>;

fn program(random: &mut Random) -> Vec<Operation> {
    let key = |random: &mut Random| format!("k{}", random.below(4));
    let operation = |random: &mut Random| match random.below(8) {
        0 => Operation::Read(key(random)),
        1 => Operation::ReadMany((0..random.below(6)).map(|_| key(random)).collect()),
        2 => Operation::Write(key(random), Value::map([("n", Value::Int(0))])),
        3 => Operation::Scan,
        _ => {
            let n = || Path::attr("n");
            let condition = match random.below(5) {
                0 => Some(Condition::Absent(n())),
                1 => Some(Condition::Exists(n())),
                2 => Some(Condition::equals(n(), random.below(3) as i64)),
                3 => Some(Condition::Not(Box::new(Condition::equals(
                    Path::attr("s"),
                    "x",
                )))),
                _ => None,
            };
            let mut changes = vec![Change::add("n", random.below(3) as i64)];
            if random.chance(0.5) {
                let keep = random.chance(0.5).then(|| random.below(3) as usize + 1);
                changes.push(Change::append_keeping("list", random.below(9) as i64, keep));
            }
            if random.chance(0.3) {
                changes.push(Change::set("s", if random.chance(0.5) { "x" } else { "y" }));
            }
            Operation::Update(key(random), condition, changes)
        }
    };
    (0..30).map(|_| operation(random)).collect()
}

/// What an operation answers, in one form for all of them.
fn expected(rows: &mut Rows, operation: &Operation) -> Value {
    let optional = |row: Option<&Value>| Value::list(row.cloned());
    match operation {
        Operation::Read(key) => optional(rows.get(key.as_str())),
        Operation::ReadMany(keys) => {
            Value::list(keys.iter().map(|key| optional(rows.get(key.as_str()))))
        }
        Operation::Write(key, value) => {
            rows.insert(Name::from(key.as_str()), value.clone());
            Value::Null
        }
        Operation::Update(key, condition, changes) => {
            let old: Map = rows
                .get(key.as_str())
                .and_then(Value::as_map)
                .cloned()
                .unwrap_or_default();
            let item: Item = old.clone();
            if condition
                .as_ref()
                .is_some_and(|condition| !holds(condition, &item))
            {
                return updated(Updated {
                    applied: false,
                    sum: None,
                });
            }
            let mut new = old;
            let sum = apply(&mut new, changes);
            rows.insert(Name::from(key.as_str()), Value::from(new));
            updated(Updated { applied: true, sum })
        }
        Operation::Scan => Value::list(
            rows.iter()
                .map(|(key, value)| Value::list([key.clone().into(), value.clone()])),
        ),
    }
}

fn updated(updated: Updated) -> Value {
    Value::list([
        updated.applied.into(),
        Value::Int(updated.sum.unwrap_or(-1)),
    ])
}

async fn perform(ctx: &mut Ctx, operation: &Operation) -> triptych_api::Result<Value> {
    Ok(match operation {
        Operation::Read(key) => Value::list(ctx.read::<Value>("rows", key).await?),
        Operation::ReadMany(keys) => {
            let found = ctx.read_many::<Value>("rows", keys).await?;
            Value::list(found.into_iter().map(Value::list))
        }
        Operation::Write(key, value) => {
            ctx.write("rows", key, value).await?;
            Value::Null
        }
        Operation::Update(key, condition, changes) => updated(
            ctx.update("rows", key, condition.clone(), changes.clone())
                .await?,
        ),
        Operation::Scan => {
            let rows = ctx.scan::<Value>("rows").await?;
            let mut rows: Vec<Value> = rows
                .into_iter()
                .map(|(key, value)| Value::list([key.into(), value]))
                .collect();
            rows.sort();
            Value::list(rows)
        }
    })
}

/// A deployment of one function `F` with the table `rows` in a world of its own.
async fn deploy(
    runtime: &'static str,
    world: &World,
    handler: Handler,
) -> (SimPool, Rc<dyn Deployment>) {
    let app = App {
        name: "operations",
        functions: vec![Function {
            name: Name::from("F"),
            tables: vec![Name::from("rows")],
            handler,
        }],
        kinds: Vec::new(),
        workflows: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules: |_| Default::default(),
    };
    let profile = Profile::shipped("ec2-2021").unwrap();
    let store = SimStore::new(world, &profile, StoreConfig::default()).unwrap();
    let pool = SimPool::new(world, &profile, PoolConfig::for_profile(&profile)).unwrap();
    let site = Site {
        world: world.clone(),
        store: Rc::new(store),
        platform: Rc::new(pool.clone()),
        app: Rc::new(app),
        retries: Retries(0),
        timing: Timing::default(),
    };
    let deployment = (triptych_registry::runtime(runtime).unwrap().deploy)(site);
    deployment.prepare().await.unwrap();
    pool.place(&*deployment);
    (pool, deployment)
}

async fn request(world: &World, pool: &SimPool, deployment: &dyn Deployment, n: u64) -> Answer {
    let scope = Scope::new(world.begin_request(n, 0), 0, Life::new());
    let payload = deployment.request(&format!("r{n}"), "", Value::Int(n as i64), &Value::Null);
    deployment.answer(pool.invoke(&scope, &Name::from("F"), payload).await)
}

/// Runs the programs one after another on a runtime; returns the answers and the final state.
fn run(runtime: &'static str, programs: Vec<Vec<Operation>>) -> (Vec<Vec<Value>>, Rows) {
    let simulated = World::simulate(3, Options::default(), move |world| async move {
        let answers: Rc<RefCell<Vec<Vec<Value>>>> = Rc::default();
        let programs = Rc::new(programs);
        let count = programs.len();
        let given = Rc::clone(&answers);
        let handler: Handler = Rc::new(move |ctx, call| {
            let (given, programs) = (Rc::clone(&given), Rc::clone(&programs));
            Box::pin(async move {
                let n = call.input.as_int().unwrap_or_default() as usize;
                let mut answers = Vec::new();
                for operation in &programs[n] {
                    answers.push(perform(ctx, operation).await?);
                }
                given.borrow_mut().push(answers);
                Ok(Value::Null)
            })
        });
        let (pool, deployment) = deploy(runtime, &world, handler).await;
        for n in 0..count {
            let answer = request(&world, &pool, &*deployment, n as u64).await;
            assert_eq!(answer.outcome, Outcome::Ok, "{runtime}");
        }
        pool.stop_timers();
        let mut state = deployment.dump().await.unwrap();
        assert_eq!(state.corrupt, Vec::<String>::new(), "{runtime}");
        (
            answers.take(),
            state.tables.remove("rows").unwrap_or_default(),
        )
    });
    simulated.expect("no deadlock")
}

/// Instances that run at the same time on keys that do not exist yet.
fn race(runtime: &'static str, seed: u64) -> Rows {
    const INSTANCES: u64 = 24;
    let options = Options {
        shuffle: true,
        ..Options::default()
    };
    let simulated = World::simulate(seed, options, move |world| async move {
        let handler: Handler = Rc::new(|ctx, call| {
            Box::pin(async move {
                let n = call.input.as_int().unwrap_or_default();
                let key = format!("key{}", n % 2);
                let keep = (n % 2 == 0).then_some(100);
                let changes = vec![Change::add("n", 1), Change::append_keeping("list", n, keep)];
                let once = Some(Condition::Absent(Path::attr("first")));
                ctx.update("rows", &key, None, changes).await?;
                let claim = vec![Change::set("first", n), Change::add("claims", 1)];
                ctx.update("rows", &key, once, claim).await?;
                Ok(Value::Null)
            })
        });
        let (pool, deployment) = deploy(runtime, &world, handler).await;
        let calls: Vec<_> = (0..INSTANCES)
            .map(|n| {
                let (inner, pool) = (world.clone(), pool.clone());
                let deployment = Rc::clone(&deployment);
                world.spawn("client", async move {
                    request(&inner, &pool, &*deployment, n).await.outcome
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await, Outcome::Ok, "{runtime}");
        }
        pool.stop_timers();
        deployment
            .dump()
            .await
            .unwrap()
            .tables
            .remove("rows")
            .unwrap_or_default()
    });
    simulated.expect("no deadlock")
}

#[test]
fn concurrent_updates_of_new_documents_are_never_lost() {
    for runtime in runtimes() {
        for seed in 0..20 {
            for (key, row) in race(runtime.name, seed) {
                let number = |field| row.get(field).and_then(Value::as_int);
                let told = format!("{} seed {seed} {key}: {row:?}", runtime.name);
                assert_eq!(
                    (number("n"), number("claims")),
                    (Some(12), Some(1)),
                    "{told}"
                );
                let listed = row.get("list").and_then(Value::as_list).map(<[Value]>::len);
                assert_eq!(listed, Some(12), "{told}");
            }
        }
    }
}

#[test]
fn random_programs_mean_the_same_on_every_runtime() {
    let mut random = Random::new(20);
    // More programs than a row of Beldi has log entries for, so that lists grow.
    let programs: Vec<Vec<Operation>> = (0..60).map(|_| program(&mut random)).collect();
    let mut rows = Rows::new();
    let mut answers: Vec<Vec<Value>> = Vec::new();
    for program in &programs {
        answers.push(
            program
                .iter()
                .map(|operation| expected(&mut rows, operation))
                .collect(),
        );
    }
    for runtime in runtimes() {
        let (given, state) = run(runtime.name, programs.clone());
        assert_eq!(given.len(), answers.len(), "{}", runtime.name);
        for (n, (given, expected)) in given.iter().zip(&answers).enumerate() {
            for (at, (given, expected)) in given.iter().zip(expected).enumerate() {
                let operation = &programs[n][at];
                assert_eq!(given, expected, "{}: {n}.{at} {operation:?}", runtime.name);
            }
        }
        assert_eq!(state, rows, "{}", runtime.name);
    }
}

#[test]
fn an_unknown_name_lists_those_that_exist() {
    let error = triptych_registry::runtime("beldy")
        .err()
        .unwrap()
        .to_string();
    assert_eq!(
        error,
        "there is no runtime \"beldy\"; there are baseline, beldi, beldi-direct"
    );
    let error = triptych_registry::app("movies").err().unwrap().to_string();
    assert!(
        error.starts_with("there is no app \"movies\"; there are movie, "),
        "{error}"
    );
}
