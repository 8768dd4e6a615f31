//! Many transactions at once on few keys: they all end, money is neither made nor lost, and waiting
//! never goes in a circle.

mod common;

use common::{app_of, place};
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Error, Handler, Op, Result};
use triptych_beldi::{Bug, Config};
use triptych_faas::{Deployment, Platform};
use triptych_model::{Name, Outcome, State, Value};
use triptych_world::fault::Faults;
use triptych_world::{Life, MS, Nanos, Options, SECOND, Scope, World};

const ACCOUNTS: i64 = 4;
const CLIENTS: u64 = 60;

/// Takes from an account and gives to another, in the order of the accounts' names or not.
#[derive(serde::Serialize, serde::Deserialize)]
struct Move {
    bank: String,
    account: String,
    by: i64,
}

impl Op for Move {
    const FUNCTION: &'static str = "Bank";
    const OP: &'static str = "Move";
    type Output = i64;
}

async fn moved(ctx: &mut Ctx, input: Move) -> Result<i64> {
    let Move { bank, account, by } = input;
    let row: Option<Value> = ctx.read(&bank, &account).await?;
    let sum = row.and_then(|row| row.get("sum")?.as_int()).unwrap_or(0);
    let changes = vec![Change::set("sum", sum + by), Change::append("by", by)];
    ctx.update(&bank, &account, None, changes).await?;
    Ok(sum + by)
}

async fn transfer(ctx: &mut Ctx, from: i64, to: i64, by: i64) -> Result<i64> {
    let part = |account: i64, by| Move {
        bank: "bank".to_owned(),
        account: format!("a{account}"),
        by,
    };
    ctx.transaction(async |tx: &mut Ctx| {
        let first = tx.call(part(from, -by)).await?;
        tx.call(part(to, by)).await?;
        if by == 5 {
            return Err(Error::rejected("five is refused"));
        }
        Ok(first)
    })
    .await
}

fn app() -> App {
    let front: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let number = |name| call.input.get(name).and_then(Value::as_int).unwrap_or(0);
            let sum = transfer(ctx, number("from"), number("to"), number("by")).await?;
            Ok(Value::Int(sum))
        })
    });
    let bank: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move { Call::output::<Move>(&moved(ctx, call.input()?).await?) })
    });
    app_of(vec![("Front", &[], front), ("Bank", &["bank"], bank)])
}

struct End {
    state: State,
    /// How each request ended, and how long it took.
    answers: Vec<(Outcome, Nanos)>,
}

fn run(seed: u64, faults: Faults, config: Config) -> End {
    let options = Options {
        shuffle: true,
        faults,
        ..Options::default()
    };
    let simulated = World::simulate(seed, options, move |world| async move {
        let (pool, beldi) = place(&world, app(), config);
        beldi.prepare().await.unwrap();
        pool.place(&*beldi);
        let mut random = world.random("moves");
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let from = random.below(ACCOUNTS as u64) as i64;
                let to = (from + 1 + random.below(ACCOUNTS as u64 - 1) as i64) % ACCOUNTS;
                let fields = [("from", from), ("to", to), ("by", 1 + (n % 5) as i64)];
                let input = Value::map(fields.map(|(name, value)| (name, Value::Int(value))));
                let (world, pool, beldi) = (world.clone(), pool.clone(), Rc::clone(&beldi));
                world.clone().spawn("client", async move {
                    world.sleep(n * 30 * MS).await;
                    let began = world.now();
                    let request = world.begin_request(n, 0);
                    let scope = Scope::new(Rc::clone(&request), 0, Life::new());
                    let payload = beldi.request(&format!("r{n}"), "", input, &Value::Null);
                    let reply = pool.invoke(&scope, &Name::from("Front"), payload).await;
                    world.request_answered(&request);
                    (beldi.answer(reply).outcome, world.now() - began)
                })
            })
            .collect();
        let mut answers = Vec::new();
        for client in clients {
            answers.push(client.await);
        }
        while pool.running() > 0 || pool.queued() > 0 || beldi.pending().await.unwrap() > 0 {
            world.sleep(5 * SECOND).await;
            assert!(world.now() < 7_200 * SECOND, "never quiet");
        }
        pool.stop_timers();
        let state = beldi.dump().await.unwrap();
        End { state, answers }
    });
    simulated.expect("no deadlock")
}

