//! Plans writes: single ones, batches and transactions.

use crate::check::{self, MAX_ITEM, invalid};
use crate::edit::Edits;
use crate::eval::holds;
use crate::table::{Row, RowKey, Table};
use crate::tables::{Answer, Change, Tables};
use crate::units::write_units;
use crate::{Cancellation, Consumed, Key, Request, Response, Return, StoreError, Write};
use triptych_model::{Action, Condition, Item, Name, Value, item_size};

const BATCH_WRITES: usize = 25;
/// Transactions may carry 4 MB in all.
const TXN_BYTES: usize = 4 * 1024 * 1024;

const TOO_LARGE: &str = "the item is over the maximum size";

/// One write, whatever request it came in.
#[derive(Clone, Copy)]
struct Part<'r> {
    table: &'r Name,
    condition: Option<&'r Condition>,
    kind: Kind<'r>,
}

#[derive(Clone, Copy)]
enum Kind<'r> {
    Put(&'r Item),
    Update(&'r Key, &'r [Action]),
    Delete(&'r Key),
    Check(&'r Key),
}

impl<'r> From<&'r Write> for Part<'r> {
    fn from(write: &'r Write) -> Self {
        match write {
            Write::Put {
                table,
                item,
                condition,
            } => Part {
                table,
                condition: condition.as_ref(),
                kind: Kind::Put(item),
            },
            Write::Update {
                table,
                key,
                update,
                condition,
            } => Part {
                table,
                condition: condition.as_ref(),
                kind: Kind::Update(key, update),
            },
            Write::Delete {
                table,
                key,
                condition,
            } => Part {
                table,
                condition: condition.as_ref(),
                kind: Kind::Delete(key),
            },
            Write::Check {
                table,
                key,
                condition,
            } => Part {
                table,
                condition: Some(condition),
                kind: Kind::Check(key),
            },
        }
    }
}

impl<'r> Part<'r> {
    /// What can be said without looking at any table.
    fn check(&self) -> Result<(), StoreError> {
        if let Kind::Put(item) = self.kind {
            check::item(item)?;
            if item_size(item) > MAX_ITEM {
                return invalid(TOO_LARGE);
            }
        }
        if let Kind::Update(_, actions) = self.kind {
            check::update(actions)?;
        }
        self.condition.map_or(Ok(()), check::condition)
    }

    /// The key, whether it fits the schema or not; of an item to put, it may be missing.
    fn key(&self, table: &Table) -> Result<Key, StoreError> {
        match self.kind {
            Kind::Put(item) => check::key_of(&table.schema, item),
            Kind::Update(key, _) | Kind::Delete(key) | Kind::Check(key) => {
                check::key(&table.schema, key)?;
                Ok(key.clone())
            }
        }
    }
}

/// A planned part.
struct Planned<'r> {
    change: Option<Change<'r>>,
    consumed: Consumed,
}

