//! The sections of a campaign file, each with its defaults.

use super::{Span, known};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triptych_registry::{MOST_SERVERS, Timing};
use triptych_world::fault::Faults;
use triptych_world::{Nanos, SECOND};

/// The seed of the first repetition, or one per repetition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Seeds {
    /// The first; the others count on from it.
    First(u64),
    /// One per repetition.
    Each(Vec<u64>),
}

impl Default for Seeds {
    fn default() -> Self {
        Seeds::First(1)
    }
}

/// A setting of a profile: a text, a number, or true or false.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Setting {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// True or false.
    Switch(bool),
}

impl Setting {
    /// As the profile has it.
    pub(super) fn text(&self) -> String {
        match self {
            Setting::Text(text) => text.clone(),
            Setting::Integer(number) => number.to_string(),
            Setting::Number(number) => number.to_string(),
            Setting::Switch(switch) => switch.to_string(),
        }
    }
}

/// Faults that are injected at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaultRates {
    /// The share of requests in which an execution crashes at a random effect.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub crash_rate: f64,
    /// The share of requests in which an execution is started twice.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub duplicate_rate: f64,
    /// The share of store calls and of invocations that are refused.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub throttle_rate: f64,
    /// The share of effects that come late, or whose reply does, by up to some seconds.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub delay_rate: f64,
}

impl FaultRates {
    /// The rates by their names in campaign files.
    pub fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("crash_rate", self.crash_rate),
            ("duplicate_rate", self.duplicate_rate),
            ("throttle_rate", self.throttle_rate),
            ("delay_rate", self.delay_rate),
        ]
    }

    /// Whether any fault is asked for.
    pub fn any(&self) -> bool {
        self.named().iter().any(|(_, rate)| *rate > 0.0)
    }

    /// As the world takes them.
    pub(crate) fn faults(&self) -> Faults {
        Faults {
            crash_rate: self.crash_rate,
            duplicate_rate: self.duplicate_rate,
            throttle_rate: self.throttle_rate,
            delay_rate: self.delay_rate,
            ..Faults::default()
        }
    }
}

/// The simulated platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Platform {
    /// The latency profile.
    #[schemars(schema_with = "known::latency_name")]
    pub latency: String,
    /// Another median for the way to a function and into the asynchronous queue, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001, max = 60_000.0))]
    pub hop_ms: Option<f64>,
    /// Executions at one time in the account; by default the latency profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// Invocations per second in the account; by default ten per unit of concurrency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub request_quota: Option<u32>,
    /// Servers of a runtime that brings its own; by default the profile's number, or 3. Runtimes
    /// without servers do not look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MOST_SERVERS))]
    pub servers: Option<u16>,
    /// Whether the store's partitions have limits.
    pub store_throttling: bool,
    /// Whether ready tasks run in an order drawn from the seed, to explore interleavings.
    pub shuffle: bool,
}

impl Default for Platform {
    fn default() -> Self {
        Platform {
            latency: "aws-2020".to_owned(),
            hop_ms: None,
            concurrency: None,
            request_quota: None,
            servers: None,
            store_throttling: true,
            shuffle: false,
        }
    }
}

/// What the load generator does above its limit of requests in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Full {
    /// Requests wait at the client, and their waiting counts.
    #[default]
    Queue,
    /// Requests are not sent, and are counted.
    Shed,
}

/// Bounds of the load generator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientLimits {
    /// The most requests in flight; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub in_flight: Option<u32>,
    /// What happens above it.
    pub when_full: Full,
    /// How long a client waits for an answer.
    pub client_timeout: Span,
}

impl Default for ClientLimits {
    fn default() -> Self {
        let client_timeout = Span(60 * SECOND);
        ClientLimits {
            in_flight: None,
            when_full: Full::Queue,
            client_timeout,
        }
    }
}

/// How often garbage is collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GcPeriod {
    /// Never.
    Off,
    /// Every so often.
    Every(Span),
}

impl GcPeriod {
    /// The period, if there is one.
    pub fn period(self) -> Option<Nanos> {
        match self {
            GcPeriod::Off => None,
            GcPeriod::Every(span) => Some(span.0),
        }
    }
}

impl Serialize for GcPeriod {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            GcPeriod::Off => serializer.serialize_str("off"),
            GcPeriod::Every(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GcPeriod {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "off" => Ok(GcPeriod::Off),
            span => Span::parse(span)
                .map(GcPeriod::Every)
                .map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for GcPeriod {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GcPeriod".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let span = Span::json_schema(generator);
        schemars::json_schema!({ "anyOf": [span, { "const": "off" }] })
    }
}

/// Timeouts and periods of the system under test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimingConfig {
    /// A function's timeout.
    pub timeout: Span,
    /// How long an event may wait in the asynchronous queue.
    pub queue_age: Span,
    /// How often the platform repeats a failed asynchronous execution.
    #[schemars(range(min = 0, max = 10))]
    pub async_retries: u32,
    /// How often intent collectors run.
    pub collector_period: Span,
    /// How often garbage collectors run, or off.
    pub gc_period: GcPeriod,
    /// The assumed bound on how long after the end of its instance an execution or a message may
    /// still be alive: more than timeout and queue age together, and with faults and a garbage
    /// collector than the longest delay of a message as well.
    pub t: Span,
    /// How long a run may take to become quiet after the load; after that it counts as stuck.
    pub drain: Span,
}

impl Default for TimingConfig {
    fn default() -> Self {
        let Timing {
            timeout,
            queue_age,
            async_retries,
            collector_period,
            gc_period,
            t,
        } = Timing::default();
        TimingConfig {
            timeout: Span(timeout),
            queue_age: Span(queue_age),
            async_retries,
            collector_period: Span(collector_period),
            gc_period: gc_period.map_or(GcPeriod::Off, |period| GcPeriod::Every(Span(period))),
            t: Span(t),
            drain: Span(3_600 * SECOND),
        }
    }
}

impl TimingConfig {
    /// As a runtime takes it.
    pub fn timing(&self) -> Timing {
        Timing {
            timeout: self.timeout.0,
            queue_age: self.queue_age.0,
            async_retries: self.async_retries,
            collector_period: self.collector_period.0,
            gc_period: self.gc_period.period(),
            t: self.t.0,
        }
    }
}

/// The search for the highest rate that keeps a latency bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Saturation {
    /// The bound on the 99th percentile of the response time.
    pub p99_bound: Span,
    /// Where the search begins, requests per second.
    #[schemars(range(min = 0.001, max = 1_000_000.0))]
    pub lowest: f64,
    /// Where it ends, requests per second.
    #[schemars(range(min = 0.001, max = 1_000_000.0))]
    pub highest: f64,
    /// How near the result must be to the true one, as a share of it.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub precision: f64,
}

impl Default for Saturation {
    fn default() -> Self {
        Saturation {
            p99_bound: Span(SECOND),
            lowest: 10.0,
            highest: 3_000.0,
            precision: 0.05,
        }
    }
}
