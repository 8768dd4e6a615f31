//! The plain cache as functions use it.

use crate::server::{Config, Reply, Request, Server};
use std::rc::Rc;
use triptych_api::{Result, State, Updated, Value};
use triptych_cached::{Announced, Edit, Here, Points, System, Told, points};
use triptych_faas::Gauges;
use triptych_mesh::Key;
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::client::{NO_SERVERS, unexpected};
use triptych_refreshed::wire::Never;
use triptych_refreshed::{Cluster, Servers, dump, sums, unheard};
use triptych_site::Site;

const READ: &str = "cache-none.read";
const WRITE: &str = "cache-none.write";

/// Its servers in one world.
pub type Nodes = Cluster<Request, Reply, Never, Server>;

/// Nothing is carried, and nothing is kept: whatever a server has counts.
pub struct Plain {
    cluster: Option<Nodes>,
    ports: Servers<Request, Reply>,
}

impl Plain {
    /// Starts servers beside a site, if its world has virtual time.
    pub fn start(site: &Site, network: SimConfig, servers: u16, config: Config) -> Self {
        let (world, store) = (&site.world, &site.store);
        let start = || crate::start(world, network, store, servers, config);
        let cluster = world.is_virtual().then(start);
        let ports = Servers::of(cluster.as_ref());
        Plain { cluster, ports }
    }

    /// The servers.
    pub fn cluster(&self) -> Option<&Nodes> {
        self.cluster.as_ref()
    }
}

impl System for Plain {
    type Context = ();
    type Session = ();
    const POINTS: Points = points!("cache-none");
    const ATOMIC: bool = false;

    fn servers(&self) -> usize {
        self.ports.0.len().max(1)
    }

    async fn prepare(&self) -> Told<()> {
        match &self.cluster {
            Some(_) => Ok(()),
            None => Err(NO_SERVERS.to_owned()),
        }
    }

    async fn begin(&self, _: &Here, (): &(), _: &Announced) -> Result<()> {
        Ok(())
    }

    async fn read(&self, here: &Here, (): &mut (), keys: &[Key]) -> Result<Vec<Option<Value>>> {
        let keys = keys.to_vec();
        match self.ports.ask(here, READ, Request::Read { keys }).await? {
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
        match self.ports.ask(here, WRITE, request).await? {
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

    async fn pending(&self) -> Told<u64> {
        let waits = self.cluster.as_ref().map(|cluster| {
            let waits = sums(cluster, &["stale", "asked"]);
            waits.values().sum::<u64>() + unheard(cluster)
        });
        Ok(waits.unwrap_or_default())
    }

    async fn dump(&self, site: Rc<Site>) -> Told<State> {
        dump(self.cluster.as_ref(), &site).await
    }

    fn counters(&self) -> Gauges {
        let cluster = self.cluster.as_ref();
        cluster.map_or_else(Gauges::new, |c| sums(c, &["misses", "refreshed", "news"]))
    }

    async fn gauges(&self) -> Told<Gauges> {
        let cluster = self.cluster.as_ref();
        Ok(cluster.map_or_else(Gauges::new, |c| sums(c, &["keys", "stale"])))
    }
}
