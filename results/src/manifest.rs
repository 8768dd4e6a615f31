//! What a run was: everything that must be known to judge its numbers or to run it again.

use crate::error::BundleError;
use crate::price::{Arch, PriceError, PriceSheet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the files' layout. A reader refuses any other; see `FORMAT.md` for what each
/// version changed.
pub const SCHEMA: u32 = 1;

/// The facts of one run. All fields are public and plain; start from [`Manifest::default`] and
/// fill in what the run decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run's name within its campaign, and its folder's name: letters, digits, `.`, `_`, `-`.
    pub run_id: String,
    /// The name of the campaign.
    pub campaign: String,
    /// The runtime under test.
    pub runtime: String,
    /// The workload profile.
    pub profile: String,
    /// The application.
    pub app: String,
    /// The offered rate of the schedule, requests per second.
    pub rate: f64,
    /// How the arrivals are spaced: `constant`, `poisson`, ...
    pub arrivals: String,
    /// The seed of everything random in the run.
    pub seed: u64,
    /// Which repetition of its cell of the campaign it is, from 0.
    pub repetition: u32,
    /// Where functions ran: `sim`, `local` or `aws`.
    pub platform: String,
    /// Whether times are virtual. Such numbers are labelled wherever they are shown.
    pub simulated: bool,
    /// The length of the schedule with its warm-up.
    pub duration_ns: u64,
    /// How much of the start of the schedule is not measured.
    pub warmup_ns: u64,
    /// The length of an interval of the timeline and of the histogram log.
    pub interval_ns: u64,
    /// How many requests the schedule holds. The operation log must account for each.
    pub intended: u64,
    /// The names of the request kinds; [`triptych_model::OpRecord::kind`] is a position in it.
    pub kinds: Vec<String>,
    /// Which of them may change something, and so have a time of their last effect.
    pub effectful: Vec<String>,
    /// The latency profile of the simulated parts.
    pub latency_profile: String,
    /// The price sheet: a name of [`PriceSheet::names`], or any name if the text comes along.
    pub price_sheet: String,
    /// The text of a price sheet of one's own; nothing if it ships with the suite.
    pub price_sheet_text: Option<String>,
    /// Memory of a function, MB.
    pub memory_mb: u32,
    /// The processor that functions are priced for.
    pub arch: Arch,
    /// The effective settings of runtime, app and platform, by dotted name.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// The faults that were asked for and where they fell.
    pub faults: Faults,
    /// Timeouts, retries, collector periods, T: by name, the unit at its end (`timeout_ns`).
    pub timing: BTreeMap<String, u64>,
    /// A digest of the generated request stream: equal digests mean equal work was asked for.
    pub generator_digest: String,
    /// The command that runs it again.
    pub command: String,
    /// Remarks for the reader of the report.
    pub notes: Vec<String>,
}

/// The faults of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// The fault plan as configured, by dotted name. Empty for a run without faults.
    pub plan: BTreeMap<String, serde_json::Value>,
    /// Faults that a timeline should mark: few and named, not one per crashed request (those are
    /// in the operation log).
    pub marks: Vec<FaultMark>,
}

/// A fault on the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultMark {
    /// When it began, from the start of the load.
    pub from_ns: u64,
    /// When it ended; the same as `from_ns` for a moment.
    pub to_ns: u64,
    /// What it was, in a few words.
    pub label: String,
}

impl Default for Manifest {
    fn default() -> Self {
        Manifest {
            schema: SCHEMA,
            run_id: String::new(),
            campaign: String::new(),
            runtime: String::new(),
            profile: String::new(),
            app: String::new(),
            rate: 0.0,
            arrivals: String::new(),
            seed: 0,
            repetition: 0,
            platform: "sim".to_string(),
            simulated: true,
            duration_ns: 0,
            warmup_ns: 0,
            interval_ns: 1_000_000_000,
            intended: 0,
            kinds: Vec::new(),
            effectful: Vec::new(),
            latency_profile: String::new(),
            price_sheet: String::new(),
            price_sheet_text: None,
            memory_mb: 1024,
            arch: Arch::X86,
            settings: BTreeMap::new(),
            faults: Faults::default(),
            timing: BTreeMap::new(),
            generator_digest: String::new(),
            command: String::new(),
            notes: Vec::new(),
        }
    }
}

