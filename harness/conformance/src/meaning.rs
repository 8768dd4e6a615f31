//! Operations mean what the API says: random programs over the context, each answer compared with a
//! model of a few lines, and concurrent first updates.

use crate::Depth;
use crate::book::Book;
use crate::stand::{self, Ask, Setup, difference, simulate};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::model::{Item, Map, Name, Outcome, Random};
use triptych_api::{App, Change, Condition, Ctx, Path, Result, Updated, Value, apply};
use triptych_site::RuntimeEntry;
use triptych_store::holds;
use triptych_world::Options;

#[derive(Clone, Debug)]
enum Operation {
    Read(String),
    ReadMany(Vec<String>),
    Write(String, Value),
    Update(String, Option<Condition>, Vec<Change>),
    Scan,
}

type Rows = BTreeMap<Name, Value>;

pub(crate) fn check(entry: &RuntimeEntry, depth: Depth, book: &mut Book) {
    for seed in 0..depth.of(1, 5) {
        let case = format!("programs of seed {seed}");
        // More programs than a row of Beldi has log entries for, so that lists grow.
        book.note(
            "programs",
            &case,
            programs(entry, seed, depth.of(40, 120)).err(),
        );
    }
    for seed in 0..depth.of(6, 60) {
        let case = format!("seed {seed}");
        match race(entry, seed) {
            Ok(raced) => {
                book.note("races", &case, raced.lost);
                book.note("claims", &case, raced.claimed);
            }
            Err(told) => {
                book.note("races", &case, Some(told.clone()));
                book.note("claims", &case, Some(told));
            }
        }
    }
}

fn operation(random: &mut Random) -> Operation {
    let key = |random: &mut Random| format!("k{}", random.below(4));
    match random.below(8) {
        0 => Operation::Read(key(random)),
        1 => Operation::ReadMany((0..random.below(6)).map(|_| key(random)).collect()),
        2 => Operation::Write(key(random), Value::map([("n", Value::Int(0))])),
        3 => Operation::Scan,
        _ => {
            let n = || Path::attr("n");
            let not_x = || Condition::Not(Box::new(Condition::equals(Path::attr("s"), "x")));
            let condition = match random.below(5) {
                0 => Some(Condition::Absent(n())),
                1 => Some(Condition::Exists(n())),
                2 => Some(Condition::equals(n(), random.below(3) as i64)),
                3 => Some(not_x()),
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
    }
}

/// What an operation answers by the model, in one form for all of them.
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
            let old = rows.get(key.as_str()).and_then(Value::as_map).cloned();
            let mut document: Map = old.unwrap_or_default();
            let item: &Item = &document;
            if condition
                .as_ref()
                .is_some_and(|condition| !holds(condition, item))
            {
                return updated(Updated::default());
            }
            let sum = apply(&mut document, changes);
            rows.insert(Name::from(key.as_str()), Value::from(document));
            updated(Updated { applied: true, sum })
        }
        Operation::Scan => {
            let pair = |(key, value): (&Name, &Value)| [key.clone().into(), value.clone()];
            Value::list(rows.iter().map(|row| Value::list(pair(row))))
        }
    }
}

fn updated(updated: Updated) -> Value {
    let sum = Value::Int(updated.sum.unwrap_or(-1));
    Value::list([updated.applied.into(), sum])
}

async fn perform(ctx: &mut Ctx, operation: &Operation) -> Result<Value> {
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
        Operation::Update(key, condition, changes) => {
            let (condition, changes) = (condition.clone(), changes.clone());
            updated(ctx.update("rows", key, condition, changes).await?)
        }
        Operation::Scan => {
            let rows = ctx.scan::<Value>("rows").await?.into_iter();
            let mut rows: Vec<Value> = rows
                .map(|(key, value)| Value::list([key.into(), value]))
                .collect();
            rows.sort();
            Value::list(rows)
        }
    })
}

/// What each program was answered, in the order in which they ran.
type Given = Rc<RefCell<Vec<(usize, Vec<Value>)>>>;

const ROWS: &str = "rows";

fn ask(n: u64) -> Ask {
    let input = Value::Int(n as i64);
    Ask {
        function: "F",
        op: "",
        input,
    }
}

