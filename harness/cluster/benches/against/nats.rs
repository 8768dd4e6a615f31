//! NATS JetStream: a cluster of three servers, and a stream of three replicas.

use crate::line::{Line, strange};
use crate::servers::{Servers, ports, within};
use crate::system::{Level, System};
use serde_json::{Value as Json, json};
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use tokio::sync::Mutex;
use triptych_cluster::bench::drive::{Call, Trouble};
use triptych_cluster::bench::judge::There;
use triptych_cluster::bench::payload;

const DIFFERENCES: &str = "NATS JetStream: an append is acknowledged when a majority (2 of 3) has it \
    by Raft, ours and Redis' when all three have it. Memory: the stream is in memory, the servers' \
    Raft logs too. Synced: `sync_interval: always`, where this version knows it.";

pub(crate) struct Nats {
    servers: Servers,
    addresses: Vec<SocketAddr>,
}

/// A client's connection, with a subject of its own for answers.
struct Client {
    line: Line,
    inbox: String,
}

/// A message that came: its content, and its length's part that is headers.
struct Delivered {
    headers: String,
    data: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr, number: usize) -> io::Result<Client> {
        let mut line = Line::connect(address).await?;
        let info = line.line().await?;
        if !info.starts_with("INFO ") {
            return Err(strange(info));
        }
        let inbox = format!("_INBOX.{}.{number}", std::process::id());
        let hello = json!({
            "verbose": false, "pedantic": false, "tls_required": false, "lang": "rust",
            "version": "0", "protocol": 1, "headers": true, "no_responders": true,
        });
        let hello = format!("CONNECT {hello}\r\nSUB {inbox} 1\r\nPING\r\n");
        line.write(hello.as_bytes()).await?;
        loop {
            match line.line().await? {
                pong if pong == "PONG" => return Ok(Client { line, inbox }),
                info if info.starts_with("INFO ") => {}
                other => return Err(strange(other)),
            }
        }
    }

    async fn ask(&mut self, subject: &str, data: &[u8]) -> io::Result<Delivered> {
        let inbox = &self.inbox;
        let mut bytes = format!("PUB {subject} {inbox} {}\r\n", data.len()).into_bytes();
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n");
        self.line.write(&bytes).await?;
        loop {
            let head = self.line.line().await?;
            let words: Vec<&str> = head.split_whitespace().collect();
            let size = |at: usize| {
                let word = words.len().checked_sub(at).and_then(|at| words.get(at));
                let size = word.and_then(|word| word.parse::<usize>().ok());
                size.ok_or_else(|| strange(&head))
            };
            match words.first().copied() {
                Some("MSG") => {
                    let data = self.line.bytes(size(1)?).await?;
                    let headers = String::new();
                    return Ok(Delivered { headers, data });
                }
                Some("HMSG") => {
                    let mut data = self.line.bytes(size(1)?).await?;
                    let rest = data.split_off(size(2)?.min(data.len()));
                    let headers = String::from_utf8_lossy(&data).into_owned();
                    return Ok(Delivered {
                        headers,
                        data: rest,
                    });
                }
                Some("PING") => self.line.write(b"PONG\r\n").await?,
                Some("INFO" | "+OK" | "PONG") => {}
                _ => return Err(strange(head)),
            }
        }
    }

    async fn append(&mut self, data: &[u8]) -> io::Result<Result<u64, Trouble>> {
        let answer = self.ask("log.a", data).await?;
        if answer.headers.contains(" 503") {
            return Ok(Err(Trouble::Refused("no stream answers".to_owned())));
        }
        let answer: Json = serde_json::from_slice(&answer.data).map_err(strange)?;
        Ok(match (answer["seq"].as_u64(), answer.get("error")) {
            (Some(seq), None) => Ok(seq),
            (_, error) => Err(Trouble::Unknown(format!("{error:?}"))),
        })
    }
}

impl Client {
    /// The message at a place, from the stream's leader.
    async fn get(&mut self, place: u64) -> io::Result<Vec<u8>> {
        let ask = json!({ "seq": place }).to_string();
        let got = self.ask("$JS.API.STREAM.MSG.GET.LOG", ask.as_bytes());
        let got: Json = serde_json::from_slice(&got.await?.data).map_err(strange)?;
        let data = got["message"]["data"].as_str();
        data.and_then(decoded).ok_or_else(|| strange(&got))
    }
}

/// Bytes from base64.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut have) = (Vec::new(), 0u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        bits = bits << 6 | value as u32;
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have) as u8);
            bits &= (1 << have) - 1;
        }
    }
    Some(bytes)
}

