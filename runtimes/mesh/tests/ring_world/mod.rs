//! A ring of real [`Core`]s with a queue for each edge, clients that move between them, and beside
//! them what no server knows: every version, and what happened before it.
//!
//! Nothing here looks at clocks to know what happened before what: that is followed from client to
//! client by hand, so that it can be held against the clocks.

pub mod random;
pub mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use triptych_api::model::Map;
use triptych_api::{Value, apply};
use triptych_mesh::{
    Arrived, Bug, Clock, Context, Core, Entry, Key, Op, Refused, Seen, Slot, Version, WriteId,
};

/// Which version: origin and number.
pub type Id = (Slot, u64);

/// A rule that does not hold, and where it was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Broken {
    /// The name of the invariant in the specification.
    pub rule: &'static str,
    pub seen: String,
}

pub type Checked = Result<(), Broken>;

/// That something holds.
pub fn holds(rule: &'static str, holds: bool, seen: impl FnOnce() -> String) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(Broken { rule, seen: seen() }),
    }
}

/// A key by its number.
pub fn key(number: u64) -> Key {
    Key::new("t", &format!("k{number}"))
}

/// A version that goes round, with what its sender knew to be stable.
#[derive(Clone, Debug)]
pub struct Sent {
    pub version: Arc<Version>,
    pub hop: u32,
    pub stable: Clock,
}

/// A version, and all that happened before it, without itself.
#[derive(Clone, Debug)]
pub struct Made {
    pub version: Arc<Version>,
    pub past: BTreeSet<Id>,
}

/// A client, or a branch of one.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: u64,
    pub writes: u64,
    pub context: Context,
    /// What happened before its next operation.
    pub past: BTreeSet<Id>,
    /// The join of the clocks that reads of each key gave.
    pub seen: BTreeMap<Key, Clock>,
}

impl Client {
    pub fn new(id: u64) -> Self {
        Client {
            id,
            writes: 0,
            context: Context::default(),
            past: BTreeSet::new(),
            seen: BTreeMap::new(),
        }
    }

    /// A branch with a copy of the context.
    pub fn fork(&self, id: u64) -> Self {
        Client {
            id,
            writes: 0,
            ..self.clone()
        }
    }

    /// A branch comes back.
    pub fn join(&mut self, branch: &Client) {
        self.context.join(&branch.context);
        self.past.extend(&branch.past);
        for (key, clock) in &branch.seen {
            self.seen.entry(key.clone()).or_default().join(clock);
        }
    }

    pub fn next(&mut self) -> WriteId {
        self.writes += 1;
        WriteId {
            client: self.id,
            number: self.writes,
        }
    }
}

/// The ring.
#[derive(Clone, Debug)]
pub struct Mesh {
    pub bug: Option<Bug>,
    pub cores: Vec<Core>,
    /// From each server to the next one.
    pub links: Vec<VecDeque<Sent>>,
    /// All that was ever sent on each link.
    pub sent: Vec<Vec<(Id, u32)>>,
    /// What was accepted by or came to each server.
    pub came: Vec<BTreeSet<Id>>,
    pub made: BTreeMap<Id, Made>,
    /// What each server said of its past.
    pub pasts: Vec<Vec<Clock>>,
    /// The backing store, and up to where everything is in it.
    pub rows: BTreeMap<Key, Entry>,
    pub stored: Clock,
    /// Whether messages say what is stable.
    pub tells: bool,
}

impl Mesh {
    pub fn new(servers: usize, resident: bool, bug: Option<Bug>) -> Self {
        let core = |at| Core::new(Slot(at as u16), resident, bug);
        Mesh {
            bug,
            cores: (0..servers).map(core).collect(),
            links: vec![VecDeque::new(); servers],
            sent: vec![Vec::new(); servers],
            came: vec![BTreeSet::new(); servers],
            made: BTreeMap::new(),
            pasts: vec![Vec::new(); servers],
            rows: BTreeMap::new(),
            stored: Clock::default(),
            tells: true,
        }
    }

    /// One whose messages do not say what is stable, so that servers apply only what they must.
    pub fn quiet(servers: usize, bug: Option<Bug>) -> Self {
        Mesh {
            tells: false,
            ..Mesh::new(servers, true, bug)
        }
    }

    pub fn servers(&self) -> usize {
        self.cores.len()
    }

    fn send(&mut self, from: usize, version: &Arc<Version>, hop: u32) -> Checked {
        let id = (version.origin, version.number());
        self.dragging(from, version, hop)?;
        self.sent[from].push((id, hop));
        let stable = self.cores[from].stable();
        let stable = if self.tells {
            stable.clone()
        } else {
            Clock::default()
        };
        self.links[from].push_back(Sent {
            version: Arc::clone(version),
            hop,
            stable,
        });
        Ok(())
    }

    /// A version that a server has accepted begins its way round.
    pub fn start(&mut self, at: usize, version: &Arc<Version>) -> Checked {
        self.send(at, version, 1)
    }

