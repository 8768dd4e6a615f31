//! Profile, data set, generator, app, rules and verdict together, on the reference runtime that the
//! app's own tests use.

use std::collections::BTreeMap;
use triptych_api::{Declares, Guarantee, Isolation, Order};
use triptych_model::{Status, Verdict};
use triptych_oracle::{Floors, judge, merge};
use triptych_reference::{Bug, Request, Run, run};
use triptych_workloads::{Generator, find};

const PROMISES: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::None,
    order: Order::RealTime,
    durable: true,
};

/// A run of a profile on a small data set, and its verdict.
fn judged(profile: &str, count: u64, seed: u64, bug: Option<Bug>) -> (Run, Verdict) {
    let size = [
        ("movies", "30"),
        ("users", "20"),
        ("sessions", "8"),
        ("rejects", "0.05"),
    ];
    let size: BTreeMap<String, String> = size
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let profile = find(profile)
        .expect("exists")
        .with_settings(size)
        .expect("are known");
    let generator = Generator::new(&profile, seed).expect("fits");
    let app = triptych_movie::app(&profile.settings).expect("the settings are known");
    // The generator names functions and entry points by text; the app must know them.
    for kind in generator.kinds() {
        assert!(app.kinds.iter().any(|known| known.name == kind), "{kind}");
    }
    let loads = generator.loads().into_iter().map(|load| Request {
        kind: 0,
        function: load.function,
        op: load.op,
        input: load.input,
        session: 0,
    });
    let requests: Vec<Request> = (0..count)
        .map(|index| generator.request(index))
        .map(|planned| Request {
            kind: planned.kind,
            function: planned.function,
            op: planned.op,
            input: planned.input,
            session: planned.session,
        })
        .collect();
    let kinds = generator.kinds();
    let run = run(
        &app,
        &profile.settings,
        kinds,
        loads.collect(),
        &requests,
        seed,
        bug,
    );
    let verdict = judge(&app, &PROMISES, &run.evidence(), &Floors::new(false));
    (run, verdict)
}

#[test]
fn both_formulations_are_valid_on_a_right_runtime() {
    for profile in ["full-movie", "full-movie-choreo"] {
        let (run, verdict) = judged(profile, 2_000, 1, None);
        assert_eq!(verdict.violated(), [""; 0], "{verdict:#?}");
        assert_eq!(verdict.promises(), Status::Valid, "{verdict:#?}");
        let refused = run
            .ops
            .iter()
            .filter(|op| op.outcome.class().name() == "rejected");
        assert!(refused.count() > 2, "refusals are exercised");
        // Every rule but those about joins (orch) had something to examine.
        for report in &verdict.rules {
            let silent = match report.rule.as_str() {
                "M9" => profile == "full-movie",
                "M11-own" => profile != "full-movie",
                _ => false,
            };
            assert_eq!(report.examined == 0, silent, "{profile}: {}", report.rule);
        }
    }
}

#[test]
fn the_published_port_is_judged_by_what_can_apply_to_it() {
    let (_, verdict) = judged("compat-beldi-movie", 300, 1, None);
    assert_eq!(
        verdict.of(Guarantee::Effects).map(|e| e.status),
        Some(Status::Valid)
    );
    assert_eq!(
        verdict.of(Guarantee::Durability).map(|e| e.status),
        Some(Status::Valid)
    );
    assert_eq!(
        verdict.of(Guarantee::Order).map(|e| e.status),
        Some(Status::Unknown)
    );
}

#[test]
fn a_batch_of_broken_runs_is_invalid_and_counts_the_runs() {
    let runs: Vec<Verdict> = (0..10)
        .map(|seed| judged("full-movie", 200, seed, Some(Bug::RepeatUpdate)).1)
        .collect();
    let batch = merge(&runs, &Floors::new(false));
    let effects = batch.of(Guarantee::Effects).expect("is there");
    assert_eq!(effects.status, Status::Invalid);
    assert!(
        effects.because.contains("of 10 runs"),
        "{}",
        effects.because
    );
    assert_eq!(
        batch.of(Guarantee::Durability).map(|entry| entry.status),
        Some(Status::Valid)
    );
}
