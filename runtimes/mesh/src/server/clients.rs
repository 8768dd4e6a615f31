//! What clients ask: what can be answered at once, and what has to wait, for versions, for keys, or
//! until a write is as durable as the level says. Whatever waits, others go on.

use super::{NodeBug, Outbox, Server};
use crate::clock::{Clock, Slot};
use crate::config::Level;
use crate::core::Refused;
use crate::message::Message;
use crate::port::{Failure, Reply, Request};
use crate::version::{Key, Op, Version, WriteId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_api::{Change, Condition, Updated, Value};
use triptych_nodes::{Nanos, Peer};

/// How deep conditions may be nested.
const DEPTH: usize = 32;
/// More writes than one server ever accepts: a clock that counts more is made up.
const IMPOSSIBLE: u64 = 1 << 48;

/// A request that waits.
struct Parked {
    from: Peer,
    op: u64,
    request: Request,
    since: Nanos,
}

/// A write that is made, and not as durable as the level says.
struct Promised {
    from: Peer,
    op: u64,
    since: Nanos,
    reply: Reply,
}

/// What waits.
#[derive(Default)]
pub(super) struct Desk {
    next: u64,
    parked: BTreeMap<u64, Parked>,
    /// Who waits for a key.
    by_key: BTreeMap<Key, Vec<u64>>,
    /// Keys of requests that wait for keys, and how many of those name each: they are not forgotten
    /// meanwhile, or a request of many keys might never find all of them.
    pinned: BTreeMap<Key, usize>,
    /// Who waits for something else.
    others: BTreeSet<u64>,
    /// By the number of the own version, and by when it came.
    promised: BTreeMap<(u64, u64), Promised>,
    /// What was there when others were looked at last: received, stable, slots.
    seen: (Clock, Clock, usize),
}

impl Desk {
    pub(super) fn len(&self) -> usize {
        self.parked.len() + self.promised.len()
    }

    /// Whether a request waits that names this key.
    pub(super) fn is_pinned(&self, key: &Key) -> bool {
        self.pinned.contains_key(key)
    }

    fn park(&mut self, id: u64, parked: Parked) {
        for key in keys_of(&parked.request) {
            *self.pinned.entry(key.clone()).or_default() += 1;
        }
        self.parked.insert(id, parked);
    }

    fn unpark(&mut self, id: u64) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        for key in keys_of(&parked.request) {
            if let Some(many) = self.pinned.get_mut(key) {
                *many -= 1;
                if *many == 0 {
                    self.pinned.remove(key);
                }
            }
        }
        Some(parked)
    }

    /// Nobody listens any more.
    pub(super) fn gone(&mut self, client: Peer) {
        let gone = self.parked.iter().filter(|(_, p)| p.from == client);
        let gone: Vec<u64> = gone.map(|(&id, _)| id).collect();
        for id in gone {
            self.unpark(id);
            self.others.remove(&id);
        }
        self.promised.retain(|_, promised| promised.from != client);
    }
}

/// The keys that a request looks at.
fn keys_of(request: &Request) -> &[Key] {
    match request {
        Request::Read { keys, .. } | Request::ReadAt { keys, .. } => keys,
        Request::Update { key, .. } => std::slice::from_ref(key),
        Request::Write { .. } | Request::Snapshot { .. } | Request::Status => &[],
    }
}

/// Why a request is not answered now.
enum Stop {
    Fail(Failure),
    /// For these keys.
    Keys(Vec<Key>),
    /// For versions, or a newer ring.
    More,
}

/// What a request came to.
enum Done {
    Reply(Reply),
    /// To be said when the own version of this number is durable.
    Promise(u64, Reply),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing { .. } => Stop::More,
            Refused::NoServer(slot) => {
                Stop::Fail(Failure::Bad(format!("there is no server {slot}")))
            }
            Refused::SnapshotTooOld => Stop::Fail(Failure::SnapshotTooOld),
            Refused::NotLoaded(keys) => Stop::Keys(keys),
            Refused::Malformed(words) => Stop::Fail(Failure::Bad(words.to_owned())),
        }
    }
}

fn bad<T>(words: &str) -> Result<T, Stop> {
    Err(Stop::Fail(Failure::Bad(words.to_owned())))
}

