//! The search of crash points finds seeded bugs of Beldi, and what it finds is seen again alone.

use std::rc::Rc;
use std::sync::Arc;
use triptych_beldi::{Beldi, Bug, Config, DECLARES};
use triptych_faas::Deployment;
use triptych_load::explore::{Explorer, Options, StageReport, violated};
use triptych_load::pool;
use triptych_registry::{RuntimeEntry, Site};

fn deploy(site: Site, bug: Option<Bug>) -> Rc<dyn Deployment> {
    let Site {
        world,
        store,
        platform,
        app,
        retries,
        timing,
        ..
    } = site;
    let config = Config {
        bug,
        ..Config::paper(timing.collector_period, timing.timeout)
    };
    Rc::new(Beldi::new(world, store, platform, app, retries, config))
}

/// Puts a Beldi with a bug where searches look for runtimes.
fn register(name: &'static str, deploy: fn(Site) -> Rc<dyn Deployment>) {
    let entry = RuntimeEntry {
        name,
        about: "with a seeded bug",
        declares: DECLARES,
        workflows: false,
        deploy,
    };
    triptych_registry::add(entry).expect("a name of its own");
}

fn search(runtime: &str, app: &str, kind: &str, duplicate: bool) -> (Explorer, StageReport) {
    let options = Options {
        app: app.to_owned(),
        runtime: runtime.to_owned(),
        kinds: vec![kind.to_owned()],
        seed: 1,
        duplicate,
        ..Options::default()
    };
    let explorer = Explorer::new(options).unwrap();
    let report = explorer.search(kind, pool::cores(), &Arc::default(), &mut |_| {});
    (explorer, report.unwrap())
}

/// The first finding that has a fault shows the same again when it is run alone.
#[track_caller]
fn found(runtime: &str, app: &str, kind: &str, duplicate: bool) {
    let (explorer, report) = search(runtime, app, kind, duplicate);
    let first = report
        .findings
        .iter()
        .find(|finding| !finding.case.0.is_empty());
    let first = first.unwrap_or_else(|| panic!("{runtime} passes: {}", report.told()));
    let (output, _) = explorer.replay(kind, &first.case).unwrap();
    assert_eq!(violated(&output), first.violated, "{}", first.case);
    assert!(first.command.contains(&first.case.to_string()));
}

#[test]
fn a_repeated_execution_that_reads_anew() {
    register("skip-read-log", |site| deploy(site, Some(Bug::SkipReadLog)));
    found("skip-read-log", "movie", "compose", false);
}

#[test]
fn a_repeated_execution_under_a_new_id() {
    register("new-id", |site| deploy(site, Some(Bug::RestartUnderNewId)));
    found("new-id", "movie", "compose", false);
}

#[test]
fn a_late_duplicate_that_runs_as_if_it_were_new() {
    register("late", |site| deploy(site, Some(Bug::AcceptLateDuplicate)));
    found("late", "movie", "compose", true);
}

#[test]
fn without_a_bug_nothing_is_found_and_everything_is_struck() {
    register("sound", |site| deploy(site, None));
    let (_, report) = search("sound", "movie", "compose", true);
    assert_eq!(report.findings, []);
    let tally = report.tally();
    assert_eq!(tally.hit, tally.total, "{}", report.told());
    assert!(tally.total > 400);
    // The same requests also in the two ways in which they end.
    assert_eq!(report.classes.len(), 2);
}

/// Effects are not promised on a causal cache, so crashes may leave some twice, or a part of them. What
/// anybody sees is in order all the same, and what was acknowledged is there.
#[test]
fn crashes_on_a_causal_cache_break_no_order_and_lose_nothing() {
    let options = Options {
        app: "movie".to_owned(),
        runtime: "causalmesh".to_owned(),
        profile: Some("full-movie-causal".to_owned()),
        kinds: vec!["compose".to_owned()],
        seed: 1,
        ..Options::default()
    };
    let explorer = Explorer::new(options).unwrap();
    let report = explorer.search("compose", pool::cores(), &Arc::default(), &mut |_| {});
    let report = report.unwrap();
    let tally = report.tally();
    assert!(tally.total > 50, "{}", report.told());
    assert_eq!(tally.hit, tally.total, "{}", report.told());
    let findings = report.findings.iter();
    let broken = findings.filter(|finding| {
        let mut violated = finding.violated.iter();
        violated.any(|one| explorer.breaks(one))
    });
    let broken: Vec<String> = broken.map(|one| one.case.to_string()).collect();
    assert_eq!(broken, Vec::<String>::new(), "{}", report.told());
}
