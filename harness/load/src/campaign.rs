//! Campaign files: a matrix of runs as TOML.
//!
//! [`Campaign`] is the file's type; its JSON schema ([`schema`]) is generated from it. Reading one
//! ([`Campaign::parse`]) reports every mistake with file, line, column, what was expected and the
//! nearest valid name. [`Campaign::cells`] expands the matrix. Every runtime of a campaign gets the
//! same seeds, and so the same arrivals, requests and luck: differences are the runtimes'.

mod check;
pub mod known;
mod read;
mod sections;
mod source;
mod units;

pub use read::{Contradiction, read};
pub use sections::{
    ClientLimits, FaultRates, Full, GcPeriod, Platform, Saturation, Seeds, Setting, TimingConfig,
};
pub use source::{Mistake, Mistakes, nearest};
pub use units::Span;

use crate::drive::{Limits, WhenFull};
use crate::schedule::{Arrivals, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::App;
use triptych_workloads::{Profile, SettingError};
use triptych_world::fault::{LATEST, LONGEST_DELAY};
use triptych_world::{MS, SECOND};

/// The campaign that runs if no file is named.
pub const DEFAULT: &str = include_str!("../data/default.toml");

/// A matrix of runs: every runtime on every profile at every rate, repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// The campaign's name, also of its output folder.
    #[schemars(schema_with = "known::id")]
    pub name: String,
    /// The runtimes to compare.
    #[schemars(schema_with = "known::runtime_list")]
    pub runtimes: Vec<String>,
    /// The workload profiles to run on each.
    #[schemars(schema_with = "known::profile_list")]
    pub profiles: Vec<String>,
    /// The offered rates, requests per second.
    #[schemars(schema_with = "known::rate_list")]
    pub rates: Vec<f64>,
    /// How long requests are sent, with the warm-up.
    pub duration: Span,
    /// How much of the start is not measured.
    #[serde(default = "defaults::warmup")]
    pub warmup: Span,
    /// How long at the start the rate rises from nothing to the offered one; part of the warm-up.
    #[serde(default = "defaults::ramp")]
    pub ramp: Span,
    /// How requests are spaced.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// The seed of the first repetition (the others count on from it), or one per repetition.
    #[serde(default)]
    pub seeds: Seeds,
    /// How often each cell of the matrix is run, each time with another seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub repetitions: Option<u32>,
    /// The price sheet.
    #[serde(default = "defaults::prices")]
    #[schemars(schema_with = "known::price_name")]
    pub prices: String,
    /// Memory of a function, MB.
    #[serde(default = "defaults::memory_mb")]
    #[schemars(range(min = 128, max = 10_240))]
    pub memory_mb: u32,
    /// Whether to record what transactions read and write (of apps that have lists), to judge their
    /// isolation.
    #[serde(default = "defaults::history")]
    pub history: bool,
    /// Faults that are injected at random.
    #[serde(default)]
    pub faults: FaultRates,
    /// The simulated platform.
    #[serde(default)]
    pub platform: Platform,
    /// Overrides of the profiles' settings.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// Bounds of the load generator.
    #[serde(default)]
    pub limits: ClientLimits,
    /// Timeouts and periods of the system under test.
    #[serde(default)]
    pub timing: TimingConfig,
    /// Searches the highest rate that keeps a latency bound, besides the rates above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Saturation>,
}

mod defaults {
    use super::{SECOND, Span};

    pub(super) fn warmup() -> Span {
        Span(5 * SECOND)
    }

    pub(super) fn ramp() -> Span {
        Span(0)
    }

    pub(super) fn prices() -> String {
        "aws-us-east-1-2020-11".to_owned()
    }

    pub(super) fn history() -> bool {
        true
    }

    pub(super) fn memory_mb() -> u32 {
        1024
    }
}

/// One run of the matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Its name: `profile.runtime.rRATE.sSEED`.
    pub id: String,
    /// The runtime.
    pub runtime: String,
    /// The profile.
    pub profile: String,
    /// The offered rate.
    pub rate: f64,
    /// Which repetition it is, from 0.
    pub repetition: u32,
    /// The seed of everything random in it.
    pub seed: u64,
}

impl Cell {
    /// A cell with the name that follows from the rest.
    pub fn new(profile: &str, runtime: &str, rate: f64, repetition: u32, seed: u64) -> Self {
        let id = format!("{profile}.{runtime}.r{rate}.s{seed}");
        let (profile, runtime) = (profile.to_owned(), runtime.to_owned());
        Cell {
            id,
            runtime,
            profile,
            rate,
            repetition,
            seed,
        }
    }
}

