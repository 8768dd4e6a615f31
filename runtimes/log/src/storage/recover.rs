//! What a storage finds when it starts.

use super::shard::{CHUNK, Kept};
use super::term::TermLog;
use super::{Bug, Counts, Storage, cache, disk, layout, serve, trim};
use crate::{Config, Membership};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use triptych_nodes::{NodeId, Stored};

impl Storage {
    /// A storage in a new life, with what it finds on its disk. All of it is read and verified;
    /// `bug` makes it do something wrong.
    pub fn recover(
        config: Rc<Config>,
        node: NodeId,
        stored: &dyn Stored,
        bug: Option<Bug>,
    ) -> Self {
        let limit = config.limits.storage_cache_bytes;
        let mut storage = Storage {
            membership: Membership::recover(Rc::clone(&config), node, stored),
            bug,
            shards: Vec::new(),
            places: BTreeMap::new(),
            terms: BTreeMap::new(),
            cache: cache::Records::new(limit),
            memos: cache::Memos::new(limit / 4),
            disk: disk::Disk::new(config.level),
            serving: serve::Serving::default(),
            releases: trim::Releases::default(),
            announce: Vec::new(),
            wanting: BTreeSet::new(),
            lacking: BTreeSet::new(),
            kick: false,
            recheck: false,
            told: None,
            tick_armed: false,
            report_armed: false,
            sweep_armed: false,
            notices: Vec::new(),
            counts: Counts::default(),
            config,
        };
        storage.recover_freed(stored);
        storage.recover_records(stored);
        storage.recover_entries(stored);
        for shard in &mut storage.shards {
            shard.advance();
            shard.durable = shard.have;
        }
        storage
    }

    fn recover_freed(&mut self, stored: &dyn Stored) {
        for (key, value) in stored.scan(layout::FREED) {
            let chunk = layout::parse_shard_key(&key).filter(|&(_, n)| n < u32::MAX / CHUNK);
            let bits = layout::decode_freed(&key, &value);
            let (Some((shard, chunk)), Some(bits)) = (chunk, bits) else {
                self.spoilt(key);
                continue;
            };
            let place = self.place(shard);
            self.counts.freed += u64::from(self.shards[place].set_freed(chunk, bits));
        }
    }

    fn recover_records(&mut self, stored: &dyn Stored) {
        for (key, value) in stored.scan(layout::RECORDS) {
            let place = layout::parse_shard_key(&key).filter(|&(_, local)| local < u32::MAX);
            let record = match self.has(Bug::ServeDamaged) {
                true => layout::decode_blindly(&value),
                false => layout::decode_record(&key, &value),
            };
            let (Some((shard, local)), Some(record)) = (place, record) else {
                self.spoilt(key);
                continue;
            };
            let place = self.place(shard);
            let kept = Kept::of(&record);
            let bytes = kept.bytes;
            if self.shards[place].keep(local, kept) {
                self.counts.records += 1;
                self.counts.bytes += u64::from(bytes);
            } else {
                // It was freed.
                self.disk.delete(key);
            }
        }
    }

    fn recover_entries(&mut self, stored: &dyn Stored) {
        for (key, value) in stored.scan(layout::ENTRIES) {
            let place = layout::parse_entry_key(&key);
            let entry = layout::decode_entry(&key, &value);
            let entry = place
                .zip(entry)
                .filter(|((_, n), entry)| *n == entry.number);
            let Some(((term, _), entry)) = entry else {
                self.spoilt(key);
                continue;
            };
            let log = self.terms.entry(term).or_insert_with(|| TermLog::new(term));
            log.offer(Arc::new(entry), true);
        }
    }

    /// Something on the disk is not what was written.
    fn spoilt(&mut self, key: Vec<u8>) {
        let name = layout::hex(&key);
        self.notices.push(format!(
            "the value under key {name} is damaged; what it was is copied from another node"
        ));
        self.counts.damaged += 1;
        self.disk.delete(key);
    }
}
