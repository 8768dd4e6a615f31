//! Many transactions at once on few keys: they all end, money is neither made nor lost, and waiting
//! never goes in a circle.

mod common;

use common::{app_of, place_on};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Error, Handler, Op, Result};
use triptych_beldi::{Bug, Config, Contention};
use triptych_faas::{Deployment, Platform};
use triptych_model::{Item, Name, Outcome, State, Value};
use triptych_store::{Request, Response, Store};
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{Life, MS, Nanos, Options, SECOND, Scope, World};

const CLIENTS: u64 = 60;

/// Who wants what, and when.
#[derive(Clone, Copy)]
struct Load {
    clients: u64,
    /// From one client to the next.
    apart: Nanos,
    /// Among this many accounts; with one, both sides of a transfer are the same key.
    accounts: u64,
}

const MANY: Load = Load {
    clients: CLIENTS,
    apart: 30 * MS,
    accounts: 4,
};

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
    /// When each request's transaction was born and when it was over, milliseconds, in the order of
    /// age.
    lives: Vec<(i64, i64)>,
}

impl End {
    /// The longest time that any transaction was the oldest one.
    fn longest_oldest(&self) -> Nanos {
        let mut over = 0;
        let mut longest = 0;
        for (born, end) in &self.lives {
            longest = longest.max(end - over.max(*born));
            over = over.max(*end);
        }
        longest as u64 * MS
    }

    fn longest_life(&self) -> Nanos {
        let lives = self.lives.iter().map(|(born, end)| end - born);
        lives.max().unwrap_or(0) as u64 * MS
    }

    /// How many were live at the same time.
    fn most_live(&self) -> u32 {
        let live = |at: i64| {
            self.lives
                .iter()
                .filter(move |(born, end)| *born <= at && at <= *end)
        };
        let most = self.lives.iter().map(|(born, _)| live(*born).count()).max();
        most.unwrap_or(0) as u32
    }
}

/// Birth and end of every intent.
fn lives(intents: Vec<Item>) -> Vec<(i64, i64)> {
    let life = |intent: &Item| {
        let number = |name: &str| intent.get(name).and_then(Value::as_int);
        let id = intent.get("InstanceId")?.as_str()?.to_owned();
        Some(((number("BT")?, id), (number("BT")?, number("TS")?)))
    };
    let lives: BTreeMap<_, _> = intents.iter().filter_map(life).collect();
    assert_eq!(lives.len(), intents.len());
    lives.into_values().collect()
}

