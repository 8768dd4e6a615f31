//! What the nodes and clients of a simulated cluster share.

use super::config::{Service, SimConfig};
use super::host::{Host, Input, trace};
use super::net::{End, Fate, Net, Place};
use super::store::StoreConfig;
use crate::{Message, Nanos, NodeId, Peer};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use triptych_world::{World, mix};

/// Where messages for a client go.
pub(super) type Deliver<M> = Rc<dyn Fn(NodeId, M)>;

pub(super) struct Customer<M> {
    place: Place,
    deliver: Deliver<M>,
    /// The nodes that it spoke to.
    spoke: BTreeSet<NodeId>,
}

/// Something that a node wanted an operator to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub at: Nanos,
    /// Which node.
    pub node: NodeId,
    /// What it said.
    pub line: String,
}

/// So many notices are kept, the newest.
const NOTICES: usize = 10_000;
/// So many empty vectors are kept for the next packets.
const SPARES: usize = 1_024;

/// See the module documentation.
pub(super) struct Cluster<M: Message> {
    pub(super) world: World,
    pub(super) service: Service,
    pub(super) cores: usize,
    pub(super) turn_limit: usize,
    pub(super) store: StoreConfig,
    pub(super) net: RefCell<Net>,
    /// By the node's number.
    hosts: RefCell<Vec<Option<Rc<Host<M>>>>>,
    clients: RefCell<BTreeMap<u64, Customer<M>>>,
    next_client: Cell<u64>,
    notices: RefCell<VecDeque<Notice>>,
    spares: RefCell<Vec<Vec<M>>>,
    digest: Cell<u64>,
    packets: Cell<u64>,
}

impl<M: Message> Cluster<M> {
    pub(super) fn new(world: &World, config: SimConfig) -> Self {
        let SimConfig {
            network,
            local,
            bandwidth,
            ..
        } = config;
        Cluster {
            world: world.clone(),
            service: config.service,
            cores: config.cores.max(1),
            turn_limit: config.turn_limit.max(1),
            store: config.store,
            net: RefCell::new(Net::new(world.seed(), network, local, bandwidth)),
            hosts: RefCell::default(),
            clients: RefCell::default(),
            next_client: Cell::new(0),
            notices: RefCell::default(),
            spares: RefCell::default(),
            digest: Cell::new(world.seed()),
            packets: Cell::new(0),
        }
    }

    pub(super) fn now(&self) -> Nanos {
        self.world.now()
    }

    pub(super) fn host(&self, id: NodeId) -> Option<Rc<Host<M>>> {
        let hosts = self.hosts.borrow();
        hosts.get(usize::from(id.0)).and_then(Option::clone)
    }

    /// Adds a place for a node; whether there was none yet.
    pub(super) fn add(&self, host: Rc<Host<M>>) -> bool {
        let mut hosts = self.hosts.borrow_mut();
        let at = usize::from(host.id.0);
        if hosts.len() <= at {
            hosts.resize_with(at + 1, || None);
        }
        let new = hosts[at].is_none();
        if new {
            hosts[at] = Some(host);
        }
        new
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        let hosts = self.hosts.borrow();
        hosts.iter().flatten().map(|host| host.id).collect()
    }

    pub(super) fn enter(&self, place: Place, deliver: Deliver<M>) -> u64 {
        let number = self.next_client.get();
        self.next_client.set(number + 1);
        let customer = Customer {
            place,
            deliver,
            spoke: BTreeSet::new(),
        };
        self.clients.borrow_mut().insert(number, customer);
        number
    }

    /// A client sends a message; nothing happens if it has gone.
    pub(super) fn speak(self: &Rc<Self>, client: u64, to: NodeId, message: M) {
        let place = {
            let mut clients = self.clients.borrow_mut();
            let Some(customer) = clients.get_mut(&client) else {
                return;
            };
            customer.spoke.insert(to);
            customer.place
        };
        let peer = Peer::Client(client);
        let bytes = message.size();
        let mut messages = self.spare();
        messages.push(message);
        if let Err(lost) = self.transmit(&End { peer, place }, Peer::Node(to), messages, bytes) {
            self.recycle(lost);
        }
    }

