//! A whole cluster of caches in one world: what simulations and tests run on.
//!
//! The servers are the ones that also run as processes. Here they live on hosts of a simulated
//! network ([`triptych_nodes::sim`]), with service times, disks and faults; a client sits on the host
//! of a server, as functions do, and so does each server's bridge to the backing store, as a client
//! library of the store would.

use crate::backing::database::Database;
use crate::backing::tables::TableBridge;
use crate::config::{Config, ConfigError};
use crate::line::{ServerPort, Waiting};
use crate::message::Message;
use crate::port::Port;
use crate::server::{Bugs, Server};
use crate::service;
use futures_channel::mpsc;
use futures_util::StreamExt;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::Name;
use triptych_nodes::NodeId;
use triptych_nodes::sim::{Place, Sim, SimConfig, Window};
use triptych_store::Store;
use triptych_world::{MS, Nanos, World};

/// How often a bridge says that it is there.
const REGISTER: Nanos = 20 * MS;

/// A cluster of servers in one placement group ([`triptych_nodes::sim::lan`]), with the service times
/// that are shipped.
pub fn lan() -> SimConfig {
    triptych_nodes::sim::lan(service::shipped())
}

/// The store behind a cluster.
#[derive(Clone)]
pub struct Backing {
    /// Its store. The tables must be there, and [`TableBridge::schema`].
    pub store: Rc<dyn Store>,
    /// The tables whose keys are cached.
    pub tables: Vec<Name>,
}

/// A cluster in a world. Cheap to clone.
#[derive(Clone)]
pub struct SimMesh(Rc<Inner>);

struct Inner {
    world: World,
    config: Rc<Config>,
    sim: Sim<Message>,
    windows: BTreeMap<NodeId, Window<Server>>,
    /// Servers that cannot reach the backing store.
    cut: BTreeMap<NodeId, Rc<Cell<bool>>>,
}

impl SimMesh {
    /// Starts all servers of a configuration, each with a bridge to the backing store. Without one,
    /// [`Config::backed`] is false whatever the configuration says.
    ///
    /// # Errors
    /// [`ConfigError`] if no cluster can be made of it.
    pub fn start(
        world: &World,
        mut config: Config,
        network: SimConfig,
        backing: Option<Backing>,
        bugs: Bugs,
    ) -> Result<Self, ConfigError> {
        config.backed &= backing.is_some();
        Self::begin(world, config, network, bugs, |sim, node| {
            let backing = backing.as_ref()?;
            Some(bridge(world, sim, node, backing))
        })
    }

    /// Starts all servers of a configuration, and behind them a node of its own that keeps the rows
    /// and the ring on its disk, as a cluster of processes has it. [`Config::backed`] is true whatever
    /// the configuration says. [`SimMesh::cut_store`] does nothing; cut the way to that node.
    ///
    /// # Errors
    /// [`ConfigError`] if no cluster can be made of it; [`ConfigError::Twice`] if the database has the
    /// number of a server.
    pub fn start_on_database(
        world: &World,
        mut config: Config,
        network: SimConfig,
        database: NodeId,
        bugs: Bugs,
    ) -> Result<Self, ConfigError> {
        if config.servers.contains(&database) {
            return Err(ConfigError::Twice(database));
        }
        config.backed = true;
        let servers = config.servers.clone();
        let mesh = Self::begin(world, config, network, bugs, |_, _| None)?;
        mesh.sim().add(database, move |stored| {
            Box::new(Database::recover(servers.clone(), stored))
        });
        Ok(mesh)
    }

    fn begin(
        world: &World,
        config: Config,
        network: SimConfig,
        bugs: Bugs,
        bridge: impl Fn(&Sim<Message>, NodeId) -> Option<Rc<Cell<bool>>>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let config = Rc::new(config);
        let sim = Sim::new(world, network);
        let (mut cut, mut windows) = (BTreeMap::new(), BTreeMap::new());
        for &node in &config.servers {
            let (made, window) = (Rc::clone(&config), Window::default());
            windows.insert(node, window.clone());
            sim.add(node, move |stored| {
                window.show(Server::recover(Rc::clone(&made), node, stored, bugs))
            });
            cut.extend(bridge(&sim, node).map(|cut| (node, cut)));
        }
        Ok(SimMesh(Rc::new(Inner {
            world: world.clone(),
            config,
            sim,
            windows,
            cut,
        })))
    }

    /// What the servers were told.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Network and servers, to be hurt.
    pub fn sim(&self) -> &Sim<Message> {
        &self.0.sim
    }

    /// The servers.
    pub fn servers(&self) -> &[NodeId] {
        &self.0.config.servers
    }

    /// Cuts a server off from the backing store, or lets it reach it again.
    pub fn cut_store(&self, server: NodeId, cut: bool) {
        if let Some(known) = self.0.cut.get(&server) {
            known.set(cut);
        }
    }

