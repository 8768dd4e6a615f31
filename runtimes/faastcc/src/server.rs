//! A cache: the newest version of each key that was read through it, and how long it is known to be
//! valid.
//!
//! Every so often it asks the storage what was committed since. A version whose key was not is valid
//! as far as the new promise; of a key that was, the version ends there, and the new one is fetched.
//! What is missing, or does not meet a reader's interval, is read from the row in the database, which
//! has older versions too.

use crate::interval::Interval;
use crate::message::{Got, Message, Peer, Reply, Request};
use crate::stamp::{History, Stamp};
use crate::{Bug, Config};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::Value;
use triptych_mesh::Key;
use triptych_nodes::{Nanos, Node, Out, Peer as From};
use triptych_refreshed::cluster::CENTRE;
use triptych_refreshed::{Desk, Failure, Outcome, Query, Replica, Wire};
use triptych_world::{MS, SECOND};

type Send = Out<Message>;

/// A version that is cached.
#[derive(Clone, Debug)]
struct Entry {
    value: Option<Value>,
    from: Stamp,
    /// Until when it is valid; as far as is promised, if it is the last one.
    until: Option<Stamp>,
}

/// A read that is under way.
#[derive(Debug)]
struct Reading {
    client: From,
    op: u64,
    interval: Interval,
    keys: Vec<Key>,
    got: Vec<Got>,
    born: Nanos,
}

/// What is to be done with an answer of the database.
#[derive(Debug)]
enum Then {
    /// Rows for a read, and up to where the database is known to have had everything.
    Read(Reading, Vec<Key>, Stamp),
    Refresh(Vec<Key>, Stamp),
}

/// How many keys are fetched again at once.
const BATCH: usize = 100;
/// After so long the storage is asked again although it has not answered.
const AGAIN: Nanos = 50 * MS;
/// After so long a read that waits for the storage has failed, and a commit is in doubt.
const GIVE_UP: Nanos = 10 * SECOND;

/// See the module documentation.
pub struct Server {
    config: Config,
    desk: Desk<Then>,
    /// The last promise; none before the first one.
    promise: Option<Stamp>,
    /// When the storage was asked, if it has not answered.
    asked: Option<Nanos>,
    lines: BTreeMap<Key, Entry>,
    /// Keys of which there is a newer version.
    stale: BTreeSet<Key>,
    /// Keys that are being fetched, by how many.
    fetching: BTreeMap<Key, u32>,
    /// When those of them were changed last that have been changed meanwhile.
    touched: BTreeMap<Key, Stamp>,
    /// Reads for which the promise is too old.
    waiting: Vec<Reading>,
    commits: BTreeMap<u64, (From, u64, Nanos)>,
    next: u64,
    reads: u64,
    misses: u64,
    aborts: u64,
    waits: u64,
}

impl Server {
    /// A cache with nothing in it.
    pub fn new(config: Config) -> Self {
        Server {
            config,
            desk: Desk::default(),
            promise: None,
            asked: None,
            lines: BTreeMap::new(),
            stale: BTreeSet::new(),
            fetching: BTreeMap::new(),
            touched: BTreeMap::new(),
            waiting: Vec::new(),
            commits: BTreeMap::new(),
            next: 0,
            reads: 0,
            misses: 0,
            aborts: 0,
            waits: 0,
        }
    }

    fn ask(&mut self, now: Nanos, out: &mut Send) {
        let again = |asked: Nanos| now >= asked.saturating_add(AGAIN);
        if self.asked.is_none_or(again) {
            self.asked = Some(now);
            let since = self.promise.unwrap_or_default();
            out.send(CENTRE, Wire::Peer(Peer::Refresh { since }));
        }
    }

    fn fetch(&mut self, keys: &[Key]) -> Query {
        for key in keys {
            *self.fetching.entry(key.clone()).or_default() += 1;
        }
        let keys = keys.to_vec();
        Query::Get { keys }
    }

    /// When an entry is valid.
    fn when(entry: &Entry, promise: Stamp) -> Interval {
        Interval {
            low: entry.from,
            high: entry.until.unwrap_or(promise),
        }
    }

