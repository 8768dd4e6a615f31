//! `triptych verify`: every published number is computed again from the raw data and compared.
//!
//! Digests find accidents. Recomputation finds what digests cannot: a summary that was edited
//! together with its digest, or that another version of the suite computes differently. The
//! verdict can be recomputed only by somebody who has the rules, so the caller brings a [`Judge`].

use crate::bundle::{
    CAUSES, DETERMINISTIC, DIGESTS, ENVIRONMENT, GAUGES, HISTORY, LATENCY, MANIFEST, OPS,
    RunBundle, SUMMARY, VERDICT,
};
use crate::error::BundleError;
use crate::hlog;
use crate::manifest::Manifest;
use crate::summarise::Summariser;
use std::fs;
use std::path::{Path, PathBuf};
use triptych_model::history::History;
use triptych_model::{OpRecord, State, Verdict};

/// Computes the verdict of a run again, from what it answered and left behind, and
/// from its history if there is one.
pub type Judge<'a> = dyn Fn(&Manifest, &[OpRecord], &State, Option<&History>) -> Verdict + 'a;

/// How many differing numbers of one file are told.
const TOLD: usize = 5;

/// What the verification of one bundle found.
#[derive(Debug)]
pub struct VerifyReport {
    /// The bundle's folder.
    pub dir: PathBuf,
    /// What was checked or recomputed and agrees, in words.
    pub checked: Vec<String>,
    /// What does not agree, by file. Empty for a bundle that can be believed.
    pub problems: Vec<BundleError>,
    /// What could not be checked and why, in words.
    pub unchecked: Vec<String>,
}

impl VerifyReport {
    /// Whether everything that was checked agrees.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

impl std::fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.is_ok() {
            "verified"
        } else {
            "NOT verified"
        };
        writeln!(f, "{}: {word}", self.dir.display())?;
        self.problems
            .iter()
            .try_for_each(|problem| writeln!(f, "  problem    {problem}"))?;
        self.checked
            .iter()
            .try_for_each(|what| writeln!(f, "  agrees     {what}"))?;
        self.unchecked
            .iter()
            .try_for_each(|what| writeln!(f, "  unchecked  {what}"))
    }
}

/// Verifies a bundle. Problems are collected, so that one damaged file does not hide another.
///
/// # Errors
/// If there is no folder at `dir`.
pub fn verify(
    dir: impl AsRef<Path>,
    rejudge: Option<&Judge<'_>>,
) -> Result<VerifyReport, BundleError> {
    let dir = dir.as_ref();
    if !dir.is_dir() {
        return Err(BundleError::Missing {
            file: dir.to_path_buf(),
        });
    }
    let mut report = VerifyReport {
        dir: dir.to_path_buf(),
        checked: Vec::new(),
        problems: Vec::new(),
        unchecked: Vec::new(),
    };
    match RunBundle::open(dir) {
        Ok(bundle) => verify_parts(&bundle, rejudge, &mut report),
        Err(problem) => report.problems.push(problem),
    }
    Ok(report)
}

fn verify_parts(bundle: &RunBundle, rejudge: Option<&Judge<'_>>, report: &mut VerifyReport) {
    // Every file is opened even if an earlier one is damaged: the report names them all.
    let mut problems = Vec::new();
    let mut keep = |problem| problems.push(problem);
    let manifest = bundle.manifest().map_err(&mut keep).ok();
    let work = bundle.work().map_err(&mut keep).ok();
    let verdict = bundle.verdict().map_err(&mut keep).ok();
    let state = bundle.state().map_err(&mut keep).ok();
    let history = bundle.history().map_err(&mut keep).ok();
    let summary = bundle.summary().map_err(&mut keep).ok();
    let latency = bundle.part(LATENCY).map_err(&mut keep).ok();
    let environment = bundle.environment().map_err(&mut keep).ok();
    let ops = bundle.ops().map_err(&mut keep).ok();
    let gauges = bundle.gauges().map_err(&mut keep).ok();
    unexpected(bundle.dir(), bundle.has(GAUGES))
        .into_iter()
        .for_each(&mut keep);
    if problems.is_empty() {
        let optional = [GAUGES, HISTORY, CAUSES];
        let optional = optional.iter().filter(|name| bundle.has(name));
        let count = DETERMINISTIC.len() + optional.count();
        report.checked.push(format!(
            "digests of {count} files, {ENVIRONMENT}, {DIGESTS}"
        ));
    }
    report.problems = problems;
    let (Some(manifest), Some(work), Some(verdict), Some(ops)) = (manifest, work, verdict, ops)
    else {
        report
            .unchecked
            .push("nothing was recomputed, because its sources are damaged".into());
        return;
    };

    let again = recompute(&manifest, ops, |summariser| {
        summariser.finish(&work, &verdict)
    });
    match again.map_err(|problem| attribute(bundle, problem)) {
        Err(problem) => report.problems.push(problem),
        Ok((again, log)) => {
            report.checked.push(format!(
                "{OPS}: {} requests, all of the schedule",
                manifest.intended
            ));
            if let Some(summary) = summary {
                let (published, again) = (json(&summary), json(&again));
                compare(bundle, SUMMARY, &published, &again, report);
            }
            if let Some(latency) = latency {
                compare_logs(bundle, &latency, &log, report);
            }
        }
    }
    if let Some(last) = gauges.as_ref().and_then(|gauges| gauges.last()) {
        if last.at_ns > manifest.duration_ns {
            let why = "an amount was noted after the end of the load";
            let file = bundle.file(GAUGES);
            report.problems.push(BundleError::damaged(&file, why));
        }
        let what = format!("{GAUGES}: noted by the run itself, nothing to recompute it from");
        report.unchecked.push(what);
    }
    match (rejudge, state, history) {
        (Some(judge), Some(state), Some(history)) => match bundle.read_ops() {
            Ok(ops) => {
                let again = judge(&manifest, &ops, &state, history.as_ref());
                compare(bundle, VERDICT, &json(&verdict), &json(&again), report);
            }
            Err(problem) => report.problems.push(problem),
        },
        _ => report
            .unchecked
            .push(format!("{VERDICT}: not judged again")),
    }
    if environment.is_some() {
        report
            .unchecked
            .push(format!("{ENVIRONMENT}: facts of one machine and moment"));
    }
}