/// Runs programs one after another in one session, and compares every answer and the state. Where a
/// scan may be older than what the session has done, every other one waits until it cannot be, and
/// the others have no scans.
fn programs(entry: &RuntimeEntry, seed: u64, count: usize) -> std::result::Result<(), String> {
    const LENGTH: usize = 30;
    let mut random = Random::new(seed + 20);
    let mut programs: Vec<Vec<Operation>> = (0..count)
        .map(|_| (0..LENGTH).map(|_| operation(&mut random)).collect())
        .collect();
    let linearizable = entry.declares.linearizable();
    let waits = move |n: usize| !linearizable && n % 2 == 1;
    if !linearizable {
        for (_, program) in programs.iter_mut().enumerate().filter(|(n, _)| !waits(*n)) {
            program.retain(|operation| !matches!(operation, Operation::Scan));
        }
    }
    let given: Given = Rc::default();
    let (programs, sink) = (Rc::new(programs), Rc::clone(&given));
    let run = Rc::clone(&programs);
    let app = stand::app(vec![stand::function("F", &[ROWS], move |ctx, call| {
        let (sink, programs) = (Rc::clone(&sink), Rc::clone(&run));
        Box::pin(async move {
            let n = call.input.as_int().unwrap_or_default() as usize;
            let mut answers = Vec::new();
            for operation in programs.get(n).into_iter().flatten() {
                answers.push(perform(ctx, operation).await?);
            }
            sink.borrow_mut().push((n, answers));
            Ok(Value::Null)
        })
    })]);
    let setup = Setup {
        seed,
        ..Setup::default()
    };
    let mut state = simulate(entry, setup, app, |stand| async move {
        let mut session = Value::Null;
        for n in 0..count as u64 {
            if waits(n as usize) {
                stand.settle().await?;
            }
            stand.must_after(n, &ask(n), &mut session).await?;
        }
        stand.end().await
    })?;
    let mut rows = Rows::new();
    let mut given = given.borrow().clone().into_iter();
    for (n, program) in programs.iter().enumerate() {
        let answers = given.next().filter(|(at, _)| *at == n);
        let answers =
            answers.ok_or_else(|| format!("program {n} did not run once, in its turn"))?;
        for (at, operation) in program.iter().enumerate() {
            let (wanted, got) = (expected(&mut rows, operation), &answers.1[at]);
            if wanted != *got {
                return Err(format!(
                    "{n}.{at} {operation:?} should give {wanted:?}, not {got:?}"
                ));
            }
        }
    }
    let found = state.tables.remove(ROWS).unwrap_or_default();
    let wrong = difference(
        &[(Name::from(ROWS), rows)].into(),
        &[(Name::from(ROWS), found)].into(),
    );
    wrong.map_or(Ok(()), Err)
}

/// Instances that each add, append, and claim once, by the parity of their number.
fn racing() -> App {
    stand::app(vec![stand::function("F", &[ROWS], |ctx, call| {
        Box::pin(async move {
            let n = call.input.as_int().unwrap_or_default();
            let key = format!("key{}", n % 2);
            let keep = (n % 2 == 0).then_some(100);
            let changes = vec![Change::add("n", 1), Change::append_keeping("list", n, keep)];
            ctx.update(ROWS, &key, None, changes).await?;
            let once = Some(Condition::Absent(Path::attr("first")));
            let claim = vec![Change::set("first", n), Change::add("claims", 1)];
            ctx.update(ROWS, &key, once, claim).await?;
            Ok(Value::Null)
        })
    })])
}

/// What is wrong after a race, of the one and of the other requirement.
struct Raced {
    lost: Option<String>,
    claimed: Option<String>,
}

/// Instances that run at the same time on keys that do not exist yet.
fn race(entry: &RuntimeEntry, seed: u64) -> std::result::Result<Raced, String> {
    const INSTANCES: u64 = 24;
    let options = Options {
        shuffle: true,
        ..Options::default()
    };
    let setup = Setup {
        seed,
        options,
        ..Setup::default()
    };
    let state = simulate(entry, setup, racing(), |stand| async move {
        let client = |n: u64| {
            let stand = Rc::clone(&stand);
            let world = stand.world.clone();
            world.spawn("client", async move {
                stand.ask(n, &ask(n), &Value::Null).await
            })
        };
        let clients: Vec<_> = (0..INSTANCES).map(client).collect();
        for client in clients {
            let outcome = client.await.outcome;
            if outcome != Outcome::Ok {
                return Err(format!("a request ended {outcome:?}"));
            }
        }
        stand.end().await
    })?;
    let mut raced = Raced {
        lost: None,
        claimed: None,
    };
    for key in ["key0", "key1"] {
        let row = state.get(ROWS, key).cloned().unwrap_or_default();
        let number = |field| row.get(field).and_then(Value::as_int);
        let listed = row.get("list").and_then(Value::as_list);
        let mut listed: Vec<Value> = listed.unwrap_or_default().to_vec();
        listed.sort();
        listed.dedup();
        let half = INSTANCES as i64 / 2;
        if (number("n"), listed.len() as i64) != (Some(half), half) {
            let told = format!("{half} instances added and appended to {key}: {row:?}");
            raced.lost.get_or_insert(told);
        }
        if number("claims") != Some(1) {
            let told = format!("{half} instances claimed {key}: {row:?}");
            raced.claimed.get_or_insert(told);
        }
    }
    Ok(raced)
}
