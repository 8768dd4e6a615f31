//! The app that is crashed: one request uses every operation, calls that call, parallel calls, and
//! sends that send. What its executions see is noted, for a replay must see the same.

use crate::stand::{self, Ask};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::model::{Name, State};
use triptych_api::{App, Call, Change, Condition, Ctx, Error, Op, Path, Result, Value, join};

/// Instance, what was asked, and what it saw, of every execution.
pub(crate) type Seen = Rc<RefCell<Vec<(Name, &'static str, Value)>>>;

/// The rows by table.
pub(crate) type Tables = BTreeMap<Name, BTreeMap<Name, Value>>;

#[derive(Serialize, Deserialize)]
struct Bump {
    key: String,
    by: i64,
}

impl Op for Bump {
    const FUNCTION: &'static str = "Back";
    const OP: &'static str = "Bump";
    type Output = i64;
}

#[derive(Serialize, Deserialize)]
struct Mark {
    by: i64,
}

impl Op for Mark {
    const FUNCTION: &'static str = "Deep";
    const OP: &'static str = "Mark";
    type Output = i64;
}

#[derive(Serialize, Deserialize)]
struct Refuse {
    reason: String,
}

impl Op for Refuse {
    const FUNCTION: &'static str = "Deep";
    const OP: &'static str = "Refuse";
    type Output = i64;
}

#[derive(Serialize, Deserialize)]
struct Note {
    by: i64,
    more: i64,
}

impl Op for Note {
    const FUNCTION: &'static str = "Late";
    const OP: &'static str = "Note";
    type Output = ();
}

fn bump(key: &str, by: i64) -> Bump {
    Bump {
        key: key.to_owned(),
        by,
    }
}

/// Asks for everything that must be the same on a replay, and notes it.
async fn fresh(ctx: &mut Ctx, seen: &Seen) -> Result<i64> {
    let (now, id, random) = (
        ctx.now().await?,
        ctx.unique_id().await?,
        ctx.random().await?,
    );
    let instance = Name::from(ctx.instance_id());
    let mut seen = seen.borrow_mut();
    seen.push((instance.clone(), "now", Value::Int(now)));
    seen.push((instance.clone(), "id", Value::from(id)));
    seen.push((instance, "random", Value::from(random.to_string())));
    Ok(now)
}

async fn work(ctx: &mut Ctx, seen: &Seen) -> Result<Value> {
    let once = || Some(Condition::Absent(Path::attr("claimed")));
    let claim = || vec![Change::set("claimed", true), Change::add("claims", 1)];
    let claimed = ctx.update("front", "row", once(), claim()).await?;
    let again = ctx.update("front", "row", once(), claim()).await?;
    let now = fresh(ctx, seen).await?;
    ctx.write("front", "stamp", &now).await?;
    let stamp: Option<i64> = ctx.read("front", "stamp").await?;
    let [mut left, mut right] = ctx.fork();
    let (left, right) = join!(left.call(bump("a", 1)), right.call(bump("a", 10)));
    let (left, right) = (left?, right?);
    ctx.send(Note { by: 100, more: 1 }).await?;
    let entry = Change::append_keeping("list", stamp == Some(now), Some(3));
    ctx.update("front", "row", None, vec![entry, Change::add("runs", 1)])
        .await?;
    let many: Vec<Option<Value>> = ctx.read_many("front", ["row", "stamp", "none"]).await?;
    let rows: Vec<(Name, Value)> = ctx.scan("front").await?;
    let second = ctx.unique_id().await?;
    let instance = Name::from(ctx.instance_id());
    seen.borrow_mut()
        .push((instance, "second id", Value::from(second)));
    // Which of the two calls came first is open; what they saw in sum is not.
    let numbers = [
        i64::from(claimed.applied),
        i64::from(again.applied),
        left.max(right),
        many.iter().flatten().count() as i64,
        rows.len() as i64,
    ];
    Ok(Value::list(numbers.map(Value::Int)))
}

/// What a run of [`work`] may answer when nothing goes wrong. Of two parallel calls that add to one
/// number, the later one sees the sum; or each its own part, if nobody promises that one is later.
pub(crate) fn answers(linearizable: bool) -> Vec<Value> {
    let of = |sum| Value::list([1, 0, sum, 2, 2].map(Value::Int));
    match linearizable {
        true => vec![of(11)],
        false => vec![of(11), of(10)],
    }
}

/// What it leaves when nothing goes wrong, as [`normal`] shows it.
pub(crate) fn left() -> Tables {
    let list = |items: &[i64]| Value::list(items.iter().copied().map(Value::Int));
    let row = Value::map([
        ("claimed", Value::Bool(true)),
        ("claims", Value::Int(1)),
        ("runs", Value::Int(1)),
        ("list", Value::list([Value::Bool(true)])),
    ]);
    let summed = |sum, by| Value::map([("sum", Value::Int(sum)), ("by", by)]);
    let marked = Value::map([("marks", Value::Int(2)), ("by", list(&[1, 10]))]);
    let tables = [
        ("front", vec![("row", row), ("stamp", Value::Null)]),
        ("back", vec![("a", summed(11, list(&[1, 10])))]),
        ("deep", vec![("all", marked)]),
        ("late", vec![("all", summed(201, list(&[100, 101])))]),
    ];
    let rows = |rows: Vec<(&str, Value)>| {
        let named = rows.into_iter().map(|(key, row)| (Name::from(key), row));
        named.collect()
    };
    let named = tables.map(|(table, all)| (Name::from(table), rows(all)));
    named.into()
}

/// The front function's entry points besides [`work`].
async fn front(ctx: &mut Ctx, call: Call, seen: &Seen) -> Result<Value> {
    let reason = || Refuse {
        reason: "sold out".to_owned(),
    };
    match &*call.op {
        "Work" => work(ctx, seen).await,
        "Refuse" => Err(Error::rejected("closed")),
        "PassOn" => Ok(Value::Int(ctx.call(reason()).await?)),
        "Catch" => match ctx.call(reason()).await {
            Err(Error::Rejected(reason)) => Ok(Value::from(reason)),
            Err(error) => Err(error),
            Ok(_) => Ok(Value::Null),
        },
        "Branches" => {
            let branches = ctx.fork_many(4);
            let call = |(n, mut branch): (i64, Ctx)| async move {
                let key = format!("branch{n}");
                branch.call(bump(&key, n)).await
            };
            let calls = (1..).zip(branches).map(call);
            let sums = futures_util::future::join_all(calls).await;
            let sums: Vec<i64> = sums.into_iter().collect::<Result<_>>()?;
            Ok(Value::list(sums.into_iter().map(Value::Int)))
        }
        _ => Err(call.unknown("Front")),
    }
}

async fn back(ctx: &mut Ctx, call: Call, seen: &Seen) -> Result<Value> {
    let Bump { key, by } = call.input()?;
    let changes = vec![Change::add("sum", by), Change::append("by", by)];
    let updated = ctx.update("back", &key, None, changes).await?;
    fresh(ctx, seen).await?;
    ctx.call(Mark { by }).await?;
    Call::output::<Bump>(&updated.sum.unwrap_or(-1))
}

async fn deep(ctx: &mut Ctx, call: Call) -> Result<Value> {
    if &*call.op == Refuse::OP {
        let Refuse { reason } = call.input()?;
        return Err(Error::Rejected(reason));
    }
    let Mark { by } = call.input()?;
    let changes = vec![
        Change::add("marks", 1),
        Change::append_keeping("by", by, Some(5)),
    ];
    let updated = ctx.update("deep", "all", None, changes).await?;
    Call::output::<Mark>(&updated.sum.unwrap_or(-1))
}

async fn late(ctx: &mut Ctx, call: Call) -> Result<Value> {
    let Note { by, more } = call.input()?;
    let changes = vec![Change::add("sum", by), Change::append("by", by)];
    ctx.update("late", "all", None, changes).await?;
    if more > 0 {
        ctx.send(Note {
            by: by + 1,
            more: more - 1,
        })
        .await?;
    }
    Call::output::<Note>(&())
}

/// The app; what its executions see goes into `seen`.
pub(crate) fn app(seen: &Seen) -> App {
    let (of_front, of_back) = (Rc::clone(seen), Rc::clone(seen));
    stand::app(vec![
        stand::function("Front", &["front"], move |ctx, call| {
            let seen = Rc::clone(&of_front);
            Box::pin(async move { front(ctx, call, &seen).await })
        }),
        stand::function("Back", &["back"], move |ctx, call| {
            let seen = Rc::clone(&of_back);
            Box::pin(async move { back(ctx, call, &seen).await })
        }),
        stand::function("Deep", &["deep"], |ctx, call| Box::pin(deep(ctx, call))),
        stand::function("Late", &["late"], |ctx, call| Box::pin(late(ctx, call))),
    ])
}

/// A request of the front function.
pub(crate) fn ask(op: &'static str) -> Ask {
    let input = Value::map::<&str>([]);
    Ask {
        function: "Front",
        op,
        input,
    }
}

/// The state without what may differ between runs: the time, and the order of concurrent effects.
pub(crate) fn normal(state: &State) -> Tables {
    let sorted = |row: &Value, field: &str| {
        let mut list = row
            .get(field)
            .and_then(Value::as_list)
            .unwrap_or_default()
            .to_vec();
        list.sort();
        Value::list(list)
    };
    let mut tables = state.tables.clone();
    for (table, rows) in &mut tables {
        for (key, row) in rows {
            if &**key == "stamp" {
                *row = Value::Null;
            } else if &**table != "front" {
                let mut fields = row.as_map().cloned().unwrap_or_default();
                fields.insert(Name::from("by"), sorted(row, "by"));
                *row = Value::from(fields);
            }
        }
    }
    tables
}
