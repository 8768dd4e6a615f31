//! The node that gives timestamps, makes commits, and promises.
//!
//! A commit reads the rows that it writes, gets a timestamp, and is made by one transaction of the
//! database, or by several if it is large. Nobody sees a part of it: what is after the promise is not
//! read. If one of several transactions fails, nobody knows what the commit is, and its client is told
//! so. Commits of the same key come one after the other. The *promise* is the time before the first commit that has a timestamp and is not in the
//! database; without one it is now. It never goes back, and a commit is answered when the promise has
//! reached it: whoever has seen a commit can be shown everything that is before it.
//!
//! The clock is hybrid: the node's time, or one more than the last timestamp. Before it gives a
//! timestamp it has a later one on its disk; a node that restarts begins there, and waits first, until
//! no commit of its earlier life can reach the database any more.

use crate::message::{Message, Peer};
use crate::stamp::{History, Stamp};
use crate::{Bug, Config};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use triptych_api::Value;
use triptych_mesh::Key;
use triptych_nodes::{Durability, Nanos, Node, NodeId, Out, Peer as From, Stored, Write};
use triptych_refreshed::{Desk, Failure, Outcome, Put, Query, Wire};
use triptych_world::SECOND;

type Send = Out<Message>;

/// Where it keeps the time that no timestamp has reached.
const RESERVED: &[u8] = b"reserved";
/// So far ahead it reserves.
const AHEAD: Nanos = 4 * SECOND;
/// How often it looks whether to reserve more.
const LOOK: Nanos = SECOND;
/// After so long nothing of an earlier life is on its way to the database.
const FENCE: Nanos = 10 * SECOND;
/// How many rows a transaction of the database takes in any of its versions.
const TOGETHER: usize = 25;

/// A commit that a cache wants.
#[derive(Debug)]
struct Commit {
    from: NodeId,
    token: u64,
    writes: Vec<(Key, Value)>,
}

/// What is to be done with an answer of the database.
#[derive(Debug)]
enum Then {
    Read(Commit),
    Made(Stamp),
}

/// A commit that has a timestamp.
#[derive(Debug)]
struct Pending {
    commit: Commit,
    /// How many of its transactions have not ended.
    open: usize,
    /// How many have been made.
    made: usize,
    /// Why one was not.
    failed: Option<Failure>,
}

/// See the module documentation.
pub struct Storage {
    config: Config,
    desk: Desk<Then>,
    clock: Stamp,
    reserved: Stamp,
    /// What is being written to its disk.
    reserving: Option<Stamp>,
    /// When it may begin, if it has not.
    fence: Option<Nanos>,
    restarted: bool,
    /// Keys that a commit under way writes, and commits that wait for those.
    locked: BTreeSet<Key>,
    queue: VecDeque<Commit>,
    pending: BTreeMap<Stamp, Pending>,
    /// The last commits that are in the database, oldest first, and since when they are all.
    log: VecDeque<(Stamp, Vec<Key>)>,
    since: Stamp,
    commits: u64,
}

impl Storage {
    /// A storage with what its disk has.
    pub fn new(config: Config, stored: &dyn Stored) -> Self {
        let bytes = stored.get(RESERVED).and_then(|bytes| bytes.try_into().ok());
        let reserved = Stamp(bytes.map_or(0, u64::from_be_bytes));
        Storage {
            config,
            desk: Desk::default(),
            clock: reserved,
            reserved,
            reserving: None,
            fence: Some(0),
            restarted: reserved > Stamp(0),
            locked: BTreeSet::new(),
            queue: VecDeque::new(),
            pending: BTreeMap::new(),
            log: VecDeque::new(),
            since: reserved,
            commits: 0,
        }
    }

    /// The time that its clock shows, as far as it is reserved.
    fn now(&mut self, now: Nanos) -> Stamp {
        let now = Stamp(now).min(self.reserved.before());
        self.clock = self.clock.max(now);
        self.clock
    }

    fn promise(&mut self, now: Nanos) -> Stamp {
        let clock = self.now(now);
        match self.pending.first_key_value() {
            Some((first, _)) if self.config.bug != Some(Bug::PromisesTooMuch) => first.before(),
            _ => clock,
        }
    }

