//! The index of one physical log over all its views: which records each stream holds.
//!
//! A pure state machine, without time and without messages. Two kinds of input come in any order and
//! as often as they like: entries of the metalog, and what the holders tell of ordered records. An
//! entry is applied when all before it are applied and everything is known of the records that it
//! orders; so whatever came how, the index is always that of a prefix of the metalog
//! ([`Index::progress`]), and all indexes that have come equally far are equal.
//!
//! *Freed records.* An index that is built anew finds that records of old were freed. What they were
//! is not needed for reads: they were trimmed. But they may have decided conditional appends, and
//! nobody can decide those again; so whoever has records freed writes into the metalog which appends
//! the trimmed streams refused ([`Step::Release`]), and the index looks ahead: an append that comes
//! before a trim that was released is refused if, and only if, the release lists it. For that it must
//! know the release before it applies a range with freed records. Whoever tells of such a range says
//! before which place of the metalog the releases stand that have freed them; the range waits until
//! all entries up to there are known, and [`Index::missing_entry`] says which are not.

use super::Bug;
use super::ahead::{Ahead, By};
use super::part::{Part, note};
use super::shelf::Shelf;
use super::streams::{Place, Streams};
use crate::{
    BookId, Condition, Direction, EVERY, Entry, Item, LogId, Progress, Read, SeqNum, Shard, Step,
    Tag, Term, Trim, View, ViewId, assigned,
};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use triptych_nodes::NodeId;

/// The index of a physical log. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    log: LogId,
    bug: Option<Bug>,
    /// One for each view that is known, from the first on; those that are over are empty.
    parts: Vec<Part>,
    at: Progress,
    books: FxHashMap<BookId, Streams>,
    /// The newest conditional appends that were refused, each with the newest record of the
    /// condition's stream at that point, as far as it is known.
    refused: BTreeMap<SeqNum, SeqNum>,
    /// All that no release lists yet, by stream, ascending.
    unlisted: BTreeMap<(BookId, Tag), Vec<SeqNum>>,
    /// Refusals up to here may be forgotten: whoever wanted to know has asked long ago.
    forgotten: SeqNum,
    /// Trims that are applied and have no release yet; with the place before which records count as
    /// ordered before the trim.
    open: BTreeMap<By, (Trim, SeqNum)>,
    ahead: Ahead,
    /// Before this place stand all releases that have freed records of which it was told.
    releases: Progress,
}

/// So many refusals are remembered, for engines that ask late.
const REMEMBERED: usize = 1 << 16;

/// A record that an index found: its place, and the engine in whose shard it is.
pub type Hit = (SeqNum, NodeId);

impl Index {
    /// An index of a log that has seen nothing.
    pub fn new(log: LogId, bug: Option<Bug>) -> Self {
        Index {
            log,
            bug,
            parts: Vec::new(),
            at: Progress::default(),
            books: FxHashMap::default(),
            refused: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            forgotten: SeqNum::ZERO,
            open: BTreeMap::new(),
            ahead: Ahead::default(),
            releases: Progress::default(),
        }
    }

    /// How much of the metalog it has applied.
    pub fn progress(&self) -> Progress {
        self.at
    }

    /// The newest view that it was told of; 0 if none.
    pub fn newest(&self) -> ViewId {
        self.parts.len() as ViewId
    }

    /// Whether it has applied all of the views before the newest.
    pub fn is_current(&self) -> bool {
        self.at.view > 0 && self.at.view == self.newest()
    }

    /// How many places it keeps, and in how many logbooks.
    pub fn len(&self) -> (usize, usize) {
        (
            self.books.values().map(Streams::len).sum(),
            self.books.len(),
        )
    }

    /// Whether no record is in any stream.
    pub fn is_empty(&self) -> bool {
        self.len().0 == 0
    }

    // ---- Input ----

