//! What the last look at every key showed, and what it missed: kept up event by event.

use super::NONE;
use super::writes::Writes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use triptych_model::causes::{Act, CausalKey, Causes, Holds};

/// So many writes that one look missed are compared, the newest ones.
const MOST: usize = 2_000;

/// One key.
#[derive(Default)]
pub(super) struct View {
    /// What is there: from when on each counts ([`NONE`] if nobody knows), and the write.
    pub(super) there: BTreeSet<(u32, u32)>,
    /// Writes that were made and count, by when they do, and are not there. Of a document all.
    others: BTreeSet<(u32, u32)>,
    /// How many of those that are there were undone, or replaced by their own transactions.
    undone: BTreeMap<u32, bool>,
}

/// All keys.
pub(super) struct Views<'a> {
    keys: &'a [CausalKey],
    writes: &'a Writes,
    /// Whether a write was made by now.
    made: Vec<bool>,
    views: Vec<View>,
}

impl<'a> Views<'a> {
    pub(super) fn new(causes: &'a Causes, writes: &'a Writes) -> Self {
        Views {
            keys: &causes.keys,
            writes,
            made: vec![false; causes.names.len()],
            views: causes.keys.iter().map(|_| View::default()).collect(),
        }
    }

    pub(super) fn of(&self, key: u32) -> &View {
        &self.views[key as usize]
    }

    /// Takes note of a write or a look.
    pub(super) fn step(&mut self, event: u32, act: &Act) {
        match act {
            Act::Write { key, write, .. } if self.writes.event[*write as usize] == event => {
                let (slot, at) = (*write as usize, self.writes.at[*write as usize]);
                self.made[slot] = true;
                let view = &mut self.views[*key as usize];
                let register = self.keys[*key as usize].holds == Holds::Last;
                if at != NONE && (register || !view.there.contains(&(at, *write))) {
                    view.others.insert((at, *write));
                }
            }
            Act::Read {
                key, more, less, ..
            } => {
                let register = self.keys[*key as usize].holds == Holds::Last;
                let view = &mut self.views[*key as usize];
                for &write in less {
                    let at = self.writes.at[write as usize];
                    view.there.remove(&(self.writes.place(write), write));
                    view.undone.remove(&write);
                    if at != NONE && self.made[write as usize] {
                        view.others.insert((at, write));
                    }
                }
                for &write in more {
                    let slot = write as usize;
                    view.there.insert((self.writes.place(write), write));
                    if self.writes.undone[slot] || self.writes.replaced[slot] {
                        view.undone.insert(write, self.writes.replaced[slot]);
                    }
                    if !register {
                        view.others.remove(&(self.writes.at[slot], write));
                    }
                }
            }
            _ => {}
        }
    }

    /// The writes of a key that the last look at it did not show and perhaps should have: those that
    /// may be newer than something that it showed instead.
    pub(super) fn missed(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        let view = &self.views[key as usize];
        let oldest = view.there.first().copied();
        let from = match (self.keys[key as usize].holds, oldest) {
            (Holds::All, _) | (_, None) => Some(Bound::Unbounded),
            (Holds::Newest(keep), _) if (view.there.len() as u64) < u64::from(keep) => {
                Some(Bound::Unbounded)
            }
            // Nothing is known of what is there, so nothing of what is missing.
            (_, Some((NONE, _))) => None,
            (_, Some(place)) => Some(Bound::Excluded(place)),
        };
        let range = from.map(|from| view.others.range((from, Bound::Unbounded)));
        // The newest come first.
        let newest = range.into_iter().flatten().rev().take(MOST);
        newest.map(|(_, write)| *write)
    }

    /// What the last look showed although it may be older than a write that it missed; none if it
    /// showed nothing that could stand for the write, so that it was surely missed.
    pub(super) fn instead(&self, key: u32) -> Option<&BTreeSet<(u32, u32)>> {
        let view = &self.views[key as usize];
        match self.keys[key as usize].holds {
            Holds::All => None,
            Holds::Newest(keep) if (view.there.len() as u64) < u64::from(keep) => None,
            Holds::Newest(_) => Some(&view.there),
            Holds::Last => (!view.there.is_empty()).then_some(&view.there),
        }
    }

    /// Something that is there and should never have been seen: the write, and whether its own
    /// transaction replaced it.
    pub(super) fn undone(&self, key: u32) -> Option<(u32, bool)> {
        let view = &self.views[key as usize];
        let first = view.undone.first_key_value();
        first.map(|(write, replaced)| (*write, *replaced))
    }
}
