//! How long nodes work, as files tell it.
//!
//! Every kind of cluster ships a file: measured on its own processes, or taken from those of another
//! kind, which the file says. Nobody changes one so that a latency comes out right.

use super::Service;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Service times, in the form that the simulator takes them: see [`Service`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceTimes {
    /// Nanoseconds for a message whose kind is not named.
    pub other_ns: u64,
    /// Picoseconds for each unit beyond the first of a message whose kind is not named.
    pub per_unit_ps: u64,
    /// Picoseconds for each byte of a message.
    pub per_byte_ps: u64,
    /// Nanoseconds for each packet that comes in, with its share of what goes out.
    pub per_packet_ns: u64,
    /// Nanoseconds for each turn; the measured times of messages have it in them.
    pub per_turn_ns: u64,
    /// Nanoseconds for a message, by its kind; `(timer)`, `(persisted)` and `(read)` are what else a
    /// node is told.
    pub per_message_ns: BTreeMap<String, u64>,
    /// Picoseconds for each unit of a message beyond the first, by its kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_unit_of_ps: BTreeMap<String, u64>,
}

impl ServiceTimes {
    /// As the simulator takes them.
    pub fn service(&self) -> Service {
        Service {
            per_message: self.per_message_ns.clone(),
            other: self.other_ns,
            per_unit: self.per_unit_of_ps.clone(),
            per_unit_ps: self.per_unit_ps,
            per_byte_ps: self.per_byte_ps,
            per_packet: self.per_packet_ns,
            per_turn: self.per_turn_ns,
        }
    }
}

/// What of such a file the simulator reads; the rest is for people.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServiceFile {
    /// The times.
    pub service: ServiceTimes,
}
