//! What the drivers themselves cost: a front node gives what clients append to three copies, and
//! answers when all have it. The nodes do next to nothing.
//!
//! In virtual time it says how many appends a second of one core simulates (by the time of the
//! processor where the system tells it, as on Linux, so that it does not matter what else the machine
//! does); over TCP, how many appends and how long one takes when it is alone, with everything on this
//! machine.

use criterion::{BenchmarkId, Criterion, Throughput};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use triptych_nodes::sim::{Path, Place, Sim, SimConfig};
use triptych_nodes::tcp::{self, Book, Event, Limits, Options, Server};
use triptych_nodes::{Durability, Message, Nanos, Node, NodeId, Out, Peer, Stored, Write};
use triptych_world::latency::Dist;
use triptych_world::{US, World};

const FRONT: NodeId = NodeId(1);
const COPIES: [NodeId; 3] = [NodeId(2), NodeId(3), NodeId(4)];

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Word {
    Append(u64),
    Appended(u64),
    Keep { below: u64, items: Vec<u64> },
    Kept { below: u64 },
}

impl Message for Word {
    fn kind(&self) -> &'static str {
        match self {
            Word::Append(_) => "append",
            Word::Appended(_) => "appended",
            Word::Keep { .. } => "keep",
            Word::Kept { .. } => "kept",
        }
    }

    fn size(&self) -> usize {
        match self {
            Word::Keep { items, .. } => 16 + 8 * items.len(),
            _ => 16,
        }
    }

    fn units(&self) -> usize {
        match self {
            Word::Keep { items, .. } => items.len(),
            _ => 1,
        }
    }
}

#[derive(Default)]
struct Front {
    next: u64,
    items: Vec<u64>,
    waiting: VecDeque<(u64, Peer, u64)>,
    kept: BTreeMap<Peer, u64>,
}

#[derive(Default)]
struct Copy {
    below: u64,
}

impl Node for Front {
    type Message = Word;

    fn on_start(&mut self, _now: Nanos, _out: &mut Out<Word>) {
        self.kept = COPIES.map(|copy| (Peer::Node(copy), 0)).into();
    }

    fn on_message(&mut self, _now: Nanos, from: Peer, message: Word, out: &mut Out<Word>) {
        match message {
            Word::Append(op) => {
                self.waiting.push_back((self.next, from, op));
                self.items.push(op);
                self.next += 1;
            }
            Word::Kept { below } => {
                self.kept.insert(from, below);
                let below = self.kept.values().copied().min().unwrap_or(0);
                while let Some((_, to, op)) = self.waiting.pop_front_if(|(at, ..)| *at < below) {
                    out.send(to, Word::Appended(op));
                }
            }
            Word::Appended(_) | Word::Keep { .. } => {}
        }
    }

    fn on_turn_end(&mut self, _now: Nanos, out: &mut Out<Word>) {
        let items = std::mem::take(&mut self.items);
        if !items.is_empty() {
            let below = self.next;
            for copy in COPIES {
                let items = items.clone();
                out.send(copy, Word::Keep { below, items });
            }
        }
    }

