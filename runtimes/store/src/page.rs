//! Plans queries and scans: one page each, with the key at which the next begins.

use crate::check::{self, invalid};
use crate::eval::{holds, project};
use crate::table::{IndexKey, RowKey, Table, hash_of, key_names};
use crate::tables::{Answer, Tables};
use crate::units::read_half_units;
use crate::{
    Consumed, IndexSchema, Key, KeyAttribute, PageKey, Projection, Response, StoreError,
    TableSchema,
};
use std::ops::Bound;
use triptych_model::{Condition, Item, Name, Path, Value, item_size};

/// A page ends before the item that would take it over this size.
const PAGE_BYTES: usize = 1024 * 1024;

/// What queries and scans have in common.
pub(crate) struct PageRequest<'r> {
    pub(crate) table: &'r Name,
    pub(crate) filter: Option<&'r Condition>,
    pub(crate) projection: &'r Projection,
    pub(crate) consistent: bool,
    pub(crate) limit: Option<usize>,
    pub(crate) start: Option<&'r PageKey>,
}

/// What a query says besides.
pub(crate) struct QueryRequest<'r> {
    pub(crate) index: Option<&'r Name>,
    pub(crate) hash: &'r Value,
    pub(crate) below: Option<&'r Value>,
}

/// The page being read.
struct Page<'r> {
    request: PageRequest<'r>,
    read: usize,
    bytes: usize,
    items: Vec<Item>,
}

/// The part of an item that a read returns.
pub(crate) fn returned(
    item: &Item,
    size: usize,
    projection: &Projection,
    consumed: &mut Consumed,
) -> Item {
    let (item, size) = match projection {
        None => (item.clone(), size),
        Some(paths) => {
            let item = project(item, paths);
            let size = item_size(&item);
            (item, size)
        }
    };
    consumed.bytes_out += size as u64;
    item
}

impl<'r> Page<'r> {
    /// Checks what can be checked without a table.
    fn begin(request: PageRequest<'r>) -> Result<Self, StoreError> {
        if request.limit == Some(0) {
            return invalid("the limit must be at least 1");
        }
        if let Some(paths) = request.projection {
            check::projection(paths)?;
        }
        if let Some(filter) = request.filter {
            check::condition(filter)?;
        }
        Ok(Page {
            request,
            read: 0,
            bytes: 0,
            items: Vec::new(),
        })
    }

    /// Reads items until the page is full; answers whether it is, and if so, which item was the
    /// last. The items come with their sizes and with what they are called.
    fn fill<'t, K>(
        &mut self,
        rows: impl Iterator<Item = Found<'t, K>>,
        consumed: &mut Consumed,
    ) -> Option<K> {
        let mut last = None;
        for found in rows {
            if self.read > 0 && self.bytes + found.size > PAGE_BYTES {
                return last;
            }
            self.read += 1;
            self.bytes += found.size;
            consumed.touch(found.size, found.nested);
            let item = match &found.item {
                Seen::Whole(item) => *item,
                Seen::Keys(item) => item,
            };
            if self.request.filter.is_none_or(|filter| holds(filter, item)) {
                let item = returned(item, found.size, self.request.projection, consumed);
                self.items.push(item);
            }
            last = Some(found.key);
            if self.request.limit == Some(self.read) {
                return last;
            }
        }
        None
    }

    fn end(self, next: Option<PageKey>) -> Answer {
        Answer::Known(Response::Page {
            items: self.items,
            next,
        })
    }
}

/// An item that a page reads.
struct Found<'t, K> {
    key: K,
    item: Seen<'t>,
    size: usize,
    nested: bool,
}

enum Seen<'t> {
    Whole(&'t Item),
    /// An index that projects the keys alone.
    Keys(Item),
}

