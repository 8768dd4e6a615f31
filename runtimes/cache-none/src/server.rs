//! The plain cache: one server.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::Map;
use triptych_api::{Change, Condition, Name, Updated, Value};
use triptych_mesh::Key;
use triptych_nodes::{Nanos, Node, NodeId, Out, Peer, Stored};
use triptych_refreshed::broker::Topic;
use triptych_refreshed::database::{changes_size, key_size};
use triptych_refreshed::wire::Never;
use triptych_refreshed::{Answer, Desk, Failure, Feed, Outcome, Part, Put, Query, Replica, Wire};
use triptych_site::VALUE;

/// What clients ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The documents of some keys, as far as there are any, each as new as the cache has it.
    Read {
        /// The keys.
        keys: Vec<Key>,
    },
    /// Replaces a document.
    Write {
        /// Its key.
        key: Key,
        /// The document.
        value: Value,
    },
    /// Changes a document in the database.
    Update {
        /// Its key.
        key: Key,
        /// What must hold of it; none holds always.
        condition: Option<Condition>,
        /// The changes.
        changes: Vec<Change>,
    },
}

/// What clients are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Of [`Request::Read`]: in the order of the keys.
    Read(Vec<Option<Value>>),
    /// Of [`Request::Write`].
    Written,
    /// Of [`Request::Update`].
    Updated(Updated),
    /// It was not done.
    Failed(Failure),
}

impl Part for Request {
    fn kind(&self) -> &'static str {
        match self {
            Request::Read { .. } => "read",
            Request::Write { .. } => "write",
            Request::Update { .. } => "update",
        }
    }

    fn size(&self) -> usize {
        match self {
            Request::Read { keys } => keys.iter().map(key_size).sum(),
            Request::Write { key, value } => key_size(key) + value.size(),
            Request::Update { key, changes, .. } => key_size(key) + changes_size(changes),
        }
    }

    fn units(&self) -> usize {
        match self {
            Request::Read { keys } => keys.len().max(1),
            _ => 1,
        }
    }
}

impl Part for Reply {
    fn kind(&self) -> &'static str {
        "reply"
    }

    fn size(&self) -> usize {
        match self {
            Reply::Read(values) => values.iter().flatten().map(|v| v.size() + 1).sum(),
            _ => 2,
        }
    }
}

