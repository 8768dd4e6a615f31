//! `bench log`: loads on a running cluster of the log.
//!
//! Appends go to every engine in turn. Everything that was acknowledged is read back afterwards
//! through another engine, or a stated sample of it. Reads are told apart by where they are served:
//!
//! * *cached*: at an engine that indexes the log, of records that it has in its cache;
//! * *storage*: at an engine that indexes the log and has not seen the record: it comes from a
//!   storage. Every record is read once;
//! * *remote*: at an engine that does not index the log, which asks one that does.

use super::drive::{Call, Driven, Op, Plan, Trouble};
use super::judge::{Acked, There, Verdict, judge};
use super::machine;
use super::payload;
use super::timed::{self, Timed};
use crate::file::LogFile;
use crate::up::folder::DataFolder;
use futures_util::future::LocalBoxFuture;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use triptych_load::pool::Cancel;
use triptych_log::{
    BookId, Direction, EVERY, Failure, Found, Level, Port, Progress, Read, Record, Reply, Request,
    SeqNum, Shape, Tag, View,
};
use triptych_world::{MS, World, mix};

/// Streams over which a run's records are spread, so that a sample of streams is a sample of records.
const STREAMS: u64 = 100;
/// Beyond so many acknowledged records a sample is read back, unless all are asked for.
const READ_BACK: u64 = 200_000;

/// Where reads are to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Served {
    /// From the engine's cache.
    Cached,
    /// From a storage, found in the engine's own index.
    Storage,
    /// By another engine's index.
    Remote,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Appends.
    Append,
    /// Reads of one record each.
    Read(Served),
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [
        Kind::Append,
        Kind::Read(Served::Cached),
        Kind::Read(Served::Storage),
        Kind::Read(Served::Remote),
    ];

    /// Its name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Append => "append",
            Kind::Read(Served::Cached) => "read-cached",
            Kind::Read(Served::Storage) => "read-storage",
            Kind::Read(Served::Remote) => "read-remote",
        }
    }
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is asked.
    pub kind: Kind,
    /// Clients, each with a connection of its own.
    pub clients: usize,
    /// Bytes of a record.
    pub payload: usize,
    /// Logbooks over which records are spread.
    pub books: u64,
    /// When, and for how long.
    pub plan: Plan,
    /// How many acknowledged records are read back at most; none for the usual number.
    pub read_back: Option<u64>,
}

/// How to get a client of the cluster that asks an engine first: its place in the file.
pub type Connect<'a> = dyn Fn(usize) -> LocalBoxFuture<'a, Result<Rc<dyn Port>, String>> + 'a;

/// A cluster to be measured.
pub struct Target<'a> {
    /// The world of the driver, of real time.
    pub world: &'a World,
    /// The cluster.
    pub file: &'a LogFile,
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
    /// Every request.
    pub driven: Driven,
    /// Processor time of the nodes while it was measured, in seconds; none if they do not run here.
    pub nodes_cpu: Option<f64>,
    /// Processor time of the generator, in seconds.
    pub own_cpu: f64,
    /// Whether what was acknowledged is there; of reads, whether every answer was the right record.
    pub verdict: Verdict,
    /// What should be known about the figures.
    pub notes: Vec<String>,
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BenchError {
    /// The cluster does not do what is needed before or after the load.
    #[error("{0}")]
    Cluster(String),
    /// It cannot be measured on this cluster.
    #[error("{0}")]
    Impossible(String),
}

