//! [`Tables`]: all tables in memory, as a pure state machine.
//!
//! A request is first *planned* on the tables as they are, which decides its answer and what it
//! consumes, and then *committed*, which cannot fail. Whoever must say no in between (throttling)
//! does so without a trace. Scans return items in the order of a fixed hash of their hash value.

use crate::check::{self, invalid};
use crate::edit::Edits;
use crate::page::{PageRequest, QueryRequest};
use crate::table::{Row, RowKey, Table, is_nested};
use crate::{Consumed, Key, Request, Response, StoreError, TableSchema};
use std::collections::BTreeMap;
use triptych_model::{Item, Name};

/// Storage that is billed with every item beside its own bytes.
const ITEM_OVERHEAD: u64 = 100;

/// Tables in memory. See the module documentation.
#[derive(Debug)]
pub struct Tables {
    /// How many items a transaction may have: 25 until September 2022, 100 since.
    pub txn_max_items: usize,
    tables: Vec<Table>,
    by_name: BTreeMap<Name, usize>,
    stored_bytes: u64,
    stored_items: u64,
}

impl Default for Tables {
    fn default() -> Self {
        Tables {
            txn_max_items: 100,
            tables: Vec::new(),
            by_name: BTreeMap::new(),
            stored_bytes: 0,
            stored_items: 0,
        }
    }
}

/// A change of one row.
#[derive(Debug)]
pub(crate) enum Change<'r> {
    Put {
        table: usize,
        key: RowKey,
        item: &'r Item,
        size: usize,
    },
    Edit {
        table: usize,
        key: RowKey,
        edits: Edits<'r>,
    },
    Delete {
        table: usize,
        key: RowKey,
    },
}

/// The answer of a plan: known, or the item as it will be.
#[derive(Debug)]
pub(crate) enum Answer {
    Known(Response),
    ItemAfter(usize, RowKey),
}

/// A request that was evaluated but has not happened.
#[derive(Debug)]
pub struct Plan<'r> {
    pub(crate) answer: Result<Answer, StoreError>,
    pub(crate) consumed: Consumed,
    pub(crate) changes: Vec<Change<'r>>,
}

impl Plan<'_> {
    /// What committing it will consume. A failed condition consumes too.
    pub fn consumed(&self) -> &Consumed {
        &self.consumed
    }
}

impl Tables {
    /// No tables.
    pub fn new() -> Self {
        Tables::default()
    }

    /// Creates a table.
    ///
    /// # Errors
    /// [`StoreError::TableExists`], or [`StoreError::Validation`] for a schema that is none.
    pub fn create_table(&mut self, schema: TableSchema) -> Result<(), StoreError> {
        check::schema(&schema)?;
        if self.by_name.contains_key(&schema.name) {
            return Err(StoreError::TableExists(schema.name.to_string()));
        }
        self.by_name.insert(schema.name.clone(), self.tables.len());
        self.tables.push(Table::new(schema));
        Ok(())
    }

    /// Evaluates a request and makes its changes.
    pub fn apply(&mut self, request: &Request) -> (Result<Response, StoreError>, Consumed) {
        let plan = self.plan(request);
        self.commit(plan)
    }