/// Whether a condition is nested no deeper than that. Without recursion: it comes from outside.
fn is_flat(condition: &Condition, limit: usize) -> bool {
    let mut todo = vec![(condition, 1)];
    while let Some((condition, depth)) = todo.pop() {
        if depth > limit {
            return false;
        }
        match condition {
            Condition::All(all) | Condition::Any(all) => {
                todo.extend(all.iter().map(|inner| (inner, depth + 1)));
            }
            Condition::Not(inner) => todo.push((inner, depth + 1)),
            Condition::Exists(_) | Condition::Absent(_) | Condition::Compare(..) => {}
        }
    }
    true
}

fn reply(from: Peer, op: u64, reply: Reply, out: &mut Outbox) {
    out.send(from, Message::Reply { op, reply });
}

impl Server {
    pub(super) fn on_request(
        &mut self,
        now: Nanos,
        from: Peer,
        op: u64,
        request: Request,
        out: &mut Outbox,
    ) {
        let since = now;
        self.serve(
            now,
            Parked {
                from,
                op,
                request,
                since,
            },
            out,
        );
    }

    fn serve(&mut self, now: Nanos, parked: Parked, out: &mut Outbox) {
        let Parked { from, op, .. } = parked;
        match self.attempt(now, &parked, out) {
            Ok(Done::Reply(answer)) => reply(from, op, answer, out),
            Ok(Done::Promise(number, answer)) => {
                let id = self.desk.next;
                self.desk.next += 1;
                let promised = Promised {
                    from,
                    op,
                    since: parked.since,
                    reply: answer,
                };
                self.desk.promised.insert((number, id), promised);
            }
            Err(Stop::Fail(failure)) => reply(from, op, Reply::Failed(failure), out),
            Err(stop) => {
                let id = self.desk.next;
                self.desk.next += 1;
                match stop {
                    Stop::Keys(keys) => {
                        for key in keys {
                            self.behind.want(&key);
                            self.desk.by_key.entry(key).or_default().push(id);
                        }
                    }
                    _ => drop(self.desk.others.insert(id)),
                }
                self.desk.park(id, parked);
            }
        }
    }

    /// Looks again at what waits, if something has come that it may wait for.
    pub(super) fn wake(&mut self, now: Nanos, out: &mut Outbox) {
        let (received, stable, slots) = &self.desk.seen;
        let same = received == self.core.received()
            && stable == self.core.stable()
            && *slots == self.ring.slots();
        if same || self.desk.others.is_empty() {
            return;
        }
        self.desk.seen = (
            self.core.received().clone(),
            self.core.stable().clone(),
            self.ring.slots(),
        );
        for id in std::mem::take(&mut self.desk.others) {
            if let Some(parked) = self.desk.unpark(id) {
                self.serve(now, parked, out);
            }
        }
    }

    /// Keys were loaded.
    pub(super) fn wake_keys(&mut self, now: Nanos, keys: &[Key], out: &mut Outbox) {
        for key in keys {
            for id in self.desk.by_key.remove(key).unwrap_or_default() {
                // It may wait for several keys, and was looked at when the first of them came.
                if let Some(parked) = self.desk.unpark(id) {
                    self.serve(now, parked, out);
                }
            }
        }
    }

    /// Answers the writes that have become durable.
    pub(super) fn keep_promises(&mut self, out: &mut Outbox) {
        if self.desk.promised.is_empty() {
            return;
        }
        let upto = self.durable();
        while let Some(entry) = self.desk.promised.first_entry() {
            if entry.key().0 > upto {
                return;
            }
            let promised = entry.remove();
            reply(promised.from, promised.op, promised.reply, out);
        }
    }

    /// How many of its own versions are as durable as the level says.
    fn durable(&self) -> u64 {
        let Some(slot) = self.slot else {
            return 0;
        };
        let further = self.config.further();
        if further == 0 {
            return self.free;
        }
        if self.has_bug(NodeBug::AcksBeforeDurable) {
            return self.core.received().get(slot);
        }
        // Only those count that would inherit.
        let mut at = slot;
        let mut upto = self.free;
        for nth in 0..further {
            let seat = self.ring.successor(at);
            let seat = seat.filter(|seat| seat.is_whole() && seat.slot != slot);
            let (Some(seat), Some(held)) = (seat, self.held.get(nth)) else {
                return self.core.stable().get(slot);
            };
            upto = upto.min(held.get(slot));
            at = seat.slot;
        }
        // What is stable has been received by all, whatever was acknowledged since the ring changed.
        upto.max(self.core.stable().get(slot))
    }

