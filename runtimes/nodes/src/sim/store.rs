//! The store of a simulated node: ordered, in memory, and after a crash without what was not synced.
//!
//! A store with a journal loses its end in a crash, never its middle: each batch is written with a
//! checksum behind the one before, and what follows the first bad one is forgotten. So a crash
//! leaves a prefix of the batches that were handed over, whole ones only, and at least all that were
//! synced, unless the disk lies. What happens is drawn from the seed, the node and the number of the
//! crash.
//!
//! The values are kept once. What a crash could take back is kept as what stood there before.

use crate::{Durability, Key, Nanos, Persist, Stored};
use std::collections::{BTreeMap, VecDeque};
use triptych_world::disk::DiskConfig;
use triptych_world::{Random, SECOND, mix, mix_str};

/// How a node's store behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    /// The disk below it. `survives` is the chance, for one batch after the other, that one which was
    /// not synced is found after a crash; at the first that is not, the journal ends. So is `lost`
    /// for batches that were synced, from the last one backwards. `torn` means nothing here: a torn
    /// batch is recognised and forgotten.
    pub disk: DiskConfig,
    /// The chance that a crash leaves one value, of any key, with one bit flipped.
    pub rot: f64,
    /// Batches older than this are durable although nobody has synced them: the system has written
    /// them out. Bounds the memory that the simulation takes.
    pub writeback: Nanos,
}

impl StoreConfig {
    /// A disk without latency and faults, that loses all that was not synced.
    pub fn ideal() -> Self {
        StoreConfig {
            disk: DiskConfig::ideal(),
            rot: 0.0,
            writeback: SECOND,
        }
    }
}

/// How many synced batches a disk that lies may lose at once.
const LIES: u64 = 64;

/// A batch that a crash may take back.
struct Batch {
    at: Nanos,
    /// What stood at its keys before, in the order of its writes.
    before: Vec<(Key, Option<Vec<u8>>)>,
}

/// What a store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Batches handed over.
    pub batches: u64,
    /// Bytes of keys and values written.
    pub written: u64,
    /// Syncs.
    pub syncs: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes of values read.
    pub read: u64,
}

/// See the module documentation. It knows no clock: whoever owns it says when things happen.
pub struct SimStore {
    config: StoreConfig,
    key: u64,
    values: BTreeMap<Key, Vec<u8>>,
    /// How many batches were handed over, of those that still count; the number of the next one.
    applied: u64,
    /// All batches below this number are durable.
    synced: u64,
    /// The last of all batches, oldest first: those that a crash may take back.
    batches: VecDeque<Batch>,
    /// Who waits for a sync: the number of the batch, and the token.
    waiting: VecDeque<(u64, Option<u64>)>,
    /// The sync under way covers all batches below this number.
    syncing: Option<u64>,
    /// Bytes that the next sync has to write.
    dirty: usize,
    /// Until when earlier transfers keep the disk.
    busy: Nanos,
    draws: u64,
    crashes: u64,
    counts: StoreCounts,
}

impl SimStore {
    /// An empty store; `key` says whose luck it has.
    pub fn new(config: StoreConfig, key: u64) -> Self {
        SimStore {
            config,
            key,
            values: BTreeMap::new(),
            applied: 0,
            synced: 0,
            batches: VecDeque::new(),
            waiting: VecDeque::new(),
            syncing: None,
            dirty: 0,
            busy: 0,
            draws: 0,
            crashes: 0,
            counts: StoreCounts::default(),
        }
    }

    fn random(&mut self, purpose: u64) -> Random {
        self.draws += 1;
        Random::new(mix(mix(self.key, purpose), self.draws))
    }

    fn transfer(&self, bytes: usize) -> Nanos {
        (bytes as u64).saturating_mul(SECOND) / self.config.disk.bandwidth.max(1)
    }

    /// Applies a batch. Returns after how long its token is told, if that needs no sync.
    pub fn persist(&mut self, now: Nanos, persist: Persist) -> Option<(Nanos, u64)> {
        let mut before = Vec::with_capacity(persist.writes.len());
        for write in persist.writes {
            let bytes = write.key.len() + write.value.as_ref().map_or(0, Vec::len);
            self.dirty += bytes;
            self.counts.written += bytes as u64;
            let old = match write.value {
                Some(value) => self.values.insert(write.key.clone(), value),
                None => self.values.remove(&write.key),
            };
            before.push((write.key, old));
        }
        self.batches.push_back(Batch { at: now, before });
        let number = self.applied;
        self.applied += 1;
        self.counts.batches += 1;
        self.write_back(now);
        match persist.durability {
            Durability::Synced => {
                self.waiting.push_back((number, persist.token));
                None
            }
            Durability::Lazy => {
                let token = persist.token?;
                let write = self.config.disk.write;
                Some((write.draw(&mut self.random(1), 1.0), token))
            }
        }
    }

