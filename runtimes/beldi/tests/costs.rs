//! What a transaction costs, in calls to the store and in all effects: a coordinator calls two
//! functions, each of which reads a key and changes it, and commits.

mod common;

use common::{app_of, place_on};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Handler, Op, Result};
use triptych_beldi::Config;
use triptych_faas::{Deployment, Platform};
use triptych_model::{Name, Outcome, Value};
use triptych_world::{Life, Options, SECOND, Scope, World};

macro_rules! part {
    ($op:ident, $function:literal, $table:literal) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct $op {}

        impl Op for $op {
            const FUNCTION: &'static str = $function;
            const OP: &'static str = stringify!($op);
            type Output = i64;
        }
    };
}

part!(Left, "Left", "left");
part!(Right, "Right", "right");

/// Reads a key and changes it.
async fn changed(ctx: &mut Ctx, table: &str) -> Result<i64> {
    let row: Option<Value> = ctx.read(table, "k").await?;
    let sum = row.and_then(|row| row.get("sum")?.as_int()).unwrap_or(0);
    let changes = vec![Change::set("sum", sum + 1)];
    ctx.update(table, "k", None, changes).await?;
    Ok(sum + 1)
}

/// One entry point per line of the table.
async fn front(ctx: &mut Ctx, op: &str) -> Result<Value> {
    ctx.transaction(async |tx: &mut Ctx| {
        match op {
            "nothing" => {}
            "read" => drop(tx.read::<Value>("front", "k").await?),
            "write" => tx.write("front", "k", &Value::Int(1)).await?,
            "update" => {
                let changes = vec![Change::add("n", 1)];
                tx.update("front", "k", None, changes).await?;
            }
            "read-update" => drop(changed(tx, "front").await?),
            "read-many" => drop(tx.read_many::<Value>("front", ["a", "b", "c"]).await?),
            "two-functions" => {
                tx.call(Left {}).await?;
                tx.call(Right {}).await?;
            }
            other => panic!("{other}"),
        }
        Ok(())
    })
    .await?;
    Ok(Value::Null)
}

fn app() -> App {
    let entry: Handler =
        Rc::new(|ctx, call: Call| Box::pin(async move { front(ctx, &call.op).await }));
    let left: Handler = Rc::new(|ctx, _: Call| {
        Box::pin(async move { Call::output::<Left>(&changed(ctx, "left").await?) })
    });
    let right: Handler = Rc::new(|ctx, _: Call| {
        Box::pin(async move { Call::output::<Right>(&changed(ctx, "right").await?) })
    });
    app_of(vec![
        ("Front", &["front"], entry),
        ("Left", &["left"], left),
        ("Right", &["right"], right),
    ])
}

/// What one request took, when the same one has been there before.
struct Took {
    /// Calls to the store by their kind.
    calls: BTreeMap<String, u64>,
    invocations: u64,
    effects: u32,
}

fn run(op: &'static str, config: Config) -> Took {
    World::simulate(1, Options::default(), move |world| async move {
        let (store, pool, beldi) = place_on(&world, app(), config);
        beldi.prepare().await.unwrap();
        pool.place(&*beldi);
        pool.stop_timers();
        let send = async |n: u64| {
            let before = (store.work().store_calls, pool.work().invocations);
            let state = world.begin_request(n, 0);
            let scope = Scope::new(Rc::clone(&state), 0, Life::new());
            let none = Value::map::<&str>([]);
            let payload = beldi.request(&format!("r{n}"), op, none, &Value::Null);
            let reply = pool.invoke(&scope, &Name::from("Front"), payload).await;
            assert_eq!(beldi.answer(reply).outcome, Outcome::Ok);
            world.sleep(5 * SECOND).await;
            let mut calls = store.work().store_calls;
            for (kind, count) in &before.0 {
                *calls.entry(kind.clone()).or_default() -= count;
            }
            Took {
                calls,
                invocations: pool.work().invocations - before.1 - 1,
                effects: state.effects(),
            }
        };
        send(0).await;
        send(1).await
    })
    .expect("no deadlock")
}

fn configs() -> [Config; 2] {
    let minute = 60 * SECOND;
    [
        Config::paper(minute, minute),
        Config::direct(minute, minute),
    ]
}

/// Calls to the store of a transaction with this in it, beyond those of one with nothing.
fn line(op: &'static str, expected: u64) {
    for config in configs() {
        let calls = |op| run(op, config).calls.into_values().sum::<u64>();
        assert_eq!(calls(op) - calls("nothing"), expected, "{op}");
    }
}

#[test]
fn operations_in_a_transaction() {
    // The intent, twice, and a look for a shadow at the end.
    for config in configs() {
        let nothing = run("nothing", config);
        assert_eq!(nothing.calls.values().sum::<u64>(), 2 + 1);
        assert_eq!(nothing.invocations, 0);
    }
    // What ends a transaction that has a key: releasing it (search, update), and that it is over.
    let (end, lock, log) = (2 + 1, 2, 1);
    // The key is noted before it is locked, and its value comes with the lock.
    line("read", 1 + lock + log + end);
    // What is written is the note.
    line("write", 1 + lock + end);
    // The outcome is logged with what is written.
    line("update", 1 + lock + 1 + end);
    // The second operation on a key needs neither note nor lock nor value.
    line("read-update", 1 + lock + log + 1 + end);
    // One note and one log entry for all three.
    line("read-many", 1 + 3 * lock + log + 3 * 2 + 1);
}

#[test]
fn a_transaction_over_two_functions() {
    let [paper, direct] = configs().map(|config| run("two-functions", config));
    for took in [&paper, &direct] {
        // Intent (2), two callees noted and called (4), shadow (1), over (1).
        let front = 8;
        // Intent (2) and result (1); note, lock (2), read, update (5); then an intent (2) again,
        // shadow (1), release (2), over (1).
        let each = 8 + 6;
        assert_eq!(took.calls.values().sum::<u64>(), front + 2 * each);
    }
    // Each function is called and told, and on the paper's variant calls back with its result.
    assert_eq!((paper.invocations, direct.invocations), (6, 4));
    assert_eq!((paper.effects, direct.effects), (42, 40));
}
