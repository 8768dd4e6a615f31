//! This repository's cache servers: a ring of them, and a database behind it.

use crate::servers::ports;
use crate::{Row, Settings};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use triptych_cluster::bench::cache::{Load, Outcome, Roaming, Target};
use triptych_cluster::calibrate::profile::Samples;
use triptych_cluster::connect;
use triptych_cluster::file::CacheFile;
use triptych_cluster::up::folder::DataFolder;
use triptych_cluster::up::{Cluster, Start, UpError};
use triptych_load::pool::Cancel;
use triptych_world::World;

pub(crate) const DIFFERENCES: &str = "Triptych: clients ask a server at random for each request, with \
    a causal context that travels; every answer is judged by the generator, whose processor time has \
    that in it. async: a write is acknowledged by the server that accepted it. replicated: when its \
    successor has it too. Either way it goes round the ring twice and is written to a database behind; \
    all of that is counted.";

pub(crate) struct Ring {
    cluster: Cluster,
    file: CacheFile,
    level: String,
}

impl Ring {
    pub(crate) async fn start(
        level: &str,
        servers: usize,
        dir: &Path,
        measure: bool,
    ) -> io::Result<Ring> {
        let ports = ports(servers + 1)?;
        let listed: Vec<String> = (1..)
            .zip(&ports[1..])
            .map(|(id, port)| format!("{{ id = {id}, listen = \"127.0.0.1:{port}\" }}"))
            .collect();
        let text = format!(
            "kind = \"cache\"\nname = \"caches\"\nlevel = \"{level}\"\n\
             [nodes]\nservers = [{}]\ndatabases = [{{ id = 900, listen = \"127.0.0.1:{}\" }}]\n\
             [timing]\nlease = \"2s\"\ndead_after = \"3s\"\n",
            listed.join(", "),
            ports[0]
        );
        let path = dir.join("caches.toml");
        fs::write(&path, &text)?;
        let file = CacheFile::parse("caches.toml", &text).map_err(io::Error::other)?;
        let start = Start {
            program: std::env::current_exe()?,
            file: path,
            data: dir.join("data"),
            fresh: true,
            arguments: measure
                .then(|| "--measure".to_owned())
                .into_iter()
                .collect(),
        };
        let started = file.clone().into();
        // It waits and asks by itself, so it must not do that on this thread's executor.
        let up = std::thread::spawn(move || {
            let mut cluster = Cluster::start(&started, &start)?;
            cluster.wait_ready(Duration::from_secs(60), &Cancel::new())?;
            Ok::<_, UpError>(cluster)
        });
        let cluster = up
            .join()
            .map_err(|_| io::Error::other("starting panicked"))?;
        Ok(Ring {
            cluster: cluster.map_err(io::Error::other)?,
            file,
            level: level.to_owned(),
        })
    }

    async fn outcome(&self, world: &World, load: Load, only: Option<usize>) -> io::Result<Outcome> {
        let connect = |server| connect::cache::port(world, &self.file, only.unwrap_or(server));
        let target = Target {
            world,
            file: &self.file,
            folder: self.cluster.folder(),
            connect: &connect,
            cancel: &Arc::new(Cancel::new()),
        };
        let measured = target.measure(load).await;
        measured.map_err(|error| io::Error::other(error.to_string()))
    }

