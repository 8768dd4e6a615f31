//! Workflows on Beldi under every crash point: a graph of calls that the platform runs is one
//! transaction, whatever crashes, and leaves no lock behind.

mod common;
#[path = "common/crashes.rs"]
mod crashes;

use common::app_of;
use crashes::{End, configs, crash, duplicate};
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Error, Handler, Node, Outputs, Workflow};
use triptych_beldi::Config;
use triptych_model::{Name, Outcome, State, Value};
use triptych_world::fault::{CrashKind, Injection};

/// Adds to an account; one that would fall below zero refuses.
fn account(table: &'static str) -> Handler {
    Rc::new(move |ctx, call: Call| {
        Box::pin(async move {
            let by = call.input.as_int().unwrap_or(0);
            let row: Option<Value> = ctx.read(table, "sum").await?;
            let sum = row.and_then(|row| row.get("n")?.as_int()).unwrap_or(10);
            if sum + by < 0 {
                return Err(Error::rejected("not enough"));
            }
            let changes = vec![Change::set("n", sum + by), Change::append("by", by)];
            ctx.update(table, "sum", None, changes).await?;
            Ok(Value::Int(sum + by))
        })
    })
}

fn node(
    name: &str,
    function: &str,
    after: &[&str],
    input: fn(&str, &Value, &Outputs) -> Value,
) -> Node {
    Node {
        name: Name::from(name),
        function: Name::from(function),
        op: Name::from("Add"),
        after: after.iter().copied().map(Name::from).collect(),
        input,
    }
}

/// Puts on the right what is taken from the left, both at once; then books what both answered.
fn app(by: i64) -> App {
    let nodes = match by {
        3 => vec![
            node("take", "Left", &[], |_, _, _| Value::Int(-3)),
            node("put", "Right", &[], |_, _, _| Value::Int(3)),
            node("book", "Book", &["take", "put"], booked),
        ],
        // Too much: the left refuses, after the right has put.
        _ => vec![
            node("put", "Right", &[], |_, _, _| Value::Int(30)),
            node("take", "Left", &["put"], |_, _, _| Value::Int(-30)),
            node("book", "Book", &["take", "put"], booked),
        ],
    };
    let workflow = Workflow {
        name: Name::from("Front"),
        nodes,
        output: |_, _, outputs| outputs["book"].clone(),
        transactional: true,
    };
    let functions = vec![
        ("Left", &["left"][..], account("left")),
        ("Right", &["right"][..], account("right")),
        ("Book", &["book"][..], account("book")),
    ];
    App {
        workflows: vec![workflow],
        ..app_of(functions)
    }
}

fn booked(_: &str, _: &Value, outputs: &Outputs) -> Value {
    let sum = outputs.values().filter_map(Value::as_int).sum();
    Value::Int(sum)
}

fn run(by: i64, config: Config, faults: Vec<Injection>) -> End {
    crashes::run(app(by), "Front", config, faults)
}

fn sound(what: &str, state: &State) {
    let left = [&state.pending, &state.corrupt, &state.residue];
    assert!(left.iter().all(|left| left.is_empty()), "{what}: {left:?}");
}

fn check(what: &str, by: i64, config: Config, reference: &End, faults: Vec<Injection>) -> End {
    let end = run(by, config, faults);
    for state in [&end.alone, &end.state] {
        sound(what, state);
        assert_eq!(state.tables, reference.state.tables, "{what}");
    }
    // The platform goes on until there is an answer.
    assert_eq!(end.outcome, reference.outcome, "{what}");
    assert_eq!(end.output, reference.output, "{what}");
    assert_eq!(
        end.again,
        (reference.outcome.clone(), reference.output.clone()),
        "{what}"
    );
    end
}

#[test]
fn a_workflow_is_one_transaction() {
    for (name, config) in configs() {
        let end = run(3, config, Vec::new());
        assert_eq!(
            (end.outcome, end.output),
            (Outcome::Ok, Value::Int(10 + 7 + 13)),
            "{name}"
        );
        let sum = |table: &str| end.state.get(table, "sum")?.get("n")?.as_int();
        assert_eq!(
            [sum("left"), sum("right"), sum("book")],
            [7, 13, 30].map(Some),
            "{name}"
        );
        sound(name, &end.state);
        let end = run(30, config, Vec::new());
        assert_eq!(
            end.outcome,
            Outcome::Rejected("not enough".to_owned()),
            "{name}"
        );
        assert!(
            end.state.tables.values().all(|rows| rows.is_empty()),
            "{name}"
        );
        sound(name, &end.state);
    }
}

#[test]
fn every_crash_point_keeps_a_workflow_whole() {
    for (name, config) in configs() {
        for by in [3, 30] {
            let reference = run(by, config, Vec::new());
            let mut struck = BTreeSet::new();
            for nth in 0..reference.effects + 10 {
                let kind = CrashKind::ALL[nth as usize % 4];
                let other = CrashKind::ALL[(nth as usize / 4 + 1) % 4];
                let what = format!("{name}: {by}: {kind:?} at {nth}, and {other:?} there again");
                let faults = vec![crash(nth, kind), crash(2 * nth + 2, other)];
                struck.extend(check(&what, by, config, &reference, faults).points);
                let what = format!("{name}: {by}: {other:?} at {nth}");
                check(&what, by, config, &reference, vec![crash(nth, other)]);
                let what = format!("{name}: {by}: a duplicate at {nth}, and {kind:?} soon after");
                let faults = vec![duplicate(nth), crash(nth + 3, kind)];
                check(&what, by, config, &reference, faults);
            }
            assert!(struck.len() >= 12, "{name}: only {struck:?} were crashed");
        }
    }
}
