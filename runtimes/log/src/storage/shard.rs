//! What a storage has of one shard.

use crate::{BookId, Condition, Item, Record, Shard, Tag};
use std::collections::BTreeSet;
use std::sync::Arc;
use triptych_nodes::Nanos;

/// How many local ids share a chunk: what was freed is written down by chunk, and a chunk of which
/// all is freed takes no more memory.
pub(super) const CHUNK: u32 = 1024;

/// The streams of a record, without an allocation for the usual one.
#[derive(Debug, PartialEq)]
pub(super) enum Tags {
    None,
    One(Tag),
    Many(Box<[Tag]>),
}

impl Tags {
    pub(super) fn as_slice(&self) -> &[Tag] {
        match self {
            Tags::None => &[],
            Tags::One(tag) => std::slice::from_ref(tag),
            Tags::Many(tags) => tags,
        }
    }
}

/// What is in memory of a record that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) book: BookId,
    pub(super) tags: Tags,
    pub(super) condition: Option<Box<Condition>>,
    /// [`Record::size`].
    pub(super) bytes: u32,
    /// Whether it was read since the cache last looked.
    pub(super) used: bool,
    /// The record, as long as the cache has room for it.
    pub(super) cached: Option<Arc<Record>>,
}

impl Kept {
    /// What is to be remembered of a record that is on disk.
    pub(super) fn of(record: &Record) -> Self {
        let tags = match record.tags[..] {
            [] => Tags::None,
            [tag] => Tags::One(tag),
            _ => Tags::Many(record.tags.as_slice().into()),
        };
        Kept {
            book: record.book,
            tags,
            condition: record.condition.map(Box::new),
            bytes: u32::try_from(record.size()).unwrap_or(u32::MAX),
            used: false,
            cached: None,
        }
    }

    /// What an index wants to know.
    pub(super) fn item(&self) -> Item {
        Item {
            book: self.book,
            tags: self.tags.as_slice().to_vec(),
            condition: self.condition.as_deref().copied(),
        }
    }
}

/// What there is under a local id.
#[derive(Debug)]
pub(super) enum Slot {
    /// Nothing (yet).
    Missing,
    /// It was there, and the disk has spoilt it.
    Damaged,
    /// A trim freed it; there is nothing more to be had.
    Freed,
    Kept(Kept),
}

static MISSING: Slot = Slot::Missing;
static FREED: Slot = Slot::Freed;

#[derive(Debug, Default)]
struct Chunk {
    /// Empty when all is freed.
    slots: Vec<Slot>,
    freed: u32,
}

/// What this node has to do with a shard, in the newest view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: but what it has it goes on serving.
    None,
    /// It keeps new records, and reports them.
    Current,
    /// It keeps what was ordered, and copies what it lacks.
    Ended,
}

/// One shard.
#[derive(Debug)]
pub(super) struct ShardLog {
    pub(super) id: Shard,
    pub(super) role: Role,
    chunks: Vec<Chunk>,
    /// There is no gap below. What the disk spoils below is in `holes`.
    pub(super) have: u32,
    /// The same for what is synced.
    pub(super) durable: u32,
    /// After the highest local id that is here.
    pub(super) seen: u32,
    /// How many are ordered, as far as is known here.
    pub(super) ordered: u32,
    /// Up to where the indexes were told.
    pub(super) announced: u32,
    /// What is here and not ordered, in bytes.
    pub(super) pending: usize,
    /// What the disk has spoilt below `have`.
    pub(super) holes: BTreeSet<u32>,
    /// Since when something is missing, and how many messages have shown it.
    pub(super) gap: Option<(Nanos, u32)>,
    /// When it was last asked for.
    pub(super) asked: Option<Nanos>,
    /// How often it was asked for: whose turn it is.
    pub(super) turn: usize,
    /// Whether it has new records that are not durable.
    pub(super) dirty: bool,
}

impl ShardLog {
    pub(super) fn new(id: Shard) -> Self {
        ShardLog {
            id,
            role: Role::None,
            chunks: Vec::new(),
            have: 0,
            durable: 0,
            seen: 0,
            ordered: 0,
            announced: 0,
            pending: 0,
            holes: BTreeSet::new(),
            gap: None,
            asked: None,
            turn: 0,
            dirty: false,
        }
    }

    pub(super) fn slot(&self, local: u32) -> &Slot {
        match self.chunks.get((local / CHUNK) as usize) {
            None => &MISSING,
            Some(chunk) if chunk.freed == CHUNK => &FREED,
            Some(chunk) => chunk
                .slots
                .get((local % CHUNK) as usize)
                .unwrap_or(&MISSING),
        }
    }

    pub(super) fn kept(&self, local: u32) -> Option<&Kept> {
        match self.slot(local) {
            Slot::Kept(kept) => Some(kept),
            _ => None,
        }
    }