    fn on_timer(&mut self, _now: Nanos, _timer: u64, _out: &mut Out<Word>) {}
    fn on_persisted(&mut self, _now: Nanos, _token: u64, _out: &mut Out<Word>) {}
    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Word>) {}
    fn gauges(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

impl Node for Copy {
    type Message = Word;

    fn on_start(&mut self, _now: Nanos, _out: &mut Out<Word>) {}

    fn on_message(&mut self, _now: Nanos, _from: Peer, message: Word, out: &mut Out<Word>) {
        if let Word::Keep { below, items } = message {
            self.below = self.below.max(below);
            let write = Write {
                key: below.to_be_bytes().to_vec(),
                value: Some(items.iter().flat_map(|item| item.to_le_bytes()).collect()),
            };
            out.persist(None, vec![write], Durability::Lazy);
            out.send(FRONT, Word::Kept { below: self.below });
        }
    }

    fn on_timer(&mut self, _now: Nanos, _timer: u64, _out: &mut Out<Word>) {}
    fn on_persisted(&mut self, _now: Nanos, _token: u64, _out: &mut Out<Word>) {}
    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Word>) {}
    fn gauges(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

fn factory(id: NodeId) -> impl Fn(&dyn Stored) -> Box<dyn Node<Message = Word>> {
    move |_| match id {
        FRONT => Box::new(Front::default()),
        _ => Box::new(Copy::default()),
    }
}

fn nodes() -> impl Iterator<Item = NodeId> {
    [FRONT].into_iter().chain(COPIES)
}

/// The time that this thread has run.
fn processor_time(since: Instant) -> Duration {
    let Ok(stat) = std::fs::read_to_string("/proc/thread-self/schedstat") else {
        return since.elapsed();
    };
    let ran = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    ran.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// So many clients append one thing after the other, until so much is appended.
fn simulate(clients: usize, appends: u64) -> u64 {
    let body = move |world: World| async move {
        let mut config = SimConfig::ideal(0.0);
        config.network = Path::new(Dist::Lnr {
            median: 0.05,
            sigma: 0.2,
            rare_p: 0.001,
            rare_median: 1.0,
            rare_sigma: 0.5,
        });
        config.local = Path::new(Dist::Constant { value: 0.005 });
        config.service.other = 2 * US;
        config.service.per_unit_ps = 300_000;
        let sim = Sim::new(&world, config);
        for node in nodes() {
            sim.add(node, factory(node));
        }
        let (left, done) = (Rc::new(Cell::new(appends)), Rc::new(Notify::new()));
        for _ in 0..clients {
            let own: Rc<Cell<Option<triptych_nodes::sim::Client<Word>>>> = Rc::default();
            let (again, left, done) = (Rc::clone(&own), Rc::clone(&left), Rc::clone(&done));
            let client = sim.client(Place::With(FRONT), move |_, _| {
                left.set(left.get().saturating_sub(1));
                if left.get() == 0 {
                    done.notify_one();
                } else if let Some(client) = again.take() {
                    client.send(FRONT, Word::Append(left.get()));
                    again.set(Some(client));
                }
            });
            client.send(FRONT, Word::Append(0));
            own.set(Some(client));
        }
        done.notified().await;
        sim.packets()
    };
    World::simulate(1, triptych_world::Options::default(), body).expect("it does not stand still")
}

/// The same over TCP; one client with so many appends at the same time. Returns how long it took.
fn over_tcp(at_once: u64, appends: u64) -> Duration {
    let servers: Vec<(NodeId, Server)> = nodes()
        .map(|node| {
            (
                node,
                Server::bind(Options::new(node, "bench")).expect("a port"),
            )
        })
        .collect();
    let book: Book = servers
        .iter()
        .map(|(node, server)| (*node, server.address().to_string()))
        .collect();
    let running: Vec<_> = servers
        .into_iter()
        .map(|(node, server)| {
            let (handle, book) = (server.handle(), book.clone());
            (
                handle,
                std::thread::spawn(move || server.run(book, factory(node))),
            )
        })
        .collect();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let took = tokio::task::LocalSet::new().block_on(&runtime, async {
        let client: tcp::Client<Word> = tcp::Client::new("bench", book, Limits::default());
        let (mut sent, mut done) = (0, 0);
        let append = |sent: &mut u64| {
            *sent += 1;
            assert!(client.send(FRONT, &Word::Append(*sent)));
        };
        // Connections are made by the first one.
        append(&mut sent);
        let mut begun: Option<Instant> = None;
        while done < appends {
            match client.next().await {
                Event::Message(_, Word::Appended(_)) => done += 1,
                other => panic!("{other:?}"),
            }
            begun.get_or_insert_with(Instant::now);
            while sent < appends && sent - done < at_once {
                append(&mut sent);
            }
        }
        begun.expect("it has begun").elapsed()
    });
    for (handle, thread) in running {
        handle.stop();
        thread.join().expect("no panic").expect("no failure");
    }
    took
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulated appends");
    group.sample_size(10);
    for clients in [1, 16, 128, 1_024] {
        let count = 100_000;
        group.throughput(Throughput::Elements(count));
        let id = BenchmarkId::new("clients", clients);
        group.bench_function(id, |bench| {
            bench.iter_custom(|times| {
                let now = Instant::now();
                let begun = processor_time(now);
                for _ in 0..times {
                    black_box(simulate(clients, count));
                }
                processor_time(now) - begun
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("appends over TCP");
    group.sample_size(10);
    for (at_once, count) in [(1, 5_000), (64, 50_000), (1_024, 200_000)] {
        group.throughput(Throughput::Elements(count));
        let id = BenchmarkId::new("at once", at_once);
        group.bench_function(id, |bench| {
            bench.iter_custom(|times| (0..times).map(|_| over_tcp(at_once, count)).sum());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    appends(&mut criterion);
    criterion.final_summary();
}
