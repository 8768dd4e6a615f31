//! FaaSTCC (Middleware'21), one of the caches that CausalMesh is compared with: transactional causal
//! consistency by timestamps.
//!
//! The storage gives every commit a timestamp, and a version of a key is valid from its own to that of
//! the next one. Nobody knows when a next one comes, so the storage *promises*: nothing is committed
//! any more up to here. A workflow carries two numbers, `low` and `high`: all that it has read is
//! valid in that interval. Each read must have a version that is valid somewhere in it, from the cache
//! or else from the database, and narrows it to where both are. So what it has read was the state of
//! the database at one time. Its writes are one commit.
//!
//! * [`stamp`]: timestamps, and rows with the versions before the last one;
//! * [`storage`]: the node that gives timestamps, makes commits and promises;
//! * [`server`]: a cache, which reads rows from the database itself;
//! * [`interval`]: what a workflow knows.
//!
//! The published code compared with is none of this: it reads the machine's time as the timestamp and
//! never narrows anything (specification §12.4).
//!
//! A workflow is aborted if it needs a version that is not kept any more, or if its branches have read
//! what was never the state at one time. Writes are buffered; a change of a document becomes a new
//! document at the commit, made of the one that was read, and of two such documents the later one
//! counts: what the other one has changed is lost, which is this design's, and for the oracle to count.
//!
//! What is left out: the storage is one node (the published one has partitions, each with a clock of
//! its own), and caches evict nothing.

pub mod interval;
pub mod message;
pub mod server;
pub mod stamp;
pub mod storage;
mod system;

pub use interval::Interval;
pub use message::{Got, Message, Peer, Reply, Request};
pub use server::Server;
pub use stamp::{History, Stamp};
pub use storage::Storage;
pub use system::{Context, FaasTcc, Session};

use std::rc::Rc;
use triptych_api::{Declares, Isolation, Order};
use triptych_cached::{Policy, deploy_with};
use triptych_faas::Deployment;
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::Cluster;
use triptych_refreshed::cluster::lan;
use triptych_site::Site;
use triptych_store::Store;
use triptych_world::{MS, Nanos, SECOND, World};

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

/// A seeded defect, to show that checkers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A read narrows nothing (specification §12.4).
    NeverNarrows,
    /// Where branches meet nobody looks whether their intervals do.
    JoinsUnchecked,
    /// The session's past demands nothing.
    SessionIgnored,
    /// The storage promises beyond commits that are under way.
    PromisesTooMuch,
    /// What was fetched counts as valid although the key was changed meanwhile.
    FetchedCountsAsNew,
    /// The writes of a workflow are commits of their own.
    CommitsApart,
}

/// How the nodes are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often caches ask what was committed and what is promised.
    pub period: Nanos,
    /// How long versions are kept that are not the last one.
    pub kept_for: Nanos,
    /// How many of a key, besides the last one.
    pub versions: usize,
    /// How many commits the storage remembers to tell caches of.
    pub commits: usize,
    /// A seeded defect.
    pub bug: Option<Bug>,
}

impl Default for Config {
    /// The published period (specification §11.1).
    fn default() -> Self {
        Config {
            period: 50 * MS,
            kept_for: 5 * SECOND,
            versions: 8,
            commits: 100_000,
            bug: None,
        }
    }
}

/// The storage and the caches in one world.
pub type Nodes = Cluster<Request, Reply, Peer, Server>;

/// Starts the storage and the caches in a world of virtual time.
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
        move |stored| Box::new(Storage::new(config, stored)),
        move |_, _| Server::new(config),
    )
}

/// Puts the site's app on it; functions roam at random.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    deploy_with_config(site, Config::default())
}

/// The same with all that can be chosen.
pub fn deploy_with_config(site: Site, config: Config) -> Rc<dyn Deployment> {
    let system = FaasTcc::start(&site, lan(), site.servers, config);
    deploy_with(Rc::new(site), system, Policy::Random, None)
}
