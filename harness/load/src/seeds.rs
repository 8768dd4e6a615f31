//! Many short runs with different seeds, judged as one batch.
//!
//! A seed changes the schedule of tasks (ready tasks run in a shuffled order), the arrivals, the
//! requests, the latencies and the crashes. Rare orders of events are met by trying many of them;
//! every seed that violates something can be run again alone.

use crate::campaign::{Campaign, Cell};
use crate::pool::{self, Cancel};
use crate::run::{self, RunError, Watch};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_model::{Guarantee, Verdict, Work};
use triptych_oracle::Floors;

/// What to check, with which seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The runtime.
    pub runtime: String,
    /// The profile.
    pub profile: String,
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub count: u64,
    /// The share of requests in which an execution crashes.
    pub crash_rate: f64,
    /// The share of requests in which an execution is started twice.
    pub duplicate_rate: f64,
}

/// How a rule fared in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFinding {
    /// The rule.
    pub rule: String,
    /// The guarantee that it speaks of.
    pub guarantee: Guarantee,
    /// Facts that it examined, over all seeds.
    pub examined: u64,
    /// Violations, over all seeds.
    pub violations: u64,
    /// The seeds in which it was violated, in order.
    pub seeds: Vec<u64>,
    /// What the first of them shows.
    pub witness: String,
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
    /// The verdict on the batch.
    pub verdict: Verdict,
    /// Every rule.
    pub rules: Vec<RuleFinding>,
    /// Seeds without a result, and why.
    pub failed: Vec<(u64, RunError)>,
}

impl Batch {
    /// The campaign that each seed is a cell of: a few seconds of load on a small data set, so that
    /// requests meet on the same keys.
    ///
    /// # Errors
    /// What is wrong with the names, in words.
    pub fn campaign(&self) -> Result<Campaign, String> {
        let Batch {
            runtime,
            profile,
            crash_rate,
            duplicate_rate,
            ..
        } = self;
        let small = triptych_workloads::find(profile).map(|profile| profile.small());
        let small = small.unwrap_or_default().into_iter();
        let settings: String = small
            .map(|(key, value)| format!("{key} = {value:?}\n"))
            .collect();
        let text = format!(
            "name = \"check\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [40]\n\
             duration = \"3s\"\nwarmup = \"0s\"\n[platform]\nshuffle = true\n\
             [faults]\ncrash_rate = {crash_rate:?}\nduplicate_rate = {duplicate_rate:?}\n\
             [settings]\n{settings}"
        );
        Campaign::parse("check", &text).map_err(|mistakes| {
            let told = mistakes.mistakes.iter().map(|mistake| {
                let help = mistake.help.join("; ");
                format!("{}; {help}", mistake.what)
            });
            told.collect::<Vec<_>>().join("\n")
        })
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
        let campaign = self.campaign()?;
        let rate = campaign.rates[0];
        let cells: Vec<Cell> = (0..self.count)
            .map(|n| self.first.wrapping_add(n))
            .map(|seed| Cell::new(&self.profile, &self.runtime, rate, 0, seed))
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
            |_, cell| {
                let output = run::run(&campaign, cell, "", &watch)?;
                let faulted = output.ops.iter().filter(|op| op.faults > 0).count() as u64;
                Ok((
                    output.verdict,
                    output.work,
                    output.ops.len() as u64,
                    faulted,
                ))
            },
            |_, _| {
                done += 1;
                told(done);
            },
        );
        let faults = self.crash_rate > 0.0 || self.duplicate_rate > 0.0;
        let seeds = cells.iter().map(|cell| cell.seed);
        Ok(merge(seeds.zip(results), &Floors::new(faults)))
    }
}

type SeedResult = Option<Result<Result<(Verdict, Work, u64, u64), RunError>, String>>;

fn merge(results: impl Iterator<Item = (u64, SeedResult)>, floors: &Floors) -> BatchReport {
    let mut verdicts = Vec::new();
    let mut failed = Vec::new();
    let (mut requests, mut faulted, mut crashes) = (0, 0, 0);
    let mut rules: BTreeMap<String, RuleFinding> = BTreeMap::new();
    for (seed, result) in results {
        let (verdict, work, ops, hit) = match result {
            None | Some(Ok(Err(RunError::Cancelled))) => continue,
            Some(Ok(Ok(done))) => done,
            Some(Ok(Err(error))) => {
                failed.push((seed, error));
                continue;
            }
            Some(Err(panic)) => {
                failed.push((seed, RunError::Panic(panic)));
                continue;
            }
        };
        requests += ops;
        faulted += hit;
        crashes += work.crashes;
        for report in &verdict.rules {
            let finding = rules
                .entry(report.rule.clone())
                .or_insert_with(|| RuleFinding {
                    rule: report.rule.clone(),
                    guarantee: report.guarantee,
                    examined: 0,
                    violations: 0,
                    seeds: Vec::new(),
                    witness: String::new(),
                });
            finding.examined += report.examined;
            finding.violations += report.violations;
            if report.violations > 0 {
                finding.seeds.push(seed);
                if let (true, Some(witness)) = (finding.witness.is_empty(), &report.witness) {
                    finding.witness = witness.told.clone();
                }
            }
        }
        verdicts.push(verdict);
    }
    BatchReport {
        done: verdicts.len() as u64,
        requests,
        faulted,
        crashes,
        verdict: triptych_oracle::merge(&verdicts, floors),
        rules: rules.into_values().collect(),
        failed,
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
            let first: Vec<String> = rule.seeds.iter().take(5).map(u64::to_string).collect();
            [
                rule.rule.clone(),
                rule.guarantee.name().to_owned(),
                rule.examined.to_string(),
                rule.violations.to_string(),
                rule.seeds.len().to_string(),
                first.join(" "),
            ]
        });
        crate::table::plain(std::iter::once(head.map(str::to_owned)).chain(rows))
    }

    /// The seeds in which something was violated, in order.
    pub fn violating(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self
            .rules
            .iter()
            .flat_map(|rule| rule.seeds.iter().copied())
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_model::Status;

    fn batch(runtime: &str, count: u64) -> Batch {
        Batch {
            runtime: runtime.to_owned(),
            profile: "full-movie".to_owned(),
            first: 1,
            count,
            crash_rate: 0.05,
            duplicate_rate: 0.0,
        }
    }

    #[test]
    fn names_are_checked() {
        let error = batch("bledi", 1).campaign().unwrap_err();
        assert!(error.contains("did you mean `beldi`"), "{error}");
    }

    #[test]
    fn beldi_keeps_its_promises_and_the_baseline_breaks_them() {
        let run = |runtime| {
            batch(runtime, 60)
                .run(pool::cores(), &Arc::default(), |_| {})
                .unwrap()
        };
        let beldi = run("beldi");
        assert!(
            beldi.failed.is_empty() && beldi.done == 60,
            "{:?}",
            beldi.failed
        );
        assert_eq!(
            beldi.verdict.of(Guarantee::Effects).unwrap().status,
            Status::Valid
        );
        let baseline = run("baseline");
        assert_eq!(
            baseline.verdict.of(Guarantee::Effects).unwrap().status,
            Status::Invalid
        );
        assert!(!baseline.violating().is_empty() && baseline.table().contains("effects"));
    }
}
