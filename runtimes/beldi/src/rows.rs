//! The rows of a key: where an effect goes, and what is there now (specification §§3.2, 4.1, 4.5).
//!
//! A key's rows are a singly linked list that begins at the row `HEAD` and grows at its tail. An
//! effect looks for its log key in all rows, because an earlier execution may have logged it in one
//! that was the tail then, and goes into the tail if it is not there. A full tail takes no more
//! effects; whoever finds one appends a row, which begins with a copy of its state.

use crate::Bug;
use crate::log::{Run, interrupted};
use crate::names::{
    BORN, CHAIN, HEAD, HOLDER, KEY, LOG_SIZE, LOGS, NEXT, ROW, VALUE, WAITER, chain,
};
use std::collections::BTreeMap;
use triptych_api::{Error, Result};
use triptych_model::{Action, Comparison, Condition, Item, Map, Name, Operand, Path, Value};
use triptych_store::{Key, PageKey, Request, Response};

/// What one look at all rows of a key shows.
pub(crate) enum Skeleton {
    /// The log key is there, with this outcome.
    Done(Value),
    /// It is not; this is the tail, with what was asked for of it, unless it was linked while the
    /// pages were read and is in none of them.
    Tail(Name, Option<Item>),
    /// The key has no rows.
    Empty,
}

/// Where an effect on a key goes.
pub(crate) enum Place {
    /// Nowhere: its log key is there, with this outcome.
    Done(Value),
    /// Into this row, which is the tail and not full, and has this in it.
    Open(Name, Item),
}

/// The row behind one that was full.
enum Appended {
    /// A new one, with this state and no log entry.
    Here(Name, Item),
    /// Somebody else's.
    Elsewhere(Name),
}

fn logged(cid: &str) -> Path {
    Path::attr(LOGS).field(cid)
}

pub(crate) fn row_key(key: &Name, row: &str) -> Key {
    Key::range(key.clone(), Value::str(row))
}

impl Run {
    /// Fetches row ids and links (and the log key and `also`, if asked) of a key, and walks from the
    /// head.
    ///
    /// The pages are no snapshot. A row seen with a successor was full and can never take the log key
    /// later; a row seen without one was the tail when it was read, and is checked again by the
    /// conditional update that follows; rows that were missed lie beyond. But the first of those may
    /// be the successor of the last one seen: then nothing is known of it, not even that it is empty.
    pub(crate) async fn skeleton(
        &self,
        table: &Name,
        key: &Name,
        cid: Option<&str>,
        also: &[&str],
    ) -> Result<Skeleton> {
        let mut projection = vec![Path::attr(ROW), Path::attr(NEXT)];
        projection.extend(cid.map(logged));
        projection.extend(also.iter().copied().map(Path::attr));
        let mut rows: BTreeMap<Name, Item> = BTreeMap::new();
        let mut start: Option<PageKey> = None;
        loop {
            let request = Request::Query {
                table: table.clone(),
                index: None,
                hash: key.clone().into(),
                range_below: None,
                filter: None,
                projection: Some(projection.clone()),
                consistent: true,
                limit: None,
                start: start.take(),
            };
            let response = self
                .store("beldi.daal.query", request)
                .await
                .map_err(interrupted)?;
            let Response::Page { items, next: more } = response else {
                return Err(Error::Interrupted(format!(
                    "a query was answered with {response:?}"
                )));
            };
            for item in items {
                if let Some(outcome) = cid.and_then(|cid| item.get(LOGS)?.get(cid)) {
                    return Ok(Skeleton::Done(outcome.clone()));
                }
                if let Some(row) = text(&item, ROW) {
                    rows.insert(row, item);
                }
            }
            start = more;
            if start.is_none() {
                break;
            }
        }
        if rows.is_empty() {
            return Ok(Skeleton::Empty);
        }
        let mut tail = Name::from(HEAD);
        while let Some(successor) = rows.get(&tail).and_then(|row| text(row, NEXT)) {
            tail = successor;
        }
        let item = rows.remove(&tail);
        Ok(Skeleton::Tail(tail, item))
    }

