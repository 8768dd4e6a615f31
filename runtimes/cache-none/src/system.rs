//! The plain cache as functions use it.

use crate::client::{NO_SERVERS, Servers, unexpected};
use crate::cluster::{CENTRE, Cluster, server};
use crate::server::{Config, Reply, Request};
use crate::wire::Never;
use triptych_api::{Name, Result, Updated, Value};
use triptych_cached::{Announced, Edit, Here, Points, System, Told, points};
use triptych_faas::Gauges;
use triptych_mesh::Key;
use triptych_nodes::sim::SimConfig;
use triptych_site::Site;

const READ: &str = "cache-none.read";
const WRITE: &str = "cache-none.write";

/// Its servers in one world.
pub type Nodes = Cluster<Request, Reply, Never>;

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

/// What a cluster's nodes have counted, all together, of these names.
pub fn sums<Q: crate::Part, A: crate::Part, P: crate::Part>(
    cluster: &Cluster<Q, A, P>,
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
        let stale = self
            .cluster
            .as_ref()
            .map(|cluster| sums(cluster, &["stale"]));
        Ok(stale.map_or(0, |stale| stale.values().sum()))
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
