//! `bench log`: loads on a running cluster of the log.
//!
//! Appends go to every engine in turn. Everything that was acknowledged is read back afterwards
//! through another engine, or a stated sample of it. Reads are told apart by where they are served:
//!
//! * *cached*: at an engine that indexes the log, of records that it has in its cache;
//! * *storage*: at an engine that indexes the log and has not seen the record: it comes from a
//!   storage. Every record is read once;
//! * *remote*: at an engine that does not index the log, which asks one that does.

mod appends;
mod reads;

use super::drive::{Call, Plan};
use super::judge::Verdict;
use super::payload;
use super::timed::{self, Timed};
use crate::file::LogFile;
use crate::up::folder::DataFolder;
use futures_util::future::LocalBoxFuture;
use std::rc::Rc;
use std::sync::Arc;
use triptych_load::pool::Cancel;
use triptych_log::{BookId, Port, Record, Reply, Request, Shape, Tag, View};
use triptych_world::{World, mix};

/// Streams over which a run's records are spread, so that a sample of streams is a sample of records.
const STREAMS: u64 = 100;
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
    /// Every request, and the processor time that they took.
    pub timed: Timed,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

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