    /// Starts a sync of all that was handed over so far, if somebody waits for one and none is under
    /// way. Returns how long it takes; then [`SimStore::synced`] is to be called.
    pub fn sync(&mut self, now: Nanos) -> Option<Nanos> {
        if self.syncing.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.syncing = Some(self.applied);
        self.counts.syncs += 1;
        let dirty = std::mem::take(&mut self.dirty);
        let transfer = self.transfer(dirty);
        self.busy = self.busy.max(now).saturating_add(transfer);
        let sync = self.config.disk.sync;
        let latency = sync.draw(&mut self.random(2), 1.0);
        Some((self.busy - now).saturating_add(latency))
    }

    /// The sync under way is done: adds the tokens that are to be told, in order.
    pub fn synced(&mut self, now: Nanos, tokens: &mut Vec<u64>) {
        let Some(until) = self.syncing.take() else {
            return;
        };
        self.synced = self.synced.max(until);
        while let Some((_, token)) = self.waiting.pop_front_if(|(number, _)| *number < until) {
            tokens.extend(token);
        }
        self.write_back(now);
    }

    /// Forgets how to take back what is durable.
    fn write_back(&mut self, now: Nanos) {
        let lies = if self.config.disk.lost > 0.0 { LIES } else { 0 };
        while let Some(oldest) = self.batches.front() {
            let number = self.applied - self.batches.len() as u64;
            let old = oldest.at.saturating_add(self.config.writeback) < now;
            if !old && number.saturating_add(lies) >= self.synced {
                break;
            }
            self.synced = self.synced.max(number + 1);
            self.batches.pop_front();
        }
    }

    /// Reads a value; it comes after the returned time.
    pub fn read(&mut self, now: Nanos, key: &[u8]) -> (Nanos, Option<Vec<u8>>) {
        let value = self.values.get(key).cloned();
        let bytes = value.as_ref().map_or(0, Vec::len);
        self.counts.reads += 1;
        self.counts.read += bytes as u64;
        self.busy = self.busy.max(now).saturating_add(self.transfer(bytes));
        let read = self.config.disk.read;
        let latency = read.draw(&mut self.random(3), 1.0);
        ((self.busy - now).saturating_add(latency), value)
    }

    /// Crashes. What is left is what a restarted node finds; nobody is told of a sync that was under
    /// way.
    pub fn crash(&mut self) {
        let mut random = Random::new(mix(self.key, mix_str(self.crashes, "crash")));
        self.crashes += 1;
        let first = self.applied - self.batches.len() as u64;
        let mut keep = self.synced.max(first);
        while keep > first && random.chance(self.config.disk.lost) {
            keep -= 1;
        }
        // A journal that has lost synced batches ends there.
        if keep >= self.synced {
            while keep < self.applied && random.chance(self.config.disk.survives) {
                keep += 1;
            }
        }
        while self.applied > keep {
            let batch = self.batches.pop_back();
            let batch = batch.expect("all batches from the first that may be lost are kept");
            for (key, old) in batch.before.into_iter().rev() {
                match old {
                    Some(value) => self.values.insert(key, value),
                    None => self.values.remove(&key),
                };
            }
            self.applied -= 1;
        }
        self.synced = keep;
        self.batches.clear();
        self.waiting.clear();
        self.syncing = None;
        self.dirty = 0;
        self.busy = 0;
        if random.chance(self.config.rot) {
            self.rot(random.bits());
        }
    }

    /// Flips one bit of the value of one key, any one by a number. Returns the key; none if there is
    /// nothing that could rot.
    pub fn rot(&mut self, any: u64) -> Option<Key> {
        let mut random = Random::new(mix(self.key, any));
        let full = self.values.values().filter(|value| !value.is_empty());
        let nth = random.below(full.count() as u64) as usize;
        let mut full = self
            .values
            .iter_mut()
            .filter(|(_, value)| !value.is_empty());
        let (key, value) = full.nth(nth)?;
        let byte = random.below(value.len() as u64) as usize;
        value[byte] ^= 1 << random.below(8);
        Some(key.clone())
    }