/// More intervals than this are a mistake in the manifest, not a timeline.
const MOST_INTERVALS: u64 = 1_000_000;

impl Manifest {
    /// The price sheet that the run is billed by.
    ///
    /// # Errors
    /// If there is none of that name, or the text that came along is not one.
    pub fn prices(&self) -> Result<PriceSheet, PriceError> {
        match &self.price_sheet_text {
            Some(text) => PriceSheet::parse(&self.price_sheet, text),
            None => PriceSheet::shipped(&self.price_sheet),
        }
    }

    /// The length of the measured part of the schedule.
    pub fn measured_ns(&self) -> u64 {
        self.duration_ns.saturating_sub(self.warmup_ns)
    }

    /// How runs of this configuration are labelled: never without saying that time was virtual.
    pub fn time_label(&self) -> &'static str {
        if self.simulated {
            "simulated"
        } else {
            "wall clock, shared machine: not ranked"
        }
    }

    /// Checks what later code relies on.
    ///
    /// # Errors
    /// The first thing that does not fit, in words.
    pub fn check(&self) -> Result<(), String> {
        check_id(&self.run_id)?;
        if self.interval_ns == 0 || self.duration_ns / self.interval_ns > MOST_INTERVALS {
            return Err(format!(
                "interval_ns {} does not divide {} ns into a sensible number of intervals",
                self.interval_ns, self.duration_ns
            ));
        }
        if self.warmup_ns >= self.duration_ns {
            return Err(format!(
                "warmup_ns {} leaves nothing of duration_ns {} to measure",
                self.warmup_ns, self.duration_ns
            ));
        }
        if !self.rate.is_finite() || self.rate < 0.0 {
            return Err(format!("rate {} is not a rate", self.rate));
        }
        if self.kinds.is_empty() || self.kinds.len() > usize::from(u16::MAX) {
            return Err("kinds is empty or too long".to_string());
        }
        for (position, kind) in self.kinds.iter().enumerate() {
            // Kinds become tags of the histogram log, where a comma or a space would end them.
            if kind.is_empty() || kind.contains([',', '/']) || kind.contains(char::is_whitespace) {
                return Err(format!("the request kind `{kind}` is not a plain word"));
            }
            if self.kinds[..position].contains(kind) {
                return Err(format!("the request kind `{kind}` is there twice"));
            }
        }
        match self
            .effectful
            .iter()
            .find(|kind| !self.kinds.contains(kind))
        {
            Some(kind) => Err(format!(
                "the effectful kind `{kind}` is not among the kinds"
            )),
            None => Ok(()),
        }
    }
}

/// Checks that `id` can be a folder's name on every system and never leaves its parent.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if id.is_empty() || id.len() > 200 || !id.bytes().all(plain) || id.starts_with('.') {
        return Err(format!(
            "`{id}` is not a run id: letters, digits, `.`, `_` and `-`, not starting with `.`"
        ));
    }
    if id.ends_with(".partial") {
        return Err(format!(
            "`{id}` ends with `.partial`, which marks unfinished runs"
        ));
    }
    Ok(())
}

/// One cell of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRun {
    /// The run's id.
    pub id: String,
    /// The runtime.
    pub runtime: String,
    /// The workload profile.
    pub profile: String,
    /// The offered rate, requests per second.
    pub rate: f64,
    /// The repetition, from 0.
    pub repetition: u32,
    /// The seed.
    pub seed: u64,
}

