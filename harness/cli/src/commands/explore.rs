//! `explore`: every crash point of every kind of request.

use super::write_file;
use crate::args::{ExploreArgs, threads};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::progress::Counter;
use std::time::Instant;
use triptych_load::explore::{
    ALL, Case, Explorer, Finding, Options, StageReport, Violated, summary, table, violated,
};
use triptych_load::run::{RunError, RunOutput};
use triptych_load::{perfetto, timeline};

/// Findings of a kind that are shown in full.
const SHOWN: usize = 5;

/// Searches, or runs one case again.
pub(crate) fn run(args: &ExploreArgs) -> Result<Exit, CliError> {
    let options = Options {
        app: args.app.clone(),
        runtime: args.runtime.clone(),
        profile: args.profile.clone(),
        kinds: args.kind.clone(),
        seed: args.seed,
        twice: args.twice,
        duplicate: args.duplicate,
        pairs: args.pairs,
        contend: args.contend,
    };
    let explorer = Explorer::new(options).map_err(CliError::Input)?;
    if let Some(case) = &args.case {
        return again(args, &explorer, case);
    }
    println!(
        "{} on {}, profile {}, seed {}",
        args.app,
        args.runtime,
        explorer.profile(),
        args.seed
    );
    let cancel = interrupt::flag();
    let begun = Instant::now();
    let mut stages: Vec<StageReport> = Vec::new();
    for kind in explorer.kinds() {
        let mut worlds = 0;
        // How many there will be shows only on the way.
        let mut counter = Counter::new("worlds", 0);
        let searched = explorer.search(kind, threads(args.jobs), &cancel, &mut |done| {
            worlds = done;
            counter.at(done);
        });
        counter.end();
        let stage = searched.map_err(|error| CliError::Run {
            id: format!("{kind} on {}", args.runtime),
            error,
        })?;
        eprintln!(
            "{kind}: {worlds} worlds, {:.1} s so far",
            begun.elapsed().as_secs_f64()
        );
        println!("\n{}", stage.told().trim_end());
        show(&stage.findings);
        stages.push(stage);
    }
    if stages.len() > 1 {
        println!("\nall kinds together:");
        print!("{}", table(stages.iter().flat_map(|stage| &stage.rows)));
    }
    println!("\n{}", summary(&stages).trim_end());
    let found = stages.iter().flat_map(|stage| &stage.findings);
    let found: Vec<&Violated> = found.flat_map(|finding| &finding.violated).collect();
    let tally = stages.iter().map(StageReport::tally);
    let (hit, total) = tally.fold((0, 0), |(hit, total), tally| {
        (hit + tally.hit, total + tally.total)
    });
    let exit = exit(&explorer, &found);
    println!(
        "{hit} of {total} strikes hit; {}",
        told(exit, found.is_empty())
    );
    eprintln!("{:.1} s", begun.elapsed().as_secs_f64());
    Ok(exit)
}

fn exit(explorer: &Explorer, found: &[&Violated]) -> Exit {
    let broken = found.iter().any(|one| explorer.breaks(one));
    if broken { Exit::Broken } else { Exit::Kept }
}

fn told(exit: Exit, nothing: bool) -> &'static str {
    match (exit, nothing) {
        (_, true) => "no rule was violated",
        (Exit::Broken, _) => "a promise was broken",
        _ => "rules were violated, of guarantees that are not promised",
    }
}

fn show(findings: &[Finding]) {
    for Finding {
        case,
        violated,
        command,
        ..
    } in findings.iter().take(SHOWN)
    {
        let what = match case.0.is_empty() {
            true => "without any fault".to_owned(),
            false => case.to_string(),
        };
        println!("violated: {what}");
        for Violated {
            rule,
            guarantee,
            told,
            ..
        } in violated
        {
            println!("  {rule} ({}): {told}", guarantee.name());
        }
        println!("  again: {command}");
    }
    if findings.len() > SHOWN {
        println!(
            "and {} more faults that violate a rule",
            findings.len() - SHOWN
        );
    }
}

/// Runs one case alone and shows the request that it strikes.
fn again(args: &ExploreArgs, explorer: &Explorer, case: &str) -> Result<Exit, CliError> {
    let case: Case = case
        .parse()
        .map_err(|error| CliError::Input(format!("{error}")))?;
    let [kind] = explorer.kinds() else {
        let known = explorer.kinds().join(", ");
        return Err(CliError::Input(format!(
            "a case is of one kind of request; name it with --kind: {known} (not {ALL})"
        )));
    };
    let result = explorer.replay(kind, &case);
    let (output, request) = result.map_err(|error| CliError::Run {
        id: case.to_string(),
        error,
    })?;
    let Some(op) = output.ops.get(request as usize) else {
        return Err(CliError::Run {
            id: case.to_string(),
            error: RunError::Config(format!("there is no request {request}")),
        });
    };
    println!("request {request}, {kind}: {:?}", op.outcome);
    let struck = output.seen.struck.iter().flatten().count();
    let struck = struck + output.seen.background_struck.len();
    println!("{struck} faults struck\n");
    trace(&output, request, args.perfetto.as_deref())?;
    let violated = violated(&output);
    println!();
    for one in &violated {
        println!("{} ({}): {}", one.rule, one.guarantee.name(), one.told);
    }
    let exit = exit(explorer, &violated.iter().collect::<Vec<_>>());
    println!("{}", told(exit, violated.is_empty()));
    Ok(exit)
}

/// Prints the traced request of a run, and writes it as a file too.
pub(super) fn trace(
    output: &RunOutput,
    request: u64,
    file: Option<&std::path::Path>,
) -> Result<(), CliError> {
    let spans = &output.seen.spans;
    let origin = spans.first().map_or(0, |span| span.start);
    print!("{}", timeline::text(spans, origin));
    let breakdown = timeline::breakdown_text(spans);
    if !breakdown.is_empty() {
        print!("\n{breakdown}");
    }
    if let Some(file) = file {
        let runtime = &output.manifest.runtime;
        let json = perfetto::json(spans, &format!("request {request} on {runtime}"));
        write_file(file, &format!("{json}\n"))?;
    }
    Ok(())
}
