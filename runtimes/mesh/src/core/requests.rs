//! Which requests a server knows, so that one that is repeated counts once.
//!
//! Memory is bounded: the oldest are forgotten, once their versions are stable. How many were taken and
//! forgotten is counted, so that whoever knows when what was taken can tell until when a request must
//! have been asked first to be known for sure, if it ever was accepted ([`Core::taken`],
//! [`Core::forgotten`]).

use super::{Bug, Core};
use crate::clock::Clock;
use crate::version::{Version, WriteId};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many requests are remembered before stable ones are forgotten.
const REQUESTS: usize = 1 << 14;

/// The versions of which the requests are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    known: FxHashMap<WriteId, Arc<Version>>,
    /// The same, each with its place in the order in which they came.
    order: VecDeque<(u64, Arc<Version>)>,
    taken: u64,
    forgotten: u64,
}

impl Requests {
    /// The first version of a request is the one that is known.
    pub(super) fn take(&mut self, version: &Arc<Version>) {
        let first = self.known.entry(version.write);
        if let std::collections::hash_map::Entry::Vacant(first) = first {
            first.insert(Arc::clone(version));
            self.order.push_back((self.taken, Arc::clone(version)));
            self.taken += 1;
        }
    }

    pub(super) fn get(&self, write: WriteId) -> Option<&Arc<Version>> {
        self.known.get(&write)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.known.values()
    }

    /// Forgets the oldest, if there are too many and they are stable. Those that are not are few, and
    /// become stable soon.
    pub(super) fn forget(&mut self, stable: &Clock) {
        while self.order.len() > REQUESTS {
            let oldest = self.order.pop_front_if(|(_, it)| it.is_counted_by(stable));
            let Some((place, oldest)) = oldest else {
                return;
            };
            self.known.remove(&oldest.write);
            self.forgotten = place + 1;
        }
    }

    /// Forgets those that never counted.
    pub(super) fn drop_lost(&mut self, lost: impl Fn(&Arc<Version>) -> bool) {
        self.order.retain(|(_, version)| {
            let lost = lost(version);
            if lost {
                self.known.remove(&version.write);
            }
            !lost
        });
    }
}

impl Core {
    /// The version that a request has become, if it has come here.
    pub fn known(&self, write: WriteId) -> Option<Arc<Version>> {
        match self.bug {
            Some(Bug::CountsTwice) => None,
            _ => self.requests.get(write).cloned(),
        }
    }

    /// How many requests were remembered since the server began, one after the other.
    pub fn taken(&self) -> u64 {
        self.requests.taken
    }

    /// How many of those it may not know any more: the first ones.
    pub fn forgotten(&self) -> u64 {
        self.requests.forgotten
    }
}
