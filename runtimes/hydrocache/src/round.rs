//! Conservative snapshots.
//!
//! The snapshot of a workflow is the newest line of each key in the cuts of all servers, as each was
//! when it was asked for the first time. The union of causal cuts, newest lines first, is a causal
//! cut; so whatever keys of it a workflow reads, whenever it learns that it needs them, belong
//! together, and nothing is aborted. The server where the workflow began, its *home*, makes the
//! snapshot: one round to all servers for the keys that are announced, and one more each time that a
//! function needs another one. All servers keep what it has, so functions find it wherever they run.
//!
//! There is one way to fail. A key that no server has at all is read from the database, and may be
//! newer there than the snapshot. Then the attempt is over, and the next one finds the key.

use crate::cut::Cut;
use crate::jobs::Job;
use crate::line::{Deps, Line};
use crate::message::{Got, Peer};
use crate::server::{Bug, Send, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_cached::Attempt;
use triptych_mesh::Key;
use triptych_nodes::{Nanos, NodeId, Peer as From};
use triptych_refreshed::cluster;
use triptych_refreshed::{Failure, Wire};

/// Who wants keys in a snapshot.
#[derive(Clone, Debug)]
enum Asker {
    /// A client here.
    Client(From, u64),
    /// A server, under a number of its own.
    Server(NodeId, u64),
}

/// Keys that are being added to a snapshot.
#[derive(Debug)]
pub(crate) struct Round {
    asker: Asker,
    attempt: Attempt,
    floor: Deps,
    /// What was asked for.
    keys: Vec<Key>,
    /// What the database was asked for because of the session, once.
    floored: bool,
    /// What was found of those, and of others that decide whether they fit; none where no server has
    /// any.
    found: BTreeMap<Key, Option<Arc<Line>>>,
    /// What servers are asked for just now, and how many have not answered.
    asking: Vec<Key>,
    open: usize,
    /// Those that are from the database.
    fetched: BTreeSet<Key>,
}

/// A client here waits for the snapshot's home.
#[derive(Debug)]
pub(crate) struct Extending {
    pub(crate) client: From,
    pub(crate) op: u64,
    attempt: Attempt,
    keys: Vec<Key>,
    asked: Vec<Key>,
}

/// What is next for a round.
enum Next {
    Look(Vec<Key>),
    Fetch(BTreeSet<Key>),
    Abort(Key),
    Done,
}

fn missing_in(cut: &Cut, attempt: &Attempt, keys: &[Key]) -> Vec<Key> {
    let held = cut.held(attempt);
    let missing = |key: &&Key| held.is_none_or(|pin| !pin.read.contains_key(*key));
    keys.iter().filter(missing).cloned().collect()
}

impl Server {
    /// A client here reads in a snapshot.
    #[allow(clippy::too_many_arguments, reason = "they are a request's fields")]
    pub(crate) fn snapshot(
        &mut self,
        now: Nanos,
        (client, op): (From, u64),
        attempt: Attempt,
        home: u16,
        floor: Deps,
        keys: Vec<Key>,
        out: &mut Send,
    ) {
        let missing = missing_in(&self.cut, &attempt, &keys);
        if missing.is_empty() {
            return self.tell(client, op, &attempt, &keys, out);
        }
        let home = match self.has(Bug::LooksAtOne) {
            true => self.me,
            false => home,
        };
        if home >= self.servers {
            let told = format!("there is no server {home}");
            return self.fail(client, op, Failure::Bad(told), out);
        }
        if home == self.me {
            return self.begin_round(now, Asker::Client(client, op), attempt, floor, keys, out);
        }
        let extending = Extending {
            client,
            op,
            attempt: attempt.clone(),
            keys,
            asked: missing.clone(),
        };
        let job = self.keep(now, Job::Extending(extending));
        let extend = |token| Peer::Extend {
            token,
            attempt,
            floor,
            keys: missing,
        };
        self.ask(now, job, home, extend, out);
    }

    /// Answers from a snapshot that has all of these keys.
    fn tell(&self, client: From, op: u64, attempt: &Attempt, keys: &[Key], out: &mut Send) {
        let read = self.cut.held(attempt).map(|pin| &pin.read);
        let got = keys.iter().filter_map(|key| {
            Some(Got {
                line: Arc::clone(read?.get(key)?),
                at: self.me,
                deps_at: self.me,
            })
        });
        let got: Vec<Got> = got.collect();
        match got.len() == keys.len() {
            true => self.answer(client, op, got, out),
            // Nobody believed any more that the workflow lives.
            false => self.fail(client, op, Failure::Unavailable, out),
        }
    }

    /// Another server wants keys in a snapshot of which this one is the home.
    pub(crate) fn extend(
        &mut self,
        now: Nanos,
        (from, token): (NodeId, u64),
        attempt: Attempt,
        floor: Deps,
        keys: Vec<Key>,
        out: &mut Send,
    ) {
        let asker = Asker::Server(from, token);
        self.begin_round(now, asker, attempt, floor, keys, out);
    }

    fn begin_round(
        &mut self,
        now: Nanos,
        asker: Asker,
        attempt: Attempt,
        floor: Deps,
        keys: Vec<Key>,
        out: &mut Send,
    ) {
        self.counts.rounds += 1;
        let round = Round {
            asker,
            attempt,
            floor,
            keys,
            floored: false,
            found: BTreeMap::new(),
            asking: Vec::new(),
            open: 0,
            fetched: BTreeSet::new(),
        };
        self.proceed(now, now, round, out);
    }

    /// Goes on with a round as far as it gets.
    pub(crate) fn proceed(&mut self, now: Nanos, born: Nanos, mut round: Round, out: &mut Send) {
        if self.cut.held(&round.attempt).is_none() {
            // The snapshot must have what the session has seen.
            let stable = self.feed.stable();
            let seen = round.floor.iter();
            let unseen = seen.filter(|(key, c)| !stable.covers(c) && !self.cut.covers(key, c));
            let unseen: BTreeSet<Key> = unseen.map(|(key, _)| key.clone()).collect();
            if !unseen.is_empty() {
                if round.floored {
                    return self.round_failed(round, Failure::Unavailable, out);
                }
                round.floored = true;
                let job = self.keep(born, Job::Round(round));
                return self.fetch(unseen, Some(job), out);
            }
            self.cut.pin(now, &round.attempt);
        }
        for key in &round.fetched {
            let found = round.found.get_mut(key);
            if let Some(found @ None) = found {
                *found = self.cut.current(key).cloned();
            }
        }
        match self.next(&round) {
            Next::Look(keys) => self.look(now, born, round, keys, out),
            Next::Fetch(keys) => {
                round.fetched.extend(keys.iter().cloned());
                let job = self.keep(born, Job::Round(round));
                self.fetch(keys, Some(job), out);
            }
            Next::Abort(key) => {
                self.counts.aborts += 1;
                let told = format!("{}:{} is newer than the snapshot", key.table, key.key);
                self.round_failed(round, Failure::Aborted(told), out);
            }
            Next::Done => self.finish(round, out),
        }
    }

    fn next(&self, round: &Round) -> Next {
        let missing = missing_in(&self.cut, &round.attempt, &round.keys).into_iter();
        let missing = missing.filter(|key| !round.found.contains_key(key));
        let mut look: BTreeSet<Key> = missing.collect();
        let absent = round.found.iter().filter(|(_, line)| line.is_none());
        let absent: BTreeSet<Key> = absent.map(|(key, _)| key.clone()).collect();
        if look.is_empty() && !absent.is_empty() {
            return Next::Fetch(absent);
        }
        // What is from the database must not need anything newer than the snapshot has.
        let read = self.cut.held(&round.attempt).map(|pin| &pin.read);
        for key in &round.fetched {
            let line = round.found.get(key).and_then(Option::as_ref);
            for (other, clock) in line.iter().flat_map(|line| &line.deps) {
                if self.feed.stable().covers(clock) {
                    continue;
                }
                let known = read.and_then(|read| read.get(other));
                let known = known.or_else(|| round.found.get(other)?.as_ref());
                match known {
                    Some(line) if line.clock.covers(clock) => {}
                    Some(_) => return Next::Abort(key.clone()),
                    None => drop(look.insert(other.clone())),
                }
            }
        }
        match look.is_empty() {
            true => Next::Done,
            false => Next::Look(look.into_iter().collect()),
        }
    }

    fn look(&mut self, now: Nanos, born: Nanos, mut round: Round, keys: Vec<Key>, out: &mut Send) {
        let seq = self.cut.pin(now, &round.attempt).seq;
        for key in &keys {
            let line = self.cut.at(key, seq).cloned();
            round.found.insert(key.clone(), line);
        }
        let others: Vec<u16> = match self.has(Bug::LooksAtOne) {
            true => Vec::new(),
            false => self.others().collect(),
        };
        round.open = others.len();
        round.asking.clone_from(&keys);
        if others.is_empty() {
            return self.proceed(now, born, round, out);
        }
        let attempt = round.attempt.clone();
        let job = self.keep(born, Job::Round(round));
        for server in others {
            let (attempt, keys) = (attempt.clone(), keys.clone());
            let look = |token| Peer::Look {
                token,
                attempt,
                keys,
            };
            self.ask(now, job, server, look, out);
        }
    }

    /// A server has said what it shows.
    pub(crate) fn looked(
        &mut self,
        now: Nanos,
        (number, born): (u64, Nanos),
        mut round: Round,
        lines: Vec<Option<Arc<Line>>>,
        out: &mut Send,
    ) {
        for (key, line) in round.asking.iter().zip(lines) {
            let Some(line) = line else { continue };
            let found = round.found.entry(key.clone()).or_default();
            // Of two lines of a key one is always the newer one.
            let newer = |old: &Arc<Line>| line.clock.covers(&old.clock);
            if found.as_ref().is_none_or(newer) {
                *found = Some(line);
            }
        }
        round.open = round.open.saturating_sub(1);
        match round.open {
            0 => self.proceed(now, born, round, out),
            _ => self.keep_on(number, born, Job::Round(round)),
        }
    }

    /// The snapshot has what was asked for.
    fn finish(&mut self, round: Round, out: &mut Send) {
        if self.cut.held(&round.attempt).is_none() {
            // Nobody believed any more that the workflow lives.
            return self.round_failed(round, Failure::Unavailable, out);
        }
        let Round {
            asker,
            attempt,
            keys,
            found,
            ..
        } = round;
        let mut added = Vec::new();
        let Some(pin) = self.cut.held_mut(&attempt) else {
            return;
        };
        for (key, line) in found {
            let Some(line) = line else { continue };
            // Another branch may have added it meanwhile.
            let line = pin.read.entry(key.clone()).or_insert(line);
            added.push((key, Arc::clone(line)));
        }
        let read = pin.read.clone();
        let asking = match asker {
            Asker::Client(..) => None,
            Asker::Server(node, _) => Some(node),
        };
        for server in self.others().map(cluster::server) {
            if Some(server) != asking && !added.is_empty() {
                let keep = Peer::Keep {
                    attempt: attempt.clone(),
                    lines: added.clone(),
                };
                out.send(server, Wire::Peer(keep));
            }
        }
        match asker {
            Asker::Client(client, op) => self.tell(client, op, &attempt, &keys, out),
            Asker::Server(node, token) => {
                let lines = keys.iter().map(|key| read.get(key).cloned());
                let lines = Ok(lines.collect());
                out.send(node, Wire::Peer(Peer::Lines { token, lines }));
            }
        }
    }

    /// The home has added what this server asked for.
    pub(crate) fn extended(
        &mut self,
        now: Nanos,
        extending: Extending,
        lines: Vec<Option<Arc<Line>>>,
        out: &mut Send,
    ) {
        let pin = self.cut.pin(now, &extending.attempt);
        for (key, line) in extending.asked.iter().zip(lines) {
            if let Some(line) = line {
                pin.read.entry(key.clone()).or_insert(line);
            }
        }
        let Extending {
            client,
            op,
            attempt,
            keys,
            ..
        } = extending;
        self.tell(client, op, &attempt, &keys, out);
    }

    pub(crate) fn round_failed(&mut self, round: Round, failure: Failure, out: &mut Send) {
        match round.asker {
            Asker::Client(client, op) => self.fail(client, op, failure, out),
            Asker::Server(node, token) => {
                let lines = Err(failure);
                out.send(node, Wire::Peer(Peer::Lines { token, lines }));
            }
        }
    }
}
