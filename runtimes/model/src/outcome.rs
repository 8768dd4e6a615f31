//! How a request ended. The five classes are never mixed up: a business refusal is not a conflict,
//! and a timeout is not a failure.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The end of a request, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done and acknowledged.
    Ok,
    /// A business refusal: sold out, unknown title, wrong password. No effect.
    Rejected(String),
    /// A retryable conflict. No effect.
    Aborted(String),
    /// It surely had no effect (throttled before it began, for example).
    Failed(String),
    /// There may be an effect, now or later (timeout, lost reply, crash).
    Indeterminate(String),
    /// The load generator did not send it, because its own limit was reached.
    Shed,
    /// Neither answered nor given up when the run ended.
    InFlight,
}

/// [`Outcome`] without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeClass {
    /// See [`Outcome::Ok`].
    Ok,
    /// See [`Outcome::Rejected`].
    Rejected,
    /// See [`Outcome::Aborted`].
    Aborted,
    /// See [`Outcome::Failed`].
    Failed,
    /// See [`Outcome::Indeterminate`].
    Indeterminate,
    /// See [`Outcome::Shed`].
    Shed,
    /// See [`Outcome::InFlight`].
    InFlight,
}

impl OutcomeClass {
    /// Every class, in the order in which tables show them.
    pub const ALL: [OutcomeClass; 7] = [
        OutcomeClass::Ok,
        OutcomeClass::Rejected,
        OutcomeClass::Aborted,
        OutcomeClass::Failed,
        OutcomeClass::Indeterminate,
        OutcomeClass::Shed,
        OutcomeClass::InFlight,
    ];

    /// The class as it is written in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            OutcomeClass::Ok => "ok",
            OutcomeClass::Rejected => "rejected",
            OutcomeClass::Aborted => "aborted",
            OutcomeClass::Failed => "failed",
            OutcomeClass::Indeterminate => "indeterminate",
            OutcomeClass::Shed => "shed",
            OutcomeClass::InFlight => "in flight",
        }
    }
}

impl fmt::Display for OutcomeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Outcome {
    /// The class of this outcome.
    pub fn class(&self) -> OutcomeClass {
        match self {
            Outcome::Ok => OutcomeClass::Ok,
            Outcome::Rejected(_) => OutcomeClass::Rejected,
            Outcome::Aborted(_) => OutcomeClass::Aborted,
            Outcome::Failed(_) => OutcomeClass::Failed,
            Outcome::Indeterminate(_) => OutcomeClass::Indeterminate,
            Outcome::Shed => OutcomeClass::Shed,
            Outcome::InFlight => OutcomeClass::InFlight,
        }
    }

    /// The reason, where the class has one.
    pub fn reason(&self) -> &str {
        match self {
            Outcome::Rejected(reason)
            | Outcome::Aborted(reason)
            | Outcome::Failed(reason)
            | Outcome::Indeterminate(reason) => reason,
            Outcome::Ok | Outcome::Shed | Outcome::InFlight => "",
        }
    }
}