    /// Goes on with a read as far as the cache has what it needs.
    fn go_on(&mut self, now: Nanos, mut reading: Reading, out: &mut Send) {
        let Some(promise) = self
            .promise
            .filter(|&promise| promise >= reading.interval.low)
        else {
            self.waits += 1;
            self.waiting.push(reading);
            return self.ask(now, out);
        };
        while let Some(key) = reading.keys.get(reading.got.len()) {
            let entry = self.lines.get(key);
            let known = entry.map(|entry| (entry, Self::when(entry, promise)));
            let fits = known.filter(|(_, when)| when.meets(reading.interval));
            let Some((entry, when)) = fits else { break };
            let value = entry.value.clone();
            self.take(&mut reading, Got { value, when });
        }
        if reading.got.len() == reading.keys.len() {
            return reply(reading.client, reading.op, Reply::Read(reading.got), out);
        }
        // All others that are not here, and this one.
        let rest = reading.keys[reading.got.len()..].iter().enumerate();
        let rest = rest.filter(|(at, key)| *at == 0 || !self.lines.contains_key(*key));
        let keys: Vec<Key> = rest.map(|(_, key)| key.clone()).collect();
        self.misses += keys.len() as u64;
        let query = self.fetch(&keys);
        self.desk
            .ask(query, Then::Read(reading, keys, promise), out);
    }

    fn take(&self, reading: &mut Reading, got: Got) {
        if self.config.bug != Some(Bug::NeverNarrows) {
            reading.interval = reading.interval.and(got.when);
        }
        reading.got.push(got);
    }

    /// Takes rows into the cache, and gives them with up to where each is known.
    fn rows(
        &mut self,
        keys: &[Key],
        rows: Vec<Option<triptych_refreshed::Row>>,
        asked: Stamp,
    ) -> Result<Vec<(History, Stamp)>, String> {
        let promise = self.promise.unwrap_or(asked);
        let mut known = Vec::with_capacity(keys.len());
        for (key, row) in keys.iter().zip(rows) {
            // Nothing was committed to it between the question and the last promise, or something
            // was, which the row may not have.
            let touched = self.touched.get(key).filter(|&&at| at > asked);
            let touched = touched.is_some() && self.config.bug != Some(Bug::FetchedCountsAsNew);
            let upto = if touched { asked } else { promise };
            let history =
                History::of(row).map_err(|why| format!("{}:{}: {why}", key.table, key.key))?;
            if let Some(valid) = history.at(upto, upto) {
                let old = self.lines.get(key).map(|entry| entry.from);
                let last = valid.newest && !touched;
                if old.is_none_or(|old| old <= valid.when.low) {
                    let entry = Entry {
                        value: valid.value,
                        from: valid.when.low,
                        until: (!last).then_some(valid.when.high),
                    };
                    self.lines.insert(key.clone(), entry);
                }
                if !last {
                    self.stale.insert(key.clone());
                }
            }
            known.push((history, upto));
        }
        Ok(known)
    }

    fn end_fetch(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(many) = self.fetching.get_mut(key) {
                *many -= 1;
                if *many == 0 {
                    self.fetching.remove(key);
                    self.touched.remove(key);
                }
            }
        }
    }

    fn outcome(&mut self, now: Nanos, then: Then, outcome: Outcome, out: &mut Send) {
        let (keys, asked) = match &then {
            Then::Read(_, keys, asked) | Then::Refresh(keys, asked) => (keys.clone(), *asked),
        };
        let rows = match outcome {
            Outcome::Found(rows) => self.rows(&keys, rows, asked).map_err(|why| {
                out.notice(why.clone());
                Failure::Bad(why)
            }),
            other => Err(other.failure()),
        };
        self.end_fetch(&keys);
        match (then, rows) {
            (Then::Refresh(..), Ok(_)) => {}
            (Then::Refresh(keys, _), Err(_)) => self.stale.extend(keys),
            (Then::Read(reading, ..), Err(failure)) => {
                reply(reading.client, reading.op, Reply::Failed(failure), out);
            }
            (Then::Read(mut reading, keys, _), Ok(rows)) => {
                // The first one is the one that it could not go on without.
                let (Some(key), Some((history, upto))) = (keys.first(), rows.first()) else {
                    return;
                };
                // What it asks for may be after what the row is known for; it is asked again then.
                if *upto >= reading.interval.low {
                    let time = reading.interval.high.min(*upto);
                    let Some(valid) = history.at(time, *upto) else {
                        self.aborts += 1;
                        let told = format!("{}:{} is not kept that long", key.table, key.key);
                        let failed = Reply::Failed(Failure::Aborted(told));
                        return reply(reading.client, reading.op, failed, out);
                    };
                    let (value, when) = (valid.value, valid.when);
                    self.take(&mut reading, Got { value, when });
                }
                self.go_on(now, reading, out);
            }
        }
    }

    /// The storage has said what was committed, and what it promises.
    fn fresh(
        &mut self,
        now: Nanos,
        since: Stamp,
        promise: Stamp,
        changed: Option<Vec<(Key, Stamp)>>,
        out: &mut Send,
    ) {
        let known = self.promise.unwrap_or_default();
        self.asked = None;
        if since > known || promise < known {
            // An answer to a question of an earlier life, or one that was overtaken.
            return;
        }
        match changed {
            None => {
                self.lines.clear();
                self.stale.clear();
                let fetching = self.fetching.keys().cloned();
                self.touched.extend(fetching.map(|key| (key, promise)));
            }
            Some(changed) => {
                for (key, at) in changed {
                    if self.fetching.contains_key(&key) {
                        let last = self.touched.entry(key.clone()).or_insert(at);
                        *last = at.max(*last);
                    }
                    let Some(entry) = self.lines.get_mut(&key) else {
                        continue;
                    };
                    if at > entry.from {
                        // They come in the order of time, so the first one ends it.
                        entry.until.get_or_insert(at.before());
                        self.stale.insert(key);
                    }
                }
            }
        }
        self.promise = Some(promise);
        let stale = std::mem::take(&mut self.stale);
        let stale: Vec<Key> = stale.into_iter().collect();
        for keys in stale.chunks(BATCH) {
            let query = self.fetch(keys);
            self.desk
                .ask(query, Then::Refresh(keys.to_vec(), promise), out);
        }
        for reading in std::mem::take(&mut self.waiting) {
            self.go_on(now, reading, out);
        }
    }

    fn give_up(&mut self, now: Nanos, out: &mut Send) {
        let late = |born: Nanos| now >= born.saturating_add(GIVE_UP);
        let (gone, waiting): (Vec<Reading>, Vec<Reading>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|reading| late(reading.born));
        self.waiting = waiting;
        for reading in gone {
            let failed = Reply::Failed(Failure::Unavailable);
            reply(reading.client, reading.op, failed, out);
        }
        self.commits.retain(|_, (client, op, born)| {
            let late = late(*born);
            if late {
                let told = "the storage does not answer".to_owned();
                reply(*client, *op, Reply::Failed(Failure::Unknown(told)), out);
            }
            !late
        });
    }
}

