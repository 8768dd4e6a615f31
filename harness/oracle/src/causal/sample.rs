//! Records to test and measure the checker with: a small causal store whose clients roam, and the
//! same with one promise broken.
//!
//! Every replica applies versions in causal order, one origin's in their order; a client carries the
//! clock of what it depends on, and a replica that lacks something of it fetches that first. Requests
//! call, fork and join, hand work over, look at several keys at once and run transactions. What comes
//! out is causal by construction, so whatever the checker finds in it is a false alarm.

use std::collections::{BTreeMap, BTreeSet};
use triptych_model::causes::{Act, Batch, CausalKey, Causes, Event, Holds, Strand};
use triptych_model::history::TxStatus;
use triptych_model::{Name, Random};

/// What a sample is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// About how many operations on data.
    pub operations: u32,
    /// How many replicas there are.
    pub replicas: u32,
    /// How many clients.
    pub clients: u32,
    /// How many keys; every third is a list, a full list, a document.
    pub keys: u32,
    /// How many writes a key gets before it is given up for a new one; 0 if never.
    pub length: u32,
    /// How likely a replica receives something at each turn.
    pub delivery: f64,
    /// Whether there are transactions.
    pub transactions: bool,
}

impl Shape {
    /// A small one with everything in it.
    pub fn small(operations: u32) -> Self {
        Shape {
            operations,
            replicas: 3,
            clients: 4,
            keys: 6,
            length: 0,
            delivery: 0.5,
            transactions: true,
        }
    }
}

/// A promise that the store breaks, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A version does not say what it depends on.
    DropDependency,
    /// A replica applies a version before one that it depends on.
    Reorder,
    /// A request begins without what its client depends on.
    StaleSession,
    /// A branch that is joined forgets what it did.
    ForgetBranch,
    /// A callee does not get what its caller depends on.
    ForgetCaller,
    /// The writes of a transaction arrive one by one.
    TornBatch,
    /// The keys of a look at several keys, or of a transaction, are read at different replicas.
    TornLook,
    /// What an aborted transaction wrote is there all the same.
    KeepAborted,
    /// A replica loses a version.
    LostAtReplica,
    /// All replicas lose a version that was acknowledged.
    LostEverywhere,
}

impl Bug {
    /// Every one.
    pub const ALL: [Bug; 10] = [
        Bug::DropDependency,
        Bug::Reorder,
        Bug::StaleSession,
        Bug::ForgetBranch,
        Bug::ForgetCaller,
        Bug::TornBatch,
        Bug::TornLook,
        Bug::KeepAborted,
        Bug::LostAtReplica,
        Bug::LostEverywhere,
    ];
}

/// How often a bug strikes where it can.
const STRIKES: f64 = 0.2;
/// What a full list keeps.
const KEEP: u32 = 3;

type Clock = Vec<u32>;

fn join(clock: &mut Clock, other: &Clock) {
    for (own, other) in clock.iter_mut().zip(other) {
        *own = (*own).max(*other);
    }
}

struct Version {
    clock: Clock,
    /// Its place in the total order: versions that it depends on have lower ones.
    place: (u64, u32, u32),
    writes: Vec<(u32, u32)>,
    /// Which of its writes nobody ever sees.
    lost: bool,
}

/// Versions of a key by their places: the write and the version's clock.
type Content = BTreeMap<(u64, u32, u32, u32), (u32, Clock)>;

#[derive(Clone, Default)]
struct Replica {
    applied: Clock,
    keys: BTreeMap<u32, Content>,
}

/// A sequential piece of a request, and what it depends on.
#[derive(Clone)]
struct Thread {
    strand: u32,
    clock: Clock,
}

#[derive(Default)]
struct Client {
    clock: Clock,
    strand: u32,
    root: Option<Thread>,
    branches: Vec<Thread>,
    request: u64,
}

struct Store {
    random: Random,
    shape: Shape,
    bug: Option<Bug>,
    causes: Causes,
    last: Vec<Option<u32>>,
    versions: Vec<Vec<Version>>,
    replicas: Vec<Replica>,
    clients: Vec<Client>,
    /// Work that was handed over: whose, and after what.
    handed: Vec<(usize, Thread)>,
    views: Vec<BTreeSet<u32>>,
    /// The keys in use, and how many writes each has had.
    current: Vec<(u32, u32)>,
    looks: u32,
    requests: u64,
    operations: u32,
}

