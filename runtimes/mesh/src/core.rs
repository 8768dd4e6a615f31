//! One cache server without links, timers and failures: what it has, and what its protocol makes of
//! it.
//!
//! A write is accepted by any server, its *head*, and goes round the ring twice. On its first round
//! it is *received* everywhere, in the I-cache; on its second arrival at the head's predecessor, its
//! *tail*, everything that it depends on has been received everywhere too (the messages of the second
//! round follow those), so there it is *applied*: it moves to the C-cache, which is all that reads
//! see. From then on it is *stable*, which the servers tell each other, and any of them may apply it.
//! A reader brings a clock that says what it depends on; whatever of that is not applied yet is
//! applied first. So no read waits for another server.
//!
//! Invariants:
//!
//! * Versions of an origin are received and applied in their order, so a clock describes both sets:
//!   [`Core::received`] and [`Core::applied`], and the second is covered by the first.
//! * Clocks are closed: a clock that counts a version covers its clock (INV-C2). Hence what is
//!   applied is a causal cut at every moment (INV-S3), not only as far as somebody reads.
//! * What is stable has been received by every server of the ring.
//!
//! Specification: §3 with the fixes of §13; the context is one clock and what is pending is a queue
//! for each origin (§9, O1).

mod copy;

pub use copy::Copied;

use crate::clock::{Clock, Slot};
use crate::entry::{Entry, Seen};
use crate::version::{Key, Op, Version, WriteId};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use thiserror::Error;
use triptych_api::model::Map;
use triptych_api::{Change, Condition, Updated, Value, apply};
use triptych_store::holds;

/// A seeded defect, to show that checkers see it. Most are what the published code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Versions go round once (specification §3.5).
    OneRound,
    /// A dependency is looked for by its exact clock (§3.1).
    ExactMatch,
    /// Concurrent writes are compared by joined clocks (§2.2).
    JoinedTieBreak,
    /// A version is applied at its tail without what it depends on.
    TailSkipsDependencies,
    /// Reads do not apply what the reader depends on.
    ReadSkipsDependencies,
    /// A write's clock does not cover what the writer depends on (§13, 2).
    WriteForgetsDependencies,
    /// The head does not keep its own write (§13, 1).
    HeadForgetsOwn,
    /// The tail does not keep what arrives in the first round (§13, 1).
    TailForgetsFirstRound,
    /// Nobody is told what is stable (§13, 5).
    NoDissemination,
    /// A request that is repeated counts once more.
    CountsTwice,
}

/// What a server cannot do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// Somebody depends on a version that this server has not received.
    #[error("version {number} of {origin} is not here")]
    Missing {
        /// Its origin.
        origin: Slot,
        /// Its number.
        number: u64,
    },
    /// The clock names a server that never was.
    #[error("there is no server {0}")]
    NoServer(Slot),
    /// Writes after the snapshot cannot be told from those before it any more.
    #[error("the snapshot is too old")]
    SnapshotTooOld,
    /// These keys were forgotten and have to be loaded first.
    #[error("{} keys are not here", .0.len())]
    NotLoaded(Vec<Key>),
}

/// What becomes of a version that has come along the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// It goes on to the next server, with this many hops behind it.
    Forward(u32),
    /// It has been round twice, and is applied here.
    Stable,
    /// One before it is missing, or it comes with hops that no ring of this size has: it is ignored.
    OutOfOrder,
    /// It should be applied here, but what it depends on is not here. It cannot happen on links that
    /// keep the order.
    Undeliverable,
}

/// What a key's cache line is.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    entry: Entry,
    /// Whether all of its writes that are applied are in it; otherwise only those since it was
    /// forgotten.
    whole: bool,
}

/// A server's caches.
#[derive(Clone, Debug)]
pub struct Core {
    slot: Slot,
    bug: Option<Bug>,
    /// Whether keys that were never written are known to be empty; otherwise they must be loaded.
    resident: bool,
    /// What its next write's clock covers: what it has applied, and what its writers depended on.
    clock: Clock,
    applied: Clock,
    received: Clock,
    stable: Clock,
    /// Received and not applied, of each origin in order: the I-cache.
    pending: BTreeMap<Slot, VecDeque<Arc<Version>>>,
    /// The C-cache.
    lines: FxHashMap<Key, Line>,
    /// Received and not stable: their requests, so that none counts twice. And the order in which
    /// those that are stable may be forgotten.
    requests: FxHashMap<WriteId, Arc<Version>>,
    /// Writes up to here may be folded: no write comes before one of them any more.
    horizon: Clock,
    /// Servers that are gone, and how many of their versions count.
    frozen: BTreeMap<Slot, u64>,
}

