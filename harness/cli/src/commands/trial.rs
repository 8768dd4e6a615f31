//! `cluster check`: simulated clusters under faults, one after the other.

use crate::args::{TrialArgs, threads};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::progress::Counter;
use std::sync::Mutex;
use std::time::Instant;
use triptych_cluster::trial::Trial;
use triptych_cluster::trial::batch::{self, Batch};

/// How many seeds with violations are told.
const MOST: usize = 10;

/// Runs the trials and says what was wrong, with the command that shows it again.
pub(crate) fn run(args: &TrialArgs) -> Result<Exit, CliError> {
    let seeds = args.first_seed..args.first_seed.saturating_add(args.seeds);
    let cancel = interrupt::flag_that_says("what was tried so far is told");
    let begun = Instant::now();
    let counter = Mutex::new(Counter::new("seeds", args.seeds));
    let tell = |batch: &Batch| {
        let mut counter = counter.lock().unwrap_or_else(|held| held.into_inner());
        counter.at(batch.trials);
        !cancel.is_cancelled()
    };
    let batch = batch::run(seeds, threads(args.jobs), Trial::new, tell);
    counter
        .into_inner()
        .unwrap_or_else(|held| held.into_inner())
        .end();
    show(&batch, begun.elapsed().as_secs_f64());
    Ok(if !batch.violations.is_empty() {
        Exit::Broken
    } else if cancel.is_cancelled() || batch.hurt == 0 {
        Exit::Unknown
    } else {
        Exit::Kept
    })
}

fn show(batch: &Batch, seconds: f64) {
    println!(
        "{} simulated clusters, {} of them hurt, in {seconds:.0} s\n",
        batch.trials, batch.hurt
    );
    for (name, count) in &batch.counts {
        println!("  {name:30} {:>12}", count);
    }
    println!();
    for (seed, violations) in batch.violations.iter().take(MOST) {
        println!("seed {seed} (triptych cluster check --first-seed {seed} --seeds 1):");
        for violation in violations {
            println!("  {violation}");
        }
    }
    match (batch.violations.len(), batch.hurt) {
        (0, 0) => println!("unknown: nothing was hurt"),
        (0, _) => println!("valid: no violation was found at this coverage"),
        (wrong, _) => println!(
            "invalid: {wrong} of {} clusters broke a promise",
            batch.trials
        ),
    }
}
