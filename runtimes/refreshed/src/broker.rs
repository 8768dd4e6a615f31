//! Publish/subscribe: which keys were written.
//!
//! Servers publish the keys that they have written to the database; the broker numbers what comes
//! and tells all servers, in order, again until they have it. Servers also say up to which number
//! they have *covered* the news: nothing that they show or hold is older. What all have covered is
//! *stable*, which travels with the news: nobody anywhere can be shown anything older any more, so
//! who depends on no more than that depends on nothing.
//!
//! The broker is one process without a disk, as the one of the published experiments is. If it is
//! lost, caches do not hear of writes any more.

use crate::database::key_size;
use crate::wire::{Part, Wire};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;
use triptych_mesh::{Clock, Key, Slot};
use triptych_nodes::{Nanos, Node, NodeId, Out, Peer};
use triptych_world::MS;

/// Writes of one server that were made together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Who has written.
    pub slot: Slot,
    /// Which of its writes, from 1.
    pub number: u64,
    /// The keys.
    pub keys: Vec<Key>,
}

/// What servers and the broker say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topic {
    /// A server, known by its place in clocks, wants all news from now on.
    Subscribe {
        /// A place that no server ever had before.
        slot: Slot,
    },
    /// It gets them, from this number on.
    Subscribed {
        /// The number.
        next: u64,
    },
    /// A server has written something. It says so until it is accepted.
    Publish(News),
    /// The broker has that.
    Accepted {
        /// The write's number.
        number: u64,
    },
    /// News in order.
    Told {
        /// The number of the first one, from 1.
        first: u64,
        /// They.
        news: Vec<News>,
        /// What all servers have covered.
        stable: Clock,
    },
    /// How far a server is.
    Covered {
        /// It has news up to this number.
        received: u64,
        /// It has covered them up to this one.
        covered: u64,
    },
}

impl Topic {
    /// What kind of message it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Topic::Subscribe { .. } | Topic::Subscribed { .. } => "subscribe",
            Topic::Publish(_) => "publish",
            Topic::Accepted { .. } => "accepted",
            Topic::Told { .. } => "news",
            Topic::Covered { .. } => "covered",
        }
    }

    /// About its bytes on the wire.
    pub fn size(&self) -> usize {
        let keys = |news: &News| news.keys.iter().map(key_size).sum::<usize>();
        match self {
            Topic::Publish(news) => 8 + keys(news),
            Topic::Told { news, stable, .. } => {
                let sizes = news.iter().map(|news| 8 + keys(news));
                8 + 3 * stable.width() + sizes.sum::<usize>()
            }
            _ => 8,
        }
    }

    /// How many pieces of news it carries.
    pub fn units(&self) -> usize {
        match self {
            Topic::Told { news, .. } => news.len().max(1),
            _ => 1,
        }
    }
}

/// After so long without an answer something is said again.
pub(crate) const AGAIN: Nanos = 50 * MS;

/// How far a subscriber is.
struct Subscriber {
    slot: Slot,
    /// What it was told when it subscribed.
    start: u64,
    sent: u64,
    received: u64,
    covered: u64,
    /// When something was sent to it last.
    told: Nanos,
    /// What it was told is stable.
    stable: Clock,
}

/// Which writes of a server are covered: all up to a number, and some beyond.
#[derive(Default)]
struct Done {
    upto: u64,
    beyond: BTreeSet<u64>,
}

impl Done {
    /// Whether it is news.
    fn add(&mut self, number: u64) -> bool {
        if number <= self.upto || !self.beyond.insert(number) {
            return false;
        }
        while self.beyond.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
        true
    }
}

/// See the module documentation.
pub struct Broker<Q, A, P> {
    subscribers: BTreeMap<NodeId, Subscriber>,
    /// What not all have covered; the first one has this number.
    log: VecDeque<News>,
    first: u64,
    /// What was published, and what of that is covered, of each server.
    published: BTreeMap<Slot, Done>,
    covered: BTreeMap<Slot, Done>,
    stable: Clock,
    speaks: PhantomData<Wire<Q, A, P>>,
}

