//! Epochs: who joins, who is gone, and what is sent round again.
//!
//! In a new epoch links begin anew, and everything that is not known to be stable goes round twice
//! again: its origin sends it, or the heir of its origin. Before what it inherits, an heir knows how
//! many versions there are; behind them, it tells all. So whoever hears how many count has them.

use super::{NodeBug, Outbox, Server};
use crate::clock::{Clock, Slot};
use crate::config::Level;
use crate::core::Core;
use crate::message::{Item, Message, Question};
use crate::ring::{Ring, Seat, Standing};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId, Peer};
use triptych_world::MS;

/// Clocks of one server that say what its later writes cover.
#[derive(Default)]
pub(super) struct Clocks {
    /// All that it wrote before it said so is applied here.
    usable: Option<Clock>,
    /// Some of that is not.
    candidate: Option<Clock>,
}

impl Clocks {
    fn offer(&mut self, slot: Slot, clock: &Clock, applied: &Clock) {
        let candidate = self.candidate.get_or_insert_with(|| clock.clone());
        if candidate.get(slot) <= applied.get(slot) {
            self.usable = self.candidate.take();
        }
    }

    pub(super) fn freeze(&mut self, core: &Core) {
        for clock in [&mut self.usable, &mut self.candidate]
            .into_iter()
            .flatten()
        {
            *clock = core.real(clock).into_owned();
        }
    }
}

/// What is known of the others on the ring.
#[derive(Default)]
pub(super) struct Watch {
    /// When neighbours were heard of.
    heard: BTreeMap<NodeId, Nanos>,
    /// When this epoch began here.
    since: Nanos,
    /// When the row was asked for that still said this epoch.
    pub(super) row_at: Nanos,
    /// Whether the row was asked for.
    seeking: bool,
    /// What all rows count, if all data of servers are lost.
    survey: Option<Clock>,
    /// When others were last told that they or this one do not know the ring.
    told: BTreeMap<NodeId, Nanos>,
    pub(super) usable: BTreeMap<Slot, Clocks>,
    /// What could have been folded when.
    horizons: VecDeque<(Nanos, Clock)>,
}

impl Server {
    /// Whether a message is of this epoch; otherwise somebody does not know the ring.
    pub(super) fn is_of_epoch(
        &mut self,
        now: Nanos,
        from: Peer,
        epoch: u64,
        out: &mut Outbox,
    ) -> bool {
        let Peer::Node(node) = from else {
            return false;
        };
        if epoch == self.ring.epoch {
            let known = self.slot.is_some() && self.neighbours().any(|other| other == node);
            if known {
                self.members.heard.insert(node, now);
            }
            return known;
        }
        let last = self.members.told.insert(node, now);
        if last.is_none_or(|last| now >= last + MS) {
            match epoch < self.ring.epoch {
                true => out.send(from, Message::Ring(Arc::clone(&self.ring))),
                false => {
                    let epoch = self.ring.epoch;
                    out.send(from, Message::Behind { epoch });
                }
            }
        } else {
            self.members.told.extend(last.map(|last| (node, last)));
        }
        false
    }

    pub(super) fn on_behind(&mut self, from: Peer, epoch: u64, out: &mut Outbox) {
        if epoch < self.ring.epoch {
            out.send(from, Message::Ring(Arc::clone(&self.ring)));
        }
    }

    pub(super) fn on_ring(&mut self, now: Nanos, from: Peer, ring: Arc<Ring>, out: &mut Outbox) {
        let known = matches!(from, Peer::Node(node) if self.config.servers.contains(&node));
        if known && self.config.backed && ring.epoch > self.ring.epoch && can_be(&ring) {
            self.install(now, ring, out);
        }
    }

    pub(super) fn on_born(&mut self, now: Nanos, out: &mut Outbox) {
        self.born = true;
        match self.config.backed {
            true => self.seek_ring(now, out),
            false => {
                let ring = Ring::fixed(&self.config.servers);
                self.install(now, Arc::new(ring), out);
            }
        }
    }

    /// Asks for the row.
    pub(super) fn seek_ring(&mut self, now: Nanos, out: &mut Outbox) {
        if self.config.backed && !self.members.seeking {
            self.members.seeking = self.ask(now, Question::Ring, out);
        }
    }