/// A record of this shape, and what happened to be broken in it.
pub fn sample(shape: &Shape, seed: u64, bug: Option<Bug>) -> Causes {
    let mut store = Store {
        random: Random::new(seed),
        shape: *shape,
        bug,
        causes: Causes::default(),
        last: Vec::new(),
        versions: (0..shape.replicas).map(|_| Vec::new()).collect(),
        replicas: Vec::new(),
        clients: Vec::new(),
        handed: Vec::new(),
        views: Vec::new(),
        current: Vec::new(),
        looks: 0,
        requests: 0,
        operations: 0,
    };
    let zero = vec![0; shape.replicas as usize];
    store.replicas = (0..shape.replicas)
        .map(|_| Replica {
            applied: zero.clone(),
            keys: BTreeMap::new(),
        })
        .collect();
    for n in 0..shape.keys {
        let key = store.key(n);
        store.current.push((key, 0));
    }
    for session in 0..shape.clients {
        let strand = store.strand(format!("client {session}"), u64::MAX, session);
        store.clients.push(Client {
            clock: zero.clone(),
            strand,
            ..Client::default()
        });
    }
    while store.operations < shape.operations {
        store.turn();
    }
    store.finish()
}

impl Store {
    fn key(&mut self, kind: u32) -> u32 {
        let key = self.causes.keys.len() as u32;
        self.causes.keys.push(CausalKey {
            name: Name::from(format!("k{key}")),
            holds: match kind % 3 {
                0 => Holds::All,
                1 => Holds::Last,
                _ => Holds::Newest(KEEP),
            },
            last: None,
            copies: Vec::new(),
        });
        self.views.push(BTreeSet::new());
        key
    }

    fn strand(&mut self, name: String, request: u64, session: u32) -> u32 {
        self.causes.strands.push(Strand {
            name: Name::from(name),
            request,
            session,
        });
        self.last.push(None);
        self.causes.strands.len() as u32 - 1
    }

    fn event(&mut self, strand: u32, act: Act) {
        self.last[strand as usize] = Some(self.causes.events.len() as u32);
        self.causes.events.push(Event { strand, act });
    }

    fn after(&mut self, strand: u32, other: u32) {
        if let Some(event) = self.last[other as usize] {
            self.event(strand, Act::After { event });
        }
    }

    fn strikes(&mut self, bug: Bug) -> bool {
        self.bug == Some(bug) && self.random.chance(STRIKES)
    }

    /// A strand that goes on from another one.
    fn from(&mut self, client: usize, thread: &Thread, what: &str) -> Thread {
        let request = self.clients[client].request;
        let name = format!("r{request} {what}");
        let strand = self.strand(name, request, client as u32);
        self.after(strand, thread.strand);
        Thread {
            strand,
            clock: thread.clock.clone(),
        }
    }

    fn turn(&mut self) {
        for replica in 0..self.replicas.len() {
            if self.random.chance(self.shape.delivery) {
                let origin = self.random.below(self.versions.len() as u64) as usize;
                self.deliver(replica, origin);
            }
        }
        if !self.handed.is_empty() && self.random.chance(0.1) {
            let at = self.random.below(self.handed.len() as u64) as usize;
            let (client, mut thread) = self.handed.swap_remove(at);
            self.operate(client, &mut thread);
            return;
        }
        let client = self.random.below(self.clients.len() as u64) as usize;
        let Some(root) = self.clients[client].root.clone() else {
            return self.begin(client);
        };
        if !self.clients[client].branches.is_empty() {
            if self.random.chance(0.3) {
                return self.join(client, root);
            }
            let count = self.clients[client].branches.len() as u64;
            let at = self.random.below(count) as usize;
            let mut branch = self.clients[client].branches[at].clone();
            self.operate(client, &mut branch);
            self.clients[client].branches[at] = branch;
            return;
        }
        match self.random.below(10) {
            0 => {
                let branches = [0, 1].map(|n| self.from(client, &root, &format!("branch {n}")));
                self.clients[client].branches = branches.to_vec();
            }
            1 => {
                let handed = self.from(client, &root, "handed over");
                self.handed.push((client, handed));
            }
            2 | 3 => self.call(client, root),
            4 | 5 => {
                let session = self.clients[client].strand;
                self.after(session, root.strand);
                let known = &mut self.clients[client];
                join(&mut known.clock, &root.clock);
                known.root = None;
            }
            _ => {
                let mut root = root;
                self.operate(client, &mut root);
                self.clients[client].root = Some(root);
            }
        }
    }

