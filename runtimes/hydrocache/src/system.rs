//! HydroCache as functions use it: what a workflow's attempt carries, and what its operations ask of
//! the servers.

use crate::choose::saw;
use crate::line::{Deps, demand, trim};
use crate::message::{Got, Held, Holds, Peer, Reply, Request};
use crate::server::Server;
use crate::{Config, Kind, Nodes};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::{Error, Result, Updated, Value};
use triptych_cached::{Announced, Caches, Edit, Here, Points, System, points};
use triptych_mesh::{Clock, Key};
use triptych_nodes::sim::SimConfig;
use triptych_refreshed::client::unexpected;
use triptych_refreshed::{Installed, Watched, Writes, sums, unheard};
use triptych_site::Site;

const READ: &str = "hydrocache.read";
const SNAPSHOT: &str = "hydrocache.snapshot";
const COMMIT: &str = "hydrocache.commit";

/// A seeded defect of the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientBug {
    /// Everything that belongs to what was read counts as read (specification §13, 18).
    SeenIsRead,
    /// Where branches meet nobody looks whether they have read one snapshot.
    JoinsUnchecked,
    /// The session's past demands nothing.
    FloorIgnored,
}

/// What a client keeps between its workflows: what it must not see older. Whatever every server shows
/// by now is not in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Keys, and what must be seen of each.
    pub deps: Deps,
}

/// What an attempt carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// The server where it began.
    home: u16,
    /// What it has read, each key in one state; optimistic only.
    read: Holds,
    /// What it must not see older because of that, and where it is kept.
    seen: Holds,
    /// What it must not see older because of its session.
    floor: Deps,
    /// What it has written.
    writes: Writes,
    /// What its writes have become.
    written: Deps,
    /// Servers that hold something for it.
    visited: BTreeSet<u16>,
    /// What every server is known to show.
    stable: Clock,
    /// Its branches have read what is not one snapshot.
    torn: bool,
}

impl Context {
    fn saw(&mut self, kind: Kind, key: &Key, got: &Got) {
        match kind {
            Kind::Optimistic => {
                let Context { read, seen, .. } = self;
                saw(read, seen, key, &got.line, got.at, got.deps_at);
            }
            Kind::Conservative => {
                note(&mut self.seen, key, &got.line.clock, got.at);
                for (key, clock) in &got.line.deps {
                    note(&mut self.seen, key, clock, got.at);
                }
            }
        }
    }

    /// Everything that it depends on.
    fn deps(&self) -> Deps {
        let mut deps = self.floor.clone();
        for (key, held) in self.read.iter().chain(&self.seen) {
            demand(&mut deps, key, &held.clock);
        }
        for (key, clock) in &self.written {
            demand(&mut deps, key, clock);
        }
        trim(&mut deps, &self.stable);
        deps
    }

    /// Whether all that it has read can be in one snapshot.
    fn is_whole(&self) -> bool {
        let mut read = self.read.iter();
        !self.torn
            && read.all(|(key, read)| {
                let seen = self.seen.get(key);
                seen.is_none_or(|seen| read.clock.covers(&seen.clock))
            })
    }
}

fn note(holds: &mut Holds, key: &Key, clock: &Clock, at: u16) {
    let known = holds.entry(key.clone()).or_insert_with(|| Held {
        clock: clock.clone(),
        at,
    });
    if !known.clock.covers(clock) {
        known.clock.join(clock);
        known.at = at;
    }
}

/// See the module documentation.
pub struct Hydro {
    caches: Installed<Request, Reply, Peer, Server>,
    kind: Kind,
    bug: Option<ClientBug>,
}

fn pending(nodes: &Nodes) -> u64 {
    let waits = sums(nodes, &["stale", "writing", "jobs", "asked"]);
    waits.values().sum::<u64>() + unheard(nodes)
}

fn torn() -> Error {
    Error::Aborted("parallel branches have read different snapshots".to_owned())
}

impl Hydro {
    /// Starts servers beside a site, if its world has virtual time.
    pub fn start(
        site: &Site,
        network: SimConfig,
        kind: Kind,
        servers: u16,
        config: Config,
        bug: Option<ClientBug>,
    ) -> Self {
        let start = || crate::start(&site.world, network, &site.store, servers, config);
        let watched = Watched {
            pending,
            counters: &[
                "aborts", "fetched", "rounds", "remote", "flushed", "deps", "news", "expired",
            ],
            gauges: &["keys", "lines", "workflows", "uncovered"],
        };
        Hydro {
            caches: Installed::start(site, start, watched),
            kind,
            bug,
        }
    }

    /// The servers.
    pub fn cluster(&self) -> Option<&Nodes> {
        self.caches.cluster()
    }

    fn request(&self, here: &Here, context: &Context, keys: Vec<Key>) -> Request {
        let attempt = here.attempt.clone();
        match self.kind {
            Kind::Conservative => Request::Snapshot {
                attempt,
                home: context.home,
                floor: context.floor.clone(),
                keys,
            },
            Kind::Optimistic => {
                let pick = |key: &Key| Some((key.clone(), context.seen.get(key)?.clone()));
                let demand = |key: &Key| Some((key.clone(), context.floor.get(key)?.clone()));
                let mut read = context.read.clone();
                if self.bug == Some(ClientBug::SeenIsRead) {
                    for (key, held) in &context.seen {
                        read.entry(key.clone()).or_insert_with(|| held.clone());
                    }
                }
                Request::Read {
                    attempt,
                    read,
                    seen: keys.iter().filter_map(pick).collect(),
                    floor: keys.iter().filter_map(demand).collect(),
                    keys,
                }
            }
        }
    }

