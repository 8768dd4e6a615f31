//! What a cache knows of one key.
//!
//! The value is what the key's writes make of nothing, one after the other in the total order of
//! their clocks ([`Clock::lex`]). A write that comes late takes its place among those that are kept,
//! so caches that have the same writes have the same value, in whatever order they came. Old writes
//! are folded into a base; only those may be that no write can come before any more.
//!
//! Two clocks are kept (specification §2.2): `win` is the own clock of the last write in that order,
//! and `clock` the join of all. To compare writes by the join would keep an old value under a newer
//! clock.
//!
//! A request that two servers accepted, because its client asked again elsewhere, is two writes. The
//! first of them counts. The other one stays, without effect: whoever looks at a snapshot that has
//! only the other one must see it.

use crate::clock::Clock;
use crate::version::{Op, WriteId};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use triptych_api::Value;

/// A write that is kept by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its version's clock.
    pub clock: Clock,
    /// Whose request.
    pub write: WriteId,
    /// What it does.
    pub op: Op,
    /// Whether an earlier write is the same request, so that this one has no effect.
    again: bool,
    /// Whether such a one is folded.
    of_folded: bool,
}

/// What is known of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What the folded writes made.
    base: Option<Value>,
    /// The join of their clocks.
    folded: Clock,
    /// The clock of the last of them.
    last_folded: Clock,
    /// The writes that are not folded, in their order.
    kept: Vec<Kept>,
    /// The join of the clocks of all.
    clock: Clock,
    /// What all make.
    value: Option<Value>,
}

/// What a read finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The value; none if nothing was ever written.
    pub value: Option<Value>,
    /// The own clock of the write that came last in the total order.
    pub win: Clock,
    /// The join of the clocks of all writes: what a reader depends on from now on.
    pub clock: Clock,
}

impl Entry {
    /// An entry as a data set has it, before anything was written: it precedes every write.
    pub fn of(value: Value) -> Self {
        Entry {
            base: Some(value.clone()),
            value: Some(value),
            ..Entry::default()
        }
    }

    /// Adds a write. One that is in it already changes nothing; of several that are the same request
    /// the first in the total order counts, everywhere. Whether it is in it is known of folded writes
    /// too: no other one that the folded clock covers can come.
    pub fn add(&mut self, clock: &Clock, write: WriteId, op: &Op) {
        if !clock.is_zero() && self.folded.covers(clock) {
            return;
        }
        let at = self.place(clock);
        let before = at.checked_sub(1).map(|before| &self.kept[before]);
        if before.is_some_and(|it| it.clock == *clock) {
            return;
        }
        self.clock.join(clock);
        let (earlier, later) = self.kept.split_at_mut(at);
        let again = earlier.iter().any(|kept| kept.write == write);
        let mut changed = again || !later.is_empty();
        for kept in later.iter_mut().filter(|kept| kept.write == write) {
            kept.again = true;
        }
        // Behind a replacement that has an effect nothing is seen of what comes before it.
        let twin = later.iter().any(|kept| kept.write == write);
        let hidden = later.iter().any(|it| !it.again && it.is_put());
        changed &= twin || !(hidden || again);
        let newest = later.is_empty() && !again;
        let kept = Kept {
            clock: clock.clone(),
            write,
            op: op.clone(),
            again,
            of_folded: false,
        };
        self.kept.insert(at, kept);
        if newest {
            self.value = op.on(self.value.take());
        } else if changed {
            self.value = self.made();
        }
    }

    /// Where a write with this clock belongs: after all that are not later.
    fn place(&self, clock: &Clock) -> usize {
        let later = |kept: &Kept| kept.clock.lex(clock) == Ordering::Greater;
        let at = self.kept.iter().rposition(|kept| !later(kept));
        at.map_or(0, |at| at + 1)
    }

    /// What all writes make of the base.
    fn made(&self) -> Option<Value> {
        // What comes before the last replacement need not be looked at.
        let put = |kept: &Kept| !kept.again && kept.is_put();
        let from = self.kept.iter().rposition(put).unwrap_or(0);
        let counted = self.kept[from..].iter().filter(|kept| !kept.again);
        counted.fold(self.base.clone(), |value, kept| kept.op.on(value))
    }

    /// The clock of the last write, whether or not that has an effect.
    fn win(&self) -> &Clock {
        let last = self.kept.last();
        last.map_or(&self.last_folded, |kept| &kept.clock)
    }