impl Tables {
    pub(crate) fn scan(
        &self,
        request: PageRequest<'_>,
        consumed: &mut Consumed,
    ) -> Result<Answer, StoreError> {
        let mut page = Page::begin(request)?;
        let (number, table) = self.table(page.request.table)?;
        check_filter(page.request.filter, &table.schema, None)?;
        let from = match page.request.start {
            Some(start) => Bound::Excluded(RowKey::new(start_key(&table.schema, None, start)?.0)),
            None => Bound::Unbounded,
        };
        let mut ends = None;
        let rows = table
            .rows
            .range((from, Bound::Unbounded))
            .map(|(key, row)| {
                ends = Some(key.hash);
                let item = Seen::Whole(&row.item);
                Found {
                    key,
                    item,
                    size: row.size,
                    nested: row.nested,
                }
            });
        let last = page.fill(rows, consumed);
        // A scan walks all partitions one after the other; its page is charged to the last.
        let units = read_half_units(page.bytes, page.request.consistent);
        consumed.read(number, None, ends.unwrap_or(0), units);
        let next = last.map(|key| table.page_key(&key.key, None));
        Ok(page.end(next))
    }

    pub(crate) fn query(
        &self,
        query: &QueryRequest<'_>,
        request: PageRequest<'_>,
        consumed: &mut Consumed,
    ) -> Result<Answer, StoreError> {
        let page = Page::begin(request)?;
        let (number, table) = self.table(page.request.table)?;
        match query.index {
            None => query_table(number, table, query, page, consumed),
            Some(name) => query_index(number, table, name, query, page, consumed),
        }
    }
}

fn query_table(
    number: usize,
    table: &Table,
    query: &QueryRequest<'_>,
    mut page: Page<'_>,
    consumed: &mut Consumed,
) -> Result<Answer, StoreError> {
    let schema = &table.schema;
    check_filter(page.request.filter, schema, None)?;
    let start = match page.request.start {
        Some(start) => Some(start_key(schema, None, start)?.0),
        None => None,
    };
    let hash = check_query(
        query,
        &schema.hash,
        schema.range.as_ref(),
        start.as_ref(),
        &page,
    )?;
    let from = match start {
        Some(key) => Bound::Excluded(RowKey { hash, key }),
        None => Bound::Included(RowKey {
            hash,
            key: Key {
                hash: query.hash.clone(),
                range: None,
            },
        }),
    };
    let rows = table.rows.range((from, Bound::Unbounded));
    let rows = rows
        .take_while(|(key, _)| query.covers(&key.key))
        .map(|(key, row)| {
            let item = Seen::Whole(&row.item);
            Found {
                key,
                item,
                size: row.size,
                nested: row.nested,
            }
        });
    let last = page.fill(rows, consumed);
    consumed.read(
        number,
        None,
        hash,
        read_half_units(page.bytes, page.request.consistent),
    );
    let next = last.map(|key| table.page_key(&key.key, None));
    Ok(page.end(next))
}

fn query_index(
    number: usize,
    table: &Table,
    name: &Name,
    query: &QueryRequest<'_>,
    mut page: Page<'_>,
    consumed: &mut Consumed,
) -> Result<Answer, StoreError> {
    let schemas = &table.schema.indexes;
    let Some(at) = schemas.iter().position(|schema| schema.name == *name) else {
        return invalid(format!("the table has no index {name:?}"));
    };
    let schema = &schemas[at];
    if page.request.consistent {
        return invalid("an index cannot be read consistently");
    }
    check_filter(page.request.filter, &table.schema, Some(schema))?;
    if schema.keys_only
        && let Some(paths) = page.request.projection
        && let Some(path) = paths
            .iter()
            .find(|path| key_names(&table.schema, Some(schema)).all(|name| name != path.root()))
    {
        return invalid(format!("the index {name} does not project {}", path.root()));
    }
    let start = match page.request.start {
        Some(start) => {
            let (base, key) = start_key(&table.schema, Some(schema), start)?;
            key.map(|key| (base, key))
        }
        None => None,
    };
    let own = start.as_ref().map(|(_, key)| key);
    let hash = check_query(query, &schema.hash, schema.range.as_ref(), own, &page)?;
    let from = match start {
        Some((base, key)) => Bound::Excluded(IndexKey { hash, key, base }),
        None => {
            let key = Key {
                hash: query.hash.clone(),
                range: None,
            };
            // Null is less than every key, so this is where the first entry can be.
            let base = Key {
                hash: Value::Null,
                range: None,
            };
            Bound::Included(IndexKey { hash, key, base })
        }
    };
    let entries = table.indexes[at].range((from, Bound::Unbounded));
    let rows = entries
        .take_while(|(entry, _)| query.covers(&entry.key))
        .filter_map(|(entry, base_hash)| {
            let key = RowKey {
                hash: *base_hash,
                key: entry.base.clone(),
            };
            let row = table.rows.get(&key)?;
            let size = table.entry_size(at, row);
            let item = if schema.keys_only {
                let names = key_names(&table.schema, Some(schema));
                Seen::Keys(
                    names
                        .filter_map(|name| Some((name.clone(), row.item.get(name)?.clone())))
                        .collect(),
                )
            } else {
                Seen::Whole(&row.item)
            };
            Some(Found {
                key: entry,
                item,
                size,
                nested: row.nested && !schema.keys_only,
            })
        });
    let last = page.fill(rows, consumed);
    consumed.read(number, Some(at), hash, read_half_units(page.bytes, false));
    let next = last.map(|entry| table.page_key(&entry.base, Some((schema, &entry.key))));
    Ok(page.end(next))
}

