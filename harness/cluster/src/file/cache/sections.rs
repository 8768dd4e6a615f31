//! The sections of a cache's cluster file, each with its defaults.

use crate::file::place::Listed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triptych_load::campaign::Span;
use triptych_mesh::{Level, Limits, Timing};
use triptych_world::Nanos;

/// What "acknowledged" means for a write; see [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheLevel {
    /// The server that accepted it has it in memory; the crash of that server may lose it.
    Async,
    /// That server has synced it to its disk.
    Synced,
    /// As many further servers as `replicas` says have received it.
    Replicated,
}

impl CacheLevel {
    pub(super) fn level(self) -> Level {
        match self {
            CacheLevel::Async => Level::Async,
            CacheLevel::Synced => Level::Synced,
            CacheLevel::Replicated => Level::Replicated,
        }
    }

    /// As files write it.
    pub fn name(self) -> &'static str {
        self.level().name()
    }
}

/// What becomes of concurrent changes of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Merging {
    /// Every change counts.
    #[default]
    Changes,
    /// A change becomes the whole document as its server saw it; of two, the later one counts. As
    /// in the published protocol.
    LastWriterWins,
}

impl Merging {
    /// As files write it.
    pub fn name(self) -> &'static str {
        match self {
            Merging::Changes => "changes",
            Merging::LastWriterWins => "last-writer-wins",
        }
    }
}

/// The nodes, by role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheNodes {
    /// The IP address of the nodes that are given by their number alone.
    #[serde(default = "crate::file::place::loopback")]
    pub host: String,
    /// The port of the first node that is given by number alone; the others count on from it, the
    /// servers first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub base_port: Option<u16>,
    /// The cache servers: how many, or each with its number and address, in the order of the ring.
    pub servers: Listed,
    /// The node that keeps what the servers write behind, and who is on the ring. Without one
    /// nothing is written behind, nothing is forgotten, and no server may fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<Listed>,
}

/// When things happen; see [`Timing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheTiming {
    /// What a neighbour has not acknowledged for so long is sent again.
    pub again_after: Span,
    /// What the database has not answered for so long is asked again.
    pub ask_again_after: Span,
    /// How often a server tells its neighbours that it lives, and what it knows.
    pub alive_every: Span,
    /// A server that has heard neither its neighbours nor the database for so long serves nobody.
    pub lease: Span,
    /// A neighbour that was silent for so long is taken for dead.
    pub dead_after: Span,
    /// If no server is left that has its data, one that has none goes on with the database's after
    /// so long.
    pub found_after: Span,
    /// After so long a server answers that it cannot serve, or that nobody knows.
    pub give_up_after: Span,
    /// How often what is new is written to the database.
    pub store_every: Span,
    /// How often what is known to be everywhere is applied; 0 is at once.
    pub disseminate_every: Span,
    /// A snapshot of this age can still be read.
    pub keep_for: Span,
}

impl Default for CacheTiming {
    fn default() -> Self {
        let timing = Timing::default();
        CacheTiming {
            again_after: Span(timing.again_after),
            ask_again_after: Span(timing.ask_again_after),
            alive_every: Span(timing.alive_every),
            lease: Span(timing.lease),
            dead_after: Span(timing.dead_after),
            found_after: Span(timing.found_after),
            give_up_after: Span(timing.give_up_after),
            store_every: Span(timing.store_every),
            disseminate_every: Span(timing.disseminate_every),
            keep_for: Span(timing.keep_for),
        }
    }
}

impl CacheTiming {
    pub(super) fn timing(self, disseminate: bool) -> Timing {
        Timing {
            again_after: self.again_after.0,
            ask_again_after: self.ask_again_after.0,
            alive_every: self.alive_every.0,
            lease: self.lease.0,
            dead_after: self.dead_after.0,
            found_after: self.found_after.0,
            give_up_after: self.give_up_after.0,
            store_every: self.store_every.0,
            disseminate_every: match disseminate {
                true => self.disseminate_every.0,
                false => Nanos::MAX,
            },
            keep_for: self.keep_for.0,
        }
    }

    /// Those that cannot be zero.
    pub(super) fn spans(&self) -> [(&'static str, Span); 8] {
        [
            ("again_after", self.again_after),
            ("ask_again_after", self.ask_again_after),
            ("alive_every", self.alive_every),
            ("lease", self.lease),
            ("dead_after", self.dead_after),
            ("found_after", self.found_after),
            ("give_up_after", self.give_up_after),
            ("store_every", self.store_every),
        ]
    }
}

/// What bounds a server's memory and what it takes at once; see [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheLimits {
    /// So many keys a server keeps at most, besides what the database does not have yet; 0 is no
    /// bound.
    pub cache_keys: u64,
    /// So many rows travel to or from the database in one message.
    #[schemars(range(min = 1, max = 10000))]
    pub batch_rows: u64,
    /// So many keys one request may name.
    #[schemars(range(min = 1, max = 1000000))]
    pub request_keys: u64,
    /// So many writes that are not everywhere yet a server has before it accepts no more.
    #[schemars(range(min = 1))]
    pub unstable: u64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        let limits = Limits::default();
        CacheLimits {
            cache_keys: limits.cache_keys as u64,
            batch_rows: limits.batch_rows as u64,
            request_keys: limits.request_keys as u64,
            unstable: limits.unstable as u64,
        }
    }
}

impl CacheLimits {
    pub(super) fn limits(self) -> Limits {
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Limits {
            cache_keys: size(self.cache_keys),
            batch_rows: size(self.batch_rows),
            request_keys: size(self.request_keys),
            unstable: size(self.unstable),
        }
    }
}
