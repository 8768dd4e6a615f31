//! What an index was told of the records of one shard and has not come to yet.

use crate::Item;
use std::collections::{BTreeMap, VecDeque};

/// Ranges of local ids about which everything is known: disjoint, and from `applied` on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Shelf {
    /// The index has applied all local ids below this.
    applied: u32,
    /// By first local id.
    chunks: BTreeMap<u32, Chunk>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Chunk {
    to: u32,
    /// The records that are there; the others of the range were freed.
    items: VecDeque<(u32, Item)>,
    /// If some were freed: which message with freed ones this was (see [`super::index::Index`]).
    holes: Option<u64>,
}

impl Shelf {
    /// Up to where it is applied.
    pub(super) fn applied(&self) -> u32 {
        self.applied
    }

    /// Takes over what is known of a range; `items` lie in it, ascending. What was known before
    /// stays. Says whether records of the part that is new were freed, which is then marked `holes`.
    pub(super) fn put(&mut self, from: u32, to: u32, items: Vec<(u32, Item)>, holes: u64) -> bool {
        let from = from.max(self.applied);
        let overlaps = |chunk: (&u32, &Chunk)| chunk.1.to > from;
        if from >= to {
            return false;
        }
        if !self.chunks.range(..to).next_back().is_some_and(overlaps) {
            let skip = items.partition_point(|&(id, _)| id < from);
            let items = VecDeque::from(items).split_off(skip);
            return self.insert(from, to, items, holes);
        }
        let (mut gaps, mut at) = (Vec::new(), from);
        for (&first, chunk) in self.chunks.range(..to) {
            if first > at {
                gaps.push((at, first));
            }
            at = at.max(chunk.to);
        }
        if at < to {
            gaps.push((at, to));
        }
        let mut freed = false;
        let mut items = items.into_iter().peekable();
        for (from, to) in gaps {
            let mut inside = VecDeque::new();
            while let Some((id, item)) = items.next_if(|&(id, _)| id < to) {
                if id >= from {
                    inside.push_back((id, item));
                }
            }
            freed |= self.insert(from, to, inside, holes);
        }
        freed
    }

    fn insert(&mut self, from: u32, to: u32, items: VecDeque<(u32, Item)>, holes: u64) -> bool {
        let freed = items.len() < (to - from) as usize;
        let holes = freed.then_some(holes);
        self.chunks.insert(from, Chunk { to, items, holes });
        freed
    }

    /// Whether everything below `upto` is known, counting ranges with freed records only if their
    /// mark is at most `surveyed`.
    pub(super) fn covers(&self, upto: u32, surveyed: u64) -> bool {
        let mut at = self.applied;
        for (&first, chunk) in &self.chunks {
            if at >= upto || first > at || chunk.holes.is_some_and(|mark| mark > surveyed) {
                break;
            }
            at = chunk.to;
        }
        at >= upto
    }

    /// Takes out what is known below `upto`, which is applied now.
    pub(super) fn take(&mut self, upto: u32, mut each: impl FnMut(u32, Item)) {
        while let Some(mut chunk) = self.chunks.first_entry() {
            if *chunk.key() >= upto {
                break;
            }
            let items = &mut chunk.get_mut().items;
            while items.front().is_some_and(|&(id, _)| id < upto) {
                if let Some((id, item)) = items.pop_front() {
                    each(id, item);
                }
            }
            if chunk.get().to > upto {
                break;
            }
            chunk.remove();
        }
        self.applied = self.applied.max(upto);
    }

    /// The ranges below `upto` about which nothing is known.
    pub(super) fn gaps(&self, upto: u32) -> Vec<(u32, u32)> {
        let (mut gaps, mut at) = (Vec::new(), self.applied);
        for (&first, chunk) in self.chunks.range(..upto) {
            if first > at {
                gaps.push((at, first));
            }
            at = at.max(chunk.to);
        }
        if at < upto {
            gaps.push((at, upto));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(ids: &[u32]) -> Vec<(u32, Item)> {
        let item = |&id: &u32| {
            let (book, tags, condition) = (u64::from(id), Vec::new(), None);
            (
                id,
                Item {
                    book,
                    tags,
                    condition,
                },
            )
        };
        ids.iter().map(item).collect()
    }

    #[test]
    fn ranges_come_in_any_order_and_overlap() {
        let mut shelf = Shelf::default();
        assert!(!shelf.put(2, 4, items(&[2, 3]), 1));
        assert!(!shelf.put(0, 1, items(&[0]), 1));
        assert_eq!(shelf.gaps(6), [(1, 2), (4, 6)]);
        assert!(!shelf.covers(2, 0));
        assert!(
            shelf.put(0, 6, items(&[0, 1, 2, 3, 5]), 1),
            "the fifth was freed"
        );
        assert!(shelf.covers(4, 0) && !shelf.covers(5, 0) && shelf.covers(6, 1));
        let mut taken = Vec::new();
        shelf.take(3, |id, item| taken.push((id, item.book)));
        assert_eq!((taken, shelf.applied()), (vec![(0, 0), (1, 1), (2, 2)], 3));
        assert!(
            !shelf.put(0, 6, items(&[0, 1, 2, 3, 4, 5]), 2),
            "known already"
        );
        let mut rest = Vec::new();
        shelf.take(6, |id, _| rest.push(id));
        assert_eq!((rest, shelf.gaps(6)), (vec![3, 5], vec![]));
    }
}
