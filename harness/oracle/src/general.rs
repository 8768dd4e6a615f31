//! Rules that hold whatever the app: the runtime's own records are in order, nothing is left over,
//! and every request has exactly one outcome.

use triptych_api::Evidence;
use triptych_model::{Finding, Guarantee, RuleReport};

/// Applies the rules that hold for every app.
///
/// * `X1`: the runtime's records do not contradict themselves (a log key twice, for example).
/// * `X2`: nothing is pending and nothing is left over: no lock, no intent without an end.
/// * `X3`: the operation log has every request of the schedule exactly once, in order, and of a
///   kind that the run has.
pub fn general_rules(evidence: &Evidence<'_>) -> [RuleReport; 3] {
    let state = evidence.state;
    let left = state.residue.iter().chain(&state.pending);
    let audit = told("X1", state.corrupt.iter().cloned());
    [audit, told("X2", left.cloned()), conservation(evidence)]
}

/// A rule whose violations are told by the runtime. That there is none is one fact.
fn told(rule: &str, findings: impl Iterator<Item = String>) -> RuleReport {
    let findings: Vec<String> = findings.collect();
    let count = findings.len() as u64;
    let witness = findings.into_iter().next();
    RuleReport {
        rule: rule.to_owned(),
        guarantee: Guarantee::Effects,
        examined: count.max(1),
        violations: count,
        witness: witness.map(|told| Finding {
            rule: rule.to_owned(),
            request: None,
            told,
        }),
        asked: true,
    }
}

fn conservation(evidence: &Evidence<'_>) -> RuleReport {
    let mut violations = 0;
    let mut witness = None;
    for (position, op) in evidence.ops.iter().enumerate() {
        let position = position as u64;
        let told = if op.index != position {
            format!(
                "position {position} of the operation log holds request {}",
                op.index
            )
        } else if usize::from(op.kind) >= evidence.kinds.len() {
            format!(
                "request {position} is of kind {}, which the run does not have",
                op.kind
            )
        } else {
            continue;
        };
        violations += 1;
        witness.get_or_insert(Finding {
            rule: "X3".to_owned(),
            request: Some(position),
            told,
        });
    }
    RuleReport {
        rule: "X3".to_owned(),
        guarantee: Guarantee::Effects,
        examined: evidence.ops.len() as u64,
        violations,
        witness,
        asked: true,
    }
}
