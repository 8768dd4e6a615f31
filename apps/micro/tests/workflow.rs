//! Histories of workflows: those that can be are not complained of, each planted violation is named by
//! the rule that is meant for it, and on a runtime that breaks a promise some rule complains.

use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, Outcome, Random};
use triptych_api::{App, Evidence, Isolation, Name, Order, State, Value};
use triptych_micro::workflow::{FIELD, TABLE, loaded};
use triptych_reference::{Bug, Request, Run, run};

fn settings() -> BTreeMap<String, String> {
    BTreeMap::from([("mix".to_owned(), "workflow".to_owned())])
}

fn app() -> App {
    triptych_micro::app(&settings()).expect("the mix is known")
}

fn steps(steps: &[&[&str]]) -> Value {
    let texts = |step: &&[&str]| Value::list(step.iter().map(|access| Value::from(*access)));
    Value::map([("steps", Value::list(steps.iter().map(texts)))])
}

/// A request of one step, of ten time units from `at`.
fn op(index: u64, session: u32, at: u64, accesses: &[&str], seen: &[&str]) -> OpRecord {
    OpRecord {
        index,
        kind: 0,
        session,
        intended_ns: at,
        sent_ns: at,
        done_ns: at + 10,
        settled_ns: at + 10,
        entry_ns: 5,
        outcome: Outcome::Ok,
        input: steps(&[accesses]),
        observed: Value::list(seen.iter().map(|found| Value::from(*found))),
        faults: 0,
    }
}

/// The rules that complain of these requests, with these values at the end.
fn violated(ops: &[OpRecord], left: &[(&str, &str)]) -> Vec<String> {
    let row = |(key, value): &(&str, &str)| {
        (Name::from(*key), Value::map([(FIELD, Value::from(*value))]))
    };
    let mut state = State::default();
    let rows = left.iter().map(row).collect();
    state.tables.insert(Name::from(TABLE), rows);
    let evidence = Evidence {
        kinds: &["workflow".to_owned()],
        ops,
        state: &state,
        settings: &settings(),
        isolation: Isolation::Serializable,
        order: Order::RealTime,
    };
    let (reports, _) = (app().rules)(&evidence);
    let violated = reports.iter().filter(|report| report.violations > 0);
    violated.map(|report| report.rule.clone()).collect()
}

const ONE: &str = "00000001";
const TWO: &str = "00000002";

#[test]
fn a_history_that_can_be_is_not_complained_of() {
    let ops = [
        op(0, 0, 0, &["r1", "w1=wa", "r1"], &["1=00000001", "1=wa"]),
        // Another session knows nothing of it.
        op(1, 1, 20, &["r1", "r2"], &["1=00000001", "2=00000002"]),
        op(2, 1, 40, &["w1=wb", "r1"], &["1=wb"]),
        // Two requests of one session that overlap: either value may be the newer one.
        op(3, 2, 60, &["r1"], &["1=wb"]),
        op(4, 2, 61, &["r1"], &["1=wa"]),
        op(5, 2, 80, &["r1"], &["1=wb"]),
        op(6, 0, 80, &["r1"], &["1=wb"]),
    ];
    assert_eq!(violated(&ops, &[("1", "wb"), ("2", TWO)]), [""; 0]);
}

#[test]
fn a_value_that_nobody_wrote_there_is_found() {
    let ghost = [op(0, 0, 0, &["r1"], &["1=wx"])];
    assert_eq!(violated(&ghost, &[("1", ONE)]), ["W1"]);
    let other = [op(0, 0, 0, &["r1"], &["1=00000002"])];
    assert_eq!(violated(&other, &[("1", ONE)]), ["W1"], "of another key");
    let nothing = [op(0, 0, 0, &["r1"], &["1="])];
    assert_eq!(violated(&nothing, &[("1", ONE)]), ["W1"]);
    assert_eq!(violated(&[], &[("1", TWO)]), ["W1"], "in the end");
    let mut failed = op(0, 0, 0, &["w1=wa"], &[]);
    failed.outcome = Outcome::Failed("throttled".to_owned());
    assert_eq!(violated(&[failed], &[("1", "wa")]), ["W1"]);
}

#[test]
fn a_session_that_goes_back_is_found() {
    let ops = [
        op(0, 0, 0, &["w1=wa"], &[]),
        op(1, 1, 20, &["r1"], &["1=wa"]),
        op(2, 1, 40, &["r1"], &["1=00000001"]),
    ];
    assert_eq!(violated(&ops, &[("1", "wa")]), ["W2"]);
    let within = [
        op(0, 0, 0, &["w1=wa"], &[]),
        op(1, 1, 20, &["r1", "r1"], &["1=wa", "1=00000001"]),
    ];
    assert_eq!(violated(&within, &[("1", "wa")]), ["W2"]);
    // Of two that overlapped the next one has chosen.
    let chosen = [
        op(0, 0, 0, &["w1=wa"], &[]),
        op(1, 3, 0, &["w1=wb"], &[]),
        op(2, 1, 20, &["r1"], &["1=wa"]),
        op(3, 1, 21, &["r1"], &["1=wb"]),
        op(4, 1, 40, &["r1"], &["1=wa"]),
        op(5, 1, 60, &["r1"], &["1=wb"]),
    ];
    assert_eq!(violated(&chosen[..5], &[("1", "wa")]), [""; 0]);
    assert_eq!(violated(&chosen, &[("1", "wa")]), ["W2"]);
}

