//! Reading out the logical state: walking every list from its head, so that orphans and interior
//! rows do not count, and checking the invariants ([`crate::audit`]) on the way.

use crate::log::Run;
use crate::names::{
    DONE, HEAD, HOLDER, INSTANCE, KEY, NEXT, PENDING_INDEX, PENDING_SHARDS, ROW, VALUE, WAITER,
    intent_table, local_table, log_table,
};
use crate::rows::text;
use crate::shadow::Shadow;
use crate::tx::TxContext;
use crate::{Shared, audit, log};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_api::{Error, Result};
use triptych_model::{Condition, Item, Name, Path, State, Value};
use triptych_store::{Key, Request, Response, StoreError, patient};

/// The rows of one key, by row id.
pub(crate) type Rows = BTreeMap<Name, Item>;

impl Run {
    /// All keys and current values of a table. A row that was appended while the scan went on is
    /// fetched by following the list.
    pub(crate) async fn scan_lists(&self, table: &Name) -> Result<Vec<(Name, Value)>> {
        if self.shared.config.is_cross_table() {
            return self.cross_scan(table).await;
        }
        let projection = [KEY, ROW, NEXT, VALUE].map(Path::attr).to_vec();
        let mut lists: BTreeMap<Name, Rows> = BTreeMap::new();
        let mut start = None;
        loop {
            let request = scan(table, None, Some(projection.clone()), start.take());
            let response = self
                .store("beldi.scan", request)
                .await
                .map_err(log::interrupted)?;
            let Response::Page { items, next } = response else {
                return Err(Error::Interrupted(format!(
                    "a scan was answered with {response:?}"
                )));
            };
            collect(&mut lists, items);
            start = next;
            if start.is_none() {
                break;
            }
        }
        let mut values = Vec::new();
        for (key, rows) in lists {
            let Some(mut item) = tail(&rows) else {
                continue;
            };
            while let Some(next) = text(&item, NEXT) {
                let at = (table, Key::range(key.clone(), Value::from(next)));
                let projection = Some(vec![Path::attr(VALUE), Path::attr(NEXT)]);
                item = self
                    .get("beldi.scan.follow", at, projection)
                    .await?
                    .unwrap_or_default();
            }
            values.extend(item.remove(VALUE).map(|value| (key, value)));
        }
        Ok(values)
    }
}

fn scan(
    table: &Name,
    filter: Option<Condition>,
    projection: Option<Vec<Path>>,
    start: Option<Item>,
) -> Request {
    let table = table.clone();
    Request::Scan {
        table,
        filter,
        projection,
        consistent: true,
        limit: None,
        start,
    }
}

fn collect(lists: &mut BTreeMap<Name, Rows>, items: Vec<Item>) {
    for item in items {
        if let (Some(key), Some(row)) = (text(&item, KEY), text(&item, ROW)) {
            lists.entry(key).or_default().insert(row, item);
        }
    }
}

/// The last row that can be reached from the head among the rows at hand.
fn tail(rows: &Rows) -> Option<Item> {
    let mut item = rows.get(HEAD)?;
    while let Some(next) = text(item, NEXT).and_then(|next| rows.get(&next)) {
        item = next;
    }
    Some(item.clone())
}

/// All lists of a table, by key.
pub(crate) async fn lists(
    shared: &Shared,
    table: &Name,
) -> std::result::Result<BTreeMap<Name, Rows>, StoreError> {
    let mut lists = BTreeMap::new();
    collect(&mut lists, scan_all(shared, table, None).await?);
    Ok(lists)
}

pub(crate) async fn scan_all(
    shared: &Shared,
    table: &Name,
    filter: Option<Condition>,
) -> std::result::Result<Vec<Item>, StoreError> {
    let scope = shared.world.background_scope();
    let mut all = Vec::new();
    let mut start = None;
    loop {
        let request = scan(table, filter.clone(), None, start.take());
        let store = Rc::clone(&shared.store);
        match patient(shared.world.clone(), store, scope.clone(), request).await? {
            Response::Page { items, next } => {
                all.extend(items);
                start = next;
            }
            other => return Err(StoreError::Unavailable(format!("answered with {other:?}"))),
        }
        if start.is_none() {
            return Ok(all);
        }
    }
}