    /// The row is this, and was asked for at `at`.
    pub(super) fn on_row(&mut self, now: Nanos, at: Nanos, row: Option<Ring>, out: &mut Outbox) {
        self.members.seeking = false;
        let row = row.unwrap_or_default();
        if row.epoch > self.ring.epoch && can_be(&row) {
            let ring = Arc::new(row.clone());
            self.install(now, Arc::clone(&ring), out);
            if self.born {
                let others = ring.alive().map(|seat| seat.member.node);
                for node in others.filter(|&node| node != self.member.node) {
                    out.send(node, Message::Ring(Arc::clone(&ring)));
                }
            }
        }
        if row.epoch == self.ring.epoch && self.born {
            self.members.row_at = self.members.row_at.max(at);
            self.propose(now, row, out);
        }
    }

    pub(super) fn on_surveyed(&mut self, now: Nanos, clock: Clock, out: &mut Outbox) {
        self.members.survey = Some(clock);
        self.seek_ring(now, out);
    }

    /// A question about the ring was not answered.
    pub(super) fn ring_failed(&mut self) {
        self.members.seeking = false;
    }

    fn silent_for(&self, now: Nanos, node: NodeId) -> Nanos {
        let heard = self.members.heard.get(&node).copied().unwrap_or(0);
        now.saturating_sub(heard.max(self.members.since))
    }

    /// Whether it has heard of the others, or of the row, lately.
    pub(super) fn has_lease(&self, now: Nanos) -> bool {
        let lease = self.config.timing.lease;
        if now < self.members.row_at.saturating_add(lease) {
            return true;
        }
        let heard = |node| {
            let heard = self.members.heard.get(&node);
            heard.is_some_and(|&heard| now < heard.saturating_add(lease))
        };
        self.neighbours().next().is_some() && self.neighbours().all(heard)
    }

    /// Looks whether the ring has to change, or this server's lease is about to end.
    pub(super) fn watch(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.config.backed {
            return;
        }
        let timing = &self.config.timing;
        let half = timing.lease / 2;
        let silent = self
            .neighbours()
            .any(|node| self.silent_for(now, node) > half);
        let alone = self.neighbours().next().is_none();
        let old = now >= self.members.row_at.saturating_add(half);
        let joining = self.slot.is_some() && !self.is_whole() && self.filled;
        if self.slot.is_none() || joining || ((silent || alone) && old) {
            self.seek_ring(now, out);
        }
    }

    /// Proposes another ring, if this one, which is the row's, has to change.
    fn propose(&mut self, now: Nanos, row: Ring, out: &mut Outbox) {
        let mut next = row.clone();
        let me = self.member;
        let seated = next.seat_of(me).copied();
        let timing = &self.config.timing;
        let mut dead: Vec<Slot> = Vec::new();
        if seated.is_some() {
            let long = |seat: &Seat, span| self.silent_for(now, seat.member.node) > span;
            let beside: Vec<NodeId> = self.neighbours().collect();
            let deaf = |&node: &NodeId| self.silent_for(now, node) > timing.dead_after;
            let alone = beside.len() > 1 && beside.iter().all(deaf);
            let beside = next
                .alive()
                .filter(|seat| beside.contains(&seat.member.node));
            // Who hears nobody is more likely to be cut off than to be the last.
            let patience = timing.dead_after * if alone { 4 } else { 1 };
            let silent = beside.filter(|seat| long(seat, patience));
            let silent: Vec<Seat> = silent.copied().collect();
            let gone = |seat: &Seat| silent.iter().any(|other| other.slot == seat.slot);
            // Those who have all data may come back, if nobody else has them.
            let some = next.whole().any(|seat| !gone(seat));
            let very = |seat: &&Seat| some || !seat.is_whole() || long(seat, timing.found_after);
            dead.extend(silent.iter().filter(very).map(|seat| seat.slot));
        } else {
            let earlier = next.alive().filter(|seat| seat.member.node == me.node);
            dead.extend(earlier.map(|seat| seat.slot));
        }
        next.remove(&dead);
        let mut slot = seated.map(|seat| seat.slot);
        if seated.is_none() {
            slot = Some(match self.has_bug(NodeBug::ReusesSlot) {
                true => rejoin(&mut next, me),
                false => next.join(me),
            });
        }
        if seated.is_some_and(|seat| !seat.is_whole())
            && (self.filled || self.has_bug(NodeBug::ServesWithoutCopy))
        {
            next.complete(slot.unwrap_or_default());
        }
        next.stored.join(&self.told.stored);
        if next.whole().next().is_none()
            && let Some(slot) = slot
        {
            if row.epoch > 0 {
                let Some(survey) = self.members.survey.take() else {
                    if !self.is_surveying() {
                        self.ask(now, Question::Survey, out);
                    }
                    return;
                };
                next.ruins.join(&survey);
                let stored = next.stored.clone();
                next.ruins.join(&stored);
                next.ruined = slot.0;
            }
            next.complete(slot);
        }
        if next.seats == row.seats {
            return;
        }
        next.epoch += 1;
        let expected = row.epoch;
        let swap = Question::Swap {
            expected,
            ring: next,
        };
        self.members.seeking = self.ask(now, swap, out);
    }