#[test]
fn an_own_write_that_is_not_seen_is_found() {
    let within = [op(0, 0, 0, &["w1=wa", "r1"], &["1=00000001"])];
    assert_eq!(violated(&within, &[("1", "wa")]), ["W3"]);
    let across = [
        op(0, 0, 0, &["w1=wa"], &[]),
        op(1, 0, 20, &["r1"], &["1=00000001"]),
    ];
    assert_eq!(violated(&across, &[("1", "wa")]), ["W3"]);
}

#[test]
fn an_old_value_beside_what_was_written_knowing_better_is_found() {
    let ops = |old: &str| {
        [
            op(0, 0, 0, &["w1=wa"], &[]),
            // Whoever wrote wb had seen wa.
            op(1, 1, 20, &["r1", "w2=wb"], &["1=wa"]),
            op(2, 2, 40, &["r2", "r1"], &["2=wb", old]),
        ]
    };
    let left = [("1", "wa"), ("2", "wb")];
    assert_eq!(violated(&ops("1=wa"), &left), [""; 0]);
    assert_eq!(violated(&ops("1=00000001"), &left), ["W4"]);
    // What was read before may be old.
    let mut earlier = ops("1=00000001");
    earlier[2] = op(2, 2, 40, &["r1", "r2"], &["1=00000001", "2=wb"]);
    assert_eq!(violated(&earlier, &left), [""; 0]);
    // A request that may have been executed twice carries nothing.
    let mut doubtful = ops("1=00000001");
    doubtful[1].faults = 1;
    assert_eq!(violated(&doubtful, &left), [""; 0]);
}

#[test]
fn what_is_left_must_be_the_last() {
    let ops = [
        op(0, 0, 0, &["w1=wa"], &[]),
        op(1, 0, 20, &["r1", "w1=wb"], &["1=wa"]),
    ];
    assert_eq!(violated(&ops, &[("1", "wb")]), [""; 0]);
    assert_eq!(violated(&ops, &[("1", "wa")]), ["W5"]);
    assert_eq!(violated(&ops, &[("1", ONE)]), ["W5", "W6"]);
    assert_eq!(violated(&ops, &[]), ["W6"]);
}

/// A run on the reference runtime: few keys, so that everybody meets.
fn reference(seed: u64, bug: Option<Bug>) -> (App, Run) {
    let load = Value::map([
        ("from", Value::Int(0)),
        ("to", Value::Int(6)),
        ("bytes", Value::Int(8)),
    ]);
    let request = |op: &str, input: Value, session: u32| Request {
        kind: 0,
        function: "Workflow".to_owned(),
        op: op.to_owned(),
        input,
        session,
    };
    let mut random = Random::new(seed);
    let requests = (0..80).map(|index| {
        let mut key = || random.below(6);
        let texts = [
            vec![format!("r{}", key()), format!("r{}", key())],
            vec![format!("r{}", key()), format!("w{}=wa{index}", key())],
            vec![format!("w{}=wb{index}", key()), format!("r{}", key())],
        ];
        let texts = texts.map(|step| Value::list(step.into_iter().map(Value::from)));
        let input = Value::map([("steps", Value::list(texts))]);
        request("Run", input, random.below(4) as u32)
    });
    let requests: Vec<Request> = requests.collect();
    let loads = vec![request("Load", load, 0)];
    let app = app();
    let kinds = vec!["workflow".to_owned()];
    let run = run(&app, &settings(), kinds, loads, &requests, seed, bug);
    (app, run)
}

#[test]
fn no_rule_complains_of_a_right_runtime() {
    let mut examined = BTreeMap::new();
    for seed in 0..200 {
        let (app, run) = reference(seed, None);
        assert_eq!(run.complaints(&app), [""; 0], "seed {seed}");
        for report in run.check(&app).0 {
            *examined.entry(report.rule).or_insert(0) += report.examined;
        }
    }
    assert_eq!(examined.len(), 6);
    assert!(examined.values().all(|count| *count > 500), "{examined:?}");
}

#[test]
fn every_broken_promise_is_noticed() {
    for (bug, rules) in [
        (Bug::StaleRead, &["W2", "W3", "W4"][..]),
        (Bug::DropWrite, &["W3", "W5"]),
    ] {
        let found: Vec<String> = (0..60)
            .flat_map(|seed| {
                let (app, run) = reference(seed, Some(bug));
                run.violated(&app)
            })
            .collect();
        for rule in rules {
            assert!(found.iter().any(|found| found == rule), "{bug:?}: {rule}");
        }
    }
}

#[test]
fn what_is_loaded_is_as_long_as_was_asked() {
    assert_eq!(loaded(1, 8), ONE);
    assert_eq!(loaded(2, 16).len(), 16);
}