    pub(crate) async fn measure(&self, world: &World, load: Load) -> io::Result<(Row, bool)> {
        let outcome = self.outcome(world, load, None).await?;
        let (reads, writes) = (outcome.latency(true), outcome.latency(false));
        let cpu = outcome.timed.nodes_cpu.unwrap_or(0.0);
        let ms = |latency: &hdrhistogram::Histogram<u64>, quantile| match latency.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.3}", latency.value_at_quantile(quantile) as f64 / 1e6),
        };
        let row = [
            format!("triptych ring, {}", self.level),
            load.name(),
            load.clients.to_string(),
            load.payload.to_string(),
            format!("{:.0}", outcome.timed.driven.rate()),
            ms(&reads, 0.5),
            ms(&reads, 0.99),
            ms(&writes, 0.5),
            ms(&writes, 0.99),
            format!(
                "{:.0}",
                outcome.timed.driven.completed() as f64 / cpu.max(0.01)
            ),
            format!("{cpu:.2}"),
            format!("{:.2}", outcome.timed.own_cpu),
            outcome.verdict.told(),
        ];
        outcome
            .verdict
            .told
            .iter()
            .for_each(|told| println!("  {told}"));
        Ok((row, outcome.verdict.kept() && outcome.verdict.seen()))
    }
}

/// Writes at one server of a ring alone: how many there are for each round trip, and how many pieces
/// a frame along the ring has.
pub(crate) async fn propagation(
    world: &World,
    settings: &Settings,
    dir: &Path,
) -> io::Result<bool> {
    let servers = settings.servers;
    let ring = Ring::start("async", servers, dir, true).await?;
    let load = |clients: usize, reads: f64| Load {
        clients,
        keys: settings.keys.min(10_000),
        zipf: 1.0,
        payload: settings.payloads[0],
        reads,
        read_keys: 1,
        roaming: Roaming::Affinity,
        session: 0,
        plan: settings.plan(),
    };
    let alone = ring.outcome(world, load(1, 1.0), Some(0)).await?;
    let trip = alone.latency(true).value_at_quantile(0.5) as f64 / 1e9;
    let many = settings.clients.iter().copied().max().unwrap_or(64);
    let before = frames(&ring.stop()?)?;
    // Anew, so that what was measured is of this load.
    let ring = Ring::start("async", servers, dir, true).await?;
    let writes = ring.outcome(world, load(many, 0.0), Some(0)).await?;
    let kept = writes.verdict.kept() && writes.verdict.seen();
    let rate = writes.writes();
    let after = frames(&ring.stop()?)?;
    println!(
        "one server of {servers}, {many} clients that write: {rate:.0} writes/s (nodes measured \
         themselves, which takes time); a round trip of one client is {:.3} ms, so one message per \
         round trip would be {:.0} writes/s on {} hops each: {:.1} times as many\n\
         along the ring: {} pieces in {} frames, {:.1} a frame (before, with one client that reads: {} \
         in {})\n{}",
        trip * 1e3,
        // Each write passes each link twice, but for one link that it passes once.
        1.0 / trip / 2.0,
        2 * servers - 1,
        rate * trip * 2.0,
        after.0,
        after.1,
        after.0 as f64 / after.1.max(1) as f64,
        before.0,
        before.1,
        writes.verdict.told()
    );
    Ok(kept)
}

impl Ring {
    /// Stops the nodes, which leave what they have measured.
    fn stop(self) -> io::Result<Vec<Samples>> {
        let dir = self.cluster.folder().dir().to_owned();
        let killed = self.cluster.stop(Duration::from_secs(60));
        if let Some(node) = killed.first() {
            return Err(io::Error::other(format!("{node} did not stop")));
        }
        let folder = DataFolder::at(&dir);
        let servers = self.file.servers();
        let samples = servers.iter().map(|node| {
            let text = fs::read_to_string(folder.samples(node))?;
            serde_json::from_str(&text).map_err(io::Error::other)
        });
        samples.collect()
    }
}

/// Pieces along the ring, and frames that they were in.
fn frames(samples: &[Samples]) -> io::Result<(u64, u64)> {
    let frames = samples.iter().filter_map(|samples| samples.get("frame"));
    let (pieces, frames) = frames.fold((0, 0), |(pieces, frames), one| {
        (pieces + one.units, frames + one.count)
    });
    match frames {
        0 => Err(io::Error::other("no frame went along the ring")),
        _ => Ok((pieces, frames)),
    }
}
