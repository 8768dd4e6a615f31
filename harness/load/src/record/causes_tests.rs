//! The record of causes and effects: told by hand, and of whole runs.

use super::book::Who;
use super::causes::Scribe;
use crate::campaign::Campaign;
use crate::run::{RunOutput, Watch, rejudge, run};
use std::collections::BTreeMap;
use triptych_api::{Change, Look, Shows, Step};
use triptych_model::causes::{Act, Causes};
use triptych_model::{Name, State, Value};
use triptych_oracle::causal::{Anomaly, check};

fn elements(table: &str, row: &Value) -> Option<Shows> {
    let list = row.get("list").and_then(Value::as_list);
    let names = list.unwrap_or_default().iter();
    let names = names.filter_map(|e| e.as_str().map(Name::from)).collect();
    (table == "L").then_some(Shows::Set(names))
}

/// Executions of one request, told step by step.
struct Told {
    scribe: Scribe,
    executions: u64,
}

impl Told {
    fn new() -> Self {
        Told {
            scribe: Scribe::new(elements, false),
            executions: 0,
        }
    }

    fn begin(&mut self, request: u64, op: &str, input: i64) -> u64 {
        self.executions += 1;
        let (function, op, input) = (Name::from("F"), Name::from(op), Value::Int(input));
        let instance = format!("i{}", self.executions);
        let asked = (&function, &op, &input);
        self.scribe
            .begin(self.executions, request, &instance, asked);
        self.executions
    }

