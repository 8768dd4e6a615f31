//! Versions along the ring, and what the servers tell each other.
//!
//! Invariant: versions of an origin go onto the link in their order, and those of a dead one before
//! the word of how many count. So whoever is earlier on the ring has at least what later ones have.

use super::{AGAIN, NodeBug, Outbox, Server};
use crate::clock::{Clock, Slot};
use crate::config::Level;
use crate::core::{Arrived, Copied};
use crate::link::Batch;
use crate::message::{Item, Message, Report};
use crate::version::Version;
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId, Peer};

impl Server {
    fn ring_len(&self) -> u32 {
        self.ring.len() as u32
    }

    fn successor(&self) -> Option<NodeId> {
        let seat = self.ring.successor(self.slot?)?;
        (Some(seat.slot) != self.slot).then_some(seat.member.node)
    }

    fn predecessor(&self) -> Option<NodeId> {
        let seat = self.ring.predecessor(self.slot?)?;
        (Some(seat.slot) != self.slot).then_some(seat.member.node)
    }

    /// The other servers beside it on the ring.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = NodeId> + use<> {
        let (before, behind) = (self.predecessor(), self.successor());
        before
            .into_iter()
            .chain(behind.filter(|_| before != behind))
    }

    // ---- Own versions ----

    /// A version was accepted here.
    pub(super) fn accepted(&mut self, version: &Arc<Version>, out: &mut Outbox) {
        self.remember(version);
        match self.config.level {
            Level::Synced => {
                self.persist(version, out);
                if self.has_bug(NodeBug::AcksBeforeDurable) {
                    self.release(version.number());
                }
            }
            Level::Async | Level::Replicated => self.release(version.number()),
        }
    }

    /// Own versions up to a number are durable.
    pub(super) fn on_durable(&mut self, number: u64, _out: &mut Outbox) {
        // A number of an earlier life means nothing: lives begin with nothing to make durable.
        let own = self.slot.map_or(0, |slot| self.core.received().get(slot));
        if number <= own {
            self.release(number);
        }
    }

    /// Own versions up to a number may go round.
    fn release(&mut self, upto: u64) {
        let Some(slot) = self.slot else {
            return;
        };
        let from = self.free;
        self.free = self.free.max(upto);
        let log = self.log.get(&slot);
        let new = log.into_iter().flatten();
        let new = new.filter(|own| own.number() > from && own.number() <= upto);
        let new: Vec<Arc<Version>> = new.cloned().collect();
        new.iter().for_each(|version| self.depart(version));
    }

    /// Sends a version round, as its origin or for it.
    pub(super) fn depart(&mut self, version: &Arc<Version>) {
        match self.ring_len() {
            1 => drop(self.core.arrive(version, 1, 1)),
            _ => self.outgoing.push(Item::Version {
                hop: 1,
                version: Arc::clone(version),
            }),
        }
    }

    /// Keeps a version until it is stable.
    pub(super) fn remember(&mut self, version: &Arc<Version>) {
        let log = self.log.entry(version.origin).or_default();
        log.push_back(Arc::clone(version));
    }

    // ---- The link ----

    /// Sends what is new on the link, and says how much has come.
    pub(super) fn send(&mut self, now: Nanos, out: &mut Outbox) {
        if let Some(to) = self.successor() {
            while let Some(batch) = self.outgoing.next(now) {
                self.send_batch(to, batch, out);
            }
            // Where nothing is on its way that tells it, what is new of what is stable goes by itself:
            // a tail's successor is the head, which has been waiting for that longest.
            let soon = self.config.timing.disseminate_every == 0;
            if soon && self.outgoing.is_empty() && !self.said.covers(&self.told.stable) {
                let nothing = (self.outgoing.number(), Vec::new());
                self.send_batch(to, nothing, out);
            }
            if !self.outgoing.is_empty() && !self.again_set {
                self.again_set = true;
                out.timer(self.config.timing.again_after, AGAIN);
            }
        }
        if std::mem::take(&mut self.ack_due)
            && let Some(to) = self.predecessor()
        {
            let mut held = Vec::new();
            let further = self.config.further();
            if further > 0 && self.filled {
                held.push(self.core.received().clone());
                held.extend(self.held.iter().take(further - 1).cloned());
            }
            let ack = Message::Ack {
                epoch: self.ring.epoch,
                next: self.incoming.next(),
                held,
                stable: self.told.stable.clone(),
            };
            out.send(to, ack);
        }
    }

    fn send_batch(&mut self, to: NodeId, (first, items): Batch, out: &mut Outbox) {
        let frame = Message::Frame {
            epoch: self.ring.epoch,
            first,
            items,
            stable: self.told.stable.clone(),
            stored: self.told.stored.clone(),
        };
        self.said.join(&self.told.stable);
        out.send(to, frame);
    }

    pub(super) fn send_again(&mut self, now: Nanos, out: &mut Outbox) {
        if self.has_bug(NodeBug::LinkForgetsResend) {
            return;
        }
        let after = self.config.timing.again_after;
        if let Some(to) = self.successor()
            && let Some(batch) = self.outgoing.again(now, after)
        {
            self.send_batch(to, batch, out);
        }
    }

    pub(super) fn on_ack(&mut self, now: Nanos, from: Peer, next: u64, held: Vec<Clock>) {
        if self.successor().map(Peer::Node) != Some(from) {
            return;
        }
        self.outgoing.acknowledged(now, next);
        let further = self.config.further();
        if held.is_empty() || further == 0 {
            return;
        }
        // Acknowledgements may overtake each other: what was received only grows.
        self.held.resize_with(further, Clock::default);
        for (known, told) in self.held.iter_mut().zip(&held) {
            known.join(told);
        }
        self.ack_due |= further > 1;
    }

    pub(super) fn on_frame(
        &mut self,
        now: Nanos,
        from: Peer,
        first: u64,
        items: Vec<Item>,
        out: &mut Outbox,
    ) {
        if self.predecessor().map(Peer::Node) != Some(from) {
            return;
        }
        self.ack_due |= !items.is_empty();
        let ready = match self.has_bug(NodeBug::LinkTakesAnyOrder) {
            true => self.incoming.take_any(first, items),
            false => self.incoming.take(first, items),
        };
        for item in ready {
            match item {
                Item::Version { hop, version } => self.on_version(hop, version, out),
                Item::Frozen { hop, frozen } => self.on_frozen(hop, frozen),
                Item::Copy(copied) => self.on_copy(now, &copied),
            }
        }
    }

    fn on_version(&mut self, hop: u32, version: Arc<Version>, out: &mut Outbox) {
        let slots = self.ring.slots();
        let number = version.number();
        let sound = number > 0
            && usize::from(version.origin.0) < slots
            && version.clock.width() <= slots
            && hop > 0;
        let lost = self.core.frozen().get(&version.origin);
        if !sound || !self.filled || lost.is_some_and(|&upto| number > upto) {
            return;
        }
        let new = number == self.core.received().get(version.origin) + 1;
        match self.core.arrive(&version, hop, self.ring_len()) {
            Arrived::Forward(hop) => {
                if new {
                    self.remember(&version);
                }
                self.outgoing.push(Item::Version { hop, version });
            }
            Arrived::Stable => {
                if new {
                    self.remember(&version);
                }
                self.told.stable.join(self.core.stable());
            }
            Arrived::OutOfOrder => {
                let origin = version.origin;
                out.notice(format!("version {number} of {origin} came out of order"));
            }
            Arrived::Undeliverable => {
                let origin = version.origin;
                out.notice(format!(
                    "version {number} of {origin} came without what it depends on"
                ));
            }
        }
    }

    fn on_frozen(&mut self, hop: u32, frozen: BTreeMap<Slot, u64>) {
        for (&slot, &upto) in &frozen {
            self.freeze(slot, upto);
        }
        if hop + 1 < self.ring_len() {
            let hop = hop + 1;
            self.outgoing.push(Item::Frozen { hop, frozen });
        }
    }

    /// Of a dead server only so many versions count.
    pub(super) fn freeze(&mut self, slot: Slot, upto: u64) {
        self.core.freeze(slot, upto);
        if let Some(log) = self.log.get_mut(&slot) {
            log.retain(|version| version.number() <= upto);
        }
        for report in self.told.reports.values_mut() {
            report.clock = self.core.real(&report.clock).into_owned();
        }
        self.members.usable.values_mut().for_each(|clocks| {
            clocks.freeze(&self.core);
        });
    }

    fn on_copy(&mut self, now: Nanos, copied: &Copied) {
        if self.filled {
            return;
        }
        self.core.paste(copied);
        self.memory.begin(now, copied.known_for);
        self.log.clear();
        copied.log.iter().for_each(|version| self.remember(version));
        self.behind.begin(copied.keys().cloned());
        self.filled = true;
        self.link_begins();
    }

    /// All that it has, for its successor.
    pub(super) fn copy(&self) -> Copied {
        let mut copied = self.core.copy(&self.told.stored);
        copied.log = self.log.values().flatten().cloned().collect();
        copied.known_for = self.memory.span(&self.core);
        copied
    }

    // ---- What is told ----

    /// Tells both neighbours that it lives, and all that it knows.
    pub(super) fn tell_neighbours(&mut self, out: &mut Outbox) {
        let Some(slot) = self.slot else {
            return;
        };
        // What a disk has brought back is written again before anybody takes this one's clock for
        // what is still to come.
        if self.is_whole() && self.disk.found.is_empty() {
            let report = Report {
                epoch: self.ring.epoch,
                clock: self.core.past(),
                done: self.behind.done().clone(),
            };
            self.told.reports.insert(slot, report);
        }
        self.said.join(&self.told.stable);
        for to in self.neighbours() {
            let reports = self.told.reports.iter();
            let alive = Message::Alive {
                epoch: self.ring.epoch,
                stable: self.told.stable.clone(),
                stored: self.told.stored.clone(),
                reports: reports.map(|(slot, r)| (*slot, r.clone())).collect(),
            };
            out.send(to, alive);
        }
    }

    pub(super) fn on_reports(&mut self, reports: Vec<(Slot, Report)>) {
        let mut changed = false;
        for (slot, mut report) in reports {
            if usize::from(slot.0) >= self.ring.slots() || Some(slot) == self.slot {
                continue;
            }
            report.clock = self.core.real(&report.clock).into_owned();
            let known = self.told.reports.entry(slot).or_default();
            if report.epoch < known.epoch {
                continue;
            }
            if report.epoch > known.epoch {
                known.epoch = report.epoch;
                known.done = Clock::default();
            }
            known.clock.join(&report.clock);
            known.done.join(&report.done);
            changed = true;
        }
        if changed {
            self.learn_stored();
        }
    }

    /// What all keepers have written is in the backing store.
    pub(super) fn learn_stored(&mut self) {
        let mut all: Option<Clock> = None;
        for seat in self.ring.whole() {
            let report = match Some(seat.slot) == self.slot {
                true => Some(self.behind.done()),
                false => {
                    let report = self.told.reports.get(&seat.slot);
                    let report = report.filter(|report| report.epoch == self.ring.epoch);
                    report.map(|report| &report.done)
                }
            };
            let Some(done) = report else {
                return;
            };
            all = Some(all.map_or_else(|| done.clone(), |all| all.meet(done)));
        }
        if let Some(all) = all {
            self.told.stored.join(&all);
        }
    }

    /// Applies what is known to be stable.
    pub(super) fn apply_stable(&mut self) {
        if self.filled && !self.core.stable().covers(&self.told.stable) {
            self.core.is_stable(&self.told.stable);
        }
    }

    /// Forgets versions that are stable; the backing store has to get what they wrote.
    pub(super) fn trim_log(&mut self) {
        let stable = self.core.stable();
        for (&origin, log) in &mut self.log {
            let upto = stable.get(origin);
            while let Some(version) = log.pop_front_if(|version| version.number() <= upto) {
                if self.config.backed {
                    version
                        .ops
                        .iter()
                        .for_each(|(key, _)| self.behind.wrote(key));
                }
            }
        }
    }
}
