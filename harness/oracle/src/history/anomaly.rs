//! What can be wrong with a history, and which isolation level that leaves.

use std::fmt;
use triptych_api::Isolation;

/// What a dependency cycle is made of (Adya's classes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Write dependencies alone: dirty writes.
    G0,
    /// Write and read dependencies: information flows in a circle.
    G1c,
    /// One anti-dependency: a transaction saw a part of another one (read skew).
    GSingle,
    /// Several anti-dependencies: write skew and its like.
    G2Item,
}

impl Family {
    /// Adya's name.
    pub fn name(self) -> &'static str {
        match self {
            Family::G0 => "G0",
            Family::G1c => "G1c",
            Family::GSingle => "G-single",
            Family::G2Item => "G2-item",
        }
    }
}

/// Which orders besides the data's own a cycle needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// None: no serial order exists.
    Plain,
    /// That of a session: no serial order keeps every client's own order.
    Session,
    /// That of real time: no serial order agrees with the clock.
    RealTime,
}

/// A kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// An element was seen that nobody wrote.
    Garbage,
    /// An element was there twice.
    Duplicate,
    /// Two looks at a key show orders that cannot both be true.
    Incompatible,
    /// What a committed transaction wrote is not there at the end.
    LostWrite,
    /// A transaction did not see its own write.
    Internal,
    /// A cycle of dependencies that needs nothing but the data.
    Cycle(Family),
    /// Something of an aborted transaction was seen (G1a).
    AbortedRead,
    /// Something that its transaction overwrote later was seen (G1b).
    IntermediateRead,
    /// Two transactions read the same version and both wrote the next.
    LostUpdate,
    /// A transaction read a key twice and saw two versions.
    NonRepeatable,
    /// A cycle that needs the order of sessions.
    SessionCycle(Family),
    /// A cycle that needs the order of real time.
    RealTimeCycle(Family),
    /// A session did not see its own earlier write.
    ReadYourWrites,
    /// A session saw an older version than before.
    MonotonicReads,
    /// A session's writes of a key are in the wrong order.
    MonotonicWrites,
    /// A session's write stands before what the session had read.
    WritesFollowReads,
}

impl Anomaly {
    /// The violations that a serial order excludes: what serializable promises.
    pub const ISOLATION: [Anomaly; 13] = [
        Anomaly::Garbage,
        Anomaly::Duplicate,
        Anomaly::Incompatible,
        Anomaly::LostWrite,
        Anomaly::Internal,
        Anomaly::Cycle(Family::G0),
        Anomaly::AbortedRead,
        Anomaly::IntermediateRead,
        Anomaly::Cycle(Family::G1c),
        Anomaly::LostUpdate,
        Anomaly::NonRepeatable,
        Anomaly::Cycle(Family::GSingle),
        Anomaly::Cycle(Family::G2Item),
    ];

    /// The guarantees of sessions.
    pub const SESSION: [Anomaly; 4] = [
        Anomaly::ReadYourWrites,
        Anomaly::MonotonicReads,
        Anomaly::MonotonicWrites,
        Anomaly::WritesFollowReads,
    ];

    /// Whether it breaks even transactional causal consistency. Copies of a list need not be alike
    /// there while they are written, and of two transactions that know nothing of each other either
    /// may be seen first; but nothing may be seen that was not written, that was undone, or a part of
    /// which was overwritten. A list that two transactions replace as a whole is in the end as the
    /// later one of them made it, so a committed write may be undone; and one request that is executed
    /// twice is two transactions that write the same. What is left of read
    /// atomicity and of sessions is asked along causes and effects ([`crate::causal`]).
    pub fn breaks_causal(self) -> bool {
        matches!(
            self,
            Anomaly::Garbage | Anomaly::AbortedRead | Anomaly::IntermediateRead
        )
    }

    /// Whether who promises this isolation of transactions promises that it does not happen.
    pub fn asked(self, promised: Isolation) -> bool {
        promised != Isolation::Tcc || self.breaks_causal()
    }

    /// Its place in reports: the more basic the sooner.
    pub fn rank(self) -> (usize, Anomaly) {
        let place = Anomaly::ISOLATION.iter().position(|known| *known == self);
        (place.unwrap_or(Anomaly::ISOLATION.len()), self)
    }

    /// The cycle of this family and scope.
    pub fn cycle(family: Family, scope: Scope) -> Self {
        match scope {
            Scope::Plain => Anomaly::Cycle(family),
            Scope::Session => Anomaly::SessionCycle(family),
            Scope::RealTime => Anomaly::RealTimeCycle(family),
        }
    }

