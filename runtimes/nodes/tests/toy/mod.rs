//! A small cluster to test drivers with: a counter that node 1 orders additions for, and that all
//! others keep copies of. An addition is answered when all have synced it.

// Each test file uses its part of it.
#![allow(dead_code)]

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_nodes::{Durability, Message, Nanos, Node, NodeId, Out, Peer, Stored, Write};

pub(crate) const PRIMARY: NodeId = NodeId(1);
const AGAIN: Nanos = 5_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Toy {
    /// A client adds something, under a number of its own that it uses again when it asks again.
    Add { op: u64, amount: u64 },
    /// The sum of all additions up to this one.
    Sum { op: u64, sum: u64 },
    /// Additions from a number on, from the primary.
    Keep { from: u64, adds: Vec<(u64, u64)> },
    /// How many a copy keeps.
    Kept { count: u64 },
    /// A client wants to see what a node's store has under a number.
    Look { at: u64 },
    /// It, as op and amount.
    Seen { at: u64, add: Option<(u64, u64)> },
    /// Something large, which is sent back.
    Echo { data: Vec<u8> },
}

impl Message for Toy {
    fn kind(&self) -> &'static str {
        match self {
            Toy::Add { .. } => "add",
            Toy::Sum { .. } => "sum",
            Toy::Keep { .. } => "keep",
            Toy::Kept { .. } => "kept",
            Toy::Look { .. } => "look",
            Toy::Seen { .. } => "seen",
            Toy::Echo { .. } => "echo",
        }
    }

    fn size(&self) -> usize {
        match self {
            Toy::Keep { adds, .. } => 16 + 16 * adds.len(),
            Toy::Echo { data } => 8 + data.len(),
            _ => 20,
        }
    }

    fn units(&self) -> usize {
        match self {
            Toy::Keep { adds, .. } => adds.len().max(1),
            _ => 1,
        }
    }
}

pub(crate) struct Counter {
    id: NodeId,
    others: Vec<NodeId>,
    adds: Vec<(u64, u64)>,
    sums: BTreeMap<u64, u64>,
    /// How many of its own additions are synced.
    synced: u64,
    /// How many each copy keeps, and how many it was sent.
    copies: BTreeMap<NodeId, (u64, u64)>,
    waiting: BTreeMap<u64, Vec<Peer>>,
    answered: u64,
    ringing: bool,
    acknowledge: bool,
    gone: u64,
}

