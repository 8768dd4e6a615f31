//! A whole cluster of the log in one world: what simulations and tests run on.
//!
//! The nodes are the ones that also run as processes. Here they live on hosts of a simulated network
//! ([`triptych_nodes::sim`]), with service times, disks and faults; a client sits on the host of an
//! engine, as functions do.

use crate::port::{EnginePort, Waiting};
use crate::service;
use crate::{Bugs, Config, ConfigError, Message, Port};
use std::rc::Rc;
use triptych_nodes::NodeId;
use triptych_nodes::sim::{Place, Sim, SimConfig};
use triptych_world::{MS, Nanos, World};

/// A cluster of servers in one placement group ([`triptych_nodes::sim::lan`]), with the service times
/// that are shipped.
pub fn lan() -> SimConfig {
    triptych_nodes::sim::lan(service::shipped())
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
