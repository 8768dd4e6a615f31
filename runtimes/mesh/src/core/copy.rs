//! What happens to a server's data when the ring changes: a new server gets a copy, and of a dead
//! one only those versions count that somebody has.

use super::{Core, Line};
use crate::clock::{Clock, Slot};
use crate::entry::Entry;
use crate::version::{Key, Version};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that a server has, for one that has nothing, but what that one can get from the backing store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    applied: Clock,
    received: Clock,
    stable: Clock,
    clock: Clock,
    horizon: Clock,
    frozen: BTreeMap<Slot, u64>,
    /// Received and not applied, of each origin in order.
    pending: Vec<Arc<Version>>,
    /// The requests that are remembered, in the order of their versions.
    requests: Vec<Arc<Version>>,
    /// Lines that the backing store does not have as they are, and whether they are whole.
    lines: Vec<(Key, Entry, bool)>,
    /// The versions that are not known to be stable, of each origin in order.
    pub log: Vec<Arc<Version>>,
}

impl Copied {
    /// The keys of which it has something.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.lines.iter().map(|(key, ..)| key)
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let versions = self.pending.iter().chain(&self.requests).chain(&self.log);
        let versions: usize = versions.map(|version| version.size()).sum();
        let lines = self.lines.iter();
        let lines: usize = lines.map(|(key, entry, _)| key.size() + entry.size()).sum();
        15 * self.received.width() + versions + lines
    }
}

impl Core {
    /// All that it has but what the backing store has too: `stored` says what that is.
    pub fn copy(&self, stored: &Clock) -> Copied {
        let news = self.lines.iter();
        let news = news.filter(|(_, line)| !stored.covers(line.entry.clock()));
        let line = |(key, line): (&Key, &Line)| (key.clone(), line.entry.clone(), line.whole);
        let mut lines: Vec<_> = news.map(line).collect();
        lines.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut requests: Vec<_> = self.requests.values().cloned().collect();
        requests.sort_by_key(|version| (version.origin, version.number()));
        Copied {
            applied: self.applied.clone(),
            received: self.received.clone(),
            stable: self.stable.clone(),
            clock: self.clock.clone(),
            horizon: self.horizon.clone(),
            frozen: self.frozen.clone(),
            pending: self.pending.values().flatten().cloned().collect(),
            requests,
            lines,
            log: Vec::new(),
        }
    }

    /// Has what another server has, instead of anything that it had.
    pub fn paste(&mut self, copied: &Copied) {
        let mut fresh = Core::new(self.slot, self.resident, self.bug);
        fresh.applied = copied.applied.clone();
        fresh.received = copied.received.clone();
        fresh.stable = copied.stable.clone();
        fresh.clock = copied.clock.clone();
        fresh.horizon = copied.horizon.clone();
        fresh.frozen = copied.frozen.clone();
        for version in &copied.pending {
            let pending = fresh.pending.entry(version.origin).or_default();
            pending.push_back(Arc::clone(version));
        }
        for version in copied.requests.iter().chain(&copied.pending) {
            fresh.requests.insert(version.write, Arc::clone(version));
        }
        for (key, entry, whole) in &copied.lines {
            let (entry, whole) = (entry.clone(), *whole);
            fresh.lines.insert(key.clone(), Line { entry, whole });
        }
        *self = fresh;
    }

    /// Begins with nothing but what the backing store has: `stored` says what is in it.
    pub fn found(&mut self, stored: &Clock) {
        *self = Core::new(self.slot, self.resident, self.bug);
        self.applied = stored.clone();
        self.received = stored.clone();
        self.stable = stored.clone();
        self.clock = stored.clone();
    }

    /// A server is gone, and so many of its versions count: nobody has more. What clocks count
    /// beyond that never was.
    pub fn freeze(&mut self, slot: Slot, upto: u64) {
        if self.frozen.contains_key(&slot) {
            return;
        }
        self.frozen.insert(slot, upto);
        if let Some(pending) = self.pending.get_mut(&slot) {
            pending.retain(|version| version.number() <= upto);
        }
        let gone = |version: &Arc<Version>| version.origin == slot && version.number() > upto;
        self.requests.retain(|_, version| !gone(version));
        for clock in [&mut self.clock, &mut self.received] {
            if clock.get(slot) > upto {
                clock.lower(slot, upto);
            }
        }
    }

    /// The servers that are gone, and how many of their versions count.
    pub fn frozen(&self) -> &BTreeMap<Slot, u64> {
        &self.frozen
    }

    /// A clock without what it counts of lost versions. Everybody knows what is lost before anything
    /// that counts it is applied, so all apply it with the same clock.
    pub fn real<'a>(&self, clock: &'a Clock) -> Cow<'a, Clock> {
        let lost = |(&slot, &upto): (&Slot, &u64)| clock.get(slot) > upto;
        if !self.frozen.iter().any(lost) {
            return Cow::Borrowed(clock);
        }
        let mut clock = clock.clone();
        for (&slot, &upto) in &self.frozen {
            if clock.get(slot) > upto {
                clock.lower(slot, upto);
            }
        }
        Cow::Owned(clock)
    }
}
