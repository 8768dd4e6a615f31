//! Making a workflow's writes durable, and visible all together.
//!
//! A workflow's writes are made by one transaction of the database, and depend on each other; so a
//! cut that has one has all. If there are more than a transaction takes, the later ones depend on the
//! earlier ones too, and not the other way round.

use crate::line::{Deps, Line, attributes, demand, only, trim};
use crate::message::Reply;
use crate::server::{Bug, Send, Server, Then};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::Value;
use triptych_mesh::{Clock, Key};
use triptych_nodes::{Nanos, Peer as From};
use triptych_refreshed::{Failure, Outcome, Put, Query, Row, Wire};

/// How many rows a transaction of the database takes in any of its versions.
const TOGETHER: usize = 25;

/// Writes that are to be made.
#[derive(Debug)]
pub(crate) struct Flushing {
    client: From,
    op: u64,
    writes: Vec<(Key, Value)>,
    deps: Deps,
    /// Of those that were made.
    clocks: Vec<Clock>,
}

impl Flushing {
    pub(crate) fn new(client: From, op: u64, writes: Vec<(Key, Value)>, deps: Deps) -> Self {
        Flushing {
            client,
            op,
            writes,
            deps,
            clocks: Vec::new(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.writes.iter().map(|(key, _)| key)
    }
}

/// Writes of which some are being made.
#[derive(Debug)]
pub(crate) struct Writing {
    flushing: Flushing,
    number: u64,
    /// How many are under way.
    many: usize,
}

impl Server {
    /// A workflow's writes have come. They wait for those of the same keys that came before.
    pub(crate) fn flush(&mut self, flushing: Flushing, out: &mut Send) {
        let distinct: BTreeSet<&Key> = flushing.keys().collect();
        if distinct.len() < flushing.writes.len() {
            let told = "a key is written twice".to_owned();
            return self.fail(flushing.client, flushing.op, Failure::Bad(told), out);
        }
        let busy = |key: &Key| {
            self.writing.contains(key) || self.queue.iter().any(|f| f.keys().any(|k| k == key))
        };
        if flushing.keys().any(busy) {
            self.queue.push_back(flushing);
            return;
        }
        self.writing.extend(flushing.keys().cloned());
        self.write_on(flushing, out);
    }

    /// Makes the next ones of some writes.
    fn write_on(&mut self, flushing: Flushing, out: &mut Send) {
        let done = flushing.clocks.len();
        let chunk = &flushing.writes[done..];
        let chunk = &chunk[..chunk.len().min(TOGETHER)];
        if chunk.is_empty() {
            let reply = Reply::Flushed {
                clocks: flushing.clocks.clone(),
                stable: self.feed.stable().clone(),
            };
            let op = flushing.op;
            out.send(flushing.client, Wire::Reply { op, reply });
            return self.written(&flushing, out);
        }
        let number = self.feed.number();
        let own = only(self.feed.slot(), number);
        let mut deps = match self.config.bug {
            Some(Bug::WritesAlone) => Deps::new(),
            _ => flushing.deps.clone(),
        };
        for ((key, _), clock) in flushing.writes.iter().zip(&flushing.clocks) {
            demand(&mut deps, key, clock);
        }
        trim(&mut deps, self.feed.stable());
        let puts = chunk.iter().map(|(key, value)| {
            let mut all = deps.clone();
            if !self.has(Bug::WritesApart) {
                chunk
                    .iter()
                    .for_each(|(key, _)| demand(&mut all, key, &own));
            }
            // What it replaces is counted by the row's clock.
            all.remove(key);
            Put {
                key: key.clone(),
                attributes: attributes(value.clone(), &all, self.feed.slot(), number),
                condition: None,
            }
        });
        let puts: Vec<Put> = puts.collect();
        let many = puts.len();
        self.counts.flushed += many as u64;
        self.counts.deps += (deps.len() * many) as u64;
        let writing = Writing {
            flushing,
            number,
            many,
        };
        self.desk
            .ask(Query::Put { puts }, Then::Flush(writing), out);
    }

    /// The database has answered.
    pub(crate) fn flushed(
        &mut self,
        now: Nanos,
        writing: Writing,
        outcome: Outcome,
        out: &mut Send,
    ) {
        let Writing {
            mut flushing,
            number,
            many,
        } = writing;
        let done = flushing.clocks.len();
        let keys: Vec<Key> = flushing.keys().skip(done).take(many).cloned().collect();
        match outcome {
            Outcome::Done(row) => {
                if let (Some(row), [key]) = (row, keys.as_slice()) {
                    self.show(key, row);
                }
                self.feed.publish(now, number, keys, out);
                let own = only(self.feed.slot(), number);
                flushing.clocks.extend((0..many).map(|_| own.clone()));
                self.write_on(flushing, out);
            }
            other => {
                let why = other.failure();
                let doubt = matches!(why, Failure::Unknown(_));
                let keys = if doubt { keys } else { Vec::new() };
                self.feed.publish(now, number, keys, out);
                let why = match done > 0 {
                    true => Failure::Unknown(format!("{done} writes were made, then: {why}")),
                    false => why,
                };
                self.fail(flushing.client, flushing.op, why, out);
                self.written(&flushing, out);
            }
        }
    }

    /// Shows a row as the database says that it is now, if all that it depends on is shown.
    fn show(&mut self, key: &Key, row: Row) {
        let Ok(line) = Line::of(Some(row)) else {
            return;
        };
        let lines = BTreeMap::from([(key.clone(), line)]);
        if self.cut.missing(&lines, self.feed.stable()).is_empty() {
            self.cut.admit(lines);
        }
    }

    /// Some writes are over, however they ended: those that waited for them go on.
    fn written(&mut self, flushing: &Flushing, out: &mut Send) {
        for key in flushing.keys() {
            self.writing.remove(key);
        }
        for waiting in std::mem::take(&mut self.queue) {
            self.flush(waiting, out);
        }
    }
}