    /// Where an effect on a key goes, by a look at all its rows. None if it has no rows. `also` must
    /// contain [`LOG_SIZE`], or a full tail is taken for an open one.
    pub(crate) async fn find(
        &self,
        (table, key): (&Name, &Name),
        cid: Option<&str>,
        also: &[&str],
    ) -> Result<Option<Place>> {
        match self.skeleton(table, key, cid, also).await? {
            Skeleton::Done(outcome) => Ok(Some(Place::Done(outcome))),
            Skeleton::Tail(row, None) => {
                let place = self.find_from((table, key, &row), cid, also).await?;
                Ok(Some(place))
            }
            Skeleton::Tail(row, Some(item)) => {
                let place = self.settle((table, key), cid, also, row, item).await?;
                Ok(Some(place))
            }
            Skeleton::Empty => Ok(None),
        }
    }

    /// The same once an effect has missed on a row that was the tail.
    pub(crate) async fn find_from(
        &self,
        (table, key, row): (&Name, &Name, &str),
        cid: Option<&str>,
        also: &[&str],
    ) -> Result<Place> {
        let item = self.look((table, key, row), cid, also).await?;
        let at = (table, key);
        self.settle(at, cid, also, Name::from(row), item).await
    }

    async fn look(
        &self,
        (table, key, row): (&Name, &Name, &str),
        cid: Option<&str>,
        also: &[&str],
    ) -> Result<Item> {
        let also = also.iter().copied().filter(|name| *name != LOG_SIZE);
        let seen = [LOG_SIZE, NEXT].into_iter().chain(also);
        let mut seen: Vec<Path> = seen.map(Path::attr).collect();
        seen.extend(cid.map(logged));
        let place = (table, row_key(key, row));
        let item = self.get("beldi.write.look", place, Some(seen)).await?;
        // A row that was in the list cannot go while an execution is alive that has seen it. To take
        // it for an empty one would be to take a key for free that is locked.
        item.ok_or_else(|| Error::Interrupted(format!("row {row} of {table}[{key}] is gone")))
    }

    /// Follows the list from a row to its tail, and appends to that if it is full.
    async fn settle(
        &self,
        (table, key): (&Name, &Name),
        cid: Option<&str>,
        also: &[&str],
        mut row: Name,
        mut item: Item,
    ) -> Result<Place> {
        loop {
            if let Some(outcome) = cid.and_then(|cid| item.get(LOGS)?.get(cid)) {
                return Ok(Place::Done(outcome.clone()));
            }
            if let Some(next) = text(&item, NEXT) {
                item = self.look((table, key, &next), cid, also).await?;
                row = next;
            } else if item.get(LOG_SIZE).and_then(Value::as_int) >= Some(self.capacity()) {
                (row, item) = match self.append_row(table, key, &row).await? {
                    Appended::Here(row, state) => (row, state),
                    Appended::Elsewhere(next) => {
                        let item = self.look((table, key, &next), cid, also).await?;
                        (next, item)
                    }
                };
            } else {
                return Ok(Place::Open(row, item));
            }
        }
    }

    /// The current value of a key. Not logged.
    pub(crate) async fn current(&self, table: &Name, key: &Name) -> Result<Option<Value>> {
        if self.shared.config.is_cross_table() {
            return self.cross_current(table, key).await;
        }
        let mut row = match self.skeleton(table, key, None, &[]).await? {
            Skeleton::Tail(row, _) => row,
            Skeleton::Empty | Skeleton::Done(_) => return Ok(None),
        };
        loop {
            let projection = Some(vec![Path::attr(VALUE), Path::attr(NEXT)]);
            let at = (table, row_key(key, &row));
            let Some(mut item) = self.get("beldi.read.get", at, projection).await? else {
                return Ok(None);
            };
            match text(&item, NEXT) {
                Some(next) => row = next,
                None => return Ok(item.remove(VALUE)),
            }
        }
    }

