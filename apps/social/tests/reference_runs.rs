//! The app on a runtime that is right by construction: no rule may complain, whatever the
//! interleaving. And on runtimes that break one promise, and with bugs of its own: some rule must.

#[path = "../../movie/tests/reference/mod.rs"]
mod reference;
#[path = "common/small.rs"]
mod small;

use reference::Bug;
use small::{requests, run_of, small_run};
use std::collections::BTreeSet;
use triptych_api::Coverage;
use triptych_social::Defect;

const ASYNC: &[(&str, &str)] = &[("chunk", "2")];
const SYNC: &[(&str, &str)] = &[("formulation", "sync"), ("chunk", "3")];
const TXN: &[(&str, &str)] = &[("formulation", "txn"), ("chunk", "2")];
const BOUNDED: &[(&str, &str)] = &[("keep", "7")];
const DSB: &[(&str, &str)] = &[("formulation", "sync"), ("compat", "dsb")];
const BELDI: &[(&str, &str)] = &[("compat", "beldi")];
const VARIANTS: [&[(&str, &str)]; 6] = [ASYNC, SYNC, TXN, BOUNDED, DSB, BELDI];

#[test]
fn no_rule_complains_of_a_right_runtime() {
    let mut coverage = Coverage::default();
    let mut examined = BTreeSet::new();
    for seed in 0..300 {
        let variant = VARIANTS[(seed % 6) as usize];
        let (app, run) = small_run(variant, 60, seed, None);
        assert_eq!(run.complaints(&app), [""; 0], "{variant:?}, seed {seed}");
        let (reports, seen) = run.check(&app);
        coverage.add(&seen);
        let spoke = reports.into_iter().filter(|report| report.examined > 0);
        examined.extend(spoke.map(|report| report.rule));
    }
    // The histories are worth something: every rule spoke, and there was concurrency.
    let all = "S1 S1-durable S2 S3 S4 S5 S6 S7 S8 S9 S10 S10-own S11 S12";
    assert_eq!(examined, all.split(' ').map(str::to_owned).collect());
    assert!(coverage.ok_effects > 5_000, "{coverage:?}");
    assert!(
        coverage.overlapping > 1_000 && coverage.session_pairs > 400 && coverage.conflicts > 200,
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
    ] {
        let rules = caught(variant, Some(defect));
        println!("{defect:?}: {rules:?}");
        assert!(
            rules.contains(meant),
            "{defect:?} is meant for {meant}, and caught by {rules:?}"
        );
    }
}