impl Target<'_> {
    /// Measures one load.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn measure(&self, load: Load) -> Result<Outcome, BenchError> {
        let run = mix(self.world.unix_ms() as u64, self.world.now() | 1);
        match load.kind {
            Kind::Append => self.appends(load, run).await,
            Kind::Read(served) => self.reads(load, served, run).await,
        }
    }

    async fn port(&self, engine: usize) -> Result<Rc<dyn Port>, BenchError> {
        let port = (self.connect)(engine % self.engines());
        port.await.map_err(BenchError::Cluster)
    }

    fn engines(&self) -> usize {
        self.file.config().engines.len()
    }

    /// Which engines index the physical log of a book.
    async fn indexing(&self, book: BookId) -> Result<Vec<bool>, BenchError> {
        let Shape { logs, indexes, .. } = self.file.config().shape;
        let mut indexing = Vec::new();
        for engine in 0..self.engines() {
            let asked = self.port(engine).await?.ask(Request::Status).await;
            let gauges = match asked {
                Ok(Reply::Status { gauges, .. }) => gauges,
                other => {
                    let what = format!("an engine does not say how it is: {other:?}");
                    return Err(BenchError::Cluster(what));
                }
            };
            let count = gauges.iter().find(|(name, _)| name == "indexes");
            indexing.push(count.is_some_and(|(_, count)| *count > 0));
        }
        if logs > 1 {
            // They tell how many logs they index, not which: by the file, then, as in a view in
            // which all engines stand in its order.
            let (log, engines) = (View::log_of(self.file.config().shape, book), indexing.len());
            let first = usize::from(log) * usize::from(indexes);
            indexing.fill(false);
            for n in first..first + usize::from(indexes) {
                indexing[n % engines] = true;
            }
        }
        Ok(indexing)
    }

    /// The books of a run.
    fn books(&self, run: u64, load: &Load) -> Rc<Vec<BookId>> {
        Rc::new((0..load.books.max(1)).map(|n| mix(run, n)).collect())
    }

    async fn timed(&self, load: &Load, calls: &[Call]) -> Timed {
        let processes = timed::processes(self.folder, &self.file.nodes());
        timed::timed(self.world, processes, calls, load.plan, self.cancel).await
    }

    async fn appends(&self, load: Load, run: u64) -> Result<Outcome, BenchError> {
        let books = self.books(run, &load);
        let mut calls: Vec<Call> = Vec::new();
        for client in 0..load.clients {
            let port = self.port(client).await?;
            let books = Rc::clone(&books);
            calls.push(Rc::new(move |number| {
                let record = record(run, number, &books, load.payload);
                let asked = port.ask(Request::Append(Arc::new(record)));
                Box::pin(async move { appended(asked.await) })
            }));
        }
        let Timed {
            driven,
            nodes_cpu,
            own_cpu,
        } = self.timed(&load, &calls).await;
        let (verdict, mut notes) = self.read_back(&load, run, &books, &driven).await?;
        if self.file.config().level == Level::Synced {
            let sync = machine::syncs(self.folder.dir(), load.payload);
            notes.extend(sync.ok().map(|sync| {
                let (median, p50) = (sync.value_at_quantile(0.5), driven.latency());
                let times = p50.value_at_quantile(0.5) as f64 / median.max(1) as f64;
                format!(
                    "one sync of {} bytes in the same folder takes {:.2} ms (median), so the median \
                     append takes {times:.1} of them",
                    load.payload,
                    median as f64 / MS as f64
                )
            }));
        }
        Ok(Outcome {
            load,
            driven,
            nodes_cpu,
            own_cpu,
            verdict,
            notes,
        })
    }

    /// Reads what was acknowledged, through an engine that most of it was not appended at.
    async fn read_back(
        &self,
        load: &Load,
        run: u64,
        books: &[BookId],
        driven: &Driven,
    ) -> Result<(Verdict, Vec<String>), BenchError> {
        let acked: Vec<Acked> = driven.ops.iter().filter_map(acked).collect();
        let refused = |op: &&Op| matches!(op.result, Err(Trouble::Refused(_)));
        let refused: BTreeSet<u64> = driven
            .ops
            .iter()
            .filter(refused)
            .map(|op| op.number)
            .collect();
        let most = load.read_back.unwrap_or(READ_BACK).max(1);
        let streams = match acked.len() as u64 {
            few if few <= most => STREAMS,
            many => (STREAMS * most / many).max(1),
        };
        let mut verdict = Verdict::default();
        for (n, &book) in (0u64..).zip(books) {
            let port = self.port(n as usize + 1).await?;
            let of_book = |number: u64| number % books.len() as u64 == n;
            let tags = match streams {
                STREAMS => vec![EVERY],
                some => (1..=some).collect(),
            };
            for tag in tags {
                let there = self.stream(&port, load, run, book, tag).await?;
                let looked_at = |one: &&Acked| {
                    of_book(one.number) && (tag == EVERY || stream(one.number, books.len()) == tag)
                };
                let part: Vec<Acked> = acked.iter().filter(looked_at).copied().collect();
                let part = judge(&part, |number| refused.contains(&number), &there);
                verdict = verdict.and(&part);
            }
        }
        verdict.acknowledged = acked.len() as u64;
        let notes = match streams {
            STREAMS => Vec::new(),
            some => vec![format!(
                "read back: {some} of {STREAMS} streams, with {} records",
                verdict.checked
            )],
        };
        Ok((verdict, notes))
    }

    /// All records of a stream, in the order in which they are read.
    async fn stream(
        &self,
        port: &Rc<dyn Port>,
        load: &Load,
        run: u64,
        book: BookId,
        tag: Tag,
    ) -> Result<Vec<There>, BenchError> {
        // Answers of about a megabyte.
        let limit = (1_000_000 / (load.payload + 64)).clamp(1, 1000) as u16;
        // Whatever was acknowledged must be seen: at least as far as the newest append of ours.
        let mut progress = self.newest(book).await?;
        let (mut there, mut bound) = (Vec::new(), SeqNum::ZERO);
        loop {
            let read = Read {
                book,
                tag,
                bound,
                direction: Direction::Next,
                limit,
                wait: 0,
                progress,
            };
            let (records, seen) = read_some(self.world, port, read).await?;
            progress = progress.max(seen);
            let Some(last) = records.last() else {
                return Ok(there);
            };
            bound = last.seq.next();
            there.extend(records.iter().map(|found| There {
                place: found.seq.0,
                number: payload::number(run, &found.record.data, load.payload),
            }));
        }
    }

    /// A position of the book's metalog behind all that was acknowledged before: that of an append
    /// made now, in a logbook of the same physical log that nobody reads.
    async fn newest(&self, book: BookId) -> Result<Progress, BenchError> {
        let shape = self.file.config().shape;
        let log = View::log_of(shape, book);
        let scratch = (1..).map(|n| mix(book, n));
        let scratch = scratch
            .into_iter()
            .find(|&book| View::log_of(shape, book) == log);
        let port = self.port(0).await?;
        for attempt in 0..100 {
            let record = Record {
                book: scratch.unwrap_or(book),
                tags: Vec::new(),
                data: b"mark".as_slice().into(),
                condition: None,
            };
            match port.ask(Request::Append(Arc::new(record))).await {
                Ok(Reply::Appended { progress, .. }) => return Ok(progress),
                _ => self.world.sleep((attempt + 1) * MS).await,
            }
        }
        let what = "nothing can be appended any more, so what was acknowledged cannot be read back";
        Err(BenchError::Cluster(what.to_owned()))
    }

    async fn reads(&self, load: Load, served: Served, run: u64) -> Result<Outcome, BenchError> {
        let books = Rc::new(vec![mix(run, 0)]);
        let (home, at) = places(&self.indexing(books[0]).await?, served)?;
        let writer = self.port(home).await?;
        let (places, progress) = self.preload(&load, run, &books, &writer).await?;
        let places = Rc::new(places);
        let turn = Rc::new(Cell::new(0usize));
        let mut calls: Vec<Call> = Vec::new();
        for _ in 0..load.clients {
            let port = self.port(at).await?;
            let (books, places, turn) = (Rc::clone(&books), Rc::clone(&places), Rc::clone(&turn));
            calls.push(Rc::new(move |_| {
                let next = turn.replace(turn.get() + 1);
                let target = match served {
                    // Each once: the second time it would be cached.
                    Served::Storage => places.get(next).copied(),
                    _ => Some(places[next * 7919 % places.len()]),
                };
                let Some((number, seq)) = target else {
                    let used_up = Trouble::Refused(USED_UP.to_owned());
                    return Box::pin(std::future::ready(Err(used_up)));
                };
                let asked = port.ask(Request::Read(Read {
                    book: books[0],
                    tag: EVERY,
                    bound: seq,
                    direction: Direction::Next,
                    limit: 1,
                    wait: 0,
                    progress,
                }));
                Box::pin(async move { was_read(asked.await, seq, run, number, load.payload) })
            }));
        }
        let Timed {
            mut driven,
            nodes_cpu,
            own_cpu,
        } = self.timed(&load, &calls).await;
        let mut notes = Vec::new();
        let used_up = |op: &Op| matches!(&op.result, Err(trouble) if trouble.text() == USED_UP);
        if let Some(first) = driven.ops.iter().position(used_up) {
            // What was measured ends where the records did.
            driven.window.1 = driven.ops[first]
                .due
                .clamp(driven.window.0, driven.window.1);
            driven.ops.retain(|op| !used_up(op));
            notes.push(format!(
                "all {} records were read once within {:.1} s; the processor time is that of the \
                 whole span",
                places.len(),
                driven.seconds()
            ));
        }
        let right = driven
            .ops
            .iter()
            .filter(|op| op.result == Ok(RIGHT))
            .count() as u64;
        let answered = driven.ops.iter().filter(|op| op.result.is_ok()).count() as u64;
        let count = |wrong| {
            driven
                .ops
                .iter()
                .filter(|op| op.result == Ok(wrong))
                .count() as u64
        };
        let verdict = Verdict {
            acknowledged: answered,
            checked: answered,
            lost: count(MISSING),
            foreign: answered - right - count(MISSING),
            ..Verdict::default()
        };
        Ok(Outcome {
            load,
            driven,
            nodes_cpu,
            own_cpu,
            verdict,
            notes,
        })
    }

    /// Appends the records that are to be read; where they are, and what the last one showed.
    async fn preload(
        &self,
        load: &Load,
        run: u64,
        books: &[BookId],
        port: &Rc<dyn Port>,
    ) -> Result<(Vec<(u64, SeqNum)>, Progress), BenchError> {
        // 64 MB fit into any cache that is worth measuring.
        let count = ((64 << 20) / (load.payload as u64 + 64)).clamp(100, 50_000);
        let (mut places, mut progress) = (Vec::new(), Progress::default());
        let numbers: Vec<u64> = (0..count).collect();
        for some in numbers.chunks(256) {
            let asked = some.iter().map(|&number| {
                let record = record(run, number, books, load.payload);
                let asked = port.ask(Request::Append(Arc::new(record)));
                async move { (number, asked.await) }
            });
            for (number, reply) in futures_util::future::join_all(asked).await {
                match reply {
                    Ok(Reply::Appended {
                        seq,
                        progress: seen,
                    }) => {
                        places.push((number, seq));
                        progress = progress.max(seen);
                    }
                    // It may be there or not: it is not asked for.
                    Ok(_) | Err(Failure::Unknown | Failure::Unavailable) => {}
                    Err(failure) => return Err(BenchError::Cluster(failure.to_string())),
                }
            }
        }
        match places.is_empty() {
            true => Err(BenchError::Cluster("nothing can be appended".to_owned())),
            false => Ok((places, progress)),
        }
    }
}

