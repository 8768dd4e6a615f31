//! The app on a runtime that is right by construction: no rule may complain, whatever the
//! interleaving. And on runtimes that break one promise, and with bugs of its own: some rule must.

#[path = "common/small.rs"]
mod small;

use small::{requests, run_of, small_run};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::Outcome;
use triptych_api::{Coverage, Error, Value};
use triptych_reference::Bug;
use triptych_social::Defect;

const ASYNC: &[(&str, &str)] = &[("chunk", "2")];
const SYNC: &[(&str, &str)] = &[("formulation", "sync"), ("chunk", "3")];
const TXN: &[(&str, &str)] = &[("formulation", "txn"), ("chunk", "2")];
const BOUNDED: &[(&str, &str)] = &[("keep", "7")];
const DSB: &[(&str, &str)] = &[("formulation", "sync"), ("compat", "dsb")];
const BELDI: &[(&str, &str)] = &[("compat", "beldi")];
const CAUSAL: &[(&str, &str)] = &[("formulation", "causal"), ("chunk", "3"), ("keep", "7")];
const CAUSAL_ALL: &[(&str, &str)] = &[("formulation", "causal"), ("chunk", "3")];
const VARIANTS: [&[(&str, &str)]; 7] = [ASYNC, SYNC, TXN, BOUNDED, DSB, BELDI, CAUSAL];

#[test]
fn no_rule_complains_of_a_right_runtime() {
    let mut coverage = Coverage::default();
    let mut examined = BTreeSet::new();
    for seed in 0..210 {
        let variant = VARIANTS[(seed % 7) as usize];
        let (app, run) = small_run(variant, 60, seed, None);
        assert_eq!(run.complaints(&app), [""; 0], "{variant:?}, seed {seed}");
        let (reports, seen) = run.check(&app);
        coverage.add(&seen);
        let spoke = reports.into_iter().filter(|report| report.examined > 0);
        examined.extend(spoke.map(|report| report.rule));
    }
    // The histories are worth something: every rule spoke, and there was concurrency.
    let all = "S1 S1-durable S2 S3 S4 S5 S6 S7 S7-sides S8 S9 S9-parents S10 S10-own S11 S12";
    assert_eq!(examined, all.split(' ').map(str::to_owned).collect());
    assert!(coverage.ok_effects > 4_000, "{coverage:?}");
    assert!(
        coverage.overlapping > 1_000 && coverage.session_pairs > 200 && coverage.conflicts > 100,
        "{coverage:?}"
    );
    assert!(coverage.faulted > coverage.faulted_effects && coverage.faulted_effects > 300);
}

#[test]
fn every_broken_promise_is_noticed() {
    for (bug, variant) in [
        (Bug::DropSend, ASYNC),
        (Bug::RepeatSend, ASYNC),
        (Bug::DropUpdate, ASYNC),
        (Bug::RepeatUpdate, SYNC),
        (Bug::DropWrite, TXN),
        (Bug::StaleRead, SYNC),
        (Bug::ReusedId, ASYNC),
        (Bug::DropUpdate, CAUSAL),
        (Bug::RepeatUpdate, CAUSAL),
        (Bug::DropWrite, CAUSAL),
        (Bug::StaleRead, CAUSAL),
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

/// The rules that complain of a bug of the app, over some seeds.
fn caught(variant: &[(&str, &str)], defect: Option<Defect>) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for seed in 0..30 {
        let (app, run) = run_of(variant, &requests(60, seed), seed, None, defect);
        rules.extend(run.violated(&app));
    }
    rules
}

#[test]
fn every_bug_of_the_app_is_caught_by_the_rule_that_is_meant_for_it() {
    for (defect, variant, meant) in [
        (Defect::SkipFollower, ASYNC, "S4"),
        (Defect::ExposeFirst, SYNC, "S8"),
        (Defect::FanOutTwice, ASYNC, "S4"),
        (Defect::DropHandOff, ASYNC, "S3"),
        (Defect::OneSidedFollow, ASYNC, "S7"),
        (Defect::ReuseShortCode, ASYNC, "S2"),
        (Defect::ReplyFirst, SYNC, "S8"),
        (Defect::LateInThread, SYNC, "S9"),
        (Defect::TellStranger, ASYNC, "S4"),
        (Defect::StaleRead, SYNC, "S10"),
        (Defect::StaleFollowers, ASYNC, "S11"),
        (Defect::SkipFollower, CAUSAL, "S4"),
        (Defect::ExposeFirst, CAUSAL, "S8"),
        (Defect::DropHandOff, CAUSAL, "S3"),
        (Defect::OneSidedFollow, CAUSAL, "S7"),
        (Defect::ReplyFirst, CAUSAL, "S8"),
        (Defect::LateInThread, CAUSAL, "S9"),
        (Defect::StaleRead, CAUSAL, "S10"),
    ] {
        let rules = caught(variant, Some(defect));
        println!("{defect:?}: {rules:?}");
        assert!(
            rules.contains(meant),
            "{defect:?} is meant for {meant}, and caught by {rules:?}"
        );
    }
}

/// The state without what time it was.
fn timeless(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let fields = map.iter().map(|(name, value)| {
                let is_time = &**name == "timestamp" || name.starts_with('u');
                let is_time = is_time && matches!(value, Value::Int(_));
                (
                    name,
                    if is_time {
                        Value::Int(1)
                    } else {
                        timeless(value)
                    },
                )
            });
            Value::map(fields)
        }
        Value::List(list) => Value::list(list.iter().map(timeless)),
        other => other.clone(),
    }
}

