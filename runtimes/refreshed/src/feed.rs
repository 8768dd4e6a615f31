//! A server's side of publish/subscribe: its place, what it publishes, and the news that it hears.
//!
//! A server that starts takes a place in clocks that none ever had, so no number of a write is used
//! twice; it subscribes with it, and serves nobody before it is subscribed: what it keeps from then
//! on, it hears about. What its earlier life wrote without publishing it is never stable.

use crate::broker::{AGAIN, News, Topic};
use crate::wire::Wire;
use std::collections::BTreeMap;
use triptych_mesh::{Clock, Key, Slot};
use triptych_nodes::{Durability, Nanos, NodeId, Out, Stored, Write};

/// Where a server keeps how often it was started.
const LIVES: &[u8] = b"lives";

/// See the module documentation.
#[derive(Debug)]
pub struct Feed {
    broker: NodeId,
    slot: Slot,
    lives: u64,
    /// Whether its place is safe on its disk, so that no later life takes it again.
    placed: bool,
    /// The number of the news that comes next; none before it is subscribed.
    next: Option<u64>,
    stable: Clock,
    /// Up to where this server has covered the news.
    covered: u64,
    /// What it has told the broker.
    told: (u64, u64),
    /// Its last write's number.
    number: u64,
    /// Published and not accepted, with the time at which it was said last.
    unaccepted: BTreeMap<u64, (Nanos, News)>,
    asked: Nanos,
}

impl Feed {
    /// The server of this index among so many, by what its disk has.
    pub fn new(broker: NodeId, index: u16, servers: u16, stored: &dyn Stored) -> Self {
        let bytes = stored.get(LIVES).and_then(|bytes| bytes.try_into().ok());
        let lives = bytes.map_or(0, u64::from_be_bytes);
        let place = u64::from(index) + u64::from(servers) * lives;
        Feed {
            broker,
            slot: Slot(u16::try_from(place).unwrap_or(u16::MAX)),
            lives,
            placed: false,
            next: None,
            stable: Clock::default(),
            covered: 0,
            told: (0, 0),
            number: 0,
            unaccepted: BTreeMap::new(),
            asked: 0,
        }
    }

    /// Its place in clocks.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// What all servers have covered.
    pub fn stable(&self) -> &Clock {
        &self.stable
    }

    /// Whether the server hears of what is written, and may serve.
    pub fn ready(&self) -> bool {
        self.next.is_some()
    }

    /// The number of the next news.
    pub fn next(&self) -> u64 {
        self.next.unwrap_or(1)
    }

    /// Takes its place. [`Feed::placed`] is to be called when it is durable.
    pub fn start<Q, A, P>(&mut self, token: u64, out: &mut Out<Wire<Q, A, P>>) {
        let lives = (self.lives + 1).to_be_bytes().to_vec();
        let write = Write {
            key: LIVES.to_vec(),
            value: Some(lives),
        };
        out.persist(Some(token), vec![write], Durability::Synced);
    }

    /// Its place is its own: it subscribes.
    pub fn placed<Q, A, P>(&mut self, now: Nanos, out: &mut Out<Wire<Q, A, P>>) {
        self.placed = true;
        self.asked = now;
        let slot = self.slot;
        out.send(self.broker, Wire::Topic(Topic::Subscribe { slot }));
    }

    /// The number of a write that is about to be made. It must be published, whatever becomes of it.
    pub fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Publishes what a write wrote: nothing if it failed.
    pub fn publish<Q, A, P>(
        &mut self,
        now: Nanos,
        number: u64,
        keys: Vec<Key>,
        out: &mut Out<Wire<Q, A, P>>,
    ) {
        let slot = self.slot;
        let news = News { slot, number, keys };
        self.unaccepted.insert(number, (now, news.clone()));
        out.send(self.broker, Wire::Topic(Topic::Publish(news)));
    }

    /// The broker has said something: news that are new, in order.
    pub fn on_topic(&mut self, topic: Topic) -> Vec<News> {
        match topic {
            Topic::Subscribed { next } => {
                if self.next.is_none() {
                    self.next = Some(next);
                    self.covered = next - 1;
                    self.told = (next - 1, next - 1);
                }
            }
            Topic::Accepted { number } => drop(self.unaccepted.remove(&number)),
            Topic::Told {
                first,
                news,
                stable,
            } => {
                let Some(next) = self.next else {
                    return Vec::new();
                };
                self.stable.join(&stable);
                // With a gap before it, it will be told again.
                if first <= next {
                    let known = (next - first) as usize;
                    let news: Vec<News> = news.into_iter().skip(known).collect();
                    self.next = Some(next + news.len() as u64);
                    return news;
                }
            }
            Topic::Subscribe { .. } | Topic::Publish(_) | Topic::Covered { .. } => {}
        }
        Vec::new()
    }

    /// How far it is: the news that it has heard, and how many of its own nobody has accepted yet.
    pub fn gauges(&self) -> [(&'static str, u64); 2] {
        let unaccepted = self.unaccepted.len() as u64;
        [("heard", self.next() - 1), ("unaccepted", unaccepted)]
    }

    /// All news up to this number are covered here.
    pub fn cover(&mut self, upto: u64) {
        self.covered = self.covered.max(upto);
    }

    /// Says how far it is, if that is new; called at the end of a turn.
    pub fn tell<Q, A, P>(&mut self, out: &mut Out<Wire<Q, A, P>>) {
        let Some(next) = self.next else { return };
        let (received, covered) = (next - 1, self.covered);
        if self.told != (received, covered) {
            self.told = (received, covered);
            out.send(
                self.broker,
                Wire::Topic(Topic::Covered { received, covered }),
            );
        }
    }

    /// Says again what was perhaps lost; called every so often.
    pub fn again<Q, A, P>(&mut self, now: Nanos, out: &mut Out<Wire<Q, A, P>>) {
        if self.placed && self.next.is_none() && now >= self.asked.saturating_add(AGAIN) {
            self.placed(now, out);
        }
        for (said, news) in self.unaccepted.values_mut() {
            if now >= said.saturating_add(AGAIN) {
                *said = now;
                out.send(self.broker, Wire::Topic(Topic::Publish(news.clone())));
            }
        }
        if let (Some(next), covered) = (self.next, self.covered) {
            let received = next - 1;
            out.send(
                self.broker,
                Wire::Topic(Topic::Covered { received, covered }),
            );
        }
    }
}