fn key(at: u64) -> Vec<u8> {
    let mut key = b"add/".to_vec();
    key.extend(at.to_be_bytes());
    key
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

fn value((op, amount): (u64, u64)) -> Vec<u8> {
    [op.to_be_bytes(), amount.to_be_bytes()].concat()
}

fn add(value: &[u8]) -> (u64, u64) {
    (number(&value[..8]), number(&value[8..]))
}

impl Counter {
    pub(crate) fn new(id: NodeId, all: &[NodeId], stored: &dyn Stored) -> Self {
        let adds: Vec<(u64, u64)> = stored.scan(b"add/").map(|(_, value)| add(&value)).collect();
        let mut counter = Counter {
            id,
            others: all.iter().copied().filter(|other| *other != id).collect(),
            synced: adds.len() as u64,
            adds: Vec::new(),
            sums: BTreeMap::new(),
            copies: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answered: 0,
            ringing: false,
            acknowledge: false,
            gone: 0,
        };
        adds.into_iter().for_each(|add| counter.push(add));
        counter
    }

    pub(crate) fn boxed(
        id: NodeId,
        all: Vec<NodeId>,
    ) -> impl Fn(&dyn Stored) -> Box<dyn Node<Message = Toy>> {
        move |stored| Box::new(Counter::new(id, &all, stored))
    }

    fn push(&mut self, (op, amount): (u64, u64)) {
        let last = self.adds.last().map_or(0, |(op, _)| self.sums[op]);
        self.sums.insert(op, last + amount);
        self.adds.push((op, amount));
    }

    fn keep(&mut self, add: (u64, u64), out: &mut Out<Toy>) {
        let write = Write {
            key: key(self.adds.len() as u64),
            value: Some(value(add)),
        };
        self.push(add);
        let token = self.adds.len() as u64;
        out.persist(Some(token), vec![write], Durability::Synced);
    }

    fn committed(&self) -> u64 {
        let copies = self.others.iter();
        let kept = copies.map(|other| self.copies.get(other).map_or(0, |(kept, _)| *kept));
        kept.chain([self.synced]).min().unwrap_or(0)
    }
}

impl Node for Counter {
    type Message = Toy;

    fn on_start(&mut self, _now: Nanos, out: &mut Out<Toy>) {
        if self.id == PRIMARY && !self.adds.is_empty() {
            self.ringing = true;
            out.timer(AGAIN, 1);
        }
        out.notice(format!("{} starts with {}", self.id, self.adds.len()));
    }

    fn on_message(&mut self, _now: Nanos, from: Peer, message: Toy, out: &mut Out<Toy>) {
        match (message, from) {
            (Toy::Add { op, amount }, from) if self.id == PRIMARY => {
                if !self.sums.contains_key(&op) {
                    self.keep((op, amount), out);
                }
                let waiting = self.waiting.entry(op).or_default();
                if !waiting.contains(&from) {
                    waiting.push(from);
                }
                if !self.ringing {
                    self.ringing = true;
                    out.timer(AGAIN, 1);
                }
            }
            (Toy::Keep { from, adds }, _) => {
                for (at, add) in (from..).zip(adds) {
                    if at == self.adds.len() as u64 {
                        self.keep(add, out);
                    }
                }
                self.acknowledge = true;
            }
            (Toy::Kept { count }, Peer::Node(node)) => {
                let copy = self.copies.entry(node).or_default();
                copy.0 = copy.0.max(count);
                copy.1 = copy.1.max(count);
            }
            (Toy::Look { at }, Peer::Client(client)) => {
                out.read(client << 32 | at, key(at));
            }
            (echo @ Toy::Echo { .. }, from) => out.send(from, echo),
            _ => {}
        }
    }

    fn on_timer(&mut self, _now: Nanos, _timer: u64, out: &mut Out<Toy>) {
        self.ringing = self.committed() < self.adds.len() as u64;
        if self.ringing {
            for (kept, sent) in self.copies.values_mut() {
                *sent = *kept;
            }
            out.timer(AGAIN, 1);
        }
    }

    fn on_persisted(&mut self, _now: Nanos, token: u64, _out: &mut Out<Toy>) {
        self.synced = self.synced.max(token);
        self.acknowledge = true;
    }

    fn on_read(&mut self, _now: Nanos, token: u64, value: Option<Vec<u8>>, out: &mut Out<Toy>) {
        let seen = Toy::Seen {
            at: token & 0xffff_ffff,
            add: value.map(|value| add(&value)),
        };
        out.send(Peer::Client(token >> 32), seen);
    }

    fn on_turn_end(&mut self, _now: Nanos, out: &mut Out<Toy>) {
        if self.id != PRIMARY {
            if std::mem::take(&mut self.acknowledge) {
                out.send(PRIMARY, Toy::Kept { count: self.synced });
            }
            return;
        }
        for other in &self.others {
            let (_, sent) = self.copies.entry(*other).or_default();
            if *sent < self.adds.len() as u64 {
                let adds = self.adds[*sent as usize..].to_vec();
                out.send(*other, Toy::Keep { from: *sent, adds });
                *sent = self.adds.len() as u64;
            }
        }
        let committed = self.committed();
        self.answered = committed;
        let adds = &self.adds[..committed as usize];
        let ready = self.waiting.iter().filter(|(op, _)| {
            let sum = self.sums[op];
            adds.last().is_some_and(|(last, _)| sum <= self.sums[last])
        });
        let ready: Vec<u64> = ready.map(|(op, _)| *op).collect();
        for op in ready {
            let sum = self.sums[&op];
            for peer in self.waiting.remove(&op).into_iter().flatten() {
                out.send(peer, Toy::Sum { op, sum });
            }
        }
    }

    fn on_gone(&mut self, _client: u64) {
        self.gone += 1;
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![("adds", self.adds.len() as u64), ("gone", self.gone)]
    }
}

/// A cluster of the toy on some driver, as a client sees it.
pub(crate) trait Driver {
    /// Asks a node, and waits a little for the answer.
    async fn ask(&self, to: NodeId, message: Toy) -> Option<Toy>;
    /// Crashes a node.
    async fn kill(&self, id: NodeId);
    /// Starts it again.
    async fn restart(&self, id: NodeId);
}

/// Asks until there is an answer.
pub(crate) async fn insist(driver: &impl Driver, to: NodeId, message: Toy) -> Toy {
    for _ in 0..500 {
        if let Some(answer) = driver.ask(to, message.clone()).await {
            return answer;
        }
    }
    panic!("{to} does not answer {message:?}");
}

/// The same on every driver: additions count once, whatever is killed meanwhile.
pub(crate) async fn additions_count_once(driver: &impl Driver, nodes: &[NodeId]) {
    let mut expected = 0;
    for op in 1..=40_u64 {
        let message = Toy::Add { op, amount: op };
        let victim = match op {
            10 => Some(nodes[1]),
            20 => Some(PRIMARY),
            _ => None,
        };
        if let Some(victim) = victim {
            driver.kill(victim).await;
            let answer = driver.ask(PRIMARY, message.clone()).await;
            assert_eq!(
                answer, None,
                "an addition is answered only when all have it"
            );
            driver.restart(victim).await;
        }
        expected += op;
        let sum = Toy::Sum { op, sum: expected };
        assert_eq!(insist(driver, PRIMARY, message).await, sum);
    }
    for &node in nodes {
        let seen = Toy::Seen {
            at: 39,
            add: Some((40, 40)),
        };
        assert_eq!(insist(driver, node, Toy::Look { at: 39 }).await, seen);
        let nothing = Toy::Seen { at: 40, add: None };
        assert_eq!(insist(driver, node, Toy::Look { at: 40 }).await, nothing);
    }
}
