//! The network and the disks that simulated clusters stand on unless somebody says otherwise: the same
//! for every kind of cluster, so that what differs between them is what they do.

use super::{Path, Service, SimConfig, StoreConfig};
use triptych_world::SECOND;
use triptych_world::disk::DiskConfig;
use triptych_world::latency::{Dist, Profile};

/// A cluster of servers in one placement group, as the profile `ec2-lan` has it: half a round trip
/// each way, and disks like the servers' local ones.
pub fn lan(service: Service) -> SimConfig {
    let lan = Profile::shipped("ec2-lan").expect("a shipped profile");
    let round_trip = lan
        .require("net.rtt_same_pg")
        .expect("the profile has a network");
    // Functions and their server are on one host: a pipe, each way (a guess; the published code's
    // read from the cache takes about 0.1 ms with the function's own work).
    let pipe = Dist::Constant { value: 0.015 };
    SimConfig {
        network: Path::new(halved(round_trip)),
        local: Path::new(pipe),
        // 2.5 Gbit/s, what the profile says of the published clusters' servers.
        bandwidth: 312_500_000,
        store: StoreConfig {
            disk: DiskConfig {
                read: constant(0.09),
                write: constant(0.0),
                sync: constant(0.2),
                bandwidth: 500_000_000,
                survives: 0.5,
                torn: 0.0,
                lost: 0.0,
            },
            rot: 0.0,
            writeback: SECOND,
        },
        service,
        cores: 1,
        turn_limit: 256,
    }
}

fn constant(value: f64) -> Dist {
    Dist::Constant { value }
}

/// One way of a round trip.
fn halved(round_trip: Dist) -> Dist {
    match round_trip {
        Dist::Lnr {
            median,
            sigma,
            rare_p,
            rare_median,
            rare_sigma,
        } => Dist::Lnr {
            median: median / 2.0,
            sigma,
            rare_p: rare_p / 2.0,
            rare_median,
            rare_sigma,
        },
        other => other,
    }
}
