//! One cache server, which serves conservative and optimistic workflows alike: what they ask differs,
//! the cut is the same.
//!
//! What takes more than one message is a *job* (`jobs`): a read that waits for a line, or a snapshot
//! that is being made. How lines are fetched and admitted is in `fetch`, how snapshots are made in `round`,
//! how writes are made durable in `flush`.

use crate::choose::{Choice, Reading};
use crate::cut::Cut;
use crate::fetch::Fetch;
use crate::flush::{Flushing, Writing};
use crate::jobs::{Asked, Job};
use crate::line::{Line, trim};
use crate::message::{Got, Message, Peer, Reply, Request};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use triptych_api::Value;
use triptych_cached::Attempt;
use triptych_mesh::Key;
use triptych_nodes::{Nanos, Node, NodeId, Out, Peer as From, Stored};
use triptych_refreshed::cluster;
use triptych_refreshed::{Desk, Failure, Feed, News, Replica, Wire};
use triptych_world::{MS, SECOND};

/// A seeded defect, to show that checkers see it. The first ones are what the published code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// What does not fit into one refresh is forgotten (specification §13, 18).
    LosesLeftovers,
    /// What a line depends on is taken for covered without a look at its clock (§12.1).
    DepsUnchecked,
    /// Lines are shown without what they depend on.
    AdmitsAlone,
    /// Writes depend on nothing.
    WritesAlone,
    /// The writes of one workflow do not depend on each other.
    WritesApart,
    /// What a line drags in is not compared with what was read.
    DragsUnchecked,
    /// A line may be older than what the workflow or its session has seen.
    ReadsStale,
    /// Each server makes a snapshot of what it shows itself.
    LooksAtOne,
    /// What is stable does not wait for the workflows that hold older lines.
    CoversEarly,
}

/// How the servers are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often keys that were written elsewhere are fetched again.
    pub period: Nanos,
    /// How many of them at most, each time.
    pub batch: usize,
    /// How long a server keeps what it holds for a workflow of which it hears nothing. No workflow
    /// may take longer.
    pub patience: Nanos,
    /// A seeded defect.
    pub bug: Option<Bug>,
}

impl Default for Config {
    /// The published period (specification §11.1), and as many keys as one request to the database
    /// may have; the published code fetches 10, or 1 (§13, 22).
    fn default() -> Self {
        Config {
            period: 100 * MS,
            batch: 100,
            patience: 120 * SECOND,
            bug: None,
        }
    }
}

pub(crate) type Send = Out<Message>;

/// What is to be done with an answer of the database.
#[derive(Debug)]
pub(crate) enum Then {
    Fetch(u64),
    Flush(Writing),
}

/// What a server has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) aborts: u64,
    pub(crate) fetched: u64,
    pub(crate) rounds: u64,
    pub(crate) remote: u64,
    pub(crate) flushed: u64,
    /// Entries of dependencies that were written.
    pub(crate) deps: u64,
    pub(crate) expired: u64,
}

/// See the module documentation.
pub struct Server {
    pub(crate) me: u16,
    pub(crate) servers: u16,
    pub(crate) config: Config,
    pub(crate) feed: Feed,
    pub(crate) desk: Desk<Then>,
    pub(crate) cut: Cut,
    /// Written since they were fetched.
    pub(crate) stale: BTreeSet<Key>,
    /// Being fetched, by how many.
    pub(crate) fetching: BTreeMap<Key, u32>,
    /// News that are not covered here, with the state of the cut that had them all, if there is one:
    /// the first ones have.
    pub(crate) heard: VecDeque<(News, Option<u64>)>,
    pub(crate) fetches: BTreeMap<u64, Fetch>,
    pub(crate) paused: Vec<u64>,
    pub(crate) jobs: BTreeMap<u64, (Nanos, Job)>,
    pub(crate) asked: BTreeMap<u64, Asked>,
    next: u64,
    /// Keys of which a write is under way, and writes that wait for those.
    pub(crate) writing: BTreeSet<Key>,
    pub(crate) queue: VecDeque<Flushing>,
    early: Vec<(From, u64, Request)>,
    pub(crate) counts: Counts,
}

