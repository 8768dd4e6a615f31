//! What must hold of the rows of lists and of the logs, whatever crashed.
//!
//! Rows that cannot be reached are no harm as such: appends that lost a race or crashed leave some,
//! and the garbage collector makes them. But with a collector they must not stay.

use crate::Shared;
use crate::dump::Rows;
use crate::gc::{locked_by, walk};
use crate::names::{BORN, DANGLING, HEAD, INSTANCE, LOG_SIZE, LOGS, NEXT};
use crate::rows::text;
use std::collections::{BTreeMap, BTreeSet};
use triptych_model::{Item, Map, Name, Value};
use triptych_world::MS;

fn number(row: &Item, name: &str) -> Option<i64> {
    row.get(name).and_then(Value::as_int)
}

/// Checks that the list can be walked to its end, that no log key stands in two of its rows, that no
/// row has more entries than it counts, and that no row outside of it is too old.
pub(crate) fn list(
    shared: &Shared,
    table: &Name,
    key: &Name,
    rows: &Rows,
    corrupt: &mut Vec<String>,
) {
    let mut wrong = |what: String| corrupt.push(format!("{table}[{key}]: {what}"));
    let reached = walk(rows);
    match reached.last() {
        None => wrong(format!("the list leads to the missing row {HEAD}")),
        Some(last) => {
            if let Some(next) = text(&rows[last], NEXT) {
                wrong(if rows.contains_key(&next) {
                    "the list runs in a circle".to_owned()
                } else {
                    format!("the list leads to the missing row {next}")
                });
            }
        }
    }
    let mut keys: BTreeSet<&Name> = BTreeSet::new();
    let none = Map::new();
    for id in &reached {
        let logs = rows[id].get(LOGS).and_then(Value::as_map).unwrap_or(&none);
        for cid in logs.keys() {
            if !keys.insert(cid) {
                wrong(format!("the log key {cid} stands in two rows"));
            }
        }
        let counted = number(&rows[id], LOG_SIZE).unwrap_or(0);
        if logs.len() as i64 > counted {
            let there = logs.len();
            wrong(format!(
                "row {id} has {there} log entries and counts {counted}"
            ));
        }
    }
    let Some(period) = shared.config.gc_period else {
        return;
    };
    let most = (2 * (shared.config.t + period) / MS) as i64;
    let oldest = shared.world.unix_ms() - most;
    for (id, row) in rows.iter().filter(|(id, _)| !reached.contains(id)) {
        // A row that was never in the list has no entry; any other one was, until it was unlinked.
        let orphan = number(row, LOG_SIZE) == Some(0);
        let since = number(row, DANGLING).or(number(row, BORN).filter(|_| orphan));
        if since.is_some_and(|since| since < oldest) {
            let since = shared.world.unix_ms() - since.unwrap_or_default();
            wrong(format!("row {id} is unreachable for {since} ms"));
        }
    }
}

/// Checks that no decision on a lock was forgotten before the shadow of its transaction: that no row
/// with one is unlinked.
pub(crate) fn decisions(
    table: &Name,
    key: &Name,
    rows: &Rows,
    shadows: &BTreeSet<Name>,
    corrupt: &mut Vec<String>,
) {
    let reached = walk(rows);
    for (id, row) in rows.iter().filter(|(id, _)| !reached.contains(id)) {
        for tx in locked_by(row) {
            if shadows.contains(&tx) {
                corrupt.push(format!(
                    "{table}[{key}]: row {id} is unlinked, but transaction {tx} has a shadow"
                ));
            }
        }
    }
}

/// Checks that every entry of a log table belongs to an instance that is known.
pub(crate) fn logs(
    function: &Name,
    entries: &[Item],
    known: &BTreeSet<Name>,
    corrupt: &mut Vec<String>,
) {
    let mut lost: BTreeMap<Name, u64> = BTreeMap::new();
    for id in entries.iter().filter_map(|entry| text(entry, INSTANCE)) {
        if !known.contains(&id) {
            *lost.entry(id).or_default() += 1;
        }
    }
    for (id, count) in lost {
        let what = format!("{function}: {count} log entries of {id}, which has no intent");
        corrupt.push(what);
    }
}
