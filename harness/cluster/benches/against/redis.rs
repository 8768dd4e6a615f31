//! Redis Streams: a primary and two replicas, each append followed by `WAIT 2`.

use crate::line::{Line, strange};
use crate::resp::{Value, command, value};
use crate::servers::{Servers, ports, within};
use crate::system::{Level, System};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use tokio::sync::Mutex;
use triptych_cluster::bench::drive::{Call, Trouble};
use triptych_cluster::bench::judge::There;
use triptych_cluster::bench::payload;

const DIFFERENCES: &str = "Redis: WAIT counts replicas that have received an append; there is no \
    consensus and no failover here, and a primary that fails may lose what it acknowledged. Synced: \
    `appendfsync always` at all three; that a replica has synced before it is counted follows from \
    the order in its event loop, nothing promises it (WAITAOF came with 7.2). One log on one thread.";

pub(crate) struct Redis {
    servers: Servers,
    primary: SocketAddr,
}

/// The place of an entry: milliseconds and a counter.
fn place(id: &[u8]) -> Option<u64> {
    let (ms, count) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some(ms.parse::<u64>().ok()? << 20 | count.parse::<u64>().ok()?)
}

async fn append(line: &mut Line, data: &[u8]) -> io::Result<Result<u64, Trouble>> {
    let mut bytes = command(&[b"XADD", b"log", b"*", b"d", data]);
    bytes.extend(command(&[b"WAIT", b"2", b"5000"]));
    line.write(&bytes).await?;
    let (added, kept) = (value(line).await?, value(line).await?);
    Ok(match (added, kept) {
        (Value::Error(error), _) => Err(Trouble::Refused(error)),
        (Value::Bytes(id), Value::Integer(2..)) => {
            place(&id).ok_or_else(|| Trouble::Unknown("an entry without a place".to_owned()))
        }
        (_, other) => Err(Trouble::Unknown(format!("WAIT: {other:?}"))),
    })
}

impl Redis {
    pub(crate) async fn start(level: Level, dir: &Path) -> io::Result<Redis> {
        let ports = ports(3)?;
        let mut servers = Servers::new("redis-server");
        for (n, port) in ports.iter().enumerate() {
            let folder = dir.join(format!("redis-{n}"));
            std::fs::create_dir_all(&folder)?;
            let mut config = format!(
                "bind 127.0.0.1\nport {port}\ndir \"{}\"\nsave \"\"\nrepl-diskless-sync-delay 0\n",
                folder.display()
            );
            config.push_str(match level {
                Level::Memory => "appendonly no\n",
                Level::Synced => "appendonly yes\nappendfsync always\n",
            });
            if n > 0 {
                config.push_str(&format!("replicaof 127.0.0.1 {}\n", ports[0]));
            }
            let file = folder.join("redis.conf");
            std::fs::write(&file, config)?;
            servers.spawn(&[file.as_os_str()], &folder)?;
        }
        let primary = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        within("both replicas follow", || async {
            let mut line = Line::connect(primary).await?;
            let hello = append(&mut line, b"hello").await?;
            hello.map_err(|trouble| strange(trouble.text()))
        })
        .await?;
        Ok(Redis { servers, primary })
    }
}

impl System for Redis {
    fn name(&self) -> &'static str {
        "redis streams"
    }

    fn differences(&self) -> &'static str {
        DIFFERENCES
    }

    fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    async fn clients(&self, count: usize, run: u64, bytes: usize) -> io::Result<Vec<Call>> {
        let mut calls: Vec<Call> = Vec::new();
        for _ in 0..count {
            let line = Rc::new(Mutex::new(Line::connect(self.primary).await?));
            calls.push(Rc::new(move |number| {
                let line = Rc::clone(&line);
                Box::pin(async move {
                    let data = payload::make(run, number, bytes);
                    let result = append(&mut *line.lock().await, &data).await;
                    result.unwrap_or_else(|error| Err(Trouble::Unknown(error.to_string())))
                })
            }));
        }
        Ok(calls)
    }

    async fn read_back(&self, run: u64, bytes: usize) -> io::Result<Vec<There>> {
        let mut line = Line::connect(self.primary).await?;
        let (mut there, mut from) = (Vec::new(), b"-".to_vec());
        loop {
            let ask = command(&[b"XRANGE", b"log", &from, b"+", b"COUNT", b"500"]);
            line.write(&ask).await?;
            let Value::List(entries) = value(&mut line).await? else {
                return Err(strange("no list of entries"));
            };
            if entries.is_empty() {
                return Ok(there);
            }
            for entry in entries {
                let Value::List(entry) = entry else {
                    return Err(strange("an entry that is none"));
                };
                let [Value::Bytes(id), Value::List(fields)] = &entry[..] else {
                    return Err(strange("an entry without fields"));
                };
                from = [b"(", &id[..]].concat();
                // What earlier runs left, and the hello, are not this run's.
                if let [_, Value::Bytes(data)] = &fields[..]
                    && data.starts_with(&run.to_le_bytes())
                {
                    let place = place(id).ok_or_else(|| strange("a place"))?;
                    let number = payload::number(run, data, bytes);
                    there.push(There { place, number });
                }
            }
        }
    }
}