impl Server {
    /// The server of this index among so many, with an empty cache.
    pub fn new(config: Config, index: u16, servers: u16, stored: &dyn Stored) -> Self {
        let feed = Feed::new(cluster::CENTRE, index, servers, stored);
        // Answers to an earlier life are not taken for answers to this one.
        let next = u64::from(feed.slot().0) << 48;
        Server {
            me: index,
            servers,
            config,
            feed,
            desk: Desk::default(),
            cut: Cut::default(),
            stale: BTreeSet::new(),
            fetching: BTreeMap::new(),
            heard: VecDeque::new(),
            fetches: BTreeMap::new(),
            paused: Vec::new(),
            jobs: BTreeMap::new(),
            asked: BTreeMap::new(),
            next,
            writing: BTreeSet::new(),
            queue: VecDeque::new(),
            early: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What it shows.
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.config.bug == Some(bug)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The other servers.
    pub(crate) fn others(&self) -> impl Iterator<Item = u16> + use<> {
        let me = self.me;
        (0..self.servers).filter(move |&server| server != me)
    }

    fn request(&mut self, now: Nanos, client: From, op: u64, request: Request, out: &mut Send) {
        if !self.feed.ready() {
            self.early.push((client, op, request));
            return;
        }
        match request {
            Request::Read {
                attempt,
                read,
                seen,
                floor,
                keys,
            } => {
                self.counts.reads += keys.len() as u64;
                let reading = Reading {
                    attempt,
                    read,
                    seen,
                    floor,
                    keys,
                    got: Vec::new(),
                    fetched: BTreeSet::new(),
                    asked: BTreeSet::new(),
                };
                self.go_on(now, client, op, reading, out);
            }
            Request::Snapshot {
                attempt,
                home,
                floor,
                keys,
            } => {
                self.counts.reads += keys.len() as u64;
                self.snapshot(now, (client, op), attempt, home, floor, keys, out);
            }
            Request::Flush { writes, deps } => {
                self.flush(Flushing::new(client, op, writes, deps), out);
            }
            Request::End { attempt, servers } => {
                for server in servers {
                    if server != self.me && server < self.servers {
                        let attempt = attempt.clone();
                        out.send(cluster::server(server), Wire::Peer(Peer::Over { attempt }));
                    }
                }
                self.cut.unpin(&attempt);
            }
        }
    }

    /// Goes on with an optimistic read as far as it gets.
    pub(crate) fn go_on(
        &mut self,
        now: Nanos,
        client: From,
        op: u64,
        mut reading: Reading,
        out: &mut Send,
    ) {
        loop {
            let choice = reading.choose(&self.cut, self.me, self.config.bug);
            let wanted = reading.keys.get(reading.got.len()).cloned();
            match (choice, wanted) {
                (Choice::Done, _) | (_, None) => {
                    self.answer(client, op, reading.got, out);
                    return;
                }
                (Choice::Take(line), Some(key)) => {
                    let seq = self.cut.seq();
                    let looked = self.cut.held_line(&reading.attempt, &key);
                    let same = looked.is_some_and(|looked| Arc::ptr_eq(looked, &line));
                    let pin = self.cut.pin(now, &reading.attempt);
                    if !same {
                        // From now on it looks at what is shown now.
                        pin.seq = seq;
                    }
                    pin.read.entry(key).or_insert_with(|| Arc::clone(&line));
                    reading.take(&line, self.me, self.me);
                }
                (Choice::Fetch, Some(_)) => {
                    // Others that are not here are fetched with it.
                    let rest = &reading.keys[reading.got.len()..];
                    let unknown = rest.iter().enumerate();
                    let unknown = unknown.filter(|(at, key)| {
                        let held = reading.seen.contains_key(key);
                        *at == 0 || (self.cut.current(key).is_none() && !held)
                    });
                    let keys: BTreeSet<Key> = unknown.map(|(_, key)| key.clone()).collect();
                    reading.fetched.extend(keys.iter().cloned());
                    let job = Job::Read {
                        client,
                        op,
                        reading,
                    };
                    let job = self.keep(now, job);
                    self.fetch(keys, Some(job), out);
                    return;
                }
                (Choice::Ask(at), Some(key)) if at < self.servers => {
                    self.counts.remote += 1;
                    reading.asked.insert((key.clone(), at));
                    let attempt = reading.attempt.clone();
                    let job = Job::Read {
                        client,
                        op,
                        reading,
                    };
                    let job = self.keep(now, job);
                    let hold = |token| Peer::Hold {
                        token,
                        attempt,
                        key,
                    };
                    self.ask(now, job, at, hold, out);
                    return;
                }
                (Choice::Ask(at), _) => {
                    let told = format!("there is no server {at}");
                    self.fail(client, op, Failure::Bad(told), out);
                    return;
                }
                (Choice::Abort, Some(key)) => {
                    self.counts.aborts += 1;
                    let told = format!("no state of {}:{} fits", key.table, key.key);
                    self.fail(client, op, Failure::Aborted(told), out);
                    return;
                }
            }
        }
    }

    /// A server that keeps a line for an optimistic read has answered.
    pub(crate) fn was_held(
        &mut self,
        now: Nanos,
        reading: &mut Reading,
        at: u16,
        line: Option<Arc<Line>>,
    ) {
        let key = reading.keys.get(reading.got.len()).cloned();
        let (Some(line), Some(key)) = (line, key) else {
            return;
        };
        if reading.fits(&key, &line, self.config.bug) {
            let pin = self.cut.pin(now, &reading.attempt);
            pin.read.entry(key).or_insert_with(|| Arc::clone(&line));
            reading.take(&line, self.me, at);
        }
    }

    pub(crate) fn answer(&self, client: From, op: u64, got: Vec<Got>, out: &mut Send) {
        let stable = self.feed.stable().clone();
        let trimmed = got.into_iter().map(|mut got| {
            if got.line.deps.values().any(|clock| stable.covers(clock)) {
                trim(&mut Arc::make_mut(&mut got.line).deps, &stable);
            }
            got
        });
        let got = trimmed.collect();
        let reply = Reply::Read { got, stable };
        out.send(client, Wire::Reply { op, reply });
    }

    pub(crate) fn fail(&self, client: From, op: u64, failure: Failure, out: &mut Send) {
        let reply = Reply::Failed(failure);
        out.send(client, Wire::Reply { op, reply });
    }

    fn on_peer(&mut self, now: Nanos, from: NodeId, peer: Peer, out: &mut Send) {
        match peer {
            Peer::Hold {
                token,
                attempt,
                key,
            } => {
                let line = self.cut.held_line(&attempt, &key).cloned();
                let lines = Ok(vec![line]);
                out.send(from, Wire::Peer(Peer::Lines { token, lines }));
            }
            Peer::Look {
                token,
                attempt,
                keys,
            } => {
                let seq = self.cut.pin(now, &attempt).seq;
                let lines = keys.iter().map(|key| self.cut.at(key, seq).cloned());
                let lines = Ok(lines.collect());
                out.send(from, Wire::Peer(Peer::Lines { token, lines }));
            }
            Peer::Extend {
                token,
                attempt,
                floor,
                keys,
            } => self.extend(now, (from, token), attempt, floor, keys, out),
            Peer::Lines { token, lines } => self.lines(now, from, token, lines, out),
            Peer::Keep { attempt, lines } => {
                let pin = self.cut.pin(now, &attempt);
                for (key, line) in lines {
                    pin.read.entry(key).or_insert(line);
                }
            }
            Peer::Over { attempt } => drop(self.cut.unpin(&attempt)),
        }
    }

    /// Whether an attempt is known here, for tests.
    pub fn holds(&self, attempt: &Attempt) -> bool {
        self.cut.held(attempt).is_some()
    }
}

/// The timer that refreshes.
const PERIOD: u64 = 0;
/// The timer that goes on with fetches that have found something too old.
pub(crate) const PAUSED: u64 = 1;

impl Replica for Server {
    fn documents(&self) -> Vec<(Key, Value)> {
        let lines = self.cut.iter();
        lines
            .map(|(key, line)| (key.clone(), line.value.clone().unwrap_or_default()))
            .collect()
    }
}

impl Node for Server {
    type Message = Message;

    fn on_start(&mut self, _now: Nanos, out: &mut Send) {
        self.feed.start(0, out);
        out.timer(self.config.period, PERIOD);
    }

    fn on_message(&mut self, now: Nanos, from: From, message: Message, out: &mut Send) {
        match (message, from) {
            (Wire::Request { op, request }, _) => self.request(now, from, op, request, out),
            (Wire::Bridge, _) => self.desk.bridge(from, out),
            (Wire::Outcome { token, outcome }, _) => match self.desk.answered(token) {
                Some(Then::Fetch(fetch)) => self.fetched(now, fetch, outcome, out),
                Some(Then::Flush(writing)) => self.flushed(now, writing, outcome, out),
                None => {}
            },
            (Wire::Topic(topic), _) => {
                for news in self.feed.on_topic(topic) {
                    self.hear(news);
                }
                if self.feed.ready() {
                    for (client, op, request) in std::mem::take(&mut self.early) {
                        self.request(now, client, op, request, out);
                    }
                }
            }
            (Wire::Peer(peer), From::Node(from)) => self.on_peer(now, from, peer, out),
            (Wire::Peer(_) | Wire::Reply { .. } | Wire::Query { .. }, _) => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Send) {
        if timer == PERIOD {
            out.timer(self.config.period, PERIOD);
            self.refresh(out);
            self.feed.again(now, out);
            self.again(now, out);
            let expired = self.cut.expire(now.saturating_sub(self.config.patience));
            self.counts.expired += expired as u64;
        } else {
            self.unpause(out);
        }
    }

    fn on_persisted(&mut self, now: Nanos, _token: u64, out: &mut Send) {
        self.feed.placed(now, out);
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Send) {}

    fn on_turn_end(&mut self, _now: Nanos, out: &mut Send) {
        self.cover();
        self.feed.tell(out);
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let (keys, lines, pins) = self.cut.counts();
        let own = [
            ("keys", keys as u64),
            ("lines", lines as u64),
            ("workflows", pins as u64),
            ("stale", self.stale.len() as u64),
            ("uncovered", self.heard.len() as u64),
            ("jobs", self.jobs.len() as u64),
            ("writing", (self.writing.len() + self.queue.len()) as u64),
            ("reads", self.counts.reads),
            ("aborts", self.counts.aborts),
            ("fetched", self.counts.fetched),
            ("rounds", self.counts.rounds),
            ("remote", self.counts.remote),
            ("flushed", self.counts.flushed),
            ("deps", self.counts.deps),
            ("expired", self.counts.expired),
            ("asked", (self.desk.open() + self.paused.len()) as u64),
        ];
        own.into_iter().chain(self.feed.gauges()).collect()
    }
}
