//! One view of a log, as its index has it.

use super::shelf::Shelf;
use crate::{Entry, Step};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One view of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) engines: Vec<crate::Member>,
    pub(super) shards: Vec<Shelf>,
    /// How many records are applied.
    pub(super) position: u32,
    /// Positions of records that were freed before they were applied, as ranges.
    pub(super) freed: Vec<(u32, u32)>,
    /// Entries that are not applied yet.
    pub(super) entries: BTreeMap<u32, Arc<Entry>>,
    /// All entries below this are known.
    pub(super) known: u32,
    /// How many entries there are in all, if the view is over.
    pub(super) end: Option<u32>,
}

impl Part {
    /// Whether an entry can be one of this view.
    pub(super) fn is_sound(&self, entry: &Entry) -> bool {
        let Step::Cut {
            first,
            starts,
            deltas,
        } = &entry.step
        else {
            return true;
        };
        let end = |of: &[u32]| of.iter().map(|&n| u64::from(n)).sum::<u64>();
        starts.len() == self.engines.len()
            && deltas.len() == self.engines.len()
            && u64::from(*first) + end(deltas) <= u64::from(u32::MAX)
            && starts
                .iter()
                .zip(deltas)
                .all(|(start, delta)| start.checked_add(*delta).is_some())
    }

    /// Whether a cut begins where the entries applied so far have ended.
    pub(super) fn follows(&self, first: u32, starts: &[u32]) -> bool {
        let mut shards = self.shards.iter().map(Shelf::applied).zip(starts);
        first == self.position && shards.all(|(applied, &start)| applied == start)
    }
}

/// Adds a range to the end of some.
pub(super) fn note(ranges: &mut Vec<(u32, u32)>, from: u32, to: u32) {
    match ranges.last_mut() {
        Some(last) if last.1 == from => last.1 = to,
        _ => ranges.push((from, to)),
    }
}
