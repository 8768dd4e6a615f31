//! The ring of cache servers without nodes: [`ModelRing`] moves versions between [`Core`]s in memory.
//!
//! It is a ring to build on: it takes virtual time and promises no more than the protocol must. Links
//! keep their order and take any time; a version is seen at one server long before it is at another;
//! what is stable is told late; a request may be turned away, or end in doubt with or without effect.
//! All of that is drawn from the world's seed. Servers never fail, and no key is ever forgotten.
//!
//! The keeper of a key, by its hash, writes to the store behind what the key has become, a while after
//! it is stable.

use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use triptych_api::{Name, State, Updated, Value};
use triptych_faas::Gauges;
use triptych_mesh::{
    Arrived, Bug, Clock, Core, Failure, Key, Op, Port, Refused, Reply, Request, Slot, Version,
};
use triptych_site::{KEY, VALUE};
use triptych_store::{Request as Ask, Store, Write, patient};
use triptych_world::{MS, Nanos, Random, SECOND, US, World, mix_str};

/// How a [`ModelRing`] behaves where the contract leaves it open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conduct {
    /// How many servers there are, at least one.
    pub servers: usize,
    /// How long a request takes, about.
    pub ask: Nanos,
    /// How long a version or word of what is stable takes from one server to another, at most.
    pub hop: Nanos,
    /// How long after it is stable a write is in the store, about.
    pub behind: Nanos,
    /// How long writes are kept by themselves, for snapshots that do not count them.
    pub keep: Nanos,
    /// How often a request is turned away without any effect.
    pub unavailable: f64,
    /// How often nobody knows what became of a write: half of these have taken effect.
    pub unknown: f64,
    /// Whether an update becomes the whole document that its head saw, so that of two concurrent ones
    /// the later wins. Otherwise they merge.
    pub compat: bool,
    /// A seeded defect of the protocol.
    pub bug: Option<Bug>,
}

impl Default for Conduct {
    /// Three servers without faults, on links that are often slow: so slow that whoever moves meets
    /// servers that have not applied what it has seen.
    fn default() -> Self {
        Conduct {
            servers: 3,
            ask: 200 * US,
            hop: 8 * MS,
            behind: 20 * MS,
            keep: SECOND,
            unavailable: 0.0,
            unknown: 0.0,
            compat: false,
            bug: None,
        }
    }
}

/// So many rows the store takes in one batch.
const BATCH: usize = 25;

/// See the module documentation. Clones are the same ring.
#[derive(Clone)]
pub struct ModelRing(Rc<Inner>);

struct Inner {
    world: World,
    store: Rc<dyn Store>,
    conduct: Conduct,
    /// Draws so far: each has bits of its own.
    draws: Cell<u64>,
    servers: RefCell<Vec<Server>>,
    /// Messages under way.
    moving: Cell<u64>,
    /// Messages that no server should ever have got.
    lost: Cell<u64>,
    hops: Cell<u64>,
    rows: Cell<u64>,
}

struct Server {
    core: Core,
    /// Sent to the next one and not arrived, in order, each with the hops behind it.
    link: VecDeque<(Arc<Version>, u32)>,
    /// The clock of the newest write of each head that is known to be stable here.
    newest: BTreeMap<Slot, Clock>,
    /// Keys that it keeps and that are newer than in the store.
    behind: BTreeSet<Key>,
    /// Whether a task writes them.
    writing: bool,
}

impl ModelRing {
    /// A ring that knows nothing, before a store that has nothing.
    pub fn new(world: &World, store: Rc<dyn Store>, conduct: Conduct) -> Self {
        let server = |n| Server {
            core: Core::new(Slot(n), true, conduct.bug),
            link: VecDeque::new(),
            newest: BTreeMap::new(),
            behind: BTreeSet::new(),
            writing: false,
        };
        let servers = (0..conduct.servers.max(1) as u16).map(server).collect();
        ModelRing(Rc::new(Inner {
            world: world.clone(),
            store,
            conduct,
            draws: Cell::new(0),
            servers: RefCell::new(servers),
            moving: Cell::new(0),
            lost: Cell::new(0),
            hops: Cell::new(0),
            rows: Cell::new(0),
        }))
    }

    /// The way to each server.
    pub fn ports(&self) -> Vec<Rc<dyn Port>> {
        let servers = 0..self.0.servers.borrow().len();
        let port = |server| -> Rc<dyn Port> {
            let ring = self.clone();
            Rc::new(At { ring, server })
        };
        servers.map(port).collect()
    }

