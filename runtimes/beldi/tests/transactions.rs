//! Transactions on Beldi under every crash point: whatever crashes, all of a transaction happens or
//! nothing, it happens once, and no lock is left behind.

mod common;
#[path = "common/crashes.rs"]
mod crashes;

use common::app_of;
use crashes::{End, configs, crash, duplicate};
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Error, Handler, Op, Result, join};
use triptych_beldi::{Bug, Config};
use triptych_model::{Outcome, State, Value};
use triptych_world::SECOND;
use triptych_world::fault::{CrashKind, Injection};

/// Takes from the left account. Its transaction is part of its caller's.
#[derive(serde::Serialize, serde::Deserialize)]
struct Take {
    by: i64,
}

impl Op for Take {
    const FUNCTION: &'static str = "Left";
    const OP: &'static str = "Take";
    type Output = i64;
}

/// Puts into the right account.
#[derive(serde::Serialize, serde::Deserialize)]
struct Put {
    by: i64,
}

impl Op for Put {
    const FUNCTION: &'static str = "Right";
    const OP: &'static str = "Put";
    type Output = i64;
}

/// Notes a transfer, later.
#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    by: i64,
}

impl Op for Note {
    const FUNCTION: &'static str = "Book";
    const OP: &'static str = "Note";
    type Output = ();
}

/// One of each operation in a transaction. The op decides how it ends.
async fn front(ctx: &mut Ctx, op: &str) -> Result<Value> {
    let (by, refuse) = match op {
        "Transfer" => (3, false),
        "Refuse" => (3, true),
        _ => (1_000, false),
    };
    let sums = ctx
        .transaction(async |tx: &mut Ctx| {
            tx.write("front", "stamp", &by).await?;
            let own: Option<i64> = tx.read("front", "stamp").await?;
            if own != Some(by) {
                return Err(Error::Bug(format!("its own write reads as {own:?}")));
            }
            tx.update("front", "count", None, vec![Change::add("n", 1)])
                .await?;
            let again = tx.update("front", "count", None, vec![Change::add("n", 10)]);
            let count = again.await?.sum.unwrap_or(-1);
            let [mut left, mut right] = tx.fork();
            let (left, right) = join!(left.call(Take { by }), right.call(Put { by }));
            let (left, right) = (left?, right?);
            tx.send(Note { by }).await?;
            let second = tx.call(Take { by: 1 }).await?;
            let rows: Vec<(triptych_model::Name, Value)> = tx.scan("front").await?;
            if refuse {
                return Err(Error::rejected("changed its mind"));
            }
            Ok([count, left, right, second, rows.len() as i64])
        })
        .await?;
    ctx.write("front", "after", &sums[0]).await?;
    Ok(Value::list(sums.map(Value::Int)))
}

async fn take(ctx: &mut Ctx, by: i64) -> Result<i64> {
    ctx.transaction(async |tx: &mut Ctx| {
        let left: Option<Value> = tx.read("left", "a|b-c:d").await?;
        let left = left.and_then(|row| row.get("sum")?.as_int()).unwrap_or(10);
        if left < by {
            return Err(Error::rejected("not enough"));
        }
        let mut changes = vec![Change::set("sum", left - by)];
        changes.push(Change::append("by", by));
        tx.update("left", "a|b-c:d", None, changes).await?;
        Ok(left - by)
    })
    .await
}

fn app() -> App {
    let entry: Handler =
        Rc::new(|ctx, call: Call| Box::pin(async move { front(ctx, &call.op).await }));
    let left: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let Take { by } = call.input()?;
            Call::output::<Take>(&take(ctx, by).await?)
        })
    });
    let right: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let Put { by } = call.input()?;
            let changes = vec![Change::add("sum", by), Change::append("by", by)];
            let sum = ctx.update("right", "b", None, changes).await?.sum;
            Call::output::<Put>(&sum.unwrap_or(-1))
        })
    });
    let book: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let Note { by } = call.input()?;
            let changes = vec![Change::append("by", by)];
            ctx.update("book", "all", None, changes).await?;
            Call::output::<Note>(&())
        })
    });
    app_of(vec![
        ("Front", &["front"], entry),
        ("Left", &["left"], left),
        ("Right", &["right"], right),
        ("Book", &["book"], book),
    ])
}

fn run(op: &'static str, config: Config, faults: Vec<Injection>) -> End {
    crashes::run(app(), op, config, faults)
}

fn sound(what: &str, state: &State) {
    assert_eq!(state.pending, Vec::<String>::new(), "{what}");
    assert_eq!(state.corrupt, Vec::<String>::new(), "{what}");
    assert_eq!(state.residue, Vec::<String>::new(), "{what}");
}

