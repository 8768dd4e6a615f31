//! The recorder on runs of the ledger, and on operations that it is told by hand.

use super::book::{Book, Who};
use super::finish::finish;
use crate::campaign::Campaign;
use crate::run::{RunOutput, Watch, rejudge, run};
use triptych_api::{Change, Shows, Step};
use triptych_model::history::{History, KeyKind, MicroOp, TxStatus};
use triptych_model::{Guarantee, Name, State, Status, Value};
use triptych_oracle::history::{Anomaly, Level, Options, check};

fn elements(table: &str, row: &Value) -> Option<Shows> {
    let list = row.get("list").and_then(Value::as_list);
    let names = list.unwrap_or_default().iter();
    let names = || names.filter_map(|e| e.as_str().map(Name::from)).collect();
    (table == "L").then(|| Shows::List(names()))
}

fn row(entries: &[&str]) -> Value {
    let entries = entries.iter().map(|entry| Value::from(*entry));
    Value::map([("list", Value::list(entries.collect::<Vec<_>>()))])
}

fn state(entries: &[&str]) -> State {
    let rows = [(Name::from("k"), row(entries))].into();
    State {
        tables: [(Name::from("L"), rows)].into(),
        ..State::default()
    }
}

/// Tells the book of something that a step of an execution did.
fn tell(
    book: &mut Book,
    tx: Option<&str>,
    step: &str,
    execution: u64,
    what: impl Fn(&mut Book, &Who<'_>),
) {
    let (instance, tx, step) = (Name::from("i"), tx.map(Name::from), Step::new(step));
    let who = Who {
        request: 0,
        instance: &instance,
        transaction: tx.as_ref(),
        step: &step,
        execution,
        since: 0,
        now: execution * 10,
    };
    what(book, &who);
}

fn done(book: Book, entries: &[&str]) -> History {
    finish(book, &state(entries), &|_| 7)
}

#[test]
fn replacing_a_list_by_a_longer_one_is_an_append_and_by_another_unfits_it() {
    let mut book = Book::new(elements, true);
    tell(&mut book, None, "0", 1, |b, w| b.read(w, "L", "k", None));
    tell(&mut book, None, "1", 1, |b, w| {
        b.write(w, "L", "k", &row(&["a"]))
    });
    tell(&mut book, None, "2", 1, |b, w| {
        b.update(w, "L", "k", &[Change::append("list", "b")])
    });
    tell(&mut book, None, "3", 1, |b, w| {
        b.read(w, "Other", "k", None)
    });
    let history = done(book, &["a", "b"]);
    let appended: Vec<_> = history
        .transactions
        .iter()
        .filter_map(|tx| tx.ops[0].adds())
        .collect();
    assert_eq!(
        appended
            .iter()
            .map(|e| history.element(*e))
            .collect::<Vec<_>>(),
        ["a".into(), "b".into()]
    );
    assert_eq!(
        (history.keys.len(), history.transactions[0].session),
        (1, 7)
    );
    assert_eq!(
        check(&history, Options::ALL).map(|r| r.level),
        Ok(Level::StrictSerializable)
    );

    let mut book = Book::new(elements, true);
    tell(&mut book, None, "0", 1, |b, w| {
        b.read(w, "L", "k", Some(&row(&["a", "b"])))
    });
    tell(&mut book, None, "1", 1, |b, w| {
        b.write(w, "L", "k", &row(&["b"]))
    });
    let history = done(book, &["b"]);
    assert!(
        history.keys.is_empty() && history.left_out[0].contains("L/k"),
        "{history:?}"
    );
}

#[test]
fn a_replay_is_the_same_operation_and_one_that_differs_is_told() {
    let read = |b: &mut Book, w: &Who<'_>| b.read(w, "L", "k", Some(&row(&["a"])));
    let append = |b: &mut Book, w: &Who<'_>| b.update(w, "L", "k", &[Change::append("list", "a")]);
    for (exactly_once, count) in [(true, 2), (false, 4)] {
        let mut book = Book::new(elements, exactly_once);
        for execution in [1, 2] {
            tell(&mut book, None, "0", execution, append);
            tell(&mut book, None, "1", execution, read);
        }
        let history = done(book, &["a"]);
        assert_eq!(history.transactions.len(), count);
        assert!(history.diverged.is_empty());
    }
    let mut book = Book::new(elements, true);
    tell(&mut book, None, "1", 1, read);
    tell(&mut book, None, "1", 2, |b, w| b.read(w, "L", "k", None));
    let history = done(book, &["a"]);
    assert!(
        history.diverged[0].contains("another value"),
        "{:?}",
        history.diverged
    );
}

#[test]
fn effects_that_nobody_heard_of_are_no_garbage() {
    let mut book = Book::new(elements, true);
    tell(&mut book, Some("t"), "0", 1, |b, w| {
        b.read(w, "L", "k", Some(&row(&["lost"])))
    });
    tell(&mut book, Some("t"), "0", 1, |b, w| b.end(w, true));
    let history = done(book, &["lost"]);
    assert_eq!(
        check(&history, Options::ALL).map(|r| r.found),
        Ok(Vec::new())
    );
    let unheard = history
        .transactions
        .iter()
        .find(|tx| tx.status == TxStatus::Indeterminate);
    assert!(unheard.is_some_and(|tx| tx.ops == [MicroOp::Append { key: 0, element: 0 }]));
}

#[test]
fn a_list_that_keeps_the_newest_is_a_window() {
    let mut book = Book::new(elements, true);
    let entries = ["a", "b", "c", "d"];
    for (n, entry) in entries.iter().enumerate() {
        let step = format!("{n}");
        let change = || vec![Change::append_keeping("list", *entry, Some(2))];
        tell(&mut book, None, &step, n as u64, |b, w| {
            b.update(w, "L", "k", &change())
        });
        let from = n.saturating_sub(1);
        let step = format!("r{n}");
        tell(&mut book, None, &step, n as u64, |b, w| {
            b.read(w, "L", "k", Some(&row(&entries[from..=n])));
        });
    }
    let history = done(book, &["c", "d"]);
    assert_eq!(history.keys[0].kind, KeyKind::Window(2));
    let report = check(&history, Options::ALL).expect("is whole");
    assert!(report.found.is_empty(), "{report:#?}");
}

fn ledger(runtime: &str, extra: &str) -> RunOutput {
    let text = format!(
        "name = \"t\"\nruntimes = [{runtime:?}]\nprofiles = [\"hot-ledger\"]\nrates = [40]\n\
         duration = \"6s\"\nwarmup = \"1s\"\n{extra}\n[settings]\nlists = 2\naccounts = 3\n"
    );
    let campaign = Campaign::parse("t.toml", &text).expect("is a campaign");
    run(&campaign, &campaign.cells()[0], "none", &Watch::default()).expect("has a result")
}

#[test]
fn beldi_is_serializable_and_the_baseline_is_not_and_both_are_judged_again_from_the_history() {
    for (runtime, status) in [("beldi", Status::Valid), ("baseline", Status::Invalid)] {
        let output = ledger(runtime, "");
        let isolation = output.verdict.of(Guarantee::Isolation).expect("is there");
        assert_eq!(isolation.status, status, "{}", isolation.because);
        assert!(output.verdict.coverage.conflicts >= 30);
        let history = output.history.as_ref().expect("is recorded");
        let again = rejudge(&output.manifest, &output.ops, &output.state, Some(history));
        assert_eq!(again.as_ref(), Ok(&output.verdict));
        let report = check(history, Options::ALL).expect("is whole");
        if status == Status::Valid {
            assert!(report.level >= Level::Serializable, "{report:#?}");
        } else {
            assert!(report.of(Anomaly::AbortedRead).is_some() && report.level == Level::None);
        }
        // A part of a history is no ground for a verdict.
        let mut cut = history.clone();
        cut.truncated = Some("cut off".to_owned());
        let cut = rejudge(&output.manifest, &output.ops, &output.state, Some(&cut));
        let cut = cut.expect("is known");
        let isolation = cut.of(Guarantee::Isolation).expect("is there");
        assert_ne!(isolation.status, Status::Valid);
    }
}

#[test]
fn recording_changes_nothing_and_can_be_left_out() {
    let with = ledger("beldi", "");
    let without = ledger("beldi", "history = false");
    assert!(with.history.is_some() && without.history.is_none());
    // Who does not listen counts no transactions either.
    let mut work = with.work;
    assert!(work.transactions.take().is_some_and(|all| all.begun > 0));
    assert_eq!(
        (with.ops, with.state, work),
        (without.ops, without.state, without.work)
    );
    let isolation = without.verdict.of(Guarantee::Isolation).expect("is there");
    assert_eq!(isolation.status, Status::Unknown);
}
