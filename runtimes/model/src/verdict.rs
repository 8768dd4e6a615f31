//! What the oracle says of a run: per guarantee valid, unknown or invalid, with the coverage that
//! the statement rests on and the smallest witness found.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The verdict lattice: valid < unknown < invalid, and the worst of several wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No violation found at the stated coverage.
    Valid,
    /// The checker saw too little to say anything.
    Unknown,
    /// A violation was found; there is a witness.
    Invalid,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Valid => "valid",
            Status::Unknown => "unknown",
            Status::Invalid => "invalid",
        })
    }
}

/// A guarantee that a runtime may promise and that the verdict speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guarantee {
    /// Every effect happened exactly once.
    Effects,
    /// Transactions are isolated from each other.
    Isolation,
    /// Session and causal order.
    Order,
    /// Nothing acknowledged was lost.
    Durability,
}

impl Guarantee {
    /// Every guarantee, in the order in which tables show them.
    pub const ALL: [Guarantee; 4] = [
        Guarantee::Effects,
        Guarantee::Isolation,
        Guarantee::Order,
        Guarantee::Durability,
    ];

    /// The guarantee as it is written in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Guarantee::Effects => "effects",
            Guarantee::Isolation => "isolation",
            Guarantee::Order => "order",
            Guarantee::Durability => "durability",
        }
    }
}

/// One violation of one rule, told in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name, such as `M4`.
    pub rule: String,
    /// The request that the violation belongs to, where there is one.
    pub request: Option<u64>,
    /// What was expected and what was found.
    pub told: String,
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// The rule's name, such as `M4`.
    pub rule: String,
    /// The guarantee that a violation breaks.
    pub guarantee: Guarantee,
    /// How many facts it examined; a rule that examined none says nothing.
    pub examined: u64,
    /// How many violations there are.
    pub violations: u64,
    /// The smallest witness (lowest request index), if there is a violation.
    pub witness: Option<Finding>,
    /// Whether the runtime promises as much as the rule takes for granted. If it does not, its
    /// violations are data and decide nothing.
    #[serde(default = "asked", skip_serializing_if = "Clone::clone")]
    pub asked: bool,
}

fn asked() -> bool {
    true
}

impl RuleReport {
    /// A rule that has examined nothing yet.
    pub fn new(rule: &str, guarantee: Guarantee) -> Self {
        RuleReport {
            rule: rule.to_owned(),
            guarantee,
            examined: 0,
            violations: 0,
            witness: None,
            asked: true,
        }
    }

    /// The same rule, asked only if the runtime promises what it takes for granted.
    #[must_use]
    pub fn asked(self, asked: bool) -> Self {
        RuleReport { asked, ..self }
    }

    /// Violations per million facts examined.
    pub fn per_million(&self) -> f64 {
        self.violations as f64 * 1e6 / self.examined.max(1) as f64
    }

    /// Examines one fact. A violation is told only if it becomes the witness: that of the lowest
    /// request, and one that belongs to no request only if there is no other.
    pub fn expect(&mut self, holds: bool, request: Option<u64>, told: impl FnOnce() -> String) {
        self.examined += 1;
        if holds {
            return;
        }
        self.violations += 1;
        let place = |request: Option<u64>| request.unwrap_or(u64::MAX);
        let smaller = match &self.witness {
            Some(witness) => place(request) < place(witness.request),
            None => true,
        };
        if smaller {
            self.witness = Some(Finding {
                rule: self.rule.clone(),
                request,
                told: told(),
            });
        }
    }
}

/// What the checkers saw. Too little of it makes a verdict unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Acknowledged requests.
    pub ok: u64,
    /// Acknowledged requests with effects.
    pub ok_effects: u64,
    /// Requests that overlapped another on the same key.
    pub overlapping: u64,
    /// Requests into which a fault was injected that took effect.
    pub faulted: u64,
    /// Requests with effects into which a fault was injected that took effect.
    pub faulted_effects: u64,
    /// Pairs of reads of one key by one session.
    pub session_pairs: u64,
    /// Transactions that overlapped a conflicting one.
    pub conflicts: u64,
    /// Looks at keys of which it is known what they had to show: what anomalies are counted by.
    #[serde(default)]
    pub looks: u64,
}

impl Coverage {
    /// Adds what another run saw: coverage is judged over a batch of seeds.
    pub fn add(&mut self, other: &Coverage) {
        self.ok += other.ok;
        self.ok_effects += other.ok_effects;
        self.overlapping += other.overlapping;
        self.faulted += other.faulted;
        self.faulted_effects += other.faulted_effects;
        self.session_pairs += other.session_pairs;
        self.conflicts += other.conflicts;
        self.looks += other.looks;
    }
}

/// The verdict on one guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuaranteeVerdict {
    /// Which guarantee.
    pub guarantee: Guarantee,
    /// Whether the runtime promises it: a broken promise fails the run, a missing one is data.
    pub promised: bool,
    /// The finding.
    pub status: Status,
    /// Why it is unknown or invalid; for valid, what it rests on.
    pub because: String,
}

/// The verdict on a run: one entry per guarantee, and the rules behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// One per guarantee, in [`Guarantee::ALL`]'s order.
    pub guarantees: Vec<GuaranteeVerdict>,
    /// Every rule that was checked.
    pub rules: Vec<RuleReport>,
    /// What was seen.
    pub coverage: Coverage,
    /// Whether the run became quiet before it was judged; if not, what was still pending.
    pub stuck: Option<String>,
}

impl Verdict {
    /// The worst status over the guarantees that somebody promised; unknown if nobody promised any.
    pub fn promises(&self) -> Status {
        self.guarantees
            .iter()
            .filter(|entry| entry.promised)
            .map(|entry| entry.status)
            .max()
            .unwrap_or(Status::Unknown)
    }

    /// The worst status over all guarantees that were checked at all (some rule speaks of them).
    pub fn worst(&self) -> Status {
        self.guarantees
            .iter()
            .map(|entry| entry.status)
            .max()
            .unwrap_or(Status::Unknown)
    }

    /// The entry of one guarantee.
    pub fn of(&self, guarantee: Guarantee) -> Option<&GuaranteeVerdict> {
        self.guarantees
            .iter()
            .find(|entry| entry.guarantee == guarantee)
    }

    /// The names of the rules that were violated, in order.
    pub fn violated(&self) -> Vec<&str> {
        self.rules
            .iter()
            .filter(|rule| rule.violations > 0)
            .map(|rule| rule.rule.as_str())
            .collect()
    }
}
