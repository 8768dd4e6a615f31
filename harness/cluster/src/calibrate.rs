//! Service times for the simulator, measured on real nodes.
//!
//! A cluster of processes is started with nodes that measure how long they work on what they are
//! given, and is driven with loads of different sizes and batchings, anew for each. From what the
//! nodes leave, [`profile`] fits what a message of each kind costs, and each unit and byte of it.

mod cache;
pub mod fit;
mod log;
pub mod profile;

use crate::file::{ClusterFile, Kind};
use crate::up::{Cluster, Start, UpError};
use profile::{Profile, Samples};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use triptych_load::pool::Cancel;
use triptych_world::Nanos;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The cluster does not come up.
    #[error(transparent)]
    Up(#[from] UpError),
    /// A load has no outcome, or one that shows a broken promise.
    #[error("{0}")]
    Load(String),
    /// The nodes have left nothing.
    #[error("no node has left any measurements")]
    Nothing,
    /// The system refuses something.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// How long to wait for a cluster, and for its end: nodes write what they have measured then.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures. `told` hears of each load before it begins.
///
/// # Errors
/// [`CalibrateError`].
pub fn calibrate(
    file: &ClusterFile,
    start: &Start,
    span: Nanos,
    cancel: &Arc<Cancel>,
    mut told: impl FnMut(&str),
) -> Result<Profile, CalibrateError> {
    let start = Start {
        fresh: true,
        arguments: vec!["--measure".to_owned()],
        ..start.clone()
    };
    let loads = match file {
        ClusterFile::Log(_) => log::names(),
        ClusterFile::Cache(_) => cache::names(),
    };
    let mut measured: Vec<Samples> = Vec::new();
    for (n, name) in loads.iter().enumerate() {
        told(&format!("{} of {}: {name}", n + 1, loads.len()));
        let mut cluster = Cluster::start(file, &start)?;
        cluster.wait_ready(PATIENCE, cancel)?;
        match file {
            ClusterFile::Log(file) => log::drive(file, &cluster, n, span, cancel)?,
            ClusterFile::Cache(file) => cache::drive(file, &cluster, n, span, cancel)?,
        }
        let folder = crate::up::folder::DataFolder::at(cluster.folder().dir());
        let killed = cluster.stop(PATIENCE);
        if cancel.is_cancelled() {
            return Err(UpError::Stopped.into());
        }
        if let Some(node) = killed.first() {
            return Err(CalibrateError::Load(format!("{node} did not stop")));
        }
        for node in file.nodes() {
            let text = fs::read_to_string(folder.samples(&node))?;
            let samples = serde_json::from_str(&text).map_err(std::io::Error::other)?;
            measured.push(samples);
        }
    }
    match measured.iter().all(Samples::is_empty) {
        true => Err(CalibrateError::Nothing),
        false => Ok(profile::profile(&measured)),
    }
}

/// A profile as a file, with what it was measured on.
pub fn to_toml(profile: &Profile, kind: Kind, machine: &str, level: &str) -> String {
    let nodes = match kind {
        Kind::Log => "the log's nodes",
        Kind::Cache => "cache servers and their database",
    };
    let body = toml::to_string(profile).unwrap_or_else(|error| format!("# {error}\n"));
    format!(
        "# Service times of {nodes}, measured by `triptych calibrate`: {machine}.\n\
         # Measured on a shared machine with all nodes and the load on it, at level `{level}`: they\n\
         # have interruptions by others in them. Good for simulating, not for ranking.\n\
         # [service] is what the simulator takes: a cost per message and per further unit of each kind,\n\
         # and one per byte for all, fitted together by least squares without negative costs.\n\
         # `error` is relative to what was measured.\n\
         # [kinds.…] is the fit of each kind by itself.\n\n{body}"
    )
}

/// The machine, in words: processor, cores, system, day.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let system = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = seconds.map_or(0, |since| since.as_secs() / 86_400);
    format!(
        "{model}, {} cores, Linux {}, {}",
        triptych_load::pool::cores(),
        system.trim(),
        day(days)
    )
}

/// The date of a day, counted from 1970-01-01.
fn day(days: u64) -> String {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (mut year, mut left) = (1970, days);
    loop {
        let length = 365 + u64::from(leap(year));
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        let known = [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_783, "2026-11-26"),
            (364, "1970-12-31"),
        ];
        for (days, date) in known {
            assert_eq!(day(days), date);
        }
    }

    #[test]
    fn a_profile_reads_back() {
        let profile = profile::profile(&[]);
        let text = to_toml(&profile, Kind::Log, &machine(), "memory");
        assert!(text.starts_with("# Service times"));
        assert_eq!(toml::from_str::<Profile>(&text).unwrap(), profile);
    }
}