    pub(crate) fn capacity(&self) -> i64 {
        self.shared.config.row_capacity
    }

    /// The row still takes this log key.
    pub(crate) fn open(&self, cid: &str) -> Vec<Condition> {
        let capacity = Value::Int(self.capacity());
        vec![
            Condition::Absent(logged(cid)),
            Condition::Compare(Path::attr(LOG_SIZE), Comparison::Less, capacity),
        ]
    }

    pub(crate) fn log_clauses(cid: &str, outcome: Operand) -> Vec<Action> {
        let size = Operand::Plus(Box::new(Operand::Path(Path::attr(LOG_SIZE))), 1);
        vec![
            Action::Set(logged(cid), outcome),
            Action::Set(Path::attr(LOG_SIZE), size),
        ]
    }

    /// Begins a key's list. Losing the race to another writer is as good.
    pub(crate) async fn insert_head(&self, table: &Name, key: &Name) -> Result<()> {
        let absent = Condition::Absent(Path::attr(KEY));
        let place = (table, row_key(key, HEAD));
        self.update_if("beldi.daal.head", place, Self::new_row(Item::new()), absent)
            .await
            .map(drop)
    }

    /// An empty log beside this state.
    fn new_row(state: Item) -> Vec<Action> {
        let set = |name, value| Action::Set(Path::attr(name), Operand::Value(value));
        let mut update = vec![
            set(LOGS, Value::from(Map::new())),
            set(LOG_SIZE, Value::Int(0)),
        ];
        update.extend(state.iter().map(|(name, value)| set(name, value.clone())));
        update
    }

    /// Links a new row behind a full one.
    async fn append_row(&self, table: &Name, key: &Name, full: &str) -> Result<Appended> {
        // A full row takes no more effects, so what is read here is final. The whole state goes
        // along: a lock that is not copied is a lock that is lost.
        let state = [VALUE, HOLDER, WAITER].map(Path::attr).to_vec();
        let place = (table, row_key(key, full));
        let old = self.get("beldi.append.read", place, Some(state)).await?;
        let mut state = old.unwrap_or_default();
        if self.has(Bug::LockLostOnAppend) {
            state.remove(HOLDER);
        }
        if self.has(Bug::ValueLostOnAppend) {
            state.remove(VALUE);
        }
        // How the garbage collector finds the row, and how old an orphan is.
        let born = Value::Int(self.shared.world.unix_ms());
        state.insert(Name::from(CHAIN), chain(key));
        state.insert(Name::from(BORN), born);
        let id = self.fresh_id();
        let place = (table, row_key(key, &id));
        let absent = Condition::Absent(Path::attr(KEY));
        let create = Self::new_row(state.clone());
        self.update_if("beldi.append.create", place, create, absent)
            .await?;
        let link = vec![Action::Set(
            Path::attr(NEXT),
            Operand::Value(Value::str(&id)),
        )];
        let place = (table, row_key(key, full));
        let unlinked = Condition::Absent(Path::attr(NEXT));
        if self
            .update_if("beldi.append.link", place, link, unlinked)
            .await?
        {
            return Ok(Appended::Here(Name::from(id), state));
        }
        // Somebody else linked first: remove the orphan and follow the winner.
        let orphan = Request::Delete {
            table: table.clone(),
            key: row_key(key, &id),
            condition: None,
        };
        self.store("beldi.append.undo", orphan)
            .await
            .map_err(interrupted)?;
        let projection = Some(vec![Path::attr(NEXT)]);
        let place = (table, row_key(key, full));
        let item = self
            .get("beldi.append.follow", place, projection)
            .await?
            .unwrap_or_default();
        let next = text(&item, NEXT);
        let next = next.ok_or_else(|| Error::Interrupted("a full row lost its link".to_owned()))?;
        Ok(Appended::Elsewhere(next))
    }
}

/// A text attribute of an item.
pub(crate) fn text(item: &Item, name: &str) -> Option<Name> {
    match item.get(name) {
        Some(Value::Str(text)) => Some(text.clone()),
        _ => None,
    }
}
