//! The streams of one logbook: which places each tag holds, and from where on.
//!
//! A place takes eight bytes however many engines there are: within the index of one physical log
//! the bits that a [`SeqNum`] spends on the log can say whose shard the record is of, and that is
//! all that is needed to find its holders. Places before a bound are forgotten; the bound itself is
//! kept, because it still decides conditional appends.

use crate::{EVERY, LogId, SeqNum, Tag};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

/// Where a record is, and in whose shard: view (16 bits), position (32 bits), the engine's place in
/// its view (16 bits). Ordered like sequence numbers of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(u64);

impl Place {
    pub(super) fn new(seq: SeqNum, engine: u16) -> Self {
        let view = u64::from(seq.term().view);
        Place(view << 48 | u64::from(seq.position()) << 16 | u64::from(engine))
    }

    pub(super) fn seq(self, log: LogId) -> SeqNum {
        let (view, position) = (self.0 >> 48, self.0 >> 16 & 0xffff_ffff);
        SeqNum(view << 48 | u64::from(log) << 32 | position)
    }

    pub(super) fn engine(self) -> usize {
        usize::from(self.0 as u16)
    }
}

/// A record that no trim of tags removes from the stream of all: it has none, or too many to count.
const ALWAYS: u16 = u16::MAX;

/// The stream of all records: beside each place, how many tags still hold the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Every {
    places: VecDeque<Place>,
    held: VecDeque<u16>,
    /// Places that no tag holds any more and that have not been taken out yet.
    dead: usize,
}

impl Every {
    fn push(&mut self, place: Place, held: u16) {
        self.places.push_back(place);
        self.held.push_back(held);
    }

    /// One tag less holds the record.
    fn let_go(&mut self, place: Place) {
        let Ok(at) = self.places.binary_search(&place) else {
            return;
        };
        match self.held[at] {
            0 | ALWAYS => {}
            count => {
                self.held[at] = count - 1;
                self.dead += usize::from(count == 1);
            }
        }
    }

    /// Takes dead places out: at once at both ends, elsewhere when they are half of all.
    fn tidy(&mut self) {
        while self.held.front() == Some(&0) {
            self.pop();
        }
        while self.held.back() == Some(&0) {
            self.held.pop_back();
            self.places.pop_back();
            self.dead -= 1;
        }
        if self.dead > 0 && self.dead * 2 >= self.places.len() {
            let held = &self.held;
            let mut at = 0;
            self.places.retain(|_| {
                at += 1;
                held[at - 1] > 0
            });
            self.held.retain(|&count| count > 0);
            self.dead = 0;
        }
    }

    fn pop(&mut self) {
        self.places.pop_front();
        self.dead -= usize::from(self.held.pop_front() == Some(0));
    }

    fn cut(&mut self, log: LogId, bound: SeqNum) {
        while self
            .places
            .front()
            .is_some_and(|place| place.seq(log) < bound)
        {
            self.pop();
        }
        self.tidy();
    }
}

/// A logbook as an index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Streams {
    /// The bound of the whole logbook.
    bound: SeqNum,
    every: Every,
    /// Bounds of single streams, as far as they are above the logbook's.
    bounds: FxHashMap<Tag, SeqNum>,
    /// Streams that are not empty.
    tagged: FxHashMap<Tag, VecDeque<Place>>,
    /// How many places these hold.
    count: usize,
}

impl Streams {
    /// From where on a stream is readable.
    pub(super) fn bound(&self, tag: Tag) -> SeqNum {
        let own = self.bounds.get(&tag).copied().unwrap_or_default();
        own.max(self.bound)
    }

    /// Appends a record to its streams, except to those that are cut off beyond it.
    pub(super) fn push(&mut self, log: LogId, place: Place, tags: &[Tag]) {
        let seq = place.seq(log);
        if seq < self.bound {
            return;
        }
        let mut held = 0_usize;
        for &tag in tags {
            if self.bounds.is_empty() || self.bound(tag) <= seq {
                self.tagged.entry(tag).or_default().push_back(place);
                held += 1;
            }
        }
        self.count += held;
        if tags.is_empty() {
            self.every.push(place, ALWAYS);
        } else if held > 0 {
            self.every
                .push(place, u16::try_from(held).unwrap_or(ALWAYS));
        }
    }

    /// The newest record of a stream.
    pub(super) fn newest(&self, tag: Tag) -> Option<Place> {
        if tag == EVERY {
            let mut all = self.every.places.iter().zip(&self.every.held).rev();
            return all.find(|&(_, &held)| held > 0).map(|(&place, _)| place);
        }
        self.tagged.get(&tag)?.back().copied()
    }

    /// Cuts a stream, or the logbook, off: what lies before the bound is in it no more.
    pub(super) fn trim(&mut self, log: LogId, tag: Tag, bound: SeqNum) {
        if bound <= self.bound(tag) {
            return;
        }
        if tag == EVERY {
            self.bound = bound;
            self.every.cut(log, bound);
            self.bounds.retain(|_, own| *own > bound);
            let count = &mut self.count;
            self.tagged.retain(|_, places| {
                while places.front().is_some_and(|place| place.seq(log) < bound) {
                    places.pop_front();
                    *count -= 1;
                }
                !places.is_empty()
            });
            return;
        }
        self.bounds.insert(tag, bound);
        let Some(places) = self.tagged.get_mut(&tag) else {
            return;
        };
        while let Some(&place) = places.front()
            && place.seq(log) < bound
        {
            places.pop_front();
            self.count -= 1;
            self.every.let_go(place);
        }
        if places.is_empty() {
            self.tagged.remove(&tag);
        }
        self.every.tidy();
    }

