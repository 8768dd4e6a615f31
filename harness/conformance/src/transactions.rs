//! Transactions mean what a runtime declares: alone, and against each other, with crashes among
//! them where effects happen exactly once.

use crate::Depth;
use crate::bank::{self, ACCOUNTS, BALANCE, ask};
use crate::book::Book;
use crate::stand::{Ask, Setup, simulate, unclean};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::model::{Outcome, Random, State, Value};
use triptych_faas::Answer;
use triptych_site::RuntimeEntry;
use triptych_world::Options;
use triptych_world::fault::Faults;

pub(crate) fn check(entry: &RuntimeEntry, depth: Depth, book: &mut Book) {
    book.note("tx-own", "seed 1", own(entry).err());
    book.note(
        "tx-reject",
        "seed 1, its own",
        undone(entry, "RejectOwn").err(),
    );
    book.note(
        "tx-reject",
        "seed 1, a callee's",
        undone(entry, "RejectCallee").err(),
    );
    book.note("tx-poison", "seed 1", undone(entry, "Poison").err());
    book.note(
        "tx-nested",
        "seed 1, undone",
        undone(entry, "NestedReject").err(),
    );
    book.note("tx-nested", "seed 1, done", nested(entry).err());
    for seed in 0..depth.of(8, 80) {
        if !book.enough("tx-finish") {
            book.note(
                "tx-finish",
                &format!("seed {seed}"),
                opposite(entry, seed).err(),
            );
        }
    }
    for seed in 0..depth.of(6, 60) {
        // Without exactly-once effects a crash spoils everything, whatever the isolation.
        let crashes = seed % 2 == 1 && entry.declares.exactly_once;
        let case = format!("seed {seed}{}", if crashes { ", with crashes" } else { "" });
        if !book.enough("tx-sum") {
            book.note("tx-sum", &case, transfers(entry, seed, crashes).err());
        }
        if !book.enough("tx-lists") {
            book.note("tx-lists", &case, lists(entry, seed, crashes).err());
        }
    }
}

/// Sends a request alone.
fn alone(entry: &RuntimeEntry, request: Ask) -> Result<(Answer, State), String> {
    let setup = Setup {
        seed: 1,
        ..Setup::default()
    };
    simulate(entry, setup, bank::app(), |stand| async move {
        let answer = stand.ask(0, &request, &Value::Null).await;
        let state = stand.end().await?;
        match unclean(&state) {
            None => Ok((answer, state)),
            Some(told) => Err(told),
        }
    })
}

fn own(entry: &RuntimeEntry) -> Result<(), String> {
    let (answer, _) = alone(entry, ask("Own", &[]))?;
    let wanted = bank::own_answer();
    match (answer.outcome, answer.output) {
        (Outcome::Ok, found) if found == wanted => Ok(()),
        found => Err(format!(
            "a transaction should see its own {wanted:?}, not {found:?}"
        )),
    }
}

/// A transaction that ends rejected and leaves nothing.
fn undone(entry: &RuntimeEntry, op: &'static str) -> Result<(), String> {
    let (answer, state) = alone(entry, ask(op, &[]))?;
    if !matches!(answer.outcome, Outcome::Rejected(_)) {
        return Err(format!(
            "{op} should end Rejected, not {:?}",
            answer.outcome
        ));
    }
    let mut tables = state.tables.iter();
    match tables.find_map(|(table, rows)| Some((table, rows.first_key_value()?))) {
        None => Ok(()),
        Some((table, (key, value))) => Err(format!("{op} left {table}[{key}] = {value:?}")),
    }
}

fn nested(entry: &RuntimeEntry) -> Result<(), String> {
    let (answer, state) = alone(entry, ask("NestedOk", &[]))?;
    let there = |table: &str, key: &str| state.get(table, key) == Some(&Value::Int(1));
    let all = there("accounts", "tried") && there("accounts", "inner");
    let all = all && there("other", "tried") && there("third", "tried");
    match (answer.outcome, all) {
        (Outcome::Ok, true) => Ok(()),
        (outcome, _) => Err(format!("it ended {outcome:?} and left {:?}", state.tables)),
    }
}

/// Sends requests at the same time, and judges what they left.
fn crowd(
    entry: &RuntimeEntry,
    seed: u64,
    crashes: bool,
    requests: Vec<Ask>,
) -> Result<(Vec<Answer>, State), String> {
    let crash_rate = if crashes { 0.3 } else { 0.0 };
    let faults = Faults {
        crash_rate,
        ..Faults::default()
    };
    let options = Options {
        shuffle: true,
        faults,
        ..Options::default()
    };
    let setup = Setup {
        seed,
        options,
        ..Setup::default()
    };
    simulate(entry, setup, bank::app(), |stand| async move {
        // A crash may strike the opening as well: it is sent until it is acknowledged.
        for _ in 0..20 {
            if stand.must(10_000, &bank::open()).await.is_ok() {
                break;
            }
            stand.settle().await?;
        }
        let client = |(n, request): (u64, Ask)| {
            let stand = Rc::clone(&stand);
            let world = stand.world.clone();
            world.spawn("client", async move {
                stand.ask(n, &request, &Value::Null).await
            })
        };
        let clients: Vec<_> = (0..).zip(requests).map(client).collect();
        let mut answers = Vec::new();
        for client in clients {
            answers.push(client.await);
        }
        let state = stand.end().await?;
        match unclean(&state) {
            None => Ok((answers, state)),
            Some(told) => Err(told),
        }
    })
}

