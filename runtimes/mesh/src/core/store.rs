//! The store behind the caches: loading, forgetting, folding.

use super::{Core, Line};
use crate::clock::Clock;
use crate::entry::Entry;
use crate::version::Key;

impl Core {
    /// No write comes before one that this clock counts any more, nor is a request of one accepted
    /// again: all servers' [`Core::past`] count it, of a time up to which their versions are applied
    /// here.
    pub fn fold_upto(&mut self, horizon: &Clock) {
        self.horizon.join(horizon);
    }

    /// A key as the data set or the store has it; `counted` says which versions are in it. They must
    /// be stable, and the store must have been asked after the key was last forgotten here. What it
    /// shows depends on other keys, so here everything is applied that its writes depend on.
    ///
    /// Says whether the key is whole now. It is not if the entry counts versions that have not come
    /// here yet, or lacks what they depend on ([`Core::is_closed`]): then it is to be loaded later. Nor
    /// if it counts more than it should.
    pub fn load(&mut self, key: &Key, entry: Entry, counted: &Clock) -> bool {
        if self.entry(key).is_some() {
            return true;
        }
        // What was written behind is closed. If it is not closed here, something was lost with a server
        // that this one has, and it has not heard of that.
        let clock = self.real(entry.clock());
        let sound = counted.covers(entry.clock()) && counted.covers(&self.closed(&clock));
        if !sound || self.integrate(entry.clock()).is_err() {
            return false;
        }
        match self.lines.get_mut(key) {
            None => {
                let line = Line { entry, whole: true };
                self.lines.insert(key.clone(), line);
            }
            Some(line) => {
                line.entry.complete(entry);
                line.whole = true;
            }
        }
        true
    }

    /// What it knows of a key that is whole here.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        let line = self.lines.get(key).filter(|line| line.whole);
        line.map(|line| &line.entry)
    }

    /// The join of the clocks of what it has of a key, whole or not.
    pub fn clock_of(&self, key: &Key) -> Option<&Clock> {
        self.lines.get(key).map(|line| line.entry.clock())
    }

    /// Forgets a key, if the store has everything of it that is applied: `stored` says what that is.
    /// A server to which keys that it does not have are empty forgets none.
    pub fn evict(&mut self, key: &Key, stored: &Clock) -> bool {
        let evictable = self.clock_of(key).is_some_and(|clock| stored.covers(clock));
        evictable && !self.resident && self.lines.remove(key).is_some()
    }
}
