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
//!   applied is a causal cut at every moment (INV-S3), not only as far as somebody reads. What clients
//!   bring need not be closed; it is closed before it is used. Nor may what protocol and clients bring
//!   to a server that was taken off the ring and does not know it ([`Core::is_closed`]).
//! * What is stable has been received by every server of the ring.
//!
//! What clients ask is in `look`, the ring in `ring`, the store behind in `store`, and the state as
//! plain data in [`State`].
//!
//! Specification: §3 with the fixes of §13; the context is one clock and what is pending is a queue
//! for each origin (§9, O1).

mod copy;
mod look;
mod requests;
mod ring;
mod state;
mod store;

pub use copy::Copied;
pub use state::State;

use crate::clock::{Clock, Slot};
use crate::entry::Entry;
use crate::version::{Key, Version, WriteId};
use requests::Requests;
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use thiserror::Error;

/// A seeded defect, to show that checkers see it. Most are what the published code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 10] = [
        Bug::OneRound,
        Bug::ExactMatch,
        Bug::JoinedTieBreak,
        Bug::TailSkipsDependencies,
        Bug::ReadSkipsDependencies,
        Bug::WriteForgetsDependencies,
        Bug::HeadForgetsOwn,
        Bug::TailForgetsFirstRound,
        Bug::NoDissemination,
        Bug::CountsTwice,
    ];
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
    /// The request makes no sense, for this reason.
    #[error("{0}")]
    Malformed(&'static str),
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
    /// forgotten, none of them folded.
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
    /// The requests of what was received, so that none counts twice.
    requests: Requests,
    /// Writes up to here may be folded: no write comes before one of them any more.
    horizon: Clock,
    /// Servers that are gone, and how many of their versions count.
    frozen: BTreeMap<Slot, u64>,
}

/// So many writes of a key are kept by themselves before old ones are folded.
const KEPT: usize = 16;

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
            requests: Requests::default(),
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

    /// What comes before every write that it accepts from now on, and whose requests it knows, so that
    /// none of them is accepted once more. Where versions of this server are applied up to what this
    /// counts of it, and the same holds of every other server, what all of them count may be folded
    /// ([`Core::fold_upto`]). [`Core::clock`] alone will not do: it may count versions that have not
    /// come yet.
    pub fn past(&self) -> Clock {
        self.clock.meet(&self.received)
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

    /// Applies everything that a clock counts, and everything that those versions count.
    ///
    /// # Errors
    /// [`Refused::Missing`] if something of it was not received; then nothing is applied.
    pub fn integrate(&mut self, upto: &Clock) -> Result<(), Refused> {
        let upto = self.real(upto);
        let upto = upto.as_ref();
        if self.applied.covers(upto) {
            return Ok(());
        }
        self.require_received(upto)?;
        if self.bug == Some(Bug::ExactMatch) {
            // One that is joined from several has no version of its own.
            let mut pending = self.pending.values().flatten();
            if !pending.any(|version| version.clock == *upto) {
                return Ok(());
            }
        }
        match self.closed(upto) {
            Cow::Borrowed(upto) => self.pull(upto),
            Cow::Owned(closed) => {
                self.require_received(&closed)?;
                self.pull(&closed);
            }
        }
        Ok(())
    }

    fn require_received(&self, clock: &Clock) -> Result<(), Refused> {
        if self.received.covers(clock) {
            return Ok(());
        }
        let mut counted = clock.iter();
        let missing = counted.find(|&(origin, number)| number > self.received.get(origin));
        match missing {
            None => Ok(()),
            Some((origin, number)) => Err(Refused::Missing { origin, number }),
        }
    }

    /// Whether everything is counted by a clock that the pending versions among what it counts count.
    /// If not, a client has made it up; or something was lost with a server, and this one has it and
    /// has not heard of that: it is not on the ring any more. Then what is counted has another meaning
    /// elsewhere, and to apply what was lost would show it.
    pub fn is_closed(&self, clock: &Clock) -> bool {
        let clock = self.real(clock);
        self.applied.covers(&clock) || matches!(self.closed(&clock), Cow::Borrowed(_))
    }

    /// What a clock counts, and everything that the pending versions among that count. Clocks of the
    /// protocol are closed as they are to whoever is on the ring; those that clients make up need not
    /// be.
    fn closed<'a>(&self, clock: &'a Clock) -> Cow<'a, Clock> {
        let mut closed = Cow::Borrowed(clock);
        // The last version of an origin covers those before it.
        let last = |clock: &Clock, origin, queue: &VecDeque<Arc<Version>>| {
            let many = counted(queue, clock.get(origin));
            queue.get(many.checked_sub(1)?).cloned()
        };
        loop {
            let mut last = self
                .pending
                .iter()
                .filter_map(|(&o, q)| last(&closed, o, q));
            match last.find(|last| !closed.covers(&self.real(&last.clock))) {
                None => return closed,
                Some(more) => closed.to_mut().join(&self.real(&more.clock)),
            }
        }
    }

    /// Applies all pending versions that a clock counts. The clock is closed, and received.
    fn pull(&mut self, upto: &Clock) {
        let mut pending = std::mem::take(&mut self.pending);
        for (&origin, queue) in &mut pending {
            let many = counted(queue, upto.get(origin));
            for version in queue.drain(..many) {
                self.apply(&version);
            }
        }
        self.pending = pending;
        if self.bug != Some(Bug::WriteForgetsDependencies) {
            self.clock.join(&self.applied);
        }
    }

    fn apply(&mut self, version: &Version) {
        let number = version.number();
        let real = self.real(&version.clock);
        let write = match self.bug {
            Some(Bug::CountsTwice) => WriteId {
                client: u64::from(version.origin.0) << 48 | number,
                number: u64::MAX,
            },
            _ => version.write,
        };
        for (key, op) in &version.ops {
            let line = match self.lines.get_mut(key) {
                Some(line) => line,
                None => self.lines.entry(key.clone()).or_insert_with(|| Line {
                    entry: Entry::default(),
                    whole: self.resident,
                }),
            };
            let joined = line.entry.clock();
            if self.bug == Some(Bug::JoinedTieBreak) && real.lex(joined).is_lt() {
                // The value of an older write stays if the join is later than the newer one's clock.
                line.entry.join(&real);
                continue;
            }
            line.entry.add(&real, write, op);
            // What was forgotten is not the base of what has come since.
            if line.whole && line.entry.kept() > KEPT {
                line.entry.fold(&self.horizon);
            }
        }
        self.applied.raise(version.origin, number);
    }
}

/// How many of an origin's versions, from the first on, have numbers up to this one.
fn counted(queue: &VecDeque<Arc<Version>>, upto: u64) -> usize {
    match (queue.front(), queue.back()) {
        (Some(first), _) if first.number() > upto => 0,
        (_, Some(last)) if last.number() <= upto => queue.len(),
        _ => queue.partition_point(|version| version.number() <= upto),
    }
}
