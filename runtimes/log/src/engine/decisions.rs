//! Conditional appends that are ordered: they are answered when an index has decided them, this
//! engine's own or another one.

use super::cache::Cache;
use super::indexing::Indexing;
use super::sending::Ordered;
use super::turn::{Turn, Waiter, nth};
use crate::{Failure, Found, LogId, Message, Reply, SeqNum, View};
use std::collections::BTreeMap;
use triptych_nodes::{Nanos, Peer};

/// Conditional appends that wait for their verdict.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    waiting: BTreeMap<(LogId, SeqNum), Deciding>,
    /// Which record a question to another engine is about.
    asked: BTreeMap<u64, (LogId, SeqNum)>,
    next: u64,
}

#[derive(Debug)]
struct Deciding {
    waiter: Waiter,
    ordered: Ordered,
    op: u64,
    /// When another engine was asked last, and how often.
    asked: (Option<Nanos>, usize),
}

impl Decisions {
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A conditional append was ordered.
    pub(super) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        cache: &mut Cache,
        index: Option<&Indexing>,
        ordered: Ordered,
    ) {
        let Some(waiter) = ordered.waiter else { return };
        let log = View::log_of(turn.members.config().shape, ordered.record.book);
        let (place, op) = ((log, ordered.seq), self.next);
        self.next += 1;
        let mut deciding = Deciding {
            waiter,
            ordered,
            op,
            asked: (None, 0),
        };
        let own = index.filter(|indexing| indexing.is_ready(turn));
        match own.and_then(|indexing| indexing.index.verdict(place.1)) {
            Some(verdict) => deciding.answer(turn, cache, verdict),
            None => {
                if own.is_none() {
                    deciding.ask(turn, log);
                }
                self.asked.insert(op, place);
                self.waiting.insert(place, deciding);
            }
        }
    }

    /// This engine's index of a log has come further.
    pub(super) fn advanced(&mut self, turn: &mut Turn<'_>, cache: &mut Cache, of: &Indexing) {
        let all = (of.log, SeqNum::ZERO)..=(of.log, SeqNum::MAX);
        let places = self.waiting.range(all).map(|(&place, _)| place);
        let passed = places.take_while(|&(_, seq)| of.index.has_passed(seq));
        for place in passed.collect::<Vec<_>>() {
            if let Some(verdict) = of.index.verdict(place.1) {
                self.decided(turn, cache, place, verdict);
            }
        }
    }

    /// Another engine has answered.
    pub(super) fn verdict(
        &mut self,
        turn: &mut Turn<'_>,
        cache: &mut Cache,
        op: u64,
        taken: Result<(), SeqNum>,
    ) {
        if let Some(&place) = self.asked.get(&op) {
            self.decided(turn, cache, place, taken);
        }
    }

    fn decided(
        &mut self,
        turn: &mut Turn<'_>,
        cache: &mut Cache,
        place: (LogId, SeqNum),
        taken: Result<(), SeqNum>,
    ) {
        if let Some(deciding) = self.waiting.remove(&place) {
            self.asked.remove(&deciding.op);
            deciding.answer(turn, cache, taken);
        }
    }

    /// Asks again, another engine each time, and gives up what takes too long.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>, indexes: &BTreeMap<LogId, Indexing>) {
        let (give_up_after, again) = (turn.timing().give_up_after, turn.again_after() * 2);
        let asked = &mut self.asked;
        self.waiting.retain(|&(log, _), deciding| {
            if turn.is_over(deciding.ordered.since, give_up_after) {
                turn.fail(deciding.waiter, Failure::Unknown);
                asked.remove(&deciding.op);
                return false;
            }
            let own = indexes.get(&log).is_some_and(|own| own.is_ready(turn));
            let due = deciding.asked.0.is_none_or(|at| turn.is_over(at, again));
            if !own && due {
                deciding.ask(turn, log);
            }
            true
        });
    }

    pub(super) fn gone(&mut self, peer: Peer) {
        let asked = &mut self.asked;
        self.waiting.retain(|_, deciding| {
            let keep = deciding.waiter.peer != peer;
            if !keep {
                asked.remove(&deciding.op);
            }
            keep
        });
    }
}

impl Deciding {
    fn ask(&mut self, turn: &mut Turn<'_>, log: LogId) {
        let (_, attempt) = self.asked;
        if let Some(index) = nth(&turn.other_indexes(log), attempt) {
            let (op, seq, progress) = (self.op, self.ordered.seq, self.ordered.progress);
            turn.send(index, Message::Ask { op, seq, progress });
        }
        self.asked = (Some(turn.now), attempt + 1);
    }

    fn answer(self, turn: &mut Turn<'_>, cache: &mut Cache, taken: Result<(), SeqNum>) {
        let Ordered {
            record,
            seq,
            progress,
            ..
        } = self.ordered;
        let reply = match taken {
            Ok(()) => {
                let aux = None;
                let me = turn.members.me().node;
                cache.put(turn.now, me, Found { seq, record, aux });
                Reply::Appended { seq, progress }
            }
            Err(tail) => Reply::Refused { tail, progress },
        };
        turn.reply(self.waiter, reply);
    }
}