    /// A client on the host of a server, which asks that one first, and the next ones if it does not
    /// answer.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn port(&self, server: NodeId) -> Rc<dyn Port> {
        let mut servers = self.0.config.servers.clone();
        let first = servers.iter().position(|&node| node == server);
        servers.rotate_left(first.expect("a port is asked for at a server of the cluster"));
        self.port_to(server, servers)
    }

    /// A client on the host of a server, which asks that one only.
    pub fn port_only(&self, server: NodeId) -> Rc<dyn Port> {
        self.port_to(server, vec![server])
    }

    fn port_to(&self, host: NodeId, servers: Vec<NodeId>) -> Rc<dyn Port> {
        let waiting = Waiting::default();
        let answers = waiting.clone();
        let client = self.0.sim.client(Place::With(host), move |_, message| {
            answers.deliver(message);
        });
        let send = move |server, message| client.send(server, message);
        Rc::new(ServerPort::new(&self.0.world, servers, waiting, send))
    }

    /// Waits until all servers that are up serve, all on one ring, at most for a while. Whether they
    /// do.
    pub async fn ready(&self, patience: Nanos) -> bool {
        self.wait(patience, |mesh| mesh.is_ready()).await
    }

    /// Waits until every write is stable, applied everywhere, and in the backing store, at most for a
    /// while. Whether it is. Nobody may write meanwhile.
    pub async fn quiet(&self, patience: Nanos) -> bool {
        self.wait(patience, |mesh| mesh.is_quiet()).await
    }

    async fn wait(&self, patience: Nanos, is: impl Fn(&Self) -> bool) -> bool {
        let world = &self.0.world;
        let until = world.now().saturating_add(patience);
        while !is(self) {
            if world.now() >= until {
                return false;
            }
            world.sleep(MS).await;
        }
        true
    }

    fn up(&self) -> impl Iterator<Item = NodeId> + '_ {
        let servers = self.0.config.servers.iter().copied();
        servers.filter(|&server| self.0.sim.is_up(server))
    }

    fn same(&self, gauge: &str) -> bool {
        let mut values = self.up().map(|server| self.gauge(server, gauge));
        let first = values.next().flatten();
        first.is_some() && values.all(|value| value == first)
    }

    fn is_ready(&self) -> bool {
        let many = self.up().count() as u64;
        let whole = |server| {
            self.gauge(server, "whole") == Some(1) && self.gauge(server, "ring") == Some(many)
        };
        self.same("epoch") && self.up().all(whole)
    }

    fn is_quiet(&self) -> bool {
        let none = |gauge| self.up().all(|server| self.gauge(server, gauge) == Some(0));
        let even = |server| self.gauge(server, "received") == self.gauge(server, "applied");
        self.is_ready()
            && ["unstable", "link", "dirty", "waiting", "found"]
                .into_iter()
                .all(none)
            && self.up().all(even)
            && self.same("applied")
    }

    /// Looks at a server; nothing if it is down.
    pub fn look<T>(&self, server: NodeId, look: impl FnOnce(&Server) -> T) -> Option<T> {
        self.0.windows.get(&server)?.look(look)
    }

    /// A gauge of a server; nothing if the server is down or has no such gauge.
    pub fn gauge(&self, server: NodeId, name: &str) -> Option<u64> {
        let gauges = self.0.sim.gauges(server).into_iter();
        let mut known = gauges.filter(|&(known, _)| known == name);
        known.next().map(|(_, value)| value)
    }
}

/// A bridge on the host of a server. What it gives says whether the server is cut off.
fn bridge(world: &World, sim: &Sim<Message>, server: NodeId, backing: &Backing) -> Rc<Cell<bool>> {
    let cut = Rc::new(Cell::new(false));
    let (sender, mut questions) = mpsc::unbounded();
    let client = sim.client(Place::With(server), move |_, message| {
        // The bridge may have ended, with its world.
        let _ = sender.unbounded_send(message);
    });
    let client = Rc::new(client);
    let there = Rc::clone(&client);
    let clock = world.clone();
    world.spawn("bridge", async move {
        loop {
            there.send(server, Message::Register);
            clock.sleep(REGISTER).await;
        }
    });
    let tables = TableBridge::new(world, Rc::clone(&backing.store), backing.tables.clone());
    let (tasks, deaf) = (world.clone(), Rc::clone(&cut));
    world.spawn("bridge", async move {
        while let Some(message) = questions.next().await {
            let Message::Ask { op, question } = message else {
                continue;
            };
            if deaf.get() {
                continue;
            }
            let (tables, client, deaf) = (tables.clone(), Rc::clone(&client), Rc::clone(&deaf));
            tasks.spawn("bridge", async move {
                let answer = tables.answer(question).await;
                if !deaf.get() {
                    client.send(server, Message::Answer { op, answer });
                }
            });
        }
    });
    cut
}
