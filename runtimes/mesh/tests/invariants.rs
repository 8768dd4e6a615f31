//! The invariants of the specification's §10 over random histories, on rings of one to five real
//! servers: with the right protocol none is ever broken, and each seeded defect breaks one.

#[allow(dead_code, unreachable_pub)]
mod ring_world;

use ring_world::random::{Case, Happened, run};
use std::collections::BTreeMap;
use triptych_mesh::Bug;

/// How many cases; more by the environment variable `TRIPTYCH_CASES`.
fn cases() -> u64 {
    let asked = std::env::var("TRIPTYCH_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(500)
}

#[test]
fn random_histories_break_no_invariant() {
    let mut all = Happened::default();
    for seed in 0..cases() {
        match run(Case::of(seed, None)) {
            Ok(happened) => all.add(&happened),
            Err(broken) => panic!("seed {seed}: {broken:?}"),
        }
    }
    println!("{all:?}");
    // Without these the cases would say little.
    for (what, many) in [
        ("batches", all.batches),
        ("snapshots", all.snapshots - all.too_old),
        ("snapshots that are too old", all.too_old),
        ("requests asked again", all.again),
        ("requests that are two versions", all.twins),
        ("forks", all.forks),
        ("joins", all.joins),
        ("evictions", all.evictions),
        ("loads", all.loads),
        ("folds", all.folds),
    ] {
        assert!(many > 0, "no {what}");
    }
}

#[test]
fn every_defect_is_found() {
    for bug in Bug::ALL {
        let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
        let mut first = None;
        for seed in 0..cases().min(100) {
            if let Err(broken) = run(Case::of(seed, Some(bug))) {
                *rules.entry(broken.rule).or_default() += 1;
                first = first.or(Some((seed, broken)));
            }
        }
        println!("{bug:?}: {rules:?}, first {first:?}");
        assert!(first.is_some(), "{bug:?} is not found");
    }
}

#[test]
fn a_case_is_the_same_each_time() {
    for seed in 0..10 {
        let case = Case::of(seed, Some(Bug::OneRound));
        let two = [(); 2].map(|()| run(case).map(|happened| format!("{happened:?}")));
        assert_eq!(two[0], two[1]);
    }
}
