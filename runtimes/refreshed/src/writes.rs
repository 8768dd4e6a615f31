//! What an attempt has written and not committed, in systems that buffer values until the end.
//!
//! The buffer travels with the attempt. Branches have copies of it, so each write has an identity, and
//! what two copies have both counts once; what was known when something was written comes before it.
//! At the end each key has one new document: what its writes make of the document that the attempt has
//! read. Whoever else has replaced that meanwhile is not asked: the later document counts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_api::{Updated, Value};
use triptych_cached::Edit;
use triptych_mesh::{Key, Op, WriteId};
use triptych_site::tables;

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Writes {
    /// In an order that all copies agree on.
    ops: BTreeMap<(u64, WriteId), (Key, Op)>,
    /// What the attempt has read of keys that it changes.
    bases: BTreeMap<Key, Option<Value>>,
}

impl Writes {
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Adds a write. A change needs the document that it was read with.
    pub fn add(&mut self, write: WriteId, key: Key, op: Op) {
        let last = self.ops.last_key_value().map_or(0, |((at, _), _)| *at);
        self.ops.insert((last + 1, write), (key, op));
    }

    /// Adds what an edit does to a key, which the attempt has seen like this: of a replacement that is
    /// nobody's business.
    pub fn edit(&mut self, write: WriteId, key: Key, edit: Edit, seen: Option<Value>) -> Updated {
        match edit {
            Edit::Put(value) => {
                self.add(write, key, Op::Put(value));
                let applied = true;
                Updated { applied, sum: None }
            }
            Edit::Update { condition, changes } => {
                let (updated, _) = tables::updated(seen.as_ref(), condition.as_ref(), &changes);
                if updated.applied {
                    if self.see(&key).is_none() {
                        self.read(&key, seen);
                    }
                    self.add(write, key, Op::Change(changes));
                }
                updated
            }
        }
    }

    /// Those of some keys of which something else than the attempt decides what it sees.
    pub fn open(&self, keys: &[Key]) -> Vec<Key> {
        let open = keys.iter().filter(|key| self.see(key).is_none());
        open.cloned().collect()
    }

    /// What the attempt sees of some keys, given what was found of those that are open.
    pub fn over(&self, keys: &[Key], found: &BTreeMap<Key, Option<Value>>) -> Vec<Option<Value>> {
        let value = |key| match self.see(key) {
            Some(own) => own,
            None => found.get(key).cloned().flatten(),
        };
        keys.iter().map(value).collect()
    }

    /// The document that a key had before the attempt wrote to it.
    pub fn read(&mut self, key: &Key, value: Option<Value>) {
        self.bases.entry(key.clone()).or_insert(value);
    }

    /// What the attempt sees of a key, if its own writes and what it has read decide that.
    pub fn see(&self, key: &Key) -> Option<Option<Value>> {
        let mut ops = self.ops.values().filter(|(written, _)| written == key);
        let base = match self.bases.get(key) {
            Some(base) => base.clone(),
            None => {
                let first_put = ops.find(|(_, op)| matches!(op, Op::Put(_)))?;
                first_put.1.on(None)
            }
        };
        Some(ops.fold(base, |value, (_, op)| op.on(value)))
    }

    /// Takes in what a copy has.
    pub fn join(&mut self, other: Writes) {
        self.ops.extend(other.ops);
        for (key, base) in other.bases {
            self.bases.entry(key).or_insert(base);
        }
    }

    /// The new documents, in the order in which their keys were written first.
    pub fn documents(&self) -> Vec<(Key, Value)> {
        let mut documents: Vec<(Key, Value)> = Vec::new();
        for (key, _) in self.ops.values() {
            if documents.iter().any(|(known, _)| known == key) {
                continue;
            }
            if let Some(Some(value)) = self.see(key) {
                documents.push((key.clone(), value));
            }
        }
        documents
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_api::Change;

    fn write(client: u64) -> WriteId {
        WriteId { client, number: 0 }
    }

    fn added(n: i64) -> Op {
        Op::Change(vec![Change::add("n", n)])
    }

    fn document(n: i64) -> Value {
        Value::map([("n", Value::Int(n))])
    }

    #[test]
    fn what_two_branches_have_both_counts_once() {
        let (key, other) = (Key::new("t", "k"), Key::new("t", "other"));
        let mut before = Writes::default();
        before.add(write(8), other.clone(), Op::Put(document(1)));
        before.read(&key, Some(document(1000)));
        before.add(write(1), key.clone(), added(1));
        let (mut left, mut right) = (before.clone(), before.clone());
        left.add(write(2), key.clone(), added(10));
        right.add(write(3), key.clone(), added(100));
        before.join(left.clone());
        before.join(right);
        before.join(left);
        assert_eq!(before.see(&key), Some(Some(document(1111))));
        let documents = vec![(other, document(1)), (key, document(1111))];
        assert_eq!(before.documents(), documents);
    }

    #[test]
    fn a_replacement_needs_no_look_at_what_was_there_and_undoes_it() {
        let key = Key::new("t", "k");
        let mut writes = Writes::default();
        assert_eq!(writes.see(&key), None);
        writes.add(write(9), key.clone(), Op::Put(document(5)));
        writes.add(write(4), key.clone(), added(2));
        assert_eq!(writes.see(&key), Some(Some(document(7))));
        writes.add(write(1), key.clone(), Op::Put(document(3)));
        assert_eq!(writes.documents(), [(key, document(3))]);
    }
}
