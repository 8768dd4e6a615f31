//! Simulated appends per second of one core, and how throughput and latency in
//! simulated time grow with engines and shards.
//!
//! `cargo bench -p triptych-log --bench sim`

use std::cell::RefCell;
use std::rc::Rc;
use triptych_log::sim::{SimCluster, lan};
use triptych_log::{Book, Bugs, Config, Shape};
use triptych_world::{Nanos, Options, SECOND, World};

/// What one load came to.
struct Measured {
    appends: u64,
    /// Simulated seconds.
    simulated: f64,
    /// Seconds that the core was ours: what wall time is on a machine that does nothing else.
    busy: f64,
    p50: Nanos,
    p99: Nanos,
}

/// Closed loop: so many clients on each engine append records of so many bytes, each to a logbook of
/// its engine, until there are enough.
fn load(
    engines: u16,
    logs: u16,
    indexes: u16,
    clients: u64,
    appends: u64,
    bytes: usize,
) -> Measured {
    let shape = Shape {
        logs,
        metas: 3,
        copies: 3,
        indexes,
    };
    let begin = busy();
    let (latencies, simulated) = World::simulate(1, Options::default(), move |world| async move {
        let config = Config::of(1, 3, 3, engines, shape);
        let cluster = SimCluster::start(&world, config, lan(), Bugs::default()).expect("it can be");
        assert!(cluster.ready(10 * SECOND).await, "there is no first view");
        let (start, latencies) = (world.now(), Rc::new(RefCell::new(Vec::new())));
        let ports: Vec<_> = cluster
            .config()
            .engines
            .iter()
            .map(|&engine| cluster.port(engine))
            .collect();
        let each = appends / (u64::from(engines) * clients);
        let mut tasks = Vec::new();
        for (number, port) in (0_u64..).zip(ports) {
            for client in 0..clients {
                let book = Book::new(Rc::clone(&port), number * clients + client);
                let (latencies, now) = (Rc::clone(&latencies), world.clone());
                tasks.push(world.spawn("client", async move {
                    let data = vec![7; bytes];
                    for _ in 0..each {
                        let begin = now.now();
                        book.append(&[1 + client], &data)
                            .await
                            .expect("nothing fails here");
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
        appends: latencies.len() as u64,
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
    println!(
        "simulated; service times as calibrated, links as in `ec2-lan`; 3 storages, 3 sequencers, 3 copies"
    );
    println!(
        "engines logs indexes clients bytes   appends/s of core   appends/s simulated   p50 ms   p99 ms"
    );
    // Or one of one's own: five numbers in the order of the columns.
    let own: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let own = match own[..] {
        [engines, logs, indexes, clients, bytes] => {
            vec![(
                engines as u16,
                logs as u16,
                indexes as u16,
                clients,
                bytes as usize,
            )]
        }
        _ => Vec::new(),
    };
    let shipped = [
        (1, 1, 1, 1, 64),
        (4, 1, 1, 250, 64),
        (4, 1, 1, 250, 1024),
        (1, 1, 1, 250, 1024),
        (2, 1, 1, 250, 1024),
        (4, 2, 1, 250, 1024),
        (8, 1, 1, 250, 1024),
        (8, 1, 8, 250, 1024),
        (8, 2, 1, 250, 1024),
        (8, 4, 1, 250, 1024),
    ];
    let all = if own.is_empty() {
        &shipped[..]
    } else {
        &own[..]
    };
    for &(engines, logs, indexes, clients, bytes) in all {
        let appends = if clients == 1 { 5_000 } else { 400_000 };
        let m = load(engines, logs, indexes, clients, appends, bytes);
        println!(
            "{engines:7} {logs:4} {indexes:7} {clients:7} {bytes:5} {:19.0} {:21.0} {:8.3} {:8.3}",
            m.appends as f64 / m.busy,
            m.appends as f64 / m.simulated,
            m.p50 as f64 / 1e6,
            m.p99 as f64 / 1e6,
        );
    }
}
