//! The micro workload on a ring of cache servers, and on one Redis that all clients share.
//!
//! `cargo bench -p triptych-cluster --bench caches -- [--seconds N] [--clients 1,16] [--payloads 8]
//! [--keys 100000] [--servers 3]`
//!
//! Redis is taken from the system (`apt-get install redis-server`); if it is not installed it is left
//! out and named. Everything runs on this machine, clients too, so the figures compare work per
//! request more than they say what either can do. Beside reads and writes, one server of a ring alone
//! is written to, to show that what goes round is not one message per round trip.

#[path = "../shared/asked.rs"]
mod asked;
#[path = "../shared/line.rs"]
mod line;
#[path = "../shared/node.rs"]
mod node;
mod redis;
#[path = "../shared/resp.rs"]
mod resp;
mod ring;
#[path = "../shared/servers.rs"]
mod servers;

use servers::installed;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use triptych_cluster::bench::cache::{Load, Roaming};
use triptych_cluster::bench::drive::{Pace, Plan};
use triptych_load::table::plain;
use triptych_world::{SECOND, World};

/// What to do.
#[derive(Clone)]
struct Settings {
    seconds: u64,
    clients: Vec<usize>,
    payloads: Vec<usize>,
    keys: usize,
    servers: usize,
}

impl Settings {
    fn read(arguments: &[String]) -> Result<Settings, String> {
        let (mut seconds, mut keys, mut servers) = (vec![5], vec![100_000], vec![3]);
        let (mut clients, mut payloads) = (vec![1, 16, 64], vec![8]);
        let mut known = [
            ("--seconds", &mut seconds),
            ("--clients", &mut clients),
            ("--payloads", &mut payloads),
            ("--keys", &mut keys),
            ("--servers", &mut servers),
        ];
        asked::numbers(arguments, &mut known)?;
        Ok(Settings {
            seconds: seconds[0] as u64,
            clients,
            payloads,
            keys: keys[0],
            servers: servers[0].max(2),
        })
    }

    /// All loads: what the paper measures, and its parts.
    fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for reads in [0.8, 1.0, 0.0] {
            for &payload in &self.payloads {
                for &clients in &self.clients {
                    loads.push(Load {
                        clients,
                        keys: self.keys,
                        zipf: 1.0,
                        payload,
                        reads,
                        read_keys: 1,
                        roaming: Roaming::Random,
                        session: 0,
                        plan: self.plan(),
                    });
                }
            }
        }
        loads
    }

    fn plan(&self) -> Plan {
        Plan {
            pace: Pace::Closed,
            warmup: SECOND,
            span: self.seconds * SECOND,
            seed: 1,
        }
    }
}

const HEAD: [&str; 13] = [
    "system",
    "what",
    "clients",
    "value",
    "done/s",
    "read p50 ms",
    "p99 ms",
    "write p50 ms",
    "p99 ms",
    "per CPU-s",
    "CPU s",
    "generator CPU s",
    "verdict",
];

type Row = [String; HEAD.len()];

async fn compare(world: World, settings: Settings, dir: &Path) -> io::Result<bool> {
    let (mut table, mut kept) = (vec![HEAD.map(str::to_owned)], true);
    let mut take = |row: io::Result<(Row, bool)>| match row {
        Ok((row, fine)) => {
            eprintln!("{}", row.join("  "));
            kept &= fine;
            table.push(row);
        }
        Err(error) => {
            kept = false;
            println!("no result: {error}");
        }
    };
    for level in ["async", "replicated"] {
        let dir = dir.join(level);
        std::fs::create_dir_all(&dir)?;
        let ring = ring::Ring::start(level, settings.servers, &dir, false).await?;
        for load in settings.loads() {
            take(ring.measure(&world, load).await);
        }
    }
    println!("{}", ring::DIFFERENCES);
    match installed("redis-server") {
        true => {
            let redis = redis::Redis::start(dir).await?;
            for load in settings.loads() {
                take(redis.measure(&world, load).await);
            }
            println!("{}", redis::DIFFERENCES);
        }
        false => println!("redis: left out: no `redis-server` (apt-get install redis-server)"),
    }
    println!(
        "\nwall-clock figures of one machine that others use too\n\n{}",
        plain(table)
    );
    let dir = dir.join("propagation");
    std::fs::create_dir_all(&dir)?;
    kept &= ring::propagation(&world, &settings, &dir).await?;
    Ok(kept)
}

fn main() -> ExitCode {
    asked::main(Settings::read, |world, settings, dir| async move {
        compare(world, settings, &dir).await
    })
}
