//! One random cluster with one random run of faults, by a seed.

use super::backing;
use super::chaos::{Chaos, Harm};
use super::client::{Counts, KEYS, Session, Shared, key, shown};
use super::judge::{History, judge};
use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::pin;
use std::rc::Rc;
use triptych_mesh::backing::tables::TableBridge;
use triptych_mesh::message::{Answer, Message, Question};
use triptych_mesh::ring::Standing;
use triptych_mesh::sim::{SimMesh, lan};
use triptych_mesh::{Bugs, Clock, Config, Context, Level, NodeBug, Reply, Request};
use triptych_nodes::NodeId;
use triptych_nodes::sim::{Client, Path, Place, SimConfig};
use triptych_world::latency::Dist;
use triptych_world::{MS, Nanos, Options, Random, SECOND, World, mix, mix_str};

/// The node that keeps the rows, if one does.
pub(crate) const DATABASE: NodeId = NodeId(9);

/// No trial takes as long as this, or sends so many messages: one that does goes round in circles.
const MOST: (Nanos, u64) = (600 * SECOND, 5_000_000);

/// What came of a trial.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) level: Level,
    pub(crate) servers: u16,
    /// What is wrong.
    pub(crate) wrong: Vec<String>,
    pub(crate) counts: Counts,
    /// The harm that was done to it.
    pub(crate) harm: Harm,
    /// The virtual time that it took.
    pub(crate) took: Nanos,
    /// The messages between nodes, and with clients.
    pub(crate) packets: u64,
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
    /// A node keeps the rows, and may die too.
    pub(crate) database: bool,
    /// How long it may take, and how many messages it may send; the default is enough.
    pub(crate) most: Option<(Nanos, u64)>,
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
    config.timing.store_every = [10 * MS, 100 * MS][random.below(2) as usize];
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
    let (mut config, network) = plan(&mut random, wish);
    if world.random("disseminate").below(8) == 0 {
        config.timing.disseminate_every = Nanos::MAX;
    }
    let (level, servers) = (config.level, config.servers.len() as u16);
    let quietly = network.network;
    let (mesh, bridge) = match wish.database {
        false => {
            let (_, behind) = backing(&world);
            let bridge = TableBridge::new(&world, Rc::clone(&behind.store), behind.tables.clone());
            let mesh = SimMesh::start(&world, config, network, Some(behind), wish.bugs);
            (mesh, Some(bridge))
        }
        true => {
            let mesh = SimMesh::start_on_database(&world, config, network, DATABASE, wish.bugs);
            (mesh, None)
        }
    };
    let mesh = mesh.expect("the plan makes clusters that can be");
    let bridge = Behind::of(&mesh, bridge);
    let setting = Setting {
        seed,
        wish,
        level,
        servers,
        quietly,
        world: world.clone(),
        mesh: mesh.clone(),
        random,
    };
    let course = pin!(setting.run(bridge));
    let endless = pin!(endless(&world, &mesh, wish.most.unwrap_or(MOST)));
    match select(course, endless).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((words, _)) => Outcome {
            seed,
            level,
            servers,
            wrong: vec![words],
            took: world.now(),
            packets: mesh.sim().packets(),
            harm: Harm::default(),
            counts: Counts::default(),
            epochs: 0,
            slots: 0,
            ruined: false,
            digest: mesh.sim().digest(),
            history: History::default(),
        },
    }
}

/// Ends when a trial has taken longer than any should: words for that.
async fn endless(world: &World, mesh: &SimMesh, (time, packets): (Nanos, u64)) -> String {
    loop {
        world.sleep(10 * MS).await;
        let sent = mesh.sim().packets();
        if world.now() >= time || sent >= packets {
            let after = world.now() / MS;
            let state = state(mesh);
            return format!("it does not end: {after} ms, {sent} messages; {state}");
        }
    }
}

/// How the servers are, and what they have noticed last.
fn state(mesh: &SimMesh) -> String {
    let all = mesh.servers().iter();
    let gauges: Vec<_> = all.map(|&server| mesh.sim().gauges(server)).collect();
    let notices = mesh.sim().take_notices();
    let notices = notices.iter().rev().take(8);
    let notices: Vec<String> = notices
        .map(|n| format!("{} {}: {}", n.at, n.node, n.line))
        .collect();
    format!("{gauges:?} {notices:?}")
}

/// What a trial is made of.
struct Setting {
    seed: u64,
    wish: Wish,
    level: Level,
    servers: u16,
    /// The network as it is without harm.
    quietly: Path,
    world: World,
    mesh: SimMesh,
    random: Random,
}

impl Setting {
    async fn run(self, mut bridge: Behind) -> Outcome {
        let Setting {
            seed,
            wish,
            level,
            servers,
            quietly,
            world,
            mesh,
            mut random,
        } = self;
        let harm = Rc::new(RefCell::new(Harm::default()));
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
            harm: Rc::clone(&harm),
            gentle: level == Level::Replicated,
            database: wish.database,
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
            let words = format!("never quiet: {}", state(&mesh));
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
            harm: *harm.borrow(),
            took: world.now(),
            packets: mesh.sim().packets(),
            digest: mesh.sim().digest(),
            history,
        }
    }
}

/// What stands behind the caches, to be looked at.
enum Behind {
    Tables(TableBridge),
    Node(Client<Message>, mpsc::UnboundedReceiver<Message>),
}

impl Behind {
    fn of(mesh: &SimMesh, tables: Option<TableBridge>) -> Self {
        let Some(tables) = tables else {
            let (sender, answers) = mpsc::unbounded();
            let client = mesh.sim().client(Place::With(DATABASE), move |_, message| {
                // The trial may be over.
                let _ = sender.unbounded_send(message);
            });
            return Behind::Node(client, answers);
        };
        Behind::Tables(tables)
    }

    async fn answer(&mut self, question: Question) -> Answer {
        match self {
            Behind::Tables(tables) => tables.answer(question).await,
            Behind::Node(client, answers) => {
                client.send(DATABASE, Message::Ask { op: 0, question });
                match answers.next().await {
                    Some(Message::Answer { answer, .. }) => answer,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