impl Nats {
    /// Whether the installed version can sync every append.
    fn syncs_always(dir: &Path) -> io::Result<bool> {
        let file = dir.join("probe.conf");
        std::fs::write(&file, "jetstream { sync_interval: always }\n")?;
        let status = std::process::Command::new("nats-server")
            .arg("-c")
            .arg(&file)
            .arg("-t")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()?;
        Ok(status.success())
    }

    pub(crate) async fn start(level: Level, dir: &Path) -> io::Result<Nats> {
        std::fs::create_dir_all(dir)?;
        if level == Level::Synced && !Nats::syncs_always(dir)? {
            let what = "the installed nats-server does not know `sync_interval: always`";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        let sync = match level {
            Level::Memory => "",
            Level::Synced => ", sync_interval: always",
        };
        let ports = ports(6)?;
        let routes = ports[3..]
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"));
        let routes = routes.collect::<Vec<_>>().join(", ");
        let mut servers = Servers::new("nats-server");
        for n in 0..3 {
            let folder = dir.join(format!("nats-{n}"));
            std::fs::create_dir_all(&folder)?;
            let config = format!(
                "server_name: n{n}\nlisten: 127.0.0.1:{}\n\
                 jetstream {{ store_dir: \"{}\", max_mem: 4G, max_file: 20G{sync} }}\n\
                 cluster {{ name: against, listen: 127.0.0.1:{}, routes: [{routes}] }}\n",
                ports[n],
                folder.display(),
                ports[n + 3],
            );
            let file = folder.join("nats.conf");
            std::fs::write(&file, config)?;
            servers.spawn(&[OsStr::new("-c"), file.as_os_str()], &folder)?;
        }
        let addresses: Vec<SocketAddr> = ports[..3]
            .iter()
            .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
            .collect();
        let stream = json!({
            "name": "LOG", "subjects": ["log.>"], "retention": "limits", "max_consumers": -1,
            "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "discard": "old",
            "num_replicas": 3,
            "storage": match level { Level::Memory => "memory", Level::Synced => "file" },
        });
        let stream = stream.to_string();
        within("the stream is made", || async {
            let mut client = Client::connect(addresses[0], 0).await?;
            let made = client.ask("$JS.API.STREAM.CREATE.LOG", stream.as_bytes());
            let made = made.await?;
            let made: Json = serde_json::from_slice(&made.data).map_err(strange)?;
            match made.get("error") {
                None => Ok(()),
                Some(error) => Err(strange(error)),
            }
        })
        .await?;
        within("the stream takes messages", || async {
            let mut client = Client::connect(addresses[1], 0).await?;
            let hello = client.append(b"hello").await?;
            hello.map_err(|trouble| strange(trouble.text()))
        })
        .await?;
        Ok(Nats { servers, addresses })
    }
}

impl System for Nats {
    fn name(&self) -> &'static str {
        "nats jetstream"
    }

    fn differences(&self) -> &'static str {
        DIFFERENCES
    }

    fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    async fn clients(&self, count: usize, run: u64, bytes: usize) -> io::Result<Vec<Call>> {
        let mut calls: Vec<Call> = Vec::new();
        for number in 0..count {
            let address = self.addresses[number % self.addresses.len()];
            let client = Client::connect(address, number).await?;
            let client = Rc::new(Mutex::new(client));
            calls.push(Rc::new(move |number| {
                let client = Rc::clone(&client);
                Box::pin(async move {
                    let data = payload::make(run, number, bytes);
                    let result = client.lock().await.append(&data).await;
                    result.unwrap_or_else(|error| Err(Trouble::Unknown(error.to_string())))
                })
            }));
        }
        Ok(calls)
    }

    async fn read_back(&self, run: u64, bytes: usize) -> io::Result<Vec<There>> {
        let mut client = Client::connect(self.addresses[0], 0).await?;
        let info = client.ask("$JS.API.STREAM.INFO.LOG", b"").await?;
        let info: Json = serde_json::from_slice(&info.data).map_err(strange)?;
        let last = info["state"]["last_seq"].as_u64();
        let last = last.ok_or_else(|| strange(&info))?;
        let mut there = Vec::new();
        // Newest first, because earlier runs stand before this one; then the order of the log.
        for place in (1..=last).rev() {
            let data = client.get(place).await?;
            if !data.starts_with(&run.to_le_bytes()) {
                break;
            }
            let number = payload::number(run, &data, bytes);
            there.push(There { place, number });
        }
        there.reverse();
        Ok(there)
    }
}