    async fn fetch(&self, here: &Here, context: &mut Context, keys: Vec<Key>) -> Result<Vec<Got>> {
        context.visited.insert(here.server as u16);
        let point = match self.kind {
            Kind::Conservative => SNAPSHOT,
            Kind::Optimistic => READ,
        };
        let request = self.request(here, context, keys);
        match self.caches.ports().ask(here, point, request).await? {
            Reply::Read { got, stable } => {
                context.stable.join(&stable);
                Ok(got)
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl System for Hydro {
    type Context = Context;
    type Session = Session;
    type Caches = Installed<Request, Reply, Peer, Server>;
    const POINTS: Points = points!("hydrocache");
    const ATOMIC: bool = true;

    fn caches(&self) -> &Self::Caches {
        &self.caches
    }

    async fn begin(
        &self,
        here: &Here,
        session: &Session,
        announced: &Announced,
    ) -> Result<Context> {
        let floor = match self.bug {
            Some(ClientBug::FloorIgnored) => Deps::new(),
            _ => session.deps.clone(),
        };
        let mut context = Context {
            home: here.server as u16,
            floor,
            ..Context::default()
        };
        if let Some(keys) = announced {
            self.arrive(here, &mut context, keys).await?;
        }
        Ok(context)
    }

    /// What a function announces is added to a conservative snapshot before it runs.
    async fn arrive(&self, here: &Here, context: &mut Context, announced: &[Key]) -> Result<()> {
        if self.kind == Kind::Conservative && !announced.is_empty() {
            self.fetch(here, context, announced.to_vec()).await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        here: &Here,
        context: &mut Context,
        keys: &[Key],
    ) -> Result<Vec<Option<Value>>> {
        if !context.is_whole() && self.bug != Some(ClientBug::JoinsUnchecked) {
            return Err(torn());
        }
        let other = context.writes.open(keys);
        let mut found = BTreeMap::new();
        if !other.is_empty() {
            let got = self.fetch(here, context, other.clone()).await?;
            if got.len() != other.len() {
                return Err(unexpected(&got));
            }
            for (key, got) in other.into_iter().zip(got) {
                context.saw(self.kind, &key, &got);
                found.insert(key, got.line.value.clone());
            }
        }
        Ok(context.writes.over(keys, &found))
    }

    async fn change(
        &self,
        here: &Here,
        context: &mut Context,
        key: Key,
        edit: Edit,
    ) -> Result<Updated> {
        let seen = match &edit {
            Edit::Put(_) => None,
            Edit::Update { .. } => {
                let seen = self.read(here, context, std::slice::from_ref(&key)).await?;
                seen.into_iter().next().flatten()
            }
        };
        Ok(context.writes.edit(here.write, key, edit, seen))
    }

    fn join(&self, context: &mut Context, branch: Context) {
        context.writes.join(branch.writes.clone());
        self.undo(context, branch);
    }

    fn undo(&self, context: &mut Context, body: Context) {
        let Context {
            read,
            seen,
            floor,
            written,
            visited,
            stable,
            torn,
            ..
        } = body;
        context.torn |= torn;
        for (key, held) in read {
            let known = context.read.entry(key).or_insert_with(|| held.clone());
            context.torn |= known.clock != held.clock;
        }
        for (key, held) in seen {
            note(&mut context.seen, &key, &held.clock, held.at);
        }
        for (key, clock) in floor {
            demand(&mut context.floor, &key, &clock);
        }
        for (key, clock) in written {
            demand(&mut context.written, &key, &clock);
        }
        context.visited.extend(visited);
        context.stable.join(&stable);
    }

    async fn commit(&self, here: &Here, context: &mut Context) -> Result<()> {
        if !context.is_whole() && self.bug != Some(ClientBug::JoinsUnchecked) {
            return Err(torn());
        }
        let writes = context.writes.documents();
        if writes.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = writes.iter().map(|(key, _)| key.clone()).collect();
        let deps = context.deps();
        let request = Request::Flush { writes, deps };
        match self.caches.ports().ask(here, COMMIT, request).await? {
            Reply::Flushed { clocks, stable } => {
                context.stable.join(&stable);
                for (key, clock) in keys.iter().zip(&clocks) {
                    demand(&mut context.written, key, clock);
                }
                context.writes = Writes::default();
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn cleanup(&self, here: &Here, context: &Context) {
        let servers: Vec<u16> = match self.kind {
            // A snapshot is taken at all servers.
            Kind::Conservative => (0..self.caches.servers() as u16).collect(),
            Kind::Optimistic => context.visited.iter().copied().collect(),
        };
        if let (false, Ok(port)) = (context.visited.is_empty(), self.caches.ports().at(here)) {
            port.tell(Request::End {
                attempt: here.attempt.clone(),
                servers,
            });
        }
    }

    fn session(&self, context: &Context) -> Session {
        Session {
            deps: context.deps(),
        }
    }

    fn merge(&self, kept: &mut Session, new: Session) {
        for (key, clock) in &new.deps {
            demand(&mut kept.deps, key, clock);
        }
    }
}