#[test]
fn formulations_agree_on_what_is_left_and_answered() {
    for seed in 0..5 {
        let mut all = Vec::new();
        for variant in [ASYNC, SYNC, TXN, CAUSAL_ALL] {
            let app = triptych_social::app(&small::settings(variant)).expect("is known");
            let requests = small::loads().into_iter().chain(requests(80, seed));
            let (answers, state) = triptych_reference::run_serially(&app, requests.collect());
            let refused = answers.iter().filter(|answer| answer.is_err()).count();
            assert!((1..40).contains(&refused), "{refused} of 80 refused");
            let answers = answers
                .into_iter()
                .map(|answer| answer.map(|ok| timeless(&ok)));
            let tables = state.tables.into_iter().map(|(table, rows)| {
                let rows = rows.into_iter().map(|(key, row)| (key, timeless(&row)));
                (table, rows.collect::<BTreeMap<_, _>>())
            });
            all.push((
                answers.collect::<Vec<_>>(),
                tables.collect::<BTreeMap<_, _>>(),
            ));
        }
        assert_eq!(all[0], all[1], "async and sync, seed {seed}");
        assert_eq!(all[0], all[2], "async and txn, seed {seed}");
        assert_eq!(all[0], all[3], "async and causal, seed {seed}");
    }
}

#[test]
fn a_request_is_as_many_instances_as_the_app_says() {
    let instances = |variant: &[(&str, &str)], op: &str, fields: &[(&str, Value)]| {
        let settings = small::settings(variant);
        let app = triptych_social::app(&settings).expect("is known");
        let request = small::request(0, "Frontend", op, 0, fields);
        // Seeds differ in what becomes of the only request; most answer it.
        let runs = (0..20).filter_map(|seed| {
            let (kinds, request) = (vec!["compose".to_owned()], [request.clone()]);
            let run = triptych_reference::run(
                &app,
                &settings,
                kinds,
                small::loads(),
                &request,
                seed,
                None,
            );
            let answered = run.ops[0].outcome == Outcome::Ok;
            answered.then(|| run.executions.values().sum::<u64>())
        });
        let runs: BTreeSet<u64> = runs.collect();
        assert_eq!(runs.len(), 1, "{variant:?} {op}: {runs:?}");
        runs.first().copied().unwrap_or_default()
    };
    let none = || Value::list([]);
    let post = [
        ("reqId", "r0".into()),
        ("userId", "0".into()),
        ("username", "username_0".into()),
        ("text", "hi @username_4 http://x".into()),
        ("mediaIds", none()),
        ("mediaTypes", none()),
    ];
    // Five followers, one of them mentioned too: 12 instances and a chunk per two readers.
    assert_eq!(instances(ASYNC, "Compose", &post), 12 + 3);
    assert_eq!(instances(TXN, "Compose", &post), 12 + 3);
    assert_eq!(instances(SYNC, "Compose", &post), 12 + 2);
    assert_eq!(instances(DSB, "Compose", &post), 12);
    assert_eq!(instances(BELDI, "Compose", &post), 12);
    let window = [
        ("userId", "3".into()),
        ("start", 0.into()),
        ("stop", 10.into()),
    ];
    assert_eq!(instances(ASYNC, "ReadHomeTimeline", &window), 3);
    assert_eq!(instances(TXN, "ReadUserTimeline", &window), 3);
    let edge = [("userId", "3".into()), ("followee", "4".into())];
    assert_eq!(instances(ASYNC, "Follow", &edge), 2);
}

#[test]
fn published_versions_keep_their_defects() {
    for (variant, author, end) in [
        (ASYNC, "username_0", " the end"),
        (DSB, "username_0", ""),
        (BELDI, "username0", " the end"),
    ] {
        let app = triptych_social::app(&small::settings(variant)).expect("is known");
        let post = [
            ("reqId", "r0".into()),
            ("userId", "0".into()),
            ("username", author.into()),
            ("text", "see http://x the end".into()),
            ("mediaIds", Value::list([])),
            ("mediaTypes", Value::list([])),
        ];
        let post = small::request(0, "Frontend", "Compose", 0, &post);
        let requests = small::loads().into_iter().chain([post]).collect();
        let (answers, _) = triptych_reference::run_serially(&app, requests);
        let answer = answers
            .last()
            .cloned()
            .expect("was asked")
            .expect("is answered");
        let text = answer
            .get("text")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let short = text
            .strip_prefix("see http://short-url/")
            .expect("is shortened");
        assert_eq!(&short[10..], end, "{variant:?}");
    }
    // Elsewhere nobody posts in a name that is not registered.
    let app = triptych_social::app(&BTreeMap::new()).expect("is known");
    let post = [
        ("userId", "0".into()),
        ("username", "username0".into()),
        ("text", "".into()),
        ("mediaIds", Value::list([])),
        ("mediaTypes", Value::list([])),
    ];
    let post = small::request(0, "Frontend", "Compose", 0, &post);
    let (answers, state) = triptych_reference::run_serially(&app, vec![post]);
    assert_eq!(answers, [Err(Error::rejected("unknown user: username0"))]);
    assert_eq!(state.table("Post").count(), 0);
}
