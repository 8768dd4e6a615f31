//! How long nodes work, as it was measured on processes that speak TCP.
//!
//! The shipped figures are what `triptych calibrate` wrote on the machine and the day that stand in
//! the file; nobody changes them so that a latency comes out right.

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
        for kind in ["append", "replicate", "committed", "stored", "accept"] {
            let takes = service
                .per_message
                .get(kind)
                .copied()
                .unwrap_or(service.other);
            assert!((100..100_000).contains(&takes), "{kind}: {takes} ns");
        }
        assert!(service.per_packet > 0);
    }
}