    /// Loses everything, like a disk that was replaced.
    pub fn wipe(&mut self) {
        self.values.clear();
        self.batches.clear();
        self.waiting.clear();
        self.syncing = None;
        (self.applied, self.synced, self.dirty) = (0, 0, 0);
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What it has done since it was made.
    pub fn counts(&self) -> StoreCounts {
        self.counts
    }
}

impl Stored for SimStore {
    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_> {
        let prefix = prefix.to_vec();
        let from = self.values.range(prefix.clone()..);
        let within = from.take_while(move |(key, _)| key.starts_with(&prefix));
        Box::new(within.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Write;
    use triptych_world::latency::Dist;

    fn put(key: u8, value: u8, durability: Durability) -> Persist {
        Persist {
            token: Some(u64::from(value)),
            writes: vec![
                Write {
                    key: vec![b'k', key],
                    value: Some(vec![value]),
                },
                Write {
                    key: vec![b'l'],
                    value: Some(vec![value]),
                },
            ],
            durability,
        }
    }

    fn state(store: &SimStore) -> Vec<(Key, Vec<u8>)> {
        store.scan(b"").collect()
    }

    #[test]
    fn one_sync_covers_all_that_was_handed_over_before_it_began() {
        let mut config = StoreConfig::ideal();
        config.disk.sync = Dist::Constant { value: 1.0 };
        let mut store = SimStore::new(config, 1);
        assert_eq!(store.persist(0, put(1, 1, Durability::Synced)), None);
        assert_eq!(store.persist(0, put(2, 2, Durability::Synced)), None);
        assert_eq!(store.sync(0), Some(1_000_000));
        assert_eq!(store.persist(5, put(3, 3, Durability::Synced)), None);
        assert_eq!(store.sync(5), None, "a disk does one sync at a time");
        let mut told = Vec::new();
        store.synced(1_000_000, &mut told);
        assert_eq!(told, [1, 2]);
        assert!(store.sync(1_000_000).is_some());
        store.synced(2_000_000, &mut told);
        assert_eq!(told, [1, 2, 3]);
        assert_eq!(store.sync(2_000_000), None, "nobody waits");
    }

    #[test]
    fn a_crash_leaves_a_prefix_of_whole_batches_with_all_that_was_synced() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut config = StoreConfig::ideal();
            config.disk.survives = 0.7;
            let mut store = SimStore::new(config, seed);
            let mut states = vec![state(&store)];
            for n in 0..10 {
                // Keys come again, so that taking back must bring old values back.
                store.persist(0, put(n % 3, n, Durability::Lazy));
                states.push(state(&store));
                if n == 3 {
                    store.persist(0, put(7, 99, Durability::Synced));
                    states.push(state(&store));
                    store.sync(0);
                    store.synced(0, &mut Vec::new());
                }
            }
            store.crash();
            let found = state(&store);
            let at = states.iter().position(|state| *state == found);
            let at = at.expect("a crash leaves a state that there was");
            assert!(at >= 5, "what was synced is there");
            lengths.insert(at);
        }
        assert!(lengths.len() > 3, "{lengths:?}");
    }

    #[test]
    fn only_a_disk_that_lies_loses_what_was_synced() {
        for (lost, some) in [(0.0, false), (0.5, true)] {
            let mut losses = 0;
            for seed in 0..50 {
                let mut config = StoreConfig::ideal();
                config.disk.lost = lost;
                let mut store = SimStore::new(config, seed);
                for n in 0..5 {
                    store.persist(0, put(n, n, Durability::Synced));
                    store.sync(0);
                    store.synced(0, &mut Vec::new());
                }
                store.crash();
                losses += 6 - store.len();
            }
            assert_eq!(losses > 0, some, "{losses}");
        }
    }

    #[test]
    fn what_is_old_is_written_out_and_its_past_forgotten() {
        let mut store = SimStore::new(StoreConfig::ideal(), 1);
        for n in 0..100 {
            store.persist(u64::from(n) * SECOND, put(n, n, Durability::Lazy));
        }
        assert!(store.batches.len() <= 2);
        store.crash();
        assert!(store.len() > 90);
    }

    #[test]
    fn rot_flips_one_bit() {
        let mut store = SimStore::new(StoreConfig::ideal(), 1);
        assert_eq!(store.rot(1), None);
        store.persist(0, put(1, 0, Durability::Lazy));
        let key = store.rot(1).unwrap();
        assert_eq!(store.get(&key).unwrap()[0].count_ones(), 1);
        store.wipe();
        assert!(store.is_empty());
        // What was there does not come back.
        store.crash();
        assert!(store.is_empty());
    }
}