    /// The next view is known, and with it how this log ended in the one before. Others than the
    /// next are ignored.
    pub fn learn(&mut self, view: &View) {
        if usize::from(view.id) != self.parts.len() + 1 {
            return;
        }
        if let (Some(last), Some(end)) = (
            self.parts.last_mut(),
            view.finals.get(usize::from(self.log)),
        ) {
            last.end = Some(end.entries);
            last.entries.retain(|&number, _| number < end.entries);
            last.known = last.known.min(end.entries);
            self.entries(view.id - 1, &end.tail);
        }
        self.parts.push(Part {
            engines: view.engines.clone(),
            shards: vec![Shelf::default(); view.engines.len()],
            ..Part::default()
        });
        if self.at.view == 0 || self.bug == Some(Bug::SkipView) {
            self.books.clear();
            self.at = Progress {
                view: view.id,
                entries: 0,
            };
        }
    }

    /// Entries of the metalog of a view. Those that make no sense are ignored.
    pub fn entries(&mut self, view: ViewId, entries: &[Arc<Entry>]) {
        if view < self.at.view {
            return;
        }
        let part = usize::from(view)
            .checked_sub(1)
            .and_then(|at| self.parts.get_mut(at));
        let Some(part) = part else { return };
        for entry in entries {
            let number = entry.number;
            let past = view == self.at.view && number < self.at.entries;
            let beyond = part.end.is_some_and(|end| number >= end);
            if past || beyond || part.entries.contains_key(&number) || !part.is_sound(entry) {
                continue;
            }
            match &entry.step {
                Step::Cut { .. } => {}
                // One that is applied counts from its first place. What was ordered behind that is
                // decided by what is there, and no release lists it.
                Step::Trim(trim) if self.open.contains_key(&trim.by) => {}
                Step::Trim(trim) => self.ahead.trim(trim, (view, number)),
                // Nor does one of those say anything more.
                Step::Release { trim, .. } if self.open.contains_key(&trim.by) => {}
                Step::Release { .. } => self.ahead.release(entry, (view, number)),
            }
            part.entries.insert(number, Arc::clone(entry));
            while part.entries.contains_key(&part.known) {
                part.known += 1;
            }
        }
    }

    /// What a holder knows of ordered records of a shard, `from` to before `to`. Those that are not
    /// among the items were freed by releases before the place `releases`.
    pub fn items(
        &mut self,
        shard: Shard,
        from: u32,
        to: u32,
        items: Vec<(u32, Item)>,
        releases: Progress,
    ) {
        let Shard { term, engine } = shard;
        let sound = items.is_sorted_by(|a, b| a.0 < b.0)
            && items.first().is_none_or(|&(first, _)| first >= from)
            && items.last().is_none_or(|&(last, _)| last < to);
        if !sound || term.log != self.log || term.view < self.at.view {
            return;
        }
        let part = usize::from(term.view)
            .checked_sub(1)
            .and_then(|at| self.parts.get_mut(at));
        let Some(part) = part else { return };
        let place = part.engines.iter().position(|member| member.node == engine);
        if let Some(shelf) = place.and_then(|at| part.shards.get_mut(at))
            && shelf.put(from, to, items, releases)
        {
            self.releases = self.releases.max(releases);
        }
    }

    // ---- Progress ----

    /// Applies what can be applied, and tells which streams got records ([`EVERY`] not among them).
    /// Says whether it has come further.
    pub fn advance(&mut self, mut seen: impl FnMut(BookId, Tag)) -> bool {
        let before = self.at;
        while let Some(at) = usize::from(self.at.view).checked_sub(1) {
            let (parts, Progress { view, entries }) = (self.parts.len(), self.at);
            let part = &mut self.parts[at];
            if part.end == Some(entries) && at + 1 < parts {
                part.shards = Vec::new();
                part.entries = BTreeMap::new();
                let view = view + 1;
                self.at = Progress { view, entries: 0 };
                continue;
            }
            let Some(entry) = part.entries.get(&entries).map(Arc::clone) else {
                break;
            };
            match &entry.step {
                Step::Cut {
                    first,
                    starts,
                    deltas,
                } => {
                    if !part.follows(*first, starts) {
                        // Nobody who has applied the entries before could have made it.
                        part.entries.remove(&entries);
                        part.known = entries;
                        break;
                    }
                    let frontier = self.frontier();
                    let shards = &self.parts[at].shards;
                    let mut shards = shards.iter().zip(starts.iter().zip(deltas));
                    let known = shards.all(|(shelf, (start, delta))| {
                        *delta == 0 || shelf.covers(start + delta, frontier)
                    });
                    if !known && self.bug != Some(Bug::ApplyWithoutItems) {
                        break;
                    }
                    self.cut(*first, starts, deltas, frontier, &mut seen);
                }
                Step::Trim(trim) => self.trim(trim),
                Step::Release { trim, refused } => self.release(trim, refused),
            }
            self.parts[at].entries.remove(&entries);
            self.parts[at].known = self.parts[at].known.max(entries + 1);
            self.at.entries += 1;
        }
        self.at != before
    }

