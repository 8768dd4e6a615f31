//! From what the rules found and how much they saw to valid, unknown or invalid, with the reason.

use crate::{Floors, speaking};
use triptych_model::{Coverage, Guarantee, GuaranteeVerdict, RuleReport, Status};

/// What a status is decided from.
pub(crate) struct Facts<'a> {
    pub(crate) promised: bool,
    pub(crate) rules: &'a [RuleReport],
    pub(crate) coverage: &'a Coverage,
    /// What was still pending, if anything.
    pub(crate) stuck: Option<&'a str>,
    /// Why the history of transactions allows no verdict, if it does not.
    pub(crate) refused: Option<&'a str>,
    /// Why the record of causes and effects allows no verdict, if it does not.
    pub(crate) unordered: Option<&'a str>,
    /// Of a batch: in how many runs the guarantee was violated, and how many runs there are.
    pub(crate) runs: Option<(u64, u64)>,
}

pub(crate) fn of(guarantee: Guarantee, facts: &Facts<'_>, floors: &Floors) -> GuaranteeVerdict {
    let stuck = facts.stuck.filter(|_| guarantee == Guarantee::Durability);
    let refused = facts.refused.filter(|_| guarantee == Guarantee::Isolation);
    let unordered = facts.unordered.filter(|_| guarantee == Guarantee::Order);
    let (status, because) = if let Some(because) = violation(guarantee, facts) {
        (Status::Invalid, because)
    } else if let Some(stuck) = stuck {
        (
            Status::Unknown,
            format!("not quiet when it was judged: {stuck}"),
        )
    } else if let Some(refused) = refused.or(unordered) {
        (Status::Unknown, refused.to_owned())
    } else if let Some(because) = too_little(guarantee, facts, floors) {
        (Status::Unknown, because)
    } else {
        (Status::Valid, rests_on(guarantee, facts.coverage))
    };
    // Who asks for no transaction is promised nothing about transactions.
    let asked = guarantee != Guarantee::Isolation
        || speaking(facts.rules, guarantee).next().is_some()
        || refused.is_some();
    GuaranteeVerdict {
        guarantee,
        promised: facts.promised && asked,
        status,
        because,
    }
}

fn violation(guarantee: Guarantee, facts: &Facts<'_>) -> Option<String> {
    let violated: Vec<&RuleReport> = speaking(facts.rules, guarantee)
        .filter(|rule| rule.violations > 0)
        .collect();
    // The smallest witness of all: the request that is met first.
    let first = violated.iter().min_by_key(|rule| {
        rule.witness
            .as_ref()
            .and_then(|witness| witness.request)
            .unwrap_or(u64::MAX)
    })?;
    let counts: Vec<String> = violated
        .iter()
        .map(|rule| format!("{} {} times", rule.rule, rule.violations))
        .collect();
    let runs = match facts.runs {
        Some((with, all)) => format!(" in {with} of {all} runs"),
        None => String::new(),
    };
    let witness = match &first.witness {
        Some(witness) => match witness.request {
            Some(request) => format!("; {} at request {request}: {}", first.rule, witness.told),
            None => format!("; {}: {}", first.rule, witness.told),
        },
        None => String::new(),
    };
    Some(format!("violated: {}{runs}{witness}", counts.join(", ")))
}

fn too_little(guarantee: Guarantee, facts: &Facts<'_>, floors: &Floors) -> Option<String> {
    if speaking(facts.rules, guarantee).all(|rule| rule.examined == 0) {
        return Some("no rule had anything to examine".to_owned());
    }
    let coverage = facts.coverage;
    let effects = (
        coverage.ok_effects,
        floors.ok_effects,
        "acknowledged requests with effects",
    );
    let faults = (
        coverage.faulted_effects,
        floors.faulted_effects,
        "requests with effects that met a fault",
    );
    let pairs = (
        coverage.session_pairs,
        floors.session_pairs,
        "pairs of reads of one key by one session",
    );
    let conflicts = (
        coverage.conflicts,
        floors.conflicts,
        "transactions that overlapped a conflicting one",
    );
    let needs = match guarantee {
        Guarantee::Effects => vec![effects, faults],
        Guarantee::Isolation => vec![conflicts],
        Guarantee::Order => vec![pairs],
        Guarantee::Durability => vec![effects],
    };
    let unmet: Vec<String> = needs
        .into_iter()
        .filter(|(seen, floor, _)| seen < floor)
        .map(|(seen, floor, what)| format!("{seen} {what}, and {floor} are needed"))
        .collect();
    (!unmet.is_empty()).then(|| format!("too little seen: {}", unmet.join("; ")))
}

fn rests_on(guarantee: Guarantee, coverage: &Coverage) -> String {
    let faulted = coverage.faulted_effects;
    match guarantee {
        Guarantee::Effects => format!(
            "no violation found in {} requests with effects, {faulted} of them with a fault",
            coverage.ok_effects
        ),
        Guarantee::Isolation => format!(
            "no violation found in {} transactions that overlapped a conflicting one",
            coverage.conflicts
        ),
        Guarantee::Order => format!(
            "no violation found in {} pairs of reads of one key by one session",
            coverage.session_pairs
        ),
        Guarantee::Durability => format!(
            "nothing acknowledged was lost in {} requests with effects, {faulted} of them with a \
             fault",
            coverage.ok_effects
        ),
    }
}
