//! Every full and contended profile of the travel app and the social network under faults: Beldi
//! keeps what it promises, the serial reference violates nothing at all, and the baseline shows what
//! the promises are worth.

use std::collections::BTreeSet;
use std::sync::Arc;
use triptych_api::Guarantee;
use triptych_load::campaign::FaultRates;
use triptych_load::pool::{self, Cancel};
use triptych_load::seeds::{Batch, BatchReport, all_profiles};

fn batch(runtime: &str, app: &str, count: u64) -> BatchReport {
    let profiles = all_profiles(runtime);
    let profiles = profiles.into_iter().filter(|name| name.contains(app));
    run(runtime, profiles.collect(), count)
}

fn run(runtime: &str, profiles: Vec<String>, count: u64) -> BatchReport {
    let batch = Batch {
        runtime: runtime.to_owned(),
        profiles,
        first: 1,
        count,
        rates: FaultRates {
            crash_rate: 0.1,
            duplicate_rate: 0.05,
            throttle_rate: 0.01,
            delay_rate: 0.01,
        },
    };
    let cancel = Arc::new(Cancel::default());
    let report = batch.run(pool::cores(), &cancel, |_| ());
    report.expect("its names are known")
}

fn violated(report: &BatchReport) -> BTreeSet<(Guarantee, String)> {
    let rules = report.rules.iter().filter(|rule| rule.violations > 0);
    rules
        .map(|rule| (rule.guarantee, rule.rule.clone()))
        .collect()
}

#[test]
fn beldi_keeps_its_promises_to_every_app() {
    for app in ["travel", "social"] {
        let report = batch("beldi", app, 21);
        assert_eq!(violated(&report), BTreeSet::new(), "{app}");
        assert_eq!(report.done, 21);
        assert!(report.faulted > 100, "{app}: {}", report.faulted);
    }
}

#[test]
fn the_serial_reference_gives_no_false_alarm() {
    for app in ["travel", "social"] {
        let report = batch("serial", app, 60);
        assert_eq!(violated(&report), BTreeSet::new(), "{app}");
    }
}

#[test]
fn what_is_for_causal_caches_gives_no_false_alarm_either() {
    let profiles = [
        "micro-causal",
        "micro-causal-length-4",
        "micro-visibility",
        "full-movie-causal",
        "compat-causalmesh-movie",
    ];
    for (runtime, count) in [("serial", 40), ("beldi", 15)] {
        let profiles = profiles.map(str::to_owned).to_vec();
        let report = run(runtime, profiles, count);
        assert_eq!(violated(&report), BTreeSet::new(), "{runtime}");
        assert_eq!(report.done, count);
    }
}

#[test]
fn the_baseline_shows_what_promises_are_worth() {
    for (app, rules) in [("travel", ["T1", "T3"]), ("social", ["S3", "S4"])] {
        let report = batch("baseline", app, 60);
        let violated: BTreeSet<String> = violated(&report).into_iter().map(|rule| rule.1).collect();
        for rule in rules {
            assert!(violated.contains(rule), "{rule} of {app}: {violated:?}");
        }
    }
}
