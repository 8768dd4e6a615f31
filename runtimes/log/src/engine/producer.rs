//! Appends: an engine numbers the records that it is given, sends them to all holders of its shard at
//! once, and answers when a cut has ordered them.
//!
//! Each shard of the newest view is a [`Sending`]; when a view ends it becomes an [`Ending`]. Cuts are
//! self-contained, so the engine needs only those that order records of its own, in any
//! order: one that begins beyond what is applied waits for what is between, which is fetched.
//!
//! *When a view ends* the engine must know of each record that it has appended in it whether it was
//! ordered; the next view says how many entries the metalog has in all, and gives the last ones. What
//! lies before them is fetched if it may matter. Then what was ordered is answered, and the rest,
//! which nobody will ever order, is appended again in the newest view, under local ids of its own.

use super::ending::Ending;
use super::sending::{Ordered, Pending, Sending};
use super::turn::{Turn, Waiter};
use crate::{EVERY, Entry, Failure, Limits, Message, Record, Shard, Tag, Term, View};
use std::collections::VecDeque;
use std::sync::Arc;
use triptych_nodes::NodeId;

/// Appends of all logs.
#[derive(Debug, Default)]
pub(super) struct Producer {
    /// In the newest view, by log; empty if the engine is not in it.
    shards: Vec<Sending>,
    /// Of earlier views, until it is known what was ordered.
    ended: Vec<Ending>,
    /// Appends that wait for a view with this engine.
    held: VecDeque<Pending>,
    /// Bytes of records that are not ordered.
    bytes: usize,
    ordered: u64,
    resent: u64,
}

/// Why a record cannot be appended.
///
/// # Errors
/// [`Failure::Bad`].
pub(super) fn check(record: &Record, limits: &Limits) -> Result<(), Failure> {
    let bad = |why: String| Err(Failure::Bad(why));
    let tags = &record.tags;
    if !tags.is_sorted_by(|a, b| a < b) {
        return bad("tags must be sorted, each once".to_owned());
    }
    if tags.first() == Some(&EVERY) || tags.last() == Some(&Tag::MAX) {
        return bad(format!("{EVERY} and {} are no tags", Tag::MAX));
    }
    if record.condition.is_some_and(|on| on.tag == Tag::MAX) {
        return bad(format!("{} is no stream", Tag::MAX));
    }
    if record.size() > limits.record_bytes {
        let limit = limits.record_bytes;
        return bad(format!("a record may have {limit} bytes with its tags"));
    }
    Ok(())
}

impl Producer {
    /// Bytes that are not ordered, records that were ordered, and those that were sent again.
    pub(super) fn gauges(&self) -> (u64, u64, u64) {
        (self.bytes as u64, self.ordered, self.resent)
    }

    /// Whether something may have to be sent again.
    pub(super) fn is_busy(&self) -> bool {
        !self.held.is_empty()
            || !self.ended.is_empty()
            || self.shards.iter().any(|shard| !shard.pending.is_empty())
    }

    /// Appends a record that was checked.
    pub(super) fn append(&mut self, turn: &mut Turn<'_>, waiter: Waiter, record: Arc<Record>) {
        let size = record.size();
        if self.bytes + size > turn.members.config().limits.pending_bytes {
            turn.fail(waiter, Failure::Unavailable);
            return;
        }
        self.bytes += size;
        let pending = Pending {
            waiter: Some(waiter),
            record,
            since: turn.now,
        };
        if self.shards.is_empty() {
            self.held.push_back(pending);
        } else {
            self.push(turn, pending);
        }
    }

    /// Numbers a record whose bytes are counted already.
    fn push(&mut self, turn: &mut Turn<'_>, pending: Pending) {
        let shape = turn.members.config().shape;
        let log = View::log_of(shape, pending.record.book);
        let refused = match self.shards.get_mut(usize::from(log)) {
            Some(shard) => shard.push(turn, pending).err(),
            None => Some(pending),
        };
        if let Some(pending) = refused {
            self.bytes -= pending.record.size();
            if let Some(waiter) = pending.waiter {
                turn.fail(waiter, Failure::Unavailable);
            }
        }
    }

