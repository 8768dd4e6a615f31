//! Histories of a notice: those that can be are not complained of, and each planted violation is named
//! by the rule that is meant for it.

use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, Outcome};
use triptych_api::{Evidence, Isolation, Name, Order, State, Value};
use triptych_micro::notice::{FIELD, KEY, TABLE};

fn settings() -> BTreeMap<String, String> {
    BTreeMap::from([("mix".to_owned(), "visibility".to_owned())])
}

/// A request of ten time units.
fn op(kind: u16, n: i64, at: u64) -> OpRecord {
    let number = |name: &'static str| Value::map([(name, Value::Int(n))]);
    let (input, observed) = match kind {
        0 => (number("n"), number("published")),
        _ => (Value::map::<&str>([]), number("saw")),
    };
    OpRecord {
        index: at,
        kind,
        session: 0,
        intended_ns: at,
        sent_ns: at,
        done_ns: at + 10,
        settled_ns: at + 10,
        entry_ns: 5,
        outcome: Outcome::Ok,
        input,
        observed,
        faults: 0,
    }
}

fn violated(ops: &[OpRecord], left: i64) -> Vec<String> {
    let mut state = State::default();
    let row = (Name::from(KEY), Value::map([(FIELD, Value::Int(left))]));
    state.tables.insert(Name::from(TABLE), [row].into());
    let evidence = Evidence {
        kinds: &["publish".to_owned(), "look".to_owned()],
        ops,
        state: &state,
        settings: &settings(),
        isolation: Isolation::Serializable,
        order: Order::RealTime,
    };
    let app = triptych_micro::app(&settings()).expect("the mix is known");
    let (reports, _) = (app.rules)(&evidence);
    let violated = reports.iter().filter(|report| report.violations > 0);
    violated.map(|report| report.rule.clone()).collect()
}

#[test]
fn what_can_be_is_not_complained_of() {
    let ops = [
        op(0, 1, 0),
        op(1, 0, 5),
        op(1, 1, 6),
        op(0, 2, 20),
        op(1, 1, 99),
    ];
    assert_eq!(violated(&ops, 2), [""; 0]);
    // Two that overlap may come in either order.
    let overlapping = [op(0, 1, 0), op(0, 2, 5)];
    assert_eq!(violated(&overlapping, 1), [""; 0]);
    // One without an answer may come at any time.
    let mut late = [op(0, 1, 0), op(0, 2, 20)];
    late[0].outcome = Outcome::Indeterminate("timeout".to_owned());
    assert_eq!(violated(&late, 1), [""; 0]);
    assert_eq!(violated(&[], 0), [""; 0]);
}

#[test]
fn what_cannot_be_is_found() {
    assert_eq!(violated(&[op(0, 1, 0), op(1, 7, 5)], 1), ["N1"]);
    let early = [op(1, 1, 0), op(0, 1, 20)];
    assert_eq!(violated(&early, 1), ["N1"], "seen before it was sent");
    assert_eq!(violated(&[op(0, 1, 0)], 7), ["N1"]);
    assert_eq!(violated(&[op(0, 1, 0), op(0, 2, 20)], 1), ["N2"]);
    assert_eq!(violated(&[op(0, 1, 0)], 0), ["N2", "N3"]);
}

#[test]
fn an_unknown_mix_is_refused_with_the_known_ones() {
    let mix = BTreeMap::from([("mix".to_owned(), "reads".to_owned())]);
    let error = triptych_micro::app(&mix).err().expect("is unknown");
    assert!(
        error.contains("primitives, writes, workflow, visibility"),
        "{error}"
    );
}
