//! The app whose transactions are judged: transfers between accounts, audits of all of them, and
//! lists that are appended to and read together.

use crate::counter::{Seen, Tables};
use crate::stand::{self, Ask};
use serde::{Deserialize, Serialize};
use triptych_api::model::{Name, State};
use triptych_api::{App, Call, Change, Ctx, Error, Op, Result, Value};

/// How many accounts there are, and what is in each at first.
pub(crate) const ACCOUNTS: i64 = 4;
/// See [`ACCOUNTS`].
pub(crate) const BALANCE: i64 = 100;

/// Puts something into the other function's table, in the caller's transaction.
#[derive(Serialize, Deserialize)]
struct Put {
    key: String,
    by: i64,
    refuse: bool,
}

impl Op for Put {
    const FUNCTION: &'static str = "Other";
    const OP: &'static str = "Put";
    type Output = i64;
}

fn put(key: &str, by: i64, refuse: bool) -> Put {
    Put {
        key: key.to_owned(),
        by,
        refuse,
    }
}

async fn other(ctx: &mut Ctx, call: Call) -> Result<Value> {
    let Put { key, by, refuse } = call.input()?;
    // A transaction of its own, or a part of the caller's.
    let sum = ctx
        .transaction(async |tx| {
            let old = tx.read::<i64>("other", &key).await?.unwrap_or(0);
            tx.write("other", &key, &(old + by)).await?;
            Ok(old + by)
        })
        .await?;
    match refuse {
        true => Err(Error::rejected("refused")),
        false => Call::output::<Put>(&sum),
    }
}

/// Notes something in a third function's table, in the caller's transaction.
#[derive(Serialize, Deserialize)]
struct Also {
    key: String,
}

impl Op for Also {
    const FUNCTION: &'static str = "Third";
    const OP: &'static str = "Also";
    type Output = ();
}

async fn third(ctx: &mut Ctx, call: Call) -> Result<Value> {
    let Also { key } = call.input()?;
    ctx.write("third", &key, &1).await?;
    Call::output::<Also>(&())
}

fn account(n: i64) -> String {
    format!("a{n}")
}

fn int(input: &Value, field: &str) -> i64 {
    input.get(field).and_then(Value::as_int).unwrap_or_default()
}

/// Moves money by reading and writing, which loses updates where nobody isolates it.
async fn transfer(ctx: &mut Ctx, input: &Value) -> Result<Value> {
    let (from, to) = (account(int(input, "from")), account(int(input, "to")));
    let amount = int(input, "amount");
    ctx.transaction(async |tx| {
        let source = tx.read::<i64>("accounts", &from).await?.unwrap_or(0);
        if source < amount {
            return Err(Error::rejected("not enough"));
        }
        let target = tx.read::<i64>("accounts", &to).await?.unwrap_or(0);
        tx.write("accounts", &from, &(source - amount)).await?;
        tx.write("accounts", &to, &(target + amount)).await?;
        let entry = vec![Change::append("done", input.clone())];
        tx.update("lists", "transfers", None, entry).await?;
        Ok(Value::Int(source - amount))
    })
    .await
}

async fn audit(ctx: &mut Ctx) -> Result<Value> {
    ctx.transaction(async |tx| {
        let mut sum = 0;
        for n in 0..ACCOUNTS {
            sum += tx.read::<i64>("accounts", &account(n)).await?.unwrap_or(0);
        }
        Ok(Value::Int(sum))
    })
    .await
}

/// The two lists, in the one or the other order.
fn lists(input: &Value) -> [&'static str; 2] {
    match int(input, "flip") {
        0 => ["x", "y"],
        _ => ["y", "x"],
    }
}

async fn both(ctx: &mut Ctx, input: &Value) -> Result<Value> {
    let id = int(input, "id");
    ctx.transaction(async |tx| {
        for list in lists(input) {
            tx.update("lists", list, None, vec![Change::append("ids", id)])
                .await?;
        }
        Ok(Value::Null)
    })
    .await
}

async fn see(ctx: &mut Ctx, input: &Value) -> Result<Value> {
    ctx.transaction(async |tx| {
        let mut seen = Vec::new();
        for list in lists(input) {
            let row: Option<Value> = tx.read("lists", list).await?;
            let ids = row.as_ref().and_then(|row| row.get("ids")).cloned();
            seen.push(ids.unwrap_or_else(|| Value::list([])));
        }
        Ok(Value::list(seen))
    })
    .await
}

