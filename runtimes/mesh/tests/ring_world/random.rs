//! Random histories: links that deliver when they please, clients that roam, fork and join, ask again
//! elsewhere, and servers that forget, load and fold.

use super::{Broken, Checked, Client, Mesh, key};
use triptych_api::{Change, Value};
use triptych_mesh::{Bug, Key, Op, WriteId};

/// Numbers from a seed: SplitMix64.
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Draws(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 if that is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a case is like.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub seed: u64,
    pub servers: usize,
    pub steps: usize,
    pub bug: Option<Bug>,
    /// One link delivers nothing before the end.
    pub delayed: Option<usize>,
}

impl Case {
    pub fn of(seed: u64, bug: Option<Bug>) -> Self {
        Case {
            seed,
            servers: 1 + (seed % 5) as usize,
            steps: 150,
            bug,
            delayed: None,
        }
    }
}

/// What happened, so that a test can tell whether enough did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Happened {
    pub writes: usize,
    pub batches: usize,
    pub reads: usize,
    pub snapshots: usize,
    pub too_old: usize,
    pub again: usize,
    /// Requests that have become two versions.
    pub twins: usize,
    pub forks: usize,
    pub joins: usize,
    pub evictions: usize,
    pub loads: usize,
    pub folds: usize,
}

impl Happened {
    pub fn add(&mut self, other: &Happened) {
        let all = [
            (&mut self.writes, other.writes),
            (&mut self.batches, other.batches),
            (&mut self.reads, other.reads),
            (&mut self.snapshots, other.snapshots),
            (&mut self.too_old, other.too_old),
            (&mut self.again, other.again),
            (&mut self.twins, other.twins),
            (&mut self.forks, other.forks),
            (&mut self.joins, other.joins),
            (&mut self.evictions, other.evictions),
            (&mut self.loads, other.loads),
            (&mut self.folds, other.folds),
        ];
        all.into_iter().for_each(|(sum, more)| *sum += more);
    }
}

/// A request, and what it writes.
type Asked = (WriteId, Vec<(Key, Op)>);

struct Run {
    case: Case,
    draws: Draws,
    mesh: Mesh,
    clients: Vec<Client>,
    /// What a client was not told of, and asks again.
    waiting: Vec<Option<Asked>>,
    keys: Vec<Key>,
    value: i64,
    resident: bool,
    happened: Happened,
}

/// Runs a case to its end.
pub fn run(case: Case) -> Result<Happened, Broken> {
    let mut draws = Draws::new(case.seed);
    let keys = (0..1 + draws.below(4) as u64).map(key).collect();
    let resident = draws.one_in(2);
    let mut run = Run {
        case,
        mesh: Mesh::new(case.servers, resident, case.bug),
        clients: (0..3).map(Client::new).collect(),
        waiting: vec![None; 3],
        keys,
        value: 0,
        resident,
        happened: Happened::default(),
        draws,
    };
    for _ in 0..case.steps {
        let before = run.mesh.before();
        run.step()?;
        run.mesh.grew(&before)?;
        run.check()?;
    }
    run.end()?;
    Ok(run.happened)
}

impl Run {
    fn check(&self) -> Checked {
        let clients: Vec<&Client> = self.clients.iter().collect();
        self.mesh.check(&clients)
    }

    fn op(&mut self) -> Op {
        self.value += 1;
        match self.draws.below(4) {
            0 => Op::Put(Value::Int(self.value)),
            1 => Op::Put(Value::map([("sum", Value::Int(self.value))])),
            2 => Op::Change(vec![Change::add("sum", self.value)]),
            _ => Op::Change(vec![Change::append_keeping("list", self.value, Some(3))]),
        }
    }

    fn ops(&mut self) -> Vec<(Key, Op)> {
        let from = self.draws.below(self.keys.len());
        let many = if self.draws.one_in(4) {
            2.min(self.keys.len())
        } else {
            1
        };
        let keys = self.keys.iter().cycle().skip(from).take(many);
        let keys: Vec<Key> = keys.cloned().collect();
        self.happened.batches += usize::from(many > 1);
        keys.into_iter().map(|key| (key, self.op())).collect()
    }

    fn some_keys(&mut self) -> Vec<Key> {
        let many = 1 + self.draws.below(self.keys.len());
        let from = self.draws.below(self.keys.len());
        let keys = self.keys.iter().cycle().skip(from).take(many);
        keys.cloned().collect()
    }

