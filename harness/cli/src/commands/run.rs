//! `run`: a campaign from its file to its report.

use super::{exit_of, read_campaign, report, saturate};
use crate::args::{RunArgs, threads};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::progress::RunBars;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use triptych_load::campaign::Campaign;
use triptych_load::execute::{self, Event, Job};
use triptych_load::pool::Cancel;
use triptych_oracle::Floors;
use triptych_plots::PUBLISHED;
use triptych_results::campaign::{CAMPAIGN, RUNS, SATURATION};
use triptych_results::model::{Status, Verdict};
use triptych_results::{CampaignManifest, Loaded};

/// Runs a campaign.
pub(crate) fn run(args: &RunArgs) -> Result<Exit, CliError> {
    let mut campaign = read_campaign(args.campaign.as_ref())?;
    if let Some(name) = &args.name {
        campaign.name.clone_from(name);
        // Checked like a name in the file would be.
        campaign = Campaign::parse("--name", &campaign.to_toml())?;
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("triptych-out").join(&campaign.name));
    let manifest = execute::manifest(&campaign, &command(args));
    unknown_runs(args, &manifest)?;
    let folder = folder(args, &out, &manifest)?;

    let mut jobs = execute::jobs(&campaign, &folder);
    jobs.retain(|job| args.only.is_empty() || args.only.contains(&job.cell.id));
    let cancel = interrupt::flag();
    let failed = work(args, &campaign, &folder, &jobs, &cancel);
    let mut failure = None;
    for (id, error) in failed {
        eprintln!("{id}: {error}");
        failure = Some(Exit::Suite);
    }
    if args.only.is_empty() && campaign.saturation.is_some() && !cancel.is_cancelled() {
        search(&campaign, &folder, &cancel)?;
    }

    let loaded = Loaded::campaign(&folder)?;
    report::write(&loaded, &out)?;
    let complete = tell_missing(args, &loaded);
    let verdict = verdict(&loaded);
    Ok(match (failure, verdict) {
        (Some(failure), _) => failure,
        (None, Exit::Kept) if !complete => Exit::Unknown,
        (None, verdict) => verdict,
    })
}

/// The command that does the same again: part of the campaign's identity, so it leaves out where
/// results go and how many cores there are.
fn command(args: &RunArgs) -> String {
    let mut command = "triptych run".to_owned();
    if let Some(file) = &args.campaign {
        command.push_str(&format!(" {}", file.display()));
    }
    if let Some(name) = &args.name {
        command.push_str(&format!(" --name {name}"));
    }
    command
}

fn unknown_runs(args: &RunArgs, manifest: &CampaignManifest) -> Result<(), CliError> {
    let known = |id: &&String| manifest.runs.iter().any(|run| run.id == **id);
    match args.only.iter().find(|id| !known(id)) {
        None => Ok(()),
        Some(id) => {
            let runs: Vec<&str> = manifest.runs.iter().map(|run| run.id.as_str()).collect();
            let runs = runs.join("\n  ");
            Err(CliError::Input(format!(
                "the campaign has no run {id:?}; it has\n  {runs}"
            )))
        }
    }
}

/// The campaign's folder, found to be writable and to hold nothing else before anything runs.
fn folder(
    args: &RunArgs,
    out: &Path,
    manifest: &CampaignManifest,
) -> Result<triptych_results::Campaign, CliError> {
    let unwritable = |source| CliError::Unwritable {
        dir: out.to_path_buf(),
        source,
    };
    fs::create_dir_all(out).map_err(unwritable)?;
    let probe = out.join(".triptych-probe");
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .map_err(unwritable)?;

    let plan = out.join(CAMPAIGN);
    if args.force {
        clear(out).map_err(unwritable)?;
    } else if plan.exists() {
        let there = triptych_results::Campaign::open(out)?;
        let done = there.complete().count();
        let dir = out.display();
        if there.manifest() != manifest {
            return Err(CliError::Input(format!(
                "{dir} holds another campaign, `{}` with {done} finished runs; choose another \
                 folder with --out, or --force to throw it away",
                there.name()
            )));
        }
        if done > 0 && !args.resume && args.only.is_empty() {
            return Err(CliError::Input(format!(
                "{dir} holds {done} of {} runs of this campaign; --resume keeps them and does the \
                 rest, --force throws them away",
                manifest.runs.len()
            )));
        }
    } else if let Some(stranger) = fs::read_dir(out).map_err(unwritable)?.flatten().next() {
        return Err(CliError::Input(format!(
            "{} is not empty ({} is in it) and holds no campaign; choose another folder with \
             --out, or --force to use it",
            out.display(),
            stranger.file_name().display()
        )));
    }
    Ok(triptych_results::Campaign::create(out, manifest)?)
}

