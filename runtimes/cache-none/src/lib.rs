//! Caches in front of a database that is the only channel between them: what such systems share, and
//! the one among them that promises nothing.
//!
//! Functions ask the cache server on their host. Writes go to the database; the servers hear which
//! keys were written from a broker, and fetch those that they keep again, every so often. What is
//! shared by the causal caches that are built this way is here:
//!
//! * [`wire`]: what nodes and clients say to each other;
//! * [`database`]: what servers ask of the database, and [`desk`], how they keep track of it;
//! * [`broker`]: publish/subscribe, with the point up to which all servers have taken in all news,
//!   and [`feed`], the servers' side of it;
//! * [`cluster`]: servers, broker and database in one simulated world;
//! * [`client`]: the way from a function to its server, and [`writes`]: what is kept until a commit.
//!
//! [`server`] is the plain cache: the baseline of what goes wrong. A read is answered from the cache
//! however old that is; a write goes to the database and into the writer's own cache; of two writes
//! the one counts that reaches the database last. It promises that nothing acknowledged is lost, and
//! nothing else.

pub mod broker;
pub mod client;
pub mod cluster;
pub mod database;
pub mod desk;
pub mod feed;
pub mod server;
pub mod system;
pub mod wire;
pub mod writes;

pub use broker::{Broker, News};
pub use client::{Answer, Servers};
pub use cluster::{Cluster, Port};
pub use database::{Outcome, Put, Query, Row, perform};
pub use desk::Desk;
pub use feed::Feed;
pub use server::Config;
pub use system::{Plain, sums};
pub use wire::{Failure, Part, Wire};
pub use writes::Writes;

use cluster::{CENTRE, Make, lan};
use std::rc::Rc;
use triptych_api::{Declares, Isolation, Order};
use triptych_cached::{Policy, deploy_with};
use triptych_faas::Deployment;
use triptych_site::Site;
use triptych_store::Store;
use triptych_world::{MS, World};

/// What it promises: what the database has acknowledged stays there.
pub const DECLARES: Declares = Declares {
    exactly_once: false,
    transaction: Isolation::None,
    order: Order::None,
    durable: true,
};

/// Starts plain caches in a world of virtual time.
pub fn start(
    world: &World,
    network: triptych_nodes::sim::SimConfig,
    store: &Rc<dyn Store>,
    servers: u16,
    config: Config,
) -> Cluster<server::Request, server::Reply, wire::Never> {
    let make: Make<_, _, _> = Rc::new(move |index, stored| match index {
        None => Box::new(Broker::default()),
        Some(index) => Box::new(server::Server::new(config, CENTRE, index, servers, stored)),
    });
    Cluster::start(world, network, store, servers, make)
}

/// Puts the site's app on plain caches; functions roam over them at random.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    // As often as HydroCache refreshes.
    let config = Config { period: 100 * MS };
    let system = Plain::start(&site, lan(), site.servers, config);
    deploy_with(Rc::new(site), system, Policy::Random, None)
}
