//! Many short runs with different seeds, judged as one batch.
//!
//! A seed changes the schedule of tasks (ready tasks run in a shuffled order), the arrivals, the
//! requests, the latencies and the crashes. Rare orders of events are met by trying many of them;
//! every seed that violates something can be run again alone.

use crate::campaign::{Campaign, Cell, FaultRates};
use crate::pool::{self, Cancel};
use crate::run::{self, RunError, Watch};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_model::{Coverage, Guarantee, Verdict, Work};
use triptych_oracle::Floors;
use triptych_workloads::Profile;
pub use triptych_world::fault::FaultKind;

/// What to check, with which seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The runtime.
    pub runtime: String,
    /// The profiles: seeds are dealt out to them in turn.
    pub profiles: Vec<String>,
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub count: u64,
    /// The faults.
    pub rates: FaultRates,
}

/// Whether the oracle applies to a profile in full, as its name's prefix says.
pub(crate) fn is_judged(profile: &str) -> bool {
    profile.starts_with("full-") || profile.starts_with("hot-")
}

/// Every profile that is judged and that a runtime can run: full and contended ones, and of those
/// whose requests are workflows of the platform only where it runs them. A runtime that nobody knows
/// gets them all, and is refused later.
pub fn all_profiles(runtime: &str) -> Vec<String> {
    let entry = triptych_registry::runtime(runtime);
    let able = entry.map_or(true, |entry| entry.workflows);
    let workflows = |profile: &Profile| {
        let entry = triptych_registry::app(&profile.app);
        let app = entry.ok().and_then(|entry| (entry.build)(profile).ok());
        app.is_some_and(|app| !app.workflows.is_empty())
    };
    let profiles = triptych_workloads::profiles().into_iter();
    let fit = profiles.filter(|profile| is_judged(&profile.name) && (able || !workflows(profile)));
    fit.map(|profile| profile.name).collect()
}

/// A run of a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tried {
    /// Its profile.
    pub profile: String,
    /// Its seed.
    pub seed: u64,
}

/// How a rule fared in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFinding {
    /// The rule.
    pub rule: String,
    /// The guarantee that it speaks of.
    pub guarantee: Guarantee,
    /// Whether it may decide about that: whether what it takes for granted is promised.
    pub asked: bool,
    /// Facts that it examined, over all seeds.
    pub examined: u64,
    /// Violations, over all seeds.
    pub violations: u64,
    /// The runs in which it was violated, in the order of the batch.
    pub violated_in: Vec<Tried>,
    /// What the first of them shows.
    pub witness: String,
}

/// What the runs of one app came to.
#[derive(Debug)]
pub struct AppReport {
    /// The app.
    pub app: String,
    /// Seeds that ran to their end.
    pub done: u64,
    /// Requests of all of them.
    pub requests: u64,
    /// Requests that met a fault of each kind, in the order of [`FaultKind::ALL`].
    pub met: [u64; FaultKind::ALL.len()],
    /// What was seen.
    pub coverage: Coverage,
    /// The verdict on these runs together.
    pub verdict: Verdict,
}

/// What a batch came to.
#[derive(Debug)]
pub struct BatchReport {
    /// Seeds that ran to their end.
    pub done: u64,
    /// Requests of all of them.
    pub requests: u64,
    /// Requests into which a fault was injected that took effect.
    pub faulted: u64,
    /// Executions that crashed.
    pub crashes: u64,
    /// Each app.
    pub apps: Vec<AppReport>,
    /// Every rule.
    pub rules: Vec<RuleFinding>,
    /// Seeds without a result, and why.
    pub failed: Vec<(Tried, RunError)>,
}

