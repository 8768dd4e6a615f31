//! What is written: versions.

use crate::clock::{Clock, Slot};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use triptych_api::model::Map;
use triptych_api::{Change, Name, Value, apply};

/// A key of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The table.
    pub table: Name,
    /// The key in it.
    pub key: Name,
}

impl Key {
    /// A key.
    pub fn new(table: &str, key: &str) -> Self {
        Key {
            table: Name::from(table),
            key: Name::from(key),
        }
    }
}

/// What a write does to a key. The value of a key is what all of its writes make of nothing, in the
/// total order of their clocks: that is how changes merge. Of two replacements the later one in that
/// order wins; additions add up; lists have all elements in that order; a replacement undoes what
/// comes before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Replaces the value.
    Put(Value),
    /// Changes the document; what is no document counts as an empty one.
    Change(Vec<Change>),
}

impl Op {
    /// What it makes of a value.
    pub fn on(&self, value: Option<Value>) -> Option<Value> {
        match self {
            Op::Put(value) => Some(value.clone()),
            Op::Change(changes) => {
                let mut document = match value {
                    Some(Value::Map(document)) => Arc::unwrap_or_clone(document),
                    _ => Map::new(),
                };
                apply(&mut document, changes);
                Some(Value::from(document))
            }
        }
    }
}

/// Which request of which client a write is: whoever repeats a request that may have been lost uses
/// the same one, and it counts once. Nobody uses it for anything else. Servers forget it a while after
/// everybody has the write; from then on it is refused ([`crate::Failure::Forgotten`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteId {
    /// The client: a number that no other client ever has.
    pub client: u64,
    /// Which of its writes.
    pub number: u64,
}

/// One or several writes that become visible together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The server that accepted it: its head.
    pub origin: Slot,
    /// Its clock. What the origin counts of itself is the version's number there; all else is what it
    /// may depend on.
    pub clock: Clock,
    /// Whose request.
    pub write: WriteId,
    /// What it does; no key twice.
    pub ops: Vec<(Key, Op)>,
}

impl Version {
    /// Its number among the versions of its origin, from 1.
    pub fn number(&self) -> u64 {
        self.clock.get(self.origin)
    }

    /// Whether a clock counts it.
    pub fn is_counted_by(&self, clock: &Clock) -> bool {
        self.number() <= clock.get(self.origin)
    }
}
