//! Simulated cache operations per second of one core.
//!
//! `cargo bench -p triptych-mesh --bench sim`

use std::cell::RefCell;
use std::rc::Rc;
use triptych_api::{Name, Value};
use triptych_mesh::backing::tables::TableBridge;
use triptych_mesh::sim::{Backing, SimMesh, lan};
use triptych_mesh::{Bugs, Config, Context, Key, Level, Op, Reply, Request, WriteId};
use triptych_store::{SimStore, Store, StoreConfig, TableSchema};
use triptych_world::latency::Profile;
use triptych_world::{Nanos, Options, SECOND, World, mix};

/// What one load came to.
struct Measured {
    operations: u64,
    /// Simulated seconds.
    simulated: f64,
    /// Seconds that the core was ours: what wall time is on a machine that does nothing else.
    busy: f64,
    p50: Nanos,
    p99: Nanos,
}

/// Closed loop: so many clients on each server read four times and write once, one of so many keys
/// each time, in a context that they begin anew every five operations.
fn load(servers: u16, clients: u64, keys: u64, operations: u64, level: Level) -> Measured {
    let begin = busy();
    let (latencies, simulated) = World::simulate(1, Options::default(), move |world| async move {
        let profile = Profile::shipped("aws-2025").expect("a shipped profile");
        let config = StoreConfig {
            throttling: false,
            ..StoreConfig::default()
        };
        let store = SimStore::new(&world, &profile, config).expect("it has latencies");
        for schema in [TableSchema::new("docs", "K"), TableBridge::schema()] {
            let made = store.tables_mut().create_table(schema);
            made.expect("there is no such table yet");
        }
        let behind: Rc<dyn Store> = Rc::new(store);
        let backing = Backing {
            store: behind,
            tables: vec![Name::from("docs")],
        };
        let config = Config::of(servers, level);
        let mesh = SimMesh::start(&world, config, lan(), Some(backing), Bugs::default());
        let mesh = mesh.expect("it can be");
        assert!(mesh.ready(10 * SECOND).await, "there is no ring");
        let latencies = Rc::new(RefCell::new(Vec::new()));
        let each = operations / (u64::from(servers) * clients);
        let names: Rc<[Key]> = (0..keys)
            .map(|nth| Key::new("docs", &nth.to_string()))
            .collect();
        let start = world.now();
        let mut tasks = Vec::new();
        for (nth, &server) in (0_u64..).zip(mesh.servers()) {
            for client in 0..clients {
                let (latencies, now) = (Rc::clone(&latencies), world.clone());
                let (port, names) = (mesh.port(server), Rc::clone(&names));
                let client = nth * clients + client;
                tasks.push(world.spawn("client", async move {
                    let mut context = Context::default();
                    for number in 0..each {
                        if number % 5 == 0 {
                            context = Context::default();
                        }
                        let key = names[(mix(client, number) % keys) as usize].clone();
                        let begin = now.now();
                        let request = match number % 5 {
                            4 => Request::Write {
                                write: WriteId { client, number },
                                deps: context.deps.clone(),
                                own: context.own_clock(),
                                ops: vec![(key, Op::Put(Value::Int(number as i64)))],
                            },
                            _ => Request::Read {
                                deps: context.deps.clone(),
                                own: Vec::new(),
                                keys: vec![key],
                            },
                        };
                        match port.ask(request).await.expect("nothing fails here") {
                            Reply::Read { seen, .. } => {
                                seen.iter().for_each(|seen| context.saw(seen));
                            }
                            Reply::Written { version, .. } => context.wrote(version),
                            other => panic!("{other:?}"),
                        }
                        latencies.borrow_mut().push(now.now() - begin);
                    }
                }));
            }
        }
        for task in tasks {
            task.await;
        }
        (latencies.take(), world.now() - start)
    })
    .expect("nobody waits for ever");
    let busy = busy() - begin;
    let mut latencies = latencies;
    latencies.sort_unstable();
    let quantile = |of: usize| latencies[(latencies.len() * of / 100).min(latencies.len() - 1)];
    Measured {
        operations: latencies.len() as u64,
        simulated: simulated as f64 / SECOND as f64,
        busy,
        p50: quantile(50),
        p99: quantile(99),
    }
}

/// Seconds that this thread has run so far.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let ran = stat
        .split(' ')
        .next()
        .and_then(|ran| ran.parse::<u64>().ok());
    ran.expect("the first number is the time on a core, in nanoseconds") as f64 / 1e9
}

fn main() {
    println!("simulated; service times as shipped, links as in `ec2-lan`; 4 reads to 1 write");
    println!(
        "level       servers clients  keys   operations/s of core   operations/s simulated   p50 ms   p99 ms"
    );
    let all = [
        (Level::Async, 3, 1, 1_000),
        (Level::Async, 3, 50, 1_000),
        (Level::Async, 3, 50, 10_000),
        (Level::Synced, 3, 50, 1_000),
        (Level::Replicated, 3, 50, 1_000),
        (Level::Async, 5, 50, 1_000),
    ];
    for (level, servers, clients, keys) in all {
        let operations = if clients == 1 { 20_000 } else { 400_000 };
        let m = load(servers, clients, keys, operations, level);
        println!(
            "{:11} {servers:7} {clients:7} {keys:5} {:22.0} {:24.0} {:8.3} {:8.3}",
            level.name(),
            m.operations as f64 / m.busy,
            m.operations as f64 / m.simulated,
            m.p50 as f64 / 1e6,
            m.p99 as f64 / 1e6,
        );
    }
}
