//! The app on a runtime that is right by construction: no rule may complain, whatever the
//! interleaving. And on runtimes that break one promise: some rule must.

#[path = "common/small.rs"]
mod small;

use small::small_run;
use triptych_api::model::Outcome;
use triptych_api::{Coverage, Value};
use triptych_reference::{Bug, Request, Run, run};

const VARIANTS: [&[(&str, &str)]; 6] = [
    &[],
    &[("formulation", "choreo")],
    &[("ack", "after-handoff")],
    &[("keep", "3")],
    &[("formulation", "choreo"), ("keep", "2")],
    &[("formulation", "choreo"), ("compat", "beldi")],
];

#[test]
fn no_rule_complains_of_a_right_runtime() {
    let mut coverage = Coverage::default();
    for seed in 0..600 {
        // The published port is only asked for composes: its lists may be ahead of its storage.
        let variant = VARIANTS[(seed % 5) as usize];
        let (app, run) = small_run(variant, 60, seed, None);
        assert_eq!(run.complaints(&app), [""; 0], "{variant:?}, seed {seed}");
        coverage.add(&run.check(&app).1);
    }
    // The histories are worth something: concurrency, sessions and refusals are in them.
    assert!(coverage.ok_effects > 10_000, "{coverage:?}");
    assert!(
        coverage.overlapping > 2_000 && coverage.session_pairs > 3_000,
        "{coverage:?}"
    );
    assert!(coverage.faulted > coverage.faulted_effects && coverage.faulted_effects > 500);
}

#[test]
fn every_broken_promise_is_noticed() {
    for (bug, variant) in [
        (Bug::DropSend, VARIANTS[1]),
        (Bug::RepeatSend, VARIANTS[1]),
        (Bug::DropSend, VARIANTS[2]),
        (Bug::RepeatSend, VARIANTS[2]),
        (Bug::DropUpdate, VARIANTS[0]),
        (Bug::RepeatUpdate, VARIANTS[0]),
        (Bug::DropWrite, VARIANTS[0]),
        (Bug::StaleRead, VARIANTS[0]),
        (Bug::ReusedId, VARIANTS[0]),
    ] {
        let noticed = (0..100).find(|seed| {
            let (app, run) = small_run(variant, 60, *seed, Some(bug));
            !run.complaints(&app).is_empty()
        });
        assert!(
            noticed.is_some_and(|seed| seed < 20),
            "{bug:?}, {variant:?}: {noticed:?}"
        );
    }
}

fn composes(run: &[Request]) -> Vec<Request> {
    run.iter()
        .filter(|request| request.kind == 0)
        .cloned()
        .collect()
}

fn compat_run(seed: u64) -> (triptych_api::App, Run) {
    let settings = small::settings(VARIANTS[5]);
    let app = triptych_movie::app(&settings).expect("is known");
    let kinds = app.kinds.iter().map(|kind| kind.name.to_owned()).collect();
    let requests = composes(&small::requests(60, seed));
    let run = run(
        &app,
        &settings,
        kinds,
        small::loads(),
        &requests,
        seed,
        None,
    );
    (app, run)
}

#[test]
fn the_published_port_keeps_its_defects_and_the_rules_that_can_apply_hold() {
    let mut fired_twice = 0;
    for seed in 0..60 {
        let (app, run) = compat_run(seed);
        assert_eq!(run.complaints(&app), [""; 0], "seed {seed}");
        let (reports, _) = run.check(&app);
        let silent = reports.iter().filter(|report| report.examined == 0);
        let silent: Vec<&str> = silent.map(|report| report.rule.as_str()).collect();
        assert!(
            ["M4", "M6", "M7", "M8", "M11"]
                .iter()
                .all(|rule| silent.contains(rule))
        );
        // D2: every list has exactly its first review.
        let lengths = run.state.table("MovieReview").map(|(_, row)| {
            row.get("reviews")
                .and_then(Value::as_list)
                .map_or(0, <[Value]>::len)
        });
        assert!(lengths.into_iter().all(|length| length == 1));
        assert!(run.state.table("Rating").next().is_none());
        // D3: a review that is stored twice keeps its id, so only the work shows it.
        let stored = run.state.table("ReviewStorage").count() as u64;
        let stores = run
            .executions
            .get("ReviewStorage.StoreReview")
            .copied()
            .unwrap_or_default();
        fired_twice += stores - stored;
    }
    assert!(fired_twice > 0, "two arrivals sometimes both see five");
}

#[test]
fn a_compose_is_as_many_executions_as_its_formulation_says() {
    for (variant, expected) in [(VARIANTS[0], 9), (VARIANTS[1], 16)] {
        let settings = small::settings(variant);
        let app = triptych_movie::app(&settings).expect("is known");
        let kinds: Vec<String> = app.kinds.iter().map(|kind| kind.name.to_owned()).collect();
        // Seeds differ in what becomes of the only request; most answer it.
        let counts = (0..20).filter_map(|seed| {
            let requests = composes(&small::requests(20, seed)).into_iter().take(1);
            let requests: Vec<Request> = requests.collect();
            let run = run(
                &app,
                &settings,
                kinds.clone(),
                small::loads(),
                &requests,
                seed,
                None,
            );
            let answered = run.ops[0].outcome == Outcome::Ok;
            answered.then(|| run.executions.values().sum::<u64>())
        });
        let counts: Vec<u64> = counts.collect();
        assert!(
            counts.len() > 10 && counts.iter().all(|count| *count == expected),
            "{counts:?}"
        );
    }
}

#[test]
fn the_join_fires_once_even_if_every_part_arrives_twice() {
    let settings = small::settings(VARIANTS[1]);
    let app = triptych_movie::app(&settings).expect("is known");
    let request = |op: &str, part: Option<(&str, Value)>| Request {
        kind: 0,
        function: "ComposeReview".to_owned(),
        op: op.to_owned(),
        input: Value::map([("reqId", Value::from("r"))].into_iter().chain(part)),
        session: 0,
    };
    let parts = [
        request("UploadUniqueId", Some(("reviewId", "id".into()))),
        request("UploadText", Some(("text", "words".into()))),
        request("UploadRating", Some(("rating", 7.into()))),
        request("UploadUserId", Some(("userId", "user0".into()))),
        request("UploadMovieId", Some(("movieId", "m1".into()))),
    ];
    for seed in 0..200 {
        let mut requests: Vec<Request> = parts.iter().chain(&parts).cloned().collect();
        requests.rotate_left(seed as usize % 10);
        let mut loads = small::loads();
        loads.push(request("UploadReq", None));
        let kinds = vec!["part".to_owned()];
        let run = run(&app, &settings, kinds, loads, &requests, seed, None);
        // The reference loses some requests on purpose; the join may lack a part.
        let row = run.state.get("ComposeReview", "r").expect("was opened");
        let complete = row.get("counter") == Some(&Value::Int(5));
        assert_eq!(row.get("fired").is_some(), complete);
        assert_eq!(
            run.state.table("ReviewStorage").count(),
            usize::from(complete)
        );
        let rating = run.state.get("Rating", "m1").and_then(|row| row.get("num"));
        assert_eq!(rating, complete.then_some(&Value::Int(1)));
    }
}
