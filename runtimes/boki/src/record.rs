//! What BokiFlow's records say, and which streams they are in.
//!
//! A tag is a hash, so two streams may share one. Every record therefore says in full what it is
//! about, and whoever reads a stream passes over what is not theirs.

use serde::{Deserialize, Serialize};
use triptych_api::model::mix_str;
use triptych_api::{Error, Name, Result, Updated, Value};
use triptych_log::{SeqNum, Tag};

/// Kinds of streams, in the top byte of a tag, so that libraries that share a logbook keep apart.
const INTENTS: u64 = 0x11;
const STEPS: u64 = 0x12;
const LOCKS: u64 = 0x13;
const TRANSACTIONS: u64 = 0x14;
const OUTCOMES: u64 = 0x15;
const NOTHING: u64 = 0x16;

fn tag(kind: u64, parts: &[&str]) -> Tag {
    let hash = parts.iter().fold(kind, |hash, part| mix_str(hash, part));
    kind << 56 | hash >> 8
}

/// The starts and ends of a function's instances.
pub(crate) fn intents(function: &str) -> Tag {
    tag(INTENTS, &[function])
}

/// Everything that an instance has done.
pub(crate) fn steps(instance: &str) -> Tag {
    tag(STEPS, &[instance])
}

/// The lock of a key.
pub(crate) fn locks(table: &str, key: &str) -> Tag {
    tag(LOCKS, &[table, key])
}

/// What a transaction has locked, written and decided, whoever did it.
pub(crate) fn transaction(tx: &str) -> Tag {
    tag(TRANSACTIONS, &[tx])
}

/// The outcome of one step that changes the store outside of transactions.
pub(crate) fn outcome(instance: &str, step: &str) -> Tag {
    tag(OUTCOMES, &[instance, step])
}

/// A stream that nothing is ever appended to.
pub(crate) fn nothing() -> Tag {
    tag(NOTHING, &[])
}

/// A transaction, as everybody in it knows it. Older ones come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Tx {
    /// When the instance that began it was recorded, in milliseconds since 1970: the same for all
    /// attempts.
    pub(crate) born: i64,
    /// Unique.
    pub(crate) id: Name,
}

/// Who waits for a callee's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) instance: Name,
    pub(crate) step: Name,
}

/// A call on its way to a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The instance to run; the request's own id at the entry function.
    pub(crate) instance: Name,
    pub(crate) op: Name,
    pub(crate) input: Value,
    pub(crate) caller: Option<Caller>,
    /// The transaction that it is part of.
    pub(crate) tx: Option<Tx>,
    /// Its start is on the log already. One that is not found there was collected, and is over.
    pub(crate) registered: bool,
    /// How much of the log whoever sends this has seen ([`triptych_log::Progress::to_bits`]).
    pub(crate) progress: u64,
}

/// A call that a step makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Callee {
    pub(crate) id: Name,
    pub(crate) function: Name,
    pub(crate) op: Name,
    pub(crate) input: Value,
}

/// The start of an instance: all that it takes to execute it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) function: Name,
    pub(crate) envelope: Envelope,
    /// The client's request that caused it, as traces count them.
    pub(crate) request: u64,
    /// When it was recorded, in milliseconds since 1970.
    pub(crate) since: i64,
    /// The step of another instance that sent it and does not wait.
    pub(crate) sender: Option<Caller>,
}

/// Who has a lock, and the record that gave it to them: none is the one that says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) tx: Tx,
    pub(crate) since: Option<SeqNum>,
}

/// The state of a lock from one of its records on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LockState {
    pub(crate) holder: Option<Holder>,
    /// The oldest of those who wait.
    pub(crate) waiter: Option<Tx>,
}

/// Whether a transaction gets a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Granted {
    pub(crate) tx: Tx,
    pub(crate) granted: bool,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum What {
    /// An instance is to be executed until it has finished.
    Start(Start),
    /// An instance has finished.
    Finish {
        function: Name,
        /// What it answered.
        result: Value,
        /// When, in milliseconds since 1970.
        at: i64,
        /// Whose call this answers.
        caller: Option<Caller>,
    },
    /// What a step learned: what it read, or something fresh.
    Learned(Value),
    /// A step is about to change a key. The record's number is the version that it gives the key.
    Change { table: Name, key: Name },
    /// What came of that.
    Changed(Updated),
    /// A step is about to call.
    Call(Callee),
    /// A step of a transaction has buffered a write, or refused to.
    Write {
        tx: Name,
        table: Name,
        key: Name,
        value: Option<Value>,
        updated: Updated,
    },
    /// A step of a transaction has buffered a call for which nobody waits.
    Send { tx: Name, callee: Callee },
    /// How a transaction ends.
    Decision { tx: Name, commit: bool },
    /// A lock has a new state, and perhaps it was decided whether a transaction gets it.
    Lock {
        table: Name,
        key: Name,
        state: LockState,
        granted: Option<Granted>,
    },
}

/// A record: whose, at which step of theirs, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) instance: Name,
    pub(crate) step: Name,
    pub(crate) what: What,
}

impl Entry {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|error| Error::Bug(error.to_string()))
    }

    pub(crate) fn decode(data: &[u8]) -> Result<Entry> {
        let entry = postcard::from_bytes(data);
        entry.map_err(|error| Error::Bug(format!("a record that is none of ours: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn records_survive_the_log_and_others_are_refused() {
        let tx = Tx {
            born: 3,
            id: Name::from("r1/0.0"),
        };
        let envelope = Envelope {
            instance: Name::from("r1"),
            op: Name::from("take"),
            input: Value::map([("n", Value::Float(0.5)), ("b", Value::Bytes([1, 2].into()))]),
            caller: None,
            tx: Some(tx.clone()),
            registered: false,
            progress: 1 << 40,
        };
        let whats = [
            What::Start(Start {
                function: Name::from("f"),
                envelope,
                request: u64::MAX,
                since: 5,
                sender: None,
            }),
            What::Learned(Value::Null),
            What::Lock {
                table: Name::from("t"),
                key: Name::from("k"),
                state: LockState {
                    holder: Some(Holder { tx, since: None }),
                    waiter: None,
                },
                granted: None,
            },
        ];
        for what in whats {
            let entry = Entry {
                instance: Name::from("r1"),
                step: Name::from("0"),
                what,
            };
            assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(entry));
        }
        assert!(Entry::decode(b"something else").is_err());
    }

    #[test]
    fn streams_of_different_kinds_and_names_have_different_tags() {
        let names = ["a", "b", "ab", ""];
        let mut tags = BTreeSet::new();
        for name in names {
            tags.extend([intents(name), steps(name), transaction(name)]);
            for other in names {
                tags.extend([locks(name, other), outcome(name, other)]);
            }
        }
        assert_eq!(tags.len(), names.len() * (3 + 2 * names.len()));
        assert!(!tags.contains(&triptych_log::EVERY) && !tags.contains(&Tag::MAX));
    }
}