/// Why a runtime cannot run a profile whose requests are workflows, if it cannot.
fn lacks_workflows(runtime: &str, profile: &str) -> Option<String> {
    let all = triptych_registry::runtimes();
    let own = all.iter().find(|entry| entry.name == runtime)?;
    let able: Vec<&str> = all
        .iter()
        .filter(|entry| entry.workflows)
        .map(|entry| entry.name)
        .collect();
    (!own.workflows).then(|| {
        format!(
            "`{runtime}` runs no workflows of the platform, which `{profile}` is made of; these \
             runtimes do: {}",
            able.join(", ")
        )
    })
}

/// The JSON schema of campaign files.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Campaign).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), "A campaign of Triptych".into());
    }
    schema
}

impl Campaign {
    /// Reads a campaign. `file` is what messages call it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str, text: &str) -> Result<Campaign, Mistakes> {
        read(file, text, &schema(), |campaign: &Campaign| {
            let wrong = campaign.contradictions().into_iter();
            wrong
                .map(|(path, what)| Contradiction {
                    path,
                    what,
                    help: Vec::new(),
                })
                .collect()
        })
    }

    /// What does not fit together, with the path of the key to blame.
    fn contradictions(&self) -> Vec<(Vec<String>, String)> {
        let mut wrong = Vec::new();
        let mut blame = |path: &[&str], what: String| {
            wrong.push((path.iter().map(|part| (*part).to_owned()).collect(), what));
        };
        if self.warmup >= self.duration {
            let (warmup, duration) = (self.warmup, self.duration);
            let what = format!(
                "nothing is left to measure: the warm-up of {warmup} is part of the duration of {duration}"
            );
            blame(&["warmup"], what);
        }
        if self.ramp > self.warmup {
            let (ramp, warmup) = (self.ramp, self.warmup);
            let what = format!(
                "the rate would still rise for {ramp} when the warm-up of {warmup} is over"
            );
            blame(&["ramp"], what);
        }
        if let (Seeds::Each(seeds), Some(repetitions)) = (&self.seeds, self.repetitions)
            && seeds.len() != repetitions as usize
        {
            let what = format!("{} seeds for {repetitions} repetitions", seeds.len());
            blame(&["repetitions"], what);
        }
        if matches!(&self.seeds, Seeds::Each(seeds) if seeds.is_empty()) {
            blame(&["seeds"], "there is no seed".to_owned());
        }
        let rates: Vec<String> = self.rates.iter().map(f64::to_string).collect();
        let seeds: Vec<String> = self.seeds().iter().map(u64::to_string).collect();
        for (key, names) in [
            ("runtimes", &self.runtimes),
            ("profiles", &self.profiles),
            ("rates", &rates),
            ("seeds", &seeds),
        ] {
            let mut seen = BTreeSet::new();
            for (n, name) in names.iter().enumerate() {
                if !seen.insert(name) {
                    blame(&[key, &n.to_string()], format!("`{name}` is there twice"));
                }
            }
        }
        for (n, rate) in self.rates.iter().enumerate() {
            if Rate::per_second(*rate).is_none() {
                blame(&["rates", &n.to_string()], format!("{rate} is not a rate"));
            }
        }
        let TimingConfig {
            timeout,
            queue_age,
            t,
            collector_period,
            gc_period,
            ..
        } = self.timing;
        if t.0 <= timeout.0.saturating_add(queue_age.0) {
            let what = format!(
                "T must be more than timeout and queue age together ({}), or an execution that is still alive is taken for dead",
                Span(timeout.0.saturating_add(queue_age.0))
            );
            blame(&["timing", "t"], what);
        }
        let latest = match (self.faults.crash_rate > 0.0, self.faults.delay_rate > 0.0) {
            (true, _) => LATEST,
            (false, true) => LONGEST_DELAY,
            (false, false) => 0,
        };
        let late = timeout.0.saturating_add(queue_age.0).saturating_add(latest);
        if latest > 0 && gc_period != GcPeriod::Off && t.0 <= late {
            let what = format!(
                "with faults and a garbage collector T must be more than {}: timeout, queue age, and {} that a message may be late",
                Span(late),
                Span(latest)
            );
            blame(&["timing", "t"], what);
        }
        let gc_period = Span(gc_period.period().unwrap_or(MS));
        for (key, span) in [
            ("timeout", timeout),
            ("collector_period", collector_period),
            ("gc_period", gc_period),
        ] {
            if span.0 < MS {
                blame(
                    &["timing", key],
                    format!("`{key}` of {span} is too short to work with"),
                );
            }
        }
        if let Some(Saturation {
            lowest, highest, ..
        }) = self.saturation
            && lowest >= highest
        {
            let what = format!("the search ends at {highest}, below where it begins, {lowest}");
            blame(&["saturation", "highest"], what);
        }
        for name in &self.profiles {
            match self.try_app(name) {
                Ok((profile, app)) => {
                    let runtimes = self.runtimes.iter().enumerate();
                    for (n, runtime) in runtimes.filter(|_| !app.workflows.is_empty()) {
                        if let Some(what) = lacks_workflows(runtime, name) {
                            blame(&["runtimes", &n.to_string()], what);
                        }
                    }
                    if let Some((asked, own)) = self.platform.servers.zip(profile.servers())
                        && asked != own
                    {
                        let what = format!("`{name}` is about {own} servers, not {asked}");
                        blame(&["platform", "servers"], what);
                    }
                }
                Err((Some(key), what)) => blame(&["settings", &key], what),
                Err((None, what)) => blame(&["settings"], what),
            }
        }
        wrong
    }

    /// Whether some profile has a setting of this name.
    fn concerns_any(&self, key: &str) -> bool {
        let profiles = self.profiles.iter();
        let mut found = profiles.filter_map(|name| triptych_workloads::find(name).ok());
        found.any(|profile| profile.knows(key))
    }

    fn try_app(&self, name: &str) -> Result<(Profile, App), (Option<String>, String)> {
        let plain = |what: String| (None, what);
        let profile = triptych_workloads::find(name).map_err(|error| plain(error.to_string()))?;
        // What is meant for another app's profiles does not concern this one.
        let meant = |key: &str| profile.knows(key) || !self.concerns_any(key);
        let overrides = self.settings.iter().filter(|(key, _)| meant(key));
        let overrides = overrides.map(|(key, value)| (key.clone(), value.text()));
        let profile = profile
            .clone()
            .with_settings(overrides.collect())
            .map_err(|error| match &error {
                SettingError::UnknownKey { key, allowed, .. } => {
                    let near = nearest(key, allowed.iter().map(String::as_str));
                    let near =
                        near.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                    (Some(key.clone()), format!("{error}{near}"))
                }
                SettingError::BadValue { key, .. } | SettingError::Unusable { key, .. } => {
                    (Some(key.clone()), error.to_string())
                }
            })?;
        let app = triptych_registry::app(&profile.app).map_err(|error| plain(error.to_string()))?;
        let app = (app.build)(&profile).map_err(plain)?;
        Ok((profile, app))
    }

    /// A profile with this campaign's settings.
    ///
    /// # Errors
    /// What is wrong with them, in words; nothing for a campaign that was read by [`Self::parse`].
    pub fn profile(&self, name: &str) -> Result<Profile, String> {
        let tried = self.try_app(name).map_err(|(_, what)| what);
        tried.map(|(profile, _)| profile)
    }

    /// How many servers a runtime starts that brings its own: what the platform says, else the
    /// profile, else three.
    pub fn servers(&self, profile: &Profile) -> u16 {
        let asked = self.platform.servers.or(profile.servers());
        asked.unwrap_or(triptych_registry::SERVERS)
    }

    /// The seed of each repetition.
    pub fn seeds(&self) -> Vec<u64> {
        match &self.seeds {
            Seeds::Each(seeds) => seeds.clone(),
            Seeds::First(first) => {
                let count = u64::from(self.repetitions.unwrap_or(1));
                (0..count).map(|n| first.wrapping_add(n)).collect()
            }
        }
    }

    /// Every run, in the order in which tables show them.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for profile in &self.profiles {
            for runtime in &self.runtimes {
                for rate in &self.rates {
                    for (repetition, seed) in (0..).zip(self.seeds()) {
                        cells.push(Cell::new(profile, runtime, *rate, repetition, seed));
                    }
                }
            }
        }
        cells
    }

    /// The bounds of the load generator.
    pub fn limits(&self) -> Limits {
        Limits {
            in_flight: self
                .limits
                .in_flight
                .map_or(usize::MAX, |limit| limit as usize),
            when_full: match self.limits.when_full {
                Full::Queue => WhenFull::Queue,
                Full::Shed => WhenFull::Shed,
            },
            client_timeout: self.limits.client_timeout.0,
            // With a queue at the client, the last requests may be sent late; then their own
            // timeout must still pass.
            grace: self.limits.client_timeout.0.saturating_mul(2),
        }
    }

    /// The campaign with every default filled in, as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

#[cfg(test)]
mod tests;