impl Tables {
    /// Put, Update or Delete.
    pub(crate) fn write<'r>(
        &self,
        request: &'r Request,
        consumed: &mut Consumed,
        changes: &mut Vec<Change<'r>>,
    ) -> Result<Answer, StoreError> {
        let (part, returns) = match request {
            Request::Put {
                table,
                item,
                condition,
            } => {
                let condition = condition.as_ref();
                (
                    Part {
                        table,
                        condition,
                        kind: Kind::Put(item),
                    },
                    Return::None,
                )
            }
            Request::Update {
                table,
                key,
                update,
                condition,
                returns,
            } => {
                let condition = condition.as_ref();
                (
                    Part {
                        table,
                        condition,
                        kind: Kind::Update(key, update),
                    },
                    *returns,
                )
            }
            Request::Delete {
                table,
                key,
                condition,
            } => {
                let condition = condition.as_ref();
                (
                    Part {
                        table,
                        condition,
                        kind: Kind::Delete(key),
                    },
                    Return::None,
                )
            }
            _ => return invalid("not a write of one item"),
        };
        part.check()?;
        let (number, table) = self.table(part.table)?;
        let key = RowKey::new(part.key(table)?);
        let row = table.rows.get(&key);
        let old = match returns {
            Return::AllOld => row.map(|row| row.item.clone()),
            Return::None | Return::AllNew => None,
        };
        let after = (returns == Return::AllNew).then(|| key.clone());
        let result = plan(number, table, part, key, row, 1, consumed);
        let planned = result?;
        changes.extend(planned.change);
        consumed.add(planned.consumed);
        if old.is_some() {
            consumed.bytes_out += row.map_or(0, |row| row.size as u64);
        }
        Ok(match after {
            Some(key) => Answer::ItemAfter(number, key),
            None => Answer::Known(Response::Item(old)),
        })
    }

    pub(crate) fn batch_write<'r>(
        &self,
        writes: &'r [Write],
        consumed: &mut Consumed,
        changes: &mut Vec<Change<'r>>,
    ) -> Result<Answer, StoreError> {
        if writes.is_empty() || writes.len() > BATCH_WRITES {
            return invalid(format!("a batch has 1 to {BATCH_WRITES} writes"));
        }
        let mut keys = Vec::with_capacity(writes.len());
        for write in writes {
            let part = Part::from(write);
            if part.condition.is_some() || !matches!(part.kind, Kind::Put(_) | Kind::Delete(_)) {
                return invalid("a batch has puts and deletes without conditions only");
            }
            part.check()?;
        }
        for write in writes {
            self.table(Part::from(write).table)?;
        }
        for write in writes {
            let part = Part::from(write);
            let (number, table) = self.table(part.table)?;
            keys.push((number, RowKey::new(part.key(table)?)));
        }
        Tables::check_distinct(&keys)?;
        for (write, (number, key)) in writes.iter().zip(keys) {
            let part = Part::from(write);
            let (_, table) = self.table(part.table)?;
            let row = table.rows.get(&key);
            let planned = plan(number, table, part, key, row, 1, consumed)?;
            changes.extend(planned.change);
            consumed.add(planned.consumed);
        }
        Ok(Answer::Known(Response::Done))
    }

    pub(crate) fn transact_write<'r>(
        &self,
        writes: &'r [Write],
        consumed: &mut Consumed,
        changes: &mut Vec<Change<'r>>,
    ) -> Result<Answer, StoreError> {
        if writes.is_empty() || writes.len() > self.txn_max_items {
            return invalid(format!(
                "a transaction has 1 to {} writes",
                self.txn_max_items
            ));
        }
        let parts: Vec<Part<'r>> = writes.iter().map(Part::from).collect();
        for part in &parts {
            part.check()?;
            if let Kind::Update(_, []) = part.kind {
                return invalid("an empty update in a transaction");
            }
        }
        let mut keys = Vec::with_capacity(parts.len());
        let mut distinct = Vec::with_capacity(parts.len());
        for part in &parts {
            let (number, table) = self.table(part.table)?;
            let key = part.key(table);
            match &key {
                Ok(key) => distinct.push((number, RowKey::new(key.clone()))),
                Err(error) if check::is_empty_key(error) => return Err(error.clone()),
                Err(_) => {}
            }
            keys.push(key);
        }
        Tables::check_distinct(&distinct)?;
        if consumed.bytes_in as usize > TXN_BYTES {
            return invalid("the transaction is over 4 MB");
        }
        let mut reasons = Vec::with_capacity(parts.len());
        let mut done = Consumed::default();
        // A cancelled transaction is charged for its first phase only: every item as it is.
        let mut prepared = Consumed::default();
        for (part, key) in parts.into_iter().zip(keys) {
            let (number, table) = self.table(part.table)?;
            let planned = key.and_then(|key| {
                let key = RowKey::new(key);
                let row = table.rows.get(&key);
                let units = row.map_or(1, |row| write_units(row.size));
                prepared.write(number, None, key.hash, units);
                let mut failed = Consumed::default();
                plan(number, table, part, key, row, 2, &mut failed)
            });
            reasons.push(match planned {
                Ok(planned) => {
                    changes.extend(planned.change);
                    done.add(planned.consumed);
                    Cancellation::None
                }
                Err(StoreError::ConditionFailed) => Cancellation::ConditionFailed,
                Err(error) if check::is_empty_key(&error) => return Err(error),
                Err(_) => Cancellation::Validation,
            });
        }
        if reasons.iter().all(|reason| *reason == Cancellation::None) {
            consumed.add(done);
            Ok(Answer::Known(Response::Done))
        } else {
            consumed.add(prepared);
            Err(StoreError::Cancelled(reasons))
        }
    }
}