    /// Messages under way, versions that are not applied everywhere, and rows that are not in the store.
    pub fn pending(&self) -> u64 {
        let servers = self.0.servers.borrow();
        let waiting = |server: &Server| {
            let waits = server.core.pending() + server.behind.len();
            waits as u64 + u64::from(server.writing)
        };
        self.0.moving.get() + servers.iter().map(waiting).sum::<u64>()
    }

    /// Where servers and the store differ although nothing is pending, in words.
    pub fn differences(&self, state: &State) -> Vec<String> {
        let mut told = Vec::new();
        if self.0.lost.get() > 0 {
            told.push(format!("{} messages were of no use", self.0.lost.get()));
        }
        if self.pending() > 0 {
            return told;
        }
        let servers = self.0.servers.borrow();
        for (table, rows) in &state.tables {
            for (key, row) in rows {
                let place = Key {
                    table: table.clone(),
                    key: key.clone(),
                };
                for server in servers.iter() {
                    let seen = server
                        .core
                        .entry(&place)
                        .and_then(|entry| entry.seen().value);
                    if seen.as_ref() != Some(row) {
                        let slot = server.core.slot();
                        told.push(format!("{table}[{key}] is {row:?}, at {slot} {seen:?}"));
                    }
                }
            }
        }
        told
    }

    /// Looks at what each server has.
    pub fn cores<T>(&self, look: impl Fn(&Core) -> T) -> Vec<(Slot, T)> {
        let servers = self.0.servers.borrow();
        let cores = servers.iter().map(|server| &server.core);
        cores.map(|core| (core.slot(), look(core))).collect()
    }

    /// What it has done.
    pub fn counters(&self) -> Gauges {
        let counts = [
            ("cache hops", &self.0.hops),
            ("cache rows stored", &self.0.rows),
        ];
        let counts = counts.into_iter();
        counts
            .map(|(name, count)| (Name::from(name), count.get()))
            .collect()
    }

    /// What it keeps.
    pub fn gauges(&self) -> Gauges {
        let servers = self.0.servers.borrow();
        let sum = |of: fn(&Server) -> usize| servers.iter().map(of).sum::<usize>() as u64;
        Gauges::from([
            (
                Name::from("cache pending"),
                sum(|server| server.core.pending()),
            ),
            (Name::from("cache keys"), sum(|server| server.core.keys())),
        ])
    }
}

/// The way to one server.
struct At {
    ring: ModelRing,
    server: usize,
}

impl Port for At {
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let (inner, server) = (Rc::clone(&self.ring.0), self.server);
        Box::pin(async move {
            // From its first poll on, the request does not need whoever asked.
            let world = inner.world.clone();
            world.spawn("cache", inner.serve(server, request)).await
        })
    }
}

fn failure(refused: Refused) -> Failure {
    match refused {
        Refused::Missing { origin, .. } => Failure::Lost(origin),
        Refused::NoServer(_) | Refused::Malformed(_) => Failure::Bad(refused.to_string()),
        Refused::SnapshotTooOld => Failure::SnapshotTooOld,
        Refused::NotLoaded(_) => Failure::Unavailable,
    }
}

impl Inner {
    fn random(&self) -> Random {
        let number = self.draws.get();
        self.draws.set(number + 1);
        self.world.keyed(mix_str(number, "model-ring"))
    }

    async fn serve(self: Rc<Self>, at: usize, request: Request) -> Result<Reply, Failure> {
        let (mut random, conduct) = (self.random(), self.conduct);
        let way = |random: &mut Random| conduct.ask / 4 + random.below(conduct.ask / 2 + 1);
        self.world.sleep(way(&mut random)).await;
        if random.chance(conduct.unavailable) {
            return Err(Failure::Unavailable);
        }
        let writes = matches!(request, Request::Write { .. } | Request::Update { .. });
        let unknown = writes && random.chance(conduct.unknown);
        if unknown && random.chance(0.5) {
            return Err(Failure::Unknown);
        }
        let reply = self.answer(at, request)?;
        self.world.sleep(way(&mut random)).await;
        match unknown {
            true => Err(Failure::Unknown),
            false => Ok(reply),
        }
    }