/// Removes what a campaign consists of, and nothing else that may be in its folder.
fn clear(out: &Path) -> std::io::Result<()> {
    let gone = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    for file in [CAMPAIGN, SATURATION, "report.html", PUBLISHED] {
        gone(fs::remove_file(out.join(file)))?;
    }
    for dir in [RUNS, "figures"] {
        gone(fs::remove_dir_all(out.join(dir)))?;
    }
    Ok(())
}

fn work(
    args: &RunArgs,
    campaign: &Campaign,
    folder: &triptych_results::Campaign,
    jobs: &[Job],
    cancel: &Arc<Cancel>,
) -> Vec<(String, execute::ExecuteError)> {
    let bars = RunBars::new(jobs.len());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| bars.watch(jobs, &over));
        let mut done = 0;
        let told = |event: Event<'_>| {
            done += 1;
            match event {
                Event::Published(id) => bars.ended(done, &format!("{id} done")),
                Event::Failed(id, error) => bars.ended(done, &format!("{id} failed: {error}")),
            }
        };
        let failed = execute::execute(campaign, folder, jobs, threads(args.jobs), cancel, told);
        over.store(true, Ordering::Relaxed);
        failed
    })
}

fn search(
    campaign: &Campaign,
    folder: &triptych_results::Campaign,
    cancel: &Arc<Cancel>,
) -> Result<(), CliError> {
    let searches = campaign.profiles.len() * campaign.runtimes.len();
    if folder.saturation()?.len() < searches {
        folder.write_saturation(&saturate::search(campaign, cancel)?)?;
    }
    println!("{}", saturate::table(&folder.saturation()?));
    Ok(())
}

/// Says what is not there and how to get it; true if everything is.
fn tell_missing(args: &RunArgs, loaded: &Loaded) -> bool {
    for (run, problem) in &loaded.damaged {
        eprintln!("{}: left out: {problem}", run.id);
    }
    if !loaded.missing.is_empty() {
        let missing: Vec<&str> = loaded.missing.iter().map(|run| run.id.as_str()).collect();
        let total = loaded.campaign.runs.len();
        eprintln!(
            "{} of {total} runs are missing: {}",
            missing.len(),
            missing.join(", ")
        );
        let out = args
            .out
            .as_ref()
            .map(|out: &PathBuf| format!(" --out {}", out.display()));
        let out = out.unwrap_or_default();
        eprintln!("go on with: {}{out} --resume", loaded.campaign.command);
    }
    loaded.missing.is_empty() && loaded.damaged.is_empty()
}

/// The worst over the runtimes, each judged over all its runs on a profile: coverage counts
/// together. Who promises nothing breaks nothing.
fn verdict(loaded: &Loaded) -> Exit {
    let mut batches: BTreeMap<(&str, &str), (Vec<Verdict>, bool)> = BTreeMap::new();
    for run in &loaded.runs {
        let key = (run.manifest.runtime.as_str(), run.manifest.profile.as_str());
        let (verdicts, faults) = batches.entry(key).or_default();
        verdicts.push(run.verdict.clone());
        *faults |= !run.manifest.faults.plan.is_empty();
    }
    let mut worst = Status::Valid;
    for ((runtime, profile), (verdicts, faults)) in batches {
        let verdict = triptych_oracle::merge(&verdicts, &Floors::new(faults));
        let promised = || verdict.guarantees.iter().filter(|entry| entry.promised);
        for entry in promised().filter(|entry| entry.status != Status::Valid) {
            let (name, status) = (entry.guarantee.name(), entry.status);
            eprintln!("{runtime} on {profile}: {name} {status}: {}", entry.because);
        }
        if promised().next().is_some() {
            worst = worst.max(verdict.promises());
        }
    }
    if loaded.runs.is_empty() {
        Exit::Unknown
    } else {
        exit_of(worst)
    }
}
