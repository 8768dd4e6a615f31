//! How a simulated cluster behaves.

use super::store::StoreConfig;
use crate::Nanos;
use std::collections::BTreeMap;
use triptych_world::latency::Dist;

/// How a way from one host to another behaves, in one direction. Rates are chances for each packet,
/// which is all that leaves for one peer in one turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// How long a packet is on its way, besides its bytes.
    pub latency: Dist,
    /// The chance that it is lost.
    pub loss: f64,
    /// The chance that it arrives twice.
    pub duplication: f64,
    /// The chance that it is delayed and those behind it overtake it. All others arrive in order, as
    /// on a connection.
    pub reorder: f64,
}

impl Path {
    /// A way that loses, duplicates and reorders nothing.
    pub fn new(latency: Dist) -> Self {
        Path {
            latency,
            loss: 0.0,
            duplication: 0.0,
            reorder: 0.0,
        }
    }
}

/// How long nodes work on what they are given. A message takes the time of its kind, and of its
/// units and bytes, before the node is told of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// For a message, by its kind. `(timer)`, `(persisted)` and `(read)` are for what else a node is
    /// told; they take no time if they are not here.
    pub per_message: BTreeMap<String, Nanos>,
    /// For a message of a kind that is not among those.
    pub other: Nanos,
    /// For each unit of a message beyond the first, by its kind, in picoseconds.
    pub per_unit: BTreeMap<String, u64>,
    /// For each unit beyond the first of a message of a kind that is not among those, in picoseconds.
    pub per_unit_ps: u64,
    /// For each byte of a message, in picoseconds.
    pub per_byte_ps: u64,
    /// For each packet that comes in: what reading from a socket costs, however much is read.
    pub per_packet: Nanos,
    /// For each turn.
    pub per_turn: Nanos,
}

impl Service {
    /// What a message of a kind takes, without its units and bytes.
    pub(super) fn of(&self, kind: &str) -> Nanos {
        let default = if kind.starts_with('(') { 0 } else { self.other };
        self.per_message.get(kind).copied().unwrap_or(default)
    }

    /// What a unit beyond the first of a message of a kind takes, in picoseconds.
    pub(super) fn of_unit(&self, kind: &str) -> u64 {
        let own = self.per_unit.get(kind).copied();
        own.unwrap_or(self.per_unit_ps)
    }

    /// What units of so many picoseconds and bytes take.
    pub(super) fn of_content(&self, unit_ps: u64, units: usize, bytes: usize) -> Nanos {
        let units = (units.max(1) as u64 - 1).saturating_mul(unit_ps);
        let bytes = (bytes as u64).saturating_mul(self.per_byte_ps);
        units.saturating_add(bytes) / 1_000
    }

    /// Whether the content of messages takes time.
    pub(super) fn counts_content(&self) -> bool {
        self.per_unit_ps > 0 || self.per_byte_ps > 0 || !self.per_unit.is_empty()
    }
}

/// How a simulated cluster behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct SimConfig {
    /// Between hosts.
    pub network: Path,
    /// Between a node and a client on its host.
    pub local: Path,
    /// Bytes per second that a host can send to others, all together.
    pub bandwidth: u64,
    /// The nodes' stores.
    pub store: StoreConfig,
    /// How long nodes work.
    pub service: Service,
    /// How many of a node's turns can be worked on at the same time. The node itself, a state
    /// machine, is told of each when its work is done, one at a time. A node that runs as one event
    /// loop has one.
    pub cores: usize,
    /// How many packets and other things a node takes in one turn at most, if more have come while
    /// it was busy.
    pub turn_limit: usize,
}

impl SimConfig {
    /// A cluster in which nothing takes time but the network, which always takes the same
    /// (milliseconds, one way), and nothing goes wrong by itself.
    pub fn ideal(latency_ms: f64) -> Self {
        SimConfig {
            network: Path::new(Dist::Constant { value: latency_ms }),
            local: Path::new(Dist::Constant { value: 0.0 }),
            bandwidth: u64::MAX,
            store: StoreConfig::ideal(),
            service: Service::default(),
            cores: 1,
            turn_limit: 256,
        }
    }
}