/// Whether what an outcome says is compatible with so many occurrences.
fn counted(outcome: &Outcome, times: usize) -> bool {
    match outcome {
        Outcome::Ok => times == 1,
        Outcome::Indeterminate(_) => times <= 1,
        _ => times == 0,
    }
}

fn transfers(entry: &RuntimeEntry, seed: u64, crashes: bool) -> Result<(), String> {
    let mut random = Random::new(seed + 70);
    let request = |n: i64| {
        if n % 3 == 2 {
            return ask("Audit", &[]);
        }
        let from = random.below(ACCOUNTS as u64) as i64;
        let to = (from + 1 + random.below(ACCOUNTS as u64 - 1) as i64) % ACCOUNTS;
        let amount = 1 + random.below(70) as i64;
        ask(
            "Transfer",
            &[("id", n), ("from", from), ("to", to), ("amount", amount)],
        )
    };
    let requests: Vec<Ask> = (0..15).map(request).collect();
    let (answers, state) = crowd(entry, seed, crashes, requests.clone())?;
    let total = ACCOUNTS * BALANCE;
    let row = state
        .get("lists", "transfers")
        .and_then(|row| row.get("done")?.as_list());
    let done = row.unwrap_or_default();
    for (request, answer) in requests.iter().zip(&answers) {
        if request.op == "Audit" {
            if answer.outcome == Outcome::Ok && answer.output != Value::Int(total) {
                return Err(format!("an audit saw {:?}, not {total}", answer.output));
            }
            continue;
        }
        let times = done.iter().filter(|input| **input == request.input).count();
        if !counted(&answer.outcome, times) {
            let outcome = &answer.outcome;
            return Err(format!(
                "{:?} ended {outcome:?} and was done {times} times",
                request.input
            ));
        }
    }
    // The balances are what those transfers make of the first ones, in whatever order.
    let mut balances: BTreeMap<String, i64> =
        (0..ACCOUNTS).map(|n| (format!("a{n}"), BALANCE)).collect();
    for input in done {
        let int = |field| input.get(field).and_then(Value::as_int).unwrap_or_default();
        *balances.entry(format!("a{}", int("from"))).or_default() -= int("amount");
        *balances.entry(format!("a{}", int("to"))).or_default() += int("amount");
    }
    for (account, balance) in balances {
        let found = state.get("accounts", &account);
        if found != Some(&Value::Int(balance)) {
            let count = done.len();
            return Err(format!(
                "after {count} transfers {account} is {found:?}, not {balance}"
            ));
        }
    }
    Ok(())
}

fn lists(entry: &RuntimeEntry, seed: u64, crashes: bool) -> Result<(), String> {
    let flip = |n: i64| n / 2 % 2;
    let request = |n: i64| match n % 2 {
        0 => ask("Both", &[("id", n), ("flip", flip(n))]),
        _ => ask("See", &[("flip", flip(n))]),
    };
    let requests: Vec<Ask> = (0..16).map(request).collect();
    let (answers, state) = crowd(entry, seed, crashes, requests.clone())?;
    let ids = |list: &str| {
        let row = state
            .get("lists", list)
            .and_then(|row| row.get("ids")?.as_list());
        row.unwrap_or_default().to_vec()
    };
    let (x, y) = (ids("x"), ids("y"));
    if x != y {
        return Err(format!(
            "two lists that always change together are {x:?} and {y:?}"
        ));
    }
    for (n, (request, answer)) in (0..).zip(requests.iter().zip(&answers)) {
        let outcome = &answer.outcome;
        if request.op == "Both" {
            let times = x.iter().filter(|id| **id == Value::Int(n)).count();
            if !counted(outcome, times) {
                return Err(format!(
                    "append {n} ended {outcome:?} and is there {times} times"
                ));
            }
        } else if *outcome == Outcome::Ok {
            let seen = answer.output.as_list().unwrap_or_default();
            let seen: Vec<&[Value]> = seen.iter().filter_map(Value::as_list).collect();
            let whole = seen.len() == 2 && seen[0] == seen[1] && x.starts_with(seen[0]);
            if !whole {
                return Err(format!("one look saw {seen:?}; in the end both were {x:?}"));
            }
        }
    }
    Ok(())
}

/// Two transactions that take the same two lists in opposite orders both end, and one goes through.
fn opposite(entry: &RuntimeEntry, seed: u64) -> Result<(), String> {
    let request = |n| ask("Both", &[("id", n), ("flip", n)]);
    let (answers, _) = crowd(entry, seed, false, vec![request(0), request(1)])?;
    let ended = |answer: &Answer| matches!(answer.outcome, Outcome::Ok | Outcome::Aborted(_));
    let through = answers.iter().any(|answer| answer.outcome == Outcome::Ok);
    match through && answers.iter().all(ended) {
        true => Ok(()),
        false => {
            let outcomes: Vec<&Outcome> = answers.iter().map(|answer| &answer.outcome).collect();
            Err(format!("they ended {outcomes:?}"))
        }
    }
}