    fn answer(self: &Rc<Self>, at: usize, request: Request) -> Result<Reply, Failure> {
        let mut sent = None;
        let reply = {
            let mut servers = self.servers.borrow_mut();
            let many = servers.len();
            let core = &mut servers[at].core;
            let compat = self.conduct.compat;
            let reply = answer(core, many, compat, request, &mut sent).map_err(failure)?;
            with_stable(reply, core.stable())
        };
        if let Some(version) = sent {
            self.send(at, version, 1);
        }
        Ok(reply)
    }

    // ---- The ring ----

    /// Calls after any time up to the longest of a hop.
    fn after(self: &Rc<Self>, call: impl FnOnce(&Rc<Inner>) + 'static) {
        let (inner, span) = (
            Rc::clone(self),
            self.random().below(self.conduct.hop.max(1)),
        );
        self.moving.set(self.moving.get() + 1);
        self.world.after(span, move || {
            inner.moving.set(inner.moving.get() - 1);
            call(&inner);
        });
    }

    /// Sends a version to the next server. It comes when the first one on the link does that was sent
    /// before it, or later.
    fn send(self: &Rc<Self>, from: usize, version: Arc<Version>, hop: u32) {
        self.servers.borrow_mut()[from]
            .link
            .push_back((version, hop));
        self.hops.set(self.hops.get() + 1);
        self.after(move |inner| inner.arrive(from));
    }

    fn arrive(self: &Rc<Self>, from: usize) {
        let (to, version, arrived) = {
            let mut servers = self.servers.borrow_mut();
            let many = servers.len();
            let Some((version, hop)) = servers[from].link.pop_front() else {
                return;
            };
            let to = (from + 1) % many;
            let arrived = servers[to].core.arrive(&version, hop, many as u32);
            (to, version, arrived)
        };
        match arrived {
            Arrived::Forward(hop) => self.send(to, version, hop),
            Arrived::Stable => self.tell(to, &version),
            Arrived::OutOfOrder | Arrived::Undeliverable => self.lost.set(self.lost.get() + 1),
        }
    }

    /// A version is stable at its tail: everybody else is told.
    fn tell(self: &Rc<Self>, tail: usize, version: &Arc<Version>) {
        let (stable, many) = {
            let servers = self.servers.borrow();
            (servers[tail].core.stable().clone(), servers.len())
        };
        self.settled(tail, version);
        for to in (0..many).filter(|to| *to != tail) {
            let (stable, version) = (stable.clone(), Arc::clone(version));
            self.after(move |inner| {
                let whole = inner.servers.borrow_mut()[to].core.is_stable(&stable);
                inner.lost.set(inner.lost.get() + u64::from(!whole));
                inner.settled(to, &version);
            });
        }
    }

    /// A server knows that a version is stable.
    fn settled(self: &Rc<Self>, at: usize, version: &Version) {
        {
            let mut servers = self.servers.borrow_mut();
            let newest = servers[at].newest.entry(version.origin).or_default();
            newest.join(&version.clock);
        }
        let horizon = self.horizon(at);
        let (inner, keep) = (Rc::clone(self), self.conduct.keep);
        self.world.after(keep, move || {
            inner.servers.borrow_mut()[at].core.fold_upto(&horizon);
        });
        let mut servers = self.servers.borrow_mut();
        let many = servers.len();
        let keeper = |key: &Key| mix_str(mix_str(0, &key.table), &key.key) as usize % many;
        let kept = version.ops.iter().filter(|(key, _)| keeper(key) == at);
        let server = &mut servers[at];
        server.behind.extend(kept.map(|(key, _)| key.clone()));
        if !server.writing && !server.behind.is_empty() {
            server.writing = true;
            let inner = Rc::clone(self);
            drop(self.world.spawn("cache keeper", inner.write_behind(at)));
        }
    }

    /// What every write counts that a server has not applied: of each head, what its newest write
    /// counts that is applied here; or what its next one will count, if nothing of it is missing.
    fn horizon(&self, at: usize) -> Clock {
        let servers = self.servers.borrow();
        let here = &servers[at];
        let ahead = |head: &Server| {
            let (slot, clock) = (head.core.slot(), head.core.clock());
            match here.core.applied().get(slot) < clock.get(slot) {
                true => here.newest.get(&slot).cloned().unwrap_or_default(),
                false => clock.clone(),
            }
        };
        let all = servers
            .iter()
            .map(ahead)
            .reduce(|both, one| both.meet(&one));
        all.unwrap_or_default()
    }

    // ---- The store behind ----

