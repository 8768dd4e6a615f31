//! What is about to be written.

use super::layout;
use super::shard::ShardLog;
use crate::{Level, Message};
use std::collections::{BTreeSet, VecDeque};
use triptych_nodes::{Durability, Key, Out, Write};

/// While something is being synced, further records wait to be synced together, up to so many bytes.
const GROUP: usize = 4 << 20;

/// Writes of this turn, or of several while the disk syncs.
#[derive(Debug)]
pub(super) struct Disk {
    level: Level,
    writes: Vec<Write>,
    bytes: usize,
    /// Whether somebody waits for these writes.
    sync: bool,
    /// What is durable when a token comes back: shards, and up to where.
    syncing: VecDeque<(u64, Vec<(usize, u32)>)>,
    token: u64,
    /// Shards with writes that somebody waits for.
    dirty: Vec<usize>,
    /// Chunks of which something was freed: shard and chunk.
    pub(super) freed: BTreeSet<(usize, u32)>,
}

impl Disk {
    pub(super) fn new(level: Level) -> Self {
        Disk {
            level,
            writes: Vec::new(),
            bytes: 0,
            sync: false,
            syncing: VecDeque::new(),
            token: 0,
            dirty: Vec::new(),
            freed: BTreeSet::new(),
        }
    }

    pub(super) fn put(&mut self, key: Key, value: Vec<u8>) {
        self.bytes += value.len();
        let value = Some(value);
        self.writes.push(Write { key, value });
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.writes.push(Write { key, value: None });
    }

    /// A shard has more than before: that counts when it is as durable as the level asks for.
    pub(super) fn wait(&mut self, place: usize, shard: &mut ShardLog) {
        if self.level == Level::Synced {
            self.sync = true;
            if !shard.dirty {
                shard.dirty = true;
                self.dirty.push(place);
            }
        }
    }

    /// Writes what there is. Without `force`, what must be synced waits while something else is being
    /// synced.
    pub(super) fn flush(&mut self, shards: &mut [ShardLog], force: bool, out: &mut Out<Message>) {
        for (place, chunk) in std::mem::take(&mut self.freed) {
            let shard = &shards[place];
            let key = layout::freed_key(shard.id, chunk);
            let value = layout::encode_freed(&key, &shard.freed_bits(chunk));
            self.put(key, value);
        }
        if self.writes.is_empty() {
            return;
        }
        if !self.sync {
            self.bytes = 0;
            out.persist(None, std::mem::take(&mut self.writes), Durability::Lazy);
            return;
        }
        if !force && !self.syncing.is_empty() && self.bytes < GROUP {
            return;
        }
        let up_to = |place: usize| {
            shards[place].dirty = false;
            (place, shards[place].have)
        };
        let marks = std::mem::take(&mut self.dirty)
            .into_iter()
            .map(up_to)
            .collect();
        self.token += 1;
        self.syncing.push_back((self.token, marks));
        (self.sync, self.bytes) = (false, 0);
        let writes = std::mem::take(&mut self.writes);
        out.persist(Some(self.token), writes, Durability::Synced);
    }

    /// Something is durable, and everything before it. Returns the shards of which more is.
    pub(super) fn persisted(&mut self, token: u64, shards: &mut [ShardLog]) -> Vec<usize> {
        let mut more = Vec::new();
        while self
            .syncing
            .front()
            .is_some_and(|&(first, _)| first <= token)
            && let Some((_, marks)) = self.syncing.pop_front()
        {
            for (place, up_to) in marks {
                let shard = &mut shards[place];
                let durable = up_to.min(shard.have);
                if durable > shard.durable {
                    shard.durable = durable;
                    more.push(place);
                }
            }
        }
        more
    }
}