    /// The name in tables and rules.
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::Garbage => "garbage",
            Anomaly::Duplicate => "duplicate",
            Anomaly::Incompatible => "incompatible-order",
            Anomaly::LostWrite => "lost-write",
            Anomaly::Internal => "internal",
            Anomaly::Cycle(family) => family.name(),
            Anomaly::AbortedRead => "G1a",
            Anomaly::IntermediateRead => "G1b",
            Anomaly::LostUpdate => "lost-update",
            Anomaly::NonRepeatable => "non-repeatable",
            Anomaly::SessionCycle(Family::G0) => "G0-session",
            Anomaly::SessionCycle(Family::G1c) => "G1c-session",
            Anomaly::SessionCycle(Family::GSingle) => "G-single-session",
            Anomaly::SessionCycle(Family::G2Item) => "G2-item-session",
            Anomaly::RealTimeCycle(Family::G0) => "G0-realtime",
            Anomaly::RealTimeCycle(Family::G1c) => "G1c-realtime",
            Anomaly::RealTimeCycle(Family::GSingle) => "G-single-realtime",
            Anomaly::RealTimeCycle(Family::G2Item) => "G2-item-realtime",
            Anomaly::ReadYourWrites => "read-your-writes",
            Anomaly::MonotonicReads => "monotonic-reads",
            Anomaly::MonotonicWrites => "monotonic-writes",
            Anomaly::WritesFollowReads => "writes-follow-reads",
        }
    }

    /// Why it is a contradiction, in a sentence.
    pub fn because(self) -> &'static str {
        match self {
            Anomaly::Garbage => "What was never written cannot be read.",
            Anomaly::Duplicate => "What was written once cannot be there twice.",
            Anomaly::Incompatible => {
                "A list that only grows shows the same beginning to everybody, so no order of the \
                 writes explains both."
            }
            Anomaly::LostWrite => "A committed write must still be there at the end.",
            Anomaly::Internal => "A transaction sees what it wrote itself.",
            Anomaly::AbortedRead => "An aborted transaction has no effects that anybody could see.",
            Anomaly::IntermediateRead => {
                "Others may see a transaction only as a whole, and this one went on writing."
            }
            Anomaly::LostUpdate => "Whichever came first, the other one had to read what it wrote.",
            Anomaly::NonRepeatable => {
                "Nothing changes under a transaction that runs as if it were alone."
            }
            Anomaly::Cycle(_) => "So each of them comes before itself, and no serial order exists.",
            Anomaly::SessionCycle(_) => {
                "So no serial order keeps the order in which each client did its own."
            }
            Anomaly::RealTimeCycle(_) => "So no serial order agrees with real time.",
            Anomaly::ReadYourWrites => "A session sees what it wrote before.",
            Anomaly::MonotonicReads => "What a session has seen does not vanish again.",
            Anomaly::MonotonicWrites => "A session's writes take effect in its own order.",
            Anomaly::WritesFollowReads => {
                "A session's write takes effect after what it had seen before."
            }
        }
    }

    /// The strongest level that it leaves standing.
    fn leaves(self) -> Level {
        match self {
            Anomaly::Garbage
            | Anomaly::Duplicate
            | Anomaly::Incompatible
            | Anomaly::LostWrite
            | Anomaly::Internal
            | Anomaly::Cycle(Family::G0) => Level::None,
            Anomaly::AbortedRead | Anomaly::IntermediateRead | Anomaly::Cycle(Family::G1c) => {
                Level::ReadUncommitted
            }
            Anomaly::LostUpdate | Anomaly::NonRepeatable | Anomaly::Cycle(Family::GSingle) => {
                Level::ReadCommitted
            }
            Anomaly::Cycle(Family::G2Item) => Level::ConsistentView,
            Anomaly::SessionCycle(_)
            | Anomaly::ReadYourWrites
            | Anomaly::MonotonicReads
            | Anomaly::MonotonicWrites
            | Anomaly::WritesFollowReads => Level::Serializable,
            Anomaly::RealTimeCycle(_) => Level::SessionSerializable,
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Isolation levels, the weakest first. Snapshot isolation is not among them: to tell it from its
/// neighbours needs the moments at which snapshots were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not even writes are isolated, or data contradict themselves.
    None,
    /// PL-1: no dirty writes.
    ReadUncommitted,
    /// PL-2: what is read was committed.
    ReadCommitted,
    /// PL-2+: nobody sees a part of a transaction.
    ConsistentView,
    /// PL-3: a serial order exists.
    Serializable,
    /// That order keeps the order of every session.
    SessionSerializable,
    /// That order agrees with real time.
    StrictSerializable,
}

impl Level {
    /// The strongest level that these violations leave, at most `checked`.
    pub fn after(found: impl IntoIterator<Item = Anomaly>, checked: Level) -> Level {
        let left = found.into_iter().map(Anomaly::leaves).min();
        left.unwrap_or(checked).min(checked)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::None => "none",
            Level::ReadUncommitted => "read uncommitted",
            Level::ReadCommitted => "read committed",
            Level::ConsistentView => "consistent view",
            Level::Serializable => "serializable",
            Level::SessionSerializable => "session serializable",
            Level::StrictSerializable => "strict serializable",
        })
    }
}