    fn begin(&mut self, client: usize) {
        self.requests += 1;
        self.clients[client].request = self.requests;
        let mut session = Thread {
            strand: self.clients[client].strand,
            clock: self.clients[client].clock.clone(),
        };
        if self.strikes(Bug::StaleSession) {
            session.clock.fill(0);
        }
        let root = self.from(client, &session, "F.Run");
        self.clients[client].root = Some(root);
    }

    fn join(&mut self, client: usize, mut root: Thread) {
        for branch in std::mem::take(&mut self.clients[client].branches) {
            self.after(root.strand, branch.strand);
            if !self.strikes(Bug::ForgetBranch) {
                join(&mut root.clock, &branch.clock);
            }
        }
        self.clients[client].root = Some(root);
    }

    fn call(&mut self, client: usize, mut root: Thread) {
        let mut callee = self.from(client, &root, "G.Run");
        if self.strikes(Bug::ForgetCaller) {
            callee.clock.fill(0);
        }
        self.operate(client, &mut callee);
        self.after(root.strand, callee.strand);
        join(&mut root.clock, &callee.clock);
        self.clients[client].root = Some(root);
    }

    /// Something is done to data, at a random replica.
    fn operate(&mut self, client: usize, thread: &mut Thread) {
        let _ = client;
        let replica = self.random.below(self.replicas.len() as u64) as usize;
        self.pull(replica, &thread.clock.clone());
        let kinds = if self.shape.transactions { 10 } else { 8 };
        match self.random.below(kinds) {
            0..=3 => {
                let keys = self.keys(1);
                self.read(thread, replica, &keys, None, None);
            }
            4 | 5 => {
                let keys = self.keys(3);
                self.looks += 1;
                let look = Some(self.looks);
                self.read(thread, replica, &keys, look, None);
            }
            6 | 7 => {
                let keys = self.keys(1);
                self.write(thread, replica, &keys, None);
            }
            _ => self.transaction(thread, replica),
        }
    }

    fn keys(&mut self, most: u64) -> Vec<u32> {
        let mut keys = BTreeSet::new();
        for _ in 0..1 + self.random.below(most) {
            let at = self.random.below(self.current.len() as u64) as usize;
            keys.insert(self.current[at].0);
        }
        keys.into_iter().collect()
    }

    fn transaction(&mut self, thread: &mut Thread, replica: usize) {
        let tx = self.causes.batches.len() as u32;
        let aborted = self.random.chance(0.2);
        self.causes.batches.push(Batch {
            name: Name::from(format!("t{tx}")),
            status: match aborted {
                true => TxStatus::Aborted,
                false => TxStatus::Committed,
            },
        });
        let before = thread.clone();
        let keys = self.keys(2);
        self.read(thread, replica, &keys, None, Some(tx));
        let keys = self.keys(3);
        let keep = !aborted || self.strikes(Bug::KeepAborted);
        let kept = thread.clock.clone();
        self.write_as(thread, replica, &keys, Some(tx), keep);
        if aborted {
            // What it saw binds nobody; here its strand goes on from what it knows all the same.
            thread.clock = kept;
            join(&mut thread.clock, &before.clock);
        } else {
            self.event(thread.strand, Act::Commit { tx });
        }
    }

    fn read(
        &mut self,
        thread: &mut Thread,
        replica: usize,
        keys: &[u32],
        look: Option<u32>,
        tx: Option<u32>,
    ) {
        for &key in keys {
            self.operations += 1;
            let mut at = replica;
            if self.strikes(Bug::TornLook) {
                at = self.random.below(self.replicas.len() as u64) as usize;
            }
            let content = self.replicas[at]
                .keys
                .get(&key)
                .cloned()
                .unwrap_or_default();
            let now: BTreeSet<u32> = self.shown(key, &content).into_iter().collect();
            for (_, clock) in content.values() {
                join(&mut thread.clock, clock);
            }
            let view = &mut self.views[key as usize];
            let act = Act::Read {
                key,
                more: now.difference(view).copied().collect(),
                less: view.difference(&now).copied().collect(),
                look,
                tx,
            };
            *view = now;
            self.event(thread.strand, act);
        }
    }

    /// What a key shows.
    fn shown(&self, key: u32, content: &Content) -> Vec<u32> {
        let all = content.values().map(|(write, _)| *write);
        let skip = match self.causes.keys[key as usize].holds {
            Holds::All => 0,
            Holds::Last => content.len().saturating_sub(1),
            Holds::Newest(keep) => content.len().saturating_sub(keep as usize),
        };
        all.skip(skip).collect()
    }

