//! Histories of a register: those that can be are not complained of, and each planted violation is
//! named by the rule that is meant for it.

use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, Outcome};
use triptych_api::{Evidence, Isolation, Name, Order, State, Value};
use triptych_micro::{FIELD, KEY, TABLE, app};

const KINDS: [&str; 6] = [
    "read",
    "write",
    "cond-true",
    "cond-false",
    "invoke",
    "empty",
];

/// A request of one time unit from `at`.
fn op(index: u64, kind: &str, at: u64, id: Option<&str>, observed: Value) -> OpRecord {
    let kind = KINDS.iter().position(|name| *name == kind).unwrap();
    OpRecord {
        index,
        kind: kind as u16,
        session: 0,
        intended_ns: at,
        sent_ns: at,
        done_ns: at + 10,
        settled_ns: at + 10,
        entry_ns: 5,
        outcome: Outcome::Ok,
        input: Value::map(id.map(|id| ("id", Value::str(id)))),
        observed,
        faults: 0,
    }
}

fn write(index: u64, at: u64, id: &str) -> OpRecord {
    op(index, "write", at, Some(id), Value::Null)
}

fn read(index: u64, at: u64, id: &str) -> OpRecord {
    op(index, "read", at, None, Value::str(id))
}

/// The rules that complain of these requests, with this value at the end.
fn violated(ops: &[OpRecord], last: Option<&str>) -> Vec<String> {
    let mut state = State::default();
    let row = last.map(|id| (Name::from(KEY), Value::map([(FIELD, Value::str(id))])));
    state
        .tables
        .insert(Name::from(TABLE), row.into_iter().collect());
    let kinds = KINDS.map(str::to_owned);
    let evidence = Evidence {
        kinds: &kinds,
        ops,
        state: &state,
        settings: &BTreeMap::new(),
        isolation: Isolation::Serializable,
        order: Order::RealTime,
    };
    let (reports, coverage) = (app(&BTreeMap::new()).unwrap().rules)(&evidence);
    assert_eq!(
        coverage.ok,
        ops.iter().filter(|op| op.outcome == Outcome::Ok).count() as u64
    );
    let violated = reports.iter().filter(|report| report.violations > 0);
    violated
        .map(|report| {
            assert!(report.witness.is_some());
            report.rule.clone()
        })
        .collect()
}

#[test]
fn a_history_that_can_be_is_not_complained_of() {
    let ops = [
        read(0, 0, "Fill9"),
        write(1, 100, "a"),
        read(2, 105, "Fill9"),
        read(3, 106, "a"),
        write(4, 200, "b"),
        // Overlaps b, so either may be the last.
        write(5, 205, "c"),
        op(6, "cond-true", 300, Some("d"), Value::Bool(true)),
        op(7, "cond-false", 301, Some("e"), Value::Bool(false)),
        read(8, 320, "d"),
    ];
    assert_eq!(violated(&ops, Some("d")), Vec::<String>::new());
    assert_eq!(violated(&ops[..6], Some("b")), Vec::<String>::new());
    assert_eq!(violated(&ops[..6], Some("c")), Vec::<String>::new());
    assert_eq!(violated(&[], Some("Fill0")), Vec::<String>::new());
}

#[test]
fn a_write_without_an_answer_may_happen_at_any_time() {
    let mut unknown = write(0, 0, "late");
    unknown.outcome = Outcome::Indeterminate("timeout".to_owned());
    let ops = [unknown, write(1, 100, "a"), read(2, 200, "late")];
    assert_eq!(violated(&ops, Some("late")), Vec::<String>::new());
    assert_eq!(violated(&ops[..2], Some("a")), Vec::<String>::new());
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    assert_eq!(violated(&[read(0, 0, "ghost")], Some("Fill0")), ["U1"]);
    assert_eq!(violated(&[write(0, 0, "a")], Some("ghost")), ["U1"]);
    // A refused change, and a write that surely had no effect.
    let refused = op(0, "cond-false", 0, Some("no"), Value::Bool(false));
    assert_eq!(violated(&[refused], Some("no")), ["U1"]);
    let mut failed = write(0, 0, "no");
    failed.outcome = Outcome::Failed("throttled".to_owned());
    assert_eq!(violated(&[failed], Some("no")), ["U1"]);
}

#[test]
fn a_wrong_answer_of_a_condition_is_found() {
    let missed = op(0, "cond-true", 0, Some("a"), Value::Bool(false));
    assert_eq!(violated(&[missed], Some("a")), ["U2"]);
    let made = op(0, "cond-false", 0, Some("a"), Value::Bool(true));
    assert_eq!(violated(&[made], Some("Fill0")), ["U2"]);
}

#[test]
fn a_value_that_came_back_is_found() {
    let ops = [write(0, 0, "a"), write(1, 100, "b")];
    assert_eq!(
        violated(&ops, Some("a")),
        ["U3"],
        "a lost write, or a late duplicate"
    );
    assert_eq!(violated(&ops, Some("Fill0")), ["U3"], "both were lost");
    let stale = [write(0, 0, "a"), write(1, 100, "b"), read(2, 200, "a")];
    assert_eq!(violated(&stale, Some("b")), ["U3"], "a stale read");
}

#[test]
fn a_key_that_is_gone_is_found() {
    assert_eq!(violated(&[write(0, 0, "a")], None), ["U4"]);
}
