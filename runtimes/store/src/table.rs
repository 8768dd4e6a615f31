//! One table and its indexes: ordered maps from keys to rows.
//!
//! Rows are ordered by a fixed hash of the hash value, then by the key itself. So a scan walks the
//! table in an order that has nothing to do with the values (as DynamoDB's does) but is the same in
//! every run, and a lookup mostly compares integers.

use crate::{IndexSchema, Key, KeyAttribute, TableSchema};
use std::collections::BTreeMap;
use triptych_model::{Item, Name, Value};
use triptych_world::{mix, mix_str};

/// A key together with the hash that orders it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    pub(crate) hash: u64,
    pub(crate) key: Key,
}

impl RowKey {
    pub(crate) fn new(key: Key) -> Self {
        RowKey {
            hash: hash_of(&key.hash),
            key,
        }
    }
}

/// Where an item stands in an index; items with equal index keys are ordered by their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexKey {
    pub(crate) hash: u64,
    pub(crate) key: Key,
    pub(crate) base: Key,
}

/// The hash that decides an item's partition and its place in a scan. Equal values have equal
/// hashes, so a whole number hashes alike however it is written.
pub(crate) fn hash_of(value: &Value) -> u64 {
    match value {
        Value::Str(text) => mix_str(0, text),
        Value::Int(number) => mix(1, *number as u64),
        Value::Float(number) if number.trunc() == *number && number.abs() < 9e18 => {
            mix(1, *number as i64 as u64)
        }
        Value::Float(number) => mix(2, number.to_bits()),
        // Nothing else is a key attribute's type.
        _ => 0,
    }
}

/// An item with what is asked of it often.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) item: Item,
    pub(crate) size: usize,
    pub(crate) nested: bool,
}

/// Whether an item has lists or maps in it.
pub(crate) fn is_nested(item: &Item) -> bool {
    item.values()
        .any(|value| matches!(value, Value::List(_) | Value::Map(_)))
}

/// An index's entries, with the hash of the row that each one stands for.
pub(crate) type Entries = BTreeMap<IndexKey, u64>;

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) schema: TableSchema,
    pub(crate) rows: BTreeMap<RowKey, Row>,
    pub(crate) indexes: Vec<Entries>,
}

/// The entry of an item in an index.
pub(crate) struct Entry {
    pub(crate) key: IndexKey,
    pub(crate) size: usize,
}

impl Table {
    pub(crate) fn new(schema: TableSchema) -> Self {
        let indexes = schema.indexes.iter().map(|_| Entries::new()).collect();
        Table {
            schema,
            rows: BTreeMap::new(),
            indexes,
        }
    }

    /// The names of the table's own key attributes.
    pub(crate) fn is_key_attribute(&self, name: &Name) -> bool {
        self.schema.hash.name == *name
            || self
                .schema
                .range
                .as_ref()
                .is_some_and(|range| range.name == *name)
    }

    /// The item that a key alone makes.
    pub(crate) fn key_item(&self, key: &Key) -> Item {
        let mut item = Item::new();
        insert_key(
            &mut item,
            &self.schema.hash,
            self.schema.range.as_ref(),
            key,
        );
        item
    }

    /// The continuation of a page that ended at this row.
    pub(crate) fn page_key(&self, key: &Key, index: Option<(&IndexSchema, &Key)>) -> Item {
        let mut item = self.key_item(key);
        if let Some((schema, key)) = index {
            insert_key(&mut item, &schema.hash, schema.range.as_ref(), key);
        }
        item
    }

    /// Where an item with these attributes stands in an index, if it does.
    pub(crate) fn entry<'v>(
        &self,
        index: usize,
        base: &Key,
        item_size: usize,
        attribute: impl Fn(&Name) -> Option<&'v Value>,
    ) -> Option<Entry> {
        let schema = &self.schema.indexes[index];
        let hash = attribute(&schema.hash.name)?;
        let range = match &schema.range {
            Some(range) => Some(attribute(&range.name)?),
            None => None,
        };
        let size = if schema.keys_only {
            let names = key_names(&self.schema, Some(schema));
            let sizes = names.map(|name| name.len() + attribute(name).map_or(0, Value::size));
            sizes.sum()
        } else {
            item_size
        };
        let key = Key {
            hash: hash.clone(),
            range: range.cloned(),
        };
        let key = IndexKey {
            hash: hash_of(hash),
            key,
            base: base.clone(),
        };
        Some(Entry { key, size })
    }

    /// The size of a row's entry in an index that it stands in.
    pub(crate) fn entry_size(&self, index: usize, row: &Row) -> usize {
        let schema = &self.schema.indexes[index];
        if !schema.keys_only {
            return row.size;
        }
        let names = key_names(&self.schema, Some(schema));
        names
            .map(|name| name.len() + row.item.get(name).map_or(0, Value::size))
            .sum()
    }
}

/// The names of all key attributes of a table and, if given, of an index; each once.
pub(crate) fn key_names<'s>(
    schema: &'s TableSchema,
    index: Option<&'s IndexSchema>,
) -> impl Iterator<Item = &'s Name> {
    let table = [Some(&schema.hash), schema.range.as_ref()];
    let own = [
        index.map(|index| &index.hash),
        index.and_then(|index| index.range.as_ref()),
    ];
    let own = own
        .into_iter()
        .flatten()
        .filter(move |attribute| table.iter().flatten().all(|key| key.name != attribute.name));
    table
        .into_iter()
        .flatten()
        .chain(own)
        .map(|attribute| &attribute.name)
}

fn insert_key(item: &mut Item, hash: &KeyAttribute, range: Option<&KeyAttribute>, key: &Key) {
    item.insert(hash.name.clone(), key.hash.clone());
    if let (Some(attribute), Some(value)) = (range, &key.range) {
        item.insert(attribute.name.clone(), value.clone());
    }
}
