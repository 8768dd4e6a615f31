//! Servers, the broker or storage beside them, and the database, in one simulated world.

use crate::database::perform;
use crate::wire::{Failure, Part, Wire};
use futures_channel::oneshot;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::LocalBoxFuture;
use triptych_nodes::sim::{Client, Place, Service, ServiceFile, Sim, SimConfig};
use triptych_nodes::{Node, NodeId, Stored};
use triptych_store::Store;
use triptych_world::{Nanos, SECOND, World};

const SERVICE: &str = include_str!("../data/service.toml");

/// How long nodes work, the same for all of these systems; where the figures are from stands in the
/// file.
pub fn shipped_service() -> Service {
    let file: ServiceFile = toml::from_str(SERVICE).expect("a test reads the shipped file");
    file.service.service()
}

/// Servers in one placement group ([`triptych_nodes::sim::lan`]), with the service times that are
/// shipped.
pub fn lan() -> SimConfig {
    triptych_nodes::sim::lan(shipped_service())
}

/// How long a server may take to answer before it is taken for lost.
const PATIENCE: Nanos = 30 * SECOND;
/// The node beside the servers: broker or storage.
pub const CENTRE: NodeId = NodeId(0);

/// The node of the server of an index, from 0.
pub fn server(index: u16) -> NodeId {
    NodeId(index + 1)
}

/// Replies that are waited for, by number.
type Waiting<A> = Rc<RefCell<BTreeMap<u64, oneshot::Sender<A>>>>;

/// A cluster in a world. Cheap to clone.
pub struct Cluster<Q: Part, A: Part, P: Part> {
    world: World,
    sim: Sim<Wire<Q, A, P>>,
    servers: u16,
}

impl<Q: Part, A: Part, P: Part> Clone for Cluster<Q, A, P> {
    fn clone(&self) -> Self {
        Cluster {
            world: self.world.clone(),
            sim: self.sim.clone(),
            servers: self.servers,
        }
    }
}

/// Makes a node of a cluster: the one beside the servers ([`None`]), or the server of an index.
pub type Make<Q, A, P> =
    Rc<dyn Fn(Option<u16>, &dyn Stored) -> Box<dyn Node<Message = Wire<Q, A, P>>>>;

impl<Q: Part, A: Part, P: Part> Cluster<Q, A, P> {
    /// Starts so many servers and what is beside them, each with its way to the database.
    pub fn start(
        world: &World,
        network: SimConfig,
        store: &Rc<dyn Store>,
        servers: u16,
        make: Make<Q, A, P>,
    ) -> Self {
        let sim = Sim::new(world, network);
        let cluster = Cluster {
            world: world.clone(),
            sim,
            servers: servers.max(1),
        };
        let all = [None].into_iter().chain((0..cluster.servers).map(Some));
        for index in all {
            let node = index.map_or(CENTRE, server);
            let make = Rc::clone(&make);
            cluster.sim.add(node, move |stored| make(index, stored));
            cluster.bridge(node, store);
        }
        cluster
    }

    /// Gives a node its way to the database: the store's client in the node's process.
    fn bridge(&self, node: NodeId, store: &Rc<dyn Store>) {
        let way: Rc<OnceCell<Client<Wire<Q, A, P>>>> = Rc::default();
        let (back, world, store) = (Rc::clone(&way), self.world.clone(), Rc::clone(store));
        let client = self.sim.client(Place::With(node), move |node, message| {
            let Wire::Query { token, query } = message else {
                return;
            };
            let asked = perform(world.clone(), Rc::clone(&store), query);
            let back = Rc::clone(&back);
            world.spawn("database", async move {
                let outcome = asked.await;
                if let Some(way) = back.get() {
                    way.send(node, Wire::Outcome { token, outcome });
                }
            });
        });
        client.send(node, Wire::Bridge);
        // It is set once, here.
        drop(way.set(client));
    }

    /// How many servers there are.
    pub fn servers(&self) -> u16 {
        self.servers
    }

    /// Network and nodes, to be looked at and hurt.
    pub fn sim(&self) -> &Sim<Wire<Q, A, P>> {
        &self.sim
    }

    /// A client on the host of a server.
    pub fn port(&self, index: u16) -> Port<Q, A> {
        let waiting: Waiting<A> = Rc::default();
        let answers = Rc::clone(&waiting);
        let node = server(index);
        let client = self.sim.client(Place::With(node), move |_, message| {
            let Wire::Reply { op, reply } = message else {
                return;
            };
            let asked = answers.borrow_mut().remove(&op);
            // Whoever asked may have been dropped meanwhile.
            asked
                .into_iter()
                .for_each(|asked| drop(asked.send(reply.clone())));
        });
        let send = move |op, request| client.send(node, Wire::Request { op, request });
        Port(Rc::new(Line {
            world: self.world.clone(),
            send: Box::new(send),
            waiting,
            ops: Cell::new(0),
        }))
    }

    /// A gauge of a node; nothing if the node is down or has no such gauge.
    pub fn gauge(&self, node: NodeId, name: &str) -> Option<u64> {
        let gauges = self.sim.gauges(node).into_iter();
        let mut known = gauges.filter(|&(known, _)| known == name);
        known.next().map(|(_, value)| value)
    }
}

struct Line<Q, A> {
    world: World,
    send: Box<dyn Fn(u64, Q)>,
    waiting: Waiting<A>,
    ops: Cell<u64>,
}

/// A client's way to the server on its host. Cheap to clone.
pub struct Port<Q, A>(Rc<Line<Q, A>>);

impl<Q, A> Clone for Port<Q, A> {
    fn clone(&self) -> Self {
        Port(Rc::clone(&self.0))
    }
}

impl<Q: Part, A: Part> Port<Q, A> {
    /// Asks the server.
    ///
    /// # Errors
    /// [`Failure::Unknown`] if it does not answer.
    pub fn ask(&self, request: Q) -> LocalBoxFuture<'static, Result<A, Failure>> {
        let line = Rc::clone(&self.0);
        Box::pin(async move {
            let op = line.ops.get();
            line.ops.set(op + 1);
            let (sender, answer) = oneshot::channel();
            line.waiting.borrow_mut().insert(op, sender);
            (line.send)(op, request);
            let answer = line.world.timeout(PATIENCE, answer).await;
            line.waiting.borrow_mut().remove(&op);
            match answer {
                Ok(Ok(reply)) => Ok(reply),
                _ => Err(Failure::Unknown("no answer".to_owned())),
            }
        })
    }

    /// Says something that needs no answer.
    pub fn tell(&self, request: Q) {
        let op = self.0.ops.get();
        self.0.ops.set(op + 1);
        (self.0.send)(op, request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_service_times_are_plausible() {
        let service = shipped_service();
        for kind in ["read", "write", "news", "outcome", "reply"] {
            let takes = service.per_message.get(kind).copied();
            let takes = takes.unwrap_or(service.other);
            assert!((100..100_000).contains(&takes), "{kind}: {takes} ns");
        }
        assert!(service.per_packet > 0);
        assert!(lan().service == service);
    }
}
