//! Vector clocks, one counter for each server that ever was.
//!
//! A clock says how many writes of each server it counts. Writes get the clock of their server, which
//! has taken in everything that the writer depends on; so a clock that counts a write counts
//! everything that the write depends on, and everything that its server accepted before it. A set of
//! versions is therefore described by a clock exactly: of each server the first so many.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// The place of a server in clocks. A server that comes back after a crash gets a new one, so no
/// number of a write is ever used twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Slot(pub u16);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// A vector clock. Servers that it does not name count as 0. It is a partial order ([`Clock::covers`])
/// and has a total one that extends it ([`Clock::lex`]); neither is an operator, so that no `<` can
/// mean the wrong one.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub struct Clock(
    /// Without zeros at the end, so that equal clocks have one form. At most [`PLACES`].
    Vec<u64>,
);

/// So many places a [`Slot`] can name.
const PLACES: usize = 1 << 16;

impl From<Vec<u64>> for Clock {
    /// Counts at places that no [`Slot`] can name are left out: there is no such server.
    fn from(mut counts: Vec<u64>) -> Self {
        counts.truncate(PLACES);
        let len = counts.iter().rposition(|&count| count > 0);
        counts.truncate(len.map_or(0, |last| last + 1));
        Clock(counts)
    }
}

impl From<Clock> for Vec<u64> {
    fn from(clock: Clock) -> Self {
        clock.0
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Clock {
    /// How many writes of a server it counts.
    pub fn get(&self, slot: Slot) -> u64 {
        self.0.get(usize::from(slot.0)).copied().unwrap_or(0)
    }

    /// Counts at least so many writes of a server from now on.
    pub fn raise(&mut self, slot: Slot, to: u64) {
        let at = usize::from(slot.0);
        if to > 0 && self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        if let Some(count) = self.0.get_mut(at) {
            *count = to.max(*count);
        }
    }

    /// Counts so many writes of a server, if it has counted more.
    pub fn lower(&mut self, slot: Slot, to: u64) {
        if let Some(count) = self.0.get_mut(usize::from(slot.0)) {
            *count = to.min(*count);
        }
        *self = Clock::from(std::mem::take(&mut self.0));
    }

    /// Counts what another counts too.
    pub fn join(&mut self, other: &Clock) {
        // No place is made for zeros: `other` does not end with one.
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (count, &more) in self.0.iter_mut().zip(&other.0) {
            *count = more.max(*count);
        }
    }

    /// Whether it counts everything that another one counts.
    pub fn covers(&self, other: &Clock) -> bool {
        other.0.len() <= self.0.len() && other.0.iter().zip(&self.0).all(|(a, b)| a <= b)
    }

    /// The total order by which concurrent writes are ordered, everywhere alike: the first count that
    /// differs decides. What covers another comes after it.
    pub fn lex(&self, other: &Clock) -> Ordering {
        // Missing counts are zeros, and no clock ends with one.
        self.0.cmp(&other.0)
    }

    /// What both count.
    #[must_use]
    pub fn meet(&self, other: &Clock) -> Clock {
        let both = self.0.iter().zip(&other.0).map(|(&a, &b)| a.min(b));
        Clock::from(both.collect::<Vec<u64>>())
    }

    /// The servers of which it counts writes, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, u64)> {
        let counts = self.0.iter().enumerate();
        counts.filter_map(|(at, &count)| (count > 0).then_some((Slot(at as u16), count)))
    }

    /// One more than the highest place of a server that it counts.
    pub fn width(&self) -> usize {
        self.0.len()
    }

    /// The server with the highest place of those that it counts.
    pub fn last(&self) -> Option<Slot> {
        let last = self.0.len().checked_sub(1);
        last.map(|last| Slot(last as u16))
    }

    /// Whether it counts nothing.
    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}
