//! The plain cache as functions use it.

use crate::server::{Config, Reply, Request, Server};
use triptych_api::{Result, Updated, Value};
use triptych_cached::{Announced, Edit, Here, Points, System, points};
use triptych_mesh::Key;
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::client::unexpected;
use triptych_refreshed::wire::Never;
use triptych_refreshed::{Cluster, Installed, Watched, sums, unheard};
use triptych_site::Site;

const READ: &str = "cache-none.read";
const WRITE: &str = "cache-none.write";

/// Its servers in one world.
pub type Nodes = Cluster<Request, Reply, Never, Server>;

/// Nothing is carried, and nothing is kept: whatever a server has counts.
pub struct Plain {
    caches: Installed<Request, Reply, Never, Server>,
}

fn pending(nodes: &Nodes) -> u64 {
    let waits = sums(nodes, &["stale", "asked"]);
    waits.values().sum::<u64>() + unheard(nodes)
}

impl Plain {
    /// Starts servers beside a site, if its world has virtual time.
    pub fn start(site: &Site, network: SimConfig, servers: u16, config: Config) -> Self {
        let start = || crate::start(&site.world, network, &site.store, servers, config);
        let watched = Watched {
            pending,
            counters: &["misses", "refreshed", "news"],
            gauges: &["keys", "stale"],
        };
        Plain {
            caches: Installed::start(site, start, watched),
        }
    }

    /// The servers.
    pub fn cluster(&self) -> Option<&Nodes> {
        self.caches.cluster()
    }
}

impl System for Plain {
    type Context = ();
    type Session = ();
    type Caches = Installed<Request, Reply, Never, Server>;
    const POINTS: Points = points!("cache-none");
    const ATOMIC: bool = false;

    fn caches(&self) -> &Self::Caches {
        &self.caches
    }

    async fn begin(&self, _: &Here, (): &(), _: &Announced) -> Result<()> {
        Ok(())
    }

    async fn read(&self, here: &Here, (): &mut (), keys: &[Key]) -> Result<Vec<Option<Value>>> {
        let keys = keys.to_vec();
        match self
            .caches
            .ports()
            .ask(here, READ, Request::Read { keys })
            .await?
        {
            Reply::Read(values) => Ok(values),
            other => Err(unexpected(&other)),
        }
    }

    async fn change(&self, here: &Here, (): &mut (), key: Key, edit: Edit) -> Result<Updated> {
        let request = match edit {
            Edit::Put(value) => Request::Write { key, value },
            Edit::Update { condition, changes } => Request::Update {
                key,
                condition,
                changes,
            },
        };
        match self.caches.ports().ask(here, WRITE, request).await? {
            Reply::Written => Ok(Updated {
                applied: true,
                sum: None,
            }),
            Reply::Updated(updated) => Ok(updated),
            other => Err(unexpected(&other)),
        }
    }

    fn join(&self, (): &mut (), (): ()) {}

    async fn commit(&self, _: &Here, (): &mut ()) -> Result<()> {
        Ok(())
    }

    fn session(&self, (): &()) {}

    fn merge(&self, (): &mut (), (): ()) {}
}