    async fn write_behind(self: Rc<Self>, at: usize) {
        loop {
            let pause = self.random().below(2 * self.conduct.behind + 1);
            self.world.sleep(pause).await;
            let rows = {
                let mut servers = self.servers.borrow_mut();
                let Server {
                    core,
                    behind,
                    writing,
                    ..
                } = &mut servers[at];
                if behind.is_empty() {
                    *writing = false;
                    return;
                }
                let keys: Vec<Key> = behind.iter().take(BATCH).cloned().collect();
                behind.retain(|key| !keys.contains(key));
                let row = |key: Key| {
                    let value = core.entry(&key)?.seen().value?;
                    let fields = [(KEY, Value::from(key.key)), (VALUE, value)];
                    let fields = fields.map(|(name, value)| (Name::from(name), value));
                    let item = fields.into_iter().collect();
                    Some(Write::Put {
                        table: key.table,
                        item,
                        condition: None,
                    })
                };
                keys.into_iter().filter_map(row).collect::<Vec<_>>()
            };
            self.put(rows).await;
        }
    }

    /// Writes rows, until the store takes them.
    async fn put(&self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        self.rows.set(self.rows.get() + writes.len() as u64);
        loop {
            let writes = writes.clone();
            let request = Ask::BatchWrite { writes };
            let (world, store) = (self.world.clone(), Rc::clone(&self.store));
            let scope = self.world.background_scope();
            if patient(world, store, scope, request).await.is_ok() {
                return;
            }
            self.world.sleep(self.conduct.behind).await;
        }
    }
}

/// What a server makes of a request; `sent` is the version that it has to send round the ring.
fn answer(
    core: &mut Core,
    servers: usize,
    compat: bool,
    request: Request,
    sent: &mut Option<Arc<Version>>,
) -> Result<Reply, Refused> {
    let stable = Clock::default();
    let reply = match request {
        Request::Read { deps, own, keys } => {
            let seen = core.read(servers, &deps, &own, &keys)?;
            Reply::Read { seen, stable }
        }
        Request::ReadAt {
            snapshot,
            own,
            keys,
        } => {
            let seen = core.read_at(servers, &snapshot, &own, &keys)?;
            Reply::Read { seen, stable }
        }
        Request::Write {
            write,
            deps,
            own,
            ops,
        } => {
            let known = core.known(write).is_some();
            let version = core.write(servers, &deps, &own.clock, write, ops)?;
            *sent = (!known).then(|| Arc::clone(&version));
            Reply::Written { version, stable }
        }
        Request::Update {
            write,
            deps,
            own,
            key,
            condition,
            changes,
        } => {
            let known = core.known(write);
            let keys = std::slice::from_ref(&key);
            let seen = core.read(servers, &deps, &own, keys)?;
            let seen = seen.into_iter().next().unwrap_or_default();
            let condition = condition.as_ref().filter(|_| known.is_none());
            let (updated, document) =
                core.consider(servers, &deps, &own, &key, condition, &changes)?;
            let version = match (known, updated.applied) {
                (Some(known), _) => Some(known),
                (None, false) => None,
                (None, true) => {
                    let mut before = Clock::default();
                    own.iter().for_each(|own| before.join(&own.clock));
                    let op = match compat {
                        true => Op::Put(document),
                        false => Op::Change(changes),
                    };
                    let ops = vec![(key, op)];
                    let version = core.write(servers, &deps, &before, write, ops)?;
                    *sent = Some(Arc::clone(&version));
                    Some(version)
                }
            };
            let Updated { applied, sum } = updated;
            Reply::Updated {
                updated: Updated { applied, sum },
                seen,
                version,
                stable,
            }
        }
        Request::Snapshot { deps } => {
            core.read(servers, &deps, &[], &[])?;
            let mut snapshot = core.stable().clone();
            snapshot.join(&deps);
            Reply::Snapshot { snapshot }
        }
        Request::Status => Reply::Status {
            gauges: vec![
                ("pending".to_owned(), core.pending() as u64),
                ("keys".to_owned(), core.keys() as u64),
            ],
        },
    };
    Ok(reply)
}

/// The reply, with what is stable by now.
fn with_stable(mut reply: Reply, now: &Clock) -> Reply {
    if let Reply::Read { stable, .. }
    | Reply::Written { stable, .. }
    | Reply::Updated { stable, .. } = &mut reply
    {
        *stable = now.clone();
    }
    reply
}
