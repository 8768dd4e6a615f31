//! What functions saw, and what happened before what: the record that causal order is judged by.
//!
//! A newcomer can start with [`Event`]: one thing that happened at one [`Strand`], which is a
//! sequential piece of a request (a branch of one execution) or a client's session. The events stand
//! in the order in which they were heard, and one happens before another if it stands before it in
//! the same strand, if the other one (or one before that) comes [`Act::After`] it, or if the other
//! one saw what it wrote. Nothing of this is the runtime's own word: branches are known from the
//! places of the operations, calls and replies from what was asked, sessions from the clients.
//!
//! Data are rows of which a look tells who wrote what is there: lists of elements that are never
//! appended twice, merged in any order, and documents of which every replacement has a name of its
//! own. Both are sets of *writes* here, the second of at most one. A look is kept as its difference
//! from the look at the same key before it, whoever looked: [`Act::Read`].

use crate::Name;
use crate::history::TxStatus;
use serde::{Deserialize, Serialize};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holds {
    /// Every element that was appended.
    All,
    /// The newest so many elements, in an order that extends causality.
    Newest(u32),
    /// The last replacement, in an order that extends causality.
    Last,
}

/// A row that can be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CausalKey {
    /// Its name, such as `MovieReview/7`.
    pub name: Name,
    /// What it holds.
    pub holds: Holds,
    /// The writes that are in it at the end, in its order; none if nobody looked.
    pub last: Option<Vec<u32>>,
    /// The same in every further copy that was read out at the end: its name, and the writes.
    pub copies: Vec<(Name, Vec<u32>)>,
}

/// A sequential piece of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strand {
    /// What it is: an instance and its branch, or a session.
    pub name: Name,
    /// The client request that it belongs to; `u64::MAX` if none does or nobody knows.
    pub request: u64,
    /// The logical client; [`crate::history::NOBODY`] if nobody knows.
    pub session: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Nothing that is judged.
    Step,
    /// From here on the strand comes after an earlier event of another one: a fork, a join, a call, a
    /// reply, the handing over of an event, an answer.
    After {
        /// That event.
        event: u32,
    },
    /// A write has returned.
    Write {
        /// The key.
        key: u32,
        /// Which write; its name is in [`Causes::names`].
        write: u32,
        /// The transaction that it is part of: it takes effect when that commits.
        tx: Option<u32>,
    },
    /// A look has returned.
    Read {
        /// The key.
        key: u32,
        /// What was there and was not at the look before this one.
        more: Vec<u32>,
        /// What was not there and was at the look before this one.
        less: Vec<u32>,
        /// The look at several keys at once that it is part of.
        look: Option<u32>,
        /// The transaction that it is part of.
        tx: Option<u32>,
    },
    /// A transaction is committed.
    Commit {
        /// Which.
        tx: u32,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where.
    pub strand: u32,
    /// What.
    pub act: Act,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The runtime's name for it.
    pub name: Name,
    /// How it ended.
    pub status: TxStatus,
}

/// What happened before what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Causes {
    /// Every key.
    pub keys: Vec<CausalKey>,
    /// The names of the writes, by number.
    pub names: Vec<Name>,
    /// The writes that were there before the first request: older than all others.
    pub loaded: Vec<u32>,
    /// Every strand.
    pub strands: Vec<Strand>,
    /// Every transaction.
    pub batches: Vec<Batch>,
    /// Everything that happened, in the order in which it was heard.
    pub events: Vec<Event>,
    /// What is missing, if anything is: such a record proves nothing.
    pub truncated: Option<String>,
    /// Rows that were seen and cannot be judged, and why, in words.
    pub left_out: Vec<String>,
}

impl Causes {
    /// The name of a write.
    pub fn name(&self, write: u32) -> Name {
        let known = self.names.get(write as usize).cloned();
        known.unwrap_or_else(|| Name::from(format!("write {write}")))
    }

    /// The name of a key.
    pub fn key(&self, key: u32) -> Name {
        let known = self.keys.get(key as usize).map(|key| key.name.clone());
        known.unwrap_or_else(|| Name::from(format!("key {key}")))
    }
}
