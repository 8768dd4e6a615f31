//! Clusters for tests that construct one situation: three or so servers, documents that count what
//! was added to them, and clients that ask one server only and depend on nothing unless they say so.

use super::{TABLE, backing};
use std::cell::Cell;
use std::sync::Arc;
use triptych_api::{Change, Value};
use triptych_mesh::backing::{KEY, VALUE};
use triptych_mesh::sim::{SimMesh, lan};
use triptych_mesh::{
    Bugs, Clock, Config, Failure, Key, NodeBug, Reply, Request, Seen, Version, WriteId,
};
use triptych_nodes::NodeId;
use triptych_nodes::sim::SimConfig;
use triptych_store::SimStore;
use triptych_world::{MS, Nanos, Options, SECOND, World};

/// What came of it: nothing, or which promise was broken.
pub(crate) type Verdict = Result<(), String>;

/// The servers of most clusters.
pub(crate) const S1: NodeId = NodeId(1);
pub(crate) const S2: NodeId = NodeId(2);
pub(crate) const S3: NodeId = NodeId(3);

/// A cluster that is ready.
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) mesh: SimMesh,
    /// Empty if a node keeps the rows.
    pub(crate) store: SimStore,
    writes: Cell<u64>,
}

/// A network like [`lan`], with disks that lose all that was not synced.
pub(crate) fn honest() -> SimConfig {
    let mut network = lan();
    network.store.disk.survives = 0.0;
    network
}

/// Does something with a cluster, which may have a defect.
pub(crate) fn on_cluster<F, R>(config: Config, bug: Option<NodeBug>, body: F) -> Verdict
where
    F: FnOnce(Cluster) -> R + 'static,
    R: Future<Output = Verdict> + 'static,
{
    simulate(move |world| async move {
        let (store, behind) = backing(&world);
        let bugs = Bugs {
            node: bug,
            ..Bugs::default()
        };
        let mesh = SimMesh::start(&world, config, honest(), Some(behind), bugs);
        let cluster = Cluster::of(&world, mesh.expect("it can be"), store);
        cluster.ready().await?;
        body(cluster).await
    })
}

/// A world of its own.
pub(crate) fn simulate<F, R>(body: F) -> Verdict
where
    F: FnOnce(World) -> R + 'static,
    R: Future<Output = Verdict> + 'static,
{
    World::simulate(5, Options::default(), body).expect("there is always a next heartbeat")
}

pub(crate) fn doc(name: &str) -> Key {
    Key::new(TABLE, name)
}

fn count_of(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Map(document)) => document.get("n").and_then(Value::as_int).unwrap_or(0),
        _ => 0,
    }
}

/// What `n` of a document is, which was looked at.
pub(crate) fn count_in(seen: &Seen) -> i64 {
    count_of(seen.value.as_ref())
}

/// That something is so.
pub(crate) fn ensure(is: bool, words: &str) -> Verdict {
    match is {
        true => Ok(()),
        false => Err(words.to_owned()),
    }
}

impl Cluster {
    pub(crate) fn of(world: &World, mesh: SimMesh, store: SimStore) -> Self {
        Cluster {
            world: world.clone(),
            mesh,
            store,
            writes: Cell::new(0),
        }
    }

    pub(crate) async fn ready(&self) -> Verdict {
        ensure(self.mesh.ready(20 * SECOND).await, "never ready")
    }

    pub(crate) async fn quiet(&self) -> Verdict {
        ensure(self.mesh.quiet(20 * SECOND).await, "never quiet")
    }

    /// Adds one to `n` of a document, at this server. Nothing if that is not acknowledged in time.
    pub(crate) async fn add_within(
        &self,
        server: NodeId,
        key: &Key,
        most: Nanos,
    ) -> Option<Arc<Version>> {
        let changes = vec![Change::add("n", 1)];
        self.update_within(server, key, changes, most).await
    }

    /// Changes a document at this server. Nothing if that is not acknowledged in time.
    pub(crate) async fn update_within(
        &self,
        server: NodeId,
        key: &Key,
        changes: Vec<Change>,
        most: Nanos,
    ) -> Option<Arc<Version>> {
        let update = Request::Update {
            write: self.write_id(1),
            deps: Clock::default(),
            own: Vec::new(),
            key: key.clone(),
            condition: None,
            changes,
        };
        match self.ask(server, update, most).await {
            Some(Ok(Reply::Updated { version, .. })) => version,
            _ => None,
        }
    }

