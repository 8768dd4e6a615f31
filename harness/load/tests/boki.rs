//! BokiFlow under every full and contended profile of all apps, with faults, on the model of a log: it
//! keeps what it promises. And its seeded bugs, run as whole campaigns, are caught by the rule that is
//! meant for them.

mod common;

use common::boki;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use triptych_boki::Bug;
use triptych_faas::Deployment;
use triptych_load::campaign::{Campaign, FaultRates};
use triptych_load::pool::{self, Cancel};
use triptych_load::run::{Subject, Watch, run_subject};
use triptych_load::seeds::{Batch, all_profiles};

#[test]
fn it_keeps_its_promises_to_every_app() {
    for (app, count) in [("movie", 14), ("travel", 14), ("social", 14)] {
        let profiles = all_profiles("boki-model").into_iter();
        let batch = Batch {
            runtime: "boki-model".to_owned(),
            profiles: profiles.filter(|name| name.contains(app)).collect(),
            first: 1,
            count,
            rates: FaultRates {
                crash_rate: 0.1,
                duplicate_rate: 0.05,
                throttle_rate: 0.01,
                delay_rate: 0.01,
            },
        };
        let report = batch.run(pool::cores(), &Arc::new(Cancel::default()), |_| ());
        let report = report.expect("its names are known");
        let violated = report.rules.iter().filter(|rule| rule.violations > 0);
        let violated: BTreeSet<&str> = violated.map(|rule| rule.rule.as_str()).collect();
        assert_eq!(violated, BTreeSet::new(), "{app}");
        assert_eq!(report.done, count);
        assert!(report.faulted > 50, "{app}: {}", report.faulted);
    }
}

type Deploy = fn(triptych_registry::Site) -> Rc<dyn Deployment>;

/// The rules that are violated over some seeds.
fn caught(profile: &str, rate: u64, deploy: Deploy) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    let small = triptych_workloads::find(profile)
        .expect("it exists")
        .small();
    let small: String = small
        .iter()
        .map(|(key, value)| format!("{key} = {value:?}\n"))
        .collect();
    for seed in 1..=4 {
        let text = format!(
            "name = \"mutants\"\nruntimes = [\"boki\"]\nprofiles = [\"{profile}\"]\nrates = [{rate}]\n\
             duration = \"8s\"\nwarmup = \"0s\"\nseeds = {seed}\n[platform]\nshuffle = true\n\
             [faults]\ncrash_rate = 0.2\nduplicate_rate = 0.05\n[settings]\n{small}"
        );
        let campaign = Campaign::parse("mutants", &text).unwrap();
        let cell = &campaign.cells()[0];
        let mut subject = Subject::of(&campaign, cell).unwrap();
        subject.deploy = deploy;
        let output = run_subject(&campaign, cell, "", &Watch::default(), subject).unwrap();
        rules.extend(output.verdict.violated().into_iter().map(str::to_owned));
    }
    rules
}

#[test]
fn without_a_bug_everything_is_valid() {
    for (profile, rate) in [
        ("full-movie", 60),
        ("full-movie", 240),
        ("hot-travel-1", 20),
    ] {
        let sound = caught(profile, rate, |site| boki(site, None));
        assert_eq!(sound, BTreeSet::new(), "{profile} {rate}");
    }
}

/// A seeded bug is caught by the rule that is meant for it, at least.
fn assert_caught(profile: &str, rate: u64, meant: &str, deploy: Deploy) {
    let rules = caught(profile, rate, deploy);
    assert!(rules.contains(meant), "meant for {meant}: {rules:?}");
}

#[test]
fn steps_that_do_not_hold_date_a_review_and_its_entry_apart() {
    // Few replays read what others have changed meanwhile.
    let movie = |deploy| assert_caught("full-movie", 240, "M7", deploy);
    movie(|site| boki(site, Some(Bug::LastRecordWins)));
    movie(|site| boki(site, Some(Bug::SkipReadLog)));
    movie(|site| boki(site, Some(Bug::FreshNotLogged)));
}

#[test]
fn changes_that_are_lost_or_made_twice_are_lists_that_do_not_match() {
    let movie = |deploy| assert_caught("full-movie", 60, "M4", deploy);
    movie(|site| boki(site, Some(Bug::VersionLessThan)));
    movie(|site| boki(site, Some(Bug::NoPostRecovery)));
    movie(|site| boki(site, Some(Bug::AcceptLateDuplicate)));
}

#[test]
fn transactions_that_do_not_hold_show_in_their_histories_or_in_what_they_leave() {
    let ledger = |meant, deploy| assert_caught("hot-ledger", 20, meant, deploy);
    ledger("X2", |site| boki(site, Some(Bug::LocksOutsideSteps)));
    ledger("X2", |site| boki(site, Some(Bug::UnlockOnlyWritten)));
    ledger("L1", |site| boki(site, Some(Bug::NoReadLocks)));
    ledger("H-internal", |site| boki(site, Some(Bug::NoReadYourWrites)));
    ledger("H-G1a", |site| boki(site, Some(Bug::ApplyBeforeDecision)));
}
