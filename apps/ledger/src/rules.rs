//! The invariants L1–L5. What concerns the order of transactions is left to the history checker.
//!
//! | rule | about | guarantee |
//! |---|---|---|
//! | `L1` | all accounts together hold what they held in the beginning | isolation |
//! | `L2` | every entry of an acknowledged mix is in its list exactly once | effects |
//! | `L3` | no entry of a mix that surely had no effect, or that nobody sent | effects |
//! | `L4` | every answered total is the sum of the beginning | isolation |
//! | `L5` | every acknowledged mix has its receipt | durability |
//!
//! An indeterminate mix, and one in flight at the end, may have had all of its effects or none: its
//! entries are there once each, or none is (`L2`).

use crate::Config;
use crate::branch::{Branch, Task};
use crate::desk::{At, Mix, RECEIPTS};
use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, OutcomeClass, from_value};
use triptych_api::{Coverage, Evidence, Guarantee, RuleReport, Value};

/// Judges what a run left behind and answered.
pub fn check(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let config = Config::from_settings(evidence.settings).unwrap_or(Config {
        accounts: 0,
        initial: 0,
    });
    let kinds = &evidence.kinds;
    let of = |op: &OpRecord, kind: &str| kinds.get(usize::from(op.kind)).is_some_and(|k| k == kind);
    let mut coverage = Coverage::default();
    let mut reports = [
        ("L1", Guarantee::Isolation),
        ("L2", Guarantee::Effects),
        ("L3", Guarantee::Effects),
        ("L4", Guarantee::Isolation),
        ("L5", Guarantee::Durability),
    ]
    .map(|(rule, guarantee)| {
        // A sum over accounts that transfers only move is kept by serial transactions alone.
        let asked = guarantee != Guarantee::Isolation || evidence.asks_serializable();
        RuleReport::new(rule, guarantee).asked(asked)
    });
    let [l1, l2, l3, l4, l5] = &mut reports;

    let sum: i64 = Branch::BOTH
        .iter()
        .flat_map(|branch| evidence.state.table(branch.accounts()))
        .filter_map(|(_, row)| row.get("balance")?.as_int())
        .sum();
    l1.expect(sum == config.sum(), None, || {
        format!(
            "all accounts hold {sum}, but held {} in the beginning",
            config.sum()
        )
    });

    let mut places = entries(evidence);
    for op in evidence.ops {
        let class = op.outcome.class();
        let ok = class == OutcomeClass::Ok;
        let effects = of(op, "mix") || of(op, "transfer");
        coverage.ok += u64::from(ok);
        coverage.ok_effects += u64::from(ok && effects);
        coverage.faulted += u64::from(op.faults > 0);
        coverage.faulted_effects += u64::from(op.faults > 0 && effects);
        if of(op, "total") && ok {
            let answered = op.observed.as_int();
            l4.expect(answered == Some(config.sum()), Some(op.index), || {
                format!("the sum was {answered:?}, but is {} always", config.sum())
            });
        }
        if !of(op, "mix") {
            continue;
        }
        let Ok(mix) = from_value::<Mix>(&op.input) else {
            continue;
        };
        let wanted = mix.steps.iter().filter_map(wanted);
        let found: Vec<(&str, String, Vec<String>)> = wanted
            .map(|(entry, place)| (entry, place, places.remove(entry).unwrap_or_default()))
            .collect();
        let right = found
            .iter()
            .filter(|(_, place, found)| found[..] == [place.clone()]);
        let (right, none) = (
            right.count(),
            found.iter().all(|(_, _, found)| found.is_empty()),
        );
        let told = || {
            let list = found.iter().map(|(entry, place, found)| {
                format!("{entry} of {place} is in [{}]", found.join(", "))
            });
            list.collect::<Vec<_>>().join(", ")
        };
        match class {
            OutcomeClass::Ok => {
                l2.expect(right == found.len(), Some(op.index), || {
                    format!("acknowledged, but {}", told())
                });
                let receipt = evidence.state.get(RECEIPTS, &mix.req_id);
                l5.expect(receipt.is_some(), Some(op.index), || {
                    format!("acknowledged, but {} has no receipt", mix.req_id)
                });
            }
            OutcomeClass::Indeterminate | OutcomeClass::InFlight => {
                l2.expect(none || right == found.len(), Some(op.index), || {
                    format!("a part of its effects happened: {}", told())
                });
            }
            _ => l3.expect(none, Some(op.index), || format!("{class}, but {}", told())),
        }
    }
    for (entry, places) in places {
        l3.expect(false, None, || {
            format!("nobody sent {entry}, which is in [{}]", places.join(", "))
        });
    }
    (reports.into(), coverage)
}

/// What a step should leave: the entry, and the list that it belongs to.
fn wanted(step: &At) -> Option<(&str, String)> {
    match &step.task {
        Task::Append { key, entry } | Task::Rewrite { key, entry } => {
            Some((entry, format!("{}/{key}", step.branch.lists())))
        }
        _ => None,
    }
}

/// In which lists every entry is, as often as it is there.
fn entries(evidence: &Evidence<'_>) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for branch in Branch::BOTH {
        for (key, row) in evidence.state.table(branch.lists()) {
            let list = row.get("entries").and_then(Value::as_list);
            for entry in list.unwrap_or_default() {
                let name = entry
                    .as_str()
                    .map_or_else(|| format!("{entry:?}"), str::to_owned);
                let place = format!("{}/{key}", branch.lists());
                places.entry(name).or_default().push(place);
            }
        }
    }
    places
}