    /// The first message of a link arrives.
    pub fn deliver(&mut self, link: usize) -> Result<Option<Arrived>, Broken> {
        self.deliver_nth(link, 0)
    }

    /// A message of a link arrives, perhaps before others.
    pub fn deliver_nth(&mut self, link: usize, nth: usize) -> Result<Option<Arrived>, Broken> {
        let Some(sent) = self.links[link].remove(nth) else {
            return Ok(None);
        };
        let servers = self.servers();
        let at = (link + 1) % servers;
        let Sent {
            version,
            hop,
            stable,
        } = sent;
        let place = (usize::from(version.origin.0) + hop as usize) % servers;
        holds("C5", place == at, || {
            format!("hop {hop} of {version:?} at {at}")
        })?;
        let arrived = self.cores[at].arrive(&version, hop, servers as u32);
        self.came[at].insert((version.origin, version.number()));
        match &arrived {
            Arrived::Forward(hop) => self.send(at, &version, *hop)?,
            Arrived::Stable => self.is_everywhere("C7", &version.clock)?,
            Arrived::OutOfOrder => holds("C5", false, || format!("a gap before {version:?}"))?,
            Arrived::Undeliverable => {
                holds("C7", false, || format!("{version:?} lacks something"))?;
            }
        }
        let whole = self.cores[at].is_stable(&stable);
        holds("C6", whole, || {
            format!("stable {stable:?}, not all at {at}")
        })?;
        Ok(Some(arrived))
    }

    /// One server tells another what is stable.
    pub fn tell(&mut self, from: usize, to: usize) -> Checked {
        let stable = self.cores[from].stable().clone();
        let whole = self.cores[to].is_stable(&stable);
        holds("C6", whole, || {
            format!("stable {stable:?}, not all at {to}")
        })
    }

    /// Everything under way arrives, and everybody learns what is stable.
    pub fn settle(&mut self) -> Checked {
        while let Some(link) = self.links.iter().position(|link| !link.is_empty()) {
            self.deliver(link)?;
        }
        for _ in 0..2 {
            for from in 0..self.servers() {
                for to in 0..self.servers() {
                    self.tell(from, to)?;
                }
            }
        }
        Ok(())
    }

    /// A write, of which the client is told.
    pub fn write(
        &mut self,
        client: &mut Client,
        at: usize,
        ops: Vec<(Key, Op)>,
    ) -> Result<Arc<Version>, Broken> {
        let write = client.next();
        let version = self.ask(client, at, write, ops)?;
        Self::told(client, &version);
        Ok(version)
    }

    /// The client learns what its write has become.
    pub fn told(client: &mut Client, version: &Arc<Version>) {
        client.context.wrote(Arc::clone(version));
        client.past.insert((version.origin, version.number()));
    }

    /// A write, of which the client is not told.
    pub fn ask(
        &mut self,
        client: &Client,
        at: usize,
        write: WriteId,
        ops: Vec<(Key, Op)>,
    ) -> Result<Arc<Version>, Broken> {
        let (servers, deps) = (self.servers(), client.context.deps.clone());
        let own = client.context.own_clock().clock;
        let version = self.cores[at].write(servers, &deps, &own, write, ops);
        let version = version.map_err(|refused| Broken {
            rule: "S6",
            seen: format!("a write at {at} that depends on {deps:?}: {refused}"),
        })?;
        let id = (version.origin, version.number());
        if self.made.contains_key(&id) {
            return Ok(version);
        }
        let covers = version.clock.covers(&deps) && version.clock.covers(&own);
        let past = client.past.clone();
        let made = Made {
            version: Arc::clone(&version),
            past,
        };
        self.made.insert(id, made);
        self.came[at].insert(id);
        holds("H8", covers, || {
            format!("{:?} after {deps:?} and {own:?}", version.clock)
        })?;
        self.send(at, &version, 1)?;
        Ok(version)
    }

    /// A read of some keys as one look.
    pub fn read(
        &mut self,
        client: &mut Client,
        at: usize,
        keys: &[Key],
    ) -> Result<Vec<Seen>, Broken> {
        let servers = self.servers();
        let (deps, own) = (
            client.context.deps.clone(),
            client.context.own_of(keys.iter()),
        );
        let mut read = self.cores[at].read(servers, &deps, &own, keys);
        if let Err(Refused::NotLoaded(missing)) = &read {
            for key in missing {
                self.load(at, key)?;
            }
            read = self.cores[at].read(servers, &deps, &own, keys);
        }
        let seen = read.map_err(|refused| Broken {
            rule: "S6",
            seen: format!("a read at {at} that depends on {deps:?}: {refused}"),
        })?;
        let applied = self.cores[at].applied().clone();
        holds("S5", applied.covers(&deps), || {
            format!("{applied:?} after a read with {deps:?}")
        })?;
        for (key, seen) in keys.iter().zip(&seen) {
            self.looked(client, key, seen, &applied)?;
        }
        for (key, seen) in keys.iter().zip(&seen) {
            self.learned(client, key, seen);
        }
        Ok(seen)
    }