impl QueryRequest<'_> {
    fn covers(&self, key: &Key) -> bool {
        key.hash == *self.hash
            && self
                .below
                .is_none_or(|below| key.range.as_ref().is_some_and(|own| own < below))
    }
}

/// Checks a query against the key that it goes by; answers the hash of its hash value.
fn check_query(
    query: &QueryRequest<'_>,
    hash: &KeyAttribute,
    range: Option<&KeyAttribute>,
    start: Option<&Key>,
    page: &Page<'_>,
) -> Result<u64, StoreError> {
    check::hash_value(hash, query.hash)?;
    match (range, query.below) {
        (Some(attribute), Some(value)) => check::range_value(attribute, value)?,
        (None, Some(_)) => return invalid("there is no range attribute to compare"),
        (_, None) => {}
    }
    if start.is_some_and(|start| !query.covers(start)) {
        return invalid("the starting key is outside of the query");
    }
    if let Some(filter) = page.request.filter
        && (mentions(filter, &hash.name) || range.is_some_and(|key| mentions(filter, &key.name)))
    {
        return invalid("a filter may not refer to the key that the query goes by");
    }
    Ok(hash_of(query.hash))
}

/// Whether some path of a condition is as told.
fn any_path(condition: &Condition, told: &impl Fn(&Path) -> bool) -> bool {
    match condition {
        Condition::Exists(path) | Condition::Absent(path) | Condition::Compare(path, _, _) => {
            told(path)
        }
        Condition::All(all) | Condition::Any(all) => all.iter().any(|inner| any_path(inner, told)),
        Condition::Not(inner) => any_path(inner, told),
    }
}

fn mentions(condition: &Condition, name: &Name) -> bool {
    any_path(condition, &|path| path.root() == name)
}

/// A key attribute is a scalar, so a filter that looks into one is a mistake.
fn check_filter(
    filter: Option<&Condition>,
    schema: &TableSchema,
    index: Option<&IndexSchema>,
) -> Result<(), StoreError> {
    let looks_in = |path: &Path| {
        path.segments().len() > 1 && key_names(schema, index).any(|name| name == path.root())
    };
    match filter {
        Some(filter) if any_path(filter, &looks_in) => invalid("a key attribute is a scalar"),
        _ => Ok(()),
    }
}

/// Reads a page's starting key: the table's key, and the index's if there is one. It must have
/// exactly these attributes.
fn start_key(
    schema: &TableSchema,
    index: Option<&IndexSchema>,
    start: &PageKey,
) -> Result<(Key, Option<Key>), StoreError> {
    if key_names(schema, index).count() != start.len() {
        return invalid("the starting key does not match the schema");
    }
    let base = check::key_of(schema, start)?;
    let own = match index {
        None => None,
        Some(index) => {
            // The index's key is checked as if it were a table's.
            let schema = TableSchema {
                name: index.name.clone(),
                hash: index.hash.clone(),
                range: index.range.clone(),
                indexes: Vec::new(),
            };
            Some(check::key_of(&schema, start)?)
        }
    };
    Ok((base, own))
}
