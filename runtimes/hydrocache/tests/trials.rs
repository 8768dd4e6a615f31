//! Random workflows on HydroCache, judged by what they have seen; and seeded defects.

#[path = "../../refreshed/tests/common/mod.rs"]
mod common;

use common::{Report, Shape, trial, trials};
use triptych_hydrocache::{Bug, ClientBug, Config, Hydro, Kind};
use triptych_refreshed::cluster::lan;

const KINDS: [Kind; 2] = [Kind::Conservative, Kind::Optimistic];

fn run(
    seeds: std::ops::Range<u64>,
    kind: Kind,
    bug: Option<Bug>,
    client: Option<ClientBug>,
) -> Report {
    let config = Config {
        bug,
        ..Config::default()
    };
    trials(seeds, Shape::default(), move |site| {
        Hydro::start(site, lan(), kind, 3, config, client)
    })
}

#[test]
fn snapshots_sessions_and_writes_hold() {
    for kind in KINDS {
        let report = run(1..21, kind, None, None);
        println!("{kind:?} {report:?}");
        assert!(report.wrong.is_empty(), "{kind:?} {:?}", report.told);
        assert!(report.attempts > 2_000 && report.reads > 5_000);
        // Only the optimistic ones are aborted often.
        let rare = report.aborts * 100 < report.attempts;
        assert_eq!(
            rare,
            kind == Kind::Conservative,
            "{kind:?}: {}",
            report.aborts
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for kind in KINDS {
        let run = || {
            trial(5, Shape::default(), move |site| {
                Hydro::start(site, lan(), kind, 3, Config::default(), None)
            })
        };
        assert_eq!(run(), run());
    }
}

/// How often a seeded defect breaks something that is promised.
fn broken(kind: Kind, bug: Option<Bug>, client: Option<ClientBug>) -> u64 {
    let report = run(1..11, kind, bug, client);
    println!("{kind:?} {bug:?} {client:?}: {:?}", report.wrong);
    report.count(&Report::CAUSAL)
}

#[test]
fn seeded_defects_are_seen() {
    use Kind::{Conservative, Optimistic};
    // An optimistic read demands what belongs to it whatever the cut has, so it alone is not misled by
    // lines that were admitted alone.
    let mut unseen = Vec::new();
    for (kind, bug) in [
        (Conservative, Bug::AdmitsAlone),
        (Conservative, Bug::WritesAlone),
        (Optimistic, Bug::WritesAlone),
        (Conservative, Bug::WritesApart),
        (Optimistic, Bug::WritesApart),
        (Optimistic, Bug::DragsUnchecked),
        (Optimistic, Bug::ReadsStale),
        (Conservative, Bug::LooksAtOne),
    ] {
        if broken(kind, Some(bug), None) == 0 {
            unseen.push(format!("{kind:?} {bug:?}"));
        }
    }
    for (kind, bug) in [
        (Optimistic, ClientBug::JoinsUnchecked),
        (Optimistic, ClientBug::FloorIgnored),
        (Conservative, ClientBug::FloorIgnored),
    ] {
        if broken(kind, None, Some(bug)) == 0 {
            unseen.push(format!("{kind:?} {bug:?}"));
        }
    }
    assert_eq!(unseen, Vec::<String>::new());
}
