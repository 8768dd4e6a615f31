//! Fetching lines from the database and admitting them to the cut, together with what they depend on.

use crate::line::{Line, only};
use crate::server::{Bug, PAUSED, Send, Server, Then};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_mesh::Key;
use triptych_nodes::Nanos;
use triptych_refreshed::{Failure, News, Outcome, Query};
use triptych_world::MS;

/// Lines that are being fetched.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// All keys that it has asked for.
    keys: BTreeSet<Key>,
    /// What the database is asked just now.
    asking: Vec<Key>,
    got: BTreeMap<Key, Arc<Line>>,
    rounds: u32,
    /// Who waits for it.
    job: Option<u64>,
}

/// So often it is looked for dependencies of dependencies, or for one that is not there yet.
const ROUNDS: u32 = 50;
/// After so long it is looked again for what should have been there.
const PAUSE: Nanos = 5 * MS;

impl Server {
    /// Fetches some keys, and wakes the job when they are shown.
    pub(crate) fn fetch(&mut self, keys: BTreeSet<Key>, job: Option<u64>, out: &mut Send) {
        let number = self.number();
        let fetch = Fetch {
            keys: BTreeSet::new(),
            asking: Vec::new(),
            got: BTreeMap::new(),
            rounds: 0,
            job,
        };
        self.fetches.insert(number, fetch);
        self.ask_for(number, keys, out);
    }

    fn ask_for(&mut self, number: u64, keys: BTreeSet<Key>, out: &mut Send) {
        let Some(fetch) = self.fetches.get_mut(&number) else {
            return;
        };
        for key in &keys {
            if fetch.keys.insert(key.clone()) {
                *self.fetching.entry(key.clone()).or_default() += 1;
            }
        }
        self.counts.fetched += keys.len() as u64;
        fetch.asking = keys.into_iter().collect();
        fetch.rounds += 1;
        let keys = fetch.asking.clone();
        self.desk.ask(Query::Get { keys }, Then::Fetch(number), out);
    }

    /// The database has answered.
    pub(crate) fn fetched(&mut self, now: Nanos, number: u64, outcome: Outcome, out: &mut Send) {
        let Some(fetch) = self.fetches.get_mut(&number) else {
            return;
        };
        let rows = match outcome {
            Outcome::Found(rows) => rows,
            other => return self.not_fetched(now, number, other.failure(), out),
        };
        let mut damaged = None;
        for (key, row) in fetch.asking.iter().zip(rows) {
            match Line::of(row) {
                Ok(line) => drop(fetch.got.insert(key.clone(), line)),
                Err(why) => damaged = Some(format!("{}:{}: {why}", key.table, key.key)),
            }
        }
        if let Some(why) = damaged {
            out.notice(why.clone());
            return self.not_fetched(now, number, Failure::Bad(why), out);
        }
        let missing = match self.config.bug {
            Some(Bug::AdmitsAlone) => BTreeMap::new(),
            _ => self.cut.missing(&fetch.got, self.feed.stable()),
        };
        let (looked, unknown): (BTreeSet<Key>, BTreeSet<Key>) = missing
            .into_keys()
            .partition(|key| fetch.got.contains_key(key));
        let unchecked = self.config.bug == Some(Bug::DepsUnchecked);
        if unknown.is_empty() && (looked.is_empty() || unchecked) {
            self.admit(now, number, out);
        } else if fetch.rounds >= ROUNDS {
            let key = looked.first().or(unknown.first());
            let key = key.map_or(String::new(), |key| format!("{}:{}", key.table, key.key));
            out.notice(format!("{key} never becomes as new as others need it"));
            self.not_fetched(now, number, Failure::Unavailable, out);
        } else if unknown.is_empty() {
            // It was looked at before it was there.
            fetch.asking = looked.into_iter().collect();
            self.paused.push(number);
            if self.paused.len() == 1 {
                out.timer(PAUSE, PAUSED);
            }
        } else {
            self.ask_for(number, unknown.into_iter().chain(looked).collect(), out);
        }
    }

    /// Goes on with what has found something too old.
    pub(crate) fn unpause(&mut self, out: &mut Send) {
        for number in std::mem::take(&mut self.paused) {
            let asking = self.fetches.get(&number).map(|fetch| fetch.asking.clone());
            if let Some(keys) = asking {
                self.ask_for(number, keys.into_iter().collect(), out);
            }
        }
    }

    fn end(&mut self, number: u64) -> Option<Fetch> {
        let fetch = self.fetches.remove(&number)?;
        for key in &fetch.keys {
            if let Some(many) = self.fetching.get_mut(key) {
                *many -= 1;
                if *many == 0 {
                    self.fetching.remove(key);
                }
            }
        }
        Some(fetch)
    }

    fn admit(&mut self, now: Nanos, number: u64, out: &mut Send) {
        let Some(fetch) = self.end(number) else {
            return;
        };
        self.cut.admit(fetch.got);
        if let Some(job) = fetch.job {
            self.wake(now, job, Ok(()), out);
        }
    }

    fn not_fetched(&mut self, now: Nanos, number: u64, failure: Failure, out: &mut Send) {
        let Some(fetch) = self.end(number) else {
            return;
        };
        let cut = &self.cut;
        let shown = fetch.keys.into_iter();
        let shown = shown.filter(|key| cut.current(key).is_some());
        self.stale.extend(shown);
        if let Some(job) = fetch.job {
            self.wake(now, job, Err(failure), out);
        }
    }

    /// Something was written.
    pub(crate) fn hear(&mut self, news: News) {
        let clock = only(news.slot, news.number);
        for key in &news.keys {
            let old = match self.cut.current(key) {
                Some(line) => !line.clock.covers(&clock),
                None => false,
            };
            // What is being fetched may have been looked at before.
            if old || self.fetching.contains_key(key) {
                self.stale.insert(key.clone());
            }
        }
        self.heard.push_back((news, None));
    }

    /// Fetches again what was written, as much as fits.
    pub(crate) fn refresh(&mut self, out: &mut Send) {
        let (cut, fetching) = (&self.cut, &self.fetching);
        self.stale
            .retain(|key| cut.current(key).is_some() || fetching.contains_key(key));
        let shown = self.stale.iter().filter(|key| cut.current(key).is_some());
        let keys: BTreeSet<Key> = shown.take(self.config.batch).cloned().collect();
        self.stale.retain(|key| !keys.contains(key));
        if self.has(Bug::LosesLeftovers) {
            self.stale.clear();
        }
        if !keys.is_empty() {
            self.fetch(keys, None, out);
        }
    }

    /// Says of which news nothing older is shown or held here any more.
    pub(crate) fn cover(&mut self) {
        if self.heard.is_empty() {
            return;
        }
        let first = self.heard.iter().position(|(_, state)| state.is_none());
        let mut at = first.unwrap_or(self.heard.len());
        while let Some((news, state)) = self.heard.get_mut(at) {
            let clock = only(news.slot, news.number);
            // Fetched since it was heard, or known to be in what was fetched before.
            let shown = news.keys.iter().all(|key| {
                self.cut.covers(key, &clock)
                    || !self.stale.contains(key) && !self.fetching.contains_key(key)
            });
            if !shown {
                break;
            }
            *state = Some(self.cut.seq());
            at += 1;
        }
        let early = self.config.bug == Some(Bug::CoversEarly);
        while let Some((_, Some(state))) = self.heard.front() {
            if !early && self.cut.is_held_before(*state) {
                return;
            }
            let number = self.feed.next() - self.heard.len() as u64;
            self.heard.pop_front();
            self.feed.cover(number);
        }
    }
}
