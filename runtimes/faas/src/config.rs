//! What a simulated platform is like: limits, timing, and the latencies of its own path.

use triptych_model::Work;
use triptych_world::latency::{BurstConcurrency, Dist, Profile, ProfileError};
use triptych_world::{Nanos, SECOND};

/// Limits and timing of a simulated account.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// Executions alive at one time; further ones are refused.
    pub concurrency: u32,
    /// Invocations per second; further ones are refused. AWS gives ten per unit of concurrency.
    pub requests_per_second: u32,
    /// How fast environments may start.
    pub burst: BurstConcurrency,
    /// How long an execution may run.
    pub timeout: Nanos,
    /// How often a failed asynchronous execution is repeated by the platform itself.
    pub async_retries: u32,
    /// How long an event may wait in the asynchronous queue.
    pub queue_age: Nanos,
    /// Largest request and reply of a synchronous invocation, in bytes.
    pub sync_payload_limit: usize,
    /// Largest event, in bytes.
    pub async_payload_limit: usize,
    /// Durations are billed in multiples of this many milliseconds.
    pub billing_granularity_ms: u64,
}

impl PoolConfig {
    /// The account of Beldi's evaluation: 1,000 executions, the quotas of 2020, no retries by the
    /// platform.
    pub fn for_profile(profile: &Profile) -> Self {
        let burst = profile.burst.unwrap_or(BurstConcurrency {
            initial: None,
            per_minute: None,
            per_function_per_10s: None,
            account_limit: 1_000,
        });
        PoolConfig {
            concurrency: burst.account_limit,
            requests_per_second: 10 * burst.account_limit,
            burst,
            timeout: 60 * SECOND,
            async_retries: 0,
            queue_age: 60 * SECOND,
            sync_payload_limit: 6 * 1024 * 1024,
            async_payload_limit: 256 * 1024,
            billing_granularity_ms: 1,
        }
    }
}

/// The latencies of the platform's own path.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    pub(crate) sync_invoke: Dist,
    pub(crate) async_enqueue: Dist,
    pub(crate) async_dispatch: Dist,
    pub(crate) handler_cpu: Dist,
    /// Placement and initialisation; none where workers are always warm.
    pub(crate) cold: Option<(Dist, Dist)>,
    /// First call of a new environment to the store.
    pub(crate) first_call: Option<Dist>,
    /// How long an idle environment stays, in minutes.
    pub(crate) idle_minutes: Option<Dist>,
}

impl Latencies {
    pub(crate) fn of(profile: &Profile) -> Result<Self, ProfileError> {
        let cold = match profile.dist("faas.cold_init") {
            Some(init) => Some((profile.require("faas.cold_placement")?, *init)),
            None => None,
        };
        Ok(Latencies {
            sync_invoke: profile.require("faas.sync_invoke")?,
            async_enqueue: profile.require("faas.async_enqueue")?,
            async_dispatch: profile.require("faas.async_dispatch")?,
            handler_cpu: profile.require("faas.handler_cpu")?,
            cold,
            first_call: profile.dist("faas.first_call_tls").copied(),
            idle_minutes: profile.dist("faas.idle_reclaim_min").copied(),
        })
    }
}

/// Adds one execution to the bill.
pub(crate) fn bill(work: &mut Work, duration: Nanos, granularity_ms: u64) {
    work.function_ns += duration;
    let granularity = granularity_ms.max(1) * triptych_world::MS;
    work.billed_ms += duration.div_ceil(granularity) * granularity_ms.max(1);
}
