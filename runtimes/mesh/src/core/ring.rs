//! The ring: what comes along it, and what is stable.

use super::{Arrived, Bug, Core};
use crate::clock::{Clock, Slot};
use crate::version::Version;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Core {
    pub(super) fn keep(&mut self, version: &Arc<Version>) {
        let origin = version.origin;
        let forgotten = self.bug == Some(Bug::HeadForgetsOwn) && origin == self.slot;
        self.received.raise(origin, version.number());
        if !forgotten {
            let pending = self.pending.entry(origin).or_default();
            pending.push_back(Arc::clone(version));
        }
        self.requests.take(version);
    }

    /// A version has come along a ring of `ring` servers; this is its `hop`-th hop. On a ring of one,
    /// the server sends itself what it accepts.
    pub fn arrive(&mut self, version: &Arc<Version>, hop: u32, ring: u32) -> Arrived {
        let last = match self.bug {
            Some(Bug::OneRound) => ring.saturating_sub(1).max(1),
            _ => ring.saturating_mul(2).saturating_sub(1),
        };
        let (number, known) = (version.number(), self.received.get(version.origin));
        if hop > last || number == 0 || number - 1 > known {
            return Arrived::OutOfOrder;
        }
        let forgets = self.bug == Some(Bug::TailForgetsFirstRound) && hop + 1 == ring;
        if number > known && forgets {
            self.received.raise(version.origin, number);
        } else if number > known {
            self.keep(version);
        }
        if hop < last {
            return Arrived::Forward(hop + 1);
        }
        if self.bug == Some(Bug::TailSkipsDependencies) {
            let mut own = Clock::default();
            own.raise(version.origin, number);
            self.pull(&own);
        } else if self.integrate(&version.clock).is_err() {
            return Arrived::Undeliverable;
        }
        if self.bug == Some(Bug::TailForgetsFirstRound) && !version.is_counted_by(&self.applied) {
            self.apply(version);
        }
        let real = self.real(&version.clock);
        self.clock.join(&real);
        self.stable.join(&real);
        self.requests.forget(&self.stable);
        Arrived::Stable
    }

    /// Everything that this clock counts has been received by every server: it is applied here too.
    /// Says whether all of it is; a server that is new on the ring may still lack some.
    pub fn is_stable(&mut self, stable: &Clock) -> bool {
        let stable = self.real(stable);
        let stable = stable.as_ref();
        if self.bug == Some(Bug::NoDissemination) || self.stable.covers(stable) {
            return true;
        }
        if self.integrate(stable).is_ok() {
            self.stable.join(stable);
            self.requests.forget(&self.stable);
            return true;
        }
        // What has come of it may lack something that it depends on; then that is for later.
        let here = stable.meet(&self.received);
        if self.integrate(&here).is_ok() {
            self.stable.join(&here);
        }
        false
    }

    /// The versions of an origin that it has and that are not applied, in order.
    pub fn pending_of(&self, origin: Slot) -> impl Iterator<Item = &Arc<Version>> {
        self.pending.get(&origin).into_iter().flatten()
    }

    /// The origins of which versions wait.
    pub fn origins(&self) -> BTreeSet<Slot> {
        let waiting = self.pending.iter().filter(|(_, queue)| !queue.is_empty());
        waiting.map(|(&origin, _)| origin).collect()
    }
}
