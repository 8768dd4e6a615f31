//! Lists: taking rows out that nobody can ask for any more (specification §16).
//!
//! Only keys that have more than their first row are looked at; a sparse index names them. An
//! interior row whose entries all belong to instances that are over is *unlinked*: its predecessor
//! points past it. A reader that stands on it still finds the way, because it keeps its link. Then the
//! list is looked at again, and a row that cannot be reached from the head is *stamped*; a pass at
//! least `T` later *deletes* it. Rows of appends that crashed are found the same way.
//!
//! A reachable row is never deleted. Unlinking is conditional on the link that was seen, and every
//! pass looks again before it deletes. Two passes may between them put a row back into its list; a
//! stamp on a reachable row is removed, and within `T` neither of them is alive any more.
//!
//! The first row stays for ever, being the entry. Once it is full and its entries are over, it is
//! emptied instead: log, value and lock of a row with a successor are never looked at again. Other
//! full rows go as a whole soon enough, and the log of the tail is bounded by the row's capacity, so
//! neither is pruned.

use super::{Owner, Sweep, query, set};
use crate::Bug;
use crate::names::{
    CHAIN_INDEX, CHAIN_SHARDS, DANGLING, HEAD, HOLDER, KEY, LOGS, NEXT, ROW, VALUE, WAITER,
};
use crate::rows::{row_key, text};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::Result;
use triptych_model::{Action, Condition, Item, Map, Name, Path, Value};

/// The rows of one key, by row id.
type Rows = BTreeMap<Name, Item>;

/// The row ids from the head on, as far as the rows are there.
pub(crate) fn walk(rows: &Rows) -> Vec<Name> {
    let mut reached = Vec::new();
    let mut row = Some(Name::from(HEAD));
    while let Some(id) = row.take() {
        let Some(item) = rows.get(&id) else { break };
        if reached.contains(&id) {
            break;
        }
        reached.push(id);
        row = text(item, NEXT);
    }
    reached
}

fn entries(row: &Item) -> impl Iterator<Item = &Name> {
    let logs = row.get(LOGS).and_then(Value::as_map);
    logs.into_iter().flat_map(BTreeMap::keys)
}

/// Whose log entries stand in a row.
pub(super) fn owners(row: &Item) -> BTreeSet<Owner> {
    entries(row).map(|cid| Owner::of(cid)).collect()
}

/// The transactions on whose locks a row has a decision.
pub(crate) fn locked_by(row: &Item) -> BTreeSet<Name> {
    let tx = |owner| match owner {
        Owner::Transaction(tx) => Some(tx),
        Owner::Instance(_) => None,
    };
    owners(row).into_iter().filter_map(tx).collect()
}

