//! What transactions read and wrote: the history that the isolation of a runtime is judged by.
//!
//! A newcomer can start with [`Transaction`]: who did it, when, how it ended, and its operations in
//! their order. Data are lists of elements that are appended once and never removed, because one
//! read of such a list tells the whole order of the writes before it (list-append, as in Elle), or
//! registers whose every write makes a version of its own. Keys and elements are numbered densely,
//! so that a checker can index by them; [`History::names`] gives them back their names.
//!
//! A history also says what it lacks: without the final state, or if operations are missing, nobody
//! may conclude anything from it.

use crate::Name;
use crate::causes::Causes;
use serde::{Deserialize, Serialize};

/// The session of work that no client asked for (loading, collectors).
pub const NOBODY: u32 = u32::MAX;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TxStatus {
    /// It had its effects.
    Committed,
    /// It surely had none.
    Aborted,
    /// Nobody knows.
    Indeterminate,
}

impl TxStatus {
    /// The status as it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            TxStatus::Committed => "committed",
            TxStatus::Aborted => "aborted",
            TxStatus::Indeterminate => "indeterminate",
        }
    }
}

/// What a read of a list returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Saw {
    /// As many of the first elements of the key's final order. Nearly all reads are of this form:
    /// it is what keeps a history of long lists small.
    Prefix(u32),
    /// These elements.
    List(Vec<u32>),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MicroOp {
    /// An element was appended to a list.
    Append {
        /// The list.
        key: u32,
        /// The element; no other append has it.
        element: u32,
    },
    /// A list was read.
    Read {
        /// The list.
        key: u32,
        /// What was there.
        saw: Saw,
    },
    /// A register got a new version.
    Write {
        /// The register.
        key: u32,
        /// The version; no other write has it.
        version: u32,
    },
    /// A register was read.
    Get {
        /// The register.
        key: u32,
        /// Its version; none if it was never written.
        version: Option<u32>,
    },
}

impl MicroOp {
    /// The key that it is about.
    pub fn key(&self) -> u32 {
        match self {
            MicroOp::Append { key, .. }
            | MicroOp::Read { key, .. }
            | MicroOp::Write { key, .. }
            | MicroOp::Get { key, .. } => *key,
        }
    }

    /// The element or version that it adds.
    pub fn adds(&self) -> Option<u32> {
        match self {
            MicroOp::Append { element, .. } => Some(*element),
            MicroOp::Write { version, .. } => Some(*version),
            MicroOp::Read { .. } | MicroOp::Get { .. } => None,
        }
    }
}

/// One transaction. An operation outside any is a transaction of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The runtime's name for it.
    pub id: Name,
    /// The client request that caused it; `u64::MAX` if none did or nobody knows.
    pub request: u64,
    /// The logical client, or [`NOBODY`].
    pub session: u32,
    /// It did nothing before this moment, nanoseconds.
    pub begin: u64,
    /// If it is committed, it was by this moment. Equal moments of two transactions are no order.
    pub end: u64,
    /// How it ended.
    pub status: TxStatus,
    /// What it did, in its own order.
    pub ops: Vec<MicroOp>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// A list that keeps all of its elements.
    #[default]
    List,
    /// A list that keeps the newest so many: reads see the end of what was appended.
    Window(u32),
    /// A register with versions.
    Register,
}

/// One list or register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name, such as `Account/7`.
    pub name: Name,
    /// What it holds.
    pub kind: KeyKind,
    /// Its elements or versions in the order in which the store has them at the end; of a window
    /// what is left of them. None if nobody looked.
    pub order: Option<Vec<u32>>,
}

/// What transactions did to some keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Every key.
    pub keys: Vec<Key>,
    /// How many elements and versions there are; they are numbered from 0.
    pub elements: u32,
    /// The names of the elements, by number; empty if numbers are their names.
    pub names: Vec<Name>,
    /// Every transaction, in the order in which they began.
    pub transactions: Vec<Transaction>,
    /// What is missing, if anything is: such a history proves nothing.
    pub truncated: Option<String>,
    /// Keys that were seen and are not in here, and why, in words.
    pub left_out: Vec<String>,
    /// Repeated executions that saw something else than the first, in words: a runtime that
    /// promises exactly-once must not let that happen.
    pub diverged: Vec<String>,
    /// What functions saw, and what happened before what. It is kept in a file of its own.
    #[serde(skip)]
    pub causes: Option<Causes>,
}

impl History {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        !self.has_lists() && self.causes.is_none()
    }

    /// Whether transactions on lists were recorded.
    pub fn has_lists(&self) -> bool {
        !self.keys.is_empty() || !self.left_out.is_empty()
    }

    /// An element's name.
    pub fn element(&self, element: u32) -> Name {
        let named = self.names.get(element as usize).cloned();
        named.unwrap_or_else(|| Name::from(element.to_string()))
    }

    /// A key's name.
    pub fn key(&self, key: u32) -> Name {
        let known = self.keys.get(key as usize).map(|key| key.name.clone());
        known.unwrap_or_else(|| Name::from(format!("key {key}")))
    }

    /// The elements that a read saw.
    pub fn list<'a>(&'a self, key: u32, saw: &'a Saw) -> &'a [u32] {
        match saw {
            Saw::List(list) => list,
            Saw::Prefix(length) => {
                let key = self.keys.get(key as usize);
                let order = key.and_then(|key| key.order.as_deref()).unwrap_or(&[]);
                &order[..(*length as usize).min(order.len())]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_json_and_postcard() {
        let history = History {
            keys: vec![
                Key {
                    name: Name::from("a"),
                    kind: KeyKind::Window(3),
                    order: Some(vec![1, 0]),
                },
                Key::default(),
            ],
            elements: 2,
            names: vec![Name::from("x"), Name::from("y")],
            transactions: vec![Transaction {
                id: Name::from("r1/0.0"),
                request: u64::MAX,
                session: NOBODY,
                begin: 1,
                end: u64::MAX,
                status: TxStatus::Indeterminate,
                ops: vec![
                    MicroOp::Append { key: 0, element: 1 },
                    MicroOp::Read {
                        key: 0,
                        saw: Saw::Prefix(1),
                    },
                    MicroOp::Read {
                        key: 0,
                        saw: Saw::List(vec![1, 0]),
                    },
                    MicroOp::Write { key: 1, version: 0 },
                    MicroOp::Get {
                        key: 1,
                        version: None,
                    },
                ],
            }],
            truncated: Some("cut".to_owned()),
            left_out: vec!["b: shrinks".to_owned()],
            diverged: Vec::new(),
            causes: None,
        };
        let json = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History>(&json).unwrap(), history);
        let bytes = postcard::to_stdvec(&history).unwrap();
        assert_eq!(postcard::from_bytes::<History>(&bytes).unwrap(), history);
        let ops = &history.transactions[0].ops;
        let read = |op: &MicroOp| match op {
            MicroOp::Read { key, saw } => history.list(*key, saw).to_vec(),
            _ => Vec::new(),
        };
        assert_eq!((read(&ops[1]), read(&ops[2])), (vec![1], vec![1, 0]));
        assert_eq!(&*history.element(1), "y");
    }
}
