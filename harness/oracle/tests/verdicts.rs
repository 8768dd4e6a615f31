//! Verdicts on made-up evidence: the lattice, the floors, the rules for every app, and batches.

use std::collections::BTreeMap;
use triptych_api::{App, Declares, Evidence, Isolation, Order};
use triptych_model::{
    Coverage, Finding, Guarantee, OpRecord, Outcome, RuleReport, State, Status, Value, Verdict,
};
use triptych_oracle::{Floors, judge, merge, runs_with_violations};

const ALL: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::Serializable,
    order: Order::RealTime,
    durable: true,
};

/// An app whose only rules say what the settings tell them to.
fn app() -> App {
    App {
        name: "made-up",
        functions: Vec::new(),
        kinds: Vec::new(),
        workflows: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules,
    }
}

fn rules(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let number = |key: &str| {
        evidence
            .settings
            .get(key)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    let rule = |name: &str, guarantee, violations: u64| RuleReport {
        rule: name.to_owned(),
        guarantee,
        examined: number("examined"),
        violations,
        witness: (violations > 0).then(|| Finding {
            rule: name.to_owned(),
            request: Some(17),
            told: "one too many".to_owned(),
        }),
        asked: true,
    };
    let coverage = Coverage {
        ok: number("ok"),
        ok_effects: number("ok"),
        faulted: number("faulted"),
        faulted_effects: number("faulted"),
        session_pairs: number("pairs"),
        ..Coverage::default()
    };
    let rules = vec![
        rule("E1", Guarantee::Effects, number("effects")),
        rule("O1", Guarantee::Order, number("order")),
        rule("D1", Guarantee::Durability, number("lost")),
    ];
    (rules, coverage)
}

/// Judges a run with these numbers; what is not given is ample.
fn verdict(numbers: &[(&str, u64)], state: &State, floors: &Floors) -> Verdict {
    let ample = [
        ("examined", 100),
        ("ok", 812),
        ("pairs", 120),
        ("faulted", 41),
    ];
    let settings: BTreeMap<String, String> = ample
        .iter()
        .chain(numbers)
        .map(|(k, n)| ((*k).to_owned(), n.to_string()))
        .collect();
    let kinds = ["compose".to_owned()];
    let ops = [op(0), op(1)];
    let evidence = Evidence {
        kinds: &kinds,
        ops: &ops,
        state,
        settings: &settings,
        isolation: ALL.transaction,
        order: ALL.order,
    };
    judge(&app(), &ALL, &evidence, floors)
}

fn op(index: u64) -> OpRecord {
    OpRecord {
        index,
        kind: 0,
        session: 0,
        intended_ns: 0,
        sent_ns: 0,
        done_ns: 1,
        settled_ns: 1,
        entry_ns: 0,
        outcome: Outcome::Ok,
        input: Value::Null,
        observed: Value::Null,
        faults: 0,
    }
}

fn status(verdict: &Verdict, guarantee: Guarantee) -> (Status, &str) {
    let entry = verdict.of(guarantee).expect("every guarantee has an entry");
    (entry.status, &entry.because)
}

#[test]
fn ample_coverage_without_a_violation_is_valid_and_says_what_it_rests_on() {
    let run = verdict(&[], &State::default(), &Floors::new(true));
    assert_eq!(
        status(&run, Guarantee::Effects),
        (
            Status::Valid,
            "no violation found in 812 requests with effects, 41 of them with a fault"
        )
    );
    assert_eq!(status(&run, Guarantee::Order).0, Status::Valid);
    assert_eq!(status(&run, Guarantee::Durability).0, Status::Valid);
    // No rule speaks of isolation, so nothing can be said, whatever is promised.
    assert_eq!(status(&run, Guarantee::Isolation).0, Status::Unknown);
    assert!(
        run.guarantees
            .iter()
            .map(|entry| entry.guarantee)
            .eq(Guarantee::ALL)
    );
    assert!(run.violated().is_empty());
}

#[test]
fn too_little_coverage_is_unknown_and_never_valid() {
    let state = State::default();
    let floors = Floors::new(true);
    for (numbers, guarantee) in [
        (("ok", 29), Guarantee::Effects),
        (("ok", 29), Guarantee::Durability),
        (("faulted", 2), Guarantee::Effects),
        (("pairs", 29), Guarantee::Order),
        (("examined", 0), Guarantee::Order),
        (("examined", 0), Guarantee::Durability),
    ] {
        let run = verdict(&[numbers], &state, &floors);
        let (status, because) = status(&run, guarantee);
        assert_eq!(status, Status::Unknown, "{numbers:?}: {because}");
    }
    // A run that asked for no faults needs none.
    let calm = verdict(&[("faulted", 0)], &state, &Floors::default());
    assert_eq!(status(&calm, Guarantee::Effects).0, Status::Valid);
    // Nothing seen at all: nothing is valid.
    let empty = [("ok", 0), ("pairs", 0), ("examined", 0), ("faulted", 0)];
    let empty = verdict(&empty, &state, &Floors::default());
    assert!(
        empty
            .guarantees
            .iter()
            .all(|entry| entry.status == Status::Unknown)
    );
}

#[test]
fn one_violation_is_invalid_whatever_the_coverage() {
    let run = verdict(
        &[("ok", 1), ("effects", 3)],
        &State::default(),
        &Floors::new(true),
    );
    let (status, because) = status(&run, Guarantee::Effects);
    assert_eq!(status, Status::Invalid);
    assert_eq!(
        because,
        "violated: E1 3 times; E1 at request 17: one too many"
    );
}

#[test]
fn what_a_runtime_leaves_behind_counts() {
    let left = |residue: &[&str], pending: &[&str], corrupt: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let state = State {
            residue: owned(residue),
            pending: owned(pending),
            corrupt: owned(corrupt),
            ..State::default()
        };
        verdict(&[("lost", 1)], &state, &Floors::default())
    };
    assert_eq!(left(&["a lock on m1"], &[], &[]).violated(), ["D1", "X2"]);
    assert_eq!(
        left(&[], &[], &["key k twice in the log"]).violated(),
        ["D1", "X1"]
    );
    let lost = left(&[], &[], &[]);
    assert_eq!(status(&lost, Guarantee::Durability).0, Status::Invalid);
    // What is still on its way is not lost yet.
    let stuck = left(&[], &["a", "b", "c", "d"], &[]);
    assert_eq!(status(&stuck, Guarantee::Effects).0, Status::Invalid);
    assert_eq!(status(&stuck, Guarantee::Durability).0, Status::Unknown);
    assert_eq!(
        stuck.stuck.as_deref(),
        Some("4 instances were still pending: a, b, c and 1 more")
    );
}

