//! What a storage has in memory so as not to read the disk.

use super::shard::ShardLog;
use crate::SeqNum;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Which records are cached. The records themselves stand with what else is known of them
/// ([`super::shard::Kept::cached`]); this is the order in which they leave again: the oldest first,
/// but one that was read meanwhile gets another turn.
#[derive(Debug)]
pub(super) struct Records {
    queue: VecDeque<(u32, u32)>,
    pub(super) count: usize,
    pub(super) bytes: usize,
    limit: usize,
}

impl Records {
    pub(super) fn new(limit: usize) -> Self {
        Records {
            queue: VecDeque::new(),
            count: 0,
            bytes: 0,
            limit,
        }
    }

    /// A record was cached.
    pub(super) fn add(&mut self, shard: usize, local: u32, bytes: u32) {
        self.queue.push_back((shard as u32, local));
        self.count += 1;
        self.bytes += bytes as usize;
    }

    /// A record that was cached is no more.
    pub(super) fn remove(&mut self, bytes: u32) {
        self.count -= 1;
        self.bytes -= bytes as usize;
    }

    /// Makes room.
    pub(super) fn shrink(&mut self, shards: &mut [ShardLog]) {
        while self.bytes > self.limit {
            let Some((shard, local)) = self.queue.pop_front() else {
                break;
            };
            let kept = shards[shard as usize].kept_mut(local);
            let Some(kept) = kept.filter(|kept| kept.cached.is_some()) else {
                continue;
            };
            if kept.used {
                kept.used = false;
                self.queue.push_back((shard, local));
            } else {
                kept.cached = None;
                let bytes = kept.bytes;
                self.remove(bytes);
            }
        }
        // Freed records leave their places in the queue behind.
        if self.queue.len() > 2 * self.count + 1024 {
            let cached = |&(shard, local): &(u32, u32)| {
                let kept = shards[shard as usize].kept(local);
                kept.is_some_and(|kept| kept.cached.is_some())
            };
            self.queue.retain(cached);
        }
    }
}

/// Memos by record: those that were longest not asked for go first.
#[derive(Debug)]
pub(super) struct Memos {
    memos: BTreeMap<SeqNum, (Arc<[u8]>, u64)>,
    order: BTreeMap<u64, SeqNum>,
    clock: u64,
    bytes: usize,
    limit: usize,
}

/// What a memo takes besides its bytes, about.
const OVERHEAD: usize = 64;

impl Memos {
    pub(super) fn new(limit: usize) -> Self {
        Memos {
            memos: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            bytes: 0,
            limit,
        }
    }

    pub(super) fn set(&mut self, seq: SeqNum, memo: Arc<[u8]>) {
        self.remove(seq);
        if memo.len() + OVERHEAD > self.limit {
            return;
        }
        self.clock += 1;
        self.bytes += memo.len() + OVERHEAD;
        self.memos.insert(seq, (memo, self.clock));
        self.order.insert(self.clock, seq);
        while self.bytes > self.limit
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            self.remove(*oldest);
        }
    }

    pub(super) fn get(&mut self, seq: SeqNum) -> Option<Arc<[u8]>> {
        let (memo, stamp) = self.memos.get_mut(&seq)?;
        self.order.remove(stamp);
        self.clock += 1;
        *stamp = self.clock;
        self.order.insert(self.clock, seq);
        Some(Arc::clone(memo))
    }

    pub(super) fn remove(&mut self, seq: SeqNum) {
        if let Some((memo, stamp)) = self.memos.remove(&seq) {
            self.order.remove(&stamp);
            self.bytes -= memo.len() + OVERHEAD;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.memos.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memo_that_was_longest_not_asked_for_goes_first() {
        let mut memos = Memos::new(3 * (OVERHEAD + 10));
        let memo: Arc<[u8]> = [7; 10].as_slice().into();
        for n in 1..=3 {
            memos.set(SeqNum(n), Arc::clone(&memo));
        }
        assert_eq!(memos.get(SeqNum(1)), Some(Arc::clone(&memo)));
        memos.set(SeqNum(4), Arc::clone(&memo));
        assert_eq!((memos.len(), memos.get(SeqNum(2))), (3, None));
        assert!(memos.get(SeqNum(1)).is_some());
        memos.set(SeqNum(5), [0; 999].as_slice().into());
        assert_eq!(
            (memos.len(), memos.get(SeqNum(5))),
            (3, None),
            "too large to be kept"
        );
    }
}
