//! A server's state as plain data: to hand it to another server, and to compare servers.

use super::{Bug, Core, Line};
use crate::clock::{Clock, Slot};
use crate::entry::Entry;
use crate::version::{Key, Version};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a server has. Equal states are equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What its next write's clock covers.
    pub clock: Clock,
    /// What reads see.
    pub applied: Clock,
    /// What has come.
    pub received: Clock,
    /// What it knows every server to have received.
    pub stable: Clock,
    /// Up to where writes may be folded.
    pub horizon: Clock,
    /// What has come and is not applied, by origin and number.
    pub pending: Vec<Arc<Version>>,
    /// The entries, by key, and whether all applied writes of the key are in it.
    pub entries: Vec<(Key, Entry, bool)>,
    /// The versions of which it remembers the requests, by request.
    pub requests: Vec<Arc<Version>>,
}

impl Core {
    /// Everything that it has, copied.
    pub fn state(&self) -> State {
        let entries = self.lines.iter();
        let entries = entries.map(|(key, line)| (key.clone(), line.entry.clone(), line.whole));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut requests: Vec<_> = self.requests.all().cloned().collect();
        requests.sort_unstable_by_key(|version| version.write);
        State {
            clock: self.clock.clone(),
            applied: self.applied.clone(),
            received: self.received.clone(),
            stable: self.stable.clone(),
            horizon: self.horizon.clone(),
            pending: self.pending.values().flatten().cloned().collect(),
            entries,
            requests,
        }
    }

    /// A server that has what another one had. It has written nothing yet: its place in clocks is new.
    pub fn of_state(slot: Slot, resident: bool, bug: Option<Bug>, state: State) -> Self {
        let mut core = Core::new(slot, resident, bug);
        core.clock = state.clock;
        core.applied = state.applied;
        core.received = state.received;
        core.stable = state.stable;
        core.horizon = state.horizon;
        for version in state.pending {
            let queue = core.pending.entry(version.origin).or_default();
            queue.push_back(version);
        }
        let lines = state.entries.into_iter();
        core.lines = lines
            .map(|(key, entry, whole)| (key, Line { entry, whole }))
            .collect();
        let requests = state.requests.iter();
        requests.for_each(|version| core.requests.take(version));
        core
    }
}
