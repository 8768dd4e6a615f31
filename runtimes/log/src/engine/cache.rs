//! The engine's cache of records and memos, bounded by bytes.
//!
//! Records are immutable, so nothing is ever invalid. When there is no room, a hand goes round all
//! entries and forgets those that were not read since it came by (CLOCK).
//!
//! Memos are another matter: they come later than their records, from anywhere, and holders keep
//! them; a record that is cached without a memo would hide one that another engine has left
//! (specification §13, pitfall 36). So a hit without a memo now and then says that somebody should
//! ask a holder again, in the background: the first time when the record has been cached for
//! [`Cache::new`]'s `probe_after`, then each time after twice as long. The reader does not wait; the
//! next one sees the memo. So no memo is hidden for ever, and a record that never gets one costs a
//! logarithmic number of messages.

use crate::{Found, Record, SeqNum};
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId};

/// Bytes that an entry takes besides its record and memo, about.
const OVERHEAD: usize = 96;

/// Records and memos by place.
#[derive(Debug)]
pub(super) struct Cache {
    /// Where each place's entry is.
    slots: FxHashMap<SeqNum, u32>,
    entries: Vec<Option<Cached>>,
    /// Entries that are empty.
    free: Vec<u32>,
    /// The entry that is looked at next when there is no room.
    hand: usize,
    bytes: usize,
    limit: usize,
    probe_after: Nanos,
}

#[derive(Debug)]
struct Cached {
    seq: SeqNum,
    /// The record and in whose shard it is; there may be a memo alone.
    record: Option<(Arc<Record>, NodeId)>,
    aux: Option<Arc<[u8]>>,
    used: bool,
    /// When to look for a memo the next time, and how long to wait after that.
    probe: (Nanos, Nanos),
}

impl Cached {
    fn size(&self) -> usize {
        let record = self.record.as_ref().map_or(0, |(record, _)| record.size());
        OVERHEAD + record + self.aux.as_ref().map_or(0, |aux| aux.len())
    }
}

/// A record that was cached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CacheHit {
    pub(super) found: Found,
    /// In whose shard it is.
    pub(super) engine: NodeId,
    /// Whether a holder should be asked for a memo, because none is known.
    pub(super) probe: bool,
}

impl Cache {
    /// An empty cache of so many bytes.
    pub(super) fn new(limit: usize, probe_after: Nanos) -> Self {
        Cache {
            slots: FxHashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            limit,
            probe_after: probe_after.max(1),
        }
    }