    fn who<T>(
        &mut self,
        (request, execution): (u64, u64),
        step: &str,
        what: impl FnOnce(&mut Scribe, &Who<'_>) -> T,
    ) -> T {
        let (instance, step) = (Name::from(format!("i{execution}")), Step::new(step));
        let who = Who {
            request,
            instance: &instance,
            transaction: None,
            step: &step,
            execution,
            since: 0,
            now: 0,
        };
        what(&mut self.scribe, &who)
    }

    fn append(&mut self, at: (u64, u64), step: &str, element: &str) {
        let changes = [Change::append("list", element)];
        let updated = triptych_api::Updated {
            applied: true,
            sum: None,
        };
        self.who(at, step, |s, w| s.update(w, ("L", "k"), &changes, updated));
    }

    fn read(&mut self, at: (u64, u64), step: &str, entries: &[&str]) {
        let entries = entries.iter().map(|entry| Value::from(*entry));
        let row = Value::map([("list", Value::list(entries.collect::<Vec<_>>()))]);
        self.who(at, step, |s, w| {
            s.read(w, ("L", "k"), Some(&row), Look::One);
        });
    }

    fn call(&mut self, at: (u64, u64), step: &str, op: &str, input: i64, done: bool) {
        let (function, op, input) = (Name::from("F"), Name::from(op), Value::Int(input));
        self.who(at, step, |s, w| match done {
            false => s.calling(w, (&function, &op, &input)),
            true => s.called(w, (&function, &op, &input)),
        });
    }

    fn found(self) -> Vec<Anomaly> {
        let causes = self.scribe.finish(&State::default()).expect("has a list");
        let found = check(&causes).expect("is whole").found;
        let found = found.iter().map(|found| found.anomaly);
        // Nobody kept the lists in the end.
        found.filter(|anomaly| *anomaly != Anomaly::Lost).collect()
    }
}

#[test]
fn a_branch_comes_after_its_parent_and_the_parent_after_its_branches() {
    let mut told = Told::new();
    told.scribe.sent(0, 1);
    let root = (0, told.begin(0, "Run", 0));
    told.append(root, "0", "a");
    // One branch writes; its neighbour need not know, and the parent does.
    told.append(root, "1.0.0", "b");
    told.read(root, "1.1.0", &["a"]);
    told.read(root, "2", &["a"]);
    assert_eq!(told.found(), [Anomaly::ReadYourWrites]);

    let mut told = Told::new();
    told.scribe.sent(0, 1);
    let root = (0, told.begin(0, "Run", 0));
    told.append(root, "0", "a");
    told.read(root, "1.10.0", &[]);
    assert_eq!(told.found(), [Anomaly::ReadYourWrites]);
}

#[test]
fn a_callee_comes_after_its_caller_and_the_caller_after_the_reply() {
    // The callee does not see what the caller wrote.
    let mut told = Told::new();
    told.scribe.sent(0, 1);
    let root = (0, told.begin(0, "Run", 0));
    told.append(root, "0", "a");
    told.call(root, "1", "Get", 5, false);
    let callee = (0, told.begin(0, "Get", 5));
    told.read(callee, "0", &[]);
    assert_eq!(told.found(), [Anomaly::ReadYourWrites]);

    // The caller does not see what the callee wrote in a branch; before the reply it need not.
    for (answered, found) in [(true, vec![Anomaly::ReadYourWrites]), (false, vec![])] {
        let mut told = Told::new();
        told.scribe.sent(0, 1);
        let root = (0, told.begin(0, "Run", 0));
        told.call(root, "1", "Put", 5, false);
        let callee = (0, told.begin(0, "Put", 5));
        told.append(callee, "0.1.0", "a");
        told.scribe.end(callee.1);
        if answered {
            told.call(root, "1", "Put", 5, true);
        }
        told.read(root, "2", &[]);
        assert_eq!(told.found(), found);
    }

    // Of two calls that ask the same nobody can tell whose callee it is.
    let mut told = Told::new();
    told.scribe.sent(0, 1);
    let root = (0, told.begin(0, "Run", 0));
    told.call(root, "0.0.0", "Get", 5, false);
    told.append(root, "0.1.0", "a");
    told.call(root, "0.1.1", "Get", 5, false);
    let callee = (0, told.begin(0, "Get", 5));
    told.read(callee, "0", &[]);
    assert_eq!(told.found(), []);
}

#[test]
fn a_request_comes_after_the_answers_that_its_client_had() {
    for (answered, found) in [(true, vec![Anomaly::ReadYourWrites]), (false, vec![])] {
        let mut told = Told::new();
        told.scribe.sent(0, 1);
        let first = (0, told.begin(0, "Run", 0));
        told.append(first, "0", "a");
        told.scribe.end(first.1);
        if answered {
            told.scribe.answered(0);
        }
        told.scribe.sent(1, 1);
        let second = (1, told.begin(1, "Run", 0));
        told.read(second, "0", &[]);
        assert_eq!(told.found(), found);
    }
}

fn played(runtime: &str, profile: &str, extra: &str, settings: &str) -> RunOutput {
    let text = format!(
        "name = \"t\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [40]\n\
         duration = \"6s\"\nwarmup = \"1s\"\n{extra}\n[settings]\n{settings}\n"
    );
    let campaign = Campaign::parse("t.toml", &text).expect("is a campaign");
    run(&campaign, &campaign.cells()[0], "none", &Watch::default()).expect("has a result")
}

fn recorded(output: &RunOutput) -> &Causes {
    let history = output.history.as_ref().expect("is recorded");
    history.causes.as_ref().expect("has rows that are judged")
}

#[test]
fn runs_on_strongly_consistent_runtimes_are_causal() {
    let movie = "movies = 20\nusers = 20\nsessions = 8";
    for (runtime, extra) in [
        ("serial", ""),
        ("baseline", ""),
        ("beldi", "[faults]\ncrash_rate = 0.02"),
        ("boki-model", ""),
    ] {
        let output = played(runtime, "full-movie", extra, movie);
        let causes = recorded(&output);
        assert_eq!(causes.left_out, [""; 0]);
        let report = check(causes).expect("is whole");
        let order = report
            .found
            .iter()
            .filter(|found| found.anomaly.guarantee() == triptych_model::Guarantee::Order);
        assert_eq!(order.count(), 0, "{runtime}: {:#?}", report.found);
        assert!(
            report.seen.tried[&Anomaly::MonotonicReads] > 20,
            "{runtime}"
        );
        assert!(report.seen.tried[&Anomaly::Causality] > 20, "{runtime}");
        // Reads of lists happen in callees of callees: their strands hang together.
        let after = causes.events.iter();
        let after = after.filter(|event| matches!(event.act, Act::After { .. }));
        assert!(after.count() > causes.strands.len() / 2, "{runtime}");
        assert_eq!(output.verdict.coverage.looks, report.seen.looks);
        let again = rejudge(
            &output.manifest,
            &output.ops,
            &output.state,
            output.history.as_ref(),
        );
        assert_eq!(again.as_ref(), Ok(&output.verdict));
    }
}

#[test]
fn timelines_and_registers_are_judged_too() {
    for (profile, settings) in [
        ("full-social-interactive", "users = 20\nsessions = 8"),
        ("micro-beldi-primitives", "fill = 5"),
    ] {
        let output = played("baseline", profile, "", settings);
        let report = check(recorded(&output)).expect("is whole");
        let counts: BTreeMap<&str, u64> = report
            .found
            .iter()
            .map(|found| (found.anomaly.name(), found.count))
            .collect();
        assert_eq!(counts, BTreeMap::new(), "{profile}: {:#?}", report.found);
        assert!(report.seen.looks > 30, "{profile}: {:?}", report.seen);
    }
}
