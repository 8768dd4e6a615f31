//! The checker's findings as rules of the verdict: one per kind.

use super::{Anomaly, Refusal, check};
use triptych_api::Isolation;
use triptych_model::causes::Causes;
use triptych_model::{Finding, Guarantee, RuleReport};

/// What a record says for the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// A rule per kind.
    pub rules: Vec<RuleReport>,
    /// Looks at a key that the same client had looked at before.
    pub session_pairs: u64,
    /// All looks.
    pub looks: u64,
    /// Transactions and looks at several keys that met a write which not everybody saw.
    pub conflicts: u64,
}

/// Judges a record: `C-read-your-writes` and its like. What isolation asks of looks is a rule only
/// if there was something to examine: who has no transactions is promised nothing about them.
///
/// # Errors
/// [`Refusal`]: then nothing may be said, neither good nor bad.
pub fn rules(causes: &Causes, promised: Isolation) -> Result<Judged, Refusal> {
    let report = check(causes)?;
    let tried = |anomaly| report.seen.tried.get(&anomaly).copied().unwrap_or(0);
    let mut rules = Vec::new();
    for anomaly in Anomaly::ALL {
        let found = report.of(anomaly);
        let guarantee = anomaly.guarantee();
        let examined = tried(anomaly).max(found.map_or(0, |found| found.count));
        if examined == 0 && matches!(guarantee, Guarantee::Isolation) {
            continue;
        }
        let name = format!("C-{}", anomaly.name());
        rules.push(RuleReport {
            rule: name.clone(),
            guarantee,
            examined,
            violations: found.map_or(0, |found| found.count),
            witness: found.map(|found| Finding {
                rule: name,
                request: found.witness.request,
                told: found.witness.told.clone(),
            }),
            asked: anomaly.asked(promised),
        });
    }
    Ok(Judged {
        rules,
        session_pairs: tried(Anomaly::MonotonicReads),
        looks: report.seen.looks,
        conflicts: report.seen.conflicts,
    })
}