/// Plans one write of one row. `factor` is what a transaction costs more. If the condition fails,
/// what that consumes goes to `failed`.
fn plan<'r>(
    number: usize,
    table: &Table,
    part: Part<'r>,
    key: RowKey,
    row: Option<&Row>,
    factor: u64,
    failed: &mut Consumed,
) -> Result<Planned<'r>, StoreError> {
    let mut consumed = Consumed::default();
    let old_size = row.map_or(0, |row| row.size);
    if let Kind::Put(item) = part.kind {
        check_index_keys(table, |name| item.get(name))?;
    }
    if let Some(condition) = part.condition {
        let missing = Item::new();
        if !holds(condition, row.map_or(&missing, |row| &row.item)) {
            failed.touch(old_size, row.is_some_and(|row| row.nested));
            failed.write(number, None, key.hash, write_units(old_size));
            return Err(StoreError::ConditionFailed);
        }
    }
    match part.kind {
        Kind::Put(item) => {
            let size = item_size(item);
            consumed.touch(size, crate::table::is_nested(item));
            let units = factor * write_units(size.max(old_size));
            consumed.write(number, None, key.hash, units);
            if !table.indexes.is_empty() {
                let changes = row.is_none_or(|row| row.item != *item);
                let after = Some((size, |name: &Name| item.get(name)));
                write_entries(number, table, &key, row, after, changes, &mut consumed);
            }
            let change = Some(Change::Put {
                table: number,
                key,
                item,
                size,
            });
            Ok(Planned { change, consumed })
        }
        Kind::Update(_, actions) => {
            if let Some(action) = actions
                .iter()
                .find(|action| table.is_key_attribute(check::target(action).root()))
            {
                let name = check::target(action).root();
                return invalid(format!("{name} is part of the key and cannot be updated"));
            }
            let created;
            let before = match row {
                Some(row) => &row.item,
                None => {
                    created = table.key_item(&key.key);
                    &created
                }
            };
            let size = if row.is_some() {
                old_size
            } else {
                item_size(before)
            };
            let edits = Edits::plan(actions, before, size)?;
            if edits.size > MAX_ITEM {
                return invalid(TOO_LARGE);
            }
            check_index_keys(table, |name| edits.after(before, name))?;
            let size = edits.size;
            let nested = row.is_some_and(|row| row.nested) || edits.value_bytes() > 1024;
            consumed.touch(size, nested);
            let units = factor * write_units(size.max(old_size));
            consumed.write(number, None, key.hash, units);
            if !table.indexes.is_empty() {
                let changes = row.is_none() || edits.changes;
                let after = Some((size, |name: &Name| edits.after(before, name)));
                write_entries(number, table, &key, row, after, changes, &mut consumed);
            }
            let change = Some(Change::Edit {
                table: number,
                key,
                edits,
            });
            Ok(Planned { change, consumed })
        }
        Kind::Delete(_) => {
            consumed.touch(old_size, row.is_some_and(|row| row.nested));
            consumed.write(number, None, key.hash, factor * write_units(old_size));
            type Nothing = fn(&Name) -> Option<&'static Value>;
            let after = None::<(usize, Nothing)>;
            write_entries(number, table, &key, row, after, true, &mut consumed);
            let change = row.map(|_| Change::Delete { table: number, key });
            Ok(Planned { change, consumed })
        }
        Kind::Check(_) => {
            consumed.touch(old_size, row.is_some_and(|row| row.nested));
            consumed.write(number, None, key.hash, factor * write_units(old_size));
            Ok(Planned {
                change: None,
                consumed,
            })
        }
    }
}

/// An attribute that is a key of an index must have its type, or be absent.
fn check_index_keys<'v>(
    table: &Table,
    attribute: impl Fn(&Name) -> Option<&'v Value>,
) -> Result<(), StoreError> {
    for index in &table.schema.indexes {
        if let Some(value) = attribute(&index.hash.name) {
            check::hash_value(&index.hash, value)?;
        }
        if let Some(range) = &index.range
            && let Some(value) = attribute(&range.name)
        {
            check::range_value(range, value)?;
        }
    }
    Ok(())
}

/// Charges the indexes: an entry that changes is a write of the larger of its images, and one that
/// moves is a deletion and a write.
fn write_entries<'v>(
    number: usize,
    table: &Table,
    key: &RowKey,
    before: Option<&Row>,
    after: Option<(usize, impl Fn(&Name) -> Option<&'v Value>)>,
    changes: bool,
    consumed: &mut Consumed,
) {
    for (at, schema) in table.schema.indexes.iter().enumerate() {
        let old =
            before.and_then(|row| table.entry(at, &key.key, row.size, |name| row.item.get(name)));
        let new = after
            .as_ref()
            .and_then(|(size, attribute)| table.entry(at, &key.key, *size, attribute));
        match (old, new) {
            (None, None) => {}
            (Some(entry), None) | (None, Some(entry)) => {
                consumed.write(number, Some(at), entry.key.hash, write_units(entry.size));
            }
            (Some(old), Some(new)) if old.key == new.key => {
                if changes && !schema.keys_only {
                    let units = write_units(old.size.max(new.size));
                    consumed.write(number, Some(at), new.key.hash, units);
                }
            }
            (Some(old), Some(new)) => {
                consumed.write(number, Some(at), old.key.hash, write_units(old.size));
                consumed.write(number, Some(at), new.key.hash, write_units(new.size));
            }
        }
    }
}