fn check(
    what: &str,
    op: &'static str,
    config: Config,
    reference: &End,
    faults: Vec<Injection>,
) -> End {
    let end = run(op, config, faults);
    sound(what, &end.alone);
    sound(what, &end.state);
    assert_eq!(end.state.tables, reference.state.tables, "{what}");
    let again = (reference.outcome.clone(), reference.output.clone());
    assert_eq!(end.again, again, "{what}");
    if end.outcome == reference.outcome {
        assert_eq!(end.output, reference.output, "{what}");
        assert_eq!(end.alone.tables, reference.state.tables, "{what}: at first");
    } else {
        assert!(
            matches!(end.outcome, Outcome::Indeterminate(_)),
            "{what}: {:?}",
            end.outcome
        );
        // An instance that was never recorded left no trace.
        if end.alone.tables.values().any(|rows| !rows.is_empty()) {
            assert_eq!(end.alone.tables, reference.state.tables, "{what}: in part");
        }
    }
    end
}

fn references(config: Config) -> [(&'static str, End); 3] {
    ["Transfer", "Refuse", "Empty"].map(|op| (op, run(op, config, Vec::new())))
}

#[test]
fn without_faults_a_transaction_happens_or_leaves_no_trace() {
    for (name, config) in configs() {
        let [transfer, refuse, empty] = references(config).map(|(_, end)| end);
        assert_eq!(transfer.outcome, Outcome::Ok, "{name}");
        let expected = [11, 7, 3, 6, 2].map(Value::Int);
        assert_eq!(transfer.output, Value::list(expected), "{name}");
        let sum = |table: &str, key: &str| transfer.state.get(table, key)?.get("sum")?.as_int();
        assert_eq!(
            (sum("left", "a|b-c:d"), sum("right", "b")),
            (Some(6), Some(3))
        );
        let noted = transfer
            .state
            .get("book", "all")
            .and_then(|row| row.get("by"));
        assert_eq!(noted, Some(&Value::list([Value::Int(3)])), "{name}");
        sound(name, &transfer.state);
        for (end, reason) in [(refuse, "changed its mind"), (empty, "not enough")] {
            assert_eq!(end.outcome, Outcome::Rejected(reason.to_owned()), "{name}");
            let rows = end.state.tables.values().map(|rows| rows.len());
            assert_eq!(rows.sum::<usize>(), 0, "{name}: {:?}", end.state.tables);
            sound(name, &end.state);
        }
    }
}

#[test]
fn every_crash_point_once_keeps_transactions_whole() {
    for (name, config) in configs() {
        let mut points = BTreeSet::new();
        for (op, reference) in references(config) {
            for nth in 0..reference.effects + 20 {
                for kind in CrashKind::ALL {
                    let what = format!("{name}: {op}: {kind:?} at effect {nth}");
                    let faults = vec![crash(nth, kind)];
                    points.extend(check(&what, op, config, &reference, faults).points);
                }
            }
        }
        assert!(points.len() >= 20, "{name}: only {points:?} were crashed");
    }
}

#[test]
fn crashing_twice_and_duplicating_keeps_transactions_whole() {
    let (name, config) = configs()[1];
    for (op, reference) in references(config) {
        for nth in 0..reference.effects + 20 {
            let kind = CrashKind::ALL[nth as usize % 4];
            let other = CrashKind::ALL[(nth as usize / 4 + 1) % 4];
            let what = format!("{name}: {op}: {kind:?} at {nth}, {other:?} there again");
            let faults = vec![crash(nth, kind), crash(2 * nth + 2, other)];
            check(&what, op, config, &reference, faults);
            let what = format!("{name}: {op}: a duplicate at {nth}, and {kind:?} soon after");
            let faults = vec![duplicate(nth), crash(nth + 3, kind)];
            check(&what, op, config, &reference, faults);
        }
    }
}

#[test]
fn what_a_refused_transaction_sends_is_never_made() {
    let noted = |bug| {
        let config = Config {
            bug,
            ..configs()[0].1
        };
        let end = run("Refuse", config, Vec::new());
        end.state.get("book", "all").is_some()
    };
    assert!(!noted(None));
    assert!(
        noted(Some(Bug::SendBeforeCommit)),
        "the defect goes unnoticed"
    );
}

/// The coordinator crashes in the middle of the end, and is executed again when those whom it had
/// told have been over for longer than `T`, so that they give no answer any more.
#[test]
fn who_was_told_of_the_end_long_ago_counts_as_told() {
    // Nothing is collected yet, but could be.
    let config = configs()[2].1.with_gc(Some(20_000 * SECOND), 20 * SECOND);
    for op in ["Transfer", "Refuse"] {
        let reference = run(op, config, Vec::new());
        for nth in reference.effects - 20..reference.effects {
            let what = format!("{op}, crashed at {nth}");
            let end = run(op, config, vec![crash(nth, CrashKind::After)]);
            sound(&what, &end.state);
            assert_eq!(end.state.tables, reference.state.tables, "{what}");
        }
    }
}
