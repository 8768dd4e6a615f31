//! Branches and instances of one transaction on the same key. Which branch gets to the key first may
//! differ between executions of the instance, and still no lock is left behind; and whoever writes,
//! the others see it.

mod common;
#[path = "common/crashes.rs"]
mod crashes;

use common::app_of;
use crashes::{configs, crash, duplicate, run};
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Handler, Op, Result, join};
use triptych_model::{Outcome, Value};
use triptych_world::fault::CrashKind;

/// Answers, which takes a while when it is called first and none when a replay finds it in the log.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ask {}

impl Op for Ask {
    const FUNCTION: &'static str = "Back";
    const OP: &'static str = "Ask";
    type Output = ();
}

/// Both branches touch `shared`: the left one first when they run first, because the right one waits
/// for its callee, and the right one first on a replay.
async fn front(ctx: &mut Ctx) -> Result<Value> {
    ctx.transaction(async |tx: &mut Ctx| {
        let [mut left, mut right] = tx.fork();
        let (left, right) = join!(
            async {
                left.read::<Value>("front", "own").await?;
                left.read::<Value>("front", "own").await?;
                left.read::<Value>("front", "shared").await
            },
            async {
                for _ in 0..4 {
                    right.call(Ask {}).await?;
                }
                right.read::<Value>("front", "shared").await
            }
        );
        left?;
        right?;
        tx.update("front", "shared", None, vec![Change::add("n", 1)])
            .await
    })
    .await?;
    Ok(Value::Null)
}

/// Adds to the key of its caller's caller, in the same transaction.
#[derive(serde::Serialize, serde::Deserialize)]
struct Inner {}

impl Op for Inner {
    const FUNCTION: &'static str = "Front";
    const OP: &'static str = "Inner";
    type Output = i64;
}

/// Calls its caller's function.
#[derive(serde::Serialize, serde::Deserialize)]
struct Through {}

impl Op for Through {
    const FUNCTION: &'static str = "Back";
    const OP: &'static str = "Through";
    type Output = i64;
}

/// Adds to a key that other instances add to at the same time.
#[derive(serde::Serialize, serde::Deserialize)]
struct Each {}

impl Op for Each {
    const FUNCTION: &'static str = "Back";
    const OP: &'static str = "Each";
    type Output = i64;
}

async fn add(ctx: &mut Ctx, table: &str, key: &str) -> Result<i64> {
    let changes = vec![Change::add("n", 1)];
    let sum = ctx.update(table, key, None, changes).await?.sum;
    Ok(sum.unwrap_or(-1))
}

/// Three instances at once, and an instance of this function within the transaction.
async fn shared(ctx: &mut Ctx) -> Result<Value> {
    let seen = ctx
        .transaction(async |tx: &mut Ctx| {
            let first = add(tx, "front", "shared").await?;
            let [mut left, mut middle, mut right] = tx.fork();
            let (left, middle, right) = join!(
                left.call(Each {}),
                middle.call(Through {}),
                right.call(Each {})
            );
            let together = left? + right?;
            let inner = middle?;
            let row: Option<Value> = tx.read("front", "shared").await?;
            let read = row.and_then(|row| row.get("n")?.as_int()).unwrap_or(-1);
            let last = add(tx, "front", "shared").await?;
            Ok([first, together, inner, read, last])
        })
        .await?;
    Ok(Value::list(seen.map(Value::Int)))
}

fn app() -> App {
    let entry: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            match &*call.op {
                "Shared" => shared(ctx).await,
                Inner::OP => Call::output::<Inner>(&add(ctx, "front", "shared").await?),
                _ => front(ctx).await,
            }
        })
    });
    let back: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            match &*call.op {
                Through::OP => Call::output::<Through>(&ctx.call(Inner {}).await?),
                Each::OP => Call::output::<Each>(&add(ctx, "back", "count").await?),
                _ => Call::output::<Ask>(&()),
            }
        })
    });
    app_of(vec![
        ("Front", &["front"], entry),
        ("Back", &["back"], back),
    ])
}

#[test]
fn branches_that_meet_at_a_key_leave_no_lock_whoever_comes_first() {
    for (name, config) in configs() {
        let reference = run(app(), "", config, Vec::new());
        assert_eq!(reference.outcome, Outcome::Ok, "{name}");
        let n = |state: &triptych_model::State| state.get("front", "shared")?.get("n")?.as_int();
        assert_eq!(n(&reference.state), Some(1), "{name}");
        let mut points = BTreeSet::new();
        for nth in 0..reference.effects + 10 {
            // Two kinds at each point, in turns.
            for at in [0, 2] {
                let kind = CrashKind::ALL[(nth as usize + at) % 4];
                let plans = [
                    vec![crash(nth, kind)],
                    vec![duplicate(nth), crash(nth + 5, kind)],
                    vec![crash(nth, kind), crash(2 * nth + 2, kind)],
                ];
                for faults in plans {
                    let what = format!("{name}: {faults:?}");
                    let end = run(app(), "", config, faults);
                    for state in [&end.alone, &end.state] {
                        assert_eq!(state.residue, Vec::<String>::new(), "{what}");
                        assert_eq!(state.pending, Vec::<String>::new(), "{what}");
                        assert_eq!(state.corrupt, Vec::<String>::new(), "{what}");
                    }
                    assert_eq!(n(&end.state), Some(1), "{what}");
                    assert_eq!(end.again, (Outcome::Ok, Value::Null), "{what}");
                    if end.outcome == Outcome::Ok {
                        assert_eq!(end.output, Value::Null, "{what}");
                        assert_eq!(n(&end.alone), Some(1), "{what}: at first");
                    }
                    points.extend(end.points);
                }
            }
        }
        assert!(points.len() >= 15, "{name}: only {points:?} were crashed");
    }
}

#[test]
fn instances_of_a_transaction_see_what_the_others_have_written() {
    let expected = Value::list([1, 1 + 2, 2, 2, 3].map(Value::Int));
    for (name, config) in configs() {
        let reference = run(app(), "Shared", config, Vec::new());
        assert_eq!(reference.outcome, Outcome::Ok, "{name}");
        assert_eq!(reference.output, expected, "{name}");
        for nth in 0..reference.effects + 10 {
            let kind = CrashKind::ALL[nth as usize % 4];
            let plans = [
                vec![crash(nth, kind)],
                vec![duplicate(nth), crash(nth + 4, kind)],
            ];
            for faults in plans {
                let what = format!("{name}: {faults:?}");
                let end = run(app(), "Shared", config, faults);
                assert_eq!(end.again, (Outcome::Ok, expected.clone()), "{what}");
                assert_eq!(end.state.tables, reference.state.tables, "{what}");
                for state in [&end.alone, &end.state] {
                    assert_eq!(state.residue, Vec::<String>::new(), "{what}");
                    assert_eq!(state.pending, Vec::<String>::new(), "{what}");
                    assert_eq!(state.corrupt, Vec::<String>::new(), "{what}");
                }
            }
        }
    }
}