    fn reserve(&mut self, now: Nanos, out: &mut Send) {
        let upto = Stamp(self.clock.0.max(now).saturating_add(AHEAD));
        if self.reserving.is_some() || self.reserved.0 > upto.0 - AHEAD / 2 {
            return;
        }
        self.reserving = Some(upto);
        let write = Write {
            key: RESERVED.to_vec(),
            value: Some(upto.0.to_be_bytes().to_vec()),
        };
        out.persist(Some(0), vec![write], Durability::Synced);
    }

    fn commit(&mut self, commit: Commit, out: &mut Send) {
        let distinct: BTreeSet<&Key> = commit.writes.iter().map(|(key, _)| key).collect();
        if distinct.len() < commit.writes.len() || distinct.is_empty() {
            let told = "a commit writes at least one key, each once".to_owned();
            return answer(&commit, Err(Failure::Bad(told)), out);
        }
        let queue = self.queue.iter().flat_map(|commit| &commit.writes);
        let queued: BTreeSet<&Key> = queue.map(|(key, _)| key).collect();
        let busy = |key: &&Key| self.locked.contains(*key) || queued.contains(*key);
        if distinct.iter().any(busy) {
            self.queue.push_back(commit);
            return;
        }
        let keys: Vec<Key> = distinct.into_iter().cloned().collect();
        self.locked.extend(keys.iter().cloned());
        self.desk.ask(Query::Get { keys }, Then::Read(commit), out);
    }

    /// The rows that a commit writes are there: it gets its timestamp.
    fn stamp(&mut self, now: Nanos, commit: Commit, outcome: Outcome, out: &mut Send) {
        let rows = match outcome {
            Outcome::Found(rows) => rows,
            other => return self.refuse(commit, other.failure(), out),
        };
        let mut keys: Vec<&Key> = commit.writes.iter().map(|(key, _)| key).collect();
        keys.sort();
        let mut histories: BTreeMap<Key, History> = BTreeMap::new();
        for (key, row) in keys.into_iter().zip(rows) {
            match History::of(row) {
                Ok(history) => drop(histories.insert(key.clone(), history)),
                Err(why) => {
                    let why = format!("{}:{}: {why}", key.table, key.key);
                    out.notice(why.clone());
                    return self.refuse(commit, Failure::Bad(why), out);
                }
            }
        }
        let newest = histories.values().map(History::newest).max();
        let after = self.now(now).max(newest.unwrap_or_default());
        let stamp = Stamp(after.0.saturating_add(1));
        if stamp >= self.reserved {
            // It has fallen behind its disk.
            return self.refuse(commit, Failure::Unavailable, out);
        }
        self.clock = stamp;
        let since = Stamp(stamp.0.saturating_sub(self.config.kept_for));
        let puts = commit.writes.iter().map(|(key, value)| {
            let history = histories.remove(key).unwrap_or_default();
            Put {
                key: key.clone(),
                attributes: history.with(value.clone(), stamp, since, self.config.versions),
                condition: None,
            }
        });
        let puts: Vec<Put> = puts.collect();
        let chunks = puts.chunks(TOGETHER);
        let open = chunks.len();
        for puts in chunks {
            let puts = puts.to_vec();
            self.desk.ask(Query::Put { puts }, Then::Made(stamp), out);
        }
        let pending = Pending {
            commit,
            open,
            made: 0,
            failed: None,
        };
        self.pending.insert(stamp, pending);
    }

    /// A commit came to nothing before it had a timestamp.
    fn refuse(&mut self, commit: Commit, failure: Failure, out: &mut Send) {
        answer(&commit, Err(failure), out);
        self.unlock(&commit, out);
    }

    fn unlock(&mut self, commit: &Commit, out: &mut Send) {
        for (key, _) in &commit.writes {
            self.locked.remove(key);
        }
        for waiting in std::mem::take(&mut self.queue) {
            self.commit(waiting, out);
        }
    }

