//! What a storage knows of one metalog: its entries, and what is ordered by them.
//!
//! Cuts are kept as columns of numbers, from which a sequence number's record is found by binary
//! search: nothing is remembered for each record.

use crate::{Entry, Member, SeqNum, Step, Term};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId};

/// Entries that wait for earlier ones, at most.
const WAITING: u32 = 1 << 16;

/// One metalog.
#[derive(Debug)]
pub(super) struct TermLog {
    pub(super) term: Term,
    /// The engines of its view, in the order of cuts; none while the view is not known.
    pub(super) engines: Option<Vec<Member>>,
    /// Which of this node's shards belongs to which engine.
    pub(super) shards: Vec<Option<usize>>,
    /// How many entries are applied: all below.
    pub(super) applied: u32,
    /// Entries that wait for earlier ones, and whether they were found on disk.
    waiting: BTreeMap<u32, (Arc<Entry>, bool)>,
    /// How many positions are given.
    pub(super) positions: u32,
    /// How many records of each engine are ordered.
    pub(super) ordered: Vec<u32>,
    /// Cuts: the number of the entry, the first position, the local ids before it by engine.
    numbers: Vec<u32>,
    firsts: Vec<u32>,
    starts: Vec<u32>,
    /// Other entries by number.
    others: BTreeMap<u32, Arc<Entry>>,
    /// How many entries there are in all, if the term has ended.
    pub(super) last: Option<u32>,
    /// Whether it has ended, and all of it is applied and tidied up.
    pub(super) done: bool,
    /// Before this cut nothing is left that could be freed.
    pub(super) swept: usize,

    /// Since when entries are missing, and how many messages have shown it.
    pub(super) gap: Option<(Nanos, u32)>,
    /// When entries were last asked for.
    pub(super) asked: Option<Nanos>,
    /// How often: whose turn it is.
    pub(super) turn: usize,

    /// When was last reported what is here.
    pub(super) reported: Option<Nanos>,
    /// Whether there is more to report.
    pub(super) unreported: bool,
}

/// An entry that cannot be what the metalog says there.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong;

impl TermLog {
    pub(super) fn new(term: Term) -> Self {
        TermLog {
            term,
            engines: None,
            shards: Vec::new(),
            applied: 0,
            waiting: BTreeMap::new(),
            positions: 0,
            ordered: Vec::new(),
            numbers: Vec::new(),
            firsts: Vec::new(),
            starts: Vec::new(),
            others: BTreeMap::new(),
            last: None,
            done: false,
            swept: 0,
            gap: None,
            asked: None,
            turn: 0,
            reported: None,
            unreported: false,
        }
    }

    /// Its view is known.
    pub(super) fn learn(&mut self, engines: &[Member]) {
        self.ordered = vec![0; engines.len()];
        self.shards = vec![None; engines.len()];
        self.engines = Some(engines.to_vec());
    }

    /// An entry has come, or was found on disk.
    pub(super) fn offer(&mut self, entry: Arc<Entry>, found: bool) {
        let number = entry.number;
        let end = self.last.unwrap_or(u32::MAX);
        let near = found || number < self.applied.saturating_add(WAITING);
        if number >= self.applied && number < end && near {
            self.waiting.entry(number).or_insert((entry, found));
        }
    }

    /// The next entry to apply, if it is here.
    pub(super) fn next(&mut self) -> Option<(Arc<Entry>, bool)> {
        self.engines.as_ref()?;
        if self.last.is_some_and(|last| self.applied >= last) {
            return None;
        }
        self.waiting.remove(&self.applied)
    }

    /// Whether entries are here that wait for others, or the end is known and not reached.
    pub(super) fn lacks(&self) -> bool {
        !self.waiting.is_empty() || self.last.is_some_and(|last| self.applied < last)
    }

    /// Applies the next entry, if it is one.
    pub(super) fn apply(&mut self, entry: &Arc<Entry>) -> Result<(), Wrong> {
        if let Step::Cut {
            first,
            starts,
            deltas,
        } = &entry.step
        {
            let fits =
                *first == self.positions && *starts == self.ordered && deltas.len() == starts.len();
            let total = deltas
                .iter()
                .try_fold(0u32, |sum, &delta| sum.checked_add(delta));
            let positions = total.and_then(|total| first.checked_add(total));
            let ends: Option<Vec<u32>> = starts
                .iter()
                .zip(deltas)
                .map(|(start, &delta)| start.checked_add(delta))
                .collect();
            let (true, Some(positions), Some(ends)) = (fits, positions, ends) else {
                return Err(Wrong);
            };
            self.numbers.push(entry.number);
            self.firsts.push(*first);
            self.starts.extend_from_slice(starts);
            (self.positions, self.ordered) = (positions, ends);
        } else {
            self.others.insert(entry.number, Arc::clone(entry));
        }
        self.applied += 1;
        Ok(())
    }

    /// How many cuts are applied.
    pub(super) fn cuts(&self) -> usize {
        self.firsts.len()
    }

