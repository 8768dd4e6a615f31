//! The causal checker against records of a small causal store: no false alarms on a right one, and
//! every seeded bug is found.

use std::collections::BTreeMap;
use triptych_oracle::causal::sample::{Bug, Shape, sample};
use triptych_oracle::causal::{Anomaly, check, check_within, picture};

/// Which anomalies are found over some seeds, and in how many of them.
fn found(shape: &Shape, seeds: u64, bug: Option<Bug>) -> BTreeMap<Anomaly, u64> {
    let mut found = BTreeMap::new();
    for seed in 0..seeds {
        let report = check(&sample(shape, seed, bug)).expect("is whole");
        for one in report.found {
            *found.entry(one.anomaly).or_default() += 1;
        }
    }
    found
}

#[test]
fn a_right_store_raises_no_alarm_and_everything_is_tried() {
    let mut tried: BTreeMap<Anomaly, u64> = BTreeMap::new();
    let (mut looks, mut conflicts) = (0, 0);
    for seed in 0..500 {
        let mut shape = Shape::small(60 + seed as u32 % 200);
        shape.replicas = 2 + seed as u32 % 4;
        shape.delivery = [0.05, 0.3, 0.9][seed as usize % 3];
        shape.transactions = seed % 5 != 0;
        let causes = sample(&shape, seed, None);
        let report = check(&causes).expect("is whole");
        assert!(report.found.is_empty(), "seed {seed}: {:#?}", report.found);
        for (anomaly, count) in report.seen.tried {
            *tried.entry(anomaly).or_default() += count;
        }
        looks += report.seen.looks;
        conflicts += report.seen.conflicts;
    }
    for anomaly in Anomaly::ALL {
        assert!(tried[&anomaly] > 500, "{anomaly}: {tried:?}");
    }
    assert!(looks > 20_000 && conflicts > 1_000, "{looks} {conflicts}");
}

#[test]
fn every_bug_is_found_as_what_it_is() {
    use Anomaly::*;
    let session = [
        ReadYourWrites,
        MonotonicReads,
        MonotonicWrites,
        WritesFollowReads,
        Causality,
    ];
    for bug in Bug::ALL {
        let mut shape = Shape::small(300);
        shape.delivery = if bug == Bug::Reorder { 0.6 } else { 0.1 };
        let found = found(&shape, 40, Some(bug));
        let meant: &[Anomaly] = match bug {
            Bug::DropDependency => &[MonotonicWrites, WritesFollowReads],
            Bug::Reorder => &[MonotonicWrites],
            Bug::StaleSession | Bug::ForgetBranch | Bug::ForgetCaller => {
                &[ReadYourWrites, MonotonicReads]
            }
            Bug::TornBatch => &[FracturedRead, FracturedLook],
            Bug::TornLook => &[TornLook, TornSnapshot],
            Bug::KeepAborted => &[AbortedRead],
            Bug::LostAtReplica => &[Diverged],
            Bug::LostEverywhere => &[Lost, ReadYourWrites],
        };
        for anomaly in meant {
            assert!(found.contains_key(anomaly), "{bug:?}: {found:?}");
        }
        // A torn batch is no matter of sessions.
        if bug == Bug::TornBatch {
            let order = session.iter().filter(|kind| found.contains_key(kind));
            assert_eq!(order.count(), 0, "{found:?}");
        }
    }
}

#[test]
fn witnesses_are_short_and_true_to_the_record() {
    let mut shape = Shape::small(300);
    shape.delivery = 0.1;
    for bug in Bug::ALL {
        for seed in 0..10 {
            let causes = sample(&shape, seed, Some(bug));
            for found in check(&causes).expect("is whole").found {
                let hops = &found.witness.hops;
                assert!(hops.len() <= 8, "{found:#?}");
                assert!(!found.witness.told.is_empty());
                let svg = picture(&causes, &found);
                assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
                assert_eq!(svg.matches("<circle").count(), hops.len());
            }
        }
    }
}

#[test]
fn a_store_that_is_stale_for_ever_is_judged_within_a_horizon() {
    let mut shape = Shape::small(4_000);
    shape.delivery = 0.0;
    let right = sample(&shape, 1, None);
    let whole = check_within(&right, u64::MAX).expect("is whole");
    let bounded = check_within(&right, 5).expect("is whole");
    assert_eq!((whole.horizon, &whole.found), (None, &Vec::new()));
    assert!(bounded.horizon.is_some() && bounded.found.is_empty());
    let wrong = sample(&shape, 1, Some(Bug::StaleSession));
    let whole = check_within(&wrong, u64::MAX).expect("is whole");
    let bounded = check_within(&wrong, 5).expect("is whole");
    let count = |report: &triptych_oracle::causal::Report| {
        report
            .of(Anomaly::ReadYourWrites)
            .map_or(0, |found| found.count)
    };
    assert!(count(&bounded) > 0 && count(&bounded) <= count(&whole));
}
