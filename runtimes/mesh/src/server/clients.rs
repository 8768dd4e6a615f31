//! What clients ask: one request at a time, looked at as often as it takes ([`super::desk`]). It is
//! answered, or it says what it has to wait for.

use super::desk::Parked;
use super::{NodeBug, Outbox, Server};
use crate::clock::{Clock, Slot};
use crate::context::Own;
use crate::core::{Core, Refused};
use crate::port::{Failure, Reply, Request};
use crate::version::{Key, Op, Version, WriteId};
use std::sync::Arc;
use triptych_api::{Change, Condition, Updated, Value};
use triptych_nodes::Nanos;

/// How deep conditions may be nested.
const DEPTH: usize = 32;
/// More writes than one server ever accepts: a clock that counts more is made up.
const IMPOSSIBLE: u64 = 1 << 48;
const NEVER_MADE: &str = "a clock counts writes that were never made";

/// Why a request is not answered now.
pub(super) enum Stop {
    Fail(Failure),
    /// For these keys.
    Keys(Vec<Key>),
    /// For versions, or a newer ring.
    More,
}

/// What a request came to.
pub(super) enum Done {
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

impl Server {
    /// Answers a request, or says what it waits for.
    pub(super) fn attempt(
        &mut self,
        now: Nanos,
        parked: &Parked,
        out: &mut Outbox,
    ) -> Result<Done, Stop> {
        if let Request::Status = parked.request {
            let gauges = triptych_nodes::Node::gauges(self).into_iter();
            let gauges = gauges.map(|(name, value)| (name.to_owned(), value));
            return Ok(Done::Reply(Reply::Status {
                gauges: gauges.collect(),
            }));
        }
        self.check_form(&parked.request)?;
        if !self.may_serve(now) {
            return Err(Stop::Fail(Failure::Unavailable));
        }
        self.check_clocks(now, parked, out)?;
        self.check_closed(now, parked, out)?;
        let slots = self.ring.slots();
        let stable = self.core.stable().clone();
        match &parked.request {
            Request::Read { deps, own, keys } => {
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
                self.check_age(parked, *write)?;
                self.check_made(&own.made)?;
                let version = self.write(*write, deps, &own.clock, ops.clone(), out)?;
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
                self.check_age(parked, *write)?;
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
            let clock = Own::of(own).clock;
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
        // Without dissemination what is stable is kept until somebody asks for it; it does not count.
        let received = self.core.received().iter();
        let unstable = received.map(|(slot, n)| n.saturating_sub(self.told.stable.get(slot)));
        let unstable = unstable.sum::<u64>() as usize;
        let few = self.ring.whole().count() <= self.config.further();
        if few || unstable >= self.config.limits.unstable {
            return Err(Stop::Fail(Failure::Unavailable));
        }
        let slots = self.ring.slots();
        let version = self.core.write(slots, deps, own, write, ops);
        let version = version.map_err(|refused| match refused {
            // What it depends on is here.
            Refused::Missing { .. } => Refused::Malformed(NEVER_MADE),
            other => other,
        })?;
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

    /// What can be told without a look at anything but the request: it is refused in the same way
    /// whatever state the server is in.
    fn check_form(&self, request: &Request) -> Result<(), Stop> {
        let keys = match request {
            Request::Read { keys, .. } | Request::ReadAt { keys, .. } => keys.len(),
            Request::Write { ops, .. } => ops.len(),
            Request::Update { .. } | Request::Snapshot { .. } | Request::Status => 1,
        };
        if keys > self.config.limits.request_keys {
            return bad("too many keys");
        }
        match request {
            Request::Write { ops, .. } => Core::sound(ops)?,
            Request::Update {
                condition: Some(condition),
                ..
            } if !is_flat(condition, DEPTH) => return bad("the condition is nested too deep"),
            _ => {}
        }
        for clock in clocks_of(request) {
            if clock.iter().any(|(_, count)| count >= IMPOSSIBLE) {
                return bad("a clock counts more writes than there can be");
            }
        }
        match own_of(request).iter().all(|own| own.number() > 0) {
            true => Ok(()),
            false => bad("a write without a number"),
        }
    }

    /// Clocks name only servers that were, and count only what was made. A client may know a newer ring
    /// than this server: before it refuses a clock, it asks for the row.
    fn check_clocks(&mut self, now: Nanos, parked: &Parked, out: &mut Outbox) -> Result<(), Stop> {
        let slots = self.ring.slots();
        let mut wide = false;
        for clock in clocks_of(&parked.request) {
            wide |= clock.width() > slots;
            if let Some(slot) = self.slot
                && clock.get(slot) > self.core.received().get(slot)
            {
                return bad(NEVER_MADE);
            }
        }
        if wide {
            self.be_sure(now, parked, out)?;
            return bad("a clock names a server that never was");
        }
        let Some(deps) = deps_of(&parked.request) else {
            return Ok(());
        };
        // Of servers whose data were lost with all others, only what the store had is left.
        let ruined = Slot(self.ring.ruined);
        let mut lost = deps.iter();
        let lost = lost.find(|&(slot, n)| slot < ruined && n > self.ring.ruins.get(slot));
        if let Some((slot, _)) = lost {
            return Err(Stop::Fail(Failure::Lost(slot)));
        }
        // Everything that somebody depends on is everywhere; but the word of how many versions of a
        // dead server count may be on its way.
        let (received, ring) = (self.core.received(), &self.ring);
        if received.covers(deps) {
            return Ok(());
        }
        let deps = self.core.real(deps);
        let mut missing = deps.iter().filter(|&(slot, n)| n > received.get(slot));
        let Some((slot, _)) = missing.next() else {
            return Ok(());
        };
        match ring.seat(slot).is_some_and(|seat| seat.is_alive()) {
            true => {
                self.be_sure(now, parked, out)?;
                bad(NEVER_MADE)
            }
            false => Err(Stop::More),
        }
    }

    /// What a client depends on, or a snapshot, is closed. One that is not, as this server sees it, was
    /// made up; or another server made it that knows how many versions of a dead one count, and this
    /// one is off the ring, has more of them, and would show those. Before it answers, it makes sure
    /// that it is not.
    fn check_closed(&mut self, now: Nanos, parked: &Parked, out: &mut Outbox) -> Result<(), Stop> {
        let Some(deps) = deps_of(&parked.request) else {
            return Ok(());
        };
        if self.core.is_closed(deps) {
            return Ok(());
        }
        let mut dead = self.ring.seats.iter().filter(|seat| !seat.is_alive());
        match dead.all(|seat| self.core.frozen().contains_key(&seat.slot)) {
            true => self.be_sure(now, parked, out),
            false => Err(Stop::More),
        }
    }

    /// The ring was still this one after the request had come.
    fn be_sure(&mut self, now: Nanos, parked: &Parked, out: &mut Outbox) -> Result<(), Stop> {
        if !self.config.backed || self.members.row_at >= parked.since {
            return Ok(());
        }
        self.seek_ring(now, out);
        Err(Stop::More)
    }

    /// If it was asked before, it is known whether it was done.
    fn check_age(&self, parked: &Parked, write: WriteId) -> Result<(), Stop> {
        let first = parked.since.saturating_sub(parked.age);
        let sure = parked.age == 0 || first >= self.memory.since(&self.core);
        match sure || self.core.known(write).is_some() {
            true => Ok(()),
            false => Err(Stop::Fail(Failure::Forgotten)),
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

    fn check_made(&self, made: &Clock) -> Result<(), Stop> {
        let frozen = self.core.frozen().iter();
        let mut lost = frozen.filter(|&(&slot, &upto)| made.get(slot) > upto);
        match lost.next() {
            Some((&slot, _)) => Err(Stop::Fail(Failure::Lost(slot))),
            None => Ok(()),
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
}

/// What a request depends on.
fn deps_of(request: &Request) -> Option<&Clock> {
    match request {
        Request::Read { deps, .. }
        | Request::Write { deps, .. }
        | Request::Update { deps, .. }
        | Request::Snapshot { deps } => Some(deps),
        Request::ReadAt { snapshot, .. } => Some(snapshot),
        Request::Status => None,
    }
}

/// The own versions that a request brings along.
fn own_of(request: &Request) -> &[Arc<Version>] {
    match request {
        Request::Read { own, .. } | Request::ReadAt { own, .. } | Request::Update { own, .. } => {
            own
        }
        Request::Write { .. } | Request::Snapshot { .. } | Request::Status => &[],
    }
}

/// All clocks in a request.
fn clocks_of(request: &Request) -> impl Iterator<Item = &Clock> {
    let said = match request {
        Request::Write { own, .. } => Some([&own.clock, &own.made]),
        _ => None,
    };
    let own = own_of(request).iter().map(|own| &own.clock);
    own.chain(said.into_iter().flatten())
        .chain(deps_of(request))
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
