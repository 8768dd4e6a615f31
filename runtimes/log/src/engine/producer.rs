//! Appends: an engine numbers the records that it is given, sends them to all holders of its shard at
//! once, and answers when a cut has ordered them.
//!
//! Cuts are self-contained, so the engine needs only those that order records of its own, in any
//! order: one that begins beyond what is applied waits for what is between, which is fetched.
//!
//! *When a view ends* the engine must know of each record that it has appended in it whether it was
//! ordered; the next view says how many entries the metalog has in all, and gives the last ones. What
//! lies before them is fetched if it may matter. Then what was ordered is answered, and the rest,
//! which nobody will ever order, is appended again in the newest view, under local ids of its own.

use super::Bug;
use super::turn::{Turn, Waiter, nth};
use crate::{
    EVERY, Entry, Failure, Limits, Message, Progress, Record, SeqNum, Shard, Step, Tag, Term, View,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId};

/// What a record has got a place for: to be answered, or decided.
#[derive(Debug)]
pub(super) struct Ordered {
    /// Who waits for it, if anybody does.
    pub(super) waiter: Option<Waiter>,
    pub(super) record: Arc<Record>,
    pub(super) seq: SeqNum,
    /// What whoever knows the place has seen.
    pub(super) progress: Progress,
    /// Since when it waits.
    pub(super) since: Nanos,
}

/// Positions and local ids stay below this: long before, the view is changed.
const TOO_MANY: u32 = 1 << 31;
/// At most so many records and bytes are sent again, or given to who asks, at once.
const BATCH: (usize, usize) = (512, 1 << 20);
/// What is sent again is sent after twice as long each time, up to so many times as long.
const PATIENCE: Nanos = 16;

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

#[derive(Debug)]
struct Pending {
    waiter: Option<Waiter>,
    record: Arc<Record>,
    since: Nanos,
}

/// A shard in one view.
#[derive(Debug)]
struct Sending {
    shard: Shard,
    /// The engine's place in the view's cuts.
    place: usize,
    /// Local ids below this are ordered.
    applied: u32,
    /// Local ids from `applied` on.
    pending: VecDeque<Pending>,
    /// Local ids from here on were not sent yet.
    unsent: u32,
    /// Nobody waits any more for local ids below this.
    expired: u32,
    /// Cuts that begin beyond `applied`, by where they begin.
    cuts: BTreeMap<u32, Arc<Entry>>,
    /// Entries below this matter no more.
    heard: u32,
    /// When to send again, and how long to wait after that.
    again: (Nanos, Nanos),
    attempt: usize,
    /// Local ids that were given twice ([`Bug::LocalIdReuse`]).
    reused: Vec<(u32, Waiter)>,
}

/// A shard in a view that is over.
#[derive(Debug)]
struct Ending {
    sending: Sending,
    /// How many entries the metalog has.
    end: u32,
    /// Entries below this are taken into account.
    cursor: u32,
    known: BTreeMap<u32, Arc<Entry>>,
    /// When entries were asked for last, and how often.
    asked: (Option<Nanos>, usize),
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

impl Sending {
    fn new(shard: Shard, place: usize) -> Self {
        Sending {
            shard,
            place,
            applied: 0,
            pending: VecDeque::new(),
            unsent: 0,
            expired: 0,
            cuts: BTreeMap::new(),
            heard: 0,
            again: (0, 0),
            attempt: 0,
            reused: Vec::new(),
        }
    }

    /// The local id of the next record.
    fn next(&self) -> u32 {
        self.applied + self.pending.len() as u32
    }

    fn push(&mut self, turn: &Turn<'_>, pending: Pending) -> Result<(), Pending> {
        let next = self.next();
        if next >= TOO_MANY {
            return Err(pending);
        }
        if self.pending.is_empty() {
            self.again = (turn.now + turn.again_after(), turn.again_after());
        } else if turn.bug == Some(Bug::LocalIdReuse) && next % 4 == 3 {
            self.reused
                .extend(pending.waiter.map(|waiter| (next - 1, waiter)));
            return Ok(());
        }
        self.pending.push_back(pending);
        Ok(())
    }