    /// Sends what was appended in this turn.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) {
        for sending in &mut self.shards {
            sending.flush(turn);
        }
    }

    /// Entries of a metalog: what they order is added to `ordered`.
    pub(super) fn committed(
        &mut self,
        turn: &mut Turn<'_>,
        term: Term,
        entries: &[Arc<Entry>],
        ordered: &mut Vec<Ordered>,
    ) {
        let before = ordered.len();
        let current = self.shards.get_mut(usize::from(term.log));
        if let Some(sending) = current.filter(|sending| sending.shard.term == term) {
            for entry in entries {
                sending.order(turn.bug, entry, ordered);
            }
            if ordered.len() > before {
                sending.again = (turn.now + turn.again_after(), turn.again_after());
            }
            self.count(&ordered[before..]);
            return;
        }
        let mut ended = self.ended.iter_mut();
        if let Some(ending) = ended.find(|ending| ending.sending.shard.term == term) {
            ending.learn(entries);
            if ending.known.contains_key(&ending.cursor) {
                // It helped: go on at once.
                ending.asked.0 = None;
            }
            self.settle(turn, ordered);
        }
    }

    fn count(&mut self, ordered: &[Ordered]) {
        self.ordered += ordered.len() as u64;
        self.bytes -= ordered.iter().map(|one| one.record.size()).sum::<usize>();
    }

    /// The next view begins.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>, view: &View, ordered: &mut Vec<Ordered>) {
        for sending in std::mem::take(&mut self.shards) {
            if sending.pending.is_empty() {
                continue;
            }
            let log = usize::from(sending.shard.term.log);
            match view.finals.get(log) {
                Some(end) => {
                    let mut ending = Ending::of(sending, end.entries);
                    ending.learn(&end.tail);
                    ending.skip(&end.tail);
                    self.ended.push(ending);
                }
                None => {
                    // No view comes without it. Nobody can tell what has become of the records.
                    for pending in sending.pending {
                        self.bytes -= pending.record.size();
                        if let Some(waiter) = pending.waiter {
                            turn.fail(waiter, Failure::Unknown);
                        }
                    }
                }
            }
        }
        let me = turn.members.me();
        if let Some(place) = view.engines.iter().position(|&member| member == me) {
            let sending = |term| {
                Sending::new(
                    Shard {
                        term,
                        engine: me.node,
                    },
                    place,
                )
            };
            self.shards = view.terms().map(sending).collect();
        }
        if view.id == turn.members.newest() {
            self.settle(turn, ordered);
            if !self.shards.is_empty() {
                for pending in std::mem::take(&mut self.held) {
                    self.push(turn, pending);
                }
            }
        }
    }

    /// Takes into account what is known of views that are over, and asks for what is missing.
    fn settle(&mut self, turn: &mut Turn<'_>, ordered: &mut Vec<Ordered>) {
        let before = ordered.len();
        let mut rest = Vec::new();
        for mut ending in std::mem::take(&mut self.ended) {
            if ending.settle(turn.bug, ordered) {
                rest.extend(ending.sending.pending);
            } else {
                ending.ask(turn);
                self.ended.push(ending);
            }
        }
        self.count(&ordered[before..]);
        for pending in rest {
            // If nobody waits any more, it may as well not be appended.
            match pending.waiter {
                Some(_) if !self.shards.is_empty() => self.push(turn, pending),
                waiter => {
                    self.bytes -= pending.record.size();
                    if let Some(waiter) = waiter {
                        turn.fail(waiter, Failure::Discarded);
                    }
                }
            }
        }
    }

    /// What was not ordered for long is sent again, what nobody answers is asked for again, and what
    /// takes too long is given up.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        let give_up_after = turn.timing().give_up_after;
        for sending in &mut self.shards {
            sending.expire(turn, give_up_after);
            self.resent += sending.send_again(turn);
        }
        for ending in &mut self.ended {
            ending.sending.expire(turn, give_up_after);
            ending.ask(turn);
        }
        let hold = turn.timing().dead_after;
        while let Some(pending) = self.held.front()
            && turn.is_over(pending.since, hold)
        {
            self.bytes -= pending.record.size();
            if let Some(waiter) = pending.waiter {
                turn.fail(waiter, Failure::Unavailable);
            }
            self.held.pop_front();
        }
    }

    /// Somebody asks for records of a shard; those that are ordered are at all holders.
    pub(super) fn give(
        &mut self,
        turn: &mut Turn<'_>,
        to: NodeId,
        shard: Shard,
        from: u32,
        upto: u32,
    ) {
        let mut of = self.shards.iter();
        if let Some(sending) = of.find(|sending| sending.shard == shard) {
            let records = sending.some(from, upto);
            if !records.is_empty() {
                let gone = Vec::new();
                let replicate = Message::Replicate {
                    shard,
                    records,
                    gone,
                };
                turn.send(to, replicate);
            }
        }
    }

    /// Nobody waits any more for what a client wanted. What was not sent is dropped.
    pub(super) fn gone(&mut self, peer: triptych_nodes::Peer) {
        let is_of = |waiter: &Option<Waiter>| waiter.is_some_and(|waiter| waiter.peer == peer);
        let bytes = &mut self.bytes;
        self.held.retain(|pending| {
            let drop = is_of(&pending.waiter);
            *bytes -= if drop { pending.record.size() } else { 0 };
            !drop
        });
        let ended = self.ended.iter_mut().map(|ending| &mut ending.sending);
        for sending in self.shards.iter_mut().chain(ended) {
            for pending in &mut sending.pending {
                if is_of(&pending.waiter) {
                    pending.waiter = None;
                }
            }
            sending.reused.retain(|(_, waiter)| waiter.peer != peer);
        }
    }
}
