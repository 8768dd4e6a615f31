//! What clients ask.
//!
//! No request harms the server or other clients by being malformed: clocks that are not closed, count
//! too much or name nobody, writes of nothing, keys twice. What a clock says is believed as far as it
//! can be true. Dependencies must have come here, as the protocol sees to it that they are everywhere;
//! own writes need not, but no more than [`AHEAD`] of them are believed. A client that forges a clock
//! which can be true is not found out: it can have a version shown before it is everywhere, or make the
//! versions of its head wait for one that is not there yet. Contexts are made by the runtime, not by
//! apps, and there is no protection against a runtime that lies.

use super::{Bug, Core, Refused};
use crate::clock::Clock;
use crate::entry::{Entry, Seen};
use crate::version::{Key, Op, Version, WriteId};
use std::borrow::Cow;
use std::sync::Arc;
use triptych_api::model::Map;
use triptych_api::{Change, Condition, Updated, Value, apply};
use triptych_store::holds;

/// How many versions of another server a client may have seen to be accepted that have not come here
/// yet. A clock that counts more is made up; versions that count what never was could be applied
/// nowhere, nor could those after them.
const AHEAD: u64 = 1 << 20;

impl Core {
    fn check(&self, clock: &Clock, servers: usize) -> Result<(), Refused> {
        match clock.last() {
            Some(last) if usize::from(last.0) >= servers => Err(Refused::NoServer(last)),
            _ => Ok(()),
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
        if self.resident {
            return Ok(());
        }
        let whole = |key: &Key| self.lines.get(key).is_some_and(|line| line.whole);
        let missing: Vec<Key> = keys.iter().filter(|key| !whole(key)).cloned().collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Refused::NotLoaded(missing)),
        }
    }

    fn look(&self, key: &Key, own: &[Arc<Version>]) -> Seen {
        // A client's own writes that reads do not see here yet.
        let own = self.unseen(own, key, &self.applied);
        match self.lines.get(key) {
            Some(line) => line.entry.seen_with(of_all(&own)),
            None => Entry::default().seen_with(of_all(&own)),
        }
    }

    /// Those of a client's own writes of a key that a clock does not count, with the clocks by which
    /// they are ordered in the end. The versions themselves may count what was lost with a server
    /// ([`Core::real`]), if their heads had not heard of that.
    fn unseen<'a>(
        &self,
        own: &'a [Arc<Version>],
        key: &Key,
        counted: &Clock,
    ) -> Vec<(Cow<'a, Clock>, WriteId, &'a Op)> {
        let mut unseen = Vec::new();
        for version in own.iter().filter(|own| !own.is_counted_by(counted)) {
            let mut ops = version.ops.iter();
            if let Some((_, op)) = ops.find(|(written, _)| written == key) {
                let clock = self.real_among(version, own);
                unseen.push((clock, version.write, op));
            }
        }
        unseen
    }

    /// The clock of one of a client's own versions, without what it counts of lost ones: as far as
    /// this server has heard of that, or the head of a later one of those versions had. That one's
    /// clock would cover this one's otherwise.
    fn real_among<'a>(&self, version: &'a Version, own: &[Arc<Version>]) -> Cow<'a, Clock> {
        let mut clock = self.real(&version.clock);
        for later in own
            .iter()
            .filter(|later| version.is_counted_by(&later.clock))
        {
            if !later.clock.covers(&clock) {
                let both = clock.meet(&later.clock);
                clock = Cow::Owned(both);
            }
        }
        clock
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
            let own = self.unseen(own, key, snapshot);
            Ok(entry.seen_with(of_all(&own)))
        };
        keys.iter().map(then).collect()
    }

    /// Whether some writes can be made at once, by anybody.
    ///
    /// # Errors
    /// [`Refused::Malformed`] if there is nothing to write, or a key twice.
    pub fn sound(ops: &[(Key, Op)]) -> Result<(), Refused> {
        if ops.is_empty() {
            return Err(Refused::Malformed("a write of nothing"));
        }
        let twice = ops.iter().enumerate();
        let mut twice = twice.map(|(at, (key, _))| ops[..at].iter().any(|(it, _)| it == key));
        match twice.any(|twice| twice) {
            true => Err(Refused::Malformed("a key is written twice at once")),
            false => Ok(()),
        }
    }

    /// Accepts a write of a client that depends on `deps` and has made `own` before. Nothing shows it
    /// yet; it is to be sent round the ring. A request that is known already gives its version again.
    ///
    /// # Errors
    /// [`Refused::NoServer`]; [`Refused::Missing`] if the dependencies have not come here, or the own
    /// clock counts what cannot be; [`Refused::Malformed`] if there is nothing to write, or a key
    /// twice.
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
        Self::sound(&ops)?;
        let own = self.real(own);
        let own = self.closed(&own).into_owned();
        for (origin, number) in own.iter() {
            let ahead = if origin == self.slot { 0 } else { AHEAD };
            if number > self.received.get(origin).saturating_add(ahead) {
                return Err(Refused::Missing { origin, number });
            }
        }
        if self.bug != Some(Bug::WriteForgetsDependencies) {
            self.integrate(deps)?;
            self.clock.join(&own);
        }
        let number = self.received.get(self.slot) + 1;
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
}

fn of_all<'a>(
    own: &'a [(Cow<'a, Clock>, WriteId, &'a Op)],
) -> impl Iterator<Item = (&'a Clock, WriteId, &'a Op)> {
    let all = own.iter();
    all.map(|(clock, write, op)| (clock.as_ref(), *write, *op))
}
