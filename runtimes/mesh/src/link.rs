//! The way from a server to its successor: nothing is lost, doubled or overtaken on it.
//!
//! A driver may do all of that to messages. So everything on the link has a number, from 1 in each
//! epoch; the receiver takes it in order and acknowledges how far it has come, and what is not
//! acknowledged for a while is sent again. Nobody waits for an acknowledgement before the next frame.

use crate::message::Item;
use std::collections::{BTreeMap, VecDeque};
use triptych_nodes::Nanos;

/// So many pieces travel in one frame at most.
const FRAME: usize = 512;
/// So many pieces are sent again at once.
const AGAIN: usize = 256;
/// So many pieces that came too early are kept.
const EARLY: usize = 4_096;

/// The sending end.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// What is not acknowledged, or not sent, in order.
    items: VecDeque<Item>,
    /// The number of the first of those.
    first: u64,
    /// How many of those were sent.
    sent: usize,
    /// When the oldest of them was sent, or sent again.
    at: Nanos,
}

/// Pieces with the number of the first.
pub type Batch = (u64, Vec<Item>);

impl Outgoing {
    /// A link on which nothing was sent.
    pub fn new() -> Self {
        Outgoing {
            first: 1,
            ..Outgoing::default()
        }
    }

    /// Puts something behind all that was put there before.
    pub fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }

    /// What was not sent yet, as much as fits into one frame.
    pub fn next(&mut self, now: Nanos) -> Option<Batch> {
        let many = (self.items.len() - self.sent).min(FRAME);
        if many == 0 {
            return None;
        }
        if self.sent == 0 {
            self.at = now;
        }
        let number = self.number();
        let items = self.items.range(self.sent..self.sent + many).cloned();
        let items = items.collect();
        self.sent += many;
        Some((number, items))
    }

    /// The first of what was sent and not acknowledged, if that is long ago.
    pub fn again(&mut self, now: Nanos, after: Nanos) -> Option<Batch> {
        if self.sent == 0 || now < self.at.saturating_add(after) {
            return None;
        }
        self.at = now;
        let many = self.sent.min(AGAIN);
        Some((self.first, self.items.range(..many).cloned().collect()))
    }

    /// Everything below this number has arrived.
    pub fn acknowledged(&mut self, now: Nanos, below: u64) {
        let many = below.saturating_sub(self.first).min(self.sent as u64) as usize;
        if many > 0 {
            self.items.drain(..many);
            self.first += many as u64;
            self.sent -= many;
            self.at = now;
        }
    }

    /// The number of the next piece that is sent for the first time.
    pub fn number(&self) -> u64 {
        self.first + self.sent as u64
    }

    /// How much is not acknowledged.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether everything was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// The receiving end.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// How many pieces were taken.
    taken: u64,
    /// What came before its time.
    early: BTreeMap<u64, Item>,
}

impl Incoming {
    /// Takes a frame: gives what is in order now.
    pub fn take(&mut self, first: u64, items: Vec<Item>) -> Vec<Item> {
        let mut ready = Vec::with_capacity(items.len());
        for (number, item) in (first..u64::MAX).zip(items) {
            if number == self.next() && self.early.is_empty() {
                self.taken += 1;
                ready.push(item);
            } else if number >= self.next() && number - self.next() < EARLY as u64 {
                self.early.entry(number).or_insert(item);
            }
        }
        while let Some(item) = self.early.remove(&self.next()) {
            self.taken += 1;
            ready.push(item);
        }
        ready
    }

    /// The seeded defect: takes what comes, and never misses what should have come before it.
    pub(crate) fn take_any(&mut self, first: u64, items: Vec<Item>) -> Vec<Item> {
        let last = first.saturating_add(items.len() as u64).saturating_sub(1);
        self.taken = self.taken.max(last);
        items
    }

    /// The number of the piece that it waits for.
    pub fn next(&self) -> u64 {
        self.taken + 1
    }
}