    /// The database has answered to a commit: those that all before have ended are visible now.
    fn made(&mut self, stamp: Stamp, outcome: Outcome, out: &mut Send) {
        if let Some(pending) = self.pending.get_mut(&stamp) {
            pending.open -= 1;
            match outcome {
                Outcome::Done(_) => pending.made += 1,
                other => pending.failed = Some(other.failure()),
            }
        }
        while let Some(first) = self.pending.first_entry() {
            if first.get().open > 0 {
                return;
            }
            let (stamp, pending) = first.remove_entry();
            let Pending {
                commit,
                made,
                failed,
                ..
            } = pending;
            let end = match failed {
                None => Ok(()),
                Some(why) if made > 0 => {
                    let told = format!("a part of the commit was made, then: {why}");
                    Err(Failure::Unknown(told))
                }
                Some(why) => Err(why),
            };
            if matches!(end, Ok(()) | Err(Failure::Unknown(_))) {
                self.commits += 1;
                let keys = commit.writes.iter().map(|(key, _)| key.clone());
                self.log.push_back((stamp, keys.collect()));
                if self.log.len() > self.config.commits
                    && let Some((stamp, _)) = self.log.pop_front()
                {
                    self.since = stamp;
                }
            }
            answer(&commit, end.map(|()| stamp), out);
            self.unlock(&commit, out);
        }
    }

    fn refresh(&mut self, now: Nanos, from: NodeId, since: Stamp, out: &mut Send) {
        let promise = self.promise(now);
        let known = since >= self.since;
        let first = self.log.partition_point(|(stamp, _)| *stamp <= since);
        let changed = self.log.range(first..).flat_map(|(stamp, keys)| {
            let stamp = *stamp;
            keys.iter().map(move |key| (key.clone(), stamp))
        });
        let fresh = Peer::Fresh {
            since,
            promise,
            changed: known.then(|| changed.collect()),
        };
        out.send(from, Wire::Peer(fresh));
    }
}

fn answer(commit: &Commit, end: Result<Stamp, Failure>, out: &mut Send) {
    let token = commit.token;
    out.send(commit.from, Wire::Peer(Peer::Committed { token, end }));
}

impl Node for Storage {
    type Message = Message;

    fn on_start(&mut self, now: Nanos, out: &mut Send) {
        let wait = if self.restarted { FENCE } else { 0 };
        self.fence = Some(now.saturating_add(wait));
        self.reserve(now, out);
        out.timer(LOOK, 0);
        if wait > 0 {
            out.timer(wait, 1);
        }
    }

    fn on_message(&mut self, now: Nanos, from: From, message: Message, out: &mut Send) {
        match (message, from) {
            (Wire::Bridge, _) => self.desk.bridge(from, out),
            (Wire::Outcome { token, outcome }, _) => match self.desk.answered(token) {
                Some(Then::Read(commit)) => self.stamp(now, commit, outcome, out),
                Some(Then::Made(stamp)) => self.made(stamp, outcome, out),
                None => {}
            },
            (Wire::Peer(peer), From::Node(from)) => {
                // Caches ask again; a commit is refused.
                let ready = self.fence.is_none();
                match peer {
                    Peer::Refresh { since } if ready => self.refresh(now, from, since, out),
                    Peer::Commit { token, writes } => {
                        let commit = Commit {
                            from,
                            token,
                            writes,
                        };
                        match ready {
                            true => self.commit(commit, out),
                            false => answer(&commit, Err(Failure::Unavailable), out),
                        }
                    }
                    Peer::Refresh { .. } | Peer::Fresh { .. } | Peer::Committed { .. } => {}
                }
            }
            _ => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Send) {
        if timer == 0 {
            out.timer(LOOK, 0);
            self.reserve(now, out);
        }
        if self.fence.is_some_and(|until| now >= until) && self.reserving.is_none() {
            self.fence = None;
        }
    }

    fn on_persisted(&mut self, now: Nanos, _token: u64, _out: &mut Send) {
        if let Some(upto) = self.reserving.take() {
            self.reserved = upto;
        }
        if self.fence.is_some_and(|until| now >= until) {
            self.fence = None;
        }
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Send) {}

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("commits", self.commits),
            ("pending", (self.pending.len() + self.queue.len()) as u64),
            ("remembered", self.log.len() as u64),
            ("newest", self.log.back().map_or(0, |(stamp, _)| stamp.0)),
        ]
    }
}