    /// The first places of a stream at or after one.
    pub(super) fn next(&self, log: LogId, tag: Tag, from: SeqNum, limit: usize) -> Vec<Place> {
        let after = |places: &VecDeque<Place>| places.partition_point(|at| at.seq(log) < from);
        if tag == EVERY {
            let places = &self.every.places;
            let all = (after(places)..places.len()).filter(|&at| self.every.held[at] > 0);
            return all.take(limit).map(|at| places[at]).collect();
        }
        let Some(places) = self.tagged.get(&tag) else {
            return Vec::new();
        };
        let first = after(places);
        let last = places.len().min(first.saturating_add(limit));
        places.range(first..last).copied().collect()
    }

    /// The last place of a stream at or before one.
    pub(super) fn previous(&self, log: LogId, tag: Tag, upto: SeqNum) -> Option<Place> {
        let before = |places: &VecDeque<Place>| places.partition_point(|at| at.seq(log) <= upto);
        if tag == EVERY {
            let places = &self.every.places;
            let mut all = (0..before(places)).rev();
            let at = all.find(|&at| self.every.held[at] > 0)?;
            return Some(places[at]);
        }
        let places = self.tagged.get(&tag)?;
        Some(places[before(places).checked_sub(1)?])
    }

    /// How many places it keeps in all streams, that of all included.
    pub(super) fn len(&self) -> usize {
        self.every.places.len() + self.count
    }
}

/// In the order of tags, so that equal logbooks have equal hashes.
impl Hash for Streams {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bound.hash(state);
        self.every.hash(state);
        let mut bounds: Vec<_> = self.bounds.iter().collect();
        bounds.sort();
        bounds.hash(state);
        let mut tagged: Vec<_> = self.tagged.iter().collect();
        tagged.sort();
        tagged.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Term;

    const LOG: LogId = 3;

    fn seq(position: u32) -> SeqNum {
        SeqNum::new(Term { view: 2, log: LOG }, position)
    }

    fn place(position: u32) -> Place {
        Place::new(seq(position), 5)
    }

    #[test]
    fn a_place_keeps_the_sequence_number_and_the_engine() {
        let at = Place::new(seq(u32::MAX), u16::MAX);
        assert_eq!((at.seq(LOG), at.engine()), (seq(u32::MAX), 65_535));
        assert!(place(7) < Place::new(seq(8), 0));
    }

    #[test]
    fn a_record_leaves_the_stream_of_all_with_its_last_tag() {
        let mut book = Streams::default();
        book.push(LOG, place(0), &[1, 2]);
        book.push(LOG, place(1), &[]);
        book.push(LOG, place(2), &[1]);
        book.trim(LOG, 1, seq(3));
        assert_eq!(
            book.next(LOG, EVERY, SeqNum::ZERO, 9),
            [place(0), place(1)],
            "tag 2 holds the first, and the second has no tags"
        );
        assert_eq!(book.newest(EVERY), Some(place(1)));
        book.trim(LOG, 2, seq(1));
        assert_eq!(book.next(LOG, EVERY, SeqNum::ZERO, 9), [place(1)]);
        assert_eq!(book.len(), 1);
        book.trim(LOG, EVERY, seq(2));
        assert_eq!(
            (book.len(), book.previous(LOG, EVERY, SeqNum::MAX)),
            (0, None)
        );
        assert_eq!(book.bound(2), seq(2));
        assert_eq!(book.bound(1), seq(3));
    }

    #[test]
    fn a_bound_that_lies_ahead_keeps_later_records_out() {
        let mut book = Streams::default();
        book.trim(LOG, 1, seq(2));
        book.push(LOG, place(0), &[1]);
        book.push(LOG, place(1), &[1, 2]);
        book.push(LOG, place(2), &[1]);
        assert_eq!(book.next(LOG, 1, SeqNum::ZERO, 9), [place(2)]);
        assert_eq!(book.next(LOG, EVERY, SeqNum::ZERO, 9), [place(1), place(2)]);
    }

    #[test]
    fn dead_places_in_the_middle_are_taken_out_in_the_end() {
        let mut book = Streams::default();
        book.push(LOG, place(0), &[]);
        for position in 1..9 {
            book.push(LOG, place(position), &[7]);
        }
        book.push(LOG, place(9), &[8]);
        book.trim(LOG, 7, seq(4));
        assert_eq!(book.every.dead, 3);
        book.trim(LOG, 7, seq(9));
        assert_eq!((book.every.dead, book.len()), (0, 3));
        assert_eq!(book.next(LOG, EVERY, SeqNum::ZERO, 9), [place(0), place(9)]);
        assert_eq!(book.previous(LOG, EVERY, seq(8)), Some(place(0)));
    }
}