/// The campaign that short runs of a profile are cells of: a few seconds of load on a small data
/// set, so that requests meet on the same keys. Other settings of the profile come on top.
///
/// # Errors
/// What is wrong with the names, in words.
pub fn small_campaign(
    runtime: &str,
    profile: &str,
    rates: &FaultRates,
    shuffle: bool,
    settings: &[(&str, String)],
) -> Result<Campaign, String> {
    let found = triptych_workloads::find(profile);
    let mut small = found.map(|found| found.small()).unwrap_or_default();
    let own = settings.iter();
    small.extend(own.map(|(key, value)| ((*key).to_owned(), value.clone())));
    let settings: String = small
        .into_iter()
        .map(|(key, value)| format!("{key} = {value:?}\n"))
        .collect();
    let faults: String = rates
        .named()
        .into_iter()
        .map(|(key, value)| format!("{key} = {value:?}\n"))
        .collect();
    let text = format!(
        "name = \"check\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [40]\n\
         duration = \"3s\"\nwarmup = \"0s\"\n[platform]\nshuffle = {shuffle}\n\
         [faults]\n{faults}[settings]\n{settings}"
    );
    Campaign::parse("check", &text).map_err(|mistakes| {
        let told = mistakes.mistakes.iter().map(|mistake| {
            let help = mistake.help.join("; ");
            format!("{}; {help}", mistake.what)
        });
        told.collect::<Vec<_>>().join("\n")
    })
}

impl Batch {
    fn campaigns(&self) -> Result<Vec<Campaign>, String> {
        if self.profiles.is_empty() {
            return Err("no profile is named".to_owned());
        }
        let profiles = self.profiles.iter();
        profiles
            .map(|profile| small_campaign(&self.runtime, profile, &self.rates, true, &[]))
            .collect()
    }

    /// The run of one profile with one seed.
    ///
    /// # Errors
    /// What is wrong with the names, in words.
    pub fn cell(&self, tried: &Tried) -> Result<(Campaign, Cell), String> {
        let Tried { profile, seed } = tried;
        let campaign = small_campaign(&self.runtime, profile, &self.rates, true, &[])?;
        let cell = Cell::new(profile, &self.runtime, campaign.rates[0], 0, *seed);
        Ok((campaign, cell))
    }

    /// Runs all seeds on up to `threads` threads; `told` hears how many are done.
    ///
    /// # Errors
    /// What is wrong with the names, in words.
    pub fn run(
        &self,
        threads: usize,
        cancel: &Arc<Cancel>,
        mut told: impl FnMut(u64),
    ) -> Result<BatchReport, String> {
        let campaigns = self.campaigns()?;
        let cells: Vec<(&Campaign, Cell)> = (0..self.count)
            .map(|n| {
                let at = (n % campaigns.len() as u64) as usize;
                let (campaign, profile) = (&campaigns[at], &self.profiles[at]);
                let (rate, seed) = (campaign.rates[0], self.first.wrapping_add(n));
                (campaign, Cell::new(profile, &self.runtime, rate, 0, seed))
            })
            .collect();
        let watch = Watch {
            cancel: Arc::clone(cancel),
            ..Watch::default()
        };
        let mut done = 0;
        let results = pool::each(
            threads,
            &cells,
            cancel,
            |_, (campaign, cell)| {
                let output = run::run(campaign, cell, "", &watch)?;
                Ok(Ran {
                    faulted: output.ops.iter().filter(|op| op.faults > 0).count() as u64,
                    requests: output.ops.len() as u64,
                    met: output.seen.met(),
                    app: output.manifest.app,
                    verdict: output.verdict,
                    work: output.work,
                })
            },
            |_, _| {
                done += 1;
                told(done);
            },
        );
        let tried = cells.iter().map(|(_, cell)| Tried {
            profile: cell.profile.clone(),
            seed: cell.seed,
        });
        Ok(merge(tried.zip(results), &Floors::new(self.rates.any())))
    }
}

struct Ran {
    app: String,
    verdict: Verdict,
    work: Work,
    requests: u64,
    faulted: u64,
    met: [u64; FaultKind::ALL.len()],
}

type SeedResult = Option<Result<Result<Ran, RunError>, String>>;

