//! Reads, served where they are asked to be.

use super::{BenchError, Load, Outcome, Served, Target, record};
use crate::bench::drive::{Call, Op, Trouble};
use crate::bench::judge::Verdict;
use crate::bench::payload;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use triptych_log::{
    BookId, Direction, EVERY, Failure, Port, Progress, Read, Reply, Request, SeqNum,
};
use triptych_world::mix;

const USED_UP: &str = "every record was read";
/// Results of a read: the right record, none, another one.
const RIGHT: u64 = 0;
const MISSING: u64 = 1;
const WRONG: u64 = 2;

impl Target<'_> {
    pub(super) async fn reads(
        &self,
        load: Load,
        served: Served,
        run: u64,
    ) -> Result<Outcome, BenchError> {
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
        let mut timed = self.timed(&load, &calls).await;
        let driven = &mut timed.driven;
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
            timed,
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
}
