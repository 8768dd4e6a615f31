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

use crate::clock::Clock;
use crate::version::{Op, WriteId};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::Arc;
use triptych_api::model::Map;
use triptych_api::{Value, apply};

/// A write that is kept by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its version's clock.
    pub clock: Clock,
    /// Whose request.
    pub write: WriteId,
    /// What it does.
    pub op: Op,
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

fn step(value: Option<Value>, op: &Op) -> Option<Value> {
    match op {
        Op::Put(value) => Some(value.clone()),
        Op::Change(changes) => {
            let document = match value {
                Some(Value::Map(document)) => document,
                _ => Arc::default(),
            };
            let mut document: Map = Arc::unwrap_or_clone(document);
            apply(&mut document, changes);
            Some(Value::from(document))
        }
    }
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

    /// Adds a write. Nothing changes if the same request is among the kept ones with an earlier
    /// clock; of two that are the same request the earlier one counts, everywhere.
    pub fn add(&mut self, clock: &Clock, write: WriteId, op: &Op) {
        self.clock.join(clock);
        let same = self.kept.iter().position(|kept| kept.write == write);
        if let Some(at) = same {
            if self.kept[at].clock.lex(clock) != Ordering::Greater {
                return;
            }
            self.kept.remove(at);
        }
        let kept = Kept {
            clock: clock.clone(),
            write,
            op: op.clone(),
        };
        let later = |kept: &Kept| kept.clock.lex(clock) == Ordering::Greater;
        let at = self.kept.iter().rposition(|kept| !later(kept));
        let at = at.map_or(0, |at| at + 1);
        let newest = at == self.kept.len() && same.is_none();
        self.kept.insert(at, kept);
        self.value = match newest {
            true => step(self.value.take(), op),
            false => self.all(self.kept.iter().map(|kept| &kept.op)),
        };
    }

    fn all<'a>(&self, ops: impl Iterator<Item = &'a Op>) -> Option<Value> {
        ops.fold(self.base.clone(), step)
    }

    /// What it shows.
    pub fn seen(&self) -> Seen {
        let last = self.kept.last().map(|kept| &kept.clock);
        Seen {
            value: self.value.clone(),
            win: last.unwrap_or(&self.last_folded).clone(),
            clock: self.clock.clone(),
        }
    }

    /// What it would show if these writes were in it too. A reader depends on no more than without
    /// them: they are its own, and not everywhere yet.
    pub fn seen_with<'a>(&self, own: impl Iterator<Item = (&'a Clock, WriteId, &'a Op)>) -> Seen {
        let mut own = own.peekable();
        if own.peek().is_none() {
            return self.seen();
        }
        let mut with = self.clone();
        own.for_each(|(clock, write, op)| with.add(clock, write, op));
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
            value: self.base.clone(),
            kept: Vec::new(),
        };
        let counted = self.kept.iter();
        for kept in counted.filter(|kept| snapshot.covers(&kept.clock)) {
            then.add(&kept.clock, kept.write, &kept.op);
        }
        Some(then)
    }

    /// Folds the first writes of those that a clock counts. The caller knows that every write that
    /// may still come comes after all of them.
    pub fn fold(&mut self, horizon: &Clock) {
        let counted = self.kept.iter();
        let many = counted
            .take_while(|kept| horizon.covers(&kept.clock))
            .count();
        for kept in self.kept.drain(..many) {
            self.base = step(self.base.take(), &kept.op);
            self.folded.join(&kept.clock);
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
    /// forgotten the key and has heard of newer writes since. `counted` says which versions the other
    /// one has.
    pub fn complete(&mut self, older: Entry, counted: &Clock) {
        let newer = std::mem::replace(self, older);
        for kept in newer.kept {
            if !counted.covers(&kept.clock) {
                self.add(&kept.clock, kept.write, &kept.op);
            }
        }
    }
}
