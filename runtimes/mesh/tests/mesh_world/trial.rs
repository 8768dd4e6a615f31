//! One random cluster with one random run of faults, by a seed.

use super::backing;
use super::client::{Counts, KEYS, Session, Shared, key, shown};
use super::judge::{History, judge};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_mesh::backing::tables::TableBridge;
use triptych_mesh::message::{Answer, Question};
use triptych_mesh::ring::Standing;
use triptych_mesh::sim::{SimMesh, lan};
use triptych_mesh::{Bugs, Clock, Config, Context, Level, NodeBug, Reply, Request};
use triptych_nodes::NodeId;
use triptych_nodes::sim::{Path, SimConfig};
use triptych_world::latency::Dist;
use triptych_world::{MS, Nanos, Options, Random, SECOND, World, mix, mix_str};

/// What came of a trial.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) level: Level,
    pub(crate) servers: u16,
    /// What is wrong.
    pub(crate) wrong: Vec<String>,
    pub(crate) counts: Counts,
    /// Epochs that there were.
    pub(crate) epochs: u64,
    /// Slots that were used.
    pub(crate) slots: usize,
    /// Whether all servers' data were lost at once.
    pub(crate) ruined: bool,
    pub(crate) digest: u64,
    pub(crate) history: History,
}

/// What a seed leaves open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) level: Option<Level>,
    pub(crate) servers: Option<u16>,
    pub(crate) bugs: Bugs,
    /// No faults at all.
    pub(crate) calm: bool,
}

/// Runs the trial of a seed.
pub(crate) fn run(seed: u64) -> Outcome {
    run_as(seed, Wish::default())
}

/// Runs the trial of a seed, with some things as wished.
pub(crate) fn run_as(seed: u64, wish: Wish) -> Outcome {
    let seed_of = mix_str(seed, "trial");
    let body = move |world| async move { trial(seed, wish, world).await };
    World::simulate(seed_of, Options::default(), body).expect("there is always a next heartbeat")
}

/// The first seed at which a defect is seen, and the first thing that is wrong then.
pub(crate) fn first_seen(bug: NodeBug, level: Option<Level>, seeds: u64) -> Option<(u64, String)> {
    let wish = Wish {
        level,
        bugs: Bugs {
            node: Some(bug),
            ..Bugs::default()
        },
        ..Wish::default()
    };
    let seen = |seed| {
        let wrong = run_as(seed, wish).wrong;
        wrong.into_iter().next().map(|words| (seed, words))
    };
    (0..seeds).find_map(seen)
}

fn plan(random: &mut Random, wish: Wish) -> (Config, SimConfig) {
    let level = Level::ALL[random.below(3) as usize];
    let level = wish.level.unwrap_or(level);
    let servers = wish.servers.unwrap_or(2 + random.below(4) as u16);
    let mut config = Config::of(servers, level);
    if level == Level::Replicated && servers > 3 && random.below(3) == 0 {
        config.replicas = 2;
    }
    config.timing.keep_for = [50 * MS, 2 * SECOND][random.below(2) as usize];
    config.timing.disseminate_every = [0, 0, 30 * MS][random.below(3) as usize];
    config.limits.cache_keys = [0, 3, 2][random.below(3) as usize];
    let network = match random.below(3) {
        0 => lan(),
        1 => SimConfig {
            network: Path::new(Dist::Uniform {
                low: 0.05,
                high: 8.0,
            }),
            ..lan()
        },
        _ => SimConfig {
            network: Path {
                loss: 0.02,
                duplication: 0.05,
                reorder: 0.05,
                ..Path::new(Dist::Uniform {
                    low: 0.05,
                    high: 2.0,
                })
            },
            ..lan()
        },
    };
    (config, network)
}