fn run(seed: u64, load: Load, faults: Faults, config: Config) -> End {
    let options = Options {
        shuffle: true,
        faults,
        ..Options::default()
    };
    let simulated = World::simulate(seed, options, move |world| async move {
        let (store, pool, beldi) = place_on(&world, app(), config);
        beldi.prepare().await.unwrap();
        pool.place(&*beldi);
        let mut random = world.random("moves");
        let clients: Vec<_> = (0..load.clients)
            .map(|n| {
                let accounts = load.accounts;
                let from = random.below(accounts);
                let to = match accounts {
                    1 => from,
                    _ => (from + 1 + random.below(accounts - 1)) % accounts,
                };
                let fields = [("from", from), ("to", to), ("by", 1 + n % 5)];
                let fields = fields.map(|(name, value)| (name, Value::Int(value as i64)));
                let input = Value::map(fields);
                let (world, pool, beldi) = (world.clone(), pool.clone(), Rc::clone(&beldi));
                world.clone().spawn("client", async move {
                    world.sleep(n * load.apart).await;
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
        let intents = Request::Scan {
            table: Name::from("Front-intent"),
            filter: None,
            projection: None,
            consistent: true,
            limit: None,
            start: None,
        };
        let lives = match store.call(&world.background_scope(), intents).await {
            Ok(Response::Page { items, .. }) => lives(items),
            other => panic!("{other:?}"),
        };
        End {
            state,
            answers,
            lives,
        }
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
        let end = run(seed, MANY, Faults::default(), rows_of(capacity));
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
        let capacity = if seed % 2 == 0 { 3 } else { 100 };
        let end = run(seed, MANY, faults, rows_of(capacity));
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

/// While crashed transactions keep others waiting, what is over is collected, decisions on locks too.
#[test]
fn collecting_under_contention_harms_nothing() {
    let load = Load {
        clients: 200,
        apart: 2 * SECOND,
        accounts: 3,
    };
    for seed in 50..53 {
        let faults = Faults {
            crash_rate: 0.1,
            duplicate_rate: 0.1,
            ..Faults::default()
        };
        let config = rows_of(3).with_gc(Some(15 * SECOND), 130 * SECOND);
        let end = run(seed, load, faults, config);
        assert_eq!(total(&end.state), 0, "seed {seed}");
        assert_eq!(end.state.residue, Vec::<String>::new(), "seed {seed}");
        assert_eq!(end.state.corrupt, Vec::<String>::new(), "seed {seed}");
        let left = end.lives.len();
        assert!(left < 200, "seed {seed}: {left} intents are left");
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
            let end = run(seed, MANY, Faults::default(), config);
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

/// The longest time that the oldest transaction took, and the bound for it.
fn oldest(
    seed: u64,
    load: Load,
    crash: Option<(u64, Injection)>,
    config: Config,
) -> (Nanos, Nanos) {
    let alone = Load {
        clients: 12,
        apart: 20 * SECOND,
        ..load
    };
    let alone = run(seed, alone, Faults::default(), config);
    assert_eq!(alone.most_live(), 1);
    let crashes = u32::from(crash.is_some());
    let faults = Faults {
        exact: crash.into_iter().collect(),
        ..Faults::default()
    };
    let end = run(seed, load, faults, config);
    assert_eq!(end.state.residue, Vec::<String>::new());
    let contention = Contention {
        live: end.most_live(),
        contended: load.accounts as u32,
        keys: load.accounts.min(2) as u32,
        // Twice what was seen: it draws other latencies.
        work: 2 * alone.longest_life(),
        crashes,
    };
    (
        end.longest_oldest(),
        config.oldest_is_over_within(contention),
    )
}

/// All on one key: who waits is not overtaken.
const ONE_KEY: Load = Load {
    clients: 60,
    apart: 60 * MS,
    accounts: 1,
};

#[test]
fn the_oldest_transaction_is_over_within_its_bound() {
    for seed in 30..34 {
        for load in [MANY, ONE_KEY] {
            let (took, bound) = oldest(seed, load, None, rows_of(100));
            assert!(took <= bound, "seed {seed}: {took} ns of {bound}");
        }
    }
    // Whoever comes first, takes: the bound does not hold.
    let late = |seed| {
        let config = Config {
            bug: Some(Bug::NoQueue),
            ..rows_of(100)
        };
        let (took, bound) = oldest(seed, ONE_KEY, None, config);
        took > bound
    };
    assert!((30..38).any(late), "nobody is overtaken without a queue");
}

#[test]
fn a_crash_costs_the_oldest_one_recovery_per_holder() {
    let mut longest = 0;
    for (at, nth) in (0..48).step_by(4).enumerate() {
        let load = if at % 2 == 0 { MANY } else { ONE_KEY };
        let crash = Injection {
            nth,
            action: Action::Crash(CrashKind::ALL[at / 2 % 4]),
            late: 10 * SECOND,
        };
        let (took, bound) = oldest(40, load, Some((10, crash)), rows_of(100));
        assert!(took <= bound, "{crash:?}: {took} ns of {bound}");
        longest = longest.max(took);
    }
    // Somebody was waited for until the collector had started it again.
    assert!(longest >= 60 * SECOND, "{longest} ns");
}

#[test]
fn a_death_that_is_not_logged_shows() {
    // A repeated execution gets the lock that the first one was refused, after the end perhaps.
    let shows = |seed, bug| {
        let config = Config {
            bug,
            ..rows_of(100)
        };
        let faults = Faults {
            crash_rate: 0.2,
            duplicate_rate: 0.3,
            ..Faults::default()
        };
        let run = || run(seed, MANY, faults, config);
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        end.map_or(true, |end| {
            !end.state.residue.is_empty() || total(&end.state) != 0
        })
    };
    assert!((10..26).any(|seed| shows(seed, Some(Bug::DeathNotLogged))));
    assert!(!(10..14).any(|seed| shows(seed, None)));
}
