//! The published numbers of a run, as they stand in `summary.json`. How they are computed is in
//! [`crate::summarise`](mod@crate::summarise).

use crate::anomalies::Anomalies;
use crate::hlog::HlogError;
use crate::latency::{Latencies, Quantile};
use crate::price::{Cost, PriceError};
use crate::visibility::Visibility;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_model::{OutcomeClass, Status, Transactions, Verdict};

/// Why there is no summary.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// The manifest contradicts itself.
    #[error("manifest: {0}")]
    Manifest(String),
    /// Requests of the schedule have no record, or records no request.
    #[error("the schedule holds {intended} requests, but the operation log accounts for {found}")]
    Conservation {
        /// Requests of the schedule.
        intended: u64,
        /// Records in the log.
        found: u64,
    },
    /// A record that cannot be.
    #[error("request {index}: {why}")]
    Record {
        /// The request.
        index: u64,
        /// What is wrong with it.
        why: String,
    },
    /// There is no price for the work.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// The histogram log cannot be written.
    #[error("histogram log: {0}")]
    Hlog(#[from] HlogError),
}

/// Requests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// All of them; always the sum of the others.
    pub intended: u64,
    /// Done and acknowledged.
    pub ok: u64,
    /// Refused for a business reason, which is an answer.
    pub rejected: u64,
    /// Ended by a retryable conflict.
    pub aborted: u64,
    /// Surely without effect.
    pub failed: u64,
    /// Given up; there may be an effect.
    pub indeterminate: u64,
    /// Not sent by the load generator.
    pub shed: u64,
    /// Without an end when the run ended.
    pub in_flight: u64,
}

impl Counts {
    /// How many ended as `class`.
    pub fn of(&self, class: OutcomeClass) -> u64 {
        match class {
            OutcomeClass::Ok => self.ok,
            OutcomeClass::Rejected => self.rejected,
            OutcomeClass::Aborted => self.aborted,
            OutcomeClass::Failed => self.failed,
            OutcomeClass::Indeterminate => self.indeterminate,
            OutcomeClass::Shed => self.shed,
            OutcomeClass::InFlight => self.in_flight,
        }
    }

    /// Requests that got the answer of the application, ok or rejected.
    pub fn answered(&self) -> u64 {
        self.ok + self.rejected
    }

    /// Requests that got no answer of the application.
    pub fn errors(&self) -> u64 {
        self.intended - self.answered()
    }

    pub(crate) fn add(&mut self, class: OutcomeClass) {
        self.intended += 1;
        *match class {
            OutcomeClass::Ok => &mut self.ok,
            OutcomeClass::Rejected => &mut self.rejected,
            OutcomeClass::Aborted => &mut self.aborted,
            OutcomeClass::Failed => &mut self.failed,
            OutcomeClass::Indeterminate => &mut self.indeterminate,
            OutcomeClass::Shed => &mut self.shed,
            OutcomeClass::InFlight => &mut self.in_flight,
        } += 1;
    }
}

/// The numbers of one request kind, or of all together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Requests of the whole run by how they ended.
    pub all: Counts,
    /// Of these, the requests intended after the warm-up.
    pub measured: Counts,
    /// Intended start to answer. The headline.
    pub response: Latencies,
    /// Actual start to answer.
    pub service: Latencies,
    /// Intended to actual start: what the load generator's own queue cost.
    pub waiting: Latencies,
    /// Intended start to the end of the last function that the request caused, for acknowledged
    /// requests of kinds with effects.
    pub settled: Option<Latencies>,
    /// How long the entry function ran, for answered requests.
    pub entry: Latencies,
}

/// What the run cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSummary {
    /// The price sheet.
    pub sheet: String,
    /// The whole run with its warm-up.
    pub run: Cost,
    /// The answered requests that share it.
    pub requests: u64,
    /// The same for a million answered requests; nothing if none was answered.
    pub per_million: Option<Cost>,
}

/// An interval of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Where it begins, from the start of the load.
    pub from_ns: u64,
    /// Where it ends.
    pub to_ns: u64,
    /// Whether it belongs to the warm-up.
    pub warmup: bool,
    /// Requests intended in it.
    pub offered: u64,
    /// Answers that arrived in it.
    pub answered: u64,
    /// Requests intended in it that got no answer of the application.
    pub errors: u64,
    /// Requests intended in it that were hit by an injected fault.
    pub faulted: u64,
    /// The median response time of the requests intended in it.
    pub p50: Option<Quantile>,
    /// The 99th percentile likewise.
    pub p99: Option<Quantile>,
}

/// What the oracle's verdict comes down to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictSummary {
    /// The worst status over what the runtime promises.
    pub promises: Status,
    /// The worst status over all that was checked.
    pub worst: Status,
    /// What the numbers are worth beside others: the worst over what is promised, and invalid if
    /// anything at all was violated, promised or not. Only a valid run is ranked.
    pub standing: Status,
    /// Whether a promise was broken, which fails the run. A violation that nobody promised to
    /// avoid is data.
    pub broken: bool,
    /// The rules that were violated.
    pub violated: Vec<String>,
}

impl VerdictSummary {
    /// The short form of `verdict`.
    pub fn new(verdict: &Verdict) -> Self {
        let promises = verdict.promises();
        let violated = verdict
            .guarantees
            .iter()
            .any(|entry| entry.status == Status::Invalid);
        VerdictSummary {
            promises,
            worst: verdict.worst(),
            standing: if violated { Status::Invalid } else { promises },
            broken: promises == Status::Invalid,
            violated: verdict.violated().into_iter().map(str::to_string).collect(),
        }
    }
}

/// Everything that is published about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// [`crate::manifest::SCHEMA`].
    pub schema: u32,
    /// The run's id.
    pub run_id: String,
    /// The oracle's verdict in short.
    pub verdict: VerdictSummary,
    /// What is wrong with the run as a measurement, in words; empty if nothing is.
    pub flags: Vec<String>,
    /// Requests intended per second of the measured window.
    pub offered_per_s: f64,
    /// Answers that arrived per second of the measured window.
    pub achieved_per_s: f64,
    /// All request kinds together.
    pub overall: Measured,
    /// Each request kind.
    pub kinds: BTreeMap<String, Measured>,
    /// Requests that were hit by an injected fault.
    pub faulted: u64,
    /// Change of the median response time from the first to the second half of the window, as a
    /// share; nothing without enough requests.
    pub p50_drift: Option<f64>,
    /// The same of the 99th percentile.
    pub p99_drift: Option<f64>,
    /// Work done per answered request, by counter.
    pub work_per_request: BTreeMap<String, f64>,
    /// What became of transactions, over the whole run; nothing if nobody listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Transactions>,
    /// How long writes took until others saw them; nothing if no app asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// How often causal order was broken, by kind; nothing if it was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomalies: Option<Anomalies>,
    /// What it cost.
    pub cost: CostSummary,
    /// How it went over time.
    pub timeline: Vec<Interval>,
}
