//! Random workflows on FaaSTCC, judged by what they have seen; and seeded defects.

#[path = "../../refreshed/tests/common/mod.rs"]
mod common;

use common::{Report, Shape, trial, trials};
use triptych_faastcc::{Bug, Config, FaasTcc};
use triptych_refreshed::cluster::lan;

fn run(seeds: std::ops::Range<u64>, config: Config) -> Report {
    trials(seeds, Shape::default(), move |site| {
        FaasTcc::start(site, lan(), 3, config)
    })
}

#[test]
fn snapshots_sessions_and_writes_hold() {
    let report = run(1..21, Config::default());
    println!("{report:?}");
    assert!(report.wrong.is_empty(), "{:?}", report.told);
    assert!(report.attempts > 2_000 && report.reads > 5_000);
}

#[test]
fn what_is_not_kept_is_aborted_and_not_made_up() {
    let config = Config {
        versions: 1,
        ..Config::default()
    };
    let report = run(1..6, config);
    assert!(report.wrong.is_empty(), "{:?}", report.told);
    let kept = run(1..6, Config::default());
    assert!(
        report.aborts > kept.aborts,
        "{} {}",
        report.aborts,
        kept.aborts
    );
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let run = || {
        trial(5, Shape::default(), |site| {
            FaasTcc::start(site, lan(), 3, Config::default())
        })
    };
    assert_eq!(run(), run());
}

#[test]
fn seeded_defects_are_seen() {
    for bug in [
        Bug::NeverNarrows,
        Bug::JoinsUnchecked,
        Bug::SessionIgnored,
        Bug::PromisesTooMuch,
        Bug::CommitsApart,
    ] {
        let config = Config {
            bug: Some(bug),
            ..Config::default()
        };
        let report = run(1..11, config);
        println!("{bug:?}: {:?}", report.wrong);
        assert!(report.count(&Report::CAUSAL) > 0, "{bug:?}");
    }
}
