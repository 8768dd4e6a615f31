//! What a runtime left behind, read out for the oracle.

use crate::{Name, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The logical content of all application tables, and what is not finished.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Table name to key to current value, as a function would read it.
    pub tables: BTreeMap<Name, BTreeMap<Name, Value>>,
    /// Instances that have begun and are not done, in words.
    pub pending: Vec<String>,
    /// Things that should be gone: locks, intents without an end, transaction records, in words.
    pub residue: Vec<String>,
    /// Disagreements inside the runtime's own records (a log key twice, for example), in words.
    pub corrupt: Vec<String>,
    /// The same tables in every further copy that the runtime keeps (the replicas of a cache, say), by
    /// its name, as far as each has them: a row that it does not have is not judged, and null is a row
    /// that it knows not to be there. For the recorder alone; no file has them.
    #[serde(skip)]
    pub copies: BTreeMap<Name, BTreeMap<Name, BTreeMap<Name, Value>>>,
}

impl State {
    /// The rows of one table; an unknown table is empty.
    pub fn table<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = (&'a Name, &'a Value)> + use<'a> {
        self.tables.get(name).into_iter().flatten()
    }

    /// The rows of one table that are not deleted (a null stands for a deleted row).
    pub fn rows<'a>(&'a self, table: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let live = self.table(table).filter(|(_, row)| **row != Value::Null);
        live.map(|(key, row)| (&**key, row))
    }

    /// One value.
    pub fn get(&self, table: &str, key: &str) -> Option<&Value> {
        self.tables.get(table)?.get(key)
    }
}