impl Sweep<'_> {
    pub(super) async fn lists(&self) -> Result<()> {
        let run = self.run;
        if run.shared.config.is_cross_table() {
            return Ok(());
        }
        let Some(function) = run.shared.app.function(&run.function) else {
            return Ok(());
        };
        for table in &function.tables {
            let mut keys = BTreeSet::new();
            for shard in 0..CHAIN_SHARDS {
                let hash = Value::from(shard.to_string());
                let chained = query(table, Some(CHAIN_INDEX), hash, None, &[KEY]);
                let chained = run.all_pages("beldi.gc.chains", chained).await?;
                keys.extend(chained.iter().filter_map(|item| text(item, KEY)));
            }
            for key in keys {
                self.list(table, &key).await?;
            }
        }
        Ok(())
    }

    async fn rows(&self, point: &'static str, table: &Name, key: &Name) -> Result<Rows> {
        let seen = [ROW, NEXT, LOGS, DANGLING];
        let rows = query(table, None, key.clone().into(), None, &seen);
        let rows = self.run.all_pages(point, rows).await?;
        Ok(rows
            .into_iter()
            .filter_map(|item| Some((text(&item, ROW)?, item)))
            .collect())
    }

    async fn list(&self, table: &Name, key: &Name) -> Result<()> {
        let rows = self.rows("beldi.gc.list", table, key).await?;
        let reached = walk(&rows);
        let unreachable = rows.iter().filter(|(id, _)| !reached.contains(id));
        let mut due = Vec::new();
        for (id, row) in unreachable {
            match row.get(DANGLING).and_then(Value::as_int) {
                None => self.stamp(table, key, id).await?,
                Some(since) if since < self.before => due.push((id.clone(), since)),
                Some(_) => {}
            }
        }
        if !due.is_empty() {
            let now = walk(&self.rows("beldi.gc.again", table, key).await?);
            due.retain(|(id, _)| !now.contains(id));
            for (id, since) in due {
                let unchanged = Condition::equals(Path::attr(DANGLING), since);
                let at = (table, row_key(key, &id));
                self.run.delete_if("beldi.gc.delete", at, unchanged).await?;
            }
        }
        if self.unlink(table, key, &rows, &reached).await? {
            let rows = self.rows("beldi.gc.again", table, key).await?;
            let reached = walk(&rows);
            let unstamped =
                |(id, row): &(&Name, &Item)| !reached.contains(*id) && !row.contains_key(DANGLING);
            for (id, _) in rows.iter().filter(unstamped) {
                self.stamp(table, key, id).await?;
            }
        }
        for id in &reached {
            if let Some(since) = rows[id].get(DANGLING) {
                let unchanged = Condition::equals(Path::attr(DANGLING), since.clone());
                let clear = vec![Action::Remove(Path::attr(DANGLING))];
                let at = (table, row_key(key, id));
                let point = "beldi.gc.clear";
                self.run.update_if(point, at, clear, unchanged).await?;
            }
        }
        Ok(())
    }

    /// Notes that a row was found unreachable. It must exist: it may have been removed meanwhile.
    async fn stamp(&self, table: &Name, key: &Name, row: &Name) -> Result<()> {
        let unstamped = Condition::All(vec![
            Condition::Exists(Path::attr(KEY)),
            Condition::Absent(Path::attr(DANGLING)),
        ]);
        // Not when the pass began: the row may have been unlinked since, and T counts from then.
        let now = self.run.shared.world.unix_ms();
        let stamp = vec![set(DANGLING, Value::Int(now))];
        let at = (table, row_key(key, row));
        self.run
            .update_if("beldi.gc.stamp", at, stamp, unstamped)
            .await
            .map(drop)
    }

    /// Whether it unlinked anything.
    async fn unlink(
        &self,
        table: &Name,
        key: &Name,
        rows: &Rows,
        reached: &[Name],
    ) -> Result<bool> {
        let mut unlinked = false;
        let [head, interior @ .., _] = reached else {
            return Ok(unlinked);
        };
        let first = &rows[head];
        if entries(first).next().is_some() && self.all_over(&owners(first)).await? {
            self.empty(table, key, head).await?;
        }
        let mut before = head;
        for row in interior {
            let (Some(next), true) = (
                text(&rows[row], NEXT),
                self.all_over(&owners(&rows[row])).await?,
            ) else {
                before = row;
                continue;
            };
            if self.run.has(Bug::DeleteReachable) {
                let exists = Condition::Exists(Path::attr(KEY));
                let at = (table, row_key(key, row));
                self.run.delete_if("beldi.gc.delete", at, exists).await?;
                continue;
            }
            let seen = vec![
                Condition::equals(Path::attr(NEXT), row.clone()),
                Condition::Absent(Path::attr(DANGLING)),
            ];
            let past = vec![set(NEXT, next.into())];
            let at = (table, row_key(key, before));
            let point = "beldi.gc.unlink";
            if !self
                .run
                .update_if(point, at, past, Condition::All(seen))
                .await?
            {
                // Somebody else was here; the next pass sees what has become of the list.
                return Ok(unlinked);
            }
            unlinked = true;
        }
        Ok(unlinked)
    }

    /// Empties the first row. It has a successor, so it takes no effect, and nobody reads it.
    async fn empty(&self, table: &Name, key: &Name, head: &Name) -> Result<()> {
        let update = vec![
            set(LOGS, Value::from(Map::new())),
            Action::Remove(Path::attr(VALUE)),
            Action::Remove(Path::attr(HOLDER)),
            Action::Remove(Path::attr(WAITER)),
        ];
        let full = Condition::Exists(Path::attr(NEXT));
        let at = (table, row_key(key, head));
        self.run
            .update_if("beldi.gc.empty", at, update, full)
            .await
            .map(drop)
    }
}