    /// Records from a local id on, as many as go into one message.
    fn some(&self, from: u32, upto: u32) -> Vec<(u32, Arc<Record>)> {
        let from = from.max(self.applied);
        let upto = upto.min(self.next());
        if from >= upto {
            return Vec::new();
        }
        let range = (from - self.applied) as usize..(upto - self.applied) as usize;
        let mut bytes = 0;
        let records = (from..).zip(self.pending.range(range)).take(BATCH.0);
        let records = records.take_while(|(_, pending)| {
            let first = bytes == 0;
            bytes += pending.record.size();
            first || bytes <= BATCH.1
        });
        records
            .map(|(id, pending)| (id, Arc::clone(&pending.record)))
            .collect()
    }

    fn send(&self, turn: &mut Turn<'_>, records: Vec<(u32, Arc<Record>)>) {
        let members = turn.members;
        let Some((last, others)) = members
            .current()
            .and_then(|view| view.keepers(self.shard).split_last())
        else {
            return;
        };
        let replicate = |records| Message::Replicate {
            shard: self.shard,
            records,
            gone: Vec::new(),
        };
        for &keeper in others {
            turn.send(keeper, replicate(records.clone()));
        }
        turn.send(*last, replicate(records));
    }

    fn flush(&mut self, turn: &mut Turn<'_>) {
        let (from, next) = (self.unsent.max(self.applied), self.next());
        if from < next {
            let range = (from - self.applied) as usize..;
            let records = (from..).zip(self.pending.range(range));
            let records = records.map(|(id, pending)| (id, Arc::clone(&pending.record)));
            let records = records.collect();
            self.send(turn, records);
            self.unsent = next;
        }
    }

    /// What is not ordered for long may be lost: records, reports, or the entry that orders them.
    fn send_again(&mut self, turn: &mut Turn<'_>) -> u64 {
        if self.pending.is_empty() || turn.now < self.again.0 {
            return 0;
        }
        let longest = turn.again_after().saturating_mul(PATIENCE);
        let patience = self.again.1.saturating_mul(2).clamp(1, longest);
        self.again = (turn.now + patience, patience);
        let Term { view, log } = self.shard.term;
        if let Some(teller) = nth(&turn.tellers(view, log), self.attempt) {
            let (term, from) = (self.shard.term, self.heard);
            turn.send(teller, Message::FetchEntries { term, from });
        }
        self.attempt += 1;
        let records = self.some(self.applied, self.unsent);
        let count = records.len() as u64;
        if count > 0 {
            self.send(turn, records);
        }
        count
    }

    fn expire(&mut self, turn: &mut Turn<'_>, give_up_after: Nanos) {
        self.expired = self.expired.max(self.applied);
        while let Some(pending) = self.pending.get_mut((self.expired - self.applied) as usize)
            && turn.is_over(pending.since, give_up_after)
        {
            if let Some(waiter) = pending.waiter.take() {
                turn.fail(waiter, Failure::Unknown);
            }
            self.expired += 1;
        }
    }

    /// Takes an entry into account, now or when the cuts before it have come.
    fn order(&mut self, bug: Option<Bug>, entry: &Arc<Entry>, ordered: &mut Vec<Ordered>) {
        let Step::Cut { starts, deltas, .. } = &entry.step else {
            return;
        };
        let own = starts.get(self.place).zip(deltas.get(self.place));
        let Some((&start, &delta)) = own.filter(|&(_, &delta)| delta > 0) else {
            return;
        };
        if start > self.applied {
            // Nobody can order what was not appended.
            if start < self.next() {
                self.cuts.insert(start, Arc::clone(entry));
            }
            return;
        }
        if start < self.applied || !self.cut(bug, delta, entry, ordered) {
            return;
        }
        while let Some((&start, _)) = self.cuts.first_key_value()
            && start <= self.applied
            && let Some(entry) = self.cuts.remove(&start)
        {
            if let Step::Cut { deltas, .. } = &entry.step
                && start == self.applied
            {
                self.cut(bug, deltas[self.place], &entry, ordered);
            }
        }
    }

