//! The causal checker: did everybody see what came before what they saw?
//!
//! A newcomer can start with [`check`]. It works out what is known of every write (`writes`), finds
//! out which of them some later look misses, because no other one can be part of a contradiction
//! (`misses`), and walks once through the events, carrying along what each strand has to see
//! (`walk`, on sets of writes: `past`). What is found is told in words ([`Witness::told`]) and can
//! be drawn ([`picture()`]).
//!
//! **What is asked.** A look at a key must show every write of it that happened before the look, or
//! one that is newer: that is all of causal order, with the four guarantees of sessions as its
//! shortest cases, along calls, forks and joins as well as from request to request. A look at several
//! keys at once, and a transaction, must see all or nothing of another transaction, and nothing
//! without what happened before it, whichever key was looked at first. In the end every
//! acknowledged write is there, and every copy is alike.
//!
//! **What is not concluded.** A write whose end nobody heard need not be seen, and proves nothing
//! about what came before it; neither does one that was made several times. Of a call that cannot be
//! told from another one, and of several executions of which one answered, only what all have in
//! common is taken. Writes of one transaction come after nothing of each other. Of two replacements of
//! a document one is newer than the other only if it happened after it; of a list that keeps the
//! newest elements, one may be missing from a full view unless an older one is still in it.
//!
//! **Time.** The walk is linear in the events times the number of writes that are *alive*: made
//! already, and missed by some look still to come. If these are too many (a cache that is stale for
//! ever), they are forgotten after a while, and [`Report::horizon`] says after how many events.

mod anomaly;
mod misses;
mod past;
mod picture;
mod rules;
pub mod sample;
mod unit;
mod views;
mod walk;
mod words;
mod writes;

pub use anomaly::Anomaly;
pub use picture::picture;
pub use rules::{Judged, rules};

use crate::history::Refusal;
use std::collections::BTreeMap;
use triptych_model::causes::Causes;

/// No event, write, key or transaction.
pub(crate) const NONE: u32 = u32::MAX;

/// One event of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The event.
    pub event: u32,
    /// The write that was made or seen there; [`Witness::write`] at a look that misses it.
    pub write: u32,
}

/// The evidence of a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What happened, in its order; the last one is what should not be. Of a write that should have
    /// been seen each hop happens before the next.
    pub hops: Vec<Hop>,
    /// The write that is missing, or should not be there.
    pub write: u32,
    /// The client request of the last hop.
    pub request: Option<u64>,
    /// In words.
    pub told: String,
}

/// A kind of violation that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub anomaly: Anomaly,
    /// How often: in so many looks, transactions, or keys at the end.
    pub count: u64,
    /// The shortest one of those that were compared.
    pub witness: Witness,
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Events.
    pub events: u64,
    /// Looks at single keys by clients that are known.
    pub looks: u64,
    /// Writes that are known to have happened.
    pub writes: u64,
    /// How often each kind of violation was tried.
    pub tried: BTreeMap<Anomaly, u64>,
    /// Transactions and looks at several keys that met a write which not everybody saw.
    pub conflicts: u64,
}

/// What the checker says of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Every kind of violation, in the order of [`Anomaly::ALL`].
    pub found: Vec<Found>,
    /// What that rests on.
    pub seen: Seen,
    /// After how many events a write was forgotten, if there were too many to remember them all.
    pub horizon: Option<u32>,
}

impl Report {
    /// A kind of violation, if it was found.
    pub fn of(&self, anomaly: Anomaly) -> Option<&Found> {
        self.found.iter().find(|found| found.anomaly == anomaly)
    }
}

/// Violations as they are found.
#[derive(Default)]
pub(crate) struct Findings {
    found: BTreeMap<Anomaly, Found>,
}

/// So many violations of a kind are compared for the shortest witness.
const COMPARED: u64 = 200;

impl Findings {
    /// Adds a violation; `length` is that of its witness, which is made only if it is the shortest.
    fn add(&mut self, anomaly: Anomaly, length: usize, witness: impl FnOnce() -> Witness) {
        match self.found.get_mut(&anomaly) {
            Some(found) => {
                found.count += 1;
                if found.count <= COMPARED && length < found.witness.hops.len() {
                    found.witness = witness();
                }
            }
            None => {
                let found = Found {
                    anomaly,
                    count: 1,
                    witness: witness(),
                };
                self.found.insert(anomaly, found);
            }
        }
    }
}

/// How many writes may be alive at a time, on average over the events.
pub const ALIVE: u64 = 1_000;

/// Checks a record.
///
/// # Errors
/// [`Refusal`], if nothing can be concluded from it.
pub fn check(causes: &Causes) -> Result<Report, Refusal> {
    check_within(causes, ALIVE)
}

/// [`check`] with another bound on how many writes may be alive at a time.
///
/// # Errors
/// See [`check`].
pub fn check_within(causes: &Causes, alive: u64) -> Result<Report, Refusal> {
    let writes = writes::Writes::of(causes)?;
    let misses = misses::Misses::of(causes, &writes, alive);
    let mut findings = Findings::default();
    let mut seen = walk::walk(causes, &writes, &misses, &mut findings);
    seen.events = causes.events.len() as u64;
    Ok(Report {
        found: findings.found.into_values().collect(),
        seen,
        horizon: misses.horizon,
    })
}