    /// Bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn change(&mut self, now: Nanos, seq: SeqNum, change: impl FnOnce(&mut Cached)) {
        let at = match self.slots.entry(seq) {
            Entry::Occupied(known) => *known.get() as usize,
            Entry::Vacant(new) => {
                let at = self.free.pop().map_or(self.entries.len(), |at| at as usize);
                let cached = Cached {
                    seq,
                    record: None,
                    aux: None,
                    used: false,
                    probe: (now.saturating_add(self.probe_after), self.probe_after),
                };
                self.bytes += cached.size();
                new.insert(at as u32);
                match self.entries.get_mut(at) {
                    Some(entry) => *entry = Some(cached),
                    None => self.entries.push(Some(cached)),
                }
                at
            }
        };
        if let Some(cached) = &mut self.entries[at] {
            self.bytes -= cached.size();
            change(cached);
            self.bytes += cached.size();
        }
        while self.bytes > self.limit {
            self.turn_hand();
        }
    }

    /// Looks at the next entry: one that was used stays until the hand comes again.
    fn turn_hand(&mut self) {
        let at = self.hand % self.entries.len();
        self.hand = at + 1;
        match &mut self.entries[at] {
            Some(cached) if cached.used => cached.used = false,
            entry => {
                if let Some(cached) = entry.take() {
                    self.bytes -= cached.size();
                    self.slots.remove(&cached.seq);
                    self.free.push(at as u32);
                }
            }
        }
    }

    fn entry(&self, seq: SeqNum) -> Option<&Cached> {
        self.entries[*self.slots.get(&seq)? as usize].as_ref()
    }

    /// Takes over a record, and a memo if there is one. A memo that is there stays otherwise.
    pub(super) fn put(&mut self, now: Nanos, engine: NodeId, found: Found) {
        self.change(now, found.seq, |cached| {
            if cached.record.is_none() {
                cached.record = Some((found.record, engine));
            }
            if found.aux.is_some() {
                cached.aux = found.aux;
            }
        });
    }

    /// Takes over a memo, in the place of another.
    pub(super) fn annotate(&mut self, now: Nanos, seq: SeqNum, aux: Arc<[u8]>) {
        self.change(now, seq, |cached| cached.aux = Some(aux));
    }

    /// In whose shard a record is, if it is cached.
    pub(super) fn engine(&self, seq: SeqNum) -> Option<NodeId> {
        let (_, engine) = self.entry(seq)?.record.as_ref()?;
        Some(*engine)
    }

    /// A record with its memo.
    pub(super) fn get(&mut self, now: Nanos, seq: SeqNum) -> Option<CacheHit> {
        let at = *self.slots.get(&seq)?;
        let cached = self.entries[at as usize].as_mut()?;
        cached.used = true;
        let (record, engine) = cached.record.as_ref()?;
        let (due, wait) = cached.probe;
        let probe = cached.aux.is_none() && now >= due;
        if probe {
            let wait = wait.saturating_mul(2);
            cached.probe = (now.saturating_add(wait), wait);
        }
        Some(CacheHit {
            found: Found {
                seq,
                record: Arc::clone(record),
                aux: cached.aux.clone(),
            },
            engine: *engine,
            probe,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(seq: u64, aux: Option<&[u8]>) -> Found {
        let record = Record {
            book: 1,
            tags: Vec::new(),
            data: vec![0; 88].into(),
            condition: None,
        };
        Found {
            seq: SeqNum(seq),
            record: Arc::new(record),
            aux: aux.map(Arc::from),
        }
    }

    fn has(cache: &Cache, seqs: std::ops::Range<u64>) -> Vec<u64> {
        seqs.filter(|&seq| cache.entry(SeqNum(seq)).is_some())
            .collect()
    }

    #[test]
    fn what_was_read_stays_longer() {
        // Each entry takes 96 + 12 + 88 bytes.
        let mut cache = Cache::new(3 * 196, 1);
        for seq in 0..3 {
            cache.put(0, NodeId(1), found(seq, None));
        }
        assert_eq!(cache.bytes(), 3 * 196);
        assert!(cache.get(0, SeqNum(0)).is_some());
        cache.put(0, NodeId(1), found(3, None));
        assert_eq!(has(&cache, 0..4), [0, 2, 3]);
        cache.put(0, NodeId(1), found(4, None));
        cache.put(0, NodeId(1), found(5, None));
        assert_eq!(has(&cache, 0..6), [0, 4, 5], "it was looked at once more");
        cache.put(0, NodeId(1), found(6, None));
        assert_eq!((has(&cache, 0..7), cache.entries.len()), (vec![4, 5, 6], 4));
    }

    #[test]
    fn a_memo_is_looked_for_again_and_again_but_ever_more_rarely() {
        let mut cache = Cache::new(1 << 20, 100);
        cache.put(0, NodeId(7), found(1, None));
        let mut probes = Vec::new();
        for now in 0..2_000 {
            if cache.get(now, SeqNum(1)).is_some_and(|hit| hit.probe) {
                probes.push(now);
            }
        }
        assert_eq!(probes, [100, 300, 700, 1_500]);
        cache.put(2_000, NodeId(7), found(1, Some(b"memo")));
        let hit = cache.get(9_000, SeqNum(1)).unwrap();
        assert_eq!(
            (hit.found.aux.as_deref(), hit.probe),
            (Some(&b"memo"[..]), false)
        );
    }

    #[test]
    fn a_memo_may_come_before_its_record_and_a_newer_one_replaces_it() {
        let mut cache = Cache::new(1 << 20, 100);
        cache.annotate(0, SeqNum(1), Arc::from(&b"a"[..]));
        assert_eq!(cache.get(0, SeqNum(1)), None);
        cache.put(0, NodeId(7), found(1, None));
        let aux = |cache: &mut Cache| cache.get(0, SeqNum(1)).unwrap().found.aux;
        assert_eq!(aux(&mut cache).as_deref(), Some(&b"a"[..]));
        cache.annotate(0, SeqNum(1), Arc::from(&b"bcd"[..]));
        assert_eq!(aux(&mut cache).as_deref(), Some(&b"bcd"[..]));
        assert_eq!(cache.bytes(), 96 + 12 + 88 + 3);
        assert_eq!(cache.engine(SeqNum(1)), Some(NodeId(7)));
    }
}
