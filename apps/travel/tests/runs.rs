//! The app on a runtime that is right by construction: no rule may complain, whatever the
//! interleaving. With a seeded bug in the app or in the runtime, the rule that is meant for it must.

mod common;

use common::small_run;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::OutcomeClass;
use triptych_api::{Coverage, Value};
use triptych_reference::Bug;
use triptych_travel::Defect;

const PROFILES: [&str; 6] = [
    "full-travel",
    "full-travel-saga",
    "full-travel-dates",
    "full-travel inside",
    "full-travel-dates inside",
    "compat-beldi-travel",
];

#[test]
fn no_rule_complains_of_a_right_runtime() {
    let mut coverage = Coverage::default();
    let mut outcomes: BTreeMap<(&str, OutcomeClass), u64> = BTreeMap::new();
    let mut examined: BTreeSet<String> = BTreeSet::new();
    for seed in 0..400 {
        let profile = PROFILES[(seed % 6) as usize];
        let (app, run) = small_run(profile, 120, seed, None, None);
        assert_eq!(run.complaints(&app), [""; 0], "{profile}, seed {seed}");
        let (reports, seen) = run.check(&app);
        coverage.add(&seen);
        let spoke = reports.into_iter().filter(|report| report.examined > 0);
        examined.extend(spoke.map(|report| report.rule));
        for op in run.ops.iter().filter(|op| op.kind == 3) {
            *outcomes.entry((profile, op.outcome.class())).or_default() += 1;
        }
    }
    // The histories are worth something: sold out, concurrency and sessions are in them.
    for profile in &PROFILES[..5] {
        let count = |class| outcomes.get(&(*profile, class)).copied().unwrap_or(0);
        let (ok, refused) = (count(OutcomeClass::Ok), count(OutcomeClass::Rejected));
        assert!(ok > 300 && refused > 60, "{profile}: {outcomes:?}");
    }
    let saw = |least: u64, found: u64| assert!(found > least, "{coverage:?}");
    saw(4_000, coverage.ok_effects);
    saw(1_000, coverage.overlapping);
    saw(1_000, coverage.session_pairs);
    saw(300, coverage.faulted_effects);
    let rules =
        "T-loaded T1 T10 T11 T2 T3 T4 T4-durable T5 T5-once T6 T7 T7-session T8 T9 T9-stays";
    assert_eq!(examined.into_iter().collect::<Vec<_>>().join(" "), rules);
}

/// The profile in which a defect can do harm.
fn profile_of(defect: Defect) -> &'static str {
    match defect {
        Defect::NoCompensation => "full-travel-saga",
        Defect::ForgetsLastNight | Defect::Overbooks => "full-travel-dates",
        _ => "full-travel",
    }
}

#[test]
fn every_defect_of_the_app_is_caught_by_the_rule_meant_for_it() {
    for (defect, rule) in Defect::ALL {
        let profile = profile_of(defect);
        let caught = (0..20).any(|seed| {
            let (app, run) = small_run(profile, 150, seed, Some(defect), None);
            run.violated(&app).iter().any(|violated| violated == rule)
        });
        assert!(caught, "{defect:?} is not caught by {rule}");
    }
}

#[test]
fn every_broken_promise_is_noticed() {
    for (bug, profile, rules) in [
        (Bug::DropSend, "full-travel", &["T4"][..]),
        (Bug::DropUpdate, "full-travel inside", &["T4", "T4-durable"]),
        (Bug::RepeatSend, "full-travel", &["T4"]),
        (Bug::RepeatSend, "compat-beldi-travel", &["T4"]),
        (Bug::DropWrite, "full-travel", &["T1", "T7"]),
        (Bug::StaleRead, "full-travel", &["T1", "T7", "T7-session"]),
        (Bug::IgnoreAbort, "full-travel", &["T3", "T6"]),
        (Bug::DropUpdate, "full-travel-saga", &["T1", "T5"]),
        (Bug::RepeatUpdate, "full-travel-saga", &["T1", "T5-once"]),
        (Bug::DropUpdate, "full-travel-dates", &["T9-stays"]),
        (
            Bug::RepeatUpdate,
            "full-travel-dates",
            &["T5-once", "T9-stays"],
        ),
    ] {
        let mut noticed = BTreeSet::new();
        for seed in 0..40 {
            let (app, run) = small_run(profile, 150, seed, None, Some(bug));
            noticed.extend(run.violated(&app));
        }
        let missing = rules.iter().find(|rule| !noticed.contains(**rule));
        assert_eq!(missing, None, "{bug:?}, {profile}: {noticed:?}");
    }
}

#[test]
fn requests_are_as_many_executions_as_their_price_says() {
    let (app, run) = small_run("full-travel", 400, 1, None, None);
    assert_eq!(run.complaints(&app), [""; 0]);
    let executed = |entry: &str| run.executions.get(entry).copied().unwrap_or(0);
    // Search 4, recommend 2, user 2; a reservation 5 before the runtime commits it at two of them.
    let searches = executed("Gateway.Search");
    for entry in ["Search.Nearby", "Geo.Nearby", "Rate.GetRates"] {
        assert_eq!(executed(entry), searches, "{entry}");
    }
    let recommended = executed("Gateway.Recommend");
    assert_eq!(executed("Recommendation.GetRecommendations"), recommended);
    assert_eq!(executed("User.CheckUser"), executed("Gateway.User"));
    assert_eq!(executed("Profile.GetProfiles"), 0);
    let reserved = executed("Gateway.Reserve");
    assert_eq!(executed("Frontend.SendRequest"), reserved);
    assert_eq!(executed("Hotel.Take"), reserved);
    assert!(
        executed("Flight.Take") < reserved,
        "some hotels are sold out"
    );
    assert!(executed("Order.Place") < executed("Flight.Take"));
    let orders = run.state.table("Order").count() as u64;
    assert_eq!(executed("Order.Place"), orders);
}

#[test]
fn the_published_port_keeps_its_defects() {
    let mut texts = BTreeSet::new();
    for seed in 0..20 {
        let (_, run) = small_run("compat-beldi-travel", 150, seed, None, None);
        for table in ["Hotel", "Flight"] {
            for (id, row) in run.state.table(table) {
                // D1: nothing is ever taken.
                assert_eq!(row.get("cap"), row.get("total"), "{table} {id}");
            }
        }
        for op in &run.ops {
            let text = op.observed.get("orderId").and_then(Value::as_str);
            texts.extend(text.map(str::to_owned));
        }
    }
    // D6: one answer for whatever went wrong (here, that the hotel is unknown).
    let texts: Vec<String> = texts.into_iter().collect();
    assert_eq!(texts, ["Place Order Fails", "Place Order Success"]);
}