async fn trial(seed: u64, wish: Wish, world: World) -> Outcome {
    let mut random = world.random("plan");
    let (config, network) = plan(&mut random, wish);
    let (level, servers) = (config.level, config.servers.len() as u16);
    let quietly = network.network;
    let (_, behind) = backing(&world);
    let bridge = TableBridge::new(&world, Rc::clone(&behind.store), behind.tables.clone());
    let mesh = SimMesh::start(&world, config, network, Some(behind), wish.bugs);
    let mesh = mesh.expect("the plan makes clusters that can be");
    let shared = Rc::new(Shared {
        events: RefCell::default(),
        breaches: RefCell::default(),
        next_tag: RefCell::new(0),
        counts: RefCell::default(),
    });
    if !mesh.ready(20 * SECOND).await {
        shared.breaches.borrow_mut().push("never ready".to_owned());
    }
    let over = Rc::new(Cell::new(false));
    let chaos = Chaos {
        world: world.clone(),
        mesh: mesh.clone(),
        random: Random::new(mix(seed, 1)),
        over: Rc::clone(&over),
        gentle: level == Level::Replicated,
        quietly,
    };
    let chaos = (!wish.calm).then(|| world.spawn("chaos", chaos.run()));
    let mut tasks = Vec::new();
    for client in 1..=3 + random.below(3) {
        let session = Session {
            world: world.clone(),
            mesh: mesh.clone(),
            shared: Rc::clone(&shared),
            client,
            writes: Rc::default(),
            context: Context::default(),
            known: BTreeSet::new(),
        };
        let luck = Random::new(mix(mix(seed, 2), client));
        tasks.push(world.spawn("client", session.run(luck, 40 + random.below(40))));
    }
    for task in tasks {
        task.await;
    }
    over.set(true);
    if let Some(chaos) = chaos {
        chaos.await;
    }
    let mut history = History::default();
    if !mesh.quiet(60 * SECOND).await {
        let all = mesh.servers().iter();
        let gauges: Vec<_> = all.map(|&server| mesh.sim().gauges(server)).collect();
        let notices: Vec<String> = mesh
            .sim()
            .take_notices()
            .iter()
            .rev()
            .take(8)
            .map(|n| format!("{} {}: {}", n.at, n.node, n.line))
            .collect();
        let words = format!("never quiet: {gauges:?} {notices:?}");
        shared.breaches.borrow_mut().push(words);
    }
    let ring = match bridge.answer(Question::Ring).await {
        Answer::Ring(Some(ring)) => ring,
        other => panic!("{other:?}"),
    };
    let dead = ring.seats.iter();
    let dead = dead.filter(|seat| matches!(seat.standing, Standing::Dead(_)));
    history.dead = dead.map(|seat| seat.slot.0).collect();
    let mut survived = Clock::default();
    for &server in mesh.servers() {
        let read = Request::Read {
            deps: Clock::default(),
            own: Vec::new(),
            keys: (0..KEYS).map(key).collect(),
        };
        match mesh.port_only(server).ask(read).await {
            Ok(Reply::Read { seen, stable }) => {
                survived.join(&stable);
                let all = seen.iter().enumerate();
                let all = all.map(|(nth, seen)| (nth, shown(nth, seen.value.as_ref())));
                history.ends.push(all.collect());
            }
            other => {
                let words = format!("no last look at {server}: {other:?}");
                shared.breaches.borrow_mut().push(words);
            }
        }
    }
    let keys = (0..KEYS).map(key).collect();
    if let Answer::Rows(rows) = bridge.answer(Question::Fetch { keys }).await {
        let values = rows
            .iter()
            .map(|row| row.as_ref().and_then(|row| row.entry.seen().value));
        let all = values.enumerate();
        let all = all.map(|(nth, value)| (nth, shown(nth, value.as_ref())));
        history.ends.push(all.collect());
    }
    history.survived = survived.iter().map(|(slot, n)| (slot.0, n)).collect();
    history.events = shared.events.take();
    history.breaches = shared.breaches.take();
    let ruined = ring.ruined > 0;
    let counts = *shared.counts.borrow();
    let mut wrong = match ruined {
        // Everything but the store was lost: what remains is that nothing counts twice and all agree.
        true => Vec::new(),
        false => judge(level, &history),
    };
    if ruined
        && history
            .ends
            .iter()
            .any(|end| Some(end) != history.ends.first())
    {
        wrong.push("ends differ".to_owned());
    }

    Outcome {
        seed,
        level,
        servers,
        wrong,
        counts,
        epochs: ring.epoch,
        slots: ring.slots(),
        ruined,
        digest: mesh.sim().digest(),
        history,
    }
}

