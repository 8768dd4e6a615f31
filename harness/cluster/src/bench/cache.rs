//! `bench cache`: loads on a running ring of cache servers.
//!
//! Clients roam: each has a causal context, and asks the server that the policy names with it, one
//! request at a time. They read and write keys by their popularity, and every answer is judged when
//! it comes ([`judge`]). When all is quiet again, all keys are compared on all servers.
//!
//! [`visibility`] measures how long a write takes until others see it.

pub mod client;
pub mod judge;
pub mod keys;
pub mod table;
pub mod visibility;

pub use client::Roaming;

use super::drive::{Call, Op, Plan, histogram};
use super::timed::{Timed, processes, timed};
use crate::file::CacheFile;
use crate::up::folder::DataFolder;
use client::{Client, READ, Shared, WROTE, fresh_read, write_number};
use futures_util::future::{LocalBoxFuture, join_all};
use hdrhistogram::Histogram;
use judge::{Judge, Verdict};
use keys::Keys;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Mutex;
use triptych_load::pool::Cancel;
use triptych_mesh::{Clock, Failure, Op as Write, Own, Port, Reply, Request, Seen, WriteId};
use triptych_world::{MS, Nanos, SECOND, World, mix};

/// One load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients, each with a context and connections of its own.
    pub clients: usize,
    /// Keys that are asked for.
    pub keys: usize,
    /// By what exponent the popular ones are more so.
    pub zipf: f64,
    /// Bytes of a value.
    pub payload: usize,
    /// The share of requests that read.
    pub reads: f64,
    /// How many keys a read asks for.
    pub read_keys: usize,
    /// Which server is asked.
    pub roaming: Roaming,
    /// After so many requests a client begins anew; 0 is never.
    pub session: u64,
    /// When, and for how long.
    pub plan: Plan,
}

impl Load {
    /// In a few words.
    pub fn name(&self) -> String {
        let reads = format!("{:.0}% reads", self.reads * 100.0);
        match self.read_keys {
            1 => reads,
            many => format!("{reads} of {many} keys"),
        }
    }
}

/// How to get a client of the ring that asks a server first: its place in the file.
pub type Connect<'a> = dyn Fn(usize) -> LocalBoxFuture<'a, Result<Rc<dyn Port>, String>> + 'a;

/// A ring to be measured.
pub struct Target<'a> {
    /// The world of the driver, of real time.
    pub world: &'a World,
    /// The ring.
    pub file: &'a CacheFile,
    /// Where its nodes have their data, if that is on this machine.
    pub folder: &'a DataFolder,
    /// How to connect.
    pub connect: &'a Connect<'a>,
    /// Raised when somebody wants it to stop.
    pub cancel: &'a Arc<Cancel>,
}

/// What a load came to.
#[derive(Debug)]
pub struct Outcome {
    /// The load.
    pub load: Load,
    /// Every request, and the processor time that they took: that of the generator has judging in it.
    pub timed: Timed,
    /// Bytes of a context that travels, on average.
    pub context: f64,
    /// Whether causality was kept, and all servers have everything.
    pub verdict: Verdict,
    /// What should be known about the figures.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Latency of reads, or of writes.
    pub fn latency(&self, reads: bool) -> Histogram<u64> {
        let mut latency = histogram();
        let of = if reads { READ } else { WROTE };
        for op in self
            .timed
            .driven
            .measured()
            .filter(|op| op.result == Ok(of))
        {
            latency.saturating_record(op.done.saturating_sub(op.due).max(1));
        }
        latency
    }

