//! What an index knows of trims and releases that it has not come to yet.
//!
//! An index that is built anew may have thousands of releases ahead of it, and asks of each
//! conditional append what they say. So they are found by stream, what they list by record, and those
//! whose trim is applied, which say nothing more, are taken out.

use crate::{BookId, EVERY, Entry, Progress, SeqNum, Step, Tag, Trim, ViewId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_nodes::NodeId;

/// A trim's name: who asked, and its number for it.
pub(super) type By = (NodeId, u64);

/// Where an entry stands.
pub(super) type Spot = (ViewId, u32);

/// No stream: what concerns the stream of all records is found under this tag.
const ANY: Tag = Tag::MAX;

/// What entries that are known but not applied yet say of trims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ahead {
    /// Where trims stand that are not applied.
    trims: BTreeMap<By, BTreeSet<Spot>>,
    /// Releases that are not applied and whose trim is not, as far as is known, by the streams that
    /// they trim, and once more under [`ANY`].
    releases: BTreeMap<(BookId, Tag), BTreeMap<Spot, Arc<Entry>>>,
    /// The same by what they list.
    listed: BTreeMap<SeqNum, BTreeMap<Spot, Arc<Entry>>>,
    /// The same by their trims.
    of: BTreeMap<By, BTreeMap<Spot, Arc<Entry>>>,
}

impl Ahead {
    /// A trim stands there.
    pub(super) fn trim(&mut self, trim: &Trim, at: Spot) {
        self.trims.entry(trim.by).or_default().insert(at);
    }

    /// An entry stands there; nothing is noted if it is no release.
    pub(super) fn release(&mut self, entry: &Arc<Entry>, at: Spot) {
        let Step::Release { trim, refused } = &entry.step else {
            return;
        };
        for stream in streams(trim) {
            let all = self.releases.entry(stream).or_default();
            all.insert(at, Arc::clone(entry));
        }
        for &seq in refused {
            let all = self.listed.entry(seq).or_default();
            all.insert(at, Arc::clone(entry));
        }
        let all = self.of.entry(trim.by).or_default();
        all.insert(at, Arc::clone(entry));
    }

    /// A trim is applied, at its first place: its releases say nothing of what comes now.
    pub(super) fn trimmed(&mut self, trim: &Trim) {
        self.trims.remove(&trim.by);
        for at in self.of.remove(&trim.by).unwrap_or_default() {
            self.forget(at);
        }
    }

    /// A release is applied.
    pub(super) fn released(&mut self, trim: &Trim, at: Spot) {
        let Some(all) = self.of.get_mut(&trim.by) else {
            return;
        };
        let entry = all.remove(&at);
        if all.is_empty() {
            self.of.remove(&trim.by);
        }
        if let Some(entry) = entry {
            self.forget((at, entry));
        }
    }

    fn forget(&mut self, (at, entry): (Spot, Arc<Entry>)) {
        let Step::Release { trim, refused } = &entry.step else {
            return;
        };
        for stream in streams(trim) {
            take_out(&mut self.releases, stream, at);
        }
        for &seq in refused {
            take_out(&mut self.listed, seq, at);
        }
    }

    /// Whether releases to come say that an append was refused; none if they say nothing of it. Those
    /// behind the frontier say nothing: an earlier one may be missing that lists it, and then no
    /// later one does.
    pub(super) fn refused(
        &self,
        book: BookId,
        tag: Tag,
        seq: SeqNum,
        frontier: Progress,
    ) -> Option<bool> {
        let upto = (frontier.view, frontier.entries);
        // A release counts if its trim is known to stand before it.
        let counts = |(at, entry): (&Spot, &Arc<Entry>)| match &entry.step {
            Step::Release { trim, .. } => {
                let first = self.trims.get(&trim.by).and_then(BTreeSet::first);
                trim.book == book && concerns(trim, tag) && first.is_some_and(|first| first < at)
            }
            Step::Cut { .. } | Step::Trim(_) => false,
        };
        let says = |all: &BTreeMap<Spot, Arc<Entry>>| all.range(..upto).any(counts);
        let streams = match tag {
            EVERY => [ANY, ANY],
            _ => [tag, EVERY],
        };
        let mut of_stream = streams
            .iter()
            .filter_map(|&tag| self.releases.get(&(book, tag)));
        of_stream
            .any(says)
            .then(|| self.listed.get(&seq).is_some_and(says))
    }
}

/// Under which streams a trim's releases are found.
fn streams(trim: &Trim) -> impl Iterator<Item = (BookId, Tag)> {
    let tags = trim.streams.iter().map(|&(tag, _)| tag);
    tags.chain([ANY]).map(|tag| (trim.book, tag))
}

fn take_out<K: Ord>(all: &mut BTreeMap<K, BTreeMap<Spot, Arc<Entry>>>, key: K, at: Spot) {
    if let Some(some) = all.get_mut(&key) {
        some.remove(&at);
        if some.is_empty() {
            all.remove(&key);
        }
    }
}

/// Whether what a stream refused may have been decided by records that a trim has freed. The stream
/// of all loses records by any trim.
fn concerns(trim: &Trim, tag: Tag) -> bool {
    let streams = trim.streams.iter().map(|&(cut, _)| cut);
    tag == EVERY || streams.into_iter().any(|cut| cut == EVERY || cut == tag)
}