fn total(state: &State) -> i64 {
    let sums = state.table("bank").map(|(_, row)| row.get("sum"));
    sums.flatten().filter_map(Value::as_int).sum()
}

fn rows_of(capacity: i64) -> Config {
    Config {
        row_capacity: capacity,
        ..Config::paper(60 * SECOND, 60 * SECOND)
    }
}

#[test]
fn opposite_orders_end_without_deadlock_and_keep_the_sum() {
    // With rows of three, lists grow while their keys are locked.
    for (seed, capacity) in [(1, 100), (2, 3), (3, 100), (4, 3)] {
        let end = run(seed, Faults::default(), rows_of(capacity));
        assert_eq!(total(&end.state), 0, "seed {seed}");
        assert_eq!(end.state.residue, Vec::<String>::new(), "seed {seed}");
        assert_eq!(end.state.corrupt, Vec::<String>::new(), "seed {seed}");
        let mut aborted = 0;
        for (n, (outcome, took)) in end.answers.iter().enumerate() {
            match outcome {
                Outcome::Ok => assert_ne!(n % 5, 4, "seed {seed}, {n}"),
                Outcome::Rejected(_) => assert_eq!(n % 5, 4, "seed {seed}, {n}"),
                // Tried as often as it may be; the youngest has to give way again and again.
                Outcome::Aborted(_) => aborted += 1,
                other => panic!("seed {seed}, {n}: {other:?}"),
            }
            assert!(*took < 60 * SECOND, "seed {seed}, {n} took {took} ns");
        }
        assert!(aborted <= 2, "seed {seed}: {aborted} of {CLIENTS} gave up");
    }
}

#[test]
fn crashes_under_contention_leave_no_lock_and_keep_the_sum() {
    for seed in 10..16 {
        let faults = Faults {
            crash_rate: 0.2,
            duplicate_rate: 0.1,
            ..Faults::default()
        };
        let end = run(seed, faults, rows_of(if seed % 2 == 0 { 3 } else { 100 }));
        assert_eq!(total(&end.state), 0, "seed {seed}");
        assert_eq!(end.state.residue, Vec::<String>::new(), "seed {seed}");
        assert_eq!(end.state.corrupt, Vec::<String>::new(), "seed {seed}");
        let surely = |(outcome, _): &&(Outcome, Nanos)| *outcome == Outcome::Ok;
        let listed: usize = end
            .state
            .table("bank")
            .filter_map(|(_, row)| row.get("by")?.as_list())
            .map(<[_]>::len)
            .sum();
        assert!(listed >= 2 * end.answers.iter().filter(surely).count());
        assert_eq!(listed % 2, 0, "seed {seed}");
    }
}

#[test]
fn locks_that_are_lost_or_not_taken_show() {
    let wrong = |bug, capacity| {
        (20..26).any(|seed| {
            let config = Config {
                bug: Some(bug),
                ..rows_of(capacity)
            };
            let end = run(seed, Faults::default(), config);
            let odd = |(_, row): (&Name, &Value)| {
                let by = row.get("by").and_then(Value::as_list).unwrap_or_default();
                let by: Vec<i64> = by.iter().filter_map(Value::as_int).collect();
                // Fives are refused.
                let refused = by.iter().any(|by| by.abs() == 5);
                refused || row.get("sum") != Some(&Value::Int(by.iter().sum()))
            };
            let residue = !end.state.residue.is_empty();
            residue || total(&end.state) != 0 || end.state.table("bank").any(odd)
        })
    };
    assert!(wrong(Bug::LockLostOnAppend, 3));
    assert!(wrong(Bug::WriteThrough, 100));
    assert!(wrong(Bug::IgnoreAbort, 100));
}