    /// A new epoch.
    fn install(&mut self, now: Nanos, ring: Arc<Ring>, out: &mut Outbox) {
        let seat = ring.seat_of(self.member).copied();
        let was = self.slot;
        if seat.is_none() && was.is_some() && self.has_bug(NodeBug::RemovedServes) {
            return;
        }
        // Whoever began anew with what the store had, or with nothing.
        let founder = seat.is_some_and(|seat| seat.slot.0 == ring.ruined);
        let was_whole = self.is_whole();
        self.ring = ring;
        self.members.since = now;
        self.members.survey = None;
        let Some(seat) = seat else {
            if was.is_some() {
                self.end_life(out);
            }
            return;
        };
        self.outgoing = crate::link::Outgoing::new();
        self.incoming = crate::link::Incoming::default();
        self.held.clear();
        self.said = Clock::default();
        self.ack_due = false;
        if was != Some(seat.slot) {
            self.fill_nothing(seat.slot);
        }
        self.slot = Some(seat.slot);
        match seat.standing {
            Standing::Whole if was_whole => {}
            // It made its own seat whole, with the copy that it has; it may have missed that epoch.
            Standing::Whole if self.filled && !founder => {}
            Standing::Whole => {
                // Nobody had any data, or nobody was there.
                self.fill_nothing(seat.slot);
                let ruins = self.ring.ruins.clone();
                self.core.found(&ruins);
                self.told.stable.join(&ruins);
                self.told.stored.join(&ruins);
                // What others were asked before is not known any more.
                let first = self.ring.ruined == 0;
                self.memory.begin(now, if first { now } else { 0 });
                self.filled = true;
            }
            _ => self.fill_nothing(seat.slot),
        }
        self.behind.new_epoch(&self.told.stored);
        if self.filled {
            self.link_begins();
        }
        self.tell_neighbours(out);
    }

    /// Forgets all data.
    fn fill_nothing(&mut self, slot: Slot) {
        self.core = Core::new(slot, !self.config.backed, self.bugs.core);
        self.log.clear();
        self.free = 0;
        self.filled = false;
        self.behind.begin(std::iter::empty());
        self.members.usable.clear();
        self.members.horizons.clear();
    }

    /// It was taken off the ring: it begins a new life.
    fn end_life(&mut self, out: &mut Outbox) {
        out.notice(format!("taken off the ring in epoch {}", self.ring.epoch));
        let slot = self.slot.take();
        if self.config.level == Level::Synced
            && let Some(own) = slot.and_then(|slot| self.log.remove(&slot))
        {
            self.disk.found.extend(own);
        }
        self.fill_nothing(Slot::default());
        self.dismiss(out);
        self.members.heard.clear();
        self.members.seeking = false;
        self.member.life += 1;
        self.born = false;
        self.behind.new_life(self.member.life);
        self.begin_life(out);
    }