    /// Everything below this is known of the entries.
    fn frontier(&self) -> Progress {
        let parts = self.parts.iter().skip(usize::from(self.at.view) - 1);
        let mut parts = (self.at.view..).zip(parts);
        let unfinished = parts.find(|(_, part)| part.end != Some(part.known));
        let (view, entries) =
            unfinished.map_or((ViewId::MAX, 0), |(view, part)| (view, part.known));
        Progress { view, entries }
    }

    fn cut(
        &mut self,
        first: u32,
        starts: &[u32],
        deltas: &[u32],
        frontier: Progress,
        seen: &mut impl FnMut(BookId, Tag),
    ) {
        let (view, log) = (self.at.view, self.log);
        let term = Term { view, log };
        let mut part = std::mem::take(&mut self.parts[usize::from(view) - 1]);
        let mut places = (0..part.engines.len()).filter(|&at| deltas[at] > 0);
        for (_, start, delta, at) in assigned(&part.engines, term, first, starts, deltas) {
            let Some(place) = places.next() else { break };
            let position = |id: u32| at.position() + (id - start);
            let (mut next, freed) = (start, &mut part.freed);
            part.shards[place].take(start + delta, |id, item| {
                if id > next {
                    note(freed, position(next), position(id));
                }
                next = id + 1;
                let seq = SeqNum::new(term, position(id));
                let place = Place::new(seq, place as u16);
                self.record(place, seq, &item, frontier, seen);
            });
            if next < start + delta {
                note(freed, position(next), position(start + delta));
            }
        }
        part.position = first + deltas.iter().sum::<u32>();
        self.parts[usize::from(view) - 1] = part;
    }

    fn record(
        &mut self,
        place: Place,
        seq: SeqNum,
        item: &Item,
        frontier: Progress,
        seen: &mut impl FnMut(BookId, Tag),
    ) {
        if let Some(condition) = &item.condition {
            let refused = self.decide(item.book, *condition, seq, frontier);
            if let Some(tail) = refused
                && self.bug != Some(Bug::ConditionIgnored)
            {
                let book = item.book;
                self.remember(seq, tail);
                let unlisted = self.unlisted.entry((book, condition.tag)).or_default();
                unlisted.push(seq);
                if self.bug != Some(Bug::RefusedVisible) {
                    return;
                }
            }
        }
        let streams = self.books.entry(item.book).or_default();
        streams.push(self.log, place, &item.tags);
        seen(item.book, EVERY);
        item.tags.iter().for_each(|&tag| seen(item.book, tag));
    }

    /// Whether a conditional append is refused, and then the newest record of the stream.
    fn decide(
        &self,
        book: BookId,
        condition: Condition,
        seq: SeqNum,
        frontier: Progress,
    ) -> Option<SeqNum> {
        let Condition { tag, tail } = condition;
        let streams = self.books.get(&book);
        let bound = streams.map_or(SeqNum::ZERO, |streams| streams.bound(tag));
        let newest = streams.and_then(|streams| streams.newest(tag));
        // Whoever tries again after what it is told must not be refused for what was trimmed.
        let newest = newest.map_or(SeqNum(bound.0.saturating_sub(1)), |at| at.seq(self.log));
        let refused = match self.ahead.refused(book, tag, seq, frontier) {
            Some(listed) => listed,
            None => newest > tail || (bound > SeqNum::ZERO && tail.next() < bound),
        };
        refused.then_some(newest)
    }

