//! Appends, and reading back what was acknowledged.

use super::{BenchError, Load, Outcome, STREAMS, Target, record, stream};
use crate::bench::drive::{Call, Driven, Op, Trouble};
use crate::bench::judge::{Acked, There, Verdict, judge};
use crate::bench::{machine, payload};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use triptych_log::{
    BookId, Direction, EVERY, Failure, Found, Level, Port, Progress, Read, Record, Reply, Request,
    SeqNum, Tag, View,
};
use triptych_world::{MS, World, mix};

/// Beyond so many acknowledged records a sample is read back, unless all are asked for.
const READ_BACK: u64 = 200_000;

impl Target<'_> {
    pub(super) async fn appends(&self, load: Load, run: u64) -> Result<Outcome, BenchError> {
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
        let timed = self.timed(&load, &calls).await;
        let (verdict, mut notes) = self.read_back(&load, run, &books, &timed.driven).await?;
        if self.file.config().level == Level::Synced {
            let sync = machine::syncs(self.folder.dir(), load.payload);
            notes.extend(sync.ok().map(|sync| {
                let (median, p50) = (sync.value_at_quantile(0.5), timed.driven.latency());
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
            timed,
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
        let acked: Vec<Acked> = driven.ops.iter().filter_map(Acked::of).collect();
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
}

fn appended(reply: Result<Reply, Failure>) -> Result<u64, Trouble> {
    match reply {
        Ok(Reply::Appended { seq, .. }) => Ok(seq.0),
        Ok(other) => Err(Trouble::Unknown(format!("answered with {other:?}"))),
        Err(Failure::Unknown) => Err(Trouble::Unknown(Failure::Unknown.to_string())),
        Err(failure) => Err(Trouble::Refused(failure.to_string())),
    }
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
