//! How requests end, what calls return, and that the same seed is the same run.

use crate::Depth;
use crate::book::{Book, Points};
use crate::counter::{self, Seen};
use crate::stand::{Ask, Setup, difference, simulate};
use std::rc::Rc;
use triptych_api::model::{Outcome, State, Value};
use triptych_faas::Answer;
use triptych_site::RuntimeEntry;
use triptych_world::fault::Faults;
use triptych_world::{Nanos, Options};

pub(crate) fn check(entry: &RuntimeEntry, depth: Depth, book: &mut Book) {
    book.note("calls", "seed 1", calls(entry).err());
    book.note("outcomes", "seed 1", outcomes(entry).err());
    book.note(
        "outcomes",
        "seed 1, no function may run",
        refused(entry).err(),
    );
    for seed in 0..depth.of(3, 20) {
        book.note(
            "same-seed",
            &format!("seed {seed}"),
            same_seed(entry, seed).err(),
        );
    }
}

fn setup() -> Setup {
    Setup {
        seed: 1,
        ..Setup::default()
    }
}

/// Sends each of some requests of one session once, in order.
fn answers(
    entry: &RuntimeEntry,
    setup: Setup,
    asks: Vec<Ask>,
) -> Result<(Vec<Answer>, State), String> {
    let app = counter::app(&Seen::default());
    simulate(entry, setup, app, |stand| async move {
        let mut answers = Vec::new();
        let mut session = Value::Null;
        for (n, ask) in (0..).zip(&asks) {
            let answer = stand.ask(n, ask, &session).await;
            if answer.session != Value::Null {
                session = answer.session.clone();
            }
            answers.push(answer);
        }
        Ok((answers, stand.end().await?))
    })
}

fn calls(entry: &RuntimeEntry) -> Result<(), String> {
    let asks = vec![
        counter::ask("Work"),
        counter::ask("Branches"),
        counter::ask("Branches"),
    ];
    let (answers, state) = answers(entry, setup(), asks)?;
    let list = |numbers: [i64; 4]| Value::list(numbers.map(Value::Int));
    let wanted = [
        counter::answers(entry.declares.linearizable()),
        vec![list([1, 2, 3, 4])],
        vec![list([2, 4, 6, 8])],
    ];
    for (answer, wanted) in answers.iter().zip(&wanted) {
        if answer.outcome != Outcome::Ok || !wanted.contains(&answer.output) {
            return Err(format!("the answer should be {wanted:?}, not {answer:?}"));
        }
    }
    let marks = state
        .get("deep", "all")
        .and_then(|row| row.get("marks")?.as_int());
    // Two calls of Work and four of each Branches go on to the deepest function.
    match marks {
        Some(10) => Ok(()),
        // Concurrent updates of one number.
        Some(_) if !entry.declares.durable => Ok(()),
        other => Err(format!("10 nested calls left {other:?} marks")),
    }
}

fn outcomes(entry: &RuntimeEntry) -> Result<(), String> {
    let rejected = |reason: &str| Outcome::Rejected(reason.to_owned());
    let table = [
        ("Refuse", rejected("closed"), Value::Null),
        ("PassOn", rejected("sold out"), Value::Null),
        ("Catch", Outcome::Ok, Value::str("sold out")),
    ];
    let asks = table.iter().map(|(op, ..)| counter::ask(op)).collect();
    let (answers, state) = answers(entry, setup(), asks)?;
    for ((op, outcome, output), answer) in table.iter().zip(&answers) {
        if (&answer.outcome, &answer.output) != (outcome, output) {
            return Err(format!(
                "{op} should end {outcome:?} with {output:?}, not {answer:?}"
            ));
        }
    }
    match state.tables.iter().find(|(_, rows)| !rows.is_empty()) {
        None => Ok(()),
        Some((table, _)) => Err(format!("refusals left rows in {table}")),
    }
}

/// A platform that admits nothing: the request surely failed and left no trace.
fn refused(entry: &RuntimeEntry) -> Result<(), String> {
    let setup = Setup {
        concurrency: Some(0),
        ..setup()
    };
    let app = counter::app(&Seen::default());
    let (answer, state) = simulate(entry, setup, app, |stand| async move {
        let answer = stand.ask(0, &counter::ask("Work"), &Value::Null).await;
        Ok((answer, stand.end().await?))
    })?;
    if !matches!(answer.outcome, Outcome::Failed(_)) {
        return Err(format!(
            "a refused request should end Failed, not {:?}",
            answer.outcome
        ));
    }
    let rows = state.tables.values().any(|rows| !rows.is_empty());
    match rows || !state.pending.is_empty() {
        false => Ok(()),
        true => Err(format!("a refused request left {state:?}")),
    }
}

/// All that a run shows from outside.
type Trace = (Vec<Answer>, State, Points, Nanos);

fn same_seed(entry: &RuntimeEntry, seed: u64) -> Result<(), String> {
    let (first, second) = (crowd(entry, seed)?, crowd(entry, seed)?);
    if first == second {
        return Ok(());
    }
    let tables = difference(&first.1.tables, &second.1.tables);
    Err(match tables {
        Some(told) => format!("the second time, {told}"),
        None if first.0 != second.0 => "the second time, answers differ".to_owned(),
        None if first.2 != second.2 => "the second time, other points were struck".to_owned(),
        None => format!(
            "the second run ended at {} ns, the first at {}",
            second.3, first.3
        ),
    })
}

/// Some requests at a time, in any order of tasks, with random crashes and duplicates.
fn crowd(entry: &RuntimeEntry, seed: u64) -> Result<Trace, String> {
    let faults = Faults {
        crash_rate: 0.4,
        duplicate_rate: 0.2,
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
    simulate(
        entry,
        setup,
        counter::app(&Seen::default()),
        |stand| async move {
            let client = |n: u64| {
                let stand = Rc::clone(&stand);
                let world = stand.world.clone();
                world.spawn("client", async move {
                    stand.ask(n, &counter::ask("Work"), &Value::Null).await
                })
            };
            let clients: Vec<_> = (0..6).map(client).collect();
            let mut answers = Vec::new();
            for client in clients {
                answers.push(client.await);
            }
            // Whether everything ends is for others to say.
            drop(stand.settle().await);
            stand.pool.stop_timers();
            Ok((
                answers,
                stand.dump().await?,
                stand.world.struck(),
                stand.world.now(),
            ))
        },
    )
}