    /// Writes per second.
    pub fn writes(&self) -> f64 {
        let (from, to) = self.timed.driven.window;
        let wrote = |op: &&Op| op.result == Ok(WROTE) && (from..to).contains(&op.done);
        let wrote = self.timed.driven.ops.iter().filter(wrote).count();
        wrote as f64 / self.timed.driven.seconds().max(1e-9)
    }
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BenchError(pub String);

/// How long the ring may take to become quiet.
const PATIENCE: Nanos = 60 * SECOND;
/// Keys that are asked for at once, before and after the load.
const AT_ONCE: usize = 500;
/// Requests that are on their way at once then.
const PIPELINE: usize = 8;
/// The place of the client that writes what is there before the load.
const PRELOAD: u64 = 1 << 20;

impl Target<'_> {
    /// Measures one load.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn measure(&self, load: Load) -> Result<Outcome, BenchError> {
        let run = mix(self.world.unix_ms() as u64, self.world.now() | 1);
        let mut judge = Judge::new(load.keys, load.payload);
        let mut notes = Vec::new();
        self.preload(&load, run, &mut judge).await?;
        if !self.is_quiet(true).await? {
            notes.push("the ring was still busy with something else when it began".to_owned());
        }
        let all: Vec<usize> = (0..load.keys).collect();
        for server in 0..self.servers() {
            self.look(server, &Clock::default(), &all).await?;
        }
        let shared = Rc::new(Shared {
            keys: Keys::zipf(load.keys, load.zipf),
            payload: load.payload,
            reads: load.reads,
            read_keys: load.read_keys,
            roaming: load.roaming,
            session: load.session,
            judge: RefCell::new(judge),
            contexts: RefCell::default(),
        });
        let calls = self.clients(&load, &shared, run).await?;
        let processes = processes(self.folder, &self.file.nodes());
        let timed = timed(self.world, processes, &calls, load.plan, self.cancel).await;
        drop(calls);
        self.compare(&shared).await?;
        let mut judge = shared.judge.borrow_mut();
        let (bytes, contexts) = *shared.contexts.borrow();
        Ok(Outcome {
            load,
            timed,
            context: bytes as f64 / contexts.max(1) as f64,
            verdict: std::mem::take(&mut judge.verdict),
            notes,
        })
    }

    fn servers(&self) -> usize {
        self.file.servers().len()
    }

    async fn port(&self, server: usize) -> Result<Rc<dyn Port>, BenchError> {
        let port = (self.connect)(server % self.servers());
        port.await.map_err(BenchError)
    }

    async fn ports(&self) -> Result<Vec<Rc<dyn Port>>, BenchError> {
        let mut ports = Vec::new();
        for server in 0..self.servers() {
            ports.push(self.port(server).await?);
        }
        Ok(ports)
    }

    async fn clients(
        &self,
        load: &Load,
        shared: &Rc<Shared>,
        run: u64,
    ) -> Result<Vec<Call>, BenchError> {
        let mut calls: Vec<Call> = Vec::new();
        for place in 0..load.clients as u64 {
            let ports = self.ports().await?;
            let client = Client::new(shared, ports, run, place, load.plan.seed);
            // In an open loop requests may be due before the client was answered: it is one session,
            // so they wait for their turn, and latency counts from when they were due.
            let client = Rc::new(Mutex::new(client));
            calls.push(Rc::new(move |_| {
                let client = Rc::clone(&client);
                Box::pin(async move { client.lock().await.one().await })
            }));
        }
        Ok(calls)
    }

    /// Writes every key once.
    async fn preload(&self, load: &Load, run: u64, judge: &mut Judge) -> Result<(), BenchError> {
        let ports = self.ports().await?;
        let all: Vec<usize> = (0..load.keys).collect();
        let parts: Vec<(usize, &[usize])> = all.chunks(AT_ONCE).enumerate().collect();
        for some in parts.chunks(PIPELINE) {
            let asked = some.iter().map(|&(part, keys)| {
                let write = |&key: &usize| {
                    let value = keys::value(write_number(PRELOAD, key as u64), load.payload);
                    (keys::key(key), Write::Put(value))
                };
                let request = Request::Write {
                    write: WriteId {
                        client: mix(run, PRELOAD),
                        number: part as u64,
                    },
                    deps: Clock::default(),
                    own: Own::default(),
                    ops: keys.iter().map(write).collect(),
                };
                let asked = self.insist(&ports[part % ports.len()], request);
                async move { (keys, asked.await) }
            });
            for (keys, reply) in join_all(asked).await {
                let Reply::Written { version, .. } = reply? else {
                    return Err(BenchError("keys cannot be written".to_owned()));
                };
                for &key in keys {
                    judge.knows(key, write_number(PRELOAD, key as u64), &version);
                }
            }
        }
        Ok(())
    }

    /// Waits until all servers have the same and nothing is on its way; with `stored`, until the
    /// database has it too. Whether that came about.
    async fn is_quiet(&self, stored: bool) -> Result<bool, BenchError> {
        let ports = self.ports().await?;
        let until = self.world.now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let mut now = Vec::new();
            for port in &ports {
                let asked = port.ask(Request::Status).await;
                let Ok(Reply::Status { gauges }) = asked else {
                    return Err(BenchError(format!(
                        "a server does not say how it is: {asked:?}"
                    )));
                };
                let mut gauges: BTreeMap<String, u64> = gauges.into_iter().collect();
                if !stored {
                    // What the database gets meanwhile changes nothing of what is shown.
                    gauges.retain(|name, _| name != "dirty" && name != "stored");
                }
                now.push(gauges);
            }
            let of = |server: &BTreeMap<String, u64>, name: &str| server.get(name).copied();
            let same = |name| {
                now.iter()
                    .all(|server| of(server, name) == of(&now[0], name))
            };
            let zero = |name| now.iter().all(|server| of(server, name).unwrap_or(0) == 0);
            let applied = !self.file.disseminate
                || now
                    .iter()
                    .all(|server| of(server, "applied") == of(server, "received"));
            let quiet = same("received") && applied && zero("link") && zero("unstable");
            if quiet && before == now && (!stored || zero("dirty")) {
                return Ok(true);
            }
            if self.world.now() >= until || self.cancel.is_cancelled() {
                return Ok(false);
            }
            before = now;
            self.world.sleep(20 * MS).await;
        }
    }

    /// What one server shows of some keys to somebody who depends on `deps`.
    async fn look(
        &self,
        server: usize,
        deps: &Clock,
        numbers: &[usize],
    ) -> Result<Vec<Seen>, BenchError> {
        let port = self.port(server).await?;
        let mut all = Vec::with_capacity(numbers.len());
        let parts: Vec<&[usize]> = numbers.chunks(AT_ONCE).collect();
        for some in parts.chunks(PIPELINE) {
            let asked = some
                .iter()
                .map(|numbers| self.insist(&port, fresh_read(deps, numbers)));
            for (reply, numbers) in join_all(asked).await.into_iter().zip(some) {
                match reply? {
                    Reply::Read { seen, .. } if seen.len() == numbers.len() => all.extend(seen),
                    other => return Err(BenchError(format!("keys are read as {other:?}"))),
                }
            }
        }
        Ok(all)
    }

    /// Asks the same again while servers are busy: a write counts once.
    async fn insist(&self, port: &Rc<dyn Port>, request: Request) -> Result<Reply, BenchError> {
        let mut failure = Failure::Unavailable;
        let first = self.world.now();
        for attempt in 1..=30 {
            let asked = match failure {
                Failure::Unknown => port.ask_again(first, request.clone()),
                _ => port.ask(request.clone()),
            };
            match asked.await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Unknown) => failure = Failure::Unknown,
                // Without effect this time; an earlier one may have had one.
                Err(Failure::Unavailable) => {}
                Err(failure) => return Err(BenchError(failure.to_string())),
            }
            self.world.sleep(attempt * 10 * MS).await;
        }
        Err(BenchError(format!(
            "the ring cannot be prepared: {failure}"
        )))
    }

    /// Compares what the servers have when all is quiet.
    async fn compare(&self, shared: &Shared) -> Result<(), BenchError> {
        let quiet = self.is_quiet(false).await?;
        let written = {
            let mut judge = shared.judge.borrow_mut();
            judge.verdict.quiet = quiet;
            judge.all_answered();
            judge.written()
        };
        if !quiet {
            return Ok(());
        }
        // Where nobody is told what is everywhere, only those who depend on it see it.
        let deps = match self.file.disseminate {
            true => Clock::default(),
            false => shared.judge.borrow().all(),
        };
        let mut by_server = Vec::new();
        for server in 0..self.servers() {
            by_server.push(self.look(server, &deps, &written).await?);
        }
        shared.judge.borrow_mut().converged(&written, &by_server);
        Ok(())
    }
}
