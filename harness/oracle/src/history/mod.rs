//! The history checker: was there an order in which the transactions could have run one by one?
//!
//! A newcomer can start with [`check`]. It works out in which order the versions of every key were
//! made (`order`), walks once through the transactions to find what they depend on (`walk`), and
//! looks for cycles in the graph of those dependencies (`graph`, `cycles`): Adya's phenomena. Orders
//! of sessions and of real time (`time`) come in as further edges, if they are asked for. What is
//! found is told in words ([`Witness::told`]) and can be drawn ([`picture()`]); the strongest
//! isolation level that is left is named ([`Report::level`]).
//!
//! Everything is linear in the size of the history, up to the sorting of moments and the bounded
//! search for the shortest witness. A history that is not whole is refused ([`Refusal`]): no verdict
//! follows from a part, because what is missing might explain, or contradict, the rest.
//!
//! **Aborted and unknown.** What an aborted transaction wrote must not be seen. A transaction whose
//! end is unknown counts as committed if something of it was seen, and as never run otherwise; what
//! it read is never judged.
//!
//! **Sessions.** Where versions were lost or are in no order, what a session saw of them says nothing
//! of the session, so the four guarantees are judged on the other keys alone.
//!
//! **Windows.** Of a list that keeps the newest elements only, a read shows the end. Its order is put
//! together from overlapping reads, and nothing is concluded where they do not overlap.

mod anomaly;
mod cycles;
pub(crate) mod drawing;
pub mod export;
mod graph;
mod order;
mod picture;
mod rules;
pub mod sample;
mod time;
mod walk;
mod words;

pub use anomaly::{Anomaly, Family, Level, Scope};
pub use graph::EdgeKind;
pub use picture::picture;
pub use rules::{Judged, rules};

use cycles::Cycles;
use graph::Graph;
use order::Orders;
use std::collections::{BTreeMap, BTreeSet};
use triptych_model::history::{History, TxStatus};
use walk::Walk;

/// What to check besides serializability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The order of sessions in cycles.
    pub sessions: bool,
    /// The order of real time in cycles.
    pub real_time: bool,
}

impl Options {
    /// Everything.
    pub const ALL: Options = Options {
        sessions: true,
        real_time: true,
    };
    /// Serializability and the four session guarantees.
    pub const DATA: Options = Options {
        sessions: false,
        real_time: false,
    };
}

/// Why no verdict can be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something is missing.
    #[error("the history is not whole: {0}")]
    Truncated(String),
    /// Nobody looked at a key in the end.
    #[error("the history is not whole: the final state of {0} is missing")]
    NoFinalState(String),
    /// It contradicts its own form.
    #[error("the history is malformed: {0}")]
    Malformed(String),
}

/// One dependency of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The transaction that comes first, by its position in the history.
    pub from: u32,
    /// The one that comes after it.
    pub to: u32,
    /// Why.
    pub kind: EdgeKind,
    /// The key, for dependencies on data.
    pub key: u32,
}

/// The evidence of a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The transactions, by their positions in the history.
    pub transactions: Vec<u32>,
    /// The cycle, if it is one.
    pub steps: Vec<Step>,
    /// In words.
    pub told: String,
}

/// A kind of violation that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub anomaly: Anomaly,
    /// How often; of cycles, in how many components.
    pub count: u64,
    /// The first, or shortest, one.
    pub witness: Witness,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Transactions.
    pub transactions: u64,
    /// Those that are committed.
    pub committed: u64,
    /// Operations of all of them.
    pub operations: u64,
    /// Transactions of several operations that overlapped a conflicting one.
    pub conflicts: u64,
    /// How often each of [`Anomaly::SESSION`] was tried.
    pub sessions: [u64; 4],
}

/// What the checker says of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Every kind of violation, the most basic first.
    pub found: Vec<Found>,
    /// The strongest isolation level that nothing speaks against.
    pub level: Level,
    /// What that rests on.
    pub seen: Seen,
    /// Whether the search for cycles was bounded somewhere: a weaker kind may be there too.
    pub cut: bool,
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
    /// Keys of which the order of versions is not what it should be.
    torn: BTreeSet<u32>,
}

impl Findings {
    /// A violation after which the order of a key's versions tells nothing of its sessions.
    fn tear(&mut self, key: u32, anomaly: Anomaly, witness: impl FnOnce() -> Witness) {
        self.torn.insert(key);
        self.add(anomaly, witness);
    }

    fn add(&mut self, anomaly: Anomaly, witness: impl FnOnce() -> Witness) {
        if let Some(found) = self.found.get_mut(&anomaly) {
            found.count += 1;
            // The shortest cycle of all is the best witness.
            if found.witness.steps.len() > 2 {
                let witness = witness();
                if witness.steps.len() < found.witness.steps.len() {
                    found.witness = witness;
                }
            }
            return;
        }
        let found = Found {
            anomaly,
            count: 1,
            witness: witness(),
        };
        self.found.insert(anomaly, found);
    }
}

/// Checks a history.
///
/// # Errors
/// [`Refusal`], if nothing can be concluded from it.
pub fn check(history: &History, options: Options) -> Result<Report, Refusal> {
    let mut findings = Findings::default();
    let orders = Orders::of(history, &mut findings)?;
    let mut edges = Walk::edges(history, &orders, &mut findings);
    let real = history.transactions.len() as u32;
    let mut nodes = real;
    let sessions = time::sessions(history, &orders);
    if options.sessions {
        time::session_order(history, &sessions, &mut nodes, &mut edges);
    }
    if options.real_time {
        time::real_time(history, &orders, &mut nodes, &mut edges);
    }
    let tried = time::guarantees(history, &orders, &sessions, &mut findings);
    drop((orders, sessions));
    let graph = Graph::new(real, nodes, edges);
    let mut cycles = Cycles::new(history, &graph);
    cycles.plain(&mut findings);
    if options.sessions {
        cycles.timed(Scope::Session, &mut findings);
    }
    if options.real_time {
        cycles.timed(Scope::RealTime, &mut findings);
    }
    let cut = cycles.cut;
    let transactions = &history.transactions;
    let committed = |status| status == TxStatus::Committed;
    let seen = Seen {
        transactions: transactions.len() as u64,
        committed: transactions
            .iter()
            .filter(|tx| committed(tx.status))
            .count() as u64,
        operations: transactions.iter().map(|tx| tx.ops.len() as u64).sum(),
        conflicts: time::conflicts(history),
        sessions: tried,
    };
    let checked = match (options.sessions, options.real_time) {
        (true, true) => Level::StrictSerializable,
        (true, false) => Level::SessionSerializable,
        _ => Level::Serializable,
    };
    let mut found: Vec<Found> = findings.found.into_values().collect();
    found.sort_by_key(|found| found.anomaly.rank());
    Ok(Report {
        level: Level::after(found.iter().map(|found| found.anomaly), checked),
        found,
        seen,
        cut,
    })
}