/// What a campaign wants to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignManifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The campaign's name.
    pub name: String,
    /// The campaign's configuration after all defaults were filled in, as TOML.
    pub config: String,
    /// The command that runs it again.
    pub command: String,
    /// Every run, in the order in which tables show them.
    pub runs: Vec<PlannedRun>,
}

impl CampaignManifest {
    /// Checks that ids are usable and unique.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (position, run) in self.runs.iter().enumerate() {
            check_id(&run.id)?;
            if self.runs[..position].iter().any(|other| other.id == run.id) {
                return Err(format!("the run id `{}` is there twice", run.id));
            }
        }
        Ok(())
    }
}

/// Where and when it ran: the one file of a bundle that differs between two equal runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Facts about the machine and the build, by name.
    pub facts: BTreeMap<String, String>,
    /// When the run began, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How long the run took on the wall clock.
    pub wall_ns: u64,
}

impl Environment {
    /// The facts that can be had without asking anybody: processor, cores, memory, kernel, target.
    pub fn observe() -> Self {
        let mut facts = BTreeMap::new();
        let mut fact = |name: &str, value: Option<String>| {
            facts.extend(value.map(|value| (name.to_string(), value)));
        };
        let read = |file: &str| std::fs::read_to_string(file).ok();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        fact("os", Some(std::env::consts::OS.to_string()));
        fact("arch", Some(std::env::consts::ARCH.to_string()));
        fact(
            "kernel",
            read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_string()),
        );
        fact(
            "cpu",
            read("/proc/cpuinfo").and_then(|text| field(&text, "model name")),
        );
        fact(
            "memory",
            read("/proc/meminfo").and_then(|text| field(&text, "MemTotal")),
        );
        fact(
            "cores",
            std::thread::available_parallelism()
                .ok()
                .map(|n| n.to_string()),
        );
        fact(
            "profile",
            Some(
                if cfg!(debug_assertions) {
                    "debug"
                } else {
                    "release"
                }
                .to_string(),
            ),
        );
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Environment {
            facts,
            started_unix_ms: now.map_or(0, |since| since.as_millis() as u64),
            wall_ns: 0,
        }
    }
}

/// Checks a schema version read from `file`.
pub(crate) fn check_schema(file: &std::path::Path, found: u32) -> Result<(), BundleError> {
    if found == SCHEMA {
        return Ok(());
    }
    Err(BundleError::Schema {
        file: file.to_path_buf(),
        found,
        known: SCHEMA,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_folder_are_refused() {
        for bad in ["", "..", "a/b", "a b", "x.partial", ".hidden", "ü"] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
        assert!(check_id("beldi-full-movie-100-r0").is_ok());
    }

    #[test]
    fn a_manifest_survives_json_and_refuses_unknown_fields() {
        let mut manifest = Manifest {
            rate: 0.1 + 0.2,
            ..Manifest::default()
        };
        manifest
            .settings
            .insert("beldi.row_capacity".into(), 30.into());
        let text = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
        let text = text.replacen('{', "{\"surprise\":1,", 1);
        assert!(serde_json::from_str::<Manifest>(&text).is_err());
    }

    #[test]
    fn a_kind_that_would_break_a_tag_is_refused() {
        let good = Manifest {
            run_id: "r".into(),
            duration_ns: 10,
            interval_ns: 1,
            kinds: vec!["compose".into(), "read-page".into()],
            ..Manifest::default()
        };
        assert_eq!(good.check(), Ok(()));
        for kind in ["compose", "a,b", "a b", ""] {
            let mut bad = good.clone();
            bad.kinds.push(kind.into());
            assert!(bad.check().is_err(), "{kind}");
        }
        assert!(
            Manifest {
                warmup_ns: 10,
                ..good.clone()
            }
            .check()
            .is_err()
        );
        assert!(
            Manifest {
                effectful: vec!["x".into()],
                ..good
            }
            .check()
            .is_err()
        );
    }
}