impl Core {
    /// A server that has nothing. If `resident`, what was never written is known to be empty.
    pub fn new(slot: Slot, resident: bool, bug: Option<Bug>) -> Self {
        Core {
            slot,
            bug,
            resident,
            clock: Clock::default(),
            applied: Clock::default(),
            received: Clock::default(),
            stable: Clock::default(),
            pending: BTreeMap::new(),
            lines: FxHashMap::default(),
            requests: FxHashMap::default(),
            horizon: Clock::default(),
            frozen: BTreeMap::new(),
        }
    }

    /// Its place in clocks.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The versions that reads see.
    pub fn applied(&self) -> &Clock {
        &self.applied
    }

    /// The versions that have come.
    pub fn received(&self) -> &Clock {
        &self.received
    }

    /// The versions of which it knows that every server has received them.
    pub fn stable(&self) -> &Clock {
        &self.stable
    }

    /// What its next write's clock covers.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many versions wait in the I-cache.
    pub fn pending(&self) -> usize {
        self.pending.values().map(VecDeque::len).sum()
    }

    /// How many keys the C-cache has.
    pub fn keys(&self) -> usize {
        self.lines.len()
    }

    // ---- Integrating ----

    /// Applies everything that a clock counts.
    ///
    /// # Errors
    /// [`Refused::Missing`] if something of it was not received; then nothing is applied.
    pub fn integrate(&mut self, upto: &Clock) -> Result<(), Refused> {
        let upto = self.real(upto);
        let upto = upto.as_ref();
        if self.applied.covers(upto) {
            return Ok(());
        }
        for (origin, number) in upto.iter() {
            if number > self.received.get(origin) {
                return Err(Refused::Missing { origin, number });
            }
        }
        for (origin, upto) in upto.iter() {
            let Some(pending) = self.pending.get_mut(&origin) else {
                continue;
            };
            if self.bug == Some(Bug::ExactMatch) {
                // One that is joined from several has no version of its own.
                let exact = pending.front().is_some_and(|next| next.number() == upto);
                if !exact {
                    continue;
                }
            }
            let many = pending.partition_point(|version| version.number() <= upto);
            let versions: Vec<_> = pending.drain(..many).collect();
            for version in versions {
                self.apply(&version);
            }
        }
        self.clock.join(&self.applied);
        Ok(())
    }

    fn apply(&mut self, version: &Version) {
        let number = version.number();
        let real = self.real(&version.clock);
        for (key, op) in &version.ops {
            let resident = self.resident;
            let line = self.lines.entry(key.clone()).or_insert_with(|| Line {
                entry: Entry::default(),
                whole: resident,
            });
            let joined = line.entry.clock().clone();
            let clock = match self.bug {
                // The value of an older write stays if the join is later than the newer one's clock.
                Some(Bug::JoinedTieBreak) if real.lex(&joined).is_lt() => {
                    line.entry.join(&real);
                    continue;
                }
                _ => &real,
            };
            let write = match self.bug {
                Some(Bug::CountsTwice) => WriteId {
                    client: u64::from(version.origin.0) << 48 | number,
                    number: u64::MAX,
                },
                _ => version.write,
            };
            line.entry.add(clock, write, op);
            // What of a key that is not whole here is only what came lately: it has no base.
            if line.whole && line.entry.kept() > KEPT {
                line.entry.fold(&self.horizon);
            }
        }
        self.applied.raise(version.origin, number);
    }

    // ---- What clients ask ----

    fn check(&self, clock: &Clock, servers: usize) -> Result<(), Refused> {
        match clock.width() > servers {
            true => Err(Refused::NoServer(Slot(clock.width() as u16 - 1))),
            false => Ok(()),
        }
    }