/// Why a recomputation could not be done.
enum Unfit {
    Bundle(BundleError),
    Summary(crate::summary::SummaryError),
}

fn recompute<'a, T>(
    manifest: &'a Manifest,
    ops: impl Iterator<Item = Result<OpRecord, BundleError>>,
    finish: impl FnOnce(Summariser<'a>) -> Result<T, crate::summary::SummaryError>,
) -> Result<T, Unfit> {
    let mut summariser = Summariser::new(manifest).map_err(Unfit::Summary)?;
    for op in ops {
        summariser
            .push(&op.map_err(Unfit::Bundle)?)
            .map_err(Unfit::Summary)?;
    }
    finish(summariser).map_err(Unfit::Summary)
}

/// Says which file a failed recomputation speaks of.
fn attribute(bundle: &RunBundle, problem: Unfit) -> BundleError {
    use crate::summary::SummaryError as E;
    match problem {
        Unfit::Bundle(problem) => problem,
        Unfit::Summary(problem) => {
            let file = match problem {
                E::Manifest(_) | E::Price(_) => MANIFEST,
                E::Conservation { .. } | E::Record { .. } | E::Hlog(_) => OPS,
            };
            BundleError::damaged(&bundle.file(file), problem)
        }
    }
}

fn json(content: &impl serde::Serialize) -> serde_json::Value {
    // Only maps with keys that are not text cannot be JSON, and none of ours has such.
    serde_json::to_value(content).unwrap_or_default()
}

fn compare(
    bundle: &RunBundle,
    name: &str,
    published: &serde_json::Value,
    again: &serde_json::Value,
    report: &mut VerifyReport,
) {
    let mut differences = Vec::new();
    let same = differ("", published, again, &mut differences);
    if differences.is_empty() {
        report
            .checked
            .push(format!("{name}: {same} values recomputed"));
        return;
    }
    let more = differences.len().saturating_sub(TOLD);
    differences.truncate(TOLD);
    let mut why = format!("recomputed differently: {}", differences.join("; "));
    if more > 0 {
        why.push_str(&format!("; and {more} more"));
    }
    report
        .problems
        .push(BundleError::damaged(&bundle.file(name), why));
}

/// Compares leaf by leaf; returns how many agree.
fn differ(
    path: &str,
    published: &serde_json::Value,
    again: &serde_json::Value,
    differences: &mut Vec<String>,
) -> usize {
    use serde_json::Value;
    let absent = Value::Null;
    match (published, again) {
        (Value::Object(a), Value::Object(b)) => {
            let only_again = b.keys().filter(|key| !a.contains_key(*key));
            a.keys()
                .chain(only_again)
                .map(|key| {
                    let (a, b) = (a.get(key).unwrap_or(&absent), b.get(key).unwrap_or(&absent));
                    let dot = if path.is_empty() { "" } else { "." };
                    differ(&format!("{path}{dot}{key}"), a, b, differences)
                })
                .sum()
        }
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len()))
            .map(|i| {
                let (a, b) = (a.get(i).unwrap_or(&absent), b.get(i).unwrap_or(&absent));
                differ(&format!("{path}[{i}]"), a, b, differences)
            })
            .sum(),
        (a, b) if a == b => 1,
        (a, b) => {
            differences.push(format!("{path} is {a}, but the data say {b}"));
            0
        }
    }
}

fn compare_logs(bundle: &RunBundle, published: &[u8], again: &[u8], report: &mut VerifyReport) {
    let file = bundle.file(LATENCY);
    let parsed = match (hlog::read(published), hlog::read(again)) {
        (Ok(published), Ok(again)) => (published, again),
        (Err(why), _) | (_, Err(why)) => {
            report.problems.push(BundleError::damaged(&file, why));
            return;
        }
    };
    // The bytes may differ by the version of the compressor; the histograms may not.
    let (published, again) = parsed;
    if published == again {
        report
            .checked
            .push(format!("{LATENCY}: {} histograms recomputed", again.len()));
        return;
    }
    let first = published
        .iter()
        .zip(&again)
        .find(|(a, b)| a != b)
        .map(|(a, _)| a);
    let place = first.map_or("the number of histograms".to_string(), |entry| {
        format!("{}/{} from {} ns", entry.kind, entry.class, entry.from_ns)
    });
    let why = format!("recomputed differently: {place}");
    report.problems.push(BundleError::damaged(&file, why));
}

/// Files that no bundle has: somebody's notes are better kept elsewhere than taken for data.
fn unexpected(dir: &Path, gauges: bool) -> Vec<BundleError> {
    let known = |name: &str| {
        DETERMINISTIC.contains(&name)
            || name == DIGESTS
            || name == ENVIRONMENT
            || name == HISTORY
            || name == CAUSES
            || (gauges && name == GAUGES)
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => return vec![BundleError::io(dir, "read", e)],
    };
    let mut strange: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_str().is_some_and(known))
        .map(|entry| entry.path())
        .collect();
    strange.sort();
    strange
        .iter()
        .map(|file| BundleError::damaged(file, "not a file of a bundle"))
        .collect()
}