fn reply(client: From, op: u64, reply: Reply, out: &mut Send) {
    out.send(client, Wire::Reply { op, reply });
}

impl Replica for Server {
    /// What is valid now, as far as it was promised.
    fn documents(&self) -> Vec<(Key, Value)> {
        let lines = self.lines.iter();
        let valid = lines.filter(|(_, entry)| entry.until.is_none());
        valid
            .map(|(key, entry)| (key.clone(), entry.value.clone().unwrap_or_default()))
            .collect()
    }
}

impl Node for Server {
    type Message = Message;

    fn on_start(&mut self, now: Nanos, out: &mut Send) {
        self.ask(now, out);
        out.timer(self.config.period, 0);
    }

    fn on_message(&mut self, now: Nanos, from: From, message: Message, out: &mut Send) {
        match (message, from) {
            (Wire::Request { op, request }, client) => match request {
                Request::Read { interval, keys } => {
                    self.reads += keys.len() as u64;
                    let reading = Reading {
                        client,
                        op,
                        interval,
                        keys,
                        got: Vec::new(),
                        born: now,
                    };
                    match interval.is_empty() {
                        true => {
                            let told = "the interval has no time in it".to_owned();
                            reply(client, op, Reply::Failed(Failure::Bad(told)), out);
                        }
                        false => self.go_on(now, reading, out),
                    }
                }
                Request::Commit { writes } => {
                    // Numbers of an earlier life are not used again: the clock says so.
                    self.next = (self.next + 1).max(now);
                    let token = self.next;
                    self.commits.insert(token, (client, op, now));
                    out.send(CENTRE, Wire::Peer(Peer::Commit { token, writes }));
                }
            },
            (Wire::Bridge, _) => self.desk.bridge(from, out),
            (Wire::Outcome { token, outcome }, _) => {
                if let Some(then) = self.desk.answered(token) {
                    self.outcome(now, then, outcome, out);
                }
            }
            (Wire::Peer(peer), From::Node(CENTRE)) => match peer {
                Peer::Fresh {
                    since,
                    promise,
                    changed,
                } => self.fresh(now, since, promise, changed, out),
                Peer::Committed { token, end } => {
                    if let Some((client, op, _)) = self.commits.remove(&token) {
                        let end = end.map_or_else(Reply::Failed, Reply::Committed);
                        reply(client, op, end, out);
                    }
                }
                Peer::Refresh { .. } | Peer::Commit { .. } => {}
            },
            _ => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, _timer: u64, out: &mut Send) {
        out.timer(self.config.period, 0);
        self.ask(now, out);
        self.give_up(now, out);
    }

    fn on_persisted(&mut self, _: Nanos, _: u64, _: &mut Send) {}

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Send) {}

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("keys", self.lines.len() as u64),
            ("stale", self.stale.len() as u64),
            ("reads", self.reads),
            ("misses", self.misses),
            ("aborts", self.aborts),
            ("waits", self.waits),
            ("asked", self.desk.open() as u64),
            ("promise", self.promise.unwrap_or_default().0),
        ]
    }
}
