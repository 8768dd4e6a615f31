//! Names and numbers of the log.
//!
//! A [`SeqNum`] has the view in its top bits and the position in its bottom ones, so that sequence
//! numbers of a logbook grow with real time both within a view and across views (specification §1).

use serde::{Deserialize, Serialize};
use std::fmt;
use triptych_nodes::NodeId;

/// The number of a view (a configuration of the cluster): 1, 2, 3, …; 0 is before the first.
pub type ViewId = u16;

/// A physical log: 0 to the cluster's number of them. A logbook always lives on the same one.
pub type LogId = u16;

/// A logbook: a virtual log, one of many on a physical log. Creating one costs nothing.
pub type BookId = u64;

/// A stream within a logbook. [`EVERY`] is in every record; the highest value is not usable.
pub type Tag = u64;

/// The stream of all records of a logbook, tagged or not.
pub const EVERY: Tag = 0;

/// One physical log within one view: what has a metalog, a primary sequencer, and positions from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    /// The view.
    pub view: ViewId,
    /// The physical log.
    pub log: LogId,
}

/// What one engine appends to one physical log within one view. The engine numbers the records
/// itself, from 0 and without gaps: their *local ids*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// View and physical log.
    pub term: Term,
    /// The engine.
    pub engine: NodeId,
}

/// The place of a record in its physical log: view (16 bits), log (16 bits), position (32 bits).
/// Positions are dense in a term, not in a logbook.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SeqNum(pub u64);

impl SeqNum {
    /// Before every record.
    pub const ZERO: SeqNum = SeqNum(0);
    /// After every record.
    pub const MAX: SeqNum = SeqNum(u64::MAX);

    /// The place at a position of a term.
    pub fn new(term: Term, position: u32) -> Self {
        SeqNum(u64::from(term.view) << 48 | u64::from(term.log) << 32 | u64::from(position))
    }

    /// View and physical log.
    pub fn term(self) -> Term {
        Term {
            view: (self.0 >> 48) as u16,
            log: (self.0 >> 32) as u16,
        }
    }

    /// The position within the term.
    pub fn position(self) -> u32 {
        self.0 as u32
    }

    /// The least that is greater.
    #[must_use]
    pub fn next(self) -> Self {
        SeqNum(self.0.saturating_add(1))
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let term = self.term();
        write!(f, "{}.{}.{}", term.view, term.log, self.position())
    }
}

/// How much of a physical log's metalog somebody has seen: all earlier views, and the first
/// `entries` entries of this one. What functions hand along with calls, so that nobody reads what is
/// older than what it was told of (specification §2.5). Positions of different physical logs must
/// not be compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Progress {
    /// The view.
    pub view: ViewId,
    /// Entries of its metalog.
    pub entries: u32,
}

impl Progress {
    /// As one number that compares alike, for an envelope.
    pub fn to_bits(self) -> u64 {
        u64::from(self.view) << 32 | u64::from(self.entries)
    }

    /// From [`Progress::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Progress {
            view: (bits >> 32) as u16,
            entries: bits as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_order_by_view_before_log_before_position() {
        let at = |view, log, position| SeqNum::new(Term { view, log }, position);
        let ordered = [
            SeqNum::ZERO,
            at(1, 0, 0),
            at(1, 0, u32::MAX),
            at(1, 7, 3),
            at(2, 0, 0),
            at(u16::MAX, 0, 1),
            SeqNum::MAX,
        ];
        assert!(ordered.is_sorted());
        let seq = at(515, 7, 70_000);
        assert_eq!(seq.term(), Term { view: 515, log: 7 });
        assert_eq!(
            (seq.position(), seq.to_string()),
            (70_000, "515.7.70000".to_owned())
        );
    }

    #[test]
    fn progress_keeps_its_order_as_a_number() {
        let seen = [(0, 0), (0, 9), (1, 0), (1, u32::MAX), (2, 1)];
        let seen = seen.map(|(view, entries)| Progress { view, entries });
        assert!(seen.is_sorted() && seen.map(Progress::to_bits).is_sorted());
        assert_eq!(seen.map(|p| Progress::from_bits(p.to_bits())), seen);
    }
}
