//! Searching crash points, replaying what was found, and tracing one request.

mod common;

use common::{Place, SMALL};
use serde_json::Value as Json;

fn place() -> Place {
    Place::new(SMALL)
}

#[test]
fn names_that_do_not_exist_are_answered_with_those_that_do() {
    let place = place();
    let mistake = |args: &[&str], told: &[&str]| {
        let args: Vec<&str> = std::iter::once("explore")
            .chain(args.iter().copied())
            .collect();
        place.triptych(&args).exits(2).tells(told);
    };
    mistake(
        &["--app", "films", "--runtime", "beldi"],
        &["films", "movie"],
    );
    mistake(
        &["--app", "movie", "--runtime", "bledi"],
        &["bledi", "baseline", "beldi-direct"],
    );
    let movie = ["--app", "movie", "--runtime", "beldi"];
    let with = |more: &[&'static str]| [&movie[..], more].concat();
    mistake(
        &with(&["--kind", "buy"]),
        &["buy", "compose", "login", "background", "all"],
    );
    mistake(
        &with(&["--profile", "hot-ledger"]),
        &["hot-ledger", "full-movie", "compat-beldi-movie"],
    );
    mistake(
        &with(&["--kind", "login", "--case", "before"]),
        &["KIND@POINT#N", "reply-lost"],
    );
    mistake(&with(&["--case", "before@x#0"]), &["--kind"]);
}

#[test]
fn beldi_is_searched_whole_and_twice_the_same() {
    let place = place();
    let search = || {
        let args = [
            "explore",
            "--app",
            "movie",
            "--runtime",
            "beldi",
            "--kind",
            "login",
        ];
        let done = place.triptych(&[&args[..], &["--twice", "--duplicate", "--pairs"]].concat());
        done.exits(0)
            .prints(&["no rule was violated", "beldi.intent.put", "beldi.log.get"]);
        done.out
    };
    let found = search();
    assert_eq!(found, search());
    // Every effect of a run without faults is struck in every way.
    let columns = |line: &str| -> Vec<String> {
        let cells = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    let lines = found.lines().map(columns);
    let points: Vec<Vec<String>> = lines
        .filter(|cells| {
            cells[..]
                .first()
                .is_some_and(|cell| cell.starts_with("beldi."))
        })
        .filter(|cells| !cells[0].contains("now and then"))
        .collect();
    assert!(points.len() >= 5, "{found}");
    for cells in points {
        for cell in &cells[1..6] {
            let (hit, total) = cell.split_once('/').unwrap();
            assert_eq!(hit, total, "{cells:?}");
        }
    }
}

#[test]
fn the_baseline_s_anomalies_are_found_and_seen_again() {
    let place = place();
    let args = [
        "explore",
        "--app",
        "movie",
        "--runtime",
        "baseline",
        "--kind",
        "compose",
    ];
    let done = place.triptych(&args);
    // Effects are not promised, so that this breaks nothing.
    done.exits(0)
        .prints(&["violated: ", "(effects)", "that are not promised"]);
    let again = done
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix("again: triptych "));
    let (args, case) = again.unwrap().split_once(" --case ").unwrap();
    let case = case.trim_matches('\'');
    let args: Vec<&str> = args.split(' ').chain(["--case", case]).collect();
    let rule = done
        .out
        .lines()
        .find(|line| line.contains("(effects)"))
        .unwrap()
        .trim();
    place
        .triptych(&args)
        .exits(0)
        .prints(&[rule, "1 faults struck", "crashe"]);
}

#[test]
fn the_collectors_are_searched_too() {
    let args = [
        "explore",
        "--app",
        "movie",
        "--runtime",
        "beldi-direct",
        "--kind",
        "background",
    ];
    place().triptych(&args).exits(0).prints(&[
        "no rule was violated",
        "beldi.collect.bump",
        "beldi.collect.enqueue",
        "beldi.gc.",
    ]);
}

#[test]
fn a_request_of_a_bundle_is_replayed_as_it_was() {
    let place = place();
    // Too few requests for a verdict.
    place
        .triptych(&["run", "mine.toml", "--out", "out"])
        .exits(3);
    let run = "out/runs/full-movie.beldi.r20.s1";
    let args = ["replay", run, "--request", "7", "--perfetto", "trace.json"];
    let done = place.triptych(&args);
    done.exits(0).prints(&[
        "request 7, ",
        "the same as recorded",
        "beldi.intent.put [update ",
        "100.0 %  in all",
    ]);
    let text = std::fs::read_to_string(place.path("trace.json")).unwrap();
    let trace: Json = serde_json::from_str(&text).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let slices: Vec<&Json> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert!(
        slices.len() > 5
            && slices
                .iter()
                .all(|slice| slice["dur"].as_f64() >= Some(0.0))
    );
    // Every arrow that begins ends.
    let arrows = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert!(arrows("s") > 0 && arrows("s") == arrows("f"));
    place
        .triptych(&["replay", run, "--request", "9999"])
        .exits(2)
        .tells(&["there is no request 9999"]);
    place
        .triptych(&["replay", "out", "--request", "1"])
        .exits(2)
        .tells(&["name one of its runs", "full-movie.beldi.r20.s1"]);
}

#[test]
fn a_request_of_a_seed_is_traced_without_a_bundle() {
    let args = [
        "replay",
        "--runtime",
        "baseline",
        "--seed",
        "3",
        "--request",
        "5",
    ];
    place()
        .triptych(&args)
        .exits(0)
        .prints(&["request 5, ", "baseline.", "in all"]);
    place()
        .triptych(&["replay", "--request", "5"])
        .exits(2)
        .tells(&["BUNDLE"]);
}

#[test]
fn many_profiles_are_checked_with_every_kind_of_fault() {
    let place = place();
    let args = "check --runtime beldi --profile full-movie --profile full-movie-choreo --seeds 24 \
                --duplicate-rate 0.05 --throttle-rate 0.02 --delay-rate 0.02 --json out.json";
    let args: Vec<&str> = args.split_whitespace().collect();
    let done = place.triptych(&args);
    done.exits(0).prints(&["throttles", "delays", "movie:"]);
    let text = std::fs::read_to_string(place.path("out.json")).unwrap();
    let json: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(json["seeds"], 24);
    let met = &json["apps"][0]["requests_that_met"];
    for kind in ["crashes", "duplicates", "throttles", "delays"] {
        assert!(met[kind].as_u64() > Some(10), "{kind}: {met}");
    }
    assert!(
        json["rules"]
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| rule["violations"] == 0)
    );
    place
        .triptych(&[
            "check",
            "--runtime",
            "beldi",
            "--profile",
            "none",
            "--seeds",
            "1",
        ])
        .exits(2)
        .tells(&["full-movie"]);
}
