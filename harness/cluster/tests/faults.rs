//! Clusters under faults, by the seed. Many more are tried by `triptych cluster check`.

use triptych_cluster::trial::Trial;

/// How many seeds are tried here.
const SEEDS: u64 = 40;

#[test]
fn clusters_keep_their_promises_under_faults() {
    let first = std::env::var("TRIAL").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..SEEDS, |seed| seed..seed + 1);
    for seed in seeds {
        let outcome = Trial::new(seed).run();
        if first.is_some() {
            eprintln!("{:?}", outcome.counts);
        }
        assert!(
            outcome.violations.is_empty(),
            "seed {seed} (TRIAL={seed} tries it alone): {}",
            outcome.violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        );
    }
}

#[test]
fn without_faults_nothing_is_wrong_and_nothing_is_unknown() {
    for seed in 0..5 {
        let trial = Trial { faults: false, ..Trial::new(seed) };
        let outcome = trial.run();
        assert_eq!(outcome.violations, [], "seed {seed}");
        let count = |name| outcome.counts.iter().find(|(of, _)| *of == name).map(|(_, n)| *n);
        assert_eq!(count("appends unknown"), Some(0), "seed {seed}: {:?}", outcome.counts);
        assert!(count("appends acknowledged") > Some(50), "seed {seed}: {:?}", outcome.counts);
    }
}
