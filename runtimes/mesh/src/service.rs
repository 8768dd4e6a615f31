//! How long servers work.
//!
//! The shipped figures are what `triptych calibrate` has measured on processes that speak TCP.

use triptych_nodes::sim::{Service, ServiceFile};

const SHIPPED: &str = include_str!("../data/service.toml");

/// The service times that are shipped.
pub fn shipped() -> Service {
    let file: ServiceFile = toml::from_str(SHIPPED).expect("a test reads the shipped file");
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
