//! What happens to a server's data when the ring changes: a new server gets a copy, and of a dead
//! one only those versions count that somebody has.

use super::{Core, State};
use crate::clock::{Clock, Slot};
use crate::entry::Entry;
use crate::version::{Key, Version};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_world::Nanos;

/// All that a server has, for one that has nothing, but what that one can get from the backing store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    /// Its state; of the entries only those that the backing store does not have as they are.
    state: State,
    /// Servers that are gone, and how many of their versions count.
    frozen: BTreeMap<Slot, u64>,
    /// The versions that are not known to be stable, of each origin in order.
    pub log: Vec<Arc<Version>>,
    /// For how long, in nanoseconds, requests had been known.
    pub known_for: Nanos,
}

impl Copied {
    /// The keys of which it has something.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.state.entries.iter().map(|(key, ..)| key)
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let State {
            pending,
            requests,
            entries,
            ..
        } = &self.state;
        let versions = pending.iter().chain(requests).chain(&self.log);
        let versions: usize = versions.map(|version| version.size()).sum();
        let entries = entries.iter();
        let entries = entries.map(|(key, entry, _)| key.size() + entry.size());
        15 * self.state.received.width() + versions + entries.sum::<usize>()
    }
}

impl Core {
    /// All that it has but what the backing store has too: `stored` says what that is.
    pub fn copy(&self, stored: &Clock) -> Copied {
        let mut state = self.state();
        let news = |(_, entry, _): &(Key, Entry, bool)| !stored.covers(entry.clock());
        state.entries.retain(news);
        Copied {
            state,
            frozen: self.frozen.clone(),
            log: Vec::new(),
            known_for: 0,
        }
    }

    /// Has what another server has, instead of anything that it had.
    pub fn paste(&mut self, copied: &Copied) {
        let state = copied.state.clone();
        *self = Core::of_state(self.slot, self.resident, self.bug, state);
        self.frozen = copied.frozen.clone();
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
        self.requests.drop_lost(gone);
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
