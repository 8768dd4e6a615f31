//! What can be wrong with a causal record, and which promise it breaks.

use std::fmt;
use triptych_api::Isolation;
use triptych_model::Guarantee;

/// A kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// A client, or a request with all that it calls, did not see what it had written.
    ReadYourWrites,
    /// It did not see any more what it had seen.
    MonotonicReads,
    /// Somebody saw a client's write and not the one that the client had made before.
    MonotonicWrites,
    /// Somebody saw a client's write and not what the client had seen before it.
    WritesFollowReads,
    /// Somebody saw a write and not what came before it, over several clients.
    Causality,
    /// A copy of the data is not like the others once nothing happens any more.
    Diverged,
    /// A transaction saw a part of another one.
    FracturedRead,
    /// A transaction saw a write, and elsewhere not what came before it.
    TornSnapshot,
    /// A look at several keys saw a part of a transaction.
    FracturedLook,
    /// A look at several keys saw a write, and elsewhere not what came before it.
    TornLook,
    /// Something of an aborted transaction was seen.
    AbortedRead,
    /// Something that its transaction replaced later was seen.
    IntermediateRead,
    /// An acknowledged write is not there at the end, nor anything newer.
    Lost,
    /// What was written once is there twice at the end.
    Twice,
}

impl Anomaly {
    /// Every kind, in the order of reports.
    pub const ALL: [Anomaly; 14] = [
        Anomaly::ReadYourWrites,
        Anomaly::MonotonicReads,
        Anomaly::MonotonicWrites,
        Anomaly::WritesFollowReads,
        Anomaly::Causality,
        Anomaly::Diverged,
        Anomaly::FracturedRead,
        Anomaly::TornSnapshot,
        Anomaly::FracturedLook,
        Anomaly::TornLook,
        Anomaly::AbortedRead,
        Anomaly::IntermediateRead,
        Anomaly::Lost,
        Anomaly::Twice,
    ];

    /// The name in tables and rules.
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::ReadYourWrites => "read-your-writes",
            Anomaly::MonotonicReads => "monotonic-reads",
            Anomaly::MonotonicWrites => "monotonic-writes",
            Anomaly::WritesFollowReads => "writes-follow-reads",
            Anomaly::Causality => "causality",
            Anomaly::Diverged => "diverged",
            Anomaly::FracturedRead => "fractured-read",
            Anomaly::TornSnapshot => "torn-snapshot",
            Anomaly::FracturedLook => "fractured-look",
            Anomaly::TornLook => "torn-look",
            Anomaly::AbortedRead => "aborted-read",
            Anomaly::IntermediateRead => "intermediate-read",
            Anomaly::Lost => "lost",
            Anomaly::Twice => "twice",
        }
    }

    /// The guarantee that it breaks.
    pub fn guarantee(self) -> Guarantee {
        match self {
            Anomaly::ReadYourWrites
            | Anomaly::MonotonicReads
            | Anomaly::MonotonicWrites
            | Anomaly::WritesFollowReads
            | Anomaly::Causality
            | Anomaly::Diverged => Guarantee::Order,
            Anomaly::FracturedRead
            | Anomaly::TornSnapshot
            | Anomaly::FracturedLook
            | Anomaly::TornLook
            | Anomaly::AbortedRead
            | Anomaly::IntermediateRead => Guarantee::Isolation,
            Anomaly::Lost => Guarantee::Durability,
            Anomaly::Twice => Guarantee::Effects,
        }
    }

    /// Whether who promises this isolation promises that it does not happen. A look at several keys
    /// outside of transactions is one look where transactions are causally consistent; elsewhere
    /// nobody says so.
    pub fn asked(self, promised: Isolation) -> bool {
        match self {
            Anomaly::FracturedLook | Anomaly::TornLook => promised == Isolation::Tcc,
            // There a write that has returned is acknowledged with its request alone: until then the
            // whole workflow may come to nothing. What requests say of it is for the app's rules.
            Anomaly::Lost => promised != Isolation::Tcc,
            _ => true,
        }
    }

    /// Why it is a contradiction, in a sentence.
    pub fn because(self) -> &'static str {
        match self {
            Anomaly::ReadYourWrites => "Who wrote something sees it, or something newer.",
            Anomaly::MonotonicReads => "What was seen does not vanish again.",
            Anomaly::MonotonicWrites => {
                "Who sees a client's write sees what that client wrote before it."
            }
            Anomaly::WritesFollowReads => {
                "Who sees a client's write sees what that client had seen before it."
            }
            Anomaly::Causality => "Who sees something sees what happened before it.",
            Anomaly::Diverged => "Copies that have received the same are the same.",
            Anomaly::FracturedRead | Anomaly::FracturedLook => {
                "All of a transaction is seen, or nothing."
            }
            Anomaly::TornSnapshot | Anomaly::TornLook => {
                "What is seen together was there at one moment of causality."
            }
            Anomaly::AbortedRead => "An aborted transaction has no effects that anybody could see.",
            Anomaly::IntermediateRead => "Others see a transaction as it ended.",
            Anomaly::Lost => "What was acknowledged is there at the end.",
            Anomaly::Twice => "What was written once cannot be there twice.",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
