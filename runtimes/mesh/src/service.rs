//! How long servers work.
//!
//! The shipped figures are not calibrated yet: the file says where each of them comes from.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_nodes::sim::Service;

const SHIPPED: &str = include_str!("../data/service.toml");

/// Service times, in the form that the simulator takes them: see `Service` in `triptych_nodes::sim`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceTimes {
    /// Nanoseconds for a message whose kind is not named.
    pub other_ns: u64,
    /// Picoseconds for each unit of a message beyond the first.
    pub per_unit_ps: u64,
    /// Picoseconds for each byte of a message.
    pub per_byte_ps: u64,
    /// Nanoseconds for each packet that comes in, with its share of what goes out.
    pub per_packet_ns: u64,
    /// Nanoseconds for each turn.
    pub per_turn_ns: u64,
    /// Nanoseconds for a message, by its kind; `(timer)`, `(persisted)` and `(read)` are what else a
    /// node is told.
    pub per_message_ns: BTreeMap<String, u64>,
}

impl ServiceTimes {
    /// As the simulator takes them.
    pub fn service(&self) -> Service {
        Service {
            per_message: self.per_message_ns.clone(),
            other: self.other_ns,
            per_unit_ps: self.per_unit_ps,
            per_byte_ps: self.per_byte_ps,
            per_packet: self.per_packet_ns,
            per_turn: self.per_turn_ns,
        }
    }
}

/// What of the file the simulator reads; the rest is for people.
#[derive(Deserialize)]
struct File {
    service: ServiceTimes,
}

/// The service times that are shipped.
pub fn shipped() -> Service {
    let file: File = toml::from_str(SHIPPED).expect("a test reads the shipped file");
    file.service.service()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_service_times_are_plausible() {
        let service = shipped();
        for kind in ["read", "write", "update", "frame", "ack"] {
            let takes = service.per_message.get(kind).copied();
            let takes = takes.unwrap_or(service.other);
            assert!((100..100_000).contains(&takes), "{kind}: {takes} ns");
        }
        assert!(service.per_packet > 0);
    }
}
