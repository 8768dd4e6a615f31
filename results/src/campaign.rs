//! The folder of a campaign: what was planned, the bundles of the runs that are done, and the
//! results of searches over them.
//!
//! Which runs are done is not written down anywhere: a run is done when its folder is there. So an
//! interrupted campaign is readable at every moment, and goes on where it stopped.

use crate::bundle::{DIGESTS, PARTIAL, RunBundle, RunData};
use crate::error::BundleError;
use crate::files;
use crate::manifest::{CampaignManifest, PlannedRun, check_schema};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What was planned.
pub const CAMPAIGN: &str = "campaign.json";
/// The folder of the runs' bundles.
pub const RUNS: &str = "runs";
/// The highest rates that were found.
pub const SATURATION: &str = "saturation.json";

/// How far a planned run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Its bundle is there.
    Complete,
    /// It was interrupted, and must run again from its start.
    Partial,
    /// It never ran.
    Missing,
}

/// A campaign on disk.
#[derive(Clone, Debug)]
pub struct Campaign {
    dir: PathBuf,
    manifest: CampaignManifest,
}

impl Campaign {
    /// Begins a campaign in `dir`, or continues the same one.
    ///
    /// # Errors
    /// If another campaign is in `dir`, the plan contradicts itself, or the disk refuses.
    pub fn create(
        dir: impl AsRef<Path>,
        manifest: &CampaignManifest,
    ) -> Result<Campaign, BundleError> {
        let dir = dir.as_ref().to_path_buf();
        let inconsistent = |why| BundleError::Inconsistent {
            run: manifest.name.clone(),
            why,
        };
        manifest.check().map_err(inconsistent)?;
        check_schema(Path::new(CAMPAIGN), manifest.schema)?;
        let file = dir.join(CAMPAIGN);
        if file.exists() {
            let there = Campaign::open(&dir)?;
            if there.manifest != *manifest {
                let why = format!("another campaign, `{}`, is in this folder", there.name());
                return Err(BundleError::Exists { path: dir, why });
            }
            return Ok(there);
        }
        let runs = dir.join(RUNS);
        fs::create_dir_all(&runs).map_err(|e| BundleError::io(&runs, "created", e))?;
        files::replace(&file, &files::checked(&file, manifest)?)?;
        Ok(Campaign {
            dir,
            manifest: manifest.clone(),
        })
    }

    /// Opens the campaign in `dir`, complete or not.
    ///
    /// # Errors
    /// If there is none of this schema, or its plan is damaged.
    pub fn open(dir: impl AsRef<Path>) -> Result<Campaign, BundleError> {
        let dir = dir.as_ref().to_path_buf();
        let file = dir.join(CAMPAIGN);
        let manifest: CampaignManifest = files::read_checked(&file)?;
        check_schema(&file, manifest.schema)?;
        manifest
            .check()
            .map_err(|why| BundleError::damaged(&file, why))?;
        Ok(Campaign { dir, manifest })
    }

    /// The campaign's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The campaign's name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// What was planned.
    pub fn manifest(&self) -> &CampaignManifest {
        &self.manifest
    }

    /// How far a run has come.
    pub fn state(&self, run: &str) -> RunState {
        let runs = self.runs_dir();
        // The list of digests is written last, and only a whole bundle loses the ending.
        if runs.join(run).join(DIGESTS).is_file() {
            RunState::Complete
        } else if runs.join(run).exists() || runs.join(format!("{run}{PARTIAL}")).exists() {
            RunState::Partial
        } else {
            RunState::Missing
        }
    }

    /// The planned runs whose bundles are there, in the plan's order.
    pub fn complete(&self) -> impl Iterator<Item = &PlannedRun> {
        self.in_state(true)
    }

    /// The planned runs that are still to be done, in the plan's order.
    pub fn missing(&self) -> impl Iterator<Item = &PlannedRun> {
        self.in_state(false)
    }

    fn in_state(&self, complete: bool) -> impl Iterator<Item = &PlannedRun> {
        let wanted =
            move |run: &&PlannedRun| (self.state(&run.id) == RunState::Complete) == complete;
        self.manifest.runs.iter().filter(wanted)
    }

    /// Opens the bundle of a planned run.
    ///
    /// # Errors
    /// If the run was not planned, is not done, or its list of digests is damaged.
    pub fn run(&self, run: &str) -> Result<RunBundle, BundleError> {
        if !self.manifest.runs.iter().any(|planned| planned.id == run) {
            return Err(BundleError::UnknownRun {
                run: run.to_string(),
            });
        }
        RunBundle::open(self.runs_dir().join(run))
    }

    /// Publishes the bundle of a planned run and returns its path.
    ///
    /// # Errors
    /// As [`RunBundle::write`], and if the run was not planned.
    pub fn write_run(&self, data: &RunData<'_>) -> Result<PathBuf, BundleError> {
        let run = &data.manifest.run_id;
        if !self.manifest.runs.iter().any(|planned| planned.id == *run) {
            return Err(BundleError::UnknownRun { run: run.clone() });
        }
        RunBundle::write(&self.runs_dir(), data)
    }

    /// The folder of the runs' bundles.
    pub fn runs_dir(&self) -> PathBuf {
        self.dir.join(RUNS)
    }

    /// The highest rates that were found; none if nothing was searched for.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn saturation(&self) -> Result<Vec<Saturation>, BundleError> {
        match files::read_checked(&self.dir.join(SATURATION)) {
            Err(BundleError::Missing { .. }) => Ok(Vec::new()),
            found => found,
        }
    }

    /// Stores the highest rates that were found, in place of earlier ones.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_saturation(&self, found: &[Saturation]) -> Result<(), BundleError> {
        let file = self.dir.join(SATURATION);
        files::replace(&file, &files::checked(&file, &found)?)
    }
}

/// The highest rate that a runtime carries while its 99th percentile stays within a bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saturation {
    /// The runtime.
    pub runtime: String,
    /// The workload profile.
    pub profile: String,
    /// The bound on the 99th percentile of the response time, milliseconds.
    pub bound_ms: f64,
    /// The highest rate that kept the bound, requests per second; nothing if none did.
    pub highest_rate: Option<f64>,
    /// Every rate that was tried, in order.
    pub tried: Vec<Tried>,
}

/// One step of a saturation search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// The offered rate, requests per second.
    pub rate: f64,
    /// The 99th percentile of the response time, milliseconds; nothing if nothing was answered.
    pub p99_ms: Option<f64>,
    /// Whether the rate was carried within the bound.
    pub ok: bool,
}
