//! Plain caches in front of a database: the baseline of what goes wrong, among systems that are built
//! alike ([`triptych_refreshed`]).
//!
//! [`server`] is one cache. A read is answered from it however old that is; a write goes to the
//! database and into the writer's own cache; what was written elsewhere is fetched again every so
//! often; of two writes the one counts that reaches the database last. It promises that nothing
//! acknowledged is lost, and nothing else. [`system`] is how functions use it.

pub mod server;
pub mod system;

pub use server::{Config, Server};
pub use system::{Nodes, Plain};

use std::rc::Rc;
use triptych_api::{Declares, Isolation, Order};
use triptych_cached::{Policy, deploy_with};
use triptych_faas::Deployment;
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::cluster::{CENTRE, lan};
use triptych_refreshed::{Broker, Cluster};
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
    network: SimConfig,
    store: &Rc<dyn Store>,
    servers: u16,
    config: Config,
) -> Nodes {
    Cluster::start(
        world,
        network,
        store,
        servers,
        |_| Box::new(Broker::default()),
        move |index, stored| Server::new(config, CENTRE, index, servers, stored),
    )
}

/// Puts the site's app on plain caches; functions roam over them at random.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    // As often as HydroCache refreshes.
    let config = Config { period: 100 * MS };
    let system = Plain::start(&site, lan(), site.servers, config);
    deploy_with(Rc::new(site), system, Policy::Random, None)
}
