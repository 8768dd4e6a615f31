//! The checker's findings as rules of the verdict: one per phenomenon.

use super::{Anomaly, Options, Refusal, check};
use triptych_api::Isolation;
use triptych_model::history::History;
use triptych_model::{Finding, Guarantee, RuleReport};

/// What a history says for the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// A rule per phenomenon.
    pub rules: Vec<RuleReport>,
    /// Transactions that overlapped a conflicting one.
    pub conflicts: u64,
    /// Pairs of reads of one key by one session.
    pub session_pairs: u64,
}

/// Judges a recorded history: `H-G0` and its like speak of isolation, the session guarantees of
/// order, `H-replay` of effects. Without a single key there is nothing to examine. What needs the
/// order of sessions or of real time is more than serializable, and no rule. Of causally consistent
/// transactions is asked only what [`Anomaly::breaks_causal`] says; the rest is data.
///
/// # Errors
/// [`Refusal`]: then nothing may be said, neither good nor bad.
pub fn rules(history: &History, promised: Isolation) -> Result<Judged, Refusal> {
    let report = check(history, Options::DATA)?;
    let rule = |anomaly: Anomaly, guarantee, examined| {
        let found = report.of(anomaly);
        let name = format!("H-{}", anomaly.name());
        RuleReport {
            rule: name.clone(),
            guarantee,
            examined,
            violations: found.map_or(0, |found| found.count),
            witness: found.map(|found| {
                let requests = found.witness.transactions.iter().map(|tx| {
                    let request = history.transactions[*tx as usize].request;
                    (request != u64::MAX).then_some(request)
                });
                Finding {
                    rule: name,
                    request: requests.flatten().max(),
                    told: found.witness.told.clone(),
                }
            }),
            asked: promised != Isolation::Tcc || anomaly.breaks_causal(),
        }
    };
    let committed = report.seen.committed;
    let isolation = Anomaly::ISOLATION
        .into_iter()
        .map(|anomaly| rule(anomaly, Guarantee::Isolation, committed));
    let order = Anomaly::SESSION
        .into_iter()
        .zip(report.seen.sessions)
        .map(|(anomaly, tried)| rule(anomaly, Guarantee::Order, tried));
    let mut rules: Vec<RuleReport> = isolation.chain(order).collect();
    let diverged = history.diverged.len() as u64;
    rules.push(RuleReport {
        rule: "H-replay".to_owned(),
        guarantee: Guarantee::Effects,
        examined: report.seen.operations.max(diverged),
        violations: diverged,
        witness: history.diverged.first().map(|told| Finding {
            rule: "H-replay".to_owned(),
            request: None,
            told: told.clone(),
        }),
        asked: true,
    });
    Ok(Judged {
        rules,
        conflicts: report.seen.conflicts,
        session_pairs: report.seen.sessions[1],
    })
}
