//! `history`: what transactions read and wrote, for other tools, and the checker's findings about it.

use super::Folder;
use crate::args::HistoryArgs;
use crate::exit::{CliError, Exit};
use std::path::Path;
use triptych_oracle::causal;
use triptych_oracle::history::{Anomaly, Options, Report, check, export, picture};
use triptych_results::model::Guarantee;
use triptych_results::model::history::History;

/// Exports or checks the history of a bundle, or of a file that was exported.
pub(crate) fn run(args: &HistoryArgs) -> Result<Exit, CliError> {
    let (history, promised) = read(&args.from)?;
    let mut written = false;
    for (file, text) in [
        (&args.elle, export::edn as fn(&History) -> String),
        (&args.json, export::json_lines),
    ] {
        if let Some(file) = file {
            write(file, &text(&history))?;
            eprintln!("{} written", file.display());
            written = true;
        }
    }
    if written && !args.check {
        return Ok(Exit::Kept);
    }
    let ended = causes(args, &history)?;
    if !history.has_lists() {
        return Ok(ended);
    }
    let report = match check(&history, Options::ALL) {
        Ok(report) => report,
        Err(refusal) => {
            println!("unknown: {refusal}");
            return Ok(Exit::Unknown);
        }
    };
    show(&history, &report);
    if let Some(dir) = &args.pictures {
        let unwritable = |source| CliError::Unwritable {
            dir: dir.clone(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(unwritable)?;
        for found in &report.found {
            let file = dir.join(format!("{}.svg", found.anomaly));
            write(&file, &picture(&history, found))?;
            eprintln!("{} written", file.display());
        }
    }
    let violated = |found: &Anomaly| Anomaly::ISOLATION.contains(found);
    let broken = promised && report.found.iter().any(|found| violated(&found.anomaly));
    Ok(if broken { Exit::Broken } else { Exit::Kept })
}

/// What happened before what, and who did not see it. A finding is data here: which of them the
/// runtime promised to avoid is in the verdict.
fn causes(args: &HistoryArgs, history: &History) -> Result<Exit, CliError> {
    let Some(causes) = &history.causes else {
        return Ok(Exit::Kept);
    };
    let report = match causal::check(causes) {
        Ok(report) => report,
        Err(refusal) => {
            println!("unknown: {refusal}");
            return Ok(Exit::Unknown);
        }
    };
    let seen = &report.seen;
    println!(
        "{} events on {} keys, {} writes, {} looks of known clients",
        seen.events,
        causes.keys.len(),
        seen.writes,
        seen.looks
    );
    for left_out in &causes.left_out {
        println!("left out: {left_out}");
    }
    if let Some(horizon) = report.horizon {
        println!("too many stale writes: each was followed for {horizon} events");
    }
    for found in &report.found {
        let rate = found.count as f64 * 1e6 / seen.looks.max(1) as f64;
        println!(
            "\n{}, {} times, {rate:.0} per million looks: {}",
            found.anomaly, found.count, found.witness.told
        );
    }
    if let Some(dir) = &args.pictures {
        let unwritable = |source| CliError::Unwritable {
            dir: dir.clone(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(unwritable)?;
        for found in &report.found {
            let file = dir.join(format!("causal-{}.svg", found.anomaly));
            write(&file, &causal::picture(causes, found))?;
            eprintln!("{} written", file.display());
        }
    }
    Ok(Exit::Kept)
}

/// The history, and whether its runtime promised isolation; of a file nobody knows, so it should.
fn read(from: &Path) -> Result<(History, bool), CliError> {
    if from.is_file() {
        let text = std::fs::read_to_string(from).map_err(|source| CliError::Unreadable {
            file: from.to_path_buf(),
            source,
        })?;
        let told = |refusal| CliError::Input(format!("{}: {refusal}", from.display()));
        return Ok((export::from_json_lines(&text).map_err(told)?, true));
    }
    let bundle = match Folder::open(from)? {
        Folder::Bundle(bundle) => bundle,
        Folder::Campaign(campaign) => {
            let runs: Vec<&str> = campaign.complete().map(|run| run.id.as_str()).collect();
            let runs = runs.join("\n  ");
            return Err(CliError::Input(format!(
                "{} is a campaign; name one of its runs:\n  {runs}",
                from.display()
            )));
        }
    };
    let runtime = bundle.manifest()?.runtime;
    let promised = triptych_registry::runtime(&runtime)
        .is_ok_and(|entry| entry.declares.promises(Guarantee::Isolation));
    match bundle.history()? {
        Some(history) => Ok((history, promised)),
        None => Err(CliError::Input(format!(
            "{} has no history: the campaign said history = false, or the app has no lists",
            from.display()
        ))),
    }
}

fn write(file: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(file, text).map_err(|source| CliError::Unwritable {
        dir: file.to_path_buf(),
        source,
    })
}

fn show(history: &History, report: &Report) {
    let seen = &report.seen;
    println!(
        "{} transactions, {} of them committed, with {} operations on {} keys; {} overlapped a \
         conflicting one",
        seen.transactions,
        seen.committed,
        seen.operations,
        history.keys.len(),
        seen.conflicts
    );
    for left_out in &history.left_out {
        println!("left out: {left_out}");
    }
    for diverged in &history.diverged {
        println!("diverged: {diverged}");
    }
    println!("strongest level that is not violated: {}", report.level);
    for found in &report.found {
        println!(
            "\n{}, {} times: {}",
            found.anomaly, found.count, found.witness.told
        );
    }
    if report.cut {
        println!("\nthe search for cycles was bounded: other kinds may be there too");
    }
}
