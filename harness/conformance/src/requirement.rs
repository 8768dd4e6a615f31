//! What is required, of whom.

use triptych_api::{Declares, Isolation, Order};

/// What a runtime must promise for a requirement to bind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// It binds every runtime.
    Nothing,
    /// Effects happen exactly once.
    ExactlyOnce,
    /// Sessions see an order.
    Order,
    /// Nothing acknowledged is lost.
    Durability,
    /// Transactions happen whole or not at all.
    Atomicity,
    /// Transactions happen whole, exactly once.
    AtomicityOnce,
    /// Transactions happen as if one after another.
    Serializability,
    /// Operations on one key happen one after another, for everybody.
    Linearizability,
}

impl Needs {
    /// Whether a runtime promises it.
    pub fn met(self, declares: &Declares) -> bool {
        match self {
            Needs::Nothing => true,
            Needs::ExactlyOnce => declares.exactly_once,
            Needs::Order => declares.order != Order::None,
            Needs::Durability => declares.durable,
            Needs::Atomicity => declares.transaction != Isolation::None,
            Needs::AtomicityOnce => {
                Needs::Atomicity.met(declares) && Needs::ExactlyOnce.met(declares)
            }
            Needs::Serializability => declares.transaction == Isolation::Serializable,
            Needs::Linearizability => declares.linearizable(),
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Needs::Nothing => "every runtime",
            Needs::ExactlyOnce => "exactly-once effects",
            Needs::Order => "order",
            Needs::Durability => "durability",
            Needs::Atomicity => "transactions",
            Needs::AtomicityOnce => "exactly-once transactions",
            Needs::Serializability => "serializable transactions",
            Needs::Linearizability => "linearizable operations",
        }
    }
}

/// One requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its name.
    pub name: &'static str,
    /// Whom it binds.
    pub needs: Needs,
    /// What it says.
    pub about: &'static str,
    /// Which part of the kit tries it.
    pub(crate) part: &'static str,
}

impl Requirement {
    /// The requirement of this name.
    pub fn find(name: &str) -> Option<&'static Requirement> {
        REQUIREMENTS.iter().find(|known| known.name == name)
    }
}

const fn of(
    name: &'static str,
    needs: Needs,
    part: &'static str,
    about: &'static str,
) -> Requirement {
    Requirement {
        name,
        needs,
        about,
        part,
    }
}

/// All requirements, in the order in which tables show them.
pub const REQUIREMENTS: [Requirement; 25] = {
    use Needs::*;
    [
        of(
            "programs",
            Order,
            "meaning",
            "random programs of one session mean what a small model says",
        ),
        of(
            "races",
            Durability,
            "meaning",
            "concurrent updates of new documents are never lost",
        ),
        of(
            "claims",
            Linearizability,
            "meaning",
            "of concurrent updates that exclude each other one is made",
        ),
        of(
            "calls",
            Nothing,
            "outcomes",
            "nested, parallel and refused calls return what the callee decided",
        ),
        of(
            "outcomes",
            Nothing,
            "outcomes",
            "each end of a request is told as what it is; refused leaves no trace",
        ),
        of(
            "same-seed",
            Nothing,
            "outcomes",
            "the same seed gives the same answers, state and crashes",
        ),
        of(
            "crash-once",
            ExactlyOnce,
            "crashes",
            "a crash at any effect changes neither state nor answer",
        ),
        of(
            "crash-twice",
            ExactlyOnce,
            "crashes",
            "nor does a second one in the repeated execution",
        ),
        of(
            "duplicate",
            ExactlyOnce,
            "crashes",
            "nor does a duplicate beside a crashing execution",
        ),
        of(
            "background",
            ExactlyOnce,
            "crashes",
            "nor does a crash of whoever repeats executions",
        ),
        of(
            "sends",
            ExactlyOnce,
            "crashes",
            "what is sent happens exactly once",
        ),
        of(
            "same-id",
            ExactlyOnce,
            "crashes",
            "a request sent again gets its answer and no second effect",
        ),
        of(
            "clean",
            ExactlyOnce,
            "crashes",
            "in the end nothing is pending, left over or contradictory",
        ),
        of(
            "replay-values",
            ExactlyOnce,
            "crashes",
            "times, ids and random numbers are the same on a replay",
        ),
        of(
            "session",
            Order,
            "order",
            "a session never sees less than it saw before",
        ),
        of("listed", Order, "order", "what is listed is stored"),
        of(
            "durable",
            Durability,
            "order",
            "what was acknowledged is there in the end",
        ),
        of(
            "tx-own",
            Atomicity,
            "transactions",
            "a transaction reads what it wrote",
        ),
        of(
            "tx-reject",
            Atomicity,
            "transactions",
            "a rejection undoes the whole transaction",
        ),
        of(
            "tx-poison",
            Atomicity,
            "transactions",
            "a swallowed error does not commit",
        ),
        of(
            "tx-nested",
            Atomicity,
            "transactions",
            "a transaction inside another is part of it",
        ),
        of(
            "tx-finish",
            Atomicity,
            "transactions",
            "opposite orders of access do not block for ever",
        ),
        of(
            "tx-sum",
            Serializability,
            "transactions",
            "concurrent transfers keep the sum, and every audit sees it",
        ),
        of(
            "tx-lists",
            Serializability,
            "transactions",
            "lists read together are one prefix of their history",
        ),
        of(
            "tx-crash",
            AtomicityOnce,
            "transactions under crashes",
            "a crash at any effect leaves a transaction whole, once",
        ),
    ]
};
