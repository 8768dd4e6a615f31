//! Figures and report of synthetic campaigns.

#[path = "../../results/tests/fixture/mod.rs"]
mod fixture;

use fixture::{Plan, campaign, matrix};
use std::fs;
use std::path::Path;
use triptych_plots::{figures, report, write_all};
use triptych_results::Loaded;
use triptych_results::model::{Status, Transactions};

fn loaded(plans: &[Plan], left_out: &[usize]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let loaded = Loaded::campaign(&campaign(folder.path(), plans, left_out)).unwrap();
    // For a look at the pictures: TRIPTYCH_KEEP_FIGURES=folder cargo test -p triptych-plots
    if let Ok(keep) = std::env::var("TRIPTYCH_KEEP_FIGURES") {
        write_all(&loaded, &Path::new(&keep).join(plans.len().to_string())).unwrap();
    }
    loaded
}

/// Seven runtimes: more than fixed colours, names that do not fit beside each other.
fn crowd() -> Vec<Plan> {
    let names = [
        "baseline",
        "beldi",
        "boki",
        "causalmesh",
        "halfmoon-read-optimised",
        "other",
        "mine",
    ];
    let plan = |(position, runtime): (usize, &&'static str)| {
        [50.0, 150.0].map(|rate| Plan {
            runtime,
            rate,
            seconds: 4,
            base_ms: 40.0 + 15.0 * position as f64,
            status: [Status::Valid, Status::Invalid][usize::from(position == 5)],
            ..Plan::default()
        })
    };
    names.iter().enumerate().flat_map(plan).collect()
}

/// No reference to anything outside the file, in any attribute or style.
fn is_self_contained(html: &str) {
    for forbidden in [
        "src=", "href=", "url(", "@import", "<script", "<link", "<iframe",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    let outside = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http://") && !outside.contains("https://"));
}

#[test]
fn the_same_results_give_the_same_bytes() {
    let plan = Plan {
        seconds: 4,
        ..Plan::default()
    };
    let loaded = loaded(&[plan], &[]);
    let folder = tempfile::tempdir().unwrap();
    let first = write_all(&loaded, &folder.path().join("a")).unwrap();
    let second = write_all(&loaded, &folder.path().join("b")).unwrap();
    assert_eq!(first.len(), 1 + 2 * figures(&loaded).len());
    for (one, two) in first.iter().zip(&second) {
        assert!(
            fs::read(one).unwrap() == fs::read(two).unwrap(),
            "{}",
            one.display()
        );
    }
}

#[test]
fn every_figure_says_that_it_is_simulated_and_on_which_latencies() {
    let loaded = loaded(&matrix(), &[4, 20]);
    let figures = figures(&loaded);
    assert_eq!(
        figures.len(),
        5,
        "{:?}",
        figures.iter().map(|f| &f.name).collect::<Vec<_>>()
    );
    for figure in &figures {
        let svg = figure.svg().unwrap();
        for text in ["simulated", "aws-2025", "full-movie"] {
            assert!(svg.contains(text), "{} lacks {text}", figure.name);
        }
        assert!(svg.contains("viewBox=\"0 0 1800 1080\""), "{}", figure.name);
    }
    let html = report(&loaded, &figures).unwrap();
    is_self_contained(&html);
    assert!(html.len() < 2_000_000, "{}", html.len());
    assert!(html.contains("2 of 30 planned runs are missing"));
    for run in &loaded.missing {
        assert!(html.contains(&run.id), "{}", run.id);
    }
    // R1: the order of a report.
    let places: Vec<usize> = [
        "Verdicts",
        "Results",
        "Figures",
        "Work per request",
        "Method",
        "How to get",
    ]
    .iter()
    .map(|head| html.find(&format!("<h2>{head}")).unwrap())
    .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_broken_promise_stands_on_top_with_its_witness() {
    let loaded = loaded(&crowd(), &[]);
    let html = report(&loaded, &figures(&loaded)).unwrap();
    is_self_contained(&html);
    let alarm = html.find("Broken promise: other").unwrap();
    assert!(alarm < html.find("<h2>Results").unwrap());
    assert!(
        html.contains("3 reviews &lt;in its list&gt; but 2 were acknowledged"),
        "escaped"
    );
    assert!(html.contains("BROKEN M4"));
}

#[test]
fn an_empty_campaign_has_a_report_too() {
    let plans = [Plan::default()];
    let loaded = loaded(&plans, &[0]);
    assert!(figures(&loaded).is_empty());
    let html = report(&loaded, &[]).unwrap();
    assert!(html.contains("1 of 1 planned runs are missing"));
}

/// Runs that noted the length of their lists have a figure of it, others do not; with a request
/// that does nothing, there is a figure of single primitives.
#[test]
fn lengths_over_time_and_single_primitives_have_figures() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        seconds: 4,
        ..Plan::default()
    };
    let gauge = |n: u64| triptych_results::Gauge {
        at_ns: n * 1_000_000_000,
        amounts: [
            ("longest_list_linked".to_owned(), 1 + n),
            ("longest_list_physical".to_owned(), 2 + n),
        ]
        .into(),
    };
    let mut run = fixture::run(&plan);
    run.gauges = (0..4).map(gauge).collect();
    run.manifest.kinds[0] = "empty".to_owned();
    run.manifest.effectful.clear();
    let dir = triptych_results::RunBundle::write(folder.path(), &run.data()).unwrap();
    let bundle = triptych_results::RunBundle::open(&dir).unwrap();
    assert_eq!(bundle.gauges().unwrap(), run.gauges);
    let loaded = Loaded::bundle(&bundle).unwrap();
    assert_eq!(loaded.runs[0].medians.len(), 3);
    let drawn: Vec<_> = figures(&loaded);
    for (name, text) in [("growth", "minutes"), ("primitives", "99th percentile")] {
        let figure = drawn.iter().find(|figure| figure.name.starts_with(name));
        assert!(figure.unwrap().svg().unwrap().contains(text), "{name}");
    }
    // The file is part of the bundle: what nobody wrote is found.
    let report = triptych_results::verify(&dir, None).unwrap();
    assert!(report.is_ok(), "{report}");
    fs::write(dir.join("gauges.csv"), "at_ns,name,amount\n0,rows,1\n").unwrap();
    let report = triptych_results::verify(&dir, None).unwrap();
    assert!(!report.is_ok());
    assert!(report.to_string().contains("gauges.csv"));
}

