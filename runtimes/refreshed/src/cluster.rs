//! Servers, the broker or storage beside them, and the database, in one simulated world.

use crate::database::perform;
use crate::wire::{Failure, Part, Wire};
use futures_channel::oneshot;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{LocalBoxFuture, Name, State, Value};
use triptych_cached::{Told, copies};
use triptych_faas::Gauges;
use triptych_mesh::Key;
use triptych_nodes::sim::{Client, Place, Service, ServiceFile, Sim, SimConfig, Window};
use triptych_nodes::{Node, NodeId, Stored};
use triptych_site::{Site, tables};
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

/// A cluster in a world, with servers of this kind. Cheap to clone.
pub struct Cluster<Q: Part, A: Part, P: Part, S> {
    world: World,
    sim: Sim<Wire<Q, A, P>>,
    windows: Rc<Vec<Window<S>>>,
}

impl<Q: Part, A: Part, P: Part, S> Clone for Cluster<Q, A, P, S> {
    fn clone(&self) -> Self {
        Cluster {
            world: self.world.clone(),
            sim: self.sim.clone(),
            windows: Rc::clone(&self.windows),
        }
    }
}

/// A server that keeps a copy of some of the database's documents.
pub trait Replica {
    /// What it would show to somebody who has seen nothing, of each key that it has: null of one that
    /// it knows to have no document.
    fn documents(&self) -> Vec<(Key, Value)>;
}

impl<Q: Part, A: Part, P: Part, S: Node<Message = Wire<Q, A, P>> + 'static> Cluster<Q, A, P, S> {
    /// Starts so many servers and what is beside them, each with its way to the database. Both are
    /// made anew, by what their disks have, each time they start.
    pub fn start(
        world: &World,
        network: SimConfig,
        store: &Rc<dyn Store>,
        servers: u16,
        centre: impl Fn(&dyn Stored) -> Box<dyn Node<Message = Wire<Q, A, P>>> + 'static,
        make: impl Fn(u16, &dyn Stored) -> S + 'static,
    ) -> Self {
        let windows = (0..servers.max(1)).map(|_| Window::default());
        let cluster = Cluster {
            world: world.clone(),
            sim: Sim::new(world, network),
            windows: Rc::new(windows.collect()),
        };
        cluster.sim.add(CENTRE, centre);
        cluster.bridge(CENTRE, store);
        let make = Rc::new(make);
        for (index, window) in (0u16..).zip(&*cluster.windows) {
            let (make, window) = (Rc::clone(&make), window.clone());
            let node = server(index);
            cluster
                .sim
                .add(node, move |stored| window.show(make(index, stored)));
            cluster.bridge(node, store);
        }
        cluster
    }

    /// Looks at the server of an index; nothing if it is down.
    pub fn look<T>(&self, index: u16, look: impl FnOnce(&S) -> T) -> Option<T> {
        self.windows.get(usize::from(index))?.look(look)
    }
}

impl<Q: Part, A: Part, P: Part, S> Cluster<Q, A, P, S> {
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
        // There are no more than there are numbers of nodes.
        self.windows.len() as u16
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

/// What a cluster's nodes have counted, all together, of these names.
pub fn sums<Q: Part, A: Part, P: Part, S>(
    cluster: &Cluster<Q, A, P, S>,
    names: &[&'static str],
) -> Gauges {
    let nodes = (0..cluster.servers()).map(server).chain([CENTRE]);
    let all: Vec<_> = nodes.flat_map(|node| cluster.sim().gauges(node)).collect();
    let sum = |name: &&'static str| {
        let named = all.iter().filter(|(known, _)| known == name);
        (Name::from(*name), named.map(|(_, value)| value).sum())
    };
    names.iter().map(sum).collect()
}

/// How many news have not reached all servers yet, those counted that nobody but their writer knows.
pub fn unheard<Q: Part, A: Part, P: Part, S>(cluster: &Cluster<Q, A, P, S>) -> u64 {
    let all = cluster.gauge(CENTRE, "news").unwrap_or_default();
    let of = |node| {
        let gauge = |name| cluster.gauge(node, name).unwrap_or_default();
        all.saturating_sub(gauge("heard")) + gauge("unaccepted")
    };
    (0..cluster.servers()).map(server).map(of).sum()
}

/// What is left once nothing is pending: the rows of the database, and the copies of all servers.
///
/// # Errors
/// Why the database cannot be read, in words.
pub async fn dump<Q: Part, A: Part, P: Part, S>(
    cluster: Option<&Cluster<Q, A, P, S>>,
    site: &Site,
) -> Told<State>
where
    S: Node<Message = Wire<Q, A, P>> + Replica + 'static,
{
    let mut state = tables::state(site).await?;
    for index in cluster.into_iter().flat_map(|c| 0..c.servers()) {
        let documents = cluster.and_then(|cluster| cluster.look(index, S::documents));
        if let Some(documents) = documents {
            copies(&mut state, &server(index).to_string(), documents);
        }
    }
    Ok(state)
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