    /// What a cut orders, by engine: the first local id, and the one after the last.
    fn ranges(&self, cut: usize) -> impl DoubleEndedIterator<Item = (usize, u32, u32)> + '_ {
        let wide = self.ordered.len();
        let starts = &self.starts[cut * wide..(cut + 1) * wide];
        let ends = self.starts.get((cut + 1) * wide..(cut + 2) * wide);
        let ends = ends.unwrap_or(&self.ordered);
        (0..wide).map(move |engine| (engine, starts[engine], ends[engine]))
    }

    /// What a cut orders: engine, first local id, the one after the last, place of the first.
    pub(super) fn ordered_by(
        &self,
        cut: usize,
    ) -> impl Iterator<Item = (usize, u32, u32, SeqNum)> + '_ {
        let mut position = self.firsts[cut];
        self.ranges(cut).map(move |(engine, start, end)| {
            let at = SeqNum::new(self.term, position);
            position += end - start;
            (engine, start, end, at)
        })
    }

    /// Which engine's record has a position, and its local id; none if it is not ordered (yet).
    /// With `backwards` wrongly numbers the engines of a cut from the last to the first.
    pub(super) fn locate(&self, position: u32, backwards: bool) -> Option<(usize, u32)> {
        if position >= self.positions {
            return None;
        }
        let cut = self.firsts.partition_point(|&first| first <= position) - 1;
        let mut offset = position - self.firsts[cut];
        let mut find = |(engine, start, end): (usize, u32, u32)| {
            if offset < end - start {
                return Some((engine, start + offset));
            }
            offset -= end - start;
            None
        };
        if backwards {
            self.ranges(cut).rev().find_map(&mut find)
        } else {
            self.ranges(cut).find_map(&mut find)
        }
    }

    /// Applied entries from a number on, so many at most.
    pub(super) fn entries(&self, from: u32, most: usize) -> Vec<Arc<Entry>> {
        let mut cut = self.numbers.partition_point(|&number| number < from);
        let mut all = Vec::new();
        for number in (from..self.applied).take(most) {
            if self.numbers.get(cut) == Some(&number) {
                let ranges = self.ranges(cut);
                let (starts, deltas) = ranges.map(|(_, from, to)| (from, to - from)).unzip();
                let first = self.firsts[cut];
                let step = Step::Cut {
                    first,
                    starts,
                    deltas,
                };
                all.push(Arc::new(Entry { number, step }));
                cut += 1;
            } else if let Some(entry) = self.others.get(&number) {
                all.push(Arc::clone(entry));
            } else {
                break;
            }
        }
        all
    }

    /// The place of an engine.
    pub(super) fn engine(&self, node: NodeId) -> Option<usize> {
        let engines = self.engines.as_ref()?;
        engines.iter().position(|member| member.node == node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trim;

    const TERM: Term = Term { view: 2, log: 1 };

    fn cut(number: u32, first: u32, starts: &[u32], deltas: &[u32]) -> Arc<Entry> {
        let (starts, deltas) = (starts.to_vec(), deltas.to_vec());
        let step = Step::Cut {
            first,
            starts,
            deltas,
        };
        Arc::new(Entry { number, step })
    }

    fn log(entries: &[Arc<Entry>]) -> TermLog {
        let member = |node| Member {
            node: NodeId(node),
            life: 1,
        };
        let mut log = TermLog::new(TERM);
        log.learn(&[member(3), member(5), member(9)]);
        entries
            .iter()
            .for_each(|entry| log.offer(Arc::clone(entry), false));
        while let Some((entry, _)) = log.next() {
            log.apply(&entry).unwrap();
        }
        log
    }

    fn entries() -> Vec<Arc<Entry>> {
        let (book, streams, by) = (1, vec![(0, SeqNum::MAX)], (NodeId(3), 1));
        let trim = Step::Trim(Trim { book, streams, by });
        vec![
            cut(0, 0, &[0, 0, 0], &[40, 12, 0]),
            cut(1, 52, &[40, 12, 0], &[2, 0, 3]),
            Arc::new(Entry {
                number: 2,
                step: trim,
            }),
            cut(3, 57, &[42, 12, 3], &[0, 1, 1]),
        ]
    }

    #[test]
    fn a_position_finds_its_record() {
        let log = log(&entries());
        let found = |position| log.locate(position, false);
        assert_eq!(
            (found(0), found(39), found(40)),
            (Some((0, 0)), Some((0, 39)), Some((1, 0)))
        );
        // The worked example of the specification, §4.5.
        let places: Vec<_> = (52..57).map(|p| found(p).unwrap()).collect();
        assert_eq!(places, [(0, 40), (0, 41), (2, 0), (2, 1), (2, 2)]);
        assert_eq!(
            (found(57), found(58), found(59)),
            (Some((1, 12)), Some((2, 3)), None)
        );
    }

    #[test]
    fn entries_are_given_as_they_came() {
        let (log, entries) = (log(&entries()), entries());
        assert_eq!(log.entries(0, 10), entries);
        assert_eq!(log.entries(1, 2), entries[1..3]);
        assert_eq!((log.entries(4, 9), log.entries(9, 9)), (vec![], vec![]));
    }

    #[test]
    fn entries_wait_for_earlier_ones_and_wrong_ones_are_refused() {
        let all = entries();
        let mut log = log(&[Arc::clone(&all[1]), Arc::clone(&all[3])]);
        assert_eq!((log.applied, log.lacks()), (0, true));
        log.offer(Arc::clone(&all[0]), false);
        let (first, _) = log.next().unwrap();
        log.apply(&first).unwrap();
        for wrong in [
            cut(1, 51, &[40, 12, 0], &[2, 0, 3]),
            cut(1, 52, &[40, 12, 1], &[2, 0, 3]),
            cut(1, 52, &[40, 12, 0], &[2, 0]),
            cut(1, 52, &[40, 12, 0], &[u32::MAX, 0, 3]),
        ] {
            assert_eq!(log.apply(&wrong), Err(Wrong));
        }
        assert_eq!((log.applied, log.positions), (1, 52));
        log.last = Some(2);
        let (second, _) = log.next().unwrap();
        log.apply(&second).unwrap();
        assert!(log.next().is_none(), "it has ended");
    }
}
