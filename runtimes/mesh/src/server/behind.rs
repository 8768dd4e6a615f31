//! The backing store: what is not in the cache is fetched, what is new is written by the keeper of
//! its key, and what is there may be forgotten here.
//!
//! A server does not speak to the store itself. A *bridge* registers with it, gets its questions and
//! answers them. Every question may be asked twice: rows and the ring are replaced only if they are
//! still as expected.
//!
//! Invariants:
//!
//! * Only what is applied is written, with the clock of all that is; so a row is part of a causal cut,
//!   and a server that loads it applies that clock first.
//! * `done` counts only versions whose keys of this keeper are in the store.
//! * A key that is fetched is not forgotten meanwhile: what came since would be missing.

use super::{NodeBug, Outbox, Server};
use crate::clock::Clock;
use crate::entry::Entry;
use crate::message::{Message, Question, Row};
use crate::version::Key;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use triptych_nodes::{Nanos, Peer};

/// So many keys are looked at for eviction in one turn.
const LOOKS: usize = 16;

/// A question that was asked.
struct Asked {
    /// When it was asked first.
    since: Nanos,
    /// When it was asked last.
    at: Nanos,
    question: Question,
}

/// One round of a keeper: everything of its keys up to a clock goes to the store.
struct Flush {
    upto: Clock,
    /// Keys to be sent.
    todo: BTreeSet<Key>,
    /// Keys on their way.
    away: BTreeSet<Key>,
}

/// See the module documentation.
pub(super) struct Behind {
    bridges: Vec<Peer>,
    life: u32,
    next: u64,
    asked: BTreeMap<u64, Asked>,
    /// Keys to be fetched.
    wanted: BTreeSet<Key>,
    /// Keys to be fetched again, in a while.
    later: Vec<Key>,
    /// Keys that were asked for.
    fetching: BTreeSet<Key>,
    /// Keys of which the store may lack something. In no order that anybody sees.
    dirty: FxHashSet<Key>,
    /// The clocks of rows as they were seen last.
    rows: FxHashMap<Key, Clock>,
    flush: Option<Flush>,
    done: Clock,
    /// When keys were used, for eviction, and the keys by that.
    used: FxHashMap<Key, u64>,
    order: BTreeMap<u64, Key>,
    uses: u64,
}

impl Behind {
    pub(super) fn new(life: u32) -> Self {
        Behind {
            bridges: Vec::new(),
            life,
            next: 0,
            asked: BTreeMap::new(),
            wanted: BTreeSet::new(),
            later: Vec::new(),
            fetching: BTreeSet::new(),
            dirty: FxHashSet::default(),
            rows: FxHashMap::default(),
            flush: None,
            done: Clock::default(),
            used: FxHashMap::default(),
            order: BTreeMap::new(),
            uses: 0,
        }
    }

    /// A bridge is there. The newest is asked first.
    pub(super) fn register(&mut self, bridge: Peer) {
        if !self.bridges.contains(&bridge) {
            self.bridges.push(bridge);
        }
    }

    pub(super) fn gone(&mut self, bridge: Peer) {
        self.bridges.retain(|known| *known != bridge);
    }

    /// Answers to questions of an earlier life mean nothing.
    pub(super) fn new_life(&mut self, life: u32) {
        self.life = life;
        self.next = 0;
        self.asked.clear();
    }

    /// The server has other data now; of these keys the store may lack something.
    pub(super) fn begin(&mut self, dirty: impl Iterator<Item = Key>) {
        self.asked
            .retain(|_, asked| matches!(asked.question, Question::Ring | Question::Swap { .. }));
        self.wanted.clear();
        self.later.clear();
        self.fetching.clear();
        self.dirty = dirty.collect();
        self.rows.clear();
        self.flush = None;
        self.used.clear();
        self.order.clear();
    }

    /// Keys have other keepers now.
    pub(super) fn new_epoch(&mut self, stored: &Clock) {
        self.flush = None;
        self.done = stored.clone();
        // An answer about an older row must not be taken for one about the next round's.
        self.asked
            .retain(|_, asked| !matches!(asked.question, Question::Store { .. }));
    }

    pub(super) fn done(&self) -> &Clock {
        &self.done
    }

    /// How many keys may be newer here than in the store.
    pub(super) fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// A key is needed.
    pub(super) fn want(&mut self, key: &Key) {
        if !self.fetching.contains(key) {
            self.wanted.insert(key.clone());
        }
    }

