//! The oracle: what a run left behind and answered, against what its runtime promises.
//!
//! A newcomer can start with [`judge`], which applies an app's own rules and those that hold for
//! every app ([`general_rules`]) to one run, and turns what they found into a [`Verdict`]: per
//! guarantee valid, unknown or invalid. A single violation makes a guarantee invalid. Without one,
//! [`Floors`] decide whether enough was seen to call it valid; below them it is unknown, which is
//! never shown as a pass. [`merge`] does the same for a batch of runs, whose coverage counts
//! together: rare events need many seeds.

mod batch;
pub mod causal;
mod floors;
mod general;
pub mod history;
mod status;

pub use batch::{merge, runs_with_violations};
pub use floors::Floors;
pub use general::general_rules;

use triptych_api::{App, Declares, Evidence, Isolation};
use triptych_model::history::History;
use triptych_model::{Guarantee, RuleReport, Verdict};

/// Judges one run.
///
/// The state in the evidence should be read once the run is quiet. If it was not, that is a finding
/// of its own ([`Verdict::stuck`]), and rules about what must be there at the end say nothing of
/// durability.
pub fn judge(app: &App, declares: &Declares, evidence: &Evidence<'_>, floors: &Floors) -> Verdict {
    judge_with(app, declares, evidence, None, floors)
}

/// Judges one run of which the history was recorded. A history that nothing may be concluded from
/// leaves isolation unknown, whatever the app's own rules saw.
pub fn judge_with(
    app: &App,
    declares: &Declares,
    evidence: &Evidence<'_>,
    history: Option<&History>,
    floors: &Floors,
) -> Verdict {
    let (mut rules, mut coverage) = (app.rules)(evidence);
    rules.extend(general_rules(evidence));
    let mut refused = None;
    let mut unordered = None;
    let lists = history.filter(|history| history.has_lists());
    match lists.map(|history| history::rules(history, evidence.isolation)) {
        Some(Ok(judged)) => {
            rules.extend(judged.rules);
            coverage.conflicts = coverage.conflicts.max(judged.conflicts);
            coverage.session_pairs = coverage.session_pairs.max(judged.session_pairs);
        }
        Some(Err(refusal)) => {
            refused = Some(refusal.to_string());
            coverage.conflicts = 0;
        }
        None => {}
    }
    if let Some(causes) = history.and_then(|history| history.causes.as_ref()) {
        match causal::rules(causes, evidence.isolation) {
            Ok(judged) => {
                rules.extend(judged.rules);
                coverage.session_pairs = coverage.session_pairs.max(judged.session_pairs);
                coverage.looks = judged.looks;
                if evidence.isolation == Isolation::Tcc {
                    coverage.conflicts = coverage.conflicts.max(judged.conflicts);
                }
            }
            Err(refusal) => unordered = Some(refusal.to_string()),
        }
    }
    let pending = &evidence.state.pending;
    let stuck = (!pending.is_empty()).then(|| {
        format!(
            "{} instances were still pending: {}",
            pending.len(),
            few(pending)
        )
    });
    let guarantees = Guarantee::ALL.map(|guarantee| {
        // What seems lost may still be on its way.
        let premature = guarantee == Guarantee::Durability && stuck.is_some();
        let facts = status::Facts {
            promised: declares.promises(guarantee),
            rules: if premature { &[] } else { &rules },
            coverage: &coverage,
            stuck: stuck.as_deref(),
            refused: refused.as_deref(),
            unordered: unordered.as_deref(),
            runs: None,
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

/// The first of some texts, and how many more there are.
fn few(texts: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = texts
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match texts.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// The rules that decide on a guarantee: those that speak of it and may be asked.
fn speaking(rules: &[RuleReport], guarantee: Guarantee) -> impl Iterator<Item = &RuleReport> {
    rules
        .iter()
        .filter(move |rule| rule.guarantee == guarantee && rule.asked)
}