/// Whoever does harm.
struct Chaos {
    world: World,
    mesh: SimMesh,
    random: Random,
    over: Rc<Cell<bool>>,
    /// One failure at a time, and the next one only when all is well again.
    gentle: bool,
    quietly: Path,
}

impl Chaos {
    fn gauge(&self, server: NodeId, name: &str) -> u64 {
        self.mesh.gauge(server, name).unwrap_or(0)
    }

    /// Whether the data survive without some servers: another one that is whole is on the newest
    /// ring, and nobody is cut off.
    fn can_spare(&self, victims: &[NodeId]) -> bool {
        let servers = self.mesh.servers().iter().copied();
        let newest = servers.clone().map(|server| self.gauge(server, "epoch"));
        let newest = newest.max().unwrap_or(0);
        let mut others = servers.filter(|server| !victims.contains(server));
        others
            .any(|server| self.gauge(server, "whole") == 1 && self.gauge(server, "epoch") == newest)
    }

    async fn pause(&mut self, most: Nanos) {
        let span = self.random.below(most);
        self.world.sleep(span).await;
    }

    async fn run(mut self) {
        let mut killed: BTreeMap<NodeId, ()> = BTreeMap::new();
        let mut parted = false;
        while !self.over.get() {
            self.pause(150 * MS).await;
            let servers = self.mesh.servers().to_vec();
            let victim = servers[self.random.below(servers.len() as u64) as usize];
            let kind = self.random.below(8);
            if self.gentle && kind < 4 {
                // What was hurt before has been noticed, and has come back.
                self.heal(&mut killed);
                parted = false;
                self.world.sleep(700 * MS).await;
                self.mesh.ready(10 * SECOND).await;
                self.world.sleep(100 * MS).await;
            }
            match kind {
                0 | 1 => {
                    if self.can_spare(&[victim]) && !parted {
                        self.mesh.sim().kill(victim);
                        killed.insert(victim, ());
                    }
                }
                2 => {
                    if self.can_spare(&[victim]) && killed.is_empty() {
                        let others = servers.iter().copied().filter(|&other| other != victim);
                        let others: Vec<NodeId> = others.collect();
                        self.mesh.sim().partition(&[victim], &others);
                        parted = true;
                        if self.random.below(3) == 0 {
                            self.mesh.cut_store(victim, true);
                        }
                    }
                }
                3 => {
                    if self.can_spare(&[victim]) {
                        let span = self.random.below(300) * MS;
                        self.mesh.sim().stall(victim, span);
                    }
                }
                4 => self.mesh.cut_store(victim, self.random.below(2) == 0),
                5 => {
                    let rate = self.random.below(8) as f64 / 100.0;
                    let path = Path {
                        loss: rate,
                        duplication: rate,
                        reorder: rate,
                        ..self.quietly
                    };
                    self.mesh.sim().set_network(path);
                }
                _ => {
                    for (&server, ()) in &killed {
                        self.mesh.sim().restart(server);
                    }
                    killed.clear();
                    self.mesh.sim().heal_all();
                    parted = false;
                }
            }
        }
        self.heal(&mut killed);
        self.mesh.sim().set_network(self.quietly);
        self.mesh.ready(20 * SECOND).await;
    }

    fn heal(&mut self, killed: &mut BTreeMap<NodeId, ()>) {
        for (&server, ()) in killed.iter() {
            self.mesh.sim().restart(server);
        }
        killed.clear();
        self.mesh.sim().heal_all();
        for &server in self.mesh.servers() {
            self.mesh.cut_store(server, false);
        }
    }
}
