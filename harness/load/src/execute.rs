//! Runs what a campaign's folder still lacks, on all cores, and publishes each run as it ends.

use crate::campaign::{Campaign, Cell};
use crate::pool::{self, Cancel};
use crate::run::{self, Progress, RunError, Watch};
use std::cmp::Reverse;
use std::sync::Arc;
use triptych_results::manifest::SCHEMA;
use triptych_results::{BundleError, CampaignManifest, PlannedRun, RunState};

/// What a campaign's folder says that it is.
pub fn manifest(campaign: &Campaign, command: &str) -> CampaignManifest {
    let planned = |cell: Cell| {
        let Cell {
            id,
            runtime,
            profile,
            rate,
            repetition,
            seed,
        } = cell;
        PlannedRun {
            id,
            runtime,
            profile,
            rate,
            repetition,
            seed,
        }
    };
    CampaignManifest {
        schema: SCHEMA,
        name: campaign.name.clone(),
        config: campaign.to_toml(),
        command: command.to_owned(),
        runs: campaign.cells().into_iter().map(planned).collect(),
    }
}

/// What happens to runs, told in the thread that waits for them.
#[derive(Debug)]
pub enum Event<'a> {
    /// A run ended well; its bundle is there.
    Published(&'a str),
    /// A run has no result.
    Failed(&'a str, &'a ExecuteError),
}

/// Why a run has no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The run itself.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// One run that is to be done, and how far it is.
#[derive(Debug)]
pub struct Job {
    /// Which.
    pub cell: Cell,
    /// How far; nothing is done before it begins.
    pub progress: Arc<Progress>,
}

/// The runs that have no complete bundle yet, the longest first, so that no core idles in the end.
pub fn jobs(campaign: &Campaign, folder: &triptych_results::Campaign) -> Vec<Job> {
    let missing = |cell: &Cell| folder.state(&cell.id) != RunState::Complete;
    let mut cells: Vec<Cell> = campaign.cells().into_iter().filter(missing).collect();
    cells.sort_by_key(|cell| Reverse((cell.rate * 1e6) as u64));
    cells
        .into_iter()
        .map(|cell| Job {
            cell,
            progress: Arc::default(),
        })
        .collect()
}

/// Does the jobs on up to `threads` threads. Returns the failures, in the order of the jobs; after
/// a cancellation the runs that were interrupted are not among them.
pub fn execute(
    campaign: &Campaign,
    folder: &triptych_results::Campaign,
    jobs: &[Job],
    threads: usize,
    cancel: &Arc<Cancel>,
    mut told: impl FnMut(Event<'_>),
) -> Vec<(String, ExecuteError)> {
    let command = &folder.manifest().command;
    let work = |_: usize, job: &Job| -> Result<(), ExecuteError> {
        let watch = Watch {
            cancel: Arc::clone(cancel),
            progress: Arc::clone(&job.progress),
        };
        let command = format!("{command} --only {}", job.cell.id);
        let output = run::run(campaign, &job.cell, &command, &watch)?;
        folder.write_run(&output.data())?;
        Ok(())
    };
    let results = pool::each(threads, jobs, cancel, work, |index, result| {
        let id = &jobs[index].cell.id;
        match result {
            Ok(Ok(())) => told(Event::Published(id)),
            Ok(Err(ExecuteError::Run(RunError::Cancelled))) => {}
            Ok(Err(error)) => told(Event::Failed(id, error)),
            Err(panic) => told(Event::Failed(id, &RunError::Panic(panic.clone()).into())),
        }
    });
    let named = jobs.iter().zip(results).filter_map(|(job, result)| {
        let error = match result? {
            Ok(Ok(())) | Ok(Err(ExecuteError::Run(RunError::Cancelled))) => return None,
            Ok(Err(error)) => error,
            Err(panic) => RunError::Panic(panic).into(),
        };
        Some((job.cell.id.clone(), error))
    });
    named.collect()
}