fn merge(results: impl Iterator<Item = (Tried, SeedResult)>, floors: &Floors) -> BatchReport {
    let mut failed = Vec::new();
    let mut apps: BTreeMap<String, Vec<Ran>> = BTreeMap::new();
    // A rule may be asked of one profile and not of another: those are two lines.
    let mut rules: BTreeMap<(String, bool), RuleFinding> = BTreeMap::new();
    for (tried, result) in results {
        let ran = match result {
            None | Some(Ok(Err(RunError::Cancelled))) => continue,
            Some(Ok(Ok(ran))) => ran,
            Some(Ok(Err(error))) => {
                failed.push((tried, error));
                continue;
            }
            Some(Err(panic)) => {
                failed.push((tried, RunError::Panic(panic)));
                continue;
            }
        };
        for report in &ran.verdict.rules {
            let finding = rules
                .entry((report.rule.clone(), !report.asked))
                .or_insert_with(|| RuleFinding {
                    rule: report.rule.clone(),
                    guarantee: report.guarantee,
                    asked: report.asked,
                    examined: 0,
                    violations: 0,
                    violated_in: Vec::new(),
                    witness: String::new(),
                });
            finding.examined += report.examined;
            finding.violations += report.violations;
            if report.violations > 0 {
                finding.violated_in.push(tried.clone());
                if let (true, Some(witness)) = (finding.witness.is_empty(), &report.witness) {
                    finding.witness = witness.told.clone();
                }
            }
        }
        apps.entry(ran.app.clone()).or_default().push(ran);
    }
    let all = || apps.values().flatten();
    BatchReport {
        done: all().count() as u64,
        requests: all().map(|ran| ran.requests).sum(),
        faulted: all().map(|ran| ran.faulted).sum(),
        crashes: all().map(|ran| ran.work.crashes).sum(),
        rules: rules.into_values().collect(),
        failed,
        apps: apps
            .into_iter()
            .map(|(app, runs)| AppReport::new(app, runs, floors))
            .collect(),
    }
}

impl AppReport {
    fn new(app: String, runs: Vec<Ran>, floors: &Floors) -> Self {
        let mut coverage = Coverage::default();
        let mut met = [0; FaultKind::ALL.len()];
        for ran in &runs {
            coverage.add(&ran.verdict.coverage);
            for (sum, met) in met.iter_mut().zip(ran.met) {
                *sum += met;
            }
        }
        let (done, requests) = (runs.len() as u64, runs.iter().map(|ran| ran.requests).sum());
        let verdicts: Vec<Verdict> = runs.into_iter().map(|ran| ran.verdict).collect();
        AppReport {
            app,
            done,
            requests,
            met,
            coverage,
            verdict: triptych_oracle::merge(&verdicts, floors),
        }
    }
}

impl BatchReport {
    /// The rules as a table, the violated ones first.
    pub fn table(&self) -> String {
        let mut rules: Vec<&RuleFinding> = self.rules.iter().collect();
        rules.sort_by_key(|rule| (rule.violations == 0, rule.guarantee));
        let head = [
            "rule",
            "guarantee",
            "examined",
            "violations",
            "in seeds",
            "first seeds",
        ];
        let rows = rules.into_iter().map(|rule| {
            let first = rule.violated_in.iter().take(5);
            let first: Vec<String> = first.map(|tried| tried.seed.to_string()).collect();
            [
                rule.rule.clone(),
                match rule.asked {
                    true => rule.guarantee.name().to_owned(),
                    false => format!("({})", rule.guarantee.name()),
                },
                rule.examined.to_string(),
                rule.violations.to_string(),
                rule.violated_in.len().to_string(),
                first.join(" "),
            ]
        });
        crate::table::plain(std::iter::once(head.map(str::to_owned)).chain(rows))
    }

