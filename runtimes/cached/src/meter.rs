//! What an installation has done, counted on the way.

use std::cell::Cell;
use triptych_api::Name;
use triptych_faas::Gauges;

/// Counters; none ever goes down.
#[derive(Default)]
pub(crate) struct Meter {
    /// Keys that were asked of the caches.
    pub(crate) reads: Cell<u64>,
    /// Changes that were asked of the caches.
    pub(crate) writes: Cell<u64>,
    /// Calls, replies and events that carried a context.
    pub(crate) contexts: Cell<u64>,
    /// The bytes of those contexts.
    pub(crate) context_bytes: Cell<u64>,
    /// Attempts that were aborted.
    pub(crate) aborts: Cell<u64>,
    /// Workflows of which every attempt was.
    pub(crate) given_up: Cell<u64>,
}

/// Counts some more.
pub(crate) fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

impl Meter {
    /// A context travels.
    pub(crate) fn carried(&self, bytes: u64) {
        count(&self.contexts, 1);
        count(&self.context_bytes, bytes);
    }

    /// The counters by name.
    pub(crate) fn counters(&self) -> Gauges {
        let counts = [
            ("cache reads", &self.reads),
            ("cache writes", &self.writes),
            ("contexts", &self.contexts),
            ("context bytes", &self.context_bytes),
            ("attempts aborted", &self.aborts),
            ("workflows given up", &self.given_up),
        ];
        let counts = counts.into_iter();
        counts
            .map(|(name, count)| (Name::from(name), count.get()))
            .collect()
    }
}
