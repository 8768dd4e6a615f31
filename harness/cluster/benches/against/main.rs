//! The same load on this log, on NATS JetStream and on Redis Streams, each replicated to three.
//!
//! `cargo bench -p triptych-cluster --bench against -- [--seconds N] [--clients 1,16] [--payloads 128]`
//!
//! The others are taken from the system (`apt-get install nats-server redis-server`); those that are
//! not installed are left out and named. Everything runs on this machine, clients too, so the figures
//! compare work per append more than they say what any of them can do; the disk under all of them is
//! the folder for temporary files.

#[path = "../shared/asked.rs"]
mod asked;
#[path = "../shared/line.rs"]
mod line;
mod nats;
#[path = "../shared/node.rs"]
mod node;
mod redis;
#[path = "../shared/resp.rs"]
mod resp;
#[path = "../shared/servers.rs"]
mod servers;
mod system;
mod triptych;

use servers::installed;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use system::{Level, System};
use triptych_cluster::bench::drive::{Op, Pace, Plan, Trouble};
use triptych_cluster::bench::judge::{Acked, judge};
use triptych_cluster::bench::machine::{Process, syncs};
use triptych_cluster::bench::timed::timed;
use triptych_load::pool::Cancel;
use triptych_load::table::plain;
use triptych_world::{MS, Nanos, SECOND, World, mix};

/// What to do.
struct Settings {
    seconds: u64,
    clients: Vec<usize>,
    payloads: Vec<usize>,
}

impl Settings {
    fn read(arguments: &[String]) -> Result<Settings, String> {
        let mut seconds = vec![5];
        let (mut clients, mut payloads) = (vec![1, 16, 64], vec![128, 1024]);
        let mut known = [
            ("--seconds", &mut seconds),
            ("--clients", &mut clients),
            ("--payloads", &mut payloads),
        ];
        asked::numbers(arguments, &mut known)?;
        Ok(Settings {
            seconds: seconds[0] as u64,
            clients,
            payloads,
        })
    }
}

const HEAD: [&str; 11] = [
    "system",
    "level",
    "clients",
    "payload",
    "appends/s",
    "p50 ms",
    "p99 ms",
    "per CPU-s",
    "CPU s",
    "generator CPU s",
    "verdict",
];

type Row = [String; HEAD.len()];

const WARMUP: Nanos = SECOND;

/// One load on one system.
async fn measure<S: System>(
    world: &World,
    system: &S,
    level: Level,
    (clients, bytes): (usize, usize),
    seconds: u64,
) -> io::Result<(Row, bool)> {
    let run = mix(world.unix_ms() as u64, world.now());
    let calls = system.clients(clients, run, bytes).await?;
    let processes = system.pids().into_iter().map(Process::find).collect();
    let plan = Plan {
        pace: Pace::Closed,
        warmup: WARMUP,
        span: seconds * SECOND,
        seed: 1,
    };
    let timed = timed(world, processes, &calls, plan, &Arc::new(Cancel::new())).await;
    let driven = &timed.driven;
    world.sleep(200 * MS).await;
    let there = system.read_back(run, bytes).await?;
    let acked: Vec<Acked> = driven.ops.iter().filter_map(Acked::of).collect();
    let refused = |number: u64| {
        let refused = |op: &Op| matches!(op.result, Err(Trouble::Refused(_)));
        driven
            .ops
            .iter()
            .any(|op| op.number == number && refused(op))
    };
    let verdict = judge(&acked, refused, &there);
    let (busy, own) = (timed.nodes_cpu.unwrap_or(0.0), timed.own_cpu);
    let latency = driven.latency();
    let ms = |quantile: f64| format!("{:.2}", latency.value_at_quantile(quantile) as f64 / 1e6);
    let failed = match driven.failed() {
        0 => String::new(),
        failed => format!("; {failed} not answered or refused"),
    };
    let row = [
        system.name().to_owned(),
        level.name().to_owned(),
        clients.to_string(),
        bytes.to_string(),
        format!("{:.0}", driven.rate()),
        ms(0.5),
        ms(0.99),
        format!("{:.0}", driven.completed() as f64 / busy.max(0.01)),
        format!("{busy:.2}"),
        format!("{own:.2}"),
        verdict.told() + &failed,
    ];
    Ok((row, verdict.kept()))
}

/// All loads on one system at one level.
async fn rows<S: System>(
    world: &World,
    system: io::Result<S>,
    level: Level,
    settings: &Settings,
    name: &str,
    (table, kept): (&mut Vec<Row>, &mut bool),
) {
    let system = match system {
        Ok(system) => system,
        Err(error) => {
            println!("{name}, {}: left out: {error}", level.name());
            return;
        }
    };
    for &bytes in &settings.payloads {
        for &clients in &settings.clients {
            let load = (clients, bytes);
            match measure(world, &system, level, load, settings.seconds).await {
                Ok((row, fine)) => {
                    eprintln!("{}", row.join("  "));
                    *kept &= fine;
                    table.push(row);
                }
                Err(error) => {
                    *kept = false;
                    println!(
                        "{name}, {} clients, {bytes} bytes: no result: {error}",
                        clients
                    );
                }
            }
        }
    }
    println!("{}", system.differences());
}

async fn compare(world: World, settings: Settings, dir: &Path) -> io::Result<bool> {
    let (mut table, mut kept) = (vec![HEAD.map(str::to_owned)], true);
    let sync = syncs(dir, 1024)?;
    let ms = |quantile: f64| sync.value_at_quantile(quantile) as f64 / 1e6;
    println!(
        "a sync of this disk after 1 KiB takes {:.2} ms (median), {:.2} ms (p99)",
        ms(0.5),
        ms(0.99)
    );
    for level in [Level::Memory, Level::Synced] {
        let dir = dir.join(level.name());
        std::fs::create_dir_all(&dir)?;
        let ours = triptych::Triptych::start(level, &dir).await;
        let into = (&mut table, &mut kept);
        rows(&world, ours, level, &settings, "triptych log", into).await;
        match installed("nats-server") {
            true => {
                let nats = nats::Nats::start(level, &dir).await;
                let into = (&mut table, &mut kept);
                rows(&world, nats, level, &settings, "nats jetstream", into).await;
            }
            false => {
                println!("nats jetstream: left out: no `nats-server` (apt-get install nats-server)")
            }
        }
        match installed("redis-server") {
            true => {
                let redis = redis::Redis::start(level, &dir).await;
                let into = (&mut table, &mut kept);
                rows(&world, redis, level, &settings, "redis streams", into).await;
            }
            false => println!(
                "redis streams: left out: no `redis-server` (apt-get install redis-server)"
            ),
        }
    }
    println!(
        "\nwall-clock figures of one machine that others use too\n\n{}",
        plain(table)
    );
    Ok(kept)
}

fn main() -> ExitCode {
    asked::main(Settings::read, |world, settings, dir| async move {
        compare(world, settings, &dir).await
    })
}