    /// A key has a stable write that the store may lack.
    pub(super) fn wrote(&mut self, key: &Key) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.clone());
        }
    }

    /// Keys were read.
    pub(super) fn used(&mut self, keys: &[Key]) {
        if self.used.is_empty() {
            return;
        }
        for key in keys {
            self.touch(key);
        }
    }

    fn touch(&mut self, key: &Key) {
        self.uses += 1;
        if let Some(before) = self.used.insert(key.clone(), self.uses) {
            self.order.remove(&before);
        }
        self.order.insert(self.uses, key.clone());
    }

    fn forget(&mut self, key: &Key) {
        if let Some(before) = self.used.remove(key) {
            self.order.remove(&before);
        }
        self.rows.remove(key);
    }

    /// What was asked under a number, and when first.
    pub(super) fn answered(&mut self, op: u64) -> Option<(Nanos, Question)> {
        let asked = self.asked.remove(&op)?;
        Some((asked.since, asked.question))
    }
}

impl Server {
    /// Asks a bridge. Whether there is one.
    pub(super) fn ask(&mut self, now: Nanos, question: Question, out: &mut Outbox) -> bool {
        let Some(&bridge) = self.behind.bridges.first() else {
            return false;
        };
        let op = u64::from(self.behind.life) << 32 | self.behind.next;
        self.behind.next += 1;
        let asked = Asked {
            since: now,
            at: now,
            question: question.clone(),
        };
        self.behind.asked.insert(op, asked);
        out.send(bridge, Message::Ask { op, question });
        true
    }

    /// Whether all rows are being looked at.
    pub(super) fn is_surveying(&self) -> bool {
        let mut asked = self.behind.asked.values();
        asked.any(|asked| asked.question == Question::Survey)
    }

    /// Asks again, of another bridge if there is one, what was not answered for long.
    pub(super) fn ask_again(&mut self, now: Nanos, out: &mut Outbox) {
        let patience = self.config.timing.ask_again_after;
        let behind = &mut self.behind;
        behind.wanted.extend(behind.later.drain(..));
        let mut again = Vec::new();
        for (&op, asked) in &mut behind.asked {
            if now >= asked.at.saturating_add(patience) {
                asked.at = now;
                again.push((op, asked.question.clone()));
            }
        }
        if again.is_empty() || behind.bridges.is_empty() {
            return;
        }
        behind.bridges.rotate_left(1);
        let bridge = behind.bridges[0];
        let mut ring = false;
        for (op, question) in again {
            match question {
                // What a row of the ring says must be as fresh as the answer is taken to be.
                Question::Ring => {
                    behind.asked.remove(&op);
                    ring = true;
                }
                question => out.send(bridge, Message::Ask { op, question }),
            }
        }
        if ring {
            self.ring_failed();
            self.seek_ring(now, out);
        }
    }

    /// The store could not do it.
    pub(super) fn on_failed(&mut self, _now: Nanos, question: Question) {
        match question {
            Question::Fetch { keys } => {
                for key in keys {
                    self.behind.fetching.remove(&key);
                    self.behind.later.push(key);
                }
            }
            Question::Store { rows } => {
                if let Some(flush) = &mut self.behind.flush {
                    for (_, row) in rows {
                        flush.away.remove(&row.key);
                        flush.todo.insert(row.key);
                    }
                }
            }
            Question::Ring | Question::Swap { .. } => self.ring_failed(),
            Question::Survey => {}
        }
    }

    // ---- Misses ----

    /// At the end of a turn: fetches what is wanted, and forgets what is too much.
    pub(super) fn behind_turn(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.behind.wanted.is_empty() && !self.behind.bridges.is_empty() {
            let wanted = std::mem::take(&mut self.behind.wanted);
            let wanted: Vec<Key> = wanted.into_iter().collect();
            for keys in wanted.chunks(self.config.limits.batch_rows.max(1)) {
                self.behind.fetching.extend(keys.iter().cloned());
                let keys = keys.to_vec();
                self.ask(now, Question::Fetch { keys }, out);
            }
        }
        self.evict();
    }

    pub(super) fn on_rows(
        &mut self,
        now: Nanos,
        question: Question,
        rows: Vec<Option<Row>>,
        out: &mut Outbox,
    ) {
        let Question::Fetch { keys } = question else {
            return;
        };
        let mut loaded = Vec::new();
        for (key, row) in keys.into_iter().zip(rows) {
            if !self.behind.fetching.remove(&key) {
                continue;
            }
            let (entry, counted) = match row {
                Some(row) if row.key == key => (row.entry, row.counted),
                Some(_) => continue,
                None => (Entry::default(), Clock::default()),
            };
            if !self.core.load(&key, entry, &counted) {
                // It counts what has not come here yet.
                self.behind.later.push(key);
                continue;
            }
            self.behind.rows.insert(key.clone(), counted);
            if self.config.limits.cache_keys > 0 {
                self.behind.touch(&key);
            }
            loaded.push(key);
        }
        self.wake_keys(now, &loaded, out);
        self.store_more(now, out);
    }