    /// A client goes: nodes that it spoke to are told, behind all that it has sent to them.
    pub(super) fn leave(self: &Rc<Self>, client: u64) {
        let customer = self.clients.borrow_mut().remove(&client);
        let Some(customer) = customer else {
            return;
        };
        let peer = Peer::Client(client);
        for node in &customer.spoke {
            let at = self
                .net
                .borrow()
                .behind(self.now(), peer, Peer::Node(*node));
            self.net.borrow_mut().forget(peer, Peer::Node(*node));
            if let Some(host) = self.host(*node) {
                let cluster = Rc::clone(self);
                self.world.after(at - self.now(), move || {
                    host.take(&cluster, Input::Gone(client));
                });
            }
        }
        drop(customer);
    }

    fn end(&self, peer: Peer) -> Option<End> {
        match peer {
            Peer::Node(node) => self.host(node).map(|host| End::node(host.id)),
            Peer::Client(client) => {
                let clients = self.clients.borrow();
                let place = clients.get(&client)?.place;
                Some(End { peer, place })
            }
        }
    }

    /// Where every peer is, for a change of the network.
    pub(super) fn ends(&self) -> impl Fn(Peer) -> Option<End> + '_ {
        |peer| self.end(peer)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// Gives the messages back if they will not arrive.
    pub(super) fn transmit(
        self: &Rc<Self>,
        from: &End,
        to: Peer,
        messages: Vec<M>,
        bytes: usize,
    ) -> Result<(), Vec<M>> {
        let Some(end) = self.end(to) else {
            return Err(messages);
        };
        let now = self.now();
        let fate = self.net.borrow_mut().send(now, from, &end, bytes);
        let digest = trace(self.digest.get(), now, from.peer, to, messages.len(), fate);
        self.digest.set(mix(digest, bytes as u64));
        self.packets.set(self.packets.get() + 1);
        match fate {
            Fate::Lost => return Err(messages),
            Fate::At(at) => self.arrive(at, from.peer, to, messages),
            Fate::Twice(first, second) => {
                self.arrive(first, from.peer, to, messages.clone());
                self.arrive(second, from.peer, to, messages);
            }
        }
        Ok(())
    }

    fn arrive(self: &Rc<Self>, at: Nanos, from: Peer, to: Peer, mut messages: Vec<M>) {
        let cluster = Rc::clone(self);
        let span = at - self.now();
        match (from, to) {
            (_, Peer::Node(node)) => self.world.after(span, move || {
                if let Some(host) = cluster.host(node) {
                    host.take(&cluster, Input::Packet(from, messages));
                }
            }),
            (Peer::Node(node), Peer::Client(client)) => self.world.after(span, move || {
                for message in messages.drain(..) {
                    // Asked for each message: the one before may have made the client go.
                    let clients = cluster.clients.borrow();
                    let deliver = clients.get(&client).map(|known| Rc::clone(&known.deliver));
                    drop(clients);
                    if let Some(deliver) = deliver {
                        deliver(node, message);
                    }
                }
                cluster.recycle(messages);
            }),
            // Clients do not speak to each other.
            (Peer::Client(_), Peer::Client(_)) => {}
        }
    }

    pub(super) fn notice(&self, node: NodeId, line: String) {
        let mut notices = self.notices.borrow_mut();
        if notices.len() == NOTICES {
            notices.pop_front();
        }
        let at = self.now();
        notices.push_back(Notice { at, node, line });
    }

    pub(super) fn take_notices(&self) -> Vec<Notice> {
        self.notices.take().into()
    }

    /// An empty vector, with memory if there is any to spare.
    pub(super) fn spare(&self) -> Vec<M> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a vector's memory.
    pub(super) fn recycle(&self, mut messages: Vec<M>) {
        let mut spares = self.spares.borrow_mut();
        if spares.len() < SPARES {
            messages.clear();
            spares.push(messages);
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest.get()
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets.get()
    }

    /// Frees what knows each other in a circle: nodes, and what clients' messages are given to.
    pub(super) fn close(&self) {
        let hosts = self.hosts.take();
        let clients = self.clients.take();
        drop((hosts, clients));
    }
}