    /// The first on a new link: what the successor lacks, what is left of the dead, and all own
    /// versions that are not stable.
    pub(super) fn link_begins(&mut self) {
        let Some(slot) = self.slot else {
            return;
        };
        let ruined = Slot(self.ring.ruined);
        let mut inherited = Vec::new();
        let whole = self.is_whole();
        for seat in self.ring.seats.clone() {
            match seat.standing {
                Standing::Dead(None) if seat.slot < ruined => {
                    self.freeze(seat.slot, self.ring.ruins.get(seat.slot));
                }
                // It never had data, so it wrote nothing.
                Standing::Dead(None) => self.freeze(seat.slot, 0),
                Standing::Dead(Some(heir)) if heir == slot && whole => {
                    let upto = self.core.received().get(seat.slot);
                    self.freeze(seat.slot, upto);
                    inherited.push(seat.slot);
                }
                _ => {}
            }
        }
        let behind = self.ring.successor(slot).copied();
        if behind.is_some_and(|seat| seat.standing == Standing::Joining && seat.slot != slot) {
            self.outgoing.push(Item::Copy(Arc::new(self.copy())));
        }
        if !whole {
            return;
        }
        if !self.has_bug(NodeBug::ForgetsInheritance) {
            for dead in inherited {
                self.send_round(dead, u64::MAX);
            }
        }
        let frozen = self.core.frozen().clone();
        if !frozen.is_empty() && self.ring.len() > 1 {
            self.outgoing.push(Item::Frozen { hop: 1, frozen });
        }
        self.send_round(slot, self.free);
    }

    /// Sends round again what is not stable of an origin.
    fn send_round(&mut self, origin: Slot, upto: u64) {
        if self.has_bug(NodeBug::NoRecirculation) {
            return;
        }
        let log = self.log.get(&origin).into_iter().flatten();
        let log = log.filter(|version| version.number() <= upto);
        let log: Vec<_> = log.cloned().collect();
        log.iter().for_each(|version| self.depart(version));
    }

    /// Lets the core fold what nobody can write before any more, and nobody has asked to keep.
    pub(super) fn fold(&mut self, now: Nanos) {
        if !self.is_whole() {
            return;
        }
        let applied = self.core.applied().clone();
        for (&slot, report) in &self.told.reports {
            let clocks = self.members.usable.entry(slot).or_default();
            clocks.offer(slot, &report.clock, &applied);
        }
        if let Some(horizon) = self.horizon() {
            self.members.horizons.push_back((now, horizon));
        }
        let keep = self.config.timing.keep_for;
        let old = |&mut (at, _): &mut (Nanos, Clock)| now >= at.saturating_add(keep);
        let mut last = None;
        while let Some((_, horizon)) = self.members.horizons.pop_front_if(old) {
            last = Some(horizon);
        }
        if let Some(horizon) = last {
            self.core.fold_upto(&horizon);
        }
    }

    /// What every write that may still come comes after, and the backing store has: what a disk
    /// brings back must find the same requests among those that are kept.
    fn horizon(&self) -> Option<Clock> {
        let usable = |slot| self.members.usable.get(&slot)?.usable.as_ref();
        let mut horizon: Option<Clock> = None;
        for seat in &self.ring.seats {
            let counts = match seat.standing {
                Standing::Whole => true,
                Standing::Joining => false,
                // Its disk may have versions that it has yet to write again.
                Standing::Dead(heir) => {
                    let back = self.ring.whole().any(|other| {
                        other.member.node == seat.member.node && usable(other.slot).is_some()
                    });
                    self.config.level == Level::Synced && heir.is_some() && !back
                }
            };
            if counts {
                let clock = usable(seat.slot)?;
                horizon = Some(horizon.map_or_else(|| clock.clone(), |h| h.meet(clock)));
            }
        }
        match self.config.backed {
            true => horizon.map(|horizon| horizon.meet(&self.told.stored)),
            false => horizon,
        }
    }
}

/// Whether a ring is one that servers make.
fn can_be(ring: &Ring) -> bool {
    let places = ring.seats.iter().enumerate();
    let in_order = |(at, seat): (usize, &Seat)| usize::from(seat.slot.0) == at;
    let slots = ring.slots();
    places.into_iter().all(in_order)
        && ring.stored.width() <= slots
        && ring.ruins.width() <= slots
        && usize::from(ring.ruined) <= slots
}

/// The seeded defect: the seat of an earlier life again.
fn rejoin(ring: &mut Ring, member: crate::ring::Member) -> Slot {
    let earlier = ring.seats.iter_mut().rev();
    let earlier = earlier
        .into_iter()
        .find(|seat| seat.member.node == member.node);
    match earlier {
        Some(seat) => {
            seat.member = member;
            seat.standing = Standing::Joining;
            seat.slot
        }
        None => ring.join(member),
    }
}