    /// Evaluates a request without changing anything.
    pub fn plan<'r>(&self, request: &'r Request) -> Plan<'r> {
        let mut consumed = Consumed {
            bytes_in: request.bytes() as u64,
            ..Consumed::default()
        };
        let mut changes = Vec::new();
        let answer = match request {
            Request::Get {
                table,
                key,
                projection,
                consistent,
            } => self.get(table, key, projection, *consistent, &mut consumed),
            Request::Query {
                table,
                index,
                hash,
                range_below,
                filter,
                projection,
                consistent,
                limit,
                start,
            } => {
                let query = QueryRequest {
                    index: index.as_ref(),
                    hash,
                    below: range_below.as_ref(),
                };
                let page = PageRequest {
                    table,
                    filter: filter.as_ref(),
                    projection,
                    consistent: *consistent,
                    limit: *limit,
                    start: start.as_ref(),
                };
                self.query(&query, page, &mut consumed)
            }
            Request::Scan {
                table,
                filter,
                projection,
                consistent,
                limit,
                start,
            } => {
                let page = PageRequest {
                    table,
                    filter: filter.as_ref(),
                    projection,
                    consistent: *consistent,
                    limit: *limit,
                    start: start.as_ref(),
                };
                self.scan(page, &mut consumed)
            }
            Request::BatchGet { keys, consistent } => {
                self.batch_get(keys, *consistent, &mut consumed)
            }
            Request::TransactGet { keys } => self.transact_get(keys, &mut consumed),
            Request::Put { .. } | Request::Update { .. } | Request::Delete { .. } => {
                self.write(request, &mut consumed, &mut changes)
            }
            Request::BatchWrite { writes } => self.batch_write(writes, &mut consumed, &mut changes),
            Request::TransactWrite { writes } => {
                self.transact_write(writes, &mut consumed, &mut changes)
            }
        };
        if answer.is_err() {
            changes.clear();
        }
        Plan {
            answer,
            consumed,
            changes,
        }
    }

    /// Makes the changes of a plan. Nothing may have changed since it was made.
    pub fn commit(&mut self, plan: Plan<'_>) -> (Result<Response, StoreError>, Consumed) {
        let Plan {
            answer,
            mut consumed,
            changes,
        } = plan;
        for change in changes {
            self.change(change);
        }
        let answer = answer.map(|answer| match answer {
            Answer::Known(response) => response,
            Answer::ItemAfter(table, key) => {
                let row = self.tables[table].rows.get(&key);
                consumed.bytes_out += row.map_or(0, |row| row.size as u64);
                Response::Item(row.map(|row| row.item.clone()))
            }
        });
        (answer, consumed)
    }

    fn change(&mut self, change: Change<'_>) {
        match change {
            Change::Put {
                table,
                key,
                item,
                size,
            } => {
                self.unlink(table, &key);
                let row = Row {
                    item: item.clone(),
                    size,
                    nested: is_nested(item),
                };
                self.tables[table].rows.insert(key.clone(), row);
                self.link(table, &key);
            }
            Change::Edit { table, key, edits } => {
                let indexed = !self.tables[table].indexes.is_empty();
                let size = edits.size;
                if indexed {
                    self.unlink(table, &key);
                }
                let target = &mut self.tables[table];
                match target.rows.get_mut(&key) {
                    Some(row) => {
                        if !indexed {
                            self.stored_bytes = self.stored_bytes + size as u64 - row.size as u64;
                        }
                        edits.make(&mut row.item);
                        row.size = size;
                        row.nested = is_nested(&row.item);
                    }
                    None => {
                        let mut item = target.key_item(&key.key);
                        edits.make(&mut item);
                        let nested = is_nested(&item);
                        target.rows.insert(key.clone(), Row { item, size, nested });
                        if !indexed {
                            self.stored_bytes += size as u64 + ITEM_OVERHEAD;
                            self.stored_items += 1;
                        }
                    }
                }
                if indexed {
                    self.link(table, &key);
                }
            }
            Change::Delete { table, key } => {
                self.unlink(table, &key);
                self.tables[table].rows.remove(&key);
            }
        }
    }

    /// Takes a row, if it is there, out of the indexes and the storage counted.
    fn unlink(&mut self, table: usize, key: &RowKey) {
        let table = &mut self.tables[table];
        let Some(row) = table.rows.get(key) else {
            return;
        };
        self.stored_bytes -= row.size as u64 + ITEM_OVERHEAD;
        self.stored_items -= 1;
        for index in 0..table.indexes.len() {
            if let Some(entry) = table.entry(index, &key.key, row.size, |name| row.item.get(name)) {
                table.indexes[index].remove(&entry.key);
                self.stored_bytes -= entry.size as u64 + ITEM_OVERHEAD;
            }
        }
    }

    /// Puts a row into the indexes and the storage counted.
    fn link(&mut self, table: usize, key: &RowKey) {
        let table = &mut self.tables[table];
        let Some(row) = table.rows.get(key) else {
            return;
        };
        self.stored_bytes += row.size as u64 + ITEM_OVERHEAD;
        self.stored_items += 1;
        for index in 0..table.indexes.len() {
            if let Some(entry) = table.entry(index, &key.key, row.size, |name| row.item.get(name)) {
                self.stored_bytes += entry.size as u64 + ITEM_OVERHEAD;
                table.indexes[index].insert(entry.key, key.hash);
            }
        }
    }

    /// A table by name, with its number.
    pub(crate) fn table(&self, name: &str) -> Result<(usize, &Table), StoreError> {
        match self.by_name.get(name) {
            Some(&number) => Ok((number, &self.tables[number])),
            None => Err(StoreError::NoSuchTable(name.to_owned())),
        }
    }

    /// Refuses a batch or transaction that names the same item twice.
    pub(crate) fn check_distinct(keys: &[(usize, RowKey)]) -> Result<(), StoreError> {
        let mut sorted: Vec<&(usize, RowKey)> = keys.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return invalid("the same item occurs twice in one request");
        }
        Ok(())
    }

    /// The names of all tables, in order.
    pub fn table_names(&self) -> impl Iterator<Item = &Name> {
        self.by_name.keys()
    }

    /// The schema of a table.
    pub fn schema(&self, table: &str) -> Option<&TableSchema> {
        self.table(table).ok().map(|(_, table)| &table.schema)
    }

    /// The bytes that storage is billed for: items and index entries, each with its overhead.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// The items in all tables.
    pub fn stored_items(&self) -> u64 {
        self.stored_items
    }

    /// The items of a table in the order of a scan; none of a table that does not exist.
    pub fn items(&self, table: &str) -> impl Iterator<Item = (&Key, &Item)> {
        let table = self.table(table).ok();
        table
            .into_iter()
            .flat_map(|(_, table)| table.rows.iter().map(|(key, row)| (&key.key, &row.item)))
    }
}