    /// The values of some keys, as one look: a causal cut that has everything that the reader depends
    /// on, and its own writes, wherever those are by now. `servers` is how many places clocks have.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read(
        &mut self,
        servers: usize,
        deps: &Clock,
        own: &[Arc<Version>],
        keys: &[Key],
    ) -> Result<Vec<Seen>, Refused> {
        self.check(deps, servers)?;
        if self.bug != Some(Bug::ReadSkipsDependencies) {
            self.integrate(deps)?;
        }
        self.require(keys)?;
        let seen = keys.iter().map(|key| self.look(key, own));
        Ok(seen.collect())
    }

    fn require(&self, keys: &[Key]) -> Result<(), Refused> {
        let whole = |key: &Key| self.lines.get(key).map_or(self.resident, |line| line.whole);
        let missing: Vec<Key> = keys.iter().filter(|key| !whole(key)).cloned().collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Refused::NotLoaded(missing)),
        }
    }

    fn look(&self, key: &Key, own: &[Arc<Version>]) -> Seen {
        let line = self.lines.get(key);
        match line {
            Some(line) => line.entry.seen_with(self.not_applied(key, own)),
            None => Entry::default().seen_with(self.not_applied(key, own)),
        }
    }

    /// A client's own writes of a key that reads do not see here yet.
    fn not_applied<'a>(
        &'a self,
        key: &'a Key,
        own: &'a [Arc<Version>],
    ) -> impl Iterator<Item = (&'a Clock, WriteId, &'a Op)> {
        let unseen = own.iter().filter(|own| !own.is_counted_by(&self.applied));
        let of_key = unseen.flat_map(|own| own.ops.iter().map(move |op| (own, op)));
        let of_key = of_key.filter(move |(_, (written, _))| written == key);
        of_key.map(|(own, (_, op))| (&own.clock, own.write, op))
    }

    /// The values of some keys as of a snapshot: what exactly the versions that a clock counts make,
    /// and the reader's own writes.
    ///
    /// # Errors
    /// [`Refused`]; [`Refused::SnapshotTooOld`] if a newer write cannot be left out any more.
    pub fn read_at(
        &mut self,
        servers: usize,
        snapshot: &Clock,
        own: &[Arc<Version>],
        keys: &[Key],
    ) -> Result<Vec<Seen>, Refused> {
        self.check(snapshot, servers)?;
        self.integrate(snapshot)?;
        self.require(keys)?;
        let then = |key: &Key| {
            let line = self.lines.get(key);
            let entry = line.map_or_else(|| Some(Entry::default()), |l| l.entry.at(snapshot));
            let entry = entry.ok_or(Refused::SnapshotTooOld)?;
            let unseen = own.iter().filter(|own| !own.is_counted_by(snapshot));
            let of_key = unseen.flat_map(|own| own.ops.iter().map(move |op| (own, op)));
            let of_key = of_key.filter(|(_, (written, _))| written == key);
            Ok(entry.seen_with(of_key.map(|(own, (_, op))| (&own.clock, own.write, op))))
        };
        keys.iter().map(then).collect()
    }

    /// Accepts a write of a client that depends on `deps` and has made `own` before. Nothing shows it
    /// yet; it is to be sent round the ring. A request that is known already gives its version again.
    ///
    /// # Errors
    /// [`Refused::NoServer`].
    pub fn write(
        &mut self,
        servers: usize,
        deps: &Clock,
        own: &Clock,
        write: WriteId,
        ops: Vec<(Key, Op)>,
    ) -> Result<Arc<Version>, Refused> {
        self.check(deps, servers)?;
        self.check(own, servers)?;
        if let Some(known) = self.known(write) {
            return Ok(known);
        }
        if self.bug != Some(Bug::WriteForgetsDependencies) {
            let (deps, own) = (self.real(deps), self.real(own));
            self.clock.join(&deps);
            self.clock.join(&own);
        }
        let number = self.received.get(self.slot).max(self.clock.get(self.slot)) + 1;
        self.clock.raise(self.slot, number);
        let version = Arc::new(Version {
            origin: self.slot,
            clock: self.clock.clone(),
            write,
            ops,
        });
        self.keep(&version);
        Ok(version)
    }

    /// The version that a request has become, if it has come here.
    pub fn known(&self, write: WriteId) -> Option<Arc<Version>> {
        match self.bug {
            Some(Bug::CountsTwice) => None,
            _ => self.requests.get(&write).cloned(),
        }
    }

    /// What an update would do to a key as the client sees it: whether its condition holds, and the
    /// number that it would arrive at.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn consider(
        &mut self,
        servers: usize,
        deps: &Clock,
        own: &[Arc<Version>],
        key: &Key,
        condition: Option<&Condition>,
        changes: &[Change],
    ) -> Result<(Updated, Value), Refused> {
        let keys = std::slice::from_ref(key);
        let seen = self.read(servers, deps, own, keys)?.pop();
        let document = seen.and_then(|seen| seen.value);
        let mut document = match document {
            Some(Value::Map(document)) => Arc::unwrap_or_clone(document),
            _ => Map::new(),
        };
        let applied = condition.is_none_or(|condition| holds(condition, &document));
        let sum = match applied {
            true => apply(&mut document, changes),
            false => None,
        };
        Ok((Updated { applied, sum }, Value::from(document)))
    }

    // ---- The ring ----

    fn keep(&mut self, version: &Arc<Version>) {
        let origin = version.origin;
        let forgotten = self.bug == Some(Bug::HeadForgetsOwn) && origin == self.slot;
        self.received.raise(origin, version.number());
        if !forgotten {
            let pending = self.pending.entry(origin).or_default();
            pending.push_back(Arc::clone(version));
        }
        self.requests.insert(version.write, Arc::clone(version));
    }

    /// A version has come along a ring of `ring` servers; this is its `hop`-th hop.
    pub fn arrive(&mut self, version: &Arc<Version>, hop: u32, ring: u32) -> Arrived {
        let last = match self.bug {
            Some(Bug::OneRound) => ring.saturating_sub(1),
            _ => (2 * ring).saturating_sub(1),
        };
        let known = self.received.get(version.origin);
        if hop > last || version.number() > known + 1 {
            return Arrived::OutOfOrder;
        }
        let skipped = self.bug == Some(Bug::TailForgetsFirstRound) && hop + 1 == ring;
        if version.number() > known && !skipped {
            self.keep(version);
        }
        if hop < last {
            return Arrived::Forward(hop + 1);
        }
        let upto = match self.bug {
            Some(Bug::TailSkipsDependencies) => {
                let mut own = Clock::default();
                own.raise(version.origin, version.number());
                own
            }
            _ => version.clock.clone(),
        };
        if self.integrate(&upto).is_err() {
            return Arrived::Undeliverable;
        }
        let real = self.real(&version.clock);
        self.clock.join(&real);
        self.stable.join(&real);
        self.forget_requests();
        Arrived::Stable
    }

    /// Everything that this clock counts has been received by every server: it is applied here too.
    /// Says whether all of it is; a server that is new on the ring may still lack some.
    pub fn is_stable(&mut self, stable: &Clock) -> bool {
        if self.bug == Some(Bug::NoDissemination) {
            return true;
        }
        let stable = self.real(stable);
        let stable = stable.as_ref();
        let here = stable.meet(&self.received);
        // The meet of two closed clocks is closed.
        let applied = self.integrate(&here).is_ok();
        self.stable.join(&here);
        self.forget_requests();
        applied && here == *stable
    }

    fn forget_requests(&mut self) {
        if self.requests.len() > REQUESTS && self.requests.len() > 2 * self.pending() {
            let stable = self.stable.clone();
            self.requests
                .retain(|_, version| !version.is_counted_by(&stable));
        }
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

    // ---- The store behind ----

    /// No write comes before one that this clock counts any more.
    pub fn fold_upto(&mut self, horizon: &Clock) {
        self.horizon.join(horizon);
    }

    /// A key as the data set or the store has it; `counted` says which versions are in it. They must
    /// be stable.
    pub fn load(&mut self, key: &Key, entry: Entry, counted: &Clock) {
        let Some(line) = self.lines.get_mut(key) else {
            let line = Line { entry, whole: true };
            self.lines.insert(key.clone(), line);
            return;
        };
        if !line.whole {
            line.entry.complete(entry, counted);
            line.whole = true;
        }
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
    pub fn evict(&mut self, key: &Key, stored: &Clock) -> bool {
        let line = self.lines.get(key);
        let evictable = line.is_some_and(|line| stored.covers(line.entry.clock()));
        evictable && self.lines.remove(key).is_some()
    }
}

/// So many writes of a key are kept by themselves before old ones are folded.
const KEPT: usize = 16;
/// So many requests are remembered before the stable ones are forgotten.
const REQUESTS: usize = 4096;