    fn evict(&mut self) {
        let most = self.config.limits.cache_keys;
        if most == 0 {
            return;
        }
        let mut looks = LOOKS.min(self.behind.order.len());
        while self.core.keys() > most && looks > 0 {
            looks -= 1;
            let Some((_, key)) = self.behind.order.pop_first() else {
                return;
            };
            self.behind.used.remove(&key);
            let flush = self.behind.flush.as_ref();
            let busy = self.desk.is_pinned(&key)
                || self.behind.fetching.contains(&key)
                || self.behind.wanted.contains(&key)
                || self.behind.later.contains(&key)
                || flush.is_some_and(|f| f.todo.contains(&key) || f.away.contains(&key));
            let everything = self.core.applied().clone();
            let stored = match self.has_bug(NodeBug::EvictsUnstored) {
                true => &everything,
                false => &self.told.stored,
            };
            if !busy && self.core.evict(&key, stored) {
                self.behind.dirty.remove(&key);
                self.behind.forget(&key);
            } else {
                self.behind.touch(&key);
            }
        }
    }

    // ---- Keeping ----

    /// Begins a round, if the one before is over.
    pub(super) fn keep(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.is_whole() {
            return;
        }
        // Only what is applied is written, so what is stable is applied now, if it was not before.
        self.apply_stable();
        // What is about to be stable in this turn must be known to be dirty.
        self.trim_log();
        let stored = &self.told.stored;
        let core = &self.core;
        let tracked = self.config.limits.cache_keys > 0;
        let mut stale = Vec::new();
        self.behind.dirty.retain(|key| {
            let clock = core.clock_of(key);
            let here = clock.is_some_and(|clock| !stored.covers(clock));
            if !here && tracked {
                stale.push(key.clone());
            }
            here
        });
        // In the order of the keys, so that the same seed evicts the same ones.
        stale.sort();
        for key in stale {
            if !self.behind.used.contains_key(&key) && self.core.clock_of(&key).is_some() {
                self.behind.touch(&key);
            }
        }
        if self.behind.flush.is_none() {
            let mine = |key: &&Key| self.ring.keeper(key) == self.slot;
            let todo: BTreeSet<Key> = self.behind.dirty.iter().filter(mine).cloned().collect();
            self.behind.flush = Some(Flush {
                upto: self.core.stable().clone(),
                todo,
                away: BTreeSet::new(),
            });
        }
        self.store_more(now, out);
    }

    /// Sends the rows of a round that can be sent.
    fn store_more(&mut self, now: Nanos, out: &mut Outbox) {
        let Some(mut flush) = self.behind.flush.take() else {
            return;
        };
        let blind = self.has_bug(NodeBug::StoresWithoutCondition);
        let mut rows = Vec::new();
        for key in std::mem::take(&mut flush.todo) {
            let Some(entry) = self.core.entry(&key) else {
                // It has to be loaded first; or it was forgotten, so the store has it.
                if self.core.clock_of(&key).is_some() {
                    self.behind.want(&key);
                    flush.todo.insert(key);
                }
                continue;
            };
            let row = self.behind.rows.get(&key);
            if !blind && row.is_some_and(|row| row.covers(entry.clock())) {
                continue;
            }
            let expected = row.cloned().unwrap_or_default();
            let row = Row {
                key: key.clone(),
                entry: entry.clone(),
                counted: self.core.applied().clone(),
            };
            flush.away.insert(key);
            rows.push((expected, row));
        }
        let over = flush.todo.is_empty() && flush.away.is_empty();
        match over {
            true => self.behind.done.join(&flush.upto),
            false => self.behind.flush = Some(flush),
        }
        if over {
            self.learn_stored();
        }
        let many = self.config.limits.batch_rows.max(1);
        while !rows.is_empty() {
            let rest = rows.split_off(many.min(rows.len()));
            let rows = std::mem::replace(&mut rows, rest);
            if !self.ask(now, Question::Store { rows: rows.clone() }, out) {
                self.on_failed(now, Question::Store { rows });
            }
        }
    }

    pub(super) fn on_stored(
        &mut self,
        now: Nanos,
        question: Question,
        clocks: Vec<Clock>,
        out: &mut Outbox,
    ) {
        let Question::Store { rows } = question else {
            return;
        };
        let blind = self.has_bug(NodeBug::StoresWithoutCondition);
        let mut stuck = false;
        for ((_, row), clock) in rows.into_iter().zip(clocks) {
            let stored = clock == row.counted;
            if !stored {
                // Somebody else has written it since. What that counts is here or about to come, unless
                // this server is not on the ring any more.
                if self.core.is_closed(&clock) {
                    let _ = self.core.integrate(&clock);
                }
            }
            let ours = self.core.applied().covers(&self.core.real(&clock));
            let behind = &mut self.behind;
            stuck |= !ours;
            if ours || blind {
                behind.rows.insert(row.key.clone(), clock);
            }
            if let Some(flush) = &mut behind.flush
                && flush.away.remove(&row.key)
                && !stored
            {
                flush.todo.insert(row.key);
            }
        }
        // What is stuck is tried again in a while.
        if !stuck {
            self.store_more(now, out);
        }
    }
}
