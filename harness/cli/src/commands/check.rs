//! `check`: many seeds, one verdict.

use super::{exit_of, write_file};
use crate::args::{CheckArgs, threads};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::progress::Counter;
use serde_json::{Value as Json, json};
use std::time::Instant;
use triptych_load::run::RunError;
use triptych_load::seeds::{AppReport, Batch, BatchReport, Tried, all_profiles};
use triptych_results::model::{Status, Verdict};
use triptych_results::{Anomalies, anomalies};

/// Runs the seeds and prints what each rule found.
pub(crate) fn run(args: &CheckArgs) -> Result<Exit, CliError> {
    let batch = Batch {
        runtime: args.runtime.clone(),
        profiles: profiles(&args.profile, &args.runtime),
        first: args.first_seed,
        count: args.seeds,
        rates: args.rates.rates(),
    };
    let cancel = interrupt::flag();
    let begun = Instant::now();
    let mut counter = Counter::new("seeds", args.seeds);
    let report = batch.run(threads(args.jobs), &cancel, |done| counter.at(done));
    counter.end();
    let report = report.map_err(CliError::Input)?;
    show(args, &batch, &report, begun.elapsed().as_secs_f64());
    if let Some(file) = &args.json {
        let text = format!("{:#}\n", as_json(args, &batch, &report));
        write_file(file, &text)?;
    }
    if let Some((tried, error)) = report.failed.first() {
        let error = error.clone();
        return Err(CliError::Run {
            id: again(args, tried),
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
    // Who promises nothing breaks nothing.
    let promises = report.apps.iter().filter(|app| promises(&app.verdict));
    let worst = promises.map(|app| app.verdict.promises()).max();
    Ok(exit_of(worst.unwrap_or(Status::Valid)))
}

fn promises(verdict: &Verdict) -> bool {
    verdict.guarantees.iter().any(|entry| entry.promised)
}

/// The profiles that were named, each once.
fn profiles(named: &[String], runtime: &str) -> Vec<String> {
    let mut profiles: Vec<String> = Vec::new();
    for name in named {
        let these = match name.as_str() {
            "all" => all_profiles(runtime),
            _ => vec![name.clone()],
        };
        let new: Vec<String> = these
            .into_iter()
            .filter(|p| !profiles.contains(p))
            .collect();
        profiles.extend(new);
    }
    profiles
}

/// The command that runs one seed again.
fn again(args: &CheckArgs, tried: &Tried) -> String {
    format!(
        "triptych check --runtime {} --profile {} {} --first-seed {} --seeds 1",
        args.runtime,
        tried.profile,
        args.rates.told(),
        tried.seed
    )
}

fn show(args: &CheckArgs, batch: &Batch, report: &BatchReport, seconds: f64) {
    let asked = batch
        .rates
        .named()
        .into_iter()
        .filter(|(_, rate)| *rate > 0.0);
    let asked: Vec<String> = asked
        .map(|(name, rate)| format!("{} {rate}", name.replace('_', " ")))
        .collect();
    let asked = match asked.is_empty() {
        true => "no faults".to_owned(),
        false => asked.join(", "),
    };
    println!(
        "{} on {}: {asked}",
        batch.runtime,
        batch.profiles.join(", ")
    );
    println!(
        "{} seeds, {} requests, {} of them met a fault, {} executions crashed\n",
        report.done, report.requests, report.faulted, report.crashes
    );
    println!("{}", report.coverage());
    print!("{}", report.table());
    let counted = report.apps.iter();
    let counted = counted.filter_map(|app| Some((app.app.clone(), Anomalies::of(&app.verdict)?)));
    let counted: Vec<(String, Anomalies)> = counted.collect();
    if !counted.is_empty() {
        let title = format!("Anomalies per million reads: {}", batch.runtime);
        let grid = anomalies::grid(title, &counted);
        println!("\n{}", grid.plain(anomalies::WIDTH));
    }
    for rule in report.rules.iter().filter(|rule| rule.violations > 0) {
        let Tried { profile, seed } = &rule.violated_in[0];
        println!(
            "{} on {profile} in seed {seed}: {}",
            rule.rule, rule.witness
        );
    }
    for app in &report.apps {
        println!("\n{}:", app.app);
        for entry in &app.verdict.guarantees {
            let promise = match entry.promised {
                true => "promised",
                false => "not promised",
            };
            let (name, status) = (entry.guarantee.name(), entry.status.to_string());
            println!(
                "  {name:<10}  {promise:<12}  {status:<7}  {}",
                entry.because
            );
        }
    }
    let violating = report.violating();
    if !violating.is_empty() {
        let count = violating.len();
        println!("\n{count} seeds violate a rule; the first again:");
    }
    for tried in violating.iter().take(3) {
        println!("  {}", again(args, tried));
    }
    let speed = report.done as f64 / seconds.max(1e-9);
    eprintln!(
        "{seconds:.1} s, {speed:.1} seeds/s (version {})",
        env!("CARGO_PKG_VERSION")
    );
}

/// Everything but what depends on the machine.
fn as_json(args: &CheckArgs, batch: &Batch, report: &BatchReport) -> Json {
    let rules = report.rules.iter().map(|rule| {
        let violated_in = rule.violated_in.iter();
        json!({
            "rule": rule.rule,
            "guarantee": rule.guarantee.name(),
            "examined": rule.examined,
            "violations": rule.violations,
            "witness": rule.witness,
            "violated_in": violated_in
                .map(|tried| json!({ "profile": tried.profile, "seed": tried.seed }))
                .collect::<Vec<Json>>(),
        })
    });
    let again: Vec<String> = report
        .violating()
        .into_iter()
        .map(|tried| again(args, tried))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "runtime": batch.runtime,
        "profiles": batch.profiles,
        "first_seed": batch.first,
        "seeds": report.done,
        "requests": report.requests,
        "faults": json!(batch.rates.named().into_iter().collect::<std::collections::BTreeMap<_, _>>()),
        "apps": report.apps.iter().map(app_json).collect::<Vec<Json>>(),
        "rules": rules.collect::<Vec<Json>>(),
        "again": again,
    })
}

fn app_json(app: &AppReport) -> Json {
    use triptych_load::seeds::FaultKind;
    let met = FaultKind::ALL.iter().zip(app.met);
    let met: std::collections::BTreeMap<&str, u64> =
        met.map(|(kind, met)| (kind.name(), met)).collect();
    json!({
        "app": app.app,
        "seeds": app.done,
        "requests": app.requests,
        "requests_that_met": met,
        "coverage": app.coverage,
        "guarantees": app.verdict.guarantees,
        "anomalies": Anomalies::of(&app.verdict),
    })
}
