//! What must see all or nothing: a transaction, or a look at several keys at once.

use super::NONE;
use std::collections::{BTreeMap, BTreeSet};

/// A write, and the look that showed or missed it.
pub(super) type Sight = (u32, u32);

/// One of them, while it goes on.
#[derive(Default)]
pub(super) struct Unit {
    /// The keys that it looked at.
    pub(super) keys: BTreeSet<u32>,
    /// The writes that it surely missed, without having to see them then.
    pub(super) missed: Vec<Sight>,
    /// Of transactions that it missed a write of: the first.
    parts: BTreeMap<u32, Sight>,
    /// Of transactions that it saw a write of: the first.
    seen: BTreeMap<u32, Sight>,
}

impl Unit {
    /// A write was surely missed.
    pub(super) fn miss(&mut self, write: u32, tx: u32, event: u32) {
        self.missed.push((write, event));
        if tx != NONE {
            self.parts.entry(tx).or_insert((write, event));
        }
    }

    /// A write of a transaction was seen.
    pub(super) fn see(&mut self, write: u32, tx: u32, event: u32) {
        self.seen.entry(tx).or_insert((write, event));
    }

    /// Whether there was anything that could have been torn.
    pub(super) fn met_something(&self) -> bool {
        !self.missed.is_empty() || !self.seen.is_empty()
    }

    /// A transaction of which a part was seen and a part was not: its number, what was seen, and what
    /// was not.
    pub(super) fn fractured(&self) -> Option<(u32, Sight, Sight)> {
        let torn = |(tx, part): (&u32, &Sight)| Some((*tx, *self.seen.get(tx)?, *part));
        self.parts.iter().find_map(torn)
    }
}
