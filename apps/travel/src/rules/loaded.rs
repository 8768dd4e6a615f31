//! T-loaded: what was loaded before the run is still there. Loading was acknowledged too, and nothing
//! in a run takes any of it away.

use super::facts::Facts;
use crate::Compat;
use crate::seats::Leg;
use triptych_api::{Guarantee, RuleReport};

pub(super) fn check(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("T-loaded", Guarantee::Durability);
    let settings = facts.evidence.settings;
    let count = |key: &str| settings.get(key).and_then(|text| text.parse::<u64>().ok());
    // The published port counts hotels and flights from 0.
    let first = u64::from(facts.config.compat == Compat::None);
    let counted = |count: Option<u64>, first: u64, name: fn(u64) -> String| {
        let numbers = first..count.unwrap_or_default().saturating_add(first);
        numbers.map(name).collect::<Vec<_>>()
    };
    let plain: fn(u64) -> String = |number| number.to_string();
    for (table, keys) in [
        (Leg::Hotel.table(), counted(count("hotels"), first, plain)),
        (Leg::Flight.table(), counted(count("flights"), first, plain)),
        ("Geo", counted(count("listed"), 1, plain)),
        (
            "User",
            counted(count("users"), 0, |n| format!("Cornell_{n}")),
        ),
    ] {
        for key in keys {
            let there = facts.evidence.state.get(table, &key).is_some();
            rule.expect(there, None, || {
                format!("{key} was loaded into {table}, and is not there any more")
            });
        }
    }
    rule
}