impl<Q, A, P> Default for Broker<Q, A, P> {
    fn default() -> Self {
        Broker {
            subscribers: BTreeMap::new(),
            log: VecDeque::new(),
            first: 1,
            published: BTreeMap::new(),
            covered: BTreeMap::new(),
            stable: Clock::default(),
            speaks: PhantomData,
        }
    }
}

impl<Q, A, P> Broker<Q, A, P> {
    fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// Forgets what all have covered.
    fn cover(&mut self) {
        let all = self.subscribers.values().map(|known| known.covered).min();
        let Some(all) = all else { return };
        while self.first <= all {
            let Some(news) = self.log.pop_front() else {
                return;
            };
            self.first += 1;
            let done = self.covered.entry(news.slot).or_default();
            done.add(news.number);
            self.stable.raise(news.slot, done.upto);
        }
    }
}

impl<Q: Part, A: Part, P: Part> Broker<Q, A, P> {
    /// Tells subscribers what they were not told, or did not get.
    fn tell(&mut self, now: Nanos, out: &mut Out<Wire<Q, A, P>>) {
        let end = self.end();
        for (&node, known) in &mut self.subscribers {
            if known.received + 1 < known.sent && now >= known.told.saturating_add(AGAIN) {
                known.sent = known.received + 1;
            }
            if known.sent >= end && known.stable == self.stable {
                continue;
            }
            // What is before the first one is covered by all, also by this one.
            let from = known.sent.max(self.first);
            let news = self.log.iter().skip((from - self.first) as usize);
            let told = Topic::Told {
                first: from,
                news: news.cloned().collect(),
                stable: self.stable.clone(),
            };
            known.sent = end;
            known.told = now;
            known.stable = self.stable.clone();
            out.send(node, Wire::Topic(told));
        }
    }
}

impl<Q: Part, A: Part, P: Part> Node for Broker<Q, A, P> {
    type Message = Wire<Q, A, P>;

    fn on_start(&mut self, _now: Nanos, out: &mut Out<Self::Message>) {
        out.timer(AGAIN, 0);
    }

    fn on_message(
        &mut self,
        now: Nanos,
        from: Peer,
        message: Self::Message,
        out: &mut Out<Self::Message>,
    ) {
        let (Peer::Node(node), Wire::Topic(topic)) = (from, message) else {
            return;
        };
        match topic {
            Topic::Subscribe { slot } => {
                let end = self.end();
                let known = self.subscribers.get(&node);
                // Said again, or late by a server that was replaced.
                let old = known.filter(|known| known.slot >= slot);
                let next = old.map_or(end, |known| known.start);
                if old.is_none() {
                    let known = Subscriber {
                        slot,
                        start: end,
                        sent: end,
                        received: end - 1,
                        covered: end - 1,
                        told: now,
                        stable: Clock::default(),
                    };
                    self.subscribers.insert(node, known);
                }
                out.send(node, Wire::Topic(Topic::Subscribed { next }));
                self.cover();
            }
            Topic::Publish(news) => {
                let number = news.number;
                if self
                    .published
                    .entry(news.slot)
                    .or_default()
                    .add(news.number)
                {
                    self.log.push_back(news);
                }
                out.send(node, Wire::Topic(Topic::Accepted { number }));
            }
            Topic::Covered { received, covered } => {
                let end = self.end();
                let Some(known) = self.subscribers.get_mut(&node) else {
                    return;
                };
                // Late ones say less, and nobody can have more than there is.
                known.received = known.received.max(received.min(end - 1));
                known.covered = known.covered.max(covered.min(known.received));
                self.cover();
            }
            Topic::Subscribed { .. } | Topic::Accepted { .. } | Topic::Told { .. } => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, _timer: u64, out: &mut Out<Self::Message>) {
        out.timer(AGAIN, 0);
        self.tell(now, out);
    }

    fn on_persisted(&mut self, _: Nanos, _: u64, _: &mut Out<Self::Message>) {}

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Self::Message>) {}

    fn on_turn_end(&mut self, now: Nanos, out: &mut Out<Self::Message>) {
        // News goes out at once; what is stable may wait for the next news or the timer.
        let end = self.end();
        if self.subscribers.values().any(|known| known.sent < end) {
            self.tell(now, out);
        }
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("subscribers", self.subscribers.len() as u64),
            ("news", self.end() - 1),
            ("uncovered", self.log.len() as u64),
        ]
    }
}
