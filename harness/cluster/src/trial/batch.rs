//! Many trials, on all cores.

use super::{Trial, Violation};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What came of many trials.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many were done.
    pub trials: u64,
    /// How many of them hurt anything.
    pub hurt: u64,
    /// What was wrong, by seed.
    pub violations: BTreeMap<u64, Vec<Violation>>,
    /// What was done and suffered, over all.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Runs the trials of some seeds, `jobs` at a time. `tell` is called after each, and says whether to
/// go on.
pub fn run(
    seeds: Range<u64>,
    jobs: usize,
    trial: impl Fn(u64) -> Trial + Sync,
    tell: impl Fn(&Batch) -> bool + Sync,
) -> Batch {
    let next = AtomicU64::new(seeds.start);
    let batch = Mutex::new(Batch::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = trial(seed).run();
            let mut batch = batch.lock().unwrap_or_else(|held| held.into_inner());
            batch.trials += 1;
            batch.hurt += u64::from(outcome.hurt > 0);
            for (name, count) in outcome.counts {
                *batch.counts.entry(name).or_default() += count;
            }
            if !outcome.violations.is_empty() {
                batch.violations.insert(seed, outcome.violations);
            }
            if !tell(&batch) {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    batch.into_inner().unwrap_or_else(|held| held.into_inner())
}