async fn own(ctx: &mut Ctx) -> Result<Value> {
    ctx.transaction(async |tx| {
        tx.write("accounts", "own", &7).await?;
        let written = tx.read::<i64>("accounts", "own").await?;
        let updated = tx
            .update("lists", "own", None, vec![Change::add("n", 5)])
            .await?;
        let again = tx
            .update("lists", "own", None, vec![Change::add("n", 6)])
            .await?;
        let row: Option<Value> = tx.read("lists", "own").await?;
        let row = row.and_then(|row| row.get("n")?.as_int());
        let many: Vec<Option<i64>> = tx.read_many("accounts", ["own", "none"]).await?;
        let callee = tx.call(put("own", 3, false)).await?;
        let second = tx.call(put("own", 4, false)).await?;
        let numbers = [
            written,
            updated.sum,
            again.sum,
            row,
            many[0],
            Some(callee),
            Some(second),
        ];
        Ok(Value::list(
            numbers.map(|number| Value::Int(number.unwrap_or(-1))),
        ))
    })
    .await
}

/// What [`own`] answers.
pub(crate) fn own_answer() -> Value {
    Value::list([7, 5, 11, 11, 7, 3, 7].map(Value::Int))
}

/// Rejections, swallowed errors and nested transactions; all but `NestedOk` must leave no trace.
async fn refusals(ctx: &mut Ctx, op: &str) -> Result<Value> {
    ctx.transaction(async |tx| {
        tx.write("accounts", "tried", &1).await?;
        tx.call(put("tried", 1, false)).await?;
        let key = "tried".to_owned();
        tx.call(Also { key }).await?;
        match op {
            "RejectOwn" => return Err(Error::rejected("refused")),
            "RejectCallee" => {
                tx.call(put("tried", 1, true)).await?;
            }
            "Poison" => drop(tx.call(put("tried", 1, true)).await),
            _ => {
                tx.transaction(async |inner| inner.write("accounts", "inner", &1).await)
                    .await?;
                if op == "NestedReject" {
                    return Err(Error::rejected("refused"));
                }
            }
        }
        Ok(Value::Null)
    })
    .await
}

async fn bank(ctx: &mut Ctx, call: Call) -> Result<Value> {
    let input = &call.input;
    match &*call.op {
        "Open" => {
            for n in 0..ACCOUNTS {
                ctx.write("accounts", &account(n), &BALANCE).await?;
            }
            Ok(Value::Null)
        }
        "Move" => {
            ctx.transaction(async |tx| {
                let source = tx.read::<i64>("accounts", "a0").await?.unwrap_or(0);
                tx.write("accounts", "a0", &(source - 30)).await?;
                tx.call(put("a1", 10, false)).await?;
                let target = tx.call(put("a1", 20, false)).await?;
                tx.update("lists", "moves", None, vec![Change::append("ids", target)])
                    .await?;
                let left = tx.read::<i64>("accounts", "a0").await?.unwrap_or(-1);
                Ok(Value::list([Value::Int(left), Value::Int(target)]))
            })
            .await
        }
        "Transfer" => transfer(ctx, input).await,
        "Audit" => audit(ctx).await,
        "Both" => both(ctx, input).await,
        "See" => see(ctx, input).await,
        "Own" => own(ctx).await,
        op @ ("RejectOwn" | "RejectCallee" | "Poison" | "NestedOk" | "NestedReject") => {
            refusals(ctx, op).await
        }
        _ => Err(call.unknown("Bank")),
    }
}

/// The app.
pub(crate) fn app() -> App {
    stand::app(vec![
        stand::function("Bank", &["accounts", "lists"], |ctx, call| {
            Box::pin(bank(ctx, call))
        }),
        stand::function("Other", &["other"], |ctx, call| Box::pin(other(ctx, call))),
        stand::function("Third", &["third"], |ctx, call| Box::pin(third(ctx, call))),
    ])
}

/// The app, of which nothing is noted.
pub(crate) fn app_seen(_: &Seen) -> App {
    app()
}

/// A request.
pub(crate) fn ask(op: &'static str, fields: &[(&str, i64)]) -> Ask {
    let fields = fields
        .iter()
        .map(|(name, number)| (*name, Value::Int(*number)));
    let input = Value::map(fields);
    Ask {
        function: "Bank",
        op,
        input,
    }
}

/// Fills the accounts.
pub(crate) fn open() -> Ask {
    ask("Open", &[])
}

/// Moves money from this function's table to the other's.
pub(crate) fn move_over() -> Ask {
    ask("Move", &[])
}

/// What [`move_over`] leaves.
pub(crate) fn moved() -> Tables {
    let left = |n| if n == 0 { BALANCE - 30 } else { BALANCE };
    let accounts = (0..ACCOUNTS).map(|n| (Name::from(account(n)), Value::Int(left(n))));
    let moves = Value::map([("ids", Value::list([Value::Int(30)]))]);
    let row = |key: &str, value| [(Name::from(key), value)].into();
    let tables = [
        ("accounts", accounts.collect()),
        ("lists", row("moves", moves)),
        ("other", row("a1", Value::Int(30))),
        ("third", Default::default()),
    ];
    tables.map(|(table, rows)| (Name::from(table), rows)).into()
}

/// The rows.
pub(crate) fn tables(state: &State) -> Tables {
    state.tables.clone()
}
