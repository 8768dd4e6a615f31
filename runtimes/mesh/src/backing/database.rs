//! A node that keeps the rows and the ring in its own store: what stands behind the caches of a
//! cluster of processes.
//!
//! It registers with every server, again and again, since it cannot know when one has started anew.
//! Rows are kept in memory too and answered from there; what is replaced is answered when it is
//! durable, and read by nobody before.

use super::{item, row};
use crate::clock::Clock;
use crate::message::{Answer, Message, Question, Row};
use crate::ring::Ring;
use crate::version::Key;
use std::collections::{BTreeMap, VecDeque};
use triptych_api::model::Item;
use triptych_nodes::{Durability, Nanos, Node, NodeId, Out, Peer, Stored, Write};
use triptych_world::MS;

const RING: &[u8] = b"ring";
const ROWS: &[u8] = b"row";
const REGISTER: u64 = 0;
/// How often it says that it is there.
const EVERY: Nanos = 50 * MS;

/// See the module documentation.
pub struct Database {
    servers: Vec<NodeId>,
    ring: Option<Ring>,
    rows: BTreeMap<Key, Row>,
    next: u64,
    /// Answers that wait until what they say is durable, by the number of that, and in their order.
    answers: VecDeque<(u64, Peer, Message)>,
    /// Everything up to this number is durable.
    durable: u64,
}

fn place(key: &Key) -> Vec<u8> {
    let mut place = ROWS.to_vec();
    place.extend(postcard::to_stdvec(key).unwrap_or_default());
    place
}

impl Database {
    /// The database, from what it finds in its store.
    pub fn recover(servers: Vec<NodeId>, stored: &dyn Stored) -> Self {
        let rows = stored.scan(ROWS).filter_map(|(place, value)| {
            let key: Key = postcard::from_bytes(place.get(ROWS.len()..)?).ok()?;
            let kept: Item = postcard::from_bytes(&value).ok()?;
            Some((key.clone(), row(&key, &kept)))
        });
        let ring = stored.get(RING);
        Database {
            servers,
            ring: ring.and_then(|ring| postcard::from_bytes(&ring).ok()),
            rows: rows.collect(),
            next: 0,
            answers: VecDeque::new(),
            durable: 0,
        }
    }

    fn persist(&mut self, writes: Vec<Write>, out: &mut Out<Message>) {
        self.next += 1;
        out.persist(Some(self.next), writes, Durability::Synced);
    }

    fn answer(&mut self, question: Question, out: &mut Out<Message>) -> Answer {
        match question {
            Question::Fetch { keys } => {
                let rows = keys.iter().map(|key| self.rows.get(key).cloned());
                Answer::Rows(rows.collect())
            }
            Question::Store { rows } => {
                let clocks = rows.into_iter();
                let clocks = clocks.map(|(expected, row)| self.replace(&expected, row, out));
                Answer::Stored(clocks.collect())
            }
            Question::Ring => Answer::Ring(self.ring.clone()),
            Question::Swap { expected, ring } => {
                let epoch = self.ring.as_ref().map_or(0, |ring| ring.epoch);
                if epoch == expected {
                    let value = postcard::to_stdvec(&ring).ok();
                    let key = RING.to_vec();
                    self.ring = Some(ring);
                    self.persist(vec![Write { key, value }], out);
                }
                Answer::Ring(self.ring.clone())
            }
            Question::Survey => {
                let mut all = Clock::default();
                for row in self.rows.values() {
                    all.join(&row.counted);
                    all.join(row.entry.clock());
                }
                Answer::Surveyed(all)
            }
        }
    }

    fn replace(&mut self, expected: &Clock, row: Row, out: &mut Out<Message>) -> Clock {
        let known = self.rows.get(&row.key);
        let clock = known.map(|known| known.counted.clone()).unwrap_or_default();
        if clock != *expected {
            return clock;
        }
        let write = Write {
            key: place(&row.key),
            value: postcard::to_stdvec(&item(&row)).ok(),
        };
        let clock = row.counted.clone();
        self.rows.insert(row.key.clone(), row);
        self.persist(vec![write], out);
        clock
    }
}

impl Node for Database {
    type Message = Message;

    fn on_start(&mut self, now: Nanos, out: &mut Out<Message>) {
        self.on_timer(now, REGISTER, out);
    }

    fn on_message(&mut self, _: Nanos, from: Peer, message: Message, out: &mut Out<Message>) {
        let Message::Ask { op, question } = message else {
            return;
        };
        let answer = self.answer(question, out);
        let answer = Message::Answer { op, answer };
        // What it says may rest on what others have written and is not durable yet.
        match self.durable >= self.next {
            true => out.send(from, answer),
            false => self.answers.push_back((self.next, from, answer)),
        }
    }

    fn on_timer(&mut self, _: Nanos, _: u64, out: &mut Out<Message>) {
        for &server in &self.servers {
            out.send(server, Message::Register);
        }
        out.timer(EVERY, REGISTER);
    }

    fn on_persisted(&mut self, _: Nanos, token: u64, out: &mut Out<Message>) {
        self.durable = self.durable.max(token);
        let durable = self.durable;
        let ready = |(number, ..): &mut (u64, Peer, Message)| *number <= durable;
        while let Some((_, to, answer)) = self.answers.pop_front_if(ready) {
            out.send(to, answer);
        }
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Message>) {}

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("rows", self.rows.len() as u64),
            ("epoch", self.ring.as_ref().map_or(0, |ring| ring.epoch)),
            ("waiting", self.answers.len() as u64),
        ]
    }
}