impl Answer for Reply {
    fn failure(&self) -> Option<&Failure> {
        match self {
            Reply::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// What the plain cache's nodes speak.
pub type Message = Wire<Request, Reply, Never>;
type Send = Out<Message>;

/// How a plain cache is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often keys that were written elsewhere are fetched again.
    pub period: Nanos,
}

/// What is to be done with an answer of the database.
#[derive(Debug)]
enum Then {
    /// These keys were missing for a read.
    Read {
        client: Peer,
        op: u64,
        keys: Vec<Key>,
        missing: Vec<Key>,
    },
    Refresh(Vec<Key>),
    Write {
        client: Peer,
        op: u64,
        number: u64,
        key: Key,
    },
}

/// How many keys are fetched again at once.
const BATCH: usize = 100;

/// See the module documentation.
pub struct Server {
    config: Config,
    feed: Feed,
    desk: Desk<Then>,
    /// What it has of keys: none if the database has no document.
    lines: BTreeMap<Key, Option<Value>>,
    /// Written since they were asked for.
    stale: BTreeSet<Key>,
    /// Being fetched, by how many.
    fetching: BTreeMap<Key, u32>,
    /// Requests that came before it could serve.
    early: Vec<(Peer, u64, Request)>,
    reads: u64,
    misses: u64,
    refreshed: u64,
}

impl Server {
    /// The server of this index among so many, with an empty cache.
    pub fn new(
        config: Config,
        broker: NodeId,
        index: u16,
        servers: u16,
        stored: &dyn Stored,
    ) -> Self {
        Server {
            config,
            feed: Feed::new(broker, index, servers, stored),
            desk: Desk::default(),
            lines: BTreeMap::new(),
            stale: BTreeSet::new(),
            fetching: BTreeMap::new(),
            early: Vec::new(),
            reads: 0,
            misses: 0,
            refreshed: 0,
        }
    }

    fn request(&mut self, client: Peer, op: u64, request: Request, out: &mut Send) {
        if !self.feed.ready() {
            self.early.push((client, op, request));
            return;
        }
        let (query, then) = match request {
            Request::Read { keys } => {
                self.reads += keys.len() as u64;
                let cached = |key: &&Key| !self.lines.contains_key(*key);
                let missing: Vec<Key> = keys.iter().filter(cached).cloned().collect();
                if missing.is_empty() {
                    let values = keys.iter().map(|key| self.lines[key].clone()).collect();
                    reply(client, op, Reply::Read(values), out);
                    return;
                }
                self.misses += missing.len() as u64;
                for key in &missing {
                    *self.fetching.entry(key.clone()).or_default() += 1;
                }
                let query = Query::Get {
                    keys: missing.clone(),
                };
                let then = Then::Read {
                    client,
                    op,
                    keys,
                    missing,
                };
                (query, then)
            }
            Request::Write { key, value } => {
                let put = Put {
                    key: key.clone(),
                    attributes: Map::from([(Name::from(VALUE), value)]),
                    condition: None,
                };
                (Query::Put { puts: vec![put] }, self.write(client, op, key))
            }
            Request::Update {
                key,
                condition,
                changes,
            } => {
                let then = self.write(client, op, key.clone());
                let query = Query::Change {
                    key,
                    condition,
                    changes,
                };
                (query, then)
            }
        };
        self.desk.ask(query, then, out);
    }

    fn write(&mut self, client: Peer, op: u64, key: Key) -> Then {
        Then::Write {
            client,
            op,
            number: self.feed.number(),
            key,
        }
    }

    fn fill(&mut self, keys: Vec<Key>, rows: Vec<Option<Map>>) {
        for (key, row) in keys.into_iter().zip(rows) {
            let document = row.and_then(|mut row| row.remove(VALUE));
            self.lines.insert(key, document);
        }
    }

    fn outcome(&mut self, now: Nanos, then: Then, outcome: Outcome, out: &mut Send) {
        if let Then::Read { missing: keys, .. } | Then::Refresh(keys) = &then {
            for key in keys {
                let fetches = self.fetching.get_mut(key);
                if fetches.is_some_and(|fetches| {
                    *fetches -= 1;
                    *fetches == 0
                }) {
                    self.fetching.remove(key);
                }
            }
        }
        match (then, outcome) {
            (
                Then::Read {
                    client,
                    op,
                    keys,
                    missing,
                },
                Outcome::Found(rows),
            ) => {
                self.fill(missing, rows);
                let value = |key: &Key| self.lines.get(key).cloned().flatten();
                let values = keys.iter().map(value).collect();
                reply(client, op, Reply::Read(values), out);
            }
            (Then::Refresh(keys), Outcome::Found(rows)) => {
                self.refreshed += keys.len() as u64;
                self.fill(keys, rows);
            }
            (Then::Refresh(keys), _) => self.stale.extend(keys),
            (
                Then::Write {
                    client,
                    op,
                    number,
                    key,
                },
                outcome,
            ) => {
                let (written, end) = match outcome {
                    Outcome::Done(row) => {
                        let row = row.and_then(|mut row| row.remove(VALUE));
                        (Some(row), Reply::Written)
                    }
                    Outcome::Changed(updated, document) => {
                        (Some(document), Reply::Updated(updated))
                    }
                    other => (None, Reply::Failed(other.failure())),
                };
                let done = written.is_some() || matches!(end, Reply::Failed(Failure::Unknown(_)));
                if let Some(document) = written {
                    self.lines.insert(key.clone(), document);
                }
                let keys = if done { vec![key] } else { Vec::new() };
                self.feed.publish(now, number, keys, out);
                reply(client, op, end, out);
            }
            (Then::Read { client, op, .. }, other) => {
                reply(client, op, Reply::Failed(other.failure()), out);
            }
        }
    }

    fn topic(&mut self, topic: Topic, out: &mut Send) {
        for news in self.feed.on_topic(topic) {
            // Also what it has written itself: a fetch may have been under way meanwhile.
            let kept = news
                .keys
                .into_iter()
                .filter(|key| self.lines.contains_key(key) || self.fetching.contains_key(key));
            self.stale.extend(kept);
        }
        // Nothing depends on what is covered here, so what was heard counts.
        self.feed.cover(self.feed.next() - 1);
        if self.feed.ready() {
            for (client, op, request) in std::mem::take(&mut self.early) {
                self.request(client, op, request, out);
            }
        }
    }

    fn refresh(&mut self, out: &mut Send) {
        let (lines, fetching) = (&self.lines, &self.fetching);
        // What is being fetched waits for the next time: of two answers the older one may come last.
        let (waits, free): (BTreeSet<Key>, BTreeSet<Key>) = std::mem::take(&mut self.stale)
            .into_iter()
            .partition(|key| fetching.contains_key(key));
        let kept = free.into_iter().filter(|key| lines.contains_key(key));
        let kept: Vec<Key> = kept.collect();
        self.stale = waits;
        for key in &kept {
            *self.fetching.entry(key.clone()).or_default() += 1;
        }
        for keys in kept.chunks(BATCH) {
            let keys = keys.to_vec();
            let query = Query::Get { keys: keys.clone() };
            self.desk.ask(query, Then::Refresh(keys), out);
        }
    }
}

fn reply(client: Peer, op: u64, reply: Reply, out: &mut Send) {
    out.send(client, Wire::Reply { op, reply });
}

impl Replica for Server {
    fn documents(&self) -> Vec<(Key, Value)> {
        let lines = self.lines.iter();
        lines
            .map(|(key, document)| (key.clone(), document.clone().unwrap_or_default()))
            .collect()
    }
}

impl Node for Server {
    type Message = Message;

    fn on_start(&mut self, _now: Nanos, out: &mut Send) {
        self.feed.start(0, out);
        out.timer(self.config.period, 0);
    }

    fn on_message(&mut self, now: Nanos, from: Peer, message: Message, out: &mut Send) {
        match message {
            Wire::Request { op, request } => self.request(from, op, request, out),
            Wire::Bridge => self.desk.bridge(from, out),
            Wire::Outcome { token, outcome } => {
                if let Some(then) = self.desk.answered(token) {
                    self.outcome(now, then, outcome, out);
                }
            }
            Wire::Topic(topic) => self.topic(topic, out),
            Wire::Reply { .. } | Wire::Query { .. } => {}
            Wire::Peer(never) => match never {},
        }
    }

    fn on_timer(&mut self, now: Nanos, _timer: u64, out: &mut Send) {
        out.timer(self.config.period, 0);
        self.refresh(out);
        self.feed.again(now, out);
    }

    fn on_persisted(&mut self, now: Nanos, _token: u64, out: &mut Send) {
        self.feed.placed(now, out);
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Send) {}

    fn on_turn_end(&mut self, _now: Nanos, out: &mut Send) {
        self.feed.tell(out);
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let own = [
            ("keys", self.lines.len() as u64),
            ("reads", self.reads),
            ("misses", self.misses),
            ("refreshed", self.refreshed),
            ("stale", self.stale.len() as u64),
            ("asked", self.desk.open() as u64),
        ];
        own.into_iter().chain(self.feed.gauges()).collect()
    }
}
