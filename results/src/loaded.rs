//! A campaign, or a single bundle, read for showing: what tables, figures and reports start from.
//!
//! What cannot be read does not stop the rest, and is not forgotten either: missing and damaged
//! runs are part of what is loaded, and every report names them.

use crate::aggregate::{Point, points};
use crate::bundle::RunBundle;
use crate::campaign::{Campaign, Saturation};
use crate::error::BundleError;
use crate::gauges::Gauge;
use crate::hlog::{self, HlogEntry};
use crate::manifest::{CampaignManifest, Environment, Manifest, PlannedRun, SCHEMA};
use crate::summary::Summary;
use hdrhistogram::Histogram;
use std::path::PathBuf;
use triptych_model::Verdict;

/// A run without its raw data.
#[derive(Clone, Debug)]
pub struct LoadedRun {
    /// The bundle's folder.
    pub dir: PathBuf,
    /// The facts of the run.
    pub manifest: Manifest,
    /// The published numbers.
    pub summary: Summary,
    /// The oracle's verdict.
    pub verdict: Verdict,
    /// Response times of the answered requests of the measured window.
    pub response: Histogram<u32>,
    /// What the runtime kept over time; empty if nobody asked.
    pub gauges: Vec<Gauge>,
    /// From one of those moments to the next, the median response time of the answered requests
    /// intended in between: from, to, median.
    pub medians: Vec<(u64, u64, u64)>,
    /// Where and when it ran.
    pub environment: Environment,
}

impl LoadedRun {
    /// Reads what showing a run needs from its bundle.
    ///
    /// # Errors
    /// If one of the files is missing or damaged.
    pub fn of(bundle: &RunBundle) -> Result<LoadedRun, BundleError> {
        let manifest = bundle.manifest()?;
        let (log, gauges) = (bundle.latency_log()?, bundle.gauges()?);
        Ok(LoadedRun {
            dir: bundle.dir().to_path_buf(),
            response: hlog::answered(&log, manifest.warmup_ns),
            medians: medians(&log, &gauges),
            manifest,
            summary: bundle.summary()?,
            verdict: bundle.verdict()?,
            gauges,
            environment: bundle.environment()?,
        })
    }
}

fn medians(log: &[HlogEntry], gauges: &[Gauge]) -> Vec<(u64, u64, u64)> {
    let between = gauges.windows(2).map(|pair| (pair[0].at_ns, pair[1].at_ns));
    let median = |(from, to): (u64, u64)| {
        let inside = |entry: &&HlogEntry| {
            let middle = entry.from_ns + entry.length_ns / 2;
            (from..to).contains(&middle)
        };
        let entries: Vec<HlogEntry> = log.iter().filter(inside).cloned().collect();
        let answered = hlog::answered(&entries, 0);
        (!answered.is_empty()).then(|| (from, to, answered.value_at_quantile(0.5)))
    };
    between.filter_map(median).collect()
}

/// All that is shown of a campaign.
#[derive(Debug)]
pub struct Loaded {
    /// What was planned.
    pub campaign: CampaignManifest,
    /// The runs that are there, in the plan's order.
    pub runs: Vec<LoadedRun>,
    /// Planned runs that are not there.
    pub missing: Vec<PlannedRun>,
    /// Runs that are there and cannot be believed.
    pub damaged: Vec<(PlannedRun, BundleError)>,
    /// The highest rates that were found.
    pub saturation: Vec<Saturation>,
}

impl Loaded {
    /// Reads a campaign, complete or not.
    ///
    /// # Errors
    /// If its saturation search is damaged. Damaged runs are not an error.
    pub fn campaign(campaign: &Campaign) -> Result<Loaded, BundleError> {
        let mut loaded = Loaded {
            campaign: campaign.manifest().clone(),
            runs: Vec::new(),
            missing: campaign.missing().cloned().collect(),
            damaged: Vec::new(),
            saturation: campaign.saturation()?,
        };
        for planned in campaign.complete() {
            match campaign
                .run(&planned.id)
                .and_then(|bundle| LoadedRun::of(&bundle))
            {
                Ok(run) => loaded.runs.push(run),
                Err(problem) => loaded.damaged.push((planned.clone(), problem)),
            }
        }
        Ok(loaded)
    }

    /// Reads a single bundle as a campaign of one run.
    ///
    /// # Errors
    /// If one of its files is missing or damaged.
    pub fn bundle(bundle: &RunBundle) -> Result<Loaded, BundleError> {
        let run = LoadedRun::of(bundle)?;
        let Manifest {
            run_id,
            runtime,
            profile,
            rate,
            repetition,
            seed,
            ..
        } = &run.manifest;
        let planned = PlannedRun {
            id: run_id.clone(),
            runtime: runtime.clone(),
            profile: profile.clone(),
            rate: *rate,
            repetition: *repetition,
            seed: *seed,
        };
        let campaign = CampaignManifest {
            schema: SCHEMA,
            name: run_id.clone(),
            config: String::new(),
            command: run.manifest.command.clone(),
            runs: vec![planned],
        };
        let (missing, damaged, saturation) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Loaded {
            campaign,
            runs: vec![run],
            missing,
            damaged,
            saturation,
        })
    }

    /// The runs by cell.
    pub fn points(&self) -> Vec<Point> {
        points(self.runs.iter().map(|run| (&run.manifest, &run.summary)))
    }
}