    /// A read of a snapshot; none if it is too old. The client's past does not grow beyond it.
    pub fn read_at(
        &mut self,
        client: &mut Client,
        at: usize,
        snapshot: &Clock,
        keys: &[Key],
    ) -> Result<Option<Vec<Seen>>, Broken> {
        let servers = self.servers();
        let own = client.context.own_of(keys.iter());
        let mut read = self.cores[at].read_at(servers, snapshot, &own, keys);
        if let Err(Refused::NotLoaded(missing)) = &read {
            for key in missing {
                self.load(at, key)?;
            }
            read = self.cores[at].read_at(servers, snapshot, &own, keys);
        }
        let seen = match read {
            Ok(seen) => seen,
            Err(Refused::SnapshotTooOld) => return Ok(None),
            Err(refused) => {
                let seen = format!("snapshot {snapshot:?} at {at}: {refused}");
                return Err(Broken { rule: "S6", seen });
            }
        };
        for (key, seen) in keys.iter().zip(&seen) {
            self.looked(client, key, seen, snapshot)?;
        }
        for (key, seen) in keys.iter().zip(&seen) {
            self.learned(client, key, seen);
        }
        Ok(Some(seen))
    }

    /// What the client has read is in its past from now on.
    fn learned(&self, client: &mut Client, key: &Key, seen: &Seen) {
        client.context.saw(seen);
        client
            .seen
            .entry(key.clone())
            .or_default()
            .join(&seen.clock);
        for (id, made) in &self.made {
            let writes = made.version.ops.iter().any(|(written, _)| written == key);
            if writes && made.version.is_counted_by(&seen.clock) {
                client.past.extend(&made.past);
                client.past.insert(*id);
            }
        }
    }

    /// What the client is told is stable need not travel any more.
    pub fn compact(&self, client: &mut Client, at: usize) {
        client.context.is_stable(self.cores[at].stable());
    }

    // ---- The store behind ----

    /// A server takes a key from the store.
    pub fn load(&mut self, at: usize, key: &Key) -> Checked {
        let row = self.rows.get(key).cloned().unwrap_or_default();
        let counted = row.clock().clone();
        let whole = self.cores[at].load(key, row, &counted);
        holds("S6", whole, || {
            format!("{key:?} could not be loaded at {at}")
        })
    }

    /// A server writes all it has to the store; says whether it could.
    pub fn store(&mut self, at: usize, keys: &[Key]) -> Result<bool, Broken> {
        let applied = self.cores[at].applied().clone();
        for key in keys {
            if self.cores[at].entry(key).is_none() {
                self.load(at, key)?;
            }
        }
        // Loading may apply more, and does not apply less.
        let newer = keys.iter().all(|key| {
            let row = self.rows.get(key).map(Entry::clock);
            let entry = self.cores[at].entry(key).map(Entry::clock);
            row.is_none_or(|row| entry.is_some_and(|entry| entry.covers(row)))
        });
        if !newer {
            return Ok(false);
        }
        for key in keys {
            if let Some(entry) = self.cores[at].entry(key) {
                self.rows.insert(key.clone(), entry.clone());
            }
        }
        self.stored.join(&applied);
        Ok(true)
    }

    pub fn evict(&mut self, at: usize, key: &Key) -> bool {
        self.cores[at].evict(key, &self.stored)
    }

    /// Everybody says what its past is, and one server folds what all that it may believe counts.
    pub fn fold(&mut self, at: usize) {
        for (core, pasts) in self.cores.iter().zip(&mut self.pasts) {
            pasts.push(core.past());
        }
        let applied = self.cores[at].applied();
        let of = |server: usize| {
            let slot = Slot(server as u16);
            let mut known = self.pasts[server].iter().rev();
            known.find(|past| past.get(slot) <= applied.get(slot))
        };
        let pasts: Option<Vec<&Clock>> = (0..self.servers()).map(of).collect();
        let horizon = pasts.and_then(|pasts| {
            let pasts = pasts.into_iter().cloned();
            pasts.reduce(|a, b| a.meet(&b))
        });
        if let Some(horizon) = horizon {
            self.cores[at].fold_upto(&horizon);
        }
    }
}

/// What some writes make of nothing: in the total order of their clocks, each request once. Written
/// without the crate's own entry.
pub fn value<'a>(writes: impl Iterator<Item = (&'a Clock, WriteId, &'a Op)>) -> Option<Value> {
    let mut writes: Vec<_> = writes.collect();
    writes.sort_by(|(a, ..), (b, ..)| a.lex(b));
    let mut known = BTreeSet::new();
    writes.retain(|(_, write, _)| known.insert(*write));
    let mut value = None;
    for (_, _, op) in writes {
        match op {
            Op::Put(new) => value = Some(new.clone()),
            Op::Change(changes) => {
                let mut map = match value {
                    Some(Value::Map(map)) => (*map).clone(),
                    _ => Map::new(),
                };
                apply(&mut map, changes);
                value = Some(Value::from(map));
            }
        }
    }
    value
}