    /// Orders the next `delta` records. Says whether the cut made sense.
    fn cut(
        &mut self,
        bug: Option<Bug>,
        delta: u32,
        entry: &Entry,
        ordered: &mut Vec<Ordered>,
    ) -> bool {
        let Step::Cut { first, deltas, .. } = &entry.step else {
            return false;
        };
        let before = deltas[..self.place].iter().copied();
        let position = before.chain([delta]).try_fold(*first, u32::checked_add);
        let Some(end) = position.filter(|_| delta as usize <= self.pending.len()) else {
            return false;
        };
        let progress = Progress {
            view: self.shard.term.view,
            entries: entry.number + u32::from(bug != Some(Bug::ProgressTooLow)),
        };
        for (position, pending) in (end - delta..end).zip(self.pending.drain(..delta as usize)) {
            let Pending {
                waiter,
                record,
                since,
            } = pending;
            let seq = SeqNum::new(self.shard.term, position);
            ordered.push(Ordered {
                waiter,
                record,
                seq,
                progress,
                since,
            });
        }
        if !self.reused.is_empty() {
            self.answer_reused(delta, ordered);
        }
        self.applied += delta;
        self.heard = self.heard.max(entry.number.saturating_add(1));
        true
    }

    /// [`Bug::LocalIdReuse`]: the second record under a local id is answered with the first one's
    /// place.
    fn answer_reused(&mut self, delta: u32, ordered: &mut [Ordered]) {
        let all = ordered.len();
        for at in 0..self.reused.len() {
            let (id, waiter) = self.reused[at];
            if id < self.applied + delta && id >= self.applied {
                let place = all - delta as usize + (id - self.applied) as usize;
                ordered[place].waiter = Some(waiter);
            }
        }
        let upto = self.applied + delta;
        self.reused.retain(|&(id, _)| id >= upto);
    }
}

impl Ending {
    fn of(mut sending: Sending, end: u32) -> Self {
        let cuts = std::mem::take(&mut sending.cuts).into_values();
        let known = cuts.map(|entry| (entry.number, entry)).collect();
        Ending {
            cursor: sending.heard,
            sending,
            end,
            known,
            asked: (None, 0),
        }
    }

    fn learn(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            if (self.cursor..self.end).contains(&entry.number) {
                self.known.insert(entry.number, Arc::clone(entry));
            }
        }
    }

    /// If the tail's first cut begins where this shard is, nothing that matters lies before it.
    fn skip(&mut self, tail: &[Arc<Entry>]) {
        let begins = tail.iter().find_map(|entry| match &entry.step {
            Step::Cut { starts, .. } => Some((entry.number, *starts.get(self.sending.place)?)),
            _ => None,
        });
        if let Some((number, start)) = begins
            && start <= self.sending.applied
        {
            self.cursor = self.cursor.max(number);
        }
    }

    /// Takes into account what is known. Says whether nothing is missing.
    fn settle(&mut self, bug: Option<Bug>, ordered: &mut Vec<Ordered>) -> bool {
        if bug == Some(Bug::DiscardOrdered) {
            return true;
        }
        while let Some(entry) = self.known.remove(&self.cursor) {
            self.sending.order(bug, &entry, ordered);
            self.cursor += 1;
        }
        self.cursor >= self.end || self.sending.pending.is_empty()
    }

    fn ask(&mut self, turn: &mut Turn<'_>) {
        let (at, attempt) = self.asked;
        if at.is_some_and(|at| !turn.is_over(at, turn.again_after())) {
            return;
        }
        let Term { view, log } = self.sending.shard.term;
        if let Some(teller) = nth(&turn.tellers(view, log), attempt) {
            let (term, from) = (self.sending.shard.term, self.cursor);
            turn.send(teller, Message::FetchEntries { term, from });
        }
        self.asked = (Some(turn.now), attempt + 1);
    }
}