    /// What was seen of each app, as a table.
    pub fn coverage(&self) -> String {
        let head = [
            "app",
            "seeds",
            "requests",
            "with effects",
            "overlapping",
            "conflicts",
            "read pairs",
        ];
        let kinds = FaultKind::ALL.map(FaultKind::name);
        let head: Vec<&str> = head.into_iter().chain(kinds).collect();
        let head: [String; 11] = std::array::from_fn(|at| head[at].to_owned());
        let rows = self.apps.iter().map(|app| {
            let seen = &app.coverage;
            let counts = [
                app.done,
                app.requests,
                seen.ok_effects,
                seen.overlapping,
                seen.conflicts,
                seen.session_pairs,
            ];
            let counts: Vec<u64> = counts.into_iter().chain(app.met).collect();
            std::array::from_fn(|at| match at {
                0 => app.app.clone(),
                at => counts[at - 1].to_string(),
            })
        });
        crate::table::plain(std::iter::once(head).chain(rows))
    }

    /// The runs in which something was violated, in order.
    pub fn violating(&self) -> Vec<&Tried> {
        let rules = self.rules.iter();
        let mut tried: Vec<&Tried> = rules.flat_map(|rule| &rule.violated_in).collect();
        tried.sort_by_key(|tried| (tried.seed, &tried.profile));
        tried.dedup();
        tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_model::Status;

    fn batch(runtime: &str, count: u64, rates: FaultRates) -> Batch {
        Batch {
            runtime: runtime.to_owned(),
            profiles: vec!["full-movie".to_owned(), "full-movie-choreo".to_owned()],
            first: 1,
            count,
            rates,
        }
    }

    fn run(runtime: &str, count: u64, rates: FaultRates) -> BatchReport {
        let batch = batch(runtime, count, rates);
        batch.run(pool::cores(), &Arc::default(), |_| {}).unwrap()
    }

    #[test]
    fn names_are_checked() {
        let told = |runtime| {
            let batch = batch(runtime, 1, FaultRates::default());
            batch.run(1, &Arc::default(), |_| {}).unwrap_err()
        };
        assert!(told("bledi").contains("did you mean `beldi`"));
    }

    #[test]
    fn beldi_keeps_its_promises_and_the_baseline_breaks_them() {
        let crashes = FaultRates {
            crash_rate: 0.05,
            ..FaultRates::default()
        };
        let beldi = run("beldi", 60, crashes);
        assert!(
            beldi.failed.is_empty() && beldi.done == 60,
            "{:?}",
            beldi.failed
        );
        let [app] = &beldi.apps[..] else {
            panic!("one app")
        };
        assert_eq!(
            app.verdict.of(Guarantee::Effects).unwrap().status,
            Status::Valid
        );
        assert!(app.met[0] > 50 && app.met[1..] == [0; 3], "{:?}", app.met);
        let baseline = run("baseline", 60, crashes);
        let verdict = &baseline.apps[0].verdict;
        assert_eq!(
            verdict.of(Guarantee::Effects).unwrap().status,
            Status::Invalid
        );
        assert!(!baseline.violating().is_empty() && baseline.table().contains("effects"));
    }

    #[test]
    fn throttles_and_delays_break_nobody_s_promises() {
        let rates = FaultRates {
            throttle_rate: 0.05,
            delay_rate: 0.05,
            ..FaultRates::default()
        };
        for runtime in ["baseline", "beldi", "beldi-direct"] {
            let report = run(runtime, 12, rates);
            assert!(report.failed.is_empty(), "{runtime}: {:?}", report.failed);
            let [crashes, duplicates, throttles, delays] = report.apps[0].met;
            assert_eq!((crashes, duplicates), (0, 0), "{runtime}");
            assert!(throttles > 100 && delays > 100, "{runtime}");
            let promises = report.apps[0].verdict.guarantees.iter();
            let broken = promises.filter(|one| one.promised && one.status == Status::Invalid);
            assert_eq!(broken.count(), 0, "{runtime}: {}", report.table());
        }
    }
}
