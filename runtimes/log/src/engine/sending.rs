//! One shard in one view: local ids, what was sent, and what cuts order.

use super::Bug;
use super::turn::{Turn, Waiter, nth};
use crate::{Entry, Failure, Message, Progress, Record, SeqNum, Shard, Step, Term};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use triptych_nodes::Nanos;

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

/// A record that is not ordered yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) waiter: Option<Waiter>,
    pub(super) record: Arc<Record>,
    pub(super) since: Nanos,
}

/// A shard in one view.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) shard: Shard,
    /// The engine's place in the view's cuts.
    pub(super) place: usize,
    /// Local ids below this are ordered.
    pub(super) applied: u32,
    /// Local ids from `applied` on.
    pub(super) pending: VecDeque<Pending>,
    /// Local ids from here on were not sent yet.
    pub(super) unsent: u32,
    /// Nobody waits any more for local ids below this.
    pub(super) expired: u32,
    /// Cuts that begin beyond `applied`, by where they begin.
    pub(super) cuts: BTreeMap<u32, Arc<Entry>>,
    /// Entries below this matter no more.
    pub(super) heard: u32,
    /// When to send again, and how long to wait after that.
    pub(super) again: (Nanos, Nanos),
    pub(super) attempt: usize,
    /// Local ids that were given twice ([`Bug::LocalIdReuse`]).
    pub(super) reused: Vec<(u32, Waiter)>,
}

impl Sending {
    pub(super) fn new(shard: Shard, place: usize) -> Self {
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
    pub(super) fn next(&self) -> u32 {
        self.applied + self.pending.len() as u32
    }

    pub(super) fn push(&mut self, turn: &Turn<'_>, pending: Pending) -> Result<(), Pending> {
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
    pub(super) fn some(&self, from: u32, upto: u32) -> Vec<(u32, Arc<Record>)> {
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

    pub(super) fn send(&self, turn: &mut Turn<'_>, records: Vec<(u32, Arc<Record>)>) {
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

    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) {
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
    pub(super) fn send_again(&mut self, turn: &mut Turn<'_>) -> u64 {
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

    pub(super) fn expire(&mut self, turn: &mut Turn<'_>, give_up_after: Nanos) {
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
    pub(super) fn order(
        &mut self,
        bug: Option<Bug>,
        entry: &Arc<Entry>,
        ordered: &mut Vec<Ordered>,
    ) {
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
    pub(super) fn cut(
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
    pub(super) fn answer_reused(&mut self, delta: u32, ordered: &mut [Ordered]) {
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
