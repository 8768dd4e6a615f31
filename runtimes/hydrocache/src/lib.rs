//! HydroCache (SIGMOD'20), one of the caches that CausalMesh is compared with: transactional causal
//! consistency for workflows, on caches in front of a database that is the only channel between them.
//!
//! A server shows a causal cut ([`cut`]) and fetches what was written elsewhere every so often. There
//! are two ways to give a workflow that moves between servers one snapshot:
//!
//! * *conservative* (`hydrocache-con`): the union of all servers' cuts, taken when the workflow reads
//!   first (`round`). For keys that the app announces that is one round to all servers before the
//!   work begins, as published; for any other key, and for apps that announce nothing, one more round
//!   when the key is met. It never aborts for what is in any cache.
//! * *optimistic* (`hydrocache-opt`): each server's own cut, if what it shows fits what was read
//!   elsewhere, or what an earlier server keeps for the workflow; else the attempt is over, and
//!   another one is made ([`choose`]).
//!
//! Writes are buffered in the workflow's context and made at its end (`flush`). A change of a document
//! becomes a new document there, made of the one in the snapshot; of two such documents the one counts
//! that the database takes last, and what the other one has changed is lost. That is this design's,
//! and for the oracle to count.
//!
//! What was different in the published comparison and is not here: keys that never get refreshed,
//! dependencies that only grow, a context that takes all that was seen for read, an upstream server
//! that is sometimes the wrong one, text for messages, and walks over whole tables (specification §13,
//! 18 to 20).
//!
//! What is left out: a cache has room for everything and evicts nothing; the broker has no disk.
//! A server that restarts does so with an empty cache, and what it held for workflows is lost, so they
//! fail or are aborted.

pub mod choose;
pub mod cut;
mod fetch;
mod flush;
mod jobs;
pub mod line;
pub mod message;
mod round;
pub mod server;
mod system;

pub use line::{Deps, Line};
pub use message::{Got, Held, Holds, Message, Peer, Reply, Request};
pub use server::{Bug, Config, Server};
pub use system::{ClientBug, Context, Hydro, Session};

use std::rc::Rc;
use triptych_api::{Declares, Isolation, Order};
use triptych_cached::{Policy, deploy_with};
use triptych_faas::Deployment;
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::cluster::lan;
use triptych_refreshed::{Broker, Cluster};
use triptych_site::Site;
use triptych_store::Store;
use triptych_world::World;

/// What an app can count on: nothing. A workflow reads one snapshot of the documents and its writes are
/// seen together, sessions never go back to older documents, and what was acknowledged is in the
/// database; but a document is replaced as a whole. Of two concurrent changes of a list one is lost
/// that was acknowledged, whoever has seen it may not see it again, and what else its transaction has
/// changed stays. That is how apps keep their data, and what a campaign judges; the promises about
/// documents are judged by this crate's tests.
pub const DECLARES: Declares = Declares {
    exactly_once: false,
    transaction: Isolation::None,
    order: Order::None,
    durable: false,
};

/// Which protocol workflows follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A snapshot over all servers.
    Conservative,
    /// What each server has, if it fits.
    Optimistic,
}

/// HydroCache's servers in one world.
pub type Nodes = Cluster<Request, Reply, Peer, Server>;

/// Starts HydroCache's servers in a world of virtual time.
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
        move |index, stored| Server::new(config, index, servers, stored),
    )
}

/// Puts the site's app on conservative HydroCache; functions roam at random.
pub fn deploy_con(site: Site) -> Rc<dyn Deployment> {
    deploy(site, Kind::Conservative, Config::default(), None)
}

/// Puts the site's app on optimistic HydroCache; functions roam at random.
pub fn deploy_opt(site: Site) -> Rc<dyn Deployment> {
    deploy(site, Kind::Optimistic, Config::default(), None)
}

/// The same as both, with all that can be chosen.
pub fn deploy(
    site: Site,
    kind: Kind,
    config: Config,
    bug: Option<ClientBug>,
) -> Rc<dyn Deployment> {
    let system = Hydro::start(&site, lan(), kind, site.servers, config, bug);
    deploy_with(Rc::new(site), system, Policy::Random, None)
}
