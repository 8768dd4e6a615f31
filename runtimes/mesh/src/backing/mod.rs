//! The store behind the caches.
//!
//! A row is what the app's other runtimes have too, an item with the key and the document, and
//! besides what a cache knows of the key and the clock of all that was applied when it was written.
//! So a dump of the tables is the app's state, and data that was there before any cache have a key
//! and a document only: they precede every write.
//!
//! [`tables`] is the bridge to a [`triptych_store::Store`]; [`database`] is a node that keeps rows in
//! its own store, for clusters of processes.

pub mod database;
pub mod tables;

use crate::clock::Clock;
use crate::entry::Entry;
use crate::message::Row;
use crate::version::Key;
use std::sync::Arc;
use triptych_api::model::Item;
use triptych_api::{Name, Value};

/// The key attribute of every table, as in the runtimes without caches.
pub const KEY: &str = "K";
/// The attribute that holds the document, as there.
pub const VALUE: &str = "V";
/// The attribute that holds what is known of the key.
pub const ENTRY: &str = "E";
/// The attribute that holds the clock.
pub const CLOCK: &str = "C";

/// A clock as an attribute has it.
pub fn clock_value(clock: &Clock) -> Value {
    Value::Bytes(Arc::from(postcard::to_stdvec(clock).unwrap_or_default()))
}

/// The clock of an item; zero if no cache has written it.
pub fn clock_of(item: &Item) -> Clock {
    match item.get(CLOCK) {
        Some(Value::Bytes(bytes)) => postcard::from_bytes(bytes).unwrap_or_default(),
        _ => Clock::default(),
    }
}

/// The item of a row.
pub fn item(row: &Row) -> Item {
    let entry = postcard::to_stdvec(&row.entry).unwrap_or_default();
    let mut item = Item::from([
        (Name::from(KEY), Value::Str(row.key.key.clone())),
        (Name::from(ENTRY), Value::Bytes(Arc::from(entry))),
        (Name::from(CLOCK), clock_value(&row.counted)),
    ]);
    if let Some(document) = row.entry.seen().value {
        item.insert(Name::from(VALUE), document);
    }
    item
}

/// The row of an item. One that no cache has written, or whose entry cannot be read, is its document.
pub fn row(key: &Key, item: &Item) -> Row {
    let entry = match item.get(ENTRY) {
        Some(Value::Bytes(bytes)) => postcard::from_bytes(bytes).ok(),
        _ => None,
    };
    let document = || item.get(VALUE).cloned().map(Entry::of);
    Row {
        key: key.clone(),
        entry: entry.or_else(document).unwrap_or_default(),
        counted: clock_of(item),
    }
}