const USED_UP: &str = "every record was read";
/// Results of a read: the right record, none, another one.
const RIGHT: u64 = 0;
const MISSING: u64 = 1;
const WRONG: u64 = 2;

/// The engine to append at, and the one to read at, so that reads are served there.
fn places(indexing: &[bool], served: Served) -> Result<(usize, usize), BenchError> {
    let those = |with: bool| {
        let engines = indexing.iter().enumerate();
        engines
            .filter(move |(_, has)| **has == with)
            .map(|(n, _)| n)
    };
    let Some(first) = those(true).next() else {
        let what = "no engine says that it indexes the log".to_owned();
        return Err(BenchError::Cluster(what));
    };
    match served {
        Served::Cached => Ok((first, first)),
        Served::Storage => {
            let second = those(true).nth(1).map(|second| (first, second));
            second.ok_or_else(|| {
                let what = "read-storage needs two engines that index the same log: `indexes` is 1";
                BenchError::Impossible(what.to_owned())
            })
        }
        Served::Remote => {
            let other = those(false).next().map(|other| (first, other));
            other.ok_or_else(|| {
                let what =
                    "read-remote needs an engine that does not index the log: every one does";
                BenchError::Impossible(what.to_owned())
            })
        }
    }
}

/// The stream of a record, besides that of all.
fn stream(number: u64, books: usize) -> Tag {
    1 + number / books as u64 % STREAMS
}

