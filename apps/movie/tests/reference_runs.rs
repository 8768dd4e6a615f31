//! The app on a runtime that is right by construction: no rule may complain, whatever the
//! interleaving. And on runtimes that break one promise: some rule must.

#[path = "common/small.rs"]
mod small;

use small::small_run;
use triptych_api::model::Outcome;
use triptych_api::{Coverage, Value};
use triptych_reference::{Bug, Request, Run, run};

const VARIANTS: [&[(&str, &str)]; 10] = [
    &[],
    &[("formulation", "choreo")],
    &[("ack", "after-handoff")],
    &[("keep", "3")],
    &[("formulation", "choreo"), ("keep", "2")],
    &[("formulation", "choreo"), ("compat", "beldi")],
    &[("formulation", "causal")],
    &[("formulation", "causal"), ("keep", "3"), ("reviews", "20")],
    &[("formulation", "causal"), ("reviews", "20")],
    &[
        ("formulation", "causal"),
        ("compat", "causalmesh"),
        ("keep", "10"),
        ("reviews", "20"),
    ],
];
/// Those without the defects of a published version.
const FULL: [usize; 8] = [0, 1, 2, 3, 4, 6, 7, 8];

#[test]
fn no_rule_complains_of_a_right_runtime() {
    let mut coverage = Coverage::default();
    for seed in 0..800 {
        // The published port is only asked for composes: its lists may be ahead of its storage.
        let variant = VARIANTS[FULL[seed as usize % FULL.len()]];
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
        (Bug::DropUpdate, VARIANTS[6]),
        (Bug::RepeatUpdate, VARIANTS[6]),
        (Bug::DropWrite, VARIANTS[8]),
        (Bug::StaleRead, VARIANTS[6]),
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

#[test]
fn a_stage_that_does_not_see_the_parts_is_noticed() {
    let found = (0..40).any(|seed| {
        let (app, run) = small_run(VARIANTS[6], 60, seed, Some(Bug::StaleRead));
        run.violated(&app).iter().any(|rule| rule == "M13")
    });
    assert!(found);
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
fn the_application_of_causalmesh_keeps_its_defects() {
    let settings = small::settings(VARIANTS[9]);
    let app = triptych_movie::app(&settings).expect("is known");
    let kinds: Vec<String> = app.kinds.iter().map(|kind| kind.name.to_owned()).collect();
    let (mut overwritten, mut lost) = (0, 0);
    for seed in 0..60 {
        let mut loads = small::loads();
        loads.extend(small::old_reviews(20));
        // Names are ids there, and ids of reviews are those that exist.
        let requests = small::requests(24, seed).into_iter().enumerate();
        let requests: Vec<Request> = requests
            .filter(|(_, request)| [0, 2].contains(&request.kind))
            .map(|(n, mut request)| {
                if request.kind == 0 {
                    let fields = [
                        ("reqId", Value::from(format!("r{n}"))),
                        ("username", format!("user{}", n % 4).into()),
                        ("title", format!("m{}", n % 3).into()),
                        ("rating", 5.into()),
                        ("text", "eleven char".into()),
                        ("reviewId", format!("old{}", n % 20).into()),
                    ];
                    request.input = Value::map(fields);
                }
                request
            })
            .collect();
        let run = run(&app, &settings, kinds.clone(), loads, &requests, seed, None);
        assert_eq!(run.complaints(&app), [""; 0], "seed {seed}");
        let (reports, _) = run.check(&app);
        let examined = |rule: &str| {
            let report = reports.iter().find(|report| report.rule == rule);
            report.map_or(0, |report| report.examined)
        };
        assert!(examined("M5") > 0 && examined("M10") > 0 && examined("M12") == 0);
        assert!(
            ["M1", "M3", "M4", "M8"]
                .iter()
                .all(|rule| examined(rule) == 0)
        );
        // D16: nothing is ever added, so a review takes another one's place.
        assert_eq!(run.state.table("ReviewStorage").count(), 20);
        let composed = run.ops.iter().filter(|op| op.kind == 0);
        let composed = composed.filter(|op| op.outcome == Outcome::Ok).count();
        let kept = run.state.table("ReviewStorage");
        let kept = kept.filter(|(_, row)| row.get("reqId") != Some(&Value::from("")));
        overwritten += composed.saturating_sub(kept.count());
        let lengths = run.state.table("UserReview").map(|(_, row)| {
            row.get("reviews")
                .and_then(Value::as_list)
                .map_or(0, <[Value]>::len)
        });
        let lengths: Vec<usize> = lengths.collect();
        assert!(lengths.iter().all(|length| *length <= 10), "{lengths:?}");
        // Each list began with 3 or 4, and no compose here is of an unknown user.
        let appended = lengths.iter().sum::<usize>().saturating_sub(15);
        let full = lengths.contains(&10);
        lost += usize::from(!full && appended < composed);
        assert!(run.state.table("Rating").next().is_none());
    }
    assert!(overwritten > 0 && lost > 0, "{overwritten} {lost}");
}

#[test]
fn a_compose_is_as_many_executions_as_its_formulation_says() {
    for (variant, expected) in [(VARIANTS[0], 9), (VARIANTS[1], 16), (VARIANTS[6], 11)] {
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
