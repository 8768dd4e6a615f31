//! `replay`: a run once more, one request step by step.

use super::Folder;
use super::explore::trace;
use crate::args::ReplayArgs;
use crate::exit::{CliError, Exit};
use std::path::Path;
use triptych_load::campaign::{Campaign, Cell};
use triptych_load::replay::{differences, of_manifest, traced};
use triptych_load::seeds::{Batch, Tried};
use triptych_results::RunBundle;
use triptych_results::model::OpRecord;

/// Runs it and prints the request's timeline.
pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, CliError> {
    let (campaign, cell, recorded) = match &args.bundle {
        Some(dir) => of_bundle(dir, args.request)?,
        None => {
            let (campaign, cell) = of_check(args)?;
            (campaign, cell, None)
        }
    };
    let result = traced(&campaign, &cell, args.request);
    let output = result.map_err(|error| CliError::Run {
        id: cell.id.clone(),
        error,
    })?;
    let op = &output.ops[args.request as usize];
    let kind = output.manifest.kinds.get(usize::from(op.kind));
    let kind = kind.map_or("?", String::as_str);
    let ms = |time: u64| time as f64 / 1e6;
    println!("request {}, {kind}, of {}", args.request, cell.id);
    println!(
        "sent at {:.3} ms, {:?} after {:.3} ms, settled after {:.3} ms, {} faults\n",
        ms(op.sent_ns),
        op.outcome,
        ms(op.done_ns - op.sent_ns),
        ms(op.settled_ns.saturating_sub(op.sent_ns)),
        op.faults
    );
    trace(&output, args.request, args.perfetto.as_deref())?;
    let Some(recorded) = recorded else {
        return Ok(Exit::Kept);
    };
    let different = differences(&recorded, op);
    if different.is_empty() {
        println!("\nthe same as recorded: outcome, answer and times");
        return Ok(Exit::Kept);
    }
    println!("\nNOT the same as recorded:");
    for line in different {
        println!("  {line}");
    }
    Ok(Exit::Broken)
}

fn of_bundle(dir: &Path, request: u64) -> Result<(Campaign, Cell, Option<OpRecord>), CliError> {
    let bundle: RunBundle = match Folder::open(dir)? {
        Folder::Bundle(bundle) => bundle,
        Folder::Campaign(campaign) => {
            let runs: Vec<&str> = campaign.complete().map(|run| run.id.as_str()).collect();
            let runs = runs.join("\n  ");
            return Err(CliError::Input(format!(
                "{} is a campaign; name one of its runs:\n  {runs}",
                dir.display()
            )));
        }
    };
    let manifest = bundle.manifest()?;
    let (campaign, cell) = of_manifest(&manifest)
        .map_err(|error| CliError::Input(format!("{}: {error}", dir.display())))?;
    let ops = bundle.read_ops()?;
    let count = ops.len();
    let recorded = ops.into_iter().nth(request as usize);
    let recorded = recorded.ok_or_else(|| {
        CliError::Input(format!(
            "there is no request {request}; the run has {count}, from 0"
        ))
    })?;
    Ok((campaign, cell, Some(recorded)))
}

/// A run of `check`.
fn of_check(args: &ReplayArgs) -> Result<(Campaign, Cell), CliError> {
    let batch = Batch {
        runtime: args.runtime.clone().unwrap_or_default(),
        profiles: vec![args.profile.clone()],
        first: args.seed,
        count: 1,
        rates: args.rates.rates(),
    };
    let tried = Tried {
        profile: args.profile.clone(),
        seed: args.seed,
    };
    batch.cell(&tried).map_err(CliError::Input)
}