fn record(run: u64, number: u64, books: &[BookId], bytes: usize) -> Record {
    Record {
        book: books[(number % books.len() as u64) as usize],
        tags: vec![stream(number, books.len())],
        data: payload::make(run, number, bytes).into(),
        condition: None,
    }
}

fn appended(reply: Result<Reply, Failure>) -> Result<u64, Trouble> {
    match reply {
        Ok(Reply::Appended { seq, .. }) => Ok(seq.0),
        Ok(other) => Err(Trouble::Unknown(format!("answered with {other:?}"))),
        Err(Failure::Unknown) => Err(Trouble::Unknown(Failure::Unknown.to_string())),
        Err(failure) => Err(Trouble::Refused(failure.to_string())),
    }
}

fn was_read(
    reply: Result<Reply, Failure>,
    seq: SeqNum,
    run: u64,
    number: u64,
    bytes: usize,
) -> Result<u64, Trouble> {
    match reply {
        Ok(Reply::Records { records, .. }) => Ok(match records.first() {
            Some(found) if found.seq == seq => {
                match payload::number(run, &found.record.data, bytes) == Some(number) {
                    true => RIGHT,
                    false => WRONG,
                }
            }
            _ => MISSING,
        }),
        Ok(other) => Err(Trouble::Unknown(format!("answered with {other:?}"))),
        Err(Failure::Lost(_)) => Ok(MISSING),
        Err(failure) => Err(Trouble::Refused(failure.to_string())),
    }
}

