//! Where the cache servers come from, and what both variants ask of them in the same way.

use crate::model::ModelRing;
use crate::servers::{Servers, unexpected};
use futures_util::future::LocalBoxFuture;
use std::rc::Rc;
use triptych_api::{Name, Result, State, Value};
use triptych_cached::{Caches, Here, Told, copies};
use triptych_faas::Gauges;
use triptych_mesh::backing::tables::TableBridge;
use triptych_mesh::sim::{Backing, SimMesh, lan};
use triptych_mesh::{
    Bugs, Clock, Config, Context, Core, Failure, Key, Level, Op, Port, Reply, Request,
};
use triptych_site::{Site, tables};
use triptych_store::TableSchema;
use triptych_world::{Nanos, SECOND};

/// How long the servers may take until they serve.
const PATIENCE: Nanos = 60 * SECOND;

/// Why nothing works in a world of real time.
const NO_SERVERS: &str = "causalmesh needs cache servers: in real time its functions run in processes \
                          of their own, and none are configured that they could share";

/// What stands where servers should be: it refuses everything.
pub(crate) struct NoServers;

impl Port for NoServers {
    fn ask(&self, _: Request) -> LocalBoxFuture<'static, std::result::Result<Reply, Failure>> {
        Box::pin(async { Err(Failure::Bad(NO_SERVERS.to_owned())) })
    }
}

/// What says how much a server has not done yet.
const WAITING: [&str; 5] = ["unstable", "link", "dirty", "waiting", "found"];
/// What is worth watching of a server.
const WATCHED: [&str; 3] = ["unstable", "dirty", "keys"];

/// See the module documentation.
pub(crate) enum Source {
    /// A simulated cluster, made for this installation.
    Mesh(SimMesh),
    /// A model in memory.
    Model(ModelRing),
    /// The world is a real one, and nobody has said where the servers are.
    None,
}

/// Starts the servers of an installation.
pub(crate) fn start(site: &Site, compat: bool) -> SimMesh {
    let level = match site.servers {
        0 | 1 => Level::Synced,
        _ => Level::Replicated,
    };
    let config = Config {
        compat,
        ..Config::of(site.servers.max(1), level)
    };
    let functions = site.app.functions.iter();
    let tables = functions.flat_map(|function| &function.tables);
    let backing = Backing {
        store: Rc::clone(&site.store),
        tables: tables.cloned().collect(),
    };
    let mesh = SimMesh::start(&site.world, config, lan(), Some(backing), Bugs::default());
    mesh.expect("there are more servers than replicas")
}

/// A way to each server, on its host.
pub(crate) fn ports(mesh: &SimMesh) -> Vec<Rc<dyn Port>> {
    mesh.servers().iter().map(|&at| mesh.port(at)).collect()
}

/// The servers of an installation, and the way to them.
pub(crate) struct Ring {
    pub(crate) servers: Servers,
    pub(crate) source: Source,
}

impl Ring {
    /// Writes what becomes visible together, on behalf of a client that depends on `deps`; it remembers
    /// the version that comes of it.
    pub(crate) async fn write(
        &self,
        here: &Here,
        point: &'static str,
        deps: Clock,
        client: &mut Context,
        ops: Vec<(Key, Op)>,
    ) -> Result<()> {
        let request = Request::Write {
            write: here.write,
            deps,
            own: client.own_clock(),
            ops,
        };
        match self.servers.ask(here, point, request).await? {
            Reply::Written { version, stable } => {
                client.wrote(version);
                client.is_stable(&stable);
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl Caches for Ring {
    fn servers(&self) -> usize {
        self.servers.len()
    }

    fn tables(&self) -> Vec<TableSchema> {
        match &self.source {
            Source::Mesh(_) => vec![TableBridge::schema()],
            Source::Model(_) | Source::None => Vec::new(),
        }
    }

    async fn prepare(&self) -> Told<()> {
        match &self.source {
            Source::Model(_) => Ok(()),
            Source::Mesh(mesh) => match mesh.ready(PATIENCE).await {
                true => Ok(()),
                false => Err(format!(
                    "the cache servers are not ready after {} s",
                    PATIENCE / SECOND
                )),
            },
            Source::None => Err(NO_SERVERS.to_owned()),
        }
    }

    async fn pending(&self) -> Told<u64> {
        match &self.source {
            Source::Mesh(mesh) => Ok(match mesh.quiet(0).await {
                true => 0,
                false => WAITING
                    .map(|gauge| sum(mesh, gauge))
                    .iter()
                    .sum::<u64>()
                    .max(1),
            }),
            Source::Model(ring) => Ok(ring.pending()),
            Source::None => Ok(0),
        }
    }

    /// The rows of the store, and what each server has of them; once nothing is pending, all the same.
    async fn dump(&self, site: Rc<Site>) -> Told<State> {
        let mut state = tables::state(&site).await?;
        let rows = state.tables.iter();
        let all: Vec<Key> = rows
            .flat_map(|(table, rows)| rows.keys().map(|key| (table.clone(), key.clone())))
            .map(|(table, key)| Key { table, key })
            .collect();
        let of = |core: &Core| -> Vec<(Key, Value)> {
            let here = |key: &Key| Some((key.clone(), core.entry(key)?.seen().value?));
            all.iter().filter_map(here).collect()
        };
        match &self.source {
            Source::Mesh(mesh) => {
                for &at in mesh.servers() {
                    let documents = mesh.look(at, |server| of(server.core()));
                    if let Some(documents) = documents {
                        copies(&mut state, &at.to_string(), documents);
                    }
                }
            }
            Source::Model(ring) => {
                state.corrupt.extend(ring.differences(&state));
                for (slot, documents) in ring.cores(of) {
                    copies(&mut state, &slot.to_string(), documents);
                }
            }
            Source::None => {}
        }
        Ok(state)
    }

    fn counters(&self) -> Gauges {
        match &self.source {
            Source::Model(ring) => ring.counters(),
            Source::Mesh(mesh) => traffic(mesh),
            Source::None => Gauges::new(),
        }
    }

    async fn gauges(&self) -> Told<Gauges> {
        match &self.source {
            Source::Mesh(mesh) => {
                let gauges = WATCHED.iter();
                let named =
                    gauges.map(|name| (Name::from(format!("cache {name}")), sum(mesh, name)));
                Ok(named.collect())
            }
            Source::Model(ring) => Ok(ring.gauges()),
            Source::None => Ok(Gauges::new()),
        }
    }
}

/// What the servers have sent: batches of versions from each to the next one with their bytes, answers
/// to them, and what went to the backing store and was asked of it because it was missed.
fn traffic(mesh: &SimMesh) -> Gauges {
    let named = [
        ("ring frames", "frame"),
        ("ring acknowledgements", "ack"),
        ("cache fetches", "fetch"),
        ("cache stores", "store"),
    ];
    let mut counted = Gauges::new();
    for &at in mesh.servers() {
        let metrics = mesh.sim().metrics(at);
        let sent = |kind| metrics.kinds.get(kind).copied().unwrap_or_default();
        for (name, kind) in named {
            *counted.entry(Name::from(name)).or_default() += sent(kind).messages_out;
        }
        *counted.entry(Name::from("ring bytes")).or_default() += sent("frame").bytes_out;
    }
    counted
}

/// A gauge of all servers together.
fn sum(mesh: &SimMesh, gauge: &str) -> u64 {
    let servers = mesh.servers().iter();
    servers.filter_map(|&at| mesh.gauge(at, gauge)).sum()
}
