//! Clusters under faults keep what they promise: trials of random clusters, judged by what their
//! clients saw.

mod mesh_world;

use mesh_world::trial::{self, Outcome, Wish};

fn complain(outcome: &Outcome) {
    assert!(
        outcome.wrong.is_empty(),
        "seed {} ({:?}, {} servers): {:#?}",
        outcome.seed,
        outcome.level,
        outcome.servers,
        &outcome.wrong[..outcome.wrong.len().min(5)]
    );
}

#[test]
fn without_faults_all_is_well() {
    for seed in 0..6 {
        let wish = Wish {
            calm: true,
            ..Wish::default()
        };
        let outcome = trial::run_as(seed, wish);
        complain(&outcome);
        assert_eq!(outcome.counts.lost + outcome.counts.unavailable, 0);
    }
}

#[test]
fn clusters_under_faults_keep_what_they_promise() {
    for seed in 0..24 {
        complain(&trial::run(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (first, second) = (trial::run(3), trial::run(3));
    assert_eq!(first.digest, second.digest);
    assert_eq!(first.counts, second.counts);
}

/// Many trials: `MESH_SEEDS=10000 MESH_FROM=0 cargo test -p triptych-mesh --test faults -- --ignored
/// many --nocapture`.
#[test]
#[ignore = "takes as long as it is asked to"]
fn many() {
    let number = |name: &str, default: u64| {
        let said = std::env::var(name).ok().and_then(|text| text.parse().ok());
        said.unwrap_or(default)
    };
    let (from, many) = (number("MESH_FROM", 0), number("MESH_SEEDS", 200));
    let (mut bad, mut ruined, mut epochs) = (0, 0, 0);
    let mut counts = mesh_world::client::Counts::default();
    for seed in from..from + many {
        let outcome = trial::run(seed);
        ruined += u64::from(outcome.ruined);
        epochs += outcome.epochs;
        counts.looks += outcome.counts.looks;
        counts.acknowledged += outcome.counts.acknowledged;
        counts.unknown += outcome.counts.unknown;
        counts.unavailable += outcome.counts.unavailable;
        counts.lost += outcome.counts.lost;
        counts.snapshots += outcome.counts.snapshots;
        if !outcome.wrong.is_empty() {
            bad += 1;
            let words: Vec<String> = outcome
                .wrong
                .iter()
                .take(2)
                .map(|w| w.chars().take(1500).collect())
                .collect();
            println!(
                "seed {seed} {:?} {}: {words:#?}",
                outcome.level, outcome.servers
            );
        }
    }
    println!("{many} trials, {bad} bad, {ruined} ruined, {epochs} epochs, {counts:?}");
    assert_eq!(bad, 0);
}
