//! Many runs judged as one: what is rare in a run is frequent in a batch of seeds.

use crate::{Floors, speaking, status};
use std::collections::BTreeMap;
use triptych_model::{Coverage, Guarantee, RuleReport, Verdict};

/// The verdict on a batch of runs of the same cell with different seeds. Coverage and counts are
/// sums, floors apply to the sums, and one violation in one run makes the batch invalid. Witnesses
/// are those of the first run that has one, because a request index means nothing across runs.
pub fn merge(verdicts: &[Verdict], floors: &Floors) -> Verdict {
    let mut coverage = Coverage::default();
    verdicts
        .iter()
        .for_each(|verdict| coverage.add(&verdict.coverage));
    let rules = merge_rules(verdicts.iter());
    // What seems lost in a run that did not become quiet may still be on its way.
    let quiet_rules = merge_rules(verdicts.iter().filter(|run| run.stuck.is_none()));
    let stuck: Vec<&str> = verdicts
        .iter()
        .filter_map(|run| run.stuck.as_deref())
        .collect();
    let stuck = stuck
        .first()
        .map(|first| format!("{} of {} runs; {first}", stuck.len(), verdicts.len()));
    let guarantees = Guarantee::ALL.map(|guarantee| {
        let promised = |run: &Verdict| run.of(guarantee).is_some_and(|entry| entry.promised);
        let facts = status::Facts {
            promised: verdicts.iter().any(promised),
            rules: if guarantee == Guarantee::Durability {
                &quiet_rules
            } else {
                &rules
            },
            coverage: &coverage,
            stuck: stuck.as_deref(),
            // What a refused history would have shown is missing in the sums.
            refused: None,
            unordered: None,
            runs: Some((
                runs_with_violations(verdicts, guarantee),
                verdicts.len() as u64,
            )),
        };
        status::of(guarantee, &facts, floors)
    });
    Verdict {
        guarantees: guarantees.to_vec(),
        rules,
        coverage,
        stuck,
    }
}

/// In how many runs a guarantee was violated. A run that did not become quiet proves no loss.
pub fn runs_with_violations(verdicts: &[Verdict], guarantee: Guarantee) -> u64 {
    let violated = |run: &&Verdict| {
        let premature = guarantee == Guarantee::Durability && run.stuck.is_some();
        !premature && speaking(&run.rules, guarantee).any(|rule| rule.violations > 0)
    };
    verdicts.iter().filter(violated).count() as u64
}

/// Rules by name, in the order in which they first appear.
fn merge_rules<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Vec<RuleReport> {
    let mut merged: Vec<RuleReport> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for report in verdicts.flat_map(|verdict| &verdict.rules) {
        match places.get(report.rule.as_str()) {
            Some(place) => {
                let known = &mut merged[*place];
                known.examined += report.examined;
                known.violations += report.violations;
                known.witness = known.witness.take().or_else(|| report.witness.clone());
            }
            None => {
                places.insert(&report.rule, merged.len());
                merged.push(report.clone());
            }
        }
    }
    merged
}