    pub(super) fn kept_mut(&mut self, local: u32) -> Option<&mut Kept> {
        let chunk = self.chunks.get_mut((local / CHUNK) as usize)?;
        match chunk.slots.get_mut((local % CHUNK) as usize)? {
            Slot::Kept(kept) => Some(kept),
            _ => None,
        }
    }

    /// The place of a local id, made if need be; none if it is freed with its whole chunk.
    fn place(&mut self, local: u32) -> Option<(&mut u32, &mut Slot)> {
        let (chunk, at) = ((local / CHUNK) as usize, (local % CHUNK) as usize);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, Chunk::default);
        }
        let Chunk { slots, freed } = &mut self.chunks[chunk];
        if *freed == CHUNK {
            return None;
        }
        if at >= slots.len() {
            slots.resize_with(at + 1, || Slot::Missing);
        }
        Some((freed, &mut slots[at]))
    }

    /// Keeps a record; not if it is here already, or was freed.
    pub(super) fn keep(&mut self, local: u32, kept: Kept) -> bool {
        let (bytes, pending) = (kept.bytes as usize, local >= self.ordered);
        match self.place(local) {
            Some((_, slot @ (Slot::Missing | Slot::Damaged))) => *slot = Slot::Kept(kept),
            _ => return false,
        }
        if pending {
            self.pending += bytes;
        }
        if local < self.have {
            self.holes.remove(&local);
        }
        self.seen = self.seen.max(local + 1);
        true
    }

    /// Frees a record, and returns what there was of it; none if it was freed before.
    pub(super) fn free(&mut self, local: u32) -> Option<Option<Kept>> {
        let (freed, slot) = self.place(local)?;
        let before = match std::mem::replace(slot, Slot::Freed) {
            Slot::Freed => return None,
            Slot::Kept(kept) => Some(kept),
            Slot::Missing | Slot::Damaged => None,
        };
        *freed += 1;
        if *freed == CHUNK {
            self.chunks[(local / CHUNK) as usize].slots = Vec::new();
        }
        if local >= self.ordered
            && let Some(kept) = &before
        {
            self.pending -= kept.bytes as usize;
        }
        self.holes.remove(&local);
        self.seen = self.seen.max(local + 1);
        Some(before)
    }

    /// Notes that a record is spoilt.
    pub(super) fn spoil(&mut self, local: u32) -> Option<Kept> {
        let below = local < self.have;
        let (_, slot) = self.place(local)?;
        let Slot::Kept(_) = slot else { return None };
        let Slot::Kept(kept) = std::mem::replace(slot, Slot::Damaged) else {
            return None;
        };
        if local >= self.ordered {
            self.pending -= kept.bytes as usize;
        }
        if below {
            self.holes.insert(local);
            // The copy that fills it will have to be synced anew.
            self.durable = self.durable.min(local);
        }
        Some(kept)
    }

    /// Forgets everything from a local id on that is kept, and returns it.
    pub(super) fn cut_off(&mut self, from: u32) -> Vec<(u32, Kept)> {
        let mut dropped = Vec::new();
        for local in from..self.seen {
            let (pending, slot) = (local >= self.ordered, self.place(local));
            let Some((_, slot)) = slot else { continue };
            match std::mem::replace(slot, Slot::Missing) {
                Slot::Kept(kept) => {
                    if pending {
                        self.pending -= kept.bytes as usize;
                    }
                    dropped.push((local, kept));
                }
                Slot::Freed => *slot = Slot::Freed,
                Slot::Missing | Slot::Damaged => {}
            }
        }
        self.seen = self.seen.min(from);
        self.have = self.have.min(from);
        self.durable = self.durable.min(from);
        self.holes.split_off(&from);
        dropped
    }

    /// Moves `have` over all that is here, and says whether it has moved.
    pub(super) fn advance(&mut self) -> bool {
        let before = self.have;
        while self.have < self.seen && matches!(self.slot(self.have), Slot::Kept(_) | Slot::Freed) {
            self.have += 1;
        }
        self.have > before
    }

    /// All below a local id are ordered now.
    pub(super) fn order(&mut self, to: u32) {
        for local in self.ordered..to.min(self.seen) {
            if let Some(kept) = self.kept(local) {
                self.pending -= kept.bytes as usize;
            }
        }
        self.ordered = self.ordered.max(to);
    }

    /// What is to be asked for next: a range of local ids of which nothing is here. `total` is how
    /// many there are, if the term has ended.
    pub(super) fn wanted(&self, total: Option<u32>, most: u32) -> Option<(u32, u32)> {
        if let Some(&from) = self.holes.first() {
            let run = self
                .holes
                .iter()
                .zip(from..)
                .take_while(|&(&hole, at)| hole == at);
            return Some((from, from + (run.count() as u32).min(most)));
        }
        let end = total.unwrap_or(self.seen);
        if self.have >= end {
            return None;
        }
        let most = end.min(self.have.saturating_add(most));
        let gap = (self.have..most).find(|&at| matches!(self.slot(at), Slot::Kept(_)));
        Some((self.have, gap.unwrap_or(most)))
    }

    /// Which local ids of a chunk are freed: a bit for each, and nothing at all if all are.
    pub(super) fn freed_bits(&self, chunk: u32) -> Vec<u8> {
        let Some(chunk) = self.chunks.get(chunk as usize) else {
            return vec![0; CHUNK as usize / 8];
        };
        if chunk.freed == CHUNK {
            return Vec::new();
        }
        let mut bits = vec![0; CHUNK as usize / 8];
        for (at, slot) in chunk.slots.iter().enumerate() {
            if let Slot::Freed = slot {
                bits[at / 8] |= 1 << (at % 8);
            }
        }
        bits
    }

    /// Takes over [`ShardLog::freed_bits`], and says how many were freed.
    pub(super) fn set_freed(&mut self, chunk: u32, bits: &[u8]) -> u32 {
        let first = chunk * CHUNK;
        let freed = |at: &u32| {
            let byte = bits.get((at / 8) as usize);
            bits.is_empty() || byte.is_some_and(|byte| byte >> (at % 8) & 1 == 1)
        };
        let mut count = 0;
        for at in (0..CHUNK).filter(freed) {
            count += u32::from(self.free(first + at).is_some());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Term;
    use triptych_nodes::NodeId;

    fn shard() -> ShardLog {
        ShardLog::new(Shard {
            term: Term { view: 1, log: 0 },
            engine: NodeId(1000),
        })
    }

    fn record() -> Kept {
        Kept::of(&Record {
            book: 1,
            tags: vec![5],
            data: [0; 79].as_slice().into(),
            condition: None,
        })
    }

    #[test]
    fn the_prefix_ends_at_the_first_gap() {
        let mut shard = shard();
        for local in [0, 2, 3, 5000] {
            assert!(shard.keep(local, record()));
            shard.advance();
        }
        assert!(!shard.keep(2, record()), "it is here already");
        assert_eq!((shard.have, shard.seen), (1, 5001));
        assert_eq!(shard.wanted(None, 100), Some((1, 2)));
        shard.keep(1, record());
        assert!(shard.advance());
        assert_eq!((shard.have, shard.pending), (4, 500));
        assert_eq!(shard.wanted(None, 100), Some((4, 104)));
        assert_eq!(shard.wanted(Some(4), 100), None);
        shard.order(3);
        assert_eq!((shard.ordered, shard.pending), (3, 200));
    }

    #[test]
    fn what_is_freed_takes_no_memory_and_never_comes_back() {
        let mut shard = shard();
        (0..2 * CHUNK).for_each(|local| assert!(shard.keep(local, record())));
        shard.advance();
        shard.order(2 * CHUNK);
        (0..CHUNK + 3).for_each(|local| assert!(shard.free(local).unwrap().is_some()));
        assert!(shard.chunks[0].slots.is_empty());
        assert!(!shard.keep(7, record()) && !shard.keep(CHUNK, record()));
        assert!(shard.free(7).is_none() && shard.free(CHUNK).is_none());
        assert!(matches!(shard.slot(0), Slot::Freed));
        assert!(matches!(shard.slot(CHUNK + 3), Slot::Kept(_)));

        let mut again = self::shard();
        assert_eq!(again.set_freed(0, &shard.freed_bits(0)), CHUNK);
        assert_eq!(again.set_freed(1, &shard.freed_bits(1)), 3);
        again.advance();
        assert_eq!(again.have, CHUNK + 3);
    }

    #[test]
    fn a_spoilt_record_leaves_a_hole_that_can_be_filled() {
        let mut shard = shard();
        (0..5).for_each(|local| assert!(shard.keep(local, record())));
        shard.advance();
        shard.order(5);
        shard.durable = 5;
        assert!(shard.spoil(2).is_some() && shard.spoil(3).is_some());
        assert!(shard.spoil(3).is_none());
        assert_eq!((shard.have, shard.wanted(Some(5), 9)), (5, Some((2, 4))));
        assert_eq!(shard.durable, 2);
        assert!(shard.keep(2, record()) && shard.keep(3, record()));
        assert_eq!((shard.wanted(Some(5), 9), shard.pending), (None, 0));
    }

    #[test]
    fn what_lies_beyond_the_end_is_dropped() {
        let mut shard = shard();
        for local in [0, 1, 2, 4] {
            shard.keep(local, record());
        }
        shard.advance();
        shard.order(2);
        let dropped: Vec<_> = shard
            .cut_off(2)
            .into_iter()
            .map(|(local, _)| local)
            .collect();
        assert_eq!(dropped, [2, 4]);
        assert_eq!((shard.have, shard.seen, shard.pending), (2, 2, 0));
        assert!(shard.kept(1).is_some() && shard.kept(2).is_none());
    }
}
