//! The same load on this log, on NATS JetStream and on Redis Streams, each replicated to three.
//!
//! `cargo bench -p triptych-cluster --bench against -- [--seconds N] [--clients 1,16] [--payloads 128]`
//!
//! The others are taken from the system (`apt-get install nats-server redis-server`); those that are
//! not installed are left out and named. Everything runs on this machine, clients too, so the figures
//! compare work per append more than they say what any of them can do; the disk under all of them is
//! the folder for temporary files.

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
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use system::{Level, System};
use triptych_cluster::bench::drive::{Op, Pace, Plan, Trouble, drive};
use triptych_cluster::bench::judge::{Acked, judge};
use triptych_cluster::bench::machine::{Process, syncs};
use triptych_load::pool::Cancel;
use triptych_load::table::plain;
use triptych_world::{MS, Nanos, Options, SECOND, World, mix};

/// What to do.
struct Settings {
    seconds: u64,
    clients: Vec<usize>,
    payloads: Vec<usize>,
}

impl Settings {
    fn read(arguments: &[String]) -> Result<Settings, String> {
        let mut settings = Settings {
            seconds: 5,
            clients: vec![1, 16, 64],
            payloads: vec![128, 1024],
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            // What cargo adds.
            if argument == "--bench" {
                continue;
            }
            let value = arguments.next().map_or("", String::as_str);
            let numbers: Result<Vec<usize>, _> = value.split(',').map(str::parse).collect();
            let numbers = numbers.ok().filter(|numbers| !numbers.contains(&0));
            let numbers = numbers.ok_or_else(|| format!("{argument}: `{value}` is no number"))?;
            match argument.as_str() {
                "--seconds" => settings.seconds = numbers[0] as u64,
                "--clients" => settings.clients = numbers,
                "--payloads" => settings.payloads = numbers,
                _ => {
                    return Err(format!(
                        "{argument}: there are --seconds, --clients, --payloads"
                    ));
                }
            }
        }
        Ok(settings)
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
    let processes: Vec<Process> = system
        .pids()
        .into_iter()
        .filter_map(Process::find)
        .collect();
    let own = Process::own();
    let cpu = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&cpu);
    let mark = move || {
        let servers: f64 = processes.iter().filter_map(Process::cpu).sum();
        let own = own.and_then(|own| own.cpu()).unwrap_or(0.0);
        seen.borrow_mut().push((servers, own));
    };
    let plan = Plan {
        pace: Pace::Closed,
        warmup: WARMUP,
        span: seconds * SECOND,
        seed: 1,
    };
    let driven = drive(world, &calls, plan, 0, &Arc::new(Cancel::new()), mark).await;
    world.sleep(200 * MS).await;
    let there = system.read_back(run, bytes).await?;
    let acked = |op: &Op| {
        let place = *op.result.as_ref().ok()?;
        Some(Acked {
            number: op.number,
            sent: op.sent,
            acked: op.done,
            place,
        })
    };
    let acked: Vec<Acked> = driven.ops.iter().filter_map(acked).collect();
    let refused = |number: u64| {
        let refused = |op: &Op| matches!(op.result, Err(Trouble::Refused(_)));
        driven
            .ops
            .iter()
            .any(|op| op.number == number && refused(op))
    };
    let verdict = judge(&acked, refused, &there);
    let (before, after) = {
        let cpu = cpu.borrow();
        (cpu[0], cpu[1])
    };
    let (busy, own) = (after.0 - before.0, after.1 - before.1);
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The nodes of our own cluster are processes of this same program.
    if arguments.first().is_some_and(|first| first == "node") {
        return node::run(&arguments);
    }
    let settings = match Settings::read(&arguments) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let compared = tempfile::tempdir().and_then(|dir| {
        let compare = |world| compare(world, settings, dir.path());
        World::run_real(1, Options::default(), compare)?
    });
    match compared {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(64)
        }
    }
}