    /// Answers what has waited for too long.
    pub(super) fn give_up(&mut self, now: Nanos, out: &mut Outbox) {
        let patience = self.config.timing.give_up_after;
        let late = |since: Nanos| now >= since.saturating_add(patience);
        let parked = self.desk.parked.iter();
        let gone = parked.filter(|(_, parked)| late(parked.since));
        let gone: Vec<u64> = gone.map(|(&id, _)| id).collect();
        for id in gone {
            self.desk.others.remove(&id);
            if let Some(parked) = self.desk.unpark(id) {
                let failed = Reply::Failed(Failure::Unavailable);
                reply(parked.from, parked.op, failed, out);
            }
        }
        let promised = self.desk.promised.iter();
        let gone = promised.filter(|(_, promised)| late(promised.since));
        let gone: Vec<(u64, u64)> = gone.map(|(&id, _)| id).collect();
        for id in gone {
            if let Some(promised) = self.desk.promised.remove(&id) {
                let failed = Reply::Failed(Failure::Unknown);
                reply(promised.from, promised.op, failed, out);
            }
        }
        // Nobody waits for these keys any more.
        let parked = &self.desk.parked;
        self.desk.by_key.retain(|_, waiting| {
            waiting.retain(|id| parked.contains_key(id));
            !waiting.is_empty()
        });
    }

    /// Answers everything: it is not on the ring any more.
    pub(super) fn dismiss(&mut self, out: &mut Outbox) {
        let desk = std::mem::take(&mut self.desk);
        self.desk.next = desk.next;
        for (_, parked) in desk.parked {
            let failed = Reply::Failed(Failure::Unavailable);
            reply(parked.from, parked.op, failed, out);
        }
        for (_, promised) in desk.promised {
            let failed = Reply::Failed(Failure::Unknown);
            reply(promised.from, promised.op, failed, out);
        }
    }

    // ---- One request ----

