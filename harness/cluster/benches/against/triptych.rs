//! This repository's log: three sequencers, storages and controllers, and engines.

use crate::servers::ports;
use crate::system::{Level, System};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use triptych_cluster::bench::drive::{Call, Trouble};
use triptych_cluster::bench::judge::There;
use triptych_cluster::bench::payload;
use triptych_cluster::connect;
use triptych_cluster::file::LogFile;
use triptych_cluster::up::{Cluster, Start};
use triptych_load::pool::Cancel;
use triptych_log::{Book, Failure, SeqNum};
use triptych_world::{Options, World};

const DIFFERENCES: &str = "Triptych: a record is acknowledged when all three storages have it and a \
    majority of the sequencers its place. Ten processes (3 storages, 3 sequencers, 3 controllers, 1 \
    engine) where the others have three, all counted. A node that fails is replaced, if there is \
    another one.";

pub(crate) struct Triptych {
    cluster: Cluster,
    file: LogFile,
    world: World,
}

impl Triptych {
    pub(crate) async fn start(level: Level, dir: &Path) -> io::Result<Triptych> {
        let ports = ports(10)?;
        let mut ports = ports.into_iter();
        let mut listed = |first: u16, count: u16| {
            let nodes = (first..first + count).zip(&mut ports);
            let nodes: Vec<String> = nodes
                .map(|(id, port)| format!("{{ id = {id}, listen = \"127.0.0.1:{port}\" }}"))
                .collect();
            nodes.join(", ")
        };
        let text = format!(
            "name = \"against\"\nlevel = \"{}\"\n\
             [shape]\nlogs = 1\nmetas = 3\ncopies = 3\nindexes = 1\n\
             [nodes]\ncontrollers = [{}]\nsequencers = [{}]\nstorages = [{}]\nengines = [{}]\n\
             [timing]\ndead_after = \"2s\"\n",
            level.name(),
            listed(1, 3),
            listed(100, 3),
            listed(200, 3),
            listed(1000, 1),
        );
        let path = dir.join("against.toml");
        std::fs::write(&path, &text)?;
        let file = LogFile::parse("against.toml", &text).map_err(io::Error::other)?;
        let start = Start {
            program: std::env::current_exe()?,
            file: path,
            data: dir.join("triptych"),
            fresh: true,
            arguments: Vec::new(),
        };
        let started = file.clone().into();
        // It waits and asks by itself, so it must not do that on this thread's executor.
        let up = std::thread::spawn(move || {
            let mut cluster = Cluster::start(&started, &start)?;
            cluster.wait_ready(Duration::from_secs(60), &Cancel::new())?;
            Ok::<_, triptych_cluster::up::UpError>(cluster)
        });
        let cluster = up
            .join()
            .map_err(|_| io::Error::other("starting panicked"))?;
        Ok(Triptych {
            cluster: cluster.map_err(io::Error::other)?,
            file,
            world: World::real(1, Options::default()),
        })
    }
}

impl System for Triptych {
    fn name(&self) -> &'static str {
        "triptych log"
    }

    fn differences(&self) -> &'static str {
        DIFFERENCES
    }

    fn pids(&self) -> Vec<u32> {
        self.cluster.processes().map(|(_, pid)| pid).collect()
    }

    async fn clients(&self, count: usize, run: u64, bytes: usize) -> io::Result<Vec<Call>> {
        let mut calls: Vec<Call> = Vec::new();
        for _ in 0..count {
            let port = connect::log::port(&self.world, &self.file, 0).await;
            let book = Rc::new(Book::new(port.map_err(io::Error::other)?, run));
            calls.push(Rc::new(move |number| {
                let appended = book.append(&[], &payload::make(run, number, bytes));
                Box::pin(async move {
                    appended
                        .await
                        .map(|seq| seq.0)
                        .map_err(|failure| match failure {
                            Failure::Unknown => Trouble::Unknown(failure.to_string()),
                            failure => Trouble::Refused(failure.to_string()),
                        })
                })
            }));
        }
        Ok(calls)
    }

    async fn read_back(&self, run: u64, bytes: usize) -> io::Result<Vec<There>> {
        let port = connect::log::port(&self.world, &self.file, 0).await;
        let port = port.map_err(io::Error::other)?;
        let book = Book::new(Rc::clone(&port), run);
        // Everything that was ordered before an append of now must be seen: what one logbook shows
        // holds for all of the one physical log.
        let mark = Book::new(port, run ^ 1);
        mark.append(&[], b"mark").await.map_err(io::Error::other)?;
        book.observe(mark.progress());
        let (mut there, mut from) = (Vec::new(), SeqNum::ZERO);
        loop {
            let limit = (1_000_000 / (bytes + 64)).clamp(1, 1000) as u16;
            let some = book.read_some(triptych_log::EVERY, from, limit).await;
            let some = some.map_err(io::Error::other)?;
            let Some(last) = some.last() else {
                return Ok(there);
            };
            from = last.seq.next();
            there.extend(some.iter().map(|found| There {
                place: found.seq.0,
                number: payload::number(run, &found.record.data, bytes),
            }));
        }
    }
}