    /// What it shows.
    pub fn seen(&self) -> Seen {
        Seen {
            value: self.value.clone(),
            win: self.win().clone(),
            clock: self.clock.clone(),
        }
    }

    /// What it would show if these writes were in it too. A reader depends on no more than without
    /// them: they are its own, and not everywhere yet.
    pub fn seen_with<'a>(&self, own: impl Iterator<Item = (&'a Clock, WriteId, &'a Op)>) -> Seen {
        let mut own: Vec<_> = own.collect();
        own.sort_by(|(a, ..), (b, ..)| a.lex(b));
        let Some((first, ..)) = own.first() else {
            return self.seen();
        };
        // Mostly they are the newest, and new.
        let newest = self.win().lex(first) == Ordering::Less;
        let known = |write: WriteId| self.kept.iter().any(|kept| kept.write == write);
        let twins = own.iter().enumerate().any(|(at, (clock, write, _))| {
            let twin = own[..at].iter().any(|(_, before, _)| before == write);
            twin || known(*write) || self.folded.covers(clock)
        });
        if newest && !twins {
            let ops = own.iter().map(|(.., op)| *op);
            return Seen {
                value: ops.fold(self.value.clone(), |value, op| op.on(value)),
                win: own
                    .last()
                    .map_or(Clock::default(), |(win, ..)| (*win).clone()),
                clock: self.clock.clone(),
            };
        }
        let mut with = self.clone();
        for (clock, write, op) in own {
            with.add(clock, write, op);
        }
        Seen {
            clock: self.clock.clone(),
            ..with.seen()
        }
    }

    /// What it showed when exactly the versions that a clock counts were in it. None if writes were
    /// folded that the clock does not count.
    pub fn at(&self, snapshot: &Clock) -> Option<Entry> {
        if !snapshot.covers(&self.folded) {
            return None;
        }
        let mut then = Entry {
            base: self.base.clone(),
            folded: self.folded.clone(),
            last_folded: self.last_folded.clone(),
            clock: self.folded.clone(),
            value: None,
            kept: Vec::new(),
        };
        for kept in self.kept.iter().filter(|it| snapshot.covers(&it.clock)) {
            then.clock.join(&kept.clock);
            let twin = then.kept.iter().any(|it| it.write == kept.write);
            then.kept.push(Kept {
                again: kept.of_folded || twin,
                ..kept.clone()
            });
        }
        then.value = then.made();
        Some(then)
    }

    /// Folds the first writes of those that a clock counts. The caller knows that every write that
    /// may still come comes after all of them, and that its head knew their requests.
    pub fn fold(&mut self, horizon: &Clock) {
        let counted = self.kept.iter();
        let many = counted
            .take_while(|kept| horizon.covers(&kept.clock))
            .count();
        let (folded, rest) = self.kept.split_at_mut(many);
        for kept in rest.iter_mut().filter(|kept| kept.again) {
            kept.of_folded |= folded.iter().any(|it| it.write == kept.write);
        }
        for kept in self.kept.drain(..many) {
            self.folded.join(&kept.clock);
            if !kept.again {
                self.base = kept.op.on(self.base.take());
            }
            self.last_folded = kept.clock;
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let value = |value: &Option<Value>| value.as_ref().map_or(1, Value::size);
        let kept = self.kept.iter();
        let kept = kept.map(|kept| 12 + 3 * kept.clock.width() + kept.op.size());
        value(&self.base) + value(&self.value) + 3 * self.clock.width() + kept.sum::<usize>()
    }

    /// How many writes are kept by themselves.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Counts a write without showing it.
    pub(crate) fn join(&mut self, clock: &Clock) {
        self.clock.join(clock);
    }

    /// The join of the clocks of all of its writes.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes in what another entry of the same key has that this one has not: for a cache that had
    /// forgotten the key and has heard of newer writes since, and has not folded any of them.
    pub fn complete(&mut self, older: Entry) {
        let newer = std::mem::replace(self, older);
        for kept in newer.kept {
            self.add(&kept.clock, kept.write, &kept.op);
        }
        self.clock.join(&newer.clock);
    }
}

impl Kept {
    fn is_put(&self) -> bool {
        matches!(self.op, Op::Put(_))
    }
}