    fn write(&mut self, thread: &mut Thread, replica: usize, keys: &[u32], tx: Option<u32>) {
        self.write_as(thread, replica, keys, tx, true);
    }

    fn write_as(
        &mut self,
        thread: &mut Thread,
        replica: usize,
        keys: &[u32],
        tx: Option<u32>,
        keep: bool,
    ) {
        let mut writes = Vec::new();
        for &key in keys {
            self.operations += 1;
            let write = self.causes.names.len() as u32;
            self.causes.names.push(Name::from(format!("w{write}")));
            writes.push((key, write));
            self.event(thread.strand, Act::Write { key, write, tx });
            if self.shape.length > 0
                && let Some(slot) = self.current.iter().position(|(known, _)| *known == key)
            {
                self.current[slot].1 += 1;
                if self.current[slot].1 >= self.shape.length {
                    let new = self.key(slot as u32);
                    self.current[slot] = (new, 0);
                }
            }
        }
        if !keep {
            return;
        }
        let parts = match self.bug {
            Some(Bug::TornBatch) => writes.into_iter().map(|write| vec![write]).collect(),
            _ => vec![writes],
        };
        for writes in parts {
            let mut clock = self.replicas[replica].applied.clone();
            join(&mut clock, &thread.clock);
            if self.strikes(Bug::DropDependency) {
                clock.fill(0);
            }
            let number = self.versions[replica].len() as u32 + 1;
            clock[replica] = number;
            join(&mut thread.clock, &clock);
            let sum = clock.iter().map(|count| u64::from(*count)).sum();
            let lost = self.strikes(Bug::LostEverywhere);
            self.versions[replica].push(Version {
                place: (sum, replica as u32, number),
                clock,
                writes,
                lost,
            });
            self.apply(replica, replica);
        }
    }

    /// Applies the next version of an origin, if there is one.
    fn apply(&mut self, replica: usize, origin: usize) {
        let next = self.replicas[replica].applied[origin] as usize;
        if next >= self.versions[origin].len() {
            return;
        }
        let lost = replica != origin && self.strikes(Bug::LostAtReplica);
        let version = &self.versions[origin][next];
        let own = &mut self.replicas[replica];
        own.applied[origin] += 1;
        if version.lost || lost {
            return;
        }
        for (nth, (key, write)) in (0u32..).zip(&version.writes) {
            let (sum, at, number) = version.place;
            let content = own.keys.entry(*key).or_default();
            content.insert((sum, at, number, nth), (*write, version.clock.clone()));
            // What has long been overwritten is not kept.
            let keep = match self.causes.keys[*key as usize].holds {
                Holds::All => usize::MAX,
                Holds::Last => 1,
                Holds::Newest(keep) => keep as usize,
            };
            while content.len() > keep {
                content.pop_first();
            }
        }
    }

    /// A replica receives the next version of an origin, if it has what that depends on.
    fn deliver(&mut self, replica: usize, origin: usize) -> bool {
        let own = &self.replicas[replica].applied;
        let Some(version) = self.versions[origin].get(own[origin] as usize) else {
            return false;
        };
        let others = version.clock.iter().zip(own).enumerate();
        let ready = others
            .into_iter()
            .all(|(at, (needs, has))| at == origin || needs <= has);
        // Where clients fetch what they need, there is little left to be received too early.
        let ready = ready || self.bug == Some(Bug::Reorder);
        if ready {
            self.apply(replica, origin);
        }
        ready
    }

    /// A replica gets all that a client depends on.
    fn pull(&mut self, replica: usize, clock: &Clock) {
        loop {
            let mut moved = false;
            for origin in 0..clock.len() {
                while self.replicas[replica].applied[origin] < clock[origin]
                    && self.deliver(replica, origin)
                {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn finish(mut self) -> Causes {
        let all: Clock = self.versions.iter().map(|all| all.len() as u32).collect();
        for replica in 0..self.replicas.len() {
            self.pull(replica, &all);
        }
        for key in 0..self.causes.keys.len() as u32 {
            let contents = self.replicas.iter();
            let contents = contents.map(|replica| {
                let content = replica.keys.get(&key).cloned().unwrap_or_default();
                self.shown(key, &content)
            });
            let mut contents: Vec<Vec<u32>> = contents.collect();
            let known = &mut self.causes.keys[key as usize];
            known.last = Some(contents.remove(0));
            let copies = (1..).zip(contents);
            let copies = copies.map(|(n, content)| (Name::from(format!("replica {n}")), content));
            known.copies = copies.collect();
        }
        self.causes
    }
}