    fn attempt(&mut self, now: Nanos, parked: &Parked, out: &mut Outbox) -> Result<Done, Stop> {
        if let Request::Status = parked.request {
            let gauges = triptych_nodes::Node::gauges(self).into_iter();
            let gauges = gauges.map(|(name, value)| (name.to_owned(), value));
            return Ok(Done::Reply(Reply::Status {
                gauges: gauges.collect(),
            }));
        }
        if !self.may_serve(now) {
            return Err(Stop::Fail(Failure::Unavailable));
        }
        self.check_clocks(parked, out)?;
        let slots = self.ring.slots();
        let stable = self.core.stable().clone();
        match &parked.request {
            Request::Read { deps, own, keys } => {
                self.check_keys(keys.len())?;
                self.check_own(own)?;
                let seen = self.core.read(slots, deps, own, keys)?;
                self.behind.used(keys);
                Ok(Done::Reply(Reply::Read { seen, stable }))
            }
            Request::ReadAt {
                snapshot,
                own,
                keys,
            } => {
                self.check_keys(keys.len())?;
                self.check_own(own)?;
                let seen = self.core.read_at(slots, snapshot, own, keys)?;
                self.behind.used(keys);
                Ok(Done::Reply(Reply::Read { seen, stable }))
            }
            Request::Snapshot { deps } => {
                self.core.integrate(deps)?;
                let mut snapshot = stable;
                snapshot.join(&self.core.real(deps));
                Ok(Done::Reply(Reply::Snapshot { snapshot }))
            }
            Request::Write {
                write,
                deps,
                own,
                ops,
            } => {
                self.check_keys(ops.len())?;
                self.check_own_clock(own)?;
                self.check_received(deps)?;
                let version = self.write(*write, deps, own, ops.clone(), out)?;
                let number = self.promise(&version)?;
                Ok(done(number, Reply::Written { version, stable }))
            }
            Request::Update {
                write,
                deps,
                own,
                key,
                condition,
                changes,
            } => {
                self.check_own(own)?;
                if condition.as_ref().is_some_and(|c| !is_flat(c, DEPTH)) {
                    return bad("the condition is nested too deep");
                }
                self.update(*write, deps, own, key, condition.as_ref(), changes, out)
            }
            Request::Status => bad("it was answered above"),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn update(
        &mut self,
        write: WriteId,
        deps: &Clock,
        own: &[Arc<Version>],
        key: &Key,
        condition: Option<&Condition>,
        changes: &[Change],
        out: &mut Outbox,
    ) -> Result<Done, Stop> {
        let slots = self.ring.slots();
        let stable = self.core.stable().clone();
        let keys = std::slice::from_ref(key);
        if let Some(version) = self.core.known(write) {
            // It was asked before: it counts once, and the sum is what it has come to since.
            let number = self.promise(&version)?;
            let mut with = own.to_vec();
            with.push(Arc::clone(&version));
            let seen = self.core.read(slots, deps, &with, keys)?;
            let seen = seen.into_iter().next().unwrap_or_default();
            let sum = sum_of(seen.value.as_ref(), changes);
            let applied = true;
            let answer = Reply::Updated {
                updated: Updated { applied, sum },
                seen,
                version: Some(version),
                stable,
            };
            return Ok(done(number, answer));
        }
        let seen = self.core.read(slots, deps, own, keys)?;
        let seen = seen.into_iter().next().unwrap_or_default();
        let (updated, document) = self
            .core
            .consider(slots, deps, own, key, condition, changes)?;
        self.behind.used(keys);
        let mut number = 0;
        let mut version = None;
        if updated.applied {
            let mut clock = Clock::default();
            own.iter().for_each(|own| clock.join(&own.clock));
            let op = match self.config.compat {
                true => Op::Put(document),
                false => Op::Change(changes.to_vec()),
            };
            let made = self.write(write, deps, &clock, vec![(key.clone(), op)], out)?;
            number = self.promise(&made)?;
            version = Some(made);
        }
        let answer = Reply::Updated {
            updated,
            seen,
            version,
            stable,
        };
        Ok(done(number, answer))
    }

    fn write(
        &mut self,
        write: WriteId,
        deps: &Clock,
        own: &Clock,
        ops: Vec<(Key, Op)>,
        out: &mut Outbox,
    ) -> Result<Arc<Version>, Stop> {
        if let Some(known) = self.core.known(write) {
            return Ok(known);
        }
        let unstable: usize = self.log.values().map(|log| log.len()).sum();
        let few = self.ring.whole().count() <= self.config.further();
        if few || unstable >= self.config.limits.unstable {
            return Err(Stop::Fail(Failure::Unavailable));
        }
        let slots = self.ring.slots();
        let version = self.core.write(slots, deps, own, write, ops)?;
        self.accepted(&version, out);
        Ok(version)
    }

    /// The number under which a version is awaited, 0 if it need not be.
    fn promise(&self, version: &Version) -> Result<u64, Stop> {
        if Some(version.origin) == self.slot {
            let number = version.number();
            return Ok(if number <= self.durable() { 0 } else { number });
        }
        // It came along the ring: its origin has it as the level says, and so has this one.
        let stable = version.is_counted_by(self.core.stable());
        match stable || self.config.further() <= 1 {
            true => Ok(0),
            false => Err(Stop::More),
        }
    }

    // ---- What a request may say ----

    fn check_keys(&self, many: usize) -> Result<(), Stop> {
        match many > self.config.limits.request_keys {
            true => bad("too many keys"),
            false => Ok(()),
        }
    }

    /// Clocks name only servers that were, and count nothing impossible.
    fn check_clocks(&mut self, parked: &Parked, out: &mut Outbox) -> Result<(), Stop> {
        let (deps, own, versions): (_, _, &[Arc<Version>]) = match &parked.request {
            Request::Read { deps, own, .. } => (deps, None, own),
            Request::ReadAt { snapshot, own, .. } => (snapshot, None, own),
            Request::Write { deps, own, .. } => (deps, Some(own), &[]),
            Request::Update { deps, own, .. } => (deps, None, own),
            Request::Snapshot { deps } => (deps, None, &[]),
            Request::Status => return Ok(()),
        };
        let slots = self.ring.slots();
        let clocks = versions.iter().map(|version| &version.clock);
        let clocks = clocks.chain(own).chain([deps]);
        let mut wide = false;
        for clock in clocks {
            wide |= clock.width() > slots;
            if clock.iter().any(|(_, count)| count >= IMPOSSIBLE) {
                return bad("a clock counts more writes than there can be");
            }
            if let Some(slot) = self.slot
                && clock.get(slot) > self.core.received().get(slot)
            {
                return bad("a clock counts writes that this server has not made");
            }
        }
        let numbered = |version: &Arc<Version>| version.number() > 0;
        if !versions.iter().all(numbered) {
            return bad("a write without a number");
        }
        if wide {
            // Perhaps the ring has changed.
            if !self.config.backed || self.members.row_at > parked.since {
                return bad("a clock names a server that never was");
            }
            self.seek_ring(parked.since, out);
            return Err(Stop::More);
        }
        // Of servers whose data were lost with all others, only what the store had is left.
        let ruined = Slot(self.ring.ruined);
        let mut lost = deps.iter();
        let lost = lost.find(|&(slot, n)| slot < ruined && n > self.ring.ruins.get(slot));
        match lost {
            Some((slot, _)) => Err(Stop::Fail(Failure::Lost(slot))),
            None => Ok(()),
        }
    }

    /// None of the client's own versions was lost.
    fn check_own(&self, own: &[Arc<Version>]) -> Result<(), Stop> {
        let frozen = self.core.frozen();
        let lost = |own: &&Arc<Version>| {
            let upto = frozen.get(&own.origin);
            upto.is_some_and(|&upto| own.number() > upto)
        };
        match own.iter().find(lost) {
            Some(own) => Err(Stop::Fail(Failure::Lost(own.origin))),
            None => Ok(()),
        }
    }

    fn check_own_clock(&self, own: &Clock) -> Result<(), Stop> {
        let frozen = self.core.frozen().iter();
        let mut lost = frozen.filter(|&(&slot, &upto)| own.get(slot) > upto);
        match lost.next() {
            Some((&slot, _)) => Err(Stop::Fail(Failure::Lost(slot))),
            None => Ok(()),
        }
    }

    /// Everything that the writer depends on is here; it is everywhere.
    fn check_received(&self, deps: &Clock) -> Result<(), Stop> {
        match self.core.received().covers(&self.core.real(deps)) {
            true => Ok(()),
            false => Err(Stop::More),
        }
    }

    /// Whether it may answer clients.
    fn may_serve(&self, now: Nanos) -> bool {
        if !self.config.backed {
            return self.is_whole();
        }
        if self.has_bug(NodeBug::ServesWithoutCopy) && self.slot.is_some() {
            return true;
        }
        let lapsed = !self.has_lease(now) && !self.has_bug(NodeBug::RemovedServes);
        self.is_whole() && !lapsed
    }

    /// Writes again what a disk has brought back from an earlier life, if nobody has it.
    pub(super) fn write_again(&mut self, out: &mut Outbox) {
        if self.disk.found.is_empty() || !self.is_whole() {
            return;
        }
        // How many versions of its earlier lives count is on its way.
        let (ring, frozen) = (&self.ring, self.core.frozen());
        let known =
            |old: &Arc<Version>| old.origin < Slot(ring.ruined) || frozen.contains_key(&old.origin);
        if !self.disk.found.iter().all(known) {
            return;
        }
        let found = std::mem::take(&mut self.disk.found);
        if self.config.level != Level::Synced {
            return;
        }
        if !self.has_bug(NodeBug::ForgetsDisk) {
            for old in &found {
                let ruined = old.origin < Slot(self.ring.ruined);
                let known = match ruined {
                    true => self.ring.stored.get(old.origin),
                    false => *self.core.frozen().get(&old.origin).unwrap_or(&0),
                };
                if old.number() <= known || self.core.known(old.write).is_some() {
                    continue;
                }
                // What it depended on, as far as that is left.
                // Some of it may be on its way.
                let own = self.core.real(&old.clock).into_owned();
                let (slots, deps) = (self.ring.slots(), Clock::default());
                let again = self
                    .core
                    .write(slots, &deps, &own, old.write, old.ops.clone());
                if let Ok(version) = again {
                    self.accepted(&version, out);
                }
            }
        }
        self.forget_found(&found, out);
    }
}

fn done(number: u64, reply: Reply) -> Done {
    match number {
        0 => Done::Reply(reply),
        number => Done::Promise(number, reply),
    }
}

/// The number that an update has arrived at.
fn sum_of(document: Option<&Value>, changes: &[Change]) -> Option<i64> {
    let added = changes.iter().find_map(|change| match change {
        Change::Add(field, _) => Some(field),
        Change::Set(..) | Change::Append { .. } => None,
    });
    match document? {
        Value::Map(document) => document.get(added?)?.as_int(),
        _ => None,
    }
}
