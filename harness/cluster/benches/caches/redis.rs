//! One Redis that all clients share: `GET` and `SET`.

use crate::Row;
use crate::line::{Line, strange};
use crate::resp::{Value, command, value};
use crate::servers::{Servers, ports, within};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Mutex;
use triptych_cluster::bench::cache::Load;
use triptych_cluster::bench::cache::keys::{Keys, bytes, written_by};
use triptych_cluster::bench::drive::{Call, Op, Trouble, histogram};
use triptych_cluster::bench::machine::Process;
use triptych_cluster::bench::timed::timed;
use triptych_load::pool::Cancel;
use triptych_world::{Random, World, mix};

pub(crate) const DIFFERENCES: &str = "Redis: one server on one thread, in memory, without a replica \
    and without a log; a plain cache that everybody shares, with no session and no context. The verdict \
    says that every value was one that somebody wrote.";

/// Results of requests.
const READ: u64 = 0;
const WROTE: u64 = 1;

pub(crate) struct Redis {
    servers: Servers,
    address: SocketAddr,
}

/// A connection of one client.
struct Client {
    line: Line,
    random: Random,
    writes: u64,
}

impl Redis {
    pub(crate) async fn start(dir: &Path) -> io::Result<Redis> {
        let ports = ports(1)?;
        let folder = dir.join("redis");
        std::fs::create_dir_all(&folder)?;
        let config = format!(
            "bind 127.0.0.1\nport {}\ndir \"{}\"\nsave \"\"\nappendonly no\n",
            ports[0],
            folder.display()
        );
        let file = folder.join("redis.conf");
        std::fs::write(&file, config)?;
        let mut servers = Servers::new("redis-server");
        servers.spawn(&[file.as_os_str()], &folder)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        within("it answers", || async {
            let mut line = Line::connect(address).await?;
            line.write(&command(&[b"PING"])).await?;
            value(&mut line).await.map(drop)
        })
        .await?;
        Ok(Redis { servers, address })
    }

    /// Writes every key once.
    async fn preload(&self, load: &Load) -> io::Result<()> {
        let mut line = Line::connect(self.address).await?;
        let all: Vec<usize> = (0..load.keys).collect();
        for some in all.chunks(500) {
            let mut commands = Vec::new();
            for &key in some {
                let value = bytes(key as u64 + 1, load.payload);
                commands.extend(command(&[b"SET", key.to_string().as_bytes(), &value]));
            }
            line.write(&commands).await?;
            for _ in some {
                if let Value::Error(error) = value(&mut line).await? {
                    return Err(strange(error));
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn measure(&self, world: &World, load: Load) -> io::Result<(Row, bool)> {
        self.preload(&load).await?;
        let keys = Rc::new(Keys::zipf(load.keys, load.zipf));
        let wrong: Rc<Cell<u64>> = Rc::default();
        let mut calls: Vec<Call> = Vec::new();
        for place in 0..load.clients as u64 {
            let client = Client {
                line: Line::connect(self.address).await?,
                random: Random::new(mix(load.plan.seed, place)),
                writes: (place + 1) << 40,
            };
            let client = Rc::new(Mutex::new(client));
            let (keys, wrong) = (Rc::clone(&keys), Rc::clone(&wrong));
            calls.push(Rc::new(move |_| {
                let (client, keys) = (Rc::clone(&client), Rc::clone(&keys));
                let wrong = Rc::clone(&wrong);
                Box::pin(async move {
                    let mut client = client.lock().await;
                    let asked = client.one(&keys, &load, &wrong).await;
                    asked.map_err(|error| Trouble::Unknown(error.to_string()))
                })
            }));
        }
        let processes: Option<Vec<Process>> =
            self.servers.pids().into_iter().map(Process::find).collect();
        let cancel = Arc::new(Cancel::new());
        let timed = timed(world, processes, &calls, load.plan, &cancel).await;
        let driven = &timed.driven;
        let ms = |of: u64, quantile: f64| {
            let mut latency = histogram();
            let of = |op: &&Op| op.result == Ok(of);
            driven
                .measured()
                .filter(of)
                .for_each(|op| latency.saturating_record((op.done - op.due).max(1)));
            match latency.is_empty() {
                true => "-".to_owned(),
                false => format!("{:.3}", latency.value_at_quantile(quantile) as f64 / 1e6),
            }
        };
        let cpu = timed.nodes_cpu.unwrap_or(0.0);
        let fine = wrong.get() == 0 && driven.failed() == 0;
        let verdict = match fine {
            true => format!("all {} values were somebody's", driven.ops.len()),
            false => format!(
                "BROKEN: {} values that nobody wrote, {} requests without an answer",
                wrong.get(),
                driven.failed()
            ),
        };
        let row = [
            "redis".to_owned(),
            load.name(),
            load.clients.to_string(),
            load.payload.to_string(),
            format!("{:.0}", driven.rate()),
            ms(READ, 0.5),
            ms(READ, 0.99),
            ms(WROTE, 0.5),
            ms(WROTE, 0.99),
            format!("{:.0}", driven.completed() as f64 / cpu.max(0.01)),
            format!("{cpu:.2}"),
            format!("{:.2}", timed.own_cpu),
            verdict,
        ];
        Ok((row, fine))
    }
}

impl Client {
    async fn one(&mut self, keys: &Keys, load: &Load, wrong: &Cell<u64>) -> io::Result<u64> {
        let reads = self.random.chance(load.reads);
        let key = keys.draw(&mut self.random).to_string();
        if reads {
            self.line.write(&command(&[b"GET", key.as_bytes()])).await?;
            match value(&mut self.line).await? {
                Value::Bytes(found) if written_by(&found, load.payload).is_some() => {}
                _ => wrong.set(wrong.get() + 1),
            }
            return Ok(READ);
        }
        self.writes += 1;
        let new = bytes(self.writes, load.payload);
        let set = command(&[b"SET", key.as_bytes(), &new]);
        self.line.write(&set).await?;
        match value(&mut self.line).await? {
            Value::Error(error) => Err(strange(error)),
            _ => Ok(WROTE),
        }
    }
}
