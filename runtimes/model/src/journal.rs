//! The raw operation log: what the load generator and the oracle both work from.

use crate::{Outcome, Value};
use serde::{Deserialize, Serialize};

/// The name of a request type of an app, such as `compose` or `read-page`.
pub type RequestKind = String;

/// One request of the measured load, as the client saw it. All times are nanoseconds of one
/// monotonic clock, counted from the start of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpRecord {
    /// Position in the schedule, dense from 0. Also the request's identity in traces.
    pub index: u64,
    /// Which of the run's request kinds it is (position in the manifest's list).
    pub kind: u16,
    /// The logical client that sent it.
    pub session: u32,
    /// When the schedule wanted it sent: the origin of the response time.
    pub intended_ns: u64,
    /// When it was sent. Meaningless if it was shed.
    pub sent_ns: u64,
    /// When the answer arrived, or when the client gave up, or when the run ended.
    pub done_ns: u64,
    /// When the last function execution that it caused ended; 0 if unknown.
    pub settled_ns: u64,
    /// How long the entry function ran (what a cloud reports as the function's duration); 0 if
    /// unknown.
    pub entry_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What was asked, as the app defined it.
    pub input: Value,
    /// What the app chose to remember of the answer for its invariants (ids, counters, digests).
    pub observed: Value,
    /// How many crashes, duplicates or delays were injected into it and took effect.
    pub faults: u16,
}

/// What became of transactions, as somebody saw who listened to the functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transactions {
    /// Transactions that functions began, each counted once however often it was tried.
    pub begun: u64,
    /// Attempts at them.
    pub attempts: u64,
    /// Attempts that a conflict ended.
    pub conflicts: u64,
}

/// Work done by the system under test, counted as a bill counts it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Function executions that started.
    pub invocations: u64,
    /// Of these, executions that first had to start an environment.
    pub cold_starts: u64,
    /// Executions ended by a timeout.
    pub timeouts: u64,
    /// Executions ended by an injected crash.
    pub crashes: u64,
    /// Executions started as injected duplicates.
    pub duplicates: u64,
    /// Invocations refused because of the concurrency limit.
    pub throttled_concurrency: u64,
    /// Invocations refused because of the request-rate quota.
    pub throttled_rate: u64,
    /// Events redelivered by the asynchronous queue.
    pub async_retries: u64,
    /// Events given up by the asynchronous queue (too old, or out of retries).
    pub async_dropped: u64,
    /// Calls that state machines of the platform made, which are billed by number.
    #[serde(default)]
    pub state_transitions: u64,
    /// Execution time of functions, nanoseconds.
    pub function_ns: u64,
    /// Execution time of functions rounded up per invocation to the price sheet's granularity,
    /// milliseconds.
    pub billed_ms: u64,
    /// Time spent starting environments (init phase), milliseconds.
    pub init_ms: u64,
    /// The most executions alive at one time.
    pub peak_concurrency: u64,
    /// Calls to the store, by operation name.
    pub store_calls: std::collections::BTreeMap<String, u64>,
    /// Store calls that failed their condition.
    pub store_condition_failures: u64,
    /// Store calls that were throttled.
    pub store_throttled: u64,
    /// Read units in halves (an eventual read of 4 KB is one half), so that the sum stays exact.
    pub read_half_units: u64,
    /// Write units.
    pub write_units: u64,
    /// Bytes sent to the store.
    pub store_bytes_in: u64,
    /// Bytes received from the store.
    pub store_bytes_out: u64,
    /// Bytes stored at the end, with the per-item overhead that is billed.
    pub stored_bytes: u64,
    /// Items stored at the end.
    pub stored_items: u64,
    /// Bytes of function payloads, requests and replies.
    pub payload_bytes: u64,
    /// What became of transactions; nothing if nobody listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Transactions>,
    /// What the runtime did besides calls to store and platform, by name (`log appends`), as it
    /// counts it itself; nothing for most.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub runtime: std::collections::BTreeMap<String, u64>,
}

impl Work {
    /// Adds what `other` counted. Peaks take the larger value.
    pub fn add(&mut self, other: &Work) {
        self.invocations += other.invocations;
        self.cold_starts += other.cold_starts;
        self.timeouts += other.timeouts;
        self.crashes += other.crashes;
        self.duplicates += other.duplicates;
        self.throttled_concurrency += other.throttled_concurrency;
        self.throttled_rate += other.throttled_rate;
        self.async_retries += other.async_retries;
        self.async_dropped += other.async_dropped;
        self.state_transitions += other.state_transitions;
        self.function_ns += other.function_ns;
        self.billed_ms += other.billed_ms;
        self.init_ms += other.init_ms;
        self.peak_concurrency = self.peak_concurrency.max(other.peak_concurrency);
        for (name, count) in &other.store_calls {
            *self.store_calls.entry(name.clone()).or_default() += count;
        }
        self.store_condition_failures += other.store_condition_failures;
        self.store_throttled += other.store_throttled;
        self.read_half_units += other.read_half_units;
        self.write_units += other.write_units;
        self.store_bytes_in += other.store_bytes_in;
        self.store_bytes_out += other.store_bytes_out;
        self.stored_bytes += other.stored_bytes;
        self.stored_items += other.stored_items;
        self.payload_bytes += other.payload_bytes;
        if let Some(other) = other.transactions {
            let own = self.transactions.get_or_insert_default();
            own.begun += other.begun;
            own.attempts += other.attempts;
            own.conflicts += other.conflicts;
        }
        for (name, count) in &other.runtime {
            *self.runtime.entry(name.clone()).or_default() += count;
        }
    }
}
