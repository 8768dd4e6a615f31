//! What an index knows of trims and releases that it has not come to yet.

use crate::{BookId, EVERY, Entry, SeqNum, Step, Tag, Trim, ViewId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_nodes::NodeId;

/// A trim's name: who asked, and its number for it.
pub(super) type By = (NodeId, u64);

/// What entries that are known but not applied yet say of trims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ahead {
    /// Where trims stand that are not applied.
    pub(super) trims: BTreeMap<By, BTreeSet<(ViewId, u32)>>,
    /// Releases that are not applied, by logbook and place.
    pub(super) releases: BTreeMap<BookId, BTreeMap<(ViewId, u32), Arc<Entry>>>,
}

impl Ahead {
    /// Whether releases to come say that an append was refused; none if they say nothing of it. Those
    /// behind the frontier say nothing: an earlier one may be missing that lists it, and then no
    /// later one does.
    pub(super) fn refused(
        &self,
        book: BookId,
        tag: Tag,
        seq: SeqNum,
        frontier: (ViewId, u32),
    ) -> Option<bool> {
        let releases = self.releases.get(&book)?;
        let of_stream = releases.range(..frontier).filter_map(|(place, entry)| {
            let Step::Release { trim, refused } = &entry.step else {
                return None;
            };
            let first = self.trims.get(&trim.by)?.first()?;
            (concerns(trim, tag) && first < place).then(|| refused.contains(&seq))
        });
        of_stream.reduce(|a, b| a || b)
    }
}

/// Whether what a stream refused may have been decided by records that a trim has freed. The stream
/// of all loses records by any trim.
pub(super) fn concerns(trim: &Trim, tag: Tag) -> bool {
    let streams = trim.streams.iter().map(|&(cut, _)| cut);
    tag == EVERY || streams.into_iter().any(|cut| cut == EVERY || cut == tag)
}
