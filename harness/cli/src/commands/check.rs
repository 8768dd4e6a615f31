//! `check`: many seeds, one verdict.

use super::exit_of;
use crate::args::{CheckArgs, threads};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::progress::Counter;
use std::time::Instant;
use triptych_load::run::RunError;
use triptych_load::seeds::{Batch, BatchReport};

/// Runs the seeds and prints what each rule found.
pub(crate) fn run(args: &CheckArgs) -> Result<Exit, CliError> {
    let batch = Batch {
        runtime: args.runtime.clone(),
        profile: args.profile.clone(),
        first: args.first_seed,
        count: args.seeds,
        crash_rate: args.crash_rate,
        duplicate_rate: args.duplicate_rate,
    };
    let cancel = interrupt::flag();
    let begun = Instant::now();
    let mut counter = Counter::new("seeds", args.seeds);
    let report = batch.run(threads(args.jobs), &cancel, |done| counter.at(done));
    counter.end();
    let report = report.map_err(CliError::Input)?;
    show(args, &report, begun.elapsed().as_secs_f64());
    if let Some((seed, error)) = report.failed.first() {
        let error = error.clone();
        return Err(CliError::Run {
            id: format!("seed {seed}"),
            error,
        });
    }
    if cancel.is_cancelled() {
        let error = RunError::Cancelled;
        return Err(CliError::Run {
            id: "not all seeds were tried".to_owned(),
            error,
        });
    }
    let promised = report.verdict.guarantees.iter().any(|entry| entry.promised);
    // Who promises nothing breaks nothing.
    Ok(if promised {
        exit_of(report.verdict.promises())
    } else {
        Exit::Kept
    })
}

fn show(args: &CheckArgs, report: &BatchReport, seconds: f64) {
    let CheckArgs {
        runtime,
        profile,
        crash_rate,
        duplicate_rate,
        ..
    } = args;
    println!(
        "{runtime} on {profile}, crashes in {} % of requests",
        crash_rate * 100.0
    );
    println!(
        "{} seeds, {} requests, {} of them met a fault, {} executions crashed\n",
        report.done, report.requests, report.faulted, report.crashes
    );
    print!("{}", report.table());
    for rule in report.rules.iter().filter(|rule| rule.violations > 0) {
        println!("{} in seed {}: {}", rule.rule, rule.seeds[0], rule.witness);
    }
    println!();
    for entry in &report.verdict.guarantees {
        let promise = if entry.promised {
            "promised"
        } else {
            "not promised"
        };
        let (name, status) = (entry.guarantee.name(), entry.status.to_string());
        println!("{name:<10}  {promise:<12}  {status:<7}  {}", entry.because);
    }
    let violating = report.violating();
    if !violating.is_empty() {
        println!(
            "\n{} seeds violate a rule; the first again:",
            violating.len()
        );
    }
    for seed in violating.iter().take(3) {
        println!(
            "  triptych check --runtime {runtime} --profile {profile} --crash-rate {crash_rate} \
             --duplicate-rate {duplicate_rate} --first-seed {seed} --seeds 1"
        );
    }
    let speed = report.done as f64 / seconds.max(1e-9);
    eprintln!(
        "{seconds:.1} s, {speed:.1} seeds/s (version {})",
        env!("CARGO_PKG_VERSION")
    );
}