    /// Asks one server. Nothing without an answer in time.
    pub(crate) async fn ask(
        &self,
        server: NodeId,
        request: Request,
        most: Nanos,
    ) -> Option<Result<Reply, Failure>> {
        let asked = self.mesh.port_only(server).ask(request);
        self.world.timeout(most, asked).await.ok()
    }

    /// A request that no other one is.
    pub(crate) fn write_id(&self, client: u64) -> WriteId {
        let number = self.writes.get();
        self.writes.set(number + 1);
        WriteId { client, number }
    }

    /// The same, which must be acknowledged.
    pub(crate) async fn add(&self, server: NodeId, key: &Key) -> Result<Arc<Version>, String> {
        let added = self.add_within(server, key, 5 * SECOND).await;
        added.ok_or_else(|| format!("{server} does not acknowledge a write"))
    }

    /// What somebody finds in a document who depends on this. Nothing without an answer in time.
    pub(crate) async fn look(&self, server: NodeId, key: &Key, deps: &Clock) -> Option<Seen> {
        let read = Request::Read {
            deps: deps.clone(),
            own: Vec::new(),
            keys: vec![key.clone()],
        };
        match self.ask(server, read, 2 * SECOND).await {
            Some(Ok(Reply::Read { seen, .. })) => seen.into_iter().next(),
            _ => None,
        }
    }

    /// What `n` is to somebody who depends on nothing.
    pub(crate) async fn count(&self, server: NodeId, key: &Key) -> Option<i64> {
        let seen = self.look(server, key, &Clock::default()).await;
        seen.map(|seen| count_in(&seen))
    }

    /// That a server shows `n` as this to everybody, sooner or later.
    pub(crate) async fn comes_to(&self, server: NodeId, key: &Key, n: i64) -> Verdict {
        let until = self.world.now() + 2 * SECOND;
        loop {
            let count = self.count(server, key).await;
            if count == Some(n) {
                return Ok(());
            }
            if self.world.now() >= until {
                return Err(format!("{server} shows {count:?}, not {n}"));
            }
            self.world.sleep(5 * MS).await;
        }
    }

    /// Makes all servers load a document.
    pub(crate) async fn warm(&self, key: &Key) -> Verdict {
        for &server in self.mesh.servers() {
            ensure(self.count(server, key).await.is_some(), "it is not served")?;
        }
        Ok(())
    }

    /// Waits until so many servers are on the ring, as this one knows it.
    pub(crate) async fn ring_of(&self, server: NodeId, many: u64) -> Verdict {
        let is = || self.mesh.gauge(server, "ring") == Some(many);
        self.until(is, "the ring does not change").await
    }

    pub(crate) async fn until(&self, is: impl Fn() -> bool, words: &str) -> Verdict {
        let until = self.world.now() + 5 * SECOND;
        while !is() {
            ensure(self.world.now() < until, words)?;
            self.world.sleep(MS).await;
        }
        Ok(())
    }

    /// What `n` is in the backing store.
    pub(crate) fn stored(&self, key: &Key) -> i64 {
        let tables = self.store.tables();
        let mut items = tables.items(TABLE);
        let name = Value::Str(key.key.clone());
        let item = items.find(|(_, item)| item.get(KEY) == Some(&name));
        count_of(item.and_then(|(_, item)| item.get(VALUE)))
    }

    /// Cuts a server off from the other servers, and lets it hear them again.
    pub(crate) fn part(&self, server: NodeId) {
        let others = self.mesh.servers().iter().copied();
        let others: Vec<NodeId> = others.filter(|&other| other != server).collect();
        self.mesh.sim().partition(&[server], &others);
    }

    pub(crate) fn heal(&self) {
        self.mesh.sim().heal_all();
    }

    pub(crate) fn kill(&self, server: NodeId) {
        self.mesh.sim().kill(server);
    }

    pub(crate) fn restart(&self, server: NodeId) {
        self.mesh.sim().restart(server);
    }
}
