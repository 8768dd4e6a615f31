//! Nodes in virtual time: the same state machines that run as processes, on hosts, links and disks
//! that are simulated, with faults drawn from the seed.
//!
//! [`Sim`] is the cluster. What leaves a node in one turn for one peer travels as one packet, and
//! is one event; a node that is busy takes all that has come meanwhile in one turn. So a simulation
//! is cheap where a real cluster is: under load.
//!
//! What is modelled: latency (drawn for each packet), the bandwidth of a host's outgoing link, the
//! time that a node works on what it is given ([`Service`]), and its disk: one sync at a time for all
//! that waits for it. What is not: the bandwidth of incoming links, how long a node takes to load its
//! store, and connections; a packet that was on its way when its receiver crashed may reach the
//! next life of it.

mod cluster;
mod config;
mod host;
mod lan;
mod net;
mod service;
mod store;
mod window;

pub use cluster::Notice;
pub use config::{Path, Service, SimConfig};
pub use lan::lan;
pub use net::Place;
pub use service::{ServiceFile, ServiceTimes};
pub use store::{SimStore, StoreConfig, StoreCounts};
pub use window::Window;

use crate::{Message, Metrics, Nanos, Node, NodeId, Stored};
use cluster::Cluster;
use host::Host;
use std::cell::Cell;
use std::rc::Rc;
use triptych_world::{World, mix, mix_str};

/// A simulated cluster. Cheap to clone.
pub struct Sim<M: Message>(Rc<Cluster<M>>);

impl<M: Message> Clone for Sim<M> {
    fn clone(&self) -> Self {
        Sim(Rc::clone(&self.0))
    }
}

impl<M: Message> Sim<M> {
    /// A cluster without nodes, in a world of virtual time.
    pub fn new(world: &World, config: SimConfig) -> Self {
        let cluster = Rc::new(Cluster::new(world, config));
        let ending = Rc::clone(&cluster);
        world.at_end(move || ending.close());
        Sim(cluster)
    }

    /// The world that it is in.
    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// Adds a node with an empty store, and starts it. The factory is called for each start with what
    /// the store has. Returns false, and does nothing, if there is a node of this number.
    pub fn add(
        &self,
        id: NodeId,
        factory: impl Fn(&dyn Stored) -> Box<dyn Node<Message = M>> + 'static,
    ) -> bool {
        let key = mix(mix_str(self.0.world.seed(), "store"), u64::from(id.0));
        let store = SimStore::new(self.0.store.clone(), key);
        let host = Rc::new(Host::new(id, Box::new(factory), store));
        let new = self.0.add(Rc::clone(&host));
        if new {
            host.start(&self.0);
        }
        new
    }

    fn host(&self, id: NodeId) -> Option<Rc<Host<M>>> {
        self.0.host(id)
    }

    /// The nodes, up or down, by number.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.0.nodes()
    }

    /// Crashes a node: its memory, its timers, what it was working on and what it had not synced are
    /// lost. Does nothing if it is down.
    pub fn kill(&self, id: NodeId) {
        if let Some(host) = self.host(id) {
            host.kill();
        }
    }

    /// Starts a node from what its store has; kills it before if it is up.
    pub fn restart(&self, id: NodeId) {
        if let Some(host) = self.host(id) {
            host.kill();
            host.start(&self.0);
        }
    }

    /// Whether a node is up.
    pub fn is_up(&self, id: NodeId) -> bool {
        self.host(id)
            .is_some_and(|host| host.state.borrow().node.is_some())
    }

    /// Lets a node do nothing for a time, as when its process is suspended: what comes waits.
    pub fn stall(&self, id: NodeId, span: Nanos) {
        if let Some(host) = self.host(id) {
            host.stall(&self.0, self.0.now().saturating_add(span));
        }
    }

    /// What a node tells an operator; nothing if it is down.
    pub fn gauges(&self, id: NodeId) -> Vec<(&'static str, u64)> {
        let gauges = |host: Rc<Host<M>>| {
            let state = host.state.borrow();
            state.node.as_ref().map(|node| node.gauges())
        };
        self.host(id).and_then(gauges).unwrap_or_default()
    }

    /// What was counted of a node, over all of its lives.
    pub fn metrics(&self, id: NodeId) -> Metrics {
        self.host(id)
            .map_or_else(Metrics::default, |host| host.metrics())
    }

    /// Looks into a node's store, or harms it. None if there is no such node.
    pub fn with_store<T>(&self, id: NodeId, look: impl FnOnce(&mut SimStore) -> T) -> Option<T> {
        let host = self.host(id)?;
        let mut state = host.state.borrow_mut();
        Some(look(&mut state.store))
    }

    /// Takes what nodes wanted an operator to see, oldest first; only the newest are kept.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.0.take_notices()
    }

    /// A client, whose messages from nodes are given to `deliver`.
    pub fn client(&self, place: Place, deliver: impl Fn(NodeId, M) + 'static) -> Client<M> {
        Client {
            number: self.0.enter(place, Rc::new(deliver)),
            cluster: Rc::clone(&self.0),
            closed: Cell::new(false),
        }
    }

    /// Cuts all ways from any of some hosts to any of others, in this direction only. What is on its
    /// way still arrives.
    pub fn cut(&self, from: &[NodeId], to: &[NodeId]) {
        self.0.net.borrow_mut().cut(from, to);
    }

    /// Cuts all ways between two groups of hosts, in both directions.
    pub fn partition(&self, left: &[NodeId], right: &[NodeId]) {
        self.cut(left, right);
        self.cut(right, left);
    }

    /// Heals all ways from any of some hosts to any of others, in this direction only.
    pub fn heal(&self, from: &[NodeId], to: &[NodeId]) {
        self.0.net.borrow_mut().heal(from, to);
    }

    /// Heals everything that was cut.
    pub fn heal_all(&self) {
        self.0.net.borrow_mut().heal_all();
    }

    /// Changes how hosts reach each other, from the next packet on, where nothing else was said.
    pub fn set_network(&self, path: Path) {
        let mut net = self.0.net.borrow_mut();
        net.set_network(path, self.0.ends());
    }

    /// Changes how one host reaches another, from the next packet on; none makes it like the others
    /// again.
    pub fn set_path(&self, from: NodeId, to: NodeId, path: Option<Path>) {
        let mut net = self.0.net.borrow_mut();
        net.set_path(from, to, path, self.0.ends());
    }

    /// A number that stands for all packets so far: who sent how much to whom, when, and what became
    /// of it. The same seed gives the same one.
    pub fn digest(&self) -> u64 {
        self.0.digest()
    }

    /// How many packets were sent so far.
    pub fn packets(&self) -> u64 {
        self.0.packets()
    }
}

/// Somebody outside of a simulated cluster who speaks to its nodes.
pub struct Client<M: Message> {
    cluster: Rc<Cluster<M>>,
    number: u64,
    closed: Cell<bool>,
}

impl<M: Message> Client<M> {
    /// Sends a message to a node. Nothing happens if there is no such node, or it is down.
    pub fn send(&self, to: NodeId, message: M) {
        self.cluster.speak(self.number, to, message);
    }

    /// The number by which nodes know it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Goes: the nodes that it spoke to are told, and nothing is delivered any more. To drop it does
    /// the same.
    pub fn close(&self) {
        if !self.closed.replace(true) {
            self.cluster.leave(self.number);
        }
    }
}

impl<M: Message> Drop for Client<M> {
    fn drop(&mut self) {
        self.close();
    }
}