fn acked(op: &Op) -> Option<Acked> {
    let place = *op.result.as_ref().ok()?;
    Some(Acked {
        number: op.number,
        sent: op.sent,
        acked: op.done,
        place,
    })
}

/// A page of a stream; again for a while if there is no answer.
async fn read_some(
    world: &World,
    port: &Rc<dyn Port>,
    read: Read,
) -> Result<(Vec<Found>, Progress), BenchError> {
    let mut problem = String::new();
    for attempt in 0..10 {
        match port.ask(Request::Read(read)).await {
            Ok(Reply::Records { records, progress }) => return Ok((records, progress)),
            Ok(other) => problem = format!("answered with {other:?}"),
            Err(failure) => problem = failure.to_string(),
        }
        world.sleep((attempt + 1) * 20 * MS).await;
    }
    Err(BenchError::Cluster(format!(
        "what was acknowledged cannot be read back: {problem}"
    )))
}

impl Outcome {
    /// The verdict in words.
    pub fn told(&self) -> String {
        let verdict = &self.verdict;
        match self.load.kind {
            Kind::Append => verdict.told(),
            Kind::Read(_) if verdict.checked == 0 => "unknown: nothing was answered".to_owned(),
            Kind::Read(_) if verdict.kept() => {
                format!(
                    "kept: all {} answers were the record asked for",
                    verdict.checked
                )
            }
            Kind::Read(_) => format!(
                "BROKEN: of {} answers {} were not there and {} another record",
                verdict.checked, verdict.lost, verdict.foreign
            ),
        }
    }

    /// Failures by what was said, with how many of each.
    pub fn failures(&self) -> BTreeMap<&str, u64> {
        let mut failures = BTreeMap::new();
        for op in self.driven.measured() {
            if let Err(trouble) = &op.result {
                *failures.entry(trouble.text()).or_default() += 1;
            }
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_where_they_are_served() {
        let two = [false, true, true];
        assert_eq!(places(&two, Served::Cached), Ok((1, 1)));
        assert_eq!(places(&two, Served::Storage), Ok((1, 2)));
        assert_eq!(places(&two, Served::Remote), Ok((1, 0)));
        let impossible = |found| matches!(found, Err(BenchError::Impossible(_)));
        assert!(impossible(places(&[true, false], Served::Storage)));
        assert!(impossible(places(&[true, true], Served::Remote)));
        assert!(matches!(
            places(&[false], Served::Cached),
            Err(BenchError::Cluster(_))
        ));
    }

    #[test]
    fn streams_share_records_evenly() {
        let mut load = BTreeMap::new();
        for number in 0..6_000u64 {
            *load.entry((number % 3, stream(number, 3))).or_insert(0) += 1;
        }
        assert_eq!(load.len() as u64, 3 * STREAMS);
        assert!(load.values().all(|&count| count == 20));
    }
}
