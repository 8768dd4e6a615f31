//! Every rule of the ledger on evidence that is right, and on evidence with one violation planted.

use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, Outcome};
use triptych_api::{Evidence, Isolation, Name, Order, State, Value};
use triptych_ledger::app;

struct Run {
    ops: Vec<OpRecord>,
    state: State,
}

fn mix(index: u64, outcome: Outcome) -> OpRecord {
    let step = |n: u64, task: &str| {
        let entry = Value::from(format!("r{index}.{n}"));
        let task = Value::map([(task, Value::map([("key", "0".into()), ("entry", entry)]))]);
        Value::map([("branch", "north".into()), ("task", task)])
    };
    let input = Value::map([
        ("reqId", Value::from(format!("r{index}"))),
        (
            "steps",
            Value::list([step(0, "append"), step(1, "rewrite")]),
        ),
        ("reject", false.into()),
    ]);
    record(index, 0, outcome, input, Value::Null)
}

fn record(index: u64, kind: u16, outcome: Outcome, input: Value, observed: Value) -> OpRecord {
    OpRecord {
        index,
        kind,
        session: 0,
        intended_ns: index,
        sent_ns: index,
        done_ns: index + 1,
        settled_ns: 0,
        entry_ns: 0,
        outcome,
        input,
        observed,
        faults: 0,
    }
}

/// Two acknowledged mixes, one refused, one of unknown end without effects, and a total.
fn right() -> Run {
    let ops = vec![
        mix(0, Outcome::Ok),
        mix(1, Outcome::Rejected("no".to_owned())),
        mix(2, Outcome::Indeterminate("lost".to_owned())),
        mix(3, Outcome::Ok),
        record(4, 1, Outcome::Ok, Value::Null, Value::Int(400)),
    ];
    let mut run = Run {
        ops,
        state: State::default(),
    };
    run.list(&["r0.0", "r0.1", "r3.0", "r3.1"]);
    for (account, balance) in [("0", 150), ("1", 50)] {
        run.put("NorthAccount", account, "balance", Value::Int(balance));
        run.put("SouthAccount", account, "balance", Value::Int(100));
    }
    for receipt in ["r0", "r3"] {
        run.put("Receipt", receipt, "steps", Value::Int(2));
    }
    run
}

impl Run {
    fn put(&mut self, table: &str, key: &str, field: &str, value: Value) {
        let row = Value::map([(field, value)]);
        let rows = self.state.tables.entry(Name::from(table)).or_default();
        rows.insert(Name::from(key), row);
    }

    fn list(&mut self, entries: &[&str]) {
        let entries = entries.iter().map(|entry| Value::from(*entry));
        self.put(
            "NorthList",
            "0",
            "entries",
            Value::list(entries.collect::<Vec<_>>()),
        );
    }

    fn violated(&self) -> Vec<String> {
        let settings: BTreeMap<String, String> = [("accounts".to_owned(), "2".to_owned())].into();
        let evidence = Evidence {
            kinds: &["mix".to_owned(), "total".to_owned()],
            ops: &self.ops,
            state: &self.state,
            settings: &settings,
            isolation: Isolation::Serializable,
            order: Order::RealTime,
        };
        let (reports, coverage) = (app(&settings).expect("fits").rules)(&evidence);
        assert!(
            reports.iter().all(|report| report.examined > 0),
            "{reports:?}"
        );
        assert_eq!((coverage.ok, coverage.ok_effects), (3, 2));
        let wrong = reports.into_iter().filter(|report| report.violations > 0);
        wrong.map(|report| report.rule).collect()
    }
}

#[test]
fn what_is_right_violates_nothing() {
    assert_eq!(right().violated(), [""; 0]);
}

#[test]
fn every_planted_violation_is_named() {
    let planted = |plant: &dyn Fn(&mut Run)| {
        let mut run = right();
        plant(&mut run);
        run.violated()
    };
    let list = |entries: &'static [&'static str]| planted(&move |run| run.list(entries));
    assert_eq!(
        planted(&|r| r.put("NorthAccount", "0", "balance", 149.into())),
        ["L1"]
    );
    assert_eq!(list(&["r0.0", "r3.0", "r3.1"]), ["L2"]);
    assert_eq!(list(&["r0.0", "r0.1", "r0.1", "r3.0", "r3.1"]), ["L2"]);
    // Of an unknown end all or nothing.
    assert_eq!(list(&["r0.0", "r0.1", "r2.0", "r3.0", "r3.1"]), ["L2"]);
    assert_eq!(
        list(&["r0.0", "r0.1", "r2.0", "r2.1", "r3.0", "r3.1"]),
        [""; 0]
    );
    assert_eq!(list(&["r0.0", "r0.1", "r1.0", "r3.0", "r3.1"]), ["L3"]);
    assert_eq!(list(&["r0.0", "r0.1", "r3.0", "r3.1", "r9.0"]), ["L3"]);
    assert_eq!(planted(&|r| r.ops[4].observed = Value::Int(399)), ["L4"]);
    let forget = |run: &mut Run| {
        let receipts = run.state.tables.get_mut("Receipt").expect("is there");
        receipts.remove("r0");
    };
    assert_eq!(planted(&forget), ["L5"]);
}

#[test]
fn settings_are_checked() {
    for (key, value) in [("accounts", "0"), ("initial", "much")] {
        let settings = [(key.to_owned(), value.to_owned())].into();
        let error = app(&settings).err().expect("is refused");
        assert!(error.contains(key) && error.contains(value), "{error}");
    }
}