    fn trim(&mut self, trim: &Trim) {
        self.ahead.trimmed(trim);
        let streams = self.books.entry(trim.book).or_default();
        // One that stands in the metalog twice counts from its first place: if the second were
        // released once more, that release would list what an index between the two no longer asks
        // releases about.
        let moves = |&(tag, bound): &(Tag, SeqNum)| bound > streams.bound(tag);
        if !trim.streams.iter().any(moves) {
            return;
        }
        if self.bug != Some(Bug::IgnoreTrim) {
            for &(tag, bound) in &trim.streams {
                let bound = match self.bug {
                    Some(Bug::TrimInclusive) => bound.next(),
                    _ => bound,
                };
                streams.trim(self.log, tag, bound);
            }
        }
        let (view, log) = (self.at.view, self.log);
        let position = self.parts[usize::from(view) - 1].position;
        let before = SeqNum::new(Term { view, log }, position);
        let open = self.open.entry(trim.by);
        open.or_insert_with(|| (trim.clone(), before));
    }

    fn release(&mut self, trim: &Trim, listed: &[SeqNum]) {
        let Progress { view, entries } = self.at;
        self.ahead.released(trim, (view, entries));
        self.open.remove(&trim.by);
        let listed: BTreeSet<SeqNum> = listed.iter().copied().collect();
        listed
            .iter()
            .for_each(|&seq| self.remember(seq, SeqNum::ZERO));
        for stream in self.concerned(trim) {
            if let Some(refused) = self.unlisted.get_mut(&stream) {
                refused.retain(|seq| !listed.contains(seq));
                if refused.is_empty() {
                    self.unlisted.remove(&stream);
                }
            }
        }
    }

    /// An append was refused; what is known of it already stays.
    fn remember(&mut self, seq: SeqNum, tail: SeqNum) {
        self.refused.entry(seq).or_insert(tail);
        if self.refused.len() > REMEMBERED
            && let Some((oldest, _)) = self.refused.pop_first()
        {
            self.forgotten = oldest.max(self.forgotten);
        }
    }

    /// The streams that have refused something which a trim's release is to list.
    fn concerned(&self, trim: &Trim) -> Vec<(BookId, Tag)> {
        let book = trim.book;
        let tags: BTreeSet<Tag> = trim.streams.iter().map(|&(tag, _)| tag).collect();
        if tags.contains(&EVERY) {
            let of_book = self.unlisted.range((book, EVERY)..=(book, Tag::MAX));
            return of_book.map(|(&stream, _)| stream).collect();
        }
        // The stream of all loses records by any trim.
        let streams = [EVERY].into_iter().chain(tags).map(|tag| (book, tag));
        streams
            .filter(|stream| self.unlisted.contains_key(stream))
            .collect()
    }

    // ---- Questions ----

    /// What a read finds, in the direction of reading, whatever progress it asks for.
    pub fn find(&self, read: &Read) -> Vec<Hit> {
        let Some(streams) = self.books.get(&read.book) else {
            return Vec::new();
        };
        let (log, limit) = (self.log, usize::from(read.limit));
        let places = match read.direction {
            Direction::Next => streams.next(log, read.tag, read.bound, limit),
            Direction::Previous => streams
                .previous(log, read.tag, read.bound)
                .into_iter()
                .collect(),
        };
        let hit = |place: Place| {
            let seq = place.seq(log);
            let part = self
                .parts
                .get(usize::from(seq.term().view).checked_sub(1)?)?;
            Some((seq, part.engines.get(place.engine())?.node))
        };
        places.into_iter().filter_map(hit).collect()
    }

    /// Whether a record's place has been passed.
    pub fn has_passed(&self, seq: SeqNum) -> bool {
        let term = seq.term();
        let position = || {
            let at = usize::from(term.view).checked_sub(1)?;
            self.parts.get(at).map(|part| part.position)
        };
        term.view > 0
            && (term.view < self.at.view
                || term.view == self.at.view
                    && position().is_some_and(|upto| seq.position() < upto))
    }

    /// How a conditional append was decided: taken, or refused, and then what was the newest record
    /// of its stream. None as long as the index has not come to it, or if it is so long gone that
    /// nobody remembers.
    pub fn verdict(&self, seq: SeqNum) -> Option<Result<(), SeqNum>> {
        if !self.has_passed(seq) {
            return None;
        }
        match self.refused.get(&seq) {
            Some(&tail) => Some(Err(tail)),
            None if seq <= self.forgotten || self.was_freed(seq) => None,
            None => Some(Ok(())),
        }
    }