/// How many instances are not done.
pub(crate) async fn pending(shared: &Shared) -> std::result::Result<u64, StoreError> {
    let scope = shared.world.background_scope();
    let mut pending = 0;
    for function in &shared.app.functions {
        for shard in 0..PENDING_SHARDS {
            let request = Request::Query {
                table: intent_table(&function.name),
                index: Some(Name::from(PENDING_INDEX)),
                hash: Value::from(shard.to_string()),
                range_below: None,
                filter: None,
                projection: None,
                consistent: false,
                limit: None,
                start: None,
            };
            let store = Rc::clone(&shared.store);
            let response = patient(shared.world.clone(), store, scope.clone(), request).await?;
            if let Response::Page { items, .. } = response {
                pending += items.len() as u64;
            }
        }
    }
    Ok(pending)
}

/// The state of all app tables, the instances that are not done, and broken invariants.
pub(crate) async fn dump(shared: &Shared) -> std::result::Result<State, StoreError> {
    let mut state = State::default();
    for function in &shared.app.functions {
        let mut data = Vec::new();
        for table in &function.tables {
            let mut values = BTreeMap::new();
            if shared.config.is_cross_table() {
                for mut item in scan_all(shared, table, None).await? {
                    let pair = (text(&item, KEY), item.remove(VALUE));
                    values.extend(pair.0.zip(pair.1));
                }
                state.tables.insert(table.clone(), values);
                continue;
            }
            for (key, rows) in lists(shared, table).await? {
                audit::list(shared, table, &key, &rows, &mut state.corrupt);
                if let Some(mut item) = tail(&rows) {
                    if let Some(holder) = item.get(HOLDER).and_then(TxContext::from_word) {
                        let held = format!("{table}[{key}] is locked by {}", holder.id);
                        state.residue.push(held);
                    }
                    if let Some(waiter) = item.get(WAITER).and_then(TxContext::from_word) {
                        let waits = format!("{} waits for {table}[{key}]", waiter.id);
                        state.residue.push(waits);
                    }
                    values.extend(item.remove(VALUE).map(|value| (key.clone(), value)));
                }
                data.push((table, key, rows));
            }
            state.tables.insert(table.clone(), values);
        }
        // After the data, so that a collector at work cannot make it look wrong.
        let kept = shadows(shared, &function.name, &mut state).await?;
        for (table, key, rows) in &data {
            audit::decisions(table, key, rows, &kept, &mut state.corrupt);
        }
        let mut known = BTreeSet::new();
        for intent in scan_all(shared, &intent_table(&function.name), None).await? {
            let id = text(&intent, INSTANCE).unwrap_or_default();
            if intent.get(DONE) != Some(&Value::Bool(true)) {
                state
                    .pending
                    .push(format!("instance {id} of {} is not done", function.name));
            }
            known.insert(id);
        }
        let entries = scan_all(shared, &log_table(&function.name), None).await?;
        audit::logs(&function.name, &entries, &known, &mut state.corrupt);
    }
    Ok(state)
}

/// Reports transactions that have not ended at a function. Returns those that have a shadow there.
async fn shadows(
    shared: &Shared,
    function: &Name,
    state: &mut State,
) -> std::result::Result<BTreeSet<Name>, StoreError> {
    let table = local_table(function);
    let mut kept = BTreeSet::new();
    for (tx, rows) in lists(shared, &table).await? {
        if !rows.contains_key(HEAD) {
            // What a garbage collector that crashed has left; it goes on with it.
            continue;
        }
        audit::list(shared, &table, &tx, &rows, &mut state.corrupt);
        let document = tail(&rows).and_then(|mut item| item.remove(VALUE));
        if document.is_some_and(|document| !Shadow::parse(&document).finished) {
            let left = format!("transaction {tx} has not ended at {function}");
            state.residue.push(left);
        }
        kept.insert(tx);
    }
    Ok(kept)
}