    fn step(&mut self) -> Checked {
        let servers = self.mesh.servers();
        let at = self.draws.below(servers);
        let who = self.draws.below(self.clients.len());
        match self.draws.below(100) {
            0..42 => {
                let links = 0..servers;
                let busy: Vec<usize> = links
                    .filter(|&link| Some(link) != self.case.delayed)
                    .filter(|&link| !self.mesh.links[link].is_empty())
                    .collect();
                if !busy.is_empty() {
                    let link = busy[self.draws.below(busy.len())];
                    self.mesh.deliver(link)?;
                }
                Ok(())
            }
            42..62 => self.write(who, at),
            62..78 => {
                self.again(who, at)?;
                let keys = self.some_keys();
                self.happened.reads += 1;
                self.mesh.read(&mut self.clients[who], at, &keys)?;
                Ok(())
            }
            78..82 => {
                self.again(who, at)?;
                let keys = self.some_keys();
                // What somebody knew to be stable, now or a while ago.
                let mut snapshot = self.mesh.cores[at].stable().clone();
                snapshot.join(&self.clients[who].context.deps);
                let at = self.draws.below(servers);
                let seen = self
                    .mesh
                    .read_at(&mut self.clients[who], at, &snapshot, &keys)?;
                self.happened.snapshots += 1;
                self.happened.too_old += usize::from(seen.is_none());
                Ok(())
            }
            82..87 => self.mesh.tell(at, (at + 1) % servers),
            87..90 => {
                self.mesh.compact(&mut self.clients[who], at);
                Ok(())
            }
            90..92 => {
                if self.clients.len() < 6 {
                    self.happened.forks += 1;
                    let id = self.happened.forks as u64 * 16 + self.case.seed % 16 + 3;
                    self.clients.push(self.clients[who].fork(id));
                    self.waiting.push(None);
                }
                Ok(())
            }
            92..94 => {
                if self.clients.len() > 3 && self.waiting.last() == Some(&None) {
                    self.waiting.pop();
                    if let Some(branch) = self.clients.pop() {
                        self.happened.joins += 1;
                        let parent = self.draws.below(3);
                        self.clients[parent].join(&branch);
                    }
                }
                Ok(())
            }
            94..97 => self.behind(at),
            _ => {
                self.happened.folds += 1;
                self.mesh.fold(at);
                Ok(())
            }
        }
    }

    fn write(&mut self, who: usize, at: usize) -> Checked {
        self.again(who, at)?;
        let ops = self.ops();
        self.happened.writes += 1;
        if self.draws.one_in(6) {
            let write = self.clients[who].next();
            self.mesh.ask(&self.clients[who], at, write, ops.clone())?;
            self.waiting[who] = Some((write, ops));
            return Ok(());
        }
        self.mesh.write(&mut self.clients[who], at, ops)?;
        Ok(())
    }

    /// A client that was not told what its write has become asks again before it does anything else.
    fn again(&mut self, who: usize, at: usize) -> Checked {
        if let Some((write, ops)) = self.waiting[who].take() {
            self.happened.again += 1;
            let before = self.mesh.made.len();
            let version = self.mesh.ask(&self.clients[who], at, write, ops)?;
            self.happened.twins += self.mesh.made.len() - before;
            Mesh::told(&mut self.clients[who], &version);
        }
        Ok(())
    }

    /// Something about the store behind.
    fn behind(&mut self, at: usize) -> Checked {
        if self.resident {
            return Ok(());
        }
        self.mesh.store(at, &self.keys)?;
        for number in 0..self.keys.len() {
            let at = self.draws.below(self.mesh.servers());
            let key = self.keys[number].clone();
            if self.draws.one_in(2) && self.mesh.evict(at, &key) {
                self.happened.evictions += 1;
            }
            if self.draws.one_in(4) && self.mesh.cores[at].entry(&key).is_none() {
                self.happened.loads += 1;
                self.mesh.load(at, &key)?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Checked {
        for who in 0..self.clients.len() {
            self.again(who, 0)?;
        }
        self.mesh.settle()?;
        self.mesh.converged()?;
        for at in 0..self.mesh.servers() {
            for who in 0..self.clients.len() {
                let keys = self.keys.clone();
                self.mesh.read(&mut self.clients[who], at, &keys)?;
            }
        }
        self.check()?;
        self.mesh.converged()
    }
}