#[test]
fn every_request_must_have_exactly_one_outcome() {
    let kinds = ["compose".to_owned()];
    let (state, settings) = (State::default(), BTreeMap::new());
    let told = |ops: &[OpRecord]| {
        let evidence = Evidence {
            kinds: &kinds,
            ops,
            state: &state,
            settings: &settings,
            isolation: ALL.transaction,
            order: ALL.order,
        };
        let verdict = judge(&app(), &ALL, &evidence, &Floors::default());
        let rule = verdict
            .rules
            .into_iter()
            .find(|rule| rule.rule == "X3")
            .expect("is there");
        (
            rule.examined,
            rule.violations,
            rule.witness.and_then(|witness| witness.request),
        )
    };
    assert_eq!(told(&[op(0), op(1), op(2)]), (3, 0, None));
    assert_eq!(told(&[op(0), op(2)]), (2, 1, Some(1)));
    assert_eq!(told(&[op(0), op(1), op(1)]), (3, 1, Some(2)));
    assert_eq!(
        told(&[op(0), OpRecord { kind: 1, ..op(1) }]),
        (2, 1, Some(1))
    );
}

#[test]
fn a_batch_is_judged_by_its_sums() {
    let state = State::default();
    let floors = Floors::new(true);
    let little = [("ok", 10), ("faulted", 1), ("pairs", 10)];
    let runs: Vec<Verdict> = (0..3).map(|_| verdict(&little, &state, &floors)).collect();
    assert_eq!(status(&runs[0], Guarantee::Effects).0, Status::Unknown);
    let batch = merge(&runs, &floors);
    assert_eq!(status(&batch, Guarantee::Effects).0, Status::Valid);
    assert_eq!(
        (batch.coverage.ok_effects, batch.rules.len()),
        (30, runs[0].rules.len())
    );
    assert_eq!(
        merge(&runs[..2], &floors)
            .of(Guarantee::Effects)
            .map(|e| e.status),
        Some(Status::Unknown)
    );

    let bad = verdict(&[("effects", 2)], &state, &floors);
    let mut mixed = runs;
    mixed.extend([bad.clone(), bad]);
    let batch = merge(&mixed, &floors);
    assert_eq!(runs_with_violations(&mixed, Guarantee::Effects), 2);
    assert_eq!(
        status(&batch, Guarantee::Effects),
        (
            Status::Invalid,
            "violated: E1 4 times in 2 of 5 runs; E1 at request 17: one too many"
        )
    );
    assert_eq!(status(&batch, Guarantee::Order).0, Status::Valid);
    let nothing = merge(&[], &floors);
    assert!(
        nothing
            .guarantees
            .iter()
            .all(|entry| entry.status == Status::Unknown)
    );
}

#[test]
fn a_stuck_run_proves_no_loss_in_a_batch_but_a_quiet_one_does() {
    let floors = Floors::default();
    let pending = State {
        pending: vec!["one".to_owned()],
        ..State::default()
    };
    let stuck = verdict(&[("lost", 1)], &pending, &floors);
    let quiet = verdict(&[], &State::default(), &floors);
    let lossy = verdict(&[("lost", 1)], &State::default(), &floors);
    let durable = |runs: &[Verdict]| {
        let batch = merge(runs, &floors);
        (
            status(&batch, Guarantee::Durability).0,
            batch.stuck.is_some(),
        )
    };
    assert_eq!(
        durable(&[stuck.clone(), quiet.clone()]),
        (Status::Unknown, true)
    );
    assert_eq!(durable(&[stuck, lossy]), (Status::Invalid, true));
    assert_eq!(durable(&[quiet]), (Status::Valid, false));
}