    /// Whether a record was freed before the index came to it.
    fn was_freed(&self, seq: SeqNum) -> bool {
        let at = usize::from(seq.term().view).wrapping_sub(1);
        let freed = self.parts.get(at).map_or(&[][..], |part| &part.freed);
        let before = freed.partition_point(|&(from, _)| from <= seq.position());
        before > 0 && seq.position() < freed[before - 1].1
    }

    /// Whether there are trims without a release.
    pub fn has_unreleased(&self) -> bool {
        !self.open.is_empty()
    }

    /// Trims that have no release yet, each as the release that should come: with the appends,
    /// ordered before the trim, that its streams refused.
    pub fn unreleased(&self) -> impl Iterator<Item = (Trim, Vec<SeqNum>)> {
        self.open.values().map(|(trim, before)| {
            let streams = self.concerned(trim).into_iter();
            let refused = streams.filter_map(|stream| self.unlisted.get(&stream));
            let refused = refused.flat_map(|of| &of[..of.partition_point(|seq| seq < before)]);
            let mut refused: Vec<SeqNum> = refused.copied().collect();
            refused.sort_unstable();
            (trim.clone(), refused)
        })
    }

    /// Whether it has applied everything that it was told of entries.
    pub fn is_idle(&self) -> bool {
        let last = self.parts.last();
        self.is_current() && last.is_none_or(|part| part.entries.is_empty())
    }

    /// The first entry that is surely missing: there are later ones, or the view is over, or
    /// releases up to there have freed something.
    pub fn missing_entry(&self) -> Option<(ViewId, u32)> {
        let from = usize::from(self.at.view).checked_sub(1)?;
        let mut parts = (self.at.view..).zip(&self.parts[from..]);
        parts.find_map(|(view, part)| {
            let later = part
                .entries
                .last_key_value()
                .map(|(&last, _)| last.saturating_add(1));
            let freed = (self.releases.view == view).then_some(self.releases.entries);
            let upto = part.end.or(later.max(freed))?;
            (part.known < upto).then_some((view, part.known))
        })
    }

    /// The first entry of the newest view that is not known. It need not exist.
    pub fn next_entry(&self) -> (ViewId, u32) {
        (
            self.newest(),
            self.parts.last().map_or(0, |part| part.known),
        )
    }

    /// Ranges of local ids about which something must be known before the next entries can be
    /// applied, for as many entries as order about `limit` records.
    pub fn missing_items(&self, limit: u32) -> Vec<(Shard, u32, u32)> {
        let Some(at) = usize::from(self.at.view).checked_sub(1) else {
            return Vec::new();
        };
        let (part, (view, log)) = (&self.parts[at], (self.at.view, self.log));
        let mut upto: Vec<u32> = part.shards.iter().map(Shelf::applied).collect();
        let mut records = 0_u32;
        for entry in (self.at.entries..part.known).filter_map(|number| part.entries.get(&number)) {
            if let Step::Cut { starts, deltas, .. } = &entry.step {
                for (upto, (start, delta)) in upto.iter_mut().zip(starts.iter().zip(deltas)) {
                    *upto = start + delta;
                    records = records.saturating_add(*delta);
                }
            }
            if records >= limit {
                break;
            }
        }
        let term = Term { view, log };
        let shards = part.engines.iter().zip(part.shards.iter().zip(upto));
        shards
            .flat_map(|(member, (shelf, upto))| {
                let engine = member.node;
                let gaps = shelf.gaps(upto).into_iter();
                gaps.map(move |(from, to)| (Shard { term, engine }, from, to))
            })
            .collect()
    }
}

/// In the order of logbooks, so that equal indexes have equal hashes.
impl Hash for Index {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.log, self.at, &self.parts, &self.refused).hash(state);
        (&self.unlisted, self.forgotten, &self.open, &self.ahead).hash(state);
        self.releases.hash(state);
        let mut books: Vec<_> = self.books.iter().collect();
        books.sort_by_key(|(book, _)| **book);
        books.hash(state);
    }
}
