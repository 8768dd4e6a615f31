//! A whole cluster of the log in one world: what simulations and tests run on.
//!
//! The nodes are the ones that also run as processes. Here they live on hosts of a simulated network
//! ([`triptych_nodes::sim`]), with service times, disks and faults; a client sits on the host of an
//! engine, as functions do.

use crate::port::{EnginePort, Waiting};
use crate::{Bugs, Config, ConfigError, Message, Port};
use std::rc::Rc;
use triptych_nodes::NodeId;
use triptych_nodes::sim::{Path, Place, Service, Sim, SimConfig, StoreConfig};
use triptych_world::disk::DiskConfig;
use triptych_world::latency::{Dist, Profile};
use triptych_world::{MS, Nanos, SECOND, World};

/// A cluster of servers in one placement group, as the profile `ec2-lan` has it: half a round trip
/// each way, with service times as they were measured, and disks like the servers' local ones.
pub fn lan() -> SimConfig {
    let lan = Profile::shipped("ec2-lan").expect("a shipped profile");
    let round_trip = lan
        .require("net.rtt_same_pg")
        .expect("the profile has a network");
    // Functions and their engine are on one host: a pipe, each way (a guess; the published code's
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
        service: service(),
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

fn service() -> Service {
    Service {
        other: 2_000,
        per_unit_ps: 300_000,
        per_byte_ps: 300,
        per_packet: 4_000,
        per_turn: 1_000,
        ..Service::default()
    }
}

/// A cluster in a world. Cheap to clone.
#[derive(Clone)]
pub struct SimCluster(Rc<Inner>);

struct Inner {
    world: World,
    config: Rc<Config>,
    sim: Sim<Message>,
}

impl SimCluster {
    /// Starts all nodes of a configuration. Seeded defects are for tests of the checkers.
    ///
    /// # Errors
    /// [`ConfigError`] if no cluster can be made of it.
    pub fn start(
        world: &World,
        config: Config,
        network: SimConfig,
        bugs: Bugs,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let config = Rc::new(config);
        let sim = Sim::new(world, network);
        for (role, node) in config.nodes() {
            let config = Rc::clone(&config);
            sim.add(node, move |stored| role.node(&config, node, stored, bugs));
        }
        Ok(SimCluster(Rc::new(Inner {
            world: world.clone(),
            config,
            sim,
        })))
    }

    /// What the nodes were told.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Network and nodes, to be hurt.
    pub fn sim(&self) -> &Sim<Message> {
        &self.0.sim
    }

    /// A client on the host of an engine, which asks that one first, and the next ones if it does not
    /// answer.
    ///
    /// # Panics
    /// If there is no such engine.
    pub fn port(&self, engine: NodeId) -> Rc<dyn Port> {
        let mut engines = self.0.config.engines.clone();
        let first = engines.iter().position(|&node| node == engine);
        engines.rotate_left(first.expect("a port is asked for at an engine of the cluster"));
        let waiting = Waiting::default();
        let answers = waiting.clone();
        let client = self.0.sim.client(Place::With(engine), move |_, message| {
            answers.deliver(message)
        });
        let send = move |engine, message| client.send(engine, message);
        Rc::new(EnginePort::new(&self.0.world, engines, waiting, send))
    }

    /// Waits until all engines are in a view that has all nodes, at most for a while. Whether they
    /// are.
    pub async fn ready(&self, patience: Nanos) -> bool {
        let world = &self.0.world;
        let until = world.now() + patience;
        loop {
            let engines = self.0.config.engines.iter();
            let views = engines.map(|&engine| self.gauge(engine, "view").unwrap_or(0));
            if views.min().is_some_and(|view| view > 0) {
                return true;
            }
            if world.now() >= until {
                return false;
            }
            world.sleep(MS).await;
        }
    }

    /// A gauge of a node; nothing if the node is down or has no such gauge.
    pub fn gauge(&self, node: NodeId, name: &str) -> Option<u64> {
        let gauges = self.0.sim.gauges(node);
        gauges
            .into_iter()
            .find(|&(known, _)| known == name)
            .map(|(_, value)| value)
    }
}