/// Profiles that differ in a number at their end, with transactions, are levels of one figure; a
/// profile alone is none.
#[test]
fn levels_of_contention_have_a_figure() {
    let level = |profile, conflicts, runtime, status| Plan {
        profile,
        runtime,
        status,
        seconds: 4,
        transactions: Some(Transactions {
            begun: 100,
            attempts: 100 + conflicts,
            conflicts,
        }),
        ..Plan::default()
    };
    let both = |profile, conflicts| {
        [
            level(profile, conflicts, "beldi", Status::Valid),
            level(profile, 0, "baseline", Status::Invalid),
        ]
    };
    let plans = [both("hot-0.5", 25), both("hot-1", 12), both("hot-2", 9)].concat();
    let drawn = figures(&loaded(&plans, &[]));
    let figure = drawn.iter().find(|figure| figure.name == "contention-hot");
    let svg = figure.expect("is there").svg().unwrap();
    // 25 of 125 attempts are the most conflicts.
    for text in ["conflicts, %", "20", "0.5", "beldi", "invalid: a guarantee"] {
        assert!(svg.contains(text), "{text}");
    }
    let alone = figures(&loaded(&both("hot-1", 12), &[]));
    assert!(
        !alone
            .iter()
            .any(|figure| figure.name.starts_with("contention"))
    );
}

/// Points that somebody published stand in a figure of their own, where the latencies are those of
/// their platform.
#[test]
fn published_points_have_a_figure() {
    let folder = tempfile::tempdir().unwrap();
    let mut all: Option<Loaded> = None;
    for (latency, runtime, base_ms) in [
        ("ec2-2021", "beldi-direct", 100.0),
        ("ec2-2021", "beldi", 118.0),
        ("ec2-2021", "boki", 26.0),
        ("aws-2025", "boki", 20.0),
    ] {
        for rate in [100.0, 200.0, 400.0, 800.0] {
            let mut run = fixture::run(&Plan {
                runtime,
                profile: "compat-beldi-movie",
                rate,
                base_ms,
                seconds: 4,
                status: [Status::Valid, Status::Unknown][usize::from(rate == 800.0)],
                ..Plan::default()
            });
            run.manifest.latency_profile = latency.into();
            run.manifest.run_id.push_str(latency);
            let dir = triptych_results::RunBundle::write(folder.path(), &run.data()).unwrap();
            let bundle = triptych_results::RunBundle::open(&dir).unwrap();
            let one = Loaded::bundle(&bundle).unwrap();
            match &mut all {
                Some(all) => all.runs.extend(one.runs),
                None => all = Some(one),
            }
        }
    }
    let mut loaded = all.unwrap();
    if let Ok(keep) = std::env::var("TRIPTYCH_KEEP_FIGURES") {
        write_all(&loaded, &Path::new(&keep).join("published")).unwrap();
    }
    let drawn = figures(&loaded);
    let mut published = drawn
        .iter()
        .filter(|figure| figure.name.starts_with("published"));
    let figure = published.next().unwrap();
    assert_eq!(
        (&*figure.name, published.next()),
        ("published-compat-beldi-movie", None)
    );
    let svg = figure.svg().unwrap();
    for text in [
        "simulated; published points: Boki's artifact",
        "in-sample",
        "unknown",
        "99th percentile",
        "30 medians",
    ] {
        assert!(
            svg.contains(&text.replace('\'', "&apos;")) || svg.contains(text),
            "{text}"
        );
    }
    let out = folder.path().join("out");
    let files = write_all(&loaded, &out).unwrap();
    assert!(files.contains(&out.join("published.md")));
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    is_self_contained(&html);
    assert!(html.contains("<h2>Beside published numbers"));
    let markdown = fs::read_to_string(out.join("published.md")).unwrap();
    assert!(markdown.contains("| 100 | beldi-direct | "), "{markdown}");
    // Without runs on those latencies there is nothing of it.
    loaded
        .runs
        .retain(|run| run.manifest.latency_profile == "aws-2025");
    assert!(
        !figures(&loaded)
            .iter()
            .any(|figure| figure.name.starts_with("published"))
    );
    let out = folder.path().join("other");
    assert!(
        !write_all(&loaded, &out)
            .unwrap()
            .contains(&out.join("published.md"))
    );
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(!html.contains("Beside published numbers"));
}
